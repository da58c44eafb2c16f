"""Linear algebra under TensorFlow's names: norms, diagonals, triangles.

Products, einsum and decompositions stand in modules of their own, and are names of this one.
"""

from __future__ import annotations

from typing import Any

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import normalize_axes, normalize_axis, shape_text
from graphjit.ops import assemble
from graphjit.tensors.apply import TensorBase, apply, as_tensor, same_dtype

from . import math
from .decompose import (
    cholesky,
    cholesky_solve,
    det,
    eig,
    eigh,
    eigvals,
    eigvalsh,
    expm,
    inv,
    logdet,
    lstsq,
    matrix_power,
    matrix_rank,
    pinv,
    qr,
    slogdet,
    solve,
    svd,
    svdvals,
    triangular_solve,
)
from .einsum import einsum
from .product import (
    adjoint,
    cross,
    dot,
    inner,
    kron,
    matmul,
    matrix_transpose,
    matvec,
    outer,
    require_matrix,
    tensordot,
    vdot,
)
from .reduce import reduce_max, reduce_min, reduce_sum
from .shape import diag, diag_part, expand_dims, moveaxis, reshape
from .subscript import iota

INFINITY = float("inf")


def trace(x: Any, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Any:
    """The sum of a diagonal: of the last two axes, [..., m, n] gives [...], unless told."""
    return reduce_sum(diag_part(require_matrix(x, "Trace"), offset, axis1, axis2), -1)


def set_diag(input: Any, diagonal: Any, k: int = 0) -> Any:
    """A copy of matrices [..., m, n] with their k-th diagonal replaced by diagonal [..., d]."""
    x, values = same_dtype(input, diagonal)
    x = require_matrix(x, "MatrixSetDiag")
    *batch, m, n = x.type.shape
    low, high = max(0, -k), max(0, k)
    length = max(0, min(m - low, n - high))
    if values.type.shape != (*batch, length):
        raise InvalidArgumentError(
            at_user_line(
                f"the diagonal {k} of {shape_text(x.type.shape)} has shape "
                f"{shape_text((*batch, length))}, not {shape_text(values.type.shape)} "
                "[Op:MatrixSetDiag]"
            )
        )
    if length == 0:
        return x
    lead = (0,) * len(batch)
    flat = reshape(x, (*batch, m * n))
    starts = (*lead, low * n + high)
    steps = (*(1 for _ in batch), n + 1)
    return reshape(
        apply(assemble.place, flat, values, starts=starts, steps=steps), x.type.shape
    )


def band_part(input: Any, num_lower: int, num_upper: int) -> Any:
    """Matrices [..., m, n] with zeros but for so many diagonals under and over the main one.

    A negative number keeps the whole triangle.
    """
    x = require_matrix(input, "MatrixBandPart")
    shape = x.type.shape[-2:]
    below = math.subtract(iota(shape, 0), iota(shape, 1))
    zero = math.zeros_like_scalar(x)
    if num_lower >= 0:
        x = math.where(math.less_equal(below, int(num_lower)), x, zero)
    if num_upper >= 0:
        x = math.where(math.greater_equal(below, -int(num_upper)), x, zero)
    return x


def tensor_diag(diagonal: Any) -> Any:
    """Zeros of shape s + s with a diagonal of shape s."""
    x = as_tensor(diagonal)
    return reshape(diag(reshape(x, (x.type.size,))), x.type.shape * 2)


def tensor_diag_part(input: Any) -> Any:
    """The diagonal of shape s of a tensor of shape s + s."""
    x = as_tensor(input)
    half = x.ndim // 2
    shape = x.type.shape[:half]
    if shape * 2 != x.type.shape:
        raise InvalidArgumentError(
            at_user_line(
                f"the two halves of the shape {shape_text(x.type.shape)} differ [Op:DiagPart]"
            )
        )
    size = x.type.with_shape(shape).size
    return reshape(diag_part(reshape(x, (size, size))), shape)


def norm(tensor: Any, ord: Any = "euclidean", axis: Any = None, keepdims: bool = False) -> Any:
    """The norm of vectors (axis is one axis, or None: of all elements) or matrices (two axes).

    ord: "euclidean", "fro", any number, inf, -inf; of matrices "euclidean", "fro", "nuc",
    1, -1, 2, -2, inf, -inf. None is "euclidean". The result is real.
    """
    x = as_tensor(tensor)
    if not x.dtype.is_inexact:
        raise InvalidArgumentError(
            at_user_line(f"the norm of a {x.dtype.tensorflow} tensor [Op:Norm]")
        )
    given = tuple(axis) if isinstance(axis, (tuple, list)) else axis
    axes = normalize_axes(given, x.ndim, "Norm")
    if isinstance(given, tuple) and len(given) == 2:
        # which of the two is the row matters: the order given
        row, column = (normalize_axis(a, x.ndim, "Norm") for a in given)
        return _matrix_norm(x, ord, row, column, keepdims)
    if isinstance(given, tuple) and len(given) != 1:
        raise InvalidArgumentError(
            at_user_line(
                f"'axis' must be None, an integer, or a tuple of 2, not {axis} [Op:Norm]"
            )
        )
    return _vector_norm(x, ord, axes, keepdims)


def _bad_order(ord: Any, what: str) -> InvalidArgumentError:
    return InvalidArgumentError(at_user_line(f"'ord' {ord!r} is no norm of a {what} [Op:Norm]"))


def _vector_norm(x: TensorBase, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    size = math.abs(x)
    if ord in (None, "euclidean", "fro", 2):
        return math.sqrt(reduce_sum(math.square(size), axes, keepdims))
    if isinstance(ord, (str, bool)) or not isinstance(ord, (int, float)):
        raise _bad_order(ord, "vector")
    if ord == INFINITY:
        return reduce_max(size, axes, keepdims)
    if ord == -INFINITY:
        return reduce_min(size, axes, keepdims)
    if ord == 0:
        present = math.not_equal(size, math.zeros_like_scalar(size))
        return reduce_sum(math.cast(present, size.dtype), axes, keepdims)
    if ord == 1:
        return reduce_sum(size, axes, keepdims)
    power = float(ord)
    return math.pow(reduce_sum(math.pow(size, power), axes, keepdims), 1 / power)


def _matrix_norm(x: TensorBase, ord: Any, row: int, column: int, keepdims: bool) -> Any:
    if ord in (None, "euclidean", "fro"):
        size = math.abs(x)
        return math.sqrt(reduce_sum(math.square(size), (row, column), keepdims))
    x = moveaxis(x, (row, column), (-2, -1))
    if ord in (1, -1, INFINITY, -INFINITY) and not isinstance(ord, bool):
        sums = reduce_sum(math.abs(x), -2 if ord in (1, -1) else -1)
        result = reduce_max(sums, -1) if ord > 0 else reduce_min(sums, -1)
    elif ord in (2, -2, "nuc"):
        s = svdvals(x)
        by = {2: reduce_max, -2: reduce_min, "nuc": reduce_sum}
        result = by[ord](s, -1)
    else:
        raise _bad_order(ord, "matrix")
    return expand_dims(result, sorted((row, column))) if keepdims else result


def normalize(tensor: Any, ord: Any = "euclidean", axis: Any = None) -> tuple[Any, Any]:
    """The tensor divided by its norm along axes, and that norm, with the axes kept."""
    x = as_tensor(tensor)
    size = norm(x, ord, axis, True)
    return math.divide(x, math.cast(size, x.dtype)), size


def l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12) -> Any:
    """X / sqrt(max(sum(|x|²), epsilon)), the sum along axes (all if None)."""
    x = as_tensor(x)
    squares = reduce_sum(math.square(math.abs(x) if x.dtype.is_complex else x), axis, True)
    factor = math.rsqrt(math.maximum(squares, epsilon))
    return math.multiply(x, math.cast(factor, x.dtype))


def global_norm(t_list: Any) -> Any:
    """The square root of the sum of squares of all elements of several tensors; 0-d."""
    tensors = same_dtype(*t_list) if len(t_list) else []
    if not tensors:
        raise InvalidArgumentError(at_user_line("the norm of no tensors [Op:GlobalNorm]"))
    total: Any = None
    for x in tensors:
        squares = reduce_sum(math.square(math.abs(x)))
        total = squares if total is None else math.add(total, squares)
    return math.sqrt(total)


def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None) -> Any:
    """The tensor scaled down to a Euclidean norm (along axes) of clip_norm, if it has more."""
    x = as_tensor(t)
    squares = reduce_sum(math.square(x), axes, True)
    positive = math.greater(squares, math.zeros_like_scalar(squares))
    # where the norm is 0 any divisor does
    size = math.sqrt(math.where(positive, squares, math.ones_like_scalar(squares)))
    size = math.where(positive, size, math.zeros_like_scalar(size))
    limit = as_tensor(clip_norm, x.dtype)
    return math.divide(math.multiply(x, limit), math.maximum(size, limit))


def clip_by_global_norm(
    t_list: Any, clip_norm: Any, use_norm: Any = None
) -> tuple[list[Any], Any]:
    """Tensors scaled down together to a global norm of clip_norm, and the norm they had."""
    size = global_norm(t_list) if use_norm is None else as_tensor(use_norm)
    limit = as_tensor(clip_norm, size.dtype)
    factor = math.divide(limit, math.maximum(size, limit))
    # an infinite norm would give 0 * inf in some places and 0 in others: NaN in all
    bad = math.logical_not(math.is_finite(size))
    factor = math.where(bad, as_tensor(float("nan"), size.dtype), factor)
    return [math.multiply(x, factor) for x in same_dtype(*t_list)], size


# Found as gj.name, too.
TOP_LEVEL = ["dot", "einsum", "matmul", "matvec", "norm", "tensordot"]
__all__ = [
    "adjoint", "band_part", "cholesky", "cholesky_solve", "clip_by_global_norm",
    "clip_by_norm", "cross", "det", "diag", "diag_part", "dot", "eig", "eigh", "eigvals",
    "eigvalsh", "einsum", "expm", "global_norm", "inner", "inv", "kron", "l2_normalize",
    "logdet", "lstsq", "matmul", "matrix_power", "matrix_rank", "matrix_transpose", "matvec",
    "norm", "normalize", "outer", "pinv", "qr", "set_diag", "slogdet", "solve", "svd",
    "svdvals", "tensor_diag", "tensor_diag_part", "tensordot", "trace", "triangular_solve",
    "vdot",
]  # fmt: skip
