"""Memory for large results, used again when the array that held it is gone.

Writing into freshly mapped pages costs more than most kernels' arithmetic: the system has to
clear and map each page first. So the memory of large outputs comes from anonymous mappings that
are retained when their array, and every view of it, has died, up to a bound.
"""

from __future__ import annotations

import math
import mmap
import os
import threading
from typing import Any

import numpy as np

from .types import Array, Shape

# Smaller arrays come from NumPy's allocator, whose memory the C library keeps mapped.
LARGE_BYTES = 1 << 20
LINE_BYTES = 64  # of the cache; large arrays start at a line
# What may be held for later, by default: enough for the outputs of a few large kernels.
DEFAULT_LIMIT_BYTES = 1 << 30


class Pool:
    """Mappings by size class, at most `limit_bytes` of them held unused."""

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self.limit_bytes = limit_bytes
        # a lease may be given back while the lock is held: by a collection, or a signal handler
        self._lock = threading.RLock()
        self._free: dict[int, list[mmap.mmap]] = {}
        self._held_bytes = 0
        self._reused = 0
        self._mapped = 0

    def take(self, size: int) -> mmap.mmap:
        """A mapping of at least `size` bytes."""
        room = size_class(size)
        with self._lock:
            waiting = self._free.get(room)
            if waiting:
                self._held_bytes -= room
                self._reused += 1
                return waiting.pop()
            self._mapped += 1
        mapping = mmap.mmap(-1, room, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            mapping.madvise(mmap.MADV_HUGEPAGE)
        return mapping

    def give(self, mapping: mmap.mmap) -> None:
        """Keep a mapping for later, or let it go where that would pass the limit."""
        room = len(mapping)
        with self._lock:
            if self._held_bytes + room <= self.limit_bytes:
                self._free.setdefault(room, []).append(mapping)
                self._held_bytes += room

    def trim(self) -> int:
        """Return all unused memory to the system; gives the number of bytes."""
        with self._lock:
            freed, self._held_bytes = self._held_bytes, 0
            self._free.clear()
        return freed

    def unlock(self) -> None:
        """In a forked child: whoever held the lock stayed behind."""
        self._lock = threading.RLock()

    def stats(self) -> dict[str, int]:
        """Bytes held unused, the limit, and how often memory was mapped and used again."""
        with self._lock:
            return {
                "held_bytes": self._held_bytes,
                "limit_bytes": self.limit_bytes,
                "mapped": self._mapped,
                "reused": self._reused,
            }


def size_class(size: int) -> int:
    """The size rounded up to one of four steps for each power of two, and to whole pages."""
    step = max(mmap.PAGESIZE, 1 << max(0, size.bit_length() - 3))
    return -(-size // step) * step


pool = Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.unlock)
stats = pool.stats
trim = pool.trim


class _Lease(np.ndarray[Any, Any]):
    """The bytes of a mapping on loan; when the last array over them dies, so does this."""

    _mapping: mmap.mmap | None = None

    def __del__(self) -> None:
        if self._mapping is not None and pool is not None:
            pool.give(self._mapping)


def empty(shape: Shape, dtype: np.dtype[Any]) -> Array:
    """An uninitialised array in C order. Raises MemoryError."""
    size = math.prod(shape) * dtype.itemsize
    if size < LARGE_BYTES:
        return np.empty(shape, dtype)
    try:
        mapping = pool.take(size)
    except (OSError, ValueError, OverflowError) as error:
        raise MemoryError(f"{size} bytes") from error
    lease = _Lease((size,), np.uint8, mapping)
    lease._mapping = mapping
    return np.ndarray(shape, dtype, lease)
