"""Python's integers, traced: as large as they are in Python."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from decorated_checks import agree, same
from hypothesis import given, settings
from hypothesis import strategies as st

import graphjit as gj

X = np.arange(3.0)
EDGES = [
    0, 1, -1, 2, 3, 7, -8, 2**31, -(2**31), 2**32, 2**53 + 1, 2**62, -(2**62), 2**63 - 1,
    -(2**63), 2**63, 10**30, 5,
]  # fmt: skip


@pytest.mark.parametrize(
    "function",
    [
        lambda x, n: (x * 2, n * n),
        lambda x, n: (x, n + 1, n - 1, 3 - n),
        lambda x, n: (x, -n, abs(n)),
        lambda x, n: (x, n * 3 + n),
        lambda x, n: (x, (n - 5) * (n + 5), n * -4),
        lambda x, n: (x, n // 3, n % 7, n * 2 // 2),
    ],
)
def test_results_beyond_64_bits_are_pythons(function: Callable[..., Any]) -> None:
    agree(function, *[(X, n) for n in EDGES])


def test_one_specialization_serves_all_small_numbers() -> None:
    for function in (
        lambda x, n: x * (n + 1),
        lambda x, n: (x, n * n - n),
    ):
        assert agree(function, *[(X, n) for n in range(20)]).trace_count <= 3


def test_what_is_written_outside_is_written_once() -> None:
    class Counter:
        total = 0

    counter, twin = Counter(), Counter()

    def add(counter: Any, x: Any, n: int) -> Any:
        counter.total = counter.total + n * n
        return x * 2

    decorated = gj.function(add)
    for n in (1, 2, 3, 2**40, 5, 2**40, 6):
        same(decorated(counter, X, n), add(twin, X, n))
        assert counter.total == twin.total and type(counter.total) is int


def test_they_count_in_loops() -> None:
    def squares(n: Any) -> Any:
        return gj.while_loop(lambda i, s: i < n, lambda i, s: (i + 1, s + i * i), (0, 0))

    decorated = gj.function(squares, fallback="error")
    for n in (3, 4, 5, 40, 0):
        same(decorated(n), squares(n))
    powers = gj.function(
        lambda n: gj.while_loop(lambda i, s: i < n, lambda i, s: (i + 1, s * 3), (0, 1))
    )
    for n in (3, 4, 39, 60, 5):
        assert powers(n) == (n, 3**n)


def test_division_by_a_traced_integer() -> None:
    def both(x: Any, n: int, m: int) -> Any:
        return x, n // m, n % m

    pairs = [(7, 2), (-7, 2), (7, -2), (-(2**63), -1), (2**62, 3), (3, 5), (-1, 2**63 - 1)]
    agree(both, *[(X, n, m) for n, m in pairs])
    decorated = gj.function(both)
    for n, m in [(7, 2), (1, 3), (9, 4), (5, 0), (7, 2), (0, 0)]:
        if m:
            same(decorated(X, n, m), both(X, n, m))
            continue
        with pytest.raises(ZeroDivisionError) as wanted:
            both(X, n, m)
        with pytest.raises(ZeroDivisionError) as found:
            decorated(X, n, m)
        assert str(found.value) == str(wanted.value)


def test_comparisons_with_floats_are_exact() -> None:
    numbers = [3, 2**53, 2**53 + 1, 2**63 - 1, -(2**53) - 1, 5, 4]
    for function in (
        lambda x, n: x + 1 if n == n * 1.0 else x,
        lambda x, n: x + 1 if n < 4.5 else x,
        lambda x, n: (x, n > 2.0**53, n != 2.0**53),
    ):
        agree(function, *[(X, n) for n in numbers])


def test_euclid() -> None:
    def gcd(a: int, b: int) -> int:
        while b:
            a, b = b, a % b
        return a

    decorated = agree(gcd, (12, 18), (17, 5), (100, 75), (3, 0), (2**62, 2**40), (-12, 18))
    assert decorated.trace_count <= 3


def test_out_arguments() -> None:
    f = gj.function(lambda x, n: x * (n * n % 1000))
    out = np.empty(3)
    for n in (3, 4, 2**40, 5):
        f(X, n, out=out)
        np.testing.assert_array_equal(out, X * (n * n % 1000))


@given(st.integers(0, 10**9))
@settings(max_examples=40)
def test_random_expressions(seed: int) -> None:
    rng = random.Random(seed)

    def expression(depth: int) -> str:
        if not depth or rng.random() < 0.2:
            return rng.choice(["n", "m", "3", "-2", "n", "m", str(rng.randrange(10**6))])
        a, b = expression(depth - 1), expression(depth - 1)
        return rng.choice([f"({a} + {b})", f"({a} - {b})", f"({a} * {b})", f"-{a}", f"abs({a})",
                           f"({a} // 5)", f"({a} % 9)"])  # fmt: skip

    text = f"lambda x, n, m: (x, {expression(4)}, {expression(3)})"
    function = eval(text)
    decorated = gj.function(function)
    numbers = [rng.choice(EDGES + [rng.randrange(-99, 99)] * 9) for _ in range(16)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for n, m in zip(numbers[::2], numbers[1::2], strict=True):
            same(decorated(X, n, m), function(X, n, m))
