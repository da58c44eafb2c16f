"""Which instructions of a function's code decide whether a `while` loop goes on."""

from __future__ import annotations

import dis
import inspect
import sys
from types import CodeType, FrameType
from typing import Any

from graphjit.core.frozen import dataclass

_PIECEMEAL = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_NEW_LOCALS = sys.version_info >= (3, 13)  # f_locals writes through


@dataclass(frozen=True, slots=True)
class LoopTest:
    """A conditional jump that may leave a loop.

    head: where the loop begins. exit: where the jump leaves it for. stays: the outcome with
    which it goes on.
    """

    head: int
    exit: int
    stays: bool


def loop_tests(code: CodeType) -> dict[int, LoopTest]:
    """The tests of a function's `while` loops, by the offset at which a value is asked for its
    truth. Loops over iterators have none: what they are at isn't a variable.
    """
    if code.co_flags & _PIECEMEAL:  # other code runs between turns
        return {}
    instructions = list(dis.get_instructions(code))
    ends: dict[int, int] = {}
    for each in instructions:
        if (
            "JUMP" in each.opname
            and isinstance(each.argval, int)
            and each.argval <= each.offset
        ):
            ends[each.argval] = max(each.offset, ends.get(each.argval, 0))
    loops = sorted(ends.items(), key=lambda loop: loop[1] - loop[0])
    found: dict[int, LoopTest] = {}
    for k, each in enumerate(instructions):
        if "IF_TRUE" not in each.opname and "IF_FALSE" not in each.opname:
            continue
        if "POP" not in each.opname or "OR_POP" in each.opname:
            continue
        loop = next(((t, j) for t, j in loops if t <= each.offset <= j), None)
        if loop is None or k + 1 == len(instructions):
            continue
        head, end = loop
        if _is_over_an_iterator(instructions, head, end):
            continue
        taken, other = (
            _destination(instructions, offset)
            for offset in (each.argval, instructions[k + 1].offset)
        )
        targets = {"IF_TRUE" in each.opname: taken, "IF_TRUE" not in each.opname: other}
        inside = {
            truth: head <= target <= end and not _returns(instructions, target)
            for truth, target in targets.items()
        }
        if inside[True] == inside[False]:
            continue
        test = LoopTest(head, targets[not inside[True]], inside[True])
        found[each.offset] = test
        # which ask for the truth themselves, from 3.13 on
        if k and instructions[k - 1].opname in ("TO_BOOL", "COMPARE_OP"):
            found[instructions[k - 1].offset] = test
    return found


def _destination(instructions: list[dis.Instruction], offset: int) -> int:
    """Where a jump ends up, jumps that follow it included."""
    for each in instructions:
        if each.offset < offset or each.opname in ("NOP", "CACHE", "EXTENDED_ARG"):
            continue
        if each.opname in ("JUMP_FORWARD", "JUMP_ABSOLUTE") and each.argval > each.offset:
            return _destination(instructions, each.argval)
        return each.offset
    return offset


def _returns(instructions: list[dis.Instruction], offset: int) -> bool:
    """Whether code returns or raises without a jump; the end of a function is copied to where a
    loop is left for it.
    """
    for each in instructions:
        if each.offset >= offset:
            if each.opname.startswith("RETURN_") and "GENERATOR" not in each.opname:
                return True
            if each.opname in ("RAISE_VARARGS", "RERAISE"):
                return True
            if "JUMP" in each.opname or each.opname in ("FOR_ITER", "SEND"):
                return False
    return True


def _is_over_an_iterator(instructions: list[dis.Instruction], head: int, end: int) -> bool:
    return any(
        each.opname in ("FOR_ITER", "SEND")
        and head <= each.offset <= end
        and not head <= each.argval <= end
        for each in instructions
    )


def set_locals(frame: FrameType, values: dict[str, Any]) -> None:
    """Give variables of a frame that runs other values."""
    now = frame.f_locals
    now.update(values)
    if not _NEW_LOCALS:
        import ctypes

        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))


__all__ = ["LoopTest", "loop_tests", "set_locals"]
