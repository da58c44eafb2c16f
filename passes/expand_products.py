"""Rewrites matrix products whose dtype or shape has no kernel of its own."""

from __future__ import annotations

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.extents import decide_one
from graphjit.core.frozen import dataclass
from graphjit.core.types import float32
from graphjit.ir.graph import Graph, Node, Rewriter
from graphjit.ops import pointwise as pw
from graphjit.ops import reduce as rd
from graphjit.ops import view
from graphjit.ops.primitive import Contract, View

from .pipeline import Pass


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
        if decide_one(inner):
            return True
        if decide_one(columns):
            return not _swaps_last_axes(rewriter.nodes[a]) or decide_one(rows)
        return _swaps_last_axes(rewriter.nodes[b]) and decide_one(rows)

    def _sum_of_products(self, rewriter: Rewriter, node: Node, a: int, b: int) -> int:
        left, right = rewriter.type_of(a).shape, rewriter.type_of(b).shape
        if (
            rewriter.type_of(a).dtype.kind == "f"
            and (decide_one(right[-1]) or decide_one(left[-2]))
            and not decide_one(left[-1])
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


def _swaps_last_axes(node: Node) -> bool:
    """Whether a node exchanges its operand's last two axes."""
    perm = dict(node.attrs).get("perm")
    if not isinstance(node.primitive.kind, View) or perm is None or len(perm) < 2:
        return False
    return bool(perm[-1] == len(perm) - 2)
