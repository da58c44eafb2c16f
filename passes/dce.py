"""Dead-code elimination."""

from __future__ import annotations

from dataclasses import dataclass

from graphjit.ir import Graph, Rewriter, reachable
from graphjit.ops import source

from .pipeline import Pass


@dataclass(frozen=True)
class Dce(Pass):
    """Drop nodes that no output and no variable update needs. Parameters stay."""

    name = "dce"

    def run(self, graph: Graph) -> Graph:
        """The graph without dead nodes."""
        live = reachable(graph)
        rewriter = Rewriter(graph)
        for index, node in enumerate(graph.nodes):
            if live[index] or node.primitive is source.param:
                rewriter.map[index] = rewriter.copy(index)
        return rewriter.result()
