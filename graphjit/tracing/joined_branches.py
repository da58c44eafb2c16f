"""Branches in the turns of loops whose ways are run one after the other, and joined where they
meet.

A turn is recorded once for each way through it (see `turn_ways`), which doubles with each
branch. Where the ways of a branch meet in the same code, both are run at once instead: at the
branch, the variables and the arrays are noted. Where the first way comes to the join, what it
changed is kept and put back, and the code jumps to the start of the other way. Where that one
comes to the join, what differs becomes the result of a `cond`, and the turn goes on with it.

What can't be joined (lists that get longer in one way only, objects that are changed, values of
two types) is refused: the function is traced again, with that branch as two ways of the turn.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import CodeType, FrameType
from typing import Any

import numpy as np

from graphjit.capture.hooks import AGAIN
from graphjit.capture.sources import MISSING
from graphjit.core.frozen import dataclass
from graphjit.ir.graph import Node
from graphjit.ops import PRIMITIVES, control
from graphjit.ops.primitive import Item, Source, View
from graphjit.tensors.apply import TensorBase

from .carried_values import (
    common_kind,
    is_record,
    join,
    kind_of,
    may_be_carried,
    parts_of,
    split,
)
from .grown_lists import GrownList, is_held_once
from .loop_nodes import goes_on_by
from .loop_tests import JoinNames, LoopTest
from .number_kinds import is_traced_array
from .open_loops import OpenLoop, Visit, key_of_place
from .regions import Region
from .stored_places import is_place
from .turn_changes import TurnChanges
from .turn_ways import JoinRefused, LoopRefused
from .variable_contents import contents_of, same_plain

# How many joined branches a turn may have: each is recorded once, with those that it is in.
MAX_JOINED = 400


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """What one way of a branch left.

    start, stop: its nodes; values: the variables of its frame; arrays: those written to, by
    their ids, with their nodes before and after it; lists: the state of those that grow; value:
    what it leaves on the stack; failing: nodes of bools that say whether Python is to run
    """

    start: int
    stop: int
    values: dict[str, Any]
    arrays: dict[int, tuple[Any, int, int]]
    lists: list[tuple[list[Any], Any]]
    value: Any
    failing: list[tuple[int, bool]]


class BothWays:
    """A branch whose ways are being run.

    place: where it is; key: the same for other traces; written, forks, failing: how many there
    were of each; start: the first node of the way that runs; kept: what was on the stack that
    the ways take
    """

    def __init__(self, trace: Any, frame: FrameType, number: int, key: Any, node: int) -> None:
        self.trace, self.frame, self.number = trace, frame, number
        self.key, self.node = key, node
        self.place = frame.f_code, frame.f_lasti
        self.outcome = self.first_outcome = True
        self.values: dict[str, Any] = {}
        self.variables: dict[int, Any] = {}
        self.contents: dict[str, Any] = {}
        self.fields: frozenset[tuple[int, Any]] = frozenset()
        self.lists: list[tuple[GrownList, list[Any], Any]] = []
        self.written = self.forks = self.failing = self.start = self.nodes = 0
        self.first: _Way | None = None
        self.kept: tuple[Any, ...] = ()


class JoinedTest:
    """A traced value that decides about a branch whose ways can be joined."""

    __slots__ = ("_first", "_kept", "_number", "_value")

    def __init__(self, value: Any, number: int, first: bool, kept: tuple[Any, ...]) -> None:
        self._value, self._number, self._first, self._kept = value, number, first, kept

    def __bool__(self) -> bool:
        value, frame = self._value, sys._getframe(1)
        branches = value.recorder.branches
        which = self._number, self._first, self._kept
        outcome: bool | None = branches.joined_outcome(value, frame, which)
        return value.decided(outcome, frame)  # type: ignore[no-any-return]


# Of a branch outside of loops, which is seen as a loop is.
_NO_TEST = LoopTest(-2, -2, True, False, False, -1, frozenset(), frozenset(), frozenset())


class JoinedBranches(TurnChanges):
    """The branches of one trace whose ways are joined."""

    def __init__(self) -> None:
        super().__init__()
        # Branches, by keys, whose ways aren't to be joined, those that were, and those that
        # were open when the trace ended.
        self.unjoined: set[Any] = set()
        self.joined: set[Any] = set()
        self.left_unjoined: list[Any] = []
        # Whether branches outside of loops are joined, too, which are paths else.
        self.joins_paths = False
        # Whether there were more branches than a path may have.
        self.too_many_paths = False
        # The node after the last join.
        self._last_join = -1
        self._names: dict[CodeType, JoinNames] = {}

    def joined_test(self, value: Any, number: int, first: bool, kept: tuple[Any, ...]) -> Any:
        """What decides about a branch in place of a value."""
        traced = issubclass(type(value), TensorBase) and value.recorder is not None
        if not traced or value.is_selection or value.is_mixed:
            return value
        if self._replay is not None or not (self._open or self.joins_paths):
            return value
        return JoinedTest(value, number, first, kept)

    def kept_below(self) -> tuple[Any, ...]:
        """What was on the stack at the branch whose other way begins."""
        found: tuple[Any, ...] = self._open[-1].both_ways[-1].kept
        return found

    def begin_ways(
        self,
        trace: Any,
        frame: FrameType,
        which: tuple[int, bool, tuple[Any, ...]],
        predicate: Callable[[], int],
    ) -> bool | None:
        """Begin to run both ways of a branch: the outcome of the first one; None where they
        can't be joined. which: its number, that outcome, what it takes from the stack.
        """
        if self._replay is not None or not (self._open or self.joins_paths):
            return None
        code = frame.f_code
        number, first, kept = which
        where = code.co_linetable if code.co_name.startswith("<") else b""
        key = code.co_filename, code.co_firstlineno, code.co_name, where, number
        if key in self.unjoined or self._raises(frame):
            return None
        if self._open and self._open[-1].joined >= MAX_JOINED:
            return None
        names = self._names.get(code)
        if names is None:
            names = self._names[code] = JoinNames(code)
        if not names.is_known:
            return None
        both = BothWays(trace, frame, number, key, predicate())
        both.outcome = both.first_outcome = first
        both.kept = kept
        both.values = self.stored.all_of(frame)
        seen = names.names(number)[0].union(code.co_cellvars, code.co_freevars)
        held = {n: x for n, x in both.values.items() if n in seen or is_place(n)}
        both.fields = self.stored.fields(frame, both.values)
        contents = contents_of(held, both.fields)
        if contents is None:
            return None
        both.contents = contents
        both.lists = [
            (x, list(x.buffers), x.length) for x in held.values() if type(x) is GrownList
        ]
        both.variables = trace.variables_now()
        both.written = len(self.written)
        both.start = both.nodes = len(trace.builder.nodes)
        if not self._open:
            self._open_branch(both)
        loop = self._open[-1]
        both.forks, both.failing = len(loop.forks), len(loop.left_to_python)
        loop.both_ways.append(both)
        self.joined.add(key)
        loop.joined += 1
        return first

    def _open_branch(self, both: BothWays) -> None:
        """Let what a branch outside of loops does be seen as what a turn does."""
        visit = Visit(
            both.frame, dict(both.values), dict(both.contents), -1, both.nodes, 0,
            both.written, None, 0, self._noted, {}, both.fields,
        )  # fmt: skip
        branch = OpenLoop(visit, None, _NO_TEST, [])
        branch.values, branch.contents, branch.fields = (
            visit.values,
            visit.contents,
            both.fields,
        )
        self._turns += 1
        branch.turn, branch.start, branch.pass_start = self._turns, both.nodes, both.nodes
        both.trace.regions.starts.append(both.nodes)
        self._open.append(branch)

    def _close_branch(self, both: BothWays) -> None:
        """Go on after a branch outside of loops."""
        self._open.pop()
        both.trace.regions.starts.pop()
        self._visits = {
            key: visit for key, visit in self._visits.items() if visit.nodes < both.nodes
        }

    def _raises(self, frame: FrameType) -> bool:
        """Whether only an error follows one of the outcomes."""
        place = key_of_place((frame.f_code, frame.f_lasti))
        return any((place, outcome) in self.raising for outcome in (True, False))

    def at_join(self, frame: FrameType, number: int, value: Any = None) -> Any:
        """The ways of a branch meet: AGAIN where the other one is to be run now, else the
        value that they leave.
        """
        if not self._open or self._replay is not None:
            return value
        loop = self._open[-1]
        both = loop.both_ways[-1] if loop.both_ways else None
        if both is None or both.frame is not frame or both.number != number:
            return value
        if len(loop.forks) != both.forks:
            raise JoinRefused("branches in a way of a branch", [both.key])
        trace = both.trace
        way = self._end_of_way(trace, loop, both, value)
        if both.first is None:
            both.first, both.outcome = way, not both.first_outcome
            both.start = len(trace.builder.nodes)
            self._put_back(both, way)
            return AGAIN
        loop.both_ways.pop()
        if loop.test is not _NO_TEST or loop.both_ways:
            return self._merge(trace, loop, both, both.first, way)
        self._close_branch(both)
        found = self._merge(trace, loop, both, both.first, way)
        loop.visit.values.clear()
        for node, _ in loop.left_to_python:
            if trace.branches.ask(trace.symbol_of(node, "weak"), ("error", both.key)):
                self._refuse_join(both, "raises")
        return found

    # -- one way

    def _end_of_way(self, trace: Any, loop: OpenLoop, both: BothWays, value: Any) -> _Way:
        """What a way left; JoinRefused where it did what can't be joined."""
        values = self.stored.all_of(both.frame)
        lists = [(list(x.buffers), x.length) for x, _, _ in both.lists]
        for x, buffers, length in both.lists:
            x.buffers, x.length = list(buffers), length
        held = {n: both.values[n] for n in both.contents}
        contents = contents_of(held, both.fields)
        changed = [n for n in held if contents is None or contents[n] != both.contents[n]]
        if changed:
            arrays = [held[n] for n in changed if type(held[n]) is np.ndarray]
            if len(arrays) == len(changed) and any([self.note_array(x) for x in arrays]):
                raise LoopRefused("writes into an array of known values")
            self._refuse_join(both, f"changes what {changed[0]} holds")
        if set(filter(is_place, values)) != set(filter(is_place, both.values)):
            self._refuse_join(both, "stores in another place")
        if trace.variables_changed(both.variables):
            self._refuse_join(both, "assigns a variable")
        written = self._written_since(both.written, both.nodes)
        arrays_now = {id(x): (x, node, x.node) for x, node in written}
        failing = loop.left_to_python[both.failing :]
        del loop.left_to_python[both.failing :]
        stop = len(trace.builder.nodes)
        return _Way(both.start, stop, values, arrays_now, lists, value, failing)

    def _refuse_join(self, both: BothWays, what: str) -> None:
        raise JoinRefused(f"{what} in one way of a branch", [both.key])

    def _put_back(self, both: BothWays, way: _Way) -> None:
        """Let variables and arrays be what they were at the branch."""
        names = self._names[both.frame.f_code].names(both.number)[1]
        cells = both.frame.f_code.co_cellvars
        if any(n in names or n in cells for n in way.values.keys() - both.values.keys()):
            self._refuse_join(both, "sets a variable")
        if both.values.keys() - way.values.keys():
            self._refuse_join(both, "deletes a variable")
        for array, node, _ in way.arrays.values():
            array.rebase(node)
        changed = {n: x for n, x in both.values.items() if way.values[n] is not x}
        self.stored.set(both.frame, changed)

    # -- both ways

    def _merge(self, trace: Any, loop: OpenLoop, both: BothWays, a: _Way, b: _Way) -> Any:
        """Go on with what both ways left."""
        if not both.first_outcome:
            a, b = b, a  # `a` is the way of True from here on
        merge = _Merge(trace, both, a, b)
        self._merge_variables(merge, loop, a, b)
        value = None
        if a.value is not b.value and not same_plain(a.value, b.value):
            value = merge.values(a.value, b.value)
        arrays = self._merge_arrays(merge, a, b)
        lists = []
        for (x, _, _), one, other in zip(both.lists, a.lists, b.lists, strict=True):
            same = one[1] is other[1]
            same = same and all(p is q for p, q in zip(one[0], other[0], strict=True))
            if same:
                x.buffers, x.length = list(one[0]), one[1]
            else:
                kind = kind_of(x)
                pair = [[*y[0], y[1]] for y in (one, other)]
                lists.append((x, merge.parts(kind, *pair)))
        failing = None
        if a.failing or b.failing:
            flags = [_any_of(trace, way.failing) for way in (a, b)]
            failing = merge.parts((flags[0].type, "weak"), [flags[0]], [flags[1]])
        merge.finish()
        regions = trace.regions
        regions.closed += [(way.start, way.stop) for way in (a, b)]
        self._last_join = len(trace.builder.nodes)
        self._set_merged(both, merge, a, b)
        for array, result in arrays:
            array.rebase(next(result()).node)
        for x, result in lists:
            *buffers, length = result()
            x.buffers, x.length = buffers, trace.as_weak(length)
            trace.note_bounds(x.length, 0, x.room)
        if failing is not None:
            loop.left_to_python.append((next(failing()).node, True))
        found = b.value if value is None else join(trace, value[0], value[1]())
        # nothing is to hold these variables that the code doesn't
        merge.release()
        for values in (both.values, a.values, b.values):
            values.clear()
        return found

    def _is_only(self, value: Any, both: BothWays, loop: OpenLoop, a: _Way, b: _Way) -> bool:
        """Whether an array that was there before a branch is one variable's alone."""
        if not is_traced_array(value):
            return False
        frame = both.frame
        found: list[Any] = [both.values, a.values, b.values, frame.f_locals]
        found += [*self.stored.holders(), *self.stored.cells(frame)]
        found += [visit.values for visit in self._visits.values()]
        for each in [*self._open, loop]:
            found += [each.values, each.visit.values, each.visit.frame.f_locals]
            found += [x for other in each.both_ways for x in _values_of(other)]
        return is_held_once(value, frame, found, both.values)

    def _merge_variables(self, merge: _Merge, loop: OpenLoop, a: _Way, b: _Way) -> None:
        both, code = merge.both, merge.both.frame.f_code
        live = self._names[code].names(both.number)[2]
        wanted = live.union(code.co_cellvars, code.co_freevars)
        for name in dict.fromkeys([*a.values, *b.values]):
            x, y = a.values.get(name, MISSING), b.values.get(name, MISSING)
            if x is y or same_plain(x, y):
                continue
            if name in wanted or is_place(name):
                if x is MISSING or y is MISSING:
                    self._refuse_join(both, f"sets {name}")
                start = both.values.get(name)
                kept = start is x or start is y
                alone = start if kept and self._is_only(start, both, loop, a, b) else None
                merge.variables[name] = merge.values(x, y, name, alone)
            else:
                merge.dead.append(name)

    def _set_merged(self, both: BothWays, merge: _Merge, a: _Way, b: _Way) -> None:
        values: dict[str, Any] = {name: both.values.get(name) for name in merge.dead}
        for name, (kind, result) in merge.variables.items():
            values[name] = join(merge.trace, kind, result())
        self.stored.set(both.frame, values)

    def _merge_arrays(self, merge: _Merge, a: _Way, b: _Way) -> list[tuple[Any, Any]]:
        """The arrays that a way wrote to, with what gives their elements."""
        found = []
        for number, (array, before, _) in {**a.arrays, **b.arrays}.items():
            nodes = [way.arrays.get(number, (array, before, before))[2] for way in (a, b)]
            if nodes[0] != nodes[1]:
                pair = [[merge.trace.symbol_of(node, array.origin)] for node in nodes]
                kind = merge.trace.builder.nodes[nodes[0]].tensor, array.origin
                found.append((array, merge.parts(kind, *pair)))
            else:
                array.rebase(nodes[0])
        return found


class _Merge:
    """What becomes the results of a `cond`."""

    def __init__(self, trace: Any, both: BothWays, a: _Way, b: _Way) -> None:
        self.trace, self.both, self._ways = trace, both, (a, b)
        self.variables: dict[str, tuple[Any, Callable[[], Any]]] = {}
        self.dead: list[str] = []
        self._outputs: tuple[list[Any], list[Any]] = [], []
        self._origins: list[str] = []
        self._results: list[Any] = []

    def values(
        self, x: Any, y: Any, name: str = "", alone: Any = None
    ) -> tuple[Any, Callable[[], Any]]:
        """Have the value of each way among the results: its kind, and what gives its parts.

        alone: what the variable was at the branch, if nothing else is that array
        """
        what = f"gives {name or 'a value'} another type"
        for value, way in zip((x, y), self._ways, strict=True):
            free = not is_record(value) or type(value) is tuple
            if type(value) is GrownList or not free or not may_be_carried(value):
                raise JoinRefused(f"{what} in one way of a branch", [self.both.key])
            if value is not alone and not self._is_new(value, way):
                what = f"gives {name or 'a value'} an array that others may know"
                raise JoinRefused(f"{what} in one way of a branch", [self.both.key])
        kind = common_kind(kind_of(x), kind_of(y), [x, y])
        if kind is None:
            raise JoinRefused(f"{what} in one way of a branch", [self.both.key])
        pair = [split(self.trace, value, kind) for value in (x, y)]
        return kind, self.parts(kind, *pair)

    def _is_new(self, value: Any, way: _Way) -> bool:
        """Whether a value is no array, or one that a way computed."""
        if type(value) is tuple:
            return all(self._is_new(x, way) for x in value)
        if type(value) is np.ndarray or not isinstance(value, TensorBase):
            return type(value) is not np.ndarray
        if not is_traced_array(value):
            return not value.is_selection
        array: Any = value
        node: Node = self.trace.builder.nodes[array.node]
        held = array.storage.handles()
        if array.storage.made_at < way.start or any(h is not array for h in held):
            return False
        if isinstance(node.primitive.kind, Item):  # of a branch or loop in the way
            return bool(array.node >= way.start)
        computed = not isinstance(node.primitive.kind, (Source, View))
        return computed and bool(array.node >= way.start)

    def parts(self, kind: Any, one: Sequence[Any], other: Sequence[Any]) -> Callable[[], Any]:
        """Have arrays of each way among the results; what gives them then, in order."""
        first = len(self._origins)
        self._outputs[0].extend(one)
        self._outputs[1].extend(other)
        self._origins += [origin for _, origin in parts_of(kind)]
        last = len(self._origins)
        return lambda: iter(self._results[first:last])

    def release(self) -> None:
        """Refer to no array any more."""
        self.variables.clear()
        for arrays in (*self._outputs, self._results):
            arrays.clear()

    def finish(self) -> None:
        """Append the node."""
        if not self._origins:
            return
        trace = self.trace
        regions = [
            (Region(way.start, (), None), found)
            for way, found in zip(self._ways, self._outputs, strict=True)
        ]
        selector = trace.symbol_of(self.both.node, "weak")
        bounds = [
            tuple(trace.bounds_of(x) for x in pair) for pair in zip(*self._outputs, strict=True)
        ]
        self._results += trace.control(control.cond, regions, [selector], self._origins)
        for result, (a, b) in zip(self._results, bounds, strict=True):
            if a is not None and b is not None:
                trace.note_bounds(result, min(a[0], b[0]), max(a[1], b[1]))


def _values_of(both: BothWays) -> list[Any]:
    return [both.values, *([] if both.first is None else [both.first.values])]


def _any_of(trace: Any, failing: Sequence[tuple[int, bool]]) -> Any:
    """Whether one of several conditions holds: nodes of bools, with the outcomes meant."""
    builder = trace.builder
    found = builder.const(np.zeros((), np.bool_))
    for node, outcome in failing:
        holds = trace.node_of(goes_on_by(trace, node, outcome))
        found = builder.add(PRIMITIVES["logical_or"], (found, holds))
    return trace.symbol_of(found, "weak")


__all__ = ["JoinedBranches", "JoinedTest"]
