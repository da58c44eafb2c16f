"""What a call of regions needs to run as machine code: where its own memory lies, and which
results its regions give.
"""

from __future__ import annotations

from typing import Any

from graphjit.core.dims import Dim
from graphjit.core.frozen import dataclass
from graphjit.core.types import TensorType, bool_
from graphjit.ops.primitive import Choice, ConditionalLoop, CountedLoop

from .program import ALIGNMENT, Kernel, Program, RegionCall


@dataclass(frozen=True, slots=True)
class ScratchLayout:
    """Where a call of regions keeps what it needs besides its operands and results [bytes].

    spare: for each carried value that isn't changed in place, by its number, a second place
    index: the number of the turn
    predicate: what the region of a condition gave
    arena: the temporaries of the region that runs
    bytes: the whole
    """

    spare: tuple[tuple[int, int], ...]
    index: int
    predicate: int
    arena: int
    bytes: int


def runs_natively(step: RegionCall) -> bool:
    """Whether all that a call runs is machine code."""
    return all(
        isinstance(inner, Kernel) or (isinstance(inner, RegionCall) and runs_natively(inner))
        for program in step.programs
        for inner in program.steps
    )


def carried_buffers(step: RegionCall) -> list[tuple[int, int]]:
    """For each value that a loop carries the body's buffers of the new one and of that before;
    none for other calls.
    """
    body: Program = step.programs[-1]
    first = 1 if isinstance(step.primitive.kind, CountedLoop) else 0  # past the index
    count = dict(step.attrs).get("carried", 0)
    return [(body.outputs[k], body.inputs[first + k]) for k in range(count)]


def carried_in_place(step: RegionCall) -> frozenset[int]:
    """The carried values of a loop that each turn changes where they are."""
    pairs = set(step.programs[-1].donated)
    return frozenset(k for k, pair in enumerate(carried_buffers(step)) if pair in pairs)


def chooses(step: RegionCall) -> bool:
    """Whether a call runs one of its regions."""
    return isinstance(step.primitive.kind, Choice)


def operands_of_regions(step: RegionCall) -> int:
    """How many operands of a choice its regions have for parameters."""
    return len(step.inputs) - 1


def results_in_place(step: RegionCall) -> list[tuple[int, int]]:
    """Pairs (result, operand) of a call: where the two lie in one place, the result is made by
    changing the operand; else by changing a copy of it.
    """
    if carried_buffers(step):
        return [(k, k) for k in sorted(carried_in_place(step))]
    if not chooses(step):
        return []
    region: Program = step.programs[0]
    return [
        (region.outputs.index(result), 1 + region.inputs.index(operand))
        for result, operand in region.donated
    ]


def scratch_layout(step: RegionCall) -> ScratchLayout:
    """Where a call of planned programs keeps its own values."""
    position: Any = 0

    def place(size: Any) -> Any:
        nonlocal position
        start = position
        position = start + (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        return start

    spare = []
    inside = carried_in_place(step)
    for k, (new, _) in enumerate(carried_buffers(step)):
        if k not in inside:
            spare.append((k, place(step.programs[-1].buffers[new].type.nbytes)))
    index, predicate = place(8), place(1)
    sizes = [program.arena_bytes for program in step.programs]
    known = max((n for n in sizes if not isinstance(n, Dim)), default=0)
    arena = place(sum((n for n in sizes if isinstance(n, Dim)), known))
    return ScratchLayout(tuple(spare), index, predicate, arena, position)


def wanted_results(step: RegionCall, types: list[TensorType]) -> list[list[TensorType]]:
    """The types that each region of a call gives. types: those of the call's results."""
    match step.primitive.kind:
        case ConditionalLoop():
            return [[TensorType((), bool_)], types]
        case CountedLoop():
            carried = dict(step.attrs)["carried"]
            rows = [TensorType(t.shape[1:], t.dtype) for t in types[carried:]]
            return [[*types[:carried], *rows]]
    return [types] * len(step.programs)


__all__ = [
    "ScratchLayout", "carried_buffers", "carried_in_place", "chooses", "operands_of_regions",
    "results_in_place", "runs_natively", "scratch_layout", "wanted_results",
]  # fmt: skip
