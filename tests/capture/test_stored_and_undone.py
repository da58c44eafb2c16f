"""What is stored and deleted again, made anew at each call, or held by what holds it."""

from __future__ import annotations

import collections
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj

pytestmark = pytest.mark.filterwarnings("ignore")

# A function, what happens after each call, and what is seen then.
Case = tuple[Callable[[Any], Any], Callable[[int], None], Callable[[], Any]]


class Thing:
    k = 2.0

    def __init__(self) -> None:
        self.y = 1.0


def nothing(_: int) -> None:
    pass


def deletes_what_it_stored() -> Case:
    thing = Thing()

    def f(x: Any) -> Any:
        thing.z = x[0]  # type: ignore[attr-defined]
        del thing.z  # type: ignore[attr-defined]
        return x + 1

    def between(k: int) -> None:
        if k % 3 == 1:
            thing.z = k  # type: ignore[attr-defined]

    return f, between, lambda: repr(vars(thing))


def deletes_what_it_stored_over() -> Case:
    thing = Thing()

    def f(x: Any) -> Any:
        thing.y = x[0]
        del thing.y
        return x + 1

    def between(k: int) -> None:
        if k % 2:
            thing.y = float(k)

    return f, between, lambda: repr(vars(thing))


def deletes_twice() -> Case:
    thing = Thing()

    def f(x: Any) -> Any:
        del thing.y
        thing.y = x[0]
        del thing.y
        return x + 1

    def between(k: int) -> None:
        if k % 2 == 0:
            thing.y = float(k)

    return f, between, lambda: repr(vars(thing))


def appends_functions() -> Case:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.append(lambda v: v + 1)
        return x + 1

    return f, nothing, lambda: len(set(map(id, kept)))


def stores_a_function() -> Case:
    thing, kept = Thing(), []

    def f(x: Any) -> Any:
        def inner(v: Any) -> Any:
            return v + 1

        thing.g = {"a": (inner, 1)}  # type: ignore[attr-defined]
        return x + 1

    def between(k: int) -> None:
        kept.append(thing.g["a"][0])  # type: ignore[attr-defined]

    return f, between, lambda: len(set(map(id, kept)))


def returns_a_function() -> Case:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        return (lambda v: v), x + 1

    return f, nothing, lambda: len(kept)


def stores_a_function_from_outside() -> Case:
    thing = Thing()

    def f(x: Any) -> Any:
        thing.g = nothing  # type: ignore[attr-defined]
        return x + 1

    return f, nothing, lambda: thing.g is nothing  # type: ignore[attr-defined]


def merges_what_holds_a_list() -> Case:
    inside, names = [1.0, 2.0], types.SimpleNamespace(d={})

    def f(x: Any) -> Any:
        names.d |= {"z": inside}
        return x + 1

    return f, nothing, lambda: names.d["z"] is inside


def updates_with_what_holds_a_list() -> Case:
    inside: list[float] = [1.0, 2.0]
    d: dict[str, Any] = {}

    def f(x: Any) -> Any:
        d.update({"z": inside})
        d.update(y=[inside])
        d["w"] = (inside, [inside])
        return x + 1

    return f, nothing, lambda: d["z"] is d["y"][0] is d["w"][0] is d["w"][1][0] is inside


def extends_by_itself() -> Case:
    items: list[Any] = [1.0, 2.0]

    def f(x: Any) -> Any:
        items.extend([items, 1.0])
        items.__iadd__([items])
        return x + 1

    return f, nothing, lambda: [item is items for item in items]


def deletes_what_a_defaultdict_lacks() -> Case:
    d: Any = collections.defaultdict(list)

    def f(x: Any) -> Any:
        del d["q"]
        return x + 1

    def between(k: int) -> None:
        if k % 3 == 0:
            d["q"] = 1.0

    return f, between, lambda: repr(dict(d))


def reads_what_a_defaultdict_lacks() -> Case:
    made: list[int] = []

    def factory() -> Any:
        made.append(1)
        return np.ones(2)

    d: Any = collections.defaultdict(factory, a=np.ones(2), n=2.0)

    def f(x: Any) -> Any:
        return x + d["a"] * d["n"] if "a" in d else x * 3

    def between(k: int) -> None:
        if k % 5 == 3:
            del d["a"]
        if k % 5 == 4:
            d["a"] = np.ones(2) * k

    return f, between, lambda: (len(made), list(d))


def reads_past_what_its_class_gets() -> Case:
    class Own:
        k = 2.0

    own, n = Own(), 1

    def f(x: Any) -> Any:
        Own.k = 3.0
        own.k += n
        return x + own.k

    return f, nothing, lambda: (repr(vars(own)), Own.k)


replaced: Any = None


def of_kind(kind: str, k: int) -> Any:
    found: dict[str, Callable[[], Any]] = {
        "array": lambda: np.ones(2) * k,
        "list": lambda: [k],
        "dict": lambda: {"k": np.ones(2) * k},
        "object": lambda: types.SimpleNamespace(a=np.ones(2) * k),
        "tuple": lambda: (np.ones(2) * k, [k]),
        "set": lambda: {k},
        "function": lambda: lambda v: v + k,
    }
    return found[kind]()


WAYS: dict[str, Callable[[], Any]] = {
    "globals": lambda: globals()["replaced"],
    "vars": lambda: vars(sys.modules[__name__])["replaced"],
    "getattr": lambda: getattr(sys.modules[__name__], "replaced"),  # noqa: B009
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "kind", ["array", "list", "dict", "object", "tuple", "set", "function"]
)
def test_what_is_reached_by_a_text_is_returned_itself(kind: str, way: str) -> None:
    global replaced
    read = WAYS[way]
    f = gj.function(lambda x: ([read()], x + 1))
    for k in range(5):
        replaced = of_kind(kind, k)
        assert f(np.ones(2))[0][0] is replaced


def deletes_in_a_dict_of_attributes() -> Case:
    thing = Thing()

    def f(x: Any) -> Any:
        del vars(thing)["y"]
        thing.y += x[0]
        return x + 1

    def between(k: int) -> None:
        thing.y = float(k)

    return f, between, lambda: repr(vars(thing))


def asks_for_the_class_of_an_error() -> Case:
    names: list[Any] = []

    def f(x: Any) -> Any:
        try:
            x[7]
        except Exception as error:
            names.append((type(error).__name__, error.__class__ is IndexError))
        return x + 1

    return f, nothing, lambda: repr(names)


CASES = (
    deletes_in_a_dict_of_attributes, asks_for_the_class_of_an_error,
    deletes_what_it_stored, deletes_what_it_stored_over, deletes_twice, appends_functions,
    stores_a_function, returns_a_function, stores_a_function_from_outside,
    merges_what_holds_a_list, updates_with_what_holds_a_list, extends_by_itself,
    deletes_what_a_defaultdict_lacks, reads_what_a_defaultdict_lacks,
    reads_past_what_its_class_gets,
)  # fmt: skip
EAGER = {
    deletes_in_a_dict_of_attributes,
    asks_for_the_class_of_an_error,
    appends_functions,
    stores_a_function,
    returns_a_function,
}


def outcome(function: Callable[[Any], Any], x: Any) -> Any:
    try:
        value = function(x)
    except (AttributeError, KeyError) as error:
        return next(c.__name__ for c in type(error).__mro__ if c.__module__ == "builtins")
    return np.asarray(value[1] if isinstance(value, tuple) else value).tolist()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("native_after", [None, 0, 32])
def test_agrees(case: Callable[[], Case], native_after: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(gj.config, "native_after", native_after)
    logs = []
    for decorated in (False, True):
        function, between, seen = case()
        f: Any = gj.function(function) if decorated else function
        log = []
        for k in range(16):
            log.append(outcome(f, np.arange(2.0) + k))
            between(k)
            log.append(seen())
        logs.append(log)
        if decorated:
            assert all(s.reason for s in f.specializations) == (case in EAGER)
    assert logs[0] == logs[1]
