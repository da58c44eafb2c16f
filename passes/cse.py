"""Common-subexpression elimination."""

from __future__ import annotations

from typing import Any

from graphjit.core.frozen import dataclass
from graphjit.ir.graph import Graph, Node, Rewriter
from graphjit.ops import source

from .pipeline import Pass


@dataclass(frozen=True)
class Cse(Pass):
    """Compute equal nodes once. Equal constants are one constant."""

    name = "cse"

    def run(self, graph: Graph) -> Graph:
        """The graph with each later equal node replaced by the first."""
        seen: dict[Any, int] = {}
        first = self._find_first_repeated(graph, seen)
        if first == len(graph.nodes):
            return graph
        rewriter = Rewriter(graph)
        rewriter.keep(first)
        for index in range(first, len(graph.nodes)):
            node = graph.nodes[index]
            if node.primitive is source.param:
                rewriter.map[index] = rewriter.copy(index)
                continue
            key = _key(node, tuple([rewriter.map[i] for i in node.inputs]))
            found = seen.get(key)
            if found is None:
                found = seen[key] = rewriter.copy(index)
            rewriter.map[index] = found
        return rewriter.result()

    def _find_first_repeated(self, graph: Graph, seen: dict[Any, int]) -> int:
        """The first node that equals an earlier one. Nodes before it go into `seen`."""
        for index, node in enumerate(graph.nodes):
            if node.primitive is not source.param and (
                seen.setdefault(_key(node, node.inputs), index) != index
            ):
                return index
        return len(graph.nodes)


def _key(node: Node, inputs: tuple[int, ...]) -> Any:
    """What makes two nodes of these inputs equal."""
    if node.primitive.commutative:
        inputs = tuple(sorted(inputs))
    return node.primitive, inputs, node.attrs, node.regions
