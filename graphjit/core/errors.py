"""The error family, and the finder of the user's own line.

Every error that graphjit raises derives from `GraphJitError` and, where natural, from the
built-in that a NumPy or TensorFlow user would catch.
"""

from __future__ import annotations

import functools
import linecache
import os
import sys
from bisect import bisect_right
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np

from .frozen import dataclass

_HERE = Path(__file__).resolve().parent.parent
# The three folders of the package, as a checkout and as an install lay them out.
_OWN = tuple(
    str(folder) + os.sep
    for folder in (_HERE, _HERE.parent / "passes", _HERE.parent / "codegen")
)
_NO_NAMES = ("<locals>", "<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")
# Frames that stand between graphjit and the user.
_LIBRARY = (
    os.path.dirname(np.__file__) + os.sep,
    os.sep + "contextlib.py",
    "<frozen ",
    "<__array_function__",
)


class GraphJitError(Exception):
    """Base of every error that graphjit raises."""


class InvalidArgumentError(GraphJitError, ValueError):
    """Shapes, dtypes or values that an op can't take."""


class IndexOutOfRangeError(GraphJitError, IndexError):
    """An index outside the tensor it indexes. It is no ValueError, as in NumPy it is none."""


class TensorIndexError(IndexOutOfRangeError, InvalidArgumentError):
    """An index outside a tensor: as in TensorFlow, an invalid argument."""


class LinearAlgebraError(InvalidArgumentError, np.linalg.LinAlgError):
    """A matrix that a decomposition can't take."""


class DTypeError(GraphJitError, TypeError):
    """An argument of a type or dtype that is refused as Python refuses it."""


class ShapeError(GraphJitError, ValueError):
    """A value that has no place in the shape it is given to."""


class FrozenTensorError(GraphJitError, TypeError):
    """An attempt to write into an immutable tensor."""


class OutOfMemoryError(GraphJitError, MemoryError):
    """An array that the system has no memory for."""


# Told of each refusal that is made while a function is traced: the function's own code may
# catch it, and would go on where undecorated code never was.
on_refusal: ContextVar[Callable[[GraphJitError], None] | None] = ContextVar(
    "graphjit_on_refusal", default=None
)


class _Refusal(GraphJitError):
    """What graphjit can't do, and Python without it can."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        notify = on_refusal.get()
        if notify is not None:
            notify(self)


class UnsupportedError(_Refusal, NotImplementedError):
    """Something graphjit doesn't do; the message says what to write in its place."""


class TracingError(_Refusal, RuntimeError):
    """Python code that can't be traced, such as `if` on a traced value."""


class LeakedTracerError(TracingError):
    """A symbolic tensor used outside the trace that made it."""


class TapeError(GraphJitError, RuntimeError):
    """A `GradientTape` is asked for what it can't give: twice, or while it doesn't record."""


class NotDifferentiableError(TracingError):
    """A derivative of an op that has none here."""


class RecompileError(GraphJitError, RuntimeError):
    """A call that would have a function compiled again where that is forbidden."""


class DeviceError(GraphJitError, RuntimeError):
    """There is no GPU to run on, or it failed."""


class PathNotTaken(Exception):  # noqa: N818: no error, and never the user's
    """A call takes another path through the function than the one that was compiled."""


class NeedsPython(Exception):  # noqa: N818: no error, and never the user's
    """A call computes what compiled code can't: Python has to run it."""


class InternalError(GraphJitError, RuntimeError):
    """A broken invariant of graphjit's own: a bug."""


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A line of the user's source."""

    file: str
    line: int
    function: str = ""

    @property
    def text(self) -> str:
        """The line's code, or an empty string where the file can't be read."""
        return linecache.getline(self.file, self.line).strip()

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line}"

    def describe(self) -> str:
        """The line as errors show it: `at model.py:12 in step: y = x + bias`."""
        where = f"at {os.path.basename(self.file)}:{self.line}"
        if self.function:
            where += f" in {self.function}"
        return f"{where}: {self.text}" if self.text else where


class _Lines:
    """Line numbers of a long function, the last one asked about.

    Python reads a function's table of lines from its beginning each time: for ten thousand
    lines that are traced 180 µs each.
    """

    def __init__(self) -> None:
        self.known: tuple[CodeType, list[int], list[int]] | None = None

    def line(self, code: CodeType, frame: FrameType) -> int:
        """The line at which a frame of this code is."""
        if len(code.co_linetable) < LONG_TABLE:
            return frame.f_lineno
        known = self.known
        if known is None or known[0] is not code:
            table = [(start, line) for start, _, line in code.co_lines() if line is not None]
            known = code, [start for start, _ in table], [line for _, line in table]
            self.known = known
        return known[2][bisect_right(known[1], frame.f_lasti) - 1]


LONG_TABLE = 4096  # bytes: some hundred lines
_LINES = _Lines()


def user_line(own: int = 1) -> SourceLine | None:
    """The innermost line on the stack that belongs to neither graphjit nor NumPy. own: so many
    calls are known to be graphjit's.
    """
    try:
        frame: FrameType | None = sys._getframe(own)
    except ValueError:  # called by what has no Python frame
        return None
    while frame is not None:
        code = frame.f_code
        if _is_users(code.co_filename):
            line = _LINES.line(code, frame)
            return SourceLine(code.co_filename, line, _function_name(code))
        frame = frame.f_back
    return None


def of_user(frame: FrameType) -> bool:
    """Whether a frame runs code that isn't graphjit's."""
    name = frame.f_globals.get("__name__", "")
    return not (name == "graphjit" or name.startswith("graphjit."))


def asked_by_user(frame: FrameType) -> bool:
    """Whether a frame runs code that isn't graphjit's, or hooks or `abc` that it called."""
    name = frame.f_globals.get("__name__", "")
    while (name == "abc" or name.startswith("graphjit.capture")) and frame.f_back is not None:
        frame = frame.f_back
        name = frame.f_globals.get("__name__", "")
    return not (name == "graphjit" or name.startswith("graphjit."))


def raising_line(error: BaseException) -> SourceLine | None:
    """The innermost of the user's lines that an exception came through."""
    found = None
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if _is_users(code.co_filename):
            found = SourceLine(code.co_filename, trace.tb_lineno, _function_name(code))
        trace = trace.tb_next
    return found


@functools.lru_cache(4096)
def _is_users(file: str) -> bool:
    """Whether a file belongs to neither graphjit nor NumPy."""
    return not file.startswith(_OWN) and not any(part in file for part in _LIBRARY)


def _function_name(code: CodeType) -> str:
    """The function that code belongs to: of a comprehension, the one around it."""
    return _without_comprehensions(code.co_qualname) or code.co_name


@functools.lru_cache(1000)
def _without_comprehensions(qualified_name: str) -> str:
    parts = qualified_name.split(".")
    return next((p for p in reversed(parts) if p not in _NO_NAMES), "")


def at_user_line(message: str, advice: str = "", source: SourceLine | None = None) -> str:
    """The message followed by the user's line and, where there is one, the way out."""
    line = source or user_line()
    lines = [message]
    if line is not None:
        lines.append("  " + line.describe())
    if advice:
        lines.append("  " + advice)
    return "\n".join(lines)


# Their public home, which messages and pickles name.
for _error in list(vars().values()):
    if isinstance(_error, type) and issubclass(_error, GraphJitError):
        _error.__module__ = "graphjit.errors"
