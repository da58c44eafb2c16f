"""Each pass, exactly: what it makes of small graphs, and what it must leave alone."""

from __future__ import annotations

from collections.abc import Callable

import golden_files
import pytest

from graphjit.ir.graph import Graph, verify
from graphjit.ir.program import print_program, print_step
from graphjit.passes import PASSES, fuse, program_of
from graphjit.passes.simplify import RULES, Simplify

ALL = [case for name in PASSES for case in golden_files.cases(name)]


def text_after(step_name: str) -> Callable[[Graph], str]:
    def make(graph: Graph) -> str:
        step = PASSES[step_name]()
        after = step.run(graph)
        verify(after)
        if after is graph:
            return "(unchanged)"
        return str(after)

    return make


@pytest.mark.parametrize("case", ALL)
def test_pass(case: str) -> None:
    golden_files.check(case, text_after(case.partition("/")[0]))


def program_text(graph: Graph) -> str:
    """Kernels and decisions; not the buffers, which `memory` shows."""
    program = fuse(graph)
    lines = [print_step(step) for step in program.steps]
    lines.append("return " + ", ".join(f"b{i}" for i in program.outputs))
    if program.updates:
        lines.append("update " + ", ".join(f"b{i}" for i in program.updates))
    return "\n".join([*lines, *(f"# {reason}" for reason in program.decisions)])


@pytest.mark.parametrize("case", golden_files.cases("fusion"))
def test_fusion(case: str) -> None:
    golden_files.check(case, program_text)


@pytest.mark.parametrize("case", golden_files.cases("memory"))
def test_memory(case: str) -> None:
    golden_files.check(case, lambda graph: print_program(program_of(graph)))


def test_every_pass_and_every_rule_has_a_case() -> None:
    assert all(golden_files.cases(name) for name in (*PASSES, "fusion", "memory"))
    fired = {
        rule
        for case in golden_files.cases("simplify")
        for rule, _ in Simplify().explain(golden_files.before(case))
    }
    assert fired == {rule.name for rule in RULES}
