"""Whether the user's code would handle an exception that compiled code raises later.

What compiled code finds when it runs, such as an index out of range, is raised to the caller of
the function. In Python, a handler around the line in the function would catch it. The tables of
handlers are CPython's: see "exception handling" in its InternalDocs.
"""

from __future__ import annotations

import dis
import functools
import opcode
import sys
from collections.abc import Iterator
from types import CodeType, FrameType, ModuleType
from typing import Any

import numpy as np

from graphjit.capture.instrument import without_hooks
from graphjit.core.errors import of_user

_WORD = 2  # bytes of an instruction
_ENTERS = ("BEFORE_WITH", "LOAD_SPECIAL")
_NAMED = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_ATTR", "LOAD_METHOD", "LOAD_FAST", "LOAD_DEREF")
_PUSH, _WITH = (opcode.opmap.get(n, -1) for n in ("PUSH_EXC_INFO", "WITH_EXCEPT_START"))


def handled_by_user(outermost: int) -> bool:
    """Whether the user's code has a `try` around what runs now.

    outermost: the id of the frame that traces, down to which frames are looked at.
    """
    frame = sys._getframe(1)
    while id(frame) != outermost:
        if of_user(frame):
            code, offset = without_hooks(frame.f_code, frame.f_lasti)
            for first, last, manager in _protected_ranges(code):
                if first <= offset < last and not _is_errstate(manager, frame):
                    return True
        above = frame.f_back
        if above is None:
            return False
        frame = above
    return False


def _is_errstate(manager: tuple[str, ...], frame: FrameType) -> bool:
    """Whether a `with` of that name in a frame is np.errstate, which swallows nothing."""
    if not manager:
        return False
    found: Any = frame.f_globals.get(manager[0])
    for name in manager[1:]:
        found = found.__dict__.get(name) if isinstance(found, ModuleType) else None
    return found is np.errstate


@functools.lru_cache(4096)
def _protected_ranges(code: CodeType) -> tuple[tuple[int, int, tuple[str, ...]], ...]:
    """The ranges of instructions [bytes] that a `try` or `with` protects. A range of a `with`
    comes with the names by which the context manager is found. What the interpreter itself
    catches, to raise it again, doesn't count.
    """
    found = []
    entries = list(_table_entries(code.co_exceptiontable))
    for first, last, handler in entries:
        # that of a comprehension puts variables back, and raises again in what is around it
        for _ in entries:
            if code.co_code[handler] == _PUSH:
                break
            around = (h for f, stop, h in entries if f <= handler < stop and h != handler)
            handler = next(around, handler)
        words = code.co_code[handler : handler + 2 * _WORD]
        if len(words) == 2 * _WORD and words[0] == _PUSH:
            manager = _context_manager_names(code, first) if words[_WORD] == _WITH else ()
            found.append((first, last, manager))
    return tuple(found)


def _context_manager_names(code: CodeType, first: int) -> tuple[str, ...]:
    """The names in the expression of the `with` whose body begins at a byte."""
    before = [i for i in dis.get_instructions(code) if i.offset < first]
    place = next((i.positions for i in reversed(before) if i.opname in _ENTERS), None)
    if place is None or place.lineno is None:
        return ()
    inside = [
        i
        for i in before
        if i.positions is not None
        and None not in i.positions  # what the compiler makes up has none
        and (place.lineno, place.col_offset) <= (i.positions.lineno, i.positions.col_offset)
        and (i.positions.end_lineno, i.positions.end_col_offset)
        <= (place.end_lineno, place.end_col_offset)
    ]
    names = [i.argval for i in inside if i.opname in _NAMED]
    return tuple(names)


def _table_entries(table: bytes) -> Iterator[tuple[int, int, int]]:
    """For each entry where the instructions begin and end, and where the handler is [bytes]."""
    bytes_left = iter(table)
    try:
        while True:
            start = _read_varint(bytes_left) * _WORD
            length = _read_varint(bytes_left) * _WORD
            target = _read_varint(bytes_left) * _WORD
            _read_varint(bytes_left)  # the depth of the stack, and whether the place is pushed
            yield start, start + length, target
    except StopIteration:
        return


def _read_varint(left: Iterator[int]) -> int:
    """A number of six bits a byte, the last one without the bit of 64."""
    byte = next(left)
    value = byte & 63
    while byte & 64:
        byte = next(left)
        value = value << 6 | byte & 63
    return value


__all__ = ["handled_by_user"]
