"""NumPy's functions that move elements: reshape, transpose, stack, split, tile, pad, roll."""

from __future__ import annotations

import math as pymath
from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.dispatch import TensorBase, apply, wrap
from graphjit.errors import DTypeError, ShapeError, at_user_line
from graphjit.functions import create, index, math, shape
from graphjit.ops import index as ix
from graphjit.types import Shape, as_dtype, int64

from .promotion import (
    NO_VALUE,
    Handler,
    array,
    axes_of,
    axis_of,
    broadcast,
    broadcast_shape,
    cast,
    constant,
    convert,
    is_symbol,
    refuse,
    refuse_order,
    result_dtype,
    static_int,
    static_ints,
    target_dtype,
    unsupported,
)

FUNCTIONS: dict[Any, Handler] = {}
# Functions whose results may stand on their arguments' memory.
VIEWS: dict[Any, Handler] = {}


def _bad_shape(message: str) -> ShapeError:
    return ShapeError(at_user_line(message))


# -- one array ---------------------------------------------------------------------------------


def reshape(
    a: Any, /, shape: Any = None, order: Any = "C", *, newshape: Any = None, copy: Any = None
) -> Any:
    """np.reshape."""
    refuse(copy=(copy,), newshape=(newshape,), order=(order, "C", "F"))
    x = array(a)
    wanted = static_ints(shape)
    if wanted.count(-1) > 1:
        raise _bad_shape("can only specify one unknown dimension")
    known = pymath.prod(n for n in wanted if n != -1)
    if any(n < -1 for n in wanted):
        raise unsupported("a negative extent")
    fits = x.type.size == known if -1 not in wanted else known and x.type.size % known == 0
    if not fits:
        raise _bad_shape(f"cannot reshape array of size {x.type.size} into shape {wanted}")
    wanted = tuple(x.type.size // known if n == -1 else n for n in wanted)
    return _reshaped(x, wanted, order)


def _reshaped(x: Any, wanted: Shape, order: Any = "C") -> Any:
    if order == "F":
        turned = shape.reshape(shape.transpose(x), tuple(reversed(wanted)))
        return shape.transpose(turned)
    return shape.reshape(x, wanted)


def ravel(a: Any, order: Any = "C") -> Any:
    """np.ravel."""
    refuse(order=(order, "C", "F"))
    x = array(a)
    return _reshaped(x, (x.type.size,), order)


def transpose(a: Any, axes: Any = None) -> Any:
    """np.transpose."""
    x = array(a)
    if axes is None:
        return shape.transpose(x)
    given = static_ints(axes)
    if len(given) != x.ndim:
        raise _bad_shape("axes don't match array")
    order = [axis_of(k, x.ndim) for k in given]
    if len(set(order)) != len(order):
        raise _bad_shape("repeated axis in transpose")
    return shape.transpose(x, order)


def matrix_transpose(x: Any, /) -> Any:
    """np.matrix_transpose."""
    x = array(x)
    if x.ndim < 2:
        raise _bad_shape("matrix transpose with ndim < 2 is undefined")
    return shape.swapaxes(x, -1, -2)


def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """np.moveaxis."""
    x = array(a)
    origins, targets = axes_of(source, x.ndim), axes_of(destination, x.ndim)
    if len(origins) != len(targets):
        raise _bad_shape("`source` and `destination` must have the same number of elements")
    return shape.moveaxis(x, origins, targets)


def rollaxis(a: Any, axis: Any, start: Any = 0) -> Any:
    """np.rollaxis."""
    x = array(a)
    k, place = axis_of(axis, x.ndim), static_int(start)
    place += x.ndim if place < 0 else 0
    if not 0 <= place <= x.ndim:
        axis_of(start, x.ndim + 1)
        raise unsupported("this start")
    return shape.moveaxis(x, k, place - 1 if k < place else place)


def swapaxes(a: Any, axis1: Any, axis2: Any) -> Any:
    """np.swapaxes."""
    x = array(a)
    return shape.swapaxes(x, axis_of(axis1, x.ndim), axis_of(axis2, x.ndim))


def expand_dims(a: Any, axis: Any) -> Any:
    """np.expand_dims."""
    x = array(a)
    axes = static_ints(axis)
    places = axes_of(axes, x.ndim + len(axes))
    return shape.expand_dims(x, list(places))


def squeeze(a: Any, axis: Any = None) -> Any:
    """np.squeeze."""
    x = array(a)
    if axis is None:
        return shape.squeeze(x)
    axes = axes_of(axis, x.ndim)
    if any(x.type.shape[k] != 1 for k in axes):
        raise _bad_shape("cannot select an axis to squeeze out which has size not equal to one")
    return shape.squeeze(x, list(axes)) if axes else x


def flip(m: Any, axis: Any = None) -> Any:
    """np.flip."""
    x = array(m)
    axes = axes_of(axis, x.ndim)
    return shape.reverse(x, list(axes)) if axes else x


def _flipped(axis: int) -> Handler:
    def handler(m: Any) -> Any:
        x = array(m)
        if x.ndim <= axis:
            raise _bad_shape(f"Input must be >= {axis + 1}-d.")
        return shape.reverse(x, [axis])

    return handler


def rot90(m: Any, k: Any = 1, axes: Any = (0, 1)) -> Any:
    """np.rot90."""
    x = array(m)
    pair = static_ints(axes)
    if len(pair) != 2 or x.ndim < 2 or axis_of(pair[0], x.ndim) == axis_of(pair[1], x.ndim):
        raise unsupported("these axes")
    return shape.rot90(x, static_int(k), (pair[0], pair[1]))


def diagonal(a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1) -> Any:
    """np.diagonal."""
    x = array(a)
    if x.ndim < 2:
        raise _bad_shape("diag requires an array of at least two dimensions")
    i, j = axis_of(axis1, x.ndim), axis_of(axis2, x.ndim)
    if i == j:
        raise _bad_shape("axis1 and axis2 cannot be the same")
    return shape.diag_part(x, static_int(offset), i, j)


def diag(v: Any, k: Any = 0) -> Any:
    """np.diag."""
    x = array(v)
    if x.ndim == 1:
        return shape.diag(x, static_int(k))
    if x.ndim == 2:
        return shape.diag_part(x, static_int(k))
    raise _bad_shape("Input must be 1- or 2-d.")


def diagflat(v: Any, k: Any = 0) -> Any:
    """np.diagflat."""
    x = array(v)
    return shape.diag(shape.reshape(x, (x.type.size,)), static_int(k))


def trace(
    a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1, dtype: Any = None, out: Any = None
) -> Any:
    """np.trace."""
    from .reductions import total

    return total(diagonal(a, offset, axis1, axis2), -1, dtype, out)


def _triangle(function: Callable[..., Any]) -> Handler:
    def handler(m: Any, k: Any = 0) -> Any:
        x = array(m)
        if x.ndim == 0:
            raise unsupported("a triangle of a number")
        if x.ndim == 1:
            n = x.type.shape[0]
            x = shape.broadcast_to(x, (n, n))
        return function(x, static_int(k))

    return handler


def broadcast_to(array_: Any, shape: Any, subok: Any = False) -> Any:
    """np.broadcast_to."""
    return broadcast(array(array_), static_ints(shape))


def _broadcast_to(array: Any, shape: Any, subok: Any = False) -> Any:
    return broadcast_to(array, shape, subok)


def broadcast_arrays(*args: Any, subok: Any = False) -> Any:
    """np.broadcast_arrays."""
    arrays = [array(a) for a in args]
    wanted = broadcast_shape(*(x.type.shape for x in arrays))
    return tuple(shape.broadcast_to(x, wanted) for x in arrays)


def _at_least(rank: int) -> Handler:
    def one(value: Any) -> Any:
        x = array(value)
        if x.ndim >= rank:
            return x
        if rank == 3 and x.ndim == 2:
            return shape.expand_dims(x, 2)
        if rank == 3 and x.ndim == 1:
            return shape.reshape(x, (1, x.type.shape[0], 1))
        return shape.reshape(x, (1,) * (rank - x.ndim) + x.type.shape)

    def handler(*arys: Any) -> Any:
        found = tuple(one(a) for a in arys)
        return found[0] if len(found) == 1 else found

    return handler


# -- several arrays -----------------------------------------------------------------------------


def _listed(arrays: Any) -> list[Any]:
    if isinstance(arrays, TensorBase):
        if not arrays.type.shape:
            raise DTypeError(at_user_line("iteration over a 0-d array"))
        return [arrays[i] for i in range(arrays.type.shape[0])]  # type: ignore[index]
    return list(arrays)


def concatenate(
    arrays: Any, /, axis: Any = 0, out: Any = None, *, dtype: Any = None,
    casting: Any = "same_kind",
) -> Any:  # fmt: skip
    """np.concatenate."""
    refuse(out=(out,), casting=(casting, "same_kind"))
    found = [array(a) for a in _listed(arrays)]
    return _joined(found, axis, dtype)


def _joined(found: list[Any], axis: Any, dtype: Any = None) -> Any:
    if not found:
        raise _bad_shape("need at least one array to concatenate")
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
        raise _bad_shape("zero-dimensional arrays cannot be concatenated")
    k = axis_of(axis, found[0].ndim)
    rest = {x.type.shape[:k] + x.type.shape[k + 1 :] for x in found}
    if len(rest) > 1 or any(x.ndim != found[0].ndim for x in found):
        raise _bad_shape(
            "all the input array dimensions except for the concatenation axis must match exactly"
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
    found = [array(a) for a in _listed(arrays)]
    if not found:
        raise _bad_shape("need at least one array to stack")
    if len({x.type.shape for x in found}) > 1:
        raise _bad_shape("all input arrays must have the same shape")
    k = axis_of(axis, found[0].ndim + 1)
    return _joined([shape.expand_dims(x, k) for x in found], k, dtype)


def _stacked(rank: int, axis: int) -> Handler:
    def handler(tup: Any, *, dtype: Any = None, casting: Any = "same_kind") -> Any:
        refuse(casting=(casting, "same_kind"))
        found = [_at_least(rank)(a) for a in _listed(tup)]
        k = 0 if axis == 1 and found and found[0].ndim == 1 else axis
        return _joined(found, k, dtype)

    return handler


def column_stack(tup: Any) -> Any:
    """np.column_stack."""
    columns = []
    for item in _listed(tup):
        x = array(item)
        columns.append(shape.reshape(x, (x.type.size, 1)) if x.ndim < 2 else x)
    return _joined(columns, 1)


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
            return _joined([join(part, level + 1) for part in item], level - levels)
        if level != levels:
            raise _bad_shape("List depths are mismatched.")
        x = array(item)
        return shape.reshape(x, (1,) * (ndim - x.ndim) + x.type.shape)

    return join(arrays, 0)


def append(arr: Any, values: Any, axis: Any = None) -> Any:
    """np.append."""
    return _joined([array(arr), array(values)], axis)


def array_split(ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Any]:
    """np.array_split."""
    x = array(ary)
    k = axis_of(axis, x.ndim)
    extent = x.type.shape[k]
    if np.ndim(indices_or_sections) if not is_symbol(indices_or_sections) else 0:
        bounds = [slice(None, b).indices(extent)[1] for b in static_ints(indices_or_sections)]
        edges = [0, *bounds, extent]
    else:
        sections = static_int(indices_or_sections)
        if sections <= 0:
            raise _bad_shape("number sections must be larger than 0.")
        each, extras = divmod(extent, sections)
        sizes = [each + 1] * extras + [each] * (sections - extras)
        edges = [0, *np.cumsum(sizes).tolist()]
    pairs = zip(edges[:-1], edges[1:], strict=True)
    return [shape.slice_axis(x, k, a if b > a else 0, max(b - a, 0)) for a, b in pairs]


def split(ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Any]:
    """np.split."""
    x = array(ary)
    whole = is_symbol(indices_or_sections) or not np.ndim(indices_or_sections)
    if whole:
        sections = static_int(indices_or_sections)
        if sections == 0 or x.type.shape[axis_of(axis, x.ndim)] % sections:
            raise _bad_shape("array split does not result in an equal division")
    return array_split(x, indices_or_sections, axis)


def _split_along(axis: int, rank: int) -> Handler:
    def handler(ary: Any, indices_or_sections: Any) -> list[Any]:
        x = array(ary)
        if x.ndim < rank:
            raise _bad_shape(f"split only works on arrays of {rank} or more dimensions")
        return split(x, indices_or_sections, 0 if x.ndim == 1 else axis)

    return handler


def unstack(x: Any, /, *, axis: Any = 0) -> Any:
    """np.unstack."""
    x = array(x)
    if not x.ndim:
        raise _bad_shape("Input array must be at least 1-d.")
    return tuple(shape.unstack(x, axis=axis_of(axis, x.ndim)))


# -- repetition ---------------------------------------------------------------------------------


def tile(A: Any, reps: Any) -> Any:
    """np.tile."""
    x = array(A)
    counts = static_ints(reps)
    rank = max(len(counts), x.ndim)
    if min(counts, default=0) < 0:
        raise _bad_shape("negative dimensions are not allowed")
    x = shape.reshape(x, (1,) * (rank - x.ndim) + x.type.shape)
    return shape.tile(x, (1,) * (rank - len(counts)) + counts)


def repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    """np.repeat with known counts."""
    if isinstance(repeats, np.ndarray) and repeats.ndim:
        raise unsupported("np.repeat by a captured array of counts")
    x = array(a)
    counts = static_ints(repeats)
    if axis is None:
        x, k = shape.reshape(x, (x.type.size,)), 0
    else:
        k = axis_of(axis, x.ndim)
    if min(counts, default=0) < 0:
        raise _bad_shape("repeats may not contain negative values.")
    if len(counts) not in (1, x.type.shape[k]):
        raise _bad_shape("operands could not be broadcast together")
    if len(counts) != 1:
        places = np.repeat(np.arange(x.type.shape[k]), counts)
        return along(x, places, k)
    return shape.repeat(x, counts[0], k)


def along(x: Any, places: Any, axis: int) -> Any:
    """The elements at known places of one axis."""
    result = apply(ix.gather, x, wrap(np.asarray(places, np.int64)), axes=(axis,))
    rank = np.ndim(places)
    return shape.moveaxis(result, tuple(range(rank)), tuple(range(axis, axis + rank)))


def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """np.roll by a known distance."""
    x = array(a)
    if axis is None:
        flat = shape.roll(shape.reshape(x, (x.type.size,)), sum(static_ints(shift)), 0)
        return shape.reshape(flat, x.type.shape)
    axes = [axis_of(k, x.ndim) for k in static_ints(axis)]
    shifts = static_ints(shift)
    try:
        pairs = np.broadcast(np.array(shifts), np.array(axes))
    except ValueError as error:
        raise _bad_shape(str(error)) from error
    for amount, k in pairs:
        x = shape.roll(x, int(amount), int(k))
    return x


def pad(array_: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    """np.pad in the modes constant, edge, reflect, symmetric and wrap."""
    x = array(array_)
    if isinstance(pad_width, dict):
        raise unsupported("a dict of pad widths")
    for leaf in np.asarray(pad_width, dtype=object).ravel():
        static_int(leaf)
    widths = np.broadcast_to(np.asarray(pad_width), (x.ndim, 2))
    if (widths < 0).any():
        raise _bad_shape("index can't contain negative values")
    pairs = [(int(a), int(b)) for a, b in widths]
    if mode == "constant":
        value = kwargs.pop("constant_values", 0)
        refuse(**{k: (v,) for k, v in kwargs.items()})
        if not is_symbol(value) and np.ndim(value):
            raise unsupported("several constant_values")
        value = (
            convert(value, x.type.dtype)
            if not is_symbol(value)
            else convert(value, x.type.dtype)
        )
        return shape.pad(x, pairs, "CONSTANT", value) if x.ndim else x
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise unsupported(f"np.pad in mode {mode!r}")
    refuse(reflect_type=(kwargs.pop("reflect_type", None), "even"))
    refuse(**{k: (v,) for k, v in kwargs.items()})
    for k, (before, after) in enumerate(pairs):
        extent = x.type.shape[k]
        if not extent and (before or after):
            raise _bad_shape(f"can't extend empty axis {k} using modes other than 'constant'")
        simple = max(before, after) <= extent - 1 and mode != "wrap"
        if not (before or after):
            continue
        if simple:
            one = [(before, after) if a == k else (0, 0) for a in range(x.ndim)]
            x = shape.pad(x, one, mode.upper())
        else:
            x = along(x, np.pad(np.arange(extent), (before, after), mode), k)
    return x


def _pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    return pad(array, pad_width, mode, **kwargs)


def by_places(function: Callable[[Any], Any], x: Any) -> Any:
    """What a NumPy function that only moves elements makes of x, through flat indices."""
    places = np.arange(x.type.size, dtype=np.int64).reshape(x.type.shape)
    moved = np.asarray(function(places))
    flat = shape.reshape(x, (x.type.size,))
    return apply(ix.gather, flat, wrap(np.ascontiguousarray(moved)), axes=(0,))


def delete(arr: Any, obj: Any, axis: Any = None) -> Any:
    """np.delete of known places."""
    x = array(arr)
    if isinstance(obj, np.ndarray) or any(
        map(is_symbol, obj if isinstance(obj, (list, tuple)) else [obj])
    ):
        raise unsupported("np.delete at traced or captured places")
    return by_places(lambda places: np.delete(places, obj, axis), x)


def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    """np.insert before one known place."""
    x = array(arr)
    place = static_int(obj)
    if axis is None:
        x, axis = shape.reshape(x, (x.type.size,)), 0
    k = axis_of(axis, x.ndim)
    extent = x.type.shape[k]
    if not -extent <= place <= extent:
        raise IndexError(f"index {place} is out of bounds for axis {k} with size {extent}")
    place += extent if place < 0 else 0
    new = convert(values, x.type.dtype)
    if new.ndim:  # NumPy moves the axes of values about: only the plain case is done here
        if x.ndim > 1:
            raise unsupported("np.insert of an array into several dimensions")
        new = shape.reshape(new, (new.type.size,))
    else:
        row = tuple(1 if a == k else n for a, n in enumerate(x.type.shape))
        new = shape.broadcast_to(new, row)
    before = shape.slice_axis(x, k, 0, place)
    after = shape.slice_axis(x, k, place if place < extent else 0, extent - place)
    return shape.concat([before, new, after], k)


def resize(a: Any, new_shape: Any) -> Any:
    """np.resize."""
    x = array(a)
    return (
        by_places(lambda places: np.resize(places, static_ints(new_shape)), x)
        if x.type.size
        else _empty(x)
    )


def _empty(x: Any) -> Any:
    raise unsupported("np.resize of nothing")


# -- creation -----------------------------------------------------------------------------------


def _like(value: int | None) -> Handler:
    def handler(
        a: Any, dtype: Any = None, order: Any = "K", subok: Any = True, shape: Any = None,
        *, device: Any = None,
    ) -> Any:  # fmt: skip
        refuse(device=(device, "cpu"))
        refuse_order(order)
        x = array(a)
        wanted = x.type.shape if shape is None else static_ints(shape)
        target = x.type.dtype if dtype is None else target_dtype(dtype)
        return create.fill(wanted, constant(value or 0, target))

    return handler


def full_like(
    a: Any, fill_value: Any, dtype: Any = None, order: Any = "K", subok: Any = True,
    shape: Any = None, *, device: Any = None,
) -> Any:  # fmt: skip
    """np.full_like."""
    refuse(device=(device, "cpu"))
    refuse_order(order)
    x = array(a)
    wanted = x.type.shape if shape is None else static_ints(shape)
    target = x.type.dtype if dtype is None else target_dtype(dtype)
    if isinstance(fill_value, complex) and not target.is_complex:
        raise DTypeError(at_user_line("float() argument must be a real number, not 'complex'"))
    return broadcast(convert(fill_value, target), wanted)


def _new(value: int) -> Handler:
    def handler(shape: Any, dtype: Any = float, order: Any = "C", *, device: Any = None) -> Any:
        refuse(device=(device, "cpu"))
        refuse_order(order)
        return create.fill(static_ints(shape), constant(value, target_dtype(dtype)))

    return handler


def full(
    shape: Any, fill_value: Any, dtype: Any = None, order: Any = "C", *, device: Any = None
) -> Any:
    """np.full."""
    refuse(device=(device, "cpu"))
    refuse_order(order)
    value = array(fill_value) if dtype is None else convert(fill_value, target_dtype(dtype))
    return broadcast(value, static_ints(shape))


def new_array(
    object: Any, dtype: Any = None, *, copy: Any = True, order: Any = "K", subok: Any = False,
    ndmin: Any = 0, device: Any = None,
) -> Any:  # fmt: skip
    """np.array(..., like=traced)."""
    refuse(device=(device, "cpu"), subok=(subok, False))
    refuse_order(order)
    x = array(object, dtype)
    return shape.reshape(x, (1,) * max(0, ndmin - x.ndim) + x.type.shape)


def _as_array(
    a: Any, dtype: Any = None, order: Any = None, *, device: Any = None, copy: Any = None
) -> Any:
    refuse(device=(device, "cpu"), copy=(copy,))
    refuse_order(order)
    return array(a, dtype)


def copy(a: Any, order: Any = "K", subok: Any = False) -> Any:
    """np.copy."""
    refuse_order(order)
    return array(a)


def meshgrid(*xi: Any, copy: Any = True, sparse: Any = False, indexing: Any = "xy") -> Any:
    """np.meshgrid."""
    if indexing not in ("xy", "ij"):
        raise _bad_shape("Valid values for `indexing` are 'xy' and 'ij'.")
    vectors = [array(v) for v in xi]
    count = len(vectors)
    results = []
    for place, v in enumerate(vectors):
        spot = {0: 1, 1: 0}.get(place, place) if indexing == "xy" and count > 1 else place
        extents = [1] * count
        extents[spot] = v.type.size
        results.append(shape.reshape(v, tuple(extents)))
    if not sparse:
        wanted = broadcast_shape(*(r.type.shape for r in results)) if results else ()
        results = [shape.broadcast_to(r, wanted) for r in results]
    return tuple(results)


def ix_(*args: Any) -> Any:
    """np.ix_ of index arrays (not masks)."""
    results = []
    for place, value in enumerate(args):
        x = array(value)
        if x.ndim != 1:
            raise _bad_shape("Cross index must be 1 dimensional")
        if x.type.dtype.is_bool:
            raise unsupported("np.ix_ of a mask")
        extents = [1] * len(args)
        extents[place] = x.type.shape[0]
        results.append(shape.reshape(x if x.type.size else cast(x, int64), tuple(extents)))
    return tuple(results)


def _static(function: Callable[..., Any]) -> Handler:
    """A function of shapes and dtypes alone, asked of zeros that stand for the arrays."""

    def handler(*args: Any, **kwargs: Any) -> Any:
        return function(*(_stand_in(a) for a in args), **kwargs)

    return handler


def _stand_in(value: Any) -> Any:
    if is_symbol(value):
        dtype = value.type.dtype.dtype
        if value.origin == "weak":
            return dtype.type(0).item()
        return np.broadcast_to(np.zeros((), dtype), value.type.shape)
    if isinstance(value, TensorBase):
        return value.numpy()  # type: ignore[attr-defined]
    return value


def rank_indices(function: Callable[..., Any]) -> Handler:
    """diag_indices_from and its kin: constants of the shape."""
    return lambda arr, *args, **kwargs: function(_stand_in(array(arr)), *args, **kwargs)


VIEWS |= {
    np.reshape: reshape,
    np.ravel: ravel,
    np.transpose: transpose,
    np.moveaxis: moveaxis,
    np.rollaxis: rollaxis,
    np.swapaxes: swapaxes,
    np.expand_dims: expand_dims,
    np.squeeze: squeeze,
    np.flip: flip,
    np.fliplr: _flipped(1),
    np.flipud: _flipped(0),
    np.rot90: rot90,
    np.diagonal: diagonal,
    np.diag: diag,
    np.broadcast_to: _broadcast_to,
    np.broadcast_arrays: broadcast_arrays,
    np.atleast_1d: _at_least(1),
    np.atleast_2d: _at_least(2),
    np.atleast_3d: _at_least(3),
    np.split: split,
    np.array_split: array_split,
    np.hsplit: _split_along(1, 1),
    np.vsplit: _split_along(0, 2),
    np.dsplit: _split_along(2, 3),
    np.ix_: ix_,
    np.asarray: _as_array,
    np.asanyarray: _as_array,
    np.ascontiguousarray: _as_array,
}
FUNCTIONS |= {
    np.diagflat: diagflat,
    np.trace: trace,
    np.tril: _triangle(create.tril),
    np.triu: _triangle(create.triu),
    np.concatenate: concatenate,
    np.stack: stack,
    np.vstack: _stacked(2, 0),
    np.hstack: _stacked(1, 1),
    np.dstack: _stacked(3, 2),
    np.column_stack: column_stack,
    np.block: block,
    np.append: append,
    np.tile: tile,
    np.repeat: repeat,
    np.roll: roll,
    np.pad: _pad,
    np.delete: delete,
    np.insert: insert,
    np.resize: resize,
    np.zeros_like: _like(0),
    np.ones_like: _like(1),
    np.empty_like: _like(None),
    np.full_like: full_like,
    np.zeros: _new(0),
    np.ones: _new(1),
    np.empty: _new(0),
    np.full: full,
    np.array: new_array,
    np.copy: copy,
    np.meshgrid: meshgrid,
    np.ndim: _static(np.ndim),
    np.shape: _static(np.shape),
    np.size: _static(np.size),
    np.iscomplexobj: _static(np.iscomplexobj),
    np.isrealobj: _static(np.isrealobj),
    np.result_type: _static(np.result_type),
    np.can_cast: _static(np.can_cast),
    np.common_type: _static(np.common_type),
    np.diag_indices_from: rank_indices(np.diag_indices_from),
    np.tril_indices_from: rank_indices(np.tril_indices_from),
    np.triu_indices_from: rank_indices(np.triu_indices_from),
}
if hasattr(np, "unstack"):
    VIEWS[np.unstack] = unstack
if hasattr(np, "matrix_transpose"):
    VIEWS[np.matrix_transpose] = matrix_transpose
_ = (index, math, as_dtype, NO_VALUE)
