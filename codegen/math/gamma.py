"""Γ and the logarithm of its modulus, in double words of float64.

For x = a ≥ 8 Stirling's series is used: ln Γ(z) = (z − ½) ln z − z + ½ ln 2π + s(z). Below 8 it
is evaluated at z = a + 8 and divided by a (a + 1) … (a + 7). For x = −a, Γ(−a) = −π / (a
sin(πa) Γ(a)). All terms are double words, so Γ of integers is exact while it fits, and the
logarithm is precise to 2^-59 of its terms. Its zeros are 1, 2 and two between any two integers
below −2. Near them it has series of its own. float32 is computed in float64.

Polynomials are fitted by least squares with the weight named in `__init__.py`. Their leading
coefficients are rounded one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from graphjit.core.types import float64, int64

from .double_word import (
    DOUBLE,
    SINGLE,
    Pair,
    clamp,
    constant,
    fast_two_sum,
    format_of,
    horner,
    log2_long,
    multiply,
    nearest,
    polynomial,
    quotient,
    scale,
    two_product,
    two_sum,
)
from .registry import rule

if TYPE_CHECKING:
    from graphjit.codegen.builder import Builder
    from graphjit.codegen.values import Value

# As double words: ln 2, 1 / ln 2, ln π, ½ ln 2π − ½ and the same over ln 2.
LN2_PAIR = (0.6931471805599453, 2.3190468138462996e-17)
LOG2_E_PAIR = (1.4426950408889634, 2.0355273740931033e-17)
LN_PI = (1.1447298858494002, 1.0265951162707826e-17)
STIRLING_CONSTANT = (0.4189385332046727, 1.6728209650585413e-17)
STIRLING_CONSTANT_2 = (0.6044005442916777, 2.931052888777415e-17)
# z s(z) in 1/z² for z ≥ 8: 2^-54.1.
STIRLING = (
    *(0.08333333333333333, -0.002777777777766653, 0.0007936507858942001),
    *(-0.0005952357020508866, 0.0008413693796326111, -0.0018845421384157497),
    *(0.004910104455972822, 0.001296554667910505),
)
# (sin(πd) / d − π + π³/6 d² − π⁵/120 d⁴) / d⁶ in d² for |d| ≤ ½: 2^-69.5 of the sine; and π,
# −π³/6 and π⁵/120 as double words.
SIN_PI = (
    *(-0.5992645293207913, 0.08214588661108622, -0.007370430944771905, 0.0004663027946614391),
    *(-2.191527848084257e-05, 7.949133063590557e-07, -2.233588977250321e-08),
)
SIN_PI_LONG = (
    (3.141592653589793, 1.2246467991473532e-16),
    (-5.16771278004997, 2.2665622825789447e-16),
    (2.5501640398773455, -7.931006345326556e-17),
)
# (2^r − 1 − r ln 2) / r² on ±½: 2^-62.8 of the power.
EXP2_REST = (
    *(0.24022650695910072, 0.05550410866482164, 0.009618129107628048, 0.0013333558146401475),
    *(0.000154035303940562, 1.5252733847353264e-05, 1.321548631277418e-06),
    *(1.0178054454580502e-07, 7.055064417702341e-09, 4.4562327176898483e-10),
    2.5516229374576724e-11,
)
# (ln Γ(1 + w) + γw) / w² on ±0.15: 2^-57.8 of the logarithm; and −γ.
NEAR_1 = (
    *(0.8224670334241134, -0.40068563438653193, 0.2705808084274627, -0.20738555102810632),
    *(0.1695571771473008, -0.14404989698598644, 0.12550963839813817, -0.11133422651873003),
    *(0.10010278935305074, -0.09095782536700892, 0.08316282989073813, -0.0767306112735542),
    *(0.07697779872608743, -0.07217253957525878),
)
NEAR_1_SLOPE = (-0.5772156649015329, 4.942915152430645e-18)
# (ln Γ(2 + w) − (1 − γ)w) / w² on ±0.15: 2^-58.7; and 1 − γ.
NEAR_2 = (
    *(0.3224670334241132, -0.0673523010531995, 0.020580808427795146, -0.007385551027799496),
    *(0.002890510328241693, -0.0011927540890575813, 0.000509669798241813),
    *(-0.00022313902647760797, 9.944232642301282e-05, -4.555969402043852e-05),
    2.0921611890722283e-05,
)
NEAR_2_SLOPE = (0.42278433509846713, 4.942915152430645e-18)
# (ln(1 + t) − t) / t² for |t| ≤ 0.077: 2^-57.
LOG1P_REST = (
    *(-0.5, 0.3333333333333333, -0.2500000000000135, 0.20000000000006576, -0.1666666666348192),
    *(0.14285714278093412, -0.12500002453843967, 0.11111115113421856, -0.09999173448221679),
    *(0.09089857443863245, -0.08459673548218567, 0.07827049797384894),
)
# The zeros r of ln |Γ| from −2 down to −16, two to each whole number n = −3, −4, …: r as a
# double word, the slope there, and the coefficients of (x − r)², (x − r)³, … of ln |Γ(x) (x −
# n) (x − n − 1)|, as many as matter where |ln |Γ|| < 2^-5. Below −16 no float64 is so near to a
# zero.
ROOTS: tuple[tuple[float, ...], ...] = (
    (
        *(-2.4570247382208006, -3.7075610815513266e-17, 1.5156034480216574, 0.7685681436886681),
        *(0.0016862005786334774, 0.11522725653894421, 0.007405497023786174),
        *(0.03125754863017703, 0.003418049188856352, 0.010216545717056595),
        *(0.0015207217814998796, 0.0036482316867791956),
    ),
    (
        *(-2.7476826467274127, 9.055340329338315e-17, -1.9143501856115988, 0.8270557128498159),
        *(-0.14170651032906487, 0.14630086379748558, -0.05562702863408396, 0.05090271728953753),
        *(-0.027114574047964104, 0.022337920275415937, -0.0140011540973464),
        0.01095119172731209,
    ),
    (
        *(-3.14358088834998, -2.1818179852331714e-16, 7.781884658131351, 0.896002952688959),
        *(0.18657025717524522, 0.187492993191015, 0.09683792292915495, 0.08085560839743092),
        *(0.054598811795848676, 0.04394508348143779),
    ),
    (
        *(-3.955294284858598, -1.999428391746348e-17, -20.725060845803707, 0.9917880927860155),
        *(-0.29326845695435755, 0.2502923218080188, -0.159282477521197, 0.13401943485957812),
        -0.10481876404008289,
    ),
    (
        *(-4.039361839740537, 2.1143995503980602e-16, 26.790480886140593, 0.9984533899543256),
        *(0.28239760323538354, 0.2546523639685374, 0.16340864698686258, 0.13801410201748138),
        0.10870217743078331,
    ),
    (
        *(-4.991544640560048, 1.5174411760571722e-16, -116.53578161624363, 1.0458020937080739),
        *(-0.3291084169704526, 0.2823931298552126, -0.19151515800538807, 0.164232646454522),
    ),
    (
        *(-5.0082181683225935, -4.3926353491015815e-17, 123.3621845633534, 1.046305845966423),
        *(0.3184464667277601, 0.2826247685280604, 0.1916426554511588, 0.16445642810067024),
    ),
    (
        *(-5.998607480080875, -3.311862478893795e-16, -716.2454304275473, 1.0667559533116322),
        *(-0.3356388254942218, 0.28947398309276, -0.19859247372187275),
    ),
    (
        *(-6.001385294453155, 6.415847287933042e-17, 723.7366299252801, 1.066795825478212),
        *(0.3278036998858333, 0.28948153842586266, 0.19854494355353897),
    ),
    (
        *(-6.999801507890638, 1.0550130037400023e-17, -5035.967373768125, 1.0781653795465762),
        *(-0.33605232263639095, 0.2907674095065634),
    ),
    (
        *(-7.000198333407325, 2.504354173632409e-16, 5044.029941110829, 1.0781690499590544),
        *(0.33015265080712153, 0.2907675989451924),
    ),
    (
        *(-7.999975197095821, -5.261737128572354e-17, -40315.71854218779, 1.086153086614024),
        -0.3356033478520033,
    ),
    (
        *(-8.000024800270682, -4.354586297860107e-16, 40324.281108124356, 1.0861534313435055),
        0.33100557785204343,
    ),
    (
        *(-8.999997244250977, -2.2185620509727132e-16, -362875.4964746711, 1.0923481280463374),
        -0.3351717641024691,
    ),
    (
        *(-9.000002755714823, -9.491348611623208e-17, 362884.5034850277, 1.0923481585309198),
        0.3314884858186847,
    ),
    (
        *(-9.99999972442663, 4.883037618642443e-16, -3628795.296492739, 1.0973506221871987),
        -0.33484131829539254,
    ),
    (
        *(-10.000000275573013, -3.4909708332642057e-16, 3628804.7035030955, 1.0973506246814477),
        0.3318247066388744,
    ),
    (
        *(-10.99999997494789, 1.9843998306985407e-16, -39916795.114676446, 1.1014831052656968),
        -0.3345911717234532,
    ),
    (
        *(-11.000000025052106, -6.850849812286175e-16, 39916804.88532317, 1.1014831054547731),
        0.33207543660045713,
    ),
    (-11.999999997912324, -1.0020693920103036e-16, -479001594.94800997, 1.1049553505402188),
    (-12.000000002087676, 1.2222548112048185e-16, 479001605.05199003, 1.1049553505535588),
    (-12.99999999983941, 6.747262033096337e-16, -6227020794.794164, 1.1079139323551908),
    (-13.00000000016059, -6.745919484964342e-16, 6227020805.205836, 1.1079139323560707),
    (-13.99999999998853, 8.094860741926607e-16, -87178291194.6513, 1.1104649529128865),
    (-14.00000000001147, -8.094853704222662e-16, 87178291205.3487, 1.1104649529129411),
    (-14.999999999999236, 8.82932241476868e-16, -1307674367994.518, 1.1126871751458405),
    (-15.000000000000764, -8.829322382710274e-16, 1307674368005.482, 1.1126871751458436),
    (-15.999999999999952, -1.668613399265054e-16, -20922789887994.395, 1.1146403001465588),
)
ROOT_LIMIT = 2.0**-5
NEAR = 0.15  # the distance from 1 and 2 up to which their series are used


def select_pair(b: Builder, condition: Value, x: Pair, y: Pair) -> Pair:
    """X where the condition holds, else y, of double words."""
    return Pair(b.select(condition, x.high, y.high), b.select(condition, x.low, y.low))


def add_pairs(b: Builder, x: Pair, y: Pair) -> Pair:
    """X + y of double words. The sum of the low parts is rounded."""
    total = two_sum(b, x.high, y.high)
    return Pair(total.high, b.add(total.low, b.add(x.low, y.low)))


def log_pair(b: Builder, x: Pair) -> Pair:
    """Ln x of a positive double word, precise to 2^-64."""
    log = multiply(b, log2_long(b, x.high), constant(b, *LN2_PAIR, float64))
    return Pair(log.high, b.add(log.low, b.div(x.low, x.high)))


def rising_product(b: Builder, a: Value) -> Pair:
    """(a + 1) (a + 2) … (a + 7), from t = a (a + 7): (a + 7) (t + 6) (t + 10) (t + 12)."""
    last = two_sum(b, a, b.const(7.0, float64))
    t = multiply(b, Pair(a, b.const(0.0, float64)), last)
    product = last
    for more in (6.0, 10.0, 12.0):
        product = multiply(b, product, add_pairs(b, t, constant(b, more, 0.0, float64)))
    return product


def stirling_terms(b: Builder, a: Value, small: Value) -> tuple[Pair, Pair, Value]:
    """(z, z − ½, s(z)) where z is a, or a + 8 if a is small."""
    up = fast_two_sum(b, b.const(8.0, float64), a)
    z = select_pair(b, small, up, Pair(a, b.const(0.0, float64)))
    inverse = b.div(b.const(1.0, float64), z.high)
    rest = b.mul(inverse, polynomial(b, b.mul(inverse, inverse), STIRLING))
    return z, add_pairs(b, z, constant(b, -0.5, 0.0, float64)), rest


def split_nearest(b: Builder, a: Value) -> tuple[Value, Value]:
    """(d, n): the integer n nearest to a, and d = a − n."""
    n = b.rint(a)
    return b.sub(a, n), n


def sin_pi_over(b: Builder, d: Value) -> Pair:
    """sin(πd) / d for |d| ≤ ½."""
    square = two_product(b, d, d)
    total = Pair(b.mul(square.high, horner(b, square.high, SIN_PI)), b.const(0.0, float64))
    for index, part in enumerate(reversed(SIN_PI_LONG)):
        if index:
            total = multiply(b, total, square)
        first = constant(b, *part, float64)
        total = add_pairs(b, first, total)
    return total


@rule
def tgamma(b: Builder, x: Value) -> Value:
    """Γ(x): infinite at ±0, NaN at other poles and at −∞."""
    if format_of(x) is SINGLE:
        return b.cast(tgamma(b, b.cast(x, float64)), x.dtype)
    zero, one = b.const(0.0, float64), b.const(1.0, float64)
    a, negative = b.abs(x), b.lt(x, 0.0)
    small = b.lt(a, 8.0)
    z, less, rest = stirling_terms(b, a, small)
    # log2 Γ(z) = (z − ½) (log2 z − log2 e) + (½ ln 2π − ½ + s) / ln 2
    log = add_pairs(
        b, log2_long(b, z.high), constant(b, -LOG2_E_PAIR[0], -LOG2_E_PAIR[1], float64)
    )
    log = Pair(log.high, b.add(log.low, b.mul(b.div(z.low, z.high), LOG2_E_PAIR[0])))
    exponent = add_pairs(b, multiply(b, less, log), constant(b, *STIRLING_CONSTANT_2, float64))
    low = b.fma(rest, LOG2_E_PAIR[0], exponent.low)
    high = b.select(negative, b.neg(exponent.high), exponent.high)
    low = b.select(negative, b.neg(low), low)
    ended = clamp(b, high, -1200.0, 1200.0)
    low = b.select(b.eq(high, ended), low, zero)
    whole, power = nearest(b, ended, 1.0, 2 * DOUBLE.bias)
    r = two_sum(b, b.sub(ended, whole), low)
    linear = multiply(b, r, constant(b, *LN2_PAIR, float64))
    total = fast_two_sum(b, one, linear.high)
    bent = b.mul(b.mul(r.high, r.high), polynomial(b, r.high, EXP2_REST))
    more = fast_two_sum(b, total.high, bent)
    value = Pair(more.high, b.add(more.low, b.add(total.low, linear.low)))
    # the factor: 1 / (a … (a + 7)), or −π (a + 1) … (a + 7) / sin(πa); without those from 8 on
    d, n = split_nearest(b, a)
    product, own = rising_product(b, a), Pair(a, zero)
    single = Pair(one, zero)
    sine = multiply(b, Pair(d, zero), sin_pi_over(b, d))
    pi = constant(b, *SIN_PI_LONG[0], float64)
    top = select_pair(
        b, negative, multiply(b, pi, select_pair(b, small, product, single)), single
    )
    below = multiply(b, own, select_pair(b, negative, sine, product))
    below = select_pair(b, b.and_(negative, small), sine, below)
    below = select_pair(b, b.or_(negative, small), below, single)
    half = b.mul(n, 0.5)
    even = b.eq(b.trunc(half), half)
    flipped = b.and_(negative, even)
    result = multiply(b, value, quotient(b, top, below))
    y = scale(b, b.add(result.high, result.low), power)
    y = b.select(flipped, b.neg(y), y)
    y = b.select(b.and_(negative, b.eq(d, 0.0)), b.const(float("nan"), float64), y)
    return b.select(b.lt(a, 2.0**-57), b.div(one, x), y)


@rule
def lgamma(b: Builder, x: Value) -> Value:
    """Ln |Γ(x)|: ∞ at the poles; −∞ at −∞, as SciPy's gammaln has it."""
    if format_of(x) is SINGLE:
        return b.cast(lgamma(b, b.cast(x, float64)), x.dtype)
    zero, infinity = b.const(0.0, float64), b.const(float("inf"), float64)
    a, negative = b.abs(x), b.lt(x, -(2.0**-57))  # nearer to 0 the result is −ln |x|
    small = b.lt(a, 8.0)
    z, less, rest = stirling_terms(b, a, small)
    # (z − ½) (ln z − 1) + ½ ln 2π − ½ + s
    log = add_pairs(b, log_pair(b, z), constant(b, -1.0, 0.0, float64))
    series = add_pairs(b, multiply(b, less, log), constant(b, *STIRLING_CONSTANT, float64))
    series = Pair(series.high, b.add(series.low, rest))
    # less ln(a … (a + 7)), or that of sin(πa) / (π (a + 1) … (a + 7)) besides
    d, _ = split_nearest(b, a)
    product, own = rising_product(b, a), Pair(a, zero)
    single = Pair(b.const(1.0, float64), zero)
    sine = multiply(b, Pair(b.abs(d), zero), sin_pi_over(b, d))
    factor = multiply(b, own, select_pair(b, negative, sine, product))
    factor = select_pair(b, b.or_(negative, small), factor, single)
    ratio = quotient(b, sine, product)
    factor = select_pair(b, b.and_(negative, small), ratio, factor)
    besides = log_pair(b, factor)
    ln_pi = constant(b, *LN_PI, float64)
    series = select_pair(
        b, negative, add_pairs(b, Pair(b.neg(series.high), b.neg(series.low)), ln_pi), series
    )
    total = add_pairs(b, series, Pair(b.neg(besides.high), b.neg(besides.low)))
    y = b.add(total.high, total.low)
    y = b.select(b.eq(b.abs(total.high), infinity), total.high, y)
    # near the zeros
    second = b.gt(a, 1.5)
    w = b.sub(a, b.select(second, b.const(2.0, float64), b.const(1.0, float64)))
    y = b.select(
        b.and_(b.le(b.abs(w), NEAR), b.not_(negative)), log_near_1_or_2(b, w, second), y
    )
    lost = b.and_(b.lt(b.abs(y), ROOT_LIMIT), b.and_(b.lt(x, -2.0), b.gt(x, -16.0)))
    y = b.if_any(lost, lambda: b.by_lane("lgamma_root", x), y)
    pole = b.or_(b.eq(x, 0.0), b.and_(negative, b.eq(d, 0.0)))
    y = b.select(pole, infinity, y)
    return b.select(b.eq(a, infinity), x, y)


def log_near_1_or_2(b: Builder, w: Value, second: Value) -> Value:
    """Ln Γ(2 + w) where `second` holds, else ln Γ(1 + w), for small w."""

    def either(two: float, one: float) -> Value:
        return b.select(second, b.const(two, float64), b.const(one, float64))

    two = (*NEAR_2, *[0.0] * (len(NEAR_1) - len(NEAR_2)))
    bent = _horner(b, w, [either(*pair) for pair in zip(two, NEAR_1, strict=True)])
    slopes = zip(NEAR_2_SLOPE, NEAR_1_SLOPE, strict=True)
    slope, low = (either(*pair) for pair in slopes)
    product = two_product(b, w, slope)
    rest = b.fma(b.mul(w, w), bent, b.fma(w, low, product.low))
    return b.add(product.high, rest)


@rule
def lgamma_root(b: Builder, x: Value) -> Value:
    """Ln |Γ(x)| of a float64 between −16 and −2, near a zero r.

    With u = x − r it is the slope times u, plus the parts of ln |x − n| and ln |x − n − 1|
    beyond their tangents (n and n + 1 are the neighbouring poles), plus the series of the rest.
    """
    half_integer = b.cast(b.trunc(b.mul(x, -2.0)), int64)
    reached = [b.ge(half_integer, number + 4) for number in range(len(ROOTS))]

    def at(column: int) -> Value:
        """An entry of the zero's row, selected by its bits: selecting floats would branch."""
        column_of = [bits_of_number(row[column]) if column < len(row) else 0 for row in ROOTS]
        found = b.const(column_of[0], int64)
        for number, (before, entry) in enumerate(pairwise(column_of), 1):
            if entry != before:
                found = b.select(reached[number], b.const(entry, int64), found)
        return b.bitcast(found, float64)

    away = b.sub(x, at(0))
    u, low = fast_two_sum(b, away, b.neg(at(1)))
    most = max(map(len, ROOTS))
    square = b.mul(u, u)
    rest = b.mul(square, _horner(b, u, [at(k) for k in range(3, most)]))
    n = b.trunc(x)
    for pole in (n, b.sub(n, 1.0)):
        t = b.div(u, b.sub(b.sub(x, pole), u))
        rest = b.sub(rest, b.mul(b.mul(t, t), polynomial(b, t, LOG1P_REST)))
    slope = at(2)
    product = two_product(b, u, slope)
    rest = b.add(rest, b.fma(low, slope, product.low))
    return b.add(product.high, rest)


def bits_of_number(number: float) -> int:
    """The bits of a float64."""
    return int(np.float64(number).view(np.int64))


def _horner(b: Builder, x: Value, coefficients: Sequence[Value]) -> Value:
    """A polynomial with coefficients that differ by lane."""
    total = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        total = b.fma(x, total, coefficient)
    return total
