"""NumPy's products of arrays, np.linalg and np.fft."""

from __future__ import annotations

import math as pymath
from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.dispatch import apply
from graphjit.errors import DTypeError, ShapeError, at_user_line
from graphjit.functions import linalg, math, shape, signal
from graphjit.functions import reduce as gj_reduce
from graphjit.ops import library
from graphjit.ops import pointwise as pw
from graphjit.ops import reduce as rd
from graphjit.types import Shape, as_dtype, float32, float64, int64

from .promotion import (
    NO_VALUE,
    Aliased,
    Handler,
    array,
    axes_of,
    axis_of,
    broadcast_shape,
    cast,
    constant,
    convert,
    is_symbol,
    leaves,
    promoted,
    refuse,
    result_dtype,
    static_int,
    static_ints,
    static_number,
    target_dtype,
    unsupported,
)
from .reductions import maximum, minimum, total
from .shapes import diagonal, matrix_transpose, trace
from .ufuncs import UFUNCS, outer, run_ufunc

FUNCTIONS: dict[Any, Handler] = {}
VIEWS: dict[Any, Handler] = {}


def _operands(*values: Any) -> list[Any]:
    found = promoted(*(array(v) for v in values))
    if found[0].type.dtype.is_bool:
        raise unsupported("a product of bools")
    return found


def dot(a: Any, b: Any, out: Any = None) -> Any:
    """np.dot."""
    refuse(out=(out,))
    x, y = array(a), array(b)
    if not x.ndim or not y.ndim:
        return run_ufunc(np.multiply, x, y)
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
        return run_ufunc(np.multiply, x, y)
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
    """np.einsum with a string of subscripts."""
    refuse(out=(out,), order=(kwargs.pop("order", None), "K", "C"))
    refuse(**{k: (v,) for k, v in kwargs.items()})
    if not isinstance(operands[0], str):
        raise unsupported("np.einsum with lists of subscripts")
    tensors = _operands(*operands[1:])
    result = linalg.einsum(operands[0], *tensors)
    moved = len(tensors) == 1 and result.type.size <= tensors[0].type.size
    return Aliased(result) if moved and _only_moves(operands[0]) else result


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


# -- np.linalg -------------------------------------------------------------------------------


def _matrix(a: Any, square: bool = False) -> Any:
    """An operand of LAPACK: floats of 32 or 64 bits, integers as float64."""
    x = array(a)
    if x.ndim < 2:
        raise np.linalg.LinAlgError(
            f"{x.ndim}-dimensional array given. Array must be at least two-dimensional"
        )
    if square and x.type.shape[-1] != x.type.shape[-2]:
        raise np.linalg.LinAlgError("Last 2 dimensions of the array must be square")
    if x.type.dtype.size == 2 and x.type.dtype.is_floating:
        raise DTypeError(
            at_user_line(f"array type {x.type.dtype.name} is unsupported in linalg")
        )
    return x if x.type.dtype.is_inexact else cast(x, float64)


def inv(a: Any) -> Any:
    """np.linalg.inv."""
    return apply(library.inv, _matrix(a, square=True))


def det(a: Any) -> Any:
    """np.linalg.det."""
    return apply(library.det, _matrix(a, square=True))


def _named(name: str) -> Any:
    """The named tuple that a function of np.linalg returns."""
    eye = np.eye(2)
    return type(getattr(np.linalg, name)(eye))


def slogdet(a: Any) -> Any:
    """np.linalg.slogdet."""
    return _named("slogdet")(*apply(library.slogdet, _matrix(a, square=True)))


def solve(a: Any, b: Any) -> Any:
    """np.linalg.solve."""
    x = _matrix(a, square=True)
    y = array(b)
    if y.type.dtype.size == 2 and y.type.dtype.is_floating:
        raise DTypeError(at_user_line("array type float16 is unsupported in linalg"))
    vector = y.ndim == 1
    if not y.ndim:
        raise unsupported("np.linalg.solve for a number")
    y = y if y.type.dtype.is_inexact else cast(y, float64)
    x, y = promoted(x, y)
    y = shape.expand_dims(y, 1) if vector else y
    if y.type.shape[-2] != x.type.shape[-1]:
        raise ShapeError(
            at_user_line("solve: Input operand 1 has a mismatch in its core dimension")
        )
    result = apply(library.solve, x, y)
    return shape.squeeze(result, -1) if vector else result


def _lower(x: Any, letter: Any) -> Any:
    """The matrix of which the lower triangle is meant."""
    if not isinstance(letter, str) or letter.upper() not in ("L", "U"):
        raise ShapeError(at_user_line("UPLO argument must be 'L' or 'U'"))
    return x if letter.upper() == "L" else math.conj(shape.swapaxes(x, -1, -2))


def cholesky(a: Any, /, *, upper: Any = False) -> Any:
    """np.linalg.cholesky."""
    x = _lower(_matrix(a, square=True), "U" if upper else "L")
    result = apply(library.cholesky, x)
    return math.conj(shape.swapaxes(result, -1, -2)) if upper else result


def qr(a: Any, mode: Any = "reduced") -> Any:
    """np.linalg.qr."""
    if mode not in ("reduced", "complete", "r"):
        raise unsupported(f"np.linalg.qr in mode {mode!r}")
    q, r = apply(library.qr, _matrix(a), complete=mode == "complete")
    return r if mode == "r" else _named("qr")(q, r)


def svd(
    a: Any, full_matrices: Any = True, compute_uv: Any = True, hermitian: Any = False
) -> Any:
    """np.linalg.svd."""
    refuse(hermitian=(hermitian, False))
    u, s, vh = apply(library.svd, _matrix(a), full=bool(full_matrices and compute_uv))
    return _named("svd")(u, s, vh) if compute_uv else s


def svdvals(x: Any, /) -> Any:
    """np.linalg.svdvals."""
    return svd(x, compute_uv=False)


def eigh(a: Any, UPLO: Any = "L") -> Any:
    """np.linalg.eigh."""
    values, vectors = apply(library.eigh, _lower(_matrix(a, square=True), UPLO))
    return _named("eigh")(values, vectors)


def eigvalsh(a: Any, UPLO: Any = "L") -> Any:
    """np.linalg.eigvalsh."""
    return eigh(a, UPLO)[0]


def eig(a: Any) -> Any:
    """np.linalg.eig of complex matrices; of real ones the dtype depends on data."""
    x = _matrix(a, square=True)
    if not x.type.dtype.is_complex:
        raise unsupported("np.linalg.eig of a real matrix, whose dtype depends on data,")
    return _named("eig")(*apply(library.eig, x))


def eigvals(a: Any) -> Any:
    """np.linalg.eigvals of complex matrices."""
    return eig(a)[0]


def _cutoff(s: Any, tolerance: Any) -> Any:
    largest = gj_reduce.reduce_max(s, -1, True)
    return run_ufunc(np.multiply, largest, tolerance)


def matrix_rank(A: Any, tol: Any = None, hermitian: Any = False, *, rtol: Any = None) -> Any:
    """np.linalg.matrix_rank."""
    refuse(hermitian=(hermitian, False), tol=(tol,), rtol=(rtol,))
    x = array(A)
    if x.ndim < 2:
        raise unsupported("np.linalg.matrix_rank of a vector")
    x = _matrix(x)
    s = svd(x, compute_uv=False)
    if not s.type.shape[-1]:
        raise unsupported("the rank of an empty matrix")
    epsilon = float(np.finfo(s.type.dtype.dtype).eps)
    limit = _cutoff(s, max(x.type.shape[-2:]) * epsilon)
    return total(cast(apply(pw.gt, s, limit), int64), -1)


def pinv(a: Any, rcond: Any = None, hermitian: Any = False, *, rtol: Any = NO_VALUE) -> Any:
    """np.linalg.pinv."""
    refuse(hermitian=(hermitian, False), rtol=(rtol,))
    x = _matrix(a)
    if not x.type.size:
        raise unsupported("np.linalg.pinv of an empty matrix")
    limit = 1e-15 if rcond is None else static_number(rcond)
    if np.ndim(limit):
        raise unsupported("several rcond")
    u, s, vh = svd(math.conj(x), full_matrices=False)
    large = run_ufunc(np.greater, s, _cutoff(s, float(limit)))
    one, zero = constant(1, s.type.dtype), constant(0, s.type.dtype)
    inverse = apply(pw.where, large, apply(pw.div, one, apply(pw.where, large, s, one)), zero)
    right = run_ufunc(np.multiply, shape.expand_dims(inverse, -1), shape.swapaxes(u, -1, -2))
    return run_ufunc(np.matmul, shape.swapaxes(vh, -1, -2), right)


def matrix_power(a: Any, n: Any) -> Any:
    """np.linalg.matrix_power."""
    x, power = array(a), static_int(n)
    if x.ndim < 2 or x.type.shape[-1] != x.type.shape[-2]:
        _matrix(x, square=True)
    if power < 0:
        x, power = inv(x), -power
    if power == 0:
        identity = np.eye(x.type.shape[-1], dtype=x.type.dtype.dtype)
        from graphjit.dispatch import wrap

        return shape.broadcast_to(wrap(identity), x.type.shape)
    if power == 1:
        return Aliased(x)
    result: Any = None
    square: Any = None
    while power:
        square = x if square is None else run_ufunc(np.matmul, square, square)
        power, bit = divmod(power, 2)
        if bit:
            result = square if result is None else run_ufunc(np.matmul, result, square)
    return result


def multi_dot(arrays: Any, *, out: Any = None) -> Any:
    """np.linalg.multi_dot, from left to right."""
    refuse(out=(out,))
    found = [array(a) for a in arrays]
    if len(found) < 2:
        raise ShapeError(at_user_line("Expecting at least two arrays."))
    if any(t.ndim != 2 for t in found[1:-1]) or any(t.ndim not in (1, 2) for t in found):
        raise np.linalg.LinAlgError("array given is not two-dimensional")
    result = found[0]
    for other in found[1:]:
        result = dot(result, other)
    return result


def cond(x: Any, p: Any = None) -> Any:
    """np.linalg.cond by singular values."""
    refuse(p=(p, 2, -2))
    t = _matrix(x)
    if not t.type.size:
        raise np.linalg.LinAlgError("cond is not defined on empty arrays")
    s = svd(t, compute_uv=False)
    last = s.type.shape[-1] - 1
    first, final = (shape.squeeze(shape.slice_axis(s, s.ndim - 1, i, 1), -1) for i in (0, last))
    ratio = math.divide(final, first) if p == -2 else math.divide(first, final)
    bad = math.logical_and(
        math.is_nan(ratio), math.logical_not(gj_reduce.reduce_any(_nans(t), (-2, -1)))
    )
    return apply(pw.where, bad, constant(np.inf, ratio.type.dtype), ratio)


def _nans(x: Any) -> Any:
    return apply(pw.isnan, x)


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: Any = False) -> Any:
    """np.linalg.norm."""
    t = array(x)
    t = t if t.type.dtype.is_inexact else cast(t, float64)
    ord = static_number(ord)
    keep = bool(static_number(keepdims))
    if axis is None and (
        ord is None or (ord in ("f", "fro") and t.ndim == 2) or (ord == 2 and t.ndim == 1)
    ):
        result = _euclidean(shape.reshape(t, (t.type.size,)), (0,), False)
        return shape.reshape(result, (1,) * t.ndim) if keep else result
    axes = axes_of(axis, t.ndim)
    if len(axes) == 1:
        return _vector_norm(t, ord, axes, keep)
    if len(axes) == 2:
        if axes[0] == axes[1]:
            raise ShapeError(at_user_line("Duplicate axes given."))
        return _matrix_norm(t, ord, axes, keep)
    raise ShapeError(at_user_line("Improper number of dimensions to norm."))


def _euclidean(x: Any, axes: Shape, keep: bool) -> Any:
    if x.type.dtype.is_complex:
        re, im = math.real(x), math.imag(x)
        squares = math.add(math.square(re), math.square(im))
    else:
        squares = math.square(x)
    return math.sqrt(total(squares, axes, None, None, keep))


def _vector_norm(x: Any, ord: Any, axes: Shape, keep: bool) -> Any:
    size = math.abs(x)
    if ord is None or ord == 2:
        return _euclidean(x, axes, keep)
    if ord == np.inf:
        return maximum(size, axes, None, keep)
    if ord == -np.inf:
        return minimum(size, axes, None, keep)
    if isinstance(ord, str):
        raise ShapeError(at_user_line(f"Invalid norm order '{ord}' for vectors"))
    if ord == 0:
        present = apply(pw.ne, x, constant(0, x.type.dtype))
        return total(cast(present, size.type.dtype), axes, None, None, keep)
    if ord == 1:
        return total(size, axes, None, None, keep)
    powers = run_ufunc(np.power, size, float(ord) if not isinstance(ord, int) else ord)
    result = total(powers, axes, None, None, keep)
    return run_ufunc(np.power, result, 1.0 / float(ord))


def _matrix_norm(x: Any, ord: Any, axes: Shape, keep: bool) -> Any:
    row, column = axes
    if ord in (None, "fro", "f"):
        return _euclidean(x, axes, keep)
    if ord in (1, -1, np.inf, -np.inf):
        first, second = (row, column) if ord in (1, -1) else (column, row)
        sums = total(math.abs(x), first, None, None, True)
        extreme = maximum if ord > 0 else minimum
        result = extreme(sums, second, None, True)
    elif ord in (2, -2, "nuc"):
        if x.type.dtype.size == 2:
            raise DTypeError(at_user_line("array type float16 is unsupported in linalg"))
        s = svd(shape.moveaxis(x, (row, column), (-2, -1)), compute_uv=False)
        if ord == "nuc":
            result = total(s, -1)
        else:
            result = (maximum if ord == 2 else minimum)(s, -1)
        result = shape.expand_dims(result, list(sorted(axes)))
    else:
        raise ShapeError(at_user_line("Invalid norm order for matrices."))
    return result if keep else shape.squeeze(result, list(axes))


def matrix_norm(x: Any, /, *, keepdims: Any = False, ord: Any = "fro") -> Any:
    """np.linalg.matrix_norm."""
    return norm(x, ord, (-2, -1), keepdims)


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: Any = False, ord: Any = 2) -> Any:
    """np.linalg.vector_norm along one axis."""
    t = array(x)
    if axis is None or (hasattr(axis, "__len__") and len(axis) != 1):
        raise unsupported("np.linalg.vector_norm over several axes")
    return norm(t, ord, axis, keepdims)


def _outer_of_vectors(x1: Any, x2: Any, /) -> Any:
    if array(x1).ndim != 1 or array(x2).ndim != 1:
        raise ShapeError(at_user_line("Input arrays must be one-dimensional"))
    return outer_product(x1, x2)


def _linalg_cross(x1: Any, x2: Any, /, *, axis: Any = -1) -> Any:
    return cross(x1, x2, axis=axis)


def _linalg_diagonal(x: Any, /, *, offset: Any = 0) -> Any:
    return diagonal(x, offset, -2, -1)


def _linalg_trace(x: Any, /, *, offset: Any = 0, dtype: Any = None) -> Any:
    return trace(x, offset, -2, -1, dtype)


def _linalg_matmul(x1: Any, x2: Any, /) -> Any:
    return run_ufunc(np.matmul, x1, x2)


def _linalg_tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    return tensordot(x1, x2, axes)


def _linalg_vecdot(x1: Any, x2: Any, /, *, axis: Any = -1) -> Any:
    refuse(axis=(axis, -1))
    return run_ufunc(np.vecdot, x1, x2)


# -- np.fft ------------------------------------------------------------------------------------


def _wave(a: Any, real: bool) -> Any:
    """An operand of a transform: real or complex, of the width that NumPy gives it."""
    x = array(a)
    dtype = x.type.dtype
    if real and dtype.is_complex:
        raise DTypeError(at_user_line("a transform of real numbers got complex ones"))
    sample = np.fft.fft(np.zeros(1, dtype.dtype)).dtype
    wide = as_dtype(sample)
    return cast(x, wide.real if real else wide)


def _transform(name: str) -> Handler:
    function = getattr(signal, name)

    def handler(
        a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None
    ) -> Any:
        refuse(out=(out,), norm=(norm, "backward", "ortho", "forward"))
        x = _wave(a, name == "rfft")
        points = None if n is None else static_int(n)
        if points is not None and points < 1:
            raise ShapeError(
                at_user_line(f"Invalid number of FFT data points ({points}) specified.")
            )
        result = function(x, points, axis_of(axis, x.ndim), norm)
        sample = getattr(np.fft, name)(np.zeros(2, array(a).type.dtype.dtype))
        return cast(result, as_dtype(sample.dtype))

    return handler


def _transforms(name: str, default: Any) -> Handler:
    function = getattr(signal, name)

    def handler(
        a: Any, s: Any = None, axes: Any = default, norm: Any = None, out: Any = None
    ) -> Any:
        refuse(out=(out,), s=(s,), norm=(norm, "backward", "ortho", "forward"))
        x = _wave(a, name.startswith("rfft"))
        places = axes_of(axes, x.ndim)
        if not places or len(set(places)) != len(places):
            raise unsupported("a transform along these axes")
        return function(x, None, places, norm)

    return handler


def _shift(function: Callable[..., Any]) -> Handler:
    def handler(x: Any, axes: Any = None) -> Any:
        t = array(x)
        return function(t, list(axes_of(axes, t.ndim)))

    return handler


VIEWS |= {np.linalg.diagonal: _linalg_diagonal, np.linalg.matrix_transpose: matrix_transpose}
FUNCTIONS |= {
    np.dot: dot,
    np.vdot: vdot,
    np.inner: inner,
    np.outer: outer_product,
    np.tensordot: tensordot,
    np.einsum: einsum,
    np.kron: kron,
    np.cross: cross,
    np.linalg.inv: inv,
    np.linalg.det: det,
    np.linalg.slogdet: slogdet,
    np.linalg.solve: solve,
    np.linalg.cholesky: cholesky,
    np.linalg.qr: qr,
    np.linalg.svd: svd,
    np.linalg.svdvals: svdvals,
    np.linalg.eigh: eigh,
    np.linalg.eigvalsh: eigvalsh,
    np.linalg.eig: eig,
    np.linalg.eigvals: eigvals,
    np.linalg.matrix_rank: matrix_rank,
    np.linalg.pinv: pinv,
    np.linalg.matrix_power: matrix_power,
    np.linalg.multi_dot: multi_dot,
    np.linalg.cond: cond,
    np.linalg.norm: norm,
    np.linalg.matrix_norm: matrix_norm,
    np.linalg.vector_norm: vector_norm,
    np.linalg.outer: _outer_of_vectors,
    np.linalg.cross: _linalg_cross,
    np.linalg.trace: _linalg_trace,
    np.linalg.matmul: _linalg_matmul,
    np.linalg.tensordot: _linalg_tensordot,
    np.linalg.vecdot: _linalg_vecdot,
    np.fft.fft: _transform("fft"),
    np.fft.ifft: _transform("ifft"),
    np.fft.rfft: _transform("rfft"),
    np.fft.irfft: _transform("irfft"),
    np.fft.fft2: _transforms("fft2", (-2, -1)),
    np.fft.ifft2: _transforms("ifft2", (-2, -1)),
    np.fft.rfft2: _transforms("rfft2", (-2, -1)),
    np.fft.fftn: _transforms("fftn", None),
    np.fft.ifftn: _transforms("ifftn", None),
    np.fft.rfftn: _transforms("rfftn", None),
    np.fft.fftshift: _shift(signal.fftshift),
    np.fft.ifftshift: _shift(signal.ifftshift),
}
_ = (UFUNCS, convert, float32, leaves, pymath, rd, result_dtype, target_dtype)
