"""TensorFlow: tf.function(jit_compile=True), which compiles by XLA, anew for each shape."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from workloads import STEPS

from peers import Peer

Tensor = Any


def chain(x: Tensor) -> Tensor:
    return 1.5 * x * x + 0.5 * x + 2


def black_scholes(
    price: Tensor, strike: Tensor, years: Tensor, rate: float, sigma: float
) -> tuple[Tensor, Tensor]:
    deviation = sigma * tf.sqrt(years)
    d1 = (tf.math.log(price / strike) + (rate + 0.5 * sigma * sigma) * years) / deviation
    d2 = d1 - deviation
    n1 = 0.5 + 0.5 * tf.math.erf(d1 * math.sqrt(0.5))
    n2 = 0.5 + 0.5 * tf.math.erf(d2 * math.sqrt(0.5))
    discounted = strike * tf.exp(-rate * years)
    return price * n1 - discounted * n2, discounted * (1 - n2) - price * (1 - n1)


def gelu(x: Tensor) -> Tensor:
    return tf.nn.gelu(x, approximate=True)


def sixty_ops(x: Tensor) -> Tensor:
    for scale, shift, offset in STEPS:
        x = tf.abs(x * scale + shift) - offset
        x = tf.minimum(tf.maximum(x, -1.75), 1.75)
    return x


def softmax(x: Tensor) -> Tensor:
    return tf.nn.softmax(x)


def layer_norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
    return tf.nn.batch_normalization(x, mean, variance, shift, scale, 1e-5)


def logsumexp(x: Tensor) -> Tensor:
    return tf.reduce_logsumexp(x, axis=-1)


def standardize(x: Tensor) -> Tensor:
    mean, variance = tf.nn.moments(x, axes=[0])
    return (x - mean) / tf.sqrt(variance)


def nearest(a: Tensor, b: Tensor) -> Tensor:
    apart = a[:, None, :] - b[None, :, :]
    return tf.reduce_min(tf.reduce_sum(apart * apart, axis=-1), axis=1)


def stencil(x: Tensor) -> Tensor:
    around = x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:]
    return 0.25 * around - x[1:-1, 1:-1]


def transpose_add(x: Tensor, y: Tensor) -> Tensor:
    return tf.transpose(x) + y


def mlp(
    x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor
) -> Tensor:
    h = tf.nn.relu(x @ w1 + b1)
    h = tf.nn.relu(h @ w2 + b2)
    return tf.nn.softmax(h @ w3 + b3)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return tf.nn.softmax(tf.matmul(q, k, transpose_b=True) / 8.0) @ v


FUNCTIONS: tuple[Callable[..., Any], ...] = (
    chain,
    black_scholes,
    gelu,
    sixty_ops,
    softmax,
    layer_norm,
    logsumexp,
    standardize,
    nearest,
    stencil,
    transpose_add,
    mlp,
    attention,
)


def peer() -> Peer:
    """Tensors in and out; on the CPU a call returns when its results are there."""
    functions = {f.__name__: tf.function(f, jit_compile=True) for f in FUNCTIONS}
    return Peer(functions, give=tf.constant, take=lambda t: t.numpy())
