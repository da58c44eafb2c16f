"""Loads and stores of elements by lane: contiguous, reversed, strided, gathered, masked.

Base of the kernel emitter. Only this module knows how an element is held in memory and how in a
register.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from graphjit.core.dims import Dim
from graphjit.core.types import DType, float32, int64, uint32

from .builder import Builder
from .module import Module
from .values import Value, ir_type

CACHE_LINE = 64


def storage_type(dtype: DType) -> str:
    """LLVM's type of one element in memory (of the real part, for complex)."""
    if dtype.kind == "b":
        return "i8"
    if dtype.name == "float16":
        return "half"
    if dtype.name == "bfloat16":
        return "i16"
    return ir_type(dtype)


def parts_of(dtype: DType) -> int:
    """How many numbers an element has: two if complex, else one."""
    return 2 if dtype.kind == "c" else 1


def _suffix(lanes: int, dtype: DType) -> str:
    element = storage_type(dtype)
    return f"v{lanes}" + {"float": "f32", "double": "f64", "half": "f16"}.get(element, element)


def transpose_function(module: Module, part: str, size: int, lanes: int) -> str:
    """The function that copies a square of `lanes` rows, transposed.

    Rows past the number that it is given are read as zeros.
    """
    name = f"turn.{part}.{lanes}"
    if name in module.shared:
        return name
    module.shared.add(name)
    kind = f"<{lanes} x {part}>"
    zeros = f"@{name}.zeros = internal constant {kind} zeroinitializer, align 64"
    lines = [
        f"define internal void @{name}(ptr %from, i64 %apart, i64 %count, ptr %to, i64 %row) "
        "noinline #kernel {",
    ]
    rows = [f"%r{i}" for i in range(lanes)]
    for i in range(lanes):
        lines += [
            f"  %o{i} = mul nsw i64 %apart, {i}",
            f"  %p{i} = getelementptr {part}, ptr %from, i64 %o{i}",
            f"  %c{i} = icmp sgt i64 %count, {i}",
            f"  %q{i} = select i1 %c{i}, ptr %p{i}, ptr @{name}.zeros",
            f"  %r{i} = load {kind}, ptr %q{i}, align {size}",
        ]
    step = 1
    while step < lanes:  # exchange blocks of `step` between rows that are `step` apart
        pairs = ((0, lanes - step), (step, lanes))
        shuffled = list(rows)
        for i in (i for i in range(lanes) if not i & step):
            for number, (low, high) in zip((i, i + step), pairs, strict=True):
                listed = ", ".join(
                    f"i32 {k + (high if k & step else low)}" for k in range(lanes)
                )
                shuffled[number] = f"%t{step}.{number}"
                lines.append(
                    f"  {shuffled[number]} = shufflevector {kind} {rows[i]}, {kind} "
                    f"{rows[i + step]}, <{lanes} x i32> <{listed}>"
                )
        rows = shuffled
        step *= 2
    for i, row in enumerate(rows):
        lines += [
            f"  %d{i} = mul nsw i64 %row, {i}",
            f"  %e{i} = getelementptr {part}, ptr %to, i64 %d{i}",
            f"  store {kind} {row}, ptr %e{i}, align {size}",
        ]
    module.functions.append("\n".join([zeros, *lines, "  ret void", "}"]))
    return name


class ElementAccess:
    """Reads and writes memory for the lanes of a builder.

    pointer: LLVM's type of a buffer's address
    streamed: whether a store went past the cache
    """

    pointer = "ptr"

    def __init__(self, module: Module, b: Builder) -> None:
        self.module = module
        self.b = b
        self.streamed = False

    def line(self, text: str) -> None:
        """Append an instruction without a result."""
        self.b.lines.append("  " + text)

    def address(self, base: str, dtype: DType, offset: str) -> str:
        """The address of an element of a buffer."""
        return self.b.emit(
            f"getelementptr inbounds {storage_type(dtype)}, {self.pointer} {base}, i64 {offset}"
        )

    def lane_offsets(self, step: int, wide: bool = True) -> Value:
        """Step · lane for each lane."""
        width = self.b.width
        if width == 1:
            return Value(int64, "0", True)
        if isinstance(step, Dim):
            return self.b.mul(self.lane_offsets(1), step)
        items = ", ".join(f"i64 {k * step}" for k in range(width))
        return Value(int64, f"<{items}>", True)

    def load_lanes(self, base: str, dtype: DType, offset: str, step: int) -> Value:
        """The elements of all lanes. step: the distance from lane to lane, in numbers."""
        b = self.b
        parts = parts_of(dtype)
        if step == 0 or b.width == 1:
            address = self.address(base, dtype, offset)
            return self.scalar_load(address, dtype, b.width == 1)
        if step == parts and parts == 1:
            address = self.address(base, dtype, offset)
            return self.unpack(self._vector_load(address, dtype, b.width), dtype)
        if step == 2 and parts == 2 and b.mask is None:
            return self._load_pairs(self.address(base, dtype, offset), dtype)
        if step == -1 and b.mask is None:
            back = b.emit(f"add nsw i64 {offset}, {1 - b.width}")
            raw = self._vector_load(self.address(base, dtype, back), dtype, b.width)
            order = ", ".join(f"i32 {b.width - 1 - k}" for k in range(b.width))
            kind = f"<{b.width} x {storage_type(dtype)}>"
            shuffled = b.emit(
                f"shufflevector {kind} {raw}, {kind} poison, <{b.width} x i32> <{order}>"
            )
            return self.unpack(shuffled, dtype)
        if parts == 1 and (b.mask is None or b.mask.ir.startswith("<")):
            return self.unpack(self._load_one_by_one(base, dtype, offset, step), dtype)
        offsets = b.add(Value(int64, offset, False), self.lane_offsets(step))
        return self.load_at(base, dtype, offsets)

    def _load_one_by_one(self, base: str, dtype: DType, offset: str, step: int) -> str:
        """Strided elements, one load each.

        Of a vector of addresses LLVM would first extract each address. Lanes that a constant
        mask leaves out aren't loaded and are 0.
        """
        b, part = self.b, storage_type(dtype)
        kind, raw, count = f"<{b.width} x {part}>", "poison", b.width
        if b.mask is not None:
            raw, count = "zeroinitializer", b.mask.ir.count("true")
        addresses = self._addresses(base, dtype, offset, step)
        for k, address in enumerate(islice(addresses, count)):
            one = b.emit(f"load {part}, ptr {address}, align {dtype.real.size}")
            raw = b.emit(f"insertelement {kind} {raw}, {part} {one}, i64 {k}")
        return raw

    def _addresses(self, base: str, dtype: DType, offset: str, step: int) -> Iterator[str]:
        """The address of each lane's element."""
        b = self.b
        if not isinstance(step, Dim):
            for k in range(b.width):
                lane_offset = b.emit(f"add nsw i64 {offset}, {step * k}")
                yield self.address(base, dtype, lane_offset)
            return
        # Every fourth address is a base: the next three are base + register, with the same
        # three registers for all bases. LLVM would rewrite that to a chain of additions (6% of
        # `x + y.T`), so an intrinsic without effect hides how each base is computed.
        opaque = "llvm.strip.invariant.group.p0"
        self.module.declare("ptr", opaque, "ptr")
        steps = ["0"] + [b.emit(f"mul nsw i64 {b.size(step)}, {k}") for k in range(1, 5)]
        fourth, apart = base, offset
        for k in range(b.width):
            if k % 4 == 0:
                fourth = b.emit(f"call ptr @{opaque}(ptr {self.address(fourth, dtype, apart)})")
                apart = steps[4]
            yield self.address(fourth, dtype, steps[k % 4])

    def scalar_load(self, address: str, dtype: DType, wide: bool) -> Value:
        """One element."""
        b = self.b
        kind, size = storage_type(dtype), dtype.real.size
        pointer = self.pointer
        raw = b.emit(f"load {kind}, {pointer} {address}, align {size}")
        if dtype.kind == "c":
            other = b.emit(f"getelementptr inbounds {kind}, {pointer} {address}, i64 1")
            imag = b.emit(f"load {kind}, {pointer} {other}, align {size}")
            return Value(dtype, raw, wide, imag)
        return self.unpack(raw, dtype, wide)

    def _vector_load(self, address: str, dtype: DType, lanes: int) -> str:
        b = self.b
        kind, size = f"<{lanes} x {storage_type(dtype)}>", dtype.real.size
        if b.mask is None:
            return b.emit(f"load {kind}, ptr {address}, align {size}")
        name = f"llvm.masked.load.{_suffix(lanes, dtype)}.p0"
        mask = f"<{lanes} x i1>"
        self.module.declare(kind, name, f"ptr, {mask}, {kind}")
        operands = f"ptr align {size} {address}, {mask} {b.mask.ir}, {kind} zeroinitializer"
        return b.emit(f"call {kind} @{name}({operands})")

    def _load_pairs(self, address: str, dtype: DType) -> Value:
        """Contiguous complex elements."""
        b = self.b
        width, part = b.width, storage_type(dtype)
        both = f"<{2 * width} x {part}>"
        raw = b.emit(f"load {both}, ptr {address}, align {dtype.real.size}")
        halves = []
        for first in (0, 1):
            order = ", ".join(f"i32 {2 * k + first}" for k in range(width))
            halves.append(
                b.emit(f"shufflevector {both} {raw}, {both} poison, <{width} x i32> <{order}>")
            )
        return Value(dtype, halves[0], True, halves[1])

    def load_at(self, base: str, dtype: DType, offsets: Value) -> Value:
        """Elements at any offsets."""
        b = self.b
        if b.width == 1 or not offsets.wide:
            address = self.address(base, dtype, offsets.ir)
            return self.scalar_load(address, dtype, b.width == 1)
        first = self._gather(base, dtype, offsets)
        if dtype.kind != "c":
            return self.unpack(first, dtype)
        return Value(dtype, first, True, self._gather(base, dtype, b.add(offsets, 1)))

    def _gather(self, base: str, dtype: DType, offsets: Value) -> str:
        b = self.b
        width, part, size = b.width, storage_type(dtype), dtype.real.size
        kind, pointers, mask = f"<{width} x {part}>", f"<{width} x ptr>", f"<{width} x i1>"
        addresses = b.emit(
            f"getelementptr inbounds {part}, ptr {base}, <{width} x i64> {offsets.ir}"
        )
        name = f"llvm.masked.gather.{_suffix(width, dtype)}.v{width}p0"
        self.module.declare(kind, name, f"{pointers}, {mask}, {kind}")
        chosen = b.mask.ir if b.mask is not None else "splat (i1 true)"
        operands = (
            f"{pointers} align {size} {addresses}, {mask} {chosen}, {kind} zeroinitializer"
        )
        return b.emit(f"call {kind} @{name}({operands})")

    def unpack(self, raw: str, dtype: DType, wide: bool = True) -> Value:
        """A register value from an element as memory holds it."""
        b = self.b
        vector = wide and b.width > 1
        prefix = (lambda t: f"<{b.width} x {t}>") if vector else (lambda t: t)
        if dtype.kind == "b":
            zero = "zeroinitializer" if vector else "0"
            return Value(dtype, b.emit(f"icmp ne {prefix('i8')} {raw}, {zero}"), wide)
        if dtype.name == "float16":
            return Value(
                dtype, b.emit(f"fpext {prefix('half')} {raw} to {prefix('float')}"), wide
            )
        if dtype.name == "bfloat16":
            bits = b.emit(f"zext {prefix('i16')} {raw} to {prefix('i32')}")
            high = b.shl(Value(uint32, bits, wide), 16)
            return Value(dtype, b.bitcast(high, float32).ir, wide)
        return Value(dtype, raw, wide)

    def pack(self, value: Value) -> str:
        """An element as memory holds it, from a register value."""
        b = self.b
        dtype = value.dtype
        vector = value.wide and b.width > 1
        prefix = (lambda t: f"<{b.width} x {t}>") if vector else (lambda t: t)
        if dtype.kind == "b":
            return b.emit(f"zext {prefix('i1')} {value.ir} to {prefix('i8')}")
        if dtype.name == "float16":
            return b.emit(f"fptrunc {prefix('float')} {value.ir} to {prefix('half')}")
        if dtype.name == "bfloat16":
            bits = b.shr(b.bitcast(Value(float32, value.ir, value.wide), uint32), 16)
            return b.emit(f"trunc {prefix('i32')} {bits.ir} to {prefix('i16')}")
        return value.ir

    def store_lanes(
        self, base: str, value: Value, offset: str, step: int, stream: bool = False
    ) -> None:
        """Store the elements of all lanes. step: as in `load_lanes`; stream: past the cache."""
        b = self.b
        parts = parts_of(value.dtype)
        if b.width == 1 or (step == 0 and not value.wide):
            self.scalar_store(self.address(base, value.dtype, offset), value)
            return
        value = b.widen(value)
        if step == 1 and parts == 1:
            address = self.address(base, value.dtype, offset)
            self._vector_store(address, self.pack(value), value.dtype, stream)
            return
        if step == 2 and parts == 2 and b.mask is None:
            self._store_pairs(self.address(base, value.dtype, offset), value)
            return
        offsets = b.add(Value(int64, offset, False), self.lane_offsets(step))
        self._scatter_store(base, value.dtype, self.pack(value), offsets)
        if value.imag is not None:
            self._scatter_store(base, value.dtype, value.imag, b.add(offsets, 1))

    def scalar_store(self, address: str, value: Value) -> None:
        """Store one element."""
        kind, size = storage_type(value.dtype), value.dtype.real.size
        pointer = self.pointer
        self.line(f"store {kind} {self.pack(value)}, {pointer} {address}, align {size}")
        if value.imag is not None:
            other = self.b.emit(f"getelementptr inbounds {kind}, {pointer} {address}, i64 1")
            self.line(f"store {kind} {value.imag}, {pointer} {other}, align {size}")

    def _vector_store(self, address: str, raw: str, dtype: DType, stream: bool) -> None:
        b = self.b
        kind, size = f"<{b.width} x {storage_type(dtype)}>", dtype.real.size
        if stream and b.mask is None:
            self.streamed = True
            align = min(CACHE_LINE, b.width * size)
            line = f"store {kind} {raw}, ptr {address}, align {align}, !nontemporal !0"
            self.line(line)
            return
        if b.mask is None:
            self.line(f"store {kind} {raw}, ptr {address}, align {size}")
            return
        if b.mask.ir.count("true") == 1:
            # With AVX-512, LLVM 22 stores too many bytes for a single lane of a truncated
            # vector: it uses the width before truncation (llvm/llvm-project#179489)
            first = b.emit(f"extractelement {kind} {raw}, i64 0")
            self.line(f"store {storage_type(dtype)} {first}, ptr {address}, align {size}")
            return
        name = f"llvm.masked.store.{_suffix(b.width, dtype)}.p0"
        mask = f"<{b.width} x i1>"
        self.module.declare("void", name, f"{kind}, ptr, {mask}")
        self.line(
            f"call void @{name}({kind} {raw}, ptr align {size} {address}, {mask} {b.mask.ir})"
        )

    def _store_pairs(self, address: str, value: Value) -> None:
        b = self.b
        width, part = b.width, storage_type(value.dtype)
        half, both = f"<{width} x {part}>", f"<{2 * width} x {part}>"
        order = ", ".join(f"i32 {k // 2 + (k % 2) * width}" for k in range(2 * width))
        sides = f"{half} {value.ir}, {half} {value.imag}"
        raw = b.emit(f"shufflevector {sides}, <{2 * width} x i32> <{order}>")
        self.line(f"store {both} {raw}, ptr {address}, align {value.dtype.real.size}")

    def _scatter_store(self, base: str, dtype: DType, raw: str, offsets: Value) -> None:
        b = self.b
        width, part, size = b.width, storage_type(dtype), dtype.real.size
        kind, pointers, mask = f"<{width} x {part}>", f"<{width} x ptr>", f"<{width} x i1>"
        addresses = b.emit(
            f"getelementptr inbounds {part}, ptr {base}, <{width} x i64> {offsets.ir}"
        )
        name = f"llvm.masked.scatter.{_suffix(width, dtype)}.v{width}p0"
        self.module.declare("void", name, f"{kind}, {pointers}, {mask}")
        chosen = b.mask.ir if b.mask is not None else "splat (i1 true)"
        operands = f"{pointers} align {size} {addresses}"
        self.line(f"call void @{name}({kind} {raw}, {operands}, {mask} {chosen})")
