"""SciPy's special functions, found by name when one meets a traced array."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.functions import math
from graphjit.ops import library
from graphjit.ops import pointwise as pw
from graphjit.ops.primitive import Primitive
from graphjit.tensors.apply import apply

from .promotion import constant, unsupported

Loop = Callable[..., Any]
# SciPy's real ufuncs that the library primitive computes, under their own names.
_ROUTINES = (
    "erfinv", "erfcinv", "ndtri", "log_ndtr", "i0", "i0e", "i1", "i1e", "k0", "k0e", "k1",
    "k1e", "j0", "j1", "y0", "y1", "spence", "exp1", "expi", "gammainc", "gammaincc", "betainc",
)  # fmt: skip


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


def _entr(x: Any) -> Any:
    zero = constant(0, x.type.dtype)
    safe = math.where(math.greater(x, zero), x, constant(1, x.type.dtype))
    value = math.negative(math.multiply(safe, math.log(safe)))
    edge = math.where(math.equal(x, zero), zero, constant(-np.inf, x.type.dtype))
    result = math.where(math.greater(x, zero), value, edge)
    return math.where(math.is_nan(x), x, result)


def _ndtr(x: Any) -> Any:
    half = constant(0.5, x.type.dtype)
    scaled = math.multiply(math.negative(x), constant(np.sqrt(0.5), x.type.dtype))
    return math.multiply(half, math.erfc(scaled))


def _log_expit(x: Any) -> Any:
    return math.negative(math.softplus(math.negative(x)))


def _x_times(function: Loop) -> Loop:
    def loop(x: Any, y: Any) -> Any:
        zero = constant(0, x.type.dtype)
        none = math.logical_and(math.equal(x, zero), math.logical_not(math.is_nan(y)))
        return math.where(none, zero, math.multiply(x, function(y)))

    return _real(loop)


SPECIAL: dict[str, Loop] = {
    "expit": _of(pw.sigmoid),
    "log_expit": _real(_log_expit),
    "logit": _real(_logit),
    "erf": _of(pw.erf),
    "erfc": _of(pw.erfc),
    "gammaln": _of(pw.lgamma),
    "gamma": _of(pw.tgamma),
    "psi": _of(library.special, name="digamma"),
    "digamma": _of(library.special, name="digamma"),
    "dawsn": _of(library.special, name="dawsn"),
    "log1p": _of(pw.log1p),
    "expm1": _of(pw.expm1),
    "exp2": _of(pw.exp2),
    "cbrt": _of(pw.cbrt),
    "xlogy": _x_times(math.log),
    "xlog1py": _x_times(math.log1p),
    "entr": _real(_entr),
    "ndtr": _real(_ndtr),
}
SPECIAL |= {name: _of(library.special, name=name) for name in _ROUTINES}


def special_loop(ufunc: Any) -> Loop | None:
    """The loop of one of SciPy's ufuncs; None if it isn't one or has none."""
    scipy_special = sys.modules.get("scipy.special")
    name = ufunc.__name__
    # SciPy's psi and digamma are one ufunc, whose name is psi.
    found = getattr(scipy_special, name, None) if scipy_special is not None else None
    return SPECIAL.get(name) if found is ufunc else None
