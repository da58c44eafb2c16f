"""Random graphs as PTX: the emulator gives the CPU's bits, before the passes and after."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from compiled import optimized, same_bits
from hypothesis import given, note, settings
from hypothesis import strategies as st
from ptx import programs
from strategies import graphs, inputs_for

from graphjit.codegen.cpu.target import compile_program
from graphjit.core.errors import InvalidArgumentError
from graphjit.ir.graph import Graph
from graphjit.ops.primitive import Contract
from graphjit.passes import PTX, program_of

Array = np.ndarray[Any, Any]
LONG = bool(os.environ.get("GRAPHJIT_LONG_TESTS"))


def results(graph: Graph, inputs: list[Array]) -> list[Array] | str:
    """What the CPU's code gives, or the kind of its error."""
    try:
        outputs, updates = compile_program(program_of(graph))[0](inputs)
    except InvalidArgumentError as error:
        return type(error).__name__
    return [*outputs, *updates]


def on_gpu(graph: Graph, inputs: list[Array], schedule: str | int) -> list[Array] | str:
    """What the emulator gives for the PTX."""
    try:
        return programs.run(programs.planned(graph), inputs, schedule=schedule)
    except InvalidArgumentError as error:
        return type(error).__name__


@given(st.data())
@settings(max_examples=3000 if LONG else 60)
def test_random_graphs(data: st.DataObject) -> None:
    graph = data.draw(graphs(max_nodes=10))
    inputs = data.draw(inputs_for(graph))
    schedule = data.draw(st.sampled_from(["lockstep", 1]))
    products = any(isinstance(n.primitive.kind, Contract) for n in graph.nodes)
    for variant in (optimized(graph),) if products else (graph, optimized(graph)):
        note(f"{variant}\n{program_of(variant, PTX)}")
        found = on_gpu(variant, inputs, schedule)
        expected = results(variant, inputs)
        if isinstance(found, str) or isinstance(expected, str):
            assert found == expected
            return
        for actual, cpu in zip(found, expected, strict=True):
            assert same_bits(actual, cpu)
