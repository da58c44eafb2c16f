"""What the recorder notes of what a function reads, what becomes of it, and what it refuses."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
import types
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphjit as gj
from graphjit.capture import sources
from graphjit.capture.sources import Check, ConstSource, Guard, ItemSource, same_value

X = np.arange(1.0, 5.0)
STATE = types.SimpleNamespace(rate=2.0, names=["a", "b"], w=np.ones(4), lookup={"k": 3.0})


def seven(text: str) -> int:
    return 7


def guards_of(function: Callable[..., Any], *args: Any) -> list[str]:
    """The guards of a function's specialization, as text."""
    made = gj.function(function, fallback="error")
    made(*args)
    (specialization,) = made.specializations
    return [str(guard) for guard in specialization.guards]


def test_guards_and_their_texts() -> None:
    def f(x: Any) -> Any:
        return x * STATE.rate + len(STATE.names) + STATE.w + STATE.lookup.get("q", 1.0)

    assert guards_of(f, X) == [
        "type(STATE) is SimpleNamespace",
        "STATE.rate == 2.0",
        "len isn't there",
        "type(STATE.names) is list",
        "len(STATE.names) == 2",
        "type(STATE.lookup) is dict",
        "list(STATE.lookup) == ['k']",
        "STATE.lookup['k'] == 3.0",
    ]


def test_what_is_read_of_numpy_alone_has_one_guard() -> None:
    (guard,) = guards_of(lambda x: np.exp(x) + np.pi, X)
    assert guard.startswith("np is <module 'numpy'")


def test_arguments_alone_have_none() -> None:
    assert guards_of(lambda x, y: (x * y).sum(axis=0) - 1, X, X) == []


def test_a_number_becomes_an_input_on_its_second_value() -> None:
    space: dict[str, Any] = {"c": 1.0, "n": 2, "z": 1j}
    exec("def f(x): return x * c + n - z", space)
    f = gj.function(space["f"], fallback="error")
    for k in range(6):
        space.update(c=1.0 + k, n=2 + k, z=1j * k)
        for _ in range(3):
            np.testing.assert_array_equal(f(X), X * space["c"] + space["n"] - space["z"])
    assert f.trace_count == 2
    space["n"] = 2**70  # more than 64 bits
    np.testing.assert_allclose(f(X), X * space["c"] + 2.0**70 - space["z"])
    space["c"] = 5  # another type
    result = f(X)
    np.testing.assert_allclose(result, X * 5 + 2.0**70 - space["z"])


def test_a_number_that_python_needs_stays_under_a_guard() -> None:
    space: dict[str, Any] = {"n": 1, "np": np}
    exec("def f(x): return np.stack([x] * n).sum() if n > 1 else x", space)
    f = gj.function(space["f"], fallback="error")
    for n in (1, 3, 2, 3, 1):
        space["n"] = n
        np.testing.assert_array_equal(f(X), np.stack([X] * n).sum() if n > 1 else X)


def test_too_many_values_run_eagerly() -> None:
    space: dict[str, Any] = {"text": ""}
    exec("def f(x): return x * len(text)", space)
    f = gj.function(space["f"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for k in range(80):
            space["text"] = "a" * k
            np.testing.assert_array_equal(f(X), X * k)
    assert f.trace_count == 64
    assert any("has had 64 values" in str(w.message) for w in caught)


def test_misses_name_what_changed() -> None:
    space: dict[str, Any] = {"c": "a", "items": [1.0], "d": {"k": 1.0}, "h": np.sin}
    exec("def f(x): return h(x) * len(c) * sum(items) + sum(d.values())", space)
    f = gj.function(space["f"], fallback="error")
    f(X)
    changes: list[tuple[Callable[[], Any], tuple[str, str, str]]] = [
        (lambda: space.update(c="bb"), ("value of c", "'a'", "'bb'")),
        (lambda: space["items"].append(2.0), ("length of items", "1", "2")),
        (lambda: space["d"].update(q=1.0), ("keys of d", "['k']", "['k', 'q']")),
        (lambda: space.update(items=(1.0, 2.0)), ("type of items", "list", "tuple")),
        (lambda: space.update(len=seven), ("len", "not there", "seven")),
    ]
    for change, expected in changes:
        change()
        f(X)
        miss = f.explain_misses()[-1]
        assert (miss.guard, miss.expected, miss.found) == expected


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "clock": (lambda x: x * time.time(), r"calls time\.time, of which nothing is known"),
    "eval": (lambda x: x * eval("2"), r"calls builtins\.eval"),
    "id": (lambda x: x * (id(STATE) > 0), "asks for the id"),
    "vectorize": (lambda x: VECTORIZED(x), "calls an np.vectorize"),
    "frompyfunc": (lambda x: UFUNC(x), "calls a ufunc"),
    "set": (lambda x: x * (STATE in {STATE: 1}), "hands a|reached"),
    "class": (lambda x: x * make_class()().k, "defines a class"),
    "lt of a class": (lambda x: x * sorted(ORDERED)[0].k, "may call __|reached"),
}
VECTORIZED = np.vectorize(lambda v: v * 2, signature="()->()")
UFUNC = np.frompyfunc(lambda v: v * 2, 1, 1)


def make_class() -> Any:
    class Local:
        k = 2

    return Local


class Ordered:
    def __init__(self, k: int) -> None:
        self.k = k

    def __lt__(self, other: Any) -> bool:
        return self.k < other.k


ORDERED = [Ordered(2), Ordered(1)]


@pytest.mark.parametrize("name", [n for n in REFUSED if n != "set"])
def test_what_is_not_followed_is_refused_by_name(name: str) -> None:
    function, match = REFUSED[name]
    with pytest.raises(gj.errors.TracingError, match=match) as info:
        gj.function(function, fallback="error")(X)
    assert "test_recorder.py" in str(info.value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gj.FallbackWarning)
        found = gj.function(function)(X)
    if name != "clock":
        np.testing.assert_array_equal(found, np.asarray(function(X)))


def test_a_failed_trace_and_a_dropped_function_leave_nothing_alive() -> None:
    class Layer:
        def __init__(self) -> None:
            self.w = np.ones(4)

        def call(self, x: Any) -> Any:
            if x.sum() > 1e9:  # ends the trace
                return x
            return x * self.w

    layer = Layer()
    f = gj.function(layer.call)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        f(X)
    seen = weakref.ref(layer)
    del f, layer
    gc.collect()
    assert seen() is None


def test_helpers_are_not_kept_alive_by_guards() -> None:
    space: dict[str, Any] = {}
    exec("def h(x): return x + 1\ndef f(x): return h(x) * 2", space)
    f = gj.function(space["f"], fallback="error")
    np.testing.assert_array_equal(f(X), (X + 1) * 2)
    seen = weakref.ref(space["h"])
    exec("def h(x): return x - 1", space)
    np.testing.assert_array_equal(f(X), (X - 1) * 2)
    gc.collect()
    assert seen() is None


def test_the_same_value_or_not() -> None:
    nan = float("nan")
    equal = [(nan, -nan), (1, 1), ("ab", "".join("ab")), ((1, nan), (1, nan))]
    different = [
        (1, True), (1, 1.0), (0.0, -0.0), ((0.0,), (-0.0,)), (complex(0, 0), complex(0, -0.0)),
        (np.float32(1), np.float64(1)), (np.float64(0.0), np.float64(-0.0)), ("a", b"a"),
        (slice(0, 1), slice(0, 1, 1)), (None, False),
    ]  # fmt: skip
    assert all(same_value(a, b) for a, b in equal)
    assert not any(same_value(a, b) for a, b in different)


def test_guards_of_what_went_missing() -> None:
    names: dict[str, Any] = {"a": [1.0]}
    source = ItemSource(ConstSource(names), "a")
    made = [
        Guard(Check.TYPE, source, list), Guard(Check.LENGTH, source, 1),
        Guard(Check.KEYS, source, (1.0,)), Guard(Check.SAME, source, names["a"]),
    ]  # fmt: skip
    assert all(guard.holds() for guard in made)
    del names["a"]
    assert not any(guard.holds() for guard in made)
    assert Guard(Check.ABSENT, source, None).holds()
    assert source() is sources.MISSING


def test_programs_whose_state_changes() -> None:
    script = Path(__file__).parents[1] / "support" / "mutated_programs.py"
    steps = "20000" if os.environ.get("GRAPHJIT_LONG_TESTS") else "600"
    done = subprocess.run(
        [sys.executable, str(script), "--steps", steps, "--seed", "7"],
        capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "0 differ" in done.stdout
