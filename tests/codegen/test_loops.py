"""The loop nests of a few kernels, exactly, for vectors of 64 bytes."""

from __future__ import annotations

import golden_files
import pytest

from graphjit.codegen.lower import lower
from graphjit.ir.graph import Graph
from graphjit.ir.program import Kernel
from graphjit.passes import DEFAULT, Fuse

VECTOR_BYTES = 64


def loops_text(graph: Graph) -> str:
    steps = Fuse().run(DEFAULT.run(graph)).steps
    kernels = [step for step in steps if isinstance(step, Kernel)]
    return "\n".join(str(lower(kernel, VECTOR_BYTES)) for kernel in kernels)


@pytest.mark.parametrize("case", golden_files.cases("loops"))
def test_loops(case: str) -> None:
    golden_files.check(case, loops_text)


def test_there_are_cases() -> None:
    assert golden_files.cases("loops")
