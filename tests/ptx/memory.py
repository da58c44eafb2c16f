"""Device memory: guarded allocations, with what is known of every byte.

Addresses are 64 bits: the upper ones name a region, the lower 36 the place in it. So an
access that leaves its allocation by up to 64 GB never meets another one. Every byte has a
state: outside, allocated but unwritten, or written.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ptx.errors import AlignmentError, BoundsError
from ptx.types import Array

REGION_BITS = 36
PLACE = np.uint64((1 << REGION_BITS) - 1)
SHARED, LOCAL, CONST, PARAM, FIRST_GLOBAL = 1, 2, 3, 4, 16
OUTSIDE, UNWRITTEN, WRITTEN = 0, 1, 2
# Allocations are aligned as cudaMalloc aligns them (CUDA C Programming Guide, 5.3.2).
ALLOCATION_ALIGN = 256


class Store:
    """Bytes with their states; places are offsets, aligned to the size of an access."""

    def __init__(self, size: int = 0) -> None:
        self.octets = np.zeros(-(-size // 64) * 64 + 64, np.uint8)
        self.state = np.zeros_like(self.octets)
        self.state[:size] = UNWRITTEN
        self.views: dict[int, tuple[Array, Array]] = {}

    def grow(self, size: int) -> None:
        """Have room for `size` bytes."""
        if size > len(self.octets):
            room = max(size, 2 * len(self.octets)) // 64 * 64 + 64
            octets, state = np.zeros(room, np.uint8), np.zeros(room, np.uint8)
            octets[: len(self.octets)], state[: len(self.state)] = self.octets, self.state
            self.octets, self.state = octets, state
            self.views = {}

    def view(self, size: int) -> tuple[Array, Array]:
        """Bytes and states as words of `size` bytes."""
        if size not in self.views:
            dtype = f"u{size}"
            self.views[size] = self.octets.view(dtype), self.state.view(dtype)
        return self.views[size]

    def outside(self, places: Array, size: int) -> Array:
        """Where an access touches a byte that is in no allocation."""
        wrong = (places < 0) | (places > len(self.octets) - size)
        safe = np.where(wrong, 0, places)
        if size <= 8 and not wrong.any():
            state = self.view(size)[1][safe // size]
            if (state == _all(WRITTEN, size)).all():
                return wrong
        return wrong | (self.state[safe[:, None] + np.arange(size)] == OUTSIDE).any(1)

    def load(self, places: Array, size: int) -> tuple[Array, Array]:
        """Words, and which of them have an unwritten byte."""
        octets, state = self.view(size)
        index = places // size
        return octets[index], state[index] != _all(WRITTEN, size)

    def store(self, places: Array, words: Array, poison: Array | None) -> None:
        """Write words; a poisoned one leaves its bytes unwritten."""
        size = words.dtype.itemsize
        octets, state = self.view(size)
        index = places // size
        octets[index] = words
        if poison is None:
            state[index] = _all(WRITTEN, size)
        else:
            state[index] = np.where(poison, _all(UNWRITTEN, size), _all(WRITTEN, size))


def _all(state: int, size: int) -> Any:
    return np.dtype(f"u{size}").type(int.from_bytes(bytes([state]) * size, "little"))


class Buffer:
    """An allocation that holds a NumPy array."""

    def __init__(
        self, memory: Memory, name: str, region: int, place: int, shape: Any, dtype: Any
    ) -> None:
        self.memory, self.name, self.region, self.place = memory, name, region, place
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self.size = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
        self.shift = 0
        self.readonly = False

    @property
    def address(self) -> int:
        """The address that a kernel is given."""
        return (self.region << REGION_BITS) + self.shift

    def _slice(self) -> slice:
        return slice(self.place + self.shift, self.place + self.shift + self.size)

    def numpy(self) -> Array:
        """A copy of what it holds now; bytes never written read as zero."""
        octets = self.memory.store.octets[self._slice()]
        return octets.copy().view(self.dtype).reshape(self.shape)

    def written(self) -> bool:
        """Has every byte been written?"""
        return bool((self.memory.store.state[self._slice()] == WRITTEN).all())

    def fill(self, array: Array) -> None:
        """Write from the host."""
        array = np.asarray(array, self.dtype, order="C")
        if array.shape != self.shape:
            raise ValueError(f"{array.shape} into a buffer of {self.shape}")
        self.memory.store.octets[self._slice()] = array.reshape(-1).view(np.uint8)
        self.memory.store.state[self._slice()] = WRITTEN


class Memory:
    """The global memory of a device."""

    def __init__(self) -> None:
        self.store = Store()
        self.buffers: list[Buffer] = []
        self.used = 0
        # The global variables of each module that ran here, and the modules, kept alive.
        self.modules: dict[int, dict[str, Buffer]] = {}
        self.kept: list[object] = []
        self._bases = np.full(FIRST_GLOBAL, -1, np.int64)

    def empty(
        self, shape: int | tuple[int, ...], dtype: Any, *, name: str = "", shift: int = 0
    ) -> Buffer:
        """An allocation of unwritten bytes, `shift` bytes beyond an aligned address."""
        shape = (shape,) if isinstance(shape, int) else shape
        region = FIRST_GLOBAL + len(self.buffers)
        buffer = Buffer(self, name or f"buffer {len(self.buffers)}", region, 0, shape, dtype)
        start = -(-(self.used + 64) // ALLOCATION_ALIGN) * ALLOCATION_ALIGN
        buffer.place, buffer.shift = start, shift
        self.used = start + shift + buffer.size
        self.store.grow(self.used + 64)
        self.store.state[buffer._slice()] = UNWRITTEN
        self.buffers.append(buffer)
        self._bases = np.append(self._bases, start)
        return buffer

    def array(
        self, values: Any, *, name: str = "", shift: int = 0, readonly: bool = False
    ) -> Buffer:
        """An allocation that holds a copy of an array."""
        values = np.asarray(values)
        buffer = self.empty(values.shape, values.dtype, name=name, shift=shift)
        buffer.fill(values)
        buffer.readonly = readonly
        return buffer

    def places(self, addresses: Array, size: int, write: bool) -> Array:
        """Where in the store global addresses lie; an error if one lies in no allocation."""
        regions = (addresses >> np.uint64(REGION_BITS)).astype(np.int64)
        known = (regions >= FIRST_GLOBAL) & (regions < len(self._bases))
        bases = self._bases[np.where(known, regions, 0)]
        inside = (addresses & PLACE).astype(np.int64)
        places = np.where(known, bases + inside, -1)
        wrong = ~known | self.store.outside(places, size)
        # A place so far beyond its allocation that it fell into the next one's bytes.
        lengths = np.array([0] * FIRST_GLOBAL + [b.shift + b.size for b in self.buffers])
        wrong |= inside + size > lengths[np.where(known, regions, 0)]
        if wrong.any():
            raise BoundsError(self.explain(int(addresses[np.flatnonzero(wrong)[0]]), size))
        if write:
            for region in np.unique(regions):
                if self.buffers[region - FIRST_GLOBAL].readonly:
                    name = self.buffers[region - FIRST_GLOBAL].name
                    raise BoundsError(f"write to {name}, which is read-only")
        return places

    def explain(self, address: int, size: int) -> str:
        """Words for an access that is out of bounds."""
        # Just below a region is nearer to it than to the one it is numbered in.
        region = (address + (1 << (REGION_BITS - 1))) >> REGION_BITS
        if not FIRST_GLOBAL <= region < FIRST_GLOBAL + len(self.buffers):
            return f"{size} bytes at {address:#x}: no allocation is near"
        buffer = self.buffers[region - FIRST_GLOBAL]
        offset = address - buffer.address
        return f"{size} bytes at byte {offset} of {buffer.name}, which has {buffer.size}"


def check_alignment(addresses: Array, size: int) -> None:
    """An access of `size` bytes is at a multiple of its size (PTX ISA 6.4.1)."""
    wrong = (addresses & np.uint64(size - 1)) != 0
    if wrong.any():
        address = int(addresses[np.flatnonzero(wrong)[0]])
        raise AlignmentError(f"{size} bytes at {address:#x}, which is no multiple of {size}")
