"""Draws from continuous distributions, by keys. Names and arguments are JAX's.

`dtype` is float32 unless said otherwise, and a floating-point one: InvalidArgumentError for
others. Parameters broadcast with one another; a `shape` of None is the shape that they have,
and one that they don't broadcast to is an InvalidArgumentError.
"""

from __future__ import annotations

import functools
import inspect
import math as pymath
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import DType, Shape, broadcast_shapes, float32, float64
from graphjit.functions import linalg, loops, math, special
from graphjit.functions.reduce import reduce_any, reduce_logsumexp, reduce_sum
from graphjit.functions.shape import as_shape, broadcast_to, expand_dims
from graphjit.tensors.apply import TensorBase, as_tensor

from .keys import as_counter, split
from .words import draw, float_dtype, normals, units

# Beyond so many tries something is wrong with the parameters: each succeeds in most cases.
MAX_TRIES = 500


def _narrowed_last(draw: Callable[..., Any]) -> Callable[..., Any]:
    """A draw that makes float16 and bfloat16 numbers of float32 ones: their few bits are too
    coarse for what is computed of numbers in [0, 1).
    """
    place = list(inspect.signature(draw).parameters).index("dtype")

    @functools.wraps(draw)
    def rounded(*args: Any, **kwargs: Any) -> Any:
        given = kwargs.get("dtype", args[place] if place < len(args) else float32)
        if given is float32 or given is None:
            return draw(*args, **kwargs)
        target = float_dtype(given, draw.__name__.title().replace("_", ""))
        if target in (float32, float64):
            return draw(*args, **kwargs)
        if place < len(args):
            args = (*args[:place], float32, *args[place + 1 :])
        else:
            kwargs["dtype"] = float32
        return math.cast(draw(*args, **kwargs), target)

    return rounded


def parameter(value: Any, dtype: DType, shape: Shape | None = None) -> Any:
    """A parameter as a tensor of a dtype, of a shape if one is given."""
    x = as_tensor(value, dtype)
    x = x if x.dtype is dtype else math.cast(x, dtype)
    return x if shape is None or x.type.shape == shape else broadcast_to(x, shape)


def shape_of(shape: Any, op: str, *parameters: Any) -> Shape:
    """The shape of a draw: the one given, or that of the parameters together."""
    if shape is not None:
        return as_shape(shape, op)
    return broadcast_shapes(tuple(as_tensor(x).type.shape for x in parameters), op)


def _number(value: float, dtype: DType) -> Any:
    return as_tensor(value, dtype)


def unit(key: Any, shape: Any, dtype: DType, op: str, stream: Any = 0) -> Any:
    """Numbers in [0, 1). stream: see `keys.as_counter`."""
    return draw(as_counter(key, op, stream), shape, *units(dtype), op)


def _positive_unit(key: Any, shape: Any, dtype: DType, op: str, stream: Any = 0) -> Any:
    """Numbers in (0, 1]."""
    return _number(1.0, dtype) - unit(key, shape, dtype, op, stream)


def uniform(
    key: Any, shape: Any = (), dtype: Any = float32, minval: Any = 0.0, maxval: Any = 1.0
) -> Any:
    """Numbers spread evenly over [minval, maxval). Rounding may give `maxval` where the two are
    much larger than their distance.
    """
    target, extents = float_dtype(dtype, "Uniform"), as_shape(shape, "Uniform")
    found = unit(key, extents, target, "Uniform")
    if _is(minval, 0) and _is(maxval, 1):
        return found
    low, high = (parameter(x, target, extents) for x in (minval, maxval))
    return found * (high - low) + low


def _is(value: Any, number: float) -> bool:
    return isinstance(value, (int, float)) and value == number


def normal(key: Any, shape: Any = (), dtype: Any = float32) -> Any:
    """Numbers of the standard normal distribution, by the method of Box and Muller."""
    target = float_dtype(dtype, "Normal")
    return draw(as_counter(key, "Normal"), shape, *normals(target, None), "Normal")


def _standard_normal(key: Any, shape: Shape, dtype: DType, op: str, stream: Any) -> Any:
    return draw(as_counter(key, op, stream), shape, *normals(dtype, None), op)


def truncated_normal(
    key: Any, lower: Any, upper: Any, shape: Any = None, dtype: Any = float32
) -> Any:
    """Numbers of the standard normal distribution that lie in [lower, upper], by the inverse of
    its distribution function; beyond 38 deviations the bound that is nearer to 0.
    """
    target = float_dtype(dtype, "TruncatedNormal")
    extents = shape_of(shape, "TruncatedNormal", lower, upper)
    zero, root = _number(0.0, float64), _number(pymath.sqrt(0.5), float64)
    # float64, and the side on which probabilities are small: there they are exact
    low, high = (parameter(x, float64, extents) for x in (lower, upper))
    mirrored = low + high > zero
    low, high = math.where(mirrored, -high, low), math.where(mirrored, -low, high)
    first, last = math.erfc(-low * root), math.erfc(-high * root)
    u = unit(key, extents, float64, "TruncatedNormal")
    found = special.erfcinv(first + (last - first) * u) / -root
    found = math.minimum(math.maximum(found, low), high)
    return math.cast(math.where(mirrored, -found, found), target)


@_narrowed_last
def exponential(key: Any, shape: Any = (), dtype: Any = float32) -> Any:
    """Numbers of the exponential distribution of rate 1."""
    target = float_dtype(dtype, "Exponential")
    return -math.log1p(-unit(key, shape, target, "Exponential"))


@_narrowed_last
def gumbel(key: Any, shape: Any = (), dtype: Any = float32) -> Any:
    """Numbers of the standard Gumbel distribution."""
    target = float_dtype(dtype, "Gumbel")
    u = _positive_unit(key, shape, target, "Gumbel")
    least = _number(_resolution(target) / 2, target)  # of the u that is 1
    return -math.log(math.maximum(-math.log(u), least))


@_narrowed_last
def laplace(key: Any, shape: Any = (), dtype: Any = float32) -> Any:
    """Numbers of the Laplace distribution of scale 1."""
    target = float_dtype(dtype, "Laplace")
    u = unit(key, shape, target, "Laplace") - _number(0.5, target)
    size = -math.log1p(_number(-2.0, target) * math.abs(u))
    largest = _number(-pymath.log(_resolution(target)), target)  # of the u that is -0.5
    return math.sign(u) * math.minimum(size, largest)


def _resolution(dtype: DType) -> float:
    """What numbers in [0, 1) are multiples of."""
    return 2.0**-52 if dtype is float64 else 2.0**-23


def _centred(key: Any, shape: Any, dtype: DType, op: str) -> Any:
    """Numbers in (0, 1), each in the middle of its step."""
    return unit(key, shape, dtype, op) + _number(_resolution(dtype) / 2, dtype)


@_narrowed_last
def logistic(key: Any, shape: Any = (), dtype: Any = float32) -> Any:
    """Numbers of the standard logistic distribution."""
    target = float_dtype(dtype, "Logistic")
    u = _centred(key, shape, target, "Logistic")
    return math.log(u) - math.log1p(-u)


@_narrowed_last
def cauchy(key: Any, shape: Any = (), dtype: Any = float32) -> Any:
    """Numbers of the standard Cauchy distribution."""
    target = float_dtype(dtype, "Cauchy")
    u = _centred(key, shape, target, "Cauchy") - _number(0.5, target)
    return math.tan(_number(pymath.pi, target) * u)


@_narrowed_last
def rayleigh(key: Any, scale: Any, shape: Any = None, dtype: Any = float32) -> Any:
    """Numbers of the Rayleigh distribution."""
    target, extents = float_dtype(dtype, "Rayleigh"), shape_of(shape, "Rayleigh", scale)
    e = exponential(key, extents, target)
    return parameter(scale, target, extents) * math.sqrt(_number(2.0, target) * e)


@_narrowed_last
def weibull_min(
    key: Any, scale: Any, concentration: Any, shape: Any = None, dtype: Any = float32
) -> Any:
    """Numbers of the Weibull distribution of minima."""
    target = float_dtype(dtype, "WeibullMin")
    extents = shape_of(shape, "WeibullMin", scale, concentration)
    power = _number(1.0, target) / parameter(concentration, target, extents)
    e = exponential(key, extents, target)
    return parameter(scale, target, extents) * math.pow(e, power)


@_narrowed_last
def pareto(key: Any, b: Any, shape: Any = None, dtype: Any = float32) -> Any:
    """Numbers of the Pareto distribution of shape parameter b, from 1 on."""
    target, extents = float_dtype(dtype, "Pareto"), shape_of(shape, "Pareto", b)
    return math.exp(exponential(key, extents, target) / parameter(b, target, extents))


@_narrowed_last
def lognormal(key: Any, sigma: Any = 1.0, shape: Any = None, dtype: Any = float32) -> Any:
    """The exponentials of normally distributed numbers of deviation sigma."""
    target, extents = float_dtype(dtype, "LogNormal"), shape_of(shape, "LogNormal", sigma)
    return math.exp(parameter(sigma, target, extents) * normal(key, extents, target))


@_narrowed_last
def maxwell(key: Any, shape: Any = (), dtype: Any = float32) -> Any:
    """Lengths of three normally distributed numbers."""
    target, extents = float_dtype(dtype, "Maxwell"), as_shape(shape, "Maxwell")
    return linalg.norm(normal(key, (*extents, 3), target), axis=-1)


@_narrowed_last
def double_sided_maxwell(
    key: Any, loc: Any, scale: Any, shape: Any = None, dtype: Any = float32
) -> Any:
    """Maxwell's distribution and its mirror image around loc."""
    target = float_dtype(dtype, "DoubleSidedMaxwell")
    extents = shape_of(shape, "DoubleSidedMaxwell", loc, scale)
    first, second = _two(key)
    half = _number(0.5, target)
    sides = math.sign(unit(first, extents, target, "DoubleSidedMaxwell") - half)
    sides = math.where(sides == _number(0.0, target), _number(1.0, target), sides)
    size = maxwell(second, extents, target) * parameter(scale, target, extents)
    return sides * size + parameter(loc, target, extents)


def _two(key: Any) -> tuple[Any, Any]:
    keys = split(key)
    return keys[0], keys[1]


@_narrowed_last
def triangular(
    key: Any, left: Any, mode: Any, right: Any, shape: Any = None, dtype: Any = float32
) -> Any:
    """Numbers of the triangular distribution over [left, right] with its peak at the mode."""
    target = float_dtype(dtype, "Triangular")
    extents = shape_of(shape, "Triangular", left, mode, right)
    low, peak, high = (parameter(x, target, extents) for x in (left, mode, right))
    u = unit(key, extents, target, "Triangular")
    width = high - low
    rising = low + math.sqrt(u * width * (peak - low))
    falling = high - math.sqrt((_number(1.0, target) - u) * width * (high - peak))
    return math.where(u * width < peak - low, rising, falling)


@_narrowed_last
def wald(key: Any, mean: Any, shape: Any = None, dtype: Any = float32) -> Any:
    """Numbers of the inverse Gaussian distribution of this mean and scale 1, by the method of
    J. R. Michael, W. R. Schucany and R. W. Haas, 1976.
    """
    target, extents = float_dtype(dtype, "Wald"), shape_of(shape, "Wald", mean)
    m = parameter(mean, target, extents)
    first, second = _two(key)
    y = m * math.square(normal(first, extents, target))
    one, half = _number(1.0, target), y / _number(2.0, target)
    # the smaller root, by the larger one: their product is 1
    x = m / (one + half + math.sqrt(half * (half + _number(2.0, target))))
    u = unit(second, extents, target, "Wald")
    return math.where(u * (m + x) <= m, x, math.square(m) / x)


# -- by rejection


class _Gamma(NamedTuple):
    """Numbers of the gamma distribution, in parts: d (1 + t)³ exp(boost).

    alpha: their concentrations; valid: where these are positive and finite
    """

    alpha: Any
    valid: Any
    d: Any
    t: Any
    boost: Any


# -3/4 + 3/5 t - 3/6 t² + ..., by which log1p(t) goes on beyond t³, times 3.
_SERIES = [(-1) ** (k + 1) * 3 / k for k in range(4, 15)]


def _gamma_parts(key: Any, a: Any, shape: Shape, dtype: DType, op: str) -> _Gamma:
    """By G. Marsaglia, W. W. Tsang, "A simple method for generating gamma variables", 2000."""
    zero, one = _number(0.0, dtype), _number(1.0, dtype)
    alpha = parameter(a, dtype, shape)
    valid = math.logical_and(alpha > zero, alpha < _number(pymath.inf, dtype))
    usual = math.where(valid, alpha, one)
    small = usual < one
    first, second = _two(key)
    d = math.where(small, usual + one, usual) - _number(1 / 3, dtype)
    c = one / math.sqrt(_number(9.0, dtype) * d)

    def attempt(turn: Any, found: Any, left: Any) -> tuple[Any, Any, Any]:
        x = _standard_normal(first, shape, dtype, op, turn * 2)
        u = _positive_unit(first, shape, dtype, op, turn * 2 + 1)
        t = c * x
        inside = t > -one
        inner = math.where(inside, t, zero)
        taken = math.logical_and(inside, math.log(u) < d * _beyond_cubes(inner, dtype))
        taken = math.logical_and(taken, left)
        now = math.where(taken, t, found)
        return turn + 1, now, math.logical_and(left, math.logical_not(taken))

    t = tries(attempt, d * zero, valid)
    boost = math.log(_positive_unit(second, shape, dtype, op)) / usual
    return _Gamma(alpha, valid, d, t, math.where(small, boost, zero))


def _beyond_cubes(t: Any, dtype: DType) -> Any:
    """3 log1p(t) - 3 t + 1.5 t² - t³: what is left of the method's bound, in which all else
    cancels. By its series near 0, where the difference would be lost.
    """
    series = _number(_SERIES[-1], dtype)
    for coefficient in reversed(_SERIES[:-1]):
        series = series * t + _number(coefficient, dtype)
    square = math.square(t)
    cubes = t * (_number(-3.0, dtype) + t * (_number(1.5, dtype) - t))
    far = _number(3.0, dtype) * math.log1p(t) + cubes
    return math.where(math.abs(t) < _number(0.1, dtype), series * math.square(square), far)


def _of_valid(found: Any, parts: _Gamma, dtype: DType) -> Any:
    """What was found; infinity for infinite concentrations, NaN where they aren't positive."""
    limit = math.where(
        parts.alpha == _number(pymath.inf, dtype), parts.alpha, _number(pymath.nan, dtype)
    )
    return math.where(parts.valid, found, limit)


@_narrowed_last
def loggamma(key: Any, a: Any, shape: Any = None, dtype: Any = float32) -> Any:
    """Logarithms of numbers of the gamma distribution, exact where those are too small for the
    dtype. NaN where a isn't positive.
    """
    target, extents = float_dtype(dtype, "LogGamma"), shape_of(shape, "LogGamma", a)
    parts = _gamma_parts(key, a, extents, target, "LogGamma")
    found = math.log(parts.d) + _number(3.0, target) * math.log1p(parts.t) + parts.boost
    return _of_valid(found, parts, target)


def tries(attempt: Any, start: Any, left: Any) -> Any:
    """What the tries of a rejection method give. attempt: of the number of the try, what is
    found and which elements are left to find; it gives these anew.
    """
    state = (as_tensor(0), start, left)
    return loops.while_loop(
        lambda turn, found, left: math.logical_and(turn < MAX_TRIES, reduce_any(left)),
        attempt,
        state,
    )[1]


@_narrowed_last
def gamma(key: Any, a: Any, shape: Any = None, dtype: Any = float32) -> Any:
    """Numbers of the gamma distribution of concentration a and rate 1. NaN where a isn't
    positive.
    """
    target, extents = float_dtype(dtype, "Gamma"), shape_of(shape, "Gamma", a)
    parts = _gamma_parts(key, a, extents, target, "Gamma")
    root = _number(1.0, target) + parts.t
    return _of_valid(parts.d * (root * root * root) * math.exp(parts.boost), parts, target)


@_narrowed_last
def chisquare(key: Any, df: Any, shape: Any = None, dtype: Any = float32) -> Any:
    """Numbers of the chi-squared distribution of df degrees of freedom."""
    target, extents = float_dtype(dtype, "ChiSquare"), shape_of(shape, "ChiSquare", df)
    half = parameter(df, target, extents) / _number(2.0, target)
    return _number(2.0, target) * gamma(key, half, extents, target)


@_narrowed_last
def t(key: Any, df: Any, shape: Any = (), dtype: Any = float32) -> Any:
    """Numbers of Student's t-distribution of df degrees of freedom."""
    target = float_dtype(dtype, "StudentT")
    extents = shape_of(None if shape == () else shape, "StudentT", df)
    first, second = _two(key)
    half = parameter(df, target, extents) / _number(2.0, target)
    g = gamma(second, half, extents, target)
    return normal(first, extents, target) * math.sqrt(half / g)


@_narrowed_last
def f(key: Any, dfnum: Any, dfden: Any, shape: Any = None, dtype: Any = float32) -> Any:
    """Numbers of the F-distribution."""
    target, extents = float_dtype(dtype, "F"), shape_of(shape, "F", dfnum, dfden)
    above, below = (parameter(x, float64, extents) for x in (dfnum, dfden))
    half = _number(0.5, float64)
    quotient = _log_quotient(key, above * half, below * half, extents)
    return math.cast(math.exp(quotient) * (below / above), target)


def _log_quotient(key: Any, a: Any, b: Any, shape: Shape) -> Any:
    """The logarithm of the quotient of two numbers of gamma distributions, float64: both may be
    too small for any dtype, and their quotient isn't.
    """
    first, second = _two(key)
    return loggamma(first, a, shape, float64) - loggamma(second, b, shape, float64)


@_narrowed_last
def beta(key: Any, a: Any, b: Any, shape: Any = None, dtype: Any = float32) -> Any:
    """Numbers of the beta distribution."""
    target, extents = float_dtype(dtype, "Beta"), shape_of(shape, "Beta", a, b)
    return math.cast(math.sigmoid(_log_quotient(key, a, b, extents)), target)


@_narrowed_last
def dirichlet(key: Any, alpha: Any, shape: Any = None, dtype: Any = float32) -> Any:
    """Numbers of the Dirichlet distribution: [shape..., n] for alpha [..., n]; 0 for an alpha
    of 0.

    Raises InvalidArgumentError for an alpha without axes.
    """
    target, x = float_dtype(dtype, "Dirichlet"), as_tensor(alpha)
    if not x.ndim:
        raise InvalidArgumentError(at_user_line("alpha has no axis [Op:Dirichlet]"))
    batch = x.type.shape[:-1] if shape is None else as_shape(shape, "Dirichlet")
    extents = (*batch, x.type.shape[-1])
    wide = parameter(x, float64, extents)
    never = wide == _number(0.0, float64)
    logs = loggamma(key, wide, extents, float64)
    logs = math.where(never, _number(-pymath.inf, float64), logs)
    return math.cast(math.exp(logs - reduce_logsumexp(logs, axis=-1, keepdims=True)), target)


@_narrowed_last
def multivariate_normal(
    key: Any,
    mean: Any,
    cov: Any,
    shape: Any = None,
    dtype: Any = None,
    method: str = "cholesky",
) -> Any:
    """Vectors of a normal distribution: [shape..., n] for a mean [..., n] and a covariance
    [..., n, n]. method: "cholesky", "eigh" or "svd".

    Raises InvalidArgumentError for other methods and for shapes that don't fit.
    """
    target = float_dtype(dtype or _float_of(mean), "MultivariateNormal")
    centre, matrix = parameter(mean, target), parameter(cov, target)
    if (
        not centre.ndim
        or matrix.ndim < 2
        or matrix.type.shape[-2:] != 2 * centre.type.shape[-1:]
    ):
        raise InvalidArgumentError(
            at_user_line(
                f"a mean of shape {list(centre.type.shape)} and a covariance of shape "
                f"{list(matrix.type.shape)} [Op:MultivariateNormal]"
            )
        )
    given = centre.type.shape[:-1], matrix.type.shape[:-2]
    batch = broadcast_shapes(given, "MultivariateNormal")
    if shape is not None:
        wanted = as_shape(shape, "MultivariateNormal")
        if broadcast_shapes((wanted, batch), "MultivariateNormal") != wanted:
            raise InvalidArgumentError(
                at_user_line(
                    f"parameters of shape {list(batch)} for the shape {list(wanted)} "
                    "[Op:MultivariateNormal]"
                )
            )
        batch = wanted
    if method == "cholesky":
        factor = linalg.cholesky(matrix)
    elif method == "eigh":
        values, vectors = linalg.eigh(matrix)
        # of a singular matrix some are below 0 by rounding
        positive = math.maximum(values, _number(0.0, target))
        factor = vectors * expand_dims(math.sqrt(positive), -2)
    elif method == "svd":
        s, u, _ = linalg.svd(matrix)
        factor = u * expand_dims(math.sqrt(s), -2)
    else:
        raise InvalidArgumentError(
            at_user_line(
                f"method is cholesky, eigh or svd, not {method!r} [Op:MultivariateNormal]"
            )
        )
    z = normal(key, (*batch, centre.type.shape[-1]), target)
    return centre + reduce_sum(factor * expand_dims(z, -2), -1)


def _float_of(x: Any) -> DType:
    dtype = as_tensor(x).dtype if isinstance(x, (TensorBase, np.ndarray)) else float32
    return dtype if dtype.kind == "f" else float32
