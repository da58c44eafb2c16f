"""Memory of control flow that is machine code: what a loop carries, and what its calls keep."""

from __future__ import annotations

from dataclasses import replace

from graphjit.core.types import TensorType, uint8
from graphjit.ir.program import Buffer, Program, RegionCall
from graphjit.ir.region_calls import (
    carried_buffers,
    chooses,
    operands_of_regions,
    results_in_place,
    runs_natively,
    scratch_layout,
)

from .liveness import fits
from .update_in_place import whole_copy


def place_regions(program: Program) -> Program:
    """The program with a temporary for each call of planned regions, in which the call keeps
    its own values, and with regions that change in place what they can.
    """
    if not any(isinstance(step, RegionCall) for step in program.steps):
        return program
    buffers, steps = list(program.buffers), list(program.steps)
    for number, step in enumerate(steps):
        if not isinstance(step, RegionCall) or not runs_natively(step) or step.scratch >= 0:
            continue
        if carried_buffers(step):
            body = _in_place(step.programs[-1], carried_buffers(step))
            step = replace(step, programs=(*step.programs[:-1], body))
        elif chooses(step):
            step = _with_updates(step)
        size = scratch_layout(step).bytes
        buffers.append(Buffer(TensorType((size,), uint8), "temporary"))
        steps[number] = replace(step, scratch=len(buffers) - 1)
    return replace(program, buffers=tuple(buffers), steps=tuple(steps))


def _in_place(region: Program, pairs: list[tuple[int, int]]) -> Program:
    """A region that writes results where operands lie, of those pairs (result, operand) for
    which that can be.
    """
    donated = tuple(pair for pair in pairs if fits(region, *pair))
    return _without_copies(replace(region, donated=donated))


def _without_copies(region: Program) -> Program:
    """A region without the copies of what it changes in place."""
    dropped = {(operand, result) for result, operand in region.donated}
    if region.row_blocks or not dropped:
        return region
    steps = tuple(s for s in region.steps if whole_copy(s, region.buffers) not in dropped)
    return replace(region, steps=steps)


def _with_updates(step: RegionCall) -> RegionCall:
    """A choice whose regions change operands in place: those that one of them gives back as
    they are, or changes in part.
    """
    regions: list[Program] = list(step.programs)
    pairs: list[tuple[int, int]] = []
    for result in range(len(step.outputs)):
        for operand in range(operands_of_regions(step)):
            ends = [(r, r.outputs[result], r.inputs[operand]) for r in regions]
            free = all(operand != used for _, used in pairs)
            if free and any(_changes(*e) for e in ends) and all(fits(*e) for e in ends):
                pairs.append((result, operand))
                break
    if not pairs:
        return step
    changed = [
        _without_copies(
            replace(r, donated=tuple((r.outputs[k], r.inputs[j]) for k, j in pairs))
        )
        for r in regions
    ]
    return replace(step, programs=tuple(changed))


def _changes(region: Program, result: int, operand: int) -> bool:
    """Whether a region copies an operand to where a result is to be, or has a call do so."""
    for step in region.steps:
        if whole_copy(step, region.buffers) == (operand, result):
            return True
        if isinstance(step, RegionCall) and any(
            (step.outputs[k], step.inputs[j]) == (result, operand)
            for k, j in results_in_place(step)
        ):
            return True
    return False


__all__ = ["place_regions"]
