"""Functions that are traced on their own, and their graphs as parts of the trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphjit.core.errors import TracingError, at_user_line, user_line
from graphjit.core.types import TensorType
from graphjit.functions.region_values import AssignedInRegionError, origin_of
from graphjit.ir.graph import Graph, GraphBuilder, Node
from graphjit.ops import reduce, source, view
from graphjit.tensors.apply import TensorBase

from .node_maker import NodeMaker, Ref


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
        is_rule: bool = False,
    ) -> None:
        """Trace `function` on values of these types and origins.

        results: gives the tensors that the graph is to compute, of what the function gave.
        is_rule: whether what it computes besides, and what may fail, is computed elsewhere
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
        if is_rule:
            trace.forget_checks(region.start, len(trace.builder.nodes))
        else:
            trace.require_checks_in(region, outputs)
        self.result = region.result
        self.operands = trace.regions.needed(region, outputs)[1]
        trace.regions.used.add(region.start)
        self.graph: Graph = trace.regions.graph(region, outputs, self.operands, op)


class DifferentiatedFunction:
    """The graph of a function of the user's between what it is differentiated by and what it
    gives. It runs as all other code of the trace does: branches are taken, loops become nodes.

    inputs: the nodes that stand for the values; result: what the function gave
    graph: of these, then of the nodes of the trace that are read, `operands`
    """

    def __init__(
        self,
        trace: Any,
        values: Sequence[TensorBase],
        function: Callable[..., Any],
        results: Callable[[Any], Sequence[Any]],
        op: str,
    ) -> None:
        line, builder = user_line(), trace.builder
        symbols = []
        for x in values:
            node = builder.add(
                view.reshape, (trace.node_of(x, line),), line, shape=x.type.shape
            )
            symbols.append(trace.symbol_of(node, origin_of(x)))
        self.inputs = [x.node for x in symbols]
        self.result = function(*symbols)
        self._checks = trace.checks_since(min(self.inputs, default=0))
        outputs = [trace.node_of(x, line) for x in results(self.result)]
        self.graph, self.operands = _between(builder.nodes, self.inputs, outputs, op)

    def checked(self, trace: Any, nodes: Sequence[int]) -> list[int]:
        """Nodes of a derivative, which fails where the function does."""
        return checked(trace, self._checks, nodes)


def checked(trace: Any, checks: Sequence[Any], nodes: Sequence[int]) -> list[int]:
    """Nodes of a derivative, the first of which also needs what the function computed and that
    may fail.
    """
    if not checks or not nodes:
        return list(nodes)
    d = NodeMaker(trace.builder)
    d.line = user_line()
    fine: Ref | None = None
    for x in checks:
        value = Ref(x.node)
        same = d.eq(value, value)
        either = d.bit_or(same, d.logical_not(same))
        axes = tuple(range(len(d.type(either).shape)))
        one = d.make(reduce.all_, either, axes=axes) if axes else either
        fine = one if fine is None else d.bit_and(fine, one)
    assert fine is not None
    return [d.where(fine, Ref(nodes[0]), 0.0).node, *nodes[1:]]


def _between(
    nodes: Sequence[Node], inputs: Sequence[int], outputs: Sequence[int], name: str
) -> tuple[Graph, list[int]]:
    """The graph of outputs by inputs, and the nodes besides those that it reads."""
    depends = set(inputs)
    for number in range(min(inputs, default=0), len(nodes)):
        if not depends.isdisjoint(nodes[number].inputs):
            depends.add(number)
    needed, operands = set[int](), dict[int, None]()
    todo = list(outputs)
    while todo:
        number = todo.pop()
        if number in needed or number in inputs:
            continue
        if number in depends or nodes[number].primitive is source.const:
            needed.add(number)
            todo += nodes[number].inputs
        else:
            operands[number] = None
    builder, moved = GraphBuilder(name), dict[int, int]()
    for number in (*inputs, *operands):
        moved[number] = builder.param(nodes[number].tensor)
    builder.extend(nodes, sorted(needed), moved)
    return builder.finish([moved[i] for i in outputs]), list(operands)


__all__ = ["DifferentiatedFunction", "TracedFunction", "checked"]
