"""Loops in loops that are left at once by `return`."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from decorated_checks import same

import graphjit as gj

A = np.random.default_rng(0).normal(size=(12, 12))


def find(a: Any, v: Any) -> Any:
    for i in range(len(a)):
        for j in range(len(a)):
            if a[i, j] == v:
                return i, j
    return -1, -1


def sums(a: Any, v: Any) -> Any:
    n, total = 0, 0.0
    for i in range(200):
        for j in range(len(a)):
            total += a[i % len(a), j]
            if total > v:
                return "over", i, j, total
            n += 1
        total *= 0.5
    return "under", n, -1, total


def line_search(a: Any, v: Any) -> Any:
    x = a[0]
    for turn in range(100):
        step = 1.0
        norm = np.linalg.norm(x)
        if norm < 0.01:
            return x, "converged", turn
        while np.linalg.norm(x - step * x) > (1 - 0.5 * step) * norm * 0.3:
            step *= 0.7
            if step < v:
                return x, "stuck", turn
        x = x - step * x * 0.5
    return x, "many", 100


def three_deep(a: Any, v: Any) -> Any:
    for i in range(10):
        for j in range(len(a)):
            for k in range(len(a)):
                if a[i % len(a), j] * a[j, k] > v:
                    return i, j, k
            if a[j, j] > v * 2:
                break
    return None


def two_places(a: Any, v: Any) -> Any:
    for i in range(len(a)):
        low = 0.0
        for j in range(len(a)):
            if a[i, j] > v:
                return "high", i, j
            if a[i, j] < low:
                low = a[i, j]
            if low < -v - 0.5:
                return "low", low
    return "none", low


def whiles(a: Any, v: Any) -> Any:
    i = 0
    while i < 300:
        j = 0
        while j < len(a):
            if a[i % len(a), j] > v:
                return i * 1000 + j
            j += 1
        i += 1
    return -1


def breaks_and_returns(a: Any, v: Any) -> Any:
    found = 0
    for i in range(150):
        for j in range(len(a)):
            if a[i % len(a), j] > v:
                if i > 3:
                    return "late", i, j, found
                found += 1
                break
            if a[i % len(a), j] < -v:
                continue
        else:
            found += 10
    return "none", found


@pytest.mark.parametrize(
    ("function", "compiled"),
    [
        (find, True), (sums, True), (line_search, True), (three_deep, True),
        (two_places, True), (whiles, False), (breaks_and_returns, True),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
def test_as_undecorated(function: Any, compiled: bool) -> None:
    decorated = gj.function(function)
    values = [A[3, 4], A[0, 0], A[11, 11], 0.01, 0.3, 0.5, 0.9, 2.0, 3.0, 8.0, 100.0, -50.0]
    for _ in range(2):
        for v in values:
            same(decorated(A, v), function(A, v), str(v), 1e-9)
    if compiled and (function is not three_deep or sys.version_info < (3, 12)):
        assert not [s.reason for s in decorated.specializations if s.reason]
