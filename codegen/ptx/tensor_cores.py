"""Matrix products by tensor cores, as LLVM IR: the differences from product_emitter.py.

Each warp has blocks of 16 x 8 elements of the tile and multiplies each as a whole by
`mma.sync`. Operands are float32 in shared memory and are rounded to tf32, float16 or bfloat16
when loaded into registers. Sums are float32. Beyond the end of the inner dim, zeros are added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from graphjit.codegen.values import Value
from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.frozen import dataclass
from graphjit.core.types import bfloat16, float32, uint32

from .device import LANES
from .product_emitter import SHARED, ProductEmitter
from .tiling import DEPTH

if TYPE_CHECKING:
    from .arch import Arch
    from .device import DeviceBuilder
    from .emit import ThreadEmitter
    from .tiling import Tiling

ROWS, COLUMNS = 16, 8
FIRST_ARCH = 80  # sm_80 is the first with all of them


@dataclass(frozen=True, slots=True)
class MmaVariant:
    """One variant of `mma.sync`.

    depth: its steps of the inner dim
    word: the type of an operand's register
    elements: how many elements a register holds
    """

    intrinsic: str
    depth: int
    word: str
    elements: int


# By the type that operands are rounded to.
MMA_VARIANTS = {
    "tf32": MmaVariant("llvm.nvvm.mma.m16n8k8.row.col.tf32", 8, "i32", 1),
    "float16": MmaVariant("llvm.nvvm.mma.m16n8k16.row.col.f32.f32", 16, "<2 x half>", 2),
    "bfloat16": MmaVariant("llvm.nvvm.mma.m16n8k16.row.col.bf16", 16, "i32", 2),
}


def check_tensor_cores(name: str | None, arch: Arch | None = None) -> str | None:
    """The name of a variant, if it exists and the architecture has it.

    Raises InvalidArgumentError.
    """
    if name is None:
        return None
    if name not in MMA_VARIANTS:
        known = ", ".join(MMA_VARIANTS)
        raise InvalidArgumentError(
            at_user_line(f"tensor_cores is one of {known}, not {name!r}")
        )
    if arch is not None and int(arch.name[3:].rstrip("af")) < FIRST_ARCH:
        message = f"the tensor cores of {arch.name} don't take all of {', '.join(MMA_VARIANTS)}"
        raise InvalidArgumentError(at_user_line(message, f"sm_{FIRST_ARCH} and later do"))
    return name


class TensorCoreEmitter(ProductEmitter):
    """Writes a product of float32 whose sums tensor cores make."""

    pad = 8  # then lanes four rows apart read from different banks of shared memory

    def __init__(self, emitter: ThreadEmitter, tiling: Tiling) -> None:
        super().__init__(emitter, tiling)
        self.variant = MMA_VARIANTS[tiling.tensor_cores or ""]
        self.down = tiling.side // ROWS
        across = tiling.threads // LANES // self.down
        self.blocks = range(tiling.side // across // COLUMNS)  # of a warp, side by side

    def _locate(self) -> None:
        """Compute the warp's first row and column, the lane's group of four and its index in
        it.
        """
        b = self.b
        warp = b.emit(f"udiv i64 {self.thread}, {LANES}")
        lane = b.emit(f"urem i64 {self.thread}, {LANES}")
        self.group = b.emit(f"udiv i64 {lane}, 4")
        self.member = b.emit(f"urem i64 {lane}, 4")
        row = b.emit(f"urem i64 {warp}, {self.down}")
        self.warp_row = b.emit(f"mul nuw nsw i64 {row}, {ROWS}")
        column = b.emit(f"udiv i64 {warp}, {self.down}")
        self.warp_column = b.emit(f"mul nuw nsw i64 {column}, {len(self.blocks) * COLUMNS}")

    def _own_elements(self) -> list[tuple[int, int]]:
        return [(block, i) for block in self.blocks for i in range(4)]

    def _has_blocks(self) -> bool:
        return False

    def _sum_positions(self) -> Iterator[tuple[str, str, str]]:
        """The lane's four elements of each block.

        Source: PTX ISA 9.7.14.5.7 and 9.7.14.5.8, matrix fragments for mma.m16n8k8 and
            mma.m16n8k16.
        """
        b = self.b
        row = b.emit(f"add nuw nsw i64 {self.warp_row}, {self.group}")
        column = b.emit(f"mul nuw nsw i64 {self.member}, 2")
        column = b.emit(f"add nuw nsw i64 {column}, {self.warp_column}")
        for (block, i), slot in self.sums.items():
            down = b.emit(f"add nuw nsw i64 {row}, {8 * (i // 2)}")
            yield slot, down, b.emit(f"add nuw nsw i64 {column}, {COLUMNS * block + i % 2}")

    def _compute_sums(self) -> None:
        emitter = self.emitter
        size = emitter.size(self.k)
        for slot in self.sums.values():
            self._write(slot, "0.0")
        with emitter.counting("0", size, DEPTH) as k:
            self._add_strip(k, size)

    def _add_strip_products(self, k: str, stop: str) -> None:
        for first in range(0, DEPTH, self.variant.depth):
            a = self._load_fragment(first, self.warp_row, 0, registers=4)
            for block in self.blocks:
                offset = DEPTH * self.pitch + block * COLUMNS
                self._multiply(
                    a, self._load_fragment(first, self.warp_column, offset, 2), block
                )

    def _load_fragment(self, first: int, start: str, offset: int, registers: int) -> list[str]:
        """A lane's registers of an operand, from step `first` of the strip on.

        Operand a has four, for rows 0 to 7 and 8 to 15 in turn; operand b has two. Source: as
        above.
        """
        b, each = self.b, self.variant.elements
        at = b.emit(f"add nuw nsw i64 {start}, {self.group}")
        step = b.emit(f"mul nuw nsw i64 {self.member}, {each * self.pitch}")
        at = b.emit(f"add nuw nsw i64 {at}, {step}")
        found = []
        for i in range(registers):
            below, later = (i % 2, i // 2) if registers == 4 else (0, i)
            numbers = []
            for part in range(each):
                inner = first + 4 * each * later + part
                position = b.emit(
                    f"add nuw nsw i64 {at}, {offset + 8 * below + inner * self.pitch}"
                )
                address = self._shared_address(position)
                numbers.append(b.emit(f"load float, {SHARED} {address}, align 4"))
            found.append(_CONVERSIONS[self.variant.word, each](b, numbers))
        return found

    def _multiply(self, a: list[str], b_registers: list[str], block: int) -> None:
        b, variant = self.b, self.variant
        four = "{float, float, float, float}"
        kinds = [variant.word] * 6 + ["float"] * 4
        b.module.declare(four, variant.intrinsic, ", ".join(kinds))
        slots = [self.sums[block, i] for i in range(4)]
        operands = [*a, *b_registers, *map(self._read, slots)]
        listed = ", ".join(f"{kind} {text}" for kind, text in zip(kinds, operands, strict=True))
        result = b.emit(f"call {four} @{variant.intrinsic}({listed})")
        for i, slot in enumerate(slots):
            self._write(slot, b.emit(f"extractvalue {four} {result}, {i}"))

    def _write_missing(self, position: str, width: int, apart: int) -> Callable[[], None]:
        """Code that writes zeros to shared memory for elements outside of an operand."""

        def write() -> None:
            for number in range(width):
                address = self._shared_address(
                    self.b.emit(f"add nuw nsw i64 {position}, {number * apart}")
                )
                self.emitter.line(f"store float 0.0, {SHARED} {address}, align 4")

        return write


def _to_tf32(b: DeviceBuilder, numbers: list[str]) -> str:
    """Round to the nearest tf32, ties away from zero."""
    b.module.declare("i32", "llvm.nvvm.f2tf32.rna", "float")
    return b.emit(f"call i32 @llvm.nvvm.f2tf32.rna(float {numbers[0]})")


def _to_halves(b: DeviceBuilder, numbers: list[str]) -> str:
    both = "poison"
    for position, number in enumerate(numbers):
        both = b.emit(f"insertelement <2 x float> {both}, float {number}, i64 {position}")
    return b.emit(f"fptrunc <2 x float> {both} to <2 x half>")


def _to_bfloats(b: DeviceBuilder, numbers: list[str]) -> str:
    low, high = (
        b.bitcast(Value(float32, b.rounded(Value(bfloat16, n, True)).ir, True), uint32)
        for n in numbers
    )
    return b.or_(b.and_(high, 0xFFFF0000), b.shr(low, 16)).ir


_CONVERSIONS = {("i32", 1): _to_tf32, ("<2 x half>", 2): _to_halves, ("i32", 2): _to_bfloats}

__all__ = ["FIRST_ARCH", "MMA_VARIANTS", "TensorCoreEmitter", "check_tensor_cores"]
