"""Branches on traced values: Python takes the one that this call takes, and the graph requires
it of each call.

What a traced value is in the call that is traced is computed from the call's arrays, by NumPy.
Everything after the branch becomes the region of an `assume` node: a call for which the branch
goes the other way runs none of it, and looks for the specialization of another path.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.errors import InternalError, SourceLine, user_line
from graphjit.core.extents import evaluate
from graphjit.core.frozen import dataclass
from graphjit.core.types import TensorType, TupleType, as_dtype
from graphjit.ir.graph import Graph, GraphBuilder, Node
from graphjit.ir.interpreter import run, run_control, run_primitive
from graphjit.ops import PRIMITIVES, control, source
from graphjit.ops.primitive import Control, Source

from .python_loops import PythonLoops
from .regions import Region
from .turn_ways import LoopRefused

if TYPE_CHECKING:
    from types import FrameType

# How often a path may branch on one line, and in all: a loop that runs while a traced condition
# holds would be written out turn by turn.
MAX_AT_LINE, MAX_IN_PATH = 6, 24
# How many turns of a loop NumPy runs to see what it gives: each takes it some 100 microseconds,
# and compiling some 100 milliseconds.
MAX_TURNS_OF_NUMPY = 300


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch that was taken.

    start: the nodes from this one on were recorded after it
    predicate: the node of the bool that decided, which was `outcome`
    """

    start: int
    predicate: int
    outcome: bool
    source: SourceLine | None


class _Unknown(Exception):
    """A value that isn't known while the function is traced."""


class Branches:
    """The branches on traced values of one trace."""

    def __init__(self) -> None:
        self.taken: list[Branch] = []
        self.enabled = False
        # Whether an integer of Python's may leave 64 bits, in which case Python is to run.
        self.may_need_python = False
        # Whether the function handles errors that compiled code may find.
        self.has_handlers = False
        # Whether there are lists that have room for so many items only.
        self.has_rooms = False
        # Whether there are texts of traced values.
        self.has_texts = False
        # Whether lists that loops make longer got arrays that others may know.
        self.listed_given = False
        # The arrays that are items of such lists.
        self.in_lists: list[Any] = []
        self.loops = PythonLoops()
        # Runs a graph as machine code.
        self.run_compiled: Callable[[Graph, Sequence[Any]], Any] = _no_code
        # By nodes: how to get the values of parameters, and those that were computed.
        self._given: dict[int, Callable[[], Any]] = {}
        self._values: dict[int, Any] = {}
        self._outcomes: dict[int, bool] = {}
        self._at_lines: Counter[SourceLine | None] = Counter()

    def know(self, node: int, value: Callable[[], Any]) -> None:
        """Note what a parameter is in the call that is traced."""
        self._given[node] = value

    def release(self) -> None:
        """Refer to no array any more."""
        self._given.clear()
        self.in_lists.clear()
        self._values.clear()
        self.loops.release()

    def outcome(self, x: Any, frame: FrameType | None = None, steps: Any = None) -> bool | None:
        """Whether a value is true in the call that is traced, which each call has to agree
        with. None where that isn't known, or there are too many branches.

        frame: what asks, the caller's caller if None. steps: the iterator that asks whether it
        has one more item
        """
        trace = x.recorder
        if not self.enabled or not _is_one(x.type):
            return None
        if trace.regions.starts and not self.loops.is_open:
            return None
        frame = frame or sys._getframe(2)
        turn = self.loops.outcome(
            x, frame, self, lambda: _predicate(trace, x.node, x.type), steps
        )
        if turn is not None:
            return turn
        if not _depends_on_parameters(trace, x.node):
            return None if trace.sizes.hints else self._found(x)
        return self._taken_on(x, frame, steps)

    def joined_outcome(
        self, x: Any, frame: FrameType, which: tuple[int, bool, tuple[Any, ...]]
    ) -> bool | None:
        """The same for a branch whose ways can be run one after the other, where they meet in
        the same code. which: as `JoinedBranches.begin_ways` has it.
        """
        trace, loops = x.recorder, self.loops
        joins = loops.records_turn or (loops.joins_paths and not trace.regions.starts)
        if self.enabled and joins and _is_one(x.type) and not trace.closed:
            if not loops.records_turn and not _depends_on_parameters(trace, x.node):
                return self.outcome(x, frame)
            loops.count_asked()
            found = loops.begin_ways(
                trace, frame, which, lambda: _predicate(trace, x.node, x.type)
            )
            if found is not None:
                return found
        return self.outcome(x, frame)

    def ask(self, flag: Any, place: Any) -> bool:
        """Whether a bool is true that nobody but the trace asks for: a branch. TracingError
        where that can't be. place: what asks.
        """
        trace, loops = flag.recorder, self.loops
        if flag.recorder is None:
            return bool(flag.numpy())
        if trace.closed:
            return True
        if loops.is_open:
            return loops.ask(trace, flag.node, place)
        found = None if trace.regions.starts else self._taken_on(flag, None)
        if found is None:
            raise flag._needs_value(f"the {place[0]}")
        return found

    def goes_on_once(self, trace: Any, loop: int) -> bool:
        """Whether a loop goes on after its first turn in the call that is traced."""
        try:
            inputs = [self._value(trace, i) for i in trace.builder.nodes[loop].inputs]
            node = _known_node(trace.builder.nodes[loop])
            test, body = node.regions
            carried = node.attr("carried")
            state = [*run(body, inputs)[0], *inputs[carried:]]
            ((goes_on,), _) = run(test, state)
            return bool(goes_on)
        except InternalError:
            raise
        except Exception:  # which an eager call raises, too
            return False

    def _found(self, x: Any) -> bool | None:
        """Whether a value is true in the call that is traced; None where that isn't known."""
        try:
            return bool(self._value(x.recorder, x.node).reshape(())[()])
        except InternalError:
            raise
        except Exception:  # an error is for an eager call to raise
            return None

    def decide(self, x: Any, place: Any) -> bool:
        """Whether a bool is true where no code of the user's asks for it. place: what asks.
        Raises LoopRefused where that isn't known.
        """
        if self.loops.records_turn:
            return self.loops.decide(x.recorder, x.node, place)
        found = self._taken_on(x, None)
        if found is None:
            raise LoopRefused("leaves for several places")
        return found

    def _taken_on(self, x: Any, frame: FrameType | None, steps: Any = None) -> bool | None:
        """The outcome of a branch that is to be taken; None where it isn't known, or there are
        too many.
        """
        trace, line = x.recorder, user_line()
        if x.node in self._outcomes:
            return self._outcomes[x.node]
        if len(self.taken) >= MAX_IN_PATH or self._at_lines[line] >= MAX_AT_LINE:
            self.loops.too_many_paths = True
            return None
        found = self._found(x)
        if found is None:
            return None
        predicate = _predicate(trace, x.node, x.type)
        self._at_lines[line] += 1
        self._outcomes[x.node] = found
        self.taken.append(Branch(len(trace.builder.nodes), predicate, found, line))
        self.loops.note(frame, predicate, self, len(trace.builder.nodes), steps)
        return found

    def forget_outcomes(self) -> None:
        """Ask anew for what branches were taken on."""
        known = {branch.predicate for branch in self.taken}
        self._outcomes = {n: found for n, found in self._outcomes.items() if n in known}
        self._at_lines = Counter(branch.source for branch in self.taken)

    # -- values

    def _value(self, trace: Any, wanted: int) -> Any:
        """The value of a node, or a tuple of values. Raises _Unknown."""
        nodes, values = trace.builder.nodes, self._values
        todo = [wanted]
        while todo:
            number = todo[-1]
            if number in values:
                todo.pop()
                continue
            missing = [i for i in nodes[number].inputs if i not in values]
            if missing:
                todo += missing
                continue
            values[number] = self._computed(nodes[number], number)
            todo.pop()
        return values[wanted]

    def _computed(self, node: Node, number: int) -> Any:
        if node.primitive is source.const:
            return node.attr("value").array
        if node.primitive is source.extent:
            return np.asarray(_known(node.attr("value")), node.tensor.dtype.dtype)
        if isinstance(node.primitive.kind, Source):
            if number not in self._given:
                raise _Unknown
            return self._given[number]()
        inputs = [self._values[i] for i in node.inputs]
        if isinstance(node.primitive.kind, Control):
            known = _known_node(node)
            try:
                with control.limited_turns(MAX_TURNS_OF_NUMPY):
                    return run_control(known, inputs)
            except control.TooManyTurns:
                return self.run_compiled(_graph_of(known, inputs), inputs)
        if inputs and isinstance(inputs[0], tuple):
            inputs = [inputs[0]]
        return run_primitive(
            node.primitive, inputs, _known(node.type), _known(dict(node.attrs))
        )

    # -- the graph

    def nested(self, trace: Any, roots: Sequence[int]) -> tuple[list[int], list[int]]:
        """The nodes of a graph's results, where what follows each branch is in its region, and
        the node of the first branch, which is computed though no result may need it.
        """
        found = list(roots)
        kept: list[int] = []
        for number, branch in reversed(list(enumerate(self.taken))):
            region = Region(branch.start, (), None)
            inside = [k for k, root in enumerate(found) if _is_after(trace, root, branch.start)]
            outputs = list(dict.fromkeys(found[k] for k in inside))
            operands = trace.regions.needed(region, (*outputs, *kept))[1]
            graph = trace.regions.graph(region, outputs, operands, f"path_{number}", kept)
            node = trace.builder.add(
                control.assume,
                (branch.predicate, *operands),
                branch.source,
                (graph,),
                holds=branch.outcome,
            )
            items = {
                output: trace.builder.add(source.item, (node,), branch.source, index=k)
                for k, output in enumerate(outputs)
            }
            for k in inside:
                found[k] = items[found[k]]
            kept = [node]
        return found, kept


def _no_code(graph: Graph, inputs: Sequence[Any]) -> Any:
    raise _Unknown


def _graph_of(node: Node, inputs: Sequence[Any]) -> Graph:
    """A graph that is one node of control flow, whose operands are its parameters."""
    builder = GraphBuilder("loop")
    numbers = [builder.param(TensorType(x.shape, as_dtype(x.dtype))) for x in inputs]
    made = builder.append(
        Node(node.primitive, tuple(numbers), node.attrs, node.type, node.source, node.regions)
    )
    assert isinstance(node.type, TupleType)
    return builder.finish(
        [builder.add(source.item, (made,), index=k) for k in range(len(node.type.items))]
    )


def _is_after(trace: Any, node: int, start: int) -> bool:
    return node >= start and trace.builder.nodes[node].primitive is not source.param


def _depends_on_parameters(trace: Any, node: int) -> bool:
    """Whether a value isn't the same for all calls of the same sizes. What sizes alone decide
    is a guard on them.
    """
    todo, seen = [node], set[int]()
    while todo:
        number = todo.pop()
        if number not in seen:
            seen.add(number)
            record = trace.builder.nodes[number]
            if record.primitive is source.param:
                return True
            todo += record.inputs
    return False


def _predicate(trace: Any, node: int, type: TensorType) -> int:
    """The node of whether a value is true."""
    builder, line = trace.builder, user_line()
    if not type.dtype.is_bool:
        zero = builder.const(np.zeros(type.shape, type.dtype.dtype), line)
        node = builder.add(PRIMITIVES["ne"], (node, zero), line)
    if type.shape:
        node = builder.add(PRIMITIVES["reshape"], (node,), line, shape=())
    return node


def _known(value: Any) -> Any:
    """An attribute or type with the sizes of this call for its extents."""
    if isinstance(value, Dim):
        return evaluate(value, value.sizes.hints)
    if isinstance(value, TensorType):
        return TensorType(_known(value.shape), value.dtype)
    if isinstance(value, TupleType):
        return TupleType(_known(value.items))
    if type(value) is tuple:
        return tuple(map(_known, value))
    if type(value) is dict:
        return {name: _known(x) for name, x in value.items()}
    return value


def _known_node(node: Node) -> Node:
    """A node with the sizes of this call for extents, in its regions, too."""
    if node.primitive is source.extent:
        value = np.asarray(_known(node.attr("value")), node.tensor.dtype.dtype)
        attrs: Any = (("value", source.Literal(value)),)
        return Node(source.const, (), attrs, node.type, node.source)
    attrs = tuple([(name, _known(x)) for name, x in node.attrs])
    regions = tuple(
        Graph(r.name, tuple(map(_known_node, r.nodes)), r.outputs) for r in node.regions
    )
    return Node(node.primitive, node.inputs, attrs, _known(node.type), node.source, regions)


def _is_one(type: TensorType) -> bool:
    """Whether a value has one element, for all sizes."""
    return all(not isinstance(n, Dim) and n == 1 for n in type.shape)


__all__ = ["MAX_AT_LINE", "MAX_IN_PATH", "Branch", "Branches"]
