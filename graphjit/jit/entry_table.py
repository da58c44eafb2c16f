"""Which specializations of a function machine code enters."""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphjit.core.config import config
from graphjit.core.lazy import lazy_module

from .eager import convert_results

if TYPE_CHECKING:
    from . import native_entry
    from .call_key import CallKey
    from .definition import FunctionDefinition
    from .specialization import Specialization
else:
    native_entry = lazy_module("graphjit.jit.native_entry")

_calls = itertools.count()  # of compiled functions, through Python


def is_native_due() -> bool:
    """Count a call through Python; whether it is worth it now to make the machine code that
    enters functions.
    """
    return config.native_after is not None and next(_calls) >= config.native_after


# A call for which a function is traced again takes as long as many others, which machine code
# may spare: that serves all objects of a class.
RETRACE_CALLS = 8


def count_retrace(seconds: float) -> None:
    """Count a call for which a function was traced again. seconds: what the last trace took."""
    for _ in range(RETRACE_CALLS + min(int(1000 * seconds), 100)):
        next(_calls)


class EntryTable:
    """The native entries of one function.

    The table itself is the function's attribute `_table`, where machine code reads it. The
    function holds this object, so that this one refers to it weakly.
    """

    def __init__(self, function: Any, definition: FunctionDefinition) -> None:
        self._function = weakref.ref(function)
        self._definition = definition
        # Where machine code enters functions; 0 before there is any.
        self.address = 0
        # The specializations that have no entry yet, for there was no machine code.
        self.late: set[Specialization] = set()

    def is_late(self, specialization: Specialization) -> bool:
        """Whether a specialization can have an entry now, and has none."""
        return bool(self.address) and specialization in self.late

    def add(self, specialization: Specialization, call: CallKey) -> None:
        """Let machine code enter a specialization at the next call like this one, where it can.
        While there is no machine code, the specialization is noted as late.
        """
        function = self._function()
        eager = bool(specialization.reason) and specialization.trace_error is None
        if function is None or not function._native or config.native_after is None:
            return
        if specialization.may_settle or (specialization.executable is None and not eager):
            return
        if not self.address:
            self.late.add(specialization)
            return
        self.late.discard(specialization)
        if eager:
            entry = self._make_eager_entry(specialization, call)
        else:
            entry = native_entry.specialization_entry(
                specialization, call.leaves, self._definition.python_function
            )
        specialization.entry = entry
        if entry is not None:
            known = () if function._table is None else function._table.entries
            known = known[: native_entry.MAX_ENTRIES - 1]
            # what runs eagerly is for calls that no path serves
            entries = (*known, entry) if specialization.follows_paths else (entry, *known)
            function._table = native_entry.make_table(entries)
            function._entered_at = self.address

    def _make_eager_entry(self, specialization: Specialization, call: CallKey) -> Any:
        numpy = self._definition.wants_numpy(call.leaves)
        return native_entry.eager_entry(
            self._definition.python_function,
            functools.partial(convert_results, numpy),
            call.tree,
            call.kinds,
            call.leaves,
            numpy,
            specialization.any_value,
        )

    def remove(self, specializations: Sequence[Specialization]) -> None:
        """Let machine code enter these specializations no more."""
        self.late.difference_update(specializations)
        removed = [s.entry for s in specializations if s.entry is not None]
        function = self._function()
        if not removed or function is None or function._table is None:
            return
        entries = function._table.entries
        left = [e for e in entries if all(e is not other for other in removed)]
        function._table = native_entry.make_table(left)


__all__ = ["EntryTable", "count_retrace", "is_native_due"]
