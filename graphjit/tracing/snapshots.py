"""Snapshots of what a traced function may change, each with the way to put it back."""

# The methods are documented once, in Snapshot.
# ruff: noqa: D102

from __future__ import annotations

import gc
import operator
import sys
import types
from array import array
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

# In place of a value where there is none.
ABSENT = object()


class Snapshot:
    """What something held when the snapshot was taken."""

    __slots__ = ()
    # What a message calls it.
    name = "what outlives the call"

    def changed(self) -> bool:
        """Whether it differs from what it was."""
        raise NotImplementedError

    def gained(self) -> bool:
        """Whether, if it differs, values only came in place of nothing or of None."""
        return False

    def values(self) -> Iterable[Any]:
        """What it holds now."""
        return ()

    def restore(self) -> None:
        """Make it what it was."""
        raise NotImplementedError

    def renewed(self) -> Snapshot:
        """A snapshot of what it holds now."""
        raise NotImplementedError


class MappingSnapshot(Snapshot):
    """The items of a dict."""

    __slots__ = ("before", "holder", "kind", "name")

    def __init__(self, holder: dict[Any, Any], name: str = "a dict that outlives it") -> None:
        self.holder, self.name = holder, name
        self.kind: Any = OrderedDict if isinstance(holder, OrderedDict) else dict
        self.before = dict(self.kind.items(holder))

    def renewed(self) -> Snapshot:
        return MappingSnapshot(self.holder, self.name)

    def changed(self) -> bool:
        now = self.kind.items(self.holder)
        if len(self.holder) != len(self.before):
            return True
        pairs = zip(list(now), self.before.items(), strict=True)
        return any(v is not w or k is not m for (k, v), (m, w) in pairs)

    def gained(self) -> bool:
        now = dict(self.kind.items(self.holder))
        return all(_is_preserved(now.get(k, ABSENT), v) for k, v in self.before.items())

    def values(self) -> Iterable[Any]:
        return [*self.kind.keys(self.holder), *self.kind.values(self.holder)]

    def restore(self) -> None:
        self.kind.clear(self.holder)
        self.kind.update(self.holder, self.before)


class ItemsSnapshot(Snapshot):
    """A list, set, deque, bytearray or array of the standard library."""

    __slots__ = ("before", "holder", "name")

    def __init__(self, holder: Any) -> None:
        self.holder, self.name = holder, f"a {type(holder).__name__} that outlives it"
        self.before = bytes(holder) if isinstance(holder, (bytearray, array)) else list(holder)

    def renewed(self) -> Snapshot:
        return ItemsSnapshot(self.holder)

    def changed(self) -> bool:
        if isinstance(self.holder, (bytearray, array)):
            return bytes(self.holder) != self.before
        now = list(self.holder)
        return len(now) != len(self.before) or any(map(operator.is_not, now, self.before))

    def gained(self) -> bool:
        return isinstance(self.holder, set) and self.holder.issuperset(self.before)

    def values(self) -> Iterable[Any]:
        return list(self.holder)

    def restore(self) -> None:
        holder = self.holder
        if isinstance(holder, list):
            list.__setitem__(holder, slice(None), self.before)
        elif isinstance(holder, bytearray):
            holder[:] = self.before
        elif isinstance(holder, array):
            del holder[:]
            holder.frombytes(self.before)  # type: ignore[arg-type]
        else:
            holder.clear()
            (holder.extend if isinstance(holder, deque) else holder.update)(self.before)


class NamesSnapshot(Snapshot):
    """Some names of globals, of a module or of a decorated function."""

    __slots__ = ("before", "holder", "name")

    def __init__(self, holder: Any, names: Iterable[str], owner: str = "") -> None:
        self.holder = holder
        self.before = {name: holder.get(name, ABSENT) for name in names}
        self.name = f"an attribute of a {owner}" if owner else "a global"

    def renewed(self) -> Snapshot:
        made = NamesSnapshot(self.holder, self.before)
        made.name = self.name
        return made

    def changed(self) -> bool:
        get = self.holder.get
        return any(get(name, ABSENT) is not value for name, value in self.before.items())

    def gained(self) -> bool:
        get = self.holder.get
        return all(_is_preserved(get(name, ABSENT), v) for name, v in self.before.items())

    def values(self) -> Iterable[Any]:
        return [self.holder.get(name) for name in self.before]

    def restore(self) -> None:
        for name, value in self.before.items():
            if value is not ABSENT:
                self.holder[name] = value
            else:
                self.holder.pop(name, None)


class CellSnapshot(Snapshot):
    """What a closure's cell holds."""

    __slots__ = ("before", "cell")
    name = "a variable of a function around it"

    def __init__(self, cell: types.CellType) -> None:
        self.cell = cell
        self.before = _read_cell(cell)

    def renewed(self) -> Snapshot:
        return CellSnapshot(self.cell)

    def changed(self) -> bool:
        return _read_cell(self.cell) is not self.before

    def gained(self) -> bool:
        return _is_preserved(_read_cell(self.cell), self.before)

    def values(self) -> Iterable[Any]:
        return (_read_cell(self.cell),)

    def restore(self) -> None:
        if self.before is ABSENT:
            del self.cell.cell_contents
        else:
            self.cell.cell_contents = self.before


class SlotsSnapshot(Snapshot):
    """The attributes of an object that lie in slots."""

    __slots__ = ("before", "members", "name", "owner")

    def __init__(self, owner: Any, members: tuple[Any, ...]) -> None:
        self.owner, self.members = owner, members
        self.name = f"an attribute of a {type(owner).__name__}"
        self.before = self.values()

    def renewed(self) -> Snapshot:
        return SlotsSnapshot(self.owner, self.members)

    def changed(self) -> bool:
        return any(
            now is not held for now, held in zip(self.values(), self.before, strict=True)
        )

    def gained(self) -> bool:
        return all(map(_is_preserved, self.values(), self.before))

    def values(self) -> list[Any]:
        found = []
        for member in self.members:
            try:
                found.append(member.__get__(self.owner))
            except AttributeError:
                found.append(ABSENT)
        return found

    def restore(self) -> None:
        for member, now, before in zip(self.members, self.values(), self.before, strict=True):
            if before is ABSENT and now is not ABSENT:
                member.__delete__(self.owner)
            elif before is not now:
                member.__set__(self.owner, before)


class ClassSnapshot(Snapshot):
    """The attributes of a class."""

    __slots__ = ("before", "kind", "name")

    def __init__(self, kind: type) -> None:
        self.kind, self.name = kind, f"an attribute of the class {kind.__name__}"
        self.before = dict(vars(kind))

    def renewed(self) -> Snapshot:
        return ClassSnapshot(self.kind)

    def changed(self) -> bool:
        now = vars(self.kind)
        if len(now) != len(self.before):
            return True
        return any(now.get(name, ABSENT) is not v for name, v in self.before.items())

    def gained(self) -> bool:
        now = vars(self.kind)
        return all(_is_preserved(now.get(name, ABSENT), v) for name, v in self.before.items())

    def values(self) -> Iterable[Any]:
        return list(vars(self.kind).values())

    def restore(self) -> None:
        for name in [n for n in vars(self.kind) if n not in self.before]:
            type.__delattr__(self.kind, name)
        for name, value in self.before.items():
            if vars(self.kind).get(name, ABSENT) is not value:
                type.__setattr__(self.kind, name, value)


class ElementsSnapshot(Snapshot):
    """The elements of an array."""

    __slots__ = ("array", "before")
    name = "an array that outlives it"

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array.view(np.ndarray)
        self.before = self.array.copy(order="K")

    def renewed(self) -> Snapshot:
        return ElementsSnapshot(self.array)

    def changed(self) -> bool:
        if self.array.dtype.hasobject:
            pairs = zip(self.array.ravel(), self.before.ravel(), strict=True)
            return any(a is not b for a, b in pairs)
        return self.array.tobytes() != self.before.tobytes()

    def values(self) -> Iterable[Any]:
        return self.array.ravel().tolist() if self.array.dtype.hasobject else ()

    def restore(self) -> None:
        self.array[...] = self.before


class GeneratorSnapshot(Snapshot):
    """A random generator."""

    __slots__ = ("before", "name", "put", "read")

    def __init__(
        self, name: str, read: Callable[[], Any], put: Callable[[Any], object]
    ) -> None:
        self.name, self.read, self.put = name, read, put
        self.before = read()

    def renewed(self) -> Snapshot:
        return GeneratorSnapshot(self.name, self.read, self.put)

    def changed(self) -> bool:
        return not equal_states(self.read(), self.before)

    def restore(self) -> None:
        self.put(self.before)


class LruCacheSnapshot(Snapshot):
    """The entries of an lru_cache.

    An lru_cache gives no way to put entries back. New ones are taken out of the dict behind it.
    Entries that it dropped to make room are lost, and its counters stay as they are.
    """

    __slots__ = ("before", "function", "misses")
    name = "the cache of a function"

    def __init__(self, function: Any) -> None:
        self.function, self.misses = function, function.cache_info().misses
        self.before = frozenset(map(id, self._entries()))

    def _entries(self) -> dict[Any, Any]:
        """The dict behind the cache: results, or links to them, by keys of lru_cache's."""
        own = self.function.__dict__
        held = [x for x in gc.get_referents(self.function) if type(x) is dict and x is not own]
        size = self.function.cache_info().currsize
        return held[0] if len(held) == 1 and len(held[0]) == size else {}

    def renewed(self) -> Snapshot:
        return LruCacheSnapshot(self.function)

    def changed(self) -> bool:
        return bool(self.function.cache_info().misses != self.misses)

    def gained(self) -> bool:
        return True

    def values(self) -> Iterable[Any]:
        # where there are links, the garbage collector sees their keys and results here
        held = [x for x in gc.get_referents(self.function) if type(x) is not dict]
        links = self.function.cache_parameters()["maxsize"] is not None
        return held if links else [*held, *self._entries(), *self._entries().values()]

    def restore(self) -> None:
        entries = self._entries()
        if not entries:
            self.function.cache_clear()
            self.misses = 0
            return
        for key in [k for k in list(entries) if id(k) not in self.before]:
            entries.pop(key, None)
        self.misses = self.function.cache_info().misses


def _is_preserved(now: Any, before: Any) -> bool:
    """Whether a value is still there, or there was none."""
    return now is before or before is ABSENT or before is None


def numpy_random_loaded() -> bool:
    """Whether NumPy's generators are loaded. NumPy loads them when they are first used, and
    before that there are none; to load them here would take a tenth of a first call.
    """
    return "numpy.random" in sys.modules


def read_numpy_state() -> Any:
    """The state of NumPy's own generator."""
    return np.random.get_state(legacy=False)


def initial_numpy_state() -> Any:
    """The state of NumPy's own generator as it was when NumPy made it."""
    seed: Any = np.random.get_bit_generator().seed_seq  # type: ignore[attr-defined]
    return np.random.RandomState(np.random.MT19937(seed)).get_state(legacy=False)


def _read_cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name no longer bound
        return ABSENT


def equal_states(left: Any, right: Any) -> bool:
    """Whether two states, nested as NumPy and Python nest them, are the same."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(
            equal_states(v, right[k]) for k, v in left.items()
        )
    if isinstance(left, tuple):  # Python's, without arrays
        return bool(left == right)
    if isinstance(left, np.ndarray):
        return bool(np.array_equal(left, right))
    return bool(left == right)


__all__ = [
    "ABSENT", "CellSnapshot", "ClassSnapshot", "ElementsSnapshot", "GeneratorSnapshot",
    "ItemsSnapshot", "LruCacheSnapshot", "MappingSnapshot", "NamesSnapshot", "SlotsSnapshot",
    "Snapshot", "equal_states", "initial_numpy_state", "numpy_random_loaded",
    "read_numpy_state",
]  # fmt: skip
