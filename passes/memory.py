"""Program -> Program: temporary buffers that never live together share storage.

Source of the method (largest first, lowest free offset): Pisarchyk and Lee, "Efficient Memory
Management for Deep Neural Net Inference", 2020, arXiv:2001.03288.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphjit.program import Program, reads_and_writes

ALIGNMENT = 64  # a cache line, and the widest vector


@dataclass(frozen=True, slots=True)
class Lifetime:
    """The steps [first, last] during which a buffer of `size` bytes holds something needed."""

    size: int
    first: int
    last: int


def lifetimes(program: Program) -> dict[int, Lifetime]:
    """The lifetime of each temporary buffer."""
    found: dict[int, Lifetime] = {}
    for number, step in enumerate(program.steps):
        for buffer in (*reads_and_writes(step)[0], *reads_and_writes(step)[1]):
            if program.buffers[buffer].role != "temporary":
                continue
            size = program.buffers[buffer].type.nbytes
            start = found[buffer].first if buffer in found else number
            found[buffer] = Lifetime(size, start, number)
    return found


def plan_arena(wanted: Sequence[Lifetime]) -> tuple[list[int], int]:
    """An offset [bytes] for each buffer so that no two living ones overlap, and the total."""
    offsets = [0] * len(wanted)
    placed: list[tuple[int, int, Lifetime]] = []
    for number in sorted(range(len(wanted)), key=lambda i: -wanted[i].size):
        life = wanted[number]
        size = -(-life.size // ALIGNMENT) * ALIGNMENT
        offset = 0
        for start, end, other in sorted(placed, key=lambda item: item[0]):
            if other.last < life.first or life.last < other.first:
                continue
            if offset + size <= start:
                break
            offset = max(offset, end)
        offsets[number] = offset
        placed.append((offset, offset + size, life))
    return offsets, max((end for _, end, _ in placed), default=0)


def plan_memory(program: Program) -> Program:
    """The program with a place in the arena for every temporary."""
    alive = lifetimes(program)
    offsets, total = plan_arena(list(alive.values()))
    buffers = list(program.buffers)
    for (number, _), offset in zip(alive.items(), offsets, strict=True):
        buffers[number] = replace(buffers[number], offset_bytes=offset)
    for number, buffer in enumerate(buffers):
        if buffer.role == "temporary" and buffer.offset_bytes < 0:  # empty: never touched
            buffers[number] = replace(buffer, offset_bytes=0)
    return replace(program, buffers=tuple(buffers), arena_bytes=total)
