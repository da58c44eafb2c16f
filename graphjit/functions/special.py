"""Special functions of real floating-point values, under SciPy's and TensorFlow's names.

What has no formula in plain primitives is a routine of SciPy's, called between kernels.
"""

from __future__ import annotations

import math as pymath
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.ops import library
from graphjit.ops.primitive import Names
from graphjit.ops.type_rules import require_kind
from graphjit.tensors.apply import TensorBase, apply, as_tensor, same_dtype

from . import math
from .math import erf, erfc, expm1, lgamma, log1p, sigmoid, softplus, xdivy, xlog1py, xlogy
from .reduce import reduce_logsumexp, reduce_sum

LOG_2 = pymath.log(2)
SQRT_HALF = pymath.sqrt(0.5)


if TYPE_CHECKING:
    from graphjit.core.lazy import name_from_records as __getattr__  # noqa: F401


def _routine(name: str, names: Names) -> Callable[[Any], Any]:
    def function(x: Any) -> Any:
        return apply(library.special, as_tensor(x), name=name)

    function.__name__ = function.__qualname__ = names.public[0]
    function.__module__ = __name__
    function.__doc__ = (
        f"{names.doc} Same shape as x; raises InvalidArgumentError for its dtype."
    )
    return function


def _routines() -> dict[str, Callable[[Any], Any]]:
    """Functions that are a routine of SciPy's, by all their names."""
    found: dict[str, Callable[[Any], Any]] = {}
    for name, names in library.SPECIAL.items():
        if names.public:
            found |= dict.fromkeys(names.public, _routine(name, names))
    return found


_MADE = _routines()
globals().update(_MADE)
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
    return math.where(zero, _MADE["digamma"](x), math.where(even, math.negative(size), size))


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
    zero, positive = math.zeros_like_scalar(x), math.greater(x, 0)
    safe = math.where(positive, x, math.ones_like_scalar(x))
    value = math.negative(math.multiply(safe, math.log(safe)))
    edge = math.where(math.equal(x, 0), zero, as_tensor(float("-inf"), x.dtype))
    return math.where(math.is_nan(x), x, math.where(positive, value, edge))


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
    return math.sin_quotient(math.multiply(x, pymath.pi))


def logsumexp(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log(sum(exp(a))) along axes without overflow."""
    return reduce_logsumexp(a, axis, keepdims)


def log_cosh(x: Any) -> Any:
    """log(cosh(x)) without overflow."""
    x = _real(x, "LogCosh")
    return math.subtract(math.add(x, softplus(math.multiply(x, -2.0))), LOG_2)


__all__ = [
    "betainc", "betaln", "entr", "erf", "erfc", "expit", "expm1", "gammainc", "gammaincc",
    "gammaln", "igamma", "igammac", "kl_div", "lbeta", "lgamma", "log1p", "log_cosh",
    "log_expit", "logit", "logsumexp", "multigammaln", "ndtr", "polygamma", "rel_entr",
    "sigmoid", "sinc", "softplus", "xdivy", "xlog1py", "xlogy", "zeta", *_MADE,
]  # fmt: skip
