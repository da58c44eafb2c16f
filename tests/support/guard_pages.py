"""A mode of the tests in which every array ends at an unreadable page.

    GRAPHJIT_GUARD_PAGES=1 pytest tests/ops/test_table.py tests/tracing/test_symbolic_sizes.py

Code that reads or writes past the end of an ndarray, of a large result or of the memory for
temporaries ends the process there. `conftest.py` calls `install` before anything is allocated.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

NAME = "GRAPHJIT_GUARD_PAGES"
LINE_BYTES = 64
_SET_HANDLER = 304  # of NumPy's table of C functions: PyDataMem_SetHandler
_kept: list[Any] = []


def wanted() -> bool:
    """Whether this process is to run so."""
    return os.environ.get(NAME) == "1"


def compiler() -> str | None:
    """A C compiler, without which the mode can't be had."""
    return shutil.which("cc") or shutil.which("gcc")


def install() -> None:
    """Give NumPy's arrays of this context, graphjit's large results and its temporaries such
    memory.
    """
    folder = tempfile.mkdtemp()
    library = f"{folder}/guard_pages.so"
    source = str(Path(__file__).with_suffix(".c"))
    command = [compiler() or "cc", "-O2", "-shared", "-fPIC", "-o", library, source]
    subprocess.run(command, check=True)
    loaded = ctypes.CDLL(library)
    shutil.rmtree(folder)
    handler = ctypes.addressof(ctypes.c_char.in_dll(loaded, "handler"))
    api, name = ctypes.pythonapi, ctypes.create_string_buffer(b"mem_handler")
    api.PyCapsule_New.restype = ctypes.py_object
    api.PyCapsule_New.argtypes = [ctypes.c_void_p] * 3
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    capsule = api.PyCapsule_New(handler, ctypes.addressof(name), None)
    core: Any = np._core._multiarray_umath  # type: ignore[attr-defined]
    pointer = api.PyCapsule_GetPointer(core._ARRAY_API, None)
    table = ctypes.cast(pointer, ctypes.POINTER(ctypes.c_void_p))
    address = table[_SET_HANDLER]
    assert address is not None
    ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(address)(capsule)
    assert core.get_handler_name(np.ones(300)) == "guard_pages"
    _kept.extend((loaded, name, capsule))
    _guard_large()


class _Lines(np.ndarray[Any, Any]):
    """The bytes of a large result, which starts at a cache line; what follows is looked at."""

    _after: Any = None

    def __del__(self) -> None:
        if self._after is not None and (self._after != 0xAB).any():
            os.abort()


def _guard_large() -> None:
    from graphjit.core import memory_pool

    def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if size < memory_pool.LARGE_BYTES:
            return np.empty(shape, dtype)
        room = np.empty(-(-size // LINE_BYTES) * LINE_BYTES, np.uint8)
        room[size:] = 0xAB
        lines = room[:size].view(_Lines)
        lines._after = room[size:]
        return np.ndarray(shape, dtype, lines)

    memory_pool.empty = empty
