"""Whether a Program stays inside its buffers: for known sizes at once, for symbolic ones at
each call.

An `Access` is what one load or store of a kernel can touch. What isn't inside its buffer by
the signs of its terms alone is checked with the sizes at hand, by machine code
(`codegen/cpu/prepare.py`) and by Python (`check_access`); neither trusts what was concluded
about sizes while the program was made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from graphjit.core.dims import Dim
from graphjit.core.errors import InternalError, SourceLine, at_user_line
from graphjit.core.extents import evaluate
from graphjit.core.frozen import dataclass

from .program import (
    UNPLANNED,
    GatherLoad,
    Kernel,
    Load,
    Program,
    RegionCall,
    Store,
    reads_and_writes,
)
from .region_calls import wanted_results


@dataclass(frozen=True, slots=True)
class Access:
    """The elements of a buffer that one load or store of a kernel touches.

    kernel: its name. buffer: the buffer's number. size: how many elements it has.
    offset, axes: the elements are offset + the sum of stride * i over the pairs
    (stride, extent) in `axes`, each i in range(extent); none if an extent is 0.
    source: the user's line, where it is known.
    """

    kernel: str
    buffer: int
    size: int
    offset: int
    axes: tuple[tuple[int, int], ...]
    source: SourceLine | None

    @property
    def dims(self) -> list[Dim]:
        """The symbolic numbers in it."""
        numbers = [self.size, self.offset, *(n for axis in self.axes for n in axis)]
        return [n for n in numbers if isinstance(n, Dim)]


def accesses(program: Program) -> Iterator[Access]:
    """What the kernels of a program touch: of accesses that stay inside for the same sizes the
    first, which is the one that fails first.
    """
    known: set[tuple[Any, ...]] = set()
    for step in program.steps:
        if isinstance(step, RegionCall) and step.scratch >= 0:
            for inner in step.programs:
                yield from accesses(inner)
        if not isinstance(step, Kernel):
            continue
        outer = len(step.outer_dims)
        line = next((store.source for store in step.stores if store.source), None)
        for value in (*step.values, *step.stores):
            if not isinstance(value, (Load, GatherLoad, Store)):
                continue
            pairs = zip(value.index.strides, step.dims, strict=True)
            # a value that no inner dim changes is loaded though an inner dim be empty
            axes = [(s, n) for k, (s, n) in enumerate(pairs) if k < outer or not _is(s, 0)]
            if not isinstance(value, Load):
                axes += [(c.stride, c.extent) for c in value.choices]
            size = program.buffers[value.buffer].type.size
            key = size, value.index.offset, *axes
            if key not in known:
                known.add(key)
                source = getattr(value, "source", None) or line
                offset = value.index.offset
                yield Access(step.name, value.buffer, size, offset, tuple(axes), source)


def _is(n: int, number: int) -> bool:
    return not isinstance(n, Dim) and n == number


def verify_program(program: Program, lifetimes: bool = False, inside: bool = False) -> None:
    """InternalError where a buffer is read before it is written, a temporary lies outside the
    arena, an access with known sizes leaves its buffer or has another dtype than it.

    lifetimes: also where two temporaries that live at the same time share bytes of the arena.
    inside: whether this is the program of a region
    """
    _check_dtypes(program)
    if lifetimes:
        _check_lifetimes(program)
    for step in program.steps:
        if isinstance(step, RegionCall):
            _check_call(step, program)
            for inner in step.programs:
                verify_program(inner, lifetimes, inside=True)
    written = {n for n, b in enumerate(program.buffers) if b.role in ("input", "constant")}
    if inside:  # an operand that is changed in place is a result from the start
        written |= {result for result, _ in program.donated}
    for step in program.steps:
        read, stored = reads_and_writes(step)
        for number in read:
            # what is scattered into is written by the kernel that reads it, too
            known = number in written or number in stored
            # no kernel writes what has no elements, as guards on sizes may say
            if not known and program.buffers[number].type.size != 0:
                raise InternalError(f"b{number} is read before it is written\n{program}")
        written.update(stored)
    for number, buffer in enumerate(program.buffers):
        if (
            buffer.role == "temporary"
            and number in written
            and buffer.offset_bytes != UNPLANNED
            and not isinstance(program.arena_bytes, Dim)
        ):
            end = buffer.offset_bytes + buffer.type.nbytes
            if buffer.offset_bytes < 0 or end > program.arena_bytes:
                raise InternalError(f"b{number} lies outside the arena\n{program}")
    for access in accesses(program):
        if not access.dims and (problem := _problem(access, {})):
            raise InternalError(f"{problem}\n{program}")


def _check_dtypes(program: Program) -> None:
    for step in program.steps:
        if not isinstance(step, Kernel):
            continue
        loads = [v for v in step.values if isinstance(v, (Load, GatherLoad))]
        found = [(v.buffer, v.dtype) for v in loads]
        found += [(s.buffer, step.values[s.arg].dtype) for s in step.stores]
        for number, dtype in found:
            if program.buffers[number].type.dtype is not dtype:
                raise InternalError(
                    f"kernel {step.name} takes b{number} for {dtype.name}\n{program}"
                )


def _check_call(step: RegionCall, program: Program) -> None:
    """InternalError where a region gives other types than its call."""
    results = wanted_results(step, [program.buffers[n].type for n in step.outputs])
    for inner, wanted in zip(step.programs, results, strict=True):
        found = [inner.buffers[n].type for n in inner.outputs]
        if found != wanted or inner.updates:
            raise InternalError(f"a region of {step.primitive.name} gives {found}\n{program}")


def _check_lifetimes(program: Program) -> None:
    """InternalError where living temporaries overlap in the arena, or in the room of a row
    block; sizes that aren't known are left out.
    """
    around = {n: block for block in program.row_blocks for n in range(block.first, block.stop)}
    lives: dict[tuple[Any, int], tuple[int, int]] = {}  # room and buffer -> first, last step
    for number, step in enumerate(program.steps):
        block = around.get(number)
        for buffer in {n for buffers in reads_and_writes(step) for n in buffers}:
            local = program.buffers[buffer].role == "local"
            if program.buffers[buffer].role != "temporary" and not local:
                continue
            # to the rest of the program a row block is one step
            first, last = (
                (number, number) if block is None or local else (block.first, block.stop - 1)
            )
            key = block if local else None, buffer
            before = lives.get(key, (first, last))
            lives[key] = min(before[0], first), max(before[1], last)
    rooms: dict[Any, list[tuple[int, int, int]]] = {}  # start, end and number of each buffer
    for room, number in lives:
        size: Any = program.buffers[number].type.nbytes
        start = program.buffers[number].offset_bytes
        if room is not None:
            size = size // room.rows * room.part
        if isinstance(size, Dim) or isinstance(start, Dim) or not size:
            continue
        if start != UNPLANNED:
            rooms.setdefault(room, []).append((start, start + size, number))
    for room, spans in rooms.items():
        spans.sort()
        for k, (start, end, number) in enumerate(spans):
            for beside in spans[k + 1 :]:
                if beside[0] >= end:
                    break
                one, other = lives[room, number], lives[room, beside[2]]
                apart = one[1] < other[0] or other[1] < one[0]
                # a kernel may write an element where it reads one for the last time
                ends_there = beside[:2] == (start, end) and (
                    one[1] == other[0] or other[1] == one[0]
                )
                if not apart and not ends_there:
                    raise InternalError(
                        f"b{number} and b{beside[2]} share bytes while both live\n{program}"
                    )


def open_accesses(program: Program) -> tuple[Access, ...]:
    """The accesses to be checked at each call: symbolic ones that aren't inside their buffers
    whatever the sizes, by the signs of their polynomials.
    """
    return tuple(a for a in accesses(program) if a.dims and not _surely_inside(a))


def _surely_inside(access: Access) -> bool:
    low: Any = access.offset
    high: Any = access.offset
    for stride, extent in access.axes:
        if not never_negative(extent):
            return False
        if _is(stride, 0):
            continue
        if never_negative(stride):
            high = high + stride * (extent - 1)
        elif never_negative(-stride):
            low = low + stride * (extent - 1)
        else:
            return False
    return never_negative(low) and never_negative(access.size - 1 - high)


def never_negative(n: int) -> bool:
    """Whether a number has no negative part, by the signs of its terms alone."""
    if not isinstance(n, Dim):
        return n >= 0
    for monomial, factor in n.terms:
        if factor < 0:
            return False
        for name in monomial:
            floor = n.sizes.floor_of(name)
            if floor is not None and not never_negative(floor[0]):
                return False
    return True


def check_access(access: Access, sizes: Mapping[str, int]) -> None:
    """InternalError with the user's line where an access leaves its buffer for these sizes."""
    problem = _problem(access, sizes)
    if problem:
        raise InternalError(at_user_line(problem, source=access.source))


def _problem(access: Access, sizes: Mapping[str, int]) -> str:
    size = evaluate(access.size, sizes)
    low = high = evaluate(access.offset, sizes)
    empty = False
    for stride, extent in access.axes:
        count = evaluate(extent, sizes)
        if count < 0:
            return f"kernel {access.kernel} has a dim of {count} elements"
        empty = empty or count == 0
        reach = evaluate(stride, sizes) * (count - 1)
        low, high = low + min(reach, 0), high + max(reach, 0)
    if empty or (low >= 0 and high < size):
        return ""
    return (
        f"kernel {access.kernel} touches elements {low} to {high} of b{access.buffer}, which "
        f"has {size}"
    )


__all__ = [
    "Access", "accesses", "check_access", "never_negative", "open_accesses", "verify_program",
]  # fmt: skip
