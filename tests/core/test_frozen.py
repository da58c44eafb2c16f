"""`graphjit.core.frozen.dataclass` makes what the standard library's decorator makes."""

import copy
import dataclasses
import inspect
import pickle
from typing import Any, ClassVar

import numpy as np
import pytest

from graphjit.core.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Slotted:
    """A value."""

    first: int
    second: tuple[int, ...] = (1, 2)
    note: str = dataclasses.field(default="", compare=False)

    def total(self) -> int:
        return self.first + sum(self.second)


@dataclass(frozen=True)
class Open:
    """A value."""

    only: Any


@dataclass(frozen=True)
class Named:
    """A value whose class has a name."""

    name: ClassVar[str] = "named"
    first: int = 0


@dataclasses.dataclass(frozen=True)
class Derived(Named):
    """The standard library's, of one of ours."""

    second: int = 1


@dataclass(frozen=True)
class Nothing:
    """A value."""


@dataclass(frozen=True, eq=False)
class Itself:
    """A value that is equal to itself alone."""

    first: int


@dataclass(frozen=True)
class Spoken:
    """A value with methods of its own."""

    first: int

    def __repr__(self) -> str:
        return "spoken"

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 5


KINDS = {
    Slotted: [(1,), (1, (3,)), (1, (3,), "x"), (2,)],
    Open: [(1,), (2,), (float("nan"),)],
    Nothing: [()],
    Itself: [(1,), (1,)],
    Spoken: [(1,), (2,)],
}


def standard(kind):
    """The class as the standard library makes it of the same fields and methods."""
    body = {
        f.name: dataclasses.field(default=f.default, compare=f.compare)
        for f in dataclasses.fields(kind)
    }
    body["__annotations__"] = {f.name: f.type for f in dataclasses.fields(kind)}
    if kind is Spoken:
        body |= {n: vars(kind)[n] for n in ("__repr__", "__eq__", "__hash__")}
    options = {"slots": "__slots__" in vars(kind), "eq": kind is not Itself}
    made = dataclasses.dataclass(frozen=True, **options)(type(kind.__name__, (), body))
    made.__qualname__ = kind.__qualname__
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_as_the_standard_library_has_it(kind):
    known = standard(kind)
    ours = [kind(*arguments) for arguments in KINDS[kind]]
    theirs = [known(*arguments) for arguments in KINDS[kind]]
    assert list(map(repr, ours)) == list(map(repr, theirs))
    assert [[a == b for a in ours] for b in ours] == [[a == b for a in theirs] for b in theirs]
    if kind is not Itself:
        assert list(map(hash, ours)) == list(map(hash, theirs))
    assert kind.__match_args__ == known.__match_args__
    assert hasattr(kind, "__dict__") == hasattr(known, "__dict__")
    assert kind.__dataclass_params__.frozen
    seen, wanted = inspect.signature(kind), inspect.signature(known)
    assert [(p.name, p.default, p.annotation) for p in seen.parameters.values()] == [
        (p.name, p.default, p.annotation) for p in wanted.parameters.values()
    ]


def test_frozen():
    value = Slotted(1)
    for name in ("first", "other"):
        with pytest.raises(dataclasses.FrozenInstanceError, match=f"assign to field '{name}'"):
            setattr(value, name, 2)
        with pytest.raises(dataclasses.FrozenInstanceError, match=f"delete field '{name}'"):
            delattr(value, name)
    assert value == Slotted(1)


def test_copies_and_pickles():
    for value in (Slotted(1, (2,), "x"), Open((1, "a")), Nothing()):
        for other in (
            pickle.loads(pickle.dumps(value)),
            copy.copy(value),
            copy.deepcopy(value),
        ):
            assert other == value and repr(other) == repr(value)
    assert dataclasses.replace(Slotted(1), second=()).total() == 1
    assert dataclasses.asdict(Open(3)) == {"only": 3}


def test_fields_are_compared_as_a_tuple_compares_them():
    array = np.arange(3)
    assert Open(array) == Open(array)  # the same object
    assert Slotted(1) != 1 and Slotted(1) != Open(1)


def test_the_standard_library_can_derive_from_it():
    @dataclasses.dataclass(frozen=True)
    class Derived(Open):
        more: int = 2

    assert repr(Derived(1)).endswith("Derived(only=1, more=2)")
    with pytest.raises(dataclasses.FrozenInstanceError):
        Derived(1).more = 3


def test_class_variables_are_no_fields() -> None:
    assert [field.name for field in dataclasses.fields(Named)] == ["first"]
    assert Named(3).name == "named" and repr(Named(3)) == "Named(first=3)"
    with pytest.raises(TypeError):
        Named(name="other")  # type: ignore[call-arg]
    derived = Derived(4, 5)
    assert (derived.first, derived.second) == (4, 5) and dataclasses.replace(
        derived, first=1
    ).second == 5
    assert derived != Named(4) and derived == Derived(4, 5)


def test_arguments_that_are_refused_before_and_after_many_values():
    @dataclass(frozen=True, slots=True)
    class Pair:
        first: int
        second: int = 2

    for _ in range(3):
        assert [(p.first, p.second) for p in (Pair(1), Pair(second=3, first=1))] == [
            (1, 2),
            (1, 3),
        ]
        for args, named in [((), {}), ((1, 2, 3), {}), ((1,), {"first": 1}), ((1,), {"x": 1})]:
            with pytest.raises(TypeError):
                Pair(*args, **named)
        made = [Pair(k, second=-k) for k in range(40)]
        assert [(p.first, p.second) for p in made] == [(k, -k) for k in range(40)]
