"""What may share memory: from which step to which one buffers live, and where a kernel may
write what it reads.
"""

from __future__ import annotations

from dataclasses import replace

from graphjit.ir.program import (
    GatherLoad,
    Index,
    Kernel,
    Load,
    Program,
    RegionCall,
    RowBlock,
    reads_and_writes,
)
from graphjit.ir.region_calls import results_in_place


def in_place(program: Program) -> dict[int, int]:
    """The temporaries that can take the memory of another, each with the first of its chain.

    A call of regions may change an operand where it lies. A kernel writes an element where it
    has just read one for the last time. Both buffers have the same size, and the same index at
    every point. No operand has strided lanes, since its tiles, which overlap, would be read
    after being written.
    """
    first, last = uses_of_buffers(program)
    found: dict[int, int] = {}
    around = row_block_of(program)
    for number, step in enumerate(program.steps):
        if isinstance(step, RegionCall):
            for made, changed in _changed_operands(program, step):
                if first[made] == last[changed] == number:
                    found[made] = found.get(changed, changed)
            continue
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


def _changed_operands(program: Program, step: RegionCall) -> list[tuple[int, int]]:
    """Temporaries (result, operand) of a call of regions that may be one."""
    pairs = [(step.outputs[k], step.inputs[j]) for k, j in results_in_place(step)]
    return [
        (made, changed)
        for made, changed in pairs
        if program.buffers[made].role == program.buffers[changed].role == "temporary"
        and step.inputs.count(changed) == 1
        and changed not in step.outputs
    ]


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


def row_block_of(program: Program) -> dict[int, RowBlock]:
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


def fits(program: Program, output: int, source: int) -> bool:
    """Whether a result may lie where an input does."""
    return program.buffers[source].type == program.buffers[output].type and (
        _never_live_together(program, output, source)
        or _may_write_in_place(program, output, source)
    )


def _never_live_together(program: Program, output: int, source: int) -> bool:
    """Whether all steps that write the result follow all steps that read the source."""
    first, last = len(program.steps), -1
    for number, step in enumerate(program.steps):
        # a row block's kernels run again for each part
        around = [b for b in program.row_blocks if b.first <= number < b.stop]
        start, stop = (around[0].first, around[0].stop - 1) if around else (number, number)
        read, written = reads_and_writes(step)
        if source in read:
            last = max(last, stop)
        if output in (*read, *written):
            first = min(first, start)
    return last < first


def _may_write_in_place(program: Program, output: int, source: int) -> bool:
    """Whether a kernel may write the result where it reads the source for the last time."""
    buffers = [
        replace(buffer, role="temporary" if number in (output, source) else "input")
        for number, buffer in enumerate(program.buffers)
    ]
    return in_place(replace(program, buffers=tuple(buffers))).get(output) == source


__all__ = ["fits", "in_place", "row_block_of", "uses_of_buffers"]
