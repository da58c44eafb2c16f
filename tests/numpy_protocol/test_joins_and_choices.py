"""Joins of one array's items, and indices that choose nothing, against NumPy."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj

JOINS: list[Callable[[Any], Any]] = [
    np.concatenate, np.hstack, np.vstack, np.dstack, np.column_stack, np.stack, np.block,
    lambda x: np.concatenate(x, axis=1), lambda x: np.concatenate(x, axis=-1),
    lambda x: np.concatenate(x, axis=None), lambda x: np.stack(x, axis=1),
    lambda x: np.stack(x, axis=-1), lambda x: np.stack(x, axis=2),
    lambda x: np.stack(x, axis=5), lambda x: np.concatenate(x, axis=3),
    lambda x: np.concatenate(x, dtype="f4"), lambda x: np.vstack(x, dtype="i4"),
    lambda x: np.hstack(x, dtype="c16"),
]  # fmt: skip


def outcome(fn: Callable[..., Any], *args: Any) -> Any:
    """What a call gives, or the exception's type."""
    try:
        result = fn(*args)
    except Exception as error:
        return type(error)
    return type(result), result.dtype, result.shape, result.tolist()


def agree(compiled: Any, plain: Any) -> bool:
    """Whether outcomes are equal; errors of graphjit's derive from NumPy's."""
    if isinstance(plain, type):
        return isinstance(compiled, type) and issubclass(compiled, plain)
    return bool(compiled == plain)


@pytest.mark.parametrize("number", range(len(JOINS)))
def test_joins_of_one_array(number: int) -> None:
    fn = JOINS[number]
    shapes = [(), (0,), (1,), (4,), (0, 3), (3, 0), (2, 3), (1, 3), (3, 1, 2), (2, 3, 0, 4)]
    for shape in shapes:
        for dtype in ("f8", "i2", "c8"):
            x = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
            if fn is np.block and not shape:
                continue  # asks for the type of what is a NumPy scalar or an array
            found = outcome(gj.function(fn, fallback="error"), x)
            assert agree(found, outcome(fn, x)), (shape, dtype, found)


INDICES: list[Callable[[Any, Any], Any]] = [
    lambda x, y: np.r_[x], lambda x, y: np.r_[x, y], lambda x, y: np.r_[x, 1, 2.5, y],
    lambda x, y: np.r_[1:4, x, 0:1:5j], lambda x, y: np.r_[x, [1, 2], (3.0,)],
    lambda x, y: np.r_[x[0], y[1], 7], lambda x, y: np.r_["0,2", x, y],
    lambda x, y: np.r_["1,2,0", x, y], lambda x, y: np.r_["0,2,0", x, y, 1:4],
    lambda x, y: np.r_["-1", x[:, None], y[:, None]], lambda x, y: np.c_[x], np.r_.__getitem__,
    lambda x, y: np.c_[x, y], lambda x, y: np.c_[x[:, None], y, np.ones(3)],
    lambda x, y: np.c_[x[None], 1, 2], lambda x, y: np.r_[x, y.astype("f4")],
    lambda x, y: np.c_[x, y[:2]], lambda x, y: np.r_[x, np.ones((2, 2))],
    lambda x, y: np.r_["a", x], lambda x, y: np.r_[x, "0"], lambda x, y: np.r_["r", x],
    lambda x, y: np.c_["1,3,0", x, y],
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(INDICES)))
def test_arrays_joined_by_an_index(number: int) -> None:
    fn = INDICES[number]
    for dtype in ("f8", "i2"):
        x, y = np.arange(3).astype(dtype), np.arange(3, 6).astype(dtype)
        assert agree(outcome(gj.function(fn), x, y), outcome(fn, x, y)), dtype


def test_arrays_joined_by_an_index_compile() -> None:
    x = np.arange(3.0)
    f = gj.function(lambda x: np.c_[x, 2 * x, np.r_[x[:2], 1]], fallback="error")
    np.testing.assert_array_equal(f(x), np.c_[x, 2 * x, np.r_[x[:2], 1]])


@pytest.mark.parametrize("code", "?bhilBHILefdFD")
def test_types_of_numbers_convert(code: str) -> None:
    kind = np.dtype(code).type
    values = [np.array([1.5, -2.0, 0.0]), np.array(2.5), np.float64(2.5), np.int64(7), 3, True]
    values += [np.array([[1, 2]], "i4"), np.float32(0.1), np.array([1 + 2j]), 2.5, 1j]
    for value in values:
        f = gj.function(lambda x: kind(x))
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = outcome(kind, value)
            for _ in range(2):
                assert agree(outcome(f, value), expected), (value, expected)
    compiled = gj.function(lambda x: kind(x) + kind(x[0]), fallback="error")
    x = np.array([1.0, 2.0])
    found = compiled(x)
    np.testing.assert_array_equal(found, kind(x) + kind(x[0]))
    assert found.dtype == code


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("mnd,mdo->mno", [(1, 3, 2), (4, 2, 5)]),
        ("mnd,mdo->mno", [(4, 3, 2), (1, 2, 5)]),
        ("mnd,mdo", [(1, 3, 2), (4, 2, 5)]),
        ("ij,jk->ik", [(2, 1), (3, 4)]),
        ("ij,jk", [(2, 3), (1, 4)]),
        ("ij,ij->", [(2, 1), (1, 3)]),
        ("i,i,i->i", [(1,), (3,), (1,)]),
        ("ij,ij->ij", [(1, 1), (1, 1)]),
        ("ii,ij->j", [(1, 1), (3, 2)]),
        ("ij,jk->ik", [(2, 2), (3, 4)]),
        ("ij,ij->ij", [(2, 0), (1, 1)]),
    ],
)
def test_einsum_broadcasts(equation: str, shapes: list[tuple[int, ...]]) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s) for s in shapes]
    fn = lambda *arrays: np.einsum(equation, *arrays)  # noqa: E731
    try:
        expected = fn(*arrays)
    except ValueError:
        with pytest.raises(ValueError, match=r"\w"):
            gj.function(fn)(*arrays)
        return
    found = gj.function(fn)(*arrays)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert found.shape == expected.shape


def test_einsum_by_numbers() -> None:
    x, y = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
    for fn in (
        lambda x, y: np.einsum(x, [0, 1], y, [1, 2]),
        lambda x, y: np.einsum(x, [0, 1], y, [1, 2], [2, 0]),
        lambda x, y: np.einsum(x, (1, 0)),
        lambda x, y: np.einsum(x, [Ellipsis, 1], y, [1, 30], [Ellipsis, 30]),
        lambda x, y: np.einsum(x, [0, 1], y, [2, 3], []),
        lambda x, y: np.einsum(x, [27, 0]),
    ):
        expected = outcome(fn, x, y)
        assert agree(outcome(gj.function(fn, fallback="error"), x, y), expected)
    for fn in (
        lambda x, y: np.einsum(x, [0, 52]),
        lambda x, y: np.einsum(x, [0, 1], y, [0, 1]),
    ):
        assert agree(outcome(gj.function(fn), x, y), outcome(fn, x, y))


@pytest.mark.parametrize("number", range(13))
def test_joins_of_a_long_array_are_few_nodes(number: int) -> None:
    fn = JOINS[number]
    for shape in ((10_000,), (10_000, 2), (10_000, 2, 2)):
        x = np.arange(float(np.prod(shape))).reshape(shape)
        plain = outcome(fn, x)
        if isinstance(plain, tuple):
            compiled = gj.function(fn, fallback="error")
            assert agree(outcome(compiled, x), plain)
            assert len(compiled.get_graph(x).nodes) < 10


def test_items_are_those_of_the_array_when_python_comes_to_them() -> None:
    def elements(x: Any) -> Any:
        y, total = x + 1, 0.0
        for v in y:
            y[-1] = v * 2
            total = total + v
        return y, total

    def rows(x: Any) -> Any:
        y = x + 1
        for row in y:
            row += 1
            y[-1] += row
        return y, next(iter(y))

    def kept(x: Any) -> Any:
        y = x + 1
        first, *_ = y
        y[0] = 9
        return first, y

    for fn, shape in [
        (elements, (5,)),
        (rows, (4, 3)),
        (rows, (1, 2)),
        (kept, (3,)),
        (kept, (3, 2)),
    ]:
        x = np.arange(float(np.prod(shape))).reshape(shape)
        for a, b in zip(gj.function(fn, fallback="error")(x), fn(x), strict=True):
            np.testing.assert_array_equal(a, b)
    x = np.arange(6.0).reshape(3, 2)
    found = gj.function(lambda x: list(x), fallback="error")(x)
    assert all(np.shares_memory(row, x) and row.base is x.base for row in found)
    assert [type(v) for v in gj.function(lambda x: tuple(x))(x[0])] == [np.float64] * 2


CHOICES: list[Callable[[Any, Any], Any]] = [
    lambda x, i: x[i], lambda x, i: x[:, i], lambda x, i: x[i, i], lambda x, i: x[i, :0],
    lambda x, i: x[:0, i], lambda x, i: x[..., i], lambda x, i: x[i, None],
    lambda x, i: x[5, i],
    lambda x, i: x[0, i], lambda x, i: x[i, 5], lambda x, i: x[i, np.zeros(0, int)],
    lambda x, i: x[np.array([[9]]), i], lambda x, i: np.take(x, i),
    lambda x, i: np.take(x, i, axis=0), lambda x, i: np.take(x, i, axis=1),
    lambda x, i: np.take(x, i, axis=0, mode="clip"),
    lambda x, i: np.take(x, i, axis=1, mode="wrap"), lambda x, i: np.take(x, i, mode="wrap"),
    lambda x, i: x.take(i, 1), lambda x, i: np.take_along_axis(x, i[:, None], 0),
    lambda x, i: np.take_along_axis(x, i[None], 1), lambda x, i: np.take(x[:0], i, axis=1),
    lambda x, i: np.take_along_axis(x[:0], i[None], 1), lambda x, i: x[i[:0], 5:],
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
@pytest.mark.parametrize("number", range(len(CHOICES)))
@pytest.mark.parametrize("known", [False, True])
def test_indices_that_choose_nothing(number: int, known: bool) -> None:
    """Bounds are checked where NumPy checks them, and nowhere else."""
    fn = CHOICES[number]
    for shape in ((2, 3), (0, 3), (3, 0), (0, 0), (0,), (3,), (1, 1)):
        x = np.arange(float(np.prod(shape))).reshape(shape)
        for places in ([], [0], [-1], [0, 1], [7], [-7], [0, 7]):
            i = np.array(places, int)
            plain = outcome(fn, x, i)
            if known:
                found = outcome(gj.function(lambda x, i=i: fn(x, i)), x)
            else:
                found = outcome(gj.function(fn), x, i)
            assert agree(found, plain), (shape, places, found, plain)


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
@pytest.mark.parametrize("known", [False, True])
def test_assignments_that_choose_nothing(known: bool) -> None:
    def rows(x: Any, i: Any) -> Any:
        y = x.copy()
        y[i] = 1
        return y

    def columns(x: Any, i: Any) -> Any:
        y = x.copy()
        y[:, i] += 1
        return y

    for fn in (rows, columns):
        for shape in ((2, 3), (0, 3), (3, 0), (0, 0)):
            x = np.zeros(shape)
            for places in ([], [0], [7], [-7]):
                i = np.array(places, int)
                call = gj.function(lambda x, i=i, fn=fn: fn(x, i)) if known else gj.function(fn)
                found = outcome(call, x) if known else outcome(call, x, i)
                assert agree(found, outcome(fn, x, i)), (shape, places, found)
