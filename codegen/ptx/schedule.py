"""Kernel -> how a grid of threads iterates over it, and its launch. Uses no LLVM.

A point of the outer dims belongs to one thread, which iterates over the inner dims in order.
Where rows are reduced by ROW_LANES lanes, it belongs to one warp, whose threads are these
lanes. So elements are combined in the order of the CPU's code, and the bits are the same.
"""

from __future__ import annotations

from math import prod

from graphjit.codegen.loops import Let, LoopNest, Statement, StoreResult
from graphjit.codegen.lower import ROW_LANES, Lowering, row_lengths
from graphjit.codegen.spill_plan import NO_SPILLS, SpillPlan
from graphjit.codegen.tiles import product_of
from graphjit.core.dims import Dim
from graphjit.core.extents import evaluate, exact_quotient
from graphjit.core.frozen import dataclass
from graphjit.ir.program import (
    Compute,
    GatherLoad,
    Kernel,
    Load,
    Product,
    Reduction,
    ScanValue,
    Store,
    arguments,
    merge_outer,
)

from .tiling import Tiling, tiling_of
from .wide import VECTOR_BYTES

# 256 threads hide latency on all architectures and leave each 255 registers. Points beyond a
# full grid are reached in its next strides.
THREADS = 256
MAX_BLOCKS = 4096
# The most that the cost of a kernel's arithmetic times the elements of a thread may be.
MAX_REPEATED_COST = 400


@dataclass(frozen=True, slots=True)
class GridLaunch:
    """How a kernel is launched.

    threads: the threads of a block
    blocks: the blocks that have work
    most: the most blocks of the grid; it has at least one
    """

    threads: int
    blocks: int
    most: int = MAX_BLOCKS

    def grid(self, sizes: dict[str, int] | None = None) -> int:
        """The blocks of a launch, for these sizes of symbols."""
        return max(1, min(self.most, evaluate(self.blocks, sizes or {})))


@dataclass(frozen=True, slots=True)
class ThreadWalk:
    """One way through a kernel.

    nest: the loops of one thread or warp
    parallel: the outer dims that are distributed; the thread or warp of a point iterates over
        the others in order
    team: how many threads share a point
    vector: how many points along the last dim a thread takes at once
    """

    nest: LoopNest
    parallel: tuple[int, ...]
    team: int = 1
    vector: int = 1

    @property
    def points(self) -> int:
        """The points to distribute, or the groups of `vector` points, whole ones only."""
        dims = [self.nest.kernel.dims[d] for d in self.parallel]
        if self.vector > 1:
            dims[-1] = dims[-1] // self.vector
        return prod(dims)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A kernel with its walks and its launch.

    walks: one; two where rows are of symbolic length, the first for rows shorter than ROW_LANES
    tiling: for a matrix product, which has no walks
    """

    kernel: Kernel
    walks: tuple[ThreadWalk, ...]
    tiling: Tiling | None
    launch: GridLaunch


class _GridLowering(Lowering):
    """Makes the nest of one thread, or of one warp for each row. Nothing is spilled."""

    def _choose_lanes(self, vector_bytes: int) -> tuple[int, int]:
        inner = self.kernel.inner_dims
        long = bool(inner) and (
            not self.short if isinstance(inner[-1], Dim) else inner[-1] >= ROW_LANES
        )
        if self.kernel.lanes == "inner" and long:
            return ROW_LANES, len(self.kernel.dims) - 1
        return 1, -1

    def _plan_spills(self) -> SpillPlan:
        return NO_SPILLS  # a thread's arrays are in memory: computing again is no slower


def schedule(kernel: Kernel, tensor_cores: str | None = None) -> Schedule:
    """How a grid iterates over a kernel.

    tensor_cores: the type that operands of float32 products are rounded to, for tensor cores
    """
    kernel = merge_outer(kernel)
    product = product_of(kernel)
    if product is not None:
        tiling = tiling_of(kernel, product, tensor_cores)
        launch = GridLaunch(tiling.threads, tiling.count)
        return Schedule(kernel, (), tiling, launch)
    walks = tuple(_lower_walk(kernel, short) for short in row_lengths(kernel))
    return Schedule(kernel, walks, None, _choose_launch(walks))


def _lower_walk(kernel: Kernel, short: bool) -> ThreadWalk:
    nest = _GridLowering(kernel, 1, 0, short).nest()
    outer = range(len(kernel.outer_dims))
    serial = [s for s in kernel.stores if s.choices]
    parallel = tuple(d for d in outer if all(_never_meet(kernel, s, d) for s in serial))
    return ThreadWalk(
        nest, parallel, nest.width, _choose_vector(kernel) if nest.width == 1 else 1
    )


def order_by_store(kernel: Kernel) -> tuple[Statement, ...] | None:
    """Each store after the values that it needs, so that few values are live at a time.

    None where a kernel does more than compute and store.
    """
    if kernel.inner or any(
        isinstance(v, (Reduction, ScanValue, Product)) for v in kernel.values
    ):
        return None
    found: list[Statement] = []
    known: set[int] = set()
    for number, store in enumerate(kernel.stores):
        todo = [store.arg, *(choice.arg for choice in store.choices)]
        while todo:
            value = todo[-1]
            missing = [n for n in arguments(kernel.values[value]) if n not in known]
            if missing and value not in known:
                todo += missing
                continue
            todo.pop()
            if value not in known:
                known.add(value)
                found.append(Let(value))
        found.append(StoreResult(number))
    return tuple(found)


def _never_meet(kernel: Kernel, store: Store, dim: int) -> bool:
    """Whether steps along a dim never store to one element of a scattered store."""
    stride = store.index.strides[dim]
    return isinstance(stride, Dim) or stride != 0


def _choose_vector(kernel: Kernel) -> int:
    """How many neighbours a thread takes, so that loads and stores can be wide."""
    if kernel.inner or not kernel.dims or any(s.choices for s in kernel.stores):
        return 1
    if any(isinstance(v, (GatherLoad, Reduction, ScanValue)) for v in kernel.values):
        return 1
    last = len(kernel.dims) - 1
    stored = [(kernel.values[s.arg].dtype, s.index.strides[last]) for s in kernel.stores]
    loads = [v for v in kernel.values if isinstance(v, Load)]
    stored += [(v.dtype, v.index.strides[last]) for v in loads]
    sizes = [dtype.size for dtype, n in stored if not isinstance(n, Dim) and n == 1]
    if not sizes:
        return 1
    vector = max(2, min(VECTOR_BYTES // min(sizes), 8))
    work = sum(v.primitive.cost for v in kernel.values if isinstance(v, Compute))
    work += len(kernel.values) + len(kernel.stores)
    while vector > 1 and (
        work * vector > MAX_REPEATED_COST or not _fits_groups(kernel, vector)
    ):
        vector //= 2
    return vector


def _fits_groups(kernel: Kernel, vector: int) -> bool:
    """Whether the last dim consists of whole groups.

    If it is the only one, elements left over have code of their own.
    """
    extent = kernel.dims[-1]
    if len(kernel.dims) == 1:
        return isinstance(extent, Dim) or extent >= vector
    return exact_quotient(extent, vector) is not None


def _choose_launch(walks: tuple[ThreadWalk, ...]) -> GridLaunch:
    """The launch of a kernel: no more threads than have work, in whole warps."""
    walk = walks[-1]
    work = walk.points * walk.team
    threads = THREADS
    if not isinstance(work, Dim):
        threads = min(THREADS, max(1, -(-work // 32)) * 32)
    return GridLaunch(threads, (work + threads - 1) // threads)


__all__ = ["GridLaunch", "Schedule", "ThreadWalk", "order_by_store", "schedule"]
