"""What a traced function can reach besides its arguments, as it was before the trace.

A trace runs the function's Python code once, and compiled calls never do: whatever that code
changes outside must not stay changed, traced values above all. So what it can reach is noted
first: closure cells, globals that the code names, defaults and attributes of functions, objects
and classes with the attributes that some code names, containers, arrays, random generators; the
same of every function that it may call and that isn't a library's. After the trace, however it
ended, what differs is put back, so that the function can run eagerly from where it started.

Where it can't be put back (a file, an iterator, an object of a C type that isn't known here),
and where there is more than can be looked through, there is a `reason` not to trace at all.
"""

from __future__ import annotations

import functools
import gc
import operator
import random
import re
import sys
import types
import weakref
from abc import ABC
from array import array
from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.static_lookup import own_attributes
from graphjit.core.types import DType, TensorSpec
from graphjit.tensors.apply import TensorBase

from .captures import _names
from .trace import holds_traced

# How many objects are looked through, and how many bytes of arrays are copied.
MAX_OBJECTS = 50_000
MAX_BYTES = 1 << 26
_ABSENT = object()

_Undo = Callable[[], None]
PLAIN = frozenset({
    int, float, complex, bool, str, bytes, type(None), types.EllipsisType, types.CodeType,
    types.NotImplementedType, range, slice, np.dtype, DType, TensorSpec,
    *(np.dtype(code).type for code in "?bhilqBHILQefdgFDG"),
})  # fmt: skip
# What holds nothing that a call could change, or nothing that a result could depend on.
HARMLESS: tuple[Any, ...] = (
    int, float, complex, str, bytes, np.generic, np.dtype, np.ufunc, Enum, Decimal, date, time,
    timedelta, tzinfo, re.Pattern, re.Match, BaseException, types.GenericAlias,
    types.BuiltinFunctionType, types.WrapperDescriptorType, types.MethodDescriptorType,
    types.MethodWrapperType, types.GetSetDescriptorType, types.MemberDescriptorType,
    types.ClassMethodDescriptorType, operator.itemgetter, operator.attrgetter,
    operator.methodcaller, type(np.sum), TensorBase, Dim, DType, TensorSpec,
    type(namedtuple("Fields", "one").one), type(vars(ABC)["_abc_impl"]),  # type: ignore[attr-defined]
)  # fmt: skip
_LOCKS = ("lock", "RLock", "_thread.lock", "_thread.RLock")
# pytest: it writes calls of its own into `assert`.
_LIBRARIES = frozenset(
    {"numpy", "graphjit", "scipy", "ml_dtypes", "builtins", "pytest", "_pytest", "hypothesis"}
)
# Code that names one of these may read or write attributes that it doesn't name.
_BY_ANY_NAME = frozenset({
    "__dict__", "vars", "getattr", "setattr", "delattr", "__setattr__", "__getattribute__",
    "__delattr__", "attrgetter", "methodcaller", "eval", "exec", "globals", "locals",
})  # fmt: skip
# Ways to write into an array besides `x[...] = v` and `x += v`.
_WRITES = frozenset({
    "out", "fill", "sort", "put", "partition", "itemset", "resize", "copyto", "place",
    "putmask", "at", "shuffle", "byteswap", "setfield", "fill_diagonal", "put_along_axis",
    "nan_to_num", "flat", "real", "imag", "data",
})  # fmt: skip
_FIRST_IN_PLACE = 13  # the argument of BINARY_OP from which on it is `+=` and its like


class SideEffects:
    """What a function can reach, with its contents at the start.

    reason: why the function can't be traced, for what its trace would change couldn't be put
    back; else empty. made: whether all that `problem` found is that what was missing, or None,
    was made, as is done once.
    """

    def __init__(self, function: Callable[..., Any], statics: Sequence[Any]) -> None:
        self.reason, self.made = "", False
        # What was noted: a name for it, whether it differs now, its values now, the way back.
        self._parts: list[_Part] = []
        self._seen: dict[int, Any] = {}
        self._names: set[str] = set()
        self._codes: list[types.CodeType] = []
        self._waiting: dict[str, list[Any]] = {}
        self._by_any_name = False
        self._arrays: list[np.ndarray[Any, Any]] = []
        self._owners: set[int] | None = None  # of their memory
        self._scanned = 0
        self._todo: list[Any] = [*statics, function]
        while self._todo and not self.reason:
            self._reach(self._todo.pop())
            if len(self._seen) + self._scanned // 16 > MAX_OBJECTS:
                self.reason = (
                    f"can reach more than {MAX_OBJECTS} objects, which it might change"
                )
        if not self.reason:
            self._note_arrays()
        self._note(_Numbers("the random module", random.getstate, random.setstate))
        self._numpy_before = _numpy_random()
        if self._numpy_before:
            self._note(_Numbers("np.random", _numpy_state, np.random.set_state))

    def problem(self) -> str:
        """What the trace left behind that a compiled call would not, or an empty string."""
        changed = [part for part in self._parts if part.changed()]
        if not self.left():
            return "stores a traced value where it outlives the call"
        drawn = any(isinstance(part, _Numbers) for part in changed)
        if _numpy_random() and not self._numpy_before:
            drawn |= not _equal(_numpy_state(), _state_when_loaded())
        self.made = bool(changed) and not drawn and all(part.gained() for part in changed)
        if drawn:
            return "draws random numbers, which compiled code would repeat"
        if changed:
            return f"changes {changed[0].name}, which compiled code would not"
        return ""

    def left(self) -> bool:
        """Whether what differs can stay: no traced value is in it."""
        changed = [part for part in self._parts if part.changed()]
        return not any(holds_traced(value) for part in changed for value in part.values())

    def restore(self) -> bool:
        """Put back what was there; whether anything else was."""
        changed = [part for part in self._parts if part.changed()]
        for part in changed:
            part.restore()
        if _numpy_random() and not self._numpy_before:
            np.random.set_state(_state_when_loaded())
        return bool(changed)

    def names(self, name: str) -> bool:
        """Whether code that may run has a name, as such or as text."""
        return name in self._names

    def code_that(self, test: Callable[[types.CodeType], bool]) -> str:
        """The name of code that may run and passes a test; an empty string if none does."""
        return next((code.co_name for code in self._codes if test(code)), "")

    def holds(self, value: Any) -> bool:
        """Whether an object was there before the trace."""
        return id(value) in self._seen

    def holds_memory(self, array: Any) -> bool:
        """Whether an array lies in memory of what was there before the trace."""
        if self._owners is None:
            self._owners = {*self._seen, *(id(memory_owner(a)) for a in self._arrays)}
        return id(array) in self._owners or id(memory_owner(array)) in self._owners

    # -- what can be reached

    def _note(self, part: _Part) -> None:
        self._parts.append(part)

    def _look_at(self, values: Iterable[Any]) -> None:
        """Look at these values later, but for those that nothing can be done to."""
        self._todo += [x for x in values if type(x) not in PLAIN]

    def _reach(self, value: Any) -> None:
        kind = type(value)
        if kind in PLAIN or id(value) in self._seen:
            return
        self._seen[id(value)] = value
        if isinstance(value, np.ndarray):
            self._arrays.append(value)
            if value.dtype.hasobject:
                self._look_at(value.ravel().tolist())
            if kind is not np.ndarray:
                self._attributes(value, kind)
        elif isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, types.MethodType):
            self._look_at((value.__self__, value.__func__))
        elif isinstance(value, types.ModuleType):
            if not _of_library(value.__name__):
                self._named(vars(value), True)
        elif isinstance(value, type):
            self._class(value)
        elif isinstance(value, np.ufunc):  # made by np.frompyfunc
            own = getattr(value, "__dict__", None)  # where NumPy keeps its signature
            self._look_at(x for x in gc.get_referents(value) if x is not own)
        elif isinstance(value, types.BuiltinFunctionType):  # `items.append`
            owner = value.__self__
            if owner is not None and not isinstance(owner, (types.ModuleType, type)):
                self._look_at((owner,))
        elif isinstance(value, functools.partial):
            self._look_at((value.func, *value.args, *value.keywords.values()))
        elif isinstance(value, (staticmethod, classmethod)):
            self._look_at((value.__func__,))
        elif isinstance(value, property):
            self._look_at((value.fget, value.fset, value.fdel))
        elif isinstance(value, functools.cached_property):
            self._look_at((value.func,))
        elif isinstance(value, functools._lru_cache_wrapper):
            self._note(cached := _Cached(value))
            self._look_at((value.__wrapped__, *cached.values()))
        elif isinstance(value, types.MappingProxyType):
            self._look_at((*value.keys(), *value.values()))
        elif isinstance(value, weakref.ref):
            self._look_at((value(),))
        elif isinstance(value, types.CellType):
            self._cell(value)
        elif isinstance(value, (list, dict, set, deque, bytearray, array, tuple, frozenset)):
            self._container(value)
            if kind.__module__ not in ("builtins", "collections", "array"):
                self._attributes(value, kind)
        elif not self._generator(value):
            self._object(value, kind)

    def _container(self, value: Any) -> None:
        if isinstance(value, dict):
            self._note(_Mapping(value))
            items: Any = [*dict.keys(value), *dict.values(value)]
            if isinstance(value, defaultdict):
                self._look_at((value.default_factory,))
        elif isinstance(value, (tuple, frozenset)):
            items = value
        else:
            self._note(_Items(value))
            items = () if isinstance(value, (bytearray, array)) else list(value)
        self._scanned += len(items)
        if self._scanned // 16 <= MAX_OBJECTS:
            self._look_at(items)

    def _generator(self, value: Any) -> bool:
        """Whether a value is a random generator, which is noted."""
        if isinstance(value, random.Random):
            if isinstance(value, random.SystemRandom):
                self.reason = "draws random numbers, which compiled code would repeat"
            else:
                self._note(_Numbers("a random.Random", value.getstate, value.setstate))
            return True
        if not _numpy_random():
            return False
        if isinstance(value, np.random.Generator):
            value = value.bit_generator
        if isinstance(value, np.random.RandomState):
            read = functools.partial(value.get_state, legacy=False)
            self._note(_Numbers("a RandomState", read, value.set_state))
        elif isinstance(value, np.random.BitGenerator):
            bits: Any = value

            def put(state: Any) -> None:
                bits.state = state

            self._note(_Numbers("a Generator", lambda: bits.state, put))
            if "spawn" in self._names:
                self.reason = "spawns random generators, which can't be undone"
        else:
            return isinstance(value, np.random.SeedSequence)
        return True

    def _object(self, value: Any, kind: type) -> None:
        own = kind.__module__.partition(".")[0] == "graphjit"
        function = own_attributes(value).get("python_function")
        if own and function is not None:  # decorated, too
            self._look_at((function,))
            attributes = vars(value)
            names = [k for k in attributes if k not in value._own and k != "_takes_out"]
            self._note(_Names(attributes, names, kind.__name__))
            self._look_at(attributes[k] for k in names)
        elif isinstance(value, HARMLESS) or kind.__name__ in _LOCKS:
            return
        elif not own and not _made_in_python(kind):
            self.reason = (
                f"can reach a {kind.__module__}.{kind.__qualname__}, whose state couldn't be "
                "put back"
            )
        else:
            self._attributes(value, kind)

    def _attributes(self, value: Any, kind: type) -> None:
        """An object's attributes, and what its class has."""
        library = any(_of_library(k.__module__) for k in kind.__mro__ if k is not object)
        attributes = own_attributes(value)
        if kind.__dictoffset__:
            self._note(_Mapping(attributes, f"an attribute of a {kind.__name__}"))
            self._named(attributes, everything=library)
        slots = {
            name: member
            for k in kind.__mro__
            for name, member in vars(k).items()
            if isinstance(member, types.MemberDescriptorType)
        }
        if slots and not isinstance(value, (dict, list)):
            part = _Slots(value, tuple(slots.values()))
            self._note(part)
            held = zip(slots, part.before, strict=True)
            self._named({k: v for k, v in held if v is not _ABSENT}, everything=library)
        self._todo.append(kind)

    def _class(self, kind: type) -> None:
        if _of_library(kind.__module__) or isinstance(kind, type(Enum)):
            return
        self._note(_Class(kind))
        self._named(vars(kind))
        self._look_at(kind.__bases__)
        self._look_at((type(kind),))

    def _named(
        self, attributes: Mapping[str, Any], note: bool = False, everything: bool = False
    ) -> None:
        """Look at the attributes that some code names, now or when there is such code. note:
        names of a module or of globals, each by itself.
        """
        everything = (everything or self._by_any_name) and not note
        for name, value in list(attributes.items()):
            if type(value) in PLAIN and not note:
                continue
            if (
                everything
                or name in self._names
                or (name[:2] == name[-2:] == "__" and not note)
            ):
                if note:
                    self._note(_Names(attributes, [name]))
                self._look_at((value,))
            else:
                held = _Later(attributes, name) if note else value
                self._waiting.setdefault(name, []).append(held)

    def _function(self, function: types.FunctionType) -> None:
        for cell in function.__closure__ or ():
            self._cell(cell)
        self._look_at(function.__defaults__ or ())
        self._look_at((function.__kwdefaults__,))
        attributes = vars(function)
        self._note(_Mapping(attributes, f"an attribute of {function.__name__}"))
        self._look_at(attributes.values())
        if not _of_library(function.__module__ or ""):
            self._code(function.__code__, function.__globals__)

    def _cell(self, cell: types.CellType) -> None:
        self._note(part := _Cell(cell))
        self._look_at(() if part.before is _ABSENT else (part.before,))

    def _code(self, code: types.CodeType, names: dict[str, Any]) -> None:
        if id(code) in self._seen:
            return
        self._seen[id(code)] = code
        self._codes.append(code)
        self._constants(code)
        named = list(dict.fromkeys(_names(code)))
        self._note(_Names(names, named))
        self._look_at(names[n] for n in named if n in names)
        package = names.get("__package__")
        for name in named:  # those that it imports
            for full in (name, f"{package}.{name}"):
                module = sys.modules.get(full)
                if module is not None and not _of_library(full):
                    self._todo.append(module)
        for name in {*named, *_words(code)} - self._names:
            self._names.add(name)
            for value in self._waiting.pop(name, ()):
                if isinstance(value, _Later):
                    self._note(_Names(value.names, [name]))
                    value = value.names.get(name)
                self._look_at((value,))
        if not self._by_any_name and not self._names.isdisjoint(_BY_ANY_NAME):
            self._by_any_name = True
            later = [x for held in self._waiting.values() for x in held]
            self._waiting.clear()
            self._look_at(x for x in later if not isinstance(x, _Later))

    def _constants(self, code: types.CodeType) -> None:
        """Note the tuples that are constants of code, and of code in it."""
        for value in code.co_consts:
            if isinstance(value, types.CodeType):
                self._constants(value)
            elif type(value) in (tuple, frozenset):
                self._seen[id(value)] = value

    def _note_arrays(self) -> None:
        arrays = [a for a in self._arrays if a.flags.writeable]
        if sum(a.nbytes for a in arrays) <= MAX_BYTES:
            for a in arrays:
                self._note(_Elements(a))
        elif not self._names.isdisjoint(_WRITES) or any(map(_stores, self._codes)):
            self.reason = (
                f"may write into arrays of more than {MAX_BYTES >> 20} MiB, which aren't "
                "copied for a trace"
            )


class _Part:
    """Something that was noted. name: what a message calls it."""

    __slots__ = ()
    name = "what outlives the call"

    def changed(self) -> bool:
        """Whether it differs from what it was."""
        raise NotImplementedError

    def gained(self) -> bool:
        """Whether, if it differs, nothing was lost but None."""
        return False

    def values(self) -> Iterable[Any]:
        """What it holds now."""
        return ()

    def restore(self) -> None:
        """Make it what it was."""
        raise NotImplementedError


class _Later:
    """A name among globals that no code has named yet."""

    __slots__ = ("_key", "names")

    def __init__(self, names: Any, key: str) -> None:
        self.names, self._key = names, key


class _Mapping(_Part):
    __slots__ = ("before", "holder", "kind", "name")

    def __init__(self, holder: dict[Any, Any], name: str = "a dict that outlives it") -> None:
        self.holder, self.name = holder, name
        self.kind: Any = OrderedDict if isinstance(holder, OrderedDict) else dict
        self.before = dict(self.kind.items(holder))

    def changed(self) -> bool:
        now = self.kind.items(self.holder)
        if len(self.holder) != len(self.before):
            return True
        pairs = zip(list(now), self.before.items(), strict=True)
        return any(v is not w or k is not m for (k, v), (m, w) in pairs)

    def gained(self) -> bool:
        now = dict(self.kind.items(self.holder))
        return all(_kept(now.get(k, _ABSENT), v) for k, v in self.before.items())

    def values(self) -> Iterable[Any]:
        return [*self.kind.keys(self.holder), *self.kind.values(self.holder)]

    def restore(self) -> None:
        self.kind.clear(self.holder)
        self.kind.update(self.holder, self.before)


class _Items(_Part):
    """A list, set, deque, bytearray or array of the standard library."""

    __slots__ = ("before", "holder", "name")

    def __init__(self, holder: Any) -> None:
        self.holder, self.name = holder, f"a {type(holder).__name__} that outlives it"
        self.before = bytes(holder) if isinstance(holder, (bytearray, array)) else list(holder)

    def changed(self) -> bool:
        if isinstance(self.holder, (bytearray, array)):
            return bytes(self.holder) != self.before
        now = list(self.holder)
        return len(now) != len(self.before) or any(map(operator.is_not, now, self.before))

    def gained(self) -> bool:
        return isinstance(self.holder, set) and self.holder.issuperset(self.before)

    def values(self) -> Iterable[Any]:
        return list(self.holder)

    def restore(self) -> None:
        holder = self.holder
        if isinstance(holder, list):
            list.__setitem__(holder, slice(None), self.before)
        elif isinstance(holder, bytearray):
            holder[:] = self.before
        elif isinstance(holder, array):
            del holder[:]
            holder.frombytes(self.before)  # type: ignore[arg-type]
        else:
            holder.clear()
            (holder.extend if isinstance(holder, deque) else holder.update)(self.before)


class _Names(_Part):
    """Some names of globals, of a module or of a decorated function."""

    __slots__ = ("before", "holder", "name")

    def __init__(self, holder: Any, names: Iterable[str], owner: str = "") -> None:
        self.holder = holder
        self.before = {name: holder.get(name, _ABSENT) for name in names}
        self.name = f"an attribute of a {owner}" if owner else "a global"

    def changed(self) -> bool:
        get = self.holder.get
        return any(get(name, _ABSENT) is not value for name, value in self.before.items())

    def gained(self) -> bool:
        get = self.holder.get
        return all(_kept(get(name, _ABSENT), v) for name, v in self.before.items())

    def values(self) -> Iterable[Any]:
        return [self.holder.get(name) for name in self.before]

    def restore(self) -> None:
        for name, value in self.before.items():
            if value is not _ABSENT:
                self.holder[name] = value
            else:
                self.holder.pop(name, None)


class _Cell(_Part):
    __slots__ = ("before", "cell")
    name = "a variable of a function around it"

    def __init__(self, cell: types.CellType) -> None:
        self.cell = cell
        self.before = _content(cell)

    def changed(self) -> bool:
        return _content(self.cell) is not self.before

    def gained(self) -> bool:
        return _kept(_content(self.cell), self.before)

    def values(self) -> Iterable[Any]:
        return (_content(self.cell),)

    def restore(self) -> None:
        if self.before is _ABSENT:
            del self.cell.cell_contents
        else:
            self.cell.cell_contents = self.before


class _Slots(_Part):
    __slots__ = ("before", "members", "name", "owner")

    def __init__(self, owner: Any, members: tuple[Any, ...]) -> None:
        self.owner, self.members = owner, members
        self.name = f"an attribute of a {type(owner).__name__}"
        self.before = self.values()

    def changed(self) -> bool:
        return any(
            now is not held for now, held in zip(self.values(), self.before, strict=True)
        )

    def gained(self) -> bool:
        return all(map(_kept, self.values(), self.before))

    def values(self) -> list[Any]:
        found = []
        for member in self.members:
            try:
                found.append(member.__get__(self.owner))
            except AttributeError:
                found.append(_ABSENT)
        return found

    def restore(self) -> None:
        for member, now, before in zip(self.members, self.values(), self.before, strict=True):
            if before is _ABSENT and now is not _ABSENT:
                member.__delete__(self.owner)
            elif before is not now:
                member.__set__(self.owner, before)


class _Class(_Part):
    __slots__ = ("before", "kind", "name")

    def __init__(self, kind: type) -> None:
        self.kind, self.name = kind, f"an attribute of the class {kind.__name__}"
        self.before = dict(vars(kind))

    def changed(self) -> bool:
        now = vars(self.kind)
        if len(now) != len(self.before):
            return True
        return any(now.get(name, _ABSENT) is not v for name, v in self.before.items())

    def gained(self) -> bool:
        now = vars(self.kind)
        return all(_kept(now.get(name, _ABSENT), v) for name, v in self.before.items())

    def values(self) -> Iterable[Any]:
        return list(vars(self.kind).values())

    def restore(self) -> None:
        for name in [n for n in vars(self.kind) if n not in self.before]:
            type.__delattr__(self.kind, name)
        for name, value in self.before.items():
            if vars(self.kind).get(name, _ABSENT) is not value:
                type.__setattr__(self.kind, name, value)


class _Elements(_Part):
    """The elements of an array."""

    __slots__ = ("array", "before")
    name = "an array that outlives it"

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array.view(np.ndarray)
        self.before = self.array.copy(order="K")

    def changed(self) -> bool:
        if self.array.dtype.hasobject:
            pairs = zip(self.array.ravel(), self.before.ravel(), strict=True)
            return any(a is not b for a, b in pairs)
        return self.array.tobytes() != self.before.tobytes()

    def values(self) -> Iterable[Any]:
        return self.array.ravel().tolist() if self.array.dtype.hasobject else ()

    def restore(self) -> None:
        self.array[...] = self.before


class _Numbers(_Part):
    """A random generator."""

    __slots__ = ("before", "name", "put", "read")

    def __init__(
        self, name: str, read: Callable[[], Any], put: Callable[[Any], object]
    ) -> None:
        self.name, self.read, self.put = name, read, put
        self.before = read()

    def changed(self) -> bool:
        return not _equal(self.read(), self.before)

    def restore(self) -> None:
        self.put(self.before)


class _Cached(_Part):
    """A function with an lru_cache, which gives no way to put entries back: what came is taken
    out of the dict behind it. What it drops to make room, and its counters, stay as they are.
    """

    __slots__ = ("before", "function", "misses")
    name = "the cache of a function"

    def __init__(self, function: Any) -> None:
        self.function, self.misses = function, function.cache_info().misses
        self.before = frozenset(map(id, self._entries()))

    def _entries(self) -> dict[Any, Any]:
        """By keys that lru_cache made what it holds: results, or links to them."""
        own = self.function.__dict__
        held = [x for x in gc.get_referents(self.function) if type(x) is dict and x is not own]
        size = self.function.cache_info().currsize
        return held[0] if len(held) == 1 and len(held[0]) == size else {}

    def changed(self) -> bool:
        return bool(self.function.cache_info().misses != self.misses)

    def gained(self) -> bool:
        return True

    def values(self) -> Iterable[Any]:
        # where there are links, the garbage collector sees their keys and results here
        held = [x for x in gc.get_referents(self.function) if type(x) is not dict]
        links = self.function.cache_parameters()["maxsize"] is not None
        return held if links else [*held, *self._entries(), *self._entries().values()]

    def restore(self) -> None:
        entries = self._entries()
        if not entries:
            self.function.cache_clear()
            self.misses = 0
            return
        for key in [k for k in list(entries) if id(k) not in self.before]:
            entries.pop(key, None)
        self.misses = self.function.cache_info().misses


@functools.cache
def _standard() -> frozenset[str]:
    return frozenset(sys.stdlib_module_names)


def _kept(now: Any, before: Any) -> bool:
    """Whether a value is still there, or there was none."""
    return now is before or before is _ABSENT or before is None


def memory_owner(array: Any) -> Any:
    """What the memory of an array belongs to."""
    while isinstance(array, (np.ndarray, memoryview)):
        base = array.base if isinstance(array, np.ndarray) else array.obj
        if base is None:
            break
        array = base
    return array


def _of_library(module: Any) -> bool:
    """Whether a module's code is known to keep nothing that a trace could leave with it."""
    root = str(module).partition(".")[0]
    return root in _LIBRARIES or root in _standard()


def _made_in_python(kind: type) -> bool:
    """Whether objects of a class have attributes and slots and nothing else: no memory that
    only C code knows.
    """
    slots = sum(
        isinstance(member, types.MemberDescriptorType)
        for k in kind.__mro__
        if k.__flags__ & _HEAP
        for member in vars(k).values()
    )
    words = slots + (kind.__dictoffset__ > 0) + (kind.__weakrefoffset__ > 0)
    return kind.__basicsize__ <= object.__basicsize__ + 8 * words


_HEAP = 1 << 9  # Py_TPFLAGS_HEAPTYPE


def _words(code: types.CodeType) -> set[str]:
    """The names that the code has as text: keywords, arguments of getattr."""
    found: set[str] = set()
    todo: list[Any] = list(code.co_consts)
    while todo:
        value = todo.pop()
        if type(value) is str:
            found.add(value)
        elif type(value) is tuple:
            todo += value
        elif isinstance(value, types.CodeType):
            todo += value.co_consts
    return found


def _stores(code: types.CodeType) -> bool:
    """Whether code has `x[...] = v` or `x += v`."""
    import dis

    stores = {dis.opmap[n] for n in ("STORE_SUBSCR", "STORE_SLICE") if n in dis.opmap}
    binary, raw = dis.opmap["BINARY_OP"], code.co_code
    if not stores.isdisjoint(raw[::2]):
        return True
    if any(
        o == binary and a >= _FIRST_IN_PLACE for o, a in zip(raw[::2], raw[1::2], strict=True)
    ):
        return True
    return any(_stores(c) for c in code.co_consts if isinstance(c, types.CodeType))


def _numpy_random() -> bool:
    """Whether NumPy's generators are loaded. NumPy loads them when they are first used, and
    before that there are none; to load them here would take a tenth of a first call.
    """
    return "numpy.random" in sys.modules


def _numpy_state() -> Any:
    return np.random.get_state(legacy=False)


def _state_when_loaded() -> Any:
    """The state of NumPy's own generator as it was when NumPy made it."""
    seed: Any = np.random.get_bit_generator().seed_seq  # type: ignore[attr-defined]
    return np.random.RandomState(np.random.MT19937(seed)).get_state(legacy=False)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name no longer bound
        return _ABSENT


def _equal(left: Any, right: Any) -> bool:
    """Whether two states, nested as NumPy and Python nest them, are the same."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_equal(v, right[k]) for k, v in left.items())
    if isinstance(left, tuple):  # Python's, without arrays
        return bool(left == right)
    if isinstance(left, np.ndarray):
        return bool(np.array_equal(left, right))
    return bool(left == right)


__all__ = ["HARMLESS", "MAX_BYTES", "MAX_OBJECTS", "PLAIN", "SideEffects", "memory_owner"]
