"""NumPy's reductions and scans: sum, mean, max, argmax, cumsum, median and their kin."""

from __future__ import annotations

import math as pymath
import operator
from typing import Any

import numpy as np

from graphjit.dispatch import apply, wrap
from graphjit.errors import DTypeError, ShapeError, at_user_line
from graphjit.functions import index, math, shape
from graphjit.ops import library
from graphjit.ops import pointwise as pw
from graphjit.ops import reduce as rd
from graphjit.ops.primitive import Primitive
from graphjit.types import (
    DType,
    Shape,
    as_dtype,
    bool_,
    float16,
    float32,
    float64,
    int64,
    uint64,
)

from .promotion import (
    NO_VALUE,
    Handler,
    array,
    axes_of,
    axis_of,
    broadcast_shape,
    cast,
    constant,
    convert,
    promoted,
    refuse,
    result_dtype,
    static_number,
    target_dtype,
    truth,
    unsupported,
)
from .ufuncs import isnan, run_ufunc

FUNCTIONS: dict[Any, Handler] = {}


def _count(x: Any, axes: Shape) -> int:
    return pymath.prod(x.type.shape[a] for a in axes)


def _reduced(primitive: Primitive, x: Any, axes: Shape, keepdims: Any) -> Any:
    result = apply(primitive, x, axes=tuple(sorted(axes)))
    if keepdims is NO_VALUE or not static_number(keepdims):
        return result
    kept = tuple(1 if k in axes else n for k, n in enumerate(x.type.shape))
    return shape.reshape(result, kept)


def _masked(x: Any, where: Any, neutral: Any) -> Any:
    """x, broadcast with the mask, with the neutral value where it is false."""
    if where is True or where is NO_VALUE or where is None:
        return x
    mask = array(where)
    if not mask.type.dtype.is_bool:
        raise unsupported("where= that is not bool")
    if broadcast_shape(mask.type.shape, x.type.shape) != x.type.shape:
        raise unsupported("where= that broadcasts the array")
    return apply(pw.where, mask, x, constant(neutral, x.type.dtype))


def _wide(dtype: DType) -> DType:
    """The dtype in which NumPy adds up this one."""
    if dtype.is_bool or (dtype.kind == "i" and dtype.size < 8):
        return int64
    return uint64 if dtype.kind == "u" else dtype


def _reduced_axes(axis: Any, ndim: int) -> Shape:
    """The axes of a ufunc's reduction, which takes axis 0 of a 0-d array for none."""
    if not ndim and not isinstance(axis, (tuple, list)) and axis in (0, -1):
        return ()
    return axes_of(axis, ndim)


def total(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False,
    initial: Any = NO_VALUE, where: Any = True,
) -> Any:  # fmt: skip
    """np.sum."""
    return _accumulated(rd.sum_, 0, np.add, a, axis, dtype, out, keepdims, initial, where)


def product(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False,
    initial: Any = NO_VALUE, where: Any = True,
) -> Any:  # fmt: skip
    """np.prod."""
    return _accumulated(rd.prod, 1, np.multiply, a, axis, dtype, out, keepdims, initial, where)


def _accumulated(
    primitive: Primitive, neutral: int, combine: Any, a: Any, axis: Any, dtype: Any, out: Any,
    keepdims: Any, initial: Any, where: Any,
) -> Any:  # fmt: skip
    refuse(out=(out,))
    x = array(a)
    target = _wide(x.type.dtype) if dtype is None else target_dtype(dtype)
    if target.is_bool:
        raise unsupported("a sum in bool")
    x = _masked(cast(x, target), where, neutral)
    result = _reduced(primitive, x, _reduced_axes(axis, x.ndim), keepdims)
    if initial is NO_VALUE or initial is None:
        return result
    return run_ufunc(combine, result, convert(initial, target))


def mean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False,
    *, where: Any = True,
) -> Any:  # fmt: skip
    """np.mean."""
    refuse(out=(out,))
    x = array(a)
    axes = axes_of(axis, x.ndim)
    source = x.type.dtype
    target = _mean_dtype(source, float32) if dtype is None else target_dtype(dtype)
    summed = total(x, axes, target, None, keepdims, NO_VALUE, where)
    result = cast(run_ufunc(np.divide, summed, _counted(x, axes, keepdims, where)), target)
    return cast(result, source) if dtype is None and source is float16 else result


def _mean_dtype(source: DType, narrow: DType) -> DType:
    if not source.is_inexact:
        return float64
    return narrow if source is float16 else source


def _counted(x: Any, axes: Shape, keepdims: Any, where: Any) -> Any:
    """How many elements a reduction adds up, as an operand of a division."""
    if where is True or where is NO_VALUE or where is None:
        return float(_count(x, axes))
    mask = cast(shape.broadcast_to(array(where), x.type.shape), int64)
    return _reduced(rd.sum_, mask, axes, keepdims)


def var(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0,
    keepdims: Any = False, *, where: Any = True, mean: Any = NO_VALUE,
    correction: Any = NO_VALUE,
) -> Any:  # fmt: skip
    """np.var."""
    refuse(out=(out,), where=(where, True), mean=(mean,))
    if correction is not NO_VALUE:
        if static_number(ddof) != 0:
            raise ShapeError(
                at_user_line("ddof and correction can't be provided simultaneously.")
            )
        ddof = correction
    ddof = static_number(ddof)
    x = array(a)
    axes = axes_of(axis, x.ndim)
    source = x.type.dtype
    target = _mean_dtype(source, float16) if dtype is None else target_dtype(dtype)
    if not target.is_inexact:
        raise unsupported("var in an integer dtype")
    count = _count(x, axes)
    average = total(x, axes, target, None, True)
    average = cast(run_ufunc(np.divide, average, float(count)), target)
    distance = run_ufunc(np.subtract, x, average)
    if source.kind in "fiu" and not distance.type.dtype.is_complex:
        squares = math.square(distance)
    elif distance.type.dtype.is_complex:
        squares = math.add(math.square(math.real(distance)), math.square(math.imag(distance)))
    else:
        squares = math.square(distance)
    final = target.real if dtype is None else target
    result = total(squares, axes, final, None, keepdims)
    return cast(run_ufunc(np.divide, result, float(max(count - ddof, 0))), final)


def std(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0,
    keepdims: Any = False, *, where: Any = True, mean: Any = NO_VALUE,
    correction: Any = NO_VALUE,
) -> Any:  # fmt: skip
    """np.std."""
    return math.sqrt(
        var(a, axis, dtype, out, ddof, keepdims, where=where, mean=mean, correction=correction)
    )


def _extreme(primitive: Primitive, combine: Any, name: str) -> Handler:
    def handler(
        a: Any, axis: Any = None, out: Any = None, keepdims: Any = False,
        initial: Any = NO_VALUE, where: Any = True,
    ) -> Any:  # fmt: skip
        refuse(out=(out,))
        x = array(a)
        axes = _reduced_axes(axis, x.ndim)
        started = initial is not NO_VALUE and initial is not None
        if not x.type.dtype.is_complex and x.type.size:
            worst = (rd.lowest if primitive is rd.max_ else rd.highest)(x.type.dtype)
            if where is not True and where is not NO_VALUE and not started:
                raise ShapeError(
                    at_user_line(f"reduction operation '{name}' does not have an identity")
                )
            x = _masked(x, where, worst)
        rest = [n for k, n in enumerate(x.type.shape) if k not in axes]
        if x.type.size == 0 and pymath.prod(rest) and not started:
            raise ShapeError(
                at_user_line(
                    f"zero-size array to reduction operation {name} which has no identity"
                )
            )
        if x.type.dtype.is_complex:
            raise unsupported(f"np.{name} of complex numbers")
        result = _reduced(primitive, x, axes, keepdims)
        return run_ufunc(combine, result, convert(initial, x.type.dtype)) if started else result

    return handler


maximum = _extreme(rd.max_, np.maximum, "maximum")
minimum = _extreme(rd.min_, np.minimum, "minimum")


def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    """np.ptp."""
    refuse(out=(out,))
    high = maximum(a, axis, None, keepdims)
    return run_ufunc(np.subtract, high, minimum(a, axis, None, keepdims))


def _truth(primitive: Primitive, neutral: bool) -> Handler:
    def handler(
        a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True
    ) -> Any:
        refuse(out=(out,))
        x = _masked(truth(a), where, neutral)
        return _reduced(primitive, x, _reduced_axes(axis, x.ndim), keepdims)

    return handler


any_ = _truth(rd.any_, False)
all_ = _truth(rd.all_, True)


def _arg(primitive: Primitive, name: str) -> Handler:
    def handler(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
        refuse(out=(out,))
        x = array(a)
        kept = (1,) * x.ndim
        if axis is None:
            x, k = shape.reshape(x, (x.type.size,)), 0
        else:
            k = axis_of(axis, max(x.ndim, 1))
            x = shape.reshape(x, (1,)) if not x.ndim else x
            kept = tuple(1 if a == k else n for a, n in enumerate(x.type.shape))[: len(kept)]
        if x.type.shape[k] == 0:
            raise ShapeError(at_user_line(f"attempt to get {name} of an empty sequence"))
        if x.type.dtype.is_complex:
            raise unsupported(f"np.{name} of complex numbers")
        result = apply(primitive, x, axes=(k,))
        return result if keepdims is NO_VALUE or not keepdims else shape.reshape(result, kept)

    return handler


argmax = _arg(rd.argmax, "argmax")
argmin = _arg(rd.argmin, "argmin")


def count_nonzero(a: Any, axis: Any = None, *, keepdims: Any = False) -> Any:
    """np.count_nonzero."""
    return total(truth(a), axis, None, None, keepdims)


# -- scans -----------------------------------------------------------------------------------


def _scan(primitive: Primitive) -> Handler:
    def handler(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        refuse(out=(out,))
        x = array(a)
        target = _wide(x.type.dtype) if dtype is None else target_dtype(dtype)
        if target.is_bool:
            raise unsupported("a running sum in bool")
        if axis is None or not x.ndim:
            axis_of(0 if axis is None else axis, 1)
            x, axis = shape.reshape(x, (x.type.size,)), 0
        return apply(primitive, cast(x, target), axis=axis_of(axis, x.ndim))

    return handler


cumsum = _scan(rd.cumsum)
cumprod = _scan(rd.cumprod)


def _cumulative(scan: Handler, start: int) -> Handler:
    def handler(
        x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None,
        include_initial: bool = False,
    ) -> Any:  # fmt: skip
        x = array(x)
        if x.ndim == 0:
            x = shape.reshape(x, (1,))
        if axis is None and x.ndim > 1:
            raise ShapeError(
                at_user_line("axis is required for an array of several dimensions")
            )
        result = scan(x, 0 if axis is None else axis, dtype, out)
        if not include_initial:
            return result
        k = axis_of(0 if axis is None else axis, x.ndim)
        lead = tuple(1 if a == k else n for a, n in enumerate(x.type.shape))
        first = shape.broadcast_to(constant(start, result.type.dtype), lead)
        return shape.concat([first, result], k)

    return handler


# -- NaN left out -----------------------------------------------------------------------------


def _without_nan(a: Any, value: Any) -> tuple[Any, Any]:
    """The array with NaN replaced, and where it was (None if the dtype has none)."""
    x = array(a)
    if not x.type.dtype.is_inexact:
        return x, None
    mask = isnan(x)
    return apply(pw.where, mask, constant(value, x.type.dtype), x), mask


def _nan_free(function: Handler, value: int) -> Handler:
    def handler(a: Any, *args: Any, **kwargs: Any) -> Any:
        return function(_without_nan(a, value)[0], *args, **kwargs)

    return handler


def _present(x: Any, mask: Any, axes: Shape, keepdims: Any) -> Any:
    there = cast(apply(pw.logical_not, mask), int64)
    return _reduced(rd.sum_, there, axes, keepdims)


def nanmean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = NO_VALUE,
    *, where: Any = NO_VALUE,
) -> Any:  # fmt: skip
    """np.nanmean."""
    refuse(out=(out,), where=(where, True))
    x, mask = _without_nan(a, 0)
    if mask is None:
        return mean(x, axis, dtype, None, keepdims)
    axes = axes_of(axis, x.ndim)
    summed = total(x, axes, dtype, None, keepdims)
    count = _present(x, mask, axes, keepdims)
    return cast(run_ufunc(np.divide, summed, count), summed.type.dtype)


def nanvar(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0,
    keepdims: Any = NO_VALUE, *, where: Any = NO_VALUE, mean: Any = NO_VALUE,
    correction: Any = NO_VALUE,
) -> Any:  # fmt: skip
    """np.nanvar."""
    refuse(out=(out,), where=(where, True), mean=(mean,))
    if correction is not NO_VALUE:
        if static_number(ddof) != 0:
            raise ShapeError(
                at_user_line("ddof and correction can't be provided simultaneously.")
            )
        ddof = correction
    x, mask = _without_nan(a, 0)
    if mask is None:
        return var(x, axis, dtype, None, ddof, keepdims)
    if x.type.dtype.is_complex or dtype is not None:
        raise unsupported("np.nanvar of complex numbers or with dtype=")
    axes = axes_of(axis, x.ndim)
    count = _present(x, mask, axes, True)
    average = cast(run_ufunc(np.divide, total(x, axes, None, None, True), count), x.type.dtype)
    distance = apply(pw.where, mask, constant(0, x.type.dtype), math.subtract(x, average))
    summed = total(math.square(distance), axes, None, None, keepdims)
    free = run_ufunc(np.subtract, _present(x, mask, axes, keepdims), static_number(ddof))
    result = cast(run_ufunc(np.divide, summed, free), summed.type.dtype)
    bad = run_ufunc(np.less_equal, free, 0)
    return apply(pw.where, bad, constant(np.nan, result.type.dtype), result)


def nanstd(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0,
    keepdims: Any = NO_VALUE, *, where: Any = NO_VALUE, mean: Any = NO_VALUE,
    correction: Any = NO_VALUE,
) -> Any:  # fmt: skip
    """np.nanstd."""
    return math.sqrt(
        nanvar(
            a, axis, dtype, out, ddof, keepdims, where=where, mean=mean, correction=correction
        )
    )


def _nan_extreme(extreme: Handler, worst: float) -> Handler:
    def handler(
        a: Any, axis: Any = None, out: Any = None, keepdims: Any = NO_VALUE,
        initial: Any = NO_VALUE, where: Any = NO_VALUE,
    ) -> Any:  # fmt: skip
        refuse(where=(where, True), initial=(initial,))
        x = array(a)
        if not x.type.dtype.is_floating:
            return extreme(x, axis, out, keepdims)
        x, mask = _without_nan(x, worst)
        result = extreme(x, axis, out, keepdims)
        nothing = all_(mask, axis, None, keepdims)
        return apply(pw.where, nothing, constant(np.nan, x.type.dtype), result)

    return handler


def _nan_arg(arg: Handler, name: str) -> Handler:
    def handler(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = NO_VALUE) -> Any:
        x = array(a)
        if x.type.dtype.is_inexact:  # an error for slices of NaN alone
            raise unsupported(f"np.{name} of floating-point numbers")
        return arg(x, axis, out, keepdims=keepdims)

    return handler


# -- averages, order statistics ---------------------------------------------------------------


def average(
    a: Any, axis: Any = None, weights: Any = None, returned: Any = False, *,
    keepdims: Any = NO_VALUE,
) -> Any:  # fmt: skip
    """np.average."""
    x = array(a)
    axes = axes_of(axis, x.ndim)
    if weights is None:
        result = mean(x, axes, None, None, keepdims)
        count = _count(x, axes)
        scale: Any = constant(count, result.type.dtype)
        scale = shape.broadcast_to(scale, result.type.shape)
        return (result, scale) if returned else result
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
        raise ZeroDivisionError("Weights sum to zero, can't be normalized")
    products = run_ufunc(np.multiply, x, w, dtype=target)
    result = run_ufunc(np.divide, total(products, axes, None, None, keepdims), scale)
    return (result, scale) if returned else result


def _sorted_last(x: Any, axis: Any) -> tuple[Any, tuple[int, ...]]:
    """The array with the reduced axes joined into a sorted last one, and those axes."""
    axes = axes_of(axis, x.ndim)
    rest = [k for k in range(x.ndim) if k not in axes]
    joined = shape.transpose(x, [*rest, *sorted(axes)])
    outer_shape = tuple(x.type.shape[k] for k in rest)
    flat = shape.reshape(joined, (*outer_shape, _count(x, axes)))
    return apply(library.sort, flat, axis=len(rest)), axes


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
        dtype = as_dtype(np.asarray(function(np.zeros(2, x.type.dtype.dtype), points)).dtype)
    except ValueError as error:
        raise ShapeError(at_user_line(str(error))) from error
    ordered, axes = _sorted_last(x, axis)
    count = ordered.type.shape[-1]
    if count == 0 or known.ndim > 1:
        raise unsupported("this quantile")
    fractions = np.true_divide(known, 100) if percent else known.astype(np.float64)
    results = [_quantile_at(ordered, float(f), count, dtype) for f in np.atleast_1d(fractions)]
    lead = known.shape
    result = shape.stack(results) if lead else results[0]
    return _keep(result, x, axes, keepdims, lead)


def _quantile_at(ordered: Any, fraction: float, count: int, dtype: DType) -> Any:
    virtual = (count - 1) * fraction
    below = min(pymath.floor(virtual), count - 1)
    above = min(below + 1, count - 1)
    weight = virtual - below if virtual < count - 1 else 0.0
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


# -- order -----------------------------------------------------------------------------------


def _axis_or_flat(a: Any, axis: Any) -> tuple[Any, int]:
    x = array(a)
    if axis is None:
        return shape.reshape(x, (x.type.size,)), 0
    return x, axis_of(axis, x.ndim)


_KINDS = ("quicksort", "heapsort", "mergesort", "stable")


def sort(
    a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> Any:
    """np.sort."""
    refuse(order=(order,), kind=(kind, *_KINDS))
    x, k = _axis_or_flat(a, axis)
    return apply(library.sort, x, axis=k)


def argsort(
    a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> Any:
    """np.argsort; equal elements keep their order."""
    refuse(order=(order,), kind=(kind, *_KINDS))
    x = array(a)
    if not x.ndim and axis is not None:
        axis_of(axis, 1)
        return wrap(np.asarray(0, np.int64))
    x, k = _axis_or_flat(x, axis)
    return apply(library.argsort, x, axis=k)


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
    ordered = apply(library.sort, shape.reshape(x, (x.type.size,)), axis=0)
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


# -- methods of ufuncs -------------------------------------------------------------------------


def run_reduce(
    ufunc: Any, a: Any, axis: Any = 0, dtype: Any = None, out: Any = None,
    keepdims: Any = False, initial: Any = NO_VALUE, where: Any = True,
) -> Any:  # fmt: skip
    """ufunc.reduce."""
    if isinstance(out, tuple):
        out = out[0] if len(out) == 1 else out
    x = array(a)
    axes = _reduced_axes(axis, x.ndim)
    if ufunc in (np.add, np.multiply):
        function = total if ufunc is np.add else product
        return function(x, axes, dtype, out, keepdims, initial, where)
    refuse(dtype=(dtype,))
    if ufunc in (np.maximum, np.minimum):
        function = maximum if ufunc is np.maximum else minimum
        return function(x, axes, out, keepdims, initial, where)
    if ufunc in (np.fmax, np.fmin) and where is True:
        worst = (
            _nan_extreme(maximum, -np.inf)
            if ufunc is np.fmax
            else _nan_extreme(minimum, np.inf)
        )
        return worst(x, axes, out, keepdims, initial)
    bools = x.type.dtype.is_bool
    refuse(initial=(initial,))
    if ufunc is np.logical_and or (bools and ufunc is np.bitwise_and):
        return all_(x, axes, out, keepdims, where=where)
    if ufunc is np.logical_or or (bools and ufunc is np.bitwise_or):
        return any_(x, axes, out, keepdims, where=where)
    raise unsupported(f"np.{ufunc.__name__}.reduce")


def run_accumulate(
    ufunc: Any, a: Any, axis: Any = 0, dtype: Any = None, out: Any = None
) -> Any:
    """ufunc.accumulate."""
    refuse(out=(out, (None,)))
    x = array(a)
    if not x.ndim:
        raise DTypeError(at_user_line("cannot accumulate on a scalar"))
    k = axis_of(axis, x.ndim)
    if ufunc in (np.add, np.multiply):
        return (cumsum if ufunc is np.add else cumprod)(x, k, dtype)
    refuse(dtype=(dtype,))
    if ufunc in (np.maximum, np.minimum) and not x.type.dtype.is_complex:
        primitive = rd.cummax if ufunc is np.maximum else rd.cummin
        source = x.type.dtype
        wide = cast(x, as_dtype("uint8")) if source.is_bool else x
        return cast(apply(primitive, wide, axis=k), source)
    if ufunc in (np.logical_and, np.logical_or):
        primitive = rd.cummin if ufunc is np.logical_and else rd.cummax
        return cast(apply(primitive, cast(truth(x), as_dtype("uint8")), axis=k), bool_)
    raise unsupported(f"np.{ufunc.__name__}.accumulate")


FUNCTIONS |= {
    np.sum: total,
    np.prod: product,
    np.mean: mean,
    np.var: var,
    np.std: std,
    np.max: maximum,
    np.min: minimum,
    np.ptp: ptp,
    np.any: any_,
    np.all: all_,
    np.argmax: argmax,
    np.argmin: argmin,
    np.count_nonzero: count_nonzero,
    np.cumsum: cumsum,
    np.cumprod: cumprod,
    np.nansum: _nan_free(total, 0),
    np.nanprod: _nan_free(product, 1),
    np.nancumsum: _nan_free(cumsum, 0),
    np.nancumprod: _nan_free(cumprod, 1),
    np.nanmean: nanmean,
    np.nanvar: nanvar,
    np.nanstd: nanstd,
    np.nanmax: _nan_extreme(maximum, -np.inf),
    np.nanmin: _nan_extreme(minimum, np.inf),
    np.nanargmax: _nan_arg(argmax, "nanargmax"),
    np.nanargmin: _nan_arg(argmin, "nanargmin"),
    np.average: average,
    np.median: median,
    np.quantile: quantile,
    np.percentile: percentile,
    np.cov: cov,
    np.corrcoef: corrcoef,
    np.sort: sort,
    np.argsort: argsort,
    np.searchsorted: searchsorted,
    np.digitize: digitize,
    np.histogram: histogram,
    np.interp: interp,
}
for _name, _handler in (
    ("amax", maximum), ("amin", minimum), ("around", None),
    ("cumulative_sum", _cumulative(cumsum, 0)), ("cumulative_prod", _cumulative(cumprod, 1)),
):  # fmt: skip
    if _handler is not None and hasattr(np, _name):
        FUNCTIONS[getattr(np, _name)] = _handler
_ = operator
