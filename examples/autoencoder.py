"""A variational autoencoder of digits: random numbers are part of the compiled step.

    python examples/autoencoder.py [--epochs 40] [--resume] [--folder build]

scikit-learn's 1797 images of 8x8 pixels, 360 of them held back; the score is the bound on
-log p(image) there, in nats. The encoder gives mean and deviation of a hidden point, the
decoder the chance of each pixel; draws come from a key (`gj.random`), so that the same key
gives the same gradient. At the end some digits are drawn that were never written. Training
that was stopped goes on with --resume, to the bit as if it hadn't been.

The method: D. P. Kingma, M. Welling, "Auto-encoding variational Bayes", 2013.
"""

from __future__ import annotations

from typing import Any

import fitting
import numpy as np
from sklearn.datasets import load_digits

import graphjit as gj

BATCH, HIDDEN, POINT = 32, 128, 8


def layer(x: Any, p: Any) -> Any:
    return x @ p["weights"] + p["bias"]


def encoded(model: Any, x: Any) -> tuple[Any, Any]:
    """The mean and the logarithm of the deviation of the hidden points [n, POINT]."""
    h = np.tanh(layer(x, model["encoder"]))
    return layer(h, model["mean"]), layer(h, model["deviation"])


def decoded(model: Any, points: Any) -> Any:
    """A score for each pixel [n, 64]: the logarithm of its odds to be dark."""
    return layer(np.tanh(layer(points, model["decoder"])), model["pixels"])


def bound(model: Any, x: Any, noise: Any) -> Any:
    """An upper bound on the mean of -log p(image), by one draw for each image."""
    mean, log_deviation = encoded(model, x)
    points = mean + np.exp(log_deviation) * noise
    scores = decoded(model, points)
    of_pixels = np.maximum(scores, 0) - scores * x + np.log1p(np.exp(-np.abs(scores)))
    apart = 0.5 * (mean**2 + np.exp(2 * log_deviation) - 1) - log_deviation
    return np.mean(of_pixels.sum(axis=1) + apart.sum(axis=1))


def main() -> None:
    options = fitting.arguments(__doc__ or "", 40)
    images, _ = load_digits(return_X_y=True)
    images = np.random.default_rng(0).permutation((images / 16).astype(np.float32))
    x, held = images[360:], images[:360]
    rng = np.random.default_rng(1)

    def start(n: int, m: int) -> Any:
        weights = (rng.normal(size=(n, m)) / np.sqrt(n)).astype(np.float32)
        return {"weights": weights, "bias": np.zeros(m, np.float32)}

    model = {
        "encoder": start(64, HIDDEN), "mean": start(HIDDEN, POINT),
        "deviation": start(HIDDEN, POINT), "decoder": start(POINT, HIDDEN),
        "pixels": start(HIDDEN, 64),
    }  # fmt: skip
    rules = gj.optimizers.pure
    adam = rules.adam(2e-3)

    @gj.function
    def step(state: Any, x: Any, epoch: Any, number: Any) -> Any:
        key = gj.random.fold_in(gj.random.fold_in(gj.random.key(0), epoch), number)
        noise = gj.random.normal(key, (BATCH, POINT))
        loss, slopes = gj.value_and_grad(bound)(state["model"], x, noise)
        updates, adam_state = adam.update(slopes, state["adam"], state["model"])
        return {"model": rules.apply_updates(state["model"], updates), "adam": adam_state}, loss

    def epoch(state: Any, number: int) -> tuple[Any, float]:
        losses = []
        for k, chosen in enumerate(fitting.batches(len(x), BATCH, number)):
            state, loss = step(state, x[chosen], np.int64(number), np.int64(k))
            losses.append(float(loss))
        return state, float(np.mean(losses))

    judge, noise = gj.function(bound), rng.normal(size=(360, POINT)).astype(np.float32)

    def score(state: Any) -> float:
        return float(judge(state["model"], held, noise))

    state = {"model": model, "adam": adam.init(model)}
    state = fitting.fit("autoencoder", options, state, epoch, score)
    scores = decoded(state["model"], rng.normal(size=(6, POINT)).astype(np.float32))
    dark = 1 / (1 + np.exp(-scores)).reshape(6, 8, 8)
    for row in range(8):
        print("  ".join("".join(" .:*#"[int(4.99 * v)] * 2 for v in d[row]) for d in dark))


if __name__ == "__main__":
    main()
