"""numexpr: element by element with one output and no axes; NumPy does the reductions.

Left out: matrix products, which would be NumPy's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numexpr
import numpy as np
from workloads import STEPS

from peers import Peer

Array = np.ndarray[Any, Any]
f32 = np.float32


def _compiled(text: str, *names: str) -> Callable[..., Any]:
    # `float` is numexpr's name for float32; constants as arguments keep it so
    return numexpr.NumExpr(text, [(name, float) for name in names])


HALF, ONE = f32(0.5), f32(1)

_polynomial = _compiled("a*x*x + b*x + c", "a", "b", "c", "x")


def chain(x: Array) -> Array:
    return _polynomial(f32(1.5), HALF, f32(2), x)


_gelu_names = ("half", "one", "root", "cubic", "x")
_gelu = _compiled("half*x*(one + tanh(root*(x + cubic*x*x*x)))", *_gelu_names)


def gelu(x: Array) -> Array:
    return _gelu(HALF, ONE, f32(math.sqrt(2 / math.pi)), f32(0.044715), x)


# numexpr has neither minimum nor maximum of two: where does both
_step = "where({0} < low, low, where({0} > high, high, {0}))"
_step = _step.format("(abs(x * scale + shift) - offset)")
_step_expression = _compiled(_step, "x", "scale", "shift", "offset", "low", "high")


def sixty_ops(x: Array) -> Array:
    # one pass for each six ops: in one text the common subexpressions overflow its registers
    low, high = f32(-1.75), f32(1.75)
    for scale, shift, offset in STEPS:
        x = _step_expression(x, f32(scale), f32(shift), f32(offset), low, high)
    return x


_less_exp = _compiled("exp(x - m)", "x", "m")
_over = _compiled("e / s", "e", "s")


def softmax(x: Array) -> Array:
    e = _less_exp(x, x.max(axis=-1, keepdims=True))
    return _over(e, e.sum(axis=-1, keepdims=True))


def logsumexp(x: Array) -> Array:
    m = x.max(axis=-1, keepdims=True)
    return np.log(_less_exp(x, m).sum(axis=-1)) + m[:, 0]


_normed = _compiled("(x - m) / sqrt(v + eps) * g + b", "x", "m", "v", "eps", "g", "b")


def layer_norm(x: Array, scale: Array, shift: Array) -> Array:
    m, v = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
    return _normed(x, m, v, f32(1e-5), scale, shift)


_standard = _compiled("(x - m) / s", "x", "m", "s")


def standardize(x: Array) -> Array:
    return _standard(x, x.mean(axis=0), x.std(axis=0))


_squares = _compiled(
    "(a0 - b0) * (a0 - b0) + (a1 - b1) * (a1 - b1) + (a2 - b2) * (a2 - b2)",
    *("a0", "a1", "a2", "b0", "b1", "b2"),
)


def nearest(a: Array, b: Array) -> Array:
    return _squares(*(a[:, k, None] for k in range(3)), *b.T).min(axis=1)


_stencil_expression = _compiled(
    "q * (up + down + left + right) - x", *["q", "up", "down", "left", "right", "x"]
)


def stencil(x: Array) -> Array:
    around = x[:-2, 1:-1], x[2:, 1:-1], x[1:-1, :-2], x[1:-1, 2:]
    return _stencil_expression(f32(0.25), *around, x[1:-1, 1:-1])


_add = _compiled("x + y", "x", "y")


def transpose_add(x: Array, y: Array) -> Array:
    return _add(x.T, y)


_distance = _compiled("(log(p / k) + drift * t) / (s * sqrt(t))", "p", "k", "t", "drift", "s")
_shifted = _compiled("d - s * sqrt(t)", "d", "s", "t")
_present = _compiled("k * exp(-r * t)", "k", "r", "t")
_call_expression = _compiled("p * n1 - k * n2", "p", "n1", "k", "n2")
_put_expression = _compiled("c - p + k", "c", "p", "k")
# numexpr has no erf: Abramowitz and Stegun 26.2.17 for the normal distribution
_cdf_names = ("one", "q", "a1", "a2", "a3", "a4", "a5")
_cdf_values = (1, 1 / math.sqrt(2 * math.pi))
_cdf_values += (0.319381530, -0.356563782, 1.781477937, -1.821255978, 1.330274429)
_tail = "q * exp(-half*d*d) * (w*(a1 + w*(a2 + w*(a3 + w*(a4 + w*a5)))))"
_inverse = _compiled("one / (one + c * abs(d))", "one", "c", "d")
_cdf_expression = _compiled(
    f"where(d >= zero, one - {_tail}, {_tail})", *_cdf_names, "half", "zero", "d", "w"
)


def _cdf(d: Array) -> Array:
    w = _inverse(ONE, f32(0.2316419), d)
    return _cdf_expression(*map(f32, _cdf_values), HALF, f32(0), d, w)


def black_scholes(
    price: Array, strike: Array, years: Array, rate: float, sigma: float
) -> tuple[Array, Array]:
    drift, s = f32(rate + 0.5 * sigma * sigma), f32(sigma)
    d1 = _distance(price, strike, years, drift, s)
    n1, n2 = _cdf(d1), _cdf(_shifted(d1, s, years))
    discounted = _present(strike, f32(rate), years)
    call = _call_expression(price, n1, discounted, n2)
    return call, _put_expression(call, price, discounted)


FUNCTIONS: tuple[Callable[..., Any], ...] = (
    chain,
    black_scholes,
    gelu,
    sixty_ops,
    softmax,
    layer_norm,
    logsumexp,
    standardize,
    nearest,
    stencil,
    transpose_add,
)


def peer() -> Peer:
    """ndarrays in and out."""
    return Peer({f.__name__: f for f in FUNCTIONS})
