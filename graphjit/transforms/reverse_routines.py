"""Reverse mode of routines of linear algebra and of transforms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.core.types import TensorType
from graphjit.ir.graph import Node
from graphjit.ops import assemble, library

from .node_maker import Ref
from .reverse_kinds import pointwise, sorted_back
from .reverse_pass import Cotangent, Reverse
from .slopes import Slopes


def inv(way: Reverse, number: int, node: Node, g: Ref) -> None:
    """Of inverses."""
    d = way.d
    y = d.transposed(way.ref(number))
    found = d.product(y, g, y)
    way.give(node.inputs[0], d.neg(found))


def det(way: Reverse, number: int, node: Node, g: Ref) -> None:
    """Of determinants; up to three rows also where they are 0."""
    d, (operand,) = way.d, node.inputs
    size = way.type(operand).shape[-1]
    if isinstance(size, int) and size <= 3:  # which may be singular
        wide = d.reshaped(g, (*d.type(g).shape, 1, 1))
        way.give(operand, d.mul(wide, _cofactors(d, way.ref(operand), size)))
        return
    scale = d.mul(g, way.ref(number))
    way.give(operand, _scaled_inverse(way, operand, scale))


def _cofactors(d: Slopes, x: Ref, size: int) -> Ref:
    """Those of matrices of at most three rows."""
    rank = len(d.type(x).shape)
    if size < 2:
        return d.spread(d.number(1.0, x), d.type(x).shape)
    if size == 2:
        signs = np.array([[1.0, -1.0], [-1.0, 1.0]])
        flipped = d.flipped(d.flipped(x, rank - 1), rank - 2)
        dtype = d.type(x).dtype.dtype
        return d.mul(flipped, Ref(d.builder.const(signs.astype(dtype))))

    def moved(rows: int, columns: int) -> Ref:
        return _rolled(d, _rolled(d, x, rank - 2, rows), rank - 1, columns)

    first = d.mul(moved(1, 1), moved(2, 2))
    return d.sub(first, d.mul(moved(1, 2), moved(2, 1)))


def _rolled(d: Slopes, x: Ref, axis: int, by: int) -> Ref:
    """Elements along an axis, those from a place on first."""
    shape = d.type(x).shape
    parts = []
    for start, size in ((by, shape[axis] - by), (0, by)):
        starts = tuple(start if k == axis else 0 for k in range(len(shape)))
        sizes = tuple(size if k == axis else n for k, n in enumerate(shape))
        parts.append(d.part(x, starts, sizes, (1,) * len(shape)))
    return d.make(assemble.concat, *parts, axis=axis)


def _slogdet(
    way: Reverse, number: int, node: Node, sign: Cotangent, logarithm: Cotangent
) -> None:
    (operand,) = node.inputs
    if way.type(operand).dtype.is_complex:
        raise way.refusal(node, " for complex matrices")
    if logarithm is not None:  # the sign is 1 or -1 around the matrix
        way.give(operand, _scaled_inverse(way, operand, logarithm))


def _scaled_inverse(way: Reverse, operand: int, scale: Ref) -> Ref:
    """Numbers times the transposes of the inverses of matrices."""
    d = way.d
    inverse = d.transposed(d.make(library.inv, way.ref(operand)))
    return d.mul(d.reshaped(scale, (*d.type(scale).shape, 1, 1)), inverse)


def solve(way: Reverse, number: int, node: Node, g: Ref) -> None:
    """Of solutions of linear equations."""
    a, b = node.inputs
    d, x = way.d, way.ref(number)
    vector = len(way.type(b).shape) == 1
    back = d.make(library.solve, d.transposed(way.ref(a)), g)
    if vector and len(way.type(a).shape) > 2:
        raise way.refusal(node, " for many matrices and one vector")
    way.give(b, d.gathered(back, way.type(b).shape))
    if way.active[a]:
        if vector:
            columns = (*way.type(b).shape, 1)
            back, x = d.reshaped(back, columns), d.reshaped(x, columns)
        found = d.neg(d.product(back, d.transposed(x)))
        way.give(a, d.gathered(found, way.type(a).shape))


def _triangular_solve(way: Reverse, number: int, node: Node, g: Ref) -> None:
    a, b = node.inputs
    d, x = way.d, way.ref(number)
    if way.type(a).dtype.is_complex:
        raise way.refusal(node, " for complex matrices")
    lower, adjoint = node.attr("lower"), node.attr("adjoint")
    back = d.make(library.triangular_solve, way.ref(a), g, lower=lower, adjoint=not adjoint)
    way.give(b, d.gathered(back, way.type(b).shape))
    if way.active[a]:
        pair = (x, back) if adjoint else (back, x)
        found = d.neg(d.product(pair[0], d.transposed(pair[1])))
        found = d.triangle(found, lower)
        way.give(a, d.gathered(found, way.type(a).shape))


def _cholesky(way: Reverse, number: int, node: Node, g: Ref) -> None:
    require_real(way, node)
    way.give(node.inputs[0], of_cholesky(way.d, way.ref(number), g))


def of_cholesky(d: Slopes, lower: Ref, g: Ref) -> Ref:
    """I. Murray, "Differentiation of the Cholesky decomposition", 2016."""
    inner = d.triangle(d.product(d.transposed(lower), g), True)
    diagonal = d.on_diagonal(d.type(inner).shape[-1])
    inner = d.where(diagonal, d.mul(inner, 0.5), inner)
    solve = library.triangular_solve
    left = d.make(solve, lower, inner, lower=True, adjoint=True)
    right = d.make(solve, lower, d.transposed(left), lower=True, adjoint=True)
    # NumPy reads the lower triangle; as its cotangent the symmetric one is given
    return d.mul(d.add(right, d.transposed(right)), 0.5)


def _eigh(way: Reverse, number: int, node: Node, values: Cotangent, vectors: Cotangent) -> None:
    (operand,) = node.inputs
    d = way.d
    if way.type(operand).dtype.is_complex:
        raise way.refusal(node, " for complex matrices")
    w, v = (d.item(way.moved[number], k) for k in (0, 1))
    vt = d.transposed(v)
    middle: Ref | None = None
    if vectors is not None:
        inverse = _over(d, d.sub(_row(d, w), column(d, w)))
        middle = d.mul(inverse, d.product(vt, vectors))
    if values is not None:
        diagonal = _diagonal(d, values)
        middle = diagonal if middle is None else d.add(middle, diagonal)
    assert middle is not None
    found = d.product(v, middle, vt)
    found = d.mul(d.add(found, d.transposed(found)), 0.5)
    way.give(operand, found)


def _svd(
    way: Reverse,
    number: int,
    node: Node,
    left: Cotangent,
    values: Cotangent,
    right: Cotangent,
) -> None:
    """J. Townsend, "Differentiating the Singular Value Decomposition", 2016. Equal values have
    no derivative of their vectors: what depends on their gap is left out.
    """
    (operand,) = node.inputs
    d, shape = way.d, way.type(operand).shape
    require_real(way, node)
    vectors = left is not None or right is not None
    if vectors and node.attr("full") and shape[-2] != shape[-1]:
        raise way.refusal(node, ": with full_matrices vectors of no value have none")
    u, s, vt = (d.item(way.moved[number], k) for k in range(3))
    size = d.type(s).shape[-1]
    if not vectors and node.attr("full"):
        u, vt = _first(d, u, -1, size), _first(d, vt, -2, size)
    ut, v = d.transposed(u), d.transposed(vt)
    middle = None if values is None else _diagonal(d, values)
    if vectors:
        square = d.mul(s, s)
        gap = _over(d, d.sub(_row(d, square), column(d, square)))
        over = _over(d, s)
    found: Ref | None = None
    if left is not None:
        turn = d.product(ut, left)
        turn = d.mul(gap, d.sub(turn, d.transposed(turn)))
        middle = _plus(d, middle, d.mul(turn, _row(d, s)))
        rest = d.sub(left, d.product(u, ut, left))
        found = d.product(d.mul(rest, _row(d, over)), vt)
    if right is not None:
        other = d.transposed(right)
        turn = d.product(vt, other)
        turn = d.mul(gap, d.sub(turn, d.transposed(turn)))
        middle = _plus(d, middle, d.mul(turn, column(d, s)))
        rest = d.sub(right, d.product(right, v, vt))
        found = _plus(d, found, d.product(u, d.mul(rest, column(d, over))))
    assert middle is not None
    way.give(operand, _plus(d, found, d.product(u, middle, vt)))


def _qr(way: Reverse, number: int, node: Node, q_bar: Cotangent, r_bar: Cotangent) -> None:
    """D. Roberts and L. Roberts, "QR and LQ Decomposition Matrix Backpropagation Algorithms for
    Square, Wide, and Deep Matrices", 2020. The first columns are independent.
    """
    (operand,) = node.inputs
    d, shape = way.d, way.type(operand).shape
    require_real(way, node)
    rows, columns = shape[-2:]
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise way.refusal(node, " of matrices of any size")
    if node.attr("complete") and rows > columns:
        raise way.refusal(node, ' in mode "complete"')
    q, r = (d.item(way.moved[number], k) for k in range(2))
    r_bar = d.zeros(d.type(r)) if r_bar is None else r_bar
    q_bar = d.zeros(d.type(q)) if q_bar is None else q_bar
    beside: Ref | None = None
    if columns > rows:
        y = _last(d, way.ref(operand), rows)
        beside = _last(d, r_bar, rows)
        q_bar = d.add(q_bar, d.product(y, d.transposed(beside)))
        r, r_bar = _first(d, r, -1, rows), _first(d, r_bar, -1, rows)
    inner = d.sub(d.product(r, d.transposed(r_bar)), d.product(d.transposed(q_bar), q))
    lower = d.triangle(inner, True)
    twice = d.where(d.on_diagonal(d.type(inner).shape[-1]), 0.0, d.transposed(lower))
    total = d.add(q_bar, d.product(q, d.add(lower, twice)))
    found = d.transposed(
        d.make(library.triangular_solve, r, d.transposed(total), lower=False, adjoint=False)
    )
    if beside is not None:
        found = d.make(assemble.concat, found, d.product(q, beside), axis=len(shape) - 1)
    way.give(operand, found)


def _eig(way: Reverse, number: int, node: Node, values: Cotangent, vectors: Cotangent) -> None:
    """Of the values alone: M. B. Giles, "Collected matrix derivative results", 2008."""
    (operand,) = node.inputs
    d = way.d
    if vectors is not None:
        raise way.refusal(node, " of eigenvectors")
    if values is None:
        return
    v = d.item(way.moved[number], 1)
    inner = d.mul(column(d, values), d.transposed(v))
    found = d.make(library.solve, d.transposed(v), inner)
    if not way.type(operand).dtype.is_complex:
        found = d.real(found)
    way.give(operand, d.cast(found, dtype=way.type(operand).dtype))


def _lstsq(way: Reverse, number: int, node: Node, g: Ref) -> None:
    """Of independent columns."""
    a, b = node.inputs
    d, x = way.d, way.ref(number)
    require_real(way, node)
    rows, columns = way.type(a).shape
    if not isinstance(rows, int) or not isinstance(columns, int) or rows < columns:
        raise way.refusal(node, " of fewer equations than unknowns")
    matrix, values = way.ref(a), way.ref(b)
    vector = len(way.type(b).shape) == 1
    if vector:
        x, g, values = (d.reshaped(t, (*d.type(t).shape, 1)) for t in (x, g, values))
    w = d.make(library.solve, d.product(d.transposed(matrix), matrix), g)
    back = d.product(matrix, w)
    way.give(b, d.reshaped(back, way.type(b).shape))
    if way.active[a]:
        rest = d.sub(values, d.product(matrix, x))
        found = d.sub(d.product(rest, d.transposed(w)), d.product(back, d.transposed(x)))
        way.give(a, found)


def expm(way: Reverse, number: int, node: Node, g: Ref) -> None:
    """The block beside the diagonal of an exponential (C. Van Loan, "Computing Integrals
    Involving the Matrix Exponential", 1978).
    """
    (operand,) = node.inputs
    d, type = way.d, way.type(operand)
    rank, size = len(type.shape), type.shape[-1]
    at = d.transposed(way.ref(operand))
    top = d.make(assemble.concat, at, g, axis=rank - 1)
    bottom = d.make(assemble.concat, d.zeros(type), at, axis=rank - 1)
    whole = d.make(library.expm, d.make(assemble.concat, top, bottom, axis=rank - 2))
    way.give(operand, _last(d, _first(d, whole, -2, size), size))


def require_real(way: Reverse, node: Node) -> None:
    """Refuse complex matrices."""
    if way.type(node.inputs[0]).dtype.is_complex:
        raise way.refusal(node, " for complex matrices")


def _over(d: Slopes, x: Ref) -> Ref:
    """1 / x, and 0 where x is 0."""
    none = d.eq(x, 0.0)
    return d.where(none, 0.0, d.div(1.0, d.where(none, 1.0, x)))


def _row(d: Slopes, x: Ref) -> Ref:
    """Vectors as matrices of one row."""
    shape = d.type(x).shape
    return d.reshaped(x, (*shape[:-1], 1, shape[-1]))


def column(d: Slopes, x: Ref) -> Ref:
    """Vectors as matrices of one column."""
    return d.reshaped(x, (*d.type(x).shape, 1))


def _diagonal(d: Slopes, x: Ref) -> Ref:
    """Diagonal matrices of vectors."""
    shape = d.type(x).shape
    return d.where(d.on_diagonal(shape[-1]), d.spread(_row(d, x), (*shape, shape[-1])), 0.0)


def _plus(d: Slopes, x: Ref | None, y: Ref) -> Ref:
    return y if x is None else d.add(x, y)


def _first(d: Slopes, x: Ref, axis: int, count: Any) -> Ref:
    """The first rows or columns."""
    shape = list(d.type(x).shape)
    shape[axis] = count
    return d.part(x, (0,) * len(shape), tuple(shape))


def _last(d: Slopes, x: Ref, begin: Any) -> Ref:
    """The columns from a number on."""
    shape = list(d.type(x).shape)
    starts = (*(0,) * (len(shape) - 1), begin)
    shape[-1] = shape[-1] - begin
    return d.part(x, starts, tuple(shape))


def _fft(way: Reverse, number: int, node: Node, g: Ref) -> None:
    (operand,) = node.inputs
    d, type = way.d, way.type(operand)
    transform, axis, n = node.attr("transform"), node.attr("axis"), node.attr("n")
    extent = type.shape[axis]
    if transform == "irfft":
        spectrum = d.make(library.fft, g, transform="rfft", axis=axis, n=n)
        part, dtype = d.type(spectrum).shape, d.type(spectrum).dtype.dtype
        weight = np.full(n // 2 + 1, 2.0 / n)
        weight[0] = 1.0 / n
        if n % 2 == 0:
            weight[-1] = 1.0 / n
        shape = tuple(m if k == axis else 1 for k, m in enumerate(part))
        scale = Ref(way.builder.const(weight.reshape(shape).astype(dtype)))
        found = d.mul(d.conj(spectrum), scale)
    else:
        whole = _fitted(d, g, axis, n)
        kind = "fft" if transform == "rfft" else transform
        found = d.make(library.fft, whole, transform=kind, axis=axis, n=n)
        if transform == "rfft":
            found = d.real(found)
    found = _fitted(d, found, axis, extent)
    if d.type(found).dtype != type.dtype:  # transforms of float16 are computed in float32
        found = d.cast(found, dtype=type.dtype)
    way.give(operand, found)


def _fitted(d: Slopes, x: Ref, axis: int, extent: int) -> Ref:
    """The first elements along an axis, or all of them and zeros."""
    shape = d.type(x).shape
    wanted = tuple(extent if k == axis else n for k, n in enumerate(shape))
    starts, steps = (0,) * len(shape), (1,) * len(shape)
    if shape[axis] >= extent:
        return x if shape[axis] == extent else d.part(x, starts, wanted, steps)
    zeros = d.zeros(TensorType(wanted, d.type(x).dtype))
    return d.make(assemble.place, zeros, x, starts=starts, steps=steps)


ROUTINES: dict[Any, Callable[..., None]] = {
    library.inv: inv,
    library.det: det,
    library.slogdet: _slogdet,
    library.solve: solve,
    library.triangular_solve: _triangular_solve,
    library.cholesky: _cholesky,
    library.svd: _svd,
    library.qr: _qr,
    library.eig: _eig,
    library.lstsq: _lstsq,
    library.expm: expm,
    library.eigh: _eigh,
    library.fft: _fft,
    library.sort: sorted_back,
    library.special: pointwise,
}
__all__ = ["ROUTINES", "column", "det", "expm", "inv", "of_cholesky", "require_real", "solve"]
