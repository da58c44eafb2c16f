"""What each call of a compiled function does besides computing its results.

The values that a call writes are computed with its results. When all are there, the effects are
done: elements of arrays first, then what is stored and called, in the order of the Python code,
then what is stored in containers among the arguments.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from graphjit.capture.effects import Effect, EffectKind
from graphjit.capture.sources import MISSING, Readings, Source, static_attribute
from graphjit.core.frozen import dataclass

Array = np.ndarray[Any, np.dtype[Any]]


class EffectsDoNotFit(Exception):
    """Raised before anything was done, where only an eager call does what Python would."""


@dataclass(frozen=True, slots=True, eq=False)
class WriteTarget:
    """An array whose elements a call writes: an argument or a captured array.

    role, number: which leaf or capture it is
    """

    role: str
    number: int


# What an effect does: the function that does it is called with the owner, the key and a value,
# and is found among a call's values by numbers. An owner that is the same at each call is there
# itself, and its number is -1.
_Action = tuple[Callable[[Any, Any, Any], object], Any, int, Any, int]


class EffectPlan:
    """The effects of a specialization."""

    def __init__(self, targets: Sequence[WriteTarget], effects: Sequence[Effect]) -> None:
        """Among a call's values, the function's own result is followed by those of each effect,
        after the owner where that isn't fixed, and these by two for each target: the array and
        its new elements.
        """
        self.targets = tuple(targets)
        # Where containers come from that no argument may be.
        self.containers: Sequence[Source] = ()
        # In words. The effects themselves hold the user's objects and traced values.
        self.texts = tuple(effect.text for effect in effects)
        first = 1
        actions: list[_Action] = []
        for effect in effects:
            fixed = has_fixed_owner(effect)
            owner, owner_at = (effect.owner, -1) if fixed else (None, first)
            first += not fixed
            do, key, takes_all = _doing(effect)
            actions.append((do, owner, owner_at, key, -first if takes_all else first))
            first += len(effect.values)
        self._actions = tuple(actions)
        self._first_target = first

    def apply(self, values: Sequence[Any]) -> Any:
        """Do all of them; gives the function's own result."""
        for number in range(self._first_target, len(values), 2):
            target, elements = values[number], values[number + 1]
            if target is not elements:
                np.copyto(target, getattr(elements, "_array", elements))
        return self.finish(*values)

    def finish(self, *values: Any) -> Any:
        """Do all but writing elements; gives the function's own result."""
        for do, owner, owner_at, key, at in self._actions:
            if owner_at >= 0:
                owner = values[owner_at]
            do(owner, key, values[at] if at > 0 else values[-at:])
        return values[0]

    def require_apart(self, given: Any, read: Readings) -> None:
        """EffectsDoNotFit where two containers among the arguments are one, or one is a
        container that the code reads or writes in another way. read: what is looked up for
        the call.
        """
        if not self.writes_objects:
            return
        found = list(map(id, _mutable_containers(given)))
        others = {id(read(source)) for source in self.containers}
        if len(set(found)) < len(found) or not others.isdisjoint(found):
            raise EffectsDoNotFit

    @property
    def writes_objects(self) -> bool:
        """Whether more is written than elements of arrays."""
        return bool(self._actions)

    @property
    def has_fixed_owners(self) -> bool:
        """Whether something is written that is the same at each call."""
        return any(owner_at < 0 for _, _, owner_at, _, _ in self._actions)

    @property
    def count(self) -> int:
        """How many of a call's values come before those of the targets."""
        return self._first_target

    def require_fit(self, leaves: Sequence[Any], captures: Sequence[Array]) -> None:
        """EffectsDoNotFit where an array can't be written, or shares memory with another one
        that the call reads.
        """
        arrays = {("leaf", k): getattr(x, "_array", x) for k, x in enumerate(leaves)}
        arrays |= {("capture", k): x for k, x in enumerate(captures)}
        for target in self.targets:
            array = arrays[target.role, target.number]
            if (
                type(array) is not np.ndarray
                or not array.flags.writeable
                or _may_overlap_itself(array)
            ):
                raise EffectsDoNotFit
            for place, other in arrays.items():
                if place == (target.role, target.number) or not isinstance(other, np.ndarray):
                    continue
                if np.may_share_memory(array, other):  # also with that of a memmap
                    raise EffectsDoNotFit


def _store(owner: Any, name: str, value: Any) -> None:
    """Store an attribute, also of a frozen dataclass, as the code has done it."""
    kind = type(owner)
    if getattr(static_attribute(kind, "__dataclass_params__"), "frozen", False):
        object.__setattr__(owner, name, value)
    else:
        setattr(owner, name, value)


def _mutable_containers(value: Any, around: tuple[int, ...] = ()) -> Iterator[Any]:
    """The lists, dicts and dataclasses in the arguments of a call.

    around: the ids of those that a value is in: an object may hold itself
    """
    kind = type(value)
    if id(value) in around:
        return
    inside: list[Any] = []
    if kind is tuple or hasattr(kind, "_fields"):
        inside = list(value)
    elif kind is list:
        yield value
        inside = value
    elif isinstance(value, dict):
        yield value
        inside = list(value.values())
    elif static_attribute(kind, "__dataclass_fields__") is not MISSING:
        yield value
        if hasattr(value, "__dict__"):  # by which other ways to the object are known
            yield value.__dict__
        inside = [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    for part in inside:
        yield from _mutable_containers(part, (*around, id(value)))


def do_now(effects: Sequence[Effect]) -> None:
    """Do effects that store and call what is there, outside of any call."""
    for effect in effects:
        do, key, takes_all = _doing(effect)
        do(effect.owner, key, effect.values if takes_all else effect.values[0])


def _doing(effect: Effect) -> tuple[Callable[[Any, Any, Any], object], Any, bool]:
    """The function that does an effect, the key that it is given, and whether it takes all
    values, which others may follow, in place of the one.
    """
    match effect.kind:
        case EffectKind.ATTRIBUTE:
            return _store, effect.key, False
        case EffectKind.CONTEXT:
            return _set_context, effect.key, False
        case EffectKind.DELETE:
            return _discard if effect.gained else _delete, effect.key, True
        case EffectKind.ITEM:
            return operator.setitem, effect.key, False
        case EffectKind.CELL:
            return _store_in_cell, effect.key, False
        case EffectKind.EXTEND:
            return _extend, effect.key, False
        case EffectKind.METHOD:
            count = len(effect.values)
            return functools.partial(_call_method, count, effect.names), effect.key, True
        case EffectKind.CALL | EffectKind.WARN:
            return functools.partial(_call, len(effect.values)), effect.names, True


def _may_overlap_itself(array: Array) -> bool:
    """Whether two elements of an array may have the same address."""
    if array.flags.forc:
        return False
    reach = 0
    for stride, extent in sorted(
        (abs(s), n) for s, n in zip(array.strides, array.shape, strict=True) if n > 1
    ):
        if stride <= reach:
            return True
        reach += stride * (extent - 1)
    return False


def has_fixed_owner(effect: Effect) -> bool:
    """Whether the owner is the same object at each call."""
    return effect.source is None


def _store_in_cell(owner: Any, key: Any, value: Any) -> None:
    owner.cell_contents = value


def _set_context(owner: Any, key: Any, value: Any) -> None:
    owner.set(value)


def _delete(owner: Any, key: Any, values: Any) -> None:
    delattr(owner, key)


def _discard(owner: Any, key: Any, values: Any) -> None:
    with contextlib.suppress(AttributeError):
        delattr(owner, key)


def _extend(owner: Any, key: Any, value: Any) -> None:
    owner.extend(value)


def _call_method(
    count: int, names: tuple[str, ...], owner: Any, name: Any, values: Sequence[Any]
) -> None:
    method = functools.partial(name, owner) if callable(name) else getattr(owner, name)
    _call(count, method, names, values)


def _call(count: int, owner: Any, names: tuple[str, ...], values: Sequence[Any]) -> None:
    first = count - len(names)
    owner(*values[:first], **dict(zip(names, values[first:count], strict=True)))


__all__ = ["EffectPlan", "EffectsDoNotFit", "WriteTarget", "do_now", "has_fixed_owner"]
