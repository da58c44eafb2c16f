"""Which values are spilled to the stack between stages, and which of them share a slot.

A value that a later stage needs again is either computed again or spilled: spilled if it costs
enough and there is room on the stack. Results of scans are always spilled.
"""

from __future__ import annotations

from graphjit.core.dims import Undecided, is_symbolic
from graphjit.core.frozen import dataclass
from graphjit.ir import cost_model
from graphjit.ir.program import Compute, Kernel, Reduction, ScanValue, arguments

from .loops import register_bytes
from .stages import StageAnalysis


@dataclass(frozen=True, slots=True)
class SpillPlan:
    """The values to spill.

    first_stage: for each the stage that computes it
    slot_of: for each the value whose slot it takes, perhaps its own
    """

    first_stage: dict[int, int]
    slot_of: dict[int, int]


NO_SPILLS = SpillPlan({}, {})


def plan_spills(analysis: StageAnalysis, points: int) -> SpillPlan:
    """The values to spill. points: the elements of a slot.

    Raises Undecided where there is a scan of unknown length.
    """
    if analysis.stages == 1:
        return NO_SPILLS
    first: dict[int, int] = {}
    later: set[int] = set()
    for stage in range(analysis.stages):
        for number in sorted(analysis.stage_values(stage)[0]):
            if number in first:
                later.add(number)
            else:
                first[number] = stage
    sizes: dict[int, int] = {}
    for number in sorted(later):
        value = analysis.kernel.values[number]
        size = points * max(
            1, value.dtype.size if value.dtype.kind != "f" else register_bytes(value.dtype)
        )
        if (
            isinstance(value, ScanValue)
            and size > cost_model.SPILL_BYTES
            and is_symbolic(analysis.kernel.inner_dims)
        ):
            raise Undecided(f"the room for a scan along {analysis.kernel.inner_dims}")
        if isinstance(value, ScanValue) or (
            expression_cost(analysis.kernel, number) >= cost_model.SPILL_COST
            and size <= cost_model.SPILL_BYTES
        ):
            sizes[number] = size
    # values that find no slot may change when others are reloaded for the last time
    for share in (True, True, True, False):
        spilled = {number: first[number] for number in sizes}
        last = _last_reloads(analysis, spilled)
        slot_of = _assign_slots(analysis.kernel, sizes, spilled, last, share)
        if len(slot_of) == len(sizes):
            break
        sizes = {number: size for number, size in sizes.items() if number in slot_of}
    return SpillPlan({number: first[number] for number in slot_of}, slot_of)


def _last_reloads(analysis: StageAnalysis, spilled: dict[int, int]) -> dict[int, int]:
    """The last stage that reloads each of these values, for those that one does."""
    last: dict[int, int] = {}
    for stage in range(analysis.stages):
        needed, combined, stores = analysis.stage_values(stage)
        reloaded = {n for n in needed if n in spilled and spilled[n] < stage}
        if reloaded:
            wanted = analysis.needed_with_reloads(reloaded, combined, stores)
            last.update(dict.fromkeys(reloaded & wanted, stage))
    return last


def _assign_slots(
    kernel: Kernel,
    sizes: dict[int, int],
    first: dict[int, int],
    last: dict[int, int],
    share: bool,
) -> dict[int, int]:
    """The slot of each value that gets one.

    share: whether a value may take the slot of one that isn't reloaded any more, or is reloaded
    for the last time just before, point by point
    """
    left = cost_model.SPILL_BYTES
    slot_of: dict[int, int] = {}
    holders: dict[int, int] = {}  # slot -> the value that took it last
    for number in sorted(sizes, key=lambda n: (first[n], n)):
        value = kernel.values[number]
        scan = isinstance(value, ScanValue)
        if number not in last and not scan:
            continue
        found = number
        for slot, holder in holders.items() if share and not scan else ():
            free = (last[holder], holder) < (first[number], number)
            if free and kernel.values[slot].dtype is value.dtype:
                found = slot
                break
        if found == number:
            if sizes[number] > left and not scan:
                continue
            left -= sizes[number]
        slot_of[number] = found
        if not scan:
            holders[found] = number
    return slot_of


def expression_cost(kernel: Kernel, number: int) -> int:
    """Rough cycles to compute a value from loads, which are free, and reductions."""
    seen: set[int] = set()
    total, todo = 0, [number]
    while todo:
        current = todo.pop()
        if current in seen:
            continue
        seen.add(current)
        value = kernel.values[current]
        if isinstance(value, Compute):
            total += value.primitive.cost
        if not isinstance(value, (Reduction, ScanValue)):
            todo += arguments(value)
    return total


__all__ = ["NO_SPILLS", "SpillPlan", "expression_cost", "plan_spills"]
