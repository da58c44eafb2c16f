"""Results are the objects that they are undecorated, and share the memory that they share."""

from __future__ import annotations

import functools
import gc
import warnings
import weakref
from collections import OrderedDict, deque, namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from alias_programs import check

import graphjit as gj
from graphjit import config

X = np.arange(12.0).reshape(3, 4)
W = np.arange(12.0).reshape(3, 4) + 100
PART = W[1]
ITEMS = [1, 2]
TABLE = {"a": ITEMS, "w": W}
PAIR = (1, [2])
Point = namedtuple("Point", "x y")


@dataclass
class Fields:
    a: Any
    b: Any


class Model:
    def __init__(self) -> None:
        self.w = np.arange(12.0).reshape(3, 4)
        self.items = [1]
        self.table = {"w": self.w}
        self.items_too = self.items


@pytest.fixture(params=["native", "python"], autouse=True)
def way_in(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls entered by machine code from the second on, and never."""
    monkeypatch.setattr(config, "native_after", 0 if request.param == "native" else None)


def compiled(function: Any) -> Any:
    return gj.function(function, fallback="error")


def parts(value: Any) -> list[Any]:
    """A value and all that it holds."""
    if isinstance(value, dict):
        inner = list(value.values())
    elif isinstance(value, (list, tuple)):
        inner = list(value)
    elif isinstance(value, Fields):
        inner = [value.a, value.b]
    else:
        inner = []
    return [value, *(p for v in inner for p in parts(v))]


def alike(function: Any, *args: Any) -> None:
    """Check which results are one object or share memory, among them and with what is given
    and captured, at three calls.
    """
    fast = compiled(function)
    known = parts([list(args), W, ITEMS, TABLE, PAIR])
    for _ in range(3):
        wanted, got = parts(function(*args)) + known, parts(fast(*args)) + known
        assert [type(x) for x in got] == [type(x) for x in wanted]
        for k, (a, b) in enumerate(zip(wanted, got, strict=True)):
            for c, d in zip(wanted[:k], got[:k], strict=True):
                if isinstance(a, (float, int, np.generic)):
                    continue
                assert (a is c) == (b is d), (k, a, c)
                if isinstance(a, np.ndarray):
                    assert isinstance(b, np.ndarray)
                    assert a.flags.writeable == b.flags.writeable
                    assert a.dtype == b.dtype
                if isinstance(a, np.ndarray) and isinstance(c, np.ndarray):
                    assert np.shares_memory(a, c) == np.shares_memory(b, d), (k, a, c)
                    np.testing.assert_array_equal(a, b)


def views_of_result(x: Any) -> Any:
    y = x + 1
    return y[1:], y.T, y


def overlapping(x: Any) -> Any:
    y = x * 2
    return y[1:], y[:2]


def apart(x: Any) -> Any:
    return tuple(np.split(x + 1, 2, axis=1))


def written(x: Any) -> Any:
    y = x + 1
    part = y[1:]
    y[2] = 7
    return part, y


def whole(x: Any) -> Any:
    y = x + 1
    return y, y[:], y.reshape(3, 4), y.view(), y.real, y.squeeze(), y.conj()


def whole_argument(x: Any) -> Any:
    return x, x[:], x.reshape(3, 4), x.view(), x.squeeze(), np.atleast_2d(x)


def read_only(x: Any) -> Any:
    y = x + 1
    return y, np.broadcast_to(y, (2, 3, 4)), np.broadcast_to(x, (2, 3, 4))


def complex_parts(x: Any) -> Any:
    z = x * 1j
    return z, z.real, z.imag


def halves(x: Any) -> Any:
    z = x * 1j
    return z.imag, z.real


def diagonals(x: Any) -> Any:
    y = x + 1
    return y, y.diagonal(), np.diagonal(x), np.diagonal(W), (x + 2).diagonal(), (x + 3).imag


def of_one_shape(x: Any) -> Any:
    y = x + 1
    a, b = np.broadcast_arrays(y, x)
    return a, b, y, a is y, b is x


def in_turn(x: Any) -> Any:
    t = x.T
    return t, t[1:], t[1:].T, W.T, np.split(x, 2, axis=1)


CASES = {
    "a list outside": lambda x: ITEMS,
    "beside a result": lambda x: (x + 1, ITEMS),
    "in new containers": lambda x: {"a": [ITEMS, x * 2], "b": (PAIR, TABLE)},
    "a dict with an array": lambda x: TABLE,
    "a captured array": lambda x: W,
    "captured and computed": lambda x: (W, x + 1, W),
    "views of captured": lambda x: (W[1:], W.T, W.reshape(-1), W),
    "a view outside": lambda x: (PART, PART[1:], W),
    "the argument twice": lambda x: (x, x, [x]),
    "one result twice": lambda x: (lambda y: (y, y, {"y": y}))(x + 1),
    "one scalar twice": lambda x: (lambda y: (y, y))(x.sum()),
    "one list twice": lambda x: (lambda y: (y, {"y": y}))([x + 1]),
    "one tuple twice": lambda x: (lambda y: [y, y])((x + 1, 2)),
    "views of a result": views_of_result,
    "views of what isn't returned": overlapping,
    "parts apart": apart,
    "a view of what was written to": written,
    "views of all": whole,
    "views of all of an argument": whole_argument,
    "read-only views": read_only,
    "read-only parts": diagonals,
    "broadcast to the shape that they have": of_one_shape,
    "views of views": in_turn,
    "parts of complex numbers": complex_parts,
    "parts of complex numbers alone": halves,
}


@pytest.mark.parametrize("name", CASES)
def test_results_are_the_objects_of_the_undecorated_function(name: str) -> None:
    alike(CASES[name], X.copy())


def test_views_in_the_other_byte_order() -> None:
    def views(x: Any) -> Any:
        y = x.copy()
        return y, y[1:], x, x.T, y.T, x + 1

    def alone(x: Any) -> Any:
        y = x.copy()
        return y[1:], y[:2]

    for order in (">f8", "<f8"):
        alike(views, X.astype(order))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = gj.function(alone)(X.astype(order))
        assert [a.dtype for a in found] == [np.dtype(order)] * 2
        assert np.shares_memory(*found)


@pytest.mark.parametrize(
    "value",
    [
        [X, 1],
        {"a": X, "b": [X]},
        (X, 2.0),
        OrderedDict(a=X),
        Point(X, 1),
        Fields(X, [X]),
        Point([X], {"a": (X,)}),
    ],
    ids=lambda v: type(v).__name__,
)
def test_containers_of_the_arguments_are_returned_themselves(value: Any) -> None:
    fast = compiled(lambda v, x: (v, x + 1, [v]))
    for _ in range(3):
        found, _, again = fast(value, X)
        assert found is value
        assert again[0] is value
    inner = compiled(lambda v, k=None: {"in": v["a"], "x": v["x"] + 1})
    held = {"a": value, "x": X}
    for _ in range(3):
        assert inner(held)["in"] is value
        assert inner(v=held)["in"] is value


def test_containers_that_an_input_signature_describes() -> None:
    spec = gj.TensorSpec((None, 4), gj.float64)
    fast = gj.function(lambda d, t: (d, t), input_signature=[{"a": spec}, (spec, spec)])
    for _ in range(3):
        given, pair = {"a": X}, (X, W)
        found = fast(given, pair)
        assert found[0] is given
        assert found[1] is pair


def test_parts_of_complex_numbers_alone_are_computed_alone() -> None:
    for function in (lambda x: ((x * 2j).imag, (x * 2j).real), halves):
        specialization = compiled(function).specialization(X)
        assert [kind for kind, _ in specialization.results] == ["array", "array"]
        assert [
            x.kind
            for x in (
                n.type.dtype
                for n in map(
                    specialization.graph.nodes.__getitem__, specialization.graph.outputs
                )
            )
        ] == ["f", "f"]


def test_an_argument_of_another_call_is_returned_by_it() -> None:
    fast = compiled(lambda d: d)
    for k in range(4):
        given = {"a": X + k}
        assert fast(given) is given


def test_numbers_tensors_and_objects_among_the_arguments() -> None:
    model, number, tensor = Model(), 1234.5, gj.constant([1.0, 2.0])
    fast = compiled(lambda m, n, t: (m, n, t, t * n))
    for _ in range(3):
        found = fast(model, number, tensor)
        assert found[0] is model
        assert found[1] is number
        assert found[2] is tensor
        other = 99.25
        assert fast(model, other, tensor)[1] is other


def test_what_is_returned_is_looked_up_again() -> None:
    model = Model()
    fast = compiled(lambda m, x: (x + 1, m.items, m.table, m.w))
    for _ in range(3):
        assert [
            a is b
            for a, b in zip(
                fast(model, X)[1:], (model.items, model.table, model.w), strict=True
            )
        ] == [True] * 3
    model.items.append(5)
    assert fast(model, X)[1] == [1, 5]
    model.items, model.table, model.w = [7], {"w": X}, X * 2
    found = fast(model, X)
    assert found[1] is model.items
    assert found[2] is model.table
    assert found[3] is model.w
    model.items = (7,)  # of another type: traced again
    assert fast(model, X)[1] is model.items


def test_objects_that_lead_to_results_may_die() -> None:
    fast = compiled(lambda m, x: (x + 1, m.items, m))
    model = Model()
    fast(model, X), fast(model, X)
    known = weakref.ref(model)
    del model
    gc.collect()
    assert known() is None
    assert not fast.specializations


@pytest.mark.parametrize("make", [set, bytearray, deque, lambda: {1, 2}])
def test_new_objects_are_new_at_each_call(make: Any) -> None:
    fast = compiled(lambda x: (x + 1, make()))
    first = fast(X)[1]
    (first.add if isinstance(first, set) else first.append)(9)
    for _ in range(3):
        assert fast(X)[1] == make()


class Slots:
    __slots__ = ("a",)


def test_a_new_object_that_calls_would_share_is_not_traced() -> None:
    fast = gj.function(lambda x: (x + 1, Slots()))
    with pytest.warns(gj.FallbackWarning, match="new Slots is returned"):
        first = fast(X)[1]
    assert fast(X)[1] is not first


def test_a_list_that_holds_itself() -> None:
    held: list[Any] = [1]
    held.append(held)
    fast = compiled(lambda x: (x + 1, held))
    for _ in range(3):
        assert fast(X)[1] is held

    @gj.function
    def made(x: Any) -> Any:
        items = [x + 1]
        items.append(items)
        return items

    with pytest.warns(gj.FallbackWarning, match="holds itself"):
        found = made(X)
    assert found[1] is found


def test_eager_calls_return_containers_themselves() -> None:
    @gj.function
    def eager(x: Any, d: Any) -> Any:
        d["loss"] = 1
        return d, ITEMS, [W, x * eval("2.0")]

    with pytest.warns(gj.FallbackWarning):
        eager(X, {})
    for _ in range(3):
        given: dict[str, Any] = {}
        found = eager(X, given)
        assert found[0] is given
        assert found[1] is ITEMS
        assert found[2][0] is W
    tensors = eager(gj.constant(X), {})
    assert tensors[1] is ITEMS
    assert isinstance(tensors[2][0], gj.Tensor)


def test_tensors_in_place_of_arrays_are_new_containers() -> None:
    fast = gj.function(lambda x: (x + 1, TABLE), outputs="tensor")
    found = fast(X)[1]
    assert found is not TABLE
    assert isinstance(found["w"], gj.Tensor)
    assert found["a"] is ITEMS


def test_out_of_results_that_share_memory() -> None:
    fast = compiled(views_of_result)
    places = tuple(np.zeros(s) for s in ((2, 4), (4, 3), (3, 4)))
    found = fast(X, out=places)
    assert all(a is b for a, b in zip(found, places, strict=True))
    for a, b in zip(found, views_of_result(X), strict=True):
        np.testing.assert_array_equal(a, b)
    whole = np.zeros((3, 4))
    first, turned, third = fast(X, out=(None, None, whole))
    assert third is whole
    assert np.shares_memory(first, whole)
    assert np.shares_memory(turned, whole)
    twice = compiled(lambda x: (lambda y: (y, y))(x + 1))
    a, b = np.zeros((3, 4)), np.zeros((3, 4))
    twice(X, out=(a, b))
    np.testing.assert_array_equal(a, b)
    held = compiled(lambda x, d: (d, x + 1))
    filled = np.zeros((3, 4))
    held(X, {"a": X}, out=({"a": a}, filled))
    np.testing.assert_array_equal(a, X)
    np.testing.assert_array_equal(filled, X + 1)


def test_views_of_results_in_forms_for_all_sizes() -> None:
    fast = compiled(views_of_result)
    for n in (3, 4, 5, 6):
        x = np.arange(4.0 * n).reshape(n, 4)
        first, turned, y = fast(x)
        assert np.shares_memory(first, y)
        assert np.shares_memory(turned, y)
        np.testing.assert_array_equal(first, x[1:] + 1)
    assert len(fast.specializations) == 2


def test_views_of_one_constant_array_are_not_traced() -> None:
    @gj.function
    def views(x: Any) -> Any:
        made = np.zeros(4)
        return x + 1, made, made[1:]

    with pytest.warns(gj.FallbackWarning, match="views of one constant"):
        found = views(X)
    assert np.shares_memory(found[1], found[2])


def test_donated_memory_and_views() -> None:
    fast = gj.function(views_of_result, fallback="error", donate="x")
    for _ in range(3):
        first, _, y = fast(X.copy())
        np.testing.assert_array_equal(y, X + 1)
        assert np.shares_memory(first, y)


def test_an_item_of_a_scalar_cannot_be_assigned() -> None:
    def assigned(x: Any) -> Any:
        y = x.sum()
        y[...] = 3.5
        return y

    for fallback in ("error", "eager"):
        with pytest.raises(TypeError, match="does not support item assignment"):
            gj.function(assigned, fallback=fallback)(X)


def test_cached_results_are_returned_themselves() -> None:
    for size in (None, 4):

        @functools.lru_cache(size)
        def table(n: int) -> list[int]:
            return [n, n]

        fast = gj.function(lambda x, table=table: (x * len(table(3)), table(3)))
        for _ in range(4):
            assert fast(X)[1] is table(3)


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_random_programs(first: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert not [m for seed in range(first, first + 20) if (m := check(seed))]


@pytest.mark.parametrize(
    "function",
    [
        lambda a, n: a[n],
        lambda a, n: a[n % 4],
        lambda a, n: a[n + 1],
        lambda a, n: a[:, -n],
        lambda a, n: a[int(a[0, 0]) + 1],
        lambda a, n: a[1:][n],
    ],
)
def test_rows_at_computed_places_are_views(function: Any) -> None:
    decorated = gj.function(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for n in (1, 2, 1, 3):
            a = np.arange(15.0).reshape(5, 3)
            assert np.shares_memory(a, decorated(a, n))
