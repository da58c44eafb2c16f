"""Text, character by character: an LSTM, a GRU and a small transformer, each one compiled step.

    python examples/characters.py [--model lstm|gru|transformer] [--epochs 8] [--resume]

The text is the docstrings of NumPy's functions; the last tenth is held back, and the score is
the mean loss there, in bits a character (a character at random: 6.6, by how often each comes:
4.7). All is plain NumPy code; the recurrent networks step through the text by `gj.scan`, and
`gj.checkpoint` runs the blocks of the transformer again on the way back. At the end the model
writes some text of its own. Training that was stopped goes on with --resume, to the bit as if
it hadn't been.
"""

from __future__ import annotations

import inspect
from typing import Any

import fitting
import numpy as np

import graphjit as gj

STEPS, BATCH, UNITS = 64, 32, 128
HEADS, BLOCKS = 4, 2
MAX_CHARACTERS = 400_000


def text() -> str:
    """What the models learn from."""
    found = [inspect.getdoc(getattr(np, name)) or "" for name in sorted(vars(np))]
    joined = "\n\n".join(dict.fromkeys(found))
    return "".join(c for c in joined if c.isascii())[:MAX_CHARACTERS]


def normal(rng: np.random.Generator, *shape: int) -> Any:
    """Weights of a size that keeps what they are multiplied with as large as it is."""
    return (rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


# -- recurrent networks: p has the weights, codes is [batch, step], the result scores [b, s, c]


def lstm_start(rng: np.random.Generator, characters: int) -> Any:
    bias = np.zeros(4 * UNITS, np.float32)
    bias[UNITS : 2 * UNITS] = 1  # at first nothing is forgotten
    return {
        "inner": normal(rng, characters, 4 * UNITS), "outer": normal(rng, UNITS, 4 * UNITS),
        "bias": bias, "last": normal(rng, UNITS, characters),
    }  # fmt: skip


def lstm(p: Any, codes: Any) -> Any:
    def turn(carry: Any, now: Any) -> Any:
        h, c = carry
        z = now + h @ p["outer"]
        i, f, o = (sigmoid(z[:, k * UNITS : (k + 1) * UNITS]) for k in range(3))
        c = f * c + i * np.tanh(z[:, 3 * UNITS :])
        h = o * np.tanh(c)
        return (h, c), h

    start = np.zeros((codes.shape[0], UNITS), np.float32)
    given = p["inner"][codes.T] + p["bias"]
    _, h = gj.scan(turn, (start, start), given)
    return h.transpose(1, 0, 2) @ p["last"]


def gru_start(rng: np.random.Generator, characters: int) -> Any:
    return {
        "inner": normal(rng, characters, 3 * UNITS), "outer": normal(rng, UNITS, 3 * UNITS),
        "bias": np.zeros(3 * UNITS, np.float32), "last": normal(rng, UNITS, characters),
    }  # fmt: skip


def gru(p: Any, codes: Any) -> Any:
    def turn(h: Any, now: Any) -> Any:
        z = h @ p["outer"]
        update = sigmoid(now[:, :UNITS] + z[:, :UNITS])
        reset = sigmoid(now[:, UNITS : 2 * UNITS] + z[:, UNITS : 2 * UNITS])
        new = np.tanh(now[:, 2 * UNITS :] + reset * z[:, 2 * UNITS :])
        h = update * h + (1 - update) * new
        return h, h

    start = np.zeros((codes.shape[0], UNITS), np.float32)
    _, h = gj.scan(turn, start, p["inner"][codes.T] + p["bias"])
    return h.transpose(1, 0, 2) @ p["last"]


# -- a transformer


def transformer_start(rng: np.random.Generator, characters: int) -> Any:
    def block() -> Any:
        return {
            "qkv": normal(rng, UNITS, 3 * UNITS), "out": normal(rng, UNITS, UNITS),
            "first": normal(rng, UNITS, 4 * UNITS), "second": normal(rng, 4 * UNITS, UNITS),
            "scales": np.ones((2, UNITS), np.float32),
        }  # fmt: skip

    return {
        "characters": normal(rng, characters, UNITS), "places": normal(rng, STEPS, UNITS),
        "blocks": [block() for _ in range(BLOCKS)], "last": normal(rng, UNITS, characters),
    }  # fmt: skip


def normalized(x: Any, scale: Any) -> Any:
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + np.float32(1e-6)) * scale


@gj.checkpoint
def block(p: Any, x: Any) -> Any:
    """Attention to what came before, then a layer for each place."""
    batch, steps, width = x.shape
    h = normalized(x, p["scales"][0]) @ p["qkv"]
    q, k, v = h.reshape(batch, steps, 3, HEADS, width // HEADS).transpose(2, 0, 3, 1, 4)
    scores = q @ k.transpose(0, 1, 3, 2) * np.float32((width // HEADS) ** -0.5)
    scores = np.where(np.tri(steps, dtype=bool), scores, np.float32(-1e9))
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    scores = scores / scores.sum(axis=-1, keepdims=True)
    x = x + (scores @ v).transpose(0, 2, 1, 3).reshape(batch, steps, width) @ p["out"]
    h = normalized(x, p["scales"][1]) @ p["first"]
    return x + h * sigmoid(h) @ p["second"]


def transformer(p: Any, codes: Any) -> Any:
    x = p["characters"][codes] + p["places"][: codes.shape[1]]
    for each in p["blocks"]:
        x = block(each, x)
    return x @ p["last"]


# -- training


MODELS = {
    "lstm": (lstm_start, lstm),
    "gru": (gru_start, gru),
    "transformer": (transformer_start, transformer),
}


def main() -> None:
    options = fitting.arguments(__doc__ or "", 8, model=tuple(MODELS))
    start, scores_of = MODELS[options.model]
    whole = text()
    characters = sorted(set(whole))
    codes = np.searchsorted(np.array(characters), np.array(list(whole)))
    learnt, held = np.split(codes, [len(codes) * 9 // 10])

    def loss_of(p: Any, codes: Any) -> Any:
        """The mean of -log p(the next character)."""
        scores = scores_of(p, codes[:, :-1])
        scores = scores - scores.max(axis=-1, keepdims=True)
        right = np.take_along_axis(scores, codes[:, 1:, None], axis=-1)[..., 0]
        return np.mean(np.log(np.exp(scores).sum(axis=-1)) - right)

    rules = gj.optimizers.pure
    adam = rules.chain(rules.clip_by_global_norm(1.0), rules.adam(3e-3))

    @gj.function
    def step(state: Any, codes: Any) -> Any:
        loss, slopes = gj.value_and_grad(loss_of)(state["model"], codes)
        updates, adam_state = adam.update(slopes, state["adam"], state["model"])
        return {"model": rules.apply_updates(state["model"], updates), "adam": adam_state}, loss

    def windows(codes: Any) -> Any:
        count = (len(codes) - 1) // STEPS
        return np.stack([codes[k * STEPS : (k + 1) * STEPS + 1] for k in range(count)])

    pieces, pieces_held = windows(learnt), windows(held)

    def epoch(state: Any, number: int) -> tuple[Any, float]:
        losses = []
        for chosen in fitting.batches(len(pieces), BATCH, number):
            state, loss = step(state, pieces[chosen])
            losses.append(float(loss))
        return state, float(np.mean(losses))

    judge = gj.function(loss_of)

    def score(state: Any) -> float:
        found = [
            float(judge(state["model"], pieces_held[chosen]))
            for chosen in fitting.batches(len(pieces_held), BATCH, 0)
        ]
        return float(np.mean(found)) / np.log(2)

    model = start(np.random.default_rng(0), len(characters))
    state = {"model": model, "adam": adam.init(model)}
    state = fitting.fit(f"characters_{options.model}", options, state, epoch, score)

    written, rng, scores = list(codes[:STEPS]), np.random.default_rng(0), gj.function(scores_of)
    for _ in range(120):
        last = scores(state["model"], np.array([written[-STEPS:]]))[0, -1] / np.float32(0.7)
        chances = np.exp(last - last.max()).astype(np.float64)
        written.append(int(rng.choice(len(characters), p=chances / chances.sum())))
    print(repr("".join(characters[k] for k in written[STEPS:])))


if __name__ == "__main__":
    main()
