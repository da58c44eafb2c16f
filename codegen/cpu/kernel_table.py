"""Kernels that are the same code share one function in a module; see `kernel_identity`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from graphjit.codegen.access import CACHE_LINE
from graphjit.codegen.emit import KernelEmitter
from graphjit.codegen.kernel_identity import (
    identity,
    kernel_buffers,
    number_buffers,
    order_constants,
    overlapping_buffers,
    rebase_offsets,
)
from graphjit.codegen.loops import LoopNest
from graphjit.codegen.lower import lower
from graphjit.codegen.module import Module
from graphjit.codegen.parallelism import rows_abreast
from graphjit.codegen.register_blocking import register_lanes
from graphjit.codegen.runtime.compiled import Check
from graphjit.core.dims import Dim
from graphjit.core.frozen import dataclass
from graphjit.ir.program import Kernel, Program, reads_and_writes

from .kernel_calls import KernelInvocation, write_chunk


@dataclass(frozen=True, slots=True)
class SharedKernel:
    """A kernel without what equal kernels may differ in, and that information.

    number: common to equal kernels
    kernel: nameless, with buffers numbered and offsets counted from the first element
    buffers: the program's number of each buffer
    starts: where the kernel's elements of each begin [bytes]
    streaming: its numbers of buffers to store past the cache; each with how far after the start
        of a cache line it begins [elements], -1 if unknown
    together: its numbers of buffers that share memory with another
    """

    number: int
    kernel: Kernel
    buffers: tuple[int, ...]
    starts: tuple[int, ...]
    streaming: tuple[tuple[int, int], ...]
    together: frozenset[int]


class KernelTable:
    """The functions of a program's kernels, each written once.

    streaming: the buffers to store past the cache
    checks: what statuses mean; those of its kernels are added
    """

    def __init__(
        self,
        program: Program,
        module: Module,
        vector_bytes: int,
        streaming: frozenset[int],
        checks: list[Check],
        around: KernelTable | None = None,
    ) -> None:
        """A table with the functions of another one, that `around` this program, if it is in a
        step of it.
        """
        self.program = program
        self.module = module
        self.vector_bytes = vector_bytes
        self.streaming = streaming
        self.checks = checks
        self._nests: dict[Any, tuple[LoopNest, int]] = {}
        self._symbols: dict[Any, tuple[str, int]] = {}  # symbol, index of its text
        self._chunked: set[str] = set()
        self._numbers: dict[Any, int] = {}
        if around is not None:
            self._nests, self._symbols = around._nests, around._symbols
            self._chunked, self._numbers = around._chunked, around._numbers
        self._shared: dict[int, SharedKernel] = {}  # by id: the program keeps its steps alive

    def shared(self, kernel: Kernel) -> SharedKernel:
        """The part of a kernel that equal kernels share, and the rest."""
        known = self._shared.get(id(kernel))
        if known is None:
            known = self._shared[id(kernel)] = self._make_shared(kernel)
        return known

    def _make_shared(self, kernel: Kernel) -> SharedKernel:
        together = overlapping_buffers(self.program, kernel)
        written = reads_and_writes(kernel)[1]
        kernel, used = number_buffers(kernel)
        kernel, starts = rebase_offsets(order_constants(kernel), len(used))
        sizes = [self.program.buffers[number].type.dtype.size for number in used]
        streaming = []
        for number in sorted(kernel_buffers(self.streaming.intersection(written), used)):
            past = starts[number] % (CACHE_LINE // sizes[number])
            streaming.append((number, -1 if isinstance(past, Dim) else past))
        starts = tuple(start * size for start, size in zip(starts, sizes, strict=True))
        together = kernel_buffers(together, used)
        number = self._numbers.setdefault(identity(kernel), len(self._numbers))
        return SharedKernel(number, kernel, tuple(used), starts, tuple(streaming), together)

    def nest(self, shared: SharedKernel, block_rows: int = 0) -> tuple[LoopNest, int]:
        """A kernel's loop nest, and a number that equal kernels have in common."""
        key = shared.number, block_rows
        found = self._nests.get(key)
        if found is None:
            found = lower(shared.kernel, self.vector_bytes, block_rows), len(self._nests)
            self._nests[key] = found
        return found

    def function(
        self, name: str, shared: SharedKernel, nest: LoopNest, number: int
    ) -> tuple[str, bool]:
        """The symbol of a kernel's function, and whether it can fail.

        A function that can fail isn't shared: its statuses refer to source lines.
        """
        chunked = any(getattr(statement, "chunked", False) for statement in nest.body)
        key = (number, chunked, shared.streaming, shared.together)
        known = self._symbols.get(key)
        functions = self.module.functions
        if known is not None:
            symbol, index = known
            functions[index] = functions[index].replace(") #kernel {", ") noinline #kernel {")
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
        """The emitter of one nest of a kernel that takes sizes.

        streaming: whether it stores past the cache
        """
        return KernelEmitter(
            self.module, nest, self.checks, dict(shared.streaming) if streaming else {},
            shared.together, self.program.fast_math, symbols,
            abreast=rows_abreast(nest, self.vector_bytes),
        )  # fmt: skip

    def chunk(self, call: KernelInvocation) -> None:
        """Emit the wrapper through which worker threads call a kernel, once."""
        if call.symbol not in self._chunked:
            self._chunked.add(call.symbol)
            self.module.functions.append(write_chunk(call))
