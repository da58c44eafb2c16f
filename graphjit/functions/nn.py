"""Neural networks: activations, softmax, normalisation, cross entropies, attention.

Names and meanings are TensorFlow's where it has them, else JAX's. Everything is written in
plain primitives, so that the compiler may fuse it. Convolutions and pooling are names of this
module too.
"""

from __future__ import annotations

import math as pymath
from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import float32, normalize_axes, normalize_axis, shape_text
from graphjit.ops.type_rules import require_kind
from graphjit.tensors.apply import TensorBase, as_tensor, same_dtype

from . import math
from .conv import (
    avg_pool,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    conv1d,
    conv1d_transpose,
    conv2d,
    conv2d_transpose,
    conv3d,
    conv3d_transpose,
    conv_transpose,
    convolution,
    depthwise_conv2d,
    max_pool,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    pool,
    separable_conv2d,
)
from .index import gather
from .linalg import clip_by_norm, l2_normalize
from .math import sigmoid, softplus, tanh
from .product import matmul
from .reduce import (
    count_nonzero,
    reduce_all,
    reduce_logsumexp,
    reduce_max,
    reduce_mean,
    reduce_sum,
)
from .shape import concat, reshape, swapaxes
from .subscript import iota

# Klambauer et al., "Self-Normalizing Neural Networks", 2017, equation 14.
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946
# Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016, section 2.
GELU_CUBE = 0.044715


def _float(value: Any, op: str, kinds: str = "f") -> TensorBase:
    x = as_tensor(value)
    require_kind(x.dtype, kinds, op)
    return x


def relu(features: Any) -> Any:
    """max(x, 0), whose slope at 0 is 0."""
    x = _float(features, "Relu", "iuf")
    return math.where(math.less_equal(x, 0), math.zeros_like_scalar(x), x)


def relu6(features: Any) -> Any:
    """min(max(x, 0), 6)."""
    return math.minimum(relu(features), 6)


def crelu(features: Any, axis: int = -1) -> Any:
    """relu(x) and relu(-x), joined along an axis."""
    x = _float(features, "Crelu", "if")
    return concat([relu(x), relu(math.negative(x))], axis)


def leaky_relu(features: Any, alpha: Any = 0.2) -> Any:
    """X where it is positive, alpha x elsewhere; integers are cast to float32."""
    x = as_tensor(features)
    x = _float(math.cast(x, float32) if x.dtype.is_integer else x, "LeakyRelu")
    return math.where(math.greater(x, 0.0), x, math.multiply(x, alpha))


def elu(features: Any, alpha: Any = 1.0) -> Any:
    """X where it is positive, alpha (exp(x) - 1) elsewhere."""
    x = _float(features, "Elu")
    below = math.multiply(math.expm1(math.minimum(x, 0.0)), alpha)
    return math.where(math.greater(x, 0.0), x, below)


def selu(features: Any) -> Any:
    """The scaled elu that keeps mean 0 and variance 1."""
    return math.multiply(elu(features, SELU_ALPHA), SELU_SCALE)


def celu(features: Any, alpha: Any = 1.0) -> Any:
    """X where it is positive, alpha (exp(x / alpha) - 1) elsewhere."""
    x = _float(features, "Celu")
    below = math.multiply(math.expm1(math.divide(math.minimum(x, 0.0), alpha)), alpha)
    return math.where(math.greater(x, 0.0), x, below)


def gelu(features: Any, approximate: bool = False) -> Any:
    """X times the standard normal distribution function of x, by erf or (approximate) tanh."""
    x = _float(features, "Gelu")
    if approximate:
        cube = math.multiply(math.multiply(math.square(x), x), GELU_CUBE)
        inside = math.multiply(math.add(x, cube), pymath.sqrt(2 / pymath.pi))
        return math.multiply(math.multiply(x, 0.5), math.add(tanh(inside), 1.0))
    # 1 + erf would lose all digits of large negative x
    tail = math.erfc(math.multiply(x, -pymath.sqrt(0.5)))
    return math.multiply(math.multiply(x, 0.5), tail)


def silu(features: Any, beta: Any = 1.0) -> Any:
    """X sigmoid(beta x)."""
    x = _float(features, "Silu")
    return math.multiply(x, sigmoid(math.multiply(x, beta)))


swish = silu


def mish(features: Any) -> Any:
    """X tanh(softplus(x))."""
    x = _float(features, "Mish")
    return math.multiply(x, tanh(softplus(x)))


def softsign(features: Any) -> Any:
    """X / (1 + |x|)."""
    x = _float(features, "Softsign")
    return math.divide(x, math.add(math.abs(x), 1.0))


def log_sigmoid(x: Any) -> Any:
    """log(sigmoid(x)), accurate for very negative x."""
    return math.negative(softplus(math.negative(x)))


def hard_tanh(x: Any) -> Any:
    """X limited to [-1, 1]."""
    return math.clip_by_value(_float(x, "HardTanh"), -1.0, 1.0)


def hard_sigmoid(x: Any) -> Any:
    """relu6(x + 3) / 6."""
    return math.divide(relu6(math.add(_float(x, "HardSigmoid"), 3.0)), 6.0)


def hard_silu(x: Any) -> Any:
    """X hard_sigmoid(x)."""
    return math.multiply(x, hard_sigmoid(x))


hard_swish = hard_silu


def glu(x: Any, axis: int = -1) -> Any:
    """The first half of an axis times the sigmoid of the second."""
    from .shape import split

    first, second = split(_float(x, "Glu"), 2, axis)
    return math.multiply(first, sigmoid(second))


def _centred(logits: Any, axis: Any, op: str) -> Any:
    x = _float(logits, op)
    return math.subtract(x, reduce_max(x, axis, True))


def softmax(logits: Any, axis: Any = -1) -> Any:
    """exp(x) / sum(exp(x)) along an axis or several."""
    powers = math.exp(_centred(logits, axis, "Softmax"))
    return math.divide(powers, reduce_sum(powers, axis, True))


def log_softmax(logits: Any, axis: Any = -1) -> Any:
    """X - log(sum(exp(x))) along an axis or several."""
    centred = _centred(logits, axis, "LogSoftmax")
    return math.subtract(centred, math.log(reduce_sum(math.exp(centred), axis, True)))


logsumexp = reduce_logsumexp


def moments(x: Any, axes: Any, keepdims: bool = False) -> tuple[Any, Any]:
    """Mean and variance along axes."""
    x = _float(x, "Moments", "fc")
    if x.dtype.size == 2:  # squares of narrow floats overflow
        mean, variance = moments(math.cast(x, float32), axes, keepdims)
        return math.cast(mean, x.dtype), math.cast(variance, x.dtype)
    mean = reduce_mean(x, axes, True)
    variance = reduce_mean(math.squared_difference(x, mean), axes, keepdims)
    return (mean if keepdims else reshape(mean, variance.type.shape)), variance


def _along(x: TensorBase, axes: tuple[int, ...], weight: Any, what: str, op: str) -> Any:
    """A weight of the shape of some of x's axes, reshaped to broadcast with x."""
    tensor = as_tensor(weight, x.dtype)
    wanted = tuple(x.type.shape[k] for k in axes)
    if tensor.type.shape != wanted and tensor.ndim:
        raise InvalidArgumentError(
            at_user_line(
                f"{what} must have shape {shape_text(wanted)}, not "
                f"{shape_text(tensor.type.shape)} [Op:{op}]"
            )
        )
    if tensor.ndim == 0:
        return tensor
    return reshape(tensor, tuple(n if k in axes else 1 for k, n in enumerate(x.type.shape)))


def layer_norm(
    x: Any, gamma: Any = None, beta: Any = None, axis: Any = -1, epsilon: float = 1e-5
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) gamma + beta, mean and variance along axes.

    gamma and beta have the shape of those axes.
    """
    x = _float(x, "LayerNorm")
    axes = normalize_axes(axis, x.ndim, "LayerNorm")
    wide = math.cast(x, float32) if x.dtype.size == 2 else x
    centred = math.subtract(wide, reduce_mean(wide, axes, True))
    variance = reduce_mean(math.square(centred), axes, True)
    result = math.multiply(centred, math.rsqrt(math.add(variance, epsilon)))
    result = math.cast(result, x.dtype)
    if gamma is not None:
        result = math.multiply(result, _along(x, axes, gamma, "gamma", "LayerNorm"))
    if beta is not None:
        result = math.add(result, _along(x, axes, beta, "beta", "LayerNorm"))
    return result


def rms_norm(x: Any, gamma: Any = None, axis: Any = -1, epsilon: float = 1e-6) -> Any:
    """X / sqrt(mean(x²) + epsilon) gamma, the mean along axes, whose shape gamma has."""
    x = _float(x, "RMSNorm")
    axes = normalize_axes(axis, x.ndim, "RMSNorm")
    wide = math.cast(x, float32) if x.dtype.size == 2 else x
    power = reduce_mean(math.square(wide), axes, True)
    result = math.cast(math.multiply(wide, math.rsqrt(math.add(power, epsilon))), x.dtype)
    if gamma is None:
        return result
    return math.multiply(result, _along(x, axes, gamma, "gamma", "RMSNorm"))


def batch_normalization(
    x: Any, mean: Any, variance: Any, offset: Any, scale: Any, variance_epsilon: float
) -> Any:
    """(x - mean) / sqrt(variance + variance_epsilon) scale + offset; either may be None."""
    x = _float(x, "BatchNormalization")
    factor = math.rsqrt(math.add(as_tensor(variance, x.dtype), variance_epsilon))
    if scale is not None:
        factor = math.multiply(factor, scale)
    shift = math.negative(math.multiply(mean, factor))
    if offset is not None:
        shift = math.add(offset, shift)
    return math.add(math.multiply(x, factor), shift)


def l2_loss(t: Any) -> Any:
    """Half the sum of squares of all elements; 0-d."""
    return math.multiply(reduce_sum(math.square(_float(t, "L2Loss"))), 0.5)


def bias_add(value: Any, bias: Any, data_format: str | None = None) -> Any:
    """A 1-d bias added along the channels: the last axis, or the second ("NC...")."""
    x, b = same_dtype(value, bias)
    if data_format is not None and not data_format.startswith("N"):
        raise InvalidArgumentError(
            at_user_line("`data_format` must be of the form `N...C` or `NC...` [Op:BiasAdd]")
        )
    if x.ndim < 2 or b.ndim != 1:
        raise InvalidArgumentError(
            at_user_line(
                f"Biases must be 1D, and the value 2D at least: {shape_text(b.type.shape)}, "
                f"{shape_text(x.type.shape)} [Op:BiasAdd]"
            )
        )
    place = 1 if data_format is not None and data_format.startswith("NC") else x.ndim - 1
    if b.type.shape[0] != x.type.shape[place]:
        raise InvalidArgumentError(
            at_user_line(
                f"Must provide as many biases as the last dimension of the input tensor: "
                f"{shape_text(b.type.shape)} vs. {shape_text(x.type.shape)} [Op:BiasAdd]"
            )
        )
    return math.add(x, reshape(b, (-1,) + (1,) * (x.ndim - 1 - place)))


def softmax_cross_entropy_with_logits(labels: Any, logits: Any, axis: int = -1) -> Any:
    """-sum(labels log_softmax(logits)) along an axis: [..., classes] twice gives [...]."""
    x = _float(logits, "SoftmaxCrossEntropyWithLogits")
    labels = math.cast(as_tensor(labels, x.dtype), x.dtype)
    return math.negative(reduce_sum(math.multiply(labels, log_softmax(x, axis)), axis))


def sparse_softmax_cross_entropy_with_logits(labels: Any, logits: Any) -> Any:
    """-log_softmax(logits)[..., label]: integer labels [...], logits [..., classes]."""
    op = "SparseSoftmaxCrossEntropyWithLogits"
    x = _float(logits, op)
    chosen = _float(labels, op, "iu")
    if x.ndim != chosen.ndim + 1 or x.type.shape[:-1] != chosen.type.shape:
        raise InvalidArgumentError(
            at_user_line(
                f"`labels.shape` must equal `logits.shape` except for the last dimension. "
                f"Received: labels.shape={tuple(chosen.type.shape)} and "
                f"logits.shape={tuple(x.type.shape)} [Op:{op}]"
            )
        )
    if chosen.recorder is None:
        _check_labels(chosen, x.type.shape[-1], op)
    return math.negative(gather(log_softmax(x), chosen, axis=-1, batch_dims=chosen.ndim))


def _check_labels(labels: Any, classes: int, op: str) -> None:
    values = np.asarray(labels.numpy())
    bad = (values < 0) | (values >= classes)
    if bad.any():
        raise InvalidArgumentError(
            at_user_line(
                f"Received a label value of {int(values[bad].flat[0])} which is outside the "
                f"valid range of [0, {classes}) [Op:{op}]"
            )
        )


def _same_shape(labels: TensorBase, logits: TensorBase) -> None:
    if labels.type.shape != logits.type.shape:
        raise InvalidArgumentError(
            at_user_line(
                f"`logits` and `labels` must have the same shape, received "
                f"({logits.shape} vs {labels.shape})."
            )
        )


def sigmoid_cross_entropy_with_logits(labels: Any, logits: Any) -> Any:
    """max(x, 0) - x labels + log(1 + exp(-|x|)), elementwise; both of one shape."""
    x, z = same_dtype(logits, labels)
    _same_shape(z, x)
    return math.subtract(math.softplus(x), math.multiply(x, z))


def weighted_cross_entropy_with_logits(labels: Any, logits: Any, pos_weight: Any) -> Any:
    """Sigmoid cross entropy with the loss of positive labels multiplied by pos_weight."""
    x, z = same_dtype(logits, labels)
    _same_shape(z, x)
    excess = math.subtract(as_tensor(pos_weight, x.dtype), 1.0)
    weight = math.add(math.multiply(excess, z), 1.0)
    tail = math.softplus(math.negative(x))
    return math.add(math.multiply(math.subtract(1.0, z), x), math.multiply(weight, tail))


def log_poisson_loss(targets: Any, log_input: Any, compute_full_loss: bool = False) -> Any:
    """exp(log_input) - log_input targets, elementwise; the full loss has Stirling's term."""
    c, z = same_dtype(log_input, targets)
    _same_shape(z, c)
    result = math.subtract(math.exp(c), math.multiply(c, z))
    if not compute_full_loss:
        return result
    log_z = math.log(math.where(math.greater(z, 0.0), z, math.ones_like_scalar(z)))
    stirling = math.add(
        math.subtract(math.multiply(z, log_z), z),
        math.multiply(math.add(log_z, pymath.log(2 * pymath.pi)), 0.5),
    )
    small = math.logical_and(math.greater_equal(z, 0.0), math.less_equal(z, 1.0))
    return math.add(result, math.where(small, math.zeros_like_scalar(z), stirling))


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    is_causal: bool = False,
    scale: float | None = None,
) -> Any:
    """softmax(query keyᵀ scale + mask) value; the leading axes broadcast.

    query: [..., l, e]; key: [..., s, e]; value: [..., s, v]; the result: [..., l, v].
    attn_mask: [..., l, s], bool (true: take part) or added to the logits. is_causal: query i
    sees keys up to i. scale: 1 / √e if None. A row that sees nothing is the mean of all.
    """
    q, k, v = same_dtype(query, key, value)
    require_kind(q.dtype, "f", "Attention")
    if min(q.ndim, k.ndim, v.ndim) < 2:
        raise InvalidArgumentError(
            at_user_line("query, key and value have two axes at least [Op:Attention]")
        )
    if scale is None:
        scale = 1 / pymath.sqrt(max(q.type.shape[-1], 1))
    logits = math.multiply(matmul(q, swapaxes(k, -1, -2)), float(scale))
    # far below every logit, and finite: -inf in a whole row would give NaN
    low = as_tensor(0.7 * q.dtype.min, q.dtype)
    if attn_mask is not None:
        mask = as_tensor(attn_mask, q.dtype)
        seen = mask.dtype.is_bool
        logits = math.where(mask, logits, low) if seen else math.add(logits, mask)
    if is_causal:
        shape = logits.type.shape[-2:]
        logits = math.where(math.greater_equal(iota(shape, 0), iota(shape, 1)), logits, low)
    return matmul(softmax(logits), v)


def embedding_lookup(params: Any, ids: Any, max_norm: Any = None) -> Any:
    """Rows of params [n, ...] at integer ids, scaled down to max_norm if that is given."""
    rows = gather(params, ids)
    if max_norm is None:
        return rows
    return clip_by_norm(rows, max_norm, list(range(as_tensor(ids).ndim, rows.ndim)))


def in_top_k(targets: Any, predictions: Any, k: int) -> Any:
    """Whether fewer than k classes have more than the target's: bool [batch].

    targets: integers [batch]; predictions: [batch, classes]. False for a target out of range
    and for predictions that aren't finite.
    """
    x = _float(predictions, "InTopKV2")
    chosen = _float(targets, "InTopKV2", "iu")
    if x.ndim != 2 or chosen.ndim != 1 or chosen.type.shape[0] != x.type.shape[0]:
        raise InvalidArgumentError(
            at_user_line(
                f"predictions must be 2-dimensional and targets 1-dimensional, of one length: "
                f"{shape_text(x.type.shape)}, {shape_text(chosen.type.shape)} [Op:InTopKV2]"
            )
        )
    classes = x.type.shape[1]
    if classes == 0:
        return math.less(chosen, math.minimum(chosen, math.zeros_like_scalar(chosen)))
    chosen = math.cast(chosen, "int64")
    inside = math.logical_and(math.greater_equal(chosen, 0), math.less(chosen, classes))
    safe = math.where(inside, chosen, math.zeros_like_scalar(chosen))
    own = gather(x, reshape(safe, (-1, 1)), axis=1, batch_dims=1)
    larger = count_nonzero(math.greater(x, own), 1)
    finite = reduce_all(math.is_finite(x), 1)
    return math.logical_and(math.logical_and(inside, finite), math.less(larger, k))


def zero_fraction(value: Any) -> Any:
    """The share of elements that are 0, float32; NaN of nothing."""
    x = as_tensor(value)
    zeros = math.subtract(as_tensor(x.type.size, math.cast(0, "int64").dtype), count_nonzero(x))
    return math.divide(math.cast(zeros, float32), as_tensor(float(x.type.size), float32))


def cosine_similarity(x: Any, y: Any, axis: int = -1) -> Any:
    """The sum of products of x and y, each scaled to length 1, along an axis."""
    x, y = same_dtype(x, y)
    normalize_axis(axis, x.ndim, "CosineSimilarity")
    return reduce_sum(math.multiply(l2_normalize(x, axis), l2_normalize(y, axis)), axis)


# Found as gj.name, too.
TOP_LEVEL = ["gelu", "layer_norm", "log_softmax", "relu", "silu", "softmax"]
__all__ = [
    "avg_pool", "avg_pool1d", "avg_pool2d", "avg_pool3d", "batch_normalization", "bias_add",
    "celu", "conv1d", "conv1d_transpose", "conv2d", "conv2d_transpose", "conv3d",
    "conv3d_transpose", "conv_transpose", "convolution", "cosine_similarity", "crelu",
    "depthwise_conv2d", "elu", "embedding_lookup", "gelu", "glu", "hard_sigmoid",
    "hard_silu", "hard_swish", "hard_tanh", "in_top_k", "l2_loss", "l2_normalize",
    "layer_norm", "leaky_relu", "log_poisson_loss", "log_sigmoid", "log_softmax",
    "logsumexp", "max_pool", "max_pool1d", "max_pool2d", "max_pool3d", "mish", "moments",
    "pool", "relu", "relu6", "rms_norm", "scaled_dot_product_attention", "selu",
    "separable_conv2d", "sigmoid", "sigmoid_cross_entropy_with_logits", "silu", "softmax",
    "softmax_cross_entropy_with_logits", "softplus", "softsign",
    "sparse_softmax_cross_entropy_with_logits", "swish", "tanh",
    "weighted_cross_entropy_with_logits", "zero_fraction",
]  # fmt: skip
