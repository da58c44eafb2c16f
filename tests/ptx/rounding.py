"""How far a computation in a narrow type may be from the exact one: a bound, derived along the
way.

The standard model of rounding (Higham, Accuracy and Stability of Numerical Algorithms, 2002,
§2.2 and §3.1): each operation gives its exact result times 1 + d, |d| <= u, and a sum of n
terms in any order is off by at most (1 + u)^(n - 1) - 1 of the sum of the terms' sizes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tolerance import EPSILON, SPACING

from graphjit.core.types import as_dtype

Wide = np.longdouble
Array = np.ndarray[Any, Any]
# What the wide numbers that stand for exact ones lose themselves.
SLACK = 1 + 2.0**-8
# Functions of the table are within one unit in the last place: twice u.
ULP = 2


class Rounded:
    """What exact arithmetic gives, and how far the same in `dtype` may be from it. Sums of
    narrow floats are made in float32, and rounded once.
    """

    __array_priority__ = 100

    def __init__(self, value: Any, error: Any = 0.0, dtype: Any = None) -> None:
        self.dtype = np.dtype(dtype if dtype is not None else value.dtype)
        self.value = np.asarray(value, Wide)
        self.error = np.broadcast_to(np.asarray(error, Wide), self.value.shape)
        name = as_dtype(self.dtype).name
        self.unit, self.least = Wide(EPSILON[name]) / 2, Wide(SPACING[name])

    def _new(self, value: Any, error: Any, roundings: int = 1) -> Rounded:
        value, error = np.asarray(value, Wide), np.asarray(error, Wide)
        lost = roundings * (self.unit * (np.abs(value) + error) + self.least)
        return Rounded(value, (error + lost) * SLACK, self.dtype)

    def _pair(self, other: Any) -> tuple[Rounded, Rounded]:
        """This and the other, in the type that NumPy's rules make of both."""
        one = np.ones(1, self.dtype)
        if isinstance(other, Rounded):
            dtype = (one + np.ones(1, other.dtype)).dtype
            return self._as(dtype), other._as(dtype)
        assert isinstance(other, (int, float)), other
        dtype = (one + other).dtype
        return self._as(dtype), Rounded(np.asarray(other).astype(dtype))

    def _as(self, dtype: Any) -> Rounded:
        """The same in a wider type."""
        return Rounded(self.value, self.error, dtype)

    # -- element by element

    def __add__(self, other: Any) -> Rounded:
        a, b = self._pair(other)
        return a._new(a.value + b.value, a.error + b.error)

    def __sub__(self, other: Any) -> Rounded:
        a, b = self._pair(other)
        return a._new(a.value - b.value, a.error + b.error)

    def __rsub__(self, other: Any) -> Rounded:
        return -(self - other)

    def __mul__(self, other: Any) -> Rounded:
        a, b = self._pair(other)
        error = np.abs(a.value) * b.error + np.abs(b.value) * a.error
        return a._new(a.value * b.value, error + a.error * b.error)

    __radd__, __rmul__ = __add__, __mul__

    def __truediv__(self, other: Any) -> Rounded:
        a, b = self._pair(other)
        assert (np.abs(b.value) > b.error).all(), "the divisor may be zero"
        quotient = a.value / b.value
        error = (a.error + np.abs(quotient) * b.error) / (np.abs(b.value) - b.error)
        return a._new(quotient, error)

    def __neg__(self) -> Rounded:
        return Rounded(-self.value, self.error, self.dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Rounded:
        assert method == "__call__" and not kwargs
        if ufunc is np.maximum:
            a, b = self._pair(args[1])
            error = np.maximum(a.error, b.error)
            return Rounded(np.maximum(a.value, b.value), error, a.dtype)
        assert ufunc in (np.exp, np.log, np.tanh, np.sqrt), ufunc  # which only rise
        x, e = self.value, self.error
        assert ufunc not in (np.log, np.sqrt) or (x >= e).all()
        value = ufunc(x)
        error = np.maximum(ufunc(x + e) - value, value - ufunc(x - e))
        return self._new(value, error, 1 if ufunc is np.sqrt else ULP)

    # -- of many elements

    def _summed(self, value: Any, sizes: Any, error: Any, additions: Any) -> Rounded:
        """Sums made in float32 or wider, then rounded. sizes: the sums of the terms' sizes."""
        lost = np.expm1(additions * np.log1p(min(self.unit, Wide(2.0**-24)))) * sizes
        return self._new(value, (error + lost) * SLACK)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Rounded:
        value, error = (x.sum(axis, keepdims=keepdims) for x in (self.value, self.error))
        sizes = np.abs(self.value).sum(axis, keepdims=keepdims) + error
        terms = np.maximum(self.value.size // max(1, value.size) - 1, 0)
        return self._summed(value, sizes, error, terms)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Rounded:
        total = self.sum(axis, keepdims)
        count = Wide(self.value.size // max(1, total.value.size))
        return total._new(total.value / count, total.error / count, 2)  # the count's, too

    def var(self, axis: Any = None, keepdims: bool = False) -> Rounded:
        apart = self - self.mean(axis, True)
        return (apart * apart).mean(axis, keepdims)

    def std(self, axis: Any = None, keepdims: bool = False) -> Rounded:
        found: Any = np.sqrt(self.var(axis, keepdims))  # type: ignore[call-overload]
        return found  # type: ignore[no-any-return]

    def max(self, axis: Any = None, keepdims: bool = False) -> Rounded:
        value, error = (x.max(axis, keepdims=keepdims) for x in (self.value, self.error))
        return Rounded(value, error, self.dtype)

    def min(self, axis: Any = None, keepdims: bool = False) -> Rounded:
        return -((-self).max(axis, keepdims))

    def cumsum(self, axis: int) -> Rounded:
        value, error = np.cumsum(self.value, axis), np.cumsum(self.error, axis)
        terms = np.cumsum(np.ones_like(value), axis) - 1
        return self._summed(value, np.cumsum(np.abs(self.value), axis) + error, error, terms)

    def __matmul__(self, other: Any) -> Rounded:
        """Terms with an exact zero add exactly; a product of narrow floats is in float32."""
        one = np.ones((1, 1), self.dtype)
        a, b = self._as((one @ one).dtype), other
        value = a.value @ b.value
        error = np.abs(a.value) @ b.error + a.error @ (np.abs(b.value) + b.error)
        sizes = np.abs(a.value) @ np.abs(b.value) + error
        terms = (a.value != 0).astype(Wide) @ (b.value != 0).astype(Wide)
        return a._summed(value, sizes, error, terms)

    def added_at(self, places: Array, updates: Rounded) -> Rounded:
        """Rows with others added to them one by one, each sum rounded to the type."""
        value, sizes, count = self.value.copy(), np.abs(self.value), np.zeros(len(self.value))
        np.add.at(value, places, updates.value)
        np.add.at(sizes, places, np.abs(updates.value))
        np.add.at(count, places, 1)
        lost = np.expm1(count * np.log1p(self.unit)).reshape(-1, *[1] * (value.ndim - 1))
        return Rounded(value, (lost * sizes + self.least) * SLACK, self.dtype)

    # -- places

    @property
    def T(self) -> Rounded:
        return Rounded(self.value.T, self.error.T, self.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def swapaxes(self, first: int, second: int) -> Rounded:
        value, error = (x.swapaxes(first, second) for x in (self.value, self.error))
        return Rounded(value, error, self.dtype)

    def __getitem__(self, index: Any) -> Rounded:
        return Rounded(self.value[index], self.error[index], self.dtype)


def assert_within(actual: Array, wanted: Rounded) -> None:
    """Fail unless each element is as near to the exact one as it must be."""
    assert actual.dtype == wanted.dtype and actual.shape == wanted.value.shape
    off = np.abs(actual.astype(Wide) - wanted.value)
    bad = ~(off <= wanted.error)
    if bad.any():
        place = tuple(np.argwhere(bad)[0])
        raise AssertionError(
            f"{int(bad.sum())} of {bad.size} elements; the first, {place}, is {actual[place]}, "
            f"not {wanted.value[place]} to {wanted.error[place]}"
        )
