"""Elementwise functions under TensorFlow's names. Operands broadcast and share one dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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

__all__ = [
    "abs",
    "acos",
    "acosh",
    "add",
    "angle",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bitcast",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "cast",
    "cbrt",
    "ceil",
    "clip_by_value",
    "complex",
    "conj",
    "copysign",
    "cos",
    "cosh",
    "divide",
    "divide_no_nan",
    "equal",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "floor",
    "floordiv",
    "floormod",
    "gamma",
    "greater",
    "greater_equal",
    "hypot",
    "imag",
    "invert",
    "is_finite",
    "is_inf",
    "is_nan",
    "left_shift",
    "lerp",
    "less",
    "less_equal",
    "lgamma",
    "log",
    "log10",
    "log1p",
    "log2",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "nextafter",
    "not_equal",
    "polar",
    "polyval",
    "population_count",
    "pow",
    "real",
    "reciprocal",
    "right_shift",
    "rint",
    "round",
    "rsqrt",
    "saturate_cast",
    "sigmoid",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "softplus",
    "sqrt",
    "square",
    "squared_difference",
    "subtract",
    "tan",
    "tanh",
    "trunc",
    "truncatemod",
    "where",
    "xdivy",
    "xlog1py",
    "xlogy",
]

Unary = Callable[[Any], Any]
Binary = Callable[[Any, Any], Any]


def _unary(primitive: Primitive, name: str, doc: str) -> Unary:
    def function(x: Any) -> Any:
        return apply(primitive, as_tensor(x))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{doc} Same shape as x; raises InvalidArgumentError for its dtype."
    return function


def _binary(primitive: Primitive, name: str, doc: str, **attrs: Any) -> Binary:
    def function(x: Any, y: Any) -> Any:
        return apply(primitive, *same_dtype(x, y), **attrs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"{doc} Shapes broadcast; raises InvalidArgumentError where shapes or dtypes differ."
    )
    return function


add = _binary(pw.add, "add", "x + y. Integers wrap.")
subtract = _binary(pw.sub, "subtract", "x - y. Integers wrap.")
multiply = _binary(pw.mul, "multiply", "x * y. Integers wrap.")
minimum = _binary(pw.minimum, "minimum", "The smaller element; NaN if either is NaN.")
maximum = _binary(pw.maximum, "maximum", "The larger element; NaN if either is NaN.")
floordiv = _binary(pw.floordiv, "floordiv", "x / y rounded down.", strict=True)
floormod = _binary(pw.mod, "floormod", "Remainder of floordiv, of y's sign.", strict=True)
truncatemod = _binary(pw.fmod, "truncatemod", "C's remainder, of x's sign.", strict=True)
pow = _binary(pw.pow_, "pow", "x to the power y.")
atan2 = _binary(pw.atan2, "atan2", "Angle [rad] of the point (y, x): atan2(y, x).")
hypot = _binary(pw.hypot, "hypot", "sqrt(x² + y²) without overflow on the way.")
copysign = _binary(pw.copysign, "copysign", "|x| with the sign of y.")
nextafter = _binary(pw.nextafter, "nextafter", "The next representable number from x toward y.")
equal = _binary(pw.eq, "equal", "x == y, bool.")
not_equal = _binary(pw.ne, "not_equal", "x != y, bool.")
less = _binary(pw.lt, "less", "x < y, bool.")
less_equal = _binary(pw.le, "less_equal", "x <= y, bool.")
greater = _binary(pw.gt, "greater", "x > y, bool.")
greater_equal = _binary(pw.ge, "greater_equal", "x >= y, bool.")
bitwise_and = _binary(pw.bit_and, "bitwise_and", "Bitwise and of integers or bools.")
bitwise_or = _binary(pw.bit_or, "bitwise_or", "Bitwise or of integers or bools.")
bitwise_xor = _binary(pw.bit_xor, "bitwise_xor", "Bitwise exclusive or of integers or bools.")
left_shift = _binary(pw.shift_left, "left_shift", "x << y; 0 where y is no valid shift.")
right_shift = _binary(
    pw.shift_right, "right_shift", "x >> y; 0 or -1 where y is no valid shift."
)

negative = _unary(pw.neg, "negative", "-x.")
abs = _unary(pw.abs_, "abs", "|x|; of complex x its modulus.")
sign = _unary(pw.sign, "sign", "-1, 0 or 1; NaN of NaN; x / |x| of complex x.")
sqrt = _unary(pw.sqrt, "sqrt", "Square root.")
rsqrt = _unary(pw.rsqrt, "rsqrt", "1 / sqrt(x).")
cbrt = _unary(pw.cbrt, "cbrt", "Cube root.")
exp = _unary(pw.exp, "exp", "e to the power x.")
exp2 = _unary(pw.exp2, "exp2", "2 to the power x.")
expm1 = _unary(pw.expm1, "expm1", "exp(x) - 1, accurate near 0.")
log = _unary(pw.log, "log", "Natural logarithm.")
log2 = _unary(pw.log2, "log2", "Logarithm to base 2.")
log10 = _unary(pw.log10, "log10", "Logarithm to base 10.")
log1p = _unary(pw.log1p, "log1p", "log(1 + x), accurate near 0.")
sin = _unary(pw.sin, "sin", "Sine of x [rad].")
cos = _unary(pw.cos, "cos", "Cosine of x [rad].")
tan = _unary(pw.tan, "tan", "Tangent of x [rad].")
asin = _unary(pw.asin, "asin", "Arc sine [rad].")
acos = _unary(pw.acos, "acos", "Arc cosine [rad].")
atan = _unary(pw.atan, "atan", "Arc tangent [rad].")
sinh = _unary(pw.sinh, "sinh", "Hyperbolic sine.")
cosh = _unary(pw.cosh, "cosh", "Hyperbolic cosine.")
tanh = _unary(pw.tanh, "tanh", "Hyperbolic tangent.")
asinh = _unary(pw.asinh, "asinh", "Inverse hyperbolic sine.")
acosh = _unary(pw.acosh, "acosh", "Inverse hyperbolic cosine.")
atanh = _unary(pw.atanh, "atanh", "Inverse hyperbolic tangent.")
erf = _unary(pw.erf, "erf", "Error function.")
erfc = _unary(pw.erfc, "erfc", "1 - erf(x), accurate for large x.")
lgamma = _unary(pw.lgamma, "lgamma", "Logarithm of |gamma(x)|.")
gamma = _unary(pw.tgamma, "gamma", "Gamma function.")
sigmoid = _unary(pw.sigmoid, "sigmoid", "1 / (1 + exp(-x)).")
softplus = _unary(pw.softplus, "softplus", "log(1 + exp(x)).")
bitwise_not = _unary(pw.bit_not, "bitwise_not", "Bitwise complement of integers; not of bools.")
invert = bitwise_not
population_count = _unary(pw.popcount, "population_count", "Number of set bits of |x|, uint8.")


def _rounding(primitive: Primitive, name: str, doc: str) -> Unary:
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
    zero = equal(y, 0)
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
    difference = subtract(x, y)
    return multiply(conj(difference), difference)


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
        inside = apply(pw.cast, minimum(maximum(wide, low), high), dtype=target)
        inside = where(greater_equal(wide, high), as_tensor(target.max, target), inside)
        return where(apply(pw.isnan, x), zeros_like_scalar(inside), inside)
    if target.is_integer and x.dtype.is_integer:
        low, high = max_(x.dtype.min, target.min), min_(x.dtype.max, target.max)
        return cast(minimum(maximum(x, low), high), target)
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
    return minimum(maximum(x, clip_value_min), clip_value_max)


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
    return equal(abs(x), float("inf"))


def is_finite(x: Any) -> Any:
    """Whether x is neither infinite nor NaN."""
    return less(abs(x), float("inf"))


def signbit(x: Any) -> Any:
    """Whether the sign bit is set: true for -0.0 too."""
    x = as_tensor(x)
    return less(copysign(ones_like_scalar(x), x), 0)


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
    return apply(pw.imag, x) if x.dtype.is_complex else multiply(x, zeros_like_scalar(x))


def conj(x: Any) -> Any:
    """The complex conjugate; x itself if it isn't complex."""
    x = as_tensor(x)
    return apply(pw.conj, x) if x.dtype.is_complex else x


def angle(x: Any) -> Any:
    """The argument [rad] of complex x; 0 or pi of a real one."""
    x = as_tensor(x)
    if x.dtype.is_complex:
        return atan2(apply(pw.imag, x), apply(pw.real, x))
    return atan2(zeros_like_scalar(x), x)


def polar(magnitude: Any, phase: Any) -> Any:
    """The complex number of this magnitude and argument [rad]."""
    magnitude, phase = same_dtype(magnitude, phase)
    return complex(multiply(magnitude, cos(phase)), multiply(magnitude, sin(phase)))


def lerp(x: Any, y: Any, weight: Any) -> Any:
    """X + weight * (y - x)."""
    return add(x, multiply(weight, subtract(y, x)))


def xlogy(x: Any, y: Any) -> Any:
    """X * log(y), and 0 where x is 0."""
    x, y = same_dtype(x, y)
    zero = equal(x, 0)
    product = multiply(x, log(where(zero, ones_like_scalar(y), y)))
    return where(logical_and(zero, logical_not(is_nan(y))), zeros_like_scalar(x), product)


def xlog1py(x: Any, y: Any) -> Any:
    """X * log1p(y), and 0 where x is 0."""
    x, y = same_dtype(x, y)
    zero = equal(x, 0)
    product = multiply(x, log1p(where(zero, zeros_like_scalar(y), y)))
    return where(logical_and(zero, logical_not(is_nan(y))), zeros_like_scalar(x), product)


def xdivy(x: Any, y: Any) -> Any:
    """X / y, and 0 where x is 0."""
    x, y = same_dtype(x, y)
    zero = equal(x, 0)
    quotient = divide(x, where(zero, ones_like_scalar(y), y))
    return where(logical_and(zero, logical_not(is_nan(y))), zeros_like_scalar(x), quotient)


def logaddexp(x: Any, y: Any) -> Any:
    """log(exp(x) + exp(y)) without overflow."""
    x, y = same_dtype(x, y)
    high = maximum(x, y)
    distance = negative(abs(subtract(x, y)))
    # inf - inf is NaN; equal infinities add up to themselves (log 2 is lost in them)
    distance = where(equal(x, y), zeros_like_scalar(x), distance)
    return add(high, log1p(exp(distance)))


def polyval(coeffs: Any, x: Any) -> Any:
    """The polynomial whose highest coefficient is coeffs[0], by Horner's rule."""
    x = as_tensor(x)
    if not isinstance(coeffs, (list, tuple)):
        coeffs = list(as_tensor(coeffs))  # type: ignore[call-overload]
    result: Any = zeros_like_scalar(x)
    for number, coefficient in enumerate(coeffs):
        result = (
            add(multiply(result, x), coefficient) if number else as_tensor(coefficient, x.dtype)
        )
    return add(result, multiply(x, zeros_like_scalar(x))) if len(coeffs) == 1 else result


def complex_dtype(dtype: DType) -> DType:
    """The complex dtype whose parts have this dtype."""
    return complex128 if dtype in (float64, complex128) else complex64
