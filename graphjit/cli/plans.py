"""What a program does in which step, what that costs, and what was not fused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphjit.ir.cost_model import floor_ns, step_cost
from graphjit.ir.graph import Graph
from graphjit.ir.program import Kernel, Program
from graphjit.ops import source
from graphjit.ops.primitive import Pointwise, Reduce, Scan
from graphjit.passes import Pass, optimized, program_of


@dataclass(frozen=True, slots=True)
class Plan:
    """A program, the graph it was made of, and the nodes that each step computes.

    A node in several steps is computed again in each.
    """

    graph: Graph
    program: Program
    nodes: tuple[tuple[int, ...], ...]

    def kernel_of(self) -> dict[int, int]:
        """The first step that computes each node."""
        steps = reversed(list(enumerate(self.nodes)))
        return {node: number for number, nodes in steps for node in nodes}

    def repeated(self) -> dict[int, tuple[int, ...]]:
        """The nodes whose arithmetic is done in several steps, and those steps."""
        found: dict[int, list[int]] = {}
        for number, nodes in enumerate(self.nodes):
            for node in nodes:
                if isinstance(self.graph.nodes[node].primitive.kind, (Pointwise, Reduce, Scan)):
                    found.setdefault(node, []).append(number)
        return {node: tuple(steps) for node, steps in found.items() if len(steps) > 1}


def plan(graph: Graph, passes: Sequence[Pass] = (), fast_math: bool = False) -> Plan:
    """A traced graph through all passes, fusion and the memory plan."""
    graph = optimized(graph, passes)
    return plan_of(graph, program_of(graph, fast_math=fast_math))


def plan_of(graph: Graph, program: Program) -> Plan:
    """The plan of a program whose optimised graph is known.

    Steps name the nodes they compute; those that are no work are added here.
    """
    found = [set(step.nodes) for step in program.steps]
    for index, node in enumerate(graph.nodes):  # the several results of a library call
        if node.primitive is source.item:
            for nodes in found:
                if node.inputs[0] in nodes:
                    nodes.add(index)
    return Plan(graph, program, tuple(tuple(sorted(nodes)) for nodes in found))


@dataclass(frozen=True, slots=True)
class Cost:
    """A step in numbers: its name, least bytes moved, flops, the least time that this machine
    can take for it, and the nodes fused into it.

    library: whether it is a call between native code.
    """

    name: str
    moved_bytes: int
    flops: int
    floor_ns: float
    nodes: tuple[int, ...]
    library: bool


def costs(found: Plan) -> list[Cost]:
    """What each step of a plan costs."""
    rows = []
    for step, nodes in zip(found.program.steps, found.nodes, strict=True):
        cost = step_cost(step, found.program.buffers)
        moved, flops, library = cost["bytes"], cost["flops"], not isinstance(step, Kernel)
        floor = floor_ns(step, found.program.buffers)
        rows.append(Cost(_step_name(step), int(moved), int(flops), floor, nodes, library))
    return rows


def _step_name(step: Any) -> str:
    if isinstance(step, Kernel):
        return f"kernel {step.name}"
    return f"call {step.primitive.name}"


def node_name(graph: Graph, node: int) -> str:
    """A node as prose has it: `%3 exp (model.py:12)`."""
    found = graph.nodes[node]
    where = f" ({found.source})" if found.source is not None else ""
    return f"%{node} {found.primitive.name}{where}"


def decisions(found: Plan) -> list[str]:
    """What the planner did not fuse and why, with the nodes' ops and lines."""
    count = len(found.graph.nodes)

    def named(match: re.Match[str]) -> str:
        node = int(match[1])
        return node_name(found.graph, node) if node < count else match[0]

    said = dict.fromkeys(found.program.decisions)
    return [re.sub(r"%(\d+)", named, decision) for decision in said]


def native_calls(program: Program) -> int:
    """How many times a call enters native code: library calls split the steps."""
    calls, inside = 0, False
    for step in program.steps:
        native = isinstance(step, Kernel)
        calls += native and not inside
        inside = native
    return calls
