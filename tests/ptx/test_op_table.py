"""Every op of the table as PTX: code generation in a process of its own, which must survive;
then run in the emulator, with the CPU's bits, and within the table's tolerance of NumPy.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest
from compiled import reduced_length, run_compiled, same_bits
from ops.test_table import SHAPES, check_node, defined, operands, pairs, param, reducible
from ptx import programs
from strategies import fill, operand_count, pointwise_of

from graphjit.codegen.ptx.target import Assembly
from graphjit.core.types import DTYPES, DType
from graphjit.ir.graph import Graph, GraphBuilder
from graphjit.ir.interpreter import run_primitive
from graphjit.ops import PRIMITIVES, view
from graphjit.ops.primitive import Reduce, Scan

Array = np.ndarray[Any, Any]
LONG = bool(os.environ.get("GRAPHJIT_LONG_TESTS"))


@pytest.fixture(scope="module")
def apart() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


def compare(apart: ProcessPoolExecutor, graph: Graph, inputs: Sequence[Array]) -> None:
    """Run a graph of single ops on parameters, and compare each output."""
    assembly: Assembly = apart.submit(programs.planned, graph, "sm_80").result()
    found = programs.run(assembly, inputs)
    on_cpu, _ = run_compiled(graph, list(inputs))
    given = dict(zip(graph.params, inputs, strict=True))
    wrong = []
    for place, actual, cpu in zip(graph.outputs, found, on_cpu, strict=True):
        node = graph.nodes[place]
        arrays = [given[i] for i in node.inputs]
        name = f"{node.primitive.name} {dict(node.attrs)}"
        if not same_bits(actual, cpu):
            wrong.append(f"{name}: not the CPU's bits")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = run_primitive(node.primitive, arrays, node.type, dict(node.attrs))
        try:
            check_node(node, actual, expected, reduced_length(graph, node))
        except AssertionError as error:
            wrong.append(f"{name}: {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
def test_pointwise(dtype: DType, apart: ProcessPoolExecutor) -> None:
    b, inputs, outputs = GraphBuilder("f"), [], []
    for primitive, options in pointwise_of(dtype, False):
        if primitive is PRIMITIVES["where"]:
            continue
        arrays = defined(primitive, operands(dtype, operand_count(primitive)))
        nodes = [param(b, a, dtype) for a in arrays]
        inputs += arrays
        outputs += [b.add(primitive, nodes, **attrs) for attrs in options]
    compare(apart, b.finish(outputs), inputs)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
def test_where(dtype: DType, apart: ProcessPoolExecutor) -> None:
    x, y = pairs(dtype)
    c = np.arange(x.size) % 3 == 0
    b = GraphBuilder("f")
    nodes = [param(b, c, DTYPES[0]), param(b, x, dtype), param(b, y, dtype)]
    compare(apart, b.finish([b.add(PRIMITIVES["where"], nodes)]), [c, x, y])


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
def test_reductions_and_scans(dtype: DType, apart: ProcessPoolExecutor) -> None:
    b, inputs, outputs = GraphBuilder("f"), [], []
    for number, (shape, choices) in enumerate(SHAPES.items()):
        if dtype.kind in "iu" and number % 4 != PLACES[dtype] % 4 and not LONG:
            continue
        array = fill(dtype, shape, "small", number)
        x = param(b, array, dtype)
        inputs.append(array)
        for primitive in PRIMITIVES.values():
            if isinstance(primitive.kind, Reduce) and reducible(primitive, dtype, axes=(0,)):
                for axes in choices:
                    empty = any(shape[a] == 0 for a in axes) or len(axes) != 1
                    if primitive.kind.needs_coordinate and empty:
                        continue
                    outputs.append(b.add(primitive, (x,), axes=axes))
            elif isinstance(primitive.kind, Scan) and reducible(primitive, dtype, axis=0):
                for axis in range(len(shape)):
                    outputs.append(b.add(primitive, (x,), axis=axis))
    compare(apart, b.finish(outputs), inputs)


# Regularly one shape and one architecture for each dtype, in turns; all of them with
# GRAPHJIT_LONG_TESTS=1.
LENGTHS = (0, 1, 31, 32, 33, 255, 256, 257, 5003)
RAGGED = ((5, 33), (33, 5), (3, 7, 31), (2, 1, 65), (17, 4))
SHAPES_IN_TURN = (
    (257,), (5, 33), (0,), (3, 7, 31), (33,), (5003,), (33, 5), (31,), (2, 1, 65), (256,),
    (17, 4), (255,), (1,), (32,),
)  # fmt: skip
TARGETS = ("sm_75", "sm_80", "sm_90", "sm_100", "sm_120")
PLACES = {dtype: place for place, dtype in enumerate(DTYPES)}


def some(choices: tuple[Any, ...], dtype: DType) -> tuple[Any, ...]:
    return choices if LONG else (choices[PLACES[dtype] % len(choices)],)


def every_op(dtype: DType, shape: tuple[int, ...]) -> tuple[Graph, list[Array]]:
    """All pointwise ops of a dtype on arrays of a shape, the last operand transposed."""
    b, inputs, outputs = GraphBuilder("f"), list[Array](), []
    for number, (primitive, options) in enumerate(pointwise_of(dtype, False)):
        if primitive is PRIMITIVES["where"]:
            continue
        count = operand_count(primitive)
        if dtype.is_complex and primitive.name in ("pow", "div"):
            continue  # on numbers of any size: the special values' test chooses them
        arrays = [fill(dtype, shape, "small", number + k) for k in range(count)]
        if primitive.name == "pow" and dtype.kind == "i":
            arrays[1] = np.abs(arrays[1]) % 5
        arrays[-1] = arrays[-1].reshape(shape[::-1])
        nodes = [param(b, a, dtype) for a in arrays]
        perm = tuple(range(len(shape)))[::-1]
        turned = b.add(view.transpose, (nodes[-1],), perm=perm)
        outputs += [b.add(primitive, (*nodes[:-1], turned), **attrs) for attrs in options]
        inputs += arrays
    return b.finish(outputs), inputs


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
def test_all_sizes(dtype: DType, apart: ProcessPoolExecutor) -> None:
    for shape in (*((n,) for n in LENGTHS), *RAGGED) if LONG else some(SHAPES_IN_TURN, dtype):
        graph, inputs = every_op(dtype, shape)
        on_cpu, _ = run_compiled(graph, inputs)
        for arch in some(TARGETS, dtype):
            assembly: Assembly = apart.submit(programs.planned, graph, arch).result()
            for place, actual, cpu in zip(
                graph.outputs, programs.run(assembly, inputs), on_cpu, strict=True
            ):
                assert same_bits(actual, cpu), graph.nodes[place].primitive.name
            found = programs.report(assembly, arch)
            assert all((used.stack_bytes, used.spill_bytes) == (0, 0) for used in found), found
