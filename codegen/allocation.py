"""What is said where the system has no memory for a program's arrays."""

from __future__ import annotations

from typing import Any

from graphjit.errors import OutOfMemoryError, SourceLine, at_user_line
from graphjit.program import LibraryCall, Load, Program, reads_and_writes


def no_memory_for(program: Program, number: int) -> OutOfMemoryError:
    """The error for a buffer: its type, the op that makes it, and the user's line."""
    op, source = _maker(program, number)
    type = program.buffers[number].type
    message = f"no memory for an array of shape {list(type.shape)} of {type.dtype.name}{op}"
    return OutOfMemoryError(at_user_line(message, source=source))


def no_arena(program: Program) -> OutOfMemoryError:
    """The error for a program's temporaries, told by the largest."""
    own = [n for n, b in enumerate(program.buffers) if b.role == "temporary"]
    if not own:
        return OutOfMemoryError(at_user_line(f"no memory for {program.arena_bytes} bytes"))
    largest = max(own, key=lambda n: program.buffers[n].type.nbytes)
    op, source = _maker(program, largest)
    shape = list(program.buffers[largest].type.shape)
    message = (
        f"no memory for temporary arrays of {program.arena_bytes} bytes, the largest of shape "
        f"{shape}{op}"
    )
    return OutOfMemoryError(at_user_line(message, source=source))


def _maker(program: Program, number: int) -> tuple[str, SourceLine | None]:
    """The op that makes a buffer, as errors show it, and the user's line."""
    for step in program.steps:
        if number not in reads_and_writes(step)[1]:
            continue
        if isinstance(step, LibraryCall):
            return f" [Op:{step.primitive.tensorflow}]", step.source
        store = next(s for s in step.stores if s.buffer == number)
        value: Any = step.values[store.arg]
        if isinstance(value, Load) and value.buffer != number:  # a copy of another's result
            return _maker(program, value.buffer)
        if hasattr(value, "primitive"):
            return f" [Op:{value.primitive.tensorflow}]", getattr(value, "source", None)
    return "", None


__all__ = ["no_arena", "no_memory_for"]
