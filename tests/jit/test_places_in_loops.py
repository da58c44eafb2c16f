"""Loops that store in attributes of objects, globals and variables of functions around them."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import object_programs
import pytest

import graphjit as gj

X = np.arange(4.0)
count = 0
settings = {"level": 1.0}


class Part:
    def __init__(self) -> None:
        self.speed = 1.0


class Model:
    """What the functions below are given."""

    limit = 5.0

    def __init__(self) -> None:
        self.w, self.v = np.zeros(4), np.ones(4)
        self.rate, self.n, self.best, self.where = 0.1, 0, 1e9, -1
        self.part, self.seen = Part(), []

    def update(self, x: Any) -> None:
        self.w = self.w + self.rate * (x - self.w)
        self.n += 1

    def note(self, x: Any) -> None:
        if x < self.best:
            self.best, self.where = x, self.n

    @property
    def error(self) -> Any:
        return np.abs(self.w - X).max()


def many_turns(o: Any, x: Any) -> Any:
    for _ in range(500):
        o.update(x)
        o.note(o.error)
    return o.w, o.n, o.where


def until(o: Any, x: Any) -> Any:
    while o.error > 0.01 and o.n < 400:
        o.update(x)
        o.rate *= 1.001
    return o.n


def in_parts(o: Any, x: Any) -> Any:
    for t in x:
        for _ in range(3):
            o.part.speed = o.part.speed * 0.5 + t
    return o.part.speed


def under_conditions(o: Any, x: Any) -> Any:
    for t in np.concatenate([x] * 60):
        if t > o.rate:
            o.n += 1
        elif t < 0:
            o.rate = 0.5
        else:
            o.best = t
    return o.n


def in_place(o: Any, x: Any) -> Any:
    for k in range(300):
        o.w[k % 4] += x[1]
        o.v *= 0.99
    return o.w


def with_locals(o: Any, x: Any) -> Any:
    w = o.w = x * 2
    for _ in range(300):
        w = o.w = w * 0.5 + 1
    return w, o.w is w


def swapped(o: Any, x: Any) -> Any:
    for _ in range(301):
        o.v, o.w = o.w, o.v + x
    return o.v


def lists(o: Any, x: Any) -> Any:
    o.seen = []
    for k in range(200):
        o.update(x)
        o.seen.append(o.error)
        if k > 3 and o.seen[-1] > 0.99 * o.seen[-2]:
            break
    return len(o.seen)


def made_here(o: Any, x: Any) -> Any:
    m = Model()
    for t in np.concatenate([x] * 50):
        m.update(t)
        m.part.speed += 0.5
    return m.w, m.n, m.part.speed


def returned(o: Any, x: Any) -> Any:
    m = Model()
    for _ in range(300):
        m.update(x)
    return m


def in_globals(o: Any, x: Any) -> Any:
    global count
    for t in np.concatenate([x] * 50):
        count += 1
        settings["level"] = settings["level"] * 0.5 + t
    return count, settings["level"]


def around(o: Any, x: Any) -> Any:
    total = 0.0

    def add(t: Any) -> None:
        nonlocal total
        total += t

    for t in np.concatenate([x] * 50):
        add(t)
    return total


def counted(o: Any, x: Any) -> Any:
    comparisons = 0

    def less(a: Any, b: Any) -> Any:
        nonlocal comparisons
        comparisons += 1
        return a < b

    best = x[0]
    for t in np.concatenate([x] * 50):
        if less(t, best):
            best = t
    return best, comparisons


def from_within(o: Any, x: Any) -> Any:
    total = 0.5

    def run(k: Any) -> Any:
        nonlocal total
        for t in np.concatenate([x] * 50):
            total = total * 0.5 + t * k
        return total

    a, b = run(2.0), run(3.0)
    for t in np.concatenate([x] * 50):
        run(t)
    return a, b, total


def two_of_one_kind(o: Any, x: Any) -> Any:
    def make(c: Any) -> Any:
        def add(d: Any) -> Any:
            nonlocal c
            c += d
            return c

        return add

    one, two = make(0), make(0)
    for t in np.concatenate([x] * 50):
        one(1)
        if t > 0:
            two(2)
    return one(0), two(0)


def of_one_name(o: Any, x: Any) -> Any:
    n = 0

    def inner(k: Any) -> Any:
        n = 0

        def add() -> None:
            nonlocal n
            n += k

        for _ in range(200):
            add()
        return n

    for t in np.concatenate([x] * 50):
        n += inner(t)
    return n


def appended(o: Any, x: Any) -> Any:
    for t in np.concatenate([x] * 50):
        o.w = o.w + t
        o.seen.append(o.w.sum())
        if t > 1:
            kept.append(t)
    return o.w


def appended_arrays(o: Any, x: Any) -> Any:
    seen = o.seen
    for t in np.concatenate([x] * 50):
        seen.append(o.v * t)
    return o.seen is seen, seen[:0]


kept: list[Any] = []


def dicts(o: Any, x: Any) -> Any:
    d: dict[Any, Any] = {"a": 0.0, "n": 0, "in": {"w": np.zeros(4)}}
    counts = {0: 0, 1: 0}
    for t in np.concatenate([x] * 50):
        d["a"] = d["a"] * 0.5 + t
        d["in"]["w"] = d["in"]["w"] + t
        if t > 0:
            d["n"] += 1
        counts[1 if t > 1 else 0] += 1
    return list(d.values())[:2], d["in"]["w"], list(counts.values())


def left_early(o: Any, x: Any) -> Any:
    for k in range(300):
        o.update(x)
        if o.error < 0.5:
            return "near", k
    return "far", -1


def left_with_lists(o: Any, x: Any) -> Any:
    found = []
    for t in np.concatenate([x] * 50):
        o.n += 1
        o.seen.append(t)
        found.append(t * 2)
        if o.n > 40:
            return "many", t, found
        o.n += 1
        found.append(t)
    return "few", 0.0, found


def left_with_cells(o: Any, x: Any) -> Any:
    counts, c, p = {"k": 0}, 0, Part()

    def add() -> None:
        nonlocal c
        c += 1

    for t in np.concatenate([x] * 50):
        add()
        counts["k"] += 2
        p.speed += t
        if t > 1.5:
            return c, counts, p.speed
        add()
    return c, counts, p.speed


def that_raises(o: Any, x: Any) -> Any:
    for k in range(300):
        o.update(x)
        if o.n > 37:
            raise ValueError(k)
    return o.w


FUNCTIONS = [
    many_turns, until, in_parts, under_conditions, in_place, with_locals, swapped, lists,
    made_here, returned, in_globals, left_early, that_raises, around, counted, from_within,
    two_of_one_kind, dicts, appended, left_with_lists, left_with_cells,
]  # fmt: skip


def held(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [type(value), *map(held, value)]
    if isinstance(value, dict):
        return {name: held(x) for name, x in value.items()}
    if isinstance(value, (Model, Part)):
        return {name: held(x) for name, x in vars(value).items()}
    if isinstance(value, np.ndarray):
        return [value.dtype, np.round(value, 9).tolist()]
    return [type(value), round(value, 9) if isinstance(value, float) else value]


@pytest.mark.parametrize(
    "function", [*FUNCTIONS, of_one_name, appended_arrays], ids=lambda f: f.__name__
)
def test_as_undecorated(function: Any) -> None:
    """Results, and what is stored, for one object that goes on and for new ones."""
    global count
    decorated = gj.function(function)
    one, two = Model(), Model()
    for k in range(8):
        if k % 3 == 2:
            one, two = Model(), Model()
        x, outcomes = X + k % 4 - 1, []
        before = count, copy.copy(settings)
        for f, o in ((decorated, one), (function, two)):
            count, settings["level"] = before[0], before[1]["level"]
            kept[:] = [2.0]
            with warnings.catch_warnings():
                how = "error" if function in FUNCTIONS else "ignore"
                warnings.simplefilter(how, gj.FallbackWarning)
                try:
                    found = f(o, x.copy())
                except ValueError as error:
                    found = str(error)
            stored = [count, held(list(settings.values())), held(kept)]
            outcomes.append([held(found), held(o), stored])
        assert outcomes[0] == outcomes[1], k


def test_an_array_that_is_stored_only_on_some_ways() -> None:
    """It would be another object where it wasn't stored: Python runs such functions."""

    def function(o: Any, x: Any) -> Any:
        for t in np.concatenate([x] * 50):
            if t > 2.5:
                o.v = o.v + t
        return o.n

    decorated = gj.function(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gj.FallbackWarning)
        for x in (X * 0, X, X * 0):
            one, two = Model(), Model()
            before = one.v
            decorated(one, x)
            function(two, x)
            assert np.allclose(one.v, two.v)
            assert (one.v is before) == bool(x.max() <= 2.5)


def test_one_node_for_many_turns() -> None:
    decorated = gj.function(many_turns)
    decorated(Model(), X)
    text = str(decorated.get_graph(Model(), X))
    assert "while_loop" in text or "scan" in text
    assert len(text.splitlines()) < 200


@pytest.mark.parametrize("start", range(0, 40, 10))
def test_random_programs(start: int) -> None:
    for seed in range(start, start + 10):
        object_programs.check(seed)
