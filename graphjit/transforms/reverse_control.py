"""Reverse mode of control flow: branches, and loops backwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphjit.core.types import TensorType
from graphjit.ir.graph import Graph, GraphBuilder, Node
from graphjit.ops.primitive import Choice, CountedLoop, OwnGradient

from .loop_residuals import LateProduct, late_product
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
    those of what all turns read, but for sums of products, which are one product afterwards.
    """
    d = way.d
    (body,) = node.regions
    attrs = dict(node.attrs)
    carried, sliced, turns = attrs["carried"], attrs["sliced"], attrs["count"]
    state, arrays = node.inputs[:carried], node.inputs[carried : carried + sliced]
    shared = node.inputs[carried + sliced :]
    given = way.zeros_for(node, cotangents)
    floats = [k for k, flag in enumerate(way.carries(number)) if flag]
    summed = [i for i in shared if way.active[i]]
    active = [i for i in arrays if way.active[i]]
    turn = _TurnBack(body, way.turns_back[number], node, floats, len(active), turns)
    sums = [i for i, late in zip(summed, turn.late, strict=True) if late is None]
    begin = [given[k] for k in floats] + [d.zeros(way.type(i)).node for i in sums]
    stacks = [x.node for x in way.stacks[number]]
    slices = [way.moved[i] for i in arrays]
    rows = [*stacks[:carried], *slices, *given[carried:], *stacks[carried:]]
    attrs |= {
        "carried": len(begin),
        "sliced": len(rows),
        "reverse": not attrs["reverse"],
    }
    inputs = [*begin, *rows, *(way.moved[i] for i in shared)]
    found = way.run(node, [turn.region], inputs, attrs)
    way.hand_out([state[k] for k in floats], found[: len(floats)])
    way.hand_out(sums, found[len(floats) : len(begin)])
    rest = iter(found[len(begin) :])
    way.hand_out(active, [next(rest) for _ in active])
    known = {k: Ref(x) for k, x in enumerate((*stacks[:carried], *slices))}
    for operand, late in zip(summed, turn.late, strict=True):
        if late is not None:
            place = turn.places.get(late.rows)
            first = next(rest) if place is None else known[place]
            way.give(operand, _product_of_all(d, late, first, next(rest)))


def _product_of_all(d: NodeMaker, late: LateProduct, rows: Ref, columns: Ref) -> Ref:
    """The product of what the turns had of two matrices, one turn after another."""
    if late.turned:
        rows = d.transposed(rows)

    def joined(x: Ref) -> Ref:
        turns, b, n = d.type(x).shape
        return d.reshaped(x, (turns * b, n))

    return d.product(d.transposed(joined(rows)), joined(columns))


class _TurnBack:
    """The body of the loop that goes back.

    region: its parameters are the index; cotangents of the carried floats, sums of those of
        what is shared; what was carried, the arrays' slices, cotangents of what was stacked,
        what else was kept; what is shared. Its results are what it carries, the cotangents of
        the slices, and the factors of sums that are left to products.
    late: of each shared operand how that is done, or None
    places: of nodes that were carried or slices, which they are
    """

    def __init__(
        self,
        body: Graph,
        backward: Graph,
        node: Node,
        floats: Sequence[int],
        slices_wanted: int,
        turns: int,
    ) -> None:
        carried, sliced = node.attr("carried"), node.attr("sliced")
        types = [body.nodes[i].tensor for i in body.params]
        index_type, state = types[0], types[1 : 1 + carried]
        moving = 1 + carried + sliced
        slices, shared = types[1 + carried : moving], types[moving:]
        results = [body.nodes[i].tensor for i in body.outputs]
        inner = [backward.nodes[i].tensor for i in backward.params]
        kept = inner[len(types) + len(results) :]
        self.places = {i: k for k, i in enumerate(backward.params[1:moving])}
        outputs = backward.outputs
        self.late = [
            late_product(backward, i, turns) for i in outputs[len(floats) + slices_wanted :]
        ]
        builder = GraphBuilder(f"{body.name}_back")

        def params(listed: Sequence[TensorType]) -> list[int]:
            return list(map(builder.param, listed))

        d = NodeMaker(builder)
        (number,) = params([index_type])
        carried_floats = dict(zip(floats, params([state[k] for k in floats]), strict=True))
        parts = outputs[len(floats) + slices_wanted :]
        in_turns = [i for i, late in zip(parts, self.late, strict=True) if late is None]
        sums = params([backward.nodes[i].tensor for i in in_turns])
        before = params(state)
        rows, stacked, dear = params(slices), params(results[carried:]), params(kept)
        common = params(shared)
        zero = [
            carried_floats[k] if k in carried_floats else d.zeros(t).node
            for k, t in enumerate(state)
        ]
        factors = []
        for late in self.late:
            if late is not None:
                factors += [] if late.rows in self.places else [late.rows]
                factors.append(late.columns)
        first = outputs[: len(floats) + slices_wanted]
        needed = Graph(
            backward.name, backward.nodes, (*first, *in_turns, *factors), backward.updates
        )
        given = [number, *before, *rows, *common, *zero, *stacked, *dear]
        found = iter(builder.inline(needed, given))
        new_floats = [next(found) for _ in floats]
        of_rows = [next(found) for _ in range(slices_wanted)]
        totals = [d.total([Ref(a), Ref(next(found))]).node for a in sums]
        self.region = builder.finish([*new_floats, *totals, *of_rows, *found])


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
