"""`any` and `all` of generator expressions: what their items do, up to the one that decides."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from decorated_checks import same

import graphjit as gj

X = np.array([-1.0, 2.0, 3.0, -4.0])


class Counter:
    def __init__(self) -> None:
        self.n = 0


def witness(x: Any) -> Any:
    if any((hit := v) > 0 for v in x):
        return hit
    return None


def counterexample(x: Any) -> Any:
    fine = all((bad := v) < 2.5 for v in x)
    return fine, bad


def rest_of_an_iterator(x: Any) -> Any:
    it = iter(x)
    return any(v > 0 for v in it), [float(v) for v in it]


def rest_of_pairs(x: Any) -> Any:
    pairs = zip(x, 2 * x, strict=True)
    return any(p < q for p, q in pairs), [float(p) for p, _ in pairs]


def rest_of_numbered(x: Any) -> Any:
    it = enumerate(x)
    return any(v > 0 for _, v in it), [i for i, _ in it]


def rest_of_mapped(x: Any) -> Any:
    it = map(abs, x)
    return all(v < 2.5 for v in it), list(it)


def appends(x: Any) -> Any:
    tried = []

    def test(v: Any) -> Any:
        tried.append(float(v))
        return v > 0

    return any(test(v) for v in x), tried


def counts(x: Any) -> Any:
    n = 0

    def test(v: Any) -> Any:
        nonlocal n
        n += 1
        return v > 0

    return any(test(v) for v in x), n


def counts_in_an_object(x: Any) -> Any:
    counter = Counter()

    def test(v: Any) -> Any:
        counter.n += 1
        return v < 2.5

    return all(test(v) for v in x), counter.n


def pops(x: Any) -> Any:
    stack = [1, 2, 3, 4]
    return any(v > stack.pop() for v in x), stack


def steps_another(x: Any) -> Any:
    own = iter([1.0, 2.0, 2.5, 4.0, 5.0])
    return any(v > next(own) for v in x), list(own)


def sets_keys(x: Any) -> Any:
    seen: dict[Any, Any] = {}
    return any(seen.setdefault(i, v) > 0 for i, v in enumerate(x)), len(seen)


@pytest.mark.parametrize(
    "function",
    [
        witness, counterexample, rest_of_an_iterator, rest_of_pairs, rest_of_numbered,
        rest_of_mapped, appends, counts, counts_in_an_object, pops, steps_another, sets_keys,
    ],
)  # fmt: skip
def test_they_stop_where_python_does(function: Any) -> None:
    decorated = gj.function(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for x in (X, -X, X, np.ones(4)):
            same(decorated(x), function(x))


def test_plain_ones_are_compiled() -> None:
    def above(v: Any, limit: float) -> Any:
        values = [v]
        return values[0] > limit

    @gj.function(fallback="error")
    def f(x: Any, y: Any) -> Any:
        return (
            any(a > b for a, b in zip(x, y, strict=True)), all(above(v, -1) for v in x),
            any(v > 2 for v in x.tolist()), any(x[i] > 1 for i in range(len(x))),
            all(a != i for i, a in enumerate(y)),
        )  # fmt: skip

    for x in (X, np.arange(4.0)):
        same(f(x, np.ones(4)), f.python_function(x, np.ones(4)))
