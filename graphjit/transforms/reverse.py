"""Reverse mode: the graph of a function -> that of its value and of cotangents of its operands.

A pointwise primitive has its slopes in its record; the rules of the other kinds, of routines
and of control flow are in modules of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphjit.ir.graph import Graph, GraphBuilder, Node
from graphjit.ops.primitive import Library

from . import reverse_control, reverse_kinds, reverse_routines, reverse_scipy
from .node_maker import NodeMaker, Ref, has_cotangent
from .reverse_pass import Cotangent, Reverse


def vjp_graph(graph: Graph, wanted: Sequence[bool], with_outputs: bool = True) -> Graph:
    """A graph of the same parameters and a cotangent for each output.

    Its outputs are those of `graph`, if `with_outputs`, and the cotangents of its parameters
    that are wanted. Raises NotDifferentiableError where an op on the way has no rule.
    """
    return Reverse(graph, wanted, _RULES).result(with_outputs)


def way_back(
    graph: Graph, wanted: Sequence[bool], points: Sequence[int] = ()
) -> tuple[Graph, dict[int, int]]:
    """A graph of the same parameters and a cotangent for each output, and where the nodes of
    `graph` are in it. It gives the cotangents of the parameters that are wanted, then those of
    the nodes at `points`.
    """
    way = Reverse(graph, wanted, _RULES, points)
    return way.result(False), way.moved


def jvp_graph(graph: Graph, wanted: Sequence[bool]) -> Graph:
    """A graph of the same parameters and a tangent for each that is wanted.

    Its outputs are those of `graph` and their tangents; outputs that are no floats have none.
    Cotangents of the parameters are linear in those of the outputs: the transpose of that map
    takes tangents of parameters to tangents of outputs (J. Townsend, "A new trick for
    calculating Jacobian vector products", 2017).
    """
    back = vjp_graph(graph, wanted)
    count, outputs = len(graph.params), len(graph.outputs)
    floats = [has_cotangent(graph.nodes[i].type) for i in graph.outputs]
    twice = vjp_graph(
        Graph(back.name, back.nodes, back.outputs[outputs:]), [False] * count + floats, False
    )
    builder = GraphBuilder(graph.name)
    given = [builder.param(graph.nodes[number].tensor) for number in graph.params]
    tangents = [
        builder.param(graph.nodes[number].tensor, f"t{k}")
        for k, (number, flag) in enumerate(zip(graph.params, wanted, strict=True))
        if flag
    ]
    # of a linear map any point will do; at 1 slopes make no exceptions for 0
    d = NodeMaker(builder)
    points = [
        d.spread(Ref(builder.const(np.ones((), t.dtype.dtype))), t.shape).node
        for t in (graph.nodes[i].tensor for i in graph.outputs)
    ]
    values = builder.inline(graph, given)
    changes = builder.inline(twice, [*given, *points, *tangents])
    return builder.finish([*values, *changes])


def _library(way: Reverse, number: int, node: Node, *cotangents: Cotangent) -> None:
    rule = _ROUTINES.get(node.primitive)
    if rule is None:
        raise way.refusal(node)
    rule(way, number, node, *cotangents)


_ROUTINES = {**reverse_routines.ROUTINES, **reverse_scipy.ROUTINES}
_RULES = {**reverse_kinds.RULES, **reverse_control.RULES, Library: _library}

__all__ = ["jvp_graph", "vjp_graph", "way_back"]
