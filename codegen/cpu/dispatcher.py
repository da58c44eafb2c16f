"""The machine code that enters specialisations without Python.

CPython calls a function object through its vectorcall pointer, which leads to `dispatch` here.
It goes through the object's table of entries (`tables.py`), compares the arguments with each
entry's guards, allocates the results by NumPy's C API, calls the specialisation's segment and
returns the results. Where no entry fits, and while a trace or eager mode is on, it calls
Python.

The code is the same for all specialisations, which differ in their tables: so a new one costs
no compile time. Reference counts change through CPython's own functions, which know immortal
objects. Nothing unwinds through this code; a call that fails returns null, and all is released.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.codegen.assemble import Assembler
from graphjit.codegen.runtime.runtime_symbols import INTERRUPTED, SHALLOW
from graphjit.codegen.runtime.tables import (
    GUARD_DTYPE,
    GUARD_NDIM,
    GUARD_NUMBER,
    GUARD_NUMBER_TOO,
    GUARD_SHAPE,
    Build,
    Guard,
    Result,
    ResultWord,
    Word,
)
from graphjit.core import object_layout
from graphjit.core.memory import LARGE_BYTES
from graphjit.core.object_layout import WORD

from .native_code import lasting_code

# What `enter` gives where an entry doesn't fit; and the Python functions of entries likewise.
_MISSED = "inttoptr (i64 1 to ptr)"
MISS = type("Miss", (), {})()

_PYTHON = {
    "Py_IncRef": "void (ptr)",
    "Py_DecRef": "void (ptr)",
    "PyObject_Vectorcall": "ptr (ptr, ptr, i64, ptr)",
    "PyObject_CallNoArgs": "ptr (ptr)",
    "PyObject_CallObject": "ptr (ptr, ptr)",
    "PyObject_GetItem": "ptr (ptr, ptr)",
    "PyObject_GetAttr": "ptr (ptr, ptr)",
    "PyTuple_New": "ptr (i64)",
    "PyTuple_SetItem": "i32 (ptr, i64, ptr)",
    "PyList_New": "ptr (i64)",
    "PyList_SetItem": "i32 (ptr, i64, ptr)",
    "PyDict_New": "ptr ()",
    "PyDict_SetItem": "i32 (ptr, ptr, ptr)",
    "PyDict_Next": "i32 (ptr, ptr, ptr, ptr)",
    "PyLong_FromLongLong": "ptr (i64)",
    "PyLong_AsLongLongAndOverflow": "i64 (ptr, ptr)",
    "PyBool_FromLong": "ptr (i64)",
    "PyFloat_FromDouble": "ptr (double)",
    "PyComplex_FromDoubles": "ptr (double, double)",
    "PyComplex_RealAsDouble": "double (ptr)",
    "PyComplex_ImagAsDouble": "double (ptr)",
    "PyErr_Clear": "void ()",
    "PyErr_Occurred": "ptr ()",
    "PyErr_ExceptionMatches": "i32 (ptr)",
    "PyErr_Fetch": "void (ptr, ptr, ptr)",
    "PyErr_Restore": "void (ptr, ptr, ptr)",
    "PyErr_NoMemory": "ptr ()",
    "PyMem_Malloc": "ptr (i64)",
    "PyMem_Free": "void (ptr)",
    "PyType_GenericAlloc": "ptr (ptr, i64)",
    "PyContextVar_Get": "i32 (ptr, ptr, ptr)",
}
_NUMPY = {
    "PyArray_NewFromDescr": "ptr (ptr, ptr, i32, ptr, ptr, ptr, i32, ptr)",
    "PyArray_Scalar": "ptr (ptr, ptr, ptr)",
    "PyArray_NewCopy": "ptr (ptr, i32)",
}
_API = {**_PYTHON, **_NUMPY}
# Objects and addresses that the code reads from a table.
_OBJECTS = (
    "gates", "eager", "slow", "miss", "none", "exception",
    "ndarray", "tensor", "float", "int", "complex", "list", "dict", "bool", "str",
)  # fmt: skip


class _Code(Assembler):
    """An assembler that knows the tables, the C API and the objects."""

    def word(self, entry: str, place: Word | ResultWord, type: str = "i64") -> str:
        """A word of an entry or of a result's description."""
        return self.load(type, entry, place * WORD)

    def object(self, name: str) -> str:
        """One of the objects."""
        return self.load("ptr", "@objects", _OBJECTS.index(name) * WORD)

    def api(self, name: str, *arguments: str) -> str:
        """A call of a C function: its result."""
        kind, types = _API[name].split(" (", 1)
        given = types.rstrip(")").split(", ") if types != ")" else []
        function = self.load("ptr", "@functions", list(_API).index(name) * WORD)
        listed = [f"{t} {a}" for t, a in zip(given, arguments, strict=True)]
        if kind == "void":
            self.line(f"call void {function}({', '.join(listed)})")
            return ""
        return self.call(kind, function, *listed)

    def fake(self, frame: str, argument: str, cell: str) -> str:
        """Makes words of the frame stand for an array: an argument of the segment that holds
        nothing but the pointer to its data. Gives the address of the data.
        """
        words = self.item(frame, cell)
        data = self.at(words, WORD)
        self.store("ptr", data, words)
        self.store_item("ptr", self.at(words, -object_layout.ARRAY_DATA), frame, argument)
        return data


def _dispatch(offset: int) -> str:
    a = _Code("dispatch", ["ptr self", "ptr args", "i64 flagged", "ptr names"])
    count = a.value(f"and i64 %flagged, {2**63 - 1}")
    gates = a.object("gates")
    a.require(a.same("i64", a.load("i64", gates), "0"), "slow")
    with a.when(a.differ("i64", a.load("i64", gates, WORD), "0")):
        a.require(a.same("ptr", a.call("ptr", "eager_here"), "null"), "slow")
    table = a.load("ptr", "%self", offset)
    a.require(a.differ("ptr", table, "null"), "slow")
    a.api("Py_IncRef", table)
    words = a.load("ptr", table, object_layout.ARRAY_DATA)
    with a.loop(a.load("i64", words)) as number:
        entry = a.load_item("ptr", words, a.add(number, "1"))
        with a.when(a.same("i64", a.word(entry, Word.POSITIONAL), count)):
            passed = f"ptr {entry}", "ptr %args", f"i64 {count}", "ptr %names"
            result = a.call("ptr", "enter", *passed)
            with a.when(a.differ("ptr", result, _MISSED)):
                with a.when(a.differ("i64", number, "0")):
                    a.call(
                        "ptr", "move_to_front", f"ptr {words}", f"ptr {entry}", f"i64 {number}"
                    )
                a.api("Py_DecRef", table)
                a.ret(result)
    a.api("Py_DecRef", table)
    a.label("slow")
    a.ret(a.call("ptr", "slow", "ptr %self", "ptr %args", f"i64 {count}", "ptr %names"))
    return a.text()


def _eager_here() -> str:
    """Whether this context says that functions run eagerly or not, so that Python decides."""
    a = _Code("internal eager_here", [], "noinline")
    found = a.variable("ptr", "null")
    failed = a.api("PyContextVar_Get", a.object("eager"), "null", found)
    a.require(a.same("i32", failed, "0"), "unknown")
    value = a.get("ptr", found)
    a.require(a.differ("ptr", value, "null"), "no")
    a.api("Py_DecRef", value)
    a.require(a.differ("ptr", value, a.object("none")), "no")
    a.jump("yes")
    a.label("unknown")
    a.api("PyErr_Clear")
    a.label("yes")
    a.ret(_MISSED)
    a.label("no")
    a.ret("null")
    return a.text()


def _slow() -> str:
    """The Python method with the object before the arguments."""
    a = _Code("internal slow", ["ptr self", "ptr args", "i64 count", "ptr names"], "noinline")
    total = a.variable("i64", "%count")
    with a.when(a.differ("ptr", "%names", "null")):
        a.set("i64", total, a.add("%count", a.load("i64", "%names", object_layout.SIZE)))
    number = a.get("i64", total)
    room = a.api("PyMem_Malloc", a.value(f"shl i64 {a.add(number, '1')}, 3"))
    with a.when(a.same("ptr", room, "null")):
        a.ret(a.api("PyErr_NoMemory"))
    a.store("ptr", "%self", room)
    with a.loop(number) as k:
        argument = a.load_item("ptr", "%args", k)
        a.store_item("ptr", argument, room, a.add(k, "1"))
    given = a.add("%count", "1")
    result = a.api("PyObject_Vectorcall", a.object("slow"), room, given, "%names")
    a.api("PyMem_Free", room)
    a.ret(result)
    return a.text()


def _move_to_front() -> str:
    """The entries in order of use; another thread may have moved it meanwhile."""
    a = _Code("internal move_to_front", ["ptr words", "ptr entry", "i64 number"], "noinline")
    after = a.add("%number", "1")
    there = a.load_item("ptr", "%words", after)
    a.require(a.same("ptr", there, "%entry"), "done")
    with a.loop("%number") as k:
        place = a.value(f"sub i64 {after}, {k}")
        before = a.load_item("ptr", "%words", a.add(place, "-1"))
        a.store_item("ptr", before, "%words", place)
    a.store("ptr", "%entry", "%words", WORD)
    a.label("done")
    a.ret("null")
    return a.text()


def _release() -> str:
    """Let go of the leaves that the frame holds."""
    a = _Code("internal release", ["ptr frame"])
    with a.loop(a.load("i64", "%frame")) as k:
        a.api("Py_DecRef", a.load_item("ptr", "%frame", a.add(k, "1")))
    a.ret("null")
    return a.text()


def _drop() -> str:
    """Let go of the results made so far."""
    a = _Code("internal drop", ["ptr entry", "ptr frame"], "noinline")
    results = a.item("%frame", a.word("%entry", Word.RESULTS_AT))
    with a.loop(a.word("%entry", Word.RESULTS)) as k:
        result = a.load_item("ptr", results, k)
        with a.when(a.differ("ptr", result, "null")):
            a.api("Py_DecRef", result)
    a.ret("null")
    return a.text()


# ndarray's flags of what compiled code can read: C order and aligned.
_READY = 0x0001 | 0x0100
# Whether leaves are held: those inside a list or dict, those that were looked up.
_INSIDE, _FOUND = "1", "2"


def _match(tensor_array: int, cell_array: int) -> str:
    """Compares an object with a guard: the guard after it, or null where it doesn't fit.

    Leaves of lists and dicts are held (`hold` is _INSIDE), for other threads may take them out,
    and so is what is looked up (_FOUND). Arrays that aren't in order are copied, which may let
    other threads run: so not inside a list or dict, which must not change while it is read.
    """
    parameters = ["ptr guard", "ptr object", "ptr frame", "i64 hold"]
    a = _Code("internal match", parameters, "noinline")
    array, size = a.variable("ptr", "%object"), a.variable("i64", "0")
    kind = a.load("ptr", "%object", object_layout.TYPE)
    a.switch(a.load("i64", "%guard"), {g: f"on_{g.name}" for g in Guard}, "refused")

    def guard(place: int, type: str = "i64") -> str:
        return a.load(type, "%guard", place * WORD)

    def fits(words: int) -> None:
        a.set("i64", size, str(words * WORD))
        a.jump("accepted")

    def is_a(name: str) -> None:
        a.require(a.same("ptr", kind, a.object(name)), "refused")

    a.label("on_TENSOR")
    is_a("tensor")
    inner = a.load("ptr", "%object", tensor_array)
    a.require(a.differ("ptr", inner, "null"), "refused")
    a.set("ptr", array, inner)
    with a.when(a.differ("ptr", a.load("ptr", inner, object_layout.TYPE), a.object("ndarray"))):
        a.jump("refused")
    a.jump("array")

    a.label("on_ZERO_DIM")
    with a.when(a.differ("ptr", kind, a.object("ndarray"))):
        a.require(a.same("ptr", kind, guard(GUARD_SHAPE, "ptr")), "refused")
        words = a.item("%frame", guard(3))
        a.store("ptr", a.at("%object", object_layout.SCALAR_VALUE), words)
        a.store_item("ptr", a.at(words, -object_layout.ARRAY_DATA), "%frame", guard(2))
        fits(GUARD_SHAPE + 1)
    a.label("on_ARRAY")
    a.label("on_SHAPED")
    is_a("ndarray")
    a.label("array")
    x = a.get("ptr", array)
    dtype = a.load("ptr", x, object_layout.ARRAY_DTYPE)
    with a.when(a.differ("ptr", dtype, guard(GUARD_DTYPE, "ptr"))):
        # an equal dtype may be another object, such as an unpickled one
        order = a.load("i8", dtype, object_layout.DTYPE_ORDER)
        a.require(a.differ("i8", order, str(ord(">"))), "refused")
        number = a.value(f"sext i32 {a.load('i32', dtype, object_layout.DTYPE_NUMBER)} to i64")
        one = a.same("i64", number, guard(GUARD_NUMBER))
        other = a.same("i64", number, guard(GUARD_NUMBER_TOO))
        a.require(a.value(f"or i1 {one}, {other}"), "refused")
    ndim = guard(GUARD_NDIM)
    given = a.value(f"sext i32 {a.load('i32', x, object_layout.ARRAY_NDIM)} to i64")
    a.require(a.same("i64", given, ndim), "refused")
    shape, wanted = (
        a.load("ptr", x, object_layout.ARRAY_SHAPE),
        a.at("%guard", GUARD_SHAPE * WORD),
    )
    with a.loop(ndim) as k:
        extent, wanted_extent = a.load_item("i64", shape, k), a.load_item("i64", wanted, k)
        with a.when(a.differ("i64", extent, wanted_extent)):
            # a symbolic one must be what it was before in this call, and isn't 1
            a.require(a.value(f"icmp slt i64 {wanted_extent}, 0"), "refused")
            place = a.item("%frame", a.value(f"sub i64 0, {wanted_extent}"))
            with a.when(a.differ("i64", a.load("i64", place), extent)):
                a.require(a.same("i64", a.load("i64", place), "-1"), "refused")
                a.require(a.differ("i64", extent, "1"), "refused")
                a.store("i64", extent, place)
    flags = a.value(f"and i32 {a.load('i32', x, object_layout.ARRAY_FLAGS)}, {_READY}")
    with a.when(a.differ("i32", flags, str(_READY))):
        a.require(a.differ("i64", guard(0), str(Guard.SHAPED.value)), "in_order")
        a.require(a.differ("i64", "%hold", _INSIDE), "refused")
        ordered = a.api("PyArray_NewCopy", x, "0")
        with a.when(a.same("ptr", ordered, "null")):
            a.api("PyErr_Clear")
            a.jump("refused")
        held = a.add(a.load("i64", "%frame"), "1")
        a.store("i64", held, "%frame")
        a.store_item("ptr", ordered, "%frame", held)
        a.set("ptr", array, ordered)
        a.label("in_order")
    a.store_item("ptr", a.get("ptr", array), "%frame", guard(2))
    bare = a.value(f"icmp eq i64 {guard(0)}, {Guard.ZERO_DIM.value}")
    more = a.add(a.value(f"zext i1 {bare} to i64"), ndim)
    words = a.value(f"shl i64 {a.add(more, str(GUARD_SHAPE))}, 3")
    a.set("i64", size, words)
    a.jump("accepted")

    a.label("on_FLOAT")
    is_a("float")
    number = a.load("double", "%object", object_layout.FLOAT_VALUE)
    a.store("double", number, a.fake("%frame", guard(2), guard(3)))
    fits(4)

    overflow = a.variable("i32", "0")
    a.label("on_INTEGER")
    is_a("int")
    number = a.api("PyLong_AsLongLongAndOverflow", "%object", overflow)
    a.require(a.same("i32", a.get("i32", overflow), "0"), "refused")
    a.store("i64", number, a.fake("%frame", guard(2), guard(3)))
    fits(4)

    a.label("on_COMPLEX")
    is_a("complex")
    data = a.fake("%frame", guard(2), guard(3))
    a.store("double", a.api("PyComplex_RealAsDouble", "%object"), data)
    a.store("double", a.api("PyComplex_ImagAsDouble", "%object"), data, WORD)
    fits(4)

    a.label("on_SAME")
    a.require(a.same("ptr", "%object", guard(2, "ptr")), "refused")
    fits(3)

    a.label("on_TYPE")
    a.require(a.same("ptr", kind, guard(2, "ptr")), "refused")
    fits(3)

    a.label("on_REFERENT")
    referent = a.load("ptr", guard(2, "ptr"), object_layout.REFERENT)
    a.require(a.same("ptr", "%object", referent), "refused")
    fits(3)

    a.label("on_FLOAT_IS")
    is_a("float")
    bits = a.load("i64", "%object", object_layout.FLOAT_VALUE)
    a.require(a.same("i64", bits, guard(2)), "refused")
    fits(3)

    a.label("on_INTEGER_IS")
    is_a("int")
    number = a.api("PyLong_AsLongLongAndOverflow", "%object", overflow)
    a.require(a.same("i32", a.get("i32", overflow), "0"), "refused")
    a.require(a.same("i64", number, guard(2)), "refused")
    fits(3)

    a.label("accepted")
    a.store_item("ptr", "%object", "%frame", guard(1))
    with a.when(a.differ("i64", "%hold", "0")):
        a.api("Py_IncRef", "%object")
        held = a.add(a.load("i64", "%frame"), "1")
        a.store("i64", held, "%frame")
        a.store_item("ptr", "%object", "%frame", held)
    a.ret(a.value(f"getelementptr i8, ptr %guard, i64 {a.get('i64', size)}"))

    following = a.variable("ptr", "null")

    def children(item: Callable[[str], str], hold: str) -> None:
        a.set("ptr", following, a.at("%guard", 3 * WORD))
        with a.loop(guard(2)) as k:
            x = item(k)
            passed = f"ptr {a.get('ptr', following)}", f"ptr {x}", "ptr %frame", f"i64 {hold}"
            found = a.call("ptr", "match", *passed)
            a.require(a.differ("ptr", found, "null"), "refused")
            a.set("ptr", following, found)

    a.label("on_TUPLE")
    a.require(a.same("ptr", kind, guard(1, "ptr")), "refused")
    a.require(a.same("i64", a.load("i64", "%object", object_layout.SIZE), guard(2)), "refused")
    items = a.at("%object", object_layout.TUPLE_ITEMS)
    children(lambda k: a.load_item("ptr", items, k), "%hold")
    a.ret(a.get("ptr", following))

    a.label("on_LIST")
    is_a("list")
    a.require(a.same("i64", a.load("i64", "%object", object_layout.SIZE), guard(2)), "refused")

    def listed(k: str) -> str:
        # nothing that is done here shortens the list, but to look costs nothing
        a.require(
            a.same("i64", a.load("i64", "%object", object_layout.SIZE), guard(2)), "refused"
        )
        return a.load_item("ptr", a.load("ptr", "%object", object_layout.LIST_ITEMS), k)

    children(listed, _INSIDE)
    a.ret(a.get("ptr", following))

    place, key, value = (a.variable("i64", "0"), *(a.variable("ptr", "null") for _ in "kv"))

    def next_value(_: str) -> str:
        more = a.api("PyDict_Next", "%object", place, key, value)
        a.require(a.differ("i32", more, "0"), "refused")
        at = a.get("ptr", following)
        a.require(a.same("ptr", a.get("ptr", key), a.load("ptr", at)), "refused")
        a.set("ptr", following, a.at(at, WORD))
        return a.get("ptr", value)

    a.label("on_DICT")
    is_a("dict")
    children(next_value, _INSIDE)
    a.require(a.same("i32", a.api("PyDict_Next", "%object", place, key, value), "0"), "refused")
    a.ret(a.get("ptr", following))

    a.label("on_FIELDS")
    a.require(a.same("ptr", kind, guard(1, "ptr")), "refused")
    inside_too = a.same("i64", "%hold", _INSIDE)
    held_as = a.value(f"select i1 {inside_too}, i64 {_INSIDE}, i64 {_FOUND}")
    a.api("Py_IncRef", "%object")
    a.set("ptr", following, a.at("%guard", 3 * WORD))
    with a.loop(guard(2)) as k:
        at = a.get("ptr", following)
        found = a.api("PyObject_GetAttr", "%object", a.load("ptr", at))
        a.require(a.differ("ptr", found, "null"), "no_field")
        passed = f"ptr {a.at(at, WORD)}", f"ptr {found}", "ptr %frame", f"i64 {held_as}"
        after = a.call("ptr", "match", *passed)
        a.api("Py_DecRef", found)
        a.set("ptr", following, after)
        a.require(a.differ("ptr", after, "null"), "unlike")
    a.api("Py_DecRef", "%object")
    a.ret(a.get("ptr", following))
    a.label("no_field")  # one that was deleted: fields have no code that could raise anything
    a.api("PyErr_Clear")
    a.label("unlike")
    a.api("Py_DecRef", "%object")
    a.jump("refused")

    def lead(label: str, size: int, hold: Callable[[], str]) -> None:
        a.label(label)
        there = hold()
        with a.when(a.same("ptr", there, "null")):
            matches = a.api("PyErr_ExceptionMatches", a.object("exception"))
            a.require(a.differ("i32", matches, "0"), "refused")  # such as KeyboardInterrupt
            a.api("PyErr_Clear")
            a.jump("refused")
        passed = f"ptr {a.at('%guard', size)}", f"ptr {there}", "ptr %frame", f"i64 {_FOUND}"
        found = a.call("ptr", "match", *passed)
        a.api("Py_DecRef", there)
        a.ret(found)

    def inside(offset: int) -> str:
        found = a.load("ptr", "%object", offset)
        a.require(a.differ("ptr", found, "null"), "refused")
        a.api("Py_IncRef", found)
        return found

    lead("on_ITEM", 2 * WORD, lambda: a.api("PyObject_GetItem", "%object", guard(1, "ptr")))
    lead(
        "on_ATTRIBUTE", 2 * WORD, lambda: a.api("PyObject_GetAttr", "%object", guard(1, "ptr"))
    )
    lead("on_DEREFERENCE", WORD, lambda: a.api("PyObject_CallNoArgs", "%object"))
    lead("on_CONTENT", WORD, lambda: inside(object_layout.CELL_CONTENT))
    lead("on_VARIABLE", WORD, lambda: inside(cell_array))

    a.label("on_AGAIN")
    earlier = a.load_item("ptr", "%frame", guard(1))
    a.require(a.same("ptr", "%object", earlier), "refused")
    a.ret(a.at("%guard", 2 * WORD))

    a.label("refused")
    a.ret("null")
    return a.text()


def _usual_array(a: _Code, guard: str, x: str, frame: str, otherwise: str) -> str:
    """Compares what most arguments are with its guard: an array that fits without more ado. The
    guard after it; goes to `otherwise` where it isn't one.
    """
    a.require(a.same("i64", a.load("i64", guard), str(Guard.ARRAY.value)), otherwise)
    a.require(
        a.same("ptr", a.load("ptr", x, object_layout.TYPE), a.object("ndarray")), otherwise
    )
    dtype = a.load("ptr", guard, GUARD_DTYPE * WORD)
    a.require(a.same("ptr", a.load("ptr", x, object_layout.ARRAY_DTYPE), dtype), otherwise)
    ndim = a.load("i64", guard, GUARD_NDIM * WORD)
    given = a.value(f"zext i32 {a.load('i32', x, object_layout.ARRAY_NDIM)} to i64")
    a.require(a.same("i64", given, ndim), otherwise)
    flags = a.value(f"and i32 {a.load('i32', x, object_layout.ARRAY_FLAGS)}, {_READY}")
    a.require(a.same("i32", flags, str(_READY)), otherwise)
    shape, wanted = a.load("ptr", x, object_layout.ARRAY_SHAPE), a.at(guard, GUARD_SHAPE * WORD)
    with a.loop(ndim) as k:
        pair = a.load_item("i64", shape, k), a.load_item("i64", wanted, k)
        a.require(a.same("i64", *pair), otherwise)
    a.store_item("ptr", x, frame, a.load("i64", guard, WORD))
    a.store_item("ptr", x, frame, a.load("i64", guard, 2 * WORD))
    return a.item(wanted, ndim)


def _enter() -> str:
    """Runs an entry for arguments that fit it: the results, null with an error, or _MISSED."""
    parameters = ["ptr entry", "ptr args", "i64 count", "ptr names"]
    a = _Code("internal enter", parameters, "noinline")
    named = a.word("%entry", Word.NAMED)
    with a.when(a.same("ptr", "%names", "null")):
        a.require(a.same("i64", named, "0"), "missed")
        a.jump("begin")
    a.require(a.same("i64", a.load("i64", "%names", object_layout.SIZE), named), "missed")
    given, wanted = (
        a.at("%names", object_layout.TUPLE_ITEMS),
        a.word("%entry", Word.NAMES, "ptr"),
    )
    with a.loop(named) as k:
        pair = a.load_item("ptr", given, k), a.load_item("ptr", wanted, k)
        a.require(a.same("ptr", *pair), "missed")
    a.label("begin")
    frame = a.value(f"alloca i64, i64 {a.word('%entry', Word.FRAME_WORDS)}, align 16")
    a.store("i64", "0", frame)
    unknown = a.item(frame, a.word("%entry", Word.EXTENTS_AT))
    with a.loop(a.word("%entry", Word.SYMBOLS)) as k:
        a.store_item("i64", "-1", unknown, k)
    guard, result = a.variable("ptr", "null"), a.variable("ptr", _MISSED)
    a.set("ptr", guard, a.word("%entry", Word.GUARDS, "ptr"))
    with a.loop(a.add("%count", named)) as k:
        x = a.load_item("ptr", "%args", k)
        here = a.get("ptr", guard)
        a.set("ptr", guard, _usual_array(a, here, x, frame, "unusual"))
        a.jump("matched")
        a.label("unusual")
        passed = f"ptr {here}", f"ptr {x}", f"ptr {frame}", "i64 0"
        following = a.call("ptr", "match", *passed)
        a.require(a.differ("ptr", following, "null"), "leave")
        a.set("ptr", guard, following)
        a.label("matched")
    python = a.word("%entry", Word.PYTHON, "ptr")
    with a.when(a.differ("ptr", python, "null")):
        leaves = a.item(frame, a.word("%entry", Word.LEAVES_AT))
        number = a.word("%entry", Word.LEAVES)
        finish = a.word("%entry", Word.FINISH, "ptr")
        with a.when(a.differ("ptr", finish, "null")):
            given = a.api("PyObject_Vectorcall", python, "%args", "%count", "%names")
            a.set("ptr", result, given)
            a.require(a.differ("ptr", given, "null"), "leave")
            passed = "ptr %entry", f"ptr {given}", f"ptr {leaves}", f"i64 {number}"
            a.require(a.same("ptr", a.call("ptr", "as_it_is", *passed), "null"), "leave")
            before = a.at(leaves, -WORD)
            a.store("ptr", given, before)
            more = a.add(number, "1")
            a.set("ptr", result, a.api("PyObject_Vectorcall", finish, before, more, "null"))
            a.api("Py_DecRef", given)
            a.jump("leave")
        found = a.api("PyObject_Vectorcall", python, leaves, number, "null")
        with a.when(a.same("ptr", found, a.object("miss"))):
            a.api("Py_DecRef", found)
            a.jump("leave")
        a.set("ptr", result, found)
        a.jump("leave")
    passed_on = "ptr %entry", f"ptr {frame}"
    with a.when(a.differ("i64", a.word("%entry", Word.LOCKS), "0")):
        a.set("ptr", result, a.call("ptr", "locked", *passed_on))
        a.jump("leave")
    a.set("ptr", result, a.call("ptr", "launch", *passed_on))
    a.label("leave")
    a.call("ptr", "release", f"ptr {frame}")
    a.ret(a.get("ptr", result))
    a.label("missed")
    a.ret(_MISSED)
    return a.text()


def _as_it_is() -> str:
    """Whether what a Python function gave is the result itself: null if not."""
    parameters = ["ptr entry", "ptr value", "ptr leaves", "i64 count"]
    a = _Code("internal as_it_is", parameters, "noinline")
    kind = a.load("ptr", "%value", object_layout.TYPE)
    for name in ("float", "int", "complex", "bool", "str"):
        a.require(a.differ("ptr", kind, a.object(name)), "yes")
    a.require(a.differ("ptr", "%value", a.object("none")), "yes")
    a.require(a.differ("i64", a.word("%entry", Word.RETURNS), "0"), "no")
    a.require(a.same("ptr", kind, a.object("ndarray")), "no")
    a.require(a.same("ptr", a.load("ptr", "%value", object_layout.ARRAY_BASE), "null"), "no")
    owner = a.variable("ptr", "null")
    with a.loop("%count") as k:  # a leaf may be what is returned, or a view of it
        leaf = a.load_item("ptr", "%leaves", k)
        a.set("ptr", owner, leaf)
        with a.when(
            a.same("ptr", a.load("ptr", leaf, object_layout.TYPE), a.object("ndarray"))
        ):
            with a.loop("64"):
                now = a.get("ptr", owner)
                a.require(a.differ("ptr", now, "%value"), "no")
                a.require(
                    a.same("ptr", a.load("ptr", now, object_layout.TYPE), a.object("ndarray")),
                    "no",
                )
                a.set("ptr", owner, a.load("ptr", now, object_layout.ARRAY_BASE))
                a.require(a.differ("ptr", a.get("ptr", owner), "null"), "apart")
            a.jump("no")
            a.label("apart")
    a.label("yes")
    a.ret("%value")
    a.label("no")
    a.ret("null")
    return a.text()


def _locked() -> str:
    """Launches with the locks of variables held, each acquired and released by Python."""
    a = _Code("internal locked", ["ptr entry", "ptr frame"], "noinline")
    count, table = a.word("%entry", Word.LOCKS), a.word("%entry", Word.LOCK_TABLE, "ptr")
    acquired, result = a.variable("i64", "0"), a.variable("ptr", "null")
    with a.loop(count) as k:
        lock = a.item(table, a.value(f"shl i64 {k}, 1"))
        found = a.api("PyObject_CallNoArgs", a.load("ptr", lock))
        a.require(a.differ("ptr", found, "null"), "interrupted")
        a.api("Py_DecRef", found)
        a.set("i64", acquired, a.add(k, "1"))
    a.set("ptr", result, a.call("ptr", "launch", "ptr %entry", "ptr %frame"))
    a.label("interrupted")
    # a call must not begin with an error under way
    error = [a.variable("ptr", "null") for _ in range(3)]
    failed = a.same("ptr", a.get("ptr", result), "null")
    with a.when(failed):
        a.api("PyErr_Fetch", *error)
    last = a.get("i64", acquired)
    with a.loop(last) as k:
        place = a.value(f"sub i64 {a.add(last, '-1')}, {k}")
        lock = a.item(table, a.value(f"shl i64 {place}, 1"))
        found = a.api("PyObject_CallNoArgs", a.load("ptr", lock, WORD))
        with a.when(a.differ("ptr", found, "null")):
            a.api("Py_DecRef", found)
    with a.when(failed):
        a.api("PyErr_Restore", *(a.get("ptr", e) for e in error))
    a.ret(a.get("ptr", result))
    return a.text()


def _launch(tensor_array: int, tensor_type: int, cell_array: int) -> str:
    """Finds what the entry reads but isn't given, allocates, computes: as `enter` gives it."""
    a = _Code("internal launch", ["ptr entry", "ptr frame"], "noinline")
    frame = "%frame"
    count = a.word("%entry", Word.RESULTS)
    results = a.item(frame, a.word("%entry", Word.RESULTS_AT))
    described = a.word("%entry", Word.RESULT_TABLE, "ptr")
    with a.loop(count) as k:
        a.store_item("ptr", "null", results, k)

    def description(k: str) -> str:
        return a.item(described, a.value(f"mul i64 {k}, {len(ResultWord)}"))

    def small_array(result: str, extents: str) -> str:
        dtype = a.word(result, ResultWord.DTYPE, "ptr")
        a.api("Py_IncRef", dtype)  # NumPy takes it over
        rank = a.value(f"trunc i64 {a.word(result, ResultWord.NDIM)} to i32")
        given = a.object("ndarray"), dtype, rank, extents, "null", "null", "0", "null"
        new = a.api("PyArray_NewFromDescr", *given)
        a.require(a.differ("ptr", new, "null"), "no_memory")
        return new

    plain = a.differ("i64", a.word("%entry", Word.PLAIN), "0")
    arena, record = a.variable("ptr", "null"), a.variable("ptr", "null")
    with a.when(plain):
        with a.loop(count) as k:
            result = description(k)
            new = small_array(result, a.word(result, ResultWord.SHAPE, "ptr"))
            a.store_item("ptr", new, results, k)
            a.store_item("ptr", new, frame, a.word(result, ResultWord.ARGUMENT))
        a.jump("compute")

    guard = a.variable("ptr", "null")
    a.set("ptr", guard, a.word("%entry", Word.ROOT_GUARDS, "ptr"))
    roots = a.word("%entry", Word.ROOT_TABLE, "ptr")
    with a.loop(a.word("%entry", Word.ROOTS)) as k:
        x = a.load_item("ptr", roots, k)
        passed = f"ptr {a.get('ptr', guard)}", f"ptr {x}", f"ptr {frame}", f"i64 {_FOUND}"
        following = a.call("ptr", "match", *passed)
        with a.when(a.same("ptr", following, "null")):
            a.require(a.differ("ptr", a.api("PyErr_Occurred"), "null"), "missed")
            a.ret("null")
        a.set("ptr", guard, following)
    constants = a.word("%entry", Word.CONSTANT_TABLE, "ptr")
    with a.loop(a.word("%entry", Word.CONSTANTS)) as k:
        constant = a.item(constants, a.value(f"shl i64 {k}, 1"))
        a.store_item("ptr", a.load("ptr", constant, WORD), frame, a.load("i64", constant))

    prepare = a.word("%entry", Word.PREPARE, "ptr")
    with a.when(a.differ("ptr", prepare, "null")):
        place = a.word("%entry", Word.SIZES_ARGUMENT)
        sizes = a.fake(frame, place, a.word("%entry", Word.SIZES_CELL))
        extents = a.item(frame, a.word("%entry", Word.EXTENTS_AT))
        told = a.call("i64", prepare, f"ptr {extents}", f"ptr {sizes}")
        a.require(a.differ("i64", told, "0"), "missed")
    array = a.variable("ptr", "null")
    with a.loop(count) as k:
        result = description(k)
        kind = a.word(result, ResultWord.KIND)
        cases = {r: "fake" for r in Result}
        arrays = (Result.ARRAY, Result.TENSOR, Result.UPDATE)
        known = dict.fromkeys((Result.STATIC, Result.LEAF, Result.AGAIN), "made")
        cases |= {**dict.fromkeys(arrays, "allocate"), **known}
        a.switch(kind, cases, "made")
        a.label("allocate")
        make = a.word(result, ResultWord.MAKE, "ptr")
        ndim, extents = a.word(result, ResultWord.NDIM), a.variable("ptr", "null")
        a.set("ptr", extents, a.word(result, ResultWord.SHAPE, "ptr"))
        shape_at = a.word(result, ResultWord.SHAPE_AT)
        with a.when(a.differ("i64", shape_at, "0")):
            there = a.item(frame, shape_at)
            a.set("ptr", extents, there)
            bytes = a.load_item("i64", there, ndim)
            a.require(a.value(f"icmp uge i64 {bytes}, {LARGE_BYTES}"), "small")
            sized = a.call("ptr", "call_with", f"ptr {make}", f"ptr {there}", f"i64 {ndim}")
            a.set("ptr", array, sized)
            a.require(a.differ("ptr", sized, "null"), "failed")
            a.jump("allocated")
        with a.when(a.differ("ptr", make, "null")):
            a.set("ptr", array, a.api("PyObject_CallNoArgs", make))
            a.require(a.differ("ptr", a.get("ptr", array), "null"), "failed")
            a.jump("allocated")
        a.label("small")
        a.set("ptr", array, small_array(result, a.get("ptr", extents)))
        a.label("allocated")
        a.store_item("ptr", a.get("ptr", array), results, k)
        a.store_item("ptr", a.get("ptr", array), frame, a.word(result, ResultWord.ARGUMENT))
        a.jump("made")
        a.label("fake")
        a.fake(frame, a.word(result, ResultWord.ARGUMENT), a.word(result, ResultWord.CELL))
        a.label("made")

    spare = Word.SPARE_ARENA * WORD
    size = a.word("%entry", Word.ARENA_BYTES)
    argument = a.word("%entry", Word.ARENA_ARGUMENT)
    with a.when(a.differ("i64", size, "0")):
        make = a.word("%entry", Word.MAKE_ARENA, "ptr")
        with a.when(a.same("ptr", make, "null")):
            bytes = a.value(f"alloca i8, i64 {size}, align 64")
            words = a.item(frame, a.word("%entry", Word.ARENA_CELL))
            a.store("ptr", bytes, words)
            a.store_item("ptr", a.at(words, -object_layout.ARRAY_DATA), frame, argument)
            a.jump("arena_ready")
        a.set("ptr", arena, a.load("ptr", "%entry", spare))
        a.store("ptr", "null", "%entry", spare)
        needed_at = a.word("%entry", Word.ARENA_AT)
        with a.when(a.differ("i64", needed_at, "0")):
            needed = a.item(frame, needed_at)
            former = a.get("ptr", arena)
            with a.when(a.differ("ptr", former, "null")):
                room = a.load("i64", a.load("ptr", former, object_layout.ARRAY_SHAPE))
                a.require(a.value(f"icmp ult i64 {room}, {a.load('i64', needed)}"), "roomy")
                a.api("Py_DecRef", former)
            a.set(
                "ptr",
                arena,
                a.call("ptr", "call_with", f"ptr {make}", f"ptr {needed}", "i64 1"),
            )
            a.require(a.differ("ptr", a.get("ptr", arena), "null"), "no_memory")
            a.label("roomy")
        with a.when(a.same("ptr", a.get("ptr", arena), "null")):
            a.set("ptr", arena, a.api("PyObject_CallNoArgs", make))
            a.require(a.differ("ptr", a.get("ptr", arena), "null"), "failed")
        a.store_item("ptr", a.get("ptr", arena), frame, argument)
        a.label("arena_ready")
    cell = a.word("%entry", Word.RECORD_CELL)
    with a.when(a.differ("i64", cell, "0")):
        a.set("ptr", record, a.fake(frame, a.word("%entry", Word.RECORD_ARGUMENT), cell))

    a.label("compute")
    arguments = a.item(frame, a.word("%entry", Word.ARGUMENTS_AT))
    segment = a.word("%entry", Word.SEGMENT, "ptr")
    status = a.variable("i64", "0")
    with a.when(a.differ("ptr", segment, "null")):
        a.set("i64", status, a.call("i64", segment, f"ptr {arguments}"))

    lent = a.get("ptr", arena)
    with a.when(a.differ("ptr", lent, "null")):
        with a.when(a.same("ptr", a.load("ptr", "%entry", spare), "null")):
            a.store("ptr", lent, "%entry", spare)
            a.jump("given_back")
        a.api("Py_DecRef", lent)
        a.label("given_back")

    code = a.get("i64", status)
    with a.when(a.differ("i64", code, "0")):
        a.require(a.differ("i64", code, str(INTERRUPTED)), "failed")
        with a.when(a.same("i64", code, str(SHALLOW))):  # nothing was done: Python knows how
            a.call("ptr", "drop", "ptr %entry", f"ptr {frame}")
            a.jump("missed")
        a.call("ptr", "tell", "ptr %entry", f"i64 {code}", f"ptr {a.get('ptr', record)}")
        a.jump("failed")

    made = a.variable("ptr", "null")
    with a.when(plain):
        a.jump("finish")
    with a.loop(count) as k:
        result = description(k)
        cell = a.item(frame, a.word(result, ResultWord.CELL))
        data = a.at(cell, WORD)
        a.switch(
            a.word(result, ResultWord.KIND), {r: f"as_{r.name}" for r in Result}, "finished"
        )
        a.label("as_SCALAR")
        dtype = a.word(result, ResultWord.DTYPE, "ptr")
        a.set("ptr", made, a.api("PyArray_Scalar", data, dtype, "null"))
        a.jump("keep")
        a.label("as_FLOAT")
        a.set("ptr", made, a.api("PyFloat_FromDouble", a.load("double", data)))
        a.jump("keep")
        a.label("as_INTEGER")
        a.set("ptr", made, a.api("PyLong_FromLongLong", a.load("i64", data)))
        a.jump("keep")
        a.label("as_COMPLEX")
        real, imaginary = a.load("double", data), a.load("double", data, WORD)
        a.set("ptr", made, a.api("PyComplex_FromDoubles", real, imaginary))
        a.jump("keep")
        a.label("as_BOOL")
        bit = a.value(f"zext i8 {a.load('i8', data)} to i64")
        a.set("ptr", made, a.api("PyBool_FromLong", bit))
        a.jump("keep")
        a.label("as_STATIC")
        object = a.word(result, ResultWord.OBJECT, "ptr")
        a.api("Py_IncRef", object)
        a.set("ptr", made, object)
        a.jump("keep")
        a.label("as_LEAF")
        leaf = a.load_item("ptr", frame, a.word(result, ResultWord.OBJECT))
        a.api("Py_IncRef", leaf)
        a.set("ptr", made, leaf)
        a.jump("keep")
        a.label("as_AGAIN")
        earlier = a.load_item("ptr", results, a.word(result, ResultWord.OBJECT))
        a.api("Py_IncRef", earlier)
        a.set("ptr", made, earlier)
        a.jump("keep")
        a.label("as_TENSOR")
        tensor = a.api("PyType_GenericAlloc", a.object("tensor"), "0")
        a.require(a.differ("ptr", tensor, "null"), "failed")
        type = a.word(result, ResultWord.OBJECT, "ptr")
        a.api("Py_IncRef", type)
        a.store("ptr", type, tensor, tensor_type)
        a.store("ptr", a.load_item("ptr", results, k), tensor, tensor_array)
        a.set("ptr", made, tensor)
        a.jump("keep")
        a.label("as_UPDATE")  # after all that is returned, so nothing more can fail but packing
        owner = a.word(result, ResultWord.OBJECT, "ptr")
        former = a.load("ptr", owner, cell_array)
        a.store("ptr", a.load_item("ptr", results, k), owner, cell_array)
        a.store_item("ptr", "null", results, k)
        a.api("Py_DecRef", former)
        a.jump("finished")
        a.label("keep")
        new = a.get("ptr", made)
        a.require(a.differ("ptr", new, "null"), "failed")
        a.store_item("ptr", new, results, k)
        a.jump("finished")
        a.label("as_ARRAY")
        a.label("finished")

    a.label("finish")
    plan = a.word("%entry", Word.PLAN, "ptr")
    with a.when(a.same("ptr", plan, "null")):
        a.ret(a.load("ptr", results))
    cursor, following = a.variable("ptr", "null"), a.variable("i64", "0")
    a.set("ptr", cursor, plan)
    whole = a.call("ptr", "build", f"ptr {cursor}", f"ptr {results}", f"ptr {following}")
    a.require(a.differ("ptr", whole, "null"), "failed")
    a.ret(whole)

    a.label("failed")
    a.call("ptr", "drop", "ptr %entry", f"ptr {frame}")
    a.ret("null")
    a.label("no_memory")  # Python allocates them in its own way, or says what was asked for
    a.api("PyErr_Clear")
    a.call("ptr", "drop", "ptr %entry", f"ptr {frame}")
    a.label("missed")
    a.ret(_MISSED)
    return a.text()


def _call_with() -> str:
    """What a Python function gives for some integers."""
    a = _Code("internal call_with", ["ptr function", "ptr words", "i64 count"], "noinline")
    given = a.api("PyTuple_New", "%count")
    a.require(a.differ("ptr", given, "null"), "nothing")
    with a.loop("%count") as k:
        number = a.api("PyLong_FromLongLong", a.load_item("i64", "%words", k))
        with a.when(a.same("ptr", number, "null")):
            a.api("Py_DecRef", given)
            a.jump("nothing")
        a.api("PyTuple_SetItem", given, k, number)
    result = a.api("PyObject_CallObject", "%function", given)
    a.api("Py_DecRef", given)
    a.ret(result)
    a.label("nothing")
    a.ret("null")
    return a.text()


def _build() -> str:
    """A container of results, by a plan; takes them over. Null with an error."""
    a = _Code("internal build", ["ptr cursor", "ptr results", "ptr following"], "noinline")

    def next_word(type: str) -> str:
        at = a.load("ptr", "%cursor")
        a.store("ptr", a.at(at, WORD), "%cursor")
        return a.load(type, at)

    def next_part(whole: str) -> str:
        part = a.call("ptr", "build", "ptr %cursor", "ptr %results", "ptr %following")
        a.set("ptr", partial, whole)
        a.require(a.differ("ptr", part, "null"), "failed")
        return part

    partial = a.variable("ptr", "null")
    a.switch(next_word("i64"), {b: f"as_{b.name}" for b in Build}, "as_RESULT")
    a.label("as_RESULT")
    number = a.load("i64", "%following")
    a.store("i64", a.add(number, "1"), "%following")
    place = a.item("%results", number)
    result = a.load("ptr", place)
    a.store("ptr", "null", place)
    a.ret(result)
    for label, kind in (("TUPLE", "PyTuple"), ("LIST", "PyList")):
        a.label(f"as_{label}")
        count = next_word("i64")
        whole = a.api(f"{kind}_New", count)
        a.require(a.differ("ptr", whole, "null"), "nothing")
        with a.loop(count) as k:
            a.api(f"{kind}_SetItem", whole, k, next_part(whole))
        a.ret(whole)
    a.label("as_DICT")
    count, whole = next_word("i64"), a.api("PyDict_New")
    a.require(a.differ("ptr", whole, "null"), "nothing")
    with a.loop(count):
        key = next_word("ptr")
        part = next_part(whole)
        status = a.api("PyDict_SetItem", whole, key, part)
        a.api("Py_DecRef", part)
        a.require(a.same("i32", status, "0"), "failed")
    a.ret(whole)
    a.label("as_CALL")
    count, function = next_word("i64"), next_word("ptr")
    whole = a.api("PyTuple_New", count)
    a.require(a.differ("ptr", whole, "null"), "nothing")
    with a.loop(count) as k:
        a.api("PyTuple_SetItem", whole, k, next_part(whole))
    made = a.api("PyObject_CallObject", function, whole)
    a.api("Py_DecRef", whole)
    a.ret(made)
    a.label("failed")
    a.api("Py_DecRef", a.get("ptr", partial))
    a.label("nothing")
    a.ret("null")
    return a.text()


def _tell() -> str:
    """Has Python raise the error that a kernel's status and record mean."""
    a = _Code("internal tell", ["ptr entry", "i64 code", "ptr record"], "noinline")
    given = a.variable("[4 x ptr]", "zeroinitializer")
    numbers = ["%code", *(a.load("i64", "%record", k * WORD) for k in range(3))]
    for k, number in enumerate(numbers):
        new = a.api("PyLong_FromLongLong", number)
        a.require(a.differ("ptr", new, "null"), "done")
        a.store("ptr", new, given, k * WORD)
    fail = a.word("%entry", Word.FAIL, "ptr")
    result = a.api("PyObject_Vectorcall", fail, given, "4", "null")
    with a.when(a.differ("ptr", result, "null")):
        a.api("Py_DecRef", result)
    a.label("done")
    for k in range(4):
        number = a.load("ptr", given, k * WORD)
        with a.when(a.differ("ptr", number, "null")):
            a.api("Py_DecRef", number)
    a.ret("null")
    return a.text()


def _text(table: int, tensor_array: int, tensor_type: int, cell_array: int) -> str:
    """The dispatcher's code, as LLVM IR."""
    functions = (
        f"@functions = global [{len(_API)} x ptr] zeroinitializer",
        f"@objects = global [{len(_OBJECTS)} x ptr] zeroinitializer",
        _eager_here(), _slow(), _move_to_front(), _release(), _drop(), _tell(), _build(),
        _call_with(),
        _match(tensor_array, cell_array), _launch(tensor_array, tensor_type, cell_array),
        _locked(), _as_it_is(), _enter(), _dispatch(table),
    )  # fmt: skip
    return "\n".join(functions)


class _Dispatcher:
    """The compiled code. address: of its vectorcall function."""

    def __init__(self, objects: dict[str, int], offsets: Sequence[int]) -> None:
        # function objects lead here for as long as any lives: it is never unloaded
        self._code = lasting_code("dispatcher", lambda: _text(*offsets), offsets)
        addresses = {
            name: ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
            for name in _PYTHON
        }
        addresses |= object_layout.numpy_functions()
        self._fill("functions", [addresses[name] for name in _API])
        self._fill("objects", [objects[name] for name in _OBJECTS])
        self.address = self._code.address("dispatch")

    def _fill(self, name: str, words: list[Any]) -> None:
        place = self._code.address(name)
        (ctypes.c_uint64 * len(words)).from_address(place)[:] = words


def _keep(value: Any) -> None:
    """Let an object live for as long as the process does, its end included."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


def install(
    kind: type,
    slow: Callable[..., Any],
    tensor: type,
    cell: type,
    gates: Any,
    eager: Any,
) -> int:
    """The address to enter instances of a class at; made once for each process.

    kind: the class, which has a slot `_table`. slow: what a call does that no entry fits.
    tensor and cell: the classes of tensors and of what variables keep their array in.
    gates: two words; calls go to `slow` while the first is not 0, and where the second is not
    0, if the context variable `eager` has a value other than None.
    """
    for value in (slow, tensor, cell, gates, eager, MISS):
        _keep(value)
    types = {
        "ndarray": np.ndarray, "tensor": tensor, "float": float, "int": int,
        "complex": complex, "list": list, "dict": dict, "bool": bool, "str": str,
    }  # fmt: skip
    objects = {name: id(t) for name, t in types.items()}
    objects |= {"gates": gates.buffer_info()[0], "eager": id(eager), "slow": id(slow)}
    objects |= {"miss": id(MISS), "none": id(None)}
    objects["exception"] = id(Exception)
    slots = (kind, "_table"), (tensor, "_array"), (tensor, "type"), (cell, "array")
    return _Dispatcher(objects, [object_layout.slot_offset(*slot) for slot in slots]).address


__all__ = ["MISS", "install"]
