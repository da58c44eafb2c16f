"""What derivative rules make nodes with, and the slopes that they give.

A slope says how a small change of an operand changes the result, element by element:
None if it doesn't, 1 or -1, a `Ref` to the factor, or a `Linear` map. A rule gives one for each
operand; forward and reverse mode both follow from it. Complex functions have JAX's convention:
maps aren't conjugated on the way back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.core.errors import SourceLine
from graphjit.core.frozen import dataclass
from graphjit.core.types import DType, Shape, TensorType
from graphjit.ir.graph import GraphBuilder
from graphjit.ops import PRIMITIVES, library, reduce, source, view
from graphjit.ops.primitive import Primitive, View


@dataclass(frozen=True, slots=True)
class Ref:
    """A node of the graph that is made."""

    node: int


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """A slope that is no factor. forward: of a change of the operand that of the result;
    backward: its transpose.
    """

    forward: Callable[[Ref], Ref]
    backward: Callable[[Ref], Ref]


class NodeMaker:
    """Appends nodes to a graph. A pointwise primitive is a method of its name (`d.mul(x, y)`);
    a float among its operands is a constant of the others' dtype.
    """

    def __init__(self, builder: GraphBuilder) -> None:
        self.builder = builder
        self.line: SourceLine | None = None

    def __getattr__(self, name: str) -> Callable[..., Ref]:
        primitive = PRIMITIVES.get(name)
        if primitive is None:
            raise AttributeError(name)
        return lambda *operands, **attrs: self.make(primitive, *operands, **attrs)

    def make(self, primitive: Primitive, *operands: Any, **attrs: Any) -> Ref:
        """A primitive of nodes and numbers."""
        like = next(x for x in reversed(operands) if isinstance(x, Ref))
        nodes = [x.node if isinstance(x, Ref) else self.number(x, like).node for x in operands]
        return Ref(self.builder.add(primitive, nodes, self.line, **attrs))

    def number(self, value: float, like: Ref) -> Ref:
        """A constant of a dtype like another's."""
        dtype = self.type(like).dtype
        return Ref(self.builder.const(np.asarray(value, dtype.dtype), self.line))

    def zeros(self, type: TensorType) -> Ref:
        """Zeros of a type."""
        zero = self.builder.const(np.zeros((), type.dtype.dtype), self.line)
        return self.spread(Ref(zero), type.shape)

    def type(self, x: Ref) -> TensorType:
        """The type of a node with one result."""
        return self.builder.type_of(x.node)

    # -- shapes

    def spread(self, x: Ref, shape: Shape) -> Ref:
        """A node broadcast to a shape."""
        if self.type(x).shape == tuple(shape):
            return x
        return self.make(view.broadcast, x, shape=tuple(shape))

    def gathered(self, x: Ref, shape: Shape) -> Ref:
        """The transpose of `spread`: elements that were one are added up."""
        found = self.type(x).shape
        first = len(found) - len(shape)
        axes = [*range(first)]
        for axis, (n, m) in enumerate(zip(shape, found[first:], strict=True), first):
            if isinstance(n, int) and n == 1 and not (isinstance(m, int) and m == 1):
                axes.append(axis)
        if axes:
            x = self.make(reduce.sum_, x, axes=tuple(axes))
        return self.reshaped(x, shape)

    def reshaped(self, x: Ref, shape: Shape) -> Ref:
        """A node in another shape."""
        if self.type(x).shape == tuple(shape):
            return x
        return self.make(view.reshape, x, shape=tuple(shape))

    def special(self, name: str, *operands: Any) -> Ref:
        """A function of scipy.special."""
        return self.make(library.special, *operands, name=name)

    # -- slopes

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

    def total(self, parts: Sequence[Ref]) -> Ref:
        """The sum of nodes of one type."""
        found = parts[0]
        for x in parts[1:]:
            found = self.add(found, x)
        return found


__all__ = ["Linear", "NodeMaker", "Ref"]
