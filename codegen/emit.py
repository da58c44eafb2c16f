"""Loop IR -> LLVM IR: the emitter of one kernel's function. Chooses no schedule.

A kernel becomes `i64 @name(ptr b0, ptr b1, …, ptr record)`. The result is 0, or the number of
the check that failed; up to three integers about the failure are then in the record. Loop
counters and accumulators are allocas, which LLVM turns into registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from graphjit.core.types import int64
from graphjit.ir import cost_model
from graphjit.ir.program import Compute, Constant, GatherLoad, IndexValue, Load, Product
from graphjit.ops.primitive import Pointwise

from .access import CACHE_LINE, parts_of
from .accumulators import AccumulatorEmitter
from .interleaved_loads import InterleavedEmitter
from .loop_emitter import LoopEmitter
from .loops import (
    Accumulate,
    Finish,
    Let,
    LoadInterleaved,
    Loop,
    Reload,
    Spill,
    Start,
    Statement,
    StoreResult,
    Tiles,
    TransposeTile,
)
from .spills import SpillEmitter
from .tile_emitter import TileEmitter
from .transposed_copies import TransposeEmitter
from .values import Value


class KernelEmitter(
    LoopEmitter, AccumulatorEmitter, SpillEmitter, TransposeEmitter, InterleavedEmitter
):
    """Writes one kernel's function from its loop nest."""

    def emit(self) -> str:
        """The function's text."""
        kernel = self.kernel
        for number, owner, points in self.nest.spilled:
            if owner not in self.spill_slots:
                self.allocate_slot(owner, points)
            self.spill_slots[number] = self.spill_slots[owner]
        self.run(self.nest.body)
        bounds = ["i64 %begin", "i64 %end"] if self.chunked else []
        if self.streamed:  # non-temporal stores must be visible before the kernel returns
            self.line("fence seq_cst")
        sizes = ["ptr noalias readonly %sizes"] if self.sized else []
        listed = ", ".join([*self.buffer_parameters(), "ptr %record", *sizes, *bounds])
        long = len(self.entry) + len(self.b.lines) > cost_model.LONG_CODE * self.rows_abreast
        long |= len(self.b.constants) > cost_model.MAX_CONSTANTS
        # LLVM 22's quick instruction selection aborts the process on vectors of float16
        long &= not any(value.dtype.name == "float16" for value in kernel.values)
        attributes = "noinline optnone #kernel" if long else "#kernel"
        lines = [f"define internal i64 @{kernel.name}({listed}) {attributes} {{", "entry:"]
        if self.b.table:
            name = f"@{kernel.name}.table"
            lines.append(f"  %table = getelementptr i8, ptr {name}, i64 0")
            lines.insert(0, f"{name} = hidden global {self.b.table_text()}, align 64")
        lines += [*self.entry, *self.b.lines, "  ret i64 0", "}"]
        self.b.fail = None  # breaks a reference cycle
        return "\n".join(lines)

    def run(self, body: Sequence[Statement]) -> None:
        """Write statements in order, each for all active rows."""
        for statement in body:
            if not self.active_rows or isinstance(statement, Loop):
                self._emit_statement(statement)
                continue
            for row in self.active_rows:
                self.counters[row.dim] = row.counter
                self.values, self.zeros = row.values, row.zeros
                self.accumulators = row.accumulators
                self._emit_statement(statement)

    def _emit_statement(self, statement: Statement) -> None:
        """Write one statement."""
        match statement:
            case Let(value=number):
                self.values[number] = self.hoisted.get(number) or self.compute(number)
                self._track_zeros(number)
            case LoadInterleaved():
                self.load_interleaved(statement)
                for number in statement.values:
                    self._track_zeros(number)
            case Start(value=number):
                self.start_accumulators(number)
            case Accumulate(value=number):
                self.accumulate(number)
            case Finish(value=number):
                self.finish_reduction(number)
            case StoreResult(store=number):
                self.store_result(number)
            case Spill(value=number):
                self.spill(number)
            case Reload(value=number):
                self.values[number] = self.reload(number)
                self.zeros.discard(number)
            case Loop():
                self.emit_loop(statement)
            case TransposeTile():
                self.transpose_tile(statement)
            case Tiles():
                TileEmitter(self, statement).emit()

    def compute(self, number: int) -> Value:
        """Write the code of one value."""
        value = self.kernel.values[number]
        b = self.b
        match value:
            case Compute():
                self.current_op = (value.primitive.tensorflow, value.source)
                kind = value.primitive.kind
                assert isinstance(kind, Pointwise)
                args = [self.values[a] for a in value.args]
                result: Value = kind.scalar(b, *args, **dict(value.attrs))
                return result
            case Constant():
                return b.const(value.number, value.dtype)
            case Load() if number in self.transposed:
                room, turn = self.transposed[number]
                return self.load_from_copy(room, value.dtype, turn.row_dim, turn.columns)
            case Load():
                offset, step = self.element_offset(value.index, parts_of(value.dtype))
                self._prefetch(value, offset)
                return self.load_lanes(f"%b{value.buffer}", value.dtype, offset, step)
            case IndexValue():
                offset, step = self.element_offset(value.index)
                base = Value(int64, offset, b.width == 1)
                return b.add(base, self.lane_offsets(step)) if step else base
            case Product():
                return self.load_from_tile(value)
            case GatherLoad():
                self.current_op = ("GatherV2", value.source)
                parts = parts_of(value.dtype)
                offset, step = self.element_offset(value.index, parts)
                position = self.checked_index(offset, step, value.choices, parts)
                return self.load_at(f"%b{value.buffer}", value.dtype, position)
            case _:
                raise AssertionError(value)

    def _prefetch(self, value: Load, offset: str) -> None:
        """Prefetch what a reduction reads row after row, where no cache holds it.

        The hardware's own prefetches end with each page.
        """
        strides, dims = value.index.strides, self.kernel.dims
        if not self.lanes_along_row() or self.active_rows or self.b.mask is not None:
            return
        if self.b.width == 1:  # lanes are a GPU's threads
            return
        size = value.dtype.size
        read = prod(n for n, stride in zip(dims, strides, strict=True) if stride) * size
        if strides[self.nest.lane_dim] != 1 or not cost_model.passes_last_cache(read):
            return
        at = self.address(f"%b{value.buffer}", value.dtype, offset)
        self.module.declare("void", "llvm.prefetch.p0", "ptr, i32, i32, i32")
        for line in range(0, self.b.width * size, CACHE_LINE):
            there = self.b.emit(
                f"getelementptr i8, ptr {at}, i64 {cost_model.PREFETCH_BYTES + line}"
            )
            self.line(f"call void @llvm.prefetch.p0(ptr {there}, i32 0, i32 2, i32 1)")

    def _track_zeros(self, number: int) -> None:
        """Track whether a value is 0 in masked-off lanes, as loads are."""
        match self.kernel.values[number]:
            case Load(index=index) if number not in self.transposed and self.nest.lane_dim >= 0:
                zero = index.strides[self.nest.lane_dim] != 0
            case Compute(primitive=primitive, args=args):
                kind = primitive.kind
                assert isinstance(kind, Pointwise)
                zero = kind.zero_of_zeros and self.zeros.issuperset(args)
            case _:
                zero = False
        (self.zeros.add if zero else self.zeros.discard)(number)

    def load_from_tile(self, value: Product) -> Value:
        """A product's elements from the current tile."""
        tiles = self.nest.body[0]
        assert isinstance(tiles, Tiles)
        columns = tiles.wide or tiles.columns
        return self.load_from_copy(self.tile, value.dtype, tiles.row_dim, columns)
