"""The node of a loop of Python's, made of the ways through a turn that were recorded."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.ops import PRIMITIVES, control
from graphjit.tensors.apply import TensorBase, wrap

from .carried_values import parts_of, split, zeros_of
from .open_loops import OpenLoop
from .regions import Region
from .turn_ways import joined


def append_loop(trace: Any, loop: OpenLoop) -> tuple[list[Any], Any]:
    """Append the node of a loop whose region is complete. Its results for what is carried, and
    the number of the exit, None where there is one only.
    """
    regions, steps = trace.regions, loop.visit.steps
    own = [origin for kind in loop.kinds for _, origin in parts_of(kind)]
    own += ["numpy" for _ in loop.arrays]
    goes_on, exit, *outputs = joined(trace, loop.ways, ["weak", "weak", *own])
    leaves = any(fork.left is not None for way in loop.ways for fork in way.forks)
    loop.leaves = leaves
    pairs = zip(loop.names, loop.kinds, strict=True)
    given = [part for name, kind in pairs for part in _given(trace, loop, name, kind)]
    given += [trace.symbol_of(node, "numpy") for _, node in loop.arrays]
    counted = steps is not None and isinstance(steps.items.count, int)
    if steps is not None and counted and not leaves and not loop.may_need_python:
        regions.closed.append((regions.starts.pop(), len(trace.builder.nodes)))
        nodes = tuple(p.node for p in (loop.index, *loop.params))
        results = trace.control(
            control.scan,
            [(Region(loop.start, nodes, None), outputs)],
            given,
            own,
            start=loop.visit.position,
            count=steps.items.count - loop.visit.position,
            carried=len(given),
            sliced=0,
            reverse=False,
        )
        return results, None
    extra = [loop.goes_on]
    made = [goes_on]
    first: list[Any] = []
    condition = loop.goes_on
    if steps is not None:
        extra.append(loop.index)
        made.append(computed(trace, "add", loop.index, 1))
        first.append(wrap(np.array(loop.visit.position, np.int64)))
        more = computed(trace, "lt", loop.index, steps.items.count)
        condition = _both(trace, condition, loop.after_params, more)
    if loop.exits:
        extra.append(loop.exit)
        made.append(exit)
        first.append(wrap(np.zeros((), np.int64)))
    if loop.after:
        node, _, stays = loop.after[-1]
        last = goes_on_by(trace, node, stays)
        for k in range(len(loop.after) - 2, -1, -1):
            node, start, stays = loop.after[k]
            last = _both(trace, goes_on_by(trace, node, stays), start, last)
        condition = _both(trace, condition, loop.after_params, last)
    regions.closed.append((regions.starts.pop(), len(trace.builder.nodes)))
    if loop.visit.predicate < 0:
        first.insert(0, wrap(np.ones((), np.bool_)))
    else:
        first.insert(0, goes_on_by(trace, loop.visit.predicate, loop.test.stays))
    params = tuple(p.node for p in (*extra, *loop.params))
    region = Region(loop.start, params, None)
    results = trace.control(
        control.while_loop,
        [(region, [condition]), (region, [*made, *outputs])],
        [*first, *given],
        [*("weak" for _ in extra), *own],
        carried=len(params),
    )
    loop.node = trace.builder.nodes[results[0].node].inputs[0]
    number = results[len(extra) - 1] if loop.exits else None
    return results[len(extra) :], number


def _given(trace: Any, loop: OpenLoop, name: str, kind: Any) -> list[Any]:
    """The arrays for what a variable is before the loop; zeros where it is none."""
    if name in loop.visit.values:
        return split(trace, loop.first(name), kind)
    return zeros_of(kind)


def goes_on_by(trace: Any, node: int, stays: bool) -> Any:
    """Whether a loop goes on, by the predicate of a test."""
    if not stays:
        node = trace.builder.add(PRIMITIVES["logical_not"], (node,))
    return trace.symbol_of(node, "weak")


def _both(trace: Any, first: Any, start: int, second: Any) -> Any:
    """Whether both hold; the second, whose nodes begin at `start`, is computed only if the
    first does.
    """
    falsehood = trace.symbol_of(trace.builder.const(np.zeros((), np.bool_)), "weak")
    parts = [
        (Region(start, (), None), [second]),
        (Region(len(trace.builder.nodes), (), None), [falsehood]),
    ]
    return trace.control(control.cond, parts, [first], ["weak"])[0]


def computed(trace: Any, name: str, *operands: Any) -> Any:
    """What a primitive gives for integers of which some are traced."""
    nodes = [
        trace.node_of(x)
        if isinstance(x, TensorBase)
        else trace.builder.const(np.array(x, np.int64))
        for x in operands
    ]
    return trace.symbol_of(trace.builder.add(PRIMITIVES[name], nodes), "weak")


__all__ = ["append_loop", "computed", "goes_on_by"]
