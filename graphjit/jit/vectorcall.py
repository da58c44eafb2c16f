"""A base class whose instances can be entered by machine code.

CPython calls an object through the function pointer that its type's `tp_vectorcall_offset`
leads to, and through `__call__` where that pointer is null. The base class has room for such a
pointer, null at first, and is made by `PyType_FromSpec` from data alone, so that importing
graphjit needs no compiler. A Python class that derives from it keeps `__call__`, `__dict__` and
all else.
"""

from __future__ import annotations

import ctypes
from typing import Any

from graphjit.core.object_layout import (
    HAVE_VECTORCALL,
    METHOD_DESCRIPTOR,
    TYPE_FLAGS,
    TYPE_VECTORCALL,
    types_fit,
    word,
)

# From CPython's headers: typeslots.h, structmember.h, object.h.
_TP_MEMBERS, _T_ULONGLONG, _T_PYSSIZET, _READONLY, _BASETYPE = 72, 18, 19, 1, 1 << 10
_POINTER_AT = object.__basicsize__


class _PyMemberDef(ctypes.Structure):
    """CPython's PyMemberDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("offset", ctypes.c_ssize_t),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


class _PyTypeSlot(ctypes.Structure):
    """CPython's PyType_Slot."""

    _fields_ = (("slot", ctypes.c_int), ("value", ctypes.c_void_p))


class _PyTypeSpec(ctypes.Structure):
    """CPython's PyType_Spec."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("basicsize", ctypes.c_int),
        ("itemsize", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("slots", ctypes.POINTER(_PyTypeSlot)),
    )


class _NotEnterable:
    """The base where objects are laid out in an unknown way: calls go through `__call__`."""

    __slots__ = ()
    _entered_at = 0


# CPython copies the spec, but keeps pointers to the names in it.
_MEMBERS = (_PyMemberDef * 3)(
    _PyMemberDef(b"_entered_at", _T_ULONGLONG, _POINTER_AT, 0, None),
    _PyMemberDef(b"__vectorcalloffset__", _T_PYSSIZET, _POINTER_AT, _READONLY, None),
)
_SLOTS = (_PyTypeSlot * 2)(_PyTypeSlot(_TP_MEMBERS, ctypes.addressof(_MEMBERS)))
_NAME = b"graphjit.jit.vectorcall.Enterable"


def _make_enterable() -> type:
    if not types_fit():
        return _NotEnterable
    size = _POINTER_AT + ctypes.sizeof(ctypes.c_void_p)
    spec = _PyTypeSpec(_NAME, size, 0, _BASETYPE, _SLOTS)
    make = ctypes.pythonapi.PyType_FromSpec
    make.restype, make.argtypes = ctypes.py_object, (ctypes.c_void_p,)
    made: type = make(ctypes.addressof(spec))
    fits = made.__basicsize__ == size and word(id(made) + TYPE_VECTORCALL) == _POINTER_AT
    return made if fits else _NotEnterable


# Instances have `_entered_at`: the address of a function with CPython's vectorcall signature.
Enterable: Any = _make_enterable()


def enterable(kind: type) -> bool:
    """Let CPython enter instances of this class by their pointer; whether that can be.

    A class made by Python doesn't inherit the flag that says so where it defines `__call__`,
    nor in 3.11 at all. A subclass doesn't get the flag and is called through `__call__`.
    The class must bind as functions do, `__get__` giving a bound method.
    """
    if Enterable is _NotEnterable or word(id(kind) + TYPE_VECTORCALL) != _POINTER_AT:
        return False
    flags = ctypes.c_uint64.from_address(id(kind) + TYPE_FLAGS)
    flags.value |= HAVE_VECTORCALL | METHOD_DESCRIPTOR
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))
    return True


__all__ = ["Enterable", "enterable"]
