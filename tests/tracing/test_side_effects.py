"""What a trace must not leave behind or freeze: state, random numbers, types, caught errors."""

import dataclasses
import functools
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from unseen import unseen

import graphjit as gj
from graphjit.tracing import side_effects
from graphjit.tracing.leaks import holds_traced

pytestmark = pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
X = np.linspace(0.5, 2, 6)
total = None


class Model:
    def __init__(self):
        self.w = np.ones(6)
        self.history = []

    def step(self, x):
        self.w = self.w - 0.1 * (self.w * x - 1) * x
        self.history.append(self.w.sum())
        return (self.w**2).sum()


def test_state_on_an_object():
    plain, model = Model(), Model()
    step = gj.function(Model.step)
    for _ in range(3):
        assert step(model, X) == plain.step(X)
    np.testing.assert_array_equal(model.w, plain.w)
    assert model.history == plain.history


def test_state_in_a_global_and_a_closure():
    seen, last = [], None

    def fn(x):
        global total
        nonlocal last
        total = last = x.sum()
        seen.append(x.mean())
        return x * 2

    f = gj.function(fn)
    for _ in range(2):
        np.testing.assert_array_equal(f(X), X * 2)
    assert seen == [X.mean()] * 2 and total == X.sum() and last == X.sum()


@pytest.mark.parametrize("kind", ["generator", "legacy", "state"])
def test_random_numbers_are_drawn_at_each_call(kind):
    def numbers():
        if kind == "generator":
            generator = np.random.default_rng(3)
            return lambda x: x + generator.normal(size=6)
        if kind == "state":
            state = np.random.RandomState(3)
            return lambda x: x + state.rand(6)
        np.random.seed(3)
        return lambda x: x + np.random.rand(6)

    plain = numbers()
    expected = [plain(X) for _ in range(3)]
    f = gj.function(numbers())
    for values in expected:
        np.testing.assert_array_equal(f(X), values)


def test_types_that_python_code_asks_for():
    f = gj.function(lambda x: x + 1 if isinstance(x, np.ndarray) else x - 1)
    np.testing.assert_array_equal(f(X), X + 1)
    g = gj.function(lambda s, x: x * (s if isinstance(s, (int, float)) else 0))
    for s in (2, 3.0, 4):
        np.testing.assert_array_equal(g(s, X), X * s)


def test_an_error_of_tracing_that_the_function_catches():
    def fn(s, x):
        try:
            value = float(s)
        except Exception:
            value = -1.0
        return x * value

    f = gj.function(fn)
    for s in (2.0, 3.0):
        np.testing.assert_array_equal(f(s, X), X * s)
    for array in (X, X + 1):
        np.testing.assert_array_equal(f(array[0:1].sum(), X), X * array[0])


def test_text_of_a_number():
    f = gj.function(lambda x, n: x + len(str(n)))
    for n in (3, 4, 500):
        np.testing.assert_array_equal(f(X, n), X + len(str(n)))
    assert gj.function(lambda x: f"{x.sum():.3f}")(X) == f"{X.sum():.3f}"


def test_arrays_of_other_kinds_are_read_at_each_call(tmp_path):
    array = np.memmap(tmp_path / "a", np.float64, "w+", shape=(3,))
    f = gj.function(lambda a: np.asarray(a) * 2)
    for value in (1.0, 2.0):
        array[:] = value
        np.testing.assert_array_equal(f(array), np.full(3, 2 * value))


def test_calls_that_wait_for_a_trace_get_their_own_branch():
    def fn(x, s):
        time.sleep(0.1)
        return x * s if s > 1.5 else x + s

    f = gj.function(fn)
    found = {}
    ask = [
        threading.Thread(target=lambda s=s: found.update({s: f(X, s)})) for s in (2.0, 3.0, 1.0)
    ]
    for thread in ask:
        thread.start()
    for thread in ask:
        thread.join()
    for s, values in found.items():
        np.testing.assert_array_equal(values, X * s if s > 1.5 else X + s)


def test_a_singular_matrix_is_numpys_error_too():
    with pytest.raises(np.linalg.LinAlgError):
        gj.function(np.linalg.inv)(np.zeros((2, 2)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_forked_while_the_pool_is_locked_goes_on():
    from graphjit.core import memory_pool

    with memory_pool.pool._lock:
        child = os.fork()
        if child == 0:
            memory_pool.empty((1 << 20,), np.dtype(np.float64))
            os._exit(0)
    for _ in range(100):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.05)
    assert done and os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize("draw", ["rand(312)", "seed(1); np.random.rand(3)", "normal(size=3)"])
def test_random_numbers_are_found_where_the_trace_loads_the_generators(draw):
    statements, _, value = f"np.random.{draw}".rpartition("; ")
    script = f"""
import sys, warnings
import numpy as np, graphjit as gj
warnings.simplefilter("ignore")
f = gj.function(lambda x: x * 2)
f(np.zeros(2))
assert "numpy.random" not in sys.modules

@gj.function
def g(x):
    {statements or "pass"}
    return x + np.sum({value})

@gj.function
def h(x):
    return x + (2 if np.random.Generator else 3)

draws = [float(g(np.zeros(1))[0]) for _ in range(3)]
np.random.seed(7)
draws = [float(g(np.zeros(1))[0]) for _ in range(3)]
np.random.seed(7)
plain = [float(g.python_function(np.zeros(1))[0]) for _ in range(3)]
assert np.allclose(draws, plain, rtol=1e-12), (draws, plain)
h(np.zeros(1))
print(*(bool(specialization.reason) for f in (g, h) for specialization in f.specializations))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["False", "False"]


PLACES = {
    "an iterator": "k = iter(range(9))\ndef f(x): return x * next(k)",
    "a generator": "k = (n for n in range(9))\ndef f(x): return x * next(k)",
    "a count": "import itertools\nk = itertools.count()\ndef f(x): return x * next(k)",
    "a context": (
        "import contextvars\nk = contextvars.ContextVar('k', default=0)\n"
        "def f(x):\n    k.set(k.get() + 1)\n    return x * k.get()"
    ),
    "a thread's own": (
        "import threading\nk = threading.local()\nk.n = 0\n"
        "def f(x):\n    k.n += 1\n    return x * k.n"
    ),
    "a namespace": (
        "import types\nk = types.SimpleNamespace(n=[0])\n"
        "def f(x):\n    k.n[0] += 1\n    return x * k.n[0]"
    ),
    "a subclass of dict": (
        "class D(dict): pass\nk = D(n=0)\n"
        "def f(x):\n    k['n'] += 1\n    k.m = x\n    return x * k['n']"
    ),
    "a UserDict": (
        "import collections\nk = collections.UserDict(n=0)\n"
        "def f(x):\n    k['n'] += 1\n    return x * k['n']"
    ),
    "a Counter": (
        "import collections\nk = collections.Counter()\n"
        "def f(x):\n    k['n'] += 1\n    return x * k['n']"
    ),
    "a bytearray": "k = bytearray(1)\ndef f(x):\n    k[0] += 1\n    return x * k[0]",
    "an array": (
        "import array\nk = array.array('d', [0])\n"
        "def f(x):\n    k[0] += 1\n    return x * k[0]"
    ),
    "an append": (
        "items = []\nk = items.append\ndef f(x):\n    k(1)\n    return x * len(items)"
    ),
    "a partial": (
        "import functools\ndef g(d, x):\n    d['n'] += 1\n    return x * d['n']\n"
        "k = functools.partial(g, {'n': 0})\ndef f(x): return k(x)"
    ),
    "a ufunc": (
        "s = [0]\ndef g(a):\n    s[0] += 1\n    return s[0]\n"
        "k = np.frompyfunc(g, 1, 1)\ndef f(x): return x * float(k(0))"
    ),
    "a descriptor": (
        "class P:\n    n = 0\n    def __get__(self, o, t):\n        self.n += 1\n"
        "        return self.n\nclass C:\n    p = P()\nk = C()\ndef f(x): return x * k.p"
    ),
    "a class method": (
        "class C:\n    n = 0\n    @classmethod\n    def go(cls):\n        cls.n += 1\n"
        "        return cls.n\nk = C()\ndef f(x): return x * k.go()"
    ),
    "an operator": (
        "class C:\n    n = 0\n    def __mul__(self, o):\n        self.n += 1\n"
        "        return o * self.n\nk = C()\ndef f(x): return k * (x + 0).copy().sum()\n"
        "def f(x): return (k * 2.0) * x"
    ),
    "a base's slots": (
        "class B:\n    __slots__ = ('n',)\nclass C(B):\n    __slots__ = ()\nk = C()\nk.n = 0\n"
        "def f(x):\n    k.n += 1\n    return x * k.n"
    ),
    "far below": (
        "k = [0]\nfor _ in range(30):\n    k = [k]\n"
        "def f(x):\n    d = k\n    while isinstance(d[0], list):\n        d = d[0]\n"
        "    d[0] += 1\n    return x * d[0]"
    ),
    "a weak reference": (
        "import weakref\nclass C: n = 0\nheld = C()\nk = weakref.ref(held)\n"
        "def f(x):\n    k().n += 1\n    return x * k().n"
    ),
    "an array of objects": (
        "k = np.array([[0]], object)\nk[0, 0] = [0]\n"
        "def f(x):\n    k[0, 0][0] += 1\n    return x * k[0, 0][0]"
    ),
    "a view": (
        "whole = np.zeros(3)\nk = whole[1:]\n"
        "def f(x):\n    k[...] += 1\n    return x * whole[1]"
    ),
    "a name made by hand": (
        "class C: pass\nk = C()\nk.a1 = [0]\n"
        "def f(x):\n    getattr(k, 'a' + str(1))[0] += 1\n    return x * k.__dict__['a1'][0]"
    ),
    "a function inside": (
        "n = 0\ndef f(x):\n    def g():\n        global n\n        n += 1\n        return n\n"
        "    return x * g()"
    ),
    "a dataclass": (
        "import dataclasses\n@dataclasses.dataclass\nclass C:\n    n: int = 0\nk = C()\n"
        "def f(x):\n    k.n += 1\n    return x * k.n"
    ),
    "a cached property": (
        "import functools\nseen = []\nclass C:\n    @functools.cached_property\n"
        "    def p(self):\n        seen.append(1)\n        return len(seen)\nk = C()\n"
        "def f(x): return x * k.p + len(seen)"
    ),
    "a wrapper": (
        "import functools\nn = [0]\ndef w(g):\n    @functools.wraps(g)\n    def inner(x):\n"
        "        n[0] += 1\n        return g(x) * n[0]\n    return inner\n"
        "@w\ndef k(x): return x + 1\ndef f(x): return k(x)"
    ),
    "a context manager": (
        "import contextlib\nn = [0]\n@contextlib.contextmanager\ndef k():\n    n[0] += 1\n"
        "    yield n[0]\ndef f(x):\n    with k() as m:\n        return x * m"
    ),
    "a map": (
        "n = [0]\ndef g(v):\n    n[0] += 1\n    return v * n[0]\n"
        "def f(x): return sum(map(g, [x, x]))"
    ),
    "another generator": (
        "import random\nk = random.Random(3)\ndef g(): return k.random()\n"
        "def f(x): return x * g()"
    ),
    "bits": (
        "k = np.random.PCG64(3)\ndef f(x): return x * (k.random_raw() % 7)"
    ),
}  # fmt: skip


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize("name", PLACES)
def test_state_in_any_place(name, failing):
    text = PLACES[name]
    if failing:  # in the last line, after all that the function does
        text += "\nf1 = f\ndef f(x):\n    y = f1(x)\n    return y if y.sum() >= 0 else -y"
    spaces = [{"np": np, "__name__": "__main__"} for _ in range(2)]
    for space in spaces:
        exec(text, space)
    plain, f = spaces[0]["f"], gj.function(spaces[1]["f"])
    for k in range(4):
        np.testing.assert_array_equal(f(X + k), plain(X + k))
    found = [{k: v for k, v in s.items() if type(v) in (int, list, dict)} for s in spaces]
    assert repr(found[0]) == repr(found[1])


def test_attributes_of_a_dataclass_that_are_no_fields():
    @dataclasses.dataclass
    class Model:
        n: int = 0

        def step(self, x):
            self.last = x * 2
            return x + self.n

    plain, model = Model(), Model()
    f = gj.function(Model.step)
    for k in range(3):
        np.testing.assert_array_equal(f(model, X + k), plain.step(X + k))
        np.testing.assert_array_equal(model.last, plain.last)


def test_what_is_made_once_is_compiled_then():
    class Model:
        w = None

        def step(self, x):
            if self.w is None:
                self.w = np.arange(6.0)
            return x * self.w

    model = Model()
    f = gj.function(Model.step)
    for k in range(3):
        np.testing.assert_array_equal(f(model, X + k), (X + k) * np.arange(6.0))
    assert type(model.w) is np.ndarray
    assert [specialization.reason for specialization in f.specializations] == [""]


@pytest.mark.parametrize(
    "error", [ValueError, KeyboardInterrupt, SystemExit, gj.errors.ShapeError]
)
@pytest.mark.parametrize("fallback", ["eager", "error"])
def test_an_exception_of_the_functions_own(error, fallback):
    done, w = [], [0]

    def fill():
        w[0] += 1

    def fn(x):
        done.append(x)
        fill()
        raise error("stop")

    f = gj.function(fn, fallback=fallback)
    for k in range(1, 4):
        with pytest.raises(error):
            f(X)
        assert len(done) == k and w[0] == len(done)
        assert all(x is X for x in done)


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("fallback", ["eager", "error"])
def test_what_was_done_before_an_exception_stays_done(error, fallback):
    calls, w, runs = [], [0, 0, 0], []

    @functools.lru_cache
    def cached(n):
        runs.append(n)
        return n

    def fill():
        w[1] = len(calls)

    def fn(x, d):
        calls.append(len(calls))
        fill()
        if fallback == "eager":
            cached(len(calls))
        np.random.rand()
        d["seen"] = len(calls)
        raise error("stop")

    f = gj.function(fn, fallback=fallback)
    for k in range(1, 5):
        given = {}
        np.random.seed(k)
        with pytest.raises(error):
            f(X, given)
        drawn = np.random.rand()
        np.random.seed(k)
        np.random.rand()
        assert drawn == np.random.rand()
        assert calls == list(range(k)) and w == [0, k, 0]
        if error is KeyError:
            assert given == {"seen": k}


@pytest.mark.parametrize("size", [None, 8])
def test_a_cache_keeps_what_it_held(size):
    runs = []

    @functools.lru_cache(size)
    def cached(n):
        runs.append(n)
        return [n]

    known = [cached(n) for n in range(3)]

    def fn(x, k):
        return x * len(cached(k)), cached(k)

    f = gj.function(fn)
    for _ in range(3):
        assert f(X, 7)[1] is cached(7)
    assert [cached(n) for n in range(3)] == known
    assert all(cached(n) is item for n, item in enumerate(known))
    assert runs[:3] == [0, 1, 2] and set(runs[3:]) == {7} and len(runs) <= 5
    for n in range(20):
        assert cached(n) == [n]


def test_traced_values_in_a_bounded_cache_are_found():
    class Key:
        pass

    @functools.lru_cache(4)
    def cached(key):
        return key.x * 2

    key = Key()

    def fn(x):
        key.x = x
        return cached(key)

    f = gj.function(fn)
    np.testing.assert_array_equal(f(X), X * 2)
    np.testing.assert_array_equal(f(X + 1), X * 2)
    assert type(cached(key)) is np.ndarray


def test_changing_what_was_there_is_never_settled():
    buffer, settings = np.ones(3), {"mode": 1}

    def fn(x):
        buffer[...] = 0
        settings["mode"] = 2
        return x * 2

    f = gj.function(fn)
    for size in (4, 4, 5, 6):
        buffer[...], settings["mode"] = 1, 1
        f(np.ones(size))
        assert buffer.tolist() == [0, 0, 0] and settings == {"mode": 2}


def test_more_than_can_be_looked_through_is_not_traced(monkeypatch):
    items = [[k] for k in range(200)]

    def fn(x):
        items[150][0] += 1
        return x * items[150][0]

    monkeypatch.setattr(side_effects, "MAX_OBJECTS", 100)
    f = gj.function(fn)
    for k in range(1, 4):
        np.testing.assert_array_equal(f(X), X * (150 + k))
    assert "more than 100 objects" in f.specializations[0].reason


def test_large_arrays_are_written_without_a_copy(monkeypatch):
    monkeypatch.setattr(side_effects, "MAX_BYTES", 10)
    w, n = np.ones(6), np.zeros(6)

    def writes(x):
        n[:] = n + 1
        return x * n

    for fn in (lambda x: x * w, writes):
        f = gj.function(fn, fallback="error")
        for _ in range(3):
            f(X)
    assert n[0] == 3


def _in_state(x, state, given, error):
    state["n"] = len(state)
    state["x"] = x * 2
    raise error("no")


def _in_argument(x, state, given, error):
    state["n"] = len(state)
    given.append(x)
    raise error("no")


def _in_error(x, state, given, error):
    state["n"] = len(state)
    raise error("no", x)


def _in_attribute(x, state, given, error):
    failed = error("no")
    failed.x = [x]
    raise failed


def _in_cause(x, state, given, error):
    raise error("no") from ValueError(x)


def _in_context(x, state, given, error):
    try:
        raise ValueError(x)
    except ValueError:
        raise error("no")  # noqa: B904


@pytest.mark.parametrize("fallback", ["eager", "error"])
@pytest.mark.parametrize(
    "body", [_in_state, _in_argument, _in_error, _in_attribute, _in_cause, _in_context]
)
@pytest.mark.parametrize(
    "error",
    [ValueError, KeyboardInterrupt, GeneratorExit, SystemExit, gj.errors.InvalidArgumentError],
)
def test_what_a_function_that_raises_leaves(error, body, fallback):
    """No traced value, in no state and no error, and all that undecorated it leaves."""

    def left(call, x):
        state, given, chain = {}, [], []
        with pytest.raises(error) as caught:
            call(x, state, given)
        failed = caught.value
        while failed is not None:
            chain.append((type(failed), failed.args, vars(failed)))
            failed = failed.__cause__ or failed.__context__
        return state, given, chain

    def plain(x, state, given):
        return body(x, state, given, error)

    for x in (np.arange(3.0), gj.constant([0.0, 1, 2])):
        found = left(gj.function(plain, fallback=fallback), x)
        assert not holds_traced(found, depth=8)
        assert repr(found) == repr(left(plain, x))


@pytest.mark.parametrize("fallback", ["eager", "error"])
def test_an_interrupt_from_outside_ends_the_call_at_once(fallback):
    """With all that it did left or nothing, where traced values are in it."""
    runs, kept = [], []
    interrupt = unseen(lambda: signal.raise_signal(signal.SIGINT))

    def interrupted(x, keeps):
        runs.append(1)
        if keeps:
            kept.append(x)
        interrupt()

    # where the tests run in the background, the signal may be ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for keeps in (False, True):
            runs.clear()
            with pytest.raises(KeyboardInterrupt):
                gj.function(interrupted, fallback=fallback)(np.arange(3.0), keeps)
            assert (runs, kept) == ([] if keeps else [1], [])
    finally:
        signal.signal(signal.SIGINT, before)
