"""Arguments and surroundings that aren't ndarrays: what can change is no constant."""

from __future__ import annotations

import array
import collections
import contextlib
import functools
import gc
import mmap
import types
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphjit as gj

pytestmark = pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
try:
    import pandas
except ImportError:
    pandas = None


class WithArray:
    """What tensors of other libraries are to NumPy."""

    def __init__(self, values: Any) -> None:
        self.values = np.array(values, float)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(self.values, dtype=dtype)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.values[key] = value


class WithInterface:
    def __init__(self, values: Any) -> None:
        self.values = np.array(values, float)

    @property
    def __array_interface__(self) -> Any:
        return self.values.__array_interface__

    def __setitem__(self, key: Any, value: Any) -> None:
        self.values[key] = value


class WithInterfaceOfItsOwn:
    def __init__(self, values: Any) -> None:
        self.values = np.array(values, float)
        self.__array_interface__ = self.values.__array_interface__

    def __setitem__(self, key: Any, value: Any) -> None:
        self.values[key] = value


class Proxy:
    def __init__(self, values: Any) -> None:
        self.values = np.array(values, float)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["values"], name)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.values[key] = value


class Subclass(np.ndarray):
    pass


class Shifted(np.ndarray):
    def __array_ufunc__(self, ufunc: Any, method: str, *given: Any, **kwargs: Any) -> Any:
        return getattr(ufunc, method)(*map(np.asarray, given), **kwargs) + 1000


class OwnList(list):
    pass


def anonymous(values: Any) -> mmap.mmap:
    memory = mmap.mmap(-1, 8 * len(values))
    memory[:] = np.array(values, float).tobytes()
    return memory


MAKE: dict[str, Callable[[Any], Any]] = {
    "with __array__": WithArray,
    "with __array_interface__": WithInterface,
    "with one of its own": WithInterfaceOfItsOwn,
    "proxy": Proxy,
    "array.array": lambda v: array.array("d", v),
    "memoryview": lambda v: memoryview(array.array("d", v)),
    "bytearray": lambda v: bytearray(np.array(v, float).tobytes()),
    "mmap": anonymous,
    "deque": collections.deque,
    "subclass of list": OwnList,
    "UserList": collections.UserList,
    "subclass": lambda v: np.array(v, float).view(Subclass),
    "with __array_ufunc__": lambda v: np.array(v, float).view(Shifted),
    "masked": lambda v: np.ma.masked_array(np.array(v, float), np.arange(len(v)) == 1),
    "objects": lambda v: np.array(v, object),
    "flat": lambda v: np.array(v, float).flat,
}
if pandas is not None:
    MAKE["Series"] = lambda v: pandas.Series(np.array(v, float))
    MAKE["Index"] = lambda v: pandas.Index(np.array(v, float))
    MAKE["DataFrame"] = lambda v: pandas.DataFrame({"a": np.array(v, float)})


def change(value: Any) -> None:
    """Change what can be changed of it in place."""
    if isinstance(value, (bytearray, mmap.mmap)):
        value[7] = 0x40
    elif type(value).__name__ == "DataFrame":
        value["a"] = 50.0
    elif type(value).__name__ != "Index":
        value[0] = 50.0


def converted(x: Any, o: Any) -> Any:
    return (
        x
        + np.asarray(o, dtype=None if not isinstance(o, (bytearray, mmap.mmap)) else "u1").sum()
    )


def operand(x: Any, o: Any) -> Any:
    return np.add(x, o) if not isinstance(o, (bytearray, mmap.mmap)) else x + len(o)


def first(x: Any, o: Any) -> Any:
    return x * (o["a"][0] if type(o).__name__ == "DataFrame" else o[0])


def reduced(x: Any, o: Any) -> Any:
    return x + (sum(o) if isinstance(o, (bytearray, mmap.mmap)) else np.sum(o))


def in_a_list(use: Any, o: Any) -> Any:
    return lambda x, items: use(x, items[0]), (([o],), {})


def in_a_dict(use: Any, o: Any) -> Any:
    return lambda x, items: use(x, items["key"]), (({"key": o},), {})


def by_keyword(use: Any, o: Any) -> Any:
    return lambda x, *, o: use(x, o), ((), {"o": o})


def as_argument(use: Any, o: Any) -> Any:
    return use, ((o,), {})


def in_a_cell(use: Any, o: Any) -> Any:
    return lambda x: use(x, o), ((), {})


def as_default(use: Any, o: Any) -> Any:
    return lambda x, o=o: use(x, o), ((), {})


def as_keyword_default(use: Any, o: Any) -> Any:
    return lambda x, *, o=o: use(x, o), ((), {})


def as_attribute(use: Any, o: Any) -> Any:
    return lambda x, holder: use(x, holder.held), ((types.SimpleNamespace(held=o),), {})


def in_a_containers_attribute(use: Any, o: Any) -> Any:
    holder = types.SimpleNamespace(held={"key": [o]})
    return lambda x: use(x, holder.held["key"][0]), ((), {})


def as_a_global(use: Any, o: Any) -> Any:
    names = {"use": use, "held": o}
    exec("def f(x):\n    return use(x, held)", names)
    return names["f"], ((), {})


def in_a_module(use: Any, o: Any) -> Any:
    module: Any = types.ModuleType("settings")
    module.held = o
    return lambda x: use(x, module.held), ((), {})


def of_a_method(use: Any, o: Any) -> Any:
    class Model:
        def __init__(self) -> None:
            self.held = o

        def part(self, x: Any) -> Any:
            return use(x, self.held)

        @property
        def inner(self) -> Any:
            return self.held

        def __call__(self, x: Any) -> Any:
            return self.part(x) + use(x, self.inner)

    return Model().__call__, ((), {})


PLACES = [
    as_argument, in_a_list, in_a_dict, by_keyword, in_a_cell, as_default, as_keyword_default,
    as_attribute, in_a_containers_attribute, as_a_global, in_a_module, of_a_method,
]  # fmt: skip
X = np.array([1.0, 2.0, 3.0])


def outcome(call: Callable[[], Any]) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = call()
    except Exception as error:
        return type(error)
    return type(value), getattr(value, "dtype", None), repr(value)


def calls(use: Any, place: Any, make: Any, decorate: Any) -> list[Any]:
    """Outcomes before and after the object is changed in place, and of another object."""
    found: list[Any] = []
    for values in ([1.0, 2.0, 3.0], [7.0, 2.0, 3.0]):
        value = make(values)
        function, (args, kwargs) = place(use, value)
        call = functools.partial(decorate(function), X, *args, **kwargs)
        found += [outcome(call), outcome(call)]
        change(value)
        found += [outcome(call), outcome(call)]
    return found


@pytest.mark.parametrize("place", PLACES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", MAKE)
def test_what_can_change_is_read_at_each_call(name: str, place: Any) -> None:
    for use in (converted, operand, first, reduced):
        wanted = calls(use, place, MAKE[name], lambda f: f)
        assert calls(use, place, MAKE[name], gj.function) == wanted, use.__name__


@pytest.mark.parametrize("name", MAKE)
def test_no_form_is_kept_for_each_object(name: str) -> None:
    f = gj.function(converted)
    kept = []
    for k in range(5):
        value = MAKE[name]([1.0, 2.0, float(k)])
        outcome(lambda value=value: f(X, value))
        with contextlib.suppress(TypeError):
            kept.append(weakref.ref(value))
    del value
    gc.collect()
    assert len(f.specializations) <= 1
    assert not any(reference() is not None for reference in kept)


@pytest.mark.parametrize("name", MAKE)
def test_results_of_foreign_arguments_alone_are_as_undecorated(name: str) -> None:
    f = gj.function(lambda o: np.asarray(o) * 2)
    assert outcome(lambda: f(MAKE[name]([1.0, 2.0]))) == outcome(
        lambda: np.asarray(MAKE[name]([1.0, 2.0])) * 2
    )


def test_a_set_an_iterator_and_a_mapping_are_read_at_each_call() -> None:
    for value, alter, use in (
        ({1}, lambda s: s.add(2), lambda x, s: x * len(s)),
        (
            types.MappingProxyType(d := {"k": 1.0}),
            lambda _: d.update(k=5.0),
            lambda x, m: x * m["k"],
        ),
        (
            collections.ChainMap(e := {"k": 1.0}),
            lambda _: e.update(k=5.0),
            lambda x, m: x * m["k"],
        ),
        (iter([1.0, 2.0, 3.0, 4.0]), lambda _: None, lambda x, i: x * next(i)),
    ):
        f = gj.function(lambda x, value=value, use=use: use(x, value))
        one = f(X)
        alter(value)
        assert not np.array_equal(one, f(X))


def test_a_memory_map_compiles(tmp_path: Path) -> None:
    memory = np.memmap(tmp_path / "x", dtype=float, mode="w+", shape=(3,))
    memory[:] = [1, 2, 3]
    f = gj.function(lambda x: np.exp(x) * x + x.sum(), fallback="error")
    for change_to in (1.0, 5.0, -2.0):
        memory[0] = change_to
        wanted = np.exp(memory) * memory + memory.sum()
        found = f(memory)
        assert type(found) is type(wanted) is np.ndarray
        np.testing.assert_allclose(found, wanted, rtol=1e-15)
    assert f.trace_count == 1
    assert f.specializations == [f.specialization(memory)]
    f(np.array(memory))
    assert f.trace_count == 1  # for an ndarray, it is the same specialization


def test_defaults_are_read_at_each_call() -> None:
    weights, others = np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0])

    def of_both(x: Any, w: Any = weights, *, v: Any = others) -> Any:
        return x * w + np.exp(v).sum()

    f = gj.function(of_both, fallback="error")
    for k in range(3):
        weights[0] = others[1] = k
        np.testing.assert_allclose(f(X), of_both(X), rtol=1e-15)
    of_both.__kwdefaults__ = {"v": np.zeros(3)}
    np.testing.assert_allclose(f(X), of_both(X), rtol=1e-15)
    of_both.__defaults__ = (np.full(3, 9.0),)
    np.testing.assert_allclose(f(X), of_both(X), rtol=1e-15)
    assert f.trace_count == 1


def test_other_dtypes_scalars_are_told_apart_by_value() -> None:
    f = gj.function(lambda x, d: x + (d > np.datetime64("2020-01-01")))
    for day, more in (("2019-01-01", 0), ("2021-01-01", 1), ("2019-01-01", 0)):
        assert np.array_equal(f(X, np.datetime64(day)), X + more)
    assert len(f.specializations) == 2


def test_the_error_names_what_is_read() -> None:
    held = array.array("d", [1.0])
    f = gj.function(lambda x: x * held[0], fallback="error")
    with pytest.raises(gj.errors.TracingError, match=r"reads held \(array\), which can change"):
        f(X)
    g = gj.function(lambda x, o: x, fallback="error")
    with pytest.raises(gj.errors.TracingError, match=r"argument that can't be traced: array"):
        g(X, array.array("d", [1.0]))


def test_what_the_code_does_not_name_is_no_hindrance() -> None:
    class Model:
        def __init__(self) -> None:
            self.w = np.ones(3)
            self.log = collections.deque([1.0])

        def step(self, x: Any) -> Any:
            return x * self.w

        def note(self, x: Any) -> None:
            self.log.append(x)

    model = Model()
    f = gj.function(model.step, fallback="error")
    assert np.array_equal(f(X), X)
    assert f.trace_count == 1


def _asked(answer: Callable[[Any, str], Any]) -> tuple[type, list[str]]:
    """A class whose objects have an array, and note what attribute they are asked for."""
    asked: list[str] = []

    class Asked:
        def __init__(self) -> None:
            self.w = np.arange(3.0)

        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            return answer(self, name)

    return Asked, asked


def _no_attribute(self: Any, name: str) -> Any:
    raise AttributeError(name)


def _no_key(self: Any, name: str) -> Any:
    return {"k": 2.0}[name]


def _counts(self: Any, name: str) -> Any:
    self.__dict__["count"] = self.__dict__.get("count", 0) + 1
    raise AttributeError(name)


@pytest.mark.parametrize("native_after", [None, 0])
@pytest.mark.parametrize("answer", [_no_attribute, _no_key, _counts, lambda self, name: 1.0])
def test_no_object_is_asked_for_attributes(
    answer: Callable[[Any, str], Any], native_after: int | None, monkeypatch: Any
) -> None:
    """`__getattr__` may do anything: what is searched for is looked up without it."""
    monkeypatch.setattr(gj.config, "native_after", native_after)
    kind, asked = _asked(answer)
    o, x = kind(), np.ones(3)

    class Model(kind):  # type: ignore[misc, valid-type]
        @gj.function
        def step(self, x: Any) -> Any:
            return self.w * x

    model = Model()
    functions = [
        (gj.function(lambda o, x: o.w * x), (o, x)),
        (gj.function(lambda o, x: o[0]["a"].w * x), ([{"a": o}], x)),
        (gj.function(lambda x: o.w * x), (x,)),
        (gj.function(lambda x, o=o: o.w * x), (x,)),
        (gj.function(lambda o, x: (o, o.w * x)[1] if x[0] > 0 else x), (o, x)),
        (model.step, (x,)),
    ]
    for function, args in functions:
        for _ in range(3):
            np.testing.assert_array_equal(function(*args), np.arange(3.0))
    assert asked == [] and "count" not in vars(o)


def test_a_property_comes_before_what_the_object_holds(monkeypatch: Any) -> None:
    monkeypatch.setattr(gj.config, "native_after", None)

    class Owner:
        def __init__(self) -> None:
            self.__dict__["w"] = self.other = np.ones(3)

        @property
        def w(self) -> Any:
            return self.other

    owner = Owner()
    f = gj.function(lambda x: x * owner.w)
    for k in range(3):
        owner.other = owner.other + k
        np.testing.assert_array_equal(f(np.ones(3)), owner.w)


def test_objects_that_answer_for_an_array_they_hold() -> None:
    class InSlot:
        __slots__ = ("values",)

        def __init__(self) -> None:
            self.values = np.ones(3)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.values, name)

    o = InSlot()
    f = gj.function(lambda o, x: np.add(o, x))
    for k in range(3):
        o.values[:] = k
        np.testing.assert_array_equal(f(o, np.ones(3)), np.full(3, k + 1.0))
