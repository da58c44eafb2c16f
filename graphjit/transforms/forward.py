"""Forward mode: the graph of a function -> that of its values and of their tangents.

The nodes are run through in order. What is linear in arrays is done to tangents as well; a
pointwise primitive has its slopes in its record; loops carry tangents beside what they carry.
Of every other node the tangents are the transpose of its cotangents, so that it has one rule.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.core.types import TupleType
from graphjit.ir.graph import Graph, GraphBuilder, Node
from graphjit.ops import assemble, contract, reduce, source
from graphjit.ops.primitive import (
    Assemble,
    Choice,
    ConditionalLoop,
    Contract,
    CountedLoop,
    Gather,
    Item,
    OwnGradient,
    Pointwise,
    Reduce,
    Scan,
    Scatter,
    View,
)

from .activity import of_results
from .node_maker import NodeMaker, Ref, has_cotangent
from .reverse import vjp_graph
from .reverse_pass import not_differentiable, require_own_arguments
from .slopes import Slopes

Tangent = Ref | None


def jvp_graph(
    graph: Graph, wanted: Sequence[bool], outputs: Sequence[bool] | None = None
) -> Graph:
    """A graph of the same parameters and a tangent for each that is wanted.

    Its outputs are those of `graph`, then the tangents of those that `outputs` flags: by
    default of all floats. Raises NotDifferentiableError where an op on the way has no rule.
    """
    return Forward(graph, wanted).result(outputs)


class Forward:
    """One graph with tangents.

    moved: of each old node the new one; tangents: those of old nodes, None for 0, one for each
        result
    """

    def __init__(self, graph: Graph, wanted: Sequence[bool]) -> None:
        self.graph = graph
        self.builder = GraphBuilder(graph.name)
        self.d = Slopes(self.builder)
        self.moved: dict[int, int] = {}
        self.tangents: dict[int, list[Tangent]] = {}
        # Of control flow that was made anew where the old results are.
        self._results: dict[int, list[Ref]] = {}
        for number in graph.params:
            self.moved[number] = self.builder.param(graph.nodes[number].tensor)
        for k, (number, flag) in enumerate(zip(graph.params, wanted, strict=True)):
            type = graph.nodes[number].tensor
            given = Ref(self.builder.param(type, f"t{k}")) if flag else None
            self.tangents[number] = [given if has_cotangent(type) else None]

    def result(self, wanted: Sequence[bool] | None) -> Graph:
        """The new graph. wanted: which outputs have tangents."""
        for number, node in enumerate(self.graph.nodes):
            if node.primitive is not source.param:
                self.d.line = node.source
                self._add(number, node)
        outputs = self.graph.outputs
        if wanted is None:
            wanted = [has_cotangent(self.graph.nodes[i].type) for i in outputs]
        found = [self.moved[i] for i in outputs]
        for i, flag in zip(outputs, wanted, strict=True):
            if flag:
                found.append(self._or_zeros(i, self.tangents[i][0]).node)
        return self.builder.finish(found)

    def _add(self, number: int, node: Node) -> None:
        given = [self.tangents[i] for i in node.inputs]
        kind = node.primitive.kind
        if isinstance(kind, Item):
            k, results = node.attr("index"), self._results.get(node.inputs[0])
            if results is None:
                self._copy(number)
            else:
                self.moved[number] = results[k].node
            self.tangents[number] = [given[0][k]]
            return
        tangents = [t[0] for t in given]
        if all(t is None for t in tangents) or not any(_floats(node)):
            self._copy(number)
            self.tangents[number] = [None] * len(_floats(node))
            return
        for known, control in _CONTROL.items():
            if isinstance(kind, known):
                control(self, number, node, tangents)
                return
        self._copy(number)
        for known, rule in _RULES.items():
            if isinstance(kind, known):
                found = rule(self, number, node, tangents)
                if found is not NotImplemented:
                    self.tangents[number] = [found]
                    return
        self.tangents[number] = self._transposed(number, node, tangents)

    def _copy(self, number: int) -> None:
        self.builder.extend(self.graph.nodes, [number], self.moved)

    def _ref(self, number: int) -> Ref:
        return Ref(self.moved[number])

    def _or_zeros(self, number: int, t: Tangent) -> Ref:
        return self.d.zeros(self.graph.nodes[number].tensor) if t is None else t

    # -- rules

    def _pointwise(self, number: int, node: Node, tangents: Sequence[Tangent]) -> Any:
        d, shape = self.d, node.tensor.shape
        if node.primitive.slopes is None:
            return None
        operands = map(self._ref, node.inputs)
        slopes = node.primitive.slopes(d, self._ref(number), *operands, **dict(node.attrs))
        parts = []
        for slope, t in zip(slopes, tangents, strict=True):
            if slope is NotImplemented and t is not None:
                raise not_differentiable(node, " by one of its arguments")
            if slope is not None and t is not None:
                parts.append(d.apply(slope, d.spread(t, shape), back=False))
        return d.total(parts) if parts else None

    def _linear(self, number: int, node: Node, tangents: Sequence[Tangent]) -> Any:
        """What is linear in all arrays that it takes."""
        given = [self._or_zeros(i, t) for i, t in zip(node.inputs, tangents, strict=True)]
        return self.d.make(node.primitive, *given, **dict(node.attrs))

    def _sums(self, number: int, node: Node, tangents: Sequence[Tangent]) -> Any:
        if node.primitive not in (reduce.sum_, reduce.cumsum):
            return NotImplemented
        return self._linear(number, node, tangents)

    def _contract(self, number: int, node: Node, tangents: Sequence[Tangent]) -> Any:
        a, b = map(self._ref, node.inputs)
        parts = []
        if tangents[0] is not None:
            parts.append(self.d.make(contract.matmul, tangents[0], b))
        if tangents[1] is not None:
            parts.append(self.d.make(contract.matmul, a, tangents[1]))
        return self.d.total(parts)

    def _assemble(self, number: int, node: Node, tangents: Sequence[Tangent]) -> Any:
        if node.primitive not in (assemble.concat, assemble.place):
            return NotImplemented
        return self._linear(number, node, tangents)

    def _gather(self, number: int, node: Node, tangents: Sequence[Tangent]) -> Any:
        data, indices = tangents[0], map(self._ref, node.inputs[1:])
        if data is None:
            return None
        return self.d.make(node.primitive, data, *indices, **dict(node.attrs))

    def _scatter(self, number: int, node: Node, tangents: Sequence[Tangent]) -> Any:
        if node.attr("mode") not in ("update", "add", "sub"):
            return NotImplemented
        arrays = [self._or_zeros(i, t) for i, t in zip(node.inputs[:2], tangents, strict=False)]
        indices = map(self._ref, node.inputs[2:])
        return self.d.make(node.primitive, *arrays, *indices, **dict(node.attrs))

    def _transposed(
        self, number: int, node: Node, tangents: Sequence[Tangent]
    ) -> list[Tangent]:
        """The tangents of a node by the rule for its cotangents, transposed."""
        builder = GraphBuilder(node.primitive.name)
        params = [builder.param(self.graph.nodes[i].tensor) for i in node.inputs]
        made = builder.append(
            Node(
                node.primitive,
                tuple(params),
                node.attrs,
                node.type,
                node.source,
                node.regions,
            )
        )
        results = [made]
        if isinstance(node.type, TupleType):
            items = range(len(node.type.items))
            results = [builder.add(source.item, (made,), index=k) for k in items]
        graph = builder.finish(results)
        flags = [t is not None for t in tangents]
        given = [self.moved[i] for i in node.inputs]
        given += [t.node for t in tangents if t is not None]
        nodes = iter(self.builder.inline(transposed_twice(graph, flags), given))
        return [Ref(next(nodes)) if flag else None for flag in _floats(node)]

    # -- control flow

    def _own_gradient(self, number: int, node: Node, tangents: Sequence[Tangent]) -> None:
        """By the user's rule alone: tangents of the values themselves don't count."""

        def active(number: int) -> bool:
            return any(t is not None for t in self.tangents[number])

        require_own_arguments(self.graph, node, active)
        self._copy(number)
        first = node.attr("outputs")
        own = range(first, first + node.attr("arguments"))
        given = [t if k in own else None for k, t in enumerate(tangents)]
        self.tangents[number] = self._transposed(number, node, given)

    def _choice(self, number: int, node: Node, tangents: Sequence[Tangent]) -> None:
        flags = [t is not None for t in tangents[1:]]
        moving = of_results(node, [False, *flags])
        regions = tuple(jvp_graph(region, flags, moving) for region in node.regions)
        inputs = [self.moved[i] for i in node.inputs]
        inputs += [t.node for t in tangents[1:] if t is not None]
        made = self.builder.add(
            node.primitive, inputs, node.source, regions, **dict(node.attrs)
        )
        own = range(len(moving))
        self._set(number, moving, made, own, range(len(own), 2 * len(own)))

    def _set(
        self,
        number: int,
        moving: Sequence[bool],
        made: int,
        own: Sequence[int],
        changes: Sequence[int],
    ) -> None:
        """Note a node that gives the old results and the tangents of those that have one, at
        these places.
        """
        places = iter(changes)
        self._results[number] = [self.d.item(made, k) for k in own]
        self.tangents[number] = [
            self.d.item(made, next(places)) if flag else None for flag in moving
        ]

    def _loop(self, number: int, node: Node, tangents: Sequence[Tangent]) -> None:
        """A loop carries tangents beside what moves, and takes slices of tangents."""
        attrs = dict(node.attrs)
        counted = isinstance(node.primitive.kind, CountedLoop)
        carried, sliced = attrs["carried"], attrs.get("sliced", 0)
        ends = [0, carried, carried + sliced, len(node.inputs)]
        parts = [slice(a, b) for a, b in itertools.pairwise(ends)]
        known = [t is not None for t in tangents]
        moving = of_results(node, known)
        flags = [*moving[:carried], *known[carried:]]
        given: list[list[int]] = []
        for part in parts:
            own = list(node.inputs[part])
            beside = [
                self._or_zeros(i, t).node
                for i, t, flag in zip(own, tangents[part], flags[part], strict=True)
                if flag
            ]
            given.append([*(self.moved[i] for i in own), *beside])
        regions = [
            _with_tangents(region, flags, parts, counted, k == len(node.regions) - 1, moving)
            for k, region in enumerate(node.regions)
        ]
        attrs["carried"] = first = len(given[0])
        if counted:
            attrs["sliced"] = len(given[1])
        made = self.builder.add(
            node.primitive, [x for part in given for x in part], node.source, tuple(regions),
            **attrs,
        )  # fmt: skip
        rows = len(moving) - carried
        own = [*range(carried), *range(first, first + rows)]
        changes = [*range(carried, first), *range(first + rows, first + 2 * rows)]
        self._set(number, moving, made, own, changes)


def _floats(node: Node) -> list[bool]:
    """Whether a node's results have tangents."""
    types = node.type.items if isinstance(node.type, TupleType) else (node.type,)
    return list(map(has_cotangent, types))


def _with_tangents(
    region: Graph,
    flags: Sequence[bool],
    parts: Sequence[slice],
    counted: bool,
    is_body: bool,
    moving: Sequence[bool],
) -> Graph:
    """A region of a loop that carries tangents beside what it carries. Its parameters are those
    of each part, with the tangents of those that have one after them. moving: which results of
    the loop have one.
    """
    builder = GraphBuilder(region.name)
    first = [builder.param(region.nodes[i].tensor) for i in region.params[:counted]]
    types = [region.nodes[i].tensor for i in region.params[counted:]]
    own, tangents = list(first), []
    for part in parts:
        own += [builder.param(t) for t in types[part]]
        tangents += [
            builder.param(t) for t, flag in zip(types[part], flags[part], strict=True) if flag
        ]
    if not is_body:  # the test
        return builder.finish(builder.inline(region, own))
    graph = jvp_graph(region, [*[False] * counted, *flags], moving)
    found = builder.inline(graph, [*own, *tangents])
    values, changes = found[: len(region.outputs)], found[len(region.outputs) :]
    carried = parts[0].stop
    count = sum(flags[:carried])
    return builder.finish(
        [*values[:carried], *changes[:count], *values[carried:], *changes[count:]]
    )


def transposed_twice(graph: Graph, wanted: Sequence[bool]) -> Graph:
    """The graph of tangents of outputs that are floats, by parameters and tangents of those
    that are wanted.

    Cotangents of the parameters are linear in those of the outputs: the transpose of that map
    takes tangents of parameters to tangents of outputs (J. Townsend, "A new trick for
    calculating Jacobian vector products", 2017).
    """
    back = vjp_graph(graph, wanted, False)
    count = len(graph.params)
    floats = [has_cotangent(graph.nodes[i].type) for i in graph.outputs]
    twice = vjp_graph(back, [False] * count + floats, False)
    builder = GraphBuilder(graph.name)
    given = [builder.param(graph.nodes[i].tensor) for i in graph.params]
    tangents = [
        builder.param(graph.nodes[i].tensor)
        for i, flag in zip(graph.params, wanted, strict=True)
        if flag
    ]
    # of a linear map any point will do; at 1 slopes make no exceptions for 0
    d = NodeMaker(builder)
    points = [
        d.spread(Ref(builder.const(np.ones((), t.dtype.dtype))), t.shape).node
        for t in (graph.nodes[i].tensor for i in graph.outputs)
    ]
    return builder.finish(builder.inline(twice, [*given, *points, *tangents]))


Rule = Callable[[Forward, int, Node, Sequence[Tangent]], Any]
_CONTROL: dict[type, Rule] = {
    Choice: Forward._choice,
    CountedLoop: Forward._loop,
    ConditionalLoop: Forward._loop,
    OwnGradient: Forward._own_gradient,
}
_RULES: dict[type, Rule] = {
    Pointwise: Forward._pointwise,
    View: Forward._linear,
    Reduce: Forward._sums,
    Scan: Forward._sums,
    Contract: Forward._contract,
    Assemble: Forward._assemble,
    Gather: Forward._gather,
    Scatter: Forward._scatter,
}

__all__ = ["jvp_graph"]
