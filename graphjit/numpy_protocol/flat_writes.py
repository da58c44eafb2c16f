"""Flat places: `x.flat[...] = v`, np.put, np.place, np.unravel_index."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from graphjit.core.dims import is_symbolic
from graphjit.core.types import int64
from graphjit.functions import shape
from graphjit.ops import pointwise as pw
from graphjit.ops import reduce
from graphjit.tensors.apply import apply

from . import indexing, reductions
from .indexing import assigned
from .promotion import array, cast, detached, is_symbol, leaves, unsupported
from .scipy_calls import called
from .ufuncs import run_ufunc

_MAX_PLACES = 100_000


def put(a: Any, ind: Any, v: Any, mode: Any = "raise") -> None:
    """np.put at places that are known."""
    _own(a, "np.put")
    if mode != "raise" or any(map(is_symbol, leaves((ind,)))):
        raise unsupported("np.put at places that are traced, or in another mode")
    _write(a, np.asarray(ind), v)


def place(arr: Any, mask: Any, vals: Any) -> None:
    """np.place."""
    _own(arr, "np.place")
    x, m = detached(arr), array(mask)
    values = assigned(vals, x.type.dtype)
    if m.type.size != x.type.size or not values.type.size or is_symbolic(x.type.shape):
        raise unsupported("np.place with a mask of another size, or without values")
    flags = shape.reshape(cast(m, int64), (m.type.size,))
    numbers = run_ufunc(np.subtract, reductions.cumsum(flags), 1)
    numbers = run_ufunc(np.remainder, numbers, values.type.size)
    chosen = shape.reshape(values, (values.type.size,))[numbers]
    chosen = shape.reshape(chosen, x.type.shape)
    wanted = shape.reshape(run_ufunc(np.not_equal, flags, 0), x.type.shape)
    indexing.replace(arr, apply(pw.where, wanted, chosen, x))


def unravel_index(indices: Any, shape: Any, order: Any = "C") -> Any:
    """np.unravel_index of what an argmax or argmin gave, which is in range, and of others."""
    extents = (shape,) if isinstance(shape, int) else tuple(shape)
    known = is_symbol(indices) and not indices.type.shape and order == "C"
    known = known and not any(map(is_symbol, extents)) and not is_symbolic(extents)
    if known and _is_place_in(indices, math.prod(extents)):
        found, rest = [], indices
        for extent in reversed(extents):
            found.append(run_ufunc(np.remainder, rest, extent))
            rest = run_ufunc(np.floor_divide, rest, extent)
        return tuple(reversed(found))
    return called("numpy", "unravel_index", (indices, extents), {"order": order})


def _is_place_in(x: Any, size: int) -> bool:
    """Whether a traced number is a place in an array of so many elements, surely."""
    nodes = x.recorder.builder.nodes
    node = nodes[x.node]
    while node.primitive in (pw.cast, reduce.argmax, reduce.argmin):
        operand = nodes[node.inputs[0]]
        if node.primitive is not pw.cast:
            return bool(operand.tensor.shape == (size,) or operand.tensor.size == size)
        node = operand
    return False


def _own(x: Any, what: str) -> None:
    if not is_symbol(x):
        raise unsupported(f"{what} into an array that isn't traced")
    x._require_writable(what)


def _write(x: Any, key: Any, value: Any) -> None:
    """Write values, again and again where they are fewer, at the flat places of a key."""
    if is_symbolic(x.type.shape) or x.type.size > _MAX_PLACES:
        raise unsupported("writing by flat places into a long array")
    places = np.arange(x.type.size)[key].reshape(-1)
    given = assigned(value, x.type.dtype)
    if not places.size:
        return
    if not given.type.size:
        raise unsupported("writing no values by flat places")
    if given.ndim:
        numbers = np.arange(places.size) % given.type.size
        given = shape.reshape(given, (given.type.size,))[numbers]
    index = np.unravel_index(places, x.type.shape) if x.ndim != 1 else (places,)
    x[tuple(index)] = given


class TracedFlat:
    """`x.flat` of a traced array: its elements in C's order, which are written through."""

    def __init__(self, x: Any) -> None:
        self._x = x
        self.base = x

    def __getitem__(self, key: Any) -> Any:
        return self._x.flatten()[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        if any(map(is_symbol, leaves((key,)))):
            raise unsupported(".flat at places that are traced")
        if isinstance(key, (bool, np.bool_)) or key is Ellipsis:
            raise unsupported(".flat at such a place")
        self._x._require_writable("x.flat")
        _write(self._x, key, value)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._x.flatten())

    def __len__(self) -> int:
        return len(self._x.flatten())

    def copy(self) -> Any:
        """The elements in an array of one dimension."""
        return self._x.flatten()

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise unsupported("a function of NumPy's on .flat")

    def __getattr__(self, name: str) -> Any:
        raise unsupported(f".flat.{name}")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __array__
    __hash__ = None  # type: ignore[assignment]


indexing.IN_PLACE |= {np.put: put, np.place: place}
indexing.FUNCTIONS[np.unravel_index] = unravel_index


__all__ = ["TracedFlat", "place", "put", "unravel_index"]
