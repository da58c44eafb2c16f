"""Elementwise functions made of several primitives, and with checks or attributes of their own.

They have TensorFlow's names. Operands broadcast and share one dtype. Those that are one
primitive and no more are in `elementwise`, and are found here, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, TracingError, at_user_line
from graphjit.core.types import DType, as_dtype, bool_, complex64, complex128, float32, float64
from graphjit.ops import pointwise as pw
from graphjit.ops.primitive import Primitive
from graphjit.tensors.apply import (
    TensorBase,
    apply,
    as_tensor,
    require_same_dtype_of_quotient,
    same_dtype,
    wrap,
)

from . import elementwise as ew
from .elementwise import *  # noqa: F403

__all__ = [
    "angle", "bitcast", "cast", "ceil", "clip_by_value", "complex", "conj", "divide",
    "divide_no_nan", "floor", "floordiv", "floormod", "imag", "invert", "is_finite", "is_inf",
    "is_nan", "lerp", "logaddexp", "logical_and", "logical_not", "logical_or",
    "logical_xor", "polar", "polyval", "real", "reciprocal", "rint", "round",
    "saturate_cast", "signbit", "square", "squared_difference", "trunc", "truncatemod",
    "where", "xdivy", "xlog1py", "xlogy",
]  # fmt: skip

if TYPE_CHECKING:
    from graphjit.core.lazy import name_from_records as __getattr__  # noqa: F401


floordiv = ew.binary(pw.floordiv, "floordiv", "x / y rounded down.", strict=True)
floormod = ew.binary(pw.mod, "floormod", "Remainder of floordiv, of y's sign.", strict=True)
invert = ew.bitwise_not
truncatemod = ew.binary(pw.fmod, "truncatemod", "C's remainder, of x's sign.", strict=True)


def _rounding(primitive: Primitive, name: str, doc: str) -> Callable[[Any], Any]:
    def function(x: Any) -> Any:
        x = as_tensor(x)
        return x if x.dtype.is_integer else apply(primitive, x)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{doc} Integers come back as they are."
    return function


floor = _rounding(pw.floor, "floor", "Rounded down.")
ceil = _rounding(pw.ceil, "ceil", "Rounded up.")
rint = _rounding(pw.rint, "rint", "Rounded to nearest, ties to even.")
round = _rounding(pw.rint, "round", "Rounded to nearest, ties to even.")
trunc = _rounding(pw.trunc, "trunc", "Rounded toward zero.")


def divide(x: Any, y: Any) -> Any:
    """X / y. Integers are divided in floating point: float64, or float32 of 8 and 16 bits.

    Raises DTypeError (a TypeError, as in TensorFlow) where the dtypes differ.
    """
    x, y = same_dtype(x, y)
    require_same_dtype_of_quotient(x, y)
    if x.dtype.is_integer:
        wide = float32 if x.dtype.size <= 2 else float64
        x, y = cast(x, wide), cast(y, wide)
    return apply(pw.div, x, y)


def divide_no_nan(x: Any, y: Any) -> Any:
    """X / y, and 0 where y is 0."""
    x, y = same_dtype(x, y)
    zero = ew.equal(y, 0)
    return where(zero, zeros_like_scalar(x), divide(x, where(zero, ones_like_scalar(y), y)))


def zeros_like_scalar(x: TensorBase) -> TensorBase:
    """A 0-d zero of x's dtype."""
    return as_tensor(False, x.dtype)


def ones_like_scalar(x: TensorBase) -> TensorBase:
    """A 0-d one of x's dtype."""
    return as_tensor(True, x.dtype)


def square(x: Any) -> Any:
    """X * x."""
    x = as_tensor(x)
    return apply(pw.mul, x, x)


def reciprocal(x: Any) -> Any:
    """1 / x of floating-point or complex x."""
    x = as_tensor(x)
    return apply(pw.div, ones_like_scalar(x), x)


def squared_difference(x: Any, y: Any) -> Any:
    """(x - y)², of complex values |x - y|² as a complex number."""
    difference = ew.subtract(x, y)
    return ew.multiply(conj(difference), difference)


def cast(x: Any, dtype: Any) -> Any:
    """X converted to a dtype. Floats are truncated; out-of-range ones as x86-64 has them."""
    target = as_dtype(dtype)
    x = as_tensor(x)
    return x if x.dtype is target else apply(pw.cast, x, dtype=target)


def saturate_cast(x: Any, dtype: Any) -> Any:
    """X clipped to what the dtype can hold, then converted; NaN becomes 0."""
    x, target = as_tensor(x), as_dtype(dtype)
    if target.is_integer and x.dtype.is_floating:
        low, high = float(target.min), float(target.max)
        wide = apply(pw.cast, x, dtype=float64)
        inside = apply(pw.cast, ew.minimum(ew.maximum(wide, low), high), dtype=target)
        inside = where(ew.greater_equal(wide, high), as_tensor(target.max, target), inside)
        return where(apply(pw.isnan, x), zeros_like_scalar(inside), inside)
    if target.is_integer and x.dtype.is_integer:
        low, high = max_(x.dtype.min, target.min), min_(x.dtype.max, target.max)
        return cast(ew.minimum(ew.maximum(x, low), high), target)
    return cast(x, target)


def max_(x: int, y: int) -> int:
    """The larger of two Python ints."""
    return x if x > y else y


def min_(x: int, y: int) -> int:
    """The smaller of two Python ints."""
    return x if x < y else y


def bitcast(x: Any, dtype: Any) -> Any:
    """The same bits as another dtype of the same size."""
    return apply(pw.bitcast, as_tensor(x), dtype=as_dtype(dtype))


def _as_condition(x: Any, op: str) -> TensorBase:
    tensor = as_tensor(x, bool_ if isinstance(x, bool) else None)
    if not tensor.dtype.is_bool:
        raise InvalidArgumentError(
            at_user_line(
                f"cannot compute {op} as input #0(zero-based) was expected to be a bool tensor "
                f"but is a {tensor.dtype.tensorflow} tensor [Op:{op}]"
            )
        )
    return tensor


def known_array(x: Any, op: str) -> Any:
    """The elements of a tensor that is no traced one. TracingError otherwise."""
    tensor = as_tensor(x)
    if tensor.recorder is not None:
        raise TracingError(
            at_user_line(f"{op} gives a shape that depends on data, which can't be traced")
        )
    return tensor.numpy()  # type: ignore[attr-defined]


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """X where the condition holds, else y; all three broadcast.

    With the condition alone: the indices of its true elements, int64 [count, ndim]
    (eager only: the shape depends on the data).
    """
    if x is None and y is None:
        found = np.argwhere(known_array(condition, "where")).astype(np.int64)
        return wrap(found)
    if x is None or y is None:
        raise InvalidArgumentError(
            at_user_line("x and y must both be non-None or both be None.")
        )
    return apply(pw.where, _as_condition(condition, "SelectV2"), *same_dtype(x, y))


def clip_by_value(x: Any, clip_value_min: Any, clip_value_max: Any) -> Any:
    """X limited to a range."""
    return ew.minimum(ew.maximum(x, clip_value_min), clip_value_max)


def logical_and(x: Any, y: Any) -> Any:
    """X and y, of bools."""
    return apply(pw.bit_and, _as_condition(x, "LogicalAnd"), _as_condition(y, "LogicalAnd"))


def logical_or(x: Any, y: Any) -> Any:
    """X or y, of bools."""
    return apply(pw.bit_or, _as_condition(x, "LogicalOr"), _as_condition(y, "LogicalOr"))


def logical_xor(x: Any, y: Any) -> Any:
    """Exclusive or, of bools."""
    return apply(pw.bit_xor, _as_condition(x, "LogicalXor"), _as_condition(y, "LogicalXor"))


def logical_not(x: Any) -> Any:
    """Not x, of bools."""
    return apply(pw.logical_not, _as_condition(x, "LogicalNot"))


def is_nan(x: Any) -> Any:
    """Whether x is NaN."""
    return apply(pw.isnan, as_tensor(x))


def is_inf(x: Any) -> Any:
    """Whether x is infinite."""
    return ew.equal(ew.abs(x), float("inf"))


def is_finite(x: Any) -> Any:
    """Whether x is neither infinite nor NaN."""
    return ew.less(ew.abs(x), float("inf"))


def signbit(x: Any) -> Any:
    """Whether the sign bit is set: true for -0.0 too."""
    x = as_tensor(x)
    return ew.less(ew.copysign(ones_like_scalar(x), x), 0)


def complex(real: Any, imag: Any) -> Any:
    """complex64 of float32 parts, complex128 of float64 parts."""
    return apply(pw.complex_, *same_dtype(real, imag))


def real(x: Any) -> Any:
    """The real part; x itself if it isn't complex."""
    x = as_tensor(x)
    return apply(pw.real, x) if x.dtype.is_complex else x


def imag(x: Any) -> Any:
    """The imaginary part; 0 if x isn't complex."""
    x = as_tensor(x)
    return apply(pw.imag, x) if x.dtype.is_complex else ew.multiply(x, zeros_like_scalar(x))


def conj(x: Any) -> Any:
    """The complex conjugate; x itself if it isn't complex."""
    x = as_tensor(x)
    return apply(pw.conj, x) if x.dtype.is_complex else x


def angle(x: Any) -> Any:
    """The argument [rad] of complex x; 0 or pi of a real one."""
    x = as_tensor(x)
    if x.dtype.is_complex:
        return ew.atan2(apply(pw.imag, x), apply(pw.real, x))
    return ew.atan2(zeros_like_scalar(x), x)


def polar(magnitude: Any, phase: Any) -> Any:
    """The complex number of this magnitude and argument [rad]."""
    magnitude, phase = same_dtype(magnitude, phase)
    return complex(ew.multiply(magnitude, ew.cos(phase)), ew.multiply(magnitude, ew.sin(phase)))


def lerp(x: Any, y: Any, weight: Any) -> Any:
    """X + weight * (y - x)."""
    return ew.add(x, ew.multiply(weight, ew.subtract(y, x)))


def sin_quotient(angle: Any) -> Any:
    """sin(angle) / angle of an angle [rad]; 1 at 0."""
    # near 0 its series, whose derivatives are those of the function
    one = ones_like_scalar(angle)
    near = ew.less(ew.abs(angle), 0.01)
    square = ew.multiply(angle, angle)
    series = one
    for factor in (72.0, 42.0, 20.0, 6.0):
        series = ew.subtract(one, ew.multiply(divide(square, factor), series))
    safe = where(near, one, angle)
    return where(near, series, divide(ew.sin(safe), safe))


def _zero_of_zero(
    function: Callable[[Any, Any], Any],
    neutral: Callable[[Any], Any],
    valid: Callable[[Any], Any],
    x: Any,
    y: Any,
) -> Any:
    """What the function gives for x and y, and 0 where x is 0.

    neutral: a y without errors. valid: where the function of y is a finite number, so that its
    derivative holds where x is 0
    """
    x, y = same_dtype(x, y)
    zero = ew.equal(x, 0)
    none = logical_and(zero, logical_not(valid(y)))
    value = function(x, where(none, neutral(y), y))
    value = where(none, zeros_like_scalar(x), value)
    return where(zero, ew.add(value, zeros_like_scalar(x)), value)  # 0.0 of -0.0


def _is_positive(y: Any) -> Any:
    return logical_and(ew.greater(y, 0), ew.less(y, float("inf")))


def _is_above_minus_one(y: Any) -> Any:
    return logical_and(ew.greater(y, -1), ew.less(y, float("inf")))


def xlogy(x: Any, y: Any) -> Any:
    """X * log(y), and 0 where x is 0."""
    return _zero_of_zero(
        lambda a, b: ew.multiply(a, ew.log(b)), ones_like_scalar, _is_positive, x, y
    )


def xlog1py(x: Any, y: Any) -> Any:
    """X * log1p(y), and 0 where x is 0."""
    return _zero_of_zero(
        lambda a, b: ew.multiply(a, ew.log1p(b)), zeros_like_scalar, _is_above_minus_one, x, y
    )


def xdivy(x: Any, y: Any) -> Any:
    """X / y, and 0 where x is 0."""
    return _zero_of_zero(divide, ones_like_scalar, lambda y: ew.not_equal(y, 0), x, y)


def logaddexp(x: Any, y: Any) -> Any:
    """log(exp(x) + exp(y)) without overflow."""
    x, y = same_dtype(x, y)
    high, distance = high_and_distance(x, y)
    return ew.add(high, ew.log1p(ew.exp(distance)))


def high_and_distance(x: Any, y: Any) -> tuple[Any, Any]:
    """The larger of two numbers, and the smaller less that: neither of them has a kink where
    they are equal, which sums of their exponentials haven't.
    """
    first = ew.greater_equal(x, y)
    high, low = where(first, x, y), where(first, y, x)
    # inf - inf is NaN; equal infinities add up to themselves (log 2 is lost in them)
    endless = logical_and(ew.equal(x, y), ew.equal(ew.abs(x), float("inf")))
    return high, where(endless, zeros_like_scalar(x), ew.subtract(low, high))


def polyval(coeffs: Any, x: Any) -> Any:
    """The polynomial whose highest coefficient is coeffs[0], by Horner's rule."""
    x = as_tensor(x)
    if not isinstance(coeffs, (list, tuple)):
        coeffs = list(as_tensor(coeffs))  # type: ignore[call-overload]
    result: Any = zeros_like_scalar(x)
    for number, coefficient in enumerate(coeffs):
        if number:
            result = ew.add(ew.multiply(result, x), coefficient)
        else:
            result = as_tensor(coefficient, x.dtype)
    return ew.add(result, ew.multiply(x, zeros_like_scalar(x))) if len(coeffs) == 1 else result


def complex_dtype(dtype: DType) -> DType:
    """The complex dtype whose parts have this dtype."""
    return complex128 if dtype in (float64, complex128) else complex64
