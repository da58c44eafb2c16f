"""SciPy's special functions, found by name when one meets a traced array."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from graphjit.functions import math, special
from graphjit.ops import PRIMITIVES, library
from graphjit.ops.primitive import Primitive
from graphjit.tensors.apply import apply

from .promotion import constant, unsupported

Loop = Callable[..., Any]


def _real(function: Loop) -> Loop:
    def loop(*tensors: Any) -> Any:
        if not tensors[0].type.dtype.is_floating:
            raise unsupported("a special function of complex numbers")
        return function(*tensors)

    return loop


def _of(primitive: Primitive, **attrs: Any) -> Loop:
    return _real(lambda *tensors: apply(primitive, *tensors, **attrs))


def _logit(x: Any) -> Any:
    one = constant(1, x.type.dtype)
    # log(x / (1 - x)) loses digits around 1/2, where log1p doesn't.
    s = math.multiply(constant(2, x.type.dtype), math.subtract(x, constant(0.5, x.type.dtype)))
    inner = math.subtract(math.log1p(s), math.log1p(math.negative(s)))
    outer = math.log(math.divide(x, math.subtract(one, x)))
    low, high = constant(0.3, x.type.dtype), constant(0.65, x.type.dtype)
    near = math.logical_and(math.greater_equal(x, low), math.less_equal(x, high))
    return math.where(near, inner, outer)


def _or_nan(function: Loop) -> Loop:
    """A function that in SciPy is NaN of NaN, whatever the first operand is."""
    return _real(lambda x, y: math.where(math.is_nan(y), y, function(x, y)))


# By SciPy's name: what is a primitive, or a routine of the library primitive, from its record.
SPECIAL: dict[str, Loop] = {
    name: _of(primitive) for primitive in PRIMITIVES.values() for name in primitive.names.scipy
}
SPECIAL |= {
    name: _of(library.special, name=routine)
    for routine, names in library.SPECIAL.items()
    for name in names.scipy
}
SPECIAL |= {
    "log_expit": _real(special.log_expit),
    "logit": _real(_logit),
    "xlogy": _or_nan(math.xlogy),
    "xlog1py": _or_nan(math.xlog1py),
    "entr": _real(special.entr),
    "ndtr": _real(special.ndtr),
}


def special_loop(ufunc: Any) -> Loop | None:
    """The loop of one of SciPy's ufuncs; None if it isn't one or has none."""
    scipy_special = sys.modules.get("scipy.special")
    name = ufunc.__name__
    # SciPy's psi and digamma are one ufunc, whose name is psi.
    found = getattr(scipy_special, name, None) if scipy_special is not None else None
    if found is None or found is not ufunc:
        return None
    return SPECIAL.get(name) or (_of_library(name) if ufunc.nout == 1 else None)


def _of_library(name: str) -> Loop:
    """A ufunc that has no code here, on operands of one dtype."""

    def loop(*tensors: Any) -> Any:
        if any(x.type.dtype is not tensors[0].type.dtype for x in tensors):
            raise unsupported(f"scipy.special.{name} of operands of several dtypes")
        return apply(library.special, *tensors, name=name)

    return _real(loop)
