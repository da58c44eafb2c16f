"""Calls that run eagerly for they can't be traced: the warning, and when to trace no more."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from graphjit.core.errors import SourceLine, TracingError, raising_line, user_line

from .specialization import Specialization
from .trace_attempt import ImpureError, MaySettleError

if TYPE_CHECKING:
    from .call_key import CallKey
    from .definition import FunctionDefinition
    from .specialization_table import SpecializationTable

# How many calls with arguments of the same types fall back before none of them is traced any
# more: a trace takes a thousand times as long as a short call.
MAX_FALLBACKS = 3
# In place of a count: a call of these types was traced.
_TRACED = -1


class FallbackWarning(UserWarning):
    """A decorated function runs eagerly, and why."""


class Fallbacks:
    """The calls of one function that fell back to eager mode."""

    def __init__(self, definition: FunctionDefinition, table: SpecializationTable) -> None:
        self._definition = definition
        self._table = table
        self._warned = False

    def find(self, call: CallKey) -> Specialization | None:
        """The specialization of calls of which none could be traced, however often that was
        tried.
        """
        if not self._table.fallbacks or self._definition.options.input_signature is not None:
            return None
        found = self._table.fallbacks.get(call.type_key)
        return found if isinstance(found, Specialization) else None

    def count(self, specialization: Specialization, call: CallKey) -> Specialization | None:
        """Note how a trace ended. After some that failed, calls of the same types are traced no
        more, such as those with arrays of other sizes or new objects.

        Gives the specialization that serves all of these calls, where it was just made.
        """
        if specialization.trace_error is not None or specialization.may_settle:
            return None
        count = self._table.fallbacks.get(call.type_key, 0)
        if isinstance(count, Specialization) or count == _TRACED:
            return None
        count = count + 1 if specialization.reason else _TRACED
        if specialization.impure:
            count = MAX_FALLBACKS
        self._table.set_fallback(call, count)
        if count != MAX_FALLBACKS:
            return None
        shared = Specialization(specialization.kinds, reason=specialization.reason)
        shared.any_value = True
        self._table.set_fallback(call, shared)
        return shared

    def fall_back(self, call: CallKey, error: TracingError) -> Specialization:
        """The eager specialization of a call that can't be traced; with fallback="error" the
        error is raised.
        """
        may_settle, impure = isinstance(error, MaySettleError), isinstance(error, ImpureError)
        if self._definition.options.fallback == "error":
            try:
                raise TracingError(*error.args) if may_settle or impure else error
            finally:
                del error  # whose traceback has this frame
        if not may_settle:
            self.warn(str(error))
        return Specialization(
            call.kinds, reason=str(error), may_settle=may_settle, impure=impure
        )

    def fall_back_after_error(self, call: CallKey, error: BaseException) -> Specialization:
        """The specialization of a call whose trace raised an error of the Python code's.

        Whether the call is at fault is seen when it has run eagerly.
        """
        try:
            text = f": {error}"
        except TracingError:  # it holds a traced value
            text = ""
        reason = f"tracing raised {type(error).__name__}{text}{describe_origin(error)}"
        return Specialization(call.kinds, reason=reason, trace_error=error)

    def warn(self, reason: str) -> None:
        """Warn that the function runs eagerly, once."""
        if self._warned:
            return
        self._warned = True
        name = self._definition.qualified_name
        text = f"{name} runs eagerly, without being compiled: {reason}"
        line = user_line() or SourceLine("<unknown>", 0)
        warnings.warn_explicit(text, FallbackWarning, line.file, line.line)


def describe_origin(error: BaseException) -> str:
    """The user's line that raised an error, on a line of its own; empty if it isn't known."""
    line = raising_line(error)
    return "" if line is None else "\n  " + line.describe()


__all__ = ["MAX_FALLBACKS", "FallbackWarning", "Fallbacks", "describe_origin"]
