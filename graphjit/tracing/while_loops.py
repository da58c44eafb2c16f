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

import sys
from collections import Counter, deque
from collections.abc import Callable, Sequence
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FrameType,
    FunctionType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.errors import TracingError, at_user_line
from graphjit.core.frozen import dataclass
from graphjit.core.types import DType, TensorType, bool_, int64
from graphjit.ir.graph import Node
from graphjit.ops import PRIMITIVES, control, source
from graphjit.tensors.apply import TensorBase, wrap

from .loop_tests import LoopTest, loop_tests, set_locals
from .regions import Region
from .symbolic_attributes import represented_classes

# How many ways through a turn are recorded.
MAX_WAYS = 16
# How many branches and tests are seen in loops that are recorded.
MAX_ASKED = 2000
# Of how many values it is noted what they hold, and how large arrays may be [bytes].
_ROOM, _MAX_BYTES = 2000, 1 << 20
_HEAP_TYPE = 1 << 9  # CPython's Py_TPFLAGS_HEAPTYPE
_UNCHANGING = (
    bool, int, float, complex, str, bytes, type(None), type(...), type(NotImplemented), range,
    slice, Dim, ModuleType, CodeType, DType, TensorType,
)  # fmt: skip
_NUMBERS = (bool, int, float, complex)


class LoopRefused(TracingError):
    """A loop that can't be one node, and is to be traced as a path."""


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
    turn: int = 1


@dataclass(frozen=True, slots=True)
class _Fork:
    """A branch in a turn.

    place: where it is, and the how manieth time it is come to in the turn
    start: the nodes from this one on were recorded after it
    second: whether the other outcome was recorded before
    """

    place: Any
    start: int
    predicate: int
    outcome: bool
    second: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """A turn as it was recorded along one way. start: the first of its nodes; results: the node
    of whether the loop goes on, and those of what is carried.
    """

    start: int
    forks: tuple[_Fork, ...]
    results: tuple[int, ...]


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
        self.ways: list[_Way] = []
        self.planned: list[_Fork] = []
        self.forks: list[_Fork] = []
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
            raise self._refusal("leaves for another place")

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
                raise self._refusal("branches too often")
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
        del branches.taken[visit.branches - 1 :]
        branches.forget_outcomes()
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
        contents = _contents(values)
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
            if now is before and not _node_changed(before, visit.contents[name]):
                continue
            if _same_plain(now, before):
                continue
            if name in own or not _may_be_carried(before) or not _may_be_carried(now):
                return None
            if now is before or _kind(now) != _kind(before):
                return None  # a type that is another one now: the next turn may be alike
            names.append(name)
        contents = _contents(values)
        if contents is None:
            return None
        kept = [name for name in values if name not in names]
        if any(contents[name] != visit.contents[name] for name in kept):
            return None
        twins = _twins(names, visit.values, values)
        both = visit.values, values
        if any(_has_aliases(each, names, twins) for each in both):
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
        loop.twins = _twins(list(visit.values), visit.values, dict(visit.frame.f_locals))
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
            type, origin = _kind(loop.visit.values[name])
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
        contents = _contents(loop.values)
        if contents is None:
            raise self._refusal("has variables whose contents aren't seen")
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
        loop.forks.append(_Fork(place, nodes, node, outcome, second))
        if len(loop.forks) > MAX_WAYS:
            raise self._refusal("branches too often")
        return outcome

    def _inside(
        self, x: Any, frame: FrameType, key: Any, test: LoopTest, predicate: Callable[[], int]
    ) -> bool:
        loop = self._open[-1]
        if frame is loop.visit.frame and key == loop.key:
            return self._finish(x.recorder, loop, predicate())
        if frame is loop.visit.frame and test.head == loop.test.head:
            if test.exit != loop.test.exit:
                raise self._refusal("leaves for several places")
            values, node = dict(frame.f_locals), predicate()
            nodes = len(x.recorder.builder.nodes)
            if not loop.before and not loop.forks and _all_same(values, loop.values):
                if not loop.ways:
                    loop.after.append((node, nodes, test.stays))
            else:
                loop.before.append((node, nodes, test.stays, values))
            return test.stays
        if key in self.unstructured:
            raise self._refusal("has a loop that is traced as a path")
        place = id(frame), frame.f_lasti
        visit = self._visits.get(place)
        if visit is not None and visit.frame is frame:
            self.tried.add(key)
            names = self._carried(visit)
            if names is not None:
                del loop.forks[visit.branches :]
                return self._enter(x.recorder, visit, key, test, names)
        if visit is not None and visit.turn > 2:
            raise self._refusal("has a loop whose types don't settle")
        values, node = dict(frame.f_locals), predicate()
        if visit is not None:  # one more turn before the loop, if there is one
            self.tried.add(key)
            raise self._refusal("has a loop whose first turn is of another kind")
        contents = _contents(values)
        nodes, forks = len(x.recorder.builder.nodes), len(loop.forks)
        # a branch like others, should the code not come back
        outcome = self._fork(x, (frame.f_code, frame.f_lasti), node, test.stays)
        if outcome is test.stays and contents is not None:
            self._visits[place] = _Visit(frame, values, contents, node, nodes, forks, 1)
        return outcome

    def _finish(self, trace: Any, loop: _Open, predicate: int) -> bool:
        """End a way through a turn. After the last one, close the region and leave the loop
        with the results of its node.
        """
        frame = loop.visit.frame
        values = dict(frame.f_locals)
        for *_, then in loop.before:
            if not _all_same(values, then):
                raise self._refusal("leaves at several places")
        if values.keys() != loop.values.keys():
            raise self._refusal("sets or deletes a variable at some turns only")
        found, grown = [], []
        for name, param in zip(loop.names, loop.params[1:], strict=True):
            value = values.get(name)
            if not _may_be_carried(value) or _kind(value) != (param.type, param.origin):
                raise self._refusal(f"gives {name} another type at each turn")
            found.append(_as_tensor(trace, value))
        for name, value in values.items():
            start = loop.values[name]
            if name in loop.twins:
                if value is not values[loop.twins[name]]:
                    raise self._refusal("gives one array two names at some turns only")
                continue
            if name in loop.names or value is start or _same_plain(value, start):
                continue
            if not _may_be_carried(value) or not _may_be_carried(loop.visit.values[name]):
                raise self._refusal(f"changes {name}")
            if _kind(value) != _kind(loop.visit.values[name]):
                raise self._refusal(f"gives {name} another type at each turn")
            grown.append(name)
        contents = _contents(values)
        if contents is None or any(
            contents[name] != loop.contents[name]
            for name in values
            if name not in grown and name not in loop.names and name not in loop.twins
        ):
            raise self._refusal("changes what a variable holds")
        if _has_aliases(values, [*loop.names, *grown], loop.twins):
            raise self._refusal("gives one array two names")
        if grown:  # equal to what they were by chance
            self._drop(trace, trace.regions.starts.pop())
            self._forget_visits(frame)
            loop.names = [*loop.names, *grown]
            return self._begin(trace, loop)
        goes_on = self._stays(trace, predicate, loop.test.stays)
        for node, start, stays, _ in reversed(loop.before):
            goes_on = self._both(trace, self._stays(trace, node, stays), start, goes_on)
        results = tuple(trace.node_of(y) for y in (goes_on, *found))
        loop.ways.append(_Way(loop.pass_start, tuple(loop.forks), results))
        taken = [(fork.place, fork.outcome) for fork in loop.forks]
        if taken[: len(loop.planned)] != [(f.place, f.outcome) for f in loop.planned]:
            raise self._refusal("branches in another way each time")
        left = list(loop.forks)
        while left and left[-1].second:
            left.pop()
        if left:
            if len(loop.ways) >= MAX_WAYS:
                raise self._refusal("has too many ways through it")
            last = left.pop()
            other = _Fork(last.place, last.start, last.predicate, not last.outcome, True)
            loop.planned = [*left, other]
            self._forget_visits(frame)
            return self._begin_way(trace, loop)
        return self._close(trace, loop)

    def _close(self, trace: Any, loop: _Open) -> bool:
        """Append the node of a loop whose region is complete, and leave the loop."""
        frame, regions = loop.visit.frame, trace.regions
        outputs = self._joined(trace, loop, loop.ways, 0)
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
        for name in loop.names:  # the result may be it, and is to be what it becomes
            value = loop.visit.values[name]
            if isinstance(value, TensorBase) and value.type.shape:
                value.storage.shared = True  # type: ignore[attr-defined]
        results = trace.control(
            control.while_loop,
            [(region, [condition]), (region, outputs)],
            [first, *given],
            ["weak", *(p.origin for p in loop.params[1:])],
            carried=len(outputs),
        )
        for result in results:
            if result.type.shape:  # it may be what the loop began with: not to be written to
                result.storage.shared = True
        set_locals(frame, loop.with_twins(results[1:]))
        self._open.pop()
        self._forget_visits(frame)
        return not loop.test.stays

    def _joined(self, trace: Any, loop: _Open, ways: list[_Way], depth: int) -> list[Any]:
        """What a turn gives, by ways that have their first `depth` branches in common."""
        origins = ["weak", *(p.origin for p in loop.params[1:])]
        first = ways[0]
        if len(ways) == 1 and len(first.forks) == depth:
            pairs = zip(first.results, origins, strict=True)
            return [trace.symbol_of(node, origin) for node, origin in pairs]
        if any(len(w.forks) <= depth for w in ways):
            raise self._refusal("branches in another way each time")
        fork = first.forks[depth]
        if any(w.forks[depth].place != fork.place for w in ways):
            raise self._refusal("branches in another way each time")
        parts = []
        for outcome in (True, False):
            arm = [way for way in ways if way.forks[depth].outcome is outcome]
            if not arm:
                raise self._refusal("branches in another way each time")
            for way in arm:  # what comes before the branch is computed once, as in the first
                self._share(trace, first, way, depth)
            start = arm[0].forks[depth].start
            parts.append((Region(start, (), None), self._joined(trace, loop, arm, depth + 1)))
        selector = trace.symbol_of(fork.predicate, "weak")
        results: list[Any] = trace.control(control.cond, parts, [selector], origins)
        return results

    def _share(self, trace: Any, first: _Way, way: _Way, depth: int) -> None:
        """Let a way read the nodes before its branch that another way has, too."""
        if way is first:
            return
        nodes = trace.builder.nodes
        before = (first.start, *(f.start for f in first.forks[: depth + 1]))
        own = (way.start, *(f.start for f in way.forks[: depth + 1]))
        moved: dict[int, int] = {}
        low = own[0]
        for k in range(own[-1] - own[0]):
            moved[low + k] = before[0] + k
        if own[-1] - own[0] != before[-1] - before[0]:
            raise self._refusal("is recorded in another way each time")
        for k, new in moved.items():
            if (
                nodes[k].primitive is not nodes[new].primitive
                or nodes[k].type != nodes[new].type
            ):
                raise self._refusal("is recorded in another way each time")
        trace.forget_checks(own[0], own[-1])
        stop = max(way.results) + 1
        for number in range(own[-1], stop):
            node = nodes[number]
            if any(i in moved for i in node.inputs):
                inputs = tuple(moved.get(i, i) for i in node.inputs)
                nodes[number] = Node(
                    node.primitive, inputs, node.attrs, node.type, node.source, node.regions
                )

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

    def _refusal(self, what: str) -> LoopRefused:
        return LoopRefused(at_user_line(f"a turn of a loop {what}"))


def _kind(value: Any) -> Any:
    """The type of a value that can be carried, and whose rules hold for it."""
    if isinstance(value, TensorBase):
        return value.type, getattr(value, "origin", "tensor")
    if isinstance(value, (np.ndarray, np.generic)):
        from graphjit.core.types import as_dtype

        return TensorType(value.shape, as_dtype(value.dtype)), "numpy"
    from graphjit.core.types import as_dtype

    dtype = {bool: "bool", int: "int64", float: "float64", complex: "complex128"}[type(value)]
    return TensorType((), as_dtype(dtype)), "weak"


def _may_be_carried(value: Any) -> bool:
    """Whether a variable's value can be an operand of a loop: a number, or an array that was
    computed, so that nothing else is known to be it or a part of it.
    """
    kind = type(value)
    if issubclass(kind, Dim):
        return False
    if issubclass(kind, TensorBase):
        if value.recorder is None or value.is_selection:
            return False
        if value.origin == "weak":
            return True
        if not value.type.shape:
            classes = represented_classes(value)
            return len(classes) == 1 and classes[0] is not np.ndarray
        return value.origin != "numpy" or _is_computed(value)
    if kind is int:
        return bool(-(2**63) <= value < 2**63)
    if kind in _NUMBERS:
        return True
    if kind is np.ndarray:
        return value.dtype.kind in "biufc" and bool(value.shape)
    return issubclass(kind, np.generic) and value.dtype.kind in "biufc"


def _is_computed(value: Any) -> bool:
    """Whether an array is new, or one that a loop carries, and no view."""
    root = value.recorder.builder.nodes[value.node].primitive
    return value.provenance is None and root is not source.param


def _twins(names: Sequence[str], before: dict[str, Any], now: dict[str, Any]) -> dict[str, str]:
    """The names that are the same array as an earlier one, at both times."""
    found: dict[str, str] = {}
    for k, name in enumerate(names):
        if not issubclass(type(before[name]), TensorBase) or not before[name].type.shape:
            continue
        for other in names[:k]:
            if before[other] is before[name] and now[other] is now[name]:
                found[name] = other
                break
    return found


def _has_aliases(values: dict[str, Any], names: Sequence[str], twins: dict[str, str]) -> bool:
    """Whether a variable that is carried is an array that another variable is, too, or shares
    memory with, but for twins.
    """
    seen: dict[int, str] = {}
    for name, value in values.items():
        if not issubclass(type(value), TensorBase) or not value.type.shape or name in twins:
            continue
        other = seen.setdefault(id(getattr(value, "storage", value)), name)
        if other != name and (name in names or other in names):
            return True
    return False


def _as_tensor(trace: Any, value: Any) -> Any:
    if isinstance(value, TensorBase):
        return value.as_tensor()
    type, _ = _kind(value)
    return wrap(np.array(value, type.dtype.dtype))


def _same_plain(a: Any, b: Any) -> bool:
    """Whether two values are the same number or text."""
    if type(a) is not type(b) or type(a) not in (*_NUMBERS, str, bytes, type(None)):
        return False
    return bool(a == b) and repr(a) == repr(b)


def _all_same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(
        x is b[name] or _same_plain(x, b[name]) for name, x in a.items()
    )


def _node_changed(value: Any, content: Any) -> bool:
    """Whether an array is written to since its content was noted."""
    return issubclass(type(value), TensorBase) and (id(value), value.node) != content


def _contents(values: dict[str, Any]) -> dict[str, Any] | None:
    """What variables hold, to tell whether it is changed; None where that can't be seen."""
    room = [_ROOM]
    try:
        return {name: _content(value, room) for name, value in values.items()}
    except _Unseen:
        return None


class _Unseen(Exception):
    """A value whose contents can't be seen."""


def _content(value: Any, room: list[int]) -> Any:
    kind = type(value)
    if issubclass(kind, TensorBase):
        return id(value), getattr(value, "node", None)
    if kind in _UNCHANGING or isinstance(value, (type, np.ufunc, np.generic, np.dtype)):
        return id(value)
    room[0] -= 1
    if room[0] < 0:
        raise _Unseen
    if kind in (list, tuple, set, frozenset, deque, bytearray):
        return id(value), tuple(_content(x, room) for x in value)
    if kind is dict:
        pairs = ((_content(k, room), _content(x, room)) for k, x in value.items())
        return id(value), tuple(pairs)
    if kind is np.ndarray:
        if value.nbytes > _MAX_BYTES or value.dtype.hasobject:
            raise _Unseen
        return id(value), value.tobytes()
    if kind is BuiltinFunctionType:
        owner = value.__self__
        return id(value) if isinstance(owner, ModuleType) else _content(owner, room)
    if kind is MethodType:
        return id(value.__func__), _content(value.__self__, room)
    if kind is FunctionType:
        cells = [c.cell_contents for c in value.__closure__ or () if _is_set(c)]
        held = [cells, value.__defaults__, value.__kwdefaults__, vars(value)]
        return id(value), tuple(_content(x, room) for x in held)
    if kind.__module__ in ("builtins", "itertools", "functools", "_functools", "collections"):
        raise _Unseen
    if hasattr(kind, "__next__") or hasattr(kind, "__get__"):
        raise _Unseen
    if kind is not SimpleNamespace and any(map(_is_of_c, kind.__mro__[:-1])):
        raise _Unseen
    fields = dict(getattr(value, "__dict__", {}))
    for base in kind.__mro__:
        fields.update({n: getattr(value, n, None) for n in _slots(base)})
    return id(value), tuple((k, _content(x, room)) for k, x in fields.items())


def _is_of_c(kind: type) -> bool:
    """Whether objects of a class may hold more than their attributes."""
    package = kind.__module__.partition(".")[0]
    written = not kind.__flags__ & _HEAP_TYPE
    private = any(name.startswith("__") for name in _slots(kind))
    return written or private or package in ("numpy", "scipy", *sys.stdlib_module_names)


def _is_set(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _slots(kind: type) -> tuple[str, ...]:
    found = vars(kind).get("__slots__", ())
    return (found,) if isinstance(found, str) else tuple(found)


__all__ = ["LoopRefused", "WhileLoops"]
