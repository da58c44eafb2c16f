"""What a loop of Python's can carry from turn to turn, and the arrays that stand for it.

A number is one array without axes, two if it may be Python's or NumPy's; a tuple the arrays of
its items, an object those of its attributes; a list that grows its items, with room for more,
and their number; an array of unknown length the larger one and its windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.frozen import dataclass
from graphjit.core.types import TensorType, int64
from graphjit.numpy_protocol.bounded_arrays import BoundedArray
from graphjit.numpy_protocol.windows import Window
from graphjit.tensors.apply import wrap

from . import number_kinds
from .grown_lists import GrownList
from .number_kinds import has_kind
from .records import RecordKind, fields_of, made_record

_WHOLE = (TensorType((), int64), "weak")


@dataclass(frozen=True, slots=True)
class ListKind:
    """The kind of a list that grows. room: how many items it may have."""

    item: Any
    room: int


@dataclass(frozen=True, slots=True)
class BoundedKind:
    """The kind of an array of unknown length. moving: which axes have windows."""

    type: TensorType
    moving: tuple[bool, ...]


def kind_of(value: Any) -> Any:
    """The kind of a value that can be carried: for numbers and arrays the type, and whose rules
    hold for it.
    """
    if type(value) is GrownList:
        return ListKind(value.item, value.room)
    if type(value) is BoundedArray:
        return BoundedKind(value.source.type, tuple(w is not None for w in value.windows))
    if not has_kind(value) and (fields := fields_of(value)) is not None:
        return RecordKind(type(value), fields[0], tuple(map(kind_of, fields[1])))
    return number_kinds.kind_of(value)


def common_kind(kind: Any, other: Any, values: Sequence[Any]) -> Any:
    """The kind of what is of one kind or the other; None where there is none. values: some of
    it.
    """
    if type(kind) is not RecordKind or type(other) is not RecordKind or kind == other:
        return number_kinds.common_kind(kind, other, values)
    if (kind.maker, kind.names) != (other.maker, other.names):
        return None
    if len(kind.items) != len(other.items):
        return None
    found = []
    for k, (a, b) in enumerate(zip(kind.items, other.items, strict=True)):
        fields = [fields_of(x) for x in values]
        found.append(common_kind(a, b, [f[1][k] for f in fields if f is not None]))
    return None if None in found else RecordKind(kind.maker, kind.names, tuple(found))


def may_be_carried(value: Any) -> bool:
    """Whether a variable's value can be an operand of a loop."""
    if type(value) is GrownList:
        return True
    if type(value) is BoundedArray:
        return value.new and value.copied_from is None
    return has_kind(value) or is_record(value)


def is_record(value: Any) -> bool:
    """Whether a value is carried by what it holds, and may be known elsewhere."""
    if has_kind(value) or (fields := fields_of(value)) is None:
        return False
    return all(has_kind(x) or is_record(x) for x in fields[1])


def copied(values: Mapping[str, Any]) -> dict[str, Any]:
    """Variables whose lists and objects are others that hold the same."""
    known: dict[int, Any] = {}

    def copy(value: Any) -> Any:
        if type(value) is not GrownList and not is_record(value):
            return value
        if id(value) not in known:
            if type(value) is GrownList:
                known[id(value)] = value.copy()
            else:
                fields = fields_of(value)
                assert fields is not None
                kind = RecordKind(type(value), fields[0], ())
                known[id(value)] = made_record(kind, list(map(copy, fields[1])))
        return known[id(value)]

    return {name: copy(value) for name, value in values.items()}


def is_part_of(kind: Any, value: Any) -> bool:
    """Whether a value can be carried as one of this kind."""
    return bool(common_kind(kind, kind_of(value), [value]) == kind)


def parts_of(kind: Any) -> list[tuple[TensorType, str]]:
    """The types of the arrays that stand for what is of a kind, and whose rules hold."""
    if type(kind) is ListKind:
        parts = number_kinds.parts_of(kind.item)
        return [*GrownList.buffer_types(parts, kind.room), _WHOLE]
    if type(kind) is RecordKind:
        return [part for item in kind.items for part in parts_of(item)]
    if type(kind) is BoundedKind:
        return [(kind.type, "numpy"), *[_WHOLE for moves in kind.moving if moves] * 2]
    return number_kinds.parts_of(kind)


def split(trace: Any, value: Any, kind: Any) -> list[Any]:
    """The arrays that stand for a value."""
    if type(kind) is ListKind:
        return [*value.buffers, value.length]
    if type(kind) is RecordKind:
        fields = fields_of(value)
        assert fields is not None
        pairs = zip(fields[1], kind.items, strict=True)
        return [part for x, item in pairs for part in split(trace, x, item)]
    if type(kind) is BoundedKind:
        windows = [w for w in value.windows if w is not None]
        return [value.values, *[n for w in windows for n in w]]
    return number_kinds.split(trace, value, kind)


def join(trace: Any, kind: Any, parts: Iterator[Any]) -> Any:
    """The value that arrays stand for."""
    if type(kind) is ListKind:
        buffers = [next(parts) for _ in number_kinds.parts_of(kind.item)]
        return GrownList(trace, kind.item, buffers, next(parts), kind.room)
    if type(kind) is RecordKind:
        return made_record(kind, [join(trace, item, parts) for item in kind.items])
    if type(kind) is BoundedKind:
        values = next(parts)
        windows: list[Window | None] = []
        for axis, moves in enumerate(kind.moving):
            if not moves:
                windows.append(None)
                continue
            start, count = next(parts), next(parts)
            most = kind.type.shape[axis]
            if not isinstance(most, Dim):
                trace.note_bounds(start, 0, most)
                trace.note_bounds(count, 0, most)
            windows.append(Window(*(trace.symbol_of(x.node, "numpy") for x in (start, count))))
        return BoundedArray(values, tuple(windows))
    return number_kinds.join(trace, kind, parts)


def zeros_of(kind: Any) -> list[Any]:
    """Arrays that stand for a value that isn't there yet."""
    return [wrap(np.zeros(type.shape, type.dtype.dtype)) for type, _ in parts_of(kind)]


__all__ = [
    "BoundedKind", "ListKind", "common_kind", "copied", "is_part_of", "is_record", "join",
    "kind_of", "may_be_carried", "parts_of", "split", "zeros_of",
]  # fmt: skip
