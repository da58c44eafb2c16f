"""Draws from seeds of two integers, under TensorFlow's names.

The bits, and the uniform and normal numbers and integers made of them, are TensorFlow's own on
a CPU and a GPU (its generator of the name "philox"; numbers of float16, float32 and float64 to
the bit where they are uniform, to rounding where they are normal). The words of other
distributions are the same, and the way from them is graphjit's.
"""

from __future__ import annotations

from typing import Any

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import DType, as_dtype, float32, float64, int32, int64, uint32, uint64
from graphjit.functions import math
from graphjit.functions.shape import as_shape, transpose
from graphjit.tensors.apply import as_tensor

from . import continuous, discrete
from .seeds import seed_counter, seed_key
from .words import FLOATS, Counter, draw, integers, normals, one_extent, units

# Below which a number isn't taken the logarithm of.
_LEAST = 1.0e-7


def uniform_of(
    counter: Counter, shape: Any, minval: Any, maxval: Any, dtype: Any, op: str
) -> Any:
    """Uniform numbers or integers, as TensorFlow makes them of the words of a counter."""
    target = as_dtype(dtype)
    if target in FLOATS:
        top = 1 if maxval is None else maxval
        low, high = (continuous.parameter(x, target) for x in (minval, top))
        return draw(counter, shape, *units(target), op) * (high - low) + low
    if target not in (int32, int64, uint32, uint64):
        raise InvalidArgumentError(at_user_line(f"Invalid dtype {target.name} [Op:{op}]"))
    if (minval is None) != (maxval is None):
        raise InvalidArgumentError(
            at_user_line(
                f"For integer dtype {target.name}, minval and maxval must be both `None` or "
                f"both non-`None` [Op:{op}]"
            )
        )
    if minval is None:
        return draw(counter, shape, *integers(target), op)
    if target.kind == "u":
        raise InvalidArgumentError(
            at_user_line(f"Invalid dtype for bounded uniform integers: {target.name} [Op:{op}]")
        )
    return _bounded(counter, shape, minval, maxval, target, op)


def _bounded(
    counter: Counter, shape: Any, minval: Any, maxval: Any, dtype: DType, op: str
) -> Any:
    """minval + word % (maxval - minval)."""
    unsigned = uint32 if dtype is int32 else uint64
    low, high = (_integer_bound(x, dtype, op) for x in (minval, maxval))
    span = math.bitcast(high, unsigned) - math.bitcast(low, unsigned)
    words = draw(counter, shape, *integers(unsigned), op)
    return math.bitcast(math.bitcast(low, unsigned) + math.floormod(words, span), dtype)


def _integer_bound(value: Any, dtype: DType, op: str) -> Any:
    x = as_tensor(value, dtype if isinstance(value, int) else None)
    if x.type.shape or x.dtype.kind not in "iu":
        raise InvalidArgumentError(
            at_user_line(
                f"minval and maxval are integers without axes, not {x.dtype.name} of shape "
                f"{list(x.type.shape)} [Op:{op}]"
            )
        )
    return x if x.dtype is dtype else math.cast(x, dtype)


def require_range(minval: Any, maxval: Any, dtype: Any, op: str) -> None:
    """InvalidArgumentError for known bounds of integers of which the upper isn't above."""
    if (
        as_dtype(dtype).kind != "i"
        or not isinstance(minval, int)
        or not isinstance(maxval, int)
    ):
        return
    if minval >= maxval:
        raise InvalidArgumentError(
            at_user_line(f"Need minval < maxval, got {minval} >= {maxval} [Op:{op}]")
        )


def normal_of(counter: Counter, shape: Any, mean: Any, stddev: Any, dtype: Any, op: str) -> Any:
    """Normal numbers, as TensorFlow makes them of the words of a counter."""
    target = _float(dtype, op)
    found = draw(counter, shape, *normals(target, _LEAST), op)
    return found * continuous.parameter(stddev, target) + continuous.parameter(mean, target)


def _float(dtype: Any, op: str) -> DType:
    target = as_dtype(dtype)
    if target not in FLOATS:
        raise InvalidArgumentError(at_user_line(f"Invalid dtype {target.name} [Op:{op}]"))
    return target


def stateless_uniform(
    shape: Any, seed: Any, minval: Any = 0, maxval: Any = None, dtype: Any = float32
) -> Any:
    """Numbers spread evenly over [minval, maxval), or integers; of an integer dtype with minval
    and maxval None, over all that it has.

    seed: two integers, int32 or int64 of shape [2]. maxval None: 1, of a floating-point dtype.
    Raises InvalidArgumentError for other seeds, dtypes and bounds.
    """
    op = "StatelessRandomUniform"
    counter = seed_counter(seed, op)
    require_range(minval, maxval, dtype, op)
    return uniform_of(counter, shape, minval, maxval, dtype, op)


def stateless_normal(
    shape: Any, seed: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = float32
) -> Any:
    """Normally distributed numbers. seed: as of stateless_uniform."""
    op = "StatelessRandomNormal"
    return normal_of(seed_counter(seed, op), shape, mean, stddev, dtype, op)


def stateless_truncated_normal(
    shape: Any, seed: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = float32
) -> Any:
    """Normally distributed numbers within two standard deviations of the mean."""
    target = _float(dtype, "StatelessTruncatedNormal")
    key = seed_key(seed, "StatelessTruncatedNormal")
    found = continuous.truncated_normal(key, -2.0, 2.0, as_shape(shape, "Shape"), target)
    return found * continuous.parameter(stddev, target) + continuous.parameter(mean, target)


def stateless_parameterized_truncated_normal(
    shape: Any, seed: Any, means: Any = 0.0, stddevs: Any = 1.0, minvals: Any = -2.0,
    maxvals: Any = 2.0,
) -> Any:  # fmt: skip
    """Normally distributed numbers of these means and deviations in [minvals, maxvals].

    The dtype is that of the parameters, float32 of Python's numbers.
    """
    op = "StatelessParameterizedTruncatedNormal"
    given = [as_tensor(x) for x in (means, stddevs, minvals, maxvals)]
    dtype = next((x.dtype for x in given if x.dtype is float64), float32)
    mean, deviation, low, high = (continuous.parameter(x, dtype) for x in given)
    key, extents = seed_key(seed, op), as_shape(shape, op)
    lower, upper = (low - mean) / deviation, (high - mean) / deviation
    found = continuous.truncated_normal(key, lower, upper, extents, dtype)
    return math.minimum(math.maximum(found * deviation + mean, low), high)


def stateless_gamma(
    shape: Any, seed: Any, alpha: Any, beta: Any = None, dtype: Any = float32
) -> Any:
    """Numbers of the gamma distribution of concentration alpha and rate beta (1 if None).

    alpha, beta: broadcast to `shape`
    """
    target, op = _float(dtype, "StatelessRandomGammaV3"), "StatelessRandomGammaV3"
    extents = as_shape(shape, op)
    found = continuous.gamma(seed_key(seed, op), as_tensor(alpha), extents, target)
    found = math.maximum(found, as_tensor(_tiny(target), target))
    return found if beta is None else found / continuous.parameter(beta, target, extents)


def _tiny(dtype: DType) -> float:
    return {"float64": 2.0**-1022, "float16": 2.0**-14}.get(dtype.name, 2.0**-126)


def stateless_poisson(shape: Any, seed: Any, lam: Any, dtype: Any = int32) -> Any:
    """Numbers of the Poisson distribution of mean lam, which broadcasts to `shape`."""
    op, target = "StatelessRandomPoisson", as_dtype(dtype)
    wide = target if target.kind in "iu" else int64
    found = discrete.poisson(seed_key(seed, op), as_tensor(lam), as_shape(shape, op), wide)
    return found if wide is target else math.cast(found, target)


def stateless_binomial(
    shape: Any, seed: Any, counts: Any, probs: Any, output_dtype: Any = int32
) -> Any:
    """How many of `counts` trials of success probability `probs` succeed; both broadcast to
    `shape`.
    """
    op = "StatelessRandomBinomial"
    key, extents = seed_key(seed, op), as_shape(shape, op)
    return discrete.binomial(key, as_tensor(counts), as_tensor(probs), extents, output_dtype)


def stateless_categorical(logits: Any, num_samples: Any, seed: Any, dtype: Any = int64) -> Any:
    """Indices [rows, num_samples] by the logits [rows, choices] of each row.

    Raises InvalidArgumentError for logits of another rank.
    """
    op, x = "StatelessMultinomial", as_tensor(logits)
    if x.ndim != 2:
        raise InvalidArgumentError(
            at_user_line(f"logits should be a matrix, got shape {list(x.type.shape)} [Op:{op}]")
        )
    count = one_extent(num_samples, op)
    rows = x.type.shape[0]
    found = discrete.categorical(seed_key(seed, op), x, shape=(count, rows))
    return math.cast(transpose(found), dtype)


def stateless_shuffle(value: Any, seed: Any) -> Any:
    """The rows of a tensor in random order."""
    return discrete.permutation(seed_key(seed, "RandomShuffle"), as_tensor(value))
