"""What code that is traced learns of the types of values: what it would learn undecorated."""

from __future__ import annotations

import collections
import functools
import io
import numbers
import operator
import pprint
import reprlib
import struct
from collections import abc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj
from graphjit.core.errors import TracingError
from graphjit.core.types import TensorType
from graphjit.tracing.trace import Trace

X = np.arange(3.0)


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


def nothing(x: Any) -> int:
    t = type
    return t(len(x)) is int


#: All of them are compiled, once for all sizes.
OF_EXTENTS: dict[str, Callable[..., Any]] = {
    "type": lambda x: x + (type(x.shape[0]) is int),
    "types": lambda x: x + (type(x.shape[0]) in (int, float)),
    "called": lambda x: x * type(x.shape[0])(3.5),
    "table": lambda x: x + {int: 1, float: 2}[type(x.shape[0] // 2)],
    "each other's": lambda x: x + (type(len(x)) is type(x.shape[0] / 2)),
    "another name": lambda x: x + nothing(x),
    "mapped": lambda x: x + (next(map(type, x.shape)) is int),
    "reduced": lambda x: x + functools.reduce(lambda a, k: k, map(type, x.shape))(2),
    "sorted": lambda x: x + len(sorted([x.shape[0], 2], key=lambda n: str(type(n)))),
    "partial": lambda x: x + functools.partial(type)(x.shape[0])(2.5),
    "set": lambda x: x + (set(map(type, x.shape)) == {int}),
    "array": lambda x: x + (type(x) is np.ndarray) + (type(x[0]) is np.float64),
    "chosen": lambda x: x[x > 0].sum() + (type(x[x > 0]) is np.ndarray),
    "names": lambda x: x + sum(map(hasattr, [x, x], ["node", "shape"])),
    "classes": lambda x: x + sum(map(isinstance, [x, len(x)], [np.ndarray, int])),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_EXTENTS)
def test_types_of_extents_are_those_of_numbers(name: str) -> None:
    traced = gj.function(OF_EXTENTS[name], fallback="error")
    for n in (3, 4, 5, 6, 2, 17):
        x = np.arange(n) - 1.0
        np.testing.assert_array_equal(traced(x), OF_EXTENTS[name](x))
    assert traced.trace_count <= 2


@pytest.mark.parametrize(
    "numbers", [(1, 2, 3, -4), (1.0, 2.5, -0.0), (1 + 2j, 3 - 1j, 0j, -1.5 + 0j)]
)
def test_parts_of_numbers_that_vary(numbers: Any) -> None:
    def parts(n: Any) -> Any:
        return n.real, n.imag, n.conjugate(), (n != 2).real, (n == 2).imag

    traced = gj.function(parts)
    for n in numbers:
        assert repr(traced(n)) == repr(parts(n))
    assert not any(s.reason for s in traced.specializations)


def test_functions_that_are_handed_on_write_at_each_call(capsys: Any) -> None:
    class Box:
        value: Any = None

    def write(x: Any, box: Any) -> Any:
        list(map(print, ["a"]))
        list(map(setattr, [box], ["value"], [x.sum()]))
        return x + 1

    traced = gj.function(write, fallback="error")
    for n in (3, 4, 5):
        box = Box()
        traced(np.arange(n) + 0.5, box)
        assert box.value == (np.arange(n) + 0.5).sum()
        assert capsys.readouterr().out == "a\n"


@pytest.mark.parametrize("name", ["type", "table"])
def test_types_of_numbers_are_those_that_were_given(name: str) -> None:
    functions: dict[str, Callable[[Any, Any], Any]] = {
        "type": lambda x, n: x + (type(n) is int),
        "table": lambda x, n: x + {int: 1, float: 2}.get(type(n), 7),
    }
    function = gj.function(functions[name], fallback="error")
    for n in (1, 2, 3.0, True):
        np.testing.assert_array_equal(function(np.ones(3), n), functions[name](np.ones(3), n))


def test_a_failed_trace_is_named_whatever_c_code_makes_of_it() -> None:
    made = np.zeros(3)

    def function(x: Any) -> Any:
        np.zeros(3)[0] = x[0].hex()
        return x + made

    with pytest.raises(TracingError):
        gj.function(function, fallback="error")(np.ones(3))


SCALARS: dict[str, Callable[[Any, Any], Any]] = {
    "an element": lambda x, n: x[0],
    "a sum": lambda x, n: x.sum(),
    "an integer": lambda x, n: x.argmax(),
    "a truth value": lambda x, n: x.sum() > 1,
    "a number": lambda x, n: n,
    "a number computed": lambda x, n: n * 2,
    "an array": lambda x, n: x,
    "an array without axes": lambda x, n: x[0, ...],
    "a new array without axes": lambda x, n: np.zeros(()) * x[0, ...],
    "what a mask chooses": lambda x, n: x[x > 0],
    "an extent": lambda x, n: x.shape[0],
    "an item": lambda x, n: list(x)[1],
}
ATTRIBUTES = [
    "__len__", "__iter__", "__setitem__", "__getitem__", "shape", "dtype", "ndim", "dot",
    "is_integer", "as_integer_ratio", "hex", "real", "T", "tolist", "item", "bit_count",
    "numerator", "foo", "sort", "fill", "__index__", "__complex__", "__float__", "__round__",
    "__array_ufunc__", "__array_interface__", "__iadd__", "__or__", "__module__", "__floor__",
    "type", "node", "origin", "line", "storage", "recorder", "terms", "text", "sizes", "name",
    "_values", "tofile", "as_tensor", "get_shape", "__add__", "__copy__", "__dict__",
]  # fmt: skip


@pytest.mark.parametrize("fallback", ["eager", "error"])
@pytest.mark.parametrize("name", ATTRIBUTES)
@pytest.mark.parametrize("what", SCALARS)
def test_attributes_are_those_of_what_is_traced(what: str, name: str, fallback: str) -> None:
    names: dict[str, Any] = {"pick": SCALARS[what]}
    exec(f"def fn(x, n): return x * (2 if hasattr(pick(x, n), {name!r}) else 3)", names)
    fn = names["fn"]

    fast = gj.function(fn, fallback=fallback)
    for n in (2.5, 3.5):
        x = np.arange(1.0, 4)
        wanted = fn(x, n)
        try:
            found = fast(x, n)
        except gj.errors.TracingError:
            assert fallback == "error"
            continue
        np.testing.assert_array_equal(found, wanted)


def test_attributes_of_traced_tensors() -> None:
    for name in (*ATTRIBUTES, "item", "numpy", "assign", "_array", "__dlpack__", "shape"):
        names: dict[str, Any] = {"gj": gj}
        exec(
            f"def fn(x): return gj.sin(x) * (2. if hasattr(gj.sin(x), {name!r}) else 3.)", names
        )
        fast = gj.function(names["fn"], fallback="error")
        try:
            found = fast(X)
        except TracingError:
            continue
        np.testing.assert_array_equal(found, names["fn"](X), err_msg=name)


def test_default_of_getattr_and_errors_of_attributes() -> None:
    def fn(x: Any, n: Any) -> Any:
        try:
            n.shape  # noqa: B018
        except AttributeError as error:
            text = str(error)
        return x * getattr(n, "origin", 2.0) + len(text) + getattr(x, "node", 1.0)

    fast = gj.function(fn, fallback="error")
    for n in (2.5, 3.5):
        np.testing.assert_array_equal(fast(X, n), fn(X, n))


@pytest.mark.parametrize("fallback", ["eager", "error"])
@pytest.mark.parametrize("what", SCALARS)
@pytest.mark.parametrize("kind", [abc.Iterable, abc.Sized, abc.Collection, abc.Sequence])
def test_what_has_elements(kind: Any, what: str, fallback: str) -> None:
    pick = SCALARS[what]

    def fn(x: Any, n: Any) -> Any:
        return x * (2 if isinstance(pick(x, n), kind) else 3)

    fast = gj.function(fn, fallback=fallback)
    for n in (2.5, 3.5):
        x = np.arange(1.0, 4)
        np.testing.assert_array_equal(fast(x, n), fn(x, n))


@pytest.mark.parametrize(
    "body",
    [
        lambda x, n: list(x.sum()),
        lambda x, n: len(x[0]),
        lambda x, n: [q for q in x[0]],
        lambda x, n: n[0],
        lambda x, n: n["a"],
        lambda x, n: (n * 2)[1:],
        lambda x, n: n.__setitem__(0, 1),
        lambda x, n: operator.delitem(x + 1, 0),
        lambda x, n: operator.delitem(n, 0),
        lambda x, n: operator.setitem(n, 0, 1),
        lambda x, n: operator.setitem(x.sum(), 0, 1),
        lambda x, n: np.split(x, 0),
        lambda x, n: list(n),
        lambda x, n: 3 in n,
        lambda x, n: [*x[0]],
        lambda x, n: len(n),
    ],
)
def test_errors_are_those_of_what_is_traced(body: Callable[..., Any]) -> None:
    x = np.arange(1.0, 4)
    for n in (2.5, 3.5):
        with pytest.raises(Exception) as wanted:
            body(x, n)
        for fallback in ("eager", "error"):
            with pytest.raises(type(wanted.value)):
                gj.function(body, fallback=fallback)(x, n)


def _kind(value: Any) -> float:
    if type(value) in (float, int):
        return 2.0 if type(value) == float else 3.0  # noqa: E721
    return 4.0 if np.ndarray is type(value) else 5.0


class Asks:
    def kind(self, value: Any) -> float:
        return _kind(value)


def _sum(value: Any) -> Any:
    if type(value) in (list, tuple):
        return type(value)([_sum(v) for v in value])
    return value.sum() if isinstance(value, np.ndarray) else value


def test_helpers_that_ask_for_containers_are_traced() -> None:
    fast = gj.function(lambda x: _sum([x, (x, 2.0)]), fallback="error")
    found = fast(np.arange(3.0))
    assert found == [3.0, (3.0, 2.0)]


@pytest.mark.parametrize("pick", [lambda x, n: n, lambda x, n: x, lambda x, n: x[0]])
def test_type_in_helpers(pick: Callable[..., Any]) -> None:
    asks = Asks()

    @gj.function
    def fast(x: Any, n: Any) -> Any:
        return x * asks.kind(pick(x, n))

    x = np.arange(1.0, 4)
    for n in (2.5, 3.5, 2, 3, 4):
        np.testing.assert_array_equal(fast(x, n), x * _kind(pick(x, n)))


def _printed(x: Any) -> int:
    text = io.StringIO()
    print(x, [x], file=text)
    return len(text.getvalue())


TEXTS: list[Callable[[Any], int]] = [
    lambda x: len(str(x)), lambda x: len(repr(x)), lambda x: len(f"{x}"),
    lambda x: len(f"{x!r}"), lambda x: len(f"{x!a}"), lambda x: len("%s" % x),  # noqa: UP031
    lambda x: len("{}".format(x)), lambda x: len(format(x)),  # noqa: UP032
    lambda x: len(x.__repr__()), lambda x: len(x.__str__()), lambda x: len(str({"a": [x]})),
    lambda x: len(reprlib.repr(x)), lambda x: len(pprint.pformat([x])), _printed,
    lambda x: len(str(x[0])), lambda x: len(f"{x.sum()}"), lambda x: len(repr(x[0] * 2)),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
@pytest.mark.parametrize("text", TEXTS)
def test_the_text_of_a_traced_array_needs_its_value(text: Callable[[Any], int]) -> None:
    fast = gj.function(lambda x: x * text(x))
    for x in (np.ones(3), np.full(3, 1.5), np.arange(3.0) * 1e9):
        np.testing.assert_array_equal(fast(x), x * text(x))
    match = "needs? the value|prints to an object|asks for the id"
    with pytest.raises(TracingError, match=match):
        gj.function(lambda x: x * text(x), fallback="error")(X)


def test_a_traced_value_is_shown_after_its_trace_and_by_errors() -> None:
    trace = Trace("f")
    with trace.active():
        x = trace.parameter(TensorType((3,), gj.float64), "x", "numpy", "argument")
        with pytest.raises(TracingError):
            repr(x)
        with pytest.raises(gj.errors.GraphJitError, match="SymbolicTensor"):
            gj.cast(x, x)
    assert repr(x) == str(x) == f"{x}" == "<gj.SymbolicTensor %0: f64[3], numpy rules>"


@pytest.mark.parametrize("x", [np.float64(1.5), np.int64(3), np.array(1.5), np.array(3)])
def test_conversions_of_what_is_a_scalar_or_an_array(x: Any) -> None:
    for body in (
        lambda x: x.astype("float32"), lambda x: x.astype("float32").astype("float64"),
        lambda x: x.copy().astype("int64"), lambda x: x.astype("int64").copy().copy(),
        lambda x: x.astype("float32") + 1,
    ):  # fmt: skip
        expected, found = body(x), gj.function(body)(x)
        assert type(found) is type(expected) and found == expected
        assert found.dtype == expected.dtype
