"""Floating point with one rounding, for every format and rounding mode that PTX names.

Takes arrays of values, gives arrays of float64 that hold a value of the target format. A sum
or product that float64 cannot hold is first rounded to odd, which a second rounding to at
most 51 bits cannot tell from the exact value. Source: Boldo and Melquiond, "Emulation of a
FMA and Correctly Rounded Sums: Proved Algorithms Using Rounding to Odd", 2008.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

import numpy as np
from ptx.types import Array


@dataclass(frozen=True, slots=True)
class Format:
    """A binary format: precision [bits, the hidden one included], exponents of its normals."""

    precision: int
    least: int
    greatest: int

    @property
    def maximum(self) -> float:
        """The greatest finite value."""
        return float((2 - Fraction(2) ** (1 - self.precision)) * Fraction(2) ** self.greatest)


FORMATS = {
    "f16": Format(11, -14, 15),
    "bf16": Format(8, -126, 127),
    "tf32": Format(11, -126, 127),
    "f32": Format(24, -126, 127),
    "f64": Format(53, -1022, 1023),
}


def _nearest_away(x: Array) -> Array:
    whole = np.floor(np.abs(x))
    return np.copysign(whole + (np.abs(x) - whole >= 0.5), x)


# To an integral value, by the names of the modes (PTX ISA 9.7.9, cvt).
TO_INTEGRAL: dict[str, Callable[[Array], Array]] = {
    "rn": np.rint,
    "rz": np.trunc,
    "rm": np.floor,
    "rp": np.ceil,
    "rna": _nearest_away,
}


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """The rounded sum and its error, exactly (Knuth); the error of a non-finite sum is 0."""
    s = a + b
    t = s - a
    error = (a - (s - t)) + (b - t)
    return s, np.where(np.isfinite(s), error, 0.0)


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """The rounded product and its error (Dekker), exact while nothing over- or underflows."""
    p = a * b
    c = a * 134217729.0
    high_a = c - (c - a)
    d = b * 134217729.0
    high_b = d - (d - b)
    low_a, low_b = a - high_a, b - high_b
    return p, ((high_a * high_b - p) + high_a * low_b + low_a * high_b) + low_a * low_b


def to_odd(s: Array, error: Array) -> Array:
    """The sum s + error rounded to odd: an inexact result has a last bit of one."""
    s = np.asarray(s, np.float64)
    even = (s.view(np.uint64) & np.uint64(1)) == 0
    toward = np.nextafter(s, np.where(error > 0, np.inf, -np.inf))
    return np.where((error != 0) & even, toward, s)


def add_odd(a: Array, b: Array) -> Array:
    """The sum of two float64 arrays, rounded to odd."""
    return to_odd(*two_sum(a, b))


def narrow(x: Array, name: str, mode: str = "rn") -> Array:
    """Round float64 values to a narrower format, subnormals and overflow included."""
    fmt = FORMATS[name]
    x = np.asarray(x, np.float64)
    _, exponent = np.frexp(x)
    quantum = np.maximum(exponent - fmt.precision, fmt.least - fmt.precision + 1)
    y = np.ldexp(TO_INTEGRAL[mode](np.ldexp(x, -quantum)), quantum)
    over = np.isfinite(x) & (np.abs(y) > fmt.maximum)
    keeps = {"rz": over, "rm": over & (x > 0), "rp": over & (x < 0)}.get(mode)
    y = np.where(over, np.copysign(np.inf, x), y)
    if keeps is not None:
        y = np.where(keeps, np.copysign(fmt.maximum, x), y)
    return np.where(np.isfinite(x), np.copysign(y, x), x)


def round_fraction(value: Fraction, name: str, mode: str, zero: float = 0.0) -> float:
    """The float of a format next to an exact rational in a rounding mode; slow."""
    if value == 0:
        return zero
    fmt, size, negative = FORMATS[name], abs(value), value < 0
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    if Fraction(2) ** exponent > size:
        exponent -= 1
    quantum = Fraction(2) ** (max(exponent, fmt.least) - fmt.precision + 1)
    count, rest = divmod(size, quantum)
    up = {
        "rn": rest * 2 > quantum or (rest * 2 == quantum and count % 2 == 1),
        "rz": False,
        "rm": negative and rest > 0,
        "rp": not negative and rest > 0,
    }[mode]
    size = (count + up) * quantum
    if size >= Fraction(2) ** (fmt.greatest + 1):
        away = mode == "rn" or mode == ("rm" if negative else "rp")
        result = float("inf") if away else fmt.maximum
    else:
        result = float(size)
    return -result if negative else result


def _by_element(
    exact: Callable[..., Fraction], plain: Callable[..., Array], mode: str, *operands: Array
) -> Array:
    """A float64 operation by rationals where all is finite, else what plain arithmetic says."""
    *spread, result = np.broadcast_arrays(*operands, plain(*operands))
    result = np.array(result, np.float64)
    finite = np.logical_and.reduce([np.isfinite(x) for x in spread]) & ~np.isnan(result)
    for i in np.flatnonzero(finite):
        try:
            value = exact(*(Fraction(float(x.flat[i])) for x in spread))
        except ZeroDivisionError:
            continue
        result.flat[i] = round_fraction(value, "f64", mode, float(result.flat[i]))
    return result


def _zero_sum(result: Array, mode: str) -> Array:
    # x + (-x) is +0, but -0 when rounding down (IEEE 754, 6.3).
    return np.where((result == 0) & (mode == "rm"), -0.0, result)


def add64(a: Array, b: Array, mode: str) -> Array:
    """Float64 sum."""
    if mode == "rn":
        return a + b

    def plain(x: Array, y: Array) -> Array:
        both = (x == 0) & (y == 0) & (np.signbit(x) == np.signbit(y))
        return np.where(both, x + y, _zero_sum(x + y, mode))

    return _by_element(lambda x, y: x + y, plain, mode, a, b)


def multiply64(a: Array, b: Array, mode: str) -> Array:
    """Float64 product."""
    if mode == "rn":
        return a * b
    return _by_element(lambda x, y: x * y, np.multiply, mode, a, b)


def divide64(a: Array, b: Array, mode: str) -> Array:
    """Float64 quotient."""
    if mode == "rn":
        return a / b
    return _by_element(lambda x, y: x / y, np.divide, mode, a, b)


def sqrt64(a: Array, mode: str) -> Array:
    """Float64 square root."""
    root = np.sqrt(a)
    if mode == "rn":
        return root
    result = np.array(np.broadcast_to(root, np.shape(a)), np.float64)
    for i in np.flatnonzero(np.isfinite(result) & (result > 0)):
        value = Fraction(float(np.asarray(a).flat[i]))
        # 120 bits of root, and a sticky bit for the rest.
        shift = 2 * max(0, 120 - value.numerator.bit_length() + value.denominator.bit_length())
        scaled = value * (1 << shift)
        whole = isqrt(scaled.numerator // scaled.denominator)
        rest = Fraction(whole) ** 2 != scaled
        exact = (Fraction(whole) + (Fraction(1, 2) if rest else 0)) / (1 << (shift // 2))
        result.flat[i] = round_fraction(exact, "f64", mode)
    return result


def fma64(a: Array, b: Array, c: Array, mode: str = "rn") -> Array:
    """Float64 a * b + c with one rounding."""
    a, b, c = np.broadcast_arrays(*(np.asarray(x, np.float64) for x in (a, b, c)))
    high, low = two_product(a, b)
    t, t_error = two_sum(c, low)
    v, v_error = two_sum(high, t)
    fast = v + add_odd(t_error, v_error)
    sizes = [np.abs(x) for x in (a, b, a * b)]
    safe = np.logical_and.reduce([(x > 2.0**-400) & (x < 2.0**400) for x in sizes])
    safe &= (np.abs(c) > 2.0**-900) & (np.abs(c) < 2.0**900) & (fast != 0)
    if mode == "rn" and safe.all():
        return np.asarray(fast)
    slow = np.ones_like(safe) if mode != "rn" else ~safe

    def plain(x: Array, y: Array, z: Array) -> Array:
        # Used where the exact result is zero, or an operand is not finite.
        sign = np.signbit(x) ^ np.signbit(y)
        finite = np.isfinite(x) & np.isfinite(y)
        # A finite product must not overflow into an infinity that z could cancel.
        total = np.where(finite, z, x * y + z)
        same = ((x == 0) | (y == 0)) & (z == 0) & (sign == np.signbit(z))
        zero = np.where(same, np.copysign(0.0, z), -0.0 if mode == "rm" else 0.0)
        return np.where(finite & np.isfinite(z), zero, total)

    result = np.array(fast)
    exact = _by_element(lambda x, y, z: x * y + z, plain, mode, a[slow], b[slow], c[slow])
    result[slow] = exact
    return result


def fma_narrow(a: Array, b: Array, c: Array, name: str, mode: str) -> Array:
    """a * b + c with one rounding, for operands of at most 24 bits: their product is exact."""
    product = np.asarray(a, np.float64) * np.asarray(b, np.float64)
    c = np.asarray(c, np.float64)
    total = narrow(add_odd(product, c), name, mode)
    if mode == "rm":
        cancels = (product + c == 0) & ~((product == 0) & (c == 0))
        mixed = (product == 0) & (c == 0) & (np.signbit(product) != np.signbit(c))
        total = np.where(cancels | mixed, -0.0, total)
    return total


def integers_to(x: Array, name: str, mode: str) -> Array:
    """Integers of up to 64 bits rounded once to a format."""
    if x.dtype.itemsize < 8:
        return narrow(x.astype(np.float64), name, mode)
    high = (x >> x.dtype.type(32)).astype(np.float64) * 2.0**32
    low = (x & x.dtype.type(0xFFFFFFFF)).astype(np.float64)
    if name == "f64":
        return add64(high, low, mode)
    return narrow(add_odd(high, low), name, mode)


def to_integers(x: Array, kind: str, bits: int, mode: str, source: str) -> Array:
    """Floats to integers of `bits` bits: rounded, clamped to the range.

    A NaN becomes 0, or 1 << (bits - 1) when source or target has 64 bits (PTX ISA 9.7.9, cvt).
    """
    x = TO_INTEGRAL[mode](np.asarray(x, np.float64))
    dtype = np.dtype(f"{'i' if kind == 's' else 'u'}{bits // 8}")
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    inside = (x >= float(low)) & (x < float(high) + (1 if bits < 64 else 0))
    result = np.where(inside, x, 0).astype(dtype)
    result = np.where(x >= float(high), dtype.type(high), result)
    result = np.where(x < float(low), dtype.type(low), result)
    odd = source == "f64" or bits == 64
    nan = (low if kind == "s" else 1 << (bits - 1)) if odd else 0
    return np.where(np.isnan(x), dtype.type(nan), result)
