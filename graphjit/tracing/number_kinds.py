"""Kinds of numbers, tuples of numbers and arrays, and the arrays that stand for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.frozen import dataclass
from graphjit.core.types import TensorType, as_dtype, bool_, int64
from graphjit.ops import source
from graphjit.tensors.apply import TensorBase, wrap

from .mixed_numbers import MixedNumber, is_exact, is_mixed, kind_of_mix, value_for
from .symbolic_attributes import represented_class

# What origins say of numbers that are of two kinds.
MIXED = ("mixed", "mixed int")
# How many items a tuple may have.
MAX_ITEMS = 16
_NUMBERS = (bool, int, float, complex)


@dataclass(frozen=True, slots=True)
class TupleKind:
    """The kind of a tuple of numbers."""

    items: tuple[Any, ...]


def kind_of(value: Any) -> Any:
    """The kind of a value: for numbers and arrays the type, and whose rules hold for it."""
    kind = type(value)
    if kind is tuple:
        return TupleKind(tuple(map(kind_of, value)))
    if isinstance(value, TensorBase):
        if value.is_mixed:
            return value.type, "mixed int" if value.whole else "mixed"  # type: ignore[attr-defined]
        return value.type, getattr(value, "origin", "tensor")
    if isinstance(value, (np.ndarray, np.generic)):
        return TensorType(value.shape, as_dtype(value.dtype)), "numpy"
    dtype = {bool: "bool", int: "int64", float: "float64", complex: "complex128"}[kind]
    return TensorType((), as_dtype(dtype)), "weak"


def has_kind(value: Any) -> bool:
    """Whether a value is a number, a tuple of numbers, or an array that was computed, so that
    nothing else is known to be it or a part of it.
    """
    kind = type(value)
    if kind is tuple:
        return 0 < len(value) <= MAX_ITEMS and all(map(_is_number, value))
    if issubclass(kind, Dim):
        return False
    if issubclass(kind, TensorBase):
        if value.recorder is None or value.is_selection:
            return False
        if value.is_mixed or value.origin == "weak":
            return True
        if not value.type.shape:
            return represented_class(value) is not np.ndarray
        return value.origin != "numpy" or is_computed(value)
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
    if is_traced_array(value):
        return bool(value.origin == "numpy")
    return has_kind(value)


def is_given(value: Any) -> bool:
    """Whether an item of a list is an array that others may know."""
    return isinstance(value, np.ndarray) or (is_traced_array(value) and not is_computed(value))


def is_traced_array(value: Any) -> bool:
    """Whether a value is a traced array with axes, of known length."""
    plain = isinstance(value, TensorBase) and not value.is_selection and not value.is_mixed
    return bool(plain and value.recorder is not None and value.type.shape)


def _is_number(value: Any) -> bool:
    if type(value) is tuple or not has_kind(value):
        return False
    if isinstance(value, TensorBase):
        return not value.is_selection and not value.type.shape
    return not isinstance(value, np.ndarray)


def is_computed(value: Any) -> bool:
    """Whether an array is new, or one that a loop carries, and no view."""
    if value._index_source is not None:
        return False
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


def parts_of(kind: Any) -> list[tuple[TensorType, str]]:
    """The types of the arrays that stand for what is of a kind, and whose rules hold."""
    if type(kind) is TupleKind:
        return [part for item in kind.items for part in parts_of(item)]
    type_, origin = kind
    if origin in MIXED:
        return [(type_, "weak"), (TensorType((), bool_), "weak")]
    return [(type_, origin)]


def split(trace: Any, value: Any, kind: Any) -> list[Any]:
    """The arrays that stand for a value."""
    if type(kind) is TupleKind:
        pairs = zip(value, kind.items, strict=True)
        return [part for x, k in pairs for part in split(trace, x, k)]
    if kind[1] in MIXED:
        return list(value_for(trace, value, kind))
    return [as_tensor(value)]


def join(trace: Any, kind: Any, parts: Iterator[Any]) -> Any:
    """The value that arrays stand for."""
    if type(kind) is TupleKind:
        return tuple([join(trace, k, parts) for k in kind.items])
    if kind[1] in MIXED:
        number, flag = next(parts), next(parts)
        return MixedNumber(trace, number.node, number.type, "", flag, kind[1] == "mixed int")
    return next(parts)


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


def as_tensor(value: Any) -> Any:
    """A number or array as a tensor."""
    if isinstance(value, TensorBase):
        return value.as_numpy() if is_mixed(value) else value.as_tensor()  # type: ignore[attr-defined]
    type, _ = kind_of(value)
    return wrap(np.array(value, type.dtype.dtype))


__all__ = [
    "MIXED", "TupleKind", "as_tensor", "common_kind", "has_kind", "is_given", "join", "kind_of",
    "is_traced_array", "kinds_of_numbers", "may_be_item", "parts_of", "shown_kind", "split",
]  # fmt: skip
