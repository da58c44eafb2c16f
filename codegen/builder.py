"""Arithmetic of the scalar rules of primitives, on one element or on a vector of them.

A `Builder` offers arithmetic by name (`add`, `fma`, `select`, `exp`, …) on `Value`s. A value is
*wide* (a vector of `width` lanes) or not (a scalar, the same for every lane). Operations on
scalars stay scalar; a scalar that meets a vector is splatted. So one rule serves loops of any
width. float16 and bfloat16 values are held as float32 and rounded after every operation. A
complex value is a pair. Loops are written by emit.py, math functions by math/.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from graphjit.core.types import (
    DType,
    bool_,
    complex64,
    complex128,
    float32,
    float64,
    int32,
    int64,
    uint32,
    uint64,
)

from .math_calls import MathCallBuilder
from .values import Value, ir_type, literal

_INTEGER_OF = {"float32": uint32, "float64": uint64}


class Builder(MathCallBuilder):
    """Arithmetic on values; appends to the body of one function."""

    def rounded(self, value: Value) -> Value:
        """A float32 result rounded to the float16 or bfloat16 that it represents."""
        if value.dtype.name == "float16":
            half = self.type(float32, value.wide).replace("float", "half")
            full = self.type(float32, value.wide)
            narrow = self.emit(f"fptrunc {full} {value.ir} to {half}")
            wide = self.emit(f"fpext {half} {narrow} to {full}")
            return Value(value.dtype, wide, value.wide)
        if value.dtype.name == "bfloat16":
            single = Value(float32, value.ir, value.wide)
            bits = self.bitcast(single, uint32)
            odd = self.and_(self.shr(bits, 16), 1)
            up = self.and_(self.add(bits, self.add(odd, 0x7FFF)), 0xFFFF0000)
            # NaN must stay NaN: a payload in the low half would round to infinity.
            quiet = self.or_(self.and_(bits, 0xFFFF0000), 0x400000)
            bits = self.select(self.ne(single, single), quiet, up)
            return Value(value.dtype, self.bitcast(bits, float32).ir, value.wide)
        return value

    def add(self, x: Value, y: Any) -> Value:
        """X + y; integers wrap."""
        return self._arithmetic("add", x, y)

    def sub(self, x: Value, y: Any) -> Value:
        """X - y; integers wrap."""
        return self._arithmetic("sub", x, y)

    def mul(self, x: Value, y: Any) -> Value:
        """X * y; integers wrap."""
        return self._arithmetic("mul", x, y)

    def div(self, x: Value, y: Any) -> Value:
        """X / y of floating-point or complex values."""
        return self._arithmetic("div", x, y)

    def _arithmetic(self, name: str, x: Value, y: Any) -> Value:
        y = self._as_value(x, y)
        if x.dtype.kind == "c":
            return self.math["complex_" + name](self, x, y)
        opcode = name
        if x.dtype.kind == "f":
            opcode = f"f{name}{self.flags if x.dtype.bits >= 32 else ''}"
        return self.rounded(self._instruction(opcode, x.dtype, x, y))

    def fma(self, x: Value, y: Any, z: Any) -> Value:
        """X * y + z, rounded once."""
        return self.intrinsic("fma", x, self._as_value(x, y), self._as_value(x, z))

    def ldexp(self, x: Value, n: Value) -> Value:
        """X · 2^n for a signed integer n of x's size, where the target has it ("ldexp")."""
        wide = x.wide or n.wide
        kind, whole = self.type(x.dtype, wide), self.type(n.dtype, wide)
        lanes = f"v{self.width}" if wide and self.width > 1 else ""
        full = f"llvm.ldexp.{lanes}f{x.dtype.bits}.{lanes}i{n.dtype.bits}"
        self.module.declare(kind, full, f"{kind}, {whole}")
        texts = f"{kind} {self.operand(x, wide)}, {whole} {self.operand(n, wide)}"
        return Value(x.dtype, self.emit(f"call {kind} @{full}({texts})"), wide)

    def fmod(self, x: Value, y: Value) -> Value:
        """C's fmod: the exact remainder with the sign of x."""
        return self.rounded(self._instruction("frem", x.dtype, x, y))

    def neg(self, x: Value) -> Value:
        """-x."""
        if x.dtype.kind == "c":
            re, im = self.neg(self.real(x)), self.neg(self.imag(x))
            return self.complex(re, im)
        if x.dtype.kind == "f":
            return self._instruction("fneg", x.dtype, x)
        return self._instruction("sub", x.dtype, self.const(0, x.dtype), x)

    def abs(self, x: Value) -> Value:
        """|x|; of a complex value its modulus, a real value."""
        if x.dtype.kind == "c":
            return self.hypot(self.real(x), self.imag(x))
        if x.dtype.kind == "f":
            return self.intrinsic("fabs", x)
        if x.dtype.kind in "bu":
            return x
        return self.select(self.lt(x, 0), self.neg(x), x)

    def sqrt(self, x: Value) -> Value:
        """The correctly rounded square root (of a complex value: the principal one)."""
        if x.dtype.kind == "c":
            return self.math["complex_sqrt"](self, x)
        return self.intrinsic("sqrt", x)

    def floor(self, x: Value) -> Value:
        """Rounded toward minus infinity."""
        return self.intrinsic("floor", x)

    def ceil(self, x: Value) -> Value:
        """Rounded toward plus infinity."""
        return self.intrinsic("ceil", x)

    def trunc(self, x: Value) -> Value:
        """Rounded toward zero."""
        return self.intrinsic("trunc", x)

    def rint(self, x: Value) -> Value:
        """Rounded to nearest, ties to even."""
        return self.intrinsic("rint", x)

    def copysign(self, x: Value, y: Any) -> Value:
        """|x| with the sign of y."""
        return self.intrinsic("copysign", x, self._as_value(x, y))

    def minimum(self, x: Value, y: Any) -> Value:
        """The smaller; NaN if either is NaN."""
        return self._select_extreme("lt", x, self._as_value(x, y))

    def maximum(self, x: Value, y: Any) -> Value:
        """The larger; NaN if either is NaN."""
        return self._select_extreme("gt", x, self._as_value(x, y))

    def _select_extreme(self, order: str, x: Value, y: Value) -> Value:
        """x where it is ordered first or NaN, else y.

        Where both are equal the result is y, as in NumPy's vector loops. One or two
        instructions if y is a known number.
        """
        if x.dtype.kind != "f":
            keep = self._compare(order[0] + "e", x, y)
            return self.select(
                self.or_(keep, self.isnan(x)) if x.dtype.kind == "c" else keep, x, y
            )
        if not y.ir.startswith("%") and y.ir != literal(math.nan, y.dtype):
            return self.select(self._instruction(f"fcmp u{order}", bool_, x, y), x, y)
        first = self.select(self._instruction(f"fcmp o{order}", bool_, x, y), x, y)
        return self.select(self.isnan(x), x, first)

    def isnan(self, x: Value) -> Value:
        """Whether x is NaN (for complex: whether either part is)."""
        if x.dtype.kind == "c":
            return self.or_(self.isnan(self.real(x)), self.isnan(self.imag(x)))
        return self._instruction("fcmp uno", bool_, x, x)

    def eq(self, x: Value, y: Any) -> Value:
        """X == y."""
        return self._compare("eq", x, y)

    def ne(self, x: Value, y: Any) -> Value:
        """X != y; true for NaN."""
        return self._compare("ne", x, y)

    def lt(self, x: Value, y: Any) -> Value:
        """X < y."""
        return self._compare("lt", x, y)

    def le(self, x: Value, y: Any) -> Value:
        """X <= y."""
        return self._compare("le", x, y)

    def gt(self, x: Value, y: Any) -> Value:
        """X > y."""
        return self._compare("gt", x, y)

    def ge(self, x: Value, y: Any) -> Value:
        """X >= y."""
        return self._compare("ge", x, y)

    def _compare(self, name: str, x: Value, y: Any) -> Value:
        y = self._as_value(x, y)
        if x.dtype.kind == "c":
            same = self._compare(name, self.imag(x), self.imag(y))
            first = self._compare(name, self.real(x), self.real(y))
            if name in ("eq", "ne"):
                return self.or_(first, same) if name == "ne" else self.and_(first, same)
            # NumPy orders complex numbers lexicographically, if neither imaginary part is NaN.
            strict = self._compare(name[0] + "t", self.real(x), self.real(y))
            ordered = self._instruction("fcmp ord", bool_, self.imag(x), self.imag(y))
            strict = self.and_(strict, ordered)
            equal = self.eq(self.real(x), self.real(y))
            return self.or_(strict, self.and_(equal, same))
        if x.dtype.kind == "f":
            code = "fcmp " + ("une" if name == "ne" else "o" + name)
        else:
            signed = "" if name in ("eq", "ne") else "s" if x.dtype.kind == "i" else "u"
            code = "icmp " + signed + name
        return self._instruction(code, bool_, x, y)

    def and_(self, x: Value, y: Any) -> Value:
        """Bitwise and; on bool logical."""
        return self._instruction("and", x.dtype, x, self._as_value(x, y))

    def or_(self, x: Value, y: Any) -> Value:
        """Bitwise or; on bool logical."""
        return self._instruction("or", x.dtype, x, self._as_value(x, y))

    def xor(self, x: Value, y: Any) -> Value:
        """Bitwise exclusive or; on bool logical."""
        return self._instruction("xor", x.dtype, x, self._as_value(x, y))

    def not_(self, x: Value) -> Value:
        """Bitwise complement; on bool logical."""
        return self.xor(x, True if x.dtype.kind == "b" else -1)

    def shl(self, x: Value, y: Any) -> Value:
        """X << y for y in range(bits): the caller guards wider shifts."""
        return self._instruction("shl", x.dtype, x, self._as_value(x, y))

    def shr(self, x: Value, y: Any) -> Value:
        """X >> y for y in range(bits), arithmetic for signed types."""
        opcode = "ashr" if x.dtype.kind == "i" else "lshr"
        return self._instruction(opcode, x.dtype, x, self._as_value(x, y))

    def count_bits(self, x: Value) -> Value:
        """The number of set bits."""
        return self.intrinsic("ctpop", x)

    def select(self, condition: Value, x: Value, y: Any) -> Value:
        """X where the condition holds, else y."""
        y = self._as_value(x, y)
        wide = condition.wide or x.wide or y.wide
        mask = f"{self.type(bool_, condition.wide)} {self.operand(condition, condition.wide)}"
        kind = self.type(x.dtype, wide)
        parts = []
        for imag in (False, True) if x.imag is not None else (False,):
            left, right = self.operand(x, wide, imag), self.operand(y, wide, imag)
            parts.append(self.emit(f"select {mask}, {kind} {left}, {kind} {right}"))
        return Value(x.dtype, parts[0], wide, parts[1] if len(parts) > 1 else None)

    def if_any(self, condition: Value, rare: Callable[[], Value], usual: Value) -> Value:
        """`rare()` where the condition holds, else `usual`, with a branch around `rare`.

        For paths that few operands need. The branch is taken if any lane's condition holds.
        """
        flag = condition.ir
        if condition.wide and self.width > 1:
            kind = self.type(bool_, True)
            name = f"llvm.vector.reduce.or.v{self.width}i1"
            self.module.declare("i1", name, kind)
            flag = self.emit(f"call i1 @{name}({kind} {flag})")
        # A lane not in use may be poison, and a branch on poison is undefined.
        flag = self.emit(f"freeze i1 {flag}")
        self.module.declare("i1", "llvm.expect.i1", "i1, i1")
        flag = self.emit(f"call i1 @llvm.expect.i1(i1 {flag}, i1 false)")
        before, inside, last, after = (self.fresh()[1:] for _ in range(4))
        wide = condition.wide or usual.wide
        usual = self.widen(usual) if wide else usual
        self.lines += [f"  br label %{before}", f"{before}:"]
        self.lines += [f"  br i1 {flag}, label %{inside}, label %{after}", f"{inside}:"]
        chosen = self.select(condition, rare(), usual)
        self.lines += [f"  br label %{last}", f"{last}:", f"  br label %{after}", f"{after}:"]
        kind = self.type(usual.dtype, wide)
        result = self.emit(f"phi {kind} [ {usual.ir}, %{before} ], [ {chosen.ir}, %{last} ]")
        return Value(usual.dtype, result, wide)

    def divmod(self, x: Value, y: Value, floor: bool) -> tuple[Value, Value]:
        """Quotient and remainder of integers, rounded down or toward zero.

        As NumPy on x86-64, division by 0 gives (0, 0), and the most negative value over -1
        wraps. Neither reaches the processor, where both would trap.
        """
        zero = self.eq(y, 0)
        bad = zero
        if x.dtype.kind == "i":
            lowest = self.eq(x, -(2 ** (x.dtype.bits - 1)))
            bad = self.or_(zero, self.and_(lowest, self.eq(y, -1)))
        if self.mask is not None and y.wide:
            # a scalar divisor stays scalar: LLVM 22 assumes what isn't so of some int8
            # vectors of different constants
            bad = self.or_(bad, self.not_(self.mask))
        safe = self.select(bad, self.const(1, x.dtype), y)
        opcode = "sdiv" if x.dtype.kind == "i" else "udiv"
        quotient = self._instruction(opcode, x.dtype, x, safe)
        remainder = self.sub(x, self.mul(quotient, safe))
        if floor and x.dtype.kind == "i":
            opposite = self.lt(self.xor(remainder, safe), 0)
            adjust = self.and_(self.ne(remainder, 0), opposite)
            quotient = self.select(adjust, self.sub(quotient, 1), quotient)
            remainder = self.select(adjust, self.add(remainder, safe), remainder)
        nothing = self.const(0, x.dtype)
        return self.select(zero, nothing, quotient), self.select(zero, nothing, remainder)

    def fail_if(self, condition: Value, reason: str, *details: Value) -> None:
        """End the kernel with an error if the condition holds in any lane in use.

        reason: the message, with {0}, {1}, … for the details (integers)
        """
        if self.fail is not None:
            if self.mask is not None:
                condition = self.and_(condition, self.mask)
            self.fail(condition, reason, details)

    def cast(self, x: Value, dtype: DType) -> Value:
        """The value converted as NumPy's astype converts it on x86-64."""
        if dtype is x.dtype:
            return x
        if dtype.kind == "c":
            re = self.cast(self.real(x), dtype.real)
            im = self.cast(self.imag(x), dtype.real) if x.dtype.kind == "c" else None
            return self.complex(re, im or self.const(0, dtype.real), dtype)
        if x.dtype.kind == "c":
            if dtype.kind == "b":
                return self.ne(x, 0)
            return self.cast(self.real(x), dtype)
        if dtype.kind == "b":
            return self.ne(x, 0)
        if x.dtype.kind == "f":
            return self._cast_float(x, dtype)
        if dtype.kind == "f":
            opcode = "sitofp" if x.dtype.kind == "i" else "uitofp"
            return self.rounded(self._convert(opcode, x, dtype))
        if x.dtype.bits > dtype.bits and x.dtype.kind != "b":
            return self._convert("trunc", x, dtype)
        if x.dtype.kind != "b" and x.dtype.bits == dtype.bits:
            return Value(dtype, x.ir, x.wide)
        return self._convert("sext" if x.dtype.kind == "i" else "zext", x, dtype)

    def _cast_float(self, x: Value, dtype: DType) -> Value:
        """A float converted to another type."""
        if dtype.kind == "f":
            if ir_type(x.dtype) == ir_type(dtype):
                return self.rounded(Value(dtype, x.ir, x.wide))
            if dtype.name == "float64":
                return self._convert("fpext", x, dtype)
            if dtype.name == "float16":
                x = self._round_to_odd(x)
                return self.rounded(Value(dtype, x.ir, x.wide))
            return self.rounded(self._convert("fptrunc", x, dtype))
        # Out of range and NaN give what C's cvttsd2si gives: the "indefinite" integer of
        # 32 bits for types up to int32, of 64 bits for uint32 and wider types.
        via = int32 if dtype.bits < 32 or dtype is int32 else int64
        if dtype.name == "uint64":
            big = self.ge(x, 2.0**63)
            low = self._to_signed(self.select(big, self.sub(x, 2.0**63), x), int64)
            flip = self.select(big, self.const(-(2**63), int64), self.const(0, int64))
            bits = self.xor(low, flip)
            return Value(dtype, bits.ir, bits.wide)
        return self.cast(self._to_signed(x, via), dtype)

    def _to_signed(self, x: Value, dtype: DType) -> Value:
        """A float converted to a signed integer; the most negative one if out of range."""
        limit = 2.0 ** (dtype.bits - 1)
        low = self.ge(x, -limit) if x.dtype.name != "float64" or dtype is int64 else None
        low = self.gt(x, -limit - 1) if low is None else low
        inside = self.and_(low, self.lt(x, limit))
        safe = self.select(inside, x, self.const(0.0, x.dtype))
        lowest = self.const(-(2 ** (dtype.bits - 1)), dtype)
        return self.select(inside, self._convert("fptosi", safe, dtype), lowest)

    def _round_to_odd(self, x: Value) -> Value:
        """A float64 rounded to odd in float32, so that a further rounding to float16 is exact.

        Source: Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008.
        """
        near = self._convert("fptrunc", x, float32)
        back = self._convert("fpext", near, float64)
        bits = self.bitcast(near, uint32)
        above = self.gt(self.abs(back), self.abs(x))
        bits = self.select(above, self.sub(bits, 1), bits)
        odd = self.select(self._compare("ne", back, x), self.or_(bits, 1), bits)
        odd = self.select(self.isnan(x), self.bitcast(near, uint32), odd)
        return self.bitcast(odd, float32)

    def complex(self, re: Value, im: Value, dtype: DType | None = None) -> Value:
        """A complex value from its parts."""
        if re.wide != im.wide:
            re, im = self.widen(re), self.widen(im)
        if dtype is None:
            dtype = complex128 if re.dtype.name == "float64" else complex64
        return Value(dtype, re.ir, re.wide, im.ir)

    def real(self, x: Value) -> Value:
        """The real part."""
        return Value(x.dtype.real, x.ir, x.wide)

    def imag(self, x: Value) -> Value:
        """The imaginary part, 0 of a real value."""
        if x.imag is None:
            return self.const(0, x.dtype)
        return Value(x.dtype.real, x.imag, x.wide)

    def integer_of(self, dtype: DType) -> DType:
        """The unsigned integer type of a floating type's size."""
        return _INTEGER_OF[dtype.name]
