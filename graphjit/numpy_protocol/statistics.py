"""NumPy's averages, order statistics and correlations."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.core.errors import DTypeError, ShapeError, at_user_line
from graphjit.core.types import DType, Shape, as_dtype
from graphjit.functions import math, shape
from graphjit.ops import library
from graphjit.ops import pointwise as pw
from graphjit.tensors.apply import apply

from .promotion import (
    NO_VALUE,
    Handler,
    array,
    axes_of,
    cast,
    constant,
    refuse,
    result_dtype,
    static_number,
    target_dtype,
    unsupported,
)
from .reductions import count_along, mean, total
from .ufuncs import isnan, run_ufunc


def average(
    a: Any, axis: Any = None, weights: Any = None, returned: Any = False, *,
    keepdims: Any = NO_VALUE,
) -> Any:  # fmt: skip
    """np.average."""
    x = array(a)
    axes = axes_of(axis, x.ndim)
    if weights is None:
        result = mean(x, axes, None, None, keepdims)
        if not result.type.size:
            raise ZeroDivisionError(at_user_line("division by zero"))
        if not returned:
            return result
        scale: Any = constant(count_along(x, axes), result.type.dtype)
        return result, shape.broadcast_to(scale, result.type.shape)
    w = array(weights)
    if w.type.shape != x.type.shape:
        if axis is None:
            raise DTypeError(
                at_user_line("Axis must be specified when shapes of a and weights differ.")
            )
        if w.type.shape != tuple(x.type.shape[k] for k in axes):
            raise ShapeError(
                at_user_line("Shape of weights must be consistent with shape of a along axis.")
            )
        order = sorted(range(len(axes)), key=lambda i: axes[i])
        w = shape.transpose(w, order)
        w = shape.reshape(w, tuple(n if k in axes else 1 for k, n in enumerate(x.type.shape)))
        w = shape.broadcast_to(w, x.type.shape)
    inputs = [x.type.dtype.dtype, w.type.dtype.dtype]
    if not x.type.dtype.is_inexact:
        inputs.append(np.dtype("f8"))
    target = as_dtype(np.result_type(*inputs))
    scale = total(w, axes, target, None, keepdims)
    if not w.type.size or (w.recorder is None and not np.all(scale.numpy())):
        raise ZeroDivisionError(pw.NO_WEIGHT)
    products = run_ufunc(np.multiply, x, w, dtype=target)
    result = run_ufunc(np.divide, total(products, axes, None, None, keepdims), scale)
    if w.recorder is not None:
        nothing = apply(pw.eq, scale, constant(0, target))
        result = w.recorder.note_checked(apply(pw.unless, result, nothing, reason=pw.NO_WEIGHT))
    return (result, scale) if returned else result


def _sorted_last(x: Any, axis: Any) -> tuple[Any, tuple[int, ...]]:
    """The array with the reduced axes joined into a sorted last one, and those axes."""
    axes = axes_of(axis, x.ndim)
    rest = [k for k in range(x.ndim) if k not in axes]
    joined = shape.transpose(x, [*rest, *sorted(axes)])
    outer_shape = tuple(x.type.shape[k] for k in rest)
    flat = shape.reshape(joined, (*outer_shape, count_along(x, axes)))
    return apply(library.sort, flat, axis=len(rest), kind="quicksort"), axes


def _at(x: Any, place: int) -> Any:
    """The elements at one place of the last axis."""
    last = x.ndim - 1
    return shape.squeeze(shape.slice_axis(x, last, place, 1), last)


def _keep(result: Any, x: Any, axes: Shape, keepdims: Any, lead: Shape = ()) -> Any:
    if keepdims is NO_VALUE or not keepdims:
        return result
    kept = tuple(1 if k in axes else n for k, n in enumerate(x.type.shape))
    return shape.reshape(result, (*lead, *kept))


def _nan_where_any(result: Any, ordered: Any) -> Any:
    """NaN where the sorted last axis ends in NaN."""
    if not ordered.type.dtype.is_inexact:
        return result
    last = _at(ordered, ordered.type.shape[-1] - 1)
    return apply(pw.where, isnan(last), cast(last, result.type.dtype), result)


def median(
    a: Any, axis: Any = None, out: Any = None, overwrite_input: Any = False,
    keepdims: Any = False,
) -> Any:  # fmt: skip
    """np.median."""
    refuse(out=(out,), overwrite_input=(overwrite_input, False))
    x = array(a)
    if x.type.dtype.is_complex:
        raise unsupported("np.median of complex numbers")
    ordered, axes = _sorted_last(x, axis)
    count = ordered.type.shape[-1]
    if count == 0:
        raise unsupported("the median of nothing")
    first = (count - 1) // 2
    middle = shape.slice_axis(ordered, ordered.ndim - 1, first, 2 - count % 2)
    result = _nan_where_any(mean(middle, -1), ordered)
    return _keep(result, x, axes, keepdims)


def quantile(
    a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: Any = False,
    method: Any = "linear", keepdims: Any = False, *, weights: Any = None,
    percent: bool = False, **kwargs: Any,
) -> Any:  # fmt: skip
    """np.quantile, or with `percent` np.percentile, by linear interpolation."""
    refuse(
        out=(out,), overwrite_input=(overwrite_input, False), method=(method, "linear"),
        weights=(weights,), **{k: (v,) for k, v in kwargs.items()},
    )  # fmt: skip
    x = array(a)
    if x.type.dtype.is_complex:
        raise DTypeError(at_user_line("a must be an array of real numbers"))
    if x.type.dtype.is_bool:
        raise unsupported("a quantile of bools")
    points = static_number(q)
    if isinstance(points, np.ndarray):
        raise unsupported("a quantile at captured points")
    known = np.asarray(points)
    function = np.percentile if percent else np.quantile
    try:
        sample = np.zeros((2,) * x.ndim, x.type.dtype.dtype)
        dtype = as_dtype(np.asarray(function(sample, points, axis)).dtype)
    except np.exceptions.AxisError:
        raise
    except ValueError as error:
        raise ShapeError(at_user_line(str(error))) from error
    ordered, axes = _sorted_last(x, axis)
    count = ordered.type.shape[-1]
    if count == 0 or known.ndim > 1:
        raise unsupported("this quantile")
    weak = type(points) in (int, float)
    fractions = np.true_divide(known, 100) if percent else np.true_divide(known, 1)
    if not percent and known.dtype.kind in "iu":  # 0 and 1: nothing lies between
        places = [int(f) * (count - 1) for f in np.atleast_1d(known)]
        results = [_nan_where_any(cast(_at(ordered, k), dtype), ordered) for k in places]
    else:
        points = np.atleast_1d(fractions)
        results = [_quantile_at(ordered, f, count, dtype, weak) for f in points]
    lead = known.shape
    result = shape.stack(results) if lead else results[0]
    return _keep(result, x, axes, keepdims, lead)


def _quantile_at(ordered: Any, fraction: Any, count: int, dtype: DType, weak: bool) -> Any:
    virtual = (count - 1) * fraction
    below = min(int(np.floor(virtual)), count - 1)
    above = min(below + 1, count - 1)
    # At the end NumPy counts from -1, which gives -0.0 its sign and makes NaN of infinity.
    weight = virtual - below if virtual < count - 1 else virtual + 1
    weight = float(weight) if weak else weight
    low, high = _at(ordered, below), _at(ordered, above)
    span = run_ufunc(np.subtract, high, low)
    if weight >= 0.5:
        step = run_ufunc(np.multiply, span, 1 - weight)
        result = run_ufunc(np.subtract, high, step)
    else:
        result = run_ufunc(np.add, low, run_ufunc(np.multiply, span, weight))
    return _nan_where_any(cast(result, dtype), ordered)


def percentile(a: Any, q: Any, *args: Any, **kwargs: Any) -> Any:
    """np.percentile."""
    return quantile(a, q, *args, percent=True, **kwargs)


def cov(
    m: Any, y: Any = None, rowvar: Any = True, bias: Any = False, ddof: Any = None,
    fweights: Any = None, aweights: Any = None, *, dtype: Any = None,
) -> Any:  # fmt: skip
    """np.cov without weights."""
    refuse(fweights=(fweights,), aweights=(aweights,))
    x = array(m)
    if x.ndim > 2:
        raise ShapeError(at_user_line("m has more than 2 dimensions"))
    parts = [x] if y is None else [x, array(y)]
    if parts[-1].ndim > 2:
        raise ShapeError(at_user_line("y has more than 2 dimensions"))
    target = target_dtype(dtype) if dtype is not None else result_dtype(*parts, np.float64(0))
    rows = []
    for part in parts:
        part = cast(part, target)
        part = shape.reshape(part, (1, part.type.size)) if part.ndim < 2 else part
        flipped = not rowvar and part.type.shape[0] != 1
        rows.append(shape.transpose(part) if flipped else part)
    data = shape.concat(rows, 0) if len(rows) > 1 else rows[0]
    count = data.type.shape[1]
    if ddof is not None and ddof != int(ddof):
        raise ShapeError(at_user_line("ddof must be integer"))
    freedom = count - (ddof if ddof is not None else (0 if bias else 1))
    if data.type.size == 0 or freedom <= 0:
        raise unsupported("the covariance of too few observations")
    data = math.subtract(data, mean(data, 1, None, None, True))
    other = math.conj(shape.transpose(data))
    product_ = run_ufunc(np.matmul, data, other)
    scaled = run_ufunc(np.multiply, product_, float(np.true_divide(1, freedom)))
    return shape.squeeze(scaled)


def corrcoef(x: Any, y: Any = None, rowvar: Any = True, *, dtype: Any = None) -> Any:
    """np.corrcoef."""
    c = cov(x, y, rowvar, dtype=dtype)
    if not c.ndim:
        return math.divide(c, c)
    if c.type.dtype.is_complex:
        raise unsupported("np.corrcoef of complex numbers")
    spread = math.sqrt(shape.diag_part(c))
    c = math.divide(math.divide(c, shape.expand_dims(spread, 1)), shape.expand_dims(spread, 0))
    one = constant(1, c.type.dtype)
    return math.minimum(math.maximum(c, math.negative(one)), one)


FUNCTIONS: dict[Any, Handler] = {
    np.average: average,
    np.median: median,
    np.quantile: quantile,
    np.percentile: percentile,
    np.cov: cov,
    np.corrcoef: corrcoef,
}
