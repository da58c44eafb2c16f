"""Reductions and scans under TensorFlow's and NumPy's names.

`axis` is None (all), an axis or several; negative ones count from the end. With keepdims the
reduced axes stay, with extent 1. A result keeps its input's dtype (the mean of integers is
an integer, as in TensorFlow).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import bool_, int64, normalize_axes, normalize_axis
from graphjit.ops import pointwise as pw
from graphjit.ops import reduce as rd
from graphjit.ops import view
from graphjit.ops.primitive import Primitive
from graphjit.tensors.apply import TensorBase, apply, as_tensor, real_number

from . import math

__all__ = [
    "argmax",
    "argmin",
    "count_nonzero",
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "reduce_all",
    "reduce_any",
    "reduce_euclidean_norm",
    "reduce_logsumexp",
    "reduce_max",
    "reduce_mean",
    "reduce_min",
    "reduce_prod",
    "reduce_std",
    "reduce_sum",
    "reduce_variance",
]


def _keep(result: TensorBase, x: TensorBase, axes: tuple[int, ...]) -> Any:
    shape = tuple(1 if k in axes else n for k, n in enumerate(x.type.shape))
    return apply(view.reshape, result, shape=shape)


def reduce_by(primitive: Primitive, x: Any, axis: Any, keepdims: bool) -> Any:
    """Any reduction primitive over axes given the public way."""
    x = as_tensor(x)
    axes = normalize_axes(_static_axis(axis), x.ndim, primitive.tensorflow)
    result = apply(primitive, x, axes=axes)
    return _keep(result, x, axes) if keepdims else result


def _static_axis(axis: Any) -> Any:
    if isinstance(axis, TensorBase) and axis.recorder is None:
        return axis.numpy().tolist()  # type: ignore[attr-defined]
    return axis


def reduce_sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Sum; integers wrap; narrow floats are summed in float32."""
    return reduce_by(rd.sum_, x, axis, keepdims)


def reduce_prod(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Product; integers wrap."""
    return reduce_by(rd.prod, x, axis, keepdims)


def reduce_max(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Largest element; NaN if any is; the dtype's lowest value of nothing."""
    return reduce_by(rd.max_, x, axis, keepdims)


def reduce_min(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Smallest element; NaN if any is; the dtype's highest value of nothing."""
    return reduce_by(rd.min_, x, axis, keepdims)


def reduce_any(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether any element of a bool tensor is true."""
    return reduce_by(rd.any_, x, axis, keepdims)


def reduce_all(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether all elements of a bool tensor are true."""
    return reduce_by(rd.all_, x, axis, keepdims)


def _count(x: TensorBase, axis: Any) -> int:
    count = 1
    for k in normalize_axes(_static_axis(axis), x.ndim, "Mean"):
        count *= x.type.shape[k]
    return count


def reduce_mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Mean; of integers rounded toward zero; NaN of nothing (integers: an error)."""
    x = as_tensor(x)
    count = _count(x, axis)
    if x.dtype.is_integer:
        if count == 0:
            raise InvalidArgumentError(at_user_line("the mean of no integers [Op:Mean]"))
        total = reduce_sum(x, axis, keepdims)
        divisor = as_tensor(count, x.dtype)
        remainder = apply(pw.fmod, total, divisor, strict=True)
        return math.floordiv(math.subtract(total, remainder), divisor)
    narrow = x.dtype.is_narrow
    if narrow:  # a sum of narrow floats may overflow where their mean doesn't
        wide = reduce_mean(math.cast(x, "float32"), axis, keepdims)
        return math.cast(wide, x.dtype)
    return math.divide(reduce_sum(x, axis, keepdims), as_tensor(real_number(count), x.dtype))


def reduce_variance(x: Any, axis: Any = None, keepdims: bool = False, ddof: float = 0) -> Any:
    """Mean squared distance from the mean (of complex x: of the modulus)."""
    x = as_tensor(x)
    if not x.dtype.is_inexact:
        raise InvalidArgumentError(
            at_user_line(f"Input must be either real or complex. Received {x.dtype.tensorflow}")
        )
    if x.dtype.is_narrow:
        wide = reduce_variance(math.cast(x, "float32"), axis, keepdims, ddof)
        return math.cast(wide, x.dtype)
    distance = math.subtract(x, reduce_mean(x, axis, True))
    if x.dtype.is_complex:
        re, im = math.real(distance), math.imag(distance)
        squares = math.add(math.square(re), math.square(im))
    else:
        squares = math.square(distance)
    if isinstance(ddof, bool) or not isinstance(ddof, (int, float, np.number)):
        raise InvalidArgumentError(
            at_user_line(f"ddof must be a number, not {ddof!r} [Op:Var]")
        )
    if ddof == 0:
        return reduce_mean(squares, axis, keepdims)
    freedom: Any = max(_count(x, axis) - ddof, 0)
    count = real_number(freedom)
    total = reduce_sum(squares, axis, keepdims)
    return math.divide(total, as_tensor(count, squares.dtype))


def reduce_std(x: Any, axis: Any = None, keepdims: bool = False, ddof: float = 0) -> Any:
    """Square root of the variance."""
    return math.sqrt(reduce_variance(x, axis, keepdims, ddof))


def reduce_logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))) without overflow."""
    x = as_tensor(x)
    high = reduce_max(x, axis, True)
    # an infinite maximum would give inf - inf
    high = math.where(math.is_finite(high), high, math.zeros_like_scalar(high))
    total = reduce_sum(math.exp(math.subtract(x, high)), axis, True)
    result = math.add(math.log(total), high)
    if keepdims:
        return result
    axes = normalize_axes(_static_axis(axis), x.ndim, "LogSumExp")
    shape = tuple(n for k, n in enumerate(x.type.shape) if k not in axes)
    return apply(view.reshape, result, shape=shape)


def reduce_euclidean_norm(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Square root of the sum of squares (of complex x: of the moduli)."""
    x = as_tensor(x)
    squares = math.square(math.abs(x) if x.dtype.is_complex else x)
    return math.sqrt(reduce_sum(squares, axis, keepdims))


def count_nonzero(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = int64) -> Any:
    """The number of elements that aren't 0."""
    x = as_tensor(x)
    present = x if x.dtype.is_bool else math.not_equal(x, math.zeros_like_scalar(x))
    return reduce_sum(math.cast(present, dtype), axis, keepdims)


def _arg(primitive: Primitive, x: Any, axis: Any, output_type: Any, keepdims: bool) -> Any:
    x = as_tensor(x)
    if x.ndim == 0 and axis in (None, 0, -1):
        x = apply(view.reshape, x, shape=(1,))
        return _arg(primitive, x, 0, output_type, False)
    k = normalize_axis(0 if axis is None else _static_axis(axis), x.ndim, primitive.tensorflow)
    result = apply(primitive, x, axes=(k,))
    if keepdims:
        result = _keep(result, x, (k,))
    return math.cast(result, output_type)


def argmax(x: Any, axis: Any = None, output_type: Any = int64, keepdims: bool = False) -> Any:
    """Index of the first largest element along `axis` (0 if None); NaN counts as largest."""
    return _arg(rd.argmax, x, axis, output_type, keepdims)


def argmin(x: Any, axis: Any = None, output_type: Any = int64, keepdims: bool = False) -> Any:
    """Index of the first smallest element along `axis` (0 if None); NaN counts as smallest."""
    return _arg(rd.argmin, x, axis, output_type, keepdims)


def scan_by(primitive: Primitive, x: Any, axis: Any, exclusive: bool, reverse: bool) -> Any:
    """Any scan primitive with TensorFlow's options."""
    from .shape import pad, slice_axis
    from .shape import reverse as flip

    x = as_tensor(x)
    k = normalize_axis(_static_axis(axis), x.ndim, primitive.tensorflow)
    if reverse:
        x = flip(x, k)
    if exclusive and x.type.shape[k]:
        start = 1 if primitive is rd.cumprod else 0
        low = [[1, 0] if axis == k else [0, 0] for axis in range(x.ndim)]
        x = slice_axis(pad(x, low, constant_values=start), k, 0, x.type.shape[k])
    result = apply(primitive, x, axis=k)
    return flip(result, k) if reverse else result


def cumsum(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False) -> Any:
    """Running sum along an axis; exclusive: each sum without its own element."""
    return scan_by(rd.cumsum, x, axis, exclusive, reverse)


def cumprod(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False) -> Any:
    """Running product along an axis; exclusive: each product without its own element."""
    return scan_by(rd.cumprod, x, axis, exclusive, reverse)


def cummax(x: Any, axis: Any = 0, reverse: bool = False) -> Any:
    """Running maximum along an axis."""
    return scan_by(rd.cummax, x, axis, False, reverse)


def cummin(x: Any, axis: Any = 0, reverse: bool = False) -> Any:
    """Running minimum along an axis."""
    return scan_by(rd.cummin, x, axis, False, reverse)


def as_bool(x: Any) -> TensorBase:
    """Whether each element isn't 0."""
    x = as_tensor(x)
    result: TensorBase = math.cast(x, bool_)
    return result
