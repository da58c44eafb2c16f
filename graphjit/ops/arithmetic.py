"""Pointwise primitives: arithmetic, powers, rounding, order and signs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import Array, TensorType, float32, float64

from .failures import DIVISION_BY_ZERO, NEGATIVE_POWER
from .family import op, single
from .primitive import Pointwise, define, named
from .type_rules import elementwise, require_kind, to_real

add = op(
    "add",
    "AddV2",
    "iufc",
    np.add,
    lambda b, x, y: b.add(x, y),
    exact=True,
    commutative=True,
    zeros=True,
    names=named("add", "x + y. Integers wrap."),
    slopes=lambda d, z, x, y: (1, 1),
)
sub = op(
    "sub",
    "Sub",
    "iufc",
    np.subtract,
    lambda b, x, y: b.sub(x, y),
    exact=True,
    zeros=True,
    names=named("subtract", "x - y. Integers wrap.", ufuncs="subtract"),
    slopes=lambda d, z, x, y: (1, -1),
)
mul = op(
    "mul",
    "Mul",
    "iufc",
    np.multiply,
    lambda b, x, y: b.mul(x, y),
    exact=True,
    commutative=True,
    zeros=True,
    names=named("multiply", "x * y. Integers wrap."),
    slopes=lambda d, z, x, y: (d.never_nan(x),) * 2 if x == y else (y, x),
)
div = op(
    "div",
    "RealDiv",
    "fc",
    np.divide,
    lambda b, x, y: b.div(x, y),
    exact=True,
    cost=4,
    names=named(ufuncs="divide"),
    slopes=lambda d, z, x, y: (d.over(y), d.ratio(d.neg(z), y)),
)
neg = op(
    "neg",
    "Neg",
    "iufc",
    np.negative,
    lambda b, x: b.neg(x),
    exact=True,
    zeros=True,
    names=named("negative", "-x.", ufuncs="negative"),
    slopes=lambda d, y, x: (-1,),
)
abs_ = op(
    "abs",
    "Abs",
    "iufcb",
    np.absolute,
    lambda b, x: b.abs(x),
    result=to_real,
    zeros=True,
    names=named("abs absolute", "|x|; of complex x its modulus.", ufuncs="fabs"),
    slopes=lambda d, y, x: (d.modulus(x, y),),
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
floordiv = op(
    "floordiv",
    "FloorDiv",
    "iuf",
    single(_floordiv_numpy),
    _floordiv,
    cost=20,
    slopes=lambda d, z, x, y, strict: (None, None),
)
mod = op(
    "mod",
    "FloorMod",
    "iuf",
    single(_mod_numpy),
    _mod,
    cost=20,
    slopes=lambda d, z, x, y, strict: (1, d.neg(d.floor(d.div(x, y)))),
)
fmod = op(
    "fmod",
    "Mod",
    "iuf",
    single(_fmod_numpy),
    _fmod,
    cost=20,
    slopes=lambda d, z, x, y, strict: (1, d.neg(d.trunc(d.div(x, y)))),
)


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


def _power_slope(d: Any, x: Any, y: Any) -> Any:
    """y times x to the power y - 1, and 0 for 0 to the power 0."""
    neither = d.bit_and(d.eq(x, 0.0), d.eq(y, 0.0))
    return d.where(neither, 0.0, d.mul(y, d.pow(x, d.sub(y, 1.0))))


def _exponent_slope(d: Any, z: Any, x: Any) -> Any:
    """x to the power y times log x, and 0 where x is."""
    return d.mul(z, d.log(d.where(d.eq(x, 0.0), 1.0, x)))


pow_ = op(
    "pow",
    "Pow",
    "iufc",
    _pow_numpy,
    _pow,
    cost=30,
    names=named("pow power", "x to the power y.", ufuncs="float_power"),
    slopes=lambda d, z, x, y: (_power_slope(d, x, y), _exponent_slope(d, z, x)),
)


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


sign = op(
    "sign",
    "Sign",
    "iufc",
    np.sign,
    _sign,
    names=named("sign", "-1, 0 or 1; NaN of NaN; x / |x| of complex x."),
    slopes=lambda d, y, x: (None,),
)


def _extreme(d: Any, larger: Any, smaller: Any) -> Any:
    """What the larger of two has of the slope; equal ones have half of it each."""
    half = d.where(d.eq(larger, smaller), d.number(0.5, larger), 0.0)
    return d.where(d.gt(larger, smaller), 1.0, half)


minimum = op(
    "minimum",
    "Minimum",
    "biufc",
    np.minimum,
    lambda b, x, y: b.minimum(x, y),
    exact=True,
    names=named("minimum", "The smaller element; NaN if either is NaN.", ufuncs="minimum"),
    slopes=lambda d, z, x, y: (_extreme(d, y, x), _extreme(d, x, y)),
)
maximum = op(
    "maximum",
    "Maximum",
    "biufc",
    np.maximum,
    lambda b, x, y: b.maximum(x, y),
    exact=True,
    names=named("maximum", "The larger element; NaN if either is NaN.", ufuncs="maximum"),
    slopes=lambda d, z, x, y: (_extreme(d, x, y), _extreme(d, y, x)),
)
floor = op(
    "floor",
    "Floor",
    "f",
    single(np.floor),
    lambda b, x: b.floor(x),
    exact=True,
    slopes=lambda d, y, x: (None,),
)
ceil = op(
    "ceil",
    "Ceil",
    "f",
    single(np.ceil),
    lambda b, x: b.ceil(x),
    exact=True,
    slopes=lambda d, y, x: (None,),
)
trunc = op(
    "trunc",
    "Trunc",
    "f",
    single(np.trunc),
    lambda b, x: b.trunc(x),
    exact=True,
    slopes=lambda d, y, x: (None,),
)
rint = op(
    "rint",
    "Rint",
    "f",
    single(np.rint),
    lambda b, x: b.rint(x),
    exact=True,
    slopes=lambda d, y, x: (None,),
)
copysign = op(
    "copysign",
    "Copysign",
    "f",
    single(np.copysign),
    lambda b, x, y: b.copysign(x, y),
    exact=True,
    names=named("copysign", "|x| with the sign of y.", ufuncs="copysign"),
    slopes=lambda d, z, x, y: (d.mul(d.copysign(1.0, x), d.copysign(1.0, y)), None),
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
    names=named(
        "nextafter", "The next representable number from x toward y.", ufuncs="nextafter"
    ),
    slopes=lambda d, z, x, y: (1, None),
)
