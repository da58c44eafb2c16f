"""View primitives: the same elements at other indices. They never copy by themselves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphjit.core.dims import Undecided
from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.extents import stretched
from graphjit.core.types import (
    Array,
    Shape,
    TensorType,
    broadcast_shapes,
    check_size,
    shape_text,
)

from .primitive import View, define


def _reshape_type(x: TensorType, shape: Shape) -> TensorType:
    check_size(shape, x.dtype, "Reshape")
    if math.prod(shape) != x.size:
        raise InvalidArgumentError(
            at_user_line(
                f"Input to reshape is a tensor with {x.size} values, but the requested shape "
                f"has {math.prod(shape)} [Op:Reshape]"
            )
        )
    return x.with_shape(shape)


reshape = define(
    "reshape",
    View(lambda s, out, x, y, shape: s.reshape(out, y.shape, x.shape)),
    _reshape_type,
    lambda x, shape: np.reshape(x, shape),
    tensorflow="Reshape",
    exact=True,
)


def _transpose_type(x: TensorType, perm: Shape) -> TensorType:
    if sorted(perm) != list(range(x.ndim)):
        raise InvalidArgumentError(
            at_user_line(
                f"transpose expects a permutation of {list(range(x.ndim))}, not {list(perm)} "
                "[Op:Transpose]"
            )
        )
    return x.with_shape(x.shape[axis] for axis in perm)


def _transpose_index(s: Any, out: Any, x: TensorType, y: TensorType, perm: Shape) -> Any:
    return [out[perm.index(axis)] for axis in range(x.ndim)]


transpose = define(
    "transpose",
    View(_transpose_index),
    _transpose_type,
    lambda x, perm: np.transpose(x, perm),
    tensorflow="Transpose",
    exact=True,
)


def _broadcast_type(x: TensorType, shape: Shape) -> TensorType:
    check_size(shape, x.dtype, "BroadcastTo")
    if broadcast_shapes((x.shape, shape), "BroadcastTo") != shape:
        raise InvalidArgumentError(
            at_user_line(
                f"Cannot broadcast input shape {shape_text(x.shape)} into shape "
                f"{shape_text(shape)} [Op:BroadcastTo]"
            )
        )
    return x.with_shape(shape)


def _broadcast_index(s: Any, out: Any, x: TensorType, y: TensorType, shape: Shape) -> Any:
    first = len(out) - x.ndim
    axes = zip(x.shape, y.shape[first:], out[first:], strict=True)
    return [s.zero if stretched(n, m) else i for n, m, i in axes]


broadcast = define(
    "broadcast",
    View(_broadcast_index),
    _broadcast_type,
    lambda x, shape: np.broadcast_to(x, shape),
    tensorflow="BroadcastTo",
    exact=True,
)


def leaves_axis(start: int, size: int, step: int, extent: int) -> bool:
    """Whether elements of a slice are none of the axis; of what sizes decide it isn't said."""
    try:
        last = start + (size - 1) * step
        return not (step and 0 <= start < extent and 0 <= last < extent)
    except Undecided:
        return False


def _slice_type(x: TensorType, starts: Shape, sizes: Shape, steps: Shape) -> TensorType:
    check_size(sizes, x.dtype, "StridedSlice")
    boxes = zip(x.shape, starts, sizes, steps, strict=True)
    for axis, (extent, start, size, step) in enumerate(boxes):
        if size and leaves_axis(start, size, step, extent):
            last = start + (size - 1) * step
            raise InvalidArgumentError(
                at_user_line(
                    f"slice from {start} by {step} to {last} leaves axis {axis} of extent "
                    f"{extent} [Op:StridedSlice]"
                )
            )
    return x.with_shape(sizes)


def _slice_numpy(x: Array, starts: Shape, sizes: Shape, steps: Shape) -> Array:
    slices = []
    for start, size, step in zip(starts, sizes, steps, strict=True):
        stop = start + size * step
        slices.append(slice(start, None if stop < 0 else stop, step) if size else slice(0, 0))
    return x[tuple(slices)]


def _slice_index(
    s: Any, out: Any, x: TensorType, y: TensorType, starts: Shape, sizes: Shape, steps: Shape
) -> Any:
    return [i * step + start for i, start, step in zip(out, starts, steps, strict=True)]


# Element i of an axis is element start + step * i of the input; a negative step flips.
slice_ = define(
    "slice",
    View(_slice_index),
    _slice_type,
    _slice_numpy,
    tensorflow="StridedSlice",
    exact=True,
)
