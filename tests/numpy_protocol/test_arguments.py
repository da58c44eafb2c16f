"""Scalars, attributes and arguments that decide what is traced; what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from protocol_checks import array, check, outcome, refused

import graphjit


def test_0d_arrays_and_scalars() -> None:
    def of_scalars(x: Any) -> Any:
        s = x.sum()
        t = s
        s += 1
        u = x[0]
        u *= 2
        return s, t, u, x

    check(of_scalars, array((3,), "float64"))

    def of_arrays(x: Any, make: Any) -> Any:
        y = x * 1
        s = make(y)
        t = s
        s += 1
        return y, s, t

    for make in (
        lambda y: y.reshape(()),
        lambda y: y[..., 0],
        lambda y: y.squeeze(),
        lambda y: np.zeros_like(y, shape=()),
        lambda y: y.reshape(()).copy(),
    ):
        check(lambda x, m=make: of_arrays(x, m), array((1,), "float64"), may_refuse=True)

    def argument(x: Any) -> Any:
        x += 1
        return x

    refused(argument, array((), "float64"))


def test_attributes_cannot_be_set() -> None:
    for name in ("shape", "real", "imag", "dtype", "flat"):
        refused(lambda x, n=name: setattr(x.copy(), n, 1), array((3,), "complex128"))


def test_bits_seen_as_another_dtype() -> None:
    check(lambda x: x.view(np.int32), array((3,), "float32"))
    check(lambda x: x.view("uint64"), array((3,), "float64"))
    check(lambda x: x.view(np.uint8), array((3,), "int8"))
    refused(lambda x: x.view(np.int32), array((4,), "float64"))


def test_python_arguments() -> None:
    x = array((3,), "float32")
    for value in (2.5, 3):
        check(lambda x, n: x * n + n, x, value)
        check(lambda x, n: np.exp(n) + x, x, value)
        check(lambda n: (n / 2, n > 2, n == 3), value)
    check(lambda n: (n * 2 + 1, n - 1, -n, abs(n), n**2, n * 1.5), 2.5)
    check(lambda x, n: x + n, array((3,), "int64"), 3)
    check(lambda x, n: x + n, array((3,), "int8"), 2.5)
    check(lambda n: (n // 2, n % 2, n & 3, n | 4, n >> 1, ~n), 5)
    check(lambda x, n: x[n], x, 1)
    check(lambda n: (n > 2) + 1, 3)


def test_python_arguments_whose_value_decides() -> None:
    refused(lambda x, n: x + n, array((3,), "int8"), 3)
    refused(lambda n: 2**n, 3)
    check(lambda n: 0.5**n, 3)
    # Python's integers have no end, so what may pass 64 bits isn't left to run time
    for grow in (
        lambda n: n + 1,
        lambda n: 2 - n,
        lambda n: n * n,
        lambda n: -n,
        lambda n: n << 2,
    ):
        refused(grow, 3)
    refused(lambda n: 1 << n, 3)
    refused(lambda n: 7 // n, 3)
    refused(lambda x: x**0.5, 2.0)
    refused(lambda x, n: x[:n], array((3,), "float64"), 2)
    refused(lambda x, n: x.reshape(n, -1), array((4,), "float64"), 2)
    refused(lambda x, n: np.sum(x, axis=n), array((4,), "float64"), 0)


REFUSED: list[Callable[..., Any]] = [
    lambda x: np.gcd(x, 2),
    lambda x: np.frexp(x),
    lambda x: np.unique(x),
    lambda x: np.argwhere(x),
    lambda x: np.piecewise(x, [x < 0], [1, 2]),
    lambda x: np.lexsort((x, x)),
    lambda x: np.bincount(x),
    lambda x: np.histogram(x, 4),
    lambda x: np.apply_along_axis(np.sum, 0, x),
    lambda x: np.sum(x, out=np.zeros(())),
    lambda x: x.tobytes(),
    lambda x: x.flags,
    lambda x: x.strides,
    lambda x: x.nonzero(),
    lambda x: x.tolist(),
    lambda x: x.item(),
    lambda x: np.zeros_like(x, order="F"),
    lambda x: x.copy("F"),
    lambda x: np.array(x),
    lambda x: np.may_share_memory(x, x),
    lambda x: np.array_str(x),
    lambda x: float(x[0]),
    lambda x: bool(x[0] > 0),
    lambda x: np.add.at(x, 0, 1),
    lambda x: np.add.reduceat(x, x[:1]),
    lambda x: np.extract(x > 0, x),
    lambda x: x + np.ma.masked_array([1, 2, 3, 4], [0, 1, 0, 0]),
    lambda x: np.matrix([[1], [2], [3], [4]]) @ x[None],
    lambda x: x.astype("float128"),
    lambda x: np.add(x, 1, order="F"),
    lambda x: x + np.array([None] * 4),
]


@pytest.mark.parametrize("index", range(len(REFUSED)))
def test_refused(index: int) -> None:
    refused(REFUSED[index], array((4,), "int64"))


def test_numpy_functions_of_tensors_follow_numpy() -> None:
    t = graphjit.constant([1, 2, 3])
    check(lambda x: np.add(x, t), array((3,), "float32"))
    check(lambda x: np.concatenate([x, np.asarray(t)]), array((3,), "float32"))


def test_bytes_in_the_other_order() -> None:
    for function in (
        lambda x: x.view(np.int64),
        lambda x: x[::2].view(np.int64),
        lambda x: (x * 1).view(np.int64),
        lambda x: x.reshape(2, 2).T.view(np.int64)[0],
    ):
        for dtype in (">f8", "<f8", ">i8"):
            x = np.array([1.5, -2.0, 3.0, 7.0]).astype(dtype)
            expected = outcome(function, (x,))
            actual = outcome(graphjit.function(function), (x,))
            if isinstance(expected, type):
                assert actual is expected
            else:
                np.testing.assert_array_equal(actual, expected)


def test_elements_chosen_by_a_mask_keep_their_byte_order() -> None:
    for dtype in (">f8", "<f8", ">i4"):
        x = np.array([1.5, -2.0, 3.0, 7.0]).astype(dtype)
        for function in (lambda x: x[x > 0], lambda x: x[x > 0] * 2, lambda x: x[x > 0].sum()):
            expected, actual = function(x), graphjit.function(function)(x)
            assert actual.dtype == expected.dtype
            np.testing.assert_array_equal(actual, expected)
