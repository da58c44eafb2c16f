"""What a loop of Python's can carry from turn to turn, and the arrays that stand for it.

A number is one array without axes, two if it may be Python's or NumPy's; a tuple the arrays of
its items; a list that grows its items, with room for more, and their number; an array of
unknown length the larger one and its windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.frozen import dataclass
from graphjit.core.types import TensorType, as_dtype, bool_, int64
from graphjit.numpy_protocol.bounded_arrays import BoundedArray
from graphjit.numpy_protocol.windows import Window
from graphjit.ops import source
from graphjit.tensors.apply import TensorBase, wrap

from .grown_lists import GrownList
from .mixed_numbers import MixedNumber, is_exact, is_mixed, kind_of_mix, value_for
from .symbolic_attributes import represented_classes

# What origins say of numbers that are of two kinds.
MIXED = ("mixed", "mixed int")
# How many items a tuple may have.
MAX_ITEMS = 16
_NUMBERS = (bool, int, float, complex)


@dataclass(frozen=True, slots=True)
class TupleKind:
    """The kind of a tuple of numbers."""

    items: tuple[Any, ...]


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
    kind = type(value)
    if kind is tuple:
        return TupleKind(tuple(map(kind_of, value)))
    if kind is GrownList:
        return ListKind(value.item, value.room)
    if kind is BoundedArray:
        return BoundedKind(value.source.type, tuple(w is not None for w in value.windows))
    if isinstance(value, TensorBase):
        if value.is_mixed:
            return value.type, "mixed int" if value.whole else "mixed"  # type: ignore[attr-defined]
        return value.type, getattr(value, "origin", "tensor")
    if isinstance(value, (np.ndarray, np.generic)):
        return TensorType(value.shape, as_dtype(value.dtype)), "numpy"
    dtype = {bool: "bool", int: "int64", float: "float64", complex: "complex128"}[kind]
    return TensorType((), as_dtype(dtype)), "weak"


def may_be_carried(value: Any) -> bool:
    """Whether a variable's value can be an operand of a loop: a number, or an array that was
    computed, so that nothing else is known to be it or a part of it.
    """
    kind = type(value)
    if kind is tuple:
        return 0 < len(value) <= MAX_ITEMS and all(map(_is_carried_number, value))
    if kind is GrownList:
        return True
    if issubclass(kind, Dim):
        return False
    if issubclass(kind, TensorBase):
        if value.recorder is None or value.is_selection:
            return kind is BoundedArray and value.new and value.base is None
        if value.is_mixed or value.origin == "weak":
            return True
        if not value.type.shape:
            classes = represented_classes(value)
            return len(classes) == 1 and classes[0] is not np.ndarray
        return value.origin != "numpy" or _is_computed(value)
    if kind is int:
        return bool(-(2**63) <= value < 2**63)
    if kind in _NUMBERS:
        return True
    if kind is np.ndarray:
        return value.dtype.kind in "biufc" and bool(value.shape)
    return issubclass(kind, np.generic) and value.dtype.kind in "biufc"


def may_be_item(value: Any) -> bool:
    """Whether a value can be an item of a list that grows: a copy of it is kept, and it must
    not be written into from then on.
    """
    if type(value) is GrownList or type(value) is BoundedArray:
        return False
    is_array = isinstance(value, TensorBase) and not value.is_selection and not value.is_mixed
    if is_array and value.recorder is not None and value.type.shape:
        return bool(value.origin == "numpy")
    return may_be_carried(value)


def is_given(value: Any) -> bool:
    """Whether an item of a list is an array that others may know."""
    is_array = isinstance(value, TensorBase) and not value.is_selection and not value.is_mixed
    return bool(is_array and value.type.shape and not _is_computed(value)) or isinstance(
        value, np.ndarray
    )


def _is_carried_number(value: Any) -> bool:
    if type(value) is tuple or not may_be_carried(value) or type(value) is GrownList:
        return False
    if isinstance(value, TensorBase):
        return not value.is_selection and not value.type.shape
    return not isinstance(value, np.ndarray)


def _is_computed(value: Any) -> bool:
    """Whether an array is new, or one that a loop carries, and no view."""
    root = value.recorder.builder.nodes[value.node].primitive
    return value.provenance is None and root is not source.param


def common_kind(kind: Any, other: Any, values: Sequence[Any]) -> Any:
    """The kind of what is of one kind or the other; None where there is none. values: some of
    it.
    """
    if kind == other:
        return kind
    if type(kind) is TupleKind and type(other) is TupleKind:
        if len(kind.items) != len(other.items):
            return None
        found = [
            common_kind(a, b, [x[k] for x in values if type(x) is tuple])
            for k, (a, b) in enumerate(zip(kind.items, other.items, strict=True))
        ]
        return None if None in found else TupleKind(tuple(found))
    if type(kind) is not tuple or type(other) is not tuple:
        return None
    wanted = kind_of_mix(kind, other)
    if wanted is not None and wanted[1] == "mixed int":
        ints = [x for x in values if kind_of(x)[0].dtype is int64]
        if not all(map(is_exact, ints)):
            return None
    return wanted


def is_part_of(kind: Any, value: Any) -> bool:
    """Whether a value can be carried as one of this kind."""
    return bool(common_kind(kind, kind_of(value), [value]) == kind)


def parts_of(kind: Any) -> list[tuple[TensorType, str]]:
    """The types of the arrays that stand for what is of a kind, and whose rules hold."""
    if type(kind) is TupleKind:
        return [part for item in kind.items for part in parts_of(item)]
    if type(kind) is ListKind:
        return [*GrownList.buffer_types(parts_of(kind.item), kind.room), _WHOLE]
    if type(kind) is BoundedKind:
        return [(kind.type, "numpy"), *[_WHOLE for moves in kind.moving if moves] * 2]
    type_, origin = kind
    if origin in MIXED:
        return [(type_, "weak"), (TensorType((), bool_), "weak")]
    return [(type_, origin)]


_WHOLE = (TensorType((), int64), "weak")


def split(trace: Any, value: Any, kind: Any) -> list[Any]:
    """The arrays that stand for a value."""
    if type(kind) is TupleKind:
        return [
            part for x, k in zip(value, kind.items, strict=True) for part in split(trace, x, k)
        ]
    if type(kind) is ListKind:
        return [*value.buffers, value.length]
    if type(kind) is BoundedKind:
        windows = [w for w in value.windows if w is not None]
        return [value.values, *[n for w in windows for n in w]]
    if kind[1] in MIXED:
        return list(value_for(trace, value, kind))
    return [as_tensor(value)]


def join(trace: Any, kind: Any, parts: Iterator[Any]) -> Any:
    """The value that arrays stand for."""
    if type(kind) is TupleKind:
        return tuple([join(trace, k, parts) for k in kind.items])
    if type(kind) is ListKind:
        buffers = [next(parts) for _ in parts_of(kind.item)]
        return GrownList(trace, kind.item, buffers, next(parts), kind.room)
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
            windows.append(Window(_integer(trace, start), _integer(trace, count)))
        return BoundedArray(values, tuple(windows))
    if kind[1] in MIXED:
        number, flag = next(parts), next(parts)
        return MixedNumber(trace, number.node, number.type, "", flag, kind[1] == "mixed int")
    return next(parts)


def _integer(trace: Any, x: Any) -> Any:
    return trace.symbol_of(x.node, "numpy")


def shown_kind(kind: Any) -> Any:
    """The kind of an item of a list, as `result_views.as_list` takes it."""
    if type(kind) is TupleKind:
        return tuple(map(shown_kind, kind.items))
    type_, origin = kind
    return "array" if type_.shape else origin


def kinds_of_numbers(kind: Any) -> list[Any]:
    """The kinds of the numbers that are in what is of a kind, which may be mixed."""
    if type(kind) is TupleKind:
        return [part for item in kind.items for part in kinds_of_numbers(item)]
    return [kind]


def zeros_of(kind: Any) -> list[Any]:
    """Arrays that stand for a value that isn't there yet."""
    return [wrap(np.zeros(type.shape, type.dtype.dtype)) for type, _ in parts_of(kind)]


def as_tensor(value: Any) -> Any:
    """A number or array that is carried as a tensor."""
    if isinstance(value, TensorBase):
        return value.as_numpy() if is_mixed(value) else value.as_tensor()  # type: ignore[attr-defined]
    type, _ = kind_of(value)
    return wrap(np.array(value, type.dtype.dtype))


__all__ = [
    "MIXED", "BoundedKind", "ListKind", "TupleKind", "as_tensor", "common_kind", "is_given",
    "is_part_of", "join", "kind_of", "kinds_of_numbers", "may_be_carried", "may_be_item",
    "parts_of", "shown_kind", "split", "zeros_of",
]  # fmt: skip
