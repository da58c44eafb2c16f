"""Where CPython's and NumPy's objects hold what generated code reads, checked at run time.

Every offset is compared with what the running interpreter and NumPy tell of real objects. Where
one doesn't fit, or the interpreter is of a kind not known here, `layout()` is None and calls
stay in Python.
"""

from __future__ import annotations

import contextvars
import ctypes
import functools
import struct
import sys
import types
import weakref
from typing import Any

import numpy as np

from . import float_errors

WORD = 8
# From CPython's headers (3.11 to 3.14, 64 bits) and NumPy 2's ndarraytypes.h [bytes].
TYPE = 8
SIZE = 16  # of tuples and lists
LIST_ITEMS = 24
FLOAT_VALUE = 16
SCALAR_VALUE = 16  # of NumPy's scalars
REFERENT = 16  # of weak references
CAPSULE_POINTER = 16
# The state of np.errstate: three bits for each kind of error. Those that are 0 where every mode
# is "ignore" or "warn".
ERRORS_REPORTED = 0o6666
CELL_CONTENT = 16
TYPE_BASICSIZE, TYPE_VECTORCALL, TYPE_FLAGS = 32, 56, 168
MEMBER, MEMBER_OFFSET = 40, 16  # a member descriptor's definition, and the offset in that
ARRAY_DATA, ARRAY_NDIM, ARRAY_SHAPE, ARRAY_STRIDES, ARRAY_BASE = 16, 24, 32, 40, 48
ARRAY_DTYPE, ARRAY_FLAGS = 56, 64
DTYPE_ORDER, DTYPE_NUMBER = 26, 28
# An array's flags, as in `ndarray.flags.num`. Compiled code reads arrays with the first two.
C_CONTIGUOUS, ALIGNED, WRITEABLE = 0x0001, 0x0100, 0x0400
READABLE_FLAGS = C_CONTIGUOUS | ALIGNED
TUPLE_ITEMS = tuple.__basicsize__

HAVE_VECTORCALL, METHOD_DESCRIPTOR = 1 << 11, 1 << 17
# Places in NumPy's table of functions (`_ARRAY_API`).
NUMPY_TABLE = {
    "PyArray_CopyInto": 50, "PyArray_Scalar": 60, "PyArray_NewCopy": 85,
    "PyArray_NewFromDescr": 94,
}  # fmt: skip
_NUMPY_ARRAY_TYPE, _NUMPY_DTYPE_TYPE = 2, 3
_NUMPY_ABI = 0x2000000  # what the table's first function gives for NumPy 2


def known_interpreter() -> bool:
    """Whether this is a CPython whose objects are laid out as said here."""
    return (
        sys.implementation.name == "cpython"
        and (3, 11) <= sys.version_info[:2] <= (3, 14)
        and struct.calcsize("P") == WORD
        and sys.byteorder == "little"
        and "free-threading" not in sys.version
        and not hasattr(sys, "gettotalrefcount")  # debug builds have larger objects
    )


def word(address: int) -> int:
    """The 64 bits at an address."""
    return ctypes.c_uint64.from_address(address).value


def half(address: int) -> int:
    """The 32 bits at an address, as a signed integer."""
    return ctypes.c_int32.from_address(address).value


def slot_offset(owner: type, name: str) -> int:
    """Where instances of a class hold the slot `name` [bytes]."""
    descriptor = owner.__dict__[name]
    assert type(descriptor) is types.MemberDescriptorType
    return word(word(id(descriptor) + MEMBER) + MEMBER_OFFSET)


@functools.cache
def numpy_functions() -> dict[str, int]:
    """The addresses of the functions of NumPy's C API that generated code calls."""
    from numpy._core import _multiarray_umath  # type: ignore[attr-defined]

    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    table = get(_multiarray_umath._ARRAY_API, None)
    if ctypes.PYFUNCTYPE(ctypes.c_uint)(word(table))() != _NUMPY_ABI:
        return {}
    if word(table + _NUMPY_ARRAY_TYPE * WORD) != id(np.ndarray):
        return {}
    if word(table + _NUMPY_DTYPE_TYPE * WORD) != id(np.dtype):
        return {}
    return {name: word(table + place * WORD) for name, place in NUMPY_TABLE.items()}


@functools.cache
def fits() -> bool:
    """Whether all objects are laid out as said here."""
    return (
        known_interpreter()
        and types_fit()
        and _python_fits()
        and _arrays_fit()
        and _float_errors_fit()
        and bool(numpy_functions())
    )


@functools.cache
def types_fit() -> bool:
    """Whether type objects hold their sizes and flags where they are looked for."""
    if not known_interpreter():
        return False

    class Slots:
        __slots__ = ("first", "second")

    for kind in (int, tuple, type, types.FunctionType, np.ndarray, Slots):
        if word(id(kind) + TYPE_BASICSIZE) != kind.__basicsize__:
            return False
        if word(id(kind) + TYPE_BASICSIZE + WORD) != kind.__itemsize__:
            return False
        if word(id(kind) + TYPE_FLAGS) != kind.__flags__:
            return False
    function = types.FunctionType
    offset = word(id(function) + TYPE_VECTORCALL)
    if not (function.__flags__ & HAVE_VECTORCALL and 0 < offset < function.__basicsize__):
        return False
    held = Slots()
    held.first, held.second = marks = object(), object()  # type: ignore[attr-defined]
    return all(
        word(id(held) + slot_offset(Slots, name)) == id(mark)
        for name, mark in zip(("first", "second"), marks, strict=True)
    )


def _python_fits() -> bool:
    marks = [object() for _ in range(3)]
    items = word(id(marks) + LIST_ITEMS)
    fixed = tuple(marks)
    for number, mark in enumerate(marks):
        if word(items + WORD * number) != id(mark):
            return False
        if word(id(fixed) + TUPLE_ITEMS + WORD * number) != id(mark):
            return False
    if word(id(marks) + SIZE) != 3 or word(id(fixed) + SIZE) != 3:
        return False
    for value in (1.5, -2.0):
        if ctypes.c_double.from_address(id(value) + FLOAT_VALUE).value != value:
            return False

    cell = types.CellType(marks)
    if word(id(cell) + CELL_CONTENT) != id(marks):
        return False

    class Referent:
        pass

    target = Referent()
    reference = weakref.ref(target)
    if word(id(reference) + REFERENT) != id(target) or word(id(target) + TYPE) != id(Referent):
        return False
    del target
    return reference() is None and word(id(reference) + REFERENT) == id(None)


def _arrays_fit() -> bool:
    samples: list[np.ndarray[Any, Any]] = [
        np.arange(7),
        np.ones((2, 3), np.float32),
        np.zeros((2, 3, 4), np.int8).T,
        np.array(1.5),
        np.zeros((0, 4), ">i4"),
        np.frombuffer(b"12345678", np.uint8)[1:].view(),
        np.zeros((3, 3), np.complex64)[::2, ::-1],
    ]
    for array in samples:
        at, dtype = id(array), array.dtype
        shape = word(at + ARRAY_SHAPE)
        if not (
            word(at + ARRAY_DATA) == array.ctypes.data
            and half(at + ARRAY_NDIM) == array.ndim
            and all(word(shape + WORD * k) == n for k, n in enumerate(array.shape))
            and word(at + ARRAY_BASE) == (0 if array.base is None else id(array.base))
            and word(at + ARRAY_DTYPE) == id(dtype)
            and half(at + ARRAY_FLAGS) & 0xFFFF == array.flags.num & 0xFFFF
            and half(id(dtype) + DTYPE_NUMBER) == dtype.num
            and ctypes.c_char.from_address(id(dtype) + DTYPE_ORDER).value
            == dtype.byteorder.encode()
        ):
            return False
    return True


def _float_errors_fit() -> bool:
    modes = ("ignore", "warn", "raise", "call", "print", "log")
    kinds = ("divide", "over", "under", "invalid")
    return float_errors.IS_KNOWN and all(
        contextvars.copy_context().run(_float_error_bits, {kind: mode}) == number << 3 * place
        for place, kind in enumerate(kinds)
        for number, mode in enumerate(modes)
    )


def _float_error_bits(modes: dict[str, Any]) -> int:
    """The bits of np.errstate's state where all kinds but these are ignored. It stays so in
    this context.
    """
    np.seterr(**{"all": "ignore", **modes})
    return half(word(id(float_errors.STATE.get()) + CAPSULE_POINTER))


@functools.cache
def scalar_fits(dtype: np.dtype[Any]) -> bool:
    """Whether a NumPy scalar of this type holds its value where it is looked for."""
    if dtype.num >= 256:  # a type from outside NumPy
        return False
    for number in (0, 1):
        scalar = np.arange(2).astype(dtype)[number]
        bits = ctypes.string_at(id(scalar) + SCALAR_VALUE, dtype.itemsize)
        if type(scalar) is not dtype.type or bits != np.array(scalar, dtype).tobytes():
            return False
    return True


__all__ = ["fits", "known_interpreter", "numpy_functions", "slot_offset", "types_fit"]
