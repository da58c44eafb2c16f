"""One graph on its way back, from the last node to the first. A cotangent that is 0 is None."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphjit.core.errors import InternalError, NotDifferentiableError, at_user_line
from graphjit.core.types import TensorType, TupleType
from graphjit.ir.graph import Graph, GraphBuilder, Node
from graphjit.ops import control, source
from graphjit.ops.primitive import ConditionalLoop, Contract, CountedLoop, Item, View

from .activity import activity
from .counted_turns import counting
from .loop_residuals import reached, within_budget, worth_keeping
from .node_maker import Ref, has_cotangent
from .slopes import Slopes

Cotangent = Ref | None


class Reverse:
    """One graph on its way back.

    moved: of each old node the new one; refs to results of nodes that have several are with
        their items
    active: whether an old node depends on a parameter that is wanted, in any of its results
    stacks: of counted loops what they carried into each turn and what else is kept of it, of
        checkpoints what is kept
    turns_back: of counted loops the graphs of the cotangents of a turn

    points: nodes whose cotangents are wanted besides those of parameters
    rules: for each kind of primitives a function of this object, the number of a node, the node
    and the cotangents of its results, which gives cotangents to its inputs
    """

    def __init__(
        self,
        graph: Graph,
        wanted: Sequence[bool],
        rules: Mapping[type, Callable[..., None]],
        points: Sequence[int] = (),
    ) -> None:
        self.graph, self._rules = graph, rules
        self.builder = GraphBuilder(graph.name)
        self.d = Slopes(self.builder)
        self.moved: dict[int, int] = {}
        self.stacks: dict[int, list[Ref]] = {}
        self.turns_back: dict[int, Graph] = {}
        self._cotangents: dict[int, list[Ref]] = {}
        # Of nodes with several results the cotangents of these.
        self._items: dict[int, dict[int, Ref]] = {}
        params = dict(zip(graph.params, wanted, strict=True))
        self.wanted = [number for number, flag in params.items() if flag]
        # Nodes inside whose cotangents are wanted, too, and the cotangents.
        self._points: dict[int, Cotangent] = dict.fromkeys(points)
        self._results = activity(graph, wanted, self._points)
        self.active = list(map(any, self._results))

    def result(self, with_outputs: bool) -> Graph:
        """The new graph."""
        self._forward()
        outputs = self.graph.outputs
        for k, number in enumerate(outputs):
            type = self.graph.nodes[number].tensor
            given = self.builder.param(type, f"ct{k}")
            if has_cotangent(type):
                self.give(number, Ref(given))
        for number in range(len(self.graph.nodes) - 1, -1, -1):
            if self.active[number] and self.graph.nodes[number].primitive is not source.param:
                self._back(number)
        found = [self.moved[i] for i in outputs] if with_outputs else []
        for number in (*self.wanted, *self._points):
            inside = number in self._points
            cotangent = self._points[number] if inside else self._taken(number)
            if cotangent is None:
                cotangent = self.d.zeros(self.graph.nodes[number].tensor)
            found.append(cotangent.node)
        return self.builder.finish(found)

    def _forward(self) -> None:
        for number, node in enumerate(self.graph.nodes):
            inputs = tuple(self.moved.get(i, -1) for i in node.inputs)
            if isinstance(node.primitive.kind, CountedLoop) and self.active[number]:
                self.moved[number] = self._stacking(number, node, inputs)
                continue
            if isinstance(node.primitive.kind, ConditionalLoop) and self.active[number]:
                self.moved[number] = counting(node, inputs, self.builder)
                continue
            if node.primitive is control.checkpoint and self.active[number]:
                self.moved[number] = self._keeping(number, node, inputs)
                continue
            made = Node(
                node.primitive, inputs, node.attrs, node.type, node.source, node.regions
            )
            self.moved[number] = self.builder.append(made)

    # -- cotangents

    def give(self, number: int, cotangent: Cotangent) -> None:
        """Add to the cotangent of an old node."""
        if cotangent is None or not self.active[number]:
            return
        if self.d.type(cotangent) != self.graph.nodes[number].tensor:
            raise InternalError(
                f"a cotangent of {self.d.type(cotangent)} for {self.graph.nodes[number].type}"
            )
        self._cotangents.setdefault(number, []).append(cotangent)

    def _taken(self, number: int) -> Cotangent:
        parts = self._cotangents.pop(number, None)
        found = None if parts is None else self.d.total(parts)
        if number in self._points:
            self._points[number] = found
        return found

    def ref(self, number: int) -> Ref:
        """The new node of an old one."""
        return Ref(self.moved[number])

    def type(self, number: int) -> TensorType:
        """The type of an old node."""
        return self.graph.nodes[number].tensor

    def _back(self, number: int) -> None:
        """Hand the cotangent of a node on to its inputs."""
        node = self.graph.nodes[number]
        self.d.line = node.source
        if isinstance(node.primitive.kind, Item):
            cotangent = self._taken(number)
            if cotangent is not None:
                items, k = self._items.setdefault(node.inputs[0], {}), node.attr("index")
                known = items.get(k)  # an item may be taken more than once
                items[k] = cotangent if known is None else self.d.add(known, cotangent)
            return
        if isinstance(node.type, TupleType):
            given = self._items.pop(number, None)
            if given is None:
                return
            cotangents = [given.get(k) for k in range(len(node.type.items))]
        else:
            cotangents = [self._taken(number)]
            if cotangents[0] is None:
                return
        for kind, rule in self._rules.items():
            if isinstance(node.primitive.kind, kind):
                rule(self, number, node, *cotangents)
                return
        raise self.refusal(node)

    def refusal(self, node: Node, why: str = "") -> NotDifferentiableError:
        """The error for a node without a derivative."""
        return not_differentiable(node, why)

    # -- control flow

    def carries(self, number: int) -> list[bool]:
        """Which of what a loop carries depends on a parameter that is wanted."""
        carried = self.graph.nodes[number].attr("carried")
        return list(self._results[number][:carried])

    def of_region(
        self, region: Graph, wanted: Sequence[bool], kept: Sequence[int] = ()
    ) -> Graph:
        """The graph of a region's cotangents. kept: nodes whose values are given, as parameters
        after the region's and the cotangents.
        """
        way = Reverse(region, wanted, self._rules)
        graph = way.result(False)
        return _with_given(graph, [way.moved[k] for k in kept]) if kept else graph

    def zeros_for(self, node: Node, cotangents: Sequence[Cotangent]) -> list[int]:
        """A cotangent for each result, zeros in place of none."""
        assert isinstance(node.type, TupleType)
        return [
            (self.d.zeros(type) if g is None else g).node
            for type, g in zip(node.type.items, cotangents, strict=True)
        ]

    def run(
        self, node: Node, regions: Sequence[Graph], inputs: Sequence[int], attrs: dict[str, Any]
    ) -> list[Ref]:
        """The results of a node of control flow like another."""
        made = self.builder.add(node.primitive, inputs, node.source, tuple(regions), **attrs)
        type = self.builder.nodes[made].type
        assert isinstance(type, TupleType)
        return [self.d.item(made, k) for k in range(len(type.items))]

    def hand_out(self, operands: Sequence[int], found: Sequence[Ref]) -> None:
        """Add to the cotangents of several old nodes."""
        for operand, cotangent in zip(operands, found, strict=True):
            self.give(operand, cotangent)

    def _stacking(self, number: int, node: Node, inputs: tuple[int, ...]) -> int:
        """A counted loop that also stacks what it carries before each turn, and what is dear
        to compute again.
        """
        (body,) = node.regions
        carried = node.attr("carried")
        assert isinstance(node.type, TupleType)
        kept = self._turn_back(number, node)
        outputs = (*body.outputs, *body.params[1 : 1 + carried], *kept)
        region = Graph(body.name, body.nodes, outputs)
        made = self.builder.add(
            node.primitive, inputs, node.source, (region,), **dict(node.attrs)
        )
        first = len(node.type.items)
        count = carried + len(kept)
        self.stacks[number] = [self.d.item(made, first + k) for k in range(count)]
        return made

    def _turn_back(self, number: int, node: Node) -> list[int]:
        """Make the graph of the cotangents of a counted loop's turn. Gives the nodes of the
        body whose values it is given, as parameters after the others.
        """
        (body,) = node.regions
        carried, sliced = node.attr("carried"), node.attr("sliced")
        others = [self.active[i] for i in node.inputs[carried:]]
        way = Reverse(body, [False, *self.carries(number), *others], self._rules)
        graph = way.result(False)
        dear = worth_keeping(body, 1 + carried + sliced)
        used = reached(graph, [way.moved[k] for k in dear])
        wanted = [(k, body.nodes[k].tensor) for k in dear if way.moved[k] in used]
        kept = within_budget(wanted, node.attr("count"))
        if kept:
            graph = _with_given(graph, [way.moved[k] for k in kept])
        self.turns_back[number] = graph
        return kept

    def _keeping(self, number: int, node: Node, inputs: tuple[int, ...]) -> int:
        """A checkpoint that also gives what is kept of it."""
        (region,) = node.regions
        kept = kept_of(node)
        graph = Graph(region.name, region.nodes, (*region.outputs, *kept))
        made = self.builder.add(
            node.primitive, inputs, node.source, (graph,), **dict(node.attrs)
        )
        first = len(region.outputs)
        self.stacks[number] = [self.d.item(made, first + k) for k in range(len(kept))]
        return made


def kept_of(node: Node) -> list[int]:
    """The nodes in a checkpoint's region of which the values are kept."""
    if node.attr("keeps") != "products":
        return []
    nodes = node.regions[0].nodes
    return [k for k, n in enumerate(nodes) if isinstance(n.primitive.kind, Contract)]


def _with_given(graph: Graph, nodes: Sequence[int]) -> Graph:
    """A graph that is given what some of its nodes compute, as parameters after its own."""
    builder, moved = GraphBuilder(graph.name), dict[int, int]()
    for number in (*graph.params, *nodes):
        moved[number] = builder.param(graph.nodes[number].tensor)
    needed, todo = set[int](), list(graph.outputs)
    while todo:
        number = todo.pop()
        if number not in needed and number not in moved:
            needed.add(number)
            todo += graph.nodes[number].inputs
    builder.extend(graph.nodes, sorted(needed), moved)
    return builder.finish([moved[i] for i in graph.outputs])


def not_differentiable(node: Node, why: str = "") -> NotDifferentiableError:
    """The error for a node without a derivative. why: in which case it has none."""
    name = dict(node.attrs).get("name") or dict(node.attrs).get("function")
    what = f"{node.primitive.name} ({name})" if name else node.primitive.name
    return NotDifferentiableError(
        at_user_line(f"{what} has no derivative here{why} [Op:{node.primitive.tensorflow}]")
    )


def require_own_arguments(graph: Graph, node: Node, active: Callable[[int], bool]) -> None:
    """Raise NotDifferentiableError if the values of a function with a rule of its own depend on
    what is differentiated by otherwise than by its arguments: the rule leaves that out.

    active: whether a node depends on what is differentiated by
    """
    outputs, count = node.attr("outputs"), node.attr("arguments")
    arguments = node.inputs[outputs : outputs + count]
    known = set(arguments)
    for number in arguments:  # batching may spread an argument that the values use as it is
        of = graph.nodes[number]
        while isinstance(of.primitive.kind, View) and len(of.inputs) == 1:
            known.update(of.inputs)
            of = graph.nodes[of.inputs[0]]
    todo = list(node.inputs[:outputs])
    while todo:
        number = todo.pop()
        if number in known or not active(number):
            continue
        known.add(number)
        inputs = graph.nodes[number].inputs
        if not any(map(active, inputs)):  # a parameter, or a point inside
            why = ": the function with this rule reads a value that is differentiated by and "
            raise not_differentiable(node, why + "isn't among its arguments: hand it in")
        todo += inputs


__all__ = ["Cotangent", "Reverse", "kept_of", "not_differentiable", "require_own_arguments"]
