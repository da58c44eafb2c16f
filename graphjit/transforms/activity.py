"""Which results of a graph depend on parameters, so that derivatives by these reach them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from graphjit.core.types import TupleType
from graphjit.ir.graph import Graph, Node
from graphjit.ops import source
from graphjit.ops.primitive import Choice, ConditionalLoop, CountedLoop, Item, Pointwise

from .node_maker import has_cotangent

Flags = tuple[bool, ...]


def activity(graph: Graph, wanted: Sequence[bool], points: Collection[int] = ()) -> list[Flags]:
    """For each node a flag for each result: whether it depends on a parameter that is wanted.

    Only floats do, and what doesn't move where its operands do (a comparison, a sign) doesn't.
    points: nodes that count like parameters that are wanted.
    """
    params = dict(zip(graph.params, wanted, strict=True))
    found: list[Flags] = []
    for number, node in enumerate(graph.nodes):
        if node.primitive is source.param:
            flags: Flags = (params[number],)
        elif isinstance(node.primitive.kind, Item):
            flags = (found[node.inputs[0]][node.attr("index")],)
        else:
            flags = of_results(node, [any(found[i]) for i in node.inputs])
        found.append((True,) * len(flags) if number in points else flags)
    return found


def of_results(node: Node, operands: Sequence[bool]) -> Flags:
    """For each result of a node whether it depends on operands that are flagged."""
    types = node.type.items if isinstance(node.type, TupleType) else (node.type,)
    kind = node.primitive.kind
    flat = isinstance(kind, Pointwise) and node.primitive.slopes is None
    if flat or not any(operands):
        return (False,) * len(types)
    depends: Sequence[bool] = (True,) * len(types)
    if isinstance(kind, Choice):
        regions = [_of_outputs(region, operands[1:]) for region in node.regions]
        depends = [any(flags) for flags in zip(*regions, strict=True)]
    elif isinstance(kind, (CountedLoop, ConditionalLoop)):
        depends = _of_loop(node, operands)
    return tuple(
        flag and has_cotangent(type) for flag, type in zip(depends, types, strict=True)
    )


def _of_loop(node: Node, operands: Sequence[bool]) -> list[bool]:
    """What is carried may come to depend on a parameter in a later turn only."""
    carried = node.attr("carried")
    state, rest = list(operands[:carried]), operands[carried:]
    index = (False,) if isinstance(node.primitive.kind, CountedLoop) else ()
    while True:
        results = _of_outputs(node.regions[-1], [*index, *state, *rest])
        after = [a or b for a, b in zip(state, results, strict=False)]
        if after == state:
            return [*state, *results[carried:]]
        state = after


def _of_outputs(region: Graph, operands: Sequence[bool]) -> list[bool]:
    found = activity(region, operands)
    return [any(found[i]) for i in region.outputs]


__all__ = ["activity", "of_results"]
