"""NumPy's sorting and searching: sort, argsort, searchsorted, digitize, histogram, interp."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.core.errors import DTypeError, ShapeError, at_user_line
from graphjit.core.types import float64, int64
from graphjit.functions import index, math, shape
from graphjit.ops import library
from graphjit.tensors.apply import apply, wrap

from .promotion import (
    Handler,
    array,
    axis_of,
    cast,
    constant,
    convert,
    promoted,
    refuse,
    result_dtype,
    static_number,
    unsupported,
)


def _axis_or_flat(a: Any, axis: Any) -> tuple[Any, int]:
    x = array(a)
    if axis is None:
        return shape.reshape(x, (x.type.size,)), 0
    return x, axis_of(axis, x.ndim)


_KINDS = ("quicksort", "heapsort", "mergesort", "stable")


def _kind(kind: Any, stable: Any) -> str:
    """The kind of sort that NumPy takes for its two options."""
    refuse(kind=(kind, *_KINDS))
    if stable is None:
        return kind or "quicksort"
    if kind is not None:
        raise ShapeError(
            at_user_line(
                "`kind` and keyword parameters can't be provided at the same time. "
                "Use only one of them."
            )
        )
    return "stable" if static_number(stable) else "quicksort"


def sort(
    a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> Any:
    """np.sort."""
    refuse(order=(order,))
    kind = _kind(kind, stable)
    x, k = _axis_or_flat(a, axis)
    return apply(library.sort, x, axis=k, kind=kind)


def argsort(
    a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> Any:
    """np.argsort."""
    refuse(order=(order,))
    kind = _kind(kind, stable)
    x = array(a)
    if not x.ndim and axis is not None:
        axis_of(axis, 1)
        return wrap(np.zeros(1, np.int64))
    x, k = _axis_or_flat(x, axis)
    return apply(library.argsort, x, axis=k, kind=kind)


def searchsorted(a: Any, v: Any, side: Any = "left", sorter: Any = None) -> Any:
    """np.searchsorted."""
    refuse(sorter=(sorter,))
    if side not in ("left", "right"):
        raise ShapeError(at_user_line(f"search side must be 'left' or 'right' (got '{side}')"))
    sequence, values = promoted(a, v)
    if sequence.ndim != 1:
        raise ShapeError(at_user_line("object of too small depth for desired array"))
    return apply(library.searchsorted, sequence, values, right=side == "right")


def digitize(x: Any, bins: Any, right: Any = False) -> Any:
    """np.digitize with bins whose values are known."""
    edges = array(bins)
    if edges.recorder is not None:
        raise unsupported("np.digitize with traced or captured bins")
    known = edges.numpy()
    side = "left" if right else "right"
    if array(x).type.dtype.is_complex:
        raise DTypeError(at_user_line("x may not be complex"))
    if known.ndim != 1 or (np.diff(known) < 0).any():
        raise unsupported("np.digitize with decreasing bins")
    return searchsorted(edges, x, side)


def histogram(
    a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> Any:
    """np.histogram with bins given by their edges."""
    refuse(range=(range,), density=(density, False), weights=(weights,))
    if not hasattr(bins, "__len__"):
        raise unsupported("np.histogram with a number of bins")
    edges = array(bins)
    x = array(a)
    if edges.recorder is not None or edges.ndim != 1 or (np.diff(edges.numpy()) < 0).any():
        raise unsupported("np.histogram with traced or captured bins")
    if x.type.dtype.is_bool or x.type.dtype.is_complex or edges.type.shape[0] < 2:
        raise unsupported("this histogram")
    ordered = apply(library.sort, shape.reshape(x, (x.type.size,)), axis=0, kind="quicksort")
    count = edges.type.shape[0]
    inner = searchsorted(ordered, shape.slice_axis(edges, 0, 0, count - 1), "left")
    last = searchsorted(ordered, shape.slice_axis(edges, 0, count - 1, 1), "right")
    running = shape.concat([inner, last], 0)
    upper = shape.slice_axis(running, 0, 1, count - 1)
    return math.subtract(upper, shape.slice_axis(running, 0, 0, count - 1)), edges


def interp(
    x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
) -> Any:
    """np.interp."""
    refuse(period=(period,))
    if any(result_dtype(v).is_complex for v in (x, xp)):
        raise DTypeError(at_user_line("Cannot cast array data from complex to float64"))
    points, known, values = convert(x, float64), convert(xp, float64), array(fp)
    if values.type.dtype.is_complex:
        raise unsupported("np.interp of complex values")
    values = cast(values, float64)
    if known.ndim != 1 or values.ndim != 1:
        raise ShapeError(at_user_line("Data points must be 1-D sequences"))
    count = known.type.shape[0]
    if count != values.type.shape[0]:
        raise ShapeError(at_user_line("fp and xp are not of the same length."))
    if count == 0:
        raise ShapeError(at_user_line("array of sample points is empty"))
    place = apply(library.searchsorted, known, points, right=True)
    place = math.subtract(place, constant(1, int64))
    zero = constant(0, int64)
    here = math.minimum(math.maximum(place, zero), constant(count - 1, int64))
    after = math.minimum(math.add(here, constant(1, int64)), constant(count - 1, int64))
    x0, y0 = (index.gather(v, here) for v in (known, values))
    x1, y1 = (index.gather(v, after) for v in (known, values))
    slope = math.divide(math.subtract(y1, y0), math.subtract(x1, x0))
    inside = math.add(math.multiply(slope, math.subtract(points, x0)), y0)
    again = math.add(math.multiply(slope, math.subtract(points, x1)), y1)
    again = math.where(math.logical_and(math.is_nan(again), math.equal(y0, y1)), y0, again)
    inside = math.where(math.is_nan(inside), again, inside)
    exact = math.logical_or(
        math.equal(points, x0), math.equal(here, constant(count - 1, int64))
    )
    result = math.where(exact, y0, inside)
    first, last = (shape.reshape(shape.slice_axis(known, 0, i, 1), ()) for i in (0, count - 1))
    low, high = (shape.reshape(shape.slice_axis(values, 0, i, 1), ()) for i in (0, count - 1))
    low = low if left is None else convert(left, float64)
    high = high if right is None else convert(right, float64)
    result = math.where(math.less(points, first), low, result)
    result = math.where(math.greater(points, last), high, result)
    return math.where(math.is_nan(points), points, result)


FUNCTIONS: dict[Any, Handler] = {
    np.sort: sort,
    np.argsort: argsort,
    np.searchsorted: searchsorted,
    np.digitize: digitize,
    np.histogram: histogram,
    np.interp: interp,
}
