"""Node and Graph: the dataflow graph that tracing makes and passes rewrite.

A graph is a tuple of nodes in topological order; nodes name their inputs by position. Both
are immutable; `GraphBuilder` makes new graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import field
from typing import Any

import numpy as np

from graphjit.core.dims import Undecided
from graphjit.core.errors import InternalError, SourceLine
from graphjit.core.frozen import dataclass
from graphjit.core.types import TensorType, TupleType
from graphjit.ops import source
from graphjit.ops.primitive import Assumption, Attrs, Control, Primitive, RegionTypes


@dataclass(frozen=True, slots=True)
class Node:
    """One value: a primitive applied to earlier nodes.

    regions: the graphs that a primitive of control flow runs. What they use of this graph is
    among the inputs.
    """

    primitive: Primitive
    inputs: tuple[int, ...]
    attrs: Attrs
    type: TensorType | TupleType
    source: SourceLine | None = field(default=None, compare=False)
    regions: tuple[Graph, ...] = ()

    @property
    def tensor(self) -> TensorType:
        """The type of a node with one result."""
        type = self.type
        assert isinstance(type, TensorType)
        return type

    def attr(self, name: str) -> Any:
        """One attribute's value."""
        for known, value in self.attrs:
            if known == name:
                return value
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Graph:
    """A function of tensors.

    nodes: in topological order. outputs: the nodes returned. updates: pairs (parameter node
    of a variable, node of its new value), written back after every node has run.
    """

    name: str
    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    updates: tuple[tuple[int, int], ...] = ()

    @property
    def params(self) -> tuple[int, ...]:
        """The parameter nodes, in order."""
        return tuple(i for i, n in enumerate(self.nodes) if n.primitive is source.param)

    @property
    def roots(self) -> tuple[int, ...]:
        """All nodes whose value leaves the graph."""
        return (*self.outputs, *(value for _, value in self.updates))

    def users(self) -> list[list[int]]:
        """For each node the nodes that read it."""
        result: list[list[int]] = [[] for _ in self.nodes]
        for index, node in enumerate(self.nodes):
            for argument in dict.fromkeys(node.inputs):
                result[argument].append(index)
        return result

    def __str__(self) -> str:
        from .text import print_graph

        return print_graph(self)

    def __len__(self) -> int:
        return len(self.nodes)

    @staticmethod
    def parse(text: str) -> Graph:
        """The graph of a text that `str(graph)` gave."""
        from .text import parse_graph

        return parse_graph(text)

    def to_networkx(self) -> Any:
        """A networkx.DiGraph: a node per node, with op, type, attrs; an edge per input."""
        from .drawing import to_networkx

        return to_networkx(self)

    def to_dot(self, kernel_of: dict[int, int] | None = None) -> str:
        """Graphviz's text; nodes coloured by kernel where `kernel_of` gives one."""
        from .drawing import to_dot

        return to_dot(self, kernel_of)

    def to_json(self) -> str:
        """JSON of the nodes, outputs and updates."""
        from .graph_json import to_json

        return to_json(self)

    def to_svg(self, kernel_of: dict[int, int] | None = None) -> str:
        """A drawing, by Graphviz where installed, else by networkx's layered layout."""
        from .drawing import to_svg

        return to_svg(self, kernel_of)


class GraphBuilder:
    """Appends nodes, giving their positions; types come from the primitives' rules."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[Node] = []

    def add(
        self,
        primitive: Primitive,
        inputs: Iterable[int] = (),
        source: SourceLine | None = None,
        regions: tuple[Graph, ...] = (),
        **attrs: Any,
    ) -> int:
        """Append an op and infer its type."""
        inputs = tuple(inputs)
        types = [self.nodes[i].type for i in inputs]
        pairs = tuple(sorted(attrs.items())) if attrs else ()
        if regions:
            attrs["regions"] = tuple(map(region_types, regions))
        result = primitive.type(*types, **attrs)
        return self.append(Node(primitive, inputs, pairs, result, source, regions))

    def const(self, array: np.ndarray[Any, Any], line: SourceLine | None = None) -> int:
        """Append a constant."""
        value = source.Literal(np.asarray(array))
        return self.append(Node(source.const, (), (("value", value),), value.type, line))

    def append(self, node: Node) -> int:
        """Append a node as it is."""
        self.nodes.append(node)
        return len(self.nodes) - 1

    def inline(self, graph: Graph, given: Iterable[int]) -> list[int]:
        """Append another graph's nodes; gives its outputs. given: its parameters."""
        moved = dict(zip(graph.params, given, strict=True))
        self.extend(graph.nodes, range(len(graph.nodes)), moved)
        return [moved[i] for i in graph.outputs]

    def extend(
        self, nodes: Sequence[Node], numbers: Iterable[int], moved: dict[int, int]
    ) -> None:
        """Append some of the nodes of another graph, in order. moved: where its nodes are;
        those that are there already aren't appended.
        """
        for number in numbers:
            if number in moved:
                continue
            node = nodes[number]
            inputs = tuple([moved[i] for i in node.inputs])
            moved[number] = self.append(
                Node(node.primitive, inputs, node.attrs, node.type, node.source, node.regions)
            )

    def param(self, type: TensorType, name: str = "", line: SourceLine | None = None) -> int:
        """Append a parameter."""
        name = name or f"p{len(self.nodes)}"
        return self.add(source.param, (), line, type=type, name=name, role="argument")

    def type_of(self, index: int) -> TensorType:
        """Type of a node with one result."""
        return self.nodes[index].tensor

    def finish(self, outputs: Iterable[int], updates: Iterable[tuple[int, int]] = ()) -> Graph:
        """The graph."""
        return Graph(self.name, tuple(self.nodes), tuple(outputs), tuple(updates))


class Rewriter(GraphBuilder):
    """Rebuilds a graph node by node, keeping track of where each old node went."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph.name)
        self.graph = graph
        self.map: dict[int, int] = {}

    def keep(self, count: int) -> None:
        """Begin with so many old nodes, as they are."""
        self.nodes = list(self.graph.nodes[:count])
        self.map = {index: index for index in range(count)}

    def copy(self, index: int) -> int:
        """Append an old node with its inputs as they are now."""
        node = self.graph.nodes[index]
        if node.inputs:
            inputs = tuple([self.map[i] for i in node.inputs])
            if inputs != node.inputs:
                node = Node(
                    node.primitive, inputs, node.attrs, node.type, node.source, node.regions
                )
        self.nodes.append(node)
        return len(self.nodes) - 1

    def result(self) -> Graph:
        """The new graph, or the old one itself where nothing changed."""
        outputs = tuple(self.map[i] for i in self.graph.outputs)
        updates = tuple((self.map[p], self.map[v]) for p, v in self.graph.updates)
        graph = Graph(self.name, tuple(self.nodes), outputs, updates)
        if len(graph.nodes) == len(self.graph.nodes) and graph == self.graph:
            return self.graph
        return graph


def region_types(region: Graph) -> RegionTypes:
    """The types of a region's parameters and results."""
    nodes = region.nodes
    return RegionTypes(
        tuple(nodes[i].tensor for i in region.params),
        tuple(nodes[i].tensor for i in region.outputs),
    )


def map_regions(graph: Graph, function: Callable[[Graph], Graph]) -> Graph:
    """The graph with its nodes' regions replaced; itself where none changes."""
    if not any(node.regions for node in graph.nodes):
        return graph
    nodes = []
    for node in graph.nodes:
        regions = tuple(map(function, node.regions))
        if any(a is not b for a, b in zip(regions, node.regions, strict=True)):
            node = Node(
                node.primitive, node.inputs, node.attrs, node.type, node.source, regions
            )
        nodes.append(node)
    if all(a is b for a, b in zip(nodes, graph.nodes, strict=True)):
        return graph
    return Graph(graph.name, tuple(nodes), graph.outputs, graph.updates)


def reachable(graph: Graph) -> list[bool]:
    """For each node whether an output or update needs it, or what may end the call."""
    live = [isinstance(node.primitive.kind, Assumption) for node in graph.nodes]
    for root in graph.roots:
        live[root] = True
    for index in range(len(graph.nodes) - 1, -1, -1):
        if live[index]:
            for argument in graph.nodes[index].inputs:
                live[argument] = True
    return live


def verify(graph: Graph) -> None:
    """Check the graph's invariants; InternalError with its text where one is broken."""
    for problem in _problems(graph):
        raise InternalError(f"{problem}\n{graph}")


def _problems(graph: Graph) -> Iterator[str]:
    count = len(graph.nodes)
    for index, node in enumerate(graph.nodes):
        if any(not 0 <= i < index for i in node.inputs):
            yield f"%{index} reads {node.inputs}: not all come before it"
            return
        types = (graph.nodes[i].type for i in node.inputs)
        attrs = dict(node.attrs)
        if isinstance(node.primitive.kind, Control):
            for region in node.regions:
                yield from (f"in a region of %{index}: {text}" for text in _problems(region))
                if region.updates:
                    yield f"a region of %{index} updates a variable"
            attrs["regions"] = tuple(map(region_types, node.regions))
        elif node.regions:
            yield f"%{index}: {node.primitive.name} has no regions"
        try:
            inferred = node.primitive.type(*types, **attrs)
        except Undecided:
            continue
        except Exception as error:  # whatever a rule makes of what it wasn't written for
            yield f"%{index}: {node.primitive.name} can't be: {error}"
            return
        if inferred != node.type:
            yield f"%{index} says {node.type}, its rule says {inferred}"
    for root in graph.roots:
        if not 0 <= root < count:
            yield f"output %{root} does not exist"
        elif isinstance(graph.nodes[root].type, TupleType):
            yield f"output %{root} is a tuple"
    written = [param for param, _ in graph.updates]
    if len(set(written)) != len(written):
        yield "a variable is updated twice"
    for param, value in graph.updates:
        if not 0 <= param < count or graph.nodes[param].primitive is not source.param:
            yield f"update of %{param}, which is no parameter"
        elif graph.nodes[param].attr("role") != "variable":
            yield f"update of %{param}, which is no variable"
        elif graph.nodes[param].type != graph.nodes[value].type:
            yield f"update of %{param} with another type"
