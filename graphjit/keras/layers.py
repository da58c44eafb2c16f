"""Biases, normalisation and losses."""

from __future__ import annotations

from typing import Any

from graphjit.core.types import normalize_axis
from graphjit.functions import math, nn
from graphjit.functions import reduce as _reduce
from graphjit.functions import shape as _shape
from graphjit.tensors.apply import as_tensor, same_dtype

from .settings import channels, epsilon, invalid

__all__ = [
    "batch_normalization", "bias_add", "binary_crossentropy", "categorical_crossentropy",
    "in_top_k", "sparse_categorical_crossentropy",
]  # fmt: skip


def bias_add(x: Any, bias: Any, data_format: str | None = None) -> Any:
    """A bias added to [batch, space..., channels]: 1-d, or one number a place and channel."""
    x, b = same_dtype(x, bias)
    first = channels(data_format) == "channels_first"
    if b.ndim not in (1, x.ndim - 1):
        raise invalid(
            f"Unexpected bias dimensions {b.ndim}, expect to be 1 or {x.ndim - 1} dimensions"
        )
    if b.ndim == 1:
        return nn.bias_add(x, b, "NC" if first else None)
    # channels stand last in the bias, whatever the data's format
    return math.add(x, _shape.expand_dims(_shape.moveaxis(b, -1, 0) if first else b, 0))


def batch_normalization(
    x: Any, mean: Any, var: Any, beta: Any, gamma: Any, axis: int = -1, epsilon: float = 1e-3
) -> Any:
    """(x - mean) / sqrt(var + epsilon) gamma + beta; 1-d statistics belong to an axis."""
    x = as_tensor(x)
    k = normalize_axis(axis, x.ndim, "BatchNormalization")
    column = [-1 if place == k else 1 for place in range(x.ndim)]

    def placed(value: Any) -> Any:
        if value is None:
            return None
        tensor = as_tensor(value, x.dtype)
        return _shape.reshape(tensor, column) if tensor.ndim == 1 else tensor

    return nn.batch_normalization(
        x, placed(mean), placed(var), placed(beta), placed(gamma), epsilon
    )


def _probabilities(output: Any) -> Any:
    return math.clip_by_value(output, epsilon(), 1 - epsilon())


def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """-(target log(output) + (1 - target) log(1 - output)), elementwise."""
    target, output = same_dtype(target, output)
    if from_logits:
        return nn.sigmoid_cross_entropy_with_logits(target, output)
    p = _probabilities(output)
    hit = math.multiply(target, math.log(math.add(p, epsilon())))
    other = math.log(math.add(math.subtract(1.0, p), epsilon()))
    return math.negative(math.add(hit, math.multiply(math.subtract(1.0, target), other)))


def categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Any:
    """-sum(target log(output)) along an axis, of probabilities scaled to sum 1, or logits."""
    target, output = same_dtype(target, output)
    if target.type.shape != output.type.shape:
        raise invalid(
            f"Shapes {tuple(target.type.shape)} and {tuple(output.type.shape)} are incompatible"
        )
    if from_logits:
        return nn.softmax_cross_entropy_with_logits(target, output, axis)
    p = _probabilities(math.divide(output, _reduce.reduce_sum(output, axis, True)))
    return math.negative(_reduce.reduce_sum(math.multiply(target, math.log(p)), axis))


def sparse_categorical_crossentropy(
    target: Any,
    output: Any,
    from_logits: bool = False,
    axis: int = -1,
    ignore_class: int | None = None,
) -> Any:
    """-log(output) at the target's class; 0 where the target is ignore_class.

    target: whole numbers [...]; output: probabilities, or logits, with a class axis more.
    """
    labels, output = math.cast(target, "int64"), as_tensor(output)
    logits = output if from_logits else math.log(_probabilities(output))
    logits = _shape.moveaxis(logits, axis, -1)
    if labels.ndim == logits.ndim and labels.type.shape[-1] == 1:
        labels = _shape.squeeze(labels, -1)
    if ignore_class is None:
        return nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    ignored = math.equal(labels, int(ignore_class))
    labels = math.where(ignored, math.zeros_like_scalar(labels), labels)
    loss = nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return math.where(ignored, math.zeros_like_scalar(loss), loss)


def in_top_k(predictions: Any, targets: Any, k: int) -> Any:
    """Whether each target is among the k largest predictions of its row."""
    return nn.in_top_k(targets, predictions, k)
