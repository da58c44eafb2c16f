"""What C code and NumPy read of what they are given: lists that are assigned, objects that are
compared, handed on and unpacked.
"""

from __future__ import annotations

import dataclasses
import types
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj

pytestmark = pytest.mark.filterwarnings("ignore")
X = np.ones(2)
Case = tuple[list[Callable[[Any], Any]], list[Callable[[], Any]]]


def plain(value: Any) -> Any:
    """A value in which arrays are lists."""
    if isinstance(value, np.ndarray):
        return value.tolist(), value.dtype.name
    if isinstance(value, (list, tuple)):
        return type(value), [plain(x) for x in value]
    return value


def log_of(decorate: Callable[[Any], Any], case: Callable[[], Case]) -> list[Any]:
    """What each function gives or raises, three times, and after each of the changes."""
    functions, changes = case()
    runs = [decorate(f) for f in functions]
    log = []
    for change in (lambda: None, lambda: None, lambda: None, *changes):
        change()
        for run in runs:
            try:
                log.append(plain(run(X.copy())))
            except Exception as error:
                log.append((type(error), str(error)))
    return log


def assigned_lists() -> Case:
    values, table, more = [1.0, 2.0], np.zeros((2, 2)), {"l": deque([1.0, 2.0])}

    def whole(x: Any) -> Any:
        x[:] = values
        return x

    def made(x: Any) -> Any:
        y = np.zeros(2)
        y[:] = values
        return y

    def outside(x: Any) -> Any:
        table[0] = values
        table[1, :] = more["l"]
        return x * table.sum()

    def masked(x: Any) -> Any:
        x[x > 0] = values
        return x

    def flat(x: Any) -> Any:
        x.flat[:] = values
        return x

    def joined(x: Any) -> Any:
        return np.r_[x, values], np.c_[x, values[:2]]

    def change() -> None:
        values[0], more["l"][0] = 9.0, 8.0

    def numbers() -> None:
        values[1] = 7

    return [whole, made, outside, masked, flat, joined], [change, numbers]


@dataclasses.dataclass(order=True)
class Point:
    a: float


@dataclasses.dataclass(frozen=True)
class Key:
    a: Any


def compared_dataclasses() -> Case:
    one, two = Point(1.0), Point(2.0)
    items, table = [two], {"k": two}
    return [
        lambda x: one in items,
        lambda x: [one] == items,
        lambda x: (one, 1) == (two, 1),
        lambda x: {"k": one} == table,
        lambda x: [one] < [two],
        lambda x: one in table.values(),
        lambda x: items.count(one),
        lambda x: f"{one} {items}",
        lambda x: "%s" % (one,),  # noqa: UP031
    ], [lambda: setattr(one, "a", 2.0), lambda: setattr(two, "a", 5.0)]


def hashed_dataclasses() -> Case:
    part = [1]
    key = Key((1, 2))
    names = {key: 1.0}
    return [
        lambda x: names.get(Key((1, 2)), 5.0) * x,
        lambda x: Key((1, part[0])) in names,
        lambda x: len({Key(1), Key(part[0])}),
    ], [lambda: part.__setitem__(0, 2)]


class Namespace(types.SimpleNamespace):
    pass


def compared_by_contents() -> Case:
    one, two = types.SimpleNamespace(a=1), types.SimpleNamespace(a=2)
    three, four = Namespace(a=1), Namespace(a=2)
    queue, other, some, more = deque([1]), deque([2]), {1}, {2}
    point, second = Point(1.0), Point(2.0)
    refs = weakref.ref(point), weakref.ref(second)

    def change() -> None:
        one.a = three.a = 2
        queue[0] = 2
        some.clear()
        some.add(2)
        point.a = 2.0

    return [
        lambda x: one in [two],
        lambda x: [one] == [two],
        lambda x: three == four,
        lambda x: f"{three}",
        lambda x: queue in [other],
        lambda x: some in [more],
        lambda x: some in {1: more}.values(),
        lambda x: refs[0] == refs[1],
        lambda x: refs[0] in [refs[1]],
    ], [change]


class Stack:
    def __init__(self, *items: Any) -> None:
        self.items = list(items)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Any:
        return iter(self.items)

    def __reversed__(self) -> Any:
        return iter(self.items[::-1])


class Names:
    def keys(self) -> list[str]:
        return ["a", "b"]

    def __getitem__(self, key: str) -> str:
        return key

    def __iter__(self) -> Any:
        return iter([("z", 5.0)])


def handed_on() -> Case:
    def caught(function: Callable[[], Any]) -> Any:
        try:
            return function()
        except TypeError as error:
            return str(error)

    return [
        lambda x: bool(Stack()),
        lambda x: x if Stack() else "empty",
        lambda x: OrderedDict(Names()),
        lambda x: caught(lambda: {**Names()}),
        lambda x: caught(lambda: dict(Names())),
        lambda x: caught(lambda: list(reversed(Stack(1, 2)))),
        lambda x: [*Stack(1, x[0]), sum(Stack(1, 2)), max(Stack(3, 5))],
    ], []


def made_classes() -> Case:
    made = dataclasses.make_dataclass(
        "made", [("a", float)], namespace={"k": 3.0, "w": np.ones(2), "items": [1]}
    )
    new: Any = types.new_class("new", (), {}, lambda names: names.update(k=1.0))

    def change() -> None:
        made.k, made.w, new.k = 7.0, np.full(2, 5.0), 8.0  # type: ignore[attr-defined]
        made.items[0] = 9  # type: ignore[attr-defined]

    return [
        lambda x: (made.k, made.w * x, new.k, made.items[0]),  # type: ignore[attr-defined]
        lambda x: made(x).k,  # type: ignore[attr-defined]
    ], [change]


class Asked:
    @property
    def p(self) -> Any:
        raise AttributeError("inner")

    def __getattr__(self, name: str) -> str:
        return f"asked for {name}"


class NotAsked:
    @property
    def p(self) -> Any:
        raise AttributeError("inner")


def properties() -> Case:
    def read(kind: Any) -> Any:
        try:
            return kind().p
        except AttributeError as error:
            return str(error)

    return [
        lambda x: read(Asked),
        lambda x: read(NotAsked),
        lambda x: getattr(Asked(), "p", "default"),
        lambda x: getattr(NotAsked(), "p", "default"),
        lambda x: hasattr(Asked(), "p"),
    ], []


class Calls(Exception):
    def __call__(self, x: Any) -> Any:
        return x

    def __iter__(self) -> Any:
        return iter([1])


class Right:
    def __radd__(self, other: Any) -> str:
        return "right"


class First(Right):
    __array_ufunc__ = None


def operators_and_texts() -> Case:
    value = Calls(1)
    table = {value: 2.0}
    error = ValueError(1)
    return [
        lambda x: "{}".format(value),  # noqa: UP032
        lambda x: table.get(value, 0),
        lambda x: (value,).count(value),
        lambda x: f"{error}",
        lambda x: "%s" % error,  # noqa: UP031
        lambda x: x + Right(),
        lambda x: x + First(),
        lambda x: x[0] + Right(),
    ], [lambda: setattr(error, "args", (2,))]


class Steps:
    def __init__(self) -> None:
        self.left = 3

    def __next__(self) -> int:
        self.left -= 1
        if not self.left:
            raise StopIteration
        return self.left


class Nothing:
    __contains__ = None

    def __iter__(self) -> Any:
        return iter([1])


class Returning:
    def __init__(self) -> None:
        return 1  # type: ignore[return-value]


def what_python_refuses() -> Case:
    def caught(function: Callable[[], Any]) -> Any:
        try:
            return function()
        except TypeError as error:
            return str(error)

    return [
        lambda x: caught(lambda: list(Steps())),  # type: ignore[call-overload]
        lambda x: caught(lambda: [*Steps()]),  # type: ignore[misc]
        lambda x: caught(lambda: sum(Steps())),  # type: ignore[call-overload]
        lambda x: next(Steps()) * x,
        lambda x: caught(lambda: 1 in Nothing()),  # type: ignore[operator]
        lambda x: caught(Returning),
    ], []


class Answering(type):
    def __getattr__(cls, name: str) -> str:
        return name


class Answered(metaclass=Answering):
    v = 1.0


def test_a_metaclass_that_answers_to_any_name() -> None:
    logs = []
    for decorate in (lambda f: f, gj.function):
        held, seen = Answered(), []

        def f(x: Any, held: Any = held, seen: list[int] = seen) -> Any:
            held.v = x[0]
            seen.append(1)
            return held.v

        run = decorate(f)
        found = [float(run(np.ones(2) * k)) for k in range(3)]
        logs.append((found, vars(held), seen))
    assert logs[0] == logs[1]


@pytest.mark.parametrize(
    "case",
    [
        assigned_lists,
        compared_dataclasses,
        hashed_dataclasses,
        compared_by_contents,
        handed_on,
        made_classes,
        properties,
        operators_and_texts,
        what_python_refuses,
    ],
)
def test_as_undecorated(case: Callable[[], Case]) -> None:
    assert log_of(gj.function, case) == log_of(lambda f: f, case)


def test_iterators_that_the_function_makes_are_followed() -> None:
    class Counting:
        def __init__(self) -> None:
            self.k = 0

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> int:
            self.k += 1
            if self.k > 3:
                raise StopIteration
            return self.k

    def f(x: Any) -> Any:
        one, two = Counting(), Counting()
        return x * next(one), next(one), list(one), [*two], dict(enumerate(Counting()))

    assert plain(gj.function(f, fallback="error")(X)) == plain(f(X))
