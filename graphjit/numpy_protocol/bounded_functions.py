"""NumPy's functions and methods of arrays of which only a bound of the length is known."""

from __future__ import annotations

import math as pymath
from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.types import float64, int64
from graphjit.functions import shape, subscript
from graphjit.ops import assemble
from graphjit.ops import index as ix
from graphjit.ops import pointwise as pw
from graphjit.ops import reduce as rd
from graphjit.tensors.apply import TensorBase, apply, wrap

from . import order
from .bounded_arrays import (
    FUNCTIONS,
    METHODS,
    BoundedArray,
    compacted,
    elementwise,
    is_number,
    mapped,
    refusal,
    windows_of,
)
from .bounded_indexing import nonzero
from .bounded_reductions import ZERO, of_start, require_some, values_of
from .elementwise import fix, isclose, nan_to_num, round_, where
from .indexing import assigned
from .promotion import (
    NO_VALUE,
    array,
    axes_of,
    axis_of,
    broadcast_shape,
    cast,
    constant,
    is_symbol,
    owned,
    promoted,
    refuse,
    result_dtype,
    static_number,
    target_dtype,
    unsupported,
)
from .windows import Window, checked, moved, number, plus

# -- order


def _behind(dtype: Any) -> Any:
    """What sorts behind all elements, or with the last of them."""
    return np.nan if dtype.is_floating else rd.highest(dtype)


def _sorted(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, **options: Any) -> Any:
    refuse(order=(order,), **{k: (v,) for k, v in options.items()})
    if a.source.type.dtype.is_complex:
        raise refusal("a sort of complex numbers")
    behind = _behind(a.source.type.dtype)
    if axis is None and a.ndim > 1:  # all of the larger array would be sorted
        raise refusal("a sort of all elements of an array with several axes")
    k = axis_of(0 if axis is None else axis, a.ndim)
    a = of_start(a)
    return BoundedArray(_sort(a.filled(behind), k, kind), a.windows)


def _sort(x: Any, axis: int, kind: Any) -> Any:
    return order.sort(x, axis, kind)


def _argsorted(
    a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> Any:
    refuse(order=(order,))
    if kind != "stable" and not (stable is True or kind == "mergesort"):
        raise refusal("an argsort that isn't stable")
    k = axis_of(axis, a.ndim)
    a = of_start(a)
    filled = a.filled(_behind(a.source.type.dtype))
    return BoundedArray(_argsort(filled, k), a.windows)


def _argsort(x: Any, axis: int) -> Any:
    return order.argsort(x, axis, "stable")


def _median(a: Any, axis: Any = None, **options: Any) -> Any:
    refuse(**{k: (v, False) for k, v in options.items()})
    if a.ndim != 1 or a.source.type.dtype.is_complex:
        raise refusal("the median")
    axes_of(axis, 1)
    a = require_some(a, (0,))
    dtype = a.source.type.dtype
    ordered = _sorted(a)
    count = ordered.count(0)
    values = ordered.values if dtype.is_inexact else cast(ordered.values, float64)
    two = wrap(np.array(2))
    low = apply(
        pw.floordiv, apply(pw.sub, count, wrap(np.ones((), np.int64))), two, strict=False
    )
    high = apply(pw.floordiv, count, two, strict=False)
    last = plus(count, wrap(np.array(-1)))
    at = [shape.reshape(moved(values, 0, place, 1), ()) for place in (low, high, last)]
    kind = at[0].type.dtype
    half = constant(0.5, kind)
    middle = apply(pw.mul, apply(pw.add, at[0], at[1]), half)
    same = apply(pw.eq, low, high)
    found = apply(pw.where, same, at[0], middle)
    if dtype.is_floating:
        found = apply(pw.where, apply(pw.isnan, at[2]), at[2], found)
    return found


def _quantile(a: Any, q: Any, axis: Any = None, **options: Any) -> Any:
    refuse(**{k: (v, False, "linear") for k, v in options.items()})
    if a.ndim != 1 or a.source.type.dtype.is_complex:
        raise refusal("a quantile")
    axes_of(axis, 1)
    a = require_some(a, (0,))
    dtype = a.source.type.dtype
    ordered = _sorted(a)
    values = ordered.values if dtype.is_inexact else cast(ordered.values, float64)
    kind = values.type.dtype
    fractions = np.asarray(static_number(q), float)
    if fractions.ndim > 1 or not np.all((fractions >= 0) & (fractions <= 1)):
        raise refusal("a quantile")
    count = ordered.count(0)
    last = cast(plus(count, wrap(np.array(-1))), float64)
    found = []
    for fraction in fractions.reshape(-1):
        place = apply(pw.mul, last, constant(float(fraction), float64))
        below = apply(pw.floor, place)
        part = cast(apply(pw.sub, place, below), kind)
        low = cast(below, int64)
        high = apply(
            pw.minimum, plus(low, wrap(np.ones((), np.int64))), plus(count, wrap(np.array(-1)))
        )
        x, y, end = (
            shape.reshape(moved(values, 0, k, 1), ())
            for k in (low, high, plus(count, wrap(np.array(-1))))
        )
        step = apply(pw.sub, y, x)
        up = apply(pw.add, x, apply(pw.mul, step, part))
        rest = apply(pw.sub, constant(1, kind), part)
        down = apply(pw.sub, y, apply(pw.mul, step, rest))
        near = apply(pw.ge, part, constant(0.5, kind))
        made = apply(pw.where, near, down, up)
        if dtype.is_floating:
            made = apply(pw.where, apply(pw.isnan, end), end, made)
        found.append(made)
    return found[0] if not fractions.ndim else shape.stack(found)


def _percentile(a: Any, q: Any, *args: Any, **options: Any) -> Any:
    return _quantile(a, np.asarray(static_number(q), float) / 100, *args, **options)


def _bincount(x: Any, /, weights: Any = None, minlength: Any = 0) -> Any:
    """np.bincount: its length is the greatest number and 1, which there is room for."""
    a = x if isinstance(x, BoundedArray) else _whole(x)
    least = static_number(minlength)
    if a.ndim != 1 or not (a.source.type.dtype.is_integer or a.source.type.dtype.is_bool):
        raise refusal("np.bincount")
    if weights is not None and (
        isinstance(weights, BoundedArray) or isinstance(x, BoundedArray)
    ):
        raise refusal("np.bincount with weights")
    trace = a.recorder
    values = cast(a.values, int64)
    room = int(least)
    if not room:
        trace.branches.has_rooms, room = True, ROOM * trace.branches.loops.room_scale
    size = values.type.shape
    mask = a.mask
    zero = shape.broadcast_to(ZERO, size)
    kept = apply(pw.where, *_alike(mask, values, zero))
    negative = apply(rd.any_, apply(pw.lt, kept, zero), axes=(0,))
    greatest = (
        apply(
            rd.max_,
            apply(
                pw.where, *_alike(mask, values, shape.broadcast_to(wrap(np.array(-1)), size))
            ),
            axes=(0,),
        )
        if size != (0,)
        else wrap(np.array(-1))
    )
    large = apply(pw.ge, greatest, wrap(np.array(room)))
    end = checked(wrap(np.array(room)), apply(pw.bit_or, negative, large))
    place = apply(pw.where, *_alike(mask, values, shape.broadcast_to(end, size)))
    kind = int64 if weights is None else float64
    given = (
        shape.broadcast_to(constant(1, kind), size)
        if weights is None
        else cast(array(weights), float64)
    )
    if given.type.shape != size:
        raise refusal("np.bincount with weights of another length")
    base = shape.broadcast_to(constant(0, kind), (room + 1,))
    made = apply(ix.scatter, base, given, place, axes=(0,), mode="add")
    made = subscript.getitem(made, slice(0, room))
    if int(least):
        return made
    count = plus(greatest, wrap(np.ones((), np.int64)))
    return BoundedArray(made, (Window(ZERO, count),))


def _alike(mask: Any, *values: Any) -> tuple[Any, ...]:
    return (shape.broadcast_to(mask, values[0].type.shape), *values)


# How many bins there are at first where nothing says how many there will be.
ROOM = 1024


# -- what has another length


def _unique(
    ar: Any, return_index: bool = False, return_inverse: bool = False,
    return_counts: bool = False, axis: Any = None, **options: Any,
) -> Any:  # fmt: skip
    refuse(axis=(axis,), **{k: (v, True) for k, v in options.items()})
    if return_index or return_inverse or not isinstance(return_counts, bool):
        raise refusal("np.unique with the places of elements")
    a = ar if isinstance(ar, BoundedArray) else _flat(array(ar))
    if a.ndim != 1:
        a = compacted(a.mask, [a.values])[0]
    dtype = a.source.type.dtype
    if dtype.is_complex or (dtype.is_floating and not a.source.recorder):
        raise refusal("np.unique")
    ordered = _sorted(a)
    values, (window,) = ordered.values, ordered.windows
    size = values.type.shape[0]
    trace = values.recorder
    count = number(size, trace) if window is None else window.count
    along = subscript.iota((size,), 0)
    one = shape.broadcast_to(wrap(np.ones((), np.int64)), (size,))
    before = moved(values, 0, wrap(np.array(-1)), size)
    other = apply(pw.ne, values, before)
    if dtype.is_floating:  # of NaNs, which are last, there is one
        both = apply(pw.bit_and, apply(pw.isnan, values), apply(pw.isnan, before))
        other = apply(pw.bit_and, other, apply(pw.logical_not, both))
    first = apply(pw.lt, along, one)
    new = apply(pw.bit_or, first, other)
    new = apply(pw.bit_and, new, apply(pw.lt, along, shape.broadcast_to(count, (size,))))
    found, starts = compacted(new, [values, along])
    if not return_counts:
        return found
    (own,) = found.windows
    following = moved(starts.values, 0, wrap(np.ones((), np.int64)), size)
    last = apply(pw.sub, own.count, wrap(np.ones((), np.int64)))
    is_last = apply(pw.eq, along, shape.broadcast_to(last, (size,)))
    ends = apply(pw.where, is_last, shape.broadcast_to(count, (size,)), following)
    return found, BoundedArray(apply(pw.sub, ends, starts.values), found.windows)


def _flat(x: Any) -> BoundedArray:
    """An array of known length as one of which the length isn't known."""
    return BoundedArray(shape.reshape(x, (x.type.size,)), (None,))


def _joined(arrays: Any, axis: Any = 0, out: Any = None, dtype: Any = None) -> Any:
    refuse(out=(out,), dtype=(dtype,))
    pieces = [x if isinstance(x, BoundedArray) else array(x) for x in arrays]
    if any(len(windows_of(x)) != 1 for x in pieces):
        raise refusal("np.concatenate of several axes")
    axis_of(axis, 1)
    trace = next(x for x in pieces if isinstance(x, BoundedArray)).recorder
    kind = result_dtype(*[values_of(x) for x in pieces])
    most: Any = 0
    for x in pieces:
        most = most + values_of(x).type.shape[0]
    made = shape.broadcast_to(wrap(np.zeros((), kind.dtype)), (most + 1,))
    first = ZERO
    for x in pieces:
        values, (window,) = cast(values_of(x), kind), windows_of(x)
        size = values.type.shape[0]
        count = number(size, trace) if window is None else window.count
        start = ZERO if window is None else window.start
        along = subscript.iota((size,), 0)
        own = apply(pw.sub, along, shape.broadcast_to(start, (size,)))
        zero = shape.broadcast_to(ZERO, (size,))
        inside = apply(
            pw.bit_and,
            apply(pw.ge, own, zero),
            apply(pw.lt, own, shape.broadcast_to(count, (size,))),
        )
        place = apply(pw.add, own, shape.broadcast_to(first, (size,)))
        behind = shape.broadcast_to(number(most, trace), (size,))
        target = apply(pw.where, inside, place, behind)
        made = apply(ix.scatter, made, values, target, axes=(0,), mode="update")
        first = plus(first, count)
    return BoundedArray(subscript.getitem(made, slice(0, most)), (Window(ZERO, first),))


def _append(arr: Any, values: Any, axis: Any = None) -> Any:
    if axis is not None and not isinstance(axis, int):
        raise refusal("np.append")
    return _joined(
        [
            arr,
            shape.reshape(array(values), (-1,))
            if not isinstance(values, BoundedArray)
            else values,
        ]
    )


def _diff(
    a: Any, n: Any = 1, axis: Any = -1, prepend: Any = NO_VALUE, append: Any = NO_VALUE
) -> Any:
    refuse(prepend=(prepend,), append=(append,), n=(n, 1))
    k = axis_of(axis, a.ndim)
    if a.windows[k] is None:
        raise refusal("np.diff")
    key = [slice(None)] * a.ndim
    later, earlier = [*key], [*key]
    later[k], earlier[k] = slice(1, None), slice(None, -1)
    ufunc = np.not_equal if a.source.type.dtype.is_bool else np.subtract
    return elementwise(ufunc, (a[tuple(later)], a[tuple(earlier)]))


def _where(condition: Any, x: Any = NO_VALUE, y: Any = NO_VALUE) -> Any:
    if x is NO_VALUE:
        return tuple(nonzero(condition))
    kind = result_dtype(*[values_of(v) if isinstance(v, BoundedArray) else v for v in (x, y)])

    def chosen(flag: Any, a: Any, b: Any) -> Any:
        flags = (
            flag
            if flag.type.dtype.is_bool
            else apply(pw.ne, flag, constant(0, flag.type.dtype))
        )
        both = promoted(a, b, dtype=kind)
        whole = broadcast_shape(flags.type.shape, *(v.type.shape for v in both))
        return apply(pw.where, *(shape.broadcast_to(v, whole) for v in (flags, *both)))

    given = [
        v if isinstance(v, (BoundedArray, TensorBase)) else array(v) for v in (condition, x, y)
    ]
    return mapped(chosen, given)


def _clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, **options: Any) -> Any:
    refuse(out=(out,), **{k: (v,) for k, v in options.items()})
    found = a
    if a_min is not None:
        found = elementwise(np.maximum, (found, a_min))
    if a_max is not None:
        found = elementwise(np.minimum, (found, a_max))
    return found


def _nonzero(a: Any) -> tuple[Any, ...]:
    return tuple(nonzero(a))


def _flatnonzero(a: Any) -> Any:
    if a.ndim != 1:
        raise refusal("np.flatnonzero of several axes")
    return nonzero(a)[0]


def _copy(a: Any, order: Any = None, **options: Any) -> Any:
    refuse(order=(order, "C", "K", "A"), **{k: (v, True) for k, v in options.items()})
    return BoundedArray(a.values, a.windows)


def _astype(a: Any, dtype: Any, **options: Any) -> Any:
    refuse(**{k: (v, True) for k, v in options.items()})
    return BoundedArray(cast(a.values, target_dtype(dtype)), a.windows)


def _like(value: Any) -> Callable[..., Any]:
    def handler(a: Any, dtype: Any = None, **options: Any) -> Any:
        refuse(**{k: (v, True, "K", "C") for k, v in options.items()})
        kind = a.source.type.dtype if dtype is None else target_dtype(dtype)
        whole = shape.broadcast_to(constant(value, kind), a.extents)
        return BoundedArray(whole, a.windows)

    return handler


def _as_array(a: Any, dtype: Any = None, **options: Any) -> Any:
    refuse(**{k: (v, True, "K", "C") for k, v in options.items()})
    made = a.values if dtype is None else cast(a.values, target_dtype(dtype))
    return BoundedArray(made, a.windows)


def _reshape(a: Any, *shape_given: Any, **options: Any) -> Any:
    refuse(**{k: (v, "C") for k, v in options.items() if k not in ("shape", "newshape")})
    wanted = shape_given or (options.get("shape", options.get("newshape")),)
    if len(wanted) == 1 and isinstance(wanted[0], (tuple, list)):
        wanted = tuple(wanted[0])
    if any(w is not None for w in a.windows[1:]) or not wanted or not _is_free(wanted[0], a):
        raise refusal("reshape")
    sizes = [n if not isinstance(n, np.integer) else int(n) for n in wanted[1:]]
    if not all(isinstance(n, int) and n > 0 for n in sizes):
        raise refusal("reshape")
    base, a = a.source, of_start(a)
    row, new = pymath.prod(a.extents[1:]), pymath.prod(sizes)
    values, count = a.values, a.count(0)
    if row != new:
        if not isinstance(row, int) or row % new:
            raise refusal("reshape")
        count = apply(pw.mul, count, wrap(np.array(row // new)))
    values = shape.reshape(values, (values.type.shape[0] * row // new, *sizes))
    return BoundedArray(values, (Window(ZERO, count), *(None,) * len(sizes)), base=base)


def _is_free(n: Any, a: Any) -> bool:
    """Whether a length that is asked for is what there is."""
    if isinstance(n, (int, np.integer)):
        return n == -1
    own = a.windows[0].count
    return bool(getattr(n, "node", None) == own.node and a.ndim == 1)


def _flatten(a: Any, order: Any = "C") -> Any:
    return _copy(_ravel(a, order))


def _ravel(a: Any, order: Any = "C") -> Any:
    refuse(order=(order, "C"))
    return _reshape(a, -1)


def _size_of(a: Any, axis: Any = None) -> Any:
    return a.size if axis is None else a.shape[axis]


def _of_ufunc(ufunc: Any) -> Callable[..., Any]:
    return lambda *args: elementwise(ufunc, args)


def _of_elements(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of elements that is no ufunc."""

    def handler(*args: Any, **kwargs: Any) -> Any:
        given = [array(x) if isinstance(x, (list, tuple, np.ndarray)) else x for x in args]
        return mapped(lambda *values: function(*values, **kwargs), given)

    return handler


def _flip(m: Any, axis: Any = None) -> Any:
    axes = axes_of(axis, m.ndim)
    return m[tuple(slice(None, None, -1) if k in axes else slice(None) for k in range(m.ndim))]


def _whole(x: Any) -> BoundedArray:
    """An array of known length as one of which the length isn't known."""
    made = array(x)
    if not made.ndim:
        raise unsupported("np.nonzero of a number")
    return BoundedArray(made, (None,) * made.ndim)


def _argwhere(a: Any) -> Any:
    places = nonzero(a)
    columns = [shape.reshape(p.values, (-1, 1)) for p in places]
    return BoundedArray(apply(assemble.concat, *columns, axis=1), (places[0].windows[0], None))


def _stacked_rows(arrays: Any, axis: Any) -> Any:
    """Items of a list that a loop made longer, on an axis of their own: the first one."""
    if not isinstance(arrays, BoundedArray) or axis != 0 or arrays.ndim < 2:
        raise refusal("np.stack")
    return arrays


def _where_of_known(condition: Any, x: Any = NO_VALUE, y: Any = NO_VALUE, /) -> Any:
    if x is NO_VALUE and y is NO_VALUE:
        return _nonzero(_whole(condition))
    return where(condition, x, y)


# New arrays of a length that is known only at the call: what their elements are.
_CREATED: dict[Any, Any] = {
    np.zeros: 0,
    np.ones: 1,
    np.empty: 0,
    np.full: None,
    np.arange: None,
}


def created(function: Any, args: Any, kwargs: dict[str, Any], trace: Any) -> Any:
    """What a function that makes an array gives for a traced length; NotImplemented where it is
    none of these, or given other arguments.
    """
    if function not in _CREATED or not trace.branches.enabled:
        return NotImplemented
    named = dict(kwargs)
    dtype = named.pop("dtype", None)
    rest = list(args[1:])
    value = _CREATED[function]
    if function is np.full:
        if not rest:
            return NotImplemented
        value = rest.pop(0)
    if rest and dtype is None:
        dtype = rest.pop(0)
    if rest or named or (function is np.arange and len(args) != 1):
        return NotImplemented
    lengths = list(args[0]) if isinstance(args[0], (tuple, list)) else [args[0]]
    if function is np.arange and lengths[0] is not args[0]:
        return NotImplemented
    if not all(map(is_number, lengths)) or not any(map(_is_traced_length, lengths)):
        return NotImplemented
    windows: list[Window | None] = []
    extents: list[Any] = []
    for n in lengths:
        if not _is_traced_length(n):
            extents.append(n if isinstance(n, Dim) else int(n))
            windows.append(None)
            continue
        count, known = number(n, trace), trace.known_bounds(n)
        room = known[1] if known is not None and known[1] <= LARGEST else None
        failing = apply(pw.lt, count, ZERO)
        if room is None:
            room = ROOM * trace.branches.loops.room_scale
            trace.branches.has_rooms = True
            failing = apply(pw.bit_or, failing, apply(pw.gt, count, wrap(np.array(room))))
        if known is None or known[0] < 0 or trace.branches.has_rooms:
            count = checked(count, failing)
        extents.append(room)
        windows.append(Window(ZERO, count))
    if function is np.arange:
        target = int64 if dtype is None else target_dtype(dtype)
        values = cast(subscript.iota((extents[0],), 0), target)
    else:
        if dtype is not None:
            target = target_dtype(dtype)
        else:
            target = result_dtype(array(value)) if function is np.full else float64
        values = shape.broadcast_to(assigned(value, target), tuple(extents))
    return BoundedArray(owned(values, trace), tuple(windows))


def _is_traced_length(n: Any) -> bool:
    return is_symbol(n) and not isinstance(n, Dim)


# How long a new array may be made for.
LARGEST = 1 << 22

METHODS.update(
    nonzero=_nonzero,
    copy=_copy,
    astype=_astype,
    argsort=_argsorted,
    clip=_clip,
    reshape=_reshape,
    ravel=_ravel,
    flatten=_flatten,
)
FUNCTIONS.update(
    {
        np.nonzero: _nonzero, np.copy: _copy, np.argsort: _argsorted, np.clip: _clip,
        np.sort: _sorted, np.median: _median, np.unique: _unique, np.concatenate: _joined,
        np.append: _append, np.hstack: _joined, np.diff: _diff, np.where: _where,
        np.flatnonzero: _flatnonzero, np.argwhere: _argwhere, np.zeros_like: _like(0),
        np.ones_like: _like(1), np.empty_like: _like(0),
        np.full_like: lambda a, fill_value, dtype=None: _like(fill_value)(a, dtype),
        np.size: _size_of, np.flip: _flip, np.quantile: _quantile,
        np.percentile: _percentile, np.bincount: _bincount,
        np.stack: lambda arrays, axis=0: _stacked_rows(arrays, axis),
        np.vstack: lambda tup: _stacked_rows(tup, 0), np.reshape: _reshape,
        np.ravel: _ravel, np.shape: lambda a: a.shape, np.ndim: lambda a: a.ndim,
        np.round: _of_elements(round_), np.around: _of_elements(round_),
        np.nan_to_num: _of_elements(nan_to_num), np.isclose: _of_elements(isclose),
        np.fix: _of_elements(fix),
    }
)  # fmt: skip

# Functions of arrays of known length that give one of an unknown length.
COUNTING: dict[Any, Callable[..., Any]] = {
    np.nonzero: lambda a: _nonzero(_whole(a)),
    np.flatnonzero: lambda a: nonzero(_flat(array(a)))[0],
    np.argwhere: lambda a: _argwhere(_whole(a)),
    np.unique: _unique,
    np.where: _where_of_known,
    np.bincount: _bincount,
}

__all__ = ["COUNTING", "created"]
