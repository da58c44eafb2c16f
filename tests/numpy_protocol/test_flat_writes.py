"""Writes into arrays as if they were flat: `x.flat`, `np.put`, `np.place`, `np.partition`, …"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphjit as gj


def put_and_place(x: Any) -> Any:
    x.put([0, 5], [9, 8])
    np.place(x, x > 8.5, [1.5])
    np.putmask(x, x < 2, x * 2)
    np.put(x, [1], 77)
    return x.mean()


def flat_items(x: Any) -> Any:
    x.flat[2] = 9
    x.flat[[3, 4]] = 1
    x.flat[::2] = [7, 8]
    return x, x.flat[1], x.flat[1:3], len(x.flat)


def of_a_matrix(x: Any) -> Any:
    m = x.reshape(2, -1) * 1
    m.flat[-1] = 5
    m.flat[np.array([0, 1])] = x[:2]
    np.put(m, [2, -2], x[:1])
    np.place(m, m > 1, [-1, -2])
    return m


def read_after_a_write(x: Any) -> Any:
    x.flat[2] = 9
    return x.T.flat[1]


def of_a_transposed_copy(x: Any) -> Any:
    m = x.reshape(2, 3).T.copy()
    m.flat[1] = 100
    return m


def through_views(x: Any) -> Any:
    x[1:].put([0], [5])
    x[::2].flat[1] = 6
    return x


def same_place_again(x: Any) -> Any:
    np.put(x, [0, 0, 0], [1, 2, 3])
    return x


def place_of_none_and_of_all(x: Any) -> Any:
    np.place(x, x > 100, [1])
    np.place(x, x > 0, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    return x


def no_nan(x: Any) -> Any:
    np.nan_to_num(x, copy=False, nan=1.0)
    return x.sum()


def partitioned(x: Any) -> Any:
    x.partition(2)
    return x[2], np.partition(x, 3)[3], np.sort(x[np.argpartition(x, 2)])


def each(x: Any) -> Any:
    return [v * 2 for v in x.flat][:3]


def largest(x: Any) -> Any:
    return np.unravel_index(np.argmax(x), (2, 3))


def fitted(x: Any) -> Any:
    return np.polyfit(np.arange(len(x)), x, 1)


FUNCTIONS = (
    put_and_place, flat_items, of_a_matrix, read_after_a_write, of_a_transposed_copy,
    through_views, same_place_again, place_of_none_and_of_all, no_nan, partitioned, each,
    largest, fitted,
)  # fmt: skip
ARRAYS = (
    np.linspace(0.5, 3, 6),
    np.array([3, 1, 2, 8, 0, 5]),
    np.array([np.nan, 1, np.inf, 2, -np.inf, 3]),
    np.array([-0.0, 0.5, 9, 2, -4, 3], np.float32),
)


def outcome(function: Callable[[Any], Any], x: np.ndarray) -> tuple[str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return repr(function(x)), repr(x)
        except (ValueError, IndexError, np.linalg.LinAlgError) as error:
            return next(
                c.__name__ for c in type(error).__mro__ if "graph" not in c.__module__
            ), ""


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_writes_what_numpy_writes(function: Callable[[Any], Any]) -> None:
    f = gj.function(function)
    for x in (*ARRAYS, *ARRAYS):
        assert outcome(f, x.copy()) == outcome(function, x.copy())
    assert not [s.reason for s in f.specializations if s.reason]


@given(
    st.integers(0, 7),
    st.lists(st.integers(-9, 9), max_size=4),
    st.lists(st.integers(), max_size=3),
)
def test_put_anywhere(n: int, places: list[int], values: list[int]) -> None:
    values = [v % 100 for v in values]

    def put(x: Any) -> Any:
        y = x * 1
        np.put(y, places, values)
        y.flat[1:4] = 5
        return y

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert outcome(gj.function(put), np.arange(n)) == outcome(put, np.arange(n))


def test_beyond_the_end() -> None:
    def beyond(x: Any) -> Any:
        x.flat[10] = 1
        return x

    with pytest.raises(IndexError, match="10 is out of bounds"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gj.function(beyond)(np.ones(6))


@pytest.mark.parametrize(
    "wrap", (lambda x: x.flat, lambda x: [x.flat], lambda x: {"a": x.flat})
)
def test_what_is_returned_is_numpys(wrap: Callable[[Any], Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gj.FallbackWarning)
        found = gj.function(wrap)(np.arange(4.0))
    found = found[0] if isinstance(found, list) else found
    found = found["a"] if isinstance(found, dict) else found
    assert type(found) is np.flatiter and list(found) == [0, 1, 2, 3]
