"""Errors that leave all as it was: no memory, sizes past all bounds, interrupts, bad traces."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from unseen import unseen

import graphjit as gj
from graphjit.codegen.cpu import target
from graphjit.codegen.runtime import executable, large_stack
from graphjit.core.errors import InvalidArgumentError, OutOfMemoryError

X = np.arange(4.0)
NO_MEMORY = """
import resource
import numpy as np, graphjit as gj
from graphjit.errors import OutOfMemoryError

v = gj.Variable(np.zeros(3))

def outer(x):
    v.assign_add(np.ones(3))
    return x[:, None] * x + 1  # outer

def library(x):
    return np.sort(x[:, None] * x, 0)[:3]  # library

def temporaries(x):
    return np.exp((x[:, None] * x).cumsum(0)).T.sum(0)  # temporaries

def copied(x):
    return x + 1

bodies = [(outer, "AddV2"), (library, "Mul"), (temporaries, "Cumsum")]
functions = [(gj.function(body, fallback="error"), op, body.__name__) for body, op in bodies]
small, x = np.ones(10), np.ones(20_000)
for fn, _, _ in functions:
    fn(small), fn(small)
turned = np.broadcast_to(np.ones(1), (100_000_000,))
plus = gj.function(copied)
plus(small)
with open("/proc/self/statm") as file:
    now = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (500 << 20), resource.RLIM_INFINITY))
for fn, op, name in functions:
    before = v.numpy()
    for _ in range(3):
        try:
            fn(x)
            print("no error", name)
        except OutOfMemoryError as error:
            text = str(error)
            assert "20000, 20000" in text and f"[Op:{op}]" in text, text
            assert f" in {name}" in text or " in <module>" in text, text
    assert (v.numpy() == before).all()
    fn(small)
try:
    plus(turned)
    print("no error")
except OutOfMemoryError as error:
    assert "100000000" in str(error)
print("fine", plus(small)[0], v.numpy()[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("after", ["0", "never"])
def test_no_memory(after: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_MEMORY],
        env={**os.environ, "GRAPHJIT_NATIVE_AFTER": after, "GRAPHJIT_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.strip() == "fine 2.0 3.0", done.stderr[-2000:]


def test_memory_errors_name_op_and_line(monkeypatch: Any) -> None:
    def none_left(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(gj.config, "native_after", None)
    fn = gj.function(lambda x: np.exp(x - x.max(0)).sum(1), fallback="error")
    x = np.ones((90, 90))
    specialization = fn.specialization(x)
    monkeypatch.setattr(executable, "empty", none_left)
    for _ in range(2):
        with pytest.raises(OutOfMemoryError, match=r"shape \[90\].*\[Op:Sum\]"):
            fn(x)
    with pytest.raises(OutOfMemoryError, match="temporary"):
        specialization.executable.new_arena()


HUGE = 2**40
SIZES: dict[str, Callable[[Any], Any]] = {
    "broadcast": lambda x: gj.broadcast_to(x[0], [HUGE, HUGE]),
    "sum of a broadcast": lambda x: gj.reduce_sum(gj.broadcast_to(x[0], [HUGE, HUGE])),
    "fill": lambda x: x[0] + gj.zeros([HUGE, HUGE], gj.float64),
    "outer": lambda x: gj.broadcast_to(x[0], [HUGE, 1]) * gj.broadcast_to(x[0], [1, HUGE]),
    "repeat": lambda x: gj.repeat(x, 2**61),
    "pad": lambda x: gj.pad(x, [[2**62, 2**62]]),
    "tile": lambda x: gj.tile(x, [2**61]),
    "no elements": lambda x: gj.reshape(x[:0], [HUGE, HUGE, 0]),
    "product": lambda x: gj.broadcast_to(x[0], [HUGE, 1]) @ gj.broadcast_to(x[0], [1, HUGE]),
    "one hot": lambda x: gj.one_hot(gj.cast(x, gj.int32), 2**60),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_that_pass_all_bounds(name: str) -> None:
    x = gj.constant(X)
    fn = gj.function(SIZES[name], fallback="error")
    for call in (fn, SIZES[name]):
        with pytest.raises(InvalidArgumentError, match="bytes than can be addressed"):
            call(x)
    assert fn.specializations == []


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """A shell starts what runs in the background with the signal ignored."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


def interrupt_after(seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    return timer


def test_an_interrupt_is_not_kept_waiting_by_llvm(monkeypatch: Any) -> None:
    """A long run of LLVM goes on in its thread; control comes back at once."""
    started, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    real = target.native_code

    def slow(*args: Any) -> Any:
        started.set()
        assert go_on.wait(60)
        ended.set()
        return real(*args)

    v = gj.Variable(X)
    fn = gj.function(lambda x: (v.assign_add(x), x * 2 + 1)[1], fallback="error")
    monkeypatch.setattr(large_stack, "_LONG_TEXT", 0)
    with monkeypatch.context() as patch:
        patch.setattr(target, "native_code", slow)
        timer = interrupt_after(0.2)
        begun = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            fn(X)
        assert time.monotonic() - begun < 30
        timer.join()
        assert started.is_set() and not ended.is_set()
    assert fn.specializations == []
    assert gj.config.gates[0] == 0
    free = []
    thread = threading.Thread(target=lambda: free.append(fn(X)))
    thread.start()
    thread.join(60)
    np.testing.assert_array_equal(free[0], X * 2 + 1)  # no lock is held
    np.testing.assert_array_equal(v.numpy(), X * 2)
    go_on.set()
    assert ended.wait(60)
    np.testing.assert_array_equal(fn(X), X * 2 + 1)


def test_an_interrupt_in_a_trace() -> None:
    turn = [True]

    @unseen
    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)

    @gj.function(fallback="error")
    def fn(x: Any, n: int, a: float) -> Any:
        if turn:
            interrupt()
        return x * n + a

    with pytest.raises(KeyboardInterrupt):
        fn(X, 3, 1.5)
    turn.clear()
    assert gj.config.gates[0] == 0 and not fn._specializations.lock._is_owned()
    assert fn.specializations == [] and fn._reader.pinned == set()
    np.testing.assert_array_equal(fn(X, 3, 1.5), X * 3 + 1.5)


def test_what_a_failing_trace_leaves() -> None:
    bad = [True]

    @gj.function(fallback="error")
    def fn(x: Any, a: float) -> Any:
        if a > 0 and bad:  # Python needs the value: traced anew with that pinned
            raise ZeroDivisionError("bad")
        return x * a

    v = gj.Variable(X)

    @gj.function(fallback="error")
    def step(x: Any) -> Any:
        v.assign(x)
        if bad:
            raise ZeroDivisionError("bad")
        return v * 2

    for call in (lambda: fn(X, 1.5), lambda: step(X * 3)):
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                call()
    assert fn.specializations == step.specializations == []
    assert fn._reader.pinned == set()
    np.testing.assert_array_equal(v.numpy(), X)
    bad.clear()
    np.testing.assert_array_equal(fn(X, 1.5), X * 1.5)
    np.testing.assert_array_equal(fn(X, -1.5), X * -1.5)
    step(X * 3)
    np.testing.assert_array_equal(v.numpy(), X * 3)


def test_llvm_has_a_deep_stack_in_threads_with_small_ones() -> None:
    results: list[Any] = []

    def work() -> None:
        fn = gj.function(lambda x: (gj.sin(x) @ gj.cos(x)) * gj.erf(x), fallback="error")
        results.append(fn(gj.ones([64, 64])))

    before = threading.stack_size(192 * 1024)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(60)
    finally:
        threading.stack_size(before)
    assert len(results) == 1


# -- nothing is written beside a result

GUARD = 4096  # bytes before and after it, each of which must stay
GUARDED = [np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.float16,
           np.float32, np.float64, ml_dtypes.bfloat16, np.complex64]  # fmt: skip
BODIES: dict[str, Callable[[Any, Any], Any]] = {
    "cast": lambda x, to: x.astype(to),
    "turned": lambda x, to: x.T.astype(to),
    "joined": lambda x, to: np.concatenate([x.astype(to), x[:, :1].astype(to)], axis=1),
    "running sums": lambda x, to: np.cumsum(x, axis=0, dtype=to),
    "sums": lambda x, to: (x + x).sum(axis=0).astype(to),
}


def guarded(wanted: Any) -> tuple[Any, Callable[[], bool]]:
    """An array like this one, and whether what lies around it is as it was."""
    raw = np.full(wanted.nbytes + 2 * GUARD, 171, np.uint8)
    room = np.ndarray(wanted.shape, wanted.dtype, raw.data, GUARD)
    return room, lambda: bool((raw[:GUARD] == 171).all() and (raw[-GUARD:] == 171).all())


@pytest.mark.parametrize("symbolic_after", [None, 2])
@pytest.mark.parametrize("to", GUARDED, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("name", BODIES)
def test_nothing_is_written_beside_a_result(
    name: str, to: Any, symbolic_after: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One element more than whole vectors, from wider numbers: LLVM 22 writes such an element
    in the width of what is truncated, where the processor has AVX-512.
    """
    monkeypatch.setattr(gj.config, "symbolic_after", symbolic_after)
    monkeypatch.setattr(gj.config, "recompile_warning", 0)
    for dtype in (np.int64, np.float32, np.int16):
        if np.dtype(to).kind in "bc" and name == "running sums":
            continue
        f = gj.function(lambda x: BODIES[name](x, to), fallback="error")
        for shape in ((17, 17), (5, 9), (3, 33), (4, 65), (2, 1)):
            x = (np.arange(np.prod(shape)) % 2).reshape(shape).astype(dtype)
            wanted = BODIES[name](x, to)
            room, untouched = guarded(wanted)
            f(x, out=room)
            assert untouched(), (dtype, shape)
            np.testing.assert_array_equal(room, wanted)
