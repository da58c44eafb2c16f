"""Neural networks and clustering, inference only, in plain NumPy."""

from __future__ import annotations

import numpy as np
from programs.kernels.kernel import Kernel

Array = np.ndarray
Rng = np.random.Generator


def softmax(x: Array) -> Array:
    """NPBench softmax: normalised exponential over the last axis, as in attention scores."""
    shifted = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return shifted / np.sum(shifted, axis=-1, keepdims=True)


def softmax_data(rng: Rng, size: int) -> tuple:
    return (rng.normal(0.0, 3.0, (4, 4, size, size)).astype(np.float32),)


def relu(x: Array) -> Array:
    """Rectified linear unit: the positive part."""
    return np.maximum(x, 0)


def mlp(x: Array, w1: Array, b1: Array, w2: Array, b2: Array, w3: Array, b3: Array) -> Array:
    """NPBench mlp: perceptron of three layers, rectified, with a softmax at the end."""
    x = relu(x @ w1 + b1)
    x = relu(x @ w2 + b2)
    return softmax(x @ w3 + b3)


def _layer(rng: Rng, inputs: int, outputs: int) -> tuple[Array, Array]:
    weights = rng.normal(0.0, inputs**-0.5, (inputs, outputs)).astype(np.float32)
    return weights, rng.normal(0.0, 0.1, outputs).astype(np.float32)


def mlp_data(rng: Rng, size: int) -> tuple:
    widths = [3, 2 * size, size, 10]
    x = rng.random((size, 3)).astype(np.float32)
    layers = [
        part
        for inputs, outputs in zip(widths[:-1], widths[1:], strict=True)
        for part in _layer(rng, inputs, outputs)
    ]
    return x, *layers


def conv2d(x: Array, weights: Array) -> Array:
    """Convolution of NHWC images without padding, one output pixel at a time."""
    k = weights.shape[0]
    n, height, width, _ = x.shape
    h_out, w_out = height - k + 1, width - k + 1
    out = np.empty((n, h_out, w_out, weights.shape[3]), dtype=x.dtype)
    for i in range(h_out):
        for j in range(w_out):
            out[:, i, j, :] = np.sum(
                x[:, i : i + k, j : j + k, :, np.newaxis] * weights[np.newaxis],
                axis=(1, 2, 3),
            )
    return out


def conv2d_bias(x: Array, weights: Array, bias: Array) -> Array:
    """NPBench conv2d_bias: NHWC convolution and bias, loops over the output pixels."""
    return conv2d(x, weights) + bias


def _filter(rng: Rng, k: int, inputs: int, outputs: int) -> Array:
    scale = (k * k * inputs) ** -0.5
    return rng.normal(0.0, scale, (k, k, inputs, outputs)).astype(np.float32)


def conv2d_bias_data(rng: Rng, size: int) -> tuple:
    x = rng.random((4, size, size + size // 4, 3)).astype(np.float32)
    return x, _filter(rng, 3, 3, 8), rng.normal(size=8).astype(np.float32)


def maxpool(x: Array) -> Array:
    """Maximum over windows of 2 by 2 of NHWC images with even sides."""
    n, height, width, channels = x.shape
    return x.reshape(n, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))


def lenet(
    x: Array,
    conv1: Array,
    conv1_bias: Array,
    conv2: Array,
    conv2_bias: Array,
    w1: Array,
    b1: Array,
    w2: Array,
    b2: Array,
    w3: Array,
    b3: Array,
) -> Array:
    """NPBench lenet: inference of LeNet-5, two convolutions with pools, three dense layers."""
    x = maxpool(relu(conv2d(x, conv1) + conv1_bias))
    x = maxpool(relu(conv2d(x, conv2) + conv2_bias))
    x = x.reshape(x.shape[0], -1)
    x = relu(x @ w1 + b1)
    x = relu(x @ w2 + b2)
    return x @ w3 + b3


def lenet_data(rng: Rng, size: int) -> tuple:
    side = 28 if size >= 4 else 16
    features = 16 * (((side - 4) // 2 - 4) // 2) ** 2
    x = rng.random((size, side, side, 1)).astype(np.float32)
    bias1 = rng.normal(0.0, 0.1, 6).astype(np.float32)
    bias2 = rng.normal(0.0, 0.1, 16).astype(np.float32)
    return (
        x,
        _filter(rng, 5, 1, 6),
        bias1,
        _filter(rng, 5, 6, 16),
        bias2,
        *_layer(rng, features, 120),
        *_layer(rng, 120, 84),
        *_layer(rng, 84, 10),
    )


def batch_norm(x: Array, eps: float = 1e-5) -> Array:
    """Normalisation of every channel by its mean and variance over the batch."""
    mean = np.mean(x, axis=(0, 1, 2), keepdims=True)
    variance = np.var(x, axis=(0, 1, 2), keepdims=True)
    return (x - mean) / np.sqrt(variance + eps)


def resnet_block(x: Array, conv1: Array, conv2: Array, conv3: Array) -> Array:
    """NPBench resnet: bottleneck block 1x1, 3x3, 1x1 with batch norms and a shortcut."""
    y = relu(batch_norm(conv2d(x, conv1)))
    n, height, width, channels = y.shape
    padded = np.zeros((n, height + 2, width + 2, channels), dtype=x.dtype)
    padded[:, 1:-1, 1:-1, :] = y
    y = relu(batch_norm(conv2d(padded, conv2)))
    y = batch_norm(conv2d(y, conv3))
    return relu(y + x)


def resnet_block_data(rng: Rng, size: int) -> tuple:
    x = rng.random((2, size, size + size // 4, 16)).astype(np.float32)
    return x, _filter(rng, 1, 16, 8), _filter(rng, 3, 8, 8), _filter(rng, 1, 8, 16)


def kmeans_distances(points: Array, centroids: Array) -> tuple[Array, Array]:
    """Assignment step of k-means: the nearest centroid of every point and its distance."""
    differences = points[:, np.newaxis, :] - centroids[np.newaxis, :, :]
    squares = np.sum(differences**2, axis=2)
    labels = np.argmin(squares, axis=1)
    return labels, np.sqrt(np.min(squares, axis=1))


def kmeans_distances_data(rng: Rng, size: int) -> tuple:
    return rng.random((size, 4)), rng.random((12, 4))


def kmeans(points: Array, centroids: Array, iterations: int) -> tuple[Array, Array]:
    """Lloyd's k-means: assign by |x|^2 - 2 x.c + |c|^2, then move the centroids in place."""
    labels = np.zeros(points.shape[0], dtype=np.int64)
    for _ in range(iterations):
        distances = (
            np.sum(points * points, axis=1)[:, np.newaxis]
            - 2.0 * points @ centroids.T
            + np.sum(centroids * centroids, axis=1)
        )
        labels = np.argmin(distances, axis=1)
        for k in range(centroids.shape[0]):
            members = points[labels == k]
            if members.shape[0] > 0:
                centroids[k] = members.mean(axis=0)
    return centroids, labels


def kmeans_data(rng: Rng, size: int) -> tuple:
    points = rng.normal(0.0, 0.3, (size, 4)) + rng.integers(-2, 3, (size, 4))
    return points, points[:: size // 8][:8].copy(), 6


KERNELS = [
    Kernel("softmax", softmax, softmax_data, (400, 8), False),
    Kernel("mlp", mlp, mlp_data, (500, 16), False),
    Kernel("conv2d_bias", conv2d_bias, conv2d_bias_data, (36, 8), False),
    Kernel("lenet", lenet, lenet_data, (8, 2), False),
    Kernel("resnet_block", resnet_block, resnet_block_data, (24, 5), False),
    Kernel("kmeans_distances", kmeans_distances, kmeans_distances_data, (20000, 40), False),
    Kernel("kmeans", kmeans, kmeans_data, (10000, 40), True),
]
