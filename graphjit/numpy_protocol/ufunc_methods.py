"""Methods of ufuncs: reduce, accumulate, outer, at, reduceat."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.core.errors import DTypeError, IndexOutOfRangeError, at_user_line
from graphjit.core.types import Shape, as_dtype, bool_
from graphjit.functions import shape, subscript
from graphjit.ops import reduce as rd
from graphjit.tensors.apply import TensorBase, apply

from .indexing import accumulated
from .missing import nan_extreme
from .promotion import (
    NO_VALUE,
    array,
    axis_of,
    cast,
    is_symbol,
    leaves,
    refuse,
    static_ints,
    truth,
    unsupported,
)
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
from .ufuncs import PRODUCTS, resolve, run_ufunc, shape_of


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


def run_at(ufunc: Any, x: Any, key: Any, *values: Any) -> Any:
    """x as it is after ufunc.at(x, key, value)."""
    mode = _AT_MODES.get(ufunc)
    if mode is None or len(values) != 1:
        raise unsupported(f"np.{ufunc.__name__}.at")
    value = array(values[0])  # of which a Python number isn't weak
    dtype = x.type.dtype
    loop = [as_dtype(d) for d in resolve(ufunc, (x, value))]
    if dtype.is_bool or any(d is not dtype for d in loop):  # each step would be rounded to it
        raise unsupported(f"np.{ufunc.__name__}.at of {value.type.dtype.name} in {dtype.name}")
    return accumulated(x, key, cast(value, dtype), mode)


def run_reduceat(
    ufunc: Any, a: Any, indices: Any, axis: Any = 0, dtype: Any = None, out: Any = None
) -> Any:
    """ufunc.reduceat at indices that are known."""
    refuse(out=(out, (None,)))
    if is_symbol(indices) or any(map(is_symbol, leaves(indices))):
        raise unsupported("ufunc.reduceat at traced indices")
    x = array(a)
    if not x.ndim:
        raise DTypeError(at_user_line("cannot reduceat on a scalar"))
    k = axis_of(axis, x.ndim)
    if isinstance(indices, np.ndarray):  # whose contents may change
        raise unsupported("ufunc.reduceat at indices in an array")
    starts = static_ints(indices)
    extent = x.type.shape[k]
    if len(starts) > _MAX_PARTS or not starts:
        raise unsupported(f"ufunc.reduceat at none or more than {_MAX_PARTS} indices")
    if any(start < 0 or start >= extent for start in starts):
        raise IndexOutOfRangeError(
            at_user_line(f"index out-of-bounds in {ufunc.__name__}.reduceat [0, {extent})")
        )
    ends = (*starts[1:], extent)
    before = (slice(None),) * k
    parts = [
        run_reduce(
            ufunc,
            subscript.getitem(x, (*before, slice(a, b if b > a else a + 1))),
            k,
            dtype,
            keepdims=True,
        )
        for a, b in zip(starts, ends, strict=True)
    ]
    return shape.concat(parts, k)


# The modes of the primitive `scatter` that are what a ufunc's `at` does.
_AT_MODES = {
    np.add: "add", np.subtract: "sub", np.multiply: "mul", np.minimum: "min", np.maximum: "max",
}  # fmt: skip
# How many segments `reduceat` may have: each is a reduction of its own.
_MAX_PARTS = 64


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
