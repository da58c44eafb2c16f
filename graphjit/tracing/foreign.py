"""Foreign objects: their contents can change, and no guard or input follows them.

A traced function would see their contents as they are at the trace, and NumPy reads them
without a symbolic tensor noticing. They are data frames, tensors of other libraries,
`array.array`, memoryviews, iterators, all that converts itself to an array, and subclasses of
containers and of ndarray; as arguments deques and sets, too. A function that is given one, or
reaches one by the names in its code, isn't traced and runs eagerly.

Not foreign are ndarrays (with `np.memmap`, whose results are ndarrays), tensors, variables,
tuples, lists and dicts, and objects with attributes that are none of the above.
"""

from __future__ import annotations

import dataclasses
import io
import os
import sys
import types
import weakref
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from enum import Enum
from functools import partial
from typing import Any

import numpy as np

from graphjit.core.static_lookup import code_of, own_attributes, python_function, underlying
from graphjit.core.types import SECOND_LONGS
from graphjit.tensors.apply import TensorBase

from .code_names import names_in

DEPTH = 5
MAX_OBJECTS = 2_000
# Types whose objects are read anew at each call, are guarded by value, or can't change.
_FOLLOWED = (
    TensorBase, np.generic, np.dtype, np.ufunc, str, bytes, range, frozenset, type, Enum,
    types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType,
)  # fmt: skip
_CONTAINERS = (tuple, list, dict, OrderedDict, defaultdict)
_ARRAY_LIKE = (
    "__array__", "__array_interface__", "__array_struct__", "__dlpack__",
    "__cuda_array_interface__", "__buffer__",
)  # fmt: skip
_SEQUENCES = (Mapping, Set, Sequence, Iterator, np.nditer)
# What isn't an argument: the code's own hooks see what it does with these.
_SEEN_BY_HOOKS = (set, deque, Iterator, io.TextIOBase, os._Environ, Counter)
# Whether all objects of a type are foreign.
_type_verdicts: weakref.WeakKeyDictionary[type, bool] = weakref.WeakKeyDictionary()


def is_foreign(value: Any) -> bool:
    """Whether an object's contents can change unnoticed."""
    kind = type(value)
    if kind is np.ndarray or kind is np.memmap:
        # C's long long is another type than its long, which is as wide
        dtype = value.dtype
        return (
            dtype.kind not in "biufcV" or dtype.char in SECOND_LONGS or dtype.names is not None
        )
    found = _type_verdicts.get(kind)
    if found is None:
        found = _type_verdicts[kind] = _is_foreign_type(kind) or _has_buffer(value)
    if found or issubclass(kind, _FOLLOWED):
        return found
    if kind in weakref.ProxyTypes:
        return any(hasattr(value, name) for name in _ARRAY_LIKE)
    own = own_attributes(value)
    if not own.keys().isdisjoint(_ARRAY_LIKE):  # NumPy asks the object
        return True
    return _forwards_attributes(kind) and any(map(_is_array, _held_values(value, own)))


def _held_values(value: Any, own: dict[str, Any]) -> Iterator[Any]:
    """What an object has in its attributes and slots."""
    yield from own.values()
    for kind in type(value).__mro__:
        for member in list(vars(kind).values()):
            if isinstance(member, types.MemberDescriptorType):
                try:
                    yield member.__get__(value)
                except AttributeError:  # not set
                    continue


def _is_array(value: Any) -> bool:
    return isinstance(value, (np.ndarray, TensorBase)) or _is_foreign_type(type(value))


def _forwards_attributes(kind: type) -> bool:
    """Whether `__getattr__` of a type may give the attributes of another object, by its code.

    It isn't called, for it may do anything.
    """
    known = _forwarding_types.get(kind)
    if known is None:
        found = next(
            (vars(k)["__getattr__"] for k in kind.__mro__ if "__getattr__" in vars(k)), None
        )
        code = code_of(found)
        names = set() if code is None else set(names_in(code))
        known = found is not None and (code is None or not names.isdisjoint(_FORWARDING_NAMES))
        _forwarding_types[kind] = known
    return known


# Names in the code of a `__getattr__` that asks another object.
_FORWARDING_NAMES = frozenset(
    {"getattr", "attrgetter", "__getattr__", "__getattribute__", "eval"}
)
# Whether objects of a type forward attributes.
_forwarding_types: weakref.WeakKeyDictionary[type, bool] = weakref.WeakKeyDictionary()


def _is_foreign_type(kind: type) -> bool:
    if kind in _CONTAINERS or issubclass(kind, _FOLLOWED) or dataclasses.is_dataclass(kind):
        return False
    if kind.__module__.startswith("graphjit."):
        return False
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return False
    return issubclass(kind, _SEQUENCES) or any(hasattr(kind, name) for name in _ARRAY_LIKE)


def _has_buffer(value: Any) -> bool:
    """Whether an object has a buffer. Types say so from Python 3.12 on only."""
    if issubclass(type(value), _FOLLOWED):
        return False
    try:
        memoryview(value).release()
    except Exception:
        return False  # whatever it raises: NumPy has no memory of it either
    return True


def find_foreign(function: Callable[..., Any], statics: Sequence[Any]) -> str:
    """What foreign object a function can reach by closure, defaults, the globals and attributes
    that its code names, and objects among its arguments; an empty string if none.
    """
    names: set[str] = set()
    before = -1
    # methods that are found bring names of their own
    while len(names) > before:
        before = len(names)
        found = _search([("its function", function), *(("self", x) for x in statics)], names)
        if found:
            return found
    return ""


def _search(start: list[tuple[str, Any]], names: set[str]) -> str:
    todo = [(where, value, 0) for where, value in start]
    seen: set[int] = set()
    while todo and len(seen) < MAX_OBJECTS:
        where, value, depth = todo.pop(0)
        if id(value) in seen or depth > DEPTH:
            continue
        seen.add(id(value))
        # a memmap is an input as an argument only
        foreign = is_foreign(value) and not isinstance(value, _SEEN_BY_HOOKS)
        if foreign or type(value) is np.memmap:
            return f"{where} ({type(value).__name__})"
        todo += [(w, v, depth + 1) for w, v in _children(where, value, names)]
    return ""


def _children(where: str, value: Any, names: set[str]) -> list[tuple[str, Any]]:
    """What can be read of a value by names in the code, or by iterating over it."""
    value = python_function(value)
    if isinstance(value, types.MethodType):
        return [(where, value.__func__), (where, value.__self__)]
    if isinstance(value, partial):
        return [(where, x) for x in (value.func, value.args, value.keywords)]
    if isinstance(value, types.FunctionType):
        library = _is_library(value.__globals__.get("__name__"))
        return [] if library else _function_children(value, names)
    if isinstance(value, types.ModuleType):
        held = vars(value)
        found = [(f"{where}.{name}", held[name]) for name in names & held.keys()]
        if _is_library(value.__name__):
            return [(w, v) for w, v in found if v is os.environ]
        return [(w, v) for w, v in found if not isinstance(v, (types.FunctionType, type))]
    if isinstance(value, dict):
        return [(f"{where}[{k!r}]", v) for k, v in list(value.items())[:1000]]
    if isinstance(value, (list, tuple)):
        return [(f"{where}[{k}]", v) for k, v in enumerate(value[:1000])]
    if isinstance(value, (*_FOLLOWED, np.ndarray, int, float, complex)):
        return []
    for kind in type(value).__mro__[:-1]:
        _add_methods(kind, names)
    own = own_attributes(value)
    return [(f"{where}.{name}", own[name]) for name in names & own.keys()]


def _function_children(function: types.FunctionType, names: set[str]) -> list[tuple[str, Any]]:
    code, held = function.__code__, function.__globals__
    own = set(names_in(code))
    names |= own
    found: list[tuple[str, Any]] = []
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            found.append((name, cell.cell_contents))
        except ValueError:  # a name not yet bound
            continue
    found += [("a default", x) for x in function.__defaults__ or ()]
    found += list((function.__kwdefaults__ or {}).items())
    return found + [(name, held[name]) for name in own if name in held]


def _add_methods(kind: type, names: set[str]) -> None:
    """Add the names in the code of a class's methods that may be called: those named, and those
    that Python calls.
    """
    if _is_library(kind.__module__):
        return
    for name, item in list(vars(kind).items()):
        if name in names or (name.startswith("__") and name != "__init__"):
            item = item.fget if isinstance(item, property) else item
            item = underlying(python_function(item))
            if isinstance(item, types.FunctionType):
                names.update(names_in(item.__code__))


def _is_library(module: str | None) -> bool:
    """Whether a module belongs to Python, NumPy, SciPy or graphjit: its code isn't searched."""
    top = (module or "").partition(".")[0]
    return top in ("numpy", "scipy", "graphjit") or top in sys.stdlib_module_names - {"test"}


__all__ = ["find_foreign", "is_foreign"]
