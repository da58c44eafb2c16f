"""Random tensors under keras.backend's names. Eager: drawn anew at each call.

Inside a traced function they raise TracingError (which makes the function run eagerly): there
is no generator in compiled code yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, TracingError, at_user_line
from graphjit.core.types import as_dtype
from graphjit.functions import math
from graphjit.functions.shape import as_shape, broadcast_to
from graphjit.tensors.apply import as_tensor, current_trace, wrap
from graphjit.tensors.variable import Variable

from .settings import floatx

__all__ = [
    "dropout", "random_bernoulli", "random_binomial", "random_normal", "random_normal_variable",
    "random_uniform", "random_uniform_variable", "truncated_normal",
]  # fmt: skip


def _draw(
    shape: Any, dtype: Any, seed: int | None, numbers: Callable[[np.random.Generator, Any], Any]
) -> Any:
    if current_trace.get() is not None:
        raise TracingError(at_user_line("random numbers can't be traced"))
    target = as_dtype(dtype or floatx())
    values = numbers(np.random.default_rng(seed), as_shape(shape, "Random"))
    return wrap(np.asarray(values).astype(target.dtype))


def random_normal(
    shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    """Normally distributed numbers."""
    return _draw(shape, dtype, seed, lambda g, s: g.normal(mean, stddev, s))


def random_uniform(
    shape: Any, minval: float = 0.0, maxval: float = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    """Numbers spread evenly over [minval, maxval)."""
    return _draw(shape, dtype, seed, lambda g, s: g.uniform(minval, maxval, s))


def random_bernoulli(shape: Any, p: float = 0.0, dtype: Any = None, seed: Any = None) -> Any:
    """1 with probability p, else 0."""
    return _draw(shape, dtype, seed, lambda g, s: g.random(s) < p)


random_binomial = random_bernoulli


def truncated_normal(
    shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    """Normally distributed numbers within two standard deviations of the mean."""

    def numbers(generator: np.random.Generator, extents: Any) -> Any:
        values = generator.normal(size=extents)
        while (far := np.abs(values) > 2).any():
            values = np.where(far, generator.normal(size=extents), values)
        return mean + stddev * values

    return _draw(shape, dtype, seed, numbers)


def random_normal_variable(
    shape: Any, mean: float, scale: float, dtype: Any = None, name: Any = None, seed: Any = None
) -> Variable:
    """A variable of normally distributed numbers."""
    return Variable(random_normal(shape, mean, scale, dtype, seed), name=name)


def random_uniform_variable(
    shape: Any, low: float, high: float, dtype: Any = None, name: Any = None, seed: Any = None
) -> Variable:
    """A variable of numbers spread evenly over [low, high)."""
    return Variable(random_uniform(shape, low, high, dtype, seed), name=name)


def dropout(x: Any, level: float, noise_shape: Any = None, seed: Any = None) -> Any:
    """Elements set to 0 with probability `level`, the others scaled by 1 / (1 - level)."""
    if not 0 <= level < 1:
        raise InvalidArgumentError(
            at_user_line(f"level is in [0, 1), not {level!r} [Op:Dropout]")
        )
    x = as_tensor(x)
    shape = x.type.shape if noise_shape is None else noise_shape
    keep = math.cast(random_bernoulli(shape, 1 - level, seed=seed), "bool")
    scaled = math.multiply(x, as_tensor(1 / (1 - level), x.dtype))
    return math.where(broadcast_to(keep, x.type.shape), scaled, math.zeros_like_scalar(x))
