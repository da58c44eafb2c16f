"""What traced code writes outside of itself: noted while tracing, done by each call.

Nothing is stored into real objects during a trace, where other threads would see traced values.
An overlay holds what was written, and the code that is traced reads it from there.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import Any, Final

from graphjit.core.frozen import dataclass

from .sources import MISSING, Source

# What is in the overlay for an attribute that was deleted.
DELETED: Final = type("Deleted", (), {"__repr__": lambda self: "<deleted>"})()


# Under which key it is noted what was appended to a list.
APPENDED: Final = "append"


class EffectKind(Enum):
    """What an effect does."""

    ATTRIBUTE = "stores in an attribute of an object"
    CONTEXT = "sets a context variable"
    DELETE = "deletes an attribute of an object"
    ITEM = "stores an item of a list or dict"
    CELL = "stores in a variable of a function around the code"
    EXTEND = "appends to a list"
    METHOD = "calls a method that changes a container"
    CALL = "calls a function whose result isn't used"
    WARN = "gives a warning, which may be raised"


@dataclass(frozen=True, slots=True, eq=False)
class Effect:
    """One thing that each call does outside.

    owner: the object that is changed, or the function that is called. key: the attribute's name
    or the item's key. values: what is stored, or the arguments, the named ones last. names:
    those of named arguments. gained: whether it is stored where nothing was, or None; whether
    what is deleted may be gone by then.
    source: where the owner comes from; None for a dict of globals, a cell, a function.
    """

    kind: EffectKind
    owner: Any
    key: Any
    values: tuple[Any, ...]
    names: tuple[str, ...] = ()
    gained: bool = False
    source: Source | None = None

    @property
    def text(self) -> str:
        """The effect in words."""
        name = type(self.owner).__name__
        match self.kind:
            case EffectKind.ATTRIBUTE:
                return f".{self.key} of a {name} is stored"
            case EffectKind.CONTEXT:
                return "a context variable is set"
            case EffectKind.DELETE:
                return f".{self.key} of a {name} is deleted"
            case EffectKind.ITEM:
                return f"item {self.key!r} of a {name} is stored"
            case EffectKind.CELL:
                return f"variable {self.key} is stored"
            case EffectKind.EXTEND:
                return "a list is appended to"
            case EffectKind.METHOD:
                return f"{getattr(self.key, '__name__', self.key)} of a {name} is called"
            case EffectKind.WARN:
                return "a warning is given"
            case _:
                return f"{getattr(self.owner, '__name__', name)} is called"


class Overlay:
    """What was written outside, in order, and what is there for the code that wrote it."""

    def __init__(self) -> None:
        self._effects: dict[Any, Effect] = {}
        # By the ids of lists: the effects that append to them.
        self._appended: dict[int, list[Any]] = {}
        # By the ids of what holds values: by their keys.
        self.written: dict[int, dict[Any, Any]] = {}
        self._owners: set[int] = set()
        # By the ids of dicts: the keys that were deleted and stored again, and so come last.
        self.moved: dict[int, set[Any]] = {}
        # By ids and names of attributes: how many functions were called before one was deleted.
        self._deleted: dict[tuple[int, str], int] = {}
        # How many functions are called.
        self._calls = 0
        # By the ids of containers that were changed in other ways: what they would hold.
        self.copies: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return bool(self._effects)

    @property
    def effects(self) -> list[Effect]:
        """All, in order; of several writes to one place between two calls the last."""
        return list(self._effects.values())

    def owns(self, owner: Any) -> bool:
        """Whether an object was written to."""
        return id(owner) in self._owners

    def find(self, place: Any, key: Any) -> Any:
        """What was written under a key of a dict, list, cell or object, or MISSING."""
        if id(place) not in self._owners:
            return MISSING
        return self.written.get(id(place), {}).get(key, MISSING)

    def store(self, place: Any, effect: Effect) -> None:
        """Note that a value is stored.

        place: what holds it. That is the owner, or the dict of its attributes.
        """
        target = id(place), effect.key, self._calls  # calls may look at what was stored before
        known = self._effects.get(target)
        if known is not None:
            effect = replace(effect, key=known.key, gained=known.gained)
        self._effects[target] = effect
        self._owners.add(id(place))
        written = self.written.setdefault(id(place), {})
        if written.get(effect.key) is DELETED:  # it becomes the last one
            del written[effect.key]
            self.moved.setdefault(id(place), set()).add(effect.key)
        written[effect.key] = effect.values[0]

    def holders(self, place: Any, key: Any) -> list[Any]:
        """What holds the value that is stored in a place."""
        target = id(place), key
        found = [e.values for where, e in self._effects.items() if where[:2] == target]
        return [self.written.get(id(place)), *found]

    def delete(self, owner: Any, place: dict[str, Any], name: str, source: Source) -> None:
        """Note that an attribute is deleted, which was there or was stored before: then another
        call may find it there or not before it is stored.
        """
        target = id(place), name, self._calls
        stored = self._effects.pop(target, None)
        self.written.setdefault(id(place), {})[name] = DELETED
        since = self._deleted.get((id(place), name))
        if stored is not None and since is not None:
            later = range(since, self._calls)
            if not any((id(place), name, k) in self._effects for k in later):
                return  # it was deleted before it was stored
        self._deleted[id(place), name] = self._calls
        maybe = stored is not None
        effect = Effect(EffectKind.DELETE, owner, name, (), gained=maybe, source=source)
        self._effects[len(self._effects), id(effect)] = effect
        self._owners.add(id(place))

    def forget(self, place: Any, key: Any) -> bool:
        """Note that what was stored is gone again; whether that can be."""
        target = id(place), key, self._calls
        if target not in self._effects:  # a function was called since, which may have seen it
            return False
        del self._effects[target]
        del self.written[id(place)][key]
        return True

    def append(self, owner: list[Any], values: list[Any], source: Source | None) -> bool:
        """Note that a list is appended to; whether that is a new effect."""
        target = id(owner), APPENDED, self._calls
        new = target not in self._effects
        if new:
            self._effects[target] = Effect(EffectKind.EXTEND, owner, None, ([],), source=source)
            self._appended.setdefault(id(owner), []).append(target)
            self._owners.add(id(owner))
        pending = self._effects[target].values[0]
        for value in values:  # it may be a list that a loop made longer
            pending.append(value)
        return new

    def appended(self, owner: list[Any]) -> list[Any]:
        """What was appended to a list."""
        return [x for part in self.appended_parts(owner) for x in part]

    def appended_parts(self, owner: list[Any]) -> list[Any]:
        """The lists of what was appended to a list."""
        return [self._effects[t].values[0] for t in self._appended.get(id(owner), ())]

    def pending(self, owner: list[Any]) -> Any:
        """The list of what was appended to a list since the last call of a function, or
        MISSING.
        """
        known = self._effects.get((id(owner), APPENDED, self._calls))
        return MISSING if known is None else known.values[0]

    def set_pending(self, owner: list[Any], value: Any) -> None:
        """Put another list in place of that."""
        target = id(owner), APPENDED, self._calls
        self._effects[target] = replace(self._effects[target], values=(value,))

    def method(
        self,
        owner: Any,
        name: Any,
        args: tuple[Any, ...],
        source: Source | None,
        copy: Any,
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Note a call of a method that changes a container, of which a copy was changed.

        name: the method's, or a function that is given the container first
        """
        kwargs = kwargs or {}
        values = (*args, *kwargs.values())
        effect = Effect(EffectKind.METHOD, owner, name, values, tuple(kwargs), source=source)
        self._effects[len(self._effects), id(effect)] = effect
        self._owners.add(id(owner))
        self.copies[id(owner)] = copy

    def call(
        self,
        function: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        kind: EffectKind = EffectKind.CALL,
    ) -> None:
        """Note a call whose result isn't used."""
        self._calls += 1
        values = (*args, *kwargs.values())
        effect = Effect(kind, function, None, values, tuple(kwargs))
        self._effects[len(self._effects), id(effect)] = effect

    def clear(self) -> None:
        """Let go of all objects."""
        self._effects.clear()
        self._appended.clear()
        self.written.clear()
        self.moved.clear()
        self._deleted.clear()
        self.copies.clear()
        self._owners.clear()


__all__ = ["APPENDED", "DELETED", "Effect", "EffectKind", "Overlay"]
