"""What code that is traced learns of the types of values: what it would learn undecorated."""

from __future__ import annotations

import collections
import functools
import numbers
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj
from graphjit.core.errors import TracingError


def whole(n: Any) -> int:
    """1 for an int."""
    return 1 if isinstance(n, int) else 0


def told(n: Any) -> int:
    """The kind of a number, by its class."""
    match n:
        case int():
            return 1
        case float():
            return 2
        case _:
            return 3


@functools.singledispatch
def kind(n: Any) -> int:
    """The kind of a value, by dispatch."""
    return 7


kind.register(int)(lambda n: 1)
kind.register(float)(lambda n: 2)
kind.register(np.ndarray)(lambda n: 3)


def stored(x: Any, n: Any) -> Any:
    """A number in an array of the function's own."""
    made = np.zeros(4)
    made[1] = n
    return x + made.sum()


OF_NUMBERS: dict[str, Callable[[Any, Any], Any]] = {
    "helper": lambda x, n: x + whole(n),
    "match": lambda x, n: x + told(n),
    "dispatch": lambda x, n: x + kind(n),
    "class": lambda x, n: x + (n.__class__ is int),
    "abstract": lambda x, n: x + isinstance(n, numbers.Integral),
    "several": lambda x, n: x + isinstance(n, (int, float)),
    "attribute": lambda x, n: x + hasattr(n, "shape"),
    "default": lambda x, n: x + len(getattr(n, "shape", (1, 2))),
    "own attribute": lambda x, n: x + hasattr(n, "bit_length"),
    "key": lambda x, n: x + {1: 5}.get(n, 7),
    "member": lambda x, n: x + (1 if n in {1, 2} else 2),
    "hash": lambda x, n: x + hash(n),
    "counted": lambda x, n: x + collections.Counter([n, 1])[n],
    "stored": stored,
    "packed": lambda x, n: x + len(struct.pack("d", n)),
    "repeated": lambda x, n: x + len([1, 2] * int(n)),
}
OF_INTS: dict[str, Callable[[Any, Any], Any]] = {
    "bit_length": lambda x, n: x + n.bit_length(),
    "repeated": lambda x, n: x + len([1, 2] * n),
    "repeated tuple": lambda x, n: x + sum(n * (1, 2)),
}
OF_ARRAYS: dict[str, Callable[[Any], Any]] = {
    "array": lambda x: x + isinstance(x, np.ndarray),
    "class": lambda x: x + (x.__class__ is np.ndarray),
    "dispatch": lambda x: x + kind(x),
    "element": lambda x: x + isinstance(x[0], float),
    "scalar": lambda x: x + isinstance(x[0] + 1, np.floating),
    "no array": lambda x: x + isinstance(x.sum(), np.ndarray),
    "isscalar": lambda x: x + np.isscalar(x.sum()),
    "helper": lambda x: x + whole(x),
    "element's hash": lambda x: x + len({x[0], x[1]}),
}


def agree(function: Callable[..., Any], calls: list[tuple[Any, ...]], fallback: Any) -> None:
    """Calls give what those of the undecorated function give, or can't be traced."""
    made = gj.function(function, fallback=fallback)
    for args in calls:
        expected = function(*args)
        try:
            found = made(*args)
        except TracingError:
            assert fallback == "error"
            return
        assert type(found) is type(expected)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
@pytest.mark.parametrize("fallback", ["eager", "error"])
@pytest.mark.parametrize("name", OF_NUMBERS)
def test_numbers_that_vary(name: str, fallback: Any) -> None:
    for values in ([1, 2, 3, 2], [3.0, 1.0, 2.5]):
        agree(OF_NUMBERS[name], [(np.ones(3), n) for n in values], fallback)


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
@pytest.mark.parametrize("fallback", ["eager", "error"])
@pytest.mark.parametrize("name", OF_INTS)
def test_ints_that_vary(name: str, fallback: Any) -> None:
    agree(OF_INTS[name], [(np.ones(3), n) for n in (1, 2, 3, 2)], fallback)


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
@pytest.mark.parametrize("fallback", ["eager", "error"])
@pytest.mark.parametrize("name", OF_ARRAYS)
def test_arrays(name: str, fallback: Any) -> None:
    agree(OF_ARRAYS[name], [(np.ones(n),) for n in (3, 4, 5)], fallback)


@pytest.mark.parametrize("name", ["type", "table"])
def test_types_that_tracing_changes_are_refused(name: str) -> None:
    functions: dict[str, Callable[[Any, Any], Any]] = {
        "type": lambda x, n: x + (type(n) is int),
        "table": lambda x, n: x + {int: 1, float: 2}.get(type(n), 7),
    }
    function = gj.function(functions[name], fallback="error")
    with pytest.raises(TracingError, match="asks for the type"):
        function(np.ones(3), 1)


def test_a_failed_trace_is_named_whatever_c_code_makes_of_it() -> None:
    made = np.zeros(3)

    def function(x: Any) -> Any:
        made[0] = x[0]
        return x + made

    with pytest.raises(TracingError):
        gj.function(function, fallback="error")(np.ones(3))
    assert not made.any()
