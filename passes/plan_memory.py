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
from graphjit.ir.program import (
    GatherLoad,
    Index,
    Kernel,
    Load,
    Program,
    RowBlock,
    reads_and_writes,
)

from .pipeline import ProgramPass

ALIGNMENT = 64  # a cache line, and the widest vector


@dataclass(frozen=True, slots=True)
class Lifetime:
    """The steps [first, last] during which a buffer of `size` bytes is in use."""

    size: int
    first: int
    last: int


def in_place(program: Program) -> dict[int, int]:
    """The temporaries that can take the memory of another, each with the first of its chain.

    A kernel writes an element where it has just read one for the last time. Both buffers have
    the same size, and the same index at every point. No operand has strided lanes, since its
    tiles, which overlap, would be read after being written.
    """
    first, last = uses_of_buffers(program)
    found: dict[int, int] = {}
    around = _row_block_of(program)
    for number, step in enumerate(program.steps):
        if not isinstance(step, Kernel) or (step.inner and len(step.stores) > 1):
            continue
        # a row block's kernels run again for each part: only its local buffers end inside it
        in_row_block = number in around
        read: dict[int, set[Index | None]] = {}
        for value in step.values:
            match value:
                case Load():
                    read.setdefault(value.buffer, set()).add(value.index)
                case GatherLoad():
                    read.setdefault(value.buffer, set()).add(None)
        if any(
            _reads_strided_lanes(step, i) for indices in read.values() for i in indices if i
        ):
            continue
        taken: set[int] = set()
        for store in step.stores:
            target = program.buffers[store.buffer]
            if target.role not in ("temporary", "local") or store.choices:
                continue
            if in_row_block and target.role != "local":
                continue
            if first[store.buffer] != number or _count_stores(step, store.buffer) > 1:
                continue
            for buffer, indices in read.items():
                source = program.buffers[buffer]
                same = source.role == target.role and source.type.nbytes == target.type.nbytes
                alike = source.type.dtype.size == target.type.dtype.size
                ends = last[buffer] == number and buffer not in taken
                if same and alike and ends and indices == {store.index}:
                    taken.add(buffer)
                    found[store.buffer] = found.get(buffer, buffer)
                    break
    return found


def uses_of_buffers(program: Program) -> tuple[dict[int, int], dict[int, int]]:
    """The first and the last step that touch each buffer."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for number, step in enumerate(program.steps):
        for buffers in reads_and_writes(step):
            for buffer in buffers:
                first.setdefault(buffer, number)
                last[buffer] = number
    return first, last


def _row_block_of(program: Program) -> dict[int, RowBlock]:
    """The row block of each step that is in one."""
    return {
        position: block
        for block in program.row_blocks
        for position in range(block.first, block.stop)
    }


def _count_stores(kernel: Kernel, buffer: int) -> int:
    return sum(store.buffer == buffer for store in kernel.stores)


def _reads_strided_lanes(kernel: Kernel, index: Index) -> bool:
    outer = len(kernel.outer_dims)
    lane = len(kernel.dims) - 1 if kernel.lanes == "inner" else outer - 1
    return lane >= 0 and index.strides[lane] not in (0, 1)


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
    row_blocks = _row_block_of(program) if block is None else {}
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
