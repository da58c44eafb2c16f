"""An image -> code in memory that can be called.

Code pages are written before they become executable and never after. Memory is anonymous, not
mapped from a file: so a file that changes or shrinks can't affect running code, and folders
mounted without the right to execute don't matter. This needs Linux on x86-64, and no LLVM.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import sys
from typing import TYPE_CHECKING

from graphjit.core.fork_safety import new_lock
from graphjit.core.lazy import load_attribute

from .image import Image
from .runtime_symbols import PROVIDERS

# mmap.PROT_READ and PROT_EXEC, which not all Python builds have.
_READ, _EXECUTE = 1, 4
# Libraries to search besides the process: C's mathematics, and GCC's for float16.
_LIBRARIES = ("libm.so.6", "libgcc_s.so.1")


if TYPE_CHECKING:
    from typing import Protocol

    class Code(Protocol):
        """Machine code in memory, for as long as this object lives."""

        def address(self, symbol: str) -> int:
            """The address of a function or variable."""


_team_lock = new_lock()


class Unloadable(Exception):
    """Raised for an image that this process can't load."""


def loadable() -> bool:
    """Whether images can be loaded on this system."""
    return (
        sys.platform == "linux"
        and os.uname().machine == "x86_64"
        and sys.maxsize > 2**32
        and mmap.PAGESIZE == 4096
    )


class Loaded:
    """An image in memory. Raises Unloadable."""

    def __init__(self, image: Image) -> None:
        self._symbols = image.symbols
        addresses = [outside_address(name) for name, _ in image.imports]
        try:
            self._memory = mmap.mmap(-1, max(1, image.total_bytes), mmap.MAP_PRIVATE)
        except (OSError, ValueError) as error:
            raise Unloadable(f"no memory for code: {error}") from error
        memory, code = self._memory, image.code
        self._start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        memory[: len(code)] = code
        memory[image.data_at : image.data_at + len(image.data)] = image.data
        for (_, position), address in zip(image.imports, addresses, strict=True):
            memory[position : position + 8] = address.to_bytes(8, "little")
        for position, target in image.pointers:
            memory[position : position + 8] = (self._start + target).to_bytes(8, "little")
        if code and _mprotect()(self._start, image.data_at, _READ | _EXECUTE) != 0:
            raise Unloadable(f"code can't be executed: {os.strerror(ctypes.get_errno())}")

    def address(self, symbol: str) -> int:
        """The address of a function or variable."""
        return self._start + self._symbols[symbol]


@functools.cache
def _process() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


@functools.cache
def _mprotect() -> ctypes._NamedFuncPointer:
    function = _process().mprotect
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return function


@functools.cache
def outside_address(name: str) -> int:
    """The address of a function that code calls by name: the team's, Python's, the C library's.

    Raises Unloadable.
    """
    if name in PROVIDERS:
        provider = load_attribute(PROVIDERS[name])
        with _team_lock:  # only one team, even if two threads load the first programs
            return int(provider()[name])
    for library in (None, *_LIBRARIES):
        try:
            if name.startswith("Py"):
                found = getattr(ctypes.pythonapi, name)
            else:
                found = getattr(_process() if library is None else ctypes.CDLL(library), name)
        except (AttributeError, OSError):
            continue
        return int(ctypes.cast(found, ctypes.c_void_p).value or 0)
    raise Unloadable(f"nothing is named {name} here")


__all__ = ["Loaded", "Unloadable", "loadable", "outside_address"]
