"""The library calls of a program, prepared: NumPy's and SciPy's routines between segments.

Everything known beforehand is looked up beforehand, so that a call costs little more than the
routine.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.errors import OutOfMemoryError, at_user_line
from graphjit.core.extents import evaluate
from graphjit.core.types import check_size
from graphjit.ir.program import LibraryCall, RegionCall
from graphjit.ops.primitive import Control, CountedLoop, Library

from .compiled import CompiledProgram, Segment

Array = np.ndarray[Any, np.dtype[Any]]
Sizes = Mapping[str, int]
# Runs a step, given the arrays of all buffers, the arena and the sizes of symbols. It puts its
# results among the arrays.
Routine = Callable[[list[Any], Any, Sizes], None]
# Where an array lies in the arena: its shape, dtype and offset [bytes].
_ArenaArray = tuple[tuple[int, ...], np.dtype[Any], int]


# A context in which np.errstate ignores everything: NumPy keeps it in a context variable.
_QUIET_CONTEXT = contextvars.Context()
_QUIET_CONTEXT.run(lambda: np.seterr(all="ignore"))


def quietly(routine: Callable[..., Any]) -> Callable[..., Any]:
    """The routine without floating-point warnings.

    Copying a context takes half the time of `with np.errstate`, and a copy may run while
    another does.
    """
    copied = _QUIET_CONTEXT.copy

    def quiet(*arrays: Array, **attrs: Any) -> Any:
        return copied().run(routine, *arrays, **attrs)

    return quiet


def buffers_read(program: CompiledProgram) -> frozenset[int]:
    """The buffers that a segment, a library call or the caller reads."""
    read = {*program.outputs, *program.updates}
    for item in program.sequence:
        read.update(item.buffers if isinstance(item, Segment) else item.inputs)
    return frozenset(read)


def resolved(call: LibraryCall) -> tuple[Callable[..., Any], dict[str, Any]]:
    """What a library call calls, and the keyword arguments besides the arrays."""
    kind, numpy = call.primitive.kind, call.primitive.numpy
    assert isinstance(kind, Library)
    return numpy if kind.quiet else quietly(numpy), dict(call.attrs)


def routine(program: CompiledProgram, call: LibraryCall, read_later: frozenset[int]) -> Routine:
    """The function that runs a library call. read_later: the buffers that anything reads.

    Results that nothing reads aren't converted.
    """
    numpy, attrs = resolved(call)
    op, single = call.primitive.tensorflow, not call.several
    inputs = tuple((number, arena_array(program, number)) for number in call.inputs)
    outputs = tuple((number, *array_type(program, number)) for number in call.outputs)
    wanted = tuple(k for k, number in enumerate(call.outputs) if number in read_later)
    symbolic = _has_symbols((inputs, outputs, tuple(attrs.values())))

    def run(held: list[Any], arena: Any, sizes: Sizes) -> None:
        read, given, made = inputs, attrs, outputs
        if symbolic:
            read, made = _evaluate_extents((inputs, outputs), sizes)
            given = {name: _evaluate_extents(value, sizes) for name, value in attrs.items()}
            for number, shape, _ in made:
                check_size(shape, program.buffers[number].type.dtype, op)
        arrays = [
            held[number] if spot is None else np.ndarray(spot[0], spot[1], arena, spot[2])
            for number, spot in read
        ]
        try:
            value = numpy(*arrays, **given)
            parts = (value,) if single else value
            for k in wanted:
                number, shape, dtype = made[k]
                held[number] = as_contiguous(parts[k], shape, dtype)
        except MemoryError as error:
            shown = " and ".join(f"shape {list(shape)} of {dtype}" for _, shape, dtype in made)
            raise OutOfMemoryError(
                at_user_line(f"no memory for an array of {shown} [Op:{op}]")
            ) from error

    return run


def region_routine(
    program: CompiledProgram,
    call: RegionCall,
    regions: Sequence[Callable[[Sequence[Array]], Sequence[Array]]],
) -> Routine:
    """The function that runs control flow over known sizes. regions: those of the call,
    compiled.
    """
    kind = call.primitive.kind
    assert isinstance(kind, Control)
    body, attrs = kind.run, dict(call.attrs)
    if isinstance(kind, CountedLoop):
        stacked = call.outputs[attrs["carried"] :]
        attrs["stacked"] = [program.buffers[number].type for number in stacked]
    inputs = tuple((number, arena_array(program, number)) for number in call.inputs)

    def run(held: list[Any], arena: Any, sizes: Sizes) -> None:
        arrays = [
            held[number] if spot is None else np.ndarray(spot[0], spot[1], arena, spot[2])
            for number, spot in inputs
        ]
        values = body(regions, arrays, **attrs)
        for number, value in zip(call.outputs, values, strict=True):
            held[number] = value

    return run


def whole_program(program: CompiledProgram) -> Callable[[Sequence[Array]], Array] | None:
    """The function that computes the one output of a program that is a single routine.

    None where there is more to do.
    """
    if len(program.sequence) != 1 or program.updates or program.symbols:
        return None
    call = program.sequence[0]
    if not isinstance(call, LibraryCall) or call.several:
        return None
    if call.inputs != program.inputs or call.outputs != program.outputs:
        return None
    numpy, attrs = resolved(call)
    run = routine(program, call, frozenset(program.outputs))
    shape, dtype = array_type(program, program.outputs[0])

    def alone(inputs: Sequence[Array]) -> Array:
        try:
            return as_contiguous(numpy(*inputs, **attrs), shape, dtype)
        except MemoryError:  # which names the op and the user's line
            held: list[Any] = [None] * len(program.buffers)
            for number, array in zip(program.inputs, inputs, strict=True):
                held[number] = array
            run(held, None, {})
            return np.asarray(held[program.outputs[0]])

    return alone


def as_contiguous(value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """A routine's result as an array in C order."""
    if (
        type(value) is np.ndarray
        and value.dtype is dtype
        and value.shape == shape
        and value.flags.c_contiguous
    ):
        return value
    if not shape and isinstance(value, np.generic) and value.dtype is dtype:
        return np.asarray(value)
    return np.array(value, dtype, order="C").reshape(shape)


def array_type(program: CompiledProgram, number: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of a buffer's array."""
    type = program.buffers[number].type
    return type.shape, type.dtype.dtype


def arena_array(program: CompiledProgram, number: int) -> _ArenaArray | None:
    """Where a temporary is in the arena; None for other buffers."""
    buffer = program.buffers[number]
    if buffer.role != "temporary":
        return None
    return *array_type(program, number), buffer.offset_bytes


def _has_symbols(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(map(_has_symbols, value))
    return isinstance(value, Dim)


def _evaluate_extents(value: Any, sizes: Sizes) -> Any:
    """A value with its extents as numbers, for these sizes."""
    if isinstance(value, tuple):
        return tuple(_evaluate_extents(part, sizes) for part in value)
    return evaluate(value, sizes) if isinstance(value, Dim) else value


__all__ = [
    "Routine",
    "arena_array",
    "array_type",
    "as_contiguous",
    "buffers_read",
    "region_routine",
    "resolved",
    "routine",
    "whole_program",
]
