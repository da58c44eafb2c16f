"""The elementary functions of real numbers, written from the arithmetic that a target has.

`MATH` maps a name to a function that takes a Builder and operands of float32 or float64 and
writes polynomial code: no tables, no branch but round the rare huge arguments of sin, cos and
tan, and the same instructions for any number of lanes. Results are within 2 units in the last
place of the true value over the whole range, subnormal numbers included. Functions of complex
numbers are in complex_math.py, Γ and its logarithm in gamma.py.

The polynomials are minimax (Remez exchange; the weight is the relative error of the whole
function), their leading coefficients rounded one after another and the rest fitted anew; the
error beside each is the relative error of the function that it causes.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from graphjit.types import float32, float64, int32, int64, uint32, uint64

from .complex_math import COMPLEX
from .double_word import (
    DOUBLE,
    SINGLE,
    Pair,
    at_most,
    bits_of,
    clamp,
    constant,
    fast_two_sum,
    format_of,
    horner,
    log2_long,
    log_split,
    multiply,
    nearest,
    polynomial,
    power_of_two,
    quotient,
    scale,
    split_exponent,
    square_root,
    to_float,
    two_product,
    two_sum,
    with_exponent,
)
from .gamma import GAMMA

if TYPE_CHECKING:
    from .builder import Builder, Value

LOG2_E = 1.4426950408889634
# ln 2 in two parts; the first ends in zeros, so that its product with an exponent is exact.
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
# log2(1 + f) / f on [√½ − 1, √2 − 1], for float32 computed in float64: 2^-35.8.
LOG2_SHORT = (
    *(1.442695040868708, -0.7213475208679613, 0.48089836139448866, -0.3606736749821842),
    *(0.2885372936205703, -0.24045315677885326, 0.20617535013620075, -0.18030081136988044),
    *(0.15877006984625502, -0.1431542315860673, 0.14474501674893267, -0.14284806731338384),
    0.07738612338337407,
)
# 1 / ln 2 and 1 / ln 10 as double words; log10 2, its first part ending in zeros.
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
TWO_OVER_PI = 0.6366197723675814
# π in three parts, each the nearest number to what the earlier ones leave.
PI = {
    "float64": (3.141592653589793, 1.2246467991473532e-16, -2.9947698097183397e-33),
    "float32": (3.1415927410125732, -8.742277657347586e-08, -3.4302490200117637e-15),
}
# sin r = r + r³ S(r²) and cos r = 1 + r² C(r²) on ±1.0008 π/4: 2^-27.9 and 2^-57.9 or less.
SIN = {
    "float32": (-0.16666655, 0.008332187, -0.00019517863),
    "float64": (
        *(-0.1666666666666663, 0.00833333333332184, -0.00019841269829358517),
        *(2.755731353850608e-06, -2.5050734387297502e-08, 1.589543313646565e-10),
    ),
}
COS = {
    "float32": (-0.5, 0.041666646, -0.0013887307, 2.443208e-05),
    "float64": (
        *(-0.5, 0.041666666666666595, -0.0013888888888873292, 2.4801587288949533e-05),
        *(-2.755731419704976e-07, 2.087570215075456e-09, -1.1358558250588183e-11),
    ),
}
# tan r = r + r³ T(r²) on ±1.0008 π/4: 2^-29.4 and 2^-56.1.
TAN = {
    "float32": (
        *(0.3333335, 0.13332674, 0.054059178, 0.0212845),
        *(0.010832537, 9.110634e-05, 0.0043765046),
    ),
    "float64": (
        *(0.33333333333332776, 0.13333333333414824, 0.05396825392657031, 0.02186948961138851),
        *(0.008863219129926728, 0.0035922893950430103, 0.001454756004168765),
        *(0.0005950731767612287, 0.00022235449049868718, 0.00013657845416529063),
        *(-2.646162285970573e-05, 8.952237796151312e-05, -4.49147066481975e-05),
        2.087250834471356e-05,
    ),
}
# asin s = s + s³ A(s²) on [0, ½]: 2^-27.6 and 2^-55.9.
ASIN = {
    "float32": (0.16666754, 0.07495252, 0.04547604, 0.02415211, 0.042211764),
    "float64": (
        *(0.16666666666665383, 0.07500000000342899, 0.04464285682360471, 0.03038195932606904),
        *(0.022371753651436965, 0.017359769118421235, 0.01388461861845572),
        *(0.012173144035505512, 0.006511450311019962, 0.019572241433078837),
        *(-0.016291414180642852, 0.031957111204121),
    ),
}
# atan t = t + t³ A(t²) on [0, 1]: 2^-26.7 and 2^-56.1.
ATAN = {
    "float32": (
        *(-0.333333, 0.1999853, -0.14264043, 0.10951179, -0.084006384),
        *(0.057911545, -0.03113381, 0.010891824, -0.0017886944),
    ),
    "float64": (
        *(-0.3333333333333307, 0.19999999999951756, -0.14285714282588696),
        *(0.11111111007363582, -0.09090907008223571, 0.07692279894346789),
        *(-0.06666404471774041, 0.058805301210345176, -0.05253528284154399),
        *(0.047223538235433155, -0.04219258776570227, 0.03664348621020613),
        *(-0.02990628851278348, 0.02198776869129109, -0.013903249508328925),
        *(0.007198372838332269, -0.0028858653647564677, 0.0008316514197979539),
        *(-0.0001522313199212007, 1.3232047651384601e-05),
    ),
}
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
# The first 1184 bits of 2/π after the point.
TWO_OVER_PI_BITS = int(
    "a2f9836e4e441529fc2757d1f534ddc0db6295993c439041fe5163abdebbc561b7246e3a424dd2e006492eea"
    "09d1921cfe1deb1cb129a73ee88235f52ebb4484e99c7026b45f7e413991d639835339f49c845f8bbdf9283b"
    "1ff897ffde05980fef2f118b5a0a6d1f6d367ecf27cb09b74f463f669e5fea2d7527bac7ebe5f17b3d0739f7"
    "8a5292ea6bfb5fb11f8d5d0856033046",
    16,
)

MATH: dict[str, Callable[..., Value]] = {**COMPLEX, **GAMMA}


def rule(function: Callable[..., Value]) -> Callable[..., Value]:
    """Enter a function into MATH under its name."""
    MATH[function.__name__] = function
    return function


def exp_remainder(b: Builder, x: Value, ahead: int) -> tuple[Value, Value]:
    """(r, n) with x = n ln 2 + r, |r| ≤ ½ ln 2; n as `nearest` gives it."""
    high, low = LN2[x.dtype.name]
    whole, n = nearest(b, x, LOG2_E, ahead)
    return b.fma(whole, -low, b.fma(whole, -high, x)), n


def expm1_core(b: Builder, r: Value) -> Value:
    """e^r − 1 for |r| ≤ ½ ln 2."""
    return b.fma(b.mul(r, r), polynomial(b, r, EXP[r.dtype.name]), r)


@rule
def exp(b: Builder, x: Value) -> Value:
    """e^x. The clamped ends over- and underflow in `scale`, as they should."""
    form = format_of(x)
    low, high = (-746.0, 710.0) if form is DOUBLE else (-104.0, 89.0)
    r, n = exp_remainder(b, clamp(b, x, low, high), 2 * form.bias)
    return scale(b, b.add(expm1_core(b, r), 1.0), n)


@rule
def exp2(b: Builder, x: Value) -> Value:
    """2^x."""
    form = format_of(x)
    low, high = (-1076.0, 1025.0) if form is DOUBLE else (-151.0, 129.0)
    x = clamp(b, x, low, high)
    whole, n = nearest(b, x, 1.0, 2 * form.bias)
    r = b.sub(x, whole)
    return scale(b, b.fma(r, polynomial(b, r, EXP2[x.dtype.name]), 1.0), n)


@rule
def expm1(b: Builder, x: Value) -> Value:
    """e^x − 1, as 2 (2^(n−1) (e^r − 1) + (2^(n−1) − ½)) so that 2^n never overflows."""
    form = format_of(x)
    low, high = (-38.0, 710.0) if form is DOUBLE else (-18.0, 89.0)
    r, n = exp_remainder(b, clamp(b, x, low, high), form.bias - 1)
    half = with_exponent(b, n, form)
    tail = b.mul(b.mul(r, r), polynomial(b, r, EXP[x.dtype.name]))
    y = b.fma(tail, half, b.fma(r, half, b.sub(half, 0.5)))
    return keep_tiny(b, x, b.add(y, y), 1)


def keep_tiny(b: Builder, x: Value, y: Value, order: int = 2) -> Value:
    """X where it is so near 0 that f(x) = x, elsewhere y; −0 and subnormal x survive.

    order: f(x) = x (1 + O(x^order)).
    """
    limit = 2.0 ** -(format_of(x).fraction // order + 2)
    return b.select(b.lt(b.abs(x), limit), x, y)


@rule
def sigmoid(b: Builder, x: Value) -> Value:
    """1 / (1 + e^−x), or e^x / (1 + e^x) for x < 0, from e^−|x|.

    float64 has it as a double word; in float32 the plain quotient is good enough.
    """
    form = format_of(x)
    low = -746.0 if form is DOUBLE else -104.0
    r, n = exp_remainder(b, clamp(b, b.neg(b.abs(x)), low, 0.0), 2 * form.bias)
    one, nothing = b.const(1.0, x.dtype), b.const(0.0, x.dtype)
    below = b.lt(x, 0.0)
    p = expm1_core(b, r)
    e = fast_two_sum(b, one, p)
    if form is SINGLE:
        # What was lost in 1 + p and in 1 + e^−|x| changes a quotient t by that times t (1 − t).
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


@rule
def softplus(b: Builder, x: Value) -> Value:
    """ln(1 + e^x) = max(x, 0) + ln(1 + e^−|x|)."""
    e = exp(b, b.neg(b.abs(x)))
    rest = log_of_sum(b, fast_two_sum(b, b.const(1.0, x.dtype), e))
    return b.add(b.maximum(x, b.const(0.0, x.dtype)), rest)


def logarithm(b: Builder, x: Value, core: Callable[[Value, Value], Value]) -> Value:
    """core(m − 1, k) for x = m · 2^k: a logarithm; a branch round what is not normal or not
    positive.
    """
    form = format_of(x)
    m, k = split_exponent(b, x)
    usual = core(b.sub(m, 1.0), to_float(b, k, form))
    least = int(np.array(form.smallest, form.dtype.dtype).view(f"i{form.dtype.size}"))
    distance = b.sub(b.bitcast(x, b.integer_of(x.dtype)), least)
    special = b.ge(distance, form.infinity_bits - least)
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
    """Logarithm y of x, made right where x is 0, negative, infinite or NaN."""
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
    """ln(high + low) of a positive normal double word, full precision near 1 too.

    exponent: an integer to add to the binary exponent.
    """
    form = format_of(x.high)
    m, k = split_exponent(b, x.high)
    low = b.mul(x.low, power_of_two(b, b.neg(k), form))
    # 2^−k is wrong for the largest k, where the low part no longer counts.
    low = b.select(b.lt(x.high, 2.0**100), low, b.const(0.0, form.dtype))
    if exponent is not None:
        k = b.add(k, exponent)
    return log_sum(b, b.add(b.sub(m, 1.0), low), to_float(b, k, form))


@rule
def log1p(b: Builder, x: Value) -> Value:
    """ln(1 + x)."""
    total = two_sum(b, b.const(1.0, x.dtype), x)
    y = log_ends(b, total.high, log_of_sum(b, total))
    return keep_tiny(b, x, y, 1)


@rule
def log_hypot(b: Builder, x: Value, y: Value) -> Value:
    """Ln √(x² + y²), at full precision near 1 too: the real part of a complex logarithm."""
    return log_modulus(b, Pair(x, b.const(0.0, x.dtype)), y)


@rule
def log1p_hypot(b: Builder, x: Value, y: Value) -> Value:
    """Ln √((1 + x)² + y²)."""
    total = two_sum(b, b.const(1.0, x.dtype), x)
    # The low part is NaN for an infinite x, where it does not count.
    low = b.select(b.lt(b.abs(x), 2.0**100), total.low, b.const(0.0, x.dtype))
    return log_modulus(b, Pair(total.high, low), y)


def log_modulus(b: Builder, x: Pair, y: Value) -> Value:
    """Ln √(x² + y²) of a double word x and a number y, scaled, the squares exact."""
    form = format_of(y)
    _, large, down, up = by_exponent(b, x.high, y)
    u, v = b.mul(x.high, down), b.mul(y, down)
    low = b.mul(b.mul(x.low, down), b.add(u, u))
    one, two = two_product(b, u, u), two_product(b, v, v)
    total = two_sum(b, one.high, two.high)
    low = b.add(total.low, b.add(low, b.add(one.low, two.low)))
    exponent = b.sub(b.shr(bits_of(b, up), form.fraction), form.bias)
    total = fast_two_sum(b, total.high, low)
    y_log = b.mul(log_of_sum(b, total, b.add(exponent, exponent)), 0.5)
    y_log = b.select(b.eq(large, 0.0), b.const(float("-inf"), form.dtype), y_log)
    y_log = b.select(b.or_(b.isnan(x.high), b.isnan(y)), b.add(x.high, y), y_log)
    endless = b.or_(b.eq(b.abs(x.high), float("inf")), b.eq(b.abs(y), float("inf")))
    return b.select(endless, b.const(float("inf"), form.dtype), y_log)


@rule
def rsqrt(b: Builder, x: Value) -> Value:
    """1 / √x."""
    return b.div(b.const(1.0, x.dtype), b.sqrt(x))


@rule
def cbrt(b: Builder, x: Value) -> Value:
    """The cube root, of either sign.

    The bits divided by −3 start an iteration of higher order for y = x^(−1/3), without a
    division; one corrected step for x y² follows. Source of the start: Moroz et al., "Fast
    calculation of cube root and inverse cube root using a magic constant", 2021.
    """
    form = format_of(x)
    magnitude = b.abs(x)
    small = b.lt(magnitude, form.smallest)
    up = 54 if form is DOUBLE else 24
    a = b.select(small, b.mul(magnitude, 2.0**up), magnitude)
    bits = b.bitcast(a, b.integer_of(x.dtype))
    if form is DOUBLE:
        third = b.shl(b.shr(b.mul(b.shr(bits, 32), 0x55555556), 32), 32)
        start = b.sub(b.const(0x553EF0FF289DD796, bits.dtype), third)
    else:
        third = b.shl(b.shr(b.mul(b.shr(bits, 14), 21846), 16), 14)
        start = b.sub(b.const(0x54A21D2A, bits.dtype), third)
    y = b.bitcast(start, x.dtype)
    for terms in ((1 / 3, 2 / 9, 14 / 81), (1 / 3, 2 / 9))[: 2 if form is DOUBLE else 1]:
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
    """√(x² + y²) without overflow or underflow on the way."""
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
    """(smaller, larger, 2^−e, 2^e): |x| and |y| in order and scales that bring both near 1."""
    form = format_of(x)
    x, y = b.abs(x), b.abs(y)
    swap = b.gt(x, y)
    small, large = b.select(swap, y, x), b.select(swap, x, y)
    field = b.and_(bits_of(b, large), form.infinity_bits)
    least, most = 1 << form.fraction, (2 * form.bias - 1) << form.fraction
    field = b.select(b.lt(field, least), b.const(least, field.dtype), field)
    field = b.select(b.gt(field, most), b.const(most, field.dtype), field)
    inverse = b.sub(b.const(2 * form.bias << form.fraction, field.dtype), field)
    return small, large, b.bitcast(inverse, x.dtype), b.bitcast(field, x.dtype)


@rule
def pow(b: Builder, x: Value, y: Value) -> Value:
    """x^y with all of C99's special cases (annex F.9.4.4)."""
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
    """|x|^y made x^y: the sign, and what holds at 0, 1, infinity and NaN."""
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


# Up to these |x|, x − n π/2 in three parts is right to the last place or so, and n exact.
ORDINARY = {"float32": 131072.0, "float64": 2.0**30}


def flip(b: Builder, x: Value, n: Value, bit: int = 0) -> Value:
    """X with its sign changed where the given bit of the integer n is set."""
    form = format_of(x)
    top = form.dtype.bits - 1
    sign = b.and_(b.shl(n, top - bit), 1 << top)
    return b.bitcast(b.xor(bits_of(b, x), sign), x.dtype)


def signed(b: Builder, magnitude: Value, x: Value) -> Value:
    """The magnitude (of either sign) negated where x is negative."""
    form = format_of(x)
    sign = b.and_(bits_of(b, x), 1 << (form.dtype.bits - 1))
    return b.bitcast(b.xor(bits_of(b, magnitude), sign), x.dtype)


def pi_remainder(b: Builder, x: Value, n: Value, long: bool) -> tuple[Value, Value | None]:
    """X − n π/2, as a double word if long.

    The first fma is exact: the result is a multiple of the last place of π/2 and below 1.
    """
    first, second, third = (part / 2 for part in PI[x.dtype.name])
    x = b.fma(n, -first, x)
    if not long:
        return b.fma(n, -third, b.fma(n, -second, x)), None
    product = two_product(b, n, b.const(second, x.dtype))
    high = b.sub(x, product.high)
    low = b.sub(b.sub(x, high), product.high)
    return high, b.sub(b.fma(n, -third, low), product.low)


def sin_core(b: Builder, r: Value, low: Value | None, quadrant: Value) -> Value:
    """sin(r + low + quadrant π/2) for |r| ≤ π/4; only quadrant's low bits count."""
    z = b.mul(r, r)
    series, cube = polynomial(b, z, SIN[r.dtype.name]), b.mul(z, r)
    even = polynomial(b, z, COS[r.dtype.name])
    if low is None:
        sine, cosine = b.fma(cube, series, r), b.fma(z, even, 1.0)
    else:
        sine = b.add(r, b.fma(cube, series, low))
        cosine = b.add(b.fma(z, even, b.neg(b.mul(r, low))), 1.0)
    odd = b.ne(b.and_(quadrant, 1), 0)
    return flip(b, b.select(odd, cosine, sine), quadrant, 1)


@rule
def sin(b: Builder, x: Value) -> Value:
    """The sine."""
    a = b.abs(x)
    whole, n = nearest(b, a, TWO_OVER_PI)
    y = signed(b, sin_core(b, *pi_remainder(b, a, whole, format_of(x) is DOUBLE), n), x)
    return b.if_any(beyond(b, a), lambda: huge(b, "sin", x), y)


@rule
def cos(b: Builder, x: Value) -> Value:
    """The cosine, sin(x + π/2)."""
    a = b.abs(x)
    whole, n = nearest(b, a, TWO_OVER_PI)
    y = sin_core(b, *pi_remainder(b, a, whole, format_of(x) is DOUBLE), b.add(n, 1))
    return b.if_any(beyond(b, a), lambda: huge(b, "cos", x), y)


def tan_core(b: Builder, r: Value, low: Value | None, n: Value) -> Value:
    """Tan r for |r| ≤ π/4, or −1 / tan r where n is odd.

    The reciprocal takes one Newton step with the tangent as a double word.
    """
    z = b.mul(r, r)
    series, cube = polynomial(b, z, TAN[r.dtype.name]), b.mul(z, r)
    rest = b.mul(cube, series)
    if low is not None:
        # tan(r + low) ≈ tan r + low (1 + tan² r)
        rest = b.fma(cube, series, b.fma(low, z, low))
    tangent, low = fast_two_sum(b, r, rest)
    inverse = b.div(b.const(-1.0, z.dtype), tangent)
    rest = b.fma(inverse, low, b.fma(inverse, tangent, 1.0))
    inverse = b.fma(inverse, rest, inverse)
    odd = b.ne(b.and_(n, 1), 0)
    return b.select(odd, inverse, tangent)


@rule
def tan(b: Builder, x: Value) -> Value:
    """The tangent."""
    a = b.abs(x)
    whole, n = nearest(b, a, TWO_OVER_PI)
    y = signed(b, tan_core(b, *pi_remainder(b, a, whole, True), n), x)
    return b.if_any(beyond(b, a), lambda: huge(b, "tan", x), y)


def beyond(b: Builder, magnitude: Value) -> Value:
    """Whether the ordinary reduction does not serve."""
    return b.gt(magnitude, ORDINARY[magnitude.dtype.name])


def huge(b: Builder, name: str, x: Value) -> Value:
    """Sin, cos or tan where the ordinary reduction does not serve.

    In float64 lane by lane: long code for whole vectors would cost more to compile than it ever
    saves.
    """
    if format_of(x) is DOUBLE:
        return b.by_lane(f"{name}_huge", x)
    r, low, quadrant = huge_single(b, b.abs(x))
    if name == "cos":
        return finite_only(b, x, sin_core(b, r, None, b.add(quadrant, 1)))
    y = sin_core(b, r, None, quadrant) if name == "sin" else tan_core(b, r, low, quadrant)
    return finite_only(b, x, signed(b, y, x))


def huge_single(b: Builder, magnitude: Value) -> tuple[Value, Value, Value]:
    """(r, low, q) with |x| = r + low + q π/2 (mod 2 π), |r| ≤ π/4, for a float32 from 2^17 up.

    96 bits of 2/π, from where the exponent of x says, times the 24 bits of x, modulo 4; see
    `huge_remainder`.
    """
    bits = b.bitcast(magnitude, uint32)
    significand = b.cast(b.or_(b.and_(bits, 2**23 - 1), 1 << 23), uint64)
    # x = significand · 2^(field − 150); bits of 2/π before field − 151 give multiples of 4.
    # 8 zero bits in front, so that an x of 2^17 has a window too.
    start = b.sub(b.shr(bits, 23), 151 - 7)
    window = [
        b.const((TWO_OVER_PI_BITS >> (1192 - 32 * (i + 1))) & (2**32 - 1), uint32)
        for i in range(7)
    ]
    for stage in (2, 1):
        taken = b.ne(b.and_(start, 32 * stage), 0)
        count = len(window) - stage
        window = [b.select(taken, window[i + stage], window[i]) for i in range(count)]
    shift = b.cast(b.and_(start, 31), uint64)
    first, second, third, fourth = (b.cast(word, uint64) for word in window)
    top = b.shl(b.or_(b.shl(first, 32), second), shift)
    top = b.or_(top, b.shr(b.shl(third, shift), 32))
    rest = b.shr(b.shl(b.or_(b.shl(third, 32), fourth), shift), 32)
    product = b.add(b.mul(significand, top), b.shr(b.mul(significand, rest), 32))
    # In units of 2^-62: two bits of the quadrant, then the fraction, taken as a signed number.
    quadrant = b.shr(b.add(b.shr(product, 61), 1), 1)
    fraction = b.cast(b.cast(b.shl(product, 2), int64), float64)
    angle = b.mul(fraction, PI["float64"][0] / 2 * 2.0**-64)
    r = b.cast(angle, float32)
    low = b.cast(b.sub(angle, b.cast(r, float64)), float32)
    return r, low, b.cast(quadrant, int32)


def huge_remainder(b: Builder, magnitude: Value) -> tuple[Pair, Value]:
    """(r, q) with |x| = r + q π/2 (mod 2 π), |r| ≤ π/4, for a float64 from 2^15 up.

    192 bits of 2/π, cut out by shifts where the exponent of x says, times the significand of
    x, modulo 2^192. Source: Payne and Hanek, "Radian reduction for trigonometric functions",
    1983. Limbs of 32 bits lie in words of 64.
    """
    mask = 2**32 - 1
    bits = b.bitcast(magnitude, uint64)
    significand = b.or_(b.and_(bits, 2**52 - 1), 1 << 52)
    # x = significand · 2^(field − 1075); bits of 2/π before field − 1077 give multiples of 4.
    # 40 zero bits in front, so that an x of 2^15 has a window too.
    start = b.sub(b.shr(bits, 52), 1077 - 40)
    words = [(TWO_OVER_PI_BITS >> (1192 - 32 * i)) & mask for i in range(38)]
    window = [b.const(word, uint64) for word in words]
    for stage in (16, 8, 4, 2, 1):
        taken = b.ne(b.and_(b.shr(start, 5), stage), 0)
        window = [
            b.select(taken, window[i + stage] if i + stage < len(window) else window[i], one)
            for i, one in enumerate(window[: 7 + stage - 1])
        ]
    shift = b.and_(start, 31)
    limbs = []
    for high, low in pairwise(window):
        joined = b.shl(b.or_(b.shl(high, 32), low), shift)
        limbs.append(b.shr(joined, 32))
    limbs.reverse()
    bottom, top = b.and_(significand, mask), b.shr(significand, 32)
    product: list[Value] = []
    carry = b.const(0, uint64)
    one, two = [b.mul(limb, bottom) for limb in limbs], [b.mul(limb, top) for limb in limbs]
    for i in range(6):
        total = b.add(carry, b.and_(one[i], mask))
        if i > 0:
            total = b.add(total, b.add(b.shr(one[i - 1], 32), b.and_(two[i - 1], mask)))
        if i > 1:
            total = b.add(total, b.shr(two[i - 2], 32))
        product.append(b.and_(total, mask))
        carry = b.shr(total, 32)
    quadrant = b.shr(product[5], 30)
    # The fraction as a signed number: negative from ½ up, then its complement is its size.
    negative = b.and_(b.shr(product[5], 29), 1)
    flipped = b.and_(b.sub(b.const(0, uint64), negative), mask)
    value: Pair | None = None
    for i in (5, 4, 3, 2, 1):
        joined = b.or_(b.shl(product[i], 2), b.shr(product[i - 1], 30))
        limb = b.xor(b.and_(joined, mask), flipped)
        # Below 2^32, so the bits of 2^52 + limb.
        number = b.sub(b.bitcast(b.or_(limb, 0x433 << 52), float64), 2.0**52)
        number = b.mul(number, 2.0 ** (32 * (i - 6)))
        if value is None:
            value = Pair(number, b.const(0.0, float64))
        else:
            high, low = two_sum(b, value.high, number)
            value = Pair(high, b.add(value.low, low))
    assert value is not None
    value = fast_two_sum(b, value.high, value.low)
    half_pi = constant(b, PI["float64"][0] / 2, PI["float64"][1] / 2, float64)
    r = fast_two_sum(b, *multiply(b, value, half_pi))
    negative = b.bitcast(negative, int64)
    r = Pair(flip(b, r.high, negative), flip(b, r.low, negative))
    return r, b.add(b.bitcast(quadrant, int64), negative)


def finite_only(b: Builder, x: Value, y: Value) -> Value:
    """y, but NaN where x is infinite or NaN."""
    return b.select(b.lt(b.abs(x), float("inf")), y, b.const(float("nan"), x.dtype))


@rule
def sin_huge(b: Builder, x: Value) -> Value:
    """Sin x for |x| ≥ 2^15."""
    r, quadrant = huge_remainder(b, b.abs(x))
    return finite_only(b, x, signed(b, sin_core(b, *r, quadrant), x))


@rule
def cos_huge(b: Builder, x: Value) -> Value:
    """Cos x for |x| ≥ 2^15."""
    r, quadrant = huge_remainder(b, b.abs(x))
    return finite_only(b, x, sin_core(b, *r, b.add(quadrant, 1)))


@rule
def tan_huge(b: Builder, x: Value) -> Value:
    """Tan x for |x| ≥ 2^15."""
    r, quadrant = huge_remainder(b, b.abs(x))
    return finite_only(b, x, signed(b, tan_core(b, *r, quadrant), x))


def asin_core(b: Builder, magnitude: Value) -> tuple[Value, Value, Value, Value]:
    """(big, s, asin s − s, asin s): s is |x| up to ½, else √((1 − |x|) / 2)."""
    big = b.gt(magnitude, 0.5)
    z = b.mul(b.sub(b.const(1.0, magnitude.dtype), magnitude), 0.5)
    s = b.select(big, b.sqrt(z), magnitude)
    z = b.select(big, z, b.mul(magnitude, magnitude))
    series = b.mul(z, polynomial(b, z, ASIN[z.dtype.name]))
    return big, s, b.mul(s, series), b.fma(s, series, s)


@rule
def asin(b: Builder, x: Value) -> Value:
    """The inverse sine; above ½ from asin x = π/2 − 2 asin √((1 − x) / 2)."""
    high, low = (part / 2 for part in PI[x.dtype.name][:2])
    big, s, rest, angle = asin_core(b, b.abs(x))
    total = fast_two_sum(b, b.const(high, x.dtype), b.mul(s, -2.0))
    outer = b.sub(total.high, b.sub(b.fma(rest, 2.0, -low), total.low))
    return b.copysign(b.select(big, outer, angle), x)


@rule
def acos(b: Builder, x: Value) -> Value:
    """The inverse cosine."""
    high, low = (part / 2 for part in PI[x.dtype.name][:2])
    big, _, rest, angle = asin_core(b, b.abs(x))
    inner = b.sub(x, b.sub(b.const(low, x.dtype), b.copysign(rest, x)))
    inner = b.sub(b.const(high, x.dtype), inner)
    left = b.sub(b.const(high, x.dtype), b.sub(angle, low))
    outer = b.select(b.lt(x, 0.0), left, angle)
    return b.select(big, b.add(outer, outer), inner)


def atan_core(b: Builder, t: Value) -> Value:
    """Atan t for 0 ≤ t ≤ 1."""
    z = b.mul(t, t)
    # Not polynomial(): at 1 the even and the odd terms cancel.
    return b.fma(b.mul(t, z), horner(b, z, ATAN[t.dtype.name]), t)


@rule
def atan(b: Builder, x: Value) -> Value:
    """The inverse tangent; above 1 from atan x = π/2 − atan 1/x."""
    high, low = (part / 2 for part in PI[x.dtype.name][:2])
    magnitude = b.abs(x)
    big = b.gt(magnitude, 1.0)
    inverse = b.div(b.const(1.0, x.dtype), magnitude)
    angle = atan_core(b, b.select(big, inverse, magnitude))
    outer = b.sub(b.const(high, x.dtype), b.sub(angle, low))
    return b.copysign(b.select(big, outer, angle), x)


@rule
def atan2(b: Builder, y: Value, x: Value) -> Value:
    """The angle of the point (x, y), with C99's table for zeros and infinities."""
    full, rest = PI[x.dtype.name][:2]
    up, right = b.abs(y), b.abs(x)
    steep = b.gt(up, right)
    small, large = b.select(steep, right, up), b.select(steep, up, right)
    t = b.div(small, large)
    t = b.select(b.eq(small, float("inf")), b.const(1.0, x.dtype), t)
    t = b.select(b.eq(large, 0.0), b.const(0.0, x.dtype), t)
    angle = atan_core(b, t)
    outer = b.sub(b.const(full / 2, x.dtype), b.sub(angle, rest / 2))
    angle = b.select(steep, outer, angle)
    back = b.sub(b.const(full, x.dtype), b.sub(angle, rest))
    angle = b.select(b.lt(bits_of(b, x), 0), back, angle)
    # A NaN in x alone could be lost in the choice of the larger.
    angle = b.select(b.isnan(x), x, angle)
    return b.select(b.isnan(y), y, b.copysign(angle, y))


def hyperbolic_parts(b: Builder, magnitude: Value) -> tuple[Value, Value, Value, Value, Value]:
    """(r, sinh r − r, cosh r − 1, 2^(n−2), 2^(−n−2)) with |x| = n ln 2 + r.

    The difference and the sum of the last two are sinh and cosh of n ln 2, halved so that
    they cannot overflow; sinh and cosh of x follow by their addition theorems, with no
    division and no cancellation.
    """
    form = format_of(magnitude)
    high, low = LN2[magnitude.dtype.name]
    whole, n = nearest(b, magnitude, LOG2_E, form.bias - 2)
    first = b.fma(whole, -high, magnitude)
    r = b.fma(whole, -low, first)
    lost = b.fma(whole, -low, b.sub(first, r))
    z = b.mul(r, r)
    odd = b.fma(b.mul(r, z), polynomial(b, z, SINH[r.dtype.name]), lost)
    even = b.mul(z, polynomial(b, z, COSH[r.dtype.name]))
    up = with_exponent(b, n, form)
    # 2^(−n − 2) as 2^-4 / 2^(n − 2), by exponents; beyond 2^60 it no longer counts.
    inverse = b.const((2 * form.bias - 4) << form.fraction, form.integer)
    inverse = b.bitcast(b.sub(inverse, bits_of(b, up)), form.dtype)
    inverse = b.select(b.lt(up, 2.0**60), inverse, b.const(0.0, form.dtype))
    return r, odd, even, up, inverse


def hyperbolic_clamp(b: Builder, x: Value) -> Value:
    """|x|, no larger than where sinh and cosh have overflown."""
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
    ln 2 is enough: it is good to 2^-28.
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
    # One step for what the division and 1 + h lost (the latter is known below 2^24); its
    # divisor 1 + h is 1 / (1 − t).
    rest = b.fma(b.neg(t), bottom.low, b.fma(b.neg(t), bottom.high, h))
    right = b.fma(rest, b.sub(b.const(1.0, a.dtype), t), t)
    return b.select(b.lt(a, 8.6), right, t)


@rule
def asinh(b: Builder, x: Value) -> Value:
    """ln(|x| + √(x² + 1)) in double words; at large |x|, ln(2 |x|)."""
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
    """ln(x + √(x² − 1)) in double words; at large x, ln(2 x)."""
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
    """½ ln((1 + |x|) / (1 − |x|)), the ratio a double word."""
    a = b.abs(x)
    one = b.const(1.0, x.dtype)
    ratio = quotient(b, fast_two_sum(b, one, a), fast_two_sum(b, one, b.neg(a)))
    y = b.mul(log_of_sum(b, ratio), 0.5)
    y = b.select(b.eq(a, 1.0), b.const(float("inf"), x.dtype), y)
    y = b.select(b.le(a, 1.0), y, b.const(float("nan"), x.dtype))
    return keep_tiny(b, x, b.copysign(y, x))


@rule
def erf(b: Builder, x: Value) -> Value:
    """The error function; for larger |x| as 1 − Q(|x|)^8.

    Source of the power: Hastings, "Approximations for digital computers", 1955.
    """
    name = x.dtype.name
    a = at_most(b, b.abs(x), 6.0 if format_of(x) is DOUBLE else 4.0)
    inner = b.fma(a, polynomial(b, b.mul(a, a), ERF[name]), a)
    # The power multiplies errors by 8: the last step apart, where but one rounding counts.
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

    What t and a² lose enters the exponent of exp(−a²), what the products lose the last sum.
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
