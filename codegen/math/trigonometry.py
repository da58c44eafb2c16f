"""Sine, cosine, tangent and their inverses."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from graphjit.core.types import float32, float64, int32, int64, uint32, uint64

from .double_word import (
    DOUBLE,
    Pair,
    bits_of,
    constant,
    fast_two_sum,
    format_of,
    horner,
    multiply,
    nearest,
    polynomial,
    signed,
    two_product,
    two_sum,
)
from .registry import rule

if TYPE_CHECKING:
    from graphjit.codegen.builder import Builder
    from graphjit.codegen.values import Value

TWO_OVER_PI = 0.6366197723675814
# π in three parts, each the number nearest to the remainder of the earlier ones.
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
# The first 1184 bits of 2/π after the point.
TWO_OVER_PI_BITS = int(
    "a2f9836e4e441529fc2757d1f534ddc0db6295993c439041fe5163abdebbc561b7246e3a424dd2e006492eea"
    "09d1921cfe1deb1cb129a73ee88235f52ebb4484e99c7026b45f7e413991d639835339f49c845f8bbdf9283b"
    "1ff897ffde05980fef2f118b5a0a6d1f6d367ecf27cb09b74f463f669e5fea2d7527bac7ebe5f17b3d0739f7"
    "8a5292ea6bfb5fb11f8d5d0856033046",
    16,
)
# Up to these |x|, x − n π/2 in three parts is precise to about the last place, and n is exact.
ORDINARY = {"float32": 131072.0, "float64": 2.0**30}


def flip(b: Builder, x: Value, n: Value, bit: int = 0) -> Value:
    """X, with its sign changed where bit `bit` of the integer n is set."""
    fmt = format_of(x)
    top = fmt.dtype.bits - 1
    sign = b.and_(b.shl(n, top - bit), 1 << top)
    return b.bitcast(b.xor(bits_of(b, x), sign), x.dtype)


def pi_remainder(b: Builder, x: Value, n: Value, long: bool) -> tuple[Value, Value | None]:
    """X − n π/2, as a double word if long.

    The first fma is exact: the result is a multiple of the last place of π/2 and less than 1.
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
    """sin(r + low + quadrant π/2) for |r| ≤ π/4. Only quadrant's low bits count."""
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

    The reciprocal takes one Newton step, with the tangent as a double word.
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
    """Whether an operand is too large for the ordinary reduction."""
    return b.gt(magnitude, ORDINARY[magnitude.dtype.name])


def huge(b: Builder, name: str, x: Value) -> Value:
    """Sin, cos or tan of operands too large for the ordinary reduction.

    float64 is computed lane by lane: the long code for whole vectors would cost more compile
    time than it saves.
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

    Multiplies 96 bits of 2/π, selected by the exponent of x, by the 24 bits of x, modulo 4; see
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

    Multiplies 192 bits of 2/π, selected by shifts according to the exponent of x, by the
    significand of x, modulo 2^192. Source: Payne and Hanek, "Radian reduction for trigonometric
    functions", 1983. Limbs of 32 bits are in words of 64.
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
    # The fraction as a signed number: from ½ up negative, its magnitude the complement.
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
    """The inverse sine. Above ½, asin x = π/2 − 2 asin √((1 − x) / 2)."""
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
    # Horner's rule, since even and odd terms cancel at 1.
    return b.fma(b.mul(t, z), horner(b, z, ATAN[t.dtype.name]), t)


@rule
def atan(b: Builder, x: Value) -> Value:
    """The inverse tangent. Above 1, atan x = π/2 − atan 1/x."""
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
    # The selection of the larger operand could drop a NaN in x alone.
    angle = b.select(b.isnan(x), x, angle)
    return b.select(b.isnan(y), y, b.copysign(angle, y))
