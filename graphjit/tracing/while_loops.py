"""Python's own `while` loops whose condition is traced: one node, whatever the number of turns.

A loop is seen at its test, which Python comes to at each turn. The first time the test is a
branch like others. Between the first and the second time the variables that changed are found:
they are carried. From there on the turn is recorded once more, as a region whose parameters
these variables are; the third time the region is complete, the variables become the results
of a `while_loop` node, and the loop is left. Where that can't be, `LoopRefused` makes the
function be traced again, with the loop as a path of branches.

Other tests that leave the same loop for the same place, with no variable changed in between,
belong to the condition (`while a and b`). Where a turn branches on traced values, it is
recorded once for each way through it, and the ways become regions of `cond` nodes. Loops in
loops have regions in regions. A turn may store nothing outside of its variables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from types import CodeType, FrameType
from typing import Any

import numpy as np

from graphjit.core.frozen import dataclass
from graphjit.core.types import TensorType, bool_, int64
from graphjit.ops import PRIMITIVES, control
from graphjit.tensors.apply import TensorBase, wrap

from .loop_tests import LoopTest, loop_tests, set_locals
from .regions import Region
from .turn_ways import Fork, LoopRefused, Way, joined
from .variable_contents import (
    all_same,
    contents_of,
    has_aliases,
    kind_of,
    may_be_carried,
    node_changed,
    same_plain,
    twins_of,
)

# How many ways through a turn are recorded.
MAX_WAYS = 16
# How many branches and tests are seen in loops that are recorded.
MAX_ASKED = 2000


@dataclass(frozen=True, slots=True, eq=False)
class _Visit:
    """The state of a frame at a test. predicate: the node of the bool that decided; nodes:
    those that were recorded until then; branches: how many were taken, this one included.
    """

    frame: FrameType
    values: dict[str, Any]
    contents: Any
    predicate: int
    nodes: int
    branches: int


class _Open:
    """A loop whose region is being recorded.

    start: the first node of the region; first: that after its parameters
    pass_start: the first node of the way that is recorded now
    forks: the branches on this way; planned: the first of them, as they are to be taken
    counts: how often each place was come to
    before, after: tests that belong to the condition, come to just before and just after this
        one: the nodes of their predicates and where the nodes after them begin
    """

    def __init__(self, visit: _Visit, key: Any, test: LoopTest, names: list[str]) -> None:
        self.visit, self.key, self.test, self.names = visit, key, test, names
        self.start = self.first = self.pass_start = 0
        self.params: list[Any] = []
        self.values: dict[str, Any] = {}
        self.contents: dict[str, Any] = {}
        self.ways: list[Way] = []
        self.planned: list[Fork] = []
        self.forks: list[Fork] = []
        self.counts: Counter[Any] = Counter()
        self.before: list[tuple[int, int, bool, dict[str, Any]]] = []
        self.after: list[tuple[int, int, bool]] = []
        # Variables that are the same array as one that is carried, with this one.
        self.twins: dict[str, str] = {}

    def with_twins(self, carried: Sequence[Any]) -> dict[str, Any]:
        """The variables for values of what is carried."""
        values = dict(zip(self.names, carried, strict=True))
        return {**values, **{name: values[other] for name, other in self.twins.items()}}


class WhileLoops:
    """The loops of one trace.

    unstructured: the tests, by function and offset, whose loops can't be one node
    """

    def __init__(self) -> None:
        self.unstructured: frozenset[Any] = frozenset()
        # The tests whose loops became nodes, or were to.
        self.tried: set[Any] = set()
        # Whether a region was being recorded when the trace ended.
        self.left_open = False
        self._visits: dict[Any, _Visit] = {}
        self._tests_taken: dict[int, tuple[Any, LoopTest]] = {}
        self._open: list[_Open] = []
        # By the code, which holds hooks, and so must not be kept.
        self._tests: dict[CodeType, dict[int, LoopTest]] = {}
        self._asked = 0

    def require_closed(self) -> None:
        """LoopRefused where the code went on elsewhere while a loop was recorded."""
        if self._open:
            raise LoopRefused("leaves for another place")

    @property
    def is_open(self) -> bool:
        """Whether a loop's region is being recorded."""
        return bool(self._open)

    def release(self) -> None:
        """Refer to no frame any more."""
        self.left_open = self.is_open
        for table in (self._visits, self._open, self._tests):
            table.clear()

    def outcome(
        self, x: Any, frame: FrameType | None, branches: Any, predicate: Callable[[], int]
    ) -> bool | None:
        """With which outcome a loop's test goes on or leaves; None where it is none of a loop
        that is known, and may be a branch.

        predicate: records the node of whether `x` is true
        """
        test = self._test_at(frame)
        if self._open:
            self._asked += 1
            if self._asked > MAX_ASKED:
                raise LoopRefused("branches too often")
        if test is None or frame is None:
            if not self._open:
                return None
            where = None if frame is None else (frame.f_code, frame.f_lasti)
            return self._fork(x, where, predicate(), True)
        code = frame.f_code
        key = code.co_filename, code.co_firstlineno, code.co_name, frame.f_lasti
        if self._open:
            return self._inside(x, frame, key, test, predicate)
        place = id(frame), frame.f_lasti
        visit = self._visits.get(place)
        if visit is None or visit.frame is not frame or key in self.unstructured:
            return None
        names = self._changed(visit, test, branches)
        if names is None:
            return None
        first = visit.branches - 1
        del branches.taken[first:]
        branches.forget_outcomes()
        self._tests_taken = {n: t for n, t in self._tests_taken.items() if n < first}
        return self._enter(x.recorder, visit, key, test, names)

    def _test_at(self, frame: FrameType | None) -> LoopTest | None:
        """The test of a loop that a frame is at."""
        if frame is None:
            return None
        tests = self._tests.get(frame.f_code)
        if tests is None:
            tests = self._tests[frame.f_code] = loop_tests(frame.f_code)
        return tests.get(frame.f_lasti)

    def note(self, frame: FrameType | None, predicate: int, branches: Any, nodes: int) -> None:
        """Note a test at which a branch was just taken, if it is a loop's."""
        test = self._test_at(frame)
        if test is None or frame is None:
            return
        values = dict(frame.f_locals)
        contents = contents_of(values)
        if contents is None:
            return
        taken = len(branches.taken)
        self._tests_taken[taken - 1] = id(frame), test
        self._visits[id(frame), frame.f_lasti] = _Visit(
            frame, values, contents, predicate, nodes, taken
        )

    # -- the second time

    def _changed(self, visit: _Visit, test: LoopTest, branches: Any) -> list[str] | None:
        """The variables that a turn changed; None where the loop can't begin here."""
        frame = visit.frame
        if branches.taken[visit.branches - 1].outcome is not test.stays:
            return None
        for number in range(visit.branches, len(branches.taken)):
            place, other = self._tests_taken.get(number, (0, None))
            if place == id(frame) and other is not None and other.head == test.head:
                stays = branches.taken[number].outcome is other.stays
                if not stays or other.exit != test.exit:
                    return None
        return self._carried(visit)

    def _carried(self, visit: _Visit) -> list[str] | None:
        """The variables that are other ones than at a visit, if all of them can be carried, and
        nothing else has changed.
        """
        frame, names = visit.frame, []
        values = dict(frame.f_locals)
        own = {*frame.f_code.co_cellvars, *frame.f_code.co_freevars}
        if values.keys() != visit.values.keys():
            return None  # the next turn may have all names
        for name, before in visit.values.items():
            now = values[name]
            if now is before and not node_changed(before, visit.contents[name]):
                continue
            if same_plain(now, before):
                continue
            if name in own or not may_be_carried(before) or not may_be_carried(now):
                return None
            if now is before or kind_of(now) != kind_of(before):
                return None  # a type that is another one now: the next turn may be alike
            names.append(name)
        contents = contents_of(values)
        if contents is None:
            return None
        kept = [name for name in values if name not in names]
        if any(contents[name] != visit.contents[name] for name in kept):
            return None
        twins = twins_of(names, visit.values, values)
        both = visit.values, values
        if any(has_aliases(each, names, twins) for each in both):
            return None
        return [name for name in names if name not in twins]

    def _enter(
        self, trace: Any, visit: _Visit, key: Any, test: LoopTest, names: list[str]
    ) -> bool:
        """Begin the region of a loop."""
        self.tried.add(key)
        self._drop(trace, visit.nodes)
        self._forget_visits(visit.frame)
        loop = _Open(visit, key, test, names)
        loop.twins = twins_of(list(visit.values), visit.values, dict(visit.frame.f_locals))
        loop.twins = {name: other for name, other in loop.twins.items() if other in names}
        self._open.append(loop)
        return self._begin(trace, loop)

    def _drop(self, trace: Any, start: int) -> None:
        """Let no graph use the nodes from `start` on."""
        stop = len(trace.builder.nodes)
        trace.regions.closed.append((start, stop))
        trace.forget_checks(start, stop)

    def _forget_visits(self, frame: FrameType) -> None:
        self._visits = {k: v for k, v in self._visits.items() if v.frame is not frame}

    def _begin(self, trace: Any, loop: _Open) -> bool:
        """Open the region, with symbolic values for what is carried."""
        regions = trace.regions
        regions.starts.append(len(trace.builder.nodes))
        loop.start = regions.starts[-1]
        loop.params = [trace.placeholder(TensorType((), bool_), "weak")]
        for name in loop.names:
            type, origin = kind_of(loop.visit.values[name])
            loop.params.append(trace.placeholder(type, origin))
            if not type.shape:  # a number, which has no memory
                storage = loop.params[-1].storage
                storage.shared = storage.scalar = False
            if origin == "weak" and type.dtype is int64:
                trace.note_bounds(loop.params[-1], -(2**63), 2**63 - 1)
        loop.first = len(trace.builder.nodes)
        loop.ways, loop.planned, loop.after = [], [], []
        return self._begin_way(trace, loop)

    def _begin_way(self, trace: Any, loop: _Open) -> bool:
        """Begin to record a turn."""
        frame = loop.visit.frame
        loop.forks, loop.before = [], []
        loop.counts.clear()
        loop.pass_start = len(trace.builder.nodes)
        set_locals(frame, loop.with_twins(loop.params[1:]))
        loop.values = dict(frame.f_locals)
        contents = contents_of(loop.values)
        if contents is None:
            raise LoopRefused("has variables whose contents aren't seen")
        loop.contents = contents
        return loop.test.stays

    # -- while the region is recorded

    def _fork(self, x: Any, place: Any, node: int, first: bool) -> bool:
        """The outcome of a branch in a turn: both ways are recorded, one after the other.

        first: the outcome that is taken first
        """
        loop = self._open[-1]
        loop.counts[place] += 1
        place, number = (place, loop.counts[place]), len(loop.forks)
        outcome, second = first, False
        if number < len(loop.planned) and loop.planned[number].place == place:
            outcome, second = loop.planned[number].outcome, loop.planned[number].second
        nodes = len(x.recorder.builder.nodes)
        loop.forks.append(Fork(place, nodes, node, outcome, second))
        if len(loop.forks) > MAX_WAYS:
            raise LoopRefused("branches too often")
        return outcome

    def _inside(
        self, x: Any, frame: FrameType, key: Any, test: LoopTest, predicate: Callable[[], int]
    ) -> bool:
        loop = self._open[-1]
        if frame is loop.visit.frame and key == loop.key:
            return self._finish(x.recorder, loop, predicate())
        if frame is loop.visit.frame and test.head == loop.test.head:
            if test.exit != loop.test.exit:
                raise LoopRefused("leaves for several places")
            values, node = dict(frame.f_locals), predicate()
            nodes = len(x.recorder.builder.nodes)
            if not loop.before and not loop.forks and all_same(values, loop.values):
                if not loop.ways:
                    loop.after.append((node, nodes, test.stays))
            else:
                loop.before.append((node, nodes, test.stays, values))
            return test.stays
        if key in self.unstructured:
            raise LoopRefused("has a loop that is traced as a path")
        place = id(frame), frame.f_lasti
        visit = self._visits.get(place)
        if visit is not None and visit.frame is frame:
            self.tried.add(key)
            names = self._carried(visit)
            if names is not None:
                del loop.forks[visit.branches :]
                return self._enter(x.recorder, visit, key, test, names)
        values, node = dict(frame.f_locals), predicate()
        if visit is not None:  # one more turn before the loop, if there is one
            self.tried.add(key)
            raise LoopRefused("has a loop whose first turn is of another kind")
        contents = contents_of(values)
        nodes, forks = len(x.recorder.builder.nodes), len(loop.forks)
        # a branch like others, should the code not come back
        outcome = self._fork(x, (frame.f_code, frame.f_lasti), node, test.stays)
        if outcome is test.stays and contents is not None:
            self._visits[place] = _Visit(frame, values, contents, node, nodes, forks)
        return outcome

    def _finish(self, trace: Any, loop: _Open, predicate: int) -> bool:
        """End a way through a turn. After the last one, close the region and leave the loop
        with the results of its node.
        """
        frame = loop.visit.frame
        values = dict(frame.f_locals)
        for *_, then in loop.before:
            if not all_same(values, then):
                raise LoopRefused("leaves at several places")
        if values.keys() != loop.values.keys():
            raise LoopRefused("sets or deletes a variable at some turns only")
        found, grown = [], []
        for name, param in zip(loop.names, loop.params[1:], strict=True):
            value = values.get(name)
            if not may_be_carried(value) or kind_of(value) != (param.type, param.origin):
                raise LoopRefused(f"gives {name} another type at each turn")
            found.append(_as_tensor(trace, value))
        for name, value in values.items():
            start = loop.values[name]
            if name in loop.twins:
                if value is not values[loop.twins[name]]:
                    raise LoopRefused("gives one array two names at some turns only")
                continue
            if name in loop.names or value is start or same_plain(value, start):
                continue
            if not may_be_carried(value) or not may_be_carried(loop.visit.values[name]):
                raise LoopRefused(f"changes {name}")
            if kind_of(value) != kind_of(loop.visit.values[name]):
                raise LoopRefused(f"gives {name} another type at each turn")
            grown.append(name)
        contents = contents_of(values)
        if contents is None or any(
            contents[name] != loop.contents[name]
            for name in values
            if name not in grown and name not in loop.names and name not in loop.twins
        ):
            raise LoopRefused("changes what a variable holds")
        if has_aliases(values, [*loop.names, *grown], loop.twins):
            raise LoopRefused("gives one array two names")
        if grown:  # equal to what they were by chance
            self._drop(trace, trace.regions.starts.pop())
            self._forget_visits(frame)
            loop.names = [*loop.names, *grown]
            return self._begin(trace, loop)
        goes_on = self._stays(trace, predicate, loop.test.stays)
        for node, start, stays, _ in reversed(loop.before):
            goes_on = self._both(trace, self._stays(trace, node, stays), start, goes_on)
        results = tuple(trace.node_of(y) for y in (goes_on, *found))
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
            self._forget_visits(frame)
            return self._begin_way(trace, loop)
        return self._close(trace, loop)

    def _close(self, trace: Any, loop: _Open) -> bool:
        """Append the node of a loop whose region is complete, and leave the loop."""
        frame, regions = loop.visit.frame, trace.regions
        origins = ["weak", *(p.origin for p in loop.params[1:])]
        outputs = joined(trace, loop.ways, origins)
        test = loop.params[0]
        condition = test
        if loop.after:
            node, _, stays = loop.after[-1]
            last = self._stays(trace, node, stays)
            for k in range(len(loop.after) - 2, -1, -1):
                node, start, stays = loop.after[k]
                last = self._both(trace, self._stays(trace, node, stays), start, last)
            condition = self._both(trace, test, loop.first, last)
        regions.closed.append((regions.starts.pop(), len(trace.builder.nodes)))
        region = Region(loop.start, tuple(p.node for p in loop.params), None)
        first = self._stays(trace, loop.visit.predicate, loop.test.stays)
        given = [_as_tensor(trace, loop.visit.values[name]) for name in loop.names]
        results = trace.control(
            control.while_loop,
            [(region, [condition]), (region, outputs)],
            [first, *given],
            origins,
            carried=len(outputs),
        )
        set_locals(frame, loop.with_twins(results[1:]))
        self._open.pop()
        self._forget_visits(frame)
        return not loop.test.stays

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


def _as_tensor(trace: Any, value: Any) -> Any:
    if isinstance(value, TensorBase):
        return value.as_tensor()
    type, _ = kind_of(value)
    return wrap(np.array(value, type.dtype.dtype))


__all__ = ["WhileLoops"]
