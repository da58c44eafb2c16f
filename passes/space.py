"""Index arithmetic over a kernel's dims.

An index is affine: a constant plus coefficients times *atoms*, the loop variables. Views turn
output indices into input indices. A reshape may have to split an atom in two. Where an index
would need a division that no split removes, `Unfusable` is raised and the view's input is
stored instead.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphjit.core.dims import Dim, Undecided
from graphjit.core.extents import exact_quotient, guess
from graphjit.core.types import Shape

Term = tuple[int, int]  # (atom, coefficient)


class Unfusable(Exception):
    """Raised where an index isn't affine."""


class Expr:
    """constant + the sum of coefficient * atom."""

    __slots__ = ("constant", "terms")

    def __init__(self, constant: int, terms: tuple[Term, ...]) -> None:
        self.constant = constant
        self.terms = terms

    def __mul__(self, factor: int) -> Expr:
        if factor == 1:
            return self
        if factor == 0:
            return ZERO
        return Expr(self.constant * factor, tuple((a, c * factor) for a, c in self.terms))

    def __add__(self, other: Expr | int) -> Expr:
        if not isinstance(other, Expr):
            return Expr(self.constant + other, self.terms) if other else self
        if not other.terms:
            return self + other.constant
        total = dict(self.terms)
        for atom, coefficient in other.terms:
            total[atom] = total.get(atom, 0) + coefficient
        terms = tuple(sorted((a, c) for a, c in total.items() if c))
        return Expr(self.constant + other.constant, terms)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expr) and (self.constant, self.terms) == (
            other.constant,
            other.terms,
        )

    def __hash__(self) -> int:
        return hash((self.constant, self.terms))

    def __repr__(self) -> str:
        return " + ".join([f"{c}*a{a}" for a, c in self.terms] + [str(self.constant)])


ZERO = Expr(0, ())
Exprs = tuple[Expr, ...]


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides, in elements, of a dense array in C order."""
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(step)
        step *= extent
    return tuple(reversed(strides))


class Space:
    """The atoms of one kernel, in order. `split` replaces one by two.

    fixed: atoms that may not be split: dims of a reduction, whose order depends only on the
        shape of the reduced tensor
    """

    zero = ZERO

    def __init__(self) -> None:
        self.extents: dict[int, int] = {}
        self.order: list[int] = []
        self.fixed: set[int] = set()
        self._splits: dict[int, tuple[int, int]] = {}
        self._next = 0

    def atom(self, extent: int, fixed: bool = False) -> Expr:
        """A new atom with values range(extent), as an index."""
        name = self._next
        self._next += 1
        self.extents[name] = extent
        self.order.append(name)
        if fixed:
            self.fixed.add(name)
        return Expr(0, ((name, 1),))

    def index(self, shape: Shape, fixed: bool = False) -> Exprs:
        """A new atom for each axis longer than 1."""
        return tuple(ZERO if n == 1 else self.atom(n, fixed) for n in shape)

    def split(self, atom: int, low: int) -> None:
        """Replace an atom by high * low + rest."""
        extent = self.extents[atom]
        quotient = _exact_quotient(extent, low)
        if atom in self.fixed or quotient is None or quotient == 1:
            raise Unfusable
        position = self.order.index(atom)
        names = (self._next, self._next + 1)
        self._next += 2
        self.extents[names[0]] = quotient
        self.extents[names[1]] = low
        self.order[position : position + 1] = names
        self._splits[atom] = names

    def resolve(self, expr: Expr) -> Expr:
        """The same index in atoms that haven't been split."""
        if not self._splits or not any([atom in self._splits for atom, _ in expr.terms]):
            return expr
        result = Expr(expr.constant, ())
        for atom, coefficient in expr.terms:
            if atom in self._splits:
                high, low = self._splits[atom]
                step = coefficient * self.extents[low]
                part = Expr(0, tuple(sorted(((high, step), (low, coefficient)))))
                result = result + self.resolve(part)
            else:
                result = result + Expr(0, ((atom, coefficient),))
        return result

    def resolved(self, where: Expr | Exprs) -> Expr | Exprs:
        """The same index, or all of its parts, in atoms that haven't been split."""
        if not self._splits:
            return where
        if isinstance(where, Expr):
            return self.resolve(where)
        return tuple([self.resolve(expr) for expr in where])

    def flat(self, index: Sequence[Expr], shape: Shape) -> Expr:
        """The offset of an element in a dense array."""
        total = ZERO
        for expr, stride in zip(index, row_major(shape), strict=True):
            total = total + expr * stride
        return total

    def reshape(self, index: Sequence[Expr], shape: Shape, input_shape: Shape) -> Exprs:
        """The index in the input of a reshape, from the index in its output."""
        result: list[Expr] = []
        for outs, ins in _group_axes(shape, input_shape):
            part = [index[k] for k in outs]
            extents = [shape[k] for k in outs]
            targets = [input_shape[k] for k in ins]
            if extents == targets:
                result += part
                continue
            flat = self.flat(part, tuple(extents))
            for stride in row_major(targets):
                quotient, flat = self._divide(flat, stride)
                result.append(quotient)
        return tuple(result)

    def _divide(self, expr: Expr, by: int) -> tuple[Expr, Expr]:
        """Quotient and remainder of an index. Atoms are split where that makes them affine.

        Symbolic strides are taken to be at least 1. One is 0 only where an extent is, and then
        there are no elements.
        """
        if by == 1:
            return expr, ZERO
        if by == 0:  # an array without elements
            return ZERO, ZERO
        while True:
            expr = self.resolve(expr)
            straddling = None
            whole, rest = _divide_constant(expr.constant, by)
            quotient, remainder, top = ZERO, ZERO, rest
            for atom, coefficient in expr.terms:
                extent = self.extents[atom]
                if not _is_surely_less(-1, coefficient):
                    raise Unfusable
                multiple, within = (
                    _exact_quotient(coefficient, by),
                    _exact_quotient(by, coefficient),
                )
                if multiple is not None:
                    quotient = quotient + Expr(0, ((atom, multiple),))
                elif _is_surely_less(coefficient * (extent - 1), by) or (
                    _exact_quotient(by, coefficient * extent) is not None
                ):
                    remainder = remainder + Expr(0, ((atom, coefficient),))
                    top += coefficient * (extent - 1)
                elif within is not None:
                    straddling = (atom, within)
                else:
                    raise Unfusable
            if straddling is None:
                break
            self.split(*straddling)
        if not _is_surely_less(top, by) and all(top + c != by for _, c in remainder.terms):
            raise Unfusable
        return quotient + whole, remainder + rest


def _exact_quotient(extent: int, by: int) -> int | None:
    """An extent divided by another, where the remainder is surely 0; else None."""
    if not isinstance(extent, Dim) and not isinstance(by, Dim):
        return None if not by or extent % by else extent // by
    return exact_quotient(extent, by)


def _is_surely_less(a: int, b: int) -> bool:
    """Whether a number is less than another for all sizes."""
    try:
        return a < b
    except Undecided:
        return False


def _divide_constant(constant: int, by: int) -> tuple[int, int]:
    if isinstance(constant, Dim) or isinstance(by, Dim):
        if not constant:
            return 0, 0
        quotient = exact_quotient(constant, by)
        if quotient is not None:
            return quotient, 0
        if _is_surely_less(-1, constant) and _is_surely_less(constant, by):
            return 0, constant
        raise Unfusable
    return divmod(constant, by)


def _group_axes(shape: Shape, other: Shape) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The axes of two shapes of equal size, in the smallest groups of equal products."""
    groups, i, j = [], 0, 0
    while i < len(shape) or j < len(other):
        outs, ins, p, q = [], [], 1, 1
        if i < len(shape):
            outs.append(i)
            p = shape[i]
            i += 1
        if j < len(other):
            ins.append(j)
            q = other[j]
            j += 1
        while p != q:
            if guess(p) < guess(q):  # a guess decides only which side to extend
                if i == len(shape):
                    raise Unfusable
                p *= shape[i]
                outs.append(i)
                i += 1
            else:
                if j == len(other):
                    raise Unfusable
                q *= other[j]
                ins.append(j)
                j += 1
        groups.append((tuple(outs), tuple(ins)))
    return groups
