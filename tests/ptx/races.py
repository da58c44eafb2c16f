"""Who touched which byte: races inside a block, and between the blocks of a launch.

Accesses of a block are collected until a barrier of the whole block orders them, then looked
at together. Two accesses by different threads race if one writes, not both are atomic (or
volatile, or relaxed), and no barrier is between them; inside a warp, `bar.warp.sync` of all
its threads orders too. A partial `bar.warp.sync` is taken to order nothing. Blocks of one
launch are ordered by nothing. Source: PTX ISA 8, memory consistency model, data races.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ptx.errors import RaceError
from ptx.types import Array

WARP = 32


@dataclass(frozen=True, slots=True)
class Access:
    """One instruction's access by several threads; `clock` counts their warps' syncs."""

    addresses: Array
    threads: Array
    clock: Array
    size: int
    write: bool
    strong: bool
    line: int


class Races:
    """The accesses of the running block since its last barrier."""

    def __init__(self) -> None:
        self.log: list[Access] = []

    def note(self, access: Access) -> None:
        """Remember an access."""
        self.log.append(access)

    def barrier(self) -> None:
        """All before is ordered with all after: look, and forget."""
        log, self.log = self.log, []
        if any(access.write for access in log):
            _look(log)


def _look(log: list[Access]) -> None:
    # Four bytes at a time, unless something is smaller.
    unit = 4 if all(access.size % 4 == 0 for access in log) else 1
    units = [np.arange(access.size // unit, dtype=np.uint64) for access in log]
    address = np.concatenate(
        [
            (a.addresses[:, None] // np.uint64(unit) + u).ravel()
            for a, u in zip(log, units, strict=True)
        ]
    )

    def column(values: list[Array]) -> Array:
        return np.concatenate(
            [np.repeat(v, len(u)) for v, u in zip(values, units, strict=True)]
        )

    thread = column([a.threads for a in log])
    clock = column([a.clock for a in log])
    write = column([np.full(len(a.threads), a.write) for a in log])
    strong = column([np.full(len(a.threads), a.strong) for a in log])
    line = column([np.full(len(a.threads), a.line) for a in log])

    order = np.argsort(address, kind="stable")
    address, thread, clock = address[order], thread[order], clock[order]
    write, strong, line = write[order], strong[order], line[order]
    start = np.flatnonzero(np.r_[True, address[1:] != address[:-1]]) if len(address) else []
    if not len(start):
        return
    shared = np.minimum.reduceat(thread, start) != np.maximum.reduceat(thread, start)
    suspect = shared & np.logical_or.reduceat(write, start)
    suspect &= ~np.logical_and.reduceat(strong, start)
    warp = thread // WARP
    one_warp = np.minimum.reduceat(warp, start) == np.maximum.reduceat(warp, start)
    ends = np.r_[start[1:], len(address)]
    for first, end, same_warp in zip(
        start[suspect], ends[suspect], one_warp[suspect], strict=True
    ):
        part = slice(first, end)
        pair = _pair(thread[part], clock[part], write[part], strong[part], bool(same_warp))
        if pair is not None:
            i, j = pair[0] + first, pair[1] + first
            raise RaceError(
                f"threads {thread[i]} (line {line[i]}, {_word(write[i])}) and {thread[j]}"
                f" (line {line[j]}, {_word(write[j])}) at {int(address[i]) * unit:#x},"
                " with no barrier between"
            )


def _word(write: bool) -> str:
    return "write" if write else "read"


def _pair(
    thread: Array, clock: Array, write: Array, strong: Array, same_warp: bool
) -> tuple[int, int] | None:
    """Two accesses of one place that race, if any do."""
    if same_warp and len(np.unique(clock)) > 1:
        for value in np.unique(clock):
            index = np.flatnonzero(clock == value)
            found = _pair(thread[index], clock[index], write[index], strong[index], True)
            if found is not None:
                return int(index[found[0]]), int(index[found[1]])
        return None
    for i in np.flatnonzero(write):
        against = (thread != thread[i]) & ~(strong & strong[i])
        ordered = (thread // WARP == thread[i] // WARP) & (clock != clock[i])
        against &= ~ordered
        if against.any():
            return int(i), int(np.flatnonzero(against)[0])
    return None


class BlockRaces:
    """What each block of a launch did to each byte of global memory."""

    NOBODY, MANY = -1, -2

    def __init__(self, size: int) -> None:
        self.readers = np.full(size, self.NOBODY, np.int32)
        self.writers = self.readers.copy()
        self.atomics = self.readers.copy()
        self.constant = np.zeros(size, bool)

    def note(
        self, places: Array, size: int, block: int, write: bool, strong: bool, constant: bool
    ) -> None:
        """An access of a block; `constant` if by ld.global.nc."""
        octets = (places[:, None] + np.arange(size)).ravel()
        against = [self.writers]
        if write or strong:
            against.append(self.readers)
        if not strong:
            against.append(self.atomics)
        for table in against:
            if ((table[octets] != self.NOBODY) & (table[octets] != block)).any():
                raise RaceError(
                    "two blocks touch one byte of global memory, one of them writes"
                )
        if constant:
            self.constant[octets] = True
        if write or constant:
            changed = (self.writers[octets] != self.NOBODY) | (self.atomics[octets] != -1)
            changed |= write
            if (self.constant[octets] & changed).any():
                raise RaceError("ld.global.nc of a byte that this launch writes")
        table = self.atomics if strong else self.writers if write else self.readers
        before = table[octets]
        table[octets] = np.where((before == self.NOBODY) | (before == block), block, self.MANY)
