"""What derivative rules make nodes with, and the slopes that they give.

A slope says how a small change of an operand changes the result, element by element:
None if it doesn't, 1 or -1, a `Ref` to the factor, or a `Linear` map. A rule gives one for each
operand; forward and reverse mode both follow from it. Complex functions have JAX's convention:
maps aren't conjugated on the way back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.core.frozen import dataclass
from graphjit.core.types import DType
from graphjit.ops import PRIMITIVES, source
from graphjit.ops.primitive import View

from .node_maker import NodeMaker, Ref


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """A slope that is no factor. forward: of a change of the operand that of the result;
    backward: its transpose.
    """

    forward: Callable[[Ref], Ref]
    backward: Callable[[Ref], Ref]


class Slopes(NodeMaker):
    """What rules of slopes are given: makes nodes, and slopes that are no factors."""

    def over(self, x: Ref) -> Linear:
        """1 / x. Where that is infinite or NaN nothing comes of no change."""
        none, divisor = self._divisor(x)

        def change(t: Ref) -> Ref:
            there = self._of_something(t, self.div(t, x))
            return self.where(none, there, self.div(t, divisor))

        return self._both(change)

    def ratio(self, x: Ref, y: Ref) -> Linear:
        """x / y. Where y is 0 nothing comes of no change, or of an x that is 0."""
        none, divisor = self._divisor(y)

        def change(t: Ref) -> Ref:
            there = self._of_something(t, self.mul(t, self.div(x, y)))
            there = self._of_something(x, there)
            return self.where(none, there, self.mul(t, self.div(x, divisor)))

        return self._both(change)

    def _divisor(self, x: Ref) -> tuple[Ref, Ref]:
        """Where a number is 0 or NaN, and the number with 1 in place of that.

        Slopes may treat these places alone in another way: they stay linear everywhere else,
        and so have derivatives of their own.
        """
        size = self.abs(x)
        none = self.logical_not(self.gt(size, self.number(0.0, size)))
        return none, self.where(none, 1.0, x)

    def never_nan(self, x: Ref) -> Linear:
        """x, of which 0 times infinity is 0: the slope of the square root of x * x at 0."""

        def change(t: Ref) -> Ref:
            endless = self.eq(self.abs(t), self.number(float("inf"), self.abs(t)))
            return self.where(self.bit_and(self.eq(x, 0.0), endless), 0.0, self.mul(t, x))

        return self._both(change)

    def modulus(self, x: Ref, size: Ref) -> Linear:
        """The slope of |x|."""
        if not self.type(x).dtype.is_complex:
            return self._both(lambda t: self.mul(t, self.sign(x)))
        return Linear(
            lambda t: self._of_something(
                size, self.div(self.real(self.mul(t, self.conj(x))), size)
            ),
            lambda g: self.mul(
                self.complex(self._of_something(size, self.div(g, size)), 0.0), self.conj(x)
            ),
        )

    def chosen(self, condition: Ref, first: bool) -> Linear:
        """All where the condition is true, or where it is false."""
        if first:
            return self._both(lambda t: self.where(condition, t, 0.0))
        return self._both(lambda t: self.where(condition, 0.0, t))

    def converted(self, x: Ref, dtype: DType) -> Linear | None:
        """The slope of a conversion."""
        before = self.type(x).dtype
        if not (before.is_inexact and dtype.is_inexact):
            return None
        return Linear(lambda t: self.cast(t, dtype=dtype), lambda g: self.cast(g, dtype=before))

    def real_part(self) -> Linear:
        """The slope of complex numbers by their real parts."""
        return Linear(lambda t: self.complex(t, 0.0), self.real)

    def imaginary_part(self) -> Linear:
        """The slope of complex numbers by their imaginary parts."""
        return Linear(lambda t: self.complex(0.0, t), lambda g: self.neg(self.imag(g)))

    def part_of(self, real: bool) -> Linear:
        """The slope of a part of complex numbers."""
        if real:
            return Linear(self.real, lambda g: self.complex(g, 0.0))
        return Linear(self.imag, lambda g: self.complex(0.0, self.neg(g)))

    def conjugated(self) -> Linear:
        """The slope of conj."""
        return Linear(self.conj, self.conj)

    def _both(self, change: Callable[[Ref], Ref]) -> Linear:
        return Linear(change, change)

    def _of_something(self, x: Ref, found: Ref) -> Ref:
        """A number, and 0 where x is 0."""
        return self.where(self.eq(x, 0.0), 0.0, found)

    def apply(self, slope: Any, x: Ref, back: bool) -> Ref:
        """A slope of a change of an operand, or, on the way back, of the result."""
        if isinstance(slope, Linear):
            return slope.backward(x) if back else slope.forward(x)
        if isinstance(slope, Ref):
            return self._times(x, slope)
        return x if slope == 1 else self.neg(x)

    def _times(self, t: Ref, factor: Ref) -> Ref:
        """A change times a factor. Of no change nothing comes, whatever the factor is."""
        found = self.mul(t, factor)
        if self._is_finite(factor.node):
            return found
        size = self.abs(factor)
        finite = self.lt(size, self.number(float("inf"), size))
        nothing = self.bit_and(self.logical_not(finite), self.eq(t, 0.0))
        return self.where(nothing, 0.0, found)

    def _is_finite(self, number: int) -> bool:
        """Whether a node is surely neither infinite nor NaN."""
        node = self.builder.nodes[number]
        if node.primitive is source.const:
            return bool(np.isfinite(node.attr("value").array).all())
        if node.primitive is PRIMITIVES["where"]:
            return all(map(self._is_finite, node.inputs[1:]))
        return isinstance(node.primitive.kind, View) and self._is_finite(node.inputs[0])


__all__ = ["Linear", "Slopes"]
