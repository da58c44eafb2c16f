"""NumPy's products of arrays: dot, inner, outer, tensordot, einsum, kron, cross, trace."""

from __future__ import annotations

import string
from typing import Any

import numpy as np

from graphjit.core.errors import ShapeError, at_user_line
from graphjit.functions import linalg, math, shape
from graphjit.ops import pointwise as pw
from graphjit.tensors.apply import apply

from .promotion import (
    Aliased,
    Handler,
    array,
    axis_of,
    broadcast_shape,
    constant,
    is_symbol,
    promoted,
    refuse,
    single,
    static_int,
    static_ints,
    unsupported,
)
from .reductions import total
from .shapes import diagonal
from .ufunc_methods import outer
from .ufuncs import run_ufunc


def _operands(*values: Any) -> list[Any]:
    found = promoted(*(array(v) for v in values))
    if found[0].type.dtype.is_bool:
        raise unsupported("a product of bools")
    return found


def _scaled(x: Any, y: Any) -> Any:
    """An array times a number as NumPy's dot has it, which BLAS adds to 0."""
    result = run_ufunc(np.multiply, x, y)
    dtype = result.type.dtype
    if result.ndim and dtype.is_inexact and not dtype.is_narrow:
        return apply(pw.add, result, constant(0, dtype))
    return result


def dot(a: Any, b: Any, out: Any = None) -> Any:
    """np.dot."""
    refuse(out=(out,))
    x, y = array(a), array(b)
    if not x.ndim or not y.ndim:
        return _scaled(x, y)
    if x.type.dtype.is_bool and y.type.dtype.is_bool and y.ndim <= 2:
        return run_ufunc(np.matmul, x, y)
    x, y = _operands(x, y)
    k = max(y.ndim - 2, 0)
    if x.type.shape[-1] != y.type.shape[k]:
        raise ShapeError(at_user_line(f"shapes {x.type.shape} and {y.type.shape} not aligned"))
    return linalg.tensordot(x, y, ([x.ndim - 1], [k]))


def vdot(a: Any, b: Any, /) -> Any:
    """np.vdot."""
    x, y = _operands(a, b)
    if x.type.size != y.type.size:
        raise ShapeError(at_user_line("cannot reshape: vdot of different sizes"))
    flat = [shape.reshape(t, (t.type.size,)) for t in (math.conj(x), y)]
    return run_ufunc(np.matmul, *flat)


def inner(a: Any, b: Any, /) -> Any:
    """np.inner."""
    x, y = array(a), array(b)
    if not x.ndim or not y.ndim:
        return _scaled(x, y)
    x, y = _operands(x, y)
    if x.type.shape[-1] != y.type.shape[-1]:
        raise ShapeError(at_user_line(f"shapes {x.type.shape} and {y.type.shape} not aligned"))
    return linalg.tensordot(x, y, ([x.ndim - 1], [y.ndim - 1]))


def outer_product(a: Any, b: Any, out: Any = None) -> Any:
    """np.outer."""
    refuse(out=(out,))
    x, y = array(a), array(b)
    flat = [shape.reshape(t, (t.type.size,)) for t in (x, y)]
    return outer(np.multiply, *flat)


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """np.tensordot."""
    x, y = _operands(a, b)
    if is_symbol(axes) or not hasattr(axes, "__len__"):
        count = static_int(axes)
        if count < 0 or count > min(x.ndim, y.ndim):
            raise unsupported("this number of axes")
        pairs = (list(range(x.ndim - count, x.ndim)), list(range(count)))
    else:
        left, right = axes
        pairs = (
            [axis_of(k, x.ndim) for k in static_ints(left)],
            [axis_of(k, y.ndim) for k in static_ints(right)],
        )
    if len(pairs[0]) != len(pairs[1]) or any(
        x.type.shape[i] != y.type.shape[j] for i, j in zip(*pairs, strict=True)
    ):
        raise ShapeError(at_user_line("shape-mismatch for sum"))
    return linalg.tensordot(x, y, pairs)


def einsum(*operands: Any, out: Any = None, optimize: Any = False, **kwargs: Any) -> Any:
    """np.einsum."""
    refuse(out=(out,), order=(kwargs.pop("order", None), "K", "C"))
    refuse(**{k: (v,) for k, v in kwargs.items()})
    operands = with_equation(operands)
    tensors = _operands(*operands[1:])
    operands = _without_ones(operands[0], tensors), *tensors

    def contracted(*tensors: Any) -> Any:
        result = linalg.einsum(operands[0], *tensors)
        if len(tensors) == 1 or optimize or not result.type.dtype.is_inexact:
            return result
        # NumPy adds the products to 0, which has the other sign than -0.0
        return apply(pw.add, result, constant(0, result.type.dtype))

    result = contracted(*tensors) if len(tensors) == 1 else single(contracted)(*tensors)
    moved = len(tensors) == 1 and result.type.size <= tensors[0].type.size
    return Aliased(result) if moved and _only_moves(operands[0]) else result


def _without_ones(equation: str, tensors: list[Any]) -> str:
    """The equation without labels of extents of 1 that NumPy broadcasts: of an operand that has
    such an axis where another one has more elements; the axis is taken out in `tensors`.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if "." in left or len(terms) != len(tensors):
        return equation
    if any(len(term) != t.ndim for term, t in zip(terms, tensors, strict=True)):
        return equation
    extents: dict[str, list[Any]] = {}
    for term, t in zip(terms, tensors, strict=True):
        for label, n in zip(term, t.type.shape, strict=True):
            extents.setdefault(label, []).append(n)
    several = {k for k, found in extents.items() if any(n != found[0] for n in found)}
    if not several:
        return equation
    for k, (term, t) in enumerate(zip(terms, tensors, strict=True)):
        pairs = list(zip(term, t.type.shape, strict=True))
        kept = [(label, n) for label, n in pairs if not (label in several and n == 1)]
        if len(kept) == len(pairs):
            continue
        if any(term.count(label) > 1 for label in several.intersection(term)):
            return equation  # a diagonal of another extent
        terms[k] = "".join(label for label, _ in kept)
        tensors[k] = shape.reshape(t, tuple(n for _, n in kept))
    if not arrow:  # the labels that there were once, by their order
        every = left.replace(",", "")
        right = "".join(sorted(label for label in set(every) if every.count(label) == 1))
    return ",".join(terms) + "->" + right


def with_equation(operands: tuple[Any, ...]) -> tuple[Any, ...]:
    """The operands of an einsum after its equation, where lists of numbers name the axes."""
    if isinstance(operands[0], str):
        return operands
    arrays, lists = operands[: len(operands) // 2 * 2 : 2], operands[1::2]
    result = operands[-1] if len(operands) % 2 else None
    terms = [_labels(given) for given in lists]
    equation = ",".join(terms)
    if result is not None:
        equation += "->" + _labels(result)
    return (equation, *arrays)


def _labels(given: Any) -> str:
    """A letter for each number: NumPy has the capital ones first."""
    if not isinstance(given, (list, tuple)):
        raise unsupported("np.einsum with these subscripts")
    letters = string.ascii_uppercase + string.ascii_lowercase
    found = []
    for k in given:
        if k is Ellipsis:
            found.append("...")
            continue
        number = static_int(k)
        if not 0 <= number < len(letters):
            raise ShapeError(at_user_line("subscript is not within the valid range [0, 52)"))
        found.append(letters[number])
    return "".join(found)


def as_tensordot(*operands: Any, optimize: Any = False, **kwargs: Any) -> bool:
    """Whether NumPy makes an einsum of two operands a tensordot: whose results are arrays."""
    operands = with_equation(operands)
    left, _, right = str(operands[0]).replace(" ", "").partition("->")
    first, comma, second = left.partition(",")
    same = comma and not right and set(first) == set(second) and first
    return bool(optimize and same and all(n != 1 for x in operands[1:] for n in np.shape(x)))


def _only_moves(equation: str) -> bool:
    """Whether an equation of one operand sums nothing, so that NumPy gives a view."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    labels = set(left) - {"."}
    if not arrow:
        return all(left.count(k) == 1 for k in labels)
    return labels <= set(right)


def kron(a: Any, b: Any) -> Any:
    """np.kron."""
    x, y = array(a), array(b)
    rank = max(x.ndim, y.ndim)
    x, y = (shape.reshape(t, (1,) * (rank - t.ndim) + t.type.shape) for t in (x, y))
    left = [n for extent in x.type.shape for n in (extent, 1)]
    right = [n for extent in y.type.shape for n in (1, extent)]
    products = run_ufunc(np.multiply, shape.reshape(x, left), shape.reshape(y, right))
    extents = [m * n for m, n in zip(x.type.shape, y.type.shape, strict=True)]
    return shape.reshape(products, extents)


def cross(
    a: Any, b: Any, axisa: Any = -1, axisb: Any = -1, axisc: Any = -1, axis: Any = None
) -> Any:
    """np.cross of 3-vectors."""
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = _operands(a, b)
    x = shape.moveaxis(x, axis_of(axisa, x.ndim), -1)
    y = shape.moveaxis(y, axis_of(axisb, y.ndim), -1)
    extents = (x.type.shape[-1], y.type.shape[-1])
    if any(n not in (2, 3) for n in extents):
        raise ShapeError(at_user_line("incompatible dimensions for cross product"))
    if extents != (3, 3):
        raise unsupported("np.cross of 2-vectors")
    broadcast_shape(x.type.shape, y.type.shape)

    def part(t: Any, i: int) -> Any:
        return shape.slice_axis(t, t.ndim - 1, i % 3, 1)

    parts = []
    for i in range(3):
        plus = math.multiply(part(x, i + 1), part(y, i + 2))
        parts.append(math.subtract(plus, math.multiply(part(x, i + 2), part(y, i + 1))))
    result = shape.concat(parts, parts[0].ndim - 1)
    return shape.moveaxis(result, -1, axis_of(axisc, result.ndim))


def trace(
    a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1, dtype: Any = None, out: Any = None
) -> Any:
    """np.trace."""
    return total(diagonal(a, offset, axis1, axis2), -1, dtype, out)


FUNCTIONS: dict[Any, Handler] = {
    np.trace: trace,
    np.dot: dot,
    np.vdot: vdot,
    np.inner: inner,
    np.outer: outer_product,
    np.tensordot: tensordot,
    np.einsum: einsum,
    np.kron: kron,
    np.cross: cross,
}
