"""Where a value that traced code reads comes from, and what of it must stay as it was.

A source leads from an object that is known for good (a dict of globals, a cell, an argument) to
a value by steps: items and attributes. Calling it reads the value anew. A guard compares what a
source gives now with what it gave while the code was traced.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from enum import Enum
from types import CellType
from typing import Any, Final

import numpy as np

from graphjit.core.frozen import dataclass

# Whole numbers up to this one are inputs: their sums and products can be known to fit 64 bits.
MAX_INTEGER: Final = 1 << 53
MAX_TEXT: Final = 60  # characters of a value in a message
MISSING: Final = type("Missing", (), {"__repr__": lambda self: "<missing>"})()


class Source:
    """A way to read a value anew.

    key: what tells it from others; equal ones read the same. text: as the user's code has it.
    """

    __slots__ = ("key", "text")

    key: Hashable
    text: str

    def __call__(self) -> Any:
        """The value now; MISSING if there is none."""
        return self.found(_anew)

    def found(self, look: Callable[[Source], Any]) -> Any:
        """The value, or MISSING. look: gives the values of the sources that this one is of."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{self.text}>"


class ConstSource(Source):
    """Always the same object."""

    __slots__ = ("value",)

    def __init__(self, value: Any, text: str = "") -> None:
        self.value = value
        self.text = text
        self.key = ("const", id(value))

    def found(self, look: Callable[[Source], Any]) -> Any:
        """The object."""
        return self.value


class WeakRefSource(Source):
    """An object that isn't kept alive; None once it died."""

    __slots__ = ("reference",)

    def __init__(self, value: Any, text: str = "") -> None:
        self.reference = weakref.ref(value)
        self.text = text
        self.key = ("weak", id(value))

    def found(self, look: Callable[[Source], Any]) -> Any:
        """The object, or None."""
        return self.reference()


class CellSource(Source):
    """What a closure's cell holds."""

    __slots__ = ("cell",)

    def __init__(self, cell: CellType, name: str = "") -> None:
        self.cell = cell
        self.text = name
        self.key = ("cell", id(cell))

    def found(self, look: Callable[[Source], Any]) -> Any:
        """The content."""
        try:
            return self.cell.cell_contents
        except ValueError:  # a name that was deleted
            return MISSING


class ItemSource(Source):
    """An item of a container."""

    __slots__ = ("item", "parent")

    def __init__(self, parent: Source, item: Any, text: str = "") -> None:
        self.parent = parent
        self.item = item
        self.text = text or f"{parent.text}[{item!r}]"
        self.key = (parent.key, "item", type(item), item)

    def found(self, look: Callable[[Source], Any]) -> Any:
        """The item."""
        container = look(self.parent)
        try:
            if isinstance(container, dict):  # a defaultdict would make the item
                return dict.get(container, self.item, MISSING)
            return container[self.item]
        except (KeyError, IndexError, TypeError):
            return MISSING


class AttributeSource(Source):
    """An attribute of an object."""

    __slots__ = ("name", "parent")

    def __init__(self, parent: Source, name: str) -> None:
        self.parent = parent
        self.name = name
        self.text = f"{parent.text}.{name}"
        self.key = (parent.key, "attribute", name)

    def found(self, look: Callable[[Source], Any]) -> Any:
        """The attribute."""
        return getattr(look(self.parent), self.name, MISSING)


class StaticSource(Source):
    """What a class or one of its bases has stored under a name; its metaclass isn't asked."""

    __slots__ = ("kind", "name")

    def __init__(self, kind: Source, name: str) -> None:
        self.kind = kind
        self.name = name
        self.text = f"{kind.text}.{name}"
        self.key = (kind.key, "static", name)

    def found(self, look: Callable[[Source], Any]) -> Any:
        """What is stored."""
        kind = look(self.kind)
        return static_attribute(kind, self.name) if isinstance(kind, type) else MISSING


def static_attribute(kind: type, name: str) -> Any:
    """An attribute of a class or of one of its bases, as it is stored there, or MISSING."""
    for base in kind.__mro__:
        if name in vars(base):
            return vars(base)[name]
    return MISSING


class ConsensusSource(Source):
    """What several sources agree on; MISSING once they differ."""

    __slots__ = ("sources",)

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = tuple(sources)
        self.text = " is ".join(source.text for source in sources)
        self.key = tuple(source.key for source in sources)

    def found(self, look: Callable[[Source], Any]) -> Any:
        """The object."""
        value = look(self.sources[0])
        return value if all(look(source) is value for source in self.sources) else MISSING


class CallSource(Source):
    """What a function that remembers its results gives for arguments that are always the same.

    Reading it calls the function, as undecorated code would at each call.
    """

    __slots__ = ("args", "function", "kwargs")

    def __init__(self, function: Source, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        given = [*map(repr, args), *(f"{k}={v!r}" for k, v in kwargs.items())]
        self.text = f"{function.text}({', '.join(given)})"
        types = tuple(map(type, (*args, *kwargs.values())))
        self.key = (function.key, "call", types, args, tuple(kwargs.items()))

    def found(self, look: Callable[[Source], Any]) -> Any:
        """The result."""
        function: Any = look(self.function)
        return function(*self.args, **self.kwargs) if callable(function) else MISSING


def calls_code(source: Source) -> bool:
    """Whether reading a source calls a function of the user's."""
    if isinstance(source, CallSource):
        return True
    slots = (name for kind in type(source).__mro__ for name in getattr(kind, "__slots__", ()))
    parts = (getattr(source, name) for name in slots)
    return any(isinstance(part, Source) and calls_code(part) for part in parts)


class NumberSource(Source):
    """A number that a source gives, as an array without axes.

    MISSING once it is of another type.
    """

    __slots__ = ("dtype", "kind", "number")

    def __init__(self, number: Source, kind: type, dtype: np.dtype[Any]) -> None:
        self.number = number
        self.kind = kind
        self.dtype = dtype
        self.text = number.text
        self.key = ("number", number.key)

    def found(self, look: Callable[[Source], Any]) -> Any:
        """The array."""
        value = look(self.number)
        if type(value) is not self.kind:
            return MISSING
        if isinstance(value, int) and abs(value) > MAX_INTEGER:
            return MISSING
        return np.array(value, self.dtype)


def _anew(source: Source) -> Any:
    return source()


class Readings:
    """What sources give at one moment: each is looked up once, whatever else leads through it.

    An object that another thread replaces meanwhile is read whole, the old one or the new one.

    fitting: the specialization whose guards hold by them, once it was found
    """

    __slots__ = ("_known", "fitting")

    def __init__(self) -> None:
        self._known: dict[Source, Any] = {}
        self.fitting: Any = None

    def __call__(self, source: Source) -> Any:
        """The value; MISSING if there is none."""
        if source in self._known:
            return self._known[source]
        value = self._known[source] = source.found(self)
        return value

    def put(self, source: Source, value: Any) -> None:
        """Note what was looked up elsewhere."""
        self._known[source] = value

    def clear(self) -> None:
        """Look everything up anew from now on."""
        self._known.clear()
        self.fitting = None


class SharedSources:
    """Makes one of equal sources, so that `Readings` knows them by identity."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Source] = {}

    def one(self, source: Source) -> Source:
        """The source equal to this one that came first; it leads through such ones."""
        key: Hashable  # by objects that the sources keep alive, as ids in `Source.key` needn't
        match source:
            case ItemSource():
                source.parent = self.one(source.parent)
                key = id(source.parent), "item", type(source.item), source.item
            case AttributeSource():
                source.parent = self.one(source.parent)
                key = id(source.parent), "attribute", source.name
            case StaticSource():
                source.kind = self.one(source.kind)
                key = id(source.kind), "static", source.name
            case NumberSource():
                source.number = self.one(source.number)
                key = id(source.number), "number"
            case WeakRefSource():
                key = id(source.reference), "weak"
            case ConstSource():
                key = id(source.value), "const"
            case CellSource():
                key = id(source.cell), "cell"
            case _:
                if isinstance(source, ConsensusSource):
                    source.sources = tuple(map(self.one, source.sources))
                key = id(source), "only"
        return self._known.setdefault(key, source)

    def guard(self, guard: Guard) -> Guard:
        """A guard on such sources."""
        expected = guard.expected
        if isinstance(expected, Source):
            expected = self.one(expected)
        elif guard.check is Check.APART:
            expected = tuple(map(self.one, expected))
        return replace(guard, source=self.one(guard.source), expected=expected)


def agreed(sources: Sequence[Source]) -> Source | None:
    """One source for an object to which several lead; None for none."""
    if len(sources) > 1:
        return ConsensusSource(sources)
    return sources[0] if sources else None


def lasting_source(value: Any, text: str = "") -> Source:
    """A source for an object that is known for good; it isn't kept alive where that can be."""
    try:
        return WeakRefSource(value, text)
    except TypeError:
        return ConstSource(value, text)


def global_source(names: dict[str, Any], name: str) -> Source:
    """A global variable."""
    return ItemSource(ConstSource(names, "globals()"), name, name)


class Check(Enum):
    """What a guard asks of the value that a source gives."""

    SAME = "is the object that it was"
    REFERENT = "is the object that a weak reference refers to"
    EQUAL = "is of the type and value that it was"
    TYPE = "is of this very type"
    LENGTH = "has this length"
    SMALL = "is a whole number of this absolute value at most"
    KEYS = "is a dict with these keys in this order"
    ABSENT = "isn't there"
    ITEMS = "has the items that weak references refer to"
    WITHOUT = "is a mapping without this key"
    ALIAS = "is the object that another source gives"
    DISTINCT = "is another object than another source gives"
    APART = "is with others one of as many objects"


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """A condition on what a source gives.

    check: which; expected: the object, a weak reference to it, the value, type, length, or
    tuple of keys. line: of the user's code that read it, for messages.
    """

    check: Check
    source: Source
    expected: Any
    line: Any = None

    def holds(self, look: Callable[[Source], Any] = _anew) -> bool:
        """Whether it holds. look: gives the values of sources, those of now if not given."""
        expected = self.expected
        try:
            if self.check in (Check.ALIAS, Check.DISTINCT):
                expected = look(expected)
            elif self.check is Check.APART:
                expected = tuple(map(look, expected))
            return holds(self.check, look(self.source), expected)
        except ReferenceError:  # of a weak proxy, whose object died
            return False

    def describe(self) -> tuple[str, str, str]:
        """What is asked about, what it was, and what it is now."""
        text, now = self.source.text, self.source()
        match self.check:
            case Check.TYPE:
                return f"type of {text}", self.expected.__name__, type(now).__name__
            case Check.LENGTH:
                return f"length of {text}", str(self.expected), str(len(now))
            case Check.KEYS:
                return f"keys of {text}", _shorten(list(self.expected)), _shorten(list(now))
            case Check.ABSENT:
                return text, "not there", _shorten(now)
            case Check.SMALL:
                return f"value of {text}", f"at most {self.expected}", _shorten(now)
            case Check.ITEMS:
                return f"items of {text}", "as traced", "others"
            case Check.WITHOUT:
                return f"key {self.expected!r} of {text}", "not there", "there"
            case Check.ALIAS:
                return f"value of {text}", self.expected.text, "another object"
            case Check.APART:
                others = ", ".join(source.text for source in self.expected[1:])
                return f"value of {text}", f"another object than {others}", "one of them"
            case Check.DISTINCT:
                return f"value of {text}", f"not {self.expected.text}", "that object"
            case Check.REFERENT:
                return f"value of {text}", _shorten(self.expected()), _shorten(now)
            case _:
                return f"value of {text}", _shorten(self.expected), _shorten(now)

    def __str__(self) -> str:
        match self.check:
            case Check.ABSENT:
                return f"{self.source.text} isn't there"
            case Check.ITEMS:
                return f"{self.source.text} has the items that it had"
            case Check.WITHOUT:
                return f"{self.expected!r} not in {self.source.text}"
            case Check.ALIAS:
                return f"{self.source.text} is {self.expected.text}"
            case Check.APART:
                return ", ".join(s.text for s in self.expected) + " are different objects"
            case Check.DISTINCT:
                return f"{self.source.text} is not {self.expected.text}"
            case Check.SMALL:
                return f"abs({self.source.text}) <= {self.expected}"
            case Check.TYPE:
                return f"type({self.source.text}) is {self.expected.__qualname__}"
            case Check.LENGTH:
                return f"len({self.source.text}) == {self.expected}"
            case Check.KEYS:
                return f"list({self.source.text}) == {list(self.expected)}"
            case Check.SAME | Check.REFERENT:
                value = self.expected() if self.check is Check.REFERENT else self.expected
                name = getattr(value, "__qualname__", None) or repr(value)
                return f"{self.source.text} is {name}"
            case _:
                return f"{self.source.text} == {self.expected!r}"


def holds(check: Check, value: Any, expected: Any) -> bool:
    """Whether a value is as a guard expects it."""
    match check:
        case Check.SAME | Check.ALIAS:
            return value is expected
        case Check.DISTINCT:
            return value is not expected
        case Check.APART:
            return len(set(map(id, expected))) == len(expected)
        case Check.ITEMS:
            return len(value) == len(expected) and all(
                x is reference() for x, reference in zip(value, expected, strict=True)
            )
        case Check.WITHOUT:
            return expected not in value
        case Check.REFERENT:  # which is None once the object died
            return value is not None and value is expected()
        case Check.EQUAL:
            return same_value(value, expected)
        case Check.TYPE:
            return type(value) is expected
        case Check.LENGTH:
            return value is not MISSING and len(value) == expected
        case Check.SMALL:
            return type(value) is int and abs(value) <= expected
        case Check.KEYS:
            return value is not MISSING and same_value(tuple(value), expected)
        case Check.ABSENT:
            return value is MISSING


def _shorten(value: Any) -> str:
    """An object in a message: by its name if it has one."""
    name = getattr(value, "__qualname__", None)
    text = name if isinstance(name, str) else repr(value)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."


def same_value(a: Any, b: Any) -> bool:
    """Whether two plain values can't be told apart: 1 and True, or 0.0 and -0.0, can."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    match a:
        case float():
            return _same_float(a, b)
        case complex():
            return _same_float(a.real, b.real) and _same_float(a.imag, b.imag)
        case tuple():
            return len(a) == len(b) and all(map(same_value, a, b))
        case slice():
            return same_value((a.start, a.stop, a.step), (b.start, b.stop, b.step))
        case frozenset():  # in the order that code steps through them
            return len(a) == len(b) and all(map(same_value, a, b))
        case int() | str() | bytes():
            return bool(a == b)
    if hasattr(a, "tobytes") and hasattr(a, "dtype"):  # a NumPy scalar
        return bool(a.dtype == b.dtype and a.tobytes() == b.tobytes())
    # Decimal("1.0") and Decimal("1.00") are equal, and range(0) and range(5, 5)
    return bool(a == b) and repr(a) == repr(b)


def _same_float(a: float, b: float) -> bool:
    return (a == b and math.copysign(1, a) == math.copysign(1, b)) or (a != a and b != b)


__all__ = [
    "MAX_INTEGER",
    "MISSING",
    "AttributeSource",
    "CallSource",
    "CellSource",
    "Check",
    "ConsensusSource",
    "ConstSource",
    "Guard",
    "ItemSource",
    "NumberSource",
    "Readings",
    "SharedSources",
    "Source",
    "StaticSource",
    "WeakRefSource",
    "agreed",
    "global_source",
    "holds",
    "lasting_source",
    "same_value",
    "static_attribute",
]
