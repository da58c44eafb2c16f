"""Distributions of scipy.stats that are written out in NumPy's functions.

They compile and have derivatives. Formulas are those of SciPy's documentation (docs.scipy.org).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from graphjit.core.frozen import dataclass

from .promotion import unsupported
from .scipy_formulas import floats, special

_LOG_TWO_PI: Final = math.log(2 * math.pi)
_ROOT_OF_TWO: Final = math.sqrt(2)
Formula = Callable[..., Any]


@dataclass(frozen=True)
class _Family:
    """Distributions of a variable that is standardized by loc and scale.

    formulas: by methods' names, of the variable (of the probability for ppf and isf) and the
    shapes; what there is outside of `low` to `high` isn't theirs. shapes: their names; valid:
    for which values of them there is a distribution, all that are positive by default. inside:
    a value between low and high. open: whether the density is 0 at `low` and `high`, where the
    formulas aren't.
    """

    formulas: dict[str, Formula]
    low: float = -math.inf
    high: float = math.inf
    shapes: tuple[str, ...] = ()
    valid: Formula | None = None
    inside: float = 1.0
    discrete: bool = False
    open: bool = False


def _log_gamma(x: Any) -> Any:
    return special("gammaln", x)


def _gamma_log(y: Any, a: Any) -> Any:
    return special("xlogy", a - 1.0, y) - y - _log_gamma(a)


def _t_log(y: Any, df: Any) -> Any:
    scale = np.log(special("poch", 0.5 * df, 0.5)) - 0.5 * (np.log(df) + math.log(math.pi))
    return scale - (df + 1) / 2 * np.log1p(y * y / df)


def _t_below(y: Any, df: Any) -> Any:
    """The distribution function of Student's t, in both tails accurate."""
    tail = 0.5 * special("betainc", 0.5 * df, np.full_like(y, 0.5), df / (df + y * y))
    return np.where(y > 0, 1.0 - tail, tail)


def _beta_log(y: Any, a: Any, b: Any) -> Any:
    one = special("xlog1py", b - 1.0, -y) + special("xlogy", a - 1.0, y)
    return one - special("betaln", a, b)


def _chi2_log(y: Any, df: Any) -> Any:
    one = special("xlogy", df / 2.0 - 1, y) - y / 2.0 - _log_gamma(df / 2.0)
    return one - math.log(2) * df / 2.0


def _logistic_log(y: Any) -> Any:
    size = -np.abs(y)
    return size - 2.0 * np.log1p(np.exp(size))


def _lognorm_log(y: Any, s: Any) -> Any:
    logarithm = np.log(y)
    return -(logarithm**2) / (2 * s**2) - np.log(s * y * math.sqrt(2 * math.pi))


def _weibull_log(y: Any, c: Any) -> Any:
    return np.log(c) + special("xlogy", c - 1, y) - y**c


def _poisson_log(k: Any, mu: Any) -> Any:
    return special("xlogy", k, mu) - _log_gamma(k + 1) - mu


def _binomial_log(k: Any, n: Any, p: Any) -> Any:
    ways = _log_gamma(n + 1) - (_log_gamma(k + 1) + _log_gamma(n - k + 1))
    found = ways + special("xlogy", k, p) + special("xlog1py", n - k, -p)
    return np.where(k <= n, found, -np.inf)


def _negative_binomial_log(k: Any, n: Any, p: Any) -> Any:
    ways = _log_gamma(n + k) - _log_gamma(k + 1) - _log_gamma(n)
    return ways + n * np.log(p) + special("xlog1py", k, -p)


def _geometric_log(k: Any, p: Any) -> Any:
    return special("xlog1py", k - 1, -p) + np.log(p)


def _by_logarithm(formula: Formula, density: str = "pdf") -> dict[str, Formula]:
    """A density and its logarithm, by the latter."""
    return {f"log{density}": formula, density: lambda *given: np.exp(formula(*given))}


def _part(p: Any) -> Any:
    return (p >= 0) & (p <= 1)


_FAMILIES: Final[dict[str, _Family]] = {
    "norm": _Family({
        "pdf": lambda y: np.exp(-(y**2) / 2.0) / math.sqrt(2 * math.pi),
        "logpdf": lambda y: -(y**2) / 2.0 - 0.5 * _LOG_TWO_PI,
        "cdf": lambda y: special("ndtr", y), "logcdf": lambda y: special("log_ndtr", y),
        "sf": lambda y: special("ndtr", -y), "logsf": lambda y: special("log_ndtr", -y),
        "ppf": lambda q: special("ndtri", q), "isf": lambda q: -special("ndtri", q),
    }),
    "expon": _Family({
        "pdf": lambda y: np.exp(-y), "logpdf": lambda y: -y, "cdf": lambda y: -np.expm1(-y),
        "sf": lambda y: np.exp(-y), "logsf": lambda y: -y,
        "ppf": lambda q: -np.log1p(-q), "isf": lambda q: -np.log(q),
    }, 0.0),
    "laplace": _Family({
        "pdf": lambda y: 0.5 * np.exp(-np.abs(y)),
        "logpdf": lambda y: math.log(0.5) - np.abs(y),
        "cdf": lambda y: np.where(
            y > 0, 1.0 - 0.5 * np.exp(-np.abs(y)), 0.5 * np.exp(-np.abs(y))
        ),
    }),
    "logistic": _Family({
        **_by_logarithm(_logistic_log),
        "cdf": lambda y: special("expit", y), "sf": lambda y: special("expit", -y),
        "logcdf": lambda y: special("log_expit", y),
        "logsf": lambda y: special("log_expit", -y),
        "ppf": lambda q: special("logit", q),
    }),
    "uniform": _Family({
        "pdf": np.ones_like, "logpdf": np.zeros_like, "cdf": lambda y: y, "ppf": lambda q: q,
        "sf": lambda y: 1.0 - y,
    }, 0.0, 1.0, inside=0.5),
    "cauchy": _Family({
        "pdf": lambda y: 1.0 / math.pi / (1.0 + y * y),
        "logpdf": lambda y: -math.log(math.pi) - np.log1p(y * y),
        "cdf": lambda y: np.arctan2(1.0, -y) / math.pi,
        "sf": lambda y: np.arctan2(1.0, y) / math.pi,
    }),
    "gumbel_r": _Family({
        **_by_logarithm(lambda y: -y - np.exp(-y)),
        "cdf": lambda y: np.exp(-np.exp(-y)), "logcdf": lambda y: -np.exp(-y),
        "sf": lambda y: -np.expm1(-np.exp(-y)), "ppf": lambda q: -np.log(-np.log(q)),
    }),
    "halfnorm": _Family({
        "pdf": lambda y: math.sqrt(2.0 / math.pi) * np.exp(-y * y / 2.0),
        "logpdf": lambda y: 0.5 * math.log(2.0 / math.pi) - y * y / 2.0,
        "cdf": lambda y: special("erf", y / _ROOT_OF_TWO),
        "sf": lambda y: 2 * special("ndtr", -y),
    }, 0.0),
    "rayleigh": _Family({
        **_by_logarithm(lambda y: np.log(y) - 0.5 * y * y),
        "cdf": lambda y: -np.expm1(-0.5 * y**2), "sf": lambda y: np.exp(-0.5 * y**2),
        "logsf": lambda y: -0.5 * y * y, "ppf": lambda q: np.sqrt(-2 * np.log1p(-q)),
    }, 0.0, open=True),
    "lognorm": _Family({
        **_by_logarithm(_lognorm_log),
        "cdf": lambda y, s: special("ndtr", np.log(y) / s),
        "logcdf": lambda y, s: special("log_ndtr", np.log(y) / s),
        "sf": lambda y, s: special("ndtr", -np.log(y) / s),
        "logsf": lambda y, s: special("log_ndtr", -np.log(y) / s),
        "ppf": lambda q, s: np.exp(s * special("ndtri", q)),
    }, 0.0, shapes=("s",), open=True),
    "weibull_min": _Family({
        **_by_logarithm(_weibull_log),
        "cdf": lambda y, c: -np.expm1(-(y**c)), "sf": lambda y, c: np.exp(-(y**c)),
        "logsf": lambda y, c: -(y**c), "ppf": lambda q, c: (-np.log1p(-q)) ** (1.0 / c),
    }, 0.0, shapes=("c",)),
    "pareto": _Family({
        "pdf": lambda y, b: b * y ** (-b - 1),
        "logpdf": lambda y, b: np.log(b) - (b + 1) * np.log(y),
        "cdf": lambda y, b: 1 - y ** (-b), "sf": lambda y, b: y ** (-b),
    }, 1.0, shapes=("b",), inside=2.0),
    "gamma": _Family({
        **_by_logarithm(_gamma_log),
        "cdf": lambda y, a: special("gammainc", a, y),
        "sf": lambda y, a: special("gammaincc", a, y),
    }, 0.0, shapes=("a",)),
    "invgamma": _Family({
        **_by_logarithm(lambda y, a: -(a + 1) * np.log(y) - _log_gamma(a) - 1.0 / y),
        "cdf": lambda y, a: special("gammaincc", a, 1.0 / y),
        "sf": lambda y, a: special("gammainc", a, 1.0 / y),
    }, 0.0, shapes=("a",), open=True),
    "chi2": _Family({
        **_by_logarithm(_chi2_log),
        "cdf": lambda y, df: special("gammainc", df / 2.0, y / 2.0),
        "sf": lambda y, df: special("gammaincc", df / 2.0, y / 2.0),
    }, 0.0, shapes=("df",)),
    "t": _Family({
        **_by_logarithm(_t_log),
        "cdf": _t_below, "sf": lambda y, df: _t_below(-y, df),
        "logcdf": lambda y, df: np.log(_t_below(y, df)),
        "logsf": lambda y, df: np.log(_t_below(-y, df)),
    }, shapes=("df",)),
    "beta": _Family({
        **_by_logarithm(_beta_log), "cdf": lambda y, a, b: special("betainc", a, b, y),
    }, 0.0, 1.0, shapes=("a", "b"), inside=0.5),
    "poisson": _Family({
        **_by_logarithm(_poisson_log, "pmf"),
        "cdf": lambda k, mu: special("gammaincc", np.floor(k) + 1, mu),
        "sf": lambda k, mu: special("gammainc", np.floor(k) + 1, mu),
    }, 0.0, shapes=("mu",), valid=lambda mu: mu >= 0, discrete=True),
    "bernoulli": _Family(
        _by_logarithm(
            lambda k, p: special("xlogy", k, p) + special("xlog1py", 1 - k, -p), "pmf"
        ),
        0.0, 1.0, shapes=("p",), valid=_part, discrete=True,
    ),
    "binom": _Family(
        _by_logarithm(_binomial_log, "pmf"), 0.0, shapes=("n", "p"),
        valid=lambda n, p: (n >= 0) & (np.floor(n) == n) & _part(p), discrete=True,
    ),
    "nbinom": _Family(
        _by_logarithm(_negative_binomial_log, "pmf"), 0.0, shapes=("n", "p"),
        valid=lambda n, p: (n > 0) & (p > 0) & (p <= 1), discrete=True,
    ),
    "geom": _Family(
        _by_logarithm(_geometric_log, "pmf"), 1.0, shapes=("p",),
        valid=lambda p: (p > 0) & (p <= 1), discrete=True,
    ),
}  # fmt: skip
# What there is of a value below and above all that can be.
_OUTSIDE: Final = {
    "pdf": (0.0, 0.0), "logpdf": (-math.inf, -math.inf), "cdf": (0.0, 1.0), "sf": (1.0, 0.0),
    "logcdf": (-math.inf, 0.0), "logsf": (0.0, -math.inf), "pmf": (0.0, 0.0),
    "logpmf": (-math.inf, -math.inf),
}  # fmt: skip


def _arguments(
    name: str, method: str, args: Any, kwargs: dict[str, Any]
) -> tuple[Any, list[Any], Any, Any]:
    """What a method is given: the variable, the shapes, loc and scale."""
    family = _FAMILIES[name]
    ends = ("loc",) if family.discrete else ("loc", "scale")
    variable = "q" if method in ("ppf", "isf") else "k" if family.discrete else "x"
    names = (variable, *family.shapes, *ends)
    given = dict(zip(names, args, strict=False)) | kwargs
    if (
        len(args) > len(names)
        or set(given) - set(names)
        or not {variable, *family.shapes} <= set(given)
    ):
        raise unsupported(f"scipy.stats.{name}.{method} with these arguments")
    values = {k: _wide(v) for k, v in given.items()}
    shapes = [values[k] for k in family.shapes]
    return values[variable], shapes, values.get("loc", 0.0), values.get("scale", 1.0)


def _method(name: str, method: str, args: Any, kwargs: dict[str, Any]) -> Any:
    """What a method of a distribution gives."""
    family = _FAMILIES[name]
    x, shapes, loc, scale = _arguments(name, method, args, kwargs)
    valid = scale > 0
    if family.valid is not None:
        valid = valid & family.valid(*shapes)
    else:
        for shape in shapes:
            valid = valid & (shape > 0)
    if method in ("ppf", "isf"):
        return _quantile(family, method, x, shapes, loc, scale, valid)
    y = (x - loc) / scale
    inside = (y >= family.low) & (y <= family.high)
    possible = inside
    if method.endswith("pmf"):
        possible = inside & (np.floor(y) == y)
    elif method.endswith("pdf") and family.open:
        possible = (y > family.low) & (y < family.high)
    safe = np.where(possible, y, family.inside)
    found = family.formulas[method](safe, *shapes)
    if method == "pdf":
        found = found / scale
    elif method == "logpdf":
        found = found - np.log(scale)
    below, above = _OUTSIDE[method]
    found = np.where(possible, found, np.where((y < family.low) | inside, below, above))
    return np.where(valid & (y == y), found, math.nan)[()]


def _quantile(
    family: _Family, method: str, q: Any, shapes: list[Any], loc: Any, scale: Any, valid: Any
) -> Any:
    inside = (q > 0) & (q < 1)
    found = family.formulas[method](np.where(inside, q, 0.5), *shapes)
    low, high = family.low, family.high
    if method == "isf":
        low, high = high, low
    ends = np.where(q == 0, low, np.where(q == 1, high, math.nan))
    return np.where(valid, np.where(inside, found, ends) * scale + loc, math.nan)[()]


def _wide(x: Any) -> Any:
    x = floats(x)
    return x if x.dtype == float else x.astype(float)


# -- several variables


def _normal_parts(mean: Any, cov: Any) -> tuple[int, Any, Any]:
    """The number of variables, their means, and the factor of their covariance."""
    given = [x for x in (mean, cov) if x is not None]
    mean, cov = (None if x is None else _wide(x) for x in (mean, cov))
    if not given:
        size = 1
    elif mean is not None:
        size = int(np.size(mean))
    else:
        size = int(np.shape(cov)[0]) if np.ndim(cov) else 1
    mean = np.zeros(size) if mean is None else np.reshape(mean, (size,))
    if cov is None or np.ndim(cov) == 0:
        cov = np.eye(size) * (1.0 if cov is None else cov)
    elif np.ndim(cov) == 1:
        cov = np.diag(cov)
    if np.shape(cov) != (size, size):
        raise unsupported("a covariance of this shape")
    return size, mean, np.linalg.cholesky(cov)


def _log_determinant(factor: Any) -> Any:
    return 2.0 * np.sum(np.log(np.diagonal(factor)))


def _normal_log(
    x: Any, mean: Any = None, cov: Any = 1, allow_singular: bool = False, *rest: Any
) -> Any:
    """The logarithm of the density of the multivariate normal distribution."""
    if allow_singular or rest:
        raise unsupported("scipy.stats.multivariate_normal with these options")
    size, mean, factor = _normal_parts(mean, cov)
    x = _wide(x)
    if np.ndim(x) == 0:
        x = np.reshape(x, (1,))
    elif np.ndim(x) == 1 and size == 1:
        x = x[:, None]
    if np.shape(x)[-1] != size:
        raise unsupported("values of this shape")
    away = np.reshape(x - mean, (-1, size))
    scaled = np.linalg.solve(factor, away.T)
    squares = np.reshape(np.sum(scaled * scaled, axis=0), np.shape(x)[:-1])
    found = -0.5 * (size * _LOG_TWO_PI + _log_determinant(factor) + squares)
    return np.squeeze(found)[()]


def _normal_entropy(mean: Any = None, cov: Any = 1) -> Any:
    size, _, factor = _normal_parts(mean, cov)
    return 0.5 * (size * (_LOG_TWO_PI + 1) + _log_determinant(factor))


_NORMAL: Final[dict[str, Formula]] = {
    "logpdf": _normal_log,
    "pdf": lambda *args, **kwargs: np.exp(_normal_log(*args, **kwargs)),
    "entropy": _normal_entropy,
}


def distribution_of(function: Any) -> Callable[..., Any] | None:
    """What is called in place of a method of a distribution; None for others."""
    owner, method = getattr(function, "__self__", None), getattr(function, "__name__", None)
    stats = sys.modules.get("scipy.stats")
    if stats is None or owner is None or not isinstance(method, str):
        return None
    if owner is stats.multivariate_normal:
        return _NORMAL.get(method)
    name = getattr(owner, "name", None)
    if not isinstance(name, str) or name not in _FAMILIES:
        return None
    if getattr(stats, name, None) is not owner or method not in _FAMILIES[name].formulas:
        return None
    return lambda *args, **kwargs: _method(name, method, args, kwargs)


__all__ = ["distribution_of"]
