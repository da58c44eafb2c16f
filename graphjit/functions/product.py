"""Products of vectors, matrices and tensors, all made of one primitive: matmul."""

from __future__ import annotations

import math as pymath
from collections.abc import Sequence
from typing import Any

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import normalize_axis, shape_text
from graphjit.ops import contract
from graphjit.tensors.apply import TensorBase, apply, as_tensor, same_dtype

from .math import conj, multiply, subtract
from .shape import expand_dims, moveaxis, reshape, slice_axis, squeeze, swapaxes, transpose


def matmul(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
) -> Any:
    """Matrix product: a [..., m, k] times b [..., k, n] gives [..., m, n]; batches broadcast.

    A 1-d operand counts as one row (a) or one column (b), and its axis is dropped.
    """
    a, b = same_dtype(a, b)
    if a.ndim == 0 or b.ndim == 0:
        raise InvalidArgumentError(
            at_user_line(
                f"In[0] and In[1] must be matrices, not {shape_text(a.type.shape)} and "
                f"{shape_text(b.type.shape)} [Op:MatMul]"
            )
        )
    drop = []
    if a.ndim == 1:
        a = reshape(a, (1, a.type.size))
        drop.append(-2)
    if b.ndim == 1:
        b = reshape(b, (b.type.size, 1))
        drop.append(-1)
    if transpose_a or adjoint_a:
        a = adjoint(a) if adjoint_a else swapaxes(a, -1, -2)
    if transpose_b or adjoint_b:
        b = adjoint(b) if adjoint_b else swapaxes(b, -1, -2)
    result = apply(contract.matmul, a, b)
    return squeeze(result, drop) if drop else result


def adjoint(matrix: Any) -> Any:
    """The conjugate transpose: [..., m, n] gives [..., n, m]."""
    return conj(matrix_transpose(matrix))


def matrix_transpose(a: Any, conjugate: bool = False) -> Any:
    """The last two axes exchanged: [..., m, n] gives [..., n, m]."""
    a = require_matrix(a, "Transpose")
    return conj(swapaxes(a, -1, -2)) if conjugate else swapaxes(a, -1, -2)


def require_matrix(value: Any, op: str) -> TensorBase:
    """The tensor, which must have two axes or more."""
    x = as_tensor(value)
    if x.ndim < 2:
        raise InvalidArgumentError(
            at_user_line(
                f"Input must be matrices, not of shape {shape_text(x.type.shape)} [Op:{op}]"
            )
        )
    return x


def matvec(a: Any, b: Any, transpose_a: bool = False, adjoint_a: bool = False) -> Any:
    """Matrix times vector: a [..., m, k] times b [..., k] gives [..., m]; batches broadcast."""
    a, b = same_dtype(a, b)
    if a.ndim < 2 or b.ndim < 1:
        raise InvalidArgumentError(
            at_user_line(
                f"matvec takes a matrix and a vector, not {shape_text(a.type.shape)} and "
                f"{shape_text(b.type.shape)} [Op:MatMul]"
            )
        )
    column = expand_dims(b, -1)
    return squeeze(matmul(a, column, transpose_a=transpose_a, adjoint_a=adjoint_a), -1)


def tensordot(a: Any, b: Any, axes: Any) -> Any:
    """Sum of products over pairs of axes; the other axes of a, then those of b, remain.

    axes: a count (the last of a meet the first of b), or the axes of a and the axes of b.
    """
    a, b = same_dtype(a, b)
    first, second = _paired_axes(a, b, axes)
    extents = [a.type.shape[k] for k in first]
    if extents != [b.type.shape[k] for k in second]:
        raise InvalidArgumentError(
            at_user_line(
                f"Matrix size-incompatible: axes {first} of {shape_text(a.type.shape)} and "
                f"axes {second} of {shape_text(b.type.shape)} [Op:Tensordot]"
            )
        )
    rest_a = [k for k in range(a.ndim) if k not in first]
    rest_b = [k for k in range(b.ndim) if k not in second]
    shape = [a.type.shape[k] for k in rest_a] + [b.type.shape[k] for k in rest_b]
    inner_size = pymath.prod(extents)
    rows = pymath.prod(a.type.shape[k] for k in rest_a)
    columns = pymath.prod(b.type.shape[k] for k in rest_b)
    left = reshape(transpose(a, rest_a + first), (rows, inner_size))
    right = reshape(transpose(b, second + rest_b), (inner_size, columns))
    return reshape(apply(contract.matmul, left, right), shape)


def _paired_axes(a: TensorBase, b: TensorBase, axes: Any) -> tuple[list[int], list[int]]:
    if isinstance(axes, int):
        if not 0 <= axes <= min(a.ndim, b.ndim):
            raise InvalidArgumentError(
                at_user_line(
                    f"`axes` must be in [0, {min(a.ndim, b.ndim)}], not {axes} [Op:Tensordot]"
                )
            )
        return list(range(a.ndim - axes, a.ndim)), list(range(axes))
    if not isinstance(axes, Sequence) or len(axes) != 2:
        raise InvalidArgumentError(
            at_user_line(
                f"`axes` must be an integer or have length 2, not {axes!r} [Op:Tensordot]"
            )
        )
    pair = []
    for tensor, given in zip((a, b), axes, strict=True):
        listed = list(given) if isinstance(given, Sequence) else [given]
        pair.append([normalize_axis(axis, tensor.ndim, "Tensordot") for axis in listed])
    if len(pair[0]) != len(pair[1]) or any(len(set(p)) != len(p) for p in pair):
        raise InvalidArgumentError(
            at_user_line(
                f"different number of contraction axes, or one given twice: {pair[0]} and "
                f"{pair[1]} [Op:Tensordot]"
            )
        )
    return pair[0], pair[1]


def dot(a: Any, b: Any) -> Any:
    """NumPy's dot: the last axis of a meets the last but one of b (its only one if 1-d)."""
    a, b = same_dtype(a, b)
    if a.ndim == 0 or b.ndim == 0:
        return multiply(a, b)
    return tensordot(a, b, ([a.ndim - 1], [max(b.ndim - 2, 0)]))


def vdot(a: Any, b: Any) -> Any:
    """The sum of conj(a) * b over all elements, which both must have as many of; 0-d."""
    a, b = same_dtype(a, b)
    return tensordot(conj(reshape(a, (a.type.size,))), reshape(b, (b.type.size,)), 1)


def inner(a: Any, b: Any) -> Any:
    """The sum of products over the last axes: a [..., k] and b [:::, k] give [..., :::]."""
    a, b = same_dtype(a, b)
    if a.ndim == 0 or b.ndim == 0:
        return multiply(a, b)
    return tensordot(a, b, ([a.ndim - 1], [b.ndim - 1]))


def outer(a: Any, b: Any) -> Any:
    """All products of an element of a and an element of b: [size of a, size of b]."""
    a, b = same_dtype(a, b)
    return multiply(reshape(a, (a.type.size, 1)), reshape(b, (1, b.type.size)))


def kron(a: Any, b: Any) -> Any:
    """The Kronecker product: b, scaled by each element of a in its place."""
    a, b = same_dtype(a, b)
    ndim = max(a.ndim, b.ndim)
    first = (1,) * (ndim - a.ndim) + a.type.shape
    second = (1,) * (ndim - b.ndim) + b.type.shape
    wide = multiply(
        reshape(a, tuple(n for extent in first for n in (extent, 1))),
        reshape(b, tuple(n for extent in second for n in (1, extent))),
    )
    return reshape(wide, tuple(m * n for m, n in zip(first, second, strict=True)))


def cross(a: Any, b: Any, axis: int = -1) -> Any:
    """The vector product of 3-vectors along an axis; the other axes broadcast."""
    a, b = same_dtype(a, b)
    for x in (a, b):
        if x.ndim == 0 or x.type.shape[normalize_axis(axis, x.ndim, "Cross")] != 3:
            raise InvalidArgumentError(
                at_user_line(
                    f"Cross-products are only defined for 3-element vectors, not for shape "
                    f"{shape_text(x.type.shape)} along axis {axis} [Op:Cross]"
                )
            )
    a, b = moveaxis(a, axis, -1), moveaxis(b, axis, -1)
    result = subtract(
        multiply(_rotated(a, 1), _rotated(b, 2)), multiply(_rotated(a, 2), _rotated(b, 1))
    )
    return moveaxis(result, -1, axis)


def _rotated(x: TensorBase, count: int) -> Any:
    from .shape import concat

    last = x.ndim - 1
    return concat([slice_axis(x, last, count, 3 - count), slice_axis(x, last, 0, count)], last)
