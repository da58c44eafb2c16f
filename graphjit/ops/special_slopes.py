"""Derivatives of functions that SciPy computes, by their names in scipy.special."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

_ROOT_PI: Final = math.sqrt(math.pi)
_ROOT_OF_TWO_PI: Final = math.sqrt(2 * math.pi)
_SLOPES: Final[dict[str, Callable[..., tuple[Any, ...]]]] = {
    "digamma": lambda d, y, x: (d.special("zeta", 2.0, x),),
    "erfinv": lambda d, y, x: (d.mul(d.exp(d.mul(y, y)), _ROOT_PI / 2),),
    "erfcinv": lambda d, y, x: (d.mul(d.exp(d.mul(y, y)), -_ROOT_PI / 2),),
    "ndtri": lambda d, y, x: (d.mul(d.exp(d.mul(d.mul(y, y), 0.5)), _ROOT_OF_TWO_PI),),
    "log_ndtr": lambda d, y, x: (
        d.mul(d.exp(d.sub(d.mul(d.mul(x, x), -0.5), y)), 1 / _ROOT_OF_TWO_PI),
    ),
    "i0": lambda d, y, x: (d.special("i1", x),),
    "i0e": lambda d, y, x: (d.sub(d.special("i1e", x), d.mul(d.sign(x), y)),),
    "j0": lambda d, y, x: (d.neg(d.special("j1", x)),),
    "y0": lambda d, y, x: (d.neg(d.special("y1", x)),),
    "k0": lambda d, y, x: (d.neg(d.special("k1", x)),),
    "expi": lambda d, y, x: (d.div(d.exp(x), x),),
    "exp1": lambda d, y, x: (d.neg(d.div(d.exp(d.neg(x)), x)),),
    "j1": lambda d, y, x: (_without_pole(d, x, d.sub(d.special("j0", x), d.div(y, x)), 0.5),),
    "y1": lambda d, y, x: (d.sub(d.special("y0", x), d.div(y, x)),),
    "i1": lambda d, y, x: (_without_pole(d, x, d.sub(d.special("i0", x), d.div(y, x)), 0.5),),
    "i1e": lambda d, y, x: (_without_pole(d, x, _i1e_slope(d, y, x), 0.5),),
    "k1": lambda d, y, x: (d.neg(d.add(d.special("k0", x), d.div(y, x))),),
    "k0e": lambda d, y, x: (d.sub(y, d.special("k1e", x)),),
    "k1e": lambda d, y, x: (d.sub(d.sub(y, d.special("k0e", x)), d.div(y, x)),),
    "zeta": lambda d, y, s, q: (
        NotImplemented,
        d.neg(d.mul(s, d.special("zeta", d.add(s, 1.0), q))),
    ),
    "polygamma": lambda d, y, n, x: (NotImplemented, d.special("polygamma", d.add(n, 1.0), x)),
    "gammainc": lambda d, y, a, x: (NotImplemented, _gamma_density(d, a, x)),
    "gammaincc": lambda d, y, a, x: (NotImplemented, d.neg(_gamma_density(d, a, x))),
    "spence": lambda d, y, x: (d.div(d.log(x), d.sub(1.0, x)),),
    "sici_s": lambda d, y, x: (_without_pole(d, x, d.div(d.sin(x), x), 1.0),),
    "sici_c": lambda d, y, x: (d.div(d.cos(x), x),),
    "fresnel_s": lambda d, y, x: (d.sin(d.mul(d.mul(x, x), math.pi / 2)),),
    "fresnel_c": lambda d, y, x: (d.cos(d.mul(d.mul(x, x), math.pi / 2)),),
    "dawsn": lambda d, y, x: (d.sub(1.0, d.mul(d.mul(x, y), 2.0)),),
}


def _without_pole(d: Any, x: Any, slope: Any, at_0: float) -> Any:
    """A slope, and its limit where x is 0."""
    return d.where(d.eq(x, 0.0), at_0, slope)


def _i1e_slope(d: Any, y: Any, x: Any) -> Any:
    """Of exp(-|x|) I1(x), by I1' = I0 - I1 / x (Abramowitz and Stegun, 9.6.26)."""
    return d.sub(d.special("i0e", x), d.mul(y, d.add(d.sign(x), d.div(1.0, x))))


def _gamma_density(d: Any, a: Any, x: Any) -> Any:
    """x ** (a - 1) exp(-x) / gamma(a)."""
    exponent = d.sub(d.mul(d.sub(a, 1.0), d.log(x)), d.add(x, d.lgamma(a)))
    return d.exp(exponent)


def special_slopes(d: Any, y: Any, *operands: Any, name: str) -> tuple[Any, ...] | None:
    """The slopes of a function of this name; None where it has none. See `Primitive.slopes`."""
    rule = _SLOPES.get(name)
    return None if rule is None else rule(d, y, *operands)


__all__ = ["special_slopes"]
