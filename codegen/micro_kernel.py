"""Micro-kernels of matrix products, as LLVM IR: sums in registers over one block.

    void @name(ptr a, ptr b, ptr c, i64 length, i1 fresh, strides…, left)

A micro-kernel sums `length` products for each of a few rows of a vector of columns. It stores
the sums in c if `fresh`, else it adds them to c. Symbolic strides are parameters, as is the
number of columns where it isn't known.
"""

from __future__ import annotations

from graphjit.core.dims import Dim
from graphjit.core.frozen import dataclass

from .module import Module


@dataclass(frozen=True, slots=True)
class MicroKernelStrides:
    """The strides that a micro-kernel moves by.

    a_step, b_step: along the inner dim, in a and b
    a_row, c_row: from row to row, in a and the result
    """

    a_step: int
    a_row: int
    b_step: int
    c_row: int

    def by_name(self) -> dict[str, int]:
        """The strides by the names of their parameters."""
        return {
            "a.step": self.a_step,
            "a.next": self.a_row,
            "b.step": self.b_step,
            "c.next": self.c_row,
        }

    def symbolic(self) -> dict[str, int]:
        """Those that are known only when the kernel runs, in the order of the parameters."""
        return {name: s for name, s in self.by_name().items() if isinstance(s, Dim)}


class MicroKernelWriter:
    """Writes micro-kernels for one product.

    element, size: LLVM's type of an element, and its bytes
    lanes: the elements of a vector
    in_place: whether c is the result itself, where nothing beside the columns may be written
    """

    def __init__(
        self,
        module: Module,
        element: str,
        size: int,
        lanes: int,
        strides: MicroKernelStrides,
        in_place: bool,
    ) -> None:
        self.module = module
        self.element = element
        self.size = size
        self.lanes = lanes
        self.strides = strides
        self.in_place = in_place
        self.vector = f"<{lanes} x {element}>"
        self.suffix = f"v{lanes}f{8 * size}"
        symbolic = strides.symbolic()
        self.stride_text = {
            name: f"%{name}" if name in symbolic else str(stride)
            for name, stride in strides.by_name().items()
        }

    def text(self, name: str, high: int, columns: int, rest: bool, abreast: int) -> str:
        """The text of the micro-kernel for `high` rows of `columns` elements.

        rest: whether it is told how many columns there are
        abreast: over how many blocks it sums side by side
        """
        vector = self.vector
        operands = f"{vector}, {vector}, {vector}"
        self.module.declare(vector, f"llvm.fma.{self.suffix}", operands)
        begin, row_offsets = self._row_offsets(high)
        align = f"align {self.size}"
        from_b = from_c = f"load {vector}, ptr {{}}, {align}"
        to_c = f"store {vector} {{}}, ptr {{}}, {align}"
        parameters = [*self.strides.symbolic(), *["left"] * rest]
        if columns < self.lanes or rest:
            lines, mask = first_lanes_mask(
                self.lanes, 8 * self.size, "%left" if rest else str(columns), "%some"
            )
            begin += lines
            from_b, masked_store = self._masked_accesses(mask)
            if self.in_place:  # the columns after these belong to other tiles or rows
                from_c, to_c = from_b, masked_store
        listed = "".join(f", i64 %{n}" for n in parameters)
        lines = [
            f"define internal void @{name}(ptr noalias readonly %a, ptr noalias readonly %b, "
            f"ptr noalias %c, i64 %length, i1 %fresh{listed}) "
            "noinline #kernel {",
            "entry:",
            *begin,
            "  br label %head",
            "head:",
            "  %k = phi i64 [ 0, %entry ], [ %k.next, %head ]",
        ]
        tails = ["" if block == 0 else f".{block}" for block in range(abreast)]
        lines += [
            f"  %s{r}{tail} = phi {vector} [ zeroinitializer, %entry ], [ %t{r}{tail}, %head ]"
            for tail in tails
            for r in range(high)
        ]
        for block in range(abreast):
            lines += self._step(block, row_offsets["a"], from_b)
        lines += [
            "  %k.next = add nuw nsw i64 %k, 1",
            "  %more = icmp ult i64 %k.next, %length",
            "  br i1 %more, label %head, label %done, !llvm.loop !1",
            "done:",
            "  br i1 %fresh, label %first, label %again",
        ]
        lines += self._results("first", "f", row_offsets["c"], abreast, "", to_c)
        lines += self._results("again", "g", row_offsets["c"], abreast, from_c, to_c)
        lines.append("}")
        return "\n".join(lines)

    def _row_offsets(self, high: int) -> tuple[list[str], dict[str, list[str]]]:
        """The offset of each row in a and c, and the lines that compute them."""
        lines: list[str] = []
        offsets = {"a": ["0"], "c": ["0"]}
        for operand, found in offsets.items():
            stride = self.stride_text[f"{operand}.next"]
            for r in range(1, high):
                if stride.startswith("%"):
                    lines.append(f"  %{operand}{r}.place = mul nsw i64 {stride}, {r}")
                    found.append(f"%{operand}{r}.place")
                else:
                    found.append(str(r * int(stride)))
        return lines, offsets

    def _masked_accesses(self, mask: str) -> tuple[str, str]:
        """A masked load and a masked store, to be formatted with their operands."""
        load, store = (f"llvm.masked.{name}.{self.suffix}.p0" for name in ("load", "store"))
        lanes = f"<{self.lanes} x i1>"
        self.module.declare(self.vector, load, f"ptr, {lanes}, {self.vector}")
        self.module.declare("void", store, f"{self.vector}, ptr, {lanes}")
        align = f"align {self.size}"
        return (
            f"call {self.vector} @{load}(ptr {align} {{}}, {mask}, "
            f"{self.vector} zeroinitializer)",
            f"call void @{store}({self.vector} {{}}, ptr {align} {{}}, {mask})",
        )

    def _step(self, block: int, row_offsets: list[str], from_b: str) -> list[str]:
        """One step of the inner dim: a row of b times an element of each row of a."""
        element, vector, steps = self.element, self.vector, self.stride_text
        k, tail = "%k", ""
        lines: list[str] = []
        if block:
            k, tail = f"%k.{block}", f".{block}"
            lines += [
                f"  %from{tail} = mul nuw nsw i64 %length, {block}",
                f"  {k} = add nuw nsw i64 %k, %from{tail}",
            ]
        lines += [
            f"  %b.place{tail} = mul nsw i64 {k}, {steps['b.step']}",
            f"  %b.at{tail} = getelementptr inbounds {element}, ptr %b, i64 %b.place{tail}",
            f"  %row{tail} = {from_b.format(f'%b.at{tail}')}",
            f"  %a.place{tail} = mul nsw i64 {k}, {steps['a.step']}",
            f"  %a.at{tail} = getelementptr inbounds {element}, ptr %a, i64 %a.place{tail}",
        ]
        for r, offset in enumerate(row_offsets):
            n = f"{r}{tail}"
            lines += [
                f"  %a{n}.at = getelementptr inbounds {element}, ptr %a.at{tail}, i64 {offset}",
                f"  %a{n}.value = load {element}, ptr %a{n}.at, align {self.size}",
                f"  %a{n}.one = insertelement {vector} poison, {element} %a{n}.value, i64 0",
                f"  %a{n}.all = shufflevector {vector} %a{n}.one, {vector} poison, "
                f"<{self.lanes} x i32> zeroinitializer",
                f"  %t{n} = call {vector} @llvm.fma.{self.suffix}({vector} %a{n}.all, "
                f"{vector} %row{tail}, {vector} %s{n})",
            ]
        return lines

    def _results(
        self,
        label: str,
        mark: str,
        row_offsets: list[str],
        abreast: int,
        from_c: str,
        to_c: str,
    ) -> list[str]:
        """Store the sums of all rows. They are added to c if `from_c` says how to load it."""
        lines = [f"{label}:"]
        for r, offset in enumerate(row_offsets):
            address = f"%c{r}.{mark}"
            lines.append(
                f"  {address} = getelementptr inbounds {self.element}, ptr %c, i64 {offset}"
            )
            terms = [f"%t{r}", *(f"%t{r}.{block}" for block in range(1, abreast))]
            if from_c:
                lines.append(f"  %old{r} = {from_c.format(address)}")
                terms.insert(0, f"%old{r}")
            total = terms[0]
            for number, term in enumerate(terms[1:]):
                lines.append(f"  %u{r}.{number}.{mark} = fadd {self.vector} {total}, {term}")
                total = f"%u{r}.{number}.{mark}"
            lines.append("  " + to_c.format(total, address))
        return [*lines, "  ret void"]


def first_lanes_mask(wide: int, bits: int, count: str, name: str) -> tuple[list[str], str]:
    """A mask of the first `count` lanes of elements of so many bits.

    count: a number, or a value no greater than `wide`. Gives the lines that compute it, and the
        mask with its type.
    """
    kind = f"<{wide} x i1>"
    if not count.startswith("%"):
        listed = ", ".join(f"i1 {'true' if i < int(count) else 'false'}" for i in range(wide))
        return [], f"{kind} <{listed}>"
    vector = f"<{wide} x i{bits}>"
    numbers = ", ".join(f"i{bits} {i}" for i in range(wide))
    narrow = f"trunc i64 {count} to i{bits}" if bits < 64 else f"add i64 {count}, 0"
    return [
        f"  {name}.count = {narrow}",
        f"  {name}.one = insertelement {vector} poison, i{bits} {name}.count, i64 0",
        f"  {name}.all = shufflevector {vector} {name}.one, {vector} poison, "
        f"<{wide} x i32> zeroinitializer",
        f"  {name} = icmp slt {vector} <{numbers}>, {name}.all",
    ], f"{kind} {name}"


__all__ = ["MicroKernelStrides", "MicroKernelWriter", "first_lanes_mask"]
