"""What rules of linear algebra make matrices with, and their convention."""

from __future__ import annotations

from typing import Any

from graphjit.core.types import Shape, TensorType
from graphjit.ir.graph import Node

from .node_maker import Ref
from .reverse_pass import Cotangent, Reverse
from .slopes import Slopes


class Unconjugated:
    """The way back in the convention of papers on derivatives of matrices: a change of a real
    number is the real part of the sum of the conjugates of cotangents times changes.
    """

    def __init__(self, way: Reverse) -> None:
        self._way = way
        self.d: Slopes = way.d
        self.active: list[bool] = way.active

    def given(self, cotangent: Ref) -> Ref:
        """A cotangent of a result, in this convention."""
        is_complex = self.d.type(cotangent).dtype.is_complex
        return self.d.conj(cotangent) if is_complex else cotangent

    def or_none(self, cotangent: Cotangent) -> Cotangent:
        """The same, where there may be none."""
        return None if cotangent is None else self.given(cotangent)

    def type(self, number: int) -> TensorType:
        """The type of an old node."""
        return self._way.type(number)

    def ref(self, number: int) -> Ref:
        """The new node of an old one."""
        return self._way.ref(number)

    def items(self, number: int, count: int) -> list[Ref]:
        """The results of an old node."""
        node = self._way.ref(number).node
        return [self.d.item(node, k) for k in range(count)]

    def give(self, number: int, cotangent: Ref) -> None:
        """Add to the cotangent of an old node."""
        self._way.give(number, self.given(cotangent))

    def refusal(self, node: Node, why: str = "") -> Exception:
        """The error for a node without a derivative."""
        return self._way.refusal(node, why)


def over(d: Slopes, x: Ref) -> Ref:
    """1 / x, and 0 where x is 0."""
    none = d.eq(x, 0.0)
    return d.where(none, 0.0, d.div(1.0, d.where(none, 1.0, x)))


def row(d: Slopes, x: Ref) -> Ref:
    """Vectors as matrices of one row."""
    shape = d.type(x).shape
    return d.reshaped(x, (*shape[:-1], 1, shape[-1]))


def column(d: Slopes, x: Ref) -> Ref:
    """Vectors as matrices of one column."""
    return d.reshaped(x, (*d.type(x).shape, 1))


def diagonal(d: Slopes, x: Ref) -> Ref:
    """Diagonal matrices of vectors."""
    shape = d.type(x).shape
    return d.where(d.on_diagonal(shape[-1]), d.spread(row(d, x), (*shape, shape[-1])), 0.0)


def on_diagonal_real(d: Slopes, x: Ref) -> Ref:
    """Matrices with the real parts of what is on their diagonals."""
    if not d.type(x).dtype.is_complex:
        return x
    return d.where(d.on_diagonal(d.type(x).shape[-1]), d.complex(d.real(x), 0.0), x)


def like(d: Slopes, x: Ref, other: Ref) -> Ref:
    """Real numbers as complex ones, where another is complex."""
    is_complex = d.type(other).dtype.is_complex and not d.type(x).dtype.is_complex
    return d.complex(x, 0.0) if is_complex else x


def plus(d: Slopes, x: Ref | None, y: Ref) -> Ref:
    """A sum of which the first part may be none."""
    return y if x is None else d.add(x, y)


def first(d: Slopes, x: Ref, axis: int, count: Any) -> Ref:
    """The first rows or columns."""
    shape = list(d.type(x).shape)
    shape[axis] = count
    return d.part(x, (0,) * len(shape), tuple(shape))


def last_columns(d: Slopes, x: Ref, begin: Any) -> Ref:
    """The columns from a number on."""
    shape: list[Any] = list(d.type(x).shape)
    starts: Shape = (*(0,) * (len(shape) - 1), begin)
    shape[-1] = shape[-1] - begin
    return d.part(x, starts, tuple(shape))


__all__ = [
    "Unconjugated",
    "column",
    "diagonal",
    "first",
    "last_columns",
    "like",
    "on_diagonal_real",
    "over",
    "plus",
    "row",
]
