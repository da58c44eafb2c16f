"""Exponentials, and the hyperbolic functions made from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .double_word import (
    DOUBLE,
    SINGLE,
    Pair,
    at_most,
    bits_of,
    clamp,
    fast_two_sum,
    format_of,
    keep_tiny,
    nearest,
    polynomial,
    quotient,
    scale,
    signed,
    two_sum,
    with_exponent,
)
from .registry import rule

if TYPE_CHECKING:
    from graphjit.codegen.builder import Builder
    from graphjit.codegen.values import Value

LOG2_E = 1.4426950408889634
# ln 2 in two parts. The first ends in zeros, so that its product with an exponent is exact.
# Sources: FDLIBM e_exp.c for float64, Cephes expf.c for float32.
LN2 = {
    "float64": (6.93147180369123816490e-01, 1.90821492927058770002e-10),
    "float32": (0.693359375, -2.12194440e-4),
}
# (e^r − 1 − r) / r² on ±½ ln 2: 2^-28.1 and 2^-58.9.
EXP = {
    "float32": (0.5, 0.16666636, 0.04166651, 0.008341656, 0.0013930481, 0.00014905525),
    "float64": (
        *(0.5, 0.16666666666666677, 0.04166666666666671, 0.00833333333332029),
        *(0.001388888888884224, 0.0001984126988990615, 2.4801587440794354e-05),
        *(2.7557240081671886e-06, 2.75571492911754e-07, 2.5110570321010413e-08),
        2.0960428735251264e-09,
    ),
}
# (2^r − 1) / r on ±½: 2^-26 and 2^-57.6.
EXP2 = {
    "float32": (0.6931472, 0.2402265, 0.05550328, 0.009618004, 0.0013400298, 0.00015476425),
    "float64": (
        *(0.6931471805599453, 0.24022650695910097, 0.05550410866482266, 0.009618129107604864),
        *(0.0013333558146243936, 0.00015403530445796826, 1.525273395823028e-05),
        *(1.3215440167455656e-06, 1.0178017972839677e-07, 7.073038521320907e-09),
        4.4607906997426943e-10,
    ),
}
# sinh r = r + r³ S(r²) and cosh r = 1 + r² C(r²) on ±½ ln 2: 2^-26.1 and 2^-61.
SINH = {
    "float32": (0.16666542, 0.008366723),
    "float64": (
        *(0.16666666666666677, 0.008333333333321383, 0.00019841269886830947),
        *(2.7557243431395953e-06, 2.510932973613721e-08),
    ),
}
COSH = {
    "float32": (0.5, 0.04166646, 0.0013935445),
    "float64": (
        *(0.5, 0.041666666666666685, 0.0013888888888873283, 2.480158734919931e-05),
        *(2.755725182298633e-07, 2.0921768663394198e-09),
    ),
}


def exp_remainder(b: Builder, x: Value, ahead: int) -> tuple[Value, Value]:
    """(r, n) with x = n ln 2 + r and |r| ≤ ½ ln 2, with n as `nearest` gives it."""
    high, low = LN2[x.dtype.name]
    whole, n = nearest(b, x, LOG2_E, ahead)
    return b.fma(whole, -low, b.fma(whole, -high, x)), n


def expm1_core(b: Builder, r: Value) -> Value:
    """e^r − 1 for |r| ≤ ½ ln 2."""
    return b.fma(b.mul(r, r), polynomial(b, r, EXP[r.dtype.name]), r)


@rule
def exp(b: Builder, x: Value) -> Value:
    """e^x. Clamped operands over- or underflow in `scale`, as they should."""
    fmt = format_of(x)
    low, high = (-746.0, 710.0) if fmt is DOUBLE else (-104.0, 89.0)
    r, n = exp_remainder(b, clamp(b, x, low, high), 2 * fmt.bias)
    return scale(b, b.add(expm1_core(b, r), 1.0), n)


@rule
def exp2(b: Builder, x: Value) -> Value:
    """2^x."""
    fmt = format_of(x)
    low, high = (-1076.0, 1025.0) if fmt is DOUBLE else (-151.0, 129.0)
    x = clamp(b, x, low, high)
    whole, n = nearest(b, x, 1.0, 2 * fmt.bias)
    r = b.sub(x, whole)
    return scale(b, b.fma(r, polynomial(b, r, EXP2[x.dtype.name]), 1.0), n)


@rule
def expm1(b: Builder, x: Value) -> Value:
    """e^x − 1, as 2 (2^(n−1) (e^r − 1) + (2^(n−1) − ½)) so that 2^n never overflows."""
    fmt = format_of(x)
    low, high = (-38.0, 710.0) if fmt is DOUBLE else (-18.0, 89.0)
    r, n = exp_remainder(b, clamp(b, x, low, high), fmt.bias - 1)
    half = with_exponent(b, n, fmt)
    tail = b.mul(b.mul(r, r), polynomial(b, r, EXP[x.dtype.name]))
    y = b.fma(tail, half, b.fma(r, half, b.sub(half, 0.5)))
    return keep_tiny(b, x, b.add(y, y), 1)


@rule
def sigmoid(b: Builder, x: Value) -> Value:
    """1 / (1 + e^−x), or e^x / (1 + e^x) for x < 0, from e^−|x|.

    float64 is computed in double words; for float32 a plain quotient is precise enough.
    """
    fmt = format_of(x)
    low = -746.0 if fmt is DOUBLE else -104.0
    r, n = exp_remainder(b, clamp(b, b.neg(b.abs(x)), low, 0.0), 2 * fmt.bias)
    one, nothing = b.const(1.0, x.dtype), b.const(0.0, x.dtype)
    below = b.lt(x, 0.0)
    p = expm1_core(b, r)
    e = fast_two_sum(b, one, p)
    if fmt is SINGLE:
        # The rounding errors of 1 + p and 1 + e^−|x| change a quotient t by t (1 − t) times
        # them.
        power = scale(b, e.high, n)
        bottom = fast_two_sum(b, one, power)
        t = b.div(b.select(below, power, one), bottom.high)
        lost = b.sub(b.fma(b.neg(e.low), p, e.low), bottom.low)
        return b.fma(lost, b.fma(b.neg(t), t, t), t)
    e = Pair(scale(b, e.high, n), scale(b, e.low, n))
    bottom = fast_two_sum(b, one, e.high)
    top = Pair(b.select(below, e.high, one), b.select(below, e.low, nothing))
    ratio = quotient(b, top, Pair(bottom.high, b.add(bottom.low, e.low)))
    return ratio.high


def hyperbolic_parts(b: Builder, magnitude: Value) -> tuple[Value, Value, Value, Value, Value]:
    """(r, sinh r − r, cosh r − 1, 2^(n−2), 2^(−n−2)) with |x| = n ln 2 + r.

    The difference and the sum of the last two are sinh and cosh of n ln 2, halved so that they
    can't overflow. sinh and cosh of x follow by their addition theorems, without division or
    cancellation.
    """
    fmt = format_of(magnitude)
    high, low = LN2[magnitude.dtype.name]
    whole, n = nearest(b, magnitude, LOG2_E, fmt.bias - 2)
    first = b.fma(whole, -high, magnitude)
    r = b.fma(whole, -low, first)
    lost = b.fma(whole, -low, b.sub(first, r))
    z = b.mul(r, r)
    odd = b.fma(b.mul(r, z), polynomial(b, z, SINH[r.dtype.name]), lost)
    even = b.mul(z, polynomial(b, z, COSH[r.dtype.name]))
    up = with_exponent(b, n, fmt)
    # 2^(−n − 2) as 2^-4 / 2^(n − 2), by exponents; beyond 2^60 it no longer counts.
    inverse = b.const((2 * fmt.bias - 4) << fmt.fraction, fmt.integer)
    inverse = b.bitcast(b.sub(inverse, bits_of(b, up)), fmt.dtype)
    inverse = b.select(b.lt(up, 2.0**60), inverse, b.const(0.0, fmt.dtype))
    return r, odd, even, up, inverse


def hyperbolic_clamp(b: Builder, x: Value) -> Value:
    """|x|, clamped to where sinh and cosh have overflowed."""
    return clamp(b, b.abs(x), 0.0, 710.5 if format_of(x) is DOUBLE else 89.5)


@rule
def sinh(b: Builder, x: Value) -> Value:
    """The hyperbolic sine."""
    r, odd, even, up, down = hyperbolic_parts(b, hyperbolic_clamp(b, x))
    s, c = b.sub(up, down), b.add(up, down)
    rest = b.fma(odd, c, b.mul(even, s))
    y = b.add(b.fma(r, c, s), rest)
    return keep_tiny(b, x, signed(b, b.add(y, y), x))


@rule
def cosh(b: Builder, x: Value) -> Value:
    """The hyperbolic cosine."""
    r, odd, even, up, down = hyperbolic_parts(b, hyperbolic_clamp(b, x))
    s, c = b.sub(up, down), b.add(up, down)
    rest = b.fma(even, c, b.fma(odd, s, down))
    y = b.add(b.fma(r, s, up), rest)
    return b.add(y, y)


@rule
def tanh(b: Builder, x: Value) -> Value:
    """The hyperbolic tangent."""
    if format_of(x) is SINGLE:
        return signed(b, tanh_single(b, at_most(b, b.abs(x), 9.1)), x)
    # (e^2a − 1) / (e^2a + 1), both in double words, one division.
    a = clamp(b, b.abs(x), 0.0, 20.0)
    high, low = LN2[x.dtype.name]
    whole, n = nearest(b, b.add(a, a), LOG2_E, DOUBLE.bias)
    first = b.fma(whole, -high, b.add(a, a))
    r = b.fma(whole, -low, first)
    lost = b.fma(whole, -low, b.sub(first, r))
    tail = b.fma(b.mul(r, r), polynomial(b, r, EXP[x.dtype.name]), lost)
    power = with_exponent(b, n, DOUBLE)
    part = fast_two_sum(b, r, tail)
    top = two_sum(b, b.sub(power, 1.0), b.mul(part.high, power))
    top = Pair(top.high, b.fma(part.low, power, top.low))
    bottom = two_sum(b, b.const(2.0, x.dtype), top.high)
    bottom = Pair(bottom.high, b.add(bottom.low, top.low))
    ratio = quotient(b, top, bottom)
    return keep_tiny(b, x, signed(b, ratio.high, x))


def tanh_single(b: Builder, a: Value) -> Value:
    """Tanh a of a float32 from 0 to 10, as h / (h + 1) with h = (e^2a − 1) / 2.

    With a = n (ln 2) / 2 + r, h is 2^n q + (2^n − 1) / 2 where q = (e^2r − 1) / 2. One part of
    ln 2 is enough: it is precise to 2^-28.
    """
    high, low = LN2["float32"]
    whole, n = nearest(b, a, 2 * LOG2_E, SINGLE.bias)
    r = b.fma(whole, -(high + low) / 2, a)
    doubled = [c * 2.0 ** (i + 1) for i, c in enumerate(EXP["float32"])]
    q = b.fma(b.mul(r, r), polynomial(b, r, doubled), r)
    power = with_exponent(b, n, SINGLE)
    h = b.fma(q, power, b.fma(power, 0.5, -0.5))
    bottom = fast_two_sum(b, b.const(1.0, a.dtype), h)
    t = b.div(h, bottom.high)
    # One step corrects the rounding errors of the division and of 1 + h (the latter is known
    # below 2^24). Its divisor 1 + h is 1 / (1 − t).
    rest = b.fma(b.neg(t), bottom.low, b.fma(b.neg(t), bottom.high, h))
    right = b.fma(rest, b.sub(b.const(1.0, a.dtype), t), t)
    return b.select(b.lt(a, 8.6), right, t)
