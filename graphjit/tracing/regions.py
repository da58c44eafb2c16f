"""Regions of a trace: the graphs that control flow runs.

A region's function runs like all other code of the trace, and records its nodes there. They
are then copied into a graph of their own. Its parameters are the region's own values, followed
by the outside nodes that it reads. The copied nodes stay behind in the trace, where nothing may
use them: `leaked_node` finds those that are used, and `compacted` drops them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from graphjit.core.frozen import dataclass
from graphjit.ir.graph import Graph, GraphBuilder, Node, Rewriter
from graphjit.ops import source

_SHARED_WITH_REGIONS = (
    source.const,
    source.param,
)  # nodes that a region shares with the graph around it


@dataclass(frozen=True)
class Region:
    """What a region's function recorded."""

    # Nodes before this one are from outside.
    start: int
    # The nodes of the region's own values.
    params: tuple[int, ...]
    # What the function gave.
    result: Any
    # The variables that it assigned, and that are not among what it gives.
    assigned: tuple[Any, ...] = ()


class Regions:
    """The regions of a trace, by its nodes."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        # Where the regions start whose functions run now, the innermost last.
        self.starts: list[int] = []
        # First and last node of the regions that ended.
        self.closed: list[tuple[int, int]] = []
        # Where those start that became part of a node. The others were tries.
        self.used: set[int] = set()
        # Where regions of control flow start whose functions run now, and what these assign.
        self.assigned: list[tuple[int, list[Any]]] = []

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Record a region in a `with` block; where it starts."""
        self.starts.append(len(self.nodes))
        self.assigned.append((self.starts[-1], []))
        try:
            yield self.starts[-1]
        finally:
            self.assigned.pop()
            self.closed.append((self.starts.pop(), len(self.nodes)))

    def note_assigned(self, variable: Any) -> bool:
        """Note that a variable is assigned; whether that is in a region of control flow, which
        hands on its value.
        """
        if not self.assigned or self.assigned[-1][0] != self.starts[-1]:
            return False
        noted = self.assigned[-1][1]
        if all(known.cell is not variable.cell for known in noted):
            noted.append(variable)
        return True

    def hand_on(self, variables: Sequence[Any]) -> None:
        """Note that the values of variables are among what the region gives."""
        noted = self.assigned[-1][1]
        cells = [variable.cell for variable in variables]
        noted[:] = [v for v in noted if all(v.cell is not cell for cell in cells)]

    def was_dropped(self, node: int) -> bool:
        """Whether a node is of a region that was only tried."""
        return any(
            first <= node < last and first not in self.used for first, last in self.closed
        )

    def is_outside(self, node: int) -> bool:
        """Whether a node is from outside of the region whose function runs."""
        return bool(self.starts) and node < self.starts[-1]

    def is_array_outside(self, x: Any) -> bool:
        """Whether an array is from outside of the region whose function runs: what was made
        there may have the elements of one that is.
        """
        if not self.starts:
            return False
        storage = x.storage
        taken = storage.shared and self.nodes[x.node].primitive is source.param
        return bool(taken or storage.made_at < self.starts[-1])

    def needed(self, region: Region, outputs: Iterable[int]) -> tuple[list[int], list[int]]:
        """The region's nodes that outputs need, and the outside nodes that those read, both in
        order. Constants of outside count as the region's.
        """
        inside: set[int] = set()
        outside: set[int] = set()
        todo = list(outputs)
        while todo:
            number = todo.pop()
            if number in inside or number in outside or number in region.params:
                continue
            node = self.nodes[number]
            if node.primitive is source.const:
                inside.add(number)
            elif number < region.start or node.primitive is source.param:
                outside.add(number)
            else:
                inside.add(number)
                todo += node.inputs
        return sorted(inside), sorted(outside)

    def graph(
        self,
        region: Region,
        outputs: Sequence[int],
        operands: Sequence[int],
        name: str,
        kept: Sequence[int] = (),
    ) -> Graph:
        """The region's graph. operands: the outside nodes that follow its own parameters. kept:
        nodes that it has though no output needs them.
        """
        builder, moved = GraphBuilder(name), dict[int, int]()
        for number in (*region.params, *operands):
            moved[number] = builder.param(self.nodes[number].tensor)
        builder.extend(self.nodes, self.needed(region, (*outputs, *kept))[0], moved)
        return builder.finish([moved[i] for i in outputs])

    def leaked_node(self, roots: Sequence[int], start: int = 0) -> int | None:
        """A node of an ended region, from `start` on, that a graph of these roots would use."""
        if not self.closed:
            return None
        todo, seen = list(roots), set[int]()
        while todo:
            number = todo.pop()
            if number in seen or number < start:
                continue
            seen.add(number)
            node = self.nodes[number]
            if node.primitive not in _SHARED_WITH_REGIONS and any(
                first <= number < last for first, last in self.closed if first >= start
            ):
                return number
            todo += node.inputs
        return None


def compacted(graph: Graph, kept: Sequence[int] = ()) -> Graph:
    """The graph without nodes that nothing needs, but for parameters. kept: nodes that stay
    though no output needs them.
    """
    rewriter = Rewriter(graph)
    live, todo = [False] * len(graph.nodes), [*graph.roots, *kept]
    while todo:
        number = todo.pop()
        if not live[number]:
            live[number] = True
            todo += graph.nodes[number].inputs
    for index, node in enumerate(graph.nodes):
        if live[index] or node.primitive is source.param:
            rewriter.map[index] = rewriter.copy(index)
    return rewriter.result()


__all__ = ["Region", "Regions", "compacted"]
