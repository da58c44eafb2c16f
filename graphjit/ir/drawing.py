"""Graph -> Graphviz and SVG drawings, and a networkx graph, from which the layout is made."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import escape

from graphjit.ops.primitive import Source

from .graph import Graph, Node

DOT_SECONDS = 20.0
# Okabe and Ito's colours for all kinds of colour vision, mixed with white so that black text
# stays readable. Source: Okabe and Ito, "Color Universal Design", 2008.
PALETTE = (
    "#f6d999", "#bbe1f6", "#99d8c7", "#f9f6b3", "#99c7e0", "#eebf99", "#ebc9dc",
)  # fmt: skip
NO_KERNEL = "#ffffff"
SOURCE_COLOUR = "#ececec"


def to_networkx(graph: Graph) -> Any:
    """A networkx.DiGraph with the graph's values.

    Nodes are positions, with op, type, attrs, source, output (places among the outputs) and
    update (the parameter that takes the value). An edge has inputs: the places among its
    reader's inputs that it fills, so that `mul %0, %0` is one edge with inputs (0, 1).
    """
    import networkx as nx

    result = nx.DiGraph(name=graph.name, outputs=graph.outputs, updates=graph.updates)
    for index, node in enumerate(graph.nodes):
        result.add_node(
            index,
            op=node.primitive.name,
            type=node.type,
            attrs=dict(node.attrs),
            source=node.source,
            output=tuple(k for k, out in enumerate(graph.outputs) if out == index),
            update=tuple(param for param, value in graph.updates if value == index),
        )
    for index, node in enumerate(graph.nodes):
        for argument in dict.fromkeys(node.inputs):
            places = tuple(k for k, i in enumerate(node.inputs) if i == argument)
            result.add_edge(argument, index, inputs=places)
    return result


def _box_lines(graph: Graph, kernel_of: dict[int, int] | None) -> list[list[str]]:
    """For each node the lines of its box: op with attributes, type, kernel, where it goes."""
    from .text import print_operation

    result = []
    for index, node in enumerate(graph.nodes):
        shown = Node(node.primitive, (), node.attrs, node.type)
        operation = print_operation(shown, abbreviate=True)
        lines = [f"%{index}  {_shortened(operation)}", _shortened(str(node.type))]
        if kernel_of is not None and index in kernel_of:
            lines.append(f"kernel {kernel_of[index]}")
        lines += [f"output {k}" for k, out in enumerate(graph.outputs) if out == index]
        lines += [f"update of %{param}" for param, value in graph.updates if value == index]
        result.append(lines)
    return result


def _shortened(text: str, limit: int = 36) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _colour(index: int, node: Node, kernel_of: dict[int, int] | None) -> str:
    if kernel_of is not None and index in kernel_of:
        return PALETTE[kernel_of[index] % len(PALETTE)]
    return SOURCE_COLOUR if isinstance(node.primitive.kind, Source) else NO_KERNEL


def to_dot(graph: Graph, kernel_of: dict[int, int] | None = None) -> str:
    """Graphviz's text: a box a node, coloured by kernel, outputs with a double border."""
    lines = [
        f"digraph {_quoted(graph.name)} {{",
        "  rankdir=TB;",
        '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11];',
        '  edge [color="#666666", arrowsize=0.7];',
    ]
    roots = set(graph.roots)
    for index, (node, box) in enumerate(
        zip(graph.nodes, _box_lines(graph, kernel_of), strict=True)
    ):
        fields = {
            "label": _quoted("\n".join(box)),
            "fillcolor": _quoted(_colour(index, node, kernel_of)),
        }
        if index in roots:
            fields["peripheries"] = "2"
        if node.source is not None:
            fields["tooltip"] = _quoted(str(node.source))
        shown = ", ".join(f"{name}={value}" for name, value in fields.items())
        lines.append(f"  n{index} [{shown}];")
    for index, node in enumerate(graph.nodes):
        for place, argument in enumerate(node.inputs):
            label = f' [headlabel="{place}", fontsize=8]' if len(node.inputs) > 1 else ""
            lines.append(f"  n{argument} -> n{index}{label};")
    for param, value in graph.updates:
        lines.append(f"  n{value} -> n{param} [style=dashed, constraint=false];")
    lines.append("}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    r"""A DOT string; a backslash is doubled, for `\N` and the like have a meaning in labels."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{plain}"'


LINE_HEIGHT = 15.0
LETTER_WIDTH = 6.7  # of an 11-pixel monospaced font
GAP = 20.0
LAYER_GAP = 46.0
MARGIN = 14.0
BEND_WIDTH = 4.0
SWEEPS = 12


def to_svg(graph: Graph, kernel_of: dict[int, int] | None = None) -> str:
    """A drawing as SVG, by Graphviz's `dot` where it is installed, else by our own layout."""
    program = shutil.which("dot")
    if program is not None:
        try:
            done = subprocess.run(
                [program, "-Tsvg"],
                input=to_dot(graph, kernel_of).encode(),
                capture_output=True,
                timeout=DOT_SECONDS,
                check=True,
            )
            return done.stdout.decode()
        except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
            pass  # a broken or slow Graphviz: our own layout will do
    return _svg(graph, kernel_of)


@dataclass(frozen=True)
class _Layers:
    """Vertices by layer: the graph's nodes, and a bend wherever an edge passes a layer.

    above, below: each vertex's neighbours in the layers next to its own. edges: the vertices
    that an edge runs through; edges of one value share their bends.
    """

    layers: list[list[int]]
    above: dict[int, list[int]]
    below: dict[int, list[int]]
    edges: list[list[int]]


def _layered(graph: Graph) -> _Layers:
    """Put each node below its inputs, and parameters and constants just above their users."""
    import networkx as nx

    layer_of: dict[int, int] = {}
    for depth, generation in enumerate(nx.topological_generations(to_networkx(graph))):
        layer_of.update(dict.fromkeys(generation, depth))
    users = graph.users()
    for index, node in enumerate(graph.nodes):
        if not node.inputs and users[index]:
            layer_of[index] = min(layer_of[user] for user in users[index]) - 1

    bends: dict[tuple[int, int], int] = {}
    edges = []
    for index, node in enumerate(graph.nodes):
        for argument in dict.fromkeys(node.inputs):
            edge = [argument]
            for depth in range(layer_of[argument] + 1, layer_of[index]):
                bend = bends.setdefault((argument, depth), len(graph.nodes) + len(bends))
                layer_of[bend] = depth
                edge.append(bend)
            edges.append([*edge, index])

    layers: list[list[int]] = [[] for _ in range(max(layer_of.values(), default=-1) + 1)]
    for vertex, depth in layer_of.items():
        layers[depth].append(vertex)
    steps = dict.fromkeys(pair for edge in edges for pair in pairwise(edge))
    above: dict[int, list[int]] = {vertex: [] for vertex in layer_of}
    below: dict[int, list[int]] = {vertex: [] for vertex in layer_of}
    for upper, lower in steps:
        above[lower].append(upper)
        below[upper].append(lower)
    return _Layers(layers, above, below, edges)


def _place(plan: _Layers, width_of: Callable[[int], float]) -> dict[int, float]:
    """The middle of each vertex [pixels]: orders the layers, then pulls neighbours together.

    Source: Sugiyama, Tagawa and Toda, "Methods for Visual Understanding of Hierarchical
    System Structures", 1981: the barycentre sweeps.
    """
    x: dict[int, float] = {}
    for layer in plan.layers:
        x.update({vertex: float(place) for place, vertex in enumerate(sorted(layer))})
    for sweep in range(2 * SWEEPS):
        ordering, down = sweep < SWEEPS, sweep % 2 == 0
        neighbours = plan.above if down else plan.below
        for layer in plan.layers if down else reversed(plan.layers):
            wanted = dict[int, float]()
            for vertex in layer:
                near = neighbours[vertex]
                if sweep >= 2 * SWEEPS - 2:  # at last both ways, for the middle
                    near = [*plan.above[vertex], *plan.below[vertex]]
                wanted[vertex] = sum(x[v] for v in near) / len(near) if near else x[vertex]
            if ordering:
                layer.sort(key=lambda vertex: wanted[vertex])
                x.update({vertex: float(place) for place, vertex in enumerate(layer)})
            else:
                x.update(_spread(layer, wanted, width_of))
    left = min((x[v] - width_of(v) / 2 for v in x), default=0.0)
    return {vertex: place - left + MARGIN for vertex, place in x.items()}


def _spread(
    layer: list[int], wanted: dict[int, float], width_of: Callable[[int], float]
) -> dict[int, float]:
    """Places of a layer's vertices in order without overlap, nearest to the wanted ones.

    Least squares by pooling adjacent violators. Source: Ayer et al., 1955.
    """
    offsets, offset = [0.0], 0.0
    for left, right in pairwise(layer):
        offset += (width_of(left) + width_of(right)) / 2 + GAP
        offsets.append(offset)
    pools: list[tuple[float, int]] = []
    for vertex, offset in zip(layer, offsets, strict=False):
        mean, count = wanted[vertex] - offset, 1
        while pools and pools[-1][0] > mean:
            before, size = pools.pop()
            mean, count = (before * size + mean * count) / (size + count), size + count
        pools.append((mean, count))
    means = [mean for mean, count in pools for _ in range(count)]
    return {v: mean + o for v, mean, o in zip(layer, means, offsets, strict=False)}


def _svg(graph: Graph, kernel_of: dict[int, int] | None) -> str:
    boxes = _box_lines(graph, kernel_of)
    widths = [LETTER_WIDTH * max(map(len, lines)) + 16 for lines in boxes]
    heights = [LINE_HEIGHT * len(lines) + 9 for lines in boxes]
    plan = _layered(graph)
    x = _place(plan, lambda vertex: widths[vertex] if vertex < len(boxes) else BEND_WIDTH)
    top: dict[int, float] = {}
    bottom: dict[int, float] = {}
    y = MARGIN
    for layer in plan.layers:
        height = max((heights[v] for v in layer if v < len(boxes)), default=0.0)
        top.update(dict.fromkeys(layer, y))
        bottom.update(dict.fromkeys(layer, y + height))
        y += height + LAYER_GAP

    right = max((x[v] + widths[v] / 2 for v in range(len(boxes))), default=0.0)
    right = max([right, *x.values()])
    size = f"{right + MARGIN:.0f} {max(bottom.values(), default=0.0) + MARGIN:.0f}"
    width, height_text = size.split()
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" width="{width}" '
        f'height="{height_text}" font-family="monospace" font-size="11">',
        f"<title>{_xml(graph.name)}</title>",
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0 0.5 L8 4 L0 7.5 z" fill="#777777"/>'
        "</marker></defs>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for edge in plan.edges:
        first, last = edge[0], edge[-1]
        path = f"M{x[first]:.1f} {top[first] + heights[first]:.1f}"
        for upper, lower in pairwise(edge):
            middle = (bottom[upper] + top[lower]) / 2
            path += f" V{bottom[upper]:.1f} C{x[upper]:.1f} {middle:.1f} "
            path += f"{x[lower]:.1f} {middle:.1f} {x[lower]:.1f} {top[lower]:.1f}"
        parts.append(
            f'<path class="edge" id="edge-{first}-{last}" d="{path}" fill="none" '
            'stroke="#999999" stroke-width="1.1" marker-end="url(#arrow)"/>'
        )
    roots = set(graph.roots)
    for index, (node, lines) in enumerate(zip(graph.nodes, boxes, strict=True)):
        left = x[index] - widths[index] / 2
        border = "2.4" if index in roots else "1"
        tip = f"<title>{_xml(str(node.source))}</title>" if node.source else ""
        parts.append(
            f'<g class="node" id="node-{index}">{tip}'
            f'<rect x="{left:.1f}" y="{top[index]:.1f}" width="{widths[index]:.1f}" '
            f'height="{heights[index]:.1f}" rx="5" fill="{_colour(index, node, kernel_of)}" '
            f'stroke="#555555" stroke-width="{border}"/>'
        )
        for place, line in enumerate(lines):
            base = top[index] + LINE_HEIGHT * (place + 1)
            weight = ' font-weight="bold"' if place == 0 else ""
            parts.append(
                f'<text x="{x[index]:.1f}" y="{base:.1f}" text-anchor="middle" '
                f'fill="#1a1a1a"{weight}>{_xml(line)}</text>'
            )
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def _xml(text: str) -> str:
    """Escaped, without the control characters that XML has no way to write."""
    return escape(
        "".join(c if c.isprintable() or c == " " else "\N{REPLACEMENT CHARACTER}" for c in text)
    )
