"""Kernels that are equal up to names and buffers share one function in a module.

A kernel is written with its buffers numbered by first use. What its code depends on besides
is the key under which its function is found again; constants are compared as text, for
numbers that are equal can be different constants (0.0 and -0.0).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from graphjit.program import (
    GatherLoad,
    Kernel,
    Load,
    Program,
    Value,
    exactly,
    reads_and_writes,
)

from .builder import Module
from .compiled import Check
from .emit import KernelEmitter
from .entry import Call, write_chunk
from .loops import LoopNest
from .lower import lower, rows_abreast
from .parts import register_lanes


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

    def nest(self, kernel: Kernel, part: int = 0) -> tuple[LoopNest, list[int], int]:
        """A kernel's loop nest, with numbered buffers, which ones these are, and a number that
        equal kernels have in common.
        """
        kernel, used = numbered(kernel)
        key = (identity(kernel), part)
        found = self._nests.get(key)
        if found is None:
            found = lower(kernel, self.vector_bytes, part), len(self._nests)
            self._nests[key] = found
        nest, number = found
        return nest, used, number

    def function(
        self, kernel: Kernel, nest: LoopNest, used: list[int], number: int
    ) -> tuple[str, bool]:
        """The symbol of a kernel's function, and whether it can fail. One that can is its own:
        its statuses lead to its lines.
        """
        streaming = places(self.streaming, used)
        together = places(lying_together(self.program, kernel), used)
        chunked = any(getattr(statement, "chunked", False) for statement in nest.body)
        key = (number, chunked, streaming, together)
        known = self._symbols.get(key)
        functions = self.module.functions
        if known is not None:
            symbol, place = known
            functions[place] = functions[place].replace(") #kernel {", ") noinline #kernel {")
            return symbol, False
        before = len(self.checks)
        nest = replace(nest, kernel=replace(nest.kernel, name=kernel.name))
        lanes = register_lanes(nest, self.vector_bytes)
        emitter = KernelEmitter(
            self.module, nest, self.checks, streaming, together, self.program.fast_math,
            lanes=lanes, abreast=rows_abreast(nest, self.vector_bytes),
        )  # fmt: skip
        functions.append(emitter.emit())
        checked = len(self.checks) > before
        if not checked:
            self._symbols[key] = kernel.name, len(functions) - 1
        return kernel.name, checked

    def emitter(
        self, kernel: Kernel, nest: LoopNest, streaming: frozenset[int]
    ) -> KernelEmitter:
        """The emitter of one of a kernel's nests, with the program's numbers of buffers."""
        together, program = lying_together(self.program, kernel), self.program
        return KernelEmitter(
            self.module, nest, self.checks, streaming, together, program.fast_math,
            program.symbols, abreast=rows_abreast(nest, self.vector_bytes),
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
