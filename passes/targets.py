"""The passes by name, and the pipeline of each target, each line with its reason."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from graphjit.core.errors import InvalidArgumentError
from graphjit.core.frozen import dataclass
from graphjit.ir.graph import Graph
from graphjit.ir.program import Program
from graphjit.ir.verify_program import verify_program

from .cse import Cse
from .dce import Dce
from .divide import Divide
from .donate import Donate
from .expand_products import ExpandProducts
from .fold import Fold
from .fuse import Fuse
from .pack import Pack
from .pin_sizes import PinSizes
from .pipeline import GRAPH, PROGRAM, Observer, Pass, Pipeline
from .plan_memory import PlanMemory
from .row_blocks import RowBlocks
from .simplify import Simplify
from .split_reductions import SplitReductions
from .unroll_reductions import UnrollReductions
from .update_in_place import UpdateInPlace

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
        Fuse,
        UpdateInPlace,
        Pack,
        RowBlocks,
        Divide,
        PlanMemory,
        Donate,
    )
}

DEFAULT = Pipeline(
    (
        PinSizes(),  # first of all, so that no pass takes an extent of 1 for a longer one
        Dce(),  # nodes that the function dropped cost the other passes nothing
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


@dataclass(frozen=True)
class Target:
    """What programs are made for.

    pipeline: its passes, from a traced graph to a program with a memory plan
    """

    name: str
    pipeline: Pipeline


CPU = Target(
    "cpu",
    Pipeline(
        (
            *DEFAULT.passes,
            Fuse(),
            UpdateInPlace(),  # before what moves or divides kernels
            Pack(),  # copies that vector lanes read contiguously
            RowBlocks(),  # after packing, which adds kernels; rows that stay in the caches
            PlanMemory(),  # after all passes that add buffers
            Donate(),  # last: results, which aren't in the arena
        )
    ),
)
PTX = Target(
    "ptx",
    Pipeline(
        (
            *DEFAULT.passes,
            Fuse(),
            Divide(),  # a thread has few registers for results
            PlanMemory(),
        )
    ),
)
TARGETS = {target.name: target for target in (CPU, PTX)}


def program_of(
    graph: Graph,
    target: Target = CPU,
    *,
    library_products: frozenset[int] = frozenset(),
    fast_math: bool = False,
    donated: Collection[int] = (),
    written: Collection[tuple[int, int]] = (),
    observers: Iterable[Observer] = (),
) -> Program:
    """The program of a graph that has been through the graph passes.

    library_products, fast_math: options of `Fuse`
    donated, written: options of `Donate`
    """
    steps = [
        Donate(tuple(sorted(donated)), tuple(written)) if isinstance(step, Donate) else step
        for step in target.pipeline.at(PROGRAM).passes
    ]
    steps.insert(0, Fuse(library_products, fast_math))
    program: Program = Pipeline(tuple(steps)).run(graph, observers)
    verify_program(program)
    return program


def optimized(
    graph: Graph, own: Sequence[Pass] = (), observers: Iterable[Observer] = ()
) -> Graph:
    """A traced graph after a user's own passes and the default ones."""
    after: Graph = Pipeline((*own, *DEFAULT.passes)).run(graph, observers)
    return after


def through(name: str) -> Pipeline:
    """The passes up to one that makes or takes a program, of the first target that has it.

    Raises InvalidArgumentError if none has it.
    """
    for target in TARGETS.values():
        passes = target.pipeline.passes
        for number, step in enumerate(passes):
            if step.level != GRAPH and step.name == name:
                return Pipeline(passes[: number + 1])
    raise InvalidArgumentError(f"no target has a pass {name!r} over programs")


__all__ = [
    "CPU", "DEFAULT", "GRAPH", "PASSES", "PTX", "TARGETS", "Target", "optimized", "program_of",
    "through",
]  # fmt: skip
