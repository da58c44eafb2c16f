"""The stages of a function as text: graph after each pass, program, loops, code.

Nothing here prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from graphjit.core.errors import InternalError, InvalidArgumentError
from graphjit.ir.graph import Graph, verify
from graphjit.ir.program import Kernel, Program, print_buffers, print_step
from graphjit.passes import DEFAULT, PASSES, Fuse, Pass, Pipeline, through, verifying

PIPELINE_STAGE = "default"
PROGRAM_STAGES = ("kernels", "buffers", "loops", "llvm", "llvm-opt", "asm", "ptx")
# The passes that make or take a program; the stage is the program after them.
PROGRAM_PASSES = tuple(name for name, kind in PASSES.items() if kind.level != "graph")
STAGES = ("trace", PIPELINE_STAGE, *PROGRAM_PASSES, *PROGRAM_STAGES)


@dataclass(frozen=True, slots=True)
class PassStep:
    """One pass of a pipeline: the graph after it, and which rules fired at which nodes.

    title: the pass with its options. fired: pairs (rule, nodes of the graph before).
    """

    title: str
    graph: Graph
    changed: bool
    fired: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @property
    def header(self) -> str:
        """`--- simplify    # x * 1 -> x at %2`."""
        notes = [f"{name} at {', '.join(f'%{n}' for n in nodes)}" for name, nodes in self.fired]
        if not self.changed:
            notes = ["nothing changed"]
        return f"--- {self.title}" + (f"    # {'; '.join(notes)}" if notes else "")


def parse_pipeline(text: str, own: Sequence[Pass] = ()) -> Pipeline:
    """The pipeline that a text means; `default` is the default one after a function's own."""
    if text == PIPELINE_STAGE:
        return Pipeline((*own, *DEFAULT.passes))
    found = Pipeline.parse(text, PASSES)
    for step in found.passes:
        if step.level != "graph":
            raise InvalidArgumentError(f"{step.name} makes a program: give its name alone")
    return found


def run_passes(graph: Graph, pipeline: Pipeline) -> Iterator[PassStep]:
    """The graph after each pass."""
    for step in pipeline.passes:
        explain = getattr(step, "explain", None)
        fired: dict[str, list[int]] = {}
        for name, node in explain(graph) if explain is not None else ():
            fired.setdefault(name, []).append(node)
        after = step.run(graph)
        verify(after)
        rules = tuple((name, tuple(dict.fromkeys(nodes))) for name, nodes in fired.items())
        yield PassStep(str(step), after, after is not graph, rules)
        graph = after


def program_after(
    graph: Graph, name: str, passes: Sequence[Pass] = (), fast_math: bool = False
) -> Program:
    """A traced graph's program after the pass of that name, one of PROGRAM_PASSES.

    InvalidArgumentError where no target runs it.
    """
    steps = (
        Fuse(step.library_products, fast_math) if isinstance(step, Fuse) else step
        for step in through(name).passes
    )
    program: Program = Pipeline((*passes, *steps)).run(graph, [verifying])
    return program


def print_stage(program: Program, stage: str) -> str:
    """A stage after the graph as text: kernels, buffers, loops, llvm, llvm-opt or asm."""
    match stage:
        case "kernels":
            steps = map(print_step, program.steps)
            return "\n".join([*_fast(program), *steps, *_leaving(program)])
        case "buffers":
            return print_buffers(program)
        case "loops":
            from graphjit.codegen.cpu.processor import host
            from graphjit.codegen.lower import lower

            width = host().vector_bytes
            loops = (
                str(lower(step, width)) if isinstance(step, Kernel) else print_step(step)
                for step in program.steps
            )
            return "\n".join([*_fast(program), *loops])
        case "llvm" | "llvm-opt":
            from graphjit.codegen.cpu.target import llvm_text

            return llvm_text(program, optimized=stage == "llvm-opt")
        case "asm":
            from graphjit.codegen.cpu.target import assembly

            return assembly(program)
        case _:
            raise InternalError(f"no stage {stage!r}")


def _fast(program: Program) -> list[str]:
    return ["fast_math"] if program.fast_math else []


def _leaving(program: Program) -> list[str]:
    lines = ["return " + ", ".join(f"b{i}" for i in program.outputs)]
    if program.updates:
        lines.append("update " + ", ".join(f"b{i}" for i in program.updates))
    return lines
