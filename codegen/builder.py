"""Writes LLVM IR for the scalar rules of primitives, on one element or on a vector of them.

A `Builder` offers arithmetic by name (`add`, `fma`, `select`, `exp`, …) on `Value`s. A value is
*wide* (a vector of `width` lanes) or not (a scalar, the same for every lane); ops on scalars
stay scalar, and a scalar that meets a vector is splatted. So one rule serves loops of any
width. float16 and bfloat16 values are held as float32 and rounded after every op; a complex
value is a pair. Knows no loops (emit.py) and no approximations (math/).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

from graphjit.core.dims import Dim
from graphjit.core.types import DType, bool_, float32, float64, int32, int64, uint32, uint64

MathRule = Callable[..., "Value"]
_INTEGER_OF = {"float32": uint32, "float64": uint64}
# A math function used at most this often in a module is inlined at each use, if its text has
# no more characters than this: beside longer ones a call costs nothing. 500 inlined sines cost
# LLVM 1.2 s, calls to one shared function 0.09 s.
INLINE_USES, LONG_MATH = 8, 16_000
# What ends the name of a math function that takes and gives several registers
# (register_blocking.py).
REGISTER_BLOCKS = ".parts"
# What follows a name that depends on the register at hand, where a body is written in parts.
MARK = "\0"


def ir_type(dtype: DType) -> str:
    """LLVM's type of one element (of the real part, for complex) held in a register."""
    if dtype.kind == "b":
        return "i1"
    if dtype.kind in "iu":
        return f"i{dtype.bits}"
    return "double" if dtype.real.name == "float64" else "float"


def _as_single(value: float) -> float:
    try:
        single: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    return single


def literal(number: Any, dtype: DType) -> str:
    """LLVM's text of a constant element (of the real part, for complex)."""
    if dtype.kind == "b":
        return "true" if number else "false"
    if dtype.kind in "iu":
        bits = int(number) & (2**dtype.bits - 1)
        return str(bits - 2**dtype.bits if bits >> (dtype.bits - 1) else bits)
    value = float(number)
    if dtype.real.name != "float64":
        value = _as_single(value)
    return "0x" + struct.pack(">d", value).hex().upper()


class Value:
    """One SSA value: its element type, its operand text, whether it fills a vector."""

    __slots__ = ("dtype", "imag", "ir", "wide")

    def __init__(self, dtype: DType, ir: str, wide: bool, imag: str | None = None) -> None:
        self.dtype = dtype
        self.ir = ir
        self.wide = wide
        self.imag = imag


class Module:
    """The text of one LLVM module: functions, declarations, shared math functions.

    native: what the target has instructions for beyond the common ("ldexp"); results are the
    same with and without.
    """

    def __init__(self, native: frozenset[str] = frozenset()) -> None:
        self.native = native
        self.functions: list[str] = []
        self.written: dict[str, str] = {}  # text -> name
        self.declarations: set[str] = set()
        self.math_uses: dict[str, int] = {}
        self.shared: set[str] = set()
        self.math_bodies: dict[str, str] = {}
        self.math_rare: set[str] = set()
        self.counter = 0

    def declare(self, result: str, name: str, arguments: str) -> None:
        """Declare an external function or intrinsic once."""
        self.declarations.add(f"declare {result} @{name}({arguments})")

    def function(self, name: str, text: str) -> str:
        """The name of the function that a text defines, `{name}` standing for its own: this
        one or that of an equal one, for each is written once.
        """
        if text not in self.written:
            self.written[text] = name
            self.functions.append(text.replace("{name}", name))
        return self.written[text]

    def how(self, name: str) -> str:
        """The attributes of a math function: whether its uses call it or hold it."""
        if name in self.math_rare:
            # Optimizing what hardly ever runs would take as long as all the rest.
            return "noinline optnone cold"
        few = self.math_uses[name] <= INLINE_USES and len(self.math_bodies[name]) < LONG_MATH
        return "alwaysinline" if few else "noinline"

    def text(self) -> str:
        """The whole module."""
        parts = sorted(self.declarations)
        for name, body in self.math_bodies.items():
            parts.append(body.replace("#math", self.how(name)))
        return "\n".join(parts + self.functions) + "\n"


class Builder:
    """Appends instructions to the body of one function.

    flags: LLVM's fast-math flags of arithmetic on float32 and float64, none by default; results
    that are rounded to a narrower type have none, for LLVM would leave roundings out. Nor have
    the bodies of math functions, which rely on each. parts: the vectors that a
    math function takes in place of one (register_blocking.py, which completes the calls).
    """

    def __init__(
        self, module: Module, width: int, math: dict[str, MathRule], flags: str = ""
    ) -> None:
        self.flags = flags
        self.parts = 1
        self.module = module
        self.width = width
        self.math = math
        self.lines: list[str] = []
        self.constants: set[str] = set()  # that fill vectors
        # or, where they are loaded, the places in the table at %table of vectors full of them
        self.table: dict[tuple[str, str], int] | None = None
        self.loaded: dict[tuple[str, str], str] = {}  # from the table, by the statement at hand
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
        if self.parts > 1 and MARK in text:
            name += MARK
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
            if self.table is not None and self._tabled(element):
                return self._from_table(element, text)
            self.constants.add(text)
            return f"splat ({element} {text})"
        vector = f"<{self.width} x {element}>"
        first = self.emit(f"insertelement {vector} poison, {element} {text}, i64 0")
        zeros = f"<{self.width} x i32> zeroinitializer"
        return self.emit(f"shufflevector {vector} {first}, {vector} poison, {zeros}")

    def _tabled(self, element: str) -> bool:
        """Whether constants of a type stand in the table: all there have one, a float's."""
        if element not in ("float", "double"):
            return False
        return not self.table or next(iter(self.table))[0] == element

    def _from_table(self, element: str, text: str) -> str:
        """A vector full of a constant, loaded."""
        assert self.table is not None
        key = element, text
        if key not in self.loaded:
            place = self.table.setdefault(key, len(self.table))
            vector = f"<{self.width} x {element}>"
            address = self.emit(f"getelementptr {vector}, ptr %table, i64 {place}")
            self.loaded[key] = self.emit(f"load {vector}, ptr {address}, align 32")
        return self.loaded[key]

    def table_text(self) -> str:
        """The table of constants, of which all have one type."""
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
        """A constant, or a symbolic extent as a number."""
        if isinstance(number, Dim):
            return self.cast(Value(int64, self.size(number), False), dtype)
        if dtype.kind == "c":
            number = complex(number)
            imag = literal(number.imag, dtype)
            return Value(dtype, literal(number.real, dtype), False, imag)
        return Value(dtype, literal(number, dtype), False)

    def _match(self, x: Value, y: Any) -> Value:
        return y if isinstance(y, Value) else self.const(y, x.dtype)

    def _instruction(self, opcode: str, dtype: DType, *operands: Value) -> Value:
        """One instruction on operands of one type, giving `dtype`."""
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
        return self._rounded(Value(operands[0].dtype, result, wide))

    def _rounded(self, value: Value) -> Value:
        """A result in float32 rounded to the float16 or bfloat16 that it stands for."""
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

    def _arithmetic(self, name: str, x: Value, y: Any) -> Value:
        y = self._match(x, y)
        if x.dtype.kind == "c":
            return self.math["complex_" + name](self, x, y)
        opcode = name
        if x.dtype.kind == "f":
            opcode = f"f{name}{self.flags if x.dtype.bits >= 32 else ''}"
        return self._rounded(self._instruction(opcode, x.dtype, x, y))

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

    def fma(self, x: Value, y: Any, z: Any) -> Value:
        """X * y + z, rounded once."""
        return self.intrinsic("fma", x, self._match(x, y), self._match(x, z))

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
        return self._rounded(self._instruction("frem", x.dtype, x, y))

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
        return self.intrinsic("copysign", x, self._match(x, y))

    def minimum(self, x: Value, y: Any) -> Value:
        """The smaller; NaN if either is NaN."""
        return self._extreme("lt", x, self._match(x, y))

    def maximum(self, x: Value, y: Any) -> Value:
        """The larger; NaN if either is NaN."""
        return self._extreme("gt", x, self._match(x, y))

    def _extreme(self, order: str, x: Value, y: Value) -> Value:
        """x where it comes first in an order or is NaN, else y: y where both are equal, as in
        NumPy's vector loops. One instruction or two if y is a number that is known.
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

    def _compare(self, name: str, x: Value, y: Any) -> Value:
        y = self._match(x, y)
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

    def and_(self, x: Value, y: Any) -> Value:
        """Bitwise and; on bool logical."""
        return self._instruction("and", x.dtype, x, self._match(x, y))

    def or_(self, x: Value, y: Any) -> Value:
        """Bitwise or; on bool logical."""
        return self._instruction("or", x.dtype, x, self._match(x, y))

    def xor(self, x: Value, y: Any) -> Value:
        """Bitwise exclusive or; on bool logical."""
        return self._instruction("xor", x.dtype, x, self._match(x, y))

    def not_(self, x: Value) -> Value:
        """Bitwise complement; on bool logical."""
        return self.xor(x, True if x.dtype.kind == "b" else -1)

    def shl(self, x: Value, y: Any) -> Value:
        """X << y for y in range(bits): the caller guards wider shifts."""
        return self._instruction("shl", x.dtype, x, self._match(x, y))

    def shr(self, x: Value, y: Any) -> Value:
        """X >> y for y in range(bits), arithmetic for signed types."""
        opcode = "ashr" if x.dtype.kind == "i" else "lshr"
        return self._instruction(opcode, x.dtype, x, self._match(x, y))

    def count_bits(self, x: Value) -> Value:
        """The number of set bits."""
        return self.intrinsic("ctpop", x)

    def select(self, condition: Value, x: Value, y: Any) -> Value:
        """X where the condition holds, else y."""
        y = self._match(x, y)
        wide = condition.wide or x.wide or y.wide
        mask = f"{self.type(bool_, condition.wide)} {self.operand(condition, condition.wide)}"
        kind = self.type(x.dtype, wide)
        parts = []
        for imag in (False, True) if x.imag is not None else (False,):
            left, right = self.operand(x, wide, imag), self.operand(y, wide, imag)
            parts.append(self.emit(f"select {mask}, {kind} {left}, {kind} {right}"))
        return Value(x.dtype, parts[0], wide, parts[1] if len(parts) > 1 else None)

    def if_any(self, condition: Value, rare: Callable[[], Value], usual: Value) -> Value:
        """`rare()` where the condition holds, else `usual`; a branch round what rare writes.

        For what few operands need: the branch is taken if any lane's condition holds.
        """
        flag = condition.ir
        if condition.wide and self.width > 1:
            kind = self.type(bool_, True)
            name = f"llvm.vector.reduce.or.v{self.width}i1"
            self.module.declare("i1", name, kind)
            flag = self.emit(f"call i1 @{name}({kind} {flag})")
        # A lane that is not in use may be poison, and a branch on poison is undefined.
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

    def by_lane(self, name: str, x: Value) -> Value:
        """A math function's scalar code called for every lane: little code, for rare paths."""
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

    def divmod(self, x: Value, y: Value, floor: bool) -> tuple[Value, Value]:
        """Quotient and remainder of integers, rounded down or toward zero.

        Division by 0 gives (0, 0) and the most negative value over -1 wraps, as NumPy has it
        on x86-64; neither reaches the processor, where both kill the process.
        """
        zero = self.eq(y, 0)
        bad = zero
        if x.dtype.kind == "i":
            lowest = self.eq(x, -(2 ** (x.dtype.bits - 1)))
            bad = self.or_(zero, self.and_(lowest, self.eq(y, -1)))
        if self.mask is not None and y.wide:
            # one divisor for all lanes stays one: of some constants that differ by lane LLVM 22
            # asserts what isn't so, for int8
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
        """End the kernel with an error if the condition holds in any lane that is in use.

        reason: the message, in which {0}, {1}, … stand for the details (integers).
        """
        if self.fail is not None:
            if self.mask is not None:
                condition = self.and_(condition, self.mask)
            self.fail(condition, reason, details)

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
            return self._rounded(self._convert(opcode, x, dtype))
        if x.dtype.bits > dtype.bits and x.dtype.kind != "b":
            return self._convert("trunc", x, dtype)
        if x.dtype.kind != "b" and x.dtype.bits == dtype.bits:
            return Value(dtype, x.ir, x.wide)
        return self._convert("sext" if x.dtype.kind == "i" else "zext", x, dtype)

    def _cast_float(self, x: Value, dtype: DType) -> Value:
        if dtype.kind == "f":
            if ir_type(x.dtype) == ir_type(dtype):
                return self._rounded(Value(dtype, x.ir, x.wide))
            if dtype.name == "float64":
                return self._convert("fpext", x, dtype)
            if dtype.name == "float16":
                x = self._to_odd(x)
                return self._rounded(Value(dtype, x.ir, x.wide))
            return self._rounded(self._convert("fptrunc", x, dtype))
        # Out of range and NaN: what cvttsd2si gives, as C compiles it: the "indefinite"
        # integer of 32 bits for types up to int32, of 64 bits for uint32 and the wider.
        via = int32 if dtype.bits < 32 or dtype is int32 else int64
        if dtype.name == "uint64":
            big = self.ge(x, 2.0**63)
            low = self._to_signed(self.select(big, self.sub(x, 2.0**63), x), int64)
            flip = self.select(big, self.const(-(2**63), int64), self.const(0, int64))
            return Value(dtype, *self._ir(self.xor(low, flip)))
        return self.cast(self._to_signed(x, via), dtype)

    def _ir(self, value: Value) -> tuple[str, bool]:
        return value.ir, value.wide

    def _to_signed(self, x: Value, dtype: DType) -> Value:
        limit = 2.0 ** (dtype.bits - 1)
        low = self.ge(x, -limit) if x.dtype.name != "float64" or dtype is int64 else None
        low = self.gt(x, -limit - 1) if low is None else low
        inside = self.and_(low, self.lt(x, limit))
        safe = self.select(inside, x, self.const(0.0, x.dtype))
        lowest = self.const(-(2 ** (dtype.bits - 1)), dtype)
        return self.select(inside, self._convert("fptosi", safe, dtype), lowest)

    def _to_odd(self, x: Value) -> Value:
        """A float64 rounded to odd in float32, so that rounding on to float16 is exact.

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
        from graphjit.core.types import complex64, complex128

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

    def __getattr__(self, name: str) -> Callable[..., Value]:
        """Math functions by name: `b.exp(x)`."""
        if name.startswith("_") or name not in self.math:
            raise AttributeError(name)
        return lambda *operands: self.call_math(name, *operands)

    def call_math(self, name: str, *operands: Value) -> Value:
        """A call of the shared function for this name, element type and width."""
        first = next(v for v in operands if isinstance(v, Value))
        values = [self._match(first, v) for v in operands]
        dtype = first.dtype
        if dtype.kind == "c":
            return self.math["complex_" + name](self, *values)
        if dtype.name in ("float16", "bfloat16"):
            singles = [Value(float32, v.ir, v.wide) for v in values]
            result = self.call_math(name, *singles)
            if result.dtype is not float32:
                return result
            return self._rounded(Value(dtype, result.ir, result.wide))
        wide = any(v.wide for v in values) and self.width > 1
        parts = self.parts if wide else 1
        lanes = self.width * parts if wide else 1
        symbol = f"math.{name}.{dtype.short}x{lanes}" + REGISTER_BLOCKS * (parts > 1)
        uses = self.module.math_uses.get(symbol, 0)
        self.module.math_uses[symbol] = uses + 1
        if uses == 0 and parts > 1:
            self._define_in_parts(symbol, name, dtype, len(values))
        elif uses == 0:
            self._define_math(symbol, name, dtype, lanes, len(values))
        kind = self.type(dtype, wide)
        texts = ", ".join(f"{kind} {self.operand(v, wide)}" for v in values)
        return Value(dtype, self.emit(f"call {kind} @{symbol}({texts})"), wide)

    def _define_math(
        self, symbol: str, name: str, dtype: DType, lanes: int, count: int
    ) -> None:
        self.module.math_bodies[symbol] = ""  # keeps the order: callees come after
        inner = type(self)(self.module, lanes, self.math)
        arguments = [Value(dtype, f"%a{i}", lanes > 1) for i in range(count)]
        result = self.math[name](inner, *arguments)
        kind = inner.type(dtype, lanes > 1)
        listed = ", ".join(f"{kind} {a.ir}" for a in arguments)
        body = [f"define internal {kind} @{symbol}({listed}) #math {{", *inner.lines]
        body += [f"  ret {kind} {inner.operand(result, lanes > 1)}", "}"]
        self.module.math_bodies[symbol] = "\n".join(body)

    def _define_in_parts(self, symbol: str, name: str, dtype: DType, count: int) -> None:
        """A math function of the parts of each operand that gives those of the result."""
        self.module.math_bodies[symbol] = ""
        parts, part = range(self.parts), self.type(dtype, True)
        inner = type(self)(self.module, self.width * self.parts, self.math)
        whole, result = inner.type(dtype, True), f"{{{', '.join([part] * self.parts)}}}"
        names = [[f"%a{i}.{k}" for k in parts] for i in range(count)]
        operands = [
            Value(dtype, inner._end_to_end(n, ir_type(dtype), self.width), True) for n in names
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

    def _end_to_end(self, vectors: list[str], element: str, lanes: int) -> str:
        """Vectors of so many lanes each, their number a power of two, as one."""
        while len(vectors) > 1:
            kind = f"<{lanes} x {element}>"
            lanes *= 2
            order = ", ".join(f"i32 {i}" for i in range(lanes))
            vectors = [
                self.emit(f"shufflevector {kind} {x}, {kind} {y}, <{lanes} x i32> <{order}>")
                for x, y in zip(vectors[::2], vectors[1::2], strict=True)
            ]
        return vectors[0]
