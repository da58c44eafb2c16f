"""Constant folding."""

from __future__ import annotations

from graphjit.core.dims import is_symbolic
from graphjit.core.frozen import dataclass
from graphjit.core.types import TensorType
from graphjit.ir.graph import Graph, Node, Rewriter
from graphjit.ir.interpreter import run_primitive
from graphjit.ops import source
from graphjit.ops.primitive import View

from .pipeline import Pass


@dataclass(frozen=True)
class Fold(Pass):
    """Replace nodes whose inputs are all constant by their value.

    Only ops with the same bits in NumPy and compiled code are folded.

    max_bytes: the most bytes of a new constant
    """

    max_bytes: int = 65536

    name = "fold"

    def run(self, graph: Graph) -> Graph:
        """The graph with constant nodes as constants."""
        first = self._find_first_foldable(graph)
        if first == len(graph.nodes):
            return graph
        rewriter = Rewriter(graph)
        rewriter.keep(first)
        for index in range(first, len(graph.nodes)):
            node = graph.nodes[index]
            inputs = [rewriter.nodes[rewriter.map[i]] for i in node.inputs]
            if self._is_foldable(node, inputs):
                arrays = [n.attr("value").array for n in inputs]
                value = run_primitive(node.primitive, arrays, node.type, dict(node.attrs))
                rewriter.map[index] = rewriter.const(value, node.source)
            else:
                rewriter.map[index] = rewriter.copy(index)
        return rewriter.result()

    def _find_first_foldable(self, graph: Graph) -> int:
        """The first node that becomes a constant. Nodes before it needn't be copied."""
        nodes = graph.nodes
        for index, node in enumerate(nodes):
            if self._is_foldable(node, [nodes[i] for i in node.inputs]):
                return index
        return len(nodes)

    def _is_foldable(self, node: Node, inputs: list[Node]) -> bool:
        """Whether a node's inputs are all constant, and it may become a constant."""
        for x in inputs:
            if x.primitive is not source.const:
                return False
        if not inputs or not node.primitive.exact or not isinstance(node.type, TensorType):
            return False
        if is_symbolic(node.type.shape) or node.type.nbytes > self.max_bytes:
            return False
        if isinstance(node.primitive.kind, View) and node.type.size > inputs[0].tensor.size:
            return False  # a broadcast number is an operand; as an array it would take memory
        return not any(n.tensor.dtype.is_complex for n in inputs)
