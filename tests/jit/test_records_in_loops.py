"""Objects, named tuples and tuples of arrays that loops carry from turn to turn."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphjit as gj

X = np.array([1.0, 2.0, -0.5])


class Vec:
    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def __add__(self, other: Any) -> Any:
        return Vec(self.x + other.x, self.y + other.y)

    def __mul__(self, k: Any) -> Any:
        return Vec(self.x * k, self.y * k)

    def __eq__(self, other: Any) -> bool:
        return bool(self.x == other.x and self.y == other.y)

    __hash__ = None  # type: ignore[assignment]

    def norm(self) -> Any:
        return (self.x * self.x + self.y * self.y) ** 0.5


class Body:
    def __init__(self, pos: Any, vel: Any) -> None:
        self.pos, self.vel, self.steps = pos, vel, 0

    def move(self, dt: Any) -> None:
        self.pos = self.pos + self.vel * dt
        self.steps += 1


@dataclass
class State:
    x: Any
    v: Any
    t: float = 0.0


@dataclass(frozen=True)
class Fixed:
    x: Any
    n: int = 0


class Pair(NamedTuple):
    a: Any
    b: Any


LAST: list[Any] = [None]


def operators(x: Any) -> Any:
    p, v = Vec(x[0], x[1]), Vec(1.0, 0.0)
    while p.norm() < 10:
        v = v + p * 0.01
        p = p + v * 0.01
    return p, v.x


def many_turns(x: Any) -> Any:
    s = State(x * 1, x * 0)
    for _ in range(3000):
        s = State(s.x + s.v * 0.01, s.v - s.x * 0.01, s.t + 0.01)
    return s


def replaced(x: Any) -> Any:
    s = Fixed(x + 1)
    while s.x.sum() < 50:
        s = replace(s, x=s.x * 1.01, n=s.n + 1)
    return s.n, s


def named_tuples(x: Any) -> Any:
    p = Pair(x * 1, 0.0)
    for t in np.concatenate([x] * 60):
        p = Pair(p.a * 0.9 + t, p.b + 1)
    return p, p._asdict()["b"]


def tuples(x: Any) -> Any:
    state = (x * 1, x * 0, 0)
    while state[0].sum() > -100 and state[2] < 500:
        a, b, n = state
        state = (a - b * 0.1, b + 1, n + 1)
    return state


def nested(x: Any) -> Any:
    body = Body(Vec(x[0], x[1]), Vec(0.5, 0.25))
    while body.pos.norm() < 9:
        body = Body(body.pos + body.vel, body.vel * 1.1)
    return body.pos.x, body.vel, body.steps


def mutated(x: Any) -> Any:
    body = Body(Vec(x[0], x[1]), Vec(0.5, 0.25))
    while body.pos.norm() < 9:
        body.move(0.5)
    return body


def replaced_and_mutated(x: Any) -> Any:
    body = Body(Vec(x[0], x[1]), Vec(0.5, 0.25))
    for t in np.concatenate([x] * 60):
        body = Body(body.pos * 0.5, body.vel)
        body.move(t)
        body.steps += 2
    return body


def another_name(x: Any) -> Any:
    p = Vec(x[0], x[1])
    first = p
    for t in np.concatenate([x] * 60):
        p = p + Vec(t, 1.0)
    return p, first, p is first


def kept_before(x: Any) -> Any:
    p = Vec(x[0], x[1])
    kept = [p]
    for t in np.concatenate([x] * 60):
        p = p * 0.5 + Vec(t, 1.0)
    kept[0].x = 7.0
    return p, kept


def kept_in_turns(x: Any) -> Any:
    p = Vec(x[0], x[1])
    kept = [p]
    for t in np.concatenate([x] * 60):
        p = p * 0.5 + Vec(t, 1.0)
        kept[0] = p
    kept[0].x = 7.0
    return p.x, kept[0] is p


def best_of(x: Any) -> Any:
    best = Vec(0.0, 0.0)
    for t in np.concatenate([x] * 60):
        found = Vec(t, t * t)
        if found.norm() > best.norm():
            best = found
    return best, best.x


def swapped(x: Any) -> Any:
    p, q = Vec(x[0], 0.0), Vec(x[1], 1.0)
    for t in np.concatenate([x] * 61):
        p, q = q * 0.5, p + Vec(t, 0.0)
    return p, q


def shared_parts(x: Any) -> Any:
    a = x * 1
    s = State(a, a)
    for _ in range(300):
        s = State(s.x * 0.5 + 1, s.x)
    s.x[0] = 9.0
    return s


def one_array_twice(x: Any) -> Any:
    s = State(x * 1, x * 2)
    for _ in range(300):
        y = s.x * 0.5 + 1
        s = State(y, y)
    s.x[0] = 9.0
    return s.v


def of_another_variable(x: Any) -> Any:
    y = x * 1
    s = State(y, 0.0)
    for _ in range(300):
        y = y * 0.5 + 1
        s = State(y, s.v + 1)
    y[0] = 9.0
    return s.x, y


def written_into(x: Any) -> Any:
    s = State(x * 1, 0.0)
    for k in range(300):
        s.x[k % 3] += 1.0
        s = State(s.x * 0.99, s.v + 1)
    return s


def compared(x: Any) -> Any:
    p, n = Vec(x[0], x[1]), 0
    for t in np.concatenate([x] * 60):
        other = p
        p = p * (1.0 if t > 5 else 1)
        n += p is other
        n += 2 * (p == other)
    return n


def left_early(x: Any) -> Any:
    p = Vec(x[0], x[1])
    for k in range(500):
        p = p * 1.05
        if p.norm() > 30:
            return "far", k, p
    return "near", -1, p


def left_after_changes(x: Any) -> Any:
    body = Body(Vec(x[0], x[1]), Vec(0.5, 0.25))
    for t in np.concatenate([x] * 60):
        body.move(t)
        body.pos.x = body.pos.x * 0.5 + 1
        if body.steps > 30:
            return "far", body
        body.steps += 1
    return "near", body


def with_more_fields(x: Any) -> Any:
    p = Vec(x[0], x[1])
    for t in np.concatenate([x] * 60):
        p = p * 0.5
        if t > 1.5:
            p.tag = t
    return p.x, hasattr(p, "tag")


def outside(x: Any) -> Any:
    p = LAST[0]
    for t in np.concatenate([x] * 60):
        p = p * 0.5 + Vec(t, 0.0)
    return p, LAST[0]


def kept_outside(x: Any) -> Any:
    p = Vec(x[0], x[1])
    for t in np.concatenate([x] * 60):
        p = p * 0.5 + Vec(t, 0.0)
        LAST[0] = p
    return p is LAST[0], p


def dicts(x: Any) -> Any:
    p = {"w": x * 1, "b": 0.5, "in": {"n": 0}}
    for t in np.concatenate([x] * 100):
        p = {"w": p["w"] * 0.9 + t, "b": p["b"] + t, "in": {"n": p["in"]["n"] + 1}}
    return p, list(p)


def dict_comprehensions(x: Any) -> Any:
    p = {"w": x * 1, "v": x * 2}
    for t in np.concatenate([x] * 200):
        g = {key: p[key] * t for key in p}
        p = {key: p[key] - 0.01 * g[key] for key in p}
    return p


def dicts_in_pairs(x: Any) -> Any:
    p, m = {"w": x * 1}, {"w": x * 0}
    while p["w"].sum() < 500 and m["w"][0] < 400:
        m = {"w": m["w"] * 0.9 + 1}
        p = {"w": p["w"] + m["w"]}
    return p, m


def dicts_of_arguments(x: Any) -> Any:
    p = {"w": x, "n": 1}
    for t in np.concatenate([x] * 100):
        p = {"w": p["w"] * 0.5 + t, "n": p["n"] + 1}
    return p, x


def dicts_seen_from_functions(x: Any) -> Any:
    p = {"w": x * 1}

    def now() -> Any:
        return p["w"].sum()

    for t in np.concatenate([x] * 100):
        p = {"w": p["w"] * 0.5 + t + now() * 0.01}
    return p, now()


def dicts_with_another_name(x: Any) -> Any:
    p = {"w": x * 1}
    q = p
    for t in np.concatenate([x] * 100):
        p = {"w": p["w"] * 0.5 + t}
    return p, q, p is q


def dicts_kept(x: Any) -> Any:
    p = {"w": x * 1}
    best, least = p, 1e9
    for t in np.concatenate([x] * 60):
        p = {"w": p["w"] * 0.7 + t}
        if p["w"].sum() < least:
            best, least = p, p["w"].sum()
    return best, p, best is p


def dicts_made_and_stored_into(x: Any) -> Any:
    p = {"w": x * 1, "n": 0}
    for t in np.concatenate([x] * 60):
        p = {"w": p["w"] * 0.7, "n": p["n"]}
        p["w"] = p["w"] + t
        p["n"] += 1
    return p


def dicts_that_share_an_array(x: Any) -> Any:
    p = {"w": x * 1}
    q = p["w"]
    for t in np.concatenate([x] * 60):
        p["w"] += t
        q = p["w"]
        q *= 0.9
    return p, q, q is p["w"]


def dicts_in_another_order(x: Any) -> Any:
    p = {"a": x * 1, "b": x * 2}
    for t in np.concatenate([x] * 60):
        p = {"b": p["a"] * 0.5 + t, "a": p["b"]}
    return list(p), p


def dicts_that_grow(x: Any) -> Any:
    p: dict[Any, Any] = {"a": x * 1}
    for k, t in enumerate(np.concatenate([x] * 20)):
        p = {"a": p["a"] * 0.5 + t, k: t}
    return p


COMPILED = [
    operators, many_turns, replaced, named_tuples, tuples, nested, mutated, best_of, swapped,
    left_early, replaced_and_mutated, left_after_changes, dicts, dict_comprehensions,
    dicts_in_pairs, dicts_of_arguments, dicts_made_and_stored_into,
]  # fmt: skip
OTHERS = [
    another_name, kept_before, kept_in_turns, shared_parts, one_array_twice,
    of_another_variable, written_into, compared, with_more_fields, outside, kept_outside,
    dicts_seen_from_functions, dicts_with_another_name, dicts_kept, dicts_that_share_an_array,
    dicts_in_another_order, dicts_that_grow,
]  # fmt: skip


def held(value: Any, seen: dict[int, int]) -> Any:
    """What is in a value, and which objects and arrays in it are one."""
    if isinstance(value, np.ndarray):
        number = seen.setdefault(id(value), len(seen))
        return number, value.dtype, np.round(value, 7).tolist()
    if isinstance(value, (list, tuple)):
        return type(value), [held(x, seen) for x in value]
    if isinstance(value, dict):
        number = seen.setdefault(id(value), len(seen))
        return number, [(k, held(x, seen)) for k, x in value.items()]
    if hasattr(value, "__dict__"):
        number = seen.setdefault(id(value), len(seen))
        return number, type(value), {k: held(x, seen) for k, x in vars(value).items()}
    return type(value), round(value, 7) if isinstance(value, float) else value


@pytest.mark.parametrize("function", [*COMPILED, *OTHERS], ids=lambda f: f.__name__)
def test_as_undecorated(function: Any) -> None:
    decorated = gj.function(function)
    for k in range(5):
        outcomes = []
        for f in (decorated, function):
            LAST[0] = Vec(0.5, k)
            with warnings.catch_warnings():
                kept = "error" if function in COMPILED else "ignore"
                warnings.simplefilter(kept, gj.FallbackWarning)
                outcomes.append(held([f(X * (1 + k % 3)), LAST], {}))
        assert outcomes[0] == outcomes[1], k


def test_one_node() -> None:
    decorated = gj.function(many_turns)
    decorated(X)
    assert len(str(decorated.get_graph(X)).splitlines()) < 200
