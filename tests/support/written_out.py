"""Functions of many lines without a loop, which would be one in the compiled code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def written_out(turn: Callable[[int], str], count: int) -> Any:
    """A function of `x` that gives it the value of each turn's expression."""
    lines = [f"    x = {turn(k)}\n" for k in range(count)]
    return _made("".join(lines) + "    return x\n")


def listed(item: Callable[[int], str], count: int) -> Any:
    """A function of `x` that gives a list of expressions."""
    return _made("    return [" + ", ".join(map(item, range(count))) + "]\n")


def _made(body: str) -> Any:
    names = {"np": np}
    exec("def f(x):\n" + body, names)
    return names["f"]
