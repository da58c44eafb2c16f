"""What makes two kernels the same code: their form without names, buffers and offsets.

A kernel is written with its buffers numbered by first use, and with the offsets of a buffer's
elements counted from the first one named, whose address the function is given. What its code
depends on besides is its identity; constants are compared as text, for numbers that are equal
can be different constants (0.0 and -0.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from graphjit.core.dims import Dim
from graphjit.ir.program import (
    Compute,
    Constant,
    DynamicIndex,
    GatherLoad,
    Index,
    Kernel,
    Load,
    Product,
    Program,
    Reduction,
    ScanValue,
    Value,
    exactly,
    reads_and_writes,
)


def numbered(kernel: Kernel) -> tuple[Kernel, list[int]]:
    """The kernel, nameless, with buffers 0, 1, … by first use; and what each of them was."""
    read, written = reads_and_writes(kernel)
    used = list(dict.fromkeys((*read, *written)))
    place = {buffer: number for number, buffer in enumerate(used)}

    def moved(value: Value) -> Value:
        if isinstance(value, (Load, GatherLoad)):
            return replace(value, buffer=place[value.buffer])
        return value

    values = tuple(map(moved, kernel.values))
    stores = tuple(replace(s, buffer=place[s.buffer]) for s in kernel.stores)
    return replace(kernel, name="", nodes=(), values=values, stores=stores), used


def constants_first(kernel: Kernel) -> Kernel:
    """The kernel with its constants before its other values, in an order of their own: where
    the graph has them depends on who needed them first.
    """

    def rank(number: int) -> tuple[str, str]:
        value = kernel.values[number]
        return (value.dtype.name, repr(value.number)) if type(value) is Constant else ("", "")

    constants = [n for n, value in enumerate(kernel.values) if type(value) is Constant]
    first = sorted(constants, key=rank)
    if first == list(range(len(first))):
        return kernel
    known = set(constants)
    order = [*first, *(n for n in range(len(kernel.values)) if n not in known)]
    place = {number: now for now, number in enumerate(order)}
    values = tuple(_renumbered(kernel.values[number], place) for number in order)
    stores = tuple(
        replace(s, arg=place[s.arg], choices=_chosen(s.choices, place)) for s in kernel.stores
    )
    return replace(kernel, values=values, stores=stores)


def _renumbered(value: Value, place: Mapping[int, int]) -> Value:
    match value:
        case Compute(args=args):
            return replace(value, args=tuple(place[a] for a in args))
        case Product(a=a, b=b):
            return replace(value, a=place[a], b=place[b])
        case Reduction(arg=arg) | ScanValue(arg=arg):
            return replace(value, arg=place[arg])
        case GatherLoad(choices=choices):
            return replace(value, choices=_chosen(choices, place))
    return value


def _chosen(
    choices: tuple[DynamicIndex, ...], place: Mapping[int, int]
) -> tuple[DynamicIndex, ...]:
    return tuple(DynamicIndex(place[c.arg], c.extent, c.stride) for c in choices)


def from_starts(kernel: Kernel, buffers: int) -> tuple[Kernel, tuple[int, ...]]:
    """A kernel whose buffers are numbered, with the offsets in each counted from where the
    first one named is; these starts [elements].
    """
    starts: dict[int, int] = {}
    accesses = [v for v in kernel.values if isinstance(v, (Load, GatherLoad))]
    for item in (*accesses, *kernel.stores):
        starts.setdefault(item.buffer, item.index.offset)

    def moved(index: Index, buffer: int) -> Index:
        return Index(index.offset - starts[buffer], index.strides)

    if any(isinstance(n, Dim) or n for n in starts.values()):
        values = tuple(
            replace(v, index=moved(v.index, v.buffer))
            if isinstance(v, (Load, GatherLoad))
            else v
            for v in kernel.values
        )
        stores = tuple(replace(s, index=moved(s.index, s.buffer)) for s in kernel.stores)
        kernel = replace(kernel, values=values, stores=stores)
    return kernel, tuple(starts[number] for number in range(buffers))


def identity(kernel: Kernel) -> tuple[Any, ...]:
    """What makes two numbered kernels the same."""
    values, stores = map(exactly, kernel.values), map(exactly, kernel.stores)
    return kernel.dims, kernel.inner, kernel.lanes, *values, *stores


def places(buffers: frozenset[int], used: list[int]) -> frozenset[int]:
    """A set of the program's buffers as numbers of a kernel's."""
    return frozenset(number for number, buffer in enumerate(used) if buffer in buffers)


def lying_together(program: Program, kernel: Kernel) -> frozenset[int]:
    """The kernel's buffers that lie where another of them does."""
    read, written = reads_and_writes(kernel)
    places: dict[tuple[str, int], list[int]] = {}
    for number in {*read, *written}:
        buffer = program.buffers[number]
        if buffer.role in ("temporary", "local"):
            places.setdefault((buffer.role, buffer.offset_bytes), []).append(number)
    for pair in program.donated:
        if {*pair} <= {*read, *written}:
            places["donated", pair[0]] = list(pair)
    return frozenset(n for together in places.values() if len(together) > 1 for n in together)
