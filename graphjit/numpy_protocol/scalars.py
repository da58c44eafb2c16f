"""Operators between Python scalars of which some are traced: Python's results, not NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.dispatch import apply
from graphjit.errors import DTypeError, ShapeError, at_user_line
from graphjit.ops import pointwise as pw
from graphjit.types import (
    as_dtype,
    float64,
)

from .promotion import convert, is_symbol, need_value, result_dtype, unsupported
from .ufuncs import COMPARISONS, UFUNCS, power


def run_python(ufunc: Any, inputs: tuple[Any, ...]) -> Any:
    """An operator between Python scalars, some traced: Python's result, not NumPy's."""
    name = ufunc.__name__
    kinds = [result_dtype(x).kind for x in inputs]
    if ufunc is np.matmul or ("c" in kinds and name in ("floor_divide", "remainder")):
        raise DTypeError(at_user_line(f"unsupported operand types for {name}"))
    if ufunc in (np.divide, np.floor_divide, np.remainder):
        if is_symbol(inputs[1]) and ufunc is not np.divide:
            need_value(inputs[1], "division by a traced Python number")
        if not is_symbol(inputs[1]) and inputs[1] == 0:
            raise ZeroDivisionError("division by zero")
    if ufunc in (np.left_shift, np.right_shift):
        if is_symbol(inputs[1]):
            need_value(inputs[1], "a shift by a traced Python int")
        if inputs[1] < 0:
            raise ShapeError(at_user_line("negative shift count"))
    if ufunc is np.power:
        return _python_power(*inputs)
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
    return UFUNCS[ufunc](*(convert(x, dtype) for x in inputs))


def _within_int64(value: Any) -> Any:
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise unsupported(f"the Python int {value} next to a traced one")
    return value


def _python_power(base: Any, exponent: Any) -> Any:
    kinds = [result_dtype(x).kind for x in (base, exponent)]
    if "c" in kinds:
        return power(*(convert(x, as_dtype("complex128")) for x in (base, exponent)))
    if "f" not in kinds:
        if is_symbol(exponent):  # a negative one gives a float
            need_value(exponent, "a power with a traced Python int as exponent")
        if exponent < 0:
            return _python_power(base, float(exponent))
        return power(*(convert(_within_int64(x), as_dtype("int64")) for x in (base, exponent)))
    whole = not is_symbol(exponent) and float(exponent).is_integer()
    if not whole and (is_symbol(base) or base < 0):  # a negative base gives a complex number
        need_value(base if is_symbol(base) else exponent, "a power of a traced Python number")
    if (not is_symbol(base) and base == 0) or (
        not is_symbol(exponent) and exponent < 0 and is_symbol(base)
    ):
        need_value(exponent if is_symbol(exponent) else base, "a power that may divide by zero")
    return apply(pw.pow_, *(convert(x, float64) for x in (base, exponent)))
