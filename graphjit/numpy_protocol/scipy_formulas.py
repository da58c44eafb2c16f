"""Functions of SciPy that are written out in NumPy's: they compile and have derivatives.

`scipy.special.logsumexp` and its like. Formulas are SciPy's (docs.scipy.org).
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


def floats(x: Any) -> Any:
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
    a, weights = floats(a), None if b is None else floats(b)
    if weights is not None:
        a, weights = np.broadcast_arrays(a, weights)
        a = np.where(weights == 0, -np.inf, a)

    def total(terms: Any) -> Any:
        terms = terms if weights is None else terms * weights
        return np.sum(terms, axis=axis, keepdims=True)

    top = np.max(a, axis=axis, keepdims=True)
    is_top = a == top
    count = total(is_top.astype(a.dtype))
    rest = total(np.exp(np.where(is_top, -np.inf, a) - top))
    rest = np.where(rest == 0, rest, rest / count)
    found = np.log1p(rest) + np.log(np.abs(count)) + top
    whole = total(np.exp(a))
    settled = np.isfinite(found)
    found = np.where(settled, found, np.log(np.abs(whole)))
    sign = np.where(settled, np.sign(count) * np.sign(rest + 1), np.sign(whole))
    if not return_sign and weights is not None:
        found = np.where(sign < 0, np.nan, found)
    if not keepdims:
        found, sign = (np.squeeze(x, axis=axis)[()] for x in (found, sign))
    return (found, sign) if return_sign else found


def softmax(x: Any, axis: Any = None) -> Any:
    """exp(x) / sum(exp(x))."""
    x = floats(x)
    sizes = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return sizes / np.sum(sizes, axis=axis, keepdims=True)


def log_softmax(x: Any, axis: Any = None) -> Any:
    """The logarithm of softmax."""
    x = floats(x)
    top = np.max(x, axis=axis, keepdims=True)
    shifted = x - np.where(np.isfinite(top), top, 0)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


def polygamma(n: Any, x: Any) -> Any:
    """The n-th derivative of digamma, by the Hurwitz zeta function."""
    order = int(n) if not is_symbol(n) and np.ndim(n) == 0 else -1
    if order != n or order < 0:
        raise unsupported("scipy.special.polygamma of several orders")
    x = floats(x)
    if order == 0:
        return special("psi", x)
    factor = (-1.0) ** (order + 1) * math.factorial(order)
    return _routine("zeta", np.full_like(x, order + 1.0), x) * factor


def multigammaln(a: Any, d: Any) -> Any:
    """The logarithm of the multivariate gamma function of d dimensions."""
    if is_symbol(d) or np.ndim(d) or int(d) != d or d < 1:
        raise unsupported("scipy.special.multigammaln of several dimensions")
    a, d = floats(a), int(d)
    terms = [special("gammaln", a - (j - 1.0) / 2) for j in range(1, d + 1)]
    return sum(terms[1:], terms[0]) + d * (d - 1) * 0.25 * math.log(math.pi)


def special(name: str, *arrays: Any) -> Any:
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
    "multigammaln": multigammaln,
}


def formula_of(function: Any) -> Callable[..., Any] | None:
    """What is called in place of a function of scipy.special; None for others."""
    name = getattr(function, "__name__", None)
    special = sys.modules.get("scipy.special")
    own = getattr(special, name, None) if isinstance(name, str) else None
    return _FUNCTIONS.get(str(name)) if own is function else None


__all__ = ["floats", "formula_of", "special"]
