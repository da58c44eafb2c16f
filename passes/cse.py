"""Common-subexpression elimination."""

from __future__ import annotations

from typing import Any

from graphjit.core.frozen import dataclass
from graphjit.ir.graph import Graph, Node, Rewriter
from graphjit.ops import control, source
from graphjit.ops.primitive import CountedLoop

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
            inputs = tuple([rewriter.map[i] for i in node.inputs])
            key = _key(node, inputs)
            found = seen.get(key)
            if found is None and (loop := _loop_key(node, inputs)) is not None:
                found = _widened(node, inputs, rewriter.nodes, seen.get(loop))
                if found is None:
                    seen.setdefault(loop, len(rewriter.nodes))
            if found is None:
                found = rewriter.copy(index)
            seen[key] = rewriter.map[index] = found
        return rewriter.result()

    def _find_first_repeated(self, graph: Graph, seen: dict[Any, int]) -> int:
        """The first node that equals an earlier one. Nodes before it go into `seen`."""
        for index, node in enumerate(graph.nodes):
            if node.primitive is source.param:
                continue
            keys = [_key(node, node.inputs)]
            if (loop := _loop_key(node, node.inputs)) is not None:
                keys.append(loop)
            if any(key in seen for key in keys):
                return index
            seen.update(dict.fromkeys(keys, index))
        return len(graph.nodes)


def _loop_key(node: Node, inputs: tuple[int, ...]) -> Any:
    """What two loops, or two checkpoints, have in common whose bodies compute the same and may
    give different parts of it; None for another node.
    """
    is_loop = isinstance(node.primitive.kind, CountedLoop)
    if not is_loop and node.primitive is not control.checkpoint:
        return None
    return node.primitive, inputs, node.attrs, node.regions[0].nodes


def _widened(
    node: Node, inputs: tuple[int, ...], nodes: list[Node], found: int | None
) -> int | None:
    """The number of an earlier loop that computes what a loop does, once it gives all of that:
    gradients have a loop of their own, which also gives what it carried. None if there is none.

    found: that of the earlier loop with the same body and inputs, if there is one
    """
    if found is None:
        return None
    earlier = nodes[found]
    fewer, more = sorted((earlier, node), key=lambda n: len(n.regions[0].outputs))
    outputs = fewer.regions[0].outputs
    if more.regions[0].outputs[: len(outputs)] != outputs:
        return None
    nodes[found] = Node(
        more.primitive, inputs, more.attrs, more.type, earlier.source, more.regions
    )
    return found


def _key(node: Node, inputs: tuple[int, ...]) -> Any:
    """What makes two nodes of these inputs equal."""
    if node.primitive.commutative:
        inputs = tuple(sorted(inputs))
    return node.primitive, inputs, node.attrs, node.regions
