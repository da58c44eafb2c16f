"""Kernels of symbolic extents: forms for short rows, long ones and large results, and the
function that picks one and decides whether the team runs it.

What is decided here when a call knows its sizes is what `cpu.py` decides beforehand for extents
that are known, by the same numbers of the cost model.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from graphjit import cost
from graphjit.machine import machine
from graphjit.memory import LARGE_BYTES
from graphjit.program import Kernel, Program, reads_and_writes

from .builder import Module
from .emit import KernelEmitter
from .entry import Call, team_call, write_chunk
from .loops import Loop, LoopNest, Tiles
from .lower import ROW_LANES, OpenSquares, in_chunks, lower, open_squares, row_lengths
from .share import Functions
from .sizes import SizeEmitter


class Launcher:
    """Writes all forms of one kernel of a program with symbols."""

    def __init__(
        self,
        program: Program,
        step: Kernel,
        module: Module,
        shared: Functions,
    ) -> None:
        self.program = program
        self.step = step
        self.module = module
        self.shared = shared
        self.head: list[str] = []
        self.body: list[str] = []
        self.size = SizeEmitter(program.symbols, self.head)
        self.forms = 0

    def emit(self, vector_bytes: int, place: int) -> Call:
        """Write the kernel's functions; the call that an entry makes of it."""
        step, before = self.step, len(self.shared.checks)
        squares = open_squares(step, vector_bytes)
        lengths = row_lengths(step) if squares is None else (True, False)
        results = self._streamed()
        buffers: list[int] = []
        for short in lengths:
            after = f"after{self.forms}"
            if short and len(lengths) > 1:
                few = f"%few{self.forms}"
                if squares is None:
                    length = self.size(step.inner_dims[-1])
                    self.head.append(f"  {few} = icmp ult i64 {length}, {ROW_LANES}")
                else:
                    self._few_lanes(few, squares)
                self._branch(few, f"short{self.forms}", after)
            nest = lower(step, vector_bytes, short=short)
            if results:
                self._form(nest, results)
            buffers = self._form(nest, frozenset())
            if short and len(lengths) > 1:
                self.body.append(f"{after}:")
        checked = len(self.shared.checks) > before
        parameters = ", ".join(f"ptr %b{n}" for n in buffers)
        name = f"{step.name}.run"
        lines = [
            f"define internal i64 @{name}({parameters}, ptr %record, ptr %sizes, ptr %poll) "
            "nounwind {",
            "entry:",
            *self.head,
            *self.body,
            "}",
        ]
        self.module.functions.append("\n".join(lines))
        return Call(name, buffers, checked, None, place, sized=True)

    def _streamed(self) -> frozenset[int]:
        """The results that could be stored past the cache."""
        return self.shared.streaming.intersection(reads_and_writes(self.step)[1])

    def _large(self, results: frozenset[int]) -> str:
        """Whether the kernel moves so much that its results had better pass the cache."""
        read, written = reads_and_writes(self.step)
        buffers = self.program.buffers
        moved = self.size(sum(buffers[n].type.nbytes for n in (*read, *written)))
        limit = int(cost.STREAM_SHARE * machine().l3_bytes)
        self.head.append(f"  %moved{self.forms} = icmp ugt i64 {moved}, {limit}")
        found = f"%moved{self.forms}"
        for number in sorted(results):  # smaller ones don't start at a cache line
            size = self.size(buffers[number].type.nbytes)
            name = f"%aligned{self.forms}.{number}"
            self.head.append(f"  {name} = icmp uge i64 {size}, {LARGE_BYTES}")
            self.head.append(f"  {name}.too = and i1 {found}, {name}")
            found = f"{name}.too"
        return found

    def _few_lanes(self, name: str, squares: OpenSquares) -> None:
        """Whether loads aren't worth turning, by `cost.near_lanes`."""
        extent, lanes = self.size(squares.extent), self.size(squares.lanes)
        apart = self.size(squares.apart_bytes)
        room = cost.L1_WAYS * cost.L1_WAY_BYTES
        self.module.declare("i64", "llvm.umin.i64", "i64, i64")
        self.module.declare("i64", "llvm.umax.i64", "i64, i64")
        self.head += [  # the greatest power of two that divides a number is n & -n
            f"  {name}.minus = sub i64 0, {apart}",
            f"  {name}.two = and i64 {apart}, {name}.minus",
            f"  {name}.least = call i64 @llvm.umax.i64(i64 {name}.two, "
            f"i64 {cost.SQUARE_BYTES})",
            f"  {name}.shared = call i64 @llvm.umin.i64(i64 {name}.least, "
            f"i64 {cost.L1_WAY_BYTES})",
            f"  {name}.near = udiv i64 {room}, {name}.shared",
            f"  {name}.rows = icmp ult i64 {extent}, {squares.rows}",
            f"  {name}.lanes = icmp ule i64 {lanes}, {name}.near",
            f"  {name} = or i1 {name}.rows, {name}.lanes",
        ]

    def _branch(self, condition: str, yes: str, no: str) -> None:
        self.body += [f"  br i1 {condition}, label %{yes}, label %{no}", f"{yes}:"]

    def _form(self, nest: LoopNest, streaming: frozenset[int]) -> list[int]:
        """Write a nest's function, and the end of the launcher's block that calls it. With
        results to be stored past the cache only if it has such, for calls with large ones.
        """
        number = self.forms
        name = f"{self.step.name}.{number}"
        nest = replace(nest, kernel=replace(nest.kernel, name=name))
        nest, loop = in_chunks(nest)
        emitter = self.shared.emitter(self.step, nest, streaming)
        text = emitter.emit()
        self.forms += 1
        if streaming and not emitter.streamed:  # the module has no use for its parts
            return emitter.buffers
        self.module.functions.append(text)
        if streaming:
            self._branch(self._large(streaming), f"large{number}", f"small{number}")
            self._call(nest, loop, emitter, number)
            self.body.append(f"small{number}:")
        else:
            self._call(nest, loop, emitter, number)
        return emitter.buffers

    def _call(
        self, nest: LoopNest, loop: Loop | Tiles | None, emitter: KernelEmitter, number: int
    ) -> None:
        """Write the call of a form, by the team if there is work enough."""
        name = nest.kernel.name
        listed = ", ".join(
            [*(f"ptr %b{n}" for n in emitter.buffers), "ptr %record", "ptr %sizes"]
        )
        if loop is None:
            self.body += [
                f"  %alone{number} = call i64 @{name}({listed})",
                f"  ret i64 %alone{number}",
            ]
            return
        tiled = isinstance(loop, Tiles)
        extent = loop.count if isinstance(loop, Tiles) else loop.extent
        width = 1 if isinstance(loop, Tiles) else loop.width
        unit = max(width, cost.CHUNK_ELEMENTS) if width > 1 else 1
        most = 1 << 30 if tiled else max(cost.MOST_CHUNKS, 4 * machine().cores)
        points = prod(self.step.dims)
        (near, some), (far, fewer), (_, least) = cost.chunk_points(
            self.step, self.program.buffers
        )
        enough = cost.team_points(self.step, self.program.buffers)
        n, work = self.size(extent), self.size(points)
        call = Call(name, emitter.buffers, True, (n, f"%chunk{number}"), sized=True)
        self.module.functions.append(write_chunk(call))
        record = "ptr %record, ptr %poll"
        self.body += [
            f"  %much{number} = icmp uge i64 {work}, {enough}",
            f"  %parts{number} = icmp uge i64 {n}, {2 * width}",
            f"  %shared{number} = and i1 %much{number}, %parts{number}",
            f"  br i1 %shared{number}, label %together{number}, label %alone{number}",
            f"alone{number}:",
            f"  %own{number} = call i64 @{name}({listed}, i64 0, i64 {n})",
            f"  ret i64 %own{number}",
            f"together{number}:",
            f"  %near{number} = icmp ule i64 {work}, {near}",
            f"  %far{number} = icmp ugt i64 {work}, {far}",
            f"  %away{number} = select i1 %far{number}, i64 {least}, i64 {fewer}",
            f"  %each{number} = select i1 %near{number}, i64 {some}, i64 %away{number}",
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
            *team_call(call, number, record),
            f"  ret i64 %status{number}",
        ]
        self.module.declare("i64", "llvm.umax.i64", "i64, i64")
        self.module.declare("i64", "llvm.umin.i64", "i64, i64")


__all__ = ["Launcher"]
