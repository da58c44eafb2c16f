"""NumPy's elementwise functions that aren't ufuncs: where, clip, round, isclose."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.core.errors import DTypeError, ShapeError, at_user_line
from graphjit.core.types import as_dtype, bool_, float64
from graphjit.functions import math, shape
from graphjit.ops import library
from graphjit.ops import pointwise as pw
from graphjit.tensors.apply import apply

from .promotion import (
    NO_VALUE,
    Handler,
    array,
    broadcast_shape,
    cast,
    chosen,
    constant,
    convert,
    detached,
    is_python_scalar,
    is_symbol,
    is_weak_symbol,
    refuse,
    result_dtype,
    static_int,
    truth,
    unsupported,
)
from .reductions import all_, any_
from .ufuncs import isnan, run_ufunc

# So many shifts or tests are written out one by one.
SHIFTS = 64


def where(condition: Any, x: Any = NO_VALUE, y: Any = NO_VALUE, /) -> Any:
    """np.where of three arguments."""
    if x is NO_VALUE or x is None:
        raise unsupported("np.where(condition), whose shape depends on data,")
    if y is NO_VALUE or y is None:
        raise ShapeError(at_user_line("either both or neither of x and y should be given"))
    mask = truth(condition)
    target = result_dtype(x, y)
    x, y = chosen(x, target), chosen(y, target)
    broadcast_shape(mask.type.shape, x.type.shape, y.type.shape)
    return apply(pw.where, mask, x, y)


def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """np.select."""
    if len(condlist) != len(choicelist):
        raise ShapeError(
            at_user_line("list of cases must be same length as list of conditions")
        )
    if not len(condlist):
        raise ShapeError(at_user_line("select with an empty condition list is not possible"))
    masks = [array(c) for c in condlist]
    if any(not m.type.dtype.is_bool for m in masks):
        raise DTypeError(at_user_line("invalid entry in condlist: should be boolean ndarray"))
    samples = [v if is_python_scalar(v) else _sample(v) for v in (*choicelist, default)]
    np.select([np.zeros(1, bool)] * len(masks), samples[:-1], samples[-1])  # may raise
    target = result_dtype(*choicelist, default)
    choices = [chosen(c, target) for c in choicelist]
    result = chosen(default, target)
    shapes = [x.type.shape for x in (*masks, *choices)]
    for mask, choice in reversed(list(zip(masks, choices, strict=True))):
        result = apply(pw.where, mask, choice, result)
    return shape.broadcast_to(result, broadcast_shape(*shapes))


def _sample(value: Any) -> Any:
    """One element of an operand's dtype, of Python's type if it is a Python number."""
    zero = np.zeros((), result_dtype(value).dtype)
    return zero.item() if is_weak_symbol(value) else zero.reshape(1)


def clip(
    a: Any, a_min: Any = NO_VALUE, a_max: Any = NO_VALUE, out: Any = None, *,
    min: Any = NO_VALUE, max: Any = NO_VALUE, **kwargs: Any,
) -> Any:  # fmt: skip
    """np.clip."""
    if (a_min is NO_VALUE) != (a_max is NO_VALUE):
        raise unsupported("np.clip with one bound by its old name")
    return clipped(a, a_min, a_max, out, min=min, max=max, **kwargs)


def clipped(
    a: Any, a_min: Any = NO_VALUE, a_max: Any = NO_VALUE, out: Any = None, *,
    min: Any = NO_VALUE, max: Any = NO_VALUE, **kwargs: Any,
) -> Any:  # fmt: skip
    """x.clip, which does with one bound."""
    refuse(out=(out,), **{k: (v,) for k, v in kwargs.items()})
    low = min if a_min is NO_VALUE else a_min
    high = max if a_max is NO_VALUE else a_max
    x = array(a)
    dtype = x.type.dtype
    if dtype.is_integer:
        low = None if type(low) is int and low <= dtype.min else low
        high = None if type(high) is int and high >= dtype.max else high
    if dtype.is_bool and all(v is NO_VALUE for v in (low, high)):
        raise unsupported("np.clip of bools without bounds")
    bounds = [b for b in (low, high) if b is not None and b is not NO_VALUE]
    x = convert(x, result_dtype(x, *bounds))
    if low is not None and low is not NO_VALUE:
        x = run_ufunc(np.maximum, x, convert(low, x.type.dtype))
    if high is not None and high is not NO_VALUE:
        x = run_ufunc(np.minimum, x, convert(high, x.type.dtype))
    return x


def real(val: Any) -> Any:
    """np.real."""
    return math.real(array(val))


def imag(val: Any) -> Any:
    """np.imag."""
    x = array(val)
    if x.type.dtype.is_complex:
        return math.imag(x)
    return shape.broadcast_to(constant(0, x.type.dtype), x.type.shape)


def angle(z: Any, deg: Any = False) -> Any:
    """np.angle."""
    x = array(z)
    if x.type.dtype.is_complex:
        result = run_ufunc(np.arctan2, math.imag(x), math.real(x))
    else:
        result = run_ufunc(np.arctan2, 0, x)
    return run_ufunc(np.multiply, result, 180 / np.pi) if deg else result


def iscomplex(x: Any) -> Any:
    """np.iscomplex."""
    return run_ufunc(np.not_equal, imag(x), 0)


def isreal(x: Any) -> Any:
    """np.isreal."""
    return run_ufunc(np.equal, imag(x), 0)


def real_if_close(a: Any, tol: Any = 100) -> Any:
    """np.real_if_close of real numbers; the dtype of others depends on data."""
    x = array(a)
    if x.type.dtype.is_complex:
        raise unsupported("np.real_if_close, whose dtype depends on data,")
    return x


def _isinf_of_sign(positive: bool) -> Handler:
    def handler(x: Any, out: Any = None) -> Any:
        refuse(out=(out,))
        t = array(x)
        if t.type.dtype.is_complex:
            raise DTypeError(
                at_user_line("This operation is not supported for complex128 values")
            )
        sign = run_ufunc(np.signbit, t) if not t.type.dtype.is_bool else constant(False, bool_)
        sign = apply(pw.logical_not, sign) if positive else sign
        return apply(pw.bit_and, run_ufunc(np.isinf, t), sign)

    return handler


def round_(a: Any, decimals: Any = 0, out: Any = None) -> Any:
    """np.round."""
    refuse(out=(out,))
    x, places = array(a), static_int(decimals)
    dtype = x.type.dtype
    if dtype.is_complex:
        parts = (round_(math.real(x), places), round_(math.imag(x), places))
        return math.complex(*parts)
    if dtype.is_bool:
        raise unsupported("np.round of bools")
    if dtype.is_integer and places < 0:
        return cast(round_(cast(x, float64), places), dtype)
    if dtype.is_integer:
        return x
    if not places:
        return apply(pw.rint, x)
    if abs(places) > 300:
        raise unsupported("np.round to more places than there are")
    factor = constant(10.0 ** abs(places), dtype)
    first, second = (pw.mul, pw.div) if places > 0 else (pw.div, pw.mul)
    return apply(second, apply(pw.rint, apply(first, x, factor)), factor)


def fix(x: Any, out: Any = None) -> Any:
    """np.fix."""
    refuse(out=(out,))
    t = array(x)
    if not t.type.dtype.is_inexact:
        target = as_dtype(np.fix(np.zeros(1, t.type.dtype.dtype)).dtype)
        return cast(t, target)
    return run_ufunc(np.trunc, t)


def nan_to_num(
    x: Any, copy: Any = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Any:
    """np.nan_to_num."""
    if not copy:
        raise unsupported("np.nan_to_num(copy=False)")
    t = array(x)
    dtype = t.type.dtype
    if not dtype.is_inexact:
        return t
    if dtype.is_complex:
        parts = (nan_to_num(p, True, nan, posinf, neginf) for p in (math.real(t), math.imag(t)))
        return math.complex(*parts)
    high = convert(dtype.max if posinf is None else posinf, dtype)
    low = convert(dtype.min if neginf is None else neginf, dtype)
    infinity = constant(np.inf, dtype)
    result = apply(pw.where, apply(pw.isnan, t), convert(nan, dtype), t)
    result = apply(pw.where, apply(pw.eq, t, infinity), high, result)
    return apply(pw.where, apply(pw.eq, t, math.negative(infinity)), low, result)


def makes_copy(
    x: Any, copy: Any = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> bool:
    """Whether np.nan_to_num is to leave its argument as it is."""
    return bool(copy) or not is_symbol(x)


def nan_to_num_in_place(x: Any, copy: Any = False, *args: Any, **kwargs: Any) -> Any:
    """np.nan_to_num(copy=False)."""
    x._require_writable("np.nan_to_num")
    if not x.type.shape:
        raise unsupported("np.nan_to_num(copy=False) of an array without axes")
    if not x.type.dtype.is_inexact:
        return x
    x._write_elements(nan_to_num(detached(x), True, *args, **kwargs))
    return x


def sinc(x: Any) -> Any:
    """np.sinc."""
    return math.sin_quotient(run_ufunc(np.multiply, x, np.pi))


def i0(x: Any) -> Any:
    """np.i0."""
    t = array(x)
    if t.type.dtype.is_complex:
        raise DTypeError(at_user_line("i0 not supported for complex values"))
    t = t if t.type.dtype.is_floating else cast(t, float64)
    return apply(library.special, math.abs(t), name="i0")


def isclose(
    a: Any, b: Any, rtol: Any = 1.0e-5, atol: Any = 1.0e-8, equal_nan: Any = False
) -> Any:
    """np.isclose."""
    x = a if is_python_scalar(a) else array(a)
    if is_python_scalar(b):
        y: Any = float(b) if isinstance(b, int) else b
    else:
        y = array(b)
        y = cast(y, result_dtype(y, 1.0))
    with_sizes = run_ufunc(np.add, atol, _python_or_ufunc(np.multiply, rtol, _abs(y)))
    near = run_ufunc(
        np.less_equal, run_ufunc(np.absolute, run_ufunc(np.subtract, x, y)), with_sizes
    )
    finite = bool(np.isfinite(y)) if is_python_scalar(y) else run_ufunc(np.isfinite, y)
    near = run_ufunc(np.bitwise_and, near, finite)
    result = run_ufunc(np.bitwise_or, near, run_ufunc(np.equal, x, y))
    if equal_nan:
        both = run_ufunc(np.bitwise_and, isnan(array(x)), isnan(array(y)))
        result = run_ufunc(np.bitwise_or, result, both)
    return result


def _abs(value: Any) -> Any:
    return abs(value) if is_python_scalar(value) else run_ufunc(np.absolute, value)


def _python_or_ufunc(ufunc: Any, x: Any, y: Any) -> Any:
    if is_python_scalar(x) and is_python_scalar(y):
        return ufunc(x, y).item()
    return run_ufunc(ufunc, x, y)


def allclose(
    a: Any, b: Any, rtol: Any = 1.0e-5, atol: Any = 1.0e-8, equal_nan: Any = False
) -> Any:
    """np.allclose."""
    return all_(isclose(a, b, rtol, atol, equal_nan))


def array_equal(a1: Any, a2: Any, equal_nan: Any = False) -> Any:
    """np.array_equal."""
    x, y = array(a1), array(a2)
    if x.type.shape != y.type.shape:
        return False
    same = run_ufunc(np.equal, x, y)
    if equal_nan:
        same = math.logical_or(same, math.logical_and(isnan(x), isnan(y)))
    return all_(same)


def array_equiv(a1: Any, a2: Any) -> Any:
    """np.array_equiv."""
    x, y = array(a1), array(a2)
    try:
        np.broadcast_shapes(x.type.shape, y.type.shape)
    except ValueError:
        return False
    return all_(run_ufunc(np.equal, x, y))


def isin(
    element: Any, test_elements: Any, assume_unique: Any = False, invert: Any = False, *,
    kind: Any = None,
) -> Any:  # fmt: skip
    """np.isin of few test elements."""
    refuse(kind=(kind, "sort"))
    x, tests = array(element), array(test_elements)
    if tests.type.size > SHIFTS or {x.type.dtype.name, tests.type.dtype.name} == {
        "int64", "uint64",
    }:  # fmt: skip
        raise unsupported("np.isin of many test elements, or of another kind,")
    column = shape.reshape(x, (*x.type.shape, 1))
    found = any_(run_ufunc(np.equal, column, shape.reshape(tests, (tests.type.size,))), -1)
    return apply(pw.logical_not, found) if invert else found


# Results may stand on the arguments' memory.
VIEWS: dict[Any, Handler] = {
    np.real: real,
    np.imag: imag,
    np.real_if_close: real_if_close,
}
FUNCTIONS: dict[Any, Handler] = {
    np.where: where,
    np.select: select,
    np.clip: clip,
    np.angle: angle,
    np.iscomplex: iscomplex,
    np.isreal: isreal,
    np.isposinf: _isinf_of_sign(True),
    np.isneginf: _isinf_of_sign(False),
    np.round: round_,
    np.fix: fix,
    np.nan_to_num: nan_to_num,
    np.sinc: sinc,
    np.i0: i0,
    np.isclose: isclose,
    np.allclose: allclose,
    np.array_equal: array_equal,
    np.array_equiv: array_equiv,
    np.isin: isin,
    np.around: round_,
}
