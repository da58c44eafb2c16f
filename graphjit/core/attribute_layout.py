"""Where objects hold their attributes, so that machine code can read them without a lookup.

A dict keeps its entries in order, behind a table of hashes. Where an entry was, it mostly still
is: the key there tells.

CPython keeps the attributes of most objects in an array of values, whose order the class knows
(its shared keys), and makes a dict only where one is asked for. Slots lie in the object itself.
A class has a version, a number that no other class has and that changes whenever the class or
one of its bases does. While the version is the same, no descriptor can have come in the way.

All of this is private to CPython. It is compared with what real objects do, and not used where
it differs.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
import types
from typing import Any, Final

from .frozen import dataclass
from .object_layout import MEMBER, MEMBER_OFFSET, WORD, half, types_fit, word

# From CPython's headers, 3.11 to 3.13 [bytes].
TYPE_VERSION: Final = 384  # of a class
_TYPE_GETTER: Final = 144
SHARED_KEYS: Final = 872 if sys.version_info < (3, 12) else 880
KEYS_COUNT: Final = 24  # how many keys there are, and where their table starts
# The table's size as a power of two, the kind of keys (0: not only strings), an entry's size.
KEYS_TABLE, KEYS_TABLE_BITS, KEYS_KIND, ENTRY_BYTES = 32, 9, 10, 16
DICT_KEYS, DICT_VALUES = 32, 40  # of a dict; the latter null where values lie in the entries
DICT: Final = -24  # the dict of an object whose class has shared keys
# 3.11: the values' address, or null. 3.12: that less one in the dict's place; a dict's is even.
# 3.13: the values lie behind the object, after a byte that says whether they are valid.
VALUES: Final = -32 if sys.version_info < (3, 12) else DICT
VALUES_TAG: Final = 0 if sys.version_info < (3, 12) else 1
VALUES_INSIDE: Final = sys.version_info >= (3, 13)
# What generated code depends on.
WORDS: Final = (VALUES & 0xFF, VALUES_TAG, int(VALUES_INSIDE), SHARED_KEYS)
_VALID, _FIRST_VALUE = 3, 8
DICT_FIRST_VALUE: Final = _FIRST_VALUE if VALUES_INSIDE else 0  # where values begin
_FUNCTION_CODE, _FUNCTION_DEFAULTS = 48, 56
_MEMBER_TYPE, _MEMBER_FLAGS, _OBJECT_MEMBER = 8, 24, 16
_MANAGED_DICT, _INLINE_VALUES, _IMMUTABLE = 1 << 4, 1 << 2, 1 << 8
_GENERIC: Final = object.__dict__["__getattribute__"]
_MISSING: Final = object()
_NO_NAME: Final = "_no_class_has_this_attribute"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the instances of a class hold an attribute.

    kind: the class. version: its version, 0 for one that can't change.
    value_at: the offset of the value: in the values, or in the object where `valid_at` is 0 or
    values lie inside; 0 if the shared keys haven't the name. valid_at: not 0 if the value is
    among shared keys; where values lie inside, the offset of the byte that says whether they
    are valid. dict_at: the offset of the object's dict, 0 if it has none. keys: how many
    shared keys there are. hint: the number of the entry in the dict, -1 if that isn't known.
    """

    kind: type
    version: int
    value_at: int = 0
    valid_at: int = 0
    dict_at: int = 0
    keys: int = 0
    hint: int = -1


# How many entries a dict may have besides 4 times as many as keys: others were deleted.
_MORE_ENTRIES: Final = 64


class Places:
    """Finds where attributes and items of objects lie now.

    What is known of classes and dicts is kept: one such object is for a moment in which none of
    them changes.
    """

    def __init__(self) -> None:
        self._known = layout_fits()
        self._versions: dict[type, int] = {}
        self._shared: dict[type, dict[str, int] | None] = {}
        self._entries: dict[int, dict[int, int]] = {}

    def version(self, kind: type) -> int:
        """A class's version; 0 if it has none."""
        if not self._known:
            return 0
        found = self._versions.get(kind)
        if found is None:
            found = self._versions[kind] = _version(kind)
        return found

    def attribute(self, owner: Any, name: str) -> Place | None:
        """Where an attribute lies that an object has; None if it has to be looked up."""
        if not self._known:
            return None
        place = self._attribute(owner, name)
        return place if place is not None and reads(place, owner, name) else None

    def _attribute(self, owner: Any, name: str) -> Place | None:
        kind = type(owner)
        if kind is types.FunctionType and name in ("__code__", "__defaults__"):
            return Place(kind, 0, _FUNCTION_CODE if name == "__code__" else _FUNCTION_DEFAULTS)
        getter = word(id(kind) + _TYPE_GETTER)
        generic = getter == word(id(object) + _TYPE_GETTER)
        if not generic and _static(kind, "__getattribute__") is not _GENERIC:
            return None
        static = _static(kind, name)
        if type(static) is types.MemberDescriptorType:
            return self._slot(kind, static)
        if static is not _MISSING and any(
            _static(type(static), method) is not _MISSING
            for method in ("__set__", "__delete__")
        ):
            return None
        return self.own_name(owner, name)

    def _slot(self, kind: type, static: types.MemberDescriptorType) -> Place | None:
        member, version = word(id(static) + MEMBER), self.version(kind)
        if half(member + _MEMBER_TYPE) != _OBJECT_MEMBER or half(member + _MEMBER_FLAGS):
            return None
        if not version or not issubclass(kind, static.__objclass__):
            return None
        return Place(kind, version, word(member + MEMBER_OFFSET))

    def own_name(self, owner: Any, name: str) -> Place | None:
        """Where a name would lie in an object's own dict; None where that isn't known."""
        kind = type(owner)
        version = self.version(kind)
        if not version:
            return None
        if not kind.__flags__ & _MANAGED_DICT:
            at = kind.__dictoffset__
            hint = self._own_hint(owner, at, name)
            return Place(kind, version, dict_at=at, hint=hint) if at > 0 else None
        hint = self._own_hint(owner, DICT, name)
        if VALUES_INSIDE and not kind.__flags__ & _INLINE_VALUES:
            return Place(kind, version, dict_at=DICT, hint=hint)
        names = self._shared_names(kind)
        if names is None:
            return None
        first = kind.__basicsize__ + _FIRST_VALUE if VALUES_INSIDE else 0
        valid = kind.__basicsize__ + _VALID if VALUES_INSIDE else 1
        number = names.get(name, -1)
        # 3.11 and 3.12: 0 stands for none, so places count from the word before the first value
        at = first + WORD * (number + (not VALUES_INSIDE)) if number >= 0 else 0
        hint = hint if hint >= 0 else number  # in a dict that is made later
        return Place(kind, version, at, valid, DICT, len(names), hint)

    def _shared_names(self, kind: type) -> dict[str, int] | None:
        if kind not in self._shared:
            names = _shared_keys(kind)
            numbers = None if names is None else {name: k for k, name in enumerate(names)}
            self._shared[kind] = numbers
        return self._shared[kind]

    def _own_hint(self, owner: Any, dict_at: int, name: str) -> int:
        """The number of an attribute's entry in the dict that an object has."""
        made = _own_dict(owner, dict_at) if dict_at > 0 or dict_at == DICT else None
        return self._hint(made, name) if type(made) is dict else -1

    def item(self, names: Any, key: Any) -> tuple[Any, int]:
        """A dict's own key that is equal to one, and the number of its entry; -1 if that isn't
        known.
        """
        if type(key) is not str or type(names) is not dict or not self._known:
            return key, -1
        hint = self._hint(names, key)
        if hint < 0:
            key = next((own for own in names if type(own) is str and own == key), key)
            hint = self._hint(names, key)
        return key, hint

    def _hint(self, names: dict[Any, Any], key: Any) -> int:
        # Another thread may change the dict meanwhile: what is read then need be no more than
        # somewhere in memory, for machine code looks whether the key is there.
        keys = word(id(names) + DICT_KEYS)
        most = 4 * len(names) + _MORE_ENTRIES
        if not ctypes.c_uint8.from_address(keys + KEYS_KIND).value:
            return -1
        if word(keys + KEYS_COUNT) > most:
            return -1
        if keys not in self._entries:
            found = {at: k for k, at in enumerate(_entry_keys(keys, most))}
            if word(id(names) + DICT_KEYS) != keys:
                return -1
            self._entries[keys] = found
        return self._entries[keys].get(id(key), -1)


def _version(kind: type) -> int:
    with contextlib.suppress(AttributeError):  # a lookup gives the class a version
        type.__getattribute__(kind, _NO_NAME)
    return half(id(kind) + TYPE_VERSION) & 0xFFFFFFFF


def _entry_keys(keys: int, most: int = 1 << 20) -> list[int]:
    """The addresses of a dict's keys, in order; 0 where one was deleted. most: how many of them
    at most.
    """
    bits = ctypes.c_uint8.from_address(keys + KEYS_TABLE_BITS).value
    first, count = keys + KEYS_TABLE + (1 << (bits & 31)), min(word(keys + KEYS_COUNT), most)
    return list((ctypes.c_uint64 * (2 * count)).from_address(first))[::2]


def _hinted_value(names: dict[Any, Any], key: Any, hint: int) -> int:
    """What machine code reads as an entry's value; 0 if it has to be looked up."""
    keys, values = word(id(names) + DICT_KEYS), word(id(names) + DICT_VALUES)
    if not ctypes.c_uint8.from_address(keys + KEYS_KIND).value or not 0 <= hint < word(
        keys + KEYS_COUNT
    ):
        return 0
    bits = ctypes.c_uint8.from_address(keys + KEYS_TABLE_BITS).value
    entry = keys + KEYS_TABLE + (1 << bits) + ENTRY_BYTES * hint
    if word(entry) != id(key):
        return 0
    return word(values + DICT_FIRST_VALUE + WORD * hint) if values else word(entry + WORD)


def _shared_keys(kind: type) -> list[str] | None:
    """The names of the values that instances of a class have, in order."""
    keys = word(id(kind) + SHARED_KEYS)
    if not keys:
        return None
    return [ctypes.cast(at, ctypes.py_object).value for at in _entry_keys(keys)]


def reads(place: Place, owner: Any, name: str) -> bool:
    """Whether what lies at a place is the attribute that an object has."""
    try:
        value = _GENERIC(owner, name)
    except AttributeError:
        return False
    return type(owner) is place.kind and _value_address(place, owner, name) == id(value)


def _value_address(place: Place, owner: Any, name: str) -> int:
    """What machine code reads as an object's attribute; 0 if it has to be looked up."""
    at = id(owner)
    if not place.valid_at and place.value_at:
        return word(at + place.value_at)
    if place.valid_at:
        if VALUES_INSIDE:
            if ctypes.c_uint8.from_address(at + place.valid_at).value:
                return word(at + place.value_at) if place.value_at else 0
        else:
            values = word(at + VALUES)
            if values and values & VALUES_TAG == VALUES_TAG:
                where = values + VALUES_TAG + place.value_at - WORD
                return word(where) if place.value_at else 0
    names = _own_dict(owner, place.dict_at)
    found = _MISSING if names is None else names.get(name, _MISSING)
    return 0 if found is _MISSING else id(found)


def _own_dict(owner: Any, dict_at: int) -> Any:
    """The dict whose address an object has at an offset; None if it has none there.

    Another thread may replace it: its address is read, and the dict held, in one call of C.
    """
    place = id(owner) + dict_at
    if not word(place) or word(place) & 1:
        return None
    try:
        return ctypes.py_object.from_address(place).value
    except ValueError:  # there is none by now
        return None


def _static(kind: type, name: str) -> Any:
    """What a class or one of its bases has stored under a name."""
    for base in type.__dict__["__mro__"].__get__(kind):
        found = type.__dict__["__dict__"].__get__(base).get(name, _MISSING)
        if found is not _MISSING:
            return found
    return _MISSING


@functools.cache
def layout_fits() -> bool:
    """Whether objects and classes hold all this where it is looked for."""
    known = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return known and types_fit() and _samples_fit() and _dicts_fit()


def _samples_fit() -> bool:
    class Base:
        pass

    class Sample(Base):
        pass

    class Slots:
        __slots__ = ("first", "second")

    versions = [_version(Base), _version(Sample), _version(Slots)]
    if 0 in versions or len(set(versions)) < len(versions):
        return False
    Base.added = 1  # type: ignore[attr-defined]
    if half(id(Sample) + TYPE_VERSION) & 0xFFFFFFFF == versions[1]:
        return False  # a base has changed
    if _version(Sample) in (*versions, 0):
        return False
    names = ["one", "two", "three"]
    for order in (names, names[::-1]):
        sample = Sample()
        for name in order:
            setattr(sample, name, object())
        if not _sample_fits(sample, names):
            return False
        delattr(sample, order[0])
        if not _sample_fits(sample, names):
            return False
        assert vars(sample)  # makes its dict
        setattr(sample, order[0], object())
        vars(sample)["four"] = object()
        if not _sample_fits(sample, [*names, "four"]):
            return False
    if (_shared_keys(Sample) or [])[:3] != names:
        return False
    held = Slots()
    held.first = object()  # type: ignore[attr-defined]

    def function(x: int = 1) -> None:
        pass

    samples = [
        (held, "first"),
        (types.SimpleNamespace(first=object()), "first"),
        (function, "__code__"),
        (function, "__defaults__"),
    ]
    return all(_found(value, name) for value, name in samples)


def _unchecked_places() -> Places:
    """Places before it is known that all is where it is looked for."""
    places = Places.__new__(Places)
    places._known, places._versions, places._shared, places._entries = True, {}, {}, {}
    return places


def _found(owner: Any, name: str) -> bool:
    return _unchecked_places().attribute(owner, name) is not None


def _dicts_fit() -> bool:
    """Whether entries of dicts are found by their number."""

    class Sample:
        pass

    samples: list[dict[Any, Any]] = [
        {f"name{k}": object() for k in range(count)} for count in (1, 5, 6, 300)
    ]
    for names in samples[1:]:
        del names["name1"]
        names["name1"] = object()
    for count in (3, 40):
        sample = Sample()
        for k in range(count):
            setattr(sample, f"name{k}", object())
        samples.append(vars(sample))
    del sample.name0  # type: ignore[attr-defined]
    places = _unchecked_places()
    for names in samples:
        listed = list(names)
        for key in (listed[0], listed[-1]):
            hint = places._hint(names, key)
            if hint < 0 or _hinted_value(names, key, hint) != id(names[key]):
                return False
            if _hinted_value(names, key, hint + 1) or _hinted_value(names, "", hint):
                return False
    mixed = {1: object(), "two": object()}
    return places._hint(mixed, "two") < 0 and not _hinted_value(mixed, "two", 1)


def _sample_fits(sample: Any, names: list[str]) -> bool:
    """Whether an object's attributes are read as they are, and those that it hasn't, not."""
    places = _unchecked_places()
    for name in names:
        place = places.own_name(sample, name)
        if place is None or not place.valid_at:
            return False
        address, own = _value_address(place, sample, name), getattr(sample, name, _MISSING)
        if address != (0 if own is _MISSING else id(own)):
            return False
    return True


__all__ = [
    "DICT_FIRST_VALUE",
    "DICT_KEYS",
    "DICT_VALUES",
    "ENTRY_BYTES",
    "KEYS_COUNT",
    "KEYS_KIND",
    "KEYS_TABLE",
    "KEYS_TABLE_BITS",
    "SHARED_KEYS",
    "TYPE_VERSION",
    "VALUES",
    "VALUES_INSIDE",
    "VALUES_TAG",
    "WORDS",
    "Place",
    "Places",
    "layout_fits",
    "reads",
]
