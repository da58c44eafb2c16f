"""Random programs of arithmetic on extents, in plain NumPy, and arguments of many sizes.

    python tests/support/extent_programs.py --count 1000 --seed 7

`check(seed)` runs one, decorated and undecorated, over sizes among which are 0, 1 and 2. With
GRAPHJIT_GUARD_PAGES=1 (see `guard_pages.py`) what leaves an array ends the process.
"""

from __future__ import annotations

import argparse
import random
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class Writer:
    """Writes one program of statements on arrays `x`, `y` (vectors) and `z` (a matrix)."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.vectors, self.matrices = ["x", "y"], ["z"]
        self.lines: list[str] = []

    def extent(self, depth: int = 2) -> str:
        """An expression of extents."""
        pick = self.rng.random()
        if depth == 0 or pick < 0.35:
            if self.rng.random() < 0.3:
                return str(self.rng.choice([-2, -1, 0, 1, 2, 3, 4, 5, 7]))
            if self.rng.random() < 0.3:
                return f"{self.rng.choice(self.matrices)}.shape[{self.rng.randrange(2)}]"
            return f"{self.rng.choice(self.vectors)}.shape[0]"
        a, b = self.extent(depth - 1), self.extent(depth - 1)
        k = self.rng.choice([1, 2, 3, 4, 5])
        return self.rng.choice([
            f"({a} + {b})",
            f"({a} - {b})", f"({a} // {k})", f"(-(-{a} // {k}))", f"({a} % {k})",
            f"min({a}, {b})", f"max({a}, {b})", f"abs({a} - {b})", f"({a} * {k})", f"(-{a})",
            f"(({a} + {k}) // {k + 1})", f"({a} >> 1)", f"(0 if {a} > {b} else {k})",
        ])  # fmt: skip

    def slice(self) -> str:
        ends = [self.extent() if self.rng.random() < 0.6 else "" for _ in range(2)]
        step = self.rng.choice(["", "", "", ":2", ":3", ":-1", ":-2"])
        return f"{ends[0]}:{ends[1]}{step}"

    def vector(self) -> str:
        v, w = self.rng.choice(self.vectors), self.rng.choice(self.vectors)
        m = self.rng.choice(self.matrices)
        return self.rng.choice([
            f"{v}[{self.slice()}]", f"{v} + {w}", f"{v} * {w}[{self.slice()}]",
            f"{v}[{self.slice()}] - {w}", f"np.roll({v}, {self.extent()})",
            f"np.diff({v}, {self.rng.choice([0, 1, 2])})", f"np.cumsum({v}[{self.slice()}])",
            f"np.concatenate([{v}, {w}[{self.slice()}]])", f"{m}.sum({self.rng.randrange(2)})",
            f"np.pad({v}, (abs({self.extent(1)}) % 6, abs({self.extent(1)}) % 4))",
            f"{v} * {self.extent()}", f"{m}[{self.slice()}].reshape(-1)", f"{v}[::-1].copy()",
            f"np.where({v} > 3, {v}, {self.extent(1)})", f"np.convolve({v}, [1.0, 2.0])",
            f"np.clip({v}, 0, {self.extent(1)})", f"{m}[:, {self.slice()}].sum(1)",
            f"{m}.T.reshape(-1)[{self.slice()}]", f"np.repeat({v}, {self.rng.choice([1, 2])})",
            f"{m} @ {v}", f"np.broadcast_to({v}, ({self.rng.choice([1, 2])}, *{v}.shape))[0]",
            f"np.outer({v}, {w}[:2]).sum(1)", f"np.tile({v}, 2)", f"np.trapezoid({m}, axis=0)",
            f"np.maximum({v}, {w})", f"{v}.reshape(-1, 1).max(1)", f"np.sort({v})",
            f"{m}.mean(1)",
        ])  # fmt: skip

    def matrix(self) -> str:
        m = self.rng.choice(self.matrices)
        v, w = self.rng.choice(self.vectors), self.rng.choice(self.vectors)
        return self.rng.choice([
            f"{m}[{self.slice()}]", f"{m}[:, {self.slice()}]", f"{m}.T * 2", f"{m} + {v}",
            f"{v}[:, None] + {w}", f"{m} @ {m}.T", f"{m} / ({m}.sum(1, keepdims=True) + 1)",
            f"np.stack([{v}, {v} + 1])", f"np.concatenate([{m}, {m}[{self.slice()}]])",
            f"np.roll({m}, {self.extent()}, {self.rng.randrange(2)})", f"{v}.reshape(-1, 2)",
            f"{v}.reshape(2, -1)", f"np.cumsum({m}, {self.rng.randrange(2)})",
            f"np.diff({m}, axis={self.rng.randrange(2)})", f"{m}[::2, 1:]", f"np.tril({m})",
            f"np.exp(-{m}).T @ {m}", f"{m}[{self.slice()}, {self.slice()}] * 1.0",
            f"np.swapaxes({m}, 0, 1)[{self.slice()}]", f"np.pad({m}, 1)",
        ])  # fmt: skip

    def write(self) -> str:
        """The source of a function `f(x, y, z)`."""
        for number in range(self.rng.randrange(1, 5)):
            name = f"v{number}"
            kind = self.rng.random()
            if kind < 0.25:
                source = self.rng.choice(self.vectors)
                self.lines.append(f"{name} = {source} * 1")
                value = self.rng.choice([
                    self.extent(1), f"{self.rng.choice(self.vectors)}[{self.slice()}]",
                    f"{name}[{self.slice()}].copy()",  # NumPy 2.4 copies in order, or not
                ])  # fmt: skip
                how = self.rng.choice(["=", "=", "+=", "*="])
                self.lines.append(f"{name}[{self.slice()}] {how} {value}")
                self.vectors.append(name)
            elif kind < 0.7:
                self.lines.append(f"{name} = {self.vector()}")
                self.vectors.append(name)
            else:
                self.lines.append(f"{name} = {self.matrix()}")
                self.matrices.append(name)
        made = [v for v in (*self.vectors, *self.matrices) if v[0] == "v"]
        kept = self.rng.sample(made, self.rng.randrange(1, len(made) + 1))
        results = [*kept, *([self.extent()] if self.rng.random() < 0.3 else [])]
        body = "\n    ".join([*self.lines, f"return {', '.join(results)},"])
        return f"def f(x, y, z):\n    {body}\n"


def made(seed: int) -> tuple[str, Callable[..., Any]]:
    """A program's source, and the function."""
    text = Writer(random.Random(seed)).write()
    names: dict[str, Any] = {"np": np}
    exec(compile(text, f"<program {seed}>", "exec"), names)
    return text, names["f"]


def arguments(rng: random.Random, first: bool) -> tuple[Array, Array, Array]:
    """Arrays whose elements are small whole numbers, so that any order of sums is exact."""
    choices = (4, 5, 6, 8, 9, 12) if first else (0, 1, 2, 3, 4, 5, 6, 7, 8, 17, 33, 40)
    n, m = rng.choice(choices), rng.choice(choices)
    m = rng.choice([m, n, n // 2, n + 1])
    shape = rng.choice([(n, m), (m, n), (n, rng.choice(choices)), (3, n)])
    draw = np.random.default_rng(rng.randrange(2**32))
    return tuple(draw.integers(-4, 9, size).astype(np.float64) for size in ((n,), (m,), shape))  # type: ignore[return-value]


def outcome(function: Callable[..., Any], given: tuple[Array, ...]) -> Any:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return function(*(a.copy() for a in given))
        except (ValueError, IndexError, TypeError, ZeroDivisionError) as error:
            return error


def difference(expected: Any, actual: Any) -> str:
    """How an outcome differs from the expected one; empty where it doesn't."""
    if isinstance(expected, Exception) or isinstance(actual, Exception):
        if isinstance(expected, Exception) and isinstance(actual, Exception):
            return ""
        return f"expected {expected!r}, got {actual!r}"
    for number, (wanted, found) in enumerate(zip(expected, actual, strict=True)):
        if type(wanted) is not type(found):
            return f"result {number}: expected {type(wanted)}, got {type(found)}"
        if np.shape(wanted) != np.shape(found):
            return f"result {number}: expected {np.shape(wanted)}, got {np.shape(found)}"
        if not np.allclose(wanted, found, rtol=1e-12, atol=1e-12, equal_nan=True):
            return f"result {number}: expected {wanted}, got {found}"
    return ""


def check(seed: int, calls: int = 7) -> str:
    """What is wrong with a program's results; empty if nothing is."""
    import graphjit as gj

    text, function = made(seed)
    compiled, rng = gj.function(function), random.Random(~seed)
    for number in range(calls):
        given = arguments(rng, number < 2)
        problem = difference(outcome(function, given), outcome(compiled, given))
        if problem:
            shapes = [a.shape for a in given]
            return f"seed {seed}, call {number}, shapes {shapes}: {problem}\n{text}"
    return ""


def main() -> None:
    """Run many and say which differ; the exit status is how many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--said", help="a file that says which is running, for those that crash"
    )
    parser.add_argument("--quick", action="store_true", help="see quick_code.py")
    options = parser.parse_args()
    import guard_pages
    import quick_code

    if guard_pages.wanted():
        guard_pages.install()
    if options.quick:
        quick_code.install()
    from graphjit import config

    config.native_after = 0
    bad = 0
    for seed in range(options.seed, options.seed + options.count):
        if options.said:
            with open(options.said, "w", encoding="utf-8") as file:
                file.write(f"{seed}\n{made(seed)[0]}")
        problem = check(seed)
        if problem:
            bad += 1
            print(problem, flush=True)
    print(f"{options.count} programs, {bad} differ")
    sys.exit(min(bad, 100))


if __name__ == "__main__":
    main()
