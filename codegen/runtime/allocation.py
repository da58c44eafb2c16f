"""The errors for a lack of memory for a program's arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphjit.core.errors import OutOfMemoryError, at_user_line
from graphjit.core.extents import evaluate, guess
from graphjit.ir.program import LibraryCall, Load, Program, RegionCall

from .compiled import CompiledProgram, Origin


def origins(program: Program) -> tuple[Origin, ...]:
    """For each buffer of a program the op that makes it, and its source line."""
    found = [Origin()] * len(program.buffers)
    for step in program.steps:
        if isinstance(step, (LibraryCall, RegionCall)):
            for number in step.outputs:
                found[number] = Origin(step.primitive.tensorflow, step.source)
            continue
        for store in step.stores:
            value: Any = step.values[store.arg]
            if isinstance(value, Load) and value.buffer != store.buffer:  # a copy of a result
                found[store.buffer] = found[value.buffer]
            elif hasattr(value, "primitive"):
                source = getattr(value, "source", None)
                found[store.buffer] = Origin(value.primitive.tensorflow, source)
    return tuple(found)


def no_memory_for(
    program: CompiledProgram, number: int, shape: Sequence[int]
) -> OutOfMemoryError:
    """The error for a buffer of this shape. It names type, op and source line."""
    origin, dtype = program.origins[number], program.buffers[number].type.dtype
    message = f"no memory for an array of shape {list(shape)} of {dtype.name}{_op(origin)}"
    return OutOfMemoryError(at_user_line(message, source=origin.source))


def no_arena(program: CompiledProgram, size: int, sizes: Mapping[str, int]) -> OutOfMemoryError:
    """The error for a program's temporaries. It names the largest. sizes: those of symbols."""
    own = [n for n, b in enumerate(program.buffers) if b.role == "temporary"]
    if not own:
        return OutOfMemoryError(at_user_line(f"no memory for {size} bytes"))
    largest = max(own, key=lambda n: guess(program.buffers[n].type.nbytes))
    origin, type = program.origins[largest], program.buffers[largest].type
    shape = [evaluate(n, sizes) for n in type.shape] if sizes else list(type.shape)
    message = (
        f"no memory for temporary arrays of {size} bytes, the largest of shape {shape}"
        f"{_op(origin)}"
    )
    return OutOfMemoryError(at_user_line(message, source=origin.source))


def _op(origin: Origin) -> str:
    return f" [Op:{origin.op}]" if origin.op else ""


__all__ = ["no_arena", "no_memory_for", "origins"]
