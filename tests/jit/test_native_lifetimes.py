"""Calls that machine code enters: recursion, memory, forks, and what they hold."""

from __future__ import annotations

import copy
import gc
import inspect
import os
import pickle
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from native_calls import NATIVE, SWAPPED, TENSOR, Layer, Model, X, plus, same, t

import graphjit as gj
from graphjit.core import memory_pool
from graphjit.core.errors import OutOfMemoryError

GLOBAL = X + 1


def test_recursion(way: str) -> None:
    @gj.function
    def power(x: Any, n: int) -> Any:
        return x if n == 0 else x * power(x, n - 1)

    for n in (3, 5, 3, 2, 5):
        same(power(X, n), X ** np.float32(n + 1))


def test_cycles_are_collected(way: str) -> None:
    def make() -> Any:
        layer = Layer(2.0)
        fn = gj.function(lambda x, layer: x * layer.w)
        fn.me, layer.fn = fn, fn
        fn(X, layer)
        same(fn(X, layer), X * layer.w)
        return weakref.ref(fn), weakref.ref(layer)

    gone = [make() for _ in range(5)]
    gc.collect()
    assert not any(ref() for pair in gone for ref in pair)


def test_a_function_dropped_while_it_runs(way: str) -> None:
    box: dict[str, Any] = {}

    class Dropper:
        @property
        def w(self) -> Any:
            box.clear()
            gc.collect()
            return X

        def __init__(self) -> None:
            self.__dict__["w"] = X

    dropper = Dropper()
    box["f"] = gj.function(lambda x: x * dropper.w + X)
    box["f"](X)
    if "f" in box:
        same(box["f"](X), X * X + X)


def test_an_interrupt_while_a_name_is_looked_up(way: str) -> None:
    errors: list[BaseException] = []

    class Owner:
        def __init__(self) -> None:
            self.__dict__["w"] = X

        @property
        def w(self) -> Any:
            if errors:
                raise errors.pop()
            return X

    owner = Owner()
    fn = gj.function(lambda x: x * owner.w)
    fn(X)
    for _ in range(3):
        same(fn(X), X * X)
        errors.append(KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            fn(X)


def test_more_arguments_than_the_stack_should_hold(way: str) -> None:
    fn = gj.function(lambda items: items[0] + items[-1])
    for count in (2, 1000, 1700):
        items = [np.full(1, float(k)) for k in range(count)]
        for _ in range(2):
            same(fn(items), items[-1])


def test_what_a_function_shows(way: str) -> None:
    def named(x: Any, *, k: float = 1.0) -> Any:
        """What it does."""
        return x * k

    fn = gj.function(named)
    fn(X)
    fn(X)
    assert isinstance(fn, gj.Function)
    assert callable(fn)
    assert (fn.__name__, fn.__doc__, fn.__wrapped__) == ("named", "What it does.", named)
    assert str(inspect.signature(fn)) == "(x: 'Any', *, k: 'float' = 1.0) -> 'Any'"
    assert fn.trace_count == 1
    assert len(fn.specializations) == 1
    assert "kernel" in fn.explain(X)
    fn.note = 5
    assert fn.note == 5
    assert weakref.ref(fn)() is fn
    assert copy.copy(module_level) is module_level
    assert pickle.loads(pickle.dumps(module_level)) is module_level
    same(fn.__call__(X), X)
    assert "named" in repr(fn)


@gj.function
def module_level(x: Any) -> Any:
    return x + 1


def test_subclasses_are_called_their_own_way(way: str) -> None:
    class Counting(gj.Function):
        count = 0

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            self.count += 1
            return super().__call__(*args, **kwargs)

    class Plain(gj.Function):
        pass

    counting, plain = Counting(plus), Plain(plus)
    for k in range(3):
        same(counting(X), X + 1)
        same(plain(X), X + 1)
        assert counting.count == k + 1


def test_an_input_signature(way: str) -> None:
    fn = gj.function(plus, input_signature=[gj.TensorSpec([None], gj.float32)])
    for _ in range(3):
        same(fn(X), X + 1)
        same(fn(x=X), X + 1)
        same(fn([1.0, 2.0]).numpy(), np.array([2, 3], np.float32))
        with pytest.raises(gj.errors.InvalidArgumentError):
            fn(X.astype(np.float64))
        with pytest.raises(gj.errors.InvalidArgumentError):
            fn(X, X)


def test_outputs_as_asked_for(way: str) -> None:
    numpy, tensor = gj.function(plus, outputs="numpy"), gj.function(plus, outputs="tensor")
    for _ in range(3):
        same(numpy(t(X)), X + 1)
        same(tensor(X), t(X + 1))
        with pytest.raises(AttributeError):
            tensor(X).extra = 1
        assert tensor(X).type is tensor(X).type or tensor(X).type == tensor(X).type
        hash(tensor(X).type)


def test_large_results_come_from_the_pool(way: str) -> None:
    fn = gj.function(lambda x: (x + 1, x.sum()))
    x = np.ones(memory_pool.LARGE_BYTES // 8 + 10)
    fn(x)
    fn(x)
    before = memory_pool.stats()["reused"]
    for _ in range(5):
        big, total = fn(x)
        assert big[-1] == 2
        assert total == len(x)
    assert memory_pool.stats()["reused"] >= before + 4


def test_no_memory(way: str, monkeypatch: Any) -> None:
    fn = gj.function(lambda x: x[:, None] * x[None, :])
    x = np.ones(1 << 10)
    fn(x)

    def none_left(size: int) -> Any:
        raise OSError("no memory")

    monkeypatch.setattr(memory_pool.pool, "take", none_left)
    for _ in range(3):
        with pytest.raises(OutOfMemoryError):
            fn(x)


def test_a_lease_is_no_entry_for_the_lists_owner(way: str) -> None:
    """Arrays in a list may be taken out by another thread while kernels run."""
    fn = gj.function(lambda items: np.exp(items[0]) + items[1])
    items = [np.ones(200_000), np.ones(200_000)]
    fn(items)
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            items[0] = np.ones(200_000)
            items[1] = np.ones(200_000)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(100):
            np.testing.assert_allclose(fn(items), np.e + 1)
    finally:
        stop.set()
        thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork(way: str) -> None:
    fn = gj.function(plus)
    fn(X)
    fn(X)
    child = os.fork()
    if child == 0:
        try:
            fine = np.array_equal(fn(X), X + 1) and np.array_equal(fn(X[:2]), X[:2] + 1)
            fine = fine and np.array_equal(gj.function(lambda x: x * 3)(X), X * 3)
            os._exit(0 if fine else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


LEAKS: dict[str, tuple[Callable[..., Any], tuple[Any, ...], int]] = {
    "hit": (lambda x: x * 2 + 1, (X,), 300_000),
    "float": (lambda x, a: x * a, (X, 2.5), 100_000),
    "tensor": (lambda x: x * 2, (TENSOR,), 100_000),
    "several": (lambda x, y: (x * y, [x - y, None], {"k": x}), (X, X + 1), 100_000),
    "containers in": (lambda d: d["a"] * d["b"][0], ({"a": X, "b": [X, 2.0]},), 100_000),
    "scalars": (lambda x, a: (x.sum(), a + 1), (X, 2.5), 100_000),
    "static": (lambda x, s: (x + 1, s), (X, "text"), 100_000),
    "dataclass out": (lambda x: Model(x, x + 1), (X,), 20_000),
    "copied": (lambda x: x * 2, (np.zeros((3, 8), np.float32)[:, ::2],), 100_000),
    "miss": (lambda x: x[0] * 2, ([np.zeros((3, 8), np.float32)[:, ::2]],), 20_000),
    "swapped": (lambda x: x * 2, (SWAPPED,), 20_000),
    "large arena": (lambda x: np.exp(x - x.max(0)).sum(1), (np.ones((30, 30)),), 20_000),
    "large result": (lambda x: x[:, None] * x, (np.ones(600),), 300),
    "library": (lambda x: np.sort(x), (X,), 10_000),
    "capture": (lambda x: x * GLOBAL, (X,), 100_000),
    "dataclass in": (lambda m: m.w * m.b[0], (Model(X, [X, 2.0]),), 100_000),
    "dataclasses in a list": (
        lambda m: m[0].w * m[1].b,
        ([Model(X, X), Model(X, 2.0)],),
        100_000,
    ),
    "eager": (lambda d, x: d["a"][x > 1], ({"a": X}, X), 100_000),
    "eager, converted": (lambda x: (x[x > 1], x), (X,), 20_000),
    "eager error": (lambda x: x[x > 1][9], (X,), 20_000),
    "error": (lambda x, i: x[i], (X, np.array([1, 9])), 20_000),
    "wrong arguments": (lambda x: x, (X, X), 10_000),
}


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def watched(fn: Any, args: tuple[Any, ...]) -> dict[str, int]:
    leaves = [
        X,
        GLOBAL,
        TENSOR,
        *args,
        *(x for a in args if isinstance(a, dict) for x in a.values()),
    ]
    objects = [fn, type(fn), gj.Tensor, np.ndarray, np.dtype("f4"), np.dtype("f8"), *leaves]
    return {f"{k} {type(o).__name__}": sys.getrefcount(o) for k, o in enumerate(objects)}


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc")
@pytest.mark.parametrize("name", LEAKS)
def test_nothing_leaks(name: str, natively: None) -> None:
    body, args, count = LEAKS[name]
    fn = gj.function(body)

    def call() -> None:
        try:
            fn(*args)
        except (IndexError, TypeError):
            assert name in ("error", "eager error", "wrong arguments")

    for _ in range(300):
        call()
    gc.collect()
    before, objects, bytes_before = watched(fn, args), len(gc.get_objects()), resident_bytes()
    for _ in range(count):
        call()
    gc.collect()
    # a few references may come and go with caches and other threads
    after = watched(fn, args)
    assert {k: n for k, n in after.items() if abs(n - before[k]) > 20} == {}
    assert abs(len(gc.get_objects()) - objects) < 200
    assert resident_bytes() - bytes_before < 8 << 20


def test_variables_do_not_leak(natively: None) -> None:
    v = gj.Variable(np.zeros(1000))
    x = np.ones(1000)
    i = np.array([5000])

    @gj.function
    def step(x: Any) -> Any:
        v.assign_add(x)
        return v * 2

    @gj.function
    def bad(i: Any) -> Any:
        v.assign_add(x)
        return v[i]

    for _ in range(100):
        step(x)
    before = resident_bytes() if os.path.exists("/proc/self/statm") else 0
    counts = sys.getrefcount(v.cell), sys.getrefcount(x)
    for _ in range(50_000):
        step(x)
    for _ in range(2000):
        with pytest.raises(IndexError):
            bad(i)
    assert np.all(v.numpy() == 50_100)
    assert sys.getrefcount(v.cell.array) <= 3
    assert abs(sys.getrefcount(v.cell) - counts[0]) < 10
    assert abs(sys.getrefcount(x) - counts[1]) < 10
    if before:
        assert resident_bytes() - before < 8 << 20


def test_functions_that_come_and_go_free_their_tables(natively: None) -> None:
    fn = gj.function(lambda x: np.exp(x - x.max(0)).sum(1))
    fn(np.ones((30, 30)))
    fn(np.ones((30, 30)))
    (entry,) = fn._table.entries if NATIVE else (fn,)
    gone = weakref.ref(entry)
    del fn, entry
    gc.collect()
    assert gone() is None


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc")
def test_compiled_forms_that_come_and_go_free_their_memory() -> None:
    def once() -> None:
        fn = gj.function(lambda x: x * 2 + 1)
        fn(X)

    for _ in range(20):
        once()
    gc.collect()
    objects, before = len(gc.get_objects()), resident_bytes()
    for _ in range(100):
        once()
    gc.collect()
    assert len(gc.get_objects()) - objects < 20
    assert resident_bytes() - before < 3 << 20
