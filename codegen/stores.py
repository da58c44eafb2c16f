"""Stores, scattered stores and checked indices, as LLVM IR."""

from __future__ import annotations

from collections.abc import Sequence

from graphjit.core.types import bool_, int64
from graphjit.ir.program import DynamicIndex
from graphjit.ops.failures import FOR_PYTHON
from graphjit.ops.index import OUT_OF_RANGE
from graphjit.ops.primitive import Scatter

from .access import CACHE_LINE, parts_of
from .kernel_context import KernelContext
from .runtime.compiled import Check
from .runtime.runtime_symbols import NEEDS_PYTHON
from .values import Value

# The least vector that is stored past the cache: what AVX2 writes at once.
STREAMED_BYTES = 32


class StoreEmitter(KernelContext):
    """Writes stores, and the checks of indices that are data."""

    def checked_index(
        self, offset: str, step: int, choices: Sequence[DynamicIndex], scale: int
    ) -> Value:
        """The offset of an element whose index is partly data. Out of range, the check
        fails.
        """
        b = self.b
        position = Value(int64, offset, b.width == 1)
        if step:
            position = b.add(position, self.lane_offsets(step))
        wrong, index, extent = b.const(False, bool_), b.const(0, int64), b.const(0, int64)
        for choice in reversed(choices):
            chosen = self.values[choice.arg]
            bad = b.or_(b.lt(chosen, 0), b.ge(chosen, choice.extent))
            wrong, index = b.or_(wrong, bad), b.select(bad, chosen, index)
            extent = b.select(bad, b.const(choice.extent, int64), extent)
            # masked-off lanes may hold anything
            safe = b.select(bad, b.const(0, int64), chosen)
            position = b.add(position, b.mul(safe, choice.stride * scale))
        b.fail_if(wrong, OUT_OF_RANGE, index, extent)
        return position

    def store_result(self, number: int) -> None:
        """Write one of the kernel's stores."""
        store = self.kernel.stores[number]
        value = self.values[store.arg]
        parts = parts_of(value.dtype)
        base = f"%b{store.buffer}"
        offset, step = self.element_offset(store.index, parts)
        if store.choices:
            self.scatter(number, offset, step, value)
            return
        self.store_lanes(base, value, offset, step, self._may_stream(number))

    def _may_stream(self, number: int) -> bool:
        """Whether a store may go past the cache.

        It must write whole cache lines or halves of them, contiguous and aligned: LLVM would
        split an unaligned non-temporal store into scalar stores.
        """
        store = self.kernel.stores[number]
        dtype = self.kernel.values[store.arg].dtype
        if store.buffer not in self.streaming or parts_of(dtype) > 1:
            return False
        if number == self.peeled_store:
            return True
        past = self.streaming[store.buffer]
        if past < 0:
            return False
        lane = self.nest.lane_dim
        strides = [s for d, s in enumerate(store.index.strides) if d != lane]
        bytes_apart = [
            n * dtype.size for n in (store.index.offset + past, self.b.width, *strides)
        ]
        whole = min(CACHE_LINE, self.b.width * dtype.size)
        return whole >= STREAMED_BYTES and all(n % whole == 0 for n in bytes_apart)

    def scatter(self, number: int, offset: str, step: int, value: Value) -> None:
        """Write a store whose index is data."""
        store = self.kernel.stores[number]
        assert store.primitive is not None
        self.current_op = (store.primitive.tensorflow, store.source)
        position = self.checked_index(offset, step, store.choices, parts_of(value.dtype))
        self.combine_in(number, position, value)

    def combine_in(self, number: int, position: Value, value: Value) -> None:
        """Combine a value into a buffer's element at a checked offset."""
        store = self.kernel.stores[number]
        assert store.primitive is not None
        kind = store.primitive.kind
        assert isinstance(kind, Scatter)
        base = f"%b{store.buffer}"
        address = self.address(base, value.dtype, position.ir)
        old = self.scalar_load(address, value.dtype, True)
        new = kind.combine(self.b, old, value, **dict(store.attrs))
        self.scalar_store(address, new)

    def emit_failure(self, condition: Value, reason: str, details: tuple[Value, ...]) -> None:
        """Leave the kernel with a status if the condition holds in any lane.

        The record gets the details of the first such lane.
        """
        b = self.b
        op, source = self.current_op
        self.checks.append(Check(reason, op, source))
        status = NEEDS_PYTHON if reason == FOR_PYTHON else len(self.checks)
        vector = condition.wide and b.width > 1
        bad, good = self.label(), self.label()
        flag = condition.ir
        if vector:
            bits = b.emit(f"bitcast <{b.width} x i1> {condition.ir} to i{b.width}")
            flag = b.emit(f"icmp ne i{b.width} {bits}, 0")
        self.line(f"br i1 {flag}, label %{bad}, label %{good}")
        b.lines.append(f"{bad}:")
        lane = "0"
        if vector:
            name = f"llvm.cttz.i{b.width}"
            self.module.declare(f"i{b.width}", name, f"i{b.width}, i1")
            first = b.emit(f"call i{b.width} @{name}(i{b.width} {bits}, i1 true)")
            wide = "trunc" if b.width > 64 else "zext" if b.width < 64 else "bitcast"
            lane = b.emit(f"{wide} i{b.width} {first} to i64")
        for number, detail in enumerate(details):
            text = detail.ir
            if detail.wide and b.width > 1:
                text = b.emit(f"extractelement <{b.width} x i64> {text}, i64 {lane}")
            address = b.emit(f"getelementptr inbounds i64, ptr %record, i64 {number}")
            self.line(f"store i64 {text}, ptr {address}, align 8")
        self.line(f"ret i64 {status}")
        b.lines.append(f"{good}:")
