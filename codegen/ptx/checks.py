"""The values of one point of a kernel on a GPU, and its checks.

A check that fails lowers the first word of `status` to step · 2^50 + point · 2^10 + value, if
that is less. So the first failure in order wins, in whatever order threads run. A thread that
finds its own number there writes the details behind it; a second launch with the status
unchanged makes sure that it does. Nothing is read or written at an index out of range.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphjit.codegen.access import parts_of
from graphjit.codegen.builder import Builder
from graphjit.codegen.emit import KernelEmitter
from graphjit.codegen.instructions import MathRule
from graphjit.codegen.loops import LoopNest
from graphjit.codegen.runtime.compiled import Check
from graphjit.codegen.sizes import SizeEmitter
from graphjit.codegen.values import Value
from graphjit.core.dims import Dim
from graphjit.ir.program import GatherLoad, Index

from .device import DeviceBuilder, DeviceModule

POINT_SHIFT, STEP_SHIFT = 10, 50
# The status: its first word if nothing has failed, and its size in words of 8 bytes.
INITIAL, STATUS_WORDS = 2**64 - 1, 4


class _Arguments(SizeEmitter):
    """Extents computed from the symbols, which are arguments of the kernel."""

    def _load(self, name: str) -> str:
        return "%" + argument_of(name)


def argument_of(symbol: str) -> str:
    """The kernel argument that brings a symbol's size."""
    return f"size.{symbol}"


class PointEmitter(KernelEmitter):
    """Writes the values of a point.

    step: the kernel's position in the program
    numbered: the checks that may fail, by the number of their value or store
    item: the number of the current value or store
    failing: the condition of the last check
    failed: the slot of a flag that a check of this point has failed
    """

    pointer = "ptr addrspace(1)"
    loop_end = ""

    def __init__(
        self,
        module: DeviceModule,
        nest: LoopNest,
        step: int,
        shared: frozenset[int],
        symbols: Sequence[str],
    ) -> None:
        super().__init__(module, nest, [], shared=shared, symbols=symbols)
        assert isinstance(self.b, DeviceBuilder)
        self.device = self.b
        self.step = step
        self.size = _Arguments(symbols, self.entry)
        self.b.size = self.size
        self.numbered: dict[int, Check] = {}
        self.item = 0
        self.failing: Value | None = None
        self.failed = ""

    @staticmethod
    def builder(module: Any, lanes: int, math: dict[str, MathRule], flags: str) -> Builder:
        """The builder of one thread's arithmetic."""
        return DeviceBuilder(module, 1, math)

    def storing_lane(self) -> str:
        """A flag for the thread that stores where several have one value to store; empty for
        all.
        """
        return ""

    def compute(self, number: int) -> Value:
        """Write the code of one value."""
        self.item = number
        value = self.kernel.values[number]
        if isinstance(value, GatherLoad) and any(
            _may_be_empty(c.extent) for c in value.choices
        ):
            return self._gather_checked(value)
        return super().compute(number)

    def _gather_checked(self, value: GatherLoad) -> Value:
        """An element of a tensor that may be empty: 0 where the check failed."""
        b, parts = self.b, parts_of(value.dtype)
        self.current_op = ("GatherV2", value.source)
        offset, step = self.element_offset(value.index, parts)
        position = self.checked_index(offset, step, value.choices, parts)
        assert self.failing is not None
        before, inside, after = self.label(), self.label(), self.label()
        self.line(f"br label %{before}")
        b.lines.append(f"{before}:")
        self.line(f"br i1 {self.failing.ir}, label %{after}, label %{inside}")
        b.lines.append(f"{inside}:")
        found = self.load_at(f"%b{value.buffer}", value.dtype, position)
        last = self.label()
        self.line(f"br label %{last}")
        b.lines += [f"{last}:", f"  br label %{after}", f"{after}:"]
        zero = b.const(0, value.dtype)
        kind = b.type(value.dtype, True)
        texts = [
            b.emit(f"phi {kind} [ {none}, %{before} ], [ {text}, %{last} ]")
            for text, none in ((found.ir, zero.ir), (found.imag, zero.imag))
            if text is not None
        ]
        return Value(value.dtype, texts[0], True, texts[1] if len(texts) > 1 else None)

    def emit_failure(self, condition: Value, reason: str, details: tuple[Value, ...]) -> None:
        """Note a failure in the status. The thread continues with a safe index."""
        b, checked = self.b, condition
        op, source = self.current_op
        self.failing = checked
        self.numbered[self.item] = Check(reason, op, source)
        if not self.failed:
            self.failed = b.fresh()
            self.entry += [
                f"  {self.failed} = alloca i1",
                f"  store i1 false, ptr {self.failed}",
            ]
        bad, first, good = self.label(), self.label(), self.label()
        self.line(f"br i1 {checked.ir}, label %{bad}, label %{good}")
        b.lines.append(f"{bad}:")
        self.line(f"store i1 true, ptr {self.failed}")
        point = b.emit(f"shl i64 {self._point_number()}, {POINT_SHIFT}")
        key = b.emit(f"or i64 {point}, {(self.step << STEP_SHIFT) + self.item}")
        least = f"atomicrmw umin ptr addrspace(1) %status, i64 {key}"
        old = b.emit(f'{least} syncscope("device") monotonic, align 8')
        same = b.emit(f"icmp eq i64 {old}, {key}")
        self.line(f"br i1 {same}, label %{first}, label %{good}")
        b.lines.append(f"{first}:")
        for number, detail in enumerate(details):
            at = b.emit(
                f"getelementptr inbounds i64, ptr addrspace(1) %status, i64 {number + 1}"
            )
            self.line(f"store i64 {detail.ir}, ptr addrspace(1) {at}, align 8")
        self.line(f"br label %{good}")
        b.lines.append(f"{good}:")

    def _point_number(self) -> str:
        """The number of the current point in the CPU's order."""
        strides, step = [0] * len(self.kernel.dims), 1
        for dim in range(len(self.kernel.dims) - 1, -1, -1):
            strides[dim] = step
            step = step * self.kernel.dims[dim]
        return self.element_offset(Index(0, tuple(strides)))[0]

    def store_result(self, number: int) -> None:
        """Write one of the kernel's stores."""
        self.item = len(self.kernel.values) + number
        if self.kernel.stores[number].choices:  # its check comes first
            super().store_result(number)
            return
        self.write_guarded(lambda: KernelEmitter.store_result(self, number))

    def scatter(self, number: int, offset: str, step: int, value: Value) -> None:
        """Write a store whose index is data."""
        store = self.kernel.stores[number]
        assert store.primitive is not None
        self.current_op = (store.primitive.tensorflow, store.source)
        position = self.checked_index(offset, step, store.choices, parts_of(value.dtype))
        self.write_guarded(lambda: self.combine_in(number, position, value), scattered=True)

    def write_guarded(self, write: Callable[[], None], scattered: bool = False) -> None:
        """Write a store that not all threads may do.

        One lane stores what a warp has in common. After a failure nothing is stored that a
        second launch could read, nor at a scattered index.
        """
        b = self.b
        conditions = [one] if (one := self.storing_lane()) else []
        if self.failed and (self.shared or scattered):
            failed = b.emit(f"load i1, ptr {self.failed}")
            conditions.append(b.emit(f"xor i1 {failed}, true"))
        if not conditions:
            write()
            return
        flag = conditions[0]
        for other in conditions[1:]:
            flag = b.emit(f"and i1 {flag}, {other}")
        inside, after = self.label(), self.label()
        self.line(f"br i1 {flag}, label %{inside}, label %{after}")
        b.lines.append(f"{inside}:")
        write()
        self.line(f"br label %{after}")
        b.lines.append(f"{after}:")


def _may_be_empty(extent: int) -> bool:
    return extent.bounds()[0] < 1 if isinstance(extent, Dim) else extent < 1


__all__ = [
    "INITIAL",
    "POINT_SHIFT",
    "STATUS_WORDS",
    "STEP_SHIFT",
    "PointEmitter",
    "argument_of",
]
