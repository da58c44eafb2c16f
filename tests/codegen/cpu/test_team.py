"""The thread team: the same bits at any number of threads, under forks, calls and errors."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import graphjit as gj

SIZES = [(300_001,), (1 << 20,), (4097, 129), (3, 700_001), (64, 5, 4099)]


@pytest.fixture(autouse=True)
def threads_as_before():
    before = gj.config.threads
    yield
    gj.config.threads = before


def chain(x):
    return np.exp(x) * x + 1, np.tanh(x)


def rows(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True), np.sum(x), np.mean(x, axis=0)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("function", [chain, rows])
def test_same_bits_at_any_number_of_threads(shape, function):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    compiled = gj.function(function, fallback="error")
    found = []
    for threads in (1, 2, 3, 8):
        gj.config.threads = threads
        found.append(compiled(x))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    for a, b in zip(found[0], function(x.astype(np.float64)), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)


def test_results_too_large_for_the_cache_are_whole():
    x = np.arange(10_000_019, dtype=np.float32)
    f = gj.function(lambda x: (x * 2 + 1, x[3:] - 1, x.astype(np.float64)), fallback="error")
    for _ in range(2):
        twice, shifted, wide = f(x)
        assert np.array_equal(twice, x * 2 + 1)
        assert np.array_equal(shifted, x[3:] - 1)
        assert np.array_equal(wide, x.astype(np.float64))


def test_the_first_bad_index_is_reported():
    gather = gj.function(lambda x, i: gj.gather(x, i), fallback="error")
    x = gj.constant(np.zeros(10, np.float32))
    index = np.zeros(2_000_000, np.int64)
    index[700_003] = 77
    index[1_500_000] = 88
    for threads in (1, 2, 8):
        gj.config.threads = threads
        for _ in range(20):
            with pytest.raises(gj.errors.IndexOutOfRangeError, match="index 77 "):
                gather(x, gj.constant(index))
        index[700_003] = 0
        assert gather(x, gj.constant(np.zeros_like(index))).shape == index.shape
        index[700_003] = 77


def test_calls_from_many_threads():
    gj.config.threads = 3
    f = gj.function(lambda x, s: np.sqrt(x * x + s).sum(), fallback="error")
    x = np.linspace(0, 1, 500_000)
    expected = [f(x, float(s)) for s in range(8)]
    found = [None] * 8

    def work(number):
        for _ in range(20):
            found[number] = f(x, float(number))

    workers = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == expected


def _child(queue, x):
    f = gj.function(lambda x: x * 2 + 1)
    queue.put(float(f(x).sum()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_makes_its_own_workers():
    gj.config.threads = 2
    x = np.ones(1 << 20)
    f = gj.function(lambda x: x * 2 + 1)
    assert f(x).sum() == 3 * x.size
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    children = [context.Process(target=_child, args=(queue, x)) for _ in range(3)]
    for child in children:
        child.start()
    assert [queue.get(timeout=60) for _ in children] == [3.0 * x.size] * 3
    for child in children:
        child.join(timeout=60)
        assert child.exitcode == 0
    assert f(x).sum() == 3 * x.size


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=120,
        check=False,
    )


def test_the_interpreter_ends_while_workers_spin():
    code = (
        "import numpy as np, graphjit as gj; gj.config.threads = 4\n"
        "f = gj.function(lambda x: np.exp(x)); f(np.ones(1 << 20))"
    )
    for _ in range(5):
        result = run_python(code)
        assert result.returncode == 0, result.stderr


def test_number_of_threads_from_the_environment():
    code = "import graphjit as gj; print(gj.config.threads)"
    assert run_python(code, GRAPHJIT_NUM_THREADS="3").stdout.strip() == "3"
    few = run_python(code, GRAPHJIT_NUM_THREADS="", OMP_NUM_THREADS="1").stdout.strip()
    assert few == "1"
    assert run_python(code, GRAPHJIT_NUM_THREADS="5", OMP_NUM_THREADS="1").stdout.strip() == "5"


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", True])
def test_a_bad_number_of_threads_is_refused(count):
    with pytest.raises(gj.errors.InvalidArgumentError, match="threads"):
        gj.config.threads = count


class Stop(Exception):
    pass


def raise_stop(*_):
    raise Stop


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_signal_stops_a_long_kernel(threads):
    gj.config.threads = threads

    def slow(x, y):
        return np.min(np.sin(x[:, None] + y) ** 3.5, axis=1)

    f = gj.function(slow, fallback="error")
    x, y = np.linspace(0, 1, 4000), np.linspace(0, 1, 200_000)
    f.specialization(x, y)
    before = signal.signal(signal.SIGALRM, raise_stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        started = time.monotonic()
        with pytest.raises(Stop):
            f(x, y)
        elapsed = time.monotonic() - started
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert elapsed < 5  # the whole takes much longer
    np.testing.assert_allclose(f(x[:9], y[:50]), slow(x[:9], y[:50]))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_a_signal_that_raises_nothing_changes_nothing():
    gj.config.threads = 2
    seen = []
    f = gj.function(lambda x, y: np.min(np.sin(x[:, None] + y), axis=1), fallback="error")
    x, y = np.linspace(0, 1, 2000), np.linspace(0, 1, 50_000)
    expected, _ = f(x, y), f(x[:3], y[:5])
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(f(x[:3], y[:5])))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.06, 0.06)
        for _ in range(5):
            np.testing.assert_array_equal(f(x, y), expected)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert seen
