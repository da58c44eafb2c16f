"""Graph -> Program: nodes that share a loop nest become one kernel.

Some nodes are *roots*, which need a value of their own (fusion_roots.py); all others are
computed where they are read. Roots that can share a loop nest are grouped (fusion_groups.py),
and the groups become steps over buffers (program_assembly.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from graphjit.core.dims import Dim, Undecided, is_symbolic
from graphjit.ir.graph import Graph
from graphjit.ir.program import Kernel, Program, map_programs

from .build import MustStore
from .fusion_groups import Grouping
from .fusion_roots import RootAnalysis
from .pipeline import Conversion
from .program_assembly import ProgramAssembler, RegionCompiler
from .space import Unfusable


@dataclass(frozen=True)
class Fuse(Conversion):
    """Group a graph's nodes into kernels, products and library calls.

    Raises Undecided where an index over symbolic extents is affine for some sizes only.

    library_products: matmuls left unfused because a library (cuBLAS) computes them
    fast_math: see `Program.fast_math`
    """

    name: ClassVar[str] = "fuse"
    library_products: frozenset[int] = frozenset()
    fast_math: bool = False

    def run(self, graph: Graph) -> Program:
        """The program of a graph."""
        program = _fuse(graph, self.library_products, self._compile_region)
        dims = [
            n for p in graph.params for n in graph.nodes[p].tensor.shape if isinstance(n, Dim)
        ]
        symbols = tuple(dict.fromkeys(name for n in dims for name in n.symbols))
        guards = tuple(dims[0].sizes.guards) if dims else ()
        return replace(program, symbols=symbols, guards=guards, fast_math=self.fast_math)

    def _compile_region(self, graph: Graph, name: str) -> Program:
        """The program of a region. name: the prefix of its kernels' names."""
        program = Fuse(fast_math=self.fast_math).run(graph)
        return _prefix_names(program, name)


def _prefix_names(program: Program, name: str) -> Program:
    """A region's program with kernel names that no other program has, inner programs
    included.
    """
    program = map_programs(program, lambda inner: _prefix_names(inner, name))
    steps = tuple(
        replace(step, name=f"{name}_{step.name}") if isinstance(step, Kernel) else step
        for step in program.steps
    )
    return replace(program, steps=steps)


def _fuse(
    graph: Graph, library_products: frozenset[int], compile_region: RegionCompiler
) -> Program:
    """The program of a graph. Raises Undecided where only some sizes make an index affine."""
    try:
        return _fuse_graph(graph, library_products, compile_region)
    except (Unfusable, MustStore) as error:
        if any(is_symbolic(graph.nodes[p].tensor.shape) for p in graph.params):
            raise Undecided(f"an index: {error}") from error
        raise


def _fuse_graph(
    graph: Graph, library_products: frozenset[int], compile_region: RegionCompiler
) -> Program:
    """The program, found by attempts.

    Each attempt starts with the roots that the one before turned out to need.
    """
    forced: set[int] = set()
    while True:
        grouping = Grouping(RootAnalysis(graph, forced), library_products)
        grouping.run()
        forced |= grouping.late_roots
        if grouping.late_roots:
            continue
        try:
            program = ProgramAssembler(grouping, compile_region).program()
            grouping.groups.clear()  # breaks a reference cycle through their walks
            return program
        except MustStore as need:
            if need.node in forced:
                raise
            forced.add(need.node)


__all__ = ["Fuse", "Kernel"]
