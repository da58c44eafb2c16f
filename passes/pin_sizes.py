"""Extents that guards fix become numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.extents import pinned
from graphjit.core.frozen import dataclass
from graphjit.core.types import TensorType, TupleType
from graphjit.ir.graph import Graph, Node, Rewriter
from graphjit.ops import source

from .pipeline import Pass


@dataclass(frozen=True)
class PinSizes(Pass):
    """Replace extents that guards fix by numbers, in types and attributes.

    A guard may be noted after extents that it fixes: `n0 // 4` is 0 once `n0 <= 3` is known,
    and an extent of 1 broadcasts. Parameters keep their symbols.
    """

    name = "pin-sizes"

    def run(self, graph: Graph) -> Graph:
        """The graph with numbers for known extents."""
        if not any(_has_symbols(node) for node in graph.nodes):
            return graph
        rewriter, changed = Rewriter(graph), False
        for index, node in enumerate(graph.nodes):
            if node.primitive is source.param:
                rewriter.map[index] = rewriter.copy(index)
                continue
            attrs = tuple((name, _pin(value)) for name, value in node.attrs)
            if node.primitive is source.extent and not isinstance(dict(attrs)["value"], Dim):
                number = np.array(dict(attrs)["value"], node.tensor.dtype.dtype)
                rewriter.map[index] = rewriter.const(number, node.source)
                changed = True
                continue
            type = _pin_type(node.type)
            inputs = tuple([rewriter.map[i] for i in node.inputs])
            regions = tuple(map(_with_pinned_params, node.regions))
            changed = changed or any(
                a is not b for a, b in zip(regions, node.regions, strict=True)
            )
            made = Node(node.primitive, inputs, attrs, type, node.source, regions)
            rewriter.map[index] = rewriter.append(made)
            same = all(new is old for (_, new), (_, old) in zip(attrs, node.attrs, strict=True))
            changed = changed or type is not node.type or not same
        # compared by identity: an extent equals the number that it is known to be
        if not changed:
            return graph
        to = rewriter.map
        return rewriter.finish(
            [to[i] for i in graph.outputs], [(to[p], to[v]) for p, v in graph.updates]
        )


def _with_pinned_params(region: Graph) -> Graph:
    """A region with numbers for known extents of its parameters, which are values of the graph
    around it.
    """
    nodes = []
    for node in region.nodes:
        if node.primitive is source.param:
            attrs = tuple(
                (name, _pin_type(value) if name == "type" else value)
                for name, value in node.attrs
            )
            type = _pin_type(node.type)
            if type is not node.type:
                node = Node(node.primitive, (), attrs, type, node.source)
        nodes.append(node)
    if all(a is b for a, b in zip(nodes, region.nodes, strict=True)):
        return region
    return Graph(region.name, tuple(nodes), region.outputs, region.updates)


def _has_symbols(node: Node) -> bool:
    types = node.type.items if isinstance(node.type, TupleType) else (node.type,)
    return any(isinstance(n, Dim) for type in types for n in type.shape)


def _pin(value: Any) -> Any:
    if isinstance(value, Dim):
        return pinned(value)
    if type(value) is tuple:
        items = tuple([_pin(item) for item in value])
        return value if all(a is b for a, b in zip(items, value, strict=True)) else items
    return value


def _pin_type(type: TensorType | TupleType) -> TensorType | TupleType:
    if isinstance(type, TupleType):
        items = tuple([_pin_type(item) for item in type.items])
        same = all(a is b for a, b in zip(items, type.items, strict=True))
        return type if same else TupleType(items)  # type: ignore[arg-type]
    shape = _pin(type.shape)
    return type if shape is type.shape else type.with_shape(shape)


__all__ = ["PinSizes"]
