"""Asks what derivatives and batching cost: beside the function, and beside NumPy by hand.

    python benchmarks/derivatives.py [--rounds 9] [--threads 1]

Each case is timed in turns: the function compiled, its gradient (or what `gj.vmap` makes of it)
compiled, and the same written by hand in NumPy. Times [ms] are the least of the rounds; give
OPENBLAS_NUM_THREADS=1 where --threads is 1.
"""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Callable
from typing import Any

import measure
import numpy as np

import graphjit as gj

Array = Any
Case = tuple[Callable[..., Any] | None, Callable[..., Any], Callable[..., Any], tuple[Any, ...]]
RNG = np.random.default_rng(0)


def mlp() -> Case:
    """A training step of 256x784-512-512-10, float32."""
    sizes, batch = (784, 512, 512, 10), 256
    params = [
        (
            RNG.normal(size=pair).astype("f4") / np.float32(pair[0] ** 0.5),
            np.zeros(pair[1], "f4"),
        )
        for pair in itertools.pairwise(sizes)
    ]
    x = RNG.normal(size=(batch, sizes[0])).astype("f4")
    y = np.eye(10, dtype="f4")[RNG.integers(0, 10, batch)]
    rate = np.float32(0.1)

    def loss(params: Any, x: Array, y: Array) -> Any:
        for w, b in params[:-1]:
            x = np.maximum(x @ w + b, 0)
        w, b = params[-1]
        z = x @ w + b
        z = z - z.max(1, keepdims=True)
        return -((z - np.log(np.exp(z).sum(1, keepdims=True))) * y).sum(1).mean()

    def step(params: Any, x: Array, y: Array) -> Any:
        value, slopes = gj.value_and_grad(loss)(params, x, y)
        pairs = zip(params, slopes, strict=True)
        return value, [(w - rate * dw, b - rate * db) for (w, b), (dw, db) in pairs]

    def by_hand(params: Any, x: Array, y: Array) -> Any:
        layers = [x]
        for w, b in params[:-1]:
            layers.append(np.maximum(layers[-1] @ w + b, 0))
        w, b = params[-1]
        z = layers[-1] @ w + b
        z = z - z.max(1, keepdims=True)
        e = np.exp(z)
        sums = e.sum(1, keepdims=True)
        value = -((z - np.log(sums)) * y).sum(1).mean()
        d, new = (e / sums - y) / np.float32(len(x)), []
        for (w, b), h in zip(reversed(params), reversed(layers), strict=True):
            new.append((w - rate * (h.T @ d), b - rate * d.sum(0)))
            if h is not x:
                d = (d @ w.T) * (h > 0)
        return value, new[::-1]

    return loss, step, by_hand, (params, x, y)


def logistic() -> Case:
    """The gradient of a logistic loss, 100,000 x 50 float64."""
    x, w = RNG.normal(size=(100_000, 50)), RNG.normal(size=50)
    y = np.sign(RNG.normal(size=100_000))

    def loss(w: Array, x: Array, y: Array) -> Any:
        return np.log1p(np.exp(-(x @ w) * y)).mean()

    def by_hand(w: Array, x: Array, y: Array) -> Any:
        return -(x.T @ (y / (1 + np.exp(x @ w * y)))) / len(y)

    return loss, lambda w, x, y: gj.grad(loss)(w, x, y), by_hand, (w, x, y)


def recurrence() -> Case:
    """The gradient of 10,000 turns of a recurrence of 16 numbers."""
    start = np.ones(16)

    def run(x: Array) -> Any:
        for _ in range(10_000):
            x = np.tanh(x * 0.9 + 0.1)
        return x.sum()

    def by_hand(x: Array) -> Any:
        kept = []
        for _ in range(10_000):
            x = np.tanh(x * 0.9 + 0.1)
            kept.append(x)
        d = np.ones_like(x)
        for y in reversed(kept):
            d = d * (1 - y * y) * 0.9
        return d

    return run, lambda x: gj.grad(run)(x), by_hand, (start,)


def distances() -> Case:
    """500 x 400 distances in three dimensions, by gj.vmap of that of two points."""
    points, others = RNG.normal(size=(500, 3)), RNG.normal(size=(400, 3))

    def distance(p: Array, q: Array) -> Any:
        return np.sqrt(((p - q) ** 2).sum())

    pairs = gj.vmap(gj.vmap(distance, (None, 0)), (0, None))
    by_hand = lambda p, q: np.sqrt(((p[:, None] - q) ** 2).sum(-1))  # noqa: E731
    return None, lambda p, q: pairs(p, q), by_hand, (points, others)


CASES = {
    "MLP step": mlp, "logistic regression": logistic, "10,000 turns": recurrence,
    "500 x 400 distances": distances,
}  # fmt: skip


def layers() -> list[list[str]]:
    """The gradient of 64 layers of 2048x128 float32, kept and run again: time and arena."""
    count, width = 64, 128
    weights = [RNG.normal(size=(width, width)).astype("f4") / 11 for _ in range(count)]
    x = RNG.normal(size=(2048, width)).astype("f4")

    def run(x: Array, some: Any) -> Any:
        for w in some:
            x = np.tanh(np.sin(x @ w) * 2 + x)
        return x

    def loss(f: Callable[..., Any], step: int) -> Any:
        def of(weights: Any, x: Array) -> Any:
            for k in range(0, count, step):
                x = f(x, weights[k : k + step])
            return (x * x).mean()

        return gj.function(gj.value_and_grad(of), fallback="error")

    again, products = gj.checkpoint(run), gj.checkpoint_policies.dots_saveable
    cases = {
        "all kept": loss(run, 1),
        "each layer again": loss(again, 1),
        "each but for products": loss(gj.checkpoint(run, policy=products), 1),
        "blocks of 8 again": loss(again, 8),
    }
    calls = {name: measure.Statement(f, weights, x) for name, f in cases.items()}
    for call in calls.values():
        call()
    times = measure.interleaved(calls, 5, sample_s=0.1)
    least = {k: min(v) / 1e6 for k, v in times.items()}
    lines = []
    for name, f in cases.items():
        text = str(f.explain(weights, x))
        (arena, *_) = re.findall(r"arena (\d+) bytes", text)
        ratio, size = least[name] / least["all kept"], int(arena) / 1e6
        lines.append([name, measure.digits(least[name]), f"{ratio:.2f}", f"{size:.1f}"])
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    gj.config.threads = args.threads
    work = measure.OtherWork()
    print(measure.machine(), "\n")
    lines = []
    for name, make in CASES.items():
        plain, derived, by_hand, given = make()
        compiled = gj.function(derived, fallback="error")
        calls: dict[str, measure.Call] = {
            "derived": measure.Statement(compiled, *given),
            "numpy": measure.Statement(by_hand, *given),
        }
        if plain is not None:
            calls["plain"] = measure.Statement(gj.function(plain, fallback="error"), *given)
        for call in calls.values():
            for _ in range(3):
                call()
        times = measure.interleaved(calls, args.rounds, sample_s=0.05)
        least = {k: min(v) / 1e6 for k, v in times.items()}
        forward = least.get("plain")
        lines.append(
            [
                name,
                "–" if forward is None else measure.digits(forward),
                measure.digits(least["derived"]),
                "–" if forward is None else f"{least['derived'] / forward:.2f}",
                measure.digits(least["numpy"]),
                f"{least['derived'] / least['numpy']:.2f}",
            ]
        )
    head = ["case", "function ms", "derived ms", "/function", "NumPy by hand ms", "/NumPy"]
    print(measure.table(head, lines))
    print()
    print(measure.table(["64 layers", "ms", "/all kept", "arena MB"], layers()))
    print(f"\n{measure.other_work_text(work.cores())}")


if __name__ == "__main__":
    main()
