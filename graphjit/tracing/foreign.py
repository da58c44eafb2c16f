"""Objects whose contents can change and that no guard or input follows.

A traced function would see them as they are at the trace, and NumPy reads them without its
knowledge: data frames, tensors of other libraries, `array.array`, memoryviews, deques, sets,
iterators, all that converts itself to an array, subclasses of containers and of ndarray. A
function that is given one, or reaches one by its names, isn't traced but runs as it is.

ndarrays (`np.memmap` included, whose results are ndarrays), tensors, variables, tuples, lists
and dicts have ways of their own; so have objects that are none of these, by their attributes.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import types
import weakref
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from enum import Enum
from functools import partial
from typing import Any

import numpy as np

from graphjit.core.static_lookup import code_of, own_attributes, python_function, underlying
from graphjit.tensors.apply import TensorBase

DEPTH = 5
MAX_OBJECTS = 2_000
# What is read anew, guarded by value or can't change.
_OWN = (
    TensorBase, np.generic, np.dtype, np.ufunc, str, bytes, range, frozenset, type, Enum,
    types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType,
)  # fmt: skip
_CONTAINERS = (tuple, list, dict, OrderedDict, defaultdict)
_ARRAY_LIKE = (
    "__array__", "__array_interface__", "__array_struct__", "__dlpack__",
    "__cuda_array_interface__", "__buffer__",
)  # fmt: skip
_SEQUENCES = (Mapping, Set, Sequence, Iterator, np.nditer)
# Type -> what it says of all its objects.
_known: weakref.WeakKeyDictionary[type, bool] = weakref.WeakKeyDictionary()


def foreign(value: Any) -> bool:
    """Whether an object's contents can change unnoticed."""
    kind = type(value)
    if kind is np.ndarray or kind is np.memmap:
        return value.dtype.kind not in "biufcV"
    found = _known.get(kind)
    if found is None:
        found = _known[kind] = _foreign_type(kind) or _has_buffer(value)
    if found or issubclass(kind, _OWN):
        return found
    if kind in weakref.ProxyTypes:
        return any(hasattr(value, name) for name in _ARRAY_LIKE)
    own = own_attributes(value)
    if not own.keys().isdisjoint(_ARRAY_LIKE):  # NumPy asks the object
        return True
    return _answers_for_another(kind) and any(map(_is_array, _held(value, own)))


def _held(value: Any, own: dict[str, Any]) -> Iterator[Any]:
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
    return isinstance(value, (np.ndarray, TensorBase)) or _foreign_type(type(value))


def _answers_for_another(kind: type) -> bool:
    """Whether `__getattr__` of a type may give the attributes of another object, by its code:
    it isn't called, for it may do anything.
    """
    known = _answering.get(kind)
    if known is None:
        found = next(
            (vars(k)["__getattr__"] for k in kind.__mro__ if "__getattr__" in vars(k)), None
        )
        code = code_of(found)
        names = set() if code is None else _names(code)
        known = found is not None and (code is None or not names.isdisjoint(_DELEGATES))
        _answering[kind] = known
    return known


# Names in the code of a `__getattr__` that asks another object.
_DELEGATES = frozenset({"getattr", "attrgetter", "__getattr__", "__getattribute__", "eval"})
_answering: weakref.WeakKeyDictionary[type, bool] = weakref.WeakKeyDictionary()


def _foreign_type(kind: type) -> bool:
    if kind in _CONTAINERS or issubclass(kind, _OWN) or dataclasses.is_dataclass(kind):
        return False
    if kind.__module__.startswith("graphjit."):
        return False
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return False
    return issubclass(kind, _SEQUENCES) or any(hasattr(kind, name) for name in _ARRAY_LIKE)


def _has_buffer(value: Any) -> bool:
    """Whether an object lends its memory, which types say from Python 3.12 on only."""
    if issubclass(type(value), _OWN):
        return False
    try:
        memoryview(value).release()
    except Exception:
        return False  # whatever it raises: NumPy has no memory of it either
    return True


def reached(function: Callable[..., Any], statics: Sequence[Any]) -> str:
    """What foreign object a function can reach by closure, defaults, the globals and attributes
    that its code names, and objects among its arguments; an empty string if none.
    """
    names: set[str] = set()
    before = -1
    while len(names) > before:  # methods bring names of their own
        before = len(names)
        found = _walk([("its function", function), *(("self", x) for x in statics)], names)
        if found:
            return found
    return ""


def _walk(start: list[tuple[str, Any]], names: set[str]) -> str:
    todo = [(where, value, 0) for where, value in start]
    seen: set[int] = set()
    while todo and len(seen) < MAX_OBJECTS:
        where, value, depth = todo.pop(0)
        if id(value) in seen or depth > DEPTH:
            continue
        seen.add(id(value))
        if foreign(value) or type(value) is np.memmap:  # which is an input as an argument only
            return f"{where} ({type(value).__name__})"
        todo += [(w, v, depth + 1) for w, v in _parts(where, value, names)]
    return ""


def _parts(where: str, value: Any, names: set[str]) -> list[tuple[str, Any]]:
    """What can be read of a value by names in the code, or by iterating over it."""
    value = python_function(value)
    if isinstance(value, types.MethodType):
        return [(where, value.__func__), (where, value.__self__)]
    if isinstance(value, partial):
        return [(where, x) for x in (value.func, value.args, value.keywords)]
    if isinstance(value, types.FunctionType):
        library = _library(value.__globals__.get("__name__"))
        return [] if library else _of_function(value, names)
    if isinstance(value, types.ModuleType):
        held = vars(value)
        found = [(f"{where}.{name}", held[name]) for name in names & held.keys()]
        if _library(value.__name__):
            return [(w, v) for w, v in found if v is os.environ]
        return [(w, v) for w, v in found if not isinstance(v, (types.FunctionType, type))]
    if isinstance(value, dict):
        return [(f"{where}[{k!r}]", v) for k, v in list(value.items())[:1000]]
    if isinstance(value, (list, tuple)):
        return [(f"{where}[{k}]", v) for k, v in enumerate(value[:1000])]
    if isinstance(value, (*_OWN, np.ndarray, int, float, complex)):
        return []
    for kind in type(value).__mro__[:-1]:
        _add_methods(kind, names)
    own = own_attributes(value)
    return [(f"{where}.{name}", own[name]) for name in names & own.keys()]


def _of_function(function: types.FunctionType, names: set[str]) -> list[tuple[str, Any]]:
    code, held = function.__code__, function.__globals__
    own = _names(code)
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
    if _library(kind.__module__):
        return
    for name, item in list(vars(kind).items()):
        if name in names or (name.startswith("__") and name != "__init__"):
            item = item.fget if isinstance(item, property) else item
            item = underlying(python_function(item))
            if isinstance(item, types.FunctionType):
                names |= _names(item.__code__)


def _library(module: str | None) -> bool:
    """Whether a module's code minds its own data: Python's, NumPy's, SciPy's and graphjit's."""
    top = (module or "").partition(".")[0]
    return top in ("numpy", "scipy", "graphjit") or top in sys.stdlib_module_names - {"test"}


def _names(code: types.CodeType) -> set[str]:
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _names(constant)
    return found
