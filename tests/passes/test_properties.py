"""What every pass owes: a valid graph of the same meaning, and nothing left to do."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from chains import chain, values
from compiled import optimized, same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import graphs, inputs_for
from tolerance import assert_close

from graphjit.ir.graph import Graph, GraphBuilder, verify
from graphjit.ir.interpreter import run
from graphjit.ir.program import Program, reads_and_writes
from graphjit.ops import PRIMITIVES as P
from graphjit.passes import DEFAULT, PASSES, Pipeline, program_of
from graphjit.passes.split_reductions import SplitReductions

# Passes that may round differently: powers become products, sums get another order.
ROUNDING = ("simplify", "split-reductions", "expand-products")


def check_meaning(before: Graph, after: Graph, inputs: list[Any], exact: bool) -> None:
    assert [before.nodes[i].type for i in before.params] == [
        after.nodes[i].type for i in after.params
    ]
    wanted, found = run(before, inputs), run(after, inputs)
    for a, b in zip((*found[0], *found[1]), (*wanted[0], *wanted[1]), strict=True):
        if exact:
            assert same_bits(a, b)
        else:
            assert_close(a, b, ulps=16, length=64)


@pytest.mark.parametrize("name", [n for n, kind in PASSES.items() if kind.level == "graph"])
@given(data=st.data())
@settings(max_examples=60)
def test_pass_keeps_meaning(name: str, data: st.DataObject) -> None:
    graph = data.draw(graphs(exact=name in ROUNDING))
    inputs = data.draw(inputs_for(graph, values=("small", "count")))
    step = PASSES[name]()
    after = step.run(graph)
    verify(after)
    check_meaning(graph, after, inputs, exact=name not in ROUNDING)
    assert step.run(after) is after


@given(data=st.data())
@settings(max_examples=80)
def test_default_pipeline(data: st.DataObject) -> None:
    graph = data.draw(graphs(exact=True))
    after = optimized(graph)
    check_meaning(graph, after, data.draw(inputs_for(graph, values=("small", "count"))), False)
    assert DEFAULT.run(after) is after


@given(graph=graphs())
@settings(max_examples=80)
def test_default_pipeline_leaves_nothing_to_do(graph: Graph) -> None:
    after = optimized(graph)
    assert DEFAULT.run(after) is after


@pytest.mark.parametrize("seed", range(40))
def test_chains(seed: int) -> None:
    graph = chain(seed)
    after = optimized(graph)
    assert DEFAULT.run(after) is after
    if graph.nodes[0].tensor.dtype.is_integer:
        check_meaning(graph, after, values(graph, seed), exact=True)


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_prints_and_parses(name: str) -> None:
    assert Pipeline.parse(name, PASSES) == Pipeline((PASSES[name](),))
    assert str(Pipeline((PASSES[name](),))) == name


def test_the_default_pipeline_is_text_too() -> None:
    assert Pipeline.parse(str(DEFAULT), PASSES) == DEFAULT


@pytest.mark.parametrize("shape", [(3000,), (5, 301), (301, 5), (2, 301, 3), (17, 18)])
def test_long_reductions_are_split_until_none_is_left(shape: tuple[int, ...]) -> None:
    step = SplitReductions(limit=16, rows=4)
    array = np.arange(np.prod(shape), dtype=np.int64).reshape(shape) ** 3
    for first, last in itertools.combinations(range(len(shape) + 1), 2):
        b = GraphBuilder("f")
        x = b.const(array)
        axes = tuple(range(first, last))
        graph = b.finish([b.add(P[name], (x,), axes=axes) for name in ("sum", "max")])
        after = step.run(graph)
        verify(after)
        check_meaning(graph, after, [], exact=True)
        assert step.run(after) is after
        for node in after.nodes:
            if node.primitive in (P["sum"], P["max"]):
                read = after.nodes[node.inputs[0]].tensor.shape
                assert np.prod([read[a] for a in node.attr("axes")]) <= 16


# -- programs ---------------------------------------------------------------------------------


def check_program(graph: Graph, program: Program) -> None:
    """What code generation relies on."""
    assert len(program.inputs) == len(graph.params)
    assert [program.buffers[i].type for i in program.outputs] == [
        graph.nodes[i].type for i in graph.outputs
    ]
    written = {i for i, b in enumerate(program.buffers) if b.role in ("input", "constant")}
    for step in program.steps:
        reads, writes = reads_and_writes(step)
        for buffer in reads:
            full = program.buffers[buffer].type.size
            assert buffer in written or not full, f"b{buffer} is read first\n{program}"
        assert not {b for b in writes if program.buffers[b].role in ("input", "constant")}
        written.update(writes)
    for buffer in (*program.outputs, *program.updates):
        assert buffer in written or not program.buffers[buffer].type.size
    check_arena(program)


def check_arena(program: Program) -> None:
    """No two living temporaries share a byte, but for one that begins, in the same place, with
    the step that the other ends with.
    """
    alive: dict[int, tuple[int, int]] = {}
    for number, step in enumerate(program.steps):
        first = last = number
        for block in program.row_blocks:
            if block.first <= number < block.stop:
                first, last = block.first, block.stop - 1
        for buffer in {b for some in reads_and_writes(step) for b in some}:
            if program.buffers[buffer].role == "temporary":
                alive[buffer] = (alive.get(buffer, (first, last))[0], last)
    for one, (first, last) in alive.items():
        start = program.buffers[one].offset_bytes
        end = start + program.buffers[one].type.nbytes
        assert start >= 0 and start % 64 == 0 and end <= program.arena_bytes
        for other, (later, latest) in alive.items():
            begin = program.buffers[other].offset_bytes
            apart = end <= begin or begin + program.buffers[other].type.nbytes <= start
            if one == other or apart or last < later or latest < first:
                continue
            handed = (last == later or latest == first) and start == begin
            assert handed, f"b{one} and b{other} overlap\n{program}"


@given(graph=graphs(max_nodes=16))
@settings(max_examples=150)
def test_programs_of_random_graphs(graph: Graph) -> None:
    check_program(graph, program_of(graph))
    after = optimized(graph)
    check_program(after, program_of(after))


@pytest.mark.parametrize("seed", range(100, 220))
def test_programs_of_chains(seed: int) -> None:
    graph = optimized(chain(seed))
    check_program(graph, program_of(graph))
