"""Program -> Program: kernels of many results are cut into several, for targets whose threads
have few registers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from graphjit.core.frozen import dataclass
from graphjit.ir.program import (
    Compute,
    GatherLoad,
    Kernel,
    Product,
    Program,
    Reduction,
    ScanValue,
    Step,
    Store,
    Value,
    arguments,
)

from .pipeline import ProgramPass

# Bytes of registers for the results of a point; a thread has 255 registers of 4 bytes for all
# that it holds.
RESULT_BYTES = 64


@dataclass(frozen=True)
class Divide(ProgramPass):
    """Cut kernels of many results into several, for threads that have few registers."""

    name: ClassVar[str] = "divide"

    def run(self, program: Program) -> Program:
        """The program with at most RESULT_BYTES of results of a point in a kernel."""
        return _divide(program)


def _divide(program: Program) -> Program:
    steps: list[Step] = []
    for step in program.steps:
        steps += _parts(step) if isinstance(step, Kernel) else [step]
    if len(steps) == len(program.steps):
        return program
    return replace(program, steps=tuple(steps))


def _parts(kernel: Kernel) -> list[Kernel]:
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
    return [_only(kernel, stores, f"{kernel.name}_{k}") for k, stores in enumerate(groups)]


def _only(kernel: Kernel, stores: list[Store], name: str) -> Kernel:
    """The kernel with these stores, and the values that they need."""
    todo = [s.arg for s in stores] + [c.arg for s in stores for c in s.choices]
    needed: set[int] = set()
    while todo:
        number = todo.pop()
        if number not in needed:
            needed.add(number)
            todo += arguments(kernel.values[number])
    place = {old: new for new, old in enumerate(sorted(needed))}
    values = tuple(_moved(kernel.values[n], place) for n in sorted(needed))
    moved = tuple(
        replace(s, arg=place[s.arg], choices=_choices(s.choices, place)) for s in stores
    )
    return replace(kernel, name=name, values=values, stores=moved)


def _choices(choices: Any, place: dict[int, int]) -> Any:
    return tuple(replace(choice, arg=place[choice.arg]) for choice in choices)


def _moved(value: Value, place: dict[int, int]) -> Value:
    """A value with its arguments' new numbers."""
    match value:
        case Compute():
            return replace(value, args=tuple(place[a] for a in value.args))
        case GatherLoad():
            return replace(value, choices=_choices(value.choices, place))
        case Reduction() | ScanValue():
            return replace(value, arg=place[value.arg])
        case Product():
            return replace(value, a=place[value.a], b=place[value.b])
    return value
