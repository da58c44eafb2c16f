"""Sums of few rows times the rows of a matrix, as LLVM IR: sums in memory over one block.

    void @name(ptr a, ptr b, ptr s, ptr c, i64 length, i1 fresh, i64 columns, strides…)

Some rows of b at a time are multiplied by their elements of a and added to the sums in s, for
all columns: so rows are read from start to end, which the processor foresees. Each sum is made
in the same order as in registers. Then the sums are stored in c if `fresh`, else added to c.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from graphjit.ir import cost_model

from .micro_kernel import MicroKernelStrides, first_lanes_mask
from .module import Module


class RowSumsWriter:
    """Writes the function for one product.

    element, size: LLVM's type of an element, and its bytes
    lanes: the elements of a register. step: those of the registers that are summed abreast
    high, wide: the rows of a, and how many sums of each there is room for in s
    in_place: whether c is the result itself, where nothing beside the columns may be written
    """

    def __init__(
        self,
        module: Module,
        element: str,
        size: int,
        lanes: int,
        step: int,
        high: int,
        wide: int,
        strides: MicroKernelStrides,
        in_place: bool,
    ) -> None:
        self.element, self.size, self.lanes, self.step = element, size, lanes, step
        self.high, self.wide = high, wide
        self.strides, self.in_place = strides, in_place
        self.vector = f"<{lanes} x {element}>"
        suffix, bits = f"v{lanes}f{8 * size}", f"<{lanes} x i1>"
        self._fma = f"llvm.fma.{suffix}"
        self._load, self._store = (f"llvm.masked.{x}.{suffix}.p0" for x in ("load", "store"))
        module.declare(self.vector, self._fma, ", ".join([self.vector] * 3))
        module.declare(self.vector, self._load, f"ptr, {bits}, {self.vector}")
        module.declare("void", self._store, f"{self.vector}, ptr, {bits}")
        self._lines: list[str] = []
        self._count = 0
        self._block = ""  # the label of the block that is written

    def text(self, name: str) -> str:
        """The text of the function."""
        self._lines, self._count = [], 0
        symbolic = self.strides.symbolic()
        listed = "".join(f", i64 %{n}" for n in symbolic)
        steps = self.strides.by_name()
        self._steps = {n: f"%{n}" if n in symbolic else str(steps[n]) for n in steps}
        self._lines += [
            f"define internal void @{name}(ptr noalias readonly %a, ptr noalias readonly %b, "
            f"ptr noalias %s, ptr noalias %c, i64 %length, i1 %fresh, i64 %columns{listed}) "
            "noinline #kernel {",
            "entry:",
            f"  %full = and i64 %columns, {-self.step}",
            f"  %groups = and i64 %length, {-cost_model.ROWS_ADDED}",
        ]
        self._block = "entry"
        with self._loop("groups", "0", "%groups", cost_model.ROWS_ADDED) as k:
            self._add_rows(k, cost_model.ROWS_ADDED)
        with self._loop("rows", "%groups", "%length", 1) as k:
            self._add_rows(k, 1)
        for row in range(self.high):
            with self._loop("whole", "0", "%full", self.step) as column:
                for u in range(self.step // self.lanes):
                    place = self._emit(f"add nuw nsw i64 {column}, {u * self.lanes}")
                    self._put(row, place, "")
            with self._loop("rest", "%full", "%columns", self.lanes) as column:
                self._put(row, column, self._mask(column) if self.in_place else "")
        return "\n".join([*self._lines, "  ret void", "}"])

    def _emit(self, text: str) -> str:
        """A value that an instruction gives."""
        self._count += 1
        name = f"%v{self._count}"
        self._lines.append(f"  {name} = {text}")
        return name

    @contextmanager
    def _loop(self, what: str, start: str, stop: str, step: int) -> Iterator[str]:
        """A loop over range(start, stop, step). Code written inside is its body."""
        self._count += 1
        label, lines = f"{what}{self._count}", self._lines
        at = f"%{label}.at"
        lines += [
            f"  br label %{label}",
            f"{label}:",
            f"  {at} = phi i64 [ {start}, %{self._block} ], [ {at}.next, %{label}.last ]",
            f"  {at}.more = icmp ult i64 {at}, {stop}",
            f"  br i1 {at}.more, label %{label}.body, label %{label}.done",
            f"{label}.body:",
        ]
        self._block = f"{label}.body"
        yield at
        lines += [
            f"  br label %{label}.last",
            f"{label}.last:",
            f"  {at}.next = add nuw nsw i64 {at}, {step}",
            f"  br label %{label}, !llvm.loop !1",
            f"{label}.done:",
        ]
        self._block = f"{label}.done"

    def _add_rows(self, k: str, count: int) -> None:
        """Add so many rows from row k on, each times its element of a, to all sums."""
        first = self._emit(f"icmp eq i64 {k}, 0")
        rows = []
        for step in range(count):
            number = self._emit(f"add nuw nsw i64 {k}, {step}")
            at = self._at("%a", self._times(number, "a.step"))
            factors = []
            for row in range(self.high):
                place = self._at(at, self._times(str(row), "a.next")) if row else at
                one = self._emit(f"load {self.element}, ptr {place}, align {self.size}")
                factors.append(self._spread(one))
            rows.append((factors, self._at("%b", self._times(number, "b.step"))))
        with self._loop("full", "0", "%full", self.step) as column:
            self._add(first, rows, column, self.step // self.lanes, "")
        with self._loop("left", "%full", "%columns", self.lanes) as column:
            self._add(first, rows, column, 1, self._mask(column))

    def _add(
        self,
        first: str,
        rows: Sequence[tuple[Sequence[str], str]],
        column: str,
        registers: int,
        mask: str,
    ) -> None:
        """Add rows of b, each times a factor for each row of a, to the sums of some registers
        of columns.
        """
        vector = self.vector
        places = [
            self._emit(f"add nuw nsw i64 {column}, {u * self.lanes}") for u in range(registers)
        ]
        found = [[self._from(self._at(row, p), mask) for p in places] for _, row in rows]
        for number in range(self.high):
            for u, place in enumerate(places):
                at = self._sum_at(number, place)
                zero = f"{vector} zeroinitializer"
                total = self._emit(f"select i1 {first}, {zero}, {vector} {self._from(at, '')}")
                for (factors, _), registers_of_row in zip(rows, found, strict=True):
                    terms = (factors[number], registers_of_row[u], total)
                    operands = ", ".join(f"{vector} {v}" for v in terms)
                    total = self._emit(f"call {vector} @{self._fma}({operands})")
                self._lines.append(f"  store {vector} {total}, ptr {at}, align {self.size}")

    def _sum_at(self, row: int, column: str) -> str:
        """The address of a row's sum."""
        own = self._emit(f"add nuw nsw i64 {column}, {row * self.wide}") if row else column
        return self._at("%s", own)

    def _times(self, number: str, stride: str) -> str:
        return self._emit(f"mul nsw i64 {number}, {self._steps[stride]}")

    def _put(self, row: int, column: str, mask: str) -> None:
        """Store the sums of a register in c, or add them to it."""
        total = self._from(self._sum_at(row, column), "")
        at = self._at(self._at("%c", self._times(str(row), "c.next")), column)
        old = self._from(at, mask)
        more = self._emit(f"fadd {self.vector} {old}, {total}")
        found = self._emit(f"select i1 %fresh, {self.vector} {total}, {self.vector} {more}")
        if mask:
            operands = f"{self.vector} {found}, ptr align {self.size} {at}, {mask}"
            self._lines.append(f"  call void @{self._store}({operands})")
        else:
            self._lines.append(f"  store {self.vector} {found}, ptr {at}, align {self.size}")

    def _mask(self, column: str) -> str:
        left = self._emit(f"sub nuw nsw i64 %columns, {column}")
        self._count += 1
        lines, mask = first_lanes_mask(self.lanes, 8 * self.size, left, f"%m{self._count}")
        self._lines += lines
        return mask

    def _from(self, at: str, mask: str) -> str:
        if not mask:
            return self._emit(f"load {self.vector}, ptr {at}, align {self.size}")
        return self._emit(
            f"call {self.vector} @{self._load}(ptr align {self.size} {at}, {mask}, "
            f"{self.vector} zeroinitializer)"
        )

    def _at(self, base: str, offset: str) -> str:
        return self._emit(f"getelementptr inbounds {self.element}, ptr {base}, i64 {offset}")

    def _spread(self, one: str) -> str:
        """A register with one number in all lanes."""
        vector = self.vector
        lane = self._emit(f"insertelement {vector} poison, {self.element} {one}, i64 0")
        return self._emit(
            f"shufflevector {vector} {lane}, {vector} poison, <{self.lanes} x i32> "
            "zeroinitializer"
        )


__all__ = ["RowSumsWriter"]
