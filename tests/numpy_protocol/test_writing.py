"""Traced arrays that are written: copies, views, in-place operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_checks import array, check, compare, flatten, refused, traced

from graphjit.core.errors import TracingError


def test_copies_can_be_written() -> None:
    for make in (
        lambda x: x.copy(),
        lambda x: x.astype(x.dtype),
        lambda x: x.flatten(),
        lambda x: np.copy(x),
        lambda x: x + 0,
        lambda x: np.positive(x),
        lambda x: +x,
        lambda x: np.zeros_like(x),
        lambda x: np.ones_like(x),
        lambda x: np.full_like(x, 3),
        lambda x: x[[0, 1]],
        lambda x: np.tile(x, 1),
        lambda x: np.repeat(x, 1),
        lambda x: np.concatenate([x]),
        lambda x: np.round(x),
        lambda x: np.sort(x),
        lambda x: np.roll(x, 0),
        lambda x: np.pad(x, 0),
        lambda x: np.where(True, x, x),
        lambda x: np.clip(x, None, 100),
        lambda x: np.nan_to_num(x),
        lambda x: np.meshgrid(x, x)[0][0],
        lambda x: np.take(x, [0, 1]),
        lambda x: np.broadcast_to(x[0], (2,)).copy(),
    ):

        def write(x: Any, make: Any = make) -> Any:
            y = make(x)
            y[0] = 7
            y += 1
            return y, x

        for dtype in ("int64", "float64"):
            x = array((2,), dtype)
            if not np.shares_memory(x, make(x)):  # as integers rounded before NumPy 2.4
                check(write, x)


def test_views_of_arguments_cannot_be_written() -> None:
    for make in (
        lambda x: x.reshape(2, 2),
        lambda x: x.T,
        lambda x: x[:2],
        lambda x: x.ravel(),
        lambda x: x[...],
        lambda x: np.squeeze(x),
        lambda x: x[::-1],
        lambda x: x.view(),
        lambda x: np.real(x),
        lambda x: np.atleast_1d(x),
        lambda x: np.split(x, 1)[0],
        lambda x: x.reshape(4),
        lambda x: x.real,
        lambda x: np.diff(x, 0),
        lambda x: np.einsum("i->i", x),
        lambda x: x.conj(),
        lambda x: x[1:][1:],
    ):

        def write(x: Any, make: Any = make) -> Any:
            y = make(x)
            y[0] = 7
            return y, x

        def write_base(x: Any, make: Any = make) -> Any:
            y = x.copy()
            z = make(y)
            y[0] = 9
            return y, z

        refused(write, array((4,), "float64"))
        check(write_base, array((4,), "float64"), may_refuse=True)
        check(write_base, array((4,), "complex128"), may_refuse=True)


def test_scalars_taken_out_leave_the_array_writable() -> None:
    def recur(x: Any) -> Any:
        y = np.zeros_like(x)
        y[0] = x[0]
        for i in range(1, 4):
            y[i] = y[i - 1] * 0.5 + x[i]
        return y

    check(recur, array((4,), "float32"))


def test_arrays_are_written_through_views_by_index() -> None:
    def stencil(u: Any) -> Any:
        u = u.copy()
        for _ in range(2):
            u[1:-1] = u[1:-1] + 0.25 * (u[2:] - 2 * u[1:-1] + u[:-2])
            u[0] += u[1]
            u[1:, 2:] *= 2
        rows = u[1:]
        cell = rows[0]
        cell -= 3
        rows[1, 1] = 7
        u[2] = 9
        fresh = (u * 2).reshape(5, 4)
        fresh[0] = 1
        return u, rows, cell, fresh

    check(stencil, array((4, 5), "float64"))

    def by_traced_index(x: Any) -> Any:
        y = x.copy()
        row = y[np.argmax(x[:, 0])]
        row += 1
        return y, row

    check(by_traced_index, array((3, 5), "float64"))


def test_read_only_views() -> None:
    for make in (
        lambda x: np.broadcast_to(x, (4, 4)), lambda x: np.broadcast_to(x, (4,)),
        lambda x: np.diagonal(x[:, None]), lambda x: x[:, None].diagonal(),
    ):  # fmt: skip

        def write(x: Any, make: Any = make) -> Any:
            y = make(x + 1)
            y[0] = 7
            return y

        refused(write, array((4,), "float64"))


STEPS = (
    "copy",
    "part",
    "row",
    "turn",
    "reshape",
    "real",
    "add",
    "set",
    "fill",
    "forget",
    "read",
)


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(st.sampled_from(STEPS), st.integers(0, 7), st.integers(0, 7)), max_size=12
    )
)
def test_programs_that_write(program: Any) -> None:
    def function(x: Any) -> Any:
        arrays, seen = [x, x * 2], []
        for number, (step, i, j) in enumerate(program):
            a = arrays[i % len(arrays)]
            b = arrays[j % len(arrays)]
            if step == "copy":
                arrays.append(a.copy())
            elif step == "part" and a.ndim:
                arrays.append(a[j % 2 :: 1 + i % 2] if j < 5 else a[::-1])
            elif step == "row" and a.ndim > 1 and a.shape[0]:
                arrays.append(a[j % a.shape[0]])
            elif step == "turn":
                arrays.append(a.T)
            elif step == "reshape":
                arrays.append(a.reshape(-1))
            elif step == "real":
                arrays.append(a.real if j % 2 else a[...])
            elif step == "add":
                a += b.sum() + number
            elif step == "set" and a.ndim and a.shape[0]:
                a[j % a.shape[0]] = number
            elif step == "fill":
                a.fill(j)
            elif step == "forget" and len(arrays) > 2:
                del arrays[1 + i % (len(arrays) - 1)]
            elif step == "read":
                seen.append(a.sum())
            del a, b
        return seen, arrays[1:]

    x = np.arange(12).reshape(3, 4)
    copy = x.copy()
    with np.errstate(all="ignore"):
        expected = flatten(function(copy))
    try:
        found = traced(function, x)
    except TracingError:
        return
    assert (copy == x).all(), "an argument was written, and tracing said nothing"
    for one, other in zip(found, expected, strict=True):
        compare(one, other)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (1, 3), (0, 2)])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
def test_fill_diagonal_with_several_values(shape: tuple[int, int], count: int) -> None:
    def write(x: Any, v: Any) -> Any:
        y, z, w = x.copy(), x.copy(), x.copy()
        np.fill_diagonal(y, v)
        np.fill_diagonal(z, [v[0], 2.5])
        return y, z, np.fill_diagonal(w, v[::-1]), w

    check(write, array(shape, "float64"), array((count,), "float32"))


def test_functions_that_write() -> None:
    def write(x: Any) -> Any:
        y = x.copy()
        np.copyto(y, 3, where=x > 0)
        np.putmask(y, x < -1, 5)
        np.fill_diagonal(y, 9)
        np.put_along_axis(y, np.argmin(x, axis=1, keepdims=True), 0, axis=1)
        z = np.empty_like(y)
        z.fill(2)
        w = x.copy()
        w.sort()
        return y, z, w

    check(write, array((3, 5), "float64"))
    refused(lambda x: x.sort(), array((3,), "float64"))
    refused(lambda x: x.fill(1), array((3,), "float64"))


def test_in_place_operators() -> None:
    def update(x: Any) -> Any:
        y = x.copy()
        z = y
        y += 1
        y *= 2
        y -= x
        y //= 3
        return y, z

    for dtype in ("int8", "int64", "float16", "float64"):
        check(update, array((3,), dtype))
