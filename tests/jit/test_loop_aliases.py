"""Variables of closures, lists under two names and arrays in lists, which loops change."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj


def cell_of_two_kinds(x: Any) -> Any:
    a: Any = 0
    for v in x:
        a = 1 if v > 0 else 0.5
    return (lambda: a)()


def cell_of_two_tuples(x: Any) -> Any:
    a: Any = (0, 1)
    for v in x:
        a = (1, 2) if v > 0 else (2, 0.5)
    return (lambda: a)()


def cell_of_a_comprehension(x: Any) -> Any:
    a: Any = 0
    for v in x:
        a = a + 1 if v > 0 else v
    return [a for _ in range(2)]


def cell_of_an_inner_loop(x: Any) -> Any:
    s = 0.0
    for i in range(len(x)):
        k: Any = 0
        for j in range(len(x)):
            k = k + 1 if x[j] > x[i] else k + 0.5
        s += sum([t * k for t in x])
    return s


def two_names(x: Any) -> Any:
    a = b = [t for t in x if t > 0]
    for t in x:
        if t < 0:
            b.append(t)
    return len(a), len(b)


def two_names_of_a_list(x: Any) -> Any:
    a = x.tolist()
    b = a
    for _ in x:
        b.append(2.0)
    return len(a), len(b)


def named_in_a_turn(x: Any) -> Any:
    a: list[Any] = [t for t in x if t > 0]
    b: list[Any] = []
    for t in x:
        if t > 0:
            b = a
        else:
            b.append(t)
    return a, b, a is b


def another_from_some_turn_on(x: Any) -> Any:
    a = [t for t in x if t > 0]
    b = a
    for t in x:
        if t < 0:
            b = a[:1]
            b.append(t)
    return a, b, a is b


def handed_on(x: Any) -> Any:
    a = [t for t in x if t > 0]
    h = (lambda q: q)(a)
    for t in x:
        h.append(t)
    return len(a)


def handled(x: Any) -> Any:
    try:
        return [1 / float(t) for t in x]
    except ZeroDivisionError:
        return "caught"


def suppressed(x: Any) -> Any:
    with contextlib.suppress(IndexError):
        return [x[i + 1] for i in range(len(x))]
    return "none"


def handled_around_two(x: Any) -> Any:
    s = 0.0
    for _ in range(3):
        try:
            s += sum([sum([1 / float(t) for t in x]) for _ in range(2)])
        except ZeroDivisionError:
            s -= 1
    return int(s * 1e6)


FUNCTIONS = (
    cell_of_two_kinds, cell_of_two_tuples, cell_of_a_comprehension, cell_of_an_inner_loop,
    two_names, two_names_of_a_list, named_in_a_turn, another_from_some_turn_on, handed_on,
    handled, suppressed, handled_around_two,
)  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_agrees(function: Callable[[Any], Any]) -> None:
    f = gj.function(function)
    for n in (5, 40, 300):
        for seed in range(3):
            x = np.round(np.random.default_rng(seed + n).normal(size=n) * 3)
            for data in (x, -x, np.abs(x) + 1):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    try:
                        found = repr(f(data))
                    except IndexError:
                        found = "IndexError"
                    assert found == repr(function(data))


ROWS = np.array([[1.0, 2], [-1, 2], [3, 4], [-2, 1], [5, 1]])


@pytest.mark.parametrize(
    "function",
    [
        lambda m: [r for r in m if r[0] > 0],
        lambda m: [m[:, j] for j in range(2) if m[0, j] > 0],
        lambda m: [m[i] for i in range(len(m)) if m[i, 0] > 0],
    ],
)
@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
def test_views_in_lists_are_views(function: Callable[[Any], Any]) -> None:
    f = gj.function(function)
    for _ in range(3):
        m = ROWS.copy()
        found = f(m)
        assert all(np.shares_memory(m, row) for row in found)
        found[0][0] = 77
        assert m[0, 0] == 77


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
def test_one_array_several_times() -> None:
    def f(x: Any) -> Any:
        y = x * 2
        return [y for t in x if t > 0]

    for n in (5, 40, 300):
        found = gj.function(f)(np.ones(n))
        assert all(item is found[0] for item in found)


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
def test_a_view_that_a_loop_chooses() -> None:
    def f(m: Any) -> Any:
        best = m[0] * 1
        for r in m:
            if r[0] > best[0]:
                best = r
        return best

    decorated = gj.function(f)
    for _ in range(3):
        m = ROWS.copy()
        assert np.shares_memory(m, decorated(m))


def test_the_shape_of_a_list() -> None:
    f = gj.function(lambda x: np.shape([t for t in x if t > 0]), fallback="error")
    for n in (5, 300):
        x = np.random.default_rng(n).normal(size=n)
        assert repr(f(x)) == repr((int((x > 0).sum()),))
