"""Calls that machine code enters: what it takes, what it leaves to Python, what it holds.

Where it matters each test runs both ways, natively and through Python.
"""

from __future__ import annotations

import collections
import contextvars
import copy
import ctypes
import dataclasses
import gc
import inspect
import os
import pickle
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from unseen import unseen

import graphjit as gj
from graphjit.core import memory_pool, object_layout
from graphjit.core.errors import IndexOutOfRangeError, OutOfMemoryError
from graphjit.jit import native_entry

X = np.arange(4, dtype=np.float32)
NATIVE = object_layout.fits() and os.environ.get("GRAPHJIT_NATIVE_AFTER") != "never"
native_only = pytest.mark.skipif(not NATIVE, reason="calls go through Python here")


@pytest.fixture(params=["native", "python"])
def way(request: Any, monkeypatch: Any) -> Iterator[str]:
    """Both ways into a function."""
    if request.param == "native" and not NATIVE:
        pytest.skip("calls go through Python here")
    after = 0 if request.param == "native" else None
    monkeypatch.setattr(gj.config, "native_after", after)
    yield request.param


@pytest.fixture
def natively(monkeypatch: Any) -> None:
    """Machine code from the first call on."""
    monkeypatch.setattr(gj.config, "native_after", 0)


def goes_through_python(call: Callable[[], Any]) -> bool:
    """Whether a call runs any of graphjit's Python code."""
    seen: list[str] = []

    def note(frame: Any, event: str, _: Any) -> None:
        if event == "call":
            seen.append(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return any("graphjit" in name.split(os.sep) for name in seen)


def same(a: Any, b: Any) -> None:
    """Equal in type, structure and value."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        a, b = list(a.values()), list(b.values())
    if dataclasses.is_dataclass(a):
        a, b = vars(a), vars(b)
        same(a, b)
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for left, right in zip(a, b, strict=True):
            same(left, right)
    elif isinstance(a, gj.Tensor):
        assert a.type == b.type
        same(a.numpy(), b.numpy())
    else:
        assert getattr(a, "dtype", None) == getattr(b, "dtype", None)
        np.testing.assert_array_equal(a, b)


class Pair(NamedTuple):
    a: Any
    b: Any


@dataclasses.dataclass
class Model:
    w: Any
    b: Any


def t(value: Any) -> Any:
    return gj.constant(value)


SWAPPED = X.astype(X.dtype.newbyteorder())
CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "one array": (lambda x: x * 2 + 1, (X,)),
    "no dims": (lambda x: x * 2, (np.array(3.0),)),
    "empty": (lambda x: x + 1, (np.ones((0, 3)),)),
    "many dims": (lambda x: x + 1, (np.ones((2, 1, 3, 1, 2)),)),
    "bool": (lambda x: ~x, (np.array([True, False]),)),
    "integers": (lambda x: x + 1, (np.arange(5, dtype=np.int8),)),
    "complex array": (lambda x: x * 2, (X.astype(np.complex64),)),
    "half": (lambda x: x * 2, (X.astype(np.float16),)),
    "long long": (lambda x: x + 1, (np.arange(3, dtype=np.longlong),)),
    "three in, two out": (lambda x, y, z: (x * y + z, x - z), (X, X + 1, X + 2)),
    "float": (lambda x, a: x * a, (X, 2.5)),
    "complex": (lambda x, a: x * a, (X, 2.5 - 1j)),
    "minus zero": (lambda a, b: a * b, (X, -0.0)),
    "only scalars": (lambda a, b: a * b + 1, (2.5, 3.0)),
    "NumPy scalar": (lambda x, a: x * a, (X, np.float64(2.5))),
    "NumPy scalars": (lambda a, b: a * b, (np.float32(2.5), np.int64(3))),
    "NumPy bool": (lambda x, a: np.where(a, x, 0), (X, np.True_)),
    "NumPy complex": (lambda x, a: x * a, (X, np.complex128(1 + 2j))),
    "static": (lambda x, s, b, n: x + len(s) if b else n, (X, "text", True, None)),
    "static int": (lambda x, n: x + n, (X, 70_000)),
    "static type": (lambda x, k: x.astype(k), (X, np.float64)),
    "tensor": (lambda x: x * 2, (t(X),)),
    "tensor and array": (lambda x, y: x * y, (t(X), X)),
    "tensor without dims": (lambda x: x + 1, (t(3.0),)),
    "tensors out": (lambda x: (x, [x * 2]), (t(X),)),
    "scalar out": (lambda x: x.sum(), (X,)),
    "scalars out": (lambda x: [x.sum(), x.max(), x.argmax(), x[0] > 1], (X,)),
    "Python scalars out": (lambda x, a: (a * 2, x), (X, 1.5)),
    "Python complex out": (lambda x, a: (a * 2, x), (X, 1.5j)),
    "Python bool out": (lambda x, a: (x, a), (X, True)),
    "static out": (lambda x: (x + 1, None, "text", 5), (X,)),
    "nothing out": (lambda x: (), (X,)),
    "None out": (lambda x: None, (X,)),
    "tuple in": (lambda p: p[0] * p[1], ((X, X + 1),)),
    "list in": (lambda p: p[0] * p[1][0], ([X, [X + 1]],)),
    "dict in": (lambda p: p["a"] * p["b"]["c"], ({"a": X, "b": {"c": X}},)),
    "named tuple in": (lambda p: p.a * p.b, (Pair(X, X + 1),)),
    "scalars in a list": (lambda p, x: x * p[0] + p[1], ([2.5, 3], X)),
    "empty containers": (lambda x, *rest: x, (X, [], (), {})),
    "dict out": (lambda x: {"a": x * 2, "b": [x, (x + 1, {})]}, (X,)),
    "named tuple out": (lambda x: Pair(x * 2, [x]), (X,)),
    "dataclass out": (lambda x: Model(x * 2, None), (X,)),
    "ordered dict out": (lambda x: collections.OrderedDict(b=x, a=x + 1), (X,)),
    "default dict out": (lambda x: collections.defaultdict(list, a=x + 1), (X,)),
    "same twice": (lambda x: (x, x), (X,)),
    "read-only": (lambda x: x * 2, (np.frombuffer(bytes(16), np.float32),)),
    "checked": (lambda x, i: x[i], (X, np.array([1, 3, -1]))),
    "small arena": (lambda x: np.exp(x - x.max(0)).sum(1), (np.ones((8, 8)),)),
    "large arena": (lambda x: np.exp(x - x.max(0)).sum(1), (np.ones((90, 90)),)),
}


@pytest.mark.parametrize("name", CASES)
def test_both_ways_agree(name: str, monkeypatch: Any) -> None:
    body, args = CASES[name]
    results = []
    for after in (None, 0):
        monkeypatch.setattr(gj.config, "native_after", after)
        fn = gj.function(body, fallback="error")
        first = fn(*args)
        second = fn(*args)
        same(first, second)
        results.append(second)
        if after == 0 and NATIVE and "dataclass" not in name and "default" not in name:
            assert goes_through_python(lambda fn=fn: fn(*args)) == name.startswith("ordered")
    same(*results)


def layouts() -> dict[str, Any]:
    base = np.zeros((8, 6), np.float32) + np.arange(6, dtype=np.float32)
    raw = np.zeros(4 * 24 + 1, np.uint8)
    misaligned = raw[1:].view(np.float32).reshape(4, 6)
    misaligned[:] = 3
    frozen = base[:4].copy()
    frozen.flags.writeable = False
    return {
        "plain": base[:4].copy(),
        "view": base[2:6],
        "strided": base[::2],
        "negative": base[3::-1],
        "Fortran": np.asfortranarray(base[:4]),
        "transposed": np.ones((6, 4), np.float32).T,
        "misaligned": misaligned,
        "swapped": base[:4].astype(">f4"),
        "read-only": frozen,
        "broadcast": np.broadcast_to(base[0], (4, 6)),
        "unpickled": pickle.loads(pickle.dumps(base[:4])),
        "matrix": np.matrix(base[:4]),
        "subclass": base[:4].view(type("Sub", (np.ndarray,), {})),
        "masked": np.ma.masked_array(base[:4]),
        "float64": base[:4].astype(np.float64),
        "int32": base[:4].astype(np.int32),
        "other shape": base[:3],
        "fewer dims": base[0],
    }


LAYOUTS = (
    "plain", "view", "strided", "negative", "Fortran", "transposed", "misaligned", "swapped",
    "read-only", "broadcast", "unpickled", "matrix", "subclass", "masked", "float64", "int32",
    "other shape", "fewer dims",
)  # fmt: skip


def plus(x: Any) -> Any:
    return x + 1


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("name", LAYOUTS)
def test_arrays_of_every_make(name: str, way: str) -> None:
    x = layouts()[name]
    fn = gj.function(plus)
    fn(layouts()["plain"])
    for _ in range(3):
        result = fn(x)
        np.testing.assert_array_equal(result, x + 1)
        assert not np.shares_memory(result, x)
    straight = name not in ("swapped", "matrix", "subclass", "masked")
    if way == "native":
        assert goes_through_python(lambda: fn(x)) != straight
    same(fn(layouts()["plain"]), layouts()["plain"] + 1)


def test_arrays_out_of_order_everywhere(way: str) -> None:
    wide = np.arange(24.0).reshape(4, 6)
    v = gj.Variable(np.ones((3, 4)))
    fn = gj.function(lambda x, d, p: x * d["a"] + p[0] * wide[:, ::2].T - v)
    args = wide[:, ::2].T, {"a": wide[:, 1::2].T}, (wide[:, 3:].T,)
    for _ in range(3):
        same(fn(*args), args[0] * args[1]["a"] + args[2][0] * wide[:, ::2].T - 1)
    view = wide[:, 3:].T
    fn = gj.function(lambda x: x * view)
    for _ in range(3):
        same(fn(args[0]), args[0] * view)
    if way == "native":
        assert not goes_through_python(lambda: fn(args[0]))


def test_arguments_that_overlap(way: str) -> None:
    fn = gj.function(lambda x, y: (x + y, x - y))
    base = np.arange(10.0)
    for _ in range(3):
        same(fn(base[:5], base[1:6]), (base[:5] + base[1:6], base[:5] - base[1:6]))
        same(fn(base[:5], base[:5]), (base[:5] * 2, base[:5] * 0))


@pytest.mark.filterwarnings("ignore:Setting the:DeprecationWarning")
def test_shapes_that_change_in_place(way: str) -> None:
    fn = gj.function(lambda x: x * 2)
    x = np.arange(6.0)
    fn(x)
    x.shape = (2, 3)
    same(fn(x), x * 2)
    x.dtype = np.int64
    same(fn(x), x * 2)


def test_keywords_and_defaults(way: str) -> None:
    fn = gj.function(lambda x, scale=2.0, *, shift=1.0: x * scale + shift, fallback="error")
    for _ in range(3):
        same(fn(X), X * 2 + 1)
        same(fn(x=X), X * 2 + 1)
        same(fn(X, 3.0), X * 3 + 1)
        same(fn(X, shift=2.0), X * 2 + 2)
        same(fn(X, scale=4.0, shift=3.0), X * 4 + 3)
        same(fn(X, shift=3.0, scale=4.0), X * 4 + 3)
        same(fn(**{"".join(["sh", "ift"]): 5.0}, x=X), X * 2 + 5)
    if way == "native":
        assert not goes_through_python(lambda: fn(X, scale=4.0, shift=3.0))
    with pytest.raises(TypeError, match="unexpected keyword"):
        fn(X, other=1.0)
    with pytest.raises(TypeError):
        fn()
    with pytest.raises(TypeError):
        fn(X, 1.0, 2.0)


def test_integers_become_symbolic(way: str) -> None:
    fn = gj.function(lambda x, n: x + n, fallback="error")
    x = np.arange(3)
    for n in (1, 1, 2, 3, -5, 2**40, 7, 1, True, 2**62):
        same(fn(x, n), x + n)
    with pytest.raises(OverflowError):
        fn(x, 2**70)
    same(fn(x, 5), x + 5)


def test_a_scalar_that_python_needs(way: str) -> None:
    @gj.function
    def fn(x: Any, n: float) -> Any:
        return x * n if n > 1 else x

    for n in (2.0, 0.5, 3.0, 2.0, 0.5, float("nan")):
        same(fn(X, n), X * n if n > 1 else X)


class Layer:
    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.w = X + 1

    @gj.function
    def scaled(self, x: Any) -> Any:
        return x * self.scale

    @gj.function
    def weighted(self, x: Any) -> Any:
        return x * self.w

    @staticmethod
    @gj.function
    def doubled(x: Any) -> Any:
        return x * 2

    @classmethod
    @gj.function
    def named(cls, x: Any) -> Any:
        return x + len(cls.__name__)


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


TENSOR = gj.constant(X)


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


def together(work: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


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


def test_recent_use_and_many_forms(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert f"test_native_entry.py:{line}" in str(caught.value)
    assert "7" in str(caught.value)
    same(pick(X, np.array([1])), np.array([3], np.float32))


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


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
@dataclasses.dataclass(frozen=True)
class Frozen:
    a: Any
    rate: float = 0.5


@dataclasses.dataclass(slots=True)
class Slotted:
    a: Any
    b: Any


@dataclasses.dataclass
class Derived(Model):
    c: Any = None


@dataclasses.dataclass
class Computed:
    a: Any

    @property
    def a(self) -> Any:
        self.looks = getattr(self, "looks", 0) + 1
        return self._a * self.looks

    @a.setter
    def a(self, value: Any) -> None:
        self._a = value


FIELDS: dict[str, tuple[Callable[..., Any], Callable[[int], tuple[Any, ...]]]] = {
    "plain": (lambda m: m.w * 2 + m.b, lambda k: (Model(X + k, X),)),
    "frozen": (lambda m: m.a * m.rate, lambda k: (Frozen(X + k, 1.0 + k),)),
    "slots": (lambda m: m.a * 2 + m.b, lambda k: (Slotted(X + k, X),)),
    "derived": (lambda m: m.w * m.b + m.c, lambda k: (Derived(X, X + k, X),)),
    "nested": (
        lambda m: m.w.w * m.w.b + m.b["x"][0],
        lambda k: (Model(Model(X, X + k), {"x": (X, None)}),),
    ),
    "in a list": (lambda ms: ms[0].w * ms[1].b, lambda k: ([Model(X, 1), Model(2, X + k)],)),
    "in a dict": (lambda d: d["m"].w + d["m"].b, lambda k: ({"m": Model(X, X + k)},)),
    "by keyword": (lambda x, m=None: x * m.w - m.b, lambda k: (X, Model(X, X + k))),
    "and out": (lambda m: dataclasses.replace(m, w=m.w * 2), lambda k: (Model(X + k, X),)),
    "turned": (lambda m: m.w @ m.b, lambda k: (Model(np.ones((3, 4)).T + k, np.ones(3)),)),
}


@pytest.mark.parametrize("name", FIELDS)
def test_dataclass_arguments(name: str, way: str) -> None:
    function, make = FIELDS[name]
    fn = gj.function(function, fallback="error")
    for k in range(4):
        same(fn(*make(k)), function(*make(k)))
    assert fn.trace_count == 1
    if way == "native":
        assert name == "and out" or not goes_through_python(lambda: fn(*make(7)))
        args = make(8)
        before = [sys.getrefcount(x) for x in args]
        for _ in range(50):
            fn(*args)
        assert [sys.getrefcount(x) for x in args] == before


def test_what_a_dataclass_holds_is_compared(way: str) -> None:
    function = lambda m: m.w * m.b  # noqa: E731
    fn = gj.function(function, fallback="error")
    model = Model(X, X)
    for b in (X, X * 2, np.ones((2, 4)), 3, 4, 2.5, np.float64(3), X.astype(int), X[::-1]):
        model.b = b
        same(fn(model), function(model))
    same(fn(Derived(X, 2.5, 1)), X * np.float32(2.5))
    del model.b
    with pytest.raises(AttributeError):
        fn(model)
    model.b = X
    same(fn(model), X * X)


def test_fields_that_are_computed_are_left_to_python(way: str) -> None:
    fn = gj.function(lambda m: m.a + 1)
    fn(Computed(X))
    if way == "native":
        assert goes_through_python(lambda: fn(Computed(X)))


def eager_cases() -> dict[str, tuple[Callable[..., Any], Callable[[], tuple[Any, ...]]]]:
    return {
        "a number": (lambda x: float(x[0]), lambda: (X,)),
        "an array": (lambda x: x[x > 1], lambda: (X,)),
        "NumPy's scalar": (lambda x: x[x > 1][0], lambda: (X,)),
        "nothing": (lambda x: print(float(x[0]), end=""), lambda: (X,)),
        "text": (lambda x: f"{float(x[0])}", lambda: (X,)),
        "several": (lambda x: (x[x > 1], float(x[0]), [x[0]]), lambda: (X,)),
        "an argument": (lambda x: x if float(x[0]) < 9 else 0, lambda: (X,)),
        "a view": (lambda x: x[int(x[1]) :], lambda: (X,)),
        "an argument's whole": (lambda x: x.base if float(x[0]) < 9 else 0, lambda: (X[1:],)),
        "an item": (lambda d: d["a"] if float(d["a"][0]) < 9 else 0, lambda: ({"a": X},)),
        "turned": (lambda x: x[x > 1], lambda: (np.arange(6.0).reshape(2, 3).T,)),
        "dataclass": (lambda m: m.w[m.b > 1], lambda: (Model(X, X),)),
        "keywords": (lambda x, *, y=None: x[y > 1], lambda: (X,)),
        "tensor": (lambda x: x[int(x[1]) :], lambda: (gj.constant(X),)),
        "scalar": (lambda x, a: x[x > a], lambda: (X, 1.5)),
        "an object": (lambda x, o: x[x > o["a"]], lambda: (X, collections.UserDict(a=1))),
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
    assert any(form.executable is not None for form in fn.specializations)
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


@native_only
def test_the_code_is_made_after_some_calls() -> None:
    code = (
        "import numpy as np, graphjit as gj\n"
        "f = gj.function(lambda x: x + 1)\n"
        "x, entered = np.ones(3), []\n"
        "for _ in range(6):\n"
        "    assert (f(x) == 2).all()\n"
        "    entered.append(bool(f._entered_at))\n"
        "print(entered)"
    )
    for after, expected in (("3", [False] * 3 + [True] * 3), ("never", [False] * 6)):
        env = {**os.environ, "GRAPHJIT_NATIVE_AFTER": after}
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True
        )
        assert done.stdout.strip() == str(expected), done.stderr


def test_unknown_layouts_stay_in_python(natively: None, monkeypatch: Any) -> None:
    monkeypatch.setattr(object_layout, "fits", lambda: False)
    fn = gj.function(plus)
    for _ in range(3):
        same(fn(X), X + 1)
    assert fn._table is None


@pytest.mark.parametrize("version", [(3, 10), (3, 99)])
def test_unknown_interpreters_are_told(version: tuple[int, int], monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
    assert not object_layout.known_interpreter()


@native_only
def test_offsets_are_those_of_the_headers() -> None:
    x = np.arange(12.0).reshape(3, 4)
    assert object_layout.word(id(x) + object_layout.ARRAY_DATA) == x.ctypes.data
    assert object_layout.word(id(x) + object_layout.TYPE) == id(np.ndarray)
    assert ctypes.c_double.from_address(id(2.5) + object_layout.FLOAT_VALUE).value == 2.5
    assert all(object_layout.scalar_fits(np.dtype(c)) for c in "?bhilqBHILQefdFD")


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
