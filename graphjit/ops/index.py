"""Gather and scatter: elements chosen by indices that are data, bounds checked.

`axes` are the axes of the first input that the index inputs choose along, one each. The
index inputs have one shape S; gather gives S + the other axes, scatter's updates have that
shape. Indices are not negative: whoever allows negative ones adds the extent first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.core.errors import IndexOutOfRangeError, InvalidArgumentError, at_user_line
from graphjit.core.types import Array, Shape, TensorType, check_size, int64, shape_text

from .primitive import Coordinate, Gather, Scatter, define
from .type_rules import require_axes, require_kind, require_same_dtype

# {0}: the index, {1}: the extent of its axis.
OUT_OF_RANGE = "index {0} is out of range: the axis has {1} elements"
# How an update is combined in, and the dtype kinds that may be combined so.
MODES = {
    "update": "biufc",
    "add": "iufc",
    "sub": "iufc",
    "mul": "iufc",
    "min": "biuf",
    "max": "biuf",
}


def _gathered(data: TensorType, indices: tuple[TensorType, ...], axes: Shape, op: str) -> Shape:
    require_axes(axes, data.ndim, op)
    for index, _ in zip(indices, axes, strict=True):
        if index.dtype is not int64 or index.shape != indices[0].shape:
            raise InvalidArgumentError(
                at_user_line(f"indices must be int64 of one shape, not {index} [Op:{op}]")
            )
    rest = tuple(n for axis, n in enumerate(data.shape) if axis not in axes)
    check_size(indices[0].shape + rest, data.dtype, op)
    return indices[0].shape + rest


def _gather_type(data: TensorType, *indices: TensorType, axes: Shape) -> TensorType:
    return data.with_shape(_gathered(data, indices, axes, "GatherV2"))


def check_bounds(indices: tuple[Array, ...], shape: Shape, axes: Shape, op: str) -> None:
    """Raise IndexOutOfRangeError at the first element with an index outside its axis."""
    extents = [shape[axis] for axis in axes]
    bad = [(i < 0) | (i >= n) for i, n in zip(indices, extents, strict=True)]
    if not any(map(np.any, bad)):
        return
    places = np.stack([np.reshape(b, -1) for b in bad], axis=1)  # by element, then by axis
    element, which = np.unravel_index(int(np.argmax(places)), places.shape)
    index = np.reshape(indices[which], -1)[element]
    raise IndexOutOfRangeError(
        at_user_line(OUT_OF_RANGE.format(int(index), extents[which]) + f" [Op:{op}]")
    )


def _gather_numpy(data: Array, *indices: Array, axes: Shape) -> Array:
    check_bounds(indices, data.shape, axes, "GatherV2")
    return np.moveaxis(data, axes, range(len(axes)))[indices]


gather = define(
    "gather", Gather(), _gather_type, _gather_numpy, tensorflow="GatherV2", exact=True
)


def _scatter_type(
    base: TensorType, updates: TensorType, *indices: TensorType, axes: Shape, mode: str
) -> TensorType:
    dtype = require_same_dtype((base, updates), "ScatterNd")
    require_kind(dtype, MODES[mode], "ScatterNd")
    wanted = _gathered(base, indices, axes, "ScatterNd")
    if updates.shape != wanted:
        raise InvalidArgumentError(
            at_user_line(
                f"updates of shape {shape_text(updates.shape)}: indices and tensor ask for "
                f"{shape_text(wanted)} [Op:ScatterNd]"
            )
        )
    return base


def _scatter_numpy(
    base: Array, updates: Array, *indices: Array, axes: Shape, mode: str
) -> Array:
    check_bounds(indices, base.shape, axes, "ScatterNd")
    result = np.array(base)
    target = np.moveaxis(result, axes, range(len(axes)))
    if mode == "update":
        flat = [np.reshape(i, -1) for i in indices]
        rows = np.reshape(updates, (flat[0].size, *target.shape[len(axes) :]))
        for k in range(flat[0].size):  # in order: the last of equal indices wins
            target[tuple(i[k] for i in flat)] = rows[k]
        return result
    functions = {
        "add": np.add,
        "sub": np.subtract,
        "mul": np.multiply,
        "min": np.minimum,
        "max": np.maximum,
    }
    functions[mode].at(target, indices, updates)
    return result


def _combine(b: Any, old: Any, update: Any, mode: str) -> Any:
    names = {"add": "add", "sub": "sub", "mul": "mul", "min": "minimum", "max": "maximum"}
    return update if mode == "update" else getattr(b, names[mode])(old, update)


scatter = define(
    "scatter", Scatter(_combine), _scatter_type, _scatter_numpy, tensorflow="ScatterNd"
)


def _iota_type(shape: Shape, axis: int) -> TensorType:
    check_size(shape, int64, "Range")
    require_axes((axis,), len(shape), "Range")
    return TensorType(shape, int64)


def _iota_numpy(shape: Shape, axis: int) -> Array:
    extents = [n if k == axis else 1 for k, n in enumerate(shape)]
    return np.broadcast_to(np.arange(shape[axis]).reshape(extents), shape)


# int64 of the given shape; each element is its own index along `axis`.
iota = define(
    "iota",
    Coordinate(),
    _iota_type,
    _iota_numpy,
    tensorflow="Range",
    exact=True,
)
