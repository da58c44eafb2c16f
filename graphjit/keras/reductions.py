"""Reductions and scans."""

from __future__ import annotations

from typing import Any

from graphjit.functions import math
from graphjit.functions import reduce as _reduce
from graphjit.tensors.apply import as_tensor

from .settings import floatx

__all__ = [
    "all", "any", "argmax", "argmin", "cumprod", "cumsum", "logsumexp", "max", "mean", "min",
    "prod", "std", "sum", "var",
]  # fmt: skip


def _inexact(x: Any) -> Any:
    x = as_tensor(x)
    return math.cast(x, floatx()) if x.dtype.is_bool else x


def max(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Largest element."""
    return _reduce.reduce_max(x, axis, keepdims)


def min(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Smallest element."""
    return _reduce.reduce_min(x, axis, keepdims)


def sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Sum; bools are refused, as TensorFlow does."""
    return _reduce.reduce_sum(x, axis, keepdims)


def prod(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Product."""
    return _reduce.reduce_prod(x, axis, keepdims)


def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Mean; bools are cast to the default float dtype."""
    return _reduce.reduce_mean(_inexact(x), axis, keepdims)


def var(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Variance; bools are cast to the default float dtype."""
    return _reduce.reduce_variance(_inexact(x), axis, keepdims)


def std(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Standard deviation; bools are cast to the default float dtype."""
    return _reduce.reduce_std(_inexact(x), axis, keepdims)


def any(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether any element isn't 0."""
    return _reduce.reduce_any(_reduce.as_bool(x), axis, keepdims)


def all(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether no element is 0."""
    return _reduce.reduce_all(_reduce.as_bool(x), axis, keepdims)


def argmax(x: Any, axis: int = -1) -> Any:
    """Index of the first largest element along an axis, int64."""
    return _reduce.argmax(x, axis)


def argmin(x: Any, axis: int = -1) -> Any:
    """Index of the first smallest element along an axis, int64."""
    return _reduce.argmin(x, axis)


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))) without overflow."""
    return _reduce.reduce_logsumexp(x, axis, keepdims)


def cumsum(x: Any, axis: int = 0) -> Any:
    """Running sum along an axis."""
    return _reduce.cumsum(x, axis)


def cumprod(x: Any, axis: int = 0) -> Any:
    """Running product along an axis."""
    return _reduce.cumprod(x, axis)
