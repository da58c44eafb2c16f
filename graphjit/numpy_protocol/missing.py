"""NumPy's reductions that leave NaN out: nansum, nanmean, nanmax and their kin."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.core.types import Shape, int64
from graphjit.functions import math
from graphjit.ops import pointwise as pw
from graphjit.ops import reduce as rd
from graphjit.tensors.apply import apply

from .promotion import (
    NO_VALUE,
    Handler,
    array,
    cast,
    constant,
    refuse,
    target_dtype,
    unsupported,
)
from .reductions import (
    all_,
    argmax,
    argmin,
    cumprod,
    cumsum,
    degrees_lost,
    maximum,
    mean,
    mean_square,
    minimum,
    product,
    reduced,
    reduced_axes,
    total,
    var,
)
from .ufuncs import isnan, run_ufunc


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
    return reduced(rd.sum_, there, axes, keepdims)


def nanmean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = NO_VALUE,
    *, where: Any = NO_VALUE,
) -> Any:  # fmt: skip
    """np.nanmean."""
    refuse(out=(out,), where=(where, True))
    x, mask = _without_nan(a, 0)
    if mask is not None and dtype is not None and not target_dtype(dtype).is_inexact:
        raise unsupported("np.nanmean in integers")
    if mask is None:
        return mean(x, axis, dtype, None, keepdims)
    axes = reduced_axes(axis, x.ndim)
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
    fewer = degrees_lost(ddof, correction)
    x, mask = _without_nan(a, 0)
    if mask is None:
        return var(x, axis, dtype, None, fewer, keepdims)
    if x.type.dtype.is_complex or dtype is not None:
        raise unsupported("np.nanvar of complex numbers or with dtype=")
    axes = reduced_axes(axis, x.ndim)
    kind, count = x.type.dtype, _present(x, mask, axes, True)
    free = run_ufunc(np.subtract, _present(x, mask, axes, keepdims), fewer)
    result = mean_square(x, axes, keepdims, kind, kind, count, free, mask)
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


def nan_extreme(extreme: Handler, worst: float) -> Handler:
    """The reduction of what isn't NaN by max or min."""

    def handler(
        a: Any, axis: Any = None, out: Any = None, keepdims: Any = NO_VALUE,
        initial: Any = NO_VALUE, where: Any = NO_VALUE,
    ) -> Any:  # fmt: skip
        refuse(where=(where, True), initial=(initial,))
        if isinstance(where, np.bool_):
            raise unsupported("where=np.True_")
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


FUNCTIONS: dict[Any, Handler] = {
    np.nansum: _nan_free(total, 0),
    np.nanprod: _nan_free(product, 1),
    np.nancumsum: _nan_free(cumsum, 0),
    np.nancumprod: _nan_free(cumprod, 1),
    np.nanmean: nanmean,
    np.nanvar: nanvar,
    np.nanstd: nanstd,
    np.nanmax: nan_extreme(maximum, -np.inf),
    np.nanmin: nan_extreme(minimum, np.inf),
    np.nanargmax: _nan_arg(argmax, "nanargmax"),
    np.nanargmin: _nan_arg(argmin, "nanargmin"),
}
