"""LAPACK's routines for one matrix, without the checks that NumPy and SciPy put around them.

As NumPy does, float32 is computed in float64 and rounded once. All are SciPy's, whose threads
wait for work in a pool: NumPy has another, and one would stand in the other's way. Stacks of
matrices are NumPy's, which goes through them in C.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import numpy as np

from graphjit.core.types import Array

# By the type of an array: the letter of the routines, the type that they compute in.
_IN_DOUBLE: Final = {"f": "d", "d": "d", "F": "z", "D": "z"}
_AS_GIVEN: Final = {"f": "s", "d": "d", "F": "c", "D": "z"}
_DOUBLES: Final = {"d": np.dtype(np.float64), "z": np.dtype(np.complex128)}


@functools.cache
def _routine(name: str) -> Any:
    from scipy.linalg import blas, lapack

    return getattr(lapack, name, None) or getattr(blas, name)


def cholesky(x: Array) -> Array:
    """np.linalg.cholesky. np.linalg.LinAlgError where a matrix isn't positive definite."""
    if x.ndim > 2 or not x.size:
        return np.linalg.cholesky(x)
    letter = _IN_DOUBLE[x.dtype.char]
    # what lies in rows is read as columns: x's lower triangle is the upper one of x.T
    factor, info = _routine(letter + "potrf")(x.T.astype(_DOUBLES[letter], copy=False))
    if info:
        raise np.linalg.LinAlgError("Matrix is not positive definite")
    return np.asarray(factor.T, x.dtype)


def solve(a: Array, b: Array) -> Array:
    """np.linalg.solve. Raises np.linalg.LinAlgError for a singular matrix."""
    if a.ndim > 2 or b.ndim > 2 or not a.size or not b.size:
        return np.linalg.solve(a, b)
    letter = _IN_DOUBLE[a.dtype.char]
    double = _DOUBLES[letter]
    *_, x, info = _routine(letter + "gesv")(
        a.astype(double, copy=False), b.astype(double, copy=False)
    )
    if info:
        raise np.linalg.LinAlgError("Singular matrix")
    return np.asarray(x.reshape(b.shape), b.dtype, order="C")


def inv(x: Array) -> Array:
    """np.linalg.inv. Raises np.linalg.LinAlgError for a singular matrix."""
    if x.ndim > 2 or not x.size:
        return np.linalg.inv(x)
    return solve(x, np.eye(len(x), dtype=x.dtype))


def solve_triangular(a: Array, b: Array, lower: bool, adjoint: bool) -> Array:
    """x of a x = b, or of its adjoint, for stacks of matrices; the other triangle isn't read.

    Raises np.linalg.LinAlgError where a number on a diagonal is zero.
    """
    if a.ndim > 2 or b.ndim > 2:
        shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a = np.broadcast_to(a, shape + a.shape[-2:])
        b = np.broadcast_to(b, shape + b.shape[-2:])
        result = np.empty_like(b, order="C")
        for index in np.ndindex(shape):
            result[index] = solve_triangular(a[index], b[index], lower, adjoint)
        return result
    if not b.size:
        return b.copy()
    diagonal = a.diagonal()
    if not diagonal.all():
        place = int(np.flatnonzero(diagonal == 0)[0])
        raise np.linalg.LinAlgError(f"singular matrix: resolution failed at diagonal {place}")
    # rows are read as columns: x.T times a.T, or times its adjoint, is b.T
    x = _routine(_AS_GIVEN[a.dtype.char] + "trsm")(
        1, a.T, b.T, side=1, lower=not lower, trans_a=2 if adjoint else 0
    )
    return np.ascontiguousarray(x.T)


__all__ = ["cholesky", "inv", "solve", "solve_triangular"]
