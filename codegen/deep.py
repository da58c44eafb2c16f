"""Segments that need more of the stack than a thread may have, and threads that have it.

Kernels keep what they work on in their frames: blocks of operands, rows that are walked again.
That is up to half a megabyte, and nothing against the usual eight; but `threading.stack_size`
can be as little as 32 KB. So a segment with large frames asks before it begins.
"""

from __future__ import annotations

import contextvars
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any

from graphjit.errors import OutOfMemoryError, at_user_line

from .entry import SHALLOW, SMALL_STACK_BYTES, STACK_BYTES

_ALLOCA = re.compile(r"= alloca (?:\[(\d+) x )?(?:<(\d+) x )?([a-z]+)(\d*)")
_BYTES = {"ptr": 8, "double": 8, "float": 4, "half": 2, "bfloat": 2}
_lock = threading.Lock()


def needs_room(functions: Sequence[str]) -> bool:
    """Whether the frames of these functions, as LLVM IR, are together large."""
    total = 0
    for text in functions:
        for count, lanes, kind, bits in _ALLOCA.findall(text):
            size = -(-int(bits) // 8) if kind == "i" else _BYTES[kind]
            total += int(count or 1) * int(lanes or 1) * size
    return total >= SMALL_STACK_BYTES


def in_deep_thread(native: Callable[..., int], arguments: Sequence[Any]) -> int:
    """What a call gives in a thread of its own, whose stack is large enough."""
    found: list[int] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            found.append(native(*arguments))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,))
    try:
        with _lock:  # the size is the process's
            before = threading.stack_size(8 * STACK_BYTES)
            try:
                thread.start()
            finally:
                threading.stack_size(before)
    except RuntimeError as error:
        raise OutOfMemoryError(
            at_user_line("no memory for the stack of a thread for this kernel")
        ) from error
    thread.join()
    if errors:
        raise errors[0]
    return found[0]


__all__ = ["SHALLOW", "in_deep_thread", "needs_room"]
