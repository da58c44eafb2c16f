"""What transformations make nodes with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.errors import SourceLine
from graphjit.core.frozen import dataclass
from graphjit.core.types import Shape, TensorType
from graphjit.ir.graph import GraphBuilder
from graphjit.ops import PRIMITIVES, contract, index, library, reduce, source, view
from graphjit.ops.primitive import Primitive


@dataclass(frozen=True, slots=True)
class Ref:
    """A node of the graph that is made."""

    node: int


class NodeMaker:
    """Appends nodes to a graph. A pointwise primitive is a method of its name (`d.mul(x, y)`);
    a float among its operands is a constant of the others' dtype.
    """

    def __init__(self, builder: GraphBuilder, line: SourceLine | None = None) -> None:
        self.builder = builder
        self.line = line

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

    def number(self, value: complex, like: Ref) -> Ref:
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

    def transposed(self, x: Ref) -> Ref:
        """Matrices with rows for columns."""
        rank = len(self.type(x).shape)
        perm = (*range(rank - 2), rank - 1, rank - 2)
        return self.make(view.transpose, x, perm=perm)

    def adjoint(self, x: Ref) -> Ref:
        """Conjugates of matrices with rows for columns."""
        found = self.transposed(x)
        return self.conj(found) if self.type(x).dtype.is_complex else found

    def flipped(self, x: Ref, axis: int) -> Ref:
        """Elements along an axis from the last to the first."""
        shape = self.type(x).shape
        starts = tuple(n - 1 if k == axis else 0 for k, n in enumerate(shape))
        steps = tuple(-1 if k == axis else 1 for k in range(len(shape)))
        if is_empty(shape):
            return x
        return self.make(view.slice_, x, starts=starts, sizes=shape, steps=steps)

    def part(self, x: Ref, starts: Shape, sizes: Shape, steps: Shape | None = None) -> Ref:
        """A slice."""
        steps = steps or (1,) * len(starts)
        return self.make(view.slice_, x, starts=starts, sizes=sizes, steps=steps)

    def item(self, node: int, number: int) -> Ref:
        """A result of a node with several."""
        return Ref(self.builder.add(source.item, (node,), self.line, index=number))

    # -- coordinates

    def coordinates(self, shape: Shape, axis: int) -> Ref:
        """Of each element its place along an axis."""
        return Ref(self.builder.add(index.iota, (), self.line, shape=tuple(shape), axis=axis))

    def on_diagonal(self, size: Any) -> Ref:
        """Whether an element of a square matrix is on its diagonal."""
        return self.eq(*self._rows_and_columns((size, size)))

    def triangle(self, x: Ref, lower: bool) -> Ref:
        """Matrices with 0 above or below the diagonal."""
        rows, columns = self._rows_and_columns(self.type(x).shape[-2:])
        kept = self.ge(rows, columns) if lower else self.le(rows, columns)
        return self.where(kept, x, 0.0)

    def _rows_and_columns(self, shape: Shape) -> tuple[Ref, Ref]:
        return self.coordinates(shape, 0), self.coordinates(shape, 1)

    def product(self, *matrices: Ref) -> Ref:
        """The product of matrices, from the left."""
        found = matrices[0]
        for x in matrices[1:]:
            found = self.make(contract.matmul, found, x)
        return found

    def total(self, parts: Sequence[Ref]) -> Ref:
        """The sum of nodes of one type."""
        found = parts[0]
        for x in parts[1:]:
            found = self.add(found, x)
        return found


def is_empty(shape: Shape) -> bool:
    """Whether an extent is surely 0."""
    return any(not isinstance(n, Dim) and n == 0 for n in shape)


def has_cotangent(type: Any) -> bool:
    """Whether values of a type can be changed a little."""
    return isinstance(type, TensorType) and type.dtype.is_inexact


__all__ = ["NodeMaker", "Ref", "has_cotangent", "is_empty"]
