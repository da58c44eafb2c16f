"""Builds one Kernel: follows index maps from what is computed back to buffers.

A `Walk` starts from nodes at given indices and goes down the node numbers, through pointwise
ops and views, to *leaves*: nodes that have a buffer. No recursion, so any depth will do.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from graphjit.core.dims import stretched
from graphjit.core.types import Shape, int64
from graphjit.ir.graph import Graph, Node
from graphjit.ir.program import (
    Compute,
    Constant,
    DynamicIndex,
    GatherLoad,
    Index,
    IndexValue,
    Kernel,
    Load,
    Product,
    Reduction,
    ScanValue,
    Store,
    Value,
    exactly,
    map_indices,
)
from graphjit.ops import source
from graphjit.ops.primitive import Contract, Coordinate, Gather, Pointwise, Reduce, Scan, View

from .space import ZERO, Expr, Exprs, Space, Term, Unfusable, row_major

# An element is asked for by its index, or by its place in the flattened tensor.
Where = Exprs | Expr
# For each input of a node, which of its elements one element of the node is made of.
Needs = list[tuple[int, Where]]


class MustStore(Exception):
    """A node that has to be stored before the kernel at hand can be built."""

    def __init__(self, node: int) -> None:
        super().__init__(f"%{node} must be stored")
        self.node = node


@dataclass(eq=False, repr=False)
class Target:
    """What a kernel stores: a node's value at an index, into a buffer at a place."""

    node: int
    where: Exprs
    buffer: int
    place: Expr
    scatter: int | None = None  # the scatter node, whose indices choose the place


@dataclass(eq=False, repr=False)
class Domain:
    """A kernel's iteration domain in its space.

    shape and index: of the full tensor. axes: those walked inside. lanes: see Kernel.
    product: whether it is that of a matrix product, whose full tensor nobody asks for.
    """

    space: Space
    shape: Shape
    axes: tuple[int, ...]
    index: Exprs
    scan: bool = False
    product: bool = False

    @property
    def outer_shape(self) -> Shape:
        """The extents that remain when the axes are gone."""
        return tuple(n for k, n in enumerate(self.shape) if k not in self.axes)

    @property
    def outer_index(self) -> Exprs:
        """The index of an outer value."""
        return tuple(e for k, e in enumerate(self.index) if k not in self.axes)

    @property
    def inner_index(self) -> Exprs:
        """The index along the axes walked inside."""
        return tuple(self.index[k] for k in self.axes)

    @property
    def lanes(self) -> str:
        """Which dims vector lanes go along."""
        if self.product:
            return "outer"
        longer = [k for k, n in enumerate(self.shape) if n != 1]
        return "inner" if longer and longer[-1] in self.axes and not self.scan else "outer"


def new_domain(shape: Shape, axes: tuple[int, ...] = (), scan: bool = False) -> Domain:
    """A domain of its own space: outer atoms first, then the inner ones, which stay whole."""
    space = Space()
    parts = {k: space.atom(n) for k, n in enumerate(shape) if n != 1 and k not in axes}
    parts |= {k: space.atom(shape[k], fixed=True) for k in axes if shape[k] != 1}
    return Domain(
        space, shape, axes, tuple(parts.get(k, ZERO) for k in range(len(shape))), scan
    )


@dataclass(eq=False, repr=False)
class Walk:
    """Demands for elements of nodes, from consumers down to leaves.

    asked: the demands for each node. needs: what each of them demands in turn, in the same
    order, of nodes that aren't leaves.
    """

    graph: Graph
    domain: Domain
    is_leaf: Callable[[int], bool]
    asked: dict[int, list[Where]] = field(default_factory=dict)
    needs: dict[int, list[Needs]] = field(default_factory=dict)
    reads: list[tuple[int, Expr]] = field(default_factory=list)
    _heap: list[int] = field(default_factory=list)
    _known: set[tuple[int, Where]] = field(default_factory=set)

    def ask(self, node: int, where: Where) -> None:
        """Demand an element of a node."""
        # looked up by hash, as the values will be: guards can make equal what has two forms
        if (node, where) in self._known:
            return
        self._known.add((node, where))
        found = self.asked.setdefault(node, [])
        if not found:
            heapq.heappush(self._heap, -node)
        found.append(where)

    def run(self, members: frozenset[int] | set[int]) -> None:
        """Follow all demands. Members are computed here though they would be leaves."""
        while self._heap:
            node = -heapq.heappop(self._heap)
            if node not in members and self.is_leaf(node):
                self.reads += [(node, self.flat(node, where)) for where in self.asked[node]]
                continue
            try:
                needs = [self._inputs_of(node, where) for where in self.asked[node]]
            except Unfusable:
                raise self._blame(node) from None
            self.needs[node] = needs
            for inputs in needs:
                for number, index in inputs:
                    self.ask(number, index)

    def _blame(self, node: int) -> MustStore:
        inputs = self.graph.nodes[node].inputs
        for candidate in (*inputs[:1], node):
            if not self.is_leaf(candidate):
                return MustStore(candidate)
        raise Unfusable

    def flat(self, node: int, where: Where) -> Expr:
        """The place of an element in its tensor, flattened."""
        if not where:
            return ZERO
        space = self.domain.space
        if isinstance(where, Expr):
            return space.resolve(where)
        return space.resolve(space.flat(where, self.graph.nodes[node].tensor.shape))

    def _inputs_of(self, number: int, where: Where) -> Needs:
        node = self.graph.nodes[number]
        space = self.domain.space
        kind = node.primitive.kind
        if isinstance(where, Expr):
            flat = self._flat_inputs(node, where)
            if flat is not None:
                return flat
            shape = node.tensor.shape
            where = space.reshape((where,), (node.tensor.size,), shape)
        match kind:
            case Pointwise():
                return [(i, self._broadcast(i, where, node.tensor.shape)) for i in node.inputs]
            case View():
                return [(node.inputs[0], self._view(node, where))]
            case Gather():
                count = self.graph.nodes[node.inputs[1]].tensor.ndim
                return [(i, where[:count]) for i in node.inputs[1:]]
            case Coordinate():
                return []
            case Reduce():
                return [(node.inputs[0], self._whole(node))]
            case Contract():
                return self._operands(node)
            case Scan():
                return [(node.inputs[0], where)]
            case _:
                raise Unfusable

    def _flat_inputs(self, node: Node, where: Expr) -> Needs | None:
        """Inputs of an element known by its flat place, if they can be had that way."""
        kind = node.primitive.kind
        if isinstance(kind, View) and self._is_reshape(node):
            return [(node.inputs[0], where)]
        if not isinstance(kind, Pointwise):
            return None
        types = [self.graph.nodes[i].tensor for i in node.inputs]
        if any(t.size != 1 and t.shape != node.tensor.shape for t in types):
            return None
        return [
            (i, where if t.size != 1 else (ZERO,) * t.ndim)
            for i, t in zip(node.inputs, types, strict=True)
        ]

    def _is_reshape(self, node: Node) -> bool:
        return any(name == "shape" for name, _ in node.attrs) and (
            self.graph.nodes[node.inputs[0]].tensor.size == node.tensor.size
        )

    def _view(self, node: Node, where: Exprs) -> Where:
        x = self.graph.nodes[node.inputs[0]].tensor
        y = node.tensor
        assert isinstance(node.primitive.kind, View)
        space = self.domain.space
        reshaped = self._is_reshape(node)
        if reshaped and self.is_leaf(node.inputs[0]):
            return space.flat(where, y.shape)
        try:
            index: Sequence[Expr] = node.primitive.kind.index(
                space, where, x, y, **dict(node.attrs)
            )
        except Unfusable:
            if not reshaped:
                raise
            return space.flat(where, y.shape)
        return tuple(index)

    def _broadcast(self, number: int, where: Exprs, out: Shape) -> Exprs:
        """The index in an operand of the element at an index in the result of shape `out`."""
        shape = self.graph.nodes[number].tensor.shape
        first = len(where) - len(shape)
        if shape == out[first:]:
            return where[first:]
        axes = zip(shape, out[first:], where[first:], strict=True)
        return tuple([ZERO if stretched(n, m) else e for n, m, e in axes])

    def _operands(self, node: Node) -> Needs:
        """A product's operands, each at the index that its element needs."""
        found: Needs = []
        for operand, last in zip(node.inputs, ((-3, -1), (-1, -2)), strict=True):
            where = (*self.domain.index[:-3], *(self.domain.index[k] for k in last))
            shape = (*self.domain.shape[:-3], *(self.domain.shape[k] for k in last))
            found.append((operand, self._broadcast(operand, where, shape)))
        return found

    def _whole(self, node: Node) -> Exprs:
        """The index of a reduction's operand: outer atoms, and inner ones along its axes."""
        shape = self.graph.nodes[node.inputs[0]].tensor.shape
        return self.operand_index(shape)

    def operand_index(self, shape: Shape) -> Exprs:
        """The domain's full index as the index of a tensor of this shape."""
        if shape == self.domain.shape:
            return self.domain.index
        return self.domain.space.reshape(self.domain.index, self.domain.shape, shape)

    def coordinate(self, node: Node, where: Where) -> Expr:
        """The index that an element of a Coordinate node is."""
        axis: int = node.attr("axis")
        return self._by_axis(node, where)[axis]

    def chosen(
        self, node: Node, where: Where, args: tuple[int, ...]
    ) -> tuple[Expr, tuple[DynamicIndex, ...]]:
        """Place and choices of the element that a Gather node takes, by index values `args`."""
        data = self.graph.nodes[node.inputs[0]].tensor
        where = self._by_axis(node, where)
        count = len(where) - (data.ndim - len(args))
        return _chosen(data.shape, node.attr("axes"), where[count:], args)

    def _by_axis(self, node: Node, where: Where) -> Exprs:
        if isinstance(where, Expr):
            return self.domain.space.reshape((where,), (node.tensor.size,), node.tensor.shape)
        return where

    def keeps_order(self) -> bool:
        """Whether neighbouring inner axes can be walked as one, in the order of the shape."""
        space = self.domain.space
        groups = [
            [self.domain.index[axis].terms[0][0] for axis in group]
            for group in _walked_as_one(self.domain)
        ]
        pairs = [pair for atoms in groups for pair in itertools.pairwise(atoms)]
        if not pairs:
            return True
        steps = [dict(space.resolve(index).terms) for index in self._indices()]
        return all(
            step.get(high, 0) == step.get(low, 0) * space.extents[low]
            for step in steps
            for high, low in pairs
        )

    def _indices(self) -> Iterator[Expr]:
        """Every affine index that a kernel of what was asked for will have."""
        yield from (place for _, place in self.reads)
        for number, places in self.asked.items():
            node = self.graph.nodes[number]
            kind = node.primitive.kind
            for where in places if number in self.needs else ():
                if isinstance(kind, Coordinate):
                    yield self.coordinate(node, where)
                elif isinstance(kind, Gather):
                    yield self.chosen(node, where, (0,) * (len(node.inputs) - 1))[0]


def build_kernel(
    graph: Graph,
    domain: Domain,
    targets: Sequence[Target],
    members: set[int],
    buffer_of: Callable[[int], int],
    is_leaf: Callable[[int], bool],
    name: str,
    walk: Walk | None = None,
) -> Kernel:
    """The kernel that computes the targets' nodes and stores them. walk: one that has followed
    the targets' demands, if there is one.
    """
    if walk is None:
        walk = Walk(graph, domain, is_leaf)
        for target in targets:
            walk.ask(target.node, target.where)
            if target.scatter is not None:
                for index in graph.nodes[target.scatter].inputs[2:]:
                    count = graph.nodes[index].tensor.ndim
                    walk.ask(index, target.where[:count])
        walk.run(members)
    emitter = _Emitter(walk, buffer_of)
    for number in sorted(walk.asked):
        emitter.node(number)
    stores = tuple(emitter.store(target) for target in targets)
    space = domain.space
    inner_atoms = {a for e in domain.inner_index for a, _ in space.resolve(e).terms}
    order = [a for a in space.order if a not in inner_atoms]
    order += [a for a in space.order if a in inner_atoms]

    def by_dim(index: Index) -> Index:
        terms = dict(cast(tuple[Term, ...], index.strides))
        return Index(index.offset, tuple(terms.get(a, 0) for a in order))

    values = tuple(map_indices(v, by_dim) for v in emitter.values)
    stores = tuple(map_indices(s, by_dim) for s in stores)
    dims = tuple(space.extents[a] for a in order)
    nodes = emitter.computed() | {t.scatter for t in targets if t.scatter is not None}
    kernel = Kernel(
        name, dims, len(inner_atoms), domain.lanes, values, stores, tuple(sorted(nodes))
    )
    return _merge_inner(kernel, domain)


class _Emitter:
    """Turns demands into values, inputs before users."""

    def __init__(self, walk: Walk, buffer_of: Callable[[int], int]) -> None:
        self.walk = walk
        self.graph = walk.graph
        self.space = walk.domain.space
        self.buffer_of = buffer_of
        self.values: list[Value] = []
        self.places: dict[tuple[int, Expr | Exprs], int] = {}
        self._same: dict[object, int] = {}

    def append(self, value: Value) -> int:
        """Add a value unless the same one is there."""
        found = self._same.setdefault(exactly(value), len(self.values))
        if found == len(self.values):
            self.values.append(value)
        return found

    def key(self, number: int, where: Where) -> tuple[int, Expr | Exprs]:
        """What makes two demands for a node the same."""
        return number, self.space.resolved(where)

    def node(self, number: int) -> None:
        """Add the values of all demands for a node."""
        needs = self.walk.needs.get(number)
        for k, where in enumerate(self.walk.asked[number]):
            key = self.key(number, where)
            if key not in self.places:
                inputs = None if needs is None else needs[k]
                self.places[key] = self.append(self._value(number, where, inputs))

    def arg(self, number: int, where: Where) -> int:
        """The value that answers a demand."""
        return self.places[self.key(number, where)]

    def computed(self) -> set[int]:
        """The nodes whose values this kernel computes and does not load."""
        return set(self.walk.needs)

    def _index(self, expr: Expr) -> Index:
        # strides by atom for now; build_kernel lays them out by dim
        resolved = self.space.resolve(expr)
        return Index(resolved.constant, resolved.terms)  # type: ignore[arg-type]

    def _value(self, number: int, where: Where, inputs: Needs | None) -> Value:
        node = self.graph.nodes[number]
        type = node.tensor
        if inputs is None:
            if node.primitive is source.const and type.size == 1:
                return Constant(node.attr("value").number, type.dtype)
            if node.primitive is source.extent:
                return Constant(node.attr("value"), type.dtype)
            place = self._index(self.walk.flat(number, where))
            return Load(self.buffer_of(number), place, type.dtype)
        args = tuple([self.arg(i, w) for i, w in inputs])
        kind = node.primitive.kind
        match kind:
            case Pointwise():
                return Compute(node.primitive, node.attrs, args, type.dtype, node.source)
            case View():
                return self.values[args[0]]
            case Coordinate():
                return IndexValue(self._index(self.walk.coordinate(node, where)), int64)
            case Gather():
                return self._gather(node, where, args)
            case Reduce():
                number_in_row: Index | None = None
                if kind.needs_coordinate:
                    domain = self.walk.domain
                    shape = tuple(domain.shape[k] for k in domain.axes)
                    number_in_row = self._index(self.space.flat(domain.inner_index, shape))
                dtype = self.graph.nodes[node.inputs[0]].tensor.dtype
                return Reduction(node.primitive, args[0], number_in_row, dtype, type.dtype)
            case Contract():
                return Product(args[0], args[1], type.dtype)
            case Scan():
                dtype = self.graph.nodes[node.inputs[0]].tensor.dtype
                return ScanValue(node.primitive, args[0], dtype, type.dtype)
            case _:
                raise Unfusable

    def _gather(self, node: Node, where: Where, args: tuple[int, ...]) -> Value:
        base, choices = self.walk.chosen(node, where, args)
        buffer = self.buffer_of(node.inputs[0])
        return GatherLoad(buffer, self._index(base), choices, node.tensor.dtype, node.source)

    def store(self, target: Target) -> Store:
        """The store of a target."""
        arg = self.arg(target.node, target.where)
        if target.scatter is None:
            return Store(target.buffer, self._index(target.place), arg)
        node = self.graph.nodes[target.scatter]
        base = self.graph.nodes[node.inputs[0]].tensor
        count = self.graph.nodes[node.inputs[2]].tensor.ndim
        args = tuple(self.arg(i, target.where[:count]) for i in node.inputs[2:])
        place, choices = _chosen(base.shape, node.attr("axes"), target.where[count:], args)
        attrs = tuple((k, v) for k, v in node.attrs if k != "axes")
        return Store(
            target.buffer, self._index(place), arg, choices, node.primitive, attrs, node.source
        )


def _chosen(
    shape: Shape, axes: Shape, rest: Exprs, args: tuple[int, ...]
) -> tuple[Expr, tuple[DynamicIndex, ...]]:
    """Place and choices of an element whose index along `axes` is data."""
    strides = row_major(shape)
    others = [k for k in range(len(shape)) if k not in axes]
    base = ZERO
    for axis, expr in zip(others, rest, strict=True):
        base = base + expr * strides[axis]
    choices = tuple(
        DynamicIndex(arg, shape[axis], strides[axis])
        for axis, arg in zip(axes, args, strict=True)
    )
    return base, choices


def _walked_as_one(domain: Domain) -> list[list[int]]:
    """The axes walked inside, neighbours in one group, axes of extent 1 left out."""
    groups: list[list[int]] = []
    for axis in (k for k in domain.axes if domain.shape[k] != 1):
        between = domain.shape[groups[-1][-1] + 1 : axis] if groups else ()
        if groups and all(n == 1 for n in between):
            groups[-1].append(axis)
        else:
            groups.append([axis])
    return groups


def _merge_inner(kernel: Kernel, domain: Domain) -> Kernel:
    """Neighbouring axes that are walked inside become one dim: the order in which elements
    are combined is that of the flattened tensor, whatever its axes.

    `Walk.keeps_order` has seen to it that all indices allow that.
    """
    position = len(kernel.outer_dims)
    keep, dims = list(range(position)), list(kernel.outer_dims)
    for group in _walked_as_one(domain):
        dims.append(math.prod(kernel.dims[position : position + len(group)]))
        position += len(group)
        keep.append(position - 1)

    def narrowed(index: Index) -> Index:
        return Index(index.offset, tuple(index.strides[k] for k in keep))

    return replace(
        kernel,
        dims=tuple(dims),
        inner=len(dims) - len(kernel.outer_dims),
        values=tuple(map_indices(v, narrowed) for v in kernel.values),
        stores=tuple(map_indices(s, narrowed) for s in kernel.stores),
    )
