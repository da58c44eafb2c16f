"""List comprehensions as loops, lists that a turn makes, `tolist`, `item`, np.vectorize."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj

G = 2.0


def positive_root(t: float) -> float:
    return 0.0 if t < 0 else math.sqrt(t) * G


def larger(a: float, b: float) -> float:
    return a * b + 1 if a > b else a - b


ROOTS = np.vectorize(positive_root)


@np.vectorize
def square(t: Any) -> Any:
    return t * t


# -- comprehensions


def of_a_function(x: Any) -> Any:
    return np.array([positive_root(float(t)) for t in x])


def with_a_condition(x: Any) -> Any:
    return sum([t for t in x if t > 0])


def of_places(x: Any) -> Any:
    return [i for i in range(len(x)) if x[i] > 0.5]


def nested(x: Any) -> Any:
    return np.array([[a * b for b in x[:3]] for a in x[:4]])


def of_a_closure(x: Any) -> Any:
    k = 2.0
    r = [t * k for t in x if t > k - 2]
    return len(r), sum(r)


def grown_on(x: Any) -> Any:
    y = [t for t in x if t > 0]
    for t in x:
        if t < 0:
            y.append(t)
    return np.array(y)


def extremes(x: Any) -> Any:
    return np.sum([i * v for i, v in enumerate(x)]), max([abs(v) for v in x])


def written_out(x: Any) -> Any:
    pairs = [[1, 2][k] for k in range(2)]
    return pairs, {k: v for k, v in zip("ab", x, strict=False)}, {1 for _ in x}


def around_cells(x: Any) -> Any:
    def h() -> int:
        return k

    k = 3
    r = [t + k + h() for t in x]
    k = 4
    late = [lambda: t for t in range(2)]  # noqa: B023
    return late[0](), r[0], h()


# -- lists that a turn makes


def counted_in_a_turn(x: Any) -> Any:
    total = 0.0
    for i in range(len(x)):
        total += len([x[j] for j in range(i) if x[j] < x[i]])
    return total


def appended_in_a_turn(x: Any) -> Any:
    total = 0.0
    for i in range(len(x)):
        s = []
        for j in range(i):
            if x[j] < x[i]:
                s.append(x[j])
        total += len(s)
    return total


def all_of_a_turn(x: Any) -> Any:
    total = 0.0
    for i in range(len(x)):
        s = [x[i] * k for k in x]
        total += s[i] + len(s)
    return total


def few_of_a_turn(x: Any) -> Any:
    n, i, total = len(x), 0, 0.0
    while i < n and x[i] > -100:
        total += sum([x[i] * k for k in range(3)])
        i += 1
    return total


def sums_of_turns(x: Any) -> Any:
    n, r = len(x), []
    for i in range(n):
        r.append(sum([x[j] for j in range(n) if x[j] >= x[i]]))
    return np.array(r)


def helper(a: Any, x: Any) -> Any:
    s = 0.0
    for k in x:
        s += a * k
    return s


def loop_in_a_helper(x: Any) -> Any:
    total = 0.0
    for i in range(len(x)):
        total += helper(x[i], x)
    return total


def cell_in_a_turn(x: Any) -> Any:
    total = 0.0
    for i in range(len(x)):
        value = (lambda k: x[k] * x[i])(0)
        total += value
    return total


def every(x: Any) -> Any:
    return all([v > -100 for v in x]), any([v > 3 for v in x]), all([x[0] < 9, x[1] < x[0]])


# -- generator expressions


def summed(x: Any) -> Any:
    return sum(t * 2 for t in x if t > 0), sum(1 for s in x[-4:] if s > 0.5)


def asked(x: Any) -> Any:
    rises = any(x[i + 1] < x[i] for i in range(len(x) - 1))
    return any(t > 3 for t in x), all(t > -100 for t in x), rises


def greatest(x: Any) -> Any:
    return max(abs(t) for t in x), min(t * k for k, t in enumerate(x))


def as_a_list(x: Any) -> Any:
    return list(t for t in x if t > 0)


def begun(x: Any) -> Any:
    g = (t * 2 for t in x)
    first = next(g)
    return first, sum(g)


def taken_by_others(x: Any) -> Any:
    a, b = (t * 2 for t in x[:2])
    pairs = dict((k, 1) for k in "ab")
    texts = ",".join(str(k) for k in range(3))
    return tuple(t for t in x[:3]), a + b, pairs, texts, [*(t for t in x[:2])]


def one_in_another(x: Any) -> Any:
    return sum(sum(a * b for b in x[:3]) for a in x)


def in_each_turn(x: Any) -> Any:
    total = 0.0
    for i in range(len(x)):
        if all(x[j] <= x[i] for j in range(i)):
            total += x[i]
    return total


def error_in_one(x: Any) -> Any:
    try:
        return sum(1 / (t - t) for t in [1.0, 2.0])
    except ZeroDivisionError:
        return x * 2


# -- tolist and item


def listed(x: Any) -> Any:
    values = x.tolist()
    return sum(values), max(values), len(values), values[1]


def chosen_of_a_list(x: Any) -> Any:
    return [t * 2 for t in x.tolist() if t > 0], x[:3].tolist(), x[:4].reshape(2, 2).tolist()


def items(x: Any) -> Any:
    return x[0].item() * 2, x.item(1), x.reshape(-1, 1).item(2), x[:1].item()


# -- np.vectorize


def vectorized(x: Any) -> Any:
    return ROOTS(x), ROOTS(x.reshape(-1, 1)), ROOTS(3.0)


def of_two(x: Any) -> Any:
    return np.vectorize(larger)(x, 2.0), np.vectorize(larger)(x[:, None], x[:3])


def as_a_decorator(x: Any) -> Any:
    return square(x) + 1


def of_bools(x: Any) -> Any:
    return np.vectorize(lambda t: t > 0)(x)


def with_dtypes(x: Any) -> Any:
    return np.vectorize(lambda t: t * 1.5, otypes=[float])(x)


FUNCTIONS = (
    of_a_function, with_a_condition, of_places, nested, of_a_closure, grown_on, extremes,
    written_out, around_cells, counted_in_a_turn, appended_in_a_turn, all_of_a_turn,
    few_of_a_turn, sums_of_turns, summed, asked, greatest, as_a_list, begun, taken_by_others,
    one_in_another, in_each_turn, error_in_one, loop_in_a_helper, cell_in_a_turn, every, listed,
    chosen_of_a_list, items, vectorized, of_two, as_a_decorator, of_bools, with_dtypes,
)  # fmt: skip


def equal(found: Any, expected: Any) -> bool:
    """The same, but for how sums are rounded."""
    if type(found) is not type(expected):
        return False
    if isinstance(found, (tuple, list)):
        return len(found) == len(expected) and all(map(equal, found, expected))
    if isinstance(found, dict):
        return list(found) == list(expected) and equal(
            list(found.values()), list(expected.values())
        )
    if isinstance(found, np.ndarray) and found.dtype != expected.dtype:
        return False
    if isinstance(found, (set, str)):
        return bool(found == expected)
    return bool(np.allclose(found, expected))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_agrees_and_is_compiled(function: Callable[[Any], Any]) -> None:
    global G
    G = 2.0
    f = gj.function(function, fallback="error")
    for n in (5, 300, 5):
        x = np.random.default_rng(n).normal(size=n)
        assert equal(f(x), function(x)), n
        count = f.trace_count
        assert equal(f(x), function(x)), n
        assert f.trace_count == count
    G = 3.0
    assert equal(f(x), function(x))


told: list[float] = []


def told_until_one(x: Any) -> Any:
    return any(told.append(t) or t > 0 for t in x), len(told)  # type: ignore[func-returns-value]


def test_what_any_does_not_come_to_is_not_done() -> None:
    f = gj.function(told_until_one)
    for seed in range(4):
        x = np.random.default_rng(seed).normal(size=9)
        found = []
        for function in (told_until_one, f):
            told.clear()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", gj.FallbackWarning)
                found.append((function(x), list(told)))
        assert found[0] == found[1]


def first_of_each(x: Any) -> Any:
    return np.vectorize(lambda t: 0 if t < 0 else t)(x)


def pairs(x: Any) -> Any:
    return np.vectorize(lambda t: (t, t))(x)


def by_a_signature(x: Any) -> Any:
    return np.vectorize(np.sum, signature="(n)->()")(x.reshape(-1, 5))


def of_nothing(x: Any) -> Any:
    return np.vectorize(lambda t: t, otypes="f")(x[:0])


def texts(x: Any) -> Any:
    return np.vectorize(lambda t: f"{t:.1f}")(x)


def list_as_a_key(x: Any) -> Any:
    return {t: 1 for t in x.tolist()}


def too_many_places(x: Any) -> Any:
    return x.item(1000)


@pytest.mark.parametrize(
    "function",
    (first_of_each, pairs, by_a_signature, of_nothing, texts, list_as_a_key, too_many_places),
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("dtype", ("float64", "int32", "float32", "bool", "complex64"))
def test_others_are_pythons(function: Callable[[Any], Any], dtype: str) -> None:
    def outcome(f: Callable[[Any], Any], x: Any) -> str:
        try:
            return repr(f(x))
        except (IndexError, TypeError) as error:
            return next(c.__name__ for c in type(error).__mro__ if c.__module__ == "builtins")

    f = gj.function(function)
    for seed in range(3):
        x = (np.random.default_rng(seed).normal(size=10) * 3).astype(dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert outcome(f, x) == outcome(function, x)


@pytest.mark.parametrize("dtype", ("float64", "int8", "int64", "uint16", "float32", "bool"))
def test_lists_of_dtypes(dtype: str) -> None:
    f = gj.function(
        lambda x: (x.tolist(), x[0].item(), [t for t in x.tolist()]), fallback="error"
    )
    for n in (1, 3, 50):
        x = (np.random.default_rng(n).normal(size=n) * 3).astype(dtype)
        if n == 50 and dtype == "uint16":
            continue
        assert repr(f(x)) == repr((x.tolist(), x[0].item(), x.tolist()))
