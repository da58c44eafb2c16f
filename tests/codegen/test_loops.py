"""The loop nests of a few kernels, exactly, for vectors of 64 bytes."""

from __future__ import annotations

from typing import Any

import golden_files
import numpy as np
import pytest

import graphjit
from graphjit.codegen.loops import Let, Loop, Statement
from graphjit.codegen.lower import lower
from graphjit.ir import Graph
from graphjit.passes import DEFAULT, fuse
from graphjit.program import Kernel, Load, arguments

VECTOR_BYTES = 64


def loops_text(graph: Graph) -> str:
    steps = fuse(DEFAULT.run(graph)).steps
    kernels = [step for step in steps if isinstance(step, Kernel)]
    return "\n".join(str(lower(kernel, VECTOR_BYTES)) for kernel in kernels)


@pytest.mark.parametrize("case", golden_files.cases("loops"))
def test_loops(case: str) -> None:
    golden_files.check(case, loops_text)


def test_there_are_cases() -> None:
    assert golden_files.cases("loops")


def most_waiting(kernel: Kernel) -> int:
    """How many loads that nothing has read yet there are at most within a kernel's loop."""
    statements: tuple[Statement, ...] = lower(kernel, VECTOR_BYTES).body
    while loops := [s for s in statements if isinstance(s, Loop)]:
        statements = loops[0].body
    waiting, most = set[int](), 0
    for statement in statements:
        if isinstance(statement, Let):
            value = kernel.values[statement.value]
            waiting.difference_update(arguments(value))
            waiting.update({statement.value} if isinstance(value, Load) else ())
            most = max(most, len(waiting))
    return most


def test_no_more_loads_than_registers_wait_to_be_read() -> None:
    """Each further one would be put on the stack and taken back."""

    @graphjit.function
    def shifts(x: Any) -> Any:
        return sum((x[k : k + 1000] * float(k) for k in range(40)), x[:1000])

    shifts(np.ones(1100))
    (form,) = shifts.specializations
    (kernel,) = (step for step in form.program.steps if isinstance(step, Kernel))
    assert sum(isinstance(value, Load) for value in kernel.values) > 30
    assert most_waiting(kernel) <= 2
