"""Graph text: what is printed reads back equal, and what can't be read says which line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from strategies import arrays, dtypes, graphs, shapes

from graphjit.core.errors import InvalidArgumentError, SourceLine
from graphjit.core.types import DTYPES, TensorType, float32, float64
from graphjit.ir.graph import Graph, GraphBuilder, Node, verify
from graphjit.ir.text import INLINE_ELEMENTS, print_graph
from graphjit.ops import PRIMITIVES, source

GOLDEN = sorted((Path(__file__).parents[1] / "golden" / "text").glob("*.txt"))


def constant_graph(array: Any) -> Graph:
    b = GraphBuilder("constant")
    return b.finish([b.const(np.asarray(array))])


def parameter_graph(name: str, graph: str = "f", role: str = "argument") -> Graph:
    b = GraphBuilder(graph)
    type = TensorType((2,), float32)
    x = b.add(source.param, (), SourceLine("a/model.py", 7), type=type, name=name, role=role)
    return b.finish([b.add(PRIMITIVES["neg"], (x,), SourceLine("it's my model.py", 8))])


def value_of(graph: Graph, index: int = 0) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = graph.nodes[index].attr("value").array
    return array


@given(graphs())
def test_random_graphs_read_back_equal(graph: Graph) -> None:
    text = str(graph)
    again = Graph.parse(text)
    assert again == graph
    assert str(again) == text
    verify(again)


@given(arrays(dtypes(), shapes()))
def test_constants_keep_every_bit(array: np.ndarray[Any, Any]) -> None:
    again = value_of(Graph.parse(str(constant_graph(array))))
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert again.tobytes() == array.tobytes()


AWKWARD = {
    "NaN payload": np.array([0x7FC00001, 0xFFC12345], np.uint32).view(np.float32),
    "signalling NaN": np.array([0x7F800001], np.uint32).view(np.float32),
    "negative NaN": np.array(-math.nan),
    "zeros": np.array([-0.0, 0.0], np.float16),
    "infinities": np.array([math.inf, -math.inf, 1 / 3]),
    "NaN among digits": np.array([math.nan, 0.1, 1e-310, 1.7976931348623157e308]),
    "complex infinity": np.array([complex(math.inf, 1), complex(1, -math.inf)]),
    "complex zeros": np.array([complex(-0.0, 1), complex(1, -0.0), complex(-0.0, -0.0)]),
    "complex NaN": np.array([complex(math.nan, -0.0)], np.complex64),
    "bfloat16": np.array([math.nan, 0.1, -0.0, 3e38, 1e-40], ml_dtypes.bfloat16),
    "0-d bfloat16": np.array(1.5, ml_dtypes.bfloat16),
    "0-d complex": np.array(1j, np.complex64),
    "0-d bool": np.array(True),
    "empty": np.zeros((0, 3), np.int8),
    "empty last": np.zeros((3, 0), np.complex64),
    "empty bfloat16": np.zeros(0, ml_dtypes.bfloat16),
    "extremes": np.array([-(2**63), 2**63 - 1]),
    "unsigned": np.array([2**64 - 1, 0, 1], np.uint64),
    "shortest digits": np.array([0.1, 3.4028235e38, 1e-45], np.float32),
    "half digits": np.array([0.1, 65504, 6e-8], np.float16),
    "big": np.arange(5000, dtype=np.float32).reshape(50, 100) / 7,
    "Fortran order": np.asfortranarray(np.arange(40.0).reshape(5, 8)),
}


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_constants(name: str) -> None:
    graph = constant_graph(AWKWARD[name])
    again = Graph.parse(str(graph))
    assert again == graph
    assert value_of(again).tobytes() == AWKWARD[name].tobytes()


@pytest.mark.parametrize("size", [2, INLINE_ELEMENTS + 1])
def test_byte_swapped_constants(size: int) -> None:
    array = np.arange(size).astype(np.dtype(np.float64).newbyteorder("S"))
    graph = constant_graph(array)
    again = Graph.parse(str(graph))
    assert again == graph
    np.testing.assert_array_equal(value_of(again), array)


def test_short_constants_are_inline_and_long_ones_are_not() -> None:
    assert "base64" not in str(constant_graph(np.arange(INLINE_ELEMENTS)))
    assert "base64" in str(constant_graph(np.arange(INLINE_ELEMENTS + 1)))


def test_abbreviated_constants() -> None:
    graph = constant_graph(np.zeros((100, 100), np.float32))
    assert "<40000 bytes>" in print_graph(graph, abbreviate=True)
    assert len(print_graph(graph, abbreviate=True)) < 100


NAMES = [
    "x", "", " x ", 'a"b', '"q"', "a\\b", "it's", "x # f:3", "x  # f:3", "é", "a\nb", "a\r",
    "\u2028", "\x85", "%0", "a{b} c", "{", "nan",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("role", ["argument", "variable", "capture"])
def test_parameter_names(name: str, role: str) -> None:
    graph = parameter_graph(name, role=role)
    assert Graph.parse(str(graph)) == graph


@pytest.mark.parametrize("name", [*NAMES, "<lambda>", "two words", "return", "graph g"])
def test_graph_names(name: str) -> None:
    graph = parameter_graph("x", graph=name)
    assert Graph.parse(str(graph)) == graph


ATTRIBUTES = [
    0, -1, 2**70, True, False, None, 0.5, -0.0, 1e300, math.inf, -math.inf, "add", "", "a'b",
    "} x", " # f:3", (), (1,), (1, -2), ((), (1, 2)), (True, None, "s", 0.5), *DTYPES,
    (float32, float64),
]  # fmt: skip


@pytest.mark.parametrize("value", ATTRIBUTES, ids=repr)
@pytest.mark.parametrize("line", [None, SourceLine("m.py", 3)], ids=["", "source"])
def test_attributes_of_every_type(value: Any, line: SourceLine | None) -> None:
    b = GraphBuilder("f")
    b.add(source.param, type=TensorType((2,), float32), name="x", role="argument")
    x = b.append(Node(PRIMITIVES["neg"], (0,), (("a", value), ("b", 1)), b.type_of(0), line))
    (attribute, other) = Graph.parse(str(b.finish([x]))).nodes[x].attrs
    assert other == ("b", 1)
    assert attribute[0] == "a"
    assert attribute[1] == value and type(attribute[1]) is type(value)
    assert repr(attribute[1]) == repr(value)  # tells −0.0 from 0.0, True from 1


def test_tuples() -> None:
    b = GraphBuilder("f")
    x = b.add(source.param, type=TensorType((4, 3), float64), name="x", role="argument")
    q = b.add(PRIMITIVES["qr"], (x,), complete=True)
    graph = b.finish([b.add(PRIMITIVES["item"], (q,), index=1)])
    assert "(f64[4, 4], f64[4, 3]) = qr{complete=True} %0" in str(graph)
    assert Graph.parse(str(graph)) == graph


def test_no_nodes_and_no_outputs() -> None:
    for graph in (Graph("f", (), ()), parameter_graph("x")):
        graph = Graph(graph.name, graph.nodes, ())
        assert Graph.parse(str(graph)) == graph


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    text = path.read_text(encoding="utf-8").rstrip("\n")
    graph = Graph.parse(text)
    verify(graph)
    # Comments are not part of a graph: put the lines' sources back to print them.
    nodes = []
    for node, line in zip(graph.nodes, text.split("\n")[1:], strict=False):
        _, mark, comment = line.rpartition("  # ")
        file, _, number = comment.rpartition(":")
        place = SourceLine(file, int(number)) if mark and number.isdigit() else None
        nodes.append(Node(node.primitive, node.inputs, node.attrs, node.type, place))
    assert str(Graph(graph.name, tuple(nodes), graph.outputs, graph.updates)) == text


def test_there_are_golden_files() -> None:
    assert GOLDEN


def test_comments_and_blank_lines_are_skipped() -> None:
    text = '\n# a remark\ngraph f\n  %0: f32[] = param "x"   # here %7\n\nreturn %0 # all\n'
    assert Graph.parse(text) == Graph.parse('graph f\n%0: f32[] = param "x"\nreturn %0')


X = '%0: f32[2] = param "x"\n'
# What is wrong: the text and the line that has to be named.
MALFORMED = {
    "no graph at all": ("junk\nreturn", 1),
    "empty": ("", 1),
    "no return": (X + "%1: f32[2] = neg %0", 2),
    "two returns": (X + "return %0\nreturn %0", 3),
    "returned value unknown": (X + "return %1", 2),
    "returned text": (X + "return %0 and x", 2),
    "return misspelt": (X + "returns %0", 2),
    "two names": ("graph a\ngraph b\nreturn", 2),
    "name after the nodes": (X + "graph b\nreturn", 2),
    "node after return": ("return\n" + X, 2),
    "wrong number": ('%1: f32[2] = param "x"\nreturn', 1),
    "number twice": (X + '%0: f32[2] = param "y"\nreturn', 2),
    "unknown op": (X + "%1: f32[2] = nope %0\nreturn", 2),
    "no op": (X + "%1: f32[2] =\nreturn", 2),
    "no type": (X + "%1 = neg %0\nreturn", 2),
    "unknown dtype": (X + "%1: f99[2] = neg %0\nreturn", 2),
    "extent not a number": (X + "%1: f32[n] = neg %0\nreturn", 2),
    "negative extent": (X + "%1: f32[-2] = neg %0\nreturn", 2),
    "input unknown": (X + "%1: f32[2] = add %0, %9\nreturn", 2),
    "input itself": (X + "%1: f32[2] = add %0, %1\nreturn", 2),
    "input a word": (X + "%1: f32[2] = add %0, x\nreturn", 2),
    "words after inputs": (X + "%1: f32[2] = neg %0 please\nreturn", 2),
    "no comma": (X + "%1: f32[2] = add %0 %0\nreturn", 2),
    "attributes open": (X + "%1: f32[2] = neg{a=1 %0\nreturn", 2),
    "attribute without value": (X + "%1: f32[2] = neg{a=} %0\nreturn", 2),
    "attribute without name": (X + "%1: f32[2] = neg{1} %0\nreturn", 2),
    "attribute unknown word": (X + "%1: f32[2] = neg{a=word} %0\nreturn", 2),
    "attributes by stars": (X + "%1: f32[2] = neg{**{}} %0\nreturn", 2),
    "attribute a call": (X + "%1: f32[2] = neg{a=open('x')} %0\nreturn", 2),
    "attribute breaks out": (X + "%1: f32[2] = neg{)(} %0\nreturn", 2),
    "name not quoted": ("%0: f32[2] = param x\nreturn", 1),
    "name open": ('%0: f32[2] = param "x\nreturn', 1),
    "constant of other shape": ("%0: f32[2] = const [1.0]\nreturn", 1),
    "constant open": ("%0: f32[2] = const [1.0, 2.0\nreturn", 1),
    "constant ragged": ("%0: f32[3] = const [[1.0, 2.0], [1.0]]\nreturn", 1),
    "constant a call": ("%0: f32[] = const print(1)\nreturn", 1),
    "constant a string": ("%0: f32[] = const 'a'\nreturn", 1),
    "constant missing": ("%0: f32[] = const\nreturn", 1),
    "constant too large": ("%0: i8[] = const 300\nreturn", 1),
    "constant not whole": ("%0: i32[] = const 1.5\nreturn", 1),
    "constant no bool": ("%0: bool[] = const 2\nreturn", 1),
    "constant complex NaN": ("%0: c64[] = const nan\nreturn", 1),
    "constant a tuple": ("%0: (f32[], f32[]) = const 1.0\nreturn", 1),
    "base64 not base64": ("%0: f32[0] = const base64 !!!\nreturn", 1),
    "base64 cut": ("%0: f32[1] = const base64 AAA\nreturn", 1),
    "base64 of other size": ("%0: f32[2] = const base64 AAAAAA==\nreturn", 1),
    "update before return": (X + "update %0 = %0\nreturn %0", 2),
    "update of nothing": (X + "return %0\nupdate %0", 3),
    "update by unknown": (X + "return %0\nupdate %0 = %4", 3),
    "update of unknown": (X + "return %0\nupdate %4 = %0", 3),
}


@pytest.mark.parametrize("what", MALFORMED)
@pytest.mark.parametrize("blank_lines", [0, 2])
def test_malformed_text_names_the_line(what: str, blank_lines: int) -> None:
    text, line = MALFORMED[what]
    with pytest.raises(InvalidArgumentError) as caught:
        Graph.parse("\n" * blank_lines + text)
    message = str(caught.value)
    assert message.startswith(f"line {line + blank_lines} of the graph text can't be read")
    # ... and says what is wrong, after showing the line.
    assert message.partition("\n  ")[2].strip()
