"""Kernels that are equal up to names, buffers and where in these they begin share one function
in a module.

A kernel is written with its buffers numbered by first use, and with the offsets of a buffer's
elements counted from the first one named, whose address the function is given. What its code
depends on besides is the key under which its function is found again; constants are compared
as text, for numbers that are equal can be different constants (0.0 and -0.0).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from graphjit.core.dims import Dim
from graphjit.core.frozen import dataclass
from graphjit.ir.program import (
    Choice,
    Compute,
    Constant,
    GatherLoad,
    Index,
    Kernel,
    Load,
    Product,
    Program,
    Reduction,
    Running,
    Value,
    exactly,
    reads_and_writes,
)

from .access import CACHE_LINE
from .builder import Module
from .cpu.entry import Call, write_chunk
from .emit import KernelEmitter
from .loops import LoopNest
from .lower import lower, rows_abreast
from .register_blocking import register_lanes
from .runtime.compiled import Check


@dataclass(frozen=True, slots=True)
class SharedKernel:
    """A kernel without what equal kernels differ in, and what that was.

    number: what equal ones have in common. kernel: nameless, its buffers numbered, its offsets
    counted from where these begin for it. buffers: the program's numbers of its buffers.
    starts: where each of them begins [bytes].
    streaming: its numbers of those that are stored past the cache, each with how far past the
    start of a cache line it begins [elements], -1 where that isn't known. together: of those
    that lie where another does.
    """

    number: int
    kernel: Kernel
    buffers: tuple[int, ...]
    starts: tuple[int, ...]
    streaming: tuple[tuple[int, int], ...]
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
        self._numbers: dict[Any, int] = {}
        self._shared: dict[int, SharedKernel] = {}  # by id: the program holds its steps

    def shared(self, kernel: Kernel) -> SharedKernel:
        """What a kernel has in common with others, and what it has not."""
        known = self._shared.get(id(kernel))
        if known is None:
            known = self._shared[id(kernel)] = self._made_shared(kernel)
        return known

    def _made_shared(self, kernel: Kernel) -> SharedKernel:
        together = lying_together(self.program, kernel)
        written = reads_and_writes(kernel)[1]
        kernel, used = numbered(kernel)
        kernel, starts = from_starts(constants_first(kernel), len(used))
        sizes = [self.program.buffers[number].type.dtype.size for number in used]
        streaming = []
        for number in sorted(places(self.streaming.intersection(written), used)):
            past = starts[number] % (CACHE_LINE // sizes[number])
            streaming.append((number, -1 if isinstance(past, Dim) else past))
        starts = tuple(start * size for start, size in zip(starts, sizes, strict=True))
        together = places(together, used)
        number = self._numbers.setdefault(identity(kernel), len(self._numbers))
        return SharedKernel(number, kernel, tuple(used), starts, tuple(streaming), together)

    def nest(self, shared: SharedKernel, part: int = 0) -> tuple[LoopNest, int]:
        """A kernel's loop nest, and a number that equal kernels have in common."""
        key = shared.number, part
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
        key = (number, chunked, shared.streaming, shared.together)
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
            self.module, nest, self.checks, dict(shared.streaming), shared.together,
            self.program.fast_math, lanes=lanes,
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
            self.module, nest, self.checks, dict(shared.streaming) if streaming else {},
            shared.together, self.program.fast_math, symbols,
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
        case Reduction(arg=arg) | Running(arg=arg):
            return replace(value, arg=place[arg])
        case GatherLoad(choices=choices):
            return replace(value, choices=_chosen(choices, place))
    return value


def _chosen(choices: tuple[Choice, ...], place: Mapping[int, int]) -> tuple[Choice, ...]:
    return tuple(Choice(place[c.arg], c.extent, c.stride) for c in choices)


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
