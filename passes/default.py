"""The passes by name, and the default order, each line with its reason."""

from __future__ import annotations

from dataclasses import replace

from graphjit.core.dims import Dim
from graphjit.ir.graph import Graph
from graphjit.ir.program import Program
from graphjit.ir.verify_program import verify_program

from .band import band
from .cse import Cse
from .dce import Dce
from .divide import divide
from .expand import ExpandProducts, SplitReductions, UnrollReductions
from .fold import Fold
from .fuse import fuse
from .memory import plan_memory
from .pack import pack
from .pin_sizes import PinSizes
from .pipeline import Pass, Pipeline
from .simplify import Simplify

PASSES: dict[str, type[Pass]] = {
    step.name: step
    for step in (
        PinSizes,
        Simplify,
        Fold,
        Cse,
        ExpandProducts,
        UnrollReductions,
        SplitReductions,
        Dce,
    )
}


def program_of(graph: Graph, cpu: bool = True, alone: frozenset[int] = frozenset()) -> Program:
    """The program of a graph that the passes have been over.

    cpu: with what pays on a CPU alone, copies for vector lanes and bands for its caches; if
    not, with what a GPU asks for, kernels of few results. alone: the products that have
    nothing fused to them, for a library computes them.
    """
    program = fuse(graph, alone)
    program = plan_memory(band(pack(program)) if cpu else divide(program))
    verify_program(program)
    dims = [n for p in graph.params for n in graph.nodes[p].tensor.shape if isinstance(n, Dim)]
    if not dims:
        return program
    symbols = dict.fromkeys(name for n in dims for name in n.symbols)
    return replace(program, symbols=tuple(symbols), guards=tuple(dims[0].sizes.guards))


DEFAULT = Pipeline(
    (
        PinSizes(),  # first of all, so that no pass takes an extent of 1 for a longer one
        Dce(),  # what the function computed and dropped costs the other passes nothing
        Simplify(),  # makes more equal nodes and more constants
        Fold(),
        Cse(),  # after folding: equal constants become one
        ExpandProducts(),  # before reductions are split: integer products become sums
        UnrollReductions(),  # products with a vector among them
        SplitReductions(),  # before fusion, so that bits don't depend on what is fused
        PinSizes(),  # the guards of the last two
        Simplify(),  # views that the last two put in
        Fold(),  # constants that the last three made: weights in a wider dtype, for one
        Cse(),
        Dce(),
    )
)
