"""Common-subexpression elimination."""

from __future__ import annotations

from typing import Any

from graphjit.ir import Graph, Rewriter
from graphjit.ops import source
from graphjit.values import dataclass

from .pipeline import Pass


@dataclass(frozen=True)
class Cse(Pass):
    """Compute equal nodes once. Equal constants are one constant."""

    name = "cse"

    def run(self, graph: Graph) -> Graph:
        """The graph with each later equal node replaced by the first."""
        rewriter = Rewriter(graph)
        seen: dict[Any, int] = {}
        for index, node in enumerate(graph.nodes):
            if node.primitive is source.param:
                rewriter.map[index] = rewriter.copy(index)
                continue
            inputs = tuple([rewriter.map[i] for i in node.inputs])
            if node.primitive.commutative:
                inputs = tuple(sorted(inputs))
            key = (node.primitive, inputs, node.attrs)
            found = seen.get(key)
            if found is None:
                found = seen[key] = rewriter.copy(index)
            rewriter.map[index] = found
        return rewriter.result()
