"""What makes two kernels the same code: all but their names, buffers and offsets.

A kernel is written with its buffers numbered by first use. The offsets of a buffer's elements
are counted from the first one, whose address the function is given. Everything else that its
code depends on is its identity. Constants are compared as text, since equal numbers can be
different constants (0.0 and -0.0).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from graphjit.core.dims import Dim
from graphjit.ir.program import (
    Constant,
    GatherLoad,
    Index,
    Kernel,
    Load,
    Program,
    Value,
    exact_key,
    reads_and_writes,
    renumber_arguments,
)


def number_buffers(kernel: Kernel) -> tuple[Kernel, list[int]]:
    """The kernel without a name and with its buffers numbered by first use; the buffer of each
    number.
    """
    read, written = reads_and_writes(kernel)
    used = list(dict.fromkeys((*read, *written)))
    number_of = {buffer: number for number, buffer in enumerate(used)}

    def moved(value: Value) -> Value:
        if isinstance(value, (Load, GatherLoad)):
            return replace(value, buffer=number_of[value.buffer])
        return value

    values = tuple(map(moved, kernel.values))
    stores = tuple(replace(s, buffer=number_of[s.buffer]) for s in kernel.stores)
    return replace(kernel, name="", nodes=(), values=values, stores=stores), used


def order_constants(kernel: Kernel) -> Kernel:
    """The kernel with its constants before its other values, in a fixed order.

    Their order in the graph depends on which user came first.
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
    number_of = {number: now for now, number in enumerate(order)}
    values = tuple(renumber_arguments(kernel.values[number], number_of) for number in order)
    stores = tuple(renumber_arguments(store, number_of) for store in kernel.stores)
    return replace(kernel, values=values, stores=stores)


def rebase_offsets(kernel: Kernel, buffers: int) -> tuple[Kernel, tuple[int, ...]]:
    """The kernel with offsets counted from each buffer's first access, and these starts
    [elements].
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
    values, stores = map(exact_key, kernel.values), map(exact_key, kernel.stores)
    return kernel.dims, kernel.inner, kernel.lanes, *values, *stores


def kernel_buffers(buffers: frozenset[int], used: list[int]) -> frozenset[int]:
    """A set of the program's buffers as a kernel's numbers."""
    return frozenset(number for number, buffer in enumerate(used) if buffer in buffers)


def overlapping_buffers(program: Program, kernel: Kernel) -> frozenset[int]:
    """The kernel's buffers that share memory with another of its buffers."""
    read, written = reads_and_writes(kernel)
    positions: dict[tuple[str, int], list[int]] = {}
    for number in {*read, *written}:
        buffer = program.buffers[number]
        if buffer.role in ("temporary", "local"):
            positions.setdefault((buffer.role, buffer.offset_bytes), []).append(number)
    for pair in program.donated:
        if {*pair} <= {*read, *written}:
            positions["donated", pair[0]] = list(pair)
    return frozenset(
        n for together in positions.values() if len(together) > 1 for n in together
    )
