"""Program -> Program: an array that is written to in part is changed where it lies, if nothing
needs it as it was.

An assignment to some elements is a copy of the whole array, followed by a kernel that stores
these elements in the copy. What reads the array in between, or in that kernel, reads the copy
instead. If nothing reads the array after that, the copy is left out, and both are one buffer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from graphjit.core.dims import Dim
from graphjit.core.frozen import dataclass
from graphjit.ir.program import (
    Buffer,
    GatherLoad,
    Index,
    Kernel,
    Load,
    Program,
    Step,
    Store,
    Value,
    reads_and_writes,
    renumber_arguments,
    values_for_stores,
)
from graphjit.ir.verify_program import never_negative

from .pipeline import ProgramPass


@dataclass(frozen=True)
class UpdateInPlace(ProgramPass):
    """Leave out copies of arrays that are written to and not needed as they were."""

    name: ClassVar[str] = "update-in-place"

    def run(self, program: Program) -> Program:
        """The program with fewer copies."""
        buffers = program.buffers
        found = [k for k, step in enumerate(program.steps) if whole_copy(step, buffers)]
        if not found:
            return program
        updates = _Updates(program)
        for number in found:
            updates.leave_out(number)
        return updates.result()


def whole_copy(step: Step, buffers: Sequence[Buffer]) -> tuple[int, int] | None:
    """The buffers (from, to) of a kernel that only copies all of an array with axes."""
    if not isinstance(step, Kernel) or step.inner or len(step.stores) != 1:
        return None
    store, values = step.stores[0], step.values
    if len(values) != 1 or not isinstance(values[0], Load) or store.choices:
        return None
    load = values[0]
    if load.index != store.index or store.primitive is not None:
        return None
    type = buffers[load.buffer].type
    if type != buffers[store.buffer].type or not type.shape or load.buffer == store.buffer:
        return None
    if load.index != _in_order(step.dims) or _count(step.dims) != type.size:
        return None
    return load.buffer, store.buffer


def _count(dims: tuple[int, ...]) -> int:
    total = 1
    for n in dims:
        total = total * n
    return total


def _in_order(dims: tuple[int, ...]) -> Index:
    """The place of each point, where they lie one after another."""
    strides: list[int] = []
    stride = 1
    for n in reversed(dims):
        strides.insert(0, stride)
        stride = stride * n
    return Index(0, tuple(strides))


class _Updates:
    """The steps of a program, of which some copies are left out.

    rows: the steps that stand in the place of each
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._buffers = list(program.buffers)
        self._rows: list[list[Step]] = [[step] for step in program.steps]
        # Which steps read and write each buffer, in order.
        self._reads: list[list[int]] = [[] for _ in program.buffers]
        self._writes: list[list[int]] = [[] for _ in program.buffers]
        for number, step in enumerate(program.steps):
            for lists, buffers in zip(
                (self._reads, self._writes), reads_and_writes(step), strict=True
            ):
                for buffer in buffers:
                    lists[buffer].append(number)
        self._kept = {*program.inputs, *program.outputs, *program.updates}
        # By buffers: the one that has their elements now.
        self._merged: dict[int, int] = {}

    def _name(self, buffer: int) -> int:
        while buffer in self._merged:
            buffer = self._merged[buffer]
        return buffer

    def leave_out(self, number: int) -> None:
        """Leave out a step that copies an array that is written to, or have it be the last one
        to read that, if it can be.
        """
        if len(self._rows[number]) != 1:  # what it reads was read before by now, or it reads so
            return
        copied = whole_copy(self._rows[number][0], self._buffers)
        if copied is None:  # from itself to itself by now
            return
        source, target = map(self._name, copied)
        before, after = self._reads[target], self._writes[target]
        if source == target or (before and before[0] < number) or after[0] < number:
            return
        changed = next((k for k in after if k > number), None)
        if changed is None or self._writes[source][-1:] > [number]:
            return
        late = [k for k in self._reads[source] if k > changed]
        if changed in self._reads[source] and not self._reads_first(changed, source):
            late.insert(0, changed)
        parts = [self._split(k, source, changed) for k in late]
        if None in parts:
            return
        for k, part in zip(late, parts, strict=True):
            assert part is not None
            self._read_before(k, source, changed, *part)
        self._redirect(number, source, target)
        if source in self._kept or self._buffers[source].role != "temporary":
            return
        if self._buffers[target].role not in ("temporary", "output"):
            return
        self._rows[number] = []
        new, old = (target, source) if target in self._kept else (source, target)
        self._merged[old] = new
        for lists in (self._reads, self._writes):
            lists[new] = sorted({*lists[new], *lists[old]} - {number})

    def _reads_first(self, number: int, source: int) -> bool:
        (step,) = self._rows[number] if len(self._rows[number]) == 1 else (None,)
        if step is None:
            return False
        return _is_one_point(step) or _reads_others(_renamed(step, self._name), source)

    def _split(
        self, number: int, source: int, changed: int
    ) -> tuple[Kernel, Kernel, list[Buffer]] | None:
        """What a step reads of an array, as a kernel of its own, which can run before the array
        is changed, the rest of the step, and the buffers between them.
        """
        if len(self._rows[number]) != 1:
            return None
        step = _renamed(self._rows[number][0], self._name)
        parts = _read_apart(step, self._buffers, source)
        if parts is None:
            return None
        others = [n for n in reads_and_writes(parts[0])[0] if n != source]
        if any(self._writes[n] and self._writes[n][-1] >= changed for n in others):
            return None
        return parts

    def _read_before(
        self,
        number: int,
        source: int,
        changed: int,
        first: Kernel,
        rest: Kernel,
        buffers: list[Buffer],
    ) -> None:
        """Put what a step reads before the one that changes the array."""
        moved = {-1 - k: len(self._buffers) + k for k in range(len(buffers))}
        for buffer in buffers:
            self._buffers.append(buffer)
            self._reads.append([number])
            self._writes.append([changed])

        def name(n: int) -> int:
            return moved.get(n, n)

        self._rows[number] = [_renamed(rest, name)]
        self._rows[changed] = [_renamed(first, name), *self._rows[changed]]
        self._reads[source] = [k for k in self._reads[source] if k != number]
        for n in reads_and_writes(first)[0]:
            self._reads[n] = sorted({*self._reads[n], changed})

    def _redirect(self, number: int, source: int, target: int) -> None:
        """Have later steps that read the array read its copy."""
        moved = [k for k in self._reads[source] if k > number]
        for k in moved:
            self._rows[k] = [
                _reading(_renamed(step, self._name), source, target) for step in self._rows[k]
            ]
        self._reads[source] = [k for k in self._reads[source] if k <= number]
        self._reads[target] = sorted({*self._reads[target], *moved})

    def result(self) -> Program:
        """The program."""
        steps = tuple(_renamed(step, self._name) for row in self._rows for step in row)
        return replace(self._program, buffers=tuple(self._buffers), steps=steps)


def _is_one_point(step: Step) -> bool:
    """Whether a step reads all before it writes."""
    return isinstance(step, Kernel) and all(
        not isinstance(n, Dim) and n == 1 for n in step.dims
    )


def _reads_others(step: Step, source: int) -> bool:
    """Whether a kernel reads none of a buffer's elements whose places it writes in another one,
    but at the point that writes it.
    """
    if not isinstance(step, Kernel) or step.inner or any(s.choices for s in step.stores):
        return False
    reads = [v for v in step.values if isinstance(v, (Load, GatherLoad)) and v.buffer == source]
    return all(
        isinstance(load, Load) and _are_apart(load.index, store.index, step.dims)
        for load in reads
        for store in step.stores
    )


def _are_apart(first: Index, second: Index, dims: tuple[int, ...]) -> bool:
    """Whether two places over the same points are surely never one, or the same everywhere."""
    if first == second:
        return True
    if first.strides != second.strides:
        return False
    distance: Any = second.offset - first.offset
    strides = [s for s, n in zip(first.strides, dims, strict=True) if not _is(n, 1)]
    if not any(isinstance(n, Dim) for n in (distance, *strides)):
        step = math.gcd(*strides)
        if step and distance % step:
            return True
    reach: Any = 0
    for stride, extent in zip(first.strides, dims, strict=True):
        if not never_negative(stride):
            return False
        reach = reach + stride * (extent - 1)
    return never_negative(distance - reach - 1) or never_negative(-distance - reach - 1)


def _is(n: Any, number: int) -> bool:
    return not isinstance(n, Dim) and n == number


def _read_apart(
    step: Step, buffers: Sequence[Buffer], source: int
) -> tuple[Kernel, Kernel, list[Buffer]] | None:
    """A kernel that reads few elements of a buffer, as one that reads them, the rest, and the
    buffers -1, -2, … between them; None where that doesn't pay, or can't be.
    """
    if not isinstance(step, Kernel) or step.inner:
        return None
    size, whole = _count(step.dims), buffers[source].type
    if isinstance(size, Dim) or isinstance(whole.size, Dim):
        if len(step.dims) >= whole.ndim:
            return None
    elif 2 * size > whole.size:
        return None
    values = list(step.values)
    stores, made = [], []
    for number, value in enumerate(values):
        if isinstance(value, (Load, GatherLoad)) and value.buffer == source:
            made.append(Buffer(whole.with_shape(step.dims), "temporary"))
            stores.append(Store(-len(made), _in_order(step.dims), number))
            values[number] = Load(-len(made), _in_order(step.dims), value.dtype)
    first = _needed(step, step.values, tuple(stores), f"{step.name}_read")
    # of another name, too, for it may be taken apart once more
    return first, _needed(step, values, step.stores, f"{step.name}_rest"), made


def _needed(
    step: Kernel, values: Sequence[Value], stores: tuple[Store, ...], name: str
) -> Kernel:
    """A kernel with these stores, and those of the values that they need."""
    whole = replace(step, values=tuple(values), stores=stores, name=name)
    kept = sorted(values_for_stores(whole, stores))
    moved = {old: new for new, old in enumerate(kept)}
    return replace(
        whole,
        values=tuple(renumber_arguments(values[old], moved) for old in kept),
        stores=tuple(renumber_arguments(s, moved) for s in stores),
    )


def _reading(step: Step, before: int, after: int) -> Step:
    """A step that reads another buffer in place of one."""
    if isinstance(step, Kernel):
        values = tuple(
            replace(v, buffer=after)
            if isinstance(v, (Load, GatherLoad)) and v.buffer == before
            else v
            for v in step.values
        )
        return replace(step, values=values)
    inputs = tuple(after if n == before else n for n in step.inputs)
    return replace(step, inputs=inputs)


def _renamed(step: Step, name: Callable[[int], int]) -> Step:
    """A step with other numbers for its buffers."""
    if all(name(n) == n for buffers in reads_and_writes(step) for n in buffers):
        return step
    if isinstance(step, Kernel):
        values = tuple(
            replace(v, buffer=name(v.buffer)) if isinstance(v, (Load, GatherLoad)) else v
            for v in step.values
        )
        stores = tuple(replace(s, buffer=name(s.buffer)) for s in step.stores)
        return replace(step, values=values, stores=stores)
    inputs, outputs = tuple(map(name, step.inputs)), tuple(map(name, step.outputs))
    return replace(step, inputs=inputs, outputs=outputs)


__all__ = ["UpdateInPlace", "whole_copy"]
