"""NumPy's functions of neighbours and coefficients: diff, gradient, convolve, polyval."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.core.errors import DTypeError, ShapeError, at_user_line
from graphjit.core.types import float64
from graphjit.functions import index, math, reduce, shape
from graphjit.ops import pointwise as pw
from graphjit.ops.reduce import accumulator
from graphjit.tensors.apply import apply, wrap

from .elementwise import SHIFTS
from .joins import join_arrays
from .promotion import (
    NO_VALUE,
    Aliased,
    Handler,
    array,
    axes_of,
    axis_of,
    cast,
    constant,
    indexed_axis,
    is_python_scalar,
    is_symbol,
    promoted,
    refuse,
    result_dtype,
    static_int,
    static_number,
    unsupported,
)
from .reductions import cumsum, total
from .ufuncs import run_ufunc


def _ends(x: Any, k: int, skip: int) -> tuple[Any, Any]:
    """The elements along an axis from `skip` on, and those up to `skip` before the end."""
    count = max(x.type.shape[k] - skip, 0)
    start = skip if count else 0
    return shape.slice_axis(x, k, start, count), shape.slice_axis(x, k, 0, count)


def diff(
    a: Any, n: Any = 1, axis: Any = -1, prepend: Any = NO_VALUE, append: Any = NO_VALUE
) -> Any:
    """np.diff."""
    count = static_int(n)
    if count == 0:
        return Aliased(array(a))
    if count < 0:
        raise ShapeError(at_user_line(f"order must be non-negative but got {count}"))
    x = array(a)
    if not x.ndim:
        raise ShapeError(at_user_line("diff requires input that is at least one dimensional"))
    k = axis_of(axis, x.ndim)
    parts = [x]
    for place, value in ((0, prepend), (len(parts) + 1, append)):
        if value is NO_VALUE:
            continue
        end = array(value)
        if not end.ndim:
            row = tuple(1 if i == k else extent for i, extent in enumerate(x.type.shape))
            end = shape.broadcast_to(end, row)
        parts.insert(place, end)
    x = join_arrays(parts, k) if len(parts) > 1 else x
    for _i in range(count):
        high, low = _ends(x, k, 1)
        ufunc = np.not_equal if x.type.dtype.is_bool else np.subtract
        x = run_ufunc(ufunc, high, low)
    return x


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """np.ediff1d without ends."""
    refuse(to_end=(to_end,), to_begin=(to_begin,))
    x = array(ary)
    high, low = _ends(shape.reshape(x, (x.type.size,)), 0, 1)
    return run_ufunc(np.subtract, high, low)


def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: Any = 1) -> Any:
    """np.gradient with even spacing."""
    x = array(f)
    if not x.ndim:
        raise unsupported("np.gradient of a number")
    axes = axes_of(axis, x.ndim)
    spacings: list[Any] = list(varargs) or [1.0]
    if any(
        (not is_symbol(s) and np.ndim(s)) or (is_symbol(s) and s.type.shape) for s in spacings
    ):
        raise unsupported("np.gradient with uneven spacing")
    if len(spacings) == 1:
        spacings = spacings * len(axes)
    if len(spacings) != len(axes):
        raise DTypeError(at_user_line("invalid number of arguments"))
    order = static_int(edge_order)
    if order > 2:
        raise ShapeError(at_user_line("'edge_order' greater than 2 not supported"))
    if x.type.dtype.is_bool:
        raise DTypeError(at_user_line("numpy boolean subtract is not supported"))
    if not x.type.dtype.is_inexact:
        x = cast(x, float64)
    results = [_gradient(x, k, h, order) for k, h in zip(axes, spacings, strict=True)]
    return results[0] if len(axes) == 1 else tuple(results)


def _gradient(x: Any, k: int, h: Any, order: int) -> Any:
    extent = x.type.shape[k]
    if extent < order + 1:
        raise ShapeError(
            at_user_line("Shape of array too small to calculate a numerical gradient")
        )

    def at(start: int, count: int = 1) -> Any:
        return shape.slice_axis(x, k, start, count)

    def over(value: Any, spacing: Any) -> Any:
        return cast(run_ufunc(np.divide, value, spacing), x.type.dtype)

    def times(factor: float, value: Any) -> Any:
        return run_ufunc(np.multiply, factor, value)

    parts = []
    if order == 1:
        first = over(run_ufunc(np.subtract, at(1), at(0)), h)
        last = over(run_ufunc(np.subtract, at(extent - 1), at(extent - 2)), h)
    else:
        double = run_ufunc(np.multiply, 2.0, h) if not is_python_scalar(h) else 2.0 * h
        first = over(_sum(times(-3, at(0)), times(4, at(1)), times(-1, at(2))), double)
        last = over(
            _sum(times(1, at(extent - 3)), times(-4, at(extent - 2)), times(3, at(extent - 1))),
            double,
        )
    parts.append(first)
    if extent > 2:
        inner = run_ufunc(np.subtract, at(2, extent - 2), at(0, extent - 2))
        twice = 2.0 * h if is_python_scalar(h) else run_ufunc(np.multiply, 2.0, h)
        parts.append(over(inner, twice))
    parts.append(last)
    return shape.concat(parts, k)


def _sum(*values: Any) -> Any:
    result = values[0]
    for value in values[1:]:
        result = run_ufunc(np.add, result, value)
    return result


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: Any = -1) -> Any:
    """np.trapezoid."""
    values = array(y)
    k = indexed_axis(axis, values.ndim)
    step: Any = dx
    if x is not None:
        step = array(x)
        if step.ndim == 1:
            step = diff(step)
            column = tuple(step.type.shape[0] if i == k else 1 for i in range(values.ndim))
            step = shape.reshape(step, column)
        else:
            step = diff(step, axis=axis)
    high, low = _ends(values, k, 1)
    areas = run_ufunc(np.multiply, step, run_ufunc(np.add, high, low))
    return total(run_ufunc(np.divide, areas, 2.0), k)


def polyval(p: Any, x: Any) -> Any:
    """np.polyval."""
    coefficients = array(p)
    if coefficients.ndim != 1:
        raise unsupported("np.polyval of other than a list of coefficients")
    t = array(x)
    result = shape.broadcast_to(constant(0, t.type.dtype), t.type.shape)
    for c in shape.unstack(coefficients):
        result = run_ufunc(np.add, run_ufunc(np.multiply, result, t), c)
    return result


def vander(x: Any, N: Any = None, increasing: Any = False) -> Any:
    """np.vander."""
    t = array(x)
    if t.ndim != 1:
        raise ShapeError(at_user_line("x must be a one-dimensional array or sequence."))
    count = t.type.shape[0] if N is None else static_int(N)
    dtype = result_dtype(t, np.int64(0))
    t = cast(t, dtype)
    column = shape.broadcast_to(constant(1, dtype), t.type.shape)
    columns = []
    for _i in range(count):
        columns.append(shape.expand_dims(column, 1))
        column = run_ufunc(np.multiply, column, t)
    if not columns:
        return wrap(np.zeros((t.type.shape[0], 0), dtype.dtype))
    return shape.concat(columns if increasing else columns[::-1], 1)


def unwrap(p: Any, discont: Any = None, axis: Any = -1, *, period: Any = 2 * np.pi) -> Any:
    """np.unwrap of floating-point numbers."""
    x = array(p)
    k = axis_of(axis, x.ndim)
    period = static_number(period)
    limit = period / 2 if discont is None else static_number(discont)
    steps = diff(x, axis=k)
    target = result_dtype(steps, period)
    if not target.is_floating:
        raise unsupported("np.unwrap in integers")
    half = period / 2
    moved = run_ufunc(np.remainder, run_ufunc(np.add, steps, half), period)
    moved = run_ufunc(np.subtract, moved, half)
    edge = math.logical_and(run_ufunc(np.equal, moved, -half), run_ufunc(np.greater, steps, 0))
    moved = apply(pw.where, edge, constant(half, moved.type.dtype), moved)
    fix_ = run_ufunc(np.subtract, moved, steps)
    small = run_ufunc(np.less, math.abs(steps), limit)
    fix_ = apply(pw.where, small, constant(0, fix_.type.dtype), fix_)
    if not x.type.shape[k]:
        return cast(x, target)
    first = cast(shape.slice_axis(x, k, 0, 1), target)
    rest = shape.slice_axis(x, k, 1, x.type.shape[k] - 1) if x.type.shape[k] > 1 else None
    if rest is None:
        return first
    shifted = run_ufunc(np.add, rest, cumsum(fix_, k))
    return shape.concat([first, cast(shifted, target)], k)


def _windows(long: Any, short: Any, before: int, after: int) -> Any:
    """The correlation of a longer vector with a shorter one, shift by shift.

    before, after: how many shifts there are at the ends at which the shorter one stands out.
    """
    n, k = long.type.shape[0], short.type.shape[0]
    if k > SHIFTS:
        raise unsupported(f"a convolution with more than {SHIFTS} coefficients")
    size = n - k + 1
    result = shape.broadcast_to(constant(0, long.type.dtype), (size,))
    for j in range(k):
        part = run_ufunc(
            np.multiply, shape.slice_axis(long, 0, j, size), shape.slice_axis(short, 0, j, 1)
        )
        result = run_ufunc(np.add, result, part)
    parts = [result]
    if before:
        parts.insert(0, _standing_out(shape.slice_axis(long, 0, 0, k - 1), short, -before, 0))
    if after:
        parts.append(_standing_out(shape.slice_axis(long, 0, size, k - 1), short, 0, after))
    return shape.concat(parts, 0) if len(parts) > 1 else result


def _standing_out(long: Any, short: Any, first: int, stop: int) -> Any:
    """The shifts number `first` to `stop` of a vector along one that is shorter.

    As in NumPy what stands out takes no part: 0.0 in its place would make NaN of infinity, and
    -0.0 of sums of nothing else. The sums go in the order of the shorter one, as elsewhere.
    """
    k = short.type.shape[0]
    places = np.arange(first, stop) + np.arange(k)[:, np.newaxis]
    inside = (places >= 0) & (places < k - 1)
    taken = index.gather(long, np.where(inside, places, 0))
    products = run_ufunc(np.multiply, taken, shape.expand_dims(short, 1))
    zero = constant(0, long.type.dtype)
    products = apply(pw.where, wrap(inside), products, zero)
    add = reduce.reduce_any if long.type.dtype.is_bool else reduce.reduce_sum
    return add(products, 0)


def _in_windows(long: Any, short: Any, mode: Any) -> Any:
    before, after = _margins(mode, short.type.size)
    dtype = long.type.dtype
    wide = accumulator(dtype)
    return cast(_windows(cast(long, wide), cast(short, wide), before, after), dtype)


def _margins(mode: Any, k: int) -> tuple[int, int]:
    """How many shifts a mode has at either end, for k coefficients."""
    known = {"valid": (0, 0), "same": (k // 2, k - 1 - k // 2), "full": (k - 1, k - 1)}
    if mode not in known:
        raise unsupported(f"mode {mode!r}")
    return known[mode]


def convolve(a: Any, v: Any, mode: Any = "full") -> Any:
    """np.convolve with a short operand."""
    x, y = promoted(array(a), array(v))
    if x.ndim > 1 or y.ndim > 1:
        raise unsupported("np.convolve of more than one dimension")
    x, y = (shape.reshape(t, (t.type.size,)) for t in (x, y))
    if not x.type.size or not y.type.size:
        raise ShapeError(at_user_line("an operand of convolve cannot be empty"))
    if y.type.size > x.type.size:
        x, y = y, x
    return _in_windows(x, shape.reverse(y, [0]), mode)


def correlate(a: Any, v: Any, mode: Any = "valid") -> Any:
    """np.correlate with the second operand the shorter one."""
    x, y = promoted(array(a), array(v))
    if x.ndim != 1 or y.ndim != 1:
        raise ShapeError(at_user_line("object of too small depth for desired array"))
    if not x.type.size or not y.type.size:
        raise ShapeError(at_user_line("an operand of correlate cannot be empty"))
    y = math.conj(y)
    turned = y.type.size > x.type.size
    if mode == "same" and (turned or y.type.size % 2 == 0):
        raise unsupported("np.correlate in mode 'same' with an even or longer kernel")
    long, short = (y, x) if turned else (x, y)
    result = _in_windows(long, short, mode)
    return shape.reverse(result, [0]) if turned else result


FUNCTIONS: dict[Any, Handler] = {
    np.unwrap: unwrap,
    np.diff: diff,
    np.ediff1d: ediff1d,
    np.gradient: gradient,
    np.polyval: polyval,
    np.vander: vander,
    np.convolve: convolve,
    np.correlate: correlate,
}
for _name in ("trapezoid", "trapz"):
    if hasattr(np, _name):
        FUNCTIONS[getattr(np, _name)] = trapezoid
