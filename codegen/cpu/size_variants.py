"""Kernels of symbolic extents: variants for short rows, long rows and large results, and the
function that picks one and decides whether the team runs it.

This decides at each call what target.py decides at compile time for known extents, by the same
numbers of the cost model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

from graphjit.codegen.kernel_identity import identity
from graphjit.codegen.loops import Loop, Tiles
from graphjit.codegen.lower import (
    ROW_LANES,
    lower,
    row_lengths,
    transpose_condition,
)
from graphjit.codegen.module import Module
from graphjit.codegen.parallelism import chunk_unit, in_chunks, most_chunks
from graphjit.codegen.size_arguments import SizeArguments, opened_numbers
from graphjit.codegen.sizes import SizeEmitter
from graphjit.codegen.transposes import TransposeCondition
from graphjit.core.frozen import dataclass
from graphjit.core.machine import machine
from graphjit.core.memory_pool import LARGE_BYTES
from graphjit.ir import cost_model
from graphjit.ir.program import Kernel, Product, Program, ScanValue, merge_outer

from .kernel_calls import KernelInvocation, team_call
from .kernel_table import KernelTable, SharedKernel

# How many kernels may differ only in known numbers before these become arguments, without and
# with symbols in the program. Known sizes make code a bit faster; LLVM takes 5 ms for a kernel
# of known sizes, 50 ms for one of symbolic sizes.
MAX_EQUAL_KERNELS, MAX_EQUAL_SIZED_KERNELS = 64, 8


@dataclass(frozen=True, slots=True)
class SizedKernel:
    """What the code of a kernel of symbolic extents depends on. Equal ones share their code.

    kernel: over symbols of its own, as are all numbers here
    symbols: the names of the sizes that it takes
    moved_bytes: what it reads and writes
    result_bytes: (buffer, bytes) of each result that could be stored past the cache
    team_points: from how many points on the team runs it
    chunk_points: how many points make a chunk (see `cost_model.chunk_points`)
    """

    kernel: SharedKernel
    symbols: tuple[str, ...]
    moved_bytes: int
    result_bytes: tuple[tuple[int, int], ...]
    team_points: int
    chunk_points: tuple[tuple[int, int], ...]

    @property
    def key(self) -> tuple[Any, ...]:
        """The key by which equal kernels are found."""
        shared = self.kernel
        others = self.moved_bytes, self.result_bytes, shared.streaming, shared.together
        return identity(shared.kernel), *others, self.team_points, self.chunk_points


@dataclass(frozen=True, slots=True)
class KernelVariant:
    """One variant of a kernel: a function that its launcher can call.

    loop: the loop that it runs in chunks, if it has one
    streamed: whether it stores past the cache
    position: the index of its text in the module
    """

    symbol: str
    loop: Loop | Tiles | None
    buffers: tuple[int, ...]
    streamed: bool
    position: int


class SizedFunctions:
    """The functions of a program's kernels that take sizes, each written once."""

    def __init__(self, program: Program, module: Module, shared: KernelTable) -> None:
        self.program = program
        self.module = module
        self.shared = shared
        self.arguments = SizeArguments()
        self._symbols: dict[Any, tuple[str, int]] = {}  # symbol, index of its text
        self._variants: dict[Any, KernelVariant] = {}
        self._known: dict[Any, tuple[SizedKernel, tuple[int, ...]]] = {}

        self._opened = self._find_opened()

    def _find_opened(self) -> dict[int, frozenset[int]]:
        """The steps whose known numbers become arguments, with these numbers."""
        most = MAX_EQUAL_SIZED_KERNELS if self.program.symbols else MAX_EQUAL_KERNELS
        inside = {
            n for block in self.program.row_blocks for n in range(block.first, block.stop)
        }
        equal_steps: dict[int, list[int]] = {}
        kernels: dict[int, Kernel] = {}  # the first of equal ones
        for position, step in enumerate(self.program.steps):
            if (
                not isinstance(step, Kernel)
                or position in inside
                or not _may_open_numbers(step)
            ):
                continue
            shared = self.shared.shared(step)
            equal = equal_steps.setdefault(shared.number, [])
            equal.append(position)
            if len(equal) == 1:
                kernels[position] = shared.kernel
        if len(kernels) <= most:
            return {}
        merged = {position: merge_outer(kernel) for position, kernel in kernels.items()}
        found = opened_numbers(merged, most)
        return {
            n: found[equal[0]]
            for equal in equal_steps.values()
            if equal[0] in found
            for n in equal
        }

    def takes(self, position: int) -> bool:
        """Whether a step is a kernel that takes its sizes as arguments."""
        return bool(self.program.symbols) or position in self._opened

    def call(self, step: Kernel, position: int) -> KernelInvocation:
        """The call of a kernel. Its functions are written to the module."""
        shared = self.shared.shared(step)
        sized, sizes = self._abstract(step, shared, self._opened.get(position, frozenset()))
        key = sized.key
        functions = self.module.functions
        known = self._symbols.get(key)
        checked = False
        if known is None:
            launcher = Launcher(step.name, sized, self.module, self.shared, self._variants)
            symbol, checked = launcher.emit()
            if not checked:  # statuses refer to source lines of one kernel
                self._symbols[key] = symbol, len(functions) - 1
        else:
            symbol, at = known
            functions[at] = functions[at].replace(") nounwind {", ") noinline nounwind {")
        return KernelInvocation(
            symbol, shared.buffers, checked, None, position, True, shared.starts, sizes
        )

    def _abstract(
        self, step: Kernel, shared: SharedKernel, opened: frozenset[int]
    ) -> tuple[SizedKernel, tuple[int, ...]]:
        """A kernel over symbols of its own, and what the program has in their place."""
        buffers = [self.program.buffers[number] for number in shared.buffers]
        result_bytes = [(n, buffers[n].type.nbytes) for n, _ in shared.streaming]
        moved = sum(b.type.nbytes for b in buffers)
        key = (
            shared.number, moved, *result_bytes, shared.streaming, shared.together, opened,
        )  # fmt: skip
        known = self._known.get(key)
        if known is not None:
            return known
        enough = _round_coarsely(cost_model.team_points(step, self.program.buffers))
        chunks = cost_model.chunk_points(step, self.program.buffers)
        launch = [enough, *(_round_coarsely(n) for pair in chunks for n in pair)]
        others = [moved, *(n for _, n in result_bytes), *launch]
        kernel = merge_outer(shared.kernel)  # while extents are still comparable
        kernel, others, sizes, names = self.arguments.abstract(kernel, others, opened)
        moved, *others = others
        results, (enough, *launch) = others[: len(result_bytes)], others[len(result_bytes) :]
        sized = SizedKernel(
            replace(shared, kernel=kernel, buffers=(), starts=()),
            tuple(names),
            moved,
            tuple((n, b) for (n, _), b in zip(result_bytes, results, strict=True)),
            enough,
            tuple(zip(launch[::2], launch[1::2], strict=True)),
        )
        self._known[key] = sized, tuple(sizes)
        return self._known[key]


def _may_open_numbers(kernel: Kernel) -> bool:
    """Whether known numbers of a kernel may become arguments.

    Not for products, whose code is chosen by them; scans, which need room of a known size; and
    long kernels, which have code of their own.
    """
    product_or_scan = any(isinstance(v, (Product, ScanValue)) for v in kernel.values)
    return len(kernel.values) < cost_model.LONG_BODY and not product_or_scan


def _round_coarsely(points: int) -> int:
    """A number of the cost model to about 3%, so that kernels don't differ by less."""
    unit = 1 << max(0, points.bit_length() - 5)
    return points // unit * unit


class Launcher:
    """Writes all variants of one kernel.

    written: the variants of all kernels so far
    """

    def __init__(
        self,
        name: str,
        sized: SizedKernel,
        module: Module,
        shared: KernelTable,
        written: dict[Any, KernelVariant],
    ) -> None:
        self.name = name
        self.written = written
        self.sized = sized
        self.kernel = sized.kernel.kernel
        self.module = module
        self.shared = shared
        self.head: list[str] = []
        self.body: list[str] = []
        self.size = SizeEmitter(sized.symbols, self.head)
        self.variants = 0

    def emit(self) -> tuple[str, bool]:
        """Write the kernel's functions. Gives the symbol to call, and whether it can fail."""
        kernel, before = self.kernel, len(self.shared.checks)
        vector_bytes = self.shared.vector_bytes
        squares = transpose_condition(kernel, vector_bytes)
        lengths = row_lengths(kernel) if squares is None else (True, False)
        buffers: Sequence[int] = ()
        for short in lengths:
            after = f"after{self.variants}"
            if short and len(lengths) > 1:
                few = f"%few{self.variants}"
                if squares is None:
                    length = self.size(kernel.inner_dims[-1])
                    self.head.append(f"  {few} = icmp ult i64 {length}, {ROW_LANES}")
                else:
                    self._write_few_lanes(few, squares)
                self._branch(few, f"short{self.variants}", after)
            buffers = self._write_nest(short)
            if short and len(lengths) > 1:
                self.body.append(f"{after}:")
        checked = len(self.shared.checks) > before
        parameters = ", ".join(f"ptr %b{n}" for n in buffers)
        name = f"{self.name}.run"
        lines = [
            f"define internal i64 @{name}({parameters}, ptr %record, ptr %sizes, ptr %poll) "
            "nounwind {",
            "entry:",
            *self.head,
            *self.body,
            "}",
        ]
        self.module.functions.append("\n".join(lines))
        return name, checked

    def _moves_much(self) -> str:
        """Write whether the kernel moves so much that its results should go past the cache."""
        moved = self.size(self.sized.moved_bytes)
        limit = int(cost_model.STREAM_SHARE * machine().l3_bytes)
        self.head.append(f"  %moved{self.variants} = icmp ugt i64 {moved}, {limit}")
        found = f"%moved{self.variants}"
        for number, result_bytes in self.sized.result_bytes:
            size = self.size(result_bytes)  # smaller results don't start at a cache line
            name = f"%aligned{self.variants}.{number}"
            self.head.append(f"  {name} = icmp uge i64 {size}, {LARGE_BYTES}")
            self.head.append(f"  {name}.too = and i1 {found}, {name}")
            found = f"{name}.too"
        return found

    def _write_few_lanes(self, name: str, squares: TransposeCondition) -> None:
        """Write whether loads aren't worth transposing, as `cost_model.near_lanes` computes
        it.
        """
        extent, lanes = self.size(squares.extent), self.size(squares.lanes)
        apart = self.size(squares.apart_bytes)
        room = cost_model.L1_WAYS * cost_model.L1_WAY_BYTES
        self.module.declare("i64", "llvm.umin.i64", "i64, i64")
        self.module.declare("i64", "llvm.umax.i64", "i64, i64")
        self.head += [  # the greatest power of two that divides a number is n & -n
            f"  {name}.minus = sub i64 0, {apart}",
            f"  {name}.two = and i64 {apart}, {name}.minus",
            f"  {name}.least = call i64 @llvm.umax.i64(i64 {name}.two, "
            f"i64 {cost_model.SQUARE_BYTES})",
            f"  {name}.shared = call i64 @llvm.umin.i64(i64 {name}.least, "
            f"i64 {cost_model.L1_WAY_BYTES})",
            f"  {name}.near = udiv i64 {room}, {name}.shared",
            f"  {name}.rows = icmp ult i64 {extent}, {squares.rows}",
            f"  {name}.lanes = icmp ule i64 {lanes}, {name}.near",
            f"  {name} = or i1 {name}.rows, {name}.lanes",
        ]

    def _branch(self, condition: str, yes: str, no: str) -> None:
        self.body += [f"  br i1 {condition}, label %{yes}, label %{no}", f"{yes}:"]

    def _write_nest(self, short: bool) -> Sequence[int]:
        """Write a nest's function and the end of the launcher's block, which calls it.

        Where results may be large, a function that stores them past the cache comes first.
        """
        variant = self._variant(short, bool(self.sized.result_bytes))
        if variant.streamed:
            number = self.variants
            self._branch(self._moves_much(), f"large{number}", f"small{number}")
            self._write_call(variant, number)
            self.body.append(f"small{number}:")
            self.variants += 1
            variant = self._variant(short, streaming=False)
        self._write_call(variant, self.variants)
        self.variants += 1
        return variant.buffers

    def _variant(self, short: bool, streaming: bool) -> KernelVariant:
        """A variant of the kernel. It is written unless an equal kernel has it."""
        shared = self.sized.kernel
        key = identity(self.kernel), shared.together, short, shared.streaming * streaming
        variant = self.written.get(key)
        functions = self.module.functions
        if variant is not None:
            at = variant.position
            functions[at] = functions[at].replace(") #kernel {", ") noinline #kernel {")
            return variant
        before = len(self.shared.checks)
        name = f"{self.name}.{self.variants}"
        nest = lower(self.kernel, self.shared.vector_bytes, short=short)
        nest = replace(nest, kernel=replace(nest.kernel, name=name))
        nest, loop = in_chunks(nest)
        emitter = self.shared.emitter(nest, shared, streaming, self.sized.symbols)
        text = emitter.emit()
        if loop is not None:  # called by one thread and by the team
            text = text.replace(") #kernel {", ") noinline #kernel {", 1)
        functions.append(text)
        buffers = tuple(emitter.buffers)
        variant = KernelVariant(name, loop, buffers, emitter.streamed, len(functions) - 1)
        if len(self.shared.checks) == before:
            self.written[key] = variant
            if not variant.streamed:  # streaming makes no difference to it
                self.written[*key[:-1], shared.streaming * False] = variant
        return variant

    def _write_call(self, variant: KernelVariant, number: int) -> None:
        """Write the call of a variant, by the team if there is work enough."""
        name, loop = variant.symbol, variant.loop
        pointers = [f"%b{n}" for n in variant.buffers]
        listed = ", ".join([*(f"ptr {p}" for p in pointers), "ptr %record", "ptr %sizes"])
        if loop is None:
            self.body += [
                f"  %alone{number} = call i64 @{name}({listed})",
                f"  ret i64 %alone{number}",
            ]
            return
        extent = loop.count if isinstance(loop, Tiles) else loop.extent
        width = 1 if isinstance(loop, Tiles) else loop.width
        unit = chunk_unit(width)
        most = most_chunks(loop)
        points = prod(self.kernel.dims)
        (near, some), (far, fewer), (_, least) = self.sized.chunk_points
        enough = self.sized.team_points
        n, work, size = self.size(extent), self.size(points), self.size
        call = KernelInvocation(name, variant.buffers, True, (n, f"%chunk{number}"), sized=True)
        self.shared.chunk(call)
        record = "ptr %record, ptr %poll"
        self.body += [
            f"  %much{number} = icmp uge i64 {work}, {size(enough)}",
            f"  %parts{number} = icmp uge i64 {n}, {2 * width}",
            f"  %shared{number} = and i1 %much{number}, %parts{number}",
            f"  br i1 %shared{number}, label %together{number}, label %alone{number}",
            f"alone{number}:",
            f"  %own{number} = call i64 @{name}({listed}, i64 0, i64 {n})",
            f"  ret i64 %own{number}",
            f"together{number}:",
            f"  %near{number} = icmp ule i64 {work}, {size(near)}",
            f"  %far{number} = icmp ugt i64 {work}, {size(far)}",
            f"  %away{number} = select i1 %far{number}, i64 {size(least)}, i64 {size(fewer)}",
            f"  %each{number} = select i1 %near{number}, i64 {size(some)}, i64 %away{number}",
            f"  %wanted{number} = udiv i64 {work}, %each{number}",
            f"  %odd{number} = urem i64 %wanted{number}, {machine().cores}",
            f"  %even{number} = sub i64 %wanted{number}, %odd{number}",
            f"  %none{number} = icmp eq i64 %even{number}, 0",
            f"  %some{number} = select i1 %none{number}, i64 %wanted{number}, "
            f"i64 %even{number}",
            f"  %two{number} = call i64 @llvm.umax.i64(i64 %some{number}, i64 2)",
            f"  %count{number} = call i64 @llvm.umin.i64(i64 %two{number}, i64 {most})",
            f"  %up{number} = add i64 {n}, %count{number}",
            f"  %less{number} = sub i64 %up{number}, 1",
            f"  %share{number} = udiv i64 %less{number}, %count{number}",
            f"  %over{number} = add i64 %share{number}, {unit - 1}",
            f"  %units{number} = udiv i64 %over{number}, {unit}",
            f"  %chunk{number} = mul i64 %units{number}, {unit}",
            *team_call(call, number, record, pointers),
            f"  ret i64 %status{number}",
        ]
        self.module.declare("i64", "llvm.umax.i64", "i64, i64")
        self.module.declare("i64", "llvm.umin.i64", "i64, i64")


__all__ = ["SizedFunctions"]
