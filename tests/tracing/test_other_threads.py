"""What other threads and handlers of signals do while a function is traced stays done."""

from __future__ import annotations

import contextlib
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphjit as gj

X = np.ones(3)
pytestmark = pytest.mark.filterwarnings("ignore")


class State:
    def __init__(self) -> None:
        self.log: list[int] = []
        self.hits = {"n": 0}
        self.array = np.zeros(2)
        self.n = 0

    def total(self) -> Any:
        return self.array.sum() + len(self.log) * 0.0


@contextlib.contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[list[int]]:
    """Another thread that works as long as the block runs; how often it did."""
    count, ends = [0], threading.Event()

    def run() -> None:
        while not ends.is_set():
            work()
            count[0] += 1

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield count
    finally:
        ends.set()
        thread.join()
        sys.setswitchinterval(before)


def trace_many(state: State, count: int) -> None:
    """Trace functions that read the state, some of which then run eagerly."""
    for k in range(count):
        gj.function(lambda x, k=k: x * k + state.total() + len(state.hits))(X)
        with contextlib.suppress(ValueError):
            gj.function(lambda x, k=k: x * k + state.array[0] + int("no number"))(X)


def test_what_another_thread_writes() -> None:
    state = State()

    def work() -> None:
        state.log.append(len(state.log))
        state.hits["n"] += 1
        state.array += 1
        state.n += 1

    with meanwhile(work) as count:
        trace_many(state, 20)
    assert count[0] > 0
    assert (len(state.log), state.hits["n"], state.n) == (count[0],) * 3
    np.testing.assert_array_equal(state.array, [count[0]] * 2)


def test_what_another_thread_draws() -> None:
    drawn: list[int] = []
    state = State()
    with meanwhile(lambda: drawn.append(random.getrandbits(64))):
        trace_many(state, 20)
    assert len(set(drawn)) == len(drawn)


def test_a_decorated_function_in_several_threads() -> None:
    state, lock = State(), threading.Lock()

    @gj.function
    def add(x: Any) -> Any:
        with lock:
            state.n += 1
            state.log.append(1)
        return x + 1

    threads = [threading.Thread(target=lambda: [add(X) for _ in range(10)]) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert (state.n, len(state.log)) == (40, 40)


def test_what_a_handler_of_a_signal_writes() -> None:
    state, ran = State(), [0]

    def handler(number: int, frame: Any) -> None:
        ran[0] += 1
        state.log.append(1)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        trace_many(state, 20)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(state.log) == ran[0] > 0


def test_objects_that_another_thread_replaces() -> None:
    """Code is made for objects of which the dicts, lists and classes change meanwhile."""

    class Item:
        v = 1

    class Box:
        pass

    box: Any = Box()

    def replace() -> None:
        k = int(getattr(box, "k", 0) == 0)
        box.k, box.o, box.l, box.d = k, Item(), [1.0] * (k + 1), {"p": 1.5}

    replace()
    with meanwhile(replace):
        for _ in range(20):
            f = gj.function(lambda x: x + box.o.v + len(box.l) + box.d["p"])
            for dtype in ("f8", "f4"):
                for _ in range(5):
                    assert f(np.ones(2, dtype))[0] in (4.5, 5.5)


def settings(k: float) -> dict[str, Any]:
    """Settings that belong together."""
    return {"a": k, "b": 2 * k, "w": np.ones(3) * k, "two w": np.ones(3) * 2 * k}


class Box:
    """What holds all settings, and is given others as a whole."""

    def __init__(self) -> None:
        self.settings = settings(1.0)


def through(box: Box, rng: np.random.Generator) -> list[Callable[[Any], Any]]:
    """Functions that give zeros as long as what they read belongs together."""
    effects: list[float] = []

    def drawn(x: Any) -> Any:
        s = box.settings
        return x * (2 * s["a"] - s["b"]) + (2 * s["w"] - s["two w"]) + 0 * rng.random()

    def noted(x: Any) -> Any:
        s = box.settings
        effects.append(float(s["w"][0]))
        return x * (2 * s["a"] - s["b"]) + (2 * s["w"] - s["two w"])

    def plain(x: Any) -> Any:
        s = box.settings
        return x * (2 * s["a"] - s["b"]) + (2 * s["w"] - s["two w"])

    def returned(x: Any) -> Any:
        s = box.settings
        first, second = s["w"], s["two w"]
        return first, second, 2 * first - second + x * rng.random() * 0

    return [drawn, noted, plain, returned]


@pytest.mark.parametrize("which", range(4))
def test_an_object_that_is_replaced_while_it_is_looked_up_is_read_whole(
    which: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graphjit.capture.sources import AttributeSource

    box, read, replaced = Box(), AttributeSource.found, [0]

    def found(self: Any, look: Any) -> Any:  # another thread is quick
        value = read(self, look)
        if value is box.settings:
            replaced[0] += 1
            k = float(replaced[0])
            box.settings = settings(k)
        return value

    monkeypatch.setattr(AttributeSource, "found", found)
    monkeypatch.setattr(gj.config, "native_after", None)
    f = gj.function(through(box, np.random.default_rng(0))[which])
    for call in range(12):
        value = f(X)
        if which == 3:
            first, second, value = value
            np.testing.assert_array_equal(2 * first, second)
        assert not np.any(value), call
    assert replaced[0] > 5


@pytest.mark.parametrize("which", range(4))
def test_an_object_that_another_thread_replaces_is_read_whole(which: int) -> None:
    box = Box()

    def replace() -> None:
        k = box.settings["a"] + 1
        box.settings = settings(k)

    f = gj.function(through(box, np.random.default_rng(0))[which])
    with meanwhile(replace):
        for call in range(500):
            value = f(X)
            if which == 3:
                first, second, value = value
                np.testing.assert_array_equal(2 * first, second)
            assert not np.any(value), call
