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

import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import CodeType, FrameType
from typing import Any

import numpy as np

from graphjit.core.errors import TracingError, at_user_line
from graphjit.core.frozen import dataclass
from graphjit.core.types import TensorType, bool_, int64
from graphjit.ops import PRIMITIVES, control, source
from graphjit.tensors.apply import TensorBase, wrap

from .loop_iterators import LoopIterator, TracedRange, items_of, items_of_call
from .loop_tests import LoopTest, loop_tests, set_locals
from .regions import Region
from .turn_ways import Fork, LoopRefused, Way, joined
from .variable_contents import (
    all_same,
    contents_of,
    has_aliases,
    kind_of,
    may_be_carried,
    same_plain,
    twins_of,
)

# How many ways through a turn are recorded.
MAX_WAYS = 16
# How many branches and tests are seen in loops that are recorded.
MAX_ASKED = 2000
# Loops of a known number of turns are written out if they have at most so many turns, and so
# many nodes in all: what is written out can be fused.
MAX_TURNS, MAX_NODES = 128, 600
# How many nodes a loop that can't be one node may become.
MAX_WRITTEN_OUT = 5000
# How often a region is begun anew, with more that is carried.
MAX_BEGUN = 50
# At how many first turns such a loop may begin.
MAX_TRIED = 5


@dataclass(frozen=True, slots=True, eq=False)
class _Visit:
    """The state of a frame at a test. predicate: the node of the bool that decided, -1 where no
    value did; nodes: those that were recorded until then; branches: how many were taken, this
    one included; written: how many writes into arrays were seen; steps: the iterator, with the
    number of its next item then; number: later visits have higher ones.
    """

    frame: FrameType
    values: dict[str, Any]
    contents: Any
    predicate: int
    nodes: int
    branches: int
    written: int
    steps: LoopIterator | None
    position: int
    number: int


class _Open:
    """A loop whose region is being recorded.

    names: the variables that are carried; arrays: the arrays that are written to, each with
    the node that it was before the loop
    start: the first node of the region; first: that after its parameters
    goes_on, index, exit: parameters: whether an earlier test says so, the number of the turn,
    and of the exit; params: those of what is carried, variables before arrays
    forks: the branches on this way; planned: the first of them, as they are to be taken
    counts: how often each place was come to
    after: tests that belong to the condition, come to just after this one: the nodes of their
        predicates and where the nodes after them begin
    wanted: variables that an exit needs, with their types
    """

    def __init__(self, visit: _Visit, key: Any, test: LoopTest, names: list[str]) -> None:
        self.visit, self.key, self.test, self.names = visit, key, test, names
        self.arrays: list[tuple[Any, int]] = []
        self.start = self.first = self.pass_start = 0
        # How often it was begun anew, with more that is carried.
        self.begun = 0
        # Whether it may be left in the middle of a turn.
        self.leaves = False
        self.goes_on: Any = None
        self.index: Any = None
        self.exit: Any = None
        self.params: list[Any] = []
        self.values: dict[str, Any] = {}
        self.contents: dict[str, Any] = {}
        self.ways: list[Way] = []
        self.planned: list[Fork] = []
        self.forks: list[Fork] = []
        self.counts: Counter[Any] = Counter()
        self.after: list[tuple[int, int, bool]] = []
        self.wanted: dict[str, Any] = {}
        # The tests that leave for other places, with the branches on the way there.
        self.exits: list[tuple[Any, LoopTest, tuple[Fork, ...]]] = []
        # Variables that are the same array as one that is carried, with this one.
        self.twins: dict[str, str] = {}

    def number_of_exit(self, key: Any, test: LoopTest) -> int:
        """The number of the place that a test leaves for on this way, from 1 on."""
        path = [(fork.place, fork.outcome) for fork in self.forks]
        for k, (other, _, forks) in enumerate(self.exits):
            if other == key and [(f.place, f.outcome) for f in forks] == path:
                return k + 1
        self.exits.append((key, test, tuple(self.forks)))
        return len(self.exits)

    @property
    def variables(self) -> list[Any]:
        """The parameters of the variables."""
        return self.params[: len(self.names)]

    def with_twins(self, carried: Sequence[Any]) -> dict[str, Any]:
        """The variables for values of what is carried."""
        values = dict(zip(self.names, carried, strict=True))
        return {**values, **{name: values[other] for name, other in self.twins.items()}}


class _Replay:
    """The last turn of a loop, run once more to get to where it is left.

    start, written: how many nodes and writes there were before it; forks: the branches on the
    way; values: the variables there
    """

    def __init__(
        self, loop: _Open, number: int, start: int, written: int, values: dict[str, Any]
    ) -> None:
        self.key, self.test, forks = loop.exits[number]
        self.frame, self.start, self.values = loop.visit.frame, start, values
        self.written = written
        self.loop, self.forks = loop, list(forks)
        # The tests of loops inside the turn, which are gone through once.
        self.seen: set[Any] = set()


class PythonLoops:
    """The loops of one trace.

    unstructured: the tests, by function and offset, whose loops can't be one node, with the
    reasons
    """

    def __init__(self) -> None:
        self.unstructured: Mapping[Any, str] = {}
        # The tests whose loops became nodes, or were to.
        self.tried: set[Any] = set()
        # Whether a region was being recorded when the trace ended.
        self.left_open = False
        # The arrays that were written to, each with its node before that.
        self.written: list[tuple[Any, int]] = []
        self._visits: dict[Any, _Visit] = {}
        self._tests_taken: dict[int, tuple[Any, LoopTest]] = {}
        self._open: list[_Open] = []
        self._replay: _Replay | None = None
        # By the code, which holds hooks, and so must not be kept.
        self._tests: dict[CodeType, dict[int, LoopTest]] = {}
        self._asked = self._noted = 0
        # What took the place of iterators and ranges that the function asked for.
        self._handed_out: list[weakref.ref[Any]] = []
        # Notes that an array of known values is to be traced from the start, if it can be.
        self.note_array: Callable[[Any], bool] = lambda array: False

    def require_closed(self) -> None:
        """LoopRefused where the code went on elsewhere while a loop was recorded."""
        if self.is_open:
            raise LoopRefused("leaves for another place")

    @property
    def is_open(self) -> bool:
        """Whether a loop's region is being recorded, or its last turn run once more."""
        return bool(self._open) or self._replay is not None

    @property
    def records_turn(self) -> bool:
        """Whether a turn is being recorded."""
        return bool(self._open)

    def may_write(self, trace: Any) -> bool:
        """Whether arrays from outside of the region that is recorded may be written to."""
        return bool(self._open) and trace.regions.starts[-1] == self._open[-1].start

    def release(self) -> None:
        """Refer to no frame any more."""
        self.left_open = self.is_open
        self._replay = None
        for table in (self._visits, self._open, self._tests, self.written):
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
            self._asked += 1
            if self._asked > MAX_ASKED:
                raise LoopRefused("branches too often")
        if self._replay is not None:
            return self._repeated(x.recorder, self._replay, frame, test)
        if test is None or frame is None:
            if not self._open:
                return None
            where = None if frame is None else (frame.f_code, frame.f_lasti)
            return self._fork(x.recorder, where, predicate(), True)
        key = _key_of(frame)
        if self._open:
            return self._inside(x.recorder, frame, key, test, predicate, steps)
        visit = self._visit_of(frame)
        if visit is None or key in self.unstructured or visit.steps is not steps:
            return None
        return self._enter_after(x.recorder, visit, key, test, branches)

    def _enter_after(
        self, trace: Any, visit: _Visit, key: Any, test: LoopTest, branches: Any
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

    def _visit_of(self, frame: FrameType) -> _Visit | None:
        visit = self._visits.get((id(frame), frame.f_lasti))
        return None if visit is None or visit.frame is not frame else visit

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
        values = _values_of(frame, test)
        contents = contents_of(values)
        if contents is None:
            return False
        position = 0 if steps is None else steps.position
        self._visits[id(frame), frame.f_lasti] = _Visit(
            frame, values, contents, predicate, nodes, taken, len(self.written), steps,
            position, self._noted,
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
        if any(made() is not None for made in self._handed_out):
            raise TracingError(at_user_line("gives an iterator or range that is traced"))

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
        key, branches = _key_of(frame), trace.branches
        visit = self._visit_of(frame)
        if key in self.unstructured:
            if not steps.position:
                steps.start = len(trace.builder.nodes)
            if len(trace.builder.nodes) - steps.start > MAX_WRITTEN_OUT:
                raise TracingError(
                    at_user_line(
                        f"a loop of {steps.items.count} turns, written out, is too long to "
                        f"compile; it can't be one node: {self.unstructured[key]}"
                    )
                )
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
        self._visits.pop((id(frame), frame.f_lasti), None)
        if steps.position < MAX_TRIED and steps.position + 2 < steps.items.count:
            self._note(frame, test, -1, nodes, taken, steps)
        return self._plain_item(steps)

    def _asked_item(self, steps: LoopIterator, frame: FrameType) -> Any:
        """The next item of an iterator whose length is known only at the call."""
        trace = steps.trace
        more = trace.symbol_of(_less(trace, steps.position, steps.items.count).node, "weak")
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
            raise _less(steps.trace, 0, steps.items.count)._needs_value("range()")
        if steps.position >= steps.items.count:
            steps.ended = True
            raise StopIteration
        steps.position += 1
        return steps.items.item(steps.position - 1)

    def _item_of(self, loop: _Open) -> Any:
        """The item of the turn that is recorded."""
        assert loop.visit.steps is not None
        return loop.visit.steps.items.item(loop.index)

    def _pays(self, visit: _Visit, nodes: int, taken: int) -> bool:
        """Whether a loop of a known number of turns is to be one node, by the turn since a
        visit.
        """
        assert visit.steps is not None
        turns = visit.steps.items.count - visit.position
        if turns < 3:
            return False
        branched = taken > visit.branches
        return branched or turns > MAX_TURNS or turns * (nodes - visit.nodes) > MAX_NODES

    # -- the second time

    def _changed(
        self, visit: _Visit, test: LoopTest, branches: Any
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
        self, visit: _Visit, test: LoopTest
    ) -> tuple[list[str], list[tuple[Any, int]]] | None:
        """The variables that are other ones than at a visit, and the arrays that were written
        to, if all of them can be carried, and nothing else has changed.
        """
        frame, names = visit.frame, []
        values = _values_of(frame, test)
        own = {*frame.f_code.co_cellvars, *frame.f_code.co_freevars}
        if values.keys() != visit.values.keys():
            return None  # the next turn may have all names
        for name, before in visit.values.items():
            now = values[name]
            if now is before or same_plain(now, before):
                continue
            if name in own or not may_be_carried(before) or not may_be_carried(now):
                return None
            if kind_of(now) != kind_of(before):
                return None  # a type that is another one now: the next turn may be alike
            names.append(name)
        contents = contents_of(values)
        if contents is None:
            return None
        kept = [name for name in values if name not in names]
        changed = [name for name in kept if contents[name] != visit.contents[name]]
        if changed:
            arrays = [values[n] for n in changed if type(values[n]) is np.ndarray]
            if len(arrays) == len(changed) and any([self.note_array(x) for x in arrays]):
                raise LoopRefused("writes into an array of known values")
            return None
        twins = twins_of(names, visit.values, values)
        both = visit.values, values
        if any(has_aliases(each, names, twins) for each in both):
            return None
        arrays = self._written_since(visit.written, visit.nodes)
        return [name for name in names if name not in twins], arrays

    def _written_since(self, position: int, nodes: int) -> list[tuple[Any, int]]:
        """The arrays of before some node that were written to since, with their nodes then."""
        found: dict[int, tuple[Any, int]] = {}
        for array, node in self.written[position:]:
            # what is captured is there before, wherever it is read first
            captured = array.recorder.builder.nodes[node].primitive is source.param
            if node < nodes or captured:
                found.setdefault(id(array), (array, node))
        return list(found.values())

    def _enter(
        self,
        trace: Any,
        visit: _Visit,
        key: Any,
        test: LoopTest,
        names: list[str],
        arrays: list[tuple[Any, int]],
    ) -> bool:
        """Begin the region of a loop."""
        self.tried.add(key)
        self._drop(trace, visit.nodes)
        self._forget_visits(visit)
        loop = _Open(visit, key, test, names)
        loop.twins = twins_of(list(visit.values), visit.values, _values_of(visit.frame, test))
        loop.twins = {name: other for name, other in loop.twins.items() if other in names}
        loop.arrays = arrays
        self._open.append(loop)
        return self._begin(trace, loop)

    def _drop(self, trace: Any, start: int) -> None:
        """Let no graph use the nodes from `start` on."""
        stop = len(trace.builder.nodes)
        trace.regions.closed.append((start, stop))
        trace.forget_checks(start, stop)

    def _forget_visits(self, since: _Visit) -> None:
        """Forget a visit and later ones, whose nodes may have been dropped."""
        self._visits = {k: v for k, v in self._visits.items() if v.number < since.number}

    def _begin(self, trace: Any, loop: _Open) -> bool:
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
        loop.params = []
        for name in loop.names:
            type, origin = self._kind(loop, name)
            loop.params.append(trace.placeholder(type, origin))
            if not type.shape:  # a number, which has no memory
                storage = loop.params[-1].storage
                storage.shared = storage.scalar = False
            if origin == "weak" and type.dtype is int64:
                trace.note_bounds(loop.params[-1], -(2**63), 2**63 - 1)
        for array, _ in loop.arrays:
            loop.params.append(trace.placeholder(array.type, "numpy"))
        loop.first = len(trace.builder.nodes)
        loop.ways, loop.planned, loop.after, loop.exits = [], [], [], []
        return self._begin_way(trace, loop)

    def _kind(self, loop: _Open, name: str) -> Any:
        """The type of a variable that is carried, and whose rules hold for it."""
        if name in loop.visit.values:
            return kind_of(loop.visit.values[name])
        return loop.wanted[name]

    def _forget_dead(self, loop: _Open) -> None:
        """Let no variable that isn't read any more hold an array of a turn that was dropped."""
        frame = loop.visit.frame
        names = {*frame.f_code.co_cellvars, *frame.f_code.co_freevars, *loop.test.live}
        dead = {
            name: None
            for name, value in frame.f_locals.items()
            if name not in names and issubclass(type(value), TensorBase)
        }
        if dead:
            set_locals(frame, dead)

    def _begin_way(self, trace: Any, loop: _Open) -> bool:
        """Begin to record a turn."""
        self._forget_dead(loop)
        frame = loop.visit.frame
        loop.forks = []
        loop.counts.clear()
        loop.pass_start = len(trace.builder.nodes)
        set_locals(frame, loop.with_twins(loop.variables))
        carried = {id(array) for array, _ in loop.arrays}
        for array, node in self._written_since(loop.visit.written, loop.visit.nodes):
            if id(array) not in carried:
                array.rebase(node)
        for (array, _), param in zip(loop.arrays, loop.params[len(loop.names) :], strict=True):
            array.rebase(param.node)
        loop.values = _values_of(frame, loop.test)
        contents = contents_of(loop.values)
        if contents is None:
            raise LoopRefused("has variables whose contents aren't seen")
        loop.contents = contents
        return loop.test.stays

    # -- while the region is recorded

    def _fork(self, trace: Any, place: Any, node: int, first: bool) -> bool:
        """The outcome of a branch in a turn: both ways are recorded, one after the other.

        first: the outcome that is taken first
        """
        loop = self._open[-1]
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
            raise LoopRefused("has a loop whose first turn is of another kind")
        nodes, forks = len(trace.builder.nodes), len(loop.forks)
        # a branch like others, should the code not come back
        outcome = self._fork(trace, (frame.f_code, frame.f_lasti), node, test.stays)
        if outcome is test.stays:
            self._note(frame, test, node, nodes, forks, steps)
        return outcome

    def _may_leave(self, trace: Any, loop: _Open, key: Any, test: LoopTest, node: int) -> bool:
        """The outcome of a test in a turn that may leave the loop."""
        frame = loop.visit.frame
        values = dict(frame.f_locals)
        started = not loop.forks and not loop.ways
        same = all_same(_values_of(frame, loop.test), loop.values)
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

    def _has_written(self, loop: _Open) -> bool:
        """Whether a turn has written into arrays so far."""
        carried = {id(array) for array, _ in loop.arrays}
        params = loop.params[len(loop.names) :]
        changed = [a.node != p.node for (a, _), p in zip(loop.arrays, params, strict=True)]
        others = self._written_since(loop.visit.written, loop.visit.nodes)
        changed += [a.node != node for a, node in others if id(a) not in carried]
        return any(changed)

    def _results(
        self,
        trace: Any,
        loop: _Open,
        values: dict[str, Any],
        read: frozenset[str],
        goes_on: int,
        exit: int,
    ) -> tuple[int, ...]:
        """The nodes of what a turn gives where it ends with these variables, of which some are
        read after that. What isn't carried and should be is noted in `wanted`.
        """
        found = []
        own = {*loop.visit.frame.f_code.co_cellvars, *loop.visit.frame.f_code.co_freevars}
        for name, param in zip(loop.names, loop.variables, strict=True):
            value = values.get(name)
            fits = name in values and may_be_carried(value)
            if not fits or kind_of(value) != (param.type, param.origin):
                if name in read:
                    raise LoopRefused(f"gives {name} another type at each turn")
                value = param
            found.append(_as_tensor(trace, value))
        for name, value in values.items():
            if name in loop.names or (name not in read and name not in own):
                continue
            if name in loop.twins:
                if value is not values[loop.twins[name]]:
                    raise LoopRefused("gives one array two names at some turns only")
                continue
            start = loop.values.get(name, loop.visit.values.get(name))
            known = name in loop.values
            if known and (value is start or same_plain(value, start)):
                continue
            if not known and exit and not holds_tensor(value):
                continue  # set anew on the way to the exit
            if not may_be_carried(value) or (known and not may_be_carried(start)):
                raise LoopRefused(f"changes {name}")
            if known and kind_of(value) != self._kind_at_start(loop, name):
                raise LoopRefused(f"gives {name} another type at each turn")
            if not known and not exit:
                raise LoopRefused(f"sets {name}, which is read after the loop")
            loop.wanted[name] = kind_of(value)
        arrays = [array.node for array, _ in loop.arrays]
        number = trace.builder.const(np.array(exit, np.int64))
        return (goes_on, number, *(trace.node_of(y) for y in found), *arrays)

    def _kind_at_start(self, loop: _Open, name: str) -> Any:
        return kind_of(loop.visit.values[name])

    def _finish(self, trace: Any, loop: _Open, predicate: int) -> bool:
        """End a way through a turn. After the last one, close the region and leave the loop
        with the results of its node.
        """
        frame = loop.visit.frame
        values = _values_of(frame, loop.test)
        if not loop.values.keys() <= values.keys() or not (
            values.keys() - loop.values.keys() <= {*loop.names}
        ):
            raise LoopRefused("sets or deletes a variable at some turns only")
        if predicate < 0:
            goes_on = trace.builder.const(np.ones((), np.bool_))
        else:
            goes_on = trace.node_of(self._stays(trace, predicate, loop.test.stays))
        results = self._results(trace, loop, dict(frame.f_locals), loop.test.live, goes_on, 0)
        contents = contents_of(values)
        carried = {*loop.names, *loop.twins, *loop.wanted}
        if contents is None or any(
            contents[name] != loop.contents[name] for name in values if name not in carried
        ):
            raise LoopRefused("changes what a variable holds")
        if has_aliases(values, [*loop.names, *loop.wanted], loop.twins):
            raise LoopRefused("gives one array two names")
        known = {id(array) for array, _ in loop.arrays}
        grown = [
            (array, node)
            for array, node in self._written_since(loop.visit.written, loop.visit.nodes)
            if id(array) not in known
        ]
        new = [name for name in loop.wanted if name not in loop.names]
        if new or grown:  # equal to what they were by chance, or written on one way
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

    # -- the node

    def _close(self, trace: Any, loop: _Open) -> bool:
        """Append the node of a loop whose region is complete, and leave the loop."""
        regions, steps = trace.regions, loop.visit.steps
        own = [p.origin for p in loop.params]
        goes_on, exit, *outputs = joined(trace, loop.ways, ["weak", "weak", *own])
        leaves = any(fork.left is not None for way in loop.ways for fork in way.forks)
        loop.leaves = leaves
        given = [self._given(trace, loop, name) for name in loop.names]
        given += [trace.symbol_of(node, "numpy") for _, node in loop.arrays]
        if steps is not None and not leaves and isinstance(steps.items.count, int):
            regions.closed.append((regions.starts.pop(), len(trace.builder.nodes)))
            nodes = tuple(p.node for p in (loop.index, *loop.params))
            results = trace.control(
                control.scan,
                [(Region(loop.start, nodes, None), outputs)],
                given,
                own,
                start=loop.visit.position,
                count=steps.items.count - loop.visit.position,
                carried=len(given),
                sliced=0,
                reverse=False,
            )
            return self._leave(trace, loop, results, None)
        extra = [loop.goes_on]
        made = [goes_on]
        first: list[Any] = []
        condition = loop.goes_on
        if steps is not None:
            extra.append(loop.index)
            made.append(_add(trace, loop.index, 1))
            first.append(wrap(np.array(loop.visit.position, np.int64)))
            more = _less(trace, loop.index, steps.items.count)
            condition = self._both(trace, condition, loop.first, more)
        if loop.exits:
            extra.append(loop.exit)
            made.append(exit)
            first.append(wrap(np.zeros((), np.int64)))
        if loop.after:
            node, _, stays = loop.after[-1]
            last = self._stays(trace, node, stays)
            for k in range(len(loop.after) - 2, -1, -1):
                node, start, stays = loop.after[k]
                last = self._both(trace, self._stays(trace, node, stays), start, last)
            condition = self._both(trace, condition, loop.first, last)
        regions.closed.append((regions.starts.pop(), len(trace.builder.nodes)))
        if loop.visit.predicate < 0:
            first.insert(0, wrap(np.ones((), np.bool_)))
        else:
            first.insert(0, self._stays(trace, loop.visit.predicate, loop.test.stays))
        params = tuple(p.node for p in (*extra, *loop.params))
        region = Region(loop.start, params, None)
        results = trace.control(
            control.while_loop,
            [(region, [condition]), (region, [*made, *outputs])],
            [*first, *given],
            [*("weak" for _ in extra), *own],
            carried=len(params),
        )
        self._require_one_turn(trace, loop, results[0].node)
        number = results[len(extra) - 1] if loop.exits else None
        return self._leave(trace, loop, results[len(extra) :], number)

    def _require_one_turn(self, trace: Any, loop: _Open, item: int) -> None:
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
        elif not trace.branches.goes_on_once(trace, trace.builder.nodes[item].inputs[0]):
            raise LoopRefused("isn't the next one of the same loop")

    def _given(self, trace: Any, loop: _Open, name: str) -> Any:
        """What a variable is before the loop; zeros where it is none."""
        if name in loop.visit.values:
            return _as_tensor(trace, loop.visit.values[name])
        type, _ = loop.wanted[name]
        return wrap(np.zeros(type.shape, type.dtype.dtype))

    def _leave(self, trace: Any, loop: _Open, results: Sequence[Any], number: Any) -> bool:
        """Leave a loop with the results of its node. number: that of the exit."""
        frame = loop.visit.frame
        self._open.pop()
        self._forget_visits(loop.visit)
        self._forget_dead(loop)
        for (array, node), result in zip(loop.arrays, results[len(loop.names) :], strict=True):
            self.written.append((array, node))
            array.rebase(result.node)
        values = loop.with_twins(results[: len(loop.names)])
        for k in range(len(loop.exits)):
            there = self._stays(trace, _equal(trace, number, k + 1), True)
            if trace.branches.decide(there, (loop.key, k)):
                nodes, written = len(trace.builder.nodes), len(self.written)
                self._replay = _Replay(loop, k, nodes, written, values)
                set_locals(frame, values)
                return loop.test.stays
        set_locals(frame, {n: v for n, v in values.items() if n in loop.visit.values})
        return not loop.test.stays

    def decide(self, trace: Any, node: int, place: Any) -> bool:
        """The outcome of a branch that no code asks for, in the turn that is recorded."""
        return self._fork(trace, place, node, False)

    def _repeated(
        self, trace: Any, replay: _Replay, frame: FrameType | None, test: LoopTest | None
    ) -> bool:
        """The outcome of a test in a turn that is run once more."""
        if frame is replay.frame and test is not None and _key_of(frame) == replay.key:
            if replay.forks:
                raise LoopRefused("isn't left where it was to be")
            self._replay = None
            self._drop(trace, replay.start)
            loop = replay.loop
            for array, node in self._written_since(replay.written, replay.start):
                array.rebase(node)
            read = replay.test.read_outside
            set_locals(frame, {n: v for n, v in replay.values.items() if n in read})
            self._forget_visits(loop.visit)
            if loop.visit.steps is not None:
                loop.visit.steps.lost = True
            return not replay.test.stays
        place = None if frame is None else (frame.f_code, frame.f_lasti)
        if replay.forks and replay.forks[0].place[0] == place:
            return replay.forks.pop(0).outcome
        if test is None:  # in a loop inside the turn, whose values don't matter
            return False
        if frame is replay.frame and test.head == replay.test.head:
            return test.stays  # one of the condition
        again = (id(frame), place) in replay.seen
        replay.seen.add((id(frame), place))
        return test.stays is not (again and not test.steps)

    def _stays(self, trace: Any, node: int, stays: bool) -> Any:
        """Whether a loop goes on, by the predicate of a test."""
        if not stays:
            node = trace.builder.add(PRIMITIVES["logical_not"], (node,))
        return trace.symbol_of(node, "weak")

    def _both(self, trace: Any, first: Any, start: int, second: Any) -> Any:
        """Whether both hold; the second, whose nodes begin at `start`, is computed only if the
        first does.
        """
        falsehood = trace.symbol_of(trace.builder.const(np.zeros((), np.bool_)), "weak")
        parts = [
            (Region(start, (), None), [second]),
            (Region(len(trace.builder.nodes), (), None), [falsehood]),
        ]
        return trace.control(control.cond, parts, [first], ["weak"])[0]


def _key_of(frame: FrameType) -> Any:
    code = frame.f_code
    return code.co_filename, code.co_firstlineno, code.co_name, frame.f_lasti


def _values_of(frame: FrameType, test: LoopTest) -> dict[str, Any]:
    """The variables of a frame that may be read after a test."""
    code = frame.f_code
    names = {*test.live, *code.co_cellvars, *code.co_freevars}
    return {name: value for name, value in frame.f_locals.items() if name in names}


def holds_tensor(value: Any) -> bool:
    """Whether a value is traced, or may hold something that is."""
    return not isinstance(value, (bool, int, float, complex, str, bytes, type(None), range))


def _as_tensor(trace: Any, value: Any) -> Any:
    if isinstance(value, TensorBase):
        return value.as_tensor()
    type, _ = kind_of(value)
    return wrap(np.array(value, type.dtype.dtype))


def _number(trace: Any, value: Any) -> int:
    """The node of an integer."""
    if isinstance(value, TensorBase):
        node: int = trace.node_of(value)
        return node
    constant: int = trace.builder.const(np.array(value, np.int64))
    return constant


def _add(trace: Any, x: Any, y: int) -> Any:
    node = trace.builder.add(PRIMITIVES["add"], (x.node, _number(trace, y)))
    return trace.symbol_of(node, "weak")


def _less(trace: Any, x: Any, y: Any) -> Any:
    node = trace.builder.add(PRIMITIVES["lt"], (_number(trace, x), _number(trace, y)))
    return trace.symbol_of(node, "weak")


def _equal(trace: Any, x: Any, y: int) -> int:
    node: int = trace.builder.add(PRIMITIVES["eq"], (x.node, _number(trace, y)))
    return node


__all__ = ["PythonLoops"]
