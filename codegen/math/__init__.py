"""The elementary functions, written from the arithmetic that a target has.

`MATH` maps a name to a function that takes a Builder and operands of float32 or float64 (those
that begin with "complex_", complex ones) and writes polynomial code: no tables, no branch but
round rare arguments, huge ones of sin, cos and tan say, and the same instructions for any
number of lanes. Real results are within 2 units in the last place of the true value over the
whole range, subnormal numbers included.

The polynomials are minimax (Remez exchange; the weight is the relative error of the whole
function), their leading coefficients rounded one after another and the rest fitted anew; the
error beside each is the relative error of the function that it causes.
"""

from . import (
    complex_numbers,
    error_function,
    exponential,
    gamma,
    logarithm,
    power,
    trigonometry,
)
from .rules import MATH

__all__ = [
    "MATH",
    "complex_numbers",
    "error_function",
    "exponential",
    "gamma",
    "logarithm",
    "power",
    "trigonometry",
]
