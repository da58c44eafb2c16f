"""Making the dispatcher's code, once in a process."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.codegen.cpu.native_code import lasting_code
from graphjit.core import attribute_layout, float_errors, object_layout

from .object_code import API, OBJECTS, PYTHON_FUNCTIONS, SlotOffsets

# What an entry's Python function returns where the specialization doesn't fit after all.
MISS = type("Miss", (), {})()


def _write_text(offsets: SlotOffsets) -> str:
    from .text import dispatcher_text  # not needed where the code is on disk

    return dispatcher_text(offsets)


class _Dispatcher:
    """The compiled code.

    address: that of its vectorcall function
    """

    def __init__(self, objects: dict[str, int], offsets: SlotOffsets) -> None:
        # never unloaded: function objects lead here for as long as any lives
        words = (
            offsets.table, offsets.tensor_array, offsets.tensor_type, offsets.cell_array,
            *attribute_layout.WORDS,
        )  # fmt: skip
        self._code = lasting_code("dispatcher", lambda: _write_text(offsets), words)
        addresses = {
            name: ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
            for name in PYTHON_FUNCTIONS
        }
        addresses |= object_layout.numpy_functions()
        self._fill("functions", [addresses[name] for name in API])
        self._fill("objects", [objects[name] for name in OBJECTS])
        self.address = self._code.address("dispatch")

    def _fill(self, name: str, words: list[Any]) -> None:
        """Fill one of the code's tables."""
        table = self._code.address(name)
        (ctypes.c_uint64 * len(words)).from_address(table)[:] = words


def _keep_alive(value: Any) -> None:
    """Keep an object alive until the process has ended."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


def install(
    kind: type,
    slow: Callable[..., Any],
    tensor: type,
    cell: type,
    gates: Any,
    eager: Any,
) -> int:
    """The address of the vectorcall function for a class; compiled once in a process.

    kind: the class, which has a slot `_table`
    slow: the Python function to call where no entry fits
    tensor, cell: the classes of tensors and of variables' cells
    gates: two words. While the first isn't 0, calls go to `slow`. While the second isn't 0,
        they do if the context variable `eager` has a value other than None.
    """
    for value in (slow, tensor, cell, gates, eager, MISS):
        _keep_alive(value)
    types = {
        "ndarray": np.ndarray, "tensor": tensor, "float": float, "int": int,
        "complex": complex, "list": list, "tuple": tuple, "dict": dict, "bool": bool,
        "str": str,
    }  # fmt: skip
    objects = {name: id(t) for name, t in types.items()}
    objects |= {"gates": gates.buffer_info()[0], "eager": id(eager), "slow": id(slow)}
    objects["float_errors"] = id(float_errors.STATE)
    objects |= {"miss": id(MISS), "none": id(None)}
    objects["exception"] = id(Exception)
    offsets = SlotOffsets(
        table=object_layout.slot_offset(kind, "_table"),
        tensor_array=object_layout.slot_offset(tensor, "_array"),
        tensor_type=object_layout.slot_offset(tensor, "type"),
        cell_array=object_layout.slot_offset(cell, "array"),
    )
    return _Dispatcher(objects, offsets).address
