"""Python's own loops whose turns are known only at the call, or are many: one node each.

A loop is seen at its test, which Python comes to at each turn: a branch on a traced value, or
the step of an iterator. Between two times the variables and arrays that changed are found: they
are carried. From there on the turn is recorded once more, as a region whose parameters these
are; the third time the region is complete, the variables become the results of a `while_loop`
or `scan` node, and the loop is left. Where that can't be, `LoopRefused` makes the function be
traced again, with the loop as a path of branches, or turn by turn.

Only variables that may still be read count (see `loop_tests`). Where a turn branches on traced
values, it is recorded once for each way through it, and the ways become regions of `cond`
nodes. A test in the middle of a turn that leaves the loop is such a branch, whose other way
ends there. Where it leaves for another place than the loop's own test (`return` in a loop), the
number of the exit is a result of the loop, and a branch after it: to get to that place, the
turn is run once more up to the test, and what that records is dropped. Loops in loops have
regions in regions. A turn may store nothing outside of its variables and arrays.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import CellType, CodeType, FrameType
from typing import Any

from graphjit.core.errors import TracingError, at_user_line
from graphjit.ops import control

from .grown_lists import GrownList
from .joined_branches import JoinedBranches
from .loop_iterators import LoopIterator, TracedRange, items_of, items_of_call
from .loop_nodes import computed
from .loop_tests import LoopTest, loop_tests
from .open_loops import OpenLoop, Visit
from .turn_changes import MAX_KEPT
from .turn_ways import LoopRefused
from .variable_contents import contents_of, is_set

# How many branches and tests are seen in loops that are recorded.
MAX_ASKED = 2000
# Loops of a known number of turns are written out if they have at most so many turns, and so
# many nodes in all: what is written out can be fused.
MAX_TURNS, MAX_NODES = 128, 600
# How many nodes a loop that can't be one node may become.
MAX_WRITTEN_OUT = 5000
# At how many first turns such a loop may begin.
MAX_TRIED = 5


class KnownTest:
    """A bool that decides about a jump in code with loops."""

    __slots__ = ("_loops", "_trace", "_value")

    def __init__(self, trace: Any, value: bool, loops: PythonLoops) -> None:
        self._trace, self._value, self._loops = trace, value, loops

    def __bool__(self) -> bool:
        return self._loops.known_outcome(self._trace, self._value, sys._getframe(1))


class PythonLoops(JoinedBranches):
    """The loops of one trace.

    unstructured: the tests, by function and offset, whose loops can't be one node, with the
    reasons
    """

    def __init__(self) -> None:
        super().__init__()
        self.unstructured: Mapping[Any, str] = {}
        # Whether a region was being recorded when the trace ended.
        self.left_open = False
        # The branch that was taken last then.
        self.last_taken: Any = None
        # By the ids of frames and where loops begin: loops that were left by a test that can't
        # leave them, as the next one of the condition does.
        self._leaving: set[tuple[int, int]] = set()
        self._asked = 0
        # By frames and places of tests of known values: how much was recorded until the last.
        self._known_tests: dict[Any, tuple[int, int]] = {}
        # How much was recorded until the first.
        self._known_starts: dict[Any, int] = {}
        # What took the place of iterators and ranges that the function asked for.
        self._handed_out: list[weakref.ref[Any]] = []

    def refusal(self, frame: FrameType | None) -> str:
        """Why a loop that a frame, or one that called it, is in isn't one node; empty where
        nothing is known of it.
        """
        reasons = {**self.unstructured, **self._refusals}
        while frame is not None:
            place = self.key_of(frame)[:-1]
            found = [why for key, why in reasons.items() if key[:-1] == place]
            if found:
                return found[-1]
            frame = frame.f_back
        return ""

    def require_closed(self) -> None:
        """LoopRefused where the code went on elsewhere while a loop was recorded."""
        if self.is_open:
            raise LoopRefused("leaves for another place")

    def release(self) -> None:
        """Refer to no frame any more."""
        self.left_open, self.last_taken = self.is_open, self.last_branch()
        self.left_unjoined = [b.key for loop in self._open for b in loop.both_ways]
        self._replay = None
        self.stored.release()
        for table in (self._visits, self._open, self._tests, self._names, self.written):
            table.clear()

    # -- at a test

    def outcome(
        self,
        x: Any,
        frame: FrameType | None,
        branches: Any,
        predicate: Callable[[], int],
        steps: LoopIterator | None = None,
    ) -> bool | None:
        """With which outcome a loop's test goes on or leaves; None where it is none of a loop
        that is known, and may be a branch.

        predicate: records the node of whether `x` is true
        """
        test = self._test_at(frame)
        if self.is_open:
            self.count_asked()
        if self._replay is not None:
            return self._repeated(x.recorder, self._replay, frame, test)
        if test is not None and frame is not None:
            left = self._left_by_another(frame, test)
            if left is not None:
                return left
        if test is None or frame is None:
            if not self._open:
                return None
            where = None if frame is None else (frame.f_code, frame.f_lasti)
            return self._fork(x.recorder, where, predicate(), True)
        key = self.key_of(frame)
        if self._open:
            around = self._open[-1]
            if test.last >= 0 and frame is around.visit.frame:
                if key == around.key:
                    return self._goes_on_by(x.recorder, frame, test, predicate())
                if test.head == around.test.head:  # a branch of a turn that ends elsewhere
                    where = frame.f_code, frame.f_lasti
                    return self._fork(x.recorder, where, predicate(), test.stays)
            return self._inside(x.recorder, frame, key, test, predicate, steps)
        visit = self._visit_of(frame)
        if visit is None or key in self.unstructured or visit.steps is not steps:
            return None
        return self._enter_after(x.recorder, visit, key, test, branches)

    def count_asked(self) -> None:
        """Count a branch or test in a loop. Raises LoopRefused where there are too many."""
        self._asked += 1
        if self._asked > MAX_ASKED:
            raise LoopRefused("branches too often")

    def _left_by_another(self, frame: FrameType, test: LoopTest) -> bool | None:
        """The outcome of a test of a loop that was left by another of the same condition."""
        place = id(frame), test.head
        if place not in self._leaving:
            return None
        if test.last < 0:
            self._leaving.remove(place)
        return not test.stays

    def _goes_on_by(self, trace: Any, frame: FrameType, test: LoopTest, predicate: int) -> bool:
        """The outcome of a test in a turn that can't leave the loop, for others follow it."""
        loop = self._open[-1]
        self.require_joined(loop)
        place = frame.f_code, frame.f_lasti
        outcome = self._fork(trace, place, predicate, not test.stays)
        if outcome is not test.stays:
            return outcome
        if self._finish(trace, loop, -1) is test.stays:
            return test.stays
        self._leaving.add((id(frame), test.head))
        return not test.stays

    def _enter_after(
        self, trace: Any, visit: Visit, key: Any, test: LoopTest, branches: Any
    ) -> bool | None:
        """Begin a loop with the turn since a visit, if that can be."""
        carried = self._changed(visit, test, branches)
        if carried is None:
            return None
        first = visit.branches - (visit.predicate >= 0)
        del branches.taken[first:]
        branches.forget_outcomes()
        self._tests_taken = {n: t for n, t in self._tests_taken.items() if n < first}
        return self._enter(trace, visit, key, test, *carried)

    def _test_at(self, frame: FrameType | None) -> LoopTest | None:
        """The test of a loop that a frame is at."""
        if frame is None:
            return None
        tests = self._tests.get(frame.f_code)
        if tests is None:
            tests = self._tests[frame.f_code] = loop_tests(frame.f_code)
        return tests.get(frame.f_lasti)

    def _place_of(self, frame: FrameType) -> tuple[int, int]:
        """Where visits of a test are noted."""
        test = self._test_at(frame)
        last = test is not None and test.last >= 0
        return id(frame), test.last if test is not None and last else frame.f_lasti

    def _visit_of(self, frame: FrameType) -> Visit | None:
        visit = self._visits.get(self._place_of(frame))
        return None if visit is None or visit.frame is not frame else visit

    def known_test(self, trace: Any, value: bool, code: CodeType) -> Any:
        """What decides in place of a bool."""
        if not trace.branches.enabled:
            return value
        tests = self._tests.get(code)
        if tests is None:
            tests = self._tests[code] = loop_tests(code)
        return KnownTest(trace, value, self) if tests else value

    def known_outcome(self, trace: Any, value: bool, frame: FrameType) -> bool:
        """The outcome of a test whose values are known. A turn that branches on others may
        begin a loop all the same: there its values are what turns change.
        """
        test = self._test_at(frame)
        if test is not None and self._replay is None:
            left = self._left_by_another(frame, test)
            if left is not None:
                return left
        if test is not None and value is not test.stays and test.last < 0:
            self._known_starts.pop((id(frame), frame.f_lasti), None)
        if self._replay is not None and self._is_on_the_way(self._replay, frame, test):
            return self._repeated(trace, self._replay, frame, test)
        if (
            test is None
            or test.steps
            or value is not test.stays
            or trace.closed
            or self._replay is not None
            or self._open
            or trace.regions.starts
        ):
            return value
        self._forget_inner(frame, test)
        key, branches = self.key_of(frame), trace.branches
        visit = self._visit_of(frame)
        if key in self.unstructured:
            return value
        branched = visit is not None and len(branches.taken) > visit.branches
        if visit is not None and visit.steps is None and branched:
            found = self._enter_after(trace, visit, key, test, branches)
            if found is not None:
                return found
        place = self._place_of(frame)
        recorded = len(trace.builder.nodes), len(branches.taken)
        start = self._known_starts.setdefault(place, recorded[0])
        if recorded[0] - start > MAX_WRITTEN_OUT:
            why = self._refusals.get(key, "no traced value decides in it")
            raise TracingError(
                at_user_line(
                    "a loop, written out, is too long to compile; it can't be one node: " + why
                )
            )
        self._visits.pop(place, None)
        if self._known_tests.get(place) != recorded:  # turns that record nothing are Python's
            self._known_tests[place] = recorded
            self._note(frame, test, -1, *recorded)
        return value

    def _forget_inner(self, frame: FrameType, test: LoopTest) -> None:
        """Forget visits of loops in a loop that comes to its test: they begin anew."""
        if not any(visit.frame is frame for visit in self._visits.values()):
            return
        tests = self._tests[frame.f_code]
        around = {each.head: each.around for each in tests.values()}

        def is_inner(place: int) -> bool:
            head = tests[place].around
            while head >= 0 and head != test.head:
                head = around.get(head, -1)
            return head >= 0

        self._visits = {
            (number, place): visit
            for (number, place), visit in self._visits.items()
            if visit.frame is not frame or not is_inner(place)
        }

    def note(
        self,
        frame: FrameType | None,
        predicate: int,
        branches: Any,
        nodes: int,
        steps: LoopIterator | None = None,
    ) -> None:
        """Note a test at which a branch was just taken, if it is a loop's."""
        test = self._test_at(frame)
        if test is None or frame is None:
            return
        taken = len(branches.taken)
        if test.last >= 0:  # one of the condition, which goes on or asks the next one
            if branches.taken[-1].outcome is test.stays:
                self._note(frame, test, -1, nodes, taken, steps)
            return
        self._tests_taken[taken - 1] = id(frame), test
        if not test.steps or steps is not None:
            self._note(frame, test, predicate, nodes, taken, steps)

    def _note(
        self,
        frame: FrameType,
        test: LoopTest,
        predicate: int,
        nodes: int,
        taken: int,
        steps: LoopIterator | None = None,
    ) -> bool:
        """Note the state of a frame at a test, if it can be seen."""
        self.stored.note_objects(frame.f_locals)
        values = self.stored.at(frame, test)
        fields = self.stored.fields(frame, values)
        contents = contents_of(values, fields)
        if contents is None:
            return False
        position = 0 if steps is None else steps.position
        copies = {id(v): v.copy() for v in values.values() if type(v) is GrownList}
        values = {n: copies.get(id(v), v) for n, v in values.items()}
        lists = {n: v[:MAX_KEPT] for n, v in values.items() if type(v) is list}
        self._visits[self._place_of(frame)] = Visit(
            frame, values, contents, predicate, nodes, taken, len(self.written), steps,
            position, self._noted, lists, fields,
        )  # fmt: skip
        self._noted += 1
        return True

    # -- iterators

    def steps_of(self, trace: Any, value: Any, *given: Any) -> LoopIterator | None:
        """What is stepped through in place of a value, or of what a function gives for `given`,
        its arguments; None where that stays as it is.
        """
        if type(value) is LoopIterator and not given:
            return value
        if not trace.branches.enabled:
            return None
        items = items_of_call(value, *given) if given else items_of(value)
        if items is None:
            return None
        made: Any = LoopIterator(items, trace, self)
        if given and value is range:
            made = TracedRange(items, lambda items: LoopIterator(items, trace, self))
        if given:
            self._handed_out.append(weakref.ref(made))
        return made  # type: ignore[no-any-return]

    def require_all_gone(self) -> None:
        """TracingError where an iterator or range of the trace outlives the function."""
        self._visits.clear()
        if any(made() is not None for made in self._handed_out):
            raise TracingError(at_user_line("gives an iterator or range that is traced"))

    def held_in(self, cells: Sequence[CellType]) -> Any:
        """What variables of functions are, and what they hold, to tell whether that is changed;
        None where it can't be seen. Iterators are taken to change.
        """
        values = {str(k): cell.cell_contents for k, cell in enumerate(cells) if is_set(cell)}
        found = list(values.values())
        steps = any(hasattr(type(x), "__next__") for x in found)
        return found, object() if steps else contents_of(values)

    def as_int(self, x: Any) -> Any:
        """An integer of NumPy's as Python's."""
        from graphjit.numpy_protocol.python_numbers import call_number

        return call_number(int, (x,), {})

    def next_item(self, steps: LoopIterator, frame: FrameType) -> Any:
        """What an iterator gives next. Raises StopIteration at its end."""
        trace = steps.trace
        if steps.lost:
            raise LoopRefused("is over an iterator that is used elsewhere, too")
        if steps.ended:
            raise StopIteration
        test = None if trace.closed else self._test_at(frame)
        if test is None or not test.iterates or (trace.regions.starts and not self._open):
            return self._plain_item(steps)
        self._forget_inner(frame, test)
        if self._replay is not None:
            if frame is self._replay.frame and steps is self._replay.loop.visit.steps:
                raise LoopRefused("isn't left where it was to be")
            if steps.position or (isinstance(steps.items.count, int) and not steps.items.count):
                raise StopIteration
            steps.position += 1
            return steps.items.item(0)
        if self._open and self._open[-1].visit.steps is steps:
            loop = self._open[-1]
            if self._finish(trace, loop, -1):
                return self._item_of(loop)
            if self._replay is not None:
                return steps.items.item(0)
            steps.ended, steps.lost = True, loop.leaves
            raise StopIteration
        if not isinstance(steps.items.count, int):
            return self._asked_item(steps, frame)
        key, branches = self.key_of(frame), trace.branches
        visit = self._visit_of(frame)
        if not steps.position:
            steps.start = len(trace.builder.nodes)
        if len(trace.builder.nodes) - steps.start > MAX_WRITTEN_OUT:
            why = self.unstructured.get(key, "its turns aren't alike")
            raise TracingError(
                at_user_line(
                    f"a loop of {steps.items.count} turns, written out, is too long to "
                    f"compile; it can't be one node: {why}"
                )
            )
        if key in self.unstructured:
            return self._plain_item(steps)
        taken = len(self._open[-1].forks) if self._open else len(branches.taken)
        nodes = len(trace.builder.nodes)
        if visit is not None and visit.steps is steps and self._pays(visit, nodes, taken):
            if self._open:
                carried = self._carried(visit, test)
                if carried is not None:
                    del self._open[-1].forks[visit.branches :]
                    self._enter(trace, visit, key, test, *carried)
                    return self._item_of(self._open[-1])
            elif self._enter_after(trace, visit, key, test, branches) is not None:
                return self._item_of(self._open[-1])
        self._visits.pop(self._place_of(frame), None)
        if steps.position < MAX_TRIED and steps.position + 2 < steps.items.count:
            self._note(frame, test, -1, nodes, taken, steps)
        return self._plain_item(steps)

    def _asked_item(self, steps: LoopIterator, frame: FrameType) -> Any:
        """The next item of an iterator whose length is known only at the call."""
        trace = steps.trace
        more = computed(trace, "lt", steps.position, steps.items.count)
        outcome = trace.branches.outcome(more, frame, steps)
        if outcome is None:
            outcome = bool(more)  # which says why it can't be known
        if not outcome:
            steps.ended = True
            raise StopIteration
        if self._open and self._open[-1].visit.steps is steps:
            return self._item_of(self._open[-1])
        steps.position += 1
        return steps.items.item(steps.position - 1)

    def _plain_item(self, steps: LoopIterator) -> Any:
        if not isinstance(steps.items.count, int):
            raise computed(steps.trace, "lt", 0, steps.items.count)._needs_value("range()")
        if steps.position >= steps.items.count:
            steps.ended = True
            raise StopIteration
        steps.position += 1
        return steps.items.item(steps.position - 1)

    def _item_of(self, loop: OpenLoop) -> Any:
        """The item of the turn that is recorded."""
        assert loop.visit.steps is not None
        return loop.visit.steps.items.item(loop.index)

    def _pays(self, visit: Visit, nodes: int, taken: int) -> bool:
        """Whether a loop of a known number of turns is to be one node, by the turn since a
        visit.
        """
        assert visit.steps is not None
        turns = visit.steps.items.count - visit.position
        if turns < 3:
            return False
        made = visit.steps.trace.builder.nodes[visit.nodes :]
        taken += self._last_join > visit.nodes
        if taken > visit.branches or any(n.primitive is control.while_loop for n in made):
            return True
        recorded = nodes - visit.nodes  # nothing where all is known: Python does it once
        return recorded > 0 and (turns > MAX_TURNS or turns * recorded > MAX_NODES)

    def _inside(
        self,
        trace: Any,
        frame: FrameType,
        key: Any,
        test: LoopTest,
        predicate: Callable[[], int],
        steps: LoopIterator | None,
    ) -> bool:
        loop = self._open[-1]
        if frame is loop.visit.frame and key == loop.key:
            return self._finish(trace, loop, predicate())
        if frame is loop.visit.frame and test.head == loop.test.head:
            return self._may_leave(trace, loop, key, test, predicate())
        if frame is loop.visit.frame and loop.test.head in test.leaves and steps is None:
            return self._may_leave(trace, loop, key, test, predicate())
        if test.steps and steps is None:  # a loop whose first turn is seen
            return self._fork(trace, (frame.f_code, frame.f_lasti), predicate(), test.stays)
        if key in self.unstructured:
            raise LoopRefused("has a loop that is traced as a path")
        visit = self._visit_of(frame)
        if visit is not None and visit.steps is not steps:
            visit = None
        if visit is not None:
            self.tried.add(key)
            carried = self._carried(visit, test)
            if carried is not None:
                del loop.forks[visit.branches :]
                return self._enter(trace, visit, key, test, *carried)
        node = predicate()
        if visit is not None:  # one more turn before the loop, if there is one
            self.tried.add(key)
            why = self._refusals.get(key, "its turns aren't alike")
            raise LoopRefused(f"has a loop whose first turn is of another kind: {why}")
        nodes, forks = len(trace.builder.nodes), len(loop.forks)
        # a branch like others, should the code not come back
        outcome = self._fork(trace, (frame.f_code, frame.f_lasti), node, test.stays)
        if outcome is test.stays and test.last >= 0:
            self._note(frame, test, -1, len(trace.builder.nodes), len(loop.forks), steps)
        elif outcome is test.stays:
            self._note(frame, test, node, nodes, forks, steps)
        return outcome

    # -- the second time


__all__ = ["PythonLoops"]
