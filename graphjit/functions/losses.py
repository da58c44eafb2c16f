"""Losses of tf.keras.losses: of targets and predictions [..., n], one number a row [...]."""

from __future__ import annotations

from typing import Any

from graphjit.ops.type_rules import require_kind
from graphjit.tensors.apply import TensorBase, as_tensor

from . import math
from .linalg import l2_normalize
from .nn import relu
from .reduce import reduce_max, reduce_mean, reduce_sum
from .special import log_cosh as _log_cosh

EPSILON = 1e-7  # Keras's backend.epsilon()


def _pair(y_true: Any, y_pred: Any, op: str) -> tuple[TensorBase, TensorBase]:
    """Targets (cast, as Keras does) and predictions."""
    predictions = as_tensor(y_pred)
    require_kind(predictions.dtype, "f", op)
    targets = math.cast(as_tensor(y_true, predictions.dtype), predictions.dtype)
    return targets, predictions


def mean_squared_error(y_true: Any, y_pred: Any) -> Any:
    """The mean of (y_true - y_pred)² over the last axis."""
    t, p = _pair(y_true, y_pred, "MeanSquaredError")
    return reduce_mean(math.squared_difference(t, p), -1)


def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    """The mean of |y_true - y_pred| over the last axis."""
    t, p = _pair(y_true, y_pred, "MeanAbsoluteError")
    return reduce_mean(math.abs(math.subtract(t, p)), -1)


def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Any:
    """The mean of 100 |y_true - y_pred| / |y_true| [%] over the last axis."""
    t, p = _pair(y_true, y_pred, "MeanAbsolutePercentageError")
    size = math.maximum(math.abs(t), EPSILON)
    return math.multiply(
        reduce_mean(math.abs(math.divide(math.subtract(t, p), size)), -1), 100.0
    )


def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Any:
    """The mean of (log(1 + y_true) - log(1 + y_pred))² over the last axis."""
    t, p = _pair(y_true, y_pred, "MeanSquaredLogarithmicError")
    first = math.log(math.add(math.maximum(t, EPSILON), 1.0))
    second = math.log(math.add(math.maximum(p, EPSILON), 1.0))
    return reduce_mean(math.squared_difference(first, second), -1)


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Any:
    """The mean of e² / 2 where |e| <= delta, delta |e| - delta² / 2 elsewhere; e the error."""
    t, p = _pair(y_true, y_pred, "Huber")
    size = math.abs(math.subtract(p, t))
    inside = math.multiply(math.square(size), 0.5)
    outside = math.subtract(math.multiply(size, float(delta)), 0.5 * float(delta) ** 2)
    return reduce_mean(math.where(math.less_equal(size, float(delta)), inside, outside), -1)


def log_cosh(y_true: Any, y_pred: Any) -> Any:
    """The mean of log(cosh(y_pred - y_true)) over the last axis."""
    t, p = _pair(y_true, y_pred, "LogCosh")
    return reduce_mean(_log_cosh(math.subtract(p, t)), -1)


def hinge(y_true: Any, y_pred: Any) -> Any:
    """The mean of max(1 - y_true y_pred, 0); targets 0 and 1 count as -1 and 1."""
    t, p = _pair(y_true, y_pred, "Hinge")
    return reduce_mean(relu(math.subtract(1.0, math.multiply(_signs(t), p))), -1)


def squared_hinge(y_true: Any, y_pred: Any) -> Any:
    """The mean of max(1 - y_true y_pred, 0)²; targets 0 and 1 count as -1 and 1."""
    t, p = _pair(y_true, y_pred, "SquaredHinge")
    distance = relu(math.subtract(1.0, math.multiply(_signs(t), p)))
    return reduce_mean(math.square(distance), -1)


def _signs(targets: TensorBase) -> Any:
    """Targets as -1 and 1: changed if all of them are 0 or 1, as Keras does."""
    from .reduce import reduce_all

    binary = math.logical_or(math.equal(targets, 0.0), math.equal(targets, 1.0))
    changed = math.subtract(math.multiply(targets, 2.0), 1.0)
    return math.where(reduce_all(binary), changed, targets)


def categorical_hinge(y_true: Any, y_pred: Any) -> Any:
    """max(1 + largest prediction of a wrong class - prediction of the right one, 0)."""
    t, p = _pair(y_true, y_pred, "CategoricalHinge")
    right = reduce_sum(math.multiply(t, p), -1)
    wrong = reduce_max(math.multiply(math.subtract(1.0, t), p), -1)
    return relu(math.add(math.subtract(wrong, right), 1.0))


def poisson(y_true: Any, y_pred: Any) -> Any:
    """The mean of y_pred - y_true log(y_pred) over the last axis."""
    t, p = _pair(y_true, y_pred, "Poisson")
    logarithm = math.log(math.add(p, EPSILON))
    return reduce_mean(math.subtract(p, math.multiply(t, logarithm)), -1)


def kl_divergence(y_true: Any, y_pred: Any) -> Any:
    """The sum of y_true log(y_true / y_pred) over the last axis, both limited to [1e-7, 1]."""
    t, p = _pair(y_true, y_pred, "KLDivergence")
    t, p = (math.clip_by_value(x, EPSILON, 1.0) for x in (t, p))
    return reduce_sum(math.multiply(t, math.log(math.divide(t, p))), -1)


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """Minus the cosine of the angle between targets and predictions: -1 where they agree."""
    t, p = _pair(y_true, y_pred, "CosineSimilarity")
    product = math.multiply(l2_normalize(t, axis), l2_normalize(p, axis))
    return math.negative(reduce_sum(product, axis))
