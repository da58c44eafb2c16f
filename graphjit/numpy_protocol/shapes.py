"""NumPy's functions that lay out one array anew: reshape, transpose, flip, diagonals."""

from __future__ import annotations

import math as pymath
from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.core.errors import ShapeError, at_user_line
from graphjit.core.types import Shape
from graphjit.functions import create, shape
from graphjit.ops import view
from graphjit.tensors.apply import apply

from .promotion import (
    Handler,
    array,
    axes_of,
    axis_of,
    broadcast,
    broadcast_shape,
    is_symbol,
    refuse,
    static_int,
    static_ints,
    unsupported,
)


def bad_shape(message: str) -> ShapeError:
    """NumPy's ValueError, with the user's line."""
    return ShapeError(at_user_line(message))


def reshape(
    a: Any, /, shape: Any = None, order: Any = "C", *, newshape: Any = None, copy: Any = None
) -> Any:
    """np.reshape."""
    refuse(copy=(copy,), newshape=(newshape,), order=(order, "C", "F"))
    x = array(a)
    if shape is None:
        raise unsupported("np.reshape without a shape")
    wanted = static_ints(shape)
    if wanted.count(-1) > 1:
        raise bad_shape("can only specify one unknown dimension")
    known = pymath.prod(n for n in wanted if n != -1)
    if any(n < -1 for n in wanted):
        raise unsupported("a negative extent")
    fits = x.type.size == known if -1 not in wanted else known and x.type.size % known == 0
    if not fits:
        raise bad_shape(f"cannot reshape array of size {x.type.size} into shape {wanted}")
    wanted = tuple(x.type.size // known if n == -1 else n for n in wanted)
    return _reshaped(x, wanted, order)


def _reshaped(x: Any, wanted: Shape, order: Any = "C") -> Any:
    if order == "F":
        turned = shape.reshape(shape.transpose(x), tuple(reversed(wanted)))
        return shape.transpose(turned)
    return shape.reshape(x, wanted)


def ravel(a: Any, order: Any = "C") -> Any:
    """np.ravel."""
    refuse(order=(order, "C", "F"))
    x = array(a)
    made = _reshaped(x, (x.type.size,), order)
    if not is_symbol(made):
        return made
    if made is x:
        made = apply(view.reshape, x, shape=x.type.shape)
    return made.recorder.views.note_ravel(made)


def transpose(a: Any, axes: Any = None) -> Any:
    """np.transpose."""
    x = array(a)
    if axes is None:
        return shape.transpose(x)
    given = static_ints(axes)
    if len(given) != x.ndim:
        raise bad_shape("axes don't match array")
    order = [axis_of(k, x.ndim) for k in given]
    if len(set(order)) != len(order):
        raise bad_shape("repeated axis in transpose")
    return shape.transpose(x, order)


def matrix_transpose(x: Any, /) -> Any:
    """np.matrix_transpose."""
    x = array(x)
    if x.ndim < 2:
        raise bad_shape("matrix transpose with ndim < 2 is undefined")
    return shape.swapaxes(x, -1, -2)


def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """np.moveaxis."""
    x = array(a)
    origins, targets = axes_of(source, x.ndim), axes_of(destination, x.ndim)
    if len(origins) != len(targets):
        raise bad_shape("`source` and `destination` must have the same number of elements")
    return shape.moveaxis(x, origins, targets)


def rollaxis(a: Any, axis: Any, start: Any = 0) -> Any:
    """np.rollaxis."""
    x = array(a)
    k, place = axis_of(axis, x.ndim), static_int(start)
    place += x.ndim if place < 0 else 0
    if not 0 <= place <= x.ndim:
        axis_of(start, x.ndim + 1)
        raise unsupported("this start")
    return shape.moveaxis(x, k, place - 1 if k < place else place)


def swapaxes(a: Any, axis1: Any, axis2: Any) -> Any:
    """np.swapaxes."""
    x = array(a)
    return shape.swapaxes(x, axis_of(axis1, x.ndim), axis_of(axis2, x.ndim))


def expand_dims(a: Any, axis: Any) -> Any:
    """np.expand_dims."""
    x = array(a)
    axes = static_ints(axis)
    places = axes_of(axes, x.ndim + len(axes))
    return shape.expand_dims(x, list(places))


def squeeze(a: Any, axis: Any = None) -> Any:
    """np.squeeze."""
    x = array(a)
    if axis is None:
        return shape.squeeze(x)
    if isinstance(axis, list):
        raise unsupported("a list as axis=")
    if not x.ndim:
        raise unsupported("np.squeeze of a number along an axis")
    axes = axes_of(axis, x.ndim)
    if any(x.type.shape[k] != 1 for k in axes):
        raise bad_shape("cannot select an axis to squeeze out which has size not equal to one")
    return shape.squeeze(x, list(axes)) if axes else x


def flip(m: Any, axis: Any = None) -> Any:
    """np.flip."""
    x = array(m)
    axes = axes_of(axis, x.ndim)
    return shape.reverse(x, list(axes)) if axes else x


def _flipped(axis: int) -> Handler:
    def handler(m: Any) -> Any:
        x = array(m)
        if x.ndim <= axis:
            raise bad_shape(f"Input must be >= {axis + 1}-d.")
        return shape.reverse(x, [axis])

    return handler


def rot90(m: Any, k: Any = 1, axes: Any = (0, 1)) -> Any:
    """np.rot90."""
    x = array(m)
    pair = static_ints(axes)
    if len(pair) != 2 or x.ndim < 2 or axis_of(pair[0], x.ndim) == axis_of(pair[1], x.ndim):
        raise unsupported("these axes")
    return shape.rot90(x, static_int(k), (pair[0], pair[1]))


def diagonal(a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1) -> Any:
    """np.diagonal."""
    x = array(a)
    if x.ndim < 2:
        raise bad_shape("diag requires an array of at least two dimensions")
    i, j = axis_of(axis1, x.ndim), axis_of(axis2, x.ndim)
    if i == j:
        raise bad_shape("axis1 and axis2 cannot be the same")
    return shape.diag_part(x, static_int(offset), i, j)


def diag(v: Any, k: Any = 0) -> Any:
    """np.diag."""
    x = array(v)
    if x.ndim == 1:
        return shape.diag(x, static_int(k))
    if x.ndim == 2:
        return shape.diag_part(x, static_int(k))
    raise bad_shape("Input must be 1- or 2-d.")


def diagflat(v: Any, k: Any = 0) -> Any:
    """np.diagflat."""
    x = array(v)
    return shape.diag(shape.reshape(x, (x.type.size,)), static_int(k))


def _triangle(function: Callable[..., Any]) -> Handler:
    def handler(m: Any, k: Any = 0) -> Any:
        x = array(m)
        if x.ndim == 0:
            raise unsupported("a triangle of a number")
        if x.ndim == 1:
            n = x.type.shape[0]
            x = shape.broadcast_to(x, (n, n))
        return function(x, static_int(k))

    return handler


def broadcast_to(array_: Any, shape: Any, subok: Any = False) -> Any:
    """np.broadcast_to."""
    return broadcast(array(array_), static_ints(shape))


def _broadcast_to(array: Any, shape: Any, subok: Any = False) -> Any:
    return broadcast_to(array, shape, subok)


def broadcast_arrays(*args: Any, subok: Any = False) -> Any:
    """np.broadcast_arrays."""
    arrays = [array(a) for a in args]
    wanted = broadcast_shape(*(x.type.shape for x in arrays))
    return tuple(shape.broadcast_to(x, wanted) for x in arrays)


def shape_at_least(rank: int, known: Shape) -> Shape:
    """The shape that np.atleast_1d and its kin give an array."""
    if rank == 3 and len(known) in (1, 2):
        return (*((1,) if len(known) == 1 else ()), *known, 1)
    return (1,) * (rank - len(known)) + tuple(known)


def at_least(rank: int) -> Handler:
    """np.atleast_1d and its kin."""

    def one(value: Any) -> Any:
        x = array(value)
        return x if x.ndim >= rank else shape.reshape(x, shape_at_least(rank, x.type.shape))

    def handler(*arys: Any) -> Any:
        found = tuple(one(a) for a in arys)
        return found[0] if len(found) == 1 else found

    return handler


# Results may stand on the arguments' memory.
VIEWS: dict[Any, Handler] = {
    np.reshape: reshape,
    np.ravel: ravel,
    np.transpose: transpose,
    np.moveaxis: moveaxis,
    np.rollaxis: rollaxis,
    np.swapaxes: swapaxes,
    np.expand_dims: expand_dims,
    np.squeeze: squeeze,
    np.flip: flip,
    np.fliplr: _flipped(1),
    np.flipud: _flipped(0),
    np.rot90: rot90,
    np.diagonal: diagonal,
    np.diag: diag,
    np.broadcast_to: _broadcast_to,
    np.broadcast_arrays: broadcast_arrays,
    np.atleast_1d: at_least(1),
    np.atleast_2d: at_least(2),
    np.atleast_3d: at_least(3),
    np.linalg.matrix_transpose: matrix_transpose,
}
FUNCTIONS: dict[Any, Handler] = {
    np.diagflat: diagflat,
    np.tril: _triangle(create.tril),
    np.triu: _triangle(create.triu),
}
if hasattr(np, "matrix_transpose"):
    VIEWS[np.matrix_transpose] = matrix_transpose
