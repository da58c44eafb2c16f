"""Reverse mode of decompositions of matrices, real and complex."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphjit.ir.graph import Node
from graphjit.ops import assemble, library

from .matrices import (
    Unconjugated,
    column,
    diagonal,
    first,
    last_columns,
    like,
    on_diagonal_real,
    over,
    plus,
    row,
)
from .node_maker import Ref
from .reverse_pass import Cotangent, Reverse
from .slopes import Slopes


def _cholesky(way: Reverse, number: int, node: Node, g: Ref) -> None:
    own = Unconjugated(way)
    own.give(node.inputs[0], of_cholesky(own.d, own.ref(number), own.given(g)))


def of_cholesky(d: Slopes, lower: Ref, g: Ref) -> Ref:
    """I. Murray, "Differentiation of the Cholesky decomposition", 2016."""
    inner = d.triangle(d.product(d.adjoint(lower), g), True)
    on = d.on_diagonal(d.type(inner).shape[-1])
    inner = d.where(on, d.mul(inner, 0.5), inner)
    solve = library.triangular_solve
    left = d.make(solve, lower, inner, lower=True, adjoint=True)
    right = d.make(solve, lower, d.adjoint(left), lower=True, adjoint=True)
    # NumPy reads the lower triangle; as its cotangent the symmetric one is given
    return d.mul(d.add(right, d.adjoint(right)), 0.5)


def _eigh(way: Reverse, number: int, node: Node, values: Cotangent, vectors: Cotangent) -> None:
    """M. B. Giles, "Collected matrix derivative results", 2008. Cotangents are those of the
    triangle that is read, the lower one by default. Equal values have no derivative of their
    vectors: what depends on their gap is left out.
    """
    (operand,) = node.inputs
    own = Unconjugated(way)
    d, values, vectors = own.d, own.or_none(values), own.or_none(vectors)
    w, v = own.items(number, 2)
    vh = d.adjoint(v)
    middle: Ref | None = None
    if vectors is not None:
        gaps = over(d, d.sub(row(d, w), column(d, w)))
        middle = d.mul(like(d, gaps, v), d.product(vh, vectors))
    if values is not None:
        middle = plus(d, middle, like(d, diagonal(d, values), v))
    assert middle is not None
    found = d.product(v, middle, vh)
    whole = d.add(found, d.adjoint(found))
    on = d.on_diagonal(d.type(found).shape[-1])
    lower = not dict(node.attrs).get("upper", False)
    own.give(operand, d.triangle(d.where(on, d.mul(whole, 0.5), whole), lower))


def _svd(
    way: Reverse,
    number: int,
    node: Node,
    left: Cotangent,
    values: Cotangent,
    right: Cotangent,
) -> None:
    """J. Townsend, "Differentiating the Singular Value Decomposition", 2016. Equal values have
    no derivative of their vectors: what depends on their gap is left out. Of complex vectors
    the right ones keep their phase.
    """
    (operand,) = node.inputs
    own = Unconjugated(way)
    d, shape = own.d, own.type(operand).shape
    left, right = own.or_none(left), own.or_none(right)
    vectors = left is not None or right is not None
    if vectors and node.attr("full") and shape[-2] != shape[-1]:
        raise way.refusal(node, ": with full_matrices vectors of no value have none")
    u, s, vh = own.items(number, 3)
    size = d.type(s).shape[-1]
    if not vectors and node.attr("full"):
        u, vh = first(d, u, -1, size), first(d, vh, -2, size)
    uh, v = d.adjoint(u), d.adjoint(vh)
    middle = None if values is None else like(d, diagonal(d, values), u)
    if vectors:
        square = d.mul(s, s)
        gap = like(d, over(d, d.sub(row(d, square), column(d, square))), u)
        beside = like(d, over(d, s), u)
        s = like(d, s, u)
    found: Ref | None = None
    if left is not None:
        inner = d.product(uh, left)
        turn = d.mul(gap, d.sub(inner, d.adjoint(inner)))
        middle = plus(d, middle, d.mul(turn, row(d, s)))
        if d.type(u).dtype.is_complex:
            phase = d.mul(d.complex(0.0, d.imag(inner)), row(d, beside))
            middle = d.add(middle, d.where(d.on_diagonal(size), phase, 0.0))
        rest = d.sub(left, d.product(u, inner))
        found = d.product(d.mul(rest, row(d, beside)), vh)
    if right is not None:
        turn = d.product(vh, d.adjoint(right))
        turn = d.mul(gap, d.sub(turn, d.adjoint(turn)))
        middle = plus(d, middle, d.mul(turn, column(d, s)))
        rest = d.sub(right, d.product(right, v, vh))
        found = plus(d, found, d.product(u, d.mul(rest, column(d, beside))))
    assert middle is not None
    own.give(operand, plus(d, found, d.product(u, middle, vh)))


def _qr(way: Reverse, number: int, node: Node, q_bar: Cotangent, r_bar: Cotangent) -> None:
    """D. Roberts and L. Roberts, "QR and LQ Decomposition Matrix Backpropagation Algorithms for
    Square, Wide, and Deep Matrices", 2020. The first columns are independent.
    """
    (operand,) = node.inputs
    own = Unconjugated(way)
    d, shape = own.d, own.type(operand).shape
    rows, columns = shape[-2:]
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise way.refusal(node, " of matrices of any size")
    if node.attr("complete") and rows > columns:
        raise way.refusal(node, ' in mode "complete"')
    q, r = own.items(number, 2)
    r_bar = d.zeros(d.type(r)) if r_bar is None else own.given(r_bar)
    q_bar = d.zeros(d.type(q)) if q_bar is None else own.given(q_bar)
    beside: Ref | None = None
    if columns > rows:
        y = last_columns(d, own.ref(operand), rows)
        beside = last_columns(d, r_bar, rows)
        q_bar = d.add(q_bar, d.product(y, d.adjoint(beside)))
        r, r_bar = first(d, r, -1, rows), first(d, r_bar, -1, rows)
    inner = d.sub(d.product(r, d.adjoint(r_bar)), d.product(d.adjoint(q_bar), q))
    lower = on_diagonal_real(d, d.triangle(inner, True))
    twice = d.where(d.on_diagonal(d.type(inner).shape[-1]), 0.0, d.adjoint(lower))
    total = d.add(q_bar, d.product(q, d.add(lower, twice)))
    found = d.adjoint(
        d.make(library.triangular_solve, r, d.adjoint(total), lower=False, adjoint=False)
    )
    if beside is not None:
        found = d.make(assemble.concat, found, d.product(q, beside), axis=len(shape) - 1)
    own.give(operand, found)


def _eig(way: Reverse, number: int, node: Node, values: Cotangent, vectors: Cotangent) -> None:
    """C. Boeddeker and others, "On the Computation of Complex-valued Gradients with Application
    to Statistically Optimum Beamforming", 2017: vectors are of length 1, and their phase isn't
    changed.
    """
    (operand,) = node.inputs
    own = Unconjugated(way)
    d, values, vectors = own.d, own.or_none(values), own.or_none(vectors)
    w, v = own.items(number, 2)
    vh = d.adjoint(v)
    middle = None if values is None else diagonal(d, values)
    if vectors is not None:
        inner = d.product(vh, vectors)
        gaps = over(d, d.conj(d.sub(row(d, w), column(d, w))))
        on = d.on_diagonal(d.type(w).shape[-1])
        along = d.where(on, d.complex(d.real(inner), 0.0), 0.0)
        turn = d.sub(inner, d.product(d.product(vh, v), along))
        middle = plus(d, middle, d.mul(gaps, turn))
    assert middle is not None
    found = d.make(library.solve, vh, d.product(middle, vh))
    type = own.type(operand)
    if not type.dtype.is_complex:
        found = d.real(found)
    own.give(operand, d.cast(found, dtype=type.dtype))


def _lstsq(way: Reverse, number: int, node: Node, g: Ref) -> None:
    """Of independent columns."""
    a, b = node.inputs
    own = Unconjugated(way)
    d, x, g = own.d, own.ref(number), own.given(g)
    rows, columns = own.type(a).shape
    if not isinstance(rows, int) or not isinstance(columns, int) or rows < columns:
        raise way.refusal(node, " of fewer equations than unknowns")
    matrix, values = own.ref(a), own.ref(b)
    if len(own.type(b).shape) == 1:
        x, g, values = (column(d, t) for t in (x, g, values))
    w = d.make(library.solve, d.product(d.adjoint(matrix), matrix), g)
    back = d.product(matrix, w)
    own.give(b, d.reshaped(back, own.type(b).shape))
    if own.active[a]:
        rest = d.sub(values, d.product(matrix, x))
        own.give(a, d.sub(d.product(rest, d.adjoint(w)), d.product(back, d.adjoint(x))))


def _pinv(way: Reverse, number: int, node: Node, g: Ref) -> None:
    """G. H. Golub and V. Pereyra, "The Differentiation of Pseudo-Inverses and Nonlinear Least
    Squares Problems Whose Variables Separate", 1973. The rank stays as it is.
    """
    (operand,) = node.inputs
    own = Unconjugated(way)
    d, a, p, gh = own.d, own.ref(operand), own.ref(number), own.d.adjoint(own.given(g))
    ph = d.adjoint(p)
    found = d.neg(d.product(ph, d.adjoint(gh), ph))
    inner = d.product(gh, p, ph)
    found = d.add(found, d.sub(inner, d.product(a, p, inner)))
    inner = d.product(ph, p, gh)
    own.give(operand, d.add(found, d.sub(inner, d.product(inner, p, a))))


ROUTINES: dict[Any, Callable[..., None]] = {
    library.cholesky: _cholesky,
    library.eig: _eig,
    library.eigh: _eigh,
    library.lstsq: _lstsq,
    library.pinv: _pinv,
    library.qr: _qr,
    library.svd: _svd,
}

__all__ = ["ROUTINES", "of_cholesky"]
