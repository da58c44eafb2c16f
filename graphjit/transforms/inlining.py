"""Functions that are traced on their own, and their graphs as parts of the trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphjit.core.errors import TracingError, at_user_line, user_line
from graphjit.core.types import TensorType
from graphjit.functions.region_values import AssignedInRegionError
from graphjit.ir.graph import Graph, Node
from graphjit.ops import source


class TracedFunction:
    """The graph of a function of the user's, traced on values of its own.

    graph: of the arguments that it was traced on, then of what it reads of the trace
    operands: the nodes of the latter
    result: what the function gave
    """

    def __init__(
        self,
        trace: Any,
        types: Sequence[tuple[TensorType, str]],
        function: Callable[..., Any],
        results: Callable[[Any], Sequence[Any]],
        op: str,
    ) -> None:
        """Trace `function` on values of these types and origins.

        results: gives the tensors that the graph is to compute, of what the function gave
        """
        region = trace.region(types, function)
        try:
            trace.require_handed_on(region)
        except AssignedInRegionError as error:
            names = ", ".join(variable.name for variable in error.variables)
            raise TracingError(
                at_user_line(f"the function assigns {names} [Op:{op}]", "return the new value")
            ) from None
        line = user_line()
        outputs = [trace.node_of(x, line) for x in results(region.result)]
        trace.require_no_leak(outputs, region.start + 1)
        trace.require_checks_in(region, outputs)
        self.result = region.result
        self.operands = trace.regions.needed(region, outputs)[1]
        trace.regions.used.add(region.start)
        self.graph: Graph = trace.regions.graph(region, outputs, self.operands, op)


def inline(trace: Any, graph: Graph, given: Sequence[int]) -> list[int]:
    """Append a graph's nodes to a trace; gives its outputs. given: its parameters."""
    moved: dict[int, int] = dict(zip(graph.params, given, strict=True))
    for number, node in enumerate(graph.nodes):
        if node.primitive is source.param:
            continue
        inputs = tuple([moved[i] for i in node.inputs])
        moved[number] = trace.builder.append(
            Node(node.primitive, inputs, node.attrs, node.type, node.source, node.regions)
        )
    return [moved[i] for i in graph.outputs]


__all__ = ["TracedFunction", "inline"]
