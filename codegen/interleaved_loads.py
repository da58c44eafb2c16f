"""Interleaved loads as LLVM IR: rows are read whole and transposed in registers."""

from __future__ import annotations

from graphjit.core.types import DType
from graphjit.ir import cost_model
from graphjit.ir.program import Load

from .access import storage_type
from .interleaving import MAX_WHOLE_ROW
from .kernel_context import KernelContext
from .loops import LoadInterleaved


class InterleavedEmitter(KernelContext):
    """Writes loads that are made together."""

    def load_interleaved(self, group: LoadInterleaved) -> None:
        """Load the elements of the lanes' rows. Masked lanes are loaded one by one."""
        b = self.b
        if b.mask is not None or b.width == 1:
            for number in group.values:
                self.values[number] = self.compute(number)
            return
        loads = [self.kernel.values[number] for number in group.values]
        first = loads[0]
        assert isinstance(first, Load)
        places = list[int]()
        for load in loads:
            assert isinstance(load, Load)
            places.append(load.index.offset - first.index.offset)
        offset, apart = self.element_offset(first.index)
        base = self.address(f"%b{first.buffer}", first.dtype, offset)
        length = places[-1] + 1
        if length <= MAX_WHOLE_ROW:
            columns = self._split(base, first.dtype, length)
        else:
            columns = self._transpose_rows(base, first.dtype, length, apart)
        for number, place in zip(group.values, places, strict=True):
            self.values[number] = self.unpack(columns[place], first.dtype)

    def _split(self, base: str, dtype: DType, length: int) -> list[str]:
        """The columns of rows that follow each other, out of one vector of all."""
        lanes, part = self.b.width, storage_type(dtype)
        kind = f"<{lanes * length} x {part}>"
        rows = self.b.emit(f"load {kind}, ptr {base}, align {dtype.size}")
        return [
            self._shuffle(kind, rows, "poison", [lane * length + k for lane in range(lanes)])
            for k in range(length)
        ]

    def _transpose_rows(self, base: str, dtype: DType, length: int, apart: int) -> list[str]:
        """The columns of rows, a few columns at a time; the last of them overlap those before.

        In memory a vector is one row; in registers, those of several squares side by side.
        """
        lanes, most = self.b.width, min(length, cost_model.SQUARE_BYTES // dtype.size)
        side = 1 << (min(lanes, most).bit_length() - 1)
        columns: dict[int, str] = {}
        for start in [*range(0, length - side, side), length - side]:
            rows = [
                self._side_by_side(
                    base, dtype, side, [(k + i) * apart + start for k in range(0, lanes, side)]
                )
                for i in range(side)
            ]
            columns.update(enumerate(self._transpose(rows, dtype, side), start))
        return [columns[k] for k in range(length)]

    def _side_by_side(self, base: str, dtype: DType, side: int, offsets: list[int]) -> str:
        """Parts of rows, of `side` elements each, in one vector."""
        b, part = self.b, storage_type(dtype)
        parts = list[str]()
        for offset in offsets:
            at = self.address(base, dtype, str(offset))
            parts.append(b.emit(f"load <{side} x {part}>, ptr {at}, align {dtype.size}"))
        while len(parts) > 1:
            kind = f"<{side} x {part}>"
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts = [self._shuffle(kind, x, y, list(range(2 * side))) for x, y in pairs]
            side *= 2
        return parts[0]

    def _transpose(self, rows: list[str], dtype: DType, side: int) -> list[str]:
        """Squares side by side, each transposed: blocks are exchanged between rows."""
        lanes = self.b.width
        kind = f"<{lanes} x {storage_type(dtype)}>"
        step = 1
        while step < side:
            pairs = ((0, lanes - step), (step, lanes))
            rows = [
                self._shuffle(
                    kind,
                    rows[i & ~step],
                    rows[i | step],
                    [k + pairs[bool(i & step)][bool(k & step)] for k in range(lanes)],
                )
                for i in range(side)
            ]
            step *= 2
        return rows

    def _shuffle(self, kind: str, x: str, y: str, order: list[int]) -> str:
        """Elements of two vectors in another order."""
        listed = ", ".join(f"i32 {k}" for k in order)
        return self.b.emit(
            f"shufflevector {kind} {x}, {kind} {y}, <{len(order)} x i32> <{listed}>"
        )


__all__ = ["InterleavedEmitter"]
