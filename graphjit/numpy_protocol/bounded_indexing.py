"""Indexing of arrays of unknown length, and by them: x[key], x[key] = value."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.core.errors import IndexOutOfRangeError, at_user_line
from graphjit.core.types import int64
from graphjit.functions import shape, subscript
from graphjit.ops import assemble
from graphjit.ops import index as ix
from graphjit.ops import pointwise as pw
from graphjit.ops import reduce as rd
from graphjit.tensors.apply import apply, wrap

from . import indexing
from .bounded_arrays import (
    INDEXING,
    BoundedArray,
    Windows,
    bounded,
    compacted,
    extents_of,
    in_shape,
    is_all,
    is_bounded,
    is_number,
    plain,
    refusal,
    same_value_of,
    together,
    windows_of,
)
from .promotion import (
    array,
    cast,
    constant,
    detached,
    is_symbol,
    leaves,
    owned,
    unsupported,
)
from .windows import (
    Window,
    checked,
    inside,
    is_known,
    moved,
    number,
    plus,
    same_number,
    slice_window,
)


def _is_moving(part: Any) -> bool:
    """Whether a part of a key is a slice with a bound that is traced."""
    return isinstance(part, slice) and any(map(is_symbol, (part.start, part.stop)))


def with_symbols(key: Any) -> Any:
    """A key with the traced arrays that stand for ndarrays of bools which are captured."""
    parts = key if isinstance(key, tuple) else (key,)
    if not any(map(_is_real_mask, parts)):
        return key
    found = tuple(_captured(p) if _is_real_mask(p) else p for p in parts)
    return found if isinstance(key, tuple) else found[0]


def _is_real_mask(part: Any) -> bool:
    return isinstance(part, np.ndarray) and part.dtype == bool and part.ndim > 0


def _captured(mask: Any) -> Any:
    made = array(mask)
    if made.recorder is None:
        return mask
    return owned(made, made.recorder)


def needs_window(key: Any) -> bool:
    """Whether a value that is assigned to a key goes to an unknown number of places."""
    parts = key if isinstance(key, tuple) else (key,)
    return any(_is_moving(p) or is_bounded(p) for p in parts)


def needs_bounds(key: Any) -> bool:
    """Whether a key makes an array of unknown length of one of a known length."""
    parts = key if isinstance(key, tuple) else (key,)
    return any(_is_moving(p) or is_bounded(p) or _is_traced_mask(p) for p in parts)


def _is_traced_mask(part: Any) -> bool:
    return (
        is_symbol(part)
        and not is_bounded(part)
        and part.type.dtype.is_bool
        and part.origin == "numpy"
        and bool(part.type.shape)
    )


def _expanded(key: Any, ndim: int) -> list[Any]:
    """A key with one part for each axis, and None for new ones."""
    parts = list(key) if isinstance(key, tuple) else [key]
    if sum(p is Ellipsis for p in parts) > 1:
        raise IndexOutOfRangeError(
            at_user_line("an index can only have a single ellipsis ('...')")
        )
    used = sum(_axes_taken(p) for p in parts)
    if used > ndim:
        raise IndexOutOfRangeError(
            at_user_line(
                f"too many indices for array: array is {ndim}-dimensional, but {used} were "
                "indexed"
            )
        )
    at = next((k for k, p in enumerate(parts) if p is Ellipsis), len(parts))
    rest = [slice(None)] * (ndim - used)
    return [*parts[:at], *rest, *parts[at + 1 :]]


def _axes_taken(part: Any) -> int:
    return 0 if part is None or part is Ellipsis else 1


def part(x: Any, key: Any) -> Any:
    """x[key], where x or the key has an unknown length."""
    found = _plain_key(x, key)
    return _chosen(x, found) if any(map(_is_advanced, found)) else _view(x, tuple(found))


def _plain_key(x: Any, key: Any) -> list[Any]:
    """A key with arrays for lists, and places for masks."""
    found: list[Any] = []
    parts = [bounded(p) for p in (key if isinstance(key, tuple) else (key,))]
    for k, p in enumerate(parts):
        if isinstance(p, list):
            p = array(p) if any(map(is_symbol, leaves(p))) else np.asarray(p)
            if not p.size:
                raise refusal("an empty list as an index")
        if not _is_mask(p):
            found.append(p)
            continue
        mask = p if isinstance(p, BoundedArray) else BoundedArray(array(p), (None,) * p.ndim)
        if any(q is None or q is Ellipsis or _is_mask(q) for q in parts[:k]):
            raise refusal("this index")
        found += _of_shape(x, k, mask)
    return found


def _is_mask(p: Any) -> bool:
    if isinstance(p, BoundedArray):
        return bool(p.source.type.dtype.is_bool)
    return _is_traced_mask(p) or _is_real_mask(p)


def _of_shape(x: Any, first: int, mask: BoundedArray) -> list[Any]:
    """The places where a mask holds, which must have the lengths of x's axes from a first one
    on.
    """
    windows, extents = windows_of(x), extents_of(x)
    found = nonzero(mask)
    if first + mask.ndim > len(windows):
        raise IndexOutOfRangeError(at_user_line("too many indices for array"))
    for k in range(mask.ndim):
        axis = first + k
        if windows[axis] is None and mask.windows[k] is None:
            if indexing.broadcast_or_none((extents[axis],), (mask.extents[k],)) is None or (
                str(extents[axis]) != str(mask.extents[k])
            ):
                raise IndexOutOfRangeError(
                    at_user_line(
                        f"boolean index did not match indexed array along axis {axis}; size of "
                        f"axis is {extents[axis]} but size of corresponding boolean axis is "
                        f"{mask.extents[k]}"
                    )
                )
            continue
        trace = mask.recorder
        length = BoundedArray.count(x, axis) if windows[axis] is not None else None
        length = number(extents[axis], trace) if length is None else length
        if not same_number(trace, length, mask.count(k), same_value_of):
            (window,) = found[0].windows
            count = checked(window.count, apply(pw.ne, length, mask.count(k)))
            for each in found:
                each.windows = (Window(window.start, count),)
    return found


def _is_advanced(p: Any) -> bool:
    return isinstance(p, (BoundedArray, np.ndarray)) or (is_symbol(p) and bool(p.type.shape))


def nonzero(x: Any) -> list[Any]:
    """np.nonzero of an array with windows."""
    extents = extents_of(x)
    values = x.values if isinstance(x, BoundedArray) else x
    dtype = values.type.dtype
    flags = values if dtype.is_bool else apply(pw.ne, values, constant(0, dtype))
    windows = windows_of(x)
    mask = inside(windows, extents)
    if mask is not None:
        flags = apply(pw.bit_and, flags, mask)
    if flags.recorder is None:
        raise unsupported("a mask that is known")
    numbers = []
    for axis, window in enumerate(windows):
        along = subscript.iota(extents, axis)
        if window is not None and not is_known(window.start, 0):
            along = apply(pw.sub, along, shape.broadcast_to(window.start, extents))
        numbers.append(along)
    return compacted(flags, numbers)


def place_of(x: Any, axis: int, index: Any) -> Any:
    """Where in the larger array an element is, by an integer for an axis."""
    window = x.windows[axis] if isinstance(x, BoundedArray) else None
    if window is None:
        return index
    trace = x.recorder
    found = number(index, trace)
    known = trace.known_bounds(index) if is_symbol(index) else None
    zero = wrap(np.zeros((), np.int64))
    if found.recorder is None:
        negative = int(found.numpy()) < 0
        counted = plus(found, window.count) if negative else found
    elif known is not None and known[0] >= 0:
        counted, negative = found, False
    else:
        below = apply(pw.lt, found, zero)
        counted, negative = apply(pw.where, below, plus(found, window.count), found), True
    failing = apply(pw.ge, counted, window.count)
    if negative:
        failing = apply(pw.bit_or, failing, apply(pw.lt, counted, zero))
    place = checked(plus(counted, window.start), failing)
    # NumPy's, which can't be less than 0
    return place


def _view(x: Any, key: Any) -> Any:
    """x[key] for integers, slices, None and `...`."""
    is_view = isinstance(x, BoundedArray)
    if is_view:
        x.require_fresh()
    source, windows = (x.source, x.windows) if is_view else (x, (None,) * x.ndim)
    trace = source.recorder
    parts: list[Any] = []
    made: list[Window | None] = []
    steps: list[tuple[int, Window, int]] = []
    axis = 0
    for p in _expanded(key, len(windows)):
        if p is None:
            parts.append(None)
            made.append(None)
            continue
        window, extent = windows[axis], source.type.shape[axis]
        if is_number(p):
            place = place_of(x, axis, p) if window is not None else p
            parts.append(owned(place, trace) if place is not p else p)
        elif not isinstance(p, slice):
            raise refusal("this index")
        elif window is None and not _is_moving(p):
            parts.append(p)
            made.append(None)
        else:
            parts.append(slice(None))
            length = number(extent, trace) if window is None else window.count
            found, step = slice_window(p, length, trace)
            if window is not None:
                found = Window(plus(window.start, found.start), found.count)
            if step != 1:
                steps.append((len(made), found, step))
                made.append(Window(wrap(np.zeros((), np.int64)), found.count))
            else:
                made.append(found)
        axis += 1
    new = is_view and x.new
    base = x.copied_from[0] if is_view and x.copied_from is not None else None
    chosen = source[tuple(parts)] if any(not is_all(p) for p in parts) else source
    if not made:
        return chosen
    for position, found, step in steps:
        extent = chosen.type.shape[position]
        base = chosen if base is None else base
        chosen = owned(moved(detached(chosen), position, found.start, extent, step), trace)
    if base is not None and all(w is None for w in made):
        raise refusal("this index")
    return (
        chosen if all(w is None for w in made) else BoundedArray(chosen, tuple(made), new, base)
    )


def known_item(x: BoundedArray, item: Any) -> Any:
    """The item along the first axis at a place that is surely before the end."""
    x.require_fresh()
    trace, window = x.recorder, x.windows[0]
    place = item
    if window is not None and not is_known(window.start, 0):
        place = owned(plus(number(item, trace), window.start), trace)
    elif not is_symbol(item):
        place = item
    chosen = x.source[place]
    if all(w is None for w in x.windows[1:]):
        return chosen
    base = None if x.copied_from is None else x.copied_from[0]
    return BoundedArray(chosen, x.windows[1:], x.new, base)


def _chosen(x: Any, parts: list[Any]) -> Any:
    """x[key] where the key has index arrays, next to each other, and slices of whole axes."""
    ndim = len(windows_of(x))
    expanded = _expanded(tuple(parts), ndim)
    at = [k for k, p in enumerate(expanded) if not isinstance(p, slice)]
    others = [p for p in expanded if isinstance(p, slice)]
    neighbours = at == list(range(at[0], at[-1] + 1))
    if any(p is None for p in expanded) or not neighbours or not all(map(is_all, others)):
        raise refusal("this index")
    indices = [_as_index(expanded[k]) for k in at]
    values, windows = _mixed(indices, x)
    found = [_places(x, axis, v, windows) for axis, v in zip(at, values, strict=True)]
    source = x.values if isinstance(x, BoundedArray) else detached(x)
    made = apply(ix.gather, source, *found, axes=tuple(at))
    count = found[0].ndim
    if at[0]:
        made = shape.moveaxis(made, tuple(range(count)), tuple(range(at[0], at[0] + count)))
    own = windows_of(x)
    result = (*own[: at[0]], *windows, *own[at[-1] + 1 :])
    return plain(made, result)


def _as_index(p: Any) -> Any:
    if isinstance(p, BoundedArray):
        if not p.source.type.dtype.is_integer:
            raise IndexOutOfRangeError(
                at_user_line("arrays used as indices must be of integer (or boolean) type")
            )
        return p
    found = array(p)
    if not found.type.dtype.is_integer:
        raise refusal("this index")
    return cast(found, int64)


def _mixed(indices: list[Any], x: Any) -> tuple[list[Any], Windows]:
    """Index arrays broadcast together, with the windows of their common shape."""
    if any(isinstance(i, BoundedArray) for i in indices):
        values, windows = together(indices)
    else:
        values, windows = indices, (None,) * max(i.ndim for i in indices)
    whole = values[0].type.shape
    for v in values[1:]:
        whole = indexing.broadcast_or_none(whole, v.type.shape)
        if whole is None:
            raise refusal("index arrays of these shapes")
    return [shape.broadcast_to(cast(v, int64), tuple(whole)) for v in values], windows


def _places(x: Any, axis: int, index: Any, windows: Windows, end: bool = False) -> Any:
    """Where in the larger array elements are, by index arrays: those of other elements than the
    windows' are 0, or with `end` one behind the last.
    """
    trace = x.recorder or index.recorder
    extents = index.type.shape
    own = windows_of(x)[axis]
    length = number(extents_of(x)[axis], trace) if own is None else own.count

    def whole(n: Any) -> Any:
        return shape.broadcast_to(n, extents)

    zero = whole(wrap(np.zeros((), np.int64)))
    negative = apply(pw.lt, index, zero)
    counted = apply(pw.where, negative, apply(pw.add, index, whole(length)), index)
    bad = apply(pw.bit_or, apply(pw.lt, counted, zero), apply(pw.ge, counted, whole(length)))
    mask = inside(windows, extents)
    if mask is not None:
        bad = apply(pw.bit_and, bad, mask)
    failing = apply(rd.any_, bad, axes=tuple(range(bad.ndim)))
    if own is not None:
        counted = apply(pw.add, counted, whole(own.start))
    behind = number(extents_of(x)[axis], trace) if end else wrap(np.zeros((), np.int64))
    behind = checked(behind, failing)
    if mask is None:
        mask = whole(wrap(np.ones((), np.bool_)))
    return apply(pw.where, mask, counted, whole(behind))


def assign(x: Any, key: Any, value: Any) -> Any:
    """x as it is after x[key] = value, where the key or the value has an unknown length."""
    value = bounded(value)
    expanded = _expanded(tuple(_plain_key(x, key)), x.ndim)
    if any(_is_advanced(p) for p in expanded):
        return _assign_chosen(x, expanded, value)
    windows: list[Window | None] = []
    parts: list[Any] = []
    for axis, p in enumerate(q for q in expanded if q is not None):
        if _is_moving(p):
            found, step = slice_window(p, number(x.type.shape[axis], x.recorder), x.recorder)
            if step != 1:
                raise refusal("an assignment to a slice with steps")
            windows.append(found)
            parts.append(slice(None))
        else:
            if isinstance(p, slice):
                windows.append(None)
            parts.append(p)
    if any(p is None for p in expanded):
        raise refusal("an assignment with new axes")
    if not any(windows) and not isinstance(value, BoundedArray):
        return indexing.setitem(x, tuple(parts), indexing.assigned(value, x.type.dtype))
    old = detached(indexing.getitem(x, tuple(parts), x.recorder))
    target = BoundedArray(old, tuple(windows))
    if not isinstance(value, BoundedArray):
        value = indexing.assigned(value, x.type.dtype)
    elif not np.can_cast(value.dtype.dtype, x.type.dtype.dtype, "same_kind"):
        raise unsupported("an assignment that casts")
    new = cast(in_shape(value, target), x.type.dtype)
    if any(w is not None for w in windows):
        new = apply(pw.where, target.mask, new, old)
    if all(isinstance(p, slice) and is_all(p) for p in parts):
        return new
    return indexing.setitem(x, tuple(parts), new)


def _assign_chosen(x: Any, parts: list[Any], value: Any, mode: str = "update") -> Any:
    """x as it is after values are put where index arrays of the first axes say. What belongs to
    no element is put behind the end.
    """
    at = [k for k, p in enumerate(parts) if not isinstance(p, slice)]
    rest = [p for p in parts if isinstance(p, slice)]
    if (
        any(p is None for p in parts)
        or at != list(range(len(at)))
        or not all(map(is_all, rest))
    ):
        raise refusal("an assignment to this index")
    indices = [_as_index(parts[k]) for k in at]
    values, windows = _mixed(indices, x)
    given, x = x, x.values if isinstance(x, BoundedArray) else x
    if any(w is not None for w in windows_of(given)[len(at) :]):
        raise refusal("an assignment to this index")
    found = [
        _places(given, axis, v, windows, end=axis == 0)
        for axis, v in zip(at, values, strict=True)
    ]
    others = x.type.shape[len(at) :]
    chosen = BoundedArray(
        shape.broadcast_to(wrap(np.zeros((), np.bool_)), (*found[0].type.shape, *others)),
        (*windows, *(None,) * len(others)),
    )
    chosen.source = owned(chosen.source, found[0].recorder)
    if not isinstance(value, BoundedArray):
        value = indexing.assigned(value, x.type.dtype)
    elif not np.can_cast(value.dtype.dtype, x.type.dtype.dtype, "same_kind"):
        raise unsupported("an assignment that casts")
    new = cast(in_shape(value, chosen), x.type.dtype)
    row = wrap(np.zeros((), x.type.dtype.dtype))
    room = shape.broadcast_to(row, (1, *x.type.shape[1:]))
    longer = apply(assemble.concat, x, room, axis=0)
    size = found[0].type.size
    flat = [shape.reshape(i, (size,)) for i in found]
    made = apply(
        ix.scatter, longer, shape.reshape(new, (size, *others)), *flat,
        axes=tuple(range(len(at))), mode=mode,
    )  # fmt: skip
    return subscript.getitem(made, slice(0, x.type.shape[0]))


def _put(x: BoundedArray, key: Any, value: Any) -> Any:
    """The larger array of one of unknown length, after x[key] = value for index arrays."""
    return _assign_chosen(x, _expanded(tuple(_plain_key(x, key)), x.ndim), bounded(value))


INDEXING.update(part=part, known_item=known_item, place_of=place_of, put=_put)

__all__ = [
    "assign", "known_item", "needs_bounds", "needs_window", "nonzero",
    "part", "place_of", "with_symbols",
]  # fmt: skip
