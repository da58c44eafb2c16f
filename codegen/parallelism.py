"""What of a loop nest can go on at once: rows abreast in one thread, chunks in several."""

from __future__ import annotations

from dataclasses import replace

from graphjit.core.dims import Dim
from graphjit.core.extents import guess
from graphjit.core.machine import machine
from graphjit.ir import cost_model
from graphjit.ir.program import Compute, Constant, Load, Reduction

from .loops import Accumulate, Let, Loop, LoopNest, Start, Tiles, register_bytes


def rows_abreast(nest: LoopNest, vector_bytes: int) -> int:
    """How many rows are reduced side by side; 1 if none.

    Additions of one row wait for each other. Those of several rows don't, and their memory is
    fetched at once.
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
    moving = [
        v for v in kernel.values if isinstance(v, Load) and v.index.strides[nest.lane_dim] == 1
    ]
    room = min(room, extent, cost_model.MAX_ROWS_ABREAST // max(1, len(moving)))
    return max(n for n in (1, 2, cost_model.MAX_ROWS_ABREAST) if n <= max(1, room))


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
