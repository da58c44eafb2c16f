"""Primitives whose output is made of boxes, each stored by the kernel that computes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import Array, Shape, TensorType, check_size, shape_text

from .primitive import Assemble, define
from .type_rules import require_axes, require_same_dtype
from .view import leaves_axis


def _concat_type(*inputs: TensorType, axis: int) -> TensorType:
    require_same_dtype(inputs, "ConcatV2")
    first = inputs[0]
    if first.ndim == 0:
        raise InvalidArgumentError(at_user_line("can't concatenate scalars [Op:ConcatV2]"))
    require_axes((axis,), first.ndim, "ConcatV2")
    for other in inputs[1:]:
        rest = [n for k, n in enumerate(other.shape) if k != axis]
        if other.ndim != first.ndim or rest != [
            n for k, n in enumerate(first.shape) if k != axis
        ]:
            raise InvalidArgumentError(
                at_user_line(
                    f"Dimensions of inputs should match: shapes {shape_text(first.shape)} and "
                    f"{shape_text(other.shape)} along axis {axis} [Op:ConcatV2]"
                )
            )
    shape = list(first.shape)
    shape[axis] = sum(t.shape[axis] for t in inputs)
    check_size(shape, first.dtype, "ConcatV2")
    return first.with_shape(shape)


def _concat_boxes(*inputs: TensorType, axis: int) -> Any:
    boxes, start = [], 0
    for item in inputs:
        starts = tuple(start if k == axis else 0 for k in range(item.ndim))
        boxes.append((starts, (1,) * item.ndim))
        start += item.shape[axis]
    return tuple(boxes)


concat = define(
    "concat",
    Assemble(_concat_boxes),
    _concat_type,
    lambda *arrays, axis: np.concatenate(arrays, axis=axis),
    tensorflow="ConcatV2",
    exact=True,
)


def _place_type(base: TensorType, piece: TensorType, starts: Shape, steps: Shape) -> TensorType:
    require_same_dtype((base, piece), "StridedSliceAssign")
    boxes = zip(base.shape, starts, steps, piece.shape, strict=True)
    for axis, (extent, start, step, size) in enumerate(boxes):
        if size and leaves_axis(start, size, step, extent):
            last = start + (size - 1) * step
            raise InvalidArgumentError(
                at_user_line(
                    f"a box from {start} by {step} to {last} leaves axis {axis} of extent "
                    f"{extent} [Op:StridedSliceAssign]"
                )
            )
    return base


def place_slices(starts: Shape, steps: Shape, shape: Shape) -> tuple[slice, ...]:
    """The slices of a box."""
    slices = []
    for start, step, size in zip(starts, steps, shape, strict=True):
        stop = start + size * step
        slices.append(slice(start, None if stop < 0 else stop, step) if size else slice(0, 0))
    return tuple(slices)


def _place_numpy(base: Array, piece: Array, starts: Shape, steps: Shape) -> Array:
    result = np.array(base)
    result[place_slices(starts, steps, piece.shape)] = piece
    return result


# `base` with `piece` written over the box that begins at `starts` and goes on by `steps`.
place = define(
    "place",
    Assemble(
        lambda base, piece, starts, steps: (
            ((0,) * base.ndim, (1,) * base.ndim),
            (starts, steps),
        )
    ),
    _place_type,
    _place_numpy,
    tensorflow="StridedSliceAssign",
    exact=True,
)
