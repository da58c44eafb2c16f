"""Program -> Program: kernels of many results are cut into several, for targets whose threads
have few registers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from graphjit.core.frozen import dataclass
from graphjit.ir.program import (
    Kernel,
    Program,
    Step,
    Store,
    renumber_arguments,
    values_for_stores,
)

from .pipeline import ProgramPass

# Bytes of registers for the results of a point. A GPU's thread has 255 registers of 4 bytes for
# all of its values.
RESULT_BYTES = 64


@dataclass(frozen=True)
class Divide(ProgramPass):
    """Cut kernels of many results into several."""

    name: ClassVar[str] = "divide"

    def run(self, program: Program) -> Program:
        """The program with at most RESULT_BYTES of results per point in each kernel."""
        return _divide(program)


def _divide(program: Program) -> Program:
    steps: list[Step] = []
    for step in program.steps:
        steps += _split_kernel(step) if isinstance(step, Kernel) else [step]
    if len(steps) == len(program.steps):
        return program
    return replace(program, steps=tuple(steps))


def _split_kernel(kernel: Kernel) -> list[Kernel]:
    """The kernels that a kernel is cut into."""
    groups: list[list[Store]] = [[]]
    room = RESULT_BYTES
    for store in kernel.stores:
        size = max(4, kernel.values[store.arg].dtype.size)
        if groups[-1] and size > room:
            groups.append([])
            room = RESULT_BYTES
        groups[-1].append(store)
        room -= size
    if len(groups) == 1:
        return [kernel]
    return [
        _with_stores(kernel, stores, f"{kernel.name}_{k}") for k, stores in enumerate(groups)
    ]


def _with_stores(kernel: Kernel, stores: list[Store], name: str) -> Kernel:
    """The kernel with these stores only, and the values that they need."""
    needed = sorted(values_for_stores(kernel, stores))
    number_of = {old: new for new, old in enumerate(needed)}
    values = tuple(renumber_arguments(kernel.values[n], number_of) for n in needed)
    kept_stores = tuple(renumber_arguments(store, number_of) for store in stores)
    return replace(kernel, name=name, values=values, stores=kept_stores)
