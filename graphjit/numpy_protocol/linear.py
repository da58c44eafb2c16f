"""The functions of np.linalg."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from graphjit.core.dims import is_symbolic
from graphjit.core.errors import DTypeError, ShapeError, at_user_line
from graphjit.core.types import Shape, float64, int32, int64
from graphjit.functions import math, shape
from graphjit.functions import reduce as gj_reduce
from graphjit.ops import library
from graphjit.ops import pointwise as pw
from graphjit.tensors.apply import apply, wrap

from .products import cross, dot, outer_product, tensordot, trace
from .promotion import (
    NO_VALUE,
    Aliased,
    Handler,
    array,
    axes_of,
    cast,
    constant,
    promoted,
    refuse,
    static_int,
    static_number,
    unsupported,
)
from .reductions import maximum, minimum, total
from .shapes import diagonal
from .ufuncs import run_ufunc


def _matrix(a: Any, square: bool = False) -> Any:
    """An operand of LAPACK: floats of 32 or 64 bits, integers as float64."""
    x = array(a)
    if x.ndim < 2:
        raise np.linalg.LinAlgError(
            f"{x.ndim}-dimensional array given. Array must be at least two-dimensional"
        )
    if square and x.type.shape[-1] != x.type.shape[-2]:
        raise np.linalg.LinAlgError("Last 2 dimensions of the array must be square")
    if x.type.dtype.is_narrow:
        raise DTypeError(
            at_user_line(f"array type {x.type.dtype.name} is unsupported in linalg")
        )
    return x if x.type.dtype.is_inexact else cast(x, float64)


def inv(a: Any) -> Any:
    """np.linalg.inv."""
    return apply(library.inv, _matrix(a, square=True))


def det(a: Any) -> Any:
    """np.linalg.det."""
    return apply(library.det, _matrix(a, square=True))


def _named(name: str) -> Any:
    """The named tuple that a function of np.linalg returns."""
    eye = np.eye(2)
    return type(getattr(np.linalg, name)(eye))


def slogdet(a: Any) -> Any:
    """np.linalg.slogdet."""
    return _named("slogdet")(*apply(library.slogdet, _matrix(a, square=True)))


def solve(a: Any, b: Any) -> Any:
    """np.linalg.solve."""
    x = _matrix(a, square=True)
    y = array(b)
    if y.type.dtype.is_narrow:
        raise DTypeError(at_user_line("array type float16 is unsupported in linalg"))
    if not y.ndim:
        raise unsupported("np.linalg.solve for a number")
    y = y if y.type.dtype.is_inexact else cast(y, float64)
    x, y = promoted(x, y)
    if y.type.shape[-1 if y.ndim == 1 else -2] != x.type.shape[-1]:
        raise ShapeError(
            at_user_line("solve: Input operand 1 has a mismatch in its core dimension")
        )
    return apply(library.solve, x, y)


def _is_upper(letter: Any) -> bool:
    """Whether the upper triangle is meant."""
    if not isinstance(letter, str) or letter.upper() not in ("L", "U"):
        raise ShapeError(at_user_line("UPLO argument must be 'L' or 'U'"))
    return letter.upper() == "U"


def cholesky(a: Any, /, *, upper: Any = False) -> Any:
    """np.linalg.cholesky."""
    x = _matrix(a, square=True)
    if upper:
        x = math.conj(shape.swapaxes(x, -1, -2))
    result = apply(library.cholesky, x)
    return math.conj(shape.swapaxes(result, -1, -2)) if upper else result


def qr(a: Any, mode: Any = "reduced") -> Any:
    """np.linalg.qr."""
    if mode not in ("reduced", "complete", "r"):
        raise unsupported(f"np.linalg.qr in mode {mode!r}")
    q, r = apply(library.qr, _matrix(a), complete=mode == "complete")
    return r if mode == "r" else _named("qr")(q, r)


def svd(
    a: Any, full_matrices: Any = True, compute_uv: Any = True, hermitian: Any = False
) -> Any:
    """np.linalg.svd."""
    refuse(hermitian=(hermitian, False))
    u, s, vh = apply(library.svd, _matrix(a), full=bool(full_matrices and compute_uv))
    return _named("svd")(u, s, vh) if compute_uv else s


def svdvals(x: Any, /) -> Any:
    """np.linalg.svdvals."""
    return svd(x, compute_uv=False)


def eigh(a: Any, UPLO: Any = "L") -> Any:
    """np.linalg.eigh."""
    x, upper = _matrix(a, square=True), _is_upper(UPLO)
    values, vectors = apply(library.eigh, x, **({"upper": True} if upper else {}))
    return _named("eigh")(values, vectors)


def eigvalsh(a: Any, UPLO: Any = "L") -> Any:
    """np.linalg.eigvalsh."""
    return eigh(a, UPLO)[0]


def eig(a: Any) -> Any:
    """np.linalg.eig of complex matrices; of real ones the dtype depends on data."""
    x = _matrix(a, square=True)
    if not x.type.dtype.is_complex:
        raise unsupported("np.linalg.eig of a real matrix, whose dtype depends on data,")
    return _named("eig")(*apply(library.eig, x))


def eigvals(a: Any) -> Any:
    """np.linalg.eigvals of complex matrices."""
    return eig(a)[0]


def _cutoff(s: Any, tolerance: Any) -> Any:
    largest = gj_reduce.reduce_max(s, -1, True)
    return run_ufunc(np.multiply, largest, tolerance)


def matrix_rank(A: Any, tol: Any = None, hermitian: Any = False, *, rtol: Any = None) -> Any:
    """np.linalg.matrix_rank."""
    refuse(hermitian=(hermitian, False), tol=(tol,), rtol=(rtol,))
    x = array(A)
    if x.ndim < 2:
        raise unsupported("np.linalg.matrix_rank of a vector")
    x = _matrix(x)
    s = svd(x, compute_uv=False)
    if not s.type.shape[-1]:
        raise unsupported("the rank of an empty matrix")
    epsilon = float(np.finfo(s.type.dtype.dtype).eps)
    limit = _cutoff(s, max(x.type.shape[-2:]) * epsilon)
    return total(cast(apply(pw.gt, s, limit), int64), -1)


def pinv(a: Any, rcond: Any = None, hermitian: Any = False, *, rtol: Any = NO_VALUE) -> Any:
    """np.linalg.pinv."""
    refuse(hermitian=(hermitian, False), rtol=(rtol,))
    limit = 1e-15 if rcond is None else static_number(rcond)
    if np.ndim(limit):
        raise unsupported("several rcond")
    x = array(a)
    found = apply(library.pinv, _matrix(x), rcond=float(limit))
    return cast(found, x.type.dtype) if 0 in x.type.shape[-2:] else found


def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    """np.linalg.lstsq. Whether there are residuals depends on the rank, and is a branch."""
    given, x, y = array(b), array(a), array(b)
    if x.ndim != 2 or y.ndim not in (1, 2):
        raise np.linalg.LinAlgError(
            f"{x.ndim}-dimensional array given. Array must be two-dimensional"
            if x.ndim != 2
            else f"{y.ndim}-dimensional array given. Array must be two-dimensional"
        )
    x, y = map(_matrix, promoted(x, y if y.ndim == 2 else shape.expand_dims(y, 1)))
    rows, columns = x.type.shape
    if is_symbolic(x.type.shape) or is_symbolic(y.type.shape) or 0 in (rows, columns):
        raise unsupported("np.linalg.lstsq of an empty matrix, or one of any size,")
    if y.type.shape[0] != rows:
        raise np.linalg.LinAlgError("Incompatible dimensions")
    limit = None if rcond is None else float(static_number(rcond))
    found = apply(library.lstsq, x, y, rcond=limit)
    rank, s = apply(library.lstsq_rank, x, rcond=limit), svdvals(x)
    full = apply(pw.eq, rank, constant(columns, int32))
    if rows > columns and full.recorder.branches.ask(full, ("rank of least squares",)):
        rest = run_ufunc(np.subtract, y, run_ufunc(np.matmul, x, found))
        left = total(run_ufunc(np.square, math.abs(rest)), 0)
    else:
        left = constant(np.zeros(0), s.type.dtype)
    return found if given.ndim == 2 else shape.squeeze(found, 1), left, rank, s


def matrix_power(a: Any, n: Any) -> Any:
    """np.linalg.matrix_power."""
    x, power = array(a), static_int(n)
    if x.ndim < 2 or x.type.shape[-1] != x.type.shape[-2]:
        _matrix(x, square=True)
    if power < 0:
        x, power = inv(x), -power
    if power == 0:
        identity = np.eye(x.type.shape[-1], dtype=x.type.dtype.dtype)

        return shape.broadcast_to(wrap(identity), x.type.shape)
    if power == 1:
        return Aliased(x)
    result: Any = None
    square: Any = None
    while power:
        square = x if square is None else run_ufunc(np.matmul, square, square)
        power, bit = divmod(power, 2)
        if bit:
            result = square if result is None else run_ufunc(np.matmul, result, square)
    return result


def multi_dot(arrays: Any, *, out: Any = None) -> Any:
    """np.linalg.multi_dot, in the order of the fewest multiplications."""
    refuse(out=(out,))
    found = [array(a) for a in arrays]
    if len(found) < 2:
        raise ShapeError(at_user_line("Expecting at least two arrays."))
    if any(t.ndim != 2 for t in found[1:-1]) or any(t.ndim not in (1, 2) for t in found):
        raise np.linalg.LinAlgError("array given is not two-dimensional")
    if len(found) > 3:
        raise unsupported("np.linalg.multi_dot of more than three arrays")
    if len(found) == 3 and not _left_first(*(t.type.shape for t in found)):
        return dot(found[0], dot(found[1], found[2]))
    result = found[0]
    for other in found[1:]:
        result = dot(result, other)
    return result


def _left_first(a: Shape, b: Shape, c: Shape) -> bool:
    """Whether (A B) C takes fewer multiplications than A (B C)."""
    rows, columns = a[0] if len(a) == 2 else 1, c[1] if len(c) == 2 else 1
    m, n = b[0], b[-1]
    return bool(rows * m * n + rows * n * columns < m * n * columns + rows * m * columns)


def cond(x: Any, p: Any = None) -> Any:
    """np.linalg.cond by singular values."""
    refuse(p=(p, 2, -2))
    t = _matrix(x)
    if not t.type.size:
        raise np.linalg.LinAlgError("cond is not defined on empty arrays")
    s = svd(t, compute_uv=False)
    last = s.type.shape[-1] - 1
    first, final = (shape.squeeze(shape.slice_axis(s, s.ndim - 1, i, 1), -1) for i in (0, last))
    ratio = math.divide(final, first) if p == -2 else math.divide(first, final)
    bad = math.logical_and(
        math.is_nan(ratio), math.logical_not(gj_reduce.reduce_any(_nans(t), (-2, -1)))
    )
    return apply(pw.where, bad, constant(np.inf, ratio.type.dtype), ratio)


def _nans(x: Any) -> Any:
    return apply(pw.isnan, x)


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: Any = False) -> Any:
    """np.linalg.norm."""
    t = array(x)
    t = t if t.type.dtype.is_inexact else cast(t, float64)
    ord = static_number(ord)
    keep = bool(static_number(keepdims))
    if axis is None and (
        ord is None or (ord in ("f", "fro") and t.ndim == 2) or (ord == 2 and t.ndim == 1)
    ):
        result = _euclidean(shape.reshape(t, (t.type.size,)), (0,), False)
        return shape.reshape(result, (1,) * t.ndim) if keep else result
    if isinstance(axis, (list, float, str)):  # which NumPy makes an int
        raise unsupported(f"a {type(axis).__name__} as axis=")
    axes = axes_of(axis, t.ndim)
    if len(axes) == 1:
        return _vector_norm(t, ord, axes, keep)
    if len(axes) == 2:
        if axes[0] == axes[1]:
            raise ShapeError(at_user_line("Duplicate axes given."))
        return _matrix_norm(t, ord, axes, keep)
    raise ShapeError(at_user_line("Improper number of dimensions to norm."))


def _euclidean(x: Any, axes: Shape, keep: bool) -> Any:
    if x.type.dtype.is_complex:
        re, im = math.real(x), math.imag(x)
        squares = math.add(math.square(re), math.square(im))
    else:
        squares = math.square(x)
    return math.sqrt(total(squares, axes, None, None, keep))


@cache
def _start() -> Any:
    """Where NumPy begins the maximum of a norm: since 2.3 at 0, which norms of nothing are."""
    try:
        np.linalg.norm(np.zeros(0), np.inf)
    except ValueError:
        return NO_VALUE
    return 0


def _vector_norm(x: Any, ord: Any, axes: Shape, keep: bool) -> Any:
    size = math.abs(x)
    if ord is None or ord == 2:
        return _euclidean(x, axes, keep)
    if ord == np.inf:
        return maximum(size, axes, None, keep, _start())
    if ord == -np.inf:
        return minimum(size, axes, None, keep)
    if isinstance(ord, str):
        raise ShapeError(at_user_line(f"Invalid norm order '{ord}' for vectors"))
    if ord == 0:
        present = apply(pw.ne, x, constant(0, x.type.dtype))
        return total(cast(present, size.type.dtype), axes, None, None, keep)
    if ord == 1:
        return total(size, axes, None, None, keep)
    powers = run_ufunc(np.power, size, float(ord) if not isinstance(ord, int) else ord)
    result = total(powers, axes, None, None, keep)
    return run_ufunc(np.power, result, 1.0 / float(ord))


def _matrix_norm(x: Any, ord: Any, axes: Shape, keep: bool) -> Any:
    row, column = axes
    if ord in (None, "fro", "f"):
        return _euclidean(x, axes, keep)
    if ord in (1, -1, np.inf, -np.inf):
        first, second = (row, column) if ord in (1, -1) else (column, row)
        sums = total(math.abs(x), first, None, None, True)
        if ord > 0:
            result = maximum(sums, second, None, True, _start())
        else:
            result = minimum(sums, second, None, True)
    elif ord in (2, -2, "nuc"):
        if x.type.dtype.is_narrow:
            raise DTypeError(at_user_line("array type float16 is unsupported in linalg"))
        s = svd(shape.moveaxis(x, (row, column), (-2, -1)), compute_uv=False)
        join = {"nuc": total, 2: maximum, -2: minimum}[ord]
        result = join(s, -1)
        result = shape.expand_dims(result, list(sorted(axes)))
    else:
        raise ShapeError(at_user_line("Invalid norm order for matrices."))
    return result if keep else shape.squeeze(result, list(axes))


def matrix_norm(x: Any, /, *, keepdims: Any = False, ord: Any = "fro") -> Any:
    """np.linalg.matrix_norm."""
    return norm(x, ord, (-2, -1), keepdims)


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: Any = False, ord: Any = 2) -> Any:
    """np.linalg.vector_norm along one axis."""
    t = array(x)
    if axis is None or (hasattr(axis, "__len__") and len(axis) != 1):
        raise unsupported("np.linalg.vector_norm over several axes")
    return norm(t, ord, axis, keepdims)


def _outer_of_vectors(x1: Any, x2: Any, /) -> Any:
    if array(x1).ndim != 1 or array(x2).ndim != 1:
        raise ShapeError(at_user_line("Input arrays must be one-dimensional"))
    return outer_product(x1, x2)


def _linalg_cross(x1: Any, x2: Any, /, *, axis: Any = -1) -> Any:
    return cross(x1, x2, axis=axis)


def _linalg_diagonal(x: Any, /, *, offset: Any = 0) -> Any:
    return diagonal(x, offset, -2, -1)


def _linalg_trace(x: Any, /, *, offset: Any = 0, dtype: Any = None) -> Any:
    return trace(x, offset, -2, -1, dtype)


def _linalg_matmul(x1: Any, x2: Any, /) -> Any:
    return run_ufunc(np.matmul, x1, x2)


def _linalg_tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    return tensordot(x1, x2, axes)


def _linalg_vecdot(x1: Any, x2: Any, /, *, axis: Any = -1) -> Any:
    if axis is None:
        raise unsupported("np.linalg.vecdot along None")
    refuse(axis=(axis, -1))
    return run_ufunc(np.vecdot, x1, x2)


# Results may stand on the arguments' memory.
VIEWS: dict[Any, Handler] = {
    np.linalg.diagonal: _linalg_diagonal,
}
FUNCTIONS: dict[Any, Handler] = {
    np.linalg.inv: inv,
    np.linalg.det: det,
    np.linalg.slogdet: slogdet,
    np.linalg.solve: solve,
    np.linalg.cholesky: cholesky,
    np.linalg.qr: qr,
    np.linalg.svd: svd,
    np.linalg.svdvals: svdvals,
    np.linalg.eigh: eigh,
    np.linalg.eigvalsh: eigvalsh,
    np.linalg.eig: eig,
    np.linalg.eigvals: eigvals,
    np.linalg.matrix_rank: matrix_rank,
    np.linalg.pinv: pinv,
    np.linalg.lstsq: lstsq,
    np.linalg.matrix_power: matrix_power,
    np.linalg.multi_dot: multi_dot,
    np.linalg.cond: cond,
    np.linalg.norm: norm,
    np.linalg.matrix_norm: matrix_norm,
    np.linalg.vector_norm: vector_norm,
    np.linalg.outer: _outer_of_vectors,
    np.linalg.cross: _linalg_cross,
    np.linalg.trace: _linalg_trace,
    np.linalg.matmul: _linalg_matmul,
    np.linalg.tensordot: _linalg_tensordot,
    np.linalg.vecdot: _linalg_vecdot,
}
