"""Code objects as lists of instructions, and back.

CPython's bytecode is a string of two-byte units with jumps as distances, a table of exception
handlers, and a table of source positions, both by offset. Here an instruction names the
instructions that it may jump to, and handlers name instructions, so that others can be put
between them. Formats: `Objects/exception_handling_notes.txt`, `Objects/locations.md` and
`Lib/dis.py` of CPython 3.11 to 3.13 (`InternalDocs/` from 3.14 on).
"""

from __future__ import annotations

import dis
import functools
import opcode
import sys
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Any, Final

VERSION: Final = sys.version_info[:2]
EXTENDED_ARG: Final = dis.opmap["EXTENDED_ARG"]
HAVE_ARGUMENT: Final = dis.HAVE_ARGUMENT

Position = tuple[int | None, int | None, int | None, int | None]  # line, end, column, end
_NOWHERE: Final[Position] = (None, None, None, None)


def _cache_sizes() -> list[int]:
    """How many units of inline cache follow each opcode."""
    found: Any = opcode._inline_cache_entries  # type: ignore[attr-defined]
    sizes = [0] * 256
    if isinstance(found, dict):
        for name, size in found.items():
            sizes[dis.opmap[name]] = size
    else:
        sizes[: len(found)] = found[:256]
    return sizes


CACHE_SIZES: Final = _cache_sizes()
JUMPS: Final = frozenset(dis.hasjrel) & frozenset(range(256))
BACKWARD: Final = frozenset(op for op in JUMPS if "BACKWARD" in dis.opname[op])


class Instruction:
    """One instruction.

    op: the opcode. arg: its argument, of a jump 0. target: where a jump goes. position: of the
    source. index: its number in the list that it was decoded to; -1 if it was put there.
    """

    __slots__ = ("arg", "index", "op", "position", "target")

    def __init__(
        self,
        op: int,
        arg: int = 0,
        target: Instruction | None = None,
        position: Position = _NOWHERE,
        index: int = -1,
    ) -> None:
        self.op = op
        self.arg = arg
        self.target = target
        self.position = position
        self.index = index

    @property
    def name(self) -> str:
        """The opcode's name."""
        return dis.opname[self.op]

    def __repr__(self) -> str:
        to = "" if self.target is None else f" -> {self.target.index}"
        return f"<{self.index}: {self.name} {self.arg}{to}>"


class Handler:
    """A range of instructions whose exceptions go to a handler.

    start, stop: the first instruction of the range, and the one after it, None at the end.
    target: where the handler starts. depth: how much of the stack it keeps. lasti: whether the
    number of the raising instruction is pushed.
    """

    __slots__ = ("depth", "lasti", "start", "stop", "target")

    def __init__(
        self,
        start: Instruction,
        stop: Instruction | None,
        target: Instruction,
        depth: int,
        lasti: bool,
    ) -> None:
        self.start = start
        self.stop = stop
        self.target = target
        self.depth = depth
        self.lasti = lasti


def decode(code: CodeType) -> tuple[list[Instruction], list[Handler]]:
    """The instructions of a code object, caches and EXTENDED_ARG left out, and its handlers."""
    units = code.co_code
    positions = list(code.co_positions())
    instructions: list[Instruction] = []
    at: dict[int, Instruction] = {}  # by the unit that it starts at, EXTENDED_ARG included
    jumps: list[tuple[Instruction, int]] = []
    unit, count, high, start = 0, len(units) // 2, 0, 0
    while unit < count:
        op, arg = units[2 * unit], units[2 * unit + 1] | high
        unit += 1
        if op == EXTENDED_ARG:
            high = arg << 8
            continue
        position = positions[unit - 1] if unit <= len(positions) else _NOWHERE
        instruction = Instruction(op, arg, None, position, len(instructions))
        instructions.append(instruction)
        at[start] = instruction
        unit += CACHE_SIZES[op]
        if op in JUMPS:
            jumps.append((instruction, unit - arg if op in BACKWARD else unit + arg))
            instruction.arg = 0
        high, start = 0, unit
    for instruction, target in jumps:
        instruction.target = at[target]
    handlers = [
        Handler(at[first], at.get(last), at[target], depth, lasti)
        for first, last, target, depth, lasti in _parse_handlers(code.co_exceptiontable)
    ]
    return instructions, handlers


def opcode_offsets(code: CodeType) -> list[int]:
    """Where the opcode of each instruction that `decode` gives lies [bytes]."""
    units, unit, found = code.co_code, 0, []
    while 2 * unit < len(units):
        op = units[2 * unit]
        if op != EXTENDED_ARG:
            found.append(2 * unit)
        unit += 1 + CACHE_SIZES[op]
    return found


def encode(
    code: CodeType,
    instructions: list[Instruction],
    handlers: Iterable[Handler],
    *,
    consts: tuple[Any, ...],
    stack: int,
) -> CodeType:
    """A copy of a code object with these instructions, constants and stack size."""
    starts, units = _layout(instructions)
    text = bytearray()
    for number, x in enumerate(instructions):
        op, arg = x.op, x.arg
        if x.target is not None:
            arg = abs(starts[x.target] - starts[x] - units[number])
        for shift in range(8 * (units[number] - 2 - CACHE_SIZES[op]) + 8, 0, -8):
            text += bytes((EXTENDED_ARG, arg >> shift & 255))
        text += bytes((op, arg & 255)) + bytes(2 * CACHE_SIZES[op])
    end = len(text) // 2
    table = bytearray()
    for handler in handlers:
        start = starts[handler.start]
        stop = end if handler.stop is None else starts[handler.stop]
        depth = handler.depth << 1 | handler.lasti
        for k, value in enumerate((start, stop - start, starts[handler.target], depth)):
            table += _handler_number(value, 128 if k == 0 else 0)
    return code.replace(
        co_code=bytes(text),
        co_consts=consts,
        co_stacksize=stack,
        co_exceptiontable=bytes(table),
        co_linetable=bytes(_line_table(code.co_firstlineno, instructions, units)),
    )


def _layout(instructions: list[Instruction]) -> tuple[dict[Instruction, int], list[int]]:
    """At which unit each instruction starts, and how many units each takes."""
    units = [
        1 + CACHE_SIZES[x.op] + ((max(x.arg.bit_length(), 1) - 1) // 8) for x in instructions
    ]
    jumps = [(n, x) for n, x in enumerate(instructions) if x.target is not None]
    while True:
        starts: dict[Instruction, int] = {}
        unit = 0
        for x, size in zip(instructions, units, strict=True):
            starts[x] = unit
            unit += size
        changed = False
        for number, x in jumps:
            assert x.target is not None
            distance = abs(starts[x.target] - starts[x] - units[number])
            size = 1 + CACHE_SIZES[x.op] + (max(distance.bit_length(), 1) - 1) // 8
            if size > units[number]:  # they only grow, so this ends
                units[number], changed = size, True
        if not changed:
            return starts, units


def _parse_handlers(table: bytes) -> Iterator[tuple[int, int, int, int, bool]]:
    """The entries of an exception table: first unit, last, handler, depth, lasti."""
    values: list[int] = []
    value = 0
    for byte in table:
        value = value << 6 | byte & 63
        if not byte & 64:
            values.append(value)
            value = 0
    for k in range(0, len(values), 4):
        start, length, target, depth = values[k : k + 4]
        yield start, start + length, target, depth >> 1, bool(depth & 1)


def _handler_number(value: int, flag: int) -> bytes:
    """A number of an exception table: six bits a byte, the high ones first."""
    parts = [value & 63]
    while value := value >> 6:
        parts.append(value & 63 | 64)
    parts.reverse()
    parts[0] |= flag
    return bytes(parts)


def _line_table(first: int, instructions: list[Instruction], units: list[int]) -> bytearray:
    """The table of positions, in its long form or without columns."""
    table, line = bytearray(), first
    before: Position | None = None
    rest, form = b"", 15  # what follows an entry's first byte, and the form that this is in
    for x, size in zip(instructions, units, strict=True):
        if x.position is not before and x.position != before:
            before = x.position
            start, end, column, end_column = before
            form = 15 if start is None else 13
            if start is not None:
                delta = start - line
                line = start
                if end is not None and column is not None and end_column is not None:
                    form = 14
                    columns = (end - start, column + 1, end_column + 1)
                    rest = b"".join(map(_position_number, columns))
                else:
                    rest = b""
                first_rest = (
                    _position_number(-delta << 1 | 1 if delta < 0 else delta << 1) + rest
                )
                rest = b"\0" + rest
            else:
                first_rest = rest = b""
        else:
            first_rest = rest
        while size > 0:
            length = min(size, 8)
            size -= length
            table.append(0x80 | form << 3 | length - 1)
            table += first_rest
            first_rest = rest
    return table


@functools.cache
def _position_number(value: int) -> bytes:
    """A number of a table of positions: six bits a byte, the low ones first."""
    parts = bytearray()
    while value >= 64:
        parts.append(value & 63 | 64)
        value >>= 6
    parts.append(value)
    return bytes(parts)


__all__ = [
    "BACKWARD",
    "CACHE_SIZES",
    "HAVE_ARGUMENT",
    "JUMPS",
    "VERSION",
    "Handler",
    "Instruction",
    "Position",
    "decode",
    "encode",
    "opcode_offsets",
]
