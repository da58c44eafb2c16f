"""Tuples, dicts and objects of plain classes that a loop carries by what they hold."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from graphjit.core.frozen import dataclass
from graphjit.core.static_lookup import is_plain_object
from graphjit.tensors.apply import TensorBase

# Whose objects are no objects of the user's.
LIBRARIES = ("builtins", "graphjit", "numpy", "scipy")
# How many items a record may have.
MAX_ITEMS = 16


@dataclass(frozen=True, slots=True)
class RecordKind:
    """The kind of a record. maker: its class. names: of attributes, or keys; () for tuples."""

    maker: type
    names: tuple[str, ...]
    items: tuple[Any, ...]


def fields_of(value: Any) -> tuple[tuple[str, ...], tuple[Any, ...]] | None:
    """The names and values of what a record holds; None for what is no record."""
    kind = type(value)
    if kind is dict:
        fits = 0 < len(value) <= MAX_ITEMS and all(type(key) is str for key in value)
        return (tuple(value), tuple(value.values())) if fits else None
    if issubclass(kind, TensorBase) or kind.__module__.partition(".")[0] in LIBRARIES:
        return ((), value) if kind is tuple and 0 < len(value) <= MAX_ITEMS else None
    if issubclass(kind, tuple):
        plain = kind.__dictoffset__ == 0 and hasattr(kind, "_fields")
        plain = plain and inspect.getattr_static(kind, "__iter__") is tuple.__iter__
        return ((), tuple(value)) if plain and 0 < len(value) <= MAX_ITEMS else None
    if not is_plain_object(value):
        return None
    held = vars(value)
    return (tuple(held), tuple(held.values())) if 0 < len(held) <= MAX_ITEMS else None


def made_record(kind: RecordKind, items: list[Any]) -> Any:
    """A record of a kind."""
    if issubclass(kind.maker, tuple):
        return tuple.__new__(kind.maker, items)
    if kind.maker is dict:
        return dict(zip(kind.names, items, strict=True))
    made = object.__new__(kind.maker)
    vars(made).update(zip(kind.names, items, strict=True))
    return made


def parts_in(value: Any, places: frozenset[tuple[int, Any]] = frozenset()) -> Iterator[Any]:
    """The values in records, which may be in each other; a value that is none itself.

    places: what is left out: attributes and items, by the ids of the dicts that have them
    """
    found = fields_of(value)
    if found is None:
        yield value
        return
    names, parts = found
    held = value if type(value) is dict else vars(value) if names else None
    for k, part in enumerate(parts):
        if held is None or (id(held), names[k]) not in places:
            yield from parts_in(part, places)


def records_in(value: Any) -> Iterator[Any]:
    """The dicts and objects of plain classes in a value, itself first."""
    found = fields_of(value)
    if found is not None:
        if not isinstance(value, tuple):
            yield value
        for part in found[1]:
            yield from records_in(part)


__all__ = ["LIBRARIES", "RecordKind", "fields_of", "made_record", "parts_in", "records_in"]
