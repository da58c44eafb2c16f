"""Reads that are easily left without a guard: what isn't there, what `except` looks into."""

from __future__ import annotations

import contextvars
import copy
import functools
import gc
import pickle
import sys
import types
import weakref
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphjit as gj

pytestmark = pytest.mark.filterwarnings("ignore")
X = np.ones(2)
# A function, and what happens before its later calls.
Case = tuple[Callable[[Any], Any], list[Callable[[], Any]]]
caught: Any = (ValueError,)


class Pair(NamedTuple):
    a: float
    w: Any


class Thing:
    v = 2.0


def context_variable_without_a_value() -> Case:
    variable: contextvars.ContextVar[float] = contextvars.ContextVar("variable")

    def f(x: Any) -> Any:
        try:
            return x * variable.get()
        except LookupError:
            return x - 1

    return f, [lambda: None, lambda: variable.set(5.0), lambda: variable.set(6.0)]


def weak_proxy_that_dies() -> Case:
    things = [Thing(), Thing()]
    held: list[Any] = [weakref.proxy(things[0])]

    def f(x: Any) -> Any:
        return x * held[0].v

    def renewed() -> None:
        held[0] = weakref.proxy(things[-1])

    return f, [lambda: None, things.clear, lambda: things.append(Thing()), renewed]


def module_that_is_replaced() -> Case:
    def put(k: float) -> None:
        module: Any = types.ModuleType("module_of_a_test")
        module.k = k
        sys.modules["module_of_a_test"] = module

    def f(x: Any) -> Any:
        import module_of_a_test  # type: ignore[import-not-found]

        return x * module_of_a_test.k

    put(1.0)
    return f, [lambda: None, lambda: put(2.0), lambda: sys.modules.pop("module_of_a_test")]


def tuple_of_errors_that_is_replaced() -> Case:
    global caught
    caught = (ValueError,)

    def f(x: Any) -> Any:
        try:
            raise ValueError("q")
        except caught:
            return x + 1

    def put(kinds: Any) -> None:
        global caught
        caught = kinds

    return f, [lambda: None, lambda: put((KeyError,)), lambda: put((KeyError, ValueError))]


def methods_of_named_tuples() -> Case:
    held = [Pair(1.0, np.ones(2))]

    def f(x: Any) -> Any:
        return held[0]._asdict()["a"] * x + held[0]._replace(a=3.0).w

    def put(a: float, w: Any) -> None:
        held[0] = Pair(a, w)

    return f, [lambda: None, lambda: put(2.0, np.ones(2) * 5), lambda: put(4.0, np.ones(2))]


def item_that_a_defaultdict_makes_again() -> Case:
    d: Any = defaultdict(list, q=[1.0])

    def f(x: Any) -> Any:
        del d["q"]
        d["q"].append(2.0)
        return x + len(d["q"]) + sum(d["q"])

    return f, [lambda: None, lambda: None, lambda: d["q"].append(5.0)]


def dict_of_pairs() -> Case:
    held = {"a": np.zeros(2)}
    pairs = [("p", held["a"])]
    more: dict[str, Any] = {}

    def f(x: Any) -> Any:
        y = held["a"] * 2
        more.update(pairs)
        return dict(pairs)["p"] + y + x + more["p"]

    def put() -> None:
        held["a"] = np.ones(2)

    return f, [lambda: None, put, lambda: pairs.__setitem__(0, ("p", np.ones(2) * 7))]


def copies_of_one_list() -> Case:
    first = [1.0]
    lists = [first, [2.0]]

    def f(x: Any) -> Any:
        copies = copy.deepcopy(lists)
        copies[0].append(9.0)
        return x + len(copies[1])

    return f, [lambda: None, lambda: lists.__setitem__(1, lists[0]), lambda: None]


CASES = (
    dict_of_pairs, copies_of_one_list,
    context_variable_without_a_value, weak_proxy_that_dies, module_that_is_replaced,
    tuple_of_errors_that_is_replaced, methods_of_named_tuples,
    item_that_a_defaultdict_makes_again,
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("native_after", [None, 0])
def test_agrees(case: Callable[[], Case], native_after: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(gj.config, "native_after", native_after)
    logs = []
    for decorated in (False, True):
        function, changes = case()
        f: Any = gj.function(function) if decorated else function
        log: list[Any] = []
        for change in (lambda: None, *changes, lambda: None):
            change()
            for _ in range(2):
                try:
                    log.append(f(X).tolist())
                except (LookupError, ReferenceError, ImportError, ValueError) as error:
                    log.append(type(error).__name__)
        logs.append(log)
    assert logs[0] == logs[1]


def test_what_wraps_a_decorated_function_is_compiled() -> None:
    inner = gj.function(lambda x: x + 1)

    @functools.wraps(inner)
    def wrapper(x: Any) -> Any:
        return inner(x) * 2

    outer = gj.function(lambda x: wrapper(x) + 1, fallback="error")
    np.testing.assert_array_equal(outer(X), (X + 1) * 2 + 1)
    np.testing.assert_array_equal(gj.function(wrapper, fallback="error")(X), (X + 1) * 2)


def test_attributes_of_a_decorated_function_are_the_users() -> None:
    def f(x: Any) -> Any:
        return x * 2

    f.name, f.tag = "task", [1]  # type: ignore[attr-defined]
    g = gj.function(f)
    assert g.name == "task" and g.tag is f.tag  # type: ignore[attr-defined]
    shown = {"__module__", "__name__", "__qualname__", "__doc__", "__annotations__"}
    assert set(vars(g)) - shown - {"__type_params__"} == {"name", "tag", "__wrapped__"}

    @functools.wraps(g)
    def wrapper(x: Any) -> Any:
        return g(x) + 1

    wrapper.extra = 3  # type: ignore[attr-defined]
    h = pickle.loads(pickle.dumps(gj.function(wrapper, fallback="error")))
    assert h.extra == 3 and h.name == "task" and h.__name__ == "f"
    np.testing.assert_array_equal(h(X), X * 2 + 1)


def test_callbacks_of_the_collector_may_run_while_a_function_is_traced() -> None:
    seen: list[str] = []
    before = gc.get_threshold()

    def callback(phase: str, info: Any) -> None:
        note(phase)

    def note(phase: str) -> None:
        seen.append(phase)

    def f(x: Any) -> Any:
        for _ in range(30):
            x = np.sin(x) + np.array([len(str(_))])
        return x

    gc.callbacks.append(callback)
    gc.set_threshold(5)
    try:
        found = gj.function(f, fallback="error")(X)
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(callback)
    assert seen
    np.testing.assert_allclose(found, f(X))


def test_a_remembering_function_is_called_for_what_the_program_asks_alone() -> None:
    logs = []
    for decorate in (lambda f: f, gj.function):
        calls: list[int] = []

        def remembered(v: int, calls: list[int] = calls) -> int:
            calls.append(v)
            return v * 2

        remembering = functools.lru_cache(maxsize=2)(remembered)
        state = {"k": 0}
        f = decorate(lambda x, state=state, g=remembering: x * g(state["k"]))
        for k in (2, 3, 4, 5, 6, 7, 2, 7):
            state["k"] = k
            np.testing.assert_array_equal(f(X), X * 2 * k)
        logs.append(calls)
    assert logs[0] == logs[1]


@pytest.mark.parametrize("alias", [False, True])
def test_what_an_import_finds_is_looked_up_at_each_call(
    alias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = types.ModuleType("another_name" if alias else "made_up"), None
    first.v = 2.0  # type: ignore[attr-defined]
    second = types.SimpleNamespace(v=7.0)
    logs = []
    for decorate in (lambda f: f, gj.function):

        def f(x: Any) -> Any:
            from made_up import v  # type: ignore[import-not-found]

            return x * v

        run, log = decorate(f), []
        for module in (first, first, second, None, types.SimpleNamespace(), first):
            monkeypatch.setitem(sys.modules, "made_up", module)
            try:
                log.append(run(X).tolist())
            except ImportError as error:
                log.append(str(error))
        monkeypatch.delitem(sys.modules, "made_up")
        try:
            run(X)
        except ImportError as error:
            log.append(str(error))
        logs.append(log)
    assert logs[0] == logs[1] and len(logs[0]) == 7
