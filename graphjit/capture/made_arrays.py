"""Arrays that code makes of known values, such as `np.zeros(3)`.

They are real ones, of which Python may ask everything. Where a traced value is written into
one, or is an index of it, or a loop that is to be one node writes into one, the trace fails,
and the function is traced again: what the same line makes is then a traced array from the
start, so that no other reference to it or its memory is missed.
"""

from __future__ import annotations

import weakref
from typing import Any, Final

import numpy as np

from graphjit.core.errors import SourceLine, user_line
from graphjit.numpy_protocol.conversion import as_traced

_EMPTY: Final[tuple[Any, ...]] = (np.empty, np.empty_like)


class MadeArrays:
    """The arrays that one run makes.

    lines: those whose arrays are traced ones. found: further ones whose arrays were written.
    """

    def __init__(self, lines: frozenset[SourceLine] = frozenset()) -> None:
        self.lines = lines
        self.found: set[SourceLine] = set()
        self._made: dict[int, tuple[weakref.ref[Any], SourceLine]] = {}

    def add(self, value: Any, function: Any = None) -> Any:
        """What the code goes on with for the result of a library's function or an operator."""
        if type(value) is not np.ndarray or value.base is not None:
            return value
        line = user_line()
        if line is None or value.dtype.kind not in "biufc":
            return value
        if line not in self.lines:
            self._made[id(value)] = weakref.ref(value), line
            return value
        if not (value.dtype.isnative and value.flags.c_contiguous):
            return value
        if any(
            function is f for f in _EMPTY
        ):  # the elements mustn't be those of the memory at hand
            value.fill(0)
        return as_traced(value)

    def __contains__(self, value: Any) -> bool:
        """Whether an array was made meanwhile."""
        known = self._made.get(id(value))
        return known is not None and known[0]() is value

    def note_written(self, value: Any) -> bool:
        """Note that an array is to be traced from the start, if it was made meanwhile; whether
        it was.
        """
        before = len(self.found)
        while type(value) is np.ndarray:
            if value in self:
                self.found.add(self._made[id(value)][1])
            value = value.base
        return len(self.found) > before


__all__ = ["MadeArrays"]
