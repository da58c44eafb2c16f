"""Dead-code elimination."""

from __future__ import annotations

from graphjit.core.frozen import dataclass
from graphjit.ir.graph import Graph, Rewriter, reachable
from graphjit.ops import source

from .pipeline import Pass


def compact(graph: Graph) -> tuple[Graph, list[int]]:
    """The graph without dead nodes, and the old number of each node. Parameters stay."""
    live = reachable(graph)
    if all(live):
        return graph, list(range(len(graph.nodes)))
    rewriter = Rewriter(graph)
    kept = []
    for index, node in enumerate(graph.nodes):
        if live[index] or node.primitive is source.param:
            rewriter.map[index] = rewriter.copy(index)
            kept.append(index)
    return rewriter.result(), kept


@dataclass(frozen=True)
class Dce(Pass):
    """Drop nodes that no output and no variable update needs. Parameters stay."""

    name = "dce"

    def run(self, graph: Graph) -> Graph:
        """The graph without dead nodes."""
        return compact(graph)[0]
