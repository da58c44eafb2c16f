"""Code of C and of libraries that asks objects by special methods: nothing is frozen."""

from __future__ import annotations

import bisect
import collections
import enum
import functools
import itertools
import math
import operator
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphjit as gj

X = np.arange(4.0)
NOW = {"k": 1.0}


class Number:
    def __float__(self) -> float:
        return NOW["k"]

    def __index__(self) -> int:
        return int(NOW["k"])


class Equal:
    def __init__(self, value: float) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return self.value == NOW["k"]

    def __hash__(self) -> int:
        return int(NOW["k"])


class Ordered:
    def __init__(self, value: float) -> None:
        self.value = float(value)

    def __lt__(self, other: Ordered) -> bool:
        return (self.value < other.value) == (NOW["k"] < 2)


class Tested:
    def __init__(self, value: float) -> None:
        self.value = value

    def __bool__(self) -> bool:
        return self.value > NOW["k"]


class Added:
    def __init__(self, value: float) -> None:
        self.value = value

    def __add__(self, other: Any) -> Added:
        return Added(self.value + NOW["k"] * other.value)

    def __radd__(self, other: Any) -> Added:
        return Added(self.value * NOW["k"] + other)


class Choice(enum.Enum):
    FEW = 1
    MANY = 5

    @classmethod
    def _missing_(cls, value: object) -> Choice:
        return cls.FEW if NOW["k"] < 2 else cls.MANY


class OfClass:
    def __class_getitem__(cls, key: float) -> float:
        return NOW["k"] * key


class Text:
    def __format__(self, spec: str) -> str:
        return str(NOW["k"])

    def __str__(self) -> str:
        return str(NOW["k"])

    def __repr__(self) -> str:
        return str(NOW["k"])


class OfMetaclass(type):
    def __call__(cls, x: Any) -> Any:
        return x * NOW["k"]

    def __getattr__(cls, name: str) -> float:
        return NOW["k"]

    def __contains__(cls, x: object) -> bool:
        return NOW["k"] < 2

    def __len__(cls) -> int:
        return int(NOW["k"])

    def __iter__(cls) -> Iterator[float]:
        return iter([NOW["k"]])

    def __getitem__(cls, key: int) -> float:
        return NOW["k"]


class WithMetaclass(metaclass=OfMetaclass):
    pass


class Steps:
    def __init__(self) -> None:
        self.count = 0

    def __iter__(self) -> Steps:
        return self

    def __next__(self) -> float:
        self.count += 1
        if self.count > 3:
            raise StopIteration
        return self.count * NOW["k"]


class Items:
    def __len__(self) -> int:
        return 3

    def __getitem__(self, k: int) -> float:
        if k > 2:
            raise IndexError
        return k * NOW["k"]


class AsArray:
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array([1.0, NOW["k"], 3.0, 4.0])


class Integer(int):
    def __add__(self, other: Any) -> Any:
        return other + NOW["k"]

    def __index__(self) -> int:
        return int(NOW["k"])


class Dictionary(dict[str, float]):
    def __missing__(self, key: str) -> float:
        return NOW["k"]


class Several:
    def __round__(self, digits: int | None = None) -> float:
        return NOW["k"]

    def __abs__(self) -> float:
        return NOW["k"]

    def __neg__(self) -> float:
        return NOW["k"]

    def __contains__(self, item: object) -> bool:
        return NOW["k"] < 2

    def __reversed__(self) -> Iterator[float]:
        return iter([NOW["k"], 1.0])

    def __complex__(self) -> complex:
        return complex(NOW["k"])

    def __bytes__(self) -> bytes:
        return b"x" * int(NOW["k"])


INTEGER, DICTIONARY, SEVERAL = Integer(3), Dictionary(), Several()
LETTERS, ONES = "abcdef", [1.0, 2.0, 3.0, 4.0]


def times(x: Any) -> Any:
    return x * NOW["k"]


def stored(x: Any) -> Any:
    made = np.zeros(4)
    made[1] = Number()
    return made + x


def sorted_in_place(x: Any) -> Any:
    made = [1.0, 3.0, 2.0]
    made.sort(key=Ordered)
    return x + made[0]


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "a bound of a slice of an array": lambda x: x + np.arange(4.0)[Number() :].sum(),
    "a bound of a slice of an argument": lambda x: x + x[Number() :].sum(),
    "a bound of a slice of a list": lambda x: x + len(ONES[Number() :]),
    "a bound of a slice of a text": lambda x: x + len(LETTERS[Number() :]),
    "an index of an array": lambda x: x + np.arange(4.0)[Number()],
    "an index of a list": lambda x: x + ONES[Number()],
    "a range": lambda x: x + sum(range(Number())),
    "a text repeated": lambda x: x + len("a" * Number()),
    "an item that is stored": stored,
    "numbers in a list": lambda x: x + np.array([Number()] * 4, float),
    "np.roll": lambda x: np.roll(x, Number()),
    "repeat": lambda x: x + x.repeat(Number()).sum(),
    "math.sqrt": lambda x: x + math.sqrt(Number()),
    "math.fsum": lambda x: x + math.fsum([Number(), Number()]),
    "float": lambda x: x + float(Number()),
    "round to digits": lambda x: x + round(2.34567, Number()),
    "islice": lambda x: x + sum(itertools.islice(ONES, Number())),
    "list.index": lambda x: x + [Equal(1.0), Equal(2.0), Equal(3.0)].index(5.0),
    "list.count": lambda x: x + [Equal(1.0), Equal(2.0)].count(5.0),
    "tuple.count": lambda x: x + (Equal(1.0), Equal(2.0)).count(0),
    "in": lambda x: x + (5.0 in [Equal(2.0)]),
    "hash": lambda x: x + hash(Equal(1.0)),
    "keys of a dict": lambda x: x + len({Equal(1.0): 1, Equal(2.0): 2}),
    "a set": lambda x: x + len({Equal(1.0), Equal(2.0)}),
    "set()": lambda x: x + len(set([Equal(1.0), Equal(2.0)])),
    "dict.fromkeys": lambda x: x + len(dict.fromkeys([Equal(1.0), Equal(2.0)])),
    "pairs": lambda x: x + len(dict([(Equal(1.0), 1), (Equal(2.0), 2)])),
    "Counter": lambda x: x + len(collections.Counter([Equal(1.0), Equal(2.0)])),
    "keys to sort by": lambda x: x + sorted([1.0, 3.0, 2.0], key=Ordered)[0],
    "keys by a lambda": lambda x: x + sorted([1.0, 3.0, 2.0], key=lambda v: Ordered(v))[0],
    "list.sort": sorted_in_place,
    "sorted": lambda x: x + sorted([Ordered(1.0), Ordered(3.0)])[0].value,
    "max by keys": lambda x: x + max([1.0, 3.0, 2.0], key=Ordered),
    "min": lambda x: x + min(Ordered(1.0), Ordered(3.0)).value,
    "bisect": lambda x: x + bisect.bisect_left([1.0, 2.0, 3.0], 3.0, key=times),
    "filter": lambda x: x + len(list(filter(Tested, [1.0, 2.0, 3.0]))),
    "filter None": lambda x: x + len(list(filter(None, [Tested(1.0), Tested(2.0)]))),
    "any": lambda x: x + any(map(Tested, [1.0, 2.0])),
    "all": lambda x: x + all([Tested(2.0), Tested(3.0)]),
    "takewhile": lambda x: x + sum(itertools.takewhile(Tested, [3.0, 2.0, 1.0])),
    "filterfalse": lambda x: x + sum(itertools.filterfalse(Tested, [3.0, 2.0, 1.0])),
    "operator.truth": lambda x: x + operator.truth(Tested(2.0)),
    "sum of a map": lambda x: x + sum(map(Added, [1.0, 2.0])).value,  # type: ignore[union-attr]
    "sum of a list": lambda x: x + sum([Added(1.0), Added(2.0)]).value,  # type: ignore[union-attr]
    "reduce": lambda x: x + functools.reduce(operator.add, [Added(1.0), Added(2.0)]).value,
    "accumulate": lambda x: x + list(itertools.accumulate([Added(1.0), Added(2.0)]))[-1].value,
    "a member that is missing": lambda x: x + Choice(7).value,
    "an item of a class": lambda x: x + OfClass[2.0],
    "str.format": lambda x: x + float("{}".format(Text())),  # noqa: UP032
    "an f-string": lambda x: x + float(f"{Text()}"),
    "%": lambda x: x + float("%s" % Text()),  # noqa: UP031
    "str": lambda x: x + float(str(Text())),
    "repr": lambda x: x + float(repr(Text())),
    "str of a list": lambda x: x + float(str([Text()])[1:-1]),
    "format_map": lambda x: x + float("{a}".format_map({"a": Text()})),
    "a metaclass's call": lambda x: WithMetaclass(x),  # type: ignore[call-arg]
    "a metaclass's attribute": lambda x: x + WithMetaclass.anything,
    "in a class": lambda x: x + (3 in WithMetaclass),
    "len of a class": lambda x: x + len(WithMetaclass),
    "a class's items": lambda x: x + list(WithMetaclass)[0],  # noqa: RUF015
    "a class's item": lambda x: x + WithMetaclass[0],
    "sum of steps": lambda x: x + sum(Steps()),
    "np.array of steps": lambda x: x + np.array(list(Steps())).sum(),
    "np.fromiter": lambda x: x + np.fromiter(Steps(), float).sum(),
    "steps unpacked": lambda x: x + [*Steps()][1],
    "steps chained": lambda x: x + list(itertools.chain(Steps(), Steps()))[4],
    "steps zipped": lambda x: x + next(a for a, b in zip(Steps(), Steps(), strict=True)),
    "next": lambda x: x + next(Steps()),
    "sum of items": lambda x: x + sum(Items()),  # type: ignore[arg-type]
    "items in a map": lambda x: x + [*map(float, Items())][1],  # type: ignore[arg-type]
    "items backwards": lambda x: x + next(reversed(Items())),  # type: ignore[call-overload]
    "in items": lambda x: x + (2.0 in Items()),  # type: ignore[operator]
    "np.asarray": lambda x: x + np.asarray(AsArray()),
    "an operand": lambda x: np.add(x, AsArray()),
    "arrays in a list": lambda x: x + np.array([AsArray(), AsArray()])[0],
    "an int of its own": lambda x: x + (INTEGER + 1.0),
    "a key that is missing": lambda x: x + DICTIONARY["q"],
    "round": lambda x: x + round(SEVERAL),
    "abs": lambda x: x + abs(SEVERAL),  # type: ignore[operator]
    "negated": lambda x: x + -SEVERAL,
    "in an object": lambda x: x + (3 in SEVERAL),
    "reversed": lambda x: x + next(reversed(SEVERAL)),  # type: ignore[call-overload]
    "complex": lambda x: x + complex(SEVERAL),
    "bytes": lambda x: x + len(bytes(SEVERAL)),
}


def outcome(function: Callable[[Any], Any]) -> Any:
    try:
        found = function(X.copy())
    except Exception as error:
        return type(error)
    return type(found), np.asarray(found).dtype, np.asarray(found).tolist()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_nothing_is_stale(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function = FUNCTIONS[name]
    compiled = gj.function(function)
    seen = []
    for k in (1.0, 2.0, 3.0, 1.0):
        monkeypatch.setitem(NOW, "k", k)
        seen.append(outcome(function))
        assert outcome(compiled) == seen[-1]
    assert seen[0] != seen[1] or seen[1] != seen[2]  # it does depend on what changed


def test_an_int_of_a_class_of_its_own_is_an_index_as_it_is() -> None:
    np.testing.assert_array_equal(gj.function(lambda x: x + ONES[INTEGER])(X), X + 4)


class Plain:
    def __len__(self) -> int:
        return 3


def test_a_class_with_special_methods_still_compiles() -> None:
    held = Plain()

    @gj.function(fallback="error")
    def f(x: Any) -> Any:
        return x * len(held)

    np.testing.assert_array_equal(f(X), X * 3)


def test_a_module_imported_meanwhile_compiles(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "imported_meanwhile.py").write_text("def g(): return 2.0\nh = g()\n")
    monkeypatch.syspath_prepend(tmp_path)
    held = Plain()

    @gj.function(fallback="error")
    def f(x: Any) -> Any:
        from imported_meanwhile import h  # type: ignore[import-not-found]

        return x * len(held) * h

    np.testing.assert_array_equal(f(X), X * 6)


def test_the_refusal_names_what_was_called() -> None:
    f = gj.function(lambda x: x + ONES[Number() : Number()][0] if ONES[Number() :] else x)
    with pytest.warns(gj.FallbackWarning, match=r"isn't followed calls Number.__index__"):
        assert outcome(f) is IndexError


def test_a_profiler_is_left_in_place() -> None:
    import sys

    seen: list[str] = []

    def note(frame: Any, event: str, argument: Any) -> None:
        seen.append(event)

    held = Plain()
    f = gj.function(lambda x: x * len(held))
    sys.setprofile(note)
    try:
        f(X)
        assert sys.getprofile() is note
    finally:
        sys.setprofile(None)
    assert "call" in seen


def test_a_failed_trace_ends_the_watch() -> None:
    import sys

    held = Plain()
    f = gj.function(lambda x: x * len(held) + (5.0 in [Equal(1.0)]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        f(X)
    assert sys.getprofile() is None
