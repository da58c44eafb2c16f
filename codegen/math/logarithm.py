"""Logarithms, also of sums and moduli, and the inverse hyperbolic functions made from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .double_word import (
    SINGLE,
    Pair,
    bits_of,
    fast_two_sum,
    format_of,
    keep_tiny,
    log_split,
    polynomial,
    power_of_two,
    quotient,
    split_exponent,
    square_root,
    to_float,
    two_product,
    two_sum,
)
from .exponential import LN2, exp
from .power import by_exponent
from .registry import rule

if TYPE_CHECKING:
    from graphjit.codegen.builder import Builder
    from graphjit.codegen.values import Value

# ln(1 + f) = f − f²/2 + f³ Q(f) on [√½ − 1, √2 − 1]: 2^-27.3.
LOG_SINGLE = (
    *(0.3333333, -0.25000823, 0.20001262, -0.16623324),
    *(0.14200844, -0.13159588, 0.1276851, -0.076453805),
)
# ln((1 + s) / (1 − s)) = 2 s + s³ P(s²) on [0, 0.1717]: 2^-59.5.
LOG_DOUBLE = (
    *(0.6666666666666735, 0.3999999999940935, 0.2857142874368661, 0.2222219842895495),
    *(0.1818357235665554, 0.1531383210625247, 0.14798259527278368),
)
# (log(1 + f) − f log e) / f² to bases 2 and 10 on [√½ − 1, √2 − 1], for float32: 2^-26.9.
LOG2_SINGLE = (
    *(-0.72134733, 0.48089778, -0.360699, 0.28860173, -0.23957957),
    *(0.20386696, -0.19064918, 0.19094476, -0.11698572),
)
LOG10_SINGLE = (
    *(-0.21714719, 0.1447647, -0.10858096, 0.08687349, -0.07212424),
    *(0.06145963, -0.05745114, 0.056912806, -0.034359917),
)
# 1 / ln 2 and 1 / ln 10 as double words; log10 2, whose first part ends in zeros.
LOG2_E_PAIR = {
    "float64": (1.4426950408889634, 2.0355273740931033e-17),
    "float32": (1.4426950216293335, 1.925963033500011e-08),
}
LOG10_E_PAIR = {
    "float64": (0.4342944819032518, 1.098319650216765e-17),
    "float32": (0.4342944920063019, -1.0103049952192578e-08),
}
LOG10_2 = {  # FDLIBM e_log10.c, e_log10f.c
    "float64": (3.01029995663611771306e-01, 3.69423907715893078616e-13),
    "float32": (3.0102920532e-01, 7.9034151668e-07),
}


@rule
def softplus(b: Builder, x: Value) -> Value:
    """ln(1 + e^x) = max(x, 0) + ln(1 + e^−|x|)."""
    e = exp(b, b.neg(b.abs(x)))
    rest = log_of_sum(b, fast_two_sum(b, b.const(1.0, x.dtype), e))
    return b.add(b.maximum(x, b.const(0.0, x.dtype)), rest)


def logarithm(b: Builder, x: Value, core: Callable[[Value, Value], Value]) -> Value:
    """core(m − 1, k) for x = m · 2^k, a logarithm.

    A branch goes around operands that aren't normal or positive.
    """
    fmt = format_of(x)
    m, k = split_exponent(b, x)
    usual = core(b.sub(m, 1.0), to_float(b, k, fmt))
    least = int(np.array(fmt.smallest, fmt.dtype.dtype).view(f"i{fmt.dtype.size}"))
    distance = b.sub(b.bitcast(x, b.integer_of(x.dtype)), least)
    special = b.ge(distance, fmt.infinity_bits - least)
    return b.if_any(special, lambda: log_ends(b, x, core(*log_split(b, x))), usual)


def log_parts(b: Builder, f: Value) -> tuple[Value, Value]:
    """(h, t) with ln(1 + f) = f − h + t, h = f²/2, of a float64. Source: FDLIBM e_log.c."""
    half_square = b.mul(b.mul(f, 0.5), f)
    s = b.div(f, b.add(f, 2.0))
    z = b.mul(s, s)
    return half_square, b.mul(s, b.fma(z, polynomial(b, z, LOG_DOUBLE), half_square))


def log_sum(b: Builder, f: Value, k: Value) -> Value:
    """K ln 2 + ln(1 + f)."""
    high, low = LN2[f.dtype.name]
    if format_of(f) is SINGLE:
        series = polynomial(b, f, (-0.5, *LOG_SINGLE))
        return b.fma(k, high + low, b.fma(b.mul(f, f), series, f))
    half_square, rest = log_parts(b, f)
    rest = b.fma(k, low, rest)
    return b.fma(k, high, b.sub(f, b.sub(half_square, rest)))


def log_ends(b: Builder, x: Value, y: Value) -> Value:
    """The logarithm y of x, corrected where x is 0, negative, infinite or NaN."""
    y = b.select(b.lt(x, float("inf")), y, x)
    y = b.select(b.lt(x, 0.0), b.const(float("nan"), x.dtype), y)
    return b.select(b.eq(x, 0.0), b.const(float("-inf"), x.dtype), y)


@rule
def log(b: Builder, x: Value) -> Value:
    """The natural logarithm."""
    return logarithm(b, x, lambda f, k: log_sum(b, f, k))


def log_short(
    b: Builder, f: Value, factor: tuple[float, float], series: tuple[float, ...]
) -> Value:
    """ln(1 + f) · factor of a float32, by a series for the product."""
    rest = b.fma(b.mul(f, f), polynomial(b, f, series), b.mul(f, factor[1]))
    return b.fma(f, factor[0], rest)


def log_times(b: Builder, f: Value, factor: tuple[float, float]) -> Pair:
    """ln(1 + f) · factor as a double word."""
    half_square, rest = log_parts(b, f)
    high, low = fast_two_sum(b, f, b.neg(half_square))
    low = b.add(low, rest)
    product, error = two_product(b, high, b.const(factor[0], f.dtype))
    error = b.fma(high, factor[1], error)
    return Pair(product, b.fma(low, factor[0], error))


@rule
def log2(b: Builder, x: Value) -> Value:
    """The logarithm to base 2, exact for powers of 2."""
    return logarithm(b, x, lambda f, k: log2_sum(b, f, k))


def log2_sum(b: Builder, f: Value, k: Value) -> Value:
    """K + log2(1 + f)."""
    factor = LOG2_E_PAIR[f.dtype.name]
    if format_of(f) is SINGLE:
        return b.add(k, log_short(b, f, factor, LOG2_SINGLE))
    product = log_times(b, f, factor)
    total = fast_two_sum(b, k, product.high)
    return b.add(total.high, b.add(total.low, product.low))


@rule
def log10(b: Builder, x: Value) -> Value:
    """The logarithm to base 10."""
    return logarithm(b, x, lambda f, k: log10_sum(b, f, k))


def log10_sum(b: Builder, f: Value, k: Value) -> Value:
    """K log10 2 + log10(1 + f)."""
    high, low = LOG10_2[f.dtype.name]
    factor = LOG10_E_PAIR[f.dtype.name]
    if format_of(f) is SINGLE:
        product = log_short(b, f, factor, LOG10_SINGLE)
        return b.fma(k, high, b.fma(k, low, product))
    double = log_times(b, f, factor)
    total = fast_two_sum(b, b.mul(k, high), double.high)
    rest = b.fma(k, low, b.add(total.low, double.low))
    return b.add(total.high, rest)


def log_of_sum(b: Builder, x: Pair, exponent: Value | None = None) -> Value:
    """ln(high + low) of a positive normal double word, at full precision near 1, too.

    exponent: an integer to add to the binary exponent
    """
    fmt = format_of(x.high)
    m, k = split_exponent(b, x.high)
    low = b.mul(x.low, power_of_two(b, b.neg(k), fmt))
    # 2^−k is wrong for the largest k, for which the low part doesn't matter.
    low = b.select(b.lt(x.high, 2.0**100), low, b.const(0.0, fmt.dtype))
    if exponent is not None:
        k = b.add(k, exponent)
    return log_sum(b, b.add(b.sub(m, 1.0), low), to_float(b, k, fmt))


@rule
def log1p(b: Builder, x: Value) -> Value:
    """ln(1 + x)."""
    total = two_sum(b, b.const(1.0, x.dtype), x)
    y = log_ends(b, total.high, log_of_sum(b, total))
    return keep_tiny(b, x, y, 1)


@rule
def log_hypot(b: Builder, x: Value, y: Value) -> Value:
    """Ln √(x² + y²), at full precision near 1, too: the real part of a complex logarithm."""
    return log_modulus(b, Pair(x, b.const(0.0, x.dtype)), y)


@rule
def log1p_hypot(b: Builder, x: Value, y: Value) -> Value:
    """Ln √((1 + x)² + y²)."""
    total = two_sum(b, b.const(1.0, x.dtype), x)
    # The low part of an infinite x is NaN; it doesn't matter.
    low = b.select(b.lt(b.abs(x), 2.0**100), total.low, b.const(0.0, x.dtype))
    return log_modulus(b, Pair(total.high, low), y)


def log_modulus(b: Builder, x: Pair, y: Value) -> Value:
    """Ln √(x² + y²) of a double word x and a number y, scaled, with exact squares."""
    fmt = format_of(y)
    _, large, down, up = by_exponent(b, x.high, y)
    u, v = b.mul(x.high, down), b.mul(y, down)
    low = b.mul(b.mul(x.low, down), b.add(u, u))
    one, two = two_product(b, u, u), two_product(b, v, v)
    total = two_sum(b, one.high, two.high)
    low = b.add(total.low, b.add(low, b.add(one.low, two.low)))
    exponent = b.sub(b.shr(bits_of(b, up), fmt.fraction), fmt.bias)
    total = fast_two_sum(b, total.high, low)
    y_log = b.mul(log_of_sum(b, total, b.add(exponent, exponent)), 0.5)
    y_log = b.select(b.eq(large, 0.0), b.const(float("-inf"), fmt.dtype), y_log)
    y_log = b.select(b.or_(b.isnan(x.high), b.isnan(y)), b.add(x.high, y), y_log)
    endless = b.or_(b.eq(b.abs(x.high), float("inf")), b.eq(b.abs(y), float("inf")))
    return b.select(endless, b.const(float("inf"), fmt.dtype), y_log)


@rule
def asinh(b: Builder, x: Value) -> Value:
    """ln(|x| + √(x² + 1)) in double words. For large |x|, ln(2 |x|)."""
    a = b.abs(x)
    large = b.gt(a, 2.0**30)
    inside = b.select(large, b.const(1.0, x.dtype), a)
    square = two_product(b, inside, inside)
    total = two_sum(b, square.high, b.const(1.0, x.dtype))
    root = square_root(b, Pair(total.high, b.add(total.low, square.low)))
    total = two_sum(b, root.high, inside)
    y = log_of_double(b, a, large, Pair(total.high, b.add(total.low, root.low)))
    y = b.select(b.lt(a, float("inf")), y, a)
    return keep_tiny(b, x, b.copysign(y, x))


def log_of_double(b: Builder, a: Value, large: Value, total: Pair) -> Value:
    """ln(high + low), or ln(2 a) where a is large."""
    high = b.select(large, a, total.high)
    low = b.select(large, b.const(0.0, a.dtype), total.low)
    exponent = b.cast(large, format_of(a).integer)
    return log_of_sum(b, Pair(high, low), exponent)


@rule
def acosh(b: Builder, x: Value) -> Value:
    """ln(x + √(x² − 1)) in double words. For large x, ln(2 x)."""
    large = b.gt(x, 2.0**30)
    inside = b.select(large, b.const(2.0, x.dtype), x)
    square = two_product(b, inside, inside)
    total = two_sum(b, square.high, b.const(-1.0, x.dtype))
    total = fast_two_sum(b, total.high, b.add(total.low, square.low))
    root = square_root(b, total)
    total = two_sum(b, inside, root.high)
    y = log_of_double(b, x, large, Pair(total.high, b.add(total.low, root.low)))
    y = b.select(b.lt(x, float("inf")), y, x)
    return b.select(b.lt(x, 1.0), b.const(float("nan"), x.dtype), y)


@rule
def atanh(b: Builder, x: Value) -> Value:
    """½ ln((1 + |x|) / (1 − |x|)), with the ratio as a double word."""
    a = b.abs(x)
    one = b.const(1.0, x.dtype)
    ratio = quotient(b, fast_two_sum(b, one, a), fast_two_sum(b, one, b.neg(a)))
    y = b.mul(log_of_sum(b, ratio), 0.5)
    y = b.select(b.eq(a, 1.0), b.const(float("inf"), x.dtype), y)
    y = b.select(b.le(a, 1.0), y, b.const(float("nan"), x.dtype))
    return keep_tiny(b, x, b.copysign(y, x))
