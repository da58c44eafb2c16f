"""NumPy's reductions and scans: sum, mean, var, max, argmax, any, cumsum."""

from __future__ import annotations

import math as pymath
from typing import Any

import numpy as np

from graphjit.core.errors import ShapeError, at_user_line
from graphjit.core.types import DType, Shape, float16, float32, float64, int64, uint64
from graphjit.functions import math, shape
from graphjit.ops import pointwise as pw
from graphjit.ops import reduce as rd
from graphjit.ops.primitive import Primitive
from graphjit.tensors.apply import apply, real_number

from .promotion import (
    NO_VALUE,
    Handler,
    array,
    axes_of,
    axis_of,
    broadcast_shape,
    cast,
    constant,
    element,
    refuse,
    static_number,
    target_dtype,
    truth,
    unsupported,
)
from .ufuncs import run_ufunc


def count_along(x: Any, axes: Shape) -> int:
    """How many elements of x a reduction over these axes joins."""
    return pymath.prod(x.type.shape[a] for a in axes)


def reduced(primitive: Primitive, x: Any, axes: Shape, keepdims: Any) -> Any:
    """A reduction primitive over axes in range."""
    result = apply(primitive, x, axes=tuple(sorted(axes)))
    if keepdims is NO_VALUE or not static_number(keepdims):
        return result
    kept = tuple(1 if k in axes else n for k, n in enumerate(x.type.shape))
    return shape.reshape(result, kept)


def _masked(x: Any, where: Any, neutral: Any) -> Any:
    """x, broadcast with the mask, with the neutral value where it is false."""
    if where is True or where is NO_VALUE or where is None:
        return x
    mask = array(where)
    if not mask.type.dtype.is_bool:
        raise unsupported("where= that is not bool")
    if broadcast_shape(mask.type.shape, x.type.shape) != x.type.shape:
        raise unsupported("where= that broadcasts the array")
    return apply(pw.where, mask, x, constant(neutral, x.type.dtype))


def _wide(dtype: DType) -> DType:
    """The dtype in which NumPy adds up this one."""
    if dtype.is_bool or (dtype.kind == "i" and dtype.size < 8):
        return int64
    return uint64 if dtype.kind == "u" else dtype


def reduced_axes(axis: Any, ndim: int) -> Shape:
    """The axes of a ufunc's reduction, which takes axis 0 of a 0-d array for none."""
    if isinstance(axis, list):
        raise unsupported("a list as axis=")
    if not ndim and not isinstance(axis, tuple) and axis in (0, -1):
        return ()
    return axes_of(axis, ndim)


def _axes_of_mean(axis: Any, ndim: int) -> Shape:
    """The axes of mean and var, which take no axis of a 0-d array."""
    if isinstance(axis, list):
        raise unsupported("a list as axis=")
    return axes_of(axis, ndim)


def total(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False,
    initial: Any = NO_VALUE, where: Any = True,
) -> Any:  # fmt: skip
    """np.sum."""
    return _accumulated(rd.sum_, 0, np.add, a, axis, dtype, out, keepdims, initial, where)


def product(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False,
    initial: Any = NO_VALUE, where: Any = True,
) -> Any:  # fmt: skip
    """np.prod."""
    return _accumulated(rd.prod, 1, np.multiply, a, axis, dtype, out, keepdims, initial, where)


def _accumulated(
    primitive: Primitive, neutral: int, combine: Any, a: Any, axis: Any, dtype: Any, out: Any,
    keepdims: Any, initial: Any, where: Any,
) -> Any:  # fmt: skip
    refuse(out=(out,))
    x = array(a)
    target = _wide(x.type.dtype) if dtype is None else target_dtype(dtype)
    if target.is_bool:
        raise unsupported("a sum in bool")
    x = _masked(cast(x, target), where, neutral)
    result = reduced(primitive, x, reduced_axes(axis, x.ndim), keepdims)
    if initial is None:
        raise unsupported("initial=None")
    if initial is NO_VALUE:
        return result
    first = element(initial, target)
    if first.recorder is None and target.is_floating and str(first.numpy()) == "-0.0":
        raise unsupported("initial=-0.0")
    return run_ufunc(combine, result, first)


def mean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False,
    *, where: Any = True,
) -> Any:  # fmt: skip
    """np.mean."""
    refuse(out=(out,))
    x = array(a)
    axes = _axes_of_mean(axis, x.ndim)
    source = x.type.dtype
    target = _mean_dtype(source, float32) if dtype is None else target_dtype(dtype)
    summed = total(x, axes, target, None, keepdims, NO_VALUE, where)
    result = cast(run_ufunc(np.divide, summed, _counted(x, axes, keepdims, where)), target)
    return cast(result, source) if dtype is None and source is float16 else result


def _mean_dtype(source: DType, narrow: DType) -> DType:
    if not source.is_inexact:
        return float64
    return narrow if source is float16 else source


def _counted(x: Any, axes: Shape, keepdims: Any, where: Any) -> Any:
    """How many elements a reduction adds up, as an operand of a division."""
    if where is True or where is NO_VALUE or where is None:
        return real_number(count_along(x, axes))
    mask = cast(shape.broadcast_to(array(where), x.type.shape), int64)
    return reduced(rd.sum_, mask, axes, keepdims)


def var(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0,
    keepdims: Any = False, *, where: Any = True, mean: Any = NO_VALUE,
    correction: Any = NO_VALUE,
) -> Any:  # fmt: skip
    """np.var."""
    refuse(out=(out,), where=(where, True), mean=(mean,))
    fewer = degrees_lost(ddof, correction)
    x = array(a)
    axes = _axes_of_mean(axis, x.ndim)
    source = x.type.dtype
    target = _mean_dtype(source, float16) if dtype is None else target_dtype(dtype)
    if not target.is_inexact:
        raise unsupported("var in an integer dtype")
    count = count_along(x, axes)
    final = target.real if dtype is None else target
    free = real_number(max(count - fewer, 0))
    return mean_square(x, axes, keepdims, target, final, real_number(count), free)


def degrees_lost(ddof: Any, correction: Any) -> Any:
    """By what a variance's divisor is less than the count: ddof, by either of its names."""
    if correction is NO_VALUE:
        return static_number(ddof)
    if static_number(ddof) != 0:
        raise ShapeError(at_user_line("ddof and correction can't be provided simultaneously."))
    return static_number(correction)


def mean_square(
    x: Any, axes: Shape, keepdims: Any, target: DType, final: DType, count: Any, free: Any,
    mask: Any = None,
) -> Any:  # fmt: skip
    """The sum of squared distances from the mean, divided by `free`, in the dtype `final`.

    count: what the mean, which has the dtype `target`, divides by. mask: where elements are
    0 for NaN, which are at no distance.
    """
    average = total(x, axes, target, None, True)
    average = cast(run_ufunc(np.divide, average, count), target)
    distance = run_ufunc(np.subtract, x, average)
    if mask is not None:
        distance = apply(pw.where, mask, constant(0, distance.type.dtype), distance)
    if distance.type.dtype.is_complex:
        squares = math.add(math.square(math.real(distance)), math.square(math.imag(distance)))
    else:
        squares = math.square(distance)
    result = total(squares, axes, final, None, keepdims)
    return cast(run_ufunc(np.divide, result, free), final)


def std(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0,
    keepdims: Any = False, *, where: Any = True, mean: Any = NO_VALUE,
    correction: Any = NO_VALUE,
) -> Any:  # fmt: skip
    """np.std."""
    return math.sqrt(
        var(a, axis, dtype, out, ddof, keepdims, where=where, mean=mean, correction=correction)
    )


def _extreme(primitive: Primitive, combine: Any, name: str) -> Handler:
    def handler(
        a: Any, axis: Any = None, out: Any = None, keepdims: Any = False,
        initial: Any = NO_VALUE, where: Any = True,
    ) -> Any:  # fmt: skip
        refuse(out=(out,))
        x = array(a)
        axes = reduced_axes(axis, x.ndim)
        started = initial is not NO_VALUE and initial is not None
        masked = where is not True and where is not NO_VALUE
        if masked and not started:
            raise ShapeError(
                at_user_line(f"reduction operation '{name}' does not have an identity")
            )
        if masked and not x.type.dtype.is_complex and x.type.size:
            worst = (rd.lowest if primitive is rd.max_ else rd.highest)(x.type.dtype)
            x = _masked(x, where, worst)
        if not started and count_along(x, axes) == 0:
            raise ShapeError(
                at_user_line(
                    f"zero-size array to reduction operation {name} which has no identity"
                )
            )
        if x.type.dtype.is_complex:
            raise unsupported(f"np.{name} of complex numbers")
        result = reduced(primitive, x, axes, keepdims)
        return run_ufunc(combine, result, element(initial, x.type.dtype)) if started else result

    return handler


maximum = _extreme(rd.max_, np.maximum, "maximum")
minimum = _extreme(rd.min_, np.minimum, "minimum")


def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    """np.ptp."""
    refuse(out=(out,))
    high = maximum(a, axis, None, keepdims)
    return run_ufunc(np.subtract, high, minimum(a, axis, None, keepdims))


def _truth(primitive: Primitive, neutral: bool) -> Handler:
    def handler(
        a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True
    ) -> Any:
        refuse(out=(out,))
        x = _masked(truth(a), where, neutral)
        return reduced(primitive, x, reduced_axes(axis, x.ndim), keepdims)

    return handler


any_ = _truth(rd.any_, False)
all_ = _truth(rd.all_, True)


def _arg(primitive: Primitive, name: str) -> Handler:
    def handler(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
        refuse(out=(out,))
        x = array(a)
        kept = (1,) * x.ndim
        if axis is None:
            x, k = shape.reshape(x, (x.type.size,)), 0
        else:
            k = axis_of(axis, max(x.ndim, 1))
            x = shape.reshape(x, (1,)) if not x.ndim else x
            kept = tuple(1 if a == k else n for a, n in enumerate(x.type.shape))[: len(kept)]
        if x.type.shape[k] == 0:
            raise ShapeError(at_user_line(f"attempt to get {name} of an empty sequence"))
        if x.type.dtype.is_complex:
            raise unsupported(f"np.{name} of complex numbers")
        result = apply(primitive, x, axes=(k,))
        return result if keepdims is NO_VALUE or not keepdims else shape.reshape(result, kept)

    return handler


argmax = _arg(rd.argmax, "argmax")
argmin = _arg(rd.argmin, "argmin")


def count_nonzero(a: Any, axis: Any = None, *, keepdims: Any = False) -> Any:
    """np.count_nonzero."""
    return total(truth(a), axis, None, None, keepdims)


def _scan(primitive: Primitive) -> Handler:
    def handler(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        refuse(out=(out,))
        x = array(a)
        target = _wide(x.type.dtype) if dtype is None else target_dtype(dtype)
        if target.is_bool:
            raise unsupported("a running sum in bool")
        if axis is None or not x.ndim:
            axis_of(0 if axis is None else axis, 1)
            x, axis = shape.reshape(x, (x.type.size,)), 0
        return apply(primitive, cast(x, target), axis=axis_of(axis, x.ndim))

    return handler


cumsum = _scan(rd.cumsum)
cumprod = _scan(rd.cumprod)


def _cumulative(scan: Handler, start: int) -> Handler:
    def handler(
        x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None,
        include_initial: bool = False,
    ) -> Any:  # fmt: skip
        x = array(x)
        if x.ndim == 0:
            x = shape.reshape(x, (1,))
        if axis is None and x.ndim > 1:
            raise ShapeError(
                at_user_line("axis is required for an array of several dimensions")
            )
        result = scan(x, 0 if axis is None else axis, dtype, out)
        if not include_initial:
            return result
        k = axis_of(0 if axis is None else axis, x.ndim)
        lead = tuple(1 if a == k else n for a, n in enumerate(x.type.shape))
        first = shape.broadcast_to(constant(start, result.type.dtype), lead)
        return shape.concat([first, result], k)

    return handler


FUNCTIONS: dict[Any, Handler] = {
    np.sum: total,
    np.prod: product,
    np.mean: mean,
    np.var: var,
    np.std: std,
    np.max: maximum,
    np.min: minimum,
    np.ptp: ptp,
    np.any: any_,
    np.all: all_,
    np.argmax: argmax,
    np.argmin: argmin,
    np.count_nonzero: count_nonzero,
    np.cumsum: cumsum,
    np.cumprod: cumprod,
    np.amax: maximum,
    np.amin: minimum,
}
if hasattr(np, "cumulative_sum"):
    FUNCTIONS[np.cumulative_sum] = _cumulative(cumsum, 0)
    FUNCTIONS[np.cumulative_prod] = _cumulative(cumprod, 1)
