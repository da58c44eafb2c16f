"""Reading a call: from the vectorcall pointer to an entry whose guards hold."""

from __future__ import annotations

from graphjit.codegen.runtime.entry_layout import EntryWord, GuardKind, GuardWord
from graphjit.core import object_layout
from graphjit.core.object_layout import READABLE_FLAGS, WORD

from .object_code import MISSED, ObjectCode, SlotOffsets


def write_dispatch(offsets: SlotOffsets) -> str:
    """The vectorcall function: tries the entries of an object's table in order."""
    a = ObjectCode("dispatch", ["ptr self", "ptr args", "i64 flagged", "ptr names"])
    count = a.value(f"and i64 %flagged, {2**63 - 1}")
    gates = a.object("gates")
    a.require(a.same("i64", a.load("i64", gates), "0"), "slow")
    with a.when(a.differ("i64", a.load("i64", gates, WORD), "0")):
        a.require(a.same("ptr", a.call("ptr", "eager_here"), "null"), "slow")
    table = a.load("ptr", "%self", offsets.table)
    a.require(a.differ("ptr", table, "null"), "slow")
    a.require(a.same("ptr", a.call("ptr", "float_errors_reported"), "null"), "slow")
    a.api("Py_IncRef", table)
    words = a.load("ptr", table, object_layout.ARRAY_DATA)
    with a.loop(a.load("i64", words)) as number:
        entry = a.load_item("ptr", words, a.add(number, "1"))
        with a.when(a.same("i64", a.word(entry, EntryWord.POSITIONAL), count)):
            passed = f"ptr {entry}", "ptr %args", f"i64 {count}", "ptr %names"
            result = a.call("ptr", "enter", *passed)
            with a.when(a.differ("ptr", result, MISSED)):
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


def write_eager_here() -> str:
    """The function that tells whether this context decides if functions run eagerly."""
    a = ObjectCode("internal eager_here", [], "noinline")
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
    a.ret(MISSED)
    a.label("no")
    a.ret("null")
    return a.text()


def write_float_errors_reported() -> str:
    """The function that tells whether np.errstate has floating-point errors reported here."""
    a = ObjectCode("internal float_errors_reported", [])
    found = a.variable("ptr", "null")
    failed = a.api("PyContextVar_Get", a.object("float_errors"), "null", found)
    a.require(a.same("i32", failed, "0"), "unknown")
    capsule = a.get("ptr", found)
    a.require(a.differ("ptr", capsule, "null"), "unknown")
    bits = a.load("i32", a.load("ptr", capsule, object_layout.CAPSULE_POINTER))
    a.api("Py_DecRef", capsule)
    reported = a.value(f"and i32 {bits}, {object_layout.ERRORS_REPORTED}")
    a.require(a.same("i32", reported, "0"), "yes")
    a.ret("null")
    a.label("unknown")
    a.api("PyErr_Clear")
    a.label("yes")
    a.ret(MISSED)
    return a.text()


def write_slow() -> str:
    """The function that calls the Python method, with the object before the arguments."""
    a = ObjectCode(
        "internal slow", ["ptr self", "ptr args", "i64 count", "ptr names"], "noinline"
    )
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


def write_move_to_front() -> str:
    """The function that moves an entry to the front: entries are in order of use.

    Another thread may have moved it meanwhile.
    """
    a = ObjectCode(
        "internal move_to_front", ["ptr words", "ptr entry", "i64 number"], "noinline"
    )
    after = a.add("%number", "1")
    there = a.load_item("ptr", "%words", after)
    a.require(a.same("ptr", there, "%entry"), "done")
    with a.loop("%number") as k:
        index = a.value(f"sub i64 {after}, {k}")
        before = a.load_item("ptr", "%words", a.add(index, "-1"))
        a.store_item("ptr", before, "%words", index)
    a.store("ptr", "%entry", "%words", WORD)
    a.label("done")
    a.ret("null")
    return a.text()


def write_release() -> str:
    """The function that releases what the frame holds."""
    a = ObjectCode("internal release", ["ptr frame"])
    with a.loop(a.load("i64", "%frame")) as k:
        a.api("Py_DecRef", a.load_item("ptr", "%frame", a.add(k, "1")))
    a.ret("null")
    return a.text()


def match_usual_array(a: ObjectCode, guard: str, x: str, frame: str, otherwise: str) -> str:
    """Compare the commonest kind of argument with its guard: an array that needs no copy.

    Gives the guard that follows. Jumps to `otherwise` where the guard or the object is of
    another kind, or the array doesn't fit at once.
    """
    a.require(a.same("i64", a.load("i64", guard), str(GuardKind.ARRAY.value)), otherwise)
    a.require(
        a.same("ptr", a.load("ptr", x, object_layout.TYPE), a.object("ndarray")), otherwise
    )
    dtype = a.load("ptr", guard, GuardWord.DTYPE * WORD)
    a.require(a.same("ptr", a.load("ptr", x, object_layout.ARRAY_DTYPE), dtype), otherwise)
    ndim = a.load("i64", guard, GuardWord.NDIM * WORD)
    given = a.value(f"zext i32 {a.load('i32', x, object_layout.ARRAY_NDIM)} to i64")
    a.require(a.same("i64", given, ndim), otherwise)
    flags = a.value(f"and i32 {a.load('i32', x, object_layout.ARRAY_FLAGS)}, {READABLE_FLAGS}")
    a.require(a.same("i32", flags, str(READABLE_FLAGS)), otherwise)
    shape, wanted = (
        a.load("ptr", x, object_layout.ARRAY_SHAPE),
        a.at(guard, GuardWord.SHAPE * WORD),
    )
    with a.loop(ndim) as k:
        pair = a.load_item("i64", shape, k), a.load_item("i64", wanted, k)
        a.require(a.same("i64", *pair), otherwise)
    a.store_item("ptr", x, frame, a.load("i64", guard, GuardWord.LEAF * WORD))
    a.store_item("ptr", x, frame, a.load("i64", guard, GuardWord.ARGUMENT * WORD))
    return a.item(wanted, ndim)


def write_enter() -> str:
    """The function that runs an entry, if its guards hold.

    It returns the results, null with an error, or MISSED.
    """
    parameters = ["ptr entry", "ptr args", "i64 count", "ptr names"]
    a = ObjectCode("internal enter", parameters, "noinline")
    named = a.word("%entry", EntryWord.NAMED)
    with a.when(a.same("ptr", "%names", "null")):
        a.require(a.same("i64", named, "0"), "missed")
        a.jump("begin")
    a.require(a.same("i64", a.load("i64", "%names", object_layout.SIZE), named), "missed")
    given, wanted = (
        a.at("%names", object_layout.TUPLE_ITEMS),
        a.word("%entry", EntryWord.NAMES, "ptr"),
    )
    with a.loop(named) as k:
        pair = a.load_item("ptr", given, k), a.load_item("ptr", wanted, k)
        a.require(a.same("ptr", *pair), "missed")
    a.label("begin")
    frame = a.value(f"alloca i64, i64 {a.word('%entry', EntryWord.FRAME_WORDS)}, align 16")
    a.store("i64", "0", frame)
    unknown = a.item(frame, a.word("%entry", EntryWord.EXTENTS_AT))
    with a.loop(a.word("%entry", EntryWord.SYMBOLS)) as k:
        a.store_item("i64", "-1", unknown, k)
    guard, result = a.variable("ptr", "null"), a.variable("ptr", MISSED)
    a.set("ptr", guard, a.word("%entry", EntryWord.GUARDS, "ptr"))
    with a.loop(a.add("%count", named)) as k:
        x = a.load_item("ptr", "%args", k)
        here = a.get("ptr", guard)
        a.set("ptr", guard, match_usual_array(a, here, x, frame, "unusual"))
        a.jump("matched")
        a.label("unusual")
        passed = f"ptr {here}", f"ptr {x}", f"ptr {frame}", "i64 0"
        following = a.call("ptr", "match", *passed)
        a.require(a.differ("ptr", following, "null"), "leave")
        a.set("ptr", guard, following)
        a.label("matched")
    python = a.word("%entry", EntryWord.PYTHON, "ptr")
    with a.when(a.differ("ptr", python, "null")):
        leaves = a.item(frame, a.word("%entry", EntryWord.LEAVES_AT))
        number = a.word("%entry", EntryWord.LEAVES)
        finish = a.word("%entry", EntryWord.FINISH, "ptr")
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
        with a.when(a.differ("i64", a.word("%entry", EntryWord.ROOTS), "0")):
            looked_up = a.call("ptr", "match_roots", "ptr %entry", f"ptr {frame}")
            with a.when(a.differ("ptr", looked_up, frame)):
                a.set("ptr", result, looked_up)
                a.jump("leave")
        found = a.api("PyObject_Vectorcall", python, leaves, number, "null")
        with a.when(a.same("ptr", found, a.object("miss"))):
            a.api("Py_DecRef", found)
            a.jump("leave")
        a.set("ptr", result, found)
        a.jump("leave")
    passed_on = "ptr %entry", f"ptr {frame}"
    with a.when(a.differ("i64", a.word("%entry", EntryWord.LOCKS), "0")):
        a.set("ptr", result, a.call("ptr", "locked", *passed_on))
        a.jump("leave")
    a.set("ptr", result, a.call("ptr", "launch", *passed_on))
    a.label("leave")
    a.call("ptr", "release", f"ptr {frame}")
    a.ret(a.get("ptr", result))
    a.label("missed")
    a.ret(MISSED)
    return a.text()


def write_as_it_is() -> str:
    """The function that tells whether what a Python function returned is the result itself.

    It returns null if not: then the entry's `FINISH` makes the result.
    """
    parameters = ["ptr entry", "ptr value", "ptr leaves", "i64 count"]
    a = ObjectCode("internal as_it_is", parameters, "noinline")
    kind = a.load("ptr", "%value", object_layout.TYPE)
    for name in ("float", "int", "complex", "bool", "str"):
        a.require(a.differ("ptr", kind, a.object(name)), "yes")
    a.require(a.differ("ptr", "%value", a.object("none")), "yes")
    a.require(a.differ("i64", a.word("%entry", EntryWord.RETURNS), "0"), "no")
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
