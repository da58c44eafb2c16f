"""Instructions of LLVM IR on scalars and vectors: names, operands, constants, rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphjit.core.dims import Dim
from graphjit.core.types import DType, int64

from .module import Module
from .values import Value, ir_type, literal

MathRule = Callable[..., Value]
# Follows a name that depends on the register at hand, where a body is written once for each
# register (register_blocking.py).
REGISTER_MARK = "\0"


class InstructionBuilder:
    """Appends instructions to the body of one function.

    flags: LLVM's fast-math flags for arithmetic on float32 and float64, none by default.
        Results that are rounded to a narrower type get none, since LLVM would then drop
        roundings. Bodies of math functions get none either: they rely on every rounding.
    registers: how many vectors a math function takes in place of one; register_blocking.py
        completes the calls
    table: if not None, constants of vectors are loaded from a table at %table. Maps (element
        type, constant) to an index in it.
    loaded: what the current statement has loaded from the table
    mask: the lanes in use; None for all
    fail: called with the condition, message and details of a check
    """

    def __init__(
        self, module: Module, width: int, math: dict[str, MathRule], flags: str = ""
    ) -> None:
        self.flags = flags
        self.registers = 1
        self.module = module
        self.width = width
        self.math = math
        self.lines: list[str] = []
        self.constants: set[str] = set()  # those splatted to vectors
        self.table: dict[tuple[str, str], int] | None = None
        self.loaded: dict[tuple[str, str], str] = {}
        self.mask: Value | None = None
        self.fail: Callable[[Value, str, tuple[Value, ...]], None] | None = None
        self.size: Callable[[int], str] = str

    def type(self, dtype: DType, wide: bool) -> str:
        """LLVM's type of a value."""
        element = ir_type(dtype)
        return f"<{self.width} x {element}>" if wide and self.width > 1 else element

    def fresh(self) -> str:
        """A name not yet used in this module."""
        self.module.counter += 1
        return f"%v{self.module.counter}"

    def emit(self, text: str) -> str:
        """Append `name = text` and give the name."""
        name = self.fresh()
        if self.registers > 1 and REGISTER_MARK in text:
            name += REGISTER_MARK
        self.lines.append(f"  {name} = {text}")
        return name

    def operand(self, value: Value, wide: bool, imag: bool = False) -> str:
        """A value's operand text, splatted if it must be wide and isn't."""
        text = value.imag if imag else value.ir
        assert text is not None
        if not wide or value.wide or self.width == 1:
            return text
        element = ir_type(value.dtype)
        if not text.startswith("%"):
            if self.table is not None and self._fits_table(element):
                return self._load_constant(element, text)
            self.constants.add(text)
            return f"splat ({element} {text})"
        vector = f"<{self.width} x {element}>"
        first = self.emit(f"insertelement {vector} poison, {element} {text}, i64 0")
        zeros = f"<{self.width} x i32> zeroinitializer"
        return self.emit(f"shufflevector {vector} {first}, {vector} poison, {zeros}")

    def _fits_table(self, element: str) -> bool:
        """Whether constants of a type may stand in the table: all have one floating type."""
        if element not in ("float", "double"):
            return False
        return not self.table or next(iter(self.table))[0] == element

    def _load_constant(self, element: str, text: str) -> str:
        """A vector filled with a constant, loaded from the table."""
        assert self.table is not None
        key = element, text
        if key not in self.loaded:
            position = self.table.setdefault(key, len(self.table))
            vector = f"<{self.width} x {element}>"
            address = self.emit(f"getelementptr {vector}, ptr %table, i64 {position}")
            self.loaded[key] = self.emit(f"load {vector}, ptr {address}, align 32")
        return self.loaded[key]

    def table_text(self) -> str:
        """LLVM's text of the table of constants."""
        assert self.table
        vectors = [f"<{self.width} x {e}> splat ({e} {text})" for e, text in self.table]
        element = next(iter(self.table))[0]
        kind = f"[{len(vectors)} x <{self.width} x {element}>]"
        return f"{kind} [{', '.join(vectors)}]"

    def widen(self, value: Value) -> Value:
        """The value as a full vector."""
        if value.wide or self.width == 1:
            return Value(value.dtype, value.ir, True, value.imag)
        imag = self.operand(value, True, imag=True) if value.imag is not None else None
        return Value(value.dtype, self.operand(value, True), True, imag)

    def const(self, number: Any, dtype: DType) -> Value:
        """A constant, or the value of a symbolic extent."""
        if isinstance(number, Dim):
            return self.cast(Value(int64, self.size(number), False), dtype)
        if dtype.kind == "c":
            number = complex(number)
            imag = literal(number.imag, dtype)
            return Value(dtype, literal(number.real, dtype), False, imag)
        return Value(dtype, literal(number, dtype), False)

    def _as_value(self, x: Value, y: Any) -> Value:
        return y if isinstance(y, Value) else self.const(y, x.dtype)

    def _instruction(self, opcode: str, dtype: DType, *operands: Value) -> Value:
        """One instruction on operands of one type, with a result of type `dtype`."""
        wide = any(v.wide for v in operands)
        texts = [self.operand(v, wide) for v in operands]
        kind = self.type(operands[0].dtype, wide)
        return Value(dtype, self.emit(f"{opcode} {kind} {', '.join(texts)}"), wide)

    def intrinsic(self, name: str, *operands: Value) -> Value:
        """A call of `llvm.<name>` on operands of one floating or integer type."""
        wide = any(v.wide for v in operands)
        kind = self.type(operands[0].dtype, wide)
        texts = [f"{kind} {self.operand(v, wide)}" for v in operands]
        element = ir_type(operands[0].dtype)
        suffix = {"float": "f32", "double": "f64"}.get(element, element)
        if wide and self.width > 1:
            suffix = f"v{self.width}{suffix}"
        full = f"llvm.{name}.{suffix}"
        self.module.declare(kind, full, ", ".join([kind] * len(operands)))
        result = self.emit(f"call {kind} @{full}({', '.join(texts)})")
        return self.rounded(Value(operands[0].dtype, result, wide))

    def bitcast(self, x: Value, dtype: DType) -> Value:
        """The same bits as another type of the same size."""
        source, target = self.type(x.dtype, x.wide), self.type(dtype, x.wide)
        if source == target:
            return Value(dtype, x.ir, x.wide)
        return Value(dtype, self.emit(f"bitcast {source} {x.ir} to {target}"), x.wide)

    def _convert(self, opcode: str, x: Value, dtype: DType) -> Value:
        source, target = self.type(x.dtype, x.wide), self.type(dtype, x.wide)
        return Value(dtype, self.emit(f"{opcode} {source} {x.ir} to {target}"), x.wide)

    def cast(self, x: Value, dtype: DType) -> Value:
        """The value converted as NumPy's astype converts it on x86-64."""
        raise NotImplementedError

    def rounded(self, value: Value) -> Value:
        """A float32 result rounded to the float16 or bfloat16 that it represents."""
        raise NotImplementedError
