"""What tests of passes and generated code share: compiling a graph, comparing with eager."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from graphjit.codegen.cpu.target import compile_program
from graphjit.core.types import TensorType
from graphjit.ir.graph import Graph, Node
from graphjit.ir.program import Program
from graphjit.ops import contract, index
from graphjit.ops.primitive import Reduce, Scan
from graphjit.passes import DEFAULT, program_of, verifying

Array = np.ndarray[Any, Any]
Results = tuple[list[Array], list[Array]]


def optimized(graph: Graph) -> Graph:
    """The graph after the default passes, each of which is verified."""
    return DEFAULT.run(graph, [verifying])


def planned(graph: Graph) -> Program:
    """The program of a graph as it is, without passes."""
    return program_of(graph)


def run_compiled(graph: Graph, inputs: Sequence[Array]) -> Results:
    """The results of a graph's compiled program, no passes run before."""
    return compile_program(planned(graph))[0](list(inputs))


def storing_all(graph: Graph) -> Graph:
    """The graph with every node an output too, so that none stays in a register."""
    every = [i for i, n in enumerate(graph.nodes) if isinstance(n.type, TensorType)]
    return replace(graph, outputs=(*graph.outputs, *every))


def same_bits(a: Array, b: Array) -> bool:
    """Whether two arrays are equal to the bit; one NaN is as good as another."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind == "c":
        return same_bits(np.real(a), np.real(b)) and same_bits(np.imag(a), np.imag(b))
    equal = np.ascontiguousarray(a).view(f"V{a.itemsize}") == np.ascontiguousarray(b).view(
        f"V{b.itemsize}"
    )
    if a.dtype.kind in "fV":
        with np.errstate(invalid="ignore"):
            equal = equal | ((a != a) & (b != b))
    return bool(np.all(equal))


def reduced_length(graph: Graph, node: Node) -> int:
    """How many elements a node adds up or multiplies for one of its own."""
    types = [graph.nodes[i].type for i in node.inputs]
    kind = node.primitive.kind
    if isinstance(kind, Reduce):
        shape = types[0].shape
        return max(1, int(np.prod([shape[a] for a in node.attr("axes")])))
    if isinstance(kind, Scan):
        return max(1, int(types[0].shape[node.attr("axis")]))
    if node.primitive is contract.matmul:
        return max(1, int(types[0].shape[-1]))
    if node.primitive is index.scatter:
        return max(1, types[1].size)
    return 1
