"""Where generated code and the rest of the process meet: names, statuses, Python callables.

Nothing here generates code; running code from the cache needs no more than this.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

METH_FASTCALL = 0x0080
TEAM_RUN, TEAM_INTERRUPTED, STACK_END = "team_run", "team_interrupted", "stack_end"
# The external functions that a segment's entry calls, found by name when it is loaded.
OUTSIDE = {
    TEAM_RUN: "i64 (ptr, ptr, i64, i64, ptr, ptr)",
    TEAM_INTERRUPTED: "i1 (ptr)",
    STACK_END: "i64 ()",
    "PyEval_SaveThread": "ptr ()",
    "PyEval_RestoreThread": "void (ptr)",
    "PyErr_CheckSignals": "i32 ()",
    "PyLong_FromLongLong": "ptr (i64)",
}
# Those that no library has: the function that returns their addresses.
PROVIDERS = {
    name: "graphjit.codegen.cpu.team:team_addresses"
    for name in (TEAM_RUN, TEAM_INTERRUPTED, STACK_END)
}
# The status of a Python exception that is set.
INTERRUPTED = -1
# The status of a segment that did nothing, since this thread's stack may be too small.
SHALLOW = -2
# The status of a segment that is the code of another path than the call's.
NOT_TAKEN = -3
# The status of a segment that met what only Python computes.
NEEDS_PYTHON = -4
# The stack that a segment may need: row blocks and products take up to 0.6 MB. Segments with
# frames of less than SMALL_STACK_BYTES don't check.
STACK_BYTES, SMALL_STACK_BYTES = 1 << 20, 4096
# The function of a program with symbols that checks and computes sizes; see cpu/prepare.py.
PREPARE = "prepare"
_api = ctypes.pythonapi


class _MethodDef(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def run_symbol(symbol: str) -> str:
    """The function of a segment that returns its status."""
    return f"{symbol}.run"


def builtin_function(name: str, address: int) -> Callable[..., int]:
    """A Python callable for a generated METH_FASTCALL function."""
    definition = _MethodDef(name.encode(), address, METH_FASTCALL, None)
    make = _api.PyCFunction_NewEx
    make.restype = ctypes.py_object
    make.argtypes = (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    # CPython keeps a pointer to the definition; the definition is the function's `self`
    function: Callable[..., int] = make(ctypes.addressof(definition), definition, None)
    return function


__all__ = [
    "SMALL_STACK_BYTES",
    "builtin_function",
    "run_symbol",
    "INTERRUPTED",
    "NEEDS_PYTHON",
    "NOT_TAKEN",
    "OUTSIDE",
    "PREPARE",
    "PROVIDERS",
    "SHALLOW",
    "STACK_BYTES",
    "STACK_END",
    "TEAM_INTERRUPTED",
    "TEAM_RUN",
]
