"""Asks how fast random numbers are drawn: by `gj.random`, compiled and eagerly, and by NumPy.

    python benchmarks/random_numbers.py [--count 1000000] [--rounds 9] [--threads 1]

Each draw is timed in turns with NumPy's of the same distribution and dtype. Times [ms] are the
least of the rounds; NumPy draws on one thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import measure
import numpy as np

import graphjit as gj
from graphjit import random

Draws = tuple[str, Callable[[Any, int], Any], Callable[[Any, int], Any]]

DRAWS: tuple[Draws, ...] = (
    (
        "uniform float32",
        lambda k, n: random.uniform(k, (n,)),
        lambda g, n: g.random(n, dtype=np.float32),
    ),
    (
        "uniform float64",
        lambda k, n: random.uniform(k, (n,), "float64"),
        lambda g, n: g.random(n),
    ),
    (
        "normal float32",
        lambda k, n: random.normal(k, (n,)),
        lambda g, n: g.standard_normal(n, dtype=np.float32),
    ),
    (
        "normal float64",
        lambda k, n: random.normal(k, (n,), "float64"),
        lambda g, n: g.standard_normal(n),
    ),
    (
        "sum of normal float32",
        lambda k, n: gj.reduce_sum(random.normal(k, (n,))),
        lambda g, n: g.standard_normal(n, dtype=np.float32).sum(),
    ),
    (
        "randint below 1000",
        lambda k, n: random.randint(k, (n,), 0, 1000),
        lambda g, n: g.integers(0, 1000, n, dtype=np.int32),
    ),
    (
        "exponential float32",
        lambda k, n: random.exponential(k, (n,)),
        lambda g, n: g.standard_exponential(n, dtype=np.float32),
    ),
    (
        "gamma of 2.5, float32",
        lambda k, n: random.gamma(k, 2.5, (n,)),
        lambda g, n: g.standard_gamma(2.5, n, dtype=np.float32),
    ),
    (
        "poisson of 4",
        lambda k, n: random.poisson(k, 4.0, (n,)),
        lambda g, n: g.poisson(4.0, n),
    ),
    (
        "poisson of 100",
        lambda k, n: random.poisson(k, 100.0, (n,)),
        lambda g, n: g.poisson(100.0, n),
    ),
    (
        "binomial of 100, 0.4",
        lambda k, n: random.binomial(k, 100, 0.4, (n,)),
        lambda g, n: g.binomial(100, 0.4, n),
    ),
    (
        "permutation",
        lambda k, n: random.permutation(k, n),
        lambda g, n: g.permutation(n),
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=gj.config.threads)
    args = parser.parse_args()
    gj.config.threads = args.threads
    key, generator, rows = random.key(0), np.random.default_rng(0), []
    for name, draw, numpy in DRAWS:
        measure.progress(name)
        compiled = gj.function(lambda k, draw=draw: draw(k, args.count))
        compiled(key)
        calls = {
            "compiled": measure.Statement(compiled, key),
            "eager": measure.Statement(draw, key, args.count),
            "NumPy": measure.Statement(numpy, generator, args.count),
        }
        times = measure.interleaved(calls, args.rounds, sample_s=0.005)
        least = {n: min(t) for n, t in times.items()}
        shown = [measure.digits(t / 1e6) for t in least.values()]
        rows.append([name, *shown, f"{least['compiled'] / least['NumPy']:.2f}"])
    state = random.Generator.from_seed(0)
    few = gj.function(lambda: state.normal((4,)))
    calls = {
        "compiled": measure.Statement(few),
        "NumPy": measure.Statement(generator.standard_normal, 4, np.float32),
    }
    times = measure.interleaved(calls, args.rounds, sample_s=0.005)
    print(measure.machine())
    print(f"{args.count:,} numbers, {args.threads} threads\n")
    head = ["draw", "compiled ms", "eager ms", "NumPy ms", "compiled/NumPy"]
    print(measure.table(head, rows))
    found = " µs, ".join(f"{n} {min(t) / 1e3:.2f}" for n, t in times.items())
    print(f"\nfour normal numbers of a generator: {found} µs")


if __name__ == "__main__":
    main()
