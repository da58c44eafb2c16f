"""Whether a method does nothing with its object but read and store attributes and call methods.

What such a method computes depends on what the object holds, and not on which object it is.
Told from bytecode: each time the method's first parameter is read, an attribute of it is taken
or stored at once.
"""

from __future__ import annotations

import dis
import inspect
import sys
import types
from typing import Any, Final

_MISSING: Final = object()
# By these a function gets at its variables, or at its object's class, without naming them.
_REACHING: Final = frozenset({"locals", "vars", "dir", "eval", "exec", "super", "__class__"})
_PIECEMEAL: Final = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def only_uses_attributes(function: Any, kind: type) -> bool:
    """Whether a function, called with an object of a class as its first argument, only reads
    and stores attributes of it and calls methods of its class that do no more, and returns it.
    """
    if any(
        name in vars(owner)
        for owner in kind.__mro__[:-1]
        for name in ("__getattr__", "__getattribute__", "__setattr__")
    ):
        return False
    left, seen = [function], set()
    while left:
        code = getattr(left.pop(), "__code__", None)
        if code is None or code in seen:
            if code is None:
                return False
            continue
        seen.add(code)
        uses = _attributes_of_first(code, may_return=len(seen) == 1)
        if uses is None:
            return False
        for name, use in uses:
            found = inspect.getattr_static(kind, name, _MISSING)
            if use == "stored":
                if type(found) is property:
                    left.append(found.fset)
                elif hasattr(type(found), "__set__") and not isinstance(
                    found, types.MemberDescriptorType
                ):
                    return False
                continue
            if isinstance(found, types.FunctionType):
                if use != "called":  # a method as a value refers to its object
                    return False
                left.append(found)
            elif type(found) is property:
                left.append(found.fget)
            elif hasattr(type(found), "__get__") and not isinstance(
                found, (types.MemberDescriptorType, staticmethod, classmethod)
            ):
                return False
    return True


def _attributes_of_first(
    code: types.CodeType, may_return: bool
) -> list[tuple[str, str]] | None:
    """The attributes of its first parameter that code uses, and whether each is read, called at
    once, or stored. None where it does something else with it.

    may_return: whether it may also return it
    """
    if not code.co_argcount or code.co_flags & _PIECEMEAL:
        return None
    first = code.co_varnames[0]
    if first in code.co_cellvars or not _REACHING.isdisjoint(
        (*code.co_names, *code.co_freevars)
    ):
        return None
    found: list[tuple[str, str]] = []
    instructions = [x for x in dis.get_instructions(code) if x.opname != "EXTENDED_ARG"]
    for k, here in enumerate(instructions):
        if "_FAST" not in here.opname:
            continue
        names = here.argval if isinstance(here.argval, tuple) else (here.argval,)
        if first not in names:
            continue
        loaded = here.opname.split("_LOAD_FAST")[-1] in ("", "_CHECK", "_BORROW", here.opname)
        if not loaded or "LOAD_FAST" not in here.opname or names.index(first) != len(names) - 1:
            return None
        following = instructions[k + 1 :]
        if len(following) > 1 and following[0].opname == "COPY" and following[0].arg == 1:
            # self.x += y, which takes the attribute and stores it
            if following[1].opname != "LOAD_ATTR" or _is_call(following[1]):
                return None
            name = str(following[1].argval)
            found += [(name, "read"), (name, "stored")]
            continue
        if may_return and following and following[0].opname == "RETURN_VALUE":
            continue
        if not following or following[0].opname not in (
            "LOAD_ATTR",
            "LOAD_METHOD",
            "STORE_ATTR",
        ):
            return None
        stored = following[0].opname == "STORE_ATTR"
        use = "stored" if stored else "called" if _is_call(following[0]) else "read"
        found.append((str(following[0].argval), use))
    return found


def _is_call(instruction: dis.Instruction) -> bool:
    """Whether a method that is taken is called at once."""
    if instruction.opname == "LOAD_METHOD":
        return True
    # from 3.12 on the argument's lowest bit says so
    return sys.version_info >= (3, 12) and bool((instruction.arg or 0) & 1)


__all__ = ["only_uses_attributes"]
