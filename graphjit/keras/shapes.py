"""Functions of shapes: joins, padding, repetition, resizing."""

from __future__ import annotations

import math as pymath
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphjit.core.types import shape_text
from graphjit.functions import index, math
from graphjit.functions import shape as _shape
from graphjit.tensors.apply import as_tensor, wrap

from .settings import channels, invalid

__all__ = [
    "batch_flatten", "concatenate", "expand_dims", "flatten", "gather", "one_hot",
    "permute_dimensions", "repeat", "repeat_elements", "reshape", "resize_images",
    "resize_volumes", "reverse", "spatial_2d_padding", "spatial_3d_padding", "squeeze",
    "stack", "temporal_padding", "tile", "transpose",
]  # fmt: skip


expand_dims = _shape.expand_dims
reshape = _shape.reshape
stack = _shape.stack


def concatenate(tensors: Any, axis: int = -1) -> Any:
    """Tensors joined along an axis."""
    return _shape.concat(tensors, axis)


def transpose(x: Any) -> Any:
    """The axes reversed."""
    return _shape.transpose(x)


def permute_dimensions(x: Any, pattern: Any) -> Any:
    """Axes permuted."""
    return _shape.transpose(x, pattern)


def squeeze(x: Any, axis: int) -> Any:
    """An axis of extent 1 dropped."""
    return _shape.squeeze(x, axis)


def flatten(x: Any) -> Any:
    """All elements in one axis."""
    x = as_tensor(x)
    return _shape.reshape(x, (x.type.size,))


def batch_flatten(x: Any) -> Any:
    """All axes but the first made one."""
    x = as_tensor(x)
    if x.ndim == 0:
        raise invalid("batch_flatten of a scalar")
    return _shape.reshape(x, (x.type.shape[0], pymath.prod(x.type.shape[1:])))


def reverse(x: Any, axes: Any) -> Any:
    """The order of elements along axes turned round."""
    return _shape.reverse(x, axes)


def tile(x: Any, n: Any) -> Any:
    """The tensor repeated n times along each axis."""
    return _shape.tile(x, [n] if isinstance(n, int) else n)


def repeat(x: Any, n: int) -> Any:
    """A matrix [samples, dim] repeated along a new axis: [samples, n, dim]."""
    x = as_tensor(x)
    if x.ndim != 2:
        raise invalid(f"repeat takes a matrix, not the shape {shape_text(x.type.shape)}")
    return _shape.repeat(_shape.expand_dims(x, 1), n, axis=1)


def repeat_elements(x: Any, rep: int, axis: int) -> Any:
    """Each element repeated along an axis."""
    return _shape.repeat(x, rep, axis=axis)


def one_hot(indices: Any, num_classes: int) -> Any:
    """1 where an index equals the place along a new last axis, else 0; float32."""
    return index.one_hot(indices, num_classes)


def gather(reference: Any, indices: Any) -> Any:
    """Rows of a tensor at integer indices."""
    return index.gather(reference, indices)


def _pad_space(x: Any, pairs: Sequence[Any], data_format: str | None) -> Any:
    x = as_tensor(x)
    first = channels(data_format) == "channels_first"
    if x.ndim != len(pairs) + 2:
        raise invalid(
            f"padding of {len(pairs)} spatial axes of a tensor of shape "
            f"{shape_text(x.type.shape)}"
        )
    none = (0, 0)
    return _shape.pad(x, [none, none, *pairs] if first else [none, *pairs, none])


def temporal_padding(x: Any, padding: Sequence[int] = (1, 1)) -> Any:
    """Zeros before and after the middle axis of [batch, steps, features]."""
    return _pad_space(x, [padding], "channels_last")


def spatial_2d_padding(
    x: Any, padding: Sequence[Any] = ((1, 1), (1, 1)), data_format: str | None = None
) -> Any:
    """Zeros round the two spatial axes of images."""
    return _pad_space(x, list(padding), data_format)


def spatial_3d_padding(
    x: Any, padding: Sequence[Any] = ((1, 1), (1, 1), (1, 1)), data_format: str | None = None
) -> Any:
    """Zeros round the three spatial axes of volumes."""
    return _pad_space(x, list(padding), data_format)


def resize_images(
    x: Any,
    height_factor: int,
    width_factor: int,
    data_format: str,
    interpolation: str = "nearest",
) -> Any:
    """Images with height and width multiplied, by "nearest" or "bilinear" interpolation."""
    x = as_tensor(x)
    first = 2 if channels(data_format) == "channels_first" else 1
    if interpolation not in ("nearest", "bilinear"):
        raise invalid(f"interpolation should be 'nearest' or 'bilinear', not {interpolation!r}")
    for axis, factor in ((first, height_factor), (first + 1, width_factor)):
        if interpolation == "nearest":
            x = _shape.repeat(x, factor, axis=axis)
        else:
            x = _resize_linear(x, axis, factor)
    return x


def _resize_linear(x: Any, axis: int, factor: int) -> Any:
    """An axis made longer by linear interpolation between the centres of its elements."""
    extent = x.type.shape[axis]
    places = (np.arange(extent * factor) + 0.5) / factor - 0.5
    low = np.floor(places)
    weight = wrap((places - low).astype(x.dtype.dtype))
    ends = [np.clip(i, 0, extent - 1).astype(np.int64) for i in (low, low + 1)]
    before, after = (index.gather(x, wrap(i), axis=axis) for i in ends)
    column = [-1 if k == axis else 1 for k in range(x.ndim)]
    return math.lerp(before, after, _shape.reshape(weight, column))


def resize_volumes(
    x: Any, depth_factor: int, height_factor: int, width_factor: int, data_format: str
) -> Any:
    """Volumes with depth, height and width multiplied by repeating elements."""
    first = 2 if channels(data_format) == "channels_first" else 1
    for axis, factor in enumerate((depth_factor, height_factor, width_factor), first):
        x = _shape.repeat(x, factor, axis=axis)
    return x
