"""Asks what one specialization for all sizes costs beside one for each size.

    python benchmarks/sizes.py [--rounds 15] [--json FILE]

Each function is compiled twice: for each size by itself (static) and, after other sizes, once
for all (symbolic). Both are called with the same arrays, in turns. `symbolic/static` is the
median of the ratios of the rounds; it should stay below 1.05 from 100,000 elements on. The last
line calls a function with 1,000 sizes, 0 and 1 among them, and a function with 1,000 values of
a float, and says how often each was compiled.

"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measure
import numpy as np

os.environ["GRAPHJIT_CACHE_DIR"] = tempfile.mkdtemp(prefix="graphjit-benchmark-")

import graphjit as gj


def chain(x: Any) -> Any:
    return np.sqrt(x * x + 1) * 0.5 - x


def gelu(x: Any) -> Any:
    return 0.5 * x * (1 + np.tanh(0.79788456 * (x + 0.044715 * x**3)))


def softmax(x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def standardize(x: Any) -> Any:
    return (x - x.mean(axis=0)) / x.std(axis=0)


def difference(x: Any) -> Any:
    return x[1:] - x[:-1]


def layer(x: Any, w: Any) -> Any:
    return np.maximum(x @ w, 0)


def square(n: int) -> int:
    """Rows of a square of about so many elements."""
    return round(n**0.5)


def columns(n: int) -> tuple[Any, ...]:
    return (normal(n // 100, 100),)


RNG = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


WEIGHTS = normal(100, 64)
# name -> function, arguments of about so many elements
CASES: dict[str, tuple[Callable[..., Any], Callable[[int], tuple[Any, ...]]]] = {
    "chain": (chain, lambda n: (normal(n),)),
    "gelu": (gelu, lambda n: (normal(n),)),
    "sum": (np.sum, lambda n: (normal(n),)),
    "softmax, rows of 100": (softmax, columns),
    "softmax, 100 rows": (softmax, lambda n: (normal(100, n // 100),)),
    "standardise 100 columns": (standardize, columns),
    "difference": (difference, lambda n: (normal(n),)),
    "x + y.T": (lambda x, y: x + y.T, lambda n: (normal(n // 100, 100), normal(100, n // 100))),
    "relu(x @ w), 100 to 64": (layer, lambda n: (normal(n // 100, 100), WEIGHTS)),
    "a @ b, squares": (np.matmul, lambda n: (normal(square(n), square(n)),) * 2),
    "a @ b.T, squares": (
        lambda a, b: a @ b.T, lambda n: (normal(square(n), square(n)),) * 2,
    ),
    "4 rows @ b": (np.matmul, lambda n: (normal(4, square(n)), normal(square(n), square(n)))),
    "a @ vector": (np.matmul, lambda n: (normal(square(n), square(n)), normal(square(n)))),
}  # fmt: skip


def compiled(function: Callable[..., Any], after: int | None) -> Any:
    made = gj.function(lambda *args: function(*args), fallback="error")
    gj.config.symbolic_after = after
    return made


def timed(function: Any, args: tuple[Any, ...], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        function(*args)
    return (time.perf_counter() - start) / calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write all times to this file")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cases", default="", help="those whose name holds this")
    args = parser.parse_args()
    gj.config.recompile_warning = 0
    gj.config.native_after = 0
    lines, found = [], {}
    for name, (function, make) in CASES.items():
        if args.cases not in name:
            continue
        for size in (1_000, 100_000, 1_000_000, 10_000_000):
            measure.progress(f"{name} {size:,}")
            arrays = make(size)
            symbolic = compiled(function, 2)
            for other in (size // 2, 3 * size // 4, size):
                symbolic(*make(other))
            static = compiled(function, None)
            wanted = static(*arrays)
            np.testing.assert_array_equal(symbolic(*arrays), wanted)
            np.testing.assert_allclose(wanted, function(*arrays), rtol=2e-3, atol=1e-4)
            specializations = sum(
                specialization.size_domain is not None
                for specialization in symbolic.specializations
            )
            calls = max(1, int(0.01 / timed(static, arrays, 3)))
            rounds = []
            for turn in range(args.rounds):
                pair = [("symbolic", symbolic), ("static", static)]
                took = {k: timed(f, arrays, calls) for k, f in pair[:: 1 - 2 * (turn % 2)]}
                rounds.append((took["symbolic"], took["static"]))
            found[f"{name} {size}"] = rounds
            ratio = statistics.median(a / b for a, b in rounds)
            fastest = min(a for a, _ in rounds) / min(b for _, b in rounds)
            micro = statistics.median(b for _, b in rounds) * 1e6
            lines.append(
                [f"{name} {size:,}", measure.digits(micro), f"{ratio:.2f}", f"{fastest:.2f}",
                 str(specializations)]
            )  # fmt: skip
    print(measure.machine(), "\n")
    head = ["", "static µs", "symbolic/static", "fastest rounds", "symbolic specializations"]
    print(measure.table(head, lines))
    gj.config.symbolic_after = 2
    many = gj.function(chain)
    for n in (*RNG.permutation(998) + 2, 0, 1):
        many(normal(int(n)))
    scaled = gj.function(lambda x, rate: x * rate)
    for n in range(1000):
        scaled(normal(5), 0.1 + n)
    print(f"1,000 sizes: {many.trace_count} compiles; 1,000 floats: {scaled.trace_count}")
    if args.json:
        args.json.write_text(
            json.dumps({"machine": measure.machine(), "seconds": found}, indent=1)
        )


if __name__ == "__main__":
    main()
