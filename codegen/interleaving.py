"""Loads whose lanes lie interleaved in memory: columns of short rows, every other pixel.

Each lane's row is a few elements long, and each of its elements is a load of its own. These
loads are made together: whole rows are read, and transposed in registers.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphjit.core.dims import Dim
from graphjit.ir.program import Kernel, Load

from .loops import Let, LoadInterleaved, Statement

# The longest rows, and those that are read for all lanes as one vector.
MAX_ROW, MAX_WHOLE_ROW = 16, 3


def load_together(
    kernel: Kernel, body: Sequence[Statement], lane_dim: int
) -> tuple[Statement, ...]:
    """The statements of a loop over lanes, with interleaved loads made together, where the
    first of them stood.
    """
    groups = list[_Row]()
    stored = {s.buffer for s in kernel.stores}
    for statement in body:
        value = kernel.values[statement.value] if isinstance(statement, Let) else None
        if not isinstance(value, Load) or value.buffer in stored or value.dtype.kind == "c":
            continue
        assert isinstance(statement, Let)
        apart = value.index.strides[lane_dim]
        if isinstance(apart, Dim) or not 2 <= apart <= MAX_ROW:
            continue
        if not any(row.add(statement.value, value, apart) for row in groups):
            groups.append(_Row(statement.value, value, apart))
    together = {row.number: row for row in groups if row.pays()}
    rest = {n for row in together.values() for n in row.places} - together.keys()
    result = list[Statement]()
    for statement in body:
        number = statement.value if isinstance(statement, Let) else -1
        if number in together:
            result.append(together[number].statement())
        elif number not in rest:
            result.append(statement)
    return tuple(result)


class _Row:
    """Loads of elements of one row.

    number, load: the first that is made
    apart: the elements from one lane's row to the next
    places: each load's place in the row, beside the first's
    """

    def __init__(self, number: int, load: Load, apart: int) -> None:
        self.number, self.load, self.apart = number, load, apart
        self.places = {number: 0}

    def add(self, number: int, load: Load, apart: int) -> bool:
        """Add a load if it is of the same row."""
        mine = self.load
        if (load.buffer, load.index.strides) != (mine.buffer, mine.index.strides):
            return False
        place = load.index.offset - mine.index.offset
        if isinstance(place, Dim):
            return False
        ends = place, *self.places.values()
        if max(ends) - min(ends) >= apart:
            return False
        self.places[number] = place
        return True

    def pays(self) -> bool:
        """Whether most of the row is wanted."""
        length = max(self.places.values()) - min(self.places.values()) + 1
        if len(set(self.places.values())) * 4 < length * 3:
            return False
        if length <= MAX_WHOLE_ROW:  # nothing outside of what is loaded may be read
            return length == self.apart
        return self.load.dtype.size in (4, 8)

    def statement(self) -> LoadInterleaved:
        return LoadInterleaved(tuple(sorted(self.places, key=lambda n: self.places[n])))


__all__ = ["MAX_WHOLE_ROW", "load_together"]
