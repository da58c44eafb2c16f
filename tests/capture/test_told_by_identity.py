"""Whether objects are equal, of what class they are, and what enum members and texts hold."""

from __future__ import annotations

import collections
import contextvars
import dataclasses
import enum
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj

X = np.ones(2)


class A:
    pass


class Base:
    pass


class Derived(Base):
    pass


class Other:
    pass


@dataclasses.dataclass
class Held:
    what: Any


Pair = collections.namedtuple("Pair", "what")


class Member(enum.Enum):
    ONE = 1

    def weight(self) -> Any:
        return self.m  # type: ignore[attr-defined]


class State:
    """What the functions below read, new for each test."""

    def __init__(self) -> None:
        self.a, self.b, self.c = A(), A(), A()
        self.list, self.other, self.table = [self.a, self.b], [self.c], {"k": self.a}
        self.set = {self.a, self.b}
        self.p, self.q = Held(self.a), Held(self.b)
        self.kinds: Any = (int, float)
        self.value = 1
        self.derived = Derived()


S = State()


def plus_one(x: Any) -> Any:
    q = Member.ONE.array  # type: ignore[attr-defined]
    q += 1
    return x * q


# What is computed, and what changes after the first call.
CASES: dict[str, tuple[Callable[[Any], Any], Callable[[], Any]]] = {
    "==": (lambda x: x * (1.0 if S.a == S.b else 2.0), lambda: vars(S).update(b=S.a)),
    "!=": (lambda x: x * (1.0 if S.a != S.b else 2.0), lambda: vars(S).update(b=S.a)),
    "in a list": (lambda x: x * (S.c in S.list), lambda: S.list.__setitem__(1, S.c)),
    "in a tuple": (lambda x: x * (S.c in (S.a, S.b)), lambda: vars(S).update(b=S.c)),
    "in values": (lambda x: x * (S.c in S.table.values()), lambda: S.table.update(k=S.c)),
    "in a set": (lambda x: x * (S.c in S.set), lambda: S.set.add(S.c)),
    "lists": (lambda x: x * ([S.a] == S.other), lambda: S.other.__setitem__(0, S.a)),
    "dicts": (lambda x: x * ({"k": S.a} == {"k": S.b}), lambda: vars(S).update(b=S.a)),
    "a dataclass": (lambda x: x * (S.p == S.q), lambda: vars(S.q).update(what=S.a)),
    "named tuples": (lambda x: x * (Pair(S.a) == Pair(S.b)), lambda: vars(S).update(b=S.a)),
    "count": (lambda x: x * S.list.count(S.c), lambda: S.list.__setitem__(0, S.c)),
    "index": (lambda x: x * S.list.index(S.b), lambda: S.list.__setitem__(0, S.b)),
    "a sum": (
        lambda x: x * sum(1.0 for s in S.list if s != S.c),
        lambda: S.list.__setitem__(0, S.c),
    ),
    "classes in a tuple": (
        lambda x: x * isinstance(S.value, S.kinds), lambda: vars(S).update(kinds=(float,)),
    ),
    "issubclass": (
        lambda x: x * issubclass(bool, S.kinds), lambda: vars(S).update(kinds=(str,))
    ),
    "other bases": (
        lambda x: x * isinstance(S.derived, Base),
        lambda: setattr(Derived, "__bases__", (Other,)),
    ),
    "bases of a class": (
        lambda x: x * issubclass(Derived, Base), lambda: setattr(Derived, "__bases__", (Other,))
    ),
    "an enum's attribute": (
        lambda x: x * Member.ONE.m, lambda: setattr(Member.ONE, "m", 10.0)  # type: ignore
    ),
    "an enum's method": (
        lambda x: x * Member.ONE.weight(), lambda: setattr(Member.ONE, "m", 10.0)
    ),
    "an enum's table": (
        lambda x: x * Member.ONE.table["k"],  # type: ignore
        lambda: Member.ONE.table.update(k=5.0),  # type: ignore
    ),
    "an enum's array": (
        lambda x: x * Member.ONE.array,  # type: ignore
        lambda: setattr(Member.ONE, "array", np.array([3.0, 4.0])),
    ),
    "an enum's array in place": (plus_one, lambda: None),
    "callable": (lambda x: x * callable(S.a), lambda: setattr(A, "__call__", lambda s: 1)),
    "a gained __eq__": (
        lambda x: x * (S.a in [S.b]), lambda: setattr(A, "__eq__", lambda s, o: True)
    ),
    "a gained __eq__ in tuples": (
        lambda x: x * ((S.a, 1) == (S.b, 1)), lambda: setattr(A, "__eq__", lambda s, o: True)
    ),
    "a gained __bool__": (
        lambda x: x * all([S.a]), lambda: setattr(A, "__bool__", lambda s: False)
    ),
    "a gained __bool__ in any": (
        lambda x: x * any([0, S.a]), lambda: setattr(A, "__bool__", lambda s: False)
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(globals(), "S", State())
    for name, value in (("m", 1.0), ("table", {"k": 1.0}), ("array", np.ones(2))):
        monkeypatch.setattr(Member.ONE, name, value, raising=False)
    yield
    Derived.__bases__ = (Base,)
    for name in ("__call__", "__eq__", "__bool__", "__hash__"):
        if name in vars(A):
            delattr(A, name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_nothing_is_stale(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, change = CASES[name]
    compiled = gj.function(function)
    first = compiled(X)
    change()
    second = compiled(X)
    assert not np.array_equal(first, second)
    monkeypatch.setitem(globals(), "S", State())  # as it began
    for n, value in (("m", 1.0), ("table", {"k": 1.0}), ("array", np.ones(2))):
        setattr(Member.ONE, n, value)
    Derived.__bases__ = (Base,)
    for n in ("__call__", "__eq__", "__bool__", "__hash__"):
        if n in vars(A):
            delattr(A, n)
    np.testing.assert_array_equal(first, function(X))
    change()
    np.testing.assert_array_equal(second, function(X))


@pytest.mark.parametrize("name", ["==", "in a list", "a sum", "an enum's attribute", "lists"])
def test_such_functions_compile(name: str) -> None:
    np.testing.assert_array_equal(
        gj.function(CASES[name][0], fallback="error")(X), CASES[name][0](X)
    )


def test_texts_of_other_containers() -> None:
    held = collections.OrderedDict(a=1)
    f = gj.function(lambda x: (x + 1, f"{held}"))
    g = gj.function(lambda x: f"{collections.OrderedDict(m=x.mean())}")
    for k in (1, 5, 7):
        held["a"] = k
        assert f(X)[1] == f"{held}"
    with pytest.warns(gj.FallbackWarning, match="formats a OrderedDict of traced values"):
        assert g(X) == f"{collections.OrderedDict(m=np.float64(1.0))}"


def test_the_state_of_a_generator_is_read_in_order() -> None:
    def made() -> Callable[[Any], Any]:
        r = np.random.default_rng(0)
        return lambda x: x * r.random() + r.bit_generator.state["state"]["state"] % 7

    plain, compiled = made(), gj.function(made())
    with pytest.warns(gj.FallbackWarning, match="reads the state of a random generator"):
        for _ in range(3):
            np.testing.assert_array_equal(compiled(X), plain(X))


def test_an_array_reached_by_a_context_variable_is_itself() -> None:
    w = np.ones(2)
    variable = contextvars.ContextVar[Any]("variable")
    variable.set(w)
    f = gj.function(lambda x: variable.get(), fallback="error")
    for _ in range(3):
        assert f(X) is w
    assert np.shares_memory(gj.function(lambda x: variable.get()[1:])(X), w)


class Descriptor:
    def __get__(self, owner: Any, kind: Any) -> float:
        return 5.0

    def __set__(self, owner: Any, value: Any) -> None:
        raise AssertionError


def test_a_descriptor_that_loses_its_setter() -> None:
    class Described:
        w = Descriptor()

    described = Described()
    vars(described)["w"] = 1.0
    f = gj.function(lambda x: x * described.w)
    np.testing.assert_array_equal(f(X), X * 5)
    setter = Descriptor.__set__
    del Descriptor.__set__
    try:
        np.testing.assert_array_equal(f(X), X)
    finally:
        Descriptor.__set__ = setter  # type: ignore[method-assign]


def test_classes_of_code_without_a_name_are_the_users() -> None:
    names: dict[str, Any] = {}
    exec("class A:\n    k = 1.0\na = A()\ndef f(x): return x * a.k", names)
    f = gj.function(names["f"])
    for k in (1.0, 2.0, 3.0):
        names["a"].k = k
        np.testing.assert_array_equal(f(X), X * k)


def in_a_try(function: Callable[[Any], Any], kinds: Any = Exception) -> Callable[[Any], Any]:
    def run(x: Any) -> Any:
        try:
            return function(x)
        except kinds:
            return "no"

    return run


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "function",
    [
        lambda x: f"{x[0]:d}",
        lambda x: "%d" % x,  # noqa: UP031
        lambda x: f"{x:.2f}",
        lambda x: "{:5}".format(x),  # noqa: UP032
        lambda x: np.roll(x, 2.0),  # type: ignore[call-overload]
        lambda x: np.repeat(x, 2.0),  # type: ignore[call-overload]
        lambda x: pow(int(x[0]), 2, 3),
        lambda x: memoryview(x)[0],
        lambda x: np.split(x, 2.0),  # type: ignore[call-overload]
        lambda x: x.reshape(True, 2),
        lambda x: np.tril(np.ones((3, 3)) * x[0], 1.0),  # type: ignore[call-overload]
    ],
)
def test_what_a_try_catches(function: Callable[[Any], Any]) -> None:
    f = in_a_try(function)
    assert repr(gj.function(f)(X)) == repr(f(X))


@pytest.mark.parametrize("least", [0, 3, 5])
def test_counts_of_any_size(least: int) -> None:
    f = gj.function(lambda x: np.bincount(x.astype(int), minlength=least))
    for n in (3, 5, 8, 2, 12):
        x = np.arange(1.0, n)
        np.testing.assert_array_equal(f(x), np.bincount(x.astype(int), minlength=least))
