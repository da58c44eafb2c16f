"""Products of tensors."""

from __future__ import annotations

import builtins
import math as pymath
from typing import Any

from graphjit.core.types import normalize_axis, shape_text
from graphjit.functions import linalg
from graphjit.functions import shape as _shape
from graphjit.tensors.apply import same_dtype

from .settings import invalid

__all__ = ["batch_dot", "dot"]


def dot(x: Any, y: Any) -> Any:
    """The products of the last axis of x [..., k] and the last but one of y [:::, k, n]."""
    x, y = same_dtype(x, y)
    if x.ndim < 2 or y.ndim < 2:
        raise invalid(
            f"dot of shapes {shape_text(x.type.shape)} and {shape_text(y.type.shape)}: both "
            "have two axes at least"
        )
    return linalg.dot(x, y)


def batch_dot(x: Any, y: Any, axes: Any = None) -> Any:
    """Dot for each element of the first axis of both; the result has two axes at least.

    axes: the axis of x and the axis of y that meet (one number for both); the last of x and
    the last but one of y (the last if y has two) if None.
    """
    x, y = same_dtype(x, y)
    if x.ndim < 2 or y.ndim < 2:
        raise invalid(
            "Cannot do batch_dot on inputs with rank < 2. Received inputs with shapes "
            f"{tuple(x.type.shape)} and {tuple(y.type.shape)}."
        )
    if x.type.shape[0] != y.type.shape[0]:
        raise invalid(
            "Cannot do batch_dot on inputs with different batch sizes. Received inputs with "
            f"shapes {tuple(x.type.shape)} and {tuple(y.type.shape)}."
        )
    if axes is None:
        axes = (x.ndim - 1, y.ndim - 1 if y.ndim == 2 else y.ndim - 2)
    pair = (axes, axes) if isinstance(axes, int) else tuple(axes)
    if len(pair) != 2 or builtins.any(isinstance(a, (list, tuple)) for a in pair):
        raise invalid(f"Multiple target dimensions are not supported. Provided: {axes}")
    i, j = (normalize_axis(a, t.ndim, "BatchDot") for a, t in zip(pair, (x, y), strict=True))
    if 0 in (i, j):
        raise invalid(
            "Cannot perform batch_dot over axis 0. If your inputs are not batched, add a dummy "
            "batch dimension using K.expand_dims(x, 0)"
        )
    if x.type.shape[i] != y.type.shape[j]:
        raise invalid(
            f"Cannot do batch_dot on inputs with shapes {tuple(x.type.shape)} and "
            f"{tuple(y.type.shape)} with axes={[i, j]}. x.shape[{i}] != y.shape[{j}] "
            f"({x.type.shape[i]} != {y.type.shape[j]})."
        )
    x, y = _shape.moveaxis(x, i, -1), _shape.moveaxis(y, j, 1)
    batch, *rows, k = x.type.shape
    columns = y.type.shape[2:]
    left = _shape.reshape(x, (batch, pymath.prod(rows), k))
    right = _shape.reshape(y, (batch, k, pymath.prod(columns)))
    result = _shape.reshape(linalg.matmul(left, right), (batch, *rows, *columns))
    return result if result.ndim > 1 else _shape.expand_dims(result, 1)
