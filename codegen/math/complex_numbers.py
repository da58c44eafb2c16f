"""Elementary functions of complex numbers, from the real ones.

Their names begin with "complex_". Branch cuts and signed zeros are NumPy's. Errors are small
compared with the modulus of the result, not with each part. Where cancellation would show in
complex64, the work is done in complex128. The formulas are Kahan's, "Branch cuts for complex
elementary functions, or much ado about nothing's sign bit", 1987, unless another source is
named.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING

from graphjit.core.types import complex64, complex128

from .registry import rule

if TYPE_CHECKING:
    from graphjit.codegen.builder import Builder
    from graphjit.codegen.values import Value

INFINITY = float("inf")
LN2 = math.log(2.0)


def widened(function: Callable[..., Value]) -> Callable[..., Value]:
    """The function, computed in complex128 for complex64 operands."""

    @wraps(function)
    def wrapper(b: Builder, *operands: Value) -> Value:
        if operands[0].dtype is not complex64:
            return function(b, *operands)
        long = [b.cast(z, complex128) for z in operands]
        return b.cast(function(b, *long), complex64)

    return wrapper


def parts(b: Builder, z: Value) -> tuple[Value, Value]:
    """The real and the imaginary part."""
    return b.real(z), b.imag(z)


def swap_parts(b: Builder, z: Value) -> Value:
    """The number with its real and imaginary parts exchanged."""
    return b.complex(b.imag(z), b.real(z))


def is_infinite(b: Builder, x: Value) -> Value:
    """Whether a real value is infinite."""
    return b.eq(b.abs(x), INFINITY)


def with_sign_of(b: Builder, number: float, x: Value) -> Value:
    """A real constant with the sign of x."""
    return b.copysign(b.const(number, x.dtype), x)


def is_double(x: Value) -> bool:
    """Whether a real value is a float64."""
    return x.dtype.name == "float64"


@rule
def complex_add(b: Builder, z: Value, w: Value) -> Value:
    """Z + w."""
    return b.complex(b.add(b.real(z), b.real(w)), b.add(b.imag(z), b.imag(w)))


@rule
def complex_sub(b: Builder, z: Value, w: Value) -> Value:
    """Z − w."""
    return b.complex(b.sub(b.real(z), b.real(w)), b.sub(b.imag(z), b.imag(w)))


@rule
def complex_mul(b: Builder, z: Value, w: Value) -> Value:
    """Z · w by the plain formula, like NumPy's."""
    (x, y), (u, v) = parts(b, z), parts(b, w)
    re = b.sub(b.mul(x, u), b.mul(y, v))
    return b.complex(re, b.add(b.mul(x, v), b.mul(y, u)))


@rule
def complex_div(b: Builder, z: Value, w: Value) -> Value:
    """Z / w. Source: Smith, "Algorithm 116: Complex division", 1962, as in NumPy."""
    (x, y), (u, v) = parts(b, z), parts(b, w)
    swap = b.lt(b.abs(u), b.abs(v))
    large, small = b.select(swap, v, u), b.select(swap, u, v)
    ratio = b.div(small, large)
    scale = b.div(b.const(1.0, u.dtype), b.add(large, b.mul(small, ratio)))
    first, second = b.select(swap, y, x), b.select(swap, x, y)
    re = b.mul(b.add(first, b.mul(second, ratio)), scale)
    im = b.sub(b.select(swap, b.mul(y, ratio), y), b.select(swap, x, b.mul(x, ratio)))
    im = b.mul(im, scale)
    zero = b.and_(b.eq(u, 0.0), b.eq(v, 0.0))
    re = b.select(zero, b.mul(x, INFINITY), re)
    return b.complex(re, b.select(zero, b.mul(y, INFINITY), im))


def reciprocal(b: Builder, z: Value) -> Value:
    """1 / z."""
    return complex_div(b, b.const(1.0, z.dtype), z)


@rule
def complex_sqrt(b: Builder, z: Value) -> Value:
    """The square root with real part ≥ 0. Scaled where |z| would over- or underflow."""
    x, y = parts(b, z)
    top = 2.0**1020 if is_double(x) else 2.0**124
    bottom = 2.0**-960 if is_double(x) else 2.0**-96
    size = b.select(b.gt(b.abs(x), b.abs(y)), b.abs(x), b.abs(y))
    one = b.const(1.0, x.dtype)
    down, up = b.gt(size, top), b.lt(size, bottom)
    factor = b.select(down, b.const(2.0**-4, x.dtype), b.select(up, two_to_the(b, x, 60), one))
    back = b.select(down, b.const(4.0, x.dtype), b.select(up, two_to_the(b, x, -30), one))
    u, v = b.mul(x, factor), b.mul(y, factor)
    root = b.sqrt(b.mul(b.add(b.abs(u), b.hypot(u, v)), 0.5))
    other = b.mul(b.div(b.mul(v, 0.5), root), back)
    root = b.mul(root, back)
    left = b.lt(x, 0.0)
    re = b.select(left, b.abs(other), root)
    im = b.select(left, b.copysign(root, y), other)
    zero = b.and_(b.eq(x, 0.0), b.eq(y, 0.0))
    im = b.select(zero, y, im)
    # Infinite parts: C99, G.6.4.2.
    nothing = b.sub(y, y)
    flat = is_infinite(b, x)
    re = b.select(flat, b.select(left, b.abs(nothing), x), re)
    im = b.select(flat, b.select(left, like_infinity(b, y), b.copysign(nothing, y)), im)
    steep = is_infinite(b, y)
    return b.complex(b.select(steep, b.abs(y), re), b.select(steep, y, im))


def two_to_the(b: Builder, x: Value, exponent: int) -> Value:
    """2^exponent, of the type of x."""
    return b.const(2.0**exponent, x.dtype)


def like_infinity(b: Builder, y: Value) -> Value:
    """Infinity with the sign of y."""
    return with_sign_of(b, INFINITY, y)


def from_polar(b: Builder, x: Value, length: Value, angle: Value, more: Value) -> Value:
    """(length · more) (cos angle + i sin angle), where length · more may overflow.

    The length is an exponential of x. The special cases are C99's, G.6.3.1.
    """
    cos, sin = b.cos(angle), b.sin(angle)
    re, im = b.mul(b.mul(length, cos), more), b.mul(b.mul(length, sin), more)
    im = b.select(b.eq(angle, 0.0), angle, im)
    lost = b.isnan(cos)
    re = b.select(b.and_(lost, b.eq(x, INFINITY)), x, re)
    gone = b.and_(lost, b.eq(x, -INFINITY))
    return b.complex(b.select(gone, length, re), b.select(gone, length, im))


@rule
def complex_exp(b: Builder, z: Value) -> Value:
    """e^z. For large real parts the modulus has two factors, since cos and sin may bring the
    result into range.
    """
    x, y = parts(b, z)
    limit = 704.0 if is_double(x) else 80.0
    large = b.and_(b.gt(x, limit), b.lt(x, INFINITY))
    one = b.const(1.0, x.dtype)
    more = b.select(large, b.const(math.exp(limit), x.dtype), one)
    return from_polar(b, x, b.exp(b.select(large, b.sub(x, limit), x)), y, more)


@rule
@widened
def complex_exp2(b: Builder, z: Value) -> Value:
    """2^z."""
    x, y = parts(b, z)
    large = b.and_(b.gt(x, 1000.0), b.lt(x, INFINITY))
    more = b.select(large, b.const(2.0**1000, x.dtype), b.const(1.0, x.dtype))
    return from_polar(b, x, b.exp2(b.select(large, b.sub(x, 1000.0), x)), b.mul(y, LN2), more)


@rule
@widened
def complex_expm1(b: Builder, z: Value) -> Value:
    """e^z − 1, as NumPy has it: the real part is expm1 x cos y − 2 sin² y/2."""
    x, y = parts(b, z)
    half = b.sin(b.mul(y, 0.5))
    re = b.sub(b.mul(b.expm1(x), b.cos(y)), b.mul(b.mul(half, half), 2.0))
    im = b.mul(b.exp(x), b.sin(y))
    return b.complex(re, b.select(b.eq(y, 0.0), y, im))


@rule
def complex_log(b: Builder, z: Value) -> Value:
    """Ln |z| + i arg z."""
    x, y = parts(b, z)
    return b.complex(b.log_hypot(x, y), b.atan2(y, x))


def log_over(b: Builder, z: Value, base: float) -> Value:
    """Ln z / ln base."""
    x, y = parts(b, complex_log(b, z))
    factor = 1 / math.log(base)
    return b.complex(b.mul(x, factor), b.mul(y, factor))


@rule
@widened
def complex_log2(b: Builder, z: Value) -> Value:
    """The logarithm to base 2."""
    return log_over(b, z, 2.0)


@rule
@widened
def complex_log10(b: Builder, z: Value) -> Value:
    """The logarithm to base 10."""
    return log_over(b, z, 10.0)


@rule
def complex_log1p(b: Builder, z: Value) -> Value:
    """ln(1 + z)."""
    x, y = parts(b, z)
    return b.complex(b.log1p_hypot(x, y), b.atan2(y, b.add(x, 1.0)))


@rule
@widened
def complex_sigmoid(b: Builder, z: Value) -> Value:
    """1 / (1 + e^−z), from the exponential that is at most 1."""
    left = b.lt(b.real(z), 0.0)
    e = complex_exp(b, b.select(left, z, b.neg(z)))
    one = b.const(1.0, z.dtype)
    return complex_div(b, b.select(left, e, one), complex_add(b, e, one))


@rule
@widened
def complex_pow(b: Builder, z: Value, w: Value) -> Value:
    """z^w: by squaring for real integers w with |w| < 100, as NumPy; else e^(w ln z).

    z^0 is 1. 0^w is 0 where w has a positive real part, else NaN.
    """
    one = b.const(1.0, z.dtype)
    u, v = parts(b, w)
    general = complex_exp(b, complex_mul(b, w, complex_log(b, z)))
    count = b.abs(u)
    result, square, rest = one, z, count
    for _ in range(7):
        half = b.floor(b.mul(rest, 0.5))
        odd = b.ne(b.add(half, half), rest)
        result = b.select(odd, complex_mul(b, result, square), result)
        square, rest = complex_mul(b, square, square), half
    squared = complex_mul(b, z, z)
    for exponent, power in ((1.0, z), (2.0, squared), (3.0, complex_mul(b, squared, z))):
        result = b.select(b.eq(u, exponent), power, result)  # 1 · z isn't z where z is infinite
    result = b.select(b.lt(u, 0.0), reciprocal(b, result), result)
    whole = b.and_(b.eq(v, 0.0), b.eq(b.floor(u), u))
    result = b.select(b.and_(whole, b.lt(count, 100.0)), result, general)
    nan = b.const(complex(math.nan, math.nan), z.dtype)
    nothing = b.select(b.gt(u, 0.0), b.const(0.0, z.dtype), nan)
    result = b.select(b.eq(z, b.const(0.0, z.dtype)), nothing, result)
    return b.select(b.eq(w, b.const(0.0, w.dtype)), one, result)


def reduce_range(b: Builder, x: Value) -> tuple[Value, Value]:
    """(x', m) with sinh x = m sinh x' and cosh likewise, x' in range. m is 1 for ordinary x."""
    limit, shift = (700.0, 640.0) if is_double(x) else (80.0, 60.0)
    large = b.and_(b.gt(b.abs(x), limit), b.lt(b.abs(x), INFINITY))
    inside = b.select(large, b.sub(x, with_sign_of(b, shift, x)), x)
    factor = b.const(math.exp(shift), x.dtype)
    return inside, b.select(large, factor, b.const(1.0, x.dtype))


@rule
def complex_sinh(b: Builder, z: Value) -> Value:
    """Sinh x cos y + i cosh x sin y; its special cases are C99's, G.6.2.5."""
    x, y = parts(b, z)
    inside, more = reduce_range(b, x)
    cos, sin = b.cos(y), b.sin(y)
    re = b.mul(b.mul(b.sinh(inside), cos), more)
    im = b.mul(b.mul(b.cosh(inside), sin), more)
    lost = b.isnan(cos)
    re = b.select(b.and_(lost, b.eq(x, 0.0)), x, re)
    re = b.select(b.and_(lost, is_infinite(b, x)), x, re)
    return b.complex(re, b.select(b.eq(y, 0.0), y, im))


@rule
def complex_cosh(b: Builder, z: Value) -> Value:
    """Cosh x cos y + i sinh x sin y; its special cases are C99's, G.6.2.4."""
    x, y = parts(b, z)
    inside, more = reduce_range(b, x)
    cos, sin = b.cos(y), b.sin(y)
    re = b.mul(b.mul(b.cosh(inside), cos), more)
    im = b.mul(b.mul(b.sinh(inside), sin), more)
    lost = b.isnan(cos)
    re = b.select(b.and_(lost, is_infinite(b, x)), b.abs(x), re)
    flat = b.or_(b.eq(y, 0.0), b.and_(lost, b.eq(x, 0.0)))
    none = b.mul(with_sign_of(b, 1.0, x), with_sign_of(b, 0.0, y))
    return b.complex(re, b.select(flat, none, im))


@rule
@widened
def complex_tanh(b: Builder, z: Value) -> Value:
    """The hyperbolic tangent."""
    x, y = parts(b, z)
    far = b.gt(b.abs(x), 22.0)
    tangent = b.tan(y)
    beta = b.fma(tangent, tangent, 1.0)
    s = b.sinh(b.select(far, with_sign_of(b, 1.0, x), x))
    square = b.mul(s, s)
    bottom = b.select(far, beta, b.fma(beta, square, 1.0))
    re = b.div(b.mul(b.mul(beta, b.sqrt(b.add(square, 1.0))), s), bottom)
    re = b.select(far, with_sign_of(b, 1.0, x), re)
    decay = b.exp(b.neg(b.abs(x)))
    im = b.div(tangent, bottom)
    im = b.select(far, b.mul(b.mul(b.mul(im, 4.0), decay), decay), im)
    direction = b.select(b.isnan(tangent), y, tangent)
    im = b.select(is_infinite(b, x), with_sign_of(b, 0.0, direction), im)
    lost = b.and_(b.isnan(tangent), b.lt(b.abs(x), INFINITY))
    re = b.select(lost, b.select(b.eq(x, 0.0), x, tangent), re)
    return b.complex(re, b.select(b.eq(y, 0.0), y, im))


@rule
def complex_sin(b: Builder, z: Value) -> Value:
    """Sin z = −i sinh(i z)."""
    return swap_parts(b, complex_sinh(b, swap_parts(b, z)))


@rule
def complex_cos(b: Builder, z: Value) -> Value:
    """Cos z = cosh(i z)."""
    return complex_cosh(b, b.complex(b.neg(b.imag(z)), b.real(z)))


@rule
def complex_tan(b: Builder, z: Value) -> Value:
    """Tan z = −i tanh(i z)."""
    return swap_parts(b, complex_tanh(b, swap_parts(b, z)))


def roots(b: Builder, z: Value) -> tuple[Value, Value, Value, Value, Value]:
    """√(1 − z) and √(1 + z) by parts, and a term to add to an asinh: huge z are scaled."""
    x, y = parts(b, z)
    size = b.select(b.gt(b.abs(x), b.abs(y)), b.abs(x), b.abs(y))
    huge = b.gt(size, 2.0**1000)
    factor = b.select(huge, b.const(2.0**-8, x.dtype), b.const(1.0, x.dtype))
    x, y = b.mul(x, factor), b.mul(y, factor)
    minus = complex_sqrt(b, b.complex(b.sub(b.const(1.0, x.dtype), x), b.neg(y)))
    plus = complex_sqrt(b, b.complex(b.add(x, 1.0), y))
    extra = b.select(huge, b.const(8 * LN2, x.dtype), b.const(0.0, x.dtype))
    return *parts(b, minus), *parts(b, plus), extra


def direction_at_infinity(b: Builder, z: Value) -> tuple[Value, Value, Value]:
    """The parts of z / |z| for infinite z, up to a factor; and whether z is infinite."""
    x, y = parts(b, z)
    wide, high = is_infinite(b, x), is_infinite(b, y)
    u = b.select(wide, with_sign_of(b, 1.0, x), b.mul(x, 0.0))
    v = b.select(high, with_sign_of(b, 1.0, y), b.mul(y, 0.0))
    return u, v, b.or_(wide, high)


@rule
@widened
def complex_asin(b: Builder, z: Value) -> Value:
    """The inverse sine."""
    x, y = parts(b, z)
    a, c, d, e, extra = roots(b, z)
    re = b.atan2(x, b.sub(b.mul(a, d), b.mul(c, e)))
    im = b.asinh(b.sub(b.mul(a, e), b.mul(c, d)))
    im = b.add(im, b.copysign(extra, y))
    u, v, endless = direction_at_infinity(b, z)
    re = b.select(endless, b.atan2(u, b.abs(v)), re)
    re = b.select(b.and_(b.eq(x, 0.0), b.isnan(y)), x, re)
    im = b.select(endless, with_sign_of(b, INFINITY, y), im)
    return b.complex(re, b.select(b.eq(y, 0.0), b.copysign(im, y), im))


@rule
@widened
def complex_acos(b: Builder, z: Value) -> Value:
    """The inverse cosine."""
    x, y = parts(b, z)
    a, c, d, e, extra = roots(b, z)
    re = b.mul(b.atan2(a, d), 2.0)
    im = b.asinh(b.sub(b.mul(c, d), b.mul(e, a)))
    im = b.sub(im, b.copysign(extra, y))
    u, v, endless = direction_at_infinity(b, z)
    re = b.select(endless, b.atan2(b.abs(v), u), re)
    re = b.select(b.and_(b.eq(x, 0.0), b.isnan(y)), b.const(math.pi / 2, x.dtype), re)
    im = b.select(endless, b.neg(with_sign_of(b, INFINITY, y)), im)
    return b.complex(re, b.select(b.eq(y, 0.0), b.copysign(im, b.neg(y)), im))


@rule
@widened
def complex_asinh(b: Builder, z: Value) -> Value:
    """Asinh z = −i asin(i z)."""
    return swap_parts(b, complex_asin(b, swap_parts(b, z)))


@rule
@widened
def complex_acosh(b: Builder, z: Value) -> Value:
    """The inverse hyperbolic cosine: acos z rotated into the right half plane."""
    re, im = parts(b, complex_acos(b, z))
    return b.complex(b.abs(im), b.copysign(re, b.imag(z)))


@rule
@widened
def complex_atanh(b: Builder, z: Value) -> Value:
    """The inverse hyperbolic tangent."""
    x, y = parts(b, z)
    a, c = b.abs(x), b.abs(y)
    one = b.const(1.0, x.dtype)
    rest = b.sub(one, a)
    square = b.mul(c, c)
    ratio = b.div(b.mul(a, 4.0), b.fma(rest, rest, square))
    re = b.mul(b.log1p(ratio), 0.25)
    im = b.mul(b.atan2(b.add(y, y), b.sub(b.mul(rest, b.add(a, 1.0)), square)), 0.5)
    # Near the pole c² underflows. For large z the quotient underflows; atanh z ≈ 1/z ± i π/2.
    pole = b.and_(b.eq(a, 1.0), b.lt(c, 2.0**-60))
    re = b.select(pole, b.mul(b.sub(b.const(LN2, x.dtype), b.log(c)), 0.5), re)
    size = b.hypot(x, y)
    far = b.gt(size, 2.0**60)
    re = b.select(far, b.div(b.div(a, size), size), re)
    im = b.select(far, b.add(with_sign_of(b, math.pi / 2, y), b.mul(y, 0.0)), im)
    endless = b.eq(size, INFINITY)
    re = b.select(b.or_(endless, b.eq(a, 0.0)), b.const(0.0, x.dtype), re)
    turned = b.select(b.isnan(y), y, with_sign_of(b, math.pi / 2, y))
    return b.complex(b.copysign(re, x), b.select(endless, turned, im))


@rule
@widened
def complex_atan(b: Builder, z: Value) -> Value:
    """Atan z = −i atanh(i z)."""
    return swap_parts(b, complex_atanh(b, swap_parts(b, z)))
