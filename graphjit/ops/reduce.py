"""Reductions and scans. `axes` are sorted and not negative; reduced axes are dropped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import (
    Array,
    DType,
    Shape,
    TensorType,
    bfloat16,
    float16,
    float32,
    int64,
)

from . import pointwise as pw
from .primitive import Primitive, Reduce, Scan, define
from .type_rules import require_axes, require_kind

INT64_MAX = 2**63 - 1


def accumulator(dtype: DType) -> DType:
    """The dtype that sums of `dtype` run in: float32 for the narrow floats."""
    return float32 if dtype in (float16, bfloat16) else dtype


def lowest(dtype: DType) -> Any:
    """What every value of the dtype is at least."""
    return float("-inf") if dtype.is_floating else dtype.min


def highest(dtype: DType) -> Any:
    """What every value of the dtype is at most."""
    return float("inf") if dtype.is_floating else dtype.max


def _accumulated(function: Callable[..., Any]) -> Callable[..., Any]:
    """A NumPy rule that runs in the accumulator's dtype and returns the input's."""

    def rule(x: Array, **attrs: Any) -> Any:
        axis = attrs.get("axes", attrs.get("axis"))
        wide = np.float32 if x.dtype.kind == "V" or x.dtype == np.float16 else x.dtype
        return function(x.astype(wide, copy=False), axis=axis, dtype=wide).astype(x.dtype)

    return rule


def _reduce(
    name: str,
    tensorflow: str,
    kinds: str,
    identity: Callable[[DType], Any],
    combine: Callable[[Any, Any, Any], Any],
    numpy: Callable[..., Any],
    of_two: Primitive,
    exact: bool = False,
    skips_zeros: bool = False,
) -> Primitive:
    def rule(x: TensorType, axes: Shape) -> TensorType:
        require_kind(x.dtype, kinds, tensorflow)
        require_axes(axes, x.ndim, tensorflow)
        return x.with_shape(n for axis, n in enumerate(x.shape) if axis not in axes)

    kind = Reduce(
        identity=lambda dtype: ((identity(dtype), accumulator(dtype)),),
        element=lambda b, x, coordinate: (b.cast(x, accumulator(x.dtype)),),
        combine=lambda b, left, right: (combine(b, left[0], right[0]),),
        finish=lambda b, total, dtype: b.cast(total[0], dtype),
        of_two=of_two,
        skips_zeros=skips_zeros,
    )
    return define(name, kind, rule, numpy, tensorflow=tensorflow, exact=exact)


def _max_numpy(x: Array, axes: Shape) -> Any:
    if x.dtype.kind == "V":
        return _max_numpy(x.astype(np.float32), axes).astype(x.dtype)
    low = (
        False
        if x.dtype == np.bool_
        else -np.inf
        if x.dtype.kind == "f"
        else np.iinfo(x.dtype).min
    )
    return np.max(x, axis=axes, initial=low)


def _min_numpy(x: Array, axes: Shape) -> Any:
    if x.dtype.kind == "V":
        return _min_numpy(x.astype(np.float32), axes).astype(x.dtype)
    high = (
        True
        if x.dtype == np.bool_
        else np.inf
        if x.dtype.kind == "f"
        else np.iinfo(x.dtype).max
    )
    return np.min(x, axis=axes, initial=high)


sum_ = _reduce(
    "sum",
    "Sum",
    "iufc",
    lambda d: 0,
    lambda b, x, y: b.add(x, y),
    _accumulated(np.sum),
    pw.add,
    skips_zeros=True,  # it begins with 0, and so is never -0
)
prod = _reduce(
    "prod",
    "Prod",
    "iufc",
    lambda d: 1,
    lambda b, x, y: b.mul(x, y),
    _accumulated(np.prod),
    pw.mul,
)
max_ = _reduce(
    "max",
    "Max",
    "biuf",
    lowest,
    lambda b, x, y: b.maximum(x, y),
    _max_numpy,
    pw.maximum,
    exact=True,
)
min_ = _reduce(
    "min",
    "Min",
    "biuf",
    highest,
    lambda b, x, y: b.minimum(x, y),
    _min_numpy,
    pw.minimum,
    exact=True,
)
any_ = _reduce(
    "any",
    "Any",
    "b",
    lambda d: False,
    lambda b, x, y: b.or_(x, y),
    lambda x, axes: np.any(x, axis=axes),
    pw.bit_or,
    exact=True,
)
all_ = _reduce(
    "all",
    "All",
    "b",
    lambda d: True,
    lambda b, x, y: b.and_(x, y),
    lambda x, axes: np.all(x, axis=axes),
    pw.bit_and,
    exact=True,
)


def _arg_reduce(name: str, tensorflow: str, largest: bool) -> Primitive:
    def rule(x: TensorType, axes: Shape) -> TensorType:
        require_kind(x.dtype, "biuf", tensorflow)
        require_axes(axes, x.ndim, tensorflow)
        if any(x.shape[axis] == 0 for axis in axes):
            raise InvalidArgumentError(
                at_user_line(
                    f"Reduction axis {axes[0]} is empty in shape {list(x.shape)} "
                    f"[Op:{tensorflow}]"
                )
            )
        shape = tuple(n for axis, n in enumerate(x.shape) if axis not in axes)
        return TensorType(shape, int64)

    def combine(b: Any, left: tuple[Any, Any], right: tuple[Any, Any]) -> tuple[Any, Any]:
        # Ties and NaNs go to the lower index: the tree that combines may be any.
        (x, i), (y, j) = left, right
        better = b.gt(y, x) if largest else b.lt(y, x)
        tie = b.eq(x, y)
        if x.dtype.kind == "f":
            better = b.and_(b.or_(better, b.isnan(y)), b.not_(b.isnan(x)))
            tie = b.or_(tie, b.and_(b.isnan(x), b.isnan(y)))
        take = b.or_(better, b.and_(tie, b.lt(j, i)))
        return b.select(take, y, x), b.select(take, j, i)

    worst = lowest if largest else highest
    kind = Reduce(
        identity=lambda dtype: ((worst(dtype), dtype), (INT64_MAX, int64)),
        element=lambda b, x, coordinate: (x, coordinate),
        combine=combine,
        finish=lambda b, best, dtype: best[1],
        needs_coordinate=True,
    )
    function = np.argmax if largest else np.argmin

    def numpy(x: Array, axes: Shape) -> Any:
        if x.dtype.kind == "V":
            x = x.astype(np.float32)
        return np.asarray(function(x, axis=axes[0]), np.int64)

    return define(name, kind, rule, numpy, tensorflow=tensorflow, exact=True)


# `axes` of the arg-reductions has one member.
argmax = _arg_reduce("argmax", "ArgMax", largest=True)
argmin = _arg_reduce("argmin", "ArgMin", largest=False)


def _scan(
    name: str,
    tensorflow: str,
    kinds: str,
    identity: Callable[[DType], Any],
    combine: Callable[[Any, Any, Any], Any],
    numpy: Callable[..., Any],
) -> Primitive:
    def rule(x: TensorType, axis: int) -> TensorType:
        require_kind(x.dtype, kinds, tensorflow)
        require_axes((axis,), x.ndim, tensorflow)
        return x

    kind = Scan(
        identity=lambda dtype: (identity(dtype), accumulator(dtype)),
        combine=lambda b, total, x: combine(b, total, b.cast(x, accumulator(x.dtype))),
        finish=lambda b, total, dtype: b.cast(total, dtype),
    )
    return define(name, kind, rule, numpy, tensorflow=tensorflow, exact=True)


def _accumulate(function: Any) -> Callable[..., Any]:
    def rule(x: Array, axis: int) -> Any:
        if x.dtype.kind == "V":
            return function.accumulate(x.astype(np.float32), axis=axis).astype(x.dtype)
        return function.accumulate(x, axis=axis)

    return rule


def _nothing(dtype: DType) -> Any:
    """What leaves every number as it is when added: -0.0, for 0.0 + -0.0 is 0.0."""
    return 0 if dtype.is_integer else complex(-0.0, -0.0) if dtype.is_complex else -0.0


cumsum = _scan(
    "cumsum", "Cumsum", "iufc", _nothing, lambda b, x, y: b.add(x, y), _accumulated(np.cumsum)
)
cumprod = _scan(
    "cumprod",
    "Cumprod",
    "iufc",
    lambda d: 1,
    lambda b, x, y: b.mul(x, y),
    _accumulated(np.cumprod),
)
cummax = _scan(
    "cummax", "Cummax", "iuf", lowest, lambda b, x, y: b.maximum(x, y), _accumulate(np.maximum)
)
cummin = _scan(
    "cummin", "Cummin", "iuf", highest, lambda b, x, y: b.minimum(x, y), _accumulate(np.minimum)
)
