"""NumPy's functions that join arrays or split one: concatenate, stack, block, split."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from graphjit.core.errors import DTypeError, at_user_line
from graphjit.core.types import Shape
from graphjit.functions import shape
from graphjit.tensors.apply import TensorBase

from .promotion import (
    Handler,
    array,
    axis_of,
    cast,
    indexed_axis,
    is_symbol,
    refuse,
    result_dtype,
    static_int,
    static_ints,
    target_dtype,
    unsupported,
)
from .shapes import at_least, bad_shape, shape_at_least


def _is_array(arrays: Any) -> bool:
    """Whether what is joined are the items of one array; TypeError if it has none."""
    if isinstance(arrays, TensorBase) and not arrays.type.shape:
        raise DTypeError(at_user_line("iteration over a 0-d array"))
    return isinstance(arrays, (TensorBase, np.ndarray))


def _join_items(arrays: Any, shape_of: Callable[[Shape], Shape], axis: Any, dtype: Any) -> Any:
    """The items of one array, each in a shape that depends on its own, concatenated along an
    axis of that (None: of all, in a row): one transposition, however many they are.
    """
    x = array(arrays)
    count, own = x.type.shape[0], shape_of(x.type.shape[1:])
    if count == 0:
        raise bad_shape("need at least one array to concatenate")
    x = shape.reshape(x, (count, *own))
    if axis is None:
        return join_arrays([x], None, dtype)
    if not own:
        raise bad_shape("zero-dimensional arrays cannot be concatenated")
    k = axis_of(axis, len(own))
    moved = shape.moveaxis(x, 0, k)
    return join_arrays(
        [shape.reshape(moved, (*own[:k], count * own[k], *own[k + 1 :]))], k, dtype
    )


def concatenate(
    arrays: Any, /, axis: Any = 0, out: Any = None, *, dtype: Any = None,
    casting: Any = "same_kind",
) -> Any:  # fmt: skip
    """np.concatenate."""
    refuse(out=(out,), casting=(casting, "same_kind"))
    if _is_array(arrays):
        return _join_items(arrays, tuple, axis, dtype)
    return join_arrays([array(a) for a in arrays], axis, dtype)


def join_arrays(found: list[Any], axis: Any, dtype: Any = None) -> Any:
    """Tensors concatenated in their common dtype, or the one given."""
    if not found:
        raise bad_shape("need at least one array to concatenate")
    target = result_dtype(*found) if dtype is None else target_dtype(dtype)
    if dtype is not None:
        for x in found:
            if not np.can_cast(x.type.dtype.dtype, target.dtype, "same_kind"):
                raise DTypeError(
                    at_user_line(
                        f"Cannot cast {x.type.dtype.name} to {target.name} by same_kind"
                    )
                )
    found = [cast(x, target) for x in found]
    if axis is None:
        found, axis = [shape.reshape(x, (x.type.size,)) for x in found], 0
    if not found[0].ndim:
        raise bad_shape("zero-dimensional arrays cannot be concatenated")
    k = axis_of(axis, found[0].ndim)
    # not by a set: extents are equal in more ways than by their texts
    rest = [x.type.shape[:k] + x.type.shape[k + 1 :] for x in found]
    if any(x.ndim != found[0].ndim for x in found) or any(r != rest[0] for r in rest):
        raise bad_shape(
            "all the input array dimensions except for the concatenation axis must match"
        )
    return shape.concat(found, k)


def stack(
    arrays: Any,
    axis: Any = 0,
    out: Any = None,
    *,
    dtype: Any = None,
    casting: Any = "same_kind",
) -> Any:
    """np.stack."""
    refuse(out=(out,), casting=(casting, "same_kind"))
    if _is_array(arrays):
        k = axis_of(axis, array(arrays).ndim)
        return _join_items(arrays, lambda own: (*own[:k], 1, *own[k:]), k, dtype)
    found = [array(a) for a in arrays]
    if not found:
        raise bad_shape("need at least one array to stack")
    if any(x.type.shape != found[0].type.shape for x in found):
        raise bad_shape("all input arrays must have the same shape")
    k = axis_of(axis, found[0].ndim + 1)
    return join_arrays([shape.expand_dims(x, k) for x in found], k, dtype)


def _stacked(rank: int, axis: int) -> Handler:
    def handler(tup: Any, *, dtype: Any = None, casting: Any = "same_kind") -> Any:
        refuse(casting=(casting, "same_kind"))
        if _is_array(tup):
            k = 0 if axis == 1 and array(tup).ndim <= 2 else axis
            return _join_items(tup, lambda own: shape_at_least(rank, own), k, dtype)
        found = [at_least(rank)(a) for a in tup]
        k = 0 if axis == 1 and found and found[0].ndim == 1 else axis
        return join_arrays(found, k, dtype)

    return handler


def column_stack(tup: Any) -> Any:
    """np.column_stack."""
    if _is_array(tup):
        return _join_items(tup, lambda own: (*own, *(1,) * (2 - len(own))), 1, None)
    columns = []
    for item in tup:
        x = array(item)
        columns.append(shape.reshape(x, (x.type.size, 1)) if x.ndim < 2 else x)
    return join_arrays(columns, 1)


def block(arrays: Any) -> Any:
    """np.block."""

    def depth(item: Any) -> int:
        return 1 + max(map(depth, item), default=0) if isinstance(item, list) else 0

    def rank(item: Any) -> int:
        return max(map(rank, item)) if isinstance(item, list) else array(item).ndim

    levels = depth(arrays)
    ndim = max(levels, rank(arrays))

    def join(item: Any, level: int) -> Any:
        if isinstance(item, list):
            return join_arrays([join(part, level + 1) for part in item], level - levels)
        if level != levels:
            raise bad_shape("List depths are mismatched.")
        x = array(item)
        return shape.reshape(x, (1,) * (ndim - x.ndim) + x.type.shape)

    return join(arrays, 0)


INDEX_TRICKS = (type(np.r_), type(np.c_))


def index_trick(owner: Any, key: Any) -> Any:
    """What np.r_ and np.c_ make of an index with traced arrays."""
    axis, ndmin, first = (0, 1, -1) if type(owner) is type(np.r_) else (-1, 2, 0)
    parts: list[Any] = []
    dtypes: list[Any] = []  # what decides the common dtype: numbers of Python are weak
    for place, item in enumerate(key if isinstance(key, tuple) else (key,)):
        if isinstance(item, str):
            if place:
                raise bad_shape("special directives must be the first entry.")
            axis, ndmin, first = _directive(item, axis, ndmin, first)
            continue
        part, rank = (_range(item), 1) if isinstance(item, slice) else (array(item), None)
        dtypes.append(part if isinstance(item, slice) else item)
        rank = part.ndim if rank is None else rank
        missing = ndmin - part.ndim
        if missing > 0:
            part = shape.reshape(part, (1,) * missing + part.type.shape)
            if first != -1 and (isinstance(item, slice) or rank < ndmin):
                part = _moved_up(part, first, missing, isinstance(item, slice))
        parts.append(part)
    if not parts:
        raise bad_shape("need at least one array to concatenate")
    target = result_dtype(*dtypes)
    return join_arrays([cast(x, target) for x in parts], axis)


def _directive(item: str, axis: int, ndmin: int, first: int) -> tuple[int, int, int]:
    """The axis, the least rank and where the axes that an item has go, of a text."""
    try:
        numbers = [int(part) for part in item.split(",")]
    except ValueError:
        raise unsupported(f"an index of {item!r}") from None
    if len(numbers) > 3:
        raise unsupported(f"an index of {item!r}")
    rest = (axis, ndmin, first)
    found = (*numbers, *rest[len(numbers) :])
    return found[0], found[1], found[2]


def _moved_up(part: Any, first: int, missing: int, swaps: bool) -> Any:
    """An item of more axes than it had, which stand from a place on."""
    if swaps:
        return shape.swapaxes(part, -1, first)
    begin = first + missing + 1 if first < 0 else first
    axes = list(range(part.ndim))
    order = axes[:begin] + axes[missing:] + axes[begin:missing]
    return shape.transpose(part, order)


def _range(item: slice) -> Any:
    """The numbers that a slice names."""
    start: Any = 0 if item.start is None else item.start
    step: Any = 1 if item.step is None else item.step
    if any(map(is_symbol, (start, item.stop, step))):
        raise unsupported("a range between traced numbers")
    if isinstance(step, (complex, np.complexfloating)):
        return array(np.linspace(start, item.stop, num=int(np.abs(step))))
    return array(np.arange(start, item.stop, step))


def append(arr: Any, values: Any, axis: Any = None) -> Any:
    """np.append."""
    return join_arrays([array(arr), array(values)], axis)


def array_split(ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Any]:
    """np.array_split."""
    x = array(ary)
    k = indexed_axis(axis, x.ndim)
    extent = x.type.shape[k]
    if np.ndim(indices_or_sections) if not is_symbol(indices_or_sections) else 0:
        bounds = [slice(None, b).indices(extent)[1] for b in static_ints(indices_or_sections)]
        edges = [0, *bounds, extent]
    else:
        sections = static_int(indices_or_sections)
        if sections <= 0:
            raise bad_shape("number sections must be larger than 0.")
        each, extras = divmod(extent, sections)
        sizes = [each + 1] * extras + [each] * (sections - extras)
        edges = [0, *np.cumsum(sizes).tolist()]
    pairs = pairwise(edges)
    return [shape.slice_axis(x, k, a if b > a else 0, max(b - a, 0)) for a, b in pairs]


def split(ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Any]:
    """np.split."""
    x = array(ary)
    whole = is_symbol(indices_or_sections) or not np.ndim(indices_or_sections)
    if whole:
        extent = x.type.shape[indexed_axis(axis, x.ndim)]
        sections = static_int(indices_or_sections)
        if sections == 0:
            raise ZeroDivisionError(at_user_line("integer modulo by zero"))
        if extent % sections:
            raise bad_shape("array split does not result in an equal division")
    return array_split(x, indices_or_sections, axis)


def _split_along(axis: int, rank: int) -> Handler:
    def handler(ary: Any, indices_or_sections: Any) -> list[Any]:
        x = array(ary)
        if x.ndim < rank:
            raise bad_shape(f"split only works on arrays of {rank} or more dimensions")
        return split(x, indices_or_sections, 0 if x.ndim == 1 else axis)

    return handler


def unstack(x: Any, /, *, axis: Any = 0) -> Any:
    """np.unstack."""
    x = array(x)
    if not x.ndim:
        raise bad_shape("Input array must be at least 1-d.")
    return tuple(shape.unstack(x, axis=axis_of(axis, x.ndim)))


# Results may stand on the arguments' memory.
VIEWS: dict[Any, Handler] = {
    np.split: split,
    np.array_split: array_split,
    np.hsplit: _split_along(1, 1),
    np.vsplit: _split_along(0, 2),
    np.dsplit: _split_along(2, 3),
}
FUNCTIONS: dict[Any, Handler] = {
    np.concatenate: concatenate,
    np.stack: stack,
    np.vstack: _stacked(2, 0),
    np.hstack: _stacked(1, 1),
    np.dstack: _stacked(3, 2),
    np.column_stack: column_stack,
    np.block: block,
    np.append: append,
}
if hasattr(np, "unstack"):
    VIEWS[np.unstack] = unstack
