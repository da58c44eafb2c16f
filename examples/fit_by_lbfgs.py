"""Two models fitted by L-BFGS, each in one compiled loop: plain NumPy, no gradients by hand.

Softmax regression on scikit-learn's digits (1797 images of 8x8 pixels), and a Gaussian process
on a noisy curve, whose length scale, height and noise are those of the largest marginal
likelihood. Both are judged by what they weren't fitted to.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.datasets import load_digits

import graphjit as gj

Array = np.ndarray[Any, np.dtype[Any]]


# -- softmax regression


def cross_entropy(model: Any, images: Array, labels: Array, penalty: float) -> Any:
    """The mean of -log p(label), and a penalty on large weights."""
    scores = images @ model["weights"] + model["bias"]
    right = np.take_along_axis(scores, labels[:, None], axis=1)[:, 0]
    return np.mean(logsumexp(scores, axis=1) - right) + penalty * np.sum(model["weights"] ** 2)


def fit_digits() -> None:
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images, labels = images[order] / 16, labels[order]
    model = {"weights": np.zeros((64, 10)), "bias": np.zeros(10)}

    start = time.perf_counter()
    found = gj.optimizers.lbfgs(
        cross_entropy, model, images[:1400], labels[:1400], 1e-4, max_steps=300
    )
    seconds = time.perf_counter() - start
    scores = images[1400:] @ found.x["weights"] + found.x["bias"]
    accuracy = np.mean(scores.argmax(axis=1) == labels[1400:])
    print(
        f"softmax regression: loss {found.value:.4f} after {found.steps} steps, {seconds:.1f} s"
    )
    print(f"held back: {accuracy:.1%} right")


# -- a Gaussian process


def covariance(a: Array, b: Array, hyper: Any) -> Any:
    """Of the values of a smooth curve at two sets of places."""
    distances = (a[:, None] - b[None, :]) / np.exp(hyper["length"])
    return np.exp(2 * hyper["height"]) * np.exp(-0.5 * distances**2)


def surprise(hyper: Any, x: Array, y: Array) -> Any:
    """Minus the logarithm of the marginal likelihood."""
    noise = np.exp(2 * hyper["noise"]) + 1e-8
    return -multivariate_normal.logpdf(
        y, cov=covariance(x, x, hyper) + noise * np.eye(x.shape[0])
    )


def predict(hyper: Any, x: Array, y: Array, places: Array) -> Any:
    """The mean of the curve at other places."""
    noise = np.exp(2 * hyper["noise"]) + 1e-8
    inner = covariance(x, x, hyper) + noise * np.eye(x.shape[0])
    return covariance(places, x, hyper) @ np.linalg.solve(inner, y)


def fit_curve() -> None:
    rng = np.random.default_rng(1)
    x, places = np.sort(rng.uniform(0, 10, 120)), np.linspace(0.2, 9.8, 200)
    y = np.sin(x) + 0.3 * np.cos(3 * x) + 0.1 * rng.normal(size=x.size)
    hyper = {name: np.zeros(()) for name in ("length", "height", "noise")}

    found = gj.optimizers.lbfgs(surprise, hyper, x, y)
    guess = gj.function(predict)(found.x, x, y, places)
    error = np.sqrt(np.mean((guess - np.sin(places) - 0.3 * np.cos(3 * places)) ** 2))
    noise = np.exp(found.x["noise"])
    print(f"Gaussian process: likelihood {-found.value:.1f} after {found.steps} steps")
    print(f"noise {noise:.3f} (it was 0.1), error at {places.size} other places {error:.3f}")


if __name__ == "__main__":
    fit_digits()
    fit_curve()
