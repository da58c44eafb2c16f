"""The error function and its complement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .double_word import (
    DOUBLE,
    SINGLE,
    Pair,
    at_most,
    fast_two_sum,
    format_of,
    nearest,
    polynomial,
    quotient,
    scale,
    two_product,
)
from .exponential import EXP, LN2, LOG2_E
from .registry import rule

if TYPE_CHECKING:
    from graphjit.codegen.builder import Builder
    from graphjit.codegen.values import Value

# erf x = x + x E(x²) on [0, 1.15] and [0, 1.2]: 2^-26.8 and 2^-56.1.
ERF = {
    "float32": (
        *(0.12837917, -0.37612593, 0.11283146, -0.026834877),
        *(0.0051528653, -0.00077091536, 6.9031295e-05),
    ),
    "float64": (
        *(0.1283791670955126, -0.3761263890318406, 0.1128379167096683, -0.02686617064687542),
        *(0.0052239776389303985, -0.0008548327643847923, 0.00012055351275229448),
        *(-1.4926010859475363e-05, 1.6466952596753005e-06, -1.6410005061781357e-07),
        *(1.507419850142688e-08, -1.3286287962743086e-09, 1.1284159429867457e-10),
        -6.8087849827297016e-12,
    ),
}
# erf a = 1 − Q(a)^8 on [1.15, 4] and [1.2, 6]: 2^-27.4 and 2^-57.9.
ERF_BORDER = {"float32": 1.15, "float64": 1.2}
ERF_ROOT = {
    "float32": (
        *(1.0012121, -0.14644359, -0.059353173, -0.01299941),
        *(0.0136288265, -0.0026284982, 0.00016447422),
    ),
    "float64": (
        *(0.9999997596338189, -0.1410452560682578, -0.0696391806004108),
        *(-0.002067163956632097, 0.00655344372062806, 0.00022678155187229811),
        *(-0.0005439228354366075, 0.00010378488240928283, -7.106076364032011e-06),
        *(-2.2436834679407746e-06, 1.8482254679170892e-06, -6.950369753612026e-07),
        *(1.597305191661381e-07, -2.443514578330675e-08, 2.5656225771853715e-09),
        *(-1.8177252566098078e-10, 7.96366300260622e-12, -1.6464101517165888e-13),
    ),
}
# erfc a = t exp(−a²) (c + c' + v Q(v)), t = 1 / (1 + 0.375 a), v = t − centre, on
# [¾, 10.3] and [¾, 27.4]: centre, c, c', Q; 2^-28.5 and 2^-60.9. The form is that of Shepherd
# and Laframboise, "Chebyshev approximation of (1 + 2x) exp(x²) erfc x", 1981.
ERFC: dict[str, tuple[float, float, float, tuple[float, ...]]] = {
    "float32": (
        *(0.4000000059604645, 0.34249866008758545, -1.3086029149178557e-08),
        (
            *(0.49306616, 0.5783811, 0.52373135, 0.3193544, 0.06271457),
            *(-0.095996, -0.08041338, 0.034568135, 0.019971557),
        ),
    ),
    "float64": (
        *(0.4348183572292328, 0.36039015900498717, -1.959704991824438e-17),
        (
            *(0.5353018653843936, 0.6354350222788966, 0.5688818013807316),
            *(0.32838278816797856, 0.04083833792115415, -0.11355796780949107),
            *(-0.0734175145435289, 0.034946454999629145, 0.05257021399262283),
            *(-0.01409793334941476, -0.03737566114335828, 0.010792234404923278),
            *(0.02814342972828193, -0.013350959495935694, -0.0210733898686253),
            *(0.018098134007511327, 0.01343390929172441, -0.022823902823270615),
            *(-0.004697356230160083, 0.024143871998677235, -0.001240649308440009),
            -0.016159567911500822,
        ),
    ),
}


@rule
def erf(b: Builder, x: Value) -> Value:
    """The error function; for larger |x| as 1 − Q(|x|)^8.

    Source of the power: Hastings, "Approximations for digital computers", 1955.
    """
    name = x.dtype.name
    a = at_most(b, b.abs(x), 6.0 if format_of(x) is DOUBLE else 4.0)
    inner = b.fma(a, polynomial(b, b.mul(a, a), ERF[name]), a)
    # The power multiplies errors by 8. With the last step apart only one rounding counts.
    first, *others = ERF_ROOT[name]
    tail = b.fma(a, polynomial(b, a, others), first)
    for _ in range(3):
        tail = b.mul(tail, tail)
    outer = b.sub(b.const(1.0, x.dtype), tail)
    return b.copysign(b.select(b.lt(a, ERF_BORDER[name]), inner, outer), x)


@rule
def erfc(b: Builder, x: Value) -> Value:
    """1 − erf x, at full precision for large x."""
    one, a = b.const(1.0, x.dtype), b.abs(x)
    near = b.fma(b.neg(x), polynomial(b, b.mul(x, x), ERF[x.dtype.name]), b.sub(one, x))
    if format_of(x) is SINGLE:
        far = erfc_single(b, at_most(b, a, 10.3))
    else:
        far = erfc_double(b, at_most(b, a, 27.4))
    far = b.select(b.lt(x, 0.0), b.sub(b.const(2.0, x.dtype), far), far)
    return b.select(b.lt(a, 0.75), near, far)


def erfc_single(b: Builder, a: Value) -> Value:
    """Erfc a of a float32 from ¾ to 10.3.

    Rounding errors of t and a² enter the exponent of exp(−a²); those of the products enter the
    last sum.
    """
    one = b.const(1.0, a.dtype)
    centre, constant_high, constant_low, series = ERFC["float32"]
    bottom = b.fma(a, 0.375, 1.0)
    bottom_low = b.fma(a, 0.375, b.sub(one, bottom))
    t = b.div(one, bottom)
    lost = b.fma(b.neg(t), bottom_low, b.fma(b.neg(t), bottom, 1.0))
    v = b.sub(t, centre)
    slope = polynomial(b, v, series)
    factor = b.fma(v, slope, constant_high)
    factor_low = b.fma(v, slope, b.sub(b.const(constant_high, a.dtype), factor))
    factor_low = b.add(factor_low, constant_low)
    product, low = two_product(b, factor, t)
    low = b.fma(factor_low, t, low)
    square, square_low = two_product(b, a, a)
    # The relative derivative of t (c + v Q(v)) in t is near 0.7334 + 2.172 t.
    change = b.fma(b.fma(t, 2.172, 0.7334), lost, b.neg(square_low))
    ln2_high, ln2_low = LN2["float32"]
    whole, n = nearest(b, square, -LOG2_E, 2 * SINGLE.bias)
    r = b.fma(whole, -ln2_high, b.neg(square))
    r = b.add(r, b.fma(whole, -ln2_low, change))
    rest = b.mul(b.mul(r, r), polynomial(b, r, EXP["float32"]))
    rest = b.fma(product, r, b.fma(product, rest, low))
    return scale(b, b.add(product, rest), n)


def erfc_double(b: Builder, a: Value) -> Value:
    """Erfc a of a float64 from ¾ to 27.4."""
    one = b.const(1.0, a.dtype)
    centre, constant_high, constant_low, series = ERFC[a.dtype.name]
    bottom = b.fma(a, 0.375, 1.0)
    bottom_low = b.fma(a, 0.375, b.sub(one, bottom))
    t = b.div(one, bottom)
    t_low = b.mul(b.fma(b.neg(t), bottom_low, b.fma(b.neg(t), bottom, 1.0)), t)
    v = b.sub(t, centre)
    product = two_product(b, v, polynomial(b, v, series))
    top = fast_two_sum(b, b.const(constant_high, a.dtype), product.high)
    slope = [(i + 1) * c for i, c in enumerate(series[:5])]
    product_low = b.fma(t_low, polynomial(b, v, slope), product.low)
    top_low = b.add(top.low, b.add(product_low, constant_low))
    ratio = quotient(b, Pair(top.high, top_low), Pair(bottom, bottom_low))
    # exp(−a²) with a² as a double word.
    square = two_product(b, a, a)
    ln2_high, ln2_low = LN2[a.dtype.name]
    whole, n = nearest(b, b.neg(square.high), LOG2_E, 2 * DOUBLE.bias)
    first = b.fma(whole, -ln2_high, b.neg(square.high))
    r = b.fma(whole, -ln2_low, first)
    lost = b.sub(b.fma(whole, -ln2_low, b.sub(first, r)), square.low)
    r, lost = fast_two_sum(b, r, lost)
    tail = b.fma(b.mul(r, r), polynomial(b, r, EXP[a.dtype.name]), b.fma(lost, r, lost))
    rest = b.fma(ratio.high, r, b.fma(ratio.high, tail, ratio.low))
    return scale(b, b.add(ratio.high, rest), n)
