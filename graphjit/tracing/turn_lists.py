"""Lists that the turns of loops make, lengthen and store in."""

from __future__ import annotations

from collections.abc import Sequence
from types import CodeType, FrameType
from typing import Any

from .carried_values import (
    kind_of,
)
from .grown_lists import (
    ROOM,
    GrownList,
    grown,
    is_held_once,
    listed,
    same_items,
)
from .loop_iterators import ListItems
from .loop_tests import LoopTest
from .number_kinds import common_kind, kinds_of_numbers, may_be_item
from .open_loops import OpenLoop, Visit
from .stored_places import StoredPlaces
from .turn_ways import LoopRefused

# What is noted of a list that gets longer.
LONGER = "longer"


class ListWanted(LoopRefused):
    """A list that a loop makes longer, and doesn't carry yet. wanted: kinds of items, by the
    loops and names.
    """

    def __init__(self, wanted: dict[Any, Any]) -> None:
        super().__init__("adds to a list")
        self.wanted = wanted


class OutsideListWanted(LoopRefused):
    """A list from outside that a turn appends to, of which loops don't know from the start.
    source: where it comes from.
    """

    def __init__(self, source: Any) -> None:
        super().__init__("adds to a list")
        self.source = source


class TurnLists:
    """What loops that are recorded do with lists."""

    def __init__(self) -> None:
        self.stored = StoredPlaces()
        # The arrays that were written to, each with its node before that.
        self.written: list[tuple[Any, int]] = []
        # By frames and places: the last time at each test.
        self._visits: dict[Any, Visit] = {}
        # The loops whose regions are recorded, the innermost last.
        self._open: list[OpenLoop] = []
        # The kinds of the items of lists, by the loops that change them and their names.
        self.grows: dict[Any, Any] = {}
        # By how much more room lists get than at first.
        self.room_scale = 1
        # How many turns were begun to be recorded, and at which each list was made in one.
        self._turns = 0
        # By the code, which holds hooks, and so must not be kept.
        self._tests: dict[CodeType, dict[int, LoopTest]] = {}
        # How many visits were noted.
        self._noted = 0
        self._births: dict[int, int] = {}

    def _room_of(self, visit: Visit, items: Sequence[Any]) -> int:
        """How many items a list may have that a loop makes longer."""
        count = None if visit.steps is None else visit.steps.items.count
        room = ROOM * self.room_scale
        if isinstance(count, int):
            room = (2 * count + 16) * self.room_scale
        return int(len(items) + room)

    def key_of(self, frame: FrameType) -> Any:
        """A place in a function's code that other frames and traces of it have, too. The tests
        of one condition that can go on without each other (`while a or b`) are one.
        """
        code, place = frame.f_code, frame.f_lasti
        # of expressions on one line the columns tell them apart
        where = code.co_linetable if code.co_name.startswith("<") else b""
        test = self._tests.get(code, {}).get(place)
        if test is not None and test.last >= 0:
            place = test.last
        return code.co_filename, code.co_firstlineno, code.co_name, where, place

    def note_made(self, value: Any) -> None:
        """Note that a list or object was made in the turn that is recorded."""
        self._births[id(value)] = self._turns

    def _note_same(self, value: Any, other: Any) -> None:
        """Note that what stands for a list was made when that was."""
        if type(value) is GrownList and id(other) in self._births:
            self._births[id(value)] = self._births[id(other)]

    def _is_born_in(self, loop: OpenLoop, value: Any) -> bool:
        """Whether a list was made in the turn of a loop that is recorded."""
        return self._births.get(id(value), -1) >= loop.turn

    def want_list(self, value: Any, kind: Any, longer: bool = True) -> None:
        """Have a list be carried by the loops that are recorded, but for those in whose turn it
        was made, which an item of a kind is stored in in a turn, or added to it where it gets
        longer. Raises ListWanted where it is none yet.
        """
        wanted: dict[Any, Any] = {}
        for loop in self._open:
            if self._is_born_in(loop, value):
                continue
            if loop.key is None:
                raise LoopRefused("adds to a list in one way of a branch")
            frame = loop.visit.frame
            names = [n for n, x in self.stored.all_of(frame).items() if x is value]
            if len(names) != 1:
                raise LoopRefused("adds to a list that isn't a variable of its own")
            items = None if loop.visit.steps is None else loop.visit.steps.items
            if type(items) is ListItems and same_items(
                items.values, loop.visit.values.get(names[0])
            ):
                raise LoopRefused("adds to a list while it is gone through")
            key = loop.key, names[0]
            if names[0] not in loop.names:
                wanted[key] = kind
            if longer and (*key, LONGER) not in self.grows:
                wanted[(*key, LONGER)] = True
        if wanted:
            raise ListWanted(wanted)

    def want_wider(self, value: GrownList, item: Any) -> None:
        """Have a list that loops carry be one of items that may be of this one's kind, too.
        Raises ListWanted where there is such a kind.
        """
        if not may_be_item(item):
            return
        kind = common_kind(value.item, kind_of(item), [item])
        if kind is None or any(origin == "mixed int" for _, origin in kinds_of_numbers(kind)):
            return  # whether the ints that it has are exact as floats isn't known
        wanted = {}
        for loop in self._open:
            for name, x in self.stored.all_of(loop.visit.frame).items():
                if x is value and (loop.key, name) in self.grows:
                    wanted[loop.key, name] = kind
        if wanted:
            raise ListWanted(wanted)

    def is_older(self, array: Any) -> bool:
        """Whether an array was there before the turn that is recorded."""
        return bool(self._open) and array.node < self._open[-1].pass_start

    def as_list(self, array: Any) -> GrownList:
        """The list that `tolist` of a traced array gives."""
        found = listed(array.recorder, array)
        if self._open:
            self.note_made(found)
        return found

    def require_new(self, array: Any) -> None:
        """Require that an array which is added to a list isn't one that the turns write into:
        the list would have one array several times.
        """
        root = array._root_array()
        for loop in self._open:
            for other, node in self.written[loop.visit.written :]:
                if other is root and node < loop.pass_start:
                    raise LoopRefused("adds an array to a list that it writes into")

    def want_outside(self, source: Any) -> None:
        """Have what is appended to a list from outside be carried from the start."""
        raise OutsideListWanted(source)

    def add_to_list(self, value: list[Any], item: Any) -> None:
        """What takes the place of an `append` in a turn, which makes the loop be recorded anew
        with the list in what it carries.
        """
        if all(self._is_born_in(loop, value) for loop in self._open):
            value.append(item)
            return
        if not may_be_item(item):
            raise LoopRefused("adds what isn't a number or an array to a list")
        self.want_list(value, kind_of(item))
        raise LoopRefused("adds to a list")

    def store_in_list(self, value: list[Any], key: Any, item: Any) -> None:
        """What takes the place of an assignment to an item in a turn, likewise."""
        if all(self._is_born_in(loop, value) for loop in self._open):
            value[key] = item
            return
        if not may_be_item(item):
            raise LoopRefused("stores what isn't a number or an array in a list")
        self.want_list(value, kind_of(item), longer=False)
        raise LoopRefused("stores in a list")

    def replaced_list(
        self, trace: Any, value: list[Any], item: Any, frame: FrameType, known: Sequence[Any]
    ) -> GrownList | None:
        """A list of items of one kind that a frame's variable is from now on.

        It takes the place of one that only this variable knows. None where that can't be. item:
        what it is to take, too.
        """
        names = []  # without closures, whose cells would hold the list
        for name, x in self.stored.all_of(frame).items():
            if x is value:
                names.append(name)
        for loop in self._open:
            if not self._is_born_in(loop, value):
                return None
        kind = None
        for x in (*value, item):
            if not may_be_item(x):
                return None
            kind = kind_of(x) if kind is None else common_kind(kind, kind_of(x), (*value, item))
            if kind is None:
                return None
        visits = [each for v in self._visits.values() for each in (v.values, v.lists)]
        open_ = [x for o in self._open for x in (o.visit.values, o.values)]
        known = [*known, *visits, *open_, frame.f_locals, *self.stored.holders()]
        variables = self.stored.all_of(frame)
        known.append(variables)
        if len(names) != 1 or not is_held_once(value, frame, known, variables):
            return None
        made = grown(trace, value, kind, max(len(value), 1))
        self._note_same(made, value)
        self.stored.set(frame, {names[0]: made})
        return made

    def require_grows(self, value: GrownList, longer: bool = True) -> None:
        """Require that each loop that is recorded carries a list."""
        if self._open:
            self.want_list(value, value.item, longer)


__all__ = ["LONGER", "ListWanted", "OutsideListWanted", "TurnLists"]
