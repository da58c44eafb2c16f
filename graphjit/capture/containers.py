"""What containers hold for the code that has written into them, and for code of C."""

from __future__ import annotations

import gc
import itertools
import operator
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from .callables import is_trusted, package_of
from .effects import DELETED
from .guarding import Guarding
from .sources import (
    CallSource,
    Check,
    ConstSource,
    ItemSource,
    Source,
)
from .values import CALLABLES, CONTAINERS, MAX_DEPTH, MAX_ITEMS, PLAIN, contents, is_plain

# How deep in a new object containers from outside are looked for.
_MAX_HOLDERS: Final = 4


class Containers(Guarding):
    """What code sees of containers from outside."""

    def merged(self, value: Any) -> Any:
        """A container with what was written into it, as the code that wrote it sees it."""
        overlay = self.overlay
        if not overlay or not overlay.owns(value):
            return value
        if id(value) in overlay.copies:
            return overlay.copies[id(value)]
        if not isinstance(value, (list, dict)):
            return value
        source = self.source_of(value)
        assert source is not None
        written = overlay.written.get(id(value), {})
        if isinstance(value, dict):
            self._guard_keys(value, source)
            moved = overlay.moved.get(id(value), ())
            found = {
                k: written[k] if k in written else self.read(v, ItemSource(source, k))
                for k, v in value.items()
                if k not in moved
            }
            found |= {k: v for k, v in written.items() if k not in found}
            return _dict_like(value, {k: v for k, v in found.items() if v is not DELETED})
        self.guard(Check.LENGTH, source, len(value))
        items = [
            written[k] if k in written else self.read(x, ItemSource(source, k))
            for k, x in enumerate(value)
        ]
        parts = overlay.appended_parts(value)
        if not items and len(parts) == 1 and self._traced(parts[0]):
            return parts[0]  # a list that a loop made longer
        return items + overlay.appended(value)

    def length_now(self, value: Any) -> int:
        """How long a list or dict is for the code that has written into it."""
        overlay = self.overlay
        copy = overlay.copies.get(id(value))
        if copy is not None:
            return len(copy)
        if not isinstance(value, dict):
            parts = overlay.appended_parts(value)
            return len(value) + sum(
                part.known_length() if self._traced(part) else len(part) for part in parts
            )
        written = overlay.written.get(id(value), {})
        new = sum(v is not DELETED and k not in value for k, v in written.items())
        return len(value) + new - sum(v is DELETED and k in value for k, v in written.items())

    def version_of(self, value: Any) -> int:
        """A number that changes when a dict changes its size, or a deque is changed at all."""
        if isinstance(value, dict):
            return self.length_now(value)
        return sum(effect.owner is value for effect in self.overlay.effects)

    def require_not_viewed(self, value: Any, new: bool = True) -> None:
        """Refuse to change a dict of which the code has views, which are what it was. new:
        whether its keys change.
        """
        if id(value) in (self._viewed if new else self._values_viewed):
            raise self.refusal("changes a dict of which there are views")

    def shadow(self, value: Any, depth: int = 0) -> Any:
        """What C code may look into in place of a container: all that is in it was read."""
        kind = type(value)
        if kind in PLAIN or self._traced(value):
            return value
        if depth > 50:
            raise self.refusal("a container that holds itself can't be traced")
        if isinstance(value, (list, tuple, dict, set, frozenset, deque)):
            given, value = value, self.merged(value)
            source = self.source_of(value)
            if source is None:
                if self._is_outside(value):
                    raise self.refusal("a container reached in a way that isn't followed")
                found = self._shadow_own(value, depth)
            else:
                found = self._shadow_outside(value, source, depth)
            if found is not given:
                self._shadows.append((found, contents(found), given))
            return found
        if kind is slice:
            parts = (value.start, value.stop, value.step)
            return slice(*(self.shadow(x, depth + 1) for x in parts))
        return value

    def require_unchanged(self, first: int) -> None:
        """Refuse code that changed what it was given in place of a container from outside.

        first: how many shadows there were before it was given some.
        """
        for shadow, before, _ in self._shadows[first:]:
            now = contents(shadow)
            if len(now) != len(before) or not all(map(operator.is_, now, before)):
                raise self.refusal("changes a container from outside in a way not followed")

    def translated(self, result: Any, first: int) -> Any:
        """What C code gave, with containers themselves where it was given others.

        first: how many shadows there were before it was given some.
        """
        given = self._shadows[first:]
        if not given:
            return result
        del self._shadows[first:]
        originals = {id(shadow): original for shadow, _, original in given}
        nested = any(id(x) in originals for _, contents, _ in given for x in contents)

        def translate(value: Any, depth: int) -> Any:
            if id(value) in originals:
                return originals[id(value)]
            kind = type(value)
            if depth < MAX_DEPTH and kind in (list, tuple):
                items = [translate(x, depth + 1) for x in value]
                if not all(map(operator.is_, items, value)):
                    if kind is tuple:
                        return tuple(items)
                    value[:] = items
            elif depth < MAX_DEPTH and isinstance(value, tuple):  # a named one
                items = [translate(x, depth + 1) for x in value]
                if not all(map(operator.is_, items, value)):
                    return tuple.__new__(kind, items)
            elif depth < MAX_DEPTH and kind is dict:
                value.update((k, translate(x, depth + 1)) for k, x in list(value.items()))
            elif nested and hasattr(kind, "__next__") and kind is not types.GeneratorType:
                raise self.refusal("steps through containers in containers in C")
            elif not self._traced(value) and _holds(value, originals, 0):
                raise self.refusal(
                    f"makes a {kind.__name__} that holds a container from outside"
                )
            return value

        return translate(result, 0)

    def require_known_text(self, value: Any, depth: int = 0) -> None:
        """Refuse what has a text that may change while it is the same object. That of arrays
        depends on NumPy's options, which are under a guard from now on.
        """
        kind = type(value)
        if self._traced(value):
            return
        if isinstance(value, (np.ndarray, np.generic)):
            where = ConstSource(_print_options, "np.get_printoptions")
            self.guard(Check.EQUAL, CallSource(where, (), {}), _print_options())
        elif kind in PLAIN or depth > MAX_DEPTH:
            return
        elif isinstance(value, BaseException) and self.source_of(value) is not None:
            raise self.refusal(f"makes a text of a {kind.__name__} from outside")
        elif isinstance(value, (*CONTAINERS, deque)):
            if len(value) <= MAX_ITEMS:
                for x in contents(value):
                    self.require_known_text(x, depth + 1)
        elif isinstance(value, CALLABLES) and not is_trusted(value):
            raise self.refusal(f"makes a text of a {kind.__name__}")
        else:
            self.require_no_state(value)

    def one_level(self, value: Any) -> Any:
        """A copy of a container whose items are those that it has, for code that hands them on
        and looks into none.
        """
        if not isinstance(value, (list, tuple, dict, deque)):
            return self.shadow(value)
        value = self.merged(value)
        source = self.source_of(value)
        if source is None:
            return self.shadow(value) if self._is_outside(value) else value
        if len(value) > MAX_ITEMS:
            raise self.refusal(f"a container of more than {MAX_ITEMS} items can't be traced")
        if isinstance(value, dict):
            self._guard_keys(value, source)
            found = {k: self.read(v, ItemSource(source, k)) for k, v in value.items()}
            return _dict_like(value, found)
        self.guard(Check.LENGTH, source, len(value))
        items = [self.read(x, ItemSource(source, k)) for k, x in enumerate(value)]
        return _rebuilt(value, items)

    def with_pairs(self, value: Any) -> Any:
        """What dict() takes, of which it takes keys and values."""
        found = self.one_level(value)
        if not isinstance(found, (list, tuple)):
            return found
        return [self.one_level(x) if isinstance(x, (list, tuple)) else x for x in found]

    def _guard_apart(self) -> None:
        """Guard that containers that were read as several objects are several."""
        found = {
            id(x): source
            for x, source in self._known.values()
            if isinstance(x, (list, dict, set, deque))
        }
        if len(found) > 1:
            sources = tuple(found.values())
            self.guard(Check.APART, sources[0], sources)

    def _is_outside(self, value: Any) -> bool:
        """Whether a container was there before; a constant of the code doesn't count."""
        constant = isinstance(value, (tuple, frozenset)) and is_plain(value)
        return not constant and self._outside(value)

    def _shadow_own(self, value: Any, depth: int) -> Any:
        """A container made meanwhile: the same object, unless something outside is in it."""
        if isinstance(value, dict):
            items = {k: self.shadow(v, depth + 1) for k, v in value.items()}
            same = all(map(operator.is_, items.values(), value.values()))
            return value if same or type(value) is not dict else items
        if isinstance(value, (set, frozenset)):
            return value
        found = [self.shadow(x, depth + 1) for x in value]
        if all(map(operator.is_, found, value)):
            return value
        return _rebuilt(value, found)

    def _shadow_outside(self, value: Any, source: Source, depth: int) -> Any:
        if len(value) > MAX_ITEMS:
            raise self.refusal(f"a container of more than {MAX_ITEMS} items can't be traced")
        if isinstance(value, dict):
            self._guard_keys(value, source)
            items = {
                k: self.shadow(self.read(v, ItemSource(source, k)), depth + 1)
                for k, v in value.items()
            }
            return _dict_like(value, items)
        if isinstance(value, (set, frozenset)):  # itself, for a copy may be in another order
            if not all(map(is_plain, value)):
                raise self.refusal("a set from outside that holds objects can't be traced")
            self.guard(Check.KEYS, source, tuple(value))
            return value
        self.guard(Check.LENGTH, source, len(value))
        found = [
            self.shadow(self.read(x, ItemSource(source, k)), depth + 1)
            for k, x in enumerate(value)
        ]
        return _rebuilt(value, found)

    def _guard_keys(self, value: dict[Any, Any], source: Source) -> None:
        if not all(map(is_plain, value)):
            raise self.refusal("a dict from outside with keys that are objects can't be traced")
        self.guard(Check.KEYS, source, tuple(value))

    def _items(self, value: Any) -> Any:
        """What is iterated over in place of a container; its items stay themselves."""
        if type(value) in PLAIN or self._traced(value):
            return value
        value = self.merged(value)
        source = self.source_of(value)
        if source is None and self._is_outside(value):
            raise self.refusal(f"iterates over a {type(value).__name__} from outside")
        if isinstance(value, dict):
            if source is not None:
                self._guard_keys(value, source)
            return value
        if isinstance(value, (list, tuple, deque)):
            if source is None:
                return value
            self.guard(Check.LENGTH, source, len(value))
            return [self.read(x, ItemSource(source, k)) for k, x in enumerate(value)]
        if isinstance(value, (set, frozenset)):
            return self.shadow(value)
        iterate = self.method_of(value, "__iter__")
        if iterate is not None:
            return self._stepped(self.call(iterate, value))
        if self.method_of(value, "__next__") is not None:
            raise self.refusal(f"iterates over a {type(value).__name__} without __iter__")
        if source is not None and not isinstance(value, types.FunctionType):
            raise self.refusal(f"iterates over a {type(value).__name__} from outside")
        return value

    def _stepped(self, iterator: Any) -> Any:
        """What is iterated over in place of an iterator: hooks see its steps."""
        step = self.method_of(iterator, "__next__")
        if step is None:
            return iterator

        def steps() -> Iterator[Any]:
            while True:
                try:
                    value = self.call(step, iterator)
                except StopIteration:
                    return
                yield value

        return steps()


def container_like(owner: Any, found: Any) -> Any:
    """A container of the type of another."""
    if isinstance(owner, deque):
        return deque(found, owner.maxlen)
    if isinstance(owner, defaultdict):
        return defaultdict(owner.default_factory, found)
    return type(owner)(found)


def _dict_like(owner: dict[Any, Any], found: dict[Any, Any]) -> dict[Any, Any]:
    """A dict of the type of another, where that is one of Python's."""
    known = type(owner) in (defaultdict, OrderedDict, Counter)
    return container_like(owner, found) if known else found


def _rebuilt(value: Any, items: list[Any]) -> Any:
    kind = type(value)
    if kind in (list, tuple):
        return kind(items)
    if isinstance(value, tuple) and hasattr(kind, "_make"):
        return kind._make(items)
    if isinstance(value, deque):
        return deque(items, value.maxlen)
    return items if isinstance(value, list) else tuple(items)


def _print_options() -> tuple[tuple[str, str], ...]:
    """What NumPy's texts of arrays depend on."""
    return tuple((k, repr(v)) for k, v in sorted(np.get_printoptions().items()))


def _holds(value: Any, wanted: Mapping[int, Any], depth: int) -> bool:
    """Whether a new object of C's or of a library's holds one of several, by their ids."""
    kind = type(value)
    if kind in PLAIN or isinstance(value, CALLABLES) or package_of(kind) == "graphjit":
        return False
    if isinstance(value, np.ndarray):
        return value.dtype.hasobject and any(id(x) in wanted for x in value.flat)
    if hasattr(kind, "__next__") and kind is not itertools.repeat:
        return False  # which steps through it
    for x in gc.get_referents(value):
        if id(x) in wanted or (depth < _MAX_HOLDERS and _holds(x, wanted, depth + 1)):
            return True
    return False


__all__ = ["Containers", "container_like"]
