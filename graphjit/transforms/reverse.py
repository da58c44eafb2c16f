"""Reverse mode: the graph of a function -> that of its value and of cotangents of its operands.

A pointwise primitive has its slopes in its record; the rules of the other kinds, of routines
and of control flow are in modules of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphjit.ir.graph import Graph, Node
from graphjit.ops.primitive import Library

from . import (
    reverse_control,
    reverse_decompositions,
    reverse_kinds,
    reverse_routines,
    reverse_scipy,
    reverse_while,
)
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


def _library(way: Reverse, number: int, node: Node, *cotangents: Cotangent) -> None:
    rule = ROUTINES.get(node.primitive)
    if rule is None:
        raise way.refusal(node)
    rule(way, number, node, *cotangents)


ROUTINES = {
    **reverse_routines.ROUTINES,
    **reverse_decompositions.ROUTINES,
    **reverse_scipy.ROUTINES,
}
_RULES = {
    **reverse_kinds.RULES,
    **reverse_control.RULES,
    **reverse_while.RULES,
    Library: _library,
}

__all__ = ["ROUTINES", "vjp_graph", "way_back"]
