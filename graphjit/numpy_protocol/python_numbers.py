"""`int`, `float`, `bool`, `round`, `min`, `max` and functions of `math` on traced numbers, as
of Python's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.core.types import as_dtype, bool_, float64, int64
from graphjit.ops import pointwise as pw
from graphjit.ops.failures import FOR_PYTHON
from graphjit.tensors.apply import apply, current_trace

from .conversion import as_traced, new_array
from .indexing import getitem
from .promotion import constant, convert, is_symbol, result_dtype
from .ufuncs import UFUNCS

# From here on floats, truncated, don't fit in int64, by more than they are rounded by.
_LARGE = 9.2e18
# What takes one number, by the ufunc that computes it.
_OF_ONE: dict[Any, np.ufunc] = {
    math.sqrt: np.sqrt, math.exp: np.exp, math.log: np.log, math.log2: np.log2,
    math.log10: np.log10, math.log1p: np.log1p, math.expm1: np.expm1, math.sin: np.sin,
    math.cos: np.cos, math.tan: np.tan, math.asin: np.arcsin, math.acos: np.arccos,
    math.atan: np.arctan, math.sinh: np.sinh, math.cosh: np.cosh, math.tanh: np.tanh,
    math.asinh: np.arcsinh, math.acosh: np.arccosh, math.atanh: np.arctanh,
    math.fabs: np.absolute,
}  # fmt: skip
_OF_TWO: dict[Any, np.ufunc] = {
    math.atan2: np.arctan2, math.hypot: np.hypot, math.copysign: np.copysign,
}  # fmt: skip
_TESTS: dict[Any, np.ufunc] = {
    math.isnan: np.isnan, math.isinf: np.isinf, math.isfinite: np.isfinite,
}  # fmt: skip
_WHOLE: dict[Any, np.ufunc] = {math.floor: np.floor, math.ceil: np.ceil}


def call_number(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What a function that gives a Python number gives for traced ones; NotImplemented for
    other functions and values. Where Python raises, the call is left to it.
    """
    trace = current_trace.get()
    if trace is None or kwargs or not args:
        return NotImplemented
    if len(args) == 1 and getattr(type(args[0]), "is_list", False):
        if function is list:
            return args[0].copy()
        if function is sorted:
            return args[0].sorted()
        if function in _OF_LISTS:
            return args[0].reduced(_OF_LISTS[function])
    if function is min or function is max:
        return _extreme(function is max, args, trace)
    if (function is all or function is any) and len(args) == 1:
        return _together(function is all, args[0], trace)
    args = [x.as_numpy() if is_symbol(x) and x.is_mixed else x for x in args]
    if not any(map(_is_number, args)):
        return NotImplemented
    if not trace.branches.enabled or not all(map(_is_real, args)):
        return NotImplemented
    try:
        answer = _ANSWERS.get(function)
        ufunc = _OF_ONE.get(function) or _OF_TWO.get(function)
    except TypeError:  # it has no hash
        return NotImplemented
    if ufunc is not None and len(args) == ufunc.nin:
        return _weak(trace, lambda: _of_floats(ufunc, args))
    if answer is None or len(args) != 1:
        return NotImplemented
    return _weak(trace, lambda: answer(args[0]))


def _extreme(greatest: bool, args: Any, trace: Any) -> Any:
    """`min` or `max` of traced numbers of one type, chosen without a branch: the first one of
    which no later one is less, or greater.
    """
    values = args if len(args) > 1 else args[0]
    if type(values) not in (list, tuple) or not any(map(_is_number, values)):
        return NotImplemented
    if len(values) == 1 or not trace.branches.enabled:
        return NotImplemented
    if any(
        is_symbol(x) and not x.is_mixed and x.origin != "weak" and x.is_zero_dim_array()
        for x in values
    ):
        return NotImplemented
    mixed = any(is_symbol(x) and x.is_mixed for x in values)
    kinds = set() if mixed else {_kind_of(x) for x in values}
    if None in kinds:
        return NotImplemented
    if len(kinds) != 1:
        return _mixed_extreme(greatest, values, trace)
    ((origin, dtype),) = kinds
    first, *others = (convert(x, dtype) if is_symbol(x) else constant(x, dtype) for x in values)
    found, compared = first, pw.gt if greatest else pw.lt
    for x in others:
        found = apply(pw.where, apply(compared, x, found), x, found)
    made = trace.with_numpy_rules(lambda: trace.symbol(trace.node_of(found), found.type))
    if origin != "weak":
        return made
    return _bounded(trace, trace.as_weak(made))


def _together(every: bool, values: Any, trace: Any) -> Any:
    """`all` or `any` of a list or tuple of numbers, of which some are traced, without a
    branch.
    """
    if type(values) not in (list, tuple) or not any(map(_is_number, values)):
        return NotImplemented
    if not trace.branches.enabled or not all(map(_is_real, values)):
        return NotImplemented
    known = [bool(x) for x in values if not is_symbol(x)]
    if (not every) in known:
        return not every
    combine = pw.bit_and if every else pw.bit_or

    def made() -> Any:
        found = None
        for x in values:
            if is_symbol(x):
                truth = _bool(x.as_numpy() if x.is_mixed else x)
                found = truth if found is None else apply(combine, found, truth)
        return found

    return _weak(trace, made)


def _mixed_extreme(greatest: bool, values: Any, trace: Any) -> Any:
    """The same of numbers that are Python's and NumPy's."""
    parts = trace.mixed_parts(values)
    if parts is None:
        return NotImplemented
    numbers, flags, whole = parts
    found, flag, compared = numbers[0], flags[0], pw.gt if greatest else pw.lt
    for x, other in zip(numbers[1:], flags[1:], strict=True):
        better = apply(compared, x, found)
        found, flag = apply(pw.where, better, x, found), apply(pw.where, better, other, flag)
    return trace.mixed_number(found, flag, whole)


def chosen_number(items: Any, key: Any) -> Any:
    """items[key] for a traced key: a number of a list or tuple of numbers of one type."""
    number = _is_number(key) and key.type.dtype.kind in "iu"
    if type(items) in (list, tuple) and items and number:
        trace = key.recorder
        kinds = {_kind_of(x) for x in items}
        if trace.branches.enabled and len(kinds) == 1 and None not in kinds:
            ((origin, _),) = kinds
            made = trace.with_numpy_rules(lambda: getitem(new_array(list(items)), key, trace))
            return trace.as_weak(made) if origin == "weak" else made
    return items[key]  # raises, for its value isn't known


def chosen_elements(items: np.ndarray[Any, Any], key: Any) -> Any:
    """items[key] of a real array that nothing is known of, which stays as it is: by a traced
    array, for what is chosen by numbers alone may be a view.
    """
    parts = key if type(key) is tuple else (key,)
    copies = any(is_symbol(part) and part.type.shape for part in parts)
    if copies and items.dtype.kind in "biufc" and items.dtype.isnative:
        return as_traced(np.array(items, order="C"))[key]
    return items[key]  # raises, for its value isn't known


def _kind_of(value: Any) -> Any:
    """Whose rules hold for a number, and its dtype; None for what is none."""
    if is_symbol(value):
        return (value.origin, value.type.dtype) if _is_number(value) else None
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return "numpy", as_dtype(value.dtype)
    if type(value) in (bool, int, float):
        if type(value) is int and not -(2**63) <= value < 2**63:
            return None
        return "weak", result_dtype(value)
    return None


def _weak(trace: Any, action: Callable[[], Any]) -> Any:
    """The result of an action as a number of Python's."""
    result = trace.with_numpy_rules(action)
    if result is NotImplemented:
        return result
    return _bounded(trace, trace.as_weak(result))


def _bounded(trace: Any, made: Any) -> Any:
    """An integer of Python's of which it is noted that it fits in 64 bits."""
    if made.type.dtype is int64 and not trace.fits(made):
        trace.note_bounds(made, -(2**63), 2**63 - 1)
    return made


def _is_number(value: Any) -> bool:
    """Whether a value is a traced number, of Python's or NumPy's, or an array of one."""
    if not is_symbol(value) or value.is_selection:
        return False
    if value.is_mixed:
        return True
    return bool(not value.type.shape and value.origin != "tensor")


def _is_real(value: Any) -> bool:
    if is_symbol(value):
        return _is_number(value) and value.type.dtype.kind in "biuf"
    return isinstance(value, (int, float, np.floating, np.integer, np.bool_))


def _float(x: Any) -> Any:
    return convert(x, float64)


def _bool(x: Any) -> Any:
    if x.type.dtype.is_bool:
        return convert(x, bool_)
    return apply(pw.ne, x, constant(0, x.type.dtype))


def _int(x: Any) -> Any:
    """An integer: floats are truncated. Those beyond int64, and NaN, are left to Python."""
    dtype = x.type.dtype
    if dtype.kind in "bi":
        return convert(x, int64)
    if dtype.kind == "u":
        made = convert(x, int64)
        if dtype.size < 8:
            return made
        return left_to_python(made, apply(pw.lt, made, constant(0, int64)))
    wide = convert(x, float64)
    size = apply(pw.abs_, wide)
    fits = apply(pw.lt, size, constant(_LARGE, float64))  # NaN doesn't
    whole = convert(apply(pw.where, fits, wide, constant(0.0, float64)), int64)
    return left_to_python(whole, apply(pw.logical_not, fits))


def _round(x: Any) -> Any:
    # bools and arrays of NumPy's have no __round__
    if x.origin != "weak" and (x.type.dtype.is_bool or x.is_zero_dim_array()):
        return NotImplemented
    return _int(UFUNCS[np.rint](convert(x, float64)) if x.type.dtype.kind == "f" else x)


def _rounded(ufunc: np.ufunc) -> Callable[[Any], Any]:
    """A function of `math` that gives an integer. It takes integers of NumPy's for floats."""

    def to_whole(x: Any) -> Any:
        if x.origin == "weak" and x.type.dtype.kind != "f":
            return _int(x)
        return _int(UFUNCS[ufunc](convert(x, float64)))

    return to_whole


def _truncated(x: Any) -> Any:
    # of NumPy's numbers, and arrays, only float64 has __trunc__
    if x.origin != "weak" and (x.type.dtype is not float64 or x.is_zero_dim_array()):
        return NotImplemented
    return _int(x)


def _test(ufunc: np.ufunc) -> Callable[[Any], Any]:
    return lambda x: UFUNCS[ufunc](convert(x, float64))


def _of_floats(ufunc: np.ufunc, args: Any) -> Any:
    """A function of `math`: what is NaN or infinite of numbers that aren't is left to Python,
    for it raises an error there.
    """
    given = [convert(x, float64) if is_symbol(x) else constant(float(x), float64) for x in args]
    result = UFUNCS[ufunc](*given)
    lost = _new(UFUNCS[np.isnan], result, given)
    infinite = _new(UFUNCS[np.isinf], result, given)
    return left_to_python(result, apply(pw.bit_or, lost, infinite))


def _new(test: Any, result: Any, given: Any) -> Any:
    """Whether a test holds for a result, and for no argument."""
    found = test(result)
    for x in given:
        found = apply(pw.bit_and, found, apply(pw.logical_not, test(x)))
    return found


def left_to_python(result: Any, failing: Any) -> Any:
    """The result, in a call where it holds; the others are Python's."""
    checked = apply(pw.unless, result, failing, reason=FOR_PYTHON)
    trace = checked.recorder
    trace.branches.may_need_python = True
    return trace.note_checked(checked)


# What is asked of a list that a loop has made longer.
_OF_LISTS: dict[Any, str] = {
    min: "min", max: "max", sum: "sum", all: "all", any: "any",
}  # fmt: skip
_ANSWERS: dict[Any, Callable[[Any], Any]] = {
    int: _int,
    float: _float,
    bool: _bool,
    round: _round,
    math.trunc: _truncated,
    **{function: _rounded(ufunc) for function, ufunc in _WHOLE.items()},
    **{function: _test(ufunc) for function, ufunc in _TESTS.items()},
}

__all__ = ["call_number", "chosen_elements", "chosen_number", "left_to_python"]
