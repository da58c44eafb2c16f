"""Indexing: NumPy's `x[...]`, gather and scatter, sorting.

Indices are checked: one outside its axis is an error, never clamped.
"""

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
from graphjit.core.types import (
    Shape,
    as_int,
    broadcast_shapes,
    int64,
    normalize_axis,
    shape_text,
)
from graphjit.ops import index as ix
from graphjit.ops import library
from graphjit.tensors.apply import TensorBase, apply, as_tensor, same_dtype, wrap

from . import math
from .shape import broadcast_to, expand_dims, filled, moveaxis, reshape, slice_strided, unstack

__all__ = [
    "argsort",
    "boolean_mask",
    "gather",
    "gather_nd",
    "one_hot",
    "scatter_nd",
    "searchsorted",
    "sequence_mask",
    "sort",
    "take_along_axis",
    "tensor_scatter_nd_add",
    "tensor_scatter_nd_max",
    "tensor_scatter_nd_min",
    "tensor_scatter_nd_sub",
    "tensor_scatter_nd_update",
    "top_k",
    "unique",
    "unsorted_segment_max",
    "unsorted_segment_sum",
]

# One entry for each axis of the indexed tensor (ints and slices), arrays kept aside.
_Basic = tuple[Shape, Shape, Shape]


def getitem(x: Any, key: Any, wrap_negative: bool = True) -> Any:
    """x[key] for ints, slices, `...`, newaxis, integer and boolean arrays or tensors.

    A scalar index out of range raises TensorIndexError in TensorFlow's words; boolean
    masks make a shape that depends on data and can't be traced unless they are constant.
    """
    x = as_tensor(x)
    parts = expand_key(key, x.type.shape)
    boxes: list[tuple[int, int, int]] = []  # start, size and step of each axis
    shape: list[int] = []  # of the basic result
    arrays: list[tuple[int, Any]] = []  # (axis of the basic result, indices)
    axis = 0
    for part in parts:
        if part is Ellipsis:
            continue
        if part is None:
            shape.append(1)
            continue
        extent = x.type.shape[axis]
        if isinstance(part, slice):
            start, size, step = slice_bounds(part, extent)
            boxes.append((start, size, step))
            shape.append(size)
        elif isinstance(part, (int, Dim)):
            boxes.append((check_index(part, extent, axis), 1, 1))
        else:
            boxes.append((0, extent, 1))
            arrays.append((len(shape), part))
            shape.append(extent)
        axis += 1
    starts, sizes, steps = (tuple(box[k] for box in boxes) for k in range(3))
    result = slice_strided(x, starts, sizes, steps)
    result = reshape(result, tuple(shape))
    return _index_arrays(result, arrays, parts, wrap_negative) if arrays else result


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
    return _index_tensor(tensor)


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


def _whole(tensor: TensorBase) -> TensorBase:
    """The tensor, refused if it isn't of integers."""
    if not tensor.dtype.is_integer:
        raise InvalidArgumentError(
            at_user_line(f"indices must be integers, not {tensor.dtype.name}")
        )
    return tensor


def _extent(value: Any, what: str, op: str) -> int:
    extent = as_int(value, what, op)
    if extent < 0:
        raise InvalidArgumentError(at_user_line(f"{what} must be >= 0: {extent} [Op:{op}]"))
    return extent


def _index_tensor(tensor: TensorBase) -> TensorBase:
    result: TensorBase = math.cast(_whole(tensor), int64)
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


def gather(params: Any, indices: Any, axis: int = 0, batch_dims: int = 0) -> Any:
    """Slices of params along an axis chosen by integer indices [...]; not negative ones."""
    x = as_tensor(params)
    chosen = _index_tensor(as_tensor(indices))
    batch_dims = as_int(batch_dims, "batch_dims", "GatherV2")
    if batch_dims:
        return _gather_batched(x, chosen, axis, batch_dims)
    k = normalize_axis(axis, x.ndim, "GatherV2")
    result = apply(ix.gather, x, chosen, axes=(k,))
    return moveaxis(result, tuple(range(chosen.ndim)), tuple(range(k, k + chosen.ndim)))


def _gather_batched(x: TensorBase, chosen: TensorBase, axis: int, batch_dims: int) -> Any:
    count = batch_dims + chosen.ndim if batch_dims < 0 else batch_dims
    k = normalize_axis(axis, x.ndim, "GatherV2")
    k = k or count  # the default, 0, is a batch dimension
    if (
        not 0 <= count <= min(k, x.ndim - 1, chosen.ndim)
        or x.type.shape[:count] != chosen.type.shape[:count]
    ):
        raise InvalidArgumentError(
            at_user_line(
                f"batch_dims {batch_dims} with shapes {shape_text(x.type.shape)} and "
                f"{shape_text(chosen.type.shape)} [Op:GatherV2]"
            )
        )
    x = moveaxis(x, k, count)
    grids = [iota(chosen.type.shape, b) for b in range(count)]
    result = apply(ix.gather, x, *grids, chosen, axes=tuple(range(count + 1)))
    inner = tuple(range(count, chosen.ndim))
    return moveaxis(result, inner, tuple(range(k, k + len(inner))))


def iota(shape: Shape, axis: int) -> Any:
    """int64 of this shape: each element is its index along the axis."""
    return apply(ix.iota, shape=tuple(shape), axis=axis)


def gather_nd(params: Any, indices: Any, batch_dims: int = 0) -> Any:
    """Elements or slices of params at the index vectors in the last axis of `indices`."""
    x, rows = as_tensor(params), _index_tensor(as_tensor(indices))
    batch_dims = _extent(batch_dims, "batch_dims", "GatherNd")
    if rows.ndim <= batch_dims or x.type.shape[:batch_dims] != rows.type.shape[:batch_dims]:
        raise InvalidArgumentError(
            at_user_line(
                f"batch_dims {batch_dims} with shapes {shape_text(x.type.shape)} and "
                f"{shape_text(rows.type.shape)} [Op:GatherNd]"
            )
        )
    if rows.ndim == 0 or rows.type.shape[-1] + batch_dims > x.ndim:
        raise InvalidArgumentError(
            at_user_line(
                f"index innermost dimension length must be <= params rank; saw: "
                f"{rows.type.shape[-1] if rows.ndim else 0} vs. {x.ndim} [Op:GatherNd]"
            )
        )
    columns = [iota(rows.type.shape[:-1], b) for b in range(batch_dims)]
    columns += unstack(rows, axis=-1)
    if not columns:
        return broadcast_to(x, (*rows.type.shape[:-1], *x.type.shape))
    return apply(ix.gather, x, *columns, axes=tuple(range(len(columns))))


def take_along_axis(x: Any, indices: Any, axis: int = -1) -> Any:
    """X at `indices` along one axis and at the same place along the others."""
    x, chosen = as_tensor(x), _index_tensor(as_tensor(indices))
    k = normalize_axis(axis, x.ndim, "GatherV2")
    if chosen.ndim != x.ndim:
        raise InvalidArgumentError(
            at_user_line(f"indices of rank {chosen.ndim} for a tensor of rank {x.ndim}")
        )
    shape = list(
        broadcast_shapes(
            (_without(x.type.shape, k), _without(chosen.type.shape, k)), "GatherV2"
        )
    )
    shape[k] = chosen.type.shape[k]
    chosen = broadcast_to(from_end(chosen, x.type.shape[k]), tuple(shape))
    wide = list(shape)
    wide[k] = x.type.shape[k]
    x = broadcast_to(x, tuple(wide))
    grids = [chosen if a == k else iota(tuple(shape), a) for a in range(x.ndim)]
    return apply(ix.gather, x, *grids, axes=tuple(range(x.ndim)))


def _without(shape: Shape, axis: int) -> Shape:
    return (*shape[:axis], 1, *shape[axis + 1 :])


def scatter_by(base: Any, indices: Any, updates: Any, mode: str) -> Any:
    """`base` with updates combined in at the index vectors in the last axis of `indices`."""
    base = as_tensor(base)
    rows = _index_tensor(as_tensor(indices))
    values = as_tensor(updates, base.dtype)
    depth = rows.type.shape[-1] if rows.ndim else 0
    if rows.ndim == 0 or depth > base.ndim:
        raise InvalidArgumentError(
            at_user_line(
                f"indices of shape {shape_text(rows.type.shape)} do not index into shape "
                f"{shape_text(base.type.shape)} [Op:TensorScatterUpdate]"
            )
        )
    if not depth:
        raise InvalidArgumentError(at_user_line("empty index vectors [Op:TensorScatterUpdate]"))
    check_rows(rows, base.type.shape)
    columns = unstack(rows, axis=-1)
    wanted = (*rows.type.shape[:-1], *base.type.shape[depth:])
    if values.type.shape != wanted:
        raise InvalidArgumentError(
            at_user_line(
                f"updates of shape {shape_text(values.type.shape)}: indices and tensor ask for "
                f"{shape_text(wanted)} [Op:TensorScatterUpdate]"
            )
        )
    return apply(ix.scatter, base, values, *columns, axes=tuple(range(depth)), mode=mode)


def check_rows(rows: TensorBase, shape: Shape) -> None:
    """TensorFlow's error for an index vector that leaves a shape, where its value is known."""
    if rows.recorder is not None:
        return
    table = rows.numpy().reshape(-1, rows.type.shape[-1])  # type: ignore[attr-defined]
    bad = ((table < 0) | (table >= np.array(shape[: table.shape[1]]))).any(axis=1)
    if bad.any():
        number = int(np.argmax(bad))
        raise TensorIndexError(
            at_user_line(
                f"indices[{number}] = {table[number].tolist()} does not index into shape "
                f"{shape_text(shape)}"
            )
        )


def tensor_scatter_nd_update(tensor: Any, indices: Any, updates: Any) -> Any:
    """A copy of the tensor with elements or slices replaced; the last of equal indices wins."""
    return scatter_by(tensor, indices, updates, "update")


def tensor_scatter_nd_add(tensor: Any, indices: Any, updates: Any) -> Any:
    """A copy of the tensor with updates added."""
    return scatter_by(tensor, indices, updates, "add")


def tensor_scatter_nd_sub(tensor: Any, indices: Any, updates: Any) -> Any:
    """A copy of the tensor with updates subtracted."""
    return scatter_by(tensor, indices, updates, "sub")


def tensor_scatter_nd_min(tensor: Any, indices: Any, updates: Any) -> Any:
    """A copy of the tensor with the smaller of element and update."""
    return scatter_by(tensor, indices, updates, "min")


def tensor_scatter_nd_max(tensor: Any, indices: Any, updates: Any) -> Any:
    """A copy of the tensor with the larger of element and update."""
    return scatter_by(tensor, indices, updates, "max")


def scatter_nd(indices: Any, updates: Any, shape: Any) -> Any:
    """Zeros of a shape with updates added at index vectors."""
    updates = as_tensor(updates)
    zeros = filled(shape, as_tensor(False, updates.dtype))
    return scatter_by(zeros, indices, updates, "add")


def setitem(x: Any, key: Any, value: Any) -> Any:
    """A copy of x with x[key] replaced by the value, broadcast: NumPy's assignment."""
    from graphjit.ops import assemble

    x = as_tensor(x)
    parts = expand_key(key, x.type.shape)
    value = as_tensor(value, x.dtype)
    arrays = [p for p in parts if isinstance(p, TensorBase)]
    if arrays:
        return _set_arrays(x, parts, value)
    boxes: list[tuple[int, int, int]] = []  # start, size and step of each axis
    shape: list[int] = []
    axis = 0
    for part in parts:
        if part is Ellipsis:
            continue
        if part is None:
            shape.append(1)
            continue
        if isinstance(part, slice):
            boxes.append(slice_bounds(part, x.type.shape[axis]))
            shape.append(boxes[-1][1])
        else:
            boxes.append((check_index(part, x.type.shape[axis], axis), 1, 1))
        axis += 1
    starts, sizes, steps = (tuple(box[k] for box in boxes) for k in range(3))
    piece = reshape(broadcast_value(value, tuple(shape)), sizes)
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
    """Assignment through index arrays: scatter of whole elements."""
    numbers = reshape(iota((x.type.size,), 0), x.type.shape)
    chosen = getitem(numbers, tuple(parts))
    updates = broadcast_value(value, chosen.type.shape)
    flat = reshape(x, (-1,))
    result = apply(
        ix.scatter,
        flat,
        reshape(updates, (-1,)),
        reshape(chosen, (-1,)),
        axes=(0,),
        mode="update",
    )
    return reshape(result, x.type.shape)


def one_hot(
    indices: Any,
    depth: int,
    on_value: Any = 1.0,
    off_value: Any = 0.0,
    axis: int = -1,
    dtype: Any = "float32",
) -> Any:
    """on_value where an index equals the place along a new axis of `depth`, else off_value."""
    chosen = _whole(as_tensor(indices))
    depth = _extent(depth, "depth", "OneHot")
    k = normalize_axis(axis, chosen.ndim + 1, "OneHot")
    column = [depth if a == k else 1 for a in range(chosen.ndim + 1)]
    places = reshape(math.cast(iota((depth,), 0), chosen.dtype), column)
    hit = math.equal(expand_dims(chosen, k), places)
    on, off = (math.cast(as_tensor(v), dtype) for v in (on_value, off_value))
    return math.where(hit, on, off)


def sort(values: Any, axis: int = -1, direction: str = "ASCENDING") -> Any:
    """Sorted along an axis; NaN last, in either direction."""
    x = as_tensor(values)
    if _descending(direction):
        return take_along_axis(x, argsort(x, axis, direction), axis)
    k = normalize_axis(axis, x.ndim, "Sort")
    return apply(library.sort, x, axis=k, kind="quicksort")


def argsort(
    values: Any, axis: int = -1, direction: str = "ASCENDING", stable: bool = True
) -> Any:
    """The indices (int32) that sort along an axis; equal elements keep their order."""
    x = as_tensor(values)
    k = normalize_axis(axis, x.ndim, "ArgSort")
    if not _descending(direction):
        return math.cast(apply(library.argsort, x, axis=k, kind="stable"), "int32")
    key = math.bitwise_not(x) if x.dtype.kind in "biu" else math.negative(x)
    return math.cast(apply(library.argsort, key, axis=k, kind="stable"), "int32")


def _descending(direction: str) -> bool:
    named = direction.upper() if isinstance(direction, str) else ""
    if named not in ("ASCENDING", "DESCENDING"):
        raise InvalidArgumentError(
            at_user_line(f"direction is ASCENDING or DESCENDING, not {direction!r} [Op:Sort]")
        )
    return named == "DESCENDING"


def top_k(x: Any, k: int = 1, sorted: bool = True) -> tuple[Any, Any]:
    """The k largest elements of the last axis, largest first, and their indices (int32)."""
    x = as_tensor(x)
    k = as_int(k, "k", "TopKV2")
    if x.ndim == 0 or not 0 <= k <= x.type.shape[-1]:
        raise InvalidArgumentError(
            at_user_line(f"input must have at least k({k}) columns [Op:TopKV2]")
        )
    order = argsort(x, -1, "DESCENDING")
    chosen = getitem(order, (Ellipsis, slice(0, k)))
    return take_along_axis(x, chosen, -1), chosen


def searchsorted(sorted_sequence: Any, values: Any, side: str = "left") -> Any:
    """Where each value would go in a sorted 1-d tensor to keep it sorted, int64."""
    if not isinstance(side, str) or side not in ("left", "right"):
        raise InvalidArgumentError(at_user_line(f"side is left or right, not {side!r}"))
    sequence, wanted = same_dtype(sorted_sequence, values)
    return apply(library.searchsorted, sequence, wanted, right=side == "right")


def unique(x: Any) -> tuple[Any, Any]:
    """The different elements of a 1-d tensor in order of appearance, and each one's number.

    Eager only: the shape depends on data.
    """
    values = math.known_array(x, "unique")
    if values.ndim != 1:
        raise InvalidArgumentError(at_user_line("unique expects a 1D vector. [Op:Unique]"))
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    numbers = np.empty_like(order)
    numbers[order] = np.arange(order.size)
    return wrap(values[np.sort(first)]), wrap(numbers[inverse].astype(np.int32))


def boolean_mask(tensor: Any, mask: Any, axis: int | None = None) -> Any:
    """The slices along leading axes where the mask is true. Eager only."""
    x = as_tensor(tensor)
    chosen = math.known_array(mask, "boolean_mask")
    if chosen.dtype != np.bool_ or chosen.ndim == 0:
        raise InvalidArgumentError(at_user_line("the mask must be bool, of rank 1 or more"))
    lead = (slice(None),) * normalize_axis(axis or 0, x.ndim, "BooleanMask")
    return getitem(x, (*lead, wrap(chosen)))


def sequence_mask(lengths: Any, maxlen: int, dtype: Any = "bool") -> Any:
    """True for the first so many places of a new last axis of extent maxlen."""
    counts = _whole(as_tensor(lengths))
    maxlen = _extent(maxlen, "maxlen", "SequenceMask")
    places = math.cast(iota((maxlen,), 0), counts.dtype)
    return math.cast(math.less(places, expand_dims(counts, -1)), dtype)


def _segment(data: Any, segment_ids: Any, num_segments: int, mode: str, start: Any) -> Any:
    x, ids = as_tensor(data), _index_tensor(as_tensor(segment_ids))
    shape = (
        _extent(num_segments, "num_segments", "UnsortedSegmentSum"),
        *x.type.shape[ids.ndim :],
    )
    base = filled(shape, as_tensor(start, x.dtype))
    return scatter_by(base, expand_dims(ids, -1), x, mode)


def unsorted_segment_sum(data: Any, segment_ids: Any, num_segments: int) -> Any:
    """Sums of the slices that share a segment number: [num_segments, ...]."""
    return _segment(data, segment_ids, num_segments, "add", 0)


def unsorted_segment_max(data: Any, segment_ids: Any, num_segments: int) -> Any:
    """Maxima of the slices that share a segment number; the lowest value where none does."""
    from graphjit.ops.reduce import lowest

    dtype = as_tensor(data).dtype
    return _segment(data, segment_ids, num_segments, "max", lowest(dtype))
