"""Differences of the Builder and its Module for a GPU: exact remainders, everything inlined, a
thread's special registers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphjit.codegen.builder import Builder
from graphjit.codegen.module import Module
from graphjit.codegen.values import Value, ir_type
from graphjit.core.types import DType, float32, float64

LANES = 32


class DeviceModule(Module):
    """The text of a module without calls: a call would need a stack."""

    def math_attributes(self, name: str) -> str:
        """Every math function is inlined."""
        return "alwaysinline"


class DeviceBuilder(Builder):
    """The arithmetic of one thread."""

    def fmod(self, x: Value, y: Value) -> Value:
        """C's fmod. LLVM's `frem` divides on this target, which is wrong for large
        quotients.
        """
        double = x.dtype.name == "float64"
        name = "device.fmod." + ("f64" if double else "f32")
        if name not in self.module.shared:
            self.module.shared.add(name)
            self.module.functions.append(_FMOD64 if double else _FMOD32)
        kind = ir_type(x.dtype)
        self.module.declare(kind, f"llvm.copysign.f{64 if double else 32}", f"{kind}, {kind}")
        result = self.emit(f"call {kind} @{name}({kind} {x.ir}, {kind} {y.ir})")
        return self.rounded(Value(x.dtype, result, x.wide))

    def shl(self, x: Value, y: Any) -> Value:
        """X << y for y in range(bits)."""
        return self._shift_in_two_steps(super().shl, x, y)

    def shr(self, x: Value, y: Any) -> Value:
        """X >> y for y in range(bits), arithmetic for signed types."""
        return self._shift_in_two_steps(super().shr, x, y)

    def _shift_in_two_steps(
        self, shift: Callable[[Value, Any], Value], x: Value, y: Any
    ) -> Value:
        """A shift of 64 bits, as two shifts.

        PTX's shifts give 0 beyond the width. So LLVM 22 turns a choice between 0 and a shift
        into one shift; but it passes only the low 32 bits of y. It must therefore not see a
        choice between a shift by y and 0.
        """
        if x.dtype.bits < 64 or not isinstance(y, Value) or not y.ir.startswith("%"):
            return shift(x, y)
        return shift(shift(x, self.and_(y, 31)), self.and_(y, 32))

    def thread(self, name: str) -> str:
        """A special register as i64: `tid.x`, `ntid.x`, `ctaid.x`, `nctaid.x`."""
        full = f"llvm.nvvm.read.ptx.sreg.{name}"
        self.module.declare("i32", full, "")
        return self.emit(f"zext i32 {self.emit(f'call i32 @{full}()')} to i64")

    def barrier(self) -> None:
        """Wait for all threads of the block. Their writes to shared memory are then visible."""
        name = "llvm.nvvm.barrier.cta.sync.aligned.all"
        self.module.declare("void", name, "i32")
        self.lines.append(f"  call void @{name}(i32 0)")

    def warp_barrier(self) -> None:
        """Wait for all threads of the warp."""
        self.module.declare("void", "llvm.nvvm.bar.warp.sync", "i32")
        self.lines.append("  call void @llvm.nvvm.bar.warp.sync(i32 -1)")

    def from_lane(self, x: Value, mode: str, lane: int) -> Value:
        """Another lane's value: with "down" that of the lane so many up, with "idx" that of
        lane `lane`.
        """
        parts = [self._shuffle(x.dtype, x.ir, mode, lane)]
        if x.imag is not None:
            parts.append(self._shuffle(x.dtype, x.imag, mode, lane))
        return Value(x.dtype, parts[0], x.wide, parts[1] if len(parts) > 1 else None)

    def _shuffle(self, dtype: DType, text: str, mode: str, lane: int) -> str:
        name = f"llvm.nvvm.shfl.sync.{mode}.i32"
        self.module.declare("i32", name, "i32, i32, i32, i32")

        def moved(word: str) -> str:
            return self.emit(f"call i32 @{name}(i32 -1, i32 {word}, i32 {lane}, i32 31)")

        kind = ir_type(dtype)
        if kind in ("i64", "double"):
            whole = text if kind == "i64" else self.emit(f"bitcast double {text} to i64")
            low = moved(self.emit(f"trunc i64 {whole} to i32"))
            high = moved(self.emit(f"trunc i64 {self.emit(f'lshr i64 {whole}, 32')} to i32"))
            low, high = (
                self.emit(f"zext i32 {low} to i64"),
                self.emit(f"zext i32 {high} to i64"),
            )
            whole = self.emit(f"or i64 {low}, {self.emit(f'shl i64 {high}, 32')}")
            return whole if kind == "i64" else self.emit(f"bitcast i64 {whole} to double")
        if kind == "i32":
            return moved(text)
        if kind == "float":
            word = moved(self.emit(f"bitcast float {text} to i32"))
            return self.emit(f"bitcast i32 {word} to float")
        return self.emit(
            f"trunc i32 {moved(self.emit(f'zext {kind} {text} to i32'))} to {kind}"
        )


def _fmod_text(dtype: DType, fraction: int, at_once: int) -> str:
    """The text of fmod.

    The remainder of the significands times 2^(difference of exponents) is computed a few bits
    at a time in 64-bit integers. It is then multiplied by the unit of y's last place, which is
    exact.

    at_once: how many bits at a time
    """
    bits, kind, word = dtype.bits, ir_type(dtype), f"i{dtype.bits}"
    name = f"device.fmod.f{bits}"
    most = 2 ** (bits - 1 - fraction) - 1
    lines = [f"define internal {kind} @{name}({kind} %x, {kind} %y) alwaysinline {{", "entry:"]
    for v in "xy":
        lines += [
            f"  %{v}.bits = bitcast {kind} %{v} to {word}",
            f"  %{v}.size = and {word} %{v}.bits, {2 ** (bits - 1) - 1}",
            f"  %{v}.field = lshr {word} %{v}.size, {fraction}",
            f"  %{v}.normal = icmp ne {word} %{v}.field, 0",
            f"  %{v}.one = select i1 %{v}.normal, {word} %{v}.field, {word} 1",
            f"  %{v}.frac = and {word} %{v}.size, {2**fraction - 1}",
            f"  %{v}.lead = select i1 %{v}.normal, {word} {2**fraction}, {word} 0",
            f"  %{v}.sig = or {word} %{v}.frac, %{v}.lead",
        ]
        extend = f"zext {word} %{v}.sig to i64" if bits < 64 else f"add i64 %{v}.sig, 0"
        lines.append(f"  %{v}.wide = {extend}")
    infinite = most << fraction
    lines += [
        f"  %bad.x = icmp uge {word} %x.size, {infinite}",
        f"  %bad.y = icmp ugt {word} %y.size, {infinite}",
        f"  %none = icmp eq {word} %y.size, 0",
        "  %bad.xy = or i1 %bad.x, %bad.y",
        "  %bad = or i1 %bad.xy, %none",
        f"  %less = icmp ult {word} %x.size, %y.size",
        "  %simple = or i1 %bad, %less",
        "  br i1 %simple, label %done, label %first",
        "first:",
        f"  %far = sub {word} %x.one, %y.one",
        "  %start = urem i64 %x.wide, %y.wide",
        "  br label %head",
        "head:",
        "  %rest = phi i64 [ %start, %first ], [ %next, %body ]",
        f"  %left = phi {word} [ %far, %first ], [ %fewer, %body ]",
        f"  %more = icmp ne {word} %left, 0",
        "  br i1 %more, label %body, label %last",
        "body:",
        f"  %short = icmp ult {word} %left, {at_once}",
        f"  %step = select i1 %short, {word} %left, {word} {at_once}",
        f"  %by = {f'zext {word} %step to i64' if bits < 64 else 'add i64 %step, 0'}",
        "  %shifted = shl i64 %rest, %by",
        "  %next = urem i64 %shifted, %y.wide",
        f"  %fewer = sub {word} %left, %step",
        "  br label %head",
        "last:",
        f"  %whole = uitofp i64 %rest to {kind}",
        # the unit in y's last place, a subnormal number where y is small
        f"  %unit.field = sub {word} %y.one, {fraction}",
        f"  %unit.high = shl {word} %unit.field, {fraction}",
        f"  %tiny = icmp sle {word} %unit.field, 0",
        f"  %place.raw = sub {word} %y.one, 1",
        f"  %place = and {word} %place.raw, {bits - 1}",
        f"  %unit.low = shl {word} 1, %place",
        f"  %unit.bits = select i1 %tiny, {word} %unit.low, {word} %unit.high",
        f"  %unit = bitcast {word} %unit.bits to {kind}",
        f"  %size = fmul {kind} %whole, %unit",
        f"  %signed = call {kind} @llvm.copysign.f{bits}({kind} %size, {kind} %x)",
        "  br label %done",
        "done:",
        f"  %kept = phi {kind} [ %x, %entry ], [ %signed, %last ]",
        f"  %result = select i1 %bad, {kind} {_NAN}, {kind} %kept",
        f"  ret {kind} %result",
        "}",
    ]
    return "\n".join(lines)


_NAN = "0x7FF8000000000000"  # of both types, as LLVM writes it
_FMOD32, _FMOD64 = _fmod_text(float32, 23, 40), _fmod_text(float64, 52, 11)
