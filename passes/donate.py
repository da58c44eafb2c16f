"""Program -> Program: results that may be stored in donated arguments."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import ClassVar

from graphjit.core.frozen import dataclass
from graphjit.ir.program import Program

from .liveness import fits
from .pipeline import ProgramPass


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
        if once and fits(program, output, source):
            pairs.append((output, source))
    taken = {output for output, _ in pairs} | {program.outputs[r] for r, _ in wanted}
    free = [n for k, n in enumerate(program.inputs) if k in donated]
    for output in dict.fromkeys(program.outputs):
        for source in free if output not in taken else ():
            if fits(program, output, source):
                pairs.append((output, source))
                free.remove(source)
                break
    return replace(program, donated=tuple(pairs)) if pairs else program


__all__ = ["Donate"]
