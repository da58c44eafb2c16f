"""Hooks of items, and of methods that change containers."""

from __future__ import annotations

import enum
import operator
import sys
import types
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any, Final

import numpy as np

from graphjit.numpy_protocol.joins import INDEX_TRICKS, index_trick
from graphjit.numpy_protocol.promotion import symbols
from graphjit.numpy_protocol.python_numbers import chosen_elements, chosen_number
from graphjit.tensors.apply import current_trace

from .access import AccessHooks
from .callables import package_of
from .containers import container_like
from .effects import DELETED, EffectKind
from .sources import (
    MISSING,
    AttributeSource,
    Check,
    ItemSource,
    Source,
)
from .values import CONTAINERS, PLAIN, is_plain

# Containers of C whose items can be read one by one.
_INDEXED: Final = (list, tuple, dict, deque, OrderedDict, types.MappingProxyType)
# Parts of indices that hold nothing else.
_WITHOUT_PARTS: Final = frozenset({int, slice, type(None), types.EllipsisType, bool})
_DICTS: Final = (dict, defaultdict, OrderedDict, Counter)


def _is_array(value: Any) -> bool:
    """Whether an object is an array, or what stands for the elements of one in turn."""
    kind = type(value)
    return issubclass(kind, (np.ndarray, np.flatiter)) or package_of(kind) == "graphjit"


class ItemHooks(AccessHooks):
    """Hooks that give sources to items, and note what is stored."""

    def load_item(self, given: tuple[Any, Any]) -> Any:
        if not self.closed and type(given[1]) not in PLAIN and not self._traced(given[1]):
            number = self.method_of(given[1], "__index__")
            asked = not isinstance(given[0], dict) and not isinstance(given[1], int)
            if number is not None and asked:
                given = given[0], self.call(number, given[1])
        owner, key = given
        kind = type(owner)
        if self.closed or kind in PLAIN:
            return owner[key]
        if self._traced(owner):
            return owner[self.index(key)]
        if kind in INDEX_TRICKS and next(symbols((key,)), None) is not None:
            return index_trick(owner, self.shadow(key))
        source = self.source_of(owner)
        function = self.method_of(owner, "__getitem__")
        if function is not None:
            return self.call(function, owner, key)
        if not issubclass(kind, (*CONTAINERS, deque)):
            key = self.index(key)
        if source is None:
            constant = kind is tuple and is_plain(owner)
            if self._outside(owner) and not isinstance(owner, type) and not constant:
                raise self.refusal("reads an item of what was reached in a way not followed")
            self.require_no_methods(key)
            if is_symbolic(key):
                if kind is np.ndarray and not self.made.note_written(owner):
                    return chosen_elements(owner, key)
                return chosen_number(owner, key)
            return owner[key]
        if isinstance(owner, type):
            return super().load_item(given)
        if not isinstance(owner, _INDEXED):
            raise self.refusal(f"reads an item of a {kind.__name__} from outside")
        if isinstance(key, slice):
            items = self._items(owner)
            return tuple(items)[key] if isinstance(owner, tuple) else items[key]
        if self._traced(key):
            return chosen_number(self._items(owner) if kind is not dict else owner, key)
        if self.overlay and self.overlay.owns(owner):
            if kind is list or id(owner) in self.overlay.copies:
                merged = self.merged(owner)
                if isinstance(owner, defaultdict) and key not in merged:
                    raise self.refusal("reads an item that a defaultdict makes")
                return merged[key]
            written = self.overlay.find(owner, key)
            if written is DELETED:
                raise KeyError(key)
            if written is not MISSING:
                return written
        key = operator.index(key) if isinstance(owner, (list, tuple, deque)) else key
        if not is_plain(key) and not isinstance(key, (type, types.FunctionType, enum.Enum)):
            raise self.refusal("reads an item by a key that is an object")
        item = ItemSource(source, key)
        if isinstance(owner, defaultdict) and key not in owner:
            return self._made_item(owner, key, source)
        try:
            value = owner[key]
        except (KeyError, IndexError):
            self.guard(Check.ABSENT, item, None)
            raise
        if kind is Counter and key not in owner:
            self.guard(Check.ABSENT, item, None)
            return value
        return self.read(value, item)

    def index(self, key: Any) -> Any:
        """An index of arrays, with all read that is in its lists."""
        kind = type(key)
        if kind is tuple and all(type(part) in _WITHOUT_PARTS for part in key):
            return key
        parts = kind in (tuple, list, set, deque, dict, frozenset)
        return self.shadow(key) if parts else key

    def _made_item(self, owner: defaultdict[Any, Any], key: Any, source: Source) -> Any:
        """An item that a defaultdict makes."""
        self.guard(Check.ABSENT, ItemSource(source, key), None)
        where = AttributeSource(source, "default_factory")
        factory: Any = self.read(owner.default_factory, where)
        if factory is None:
            raise KeyError(key)
        made = self.call(factory)
        self.store_item((made, owner, key))
        return made

    def store_item(self, given: tuple[Any, Any, Any]) -> None:
        value, owner, key = given
        if not self.closed and (self._traced(owner) or _is_array(owner)):
            value = self.shadow(value)  # NumPy reads all that is in it
        if self.closed or self._traced(owner):
            self.end_if_abandoned()
            owner[key if self.closed else self.index(key)] = value
            return
        if type(owner) is np.ndarray:
            key = self.index(key)
        if type(owner) is np.ndarray and (
            self._in_turn() or is_symbolic(value) or is_symbolic(key)
        ):
            self.made.note_written(owner)
        function = self.method_of(owner, "__setitem__")
        if function is not None:
            self.call(function, owner, key, value)
        elif type(owner) is list and self.is_own(owner) and type(key) is not slice:
            self._store_in_list(owner, key, value, sys._getframe(1), [given])
        elif self.is_own(owner):
            if type(owner) is dict and type(key) in (str, int):
                self._require_own_place(owner, owner, key, "an item")
            else:
                self._require_no_turn("stores an item")
            owner[key] = value
        else:
            self._store_item_outside(owner, key, value)

    def _store_in_list(
        self, owner: list[Any], key: Any, value: Any, frame: types.FrameType, known: list[Any]
    ) -> None:
        """Store an item in a list that was made meanwhile."""
        trace, traced = current_trace.get(), self._traced(key)
        if trace is None or not (traced or self._in_turn()):
            owner[key] = value
            return
        loops = trace.branches.loops
        if traced:
            made = loops.replaced_list(trace, owner, value, frame, known)
            if made is not None:
                made[key] = value
                return
        if not self._in_turn():
            owner[key] = value  # which says why it can't be
        loops.store_in_list(owner, key, value)

    def _store_item_outside(self, owner: Any, key: Any, value: Any) -> None:
        """Note that an item of a container from outside is stored."""
        kind, source = type(owner), self.source_of(owner)
        if id(owner) in self.overlay.copies:
            self.changed(owner, "__setitem__", key, value)
            return
        if kind is list and type(key) is slice and source is not None:
            self.changed(owner, "__setitem__", key, list(self.one_level(value)))
            return
        if kind not in (list, *_DICTS) or source is None or isinstance(key, slice):
            raise self.refusal(f"stores an item of a {kind.__name__} from outside")
        if self._traced(key) or not is_plain(key):
            raise self.refusal("stores an item by a key that is an object")
        if kind in _DICTS:
            before = owner.get(key, MISSING)
            new = before is MISSING and self.overlay.find(owner, key) is MISSING
            self.require_not_viewed(owner, new)
        else:
            self.guard(Check.LENGTH, source, len(owner))
            key = operator.index(key)
            if self.overlay.appended(owner):
                raise self.refusal("stores an item of a list that was appended to")
            before = owner[key]  # IndexError where it isn't there
            key += len(owner) if key < 0 else 0
        self._store(owner, EffectKind.ITEM, key, value, before)

    def delete_item(self, given: tuple[Any, Any]) -> None:
        owner, key = given
        function = None
        if not self.closed and not self._traced(owner):
            function = self.method_of(owner, "__delitem__")
        if function is not None:
            self.call(function, owner, key)
        elif self.closed or self._traced(owner) or self.is_own(owner):
            self._require_no_turn("deletes an item")
            del owner[key]
        else:
            self.changed(owner, "__delitem__", key)

    def changed(self, owner: Any, method: Any, *args: Any, **kwargs: Any) -> Any:
        """What a method that changes a container from outside gives. Each call will call it.

        The method changes a copy, with all that was in the container under guards. method: its
        name, or a function that is given the container first
        """
        kind, source = type(owner), self.source_of(owner)
        name = method if isinstance(method, str) else method.__name__
        if kind not in (list, set, deque, *_DICTS) or source is None:
            raise self.refusal(f"calls {name} of a {kind.__name__} from outside")
        if isinstance(source, AttributeSource) and source.name == "__dict__":
            raise self.refusal(f"calls {name} of the dict of an object's attributes")
        hashed = kind is set or (kind in _DICTS and name not in ("clear", "popitem"))
        if any(map(self.reaches_code, args)) or (hashed and not _has_plain_keys(args)):
            raise self.refusal(f"calls {name} with what isn't followed")
        if not all(map(is_plain, kwargs.values())):
            raise self.refusal(f"calls {name} with what isn't plain")
        self.require_not_viewed(owner)
        copy = self.overlay.copies.get(id(owner))
        if copy is None:
            copy = container_like(owner, self.one_level(owner))
        if isinstance(method, str):
            result = getattr(copy, method)(*args, **kwargs)  # raises what Python raises
        else:
            result = method(copy, *args, **kwargs)
        self._require_no_region()
        self._alive.append(owner)
        self.overlay.method(owner, method, args, source, copy, kwargs)
        return owner if result is copy else result


def _has_plain_keys(args: tuple[Any, ...]) -> bool:
    """Whether the first of a method's arguments is plain, or a dict or set whose keys are."""
    if not args:
        return True
    if type(args[0]) in (dict, set):
        return all(map(is_plain, args[0]))
    return is_plain(args[0])


def is_symbolic(value: Any) -> bool:
    """Whether a value, one in nested lists, or a bound of a slice is known only when the graph
    runs.
    """
    if getattr(type(value), "is_mixed", False) is True:  # it asks of what class it is
        return True
    parts = value if isinstance(value, tuple) else (value,)
    bounds = [b for p in parts if type(p) is slice for b in (p.start, p.stop, p.step)]
    return next(symbols((value, bounds)), None) is not None


__all__ = ["ItemHooks", "is_symbolic"]
