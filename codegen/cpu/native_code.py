"""LLVM IR -> code in memory, through an image or LLVM's own loader.

Images are for Linux on x86-64. Elsewhere, where a module has something that images don't have,
or where the system refuses the memory, LLVM's MCJIT loads the code, more slowly. LLVM is
imported when something is compiled.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from graphjit.codegen.runtime import serialize
from graphjit.codegen.runtime.image import Image, Unlinkable, link
from graphjit.codegen.runtime.loader import Loaded, Unloadable, loadable, outside_address
from graphjit.codegen.runtime.runtime_symbols import OUTSIDE
from graphjit.core import disk_cache
from graphjit.ir.fingerprint import process_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphjit.codegen.optimize import Optimizer
    from graphjit.codegen.runtime.loader import Code


def native_code(text: str, optimize: Optimizer, level: int) -> tuple[Code, Image | None]:
    """The code of a module, and its image if it was loaded from one."""
    from .processor import target_machine

    if loadable():
        machine = target_machine(level, relocatable=True)
        try:
            image = link(machine.emit_object(optimize(text, machine)))
            return Loaded(image), image
        except (Unlinkable, Unloadable):
            pass  # MCJIT may load it
    machine = target_machine(level)
    return McjitCode(optimize(text, machine), machine), None


class McjitCode:
    """Code that LLVM's MCJIT loaded."""

    def __init__(self, module: Any, machine: Any) -> None:
        import llvmlite.binding as llvm

        for function in module.functions:
            if function.is_declaration and function.name in OUTSIDE:
                llvm.add_symbol(function.name, outside_address(function.name))
        self._engine = llvm.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        self._variables = {variable.name for variable in module.global_variables}

    def address(self, symbol: str) -> int:
        """The address of a function or variable."""
        if symbol in self._variables:
            return int(self._engine.get_global_value_address(symbol))
        return int(self._engine.get_function_address(symbol))


def lasting_code(name: str, text: Callable[[], str], parts: Sequence[int] = ()) -> Code:
    """Code that is never unloaded, also cached on disk.

    parts: what the text depends on besides graphjit's own code and the machine
    """
    key = process_key(name, parts)
    code = _read_code(key)
    if code is None:
        from graphjit.codegen.optimize import simplify

        code, image = native_code(text(), simplify, 1)
        if image is not None:
            disk_cache.write(key, serialize.pack_image(image))
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(code))
    return code


def _read_code(key: str) -> Code | None:
    """The code that the disk cache has; None if it has none."""
    payload = disk_cache.read(key) if loadable() else None
    if payload is None:
        return None
    try:
        return Loaded(serialize.unpack_image(payload))
    except (serialize.Unreadable, Unloadable):
        return None


__all__ = ["lasting_code", "native_code"]
