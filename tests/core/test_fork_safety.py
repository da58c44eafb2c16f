"""Processes that fork while other threads compile, trace, or hold locks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from unseen import unseen

import graphjit as gj
from graphjit.core import fork_safety
from graphjit.core.fork_safety import new_lock

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
X = np.arange(4.0)


def fine_in_child(work: Callable[[], bool], seconds: int = 60) -> bool:
    """Whether work() gives True in a forked child within some time."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            import signal

            signal.alarm(seconds)
            code = 0 if work() else 3
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


class Elsewhere:
    """Runs `work(go_on)` in another thread; inside the block it has called `reached`."""

    def __init__(self, work: Callable[[Callable[[], None]], Any]) -> None:
        self._inside, self._leave = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=work, args=(self._stop,))

    def _stop(self) -> None:
        self._inside.set()
        assert self._leave.wait(60)

    def __enter__(self) -> None:
        self._thread.start()
        assert self._inside.wait(60)

    def __exit__(self, *_: Any) -> None:
        self._leave.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


def test_a_lock_held_elsewhere_is_free_in_the_child() -> None:
    lock, own = new_lock(), new_lock()

    def work(stop: Callable[[], None]) -> None:
        with lock:
            stop()

    def locks() -> bool:
        free = lock.acquire(blocking=False)
        lock.release()
        return bool(free) and own._is_owned()

    with Elsewhere(work), own:
        assert not lock.acquire(blocking=False)
        assert fine_in_child(locks)
        assert not lock.acquire(blocking=False)
    assert lock.acquire(blocking=False)


def test_while_another_thread_traces() -> None:
    stops: list[tuple[threading.Event, threading.Event]] = []

    @unseen
    def wait() -> None:
        while stops:
            inside, leave = stops.pop()
            inside.set()
            assert leave.wait(60)

    @gj.function(fallback="error")
    def fn(x: Any) -> Any:
        wait()
        return x * 2 + 1

    other = gj.function(lambda x: x + 1)
    for _ in range(3):
        other(X)

    def in_child() -> bool:
        decided = gj.config.gates[0]
        stops.clear()
        return decided == 0 and np.array_equal(fn(X), X * 2 + 1) and other(X)[0] == 1

    def work(stop: Any) -> None:
        stops.append((stop.__self__._inside, stop.__self__._leave))
        fn(X)

    with Elsewhere(work):
        assert gj.config.gates[0] == 1
        assert fine_in_child(in_child)
    np.testing.assert_array_equal(fn(X), X * 2 + 1)
    assert gj.config.gates[0] == 0


def test_inside_a_trace_of_the_same_thread() -> None:
    results: list[bool] = []

    @unseen
    def fork(y: Any) -> None:
        inner = gj.function(lambda y: y + 1)
        if not results:
            results.append(fine_in_child(lambda: inner(y) is not None))

    @gj.function(fallback="error")
    def fn(x: Any) -> Any:
        y = x * 2
        fork(y)
        return y

    np.testing.assert_array_equal(fn(X), X * 2)
    assert results == [True]


def test_while_another_thread_holds_a_variable() -> None:
    v = gj.Variable(X)
    step = gj.function(lambda: v.assign_add(X), fallback="error")
    step()

    def work(stop: Callable[[], None]) -> None:
        with v.cell.lock:
            stop()

    def in_child() -> bool:
        step()
        v.assign_add(X)
        return np.array_equal(v.numpy(), X * 4)

    with Elsewhere(work):
        assert fine_in_child(in_child)
    np.testing.assert_array_equal(v.numpy(), X * 2)


def test_a_fork_waits_for_llvm() -> None:
    gj.function(lambda x: x + 1)(X)
    events: list[str] = []

    def compile(stop: Callable[[], None]) -> None:
        with llvm.ffi.lib._lock:
            stop()
            events.append("compiled")

    def fork() -> None:
        if fine_in_child(lambda: float(gj.function(lambda x: x * 7)(X)[1]) == 7):
            events.append("forked")

    with Elsewhere(compile):
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
    thread.join(60)
    assert events == ["compiled", "forked"]


def test_imports_wait_for_a_fork_under_way() -> None:
    events: list[str] = []

    def fork(stop: Callable[[], None]) -> None:
        fork_safety._before()
        try:
            stop()
            events.append("forked")
        finally:
            fork_safety._after()

    def bring() -> None:
        with fork_safety.importing():
            events.append("imported")

    with Elsewhere(fork):
        thread = threading.Thread(target=bring)
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
    thread.join(60)
    assert events == ["forked", "imported"]
    assert not fork_safety._forks and not fork_safety._importers


def test_a_lock_that_became_known_while_the_fork_waited_is_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = threading.RLock()
    known: list[Any] = list(fork_safety._awaited)

    class Early:
        """Stands for LLVM's lock while another thread ends the import that makes one known."""

        def __enter__(self) -> None:
            if late not in fork_safety._awaited:
                fork_safety.hold_over_forks(late)

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(fork_safety, "_awaited", [*known, Early()])
    fork_safety._before()
    try:
        assert late._is_owned()  # type: ignore[attr-defined]
    finally:
        fork_safety._after()
    assert not late._is_owned()  # type: ignore[attr-defined]


CODE = """
import os, signal, sys, threading, warnings
import numpy as np, graphjit as gj
warnings.simplefilter("ignore")
stop = False
failed = []

def work(seed):
    n = 0
    while not stop:
        n += 1
        fn = gj.function(lambda x: np.exp(x * n).sum() + seed)
        x = np.ones(1 + n % 50)
        if not np.isclose(fn(x), len(x) * np.exp(n) + seed):
            failed.append(n)

threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
if sys.argv[1] == "warm":
    gj.function(lambda x: x + 1)(np.ones(3))
for thread in threads:
    thread.start()
shared = gj.function(lambda x: x * 3)
children = []
for k in range(int(sys.argv[2])):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(60)
            good = np.array_equal(shared(np.ones(k + 1)), np.full(k + 1, 3.0))
            good &= bool(np.isclose(gj.function(lambda x: np.log(x) + k)(np.ones(2))[0], k))
            big = np.ones(300_000)
            good &= np.array_equal(gj.function(lambda x: x * 2)(big), big * 2)
            code = 0 if good else 3
        finally:
            os._exit(code)
    children.append(os.waitpid(child, 0)[1])
stop = True
for thread in threads:
    thread.join()
print(failed, set(children))
"""


@pytest.mark.parametrize("start", ["warm", "cold"])
def test_many_forks_while_threads_compile(start: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, start, "8"], capture_output=True, text=True, timeout=300
    )
    assert done.stdout.strip() == "[] {0}", done.stderr
