"""The record that describes one benchmark kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Kernel:
    """A plain NumPy function, a maker of its arguments, and the sizes to run it at."""

    name: str
    function: Callable[..., Any]
    data: Callable[[np.random.Generator, int], tuple]
    sizes: tuple[int, int]  # (benchmark: 2 to 200 ms in NumPy, small: at most 5 ms)
    mutates: bool  # whether the function writes into its arguments
