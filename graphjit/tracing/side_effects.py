"""What a trace changes outside of the function, and how it is put back.

A trace runs the function's Python code once, and compiled calls never run it. What that code
changes outside must not stay changed, traced values above all. Before the trace, a snapshot is
therefore taken of all that the code can reach besides its arguments:

- closure cells, and the globals that the code names,
- defaults and attributes of functions,
- objects and classes, with the attributes that some code names,
- containers, arrays and random generators,
- the same of every function that the code may call, libraries excepted.

After the trace, however it ended, what differs is put back. The function can then run eagerly
from where it started.

Some objects can't be put back: a file, an iterator, an object of an unknown C type. Where one
can be reached, or more than can be looked through, there is a `reason` not to trace at all.
"""

from __future__ import annotations

import functools
import gc
import operator
import random
import re
import signal
import sys
import types
import weakref
from abc import ABC
from array import array
from collections import defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.static_lookup import is_decorated, own_attributes, python_function
from graphjit.core.types import DType, TensorSpec
from graphjit.tensors.apply import TensorBase

from .code_names import names_in, string_constants
from .leaks import holds_traced
from .snapshots import (
    ABSENT,
    CellSnapshot,
    ClassSnapshot,
    ElementsSnapshot,
    GeneratorSnapshot,
    ItemsSnapshot,
    LruCacheSnapshot,
    MappingSnapshot,
    NamesSnapshot,
    SlotsSnapshot,
    Snapshot,
    equal_states,
    initial_numpy_state,
    numpy_random_loaded,
    read_numpy_state,
)

# How many objects are looked through.
MAX_OBJECTS = 50_000
# How many bytes of arrays are copied.
MAX_BYTES = 1 << 26

# Types whose objects never change.
IMMUTABLE_TYPES = frozenset({
    int, float, complex, bool, str, bytes, type(None), types.EllipsisType, types.CodeType,
    types.NotImplementedType, range, slice, np.dtype, DType, TensorSpec,
    *(np.dtype(code).type for code in "?bhilqBHILQefdgFDG"),
})  # fmt: skip
# Types whose objects hold nothing that a call could change and a result depend on.
STATELESS_TYPES: tuple[Any, ...] = (
    int, float, complex, str, bytes, np.generic, np.dtype, np.ufunc, Enum, Decimal, date, time,
    timedelta, tzinfo, re.Pattern, re.Match, BaseException, types.GenericAlias,
    types.BuiltinFunctionType, types.WrapperDescriptorType, types.MethodDescriptorType,
    types.MethodWrapperType, types.GetSetDescriptorType, types.MemberDescriptorType,
    types.ClassMethodDescriptorType, operator.itemgetter, operator.attrgetter,
    operator.methodcaller, type(np.sum), TensorBase, Dim, DType, TensorSpec,
    type(namedtuple("Fields", "one").one), type(vars(ABC)["_abc_impl"]),  # type: ignore[attr-defined]
)  # fmt: skip
_LOCKS = ("lock", "RLock", "_thread.lock", "_thread.RLock")
# The type of scipy.fft's functions.
_TRANSFORM = ("uarray", "_Function")
# pytest: it writes calls of its own into `assert`.
_LIBRARIES = frozenset(
    {"numpy", "graphjit", "scipy", "ml_dtypes", "builtins", "pytest", "_pytest", "hypothesis"}
)
# Code that names one of these may read or write attributes that it doesn't name.
_BY_ANY_NAME = frozenset({
    "__dict__", "vars", "getattr", "setattr", "delattr", "__setattr__", "__getattribute__",
    "__delattr__", "attrgetter", "methodcaller", "eval", "exec", "globals", "locals",
})  # fmt: skip


class _DeferredName:
    """A global or module attribute that no code has named yet."""

    __slots__ = ("namespace",)

    def __init__(self, namespace: Any) -> None:
        self.namespace = namespace


def _is_alone() -> bool:
    """Whether no other Python code runs meanwhile: no other thread, no handler of a signal."""
    if len(sys._current_frames()) > 1:
        return False
    known = (None, signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler)
    return all(signal.getsignal(number) in known for number in signal.valid_signals())


class SideEffects:
    """Snapshots of all that a function can reach, taken when this is made."""

    def __init__(self, function: Callable[..., Any], statics: Sequence[Any]) -> None:
        # Why the function can't be traced: changes couldn't be put back. Empty where it can.
        self.reason = ""
        # Whether all that `find_problem` found is that something missing, or None, was made.
        # That is done once.
        self.only_filled_in = False
        self._was_alone = _is_alone()
        self._snapshots: list[Snapshot] = []
        # The objects that were looked at, by id.
        self._seen: dict[int, Any] = {}
        # Names in code that may run, as identifiers or as text.
        self._mentioned: set[str] = set()
        self._codes: list[types.CodeType] = []
        # By name: values of attributes that no code has named yet.
        self._deferred: dict[str, list[Any]] = {}
        # Whether some code may use attributes that it doesn't name.
        self._uses_any_name = False
        self._arrays: list[np.ndarray[Any, Any]] = []
        # Ids of what owns the memory that can be reached, made when asked for.
        self._owners: set[int] | None = None
        # How many items of containers were looked at.
        self._scanned = 0
        self._queue: list[Any] = [*statics, function]
        while self._queue and not self.reason:
            self._visit(self._queue.pop())
            if len(self._seen) + self._scanned // 16 > MAX_OBJECTS:
                self.reason = (
                    f"can reach more than {MAX_OBJECTS} objects, which it might change"
                )
        if not self.reason:
            self._snapshot_arrays()
        self._add_snapshot(
            GeneratorSnapshot("the random module", random.getstate, random.setstate)
        )
        self._numpy_before = numpy_random_loaded()
        if self._numpy_before:
            self._add_snapshot(
                GeneratorSnapshot("np.random", read_numpy_state, np.random.set_state)
            )

    def find_problem(self) -> str:
        """What the trace changed that a compiled call would not; empty for nothing."""
        changed = [snapshot for snapshot in self._snapshots if snapshot.changed()]
        if not self.can_stay():
            return "stores a traced value where it outlives the call"
        drawn = any(isinstance(snapshot, GeneratorSnapshot) for snapshot in changed)
        if numpy_random_loaded() and not self._numpy_before:
            drawn |= not equal_states(read_numpy_state(), initial_numpy_state())
        self.only_filled_in = (
            bool(changed) and not drawn and all(snapshot.gained() for snapshot in changed)
        )
        if drawn:
            return "draws random numbers, which compiled code would repeat"
        if changed:
            return f"changes {changed[0].name}, which compiled code would not"
        return ""

    def settle(self, made: Any) -> None:
        """Let what differs until now stay as it is, whatever the trace comes to, and an object
        that was made meanwhile be one that was there before.
        """
        self._snapshots = [s.renewed() if s.changed() else s for s in self._snapshots]
        known = len(self._arrays)
        self._enqueue((made,))
        while self._queue and not self.reason:
            self._visit(self._queue.pop())
        for new in self._arrays[known:]:
            self._add_snapshot(ElementsSnapshot(new))
        self._owners = None

    def can_stay(self) -> bool:
        """Whether what differs can stay as it is: it holds no traced value."""
        changed = [snapshot for snapshot in self._snapshots if snapshot.changed()]
        return not any(holds_traced(x) for snapshot in changed for x in snapshot.values())

    def restore(self) -> bool:
        """Put back what differs; whether anything did.

        Where other threads or handlers of signals may have made it, only what holds traced
        values is put back: the hooks of a trace write nothing themselves.
        """
        changed = [snapshot for snapshot in self._snapshots if snapshot.changed()]
        alone = self._was_alone and _is_alone()
        for snapshot in changed:
            if alone or any(map(holds_traced, snapshot.values())):
                snapshot.restore()
        if alone and numpy_random_loaded() and not self._numpy_before:
            np.random.set_state(initial_numpy_state())
        return bool(changed)

    def note_existing(self, value: Any) -> None:
        """Note that an object was there before, though it wasn't reached then."""
        if id(value) not in self._seen:
            self._seen[id(value)] = value
            if isinstance(value, np.ndarray):
                self._arrays.append(value)
                self._owners = None

    def existed(self, value: Any) -> bool:
        """Whether an object was there before the trace."""
        return id(value) in self._seen

    def memory_existed(self, array: Any) -> bool:
        """Whether an array lies in memory of what was there before the trace."""
        if self._owners is None:
            self._owners = {*self._seen, *(id(memory_owner(a)) for a in self._arrays)}
        return id(array) in self._owners or id(memory_owner(array)) in self._owners

    # -- what can be reached

    def _add_snapshot(self, part: Snapshot) -> None:
        self._snapshots.append(part)

    def _enqueue(self, values: Iterable[Any]) -> None:
        """Look at these values later, unless nothing can change them."""
        self._queue += [x for x in values if type(x) not in IMMUTABLE_TYPES]

    def _visit(self, value: Any) -> None:
        kind = type(value)
        if kind in IMMUTABLE_TYPES or id(value) in self._seen:
            return
        self._seen[id(value)] = value
        if isinstance(value, np.ndarray):
            self._arrays.append(value)
            if value.dtype.hasobject:
                self._enqueue(value.ravel().tolist())
            if kind is not np.ndarray:
                self._visit_attributes(value, kind)
        elif isinstance(value, types.FunctionType):
            self._visit_function(value)
        elif isinstance(value, types.MethodType):
            self._enqueue((value.__self__, value.__func__))
        elif isinstance(value, types.ModuleType):
            if not _is_library(value.__name__):
                self._visit_named(vars(value), True)
        elif isinstance(value, type):
            self._visit_class(value)
        elif isinstance(value, np.ufunc):  # made by np.frompyfunc
            own = getattr(value, "__dict__", None)  # where NumPy keeps its signature
            self._enqueue(x for x in gc.get_referents(value) if x is not own)
        elif isinstance(value, types.BuiltinFunctionType):  # `items.append`
            owner = value.__self__
            if owner is not None and not isinstance(owner, (types.ModuleType, type)):
                self._enqueue((owner,))
        elif isinstance(value, functools.partial):
            self._enqueue((value.func, *value.args, *value.keywords.values()))
        elif isinstance(value, (staticmethod, classmethod)):
            self._enqueue((value.__func__,))
        elif isinstance(value, property):
            self._enqueue((value.fget, value.fset, value.fdel))
        elif isinstance(value, functools.cached_property):
            self._enqueue((value.func,))
        elif isinstance(value, functools._lru_cache_wrapper):
            self._add_snapshot(cached := LruCacheSnapshot(value))
            self._enqueue((value.__wrapped__, *cached.values()))
        elif isinstance(value, types.MappingProxyType):
            self._enqueue((*value.keys(), *value.values()))
        elif isinstance(value, weakref.ref):
            self._enqueue((value(),))
        elif isinstance(value, types.CellType):
            self._visit_cell(value)
        elif isinstance(value, (list, dict, set, deque, bytearray, array, tuple, frozenset)):
            self._visit_container(value)
            if kind.__module__ not in ("builtins", "collections", "array"):
                self._visit_attributes(value, kind)
        elif not self._visit_generator(value):
            self._visit_object(value, kind)

    def _visit_container(self, value: Any) -> None:
        if isinstance(value, dict):
            self._add_snapshot(MappingSnapshot(value))
            items: Any = [*dict.keys(value), *dict.values(value)]
            if isinstance(value, defaultdict):
                self._enqueue((value.default_factory,))
        elif isinstance(value, (tuple, frozenset)):
            items = value
        else:
            self._add_snapshot(ItemsSnapshot(value))
            items = () if isinstance(value, (bytearray, array)) else list(value)
        self._scanned += len(items)
        if self._scanned // 16 <= MAX_OBJECTS:
            self._enqueue(items)

    def _visit_generator(self, value: Any) -> bool:
        """Whether a value is a random generator, which is noted."""
        if isinstance(value, random.Random):
            if isinstance(value, random.SystemRandom):
                self.reason = "draws random numbers, which compiled code would repeat"
            else:
                self._add_snapshot(
                    GeneratorSnapshot("a random.Random", value.getstate, value.setstate)
                )
            return True
        if not numpy_random_loaded():
            return False
        if isinstance(value, np.random.Generator):
            value = value.bit_generator
        if isinstance(value, np.random.RandomState):
            read = functools.partial(value.get_state, legacy=False)
            self._add_snapshot(GeneratorSnapshot("a RandomState", read, value.set_state))
        elif isinstance(value, np.random.BitGenerator):
            bits: Any = value

            def put(state: Any) -> None:
                bits.state = state

            self._add_snapshot(GeneratorSnapshot("a Generator", lambda: bits.state, put))
            if "spawn" in self._mentioned:
                self.reason = "spawns random generators, which can't be undone"
        else:
            return isinstance(value, np.random.SeedSequence)
        return True

    def _visit_object(self, value: Any, kind: type) -> None:
        own = kind.__module__.partition(".")[0] == "graphjit"
        if is_decorated(kind):
            self._enqueue((python_function(value),))
            attributes = vars(value)
            names = [k for k in attributes if k != "__wrapped__"]
            self._add_snapshot(NamesSnapshot(attributes, names, kind.__name__))
            self._enqueue(attributes[k] for k in names)
        elif (
            isinstance(value, STATELESS_TYPES)
            or kind.__name__ in _LOCKS
            or (kind.__module__, kind.__name__) == _TRANSFORM
        ):
            return
        elif not own and not _is_python_object(kind):
            return  # only C code changes it, of which nothing is called that isn't known
        else:
            self._visit_attributes(value, kind)

    def _visit_attributes(self, value: Any, kind: type) -> None:
        """An object's attributes, and what its class has."""
        library = any(_is_library(k.__module__) for k in kind.__mro__ if k is not object)
        attributes = own_attributes(value)
        if kind.__dictoffset__:
            self._add_snapshot(
                MappingSnapshot(attributes, f"an attribute of a {kind.__name__}")
            )
            self._visit_named(attributes, everything=library)
        slots = {
            name: member
            for k in kind.__mro__
            for name, member in vars(k).items()
            if isinstance(member, types.MemberDescriptorType)
        }
        if slots and not isinstance(value, (dict, list)):
            part = SlotsSnapshot(value, tuple(slots.values()))
            self._add_snapshot(part)
            held = zip(slots, part.before, strict=True)
            self._visit_named({k: v for k, v in held if v is not ABSENT}, everything=library)
        self._queue.append(kind)

    def _visit_class(self, kind: type) -> None:
        if _is_library(kind.__module__) or isinstance(kind, type(Enum)):
            return
        self._add_snapshot(ClassSnapshot(kind))
        self._visit_named(vars(kind))
        self._enqueue(kind.__bases__)
        self._enqueue((type(kind),))

    def _visit_named(
        self, attributes: Mapping[str, Any], note: bool = False, everything: bool = False
    ) -> None:
        """Look at the attributes that some code names, now or when there is such code. note:
        names of a module or of globals, each by itself.
        """
        everything = (everything or self._uses_any_name) and not note
        for name, value in list(attributes.items()):
            if type(value) in IMMUTABLE_TYPES and not note:
                continue
            if (
                everything
                or name in self._mentioned
                or (name[:2] == name[-2:] == "__" and not note)
            ):
                if note:
                    self._add_snapshot(NamesSnapshot(attributes, [name]))
                self._enqueue((value,))
            else:
                held = _DeferredName(attributes) if note else value
                self._deferred.setdefault(name, []).append(held)

    def _visit_function(self, function: types.FunctionType) -> None:
        for cell in function.__closure__ or ():
            self._visit_cell(cell)
        self._enqueue(function.__defaults__ or ())
        self._enqueue((function.__kwdefaults__,))
        attributes = vars(function)
        self._add_snapshot(MappingSnapshot(attributes, f"an attribute of {function.__name__}"))
        self._enqueue(attributes.values())
        if not _is_library(function.__module__ or ""):
            self._visit_code(function.__code__, function.__globals__)

    def _visit_cell(self, cell: types.CellType) -> None:
        self._add_snapshot(part := CellSnapshot(cell))
        self._enqueue(() if part.before is ABSENT else (part.before,))

    def _visit_code(self, code: types.CodeType, names: dict[str, Any]) -> None:
        if id(code) in self._seen:
            return
        self._seen[id(code)] = code
        self._codes.append(code)
        self._note_constants(code)
        named = list(dict.fromkeys(names_in(code)))
        self._add_snapshot(NamesSnapshot(names, named))
        self._enqueue(names[n] for n in named if n in names)
        package = names.get("__package__")
        for name in named:  # those that it imports
            for full in (name, f"{package}.{name}"):
                module = sys.modules.get(full)
                if module is not None and not _is_library(full):
                    self._queue.append(module)
        for name in {*named, *string_constants(code)} - self._mentioned:
            self._mentioned.add(name)
            for value in self._deferred.pop(name, ()):
                if isinstance(value, _DeferredName):
                    self._add_snapshot(NamesSnapshot(value.namespace, [name]))
                    value = value.namespace.get(name)
                self._enqueue((value,))
        if not self._uses_any_name and not self._mentioned.isdisjoint(_BY_ANY_NAME):
            self._uses_any_name = True
            later = [x for held in self._deferred.values() for x in held]
            self._deferred.clear()
            self._enqueue(x for x in later if not isinstance(x, _DeferredName))

    def _note_constants(self, code: types.CodeType) -> None:
        """Note the tuples that are constants of code, and of code in it."""
        for value in code.co_consts:
            if isinstance(value, types.CodeType):
                self._note_constants(value)
            elif type(value) in (tuple, frozenset):
                self._seen[id(value)] = value

    def _snapshot_arrays(self) -> None:
        """Copy arrays, up to MAX_BYTES of them, in case code without hooks writes into them.

        What code with hooks writes is in the overlay, and the trace has a checksum of each
        array that it reads.
        """
        room = MAX_BYTES
        for a in sorted(self._arrays, key=lambda a: a.nbytes):
            room -= a.nbytes if a.flags.writeable else 0
            if a.flags.writeable and room >= 0:
                self._add_snapshot(ElementsSnapshot(a))


@functools.cache
def _standard_modules() -> frozenset[str]:
    return frozenset(sys.stdlib_module_names)


def memory_owner(array: Any) -> Any:
    """What the memory of an array belongs to."""
    while isinstance(array, (np.ndarray, memoryview)):
        base = array.base if isinstance(array, np.ndarray) else array.obj
        if base is None:
            break
        array = base
    return array


def _is_library(module: Any) -> bool:
    """Whether a module's code is known to keep nothing that a trace could leave with it."""
    root = str(module).partition(".")[0]
    return root in _LIBRARIES or root in _standard_modules()


def _is_python_object(kind: type) -> bool:
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


__all__ = [
    "IMMUTABLE_TYPES",
    "MAX_BYTES",
    "MAX_OBJECTS",
    "STATELESS_TYPES",
    "SideEffects",
    "memory_owner",
]
