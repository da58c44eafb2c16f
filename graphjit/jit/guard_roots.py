"""How machine code reaches what traced code read, and what it compares there.

A source says how Python reads a value anew; a root says the same for machine code. Guards that
machine code can't compare are asked of Python.
"""

from __future__ import annotations

import types
import weakref
from collections.abc import Hashable
from typing import Any, Final

from graphjit.capture.sources import (
    MISSING,
    AttributeSource,
    CellSource,
    Check,
    ConstSource,
    Guard,
    ItemSource,
    Source,
    StaticSource,
    WeakRefSource,
    static_attribute,
)
from graphjit.codegen.runtime.entry_layout import GuardKind
from graphjit.codegen.runtime.entry_spec import (
    ArgumentLeaf,
    GuardedRoot,
    LeafGuard,
    Step,
    static_leaf,
)
from graphjit.core.attribute_layout import Place, Places

_TRUE: Final = LeafGuard(GuardKind.SAME, value=True)
# What a class has stored that reading it as an attribute gives, or makes something of without
# running code of Python's.
_STORED: Final = (
    types.FunctionType, staticmethod, property, types.WrapperDescriptorType,
    types.MethodDescriptorType, types.BuiltinFunctionType,
)  # fmt: skip


class NoPath(Exception):
    """Raised for a source that machine code can't follow."""


class Paths:
    """Makes roots of the sources and guards of one specialization.

    What objects are now, where that can be told without running code of Python's, says where
    their attributes lie.
    """

    def __init__(self, argument: Any = None, leaf: ArgumentLeaf | None = None) -> None:
        """argument, leaf: an object among the arguments for which any other of its class may
        stand, and which leaf it is.
        """
        self._now: dict[Hashable, Any] = {}
        self._places = Places()
        self._argument, self._leaf = argument, leaf

    def to(self, source: Source) -> tuple[Any, tuple[Step, ...]]:
        """The object from which a source starts, and the steps from there."""
        match source:
            case ConstSource() | WeakRefSource() if self._is_argument(source):
                return self._leaf, ()
            case ConstSource():
                return source.value, ()
            case WeakRefSource():
                return source.reference, (Step(GuardKind.REFERENCE),)
            case CellSource():
                return source.cell, (Step(GuardKind.CONTENT),)
            case ItemSource():
                value, steps = self.to(source.parent)
                key, hint = self._places.item(self._value(source.parent), source.item)
                return value, (*steps, Step(GuardKind.ITEM, key, None, hint))
            case AttributeSource():
                value, steps = self.to(source.parent)
                owner = self._value(source.parent)
                place = None if owner is MISSING else self._places.attribute(owner, source.name)
                return value, (*steps, Step(GuardKind.ATTRIBUTE, source.name, place))
        raise NoPath

    def guard(self, guard: Guard) -> GuardedRoot:
        """A guard on what the Python code read: read by machine code if that can be."""
        root = self._compared(guard)
        if self._leaf is not None and self._refers(guard, root):
            raise NoPath
        if root is None:
            root = GuardedRoot(guard.holds, (Step(GuardKind.CALL),), _TRUE)
        shortcut = self._class_of(guard)
        if shortcut is not None:
            reference, place = shortcut
            start = (Step(GuardKind.REFERENCE), Step(GuardKind.UNCHANGED, None, place))
            if root.value is reference:
                return GuardedRoot(reference, (*start, *root.steps[1:]), root.leaf)
            steps = (*start, Step(GuardKind.CONSTANT, root.value), *root.steps)
            return GuardedRoot(reference, steps, root.leaf)
        return root

    def _is_argument(self, source: Source) -> bool:
        return self._leaf is not None and source() is self._argument

    def _refers(self, guard: Guard, root: GuardedRoot | None) -> bool:
        """Whether a guard holds for the argument at hand and not for others like it: Python
        compares what it leads to, or it asks for this very object.
        """
        expected = guard.expected
        if isinstance(expected, weakref.ref):
            expected = expected()
        if expected is self._argument or isinstance(expected, types.MethodType):
            return True
        if root is not None:
            return False
        others = guard.expected if isinstance(guard.expected, tuple) else (guard.expected,)
        sources = [x for x in (guard.source, *others) if isinstance(x, Source)]
        return any(map(self._starts_there, sources))

    def _starts_there(self, source: Source) -> bool:
        """Whether a source starts from the argument, or from nothing that is known here."""
        while True:
            match source:
                case AttributeSource() | ItemSource():
                    source = source.parent
                case StaticSource():
                    source = source.kind
                case ConstSource() | WeakRefSource():
                    return source() is self._argument
                case _:
                    return not isinstance(source, CellSource)

    def _compared(self, guard: Guard) -> GuardedRoot | None:
        """The root of a guard that machine code can compare."""
        source, expected = guard.source, guard.expected
        leaf: LeafGuard
        match guard.check:
            case Check.SAME:
                leaf = LeafGuard(GuardKind.SAME, value=expected)
            case Check.REFERENT:
                leaf = LeafGuard(GuardKind.REFERENT, value=expected)
            case Check.TYPE:
                leaf = LeafGuard(GuardKind.TYPE, value=expected)
            case Check.EQUAL:
                leaf = static_leaf(expected, by_value=True)
            case Check.LENGTH:
                leaf = LeafGuard(GuardKind.LENGTH, value=expected)
            case Check.SMALL:
                leaf = LeafGuard(GuardKind.SMALL, value=expected)
            case Check.ABSENT if isinstance(source, ItemSource):
                leaf = LeafGuard(GuardKind.ABSENT, value=source.item)
                return GuardedRoot(*self._to_names(source), leaf)
            case _:
                return None
        return GuardedRoot(*self.to(source), leaf)

    def _to_names(self, source: ItemSource) -> tuple[Any, tuple[Step, ...]]:
        """The path to a dict that must not have a key."""
        names = source.parent
        value, steps = self.to(names)
        if isinstance(names, AttributeSource) and names.name == "__dict__":
            owner, name = self._value(names.parent), source.item
            place = self._places.own_name(owner, name) if type(name) is str else None
            if place is not None:  # the dict is made only where it must be
                return value, (*steps[:-1], Step(GuardKind.LACKS, name, place), steps[-1])
        return value, steps

    def _value(self, source: Source) -> Any:
        """What a source gives now; MISSING where Python code might have to run for that."""
        key = source.key
        if key not in self._now:
            self._now[key] = self._read(source)
        return self._now[key]

    def _read(self, source: Source) -> Any:
        match source:
            case ConstSource() | WeakRefSource() | CellSource():
                return source()
            case ItemSource():
                owner = self._value(source.parent)
                plain = type(source.item) in (int, str)
                return source() if plain and type(owner) in (dict, list, tuple) else MISSING
            case AttributeSource():
                owner = self._value(source.parent)
                if owner is MISSING or self._places.attribute(owner, source.name) is None:
                    return MISSING
                return getattr(owner, source.name, MISSING)
        return MISSING

    def _class_of(self, guard: Guard) -> tuple[weakref.ref[Any], Place] | None:
        """The class of whose attributes a guard is, and its version; None where the guard may
        fail though the class is unchanged.
        """
        source, name = guard.source, ""
        match source:
            case AttributeSource(parent=WeakRefSource() as parent, name=name):
                pass
            case StaticSource(kind=WeakRefSource() as parent, name=name):
                pass
            case _:
                return None
        kind = parent.reference()
        if not isinstance(kind, type):
            return None
        match guard.check:
            case Check.ABSENT:
                settled = isinstance(source, StaticSource) or type(kind) is type
            case Check.WITHOUT:
                settled = name == "__dict__" and type(kind) is type
            case Check.ITEMS:
                settled = name == "__mro__" and type(kind) is type
            case Check.SAME | Check.REFERENT | Check.TYPE:
                stored = type(static_attribute(kind, name)) in _STORED
                settled = stored and type(kind) is type
            case _:
                settled = False
        version = self._places.version(kind) if settled and guard.holds() else 0
        if not version:
            return None
        return parent.reference, Place(type(kind), version)


__all__ = ["NoPath", "Paths"]
