"""Results: converting each, putting them together, releasing them, raising errors."""

from __future__ import annotations

from graphjit.codegen.runtime.entry_layout import BuildKind, EntryWord, ResultKind, ResultWord
from graphjit.core.object_layout import WORD

from .object_code import ObjectCode, SlotOffsets


def write_drop() -> str:
    """The function that releases the results made so far."""
    a = ObjectCode("internal drop", ["ptr entry", "ptr frame"], "noinline")
    results = a.item("%frame", a.word("%entry", EntryWord.RESULTS_AT))
    with a.loop(a.word("%entry", EntryWord.RESULTS)) as k:
        result = a.load_item("ptr", results, k)
        with a.when(a.differ("ptr", result, "null")):
            a.api("Py_DecRef", result)
    a.ret("null")
    return a.text()


def write_build() -> str:
    """The function that makes a container of results by a plan; null with an error.

    It takes over the references to the results.
    """
    a = ObjectCode("internal build", ["ptr cursor", "ptr results", "ptr following"], "noinline")

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
    a.switch(next_word("i64"), {b: f"as_{b.name}" for b in BuildKind}, "as_RESULT")
    a.label("as_RESULT")
    number = a.load("i64", "%following")
    a.store("i64", a.add(number, "1"), "%following")
    slot = a.item("%results", number)
    result = a.load("ptr", slot)
    a.store("ptr", "null", slot)
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


def write_tell() -> str:
    """The function that has Python raise the error that a status and a record mean."""
    a = ObjectCode("internal tell", ["ptr entry", "i64 code", "ptr record"], "noinline")
    given = a.variable("[4 x ptr]", "zeroinitializer")
    numbers = ["%code", *(a.load("i64", "%record", k * WORD) for k in range(3))]
    for k, number in enumerate(numbers):
        new = a.api("PyLong_FromLongLong", number)
        a.require(a.differ("ptr", new, "null"), "done")
        a.store("ptr", new, given, k * WORD)
    fail = a.word("%entry", EntryWord.FAIL, "ptr")
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


def result_description(a: ObjectCode, descriptions: str, k: str) -> str:
    """The address of the description of result `k`."""
    return a.item(descriptions, a.value(f"mul i64 {k}, {len(ResultWord)}"))


def convert_result(
    a: ObjectCode, result: str, results: str, k: str, made: str, offsets: SlotOffsets
) -> None:
    """Write the code that makes the object of one result, after the segment has run.

    result: the address of its description
    results: the address of the table of results, of which this is number `k`
    made: a local variable for the object
    """
    cell = a.item("%frame", a.word(result, ResultWord.CELL))
    data = a.at(cell, WORD)
    a.switch(
        a.word(result, ResultWord.KIND), {r: f"as_{r.name}" for r in ResultKind}, "finished"
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
    leaf = a.load_item("ptr", "%frame", a.word(result, ResultWord.OBJECT))
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
    a.store("ptr", type, tensor, offsets.tensor_type)
    a.store("ptr", a.load_item("ptr", results, k), tensor, offsets.tensor_array)
    a.set("ptr", made, tensor)
    a.jump("keep")
    a.label("as_UPDATE")  # last of all: only putting results together can still fail
    owner = a.word(result, ResultWord.OBJECT, "ptr")
    former = a.load("ptr", owner, offsets.cell_array)
    a.store("ptr", a.load_item("ptr", results, k), owner, offsets.cell_array)
    a.store_item("ptr", "null", results, k)
    a.api("Py_DecRef", former)
    a.jump("finished")
    a.label("as_WRITTEN")
    target = a.load_item("ptr", "%frame", a.word(result, ResultWord.OBJECT))
    copied = a.api("PyArray_CopyInto", target, a.load_item("ptr", results, k))
    a.require(a.same("i32", copied, "0"), "failed")
    a.label("as_IN_PLACE")
    written = a.load_item("ptr", results, k)
    a.store_item("ptr", "null", results, k)
    a.api("Py_DecRef", written)
    a.jump("finished")
    a.label("keep")
    new = a.get("ptr", made)
    a.require(a.differ("ptr", new, "null"), "failed")
    a.store_item("ptr", new, results, k)
    a.jump("finished")
    a.label("as_ARRAY")
    a.label("finished")
