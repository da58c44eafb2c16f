"""Arrays that traced code makes: of traced elements, and of known ones that are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from decorated_checks import check_decorated, vectors

import graphjit as gj
from graphjit.numpy_protocol.conversion import MAX_LISTED

SIZES = (3, 4, 5, 6, 9, 2)


def zeros(x: Any) -> Any:
    out = np.zeros(x.shape[0])
    out[1:] = x[1:]
    return out


def empty(x: Any) -> Any:
    out = np.empty((x.shape[0], 3), x.dtype)
    out[:] = x[:, None]
    return out


def ones(x: Any) -> Any:
    out = np.ones(shape=x.shape, dtype=np.float32)
    out += x
    return out


def full(x: Any) -> Any:
    out = np.full(x.shape[0], 2.5)
    out[::2] = x[::2]
    return out, out[1:]


def eye(x: Any) -> Any:
    out = np.eye(x.shape[0])
    out[0] = x
    return out


def view(x: Any) -> Any:
    out = np.zeros(4)
    row = out[1:3]
    row[0] = x.sum()
    return out, row


def operator(x: Any) -> Any:
    out = np.arange(5.0) * 2
    out[2] = x.max()
    return out


def out_argument(x: Any) -> Any:
    out = np.zeros(x.shape[0])
    return np.add(x, 1, out=out), out


def out_where(x: Any) -> Any:
    return np.add(x, 1, where=x > 0, out=np.full(x.shape[0], -1.0))


def filled(x: Any) -> Any:
    out = np.zeros(3)
    out.fill(x[1])
    return out


def copied(x: Any) -> Any:
    out = np.zeros(x.shape[0])
    np.copyto(out, x)
    return out


def several(x: Any) -> Any:
    made = [np.zeros(2) for _ in range(2)]
    made[1][0] = x[0]
    return made


def complex_zeros(x: Any) -> Any:
    out = np.zeros(x.shape[0], complex)
    out[1] = x[1]
    return out


def by_traced_index(x: Any) -> Any:
    out = np.zeros(3)
    out[np.argmax(x[:2])] = 7
    return out


def masked(x: Any) -> Any:
    out = np.zeros(x.shape[0])
    out[x > 0] = 5
    return out


def in_helper(x: Any) -> Any:
    def shifted(y: Any) -> Any:
        out = np.zeros_like(np.ones(3))
        out[:2] = y[:2]
        return out

    return shifted(x) + shifted(x * 2)


@pytest.mark.parametrize(
    "function",
    [
        zeros, empty, ones, full, eye, view, operator, out_argument, out_where, filled, copied,
        several, complex_zeros, by_traced_index, masked, in_helper,
    ],
)  # fmt: skip
def test_traced_values_are_written_into_what_numpy_made(function: Callable[..., Any]) -> None:
    check_decorated(function, *vectors(*SIZES), traces=4)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.zeros(x.shape),
        lambda x: np.ones(x.shape[0], bool),
        lambda x: np.empty(x.shape[0] * 0),
        lambda x: np.full(x.shape, 3),
        lambda x: np.full((2, x.shape[0]), True),
        lambda x: np.full(x.shape[0], x[0]),
        lambda x: np.eye(x.shape[0], dtype=np.float32),
        lambda x: np.eye(x.shape[0], x.shape[0] + 2, 1),
        lambda x: np.eye(2, x.shape[0], k=-1, dtype=int),
        lambda x: np.identity(x.shape[0]),
        lambda x: np.arange(x.shape[0]),
        lambda x: np.arange(1, x.shape[0], dtype=float),
        lambda x: np.arange(x.shape[0], 1),
        lambda x: np.linspace(0, 1, x.shape[0]),
        lambda x: np.linspace(1, 2, x.shape[0], endpoint=False),
        lambda x: np.linspace(x[0], 3, num=x.shape[0], retstep=True)[0],
    ],
)
def test_one_form_makes_arrays_of_all_sizes(function: Callable[..., Any]) -> None:
    check_decorated(function, *vectors(*SIZES), traces=4, tolerance=1e-15)


def test_results_are_new_at_each_call() -> None:
    f = gj.function(zeros)
    x = np.arange(3.0)
    first, second = f(x), f(x)
    assert first is not second and not np.shares_memory(first, second)
    first[0] = 9
    assert f(x)[0] == 0


def test_python_asks_what_it_likes_of_arrays_that_stay_known() -> None:
    def f(x: Any) -> Any:
        chosen, out = np.zeros(2, int), np.zeros(4)
        chosen[1] = 2
        for k in np.arange(2):
            out = out + x[chosen[k]] * float(chosen[k])
        if chosen.any() and len(out) == 4:
            out = out + x[chosen].sum()
        return out, chosen

    check_decorated(f, *vectors(3, 4, 5))


def test_known_and_written_arrays_stand_side_by_side() -> None:
    def f(x: Any) -> Any:
        order = np.array([2, 0, 1])
        out = np.zeros(3)
        for k in range(3):
            out[order[k]] = x[k]
        if order[0] == 2:
            out[0] += 1
        return out

    check_decorated(f, *vectors(3, 4))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.zeros((2, 3), order="F").__setitem__(0, x[0]),
        lambda x: hash(float(np.zeros(3).sum() + x[0])),
    ],
)
def test_what_needs_a_value_runs_eagerly(function: Callable[..., Any]) -> None:
    check_decorated(function, *vectors(3), compiled=False)


def asked_after_writing(x: Any) -> Any:
    out = np.zeros(x.shape[0])
    if not out.any():
        out[0] = x[0]
    return out


def test_other_calls_may_ask_what_one_writes() -> None:
    def f(x: Any, writes: bool) -> Any:
        out = np.zeros(2)
        if writes:
            out[0] = x[0]
        elif not out.any():
            out = out + 1
        return out

    x = np.ones(2)
    check_decorated(f, (x, True), (x, False), (np.ones(3), True), (np.ones(3), False))


def test_a_number_that_is_written_and_asked_is_under_a_guard() -> None:
    def f(x: Any, number: float) -> Any:
        out = np.zeros(2)
        out[0] = number
        return x if out.any() else x * 2

    x = np.ones(2)
    check_decorated(f, (x, 1.0), (x, 0.0), (x, 2.0))


def test_a_number_that_is_written_is_an_input() -> None:
    def f(x: Any, number: float) -> Any:
        out = np.zeros(2)
        out[0] = number
        return x * out

    x = np.ones(2)
    check_decorated(f, (x, 1.0), (x, 0.0), (x, 2.0), traces=1)


def test_an_array_that_is_written_may_be_asked_before() -> None:
    check_decorated(asked_after_writing, *vectors(3, 4, 5))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.array([x[0], x[1]]),
        lambda x: np.array([x, x * 2]),
        lambda x: np.array(([x[0], 1.0], (2, x[1]))),
        lambda x: np.array([x[0], True, 2]),
        lambda x: np.array([x.astype(np.float32)[0], 1.0]),
        lambda x: np.array([x.astype(np.float32)[0], 1]),
        lambda x: np.array([x.astype(np.int8)[0], 1]),
        lambda x: np.array([x[0], 1j]),
        lambda x: np.array([x[:2], [1, 2]], ndmin=4),
        lambda x: np.array([x[0], 2], np.float32),
        lambda x: np.array([x > 0, x < 1], dtype=float),
        lambda x: np.array([x[:0], x[:0]]),
        lambda x: np.array(x),
        lambda x: np.array(x, np.float32),
        lambda x: np.array(x, int),
        lambda x: np.array(x, copy=None),
        lambda x: np.array(x[0]),
        lambda x: np.array(x[0], ndmin=1),
        lambda x: np.asarray(x),
        lambda x: np.asanyarray(x),
        lambda x: np.asarray(x, float),
        lambda x: np.asarray(x, dtype=np.float32),
        lambda x: np.asarray(x.sum()),
        lambda x: np.asarray([x[0], 2.0], dtype=np.complex64),
        lambda x: np.array([x.shape[0], x[0]]),
        lambda x: np.ascontiguousarray(x + 1),
        lambda x: np.ascontiguousarray(x[0]),
        lambda x: [np.asarray(x)[1:], x],
    ],
)
def test_traced_values_become_arrays(function: Callable[..., Any]) -> None:
    check_decorated(function, *vectors(*SIZES), traces=4)


def test_asarray_of_a_written_copy_is_the_copy() -> None:
    def f(x: Any) -> Any:
        y = np.array(x)
        z = np.asarray(y)
        z[0] = 3
        return y, z, y is z, x.sum()

    check_decorated(f, *vectors(*SIZES), traces=4)


def test_a_list_of_what_a_loop_made() -> None:
    check_decorated(lambda x: np.array([v * 2 for v in x]), *vectors(3, 1))
    check_decorated(lambda x: np.fromiter((v * 2 for v in x), float), *vectors(3, 1, 0))
    check_decorated(lambda x: np.fromiter((v for v in x), np.float32, count=2), *vectors(3, 2))


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        (lambda x: np.array([x[0]], int), np.ones(2)),
        (lambda x: np.array([x[0]], np.int8), np.ones(2, int)),
        (lambda x: np.array([x, x[:1]]), np.ones(2)),
        (lambda x: np.array(x, float, copy=False), np.ones(2, np.float32)),
        (lambda x: np.asarray(x.T, order="A"), np.ones((2, 3))),
        (lambda x: np.asarray(x, order="F"), np.ones((2, 3))),
        (lambda x: np.fromiter((v for v in x), float, count=9), np.ones(2)),
        (lambda x: np.fromiter((v for v in x), int), np.ones(2)),
        (lambda x: np.array([*x]), np.ones(MAX_LISTED + 1)),
    ],
)
def test_other_conversions_are_left_to_numpy(
    function: Callable[..., Any], argument: Any
) -> None:
    decorated = gj.function(function)
    try:
        expected = function(argument)
    except Exception as error:
        with pytest.raises(type(error)):
            decorated(argument)
        return
    found = decorated(argument)
    np.testing.assert_array_equal(found, expected, strict=True)
    assert (found is argument) == (expected is argument)
    assert all(s.reason for s in decorated.specializations)


def test_what_is_a_scalar_or_an_array() -> None:
    for make in (np.asarray, np.array, np.asanyarray):
        for value in (np.float64(2), np.array(2.0), 2.0, 3):
            f = gj.function(lambda x, make=make: make(x))
            found, expected = f(value), make(value)
            assert type(found) is type(expected) and found.dtype == expected.dtype
            assert (found is value) == (expected is value)


def test_python_numbers_in_lists_are_not_weak() -> None:
    for function in (
        lambda x: np.concatenate([[x[0], 1.0], x]),
        lambda x: np.where(x > 0, [x[0], 1.0, 2.0], 3),
        lambda x: x * [x[0], 1.0, 2.0],
        lambda x: np.maximum(x, [x[0], 1, 2]),
        lambda x: np.dot([x[0], 1.0, 2.0], x),
    ):
        check_decorated(function, *vectors(3, dtype=np.float32), tolerance=1e-6)


def test_tensors_keep_their_rules() -> None:
    f = gj.function(lambda t: np.asarray(t))
    found = f(gj.constant([1.0, 2.0]))
    assert found.shape == (2,)
    assert f.specializations[0].reason


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.sum([x[0], 1.0]),
        lambda x: np.sum([x.astype(np.float32)[0], 1]),
        lambda x: np.max([x[0], x[1]]),
        lambda x: np.mean([x, x + 1], axis=0),
        lambda x: np.add([x[0], 1], 2),
        lambda x: np.hypot([x[0], 1.0], x[:2]),
        lambda x: np.maximum.reduce([x, x * 2]),
        lambda x: np.linalg.norm([x[0], x[1]]),
        lambda x: np.dot([x[0], 1.0], [x[1], 2.0]),
        lambda x: np.where([x[0] > 0, True], 1, [x[1], 2]),
        lambda x: np.stack([[x[0], 1.0], [x[1], 2]]),
        lambda x: np.vstack(([x[0], 1.0], [x[1], 2])),
        lambda x: np.column_stack([[x[0], 1.0], x[:2]]),
        lambda x: np.concatenate([[x[0]], [1.0]]),
    ],
)
def test_lists_are_arrays_to_numpy(function: Callable[..., Any]) -> None:
    check_decorated(function, *vectors(*SIZES), traces=4, tolerance=1e-12)


def test_lists_that_are_no_arrays() -> None:
    for function in (
        lambda x: np.sum([x[0], [1.0]]),
        lambda x: np.add([x[0], 1.0], [1.0, 2.0, 3.0]),
    ):
        f = gj.function(function)
        with pytest.raises(ValueError):
            f(np.ones(2))
        with pytest.raises(ValueError):
            function(np.ones(2))


def used_between_writes(x: Any) -> Any:
    out = np.zeros(x.shape[0])
    first = x + out
    out[0] = 1
    second = x + out
    out[0] = 0
    return first, second, x + out


def view_used_between_writes(x: Any) -> Any:
    out = np.zeros(3)
    part = out[1:]
    first = x[:2] + part
    out[:] = 2
    second = x[:2] + part
    out[:] = 0
    return first, second


def counted(x: Any) -> Any:
    weights, total = np.zeros(3), 0
    for k in range(3):
        total = total + x[:3] * weights
        weights[k] = k
    return total


def index_used_between_writes(x: Any) -> Any:
    chosen = np.arange(3)
    first = x[chosen[:2]]
    chosen[0] = 2
    return first, x[chosen[:2]]


@pytest.mark.parametrize(
    "function",
    [used_between_writes, view_used_between_writes, counted, index_used_between_writes],
)
def test_an_array_is_used_with_what_is_in_it_at_that_moment(
    function: Callable[..., Any],
) -> None:
    check_decorated(function, *vectors(*SIZES), traces=4)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x / len(x), x.astype(np.float32) / len(x), len(x)),
        lambda x: (x[len(x) // 2 :], x[: len(x) - 1], x[-len(x)]),
        lambda x: np.zeros(len(x)) + np.full(len(x), 2),
        lambda x: (len(np.outer(x, x)[:, :2]), not len(x), len(x) * 2 + 1),
        lambda x: x if len(x) > 1 else x * 2,
    ],
)
def test_lengths_are_extents(function: Callable[..., Any]) -> None:
    check_decorated(function, *vectors(*SIZES), traces=3)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: [x[k] for k in range(len(x))],
        lambda x: (f"{len(x):3d}", str(len(x)), hash(len(x))),
        lambda x: ([1] * len(x), "a" * len(x), divmod(len(x), 2), {len(x): 1}[len(x)]),
        lambda x: (len(x) ** 0.5, float(len(x)), 1.0 / len(x), len(x) << 2, len(x) * 1j),
    ],
)
def test_lengths_are_numbers_where_python_needs_them(function: Callable[..., Any]) -> None:
    check_decorated(function, *vectors(*SIZES))


def test_the_length_of_a_number_is_an_error() -> None:
    f = gj.function(lambda x: len(x.sum()))
    with pytest.raises(TypeError):
        f(np.ones(2))


ORDERS = [
    np.arange(6.0).reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(24.0).reshape(4, 6)[::2, ::2],
]


def own_transposed(x: Any) -> Any:
    return np.ascontiguousarray((x + 1).T)


def own_row(x: Any) -> Any:
    y = x[0] + 1
    return y, np.ascontiguousarray(y)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.ascontiguousarray(x),
        lambda x: np.ascontiguousarray(x).sum(0) + 1,
        lambda x: (np.ascontiguousarray(x.T), x),
        lambda x: (np.asarray(x, order="C"), np.asarray(x)),
        lambda x: np.ascontiguousarray(x, np.float32),
        lambda x: (np.ascontiguousarray(x[0]), np.ascontiguousarray(x[:, 0])),
        own_transposed,
        own_row,
    ],
)
def test_arrays_in_c_order(function: Callable[..., Any]) -> None:
    f = gj.function(function)
    for x in ORDERS * 2:
        found, expected = f(x), function(x)
        pairs = zip(
            found if isinstance(found, tuple) else (found,),
            expected if isinstance(expected, tuple) else (expected,),
            strict=True,
        )
        for a, b in pairs:
            np.testing.assert_array_equal(a, b, strict=True)
            assert (a is x) == (b is x)
            assert np.shares_memory(a, x) == np.shares_memory(b, x)
            assert a.flags.c_contiguous == b.flags.c_contiguous
    assert not any(s.reason for s in f.specializations)


def written_after(x: Any) -> Any:
    y = x + 1
    z = np.ascontiguousarray(y.T)
    y[0] = 3
    return y, z


def written_into(x: Any) -> Any:
    y = x + 1
    z = np.ascontiguousarray(y[::2])
    z[0] = 3
    return y, z


def asked_for_identity(x: Any) -> Any:
    y = np.ascontiguousarray(x)
    return x if y is x else x * 2


@pytest.mark.parametrize("function", [written_after, written_into, asked_for_identity])
def test_what_depends_on_the_memory_order_runs_eagerly(function: Callable[..., Any]) -> None:
    f = gj.function(function)
    for x in ORDERS:
        found, expected = f(x), function(x)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b, strict=True)
            assert np.shares_memory(a, x) == np.shares_memory(b, x)
    assert all(s.reason for s in f.specializations)
