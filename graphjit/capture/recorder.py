"""Run a function and note what it reads: which of it must stay so for the run to be repeated.

The recorder is the hooks of all Python code that the function reaches. Each value read from
outside has a source; numbers, strings, functions and the like get a guard, arrays are handed to
whoever traces, containers and objects get guards as far as they are looked into. What it can't
follow it refuses: a guard that is missing would be a wrong answer later.
"""

from __future__ import annotations

import builtins
import datetime
import decimal
import enum
import fractions
import functools
import operator
import sys
import types
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from graphjit.core.errors import TracingError, at_user_line, user_line

from .callables import (
    ASKED_BY_C,
    BUILTIN_NAMES,
    HIGHER_ORDER,
    ITERATE_ONLY,
    READERS,
    STATEFUL,
    is_known,
    is_trusted,
    package_of,
)
from .hooks import BINARY_NAMES, COMPARISON_NAMES, Hooks
from .instrument import CannotInstrument, bind, globals_read, has_hooks, instrumented
from .sources import (
    MISSING,
    AttributeSource,
    CellSource,
    Check,
    ConstSource,
    Guard,
    ItemSource,
    Source,
    global_source,
    lasting_source,
)

PLAIN: Final = frozenset({
    int, float, complex, bool, str, bytes, type(None), types.EllipsisType,
    types.NotImplementedType, range, np.dtype, decimal.Decimal, fractions.Fraction,
    datetime.date, datetime.time, datetime.datetime, datetime.timedelta,
    *(np.dtype(code).type for code in "?bhilqBHILQefdgFDG"),
})  # fmt: skip
_CALLABLE: Final = (
    types.FunctionType, types.BuiltinFunctionType, type, np.ufunc, type(np.sum),
    types.MethodDescriptorType, types.WrapperDescriptorType, types.ModuleType,
)  # fmt: skip
_CONTAINERS: Final = (list, tuple, dict, set, frozenset)
# Containers of C whose items can be read one by one.
_INDEXED: Final = (list, tuple, dict, deque, OrderedDict, defaultdict, types.MappingProxyType)
# Objects of these change only in ways that are noticed: variables, random generators.
_ARRAY_PACKAGES: Final = frozenset({"numpy", "scipy", "graphjit", "ml_dtypes", "re"})
MAX_ITEMS: Final = 100_000
MAX_DEPTH: Final = 20
_ABSENT: Final = object()


class Recorder(Hooks):
    """The hooks of one run.

    capture: is given each ndarray read and its source, and gives what the code goes on with.
    traced: whether a value is one that `capture` or what traces made. outside: whether an
    object is known to have been there before. guards: what must hold for another run to read
    the same. failed: the first refusal.
    """

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

    # -- running

    def run(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call a function with all Python code that it reaches instrumented."""
        self._root = getattr(function, "__func__", function)
        owner = getattr(function, "__self__", function)
        if not isinstance(owner, (*_CALLABLE, types.ModuleType)):
            self._register(owner, lasting_source(owner, "self"))
        try:
            value = self.callee(function)(*args, **kwargs)
        except BaseException:
            self.failed = None
            raise
        finally:
            self._close()
        failed, self.failed = self.failed, None
        if failed is not None:
            raise failed
        return value

    def _close(self) -> None:
        """Let go of all objects.

        Code with hooks refers to the recorder and may live on, in a generator or a traceback,
        and the garbage collector doesn't look into code.
        """
        self.closed = True
        self._capture = self._traced = self._outside = self._number = _closed
        self._root = None
        for table in (
            self._known, self._copies, self._bound, self._cells, self._globals,
            self._wrappers, self._libraries,
        ):  # fmt: skip
            table.clear()
        self._alive.clear()

    def argument(self, value: Any, source: Source) -> None:
        """Say where an argument that is an object comes from."""
        self._register(value, source)

    def refusal(self, what: str) -> TracingError:
        """The error for what can't be followed; noted, for the code may catch it."""
        error = TracingError(at_user_line(what))
        if self.failed is None:
            self.failed = error
        return error

    # -- sources and guards

    def source_of(self, value: Any) -> Source | None:
        """Where an object was read from; None if it was made meanwhile."""
        known = self._known.get(id(value))
        return known[1] if known is not None and known[0] is value else None

    def _register(self, value: Any, source: Source) -> None:
        known = self._known.get(id(value))
        if known is None or known[0] is not value:
            self._known[id(value)] = value, source
        elif known[1].key != source.key and not isinstance(value, _CALLABLE):
            self.guard(Check.ALIAS, source, known[1])  # two ways to it: it is one object

    def guard(self, check: Check, source: Source, expected: Any) -> None:
        """Ask that a source goes on giving what it gives now."""
        key = (
            check,
            source.key,
            getattr(expected, "key", expected if type(expected) is str else None),
        )
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
        if kind in (tuple, frozenset, slice) and _is_plain(value):
            if not written:
                self.guard(Check.EQUAL, source, value)
            return value
        if written:
            return value
        if isinstance(value, _CALLABLE):
            self.guard(Check.SAME, source, value)
        elif kind is types.MethodType:
            self.guard(Check.SAME, AttributeSource(source, "__func__"), value.__func__)
            self.read(value.__self__, AttributeSource(source, "__self__"))
            return value
        elif is_trusted(kind) and kind not in _CONTAINERS:
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
        constant = isinstance(value, (tuple, frozenset)) and _is_plain(value)
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
        if isinstance(value, (set, frozenset)):
            if not _is_plain(value):
                raise self.refusal("a set of objects from outside can't be traced")
            self.guard(Check.EQUAL, source, frozenset(value) if kind_is(value, set) else value)
            return value
        self.guard(Check.LENGTH, source, len(value))
        found = [
            self.shadow(
                self.read(x, ItemSource(source, k), self._was_written(value, k)), depth + 1
            )
            for k, x in enumerate(value)
        ]
        return _rebuilt(value, found)

    def _guard_keys(self, value: dict[Any, Any], source: Source) -> None:
        if not all(map(_is_plain, value)):
            raise self.refusal("a dict from outside with keys that are objects can't be traced")
        self.guard(Check.KEYS, source, tuple(value))

    def _items(self, value: Any) -> Any:
        """What is iterated over in place of a container; its items stay themselves."""
        if type(value) in PLAIN or self._traced(value):
            return value
        source = self.source_of(value)
        if isinstance(value, dict):
            if source is not None:
                self._guard_keys(value, source)
            return value
        if isinstance(value, (list, tuple, deque)):
            if source is None:
                if self._is_outside(value):
                    raise self.refusal("a container reached in a way that isn't followed")
                return value
            self.guard(Check.LENGTH, source, len(value))
            return [
                self.read(x, ItemSource(source, k), self._was_written(value, k))
                for k, x in enumerate(value)
            ]
        if isinstance(value, (set, frozenset)):
            return self.shadow(value)
        iterate = _static(type(value), "__iter__")
        if isinstance(iterate, types.FunctionType) and not is_trusted(type(value)):
            return self.call(iterate, value)
        if source is not None and not isinstance(value, types.FunctionType):
            raise self.refusal(f"iterates over a {type(value).__name__} from outside")
        return value

    # -- names

    def load_global(self, value: Any, name: str) -> Any:
        if self.closed:
            return value
        names = _caller_globals()
        key = id(names), name
        known = self._globals.get(key)
        if known is not None and known[0] is value and key not in self._written:
            return known[1]
        source = global_source(names, name)
        if name in names:
            found = self.read(value, source, self._was_written(names, name))
        else:
            self.guard(Check.ABSENT, source, None)
            found = value
            if name not in BUILTIN_NAMES:
                found = self.read(value, global_source(vars(builtins), name))
        self._globals[key] = value, found
        return found

    def load_deref(self, found: tuple[Any, types.CellType], name: str) -> Any:
        value, cell = found
        if self.closed or self._is_own(cell):
            return value
        return self.read(value, CellSource(cell, name), self._was_written(cell, None))

    def _is_own(self, cell: types.CellType) -> bool:
        """Whether a cell was made meanwhile: it isn't of a function that came from outside."""
        return id(cell) not in self._cells

    def store_deref(self, given: tuple[Any, types.CellType], name: str) -> None:
        if not self.closed:
            self._write(given[1], None)
        super().store_deref(given, name)

    def delete_deref(self, cell: types.CellType, name: str) -> None:
        if not self.closed and not self._is_own(cell):
            raise self.refusal(f"deletes {name}, which other code sees")

    def store_global(self, value: Any, name: str) -> None:
        names = _caller_globals()
        if not self.closed:
            self._write(names, name)
        names[name] = value

    def delete_global(self, name: str) -> None:
        if not self.closed:
            raise self.refusal(f"deletes the global {name}")
        names = _caller_globals()
        if name not in names:
            raise NameError(f"name '{name}' is not defined", name=name)
        del names[name]

    # -- attributes

    def load_attribute(self, owner: Any, name: str) -> Any:
        kind = type(owner)
        if self.closed or kind in PLAIN or self._traced(owner):
            return getattr(owner, name)
        if kind is types.ModuleType:
            if id(owner) in self._libraries:
                return getattr(owner, name)
            if is_trusted(owner):
                self._libraries[id(owner)] = owner
                return getattr(owner, name)
            where = AttributeSource(lasting_source(owner, owner.__name__), name)
            return self._present(owner, name, where, self._was_written(vars(owner), name))
        if isinstance(owner, type):
            return self._of_class(owner, name)
        if kind is super:
            return self.load_super(getattr(owner, name), name)
        if isinstance(owner, enum.Enum) and name in ("value", "_value_", "name", "_name_"):
            member = ConstSource(owner, str(owner))
            return self._present(owner, name, AttributeSource(member, name))
        if isinstance(owner, enum.Enum):
            return getattr(owner, name)
        source = self.source_of(owner)
        if source is None and self._outside(owner):
            raise self.refusal(
                f"reads .{name} of an object reached in a way that isn't followed"
            )
        if is_trusted(kind):
            return self._of_library_object(owner, name, source)
        return self._of_object(owner, name, source)

    def _present(self, owner: Any, name: str, source: Source, written: bool = False) -> Any:
        """An attribute read as it is; its absence is under a guard, too."""
        try:
            value = getattr(owner, name)
        except AttributeError:
            self.guard(Check.ABSENT, source, None)
            raise
        return self.read(value, source, written)

    def _of_class(self, owner: type, name: str) -> Any:
        value = getattr(owner, name)
        if is_trusted(owner):
            return value
        source = AttributeSource(lasting_source(owner, owner.__qualname__), name)
        if type(value) is types.MethodType and value.__self__ is owner:
            self.guard(Check.SAME, AttributeSource(source, "__func__"), value.__func__)
            return value
        return self.read(value, source, self._was_written(owner, name))

    def _of_library_object(self, owner: Any, name: str, source: Source | None) -> Any:
        """An attribute of an object of a C type or of a library's."""
        try:
            value = getattr(owner, name)
        except AttributeError:
            if source is not None:
                self.guard(Check.ABSENT, AttributeSource(source, name), None)
            raise
        kind = type(value)
        if source is None:
            return value
        if kind in (types.BuiltinFunctionType, types.MethodType, types.MethodWrapperType):
            if isinstance(getattr(value, "__self__", None), kind):
                return value
            return value
        return self.read(value, AttributeSource(source, name))

    def _of_object(self, owner: Any, name: str, source: Source | None) -> Any:
        kind = type(owner)
        if isinstance(_static(kind, "__getattribute__"), types.FunctionType):
            raise self.refusal(f"{kind.__name__} has a __getattribute__, which isn't followed")
        if source is not None:
            self.guard(Check.TYPE, source, kind)
        own = getattr(owner, "__dict__", None)
        own = own if isinstance(own, dict) else {}
        static = _static(kind, name)
        if isinstance(static, property):
            self._guard_class(kind, name, static)
            if static.fget is None:
                raise AttributeError(f"property {name!r} of {kind.__name__!r} has no getter")
            return self.call(static.fget, owner)
        get = None if static is _ABSENT else _static(type(static), "__get__")
        if static is not _ABSENT and _static(type(static), "__set__") is not _ABSENT:
            if isinstance(get, types.FunctionType):
                return self._described(owner, name, static, get)
            return self._stored(owner, name, source)
        if name in own:
            return self._stored(owner, name, source)
        if static is _ABSENT:
            return self._missing(owner, name, source)
        self._guard_class(kind, name, static)
        if source is not None:
            own_source = ItemSource(AttributeSource(source, "__dict__"), name)
            if hasattr(owner, "__dict__"):
                self.guard(Check.ABSENT, own_source, None)
        if isinstance(static, (types.FunctionType, staticmethod, classmethod)):
            return getattr(owner, name)
        if isinstance(static, functools.cached_property):
            value = self.call(static.func, owner)
            self._write(owner, name)
            own[name] = value
            return value
        if isinstance(get, types.FunctionType):
            return self._described(owner, name, static, get)
        value = getattr(owner, name)
        if isinstance(value, (types.BuiltinFunctionType, types.MethodWrapperType)):
            return value
        where = source or lasting_source(kind, kind.__qualname__)
        return self.read(value, AttributeSource(where, name), self._was_written(kind, name))

    def _described(self, owner: Any, name: str, static: Any, get: types.FunctionType) -> Any:
        """An attribute that a descriptor written in Python gives."""
        if is_trusted(type(static)):
            raise self.refusal(f".{name} is a {type(static).__name__}, which isn't followed")
        kind = type(owner)
        for base in kind.__mro__:
            if vars(base).get(name) is static:
                names = AttributeSource(lasting_source(base, base.__qualname__), "__dict__")
                where = ItemSource(names, name)
                self.guard(Check.TYPE, where, type(static))
                self._register(static, where)
                break
        self._guard_class(type(static), "__get__", get)
        return self.call(get, static, owner, kind)

    def _stored(self, owner: Any, name: str, source: Source | None) -> Any:
        if source is None:
            return getattr(owner, name)
        written = self._was_written(owner, name)
        return self._present(owner, name, AttributeSource(source, name), written)

    def _missing(self, owner: Any, name: str, source: Source | None) -> Any:
        kind = type(owner)
        function = _static(kind, "__getattr__")
        if isinstance(function, types.FunctionType):
            self._guard_class(kind, "__getattr__", function)
            where: Source = lasting_source(kind, kind.__qualname__)
            self.guard(Check.ABSENT, AttributeSource(where, name), None)
            if source is not None and hasattr(owner, "__dict__"):
                own = ItemSource(AttributeSource(source, "__dict__"), name)
                self.guard(Check.ABSENT, own, None)
            return self.call(function, owner, name)
        if source is None:
            return getattr(owner, name)
        return self._present(owner, name, AttributeSource(source, name))

    def _guard_absent(self, kind: type, name: str) -> None:
        """Ask that a class goes on having no attribute of a name."""
        if not is_trusted(kind) and not self._was_written(kind, name):
            where = AttributeSource(lasting_source(kind, kind.__qualname__), name)
            self.guard(Check.ABSENT, where, None)

    def _guard_class(self, kind: type, name: str, static: Any) -> None:
        """Ask that an attribute of a class is the function or property that it is."""
        source: Source = AttributeSource(lasting_source(kind, kind.__qualname__), name)
        if is_trusted(kind) or self._was_written(kind, name):
            return
        if isinstance(static, classmethod):
            self.guard(Check.SAME, AttributeSource(source, "__func__"), static.__func__)
        elif isinstance(static, staticmethod):
            self.guard(Check.SAME, source, static.__func__)
        elif isinstance(static, property):
            self.guard(Check.TYPE, source, type(static))
            if static.fget is not None:
                self.guard(Check.SAME, AttributeSource(source, "fget"), static.fget)
        elif isinstance(static, types.FunctionType):
            self.guard(Check.SAME, source, static)

    def load_super(self, value: Any, name: str) -> Any:
        if self.closed or isinstance(
            value, types.BuiltinFunctionType | types.MethodWrapperType
        ):
            return value
        if not isinstance(value, types.MethodType):
            raise self.refusal(f"reads .{name} of super(), which isn't followed")
        owner = value.__self__
        kind = owner if isinstance(owner, type) else type(owner)
        where = AttributeSource(lasting_source(kind, kind.__qualname__), "__mro__")
        self.guard(Check.ITEMS, where, tuple(map(weakref.ref, kind.__mro__)))
        for base in kind.__mro__:
            found = vars(base).get(name)
            function = getattr(found, "__func__", found)
            if function is value.__func__:
                self._guard_class(base, name, found)
                break
            if found is None and not is_trusted(base):
                names = AttributeSource(lasting_source(base, base.__qualname__), "__dict__")
                self.guard(Check.WITHOUT, names, name)
        return value

    def store_attribute(self, given: tuple[Any, Any], name: str) -> None:
        value, owner = given
        if self.closed or self._traced(owner):
            setattr(owner, name, value)
            return
        kind = type(owner)
        setter = _static(kind, "__setattr__")
        static = _static(kind, name)
        if isinstance(setter, types.FunctionType) and not is_trusted(kind):
            self.call(setter, owner, name, value)
            return
        if isinstance(static, property) and not is_trusted(kind):
            self._guard_class(kind, name, static)
            if static.fset is None:
                raise AttributeError(f"property {name!r} of {kind.__name__!r} has no setter")
            self.call(static.fset, owner, value)
            return
        if static is _ABSENT and not isinstance(owner, (type, types.ModuleType)):
            self._guard_absent(kind, name)
        target = vars(owner) if isinstance(owner, types.ModuleType) else owner
        self._write(target, name)
        setattr(owner, name, value)

    def delete_attribute(self, owner: Any, name: str) -> None:
        if not self.closed and self.source_of(owner) is not None:
            raise self.refusal(f"deletes .{name} of an object from outside")
        delattr(owner, name)

    # -- items

    def load_item(self, given: tuple[Any, Any]) -> Any:
        owner, key = given
        kind = type(owner)
        if self.closed or kind in PLAIN or self._traced(owner):
            return owner[key]
        source = self.source_of(owner)
        function = _static(kind, "__getitem__")
        if isinstance(function, types.FunctionType) and not is_trusted(kind):
            self._guard_class(kind, "__getitem__", function)
            return self.call(function, owner, key)
        if source is None:
            if self._outside(owner) and not isinstance(owner, type):
                raise self.refusal("reads an item of what was reached in a way not followed")
            self._require_no_methods(key)
            return owner[key]
        if isinstance(owner, type):
            return super().load_item(given)
        if isinstance(owner, defaultdict):
            raise self.refusal("reads an item of a defaultdict, which may make it")
        if not isinstance(owner, _INDEXED):
            raise self.refusal(f"reads an item of a {kind.__name__} from outside")
        if isinstance(key, slice):
            return (
                self._items(owner)[key] if kind is not tuple else tuple(self._items(owner))[key]
            )
        if self._traced(key):
            return owner[key]  # raises, for its value isn't known
        key = operator.index(key) if isinstance(owner, (list, tuple, deque)) else key
        if not _is_plain(key) and not isinstance(key, (type, types.FunctionType, enum.Enum)):
            raise self.refusal("reads an item by a key that is an object")
        item = ItemSource(source, key)
        try:
            value = owner[key]
        except (KeyError, IndexError):
            self.guard(Check.ABSENT, item, None)
            raise
        return self.read(value, item, self._was_written(owner, key))

    def store_item(self, given: tuple[Any, Any, Any]) -> None:
        value, owner, key = given
        if not self.closed and not self._traced(owner):
            function = _static(type(owner), "__setitem__")
            if isinstance(function, types.FunctionType) and not is_trusted(type(owner)):
                self.call(function, owner, key, value)
                return
            if not isinstance(key, slice):
                try:
                    self._write(owner, key)
                except TypeError:
                    raise self.refusal("stores an item by a key that can't be hashed") from None
        owner[key] = value

    def delete_item(self, given: tuple[Any, Any]) -> None:
        owner, key = given
        if not self.closed and self.source_of(owner) is not None:
            raise self.refusal("deletes an item of a container from outside")
        del owner[key]

    # -- operators

    def binary(self, operands: tuple[Any, Any], number: int) -> Any:
        if not self.closed:
            operands = self._operands(operands, BINARY_NAMES[number], number >= 13)
            if len(operands) == 1:
                return operands[0]
        return super().binary(operands, number)

    def compare(self, operands: tuple[Any, Any], symbol: str) -> Any:
        if not self.closed:
            operands = self._operands(operands, COMPARISON_NAMES[symbol], False)
            if len(operands) == 1:
                return operands[0]
        return super().compare(operands, symbol)

    def _operands(self, operands: tuple[Any, Any], name: str, in_place: bool) -> Any:
        """What an operator computes of; or, in a tuple of one, what it gives."""
        a, b = operands
        if (type(a) in PLAIN or self._traced(a)) and (type(b) in PLAIN or self._traced(b)):
            return operands
        for x in operands:
            kind = type(x)
            if kind in PLAIN or self._traced(x) or is_trusted(kind):
                continue
            if any(
                isinstance(_static(kind, f"__{n}__"), types.FunctionType)
                for n in _variants(name)
            ):
                return (self._by_methods(a, b, name),)
            for variant in _variants(name):
                static = _static(kind, f"__{variant}__")
                if static is _ABSENT:
                    self._guard_absent(kind, f"__{variant}__")
                else:
                    where = lasting_source(kind, kind.__qualname__)
                    self.guard(Check.SAME, AttributeSource(where, f"__{variant}__"), static)
        return (a if in_place else self.shadow(a), self.shadow(b))

    def _by_methods(self, a: Any, b: Any, name: str) -> Any:
        """An operator of objects whose classes are written in Python."""
        plain, reflected = _variants(name)[-2:]
        tries = [(a, f"__{plain}__", b), (b, f"__{reflected}__", a)]
        if type(a) is type(b) and reflected.startswith("r"):
            del tries[1]
        elif issubclass(type(b), type(a)) and type(b) is not type(a):
            tries.reverse()
        if len(_variants(name)) == 3:
            tries.insert(0, (a, f"__{_variants(name)[0]}__", b))
        for owner, method, other in tries:
            function = _static(type(owner), method)
            if function is _ABSENT:
                continue
            if isinstance(function, types.FunctionType):
                self._guard_class(type(owner), method, function)
                value = self.call(function, owner, other)
            else:
                value = getattr(type(owner), method)(owner, self.shadow(other))
            if value is not NotImplemented:
                return value
        if name == "eq":
            return self.identical((a, b), 0)
        if name == "ne":
            return self.identical((a, b), 1)
        symbol = plain
        raise TypeError(
            f"unsupported operand type(s) for {symbol}: {type(a).__name__!r} and "
            f"{type(b).__name__!r}"
        )

    def unary(self, operand: Any, symbol: str) -> Any:
        if not self.closed and type(operand) not in PLAIN and not self._traced(operand):
            name = {"-": "__neg__", "+": "__pos__", "~": "__invert__"}[symbol]
            function = _static(type(operand), name)
            if isinstance(function, types.FunctionType) and not is_trusted(type(operand)):
                self._guard_class(type(operand), name, function)
                return self.call(function, operand)
        return super().unary(operand, symbol)

    def contains(self, operands: tuple[Any, Any], inverted: int) -> bool:
        item, owner = operands
        if not self.closed and type(owner) not in PLAIN and not self._traced(owner):
            function = _static(type(owner), "__contains__")
            if isinstance(function, types.FunctionType) and not is_trusted(type(owner)):
                self._guard_class(type(owner), "__contains__", function)
                return bool(self.call(function, owner, item)) is not bool(inverted)
            source = self.source_of(owner)
            if isinstance(owner, dict) and source is not None and _is_plain(item):
                self._guard_keys(owner, source)
            elif isinstance(owner, (list, tuple, deque)):
                owner = self.shadow(owner)
            else:
                owner = self._items(owner)
        return super().contains((item, owner), inverted)

    def identical(self, operands: tuple[Any, Any], inverted: int) -> bool:
        if not self.closed:
            a, b = operands
            one, other = self.source_of(a), self.source_of(b)
            if a is not b and one is not None and other is not None:
                self.guard(Check.DISTINCT, one, other)
            elif (one is None) != (other is None) and self._traced(a) and self._traced(b):
                raise self.refusal("asks whether an argument is an array from outside")
        return super().identical(operands, inverted)

    def truth(self, value: Any) -> Any:
        kind = type(value)
        if self.closed or kind in PLAIN or self._traced(value):
            return value
        for name in ("__bool__", "__len__"):
            function = _static(kind, name)
            if isinstance(function, types.FunctionType) and not is_trusted(kind):
                self._guard_class(kind, name, function)
                found = self.call(function, value)
                if self._traced(found):
                    return found
                if name == "__bool__" and type(found) is not bool:
                    kind_name = type(found).__name__
                    raise TypeError(f"__bool__ should return bool, returned {kind_name}")
                return bool(_checked_length(found))
            if function is not _ABSENT:
                break
            self._guard_absent(kind, name)
        source = self.source_of(value)
        if source is not None and hasattr(kind, "__len__") and not isinstance(value, type):
            self.guard(Check.LENGTH, source, len(value))
        return value

    # -- containers, texts, with

    def iterate(self, value: Any) -> Any:
        return value if self.closed else self._items(value)

    def unpack(self, value: Any) -> Any:
        if self.closed:
            return value
        if isinstance(value, dict):
            source = self.source_of(value)
            if source is None:
                return value
            self._guard_keys(value, source)
            return {
                k: self.read(v, ItemSource(source, k), self._was_written(value, k))
                for k, v in value.items()
            }
        return self._items(value)

    def text(self, value: Any) -> Any:
        if self.closed or type(value) in PLAIN:
            return value
        return self._printable(value)

    def _printable(self, value: Any) -> Any:
        kind = type(value)
        if kind in PLAIN or self._traced(value):
            return value
        for name in ("__format__", "__str__", "__repr__"):
            if isinstance(_static(kind, name), types.FunctionType) and not is_trusted(kind):
                raise self.refusal(f"formats a {kind.__name__}, which isn't followed")
        return self.shadow(value)

    def enter(self, manager: Any) -> Any:
        kind = type(manager)
        if self.closed or is_trusted(kind):
            return manager
        enter, leave = _static(kind, "__enter__"), _static(kind, "__exit__")
        if isinstance(enter, types.FunctionType) and isinstance(leave, types.FunctionType):
            self._guard_class(kind, "__enter__", enter)
            self._guard_class(kind, "__exit__", leave)
            return _Manager(self, manager, enter, leave)
        raise self.refusal(f"enters a {kind.__name__}, which isn't followed")

    def match(self, subject: Any) -> Any:
        if self.closed or type(subject) in PLAIN:
            return subject
        if self.source_of(subject) is not None and not isinstance(subject, _CONTAINERS):
            raise self.refusal(f"matches a {type(subject).__name__} from outside")
        return self.shadow(subject)

    def imported(self, module: Any, name: str) -> Any:
        return module

    def imported_from(self, found: tuple[Any, Any], name: str) -> Any:
        value, module = found
        if self.closed or not isinstance(module, types.ModuleType) or is_trusted(module):
            return value
        return self.read(value, AttributeSource(ConstSource(module, module.__name__), name))

    def build_class(self) -> None:
        if not self.closed:
            raise self.refusal("defines a class, which can't be traced")

    # -- calls

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function of Python with hooks in it."""
        return self.callee(function)(*args, **kwargs)

    def callee(self, function: Any) -> Any:
        if self.closed:
            return function
        known = self._wrappers.get(id(function))
        if known is not None and known[0] is function:
            return known[1]
        found = self._called_instead(function)
        if isinstance(function, (types.FunctionType, np.ufunc, type(np.sum))) and (
            type(function) is not types.FunctionType or is_trusted(function)
        ):
            self._wrappers[id(function)] = function, found
        return found

    def _called_instead(self, function: Any) -> Any:
        kind = type(function)
        if kind is types.FunctionType:
            if function in STATEFUL:
                raise self.refusal(f"calls {function.__name__}, which reads NumPy's own state")
            return self._library(function) if is_trusted(function) else self._copy(function)
        if kind is types.MethodType:
            return self._method(function)
        if kind is functools.partial:
            return self._partial(function)
        inner = getattr(function, "python_function", None)
        if inner is not None and is_trusted(kind):
            return self._decorated(function, inner)
        if isinstance(function, type):
            return self._class(function)
        if isinstance(function, (types.BuiltinFunctionType, types.MethodWrapperType)):
            return self._builtin(function)
        if isinstance(function, np.vectorize):
            raise self.refusal("calls an np.vectorize, which isn't followed")
        if is_known(function) or (
            is_trusted(kind) and kind.__module__ != "functools" and kind is not np.ufunc
        ):
            return self._library(function)
        call = _static(kind, "__call__")
        if isinstance(call, types.FunctionType) and not is_trusted(kind):
            self._guard_class(kind, "__call__", call)
            return types.MethodType(self._copy(call), function)
        raise self.refusal(f"calls a {kind.__name__}, which isn't followed")

    def _copy(self, function: types.FunctionType) -> Any:
        """A function of the user's with hooks in it."""
        known = self._copies.get(id(function))
        if known is not None and known[0] is function:
            return known[1]
        code = function.__code__
        if has_hooks(code):
            return function
        bound = self._bound.get(id(code))
        if bound is None:
            try:
                bound = self._bound[id(code)] = bind(code, self)
            except CannotInstrument as error:
                raise self.refusal(f"{function.__qualname__}: {error}") from None
            self._alive.append(code)
            self._inner.update(id(c) for c in code.co_consts if type(c) is types.CodeType)
        copy = instrumented(function, bound)
        made = (
            id(code) in self._inner
            and self.source_of(function) is None
            and not self._outside(function)
        )
        if not made:
            if function is not self._root:
                where = self.source_of(function) or lasting_source(
                    function, function.__qualname__
                )
                self.guard(Check.SAME, AttributeSource(where, "__code__"), code)
            names = function.__globals__
            for name in globals_read(bound):  # reading what isn't there calls no hook
                if name not in names and name not in vars(builtins):
                    self.guard(Check.ABSENT, global_source(names, name), None)
                    self.guard(Check.ABSENT, global_source(vars(builtins), name), None)
            self._cells.update((id(cell), cell) for cell in function.__closure__ or ())
            self._defaults(function, copy)
            self._copies[id(function)] = function, copy
        return copy

    def _defaults(self, function: types.FunctionType, copy: types.FunctionType) -> None:
        where = lasting_source(function, function.__qualname__)
        if function.__defaults__:
            source: Source = AttributeSource(where, "__defaults__")
            copy.__defaults__ = tuple(
                self.read(x, ItemSource(source, k)) for k, x in enumerate(function.__defaults__)
            )
        if function.__kwdefaults__:
            source = AttributeSource(where, "__kwdefaults__")
            copy.__kwdefaults__ = {
                k: self.read(x, ItemSource(source, k))
                for k, x in function.__kwdefaults__.items()
            }

    def _decorated(self, function: Any, inner: Any) -> Any:
        """A function that is decorated, too: it is part of the trace."""

        def call(*args: Any, **kwargs: Any) -> Any:
            if "out" in kwargs:
                raise self.refusal("out= of a decorated function called in a traced one")
            return self.call(inner, *args, **kwargs)

        return call

    def _method(self, method: types.MethodType) -> Any:
        function = method.__func__
        inner = getattr(function, "python_function", None)
        if inner is not None:
            function = inner
        if isinstance(function, types.FunctionType) and not is_trusted(function):
            return types.MethodType(self._copy(function), method.__self__)
        return self._library(method)

    def _partial(self, function: functools.partial[Any]) -> Any:
        source = self.source_of(function)
        inner, args, named = function.func, function.args, function.keywords
        if source is not None:
            inner = self.read(inner, AttributeSource(source, "func"))
            args = tuple(
                self.read(x, ItemSource(AttributeSource(source, "args"), k))
                for k, x in enumerate(args)
            )
            self.guard(Check.LENGTH, AttributeSource(source, "args"), len(args))
            self.guard(Check.KEYS, AttributeSource(source, "keywords"), tuple(named))
            named = {
                k: self.read(x, ItemSource(AttributeSource(source, "keywords"), k))
                for k, x in named.items()
            }
        called = self.callee(inner)
        return lambda *more, **others: called(*args, *more, **{**named, **others})

    def _class(self, kind: type) -> Any:
        if kind is super:
            return kind
        if kind is type:
            return lambda *args: self._type(*args)
        if is_trusted(kind):
            return self._library(kind)
        if issubclass(kind, (BaseException, enum.Enum)):
            return kind
        maker, start = _static(kind, "__new__"), _static(kind, "__init__")
        if type(kind) is not type and isinstance(
            _static(type(kind), "__call__"), types.FunctionType
        ):
            raise self.refusal(f"makes a {kind.__name__}, whose class isn't followed")
        new = maker.__func__ if isinstance(maker, staticmethod) else maker
        if not isinstance(new, types.FunctionType) and not isinstance(
            start, types.FunctionType
        ):
            return self._library(kind)

        def make(*args: Any, **kwargs: Any) -> Any:
            if isinstance(new, types.FunctionType):
                made = self.call(new, kind, *args, **kwargs)
            elif kind.__new__ is object.__new__:
                made = object.__new__(kind)
            else:
                made = kind.__new__(kind, *map(self.shadow, args), **kwargs)
            if isinstance(made, kind) and isinstance(start, types.FunctionType):
                self._guard_class(kind, "__init__", start)
                self.call(start, made, *args, **kwargs)
            return made

        return make

    def _type(self, *args: Any) -> Any:
        if len(args) != 1:
            raise self.refusal("makes a class, which can't be traced")
        return getattr(args[0], "__class__", type(args[0]))

    def _library(self, function: Any) -> Any:
        """A function of a library or of C that is known: it sees containers that were read."""
        hands_on = isinstance(function, type) and function in ITERATE_ONLY
        asks = not (hands_on or package_of(function) in ("dataclasses", "typing"))

        def call(*args: Any, **kwargs: Any) -> Any:
            given = [self._handed(x) for x in args]
            named = {k: self._handed(x) for k, x in kwargs.items()}
            if not hands_on:
                for x in given:
                    if isinstance(_static(type(x), "__post_init__"), types.FunctionType):
                        raise self.refusal(f"hands on a {type(x).__name__}: __post_init__")
            if asks:
                for x in (*given, *named.values()):
                    self._require_no_methods(x)
            return function(*given, **named)

        return call

    def _require_no_methods(self, value: Any, depth: int = 0) -> None:
        """Refuse objects that C code would ask by methods written in Python."""
        kind = type(value)
        if kind in PLAIN or self._traced(value) or isinstance(value, _CALLABLE):
            return
        if kind in _CONTAINERS or isinstance(value, deque):
            if depth < MAX_DEPTH and len(value) <= MAX_ITEMS:
                items = (*value, *value.values()) if isinstance(value, dict) else value
                for x in items:
                    self._require_no_methods(x, depth + 1)
            return
        if is_trusted(kind) or isinstance(value, (enum.Enum, BaseException)):
            return
        for name in ASKED_BY_C:
            if isinstance(_static(kind, name), types.FunctionType):
                raise self.refusal(
                    f"hands a {kind.__name__} to code that isn't followed and may call {name}"
                )

    def _handed(self, value: Any) -> Any:
        """What a library gets for an argument."""
        kind = type(value)
        if kind in PLAIN or self._traced(value):
            return value
        if isinstance(value, (*_CONTAINERS, deque, slice)):
            return self.shadow(value)
        if kind is types.FunctionType and not is_trusted(value):
            return self._copy(value)
        if kind is types.MethodType:
            return self._method(value)
        outside = self.source_of(value) is not None or self._outside(value)
        if outside and hasattr(kind, "__next__"):
            raise self.refusal("advances an iterator from outside")
        if outside and not isinstance(value, _CALLABLE) and not is_trusted(kind):
            raise self.refusal(
                f"hands a {kind.__name__} from outside to code that isn't followed"
            )
        return value

    def _builtin(self, function: Any) -> Any:
        owner = getattr(function, "__self__", None)
        if isinstance(owner, np.ufunc):  # np.add.reduce
            if is_known(owner):
                return self._library(function)
            raise self.refusal("calls a ufunc, of which nothing is known")
        special = getattr(self, "_call_" + function.__name__, None)
        if special is not None and isinstance(owner, types.ModuleType):
            return special
        if function in HIGHER_ORDER:
            return self._library(function)
        if isinstance(owner, (types.ModuleType, type, type(None))):
            if is_known(function):
                return self._library(function)
            name = f"{getattr(owner, '__name__', '')}.{function.__name__}".lstrip(".")
            raise self.refusal(f"calls {name}, of which nothing is known")
        if self.source_of(owner) is None:
            if self._outside(owner):
                raise self.refusal(
                    f"calls .{function.__name__} of what was reached in a way not followed"
                )
            return function if type(owner) in PLAIN else self._library(function)
        if isinstance(owner, (list, tuple, dict, set, frozenset, deque)):
            if function.__name__ in READERS:
                return self._library(getattr(self.shadow(owner), function.__name__))
            return function  # it changes the container, which is seen afterwards
        if type(owner) in PLAIN or package_of(type(owner)) in _ARRAY_PACKAGES:
            return self._library(function)
        raise self.refusal(
            f"calls .{function.__name__} of a {type(owner).__name__}, of which nothing is known"
        )

    # -- builtins that look at objects

    def _call_getattr(self, owner: Any, name: str, *default: Any) -> Any:
        try:
            return self.load_attribute(owner, name)
        except AttributeError:
            if default:
                return default[0]
            raise

    def _call_hasattr(self, owner: Any, name: str) -> bool:
        try:
            self.load_attribute(owner, name)
        except AttributeError:
            return False
        return True

    def _call_setattr(self, owner: Any, name: str, value: Any) -> None:
        self.store_attribute((value, owner), name)

    def _call_len(self, value: Any) -> int:
        kind = type(value)
        if kind in PLAIN or self._traced(value):
            return len(value)
        function = _static(kind, "__len__")
        if isinstance(function, types.FunctionType) and not is_trusted(kind):
            self._guard_class(kind, "__len__", function)
            return _checked_length(self.call(function, value))
        source = self.source_of(value)
        if source is not None:
            self.guard(Check.LENGTH, source, len(value))
        return len(value)

    def _call_isinstance(self, value: Any, kinds: Any) -> bool:
        self._require_plain_classes(kinds)
        return isinstance(value, kinds)

    def _require_plain_classes(self, kinds: Any) -> None:
        """Refuse classes that say by code of their own, or a register, what belongs to them."""
        for kind in kinds if isinstance(kinds, tuple) else (kinds,):
            if isinstance(kind, tuple):
                self._require_plain_classes(kind)
            elif (
                isinstance(kind, type)
                and type(kind) is not type
                and not is_trusted(kind)
                and not issubclass(kind, enum.Enum)
            ):
                raise self.refusal(f"asks for {kind.__name__}, whose class isn't followed")

    def _call_issubclass(self, kind: Any, kinds: Any) -> bool:
        self._require_plain_classes(kinds)
        return issubclass(kind, kinds)

    def _call_callable(self, value: Any) -> bool:
        return callable(value)

    def _call_id(self, value: Any) -> int:
        raise self.refusal("asks for the id of an object")

    def _call_vars(self, *args: Any) -> Any:
        if not args:
            raise self.refusal("asks for its local names")
        return self.load_attribute(args[0], "__dict__")

    def _call_iter(self, value: Any, *sentinel: Any) -> Any:
        return iter(self.callee(value), *sentinel) if sentinel else iter(self._items(value))

    def _call_next(self, value: Any, *default: Any) -> Any:
        function = _static(type(value), "__next__")
        if isinstance(function, types.FunctionType) and not is_trusted(type(value)):
            return self.call(function, value)
        if self.source_of(value) is not None or self._outside(value):
            raise self.refusal("advances an iterator from outside")
        return next(value, *default)


class _Manager:
    """A context manager of the user's, entered and left with hooks."""

    def __init__(self, recorder: Recorder, manager: Any, enter: Any, leave: Any) -> None:
        self._recorder, self._manager, self._enter, self._leave = (
            recorder,
            manager,
            enter,
            leave,
        )

    def __enter__(self) -> Any:
        return self._recorder.call(self._enter, self._manager)

    def __exit__(self, *error: Any) -> Any:
        return self._recorder.call(self._leave, self._manager, *error)


def _closed(*args: Any) -> Any:
    """In place of the functions of a recorder that is closed."""
    raise AssertionError("the recorder is closed")


def _caller_globals() -> dict[str, Any]:
    """The globals of the user's function that called a hook."""
    frame: types.FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_OWN):
        frame = frame.f_back
    assert frame is not None
    return frame.f_globals


_OWN: Final = "graphjit.capture"


def _static(kind: type, name: str) -> Any:
    """An attribute of a class or of one of its bases, as it is stored there."""
    for base in kind.__mro__:
        found = vars(base).get(name, _ABSENT)
        if found is not _ABSENT:
            return found
    return _ABSENT


def kind_is(value: Any, kind: type) -> bool:
    """Whether a value is of this very type."""
    return type(value) is kind


def _is_plain(value: Any) -> bool:
    """Whether a value, with all that is in it, can be compared and can't change."""
    kind = type(value)
    if kind in PLAIN or isinstance(value, enum.Enum):
        return True
    if kind in (tuple, frozenset, set):
        return all(map(_is_plain, value))
    if kind is slice:
        return all(map(_is_plain, (value.start, value.stop, value.step)))
    return False


def _checked_length(found: Any) -> int:
    """What `__len__` gave, or a bool."""
    length = operator.index(found)
    if length < 0:
        raise ValueError("__len__() should return >= 0")
    return length


def _rebuilt(value: Any, items: list[Any]) -> Any:
    kind = type(value)
    if kind in (list, tuple):
        return kind(items)
    if isinstance(value, tuple) and hasattr(kind, "_make"):
        return kind._make(items)
    if isinstance(value, deque):
        return deque(items, value.maxlen)
    return items if isinstance(value, list) else tuple(items)


def _variants(name: str) -> tuple[str, ...]:
    """The names of an operator's methods: in place, plain, reflected."""
    mirrored = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}
    if name in mirrored:
        return name, mirrored[name]
    if name.startswith("i") and name not in ("invert",):
        return name, name[1:], "r" + name[1:]
    return name, "r" + name


__all__ = ["MAX_ITEMS", "PLAIN", "MISSING", "Recorder"]
