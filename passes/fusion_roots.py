"""Which nodes get a value of their own: the roots of kernels.

Roots are results, what kernels of other kinds read, reductions, and shared pointwise nodes that
cost too much to compute twice. All other nodes are computed where they are read.
"""

from __future__ import annotations

from typing import Any

from graphjit.core.extents import guess
from graphjit.ir import cost_model
from graphjit.ir.graph import Graph, reachable
from graphjit.ops import source
from graphjit.ops.primitive import (
    Contract,
    Control,
    Coordinate,
    Gather,
    Library,
    Pointwise,
    Reduce,
    Scan,
    View,
)

FUSABLE = (Pointwise, View, Coordinate, Gather, Reduce, Scan, Contract)


class RootAnalysis:
    """Finds the roots of a graph.

    forced: nodes that earlier attempts found must be stored
    required: nodes that must have a buffer, whatever they cost
    roots: all roots; grouping may add to them
    live: for each node whether a result needs it
    fusable: for each node whether a kernel can compute it
    """

    def __init__(self, graph: Graph, forced: set[int]) -> None:
        self.graph = graph
        self.nodes = graph.nodes
        self.fusable = [isinstance(node.primitive.kind, FUSABLE) for node in self.nodes]
        self._sizes: dict[int, int] = {}
        self.live = reachable(graph)
        self.users = graph.users()
        self.required = self._find_required()
        self.roots = self.required | forced | self._find_shared()
        self.roots |= self._find_cuts()

    def kind(self, node: int) -> Any:
        """A node's kind."""
        return self.nodes[node].primitive.kind

    def is_leaf(self, number: int) -> bool:
        """Whether a node has a buffer of its own or is a number."""
        return number in self.roots or not self.fusable[number]

    def is_in_memory(self, number: int) -> bool:
        """Whether a node that is read has a buffer. Numbers stand in the code."""
        node = self.nodes[number]
        return node.primitive is not source.const or node.tensor.size > 1

    def size_of(self, number: int) -> int:
        """About how many elements a node has."""
        found = self._sizes.get(number)
        if found is None:
            found = self._sizes[number] = guess(self.nodes[number].tensor.size)
        return found

    def _strip_views(self, number: int) -> int:
        """The node that a chain of views looks at."""
        while isinstance(self.kind(number), View):
            number = self.nodes[number].inputs[0]
        return number

    def _operand_of_product(self, number: int) -> int:
        """The node whose buffer a product reads for an operand: what its views look at, unless
        that is a number.
        """
        viewed = self._strip_views(number)
        return viewed if self.is_in_memory(viewed) else number

    def _find_required(self) -> set[int]:
        """Results, and what library calls, regions, products and gathers read."""
        found = set(self.graph.roots)
        for number, node in enumerate(self.nodes):
            if not self.live[number]:
                continue
            match node.primitive.kind:
                case Library() | Control():
                    found.update(node.inputs)
                case Contract():
                    found.update(map(self._operand_of_product, node.inputs))
                case Gather():
                    found.add(node.inputs[0])
        return found

    def _find_shared(self) -> set[int]:
        """Reductions, scans, products, and pointwise nodes too costly to compute for each
        user.
        """
        found: set[int] = set()
        cost, live, cheap = [0] * len(self.nodes), self.live, cost_model.RECOMPUTE_COST
        for number, node in enumerate(self.nodes):
            if not live[number]:
                continue
            kind = node.primitive.kind
            if isinstance(kind, (Reduce, Scan, Contract)):
                found.add(number)
                cost[number] = 1
            elif isinstance(kind, (Pointwise, Gather)):
                total = node.primitive.cost + sum([cost[i] for i in node.inputs])
                code = total * sum([live[u] for u in self.users[number]])
                dear = total > cheap and self._count_reads(number) > 1
                if dear or code > max(total, cost_model.MAX_CODE):
                    found.add(number)
                    total = 1
                cost[number] = 1 if number in self.required else total
            elif isinstance(kind, View):
                cost[number] = cost[node.inputs[0]]
                if self._repeats_elements(number) and cost[node.inputs[0]] > cheap:
                    found.add(node.inputs[0])
            else:
                cost[number] = 1
            if isinstance(kind, Pointwise):
                for i in node.inputs:
                    if cost[i] <= cheap or not self.fusable[i]:
                        continue
                    times = self.size_of(number) / max(1, self.size_of(i))
                    if times > 1 and times * cost[i] > cost_model.REPEATED_COST:
                        found.add(i)
        return found

    def _count_reads(self, number: int) -> float:
        """How often an element of a node is read, on average. A slice reads its part only."""
        size = max(1, self.size_of(number))
        total = 0.0
        for user in self.users[number]:
            if self.live[user]:
                node = self.nodes[user]
                sliced = isinstance(node.primitive.kind, View) and self.size_of(user) < size
                total += self.size_of(user) / size if sliced else 1
        return total

    def _repeats_elements(self, number: int) -> bool:
        """Whether a view repeats elements many times."""
        return self.size_of(number) > 4 * max(1, self.size_of(self.nodes[number].inputs[0]))

    def _find_cuts(self) -> set[int]:
        """Nodes at which expressions are cut that are too long or read too many buffers.

        The length of a node with several users is divided among them.
        """
        found: set[int] = set()
        size, reads = [0.0] * len(self.nodes), [0.0] * len(self.nodes)
        for number, node in enumerate(self.nodes):
            if not self.live[number] or not node.inputs:
                continue
            if not self.fusable[number]:
                continue
            length, buffers = 1.0, 0.0
            for i in dict.fromkeys(node.inputs):
                if self.is_leaf(i) or i in found:
                    length += 1.0
                    buffers += self.is_in_memory(i)
                else:
                    users = max(1, len(self.users[i]))
                    length += size[i] / users
                    buffers += reads[i] / users
            if length >= cost_model.KERNEL_VALUES or buffers >= cost_model.KERNEL_READS:
                found.add(number)
            size[number], reads[number] = length, buffers
        return found
