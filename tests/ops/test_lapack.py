"""LAPACK's routines beside NumPy's and SciPy's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg

from graphjit.ops import lapack

SINGLE = "fF"


def close(found: Any, expected: Any, dtype: str) -> None:
    assert found.dtype == expected.dtype and found.shape == expected.shape
    assert found.flags.c_contiguous
    scale = np.abs(expected).max(initial=1e-30)
    within = 2e-6 if dtype in SINGLE else 1e-11
    np.testing.assert_allclose(found, expected, rtol=0, atol=within * scale)


def matrices(n: int, dtype: str) -> tuple[Any, Any]:
    """A matrix that can be solved for, and one that is positive definite."""
    rng = np.random.default_rng(n)
    a = rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n)) * (dtype in "FD")
    a = (a if dtype in "FD" else a.real) + 3 * np.sqrt(n) * np.eye(n)
    return a.astype(dtype), (a @ a.conj().T + np.eye(n)).astype(dtype)


@pytest.mark.parametrize("dtype", list("fdFD"))
@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 40])
def test_gives_what_numpy_and_scipy_give(n: int, dtype: str) -> None:
    a, definite = matrices(n, dtype)
    padded = np.zeros((2 * n, 2 * n), dtype)
    padded[::2, ::2] = definite
    for x in (definite, np.asfortranarray(definite), padded[::2, ::2]):
        close(lapack.cholesky(x), np.linalg.cholesky(x), dtype)
        close(lapack.inv(x), np.linalg.inv(x), dtype)
    rng = np.random.default_rng(0)
    for shape in ((n,), (n, 1), (n, 5), (n, 0)):
        b = rng.normal(size=shape).astype(dtype)
        before = a.copy(), b.copy()
        close(lapack.solve(a, b), np.linalg.solve(a, b), dtype)
        if len(shape) == 2:
            for lower in (True, False):
                for adjoint in (True, False):
                    expected = scipy.linalg.solve_triangular(
                        a, b, lower=lower, trans="C" if adjoint else "N"
                    )
                    close(lapack.solve_triangular(a, b, lower, adjoint), expected, dtype)
        np.testing.assert_array_equal(a, before[0])
        np.testing.assert_array_equal(b, before[1])


def test_stacks() -> None:
    a = np.stack([matrices(4, "d")[1]] * 6).reshape(3, 2, 4, 4)
    b = np.random.default_rng(0).normal(size=(2, 4, 3))
    close(lapack.cholesky(a), np.linalg.cholesky(a), "d")
    close(lapack.inv(a), np.linalg.inv(a), "d")
    close(lapack.solve(a, b), np.linalg.solve(a, b), "d")
    found = lapack.solve_triangular(a[0], b, True, False)
    for k in range(2):
        close(found[k], scipy.linalg.solve_triangular(a[0, k], b[k], lower=True), "d")


HOSTILE = (
    np.zeros((2, 2)), np.ones((2, 2)), np.array([[1, 2], [2, 4.0]]), np.full((3, 3), np.nan),
    np.arange(9.0).reshape(3, 3), np.array([[1, np.inf], [0, 1]]), -np.eye(2),
    np.eye(2) * 1e-320, np.array([[0.0]]), np.array([[1, np.nan], [np.nan, 1]]),
)  # fmt: skip


def outcome(function: Callable[..., Any], *args: Any) -> str:
    try:
        return repr(function(*args).round(9) + 0.0)
    except np.linalg.LinAlgError as error:
        return str(error)


@pytest.mark.parametrize("x", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.filterwarnings("ignore")
def test_raises_where_numpy_and_scipy_raise(x: Any) -> None:
    b = np.ones((len(x), 1))
    assert outcome(lapack.cholesky, x) == outcome(np.linalg.cholesky, x)
    assert outcome(lapack.inv, x) == outcome(np.linalg.inv, x)
    assert outcome(lapack.solve, x, b) == outcome(np.linalg.solve, x, b)
    expected = outcome(
        lambda x, b: scipy.linalg.solve_triangular(x, b, lower=True, check_finite=False), x, b
    )
    assert outcome(lambda x, b: lapack.solve_triangular(x, b, True, False), x, b) == expected
