"""The regions of Python's loops: each way through a turn is recorded, then the loop is left."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from types import CellType, FrameType
from typing import Any

import numpy as np

from graphjit.core.types import TensorType, bool_, int64
from graphjit.tensors.apply import TensorBase

from .carried_values import (
    BoundedKind,
    ListKind,
    copied,
    join,
    kind_of,
    may_be_carried,
    parts_of,
)
from .grown_lists import (
    grown,
    is_held_by,
)
from .loop_nodes import append_loop, computed, goes_on_by
from .loop_tests import LoopTest
from .number_kinds import is_traced_array
from .open_loops import OpenLoop, Replay, Visit, key_of_place
from .records import records_in
from .stored_places import carried_of, is_place
from .turn_lists import LONGER
from .turn_results import TurnResults
from .turn_ways import Fork, JoinRefused, LoopRefused, Way
from .variable_contents import (
    all_same,
    contents_of,
    has_aliases,
    twins_of,
)

# How many ways through a turn are recorded.
MAX_WAYS = 16
# How often a region is begun anew, with more that is carried.
MAX_BEGUN = 50


class TurnRecorder(TurnResults):
    """The loops of one trace whose regions are recorded, the innermost last."""

    def __init__(self) -> None:
        super().__init__()
        # The tests whose loops became nodes, or were to.
        self.tried: set[Any] = set()
        self._replay: Replay | None = None
        # By loops and names the kinds of what is of two kinds from the first turn on.
        self.mixed_at_first: dict[Any, Any] = {}
        # Branches in turns, with outcomes after which the code only raises: a call that comes
        # there is left to Python.
        self.raising: Collection[Any] = ()

    @property
    def is_open(self) -> bool:
        """Whether a loop's region is being recorded, or its last turn run once more."""
        return bool(self._open) or self._replay is not None

    @property
    def records_turn(self) -> bool:
        """Whether a turn is being recorded."""
        return bool(self._open)

    def last_branch(self) -> Any:
        """The branch that was taken last in the turn that is recorded, and its outcome; None
        where there is none.
        """
        for loop in reversed(self._open):
            both = loop.both_ways[-1] if loop.both_ways else None
            if both is not None and len(loop.forks) == both.forks:
                return key_of_place(both.place), both.outcome
            if loop.forks and loop.forks[-1].left is None:
                fork = loop.forks[-1]
                key = key_of_place(fork.place[0])
                return None if key is None else (key, fork.outcome)
        return None

    def require_joined(self, loop: OpenLoop) -> None:
        """Require that no branch is open whose ways were to be joined."""
        if loop.both_ways:
            raise JoinRefused("leaves a branch", [both.key for both in loop.both_ways])

    def may_write(self, trace: Any) -> bool:
        """Whether arrays from outside of the region that is recorded may be written to."""
        return bool(self._open) and trace.regions.starts[-1] == self._open[-1].start

    def has_place(self, trace: Any, holder: Any, key: Any) -> bool:
        """Whether what the turn that is recorded stores in a place is seen."""
        name = self.stored.name_of(holder, key)
        if name is None or not (self.may_write(trace) or self._replay is not None):
            return False
        return all(name in loop.values for loop in self._open)

    def is_made_in_turn(self, trace: Any, owner: Any) -> bool:
        """Whether an object was made in the turn that is recorded, or run once more."""
        if self._replay is not None:
            return self._births.get(id(owner), -1) >= self._turns
        own = self.may_write(trace) and bool(self._open)
        return own and self._is_born_in(self._open[-1], owner)

    def require_cell(self, trace: Any, cell: CellType, name: str) -> None:
        """Require that a turn may store in a variable of a function around the code at hand.
        Raises LoopRefused.
        """
        known = self.stored.name_of(cell, name) is not None
        if self._replay is not None and known:
            return
        if not self.may_write(trace):
            raise LoopRefused(f"stores {name}")
        place = self.stored.note_cell(cell, name)
        others = [o for o in self._open if not self.stored.owns_cell(o.visit.frame, cell, name)]
        if any(place not in loop.values for loop in others):
            self.add_place(place, cell.cell_contents, others)

    def add_place(self, name: str, value: Any, loops: Sequence[OpenLoop] | None = None) -> None:
        """Let the loops that are recorded know of a place that a turn stores in, which was a
        number before all of them. Raises LoopRefused where it was something else.

        loops: those that don't know it otherwise, all by default
        """
        if not may_be_carried(value) or any(t.shape for t, _ in parts_of(kind_of(value))):
            raise LoopRefused(f"stores {name} for the first time")
        content = contents_of({name: value}) or {}
        for loop in self._open if loops is None else loops:
            if name not in loop.values:
                loop.visit.values[name] = loop.values[name] = value
                loop.contents.update(content)

    def _enter(
        self,
        trace: Any,
        visit: Visit,
        key: Any,
        test: LoopTest,
        names: list[str],
        arrays: list[tuple[Any, int]],
    ) -> bool:
        """Begin the region of a loop."""
        self.tried.add(key)
        if self._open and any(b.start > visit.nodes for b in self._open[-1].both_ways):
            self.require_joined(self._open[-1])
        self._drop(trace, visit.nodes)
        self._forget_visits(visit)
        loop = OpenLoop(visit, key, test, names)
        for name in names:
            kind = self.mixed_at_first.pop((key, name), None)
            if kind is not None:
                loop.mixed[name] = kind
        loop.twins = twins_of(
            list(visit.values), visit.values, self.stored.at(visit.frame, test)
        )
        loop.twins = {name: other for name, other in loop.twins.items() if other in names}
        loop.arrays = arrays
        for name in names:
            value = visit.values[name]
            if type(value) is list:
                items = visit.lists[name]
                longer = (key, name, LONGER) in self.grows
                room = self._room_of(visit, items) if longer else max(len(items), 1)
                loop.made[name] = grown(trace, items, self.grows[key, name], room)
        self._open.append(loop)
        return self._begin(trace, loop)

    def _drop(self, trace: Any, start: int) -> None:
        """Let no graph use the nodes from `start` on."""
        stop = len(trace.builder.nodes)
        trace.regions.closed.append((start, stop))
        trace.forget_checks(start, stop)

    def _forget_visits(self, since: Visit) -> None:
        """Forget a visit and later ones, whose nodes may have been dropped."""
        self._visits = {k: v for k, v in self._visits.items() if v.number < since.number}

    def _begin(self, trace: Any, loop: OpenLoop) -> bool:
        """Open the region, with symbolic values for what is carried."""
        regions = trace.regions
        regions.starts.append(len(trace.builder.nodes))
        loop.start = regions.starts[-1]
        loop.goes_on = trace.placeholder(TensorType((), bool_), "weak")
        loop.index, loop.exit = (
            trace.placeholder(TensorType((), int64), "weak") for _ in range(2)
        )
        if loop.visit.steps is not None:
            count = loop.visit.steps.items.count
            known = isinstance(count, int)
            trace.note_bounds(loop.index, 0, max(count - 1, 0) if known else 2**63 - 2)
        loop.kinds = [self._kind(loop, name) for name in loop.names]
        loop.parts = [
            _placeholders(trace, kind, self._is_alone(loop, name))
            for name, kind in zip(loop.names, loop.kinds, strict=True)
        ]
        loop.arrays_in = [trace.placeholder(array.type, "numpy") for array, _ in loop.arrays]
        loop.after_params = len(trace.builder.nodes)
        loop.ways, loop.planned, loop.after, loop.exits = [], [], [], []
        return self._begin_way(trace, loop)

    def _is_alone(self, loop: OpenLoop, name: str) -> bool:
        """Whether nothing but a variable has the array that it was before the loop: then a turn
        may write into what the turn before it gave.
        """
        value = loop.visit.values.get(name)
        if not is_traced_array(value) or name in loop.twins or name in loop.twins.values():
            return False
        known = [v.values for v in self._visits.values()]
        known += [
            x for o in self._open for x in (o.visit.values, o.values, o.visit.frame.f_locals)
        ]
        known += self.stored.holders()
        return is_held_by(value, [*known, loop.visit.values, loop.visit.frame.f_locals])

    def _kind(self, loop: OpenLoop, name: str) -> Any:
        """The type of a variable that is carried, and whose rules hold for it."""
        if name in loop.mixed:
            return loop.mixed[name]
        if name in loop.visit.values:
            return kind_of(loop.first(name))
        return loop.wanted[name]

    def _forget_dead(self, loop: OpenLoop) -> None:
        """Let no variable that isn't read any more hold an array of a turn that was dropped."""
        frame = loop.visit.frame
        names = {*frame.f_code.co_cellvars, *frame.f_code.co_freevars, *loop.test.live}
        dead = {
            name: None
            for name, value in frame.f_locals.items()
            if name not in names and issubclass(type(value), TensorBase)
        }
        if dead:
            self.stored.set(frame, dead)

    def _begin_way(self, trace: Any, loop: OpenLoop) -> bool:
        """Begin to record a turn."""
        self._forget_dead(loop)
        frame = loop.visit.frame
        loop.forks, loop.left_to_python = [], []
        loop.both_ways, loop.joined = [], 0
        loop.counts.clear()
        loop.pass_start = len(trace.builder.nodes)
        self._turns += 1
        loop.turn = self._turns
        variables = loop.with_twins(loop.variables(trace))
        for name in loop.names:
            self._note_same(variables[name], loop.visit.values.get(name))
            for record in records_in(variables[name]):
                self.note_made(record)
        self.stored.set(frame, variables)
        carried = {id(array) for array, _ in loop.arrays}
        for array, node in self._written_since(loop.visit.written, loop.visit.nodes):
            if id(array) not in carried:
                array.rebase(node)
        for (array, _), param in zip(loop.arrays, loop.arrays_in, strict=True):
            array.rebase(param.node)
        loop.values = self.stored.at(frame, loop.test)
        loop.fields = self.stored.fields(frame, loop.values)
        contents = contents_of(loop.values, loop.fields)
        if contents is None:
            raise LoopRefused("has variables whose contents aren't seen")
        loop.contents = contents
        return loop.test.stays

    def _fork(self, trace: Any, place: Any, node: int, first: bool) -> bool:
        """The outcome of a branch in a turn: both ways are recorded, one after the other.

        first: the outcome that is taken first
        """
        loop = self._open[-1]
        for outcome in (True, False):
            if (key_of_place(place), outcome) in self.raising:
                loop.left_to_python.append((node, outcome))
                loop.may_need_python = True
                return not outcome
        loop.counts[place] += 1
        place, number = (place, loop.counts[place]), len(loop.forks)
        outcome, second = first, False
        if number < len(loop.planned) and loop.planned[number].place == place:
            outcome, second = loop.planned[number].outcome, loop.planned[number].second
        nodes = len(trace.builder.nodes)
        loop.forks.append(Fork(place, nodes, node, outcome, second))
        if len(loop.forks) > MAX_WAYS:
            raise LoopRefused("branches too often")
        return outcome

    def ask(self, trace: Any, node: int, place: Any) -> bool:
        """The outcome of a branch that no code asks for, in a turn: one that was taken, if it
        is known.
        """
        if self._replay is not None:
            forks = self._replay.forks
            return forks.pop(0).outcome if forks and forks[0].place[0] == place else True
        for loop in self._open:
            for fork in loop.forks:
                if fork.predicate == node:
                    return fork.outcome
        return self._fork(trace, place, node, False)

    def _may_leave(
        self, trace: Any, loop: OpenLoop, key: Any, test: LoopTest, node: int
    ) -> bool:
        """The outcome of a test in a turn that may leave the loop."""
        self.require_joined(loop)
        frame = loop.visit.frame
        values = self.stored.all_of(frame)
        started = not loop.forks and not loop.ways
        same = all_same(self.stored.at(frame, loop.test), loop.values)
        same = same and not self._has_written(loop)
        same = same and test.exit == loop.test.exit and not loop.forks and not test.steps
        if same and loop.test.live >= test.live:
            if started:
                loop.after.append((node, len(trace.builder.nodes), test.stays))
            return test.stays
        number = 0
        if test.exit != loop.test.exit:
            number = loop.number_of_exit(key, test)
        goes_on = trace.builder.const(np.zeros((), np.bool_))
        goes_on = self._unless_raising(trace, loop, goes_on)
        left = self._results(trace, loop, values, test.read_outside, goes_on, number)
        place = frame.f_code, frame.f_lasti
        loop.counts[place] += 1
        loop.forks.append(
            Fork(
                (place, loop.counts[place]),
                len(trace.builder.nodes),
                node,
                test.stays,
                True,
                left,
            )
        )
        if len(loop.forks) > MAX_WAYS:
            raise LoopRefused("branches too often")
        return test.stays

    def _finish(self, trace: Any, loop: OpenLoop, predicate: int) -> bool:
        """End a way through a turn. After the last one, close the region and leave the loop
        with the results of its node.
        """
        self.require_joined(loop)
        frame = loop.visit.frame
        values = self.stored.at(frame, loop.test)
        if not loop.values.keys() <= values.keys() or not (
            values.keys() - loop.values.keys() <= {*loop.names}
        ):
            raise LoopRefused("sets or deletes a variable at some turns only")
        if predicate < 0:
            goes_on = trace.builder.const(np.ones((), np.bool_))
        else:
            goes_on = trace.node_of(goes_on_by(trace, predicate, loop.test.stays))
        goes_on = self._unless_raising(trace, loop, goes_on)
        results = self._results(
            trace, loop, self.stored.all_of(frame), loop.test.live, goes_on, 0, [values]
        )
        contents = contents_of(values, loop.fields)
        carried = {*loop.names, *loop.twins, *loop.wanted}
        if contents is None or any(
            contents[name] != loop.contents[name] for name in values if name not in carried
        ):
            raise LoopRefused("changes what a variable holds")
        changing = [*loop.names, *loop.wanted]
        places = self.stored.fields(loop.visit.frame, changing)
        if has_aliases(carried_of(values, carried), changing, loop.twins, places):
            raise LoopRefused("gives one array two names")
        known = {id(array) for array, _ in loop.arrays}
        grown = [
            (array, node)
            for array, node in self._written_since(loop.visit.written, loop.visit.nodes)
            if id(array) not in known
        ]
        new = [name for name in loop.wanted if name not in loop.names]
        pairs = zip(loop.names, loop.kinds, strict=True)
        mixed = any(loop.mixed.get(name, kind) != kind for name, kind in pairs)
        if new or grown or mixed:  # equal to what they were by chance, or written on one way
            for array, node in (*loop.arrays, *grown):
                array.rebase(node)
            loop.begun += 1
            if loop.begun > MAX_BEGUN:
                raise LoopRefused("changes more and more variables")
            self._drop(trace, trace.regions.starts.pop())
            self._forget_visits(loop.visit)
            loop.names = [*loop.names, *new]
            loop.arrays += grown
            return self._begin(trace, loop)
        loop.ways.append(Way(loop.pass_start, tuple(loop.forks), results))
        taken = [(fork.place, fork.outcome) for fork in loop.forks]
        if taken[: len(loop.planned)] != [(f.place, f.outcome) for f in loop.planned]:
            raise LoopRefused("branches in another way each time")
        left = list(loop.forks)
        while left and left[-1].second:
            left.pop()
        if left:
            if len(loop.ways) >= MAX_WAYS:
                raise LoopRefused("has too many ways through it")
            last = left.pop()
            other = Fork(last.place, last.start, last.predicate, not last.outcome, True)
            loop.planned = [*left, other]
            self._forget_visits(loop.visit)
            return self._begin_way(trace, loop)
        return self._close(trace, loop)

    def _close(self, trace: Any, loop: OpenLoop) -> bool:
        """Append the node of a loop whose region is complete, and leave the loop."""
        results, number = append_loop(trace, loop)
        self._require_one_turn(trace, loop)
        return self._leave(trace, loop, results, number)

    def _require_one_turn(self, trace: Any, loop: OpenLoop) -> None:
        """Require that what Python did since the visit was one turn of the loop: it may have
        left the loop by a test of known values, and come to it again.
        """
        around = loop.test.around
        if loop.visit.steps is not None or around < 0:
            return
        outside = self._open[:-1]
        if outside:
            other = outside[-1]
            if other.visit.frame is not loop.visit.frame or other.test.head != around:
                raise LoopRefused("has a loop in a loop that is written out")
        elif not trace.branches.goes_on_once(trace, loop.node):
            raise LoopRefused("isn't the next one of the same loop")

    def _leave(self, trace: Any, loop: OpenLoop, results: Sequence[Any], number: Any) -> bool:
        """Leave a loop with the results of its node. number: that of the exit."""
        frame = loop.visit.frame
        self._open.pop()
        self._forget_visits(loop.visit)
        self._forget_dead(loop)
        parts = iter(results)
        variables: list[Any] = [join(trace, kind, parts) for kind in loop.kinds]
        for name, variable in zip(loop.names, variables, strict=True):
            self._note_same(variable, loop.visit.values.get(name))
            if name in loop.known_elsewhere:
                found: Any = variable
                found.storage.freeze()
                trace.branches.in_lists.append(found)
        for (array, node), result in zip(loop.arrays, parts, strict=True):
            self.written.append((array, node))
            array.rebase(result.node)
        values = loop.with_twins(variables)
        outer = self._open[-1] if self._open else None
        for k, (key, test, forks) in enumerate(loop.exits):
            there = computed(trace, "eq", number, k + 1)
            if (
                outer is not None
                and outer.visit.frame is frame
                and outer.test.head in test.leaves
            ):
                self._leave_both(trace, outer, loop, k, there, values)
                continue
            if outer is not None:
                place = (frame.f_code, key[-1]), 1
                last = Fork(place, 0, -1, not test.stays, True)
                outer.through[loop.key, k] = (*forks, last)
            if trace.branches.decide(there, (loop.key, k)):
                nodes, written = len(trace.builder.nodes), len(self.written)
                # what is run once more may change lists and objects
                self._replay = Replay(loop, k, nodes, written, copied(values))
                self.stored.set(frame, values)
                return loop.test.stays
        self.stored.set(frame, {n: v for n, v in values.items() if n in loop.visit.values})
        return not loop.test.stays

    def _leave_both(
        self,
        trace: Any,
        outer: OpenLoop,
        loop: OpenLoop,
        number: int,
        there: Any,
        values: dict[str, Any],
    ) -> None:
        """Note that a loop in a turn, where it is left for one of its exits, leaves the loop
        around it, too.

        there: whether it is; values: the variables there
        """
        self.require_joined(outer)
        key, test, forks = loop.exits[number]
        exit = outer.number_of_exit(key, test, forks)
        goes_on = trace.builder.const(np.zeros((), np.bool_))
        goes_on = self._unless_raising(trace, outer, goes_on)
        found = {**self.stored.all_of(outer.visit.frame), **values}
        left = self._results(trace, outer, found, test.read_outside, goes_on, exit)
        place = loop.key, number
        outer.counts[place] += 1
        where, node = (place, outer.counts[place]), trace.node_of(there)
        outer.forks.append(Fork(where, len(trace.builder.nodes), node, False, True, left))
        if len(outer.forks) > MAX_WAYS:
            raise LoopRefused("branches too often")

    def decide(self, trace: Any, node: int, place: Any) -> bool:
        """The outcome of a branch that no code asks for, in the turn that is recorded."""
        return self._fork(trace, place, node, False)

    def _is_on_the_way(self, replay: Replay, frame: FrameType, test: LoopTest | None) -> bool:
        """Whether a turn that is run once more is at its end, or at a branch that is known."""
        if frame is replay.frame and test is not None and self.key_of(frame) == replay.key:
            return True
        place = frame.f_code, frame.f_lasti
        return bool(replay.forks) and replay.forks[0].place[0] == place

    def _repeated(
        self, trace: Any, replay: Replay, frame: FrameType | None, test: LoopTest | None
    ) -> bool:
        """The outcome of a test in a turn that is run once more."""
        if frame is replay.frame and test is not None and self.key_of(frame) == replay.key:
            if replay.forks:
                raise LoopRefused("isn't left where it was to be")
            self._replay = None
            self._drop(trace, replay.start)
            loop = replay.loop
            for array, node in self._written_since(replay.written, replay.start):
                array.rebase(node)
            read = replay.test.read_outside
            kept = {n: v for n, v in replay.values.items() if n in read or is_place(n)}
            self.stored.set(frame, kept)
            self._forget_visits(loop.visit)
            if loop.visit.steps is not None:
                loop.visit.steps.lost = True
            return not replay.test.stays
        place = None if frame is None else (frame.f_code, frame.f_lasti)
        if replay.forks and replay.forks[0].place[0] == place:
            return replay.forks.pop(0).outcome
        for outcome in (True, False):
            if place is not None and (key_of_place(place), outcome) in self.raising:
                return not outcome
        if test is None:  # in a loop inside the turn, whose values don't matter
            return False
        if frame is replay.frame and test.head == replay.test.head:
            return test.stays  # one of the condition
        again = (id(frame), place) in replay.seen
        replay.seen.add((id(frame), place))
        return test.stays is not (again and not test.steps)


def _placeholders(trace: Any, kind: Any, alone: bool) -> list[Any]:
    """Parameters for what is of a kind. alone: whether nothing else has that array."""
    found = []
    for type, origin in parts_of(kind):
        made = trace.placeholder(type, origin)
        if not type.shape or alone or type_of_list(kind):  # a number, which has no memory
            made.storage.shared = False
        if origin == "weak" and type.dtype is int64:
            trace.note_bounds(made, -(2**63), 2**63 - 1)
        found.append(made)
    return found


def type_of_list(kind: Any) -> bool:
    """Whether a kind is one of several arrays, which belong to the value alone."""
    return type(kind) in (ListKind, BoundedKind)


__all__ = ["TurnRecorder"]
