"""A tape inside a trace: which nodes of the trace it recorded, and the way back along them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphjit.core.frozen import dataclass
from graphjit.core.types import TupleType
from graphjit.ir.graph import Graph, GraphBuilder
from graphjit.ops import pointwise as pw
from graphjit.ops import source
from graphjit.tensors.apply import TensorBase

from .batching import batch_graph
from .inlining import checked
from .node_maker import has_cotangent
from .reverse import way_back


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Nodes between what is watched and targets, as a graph.

    operands: the nodes of the trace that are its parameters; moved: where its nodes come from
    """

    graph: Graph
    operands: list[int]
    moved: dict[int, int]


class TracedTape:
    """What was watched, and which nodes were recorded, in one trace."""

    def __init__(self, trace: Any) -> None:
        self.trace = trace
        # Where recording began and ended; the last is open while it goes on.
        self._intervals: list[list[int]] = []
        # By nodes that are watched: the first node that may depend on them.
        self._since: dict[int, int] = {}

    def start(self) -> None:
        """Record from here on."""
        self._intervals.append([len(self.trace.builder.nodes), -1])

    def stop(self) -> None:
        """Record no more."""
        self._intervals[-1][1] = len(self.trace.builder.nodes)

    def watch(self, x: TensorBase, from_start: bool = False) -> None:
        """Note what is computed of a tensor from now on, or since recording began."""
        node = self.trace.node_of(x)
        now = self._intervals[0][0] if from_start else len(self.trace.builder.nodes)
        self._since.setdefault(node, now - 1)

    def _derived(self) -> set[int]:
        """The nodes that were computed of what is watched."""
        nodes, since = self.trace.builder.nodes, self._since
        found = set[int]()
        for begin, end in self._intervals:
            for number in range(begin, len(nodes) if end < 0 else end):
                node = nodes[number]
                carries = isinstance(node.type, TupleType) or has_cotangent(node.type)
                if not carries or node.primitive is pw.stop_gradient:
                    continue
                if any(i in found or since.get(i, number) < number for i in node.inputs):
                    found.add(number)
        return found

    def _between(self, targets: Sequence[int], derived: set[int]) -> _Part:
        nodes = self.trace.builder.nodes
        needed, operands = set[int](), dict[int, None]()
        todo = list(targets)
        while todo:
            number = todo.pop()
            if number in needed:
                continue
            if number in derived:
                needed.add(number)
                todo += nodes[number].inputs
            elif nodes[number].primitive is source.const:
                needed.add(number)
            else:
                operands[number] = None
        builder, moved = GraphBuilder("tape"), dict[int, int]()
        for number in operands:
            moved[number] = builder.param(nodes[number].tensor)
        builder.extend(nodes, sorted(needed), moved)
        graph = builder.finish([moved[i] for i in targets])
        return _Part(graph, list(operands), moved)

    def pulled(
        self,
        targets: Sequence[TensorBase],
        seeds: Sequence[TensorBase],
        wanted: Sequence[TensorBase],
        count: Any = None,
    ) -> list[int | None]:
        """The nodes of cotangents of tensors, None for those on which no target depends. seeds:
        the cotangents of the targets. count: of how many cotangents along a first axis.
        """
        trace = self.trace
        derived = self._derived()
        depends = derived.union(self._since)
        ends = [trace.node_of(x) for x in targets]
        joined = [(n, seed) for n, seed in zip(ends, seeds, strict=True) if n in depends]
        part = self._between([n for n, _ in joined], derived)
        numbers = [trace.node_of(x) for x in wanted]
        reached = [
            n if n in part.moved and has_cotangent(trace.builder.nodes[n].type) else None
            for n in numbers
        ]
        sources = list(dict.fromkeys(n for n in reached if n is not None and n in depends))
        outside = [n for n in part.operands if n in sources]
        points = [n for n in sources if n not in outside]
        flags = [n in outside for n in part.operands]
        graph, moved = way_back(part.graph, flags, [part.moved[n] for n in points])
        given = [trace.node_of(seed) for _, seed in joined]
        if count is None:
            # what the trace has computed already is not computed again
            there = {moved[new]: old for old, new in part.moved.items() if new in moved}
            there = {
                new: old
                for new, old in there.items()
                if graph.nodes[new].type == trace.builder.nodes[old].type
            }
            ends_of = graph.params[len(part.operands) :]
            there |= dict(zip(ends_of, given, strict=True))
            trace.builder.extend(graph.nodes, range(len(graph.nodes)), there)
            found = [there[i] for i in graph.outputs]
        else:
            batched = [False] * len(part.operands) + [True] * len(given)
            batch, _ = batch_graph(graph, batched, count, [True] * len(graph.outputs))
            found = trace.builder.inline(batch, [*part.operands, *given])
        found = checked(trace, trace.checks_since(self._intervals[0][0]), found)
        by_source = dict(zip([*outside, *points], found, strict=True))
        return [None if n is None else by_source.get(n) for n in reached]


__all__ = ["TracedTape"]
