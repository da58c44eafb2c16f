"""Random tensors under keras.backend's names.

With a seed they are the same at each call. Without one they come from the generator that all
share, which `gj.random.set_seed` seeds, in compiled functions, too.
"""

from __future__ import annotations

from typing import Any

from graphjit.core.types import as_dtype, float32
from graphjit.functions import math
from graphjit.random import dropout as shared
from graphjit.random import get_global_generator, stateless
from graphjit.random.words import FLOATS
from graphjit.tensors.apply import as_tensor
from graphjit.tensors.variable import Variable

from .settings import floatx

__all__ = [
    "dropout", "random_bernoulli", "random_binomial", "random_normal", "random_normal_variable",
    "random_uniform", "random_uniform_variable", "truncated_normal",
]  # fmt: skip


def _seed(seed: Any) -> Any:
    """The two integers of a seed; drawn anew where there is none."""
    if seed is None:
        return get_global_generator().make_seeds(1)[:, 0]
    return as_tensor([seed, 0])


def random_normal(
    shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    """Normally distributed numbers."""
    return stateless.stateless_normal(shape, _seed(seed), mean, stddev, dtype or floatx())


def random_uniform(
    shape: Any, minval: float = 0.0, maxval: float = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    """Numbers spread evenly over [minval, maxval)."""
    return stateless.stateless_uniform(shape, _seed(seed), minval, maxval, dtype or floatx())


def random_bernoulli(shape: Any, p: float = 0.0, dtype: Any = None, seed: Any = None) -> Any:
    """1 with probability p, else 0."""
    target = as_dtype(dtype or floatx())
    kind = target if target in FLOATS else float32
    return math.cast(random_uniform(shape, dtype=kind, seed=seed) < as_tensor(p, kind), target)


random_binomial = random_bernoulli


def truncated_normal(
    shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    """Normally distributed numbers within two standard deviations of the mean."""
    return stateless.stateless_truncated_normal(
        shape, _seed(seed), mean, stddev, dtype or floatx()
    )


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
    return shared.dropout(x, level, noise_shape, seed)
