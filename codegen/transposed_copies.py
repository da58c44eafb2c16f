"""Copies of loads, transposed square by square in registers, as LLVM IR."""

from __future__ import annotations

from contextlib import AbstractContextManager

from graphjit.core.dims import Dim
from graphjit.core.types import DType
from graphjit.ir.program import Load

from .access import transpose_function
from .kernel_context import KernelContext
from .loops import TransposeTile
from .transposes import square_sides
from .values import Value, ir_type


class TransposeEmitter(KernelContext):
    """Writes the copy of a load's tile, and loads from it."""

    def load_from_copy(self, room: str, dtype: DType, row_dim: int, columns: int) -> Value:
        """The current lanes of a tile or of a transposed copy."""
        b = self.b
        lane = self.nest.lane_dim
        position = b.emit(f"sub nsw i64 {self.counters[lane]}, {self.bounds[lane][0]}")
        if row_dim >= 0:
            row = b.emit(f"sub nsw i64 {self.counters[row_dim]}, {self.bounds[row_dim][0]}")
            start = b.emit(f"mul nsw i64 {row}, {columns}")
            position = b.emit(f"add nsw i64 {start}, {position}")
        # the copy has whole vectors: masked-off lanes can be loaded, too
        mask, b.mask = b.mask, None
        found = self.load_lanes(room, dtype, position, 1)
        b.mask = mask
        return found

    def transpose_tile(self, turn: TransposeTile) -> None:
        """Copy a load's tile, transposed.

        Squares are as large as a cache line where rows are; the last ones are moved back, so
        that they overlap those before.
        """
        b = self.b
        value = self.kernel.values[turn.value]
        assert isinstance(value, Load)
        size = value.dtype.size
        if turn.value not in self.transposed:
            room = b.fresh()
            kind = f"[{turn.most_rows * turn.columns} x {ir_type(value.dtype)}]"
            self.entry.append(f"  {room} = alloca {kind}, align 64")
            self.transposed[turn.value] = (room, turn)
        rows = self.size(turn.rows)
        self.bounds.setdefault(turn.row_dim, ("0", rows))
        if not isinstance(turn.rows, Dim):
            self._copy_squares(turn, square_sides(size, turn.rows)[0])
            return
        done = self.label()
        for side in square_sides(size, turn.most_rows):
            yes, no = self.label(), self.label()
            self.line(
                f"br i1 {b.emit(f'icmp uge i64 {rows}, {side}')}, label %{yes}, label %{no}"
            )
            b.lines.append(f"{yes}:")
            self._copy_squares(turn, side)
            self.line(f"br label %{done}")
            b.lines.append(f"{no}:")
        self._copy_strided(turn)
        self.line(f"br label %{done}")
        b.lines.append(f"{done}:")

    def _copy_squares(self, turn: TransposeTile, side: int) -> None:
        """Copy all, in squares of one side; what is left of rows of known length in the least
        that is enough.
        """
        if isinstance(turn.rows, Dim):
            rows = self.size(turn.rows)
            last = self.b.emit(f"sub nuw nsw i64 {rows}, {side}")
            with self._lanes(side) as first:
                with self.counting("0", last, side) as row:
                    self._copy_square(turn, side, first, row)
                self._copy_square(turn, side, first, last)
            return
        with self._lanes(side) as first:
            for place in range(0, turn.rows - side + 1, side):
                self._copy_square(turn, side, first, str(place))
        rest = turn.rows % side
        if rest:
            size = self.kernel.values[turn.value].dtype.size
            least = min(n for n in square_sides(size, side) if n >= rest)
            with self._lanes(least) as first:
                self._copy_square(turn, least, first, str(turn.rows - least))

    def _lanes(self, step: int) -> AbstractContextManager[str]:
        """A loop over the tile's lanes."""
        return self.counting(*self.bounds[self.nest.lane_dim], step)

    def _copy_square(self, turn: TransposeTile, side: int, first: str, row: str) -> None:
        """Copy one square. first, row: its first lane, and its place in the rows."""
        b, value = self.b, self.kernel.values[turn.value]
        assert isinstance(value, Load)
        dtype, part = value.dtype, ir_type(value.dtype)
        square = transpose_function(self.module, part, dtype.size, side)
        start, stop = self.bounds[self.nest.lane_dim]
        left = b.emit(f"sub nsw i64 {stop}, {first}")
        apart = self.size(value.index.strides[self.nest.lane_dim])
        at = self._element(value, turn, first, row)
        to = self._copied(turn, row, b.emit(f"sub nsw i64 {first}, {start}"))
        listed = f"ptr {at}, i64 {apart}, i64 {left}, ptr {to}, i64 {turn.columns}"
        self.line(f"call void @{square}({listed})")

    def _copy_strided(self, turn: TransposeTile) -> None:
        """Copy all, vector by vector of elements that lie apart."""
        b, value = self.b, self.kernel.values[turn.value]
        assert isinstance(value, Load)
        start, stop = self.bounds[self.nest.lane_dim]
        with self._lanes(b.width) as first, self.counting("0", self.size(turn.rows), 1) as row:
            self.counters[self.nest.lane_dim], self.counters[turn.row_dim] = first, row
            offset, step = self.element_offset(value.index)
            outside, b.mask = b.mask, self.first_lanes(b.emit(f"sub nsw i64 {stop}, {first}"))
            found = self.load_lanes(f"%b{value.buffer}", value.dtype, offset, step)
            b.mask = outside
            to = self._copied(turn, row, b.emit(f"sub nsw i64 {first}, {start}"))
            kind = b.type(value.dtype, True)
            self.line(f"store {kind} {found.ir}, ptr {to}, align {value.dtype.size}")

    def _element(self, value: Load, turn: TransposeTile, lane: str, row: str) -> str:
        """The address of an element of a row."""
        self.counters[self.nest.lane_dim] = lane
        self.counters[turn.row_dim] = self.bounds[turn.row_dim][0]
        offset, _ = self.element_offset(value.index)
        at = self.address(f"%b{value.buffer}", value.dtype, offset)
        return at if row == "0" else self.address(at, value.dtype, row)

    def _copied(self, turn: TransposeTile, row: str, column: str) -> str:
        """The address in the copy."""
        dtype = self.kernel.values[turn.value].dtype
        to = self.address(self.transposed[turn.value][0], dtype, column)
        if row == "0":
            return to
        place = self.b.emit(f"mul nuw nsw i64 {row}, {turn.columns}")
        return self.address(to, dtype, place)


__all__ = ["TransposeEmitter"]
