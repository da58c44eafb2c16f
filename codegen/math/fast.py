"""The faster functions of `fast_math=True`.

`FAST_MATH` is `MATH` with those functions replaced that gain by it. Their results are within 4
units in the last place where operands and results are finite, normal numbers. Beyond that
results are arbitrary, but nothing fails: exp stops at the ends of the normal numbers instead of
over- and underflowing. Polynomials are fitted as those of `MATH` are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .double_word import (
    DOUBLE,
    SINGLE,
    at_most,
    bits_of,
    clamp,
    format_of,
    nearest,
    polynomial,
    signed,
    split_exponent,
    to_float,
    two_sum,
    with_exponent,
)
from .exponential import EXP, EXP2, LN2, LOG2_E
from .logarithm import log2_sum, log10_sum, log_of_sum, log_parts, log_sum
from .registry import MATH

if TYPE_CHECKING:
    from graphjit.codegen.builder import Builder
    from graphjit.codegen.values import Value

# LLVM's flags for arithmetic outside of math functions: products and sums may fuse, divisions
# may become products.
FAST_FLAGS = " contract arcp"
# (e^r − 1) / r on ±½ ln 2: 2^-23.4 and 2^-57.1.
FAST_EXP = {
    "float32": (0.9999997, 0.49999145, 0.16667657, 0.04189858, 0.008288818),
    "float64": (
        *(1.0, 0.5000000000000017, 0.16666666666666805, 0.041666666666481646),
        *(0.008333333333212789, 0.0013888888955779272, 0.00019841270164666305),
        *(2.480148077681973e-05, 2.7556960207832066e-06, 2.763462938721518e-07),
        2.5209607714487236e-08,
    ),
}
LOG10_E, LOG10_2 = 0.4342944819032518, 0.3010299956639812

# ln 2^-126, ln 2^128, ln 2^-1022 and ln 2^1024, each moved a little inward.
EXP_ENDS = {
    "float32": (-87.336544, 88.72283),
    "float64": (-708.3964185322641, 709.782712893384),
}

FAST_MATH: dict[str, Callable[..., Value]] = dict(MATH)


def rule(function: Callable[..., Value]) -> Callable[..., Value]:
    """Replace the function of the same name."""
    FAST_MATH[function.__name__] = function
    return function


def times_power(b: Builder, x: Value, n: Value) -> Value:
    """X · 2^n for an integer n, where the result is normal."""
    fmt = format_of(x)
    return b.bitcast(b.add(bits_of(b, x), b.shl(n, fmt.fraction)), fmt.dtype)


@rule
def exp(b: Builder, x: Value) -> Value:
    """e^x, from the least normal number up to the largest number."""
    name = x.dtype.name
    x = clamp(b, x, *EXP_ENDS[name])
    high, low = LN2[name]
    whole, n = nearest(b, x, LOG2_E)
    r = b.fma(whole, -low, b.fma(whole, -high, x))
    return times_power(b, b.fma(r, polynomial(b, r, FAST_EXP[name]), 1.0), n)


@rule
def exp2(b: Builder, x: Value) -> Value:
    """2^x, from the least normal number up to the largest number."""
    ends = (-1022.0, 1023.9999999999999) if format_of(x) is DOUBLE else (-126.0, 127.99999)
    x = clamp(b, x, *ends)
    whole, n = nearest(b, x, 1.0)
    r = b.sub(x, whole)
    return times_power(b, b.fma(r, polynomial(b, r, EXP2[x.dtype.name]), 1.0), n)


@rule
def sigmoid(b: Builder, x: Value) -> Value:
    """1 / (1 + e^−x)."""
    one = b.const(1.0, x.dtype)
    return b.div(one, b.add(exp(b, b.neg(x)), one))


@rule
def tanh(b: Builder, x: Value) -> Value:
    """The hyperbolic tangent as h / (h + 1) with h = (e^2|x| − 1) / 2; see `tanh_single`."""
    fmt, name = format_of(x), x.dtype.name
    a = at_most(b, b.abs(x), 19.1 if fmt is DOUBLE else 9.1)
    whole, n = nearest(b, a, 2 * LOG2_E, fmt.bias)
    r = b.fma(whole, -sum(LN2[name]) / 2, a)
    doubled = [c * 2.0 ** (i + 1) for i, c in enumerate(EXP[name])]
    q = b.fma(b.mul(r, r), polynomial(b, r, doubled), r)
    power = with_exponent(b, n, fmt)
    h = b.fma(q, power, b.fma(power, 0.5, -0.5))
    return signed(b, b.div(h, b.add(h, 1.0)), x)


def split(b: Builder, x: Value) -> tuple[Value, Value]:
    """(m − 1, k) for a positive normal x = m · 2^k, with k as a float."""
    m, k = split_exponent(b, x)
    return b.sub(m, 1.0), to_float(b, k, format_of(x))


@rule
def log(b: Builder, x: Value) -> Value:
    """The natural logarithm of a positive normal number."""
    return log_sum(b, *split(b, x))


@rule
def log1p(b: Builder, x: Value) -> Value:
    """ln(1 + x)."""
    return log_of_sum(b, two_sum(b, b.const(1.0, x.dtype), x))


def log_times(b: Builder, f: Value, k: Value, factor: float, log_of_two: float) -> Value:
    """K log_of_two + ln(1 + f) · factor, of float64."""
    half_square, rest = log_parts(b, f)
    product = b.mul(b.sub(f, b.sub(half_square, rest)), factor)
    return b.fma(k, log_of_two, product)


@rule
def log2(b: Builder, x: Value) -> Value:
    """The logarithm to base 2 of a positive normal number."""
    if format_of(x) is SINGLE:
        return log2_sum(b, *split(b, x))
    return log_times(b, *split(b, x), LOG2_E, 1.0)


@rule
def log10(b: Builder, x: Value) -> Value:
    """The logarithm to base 10 of a positive normal number."""
    if format_of(x) is SINGLE:
        return log10_sum(b, *split(b, x))
    return log_times(b, *split(b, x), LOG10_E, LOG10_2)
