"""What the variables of a frame hold, and which of them a loop can carry."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.types import DType, TensorType
from graphjit.numpy_protocol.bounded_arrays import BoundedArray
from graphjit.tensors.apply import TensorBase

from .grown_lists import GrownList
from .loop_iterators import TracedRange
from .records import parts_in

# Of how many values it is noted what they hold, how large arrays may be, and up to which size
# all their elements are kept [bytes].
_ROOM, _MAX_BYTES, _MAX_KEPT = 2000, 1 << 24, 1 << 16
_HEAP_TYPE = 1 << 9  # CPython's Py_TPFLAGS_HEAPTYPE
_UNCHANGING = (
    bool, int, float, complex, str, bytes, type(None), type(...), type(NotImplemented), range,
    slice, Dim, ModuleType, CodeType, DType, TensorType, TracedRange,
)  # fmt: skip
_NUMBERS = (bool, int, float, complex)


def twins_of(
    names: Sequence[str], before: dict[str, Any], now: dict[str, Any]
) -> dict[str, str]:
    """The names that are the same array as an earlier one, at both times."""
    found: dict[str, str] = {}
    for k, name in enumerate(names):
        if not _is_array(before[name]):
            continue
        for other in names[:k]:
            if before[other] is before[name] and now[other] is now[name]:
                found[name] = other
                break
    return found


def has_aliases(
    values: dict[str, Any],
    names: Sequence[str],
    twins: dict[str, str],
    places: frozenset[tuple[int, Any]],
) -> bool:
    """Whether a variable that is carried is an array that another variable is, too, or shares
    memory with, but for twins.

    places: the attributes and items that are carried by names of their own
    """
    seen: dict[int, str] = {}
    for name, whole in values.items():
        if name in twins:
            continue
        own = set[int]()
        for value in parts_in(whole, frozenset() if name in names else places):
            array = value.source if type(value) is BoundedArray else value
            if not _is_array(array):
                continue
            number = id(getattr(array, "storage", array))
            other = seen.setdefault(number, name)
            if (other != name or number in own) and (name in names or other in names):
                return True
            own.add(number)
    return False


def _is_array(value: Any) -> bool:
    return bool(
        issubclass(type(value), TensorBase) and not value.is_selection and value.type.shape
    )


def same_plain(a: Any, b: Any) -> bool:
    """Whether two values are the same number or text, or tuples of such."""
    if type(a) is tuple and type(b) is tuple:
        return len(a) == len(b) and all(map(same_plain, a, b))
    if type(a) is not type(b) or type(a) not in (*_NUMBERS, str, bytes, type(None)):
        return False
    return bool(a == b) and repr(a) == repr(b)


def all_same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether variables are the same ones with the same values."""
    return a.keys() == b.keys() and all(
        x is b[name] or same_plain(x, b[name]) for name, x in a.items()
    )


def contents_of(
    values: dict[str, Any], fields: frozenset[tuple[int, Any]] = frozenset()
) -> dict[str, Any] | None:
    """What variables hold, to tell whether it is changed; None where that can't be seen.

    fields: what is not looked at: attributes, by the ids of the dicts that have them, and cells
    """
    room = [_ROOM]
    try:
        return {name: _content(value, room, fields) for name, value in values.items()}
    except _Unseen:
        return None


class _Unseen(Exception):
    """A value whose contents can't be seen."""


def _content(value: Any, room: list[int], fields: frozenset[tuple[int, Any]]) -> Any:
    kind = type(value)
    if kind is GrownList:
        return id(value), value.length.node, tuple(x.node for x in value.buffers)
    if issubclass(kind, TensorBase):
        return id(value)  # writes into arrays are noted where they happen
    if kind in _UNCHANGING or isinstance(value, (type, np.ufunc, np.generic, np.dtype)):
        return id(value)
    room[0] -= 1
    if room[0] < 0:
        raise _Unseen
    if kind in (list, tuple, set, frozenset, deque, bytearray):
        return id(value), tuple(_content(x, room, fields) for x in value)
    if kind is dict:
        items = [(k, x) for k, x in value.items() if (id(value), k) not in fields]
        pairs = ((_content(k, room, fields), _content(x, room, fields)) for k, x in items)
        return id(value), tuple(pairs)
    if kind is np.ndarray:
        if value.nbytes > _MAX_BYTES or value.dtype.hasobject:
            raise _Unseen
        content = value.tobytes()
        return id(value), content if len(content) <= _MAX_KEPT else hash(content)
    if kind is BuiltinFunctionType:
        owner = value.__self__
        return id(value) if isinstance(owner, ModuleType) else _content(owner, room, fields)
    if kind is MethodType:
        return id(value.__func__), _content(value.__self__, room, fields)
    if kind is FunctionType:
        closed = [c for c in value.__closure__ or () if (id(c), None) not in fields]
        cells = [c.cell_contents for c in closed if is_set(c)]
        held = [*cells, value.__defaults__, value.__kwdefaults__, vars(value)]
        return id(value), tuple(_content(x, room, fields) for x in held)
    if kind.__module__ in ("builtins", "itertools", "functools", "_functools", "collections"):
        raise _Unseen
    if hasattr(kind, "__next__") or hasattr(kind, "__get__"):
        raise _Unseen
    if kind is not SimpleNamespace and any(map(_is_of_c, kind.__mro__[:-1])):
        raise _Unseen
    own = getattr(value, "__dict__", {})
    named = {k: x for k, x in own.items() if (id(own), k) not in fields}
    for base in kind.__mro__:
        named.update({n: getattr(value, n, None) for n in _slots(base)})
    return id(value), tuple((k, _content(x, room, fields)) for k, x in named.items())


def _is_of_c(kind: type) -> bool:
    """Whether objects of a class may hold more than their attributes."""
    package = kind.__module__.partition(".")[0]
    written = not kind.__flags__ & _HEAP_TYPE
    private = any(name.startswith("__") for name in _slots(kind))
    return written or private or package in ("numpy", "scipy", *sys.stdlib_module_names)


def is_set(cell: CellType) -> bool:
    """Whether a variable of a function around others has a value."""
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _slots(kind: type) -> tuple[str, ...]:
    found = vars(kind).get("__slots__", ())
    return (found,) if isinstance(found, str) else tuple(found)


__all__ = [
    "all_same", "contents_of", "has_aliases", "is_set", "same_plain", "twins_of",
]  # fmt: skip
