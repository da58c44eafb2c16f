"""What equal arguments, or containers that were read before, don't say: type, order, identity,
what a list holds now.
"""

from __future__ import annotations

import contextlib
import functools
import io
import operator
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj

X, INTS = np.ones(2), np.ones(2, "i4")


class Text(str):
    """A text with an attribute."""

    extra: float = 0.0


def text(extra: float) -> Text:
    made = Text("a")
    made.extra = extra
    return made


class Key:
    """A key that is equal to others which hold something else."""

    def __init__(self, key: int, value: float) -> None:
        self.key, self.value = key, value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


EQUAL: dict[str, tuple[Callable[..., Any], list[tuple[Any, ...]]]] = {
    "keys of other types": (
        lambda d, x: {k: k * x for k in d},
        [({k: 0.5}, INTS) for k in (1, 1.0, True, np.float32(1), np.int64(1))],
    ),
    "keys that are tuples": (
        lambda d, x: [k[0] * x for k in d], [({(1, 2): 0}, INTS), ({(1.0, 2): 0}, INTS)]
    ),
    "keys that are zeros": (
        lambda d, x: x * np.copysign(1.0, next(iter(d))), [({0.0: 1}, X), ({-0.0: 1}, X)]
    ),
    "keys that are objects": (
        lambda d, x: [k.value * x for k in d], [({Key(1, 2): 0}, X), ({Key(1, 3): 0}, X)]
    ),
    "keys that are texts": (
        lambda d, x: [getattr(k, "extra", 5.0) * x for k in d],
        [({text(2): 0}, X), ({text(3): 0}, X), ({"a": 0}, X)],
    ),
    "texts": (lambda s, x: s.extra * x, [(text(2), X), (text(3), X)]),
    "ranges": (
        lambda r, x: (r.start, r.stop, r.step, x + 1),
        [(r, X) for r in (range(0, 3, 2), range(0, 4, 2), range(0), range(1, 0, 5))],
    ),
    "slices": (
        lambda s, x: x[s], [(slice(0, e), X) for e in (1, True, 1.0, np.int64(1), None)]
    ),
    "slices of zeros": (
        lambda s, x: np.copysign(1.0, s.start) * x, [(slice(0.0, 1), X), (slice(-0.0, 1), X)]
    ),
    "frozensets": (
        lambda s, x: [v * x for v in s],
        [(frozenset([v]), INTS) for v in (1, 1.0, True)],
    ),
    "orders of frozensets": (
        lambda s, x: (list(s), x + 1), [(frozenset([8, 16, 0]), X), (frozenset([0, 16, 8]), X)]
    ),
}  # fmt: skip


def outcome(function: Any, arguments: Any) -> str:
    try:
        return repr(function(*arguments))
    except Exception as error:
        return next(k.__name__ for k in type(error).__mro__ if k.__module__ == "builtins")


@pytest.mark.parametrize("name", EQUAL)
@pytest.mark.parametrize("nested", [False, True])
def test_equal_arguments(name: str, nested: bool) -> None:
    function, calls = EQUAL[name]
    wanted = (lambda a, x: function(a[0], x)) if nested else (lambda a, x: function(a, x))
    f = gj.function(wanted)
    for a, x in [*calls, *reversed(calls)]:
        given = ([a], x) if nested else (a, x)
        assert outcome(f, given) == outcome(wanted, given)


# -- lists from outside as indices

LISTED: Any = [0, 1]
NESTED: Any = (slice(None), [0, 1])
NAMED: Any = {"i": [0, 1]}


def _stored(x: Any) -> Any:
    x[LISTED] = 9.0
    x[:, LISTED] += 1
    return x


def _stored_in_new(x: Any) -> Any:
    y = np.zeros((5, 5))
    y[LISTED] = x[0, 0]
    return y


INDEXED: list[Callable[[Any], Any]] = [
    lambda x: x[LISTED],
    lambda x: x[LISTED, 0],
    lambda x: x[..., LISTED],
    lambda x: x[[LISTED]],
    lambda x: x[NESTED],
    lambda x: x[NAMED["i"]],
    lambda x: x.flat[LISTED],
    lambda x: operator.getitem(x, LISTED),
    lambda x: x[np.s_[LISTED]],
    lambda x: x[np.r_[LISTED]],
    lambda x: (np.arange(9.0)[LISTED], x + 1),
    _stored,
    _stored_in_new,
]


@pytest.mark.parametrize("number", range(len(INDEXED)))
def test_lists_as_indices_are_read(number: int) -> None:
    global NESTED
    f = gj.function(INDEXED[number])
    for places in ([0, 1], [3, 4], [2, 3, 4], [True] * 5, [0, 1]):
        LISTED[:] = NAMED["i"][:] = places
        NESTED = (slice(None), list(places))
        x = np.arange(25.0).reshape(5, 5)
        assert outcome(f, (x.copy(),)) == outcome(INDEXED[number], (x.copy(),))


# -- an object from outside, several times

HELD: Any = None


class Holder:
    """What holds one."""

    held: Any = None


@pytest.mark.parametrize(
    "make",
    [lambda: [1.0], lambda: {"a": 1.0}, lambda: {1.0}, lambda: deque([1.0]), lambda: Key(1, 2)],
)
def test_an_object_is_returned_twice(make: Any) -> None:
    global HELD
    holder = Holder()
    forms: list[Callable[[Any], Any]] = [
        lambda x: (HELD, HELD),
        lambda x: {"a": HELD, "b": [HELD], "x": x + 1},
        lambda x: (holder.held, x + 1, holder.held),
        lambda x: (holder.held, HELD),
    ]
    for form in forms:
        f = gj.function(form)
        for _ in range(4):
            HELD = holder.held = make()
            found = f(X)
            parts = [*found.values()] if isinstance(found, dict) else [*found]
            held = [p[0] if type(p) is list and p and p[0] is HELD else p for p in parts]
            assert [x is HELD for x in held if not isinstance(x, np.ndarray)].count(False) == 0


# -- what NumPy's numbers do that arrays don't


@pytest.mark.parametrize(
    "form",
    [
        lambda y: [1, 2] * y.sum(),
        lambda y: [0.0] * np.argmax(y),
        lambda y: (1, 2) * y[0],
        lambda y: y[0] * [1, 2],
        lambda y: [1, 2] + [y[0]] * y[1],
        lambda y: "ab" * y[1],
        lambda y: [1.0] * (y[0] / 2),
        lambda y: [1, 2] * y,
    ],
)
def test_sequences_are_repeated_by_numbers(form: Any) -> None:
    f = gj.function(form)
    for y in (np.array([1, 2]), np.array([2, 2]), np.array([3, 1])):
        assert outcome(f, (y,)) == outcome(form, (y,))


def test_lists_that_arrays_are_added_to() -> None:
    names = {"L": [1.0], "D": {"a": [1.0, 2.0]}}

    def add(x: Any) -> None:
        names["L"] += x

    gj.function(add)(X)
    np.testing.assert_array_equal(names["L"], [2.0, 2.0])


@pytest.mark.parametrize(
    "form",
    [
        lambda n: f"{n!r:>10}",
        lambda n: repr([n]),
        lambda n: f"{n} {n:.2f}",
        lambda n: str({"a": n}),
        lambda n: "%r" % n,  # noqa: UP031
        lambda n: "a rate of %s %d" % (n, n),  # noqa: UP031
        lambda n: print(n, [n]),
        lambda n: f"{[n + 1]}",
        lambda n: "%r" % ([n],),  # noqa: UP031
        lambda n: f"{[n]!r} {(n,)!s}",
        lambda n: "%r %s" % ((n,), n),  # noqa: UP031
        lambda n: repr(str([n])),
        lambda n: f"{str([n])!r:>40}",
        lambda n: repr([str(n), [n]]),
    ],
)
def test_texts_of_arrays_without_axes(form: Any) -> None:
    f = gj.function(form)
    swapped = np.array(2.5, ">f8"), np.array([1, 2], ">i4")
    for n in (np.array(2), np.int64(2), np.array(3), np.float64(2.5), np.array(2.5), *swapped):
        printed = []
        for g in (f, form):
            with contextlib.redirect_stdout(io.StringIO()) as shown:
                printed.append((outcome(g, (n,)), shown.getvalue()))
        assert printed[0] == printed[1]


def _increased(n: Any) -> Any:
    m = n
    m += 1
    return n, m, n is m


def _set(n: Any) -> Any:
    n[...] = 7
    return n + 1


def _filled(n: Any) -> Any:
    np.add(n, 1, out=n)
    return n * 2


@pytest.mark.parametrize(
    "form",
    [
        _increased,
        _set,
        _filled,
        lambda n: (type(n) is np.float64, isinstance(n, float), isinstance(n, np.ndarray)),
        lambda n: (np.asarray(n), np.array(n), n.copy(), +n),
        lambda n: (n, n[()], n[...], n.reshape(1), n.T),
        lambda n: n if isinstance(n, np.ndarray) else n + 0.5,
        lambda n: (np.isscalar(n), np.ndim(n), hasattr(n, "is_integer")),
        lambda n: n.is_integer(),
        lambda n: {n: 1},
        lambda n: (n == 2.0, n < 3, round(n), -n),
        lambda n: [n, (n,), {"n": n}],
        lambda n: max(n, 1.5),
    ],
)
def test_numbers_and_arrays_without_axes(form: Any) -> None:
    f = gj.function(form)
    for value in (2.0, 3.0, 2.0, 4.5):
        for make in (np.float64, np.array, float, lambda v: np.array(v, ">f8")):
            shown = []
            for g in (f, form):
                n = make(value)
                shown.append((outcome(g, (n,)), repr(n)))
            assert shown[0] == shown[1]


def test_numpys_numbers_are_changed_without_a_copy() -> None:
    """A step of an integrator, of NumPy's numbers, of Python's, of arrays."""

    def step(t: Any, y: Any, dt: Any) -> Any:
        y += dt * y
        t += dt
        return t

    f = gj.function(step, fallback="error")
    for make in (np.float64, float, np.array):
        t, y, s, z = make(0.0), np.ones(3), make(0.0), np.ones(3)
        for _ in range(4):
            t, s = f(t, y, make(0.25)), step(s, z, make(0.25))
            assert (t, type(t)) == (s, type(s))
            np.testing.assert_array_equal(y, z)


# -- sizes


def test_sizes_as_numpys_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gj.config, "symbolic_after", 2)
    big = 2**31
    forms: list[Callable[[Any], Any]] = [
        lambda x: np.full(2, x.shape[0] * big),
        lambda x: np.full((), len(x)),
        lambda x: np.maximum(len(x) * big, 3),
        lambda x: np.array([len(x) * big, 1]),
        lambda x: np.where(x > 0, len(x) * big, 0),
        lambda x: np.full_like(x, len(x) * big),
        lambda x: np.append(x.astype(int), len(x) * big),
    ]
    for form in forms:
        f = gj.function(form)
        for n in (2, 3, 4, 7):
            x = np.arange(float(n)) - 1
            assert outcome(f, (x,)) == outcome(form, (x,))
            assert f(x).dtype == form(x).dtype


@pytest.mark.parametrize(
    "form",
    [
        lambda m: np.zeros((len(m[m > 0]), 0)),
        lambda m: np.ones((0, len(m[m > 0]))),
        lambda m: m[m > 0][:, None] + np.zeros((1, 0)),
        lambda m: np.zeros((int(m.sum() > 0) + 1, 0)) + 1,
    ],
)
def test_shapes_without_elements(form: Any) -> None:
    f = gj.function(form)
    for m in ([1.0, -1.0, 2.0], [1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]):
        assert f(np.array(m)).shape == form(np.array(m)).shape


def test_a_cached_property_is_computed_from_what_is_stored() -> None:
    class Model:
        v: Any = 1.0

        @functools.cached_property
        def scale(self) -> Any:
            return self.v * 5

    def store(model: Model, x: Any) -> Any:
        model.v = x
        return model.scale * x

    one, other = Model(), Model()
    f = gj.function(lambda x: store(one, x))
    for k in range(8):
        if k in (2, 4, 5):
            for model in (one, other):
                vars(model).pop("scale", None)
        assert outcome(f, (X * k,)) == outcome(lambda x: store(other, x), (X * k,))
        assert repr(one.scale) == repr(other.scale)


def test_which_nan_is_asked_for_in_sets_and_dicts() -> None:
    nan, other = float("nan"), float("nan")
    forms: list[Callable[[Any, Any], Any]] = [
        lambda a, b: len({a, b}),
        lambda a, b: {a: 1}.get(b),
        lambda a, b: {a} == {b},
        lambda a, b: hash(a) == hash(b),
    ]
    for form in forms:
        f = gj.function(form)
        for pair in ((nan, nan), (nan, other), (1.5, 1.5), (1.5, 2.5), (nan, nan)):
            assert outcome(f, pair) == outcome(form, pair)


def test_arrays_in_lists_are_found_by_identity() -> None:
    f = gj.function(lambda a, b: [a] == [b])
    q = np.array([np.nan])
    assert f(q, q.copy()) is False
    assert f(q, q) is True
