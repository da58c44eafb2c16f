"""Accumulators of reductions and scans, as LLVM IR."""

from __future__ import annotations

from collections.abc import Sequence

from graphjit.core.types import DType, int64
from graphjit.ir.program import Reduction, ScanValue
from graphjit.ops.primitive import Reduce, Scan

from .access import parts_of
from .builder import Builder
from .kernel_context import KernelContext, slot_alignment, slot_type
from .values import Value, ir_type


class AccumulatorEmitter(KernelContext):
    """Writes the start, the steps and the result of reductions and scans."""

    def _identities(self, number: int) -> tuple[tuple[object, DType], ...]:
        """The initial value of each accumulator, with its dtype."""
        value = self.kernel.values[number]
        assert isinstance(value, (Reduction, ScanValue))
        kind = value.primitive.kind
        if isinstance(kind, Reduce):
            return kind.identity(value.arg_dtype)
        assert isinstance(kind, Scan)
        return (kind.identity(value.arg_dtype),)

    def start_accumulators(self, number: int) -> None:
        """Set a value's accumulators to their identity."""
        if number not in self.accumulators:
            parts = [
                dtype for _, dtype in self._identities(number) for _ in range(parts_of(dtype))
            ]
            self.accumulators[number] = [self._allocate_accumulator(dtype) for dtype in parts]
        self._store_accumulators(
            number, [self.b.const(n, d) for n, d in self._identities(number)]
        )

    def _allocate_accumulator(self, dtype: DType) -> str:
        """An alloca for an accumulator: one vector, or an element for each column of a
        panel.
        """
        kind = self.b.type(dtype, True)
        if self.nest.panel:
            kind = f"[{self.nest.panel} x {slot_type(dtype)}]"
        slot = self.b.fresh()
        self.entry.append(f"  {slot} = alloca {kind}, align 64")
        return slot

    def _accumulator_address(self, slot: str, dtype: DType) -> str:
        """The address of the accumulators of the current lanes."""
        if not self.nest.panel:
            return slot
        b = self.b
        counter = self.counters[self.nest.lane_dim]
        position = b.emit(f"sub nuw nsw i64 {counter}, {self.bounds[self.nest.lane_dim][0]}")
        return b.emit(f"getelementptr inbounds {slot_type(dtype)}, ptr {slot}, i64 {position}")

    def _load_accumulators(self, number: int) -> tuple[Value, ...]:
        slots = iter(self.accumulators[number])
        found = []
        for _, dtype in self._identities(number):
            kind = self.b.type(dtype, True)
            texts = []
            for _ in range(parts_of(dtype)):
                address = self._accumulator_address(next(slots), dtype)
                texts.append(
                    self.b.emit(f"load {kind}, ptr {address}, align {slot_alignment(dtype)}")
                )
            found.append(Value(dtype, texts[0], True, texts[1] if len(texts) > 1 else None))
        return tuple(found)

    def _store_accumulators(self, number: int, values: Sequence[Value]) -> None:
        slots = iter(self.accumulators[number])
        for value in values:
            wide = self.b.widen(value)
            kind = self.b.type(value.dtype, True)
            for text in (wide.ir, wide.imag)[: parts_of(value.dtype)]:
                address = self._accumulator_address(next(slots), value.dtype)
                align = slot_alignment(value.dtype)
                self.line(f"store {kind} {text}, ptr {address}, align {align}")

    def accumulate(self, number: int) -> None:
        """Combine the current element into a value's accumulators."""
        value = self.kernel.values[number]
        b = self.b
        assert isinstance(value, (Reduction, ScanValue))
        self.current_op = (value.primitive.tensorflow, None)
        old = self._load_accumulators(number)
        x = self.values[value.arg]
        kind = value.primitive.kind
        if isinstance(kind, Scan):
            total = kind.combine(b, old[0], x)
            self._store_accumulators(number, [total])
            self.values[number] = kind.finish(b, total, value.dtype)
            return
        assert isinstance(kind, Reduce)
        position = None
        if isinstance(value, Reduction) and value.place is not None:
            offset, step = self.element_offset(value.place)
            position = Value(int64, offset, b.width == 1)
            position = b.add(position, self.lane_offsets(step)) if step else position
        new = kind.combine(b, old, kind.element(b, x, position))
        stays = kind.skips_zeros and value.arg in self.zeros
        if b.mask is not None and self.lanes_along_row() and not stays:
            mask = b.mask
            new = tuple(b.select(mask, n, o) for n, o in zip(new, old, strict=True))
        self._store_accumulators(number, new)

    def finish_reduction(self, number: int) -> None:
        """Compute a reduction's result from its accumulators."""
        value = self.kernel.values[number]
        assert isinstance(value, Reduction)
        kind = value.primitive.kind
        assert isinstance(kind, Reduce)
        totals = self._load_accumulators(number)
        wide = True
        if self.lanes_along_row() and self.nest.width > 1:
            totals, wide = self.combine_lanes(kind, totals), False
        totals = tuple(Value(t.dtype, t.ir, wide, t.imag) for t in totals)
        self.values[number] = kind.finish(self.b, totals, value.dtype)

    def combine_lanes(self, kind: Reduce, totals: tuple[Value, ...]) -> tuple[Value, ...]:
        """Combine lanes by halves. The number of lanes alone decides the order."""
        b = self.b
        width = b.width
        narrow = Builder(self.module, width, b.math, b.flags)
        narrow.lines = b.lines
        while width > 1:
            half = width // 2
            sides = []
            for start in (0, half):
                sides.append(tuple(self._extract_lanes(t, width, start, half) for t in totals))
            narrow.width = half
            totals = kind.combine(narrow, sides[0], sides[1])
            width = half
        return totals

    def _extract_lanes(self, value: Value, width: int, start: int, size: int) -> Value:
        """The lanes [start, start + size) of a value."""
        b = self.b
        kind = f"<{width} x {ir_type(value.dtype)}>"
        texts: list[str] = []
        for text in (value.ir, value.imag):
            if text is None:
                continue
            if size == 1:
                texts.append(b.emit(f"extractelement {kind} {text}, i64 {start}"))
                continue
            order = ", ".join(f"i32 {start + k}" for k in range(size))
            texts.append(
                b.emit(f"shufflevector {kind} {text}, {kind} poison, <{size} x i32> <{order}>")
            )
        return Value(value.dtype, texts[0], True, texts[1] if len(texts) > 1 else None)
