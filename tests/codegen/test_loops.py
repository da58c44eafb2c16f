"""The loop nests of a few kernels, exactly, for vectors of 64 bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import golden_files
import numpy as np
import pytest

import graphjit
from graphjit.codegen.cpu.target import llvm_text
from graphjit.codegen.loops import Let, Loop, Statement
from graphjit.codegen.lower import lower
from graphjit.ir import cost_model
from graphjit.ir.graph import Graph
from graphjit.ir.program import Kernel, Load, arguments
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
    (specialization,) = shifts.specializations
    (kernel,) = (step for step in specialization.program.steps if isinstance(step, Kernel))
    assert sum(isinstance(value, Load) for value in kernel.values) > 30
    assert most_waiting(kernel) <= 2


def softmaxes(steps: int) -> Callable[[Any], Any]:
    def chain(x: Any) -> Any:
        for _ in range(steps):
            e = np.exp(x - np.max(x, -1, keepdims=True))
            x = e / np.sum(e, -1, keepdims=True)
        return x

    return chain


def exponentials(specialization: Any) -> int:
    return llvm_text(specialization.program).count("call <32 x double> @math.exp")


@pytest.mark.parametrize("rows", [64, 8000])
def test_no_stage_computes_again_what_those_before_did(rows: int) -> None:
    """However long the rows are: what a stage keeps takes the room of what it was made of."""
    found = []
    for steps in (2, 4, 8):
        function = graphjit.function(softmaxes(steps))
        x = np.random.default_rng(0).normal(size=(3, rows))
        np.testing.assert_allclose(function(x), softmaxes(steps)(x), rtol=1e-12)
        (specialization,) = function.specializations
        (kernel,) = (step for step in specialization.program.steps if isinstance(step, Kernel))
        nest = lower(kernel, VECTOR_BYTES)
        assert len({room for _, room, _ in nest.spilled}) == 1
        found.append(exponentials(specialization))
    assert found[1] == 2 * found[0] and found[2] == 2 * found[1]


def test_no_stage_computes_again_where_rows_have_any_length(monkeypatch: Any) -> None:
    monkeypatch.setattr(graphjit.config, "symbolic_after", 2)
    found = []
    for steps in (2, 4, 8):
        function = graphjit.function(softmaxes(steps))
        for shape in ((3, 40), (4, 70), (9, 1000), (5, 7), (2, 1)):
            x = np.random.default_rng(0).normal(size=shape)
            np.testing.assert_allclose(function(x), softmaxes(steps)(x), rtol=1e-12)
        found.append(exponentials(next(f for f in function.specializations if f.size_domain)))
    assert found[1] == 2 * found[0] and found[2] == 2 * found[1]


def test_rooms_of_values_that_live_side_by_side(monkeypatch: Any) -> None:
    """Values needed again later, of two dtypes, and more of them than there is room for."""

    def function(x: Any) -> Any:
        a = np.exp(x)
        b = np.exp(x * 0.5 + a.mean(-1, keepdims=True) * 0)
        c = np.sin((b - b.mean(-1, keepdims=True)).astype(np.float32))
        d = np.cos(c * c.max(-1, keepdims=True) + a)
        e = np.exp(-d * d.min(-1, keepdims=True)) + b
        return e / e.sum(-1, keepdims=True) + a - c

    for shape in ((3, 5), (4, 77), (70, 3), (2, 3000)):
        x = np.random.default_rng(0).normal(size=shape)
        for room in (0, 1 << 12, 1 << 16, cost_model.SPILL_BYTES):
            monkeypatch.setattr(cost_model, "SPILL_BYTES", room)
            compiled = graphjit.function(lambda x, room=room: function(x) + room)
            np.testing.assert_allclose(compiled(x), function(x) + room, rtol=1e-5)
