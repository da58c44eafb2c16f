"""Running an entry: captured arrays, sizes, allocation, the segment, its failures."""

from __future__ import annotations

from graphjit.codegen.runtime.entry_layout import (
    MAX_FRAME_WORDS,
    EntryWord,
    ResultKind,
    ResultWord,
)
from graphjit.codegen.runtime.runtime_symbols import (
    INTERRUPTED,
    NEEDS_PYTHON,
    NOT_TAKEN,
    SHALLOW,
)
from graphjit.core import object_layout
from graphjit.core.memory_pool import LARGE_BYTES
from graphjit.core.object_layout import WORD

from .guards import LOOKED_UP
from .object_code import MISSED, ObjectCode, SlotOffsets
from .results import convert_result, result_description

_FRAME = "%frame"


def write_launch(offsets: SlotOffsets) -> str:
    """The function that runs an entry whose guards on arguments hold.

    It returns the results, null with an error, or MISSED.
    """
    return _LaunchWriter(offsets).text()


def write_match_roots() -> str:
    """The function that compares what a specialization reads but isn't given with its guards.

    It returns the frame, null with an error, or MISSED.
    """
    a = ObjectCode("internal match_roots", ["ptr entry", "ptr frame"])
    guard = a.variable("ptr", "null")
    a.set("ptr", guard, a.word("%entry", EntryWord.ROOT_GUARDS, "ptr"))
    roots = a.word("%entry", EntryWord.ROOT_TABLE, "ptr")
    with a.loop(a.word("%entry", EntryWord.ROOTS)) as k:
        known = a.load_item("ptr", roots, k)
        root = a.variable("ptr", "null")
        a.set("ptr", root, known)
        number = a.value(f"ptrtoint ptr {known} to i64")
        with a.when(a.value(f"icmp ult i64 {number}, {MAX_FRAME_WORDS}")):
            a.set("ptr", root, a.load_item("ptr", _FRAME, number))  # a leaf of the arguments
        x = a.get("ptr", root)
        here = a.get("ptr", guard)
        passed = f"ptr {here}", f"ptr {x}", f"ptr {_FRAME}", f"i64 {LOOKED_UP}"
        following = a.call("ptr", "match", *passed)
        with a.when(a.same("ptr", following, "null")):
            a.require(a.differ("ptr", a.api("PyErr_Occurred"), "null"), "missed")
            a.ret("null")
        a.set("ptr", guard, following)
    a.ret(_FRAME)
    a.label("missed")
    a.ret(MISSED)
    return a.text()


class _LaunchWriter:
    """Writes `launch`, step by step in the order in which a call takes them."""

    def __init__(self, offsets: SlotOffsets) -> None:
        self.offsets = offsets
        self.code = a = ObjectCode("internal launch", ["ptr entry", "ptr frame"], "noinline")
        self.count = a.word("%entry", EntryWord.RESULTS)
        self.results = a.item(_FRAME, a.word("%entry", EntryWord.RESULTS_AT))
        self.descriptions = a.word("%entry", EntryWord.RESULT_TABLE, "ptr")

    def text(self) -> str:
        """The function's text."""
        a = self.code
        with a.loop(self.count) as k:
            a.store_item("ptr", "null", self.results, k)
        self.plain = a.differ("i64", a.word("%entry", EntryWord.PLAIN), "0")
        self.arena, self.record = a.variable("ptr", "null"), a.variable("ptr", "null")
        self._allocate_plain_results()
        self._match_roots()
        self._pass_constants()
        self._prepare_sizes()
        self._allocate_results()
        self._provide_arena()
        self._provide_record()
        self._run_segment()
        converted = a.variable("ptr", "null")
        with a.when(self.plain):
            a.jump("finish")
        with a.loop(self.count) as k:
            result = result_description(a, self.descriptions, k)
            convert_result(a, result, self.results, k, converted, self.offsets)
        self._put_together()

        a.label("failed")
        a.call("ptr", "drop", "ptr %entry", f"ptr {_FRAME}")
        a.ret("null")
        a.label("no_memory")  # Python allocates in its own way, or says what was asked for
        a.api("PyErr_Clear")
        a.call("ptr", "drop", "ptr %entry", f"ptr {_FRAME}")
        a.label("missed")
        a.ret(MISSED)
        return a.text()

    def _small_array(self, result: str, extents: str) -> str:
        """A new array that NumPy allocates."""
        a = self.code
        dtype = a.word(result, ResultWord.DTYPE, "ptr")
        a.api("Py_IncRef", dtype)  # NumPy takes this reference over
        rank = a.value(f"trunc i64 {a.word(result, ResultWord.NDIM)} to i32")
        given = a.object("ndarray"), dtype, rank, extents, "null", "null", "0", "null"
        new = a.api("PyArray_NewFromDescr", *given)
        a.require(a.differ("ptr", new, "null"), "no_memory")
        return new

    def _allocate_plain_results(self) -> None:
        """The short way for entries that only take arrays and make small ones."""
        a = self.code
        with a.when(self.plain):
            with a.loop(self.count) as k:
                result = result_description(a, self.descriptions, k)
                new = self._small_array(result, a.word(result, ResultWord.SHAPE, "ptr"))
                a.store_item("ptr", new, self.results, k)
                a.store_item("ptr", new, _FRAME, a.word(result, ResultWord.ARGUMENT))
            a.jump("compute")

    def _match_roots(self) -> None:
        """Compare what the specialization reads but isn't given with its guards."""
        a = self.code
        found = a.call("ptr", "match_roots", "ptr %entry", f"ptr {_FRAME}")
        with a.when(a.differ("ptr", found, _FRAME)):
            a.ret(found)

    def _pass_constants(self) -> None:
        """Put arrays of constants among the segment's arguments."""
        a = self.code
        constants = a.word("%entry", EntryWord.CONSTANT_TABLE, "ptr")
        with a.loop(a.word("%entry", EntryWord.CONSTANTS)) as k:
            constant = a.item(constants, a.value(f"shl i64 {k}, 1"))
            array = a.load("ptr", constant, WORD)
            a.store_item("ptr", array, _FRAME, a.load("i64", constant))

    def _prepare_sizes(self) -> None:
        """Check guards on symbolic sizes, and compute extents of results."""
        a = self.code
        prepare = a.word("%entry", EntryWord.PREPARE, "ptr")
        with a.when(a.differ("ptr", prepare, "null")):
            argument = a.word("%entry", EntryWord.SIZES_ARGUMENT)
            sizes = a.stand_in(_FRAME, argument, a.word("%entry", EntryWord.SIZES_CELL))
            extents = a.item(_FRAME, a.word("%entry", EntryWord.EXTENTS_AT))
            holds = a.call("i64", prepare, f"ptr {extents}", f"ptr {sizes}")
            a.require(a.differ("i64", holds, "0"), "missed")

    def _allocate_results(self) -> None:
        """Make room for each result that the segment computes."""
        a = self.code
        array = a.variable("ptr", "null")
        with a.loop(self.count) as k:
            result = result_description(a, self.descriptions, k)
            kind = a.word(result, ResultWord.KIND)
            arrays = (ResultKind.ARRAY, ResultKind.TENSOR, ResultKind.UPDATE)
            known = (ResultKind.STATIC, ResultKind.LEAF, ResultKind.AGAIN)
            cases = dict.fromkeys(ResultKind, "fake")
            cases |= {**dict.fromkeys(arrays, "allocate"), **dict.fromkeys(known, "made")}
            cases |= {ResultKind.WRITTEN: "written", ResultKind.IN_PLACE: "written"}
            a.switch(kind, cases, "made")
            a.label("written")
            leaf_at = a.word(result, ResultWord.OBJECT)
            passed = "ptr %entry", f"ptr {_FRAME}", f"i64 {leaf_at}"
            found = a.call("ptr", "writable", *passed)
            a.require(a.differ("ptr", found, "null"), "no_memory")
            a.require(a.same("i64", kind, str(ResultKind.IN_PLACE.value)), "allocate")
            leaf = a.load_item("ptr", _FRAME, leaf_at)
            a.api("Py_IncRef", leaf)
            a.store_item("ptr", leaf, self.results, k)
            a.store_item("ptr", leaf, _FRAME, a.word(result, ResultWord.ARGUMENT))
            a.jump("made")
            a.label("allocate")
            make = a.word(result, ResultWord.MAKE, "ptr")
            ndim, extents = a.word(result, ResultWord.NDIM), a.variable("ptr", "null")
            a.set("ptr", extents, a.word(result, ResultWord.SHAPE, "ptr"))
            shape_at = a.word(result, ResultWord.SHAPE_AT)
            with a.when(a.differ("i64", shape_at, "0")):  # symbolic: extents, then bytes
                there = a.item(_FRAME, shape_at)
                a.set("ptr", extents, there)
                bytes = a.load_item("i64", there, ndim)
                a.require(a.value(f"icmp uge i64 {bytes}, {LARGE_BYTES}"), "small")
                passed = f"ptr {make}", f"ptr {there}", f"i64 {ndim}"
                sized = a.call("ptr", "call_with", *passed)
                a.set("ptr", array, sized)
                a.require(a.differ("ptr", sized, "null"), "failed")
                a.jump("allocated")
            with a.when(a.differ("ptr", make, "null")):
                a.set("ptr", array, a.api("PyObject_CallNoArgs", make))
                a.require(a.differ("ptr", a.get("ptr", array), "null"), "failed")
                a.jump("allocated")
            a.label("small")
            a.set("ptr", array, self._small_array(result, a.get("ptr", extents)))
            a.label("allocated")
            a.store_item("ptr", a.get("ptr", array), self.results, k)
            new = a.get("ptr", array)
            a.store_item("ptr", new, _FRAME, a.word(result, ResultWord.ARGUMENT))
            a.jump("made")
            a.label("fake")  # a number: words of the frame stand in for an array
            argument = a.word(result, ResultWord.ARGUMENT)
            a.stand_in(_FRAME, argument, a.word(result, ResultWord.CELL))
            a.label("made")

    def _provide_arena(self) -> None:
        """Memory for temporaries: on the stack, the spare arena, or a new one."""
        a, arena = self.code, self.arena
        spare = EntryWord.SPARE_ARENA * WORD
        size = a.word("%entry", EntryWord.ARENA_BYTES)
        argument = a.word("%entry", EntryWord.ARENA_ARGUMENT)
        with a.when(a.differ("i64", size, "0")):
            make = a.word("%entry", EntryWord.MAKE_ARENA, "ptr")
            with a.when(a.same("ptr", make, "null")):
                bytes = a.value(f"alloca i8, i64 {size}, align 64")
                words = a.item(_FRAME, a.word("%entry", EntryWord.ARENA_CELL))
                a.store("ptr", bytes, words)
                stand_in = a.at(words, -object_layout.ARRAY_DATA)
                a.store_item("ptr", stand_in, _FRAME, argument)
                a.jump("arena_ready")
            a.set("ptr", arena, a.load("ptr", "%entry", spare))
            a.store("ptr", "null", "%entry", spare)
            needed_at = a.word("%entry", EntryWord.ARENA_AT)
            with a.when(a.differ("i64", needed_at, "0")):
                self._fit_arena(a.item(_FRAME, needed_at), make)
            with a.when(a.same("ptr", a.get("ptr", arena), "null")):
                a.set("ptr", arena, a.api("PyObject_CallNoArgs", make))
                a.require(a.differ("ptr", a.get("ptr", arena), "null"), "failed")
            a.store_item("ptr", a.get("ptr", arena), _FRAME, argument)
            a.label("arena_ready")

    def _fit_arena(self, needed: str, make: str) -> None:
        """Replace the spare arena if it is too small for the sizes of this call."""
        a, arena = self.code, self.arena
        former = a.get("ptr", arena)
        with a.when(a.differ("ptr", former, "null")):
            room = a.load("i64", a.load("ptr", former, object_layout.ARRAY_SHAPE))
            a.require(a.value(f"icmp ult i64 {room}, {a.load('i64', needed)}"), "roomy")
            a.api("Py_DecRef", former)
        a.set("ptr", arena, a.call("ptr", "call_with", f"ptr {make}", f"ptr {needed}", "i64 1"))
        a.require(a.differ("ptr", a.get("ptr", arena), "null"), "no_memory")
        a.label("roomy")

    def _provide_record(self) -> None:
        """Room for the details of a check that fails."""
        a = self.code
        cell = a.word("%entry", EntryWord.RECORD_CELL)
        with a.when(a.differ("i64", cell, "0")):
            argument = a.word("%entry", EntryWord.RECORD_ARGUMENT)
            record = a.stand_in(_FRAME, argument, cell)
            a.store("i64", "0", record, 2 * WORD)  # no loop's iteration
            a.set("ptr", self.record, record)

    def _run_segment(self) -> None:
        """Call the segment, give the arena back, and deal with a status other than 0."""
        a = self.code
        a.label("compute")
        arguments = a.item(_FRAME, a.word("%entry", EntryWord.ARGUMENTS_AT))
        segment = a.word("%entry", EntryWord.SEGMENT, "ptr")
        status = a.variable("i64", "0")
        with a.when(a.differ("ptr", segment, "null")):
            a.set("i64", status, a.call("i64", segment, f"ptr {arguments}"))

        lent, spare = a.get("ptr", self.arena), EntryWord.SPARE_ARENA * WORD
        with a.when(a.differ("ptr", lent, "null")):
            with a.when(a.same("ptr", a.load("ptr", "%entry", spare), "null")):
                a.store("ptr", lent, "%entry", spare)
                a.jump("given_back")
            a.api("Py_DecRef", lent)
            a.label("given_back")

        code = a.get("i64", status)
        with a.when(a.differ("i64", code, "0")):
            a.require(a.differ("i64", code, str(INTERRUPTED)), "failed")
            fail = a.word("%entry", EntryWord.FAIL, "ptr")
            undone = [a.same("i64", code, str(n)) for n in (SHALLOW, NOT_TAKEN, NEEDS_PYTHON)]
            for found in (*undone, a.same("ptr", fail, "null")):
                with a.when(found):  # nothing was done: Python knows how
                    a.call("ptr", "drop", "ptr %entry", f"ptr {_FRAME}")
                    a.jump("missed")
            record = a.get("ptr", self.record)
            a.call("ptr", "tell", "ptr %entry", f"i64 {code}", f"ptr {record}")
            a.jump("failed")

    def _put_together(self) -> None:
        """Return the first result, or a container of all of them."""
        a = self.code
        a.label("finish")
        plan = a.word("%entry", EntryWord.PLAN, "ptr")
        with a.when(a.same("ptr", plan, "null")):
            a.ret(a.load("ptr", self.results))
        cursor, following = a.variable("ptr", "null"), a.variable("i64", "0")
        a.set("ptr", cursor, plan)
        passed = f"ptr {cursor}", f"ptr {self.results}", f"ptr {following}"
        container = a.call("ptr", "build", *passed)
        a.require(a.differ("ptr", container, "null"), "failed")
        a.ret(container)


def write_locked() -> str:
    """The function that launches with the locks of variables held. Python acquires and releases
    each.
    """
    a = ObjectCode("internal locked", ["ptr entry", "ptr frame"], "noinline")
    count, table = (
        a.word("%entry", EntryWord.LOCKS),
        a.word("%entry", EntryWord.LOCK_TABLE, "ptr"),
    )
    acquired, result = a.variable("i64", "0"), a.variable("ptr", "null")
    with a.loop(count) as k:
        lock = a.item(table, a.value(f"shl i64 {k}, 1"))
        found = a.api("PyObject_CallNoArgs", a.load("ptr", lock))
        a.require(a.differ("ptr", found, "null"), "interrupted")
        a.api("Py_DecRef", found)
        a.set("i64", acquired, a.add(k, "1"))
    a.set("ptr", result, a.call("ptr", "launch", "ptr %entry", "ptr %frame"))
    a.label("interrupted")
    # a Python function must not be called with an error set
    error = [a.variable("ptr", "null") for _ in range(3)]
    failed = a.same("ptr", a.get("ptr", result), "null")
    with a.when(failed):
        a.api("PyErr_Fetch", *error)
    last = a.get("i64", acquired)
    with a.loop(last) as k:
        index = a.value(f"sub i64 {a.add(last, '-1')}, {k}")
        lock = a.item(table, a.value(f"shl i64 {index}, 1"))
        found = a.api("PyObject_CallNoArgs", a.load("ptr", lock, WORD))
        with a.when(a.differ("ptr", found, "null")):
            a.api("Py_DecRef", found)
    with a.when(failed):
        a.api("PyErr_Restore", *(a.get("ptr", e) for e in error))
    a.ret(a.get("ptr", result))
    return a.text()


_WRITABLE_FLAGS = object_layout.READABLE_FLAGS | object_layout.WRITEABLE


def write_writable() -> str:
    """The function that says whether a leaf can be written: null unless it is an array in C
    order that shares no memory with another array among the leaves.
    """
    parameters = ["ptr entry", "ptr frame", "i64 leaf_at"]
    a = ObjectCode("internal writable", parameters, "noinline")
    target = a.load_item("ptr", "%frame", "%leaf_at")
    a.require(
        a.same("ptr", a.load("ptr", target, object_layout.TYPE), a.object("ndarray")), "no"
    )
    flags = a.load("i32", target, object_layout.ARRAY_FLAGS)
    flags = a.value(f"and i32 {flags}, {_WRITABLE_FLAGS}")
    a.require(a.same("i32", flags, str(_WRITABLE_FLAGS)), "no")
    start, stop = _memory_of(a, target)
    table = a.word("%entry", EntryWord.ARRAY_TABLE, "ptr")
    with a.loop(a.word("%entry", EntryWord.ARRAYS)) as k:
        index = a.load_item("i64", table, k)
        with a.when(a.differ("i64", index, "%leaf_at")):
            other = a.load_item("ptr", "%frame", index)
            with a.when(
                a.same("ptr", a.load("ptr", other, object_layout.TYPE), a.object("ndarray"))
            ):
                flags = a.load("i32", other, object_layout.ARRAY_FLAGS)
                flags = a.value(f"and i32 {flags}, {object_layout.C_CONTIGUOUS}")
                a.require(a.differ("i32", flags, "0"), "no")
                first, last = _memory_of(a, other)
                below = a.value(f"icmp ule i64 {last}, {start}")
                above = a.value(f"icmp ule i64 {stop}, {first}")
                a.require(a.value(f"or i1 {below}, {above}"), "no")
    a.ret("%frame")
    a.label("no")
    a.ret("null")
    return a.text()


def _memory_of(a: ObjectCode, array: str) -> tuple[str, str]:
    """The addresses where the memory of an array in C order starts and stops, rather more than
    less: an axis of one element may have any stride.
    """
    start = a.value(f"ptrtoint ptr {a.load('ptr', array, object_layout.ARRAY_DATA)} to i64")
    size = a.variable("i64", "16")  # an element has no more
    shape = a.load("ptr", array, object_layout.ARRAY_SHAPE)
    strides = a.load("ptr", array, object_layout.ARRAY_STRIDES)
    ndim = a.value(f"sext i32 {a.load('i32', array, object_layout.ARRAY_NDIM)} to i64")
    with a.loop(ndim) as k:
        extent = a.load_item("i64", shape, k)
        with a.when(a.value(f"icmp sgt i64 {extent}, 1")):
            reach = a.value(f"mul i64 {extent}, {a.load_item('i64', strides, k)}")
            larger = a.value(f"icmp sgt i64 {reach}, {a.get('i64', size)}")
            with a.when(larger):
                a.set("i64", size, reach)
    return start, a.add(start, a.get("i64", size))


def write_call_with() -> str:
    """The function that calls a Python function with some integers."""
    a = ObjectCode("internal call_with", ["ptr function", "ptr words", "i64 count"], "noinline")
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
