"""Double-word arithmetic and float formats, on which the math functions are built.

A *double word* is an unevaluated sum high + low with |low| at most half a unit in the last
place of high: twice the digits for a few more instructions. Everything here is written with the
Builder's operations, for float32 and float64 alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from graphjit.core.types import DType, float32, float64, int32, int64

if TYPE_CHECKING:
    from graphjit.codegen.builder import Builder
    from graphjit.codegen.values import Value


class Format(NamedTuple):
    """What the code for a float type must know of its bits.

    fraction: the stored bits of the significand
    bias: that of the exponent
    integer: the signed type of the same size
    shifter: 1.5 · 2^fraction. Adding it to a small number rounds that to an integer, which is
        then in the low bits.
    smallest: the least normal number
    """

    dtype: DType
    fraction: int
    bias: int
    integer: DType
    shifter: float
    shifter_bits: int
    smallest: float
    infinity_bits: int


SINGLE = Format(float32, 23, 127, int32, 1.5 * 2**23, 0x4B400000, 2.0**-126, 0x7F800000)
DOUBLE = Format(
    float64, 52, 1023, int64, 1.5 * 2**52, 0x4338000000000000, 2.0**-1022, 0x7FF << 52
)


class Pair(NamedTuple):
    """A double word: high + low."""

    high: Value
    low: Value


def format_of(x: Value) -> Format:
    """The format of a real value."""
    return DOUBLE if x.dtype.name == "float64" else SINGLE


LONG_POLYNOMIAL = 11
# log2((1 + s) / (1 − s)) = 2 s / ln 2 + 2/3 s³ / ln 2 + s⁵ P(s²): 2^-72.8.
LOG2_LONG = (
    *(0.5770780163555851, 0.41219858311134777, 0.32059889791195617, 0.26230819878801986),
    *(0.2219522600336956, 0.19240176267591036, 0.16844187353917633, 0.17290236196133443),
)
TWO_OVER_LN2 = (2.8853900817779268, 4.0710547481862066e-17)
TWO_THIRDS_OVER_LN2 = (0.9617966939259756, 5.0577616648125907e-17)


def polynomial(b: Builder, x: Value, coefficients: Sequence[float]) -> Value:
    """c0 + c1 x + c2 x² + … with one fma per term.

    Long polynomials are evaluated as an even and an odd part in x², with half the latency. For
    short ones other elements' work hides the latency, and the square is one instruction more.
    """
    if len(coefficients) < LONG_POLYNOMIAL:
        return horner(b, x, coefficients)
    square = b.mul(x, x)
    even = horner(b, square, coefficients[::2])
    return b.fma(x, horner(b, square, coefficients[1::2]), even)


def horner(b: Builder, x: Value, coefficients: Sequence[float]) -> Value:
    """A polynomial by Horner's rule."""
    total = b.const(coefficients[-1], x.dtype)
    for coefficient in reversed(coefficients[:-1]):
        total = b.fma(x, total, coefficient)
    return total


def fast_two_sum(b: Builder, x: Value, y: Value) -> Pair:
    """X + y exactly, given |x| ≥ |y| or x = 0. Source: Dekker, 1971."""
    total = b.add(x, y)
    return Pair(total, b.sub(y, b.sub(total, x)))


def two_sum(b: Builder, x: Value, y: Value) -> Pair:
    """X + y exactly. Source: Knuth, The Art of Computer Programming, vol. 2, 4.2.2."""
    total = b.add(x, y)
    back = b.sub(total, x)
    rest = b.sub(x, b.sub(total, back))
    return Pair(total, b.add(rest, b.sub(y, back)))


def two_product(b: Builder, x: Value, y: Value) -> Pair:
    """X · y exactly, where nothing under- or overflows."""
    product = b.mul(x, y)
    return Pair(product, b.fma(x, y, b.neg(product)))


def multiply(b: Builder, x: Pair, y: Pair) -> Pair:
    """X · y to about twice the digits; low may be a few units in the last place of high."""
    high, low = two_product(b, x.high, y.high)
    return Pair(high, b.fma(x.high, y.low, b.fma(x.low, y.high, low)))


def constant(b: Builder, high: float, low: float, dtype: DType) -> Pair:
    """A double word of two constants."""
    return Pair(b.const(high, dtype), b.const(low, dtype))


def square_root(b: Builder, x: Pair) -> Pair:
    """√x of a positive double word; 0 where x is 0."""
    root = b.sqrt(x.high)
    rest = b.add(b.fma(b.neg(root), root, x.high), x.low)
    low = b.div(b.mul(rest, 0.5), root)
    return Pair(root, b.select(b.gt(x.high, 0.0), low, b.const(0.0, root.dtype)))


def quotient(b: Builder, x: Pair, y: Pair) -> Pair:
    """X / y to about twice the digits, with one division."""
    reciprocal = b.div(b.const(1.0, y.high.dtype), y.high)
    high = b.mul(x.high, reciprocal)
    rest = b.fma(b.neg(high), y.high, x.high)
    rest = b.fma(b.neg(high), y.low, b.add(rest, x.low))
    return fast_two_sum(b, high, b.mul(rest, reciprocal))


def bits_of(b: Builder, x: Value) -> Value:
    """The bits of a float as a signed integer."""
    return b.bitcast(x, format_of(x).integer)


def nearest(b: Builder, x: Value, factor: float, ahead: int = 0) -> tuple[Value, Value]:
    """The integer nearest to x · factor: as a float, and plus `ahead` in an integer's low bits.

    |x · factor| must stay below 2^(fraction − 2). The high bits of the integer aren't its sign
    but those of the shifter.
    """
    fmt = format_of(x)
    shifter = fmt.shifter + ahead
    shifted = b.fma(x, factor, shifter)
    return b.sub(shifted, shifter), b.bitcast(shifted, fmt.integer)


def power_of_two(b: Builder, n: Value, fmt: Format) -> Value:
    """2^n for an integer n in the range of normal exponents. n's high bits are ignored."""
    return with_exponent(b, b.add(n, fmt.bias), fmt)


def with_exponent(b: Builder, n: Value, fmt: Format) -> Value:
    """2^(n − bias). n may come from `nearest` with the bias ahead, which saves an addition."""
    return b.bitcast(b.shl(n, fmt.fraction), fmt.dtype)


def scale(b: Builder, x: Value, n: Value) -> Value:
    """X · 2^n rounded once. n comes from `nearest` with twice the bias ahead.

    n may be twice what the exponent holds: then there are two products, of which the first is
    exact.
    """
    fmt = format_of(x)
    if "ldexp" in b.module.native:
        return b.ldexp(x, b.sub(n, fmt.shifter_bits + 2 * fmt.bias))
    # Shifted, half of (n + 2 bias), rounded down, stands where an exponent does.
    n = b.shl(n, fmt.fraction - 1)
    half = b.and_(n, -1 << fmt.fraction)
    x = b.mul(x, b.bitcast(half, fmt.dtype))
    return b.mul(x, b.bitcast(b.sub(b.add(n, n), half), fmt.dtype))


def clamp(b: Builder, x: Value, low: float, high: float) -> Value:
    """X clamped to [low, high]. NaN stays."""
    limit = b.const(low, x.dtype)
    return at_most(b, b.select(b.lt(x, limit), limit, x), high)


def at_most(b: Builder, x: Value, high: float) -> Value:
    """The smaller of x and a number. NaN stays."""
    limit = b.const(high, x.dtype)
    return b.select(b.gt(x, limit), limit, x)


def to_float(b: Builder, n: Value, fmt: Format) -> Value:
    """A small signed integer as a float, without the slow 64-bit conversion."""
    if fmt is SINGLE:
        return b.cast(n, fmt.dtype)
    shifted = b.bitcast(b.add(n, fmt.shifter_bits), fmt.dtype)
    return b.sub(shifted, fmt.shifter)


def split_exponent(b: Builder, x: Value) -> tuple[Value, Value]:
    """(m, k) with x = m · 2^k, √½ ≤ m < √2, for a positive normal x; k is an integer."""
    fmt = format_of(x)
    bits = bits_of(b, x)
    # √½ less one step keeps m = √½ itself inside; the constants are the bits of √½.
    root = 0x3FE6A09E667F3BCD if fmt is DOUBLE else 0x3F3504F3
    k = b.shr(b.sub(bits, root), fmt.fraction)
    return b.bitcast(b.sub(bits, b.shl(k, fmt.fraction)), x.dtype), k


def log_split(b: Builder, x: Value) -> tuple[Value, Value]:
    """(m − 1, k) for any positive x; k is a float."""
    fmt = format_of(x)
    up = fmt.fraction + 2
    small = b.lt(x, fmt.smallest)
    m, k = split_exponent(b, b.select(small, b.mul(x, 2.0**up), x))
    k = b.select(small, b.sub(k, up), k)
    return b.sub(m, 1.0), to_float(b, k, fmt)


def log2_long(b: Builder, x: Value) -> Pair:
    """log2 x of a positive float64 as a double word, good to 2^-65.

    s (2 / ln 2 + z (2/3 / ln 2 + z P(z))) with s = f / (2 + f), z = s²: all but P in double
    words.
    """
    f, k = log_split(b, x)
    nothing = b.const(0.0, f.dtype)
    s = quotient(b, Pair(f, nothing), fast_two_sum(b, b.const(2.0, f.dtype), f))
    z = multiply(b, s, s)
    series = b.mul(b.mul(z.high, z.high), polynomial(b, z.high, LOG2_LONG))
    inner = multiply(b, z, constant(b, *TWO_THIRDS_OVER_LN2, f.dtype))
    first = constant(b, *TWO_OVER_LN2, f.dtype)
    total = fast_two_sum(b, first.high, inner.high)
    low = b.add(b.add(total.low, first.low), b.add(inner.low, series))
    product = multiply(b, s, fast_two_sum(b, total.high, low))
    total = fast_two_sum(b, k, product.high)
    return Pair(total.high, b.add(total.low, product.low))


def keep_tiny(b: Builder, x: Value, y: Value, order: int = 2) -> Value:
    """X where it is so near 0 that f(x) = x, elsewhere y. −0 and subnormal x survive.

    order: f(x) = x (1 + O(x^order))
    """
    limit = 2.0 ** -(format_of(x).fraction // order + 2)
    return b.select(b.lt(b.abs(x), limit), x, y)


def signed(b: Builder, magnitude: Value, x: Value) -> Value:
    """The magnitude (of either sign) negated where x is negative."""
    fmt = format_of(x)
    sign = b.and_(bits_of(b, x), 1 << (fmt.dtype.bits - 1))
    return b.bitcast(b.xor(bits_of(b, magnitude), sign), x.dtype)
