"""Rewrites nodes to forms that have fast kernels: short and long reductions, products."""

from __future__ import annotations

from math import prod

import numpy as np

from graphjit.core.dims import Dim, Undecided
from graphjit.core.frozen import dataclass
from graphjit.core.types import float32
from graphjit.ir.graph import Graph, Node, Rewriter
from graphjit.ops import assemble, view
from graphjit.ops import pointwise as pw
from graphjit.ops import reduce as rd
from graphjit.ops.primitive import Contract, Primitive, Reduce, View

from .pipeline import Pass


@dataclass(frozen=True)
class SplitReductions(Pass):
    """Reduce long rows block by block: in parallel, and with less rounding than one long sum.

    A reduction over more than `limit` elements becomes one over blocks of `limit`, then one
    over the blocks' results and that of the elements left over, and so on. Where whole rows are
    combined element by element, a block has `rows` of them. The shape alone decides. Where it
    is symbolic, the specialization is for one of both cases; but a whole array is always split,
    since a split into no blocks does no harm.
    """

    limit: int = 16384
    rows: int = 1024

    name = "split-reductions"

    def run(self, graph: Graph) -> Graph:
        """The graph with long reductions in several steps."""
        if not any(isinstance(node.primitive.kind, Reduce) for node in graph.nodes):
            return graph
        rewriter = Rewriter(graph)
        for index, node in enumerate(graph.nodes):
            if self._exceeds_limit(graph, node):
                rewriter.map[index] = self._split(rewriter, node)
            else:
                rewriter.map[index] = rewriter.copy(index)
        return rewriter.result()

    def _exceeds_limit(self, graph: Graph, node: Node) -> bool:
        """Whether a node is a reduction to split. May note a guard on the sizes."""
        kind = node.primitive.kind
        if not isinstance(kind, Reduce):
            return False
        shape, axes = graph.nodes[node.inputs[0]].tensor.shape, node.attr("axes")
        for extent in shape:  # axes of 1 are left out, which decides the lanes of a sum
            _decide_one(extent)
        if kind.needs_coordinate:
            return False
        adjacent = axes == tuple(range(axes[0], axes[0] + len(axes))) if axes else False
        if not adjacent:
            return False
        total, limit = prod(shape[a] for a in axes), self._block_length(shape, axes)
        if not isinstance(total, Dim):
            return bool(total > limit)
        low, high = total.bounds()
        if high <= limit or low > limit:
            return low > limit
        if len(axes) == len(shape):
            return True
        longer = total.hint > limit
        total.sizes.note(total - limit - 1 if longer else limit - total, ">=")
        return longer

    def _block_length(self, shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
        """The most elements that are reduced in one step."""
        one_element = _decide_one(prod(shape[axes[-1] + 1 :]))
        return self.limit if one_element else self.rows

    def _split(self, rewriter: Rewriter, node: Node) -> int:
        """The nodes of a long reduction."""
        x = rewriter.map[node.inputs[0]]
        type = rewriter.type_of(x)
        axes = node.attr("axes")
        first = axes[0]
        before, after = type.shape[:first], type.shape[first + len(axes) :]
        total = prod(type.shape[a] for a in axes)
        narrow = type.dtype.is_narrow and node.primitive in (rd.sum_, rd.prod)
        if narrow:  # partial sums stay in float32, as in a single step
            x = rewriter.add(pw.cast, (x,), node.source, dtype=float32)
        rows = rewriter.add(view.reshape, (x,), node.source, shape=(*before, total, *after))
        while True:
            rows = self._reduce_blocks(rewriter, node, rows, first)
            if self._fits_one_step(rewriter.type_of(rows).shape, first):
                break
        result = rewriter.add(node.primitive, (rows,), node.source, axes=(first,))
        if narrow:
            result = rewriter.add(pw.cast, (result,), node.source, dtype=type.dtype)
        return result

    def _fits_one_step(self, shape: tuple[int, ...], axis: int) -> bool:
        """Whether rows can be reduced in one step. Symbolically many rows must: Undecided if
        not.
        """
        count, limit = shape[axis], self._block_length(shape, (axis,))
        if not isinstance(count, Dim):
            return count <= limit
        if count.hint > limit:
            raise Undecided(f"{count} blocks")
        count.sizes.note(limit - count, ">=")
        return True

    def _reduce_blocks(self, rewriter: Rewriter, node: Node, rows: int, axis: int) -> int:
        """Rows reduced block by block along an axis: one result per block, and one for the
        rest.
        """
        shape = rewriter.type_of(rows).shape
        total, block = shape[axis], self._block_length(shape, (axis,))
        whole = total // block * block
        joined = self._reduce_range(rewriter, node, rows, axis, 0, whole, total // block)
        last = self._reduce_range(rewriter, node, rows, axis, whole, total - whole, 1)
        return rewriter.add(assemble.concat, (joined, last), node.source, axis=axis)

    def _reduce_range(
        self,
        rewriter: Rewriter,
        node: Node,
        rows: int,
        axis: int,
        start: int,
        size: int,
        blocks: int,
    ) -> int:
        """`size` elements from `start` on, reduced in equal blocks."""
        shape = rewriter.type_of(rows).shape
        starts = tuple(start if k == axis else 0 for k in range(len(shape)))
        sizes = tuple(size if k == axis else n for k, n in enumerate(shape))
        steps = (1,) * len(shape)
        if not isinstance(size, Dim) and size == 0:
            starts = (0,) * len(shape)  # nothing is left over
        part = rewriter.add(
            view.slice_, (rows,), node.source, starts=starts, sizes=sizes, steps=steps
        )
        each = size if blocks == 1 else self._block_length(shape, (axis,))
        split = (*shape[:axis], blocks, each, *shape[axis + 1 :])
        part = rewriter.add(view.reshape, (part,), node.source, shape=split)
        return rewriter.add(node.primitive, (part,), node.source, axes=(axis + 1,))


@dataclass(frozen=True)
class UnrollReductions(Pass):
    """Reduce a few elements by naming each: out = x[..., 0] + x[..., 1] + x[..., 2].

    Readers of the result can then share its loop, whatever they reduce themselves. So the
    distances between points aren't stored if only the nearest is wanted.

    limit: the most elements
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
            if isinstance(kind, Reduce) and kind.of_two and self._is_short(graph, node):
                rewriter.map[index] = self._unroll(rewriter, node, kind.of_two)
            else:
                rewriter.map[index] = rewriter.copy(index)
        return rewriter.result()

    def _is_short(self, graph: Graph, node: Node) -> bool:
        type = graph.nodes[node.inputs[0]].tensor
        if node.primitive in (rd.sum_, rd.prod) and type.dtype.is_narrow:
            return False  # these accumulate in a wider dtype
        if node.primitive is rd.prod and type.dtype.is_complex:
            return False  # 1 times an infinity is not that infinity
        total = prod(type.shape[a] for a in node.attr("axes"))
        return not isinstance(total, Dim) and 0 < total <= self.limit

    def _unroll(self, rewriter: Rewriter, node: Node, of_two: Primitive) -> int:
        x, axes = rewriter.map[node.inputs[0]], node.attr("axes")
        shape = rewriter.type_of(x).shape
        steps = (1,) * len(shape)
        sizes = tuple(1 if k in axes else n for k, n in enumerate(shape))
        total = -1
        for position in np.ndindex(*(shape[a] for a in axes)):
            chosen = dict(zip(axes, position, strict=True))
            starts = tuple(chosen.get(k, 0) for k in range(len(shape)))
            element = rewriter.add(
                view.slice_, (x,), node.source, starts=starts, sizes=sizes, steps=steps
            )
            element = rewriter.add(
                view.reshape, (element,), node.source, shape=node.tensor.shape
            )
            both = (total, element)
            total = element if total < 0 else rewriter.add(of_two, both, node.source)
        return self._add_zero(rewriter, node, total)

    def _add_zero(self, rewriter: Rewriter, node: Node, total: int) -> int:
        """A sum of floats as one that starts from 0: of -0.0 alone it is 0.0."""
        dtype = node.tensor.dtype
        if node.primitive is not rd.sum_ or not dtype.is_inexact:
            return total
        zero = rewriter.const(np.zeros((), dtype.dtype), node.source)
        return rewriter.add(pw.add, (total, zero), node.source)


@dataclass(frozen=True)
class ExpandProducts(Pass):
    """Rewrite products that have no kernel of their own.

    Those of narrow floats are computed in float32, those of complex numbers by their parts.
    Those of integers and those with a vector become sums of products, which are never stored.
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
            inner = rewriter.type_of(a).shape[-1]
            if isinstance(inner, Dim):
                inner.sizes.note(inner - 1, ">=")
            if inner == 0:  # nothing to sum
                zero = rewriter.const(np.zeros((), dtype.dtype), node.source)
                rewriter.map[index] = rewriter.add(
                    view.broadcast, (zero,), node.source, shape=node.tensor.shape
                )
            elif dtype.is_narrow:
                wide = [rewriter.add(pw.cast, (i,), node.source, dtype=float32) for i in (a, b)]
                product = self._expand_product(rewriter, node, *wide)
                rewriter.map[index] = rewriter.add(
                    pw.cast, (product,), node.source, dtype=dtype
                )
            else:
                rewriter.map[index] = self._expand_product(rewriter, node, a, b)
        return rewriter.result()

    def _expand_product(self, rewriter: Rewriter, node: Node, a: int, b: int) -> int:
        if rewriter.type_of(a).dtype.kind in "iu" or self._pays_as_sum(rewriter, a, b):
            return self._sum_of_products(rewriter, node, a, b)
        if rewriter.type_of(a).dtype.kind == "c":
            return self._multiply_parts(rewriter, node, a, b)
        return rewriter.add(node.primitive, (a, b), node.source)

    def _multiply_parts(self, rewriter: Rewriter, node: Node, a: int, b: int) -> int:
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

    def _pays_as_sum(self, rewriter: Rewriter, a: int, b: int) -> bool:
        """Whether a sum along rows is as fast as the product.

        It is for rows times a vector, and where the inner extent is 1. It isn't where columns
        are contiguous, as those of `x.T` are: a product computes all of them side by side.
        """
        rows, inner = rewriter.type_of(a).shape[-2:]
        columns = rewriter.type_of(b).shape[-1]
        if _decide_one(inner):
            return True
        if _decide_one(columns):
            return not _swaps_last_axes(rewriter.nodes[a]) or _decide_one(rows)
        return _swaps_last_axes(rewriter.nodes[b]) and _decide_one(rows)

    def _sum_of_products(self, rewriter: Rewriter, node: Node, a: int, b: int) -> int:
        left, right = rewriter.type_of(a).shape, rewriter.type_of(b).shape
        if (
            rewriter.type_of(a).dtype.kind == "f"
            and (_decide_one(right[-1]) or _decide_one(left[-2]))
            and not _decide_one(left[-1])
        ):
            # one operand is a vector: multiply the rows of a, or columns of b, by it
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


def _decide_one(extent: int) -> bool:
    """Whether an extent is 1.

    If that depends on the sizes, the specialization is for one of both cases, since bits depend
    on it: a guard is noted.
    """
    if not isinstance(extent, Dim) or extent.bounds()[0] > 1:
        return extent == 1
    one = bool(extent.hint == 1)
    extent.sizes.note(extent - 1, "==" if one else "!=")
    return one


def _swaps_last_axes(node: Node) -> bool:
    """Whether a node exchanges its operand's last two axes."""
    perm = dict(node.attrs).get("perm")
    if not isinstance(node.primitive.kind, View) or perm is None or len(perm) < 2:
        return False
    return bool(perm[-1] == len(perm) - 2)
