"""Many threads that call one function, and assign to one variable."""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from unseen import unseen

import graphjit as gj
from graphjit.core.errors import TracingError

THREADS = 8


def at_once(work: Callable[[int], Any], count: int = THREADS) -> list[Any]:
    """work(0), … work(count - 1), started together in threads; raises what they raise."""
    barrier = threading.Barrier(count)

    def run(number: int) -> Any:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_first_calls_at_once_trace_once() -> None:
    fn = gj.function(lambda x: gj.exp(x) * 2.0 + 1.0, fallback="error")
    x = np.linspace(0, 1, 50)
    results = at_once(lambda _: fn(x))
    for result in results:
        np.testing.assert_array_equal(result, results[0])
    assert fn.trace_count == 1


def test_many_signatures_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gj.config, "symbolic_after", None)
    fn = gj.function(lambda x: x * 2 + 1, fallback="error")

    def work(number: int) -> None:
        for n in range(20):
            x = np.full(1 + (n + number) % 5, float(number))
            np.testing.assert_array_equal(fn(x), x * 2 + 1)

    at_once(work)
    assert fn.trace_count == 5


def test_many_sizes_at_once() -> None:
    fn = gj.function(lambda x: x * 2 + 1, fallback="error")

    def work(number: int) -> None:
        for n in range(20):
            x = np.full(1 + (n + number) % 5, float(number))
            np.testing.assert_array_equal(fn(x), x * 2 + 1)

    at_once(work)
    assert fn.trace_count <= 3


def test_results_are_not_mixed_up() -> None:
    fn = gj.function(lambda x: gj.reduce_sum(x * x, axis=1), fallback="error")
    fn(gj.ones([50, 40]))

    def work(number: int) -> None:
        x = gj.fill([50, 40], float(number))
        for _ in range(50):
            np.testing.assert_array_equal(fn(x).numpy(), np.full(50, 40.0 * number**2))

    at_once(work)


@pytest.mark.parametrize("traced", [False, True])
def test_no_step_is_lost(traced: bool) -> None:
    v = gj.Variable(np.zeros(100))

    def step(x: Any) -> Any:
        return v.assign_add(x)

    call = gj.function(step, fallback="error") if traced else step
    one = gj.ones([100], gj.float64)
    at_once(lambda _: [call(one) for _ in range(50)])
    np.testing.assert_array_equal(v.numpy(), np.full(100, 50.0 * THREADS))


def test_eager_and_traced_steps_together() -> None:
    v = gj.Variable(np.zeros(10))
    step = gj.function(lambda: v.assign_add(np.ones(10)), fallback="error")

    def work(number: int) -> None:
        for _ in range(50):
            if number % 2:
                step()
            elif number % 4:
                v.assign_add(np.ones(10))
            else:
                v.scatter_nd_add(np.arange(10).reshape(10, 1), np.ones(10))

    at_once(work)
    np.testing.assert_array_equal(v.numpy(), np.full(10, 50.0 * THREADS))


def test_readers_see_whole_values() -> None:
    v = gj.Variable(np.zeros(1000))
    w = gj.Variable(np.zeros(1000))
    step = gj.function(lambda: (v.assign_add(np.ones(1000)), w.assign(v))[0], fallback="error")
    total = gj.function(lambda: (v.read_value(), w.read_value()), fallback="error")
    step(), total()

    def work(number: int) -> None:
        for _ in range(50):
            if number == 0:
                step()
            elif number % 2:
                assert len(np.unique(v.numpy())) == 1
            else:
                a, b = (np.unique(x.numpy()) for x in total())
                assert len(a) == len(b) == 1 and a[0] == b[0]

    at_once(work)


def test_opposite_orders_do_not_deadlock() -> None:
    v, w = gj.Variable(0.0), gj.Variable(0.0)
    steps = [
        gj.function(lambda: (v.assign_add(1.0), w.assign_add(v))[0], fallback="error"),
        gj.function(lambda: (w.assign_add(1.0), v.assign_add(w))[0], fallback="error"),
    ]
    for step in steps:
        step()
    done = at_once(lambda number: [steps[number % 2]() for _ in range(30)] and True)
    assert done == [True] * THREADS


def test_eager_mode_is_of_one_thread() -> None:
    seen = {}

    def work(number: int) -> None:
        with gj.eager(number % 2 == 0):
            threading.Event().wait(0.01)
            seen[number] = gj.config.functions_run_eagerly

    at_once(work)
    assert seen == {n: n % 2 == 0 for n in range(THREADS)}


def test_traces_are_of_one_thread() -> None:
    inside, go_on = threading.Event(), threading.Event()

    @unseen
    def wait() -> None:
        inside.set()
        assert go_on.wait(10)

    def slow(x: Any) -> Any:
        wait()
        return x + 1.0

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(gj.function(slow, fallback="error"), gj.constant(1.0))
        assert inside.wait(10)
        assert gj.exp(gj.constant(0.0)).numpy() == 1  # eager here, while the other one traces
        assert gj.function(lambda x: x * 2.0, fallback="error")(gj.constant(2.0)).numpy() == 4
        go_on.set()
        assert future.result(10).numpy() == 2


def test_errors_leave_no_lock_held() -> None:
    v = gj.Variable(1)
    step = gj.function(lambda x: v.assign(v // x), fallback="error")

    def work(number: int) -> None:
        for n in range(20):
            divisor = gj.constant((n + number) % 2)
            try:
                step(divisor)
            except gj.errors.InvalidArgumentError:
                assert divisor.numpy() == 0

    at_once(work)
    assert v.numpy() == 1


def test_many_first_calls_of_many_signatures_at_once() -> None:
    """Each signature is traced once, whichever thread is first, and errors are everyone's."""
    traced: list[Any] = []

    note = unseen(lambda x: traced.append((x.shape, x.dtype)))

    def body(x: Any, n: Any) -> Any:
        note(x)
        return x.sum(0) + x[n]

    fn = gj.function(body, fallback="error")
    arrays = [np.full((k, 3), k, d) for k in (1, 2, 3) for d in (np.float32, np.float64)]
    bad = np.zeros((2, 3), np.int8)

    def work(number: int) -> None:
        for k in range(len(arrays)):
            x = arrays[(k + number) % len(arrays)]
            np.testing.assert_array_equal(fn(x, np.array(0)), x.sum(0) + x[0])
            with pytest.raises(IndexError):
                fn(x, np.array(7))
            with pytest.raises(IndexError):
                fn(bad, 5)

    at_once(work, 2 * THREADS)
    compiled = [t for t in traced if t[1] != np.int8]
    assert len(compiled) == len(set(compiled)) == len(arrays)
    assert len(fn.specializations) == len(arrays)


def test_a_first_call_that_fails_lets_the_next_try() -> None:
    turn = iter([True])

    first = unseen(lambda: next(turn, False))

    def body(x: Any) -> Any:
        if first():
            raise ZeroDivisionError("only once")
        return x + 1

    fn = gj.function(body, fallback="error")
    failed = []

    def work(_: int) -> None:
        try:
            np.testing.assert_array_equal(fn(np.ones(3)), 2)
        except ZeroDivisionError:
            failed.append(1)

    at_once(work)
    assert failed == [1]
    assert fn.trace_count == 2


def test_long_kernels_let_other_threads_run() -> None:
    """While one thread computes for long, another gets on."""
    fn = gj.function(lambda x: gj.exp(gj.sin(x)) * gj.tanh(x), fallback="error")
    x = gj.constant(np.linspace(0, 1, 2_000_000))
    fn(x)
    inside = threading.Event()
    steps: list[int] = []
    over = threading.Event()

    def count() -> None:
        inside.wait(20)
        while not over.is_set():
            steps.append(1)
            time.sleep(0.0002)  # gives way in each step

    thread = threading.Thread(target=count)
    thread.start()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # a thread gives way only where it lets go of the GIL itself
    try:
        inside.set()
        for _ in range(200):  # on a busy machine the thread may be late
            fn(x)
            if counted := len(steps):
                break
    finally:
        over.set()
        sys.setswitchinterval(before)
        thread.join()
    assert counted > 0


def test_steps_on_one_variable_from_many_functions() -> None:
    v = gj.Variable(np.ones(1000))
    steps = [
        gj.function(lambda: v.assign(v * 2.0), fallback="error"),
        gj.function(lambda: v.assign(v / 2.0), fallback="error"),
        gj.function(lambda: v.assign_add(v - v), fallback="error"),
    ]
    at_once(lambda number: [steps[(number + k) % 3]() for k in range(60)])
    values = v.numpy()
    assert len(np.unique(values)) == 1
    np.testing.assert_array_equal(np.log2(values), np.round(np.log2(values)))
    counts = [
        sum((n + k) % 3 == which for n in range(THREADS) for k in range(60)) for which in (0, 1)
    ]
    np.testing.assert_array_equal(values, 2.0 ** (counts[0] - counts[1]))


def test_routines_warn_of_nothing_whatever_the_thread_says() -> None:
    """np.linalg.det overflows, in many threads at once, some of which would be warned. Where
    errors are to be raised, nothing compiled is run.
    """
    det = gj.function(lambda x: np.linalg.det(x), fallback="error")
    large = np.array([[1e300, 1e300], [1e300, -1e300]])

    def work(number: int) -> Any:
        with np.errstate(all="ignore" if number % 2 else "warn"):
            before = np.geterr()
            found = []
            for _ in range(200):
                found.append(det(large))
                with np.errstate(over="raise"), pytest.raises(TracingError):
                    det(large)
            assert np.geterr() == before
            return found

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = at_once(work)
    assert all(value == -np.inf and type(value) is np.float64 for r in results for value in r)


def test_results_of_routines_of_which_some_are_not_wanted() -> None:
    x = np.random.default_rng(0).normal(size=(4, 4))
    for function in (
        lambda x: np.linalg.svd(x)[1],
        lambda x: np.linalg.svd(x)[2] @ x,
        lambda x: np.linalg.eigh(x + x.T)[1],
        lambda x: np.linalg.slogdet(x)[1],
        lambda x: np.linalg.qr(x)[1],
        lambda x: (np.linalg.det(x), np.linalg.eigh(x @ x.T)[0] * 2),
    ):
        compiled = gj.function(function, fallback="error")
        got, want = compiled(x), function(x)
        pairs = zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]
        for one, other in pairs:
            assert type(one) is type(other)
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
