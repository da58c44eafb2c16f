"""What a function's code names, assigns to and compares, read from its bytecode."""

from __future__ import annotations

import dis
import types
from typing import Any


def names_in(code: types.CodeType) -> list[str]:
    """The globals and attributes that code, or code inside it, names."""
    result = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            result += names_in(constant)
    return result


def assigned_names(code: types.CodeType, operations: tuple[str, ...] = ()) -> set[str]:
    """The global and free names that the code, or code inside it, assigns to."""
    found = set()
    # to take all instructions of a long function apart takes longer than to trace it
    wanted = {dis.opmap[name] for name in operations or _ASSIGNMENTS if name in dis.opmap}
    if not wanted.isdisjoint(code.co_code[::2]):
        found = {i.argval for i in dis.get_instructions(code) if i.opcode in wanted}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= assigned_names(constant, operations)
    return found


GLOBAL_ASSIGNMENTS = ("STORE_GLOBAL", "DELETE_GLOBAL")
_ASSIGNMENTS = (*GLOBAL_ASSIGNMENTS, "STORE_DEREF", "DELETE_DEREF")


def string_constants(code: types.CodeType) -> set[str]:
    """The names that the code has as text: keywords, arguments of getattr."""
    found: set[str] = set()
    todo: list[Any] = list(code.co_consts)
    while todo:
        value = todo.pop()
        if type(value) is str:
            found.add(value)
        elif type(value) is tuple:
            todo += value
        elif isinstance(value, types.CodeType):
            todo += value.co_consts
    return found


__all__ = [
    "GLOBAL_ASSIGNMENTS", "assigned_names", "names_in", "string_constants",
]  # fmt: skip
