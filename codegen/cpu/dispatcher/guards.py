"""Comparing an object with a guard, as machine code."""

from __future__ import annotations

from collections.abc import Callable

from graphjit.codegen.runtime.entry_layout import (
    FORK_STEPS,
    ContainerWord,
    GuardKind,
    GuardWord,
    PathWord,
)
from graphjit.core import object_layout
from graphjit.core.object_layout import READABLE_FLAGS, WORD

from .object_code import ObjectCode, SlotOffsets

# Which objects the frame holds a reference to: those inside a list or dict, which another
# thread may take out; and those that were looked up.
INSIDE, LOOKED_UP = "1", "2"


def write_match(offsets: SlotOffsets) -> str:
    """The function that compares an object with a guard.

    It returns the address of the guard that follows, or null where the object doesn't fit.
    """
    return _MatchWriter(offsets).text()


class _MatchWriter:
    """Writes `match`: a switch over the kinds of guards.

    An array out of order is copied, during which other threads may run. That isn't done inside
    a list or dict, which must not change while it is read.
    """

    def __init__(self, offsets: SlotOffsets) -> None:
        self.offsets = offsets
        parameters = ["ptr guard", "ptr object", "ptr frame", "i64 hold"]
        self.code = a = ObjectCode("internal match", parameters, "noinline")
        self.array, self.size = a.variable("ptr", "%object"), a.variable("i64", "0")
        self.type = a.load("ptr", "%object", object_layout.TYPE)

    def text(self) -> str:
        """The function's text."""
        a = self.code
        # those of a fork's own are handled there
        cases = {g: f"on_{g.name}" for g in GuardKind if g not in FORK_STEPS}
        a.switch(a.load("i64", "%guard"), cases, "refused")
        self._arrays()
        self._numbers()
        self._accepted()
        self._containers()
        self._paths()
        a.label("refused")
        a.ret("null")
        return a.text()

    def _word(self, index: int, type: str = "i64") -> str:
        """A word of the guard."""
        return self.code.load(type, "%guard", index * WORD)

    def _accept(self, words: int) -> None:
        """The object fits; the guard has so many words."""
        self.code.set("i64", self.size, str(words * WORD))
        self.code.jump("accepted")

    def _require_type(self, name: str) -> None:
        self.code.require(self.code.same("ptr", self.type, self.code.object(name)), "refused")

    def _arrays(self) -> None:
        a = self.code
        a.label("on_TENSOR")
        self._require_type("tensor")
        inner = a.load("ptr", "%object", self.offsets.tensor_array)
        a.require(a.differ("ptr", inner, "null"), "refused")
        a.set("ptr", self.array, inner)
        type = a.load("ptr", inner, object_layout.TYPE)
        with a.when(a.differ("ptr", type, a.object("ndarray"))):
            a.jump("refused")
        a.jump("array")

        a.label("on_NUMBER")
        a.require(a.same("ptr", self.type, self._word(GuardWord.SHAPE, "ptr")), "refused")
        words = a.item("%frame", self._word(GuardWord.CELL))
        a.store("ptr", a.at("%object", object_layout.SCALAR_VALUE), words)
        stand_in = a.at(words, -object_layout.ARRAY_DATA)
        a.store_item("ptr", stand_in, "%frame", self._word(GuardWord.ARGUMENT))
        self._accept(GuardWord.SHAPE + 1)
        a.label("on_ARRAY")
        a.label("on_SHAPED")
        self._require_type("ndarray")
        a.label("array")
        x = a.get("ptr", self.array)
        self._dtype(x)
        ndim = self._shape(x)
        self._order(x)
        argument = a.get("ptr", self.array)
        a.store_item("ptr", argument, "%frame", self._word(GuardWord.ARGUMENT))
        words = a.value(f"shl i64 {a.add(ndim, str(GuardWord.SHAPE.value))}, 3")
        a.set("i64", self.size, words)
        a.jump("accepted")

    def _dtype(self, x: str) -> None:
        a = self.code
        dtype = a.load("ptr", x, object_layout.ARRAY_DTYPE)
        with a.when(a.differ("ptr", dtype, self._word(GuardWord.DTYPE, "ptr"))):
            # an equal dtype may be another object, such as an unpickled one
            order = a.load("i8", dtype, object_layout.DTYPE_ORDER)
            a.require(a.differ("i8", order, str(ord(">"))), "refused")
            number = a.load("i32", dtype, object_layout.DTYPE_NUMBER)
            number = a.value(f"sext i32 {number} to i64")
            a.require(a.same("i64", number, self._word(GuardWord.NUMBER)), "refused")

    def _shape(self, x: str) -> str:
        a = self.code
        ndim = self._word(GuardWord.NDIM)
        given = a.value(f"sext i32 {a.load('i32', x, object_layout.ARRAY_NDIM)} to i64")
        a.require(a.same("i64", given, ndim), "refused")
        shape = a.load("ptr", x, object_layout.ARRAY_SHAPE)
        wanted = a.at("%guard", GuardWord.SHAPE * WORD)
        with a.loop(ndim) as k:
            extent, wanted_extent = a.load_item("i64", shape, k), a.load_item("i64", wanted, k)
            with a.when(a.differ("i64", extent, wanted_extent)):
                # a symbolic extent must equal that of earlier arguments, and isn't 1
                a.require(a.value(f"icmp slt i64 {wanted_extent}, 0"), "refused")
                known = a.item("%frame", a.value(f"sub i64 0, {wanted_extent}"))
                with a.when(a.differ("i64", a.load("i64", known), extent)):
                    a.require(a.same("i64", a.load("i64", known), "-1"), "refused")
                    a.require(a.differ("i64", extent, "1"), "refused")
                    a.store("i64", extent, known)
        return ndim

    def _order(self, x: str) -> None:
        """Copy an array that isn't aligned or in C order."""
        a = self.code
        flags = a.load("i32", x, object_layout.ARRAY_FLAGS)
        flags = a.value(f"and i32 {flags}, {READABLE_FLAGS}")
        with a.when(a.differ("i32", flags, str(READABLE_FLAGS))):
            kind = self._word(GuardWord.KIND)
            a.require(a.differ("i64", kind, str(GuardKind.SHAPED.value)), "in_order")
            a.require(a.differ("i64", "%hold", INSIDE), "refused")
            ordered = a.api("PyArray_NewCopy", x, "0")
            with a.when(a.same("ptr", ordered, "null")):
                a.api("PyErr_Clear")
                a.jump("refused")
            self._hold(ordered)
            a.set("ptr", self.array, ordered)
            a.label("in_order")

    def _hold(self, object: str) -> None:
        """Add to the references that the frame holds."""
        a = self.code
        held = a.add(a.load("i64", "%frame"), "1")
        a.store("i64", held, "%frame")
        a.store_item("ptr", object, "%frame", held)

    def _stand_in(self) -> str:
        argument, cell = self._word(GuardWord.ARGUMENT), self._word(GuardWord.CELL)
        return self.code.stand_in("%frame", argument, cell)

    def _numbers(self) -> None:
        a = self.code
        a.label("on_FLOAT")
        self._require_type("float")
        number = a.load("double", "%object", object_layout.FLOAT_VALUE)
        a.store("double", number, self._stand_in())
        self._accept(GuardWord.CELL + 1)

        overflow = a.variable("i32", "0")
        a.label("on_INTEGER")
        a.store("i64", self._integer(overflow), self._stand_in())
        self._accept(GuardWord.CELL + 1)

        a.label("on_COMPLEX")
        self._require_type("complex")
        data = self._stand_in()
        a.store("double", a.api("PyComplex_RealAsDouble", "%object"), data)
        a.store("double", a.api("PyComplex_ImagAsDouble", "%object"), data, WORD)
        self._accept(GuardWord.CELL + 1)

        a.label("on_SAME")
        a.require(a.same("ptr", "%object", self._word(GuardWord.VALUE, "ptr")), "refused")
        self._accept(GuardWord.OBJECT + 1)

        a.label("on_TYPE")
        a.require(a.same("ptr", self.type, self._word(GuardWord.VALUE, "ptr")), "refused")
        self._accept(GuardWord.OBJECT + 1)

        a.label("on_LENGTH")  # of a list, tuple or dict: asking runs no code of Python's
        length = a.api("PyObject_Size", "%object")
        a.require(a.same("i64", length, self._word(GuardWord.VALUE)), "refused")
        self._accept(GuardWord.OBJECT + 1)

        a.label("on_ABSENT")
        self._require_type("dict")
        contains = a.api("PyDict_Contains", "%object", self._word(GuardWord.VALUE, "ptr"))
        a.require(a.same("i32", contains, "0"), "refused")
        self._accept(GuardWord.OBJECT + 1)

        a.label("on_REFERENT")
        reference = self._word(GuardWord.VALUE, "ptr")
        referent = a.load("ptr", reference, object_layout.REFERENT)
        a.require(a.differ("ptr", referent, a.object("none")), "refused")  # it died
        a.require(a.same("ptr", "%object", referent), "refused")
        self._accept(GuardWord.OBJECT + 1)

        a.label("on_FLOAT_IS")
        self._require_type("float")
        bits = a.load("i64", "%object", object_layout.FLOAT_VALUE)
        a.require(a.same("i64", bits, self._word(GuardWord.VALUE)), "refused")
        self._accept(GuardWord.OBJECT + 1)

        a.label("on_SMALL")
        limit = self._word(GuardWord.VALUE)
        moved = a.add(self._integer(overflow), limit)
        inside = a.value(f"icmp ule i64 {moved}, {a.value(f'shl i64 {limit}, 1')}")
        a.require(inside, "refused")
        self._accept(GuardWord.OBJECT + 1)

        a.label("on_INTEGER_IS")
        a.require(
            a.same("i64", self._integer(overflow), self._word(GuardWord.VALUE)), "refused"
        )
        self._accept(GuardWord.OBJECT + 1)

    def _integer(self, overflow: str) -> str:
        a = self.code
        self._require_type("int")
        number = a.api("PyLong_AsLongLongAndOverflow", "%object", overflow)
        a.require(a.same("i32", a.get("i32", overflow), "0"), "refused")
        return number

    def _accepted(self) -> None:
        """Note the leaf, and hold it if it may go away during the call.

        An object that is only compared is no leaf.
        """
        a = self.code
        a.label("accepted")
        leaf = self._word(GuardWord.LEAF)
        with a.when(a.differ("i64", leaf, "0")):
            a.store_item("ptr", "%object", "%frame", leaf)
            with a.when(a.differ("i64", "%hold", "0")):
                a.api("Py_IncRef", "%object")
                self._hold("%object")
        a.ret(a.value(f"getelementptr i8, ptr %guard, i64 {a.get('i64', self.size)}"))

    def _match(self, guard: str, object: str, hold: str) -> str:
        """A recursive call."""
        passed = f"ptr {guard}", f"ptr {object}", "ptr %frame", f"i64 {hold}"
        return self.code.call("ptr", "match", *passed)

    def _containers(self) -> None:
        a = self.code
        following = a.variable("ptr", "null")

        def match_children(item: Callable[[str], str], hold: str) -> None:
            a.set("ptr", following, a.at("%guard", ContainerWord.CHILDREN * WORD))
            with a.loop(self._word(ContainerWord.COUNT)) as k:
                x = item(k)
                found = self._match(a.get("ptr", following), x, hold)
                a.require(a.differ("ptr", found, "null"), "refused")
                a.set("ptr", following, found)

        def require_length() -> None:
            length = a.load("i64", "%object", object_layout.SIZE)
            a.require(a.same("i64", length, self._word(ContainerWord.COUNT)), "refused")

        a.label("on_TUPLE")
        a.require(a.same("ptr", self.type, self._word(ContainerWord.TYPE, "ptr")), "refused")
        require_length()
        items = a.at("%object", object_layout.TUPLE_ITEMS)
        match_children(lambda k: a.load_item("ptr", items, k), "%hold")
        a.ret(a.get("ptr", following))

        a.label("on_LIST")
        self._require_type("list")
        require_length()

        def list_item(k: str) -> str:
            require_length()  # nothing done here shortens the list, but to look costs nothing
            return a.load_item("ptr", a.load("ptr", "%object", object_layout.LIST_ITEMS), k)

        match_children(list_item, INSIDE)
        a.ret(a.get("ptr", following))

        position = a.variable("i64", "0")
        key, value = a.variable("ptr", "null"), a.variable("ptr", "null")

        def next_value(_: str) -> str:
            more = a.api("PyDict_Next", "%object", position, key, value)
            a.require(a.differ("i32", more, "0"), "refused")
            at = a.get("ptr", following)
            a.require(a.same("ptr", a.get("ptr", key), a.load("ptr", at)), "refused")
            a.set("ptr", following, a.at(at, WORD))
            return a.get("ptr", value)

        a.label("on_DICT")
        self._require_type("dict")
        match_children(next_value, INSIDE)
        more = a.api("PyDict_Next", "%object", position, key, value)
        a.require(a.same("i32", more, "0"), "refused")
        a.ret(a.get("ptr", following))

        self._fields(following)

    def _fields(self, following: str) -> None:
        """An object by its attributes."""
        a = self.code
        a.label("on_FIELDS")
        a.require(a.same("ptr", self.type, self._word(ContainerWord.TYPE, "ptr")), "refused")
        inside = a.same("i64", "%hold", INSIDE)
        hold = a.value(f"select i1 {inside}, i64 {INSIDE}, i64 {LOOKED_UP}")
        a.api("Py_IncRef", "%object")
        a.set("ptr", following, a.at("%guard", ContainerWord.CHILDREN * WORD))
        with a.loop(self._word(ContainerWord.COUNT)):
            at = a.get("ptr", following)
            found = a.api("PyObject_GetAttr", "%object", a.load("ptr", at))
            a.require(a.differ("ptr", found, "null"), "no_field")
            after = self._match(a.at(at, WORD), found, hold)
            a.api("Py_DecRef", found)
            a.set("ptr", following, after)
            a.require(a.differ("ptr", after, "null"), "unlike")
        a.api("Py_DecRef", "%object")
        a.ret(a.get("ptr", following))
        a.label("no_field")  # it was deleted: reading a field runs no code that could raise
        a.api("PyErr_Clear")
        a.label("unlike")
        a.api("Py_DecRef", "%object")
        a.jump("refused")

    def _paths(self) -> None:
        """Guards for another object, to which this one leads."""
        a = self.code

        def follow(kind: GuardKind, size: int, look_up: Callable[[], str]) -> None:
            a.label(f"on_{kind.name}")
            found = look_up()
            with a.when(a.same("ptr", found, "null")):
                matches = a.api("PyErr_ExceptionMatches", a.object("exception"))
                # not an Exception, but KeyboardInterrupt or the like: it goes on
                a.require(a.differ("i32", matches, "0"), "refused")
                a.api("PyErr_Clear")
                a.jump("refused")
            after = self._match(a.at("%guard", size * WORD), found, LOOKED_UP)
            a.api("Py_DecRef", found)
            a.ret(after)

        def field(offset: int) -> str:
            found = a.load("ptr", "%object", offset)
            a.require(a.differ("ptr", found, "null"), "refused")
            a.api("Py_IncRef", found)
            return found

        def referent() -> str:
            found = a.load("ptr", "%object", object_layout.REFERENT)
            a.require(a.differ("ptr", found, a.object("none")), "refused")
            # it may be on its way out: then nothing refers to it any more
            count = a.load("i32", found)
            a.require(a.differ("i32", count, "0"), "refused")
            a.api("Py_IncRef", found)
            return found

        plain, with_operand = PathWord.OPERAND, PathWord.OPERAND + 1  # sizes in words

        def call() -> str:
            return a.api("PyObject_CallNoArgs", "%object")

        follow(GuardKind.CALL, plain, call)
        follow(GuardKind.REFERENCE, plain, referent)
        follow(GuardKind.CONTENT, plain, lambda: field(object_layout.CELL_CONTENT))
        follow(GuardKind.VARIABLE, plain, lambda: field(self.offsets.cell_array))

        a.label("on_CONSTANT")
        constant = self._word(PathWord.OPERAND, "ptr")
        a.ret(self._match(a.at("%guard", with_operand * WORD), constant, LOOKED_UP))

        a.label("on_AGAIN")
        earlier = a.load_item("ptr", "%frame", self._word(PathWord.OPERAND))
        a.require(a.same("ptr", "%object", earlier), "refused")
        a.ret(a.at("%guard", with_operand * WORD))

        a.label("on_FORK")
        passed = "ptr %guard", "ptr %object", "ptr %frame", "i64 %hold"
        a.ret(a.call("ptr", "match_fork", *passed))
