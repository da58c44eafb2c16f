"""What a check in compiled code raises: its message, and the class of the error."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from graphjit.core.errors import NeedsPython

DIVISION_BY_ZERO = "Integer division by zero"
NEGATIVE_POWER = "Integers to negative integer powers are not allowed"


def _pythons_message(operation: Callable[[], Any]) -> str:
    """What the running Python says where an operation on its numbers fails."""
    try:
        operation()
    except ArithmeticError as error:
        return str(error.args[-1])
    raise AssertionError("an operation that must fail")


OVERFLOW = _pythons_message(lambda: 10.0**400)
# No error: Python computes these, or raises; its integers have no end.
FOR_PYTHON = "what is left to Python"
NO_WEIGHT = "Weights sum to zero, can't be normalized"
# What a failing `unless` raises, by its message: that of this Python for its own numbers.
PYTHON_ERRORS: dict[str, Callable[[str], Exception]] = {
    OVERFLOW: lambda text: OverflowError(errno.ERANGE, text),
    _pythons_message(lambda: 1 / 0): ZeroDivisionError,
    _pythons_message(lambda: 1.0 / 0): ZeroDivisionError,
    _pythons_message(lambda: 1 // 0): ZeroDivisionError,
    _pythons_message(lambda: 1 % 0): ZeroDivisionError,
    NO_WEIGHT: ZeroDivisionError,
    FOR_PYTHON: NeedsPython,
}
