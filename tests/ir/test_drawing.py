"""Drawings of graphs: everything in the graph is in them, and other programs can read them."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from sample_graphs import AWKWARD_NAME, VECTOR, sample
from strategies import graphs

from graphjit.core.errors import SourceLine
from graphjit.ir import drawing
from graphjit.ir.drawing import to_dot, to_networkx, to_svg
from graphjit.ir.graph import Graph, GraphBuilder
from graphjit.ir.graph_json import to_json
from graphjit.ops import PRIMITIVES, source


@pytest.fixture
def no_dot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing.shutil, "which", lambda _: None)


def test_networkx_attributes() -> None:
    graph = sample()
    drawn = to_networkx(graph)
    assert list(drawn) == list(range(len(graph)))
    assert drawn.graph["outputs"] == graph.outputs
    assert drawn.graph["updates"] == graph.updates
    assert drawn.nodes[2]["op"] == "mul"
    assert drawn.nodes[2]["type"] == VECTOR
    assert drawn.nodes[2]["source"] == SourceLine("folder/model.py", 12, "step")
    assert drawn.nodes[2]["output"] == (1,)
    assert drawn.nodes[6]["output"] == (0, 2)
    assert drawn.nodes[3]["update"] == (1,)
    assert drawn.nodes[0]["output"] == drawn.nodes[0]["update"] == ()
    assert drawn.nodes[1]["attrs"] == {"name": "v", "role": "variable", "type": VECTOR}
    assert dict(drawn.edges) == {
        (0, 2): {"inputs": (0, 1)},
        (1, 3): {"inputs": (0,)},
        (2, 3): {"inputs": (1,)},
        (3, 5): {"inputs": (0,)},
        (4, 5): {"inputs": (1,)},
        (0, 6): {"inputs": (0,)},
        (5, 6): {"inputs": (1,)},
    }


@given(graphs())
def test_networkx_gives_the_inputs_back(graph: Graph) -> None:
    drawn = to_networkx(graph)
    for index, node in enumerate(graph.nodes):
        inputs: list[Any] = [None] * len(node.inputs)
        for argument, _, places in drawn.in_edges(index, data="inputs"):
            for place in places:
                inputs[place] = argument
        assert tuple(inputs) == node.inputs


def test_networkx_is_imported_when_needed_only() -> None:
    code = "import sys, graphjit.ir.drawing; sys.exit('networkx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


_TOKEN = re.compile(
    r'\s*("(?:[^"\\]|\\.)*"|->|[A-Za-z_][A-Za-z_0-9]*|[\d.]+|[{}\[\];,=])', re.S
)


def dot_statements(text: str) -> list[list[str]]:
    """The statements' tokens; fails on what isn't in Graphviz's language."""
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match, f"no token: {text[at : at + 30]!r}"
        tokens.append(match[1])
        at = match.end()
    assert tokens[0] == "digraph" and tokens[2] == "{" and tokens[-1] == "}"
    statements: list[list[str]] = [[]]
    for token in tokens[3:-1]:
        if token == ";":
            statements.append([])
        else:
            statements[-1].append(token)
    assert statements.pop() == []
    for statement in statements:
        assert statement.count("[") == statement.count("]") <= 1
    return statements


def attributes(statement: list[str]) -> dict[str, str]:
    if "[" not in statement:
        return {}
    inside = statement[statement.index("[") + 1 : -1]
    fields = [
        list(group) for comma, group in itertools.groupby(inside, ",".__eq__) if not comma
    ]
    assert all(len(field) == 3 and field[1] == "=" for field in fields)
    return {name: value for name, _, value in fields}


def box_statements(statements: list[list[str]]) -> dict[str, dict[str, str]]:
    """The attributes of each `n7 [...]`."""
    return {s[0]: attributes(s) for s in statements if s[0][1:].isdigit() and s[1] == "["}


@given(graphs())
def test_dot_has_every_node_and_edge(graph: Graph) -> None:
    statements = dot_statements(to_dot(graph))
    boxes = box_statements(statements)
    assert list(boxes) == [f"n{i}" for i in range(len(graph))]
    for index, node in enumerate(graph.nodes):
        box = boxes[f"n{index}"]
        assert box["label"].startswith(f'"%{index}  {node.primitive.name}')
        assert (box.get("peripheries") == "2") == (index in graph.roots)
        for place, output in enumerate(graph.outputs):
            assert (f"output {place}" in box["label"].split("\\n", 1)[1]) == (output == index)
    edges = [(s[0], s[2], attributes(s)) for s in statements if s[1] == "->"]
    solid = [(a, b) for a, b, fields in edges if "style" not in fields]
    dashed = [(a, b) for a, b, fields in edges if fields.get("style") == "dashed"]
    assert solid == [(f"n{a}", f"n{i}") for i, n in enumerate(graph.nodes) for a in n.inputs]
    assert dashed == [(f"n{value}", f"n{param}") for param, value in graph.updates]


def test_dot_escapes_labels() -> None:
    graph = sample(AWKWARD_NAME)
    dot = to_dot(graph)
    dot_statements(dot)
    assert '"a \\"b\\" <c> & \\\\N d\\ne' in dot  # the graph's name
    assert "\\\\N d" in next(line for line in dot.splitlines() if line.startswith("  n0"))


def test_dot_colours_by_kernel() -> None:
    graph = sample()
    kernel_of = {2: 0, 3: 0, 5: 1, 6: 1 + len(drawing.PALETTE)}
    boxes = box_statements(dot_statements(to_dot(graph, kernel_of)))
    colour = {name: fields.get("fillcolor") for name, fields in boxes.items()}
    assert colour["n2"] == colour["n3"] == f'"{drawing.PALETTE[0]}"'
    assert colour["n5"] == colour["n6"] == f'"{drawing.PALETTE[1]}"'
    assert colour["n0"] == f'"{drawing.SOURCE_COLOUR}"'
    # Colours come back after the last: the number tells such kernels apart.
    assert "kernel 1\\n" not in boxes["n6"]["label"]
    assert f"kernel {1 + len(drawing.PALETTE)}" in boxes["n6"]["label"]
    assert len(set(drawing.PALETTE)) == len(drawing.PALETTE)


SVG = "{http://www.w3.org/2000/svg}"
Box = tuple[float, float, float, float]


def parts_of(text: str) -> tuple[ElementTree.Element, dict[int, Box], dict[str, str]]:
    """The root; the nodes' boxes: left, top, right, bottom; the edges' paths."""
    root = ElementTree.fromstring(text)
    boxes: dict[int, Box] = {}
    for group in root.iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        assert rect is not None
        left, top, width, height = (
            float(rect.attrib[k]) for k in ("x", "y", "width", "height")
        )
        boxes[int(group.attrib["id"][5:])] = (left, top, left + width, top + height)
    paths = [p for p in root.iter(f"{SVG}path") if p.get("class") == "edge"]
    return root, boxes, {p.attrib["id"]: p.attrib["d"] for p in paths}


def points_of(path: str) -> list[tuple[float, float]]:
    """Points along the path, eight to a line or curve."""
    points: list[tuple[float, float]] = []
    for letter, numbers in re.findall(r"([MVC])([-\d. ]+)", path):
        n = [float(number) for number in numbers.split()]
        if letter == "M":
            points.append((n[0], n[1]))
        elif letter == "V":
            x, y = points[-1]
            points += [(x, y + (n[0] - y) * k / 8) for k in range(1, 9)]
        else:
            (x0, y0), (x1, y1, x2, y2, x3, y3) = points[-1], n
            for k in range(1, 9):
                t = k / 8
                w = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
                points.append(
                    (
                        w[0] * x0 + w[1] * x1 + w[2] * x2 + w[3] * x3,
                        w[0] * y0 + w[1] * y1 + w[2] * y2 + w[3] * y3,
                    )
                )
    return points


def check_layout(graph: Graph) -> None:
    root, boxes, paths = parts_of(to_svg(graph))
    assert sorted(boxes) == list(range(len(graph)))
    edges = {(a, i) for i, n in enumerate(graph.nodes) for a in n.inputs}
    assert sorted(paths) == sorted(f"edge-{a}-{b}" for a, b in edges)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for left, top, right, bottom in boxes.values():
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
    for (_, one), (_, other) in itertools.combinations(boxes.items(), 2):
        apart = one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]
        assert apart
    for a, b in edges:
        assert boxes[a][3] < boxes[b][1], "an edge does not go down"
        points = points_of(paths[f"edge-{a}-{b}"])
        for index, (left, top, right, bottom) in boxes.items():
            if index not in (a, b):
                for x, y in points:
                    assert not (left < x < right and top < y < bottom), "an edge behind a box"
                    assert 0 <= x <= width


@settings(max_examples=60)
@given(graphs(max_nodes=25))
@pytest.mark.usefixtures("no_dot")
def test_svg_layout(graph: Graph) -> None:
    check_layout(graph)


@pytest.mark.usefixtures("no_dot")
@pytest.mark.parametrize("count", [1, 5, 60])
def test_svg_of_chains_and_long_edges(count: int) -> None:
    b = GraphBuilder("chain")
    first = x = b.add(source.param, type=VECTOR, name="x", role="argument")
    for _ in range(count):
        x = b.add(PRIMITIVES["add"], (x, first))
    check_layout(b.finish([x]))


@pytest.mark.usefixtures("no_dot")
def test_svg_of_nothing() -> None:
    ElementTree.fromstring(to_svg(Graph("empty", (), ())))


@pytest.mark.usefixtures("no_dot")
def test_svg_says_what_the_nodes_are() -> None:
    graph = sample(AWKWARD_NAME)
    root = ElementTree.fromstring(to_svg(graph, {2: 3}))
    groups = {g.attrib["id"]: g for g in root.iter(f"{SVG}g")}
    assert root.findtext(f"{SVG}title") == AWKWARD_NAME.replace("\n", "\ufffd").replace(
        "\x01", "\ufffd"
    )
    lines = [text.text for text in groups["node-2"].iter(f"{SVG}text")]
    assert lines == ["%2  mul", "f32[3]", "kernel 3", "output 1"]
    assert groups["node-2"].findtext(f"{SVG}title") == "model.py:12"
    rect = groups["node-2"].find(f"{SVG}rect")
    assert rect is not None and rect.attrib["fill"] == drawing.PALETTE[3]
    lines = [text.text for text in groups["node-3"].iter(f"{SVG}text")]
    assert lines == ["%3  add", "f32[3]", "update of %1"]
    lines = [text.text for text in groups["node-6"].iter(f"{SVG}text")]
    assert lines == ["%6  sub", "f32[3]", "output 0", "output 2"]


def fake_dot(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "dot"
    program.write_text(f"#!{sys.executable}\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    assert shutil.which("dot") == str(program)


def test_svg_by_graphviz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import sys; print(sys.argv[1:], sys.stdin.read())"
    fake_dot(tmp_path, monkeypatch, script)
    assert to_svg(sample(), {2: 0}) == f"['-Tsvg'] {to_dot(sample(), {2: 0})}\n"


@pytest.mark.parametrize(
    "script",
    [
        "import sys; print('half a drawing'); sys.exit(1)",
        "import time; print('half a drawing', flush=True); time.sleep(20)",
        "import sys; sys.stdout.buffer.write(bytes([255]))",
        "import os; os.abort()",
    ],
    ids=["fails", "hangs", "writes bytes", "dies"],
)
def test_svg_where_graphviz_fails(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = drawing._svg(sample(), None)
    fake_dot(tmp_path, monkeypatch, script)
    monkeypatch.setattr(drawing, "DOT_SECONDS", 0.5)
    assert to_svg(sample()) == expected


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_reads_our_dot() -> None:
    svg = to_svg(sample(AWKWARD_NAME), {2: 0})
    assert "Graphviz" in svg
    ElementTree.fromstring(svg.encode())


def test_graph_methods() -> None:
    graph = sample()
    assert graph.to_json() == to_json(graph)
    assert graph.to_dot({2: 1}) == to_dot(graph, {2: 1})
    assert graph.to_svg({2: 1}) == to_svg(graph, {2: 1})
    assert list(graph.to_networkx().edges) == list(to_networkx(graph).edges)
