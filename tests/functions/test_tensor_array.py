"""gj.TensorArray against lists of NumPy arrays, eagerly and in loops of compiled functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj
from graphjit.errors import IndexOutOfRangeError, InvalidArgumentError

X = np.arange(6.0, dtype="f4").reshape(3, 2)


def both(function: Callable[..., Any], *args: Any) -> list[Any]:
    """What a function gives eagerly and compiled."""
    return [function(*args), gj.function(function, fallback="error")(*args)]


def test_elements_are_written_and_read() -> None:
    def f(x: Any) -> Any:
        ta = gj.TensorArray(gj.float32, size=4)
        ta = ta.write(0, x).write(3, x * 2).write(0, x + 1)
        return ta.stack(), ta.read(3), ta.gather([0, 3]), ta.concat(), ta.size()

    for found in both(f, gj.constant(X[1])):
        expected = np.array([X[1] + 1, X[1] * 0, X[1] * 0, X[1] * 2])
        np.testing.assert_array_equal(found[0], expected)
        np.testing.assert_array_equal(found[1], X[1] * 2)
        np.testing.assert_array_equal(found[2], expected[[0, 3]])
        np.testing.assert_array_equal(found[3], expected.reshape(-1))
        assert found[4].dtype is gj.int32
        assert int(found[4]) == 4


def test_one_is_never_changed() -> None:
    empty = gj.TensorArray("float32", 2)
    first = empty.write(0, 1.0)
    second = first.write(0, 5.0)
    assert empty.element_shape is None
    np.testing.assert_array_equal(first.stack(), [1.0, 0.0])
    np.testing.assert_array_equal(second.stack(), [5.0, 0.0])
    assert (len(empty), first.element_shape, first.dtype) == (2, (), gj.float32)


def test_whole_tensors() -> None:
    def f(x: Any) -> Any:
        ta = gj.TensorArray(gj.float32, size=3).unstack(x)
        parts = gj.TensorArray(gj.float32, size=2).split(gj.reshape(x, [-1]), [3, 3])
        scattered = gj.TensorArray(gj.float32, size=4).scatter([3, 1, 0], x)
        return ta.read(2), parts.stack(), scattered.stack()

    for found in both(f, gj.constant(X)):
        np.testing.assert_array_equal(found[0], X[2])
        np.testing.assert_array_equal(found[1], X.reshape(2, 3))
        np.testing.assert_array_equal(found[2], [X[2], X[1], X[0] * 0, X[0]])


@pytest.mark.parametrize("shape", [None, (2,)])
def test_in_a_while_loop(shape: Any) -> None:
    def f(x: Any) -> Any:
        n = x.shape[0]
        ta = gj.TensorArray(gj.float32, size=n, element_shape=shape)

        def body(i: Any, total: Any, ta: Any) -> Any:
            total = total + x[i]
            return i + 1, total, ta.write(i, total)

        start = gj.constant(0), gj.zeros([2]), ta
        return gj.while_loop(lambda i, total, ta: i < n, body, start)[2].stack()

    for found in both(f, gj.constant(X)):
        np.testing.assert_array_equal(found, np.cumsum(X, 0))
    graph = gj.function(f, fallback="error").get_graph(gj.constant(X))
    assert any(node.primitive.name == "while_loop" for node in graph.nodes)


def test_in_counted_loops() -> None:
    def f(x: Any) -> Any:
        begin = gj.TensorArray(gj.float32, size=3), gj.TensorArray(gj.float32, size=3)

        def body(i: Any, arrays: Any) -> Any:
            first, second = arrays
            return first.write(2 - i, x[i]), second.write(i, gj.reduce_sum(x[i]))

        first, second = gj.fori_loop(0, 3, body, begin)
        return first.stack(), second.stack()

    for found in both(f, gj.constant(X)):
        np.testing.assert_array_equal(found[0], X[::-1])
        np.testing.assert_array_equal(found[1], X.sum(1))


def test_one_of_two_is_never_written() -> None:
    def f(x: Any) -> Any:
        begin = gj.TensorArray(gj.float32, size=3), gj.TensorArray(gj.float32, size=7)
        one, none = gj.fori_loop(0, 3, lambda i, s: (s[0].write(i, x[i]), s[1]), begin)
        return one.stack(), none.write(6, 1.0).stack()

    for found in both(f, gj.constant(X)):
        np.testing.assert_array_equal(found[0], X)
        np.testing.assert_array_equal(found[1], [0, 0, 0, 0, 0, 0, 1])


def test_in_pythons_loops() -> None:
    def f(x: Any) -> Any:
        ta = gj.TensorArray(gj.float32, size=3)
        for i in range(3):
            ta = ta.write(i, x[i] * i)
        return ta.stack()

    for found in both(f, gj.constant(X)):
        np.testing.assert_array_equal(found, X * np.arange(3, dtype="f4")[:, None])


def test_given_to_and_taken_from_compiled_functions() -> None:
    f = gj.function(lambda ta, x: ta.write(1, x), fallback="error")
    ta = gj.TensorArray(gj.float32, size=3, element_shape=(2,))
    for k in range(4):
        ta = f(ta, gj.constant(X[0] + k))
        assert isinstance(ta, gj.TensorArray)
        np.testing.assert_array_equal(ta.read(1), X[0] + k)


def test_one_that_grows() -> None:
    def f(x: Any) -> Any:
        ta = gj.TensorArray(gj.float32, size=0, dynamic_size=True)
        ta = ta.write(2, x)
        return ta.stack()

    for found in both(f, gj.constant(X[1])):
        np.testing.assert_array_equal(found, [X[0] * 0, X[0] * 0, X[1]])


def test_numbers_of_other_dtypes_are_numbers() -> None:
    ta = gj.TensorArray(gj.int64, size=2)
    np.testing.assert_array_equal(ta.write(np.int32(1), 3).stack(), [0, 3])


@pytest.mark.parametrize("number", [2, -1, 100])
def test_numbers_out_of_range(number: int) -> None:
    ta = gj.TensorArray(gj.float32, size=2, element_shape=())
    for call in (lambda n: ta.write(n, 1.0).stack(), ta.read):
        with pytest.raises(IndexOutOfRangeError):
            call(number)
        with pytest.raises(IndexOutOfRangeError):
            gj.function(call, fallback="error")(gj.constant(number))


@pytest.mark.parametrize(
    "call",
    [
        lambda ta: ta.write(0, X),
        lambda ta: ta.write(0.5, 1.0),
        lambda ta: gj.TensorArray(gj.float32, size=2).stack(),
        lambda ta: gj.TensorArray(gj.float32, size=2).read(0),
        lambda ta: gj.TensorArray(gj.float32, size=-1),
        lambda ta: gj.TensorArray(gj.float32, size="2"),
        lambda ta: ta.concat(),
        lambda ta: ta.unstack(1.0),
        lambda ta: ta.split([1.0, 2.0, 3.0], [1, 2]),
        lambda ta: ta.unstack(X),
    ],
)
def test_errors(call: Callable[[Any], Any]) -> None:
    with pytest.raises(InvalidArgumentError, match="TensorArray"):
        call(gj.TensorArray(gj.float32, size=2, element_shape=()))


def test_other_shapes_in_a_loop() -> None:
    def f(x: Any) -> Any:
        ta = gj.TensorArray(gj.float32, size=3)
        ta = ta.write(0, 1.0)
        return gj.fori_loop(0, 3, lambda i, ta: ta.write(i, x), ta).stack()

    with pytest.raises(InvalidArgumentError, match="TensorArray"):
        gj.function(f, fallback="error")(gj.constant(X))
