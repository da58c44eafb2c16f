"""Each pass, exactly: what it makes of small graphs, and what it must leave alone."""

from __future__ import annotations

from collections.abc import Callable

import golden_files
import pytest

from graphjit.ir.graph import Graph, verify
from graphjit.ir.program import print_program, print_step
from graphjit.passes import PASSES, Fuse, Pipeline, through, verifying
from graphjit.passes.donate import Donate
from graphjit.passes.simplify import RULES, Simplify

GRAPH_PASSES = [name for name, kind in PASSES.items() if kind.level == "graph"]
PROGRAM_PASSES = [name for name, kind in PASSES.items() if kind.level != "graph"]


def cases(names: list[str]) -> list[str]:
    return [case for name in names for case in golden_files.cases(name)]


def text_after(step_name: str) -> Callable[[Graph], str]:
    def make(graph: Graph) -> str:
        step = PASSES[step_name]()
        after = step.run(graph)
        verify(after)
        if after is graph:
            return "(unchanged)"
        return str(after)

    return make


@pytest.mark.parametrize("case", cases(GRAPH_PASSES))
def test_pass(case: str) -> None:
    golden_files.check(case, text_after(case.partition("/")[0]))


def fused_text(graph: Graph) -> str:
    """Kernels and decisions; not the buffers, which `plan-memory` shows."""
    program = Fuse().run(graph)
    lines = [print_step(step) for step in program.steps]
    lines.append("return " + ", ".join(f"b{i}" for i in program.outputs))
    if program.updates:
        lines.append("update " + ", ".join(f"b{i}" for i in program.updates))
    return "\n".join([*lines, *(f"# {reason}" for reason in program.decisions)])


def program_text(name: str) -> Callable[[Graph], str]:
    """The program after a pass, of the first target that runs it, for the graph as it is; the
    first input is donated.
    """

    def make(graph: Graph) -> str:
        steps = through(name).at("graph to program", "program").passes
        donating = (Donate((0,)) if isinstance(step, Donate) else step for step in steps)
        program = Pipeline(tuple(donating)).run(graph, [verifying])
        if program is graph:
            return "(unchanged)"
        return print_program(program)

    return make


@pytest.mark.parametrize("case", cases(PROGRAM_PASSES))
def test_program_pass(case: str) -> None:
    name = case.partition("/")[0]
    golden_files.check(case, fused_text if name == "fuse" else program_text(name))


def test_every_pass_and_every_rule_has_a_case() -> None:
    assert all(golden_files.cases(name) for name in PASSES)
    fired = {
        rule
        for case in golden_files.cases("simplify")
        for rule, _ in Simplify().explain(golden_files.before(case))
    }
    assert fired == {rule.name for rule in RULES}
