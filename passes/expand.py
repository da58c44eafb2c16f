"""Rewrites nodes into forms that have fast kernels: short and long reductions, products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphjit.ir import Graph, Node, Rewriter
from graphjit.ops import assemble, view
from graphjit.ops import pointwise as pw
from graphjit.ops import reduce as rd
from graphjit.ops.primitive import Contract, Primitive, Reduce, View
from graphjit.types import float32

from .pipeline import Pass


@dataclass(frozen=True)
class SplitReductions(Pass):
    """Reduce long rows block by block: parallel, and with less rounding than one long sum.

    A reduction over more than `limit` elements becomes one over blocks of `block` elements,
    then one over the blocks' results, and so on; where whole rows are combined element by
    element, blocks are of `rows` rows. Which is done depends on the shape alone.
    """

    limit: int = 16384
    block: int = 4096
    rows: int = 256

    name = "split-reductions"

    def run(self, graph: Graph) -> Graph:
        """The graph with long reductions in two steps."""
        if not any(isinstance(node.primitive.kind, Reduce) for node in graph.nodes):
            return graph
        rewriter = Rewriter(graph)
        for index, node in enumerate(graph.nodes):
            if self._long(graph, node):
                rewriter.map[index] = self._split(rewriter, node)
            else:
                rewriter.map[index] = rewriter.copy(index)
        return rewriter.result()

    def _long(self, graph: Graph, node: Node) -> bool:
        kind = node.primitive.kind
        if not isinstance(kind, Reduce) or kind.needs_coordinate:
            return False
        shape, axes = graph.nodes[node.inputs[0]].tensor.shape, node.attr("axes")
        adjacent = axes == tuple(range(axes[0], axes[0] + len(axes))) if axes else False
        if not adjacent:
            return False
        return _size(shape[a] for a in axes) > self._most(shape, axes)[0]

    def _most(self, shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, int]:
        """The most elements that are reduced in one step, and those of a block."""
        combined_rows = _size(shape[axes[-1] + 1 :]) > 1
        return (4 * self.rows, self.rows) if combined_rows else (self.limit, self.block)

    def _split(self, rewriter: Rewriter, node: Node) -> int:
        x = rewriter.map[node.inputs[0]]
        type = rewriter.type_of(x)
        axes = node.attr("axes")
        first = axes[0]
        before, after = type.shape[:first], type.shape[first + len(axes) :]
        total = _size(type.shape[a] for a in axes)
        narrow = type.dtype.size == 2 and node.primitive in (rd.sum_, rd.prod)
        if narrow:  # partial sums stay in float32, as a sum in one step would
            x = rewriter.add(pw.cast, (x,), node.source, dtype=float32)
        rows = rewriter.add(view.reshape, (x,), node.source, shape=(*before, total, *after))
        result = self._reduced(rewriter, node, rows, first)
        if narrow:
            result = rewriter.add(pw.cast, (result,), node.source, dtype=type.dtype)
        return result

    def _reduced(self, rewriter: Rewriter, node: Node, rows: int, axis: int) -> int:
        """Rows reduced along an axis, in as many steps as it takes."""
        shape = rewriter.type_of(rows).shape
        most, block = self._most(shape, (axis,))
        if shape[axis] <= most:
            return rewriter.add(node.primitive, (rows,), node.source, axes=(axis,))
        blocks, rest = divmod(shape[axis], block)
        whole = blocks * block
        joined = self._partial(rewriter, node, rows, axis, 0, whole, blocks)
        if rest:
            last = self._partial(rewriter, node, rows, axis, whole, rest, 1)
            joined = rewriter.add(assemble.concat, (joined, last), node.source, axis=axis)
        return self._reduced(rewriter, node, joined, axis)

    def _partial(
        self,
        rewriter: Rewriter,
        node: Node,
        rows: int,
        axis: int,
        start: int,
        size: int,
        blocks: int,
    ) -> int:
        shape = rewriter.type_of(rows).shape
        if size != shape[axis]:
            starts = tuple(start if k == axis else 0 for k in range(len(shape)))
            sizes = tuple(size if k == axis else n for k, n in enumerate(shape))
            steps = (1,) * len(shape)
            rows = rewriter.add(
                view.slice_, (rows,), node.source, starts=starts, sizes=sizes, steps=steps
            )
        split = (*shape[:axis], blocks, size // blocks, *shape[axis + 1 :])
        rows = rewriter.add(view.reshape, (rows,), node.source, shape=split)
        return rewriter.add(node.primitive, (rows,), node.source, axes=(axis + 1,))


@dataclass(frozen=True)
class UnrollReductions(Pass):
    """Reduce a few elements by naming each: out = x[..., 0] + x[..., 1] + x[..., 2].

    What reads the result can then share its loop, whatever it reduces in turn: of distances
    between points only the nearest is ever stored. `limit`: the most elements.
    """

    limit: int = 8

    name = "unroll-reductions"

    def run(self, graph: Graph) -> Graph:
        """The graph with short reductions as pointwise nodes."""
        if not any(isinstance(node.primitive.kind, Reduce) for node in graph.nodes):
            return graph
        rewriter = Rewriter(graph)
        for index, node in enumerate(graph.nodes):
            kind = node.primitive.kind
            if isinstance(kind, Reduce) and kind.of_two and self._short(graph, node):
                rewriter.map[index] = self._unrolled(rewriter, node, kind.of_two)
            else:
                rewriter.map[index] = rewriter.copy(index)
        return rewriter.result()

    def _short(self, graph: Graph, node: Node) -> bool:
        type = graph.nodes[node.inputs[0]].tensor
        if node.primitive in (rd.sum_, rd.prod) and type.dtype.size == 2:
            return False  # these accumulate in a wider dtype
        return 0 < _size(type.shape[a] for a in node.attr("axes")) <= self.limit

    def _unrolled(self, rewriter: Rewriter, node: Node, of_two: Primitive) -> int:
        x, axes = rewriter.map[node.inputs[0]], node.attr("axes")
        shape = rewriter.type_of(x).shape
        steps = (1,) * len(shape)
        sizes = tuple(1 if k in axes else n for k, n in enumerate(shape))
        total = -1
        for place in np.ndindex(*(shape[a] for a in axes)):
            chosen = dict(zip(axes, place, strict=True))
            starts = tuple(chosen.get(k, 0) for k in range(len(shape)))
            element = rewriter.add(
                view.slice_, (x,), node.source, starts=starts, sizes=sizes, steps=steps
            )
            element = rewriter.add(
                view.reshape, (element,), node.source, shape=node.tensor.shape
            )
            both = (total, element)
            total = element if total < 0 else rewriter.add(of_two, both, node.source)
        return total


@dataclass(frozen=True)
class ExpandProducts(Pass):
    """Products that have no kernel of their own: narrow floats go by way of float32, complex
    numbers by their parts, integers and products with a vector become a sum of products that
    is never stored.
    """

    name = "expand-products"

    def run(self, graph: Graph) -> Graph:
        """The graph with only float32 and float64 products."""
        if not any(isinstance(node.primitive.kind, Contract) for node in graph.nodes):
            return graph
        rewriter = Rewriter(graph)
        for index, node in enumerate(graph.nodes):
            if not isinstance(node.primitive.kind, Contract):
                rewriter.map[index] = rewriter.copy(index)
                continue
            a, b = (rewriter.map[i] for i in node.inputs)
            dtype = node.tensor.dtype
            if rewriter.type_of(a).shape[-1] == 0:  # nothing to sum
                zero = rewriter.const(np.zeros((), dtype.dtype), node.source)
                rewriter.map[index] = rewriter.add(
                    view.broadcast, (zero,), node.source, shape=node.tensor.shape
                )
            elif dtype.kind == "f" and dtype.size == 2:
                wide = [rewriter.add(pw.cast, (i,), node.source, dtype=float32) for i in (a, b)]
                product = self._product(rewriter, node, *wide)
                rewriter.map[index] = rewriter.add(
                    pw.cast, (product,), node.source, dtype=dtype
                )
            else:
                rewriter.map[index] = self._product(rewriter, node, a, b)
        return rewriter.result()

    def _product(self, rewriter: Rewriter, node: Node, a: int, b: int) -> int:
        if rewriter.type_of(a).dtype.kind in "iu" or self._by_rows(rewriter, a, b):
            return self._sum(rewriter, node, a, b)
        if rewriter.type_of(a).dtype.kind == "c":
            return self._by_parts(rewriter, node, a, b)
        return rewriter.add(node.primitive, (a, b), node.source)

    def _by_parts(self, rewriter: Rewriter, node: Node, a: int, b: int) -> int:
        """A complex product from four real ones."""
        parts = [
            [rewriter.add(part, (x,), node.source) for part in (pw.real, pw.imag)]
            for x in (a, b)
        ]
        (rr, ri), (ir, ii) = (
            [rewriter.add(node.primitive, (x, y), node.source) for y in parts[1]]
            for x in parts[0]
        )
        real = rewriter.add(pw.sub, (rr, ii), node.source)
        imag = rewriter.add(pw.add, (ri, ir), node.source)
        return rewriter.add(pw.complex_, (real, imag), node.source)

    def _by_rows(self, rewriter: Rewriter, a: int, b: int) -> bool:
        """Whether a product is one of rows with a vector, which a sum along the rows does as
        fast, or has next to nothing to sum.
        """
        rows, inner = rewriter.type_of(a).shape[-2:]
        columns = rewriter.type_of(b).shape[-1]
        return columns == 1 or inner == 1 or (rows == 1 and _transposes(rewriter.nodes[b]))

    def _sum(self, rewriter: Rewriter, node: Node, a: int, b: int) -> int:
        left, right = rewriter.type_of(a).shape, rewriter.type_of(b).shape
        if (
            rewriter.type_of(a).dtype.kind == "f"
            and (right[-1] == 1 or left[-2] == 1)
            and left[-1] > 1
        ):
            # one of the two is a vector: the other one's rows (b's are its columns) with it
            order = (*range(len(right) - 2), len(right) - 1, len(right) - 2)
            b = rewriter.add(view.transpose, (b,), node.source, perm=order)
            products = rewriter.add(pw.mul, (a, b), node.source)
            axis = rewriter.type_of(products).ndim - 1
            total = rewriter.add(rd.sum_, (products,), node.source, axes=(axis,))
            return rewriter.add(view.reshape, (total,), node.source, shape=node.tensor.shape)
        a = rewriter.add(view.reshape, (a,), node.source, shape=(*left, 1))
        b = rewriter.add(view.reshape, (b,), node.source, shape=(*right[:-2], 1, *right[-2:]))
        products = rewriter.add(pw.mul, (a, b), node.source)
        axis = rewriter.type_of(products).ndim - 2
        return rewriter.add(rd.sum_, (products,), node.source, axes=(axis,))


def _transposes(node: Node) -> bool:
    """Whether a node exchanges its operand's last two axes."""
    perm = dict(node.attrs).get("perm")
    if not isinstance(node.primitive.kind, View) or perm is None or len(perm) < 2:
        return False
    return bool(perm[-1] == len(perm) - 2)


def _size(extents: object) -> int:
    total = 1
    for extent in extents:  # type: ignore[attr-defined]
        total *= extent
    return int(total)
