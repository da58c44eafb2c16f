"""Loads that are transposed square by square before vector lanes read them.

Where lanes lie far apart in memory, but elements along another dim are contiguous, a tile of
squares of a cache line a side is copied, transposed; lanes then read the copy contiguously.
"""

from __future__ import annotations

from graphjit.core.dims import Dim, is_symbolic
from graphjit.core.extents import guess
from graphjit.core.frozen import dataclass
from graphjit.ir import cost_model
from graphjit.ir.program import Kernel, Load

# Squares of short rows, where a cache line has more elements; of how many rows at least.
SMALL_SIDES, MIN_ROWS = (8, 4), 8


@dataclass(frozen=True, slots=True)
class TransposeCondition:
    """When loads are transposed, for symbolic sizes.

    They are where `extent`, the number of contiguous elements, is at least `rows`, and the
    `lanes`, which lie `apart_bytes` apart, are more than the first cache keeps.
    """

    extent: int
    rows: int
    lanes: int
    apart_bytes: int


def transposed_loads(
    kernel: Kernel, lane_dim: int, width: int, short: bool
) -> tuple[list[int], int]:
    """The loads to transpose, and the dim along which their elements are contiguous.

    short: where the number of lanes is symbolic, whether they are too few to be worth it
    """
    found = list[int]()
    contiguous_dim = -1
    if kernel.inner or width == 1 or any(s.choices for s in kernel.stores):
        return found, contiguous_dim
    for number, value in enumerate(kernel.values):
        if not isinstance(value, Load) or value.dtype.real.size not in (4, 8):
            continue
        strides = value.index.strides
        if value.dtype.kind == "c" or strides[lane_dim] in (0, 1, -1):
            continue
        for dim in range(len(kernel.outer_dims)):
            few = len(found) < cost_model.MAX_TRANSPOSED
            apart = strides[lane_dim] * value.dtype.size
            if (
                few
                and strides[dim] == 1
                and contiguous_dim in (-1, dim)
                and _pays(kernel.dims[dim], kernel.dims[lane_dim], apart, short)
            ):
                contiguous_dim = dim
                found.append(number)
    return found, contiguous_dim


def _pays(extent: int, lanes: int, apart_bytes: int, short: bool) -> bool:
    """Whether a load is worth transposing: its lines wouldn't stay in the first cache."""
    if not isinstance(extent, Dim) and extent < cost_model.SQUARE_BYTES // 4:
        return False  # there is no whole square
    if is_symbolic((extent, lanes)):
        return not short
    return lanes > cost_model.near_lanes(apart_bytes)


def transposed_rows(kernel: Kernel, lane_dim: int, longest: int) -> list[int]:
    """The loads of a reduction over short rows that are transposed; [] where none is.

    longest: the elements of a row must be fewer; where they are symbolic, they are
    """
    inner = kernel.inner_dims
    if len(inner) != 1 or any(s.choices for s in kernel.stores):
        return []
    long_enough = isinstance(inner[0], Dim) or SMALL_SIDES[-1] <= inner[0] < longest
    if not long_enough or guess(kernel.dims[lane_dim]) < MIN_ROWS:
        return []
    found = list[int]()
    for number, value in enumerate(kernel.values):
        if not isinstance(value, Load) or not value.index.strides[-1]:
            continue
        across, along = value.index.strides[lane_dim], value.index.strides[-1]
        if across in (1, -1):
            return []  # lanes of rows that are themselves contiguous
        real = value.dtype.kind != "c" and value.dtype.real.size in (4, 8)
        if real and across != 0 and along == 1 and len(found) < cost_model.MAX_TRANSPOSED:
            found.append(number)
    return found


def square_sides(size: int, rows: int) -> tuple[int, ...]:
    """The sides of squares that so many contiguous elements can be transposed in, the largest
    first.
    """
    sides = (cost_model.SQUARE_BYTES // size, *SMALL_SIDES)
    return tuple(n for n in sides if n <= rows)


def tile_rows(kernel: Kernel, loads: list[int], dim: int) -> int:
    """How many contiguous elements are transposed at a time."""
    side = max(cost_model.SQUARE_BYTES // kernel.values[n].dtype.size for n in loads)
    extent = kernel.dims[dim]
    most = (
        cost_model.SQUARES
        if isinstance(extent, Dim)
        else min(cost_model.SQUARES, extent // side)
    )
    return side * most


__all__ = [
    "TransposeCondition",
    "square_sides",
    "tile_rows",
    "transposed_loads",
    "transposed_rows",
]
