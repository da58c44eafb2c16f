"""Memory of control flow that is machine code: what a loop carries, and what its calls keep."""

from __future__ import annotations

from dataclasses import replace

from graphjit.core.types import TensorType, uint8
from graphjit.ir.program import Buffer, Program, RegionCall
from graphjit.ir.region_calls import carried_buffers, runs_natively, scratch_layout

from .liveness import fits


def place_regions(program: Program) -> Program:
    """The program with a temporary for each call of planned regions, in which the call keeps
    its own values, and with bodies of loops that change in place what they can.
    """
    if not any(isinstance(step, RegionCall) for step in program.steps):
        return program
    buffers, steps = list(program.buffers), list(program.steps)
    for number, step in enumerate(steps):
        if not isinstance(step, RegionCall) or not runs_natively(step) or step.scratch >= 0:
            continue
        if carried_buffers(step):
            step = replace(step, programs=(*step.programs[:-1], _with_carries_in_place(step)))
        size = scratch_layout(step).bytes
        buffers.append(Buffer(TensorType((size,), uint8), "temporary"))
        steps[number] = replace(step, scratch=len(buffers) - 1)
    return replace(program, buffers=tuple(buffers), steps=tuple(steps))


def _with_carries_in_place(step: RegionCall) -> Program:
    """The body of a loop with pairs (new value, value before) that may lie in one place."""
    body: Program = step.programs[-1]
    pairs = tuple(pair for pair in carried_buffers(step) if fits(body, *pair))
    return replace(body, donated=pairs)


__all__ = ["place_regions"]
