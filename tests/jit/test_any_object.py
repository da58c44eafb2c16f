"""Methods called with ever new objects: one entry serves all of a class where only what they
hold matters, and no other where it matters which object it is.
"""

from __future__ import annotations

import dataclasses
import functools
import gc
import inspect
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphjit as gj
from graphjit.capture.attribute_access import only_uses_attributes
from graphjit.jit import specializer

X = np.arange(4.0)


@pytest.fixture(autouse=True)
def at_once() -> Iterator[None]:
    before = gj.config.native_after, gj.config.recompile_warning
    gj.config.native_after, gj.config.recompile_warning = 0, 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gj.FallbackWarning)
        yield
    gj.config.native_after, gj.config.recompile_warning = before


class Base:
    """What the cases below derive from: weights, a rate, and a function `step`."""

    offset = 1.0

    def __init__(self, k: int) -> None:
        self.w = np.full(4, float(k))
        self.rate = 0.5
        self.mode = "plus" if k < 90 else "minus"
        self.parts = [self.w * 2, self.w * 3]
        self.table = {"a": self.w + 1}


def scaled(self: Any, x: Any) -> Any:
    return self.scale(x) + self.twice


class Plain(Base):
    def step(self, x: Any) -> Any:
        return x * self.rate + self.w + self.offset


class Methods(Base):
    def scale(self, x: Any) -> Any:
        return x * self.rate if self.mode == "plus" else x - self.rate

    @property
    def twice(self) -> Any:
        return self.w * 2

    @staticmethod
    def shifted(x: Any) -> Any:
        return x + 3

    step = scaled


class Containers(Base):
    def step(self, x: Any) -> Any:
        total = self.table["a"] + x
        for part in self.parts:
            total = total + part
        return total


class Slots:
    __slots__ = ("__weakref__", "mode", "w")

    def __init__(self, k: int) -> None:
        self.w = np.full(4, float(k))
        self.mode = "plus"

    def step(self, x: Any) -> Any:
        return x * self.w


class Given(Base):
    def step(self, x: Any) -> Any:
        return self.w


class Derived(Methods):
    def scale(self, x: Any) -> Any:
        return x * 7


OPEN = [Plain, Methods, Containers, Slots, Given, Derived]


def compiled(kind: type) -> Any:
    """A class like another whose `step` is compiled."""
    return type(kind.__name__, (kind,), {"step": gj.function(kind.step)})


@pytest.mark.parametrize("kind", OPEN)
def test_one_entry_serves_all_objects(kind: Any) -> None:
    other = compiled(kind)
    first = other(1)
    first.step(X)
    first.step(X)
    known = len(other.step.explain_misses())
    for k in range(2, 60):
        found = other(k).step(X)
        assert np.array_equal(found, kind(k).step(X))
    assert len(other.step.explain_misses()) == known


@pytest.mark.parametrize("kind", OPEN[:-1])
def test_what_an_object_holds_is_compared(kind: Any) -> None:
    """Objects whose attributes have other values, types, shapes or aren't there."""
    other = compiled(kind)
    rng = np.random.default_rng(0)

    def change(made: Any, how: int, k: int) -> None:
        names = [n for n in ("w", "rate", "mode") if hasattr(made, n)]
        if how == 1:
            made.w = np.float32(made.w)
        elif how == 2:
            made.w = np.full((3, 4), float(k))
        elif how == 3 and "rate" in names:
            made.rate = float(k)
        elif how == 4 and "rate" in names:
            made.rate = np.full(4, float(k))
        elif how == 5:
            made.mode = "minus"
        elif how == 6 and kind is not Slots:
            made.offset = float(k)
        elif how == 7 and hasattr(made, "parts"):
            made.parts.append(made.w)
        elif how == 8 and kind is Methods:
            made.scale = lambda x: x * 11
        elif how == 9:
            del made.w

    for k in range(120):
        how = int(rng.integers(10))
        one, two = other(k), kind(k)
        change(one, how, k)
        change(two, how, k)
        try:
            expected: Any = two.step(X)
        except AttributeError:
            with pytest.raises(AttributeError):
                one.step(X)
            continue
        found = one.step(X)
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)


def test_a_class_that_changes() -> None:
    kind = compiled(Methods)
    for k in range(5):
        kind(k).step(X)
    kind.scale = lambda self, x: x * 100
    assert np.array_equal(kind(3).step(X), X * 100 + 6)
    kind.twice = 5.0
    assert np.array_equal(kind(3).step(X), X * 100 + 5)


def test_subclasses_have_entries_of_their_own() -> None:
    kind = compiled(Methods)
    derived = type("Derived", (kind,), {"scale": lambda self, x: x * 9})
    for k in range(20):
        made = (kind if k % 2 else derived)(k)
        expected = X * (0.5 if k % 2 else 9) + 2.0 * k
        assert np.array_equal(made.step(X), expected)


# -- methods for which it matters which object it is

REGISTRY: list[Any] = []
CHOSEN: dict[str, Any] = {"object": None}


def is_chosen(self: Any, x: Any) -> Any:
    return x + self.w if self is CHOSEN["object"] else x - self.w


def chosen_is(self: Any, x: Any) -> Any:
    return x + self.w if CHOSEN["object"] is self else x - self.w


def is_listed(self: Any, x: Any) -> Any:
    return x + self.w if self in REGISTRY else x - self.w


def counted(self: Any, x: Any) -> Any:
    return x + REGISTRY.count(self)


def kept(self: Any, x: Any) -> Any:
    return x + len([o for o in REGISTRY if o is self])


def by_parent(self: Any, x: Any) -> Any:
    return x + (1 if self.child.parent is self else 2)


def of_parent(self: Any, x: Any) -> Any:
    return x + self.child.parent.w


def as_method(self: Any, x: Any) -> Any:
    method = self.scale
    return method(x) + (1 if method.__self__ is CHOSEN["object"] else 2)


def passed_on(self: Any, x: Any) -> Any:
    return helper(self, x)


def helper(o: Any, x: Any) -> Any:
    return x + (1 if o is CHOSEN["object"] else 2)


def in_closure(self: Any, x: Any) -> Any:
    def inner(y: Any) -> Any:
        return y + (1 if self is CHOSEN["object"] else 2)

    return inner(x)


def other_name(self: Any, x: Any) -> Any:
    o = self
    return x + (1 if o is CHOSEN["object"] else 2)


def by_variables(self: Any, x: Any) -> Any:
    return x + (1 if locals()["self"] is CHOSEN["object"] else 2)


def by_method(self: Any, x: Any) -> Any:
    return x + self.number()


def rebound(self: Any, x: Any) -> Any:
    x = x + self.w
    self = CHOSEN["object"] or self
    return x + self.w


DEPENDENT = [
    is_chosen, chosen_is, is_listed, counted, kept, by_parent, of_parent, as_method, passed_on,
    in_closure, other_name, by_variables, by_method, rebound,
]  # fmt: skip


class Child:
    parent: Any = None


class Dependent(Base):
    def __init__(self, k: int) -> None:
        super().__init__(k)
        self.child = Child()
        self.child.parent = self

    def scale(self, x: Any) -> Any:
        return x * 2

    def number(self) -> int:
        return 1 if self is CHOSEN["object"] else 2


@pytest.mark.parametrize("function", DEPENDENT, ids=lambda f: f.__name__)
def test_which_object_it_is_matters(function: Callable[..., Any]) -> None:
    traced = gj.function(function)
    rng = np.random.default_rng(1)
    CHOSEN["object"] = None
    REGISTRY.clear()
    for k in range(40):
        made = Dependent(k)
        how = int(rng.integers(4))
        if how == 1:
            CHOSEN["object"] = made
        elif how == 2:
            REGISTRY.append(made)
        elif how == 3:
            made.child.parent = Dependent(k + 100)
        assert np.array_equal(traced(made, X), function(made, X)), (k, how)
        assert np.array_equal(traced(made, X), function(made, X)), (k, how)


def test_an_object_given_twice() -> None:
    def both(self: Any, other: Any, x: Any) -> Any:
        return x * self.w + other.w

    traced = gj.function(both)
    for k in range(12):
        one, two = Plain(k), Plain(k + 50)
        for pair in ((one, one), (one, two), (two, one), (two, two)):
            assert np.array_equal(traced(*pair, X), both(*pair, X))


def test_returned_objects_and_writes() -> None:
    def itself(self: Any, x: Any) -> Any:
        return self, x + 1

    def counting(self: Any, x: Any) -> Any:
        self.rate = self.rate + 1
        return x * self.rate

    traced, counts = gj.function(itself), gj.function(counting)
    for k in range(8):
        made, plain = Plain(k), Plain(k)
        assert traced(made, X)[0] is made
        assert np.array_equal(counts(made, X), counting(plain, X))
        assert made.rate == plain.rate


def test_objects_and_their_arrays_die() -> None:
    kind = compiled(Methods)
    dead = []
    for k in range(10):
        made = kind(k)
        made.step(X)
        dead += [weakref.ref(made), weakref.ref(made.w)]
        del made
    gc.collect()
    assert not any(reference() is not None for reference in dead)
    again = kind(77)
    assert np.array_equal(again.step(X), Methods(77).step(X))


def test_variables_and_generators_are_known_by_identity() -> None:
    class Layer:
        def __init__(self, k: float) -> None:
            self.v = gj.Variable([k, k])

        @gj.function
        def step(self, x: Any) -> Any:
            return x * self.v

    for k in range(6):
        found = Layer(float(k)).step(gj.constant([1.0, 2.0]))
        assert found.numpy().tolist() == [k, 2.0 * k]


# -- methods that store


class Counter(Base):
    def __init__(self, k: int) -> None:
        super().__init__(k)
        self.n, self.v, self.part = k, np.arange(4.0) + k, Plain(k + 1)

    def add(self, x: Any) -> Any:
        self.n += 1
        self.v = self.v * 0.5 + x
        return self.v.sum()

    def fill(self, x: Any) -> Any:
        self.v += x
        self.v[1] = 7.0
        return self

    def fit(self, x: Any) -> Any:
        self.coef = np.zeros(4)
        self.losses = []
        for _ in range(200):
            self.coef = self.coef + 0.1 * (x - self.coef)
            self.losses.append(np.abs(self.coef - x).max())
        return self

    def of_part(self, x: Any) -> Any:
        self.part.w = self.part.w + x
        self.part.rate *= 0.5
        return self.v + self.part.w

    def until(self, x: Any) -> Any:
        while self.rate < 3.0:
            self.rate += 0.25
            self.v = self.v + x
        return self.rate

    def checked(self, x: Any) -> Any:
        self.n += 1
        if x[0] > 50:
            raise ValueError("too large")
        self.v = self.v + x
        return x[self.n % 9]

    def both(self, x: Any) -> Any:
        self.w[0] = x[1]
        return self.v + self.w


METHODS = ["add", "fill", "fit", "of_part", "until", "checked", "both"]


def held(made: Any) -> Any:
    """What an object holds; arrays that are one are so in this, too."""
    names: dict[int, int] = {}

    def shown(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return names.setdefault(id(value), len(names)), value.dtype, value.tolist()
        if isinstance(value, list):
            return list(map(shown, value))
        if hasattr(value, "__dict__"):
            value = vars(value)
        if isinstance(value, dict):
            return {name: shown(x) for name, x in value.items()}
        return type(value), value

    return shown(made)


@pytest.mark.parametrize("name", METHODS)
def test_one_entry_serves_all_objects_that_are_stored_in(name: str) -> None:
    plain = getattr(Counter, name)
    method = gj.function(plain)
    counts = []
    for k in range(30):
        one, two = Counter(k), Counter(k)
        if k == 20:
            one.w = one.v
            two.w = two.v  # one array by two names
        x = X + (60 if k % 7 == 5 else k)
        outcomes = []
        for function, made in ((method, one), (plain, two)):
            try:
                found = function(made, x)
            except (ValueError, IndexError) as error:
                found = type(error)
            outcomes.append(("itself" if found is made else held(found), held(made)))
        assert outcomes[0] == outcomes[1], k
        counts.append(method.trace_count)
    assert name == "checked" or counts[-1] - counts[7] <= 2


def test_the_code_lives_as_long_as_its_entry() -> None:
    """Objects that the code was made for are dead, and other code was made since."""

    class Box:
        def __init__(self) -> None:
            self.a = 0.5

        @gj.function
        def add(self, x: Any) -> Any:
            self.a = self.a + float(x[0])
            return self.a

    for _ in range(3):
        for dtype in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "f4", "f8"):
            made = Box()
            assert made.add(np.ones(4, dtype)) == 1.5 == made.a
            del made
            gc.collect()


def test_objects_that_hold_themselves() -> None:
    @dataclasses.dataclass(eq=False)
    class Node:
        a: float = 1.0
        up: Any = None

    def add(self: Any, x: Any) -> Any:
        self.a = self.a + x[0]
        return self.a

    method, one, two = gj.function(add), Node(), Node()
    one.up, two.up = one, Node()
    two.up.up = two
    one.extra = two.extra = 1  # type: ignore[attr-defined]
    for made in (one, two):
        assert [method(made, X + 1) for _ in range(3)] == [2.0, 3.0, 4.0]


def test_traces_for_objects_that_die_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each takes long."""
    monkeypatch.setattr(specializer, "MAX_SECONDS", 0.0)

    def whole(self: Any, x: Any) -> Any:
        return x + len(vars(self))

    method = gj.function(whole)
    for k in range(20):
        assert np.array_equal(method(Plain(k), X), whole(Plain(k), X))
    assert method.trace_count < 10


def test_what_classes_store_otherwise() -> None:
    """Setters that see which object it is."""
    seen: list[Any] = []

    class Noting(Counter):
        def __setattr__(self, name: str, value: Any) -> None:
            seen.append(self)
            object.__setattr__(self, name, value)

    method = gj.function(Noting.add)
    for k in range(8):
        made = Noting(k)
        seen.clear()
        method(made, X)
        assert seen == [made, made]


# -- what bytecode says


class Described:
    def __get__(self, owner: Any, kind: Any = None) -> Any:
        return 1

    def __set__(self, owner: Any, value: Any) -> None:
        owner.kept = owner


class Told:
    described = Described()

    def itself(self) -> Any:
        return self

    @property
    def half(self) -> Any:
        return self.a / 2

    @half.setter
    def half(self, value: Any) -> None:
        self.a = value * 2

    def reads(self) -> Any:
        return self.a + self.b(self.c, self.d[0])

    def b(self, c: Any, d: Any) -> Any:
        return c + d

    @property
    def whole(self) -> Any:
        return self

    @functools.cached_property
    def cached(self) -> Any:
        return 1

    def loops(self) -> Any:
        total = 0
        for i in self.a:
            total += self.c if i else self.d
        return [self.a for _ in range(3)] if total else (self.a, self.c)


def writes(self: Any) -> None:
    self.a = 1


def adds(self: Any) -> Any:
    self.a += 1
    self.c[0] += self.d
    return self


def writes_by_property(self: Any) -> None:
    self.half = 2


def writes_cached(self: Any) -> None:
    self.described = 2


def writes_itself(self: Any) -> None:
    self.a = self


def keeps_while_adding(self: Any) -> Any:
    (other := self).a += 1
    return other.a


def deletes(self: Any) -> None:
    del self.a


def steps(self: Any) -> Any:
    yield self.a


def starred(*self: Any) -> Any:
    return self.count


def calls_itself(self: Any) -> Any:
    return self()


def by_items(self: Any) -> Any:
    return self[0]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (Told.reads, True),
        (lambda self: self.a, True),
        (lambda self, x: x.y(self.a), True),
        (lambda self: self.whole, False),
        (lambda self: self.cached, False),
        (lambda self: self.b, False),
        (lambda self: self.missing, True),
        (lambda self: self, True),
        (lambda self: (self, 1), False),
        (lambda self: self.itself().a, False),
        (lambda self: self.b(self.itself(), 1), False),
        (lambda self: self == 1, False),
        (lambda self: [self], False),
        (lambda self: type(self).a, False),
        (lambda self: f"{self}", False),
        (lambda self: -self, False),
        (lambda self, o: o.f(self), False),
        (lambda self: super(Told, self).a, False),
        (lambda self: lambda: self.a, False),
        (lambda: 1, False),
        (writes, True),
        (adds, True),
        (writes_by_property, True),
        (writes_cached, False),
        (writes_itself, False),
        (keeps_while_adding, False),
        (deletes, False),
        (steps, False),
        (starred, False),
        (calls_itself, False),
        (by_items, False),
        (len, False),
        (functools.partial(Told.reads), False),
    ],
)
def test_told_from_bytecode(function: Any, expected: bool) -> None:
    name = inspect.getsource(function) if inspect.isfunction(function) else str(function)
    assert only_uses_attributes(function, Told) is expected, name


def test_comprehensions_and_loops() -> None:
    # up to 3.11 a comprehension is a function of its own, which has the object in a cell
    assert only_uses_attributes(Told.loops, Told) in (True, False)


def test_classes_with_attributes_made_when_asked_for() -> None:
    class Asking(Told):
        def __getattr__(self, name: str) -> Any:
            return 1

    assert not only_uses_attributes(Told.reads, Asking)


class Mixed(Base):
    """Numbers that differ from object to object, beside routines of NumPy's."""

    def __init__(self, k: int) -> None:
        super().__init__(k)
        self.rate, self.count = k + 0.5, k % 4
        self.table = {"k": 2.0 * k}

    def number(self, x: Any) -> Any:
        return self.w * x + self.rate

    def routine(self, x: Any) -> Any:
        return np.sort(self.w * -x)

    def chosen(self, x: Any) -> Any:
        return x[self.w > 2] * self.table["k"]

    def known(self, x: Any) -> Any:
        return sum([x * i for i in range(self.count)], x)

    def inverted(self, x: Any) -> Any:
        return (
            np.linalg.inv(np.outer(x, x) * (self.count > 0) + np.eye(4) * (self.rate > 9)) + 1
        )


@pytest.mark.parametrize("name", ["number", "routine", "chosen", "known", "inverted"])
def test_numbers_that_differ_and_routines(name: str) -> None:
    function = getattr(Mixed, name)
    kind = type("Mixed", (Mixed,), {name: gj.function(function)})
    compiled_one = kind.__dict__[name]
    for k in range(60):
        try:
            expected: Any = function(Mixed(k), X)
        except np.linalg.LinAlgError as error:
            with pytest.raises(np.linalg.LinAlgError, match=str(error)) as caught:
                getattr(kind(k), name)(X)
            assert "test_any_object.py" in str(caught.value)
            continue
        found = getattr(kind(k), name)(X)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    if name not in ("known", "inverted"):  # where Python needs the numbers
        assert compiled_one.trace_count <= 6
