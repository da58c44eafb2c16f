"""What runs a program once it is compiled: all that `Executable` needs beside machine code."""

from __future__ import annotations

from graphjit.errors import SourceLine
from graphjit.program import Buffer, LibraryCall
from graphjit.values import dataclass


@dataclass(frozen=True, slots=True)
class Segment:
    """Native steps that run as one call, and the buffers it takes, in order."""

    buffers: tuple[int, ...]
    symbol: str


@dataclass(frozen=True, slots=True)
class Check:
    """What a status stands for: a message with {0}, {1} for the record's integers."""

    reason: str
    op: str
    source: SourceLine | None


@dataclass(frozen=True, slots=True)
class Origin:
    """The op that makes a buffer, under TensorFlow's name (empty if none does); its line."""

    op: str = ""
    source: SourceLine | None = None


@dataclass(frozen=True, slots=True)
class CompiledProgram:
    """A program with its kernels made into segments.

    sequence: what is called, in order. checks: what the statuses of segments mean, from 1 on.
    steps: how many the program has. aligned: the outputs that must start at a cache line.
    origins: for each buffer the op that makes it. The rest is as the Program has it.
    """

    name: str
    buffers: tuple[Buffer, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    updates: tuple[int, ...]
    arena_bytes: int
    sequence: tuple[Segment | LibraryCall, ...]
    checks: tuple[Check, ...]
    steps: int
    symbols: tuple[str, ...] = ()
    aligned: tuple[int, ...] = ()
    donated: tuple[tuple[int, int], ...] = ()
    origins: tuple[Origin, ...] = ()
