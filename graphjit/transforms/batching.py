"""Batching: the graph of a function of examples -> that of the same function of batches.

A value that differs between examples has a first axis that they lie along; the others are left
as they are. There is a rule for each kind of primitive. What has none, and control flow that
goes different ways for different examples, is run for one example after the other, in a loop
that is part of the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from graphjit.core.errors import InternalError, SourceLine
from graphjit.core.frozen import dataclass
from graphjit.core.types import Shape, TensorType, TupleType, int64
from graphjit.ir.graph import Graph, GraphBuilder, Node
from graphjit.ops import assemble, contract, control, index, library, source, view
from graphjit.ops import pointwise as pw
from graphjit.ops.primitive import (
    Assemble,
    Choice,
    ConditionalLoop,
    Contract,
    Coordinate,
    CountedLoop,
    Gather,
    Item,
    Library,
    OwnGradient,
    Pointwise,
    Reduce,
    Scan,
    Scatter,
    Source,
    View,
)

from .node_maker import NodeMaker, Ref


@dataclass(frozen=True, slots=True)
class Value:
    """A node of the new graph, and whether it has an axis of examples."""

    node: int
    batched: bool


def batch_graph(
    graph: Graph, batched: Sequence[bool], size: int, wanted: Sequence[bool] | None = None
) -> tuple[Graph, list[bool]]:
    """A graph for examples as one for batches, and which of its outputs are batched.

    batched: which parameters are. size: the number of examples. wanted: outputs that are to be
    batched in any case.
    """
    builder = GraphBuilder(graph.name)
    given = []
    for number, flag in zip(graph.params, batched, strict=True):
        node = graph.nodes[number]
        type = _with_examples(node.tensor, size) if flag else node.tensor
        given.append(Value(builder.param(type, line=node.source), flag))
    batcher = Batcher(builder, size)
    outputs = batcher.run(graph, given)
    if wanted is not None:
        outputs = [
            Value(batcher.spread(y), True) if w else y
            for y, w in zip(outputs, wanted, strict=True)
        ]
    return builder.finish([y.node for y in outputs]), [y.batched for y in outputs]


def _with_examples(type: TensorType, size: int) -> TensorType:
    return type.with_shape((size, *type.shape))


class Batcher:
    """Appends the nodes of graphs of examples to a graph of batches."""

    def __init__(self, builder: GraphBuilder, size: int) -> None:
        self.builder = builder
        self.size = size
        self._line: SourceLine | None = None

    def run(self, graph: Graph, given: Sequence[Value]) -> list[Value]:
        """Append a graph's nodes; gives its outputs. given: its parameters."""
        params = iter(given)
        values: list[list[Value]] = []
        for node in graph.nodes:
            if node.primitive is source.param:
                values.append([next(params)])
                continue
            if isinstance(node.primitive.kind, Item):
                values.append([values[node.inputs[0]][node.attr("index")]])
                continue
            inputs = [values[i][0] for i in node.inputs]
            values.append(self._batch(node, inputs))
        return [values[i][0] for i in graph.outputs]

    def spread(self, value: Value) -> int:
        """The node of a value for all examples."""
        if value.batched:
            return value.node
        shape = (self.size, *self._shape(value.node))
        return self._add(view.broadcast, (value.node,), shape=shape)

    # -- parts of rules

    def _add(self, primitive: Any, inputs: Sequence[int], **attrs: Any) -> int:
        return self.builder.add(primitive, inputs, self._line, **attrs)

    def _shape(self, node: int) -> Shape:
        return self.builder.type_of(node).shape

    def _rank(self, value: Value) -> int:
        """The rank of one example."""
        return len(self._shape(value.node)) - value.batched

    def _aligned(self, value: Value, rank: int) -> int:
        """A value that is broadcast against others whose examples have so many axes."""
        missing = rank - self._rank(value)
        if not value.batched or missing <= 0:
            return value.node
        shape = self._shape(value.node)
        return self._add(
            view.reshape, (value.node,), shape=(shape[0], *(1,) * missing, *shape[1:])
        )

    def _results(self, node: int, batched: bool) -> list[Value]:
        """The results of a new node, which has several if its type is a tuple."""
        type = self.builder.nodes[node].type
        if not isinstance(type, TupleType):
            return [Value(node, batched)]
        items = range(len(type.items))
        return [Value(self._add(source.item, (node,), index=k), batched) for k in items]

    # -- rules

    def _batch(self, node: Node, inputs: list[Value]) -> list[Value]:
        self._line = node.source
        kind = node.primitive.kind
        if not any(x.batched for x in inputs) and not node.regions:
            made = Node(
                node.primitive,
                tuple(x.node for x in inputs),
                node.attrs,
                node.type,
                node.source,
            )
            return self._results(self.builder.append(made), False)
        for known, rule in _RULES.items():
            if isinstance(kind, known):
                return rule(self, node, inputs, dict(node.attrs))
        raise InternalError(f"{node.primitive.name} has no rule for batches")

    def _pointwise(self, node: Node, inputs: list[Value], attrs: dict[str, Any]) -> list[Value]:
        rank = max(map(self._rank, inputs))
        aligned = [self._aligned(x, rank) for x in inputs]
        return [Value(self._add(node.primitive, aligned, **attrs), True)]

    def _view(self, node: Node, inputs: list[Value], attrs: dict[str, Any]) -> list[Value]:
        (x,) = inputs
        match node.primitive:
            case view.reshape:
                found = self._add(view.reshape, (x.node,), shape=(self.size, *attrs["shape"]))
            case view.transpose:
                perm = (0, *(axis + 1 for axis in attrs["perm"]))
                found = self._add(view.transpose, (x.node,), perm=perm)
            case view.broadcast:
                shape = attrs["shape"]
                aligned = self._aligned(x, len(shape))
                found = self._add(view.broadcast, (aligned,), shape=(self.size, *shape))
            case view.slice_:
                found = self._add(
                    view.slice_,
                    (x.node,),
                    starts=(0, *attrs["starts"]),
                    sizes=(self.size, *attrs["sizes"]),
                    steps=(1, *attrs["steps"]),
                )
            case _:
                raise InternalError(f"{node.primitive.name} has no rule for batches")
        return [Value(found, True)]

    def _along_axis(
        self, node: Node, inputs: list[Value], attrs: dict[str, Any]
    ) -> list[Value]:
        """Ops of one array along one axis, or several."""
        if "axes" in attrs:
            attrs["axes"] = tuple(axis + 1 for axis in attrs["axes"])
        else:
            attrs["axis"] += 1
        return self._results(self._add(node.primitive, (inputs[0].node,), **attrs), True)

    def _contract(self, node: Node, inputs: list[Value], attrs: dict[str, Any]) -> list[Value]:
        a, b = inputs
        if not b.batched and self._rank(b) == 2:
            return [Value(self._all_rows(a.node, b.node), True)]
        if not a.batched and self._rank(a) == 2:  # the transpose of a product of transposes
            made = self._all_rows(self._transposed(b.node), self._transposed(a.node))
            return [Value(self._transposed(made), True)]
        return [Value(self._add(contract.matmul, self._matrices(inputs)), True)]

    def _all_rows(self, a: int, b: int) -> int:
        """The rows of all examples times one matrix."""
        shape = self._shape(a)
        flat = self._add(view.reshape, (a,), shape=(prod(shape[:-1]), shape[-1]))
        product = self._add(contract.matmul, (flat, b))
        return self._add(view.reshape, (product,), shape=(*shape[:-1], self._shape(b)[-1]))

    def _transposed(self, node: int) -> int:
        return NodeMaker(self.builder, self._line).transposed(Ref(node)).node

    def _matrices(self, inputs: list[Value]) -> list[int]:
        """Matrices whose batches are broadcast."""
        rank = max(map(self._rank, inputs))
        return [self._aligned(x, rank) for x in inputs]

    def _assemble(self, node: Node, inputs: list[Value], attrs: dict[str, Any]) -> list[Value]:
        spread = [self.spread(x) for x in inputs]
        if node.primitive is assemble.concat:
            made = self._add(assemble.concat, spread, axis=attrs["axis"] + 1)
        else:
            starts, steps = (0, *attrs["starts"]), (1, *attrs["steps"])
            made = self._add(node.primitive, spread, starts=starts, steps=steps)
        return [Value(made, True)]

    def _gather(self, node: Node, inputs: list[Value], attrs: dict[str, Any]) -> list[Value]:
        data, *indices = inputs
        axes = attrs["axes"]
        if not any(x.batched for x in indices):
            numbers = [x.node for x in indices]
            made = self._add(
                index.gather, (data.node, *numbers), axes=tuple(axis + 1 for axis in axes)
            )
            # the examples come after the axes of the indices
            return [Value(self._examples_first(made, self._rank(indices[0])), True)]
        spread = [self.spread(x) for x in indices]
        if not data.batched:
            return [Value(self._add(index.gather, (data.node, *spread), axes=axes), True)]
        numbers, axes = self._numbered(spread, axes)
        return [Value(self._add(index.gather, (data.node, *numbers), axes=axes), True)]

    def _scatter(self, node: Node, inputs: list[Value], attrs: dict[str, Any]) -> list[Value]:
        base, updates, *indices = inputs
        axes, mode = attrs["axes"], attrs["mode"]
        array, new = self.spread(base), self.spread(updates)
        if not any(x.batched for x in indices):
            numbers = [x.node for x in indices]
            new = self._examples_last(new, self._rank(indices[0]))
            axes = tuple(axis + 1 for axis in axes)
        else:
            numbers, axes = self._numbered([self.spread(x) for x in indices], axes)
        made = self._add(index.scatter, (array, new, *numbers), axes=axes, mode=mode)
        return [Value(made, True)]

    def _numbered(self, indices: list[int], axes: Shape) -> tuple[list[int], Shape]:
        """Indices with that of the example first, and the axes that they are for."""
        example = self._add(index.iota, (), shape=self._shape(indices[0]), axis=0)
        return [example, *indices], (0, *(axis + 1 for axis in axes))

    def _examples_first(self, node: int, place: int) -> int:
        """A node with its axis of examples moved from a place to the first."""
        rank = len(self._shape(node))
        perm = (place, *(k for k in range(rank) if k != place))
        return self._add(view.transpose, (node,), perm=perm) if place else node

    def _examples_last(self, node: int, place: int) -> int:
        """A node with its first axis, that of examples, moved to a place."""
        rest = list(range(1, len(self._shape(node))))
        perm = (*rest[:place], 0, *rest[place:])
        return self._add(view.transpose, (node,), perm=perm) if place else node

    def _library(self, node: Node, inputs: list[Value], attrs: dict[str, Any]) -> list[Value]:
        primitive = node.primitive
        if primitive in _ALONG_AXIS:
            return self._along_axis(node, inputs, attrs)
        if primitive in _OF_MATRICES:
            return self._results(self._add(primitive, (inputs[0].node,), **attrs), True)
        if primitive is library.special:
            return self._pointwise(node, inputs, attrs)
        if primitive is library.triangular_solve:
            return [Value(self._add(primitive, self._matrices(inputs), **attrs), True)]
        if primitive is library.solve:
            return self._solve(inputs)
        return self._each(node, inputs)

    def _solve(self, inputs: list[Value]) -> list[Value]:
        a, b = inputs
        if self._rank(b) > 1:
            return [Value(self._add(library.solve, self._matrices(inputs)), True)]
        if not b.batched:
            return [Value(self._add(library.solve, (a.node, b.node)), True)]
        shape = self._shape(b.node)
        column = Value(self._add(view.reshape, (b.node,), shape=(*shape, 1)), True)
        found = self._add(library.solve, self._matrices([a, column]))
        rest = self._shape(found)[:-1]
        return [Value(self._add(view.reshape, (found,), shape=rest), True)]

    # -- control flow

    def _choice(self, node: Node, inputs: list[Value], attrs: dict[str, Any]) -> list[Value]:
        selector, *operands = inputs
        if selector.batched:
            if node.primitive is control.cond and all(map(_never_fails, node.regions)):
                return self._select(node, selector, operands)
            return self._each(node, inputs)
        flags = [x.batched for x in operands]
        found = [batch_graph(region, flags, self.size)[1] for region in node.regions]
        wanted = [any(column) for column in zip(*found, strict=True)]
        regions = [batch_graph(g, flags, self.size, wanted)[0] for g in node.regions]
        return self._control(node, regions, [x.node for x in inputs], wanted, attrs)

    def _select(self, node: Node, selector: Value, operands: Sequence[Value]) -> list[Value]:
        """The results of both regions, of which each example takes one."""
        results = []
        first, second = (self.run(region, operands) for region in node.regions)
        self._line = node.source
        for x, y in zip(first, second, strict=True):
            ranks = self._rank(x), self._rank(y)
            inputs = [self._aligned(value, max(ranks)) for value in (selector, x, y)]
            results.append(Value(self._add(pw.where, inputs), True))
        return results

    def _scan_loop(self, node: Node, inputs: list[Value], attrs: dict[str, Any]) -> list[Value]:
        (body,) = node.regions
        carried, sliced = attrs["carried"], attrs["sliced"]
        flags = [x.batched for x in inputs]
        while True:  # what is carried is batched if it ever becomes so
            found = batch_graph(body, [False, *flags], self.size)[1]
            joined = [a or b for a, b in zip(flags[:carried], found[:carried], strict=True)]
            if joined == flags[:carried]:
                break
            flags[:carried] = joined
        wanted = [*flags[:carried], *found[carried:]]
        region, _ = batch_graph(body, [False, *flags], self.size, wanted)
        given = []
        for k, (x, flag) in enumerate(zip(inputs, flags, strict=True)):
            number = self.spread(x) if flag else x.node
            along = flag and carried <= k < carried + sliced
            given.append(self._examples_last(number, 1) if along else number)
        results = self._control(node, [region], given, wanted, attrs)
        return [
            Value(self._examples_first(y.node, 1), True) if y.batched and k >= carried else y
            for k, y in enumerate(results)
        ]

    def _while_loop(
        self, node: Node, inputs: list[Value], attrs: dict[str, Any]
    ) -> list[Value]:
        test, body = node.regions
        carried = attrs["carried"]
        flags = [x.batched for x in inputs]
        while True:
            found = batch_graph(body, flags, self.size)[1]
            joined = [a or b for a, b in zip(flags[:carried], found, strict=True)]
            if joined == flags[:carried]:
                break
            flags[:carried] = joined
        new_test, (ends_apart,) = batch_graph(test, flags, self.size)
        if ends_apart:  # an example that is done may not be run on
            return self._each(node, inputs)
        new_body, _ = batch_graph(body, flags, self.size, flags[:carried])
        given = [self.spread(x) if f else x.node for x, f in zip(inputs, flags, strict=True)]
        return self._control(node, [new_test, new_body], given, flags[:carried], attrs)

    def _own_gradient(
        self, node: Node, inputs: list[Value], attrs: dict[str, Any]
    ) -> list[Value]:
        (region,) = node.regions
        flags = [True] * len(region.params)
        batched, _ = batch_graph(region, flags, self.size, [True] * attrs["arguments"])
        given = [self.spread(x) for x in inputs]
        return self._control(node, [batched], given, [True] * attrs["outputs"], attrs)

    def _control(
        self,
        node: Node,
        regions: Sequence[Graph],
        inputs: Sequence[int],
        batched: Sequence[bool],
        attrs: dict[str, Any],
    ) -> list[Value]:
        made = self.builder.add(node.primitive, inputs, node.source, tuple(regions), **attrs)
        items = [self._add(source.item, (made,), index=k) for k in range(len(batched))]
        return [Value(item, flag) for item, flag in zip(items, batched, strict=True)]

    def _each(self, node: Node, inputs: list[Value]) -> list[Value]:
        """A node that is run for one example after the other."""
        order = [x for x in inputs if x.batched] + [x for x in inputs if not x.batched]
        order = list(dict.fromkeys(order))
        builder = GraphBuilder(f"{node.primitive.name}_each")
        types = [TensorType((), int64)]
        for x in order:
            type = self.builder.type_of(x.node)
            types.append(type.with_shape(type.shape[1:]) if x.batched else type)
        params = list(map(builder.param, types))
        moved = dict(zip(order, params[1:], strict=True))
        made = builder.append(
            Node(
                node.primitive,
                tuple(moved[x] for x in inputs),
                node.attrs,
                node.type,
                node.source,
                node.regions,
            )
        )
        outputs = [made]
        if isinstance(node.type, TupleType):
            count = range(len(node.type.items))
            outputs = [builder.add(source.item, (made,), index=k) for k in count]
        loop = self.builder.add(
            control.scan,
            [x.node for x in order],
            node.source,
            (builder.finish(outputs),),
            start=0,
            count=self.size,
            carried=0,
            sliced=sum(x.batched for x in order),
            reverse=False,
        )
        return self._results(loop, True)


Rule = Callable[[Batcher, Node, list[Value], dict[str, Any]], list[Value]]
_ALONG_AXIS = {library.sort, library.argsort, library.fft}
# Of matrices, of which there may be any number before the last two axes.
_OF_MATRICES = {
    library.cholesky, library.inv, library.det, library.slogdet, library.qr, library.svd,
    library.eigh, library.eig, library.pinv,
}  # fmt: skip
_RULES: dict[type, Rule] = {
    Pointwise: Batcher._pointwise,
    View: Batcher._view,
    Reduce: Batcher._along_axis,
    Scan: Batcher._along_axis,
    Contract: Batcher._contract,
    Assemble: Batcher._assemble,
    Gather: Batcher._gather,
    Scatter: Batcher._scatter,
    Library: Batcher._library,
    Choice: Batcher._choice,
    CountedLoop: Batcher._scan_loop,
    ConditionalLoop: Batcher._while_loop,
    OwnGradient: Batcher._own_gradient,
}
_PURE = (Source, Pointwise, Coordinate, View, Reduce, Scan, Contract, Assemble, Item)
_DIVIDING = {pw.floordiv, pw.mod, pw.fmod, pw.div, pw.pow_, pw.unless}


def _never_fails(graph: Graph) -> bool:
    """Whether what a region computes can't raise, so that it may be run for nothing."""
    for node in graph.nodes:
        if not isinstance(node.primitive.kind, _PURE) or node.primitive is pw.unless:
            return False
        if node.primitive in _DIVIDING and not node.tensor.dtype.is_inexact:
            return False
    return True


__all__ = ["batch_graph"]
