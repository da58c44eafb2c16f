"""Reverse mode of routines of linear algebra and of transforms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.core.types import TensorType
from graphjit.ir.graph import Node
from graphjit.ops import assemble, library

from .matrices import Unconjugated, column, first, last_columns
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
    d, type = way.d, way.type(operand)
    scale = logarithm
    if type.dtype.is_complex:  # the sign turns by the imaginary part of the change
        if logarithm is not None:
            scale = d.complex(logarithm, 0.0)
        if sign is not None:
            turn = d.real(d.mul(sign, d.mul(d.item(way.moved[number], 0), 1j)))
            turned = d.complex(0.0, d.neg(turn))
            scale = turned if scale is None else d.add(scale, turned)
    if scale is not None:  # real signs are 1 or -1 around the matrix
        way.give(operand, _scaled_inverse(way, operand, scale))


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
    triangular(way, number, node, g, node.attr("lower"), node.attr("adjoint"))


def triangular(
    way: Reverse, number: int, node: Node, g: Ref, lower: bool, adjoint: bool
) -> None:
    """Of solutions of triangular equations, or of those of the conjugate transpose."""
    a, b = node.inputs
    own = Unconjugated(way)
    d, x, g = own.d, own.ref(number), own.given(g)
    vector = len(own.type(b).shape) == 1
    if vector:
        g, x = column(d, g), column(d, x)
    back = d.make(library.triangular_solve, own.ref(a), g, lower=lower, adjoint=not adjoint)
    shape = own.type(b).shape
    own.give(b, d.reshaped(back, shape) if vector else d.gathered(back, shape))
    if own.active[a]:
        pair = (x, back) if adjoint else (back, x)
        found = d.neg(d.product(pair[0], d.adjoint(pair[1])))
        own.give(a, d.gathered(d.triangle(found, lower), own.type(a).shape))


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
    way.give(operand, last_columns(d, first(d, whole, -2, size), size))


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
    library.expm: expm,
    library.fft: _fft,
    library.sort: sorted_back,
    library.special: pointwise,
}
__all__ = ["ROUTINES", "det", "expm", "inv", "solve", "triangular"]
