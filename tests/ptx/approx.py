"""The approximate functions: the exact value, moved at random within the documented error.

Hardware returns some value inside the bound, not the correctly rounded one; a kernel that
needs more than the bound promises must fail here too. Bounds: PTX ISA 9.7.3 and 9.7.4. Where
its versions differ (ex2 and rsqrt became tighter), the wider bound is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ptx.types import Array

Generator = np.random.Generator


@dataclass(frozen=True, slots=True)
class Bound:
    """The error allowed: relative, or absolute."""

    relative: float = 0.0
    absolute: float = 0.0

    def around(self, exact: Array) -> Array:
        """The greatest error at these exact values."""
        return np.maximum(self.relative * np.abs(exact), self.absolute)


EX2 = Bound(relative=2.0**-22)
EX2_F16 = Bound(relative=2.0**-9.9)
EX2_BF16 = Bound(relative=2.0**-7)
SIN = Bound(absolute=2.0**-20.5)  # within 2 pi of zero
SIN_WIDE = Bound(absolute=2.0**-14.7)  # within 100 pi; beyond, nothing is promised
TANH = Bound(relative=2.0**-11)
TANH_F16 = Bound(absolute=2.0**-10.987)
TANH_BF16 = Bound(absolute=2.0**-8)
RCP = Bound(relative=2.0**-23)
SQRT = Bound(relative=2.0**-23)
RSQRT = Bound(relative=2.0**-22.4)
DIV = Bound(relative=2.0**-22)  # 2 ulp, which is at least twice 2 ** -23 of the value
LG2 = Bound(absolute=2.0**-22)  # for an argument in (0.5, 2)
LG2_WIDE = Bound(relative=2.0**-22)


def perturb(exact: Array, error: Array, dtype: type, random: Generator) -> Array:
    """Values of `dtype` drawn within `error` of the exact ones; zeros and infinities stay."""
    exact = np.asarray(exact, np.float64)
    moved = exact + error * random.uniform(-1.0, 1.0, exact.shape)
    plain = exact.astype(dtype)
    result = moved.astype(dtype)
    outside = np.abs(result.astype(np.float64) - exact) > error
    inward = np.nextafter(result, plain) if dtype is np.float32 else plain
    result = np.where(outside, inward, result)
    outside = np.abs(result.astype(np.float64) - exact) > error
    result = np.where(outside, plain, result)
    keep = ~np.isfinite(exact) | (exact == 0) | np.isinf(plain)
    return np.where(keep, plain, result)


def ex2(x: Array, random: Generator) -> Array:
    """2 ** x; exactly 1 at zero."""
    exact = np.exp2(np.asarray(x, np.float64))
    return np.where(
        x == 0, np.float32(1), perturb(exact, EX2.around(exact), np.float32, random)
    )


def lg2(x: Array, random: Generator) -> Array:
    """The base-2 logarithm."""
    exact = np.log2(np.asarray(x, np.float64))
    near = (x > 0.5) & (x < 2)
    error = np.where(near, LG2.around(exact), LG2_WIDE.around(exact))
    one = np.where(x == 1, random.uniform(-1, 1, np.shape(x)) * LG2.absolute, 0.0)
    result = perturb(exact, error, np.float32, random)
    return np.where(x == 1, one.astype(np.float32), result)


def _circular(exact: Array, x: Array, random: Generator) -> Array:
    size = np.abs(np.asarray(x, np.float64))
    error = np.where(size <= 2 * np.pi, SIN.absolute, SIN_WIDE.absolute)
    result = perturb(exact, error, np.float32, random)
    anything = random.uniform(-1, 1, np.shape(x)).astype(np.float32)
    return np.where(np.isfinite(x) & (size > 100 * np.pi), anything, result)


def sin(x: Array, random: Generator) -> Array:
    """Sine; a zero keeps its sign."""
    return _circular(np.sin(np.asarray(x, np.float64)), x, random)


def cos(x: Array, random: Generator) -> Array:
    """Cosine; exactly 1 at zero."""
    result = _circular(np.cos(np.asarray(x, np.float64)), x, random)
    return np.where(x == 0, np.float32(1), result)


def tanh(x: Array, random: Generator) -> Array:
    """Hyperbolic tangent; exactly 1 and -1 at the infinities."""
    exact = np.tanh(np.asarray(x, np.float64))
    result = perturb(exact, TANH.around(exact), np.float32, random)
    return np.where(np.isinf(x), exact.astype(np.float32), result)


def reciprocal(x: Array, random: Generator) -> Array:
    """1 / x."""
    exact = 1.0 / np.asarray(x, np.float64)
    return perturb(exact, RCP.around(exact), np.float32, random)


def sqrt(x: Array, random: Generator) -> Array:
    """Square root."""
    exact = np.sqrt(np.asarray(x, np.float64))
    return perturb(exact, SQRT.around(exact), np.float32, random)


def rsqrt(x: Array, random: Generator) -> Array:
    """1 / sqrt(x); of a zero, the infinity of its sign."""
    exact = 1.0 / np.sqrt(np.asarray(x, np.float64))
    return perturb(exact, RSQRT.around(exact), np.float32, random)


def divide(a: Array, b: Array, random: Generator, *, full: bool) -> Array:
    """a / b; unless full range, 0 (of an infinity NaN) where |b| is above 2 ** 126."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    exact = a / b
    # The error is counted in units of the result, also where that is subnormal.
    error = np.maximum(DIV.around(exact), 2.0**-148)
    result = perturb(exact, error, np.float32, random)
    if full:
        return result
    far = (np.abs(b) > 2.0**126) & np.isfinite(b)
    special = np.where(np.isinf(a), np.float32(np.nan), np.copysign(np.float32(0), result))
    return np.where(far & ~np.isnan(a), special, result)
