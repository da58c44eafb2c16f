"""Objects of plain classes that a function makes, with traced values in them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj

X = np.linspace(0.5, 3, 6)


class Result:
    def __init__(self, value: Any, n: Any) -> None:
        self.value, self.n = value, n

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __hash__ = None  # type: ignore[assignment]


class Derived(Result):
    extra = 1

    @property
    def double(self) -> Any:
        return self.value * 2


class Slots:
    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Finalized(Result):
    def __del__(self) -> None:
        pass


head: Any = None
kept: list[Any] = []
by_name: dict[str, Any] = {}


def one(x: Any) -> Any:
    return Result(x * 2, 3)


def the_same_twice(x: Any) -> Any:
    r = Result(x, 1)
    return r, r, [r]


def linked(x: Any) -> Any:
    global head
    head = Result(x[0], head)
    total, node = 0.0, head
    while node is not None:
        total += node.value
        node = node.n
    return total


def appended(x: Any) -> Any:
    kept.append(Derived(x.sum(), {"a": x}))
    return len(kept)


def stored(x: Any) -> Any:
    by_name["r"] = Result(x, x)
    return by_name["r"].value + 1


def written_into(x: Any) -> Any:
    r = Result(x * 1, None)
    r.value[0] = 7
    return r, r.value


def one_in_another(x: Any) -> Any:
    r = Result(x, 2)
    return Result(r, r.value)


def with_slots(x: Any) -> Any:
    return Slots(x * 2)


def with_a_finalizer(x: Any) -> Any:
    return Finalized(x, 1)


def in_itself(x: Any) -> Any:
    r = Result(x, 1)
    r.me = [r]  # type: ignore[attr-defined]
    return r


COMPILED = (one, the_same_twice, linked, appended, stored, written_into, one_in_another)
EAGER = (with_slots, with_a_finalizer, in_itself)


def picture(value: Any, seen: dict[int, int]) -> Any:
    """A value as plain data, with a number for each object: what is the same one."""
    if isinstance(value, (bool, int, float, str, type(None))):
        return type(value), value
    if id(value) in seen:
        return seen[id(value)]
    seen[id(value)] = len(seen)
    if isinstance(value, (np.ndarray, np.generic)):
        return type(value), value.dtype, value.tolist()
    if isinstance(value, (list, tuple)):
        return type(value), [picture(v, seen) for v in value]
    if isinstance(value, dict):
        return type(value), {k: picture(v, seen) for k, v in value.items()}
    held = vars(value) if hasattr(value, "__dict__") else {"value": value.value}
    return type(value), {k: picture(v, seen) for k, v in held.items()}


def calls(function: Callable[[Any], Any]) -> list[Any]:
    global head
    head = None
    kept.clear()
    by_name.clear()
    found, alive = [], []
    for k in range(4):
        x = X + k
        result = function(x)
        alive.append((x, result))
        found.append(picture([x, result, head, kept, by_name], {}))
    return found


@pytest.mark.parametrize("function", (*COMPILED, *EAGER), ids=lambda f: f.__name__)
def test_objects_are_pythons(function: Callable[[Any], Any]) -> None:
    f = gj.function(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gj.FallbackWarning)
        found = calls(f)
    assert found == calls(function)
    eager = [s for s in f.specializations if s.reason]
    assert bool(eager) == (function in EAGER)
