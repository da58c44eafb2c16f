"""Functions with control flow, decorated beside undecorated, and beside numba where installed.

    python benchmarks/control_flow.py [--rounds 15]

For each function the least time of a call [µs] undecorated, decorated, and compiled by numba's
`njit`, in interleaved rounds. What each gives is compared first.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

os.environ["GRAPHJIT_CACHE_DIR"] = tempfile.mkdtemp(prefix="graphjit-benchmark-")

import graphjit as gj

try:
    import numba
except ImportError:
    numba = None


def branch(x: Any) -> Any:
    if x.sum() > 0:
        return x * 2
    return x * 3


def newton(a: Any) -> Any:
    x = a
    while abs(x * x - a) > 1e-10 * a:
        x = 0.5 * (x + a / x)
    return x


def bisection(target: Any) -> Any:
    low, high = target * 0, target + 1.0
    while high - low > 1e-9:
        middle = 0.5 * (low + high)
        if middle * middle > target:
            high = middle
        else:
            low = middle
    return low


def gcd(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a


def collatz(n: int) -> int:
    turns = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        turns += 1
    return turns


def relaxation(x: Any, tolerance: float) -> Any:
    turns, error = 0, 1.0
    while error > tolerance and turns < 500:
        y = 0.45 * (x + x[::-1])
        error = np.abs(y - x).max()
        x = y
        turns += 1
    return x


def conjugate_gradient(a: Any, b: Any) -> Any:
    x = np.zeros(b.shape[0])
    r = b - a @ x
    p, rs = r, r @ r
    while rs > 1e-20:
        ap = a @ p
        alpha = rs / (p @ ap)
        x = x + alpha * p
        r = r - alpha * ap
        new = r @ r
        p = r + (new / rs) * p
        rs = new
    return x


def recurrence(x: Any) -> Any:
    y, out = 0.0, np.empty_like(x)
    for i in range(len(x)):
        y = 0.9 * y + x[i]
        out[i] = y
    return out


def scanned(x: Any) -> Any:
    def step(y: Any, a: Any) -> Any:
        y = 0.9 * y + a
        return y, y

    return gj.scan(step, 0.0, x)[1]


def small_turns(x: Any) -> Any:
    for _ in range(1000):
        x = x * 0.999 + 1.0
    return x


def small_turns_of_a_loop(x: Any) -> Any:
    return gj.fori_loop(0, 1000, lambda i, x: x * 0.999 + 1.0, x)


def bubble_sort(a: Any) -> Any:
    a = a.copy()
    for i in range(len(a)):
        for j in range(len(a) - 1 - i):
            if a[j] > a[j + 1]:
                a[j], a[j + 1] = a[j + 1], a[j]
    return a


def product(a: Any, b: Any) -> Any:
    c = np.zeros((a.shape[0], b.shape[1]))
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            s = 0.0
            for k in range(a.shape[1]):
                s += a[i, k] * b[k, j]
            c[i, j] = s
    return c


def heat(u: Any) -> Any:
    u = u.copy()
    for _ in range(500):
        u[1:-1] += 0.1 * (u[2:] - 2 * u[1:-1] + u[:-2])
    return u


def first_above(x: Any, limit: float) -> int:
    for i in range(len(x)):
        if x[i] > limit:
            return i
    return -1


def edit_distance(a: Any, b: Any) -> Any:
    table = np.zeros((len(a) + 1, len(b) + 1), np.int64)
    for i in range(len(a) + 1):
        table[i, 0] = i
    for j in range(len(b) + 1):
        table[0, j] = j
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            least = min(table[i - 1, j], table[i, j - 1]) + 1
            changed = table[i - 1, j - 1]
            if a[i - 1] != b[j - 1]:
                changed += 1
            table[i, j] = min(least, changed)
    return table[len(a), len(b)]


def cases() -> list[tuple[str, Callable[..., Any], Callable[..., Any], tuple[Any, ...]]]:
    """Name, function, what is decorated, arguments."""
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(30, 30))
    definite = spread @ spread.T + 30 * np.eye(30)
    same = [
        ("branch", branch, (rng.normal(size=4),)),
        ("Newton", newton, (np.float64(2.0),)),
        ("bisection", bisection, (np.float64(2.0),)),
        ("gcd", gcd, (1_134_903_170, 701_408_733)),
        ("collatz", collatz, (837_799,)),
        ("relaxation, 100", relaxation, (rng.normal(size=100), 1e-9)),
        ("conjugate gradient, 30", conjugate_gradient, (definite, np.ones(30))),
        ("recurrence of 1e5, for", recurrence, (rng.normal(size=100_000),)),
        ("bubble sort, 200", bubble_sort, (rng.normal(size=200),)),
        ("product of loops, 40", product, tuple(rng.normal(size=(2, 40, 40)))),
        ("heat, 1000, 500 turns", heat, (rng.normal(size=1000),)),
        ("search of 1e5", first_above, (rng.random(size=100_000), 0.99999)),
        ("edit distance, 150", edit_distance, tuple(rng.integers(0, 4, size=(2, 150)))),
    ]
    return [
        *((name, f, f, args) for name, f, args in same),
        ("recurrence of 1e5, scan", recurrence, scanned, (rng.normal(size=100_000),)),
        ("1000 turns of 4", small_turns, small_turns_of_a_loop, (np.arange(4.0),)),
    ]


def least_us(functions: list[Callable[..., Any]], args: Any, rounds: int) -> list[float]:
    """The least time of a call of each [µs], in interleaved rounds."""
    repeats = []
    for f in functions:
        started = time.perf_counter()
        f(*args)
        repeats.append(max(1, int(1e-3 / max(1e-9, time.perf_counter() - started))))
    least = [float("inf")] * len(functions)
    for _ in range(rounds):
        for k, (f, count) in enumerate(zip(functions, repeats, strict=True)):
            started = time.perf_counter()
            for _ in range(count):
                f(*args)
            least[k] = min(least[k], (time.perf_counter() - started) / count)
    return [1e6 * t for t in least]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    print(f"{'':26}{'undecorated':>12}{'graphjit':>10}{'ratio':>8}{'numba':>10}")
    ratios = []
    for name, function, mine, args in cases():
        decorated = gj.function(mine, fallback="error")
        others = [] if numba is None else [numba.njit(function)]
        for other in args[:1]:  # ints are inputs from their second value on
            if isinstance(other, int):
                decorated(other + 1, *args[1:])
        for f in (decorated, *others):
            for _ in range(50):
                np.testing.assert_allclose(f(*args), function(*args), rtol=1e-9)
        found = least_us([function, decorated, *others], args, options.rounds)
        ratios.append(found[0] / found[1])
        theirs = f"{found[2]:10.2f}" if others else f"{'-':>10}"
        print(f"{name:26}{found[0]:12.2f}{found[1]:10.2f}{ratios[-1]:8.1f}{theirs}")
    print(f"geometric mean of the ratios: {np.exp(np.mean(np.log(ratios))):.1f}")


if __name__ == "__main__":
    main()
