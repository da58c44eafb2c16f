"""Reductions and products of arrays whose length is known only at the call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.core.types import as_dtype, float64, int64
from graphjit.functions import shape
from graphjit.ops import pointwise as pw
from graphjit.ops import reduce as rd
from graphjit.tensors.apply import apply, wrap

from . import products, reductions
from .bounded_arrays import (
    FUNCTIONS,
    METHODS,
    BoundedArray,
    elementwise,
    mapped,
    plain,
    refusal,
    together,
    windows_of,
)
from .promotion import (
    NO_VALUE,
    array,
    axes_of,
    axis_of,
    cast,
    constant,
    detached,
    refuse,
    static_number,
    target_dtype,
)
from .ufuncs import run_ufunc
from .windows import Window, checked, is_known, moved, number

# int64 without axes.
ZERO = wrap(np.zeros((), np.int64))


def values_of(x: Any) -> Any:
    """The larger array that an array lies in; the array itself where its length is known."""
    return x.values if isinstance(x, BoundedArray) else array(x)


def of_start(x: BoundedArray) -> BoundedArray:
    """The same elements, those of each window from the first place on."""
    values, windows = x.values, list(x.windows)
    for axis, window in enumerate(windows):
        if window is not None and not is_known(window.start, 0):
            values = moved(values, axis, window.start, values.type.shape[axis])
            windows[axis] = Window(ZERO, window.count)
    return BoundedArray(values, tuple(windows))


def _size(x: BoundedArray, axes: Sequence[int]) -> Any:
    """How many elements lie along axes: int64 without axes."""
    found = wrap(np.ones((), np.int64))
    for axis in axes:
        found = x.count(axis) if is_known(found, 1) else apply(pw.mul, found, x.count(axis))
    return found


def require_some(x: BoundedArray, axes: Sequence[int]) -> BoundedArray:
    """The array, in a call where there are elements along axes; else the call is Python's."""
    bounded = [k for k in axes if x.windows[k] is not None]
    if not bounded:
        return x
    empty = apply(pw.le, _size(x, axes), ZERO)
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
            a = require_some(a, axes)
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
            raise refusal("an extreme of complex numbers")
        return inner(a, axis, None, out, keepdims)

    return handler


def _mean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = NO_VALUE
) -> Any:
    refuse(out=(out,))
    axes = axes_of(axis, a.ndim)
    a = require_some(a, axes)
    source = a.source.type.dtype
    if source.is_narrow:
        raise refusal("the mean in half precision")
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
    a = require_some(a, axes)
    if a.source.type.dtype.is_complex or dtype is not None:
        raise refusal("this variance")
    middle = _mean(a, axes, keepdims=True)
    distance = elementwise(np.subtract, (a, middle))
    total = FUNCTIONS[np.sum](
        elementwise(np.multiply, (distance, distance)), axes, None, None, keepdims
    )
    lost = number(static_number(ddof), a.recorder)
    free = apply(pw.maximum, apply(pw.sub, _size(a, axes), lost), ZERO)
    kind = values_of(total).type.dtype
    made = apply(
        pw.div,
        values_of(total),
        shape.broadcast_to(cast(free, kind), values_of(total).type.shape),
    )
    return plain(made, _left(a, axes, keepdims))


def _std(*args: Any, **kwargs: Any) -> Any:
    found = _var(*args, **kwargs)
    if isinstance(found, BoundedArray):
        return elementwise(np.sqrt, (found,))
    return run_ufunc(np.sqrt, found)


def _arg(primitive: Any, worst: Any) -> Callable[..., Any]:
    def handler(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = NO_VALUE) -> Any:
        refuse(out=(out,), keepdims=(keepdims, False))
        if axis is None and a.ndim > 1:
            raise refusal("the place of an extreme among several axes")
        k = 0 if axis is None else axis_of(axis, a.ndim)
        a = of_start(require_some(a, (k,)))
        if a.source.type.dtype.is_complex:
            raise refusal("the place of an extreme of complex numbers")
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
        raise refusal("the norm of complex numbers")
    if axis is not None:
        axes = axes_of(axis, x.ndim)
        wide = x if dtype.is_inexact else BoundedArray(cast(x.values, float64), x.windows)
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
            raise refusal("a running reduction of all axes")
        k = 0 if axis is None else axis_of(axis, a.ndim)
        a = of_start(a)
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
    one, other = windows_of(a)[i], windows_of(b)[j]
    x, y = values_of(a), values_of(b)
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
    values, windows = values_of(x), windows_of(x)
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
        rank, other = len(windows_of(a)), len(windows_of(b))
        if not rank or not other or rank > 2 or other > 2:
            if function is products.dot and not (rank and other):
                return elementwise(np.multiply, (a, b))
            raise refusal("a product")
        i, j = rank - 1, max(other - 2, 0)
        if function is products.inner:
            j = other - 1
        x, y = _contracted(a, i, b, j)
        made = function(x, y)
        left = tuple(w for k, w in enumerate(windows_of(a)) if k != i)
        right = tuple(w for k, w in enumerate(windows_of(b)) if k != j)
        return plain(made, (*left, *right))

    return handler


def _matmul(x: Any, y: Any) -> Any:
    return run_ufunc(np.matmul, x, y)


def _outer(a: Any, b: Any, out: Any = None) -> Any:
    refuse(out=(out,))
    a, b = (x if isinstance(x, BoundedArray) else array(x) for x in (a, b))
    if len(windows_of(a)) != 1 or len(windows_of(b)) != 1:
        raise refusal("an outer product")
    column = shape.reshape(values_of(a), (-1, 1))
    row = shape.reshape(values_of(b), (1, -1))
    left = plain(column, (*windows_of(a), None))
    right = plain(row, (None, *windows_of(b)))
    return mapped(lambda *v: run_ufunc(np.multiply, *v), (left, right))


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
    cumprod=_cumulative(rd.cumprod), dot=lambda a, b: FUNCTIONS[np.dot](a, b),
)  # fmt: skip
FUNCTIONS.update(
    {
        getattr(np, name): METHODS[name]
        for name in (
            "sum", "prod", "any", "all", "min", "max", "mean", "var", "std", "argmin", "argmax",
            "cumsum", "cumprod",
        )
    }
)  # fmt: skip
FUNCTIONS.update(
    {
        np.count_nonzero: _count_nonzero, np.ptp: _ptp, np.linalg.norm: _norm,
        np.dot: _product(products.dot), np.inner: _product(products.inner),
        np.matmul: _product(_matmul), np.outer: _outer,
    }
)  # fmt: skip

__all__ = ["ZERO", "of_start", "require_some", "values_of"]
