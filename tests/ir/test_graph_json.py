"""A graph's JSON: complete, strict, and read back bit for bit."""

from __future__ import annotations

import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from sample_graphs import AWKWARD_NAME, VECTOR, sample
from strategies import arrays, dtypes, graphs, shapes

from graphjit.core.errors import InvalidArgumentError
from graphjit.core.types import DTYPES, TensorType, float64
from graphjit.ir.graph import Graph, GraphBuilder, Node
from graphjit.ir.graph_json import from_json, to_json
from graphjit.ops import PRIMITIVES, source


@given(graphs())
def test_json_reads_back_equal(graph: Graph) -> None:
    text = to_json(graph)
    again = from_json(text)
    assert again == graph
    assert to_json(again) == text


@given(arrays(dtypes(), shapes(), layouts=("C", "F", "reversed", "swapped")))
def test_json_keeps_every_bit_of_constants(array: np.ndarray[Any, Any]) -> None:
    b = GraphBuilder("f")
    again = from_json(to_json(b.finish([b.const(array)]))).nodes[0].attr("value").array
    native = array if array.dtype.kind == "V" else array.astype(array.dtype.newbyteorder("="))
    assert (again.dtype, again.shape) == (native.dtype, array.shape)
    assert again.tobytes() == native.tobytes()


@pytest.mark.parametrize(
    "array",
    [
        np.array([0x7FC00001], np.uint32).view(np.float32),
        np.array([np.nan, np.inf, -0.0]),
        np.array([complex(np.inf, -0.0)]),
        np.array([0.1, -0.0], ml_dtypes.bfloat16),
        np.array(2**64 - 1, np.uint64),
        np.zeros((0, 3), np.int8),
        np.arange(100.0),
    ],
    ids=str,
)
def test_json_of_awkward_constants(array: np.ndarray[Any, Any]) -> None:
    b = GraphBuilder("f")
    graph = b.finish([b.const(array)])
    assert from_json(to_json(graph)) == graph


def test_json_is_strict_and_complete() -> None:
    graph = sample(AWKWARD_NAME)

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    document = json.loads(to_json(graph), parse_constant=refuse)
    assert list(document) == ["graph", "nodes", "outputs", "updates"]
    assert document["graph"] == AWKWARD_NAME
    assert document["outputs"] == [6, 2, 6]
    assert document["updates"] == [{"param": 1, "value": 3}]
    assert document["nodes"][2] == {
        "index": 2,
        "op": "mul",
        "type": {"dtype": "float32", "shape": [3]},
        "inputs": [0, 0],
        "attrs": {},
        "source": {"file": "folder/model.py", "line": 12, "function": "step"},
    }
    assert document["nodes"][4]["attrs"] == {
        "value": {"array": {"dtype": "float32", "shape": [], "data": [1.0]}}
    }
    assert from_json(to_json(graph)).nodes[2].source == graph.nodes[2].source


@pytest.mark.parametrize(
    "value",
    [0, True, None, 0.5, -0.0, np.inf, -np.inf, "s", (), (1, (2,)), *DTYPES, (float64,)],
    ids=repr,
)
def test_json_attributes(value: Any) -> None:
    x = Node(source.param, (), (("name", "x"), ("role", "argument"), ("type", VECTOR)), VECTOR)
    graph = Graph("f", (x, Node(PRIMITIVES["neg"], (0,), (("a", value),), VECTOR)), (1,))
    again = from_json(to_json(graph)).nodes[1].attr("a")
    assert again == value and type(again) is type(value) and repr(again) == repr(value)


def test_json_tuples() -> None:
    b = GraphBuilder("f")
    x = b.add(source.param, type=TensorType((4, 3), float64), name="x", role="argument")
    q = b.add(PRIMITIVES["qr"], (x,), complete=True)
    graph = b.finish([b.add(PRIMITIVES["item"], (q,), index=1)])
    assert from_json(to_json(graph)) == graph


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"nodes": 3}', to_json(sample()).replace('"mul"', '"nope"')]
)
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="not the JSON of a graph"):
        from_json(text)
