"""What is known of callables that aren't followed: libraries and C code, by what they do."""

from __future__ import annotations

import builtins
import cmath
import dataclasses
import functools
import inspect
import itertools
import math
import operator
import sys
import types
import typing
from typing import Any, Final

import numpy as np

# Packages whose code isn't followed: their attributes are taken to stay as they are.
TRUSTED: Final = frozenset({
    "numpy", "scipy", "graphjit", "ml_dtypes", "builtins", "math", "cmath", "operator",
    "itertools", "functools", "collections", "_collections", "abc", "_abc", "enum", "typing",
    "types", "re", "dataclasses", "fractions", "decimal", "numbers", "string", "datetime",
    "pytest", "_pytest", "pluggy", "hypothesis", "weakref", "copy", "heapq", "bisect", "array",
})  # fmt: skip
HIGHER_ORDER: Final = frozenset({
    map, filter, sorted, min, max, functools.reduce, any, all, sum, zip, enumerate, reversed,
})  # fmt: skip
GETTERS: Final = (operator.attrgetter, operator.itemgetter, operator.methodcaller)
# Functions that hand on the elements of what they are given, and ask them for nothing.
ITERATE_ONLY: Final = frozenset({zip, enumerate, reversed, list, tuple, iter, map, dict, range})
# Methods by which C code asks an object; written in Python they would run without hooks.
ASKED_BY_C: Final = frozenset({
    "__eq__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__", "__bool__", "__len__",
    "__add__", "__radd__", "__mul__", "__rmul__", "__array__", "__float__", "__int__",
    "__index__", "__str__", "__repr__", "__format__", "__iter__", "__getitem__",
})  # fmt: skip
# Methods of containers that change nothing.
READERS: Final = frozenset({
    "get", "keys", "values", "items", "copy", "index", "count", "union", "intersection",
    "difference", "symmetric_difference", "issubset", "issuperset", "isdisjoint", "__len__",
    "__contains__", "__getitem__", "__iter__", "__eq__",
})  # fmt: skip
# Those that hand on what is in them, and look into none of it.
HANDING_ON: Final = frozenset({
    "get", "keys", "values", "items", "copy", "__getitem__", "__iter__",
})  # fmt: skip
# Names that Python itself has there.
BUILTIN_NAMES: Final = frozenset(vars(builtins))
# What tells of state that calls can change, or changes it; what reads files, or writes some.
_STATEFUL: Final = frozenset({
    np.get_printoptions, np.geterr, np.geterrcall, np.getbufsize,
    np.set_printoptions, np.seterr, np.seterrcall, np.setbufsize, np.printoptions,
    np.load, np.loadtxt, np.genfromtxt, np.fromfile, np.fromregex, np.memmap, np.save, np.savez,
    np.savez_compressed, np.savetxt, np.show_config, np.show_runtime, np.info,
    np.lib.npyio.NpzFile, np.lib.npyio.DataSource, np.lib.format.open_memmap,
    np.lib.format.read_array, np.lib.format.write_array, typing.get_type_hints,
    dataclasses.fields, dataclasses.asdict, dataclasses.astuple,
})  # fmt: skip
# Methods of arrays that write files.
_WRITING_FILES: Final = frozenset({"tofile", "dump"})
# Packages of which functions read files, or write some.
_OF_FILES: Final = ("scipy.io", "scipy.datasets", "numpy.lib.format", "numpy.ctypeslib")
_HEAP_TYPE: Final = 1 << 9  # Py_TPFLAGS_HEAPTYPE
_PURE_BUILTINS: Final = frozenset({
    "abs", "all", "any", "ascii", "bin", "bool", "bytes", "chr", "complex", "divmod",
    "enumerate", "filter", "float", "format", "frozenset", "hash", "hex", "int", "list", "map",
    "max", "min", "oct", "ord", "pow", "range", "repr", "reversed", "round", "set", "slice",
    "sorted", "str", "sum", "tuple", "zip", "dict", "object", "super", "property",
    "staticmethod", "classmethod", "bytearray", "memoryview",
})  # fmt: skip
_PURE: Final = frozenset(
    [
        *(getattr(builtins, name) for name in _PURE_BUILTINS),
        *(
            f
            for module in (math, cmath, operator)
            for f in vars(module).values()
            if callable(f)
        ),
        *(f for f in vars(itertools).values() if callable(f)),
        functools.reduce,
    ]
)


def package_of(value: Any) -> str:
    """The first part of the name of the module that a function, class or module belongs to."""
    if isinstance(value, types.ModuleType):
        name = value.__name__
    elif isinstance(value, types.FunctionType):
        name = value.__globals__.get("__name__") or ""
    else:
        name = getattr(value, "__module__", None) or ""
    return name.partition(".")[0] if isinstance(name, str) else ""


def is_module_trusted(names: dict[str, Any]) -> bool:
    """Whether names are those of a module of a package that isn't followed."""
    name = names.get("__name__")
    return isinstance(name, str) and name.partition(".")[0] in TRUSTED


def is_trusted(value: Any) -> bool:
    """Whether a function, class or module belongs to a package that isn't followed."""
    if package_of(value) not in TRUSTED or value is types.SimpleNamespace:
        return False
    # makers of classes, and code without a __name__, say of them that they are Python's own
    return not (
        isinstance(value, type)
        and value.__module__ in ("builtins", "types")
        and value.__flags__ & _HEAP_TYPE
    )


def is_made_of_another(function: Any) -> bool:
    """Whether a callable is graphjit's own and runs a function of the user's: a decorated one,
    or one that `gj.vmap` or `gj.grad` gave.
    """
    kind = type(function)
    if not is_trusted(kind):
        return False
    return any(
        inspect.getattr_static(function, name, None) is not None
        for name in ("python_function", "as_partial")
    )


def is_library_ufunc(function: np.ufunc) -> bool:
    """Whether a ufunc is NumPy's or SciPy's; np.frompyfunc makes others, which call Python."""
    if getattr(np, function.__name__, None) is function:
        return True
    special = sys.modules.get("scipy.special")
    return getattr(special, function.__name__, None) is function


def is_stateful(function: Any) -> bool:
    """Whether a function of a library reads or changes state, of its own or of files."""
    if isinstance(function, (types.BuiltinFunctionType, types.MethodDescriptorType)):
        owner = getattr(function, "__self__", getattr(function, "__objclass__", None))
        if isinstance(owner, np.ndarray) or owner is np.ndarray:
            return function.__name__ in _WRITING_FILES
    module = getattr(function, "__module__", None)
    if isinstance(module, str) and module.startswith(_OF_FILES):
        return True
    try:
        return function in _STATEFUL
    except TypeError:  # it has no hash
        return False


def is_known(function: Any) -> bool:
    """Whether a callable of C that isn't stateful depends on its arguments alone and changes
    nothing else.
    """
    try:
        if function in _PURE:
            return True
    except TypeError:  # it has no hash
        return False
    if isinstance(function, np.ufunc):
        return is_library_ufunc(function)
    owner = getattr(function, "__self__", None)
    if isinstance(owner, type) and owner.__module__ == "builtins":
        return True  # tuple.__new__, dict.fromkeys
    package = package_of(function) or package_of(getattr(function, "__self__", None))
    if package not in ("numpy", "scipy", "graphjit", "ml_dtypes"):
        owner = getattr(function, "__objclass__", None)
        return isinstance(owner, type) and owner.__module__ == "builtins"
    return True


__all__ = [
    "ASKED_BY_C",
    "BUILTIN_NAMES",
    "GETTERS",
    "HANDING_ON",
    "HIGHER_ORDER",
    "ITERATE_ONLY",
    "READERS",
    "TRUSTED",
    "is_known",
    "is_library_ufunc",
    "is_made_of_another",
    "is_stateful",
    "is_trusted",
    "package_of",
]
