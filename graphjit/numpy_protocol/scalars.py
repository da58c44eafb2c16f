"""Operators between Python scalars of which some are traced: Python's results, not NumPy's."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.core.errors import DTypeError, ShapeError, at_user_line
from graphjit.core.types import as_dtype, float64
from graphjit.ops import pointwise as pw
from graphjit.ops.failures import FOR_PYTHON
from graphjit.tensors.apply import apply

from .promotion import constant, convert, is_symbol, need_value, result_dtype, unsupported
from .ufuncs import COMPARISONS, UFUNCS, isfinite, isinf, power

DIVISIONS: dict[Any, Callable[[Any, Any], Any]] = {
    np.divide: operator.truediv,
    np.floor_divide: operator.floordiv,
    np.remainder: operator.mod,
}
# Below 2^63 by more than float64 rounds by.
_NEAR_64_BITS = 9.2e18
# Up to here float64 has all integers.
_EXACT = 2**53
_SAMPLE: dict[str, Any] = {"b": 1, "u": 1, "i": 1, "f": 1.0}


def run_python(ufunc: Any, inputs: tuple[Any, ...]) -> Any:
    """An operator between Python scalars, some traced: Python's result, not NumPy's."""
    name = ufunc.__name__
    kinds = [result_dtype(x).kind for x in inputs]
    if ufunc is np.matmul or ("c" in kinds and name in ("floor_divide", "remainder")):
        raise DTypeError(at_user_line(f"unsupported operand types for {name}"))
    if "c" in kinds and ufunc in (np.less, np.less_equal, np.greater, np.greater_equal):
        raise DTypeError(at_user_line(f"'{name}' not supported between complex numbers"))
    if "c" in kinds and ufunc not in COMPARISONS:  # Python's rounds and fails in its own way
        need_value(next(x for x in inputs if is_symbol(x)), "arithmetic of Python's complex")
    if ufunc in DIVISIONS:
        if is_symbol(inputs[1]) and ufunc is not np.divide:
            if not set(kinds) <= {"i"} or not inputs[1].recorder.branches.enabled:
                need_value(inputs[1], "division by a traced Python number")
            return _whole_quotient(ufunc, inputs)
        if not is_symbol(inputs[1]) and inputs[1] == 0:
            return DIVISIONS[ufunc](_SAMPLE[kinds[0]], inputs[1])  # raises Python's error
    if ufunc in (np.left_shift, np.right_shift):
        if is_symbol(inputs[1]):
            need_value(inputs[1], "a shift by a traced Python int")
        if not set(kinds) <= set("bi"):
            raise DTypeError(at_user_line(f"unsupported operand types for {name}"))
        if inputs[1] < 0:
            raise ShapeError(at_user_line("negative shift count"))
    if ufunc is np.power:
        return _python_power(*inputs)
    if ufunc in COMPARISONS and set(kinds) == {"i", "f"}:
        return _exact_comparison(ufunc, inputs, kinds)
    inputs = tuple(_within_int64(x) for x in inputs)
    dtype = result_dtype(*inputs)
    if (
        dtype.is_bool
        and name not in ("bitwise_and", "bitwise_or", "bitwise_xor")
        and (ufunc not in COMPARISONS)
    ):
        dtype = as_dtype("int64")
    if ufunc is np.divide and dtype.is_integer:
        dtype = float64
    if (dtype.is_inexact and name in ("invert", "left_shift", "right_shift")) or (
        dtype.is_inexact and name.startswith("bitwise")
    ):
        raise DTypeError(at_user_line(f"unsupported operand types for {name}"))
    operands = [convert(x, dtype) for x in inputs]
    result = UFUNCS[ufunc](*operands)
    if ufunc is np.divide and is_symbol(inputs[1]):
        zero = apply(pw.eq, operands[1], constant(0, dtype))
        failing = _SAMPLE["f" if "f" in kinds else "i"]
        return _unless(result, zero, _message(lambda: failing / 0))
    return result


def run_checked(ufunc: Any, inputs: tuple[Any, ...]) -> Any:
    """The result of a ufunc on Python's integers, unless its size, computed in float64, comes
    near to 64 bits.
    """
    if ufunc is np.left_shift:
        return _checked_shift(*inputs)
    if ufunc is np.power:
        return _checked_power(*inputs)
    result = run_python(ufunc, inputs)
    about = UFUNCS[ufunc](*(convert(x, float64) for x in inputs))
    large = apply(pw.ge, apply(pw.abs_, about), constant(_NEAR_64_BITS, float64))
    return apply(pw.unless, result, large, reason=FOR_PYTHON)


def _checked_shift(x: Any, count: Any) -> Any:
    integer = as_dtype("int64")
    if not is_symbol(count) and count < 0:
        raise ShapeError(at_user_line("negative shift count"))
    x, count = (convert(_within_int64(n), integer) for n in (x, count))
    zero, one = constant(0, integer), constant(1, integer)
    beyond = apply(
        pw.bit_or, apply(pw.lt, count, zero), apply(pw.gt, count, constant(62, integer))
    )
    count = apply(pw.where, beyond, zero, count)
    factor = convert(apply(pw.shift_left, one, count), float64)
    about = apply(pw.abs_, apply(pw.mul, convert(x, float64), factor))
    large = apply(pw.ge, about, constant(_NEAR_64_BITS, float64))
    failing = apply(pw.bit_or, beyond, large)
    return apply(pw.unless, apply(pw.shift_left, x, count), failing, reason=FOR_PYTHON)


def _checked_power(base: Any, exponent: Any) -> Any:
    integer = as_dtype("int64")
    if not is_symbol(exponent) and exponent < 0:
        return _python_power(base, exponent)
    base, exponent = (convert(_within_int64(n), integer) for n in (base, exponent))
    zero = constant(0, integer)
    below = apply(pw.lt, exponent, zero)  # which gives a float
    exponent = apply(pw.where, below, zero, exponent)
    about = apply(pw.pow_, convert(base, float64), convert(exponent, float64))
    large = apply(pw.ge, apply(pw.abs_, about), constant(_NEAR_64_BITS, float64))
    # no larger numbers than those that are used
    exponent = apply(pw.where, large, zero, exponent)
    failing = apply(pw.bit_or, below, large)
    return apply(pw.unless, power(base, exponent), failing, reason=FOR_PYTHON)


def _exact_comparison(ufunc: Any, inputs: tuple[Any, ...], kinds: list[str]) -> Any:
    """An integer of Python's compared with a float, as Python does it: without rounding the
    integer. Those that float64 may not have are left to Python.
    """
    result = UFUNCS[ufunc](*(convert(x, float64) for x in inputs))
    whole = inputs[kinds.index("i")]
    if not is_symbol(whole):
        if abs(whole) > _EXACT:
            need_value(next(x for x in inputs if is_symbol(x)), "a comparison with a large int")
        return result
    if not whole.recorder.branches.enabled:
        need_value(whole, "a comparison of a traced Python int and a float")
    whole.recorder.branches.may_need_python = True
    size = apply(pw.abs_, convert(whole, float64))
    large = apply(pw.ge, size, constant(float(_EXACT), float64))
    return apply(pw.unless, result, large, reason=FOR_PYTHON)


def _whole_quotient(ufunc: Any, inputs: tuple[Any, ...]) -> Any:
    """What `//` or `%` of Python's integers by a traced one gives, or raises."""
    integer = as_dtype("int64")
    x, y = (convert(_within_int64(n), integer) for n in inputs)
    zero = apply(pw.eq, y, constant(0, integer))
    divisor = apply(pw.where, zero, constant(1, integer), y)
    result = UFUNCS[ufunc](x, divisor)
    least = apply(pw.eq, x, constant(-(2**63), integer))
    beyond = apply(pw.bit_and, least, apply(pw.eq, y, constant(-1, integer)))
    y.recorder.branches.may_need_python = True
    result = apply(pw.unless, result, beyond, reason=FOR_PYTHON)
    return _unless(result, zero, _message(lambda: DIVISIONS[ufunc](1, 0)))


def _power_of_floats(base: Any, exponent: Any) -> Any:
    """A power of Python's floats; what is complex, or fails, is left to Python."""
    x, y = (convert(n, float64) for n in (base, exponent))
    zero = constant(0.0, float64)
    result = apply(pw.pow_, x, y)
    broken = apply(pw.ne, apply(pw.floor, y), y)
    complex_ = apply(pw.bit_and, apply(pw.lt, x, zero), broken)
    divides = apply(pw.bit_and, apply(pw.eq, x, zero), apply(pw.lt, y, zero))
    finite = apply(pw.bit_and, isfinite(x), isfinite(y))
    overflows = apply(pw.bit_and, finite, isinf(result))
    failing = apply(pw.bit_or, apply(pw.bit_or, complex_, divides), overflows)
    trace = result.recorder
    trace.branches.may_need_python = True
    checked = apply(pw.unless, result, failing, reason=FOR_PYTHON)
    return trace.note_checked(checked)


def _unless(result: Any, failing: Any, reason: str) -> Any:
    checked = apply(pw.unless, result, failing, reason=reason)
    return checked.recorder.note_checked(checked)


def _message(operation: Callable[[], Any]) -> str:
    try:
        operation()
    except ZeroDivisionError as error:
        return str(error)
    raise AssertionError("a division by zero")


def _within_int64(value: Any) -> Any:
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise unsupported(f"the Python int {value} next to a traced one")
    return value


def _python_power(base: Any, exponent: Any) -> Any:
    kinds = [result_dtype(x).kind for x in (base, exponent)]
    if "f" not in kinds:
        if is_symbol(exponent):  # a negative one gives a float
            need_value(exponent, "a power with a traced Python int as exponent")
        if exponent < 0:
            return _python_power(base, float(exponent))
        return power(*(convert(_within_int64(x), as_dtype("int64")) for x in (base, exponent)))
    whole = not is_symbol(exponent) and float(exponent).is_integer()
    symbol = base if is_symbol(base) else exponent
    if symbol.recorder.branches.enabled and not (
        (whole and not is_symbol(base)) or (whole and exponent >= 0)
    ):
        return _power_of_floats(base, exponent)
    if not whole and (is_symbol(base) or base < 0):  # a negative base gives a complex number
        need_value(base if is_symbol(base) else exponent, "a power of a traced Python number")
    if (not is_symbol(base) and base == 0) or (
        not is_symbol(exponent) and exponent < 0 and is_symbol(base)
    ):
        need_value(exponent if is_symbol(exponent) else base, "a power that may divide by zero")
    operands = [convert(x, float64) for x in (base, exponent)]
    result = apply(pw.pow_, *operands)
    finite = apply(pw.bit_and, *(isfinite(x) for x in operands))
    return _unless(result, apply(pw.bit_and, finite, isinf(result)), pw.OVERFLOW)
