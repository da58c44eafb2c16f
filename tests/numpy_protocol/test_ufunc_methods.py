"""Methods of ufuncs that write or reduce parts, and out= of functions, beside NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from decorated_checks import check_decorated, vectors

import graphjit as gj

INDICES = np.array([0, 1, 1])
ENDS = np.array([0, 1, -1])
SIZES = (3, 4, 5, 6)


def add_at(x: Any) -> Any:
    out = np.zeros(x.shape[0])
    np.add.at(out, INDICES, x[:3])
    return out


def subtract_at(x: Any) -> Any:
    out = np.zeros_like(x)
    np.subtract.at(out, ENDS, 2.0)
    return out


def others_at(x: Any) -> Any:
    out = x.copy()
    np.maximum.at(out, [0, 0, 1], x[:3])
    np.minimum.at(out, 0, -9.0)
    np.multiply.at(out, slice(1, 3), x[0])
    return out


def matrix_at(x: Any) -> Any:
    out = np.zeros((x.shape[0], 3))
    np.add.at(out, (slice(None), [0, 0, 2]), x[:, None])
    return out


def integers_at(x: Any) -> Any:
    out = np.zeros(3, int)
    np.add.at(out, INDICES, x[:3].astype(int))
    np.add.at(out, np.argsort(x[:3]), 1)
    return out


def view_at(x: Any) -> Any:
    out = np.zeros(5)
    row = out[1:]
    np.add.at(row, [0, 0], x[:2])
    return out, row


def alias_at(x: Any) -> Any:
    out = np.zeros(x.shape[0])
    other = out
    out[0] = x[0]
    np.add.at(other, [0, 0], 1)
    return out


@pytest.mark.parametrize(
    "function",
    [add_at, subtract_at, others_at, matrix_at, integers_at, view_at, alias_at],
)
def test_at_counts_equal_indices_each(function: Callable[..., Any]) -> None:
    check_decorated(function, *vectors(*SIZES), traces=3)


def narrow_at(x: Any) -> Any:
    out = np.zeros(3, np.float32)
    np.add.at(out, INDICES, x[:3])
    return out


def unary_at(x: Any) -> Any:
    out = x.copy()
    np.negative.at(out, [1])
    return out


def masked_at(x: Any) -> Any:
    out = np.zeros(2)
    np.add.at(out, x[:2] > 0, 1)
    return out


@pytest.mark.parametrize("function", [narrow_at, unary_at, masked_at])
def test_other_uses_of_at_are_left_to_numpy(function: Callable[..., Any]) -> None:
    check_decorated(function, *vectors(3), compiled=False)


def outside_at(x: Any) -> Any:
    out = np.zeros(2)
    np.add.at(out, [5], x[0])
    return out


def wrong_shape_at(x: Any) -> Any:
    out = np.zeros(4)
    np.add.at(out, [0, 1], x[:3])
    return out


def data_outside_at(x: Any) -> Any:
    out = np.zeros(2)
    np.add.at(out, x.astype(int), 1.0)
    return out


@pytest.mark.parametrize(
    ("function", "kind"),
    [(outside_at, IndexError), (wrong_shape_at, ValueError), (data_outside_at, IndexError)],
)
def test_errors_of_at(function: Callable[..., Any], kind: type[Exception]) -> None:
    f = gj.function(function)
    for _ in range(2):
        with pytest.raises(kind):
            f(np.arange(4.0))
        with pytest.raises(kind):
            function(np.arange(4.0))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.add.reduceat(x, [0, 2]),
        lambda x: np.add.reduceat(x, [1, 0, 1]),
        lambda x: np.maximum.reduceat(np.stack([x, -x]), (0, 1), axis=1),
        lambda x: np.add.reduceat(x.astype(np.int8), [0, 1]),
        lambda x: np.multiply.reduceat(x, [0], dtype=np.float32),
        lambda x: np.add.reduce(np.outer(x, x), axis=(0, 1), keepdims=True, initial=3.0),
        lambda x: np.multiply.reduce(x, where=x > 0, initial=2.0),
        lambda x: np.add.accumulate(np.outer(x, x), axis=1, dtype=np.float32),
        lambda x: np.maximum.reduce(x, initial=0, where=x > 1),
        lambda x: np.subtract.outer(x, x[:2]),
    ],
)
def test_reductions_of_parts(function: Callable[..., Any]) -> None:
    check_decorated(function, *vectors(*SIZES), traces=3, tolerance=1e-6)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.add.reduceat(x, INDICES),
        lambda x: np.add.reduceat(x, [0, 100]),
        lambda x: np.add.reduceat(x[0], [0]),
    ],
)
def test_other_uses_of_reduceat(function: Callable[..., Any]) -> None:
    f = gj.function(function)
    x = np.arange(4.0)
    try:
        expected = function(x)
    except Exception as error:
        with pytest.raises(type(error)):
            f(x)
    else:
        np.testing.assert_array_equal(f(x), expected, strict=True)


def accumulated(x: Any) -> Any:
    out = np.zeros(x.shape[0])
    made = np.add.accumulate(x, out=out)
    return out, made, made is out


def reduced(x: Any) -> Any:
    first, second = np.zeros(x.shape[0]), np.empty(x.shape[0])
    np.sum(np.outer(x, x), axis=1, out=first)
    np.add.reduce(np.outer(x, x), axis=0, out=second)
    return first, second


def products(x: Any) -> Any:
    out = np.zeros((x.shape[0], x.shape[0]))
    np.dot(x[:, None], x[None], out=out)
    np.clip(out, 0, 1, out=out)
    return out


def method(x: Any) -> Any:
    out = np.zeros(x.shape[0])
    x.clip(0, 1, out=out)
    np.round(out, 1, out=out)
    return out


def cumulative(x: Any) -> Any:
    out = x.copy()
    np.cumsum(out, out=out)
    return out


def joined(x: Any) -> Any:
    out = np.zeros(x.shape[0] + 1)
    np.concatenate([x, x[:1]], out=out)
    return out


def two_results(x: Any) -> Any:
    quotient, rest = np.zeros(x.shape[0]), np.zeros(x.shape[0])
    np.divmod(x, 2, out=(quotient, rest))
    return quotient, rest


@pytest.mark.parametrize(
    "function", [accumulated, reduced, products, method, cumulative, joined, two_results]
)
def test_results_go_into_arrays_given_as_out(function: Callable[..., Any]) -> None:
    check_decorated(function, *vectors(*SIZES), traces=3, tolerance=1e-13)


def narrower(x: Any) -> Any:
    out = np.zeros(x.shape[0], np.float32)
    np.cumsum(x, out=out)
    return out


def test_out_of_another_dtype_is_left_to_numpy() -> None:
    check_decorated(narrower, *vectors(3), compiled=False)
