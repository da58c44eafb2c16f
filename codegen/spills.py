"""Values that one stage of a kernel computes and a later stage reads again, as LLVM IR.

Each has a slot on the stack with one element for every point of the inner dims.
"""

from __future__ import annotations

from graphjit.ir.program import Index

from .access import parts_of
from .kernel_context import KernelContext, slot_type
from .values import Value


class SpillEmitter(KernelContext):
    """Writes spills and reloads."""

    def allocate_slot(self, number: int, points: int) -> None:
        """Allocate the slot of a spilled value, for so many points of the inner dims."""
        dtype = self.kernel.values[number].dtype
        lanes = 1 if self.lanes_along_row() else self.b.width
        width = self.b.width if self.lanes_along_row() else 1
        count = -(-points // width) * width * lanes * parts_of(dtype)
        slot = self.b.fresh()
        element = slot_type(dtype)
        self.entry.append(f"  {slot} = alloca [{count} x {element}], align 64")
        self.spill_slots[number] = slot

    def _slot_address(self, number: int, part: int) -> str:
        """The address of the current lanes in a slot. part: 1 for the imaginary part."""
        b = self.b
        dtype = self.kernel.values[number].dtype
        inner = self.kernel.inner_dims
        start = len(self.kernel.outer_dims)
        strides, step = [0] * len(self.kernel.dims), 1
        for k in range(len(inner) - 1, -1, -1):
            strides[start + k] = step
            step *= inner[k]
        scale = parts_of(dtype) * (1 if self.lanes_along_row() else b.width)
        offset, _ = self.element_offset(Index(0, tuple(strides)), scale)
        if part:
            offset = b.emit(f"add nsw i64 {offset}, {b.width}")
        element = slot_type(dtype)
        return b.emit(
            f"getelementptr inbounds {element}, ptr {self.spill_slots[number]}, i64 {offset}"
        )

    def spill(self, number: int) -> None:
        """Store a value in its slot."""
        b = self.b
        value = b.widen(self.values[number])
        texts = [value.ir] if value.imag is None else [value.ir, value.imag]
        for part, text in enumerate(texts):
            address = self._slot_address(number, part)
            kind = b.type(value.dtype, True)
            if value.dtype.kind == "b":
                wide = kind.replace("i1", "i8")
                text = b.emit(f"zext {kind} {text} to {wide}")
                kind = wide
            self.line(f"store {kind} {text}, ptr {address}, align 1")

    def reload(self, number: int) -> Value:
        """A value from its slot."""
        b = self.b
        dtype = self.kernel.values[number].dtype
        texts = []
        for part in range(parts_of(dtype)):
            address = self._slot_address(number, part)
            kind = b.type(dtype, True)
            if dtype.kind == "b":
                wide = kind.replace("i1", "i8")
                raw = b.emit(f"load {wide}, ptr {address}, align 1")
                zero = "zeroinitializer" if b.width > 1 else "0"
                texts.append(b.emit(f"icmp ne {wide} {raw}, {zero}"))
            else:
                texts.append(b.emit(f"load {kind}, ptr {address}, align 1"))
        return Value(dtype, texts[0], True, texts[1] if len(texts) > 1 else None)
