"""Draws from discrete distributions, by keys. Names and arguments are JAX's.

Parameters broadcast with one another; a `shape` of None is the shape that they have.
"""

from __future__ import annotations

import math as pymath
from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import (
    DType,
    as_dtype,
    as_int,
    float32,
    float64,
    int32,
    int64,
    normalize_axis,
    shape_text,
    uint64,
)
from graphjit.functions import index, math, sorting
from graphjit.functions.reduce import argmax, cumsum
from graphjit.functions.shape import as_shape, broadcast_to, moveaxis, reshape
from graphjit.functions.special import lgamma
from graphjit.ops import library
from graphjit.tensors.apply import apply, as_tensor, wrap

from .continuous import gumbel, parameter, shape_of, tries, unit
from .keys import as_counter, bits
from .words import as_uint64, draw, known_int, words64

# Means from here on are drawn by rejection, smaller ones by adding up probabilities.
_BY_REJECTION = 10.0


def _integer(dtype: Any, op: str) -> DType:
    found = as_dtype(dtype)
    if found.kind not in "iu":
        raise InvalidArgumentError(
            at_user_line(f"dtype is an integer one, not {found.name} [Op:{op}]")
        )
    return found


def _float64(value: float) -> Any:
    return as_tensor(value, float64)


def randint(key: Any, shape: Any, minval: Any, maxval: Any, dtype: Any = int32) -> Any:
    """Integers spread evenly over [minval, maxval), by 64 random bits each: no integer is more
    likely than another by more than (maxval - minval) / 2**64.

    minval, maxval: integers, broadcast to `shape`; where maxval isn't larger, minval is what
    comes. Of tensors, what the dtype can't hold is its least or largest. Raises
    InvalidArgumentError for numbers that it can't hold.
    """
    target, extents = _integer(dtype, "RandInt"), as_shape(shape, "RandInt")
    low, high, above = _bounds(minval, maxval, target)
    span = math.maximum((high - low) * above, as_uint64(1))
    counter, half = as_counter(key, "RandInt"), np.uint64(32)
    first, last = known_int(minval), known_int(maxval)
    if target.bits <= 32 or (first is not None and last is not None and last - first <= 2**32):
        word = draw(counter, extents, 2, words64, "RandInt")
        # the upper 64 bits of a product of 64 and 32
        upper, lower = word >> half, word & np.uint64(0xFFFFFFFF)
        offset = (upper * span + ((lower * span) >> half)) >> half
    else:
        word = bits(key, extents, uint64)
        whole = math.logical_and(high == low, above == as_uint64(1))  # 2**64 integers
        offset = math.where(whole, word, math.floormod(word, span))
    found = low + offset
    if target.kind == "i":
        found = math.bitcast(found, int64)
    found = math.cast(found, target)
    return found if found.type.shape == extents else broadcast_to(found, extents)


def _bounds(minval: Any, maxval: Any, dtype: DType) -> tuple[Any, Any, Any]:
    """randint's bounds modulo 2**64, and 1 where the upper one is larger, else 0; as uint64."""
    first, last = (_checked_bound(x, dtype) for x in (minval, maxval))
    wide = uint64 if dtype.kind == "u" else int64
    if isinstance(first, int) and isinstance(last, int):
        above = as_uint64(int(last > first))
    elif isinstance(last, int) and last > np.iinfo(wide.dtype).max:
        above = as_uint64(1)
    else:
        low, high = (
            wrap(np.array(x, wide.dtype)) if isinstance(x, int) else x for x in (first, last)
        )
        above = math.cast(math.greater(high, low), uint64)

    def modular(x: Any) -> Any:
        if isinstance(x, int):
            return as_uint64(x & 0xFFFF_FFFF_FFFF_FFFF)
        return x if x.dtype is uint64 else math.bitcast(x, uint64)

    return modular(first), modular(last), above


def _checked_bound(value: Any, dtype: DType) -> Any:
    """A bound as an int, or as a tensor, int64 or uint64, of bounds that the dtype can have.

    InvalidArgumentError for a number that is none.
    """
    limits = np.iinfo(dtype.dtype)
    least, most = int(limits.min), int(limits.max) + 1  # the upper one is exclusive
    known = known_int(value)
    if known is not None:
        if not least <= known <= most:
            raise InvalidArgumentError(at_user_line(f"{known} is no {dtype.name} [Op:RandInt]"))
        return known
    x = as_tensor(value)
    if x.dtype.kind not in "iu":
        raise InvalidArgumentError(
            at_user_line(f"bounds are integers, not {x.dtype.name} [Op:RandInt]")
        )
    wide = uint64 if dtype.kind == "u" else int64
    if x.dtype.kind != dtype.kind:  # what the other kind of integers hasn't
        x = math.maximum(x, as_tensor(0, x.dtype)) if dtype.kind == "u" else x
        if x.dtype is uint64:
            x = math.minimum(x, as_tensor(2**63 - 1, uint64))
    x = math.cast(x, wide)
    if dtype.bits == 64:
        return x
    return math.minimum(math.maximum(x, as_tensor(least, wide)), as_tensor(most, wide))


def bernoulli(key: Any, p: Any = 0.5, shape: Any = None) -> Any:
    """Bools that are true with probability p."""
    chance = as_tensor(p)
    # the few bits of narrow floats are too coarse for small chances
    dtype = float64 if chance.dtype is float64 else float32
    extents = shape_of(shape, "Bernoulli", chance)
    return unit(key, extents, dtype, "Bernoulli") < parameter(chance, dtype, extents)


def rademacher(key: Any, shape: Any = (), dtype: Any = int32) -> Any:
    """1 or -1, evenly."""
    found = unit(key, shape, float32, "Rademacher") < np.float32(0.5)
    target = as_dtype(dtype)
    if target.kind in "bu":
        raise InvalidArgumentError(
            at_user_line(f"dtype is a signed one, not {target.name} [Op:Rademacher]")
        )
    return math.where(found, as_tensor(1, target), as_tensor(-1, target))


def geometric(key: Any, p: Any, shape: Any = None, dtype: Any = int32) -> Any:
    """How many trials of success probability p come to the first success; -1 where p isn't in
    (0, 1] (the largest of unsigned integers). Numbers beyond the dtype's largest are that.
    """
    target, extents = _integer(dtype, "Geometric"), shape_of(shape, "Geometric", p)
    chance, one = parameter(p, float64, extents), _float64(1.0)
    valid = math.logical_and(chance > _float64(0.0), chance <= one)
    u = one - unit(key, extents, float64, "Geometric")
    found = math.ceil(math.log(u) / math.log1p(-math.where(valid, chance, one)))
    return _as_integers(math.maximum(found, one), valid, target)


def _as_integers(found: Any, valid: Any, dtype: DType) -> Any:
    """Whole numbers as integers: -1 where they aren't valid, the dtype's largest beyond it."""
    limit = int(np.iinfo(dtype.dtype).max)
    largest = float(limit) if float(limit) <= limit else float(np.nextafter(float(limit), 0))
    found = math.minimum(found, _float64(largest))
    if dtype.kind == "u":  # which have no -1
        return math.where(valid, math.cast(found, dtype), as_tensor(limit, dtype))
    return math.cast(math.where(valid, found, _float64(-1.0)), dtype)


def poisson(key: Any, lam: Any, shape: Any = None, dtype: Any = int32) -> Any:
    """Numbers of the Poisson distribution; -1 (the largest of unsigned integers) where lam is
    negative or NaN. Numbers beyond the dtype's largest are that. Means from 1e13 on are too
    large for float64's logarithms.

    Small means by adding up probabilities, from 10 on by W. Hörmann, "The transformed rejection
    method for generating Poisson random variables", 1993 (PTRS).
    """
    target, extents = _integer(dtype, "Poisson"), shape_of(shape, "Poisson", lam)
    mean = parameter(lam, float64, extents)
    valid = mean >= _float64(0.0)
    large = mean >= _float64(_BY_REJECTION)
    small = math.logical_and(valid, math.logical_not(large))
    few = math.where(small, mean, _float64(0.0))
    counted = _added_up(
        key, extents, math.exp(-few), lambda k: few / k, _float64(float("inf")), "Poisson"
    )
    rejected = _poisson_by_rejection(
        key, extents, math.where(large, mean, _float64(_BY_REJECTION)), large
    )
    found = math.where(large, rejected, counted)
    return _as_integers(found, valid, target)


def _added_up(key: Any, shape: Any, first: Any, ratio: Any, most: Any, op: str) -> Any:
    """The numbers up to which probabilities add up to a number in [0, 1).

    first: the probability of 0. ratio: of k, by what that of k is that of k - 1. most: where to
    stop
    """
    u = unit(key, shape, float64, op)

    def attempt(turn: Any, state: Any, left: Any) -> Any:
        count, probability, total = state
        k = math.cast(turn + 1, float64)
        probability = probability * ratio(k)
        now = math.where(left, k, count)
        total = total + probability
        more = math.logical_and(u >= total, probability > _float64(0.0))
        more = math.logical_and(more, k < most)
        return turn + 1, (now, probability, total), math.logical_and(left, more)

    start = (first * _float64(0.0), first, first)
    left = math.logical_and(u >= first, _float64(0.0) < most)
    return tries(attempt, start, left)[0]


def _poisson_by_rejection(key: Any, shape: Any, mean: Any, wanted: Any) -> Any:
    log_mean = math.log(mean)
    b = _float64(0.931) + _float64(2.53) * math.sqrt(mean)
    a = _float64(-0.059) + _float64(0.02483) * b
    inverse_alpha = _float64(1.1239) + _float64(1.1328) / (b - _float64(3.4))
    sure = _float64(0.9277) - _float64(3.6224) / (b - _float64(2.0))

    def attempt(turn: Any, found: Any, left: Any) -> Any:
        u = unit(key, shape, float64, "Poisson", turn * 2 + 1) - _float64(0.5)
        v = unit(key, shape, float64, "Poisson", turn * 2 + 2)
        us = _float64(0.5) - math.abs(u)
        k = math.floor((_float64(2.0) * a / us + b) * u + mean + _float64(0.43))
        at_once = math.logical_and(us >= _float64(0.07), v <= sure)
        possible = math.logical_and(us >= _float64(0.013), k >= _float64(0.0))
        narrow = math.logical_and(us < _float64(0.013), v <= us)
        possible = math.logical_or(possible, math.logical_and(narrow, k >= _float64(0.0)))
        usual = math.where(possible, k, _float64(0.0))
        height = math.log(v * inverse_alpha / (a / math.square(us) + b))
        fits = height <= usual * log_mean - mean - lgamma(usual + _float64(1.0))
        taken = math.logical_or(at_once, math.logical_and(possible, fits))
        taken = math.logical_and(taken, left)
        return turn + 1, math.where(taken, k, found), _without(left, taken)

    return tries(attempt, mean, wanted)


def _without(left: Any, taken: Any) -> Any:
    return math.logical_and(left, math.logical_not(taken))


def binomial(key: Any, n: Any, p: Any, shape: Any = None, dtype: Any = float32) -> Any:
    """How many of n trials of success probability p succeed, as numbers of a dtype; NaN, or -1
    of integers, where n is negative or p isn't in [0, 1]. n is below 1e13.

    Small means by adding up probabilities, from 10 on by W. Hörmann, "The generation of
    binomial random variates", 1993 (BTRS).
    """
    target, extents = as_dtype(dtype), shape_of(shape, "Binomial", n, p)
    zero, one = _float64(0.0), _float64(1.0)
    count, chance = parameter(n, float64, extents), parameter(p, float64, extents)
    count = math.floor(count)
    valid = math.logical_and(chance >= zero, chance <= one)
    valid = math.logical_and(valid, count >= zero)
    count, chance = math.where(valid, count, zero), math.where(valid, chance, zero)
    mirrored = chance > _float64(0.5)
    chance = math.where(mirrored, one - chance, chance)
    large = count * chance >= _float64(_BY_REJECTION)
    few, rare = math.where(large, zero, count), math.where(large, zero, chance)
    odds = rare / (one - rare)
    counted = _added_up(
        key,
        extents,
        math.exp(few * math.log1p(-rare)),
        lambda k: (few - k + one) / k * odds,
        few,
        "Binomial",
    )
    half = _float64(0.5)
    rejected = _binomial_by_rejection(
        key,
        extents,
        math.where(large, count, _float64(40.0)),
        math.where(large, chance, half),
        large,
    )
    found = math.where(large, rejected, counted)
    found = math.where(mirrored, count - found, found)
    missing = _float64(pymath.nan if target.kind == "f" else -1.0)
    return math.cast(math.where(valid, found, missing), target)


def _binomial_by_rejection(key: Any, shape: Any, n: Any, p: Any, wanted: Any) -> Any:
    one = _float64(1.0)
    deviation = math.sqrt(n * p * (one - p))
    b = _float64(1.15) + _float64(2.53) * deviation
    a = _float64(-0.0873) + _float64(0.0248) * b + _float64(0.01) * p
    centre = n * p + _float64(0.5)
    sure = _float64(0.92) - _float64(4.2) / b
    alpha = (_float64(2.83) + _float64(5.1) / b) * deviation
    mode = math.floor((n + one) * p)
    log_odds = math.log(p / (one - p))
    height = lgamma(mode + one) + lgamma(n - mode + one)

    def attempt(turn: Any, found: Any, left: Any) -> Any:
        u = unit(key, shape, float64, "Binomial", turn * 2 + 1) - _float64(0.5)
        v = unit(key, shape, float64, "Binomial", turn * 2 + 2)
        us = _float64(0.5) - math.abs(u)
        k = math.floor((_float64(2.0) * a / us + b) * u + centre)
        inside = math.logical_and(k >= _float64(0.0), k <= n)
        at_once = math.logical_and(us >= _float64(0.07), v <= sure)
        usual = math.where(inside, k, mode)
        bound = height - lgamma(usual + one) - lgamma(n - usual + one)
        bound = bound + (usual - mode) * log_odds
        fits = math.log(v * alpha / (a / math.square(us) + b)) <= bound
        taken = math.logical_and(inside, math.logical_or(at_once, fits))
        taken = math.logical_and(taken, left)
        return turn + 1, math.where(taken, k, found), _without(left, taken)

    return tries(attempt, n, wanted)


def categorical(
    key: Any, logits: Any, axis: int = -1, shape: Any = None, replace: bool = True
) -> Any:
    """Indices along an axis, int32, by unnormalised logarithms of probabilities.

    shape: that of the result, which ends with the shape of logits without the axis. replace:
    whether the same index may come again along the leading axes of `shape`. Raises
    InvalidArgumentError for a shape that doesn't fit.
    """
    x = as_tensor(logits)
    dtype = x.dtype if x.dtype.kind == "f" else float32
    x = parameter(x, dtype)
    k = normalize_axis(axis, x.ndim, "Categorical")
    batch = x.type.shape[:k] + x.type.shape[k + 1 :]
    extents = batch if shape is None else as_shape(shape, "Categorical")
    leading = extents[: len(extents) - len(batch)]
    if len(extents) < len(batch) or extents[len(leading) :] != batch:
        raise InvalidArgumentError(
            at_user_line(
                f"shape {shape_text(extents)} doesn't end with {shape_text(batch)}, that of "
                f"the logits without axis {k} [Op:Categorical]"
            )
        )
    if not replace:
        return _without_replacement(key, x, k, leading)
    whole = (*leading, *x.type.shape)
    noisy = gumbel(key, whole, dtype) + x
    return argmax(noisy, axis=len(leading) + k, output_type=int32)


def _without_replacement(key: Any, x: Any, axis: int, leading: Any) -> Any:
    count, choices = pymath.prod(leading), x.type.shape[axis]
    if count > choices:
        raise InvalidArgumentError(
            at_user_line(f"{count} of {choices} without replacement [Op:Categorical]")
        )
    noisy = gumbel(key, x.type.shape, x.dtype) + x
    order = sorting.argsort(noisy, axis=axis, direction="DESCENDING")
    moved = moveaxis(order, axis, 0)[:count]
    return reshape(moved, (*leading, *moved.type.shape[1:]))


def permutation(key: Any, x: Any, axis: int = 0, independent: bool = False) -> Any:
    """An array with its rows along an axis in random order, or the numbers below an int.

    independent: whether each line along the axis has an order of its own
    """
    if isinstance(x, int) or (not isinstance(x, (list, tuple)) and not as_tensor(x).ndim):
        count = as_int(x, "x", "Permutation")  # the order is the permutation
        return _order(bits(key, (count,), uint64), 0)
    values = as_tensor(x)
    k = normalize_axis(axis, values.ndim, "Permutation")
    if independent:
        order = _order(bits(key, values.type.shape, uint64), k)
        return index.take_along_axis(values, order, axis=k)
    order = _order(bits(key, (values.type.shape[k],), uint64), 0)
    return index.gather(values, order, axis=k)


def _order(words: Any, axis: int) -> Any:
    """The indices, int32, that sort random words: two of 64 bits are hardly ever equal."""
    return math.cast(apply(library.argsort, words, axis=axis, kind="quicksort"), int32)


def choice(
    key: Any, a: Any, shape: Any = (), replace: bool = True, p: Any = None, axis: int = 0
) -> Any:
    """Rows of an array along an axis, or numbers below an int, chosen at random.

    p: how likely each one is, up to a factor. Numbers are int32. Raises InvalidArgumentError
    where there is nothing to choose from, or too little without replacement.
    """
    extents, whole = as_shape(shape, "Choice"), isinstance(a, int)
    values = None if whole else as_tensor(a)
    if values is not None and not values.ndim:
        whole, a, values = True, as_int(a, "a", "Choice"), None
    k = 0 if values is None else normalize_axis(axis, values.ndim, "Choice")
    choices = a if values is None else values.type.shape[k]
    count = pymath.prod(extents)
    if count and (choices <= 0 or (not replace and count > choices)):
        raise InvalidArgumentError(
            at_user_line(
                f"{count} of {choices}{'' if replace else ' without replacement'} [Op:Choice]"
            )
        )
    if p is None and replace:
        found = randint(key, extents, 0, choices)
    elif p is None:
        found = reshape(permutation(key, choices)[:count], extents)
    else:
        found = _chosen_by(key, p, choices, extents, replace)
    return found if values is None else index.gather(values, found, axis=k)


def _chosen_by(key: Any, p: Any, choices: int, shape: Any, replace: bool) -> Any:
    chances = as_tensor(p)
    dtype = chances.dtype if chances.dtype in (float32, float64) else float32
    chances = parameter(chances, dtype)
    if chances.type.shape != (choices,):
        raise InvalidArgumentError(
            at_user_line(
                f"p has the shape {shape_text(chances.type.shape)}, not [{choices}] [Op:Choice]"
            )
        )
    _require_chances(chances, 1 if replace else pymath.prod(shape))
    if not replace:
        return categorical(key, math.log(chances), shape=shape, replace=False)
    bounds = cumsum(math.cast(chances, float64))
    u = unit(key, shape, float64, "Choice") * bounds[-1]
    found = sorting.searchsorted(bounds, reshape(u, (-1,)), side="right")
    found = math.minimum(math.cast(found, int64), math.cast(as_tensor(choices - 1), int64))
    return math.cast(reshape(found, shape), int32)


def _require_chances(chances: Any, count: int) -> None:
    """InvalidArgumentError for chances, known now, of which too few can be chosen."""
    if chances.recorder is not None:
        return
    known = chances.numpy()
    if not (known >= 0).all() or not np.isfinite(known).all():
        raise InvalidArgumentError(
            at_user_line("p has negative numbers, or such as aren't finite [Op:Choice]")
        )
    if np.count_nonzero(known) < count:
        raise InvalidArgumentError(
            at_user_line(f"only {np.count_nonzero(known)} of p are above 0 [Op:Choice]")
        )


__all__ = [
    "bernoulli", "binomial", "categorical", "choice", "geometric", "permutation", "poisson",
    "rademacher", "randint",
]  # fmt: skip
