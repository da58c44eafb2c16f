"""What an extent does as an int: arithmetic, comparisons, conversions (see `dims.py`)."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .errors import LeakedTracerError, at_user_line
from .size_facts import Facts, Terms, added, constant_of, divided, multiplied, scaled

# The length of the names of a polynomial's atoms above which a function being traced computes
# with numbers.
_LONGEST = 400


class Undecided(Exception):
    """A question about sizes whose answer depends on them, where no guard can be noted."""


class _Context(Protocol):
    """What operators need of `Sizes`."""

    recording: bool
    facts: Facts
    traced: Callable[[Any], Any] | None

    def made(self, terms: Terms) -> Any:
        """The extent of these terms."""

    def note(self, left: int, relation: str) -> None:
        """Assume something of the sizes."""


class DimOperators(int if TYPE_CHECKING else object):  # type: ignore[misc]
    """The operators of a `Dim`, over its polynomial and the sizes that it belongs to.

    terms: the polynomial
    """

    __slots__ = ()

    sizes: _Context
    terms: Terms

    if TYPE_CHECKING:

        @property
        def hint(self) -> int:
            """Its value for the sizes at hand."""

        def bounds(self) -> tuple[int, int]:
            """Numbers between which it lies."""

    # -- arithmetic

    def _terms_of(self, other: Any) -> Terms | None:
        if type(other) is int:
            return (((), other),) if other else ()
        if type(other) is type(self):
            if other.sizes is not self.sizes and (
                self.sizes.recording or other.sizes.recording
            ):
                raise LeakedTracerError(
                    at_user_line(
                        "an extent of an array of another trace is used in this one",
                        "return values from the function instead of storing them",
                    )
                )
            return other.terms
        if isinstance(other, np.generic) or not hasattr(other, "__index__"):
            return None
        if hasattr(other, "ndim") or isinstance(other, float):
            return None
        value = int(other)
        return (((), value),) if value else ()

    def _otherwise(self, what: Callable[[Any, Any], Any], other: Any, turned: bool) -> Any:
        """An operation that isn't polynomial: of a traced number beside floats, left to arrays
        and tensors beside them, else of the number at hand.
        """
        if isinstance(other, DimOperators):
            other = int(other)
        if hasattr(other, "__array_ufunc__") or hasattr(other, "recorder"):
            return NotImplemented
        this: Any = self._as_tensor() if isinstance(other, (float, complex)) else int(self)
        return what(other, this) if turned else what(this, other)

    def _too_long(self, terms: Terms) -> bool:
        """Whether the function had better go on with the number at hand: what a loop makes of
        an extent (`k = k // 2 + k // 3`) may double in length each time.
        """
        return self.sizes.recording and (
            sum(len(name) for monomial, _ in terms for name in monomial) > _LONGEST
        )

    def _plus(self, other: Any, sign: int) -> Any:
        terms = self._terms_of(other)
        if terms is None:
            what = operator.add if sign > 0 else operator.sub
            return self._otherwise(what, other, turned=False)
        return self.sizes.made(added(self.terms, terms, sign))

    def __add__(self, other: Any) -> Any:
        return self._plus(other, 1)

    def __radd__(self, other: Any) -> Any:
        if self._terms_of(other) is None:
            return self._otherwise(operator.add, other, turned=True)
        return self._plus(other, 1)

    def __sub__(self, other: Any) -> Any:
        return self._plus(other, -1)

    def __rsub__(self, other: Any) -> Any:
        terms = self._terms_of(other)
        if terms is None:
            return self._otherwise(operator.sub, other, turned=True)
        return self.sizes.made(added(terms, self.terms, -1))

    def __neg__(self) -> Any:
        return self.sizes.made(scaled(self.terms, -1))

    def __pos__(self) -> Any:
        return self

    def __invert__(self) -> Any:
        return -self - 1

    def __abs__(self) -> Any:
        return self if self >= 0 else -self

    def __mul__(self, other: Any) -> Any:
        terms = self._terms_of(other)
        if terms is None:
            return self._otherwise(operator.mul, other, turned=False)
        product = multiplied(self.terms, terms)
        if self._too_long(product):
            return int(self) * other
        return self.sizes.made(product)

    def __rmul__(self, other: Any) -> Any:
        if self._terms_of(other) is None:
            return self._otherwise(operator.mul, other, turned=True)
        return self.__mul__(other)

    def __floordiv__(self, other: Any) -> Any:
        terms = self._terms_of(other)
        if terms is None:
            return self._otherwise(operator.floordiv, other, turned=False)
        if isinstance(other, DimOperators):
            return self._exact(other)
        by = constant_of(terms)
        if by == 0:
            raise ZeroDivisionError("integer division or modulo by zero")
        if by < 0:
            return (-self) // -by
        quotient = self.sizes.facts.floor(self.terms, by)
        if self._too_long(quotient):
            return int(self) // by
        return self.sizes.made(quotient)

    def __rfloordiv__(self, other: Any) -> Any:
        terms = self._terms_of(other)
        if terms is None:
            return self._otherwise(operator.floordiv, other, turned=True)
        number = constant_of(terms)
        if -self <= number < self:  # so it is for larger extents, too
            return 0 if number >= 0 else -1
        return number // int(self)

    def _exact(self, other: DimOperators) -> Any:
        """The quotient by an extent where that goes without rest."""
        quotient = divided(self.terms, other.terms)
        if quotient is None or other == 0:
            return int(self) // int(other)
        return self.sizes.made(quotient)

    def __mod__(self, other: Any) -> Any:
        if self._terms_of(other) is None:
            return self._otherwise(operator.mod, other, turned=False)
        return self - (self // other) * other

    def __rmod__(self, other: Any) -> Any:
        if self._terms_of(other) is None:
            return self._otherwise(operator.mod, other, turned=True)
        return other - (other // self) * self

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __truediv__(self, other: Any) -> Any:
        return self._as_tensor() / other

    def __rtruediv__(self, other: Any) -> Any:
        return other / self._as_tensor()

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        if modulo is None and type(other) is int and 0 <= other <= 4:
            return math.prod([self] * other)
        if modulo is not None:
            return pow(int(self), int(other), int(modulo))
        return self._otherwise(operator.pow, other, turned=False)

    def __rpow__(self, other: Any, modulo: Any = None) -> Any:
        if isinstance(other, (float, complex)):
            return other ** self._as_tensor()
        return self._otherwise(operator.pow, other, turned=True)

    def __lshift__(self, other: Any) -> Any:
        if type(other) is int and 0 <= other < 62:
            return self * 2**other
        return self._otherwise(operator.lshift, other, turned=False)

    def __rshift__(self, other: Any) -> Any:
        if type(other) is int and 0 <= other < 62:
            return self // 2**other
        return self._otherwise(operator.rshift, other, turned=False)

    def __and__(self, other: Any) -> Any:
        if type(other) is int and other >= 0 and (other + 1) & other == 0:
            return self % (other + 1)
        return self._otherwise(operator.and_, other, turned=False)

    def __rand__(self, other: Any) -> Any:
        if type(other) is int:
            return self & other
        return self._otherwise(operator.and_, other, turned=True)

    def __or__(self, other: Any) -> Any:
        return self._otherwise(operator.or_, other, turned=False)

    def __ror__(self, other: Any) -> Any:
        return self._otherwise(operator.or_, other, turned=True)

    def __xor__(self, other: Any) -> Any:
        return self._otherwise(operator.xor, other, turned=False)

    def __rxor__(self, other: Any) -> Any:
        return self._otherwise(operator.xor, other, turned=True)

    def __rlshift__(self, other: Any) -> Any:
        return self._otherwise(operator.lshift, other, turned=True)

    def __rrshift__(self, other: Any) -> Any:
        return self._otherwise(operator.rshift, other, turned=True)

    # -- questions

    def _ask(self, left: Any, relation: str) -> bool:
        """Whether `left` relates so to 0."""
        if not isinstance(left, DimOperators):
            return bool(left == 0 if relation == "==" else left >= 0)
        sizes = self.sizes
        known = sizes.facts.decide(left.terms, relation)
        if known is not None:
            return known
        if not sizes.recording:
            if relation == "==":
                return False
            raise Undecided(f"{left} {relation} 0")
        value = left.hint
        if relation == "==":
            sizes.note(left, "==" if value == 0 else "!=")
            return value == 0
        if value >= 0:
            sizes.note(left, ">=")
            return True
        sizes.note(-left - 1, ">=")
        return False

    def __eq__(self, other: Any) -> Any:
        if self is other:
            return True
        if isinstance(other, (np.number, np.bool_)):
            return self._compare_scalar(operator.eq, other)
        if type(other) is type(self) and self.terms == other.terms:
            return True
        if isinstance(other, complex):
            return other.imag == 0 and self == other.real
        if isinstance(other, float):
            if not other.is_integer():
                return False
            other = int(other)
        if type(other) is type(self) and other.sizes is not self.sizes:
            return False
        terms = self._terms_of(other)
        if terms is None:
            if other is None or isinstance(other, (str, bytes, tuple, list, dict, set)):
                return False
            if not self.sizes.recording:
                return NotImplemented
            return self._otherwise(operator.eq, other, turned=False)
        return self._ask(self.sizes.made(added(self.terms, terms, -1)), "==")

    def __ne__(self, other: Any) -> Any:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else equal ^ True  # of NumPy's type, if it is

    def _compare_scalar(
        self, what: Callable[[Any, Any], Any], other: np.number[Any] | np.bool_
    ) -> Any:
        """NumPy's answer, which is NumPy's bool. NumPy rounds an int to the type of a float
        beside it: one that isn't small enough to make no difference asks for the number.
        """
        if isinstance(other, np.floating) and np.isfinite(other):
            exact = abs(float(other)) < 2 ** int(np.finfo(type(other)).nmant)
        else:
            exact = not isinstance(other, np.complexfloating)
        if not exact:
            return what(int(self), other)
        plain = float(other) if isinstance(other, np.floating) else int(other)
        return np.bool_(what(self, plain))

    def _compare(
        self, other: Any, what: Callable[[Any, Any], Any], sign: int, more: int
    ) -> Any:
        """sign * (self - other) >= more."""
        if isinstance(other, (np.number, np.bool_)):
            return self._compare_scalar(what, other)
        if isinstance(other, complex):
            return what(0, other)  # a TypeError
        if isinstance(other, float):
            if not math.isfinite(other):
                return what(0, other)
            # the whole number that is as far away in that direction
            whole = math.ceil(other) if (sign > 0) == (more == 0) else math.floor(other)
            other = int(whole)
        terms = self._terms_of(other)
        if terms is None:
            return self._otherwise(what, other, turned=False)
        left = added(scaled(self.terms, sign), terms, -sign)
        return self._ask(self.sizes.made(added(left, (((), -more),) if more else ())), ">=")

    def __ge__(self, other: Any) -> Any:
        return self._compare(other, operator.ge, 1, 0)

    def __gt__(self, other: Any) -> Any:
        return self._compare(other, operator.gt, 1, 1)

    def __le__(self, other: Any) -> Any:
        return self._compare(other, operator.le, -1, 0)

    def __lt__(self, other: Any) -> Any:
        return self._compare(other, operator.lt, -1, 1)

    def __bool__(self) -> bool:
        return bool(self != 0)

    # -- as a number

    def __index__(self) -> int:
        low, high = self.bounds()
        if low == high:
            return low
        if not self.sizes.recording:
            raise Undecided(f"the value of {self}")
        value = self.hint
        self.sizes.note(self - value, "==")
        return value

    __int__ = __index__
    __trunc__ = __index__

    def __float__(self) -> float:
        return float(int(self))

    def __complex__(self) -> complex:
        return complex(int(self))

    def __round__(self, digits: int | None = None) -> Any:
        return self if digits is None or digits >= 0 else round(int(self), digits)

    def __floor__(self) -> Any:
        return self

    def __ceil__(self) -> Any:
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(int(self), dtype)

    def _require_attribute(self, name: str) -> None:
        """AttributeError where an int has no such attribute."""
        if not hasattr(int, name):
            raise AttributeError(f"'int' object has no attribute {name!r}", name=name)

    def __getattr__(self, name: str) -> Any:
        """Another attribute of an int, for this very size."""
        if name.startswith("__") or not hasattr(int, name):
            raise AttributeError(f"'int' object has no attribute {name!r}")
        return getattr(int(self), name)

    def _as_tensor(self) -> Any:
        """A traced scalar with its value."""
        traced = self.sizes.traced
        return int(self) if traced is None else traced(self)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        given = [x._as_tensor() if isinstance(x, DimOperators) else x for x in inputs]
        return getattr(ufunc, method)(*given, **kwargs)
