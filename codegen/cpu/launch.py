"""Kernels of symbolic extents: forms for short rows, long ones and large results, and the
function that picks one and decides whether the team runs it.

What is decided here when a call knows its sizes is what `target.py` decides beforehand for
extents that are known, by the same numbers of the cost model.
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
from graphjit.codegen.parallelism import in_chunks
from graphjit.codegen.size_arguments import SizeArguments, opened_numbers
from graphjit.codegen.sizes import SizeEmitter
from graphjit.codegen.transposes import TransposeCondition
from graphjit.core.frozen import dataclass
from graphjit.core.machine import machine
from graphjit.core.memory import LARGE_BYTES
from graphjit.ir import cost_model
from graphjit.ir.program import Kernel, Product, Program, ScanValue, merge_outer

from .entry import Call, team_call
from .kernel_table import KernelTable, SharedKernel

# So many kernels may differ in nothing but known numbers before these become arguments: LLVM
# takes 5 ms for one, 50 where sizes are open; what it knows of sizes makes code a bit faster.
MANY, MANY_SIZED = 64, 8


@dataclass(frozen=True, slots=True)
class Sized:
    """What the code of a kernel of symbolic extents depends on: two kernels of which this is
    equal run the same one.

    kernel: over its own symbols, as are `moved_bytes`, what it reads and writes, and
    `result_bytes`, of each result that could be stored past the cache. symbols: the names of
    what it takes for sizes. team_points, chunk_points: from how many points on the team runs
    it, and how many make a chunk (see `cost.chunk_points`).
    """

    kernel: SharedKernel
    symbols: tuple[str, ...]
    moved_bytes: int
    result_bytes: tuple[tuple[int, int], ...]
    team_points: int
    chunk_points: tuple[tuple[int, int], ...]

    @property
    def key(self) -> tuple[Any, ...]:
        """What it is found again by."""
        shared = self.kernel
        places = self.moved_bytes, self.result_bytes, shared.streaming, shared.together
        return identity(shared.kernel), *places, self.team_points, self.chunk_points


@dataclass(frozen=True, slots=True)
class Form:
    """A function that a kernel's launcher can call: its symbol, the loop that it walks in
    chunks, its buffers, whether it stores past the cache, its place in the module.
    """

    symbol: str
    loop: Loop | Tiles | None
    buffers: tuple[int, ...]
    streamed: bool
    place: int


class SizedFunctions:
    """The functions of a program's kernels that take sizes as arguments, each written once."""

    def __init__(self, program: Program, module: Module, shared: KernelTable) -> None:
        self.program = program
        self.module = module
        self.shared = shared
        self.arguments = SizeArguments()
        self._symbols: dict[Any, tuple[str, int]] = {}  # and where in the module
        self._forms: dict[Any, Form] = {}
        self._known: dict[Any, tuple[Sized, tuple[int, ...]]] = {}

        self._opened = self._find_opened()

    def _find_opened(self) -> dict[int, frozenset[int]]:
        """For the steps whose known numbers become arguments, which ones."""
        most = MANY_SIZED if self.program.symbols else MANY
        inside = {
            n for block in self.program.row_blocks for n in range(block.first, block.stop)
        }
        places: dict[int, list[int]] = {}
        kernels: dict[int, Kernel] = {}  # of equal ones the first
        for place, step in enumerate(self.program.steps):
            if not isinstance(step, Kernel) or place in inside or not _opens(step):
                continue
            shared = self.shared.shared(step)
            equal = places.setdefault(shared.number, [])
            equal.append(place)
            if len(equal) == 1:
                kernels[place] = shared.kernel
        if len(kernels) <= most:
            return {}
        merged = {place: merge_outer(kernel) for place, kernel in kernels.items()}
        found = opened_numbers(merged, most)
        return {
            n: found[equal[0]] for equal in places.values() if equal[0] in found for n in equal
        }

    def takes(self, place: int) -> bool:
        """Whether a step is a kernel that takes its sizes as arguments."""
        return bool(self.program.symbols) or place in self._opened

    def call(self, step: Kernel, place: int) -> Call:
        """The call of a kernel, whose functions are in the module."""
        shared = self.shared.shared(step)
        sized, sizes = self._sized(step, shared, self._opened.get(place, frozenset()))
        key = sized.key
        functions = self.module.functions
        known = self._symbols.get(key)
        checked = False
        if known is None:
            launcher = Launcher(step.name, sized, self.module, self.shared, self._forms)
            symbol, checked = launcher.emit()
            if not checked:  # else its statuses lead to its lines
                self._symbols[key] = symbol, len(functions) - 1
        else:
            symbol, at = known
            functions[at] = functions[at].replace(") nounwind {", ") noinline nounwind {")
        return Call(symbol, shared.buffers, checked, None, place, True, shared.starts, sizes)

    def _sized(
        self, step: Kernel, shared: SharedKernel, opened: frozenset[int]
    ) -> tuple[Sized, tuple[int, ...]]:
        """A kernel over its own symbols, and what the program has in their place."""
        buffers = [self.program.buffers[number] for number in shared.buffers]
        result_bytes = [(n, buffers[n].type.nbytes) for n, _ in shared.streaming]
        moved = sum(b.type.nbytes for b in buffers)
        key = (
            shared.number, moved, *result_bytes, shared.streaming, shared.together, opened,
        )  # fmt: skip
        known = self._known.get(key)
        if known is not None:
            return known
        enough = _about(cost_model.team_points(step, self.program.buffers))
        chunks = cost_model.chunk_points(step, self.program.buffers)
        launch = [enough, *(_about(n) for pair in chunks for n in pair)]
        others = [moved, *(n for _, n in result_bytes), *launch]
        kernel = merge_outer(shared.kernel)  # before it loses sight of what extents have to do
        kernel, others, sizes, names = self.arguments.abstract(kernel, others, opened)
        moved, *others = others
        results, (enough, *launch) = others[: len(result_bytes)], others[len(result_bytes) :]
        sized = Sized(
            replace(shared, kernel=kernel, buffers=(), starts=()),
            tuple(names),
            moved,
            tuple((n, b) for (n, _), b in zip(result_bytes, results, strict=True)),
            enough,
            tuple(zip(launch[::2], launch[1::2], strict=True)),
        )
        self._known[key] = sized, tuple(sizes)
        return self._known[key]


def _opens(kernel: Kernel) -> bool:
    """Whether known numbers of a kernel may become arguments: the code of products is chosen by
    them, there must be room for scans, and long kernels have code of their own.
    """
    product_or_scan = any(isinstance(v, (Product, ScanValue)) for v in kernel.values)
    return len(kernel.values) < cost_model.LONG_BODY and not product_or_scan


def _about(points: int) -> int:
    """A number of the cost model to about 3%, lest kernels differ by less."""
    unit = 1 << max(0, points.bit_length() - 5)
    return points // unit * unit


class Launcher:
    """Writes all forms of one kernel. written: those that there are of all kernels."""

    def __init__(
        self,
        name: str,
        sized: Sized,
        module: Module,
        shared: KernelTable,
        written: dict[Any, Form],
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
        self.forms = 0

    def emit(self) -> tuple[str, bool]:
        """Write the kernel's functions; the symbol of the one to call, and whether it can
        fail.
        """
        kernel, before = self.kernel, len(self.shared.checks)
        vector_bytes = self.shared.vector_bytes
        squares = transpose_condition(kernel, vector_bytes)
        lengths = row_lengths(kernel) if squares is None else (True, False)
        buffers: Sequence[int] = ()
        for short in lengths:
            after = f"after{self.forms}"
            if short and len(lengths) > 1:
                few = f"%few{self.forms}"
                if squares is None:
                    length = self.size(kernel.inner_dims[-1])
                    self.head.append(f"  {few} = icmp ult i64 {length}, {ROW_LANES}")
                else:
                    self._few_lanes(few, squares)
                self._branch(few, f"short{self.forms}", after)
            buffers = self._nest(short)
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

    def _large(self) -> str:
        """Whether the kernel moves so much that its results had better pass the cache."""
        moved = self.size(self.sized.moved_bytes)
        limit = int(cost_model.STREAM_SHARE * machine().l3_bytes)
        self.head.append(f"  %moved{self.forms} = icmp ugt i64 {moved}, {limit}")
        found = f"%moved{self.forms}"
        for number, result_bytes in self.sized.result_bytes:
            size = self.size(result_bytes)  # smaller ones don't start at a cache line
            name = f"%aligned{self.forms}.{number}"
            self.head.append(f"  {name} = icmp uge i64 {size}, {LARGE_BYTES}")
            self.head.append(f"  {name}.too = and i1 {found}, {name}")
            found = f"{name}.too"
        return found

    def _few_lanes(self, name: str, squares: TransposeCondition) -> None:
        """Whether loads aren't worth turning, by `cost.near_lanes`."""
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

    def _nest(self, short: bool) -> Sequence[int]:
        """Write a nest's function, and the end of the launcher's block that calls it; for calls
        with large results before it one that stores them past the cache, if it can.
        """
        form = self._written(short, bool(self.sized.result_bytes))
        if form.streamed:
            number = self.forms
            self._branch(self._large(), f"large{number}", f"small{number}")
            self._call(form, number)
            self.body.append(f"small{number}:")
            self.forms += 1
            form = self._written(short, streaming=False)
        self._call(form, self.forms)
        self.forms += 1
        return form.buffers

    def _written(self, short: bool, streaming: bool) -> Form:
        """A form of the kernel, written unless that of an equal kernel is."""
        shared = self.sized.kernel
        key = identity(self.kernel), shared.together, short, shared.streaming * streaming
        form = self.written.get(key)
        functions = self.module.functions
        if form is not None:
            at = form.place
            functions[at] = functions[at].replace(") #kernel {", ") noinline #kernel {")
            return form
        before = len(self.shared.checks)
        name = f"{self.name}.{self.forms}"
        nest = lower(self.kernel, self.shared.vector_bytes, short=short)
        nest = replace(nest, kernel=replace(nest.kernel, name=name))
        nest, loop = in_chunks(nest)
        emitter = self.shared.emitter(nest, shared, streaming, self.sized.symbols)
        text = emitter.emit()
        if loop is not None:  # called from two places, by one thread and by the team
            text = text.replace(") #kernel {", ") noinline #kernel {", 1)
        functions.append(text)
        buffers = tuple(emitter.buffers)
        form = Form(name, loop, buffers, emitter.streamed, len(functions) - 1)
        if len(self.shared.checks) == before:
            self.written[key] = form
            if not form.streamed:  # nor would it be if it could
                self.written[*key[:-1], shared.streaming * False] = form
        return form

    def _call(self, form: Form, number: int) -> None:
        """Write the call of a form, by the team if there is work enough."""
        name, loop = form.symbol, form.loop
        pointers = [f"%b{n}" for n in form.buffers]
        listed = ", ".join([*(f"ptr {p}" for p in pointers), "ptr %record", "ptr %sizes"])
        if loop is None:
            self.body += [
                f"  %alone{number} = call i64 @{name}({listed})",
                f"  ret i64 %alone{number}",
            ]
            return
        tiled = isinstance(loop, Tiles)
        extent = loop.count if isinstance(loop, Tiles) else loop.extent
        width = 1 if isinstance(loop, Tiles) else loop.width
        unit = max(width, cost_model.CHUNK_ELEMENTS) if width > 1 else 1
        most = 1 << 30 if tiled else max(cost_model.MAX_CHUNKS, 4 * machine().cores)
        points = prod(self.kernel.dims)
        (near, some), (far, fewer), (_, least) = self.sized.chunk_points
        enough = self.sized.team_points
        n, work, size = self.size(extent), self.size(points), self.size
        call = Call(name, form.buffers, True, (n, f"%chunk{number}"), sized=True)
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
