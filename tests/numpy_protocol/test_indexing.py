"""Elements and parts of traced arrays, read and assigned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_checks import array, check, outcome, refused, same_outcome

import graphjit

KEYS: list[Callable[..., Any]] = [
    lambda x: x[0],
    lambda x: x[-1, 2],
    lambda x: x[1:],
    lambda x: x[::-1, ::2],
    lambda x: x[..., 1],
    lambda x: x[None, :, None],
    lambda x: x[[0, 2]],
    lambda x: x[:, [1, -1]],
    lambda x: x[[0, 1], [2, 3]],
    lambda x: x[[[0], [2]], [1, 2, 3]],
    lambda x: x[np.array([0, -3])],
    lambda x: x[0, [1, 2]],
    lambda x: x[3],
    lambda x: x[0, 5],
    lambda x: x[0, 0, 0],
    lambda x: x[[5]],
    lambda x: x[np.int64(1)],
    lambda x: x[np.array(1)],
    lambda x: x[[True, False, True]],
    lambda x: x[:, [True, False, True, False, True]],
    lambda x: x[()],
    lambda x: x[...],
    lambda x: x[[]],
    lambda x: x[1:1],
    lambda x: x[10:],
    lambda x: x[-2:10:2],
    lambda x: x[x.argmax() % 3] if False else x[np.argmax(np.abs(x[:, 0]))],
    lambda x: x[1.5],
    lambda x: x["a"],
    lambda x: x[[True, False]],
    lambda x: x[(0, 1)],
    lambda x: x[[0, 1], :, None],
    lambda x: x[:, None, [0, 1]],
    lambda x: x[range(2)],
    lambda x: x[np.arange(3)[:, None], np.arange(2)],
    lambda x: x[0][1],
    lambda x: x[..., ...],
    lambda x: x[[1], None, [2, 3]],
]


@pytest.mark.parametrize("index", range(len(KEYS)))
def test_getitem(index: int) -> None:
    check(KEYS[index], array((3, 5), "float32"))
    check(KEYS[index], array((4, 6), "int8"))


def assign(key: Any, value: Any) -> Callable[..., Any]:
    def function(x: Any) -> Any:
        y = x.copy()
        y[key] = value
        return y

    return function


ASSIGNED = [
    (0, 7),
    ((1, 2), 2.7),
    (slice(1, None), [1, 2, 3, 4, 5]),
    (Ellipsis, 1),
    (slice(None, None, -1), 3),
    ((slice(None), 0), [1, 2, 3]),
    ([0, 2], 5),
    ((slice(None), [0, -1]), [[1, 2]]),
    (([0, 1], [2, 3]), [8, 9]),
    ([True, False, True], 4),
    ((), 3),
    ((Ellipsis, 1), 2),
    ((None, 0), 1),
    (5, 1),
    ([0, 0], 3),
    (slice(0, 2), [1, 2]),
    (0, np.arange(5)),
    (0, np.arange(5) * 1.5),
    (0, 300),
    (0, 1j),
    (0, [1.5, 2, 3, 4, 5]),
    (0, np.float32(2.5)),
    ((0, 0), True),
    (slice(0, 0), 1),
    (0, float("nan")),
]


@pytest.mark.parametrize(
    "dtype", ("bool", "int8", "int64", "uint8", "float16", "float64", "complex64")
)
@pytest.mark.parametrize("index", range(len(ASSIGNED)))
def test_setitem(index: int, dtype: str) -> None:
    check(assign(*ASSIGNED[index]), array((3, 5), dtype))


def test_masked_assignment() -> None:
    def clamp(x: Any) -> Any:
        y = x.copy()
        y[y < 0] = 0
        y[..., y[0] > 1] = 9
        y[y[:, 0] > 1] = [1, 2, 3, 4, 5]
        y[:, x[0] > 0] = 4
        return y

    check(clamp, array((3, 5), "float64"))
    mask = np.array([True, False, True])

    def captured(x: Any) -> Any:
        y = x * 1
        y[mask] = -1
        return y

    check(captured, array((3, 5), "float32"))
    refused(lambda x: assign(x > 0, [1, 2])(x), array((3,), "float64"))


@st.composite
def keys(draw: Any, shape: tuple[int, ...]) -> Any:
    parts: list[Any] = []
    rank = draw(st.integers(0, len(shape)))
    bounds = st.none() | st.integers(-6, 6)
    arrays = draw(st.lists(st.integers(1, 3), max_size=2).map(tuple))
    for extent in shape[:rank]:
        kind = draw(st.sampled_from(["int", "slice", "array", "mask"]))
        if kind == "int":
            parts.append(draw(st.integers(-extent, extent - 1)))
        elif kind == "slice":
            step = draw(st.sampled_from([None, 1, 2, -1, -3]))
            parts.append(slice(draw(bounds), draw(bounds), step))
        elif kind == "mask" and not arrays:
            parts.append(draw(st.lists(st.booleans(), min_size=extent, max_size=extent)))
        else:
            numbers = st.integers(-extent, extent - 1)
            size = int(np.prod(arrays))
            flat = draw(st.lists(numbers, min_size=size, max_size=size))
            parts.append(np.array(flat, np.int64).reshape(arrays))
        if draw(st.integers(0, 5)) == 0:
            parts.append(None)
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), Ellipsis)
    return tuple(parts)


@settings(max_examples=150)
@given(st.data())
def test_keys(data: Any) -> None:
    shape = data.draw(st.sampled_from([(5,), (3, 4), (2, 3, 4)]))
    key = data.draw(keys(shape))
    x = np.arange(np.prod(shape)).reshape(shape)
    try:
        x[key]
    except IndexError:  # an Ellipsis among axes that the key then lacks
        return
    empty = any(p is Ellipsis for p in key)  # which may part two index arrays
    empty = empty or not x[key].size  # of what isn't computed, no indices are checked
    check(lambda x: x[key], x, may_refuse=empty)
    check(assign(key, -1), x, may_refuse=empty)


def test_errors_of_assignments_and_options() -> None:
    def put(key: Any) -> Callable[..., Any]:
        def function(x: Any, v: Any) -> Any:
            y = x * 1
            y[key] = v
            return y

        return function

    x, zeros = np.arange(4.0), np.zeros(4)
    for function, arguments in (
        (put(0), (x, 1j)), (put(0), (x, np.array([5]))), (put(0), (x, 5.0)),
        (put(slice(0, 2)), (x, np.array([[5]]))),
        (lambda x, v: put(slice(1, 3))(x, [[[7, 8]]]), (x, 0)),
        (lambda x, v: put(0)(x, [5]), (x, 0)), (lambda x, v: put(0)(x > 0, [5]), (x, 0)),
        (lambda x: np.sum(x, initial=[3]), (x,)), (lambda x: np.max(x, initial=(9,)), (x,)),
        (lambda x, w: np.average(x, weights=w), (x, zeros)),
        (lambda x, w: np.average(x, weights=w), (x, x)),
        (lambda x: np.average(x, axis=0), (np.zeros((3, 0)),)),
        (lambda x: np.average(x), (zeros[:0],)),
    ):  # fmt: skip
        expected = outcome(function, arguments)
        assert same_outcome(outcome(graphjit.function(function), arguments), expected)
