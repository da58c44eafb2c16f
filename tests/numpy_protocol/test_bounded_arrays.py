"""Arrays whose length is known only at the call, beside undecorated NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from decorated_checks import agree, outcome, same
from hypothesis import given
from hypothesis import strategies as st

import graphjit as gj

DRAW = np.random.default_rng(0)
VECTORS = [(DRAW.normal(size=n),) for n in (9, 9, 9, 5, 1)] + [(-np.ones(4),)]
MATRICES = [(DRAW.normal(size=s),) for s in ((5, 6), (5, 6), (3, 4), (4, 4))]
WHOLE = [(DRAW.integers(0, 9, n),) for n in (7, 7, 4)]


def without_the_empty(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: f(x[x > 0]) if len(x[x > 0]) else None


def written_to_the_left(x: Any) -> Any:
    i, y = int(np.argmax(x)), x.copy()
    y[:i] = 0
    y[i:] += 1
    return y


def written_through_a_view(x: Any) -> Any:
    y = x.copy()
    part = y[int(np.argmax(x)) :]
    part *= 2
    part[-1] = 7
    return y, part.sum()


def read_after_a_write(x: Any) -> Any:
    y = x.copy()
    part = y[int(np.argmax(x)) :]
    y[:] = 1
    return part.sum(), part[::-1].sum()


def by_places(x: Any) -> Any:
    y, places = x.copy(), np.flatnonzero(x > 0)
    y[places] = 7.0
    y[places] += x[x > 0] * 2
    return y, x[places] * 2, places.sum()


def below_and_above(x: Any) -> Any:
    return np.concatenate([x[x > 0], x[x < 0], [1.0]]), np.append(x[x > 0], 3)


def through_masks_of_masks(x: Any) -> Any:
    y, turns = x[x > -0.5], 0
    while len(y) > 1 and turns < 5:
        y = y[y >= y.mean()]
        turns += 1
    return turns


def of_an_argument(x: Any) -> Any:
    x[: int(np.argmax(x))] = 0
    return x.sum()


def written_by_masks(x: Any) -> Any:
    p = x[x > -0.5]
    p[p > 0] = 0
    q = x[int(np.argmax(x)) :].copy()
    q[q > 0] *= 2
    y = x.copy()
    part = y[int(np.argmax(y)) :]
    part[part > 1] = -1
    return p, q, y


def written_by_places(x: Any) -> Any:
    p = x[x > -9]
    i = np.flatnonzero(p > 0)
    p[i] = p[i] * 2 + 1
    p[i[::-1]] = np.arange(len(i))
    return p


def ranks(x: Any) -> Any:
    i = np.flatnonzero(x > 0)
    rank = np.empty(len(i))
    rank[np.argsort(x[i], kind="stable")] = np.arange(len(i))
    return rank


def created(x: Any) -> Any:
    p = x[x > -0.5]
    z = np.zeros(len(p))
    z += p
    return (
        z,
        np.arange(len(p)),
        np.ones(len(p), int),
        np.full(len(p), 2.5),
        np.zeros((len(p), 2)),
    )


def as_many_as_counted(x: Any) -> Any:
    n = 0
    for v in x:
        if v > 0:
            n += 1
    return np.zeros(n)


OF_VECTORS = [
    lambda x: np.nonzero(x > 0)[0],
    lambda x: np.where(x > 0),
    lambda x: (x > 0).nonzero(),
    lambda x: x[x > 0],
    lambda x: np.sort(x[x > 0]),
    lambda x: np.cumsum(x[x > 0]),
    lambda x: np.diff(x[x > 0]),
    lambda x: (len(x[x > 0]), x[x > 0].shape, x[x > 0].size, np.ndim(x[x > 0])),
    lambda x: (x[x > 0] > 1).sum() + np.count_nonzero(x[x > 0]),
    lambda x: np.where(x[x > 0] > 1, x[x > 0], -x[x > 0]),
    lambda x: (np.dot(x[x > 0], x[x > 0]), np.linalg.norm(x[x > 0]), x[x > 0] @ x[x > 0]),
    lambda x: (x[x > 0][1:], x[x > 0][:-1], x[x > 0][::-1].copy(), x[x > 0][::2].copy()),
    lambda x: np.argwhere(x > 0),
    lambda x: np.unique(np.round(x)),
    lambda x: np.unique(np.round(x), return_counts=True),
    lambda x: np.outer(x[x > 0], x[x > 0]).sum(),
    lambda x: np.clip(x[x > -1], 0, 0.5),
    lambda x: np.zeros_like(x[x > 0]),
    lambda x: x[x > 0].reshape(-1, 1),
    lambda x: x[x > 0].astype(int),
    lambda x: x[: np.argmax(x) + 1][::-1].copy(),
    lambda x: (x[: int(np.argmax(x))].sum(), x[int(np.argmax(x)) :].sum()),
    lambda x: x[: int(np.argmax(x))] @ x[: int(np.argmax(x))],
    without_the_empty(lambda y: (y.mean(), y.std(), y.max(), y.argmin(), np.ptp(y))),
    without_the_empty(lambda y: (y[0], y[-1], np.median(y))),
    without_the_empty(lambda y: np.quantile(y, [0.1, 0.5])),
    without_the_empty(lambda y: np.percentile(y, 30)),
    written_to_the_left, written_through_a_view, read_after_a_write, by_places,
    below_and_above, through_masks_of_masks, written_by_masks, written_by_places, ranks,
    created,
    as_many_as_counted,
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(OF_VECTORS)))
def test_of_vectors(number: int) -> None:
    agree(OF_VECTORS[number], *VECTORS, tolerance=1e-12)


def eliminated(a: Any) -> Any:
    k, b = int(np.argmax(a[:, 0])), a.copy()
    b[k:, 1:] -= np.outer(b[k:, 0], b[0, 1:])
    b[k, :k] = -1
    return b


def cleared(a: Any) -> Any:
    b = a.copy()
    rows, columns = np.nonzero(a > 0)
    b[rows, columns] = 0
    return b, rows, columns, a[rows, columns]


def rows_written(a: Any) -> Any:
    b = a.copy()
    q = b[: int(np.argmax(a[:, 0])) + 1]
    q[q[:, 0] > 0, 1] = 5
    r = a[a[:, 0] > -9]
    r[r[:, 0] > 0] = 0
    return b, r


OF_MATRICES = [
    lambda a: a[:, : int(np.argmax(a[0]))].sum(axis=1),
    lambda a: a[:, int(np.argmax(a[0])) :].max(),
    lambda a: a[a[:, 0] > 0],
    lambda a: a[:, a[0] > 0].sum(axis=1),
    lambda a: (a[a[:, 0] > 0, 1], a[a[:, 0] > 0].sum(axis=0)),
    lambda a: a[:, : int(np.argmax(a[0]))] @ a[0, : int(np.argmax(a[0]))],
    lambda a: a[: int(np.argmax(a[:, 0]))].T @ a[: int(np.argmax(a[:, 0]))],
    lambda a: np.linalg.norm(a[a[:, 0] > 0], axis=1),
    lambda a: np.argwhere(a > 0),
    lambda a: a[a > 0],
    eliminated, cleared, rows_written,
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(OF_MATRICES)))
def test_of_matrices(number: int) -> None:
    agree(OF_MATRICES[number], *MATRICES, tolerance=1e-12)


OF_INTEGERS = [
    lambda a: (np.bincount(a), np.bincount(a, minlength=12), np.bincount(a, weights=a * 0.5)),
    lambda a: np.bincount(a[a > 2]),
    lambda a: np.unique(a[a > 1]),
    lambda a: np.unique(a.astype(np.uint8), return_counts=True),
]


@pytest.mark.parametrize("number", range(len(OF_INTEGERS)))
def test_of_integers(number: int) -> None:
    agree(OF_INTEGERS[number], *WHOLE, tolerance=1e-12)


def test_arguments_are_written_into() -> None:
    f = gj.function(of_an_argument, fallback="error")
    for (x,) in VECTORS:
        a, b = x.copy(), x.copy()
        same((f(a), a), (of_an_argument(b), b), tolerance=1e-12)


def summed(x: Any) -> Any:
    total = 0.0
    for v in x[x > 0]:
        total += v * v
    return total


def numbered(x: Any) -> Any:
    y = np.zeros_like(x)
    for k, i in enumerate(np.flatnonzero(x > 0)):
        y[i] = k
    return y


def widest(x: Any) -> Any:
    values, found = np.unique(np.round(x)), 0.0
    for low, high in zip(values[:-1], values[1:], strict=True):  # noqa: RUF007
        found = max(found, high - low)
    return found


def first_large(x: Any) -> Any:
    for i in np.flatnonzero(x > 0):
        if x[i] > 1:
            return i
    return -1


def counted(x: Any) -> Any:
    count = 0
    for i in range(len(x)):
        count += len(x[:i][x[:i] > 0])
    return count


@pytest.mark.parametrize("function", [summed, numbered, widest, first_large, counted])
def test_loops_over_what_was_chosen(function: Callable[..., Any]) -> None:
    agree(function, *VECTORS, tolerance=1e-12)


def neighbours(a: Any) -> Any:
    degree = np.zeros(len(a), int)
    for u in range(len(a)):
        for v in np.flatnonzero(a[u] > 0):
            degree[v] += u
    return degree


def filled(a: Any) -> Any:
    b = a.copy()
    for r, c in np.argwhere(a > 0):
        b[r, c] = r * 10 + c
    return b


def cholesky(a: Any) -> Any:
    a = a @ a.T + 10 * np.eye(len(a))
    for i in range(len(a)):
        for j in range(i):
            a[i, j] = (a[i, j] - a[i, :j] @ a[j, :j]) / a[j, j]
        a[i, i] = np.sqrt(a[i, i] - a[i, :i] @ a[i, :i])
    return a


@pytest.mark.parametrize("function", [neighbours, filled, cholesky])
def test_loops_of_rows(function: Callable[..., Any]) -> None:
    agree(function, *[(DRAW.normal(size=(n, n)),) for n in (5, 5, 3, 20)], tolerance=1e-9)


RAISING = [
    lambda x: x[x > 0].max(),
    lambda x: x[x > 5][0],
    lambda x: x[: int(np.argmax(x))] + x[1:],
    lambda x: x[x > 0] + np.ones(3),
    lambda x: x[x > 0][3],
    lambda x: np.median(x[: int(np.argmax(x))]) if np.argmax(x) else x[x > 9].argmax(),
]


@pytest.mark.parametrize("number", range(len(RAISING)))
def test_what_raises_undecorated_raises(number: int) -> None:
    f = gj.function(RAISING[number])
    for _ in range(2):
        for arguments in VECTORS:
            same(outcome(f, arguments), outcome(f.python_function, arguments), "", 1e-12)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[int(x[0]) :],  # a view of the argument
        lambda x: x[x > 0].reshape(2, -1) if len(x[x > 0]) % 2 == 0 else None,
        lambda x: np.linalg.eigvals(np.outer(x[x > 0], x[x > 0])).real,
    ],
)
@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
def test_what_is_left_to_numpy(function: Callable[..., Any]) -> None:
    f = gj.function(function)
    for x in (np.array([1.0, 2.0, -1.0, 3.0]), np.array([2.0, 2.0, 1.0, 3.0])):
        same(outcome(f, (x,)), outcome(function, (x,)), "", 1e-12)
    assert any(s.reason for s in f.specializations)


BOUNDS = st.integers(-7, 7) | st.none()


@given(BOUNDS, BOUNDS, st.sampled_from([1, 1, 2, -1, -2]), st.integers(0, 6))
def test_bounds_of_slices(start: Any, stop: Any, step: int, size: int) -> None:
    x = np.arange(float(size))
    traced = [np.array([0 if b is None else b]) for b in (start, stop)]

    def f(x: Any, first: Any, last: Any) -> Any:
        low = None if start is None else int(first[0])
        high = None if stop is None else int(last[0])
        part = x[low:high:step]
        return part.sum(), len(part), part * 2

    same(slicing(start is None, stop is None, step)(x, *traced), f(x, *traced))


def slicing(open_start: bool, open_stop: bool, step: int) -> Any:
    """The compiled function of a slice of some form."""
    key = open_start, open_stop, step
    if key not in SLICES:

        def f(x: Any, first: Any, last: Any) -> Any:
            low = None if open_start else int(first[0])
            high = None if open_stop else int(last[0])
            part = x[low:high:step]
            return part.sum(), len(part), part * 2

        SLICES[key] = gj.function(f, fallback="error")
    return SLICES[key]


SLICES: dict[Any, Any] = {}


def test_what_is_read_before_a_copy() -> None:
    def f(x: Any, y: Any) -> Any:
        first = x[x > 0]
        x[:-1] *= 0.5
        chosen = y[np.flatnonzero(y > 0)]
        both = np.concatenate([chosen, chosen])
        y[int(x[0] * 2) :] = both
        y += chosen
        x[0:] = x
        return y.max(), chosen, both, first

    decorated = gj.function(f)
    draw = np.random.default_rng(1149)
    for size in (5, 5, 5, 7, 7, 3):
        x, y = (np.round(draw.normal(size=size), 1) for _ in range(2))
        given, plain = (x.copy(), y.copy()), (x.copy(), y.copy())
        found, wanted = outcome(decorated, given), outcome(f, plain)
        same((found, given), (wanted, plain), tolerance=1e-12)
