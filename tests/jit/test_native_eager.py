"""Calls that machine code enters and Python runs: eager mode and fallbacks."""

from __future__ import annotations

import collections
import contextvars
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from native_calls import Model, X, goes_through_python, same, together
from unseen import unseen

import graphjit as gj


def test_eager_mode_is_seen(way: str) -> None:
    ran: list[int] = []
    note = unseen(lambda: ran.append(1))

    @gj.function
    def fn(x: Any) -> Any:
        note()
        return x + 1

    def runs_python() -> bool:
        ran.clear()
        fn(X)
        return bool(ran)

    fn(X)
    assert not runs_python()
    with gj.eager():
        assert runs_python()
        later = contextvars.copy_context()
        elsewhere: list[bool] = []
        together(lambda: elsewhere.append(runs_python()), 1)
        assert elsewhere == [False]
        with gj.eager(False):
            assert not runs_python()
    assert not runs_python()
    assert later.run(runs_python)
    gj.config.run_functions_eagerly(True)
    try:
        assert runs_python()
        with gj.eager(False):
            assert not runs_python()
    finally:
        gj.config.run_functions_eagerly(False)
    assert not runs_python()
    assert gj.config.gates[0] == 0


def test_a_trace_records_what_it_calls(way: str) -> None:
    inner = gj.function(lambda x: x * 2)
    inner(X)
    outer = gj.function(lambda x: inner(x) + inner(X), fallback="error")
    same(outer(X), X * 4)
    graph = outer.get_graph(X)
    assert "mul" in str(graph)
    assert gj.config.gates[0] == 0


def of_bytes(x: Any) -> Any:
    """What isn't traced: the bytes of an array as numbers."""
    return np.frombuffer(x.tobytes(), np.uint8).copy()


def eager_cases() -> dict[str, tuple[Callable[..., Any], Callable[[], tuple[Any, ...]]]]:
    return {
        "a number": (lambda x: float(x[0]), lambda: (X,)),
        "an array": (lambda x: of_bytes(x > 1), lambda: (X,)),
        "NumPy's scalar": (lambda x: of_bytes(x > 1)[0], lambda: (X,)),
        "nothing": (lambda x: print(float(x[0]), end=""), lambda: (X,)),
        "text": (lambda x: f"{float(x[0])}", lambda: (X,)),
        "several": (lambda x: (of_bytes(x > 1), float(x[0]), [x[0]]), lambda: (X,)),
        "an argument": (lambda x: x if float(x[0]) < 9 else 0, lambda: (X,)),
        "a view": (lambda x: x[int(x[1]) :], lambda: (X,)),
        "an argument's whole": (lambda x: x.base if float(x[0]) < 9 else 0, lambda: (X[1:],)),
        "an item": (lambda d: d["a"] if float(d["a"][0]) < 9 else 0, lambda: ({"a": X},)),
        "turned": (lambda x: of_bytes(x > 1), lambda: (np.arange(6.0).reshape(2, 3).T,)),
        "dataclass": (lambda m: of_bytes(m.b > 1), lambda: (Model(X, X),)),
        "keywords": (lambda x, *, y=None: of_bytes(y > 1), lambda: (X,)),
        "tensor": (lambda x: x[int(x[1]) :], lambda: (gj.constant(X),)),
        "scalar": (lambda x, a: of_bytes(x > a), lambda: (X, 1.5)),
        "an object": (
            lambda x, o: of_bytes(x > o["a"]),
            lambda: (X, collections.UserDict(a=1)),
        ),
    }


@pytest.mark.parametrize("name", eager_cases())
@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
def test_what_runs_eagerly_is_entered(name: str, way: str) -> None:
    function, make = eager_cases()[name]
    named = {"y": X} if name == "keywords" else {}
    fn = gj.function(function)
    with gj.eager():
        expected = gj.function(function)(*make(), **named)
    for _ in range(6):
        args = make()
        found = fn(*args, **named)
        same(found, expected)
        plain = function(*args, **named)
        for x in [*args, X, *(args[0].values() if isinstance(args[0], dict) else ())]:
            assert (found is x) == (plain is x)
            if isinstance(found, np.ndarray) and isinstance(x, np.ndarray):
                assert np.may_share_memory(found, x) == np.may_share_memory(plain, x)
    assert fn.trace_count <= 3
    simple = name in ("a number", "an array", "NumPy's scalar", "dataclass", "turned", "scalar")
    if way == "native" and simple:
        args = make()
        assert name == "NumPy's scalar" or not goes_through_python(lambda: fn(*args, **named))


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
def test_eager_calls_are_given_the_very_arguments(way: str) -> None:
    def note(state: dict[str, Any], x: Any) -> Any:
        state["calls"] = state.get("calls", 0) + 1
        state["last"] = x[x > 1]
        return state["last"].size

    fn = gj.function(note)
    state: dict[str, Any] = {}
    for k in range(1, 8):
        assert fn(state, X) == 2 and state["calls"] == k


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
def test_calls_that_never_compile_are_traced_a_few_times(way: str) -> None:
    rng = np.random.default_rng(0)
    fn = gj.function(lambda x: x[x > 0])
    for n in range(2, 40):
        x = rng.normal(size=n)
        same(fn(x), x[x > 0])
    assert fn.trace_count <= 8  # with known sizes and without

    def draw(x: Any, rng: Any) -> Any:
        return x + rng.normal(size=4)

    drawn = gj.function(draw)
    for seed in range(30):
        one, other = np.random.default_rng(seed), np.random.default_rng(seed)
        for _ in range(2):
            same(drawn(X, one), draw(X, other))
    assert drawn.trace_count <= 3


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
def test_what_compiles_is_compiled_though_others_fall_back(way: str) -> None:
    def function(x: Any, masked: bool) -> Any:
        return x[x > 0] if masked else x * 2

    fn = gj.function(function)
    for n in range(2, 20):
        x = np.arange(n, dtype=float)
        same(fn(x, True), x[x > 0])
    before = fn.trace_count
    for n in range(2, 20):
        x = np.arange(n, dtype=float)
        same(fn(x, False), x * 2)
    assert fn.trace_count > before
    assert any(specialization.executable is not None for specialization in fn.specializations)
    mixed = gj.function(lambda x: x[x > 0] if len(x) == 7 else x * 2)
    for n in (3, 7, 4, 7, 5, 7, 6, 7, 9):
        x = np.arange(n, dtype=float)
        same(mixed(x), x[x > 0] if n == 7 else x * 2)


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
def test_eager_calls_that_raise_or_recurse(way: str) -> None:
    def deep(x: Any, n: int) -> Any:
        return float(x[0]) if n == 0 else deep_fn(x, n - 1)

    deep_fn = gj.function(deep)
    for _ in range(5):
        assert deep_fn(X, 20) == 0.0
        with pytest.raises(RecursionError):
            deep_fn(X, 10**6)
    raises = gj.function(lambda x: x[x > 1][9])
    for _ in range(6):
        with pytest.raises(IndexError, match="out of bounds"):
            raises(X)
