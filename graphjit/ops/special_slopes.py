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
    "beta": lambda d, y, a, b: _of_beta(d, a, b, y),
    "betaln": lambda d, y, a, b: _of_beta(d, a, b, None),
    "betainc": lambda d, y, a, b, x: (
        NotImplemented,
        NotImplemented,
        _beta_density(d, a, b, x),
    ),
    "jv": lambda d, y, v, x: (NotImplemented, d.mul(_around(d, "jv", v, x, d.sub), 0.5)),
    "yv": lambda d, y, v, x: (NotImplemented, d.mul(_around(d, "yv", v, x, d.sub), 0.5)),
    "iv": lambda d, y, v, x: (NotImplemented, d.mul(_around(d, "iv", v, x, d.add), 0.5)),
    "kv": lambda d, y, v, x: (NotImplemented, d.mul(_around(d, "kv", v, x, d.add), -0.5)),
    "ive": lambda d, y, v, x: (
        NotImplemented,
        d.sub(d.mul(_around(d, "ive", v, x, d.add), 0.5), d.mul(y, d.sign(x))),
    ),
    "kve": lambda d, y, v, x: (
        NotImplemented,
        d.sub(y, d.mul(_around(d, "kve", v, x, d.add), 0.5)),
    ),
    "rgamma": lambda d, y, x: (d.neg(d.mul(y, d.special("digamma", x))),),
    "gammasgn": lambda d, y, x: (None,),
    "hyp2f1": lambda d, y, a, b, c, x: (
        NotImplemented,
        NotImplemented,
        NotImplemented,
        d.mul(
            d.div(d.mul(a, b), c), d.special("hyp2f1", *(d.add(t, 1.0) for t in (a, b, c)), x)
        ),
    ),
    "hyp1f1": lambda d, y, a, b, x: (
        NotImplemented,
        NotImplemented,
        d.mul(d.div(a, b), d.special("hyp1f1", d.add(a, 1.0), d.add(b, 1.0), x)),
    ),
    "ellipk": lambda d, y, m: (
        d.div(
            d.sub(d.special("ellipe", m), d.mul(d.sub(1.0, m), y)),
            d.mul(d.mul(m, 2.0), d.sub(1.0, m)),
        ),
    ),
    "ellipe": lambda d, y, m: (d.div(d.sub(y, d.special("ellipk", m)), d.mul(m, 2.0)),),
    "erfcx": lambda d, y, x: (d.sub(d.mul(d.mul(x, y), 2.0), 2 / _ROOT_PI),),
    "cosm1": lambda d, y, x: (d.neg(d.sin(x)),),
    "exprel": lambda d, y, x: (_without_pole(d, x, d.div(d.sub(d.exp(x), y), x), 0.5),),
    "exp10": lambda d, y, x: (d.mul(y, math.log(10)),),
    "boxcox": lambda d, y, x, power: (d.pow(x, d.sub(power, 1.0)), NotImplemented),
    "poch": lambda d, y, z, m: _of_poch(d, y, z, m),
    "rel_entr": lambda d, z, x, y: (d.add(d.log(d.div(x, y)), 1.0), d.neg(d.div(x, y))),
    "kl_div": lambda d, z, x, y: (d.log(d.div(x, y)), d.sub(1.0, d.div(x, y))),
    "huber": lambda d, y, delta, r: (
        d.where(d.gt(d.abs(r), delta), d.sub(d.abs(r), delta), 0.0),
        d.minimum(d.maximum(r, d.neg(delta)), delta),
    ),
    "pseudo_huber": lambda d, y, delta, r: (NotImplemented, _of_pseudo_huber(d, delta, r)),
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


def _around(d: Any, name: str, order: Any, x: Any, join: Any) -> Any:
    """The functions of the orders beside one (Abramowitz and Stegun, 9.1.27 and 9.6.26)."""
    before = d.special(name, d.sub(order, 1.0), x)
    return join(before, d.special(name, d.add(order, 1.0), x))


def _of_beta(d: Any, a: Any, b: Any, y: Any) -> tuple[Any, Any]:
    """Of log B(a, b), times y where that is given."""
    both = d.special("digamma", d.add(a, b))
    found = [d.sub(d.special("digamma", x), both) for x in (a, b)]
    first, second = found if y is None else [d.mul(x, y) for x in found]
    return first, second


def _beta_density(d: Any, a: Any, b: Any, x: Any) -> Any:
    """x ** (a - 1) (1 - x) ** (b - 1) / B(a, b)."""
    one = d.mul(d.sub(a, 1.0), d.log(x))
    other = d.mul(d.sub(b, 1.0), d.log1p(d.neg(x)))
    return d.exp(d.sub(d.add(one, other), d.special("betaln", a, b)))


def _of_poch(d: Any, y: Any, z: Any, m: Any) -> tuple[Any, Any]:
    """Of gamma(z + m) / gamma(z)."""
    whole = d.special("digamma", d.add(z, m))
    return d.mul(y, d.sub(whole, d.special("digamma", z))), d.mul(y, whole)


def _of_pseudo_huber(d: Any, delta: Any, r: Any) -> Any:
    part = d.div(r, delta)
    return d.div(r, d.sqrt(d.add(d.mul(part, part), 1.0)))


def special_slopes(d: Any, y: Any, *operands: Any, name: str) -> tuple[Any, ...] | None:
    """The slopes of a function of this name; None where it has none. See `Primitive.slopes`."""
    rule = _SLOPES.get(name)
    return None if rule is None else rule(d, y, *operands)


__all__ = ["special_slopes"]
