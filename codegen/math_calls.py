"""Calls of math functions, and the functions themselves, each written once in a module."""

from __future__ import annotations

from collections.abc import Callable

from graphjit.core.types import DType, float32

from .instructions import InstructionBuilder
from .values import Value, ir_type

# Ends the name of a math function that takes and gives several registers
# (register_blocking.py).
REGISTERS_SUFFIX = ".parts"


class MathCallBuilder(InstructionBuilder):
    """Writes calls of the functions in `math`."""

    def __getattr__(self, name: str) -> Callable[..., Value]:
        """Math functions by name: `b.exp(x)`."""
        if name.startswith("_") or name not in self.math:
            raise AttributeError(name)
        return lambda *operands: self.call_math(name, *operands)

    def call_math(self, name: str, *operands: Value) -> Value:
        """A call of the shared function for this name, element type and width."""
        first = next(v for v in operands if isinstance(v, Value))
        values = [self._as_value(first, v) for v in operands]
        dtype = first.dtype
        if dtype.kind == "c":
            return self.math["complex_" + name](self, *values)
        if dtype.name in ("float16", "bfloat16"):
            singles = [Value(float32, v.ir, v.wide) for v in values]
            result = self.call_math(name, *singles)
            if result.dtype is not float32:
                return result
            return self.rounded(Value(dtype, result.ir, result.wide))
        wide = any(v.wide for v in values) and self.width > 1
        parts = self.registers if wide else 1
        lanes = self.width * parts if wide else 1
        symbol = f"math.{name}.{dtype.short}x{lanes}" + REGISTERS_SUFFIX * (parts > 1)
        uses = self.module.math_uses.get(symbol, 0)
        self.module.math_uses[symbol] = uses + 1
        if uses == 0 and parts > 1:
            self._define_math_on_registers(symbol, name, dtype, len(values))
        elif uses == 0:
            self._define_math(symbol, name, dtype, lanes, len(values))
        kind = self.type(dtype, wide)
        texts = ", ".join(f"{kind} {self.operand(v, wide)}" for v in values)
        return Value(dtype, self.emit(f"call {kind} @{symbol}({texts})"), wide)

    def by_lane(self, name: str, x: Value) -> Value:
        """A math function's scalar code called for every lane: short code, for rare paths."""
        self.module.math_rare.add(f"math.{name}.{x.dtype.short}x1")
        if not x.wide or self.width == 1:
            return self.call_math(name, x)
        kind, vector = self.type(x.dtype, True), "poison"
        element = ir_type(x.dtype)
        for lane in range(self.width):
            item = self.emit(f"extractelement {kind} {x.ir}, i64 {lane}")
            item = self.call_math(name, Value(x.dtype, item, False)).ir
            vector = self.emit(f"insertelement {kind} {vector}, {element} {item}, i64 {lane}")
        return Value(x.dtype, vector, True)

    def _define_math(
        self, symbol: str, name: str, dtype: DType, lanes: int, count: int
    ) -> None:
        """Write the function for one element type and number of lanes."""
        self.module.math_bodies[symbol] = ""  # keeps the order: callees come after
        inner = type(self)(self.module, lanes, self.math)
        arguments = [Value(dtype, f"%a{i}", lanes > 1) for i in range(count)]
        result = self.math[name](inner, *arguments)
        kind = inner.type(dtype, lanes > 1)
        listed = ", ".join(f"{kind} {a.ir}" for a in arguments)
        body = [f"define internal {kind} @{symbol}({listed}) #math {{", *inner.lines]
        body += [f"  ret {kind} {inner.operand(result, lanes > 1)}", "}"]
        self.module.math_bodies[symbol] = "\n".join(body)

    def _define_math_on_registers(
        self, symbol: str, name: str, dtype: DType, count: int
    ) -> None:
        """Write a math function that takes and gives vectors as one register each."""
        self.module.math_bodies[symbol] = ""
        parts, part = range(self.registers), self.type(dtype, True)
        inner = type(self)(self.module, self.width * self.registers, self.math)
        whole, result = inner.type(dtype, True), f"{{{', '.join([part] * self.registers)}}}"
        names = [[f"%a{i}.{k}" for k in parts] for i in range(count)]
        operands = [
            Value(dtype, inner._concatenate(n, ir_type(dtype), self.width), True) for n in names
        ]
        found = inner.call_math(name, *operands).ir
        given = "poison"
        for k in parts:
            order = ", ".join(f"i32 {k * self.width + i}" for i in range(self.width))
            one = inner.emit(
                f"shufflevector {whole} {found}, {whole} poison, <{self.width} x i32> <{order}>"
            )
            given = inner.emit(f"insertvalue {result} {given}, {part} {one}, {k}")
        listed = ", ".join(f"{part} {n}" for of_one in names for n in of_one)
        body = [f"define internal {result} @{symbol}({listed}) #math {{", *inner.lines]
        body += [f"  ret {result} {given}", "}"]
        self.module.math_bodies[symbol] = "\n".join(body)

    def _concatenate(self, vectors: list[str], element: str, lanes: int) -> str:
        """One vector of several. Their number is a power of two; each has `lanes` lanes."""
        while len(vectors) > 1:
            kind = f"<{lanes} x {element}>"
            lanes *= 2
            order = ", ".join(f"i32 {i}" for i in range(lanes))
            vectors = [
                self.emit(f"shufflevector {kind} {x}, {kind} {y}, <{lanes} x i32> <{order}>")
                for x, y in zip(vectors[::2], vectors[1::2], strict=True)
            ]
        return vectors[0]
