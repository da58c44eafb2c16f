"""Functions that move elements: reshape, transpose, slice, join, repeat, pad."""

from __future__ import annotations

import math as pymath
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, TracingError, at_user_line
from graphjit.core.types import (
    Shape,
    as_dtype,
    as_int,
    broadcast_shapes,
    check_size,
    normalize_axes,
    normalize_axis,
    shape_text,
)
from graphjit.ops import assemble, view
from graphjit.ops import index as ix
from graphjit.ops import pointwise as pw
from graphjit.tensors.apply import TensorBase, apply, as_tensor, same_dtype

__all__ = [
    "broadcast_static_shape",
    "broadcast_to",
    "concat",
    "diag",
    "diag_part",
    "expand_dims",
    "flip",
    "identity",
    "meshgrid",
    "moveaxis",
    "pad",
    "rank",
    "repeat",
    "reshape",
    "reverse",
    "roll",
    "rot90",
    "shape",
    "size",
    "slice",
    "split",
    "squeeze",
    "stack",
    "swapaxes",
    "tile",
    "transpose",
    "unstack",
]


def _static_array(x: TensorBase, op: str) -> Any:
    """The array of a tensor of extents, which a traced one hasn't."""
    x = x.as_tensor()
    if x.recorder is not None:
        if not x.ndim:
            x.__index__()  # type: ignore[attr-defined]  # a Python int is made static
        raise TracingError(
            at_user_line(f"the shape given to {op} is a traced value: shapes are static")
        )
    return np.asarray(x.numpy())  # type: ignore[attr-defined]


def as_shape(shape: Any, op: str) -> Shape:
    """A shape from ints, a sequence of ints, an integer array or an integer tensor."""
    if isinstance(shape, TensorBase):
        shape = _static_array(shape, op)
    if isinstance(shape, (np.ndarray, np.generic)):
        shape = shape.tolist()
    if not isinstance(shape, (tuple, list)):
        shape = (shape,)
    return tuple(as_int(extent, "an extent", op) for extent in shape)


def static_ints(values: Any, op: str) -> list[int]:
    """A list of Python ints from anything that may stand for one."""
    return list(as_shape(values, op))


def reshape(x: Any, shape: Any) -> Any:
    """The elements in C order in another shape; one extent may be -1."""
    x = as_tensor(x)
    wanted = as_shape(shape, "Reshape")
    if wanted.count(-1) > 1 or any(n < -1 for n in wanted):
        raise InvalidArgumentError(
            at_user_line(
                f"only one extent may be -1, and none below it: {list(wanted)} [Op:Reshape]"
            )
        )
    if -1 in wanted:
        known = pymath.prod(n for n in wanted if n != -1)
        size = x.type.size
        if known == 0 or size % known:
            raise InvalidArgumentError(
                at_user_line(
                    f"Input to reshape is a tensor with {size} values, but the requested shape "
                    f"requires a multiple of {known} [Op:Reshape]"
                )
            )
        wanted = tuple(size // known if n == -1 else n for n in wanted)
    same = len(wanted) == x.ndim and wanted == x.type.shape
    return x if same else apply(view.reshape, x, shape=wanted)


def transpose(x: Any, perm: Any = None, conjugate: bool = False) -> Any:
    """Axes permuted; reversed if `perm` is None. conjugate: of complex values the adjoint."""
    x = as_tensor(x)
    if perm is None:
        order = tuple(reversed(range(x.ndim)))
    else:
        given = static_ints(perm, "Transpose")
        if len(given) != x.ndim:
            raise InvalidArgumentError(
                at_user_line(
                    f"transpose expects a vector of size {x.ndim}. But input(1) is a vector of "
                    f"size {len(given)} [Op:Transpose]"
                )
            )
        order = tuple(normalize_axis(axis, x.ndim, "Transpose") for axis in given)
    result = x if order == tuple(range(x.ndim)) else apply(view.transpose, x, perm=order)
    return apply(pw.conj, result) if conjugate and x.dtype.is_complex else result


def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """Axes moved to new places; the others keep their order."""
    x = as_tensor(x)
    origins = [normalize_axis(a, x.ndim, "Transpose") for a in _listed(source)]
    targets = [normalize_axis(a, x.ndim, "Transpose") for a in _listed(destination)]
    if len(origins) != len(targets) or len(set(origins)) != len(origins):
        raise InvalidArgumentError(
            at_user_line(f"moveaxis from {origins} to {targets} [Op:Transpose]")
        )
    order = [k for k in range(x.ndim) if k not in origins]
    for target, origin in sorted(zip(targets, origins, strict=True)):
        order.insert(target, origin)
    return transpose(x, order)


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Two axes exchanged."""
    x = as_tensor(x)
    order = list(range(x.ndim))
    i, j = (normalize_axis(a, x.ndim, "Transpose") for a in (axis1, axis2))
    order[i], order[j] = order[j], order[i]
    return transpose(x, order)


def _listed(axes: Any) -> list[Any]:
    return list(axes) if isinstance(axes, (tuple, list)) else [axes]


def expand_dims(x: Any, axis: Any) -> Any:
    """New axes of extent 1 at these places of the result."""
    x = as_tensor(x)
    axes = _listed(axis)
    ndim = x.ndim + len(axes)
    places = normalize_axes(axes, ndim, "ExpandDims")
    rest = iter(x.type.shape)
    return reshape(x, tuple(1 if k in places else next(rest) for k in range(ndim)))


def squeeze(x: Any, axis: Any = None) -> Any:
    """Axes of extent 1 dropped: all, or those given, which must have extent 1."""
    x = as_tensor(x)
    if axis is None:
        places: Sequence[int] = [k for k, n in enumerate(x.type.shape) if n == 1]
    else:
        places = normalize_axes(axis, x.ndim, "Squeeze")
        for k in places:
            if x.type.shape[k] != 1:
                raise InvalidArgumentError(
                    at_user_line(
                        f"Can not squeeze dim[{k}], expected a dimension of 1, got "
                        f"{x.type.shape[k]} [Op:Squeeze]"
                    )
                )
    return reshape(x, tuple(n for k, n in enumerate(x.type.shape) if k not in places))


def broadcast_to(x: Any, shape: Any) -> Any:
    """Elements repeated to fill a shape, by NumPy's rule."""
    x = as_tensor(x)
    wanted = as_shape(shape, "BroadcastTo")
    return x if wanted == x.type.shape else apply(view.broadcast, x, shape=wanted)


def slice_strided(x: TensorBase, starts: Shape, sizes: Shape, steps: Shape) -> Any:
    """The elements starts + steps * i of each axis, for i in range(sizes)."""
    whole = (0,) * x.ndim, x.type.shape, (1,) * x.ndim
    if (starts, sizes, steps) == whole:
        return x
    return apply(view.slice_, x, starts=starts, sizes=sizes, steps=steps)


def slice_axis(x: TensorBase, axis: int, start: int, size: int) -> Any:
    """`size` elements of one axis from `start` on."""
    starts = tuple(start if k == axis else 0 for k in range(x.ndim))
    sizes = tuple(size if k == axis else n for k, n in enumerate(x.type.shape))
    return slice_strided(x, starts, sizes, (1,) * x.ndim)


def slice(x: Any, begin: Any, size: Any) -> Any:
    """A box of `size` elements (-1: all that follow) from `begin` on, in each axis."""
    x = as_tensor(x)
    starts, sizes = static_ints(begin, "Slice"), static_ints(size, "Slice")
    if len(starts) != x.ndim or len(sizes) != x.ndim:
        raise InvalidArgumentError(
            at_user_line(f"begin and size must have {x.ndim} elements [Op:Slice]")
        )
    whole = [
        n - s if m == -1 else m for n, s, m in zip(x.type.shape, starts, sizes, strict=True)
    ]
    for k, (start, count) in enumerate(zip(starts, whole, strict=True)):
        if start < 0 or count < 0 or start + count > x.type.shape[k]:
            raise InvalidArgumentError(
                at_user_line(
                    f"Expected begin[{k}] in [0, {x.type.shape[k]}], but got {start}, size "
                    f"{count} [Op:Slice]"
                )
            )
    return slice_strided(x, tuple(starts), tuple(whole), (1,) * x.ndim)


def reverse(x: Any, axis: Any) -> Any:
    """The order of elements along these axes turned round."""
    x = as_tensor(x)
    axes = normalize_axes(axis, x.ndim, "ReverseV2")
    shape = x.type.shape
    if x.type.size == 0:
        return x
    starts = tuple(n - 1 if k in axes else 0 for k, n in enumerate(shape))
    steps = tuple(-1 if k in axes else 1 for k in range(x.ndim))
    return slice_strided(x, starts, shape, steps)


def flip(x: Any, axis: Any = None) -> Any:
    """As reverse; all axes if None."""
    return reverse(x, axis)


def rot90(x: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    """Turned by 90 degrees, k times, from the first of two axes toward the second."""
    x = as_tensor(x)
    places = [normalize_axis(a, x.ndim, "Rot90") for a in _listed(axes)]
    if len(places) != 2 or places[0] == places[1]:
        raise InvalidArgumentError(at_user_line(f"two different axes, not {axes!r} [Op:Rot90]"))
    first, second = places
    turns = as_int(k, "k", "Rot90") % 4
    if turns == 2:
        return reverse(x, (first, second))
    if turns == 1:
        return swapaxes(reverse(x, second), first, second)
    return reverse(swapaxes(x, first, second), second) if turns == 3 else x


def _several(values: Any, op: str) -> list[TensorBase]:
    """The tensors to be joined: of a sequence, or along an array's first axis."""
    if isinstance(values, (TensorBase, np.ndarray)):
        values = unstack(values)
    if not isinstance(values, (list, tuple)) or not values:
        raise InvalidArgumentError(
            at_user_line(f"a list of one or more tensors, not {values!r} [Op:{op}]")
        )
    return same_dtype(*values)


def concat(values: Any, axis: Any = 0) -> Any:
    """Tensors joined along an axis that they have."""
    tensors = _several(values, "ConcatV2")
    k = normalize_axis(axis, tensors[0].ndim, "ConcatV2") if tensors[0].ndim else 0
    return tensors[0] if len(tensors) == 1 else apply(assemble.concat, *tensors, axis=k)


def stack(values: Any, axis: int = 0) -> Any:
    """Tensors of one shape joined along a new axis."""
    tensors = _several(values, "Pack")
    for other in tensors[1:]:
        if other.type.shape != tensors[0].type.shape:
            raise InvalidArgumentError(
                at_user_line(
                    f"Shapes of all inputs must match: {shape_text(tensors[0].type.shape)} and "
                    f"{shape_text(other.type.shape)} [Op:Pack]"
                )
            )
    k = normalize_axis(axis, tensors[0].ndim + 1, "Pack")
    return concat([expand_dims(t, k) for t in tensors], k)


def unstack(value: Any, num: int | None = None, axis: int = 0) -> list[Any]:
    """The slices along an axis, without it."""
    x = as_tensor(value)
    k = normalize_axis(axis, x.ndim, "Unpack")
    return [squeeze(slice_axis(x, k, i, 1), k) for i in range(x.type.shape[k])]


def split(value: Any, num_or_size_splits: Any, axis: int = 0) -> list[Any]:
    """Cut along an axis into so many equal parts, or into parts of these sizes."""
    x = as_tensor(value)
    k = normalize_axis(axis, x.ndim, "Split")
    extent = x.type.shape[k]
    if np.ndim(num_or_size_splits) == 0:
        num_or_size_splits = as_int(num_or_size_splits, "the number of parts", "Split")
        if num_or_size_splits < 1 or extent % num_or_size_splits:
            raise InvalidArgumentError(
                at_user_line(
                    "Number of ways to split should evenly divide the split dimension, but "
                    f"got split_dim {k} (size = {extent}) and num_split "
                    f"{num_or_size_splits} [Op:Split]"
                )
            )
        sizes = [extent // num_or_size_splits] * num_or_size_splits
    else:
        sizes = static_ints(num_or_size_splits, "SplitV")
        if sizes.count(-1) == 1:
            sizes[sizes.index(-1)] = extent - sum(sizes) - 1
        if sum(sizes) != extent or min(sizes, default=0) < 0:
            raise InvalidArgumentError(
                at_user_line(f"sizes {sizes} don't add up to {extent} [Op:SplitV]")
            )
    parts, start = [], 0
    for size in sizes:
        parts.append(slice_axis(x, k, start, size))
        start += size
    return parts


def tile(x: Any, multiples: Any) -> Any:
    """The tensor repeated so many times along each axis."""
    x = as_tensor(x)
    counts = static_ints(multiples, "Tile")
    if len(counts) != x.ndim or min(counts, default=0) < 0:
        raise InvalidArgumentError(
            at_user_line(
                f"Expected multiples argument to be a vector of length {x.ndim} but got length "
                f"{len(counts)} [Op:Tile]"
            )
        )
    shape = x.type.shape
    split_shape = tuple(n for extent in shape for n in (1, extent))
    wide = tuple(n for c, extent in zip(counts, shape, strict=True) for n in (c, extent))
    full = tuple(c * n for c, n in zip(counts, shape, strict=True))
    return reshape(broadcast_to(reshape(x, split_shape), wide), full)


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each element repeated: all as often, or each by its own (static) count."""
    x = as_tensor(x)
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    k = normalize_axis(axis, x.ndim, "Repeat")
    counts = static_ints(repeats, "Repeat")
    if min(counts, default=0) < 0:
        raise InvalidArgumentError(at_user_line("repeats must be >= 0 [Op:Repeat]"))
    shape = x.type.shape
    if len(counts) == 1:
        wide = (*shape[: k + 1], counts[0], *shape[k + 1 :])
        column = reshape(x, (*shape[: k + 1], 1, *shape[k + 1 :]))
        joined = (*shape[:k], shape[k] * counts[0], *shape[k + 1 :])
        return reshape(broadcast_to(column, wide), joined)
    if len(counts) != shape[k]:
        raise InvalidArgumentError(
            at_user_line(f"{len(counts)} repeats for {shape[k]} elements [Op:Repeat]")
        )
    rows = as_tensor(np.repeat(np.arange(shape[k]), counts))
    return moveaxis(apply(ix.gather, x, rows, axes=(k,)), 0, k)


def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    """Elements moved along axes; those that leave at one end come in at the other."""
    x = as_tensor(x)
    if axis is None:
        return reshape(roll(reshape(x, (-1,)), shift, 0), x.type.shape)
    shifts, axes = _listed(shift), _listed(axis)
    if len(shifts) == 1:
        shifts = shifts * len(axes)
    if len(shifts) != len(axes):
        raise InvalidArgumentError(
            at_user_line(f"{len(shifts)} shifts along {len(axes)} axes [Op:Roll]")
        )
    for amount, place in zip(static_ints(shifts, "Roll"), axes, strict=True):
        k = normalize_axis(place, x.ndim, "Roll")
        extent = x.type.shape[k]
        moved = amount % extent if extent else 0
        if moved:
            x = concat(
                [slice_axis(x, k, extent - moved, moved), slice_axis(x, k, 0, extent - moved)],
                k,
            )
    return x


def _pairs(paddings: Any) -> list[tuple[int, int]]:
    """Pairs of Python ints from nested sequences, an array or a tensor with a value."""
    if isinstance(paddings, TensorBase):
        paddings = _static_array(paddings, "Pad")
    if isinstance(paddings, np.ndarray):
        paddings = paddings.tolist()
    rows = [static_ints(row, "Pad") for row in _listed(paddings)]
    if any(len(row) != 2 for row in rows):
        raise InvalidArgumentError(
            at_user_line(f"paddings must be pairs of counts, not {rows} [Op:Pad]")
        )
    return [(a, b) for a, b in rows]


def pad(x: Any, paddings: Any, mode: str = "CONSTANT", constant_values: Any = 0) -> Any:
    """Elements added round the tensor: [[before, after], …] for each axis.

    mode: CONSTANT, REFLECT (edge not repeated) or SYMMETRIC (edge repeated); EDGE too.
    """
    x = as_tensor(x)
    pairs = _pairs(paddings)
    if len(pairs) != x.ndim or any(a < 0 or b < 0 for a, b in pairs):
        raise InvalidArgumentError(
            at_user_line(f"paddings must be {x.ndim} pairs of counts, not {pairs} [Op:Pad]")
        )
    if not isinstance(mode, str):
        raise InvalidArgumentError(at_user_line(f"no padding mode {mode!r} [Op:MirrorPad]"))
    if not any(a or b for a, b in pairs):
        return x
    if mode.upper() == "CONSTANT":
        full = tuple(n + a + b for n, (a, b) in zip(x.type.shape, pairs, strict=True))
        base = apply(view.broadcast, as_tensor(constant_values, x.dtype), shape=full)
        starts = tuple(a for a, _ in pairs)
        return apply(assemble.place, base, x, starts=starts, steps=(1,) * x.ndim)
    if mode.upper() not in ("REFLECT", "SYMMETRIC", "EDGE"):
        raise InvalidArgumentError(at_user_line(f"no padding mode {mode!r} [Op:MirrorPad]"))
    for k, (before, after) in enumerate(pairs):
        if before or after:
            x = _pad_mirrored(x, k, before, after, mode.upper())
    return x


def _pad_mirrored(x: TensorBase, k: int, before: int, after: int, mode: str) -> Any:
    extent = x.type.shape[k]
    if mode == "EDGE":
        if extent == 0:
            raise InvalidArgumentError(at_user_line("an empty axis has no edge [Op:Pad]"))
        wide = list(x.type.shape)
        parts = []
        for count, start in ((before, 0), (after, extent - 1)):
            wide[k] = count
            parts.append(broadcast_to(slice_axis(x, k, start, 1), tuple(wide)))
        return concat([parts[0], x, parts[1]], k)
    skip = 1 if mode == "REFLECT" else 0
    if max(before, after) > extent - skip:
        raise InvalidArgumentError(
            at_user_line(
                f"paddings must be no greater than the dimension size: {before}, {after} "
                f"greater than {extent - skip} [Op:MirrorPad]"
            )
        )
    left = reverse(slice_axis(x, k, skip, before), k)
    right = reverse(slice_axis(x, k, extent - skip - after, after), k)
    return concat([left, x, right], k)


def meshgrid(*values: Any, indexing: str = "xy") -> list[Any]:
    """Coordinates of a grid from 1-d coordinate vectors."""
    if indexing not in ("xy", "ij"):
        raise InvalidArgumentError(at_user_line("indexing must be 'xy' or 'ij' [Op:Meshgrid]"))
    vectors = [reshape(v, (-1,)) for v in values]
    order = list(range(len(vectors)))
    if indexing == "xy" and len(vectors) > 1:
        order[0], order[1] = 1, 0
    extents = [vectors[i].type.shape[0] for i in order]
    results = []
    for i, vector in enumerate(vectors):
        place = order.index(i)
        row = [1] * len(vectors)
        row[place] = vector.type.shape[0]
        results.append(broadcast_to(reshape(vector, row), tuple(extents)))
    return results


def filled(shape: Any, value: TensorBase) -> Any:
    """A tensor of this shape, all elements equal to a 0-d one."""
    wanted = as_shape(shape, "Fill")
    check_size(wanted, value.dtype, "Fill")
    return apply(view.broadcast, value, shape=wanted)


def broadcast_static_shape(x: Any, y: Any) -> Shape:
    """The shape to which two shapes broadcast."""
    shapes = as_shape(x, "BroadcastTo"), as_shape(y, "BroadcastTo")
    return broadcast_shapes(shapes, "BroadcastTo")


def shape(x: Any, out_type: Any = "int32") -> Any:
    """The extents as a 1-d integer tensor."""
    return _whole(np.array(as_tensor(x).type.shape, np.int64), out_type)


def size(x: Any, out_type: Any = "int32") -> Any:
    """The number of elements as a 0-d integer tensor."""
    return _whole(as_tensor(x).type.size, out_type)


def _whole(value: Any, dtype: Any) -> Any:
    """A tensor of extents, of an integer dtype."""
    x, target = as_tensor(value), as_dtype(dtype)
    return x if x.dtype is target else apply(pw.cast, x, dtype=target)


def rank(x: Any) -> Any:
    """The number of dimensions as a 0-d int32 tensor."""
    return as_tensor(as_tensor(x).ndim)


def identity(x: Any) -> Any:
    """A tensor of the same value, of which derivatives are apart from those of `x`."""
    found = as_tensor(x)
    return apply(view.reshape, found, shape=found.type.shape)


def diag_part(x: Any, k: int = 0, axis1: int = -2, axis2: int = -1) -> Any:
    """The k-th diagonal over two axes, put last."""
    x, k = moveaxis(x, (axis1, axis2), (-2, -1)), as_int(k, "k", "MatrixDiagPart")
    *batch, m, n = x.type.shape
    low, high = max(0, -k), max(0, k)
    length = max(0, min(m - low, n - high))
    flat = reshape(x, (*batch, m * n))
    ndim = len(batch) + 1
    starts = (0,) * (ndim - 1) + ((low * n + high) if length else 0,)
    steps = (1,) * (ndim - 1) + (n + 1,)
    return slice_strided(flat, starts, (*batch, length), steps)


def diag(x: Any, k: int = 0) -> Any:
    """A square matrix with the last axis of x on its k-th diagonal, zeros elsewhere."""
    x, k = as_tensor(x), as_int(k, "k", "MatrixDiag")
    if not x.ndim:
        raise InvalidArgumentError(at_user_line("a scalar has no diagonal [Op:MatrixDiag]"))
    *batch, length = x.type.shape
    n = length + abs(k)
    base = apply(view.broadcast, as_tensor(False, x.dtype), shape=(*batch, n * n))
    if length == 0:
        return reshape(base, (*batch, n, n))
    ndim = len(batch) + 1
    starts = (0,) * (ndim - 1) + (max(0, -k) * n + max(0, k),)
    steps = (1,) * (ndim - 1) + (n + 1,)
    return reshape(apply(assemble.place, base, x, starts=starts, steps=steps), (*batch, n, n))
