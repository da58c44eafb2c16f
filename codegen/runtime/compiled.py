"""A compiled program: all that `Executable` needs besides machine code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphjit.core.dims import Dim
from graphjit.core.errors import (
    IndexOutOfRangeError,
    InvalidArgumentError,
    SourceLine,
    at_user_line,
)
from graphjit.core.frozen import dataclass
from graphjit.ir.program import Buffer, LibraryCall, RegionCall
from graphjit.ir.verify_program import Access
from graphjit.ops.index import OUT_OF_RANGE
from graphjit.ops.pointwise import PYTHON_ERRORS


@dataclass(frozen=True, slots=True)
class Segment:
    """Native steps that run as one call.

    buffers: those that it takes, in order
    """

    buffers: tuple[int, ...]
    symbol: str


@dataclass(frozen=True, slots=True)
class Check:
    """The meaning of a status.

    reason: a message with {0}, {1} for the record's integers; the third is one more than the
        number of a loop's iteration, 0 outside of loops
    """

    reason: str
    op: str
    source: SourceLine | None

    def error(self, record: Sequence[int]) -> Exception:
        """The exception for a failure with these integers."""
        if self.reason in PYTHON_ERRORS:
            return PYTHON_ERRORS[self.reason](self.reason)
        turn = f", in iteration {record[2] - 1} of a loop" if record[2] > 0 else ""
        message = self.reason.format(*record) + f"{turn} [Op:{self.op}]"
        kind = IndexOutOfRangeError if self.reason == OUT_OF_RANGE else InvalidArgumentError
        return kind(at_user_line(message, source=self.source))


@dataclass(frozen=True, slots=True)
class Origin:
    """The op that makes a buffer.

    op: its name in TensorFlow, empty if no op makes the buffer
    source: its line
    """

    op: str = ""
    source: SourceLine | None = None


@dataclass(frozen=True, slots=True)
class CompiledProgram:
    """A program with its kernels compiled to segments. Other fields are those of `Program`.

    sequence: segments and calls, in order
    checks: what the statuses of segments mean, from 1 on
    steps: how many steps the program has
    aligned: the outputs that must start at a cache line
    origins: for each buffer the op that makes it
    accesses: the accesses that a call checks for its sizes
    """

    name: str
    buffers: tuple[Buffer, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    updates: tuple[int, ...]
    arena_bytes: int
    sequence: tuple[Segment | LibraryCall | RegionCall, ...]
    checks: tuple[Check, ...]
    steps: int
    symbols: tuple[str, ...] = ()
    aligned: tuple[int, ...] = ()
    donated: tuple[tuple[int, int], ...] = ()
    origins: tuple[Origin, ...] = ()
    accesses: tuple[Access, ...] = ()


def where_symbols(
    buffers: Sequence[Buffer], inputs: Sequence[int]
) -> dict[str, tuple[int, int, int]]:
    """Where a call brings the size of each symbol: input, axis, and the symbol's factor
    there.
    """
    found: dict[str, tuple[int, int, int]] = {}
    for number, buffer in enumerate(inputs):
        for axis, n in enumerate(buffers[buffer].type.shape):
            if isinstance(n, Dim):
                ((name,), by) = n.terms[0]
                found.setdefault(name, (number, axis, by))
    return found


def sizes_of(
    positions: Mapping[str, tuple[int, int, int]], shapes: Sequence[tuple[int, ...]]
) -> dict[str, int]:
    """The sizes of the symbols, for inputs of these shapes."""
    return {name: shapes[number][axis] // by for name, (number, axis, by) in positions.items()}
