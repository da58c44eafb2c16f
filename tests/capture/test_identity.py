"""`is`: whether two values are one object, which equal arguments don't say."""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphjit as gj

ONE: Any = None
OTHER: Any = None

# Makes of objects: two calls give equal values, and never one object.
MAKES: dict[str, Callable[[], Any]] = {
    "float": lambda: float("1.25"),
    "NaN": lambda: float("nan"),
    "int": lambda: int("100000"),
    "complex": lambda: complex("1+2j"),
    "str": lambda: "".join(["some", " text"]),
    "bytes": lambda: b"".join([b"some", b" bytes"]),
    "decimal": lambda: decimal.Decimal("1.5"),
    "float64": lambda: np.float64("1.25"),
    "float32": lambda: np.float32("1.25"),
    "int64": lambda: np.int64(7),
    "range": lambda: range(int("5")),
    "array": lambda: np.ones(3),
    "0-d": lambda: np.array(1.5),
    "tensor": lambda: gj.constant([1.0, 2.0]),
    "list": lambda: [1.5, 2.5],
    "tuple": lambda: tuple([1.5, 2.5]),
    "dict": lambda: {"a": 1.5},
    "arrays": lambda: [np.ones(3)],
}


class Pair:
    """Two objects, or one twice."""

    def __init__(self, one: Any, other: Any) -> None:
        self.one, self.other = one, other


def _of_arguments(x: Any, y: Any) -> bool:
    return x is y


def _of_items(pair: list[Any]) -> bool:
    return pair[0] is pair[1]


def _of_attributes(pair: Any) -> bool:
    return pair.one is not pair.other


def _of_globals() -> bool:
    return ONE is OTHER


def _of_argument_and_global(x: Any) -> bool:
    return x is ONE


@pytest.mark.parametrize("name", MAKES)
@settings(max_examples=15)
@given(same=st.lists(st.booleans(), min_size=1, max_size=6))
def test_of_equal_objects(name: str, same: list[bool]) -> None:
    global ONE, OTHER
    makes = MAKES[name]
    functions = [
        gj.function(f) for f in (_of_arguments, _of_items, _of_attributes, _of_globals)
    ]
    mixed = gj.function(_of_argument_and_global)
    for is_same in same:
        a = makes()
        b = a if is_same else makes()
        ONE, OTHER = a, b
        pair = Pair(a, b)
        arguments: list[tuple[Any, ...]] = [(a, b), ([a, b],), (pair,), ()]
        for f, args in zip(functions, arguments, strict=True):
            assert f(*args) == f.python_function(*args), f.python_function.__name__
        assert mixed(b) is is_same


def test_of_objects_with_numbers() -> None:
    # other objects' numbers become inputs: found with random classes
    @gj.function
    def f(pair: Any, x: Any) -> Any:
        return x + 1 if pair.one is pair.other else x - pair.other

    x = np.arange(3.0)
    for k in range(6):
        number = float(f"{k}.5")
        pair = Pair(number, number if k % 2 else float(f"{k}.5"))
        np.testing.assert_array_equal(f(pair, x), f.python_function(pair, x))


@pytest.mark.parametrize("value", [True, None, "", "a", b"", ..., np.float64, np.dtype("f4")])
def test_of_singletons_compiles(value: Any) -> None:
    @gj.function(fallback="error")
    def f(x: Any, y: Any, z: Any) -> Any:
        return x + 1 if y is z else x - 1

    x = np.arange(3.0)
    for y, z in ((value, value), (value, "other"), (1, value), (value, value)):
        np.testing.assert_array_equal(f(x, y, z), f.python_function(x, y, z))


def test_what_is_made_is_another_object() -> None:
    @gj.function(fallback="error")
    def f(x: Any) -> Any:
        y = x + 1
        z = y
        return y is x, z is y, x[:2] is x, np.asarray(x) is x, (x + 1) is y

    x = np.arange(3.0)
    assert f(x) == f(x) == f.python_function(x)


def test_reason() -> None:
    for f, args in ((_of_arguments, (np.ones(3), np.ones(3))), (_of_arguments, (1.5, 2.5))):
        with pytest.raises(
            gj.errors.TracingError, match=r"one object\n.*test_identity.py"
        ) as caught:
            gj.function(f, fallback="error")(*args)
        assert caught.value


def _in(x: Any, values: Any) -> bool:
    return x in values


def _missing(x: Any, values: Any) -> bool:
    return x in (None, np.nan)


def _counted(x: Any, values: Any) -> int:
    return values.count(x)


def _equal(x: Any, values: Any) -> bool:
    return [x] == [*values]


def _equal_dicts(x: Any, values: Any) -> bool:
    return {"a": x} != {"a": values[0]}


def _removed(x: Any, values: Any) -> list[Any]:
    values = [1.0, *values]
    values.remove(x)
    return values


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("function", [_in, _missing, _counted, _equal, _equal_dicts, _removed])
def test_nan_is_found_by_identity(function: Callable[..., Any], kind: Any) -> None:
    nan, other = float("nan"), float("nan")
    f = gj.function(function)
    pairs = [
        (nan, [nan]),
        (nan, [other]),
        (1.5, [nan]),
        (nan, [1.5]),
        (1.5, [1.5]),
        (1.5, [2.5]),
    ]
    for x, values in [*pairs, *reversed(pairs), (np.nan, [np.nan])]:
        outcomes = []
        for g in (f, function):
            try:
                outcomes.append(repr(g(x, kind(values))))
            except ValueError:
                outcomes.append("ValueError")
        assert outcomes[0] == outcomes[1]


def test_numbers_in_lists_compile() -> None:
    @gj.function(fallback="error")
    def f(x: Any, k: Any) -> Any:
        return x * 2 if k in (1, 2.5, "a") else x

    x = np.arange(3.0)
    for k in (1, 2, 2.5, 3.5, 1.0, math.nan):
        np.testing.assert_array_equal(f(x, k), f.python_function(x, k))
