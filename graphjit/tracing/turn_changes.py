"""What a turn of Python's changed between two times at a loop's test: what the loop carries."""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np

from .carried_values import common_kind, is_record, kind_of, may_be_carried
from .grown_lists import GrownList, is_held_once, same_items
from .loop_tests import LoopTest
from .mixed_numbers import is_mixed
from .number_kinds import may_be_item
from .open_loops import Visit
from .stored_places import carried_of
from .turn_lists import LONGER
from .turn_recorder import TurnRecorder
from .turn_ways import LoopRefused, without_marks
from .variable_contents import contents_of, has_aliases, same_plain, twins_of

# Lists with more items aren't carried.
MAX_KEPT = 10_000


class TurnChanges(TurnRecorder):
    """The changes that the turns of one trace's loops make."""

    def __init__(self) -> None:
        super().__init__()
        self._tests_taken: dict[int, tuple[Any, LoopTest]] = {}
        # Why turns that were come to by tests weren't the first ones of a loop.
        self._refusals: dict[Any, str] = {}
        # Notes that an array of known values is to be traced from the start, if it can be.
        self.note_array: Callable[[Any], bool] = lambda array: False

    def _changed(
        self, visit: Visit, test: LoopTest, branches: Any
    ) -> tuple[list[str], list[tuple[Any, int]]] | None:
        """The variables and arrays that a turn changed; None where no loop can begin here."""
        frame = visit.frame
        if visit.predicate >= 0 and (
            branches.taken[visit.branches - 1].outcome is not test.stays
        ):
            return None
        for number in range(visit.branches, len(branches.taken)):
            place, other = self._tests_taken.get(number, (0, None))
            if place != id(frame) or other is None or other.head != test.head:
                continue
            if branches.taken[number].outcome is not other.stays:
                return None
        return self._carried(visit, test)

    def _carried(
        self, visit: Visit, test: LoopTest
    ) -> tuple[list[str], list[tuple[Any, int]]] | None:
        """The variables that are other ones than at a visit, and the arrays that were written
        to, if all of them can be carried, and nothing else has changed.
        """
        frame, names = visit.frame, []
        values = self.stored.at(frame, test)
        outer = frame.f_code.co_freevars
        if values.keys() != visit.values.keys():  # the next turn may have all names
            self._refuse(frame, "sets or deletes a variable")
            return None
        for name, before in visit.values.items():
            now = values[name]
            if now is before or same_plain(now, before):
                continue
            if same_items(now, before) and (self.key_of(frame), name) not in self.grows:
                continue
            if name in outer or not may_be_carried(before) or not may_be_carried(now):
                self._refuse(frame, f"changes {name}")
                return None
            if kind_of(now) != kind_of(before):  # the next turn may be alike
                kind = common_kind(kind_of(before), kind_of(now), [before, now])
                later = not (self._open or is_mixed(before) or is_mixed(now))
                if kind is None or later:
                    self._refuse(frame, f"gives {name} another type")
                    return None
                self.mixed_at_first[self.key_of(frame), name] = kind
            names.append(name)
        contents = contents_of(values, visit.fields)
        if contents is None:
            self._refuse(frame, "has variables whose contents aren't seen")
            return None
        kept = [name for name in values if name not in names]
        changed = [name for name in kept if contents[name] != visit.contents[name]]
        for name in kept:
            wanted = (self.key_of(frame), name) in self.grows
            if type(values[name]) is list and (wanted or name in changed):
                if not self._is_of_items(visit, name, values):
                    self._refuse(frame, f"changes what {name} holds")
                    return None
                names.append(name)
        changed = [name for name in changed if name not in names]
        for name in names:
            if any(not self._is_free(each[name]) for each in (visit.values, values)) or (
                type(values[name]) is not tuple
                and is_record(values[name])
                and not self._is_held_once(visit, name, values)
            ):
                self._refuse(frame, f"changes {name}, an object that has another name")
                return None
            both = values, visit.values
            listed = any(type(each[name]) is GrownList for each in both)
            other = any(_has_another_name(each, name) for each in both)
            if listed and (other or not self._is_held_once(visit, name, values)):
                self._refuse(frame, f"changes {name}, a list that has another name")
                return None
        if changed:
            arrays = [values[n] for n in changed if type(values[n]) is np.ndarray]
            if len(arrays) == len(changed) and any([self.note_array(x) for x in arrays]):
                raise LoopRefused("writes into an array of known values")
            self._refuse(frame, f"changes what {changed[0]} holds")
            return None
        twins = twins_of(names, visit.values, values)
        both = visit.values, values
        carried = [carried_of(each, names) for each in both]
        places = self.stored.fields(frame, names)
        if any(has_aliases(each, names, twins, places) for each in carried):
            self._refuse(frame, "gives one array two names")
            return None
        arrays = self._written_since(visit.written, visit.nodes)
        return [name for name in names if name not in twins], arrays

    def _is_of_items(self, visit: Visit, name: str, values: dict[str, Any]) -> bool:
        """Whether a turn has only added and stored items of one kind in a list that is nobody
        else's.
        """
        frame, value, before = visit.frame, values[name], visit.lists[name]
        if not len(before) <= len(value) <= MAX_KEPT:
            return False
        key = self.key_of(frame), name
        kind = self.grows.get(key)
        for x in (*before, *value):
            if not may_be_item(x):
                return False
            kind = kind_of(x) if kind is None else common_kind(kind, kind_of(x), value)
            if kind is None:
                return False
        if kind is None or not self._is_held_once(visit, name, values):
            return False
        self.grows[key] = kind
        if len(before) < len(value):
            self.grows[(*key, LONGER)] = True
        return True

    def _is_free(self, value: Any) -> bool:
        """Whether a value is no object from outside."""
        return type(value) is tuple or not is_record(value) or self.stored.is_own(value)

    def _is_held_once(self, visit: Visit, name: str, values: dict[str, Any]) -> bool:
        """Whether only a variable knows the list that it is."""
        frame = visit.frame
        known = [values, visit.values, frame.f_locals, *self.stored.holders()]
        known += self.stored.cells(frame)
        known += [v.values for v in self._visits.values()]
        for loop in self._open:
            known += [loop.values, loop.visit.values]
        live = type(values[name]) is not list
        variables = values if live else self.stored.all_of(frame)
        return is_held_once(values[name], frame, [*known, variables], variables)

    def _refuse(self, frame: FrameType, what: str) -> None:
        self._refusals[self.key_of(frame)] = without_marks(f"a turn of a loop {what}")


def _has_another_name(values: dict[str, Any], name: str) -> bool:
    """Whether a list that grows is the value of two variables."""
    value = values[name]
    return type(value) is GrownList and any(
        x is value and other != name for other, x in values.items()
    )


__all__ = ["MAX_KEPT", "TurnChanges"]
