"""Reverse mode of loops whose number of turns isn't known before.

The loop counts its turns. On the way back it is run again: at first once through, keeping what
it carries at a number of places; then, from the last turn to the first, from the place before
each turn. So memory is bounded; up to that number of turns the loop runs three times in all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from graphjit.core.types import TensorType
from graphjit.ir.graph import Graph, GraphBuilder, Node
from graphjit.ops import control, index
from graphjit.ops.primitive import ConditionalLoop

from .counted_turns import INTEGER, plus
from .node_maker import NodeMaker, Ref
from .reverse_pass import Cotangent, Reverse

# How many places there are at most, and how much memory [bytes] they take in all.
_MAX_PLACES: Final = 256
_MAX_BYTES: Final = 1 << 26


def conditional_loop(way: Reverse, number: int, node: Node, *cotangents: Cotangent) -> None:
    """The loop backwards."""
    _, body = node.regions
    carried = node.attr("carried")
    state, shared = node.inputs[:carried], node.inputs[carried:]
    types = [way.type(i) for i in state]
    flags = [*way.carries(number), *(way.active[i] for i in shared)]
    floats, summed = flags[:carried], [i for i in shared if way.active[i]]
    builder, d = way.builder, way.d
    count = d.item(way.moved[number], carried).node
    places = _places(types)
    stride = _stride(builder, count, places)
    begin, common = [way.moved[i] for i in state], [way.moved[i] for i in shared]
    kept = [d.zeros(TensorType((places + 1, *t.shape), t.dtype)).node for t in types]
    first = builder.const(np.zeros((), np.int64))
    saved = builder.add(
        control.while_loop,
        (first, *begin, *kept, count, stride, *common),
        node.source,
        _saving(body, types, [way.type(i) for i in shared], places),
        carried=1 + 2 * carried,
    )
    buffers = [d.item(saved, 1 + carried + k).node for k in range(carried)]
    given = [x for x, flag in zip(way.zeros_for(node, cotangents), floats, strict=True) if flag]
    sums = [d.zeros(way.type(i)).node for i in summed]
    made = builder.add(
        control.while_loop,
        (count, *given, *sums, stride, *buffers, *common),
        node.source,
        _going_back(way, body, types, [way.type(i) for i in shared], flags, places),
        carried=1 + len(given) + len(sums),
    )
    found = [d.item(made, 1 + k) for k in range(len(given) + len(sums))]
    chosen = [i for i, flag in zip(state, floats, strict=True) if flag]
    way.hand_out([*chosen, *summed], found)


def _places(types: Sequence[TensorType]) -> int:
    sizes = [t.nbytes for t in types if all(isinstance(n, int) for n in t.shape)]
    return max(2, min(_MAX_PLACES, _MAX_BYTES // max(sum(sizes), 1)))


def _stride(builder: GraphBuilder, count: int, places: int) -> int:
    """How many turns lie between places: the least number that is enough."""
    d = NodeMaker(builder)
    one = Ref(builder.const(np.ones((), np.int64)))
    most = Ref(builder.const(np.full((), places, np.int64)))
    last = d.add(Ref(count), d.sub(most, one))
    return d.maximum(d.floordiv(last, most, strict=False), one).node


def _below(types: Sequence[TensorType], left: int, right: int) -> Graph:
    """Whether one parameter is less than another."""
    builder = GraphBuilder("test")
    params = [builder.param(t) for t in types]
    return builder.finish([NodeMaker(builder).lt(Ref(params[left]), Ref(params[right])).node])


def _saving(
    body: Graph, state: Sequence[TensorType], shared: Sequence[TensorType], places: int
) -> tuple[Graph, Graph]:
    """The regions of the loop that keeps what is carried at each place.

    Carried: the turn, the state, a buffer for each part of it; then the number of turns, the
    stride, what is shared.
    """
    buffers = [TensorType((places + 1, *t.shape), t.dtype) for t in state]
    types = [INTEGER, *state, *buffers, INTEGER, INTEGER, *shared]
    n = len(state)
    builder = GraphBuilder(f"{body.name}_saving")
    params = [builder.param(t) for t in types]
    d = NodeMaker(builder)
    turn, stride = Ref(params[0]), Ref(params[2 + 2 * n])
    none = Ref(builder.const(np.zeros((), np.int64)))
    is_place = d.eq(d.mod(turn, stride, strict=False), none)
    beside = Ref(builder.const(np.full((), places, np.int64)))
    row = d.where(is_place, d.floordiv(turn, stride, strict=False), beside)
    kept = [
        d.make(index.scatter, Ref(buffer), Ref(x), row, axes=(0,), mode="update").node
        for buffer, x in zip(params[1 + n : 1 + 2 * n], params[1 : 1 + n], strict=True)
    ]
    new = builder.inline(body, [*params[1 : 1 + n], *params[3 + 2 * n :]])
    region = builder.finish([plus(builder, params[0], 1), *new, *kept])
    return _below(types, 0, 1 + 2 * n), region


def _going_back(
    way: Reverse,
    body: Graph,
    state: Sequence[TensorType],
    shared: Sequence[TensorType],
    flags: Sequence[bool],
    places: int,
) -> tuple[Graph, Graph]:
    """The regions of the loop over turns, from the last to the first.

    Carried: the turn, the cotangents of the state's floats, sums of those of what is shared;
    then the stride, the buffers, what is shared.
    """
    n = len(state)
    floats = [t for t, flag in zip(state, flags, strict=False) if flag]
    summed = [t for t, flag in zip(shared, flags[n:], strict=True) if flag]
    buffers = [TensorType((places + 1, *t.shape), t.dtype) for t in state]
    types = [INTEGER, *floats, *summed, INTEGER, *buffers, *shared]
    test = GraphBuilder("test")
    given = [test.param(t) for t in types]
    zero = test.const(np.zeros((), np.int64))
    more = test.finish([NodeMaker(test).gt(Ref(given[0]), Ref(zero)).node])
    builder = GraphBuilder(f"{body.name}_back")
    params = [builder.param(t) for t in types]
    d = NodeMaker(builder)
    at = 1 + len(floats)
    cotangents, sums = params[1:at], params[at : at + len(summed)]
    stride = params[at + len(summed)]
    rest = params[at + len(summed) + 1 :]
    kept, common = rest[:n], rest[n:]
    turn = plus(builder, params[0], -1)
    row = d.floordiv(Ref(turn), Ref(stride), strict=False)
    begin = [d.make(index.gather, Ref(buffer), row, axes=(0,)).node for buffer in kept]
    before = builder.add(
        control.while_loop,
        (d.mul(row, Ref(stride)).node, *begin, turn, *common),
        None,
        _again(body, state, shared),
        carried=1 + n,
    )
    there = [d.item(before, 1 + k).node for k in range(n)]
    after = iter(cotangents)
    full = [
        next(after) if flag else d.zeros(t).node for t, flag in zip(state, flags, strict=False)
    ]
    back = way.of_region(body, flags)
    found = builder.inline(back, [*there, *common, *full])
    new, parts = found[: len(floats)], found[len(floats) :]
    totals = [d.total([Ref(a), Ref(b)]).node for a, b in zip(sums, parts, strict=True)]
    return more, builder.finish([turn, *new, *totals])


def _again(
    body: Graph, state: Sequence[TensorType], shared: Sequence[TensorType]
) -> tuple[Graph, Graph]:
    """The regions of the loop from a place to a turn. Carried: the turn, the state; then the
    turn where it ends, what is shared.
    """
    types = [INTEGER, *state, INTEGER, *shared]
    builder = GraphBuilder(f"{body.name}_again")
    params = [builder.param(t) for t in types]
    n = len(state)
    new = builder.inline(body, [*params[1 : 1 + n], *params[2 + n :]])
    region = builder.finish([plus(builder, params[0], 1), *new])
    return _below(types, 0, 1 + n), region


RULES: dict[type, Callable[..., Any]] = {ConditionalLoop: conditional_loop}

__all__ = ["RULES"]
