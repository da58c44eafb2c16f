"""The elementary functions, written from the arithmetic that a target has.

`MATH` maps a name to a function that takes a Builder and operands of float32 or float64
(complex ones for names that begin with "complex_"). It writes polynomial code without tables,
with the same instructions for any number of lanes. Its only branches go around rare operands,
such as huge ones of sin, cos and tan. Real results are within 2 units in the last place of the
true value over the whole range, subnormal numbers included.

The polynomials are minimax (Remez exchange; the weight is the relative error of the whole
function). Their leading coefficients are rounded one after another and the rest fitted anew.
The error beside each is the relative error of the function that it causes.
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
from .registry import MATH

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
