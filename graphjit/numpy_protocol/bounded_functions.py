"""NumPy's functions and methods of arrays of which only a bound of the length is known."""

from __future__ import annotations

import math as pymath
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.core.types import as_dtype, float64, int64
from graphjit.functions import shape, subscript
from graphjit.ops import assemble
from graphjit.ops import index as ix
from graphjit.ops import pointwise as pw
from graphjit.ops import reduce as rd
from graphjit.tensors.apply import TensorBase, apply, wrap

from . import order, products, reductions
from .elementwise import where
from .bounded_arrays import (
    FUNCTIONS,
    METHODS,
    BoundedArray,
    compacted,
    elementwise,
    mapped,
    nonzero,
    plain,
    together,
)
from .promotion import (
    NO_VALUE,
    array,
    axes_of,
    axis_of,
    broadcast_shape,
    cast,
    constant,
    detached,
    promoted,
    refuse,
    result_dtype,
    static_number,
    target_dtype,
    unsupported,
)
from .ufuncs import run_ufunc
from .windows import Window, checked, is_known, moved, number, plus

_ZERO = wrap(np.zeros((), np.int64))


def _refusal(what: str) -> Any:
    return unsupported(f"{what} of an array whose length is known only at the call")


def _values(x: Any) -> Any:
    return x.values if isinstance(x, BoundedArray) else array(x)


def _windows(x: Any) -> tuple[Window | None, ...]:
    return x.windows if isinstance(x, BoundedArray) else (None,) * len(x.type.shape)


def _of_start(x: BoundedArray) -> BoundedArray:
    """The same elements, those of each window from the first place on."""
    values, windows = x.values, list(x.windows)
    for axis, window in enumerate(windows):
        if window is not None and not is_known(window.start, 0):
            values = moved(values, axis, window.start, values.type.shape[axis])
            windows[axis] = Window(_ZERO, window.count)
    return BoundedArray(values, tuple(windows))


def _size(x: BoundedArray, axes: Sequence[int]) -> Any:
    """How many elements lie along axes: int64 without axes."""
    found = wrap(np.ones((), np.int64))
    for axis in axes:
        found = x.count(axis) if is_known(found, 1) else apply(pw.mul, found, x.count(axis))
    return found


def _require_some(x: BoundedArray, axes: Sequence[int]) -> BoundedArray:
    """The array, in a call where there are elements along axes; else the call is Python's."""
    bounded = [k for k in axes if x.windows[k] is not None]
    if not bounded:
        return x
    empty = apply(pw.le, _size(x, axes), _ZERO)
    windows = list(x.windows)
    window = windows[bounded[0]]
    assert window is not None
    windows[bounded[0]] = Window(window.start, checked(window.count, empty))
    return BoundedArray(x.values, tuple(windows))


# -- reductions


def _left(x: BoundedArray, axes: Sequence[int], keepdims: Any) -> Any:
    """The windows of the axes that aren't reduced."""
    kept = keepdims is not NO_VALUE and bool(static_number(keepdims))
    if kept:
        return tuple(None if k in axes else w for k, w in enumerate(x.windows))
    return tuple(w for k, w in enumerate(x.windows) if k not in axes)


def _reduction(reduce: Any, neutral: Any, needs_some: bool = False) -> Callable[..., Any]:
    """A reduction that takes elements of which nothing changes for the others."""

    def handler(
        a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = NO_VALUE
    ) -> Any:
        refuse(out=(out,))
        axes = axes_of(axis, a.ndim)
        if needs_some:
            a = _require_some(a, axes)
        value = neutral(a.source.type.dtype) if callable(neutral) else neutral
        options: dict[str, Any] = {} if dtype is None else {"dtype": dtype}
        made = reduce(a.filled(value), axis=axes, keepdims=keepdims, **options)
        return plain(made, _left(a, axes, keepdims))

    return handler


def _least(dtype: Any) -> Any:
    return rd.lowest(dtype)


def _greatest(dtype: Any) -> Any:
    return rd.highest(dtype)


def _extreme(reduce: Any, worst: Any) -> Callable[..., Any]:
    inner = _reduction(reduce, worst, needs_some=True)

    def handler(
        a: Any, axis: Any = None, out: Any = None, keepdims: Any = NO_VALUE, **options: Any
    ) -> Any:
        refuse(**{k: (v, NO_VALUE) for k, v in options.items()})
        if a.source.type.dtype.is_complex:
            raise _refusal("an extreme of complex numbers")
        return inner(a, axis, None, out, keepdims)

    return handler


def _mean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = NO_VALUE
) -> Any:
    refuse(out=(out,))
    axes = axes_of(axis, a.ndim)
    a = _require_some(a, axes)
    source = a.source.type.dtype
    if source.is_narrow:
        raise _refusal("the mean in half precision")
    target = target_dtype(dtype) if dtype is not None else source
    target = target if target.is_inexact else float64
    zero = constant(0, source)
    kept = apply(pw.where, a.mask, a.values, zero)
    sums = reductions.total(cast(kept, target), axis=axes, keepdims=keepdims)
    count = cast(_size(a, axes), target)
    made = apply(pw.div, sums, shape.broadcast_to(count, sums.type.shape))
    return plain(made, _left(a, axes, keepdims))


def _var(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0,
    keepdims: Any = NO_VALUE,
) -> Any:  # fmt: skip
    refuse(out=(out,))
    axes = axes_of(axis, a.ndim)
    a = _require_some(a, axes)
    if a.source.type.dtype.is_complex or dtype is not None:
        raise _refusal("this variance")
    middle = _mean(a, axes, keepdims=True)
    distance = elementwise(np.subtract, (a, middle))
    total = FUNCTIONS[np.sum](elementwise(np.multiply, (distance, distance)), axes, None, None, keepdims)
    lost = number(static_number(ddof), a.recorder)
    free = apply(pw.maximum, apply(pw.sub, _size(a, axes), lost), _ZERO)
    kind = _values(total).type.dtype
    made = apply(
        pw.div, _values(total), shape.broadcast_to(cast(free, kind), _values(total).type.shape)
    )
    return plain(made, _left(a, axes, keepdims))


def _std(*args: Any, **kwargs: Any) -> Any:
    found = _var(*args, **kwargs)
    if isinstance(found, BoundedArray):
        return elementwise(np.sqrt, (found,))
    return run_ufunc(np.sqrt, found)


def _arg(primitive: Any, worst: Any) -> Callable[..., Any]:
    def handler(
        a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = NO_VALUE
    ) -> Any:
        refuse(out=(out,), keepdims=(keepdims, False))
        if axis is None and a.ndim > 1:
            raise _refusal("the place of an extreme among several axes")
        k = 0 if axis is None else axis_of(axis, a.ndim)
        a = _of_start(_require_some(a, (k,)))
        if a.source.type.dtype.is_complex:
            raise _refusal("the place of an extreme of complex numbers")
        found = apply(primitive, a.filled(worst(a.source.type.dtype)), axes=(k,))
        return plain(found, _left(a, (k,), False))

    return handler


def _count_nonzero(a: Any, axis: Any = None, *, keepdims: Any = NO_VALUE) -> Any:
    axes = axes_of(axis, a.ndim)
    values = a.values
    if not values.type.dtype.is_bool:
        values = apply(pw.ne, values, constant(0, values.type.dtype))
    flags = apply(pw.bit_and, values, a.mask)
    made = reductions.total(cast(flags, int64), axis=axes, keepdims=keepdims)
    return plain(made, _left(a, axes, keepdims))


def _ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = NO_VALUE) -> Any:
    refuse(out=(out,), keepdims=(keepdims, False))
    high, low = FUNCTIONS[np.max](a, axis), FUNCTIONS[np.min](a, axis)
    if isinstance(high, BoundedArray):
        return elementwise(np.subtract, (high, low))
    return run_ufunc(np.subtract, high, low)


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: Any = False) -> Any:
    refuse(ord=(ord,), keepdims=(keepdims, False))
    dtype = x.source.type.dtype
    if dtype.is_complex:
        raise _refusal("the norm of complex numbers")
    if axis is not None:
        axes = axes_of(axis, x.ndim)
        wide = x if dtype.is_inexact else _astype(x, float64)
        squares = elementwise(np.multiply, (wide, wide))
        sums = FUNCTIONS[np.sum](squares, axes)
        if isinstance(sums, BoundedArray):
            return elementwise(np.sqrt, (sums,))
        return run_ufunc(np.sqrt, sums)
    wide = x.filled(0) if dtype.is_inexact else cast(x.filled(0), float64)
    flat = shape.reshape(wide, (wide.type.size,))
    return run_ufunc(np.sqrt, products.dot(flat, flat))


def _cumulative(primitive: Any) -> Callable[..., Any]:
    def handler(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        refuse(out=(out,), dtype=(dtype,))
        if axis is None and a.ndim > 1:
            raise _refusal("a running reduction of all axes")
        k = 0 if axis is None else axis_of(axis, a.ndim)
        a = _of_start(a)
        values = a.values
        kind = values.type.dtype
        if kind.is_bool or (kind.kind == "i" and kind.size < 8):
            values = cast(values, int64)
        elif kind.kind == "u":
            values = cast(values, as_dtype("uint64"))
        return BoundedArray(apply(primitive, values, axis=k), a.windows)

    return handler


# -- products


def _contracted(a: Any, i: int, b: Any, j: int) -> tuple[Any, Any]:
    """Two arrays whose axes i and j are to be multiplied and added up, as plain ones with zeros
    where either has no elements.
    """
    one, other = _windows(a)[i], _windows(b)[j]
    x, y = _values(a), _values(b)
    if one is None and other is None:
        return x, y
    turned = (shape.moveaxis(x, i, 0), shape.moveaxis(y, j, 0))
    parts = []
    for whole, window in zip(turned, (one, other), strict=True):
        flat = shape.reshape(whole, (whole.type.shape[0], -1)) if whole.ndim != 1 else whole
        kept = BoundedArray(flat, (window, *(None,) * (flat.ndim - 1)))
        parts.append((kept, whole))
    along = []
    for kept, _ in parts:
        if kept.ndim == 1:
            along.append(kept)
        else:
            along.append(BoundedArray(_transposed(kept.source), kept.windows[::-1]))
    first = [x if any(x.windows) else x.values for x in along]
    first[0] = _spread(first[0], 0)
    first[1] = _spread(first[1], 1)
    values, windows = together(first)
    mask = BoundedArray(values[0], (None, None, windows[-1])) if windows[-1] else None
    done = []
    for value, (_, whole), axis in zip(values, parts, (i, j), strict=True):
        rows = shape.reshape(value, (-1, value.type.shape[-1]))
        if mask is not None:
            only = BoundedArray(rows, (None, windows[-1]))
            rows = only.filled(0)
        back = _transposed(rows)
        back = shape.reshape(back, (back.type.shape[0], *whole.type.shape[1:]))
        done.append(shape.moveaxis(back, 0, axis))
    return done[0], done[1]


def _transposed(x: Any) -> Any:
    return shape.transpose(x, (1, 0))


def _spread(x: Any, side: int) -> Any:
    """Rows of two arrays on axes of their own, so that only the last axis is common."""
    values, windows = _values(x), _windows(x)
    if values.ndim == 1:
        values, windows = shape.reshape(values, (1, values.type.shape[0])), (None, *windows)
    rows, length = values.type.shape
    shaped = (rows, 1, length) if side == 0 else (1, rows, length)
    found = (windows[0], None, windows[1]) if side == 0 else (None, windows[0], windows[1])
    made = shape.reshape(values, shaped)
    return BoundedArray(made, found) if any(w is not None for w in found) else made


def _product(function: Any) -> Callable[..., Any]:
    def handler(a: Any, b: Any, out: Any = None) -> Any:
        refuse(out=(out,))
        a, b = (x if isinstance(x, BoundedArray) else detached(array(x)) for x in (a, b))
        rank, other = len(_windows(a)), len(_windows(b))
        if not rank or not other or rank > 2 or other > 2:
            if function is products.dot and not (rank and other):
                return elementwise(np.multiply, (a, b))
            raise _refusal("a product")
        i, j = rank - 1, max(other - 2, 0)
        if function is products.inner:
            j = other - 1
        x, y = _contracted(a, i, b, j)
        made = function(x, y)
        left = tuple(w for k, w in enumerate(_windows(a)) if k != i)
        right = tuple(w for k, w in enumerate(_windows(b)) if k != j)
        return plain(made, (*left, *right))

    return handler


def _matmul(x: Any, y: Any) -> Any:
    return run_ufunc(np.matmul, x, y)


def _outer(a: Any, b: Any, out: Any = None) -> Any:
    refuse(out=(out,))
    a, b = (x if isinstance(x, BoundedArray) else array(x) for x in (a, b))
    if len(_windows(a)) != 1 or len(_windows(b)) != 1:
        raise _refusal("an outer product")
    column = shape.reshape(_values(a), (-1, 1))
    row = shape.reshape(_values(b), (1, -1))
    left = plain(column, (*_windows(a), None))
    right = plain(row, (None, *_windows(b)))
    return mapped(lambda *v: run_ufunc(np.multiply, *v), (left, right))


# -- order


def _behind(dtype: Any) -> Any:
    """What sorts behind all elements, or with the last of them."""
    return np.nan if dtype.is_floating else rd.highest(dtype)


def _sorted(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, **options: Any) -> Any:
    refuse(order=(order,), **{k: (v,) for k, v in options.items()})
    if a.source.type.dtype.is_complex:
        raise _refusal("a sort of complex numbers")
    k = axis_of(axis, a.ndim)
    a = _of_start(a)
    filled = a.filled(_behind(a.source.type.dtype))
    return BoundedArray(_sort(filled, k, kind), a.windows)


def _sort(x: Any, axis: int, kind: Any) -> Any:
    return order.sort(x, axis, kind)


def _argsorted(
    a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> Any:
    refuse(order=(order,))
    if kind != "stable" and not (stable is True or kind == "mergesort"):
        raise _refusal("an argsort that isn't stable")
    k = axis_of(axis, a.ndim)
    a = _of_start(a)
    filled = a.filled(_behind(a.source.type.dtype))
    return BoundedArray(_argsort(filled, k), a.windows)


def _argsort(x: Any, axis: int) -> Any:
    return order.argsort(x, axis, "stable")


def _median(a: Any, axis: Any = None, **options: Any) -> Any:
    refuse(**{k: (v, False) for k, v in options.items()})
    if a.ndim != 1 or a.source.type.dtype.is_complex:
        raise _refusal("the median")
    axes_of(axis, 1)
    a = _require_some(a, (0,))
    dtype = a.source.type.dtype
    ordered = _sorted(a)
    count = ordered.count(0)
    values = ordered.values if dtype.is_inexact else cast(ordered.values, float64)
    two = wrap(np.array(2))
    low = apply(pw.floordiv, apply(pw.sub, count, wrap(np.ones((), np.int64))), two, strict=False)
    high = apply(pw.floordiv, count, two, strict=False)
    last = plus(count, wrap(np.array(-1)))
    at = [
        shape.reshape(moved(values, 0, place, 1), ()) for place in (low, high, last)
    ]
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
        raise _refusal("a quantile")
    axes_of(axis, 1)
    a = _require_some(a, (0,))
    dtype = a.source.type.dtype
    ordered = _sorted(a)
    values = ordered.values if dtype.is_inexact else cast(ordered.values, float64)
    kind = values.type.dtype
    fractions = np.asarray(static_number(q), float)
    if fractions.ndim > 1 or not np.all((fractions >= 0) & (fractions <= 1)):
        raise _refusal("a quantile")
    count = ordered.count(0)
    last = cast(plus(count, wrap(np.array(-1))), float64)
    found = []
    for fraction in fractions.reshape(-1):
        place = apply(pw.mul, last, constant(float(fraction), float64))
        below = apply(pw.floor, place)
        part = cast(apply(pw.sub, place, below), kind)
        low = cast(below, int64)
        high = apply(pw.minimum, plus(low, wrap(np.ones((), np.int64))), plus(count, wrap(np.array(-1))))
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
        raise _refusal("np.bincount")
    if weights is not None and (isinstance(weights, BoundedArray) or isinstance(x, BoundedArray)):
        raise _refusal("np.bincount with weights")
    trace = a.recorder
    values = cast(a.values, int64)
    room = int(least)
    if not room:
        trace.branches.has_rooms, room = True, ROOM * trace.branches.loops.room_scale
    size = values.type.shape
    mask = a.mask
    zero = shape.broadcast_to(_ZERO, size)
    kept = apply(pw.where, *_alike(mask, values, zero))
    negative = apply(rd.any_, apply(pw.lt, kept, zero), axes=(0,))
    greatest = apply(rd.max_, apply(pw.where, *_alike(mask, values, shape.broadcast_to(wrap(np.array(-1)), size))), axes=(0,)) if size != (0,) else wrap(np.array(-1))
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
        raise _refusal("np.bincount with weights of another length")
    base = shape.broadcast_to(constant(0, kind), (room + 1,))
    made = apply(ix.scatter, base, given, place, axes=(0,), mode="add")
    made = subscript.getitem(made, slice(0, room))
    if int(least):
        return made
    count = plus(greatest, wrap(np.ones((), np.int64)))
    return BoundedArray(made, (Window(_ZERO, count),))


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
        raise _refusal("np.unique with the places of elements")
    a = ar if isinstance(ar, BoundedArray) else _flat(array(ar))
    if a.ndim != 1:
        a = compacted(a.mask, [a.values])[0]
    dtype = a.source.type.dtype
    if dtype.is_complex or (dtype.is_floating and not a.source.recorder):
        raise _refusal("np.unique")
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
    if any(len(_windows(x)) != 1 for x in pieces):
        raise _refusal("np.concatenate of several axes")
    axis_of(axis, 1)
    trace = next(x for x in pieces if isinstance(x, BoundedArray)).recorder
    kind = result_dtype(*[_values(x) for x in pieces])
    most: Any = 0
    for x in pieces:
        most = most + _values(x).type.shape[0]
    made = shape.broadcast_to(wrap(np.zeros((), kind.dtype)), (most + 1,))
    first = _ZERO
    for x in pieces:
        values, (window,) = cast(_values(x), kind), _windows(x)
        size = values.type.shape[0]
        count = number(size, trace) if window is None else window.count
        start = _ZERO if window is None else window.start
        along = subscript.iota((size,), 0)
        own = apply(pw.sub, along, shape.broadcast_to(start, (size,)))
        zero = shape.broadcast_to(_ZERO, (size,))
        inside = apply(pw.bit_and, apply(pw.ge, own, zero), apply(pw.lt, own, shape.broadcast_to(count, (size,))))
        place = apply(pw.add, own, shape.broadcast_to(first, (size,)))
        behind = shape.broadcast_to(number(most, trace), (size,))
        target = apply(pw.where, inside, place, behind)
        made = apply(ix.scatter, made, values, target, axes=(0,), mode="update")
        first = plus(first, count)
    return BoundedArray(subscript.getitem(made, slice(0, most)), (Window(_ZERO, first),))


def _append(arr: Any, values: Any, axis: Any = None) -> Any:
    if axis is not None and not isinstance(axis, int):
        raise _refusal("np.append")
    return _joined([arr, shape.reshape(array(values), (-1,)) if not isinstance(values, BoundedArray) else values])


def _diff(a: Any, n: Any = 1, axis: Any = -1, prepend: Any = NO_VALUE, append: Any = NO_VALUE) -> Any:
    refuse(prepend=(prepend,), append=(append,), n=(n, 1))
    k = axis_of(axis, a.ndim)
    if a.windows[k] is None:
        raise _refusal("np.diff")
    key = [slice(None)] * a.ndim
    later, earlier = [*key], [*key]
    later[k], earlier[k] = slice(1, None), slice(None, -1)
    ufunc = np.not_equal if a.source.type.dtype.is_bool else np.subtract
    return elementwise(ufunc, (a[tuple(later)], a[tuple(earlier)]))


def _where(condition: Any, x: Any = NO_VALUE, y: Any = NO_VALUE) -> Any:
    if x is NO_VALUE:
        return tuple(nonzero(condition))
    kind = result_dtype(*[_values(v) if isinstance(v, BoundedArray) else v for v in (x, y)])

    def chosen(flag: Any, a: Any, b: Any) -> Any:
        flags = flag if flag.type.dtype.is_bool else apply(pw.ne, flag, constant(0, flag.type.dtype))
        both = promoted(a, b, dtype=kind)
        whole = broadcast_shape(flags.type.shape, *(v.type.shape for v in both))
        return apply(pw.where, *(shape.broadcast_to(v, whole) for v in (flags, *both)))

    given = [v if isinstance(v, (BoundedArray, TensorBase)) else array(v) for v in (condition, x, y)]
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
        raise _refusal("np.flatnonzero of several axes")
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
    first, *rest = a.windows
    if any(w is not None for w in rest) or not wanted or not _is_free(wanted[0], a):
        raise _refusal("reshape")
    sizes = [n if not isinstance(n, np.integer) else int(n) for n in wanted[1:]]
    if not all(isinstance(n, int) and n > 0 for n in sizes):
        raise _refusal("reshape")
    a = _of_start(a)
    row, new = pymath.prod(a.extents[1:]), pymath.prod(sizes)
    values, count = a.values, a.count(0)
    if row != new:
        if not isinstance(row, int) or row % new:
            raise _refusal("reshape")
        count = apply(pw.mul, count, wrap(np.array(row // new)))
    values = shape.reshape(values, (values.type.shape[0] * row // new, *sizes))
    return BoundedArray(values, (Window(_ZERO, count), *(None,) * len(sizes)))


def _is_free(n: Any, a: Any) -> bool:
    """Whether a length that is asked for is what there is."""
    if isinstance(n, (int, np.integer)):
        return n == -1
    own = a.windows[0].count
    return getattr(n, "node", None) == own.node and a.ndim == 1


def _ravel(a: Any, order: Any = "C") -> Any:
    refuse(order=(order, "C"))
    return _reshape(a, -1)


def _size_of(a: Any, axis: Any = None) -> Any:
    return a.size if axis is None else a.shape[axis]


def _of_ufunc(ufunc: Any) -> Callable[..., Any]:
    return lambda *args: elementwise(ufunc, args)


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
        raise _refusal("np.stack")
    return arrays


def _where_of_known(condition: Any, x: Any = NO_VALUE, y: Any = NO_VALUE, /) -> Any:
    if x is NO_VALUE and y is NO_VALUE:
        return _nonzero(_whole(condition))
    return where(condition, x, y)


_any = _reduction(reductions.any_, 0)
_all = _reduction(reductions.all_, 1)
METHODS.update(
    sum=_reduction(reductions.total, 0), prod=_reduction(reductions.product, 1),
    any=lambda a, axis=None, out=None, keepdims=NO_VALUE: _any(a, axis, None, out, keepdims),
    all=lambda a, axis=None, out=None, keepdims=NO_VALUE: _all(a, axis, None, out, keepdims),
    min=_extreme(lambda x, **o: reductions.minimum(x, **o), _greatest),
    max=_extreme(lambda x, **o: reductions.maximum(x, **o), _least),
    mean=_mean, var=_var, std=_std, argmin=_arg(rd.argmin, _greatest),
    argmax=_arg(rd.argmax, _least), cumsum=_cumulative(rd.cumsum),
    cumprod=_cumulative(rd.cumprod), nonzero=_nonzero, copy=_copy, astype=_astype,
    argsort=_argsorted, clip=_clip,
    dot=lambda a, b: FUNCTIONS[np.dot](a, b), reshape=_reshape, ravel=_ravel, flatten=_ravel,
)  # fmt: skip
FUNCTIONS.update(
    {
        getattr(np, name): METHODS[name]
        for name in (
            "sum", "prod", "any", "all", "min", "max", "mean", "var", "std", "argmin", "argmax",
            "cumsum", "cumprod", "nonzero", "copy", "argsort", "clip",
        )
    }
)  # fmt: skip
FUNCTIONS.update(
    {
        np.count_nonzero: _count_nonzero, np.ptp: _ptp, np.linalg.norm: _norm,
        np.dot: _product(products.dot), np.inner: _product(products.inner),
        np.matmul: _product(_matmul), np.outer: _outer, np.sort: _sorted, np.median: _median,
        np.unique: _unique, np.concatenate: _joined, np.append: _append,
        np.hstack: lambda tup: _joined(tup), np.diff: _diff, np.where: _where,
        np.flatnonzero: _flatnonzero, np.argwhere: _argwhere, np.zeros_like: _like(0), np.ones_like: _like(1),
        np.full_like: lambda a, fill_value, dtype=None: _like(fill_value)(a, dtype),
        np.empty_like: _like(0), np.size: _size_of, np.flip: _flip,
        np.quantile: _quantile, np.percentile: _percentile, np.bincount: _bincount,
        np.stack: lambda arrays, axis=0: _stacked_rows(arrays, axis),
        np.vstack: lambda tup: _stacked_rows(tup, 0),
        np.reshape: _reshape, np.ravel: _ravel, np.shape: lambda a: a.shape, np.ndim: lambda a: a.ndim,
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

__all__ = ["COUNTING"]
