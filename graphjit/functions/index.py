"""Elements chosen by tensors of indices: gathering, scattering, segments."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, TensorIndexError, at_user_line
from graphjit.core.types import Shape, as_int, broadcast_shapes, normalize_axis, shape_text
from graphjit.ops import index as ix
from graphjit.tensors.apply import TensorBase, apply, as_tensor, wrap

from . import math
from .shape import broadcast_to, expand_dims, filled, moveaxis, reshape, unstack
from .subscript import from_end, getitem, index_tensor, integers, iota

__all__ = [
    "boolean_mask", "gather", "gather_nd", "one_hot", "scatter_nd", "sequence_mask",
    "take_along_axis", "tensor_scatter_nd_add", "tensor_scatter_nd_max",
    "tensor_scatter_nd_min", "tensor_scatter_nd_sub", "tensor_scatter_nd_update",
    "unsorted_segment_max", "unsorted_segment_sum",
]  # fmt: skip


def gather(params: Any, indices: Any, axis: int = 0, batch_dims: int = 0) -> Any:
    """Slices of params along an axis chosen by integer indices [...]; not negative ones."""
    x = as_tensor(params)
    chosen = index_tensor(as_tensor(indices))
    batch_dims = as_int(batch_dims, "batch_dims", "GatherV2")
    if batch_dims:
        return _gather_batched(x, chosen, axis, batch_dims)
    k = normalize_axis(axis, x.ndim, "GatherV2")
    result = apply(ix.gather, x, chosen, axes=(k,))
    return moveaxis(result, tuple(range(chosen.ndim)), tuple(range(k, k + chosen.ndim)))


def _extent(value: Any, what: str, op: str) -> int:
    extent = as_int(value, what, op)
    if extent < 0:
        raise InvalidArgumentError(at_user_line(f"{what} must be >= 0: {extent} [Op:{op}]"))
    return extent


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


def gather_nd(params: Any, indices: Any, batch_dims: int = 0) -> Any:
    """Elements or slices of params at the index vectors in the last axis of `indices`."""
    x, rows = as_tensor(params), index_tensor(as_tensor(indices))
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
    x, chosen = as_tensor(x), index_tensor(as_tensor(indices))
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
    rows = index_tensor(as_tensor(indices))
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


def one_hot(
    indices: Any,
    depth: int,
    on_value: Any = 1.0,
    off_value: Any = 0.0,
    axis: int = -1,
    dtype: Any = "float32",
) -> Any:
    """on_value where an index equals the place along a new axis of `depth`, else off_value."""
    chosen = integers(as_tensor(indices))
    depth = _extent(depth, "depth", "OneHot")
    k = normalize_axis(axis, chosen.ndim + 1, "OneHot")
    column = [depth if a == k else 1 for a in range(chosen.ndim + 1)]
    places = reshape(math.cast(iota((depth,), 0), chosen.dtype), column)
    hit = math.equal(expand_dims(chosen, k), places)
    on, off = (math.cast(as_tensor(v), dtype) for v in (on_value, off_value))
    return math.where(hit, on, off)


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
    counts = integers(as_tensor(lengths))
    maxlen = _extent(maxlen, "maxlen", "SequenceMask")
    places = math.cast(iota((maxlen,), 0), counts.dtype)
    return math.cast(math.less(places, expand_dims(counts, -1)), dtype)


def _segment(data: Any, segment_ids: Any, num_segments: int, mode: str, start: Any) -> Any:
    x, ids = as_tensor(data), index_tensor(as_tensor(segment_ids))
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
