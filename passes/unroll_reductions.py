"""Unrolls reductions of a few elements into pointwise nodes."""

from __future__ import annotations

from math import prod

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.frozen import dataclass
from graphjit.ir.graph import Graph, Node, Rewriter
from graphjit.ops import pointwise as pw
from graphjit.ops import reduce as rd
from graphjit.ops import view
from graphjit.ops.primitive import Primitive, Reduce

from .pipeline import Pass


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
