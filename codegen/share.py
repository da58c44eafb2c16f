"""Kernels that are equal up to names, buffers and where in these they begin share one function
in a module.

A kernel is written with its buffers numbered by first use, and with the offsets of a buffer's
elements counted from the first one named, whose address the function is given. What its code
depends on besides is the key under which its function is found again; constants are compared
as text, for numbers that are equal can be different constants (0.0 and -0.0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from graphjit.dims import Dim
from graphjit.program import (
    GatherLoad,
    Index,
    Kernel,
    Load,
    Program,
    Value,
    exactly,
    reads_and_writes,
)
from graphjit.values import dataclass

from .access import CACHE_LINE
from .builder import Module
from .compiled import Check
from .emit import KernelEmitter
from .entry import Call, write_chunk
from .loops import LoopNest
from .lower import lower, rows_abreast
from .parts import register_lanes


@dataclass(frozen=True, slots=True)
class SharedKernel:
    """A kernel without what equal kernels differ in, and what that was.

    kernel: nameless, its buffers numbered, its offsets counted from where these begin for it.
    buffers: the program's numbers of its buffers. starts: where each of them begins [bytes].
    streaming: its numbers of those that are stored past the cache; unaligned: of these, those
    that begin anywhere in a cache line. together: of those that lie where another does.
    """

    kernel: Kernel
    buffers: tuple[int, ...]
    starts: tuple[int, ...]
    streaming: frozenset[int]
    unaligned: frozenset[int]
    together: frozenset[int]


class Functions:
    """The functions of a program's kernels, each written once.

    streaming: the buffers to be stored past the cache. checks: what statuses mean.
    """

    def __init__(
        self, program: Program, module: Module, vector_bytes: int, streaming: frozenset[int]
    ) -> None:
        self.program = program
        self.module = module
        self.vector_bytes = vector_bytes
        self.streaming = streaming
        self.checks: list[Check] = []
        self._nests: dict[Any, tuple[LoopNest, int]] = {}
        self._symbols: dict[Any, tuple[str, int]] = {}  # and where in the module
        self._chunked: set[str] = set()

    def shared(self, kernel: Kernel) -> SharedKernel:
        """What a kernel has in common with others, and what it has not."""
        together = lying_together(self.program, kernel)
        written = reads_and_writes(kernel)[1]
        kernel, used = numbered(kernel)
        streaming = places(self.streaming.intersection(written), used)
        sizes = [self.program.buffers[number].type.dtype.size for number in used]
        kernel, starts, unaligned = from_starts(kernel, sizes, streaming)
        together = places(together, used)
        return SharedKernel(kernel, tuple(used), starts, streaming, unaligned, together)

    def nest(self, shared: SharedKernel, part: int = 0) -> tuple[LoopNest, int]:
        """A kernel's loop nest, and a number that equal kernels have in common."""
        key = (identity(shared.kernel), part)
        found = self._nests.get(key)
        if found is None:
            found = lower(shared.kernel, self.vector_bytes, part), len(self._nests)
            self._nests[key] = found
        return found

    def function(
        self, name: str, shared: SharedKernel, nest: LoopNest, number: int
    ) -> tuple[str, bool]:
        """The symbol of a kernel's function, and whether it can fail. One that can is its own:
        its statuses lead to its lines.
        """
        chunked = any(getattr(statement, "chunked", False) for statement in nest.body)
        key = (number, chunked, shared.streaming, shared.unaligned, shared.together)
        known = self._symbols.get(key)
        functions = self.module.functions
        if known is not None:
            symbol, place = known
            functions[place] = functions[place].replace(") #kernel {", ") noinline #kernel {")
            return symbol, False
        before = len(self.checks)
        nest = replace(nest, kernel=replace(nest.kernel, name=name))
        lanes = register_lanes(nest, self.vector_bytes)
        emitter = KernelEmitter(
            self.module, nest, self.checks, shared.streaming, shared.together,
            self.program.fast_math, lanes=lanes, unaligned=shared.unaligned,
            abreast=rows_abreast(nest, self.vector_bytes),
        )  # fmt: skip
        functions.append(emitter.emit())
        checked = len(self.checks) > before
        if not checked:
            self._symbols[key] = name, len(functions) - 1
        return name, checked

    def emitter(
        self, nest: LoopNest, shared: SharedKernel, streaming: bool, symbols: Sequence[str]
    ) -> KernelEmitter:
        """The emitter of one of the nests of a kernel that takes the sizes of symbols, for
        calls that store past the cache or for others.
        """
        return KernelEmitter(
            self.module, nest, self.checks,
            shared.streaming if streaming else frozenset(), shared.together,
            self.program.fast_math, symbols, unaligned=shared.unaligned,
            abreast=rows_abreast(nest, self.vector_bytes),
        )  # fmt: skip

    def chunk(self, call: Call) -> None:
        """See to it that there is a function by which the team calls a kernel's."""
        if call.symbol not in self._chunked:
            self._chunked.add(call.symbol)
            self.module.functions.append(write_chunk(call))


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


def from_starts(
    kernel: Kernel, sizes: Sequence[int], streaming: frozenset[int]
) -> tuple[Kernel, tuple[int, ...], frozenset[int]]:
    """A numbered kernel with the offsets in each buffer counted from where the first one named
    is; these starts [bytes]; which of the streaming buffers don't start at a cache line then.

    sizes: the bytes of each buffer's elements.
    """
    starts: dict[int, int] = {}
    accesses = [v for v in kernel.values if isinstance(v, (Load, GatherLoad))]
    for item in (*kernel.stores, *accesses) if streaming else (*accesses, *kernel.stores):
        if item.buffer not in starts:
            starts[item.buffer] = item.index.offset
    unaligned: set[int] = set()
    for buffer in streaming:
        first, line = starts[buffer], CACHE_LINE // sizes[buffer]
        if not isinstance(first, Dim):
            starts[buffer] = first // line * line
        elif first % line != 0:
            unaligned.add(buffer)

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
    bytes = tuple(starts[number] * size for number, size in enumerate(sizes))
    return kernel, bytes, frozenset(unaligned)


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
