"""Loops that count their turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from graphjit.core.types import TensorType, int64
from graphjit.ir.graph import Graph, GraphBuilder, Node

from .node_maker import NodeMaker, Ref

INTEGER: Final = TensorType((), int64)


def counting(node: Node, inputs: Sequence[int], builder: GraphBuilder) -> int:
    """The loop with the number of its turns as one more result."""
    test, body = node.regions
    carried = node.attr("carried")

    def region(graph: Graph, counts: bool) -> Graph:
        types = [graph.nodes[i].tensor for i in graph.params]
        made = GraphBuilder(graph.name)
        state = [made.param(t) for t in types[:carried]]
        count = made.param(INTEGER)
        shared = [made.param(t) for t in types[carried:]]
        found = made.inline(graph, [*state, *shared])
        return made.finish([*found, plus(made, count, 1)] if counts else found)

    zero = builder.const(np.zeros((), np.int64))
    return builder.add(
        node.primitive,
        (*inputs[:carried], zero, *inputs[carried:]),
        node.source,
        (region(test, False), region(body, True)),
        carried=carried + 1,
    )


def plus(builder: GraphBuilder, node: int, value: int) -> int:
    """A node of an integer and a constant."""
    d = NodeMaker(builder)
    return d.add(Ref(node), Ref(builder.const(np.full((), value, np.int64)))).node


__all__ = ["INTEGER", "counting", "plus"]
