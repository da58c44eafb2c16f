"""Items of lists that are stored by places known only at the call, and in turns of loops."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj


def counted(x: Any) -> Any:
    counts = [0] * 5
    for i in range(len(x)):
        k = int(abs(x[i])) % 5
        counts[k] = counts[k] + 1
    return counts


def running(x: Any) -> Any:
    best = [0.0] * len(x)
    for i in range(1, len(x)):
        best[i] = max(best[i - 1], x[i])
    return np.array(best), best[-1]


def one_place(x: Any) -> Any:
    t = [0, 0, 0]
    t[int(abs(x[0])) % 3] = 7
    t[-1] += 1
    return t, sum(t), t[0]


def downwards(x: Any) -> Any:
    best = [0.0] * 4
    for v in x:
        for j in range(3, 0, -1):
            if best[j - 1] + v > best[j]:
                best[j] = best[j - 1] + v
    return best


def new_in_each_turn(x: Any) -> Any:
    total = 0
    for i in range(len(x)):
        c = [0, 0]
        c[int(x[i] > 0)] = i
        total += c[1] * 2 + c[0]
    return total


def of_two_kinds(x: Any) -> Any:
    t: list[Any] = [0] * 4
    for i in range(len(x)):
        t[i % 4] = x[i]
    return t


def stored_and_longer(x: Any) -> Any:
    t = [0.0]
    for v in x:
        if v > 0:
            t.append(float(v))
        else:
            t[-1] = float(v)
    return t


def two_names(x: Any) -> Any:
    t = u = [1, 2, 3]
    for v in x:
        if v > 0:
            t[0] = u[1] + t[0]
    return t, u


def beyond(x: Any) -> Any:
    t = [0] * 3
    for i in range(len(x)):
        t[int(x[i])] = i
    return t


def negative(x: Any) -> Any:
    t = [1.0, 2.0, 3.0]
    t[-1 - int(abs(x[0])) % 3] = x[1]
    return t


def of_lists(x: Any) -> Any:
    t = [[0] * 3 for _ in range(3)]
    for i in range(len(x)):
        t[i % 3][int(abs(x[i])) % 3] += 1
    return t


def stack(x: Any) -> Any:
    waiting, found = [0], [0] * len(x)
    for i in range(len(x)):
        while len(waiting) > 1 and x[waiting[-1]] < x[i]:
            waiting.pop()
        found[i] = waiting[-1]
        waiting.append(i)
    return found


def forest(x: Any) -> Any:
    n = len(x)
    parent = list(range(n))

    def find(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for i in range(n - 1):
        if x[i] > x[i + 1]:
            parent[find(i)] = find(i + 1)
    return [find(i) for i in range(n)]


COMPILED = (
    counted, running, one_place, downwards, new_in_each_turn, of_two_kinds, stored_and_longer,
    negative,
)  # fmt: skip
OTHERS = (two_names, beyond, of_lists, stack, forest)


def outcome(function: Callable[[Any], Any], x: Any) -> str:
    try:
        return repr(function(x))
    except IndexError:
        return "IndexError"


@pytest.mark.parametrize("function", (*COMPILED, *OTHERS), ids=lambda f: f.__name__)
def test_agrees(function: Callable[[Any], Any]) -> None:
    f = gj.function(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gj.FallbackWarning)
        for n in (5, 300, 5, 3):
            for seed in range(3):
                x = np.random.default_rng(seed).normal(size=n) * 3
                assert outcome(f, x) == outcome(function, x)
    if function in COMPILED:
        assert not [s.reason for s in f.specializations if s.reason]


def in_order(x: Any) -> Any:
    found = []
    for i in range(150):
        if x[i % 8] > 0:
            found.append(i * 7 % 31)
    found.reverse()
    return found, sorted(found)


def sorted_in_place(x: Any) -> Any:
    found = []
    for i in range(150):
        if x[i % 8] > 0:
            found.append(x[i % 8] * i + 1)
    found.sort()
    return found


def sorted_rows(x: Any) -> Any:
    best = 0.0
    for t in range(140):
        row = []
        for i in range(8):
            if x[i] > 0.1 * t % 1:
                row.append(x[i])
        row.sort()
        if len(row) > 2:
            best += row[1]
        row.reverse()
        if len(row) > 1:
            best -= row[0]
    return best


def items_of_two_classes(x: Any) -> Any:
    found = []
    for i in range(150):
        if x[i % 8] > 0:
            found.append((x[i % 8], i))
        elif x[i % 8] > -1:
            found.append((0.5, -1))
        else:
            found.append((np.float64(2), i))
    found.reverse()
    return found, np.array(found)


@pytest.mark.parametrize(
    "function", [in_order, sorted_in_place, sorted_rows, items_of_two_classes]
)
def test_lists_in_order(function: Callable[..., Any]) -> None:
    decorated = gj.function(function, fallback="error")
    for seed in range(5):
        x = np.random.default_rng(seed).normal(size=8)
        x[seed] = abs(x[seed]) + 0.1
        assert str(decorated(x)) == str(function(x))


def test_what_python_sorts_in_its_own_way() -> None:
    def f(x: Any) -> Any:
        found = []
        for i in range(140):
            found.append(x[i % 8] * 1.0)
        return sorted(found)

    decorated = gj.function(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for x in (np.arange(8.0), -0.0 * np.ones(8), np.array([0.0, -0.0] * 4)):
            assert str(decorated(x)) == str(f(x))
        for x in (np.array([1.0, np.nan] * 4), np.array([np.inf, -np.inf] * 4)):
            assert str(decorated(x)) == str(f(x))
