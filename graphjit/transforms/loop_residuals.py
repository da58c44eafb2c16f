"""What a loop keeps of each turn for the way back, besides what it carries, and which sums it
leaves to one product afterwards.

Products and routines are dear to compute again; the rest of a turn isn't. A weight that all
turns multiply with has for a cotangent the sum of a small product in each turn: where they are
smaller than it, the factors of all turns are kept, and multiplied at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Final

from graphjit.core.config import config
from graphjit.core.extents import guess
from graphjit.core.frozen import dataclass
from graphjit.core.types import TensorType
from graphjit.ir.graph import Graph, Node
from graphjit.ops import contract, view
from graphjit.ops.primitive import Contract, Library

# A product is kept where its sums are of so many numbers or more.
MIN_SUMMED: Final = 16


def worth_keeping(body: Graph, moving: int) -> list[int]:
    """The nodes of a loop's body that are dear to compute again.

    moving: how many of its parameters, from the first on, differ from turn to turn
    """
    changes: list[bool] = []
    found = []
    params = body.params[:moving]
    for number, node in enumerate(body.nodes):
        changes.append(number in params or any(changes[i] for i in node.inputs))
        if changes[number] and isinstance(node.type, TensorType) and _is_dear(body, node):
            found.append(number)
    return found


def _is_dear(body: Graph, node: Node) -> bool:
    kind = node.primitive.kind
    if isinstance(kind, Contract):
        return guess(body.nodes[node.inputs[0]].tensor.shape[-1]) >= MIN_SUMMED
    return isinstance(kind, Library)


def within_budget(types: Iterable[tuple[int, TensorType]], turns: int) -> list[int]:
    """Of numbered values of a turn, the first ones that can be kept for all turns within
    `config.memory_budget`.
    """
    left = config.memory_budget
    found = []
    for number, type in types:
        left -= _bytes(type) * guess(turns)
        if left >= 0:
            found.append(number)
    return found


def _bytes(type: TensorType) -> int:
    return guess(prod(type.shape)) * type.dtype.itemsize


def reached(graph: Graph, stops: Iterable[int]) -> set[int]:
    """The nodes that outputs depend on, without going on behind those at `stops`."""
    ends, found, todo = set(stops), set[int](), list(graph.outputs)
    while todo:
        number = todo.pop()
        if number not in found:
            found.add(number)
            if number not in ends:
                todo += graph.nodes[number].inputs
    return found


@dataclass(frozen=True)
class LateProduct:
    """A sum over all turns of products of two matrices [m, b] and [b, n].

    rows: the node that the turn computes of the first, as [b, m]; columns: of the second.
    turned: whether `rows` is the first as it is, [m, b], and is to be turned afterwards
    """

    rows: int
    columns: int
    turned: bool


def late_product(graph: Graph, output: int, turns: int) -> LateProduct | None:
    """How the sum of an output over all turns is left to one product; None where it isn't."""
    node = graph.nodes[output]
    if node.primitive is not contract.matmul or node.tensor.ndim != 2:
        return None
    first, second = node.inputs
    types = graph.nodes[first].tensor, graph.nodes[second].tensor
    if types[0].ndim != 2 or types[1].ndim != 2:
        return None
    kept = sum(map(_bytes, types))
    if kept > _bytes(node.tensor) or kept * guess(turns) > config.memory_budget:
        return None
    of = graph.nodes[first]
    if of.primitive is view.transpose:
        return LateProduct(of.inputs[0], second, False)
    return LateProduct(first, second, True)


__all__ = ["LateProduct", "late_product", "reached", "within_budget", "worth_keeping"]
