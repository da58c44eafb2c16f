"""Calls that machine code enters: arguments and results of every kind.

Where it matters each test runs both ways, natively and through Python.
"""

from __future__ import annotations

import collections
import dataclasses
import pickle
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from native_calls import NATIVE, Model, Pair, X, goes_through_python, plus, same, t

import graphjit as gj

CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "one array": (lambda x: x * 2 + 1, (X,)),
    "no dims": (lambda x: x * 2, (np.array(3.0),)),
    "empty": (lambda x: x + 1, (np.ones((0, 3)),)),
    "many dims": (lambda x: x + 1, (np.ones((2, 1, 3, 1, 2)),)),
    "bool": (lambda x: ~x, (np.array([True, False]),)),
    "integers": (lambda x: x + 1, (np.arange(5, dtype=np.int8),)),
    "complex array": (lambda x: x * 2, (X.astype(np.complex64),)),
    "half": (lambda x: x * 2, (X.astype(np.float16),)),
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
