"""The table of math functions, to which the other files of this folder add theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphjit.codegen.values import Value

MATH: dict[str, Callable[..., Value]] = {}


def rule(function: Callable[..., Value]) -> Callable[..., Value]:
    """Enter a function into MATH under its name."""
    MATH[function.__name__] = function
    return function
