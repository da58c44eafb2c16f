"""Hooks for values that are tested, and for the places where the ways of branches meet."""

from __future__ import annotations

import sys
from typing import Any, Final

from graphjit.tensors.apply import current_trace

from .hooks import AGAIN
from .operators import OperatorHooks, checked_length
from .sources import MISSING, Check, static_attribute
from .values import PLAIN

# Known numbers, of which only the truth counts where they decide about a jump.
_NUMBERS: Final = (bool, int, float)


class BranchHooks(OperatorHooks):
    """What a recorder does where code tests values."""

    def test(self, value: Any) -> Any:
        value = self.truth(value)
        trace = current_trace.get()
        if type(value) not in _NUMBERS or self.closed or trace is None:
            return value
        code = sys._getframe(1).f_code
        return trace.branches.loops.known_test(trace, bool(value), code)

    def kept_truth(self, value: Any) -> Any:
        found = self.truth(value)
        if found is not value:
            raise self.refusal("goes on with an object that was tested")
        return found

    def truth(self, value: Any) -> Any:
        kind = type(value)
        if self.closed or kind in PLAIN or self._traced(value):
            return value
        for name in ("__bool__", "__len__"):
            function = self.method_of(value, name)
            if function is not None:
                found = self.call(function, value)
                if self._traced(found):
                    if name == "__bool__" and getattr(found, "origin", "") != "weak":
                        raise self.refusal("asks an object whose __bool__ gives no bool")
                    return found
                if name == "__bool__" and type(found) is not bool:
                    kind_name = type(found).__name__
                    raise TypeError(f"__bool__ should return bool, returned {kind_name}")
                return bool(checked_length(found))
            if static_attribute(kind, name) is not MISSING:
                break
        source = self.source_of(value)
        if source is not None and hasattr(kind, "__len__") and not isinstance(value, type):
            if bool(self.merged(value)) is not bool(value):
                raise self.refusal("tests a container that was written to")
            self.guard(Check.LENGTH, source, len(value))
        return value

    def test_joined(self, given: tuple[Any, tuple[Any, ...]], number: int, first: bool) -> Any:
        found, kept = self.truth(given[0]), given[1]
        trace = current_trace.get()
        if self.closed or trace is None:
            return found
        if type(found) in _NUMBERS:
            code = sys._getframe(1).f_code
            return trace.branches.loops.known_test(trace, bool(found), code)
        return trace.branches.loops.joined_test(found, number, first, kept)

    def kept_below(self, number: int) -> tuple[Any, ...]:
        found: tuple[Any, ...] = current_trace.get().branches.loops.kept_below()
        return found

    def at_join(self, number: int) -> bool:
        trace = current_trace.get()
        if trace is None:
            return False
        return trace.branches.loops.at_join(sys._getframe(1), number) is AGAIN

    def at_join_with(self, value: Any, number: int) -> Any:
        trace = current_trace.get()
        if trace is None:
            return value
        return trace.branches.loops.at_join(sys._getframe(1), number, value)


__all__ = ["BranchHooks"]
