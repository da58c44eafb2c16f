"""Splits long reductions into reductions over blocks."""

from __future__ import annotations

from math import prod

from graphjit.core.dims import Dim, Undecided
from graphjit.core.extents import decide_one
from graphjit.core.frozen import dataclass
from graphjit.core.types import float32
from graphjit.ir.graph import Graph, Node, Rewriter
from graphjit.ops import assemble, view
from graphjit.ops import pointwise as pw
from graphjit.ops import reduce as rd
from graphjit.ops.primitive import Reduce

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
            decide_one(extent)
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
        one_element = decide_one(prod(shape[axes[-1] + 1 :]))
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
