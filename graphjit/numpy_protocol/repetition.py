"""NumPy's functions that repeat, move, drop or add elements: tile, roll, pad, delete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.functions import shape
from graphjit.ops import index as ix
from graphjit.tensors.apply import apply, wrap

from .promotion import (
    Handler,
    array,
    axis_of,
    convert,
    is_symbol,
    refuse,
    static_int,
    static_ints,
    unsupported,
)
from .shapes import bad_shape


def tile(A: Any, reps: Any) -> Any:
    """np.tile."""
    x = array(A)
    if isinstance(reps, str):
        raise unsupported("np.tile by text")
    counts = static_ints(reps)
    rank = max(len(counts), x.ndim)
    if min(counts, default=0) < 0:
        raise bad_shape("negative dimensions are not allowed")
    x = shape.reshape(x, (1,) * (rank - x.ndim) + x.type.shape)
    return shape.tile(x, (1,) * (rank - len(counts)) + counts)


def repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    """np.repeat with known counts."""
    if isinstance(repeats, np.ndarray) and repeats.ndim:
        raise unsupported("np.repeat by a captured array of counts")
    x = array(a)
    counts = static_ints(repeats)
    if axis is None or (not x.ndim and axis_of(axis, 1) == 0):
        x, k = shape.reshape(x, (x.type.size,)), 0
    else:
        k = axis_of(axis, x.ndim)
    if min(counts, default=0) < 0:
        if not x.type.size:
            raise unsupported("np.repeat of nothing")
        raise bad_shape("repeats may not contain negative values.")
    if len(counts) not in (1, x.type.shape[k]):
        raise bad_shape("operands could not be broadcast together")
    if len(counts) != 1:
        places = np.repeat(np.arange(x.type.shape[k]), counts)
        return along(x, places, k)
    return shape.repeat(x, counts[0], k)


def along(x: Any, places: Any, axis: int) -> Any:
    """The elements at known places of one axis."""
    result = apply(ix.gather, x, wrap(np.asarray(places, np.int64)), axes=(axis,))
    rank = np.ndim(places)
    return shape.moveaxis(result, tuple(range(rank)), tuple(range(axis, axis + rank)))


def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """np.roll by a known distance."""
    x = array(a)
    if isinstance(shift, str):
        raise unsupported("np.roll by text")
    if axis is None:
        flat = shape.roll(shape.reshape(x, (x.type.size,)), sum(static_ints(shift)), 0)
        return shape.reshape(flat, x.type.shape)
    axes = [axis_of(k, x.ndim) for k in static_ints(axis)]
    shifts = static_ints(shift)
    if not axes or not shifts:
        raise unsupported("np.roll along no axis")
    try:
        pairs = np.broadcast(np.array(shifts), np.array(axes))
    except ValueError as error:
        raise bad_shape(str(error)) from error
    for amount, k in pairs:
        x = shape.roll(x, int(amount), int(k))
    return x


def pad(array_: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    """np.pad in the modes constant, edge, reflect, symmetric and wrap."""
    x = array(array_)
    if isinstance(pad_width, dict):
        raise unsupported("a dict of pad widths")
    for leaf in np.asarray(pad_width, dtype=object).ravel():
        static_int(leaf)
    if (np.asarray(pad_width) < 0).any():
        raise bad_shape("index can't contain negative values")
    widths = np.broadcast_to(np.asarray(pad_width), (x.ndim, 2))
    pairs = [(int(a), int(b)) for a, b in widths]
    if mode == "constant":
        value = kwargs.pop("constant_values", 0)
        refuse(**{k: (v,) for k, v in kwargs.items()})
        if not is_symbol(value) and np.ndim(value):
            raise unsupported("several constant_values")
        value = convert(value, x.type.dtype)
        return shape.pad(x, pairs, "CONSTANT", value) if x.ndim else x
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise unsupported(f"np.pad in mode {mode!r}")
    refuse(reflect_type=(kwargs.pop("reflect_type", None), "even"))
    refuse(**{k: (v,) for k, v in kwargs.items()})
    for k, (before, after) in enumerate(pairs):
        extent = x.type.shape[k]
        if not extent and (before or after):
            raise bad_shape(f"can't extend empty axis {k} using modes other than 'constant'")
        simple = max(before, after) <= extent - 1 and mode != "wrap"
        if not (before or after):
            continue
        if simple:
            one = [(before, after) if a == k else (0, 0) for a in range(x.ndim)]
            x = shape.pad(x, one, mode.upper())
        else:
            x = along(x, np.pad(np.arange(extent), (before, after), mode), k)
    return x


def _pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    return pad(array, pad_width, mode, **kwargs)


def by_places(function: Callable[[Any], Any], x: Any) -> Any:
    """What a NumPy function that only moves elements makes of x, through flat indices."""
    places = np.arange(x.type.size, dtype=np.int64).reshape(x.type.shape)
    moved = np.asarray(function(places))
    flat = shape.reshape(x, (x.type.size,))
    return apply(ix.gather, flat, wrap(np.asarray(moved, order="C")), axes=(0,))


def delete(arr: Any, obj: Any, axis: Any = None) -> Any:
    """np.delete of known places."""
    x = array(arr)
    if isinstance(obj, np.ndarray) or any(
        map(is_symbol, obj if isinstance(obj, (list, tuple)) else [obj])
    ):
        raise unsupported("np.delete at traced or captured places")
    return by_places(lambda places: np.delete(places, obj, axis), x)


def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    """np.insert before one known place."""
    x = array(arr)
    if isinstance(obj, (slice, list, tuple, np.ndarray)):
        raise unsupported("np.insert at several places")
    place = static_int(obj)
    if axis is None:
        x, axis = shape.reshape(x, (x.type.size,)), 0
    k = axis_of(axis, x.ndim)
    extent = x.type.shape[k]
    if not -extent <= place <= extent:
        raise IndexError(f"index {place} is out of bounds for axis {k} with size {extent}")
    place += extent if place < 0 else 0
    new = convert(values, x.type.dtype)
    if new.ndim:  # NumPy moves the axes of values about: only the plain case is done here
        if x.ndim > 1 or new.ndim > 1:
            raise unsupported("np.insert of an array into several dimensions")
        new = shape.reshape(new, (new.type.size,))
    else:
        row = tuple(1 if a == k else n for a, n in enumerate(x.type.shape))
        new = shape.broadcast_to(new, row)
    before = shape.slice_axis(x, k, 0, place)
    after = shape.slice_axis(x, k, place if place < extent else 0, extent - place)
    return shape.concat([before, new, after], k)


def resize(a: Any, new_shape: Any) -> Any:
    """np.resize."""
    x = array(a)
    if not x.type.size:
        raise unsupported("np.resize of nothing")
    return by_places(lambda places: np.resize(places, static_ints(new_shape)), x)


FUNCTIONS: dict[Any, Handler] = {
    np.tile: tile,
    np.repeat: repeat,
    np.roll: roll,
    np.pad: _pad,
    np.delete: delete,
    np.insert: insert,
    np.resize: resize,
}
