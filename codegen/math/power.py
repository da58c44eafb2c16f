"""Powers and roots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphjit.core.types import float32, float64, int32

from .double_word import (
    DOUBLE,
    SINGLE,
    bits_of,
    clamp,
    format_of,
    log2_long,
    nearest,
    polynomial,
    scale,
    split_exponent,
    to_float,
    two_product,
)
from .exponential import EXP2
from .registry import rule

if TYPE_CHECKING:
    from graphjit.codegen.builder import Builder
    from graphjit.codegen.values import Value

# log2(1 + f) / f on [√½ − 1, √2 − 1], for float32 computed in float64: 2^-35.8.
LOG2_SHORT = (
    *(1.442695040868708, -0.7213475208679613, 0.48089836139448866, -0.3606736749821842),
    *(0.2885372936205703, -0.24045315677885326, 0.20617535013620075, -0.18030081136988044),
    *(0.15877006984625502, -0.1431542315860673, 0.14474501674893267, -0.14284806731338384),
    0.07738612338337407,
)


@rule
def rsqrt(b: Builder, x: Value) -> Value:
    """1 / √x."""
    return b.div(b.const(1.0, x.dtype), b.sqrt(x))


@rule
def cbrt(b: Builder, x: Value) -> Value:
    """The cube root, of either sign.

    The bits divided by −3 start an iteration of higher order, without division, for y =
    x^(−1/3). One corrected step for x y² follows. Source of the start: Moroz et al., "Fast
    calculation of cube root and inverse cube root using a magic constant", 2021.
    """
    fmt = format_of(x)
    magnitude = b.abs(x)
    small = b.lt(magnitude, fmt.smallest)
    up = 54 if fmt is DOUBLE else 24
    a = b.select(small, b.mul(magnitude, 2.0**up), magnitude)
    bits = b.bitcast(a, b.integer_of(x.dtype))
    if fmt is DOUBLE:
        third = b.shl(b.shr(b.mul(b.shr(bits, 32), 0x55555556), 32), 32)
        start = b.sub(b.const(0x553EF0FF289DD796, bits.dtype), third)
    else:
        third = b.shl(b.shr(b.mul(b.shr(bits, 14), 21846), 16), 14)
        start = b.sub(b.const(0x54A21D2A, bits.dtype), third)
    y = b.bitcast(start, x.dtype)
    for terms in ((1 / 3, 2 / 9, 14 / 81), (1 / 3, 2 / 9))[: 2 if fmt is DOUBLE else 1]:
        e = b.fma(b.neg(b.mul(a, y)), b.mul(y, y), 1.0)
        y = b.fma(b.mul(y, e), polynomial(b, e, terms), y)
    square = b.mul(y, y)
    root = b.mul(a, square)
    high, low = two_product(b, root, root)
    rest = b.fma(b.neg(root), low, b.fma(b.neg(root), high, a))
    root = b.fma(b.mul(rest, square), 1 / 3, root)
    root = b.select(small, b.mul(root, 2.0 ** (-up // 3)), root)
    plain = b.and_(b.gt(magnitude, 0.0), b.lt(magnitude, float("inf")))
    return b.select(plain, b.copysign(root, x), x)


@rule
def hypot(b: Builder, x: Value, y: Value) -> Value:
    """√(x² + y²) without intermediate overflow or underflow."""
    infinite = b.or_(b.eq(b.abs(x), float("inf")), b.eq(b.abs(y), float("inf")))
    if format_of(x) is SINGLE:
        long = b.cast(x, float64), b.cast(y, float64)
        square = b.fma(long[0], long[0], b.mul(long[1], long[1]))
        root = b.cast(b.sqrt(square), x.dtype)
    else:
        small, large, down, up = by_exponent(b, x, y)
        small, large = b.mul(small, down), b.mul(large, down)
        root = b.mul(b.sqrt(b.fma(large, large, b.mul(small, small))), up)
    return b.select(infinite, b.const(float("inf"), x.dtype), root)


def by_exponent(b: Builder, x: Value, y: Value) -> tuple[Value, Value, Value, Value]:
    """(smaller, larger, 2^−e, 2^e): |x| and |y| in order, and scales that bring both near 1."""
    fmt = format_of(x)
    x, y = b.abs(x), b.abs(y)
    swap = b.gt(x, y)
    small, large = b.select(swap, y, x), b.select(swap, x, y)
    field = b.and_(bits_of(b, large), fmt.infinity_bits)
    least, most = 1 << fmt.fraction, (2 * fmt.bias - 1) << fmt.fraction
    field = b.select(b.lt(field, least), b.const(least, field.dtype), field)
    field = b.select(b.gt(field, most), b.const(most, field.dtype), field)
    inverse = b.sub(b.const(2 * fmt.bias << fmt.fraction, field.dtype), field)
    return small, large, b.bitcast(inverse, x.dtype), b.bitcast(field, x.dtype)


@rule
def pow(b: Builder, x: Value, y: Value) -> Value:
    """x^y with all special cases of C99 (annex F.9.4.4)."""
    magnitude = b.abs(x)
    power = pow_single if format_of(x) is SINGLE else pow_double
    result = power(b, magnitude, y)
    # Ordinary: x positive and finite, y finite.
    ordinary = b.and_(b.gt(x, 0.0), b.lt(x, float("inf")))
    ordinary = b.and_(ordinary, b.lt(b.abs(y), float("inf")))
    return b.if_any(b.not_(ordinary), lambda: pow_ends(b, x, y, result), result)


def pow_single(b: Builder, magnitude: Value, y: Value) -> Value:
    """|x|^y of float32: the logarithm in float64, its exponential in float32."""
    m, k = split_exponent(b, b.cast(magnitude, float64))
    f = b.sub(m, 1.0)
    logarithm = b.fma(f, polynomial(b, f, LOG2_SHORT), to_float(b, k, DOUBLE))
    exponent = clamp(b, b.mul(logarithm, b.cast(y, float64)), -200.0, 200.0)
    whole, n = nearest(b, exponent, 1.0, 2 * SINGLE.bias)
    r = b.cast(b.sub(exponent, whole), float32)
    n = b.add(b.cast(n, int32), SINGLE.shifter_bits)
    return scale(b, b.fma(r, polynomial(b, r, EXP2["float32"]), 1.0), n)


def pow_double(b: Builder, magnitude: Value, y: Value) -> Value:
    """|x|^y of float64."""
    logarithm = log2_long(b, magnitude)
    product = b.mul(logarithm.high, y)
    low = b.fma(logarithm.low, y, b.fma(logarithm.high, y, b.neg(product)))
    exponent = clamp(b, product, -1100.0, 1100.0)
    low = b.select(b.eq(product, exponent), low, b.const(0.0, y.dtype))
    whole, n = nearest(b, exponent, 1.0, 2 * DOUBLE.bias)
    r = b.add(b.sub(exponent, whole), low)
    return scale(b, b.fma(r, polynomial(b, r, EXP2["float64"]), 1.0), n)


def pow_ends(b: Builder, x: Value, y: Value, power: Value) -> Value:
    """x^y from |x|^y: the sign, and the values at 0, 1, infinity and NaN."""
    infinity = b.const(float("inf"), x.dtype)
    nothing = b.const(0.0, x.dtype)
    magnitude = b.abs(x)
    rising = b.eq(b.gt(y, 0.0), b.gt(magnitude, 1.0))
    extreme = b.or_(b.eq(magnitude, 0.0), b.eq(magnitude, float("inf")))
    extreme = b.or_(extreme, b.eq(b.abs(y), float("inf")))
    power = b.select(extreme, b.select(rising, infinity, nothing), power)
    integer = b.eq(b.trunc(y), y)
    half = b.mul(y, 0.5)
    odd = b.and_(integer, b.ne(b.trunc(half), half))
    negative = b.lt(bits_of(b, x), 0)
    power = b.select(b.and_(negative, odd), b.neg(power), power)
    invalid = b.and_(b.lt(x, 0.0), b.not_(integer))
    invalid = b.and_(invalid, b.lt(magnitude, float("inf")))
    invalid = b.or_(invalid, b.or_(b.isnan(x), b.isnan(y)))
    power = b.select(invalid, b.const(float("nan"), x.dtype), power)
    one = b.or_(b.eq(x, 1.0), b.eq(y, 0.0))
    one = b.or_(one, b.and_(b.eq(x, -1.0), b.eq(b.abs(y), float("inf"))))
    return b.select(one, b.const(1.0, x.dtype), power)
