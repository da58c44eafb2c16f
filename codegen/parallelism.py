"""What of a loop nest can go on at once: rows abreast in one thread, chunks in several."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from graphjit.core.dims import Dim
from graphjit.core.extents import guess
from graphjit.core.machine import machine
from graphjit.ir import cost_model
from graphjit.ir.program import Compute, Constant, Load, Reduction

from .loops import Accumulate, Let, Loop, LoopNest, Start, Tiles, register_bytes


def rows_abreast(nest: LoopNest, vector_bytes: int) -> int:
    """How many rows are reduced side by side; 1 if none.

    They are where they share a load: x of a @ x, which would be read again for each.
    """
    kernel, statements = nest.kernel, nest.body
    # no checks: the first failure in order must be reported
    plain = all(
        isinstance(v, (Load, Constant, Compute, Reduction)) and v.dtype.is_inexact
        for v in kernel.values
    )
    if not plain or nest.panel or nest.spilled or any(s.choices for s in kernel.stores):
        return 1
    if nest.width == 1 or nest.lane_dim < len(kernel.outer_dims):
        return 1
    row: Loop | None = None
    while not any(isinstance(s, Start) for s in statements):
        loops = [s for s in statements if isinstance(s, Loop)]
        if len(loops) != 1:
            return 1
        row, statements = loops[0], loops[0].body
    inner = [s for s in statements if isinstance(s, Loop)]
    if row is None or len(inner) != 1 or len(inner[0].body) > cost_model.MAX_ABREAST_BODY:
        return 1
    if not all(isinstance(s, (Let, Accumulate)) for s in inner[0].body):
        return 1
    costs = [v.primitive.cost for v in kernel.values if isinstance(v, Compute)]
    if max(costs, default=0) >= cost_model.MATH_COST:
        return 1
    sums = [kernel.values[s.value] for s in statements if isinstance(s, Start)]
    each = sum(-(-nest.width * register_bytes(v.dtype) // vector_bytes) for v in sums)
    room = (16 if vector_bytes == 64 else 8) // each
    extent = guess(row.extent) if isinstance(row.extent, Dim) else row.extent
    room = min(room, extent) if _share_a_load(nest, row.dim) else 1
    return max(n for n in (1, 2, cost_model.MAX_ROWS_ABREAST) if n <= max(1, room))


def _share_a_load(nest: LoopNest, row_dim: int) -> bool:
    """Whether it pays to load what all rows share once for several of them.

    Rows that no cache holds are best read one after another, as one stream, unless what they
    share would be driven from the first cache by each.
    """
    dims = nest.kernel.dims
    loads = [v for v in nest.kernel.values if isinstance(v, Load)]
    along = [v for v in loads if v.index.strides[nest.lane_dim] == 1]
    moving = [v for v in along if v.index.strides[row_dim]]
    if len(moving) != 1 or len(moving) == len(along):
        return False
    row_bytes = dims[nest.lane_dim] * moving[0].dtype.size
    read = prod(n for n, s in zip(dims, moving[0].index.strides, strict=True) if s)
    read *= moving[0].dtype.size
    large = guess(row_bytes) > machine().l1_bytes // 2
    return large or not cost_model.passes_last_cache(read)


def in_chunks(nest: LoopNest) -> tuple[LoopNest, Loop | Tiles | None]:
    """The nest with its outermost loop in chunks, and that loop.

    The loop is None where the nest can't be chunked: an inner dim or a scattered store would be
    shared by chunks.
    """
    kernel = nest.kernel
    for position, statement in enumerate(nest.body):
        if isinstance(statement, Tiles):
            tiles = replace(statement, chunked=True)
            return replace(nest, body=(tiles,)), tiles
        if isinstance(statement, Loop):
            if statement.dim >= len(kernel.outer_dims) or any(s.choices for s in kernel.stores):
                return nest, None
            loop = replace(statement, chunked=True)
            body = (*nest.body[:position], loop, *nest.body[position + 1 :])
            return replace(nest, body=body), loop
    return nest, None


def most_chunks(loop: Loop | Tiles) -> int:
    """The most chunks of a loop: no fewer than four for each core.

    Tiles are work enough each. Neighbours that are computed as one are best left so.
    """
    if isinstance(loop, Tiles):
        return machine().cores if loop.wide else 1 << 30
    return max(cost_model.MAX_CHUNKS, 4 * machine().cores)


def chunk_unit(width: int) -> int:
    """The iterations of which a chunk has a multiple, for a loop of this width."""
    return max(width, cost_model.CHUNK_ELEMENTS) if width > 1 else 1


__all__ = ["chunk_unit", "in_chunks", "most_chunks", "rows_abreast"]
