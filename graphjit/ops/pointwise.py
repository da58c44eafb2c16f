"""Pointwise primitives: each output element from input elements at the same index.

One record an op: type rule, NumPy rule, scalar rule. Broadcasting is NumPy's.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import (
    DType,
    TensorType,
    broadcast_shapes,
    complex64,
    complex128,
    float32,
    float64,
)

from .primitive import Pointwise, Primitive, define
from .rules import elementwise, require_kind, require_same_dtype, to_bool, to_real

Array = np.ndarray[Any, np.dtype[Any]]
DIVISION_BY_ZERO = "Integer division by zero"
NEGATIVE_POWER = "Integers to negative integer powers are not allowed"


def _pythons_message(operation: Callable[[], Any]) -> str:
    """What the running Python says where an operation on its numbers fails."""
    try:
        operation()
    except ArithmeticError as error:
        return str(error.args[-1])
    raise AssertionError("an operation that must fail")


OVERFLOW = _pythons_message(lambda: 10.0**400)
NO_WEIGHT = "Weights sum to zero, can't be normalized"
# What a failing `unless` raises, by its message: that of this Python for its own numbers.
PYTHON_ERRORS: dict[str, Callable[[str], Exception]] = {
    OVERFLOW: lambda text: OverflowError(errno.ERANGE, text),
    _pythons_message(lambda: 1 / 0): ZeroDivisionError,
    _pythons_message(lambda: 1.0 / 0): ZeroDivisionError,
    NO_WEIGHT: ZeroDivisionError,
}


def _op(
    name: str,
    tensorflow: str,
    kinds: str,
    numpy: Callable[..., Any],
    scalar: Callable[..., Any],
    *,
    result: Callable[[DType], DType] | None = None,
    exact: bool = False,
    commutative: bool = False,
    cost: int = 1,
    zeros: bool = False,
) -> Primitive:
    return define(
        name,
        Pointwise(scalar, zeros),
        elementwise(kinds, tensorflow, scalar, result),
        numpy,
        tensorflow=tensorflow,
        exact=exact,
        commutative=commutative,
        cost=cost,
    )


def _single(function: Callable[..., Any]) -> Callable[..., Any]:
    """A NumPy rule that computes bfloat16 in float32: ml_dtypes has not every ufunc."""

    def rule(*arrays: Array, **attrs: Any) -> Any:
        dtype = arrays[0].dtype
        if dtype.kind == "V":
            result = function(*(a.astype(np.float32) for a in arrays), **attrs)
            return result.astype(dtype) if result.dtype == np.float32 else result
        return function(*arrays, **attrs)

    return rule


add = _op(
    "add",
    "AddV2",
    "iufc",
    np.add,
    lambda b, x, y: b.add(x, y),
    exact=True,
    commutative=True,
    zeros=True,
)
sub = _op(
    "sub", "Sub", "iufc", np.subtract, lambda b, x, y: b.sub(x, y), exact=True, zeros=True
)
mul = _op(
    "mul",
    "Mul",
    "iufc",
    np.multiply,
    lambda b, x, y: b.mul(x, y),
    exact=True,
    commutative=True,
    zeros=True,
)
div = _op("div", "RealDiv", "fc", np.divide, lambda b, x, y: b.div(x, y), exact=True, cost=4)
neg = _op("neg", "Neg", "iufc", np.negative, lambda b, x: b.neg(x), exact=True, zeros=True)
abs_ = _op(
    "abs", "Abs", "iufcb", np.absolute, lambda b, x: b.abs(x), result=to_real, zeros=True
)


def _used(x: Array, y: Array) -> bool:
    """Whether an element of y meets one of x: not where the result is empty."""
    return bool(x.size and y.size)


def _check_zero(x: Array, y: Array, strict: bool, op: str) -> None:
    if strict and y.dtype.kind in "iu" and _used(x, y) and not np.all(y):
        raise InvalidArgumentError(at_user_line(f"{DIVISION_BY_ZERO} [Op:{op}]"))


def _floordiv_numpy(x: Array, y: Array, strict: bool) -> Any:
    _check_zero(x, y, strict, "FloorDiv")
    return np.floor_divide(x, y)


def _mod_numpy(x: Array, y: Array, strict: bool) -> Any:
    _check_zero(x, y, strict, "FloorMod")
    return np.remainder(x, y)


def _fmod_numpy(x: Array, y: Array, strict: bool) -> Any:
    _check_zero(x, y, strict, "Mod")
    return np.fmod(x, y)


def _float_divmod(b: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Quotient and remainder as NumPy's npy_divmod defines them: exact, of the sign of y.

    Narrow floats are divided in float32 and rounded once, as NumPy does it.
    """
    if x.dtype.is_narrow:
        wide = _float_divmod(b, b.cast(x, float32), b.cast(y, float32))
        return b.cast(wide[0], x.dtype), b.cast(wide[1], x.dtype)
    remainder = b.fmod(x, y)
    quotient = b.div(b.sub(x, remainder), y)
    opposite = b.xor(b.lt(y, 0.0), b.lt(remainder, 0.0))
    adjust = b.and_(b.ne(remainder, 0.0), opposite)
    quotient = b.select(adjust, b.sub(quotient, 1.0), quotient)
    remainder = b.select(adjust, b.add(remainder, y), remainder)
    remainder = b.select(b.eq(remainder, 0.0), b.copysign(b.const(0.0, x.dtype), y), remainder)
    floor = b.floor(quotient)
    floor = b.select(b.gt(b.sub(quotient, floor), 0.5), b.add(floor, 1.0), floor)
    signed_zero = b.copysign(b.const(0.0, x.dtype), b.div(x, y))
    floor = b.select(b.eq(quotient, 0.0), signed_zero, floor)
    return b.select(b.eq(y, 0.0), b.div(x, y), floor), remainder


def _integer_divmod(
    b: Any, x: Any, y: Any, strict: bool, floor: bool = True
) -> tuple[Any, Any]:
    if strict:
        b.fail_if(b.eq(y, 0), DIVISION_BY_ZERO)
    quotient, remainder = b.divmod(x, y, floor)
    return quotient, remainder


def _floordiv(b: Any, x: Any, y: Any, *, strict: bool) -> Any:
    if x.dtype.kind == "f":
        return _float_divmod(b, x, y)[0]
    return _integer_divmod(b, x, y, strict)[0]


def _mod(b: Any, x: Any, y: Any, *, strict: bool) -> Any:
    if x.dtype.kind == "f":
        return _float_divmod(b, x, y)[1]
    return _integer_divmod(b, x, y, strict)[1]


def _fmod(b: Any, x: Any, y: Any, *, strict: bool) -> Any:
    if x.dtype.kind == "f":
        return b.fmod(x, y)
    return _integer_divmod(b, x, y, strict, floor=False)[1]


# strict: an integer division by zero is an error (TensorFlow), else 0 (NumPy).
floordiv = _op("floordiv", "FloorDiv", "iuf", _single(_floordiv_numpy), _floordiv, cost=20)
mod = _op("mod", "FloorMod", "iuf", _single(_mod_numpy), _mod, cost=20)
fmod = _op("fmod", "Mod", "iuf", _single(_fmod_numpy), _fmod, cost=20)


def _pow_numpy(x: Array, y: Array) -> Any:
    if y.dtype.kind == "i" and _used(x, y) and np.any(y < 0):
        raise InvalidArgumentError(at_user_line(f"{NEGATIVE_POWER} [Op:Pow]"))
    return np.power(x, y)


def _pow(b: Any, x: Any, y: Any) -> Any:
    if x.dtype.kind not in "iu":
        return b.pow(x, y)
    if y.dtype.kind == "i":
        b.fail_if(b.lt(y, 0), NEGATIVE_POWER)
    result, base = b.const(1, x.dtype), x
    for bit in range(x.dtype.bits):
        chosen = b.ne(b.and_(y, 1 << bit), 0)
        result = b.select(chosen, b.mul(result, base), result)
        base = b.mul(base, base)
    return result


pow_ = _op("pow", "Pow", "iufc", _pow_numpy, _pow, cost=30)


def _complex_sign(b: Any, x: Any) -> Any:
    """x / |x|; where |x| is infinite, by NumPy's rule, the direction of the infinite part."""
    re, im, size = b.real(x), b.imag(x), b.abs(x)
    zero, infinity = b.const(0.0, re.dtype), float("inf")
    endless, nought = b.eq(size, infinity), b.eq(size, 0.0)
    along_re, along_im = b.eq(b.abs(re), infinity), b.eq(b.abs(im), infinity)
    far_re = b.select(along_re, b.copysign(b.const(1.0, re.dtype), re), zero)
    far_im = b.select(along_re, zero, b.copysign(b.const(1.0, re.dtype), im))
    neither = b.const(float("nan"), re.dtype)
    parts = []
    for near, far in ((re, far_re), (im, far_im)):
        far = b.select(b.and_(along_re, along_im), neither, far)
        parts.append(b.select(endless, far, b.select(nought, zero, b.div(near, size))))
    return b.complex(*parts, x.dtype)


def _sign(b: Any, x: Any) -> Any:
    if x.dtype.kind == "c":
        return _complex_sign(b, x)
    one, zero = b.const(1, x.dtype), b.const(0, x.dtype)
    positive = b.select(b.gt(x, 0), one, zero)
    result = (
        positive
        if x.dtype.kind == "u"
        else b.select(b.lt(x, 0), b.const(-1, x.dtype), positive)
    )
    return b.select(b.isnan(x), x, result) if x.dtype.kind == "f" else result


sign = _op("sign", "Sign", "iufc", np.sign, _sign)
minimum = _op(
    "minimum", "Minimum", "biufc", np.minimum, lambda b, x, y: b.minimum(x, y), exact=True
)
maximum = _op(
    "maximum", "Maximum", "biufc", np.maximum, lambda b, x, y: b.maximum(x, y), exact=True
)
sqrt = _op("sqrt", "Sqrt", "fc", np.sqrt, lambda b, x: b.sqrt(x), cost=6)
floor = _op("floor", "Floor", "f", _single(np.floor), lambda b, x: b.floor(x), exact=True)
ceil = _op("ceil", "Ceil", "f", _single(np.ceil), lambda b, x: b.ceil(x), exact=True)
trunc = _op("trunc", "Trunc", "f", _single(np.trunc), lambda b, x: b.trunc(x), exact=True)
rint = _op("rint", "Rint", "f", _single(np.rint), lambda b, x: b.rint(x), exact=True)
copysign = _op(
    "copysign",
    "Copysign",
    "f",
    _single(np.copysign),
    lambda b, x, y: b.copysign(x, y),
    exact=True,
)


def _nextafter(b: Any, x: Any, y: Any) -> Any:
    kind = b.integer_of(x.dtype)
    bits = b.bitcast(x, kind)
    away = b.eq(b.gt(y, x), b.gt(x, 0.0))
    moved = b.bitcast(b.select(away, b.add(bits, 1), b.sub(bits, 1)), x.dtype)
    tiny = b.copysign(b.bitcast(b.const(1, kind), x.dtype), y)
    moved = b.select(b.eq(x, 0.0), tiny, moved)
    moved = b.select(b.eq(x, y), y, moved)
    return b.select(b.or_(b.isnan(x), b.isnan(y)), b.add(x, y), moved)


def _only_wide_floats(rule: Callable[..., TensorType], op: str) -> Callable[..., TensorType]:
    def checked(*inputs: TensorType, **attrs: Any) -> TensorType:
        if inputs[0].dtype not in (float32, float64):
            require_kind(inputs[0].dtype, "", op)
        return rule(*inputs, **attrs)

    return checked


nextafter = define(
    "nextafter",
    Pointwise(_nextafter),
    _only_wide_floats(elementwise("f", "NextAfter", _nextafter), "NextAfter"),
    np.nextafter,
    tensorflow="NextAfter",
    exact=True,
)


def _unary(
    name: str, tensorflow: str, kinds: str, numpy: Callable[..., Any], cost: int
) -> Primitive:
    return _op(
        name, tensorflow, kinds, _single(numpy), lambda b, x: getattr(b, name)(x), cost=cost
    )


def _scipy(name: str) -> Callable[..., Any]:
    def rule(*arrays: Array) -> Any:
        import scipy.special

        dtype = arrays[0].dtype
        if dtype == np.float16:
            single = getattr(scipy.special, name)(*(a.astype(np.float32) for a in arrays))
            return np.asarray(single).astype(dtype)
        return getattr(scipy.special, name)(*arrays)

    return rule


def _rsqrt_numpy(x: Array) -> Any:
    return np.divide(np.asarray(1, x.dtype), np.sqrt(x))


def _softplus_numpy(x: Array) -> Any:
    return np.logaddexp(np.asarray(0, x.dtype), x)


exp = _unary("exp", "Exp", "fc", np.exp, 12)
exp2 = _unary("exp2", "Exp2", "fc", np.exp2, 12)
expm1 = _unary("expm1", "Expm1", "fc", np.expm1, 16)
log = _unary("log", "Log", "fc", np.log, 14)
log2 = _unary("log2", "Log2", "fc", np.log2, 14)
log10 = _unary("log10", "Log10", "fc", np.log10, 14)
log1p = _unary("log1p", "Log1p", "fc", np.log1p, 16)
sin = _unary("sin", "Sin", "fc", np.sin, 20)
cos = _unary("cos", "Cos", "fc", np.cos, 20)
tan = _unary("tan", "Tan", "fc", np.tan, 25)
asin = _unary("asin", "Asin", "fc", np.arcsin, 20)
acos = _unary("acos", "Acos", "fc", np.arccos, 20)
atan = _unary("atan", "Atan", "fc", np.arctan, 20)
sinh = _unary("sinh", "Sinh", "fc", np.sinh, 20)
cosh = _unary("cosh", "Cosh", "fc", np.cosh, 20)
tanh = _unary("tanh", "Tanh", "fc", np.tanh, 16)
asinh = _unary("asinh", "Asinh", "fc", np.arcsinh, 30)
acosh = _unary("acosh", "Acosh", "fc", np.arccosh, 30)
atanh = _unary("atanh", "Atanh", "fc", np.arctanh, 30)
cbrt = _unary("cbrt", "Cbrt", "f", np.cbrt, 20)
rsqrt = _unary("rsqrt", "Rsqrt", "f", _rsqrt_numpy, 8)
erf = _unary("erf", "Erf", "f", _scipy("erf"), 16)
erfc = _unary("erfc", "Erfc", "f", _scipy("erfc"), 30)
lgamma = _unary("lgamma", "Lgamma", "f", _scipy("gammaln"), 100)
tgamma = _unary("tgamma", "Gamma", "f", _scipy("gamma"), 100)
sigmoid = _unary("sigmoid", "Sigmoid", "f", _scipy("expit"), 16)
softplus = _unary("softplus", "Softplus", "f", _softplus_numpy, 28)
atan2 = _op("atan2", "Atan2", "f", _single(np.arctan2), lambda b, y, x: b.atan2(y, x), cost=30)
hypot = _op("hypot", "Hypot", "f", _single(np.hypot), lambda b, x, y: b.hypot(x, y), cost=12)

eq = _op(
    "eq",
    "Equal",
    "biufc",
    np.equal,
    lambda b, x, y: b.eq(x, y),
    result=to_bool,
    exact=True,
    commutative=True,
)
ne = _op(
    "ne",
    "NotEqual",
    "biufc",
    np.not_equal,
    lambda b, x, y: b.ne(x, y),
    result=to_bool,
    exact=True,
    commutative=True,
)
lt = _op("lt", "Less", "biufc", np.less, lambda b, x, y: b.lt(x, y), result=to_bool, exact=True)
le = _op(
    "le",
    "LessEqual",
    "biufc",
    np.less_equal,
    lambda b, x, y: b.le(x, y),
    result=to_bool,
    exact=True,
)
gt = _op(
    "gt", "Greater", "biufc", np.greater, lambda b, x, y: b.gt(x, y), result=to_bool, exact=True
)
ge = _op(
    "ge",
    "GreaterEqual",
    "biufc",
    np.greater_equal,
    lambda b, x, y: b.ge(x, y),
    result=to_bool,
    exact=True,
)
isnan = _op(
    "isnan", "IsNan", "fc", np.isnan, lambda b, x: b.isnan(x), result=to_bool, exact=True
)
bit_and = _op(
    "bit_and",
    "BitwiseAnd",
    "biu",
    np.bitwise_and,
    lambda b, x, y: b.and_(x, y),
    exact=True,
    commutative=True,
)
bit_or = _op(
    "bit_or",
    "BitwiseOr",
    "biu",
    np.bitwise_or,
    lambda b, x, y: b.or_(x, y),
    exact=True,
    commutative=True,
)
bit_xor = _op(
    "bit_xor",
    "BitwiseXor",
    "biu",
    np.bitwise_xor,
    lambda b, x, y: b.xor(x, y),
    exact=True,
    commutative=True,
)
bit_not = _op("bit_not", "Invert", "biu", np.invert, lambda b, x: b.not_(x), exact=True)


def _shift_left(b: Any, x: Any, y: Any) -> Any:
    wide = b.or_(b.lt(y, 0), b.ge(y, x.dtype.bits))
    return b.select(wide, b.const(0, x.dtype), b.shl(x, b.select(wide, b.const(0, x.dtype), y)))


def _shift_right(b: Any, x: Any, y: Any) -> Any:
    wide = b.or_(b.lt(y, 0), b.ge(y, x.dtype.bits))
    # NumPy: a wide shift gives 0, or -1 of a negative number.
    last = b.const(x.dtype.bits - 1, x.dtype)
    if x.dtype.kind == "u":
        moved = b.shr(x, b.select(wide, b.const(0, x.dtype), y))
        return b.select(wide, b.const(0, x.dtype), moved)
    return b.shr(x, b.select(wide, last, y))


shift_left = _op("shift_left", "LeftShift", "iu", np.left_shift, _shift_left, exact=True)
shift_right = _op("shift_right", "RightShift", "iu", np.right_shift, _shift_right, exact=True)


def _popcount(b: Any, x: Any) -> Any:
    from graphjit.core.types import uint8

    return b.cast(b.count_bits(b.abs(x)), uint8)


def _to_uint8(_: DType) -> DType:
    from graphjit.core.types import uint8

    return uint8


popcount = _op(
    "popcount",
    "PopulationCount",
    "iu",
    np.bitwise_count,
    _popcount,
    result=_to_uint8,
    exact=True,
)


def _where_type(condition: TensorType, x: TensorType, y: TensorType) -> TensorType:
    require_kind(condition.dtype, "b", "SelectV2")
    dtype = require_same_dtype((x, y), "SelectV2")
    return TensorType(broadcast_shapes((condition.shape, x.shape, y.shape), "SelectV2"), dtype)


where = define(
    "where", Pointwise(lambda b, c, x, y: b.select(c, x, y)), _where_type, np.where,
    tensorflow="SelectV2", exact=True,
)  # fmt: skip


def _cast_type(x: TensorType, dtype: DType) -> TensorType:
    return x.with_dtype(dtype)


def cast_numpy(x: Array, dtype: DType) -> Array:
    """Astype with x86-64's results for floats that no integer of the type can hold."""
    target = dtype.dtype
    kind = x.dtype.kind
    if kind == "V":
        x = x.astype(np.float32)
        kind = "f"
    if kind == "c" and dtype.kind in "iuf":
        x, kind = x.real, "f"
    if kind == "f" and dtype.kind in "iu":
        via = np.int32 if dtype.bits < 32 or target == np.int32 else np.int64
        limit = 2.0 ** (np.dtype(via).itemsize * 8 - 1)
        wide = x.astype(np.float64)
        base = np.zeros(x.shape, np.int64)
        if dtype.name == "uint64":
            big = wide >= limit
            base = np.where(big, np.int64(-(2**63)), np.int64(0))
            wide = np.where(big, wide - limit, wide)
        whole = np.trunc(wide)
        inside = (whole >= -limit) & (whole < limit)
        lowest = np.int64(-(2 ** (np.dtype(via).itemsize * 8 - 1)))
        result = np.where(inside, np.where(inside, whole, 0.0).astype(np.int64), lowest)
        return np.asarray((result ^ base).astype(target))
    if kind != "c" and dtype.kind == "c":
        return x.astype(dtype.real.dtype).astype(target)
    return x.astype(target)


cast = define(
    "cast", Pointwise(lambda b, x, *, dtype: b.cast(x, dtype)), _cast_type, cast_numpy,
    tensorflow="Cast", exact=True,
)  # fmt: skip


def _unless_type(x: TensorType, failing: TensorType, reason: str) -> TensorType:
    require_kind(failing.dtype, "b", "Unless")
    return TensorType(broadcast_shapes((x.shape, failing.shape), "Unless"), x.dtype)


def _unless_numpy(x: Array, failing: Array, reason: str) -> Any:
    if np.any(failing):
        raise PYTHON_ERRORS[reason](reason)
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, failing.shape))


def _unless(b: Any, x: Any, failing: Any, *, reason: str) -> Any:
    b.fail_if(failing, reason)
    return x


# The first operand, unless the second is true: that is the error of PYTHON_ERRORS.
unless = define(
    "unless", Pointwise(_unless), _unless_type, _unless_numpy, tensorflow="Unless", exact=True
)  # fmt: skip


def _bitcast_type(x: TensorType, dtype: DType) -> TensorType:
    allowed = "iuf"
    narrow = {"float16", "bfloat16"}
    if (
        x.dtype.kind not in allowed
        or dtype.kind not in allowed
        or x.dtype.size != dtype.size
        or narrow & {x.dtype.name, dtype.name}
    ):
        raise InvalidArgumentError(
            at_user_line(
                f"Cannot bitcast from {x.dtype.tensorflow} to {dtype.tensorflow} [Op:Bitcast]"
            )
        )
    return x.with_dtype(dtype)


bitcast = define(
    "bitcast", Pointwise(lambda b, x, *, dtype: b.bitcast(x, dtype)), _bitcast_type,
    lambda x, dtype: x.view(dtype.dtype), tensorflow="Bitcast", exact=True,
)  # fmt: skip


def _complex_of(dtype: DType) -> DType:
    if dtype not in (float32, float64):
        require_kind(dtype, "", "Complex")
    return complex64 if dtype is float32 else complex128


def _complex_numpy(re: Array, im: Array) -> Any:
    dtype = np.complex64 if re.dtype == np.float32 else np.complex128
    result = np.empty(np.broadcast_shapes(re.shape, im.shape), dtype)
    result.real = re
    result.imag = im
    return result


complex_ = _op(
    "complex",
    "Complex",
    "f",
    _complex_numpy,
    lambda b, x, y: b.complex(x, y),
    result=_complex_of,
    exact=True,
)
real = _op("real", "Real", "c", np.real, lambda b, x: b.real(x), result=to_real, exact=True)
imag = _op("imag", "Imag", "c", np.imag, lambda b, x: b.imag(x), result=to_real, exact=True)
conj = _op(
    "conj",
    "Conj",
    "c",
    np.conjugate,
    lambda b, x: b.complex(b.real(x), b.neg(b.imag(x)), x.dtype),
    exact=True,
)
logical_not = _op(
    "logical_not", "LogicalNot", "b", np.logical_not, lambda b, x: b.not_(x), exact=True
)
