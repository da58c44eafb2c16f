"""Handwritten digits with graphjit: NumPy code compiled as it is, and a model with variables.

Runs on scikit-learn's digits (1797 images of 8x8 pixels). Three jobs: nearest neighbours by
pairwise distances, written in NumPy; principal components, whose decomposition is a library
call between compiled kernels; softmax regression, trained by a step that assigns variables.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import graphjit as gj

Array = np.ndarray[Any, np.dtype[Any]]


def nearest(queries: Array, points: Array) -> Array:
    """For each query the number of the nearest point: plain NumPy."""
    distances = np.sum((queries[:, None, :] - points[None, :, :]) ** 2, axis=-1)
    return np.argmin(distances, axis=1)


def standardize(x: Array) -> Array:
    """Each column with mean 0 and variance 1: plain NumPy."""
    return (x - np.mean(x, axis=0)) / (np.std(x, axis=0) + np.float32(1e-3))


@gj.function
def principal(x: Any) -> Any:
    """The coordinates of x along its two principal components: [n, 2]."""
    centred = x - gj.reduce_mean(x, axis=0)
    _, _, v = gj.linalg.svd(centred)
    return centred @ v[:, :2]


weights = gj.Variable(gj.zeros([64, 10]), name="weights")
bias = gj.Variable(gj.zeros([10]), name="bias")


@gj.function
def train(x: Any, onehot: Any, rate: float) -> Any:
    """One step of gradient descent on the cross entropy; gives the loss."""
    probabilities = gj.softmax(x @ weights + bias)
    loss = -gj.reduce_mean(gj.reduce_sum(onehot * gj.log(probabilities), axis=-1))
    gradient = (probabilities - onehot) / x.shape[0]
    weights.assign_sub(rate * (gj.transpose(x) @ gradient))
    bias.assign_sub(rate * gj.reduce_sum(gradient, axis=0))
    return loss


def milliseconds(run: Callable[[], Any]) -> float:
    """The median time of five runs [ms]."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1e3 * sorted(times)[2]


def main() -> None:
    images, labels = load_digits(return_X_y=True)
    images = images.astype(np.float32)
    points, queries = images[:1400], images[1400:]

    fast = gj.function(nearest)
    found = fast(queries, points)
    assert np.array_equal(found, nearest(queries, points))
    accuracy = np.mean(labels[:1400][found] == labels[1400:])
    before = milliseconds(lambda: nearest(queries, points))
    after = milliseconds(lambda: fast(queries, points))
    times = f"NumPy {before:.1f} ms, compiled {after:.1f} ms"
    print(f"nearest neighbour: {accuracy:.1%} right, {times}")

    x = gj.function(standardize)(images)
    print(f"principal components of the first image: {principal(gj.constant(x))[0].numpy()}")

    inputs = gj.constant(x[:1400])
    onehot = gj.one_hot(labels[:1400], 10)
    for step in range(201):
        loss = train(inputs, onehot, 0.5 if step < 100 else 0.1)
        if step % 50 == 0:
            print(f"step {step}: loss {float(loss):.4f}")
    guesses = gj.argmax(gj.constant(x[1400:]) @ weights + bias, axis=-1).numpy()
    print(f"softmax regression: {np.mean(guesses == labels[1400:]):.1%} right")
    print(f"train was traced {train.trace_count} time(s)")


if __name__ == "__main__":
    main()
