"""Who is told of each op that runs eagerly, and of each variable that is read: tapes."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from graphjit.ops.primitive import Primitive


class Recorder(Protocol):
    """What is told."""

    # The trace that it belongs to, None for one of eager mode.
    trace: Any

    def note(
        self,
        primitive: Primitive,
        attrs: dict[str, Any],
        regions: tuple[Any, ...],
        inputs: Sequence[Any],
        outputs: tuple[Any, ...],
    ) -> None:
        """Note an op that ran."""

    def note_read(self, variable: Any, value: Any) -> None:
        """Note what a variable gave."""

    def note_same(self, value: Any, other: Any) -> None:
        """Note that a tensor is another one's value."""

    def call(self, function: Any, args: Any, kwargs: Any) -> Any:
        """Call a compiled function, and note it."""


# The recorders of this context, the innermost last.
recorders: ContextVar[tuple[Recorder, ...]] = ContextVar("graphjit_recorders", default=())


def recorders_of(trace: Any) -> list[Recorder]:
    """Those that belong to a trace, or to eager mode."""
    return [recorder for recorder in recorders.get() if recorder.trace is trace]


__all__ = ["Recorder", "recorders", "recorders_of"]
