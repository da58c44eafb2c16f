"""Digits by a network of layers and by one of convolutions, trained in one compiled step.

    python examples/train_digits.py [--model mlp|cnn] [--epochs 20] [--resume] [--folder build]

scikit-learn's 1797 images of 8x8 pixels; 360 are held back, and the last line says how many of
these are right. `mlp` is plain NumPy code with the parameters in a dict and
`gj.optimizers.pure`; `cnn` has `gj.Variable`s, a `gj.GradientTape` and `gj.optimizers.Adam`.
Training that was stopped goes on with --resume, to the bit as if it hadn't been.
"""

from __future__ import annotations

from typing import Any

import fitting
import numpy as np
from sklearn.datasets import load_digits

import graphjit as gj

BATCH = 32


def data() -> tuple[Any, Any, Any, Any]:
    """Images [n, 64] and labels to learn from, and those held back."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images, labels = (images[order] / 16).astype(np.float32), labels[order]
    return images[360:], labels[360:], images[:360], labels[:360]


# -- layers


def scores_of(layers: Any, x: Any) -> Any:
    """A score for each digit [n, 10]."""
    for layer in layers[:-1]:
        x = np.maximum(x @ layer["weights"] + layer["bias"], 0)
    return x @ layers[-1]["weights"] + layers[-1]["bias"]


def cross_entropy(layers: Any, x: Any, labels: Any) -> Any:
    """The mean of -log p(label)."""
    scores = scores_of(layers, x)
    scores = scores - scores.max(axis=1, keepdims=True)
    right = np.take_along_axis(scores, labels[:, None], axis=1)[:, 0]
    return np.mean(np.log(np.exp(scores).sum(axis=1)) - right)


def train_layers(options: Any) -> None:
    x, labels, x_held, labels_held = data()
    rng = np.random.default_rng(1)
    layers = [
        {
            "weights": (rng.normal(size=(n, m)) * (2 / n) ** 0.5).astype(np.float32),
            "bias": np.zeros(m, np.float32),
        }
        for n, m in ((64, 64), (64, 64), (64, 10))
    ]
    adam = gj.optimizers.pure.adam(1e-3)

    @gj.function
    def step(state: Any, x: Any, labels: Any) -> Any:
        loss, slopes = gj.value_and_grad(cross_entropy)(state["layers"], x, labels)
        updates, adam_state = adam.update(slopes, state["adam"], state["layers"])
        layers = gj.optimizers.pure.apply_updates(state["layers"], updates)
        return {"layers": layers, "adam": adam_state}, loss

    def epoch(state: Any, number: int) -> tuple[Any, float]:
        losses = []
        for chosen in fitting.batches(len(x), BATCH, number):
            state, loss = step(state, x[chosen], labels[chosen])
            losses.append(float(loss))
        return state, float(np.mean(losses))

    scores = gj.function(scores_of)

    def score(state: Any) -> float:
        guesses = np.argmax(scores(state["layers"], x_held), axis=1)
        return float(np.mean(guesses == labels_held))

    state = {"layers": layers, "adam": adam.init(layers)}
    fitting.fit("digits_mlp", options, state, epoch, score)


# -- convolutions


class Network:
    """Two convolutions with pooling, then one layer."""

    def __init__(self) -> None:
        rng = np.random.default_rng(1)

        def weights(*shape: int) -> gj.Variable:
            scale = (2 / np.prod(shape[:-1])) ** 0.5
            return gj.Variable((rng.normal(size=shape) * scale).astype(np.float32))

        self.first, self.first_bias = weights(3, 3, 1, 16), gj.Variable(gj.zeros([16]))
        self.second, self.second_bias = weights(3, 3, 16, 32), gj.Variable(gj.zeros([32]))
        self.last, self.last_bias = weights(128, 10), gj.Variable(gj.zeros([10]))
        self.variables = [
            self.first, self.first_bias, self.second, self.second_bias,
            self.last, self.last_bias,
        ]  # fmt: skip

    def __call__(self, x: Any) -> Any:
        """A score for each digit [n, 10]."""
        x = gj.reshape(x, [-1, 8, 8, 1])
        x = gj.nn.relu(gj.nn.conv2d(x, self.first, 1, "SAME") + self.first_bias)
        x = gj.nn.max_pool(x, 2, 2, "VALID")
        x = gj.nn.relu(gj.nn.conv2d(x, self.second, 1, "SAME") + self.second_bias)
        x = gj.nn.max_pool(x, 2, 2, "VALID")
        return gj.reshape(x, [-1, 128]) @ self.last + self.last_bias


def train_convolutions(options: Any) -> None:
    x, labels, x_held, labels_held = data()
    network, adam = Network(), gj.optimizers.Adam(2e-3)

    @gj.function
    def step(x: Any, labels: Any) -> Any:
        with gj.GradientTape() as tape:
            loss = gj.reduce_mean(
                gj.nn.sparse_softmax_cross_entropy_with_logits(labels, network(x))
            )
        slopes = tape.gradient(loss, network.variables)
        adam.apply_gradients(zip(slopes, network.variables, strict=True))
        return loss

    scores = gj.function(network)
    adam.build(network.variables)
    held = [*network.variables, *adam.variables]

    def epoch(state: Any, number: int) -> tuple[Any, float]:
        for variable, array in zip(held, state, strict=True):
            variable.assign(array)
        losses = [
            float(step(gj.constant(x[chosen]), gj.constant(labels[chosen])))
            for chosen in fitting.batches(len(x), BATCH, number)
        ]
        return [v.numpy() for v in held], float(np.mean(losses))

    def score(state: Any) -> float:
        guesses = gj.argmax(scores(gj.constant(x_held)), axis=-1).numpy()
        return float(np.mean(guesses == labels_held))

    fitting.fit("digits_cnn", options, [v.numpy() for v in held], epoch, score)


def main() -> None:
    options = fitting.arguments(__doc__ or "", 20, model=("mlp", "cnn"))
    (train_layers if options.model == "mlp" else train_convolutions)(options)


if __name__ == "__main__":
    main()
