"""Builds one Kernel: follows index maps from outputs back to buffers.

A `DemandWalk` starts from nodes at given indices. It goes down the node numbers, through
pointwise nodes and views, to *leaves*: nodes that have a buffer. It doesn't recurse, so any
depth will do.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from graphjit.core.extents import stretched
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
    exact_key,
    map_indices,
)
from graphjit.ops import source
from graphjit.ops.primitive import Contract, Coordinate, Gather, Pointwise, Reduce, Scan, View

from .space import ZERO, Expr, Exprs, Space, Term, Unfusable, row_major

# Which element of a tensor: by its index, or by its offset in the flattened tensor.
Where = Exprs | Expr
# The elements of a node's inputs from which one element of the node is computed.
Needs = list[tuple[int, Where]]


class MustStore(Exception):
    """Raised for a node that has to be stored before the current kernel can be built."""

    def __init__(self, node: int) -> None:
        super().__init__(f"%{node} must be stored")
        self.node = node


@dataclass(eq=False, repr=False)
class KernelOutput:
    """One store of a kernel.

    node: the node whose value is stored
    where: the index of the element
    buffer, offset: where it is stored
    scatter: the scatter node whose indices choose the offset, if there is one
    """

    node: int
    where: Exprs
    buffer: int
    offset: Expr
    scatter: int | None = None


@dataclass(eq=False, repr=False)
class Domain:
    """A kernel's iteration domain.

    space: the atoms of its indices
    shape, index: of the full tensor
    axes: those of the inner dims
    scan: whether the inner dim is scanned
    product: whether it is that of a matrix product, whose full tensor is never materialized
    """

    space: Space
    shape: Shape
    axes: tuple[int, ...]
    index: Exprs
    scan: bool = False
    product: bool = False

    @property
    def outer_shape(self) -> Shape:
        """The extents of the outer dims."""
        return tuple(n for k, n in enumerate(self.shape) if k not in self.axes)

    @property
    def outer_index(self) -> Exprs:
        """The index along the outer dims."""
        return tuple(e for k, e in enumerate(self.index) if k not in self.axes)

    @property
    def inner_index(self) -> Exprs:
        """The index along the inner dims."""
        return tuple(self.index[k] for k in self.axes)

    @property
    def lanes(self) -> str:
        """Which dims vector lanes go along; see `Kernel`."""
        if self.product:
            return "outer"
        longer = [k for k, n in enumerate(self.shape) if n != 1]
        return "inner" if longer and longer[-1] in self.axes and not self.scan else "outer"


def new_domain(shape: Shape, axes: tuple[int, ...] = (), scan: bool = False) -> Domain:
    """A domain in a space of its own: outer atoms first, then the inner ones, which are never
    split.
    """
    space = Space()
    parts = {k: space.atom(n) for k, n in enumerate(shape) if n != 1 and k not in axes}
    parts |= {k: space.atom(shape[k], fixed=True) for k in axes if shape[k] != 1}
    return Domain(
        space, shape, axes, tuple(parts.get(k, ZERO) for k in range(len(shape))), scan
    )


@dataclass(eq=False, repr=False)
class DemandWalk:
    """Demands for elements of nodes, from users down to leaves.

    asked: the demands for each node
    needs: for each node that isn't a leaf, what each of its demands demands in turn
    reads: the elements of leaves that are read, by offset
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
        # looked up by hash, as values are: guards can make two different indices equal
        if (node, where) in self._known:
            return
        self._known.add((node, where))
        found = self.asked.setdefault(node, [])
        if not found:
            heapq.heappush(self._heap, -node)
        found.append(where)

    def run(self, members: frozenset[int] | set[int]) -> None:
        """Follow all demands. Members are computed here even where they would be leaves."""
        while self._heap:
            node = -heapq.heappop(self._heap)
            if node not in members and self.is_leaf(node):
                self.reads += [(node, self.flat(node, where)) for where in self.asked[node]]
                continue
            try:
                needs = [self._demands_of(node, where) for where in self.asked[node]]
            except Unfusable:
                raise self._find_node_to_store(node) from None
            self.needs[node] = needs
            for inputs in needs:
                for number, index in inputs:
                    self.ask(number, index)

    def _find_node_to_store(self, node: int) -> MustStore:
        """The node to store so that a node's index becomes affine."""
        inputs = self.graph.nodes[node].inputs
        for candidate in (*inputs[:1], node):
            if not self.is_leaf(candidate):
                return MustStore(candidate)
        raise Unfusable

    def flat(self, node: int, where: Where) -> Expr:
        """The offset of an element in its flattened tensor."""
        if not where:
            return ZERO
        space = self.domain.space
        if isinstance(where, Expr):
            return space.resolve(where)
        return space.resolve(space.flat(where, self.graph.nodes[node].tensor.shape))

    def _demands_of(self, number: int, where: Where) -> Needs:
        """What an element of a node is computed from."""
        node = self.graph.nodes[number]
        space = self.domain.space
        kind = node.primitive.kind
        if isinstance(where, Expr):
            flat = self._flat_demands(node, where)
            if flat is not None:
                return flat
            shape = node.tensor.shape
            where = space.reshape((where,), (node.tensor.size,), shape)
        match kind:
            case Pointwise():
                return [
                    (i, self._broadcast_index(i, where, node.tensor.shape)) for i in node.inputs
                ]
            case View():
                return [(node.inputs[0], self._view_index(node, where))]
            case Gather():
                count = self.graph.nodes[node.inputs[1]].tensor.ndim
                return [(i, where[:count]) for i in node.inputs[1:]]
            case Coordinate():
                return []
            case Reduce():
                shape = self.graph.nodes[node.inputs[0]].tensor.shape
                return [(node.inputs[0], self._operand_index(shape))]
            case Contract():
                return self._product_demands(node)
            case Scan():
                return [(node.inputs[0], where)]
            case _:
                raise Unfusable

    def _flat_demands(self, node: Node, where: Expr) -> Needs | None:
        """What an element known by its offset is computed from; None where its index is
        needed.
        """
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

    def _view_index(self, node: Node, where: Exprs) -> Where:
        """The element of a view's input that an element of the view is."""
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

    def _broadcast_index(self, number: int, where: Exprs, out: Shape) -> Exprs:
        """The index in an operand, for an index in a result of shape `out`."""
        shape = self.graph.nodes[number].tensor.shape
        first = len(where) - len(shape)
        if shape == out[first:]:
            return where[first:]
        axes = zip(shape, out[first:], where[first:], strict=True)
        return tuple([ZERO if stretched(n, m) else e for n, m, e in axes])

    def _product_demands(self, node: Node) -> Needs:
        """The elements of a product's operands for one step of its inner dim."""
        found: Needs = []
        for operand, last in zip(node.inputs, ((-3, -1), (-1, -2)), strict=True):
            where = (*self.domain.index[:-3], *(self.domain.index[k] for k in last))
            shape = (*self.domain.shape[:-3], *(self.domain.shape[k] for k in last))
            found.append((operand, self._broadcast_index(operand, where, shape)))
        return found

    def _operand_index(self, shape: Shape) -> Exprs:
        """The domain's full index as the index of a tensor of this shape."""
        if shape == self.domain.shape:
            return self.domain.index
        return self.domain.space.reshape(self.domain.index, self.domain.shape, shape)

    def coordinate(self, node: Node, where: Where) -> Expr:
        """The index that an element of a Coordinate node is."""
        axis: int = node.attr("axis")
        return self._index_by_axis(node, where)[axis]

    def gather_index(
        self, node: Node, where: Where, args: tuple[int, ...]
    ) -> tuple[Expr, tuple[DynamicIndex, ...]]:
        """The element that a Gather node takes, with its indices as values `args`.

        Gives its offset, and the indices to add to it.
        """
        data = self.graph.nodes[node.inputs[0]].tensor
        where = self._index_by_axis(node, where)
        count = len(where) - (data.ndim - len(args))
        return _gather_index(data.shape, node.attr("axes"), where[count:], args)

    def _index_by_axis(self, node: Node, where: Where) -> Exprs:
        if isinstance(where, Expr):
            return self.domain.space.reshape((where,), (node.tensor.size,), node.tensor.shape)
        return where

    def keeps_order(self) -> bool:
        """Whether neighbouring inner axes can be one loop in row-major order."""
        space = self.domain.space
        groups = [
            [self.domain.index[axis].terms[0][0] for axis in group]
            for group in _merged_axes(self.domain)
        ]
        pairs = [pair for atoms in groups for pair in itertools.pairwise(atoms)]
        if not pairs:
            return True
        steps = [dict(space.resolve(index).terms) for index in self._affine_indices()]
        return all(
            step.get(high, 0) == step.get(low, 0) * space.extents[low]
            for step in steps
            for high, low in pairs
        )

    def _affine_indices(self) -> Iterator[Expr]:
        """Every affine index that the kernel will have."""
        yield from (offset for _, offset in self.reads)
        for number, demands in self.asked.items():
            node = self.graph.nodes[number]
            kind = node.primitive.kind
            for where in demands if number in self.needs else ():
                if isinstance(kind, Coordinate):
                    yield self.coordinate(node, where)
                elif isinstance(kind, Gather):
                    yield self.gather_index(node, where, (0,) * (len(node.inputs) - 1))[0]


def build_kernel(
    graph: Graph,
    domain: Domain,
    outputs: Sequence[KernelOutput],
    members: set[int],
    buffer_of: Callable[[int], int],
    is_leaf: Callable[[int], bool],
    name: str,
    walk: DemandWalk | None = None,
) -> Kernel:
    """The kernel that computes and stores these outputs.

    members: nodes that it computes though they are leaves elsewhere
    buffer_of: the buffer of a node
    walk: one that has followed the outputs' demands, if there is one
    """
    if walk is None:
        walk = DemandWalk(graph, domain, is_leaf)
        for output in outputs:
            walk.ask(output.node, output.where)
            if output.scatter is not None:
                for index in graph.nodes[output.scatter].inputs[2:]:
                    count = graph.nodes[index].tensor.ndim
                    walk.ask(index, output.where[:count])
        walk.run(members)
    builder = ValueBuilder(walk, buffer_of)
    for number in sorted(walk.asked):
        builder.add_node(number)
    stores = tuple(builder.make_store(output) for output in outputs)
    space = domain.space
    inner_atoms = {a for e in domain.inner_index for a, _ in space.resolve(e).terms}
    order = [a for a in space.order if a not in inner_atoms]
    order += [a for a in space.order if a in inner_atoms]

    def by_dim(index: Index) -> Index:
        terms = dict(cast(tuple[Term, ...], index.strides))
        return Index(index.offset, tuple(terms.get(a, 0) for a in order))

    values = tuple(map_indices(v, by_dim) for v in builder.values)
    stores = tuple(map_indices(s, by_dim) for s in stores)
    dims = tuple(space.extents[a] for a in order)
    nodes = builder.computed_nodes() | {o.scatter for o in outputs if o.scatter is not None}
    kernel = Kernel(
        name, dims, len(inner_atoms), domain.lanes, values, stores, tuple(sorted(nodes))
    )
    return _merge_inner(kernel, domain)


class ValueBuilder:
    """Turns demands into values, inputs before users."""

    def __init__(self, walk: DemandWalk, buffer_of: Callable[[int], int]) -> None:
        self.walk = walk
        self.graph = walk.graph
        self.space = walk.domain.space
        self.buffer_of = buffer_of
        self.values: list[Value] = []
        self.value_of: dict[tuple[int, Expr | Exprs], int] = {}
        self._numbers: dict[object, int] = {}

    def append(self, value: Value) -> int:
        """Add a value, unless an equal one exists. Gives its number."""
        found = self._numbers.setdefault(exact_key(value), len(self.values))
        if found == len(self.values):
            self.values.append(value)
        return found

    def _key(self, number: int, where: Where) -> tuple[int, Expr | Exprs]:
        """What makes two demands for a node the same."""
        return number, self.space.resolved(where)

    def add_node(self, number: int) -> None:
        """Add the values of all demands for a node."""
        needs = self.walk.needs.get(number)
        for k, where in enumerate(self.walk.asked[number]):
            key = self._key(number, where)
            if key not in self.value_of:
                inputs = None if needs is None else needs[k]
                self.value_of[key] = self.append(self._make_value(number, where, inputs))

    def answer(self, number: int, where: Where) -> int:
        """The number of the value that answers a demand."""
        return self.value_of[self._key(number, where)]

    def computed_nodes(self) -> set[int]:
        """The nodes whose values the kernel computes rather than loads."""
        return set(self.walk.needs)

    def _index(self, expr: Expr) -> Index:
        # strides by atom; build_kernel reorders them by dim
        resolved = self.space.resolve(expr)
        return Index(resolved.constant, resolved.terms)  # type: ignore[arg-type]

    def _make_value(self, number: int, where: Where, inputs: Needs | None) -> Value:
        node = self.graph.nodes[number]
        type = node.tensor
        if inputs is None:
            if node.primitive is source.const and type.size == 1:
                return Constant(node.attr("value").number, type.dtype)
            if node.primitive is source.extent:
                return Constant(node.attr("value"), type.dtype)
            index = self._index(self.walk.flat(number, where))
            return Load(self.buffer_of(number), index, type.dtype)
        args = tuple([self.answer(i, w) for i, w in inputs])
        kind = node.primitive.kind
        match kind:
            case Pointwise():
                return Compute(node.primitive, node.attrs, args, type.dtype, node.source)
            case View():
                return self.values[args[0]]
            case Coordinate():
                return IndexValue(self._index(self.walk.coordinate(node, where)), int64)
            case Gather():
                return self._make_gather(node, where, args)
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

    def _make_gather(self, node: Node, where: Where, args: tuple[int, ...]) -> Value:
        base, choices = self.walk.gather_index(node, where, args)
        buffer = self.buffer_of(node.inputs[0])
        return GatherLoad(buffer, self._index(base), choices, node.tensor.dtype, node.source)

    def make_store(self, output: KernelOutput) -> Store:
        """The store of an output."""
        arg = self.answer(output.node, output.where)
        if output.scatter is None:
            return Store(output.buffer, self._index(output.offset), arg)
        node = self.graph.nodes[output.scatter]
        base = self.graph.nodes[node.inputs[0]].tensor
        count = self.graph.nodes[node.inputs[2]].tensor.ndim
        args = tuple(self.answer(i, output.where[:count]) for i in node.inputs[2:])
        offset, choices = _gather_index(
            base.shape, node.attr("axes"), output.where[count:], args
        )
        attrs = tuple((k, v) for k, v in node.attrs if k != "axes")
        return Store(
            output.buffer, self._index(offset), arg, choices, node.primitive, attrs, node.source
        )


def _gather_index(
    shape: Shape, axes: Shape, rest: Exprs, args: tuple[int, ...]
) -> tuple[Expr, tuple[DynamicIndex, ...]]:
    """The offset of an element whose index along `axes` is data, and those indices."""
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


def _merged_axes(domain: Domain) -> list[list[int]]:
    """The inner axes in groups of neighbours, each a loop. Axes of extent 1 are left out."""
    groups: list[list[int]] = []
    for axis in (k for k in domain.axes if domain.shape[k] != 1):
        between = domain.shape[groups[-1][-1] + 1 : axis] if groups else ()
        if groups and all(n == 1 for n in between):
            groups[-1].append(axis)
        else:
            groups.append([axis])
    return groups


def _merge_inner(kernel: Kernel, domain: Domain) -> Kernel:
    """The kernel with neighbouring inner axes merged to one dim.

    Elements are thus combined in the order of the flattened tensor, whatever its axes.
    `DemandWalk.keeps_order` has made sure that all indices allow it.
    """
    position = len(kernel.outer_dims)
    keep, dims = list(range(position)), list(kernel.outer_dims)
    for group in _merged_axes(domain):
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
