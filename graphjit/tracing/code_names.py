"""What a function's code names, assigns to and compares, read from its bytecode."""

from __future__ import annotations

import dis
import types
from typing import Any

from graphjit.core.static_lookup import code_of

# The argument of BINARY_OP from which on it is `+=` and its like.
_FIRST_IN_PLACE = 13


def names_in(code: types.CodeType) -> list[str]:
    """The globals and attributes that code, or code inside it, names."""
    result = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            result += names_in(constant)
    return result


def names_of_function(function: Any) -> set[str]:
    """The globals and attributes that a function's code names."""
    code = code_of(function)
    return set(names_in(code)) if code is not None else set()


def loads_global(function: Any, name: str) -> bool:
    """Whether a function's code, or code inside it, reads a global or builtin of this name."""
    code = code_of(function)
    return code is not None and _loads_global(code, name)


def _loads_global(code: types.CodeType, name: str) -> bool:
    return (
        name in code.co_names
        and any(
            i.opname == "LOAD_GLOBAL" and i.argval == name for i in dis.get_instructions(code)
        )
    ) or any(_loads_global(c, name) for c in code.co_consts if isinstance(c, types.CodeType))


def compares_type(code: types.CodeType, kinds: set[str]) -> bool:
    """Whether code, or code inside it, compares the type of a value with one of these types."""
    inner = (c for c in code.co_consts if isinstance(c, types.CodeType))
    if any(compares_type(c, kinds) for c in inner):
        return True
    if "type" not in code.co_names or kinds.isdisjoint(code.co_names):
        return False
    found = list(dis.get_instructions(code))
    for place, instruction in enumerate(found):
        if instruction.opname != "LOAD_GLOBAL" or instruction.argval != "type":
            continue
        following = found[place + 1 : place + _NEAR]
        end = next((k for k, i in enumerate(following) if _is_use(i)), len(following))
        if end == len(following) or following[end].opname not in _USES:
            continue
        before, after = found[max(place - 1, 0) : place], following[:end]
        near = {i.argval for i in (*before, *after) if i.opname in _LOADS}
        if not kinds.isdisjoint(near):
            return True
    return False


# How many instructions after `type` may lead to the comparison.
_NEAR = 16
_USES = ("IS_OP", "COMPARE_OP", "CONTAINS_OP")
_LOADS = ("LOAD_GLOBAL", "LOAD_ATTR", "LOAD_NAME", "LOAD_METHOD")


def _is_use(instruction: dis.Instruction) -> bool:
    """Whether an instruction compares a value, or ends the search for a comparison."""
    name = instruction.opname
    again = name == "LOAD_GLOBAL" and instruction.argval == "type"
    return again or name in _USES or name.startswith(("STORE", "RETURN", "POP_JUMP"))


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


def writes_items(code: types.CodeType) -> bool:
    """Whether code has `x[...] = v` or `x += v`."""
    stores = {dis.opmap[n] for n in ("STORE_SUBSCR", "STORE_SLICE") if n in dis.opmap}
    binary, raw = dis.opmap["BINARY_OP"], code.co_code
    if not stores.isdisjoint(raw[::2]):
        return True
    if any(
        o == binary and a >= _FIRST_IN_PLACE for o, a in zip(raw[::2], raw[1::2], strict=True)
    ):
        return True
    return any(writes_items(c) for c in code.co_consts if isinstance(c, types.CodeType))


__all__ = [
    "GLOBAL_ASSIGNMENTS", "assigned_names", "compares_type", "loads_global", "names_in",
    "names_of_function", "string_constants", "writes_items",
]  # fmt: skip
