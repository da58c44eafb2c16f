"""Special functions of real floating-point values, under SciPy's and TensorFlow's names.

What has no formula in plain primitives is a routine of SciPy's, called between kernels.
"""

from __future__ import annotations

import math as pymath
from collections.abc import Callable
from typing import Any

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.ops import library
from graphjit.ops.rules import require_kind
from graphjit.tensors.apply import TensorBase, apply, as_tensor, same_dtype

from . import math
from .math import erf, erfc, expm1, lgamma, log1p, sigmoid, softplus, xdivy, xlog1py, xlogy
from .reduce import reduce_logsumexp, reduce_sum

LOG_2 = pymath.log(2)
SQRT_HALF = pymath.sqrt(0.5)


def _routine(name: str, doc: str) -> Callable[[Any], Any]:
    def function(x: Any) -> Any:
        return apply(library.special, as_tensor(x), name=name)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{doc} Same shape as x; raises InvalidArgumentError for its dtype."
    return function


digamma = _routine("digamma", "Derivative of lgamma.")
erfinv = _routine("erfinv", "Inverse of erf.")
erfcinv = _routine("erfcinv", "Inverse of erfc.")
ndtri = _routine("ndtri", "Quantile of the standard normal distribution.")
log_ndtr = _routine("log_ndtr", "Logarithm of ndtr, accurate for very negative x.")
i0 = _routine("i0", "Modified Bessel function of the first kind, order 0.")
i0e = _routine("i0e", "exp(-|x|) i0(x).")
i1 = _routine("i1", "Modified Bessel function of the first kind, order 1.")
i1e = _routine("i1e", "exp(-|x|) i1(x).")
k0 = _routine("k0", "Modified Bessel function of the second kind, order 0.")
k0e = _routine("k0e", "exp(x) k0(x).")
k1 = _routine("k1", "Modified Bessel function of the second kind, order 1.")
k1e = _routine("k1e", "exp(x) k1(x).")
j0 = _routine("j0", "Bessel function of the first kind, order 0.")
j1 = _routine("j1", "Bessel function of the first kind, order 1.")
y0 = _routine("y0", "Bessel function of the second kind, order 0.")
y1 = _routine("y1", "Bessel function of the second kind, order 1.")
dawsn = _routine(
    "dawsn", "Dawson's integral: exp(-x²) times the integral of exp(t²) from 0 to x."
)
spence = _routine("spence", "Spence's function: the integral of log(t) / (1 - t) from 1 to x.")
exp1 = _routine("exp1", "Exponential integral E1.")
expi = _routine("expi", "Exponential integral Ei.")
sin_integral = _routine("sici_s", "Sine integral: of sin(t) / t from 0 to x.")
cos_integral = _routine(
    "sici_c", "Cosine integral: Euler's constant + log x + of (cos t - 1) / t."
)
fresnel_sin = _routine("fresnel_s", "Fresnel integral of sin(π t² / 2) from 0 to x.")
fresnel_cos = _routine("fresnel_c", "Fresnel integral of cos(π t² / 2) from 0 to x.")

# TensorFlow's names
bessel_i0, bessel_i0e, bessel_i1, bessel_i1e = i0, i0e, i1, i1e
bessel_k0, bessel_k0e, bessel_k1, bessel_k1e = k0, k0e, k1, k1e
bessel_j0, bessel_j1, bessel_y0, bessel_y1 = j0, j1, y0, y1
expint = expi
psi = digamma
gammaln = lgamma
expit = sigmoid


def _several(name: str, *operands: Any) -> Any:
    return apply(library.special, *same_dtype(*operands), name=name)


def igamma(a: Any, x: Any) -> Any:
    """The lower regularised incomplete gamma function P(a, x); shapes broadcast."""
    return _several("gammainc", a, x)


def igammac(a: Any, x: Any) -> Any:
    """The upper regularised incomplete gamma function Q(a, x) = 1 - P(a, x)."""
    return _several("gammaincc", a, x)


def gammainc(a: Any, x: Any) -> Any:
    """As igamma, under SciPy's name."""
    return igamma(a, x)


def gammaincc(a: Any, x: Any) -> Any:
    """As igammac, under SciPy's name."""
    return igammac(a, x)


def betainc(a: Any, b: Any, x: Any) -> Any:
    """The regularised incomplete beta function I_x(a, b); shapes broadcast."""
    return _several("betainc", a, b, x)


def zeta(x: Any, q: Any) -> Any:
    """The Hurwitz zeta function: the sum of (q + k)^-x over k from 0; shapes broadcast."""
    return _several("zeta", x, q)


def polygamma(a: Any, x: Any) -> Any:
    """The derivative of digamma of order a, which is a whole number of x's dtype."""
    a, x = same_dtype(a, x)
    require_kind(x.dtype, "f", "Polygamma")
    zero = math.equal(a, 0)
    order = math.add(math.where(zero, math.ones_like_scalar(a), a), 1.0)
    even = math.equal(math.floormod(a, 2.0), 0)
    size = math.multiply(math.exp(lgamma(order)), zeta(order, x))
    return math.where(zero, digamma(x), math.where(even, math.negative(size), size))


def ndtr(x: Any) -> Any:
    """The standard normal distribution function: erfc(-x / √2) / 2."""
    x = _real(x, "Ndtr")
    return math.multiply(erfc(math.multiply(x, -SQRT_HALF)), 0.5)


def _real(value: Any, op: str) -> TensorBase:
    x = as_tensor(value)
    require_kind(x.dtype, "f", op)
    return x


def betaln(a: Any, b: Any) -> Any:
    """The logarithm of the beta function: lgamma(a) + lgamma(b) - lgamma(a + b)."""
    a, b = same_dtype(a, b)
    return math.subtract(math.add(lgamma(a), lgamma(b)), lgamma(math.add(a, b)))


def lbeta(x: Any) -> Any:
    """The logarithm of the multivariate beta function of the last axis: [..., n] to [...]."""
    x = _real(x, "Lbeta")
    if x.ndim == 0:
        raise InvalidArgumentError(at_user_line("lbeta of a scalar [Op:Lbeta]"))
    total = reduce_sum(x, -1)
    # of no numbers the product of gammas is 1, and that of their sum infinite
    return math.subtract(reduce_sum(lgamma(x), -1), lgamma(total))


def multigammaln(a: Any, p: int) -> Any:
    """The logarithm of the multivariate gamma function of order p, elementwise."""
    x = _real(a, "Multigammaln")
    if isinstance(p, bool) or not isinstance(p, int) or p < 1:
        raise InvalidArgumentError(
            at_user_line(f"the order must be a positive integer, not {p!r} [Op:Multigammaln]")
        )
    result: Any = math.add(lgamma(x), p * (p - 1) / 4 * pymath.log(pymath.pi))
    for k in range(1, p):
        result = math.add(result, lgamma(math.subtract(x, k / 2)))
    return result


def logit(x: Any) -> Any:
    """log(x / (1 - x)), the inverse of sigmoid."""
    x = _real(x, "Logit")
    # log(x) - log1p(-x) loses nothing at either end; near 1/2 its parts nearly cancel
    near = math.log1p(math.divide(math.subtract(math.add(x, x), 1.0), math.subtract(1.0, x)))
    far = math.subtract(math.log(x), math.log1p(math.negative(x)))
    middle = math.less(math.abs(math.subtract(x, 0.5)), 0.2)
    return math.where(middle, near, far)


def log_expit(x: Any) -> Any:
    """log(sigmoid(x)), accurate for very negative x."""
    return math.negative(softplus(math.negative(x)))


def entr(x: Any) -> Any:
    """-x log(x); 0 at 0, -inf below it."""
    x = _real(x, "Entr")
    infinity = as_tensor(float("-inf"), x.dtype)
    return math.where(math.less(x, 0), infinity, math.negative(xlogy(x, x)))


def rel_entr(x: Any, y: Any) -> Any:
    """X log(x / y); 0 where x is 0 and y isn't negative; inf where either is out of range."""
    x, y = same_dtype(x, y)
    require_kind(x.dtype, "f", "RelEntr")
    zero, one = math.zeros_like_scalar(x), math.ones_like_scalar(x)
    both = math.logical_and(math.greater(x, 0), math.greater(y, 0))
    ratio = math.divide(math.where(both, x, one), math.where(both, y, one))
    value = math.multiply(x, math.log(ratio))
    nothing = math.logical_and(math.equal(x, 0), math.greater_equal(y, 0))
    other = math.where(nothing, zero, as_tensor(float("inf"), x.dtype))
    result = math.where(both, value, other)
    unknown = math.logical_or(math.is_nan(x), math.is_nan(y))
    return math.where(unknown, math.add(x, y), result)


def kl_div(x: Any, y: Any) -> Any:
    """X log(x / y) - x + y; inf where either is out of range."""
    x, y = same_dtype(x, y)
    valid = math.logical_and(math.greater_equal(x, 0), math.greater_equal(y, 0))
    value = math.add(math.subtract(rel_entr(x, y), x), y)
    unknown = math.logical_or(math.is_nan(x), math.is_nan(y))
    keep = math.logical_or(valid, unknown)
    return math.where(keep, value, as_tensor(float("inf"), x.dtype))


def sinc(x: Any) -> Any:
    """sin(π x) / (π x); 1 at 0."""
    x = _real(x, "Sinc")
    if x.dtype.is_narrow:  # in narrow floats π x is off by more than sin can bear
        return math.cast(sinc(math.cast(x, "float32")), x.dtype)
    zero = math.equal(x, 0)
    angle = math.multiply(math.where(zero, math.ones_like_scalar(x), x), pymath.pi)
    return math.where(zero, math.ones_like_scalar(x), math.divide(math.sin(angle), angle))


def logsumexp(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log(sum(exp(a))) along axes without overflow."""
    return reduce_logsumexp(a, axis, keepdims)


def log_cosh(x: Any) -> Any:
    """log(cosh(x)) without overflow."""
    x = _real(x, "LogCosh")
    return math.subtract(math.add(x, softplus(math.multiply(x, -2.0))), LOG_2)


__all__ = [
    "bessel_i0", "bessel_i0e", "bessel_i1", "bessel_i1e", "bessel_j0", "bessel_j1",
    "bessel_k0", "bessel_k0e", "bessel_k1", "bessel_k1e", "bessel_y0", "bessel_y1", "betainc",
    "betaln", "cos_integral", "dawsn", "digamma", "entr", "erf", "erfc", "erfcinv", "erfinv",
    "exp1", "expi", "expint", "expit", "expm1", "fresnel_cos", "fresnel_sin", "gammainc",
    "gammaincc", "gammaln", "i0", "i0e", "i1", "i1e", "igamma", "igammac", "j0", "j1", "k0",
    "k0e", "k1", "k1e", "kl_div", "lbeta", "lgamma", "log1p", "log_cosh", "log_expit",
    "log_ndtr", "logit", "logsumexp", "multigammaln", "ndtr", "ndtri", "polygamma", "psi",
    "rel_entr", "sigmoid", "sin_integral", "sinc", "softplus", "spence", "xdivy", "xlog1py",
    "xlogy", "y0", "y1", "zeta",
]  # fmt: skip
