"""The specializations of one function, and how calls find them."""

from __future__ import annotations

import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from graphjit.capture.sources import Check, Readings, calls_code
from graphjit.core.fork_safety import new_lock
from graphjit.core.lazy import lazy_module
from graphjit.tracing.symbolic_sizes import SizeHistory

from .call_key import identities
from .specialization import Specialization

if TYPE_CHECKING:
    from graphjit.core.errors import SourceLine

    from . import recompile
    from .call_key import CallKey
    from .entry_table import EntryTable
else:
    recompile = lazy_module("graphjit.jit.recompile")

# A key of one of the table's dicts: the name of the dict, and the key.
_Entry = tuple[str, Any]
# How many keys are retained that no object is tied to, and as many for each object. Those of
# values that are new at each call would pile up. A specialization has three.
MAX_KEYS = 3 * 512
# How many keys are retained that hold objects whose death nothing tells.
_MAX_IMMORTAL_KEYS = 64
# How many executables are retained of specializations whose objects died: what comes next is
# often alike.
_MAX_SPARE_EXECUTABLES = 4


class _Owner(weakref.ref[Any]):
    """An object that specializations were made for, and the keys that they are stored under."""

    __slots__ = ("keys", "number")
    # The object's id.
    number: int
    # The oldest first.
    keys: OrderedDict[_Entry, None]


class SpecializationTable:
    """Specializations by what calls have in common.

    One that was made for an object is found by the object's identity, and forgotten once the
    object died. Whoever changes the table holds its lock.
    """

    def __init__(self, entries: EntryTable) -> None:
        self.lock = new_lock()
        # Those of known extents, by `CallKey.key`.
        self.by_key: dict[Any, list[Specialization]] = {}
        # Those of symbolic extents, by `CallKey.rank_key`.
        self.by_rank: dict[Any, list[Specialization]] = {}
        # The sizes that calls have brought, by `CallKey.rank_key`.
        self.size_histories: dict[Any, SizeHistory] = {}
        # How often calls fell back to eager mode, by `CallKey.type_key`: see `Fallbacks`.
        # Or the specialization of all such calls to come.
        self.fallbacks: dict[Any, int | Specialization] = {}
        self.owners: dict[int, _Owner] = {}
        # Keys with objects that can't be referred to weakly, the oldest first.
        self.immortal_keys: OrderedDict[_Entry, None] = OrderedDict()
        # Keys that no object is tied to, the oldest first.
        self.ownerless_keys: OrderedDict[_Entry, None] = OrderedDict()
        # The numbers of owners that died, whose specializations are to be forgotten.
        self.died: deque[int] = deque()
        self.spare_executables: deque[Any] = deque(maxlen=_MAX_SPARE_EXECUTABLES)
        self._entries = entries

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock, and afterwards forget what belongs to objects that died meanwhile."""
        try:
            with self.lock:
                yield
        finally:
            self.forget_dead()

    def all(self) -> list[Specialization]:
        """All specializations, but for those of objects that died."""
        self.forget_dead()
        with self.locked():
            lists = (*self.by_key.values(), *self.by_rank.values())
            return [specialization for found in lists for specialization in found]

    def count(self) -> int:
        """How many specializations there are."""
        return sum(map(len, self.by_key.values())) + sum(map(len, self.by_rank.values()))

    # -- finding

    def find(self, key: Any, read: Readings) -> Specialization | None:
        """A specialization of known extents whose captures are of the traced types.

        read: what is looked up for the call
        """
        for specialization in self.by_key.get(key, ()):
            if specialization.captures_fit(read) and not specialization.retrace_due:
                return specialization
        return None

    def find_any_size(self, call: CallKey, read: Readings) -> Specialization | None:
        """A specialization of symbolic extents that serves a call's sizes. read: as above."""
        if not self.by_rank:
            return None
        for specialization in self.by_rank.get(call.rank_key, ()):
            accepts = specialization.size_domain.accepts(call.kinds)
            if accepts and specialization.captures_fit(read):
                return specialization
        return None

    def paths(self, call: CallKey) -> list[Specialization]:
        """All specializations that serve a call, if it takes the path that they are for."""
        sized = [
            s for s in self.by_rank.get(call.rank_key, ()) if s.size_domain.accepts(call.kinds)
        ]
        known = self.by_key.get(call.key, ())
        return [s for s in (*known, *sized) if s.captures_fit() and not s.retrace_due]

    def has_compiled(self, call: CallKey) -> bool:
        """Whether there is compiled code for calls like this one, whatever they read."""
        return any(not s.reason for s in self.by_key.get(call.key, ()))

    def varying_numbers(self) -> set[Any]:
        """The sources of numbers, by key, that aren't what a specialization was made for."""
        found = set()
        for specialization in self.all():
            read, fails = Readings(), False
            for guard in specialization.guards:
                if fails and calls_code(guard.source):
                    break  # calls that get there call it, no others
                if guard.holds(read):
                    continue
                fails, kind = True, type(guard.expected)
                number = guard.check is Check.EQUAL and kind in (float, int, complex)
                if number and type(read(guard.source)) is kind:
                    found.add(guard.source.key)
        return found

    def fails_by_guards(self, call: CallKey) -> bool:
        """Whether there are specializations for a call but for what the code reads."""
        return any(s.guards for s in self.by_key.get(call.key, ()))

    def remove_due(self, key: Any) -> bool:
        """Remove specializations that are to be traced again; whether there were some."""
        known = self.by_key.get(key, [])
        due = [specialization for specialization in known if specialization.retrace_due]
        for specialization in due:
            known.remove(specialization)
        return bool(due)

    def explain(
        self, call: CallKey, names: Sequence[str], line: SourceLine | None
    ) -> recompile.Miss | None:
        """Why no specialization serves a call; None if there are no specializations at all.

        names: one for each leaf of the arguments. line: the user's.
        """
        self.forget_dead()
        latest = self._latest() if self.by_key or self.by_rank else ()
        if not latest:
            return None
        return recompile.explain_miss(call.kinds, call.tree, names, latest, self.count(), line)

    def _latest(self) -> list[Specialization]:
        """The specializations that were made last, those of known extents first."""
        dicts = (self.by_key, self.by_rank)
        latest = [islice(reversed(d.values()), recompile.MAX_COMPARED) for d in dicts]
        return [item for found in latest for made in reversed([*found]) for item in made]

    # -- changing

    def insert(self, call: CallKey, specialization: Specialization) -> None:
        """Add a specialization of known extents."""
        self.by_key.setdefault(call.key, []).append(specialization)
        self._tie_to_owners("by_key", call.key)

    def insert_any_size(self, call: CallKey, specialization: Specialization) -> None:
        """Add a specialization of symbolic extents."""
        self.by_rank.setdefault(call.rank_key, []).append(specialization)
        self._tie_to_owners("by_rank", call.rank_key)

    def size_history(self, call: CallKey) -> SizeHistory:
        """The sizes of calls like this one, made if there is none."""
        history = self.size_histories.setdefault(call.rank_key, SizeHistory())
        self._tie_to_owners("size_histories", call.rank_key)
        return history

    def set_fallback(self, call: CallKey, value: int | Specialization) -> None:
        """Note what `Fallbacks` knows of calls of the same types."""
        self.fallbacks[call.type_key] = value
        self._tie_to_owners("fallbacks", call.type_key)

    def remove(self, specialization: Specialization) -> None:
        """Forget a specialization."""
        with self.locked():
            for table in (self.by_key, self.by_rank):
                for key, found in list(table.items()):
                    if specialization in found:
                        found.remove(specialization)
                        if not found:
                            del table[key]

    # -- lifetimes

    def _tie_to_owners(self, table: str, key: Any) -> None:
        """Let what is stored under a key be forgotten with the objects and classes that the key
        is for. What no object is tied to is forgotten when there are too many such keys.
        """
        entry, has_owner = (table, key), False
        for identity, is_class in identities(key):
            has_owner |= not is_class
            value, number = identity.value, hash(identity)
            owner = self.owners.get(number)
            if owner is None or owner() is not value:
                try:
                    owner = _Owner(value, _make_death_callback(self))
                except TypeError:  # it lives for as long as its key
                    self._keep_immortal(entry)
                    continue
                owner.number, owner.keys = number, OrderedDict()
                former, self.owners[number] = self.owners.get(number), owner
                if former is not None:  # of an object that was where this one is
                    for old in former.keys:
                        self._forget_key(*old)
            self._add_key(owner.keys, entry)
        if not has_owner:
            self._add_key(self.ownerless_keys, entry)

    def _keep_immortal(self, entry: _Entry) -> None:
        self.immortal_keys[entry] = None
        self.immortal_keys.move_to_end(entry)
        if len(self.immortal_keys) > _MAX_IMMORTAL_KEYS:
            self._forget_key(*self.immortal_keys.popitem(last=False)[0])

    def _add_key(self, keys: OrderedDict[_Entry, None], entry: _Entry) -> None:
        """Note a key as the latest. Where there are too many, the oldest is forgotten."""
        keys.setdefault(entry)  # the first of all equal ones, which the table has, too
        keys.move_to_end(entry)
        if len(keys) > MAX_KEYS:
            self._forget_key(*keys.popitem(last=False)[0])

    def _untie(self, entry: _Entry) -> None:
        """Forget a key that nothing is stored under any more."""
        self.ownerless_keys.pop(entry, None)
        self.immortal_keys.pop(entry, None)
        for identity, _ in identities(entry[1]):
            owner = self.owners.get(hash(identity))
            if owner is not None and entry in owner.keys:
                del owner.keys[entry]
                if not owner.keys:
                    del self.owners[owner.number]

    def forget_dead(self) -> None:
        """Forget what was made for objects that died.

        Called at any moment, wherever Python frees something. Where another holds the lock, it
        is left to that.
        """
        while self.died and not self.lock._is_owned() and self.lock.acquire(blocking=False):
            try:
                owner = self.owners.get(self.died.popleft())
                if owner is not None and owner() is None:
                    del self.owners[owner.number]
                    for entry in owner.keys:
                        self._forget_key(*entry, died=True)
            except IndexError:  # another thread was first
                return
            finally:
                self.lock.release()

    def _forget_key(self, table: str, key: Any, died: bool = False) -> None:
        """Forget what is stored under a key. Small executables are retained as spare ones.

        died: because its object did; machine code goes on with what serves others like it
        """
        found = getattr(self, table).pop(key, ())
        if isinstance(found, Specialization):
            found = [found]
        specializations = found if isinstance(found, list) else ()
        self._untie((table, key))
        for specialization in specializations:
            if specialization.executable is not None and specialization.executable.small:
                self.spare_executables.append(specialization.executable)
        left = [s for s in specializations if not (died and s.serves_any_object)]
        self._entries.remove(left)


def _make_death_callback(table: SpecializationTable) -> Callable[[Any], None]:
    """What is called when an object dies that a table has specializations for."""
    reference = weakref.ref(table)

    def note_death(owner: Any) -> None:
        table = reference()
        if table is not None:
            table.died.append(owner.number)
            table.forget_dead()

    return note_death


__all__ = ["MAX_KEYS", "SpecializationTable"]
