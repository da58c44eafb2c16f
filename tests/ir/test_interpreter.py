"""Eager running of whole graphs: each value has exactly the type that its node says."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import LAYOUTS, graphs, inputs_for
from tolerance import assert_close

from graphjit.core.errors import IndexOutOfRangeError, InvalidArgumentError
from graphjit.core.types import TensorType, float32, float64, int32, int64
from graphjit.ir.graph import Graph, GraphBuilder
from graphjit.ir.interpreter import run as run_eagerly
from graphjit.ops import PRIMITIVES, source


def param(b: GraphBuilder, type: TensorType, role: str = "argument") -> int:
    return b.add(source.param, type=type, name=f"p{len(b.nodes)}", role=role)


def with_every_node_as_output(graph: Graph) -> Graph:
    return Graph(graph.name, graph.nodes, tuple(range(len(graph))), graph.updates)


@given(st.data())
def test_every_value_has_its_nodes_type(data: st.DataObject) -> None:
    graph = with_every_node_as_output(data.draw(graphs()))
    inputs = data.draw(inputs_for(graph, layouts=LAYOUTS))
    outputs, updates = run_eagerly(graph, inputs)
    assert len(outputs) == len(graph) and len(updates) == len(graph.updates)
    for node, value in zip(graph.nodes, outputs, strict=True):
        assert type(value) is np.ndarray
        assert value.shape == node.tensor.shape
        assert value.dtype == node.tensor.dtype.dtype and value.dtype.isnative
    for (_, position), value in zip(graph.updates, updates, strict=True):
        assert_close(value, outputs[position], exact=True)


@given(st.data())
def test_numpy_rules_need_no_conversion(data: st.DataObject) -> None:
    # `eager` casts and reshapes to the node's type: that must never have hidden anything.
    graph = with_every_node_as_output(data.draw(graphs()))
    outputs, _ = run_eagerly(graph, data.draw(inputs_for(graph)))
    for node in graph.nodes:
        if node.primitive is source.param:
            continue
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = node.primitive.numpy(*(outputs[i] for i in node.inputs), **dict(node.attrs))
        assert np.shape(value) == node.tensor.shape
        assert value.dtype == node.tensor.dtype.dtype


@given(st.data())
def test_inputs_are_not_written_and_runs_repeat(data: st.DataObject) -> None:
    graph = data.draw(graphs())
    inputs = data.draw(inputs_for(graph, layouts=LAYOUTS))
    before = [array.copy() for array in inputs]
    first = run_eagerly(graph, inputs)
    for array, old in zip(inputs, before, strict=True):
        assert array.tobytes() == old.tobytes()
    for one, other in zip(first, run_eagerly(graph, inputs), strict=True):
        for a, b in zip(one, other, strict=True):
            assert_close(a, b, exact=True)


@given(st.data())
def test_memory_layout_changes_nothing(data: st.DataObject) -> None:
    graph = data.draw(graphs(exact=True))
    inputs = data.draw(inputs_for(graph, layouts=LAYOUTS))
    plain = [
        np.array(a, graph.nodes[i].tensor.dtype.dtype, order="C")
        for a, i in zip(inputs, graph.params, strict=True)
    ]
    for one, other in zip(run_eagerly(graph, inputs), run_eagerly(graph, plain), strict=True):
        for a, b in zip(one, other, strict=True):
            assert_close(a, b, exact=True)


def test_outputs_and_updates_by_hand() -> None:
    b = GraphBuilder("f")
    x = param(b, TensorType((2, 3), float32))
    v = param(b, TensorType((3,), float32), "variable")
    total = b.add(PRIMITIVES["sum"], (x,), axes=(0,))
    new = b.add(PRIMITIVES["add"], (v, total))
    product = b.add(PRIMITIVES["mul"], (x, v))  # the variable's old value
    graph = b.finish([product, x, product], [(v, new)])
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    outputs, updates = run_eagerly(graph, [array, np.array([1, 2, 3], np.float32)])
    assert [o.tolist() for o in outputs] == [
        [[0, 2, 6], [3, 8, 15]],
        [[0, 1, 2], [3, 4, 5]],
        [[0, 2, 6], [3, 8, 15]],
    ]
    assert [u.tolist() for u in updates] == [[4, 7, 10]]


def test_several_results() -> None:
    b = GraphBuilder("f")
    x = param(b, TensorType((4, 3), float64))
    both = b.add(PRIMITIVES["qr"], (x,), complete=False)
    q, r = (b.add(PRIMITIVES["item"], (both,), index=k) for k in range(2))
    graph = b.finish([b.add(PRIMITIVES["matmul"], (q, r)), r])
    array = np.arange(12.0).reshape(4, 3) ** 2
    (product, triangle), _ = run_eagerly(graph, [array])
    assert_close(product, array, length=3)
    assert triangle.shape == (3, 3)
    assert np.all(np.tril(triangle, -1) == 0)


@pytest.mark.parametrize("place", [-1, 3, 2**62])
@pytest.mark.parametrize("op", ["gather", "scatter"])
def test_indices_out_of_range(op: str, place: int) -> None:
    b = GraphBuilder("f")
    x = param(b, TensorType((3, 2), float32))
    where = param(b, TensorType((1,), int64))
    row = b.add(PRIMITIVES["gather"], (x, where), axes=(0,))
    if op == "scatter":
        zeros = b.const(np.zeros((1, 2), np.float32))
        row = b.add(PRIMITIVES["scatter"], (x, zeros, where), axes=(0,), mode="add")
    graph = b.finish([row])
    array = np.ones((3, 2), np.float32)
    run_eagerly(b.finish([row]), [array, np.array([2])])
    with pytest.raises(IndexOutOfRangeError, match=f"index {place} .* 3 elements"):
        run_eagerly(graph, [array, np.array([place])])


@pytest.mark.parametrize("op", ["floordiv", "mod", "fmod"])
def test_integer_division_by_zero(op: str) -> None:
    def graph(strict: bool) -> Graph:
        b = GraphBuilder("f")
        x, y = (param(b, TensorType((2,), int32)) for _ in range(2))
        return b.finish([b.add(PRIMITIVES[op], (x, y), strict=strict)])

    values: list[Any] = [np.array([7, 7], np.int32), np.array([2, 0], np.int32)]
    (result,), _ = run_eagerly(graph(False), values)
    assert result.tolist() == [3 if op == "floordiv" else 1, 0]
    with pytest.raises(InvalidArgumentError, match="division by zero"):
        run_eagerly(graph(True), values)
