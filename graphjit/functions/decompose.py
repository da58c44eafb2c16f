"""Decompositions of matrices, and what is made of them: solutions, inverses, powers.

Matrices are the last two axes, whatever stands before is a batch. float32, float64,
complex64 and complex128 only; a matrix that has no such decomposition is an
InvalidArgumentError.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import shape_text
from graphjit.ops import library
from graphjit.tensors.apply import TensorBase, apply, as_tensor, same_dtype

from . import math
from .create import eye
from .product import adjoint, matmul, require_matrix
from .reduce import reduce_max, reduce_sum
from .shape import broadcast_to, expand_dims, squeeze


def cholesky(x: Any) -> Any:
    """The lower triangular l [..., n, n] with l lᴴ = x; only x's lower triangle is read."""
    return apply(library.cholesky, as_tensor(x))


def cholesky_solve(chol: Any, rhs: Any) -> Any:
    """The y [..., n, k] with chol cholᴴ y = rhs, for a lower triangular chol [..., n, n]."""
    return triangular_solve(chol, triangular_solve(chol, rhs), adjoint=True)


def inv(x: Any, adjoint: bool = False) -> Any:
    """The inverse [..., n, n], of the conjugate transpose if adjoint."""
    return apply(library.inv, _adjoint(x) if adjoint else as_tensor(x))


_adjoint = adjoint  # several functions have an option of that name


def det(x: Any) -> Any:
    """The determinant [...] of matrices [..., n, n]."""
    return apply(library.det, as_tensor(x))


def slogdet(x: Any) -> tuple[Any, Any]:
    """Sign [...] and logarithm of the modulus [...] of the determinant."""
    sign, logarithm = apply(library.slogdet, as_tensor(x))
    return sign, logarithm


def logdet(x: Any) -> Any:
    """The logarithm [...] of the determinant of positive definite matrices [..., n, n]."""
    from .shape import diag_part

    diagonal = math.real(diag_part(cholesky(x)))
    return math.multiply(reduce_sum(math.log(diagonal), -1), 2.0)


def solve(matrix: Any, rhs: Any, adjoint: bool = False) -> Any:
    """The x with matrix x = rhs: [..., n, n] and [..., n, k] give [..., n, k].

    A 1-d rhs counts as one column. adjoint: the matrix's conjugate transpose is meant.
    """
    a, b = same_dtype(matrix, rhs)
    return apply(library.solve, _adjoint(a) if adjoint else a, b)


def triangular_solve(matrix: Any, rhs: Any, lower: bool = True, adjoint: bool = False) -> Any:
    """As solve, for a triangular matrix, whose other triangle isn't read."""
    a, b = same_dtype(matrix, rhs)
    return apply(library.triangular_solve, a, b, lower=bool(lower), adjoint=bool(adjoint))


def lstsq(
    matrix: Any,
    rhs: Any,
    l2_regularizer: float = 0.0,
    fast: bool = True,
    rcond: float | None = None,
) -> Any:
    """The x [..., n, k] of least |matrix x - rhs|², and of least norm among those.

    matrix: [..., m, n]; rhs: [..., m, k], or [m] for one column. With l2_regularizer what is
    least is |matrix x - rhs|² + l2_regularizer |x|². rcond: singular values below it times
    the largest count as 0. `fast` is TensorFlow's, and changes nothing here.
    """
    a, b = same_dtype(matrix, rhs)
    a = require_matrix(a, "MatrixSolveLs")
    if b.ndim == 1:
        return squeeze(lstsq(a, expand_dims(b, 1), l2_regularizer, fast, rcond), -1)
    if l2_regularizer:
        m, n = a.type.shape[-2:]
        turned = _adjoint(a)
        weight = math.multiply(eye(min(m, n), dtype=a.dtype), l2_regularizer)
        if m >= n:
            return solve(math.add(matmul(turned, a), weight), matmul(turned, b))
        return matmul(turned, solve(math.add(matmul(a, turned), weight), b))
    if a.ndim == b.ndim == 2:
        return apply(library.lstsq, a, b, rcond=rcond)
    return matmul(pinv(a, rcond), b)


def qr(x: Any, full_matrices: bool = False) -> tuple[Any, Any]:
    """Orthonormal columns q and an upper triangular r with q r = x [..., m, n].

    q is [..., m, k] and r [..., k, n] with k = min(m, n), or k = m for full_matrices.
    """
    q, r = apply(library.qr, as_tensor(x), complete=bool(full_matrices))
    return q, r


def svd(x: Any, full_matrices: bool = False, compute_uv: bool = True) -> Any:
    """Singular values s and vectors u, v of x [..., m, n], in that order: x = u diag(s) vᴴ.

    s is [..., k], largest first, u [..., m, k], v [..., n, k] (TensorFlow's v, not NumPy's
    vᴴ) with k = min(m, n); full_matrices: u is [..., m, m] and v [..., n, n]. Without
    compute_uv s alone.
    """
    u, s, vh = apply(library.svd, as_tensor(x), full=bool(full_matrices and compute_uv))
    return (s, u, _adjoint(vh)) if compute_uv else s


def svdvals(x: Any) -> Any:
    """The singular values [..., min(m, n)] of x [..., m, n], largest first."""
    return svd(x, compute_uv=False)


def eigh(x: Any) -> tuple[Any, Any]:
    """Eigenvalues [..., n], smallest first, and eigenvectors (columns) of a Hermitian matrix.

    Only the lower triangle is read.
    """
    values, vectors = apply(library.eigh, as_tensor(x))
    return values, vectors


def eigvalsh(x: Any) -> Any:
    """The eigenvalues [..., n] of a Hermitian matrix [..., n, n], smallest first."""
    return eigh(x)[0]


def eig(x: Any) -> tuple[Any, Any]:
    """Complex eigenvalues [..., n] and eigenvectors (columns) [..., n, n] of a square x."""
    values, vectors = apply(library.eig, as_tensor(x))
    return values, vectors


def eigvals(x: Any) -> Any:
    """The eigenvalues [..., n] of any square matrix [..., n, n]; complex, in no order."""
    return eig(x)[0]


def pinv(x: Any, rcond: Any = None) -> Any:
    """The Moore-Penrose inverse [..., n, m] of x [..., m, n].

    rcond: singular values not above it times the largest count as 0; 10 max(m, n) epsilon if
    None.
    """
    x = require_matrix(x, "PseudoInverse")
    if rcond is None or isinstance(rcond, (int, float)):
        return apply(library.pinv, x, rcond=None if rcond is None else float(rcond))
    s, u, v = svd(x)
    limit = math.multiply(_largest(s), expand_dims(as_tensor(rcond, s.dtype), -1))
    large = math.greater(s, limit)
    ones = math.ones_like_scalar(s)
    inverse = math.divide(math.cast(large, s.dtype), math.where(large, s, ones))
    return matmul(math.multiply(v, math.cast(expand_dims(inverse, -2), x.dtype)), _adjoint(u))


def _epsilon(x: TensorBase) -> float:
    return float(np.finfo(x.dtype.real.dtype).eps)


def _largest(s: Any) -> Any:
    """The largest singular value with its axis kept; 0 if there is none."""
    if s.type.shape[-1] == 0:
        return broadcast_to(math.zeros_like_scalar(s), (*s.type.shape[:-1], 1))
    return reduce_max(s, -1, True)


def matrix_rank(a: Any, tol: Any = None) -> Any:
    """The number of singular values above tol (if None: max(m, n) epsilon max(s)), int32."""
    a = require_matrix(a, "MatrixRank")
    s = svdvals(a)
    if tol is None:
        scale = _epsilon(a) * max(a.type.shape[-2:])
        limit = math.multiply(_largest(s), scale)
    else:
        limit = expand_dims(as_tensor(tol, s.dtype), -1)
    return reduce_sum(math.cast(math.greater(s, limit), "int32"), -1)


def matrix_power(a: Any, n: int) -> Any:
    """The product of n copies of a [..., m, m]; of its inverse if n is negative."""
    x = require_matrix(a, "MatrixPower")
    if x.type.shape[-1] != x.type.shape[-2]:
        raise InvalidArgumentError(
            at_user_line(
                f"Input must be square matrices, not of shape {shape_text(x.type.shape)} "
                "[Op:MatrixPower]"
            )
        )
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise InvalidArgumentError(
            at_user_line(f"the exponent must be an integer, not {n!r} [Op:MatrixPower]")
        )
    exponent = int(n.__index__())
    if exponent < 0:
        x, exponent = inv(x), -exponent
    result = None
    while exponent:
        if exponent & 1:
            result = x if result is None else matmul(result, x)
        exponent >>= 1
        if exponent:
            x = matmul(x, x)
    if result is None:
        return broadcast_to(eye(x.type.shape[-1], dtype=x.dtype), x.type.shape)
    return result


def expm(x: Any) -> Any:
    """The exponential [..., n, n] of a matrix: the sum of xᵏ / k!."""
    return apply(library.expm, as_tensor(x))
