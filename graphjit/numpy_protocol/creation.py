"""NumPy's functions that make arrays like others, and those that ask for shapes and dtypes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.core.errors import ShapeError, at_user_line
from graphjit.core.types import DType, Shape, float64, int64
from graphjit.functions import create, shape
from graphjit.functions.subscript import iota
from graphjit.ops import pointwise as pw
from graphjit.tensors.apply import TensorBase, apply, wrap

from .promotion import (
    Aliased,
    Handler,
    array,
    axis_of,
    broadcast,
    broadcast_shape,
    cast,
    constant,
    convert,
    is_python_scalar,
    is_symbol,
    refuse,
    refuse_order,
    result_dtype,
    static_int,
    static_ints,
    target_dtype,
    unsupported,
)
from .reductions import any_
from .shapes import bad_shape
from .ufuncs import run_ufunc


def _likeness(a: Any, dtype: Any, order: Any, shape: Any, device: Any) -> tuple[Shape, DType]:
    """Shape and dtype of a new array that is like another but for what is given."""
    refuse(device=(device, "cpu"))
    refuse_order(order)
    x = array(a)
    wanted = x.type.shape if shape is None else static_ints(shape)
    return wanted, x.type.dtype if dtype is None else target_dtype(dtype)


def _like(value: int | None) -> Handler:
    def handler(
        a: Any, dtype: Any = None, order: Any = "K", subok: Any = True, shape: Any = None,
        *, device: Any = None,
    ) -> Any:  # fmt: skip
        wanted, target = _likeness(a, dtype, order, shape, device)
        return create.fill(wanted, constant(value or 0, target))

    return handler


def full_like(
    a: Any, fill_value: Any, dtype: Any = None, order: Any = "K", subok: Any = True,
    shape: Any = None, *, device: Any = None,
) -> Any:  # fmt: skip
    """np.full_like."""
    wanted, target = _likeness(a, dtype, order, shape, device)
    if is_python_scalar(fill_value):  # it may be cast or refused
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fill_value = np.full(1, fill_value, target.dtype)[0]
    return broadcast(convert(fill_value, target), wanted)


def _new(value: int) -> Handler:
    def handler(shape: Any, dtype: Any = float, order: Any = "C", *, device: Any = None) -> Any:
        refuse(device=(device, "cpu"))
        refuse_order(order)
        return create.fill(static_ints(shape), constant(value, target_dtype(dtype)))

    return handler


def full(
    shape: Any, fill_value: Any, dtype: Any = None, order: Any = "C", *, device: Any = None
) -> Any:
    """np.full."""
    refuse(device=(device, "cpu"))
    refuse_order(order)
    if dtype is None and getattr(fill_value, "swapped", False):
        raise unsupported("np.full with bytes in another order")
    value = array(fill_value) if dtype is None else convert(fill_value, target_dtype(dtype))
    return broadcast(value, static_ints(shape))


def new_array(
    object: Any, dtype: Any = None, *, copy: Any = True, order: Any = "K", subok: Any = False,
    ndmin: Any = 0, device: Any = None,
) -> Any:  # fmt: skip
    """np.array(..., like=traced)."""
    refuse(device=(device, "cpu"), subok=(subok, False))
    refuse_order(order)
    x = array(object, dtype)
    return shape.reshape(x, (1,) * max(0, ndmin - x.ndim) + x.type.shape)


def _as_array(
    a: Any, dtype: Any = None, order: Any = None, *, device: Any = None, copy: Any = None
) -> Any:
    refuse(device=(device, "cpu"), copy=(copy,))
    refuse_order(order)
    return array(a, dtype)


def copy(a: Any, order: Any = "K", subok: Any = False) -> Any:
    """np.copy."""
    refuse_order(order)
    return array(a)


def meshgrid(*xi: Any, copy: Any = True, sparse: Any = False, indexing: Any = "xy") -> Any:
    """np.meshgrid."""
    if indexing not in ("xy", "ij"):
        raise bad_shape("Valid values for `indexing` are 'xy' and 'ij'.")
    vectors = [array(v) for v in xi]
    count = len(vectors)
    results = []
    for place, v in enumerate(vectors):
        spot = {0: 1, 1: 0}.get(place, place) if indexing == "xy" and count > 1 else place
        extents = [1] * count
        extents[spot] = v.type.size
        results.append(shape.reshape(v, tuple(extents)))
    if not sparse:
        wanted = broadcast_shape(*(r.type.shape for r in results)) if results else ()
        results = [shape.broadcast_to(r, wanted) for r in results]
    return tuple(results) if copy else Aliased(tuple(results))


def ix_(*args: Any) -> Any:
    """np.ix_ of index arrays (not masks)."""
    results = []
    for place, value in enumerate(args):
        x = array(value)
        if x.ndim != 1:
            raise bad_shape("Cross index must be 1 dimensional")
        if x.type.dtype.is_bool:
            raise unsupported("np.ix_ of a mask")
        extents = [1] * len(args)
        extents[place] = x.type.shape[0]
        results.append(
            shape.reshape(
                x if x.type.size or is_symbol(value) else cast(x, int64), tuple(extents)
            )
        )
    return tuple(results)


def _static(function: Callable[..., Any]) -> Handler:
    """A function of shapes and dtypes alone, asked of zeros that stand for the arrays."""

    def handler(*args: Any, **kwargs: Any) -> Any:
        return function(*(_stand_in(a) for a in args), **kwargs)

    return handler


def _stand_in(value: Any) -> Any:
    if is_symbol(value):
        dtype = value.type.dtype.dtype
        if value.origin == "weak":
            return dtype.type(0).item()
        return np.broadcast_to(np.zeros((), dtype), value.type.shape)
    if isinstance(value, TensorBase):
        return value.numpy()  # type: ignore[attr-defined]
    return value


def rank_indices(function: Callable[..., Any]) -> Handler:
    """diag_indices_from and its kin: constants of the shape."""
    return lambda arr, *args, **kwargs: function(_stand_in(array(arr)), *args, **kwargs)


def linspace(
    start: Any, stop: Any, num: Any = 50, endpoint: Any = True, retstep: Any = False,
    dtype: Any = None, axis: Any = 0, *, device: Any = None,
) -> Any:  # fmt: skip
    """np.linspace with traced ends."""
    refuse(device=(device, "cpu"))
    count = static_int(num)
    if count < 0:
        raise ShapeError(at_user_line(f"Number of samples, {count}, must be non-negative."))
    parts = count - 1 if endpoint else count
    scalars = all(
        is_python_scalar(v) or getattr(v, "origin", "") == "weak" for v in (start, stop)
    )
    made = result_dtype(start, stop, 1.0) if not scalars else float64
    if made.is_narrow:
        raise unsupported("np.linspace in float16")
    first, last = convert(start, made), convert(stop, made)
    target = made if dtype is None else target_dtype(dtype)
    span = run_ufunc(np.subtract, last, first)
    column = (count,) + (1,) * span.ndim
    numbers: Any = wrap(np.arange(0, count)) if type(count) is int else iota((count,), 0)
    steps = cast(shape.reshape(numbers, column), made)
    number = parts if type(parts) is int else constant(parts, made)  # known at the call
    step = run_ufunc(np.divide, span, number) if parts > 0 else constant(np.nan, made)
    values = run_ufunc(np.multiply, steps, step if parts > 0 else span)
    if parts > 0:  # as NumPy does it for all where the step of one is 0
        other = run_ufunc(np.multiply, run_ufunc(np.divide, steps, number), span)
        none = any_(run_ufunc(np.equal, step, 0))
        values = apply(pw.where, none, other, values)
    values = run_ufunc(np.add, values, first)
    if endpoint and count > 1:
        at_end = shape.reshape(run_ufunc(np.equal, numbers, array(count - 1)), column)
        values = apply(pw.where, at_end, last, values)
    if axis:
        values = shape.moveaxis(values, 0, axis_of(axis, values.ndim))
    values = run_ufunc(np.floor, values) if target.is_integer else values
    values = cast(values, target)
    return (values, step) if retstep else values


def logspace(
    start: Any, stop: Any, num: Any = 50, endpoint: Any = True, base: Any = 10.0,
    dtype: Any = None, axis: Any = 0,
) -> Any:  # fmt: skip
    """np.logspace with traced ends and one base."""
    refuse(dtype=(dtype,))
    if is_symbol(base) or np.ndim(base):
        raise unsupported("np.logspace with a traced base")
    return run_ufunc(np.power, base, linspace(start, stop, num, endpoint, axis=axis))


def astype(x: Any, dtype: Any, /, *, copy: Any = True, device: Any = None) -> Any:
    """np.astype."""
    refuse(device=(device, "cpu"))
    given, target = array(x), target_dtype(dtype)
    same = not copy and given.type.dtype is target
    return Aliased(given) if same else cast(given, target)


# Results may stand on the arguments' memory.
VIEWS: dict[Any, Handler] = {
    np.ix_: ix_,
    np.asarray: _as_array,
    np.asanyarray: _as_array,
    np.ascontiguousarray: _as_array,
}
FUNCTIONS: dict[Any, Handler] = {
    np.zeros_like: _like(0),
    np.ones_like: _like(1),
    np.empty_like: _like(None),
    np.full_like: full_like,
    np.zeros: _new(0),
    np.ones: _new(1),
    np.empty: _new(0),
    np.full: full,
    np.array: new_array,
    np.copy: copy,
    np.meshgrid: meshgrid,
    np.ndim: _static(np.ndim),
    np.shape: _static(np.shape),
    np.size: _static(np.size),
    np.iscomplexobj: _static(np.iscomplexobj),
    np.isrealobj: _static(np.isrealobj),
    np.result_type: _static(np.result_type),
    np.can_cast: _static(np.can_cast),
    np.common_type: _static(np.common_type),
    np.diag_indices_from: rank_indices(np.diag_indices_from),
    np.tril_indices_from: rank_indices(np.tril_indices_from),
    np.triu_indices_from: rank_indices(np.triu_indices_from),
    np.linspace: linspace,
    np.logspace: logspace,
}
if hasattr(np, "astype"):
    FUNCTIONS[np.astype] = astype
