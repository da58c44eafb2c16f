"""Reverse mode: the graph of a function -> that of its value and of cotangents of its operands.

The nodes of the graph are run through from the last to the first. A pointwise primitive has its
slopes in its record; here are the rules of the other kinds, and those of routines of linear
algebra. A cotangent that is 0 is None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.errors import InternalError, NotDifferentiableError, at_user_line
from graphjit.core.types import Shape, TensorType, TupleType, int64
from graphjit.ir.graph import Graph, GraphBuilder, Node
from graphjit.ops import assemble, contract, control, index, library, reduce, source, view
from graphjit.ops.primitive import (
    Assemble,
    Choice,
    ConditionalLoop,
    Contract,
    CountedLoop,
    Gather,
    Item,
    Library,
    Pointwise,
    Reduce,
    Scan,
    Scatter,
    View,
)

from .slopes import NodeMaker, Ref

Cotangent = Ref | None


def vjp_graph(graph: Graph, wanted: Sequence[bool], with_outputs: bool = True) -> Graph:
    """A graph of the same parameters and a cotangent for each output.

    Its outputs are those of `graph`, if `with_outputs`, and the cotangents of its parameters
    that are wanted. Raises NotDifferentiableError where an op on the way has no rule.
    """
    return Reverse(graph, wanted).result(with_outputs)


def jvp_graph(graph: Graph, wanted: Sequence[bool]) -> Graph:
    """A graph of the same parameters and a tangent for each that is wanted.

    Its outputs are those of `graph` and their tangents; outputs that are no floats have none.
    Cotangents of the parameters are linear in those of the outputs: the transpose of that map
    takes tangents of parameters to tangents of outputs (J. Townsend, "A new trick for
    calculating Jacobian vector products", 2017).
    """
    back = vjp_graph(graph, wanted)
    count, outputs = len(graph.params), len(graph.outputs)
    floats = [has_cotangent(graph.nodes[i].type) for i in graph.outputs]
    twice = vjp_graph(
        Graph(back.name, back.nodes, back.outputs[outputs:]), [False] * count + floats, False
    )
    builder = GraphBuilder(graph.name)
    moved: dict[int, int] = {}
    given: list[int] = []
    for number in graph.params:
        type = graph.nodes[number].tensor
        given.append(
            builder.add(source.param, type=type, name=f"p{len(given)}", role="argument")
        )
    d = NodeMaker(builder)
    tangents = [
        builder.add(source.param, type=graph.nodes[i].tensor, name=f"t{k}", role="argument")
        for k, (i, flag) in enumerate(zip(graph.params, wanted, strict=True))
        if flag
    ]
    # of a linear map any point will do; at 1 slopes make no exceptions for 0
    points = [
        d.spread(Ref(builder.const(np.ones((), t.dtype.dtype))), t.shape).node
        for t in (graph.nodes[i].tensor for i in graph.outputs)
    ]

    def copy(part: Graph, arguments: Sequence[int]) -> list[int]:
        moved.clear()
        moved.update(zip(part.params, arguments, strict=True))
        for number, node in enumerate(part.nodes):
            if node.primitive is not source.param:
                inputs = tuple(moved[i] for i in node.inputs)
                moved[number] = builder.append(
                    Node(
                        node.primitive, inputs, node.attrs, node.type, node.source, node.regions
                    )
                )
        return [moved[i] for i in part.outputs]

    values = copy(graph, given)
    changes = copy(twice, [*given, *points, *tangents])
    return builder.finish([*values, *changes])


def has_cotangent(type: Any) -> bool:
    """Whether values of a type can be changed a little."""
    return isinstance(type, TensorType) and type.dtype.is_inexact


class Reverse:
    """One graph on its way back.

    moved: of each old node the new one; refs to results of nodes that have several are with
        their items
    active: whether an old node depends on a parameter that is wanted
    """

    def __init__(self, graph: Graph, wanted: Sequence[bool]) -> None:
        self.graph = graph
        self.builder = GraphBuilder(graph.name)
        self.d = NodeMaker(self.builder)
        self.moved: dict[int, int] = {}
        self._stacks: dict[int, list[Ref]] = {}
        self._cotangents: dict[int, list[Ref]] = {}
        # Of nodes with several results the cotangents of these.
        self._items: dict[int, dict[int, Ref]] = {}
        params = dict(zip(graph.params, wanted, strict=True))
        self.wanted = [number for number, flag in params.items() if flag]
        self.active = [False] * len(graph.nodes)
        for number, node in enumerate(graph.nodes):
            if node.primitive is source.param:
                self.active[number] = params[number]
                continue
            depends = any(self.active[i] for i in node.inputs)
            floats = isinstance(node.type, TupleType) or has_cotangent(node.type)
            self.active[number] = depends and floats and not self._is_flat(node)

    @staticmethod
    def _is_flat(node: Node) -> bool:
        """Whether small changes of operands never change a result."""
        kind = node.primitive.kind
        return isinstance(kind, Pointwise) and node.primitive.slopes is None

    def result(self, with_outputs: bool) -> Graph:
        """The new graph."""
        self._forward()
        outputs = self.graph.outputs
        for k, number in enumerate(outputs):
            type = self.graph.nodes[number].tensor
            given = self.builder.add(source.param, type=type, name=f"ct{k}", role="argument")
            if has_cotangent(type):
                self._give(number, Ref(given))
        for number in range(len(self.graph.nodes) - 1, -1, -1):
            if self.active[number] and self.graph.nodes[number].primitive is not source.param:
                self._back(number)
        found = [self.moved[i] for i in outputs] if with_outputs else []
        for number in self.wanted:
            cotangent = self._taken(number)
            if cotangent is None:
                cotangent = self.d.zeros(self.graph.nodes[number].tensor)
            found.append(cotangent.node)
        return self.builder.finish(found)

    def _forward(self) -> None:
        for number, node in enumerate(self.graph.nodes):
            inputs = tuple(self.moved.get(i, -1) for i in node.inputs)
            if isinstance(node.primitive.kind, CountedLoop) and self.active[number]:
                self.moved[number] = self._stacking(number, node, inputs)
                continue
            made = Node(
                node.primitive, inputs, node.attrs, node.type, node.source, node.regions
            )
            self.moved[number] = self.builder.append(made)

    # -- cotangents

    def _give(self, number: int, cotangent: Cotangent) -> None:
        """Add to the cotangent of an old node."""
        if cotangent is None or not self.active[number]:
            return
        if self.d.type(cotangent) != self.graph.nodes[number].tensor:
            raise InternalError(
                f"a cotangent of {self.d.type(cotangent)} for {self.graph.nodes[number].type}"
            )
        self._cotangents.setdefault(number, []).append(cotangent)

    def _taken(self, number: int) -> Cotangent:
        parts = self._cotangents.pop(number, None)
        return None if parts is None else self.d.total(parts)

    def _ref(self, number: int) -> Ref:
        """The new node of an old one."""
        return Ref(self.moved[number])

    def _type(self, number: int) -> TensorType:
        return self.graph.nodes[number].tensor

    def _back(self, number: int) -> None:
        """Hand the cotangent of a node on to its inputs."""
        node = self.graph.nodes[number]
        self.d.line = node.source
        if isinstance(node.primitive.kind, Item):
            cotangent = self._taken(number)
            if cotangent is not None:
                items, k = self._items.setdefault(node.inputs[0], {}), node.attr("index")
                known = items.get(k)  # an item may be taken more than once
                items[k] = cotangent if known is None else self.d.add(known, cotangent)
            return
        if isinstance(node.type, TupleType):
            given = self._items.pop(number, None)
            if given is None:
                return
            cotangents = [given.get(k) for k in range(len(node.type.items))]
        else:
            cotangents = [self._taken(number)]
            if cotangents[0] is None:
                return
        for kind, rule in _RULES.items():
            if isinstance(node.primitive.kind, kind):
                rule(self, number, node, *cotangents)
                return
        raise self._refusal(node)

    def _refusal(self, node: Node, why: str = "") -> NotDifferentiableError:
        name = dict(node.attrs).get("name") or dict(node.attrs).get("function")
        what = f"{node.primitive.name} ({name})" if name else node.primitive.name
        return NotDifferentiableError(
            at_user_line(f"{what} has no derivative here{why} [Op:{node.primitive.tensorflow}]")
        )

    # -- rules

    def _pointwise(self, number: int, node: Node, g: Ref) -> None:
        operands = [self._ref(i) for i in node.inputs]
        assert node.primitive.slopes is not None
        slopes = node.primitive.slopes(self.d, self._ref(number), *operands, **dict(node.attrs))
        for operand, slope in zip(node.inputs, slopes, strict=True):
            if slope is not None and self.active[operand]:
                changed = self.d.apply(slope, g, back=True)
                self._give(operand, self.d.gathered(changed, self._type(operand).shape))

    def _view(self, number: int, node: Node, g: Ref) -> None:
        (operand,) = node.inputs
        type, d = self._type(operand), self.d
        match node.primitive:
            case view.reshape:
                found = d.reshaped(g, type.shape)
            case view.transpose:
                perm = node.attr("perm")
                back = tuple(perm.index(axis) for axis in range(len(perm)))
                found = d.make(view.transpose, g, perm=back)
            case view.broadcast:
                found = d.gathered(g, type.shape)
            case view.slice_:
                found = d.make(
                    assemble.place,
                    d.zeros(type),
                    g,
                    starts=node.attr("starts"),
                    steps=node.attr("steps"),
                )
            case _:
                raise self._refusal(node)
        self._give(operand, found)

    def _reduce(self, number: int, node: Node, g: Ref) -> None:
        (operand,) = node.inputs
        x, type, d = self._ref(operand), self._type(operand), self.d
        axes = node.attr("axes")
        kept = tuple(1 if axis in axes else n for axis, n in enumerate(type.shape))
        wide = d.reshaped(g, kept)
        match node.primitive:
            case reduce.sum_:
                found = d.spread(wide, type.shape)
            case reduce.max_ | reduce.min_:
                equal = d.eq(x, d.reshaped(self._ref(number), kept))
                ones = d.cast(equal, dtype=type.dtype)
                count = d.reshaped(d.make(reduce.sum_, ones, axes=axes), kept)
                found = d.where(equal, d.div(wide, count), 0.0)
            case reduce.prod:
                found = d.mul(wide, self._other_factors(x, axes))
            case _:
                raise self._refusal(node)
        self._give(operand, found)

    def _other_factors(self, x: Ref, axes: Shape) -> Ref:
        """For each element the product of the others along the axes."""
        d, shape = self.d, self.d.type(x).shape
        rest = [axis for axis in range(len(shape)) if axis not in axes]
        order = (*rest, *axes)
        turned = d.make(view.transpose, x, perm=order)
        rows = (*(shape[axis] for axis in rest), prod(shape[axis] for axis in axes))
        flat, last = d.reshaped(turned, rows), len(rest)
        after = self._flipped(self._products_before(self._flipped(flat, last), last), last)
        others = d.mul(self._products_before(flat, last), after)
        back = tuple(order.index(axis) for axis in range(len(shape)))
        return d.make(view.transpose, d.reshaped(others, d.type(turned).shape), perm=back)

    def _products_before(self, x: Ref, axis: int) -> Ref:
        """For each place along an axis the product of what is before it."""
        d, shape = self.d, self.d.type(x).shape
        if any(not isinstance(n, Dim) and n == 0 for n in shape):
            return x
        products = d.make(reduce.cumprod, x, axis=axis)
        sizes = tuple(n - 1 if k == axis else n for k, n in enumerate(shape))
        starts, steps = (0,) * len(shape), (1,) * len(shape)
        one = d.number(1.0, x)
        first = d.spread(one, tuple(1 if k == axis else n for k, n in enumerate(shape)))
        return d.make(
            assemble.concat, first, self._slice(products, starts, sizes, steps), axis=axis
        )

    def _scan(self, number: int, node: Node, g: Ref) -> None:
        (operand,) = node.inputs
        x, y, d, axis = self._ref(operand), self._ref(number), self.d, node.attr("axis")
        if node.primitive is reduce.cumsum:
            self._give(operand, self._sums_from_here(g, axis))
            return
        if node.primitive is reduce.cumprod:
            before = self._products_before(x, axis)
            self._give(operand, d.mul(before, self._sums_of_products(g, x, axis)))
            return
        type = self._type(operand)  # each maximum goes to the element that it came from
        places = Ref(self.builder.add(index.iota, (), shape=type.shape, axis=axis))
        none = Ref(self.builder.const(np.zeros((), np.int64)))
        came = d.make(reduce.cummax, d.where(d.eq(x, y), places, none), axis=axis)
        numbers = self._numbers(type.shape, {axis: came})
        self._give(operand, self._scattered(d.zeros(type), g, numbers))

    def _sums_from_here(self, g: Ref, axis: int) -> Ref:
        """Of each place along an axis the sum from there on."""
        flipped = self._flipped(g, axis)
        return self._flipped(self.d.make(reduce.cumsum, flipped, axis=axis), axis)

    def _sums_of_products(self, g: Ref, x: Ref, axis: int) -> Ref:
        """r[i] = g[i] + x[i + 1] r[i + 1] along an axis, by a loop."""
        d, shape = self.d, self.d.type(x).shape
        perm = (axis, *(k for k in range(len(shape)) if k != axis))
        if any(not isinstance(n, Dim) and n == 0 for n in shape):
            return g
        rows, given = (d.make(view.transpose, each, perm=perm) for each in (x, g))
        builder = GraphBuilder("sums_of_products")
        each = TensorType(d.type(rows).shape[1:], d.type(x).dtype)
        types = [TensorType((), int64), each, each, each]
        _, carried, factor, term = (
            Ref(builder.add(source.param, type=t, name=f"p{k}", role="argument"))
            for k, t in enumerate(types)
        )
        inside = NodeMaker(builder)
        total = inside.add(term, carried)
        region = builder.finish([inside.mul(factor, total).node, total.node])
        loop = self.builder.add(
            control.scan,
            (d.zeros(each).node, rows.node, given.node),
            d.line,
            (region,),
            start=0,
            count=shape[axis],
            carried=1,
            sliced=2,
            reverse=True,
        )
        self.builder.add(source.item, (loop,), d.line, index=0)
        found = Ref(self.builder.add(source.item, (loop,), d.line, index=1))
        back = tuple(perm.index(k) for k in range(len(shape)))
        return d.make(view.transpose, found, perm=back)

    def _flipped(self, x: Ref, axis: int) -> Ref:
        shape = self.d.type(x).shape
        starts = tuple(n - 1 if k == axis else 0 for k, n in enumerate(shape))
        steps = tuple(-1 if k == axis else 1 for k in range(len(shape)))
        if any(not isinstance(n, Dim) and n == 0 for n in shape):
            return x
        return self.d.make(view.slice_, x, starts=starts, sizes=shape, steps=steps)

    def _numbers(self, shape: Shape, given: dict[int, Ref]) -> list[Ref]:
        """An index for each axis: those that are given, else each element's own."""
        found = []
        for axis in range(len(shape)):
            own = given.get(axis)
            if own is None:
                own = Ref(self.builder.add(index.iota, (), shape=shape, axis=axis))
            found.append(own)
        return found

    def _scattered(self, base: Ref, updates: Ref, numbers: Sequence[Ref]) -> Ref:
        axes = tuple(range(len(numbers)))
        return self.d.make(index.scatter, base, updates, *numbers, axes=axes, mode="add")

    def _contract(self, number: int, node: Node, g: Ref) -> None:
        a, b = node.inputs
        d = self.d
        if self.active[a]:
            found = d.make(contract.matmul, g, self._transposed(self._ref(b)))
            self._give(a, d.gathered(found, self._type(a).shape))
        if self.active[b]:
            found = d.make(contract.matmul, self._transposed(self._ref(a)), g)
            self._give(b, d.gathered(found, self._type(b).shape))

    def _transposed(self, x: Ref) -> Ref:
        """Matrices with rows for columns."""
        rank = len(self.d.type(x).shape)
        perm = (*range(rank - 2), rank - 1, rank - 2)
        return self.d.make(view.transpose, x, perm=perm)

    def _assemble(self, number: int, node: Node, g: Ref) -> None:
        d = self.d
        if node.primitive is assemble.concat:
            axis, start = node.attr("axis"), 0
            for operand in node.inputs:
                shape = self._type(operand).shape
                if self.active[operand]:
                    starts = tuple(start if k == axis else 0 for k in range(len(shape)))
                    part = self._slice(g, starts, shape, (1,) * len(shape))
                    self._give(operand, part)
                start = start + shape[axis]
            return
        base, piece = node.inputs
        starts, steps = node.attr("starts"), node.attr("steps")
        type = self._type(piece)
        if self.active[base]:
            cleared = d.make(assemble.place, g, d.zeros(type), starts=starts, steps=steps)
            self._give(base, cleared)
        if self.active[piece]:
            self._give(piece, self._slice(g, starts, type.shape, steps))

    def _slice(self, x: Ref, starts: Shape, sizes: Shape, steps: Shape) -> Ref:
        return self.d.make(view.slice_, x, starts=starts, sizes=sizes, steps=steps)

    def _gather(self, number: int, node: Node, g: Ref) -> None:
        data, *numbers = node.inputs
        refs = [self._ref(i) for i in numbers]
        base = self.d.zeros(self._type(data))
        axes = node.attr("axes")
        self._give(data, self.d.make(index.scatter, base, g, *refs, axes=axes, mode="add"))

    def _scatter(self, number: int, node: Node, g: Ref) -> None:
        base, updates, *numbers = node.inputs
        d, axes, mode = self.d, node.attr("axes"), node.attr("mode")
        refs = [self._ref(i) for i in numbers]
        if mode not in ("update", "add", "sub"):
            raise self._refusal(node, f" in mode {mode}")
        if self.active[base]:
            found = g
            if mode == "update":
                zeros = d.zeros(self._type(updates))
                found = d.make(index.scatter, g, zeros, *refs, axes=axes, mode="update")
            self._give(base, found)
        if not self.active[updates]:
            return
        found = d.make(index.gather, g, *refs, axes=axes)
        if mode == "sub":
            found = d.neg(found)
        if mode == "update":  # of equal indices the last update is what is left
            found = d.where(self._is_last(refs, axes, updates, base), found, 0.0)
        self._give(updates, found)

    def _is_last(self, refs: Sequence[Ref], axes: Shape, updates: int, base: int) -> Ref:
        """Whether an update is that which is left of those with equal indices."""
        d, shape = self.d, self.d.type(refs[0]).shape
        flat = 1
        for n in shape:
            flat = flat * n
        own = Ref(self.builder.add(index.iota, (), shape=(flat,), axis=0))
        own = d.reshaped(own, shape)
        extents = tuple(self._type(base).shape[axis] for axis in axes)
        nobody = Ref(self.builder.const(np.full((), -1, np.int64)))
        every = tuple(range(len(axes)))
        table = d.make(
            index.scatter, d.spread(nobody, extents), own, *refs, axes=every, mode="update"
        )
        last = d.eq(d.make(index.gather, table, *refs, axes=every), own)
        rest = len(self._type(updates).shape) - len(shape)
        return d.reshaped(last, (*shape, *(1,) * rest))

    # -- routines

    def _library(self, number: int, node: Node, *cotangents: Cotangent) -> None:
        rule = _ROUTINES.get(node.primitive)
        if rule is None:
            raise self._refusal(node)
        rule(self, number, node, *cotangents)

    def _inv(self, number: int, node: Node, g: Ref) -> None:
        y = self._transposed(self._ref(number))
        d = self.d
        found = d.make(contract.matmul, d.make(contract.matmul, y, g), y)
        self._give(node.inputs[0], d.neg(found))

    def _det(self, number: int, node: Node, g: Ref) -> None:
        d, (operand,) = self.d, node.inputs
        size = self._type(operand).shape[-1]
        if isinstance(size, int) and size <= 3:  # which may be singular
            wide = d.reshaped(g, (*d.type(g).shape, 1, 1))
            self._give(operand, d.mul(wide, self._cofactors(self._ref(operand), size)))
            return
        scale = d.mul(g, self._ref(number))
        self._give(operand, self._scaled_inverse(operand, scale))

    def _cofactors(self, x: Ref, size: int) -> Ref:
        """Those of matrices of at most three rows."""
        d, rank = self.d, len(self.d.type(x).shape)
        if size < 2:
            return d.spread(d.number(1.0, x), self.d.type(x).shape)
        if size == 2:
            signs = np.array([[1.0, -1.0], [-1.0, 1.0]])
            flipped = self._flipped(self._flipped(x, rank - 1), rank - 2)
            dtype = d.type(x).dtype.dtype
            return d.mul(flipped, Ref(self.builder.const(signs.astype(dtype))))

        def moved(rows: int, columns: int) -> Ref:
            return self._rolled(self._rolled(x, rank - 2, rows), rank - 1, columns)

        first = d.mul(moved(1, 1), moved(2, 2))
        return d.sub(first, d.mul(moved(1, 2), moved(2, 1)))

    def _rolled(self, x: Ref, axis: int, by: int) -> Ref:
        """Elements along an axis, those from a place on first."""
        d, shape = self.d, self.d.type(x).shape
        parts = []
        for start, size in ((by, shape[axis] - by), (0, by)):
            starts = tuple(start if k == axis else 0 for k in range(len(shape)))
            sizes = tuple(size if k == axis else n for k, n in enumerate(shape))
            parts.append(self._slice(x, starts, sizes, (1,) * len(shape)))
        return d.make(assemble.concat, *parts, axis=axis)

    def _slogdet(self, number: int, node: Node, sign: Cotangent, logarithm: Cotangent) -> None:
        (operand,) = node.inputs
        if self._type(operand).dtype.is_complex:
            raise self._refusal(node, " for complex matrices")
        if logarithm is not None:  # the sign is 1 or -1 around the matrix
            self._give(operand, self._scaled_inverse(operand, logarithm))

    def _scaled_inverse(self, operand: int, scale: Ref) -> Ref:
        """Numbers times the transposes of the inverses of matrices."""
        d = self.d
        inverse = self._transposed(d.make(library.inv, self._ref(operand)))
        return d.mul(d.reshaped(scale, (*d.type(scale).shape, 1, 1)), inverse)

    def _solve(self, number: int, node: Node, g: Ref) -> None:
        a, b = node.inputs
        d, x = self.d, self._ref(number)
        vector = len(self._type(b).shape) == 1
        back = d.make(library.solve, self._transposed(self._ref(a)), g)
        if vector and len(self._type(a).shape) > 2:
            raise self._refusal(node, " for many matrices and one vector")
        self._give(b, d.gathered(back, self._type(b).shape))
        if self.active[a]:
            if vector:
                columns = (*self._type(b).shape, 1)
                back, x = d.reshaped(back, columns), d.reshaped(x, columns)
            found = d.neg(d.make(contract.matmul, back, self._transposed(x)))
            self._give(a, d.gathered(found, self._type(a).shape))

    def _triangular_solve(self, number: int, node: Node, g: Ref) -> None:
        a, b = node.inputs
        d, x = self.d, self._ref(number)
        if self._type(a).dtype.is_complex:
            raise self._refusal(node, " for complex matrices")
        lower, adjoint = node.attr("lower"), node.attr("adjoint")
        back = d.make(
            library.triangular_solve, self._ref(a), g, lower=lower, adjoint=not adjoint
        )
        self._give(b, d.gathered(back, self._type(b).shape))
        if self.active[a]:
            pair = (x, back) if adjoint else (back, x)
            found = d.neg(d.make(contract.matmul, pair[0], self._transposed(pair[1])))
            found = self._triangle(found, lower)
            self._give(a, d.gathered(found, self._type(a).shape))

    def _triangle(self, x: Ref, lower: bool) -> Ref:
        """Matrices with 0 above or below the diagonal."""
        d = self.d
        shape = d.type(x).shape[-2:]
        rows, columns = (
            Ref(self.builder.add(index.iota, (), shape=shape, axis=axis)) for axis in (0, 1)
        )
        kept = d.ge(rows, columns) if lower else d.le(rows, columns)
        return d.where(kept, x, 0.0)

    def _cholesky(self, number: int, node: Node, g: Ref) -> None:
        """Murray, "Differentiation of the Cholesky decomposition", 2016."""
        (operand,) = node.inputs
        d, lower = self.d, self._ref(number)
        if self._type(operand).dtype.is_complex:
            raise self._refusal(node, " for complex matrices")
        inner = self._triangle(d.make(contract.matmul, self._transposed(lower), g), True)
        shape = d.type(inner).shape[-2:]
        rows, columns = (
            Ref(self.builder.add(index.iota, (), shape=shape, axis=axis)) for axis in (0, 1)
        )
        inner = d.where(d.eq(rows, columns), d.mul(inner, 0.5), inner)
        solve = library.triangular_solve
        left = d.make(solve, lower, inner, lower=True, adjoint=True)
        right = d.make(solve, lower, self._transposed(left), lower=True, adjoint=True)
        # NumPy reads the lower triangle; as its cotangent the symmetric one is given
        found = d.mul(d.add(right, self._transposed(right)), 0.5)
        self._give(operand, found)

    def _eigh(self, number: int, node: Node, values: Cotangent, vectors: Cotangent) -> None:
        (operand,) = node.inputs
        d = self.d
        if self._type(operand).dtype.is_complex:
            raise self._refusal(node, " for complex matrices")
        w, v = (
            Ref(self.builder.add(source.item, (self.moved[number],), index=k)) for k in (0, 1)
        )
        vt = self._transposed(v)
        middle: Ref | None = None
        shape = d.type(w).shape
        if vectors is not None:
            gap = d.sub(d.reshaped(w, (*shape[:-1], 1, shape[-1])), d.reshaped(w, (*shape, 1)))
            inverse = d.where(
                d.eq(gap, 0.0), 0.0, d.div(1.0, d.where(d.eq(gap, 0.0), 1.0, gap))
            )
            middle = d.mul(inverse, d.make(contract.matmul, vt, vectors))
        if values is not None:
            n = shape[-1]
            rows, columns = (
                Ref(self.builder.add(index.iota, (), shape=(n, n), axis=axis))
                for axis in (0, 1)
            )
            wide = d.spread(d.reshaped(values, (*shape[:-1], 1, n)), (*shape, n))
            diagonal = d.where(d.eq(rows, columns), wide, 0.0)
            middle = diagonal if middle is None else d.add(middle, diagonal)
        assert middle is not None
        found = d.make(contract.matmul, d.make(contract.matmul, v, middle), vt)
        found = d.mul(d.add(found, self._transposed(found)), 0.5)
        self._give(operand, found)

    def _fft(self, number: int, node: Node, g: Ref) -> None:
        (operand,) = node.inputs
        d, type = self.d, self._type(operand)
        transform, axis, n = node.attr("transform"), node.attr("axis"), node.attr("n")
        extent = type.shape[axis]
        if transform == "irfft":
            spectrum = d.make(library.fft, g, transform="rfft", axis=axis, n=n)
            part, dtype = d.type(spectrum).shape, d.type(spectrum).dtype.dtype
            weight = np.full(n // 2 + 1, 2.0 / n)
            weight[0] = 1.0 / n
            if n % 2 == 0:
                weight[-1] = 1.0 / n
            shape = tuple(m if k == axis else 1 for k, m in enumerate(part))
            scale = Ref(self.builder.const(weight.reshape(shape).astype(dtype)))
            found = d.mul(d.conj(spectrum), scale)
        else:
            whole = self._fitted(g, axis, n)
            kind = "fft" if transform == "rfft" else transform
            found = d.make(library.fft, whole, transform=kind, axis=axis, n=n)
            if transform == "rfft":
                found = d.real(found)
        found = self._fitted(found, axis, extent)
        if d.type(found).dtype != type.dtype:  # transforms of float16 are computed in float32
            found = d.cast(found, dtype=type.dtype)
        self._give(operand, found)

    def _fitted(self, x: Ref, axis: int, extent: int) -> Ref:
        """The first elements along an axis, or all of them and zeros."""
        d, shape = self.d, self.d.type(x).shape
        wanted = tuple(extent if k == axis else n for k, n in enumerate(shape))
        starts, steps = (0,) * len(shape), (1,) * len(shape)
        if shape[axis] >= extent:
            return x if shape[axis] == extent else self._slice(x, starts, wanted, steps)
        zeros = d.zeros(TensorType(wanted, d.type(x).dtype))
        return d.make(assemble.place, zeros, x, starts=starts, steps=steps)

    def _sort(self, number: int, node: Node, g: Ref) -> None:
        (operand,) = node.inputs
        type, axis = self._type(operand), node.attr("axis")
        order = self.d.make(
            library.argsort, self._ref(operand), axis=axis, kind=node.attr("kind")
        )
        numbers = self._numbers(type.shape, {axis: order})
        self._give(operand, self._scattered(self.d.zeros(type), g, numbers))

    def _special(self, number: int, node: Node, g: Ref) -> None:
        rule = _SPECIAL.get(node.attr("name"))
        if rule is None:
            raise self._refusal(node)
        operands = [self._ref(i) for i in node.inputs]
        slopes = rule(self.d, self._ref(number), *operands)
        for operand, slope in zip(node.inputs, slopes, strict=True):
            if slope is not None and self.active[operand]:
                changed = self.d.apply(slope, g, back=True)
                self._give(operand, self.d.gathered(changed, self._type(operand).shape))

    # -- control flow

    def _choice(self, number: int, node: Node, *cotangents: Cotangent) -> None:
        selector, *operands = node.inputs
        wanted = [self.active[i] for i in operands]
        given = self._given(node, cotangents)
        regions = tuple(vjp_graph(region, wanted, False) for region in node.regions)
        inputs = [selector, *operands]
        found = self._run(node, regions, [*(self.moved[i] for i in inputs), *given], {})
        self._hand_out([i for i, flag in zip(operands, wanted, strict=True) if flag], found)

    def _given(self, node: Node, cotangents: Sequence[Cotangent]) -> list[int]:
        """A cotangent for each result, zeros in place of none."""
        assert isinstance(node.type, TupleType)
        return [
            (self.d.zeros(type) if g is None else g).node
            for type, g in zip(node.type.items, cotangents, strict=True)
        ]

    def _run(
        self, node: Node, regions: Sequence[Graph], inputs: Sequence[int], attrs: dict[str, Any]
    ) -> list[Ref]:
        made = self.builder.add(node.primitive, inputs, node.source, tuple(regions), **attrs)
        type = self.builder.nodes[made].type
        assert isinstance(type, TupleType)
        return [
            Ref(self.builder.add(source.item, (made,), node.source, index=k))
            for k in range(len(type.items))
        ]

    def _hand_out(self, operands: Sequence[int], found: Sequence[Ref]) -> None:
        for operand, cotangent in zip(operands, found, strict=True):
            self._give(operand, cotangent)

    def _stacking(self, number: int, node: Node, inputs: tuple[int, ...]) -> int:
        """A counted loop that also stacks what it carries before each turn."""
        (body,) = node.regions
        carried = node.attr("carried")
        assert isinstance(node.type, TupleType)
        outputs = (*body.outputs, *body.params[1 : 1 + carried])
        region = Graph(body.name, body.nodes, outputs)
        made = self.builder.add(
            node.primitive, inputs, node.source, (region,), **dict(node.attrs)
        )
        first = len(node.type.items)
        self._stacks[number] = [
            Ref(self.builder.add(source.item, (made,), node.source, index=first + k))
            for k in range(carried)
        ]
        return made

    def _counted_loop(self, number: int, node: Node, *cotangents: Cotangent) -> None:
        """The loop backwards: it carries cotangents of what the loop carried, and the sums of
        those of what all turns read.
        """
        (body,) = node.regions
        attrs = dict(node.attrs)
        carried, sliced = attrs["carried"], attrs["sliced"]
        state, arrays = node.inputs[:carried], node.inputs[carried : carried + sliced]
        shared = node.inputs[carried + sliced :]
        # a carried float may come to depend on a parameter in a later turn
        flags = [has_cotangent(self._type(i)) for i in state]
        wanted = [
            *flags,
            *(self.active[i] for i in arrays),
            *(self.active[i] for i in shared),
        ]
        backward = vjp_graph(body, [False, *wanted], False)
        given = self._given(node, cotangents)
        floats = [k for k in range(carried) if flags[k]]
        summed = [i for i in shared if self.active[i]]
        region = _turn_back(
            body, backward, node, flags, summed_types=[self._type(i) for i in summed]
        )
        begin = [given[k] for k in floats] + [self.d.zeros(self._type(i)).node for i in summed]
        rows = [
            *(x.node for x in self._stacks[number]),
            *(self.moved[i] for i in arrays),
            *given[carried:],
        ]
        attrs |= {
            "carried": len(begin),
            "sliced": len(rows),
            "reverse": not attrs["reverse"],
        }
        inputs = [*begin, *rows, *(self.moved[i] for i in shared)]
        found = self._run(node, [region], inputs, attrs)
        self._hand_out([state[k] for k in floats], found[: len(floats)])
        self._hand_out(summed, found[len(floats) : len(begin)])
        self._hand_out([i for i in arrays if self.active[i]], found[len(begin) :])


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
        return [
            builder.add(source.param, type=t, name=f"p{len(builder.nodes)}", role="argument")
            for t in listed
        ]

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
    moved = dict(zip(backward.params, given, strict=True))
    for k, old in enumerate(backward.nodes):
        if old.primitive is not source.param:
            inputs = tuple(moved[i] for i in old.inputs)
            moved[k] = builder.append(
                Node(old.primitive, inputs, old.attrs, old.type, old.source, old.regions)
            )
    found = [moved[i] for i in backward.outputs]
    new_floats, rest = found[: len(floats)], found[len(floats) :]
    count = len(rest) - len(sums)
    of_rows, parts = rest[:count], rest[count:]
    totals = [d.total([Ref(a), Ref(b)]).node for a, b in zip(sums, parts, strict=True)]
    return builder.finish([*new_floats, *totals, *of_rows])


def _refuse(self: Reverse, number: int, node: Node, *cotangents: Cotangent) -> None:
    raise self._refusal(node, ": the number of turns isn't known before; write gj.scan")


Rule = Callable[..., None]
_RULES: dict[type, Rule] = {
    Pointwise: Reverse._pointwise,
    View: Reverse._view,
    Reduce: Reverse._reduce,
    Scan: Reverse._scan,
    Contract: Reverse._contract,
    Assemble: Reverse._assemble,
    Gather: Reverse._gather,
    Scatter: Reverse._scatter,
    Library: Reverse._library,
    Choice: Reverse._choice,
    CountedLoop: Reverse._counted_loop,
    ConditionalLoop: _refuse,
}
_ROUTINES: dict[Any, Rule] = {
    library.inv: Reverse._inv,
    library.det: Reverse._det,
    library.slogdet: Reverse._slogdet,
    library.solve: Reverse._solve,
    library.triangular_solve: Reverse._triangular_solve,
    library.cholesky: Reverse._cholesky,
    library.eigh: Reverse._eigh,
    library.fft: Reverse._fft,
    library.sort: Reverse._sort,
    library.special: Reverse._special,
}
_ROOT_PI = float(np.sqrt(np.pi))
# Of functions of scipy.special, by their names there.
_SPECIAL: dict[str, Callable[..., tuple[Any, ...]]] = {
    "digamma": lambda d, y, x: (d.special("zeta", 2.0, x),),
    "erfinv": lambda d, y, x: (d.mul(d.exp(d.mul(y, y)), _ROOT_PI / 2),),
    "erfcinv": lambda d, y, x: (d.mul(d.exp(d.mul(y, y)), -_ROOT_PI / 2),),
    "ndtri": lambda d, y, x: (
        d.mul(d.exp(d.mul(d.mul(y, y), 0.5)), float(np.sqrt(2 * np.pi))),
    ),
    "log_ndtr": lambda d, y, x: (
        d.mul(d.exp(d.sub(d.mul(d.mul(x, x), -0.5), y)), float(1 / np.sqrt(2 * np.pi))),
    ),
    "i0": lambda d, y, x: (d.special("i1", x),),
    "i0e": lambda d, y, x: (d.sub(d.special("i1e", x), d.mul(d.sign(x), y)),),
    "j0": lambda d, y, x: (d.neg(d.special("j1", x)),),
    "y0": lambda d, y, x: (d.neg(d.special("y1", x)),),
    "k0": lambda d, y, x: (d.neg(d.special("k1", x)),),
    "expi": lambda d, y, x: (d.div(d.exp(x), x),),
    "exp1": lambda d, y, x: (d.neg(d.div(d.exp(d.neg(x)), x)),),
    "dawsn": lambda d, y, x: (d.sub(1.0, d.mul(d.mul(x, y), 2.0)),),
}


__all__ = ["has_cotangent", "jvp_graph", "vjp_graph"]
