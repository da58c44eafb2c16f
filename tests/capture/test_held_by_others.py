"""State that is reached through objects of libraries, calls of C, classes and texts."""

from __future__ import annotations

import abc
import collections
import collections.abc
import copy
import dataclasses
import datetime
import decimal
import functools
import itertools
import numbers
import random
import string
import types
import typing
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphjit as gj

X = np.ones(2)
Case = tuple[Callable[..., Any], Callable[[Any], Any]]


class Log(NamedTuple):
    items: list[Any]


class Plain:
    rate = 1.0

    def held(self) -> Any:
        return STATE.list


class Other(Plain):
    rate = 5.0


class Slots:
    __slots__ = ("items",)

    def __init__(self, items: Any) -> None:
        self.items = items


@dataclasses.dataclass
class Fields:
    items: Any


class Zone(datetime.tzinfo):
    hours = 1

    def utcoffset(self, when: Any) -> Any:
        return datetime.timedelta(hours=self.hours)

    def dst(self, when: Any) -> Any:
        return datetime.timedelta(0)


def put(items: Any, value: Any) -> None:
    items.append(value)


class Named(abc.ABC):  # noqa: B024
    pass


class State:
    """What the functions below read, new for each run."""

    def __init__(self) -> None:
        self.list: list[Any] = [1.0]
        self.dict: dict[str, Any] = {"a": 1.0}
        self.values = self.dict.values()
        self.error = ValueError("a")
        self.template = string.Template("$a")
        self.names = types.SimpleNamespace(a=1)
        self.module = types.ModuleType("settings")
        self.module.items = [1.0]  # type: ignore[attr-defined]
        self.queue = collections.deque([[1.0]])
        self.weak: Any = Plain()
        self.reference = weakref.ref(self.weak)
        self.object, self.zone = Plain(), Zone()
        self.early = datetime.datetime(2020, 1, 1, 5, tzinfo=self.zone)
        self.late = datetime.datetime(2020, 1, 1, 2, tzinfo=datetime.UTC)
        self.number = decimal.Decimal("1.11111111")
        self.context = decimal.Context(prec=9)
        self.seeds, self.rng = np.random.SeedSequence(5), np.random.default_rng(5)
        self.bits = np.random.PCG64(3)
        self.kind = type("Kind", (Plain,), {"rate": 2.0})


STATE = State()

# Effects on what was handed on: lists, dicts and objects that are made hold the thing itself.
EFFECTS: dict[str, Callable[[Any], Any]] = {
    "named tuple": lambda x: Log(STATE.list).items.append(2.0),
    "_make": lambda x: Log._make([STATE.list]).items.append(2.0),
    "_replace": lambda x: Log([])._replace(items=STATE.list).items.append(2.0),
    "dict()": lambda x: dict(state=STATE.dict)["state"].update(n=5),
    "namespace": lambda x: types.SimpleNamespace(l=STATE.list).l.append(2.0),
    "deque": lambda x: collections.deque([STATE.list])[0].append(2.0),
    "user dict": lambda x: collections.UserDict(l=STATE.list)["l"].append(2.0),
    "chain map": lambda x: collections.ChainMap(STATE.dict).__setitem__("n", 1),
    "ordered dict": lambda x: collections.OrderedDict(l=STATE.list)["l"].append(2.0),
    "partial": lambda x: functools.partial(put, STATE.list)(2.0),
    "repeat": lambda x: next(itertools.repeat(STATE.list)).append(2.0),
    "choice": lambda x: random.choice([STATE.list]).append(2.0),
    "error": lambda x: ValueError(STATE.list).args[0].append(2.0),
    "object array": lambda x: np.array([None, STATE.list], object)[1].append(2.0),
    "dataclass": lambda x: Fields(STATE.list).items.append(2.0),
    "list": lambda x: [STATE.list][0].append(2.0),
    "zip": lambda x: next(zip([STATE.list], [1], strict=True))[0].append(2.0),
}


def write(x: Any) -> Any:
    np.save(PATH[0], np.arange(3))
    return x


PATH = [Path()]
# What is computed, and what changes after the first call.
CASES: dict[str, Case] = {
    "module's": (lambda x: STATE.module.items, lambda s: setattr(s.module, "items", [7.0])),
    "a method's": (lambda x: STATE.object.held(), lambda s: setattr(s, "list", [7.0])),
    "in a deque": (lambda x: STATE.queue[0], lambda s: s.queue.__setitem__(0, [7.0])),
    "a reference's": (
        lambda x: STATE.reference().items,  # type: ignore[union-attr]
        lambda s: setattr(s.weak, "items", [7.0]),
    ),
    "of a class": (lambda x: STATE.kind.rate, lambda s: setattr(s.kind, "rate", [7.0])),
    "asdict": (
        lambda x: x * dataclasses.asdict(Fields(STATE.list))["items"][0],
        lambda s: s.list.__setitem__(0, 7.0),
    ),
    "astuple": (
        lambda x: x * dataclasses.astuple(Fields(STATE.list))[0][0],
        lambda s: s.list.__setitem__(0, 7.0),
    ),
    "deepcopy": (
        lambda x: x * copy.deepcopy(Slots(STATE.list)).items[0],
        lambda s: s.list.__setitem__(0, 7.0),
    ),
    "values": (lambda x: x * sum(STATE.values), lambda s: s.dict.update(a=7.0)),
    "error's text": (
        lambda x: x * len(str(STATE.error)), lambda s: setattr(s.error, "args", ("abc",))
    ),
    "error in a text": (
        lambda x: x * len(f"{STATE.error}"), lambda s: setattr(s.error, "args", ("abc",))
    ),
    "template": (
        lambda x: x * len(STATE.template.substitute(a="z")),
        lambda s: setattr(s.template, "template", "$a$a"),
    ),
    "namespace in a text": (
        lambda x: x * len(f"{STATE.names}"), lambda s: setattr(s.names, "a", 1000)
    ),
    "namespace by %": (
        lambda x: x * len("%s" % (STATE.names,)),  # noqa: UP031
        lambda s: setattr(s.names, "a", 1000),
    ),
    "field": (
        lambda x: x * float(f"{STATE.kind.rate}"), lambda s: setattr(s.kind, "rate", 7.0)
    ),
    "field by name": (
        lambda x: x * float(f"{STATE.kind.rate}"),
        lambda s: setattr(s.kind, "rate", 7.0),
    ),
    "list by name": (
        lambda x: x * len(f"{STATE.list}"), lambda s: s.list.append(7.0)
    ),
    "type.__getattribute__": (
        lambda x: x * type.__getattribute__(STATE.kind, "rate"),
        lambda s: setattr(s.kind, "rate", 7.0),
    ),
    "registered": (
        lambda x: x * isinstance(STATE.object, Named), lambda s: Named.register(Plain)
    ),
    "number": (
        lambda x: x * isinstance(STATE.kind(), numbers.Number),
        lambda s: numbers.Number.register(s.kind),
    ),
    "sized": (
        lambda x: x * isinstance(STATE.kind(), collections.abc.Sized),
        lambda s: setattr(s.kind, "__len__", lambda self: 1),
    ),
    "protocol": (
        lambda x: x * isinstance(STATE.kind(), typing.SupportsFloat),
        lambda s: setattr(s.kind, "__float__", lambda self: 1.0),
    ),
    "text of a class": (
        lambda x: x * len(f"{STATE.kind}"), lambda s: setattr(s.kind, "__qualname__", "Longer")
    ),
    "hints": (
        lambda x: x * len(typing.get_type_hints(STATE.kind)),
        lambda s: setattr(s.kind, "__annotations__", {"a": int}),
    ),
    "file": (lambda x: x * np.load(PATH[0]), lambda s: np.save(PATH[0], np.full(2, 5.0))),
    "written file": (write, lambda s: PATH[0].unlink()),
    "options": (
        lambda x: x * len(str(np.arange(3) / 3)), lambda s: np.set_printoptions(precision=2)
    ),
    "options of numbers": (
        lambda x: x * len(repr(np.float64(1) / 3)), lambda s: np.set_printoptions(legacy="1.25")
    ),
    "unary": (
        lambda x: x * len(str(-STATE.number)),
        lambda s: setattr(decimal.getcontext(), "prec", 3),
    ),
    "sum of decimals": (
        lambda x: x * float(sum((STATE.number, STATE.number))),
        lambda s: setattr(decimal.getcontext(), "prec", 3),
    ),
    "context": (
        lambda x: x * float(decimal.Decimal(2).sqrt(STATE.context)),
        lambda s: setattr(s.context, "prec", 3),
    ),
    "zone": (
        lambda x: x * (STATE.early - STATE.late).total_seconds(),
        lambda s: setattr(s.zone, "hours", 7),
    ),
    "seeds": (lambda x: x * STATE.seeds.spawn(1)[0].generate_state(1)[0], lambda s: None),
    "copied generator": (
        lambda x: x * copy.deepcopy(STATE.rng).random(), lambda s: s.rng.random()
    ),
    "copied bits": (
        lambda x: x * np.random.Generator(copy.copy(STATE.bits)).random(),
        lambda s: s.bits.advance(3),
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _same_afterwards(tmp_path: Path) -> Any:
    PATH[0] = tmp_path / "x.npy"
    np.save(PATH[0], np.ones(2))
    with np.printoptions(), decimal.localcontext():
        yield


def new_state() -> State:
    global STATE
    STATE = State()
    return STATE


@pytest.mark.parametrize("name", EFFECTS)
def test_new_objects_hold_the_thing_itself(name: str) -> None:
    def run(x: Any) -> Any:
        EFFECTS[name](x)
        return x * 2

    found = []
    for f in (run, gj.function(run)):
        state = new_state()
        for _ in range(3):
            f(X)
        found.append((state.list, state.dict))
    assert found[0] == found[1]
    assert found[0] != ([1.0], {"a": 1.0})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_undecorated_python(name: str) -> None:
    function, change = CASES[name]
    found: list[list[Any]] = []
    for f in (function, gj.function(function)):
        Named._abc_registry_clear() if hasattr(Named, "_abc_registry_clear") else None
        state, options = new_state(), np.get_printoptions()
        if name == "a reference's":
            state.weak.items = [1.0]
        np.save(PATH[0], np.ones(2))
        with decimal.localcontext(), np.printoptions(**options):
            one = [f(X), f(X)]
            change(state)
            found.append([*one, f(X), f(X), PATH[0].exists()])
    expected, got = found
    for a, b in zip(expected, got, strict=True):
        assert type(a) is type(b)
        np.testing.assert_array_equal(a, b)


def test_classes_of_arguments_that_change() -> None:
    questions: list[Callable[[Any, Any], Any]] = [
        lambda x, q: x * isinstance(q, Other),
        lambda x, q: x * type(q).rate,
        lambda x, q: x * q.__class__.rate,
        lambda x, q: x * (type(q) is Plain),
        lambda x, q: x * (type(q).__name__ == "Plain"),
    ]
    for f in questions:
        for wrap in (lambda q: q, lambda q: [q]):
            g = (lambda x, q, f=f: f(x, q[0])) if isinstance(wrap(0), list) else f
            decorated, found = gj.function(g), []
            for h in (g, decorated):
                q = Plain()
                one = h(X, wrap(q))
                q.__class__ = Other
                found.append((one, h(X, wrap(q))))
            np.testing.assert_array_equal(found[0], found[1])


def test_the_class_of_self_that_changes() -> None:
    class Model:
        rate = 1.0

        @gj.function
        def call(self, x: Any) -> Any:
            return x * type(self).rate

    class Faster(Model):
        rate = 5.0

    model = Model()
    np.testing.assert_array_equal(model.call(X), X)
    model.__class__ = Faster
    np.testing.assert_array_equal(model.call(X), 5 * X)


def test_other_types_of_one_width() -> None:
    x = np.arange(3)
    f = gj.function(lambda x: (type(x.sum()).__name__, x.dtype.char, x + 1))
    for code in "lqlqLQ":
        given = x.astype(code)
        *names, found = f(given)
        assert names == [type(given.sum()).__name__, code]
        assert found.dtype.char == (given + 1).dtype.char


def test_the_other_byte_order_is_converted() -> None:
    x = np.arange(3).astype(">f8")
    f = gj.function(lambda x: x.astype("f8", copy=False))
    found = f(x)
    assert found.dtype.isnative
    assert found is not x
    np.testing.assert_array_equal(found, x)
    same = np.arange(3.0)
    assert f(same) is same


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
def test_complex_numbers_that_lose_a_part() -> None:
    z = np.array([1 + 2j])
    for f in (
        lambda x: x.astype(float),
        lambda x: np.array(x, dtype=float),
        lambda x: np.asarray(x, dtype="f4"),
        lambda x: x.sum(dtype=float),
        lambda x: np.mean(x, dtype=float),
    ):
        with pytest.warns(np.exceptions.ComplexWarning):
            gj.function(f)(z)
