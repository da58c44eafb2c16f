"""Reverse mode of control flow: branches, and loops backwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphjit.core.types import TensorType
from graphjit.ir.graph import Graph, GraphBuilder, Node
from graphjit.ops.primitive import Choice, CountedLoop, OwnGradient

from .node_maker import NodeMaker, Ref
from .reverse_pass import Cotangent, Reverse, kept_of, require_own_arguments


def _choice(way: Reverse, number: int, node: Node, *cotangents: Cotangent) -> None:
    selector, *operands = node.inputs
    wanted = [way.active[i] for i in operands]
    given = way.zeros_for(node, cotangents)
    kept = [x.node for x in way.stacks.get(number, ())]
    nodes = kept_of(node) if kept else ()
    regions = tuple(way.of_region(region, wanted, nodes) for region in node.regions)
    inputs = [*(way.moved[i] for i in (selector, *operands)), *given, *kept]
    found = way.run(node, regions, inputs, dict(node.attrs))
    way.hand_out([i for i, flag in zip(operands, wanted, strict=True) if flag], found)


def _counted_loop(way: Reverse, number: int, node: Node, *cotangents: Cotangent) -> None:
    """The loop backwards: it carries cotangents of what the loop carried, and the sums of
    those of what all turns read.
    """
    d = way.d
    (body,) = node.regions
    attrs = dict(node.attrs)
    carried, sliced = attrs["carried"], attrs["sliced"]
    state, arrays = node.inputs[:carried], node.inputs[carried : carried + sliced]
    shared = node.inputs[carried + sliced :]
    flags = way.carries(number)
    wanted = [
        *flags,
        *(way.active[i] for i in arrays),
        *(way.active[i] for i in shared),
    ]
    backward = way.of_region(body, [False, *wanted])
    given = way.zeros_for(node, cotangents)
    floats = [k for k in range(carried) if flags[k]]
    summed = [i for i in shared if way.active[i]]
    region = _turn_back(body, backward, node, flags, summed_types=[way.type(i) for i in summed])
    begin = [given[k] for k in floats] + [d.zeros(way.type(i)).node for i in summed]
    rows = [
        *(x.node for x in way.stacks[number]),
        *(way.moved[i] for i in arrays),
        *given[carried:],
    ]
    attrs |= {
        "carried": len(begin),
        "sliced": len(rows),
        "reverse": not attrs["reverse"],
    }
    inputs = [*begin, *rows, *(way.moved[i] for i in shared)]
    found = way.run(node, [region], inputs, attrs)
    way.hand_out([state[k] for k in floats], found[: len(floats)])
    way.hand_out(summed, found[len(floats) : len(begin)])
    way.hand_out([i for i in arrays if way.active[i]], found[len(begin) :])


def _turn_back(
    body: Graph,
    backward: Graph,
    node: Node,
    flags: Sequence[bool],
    summed_types: Sequence[TensorType],
) -> Graph:
    """The body of the loop that goes back.

    Its parameters: the index; cotangents of the carried floats, sums of those of what is
    shared; what was carried, the arrays' slices, cotangents of what was stacked; what is
    shared.
    """
    carried, sliced = node.attr("carried"), node.attr("sliced")
    types = [body.nodes[i].tensor for i in body.params]
    index_type, state = types[0], types[1 : 1 + carried]
    slices, shared = types[1 + carried : 1 + carried + sliced], types[1 + carried + sliced :]
    results = [body.nodes[i].tensor for i in body.outputs]
    builder = GraphBuilder(f"{body.name}_back")

    def params(listed: Sequence[TensorType]) -> list[int]:
        return list(map(builder.param, listed))

    d = NodeMaker(builder)
    (number,) = params([index_type])
    floats = params([t for t, flag in zip(state, flags, strict=True) if flag])
    sums = params(summed_types)
    before = params(state)
    rows, stacked = params(slices), params(results[carried:])
    common = params(shared)
    after = iter(floats)
    zero = [
        next(after) if flag else d.zeros(t).node for t, flag in zip(state, flags, strict=True)
    ]
    given = [number, *before, *rows, *common, *zero, *stacked]
    found = builder.inline(backward, given)
    new_floats, rest = found[: len(floats)], found[len(floats) :]
    count = len(rest) - len(sums)
    of_rows, parts = rest[:count], rest[count:]
    totals = [d.total([Ref(a), Ref(b)]).node for a, b in zip(sums, parts, strict=True)]
    return builder.finish([*new_floats, *totals, *of_rows])


def _own_gradient(way: Reverse, number: int, node: Node, *cotangents: Cotangent) -> None:
    """What the user's function gives for cotangents."""
    outputs, count = node.attr("outputs"), node.attr("arguments")
    arguments = node.inputs[outputs : outputs + count]
    require_own_arguments(way.graph, node, way.active.__getitem__)
    rest = [way.moved[i] for i in node.inputs[outputs + count :]]
    given = way.zeros_for(node, cotangents)
    found = way.builder.inline(node.regions[0], [*given, *rest])
    way.hand_out(arguments, list(map(Ref, found)))


RULES: dict[type, Callable[..., None]] = {
    Choice: _choice,
    CountedLoop: _counted_loop,
    OwnGradient: _own_gradient,
}

__all__ = ["RULES"]
