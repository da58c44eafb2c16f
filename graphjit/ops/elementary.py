"""Pointwise primitives: elementary and special functions, whose code is in codegen/math."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.core.types import Array

from .family import op, single
from .primitive import Names, Primitive, named


def unary(
    name: str,
    tensorflow: str,
    kinds: str,
    numpy: Callable[..., Any],
    cost: int,
    names: Names,
    slope: Callable[..., Any],
) -> Primitive:
    """Add a function of one operand that the Builder has a method for, of the same name."""
    return op(
        name, tensorflow, kinds, single(numpy), lambda b, x: getattr(b, name)(x), cost=cost,
        names=names, slopes=lambda d, y, x: (slope(d, y, x),),
    )  # fmt: skip


_LOG_2, _LOG_10 = math.log(2.0), math.log(10.0)


def _below_one(d: Any, x: Any) -> Any:
    """sqrt(1 - x²)."""
    return d.sqrt(d.mul(d.sub(1.0, x), d.add(x, 1.0)))


def _bell(d: Any, x: Any) -> Any:
    """The derivative of erf."""
    return d.mul(d.exp(d.neg(d.mul(x, x))), 2.0 / math.sqrt(math.pi))


def scipy_rule(name: str) -> Callable[..., Any]:
    """scipy.special's function of that name, of float16 in float32."""

    def rule(*arrays: Array) -> Any:
        import scipy.special

        dtype = arrays[0].dtype
        if dtype == np.float16:
            single = getattr(scipy.special, name)(*(a.astype(np.float32) for a in arrays))
            return np.asarray(single).astype(dtype)
        return getattr(scipy.special, name)(*arrays)

    return rule


def _rsqrt_numpy(x: Array) -> Any:
    return np.divide(np.asarray(1, x.dtype), np.sqrt(x))


def _softplus_numpy(x: Array) -> Any:
    return np.logaddexp(np.asarray(0, x.dtype), x)


sqrt = op(
    "sqrt",
    "Sqrt",
    "fc",
    np.sqrt,
    lambda b, x: b.sqrt(x),
    cost=6,
    names=named("sqrt", "Square root.", ufuncs="sqrt"),
    slopes=lambda d, y, x: (d.over(d.mul(y, 2.0)),),
)
exp = unary(
    "exp",
    "Exp",
    "fc",
    np.exp,
    12,
    named("exp", "e to the power x.", ufuncs="exp"),
    lambda d, y, x: y,
)
exp2 = unary(
    "exp2",
    "Exp2",
    "fc",
    np.exp2,
    12,
    named("exp2", "2 to the power x.", ufuncs="exp2", scipy="exp2"),
    lambda d, y, x: d.mul(y, _LOG_2),
)
expm1 = unary(
    "expm1",
    "Expm1",
    "fc",
    np.expm1,
    16,
    named("expm1", "exp(x) - 1, accurate near 0.", ufuncs="expm1", scipy="expm1"),
    lambda d, y, x: d.add(y, 1.0),
)
log = unary(
    "log",
    "Log",
    "fc",
    np.log,
    14,
    named("log", "Natural logarithm.", ufuncs="log"),
    lambda d, y, x: d.over(x),
)
log2 = unary(
    "log2",
    "Log2",
    "fc",
    np.log2,
    14,
    named("log2", "Logarithm to base 2.", ufuncs="log2"),
    lambda d, y, x: d.over(d.mul(x, _LOG_2)),
)
log10 = unary(
    "log10",
    "Log10",
    "fc",
    np.log10,
    14,
    named("log10", "Logarithm to base 10.", ufuncs="log10"),
    lambda d, y, x: d.over(d.mul(x, _LOG_10)),
)
log1p = unary(
    "log1p",
    "Log1p",
    "fc",
    np.log1p,
    16,
    named("log1p", "log(1 + x), accurate near 0.", ufuncs="log1p", scipy="log1p"),
    lambda d, y, x: d.over(d.add(x, 1.0)),
)
sin = unary(
    "sin",
    "Sin",
    "fc",
    np.sin,
    20,
    named("sin", "Sine of x [rad].", ufuncs="sin"),
    lambda d, y, x: d.cos(x),
)
cos = unary(
    "cos",
    "Cos",
    "fc",
    np.cos,
    20,
    named("cos", "Cosine of x [rad].", ufuncs="cos"),
    lambda d, y, x: d.neg(d.sin(x)),
)
tan = unary(
    "tan",
    "Tan",
    "fc",
    np.tan,
    25,
    named("tan", "Tangent of x [rad].", ufuncs="tan"),
    lambda d, y, x: d.add(d.mul(y, y), 1.0),
)
asin = unary(
    "asin",
    "Asin",
    "fc",
    np.arcsin,
    20,
    named("asin arcsin", "Arc sine [rad].", ufuncs="arcsin"),
    lambda d, y, x: d.over(_below_one(d, x)),
)
acos = unary(
    "acos",
    "Acos",
    "fc",
    np.arccos,
    20,
    named("acos arccos", "Arc cosine [rad].", ufuncs="arccos"),
    lambda d, y, x: d.over(d.neg(_below_one(d, x))),
)
atan = unary(
    "atan",
    "Atan",
    "fc",
    np.arctan,
    20,
    named("atan arctan", "Arc tangent [rad].", ufuncs="arctan"),
    lambda d, y, x: d.over(d.add(d.mul(x, x), 1.0)),
)
sinh = unary(
    "sinh",
    "Sinh",
    "fc",
    np.sinh,
    20,
    named("sinh", "Hyperbolic sine.", ufuncs="sinh"),
    lambda d, y, x: d.cosh(x),
)
cosh = unary(
    "cosh",
    "Cosh",
    "fc",
    np.cosh,
    20,
    named("cosh", "Hyperbolic cosine.", ufuncs="cosh"),
    lambda d, y, x: d.sinh(x),
)
tanh = unary(
    "tanh",
    "Tanh",
    "fc",
    np.tanh,
    16,
    named("tanh", "Hyperbolic tangent.", ufuncs="tanh"),
    lambda d, y, x: d.sub(1.0, d.mul(y, y)),
)
asinh = unary(
    "asinh",
    "Asinh",
    "fc",
    np.arcsinh,
    30,
    named("asinh arcsinh", "Inverse hyperbolic sine.", ufuncs="arcsinh"),
    lambda d, y, x: d.over(d.sqrt(d.add(d.mul(x, x), 1.0))),
)
acosh = unary(
    "acosh",
    "Acosh",
    "fc",
    np.arccosh,
    30,
    named("acosh arccosh", "Inverse hyperbolic cosine.", ufuncs="arccosh"),
    lambda d, y, x: d.over(d.mul(d.sqrt(d.sub(x, 1.0)), d.sqrt(d.add(x, 1.0)))),
)
atanh = unary(
    "atanh",
    "Atanh",
    "fc",
    np.arctanh,
    30,
    named("atanh arctanh", "Inverse hyperbolic tangent.", ufuncs="arctanh"),
    lambda d, y, x: d.over(d.mul(d.sub(1.0, x), d.add(x, 1.0))),
)
cbrt = unary(
    "cbrt",
    "Cbrt",
    "f",
    np.cbrt,
    20,
    named("cbrt", "Cube root.", ufuncs="cbrt", scipy="cbrt"),
    lambda d, y, x: d.over(d.mul(d.mul(y, y), 3.0)),
)
rsqrt = unary(
    "rsqrt",
    "Rsqrt",
    "f",
    _rsqrt_numpy,
    8,
    named("rsqrt", "1 / sqrt(x)."),
    lambda d, y, x: d.mul(d.mul(y, -0.5), d.mul(y, y)),
)
erf = unary(
    "erf",
    "Erf",
    "f",
    scipy_rule("erf"),
    16,
    named("erf", "Error function.", scipy="erf"),
    lambda d, y, x: _bell(d, x),
)
erfc = unary(
    "erfc",
    "Erfc",
    "f",
    scipy_rule("erfc"),
    30,
    named("erfc", "1 - erf(x), accurate for large x.", scipy="erfc"),
    lambda d, y, x: d.neg(_bell(d, x)),
)
lgamma = unary(
    "lgamma",
    "Lgamma",
    "f",
    scipy_rule("gammaln"),
    100,
    named("lgamma", "Logarithm of |gamma(x)|.", scipy="gammaln"),
    lambda d, y, x: d.special("digamma", x),
)
tgamma = unary(
    "tgamma",
    "Gamma",
    "f",
    scipy_rule("gamma"),
    100,
    named("gamma", "Gamma function.", scipy="gamma"),
    lambda d, y, x: d.mul(y, d.special("digamma", x)),
)
sigmoid = unary(
    "sigmoid",
    "Sigmoid",
    "f",
    scipy_rule("expit"),
    16,
    named("sigmoid", "1 / (1 + exp(-x)).", scipy="expit"),
    lambda d, y, x: d.mul(y, d.sub(1.0, y)),
)
softplus = unary(
    "softplus",
    "Softplus",
    "f",
    _softplus_numpy,
    28,
    named("softplus", "log(1 + exp(x))."),
    lambda d, y, x: d.sigmoid(x),
)
atan2 = op(
    "atan2",
    "Atan2",
    "f",
    single(np.arctan2),
    lambda b, y, x: b.atan2(y, x),
    cost=30,
    names=named(
        "atan2 arctan2", "Angle [rad] of the point (y, x): atan2(y, x).", ufuncs="arctan2"
    ),
    slopes=lambda d, z, y, x: (
        d.ratio(x, d.add(d.mul(x, x), d.mul(y, y))),
        d.ratio(d.neg(y), d.add(d.mul(x, x), d.mul(y, y))),
    ),
)
hypot = op(
    "hypot",
    "Hypot",
    "f",
    single(np.hypot),
    lambda b, x, y: b.hypot(x, y),
    cost=12,
    names=named("hypot", "sqrt(x² + y²) without overflow on the way.", ufuncs="hypot"),
    slopes=lambda d, z, x, y: (d.ratio(x, z), d.ratio(y, z)),
)
