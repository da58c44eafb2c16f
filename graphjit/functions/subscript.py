"""Python's x[key] and x[key] = value on tensors."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.errors import (
    InvalidArgumentError,
    TensorIndexError,
    TracingError,
    at_user_line,
)
from graphjit.core.types import Shape, broadcast_shapes, int64, shape_text
from graphjit.ops import index as ix
from graphjit.tensors.apply import TensorBase, apply, as_tensor, wrap

from . import math
from .shape import broadcast_to, moveaxis, reshape, slice_strided

# One entry for each axis of the indexed tensor (ints and slices), arrays kept aside.
_Basic = tuple[Shape, Shape, Shape]


def iota(shape: Shape, axis: int) -> Any:
    """int64 of this shape: each element is its index along the axis."""
    return apply(ix.iota, shape=tuple(shape), axis=axis)


def getitem(x: Any, key: Any, wrap_negative: bool = True) -> Any:
    """x[key] for ints, slices, `...`, newaxis, integer and boolean arrays or tensors.

    A scalar index out of range raises TensorIndexError in TensorFlow's words; boolean
    masks make a shape that depends on data and can't be traced unless they are constant.
    """
    x = as_tensor(x)
    parts = expand_key(key, x.type.shape)
    starts, sizes, steps, shape, arrays = _box(parts, x.type.shape)
    result = slice_strided(x, starts, sizes, steps)
    result = reshape(result, shape)
    return _index_arrays(result, arrays, parts, wrap_negative) if arrays else result


def _box(
    parts: list[Any], extents: Shape
) -> tuple[Shape, Shape, Shape, Shape, list[tuple[int, Any]]]:
    """What the ints and slices of a key choose: starts, sizes and steps of the axes, the
    shape of the result, and the index arrays with the result's axes that they replace.
    """
    boxes: list[tuple[int, int, int]] = []
    shape: list[int] = []
    arrays: list[tuple[int, Any]] = []
    for part in parts:
        if part is Ellipsis:
            continue
        if part is None:
            shape.append(1)
            continue
        axis = len(boxes)
        extent = extents[axis]
        if isinstance(part, slice):
            boxes.append(slice_bounds(part, extent))
            shape.append(boxes[-1][1])
        elif isinstance(part, (int, Dim)):
            boxes.append((check_index(part, extent, axis), 1, 1))
        else:
            boxes.append((0, extent, 1))
            arrays.append((len(shape), part))
            shape.append(extent)
    starts, sizes, steps = (tuple(box[k] for box in boxes) for k in range(3))
    return starts, sizes, steps, tuple(shape), arrays


def expand_key(key: Any, shape: Shape) -> list[Any]:
    """The key with one entry an axis: int, slice or index tensor, and None for new axes."""
    items = list(key) if isinstance(key, tuple) else [key]
    parts: list[Any] = []
    used = 0
    for item in items:
        part = _normalize(item)
        if isinstance(part, list):  # a boolean mask: one index array for each of its axes
            mask_shape, part = part[0], part[1]
            covered = (
                shape[used : used + len(mask_shape)]
                if not any(p is Ellipsis for p in parts)
                else None
            )
            if covered is not None and tuple(covered) != mask_shape:
                raise InvalidArgumentError(
                    at_user_line(
                        f"a boolean mask of shape {shape_text(mask_shape)} on axes of shape "
                        f"{shape_text(covered)}"
                    )
                )
            parts += part
            used += len(part)
            continue
        parts.append(part)
        used += part is not None and part is not Ellipsis
    if sum(part is Ellipsis for part in parts) > 1:
        raise InvalidArgumentError(at_user_line("an index can only have a single ellipsis"))
    if used > len(shape):
        raise TensorIndexError(
            at_user_line(f"too many indices: {used} for a tensor of shape {shape_text(shape)}")
        )
    # an ellipsis that stands for no axis still parts index arrays, and so stays
    rest: list[Any] = [slice(None)] * (len(shape) - used) or [Ellipsis]
    place = next((i for i, part in enumerate(parts) if part is Ellipsis), None)
    if place is None:
        return parts + (rest if used < len(shape) else [])
    return parts[:place] + rest + parts[place + 1 :]


def _normalize(item: Any) -> Any:
    """An index as None, Ellipsis, int, slice, index tensor, or [mask shape, index tensors]."""
    if item is None or item is Ellipsis or isinstance(item, slice):
        return item
    if isinstance(item, bool):
        item = np.bool_(item)
    if isinstance(item, Dim):
        return item
    if not isinstance(item, (TensorBase, np.ndarray)) and _is_index(item):
        return operator.index(item)
    if not isinstance(item, (TensorBase, np.ndarray, np.bool_, list, tuple)):
        raise InvalidArgumentError(
            at_user_line(
                f"only integers, slices, ..., newaxis and arrays index a tensor, not {item!r}"
            )
        )
    empty = isinstance(item, (list, tuple)) and not item
    tensor = as_tensor(item, int64 if empty else None)
    if tensor.dtype.is_bool:
        return _mask_indices(tensor)
    if tensor.ndim == 0 and tensor.recorder is None and tensor.dtype.is_integer:
        return int(tensor)  # type: ignore[call-overload]
    return index_tensor(tensor)


def _mask_indices(mask: TensorBase) -> Any:
    """A boolean mask's shape, and index tensors of its true elements."""
    if mask.recorder is not None:
        raise TracingError(
            at_user_line(
                "a boolean mask gives a shape that depends on data, which can't be traced",
                "write gj.where(mask, x, 0), or let the function fall back to eager mode",
            )
        )
    if mask.ndim == 0:
        raise InvalidArgumentError(at_user_line("a single bool doesn't index a tensor"))
    return [mask.shape, [wrap(i) for i in np.nonzero(mask.numpy())]]  # type: ignore[attr-defined]


def integers(tensor: TensorBase) -> TensorBase:
    """The tensor, refused if it isn't of integers."""
    if not tensor.dtype.is_integer:
        raise InvalidArgumentError(
            at_user_line(f"indices must be integers, not {tensor.dtype.name}")
        )
    return tensor


def index_tensor(tensor: TensorBase) -> TensorBase:
    """The tensor as int64; refused if it isn't of integers."""
    result: TensorBase = math.cast(integers(tensor), int64)
    return result


def slice_bounds(item: slice, extent: int) -> tuple[int, int, int]:
    """Start, number of elements and step of a slice."""
    for bound in (item.start, item.stop, item.step):
        if isinstance(bound, TensorBase) and bound.recorder is not None:
            bound.__index__()  # type: ignore[attr-defined]
        elif bound is not None and not _is_index(bound):
            raise InvalidArgumentError(
                at_user_line(f"a slice's bounds are integers or None, not {bound!r}")
            )
    if item.step == 0:
        raise InvalidArgumentError(
            at_user_line("strides[0] must be non-zero [Op:StridedSlice]")
        )
    if isinstance(extent, Dim) or any(isinstance(b, Dim) for b in (item.start, item.stop)):
        start, stop, step = _slice_indices(item, extent)
    else:
        start, stop, step = item.indices(extent)
    size = max(0, (stop - start + (step - (1 if step > 0 else -1))) // step)
    return (start if size else 0), size, (step if size else 1)


def _slice_indices(item: slice, extent: int) -> tuple[int, int, int]:
    """`slice.indices` where extents are symbolic: each comparison is a guard."""
    step = 1 if item.step is None else operator.index(item.step)
    low, high = (0, extent) if step > 0 else (-1, extent - 1)
    ends = []
    for bound, default in ((item.start, low), (item.stop, high)):
        if bound is None:
            ends.append(default if step > 0 else low + high - default)
            continue
        if not isinstance(bound, Dim):
            bound = operator.index(bound)
        if bound < 0:
            bound = bound + extent
            ends.append(low if bound < low else bound)
        else:
            ends.append(high if bound > high else bound)
    return ends[0], ends[1], step


def _is_index(value: Any) -> bool:
    if isinstance(value, Dim):
        return True
    try:
        operator.index(value)
    except TypeError:
        return False
    return True


def check_index(index: int, extent: int, axis: int) -> int:
    """An index counted from the start; TensorIndexError if there is no such element."""
    if not -extent <= index < extent:
        raise TensorIndexError(
            at_user_line(f"slice index {index} of dimension {axis} out of bounds.")
        )
    return index if index >= 0 else index + extent


def _index_arrays(
    x: TensorBase, arrays: list[tuple[int, Any]], parts: list[Any], wrap_negative: bool
) -> Any:
    axes = tuple(axis for axis, _ in arrays)
    indices = _broadcast_indices([index for _, index in arrays])
    if wrap_negative:
        indices = [from_end(i, x.type.shape[a]) for a, i in zip(axes, indices, strict=True)]
    result = apply(ix.gather, x, *indices, axes=axes)
    # NumPy: arrays next to each other keep their place, else their axes come first. An int
    # between arrays counts as an array.
    count = indices[0].ndim
    advanced = [i for i, p in enumerate(parts) if isinstance(p, (int, Dim, TensorBase))]
    together = advanced == list(range(advanced[0], advanced[-1] + 1))
    if together and axes[0]:
        return moveaxis(result, tuple(range(count)), tuple(range(axes[0], axes[0] + count)))
    return result


def _broadcast_indices(indices: Sequence[TensorBase]) -> list[Any]:
    shape = broadcast_shapes(tuple(i.type.shape for i in indices), "GatherV2")
    return [broadcast_to(i, shape) for i in indices]


def from_end(index: Any, extent: int) -> Any:
    """Indices with the extent added to negative ones, but those that are still negative then:
    errors name them as they are.
    """
    if index.recorder is None:
        values = index.numpy()
        if (values >= 0).all():
            return index
    if index.recorder is None and type(extent) is int:
        moved = values + extent
        return wrap(np.where((values < 0) & (moved >= 0), moved, values))
    moved = math.add(index, extent)
    fits = math.logical_and(math.less(index, 0), math.greater_equal(moved, 0))
    return math.where(fits, moved, index)


def setitem(x: Any, key: Any, value: Any) -> Any:
    """A copy of x with x[key] replaced by the value, broadcast: NumPy's assignment."""
    from graphjit.ops import assemble

    x = as_tensor(x)
    parts = expand_key(key, x.type.shape)
    value = as_tensor(value, x.dtype)
    arrays = [p for p in parts if isinstance(p, TensorBase)]
    if arrays:
        return _set_arrays(x, parts, value)
    starts, sizes, steps, shape, _ = _box(parts, x.type.shape)
    piece = reshape(broadcast_value(value, shape), sizes)
    return apply(assemble.place, x, piece, starts=starts, steps=steps)


def broadcast_value(value: TensorBase, shape: Shape) -> Any:
    """A value broadcast to the shape it is assigned to; leading axes of extent 1 dropped."""
    while value.ndim > len(shape) and value.type.shape[0] == 1:
        value = reshape(value, value.type.shape[1:])
    fits = value.ndim <= len(shape) and all(
        n in (1, m) for n, m in zip(reversed(value.type.shape), reversed(shape), strict=False)
    )
    if not fits:
        raise InvalidArgumentError(
            at_user_line(
                f"Cannot broadcast input shape {shape_text(value.type.shape)} into final shape "
                f"{shape_text(shape)} [Op:StridedSliceAssign]"
            )
        )
    return broadcast_to(value, shape)


def _set_arrays(x: TensorBase, parts: list[Any], value: TensorBase) -> Any:
    """Assignment through index arrays: scatter of elements, or of all along the last axes."""
    indices, shape, whole = _mesh(parts, x.type.shape)
    updates = broadcast_value(value, shape)
    axes = tuple(range(x.ndim - whole))
    found = [
        reshape(i if a is None else from_end(i, x.type.shape[a]), (-1,)) for a, i in indices
    ]
    rest = x.type.shape[x.ndim - whole :]
    flat = reshape(updates, (found[0].type.shape[0], *rest))
    return apply(ix.scatter, x, flat, *found, axes=axes, mode="update")


def _mesh(parts: list[Any], extents: Shape) -> tuple[list[tuple[int | None, Any]], Shape, int]:
    """What a key with index arrays chooses: for each axis but the last ones its indices,
    broadcast to the leading axes of the assigned shape, with the axis where some may be
    negative; that shape; and how many last axes are assigned whole.
    """
    kinds = [p for p in parts if p is not Ellipsis]
    arrays = [p for p in kinds if isinstance(p, TensorBase)]
    chosen = broadcast_shapes(tuple(p.type.shape for p in arrays), "ScatterNd")
    advanced = [k for k, p in enumerate(parts) if isinstance(p, (int, Dim, TensorBase))]
    together = advanced == list(range(advanced[0], advanced[-1] + 1))
    # The assigned shape: the axes of the arrays stand where the first of them does, or first.
    shape: list[Any] = [] if together else list(chosen)
    at = None if together else 0
    axis = 0
    entries: list[Any] = []  # by axis: where its indices lie in the shape, and what they are
    for part in kinds:
        if part is None:
            shape.append(1)
            continue
        extent = extents[axis]
        if isinstance(part, slice):
            start, size, step = slice_bounds(part, extent)
            entries.append((len(shape), (start, size, step), extent))
            shape.append(size)
        else:
            if at is None:
                at = len(shape)
                shape += chosen
            entries.append((-1, part, extent))
        axis += 1
    whole = 0
    while whole < len(entries):
        place, part, extent = entries[-1 - whole]
        if place < 0 or place != len(shape) - 1 - whole or part != (0, extent, 1):
            break
        whole += 1
    count = len(shape) - whole
    assert at is not None
    found: list[tuple[int | None, Any]] = []
    for axis, (place, part, extent) in enumerate(entries[: len(entries) - whole]):
        if place >= 0:
            start, size, step = part
            numbers = math.add(math.multiply(iota((size,), 0), step), start)
            aligned = reshape(numbers, (size, *(1,) * (count - 1 - place)))
            found.append((None, broadcast_to(aligned, tuple(shape[:count]))))
            continue
        if not isinstance(part, TensorBase):
            part = as_tensor(check_index(part, extent, axis), int64)
        aligned = reshape(part, (*part.type.shape, *(1,) * (count - at - len(chosen))))
        found.append((axis, broadcast_to(aligned, tuple(shape[:count]))))
    return found, tuple(shape), whole
