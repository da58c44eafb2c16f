"""Calls that machine code enters: methods, captures, variables, threads, errors."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native_calls import TENSOR, Layer, X, goes_through_python, same, together

import graphjit as gj
from graphjit.core.errors import IndexOutOfRangeError
from graphjit.jit import native_entry


def test_methods(way: str) -> None:
    two, three = Layer(2.0), Layer(3.0)
    for _ in range(3):
        same(two.scaled(X), X * np.float32(2))
        same(three.scaled(X), X * np.float32(3))
        same(two.doubled(X), X * 2)
        same(Layer.named(X), X + 5)
        same(Layer.scaled(two, X), X * 2)
        bound = three.scaled
        same(bound(X), X * 3)
        same(two.weighted(X), X * two.w)
    assert Layer.__dict__["scaled"].__get__(None, Layer) is Layer.scaled
    assert two.scaled.__self__ is two


def test_an_object_that_died_is_not_mistaken(way: str) -> None:
    for k in range(200):
        layer = Layer(float(k))
        same(layer.scaled(X), X * np.float32(k))
        same(layer.scaled(X), X * np.float32(k))
        del layer


GLOBAL = X + 1


@pytest.fixture
def own_global() -> Iterator[None]:
    global GLOBAL
    before = GLOBAL
    yield
    GLOBAL = before


def test_captures_are_looked_up_again(way: str, own_global: None) -> None:
    global GLOBAL
    held: Any = X + 2
    inside = {"list": [X + 3]}
    layer = Layer(1.0)
    fn = gj.function(lambda x: x * GLOBAL + held * inside["list"][0] - layer.w)

    def forget() -> None:
        nonlocal held
        del held

    def expected() -> Any:
        return X * GLOBAL + held * inside["list"][0] - layer.w

    for _ in range(3):
        same(fn(X), expected())
    if way == "native":
        assert not goes_through_python(lambda: fn(X))
    GLOBAL = X + 7
    same(fn(X), expected())
    held = X + 8
    same(fn(X), expected())
    inside["list"] = [X + 9]
    same(fn(X), expected())
    layer.w = X + 10
    same(fn(X), expected())
    GLOBAL[:] = 5
    same(fn(X), expected())
    GLOBAL = np.ones(1)
    same(fn(X), expected())
    layer.w = np.asfortranarray(np.ones((4, 4), np.float32))
    same(fn(X), expected())
    same(fn(X), expected())
    del layer.w
    with pytest.raises(AttributeError):
        fn(X)
    layer.w = X
    same(fn(X), expected())
    forget()
    with pytest.raises(NameError):
        fn(X)


def test_variables(way: str) -> None:
    v, w = gj.Variable(X), gj.Variable(X * 0)

    @gj.function
    def step(x: Any) -> Any:
        v.assign_add(x)
        w.assign(v * 2)
        return v + w

    read = gj.function(lambda x: x * v + w)
    expected, snapshots = X.copy(), []
    for _ in range(5):
        snapshots.append((v.numpy(), expected.copy()))
        expected += X
        same(step(TENSOR).numpy(), expected * 3)
        same(read(X), X * expected + expected * 2)
    v.assign(X * 10)
    same(read(X), X * X * 10 + expected * 2)
    for snapshot, value in snapshots:
        same(snapshot, value)
    if way == "native":
        assert not goes_through_python(lambda: step(TENSOR))
        assert not goes_through_python(lambda: read(X))


def test_a_step_that_fails_changes_no_variable_and_frees_its_lock(way: str) -> None:
    v = gj.Variable(X)

    @gj.function
    def step(i: Any) -> Any:
        v.assign_add(X)
        return v[i]

    step(np.array([1]))
    before = v.numpy()
    for _ in range(3):
        with pytest.raises(IndexOutOfRangeError):
            step(np.array([9]))
    same(v.numpy(), before)
    done = threading.Thread(target=lambda: step(np.array([1])))
    done.start()
    done.join(20)
    assert not done.is_alive()
    same(v.numpy(), before + X)


def test_threads_share_variables(way: str) -> None:
    v, w = gj.Variable(np.zeros(3)), gj.Variable(np.zeros(3))

    @gj.function
    def step(x: Any) -> Any:
        v.assign_add(x)
        w.assign_sub(x)
        return v + w

    one = np.ones(3)
    wrong: list[Any] = []

    def work() -> None:
        for _ in range(2000):
            if np.any(step(one) != 0):
                wrong.append(1)

    together(work, 4)
    assert not wrong
    same(v.numpy(), np.full(3, 8000.0))


def test_threads_specialise_and_call(way: str) -> None:
    fn = gj.function(lambda x, a: x * a + 1)
    failed: list[Any] = []

    def work() -> None:
        try:
            for k in range(3000):
                x = np.full(k % 7, 2.0) if k % 2 else np.full((2, k % 5), 2.0)
                assert np.array_equal(fn(x, float(k)), x * k + 1)
        except BaseException as error:
            failed.append(error)

    together(work, 4)
    assert not failed


def test_large_arrays_in_threads(way: str) -> None:
    fn = gj.function(lambda x: np.exp(x - x.max(1)[:, None]).sum(1) + x[:, 0])
    x = np.linspace(0, 1, 300 * 400).reshape(300, 400)
    expected = fn(x)
    failed: list[Any] = []

    def work() -> None:
        for _ in range(20):
            if not np.array_equal(fn(x), expected):
                failed.append(1)

    together(work, 4)
    assert not failed


def test_recent_use_and_many_specializations(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gj.config, "symbolic_after", None)
    fn = gj.function(lambda x: x + 1)
    arrays = [np.full(k, 1.5) for k in range(1, 2 * native_entry.MAX_ENTRIES)]
    for _ in range(2):
        for x in arrays:
            same(fn(x), x + 1)
    assert fn.trace_count == len(arrays)
    for x in (arrays[-1], arrays[-2], arrays[-1], arrays[-9], arrays[-2]):
        same(fn(x), x + 1)
    if way == "native":
        assert len(fn._table.entries) == native_entry.MAX_ENTRIES
        newest = int(fn._table[1])
        fn(arrays[-3])
        assert int(fn._table[1]) != newest
        assert sorted(map(int, fn._table[1:])) == sorted(e.address for e in fn._table.entries)


def test_the_right_error_at_the_right_line(way: str) -> None:
    @gj.function
    def pick(x: Any, i: Any) -> Any:
        y = x * 2
        return y[i] + 1  # the line

    pick(X, np.array([1]))
    for _ in range(3):
        with pytest.raises(IndexError) as caught:
            pick(X, np.array([7]))
    assert isinstance(caught.value, IndexOutOfRangeError)
    line = inspect.getsourcelines(pick.python_function)[1] + 3
    assert f"{Path(__file__).name}:{line}" in str(caught.value)
    assert "7" in str(caught.value)
    same(pick(X, np.array([1])), np.array([3], np.float32))
