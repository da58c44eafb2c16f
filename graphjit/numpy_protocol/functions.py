"""NumPy's elementwise functions that aren't ufuncs, comparisons of arrays, polynomials."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.dispatch import TensorBase, apply, wrap
from graphjit.errors import DTypeError, ShapeError, at_user_line
from graphjit.functions import linalg, math, shape
from graphjit.ops import library
from graphjit.ops import pointwise as pw
from graphjit.types import as_dtype, bool_, float64

from .promotion import (
    NO_VALUE,
    Aliased,
    Handler,
    array,
    axis_of,
    broadcast_shape,
    cast,
    chosen,
    constant,
    convert,
    is_python_scalar,
    is_symbol,
    promoted,
    refuse,
    result_dtype,
    static_int,
    static_number,
    target_dtype,
    truth,
    unsupported,
)
from .reductions import all_, any_, cumsum, total
from .shapes import VIEWS as SHAPE_VIEWS
from .ufuncs import isnan, run_ufunc

FUNCTIONS: dict[Any, Handler] = {}
VIEWS: dict[Any, Handler] = {}
# The longest kernel that a convolution adds up shift by shift.
SHIFTS = 64
_ = SHAPE_VIEWS


# -- choice -----------------------------------------------------------------------------------


def where(condition: Any, x: Any = NO_VALUE, y: Any = NO_VALUE, /) -> Any:
    """np.where of three arguments."""
    if x is NO_VALUE or x is None:
        raise unsupported("np.where(condition), whose shape depends on data,")
    if y is NO_VALUE or y is None:
        raise ShapeError(at_user_line("either both or neither of x and y should be given"))
    mask = truth(condition)
    target = result_dtype(x, y)
    x, y = chosen(x, target), chosen(y, target)
    broadcast_shape(mask.type.shape, x.type.shape, y.type.shape)
    return apply(pw.where, mask, x, y)


def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """np.select."""
    if len(condlist) != len(choicelist):
        raise ShapeError(
            at_user_line("list of cases must be same length as list of conditions")
        )
    if not len(condlist):
        raise ShapeError(at_user_line("select with an empty condition list is not possible"))
    masks = [array(c) for c in condlist]
    if any(not m.type.dtype.is_bool for m in masks):
        raise DTypeError(at_user_line("invalid entry in condlist: should be boolean ndarray"))
    target = result_dtype(*choicelist, default)
    choices = [chosen(c, target) for c in choicelist]
    result = chosen(default, target)
    shapes = [x.type.shape for x in (*masks, *choices)]
    for mask, choice in reversed(list(zip(masks, choices, strict=True))):
        result = apply(pw.where, mask, choice, result)
    return shape.broadcast_to(result, broadcast_shape(*shapes))


def clip(
    a: Any, a_min: Any = NO_VALUE, a_max: Any = NO_VALUE, out: Any = None, *,
    min: Any = NO_VALUE, max: Any = NO_VALUE, **kwargs: Any,
) -> Any:  # fmt: skip
    """np.clip."""
    refuse(out=(out,), **{k: (v,) for k, v in kwargs.items()})
    low = min if a_min is NO_VALUE else a_min
    high = max if a_max is NO_VALUE else a_max
    x = array(a)
    dtype = x.type.dtype
    if dtype.is_integer:
        low = None if type(low) is int and low <= dtype.min else low
        high = None if type(high) is int and high >= dtype.max else high
    bounds = [b for b in (low, high) if b is not None and b is not NO_VALUE]
    x = convert(x, result_dtype(x, *bounds))
    if low is not None and low is not NO_VALUE:
        x = run_ufunc(np.maximum, x, convert(low, x.type.dtype))
    if high is not None and high is not NO_VALUE:
        x = run_ufunc(np.minimum, x, convert(high, x.type.dtype))
    return x


# -- elementwise -------------------------------------------------------------------------------


def real(val: Any) -> Any:
    """np.real."""
    return math.real(array(val))


def imag(val: Any) -> Any:
    """np.imag."""
    x = array(val)
    if x.type.dtype.is_complex:
        return math.imag(x)
    return shape.broadcast_to(constant(0, x.type.dtype), x.type.shape)


def angle(z: Any, deg: Any = False) -> Any:
    """np.angle."""
    x = array(z)
    if x.type.dtype.is_complex:
        result = run_ufunc(np.arctan2, math.imag(x), math.real(x))
    else:
        result = run_ufunc(np.arctan2, 0, x)
    return run_ufunc(np.multiply, result, 180 / np.pi) if deg else result


def iscomplex(x: Any) -> Any:
    """np.iscomplex."""
    return run_ufunc(np.not_equal, imag(x), 0)


def isreal(x: Any) -> Any:
    """np.isreal."""
    return run_ufunc(np.equal, imag(x), 0)


def real_if_close(a: Any, tol: Any = 100) -> Any:
    """np.real_if_close of real numbers; the dtype of others depends on data."""
    x = array(a)
    if x.type.dtype.is_complex:
        raise unsupported("np.real_if_close, whose dtype depends on data,")
    return x


def _isinf_of_sign(positive: bool) -> Handler:
    def handler(x: Any, out: Any = None) -> Any:
        refuse(out=(out,))
        t = array(x)
        if t.type.dtype.is_complex:
            raise DTypeError(
                at_user_line("This operation is not supported for complex128 values")
            )
        sign = run_ufunc(np.signbit, t) if not t.type.dtype.is_bool else constant(False, bool_)
        sign = apply(pw.logical_not, sign) if positive else sign
        return apply(pw.bit_and, run_ufunc(np.isinf, t), sign)

    return handler


def round_(a: Any, decimals: Any = 0, out: Any = None) -> Any:
    """np.round."""
    refuse(out=(out,))
    x, places = array(a), static_int(decimals)
    dtype = x.type.dtype
    if dtype.is_complex:
        parts = (round_(math.real(x), places), round_(math.imag(x), places))
        return math.complex(*parts)
    if dtype.is_bool:
        raise unsupported("np.round of bools")
    if dtype.is_integer and places < 0:
        return cast(round_(cast(x, float64), places), dtype)
    if dtype.is_integer:
        return x
    if not places:
        return apply(pw.rint, x)
    factor = constant(10.0 ** abs(places), dtype)
    first, second = (pw.mul, pw.div) if places > 0 else (pw.div, pw.mul)
    return apply(second, apply(pw.rint, apply(first, x, factor)), factor)


def fix(x: Any, out: Any = None) -> Any:
    """np.fix."""
    refuse(out=(out,))
    t = array(x)
    if not t.type.dtype.is_inexact:
        target = as_dtype(np.fix(np.zeros(1, t.type.dtype.dtype)).dtype)
        return cast(t, target)
    return run_ufunc(np.trunc, t)


def nan_to_num(
    x: Any, copy: Any = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Any:
    """np.nan_to_num."""
    if not copy:
        raise unsupported("np.nan_to_num(copy=False)")
    t = array(x)
    dtype = t.type.dtype
    if not dtype.is_inexact:
        return t
    if dtype.is_complex:
        parts = (nan_to_num(p, True, nan, posinf, neginf) for p in (math.real(t), math.imag(t)))
        return math.complex(*parts)
    high = convert(dtype.max if posinf is None else posinf, dtype)
    low = convert(dtype.min if neginf is None else neginf, dtype)
    infinity = constant(np.inf, dtype)
    result = apply(pw.where, apply(pw.isnan, t), convert(nan, dtype), t)
    result = apply(pw.where, apply(pw.eq, t, infinity), high, result)
    return apply(pw.where, apply(pw.eq, t, math.negative(infinity)), low, result)


def sinc(x: Any) -> Any:
    """np.sinc."""
    y = run_ufunc(np.multiply, x, np.pi)
    dtype = y.type.dtype
    tiny = float(np.finfo(dtype.dtype).eps) if dtype.is_floating else 1e-20
    y = apply(pw.where, truth(y), y, constant(tiny, dtype))
    return apply(pw.div, apply(pw.sin, y), y)


def i0(x: Any) -> Any:
    """np.i0."""
    t = array(x)
    if t.type.dtype.is_complex:
        raise DTypeError(at_user_line("i0 not supported for complex values"))
    t = t if t.type.dtype.is_floating else cast(t, float64)
    return apply(library.special, math.abs(t), name="i0")


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


# -- comparison of arrays -----------------------------------------------------------------------


def isclose(
    a: Any, b: Any, rtol: Any = 1.0e-5, atol: Any = 1.0e-8, equal_nan: Any = False
) -> Any:
    """np.isclose."""
    x = a if is_python_scalar(a) else array(a)
    if is_python_scalar(b):
        y: Any = float(b) if isinstance(b, int) else b
    else:
        y = array(b)
        y = cast(y, result_dtype(y, 1.0))
    with_sizes = run_ufunc(np.add, atol, _python_or_ufunc(np.multiply, rtol, _abs(y)))
    near = run_ufunc(
        np.less_equal, run_ufunc(np.absolute, run_ufunc(np.subtract, x, y)), with_sizes
    )
    finite = bool(np.isfinite(y)) if is_python_scalar(y) else run_ufunc(np.isfinite, y)
    near = run_ufunc(np.bitwise_and, near, finite)
    result = run_ufunc(np.bitwise_or, near, run_ufunc(np.equal, x, y))
    if equal_nan:
        both = run_ufunc(np.bitwise_and, isnan(array(x)), isnan(array(y)))
        result = run_ufunc(np.bitwise_or, result, both)
    return result


def _abs(value: Any) -> Any:
    return abs(value) if is_python_scalar(value) else run_ufunc(np.absolute, value)


def _python_or_ufunc(ufunc: Any, x: Any, y: Any) -> Any:
    if is_python_scalar(x) and is_python_scalar(y):
        return ufunc(x, y).item()
    return run_ufunc(ufunc, x, y)


def allclose(
    a: Any, b: Any, rtol: Any = 1.0e-5, atol: Any = 1.0e-8, equal_nan: Any = False
) -> Any:
    """np.allclose."""
    return all_(isclose(a, b, rtol, atol, equal_nan))


def array_equal(a1: Any, a2: Any, equal_nan: Any = False) -> Any:
    """np.array_equal."""
    x, y = array(a1), array(a2)
    if x.type.shape != y.type.shape:
        return False
    same = run_ufunc(np.equal, x, y)
    if equal_nan:
        same = math.logical_or(same, math.logical_and(isnan(x), isnan(y)))
    return all_(same)


def array_equiv(a1: Any, a2: Any) -> Any:
    """np.array_equiv."""
    x, y = array(a1), array(a2)
    try:
        np.broadcast_shapes(x.type.shape, y.type.shape)
    except ValueError:
        return False
    return all_(run_ufunc(np.equal, x, y))


def isin(
    element: Any, test_elements: Any, assume_unique: Any = False, invert: Any = False, *,
    kind: Any = None,
) -> Any:  # fmt: skip
    """np.isin of few test elements."""
    x, tests = array(element), array(test_elements)
    if tests.type.size > SHIFTS or {x.type.dtype.name, tests.type.dtype.name} == {
        "int64", "uint64",
    }:  # fmt: skip
        raise unsupported("np.isin of many test elements, or of another kind,")
    column = shape.reshape(x, (*x.type.shape, 1))
    found = any_(run_ufunc(np.equal, column, shape.reshape(tests, (tests.type.size,))), -1)
    return apply(pw.logical_not, found) if invert else found


# -- differences ----------------------------------------------------------------------------------


def _ends(x: Any, k: int, skip: int) -> tuple[Any, Any]:
    """The elements along an axis from `skip` on, and those up to `skip` before the end."""
    count = max(x.type.shape[k] - skip, 0)
    start = skip if count else 0
    return shape.slice_axis(x, k, start, count), shape.slice_axis(x, k, 0, count)


def diff(
    a: Any, n: Any = 1, axis: Any = -1, prepend: Any = NO_VALUE, append: Any = NO_VALUE
) -> Any:
    """np.diff."""
    from .shapes import _joined

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
    x = _joined(parts, k) if len(parts) > 1 else x
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
    from .promotion import axes_of

    x = array(f)
    axes = axes_of(axis, x.ndim)
    spacings: list[Any] = list(varargs) or [1.0]
    if any(
        not is_symbol(s) and np.ndim(s) or (is_symbol(s) and s.type.shape) for s in spacings
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
    k = axis_of(axis, values.ndim)
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


# -- polynomials, series -------------------------------------------------------------------------


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
    if made.size == 2:
        raise unsupported("np.linspace in float16")
    first, last = convert(start, made), convert(stop, made)
    target = made if dtype is None else target_dtype(dtype)
    span = run_ufunc(np.subtract, last, first)
    column = (count,) + (1,) * span.ndim
    steps = wrap(np.arange(0, count).astype(made.dtype).reshape(column))
    step = run_ufunc(np.divide, span, parts) if parts > 0 else constant(np.nan, made)
    values = run_ufunc(np.multiply, steps, step if parts > 0 else span)
    values = run_ufunc(np.add, values, first)
    if endpoint and count > 1:
        at_end = wrap((np.arange(count) == count - 1).reshape(column))
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


def _windows(long: Any, short: Any, mode: Any) -> Any:
    """The correlation of a longer vector with a shorter one, shift by shift."""
    n, k = long.type.shape[0], short.type.shape[0]
    if k > SHIFTS:
        raise unsupported(f"a convolution with more than {SHIFTS} coefficients")
    margin = {"valid": 0, "same": None, "full": k - 1}.get(mode, -1)
    if margin == -1:
        raise unsupported(f"mode {mode!r}")
    before, after = (k // 2, k - 1 - k // 2) if margin is None else (margin, margin)
    if before or after:
        long = shape.pad(long, [(before, after)])
    size = n + before + after - k + 1
    result: Any = None
    for j in range(k):
        part = run_ufunc(
            np.multiply, shape.slice_axis(long, 0, j, size), shape.slice_axis(short, 0, j, 1)
        )
        result = part if result is None else run_ufunc(np.add, result, part)
    return result


def convolve(a: Any, v: Any, mode: Any = "full") -> Any:
    """np.convolve with a short operand."""
    x, y = promoted(a, v)
    if x.ndim > 1 or y.ndim > 1:
        raise unsupported("np.convolve of more than one dimension")
    x, y = (shape.reshape(t, (t.type.size,)) for t in (x, y))
    if not x.type.size or not y.type.size:
        raise ShapeError(at_user_line("an operand of convolve cannot be empty"))
    if y.type.size > x.type.size:
        x, y = y, x
    turned = shape.reverse(y, [0])
    if mode != "same":
        return _windows(x, turned, mode)
    full = _windows(x, turned, "full")
    return shape.slice_axis(full, 0, (y.type.size - 1) // 2, x.type.size)


def correlate(a: Any, v: Any, mode: Any = "valid") -> Any:
    """np.correlate with the second operand the shorter one."""
    x, y = promoted(a, v)
    if x.ndim != 1 or y.ndim != 1:
        raise ShapeError(at_user_line("object of too small depth for desired array"))
    if not x.type.size or not y.type.size:
        raise ShapeError(at_user_line("an operand of correlate cannot be empty"))
    y = math.conj(y)
    if mode not in ("valid", "same", "full"):
        raise unsupported(f"mode {mode!r}")
    if y.type.size > x.type.size:
        x, y = y, x
        turned = True
    else:
        turned = False
    full = _windows(x, y, "full" if mode == "same" else mode)
    if turned:
        full = shape.reverse(full, [0])
    if mode != "same":
        return full
    start = (y.type.size - 1) // 2 if turned else y.type.size // 2
    start = (
        full.type.shape[0] - x.type.size - (y.type.size // 2 if not turned else 0)
        if False
        else start
    )
    if turned or y.type.size % 2 == 0:
        raise unsupported("np.correlate in mode 'same' with an even or longer kernel")
    return shape.slice_axis(full, 0, start, x.type.size)


def bool_result(value: Any) -> Any:
    """A constant bool as a tensor."""
    return value if isinstance(value, TensorBase) else constant(bool(value), bool_)


def astype(x: Any, dtype: Any, /, *, copy: Any = True, device: Any = None) -> Any:
    """np.astype."""
    refuse(device=(device, "cpu"))
    return cast(array(x), target_dtype(dtype))


VIEWS |= {np.real: real, np.imag: imag, np.real_if_close: real_if_close}
FUNCTIONS |= {
    np.where: where,
    np.select: select,
    np.clip: clip,
    np.angle: angle,
    np.iscomplex: iscomplex,
    np.isreal: isreal,
    np.isposinf: _isinf_of_sign(True),
    np.isneginf: _isinf_of_sign(False),
    np.round: round_,
    np.fix: fix,
    np.nan_to_num: nan_to_num,
    np.sinc: sinc,
    np.i0: i0,
    np.unwrap: unwrap,
    np.isclose: isclose,
    np.allclose: allclose,
    np.array_equal: array_equal,
    np.array_equiv: array_equiv,
    np.isin: isin,
    np.diff: diff,
    np.ediff1d: ediff1d,
    np.gradient: gradient,
    np.polyval: polyval,
    np.vander: vander,
    np.linspace: linspace,
    np.logspace: logspace,
    np.convolve: convolve,
    np.correlate: correlate,
}
for _name, _handler in (
    ("around", round_), ("trapezoid", trapezoid), ("trapz", trapezoid), ("astype", astype),
):  # fmt: skip
    if hasattr(np, _name):
        FUNCTIONS[getattr(np, _name)] = _handler
_ = linalg
