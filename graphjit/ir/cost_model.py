"""The cost model: what a step takes, and every number by which passes and schedules choose.

None of them changes a result: what bits depend on (`ROW_LANES`, `BLOCK`, the limits of the
pass `split-reductions`) stands with the code that it belongs to.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from math import gcd, prod

from graphjit.core.dims import Dim
from graphjit.core.extents import evaluate, guess
from graphjit.core.machine import machine
from graphjit.ops.primitive import ConditionalLoop

from .program import (
    Buffer,
    Compute,
    Kernel,
    Product,
    Reduction,
    RegionCall,
    ScanValue,
    Step,
    reads_and_writes,
)

# -- fusion

# A shared pointwise value of at most this cost (rough cycles, inputs' included) is computed
# again by each kernel that reads it: cheaper than storing and loading it.
RECOMPUTE_COST = 3
# Slices of one value share its work, but each brings the code: no more of it than this.
MAX_CODE = 1024
# A value that is broadcast is stored if computing it for each reader costs more than this.
REPEATED_COST = 64
# Later stages walk the inner dims again. Where lanes go along outer dims each pass strides
# through memory, so stages are joined only while a block's inner walk stays in the cache.
STAGE_CACHE_BYTES = 256 * 1024
LANE_BLOCK_BYTES = 256
# Independent maps of at most so many elements share a loop, up to so many in one.
SMALL_LOOP, SMALL_LOOP_ROOTS = 1 << 16, 16
# Roots that share a kernel for no more than what they read.
SIBLINGS = 32
# Values of one kernel, and buffers that it reads: the compiler's time for one long block of
# code, and for one that reads very many buffers, grows with more than its length, and so many
# operations between a load and a store hide both.
KERNEL_VALUES, KERNEL_READS = 512, 48
# A copy of what lanes would gather pays if each of its elements is read at least this often.
PACK_REUSE = 8
# Row blocks. Intermediate results of less than ROW_BLOCK_BYTES stay in the cache anyway. The
# rows of one part may take ROW_BLOCK_PART_BYTES of the second cache and of a thread's stack. A
# part has from ROW_BLOCK_MIN_ROWS to ROW_BLOCK_MAX_ROWS rows. The second operand of a product
# is read for every part and may take ROW_BLOCK_OPERAND_BYTES. A block has at most
# ROW_BLOCK_STEPS steps.
ROW_BLOCK_BYTES = 1 << 20
ROW_BLOCK_PART_BYTES = 256 * 1024
ROW_BLOCK_MAX_ROWS, ROW_BLOCK_MIN_ROWS = 64, 8
ROW_BLOCK_OPERAND_BYTES = 512 * 1024
ROW_BLOCK_STEPS = 32

# -- schedules

# A loop's body with so many values is written once, all its vectors masked, instead of a
# second time for the tail. Code with so many instructions isn't optimised: a kernel that is so
# long gains less than 5% by it, and the time that it takes grows with its square. Nor is code
# with so many constants: they would be taken out of the loop into registers, of which there
# aren't enough, and be read from the stack as whole vectors (AVX2, a chain of 60: 70% slower).
LONG_BODY, LONG_CODE, MAX_CONSTANTS = 64, 256, 24

# Vectors that the registers of AVX2 hold: more loads are each made where they are first read.
REGISTERS = 16
# A value that costs at least this much (rough cycles) is spilled between stages rather than
# computed again, while all slots fit SPILL_BYTES.
SPILL_COST = 8
SPILL_BYTES = 128 * 1024
# Elements of a panel: where rows are combined element by element, so many accumulators stay in
# the first-level cache while rows stream by.
PANEL = 1024
# Loads whose lanes lie far apart are transposed in squares of SQUARE_BYTES a side, a cache
# line: SQUARES of them along memory, for STRIP lanes, each of which is a stream of its own.
SQUARE_BYTES = 64
STRIP, SQUARES = 64, 4
# Short rows are copied whole, as many as take up no more than this (a @ x, 80 MB of rows of 24
# float64, GB/s: copies of 16, 32, 64, 128 rows 20, 16, 15, 10).
STRIP_BYTES = 8192
MAX_TRANSPOSED = 8
# But few lanes need no squares: their lines stay in the first cache until all of each was read.
L1_WAYS, L1_WAY_BYTES = 8, 4096
# Vectors side by side, to hide latency. Bodies below this cost wait for memory, and one vector
# at a time has the fewest streams to and from it; math functions need their registers.
UNROLL_COST = 24
MATH_COST = 6
UNROLL_MATH, UNROLL_PLAIN, UNROLL_SUMS = 2, 4, 2
# Rows that are reduced side by side, where all share a load, if no more is done for each
# element than this. On Zen 5, one, two, four rows of a @ x, GB/s: 400 kB of 400 float64 65, 83,
# 89; 90 MB of rows of 100 31, 11, 10 (one stream is all that hardware prefetchers follow), of
# rows of 5,000 19, 24, 26.
MAX_ROWS_ABREAST, MAX_ABREAST_BODY = 4, 10
# How far ahead what no cache holds is fetched, into the second one (30 MB, sums of rows of 400
# float64: 48 -> 53 GB/s; 6 MB, which stay in the last cache, rows of 20,000: 77 -> 66).
PREFETCH_BYTES = 4096
# Products: elements of a tile, enough work to share out and few enough for the second cache;
# fused multiply-adds in flight that hide their latency; a row of b that is as short as this
# needn't be copied, its block lies close together anyway.
TILE_ROWS, TILE_COLUMNS = 192, 64
LEAST_TILE_ROWS, LEAST_TILE_PRODUCTS, TILES_WANTED = 32, 1 << 19, 4
IN_FLIGHT = 8
CLOSE_BYTES = 512
# The sides of square tiles of a symmetric product (x.T @ x): the first for at most two of them.
# From so many rows on only half of it is computed.
SYMMETRIC_SIDES, SYMMETRIC_LEAST = (48, 96), 24
# Products of a vector and a matrix: the bytes of sums that stay in the second cache while rows
# stream by, how many rows are added to them at a time, and the registers of sums abreast. On
# Zen 5, 1,900x2,100 float64, over NumPy's time: sums in registers, down columns of 512 bytes,
# 1.8; sums of 1, 16 and 64 kB in memory 1.3, 0.87, 0.78; of 2, 4, 8, 16 rows 1.15, 0.94, 0.78,
# 0.82; of 8 registers abreast, which read 512 bytes of a row at once, 1.05.
ROW_SUM_BYTES, ROWS_ADDED, ROW_REGISTERS = 65536, 8, 2
# So many rows are computed like that, too, times a matrix of so many bytes: going down its
# columns misses the addresses of pages (8 rows x 2,000x2,000 float64: 1.23 -> 0.70 of NumPy's
# time; 1,000x1,000: 0.71 -> 0.99).
FEW_ROWS, FEW_ROWS_BYTES = 8, 12 << 20

# A result is stored past the caches if what the kernel moves is more than this share of the
# last one: by then the first of it would have been driven out anyway.
STREAM_SHARE = 0.75

# -- the team

# Rough costs that one thread gets through.
COST_PER_NS = 40.0
# A kernel that takes longer than this is run by the team, in chunks of about CHUNK_NS: fork and
# join cost 2 to 3 µs.
# Few chunks are as many for each core: one more for one of them is what all would wait for.
TEAM_NS, CHUNK_NS, MAX_CHUNKS = 12_000, 8_000, 64
CHUNK_ELEMENTS = 64  # a border between chunks is one between cache lines
# Work above this much lets other Python threads run meanwhile (two switches: 0.1 µs).
RELEASE_BYTES, RELEASE_FLOPS = 256 * 1024, 200_000


def near_lanes(apart_bytes: int) -> int:
    """How many lanes' lines the first cache keeps, where they are so many bytes apart: fewer
    where they fall into the same sets.
    """
    shared = gcd(apart_bytes, L1_WAY_BYTES)
    return L1_WAYS * (L1_WAY_BYTES // max(SQUARE_BYTES, shared))


def passes_last_cache(nbytes: int) -> bool:
    """Whether so many bytes don't stay in the last cache, as far as is known."""
    return guess(nbytes) > machine().l3_bytes // 2


# How many turns a loop that runs while a condition holds is taken to make.
UNKNOWN_TURNS = 16


def step_cost(step: Step, buffers: tuple[Buffer, ...]) -> Mapping[str, float]:
    """Least bytes moved and rough flops of a step: {"bytes": …, "flops": …}."""
    read, written = reads_and_writes(step)
    moved: float = guess(sum(buffers[i].type.nbytes for i in (*read, *written)))
    flops = 0.0
    if isinstance(step, Kernel):
        points, outer = float(guess(prod(step.dims))), float(guess(prod(step.outer_dims)))
        has_product, each, together = False, 0.0, 0.0
        for value in step.values:
            kind = type(value)
            if kind is Compute:
                each += value.primitive.cost  # type: ignore[union-attr]
            elif kind is Reduction or kind is ScanValue:
                together += value.primitive.cost  # type: ignore[union-attr]
            elif kind is Product:
                has_product = True
                together += 2
        flops = each * (outer if has_product else points) + together * points
    if isinstance(step, RegionCall):
        turns = UNKNOWN_TURNS if isinstance(step.primitive.kind, ConditionalLoop) else 1
        times = guess(dict(step.attrs).get("count", turns))
        for program in step.programs:
            for inner in program.steps:
                cost = step_cost(inner, program.buffers)
                moved, flops = moved + times * cost["bytes"], flops + times * cost["flops"]
    return {"bytes": float(moved), "flops": flops}


def step_time_ns(step: Step, buffers: tuple[Buffer, ...]) -> float:
    """About how long one thread takes for a step [ns]."""
    return time_ns(step_cost(step, buffers))


def time_ns(found: Mapping[str, float]) -> float:
    """About how long one thread takes for what a step costs [ns]."""
    here = machine()
    moved = found["bytes"]
    rate = here.cached_bytes_per_ns if moved <= here.l2_bytes else here.bytes_per_ns
    if here.l2_bytes < moved <= here.l3_bytes / 2:
        rate *= 1.5
    return max(moved / rate, found["flops"] / COST_PER_NS)


def chunk_count(guess_ns: float, most: int) -> int:
    """In how many chunks the team runs a kernel, for which one thread takes about so long."""
    wanted, cores = int(guess_ns / CHUNK_NS), machine().cores
    return max(2, min(most, wanted // cores * cores or wanted))


def chunk_points(step: Kernel, buffers: tuple[Buffer, ...]) -> tuple[tuple[int, int], ...]:
    """How many points of a kernel of symbolic extents make a chunk, as (points in all up to
    which that holds, points of a chunk): fewer where the caches don't hold what is moved.
    """
    moved, flops = _point_cost(step, buffers)
    here, found = machine(), []
    for most in (here.l2_bytes, here.l3_bytes // 2, 1 << 62):
        points = min(1 << 62, int(most / max(moved, 1e-9)))
        each = time_ns({"bytes": points * moved, "flops": points * flops}) / max(1, points)
        found.append((points, max(1, int(CHUNK_NS / max(each, 1e-4)))))
    return tuple(found)


def team_points(step: Kernel, buffers: tuple[Buffer, ...]) -> int:
    """From how many points on a kernel of symbolic extents is run by the team."""
    moved, flops = _point_cost(step, buffers)

    def taken(points: int) -> float:
        return time_ns({"bytes": points * moved, "flops": points * flops})

    return 1 + bisect.bisect_left(range(1, 1 << 40), float(TEAM_NS), key=taken)


def _point_cost(step: Kernel, buffers: tuple[Buffer, ...]) -> tuple[float, float]:
    """Bytes moved and rough flops for each of many points."""
    moved = sum(_many(buffers[i].type.nbytes) for n in reads_and_writes(step) for i in n)
    points = max(1, _many(prod(step.dims)))
    flops = step_cost(step, buffers)["flops"] / max(1, guess(prod(step.dims)))
    return moved / points, flops


def _many(n: int) -> int:
    """An extent where every symbol is large."""
    return evaluate(n, dict.fromkeys(n.symbols, 1 << 20)) if isinstance(n, Dim) else n


def floor_ns(step: Step, buffers: tuple[Buffer, ...]) -> float:
    """The least that this machine can take for a step with all its cores [ns]: its bytes at
    the rate of memory, or of the second caches where they hold them, or its flops, whichever
    is longer.
    """
    found, here = step_cost(step, buffers), machine()
    product = isinstance(step, Kernel) and any(isinstance(v, Product) for v in step.values)
    cached = found["bytes"] <= here.l2_bytes * here.cores
    rate = here.cached_bytes_per_ns * here.cores if cached else here.all_bytes_per_ns
    moved = found["bytes"] / rate
    return max(moved, found["flops"] / here.all_flops_per_ns) if product else moved
