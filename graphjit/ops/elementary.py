"""Pointwise primitives: elementary and special functions, whose code is in codegen/math."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.core.types import Array

from .family import op, single
from .primitive import Names, Primitive, named


def unary(
    name: str, tensorflow: str, kinds: str, numpy: Callable[..., Any], cost: int, names: Names
) -> Primitive:
    """Add a function of one operand that the Builder has a method for, of the same name."""
    return op(
        name, tensorflow, kinds, single(numpy), lambda b, x: getattr(b, name)(x), cost=cost,
        names=names,
    )  # fmt: skip


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
)
exp = unary("exp", "Exp", "fc", np.exp, 12, named("exp", "e to the power x.", ufuncs="exp"))
exp2 = unary(
    "exp2",
    "Exp2",
    "fc",
    np.exp2,
    12,
    named("exp2", "2 to the power x.", ufuncs="exp2", scipy="exp2"),
)
expm1 = unary(
    "expm1",
    "Expm1",
    "fc",
    np.expm1,
    16,
    named("expm1", "exp(x) - 1, accurate near 0.", ufuncs="expm1", scipy="expm1"),
)
log = unary("log", "Log", "fc", np.log, 14, named("log", "Natural logarithm.", ufuncs="log"))
log2 = unary(
    "log2", "Log2", "fc", np.log2, 14, named("log2", "Logarithm to base 2.", ufuncs="log2")
)
log10 = unary(
    "log10",
    "Log10",
    "fc",
    np.log10,
    14,
    named("log10", "Logarithm to base 10.", ufuncs="log10"),
)
log1p = unary(
    "log1p",
    "Log1p",
    "fc",
    np.log1p,
    16,
    named("log1p", "log(1 + x), accurate near 0.", ufuncs="log1p", scipy="log1p"),
)
sin = unary("sin", "Sin", "fc", np.sin, 20, named("sin", "Sine of x [rad].", ufuncs="sin"))
cos = unary("cos", "Cos", "fc", np.cos, 20, named("cos", "Cosine of x [rad].", ufuncs="cos"))
tan = unary("tan", "Tan", "fc", np.tan, 25, named("tan", "Tangent of x [rad].", ufuncs="tan"))
asin = unary(
    "asin",
    "Asin",
    "fc",
    np.arcsin,
    20,
    named("asin arcsin", "Arc sine [rad].", ufuncs="arcsin"),
)
acos = unary(
    "acos",
    "Acos",
    "fc",
    np.arccos,
    20,
    named("acos arccos", "Arc cosine [rad].", ufuncs="arccos"),
)
atan = unary(
    "atan",
    "Atan",
    "fc",
    np.arctan,
    20,
    named("atan arctan", "Arc tangent [rad].", ufuncs="arctan"),
)
sinh = unary(
    "sinh", "Sinh", "fc", np.sinh, 20, named("sinh", "Hyperbolic sine.", ufuncs="sinh")
)
cosh = unary(
    "cosh", "Cosh", "fc", np.cosh, 20, named("cosh", "Hyperbolic cosine.", ufuncs="cosh")
)
tanh = unary(
    "tanh", "Tanh", "fc", np.tanh, 16, named("tanh", "Hyperbolic tangent.", ufuncs="tanh")
)
asinh = unary(
    "asinh",
    "Asinh",
    "fc",
    np.arcsinh,
    30,
    named("asinh arcsinh", "Inverse hyperbolic sine.", ufuncs="arcsinh"),
)
acosh = unary(
    "acosh",
    "Acosh",
    "fc",
    np.arccosh,
    30,
    named("acosh arccosh", "Inverse hyperbolic cosine.", ufuncs="arccosh"),
)
atanh = unary(
    "atanh",
    "Atanh",
    "fc",
    np.arctanh,
    30,
    named("atanh arctanh", "Inverse hyperbolic tangent.", ufuncs="arctanh"),
)
cbrt = unary(
    "cbrt", "Cbrt", "f", np.cbrt, 20, named("cbrt", "Cube root.", ufuncs="cbrt", scipy="cbrt")
)
rsqrt = unary("rsqrt", "Rsqrt", "f", _rsqrt_numpy, 8, named("rsqrt", "1 / sqrt(x)."))
erf = unary(
    "erf", "Erf", "f", scipy_rule("erf"), 16, named("erf", "Error function.", scipy="erf")
)
erfc = unary(
    "erfc",
    "Erfc",
    "f",
    scipy_rule("erfc"),
    30,
    named("erfc", "1 - erf(x), accurate for large x.", scipy="erfc"),
)
lgamma = unary(
    "lgamma",
    "Lgamma",
    "f",
    scipy_rule("gammaln"),
    100,
    named("lgamma", "Logarithm of |gamma(x)|.", scipy="gammaln"),
)
tgamma = unary(
    "tgamma",
    "Gamma",
    "f",
    scipy_rule("gamma"),
    100,
    named("gamma", "Gamma function.", scipy="gamma"),
)
sigmoid = unary(
    "sigmoid",
    "Sigmoid",
    "f",
    scipy_rule("expit"),
    16,
    named("sigmoid", "1 / (1 + exp(-x)).", scipy="expit"),
)
softplus = unary(
    "softplus", "Softplus", "f", _softplus_numpy, 28, named("softplus", "log(1 + exp(x)).")
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
)
hypot = op(
    "hypot",
    "Hypot",
    "f",
    single(np.hypot),
    lambda b, x, y: b.hypot(x, y),
    cost=12,
    names=named("hypot", "sqrt(x² + y²) without overflow on the way.", ufuncs="hypot"),
)
