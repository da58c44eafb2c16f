"""Dataclasses and namedtuples among the arguments: stores into them, other ways to them, and
classes whose objects hold more than fields.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import graphjit as gj

X = np.ones(2)


@dataclass
class Plain:
    u: Any


@dataclass(slots=True)
class Slots:
    u: Any = 1.0


@dataclass(frozen=True)
class Frozen:
    u: Any = 1.0


@dataclass
class Unset:
    u: Any
    b: Any = field(init=False)


@dataclass
class Computed:
    u: Any = 1.0


Computed.u = property(  # type: ignore[assignment]
    lambda self: self.__dict__["_u"] * 2, lambda self, v: self.__dict__.__setitem__("_u", v)
)


class Base:
    __slots__ = ("w",)


@dataclass
class Derived(Base):
    u: Any


class Pair(namedtuple("Pair", "u b")):
    """One with attributes of its own."""


class Counted(namedtuple("Counted", "u b")):
    """One that is made in another way."""

    __slots__ = ()

    def __new__(cls, u: Any, b: Any) -> Any:
        return super().__new__(cls, u + 1, b)


HELD: list[Any] = [None]


class Holder:
    held: Any = None


HOLDER = Holder()


def _store_then_item(x: Any, a: Any) -> Any:
    a.u = 50.0
    return HELD[0].u, x + 1


def _store_then_attribute(x: Any, a: Any) -> Any:
    a.u = 50.0
    return HOLDER.held.u, x + 1


def _store_outside(x: Any, a: Any) -> Any:
    HELD[0].u = 50.0
    return a.u, x + 1


def _store_in_a_list(x: Any, a: Any) -> Any:
    many = [a]
    many[0].u = 50.0
    return HELD[0].u, x + 1


@pytest.mark.parametrize("kind", [Plain, Slots])
@pytest.mark.parametrize(
    "form", [_store_then_item, _store_then_attribute, _store_outside, _store_in_a_list]
)
def test_other_ways_to_an_argument(form: Callable[..., Any], kind: Any) -> None:
    f = gj.function(form)
    for k in range(6):
        p, q = kind(1.0), kind(2.0)
        HELD[0], HOLDER.held = (p if k % 2 else q), (p if k % 3 else q)
        found = []
        for g in (f, form):
            p.u, q.u = 1.0, 2.0
            found.append((repr(g(X, p)), p.u, q.u))
        assert found[0] == found[1]


def _add(x: Any, p: Any) -> Any:
    p.u = p.u + x.sum()
    return p.u


def _past_the_class(x: Any, p: Any) -> Any:
    object.__setattr__(p, "u", x)
    return p.u * x


def _set_the_other(x: Any, p: Any) -> Any:
    p.b = x
    return x * p.u, p.b


def _delete(x: Any, p: Any) -> Any:
    del p.u
    return x + 1


def _of_several(x: Any, p: Any) -> Any:
    for item in (p, p):
        item.u = item.u * 2
    return x


def _pair() -> Any:
    made = Pair(1.0, 2.0)
    made.k = 10.0  # type: ignore[attr-defined]
    return made


def _derived() -> Any:
    made = Derived(1.0)
    made.w = 5.0
    return made


CASES: dict[str, tuple[Callable[..., Any], Callable[[], Any]]] = {
    "plain": (_add, lambda: Plain(1.0)),
    "slots": (_add, Slots),
    "slots, twice": (_of_several, Slots),
    "slots deleted": (_delete, Slots),
    "frozen": (_add, Frozen),
    "frozen, past the class": (_past_the_class, Frozen),
    "unset": (lambda x, p: x * p.u, lambda: Unset(2.0)),
    "unset, then set": (_set_the_other, lambda: Unset(2.0)),
    "computed": (_add, lambda: Computed(1.0)),
    "slots of a base": (lambda x, p: p.w * x + p.u, _derived),
    "attributes of a tuple": (lambda x, p: p.u * x + getattr(p, "k", 0), _pair),
    "a tuple made otherwise": (lambda x, p: p.u * x, lambda: Counted(1.0, 2)),
}


def state(p: Any) -> str:
    return repr((getattr(p, "u", None), getattr(p, "__dict__", None)))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("new", [False, True])
def test_as_undecorated(name: str, new: bool) -> None:
    form, make = CASES[name]
    f, one, other = gj.function(form), make(), make()
    for _ in range(4):
        if new:
            one, other = make(), make()
        found = []
        for g, p in ((f, one), (form, other)):
            try:
                found.append((repr(g(X, p)), state(p)))
            except Exception as error:
                found.append((type(error).__name__, state(p)))
        assert found[0] == found[1]


def test_attributes_beside_the_fields() -> None:
    f = gj.function(lambda x, p: x * getattr(p, "k", 3.0) + p.u)
    more = Plain(1.0)
    more.k = 7.0  # type: ignore[attr-defined]
    for p in (Plain(1.0), more, Plain(2.0), more):
        np.testing.assert_array_equal(f(X, p), X * getattr(p, "k", 3.0) + p.u)


def test_stores_by_a_hook_happen_once() -> None:
    stored: list[str] = []

    @dataclass
    class Hooked:
        u: Any

        def __setattr__(self, name: str, value: Any) -> None:
            stored.append(name)
            object.__setattr__(self, name, value)

    @gj.function
    def f(x: Any, p: Any) -> Any:
        p.u = p.u * x[0]
        return x

    p = Hooked(1.0)
    f(X, p)
    f(X, p)
    assert stored == ["u"] * 3


def test_dataclasses_with_slots_compile() -> None:
    f = gj.function(lambda x, p: x * p.u, fallback="error")
    for k in range(4):
        np.testing.assert_array_equal(f(X, Slots(float(k))), X * k)
    assert f.trace_count <= 2
