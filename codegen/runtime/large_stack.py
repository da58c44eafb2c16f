"""Threads with a large stack, for work that needs more than a thread may have.

LLVM's passes are recursive. Kernels keep blocks of operands and spilled rows in their frames,
up to half a megabyte. That is little of the usual eight, but `threading.stack_size` can be as
low as 32 KB. So a segment with large frames checks its stack before it begins.
"""

from __future__ import annotations

import contextvars
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from graphjit.core.errors import OutOfMemoryError, at_user_line
from graphjit.core.fork_safety import new_lock

from .runtime_symbols import SHALLOW, SMALL_STACK_BYTES, STACK_BYTES

_ALLOCA = re.compile(r"= alloca (?:\[(\d+) x )?(?:<(\d+) x )?([a-z]+)(\d*)")
_BYTES = {"ptr": 8, "double": 8, "float": 4, "half": 2, "bfloat": 2}
_lock = new_lock()
# LLVM IR of this length takes it some 0.7 s.
_LONG_TEXT = 150_000
T = TypeVar("T")


def needs_large_stack(functions: Sequence[str]) -> bool:
    """Whether the frames of these functions, given as LLVM IR, are together large."""
    total = 0
    for text in functions:
        for count, lanes, kind, bits in _ALLOCA.findall(text):
            size = -(-int(bits) // 8) if kind == "i" else _BYTES[kind]
            total += int(count or 1) * int(lanes or 1) * size
    return total >= SMALL_STACK_BYTES


def run_on_large_stack(work: Callable[..., T], arguments: Sequence[Any] = ()) -> T:
    """The result of a call in a thread of its own, whose stack is large enough.

    An exception of a signal handler in the main thread isn't delayed; the work then continues
    alone.
    """
    found: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work(*arguments))
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
            at_user_line("no memory for a thread with a stack of 8 megabytes")
        ) from error
    thread.join()
    if errors:
        raise errors[0]
    return found[0]


def run_compiler(text: str, work: Callable[[], T]) -> T:
    """The result of compiling a text, in a thread of its own where necessary.

    It is where this thread may have a small stack, or would not handle signals for long.
    """
    if threading.current_thread() is threading.main_thread() and len(text) < _LONG_TEXT:
        return work()
    return run_on_large_stack(work)


__all__ = ["SHALLOW", "needs_large_stack", "run_compiler", "run_on_large_stack"]
