"""Several guards on one object, and on what its attributes and items are, as machine code.

The usual kinds of steps and of guards after them are handled here, without a call for each. All
others are left to `match`.

An object is borrowed, without a reference of its own, only while nothing can run that would let
go of it: the guard that follows is compared at once, or a reference is taken. References to
arrays last until the call ends.
"""

from __future__ import annotations

from collections.abc import Callable

from graphjit.codegen.runtime.entry_layout import (
    ATTRIBUTE_WORDS,
    ITEM_WORDS,
    SHORTCUT_WORDS,
    GuardKind,
    GuardWord,
    PathWord,
    StepWord,
)
from graphjit.core import attribute_layout, object_layout
from graphjit.core.object_layout import WORD

from .calls import match_usual_array
from .guards import LOOKED_UP
from .object_code import ObjectCode

# CPython's Py_TPFLAGS_DICT_SUBCLASS.
_DICT_SUBCLASS = 1 << 29
# Kinds of guards that an object fits if it is the very one that they name.
_BY_OBJECT = (GuardKind.SAME, GuardKind.FLOAT_IS, GuardKind.INTEGER_IS)


def write_match_fork() -> str:
    """The function that compares an object with all guards of a fork.

    It returns the address of the guard that follows, or null where the object doesn't fit.
    """
    return _ForkWriter().text()


class _ForkWriter:
    """Writes `match_fork`: a loop over the fork's guards, with a switch over their kinds."""

    def __init__(self) -> None:
        parameters = ["ptr guard", "ptr object", "ptr frame", "i64 hold"]
        self.code = a = ObjectCode("internal match_fork", parameters, "noinline")
        self.following = a.variable("ptr", "null")  # the guard to compare next
        self.found = a.variable("ptr", "null")  # the object that a step led to
        self.inner = a.variable("ptr", "null")  # the guard on it

    def text(self) -> str:
        """The function's text."""
        a = self.code
        a.set("ptr", self.following, a.at("%guard", PathWord.CHILDREN * WORD))
        with a.loop(a.load("i64", "%guard", PathWord.OPERAND * WORD)):
            at = a.get("ptr", self.following)
            cases = {
                GuardKind.ATTRIBUTE: "attribute", GuardKind.ITEM: "item",
                GuardKind.LACKS: "lacks", GuardKind.UNCHANGED: "unchanged",
            }  # fmt: skip
            a.switch(a.load("i64", at), cases, "other")
            self._attribute(at)
            self._item(at)
            self._lacks(at)
            self._unchanged(at)
            self._borrowed()
            self._owned()
            a.label("other")
            passed = f"ptr {at}", "ptr %object", "ptr %frame", "i64 %hold"
            after = a.call("ptr", "match", *passed)
            a.set("ptr", self.following, after)
            a.require(a.differ("ptr", after, "null"), "refused")
            a.label("next")
        a.ret(a.get("ptr", self.following))
        a.label("failed")  # a lookup, perhaps with an exception
        with a.when(a.differ("ptr", a.api("PyErr_Occurred"), "null")):
            matches = a.api("PyErr_ExceptionMatches", a.object("exception"))
            # not an Exception, but KeyboardInterrupt or the like: it goes on
            a.require(a.differ("i32", matches, "0"), "refused")
            a.api("PyErr_Clear")
        a.label("refused")
        a.ret("null")
        return a.text()

    def _lead(self, found: str, inner: str, way: str) -> None:
        """Go on with an object that was found, and the guard on it."""
        self.code.set("ptr", self.found, found)
        self.code.set("ptr", self.inner, inner)
        self.code.jump(way)

    def _attribute(self, at: str) -> None:
        """An attribute: read where the class has it, else looked up."""
        a = self.code
        a.label("attribute")
        inner = a.at(at, ATTRIBUTE_WORDS * WORD)
        kind = a.load("ptr", "%object", object_layout.TYPE)
        a.require(a.same("ptr", kind, a.load("ptr", at, StepWord.TYPE * WORD)), "look_up")
        version = a.load("i64", at, StepWord.VERSION * WORD)
        with a.when(a.differ("i64", version, "0")):  # of a class that can change
            now = a.value(
                f"zext i32 {a.load('i32', kind, attribute_layout.TYPE_VERSION)} to i64"
            )
            a.require(a.same("i64", now, version), "look_up")
        place = a.load("i64", at, StepWord.VALUE_AT * WORD)
        valid = a.load("i64", at, StepWord.VALID_AT * WORD)
        base = a.variable("ptr", "null")
        a.set("ptr", base, "%object")
        with a.when(a.differ("i64", valid, "0")):
            a.set("ptr", base, self._values(valid, "in_dict"))
        a.require(a.differ("i64", place, "0"), "in_dict")
        value = a.load("ptr", self._offset(a.get("ptr", base), place))
        a.require(a.differ("ptr", value, "null"), "look_up")
        self._lead(value, inner, "borrowed")

        a.label("in_dict")
        names = self._own_dict(at)
        a.require(a.differ("ptr", names, "null"), "look_up")
        key = a.load("ptr", at, StepWord.KEY * WORD)
        hint = a.load("i64", at, StepWord.HINT * WORD)
        self._by_hint(names, key, hint, inner, "search_dict")
        a.label("search_dict")
        # a key with an __eq__ of its own could let go of the dict
        a.api("Py_IncRef", names)
        item = a.api("PyDict_GetItemWithError", names, key)
        with a.when(a.differ("ptr", item, "null")):
            a.api("Py_IncRef", item)
            a.api("Py_DecRef", names)
            self._lead(item, inner, "owned")
        a.api("Py_DecRef", names)
        a.require(a.same("ptr", a.api("PyErr_Occurred"), "null"), "failed")

        a.label("look_up")
        found = a.api("PyObject_GetAttr", "%object", a.load("ptr", at, StepWord.KEY * WORD))
        a.require(a.differ("ptr", found, "null"), "failed")
        self._lead(found, inner, "owned")

    def _values(self, valid: str, otherwise: str) -> str:
        """The base of the places of values; jumps to `otherwise` where there's only a dict."""
        a = self.code
        if attribute_layout.VALUES_INSIDE:
            holds = a.load("i8", self._offset("%object", valid))
            a.require(a.differ("i8", holds, "0"), otherwise)
            return "%object"
        values = a.load("i64", "%object", attribute_layout.VALUES)
        there = a.value(f"and i64 {values}, 1") if attribute_layout.VALUES_TAG else values
        a.require(a.differ("i64", there, "0"), otherwise)
        # places count from the word before the first value
        before = a.add(values, str(attribute_layout.VALUES_TAG - WORD))
        return a.value(f"inttoptr i64 {before} to ptr")

    def _own_dict(self, at: str) -> str:
        """An object's dict, or null, where a step says that it is."""
        place = self.code.load("i64", at, StepWord.DICT_AT * WORD)
        with self.code.when(self.code.same("i64", place, "0")):  # it has slots only
            self.code.jump("look_up")
        return self.code.load("ptr", self._offset("%object", place))

    def _by_hint(self, names: str, key: str, hint: str, inner: str, otherwise: str) -> None:
        """Go on with a dict's item if it is the entry of this number.

        There are numbers only where dicts are laid out as is known.
        """
        a = self.code
        a.require(a.value(f"icmp sge i64 {hint}, 0"), otherwise)
        keys = a.load("ptr", names, attribute_layout.DICT_KEYS)
        kind = a.load("i8", keys, attribute_layout.KEYS_KIND)
        a.require(a.differ("i8", kind, "0"), otherwise)
        count = a.load("i64", keys, attribute_layout.KEYS_COUNT)
        a.require(a.value(f"icmp ult i64 {hint}, {count}"), otherwise)
        bits = a.load("i8", keys, attribute_layout.KEYS_TABLE_BITS)
        table = a.value(f"shl i64 1, {a.value(f'zext i8 {bits} to i64')}")
        first = self._offset(a.at(keys, attribute_layout.KEYS_TABLE), table)
        entry = self._offset(first, a.value(f"mul i64 {hint}, {attribute_layout.ENTRY_BYTES}"))
        a.require(a.same("ptr", a.load("ptr", entry), key), otherwise)
        values = a.load("ptr", names, attribute_layout.DICT_VALUES)
        shared = a.differ("ptr", values, "null")
        apart = a.item(a.at(values, attribute_layout.DICT_FIRST_VALUE), hint)
        where = a.value(f"select i1 {shared}, ptr {apart}, ptr {a.at(entry, WORD)}")
        value = a.load("ptr", where)
        a.require(a.differ("ptr", value, "null"), otherwise)
        self._lead(value, inner, "borrowed")

    def _offset(self, base: str, offset: str) -> str:
        return self.code.value(f"getelementptr i8, ptr {base}, i64 {offset}")

    def _item(self, at: str) -> None:
        """An item: of lists, tuples and dicts read at once."""
        a = self.code
        a.label("item")
        inner = a.at(at, ITEM_WORDS * WORD)
        key = a.load("ptr", at, StepWord.KEY * WORD)
        kind = a.load("ptr", "%object", object_layout.TYPE)
        with a.when(a.same("ptr", kind, a.object("dict"))):
            hint = a.load("i64", at, StepWord.ITEM_HINT * WORD)
            self._by_hint("%object", key, hint, inner, "search_items")
            a.label("search_items")
            found = a.api("PyDict_GetItemWithError", "%object", key)
            a.require(a.differ("ptr", found, "null"), "failed")
            self._lead(found, inner, "borrowed")
        index = a.load("i64", at, StepWord.INDEX * WORD)

        def item_of(items: Callable[[], str]) -> None:
            length = a.load("i64", "%object", object_layout.SIZE)
            # an index that is none, -1, is no less than any length
            a.require(a.value(f"icmp ult i64 {index}, {length}"), "get_item")
            self._lead(a.load_item("ptr", items(), index), inner, "borrowed")

        with a.when(a.same("ptr", kind, a.object("list"))):
            item_of(lambda: a.load("ptr", "%object", object_layout.LIST_ITEMS))
        with a.when(a.same("ptr", kind, a.object("tuple"))):
            item_of(lambda: a.at("%object", object_layout.TUPLE_ITEMS))
        a.label("get_item")
        flags = a.value(f"and i64 {a.api('PyType_GetFlags', kind)}, {_DICT_SUBCLASS}")
        # one that makes what it lacks, as a defaultdict does, isn't to make it
        a.require(a.same("i64", flags, "0"), "search_items")
        got = a.api("PyObject_GetItem", "%object", key)
        a.require(a.differ("ptr", got, "null"), "failed")
        self._lead(got, inner, "owned")

    def _lacks(self, at: str) -> None:
        """Pass over the guard that follows if the object's own dict hasn't a name."""
        a = self.code
        a.label("lacks")
        kind = a.load("ptr", "%object", object_layout.TYPE)
        a.require(a.same("ptr", kind, a.load("ptr", at, StepWord.TYPE * WORD)), "in_general")
        place = a.load("i64", at, StepWord.VALUE_AT * WORD)
        valid = a.load("i64", at, StepWord.VALID_AT * WORD)
        a.require(a.differ("i64", valid, "0"), "own_dict")
        base = self._values(valid, "own_dict")
        with a.when(a.differ("i64", place, "0")):
            value = a.load("ptr", self._offset(base, place))
            a.require(a.differ("ptr", value, "null"), "passed_over")
            a.jump("refused")
        # no object of the class has a value of this name while the class has no more names
        keys = a.load("ptr", kind, attribute_layout.SHARED_KEYS)
        a.require(a.differ("ptr", keys, "null"), "in_general")
        count = a.load("i64", keys, attribute_layout.KEYS_COUNT)
        wanted = a.load("i64", at, StepWord.KEYS * WORD)
        a.require(a.same("i64", count, wanted), "in_general")
        a.jump("passed_over")

        a.label("own_dict")
        names = a.load(
            "ptr", self._offset("%object", a.load("i64", at, StepWord.DICT_AT * WORD))
        )
        a.require(a.differ("ptr", names, "null"), "passed_over")
        a.api("Py_IncRef", names)  # a key with an __eq__ of its own could let go of it
        key = a.load("ptr", at, StepWord.KEY * WORD)
        contains = a.api("PyDict_Contains", names, key)
        a.api("Py_DecRef", names)
        a.require(a.differ("i32", contains, "0"), "passed_over")
        a.require(a.differ("i32", contains, "1"), "refused")
        a.jump("failed")

        a.label("passed_over")
        a.set("ptr", self.following, self._offset(at, a.load("i64", at, StepWord.SKIP * WORD)))
        a.jump("next")
        a.label("in_general")
        general = a.at(at, SHORTCUT_WORDS * WORD)
        passed = f"ptr {general}", "ptr %object", "ptr %frame", "i64 %hold"
        after = a.call("ptr", "match", *passed)
        a.set("ptr", self.following, after)
        a.require(a.differ("ptr", after, "null"), "refused")
        a.jump("next")

    def _unchanged(self, at: str) -> None:
        """Pass over the guard that follows if a class has the version that it had."""
        a = self.code
        a.label("unchanged")
        kind = a.load("ptr", "%object", object_layout.TYPE)
        a.require(a.same("ptr", kind, a.load("ptr", at, StepWord.TYPE * WORD)), "in_general")
        now = a.load("i32", "%object", attribute_layout.TYPE_VERSION)
        wide = a.value(f"zext i32 {now} to i64")
        a.require(a.same("i64", wide, a.load("i64", at, StepWord.VERSION * WORD)), "in_general")
        a.jump("passed_over")

    def _compare(self, found: str, inner: str, kind: str, fits: str, otherwise: str) -> None:
        """Compare an object with a guard that only compares: jump to `fits`, or to
        `otherwise` where it may fit all the same.
        """
        a = self.code
        value = a.load("ptr", inner, GuardWord.VALUE * WORD)
        labels = {name: a.fresh(name) for name in ("by_object", "referent", "type")}
        cases = dict.fromkeys(_BY_OBJECT, labels["by_object"])
        cases |= {GuardKind.REFERENT: labels["referent"], GuardKind.TYPE: labels["type"]}
        a.switch(kind, cases, otherwise)
        a.label(labels["by_object"])
        wanted = a.load("ptr", inner, GuardWord.OBJECT * WORD)
        a.require(a.same("ptr", found, wanted), otherwise)
        a.jump(fits)
        a.label(labels["referent"])
        referent = a.load("ptr", value, object_layout.REFERENT)
        a.require(a.differ("ptr", referent, a.object("none")), otherwise)  # it died
        a.require(a.same("ptr", found, referent), otherwise)
        a.jump(fits)
        a.label(labels["type"])
        # where the object is a leaf, it must be held
        a.require(a.same("i64", a.load("i64", inner, GuardWord.LEAF * WORD), "0"), otherwise)
        type = a.load("ptr", found, object_layout.TYPE)
        a.require(a.same("ptr", type, value), otherwise)
        a.jump(fits)

    def _compared(self, inner: str) -> None:
        a = self.code
        a.set("ptr", self.following, a.at(inner, (GuardWord.OBJECT + 1) * WORD))

    def _borrowed(self) -> None:
        """Compare a borrowed object with the guard on it."""
        a = self.code
        a.label("borrowed")
        found, inner = a.get("ptr", self.found), a.get("ptr", self.inner)
        self._compare(found, inner, a.load("i64", inner), "borrowed_fits", "taken")
        a.label("borrowed_fits")
        self._compared(inner)
        a.jump("next")
        a.label("taken")
        a.api("Py_IncRef", found)
        a.jump("owned")

    def _owned(self) -> None:
        """Compare an object of which there is a reference with the guard on it."""
        a = self.code
        a.label("owned")
        found, inner = a.get("ptr", self.found), a.get("ptr", self.inner)
        following = match_usual_array(a, inner, found, "%frame", "owned_unusual")
        a.set("ptr", self.following, following)
        held = a.add(a.load("i64", "%frame"), "1")  # the frame keeps the reference
        a.store("i64", held, "%frame")
        a.store_item("ptr", found, "%frame", held)
        a.jump("next")
        a.label("owned_unusual")
        self._compare(found, inner, a.load("i64", inner), "owned_fits", "owned_other")
        a.label("owned_fits")
        self._compared(inner)
        a.api("Py_DecRef", found)
        a.jump("next")
        a.label("owned_other")
        passed = f"ptr {inner}", f"ptr {found}", "ptr %frame", f"i64 {LOOKED_UP}"
        after = a.call("ptr", "match", *passed)
        a.api("Py_DecRef", found)
        a.set("ptr", self.following, after)
        a.require(a.differ("ptr", after, "null"), "refused")
        a.jump("next")
