"""Pictures of what objects hold, so that states of two runs can be compared.

A picture is a tree of tuples, texts and arrays, in which an object that was met before is a
number. Two pictures are alike where values, types, the order of keys and identities agree.
"""

from __future__ import annotations

import array
import collections
import contextvars
import enum
import functools
import io
import operator
import random
import re
import types
import weakref
from typing import Any

import numpy as np

from graphjit.jit.function import Function, function
from graphjit.tracing.symbolic_tensor import SymbolicTensor

# How far elements may differ, which were computed in another order.
RELATIVE, ABSOLUTE = 1e-13, 1e-14
_ATOMS = (type(None), bool, int, str, bytes, types.EllipsisType, types.NotImplementedType)
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
# The attributes of decorated functions that aren't the user's.
_OWN = {*vars(function(lambda: None)), "_takes_out"}
_SKIPPED_OF_CLASSES = {"__dict__", "__weakref__", "__module__", "__doc__", "__slotnames__"}


class Painter:
    """What was met so far, by identity."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._numbers: dict[int, int] = {}
        self._held: list[Any] = []
        self._arrays: list[tuple[int, Any]] = []
        # How many traced values were met, of which there should be none.
        self.traced = 0

    def paint(self, value: Any) -> Any:
        """The picture of a value."""
        if isinstance(value, _ATOMS) and not isinstance(value, enum.Enum):
            return (type(value).__name__, value)
        if isinstance(value, (float, complex, np.generic)):
            return (type(value).__name__, np.array(value))
        if isinstance(value, SymbolicTensor):
            self.traced += 1
            return ("traced value",)
        if id(value) in self._numbers:
            return ("again", self._numbers[id(value)])
        if type(value) not in (tuple, frozenset):
            self._numbers[id(value)] = len(self._numbers)
        self._held.append(value)
        return self._paint_new(value)

    def overlaps(self) -> Any:
        """Which of the arrays met so far share memory, and how they lie in it."""
        found = []
        for i, (m, a) in enumerate(self._arrays):
            for n, b in self._arrays[:i]:
                if np.may_share_memory(a, b):
                    found.append((m, n, _address(a) - _address(b)))
        return tuple(found)

    def _paint_new(self, value: Any) -> Any:
        kind = type(value)
        if isinstance(value, np.ndarray):
            return self._paint_array(value)
        if isinstance(value, type):
            return self._paint_class(value)
        if isinstance(value, types.ModuleType):
            return self._paint_module(value)
        if isinstance(value, enum.Enum):
            return ("enum", str(value))
        if isinstance(value, Function):
            held = {k: v for k, v in vars(value).items() if k not in _OWN}
            return self._paint_function(value.python_function, held)
        if isinstance(value, types.FunctionType):
            return self._paint_function(value, vars(value))
        if isinstance(value, types.MethodType):
            return ("method", self.paint(value.__self__), value.__func__.__qualname__)
        if isinstance(value, types.CellType):
            return self._paint_cell(value)
        name = kind.__qualname__
        content: Any = ()
        if isinstance(value, dict):
            content = tuple((self.paint(k), self.paint(v)) for k, v in dict.items(value))
        elif isinstance(value, (list, tuple, collections.deque)):
            content = tuple(self.paint(v) for v in value)
        elif isinstance(value, (set, frozenset)):
            content = tuple(sorted(map(repr, value)))
        elif (found := self._paint_library(value)) is not None:
            return (name, found)
        elif kind.__module__ != self._module and not hasattr(value, "__dict__"):
            return (name, _ADDRESS.sub("", repr(value)))
        return (name, content, self._paint_attributes(value))

    def _paint_attributes(self, value: Any) -> Any:
        slots = [
            name
            for base in type(value).__mro__
            for name in base.__dict__.get("__slots__", ())
            if isinstance(name, str) and hasattr(value, name) and not name.startswith("__")
        ]
        held = getattr(value, "__dict__", None)
        return (
            tuple((name, self.paint(getattr(value, name))) for name in slots),
            tuple((k, self.paint(v)) for k, v in held.items()) if type(held) is dict else (),
        )

    def _paint_array(self, value: Any) -> Any:
        number = len(self._numbers) - 1
        if value.size:
            self._arrays.append((number, value))
        strides = value.strides if value.size > 1 else ()
        layout = (value.dtype.descr, value.shape, strides, value.flags.writeable)
        if value.dtype.hasobject:
            return ("array", layout, tuple(self.paint(v) for v in value.ravel().tolist()))
        return ("array", type(value).__name__, layout, value.copy())

    def _paint_class(self, value: type) -> Any:
        if value.__module__ != self._module:
            return ("class", value.__module__, value.__qualname__)
        held = {k: v for k, v in vars(value).items() if k not in _SKIPPED_OF_CLASSES}
        held = {
            k: v for k, v in held.items() if not k.startswith(("_abc", "__static", "__first"))
        }
        return ("class", value.__qualname__, tuple((k, self.paint(v)) for k, v in held.items()))

    def _paint_module(self, value: types.ModuleType) -> Any:
        if getattr(value, "__spec__", None) is not None:
            return ("module", value.__name__)
        held = {k: v for k, v in vars(value).items() if not k.startswith("__")}
        return ("module", value.__name__, tuple((k, self.paint(v)) for k, v in held.items()))

    def _paint_function(self, value: Any, attributes: dict[str, Any]) -> Any:
        if value.__module__ != self._module:
            return ("function", value.__qualname__)
        return (
            "function",
            value.__qualname__,
            self.paint(value.__defaults__),
            self.paint(value.__kwdefaults__),
            tuple((k, self.paint(v)) for k, v in attributes.items()),
            tuple(self.paint(cell) for cell in value.__closure__ or ()),
        )

    def _paint_cell(self, value: types.CellType) -> Any:
        try:
            return ("cell", self.paint(value.cell_contents))
        except ValueError:
            return ("cell",)

    def _paint_library(self, value: Any) -> Any:
        """What objects of the standard library and of NumPy hold; None for others."""
        if isinstance(value, functools.partial):
            return tuple(self.paint(v) for v in (value.func, value.args, value.keywords))
        if isinstance(value, functools._lru_cache_wrapper):
            found = value.cache_info()  # a trace may count as a hit
            return str((found.misses, found.maxsize, found.currsize))
        if isinstance(value, functools.cached_property):
            return value.attrname
        if isinstance(value, property):
            return tuple(self.paint(v) for v in (value.fget, value.fset, value.fdel))
        if isinstance(value, (staticmethod, classmethod)):
            return self.paint(value.__func__)
        if isinstance(value, types.GeneratorType):
            frame = value.gi_frame
            held = {} if frame is None else frame.f_locals
            return (frame is None, tuple((k, self.paint(v)) for k, v in held.items()))
        if isinstance(value, (np.random.Generator, np.random.BitGenerator)):
            bits = value.bit_generator if isinstance(value, np.random.Generator) else value
            return repr(bits.state)
        if isinstance(value, np.random.RandomState):
            return repr(value.get_state())
        if isinstance(value, random.Random):
            return hash(value.getstate())
        if isinstance(value, contextvars.ContextVar):
            return self.paint(value.get(None))
        if isinstance(value, weakref.ref):
            return self.paint(value())
        if isinstance(value, (weakref.WeakKeyDictionary, weakref.WeakValueDictionary)):
            return tuple(self.paint(v) for v in value.values())
        if isinstance(value, io.StringIO):
            return value.getvalue()
        if isinstance(value, (array.array, bytearray)):
            return list(value)
        if type(value).__name__ in ("list_iterator", "tuple_iterator", "range_iterator"):
            return operator.length_hint(value)
        if isinstance(value, (types.BuiltinFunctionType, types.MethodWrapperType)):
            owner = value.__self__
            return (value.__name__, self.paint(owner) if owner is not None else None)
        return None


def _address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def difference(found: Any, expected: Any, path: str = "") -> str:
    """Where two pictures differ first; empty where they don't."""
    if isinstance(found, tuple) and isinstance(expected, tuple):
        if len(found) != len(expected):
            return f"{path}: {_short(found)} in place of {_short(expected)}"
        for i, (a, b) in enumerate(zip(found, expected, strict=True)):
            named = isinstance(b, tuple) and b and isinstance(b[0], str)
            step = f".{b[0]}" if named else f"[{i}]"
            if text := difference(a, b, path + step):
                return text
        return ""
    if isinstance(found, np.ndarray) and isinstance(expected, np.ndarray):
        return "" if _alike(found, expected) else f"{path}: {found} in place of {expected}"
    same = type(found) is type(expected) and found == expected
    return "" if same else f"{path}: {_short(found)} in place of {_short(expected)}"


def _alike(found: Any, expected: Any) -> bool:
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return False
    if found.dtype.kind not in "fc":
        return bool((found == expected).all())
    if found.dtype.kind == "f":
        zeros = (found == 0) & (expected == 0)
        if (np.signbit(found) != np.signbit(expected))[zeros].any():
            return False
    finite = np.abs(expected[np.isfinite(expected)])
    scale = ABSOLUTE * float(finite.max()) if finite.size else 0.0
    return bool(np.allclose(found, expected, rtol=RELATIVE, atol=scale, equal_nan=True))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 200 else text[:200] + "…"
