"""Methods of ufuncs: reduce, accumulate, outer."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.core.errors import DTypeError, at_user_line
from graphjit.core.types import Shape, as_dtype, bool_
from graphjit.functions import shape
from graphjit.ops import reduce as rd
from graphjit.tensors.apply import TensorBase, apply

from .missing import nan_extreme
from .promotion import NO_VALUE, array, axis_of, cast, refuse, truth, unsupported
from .reductions import (
    all_,
    any_,
    cumprod,
    cumsum,
    maximum,
    minimum,
    product,
    reduced_axes,
    total,
)
from .ufuncs import PRODUCTS, run_ufunc, shape_of


def run_reduce(
    ufunc: Any, a: Any, axis: Any = 0, dtype: Any = None, out: Any = None,
    keepdims: Any = False, initial: Any = NO_VALUE, where: Any = True,
) -> Any:  # fmt: skip
    """ufunc.reduce."""
    if isinstance(out, tuple):
        out = out[0] if len(out) == 1 else out
    x = array(a)
    axes = reduced_axes(axis, x.ndim)
    if ufunc in (np.add, np.multiply):
        function = total if ufunc is np.add else product
        return function(x, axes, dtype, out, keepdims, initial, where)
    refuse(dtype=(dtype,))
    if ufunc in (np.maximum, np.minimum):
        function = maximum if ufunc is np.maximum else minimum
        return function(x, axes, out, keepdims, initial, where)
    if ufunc in (np.fmax, np.fmin) and where is True:
        worst = (
            nan_extreme(maximum, -np.inf) if ufunc is np.fmax else nan_extreme(minimum, np.inf)
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


def outer(ufunc: Any, x: Any, y: Any, dtype: Any = None) -> Any:
    """ufunc.outer: each element of x with each of y."""
    if ufunc in PRODUCTS:
        raise DTypeError(at_user_line(f"{ufunc.__name__}.outer has no meaning"))
    rank = len(shape_of(y))
    if not isinstance(x, TensorBase) or x.type.shape:
        x = array(x)
        column: Shape = x.type.shape + (1,) * rank
        x = shape.reshape(x, column)
    return run_ufunc(ufunc, x, y, dtype=dtype)
