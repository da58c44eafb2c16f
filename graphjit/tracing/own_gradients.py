"""Derivatives that the user wrote are for transformations: compiled graphs have none."""

from __future__ import annotations

from graphjit.ir.graph import Graph, Rewriter, map_regions
from graphjit.ops import control, source


def without_own_gradients(graph: Graph) -> Graph:
    """The graph with the values themselves in place of those that have such a derivative."""
    graph = map_regions(graph, without_own_gradients)
    if not any(node.primitive is control.own_gradient for node in graph.nodes):
        return graph
    rewriter = Rewriter(graph)
    for index, node in enumerate(graph.nodes):
        if node.primitive is control.own_gradient:
            continue
        of = graph.nodes[node.inputs[0]] if node.primitive is source.item else None
        if of is not None and of.primitive is control.own_gradient:
            rewriter.map[index] = rewriter.map[of.inputs[node.attr("index")]]
        else:
            rewriter.map[index] = rewriter.copy(index)
    return rewriter.result()


__all__ = ["without_own_gradients"]
