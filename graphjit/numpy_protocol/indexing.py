"""NumPy's indexing of traced arrays: x[key], x[key] = value, take, put and their kin."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.errors import IndexOutOfRangeError, ShapeError, at_user_line
from graphjit.core.types import DType, Shape, int64
from graphjit.functions import create, index, math, shape, subscript
from graphjit.ops import index as ix
from graphjit.ops import pointwise as pw
from graphjit.tensors.apply import TensorBase, apply, wrap

from .promotion import (
    Handler,
    array,
    axis_of,
    broadcast,
    broadcast_shape,
    cast,
    constant,
    convert,
    detached,
    is_python_scalar,
    is_symbol,
    is_weak_symbol,
    leaves,
    owned,
    refuse,
    strong,
    truth,
    unmixed,
    unsupported,
    viewing,
)

FUNCTIONS: dict[Any, Handler] = {}
# Functions that write into their first argument.
IN_PLACE: dict[Any, Handler] = {}
Key = list[Any]


def _key(key: Any) -> Key:
    """The key as a list of ints, slices, None, Ellipsis, index tensors and traced masks."""
    return [_part(item) for item in (key if isinstance(key, tuple) else (key,))]


def _part(item: Any) -> Any:
    if is_symbol(item) and item.is_mixed:
        item = item.as_numpy()
    if item is None or item is Ellipsis:
        return item
    if isinstance(item, slice):
        return slice(
            *(
                b if b is None or isinstance(b, Dim) else operator.index(b)
                for b in (item.start, item.stop, item.step)
            )
        )
    if isinstance(item, (bool, np.bool_)):
        raise unsupported("a bool as an index")
    if isinstance(item, Dim):
        return item
    if isinstance(item, (int, np.integer)):
        return int(item)
    if isinstance(item, (list, tuple, range)):
        known = not any(isinstance(leaf, (TensorBase, np.ndarray)) for leaf in leaves(item))
        if known:
            return _index_of(np.array(item, np.int64 if not len(item) else None))
        return _index_of(array(item))
    if isinstance(item, TensorBase) or type(item) is np.ndarray:
        return _index_of(array(item))
    if hasattr(item, "__index__"):
        return operator.index(item)
    raise IndexOutOfRangeError(
        at_user_line(
            "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer "
            "or boolean arrays are valid indices"
        )
    )


def _index_of(found: Any) -> Any:
    if isinstance(found, TensorBase):
        if found.recorder is not None or found.type.dtype.is_integer:
            if not found.type.dtype.is_bool and not found.type.dtype.is_integer:
                raise _no_index()
            return found if found.type.dtype.is_bool else cast(found, int64)
        found = found.numpy()  # type: ignore[attr-defined]
    found = np.asarray(found)
    if found.dtype.kind not in "biu":
        raise _no_index()
    return wrap(found.astype(np.int64) if found.dtype.kind in "iu" else found)


def _no_index() -> IndexOutOfRangeError:
    return IndexOutOfRangeError(
        at_user_line("arrays used as indices must be of integer (or boolean) type")
    )


def _is_mask(part: Any) -> bool:
    return isinstance(part, TensorBase) and part.type.dtype.is_bool


def _check_masks(parts: Key, x: Any) -> None:
    """IndexError for a mask that doesn't match its axes, or for too many indices."""
    used = 0
    total = sum(p.ndim if _is_mask(p) else p is not None and p is not Ellipsis for p in parts)
    if total > x.ndim:
        raise IndexOutOfRangeError(
            at_user_line(
                f"too many indices: array is {x.ndim}-dimensional, {total} were indexed"
            )
        )
    for part in parts:
        if part is Ellipsis:
            used += x.ndim - total
        elif _is_mask(part):
            if part.type.shape != x.type.shape[used : used + part.ndim]:
                raise IndexOutOfRangeError(
                    at_user_line(
                        f"boolean index of shape {part.type.shape} did not match indexed array "
                        f"of shape {x.type.shape}"
                    )
                )
            used += part.ndim
        elif part is not None:
            used += 1


def _check_ellipsis(parts: Key, x: Any) -> None:
    """TracingError for `...` that stands for no axis and still parts two index arrays."""
    place = next((i for i, p in enumerate(parts) if p is Ellipsis), None)
    used = sum(p.ndim if _is_mask(p) else p is not None and p is not Ellipsis for p in parts)
    if place is None or used < x.ndim or not any(isinstance(p, TensorBase) for p in parts):
        return
    sides = (parts[:place], parts[place + 1 :])
    if all(any(isinstance(p, (int, TensorBase)) for p in side) for side in sides):
        raise unsupported("an index with `...` between index arrays that stands for no axis")


def _ends(known: Any) -> list[int]:
    """The least and the greatest of some indices."""
    values = np.asarray(known)
    return [int(values.min()), int(values.max())] if values.size else []


def _check_bounds(parts: Key, x: Any) -> None:
    """IndexError for a known index that is out of bounds. Index arrays that broadcast to none
    aren't looked at, as in NumPy.
    """
    total = sum(p.ndim if _is_mask(p) else p is not None and p is not Ellipsis for p in parts)
    looked_at = _choose_any(parts)
    axis = 0
    for part in parts:
        if part is Ellipsis:
            axis += x.ndim - total
            continue
        if part is None:
            continue
        extent = x.type.shape[axis]
        known: Any = part
        listed = isinstance(part, TensorBase)
        checked = looked_at or not (listed and part.ndim)
        if listed:
            known = part.numpy() if part.recorder is None and not _is_mask(part) else ()
            if not _is_mask(part) and part.type.size and checked and extent == 0:
                raise IndexOutOfRangeError(
                    at_user_line(f"index is out of bounds for axis {axis} with size 0")
                )
        if not isinstance(part, slice) and checked:
            ends = [part] if isinstance(part, (int, Dim)) else _ends(known)
            if any(end < -extent or end >= extent for end in ends):
                raise IndexOutOfRangeError(
                    at_user_line(
                        f"index {known} is out of bounds for axis {axis} with size {extent}"
                    )
                )
        axis += part.ndim if _is_mask(part) else 1


def _choose_any(parts: Key) -> bool:
    """Whether index arrays choose any elements of the axes that they stand for."""
    shapes = [p.type.shape for p in parts if isinstance(p, TensorBase) and not _is_mask(p)]
    masks = [p.numpy() for p in parts if _is_mask(p) and p.recorder is None]
    chosen = broadcast_or_none(*shapes, *((int(np.count_nonzero(m)),) for m in masks))
    return chosen is None or not any(n == 0 for n in chosen)


def _check_nothing(parts: Key, x: Any) -> None:
    """TracingError for traced indices of which NumPy checks the bounds, where what they choose
    is empty: nothing is computed with them.
    """
    traced = [
        p
        for p in parts
        if isinstance(p, TensorBase) and p.recorder is not None and not _fits(p, x.type.shape)
    ]
    if not traced or (all(p.ndim for p in traced) and not _choose_any(parts)):
        return
    sizes, extents = [p.type.size for p in traced], iter(x.type.shape)
    for part in subscript.expand_key(tuple(parts), x.type.shape):
        if isinstance(part, slice):
            sizes.append(subscript.slice_bounds(part, next(extents))[1])
        elif part is not None and part is not Ellipsis:
            next(extents)
    if not _choose_any(parts) or any(n == 0 for n in (*sizes, *extents)):
        raise unsupported("an index that chooses nothing, but may be out of bounds,")


def _fits(index: Any, extents: Shape) -> bool:
    """Whether an index is surely within the bounds of every axis."""
    known = None if index.ndim else index.recorder.known_bounds(index)
    return known is not None and all(
        not isinstance(n, Dim) and -n <= known[0] and known[1] < n for n in extents
    )


def getitem(x: Any, key: Any, trace: Any) -> Any:
    """x[key]: a view for ints and slices, a new array for index arrays, a scalar for ints."""
    x = strong(x) if is_weak_symbol(x) else x
    parts = _key(key)
    _check_masks(parts, x)
    _check_ellipsis(parts, x)
    if any(_is_mask(p) and p.recorder is not None for p in parts):
        raise unsupported(
            "x[mask], whose shape depends on data (write np.where(mask, x, 0)): indexing"
        )
    _check_bounds(parts, x)
    arrays = [p for p in parts if isinstance(p, TensorBase)]
    ints = [p for p in parts if isinstance(p, (int, Dim)) or _is_scalar(p)]
    single = len(ints) == x.ndim == len(parts)
    copied = single or any(p.ndim for p in arrays)
    _check_nothing(parts, x)
    scalar = is_symbol(x) and x._is_scalar()
    chosen = subscript.getitem(detached(x) if copied or scalar else x, tuple(parts))
    if not copied and not scalar:
        return viewing(chosen, [x], trace, key, renewed=True)
    made = owned(chosen, trace)
    traced = [p for p in arrays if p.recorder is not None]
    if is_symbol(made) and any(not _fits(p, x.type.shape) for p in traced):
        trace.note_index(made)
    if scalar and not copied and not made.type.shape:  # x[...] of one is an array
        made.mark_as_array()
    return made


def _is_scalar(part: Any) -> bool:
    return isinstance(part, TensorBase) and not part.type.shape


def assigned(value: Any, dtype: DType) -> Any:
    """A value as x[...] = value casts it, which may lose digits but not the sign of an int."""
    if is_weak_symbol(value):
        return convert(value, dtype)
    if is_python_scalar(value) or isinstance(value, (list, tuple, range)):
        if any(isinstance(leaf, (TensorBase, np.ndarray)) for leaf in leaves(value)):
            found = array(value)
        else:
            with np.errstate(all="ignore"):
                return wrap(np.array(value, dtype.dtype))
    else:
        found = array(value)
    return cast(found, dtype)


def setitem(x: Any, key: Any, value: Any) -> Any:
    """x as it is after x[key] = value."""
    value = unmixed(value, x.type.dtype)
    parts = _key(key)
    _check_masks(parts, x)
    _check_ellipsis(parts, x)
    listed = any(isinstance(p, TensorBase) and p.ndim for p in parts)
    if not listed:  # NumPy looks at index arrays when it has cast the value, else before
        _check_bounds(parts, x)
    _check_rank(x, parts, value)
    value = assigned(value, x.type.dtype)
    if listed:
        try:
            _check_bounds(parts, x)
        except IndexOutOfRangeError:
            _check_value_before_bounds(x, parts, value)
            raise
    if any(_is_mask(p) and p.recorder is not None for p in parts):
        return _set_masked(x, parts, value)
    _check_value(x, parts, value)
    _check_nothing(parts, x)
    return subscript.setitem(x, tuple(parts), value)


def accumulated(x: Any, key: Any, value: Any, mode: str) -> Any:
    """x as it is after ufunc.at(x, key, value): equal indices count each.

    mode: of the primitive `scatter`. value: of x's dtype.
    """
    parts = _key(key)
    _check_masks(parts, x)
    _check_ellipsis(parts, x)
    if any(_is_mask(p) and p.recorder is not None for p in parts):
        raise unsupported("ufunc.at with a mask")
    _check_bounds(parts, x)
    _check_nothing(parts, x)
    numbers = shape.reshape(subscript.iota((x.type.size,), 0), x.type.shape)
    chosen = subscript.getitem(numbers, tuple(parts))
    if broadcast_or_none(value.type.shape, chosen.type.shape) != chosen.type.shape:
        raise ShapeError(at_user_line("array is not broadcastable to correct shape"))
    updates = shape.broadcast_to(value, chosen.type.shape)
    flat = (shape.reshape(v, (v.type.size,)) for v in (x, updates, chosen))
    made = apply(ix.scatter, *flat, axes=(0,), mode=mode)
    return shape.reshape(made, x.type.shape)


def _check_rank(x: Any, parts: Key, value: Any) -> None:
    """ValueError for an array put into one element; TracingError for a list that is deeper than
    what it is put into, which NumPy may take or not.
    """
    listed = isinstance(value, (list, tuple, range))
    rank = (
        array(value).ndim if listed else np.ndim(value) if not is_symbol(value) else value.ndim
    )
    if any(isinstance(p, TensorBase) and p.ndim for p in parts):
        return
    scalars = sum(isinstance(p, (int, Dim)) or _is_scalar(p) for p in parts)
    if not rank:
        traced = is_symbol(value) and value.origin != "weak" and value.type.dtype.is_inexact
        if traced and scalars == x.ndim and x.type.dtype.is_integer:
            raise unsupported("an assignment of a float to an integer, which fails for NaN,")
        return
    single = scalars == x.ndim == len(parts)
    if single and not listed and not x.type.dtype.is_bool:
        raise ShapeError(at_user_line("setting an array element with a sequence."))
    new = sum(p is None for p in parts)
    if listed and (single or rank > x.ndim - scalars + new):
        raise unsupported("an assignment of a list that is deeper than its place")


def _check_value(x: Any, parts: Key, value: Any) -> None:
    """ValueError for a value that doesn't fit, where the shape of x[key] is plain."""
    if any(isinstance(p, TensorBase) for p in parts):
        return
    _check_fits(value, _shape_of_part(x, parts))


def _check_value_before_bounds(x: Any, parts: Key, value: Any) -> None:
    """ValueError for a value that doesn't fit, where an index array is out of bounds: NumPy
    looks at the value first. An int that is out of bounds comes before.
    """
    extents, key, axis = [*x.type.shape], list[Any](), 0
    total = sum(p is not None and p is not Ellipsis for p in parts)
    for part in parts:
        if _is_mask(part):
            return
        if isinstance(part, TensorBase):
            extents[axis] = max(extents[axis], 1)
            part = np.zeros(part.type.shape, np.int64)
        key.append(part)
        if part is not None:
            axis += x.ndim - total if part is Ellipsis else 1
    bounds = (b for p in key if isinstance(p, slice) for b in (p.start, p.stop, p.step))
    if not all(isinstance(n, int) or n is None for n in (*extents, *bounds)):
        return
    try:
        chosen = np.broadcast_to(np.empty((), np.bool_), extents)[tuple(key)].shape
    except IndexError:
        return
    _check_fits(value, chosen)


def _check_fits(value: Any, chosen: Shape) -> None:
    """ValueError for a value that isn't broadcast to the shape of the part it is put into."""
    given = value.type.shape
    while len(given) > len(chosen) and given[0] == 1:
        given = given[1:]
    if len(given) > len(chosen) or broadcast_or_none(given, chosen) != chosen:
        raise ShapeError(
            at_user_line(
                f"could not broadcast input array from shape {value.type.shape} into shape "
                f"{chosen}"
            )
        )


def _shape_of_part(x: Any, parts: Key) -> Shape:
    """The shape of x[key] for ints, slices, None and Ellipsis."""
    shape: list[int] = []
    extents = iter(x.type.shape)
    for part in subscript.expand_key(tuple(parts), x.type.shape):
        if part is None:
            shape.append(1)
        elif isinstance(part, slice):
            shape.append(subscript.slice_bounds(part, next(extents))[1])
        elif part is not Ellipsis:
            next(extents)
    return tuple(shape)


def broadcast_or_none(*shapes: Any) -> Any:
    """The broadcast shape, None where the shapes don't fit."""
    try:
        return broadcast_shape(*shapes)
    except ShapeError:
        return None


def _set_masked(x: Any, parts: Key, value: Any) -> Any:
    """Assignment where a traced mask holds: a choice by element."""
    masks = [i for i, p in enumerate(parts) if _is_mask(p)]
    others = [p for i, p in enumerate(parts) if i not in masks]
    plain = all(p is Ellipsis or p == slice(None) for p in others)
    if len(masks) != 1 or not plain:
        raise unsupported("x[mask, ...] = v with other indices next to the mask")
    mask = parts[masks[0]]
    count = sum(1 for p in parts[: masks[0]] if p is not Ellipsis)
    if Ellipsis in parts[: masks[0]]:
        after = len(parts) - masks[0] - 1
        count = x.ndim - mask.ndim - after
    rest = x.ndim - count - mask.ndim
    if value.ndim > rest + 1:
        raise unsupported("x[mask] = v with a value of more than one dimension")
    if value.ndim > rest:
        lead = value.type.shape[: value.ndim - rest]
        if any(n != 1 for n in lead):
            raise unsupported("x[mask] = v with as many values as the mask has True")
        value = shape.reshape(value, value.type.shape[value.ndim - rest :])
    mask = shape.reshape(mask, mask.type.shape + (1,) * rest)
    return apply(pw.where, mask, broadcast(value, x.type.shape), x)


def take(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: Any = "raise") -> Any:
    """np.take."""
    refuse(out=(out,), mode=(mode, "raise", "wrap", "clip"))
    x = array(a)
    if axis is None or (not x.ndim and axis_of(axis, 1) == 0):
        x, k = shape.reshape(x, (x.type.size,)), 0
    else:
        k = axis_of(axis, x.ndim)
    chosen = array(indices)
    if not chosen.type.dtype.is_integer:
        raise unsupported("np.take at places that are not integers")
    chosen = cast(chosen, int64)
    before, size, rest = x.type.shape[:k], x.type.shape[k], x.type.shape[k + 1 :]
    nothing = any(n == 0 for n in (*before, *rest, *chosen.type.shape))
    if size == 0 and not nothing:
        raise IndexOutOfRangeError(
            at_user_line("cannot do a non-empty take from an empty axes.")
        )
    if mode == "raise" and nothing and not any(n == 0 for n in before):
        _check_bounds([slice(None)] * k + [chosen], x)  # NumPy checks them all the same
        _check_nothing([slice(None)] * k + [chosen], x)
    extent = constant(size, int64)
    if nothing:
        return create.fill((*before, *chosen.type.shape, *rest), constant(0, x.type.dtype))
    if mode == "wrap":
        chosen = apply(pw.mod, chosen, extent, strict=False)
    elif mode == "clip":
        last = constant(max(x.type.shape[k] - 1, 0), int64)
        chosen = math.minimum(math.maximum(chosen, constant(0, int64)), last)
    else:
        chosen = subscript.from_end(chosen, x.type.shape[k])
    result = apply(ix.gather, x, chosen, axes=(k,))
    rank = chosen.ndim
    return shape.moveaxis(result, tuple(range(rank)), tuple(range(k, k + rank)))


def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Any:
    """np.take_along_axis."""
    x, chosen, k = _along(arr, indices, axis)
    return index.take_along_axis(x, chosen, k)


def _along(arr: Any, indices: Any, axis: Any) -> tuple[Any, Any, int]:
    x, chosen = array(arr), array(indices)
    if not chosen.type.dtype.is_integer:
        raise IndexOutOfRangeError(at_user_line("`indices` must be an integer array"))
    if axis is None:
        if chosen.ndim != 1:
            raise ShapeError(
                at_user_line("when axis=None, `indices` must have a single dimension.")
            )
        x, axis = shape.reshape(x, (x.type.size,)), 0
    k = axis_of(axis, x.ndim)
    if chosen.ndim != x.ndim:
        raise ShapeError(
            at_user_line("`indices` and `arr` must have the same number of dimensions")
        )
    rests = [(*s[:k], 1, *s[k + 1 :]) for s in (x.type.shape, chosen.type.shape)]
    if broadcast_or_none(*rests) is None:
        raise IndexOutOfRangeError(
            at_user_line("shape mismatch: indices could not be broadcast")
        )
    return x, chosen, k


def compress(condition: Any, a: Any, axis: Any = None, out: Any = None) -> Any:
    """np.compress by a known condition."""
    refuse(out=(out,))
    if is_symbol(condition) or isinstance(condition, np.ndarray):
        raise unsupported("np.compress, whose shape depends on data")
    return take(a, np.flatnonzero(np.asarray(condition)).tolist() or _nothing(), axis)


def _nothing() -> Any:
    return wrap(np.zeros(0, np.int64))


def _own(x: Any, what: str) -> None:
    if not is_symbol(x):
        raise unsupported(f"{what} into an array that isn't traced")
    x._require_writable(what)


def replace(x: Any, new: Any) -> None:
    """Make an array's handle stand for its new value."""
    x._write_elements(new)


def put_along_axis(arr: Any, indices: Any, values: Any, axis: Any) -> None:
    """np.put_along_axis."""
    _own(arr, "np.put_along_axis")
    if axis is None:
        raise unsupported("np.put_along_axis with axis=None")
    x, chosen, k = _along(detached(arr), indices, axis)
    if chosen.type.shape != tuple(
        chosen.type.shape[k] if a == k else n for a, n in enumerate(x.type.shape)
    ):
        raise unsupported("np.put_along_axis with indices that broadcast")
    given = broadcast(assigned(values, x.type.dtype), chosen.type.shape)
    chosen = cast(subscript.from_end(cast(chosen, int64), x.type.shape[k]), int64)
    grids = [chosen if a == k else subscript.iota(chosen.type.shape, a) for a in range(x.ndim)]
    flat = [shape.reshape(g, (g.type.size,)) for g in grids]
    updates = shape.reshape(given, (given.type.size,))
    axes = tuple(range(x.ndim))
    replace(arr, apply(ix.scatter, x, updates, *flat, axes=axes, mode="update"))


def copyto(dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    """np.copyto."""
    refuse(casting=(casting, "same_kind"))
    _own(dst, "np.copyto")
    x = detached(dst)
    if is_python_scalar(src):
        np.copyto(np.empty(1, x.type.dtype.dtype), src)  # raises where NumPy refuses it
    else:
        source = array(src)
        if not np.can_cast(source.type.dtype.dtype, x.type.dtype.dtype, "same_kind"):
            raise unsupported("np.copyto that casts to another kind")
    value = broadcast(convert(src, x.type.dtype), x.type.shape)
    if where is not True:
        mask = broadcast(array(where), x.type.shape)
        if not mask.type.dtype.is_bool:
            raise unsupported("np.copyto where a mask isn't bool")
        value = apply(pw.where, mask, value, x)
    replace(dst, value)


def putmask(a: Any, /, mask: Any, values: Any) -> None:
    """np.putmask with one value or one for each element."""
    _own(a, "np.putmask")
    x = detached(a)
    m, value = array(mask), assigned(values, x.type.dtype)
    if m.type.shape != x.type.shape:
        raise unsupported("np.putmask with a mask of another shape")
    if value.type.size == 1:
        value = shape.broadcast_to(shape.reshape(value, ()), x.type.shape)
    elif value.type.shape != x.type.shape:
        raise unsupported("np.putmask with values of another shape")
    replace(a, apply(pw.where, truth(m), value, x))


def fill_diagonal(a: Any, val: Any, wrap: Any = False) -> None:
    """np.fill_diagonal of a matrix: values are taken from the first on, again and again."""
    _own(a, "np.fill_diagonal")
    x = detached(a)
    if x.ndim != 2:
        raise unsupported("np.fill_diagonal of other than two dimensions")
    value = assigned(val, x.type.dtype)
    rows, count = x.type.shape[0], value.type.size
    if wrap or not count:
        raise unsupported("np.fill_diagonal with wrap=True, or with no values")
    if value.ndim and count != rows:
        if isinstance(rows, Dim) or isinstance(count, Dim):
            raise unsupported("np.fill_diagonal with values of unknown number")
        value = _repeated(shape.reshape(value, (count,)), rows, count)
    if value.ndim:
        value = broadcast(shape.reshape(value, (rows, 1)), x.type.shape)
    replace(a, apply(pw.where, _eye(x.type.shape), value, x))


def _repeated(values: Any, wanted: int, count: int) -> Any:
    """So many values, from the first on, again and again."""
    places = wrap(np.arange(wanted, dtype=np.int64) % count)
    return apply(ix.gather, values, places, axes=(0,))


def _eye(extents: tuple[int, ...]) -> Any:
    return wrap(np.eye(*extents, dtype=bool))


def fill(x: Any, value: Any) -> None:
    """x.fill(value)."""
    x._require_writable("x.fill")
    given = assigned(value, x.type.dtype)
    if given.ndim:
        raise unsupported("x.fill with an array")
    replace(x, shape.broadcast_to(given, x.type.shape))


FUNCTIONS |= {
    np.take: take,
    np.take_along_axis: take_along_axis,
    np.compress: compress,
}
IN_PLACE |= {
    np.put_along_axis: put_along_axis,
    np.copyto: copyto,
    np.putmask: putmask,
    np.fill_diagonal: fill_diagonal,
}
