"""Program -> Program: temporaries that never live together share memory, and a kernel may write
where it reads for the last time.

Source of the method (largest first, lowest free offset): Pisarchyk and Lee, "Efficient Memory
Management for Deep Neural Net Inference", 2020, arXiv:2001.03288.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from graphjit.core.dims import Dim
from graphjit.core.frozen import dataclass
from graphjit.ir.program import ALIGNMENT, Program, RowBlock, reads_and_writes

from .liveness import in_place, row_block_of
from .pipeline import ProgramPass
from .region_memory import place_regions


@dataclass(frozen=True, slots=True)
class Lifetime:
    """The steps [first, last] during which a buffer of `size` bytes is in use."""

    size: int
    first: int
    last: int


def lifetimes(
    program: Program, shared: Mapping[int, int], block: RowBlock | None = None
) -> dict[int, Lifetime]:
    """The lifetime of each temporary; or of each local buffer of a row block, with its size per
    part.

    shared: the result of `in_place`

    To the rest of the program a row block is one step, since each of its parts reads and
    writes.
    """
    found: dict[int, Lifetime] = {}
    row_blocks = row_block_of(program) if block is None else {}
    first, stop = (0, len(program.steps)) if block is None else (block.first, block.stop)
    for number in range(first, stop):
        around = row_blocks.get(number)
        read, written = reads_and_writes(program.steps[number])
        for touched in (*read, *written):
            buffer = shared.get(touched, touched)
            if program.buffers[buffer].role != ("temporary" if block is None else "local"):
                continue
            size = program.buffers[buffer].type.nbytes
            if block is not None:
                size = size // block.rows * block.part
            elif around is not None:
                last = around.stop - 1
                before = found.get(buffer, Lifetime(size, around.first, last))
                found[buffer] = Lifetime(size, before.first, last)
                continue
            start = found[buffer].first if buffer in found else number
            found[buffer] = Lifetime(size, start, number)
    return found


def plan_arena(wanted: Sequence[Lifetime]) -> tuple[list[int], int]:
    """An offset [bytes] for each buffer so that no two live ones overlap, and the total."""
    if any(isinstance(life.size, Dim) for life in wanted):
        return _plan_symbolic_arena(wanted)
    offsets, ends = [0] * len(wanted), [0] * len(wanted)
    placed: dict[int, list[int]] = {}  # step -> the buffers that live then
    for number in sorted(range(len(wanted)), key=lambda i: -wanted[i].size):
        life = wanted[number]
        size = -(-life.size // ALIGNMENT) * ALIGNMENT
        steps = range(life.first, life.last + 1)
        offset = 0
        beside = {other for step in steps for other in placed.get(step, ())}
        for other in sorted(beside, key=offsets.__getitem__):
            if offset + size <= offsets[other]:
                break
            offset = max(offset, ends[other])
        offsets[number], ends[number] = offset, offset + size
        for step in steps:
            placed.setdefault(step, []).append(number)
    return offsets, max(ends, default=0)


def _plan_symbolic_arena(wanted: Sequence[Lifetime]) -> tuple[list[int], int]:
    """The same for symbolic sizes: buffers of surely equal sizes share a slot, one after
    another.
    """
    slots: list[tuple[int, int]] = []  # size, and the last step of its last buffer
    chosen = [0] * len(wanted)
    for number in sorted(range(len(wanted)), key=lambda i: wanted[i].first):
        life = wanted[number]
        free = (k for k, (n, last) in enumerate(slots) if n == life.size and last < life.first)
        slot = next(free, len(slots))
        slots[slot : slot + 1] = [(life.size, life.last)]
        chosen[number] = slot
    starts, total = [], 0
    for size, _ in slots:
        starts.append(total)
        total = total + (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
    return [starts[slot] for slot in chosen], total


@dataclass(frozen=True)
class PlanMemory(ProgramPass):
    """Give every temporary an offset in the arena. Temporaries that never live together share
    memory.
    """

    name: ClassVar[str] = "plan-memory"

    def run(self, program: Program) -> Program:
        """The program with offsets, and the arena's size."""
        return _plan_memory(program)


def _plan_memory(program: Program) -> Program:
    program = place_regions(program)
    shared = in_place(program)
    alive = lifetimes(program, shared)
    offsets, total = plan_arena(list(alive.values()))
    buffers = list(program.buffers)
    for (number, _), offset in zip(alive.items(), offsets, strict=True):
        buffers[number] = replace(buffers[number], offset_bytes=offset)
    for number, buffer in enumerate(buffers):
        if number in shared:
            continue
        if buffer.role == "temporary" and number not in alive:  # empty, so never touched
            buffers[number] = replace(buffer, offset_bytes=0)
    row_blocks = []
    for block in program.row_blocks:
        alive = lifetimes(program, shared, block)
        offsets, local_bytes = plan_arena(list(alive.values()))
        row_blocks.append(replace(block, bytes=local_bytes))
        for (number, _), offset in zip(alive.items(), offsets, strict=True):
            buffers[number] = replace(buffers[number], offset_bytes=offset)
    for number, start in shared.items():
        buffers[number] = replace(buffers[number], offset_bytes=buffers[start].offset_bytes)
    return replace(
        program, buffers=tuple(buffers), arena_bytes=total, row_blocks=tuple(row_blocks)
    )
