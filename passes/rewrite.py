"""Patterns, rules, and the one rewriting loop.

A rule has a pattern of nodes and a function that gives the replacement of a node that matches.
Patterns are written with operators: `x * 1`. Only the loop knows about traversal, fixpoints and
shapes (a replacement of smaller shape is broadcast).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphjit.core.frozen import dataclass
from graphjit.core.types import TupleType
from graphjit.ir.graph import Graph, Node, Rewriter
from graphjit.ops import pointwise as pw
from graphjit.ops import source, view
from graphjit.ops.primitive import Primitive

from .dce import compact

Bindings = dict[str, int]


class Pattern:
    """What a node must look like."""

    def __add__(self, other: Any) -> Op:
        return Op(pw.add, (self, as_pattern(other)))

    def __sub__(self, other: Any) -> Op:
        return Op(pw.sub, (self, as_pattern(other)))

    def __mul__(self, other: Any) -> Op:
        return Op(pw.mul, (self, as_pattern(other)))

    def __truediv__(self, other: Any) -> Op:
        return Op(pw.div, (self, as_pattern(other)))

    def __pow__(self, other: Any) -> Op:
        return Op(pw.pow_, (self, as_pattern(other)))

    def __neg__(self) -> Op:
        return Op(pw.neg, (self,))

    def __invert__(self) -> Op:
        return Op(pw.bit_not, (self,))


@dataclass(frozen=True, eq=False)
class AnyNode(Pattern):
    """Any node. The same name means the same node."""

    name: str


@dataclass(frozen=True, eq=False)
class Number(Pattern):
    """A constant whose elements all equal the number, sign of zero included."""

    value: float


@dataclass(frozen=True, eq=False)
class Op(Pattern):
    """A primitive applied to patterns, in either order if it is commutative."""

    primitive: Primitive
    args: tuple[Pattern, ...]


def as_pattern(value: Any) -> Pattern:
    """A pattern as itself, or the pattern of a number."""
    return value if isinstance(value, Pattern) else Number(value)


_MAY_BE_NUMBERS = (
    source.const,
    view.broadcast,
    view.reshape,
)  # nodes that may equal one number


class Match:
    """A node under rewriting: what rules may ask and make."""

    def __init__(
        self, rewriter: Rewriter, node: Node, index: int, numbers: dict[int, Any]
    ) -> None:
        self.rewriter = rewriter
        self.node = node
        self.index = index
        self._numbers = numbers
        self._inputs: tuple[list[Any], list[Primitive]] | None = None

    def input(self, number: int) -> Node:
        """The node of an input."""
        return self.rewriter.nodes[self.node.inputs[number]]

    def inputs(self) -> tuple[list[Any], list[Primitive]]:
        """For each input the number that it equals, or None; and the primitive that computes
        it.
        """
        if self._inputs is None:
            inputs, nodes = self.node.inputs, self.rewriter.nodes
            self._inputs = (
                [self.number_of(i) for i in inputs],
                [nodes[i].primitive for i in inputs],
            )
        return self._inputs

    def has(self, required: frozenset[Any]) -> bool:
        """Whether some input is one of these numbers, or is computed by one of these
        primitives.
        """
        for number in self.node.inputs:
            primitive = self.rewriter.nodes[number].primitive
            if primitive in required:
                return True
            if primitive in _MAY_BE_NUMBERS and self.number_of(number) in required:
                return True
        return False

    def make(self, primitive: Primitive, *inputs: int, **attrs: Any) -> int:
        """A new node with the source line of the one it replaces."""
        return self.rewriter.add(primitive, inputs, self.node.source, **attrs)

    def number_of(self, index: int) -> Any:
        """The number that all elements of a constant equal, or None."""
        if index not in self._numbers:
            self._numbers[index] = self._find_number(index)
        return self._numbers[index]

    def _find_number(self, index: int) -> Any:
        node = self.rewriter.nodes[index]
        if node.primitive in _MAY_BE_NUMBERS[1:]:
            return self.number_of(node.inputs[0])
        return node.attr("value").number if node.primitive is source.const else None

    def bind(self, pattern: Pattern, index: int, found: Bindings) -> bool:
        """Whether a node matches a pattern. Binds names as they are met."""
        match pattern:
            case AnyNode(name=name):
                return found.setdefault(name, index) == index
            case Number(value=value):
                return _is_number(self.number_of(index), value)
            case Op(primitive=primitive, args=args):
                node = self.rewriter.nodes[index]
                if node.primitive is not primitive:
                    return False
                orders = [node.inputs]
                if primitive.commutative and len(args) == 2:
                    orders.append(node.inputs[::-1])
                for order in orders:
                    trial = dict(found)
                    if all(self.bind(a, i, trial) for a, i in zip(args, order, strict=True)):
                        found |= trial
                        return True
        return False


def _is_number(number: Any, value: float) -> bool:
    """Whether a constant's number is a pattern's, sign of zero included."""
    if number is None or number != value or isinstance(number, bool):
        return False
    return str(float(value)).startswith("-") == str(number).startswith("-")


@dataclass(frozen=True)
class Rule:
    """A rewriting rule.

    name: the equation that it states
    primitives: those of the nodes that it may replace
    apply: gives the replacement, or None
    requires: numbers and primitives, one of which some input must be; empty for no such
        condition
    """

    name: str
    primitives: tuple[Primitive, ...]
    apply: Callable[[Match], int | None]
    requires: frozenset[Any] = frozenset()


def rule(name: str, pattern: Op, replace: Callable[..., Any], kinds: str = "biufc") -> Rule:
    """A rule from a pattern. `replace` takes the match and the bound nodes by name.

    kinds: the dtype kinds that the replaced node may have
    """
    # a quick test: each constant and primitive of the pattern must be some input's
    values = [arg.value for arg in pattern.args if isinstance(arg, Number)]
    primitives = [arg.primitive for arg in pattern.args if isinstance(arg, Op)]

    def apply(match: Match) -> int | None:
        if match.node.tensor.dtype.kind not in kinds:
            return None
        numbers, made_by = match.inputs()
        for value in values:
            if value not in numbers:
                return None
        for primitive in primitives:
            if primitive not in made_by:
                return None
        found: Bindings = {}
        if not match.bind(pattern, match.index, found):
            return None
        result: int | None = replace(match, **found)
        return result

    return Rule(name, (pattern.primitive,), apply, frozenset((*values, *primitives)))


def rewrite(graph: Graph, rules: Sequence[Rule]) -> tuple[Graph, list[tuple[str, int]]]:
    """The graph with rules applied until none matches, and which rules fired at which of its
    nodes.
    """
    table: dict[Primitive, list[Rule]] = {}
    for item in rules:
        for primitive in item.primitives:
            table.setdefault(primitive, []).append(item)
    requires = {
        primitive: frozenset().union(*[item.requires for item in fit])
        for primitive, fit in table.items()
        if all(item.requires for item in fit)
    }
    fired: list[tuple[str, int]] = []
    origins = list(
        range(len(graph.nodes))
    )  # for each node, the node of the given graph that it comes from
    while True:
        first = _find_first_change(graph, table, requires)
        if first == len(graph.nodes):
            return graph, fired
        rewriter = Rewriter(graph)
        rewriter.keep(first)
        born = list(origins[:first])
        names: list[tuple[str, int]] = []
        numbers: dict[int, Any] = {}
        for index in range(first, len(graph.nodes)):
            rewriter.map[index] = _rewrite_node(rewriter, table, index, names, numbers)
            born += [origins[index]] * (len(rewriter.nodes) - len(born))
        fired += [(name, origins[index]) for name, index in names]
        graph, kept = compact(rewriter.result())
        origins = [born[index] for index in kept]


def _find_first_change(
    graph: Graph, table: dict[Primitive, list[Rule]], requires: dict[Primitive, frozenset[Any]]
) -> int:
    """The first node that a rule matches. Nodes before it needn't be copied.

    requires: for some primitives the union of what their rules require
    """
    trial, numbers = Rewriter(graph), dict[int, Any]()
    trial.nodes = list(graph.nodes)
    for index, node in enumerate(graph.nodes):
        rules = table.get(node.primitive)
        if rules is None or isinstance(node.type, TupleType):
            continue
        match = Match(trial, node, index, numbers)
        required = requires.get(node.primitive)
        if required is not None and not match.has(required):
            continue
        for item in rules:
            if item.apply(match) is not None:
                return index
    return len(graph.nodes)


def _rewrite_node(
    rewriter: Rewriter,
    table: dict[Primitive, list[Rule]],
    index: int,
    fired: list[tuple[str, int]],
    numbers: dict[int, Any],
) -> int:
    current = rewriter.copy(index)
    for item in table.get(rewriter.nodes[current].primitive, ()):
        node = rewriter.nodes[current]
        if isinstance(node.type, TupleType):
            break
        result = item.apply(Match(rewriter, node, current, numbers))
        if result is not None:
            if rewriter.nodes[result].type != node.type:
                result = rewriter.add(
                    view.broadcast, (result,), node.source, shape=node.type.shape
                )
            fired.append((item.name, index))
            return result
    return current
