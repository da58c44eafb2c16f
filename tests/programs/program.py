"""What a test program is: a function, and the data that it is called with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Program:
    """A function, a maker of its arguments, and what to expect of it.

    `data(rng, size)` returns the tuple of arguments. `sizes` holds the usual size and another
    one. `mutates` says that the function writes into its arguments, and `raises` that it
    raises for some of the data.
    """

    function: Callable[..., Any]
    data: Callable[[np.random.Generator, int], tuple]
    mutates: bool = False
    sizes: tuple[int, int] = (16, 9)
    raises: bool = False

    @property
    def name(self) -> str:
        return self.function.__name__
