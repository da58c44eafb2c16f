"""Sources, guards and inputs: what a recorder notes of the values that code reads.

Each value read from outside has a source. Numbers, strings, functions and the like get a guard,
arrays are handed to whoever traces, containers and objects get guards as far as they are looked
into. A guard that is missing would be a wrong answer later, so what isn't known is refused.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import operator
import types
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from graphjit.core.errors import TracingError, at_user_line, user_line

from .callables import (
    ASKED_BY_C,
    is_trusted,
)
from .hooks import Hooks
from .sources import (
    MISSING,
    AttributeSource,
    Check,
    Guard,
    ItemSource,
    Source,
    StaticSource,
    lasting_source,
    static_attribute,
)

PLAIN: Final = frozenset({
    int, float, complex, bool, str, bytes, type(None), types.EllipsisType,
    types.NotImplementedType, range, np.dtype, decimal.Decimal, fractions.Fraction,
    datetime.date, datetime.time, datetime.datetime, datetime.timedelta,
    *(np.dtype(code).type for code in "?bhilqBHILQefdgFDG"),
})  # fmt: skip
CALLABLES: Final = (
    types.FunctionType, types.BuiltinFunctionType, type, np.ufunc, type(np.sum),
    types.MethodDescriptorType, types.WrapperDescriptorType, types.ModuleType,
)  # fmt: skip
CONTAINERS: Final = (list, tuple, dict, set, frozenset)
MAX_ITEMS: Final = 100_000
MAX_DEPTH: Final = 20


class Guarding(Hooks):
    """The sources and guards of one run, and what containers and classes hold."""

    def __init__(
        self,
        capture: Callable[[np.ndarray[Any, Any], Source], Any],
        traced: Callable[[Any], bool],
        outside: Callable[[Any], bool] = lambda value: False,
        number: Callable[[Any, Source], Any] = lambda value, source: None,
    ) -> None:
        self._number = number
        self._capture = capture
        self._traced = traced
        self._outside = outside
        self.guards: dict[Any, Guard] = {}
        self.failed: TracingError | None = None
        self.closed = False
        self._root: Any = None
        self._known: dict[int, tuple[Any, Source]] = {}
        self._alive: list[Any] = []
        self._written: set[tuple[int, Any]] = set()
        self._copies: dict[int, tuple[Any, Any]] = {}
        self._bound: dict[int, types.CodeType] = {}
        # Globals read before: the value, and what the code went on with.
        self._globals: dict[tuple[int, str], tuple[Any, Any]] = {}
        self._wrappers: dict[int, tuple[Any, Any]] = {}  # of callables that aren't followed
        self._libraries: dict[int, types.ModuleType] = {}  # modules that aren't followed
        self._inner: set[int] = set()  # code of functions that code with hooks makes
        self._cells: dict[int, types.CellType] = {}  # of functions from outside

    # -- sources and guards

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function of Python with hooks in it."""
        return self.callee(function)(*args, **kwargs)

    def refusal(self, what: str) -> TracingError:
        """The error for what can't be followed; noted, for the code may catch it."""
        error = TracingError(at_user_line(what))
        if self.failed is None:
            self.failed = error
        return error

    def source_of(self, value: Any) -> Source | None:
        """Where an object was read from; None if it was made meanwhile."""
        known = self._known.get(id(value))
        return known[1] if known is not None and known[0] is value else None

    def _register(self, value: Any, source: Source) -> None:
        known = self._known.get(id(value))
        if known is None or known[0] is not value:
            self._known[id(value)] = value, source
        elif known[1].key != source.key and not isinstance(value, CALLABLES):
            self.guard(Check.ALIAS, source, known[1])  # two ways to it: it is one object

    def guard(self, check: Check, source: Source, expected: Any) -> None:
        """Ask that a source goes on giving what it gives now."""
        # of two guards on one source: on another source, or on a name that a dict hasn't
        other = expected if type(expected) is str else getattr(expected, "key", None)
        key = check, source.key, other
        if key not in self.guards:
            if check is Check.SAME and isinstance(
                expected, (types.FunctionType, types.CodeType, type)
            ):
                check, expected = Check.REFERENT, weakref.ref(expected)
            self.guards[key] = Guard(check, source, expected, user_line())

    def read(self, value: Any, source: Source, written: bool = False) -> Any:
        """What the code goes on with for a value that it read."""
        kind = type(value)
        if kind in PLAIN or isinstance(value, enum.Enum):
            if not written:
                if kind in (float, int, complex):
                    traced = self._number(value, source)
                    if traced is not None:
                        return traced
                check = Check.SAME if value is None or kind is bool else Check.EQUAL
                self.guard(check, source, value)
            return value
        if self._traced(value):
            return value
        if kind is np.ndarray:
            if written and self.source_of(value) is None:
                return value
            captured = self._capture(value, source)
            self._known.setdefault(id(captured), (captured, source))
            return captured
        if kind in (tuple, frozenset, slice) and is_plain(value):
            if not written:
                self.guard(Check.EQUAL, source, value)
            return value
        if written:
            return value
        if isinstance(value, CALLABLES):
            self.guard(Check.SAME, source, value)
        elif kind is types.MethodType:
            self.guard(Check.SAME, AttributeSource(source, "__func__"), value.__func__)
            self.read(value.__self__, AttributeSource(source, "__self__"))
            return value
        elif is_trusted(kind) and kind not in CONTAINERS:
            self.guard(Check.SAME, source, value)
        else:
            self.guard(Check.TYPE, source, kind)
        self._register(value, source)
        return value

    def _write(self, owner: Any, name: Any) -> None:
        self._alive.append(owner)
        self._written.add((id(owner), name))

    def _was_written(self, owner: Any, name: Any) -> bool:
        return bool(self._written) and (id(owner), name) in self._written

    def shadow(self, value: Any, depth: int = 0) -> Any:
        """What C code may look into in place of a container: all that is in it was read."""
        kind = type(value)
        if kind in PLAIN or self._traced(value):
            return value
        if depth > 50:
            raise self.refusal("a container that holds itself can't be traced")
        if isinstance(value, (list, tuple, dict, set, frozenset, deque)):
            source = self.source_of(value)
            if source is None:
                if self._is_outside(value):
                    raise self.refusal("a container reached in a way that isn't followed")
                return self._shadow_own(value, depth)
            return self._shadow_outside(value, source, depth)
        if kind is slice:
            parts = (value.start, value.stop, value.step)
            return slice(*(self.shadow(x, depth + 1) for x in parts))
        return value

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
            return {
                k: self.shadow(
                    self.read(v, ItemSource(source, k), self._was_written(value, k)), depth + 1
                )
                for k, v in value.items()
            }
        if isinstance(value, (set, frozenset)):  # a frozenset of plain values is none
            raise self.refusal("a set from outside can't be traced")
        self.guard(Check.LENGTH, source, len(value))
        found = [
            self.shadow(
                self.read(x, ItemSource(source, k), self._was_written(value, k)), depth + 1
            )
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
            return [
                self.read(x, ItemSource(source, k), self._was_written(value, k))
                for k, x in enumerate(value)
            ]
        if isinstance(value, (set, frozenset)):
            return self.shadow(value)
        iterate = self.method_of(value, "__iter__")
        if iterate is not None:
            return self.call(iterate, value)
        if source is not None and not isinstance(value, types.FunctionType):
            raise self.refusal(f"iterates over a {type(value).__name__} from outside")
        return value

    def require_no_methods(self, value: Any, depth: int = 0) -> None:
        """Refuse objects that C code would ask by methods written in Python."""
        kind = type(value)
        if kind in PLAIN or self._traced(value) or isinstance(value, CALLABLES):
            return
        if kind in CONTAINERS or isinstance(value, deque):
            if depth < MAX_DEPTH and len(value) <= MAX_ITEMS:
                items = (*value, *value.values()) if isinstance(value, dict) else value
                for x in items:
                    self.require_no_methods(x, depth + 1)
            return
        if is_trusted(kind) or isinstance(value, (enum.Enum, BaseException)):
            return
        for name in ASKED_BY_C:
            if isinstance(static_attribute(kind, name), types.FunctionType):
                raise self.refusal(
                    f"hands a {kind.__name__} to code that isn't followed and may call {name}"
                )

    def guard_static(self, kind: type, name: str) -> Any:
        """What a class has stored under a name, or MISSING; from now on under a guard.

        Attributes that are plain values are not guarded here: reading them is.
        """
        static = static_attribute(kind, name)
        if is_trusted(kind) or self._was_written(kind, name):
            return static
        where = lasting_source(kind, kind.__qualname__)
        source = AttributeSource(where, name)
        if static is MISSING:
            asked_of_metaclass = getattr(kind, name, MISSING) is not MISSING
            absent = StaticSource(where, name) if asked_of_metaclass else source
            self.guard(Check.ABSENT, absent, None)
        elif isinstance(static, classmethod):
            self.guard(Check.SAME, AttributeSource(source, "__func__"), static.__func__)
        elif isinstance(static, staticmethod):
            self.guard(Check.SAME, source, static.__func__)
        elif isinstance(static, property):
            self.guard(Check.TYPE, source, type(static))
            if static.fget is not None:
                self.guard(Check.SAME, AttributeSource(source, "fget"), static.fget)
        elif isinstance(static, types.FunctionType):
            self.guard(Check.SAME, source, static)
        elif name.startswith("__") and getattr(kind, name, MISSING) is static:
            self.guard(Check.SAME, source, static)  # a method of C, which may be overridden
        return static

    def method_of(self, value: Any, name: str) -> types.FunctionType | None:
        """A special method of a value's class, if it is written in Python.

        Whatever the class has in its place, or that it has nothing, is under a guard.
        """
        kind = type(value)
        if kind in PLAIN or is_trusted(kind):
            return None
        static = self.guard_static(kind, name)
        return static if isinstance(static, types.FunctionType) else None


def _closed(*args: Any) -> Any:
    """In place of the functions of a recorder that is closed."""
    raise AssertionError("the recorder is closed")


def is_plain(value: Any) -> bool:
    """Whether a value, with all that is in it, can be compared and can't change."""
    kind = type(value)
    if kind in PLAIN or isinstance(value, enum.Enum):
        return True
    if kind in (tuple, frozenset, set):
        return all(map(is_plain, value))
    if kind is slice:
        return all(map(is_plain, (value.start, value.stop, value.step)))
    return False


def _rebuilt(value: Any, items: list[Any]) -> Any:
    kind = type(value)
    if kind in (list, tuple):
        return kind(items)
    if isinstance(value, tuple) and hasattr(kind, "_make"):
        return kind._make(items)
    if isinstance(value, deque):
        return deque(items, value.maxlen)
    return items if isinstance(value, list) else tuple(items)


__all__ = ["CALLABLES", "CONTAINERS", "MAX_ITEMS", "PLAIN", "Guarding", "is_plain"]
