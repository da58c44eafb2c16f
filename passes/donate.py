"""Program -> Program: results that may be stored in donated arguments."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import ClassVar

from graphjit.core.frozen import dataclass
from graphjit.ir.program import Program, reads_and_writes

from .pipeline import ProgramPass
from .plan_memory import in_place


@dataclass(frozen=True)
class Donate(ProgramPass):
    """Let results take the memory of donated arguments of the same type.

    A result is first written after the input was read for the last time, or by the kernel that
    does so, element by element.

    inputs: the numbers of the donated inputs
    pairs: results and inputs, by their numbers, of which the first may only take the memory of
        the second
    """

    name: ClassVar[str] = "donate"
    inside: ClassVar[bool] = False  # a region's arguments belong to the program around it
    inputs: tuple[int, ...] = ()
    pairs: tuple[tuple[int, int], ...] = ()

    def run(self, program: Program) -> Program:
        """The program with pairs (a result's buffer, a donated input's buffer)."""
        return _donate(program, self.inputs, self.pairs)


def _donate(
    program: Program, donated: Collection[int], wanted: Collection[tuple[int, int]]
) -> Program:
    pairs: list[tuple[int, int]] = []
    for result, number in wanted:
        output, source = program.outputs[result], program.inputs[number]
        once = program.outputs.count(output) == 1 and output not in program.inputs
        if once and _fits(program, output, source):
            pairs.append((output, source))
    taken = {output for output, _ in pairs} | {program.outputs[r] for r, _ in wanted}
    free = [n for k, n in enumerate(program.inputs) if k in donated]
    for output in dict.fromkeys(program.outputs):
        for source in free if output not in taken else ():
            if _fits(program, output, source):
                pairs.append((output, source))
                free.remove(source)
                break
    return replace(program, donated=tuple(pairs)) if pairs else program


def _fits(program: Program, output: int, source: int) -> bool:
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


__all__ = ["Donate"]
