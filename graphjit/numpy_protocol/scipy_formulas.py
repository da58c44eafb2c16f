"""Functions of SciPy that are written out in NumPy's: they compile and have derivatives.

`scipy.special.logsumexp` and its like, and densities of `scipy.stats`. Formulas are SciPy's
(docs.scipy.org).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from graphjit.ops import library
from graphjit.tensors.apply import apply

from .promotion import array, is_symbol, unsupported

_ROOT_OF_TWO_PI: Final = math.sqrt(2 * math.pi)


def _floats(x: Any) -> Any:
    """An array of real floats."""
    kind = x.dtype.kind if is_symbol(x) else np.asarray(x).dtype.kind
    if kind not in "biuf":
        raise unsupported("complex numbers here")
    if not is_symbol(x):
        return np.asarray(x, float if kind != "f" else None)
    return x if kind == "f" else x.astype(float)


def logsumexp(
    a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False
) -> Any:
    """log(sum(exp(a))), the largest terms apart."""
    if b is not None or return_sign:
        raise unsupported("scipy.special.logsumexp with weights or signs")
    a = _floats(a)
    top = np.max(a, axis=axis, keepdims=True)
    is_top = a == top
    count = np.sum(is_top.astype(a.dtype), axis=axis, keepdims=True)
    rest = np.sum(np.exp(np.where(is_top, -np.inf, a) - top), axis=axis, keepdims=True)
    rest = np.where(rest == 0, rest, rest / count)
    found = np.log1p(rest) + np.log(count) + top
    direct = np.log(np.sum(np.exp(a), axis=axis, keepdims=True))
    found = np.where(np.isfinite(found), found, direct)
    return found if keepdims else np.squeeze(found, axis=axis)[()]


def softmax(x: Any, axis: Any = None) -> Any:
    """exp(x) / sum(exp(x))."""
    x = _floats(x)
    sizes = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return sizes / np.sum(sizes, axis=axis, keepdims=True)


def log_softmax(x: Any, axis: Any = None) -> Any:
    """The logarithm of softmax."""
    x = _floats(x)
    top = np.max(x, axis=axis, keepdims=True)
    shifted = x - np.where(np.isfinite(top), top, 0)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


def polygamma(n: Any, x: Any) -> Any:
    """The n-th derivative of digamma, by the Hurwitz zeta function."""
    order = int(n) if not is_symbol(n) and np.ndim(n) == 0 else -1
    if order != n or order < 0:
        raise unsupported("scipy.special.polygamma of several orders")
    x = _floats(x)
    if order == 0:
        return _special("psi", x)
    factor = (-1.0) ** (order + 1) * math.factorial(order)
    return _routine("zeta", np.full_like(x, order + 1.0), x) * factor


def _special(name: str, *arrays: Any) -> Any:
    """A ufunc of scipy.special."""
    return getattr(sys.modules["scipy.special"], name)(*arrays)


def _routine(name: str, *arrays: Any) -> Any:
    return apply(library.special, *map(array, arrays), name=name)


# Of scipy.special, by their names.
_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "logsumexp": logsumexp,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "polygamma": polygamma,
}


# -- densities

Formula = Callable[..., Any]


def _gamma_log(y: Any, a: Any) -> Any:
    return _special("xlogy", a - 1.0, y) - y - _special("gammaln", a)


def _t_log(y: Any, df: Any) -> Any:
    scale = np.log(_special("poch", 0.5 * df, 0.5)) - 0.5 * (np.log(df) + math.log(math.pi))
    return scale - (df + 1) / 2 * np.log1p(y * y / df)


def _beta_log(y: Any, a: Any, b: Any) -> Any:
    one = _special("xlog1py", b - 1.0, -y) + _special("xlogy", a - 1.0, y)
    return one - _special("betaln", a, b)


def _chi2_log(y: Any, df: Any) -> Any:
    one = _special("xlogy", df / 2.0 - 1, y) - y / 2.0 - _special("gammaln", df / 2.0)
    return one - math.log(2) * df / 2.0


def _logistic_log(y: Any) -> Any:
    size = -np.abs(y)
    return size - 2.0 * np.log1p(np.exp(size))


# Of standardized variables, by the methods' names; and where the density isn't 0.
_DENSITIES: Final[dict[str, tuple[float, float, dict[str, Formula]]]] = {
    "norm": (-math.inf, math.inf, {
        "pdf": lambda y: np.exp(-(y**2) / 2.0) / _ROOT_OF_TWO_PI,
        "logpdf": lambda y: -(y**2) / 2.0 - math.log(_ROOT_OF_TWO_PI),
        "cdf": lambda y: _special("ndtr", y),
        "logcdf": lambda y: _special("log_ndtr", y),
        "sf": lambda y: _special("ndtr", -y),
        "logsf": lambda y: _special("log_ndtr", -y),
    }),
    "expon": (0.0, math.inf, {
        "pdf": lambda y: np.exp(-y), "logpdf": lambda y: -y,
        "cdf": lambda y: -np.expm1(-y), "sf": lambda y: np.exp(-y),
    }),
    "laplace": (-math.inf, math.inf, {
        "pdf": lambda y: 0.5 * np.exp(-np.abs(y)),
        "logpdf": lambda y: math.log(0.5) - np.abs(y),
    }),
    "logistic": (-math.inf, math.inf, {
        "logpdf": _logistic_log, "pdf": lambda y: np.exp(_logistic_log(y)),
        "cdf": lambda y: _special("expit", y), "sf": lambda y: _special("expit", -y),
    }),
    "gamma": (0.0, math.inf, {
        "logpdf": _gamma_log, "pdf": lambda y, a: np.exp(_gamma_log(y, a)),
        "cdf": lambda y, a: _special("gammainc", a, y),
    }),
    "chi2": (0.0, math.inf, {
        "logpdf": _chi2_log, "pdf": lambda y, df: np.exp(_chi2_log(y, df)),
    }),
    "t": (-math.inf, math.inf, {
        "logpdf": _t_log, "pdf": lambda y, df: np.exp(_t_log(y, df)),
    }),
    "beta": (0.0, 1.0, {"logpdf": _beta_log}),
}  # fmt: skip
_SHAPES: Final = {"gamma": ("a",), "chi2": ("df",), "t": ("df",), "beta": ("a", "b")}
# What there is of a value below and above all that can be.
_OUTSIDE: Final = {
    "pdf": (0.0, 0.0), "logpdf": (-math.inf, -math.inf), "cdf": (0.0, 1.0), "sf": (1.0, 0.0),
    "logcdf": (-math.inf, 0.0), "logsf": (0.0, -math.inf),
}  # fmt: skip


def _density(name: str, method: str, args: Any, kwargs: dict[str, Any]) -> Any:
    """What a method of a distribution gives."""
    low, high, formulas = _DENSITIES[name]
    names = ("x", *_SHAPES.get(name, ()), "loc", "scale")
    if len(args) > len(names) or method not in formulas:
        raise unsupported(f"scipy.stats.{name}.{method}")
    given = dict(zip(names, args, strict=False)) | kwargs
    if set(given) - set(names) or not set(names[:-2]) <= set(given):
        raise unsupported(f"scipy.stats.{name}.{method} with these arguments")
    values = {k: _wide(v) for k, v in given.items()}
    loc, scale = values.get("loc", 0.0), values.get("scale", 1.0)
    shapes = [values[k] for k in names[1:-2]]
    y = (values["x"] - loc) / scale
    inside = (y >= low) & (y <= high)
    safe = np.where(inside, y, 0.5 if name == "beta" else 1.0)
    found = formulas[method](safe, *shapes)
    if method == "pdf":
        found = found / scale
    elif method == "logpdf":
        found = found - np.log(scale)
    below, above = _OUTSIDE[method]
    found = np.where(inside, found, np.where(y < low, below, above))
    valid = (scale > 0) & (y == y)
    for shape in shapes:
        valid = valid & (shape > 0)
    return np.where(valid, found, math.nan)[()]


def _wide(x: Any) -> Any:
    x = _floats(x)
    return x if x.dtype == float else x.astype(float)


def formula_of(function: Any) -> Callable[..., Any] | None:
    """What is called in place of a function of SciPy's; None for others."""
    name = getattr(function, "__name__", None)
    owner = getattr(function, "__self__", None)
    if owner is None:
        special = sys.modules.get("scipy.special")
        own = getattr(special, name, None) if isinstance(name, str) else None
        return _FUNCTIONS.get(str(name)) if own is function else None
    distribution = getattr(owner, "name", None)
    stats = sys.modules.get("scipy.stats")
    if distribution not in _DENSITIES or getattr(stats, distribution, None) is not owner:
        return None
    if name not in _DENSITIES[distribution][2]:
        return None
    return lambda *args, **kwargs: _density(distribution, name, args, kwargs)


__all__ = ["formula_of"]
