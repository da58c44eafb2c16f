"""`while` loops whose test is known at first, and whose turns branch on traced values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj


def peaks(x: Any) -> Any:
    found, i = [], 1
    while i < len(x) - 1:
        if x[i] > x[i - 1] and x[i] >= x[i + 1]:
            found.append(i)
            i += 2
        else:
            i += 1
    return found


def left_by_break(x: Any) -> Any:
    i, s = 0, 0.0
    while i < len(x):
        if x[i] < -2:
            break
        s += x[i]
        i += 1
    return s, i


def few_turns(x: Any) -> Any:
    i, s = 0, 0.0
    while i < 3:
        s += x[i]
        i += 1
    return s


def bisected(x: Any) -> Any:
    low, high = 0, len(x) - 1
    while low < high:
        middle = (low + high) // 2
        if x[middle] < x[0] + 1:
            low = middle + 1
        else:
            high = middle
    return low


def by_a_flag(x: Any) -> Any:
    going, i = True, 0
    while going:
        going = x[i] < 1 and i < len(x) - 1
        i += 1
    return i


def left_by_return(x: Any) -> Any:
    n = 0
    while n < 5:
        if x[n % len(x)] > 0:
            n += 1
        else:
            return n, "left"
        n += 1
    return n


def runs(x: Any) -> Any:
    i, found = 0, []
    while i < len(x):
        j = i
        while j < len(x) and x[j] > 0:
            j += 1
        found.append(j - i)
        i = j + 1
    return found


def with_else(x: Any) -> Any:
    i = 0
    while not i >= len(x):
        if x[i] > 0:
            i += 2
            continue
        i += 1
    else:
        i = -i
    return i


COMPILED = (peaks, left_by_break, few_turns, bisected, by_a_flag, left_by_return)


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
@pytest.mark.parametrize("function", (*COMPILED, runs, with_else), ids=lambda f: f.__name__)
def test_agrees(function: Callable[[Any], Any]) -> None:
    f = gj.function(function)
    for n in (5, 300, 5):
        for seed in range(4):
            x = np.random.default_rng(n + seed).normal(size=n)
            assert repr(f(x)) == repr(function(x))
    if function in COMPILED:
        assert not [s.reason for s in f.specializations if s.reason]
