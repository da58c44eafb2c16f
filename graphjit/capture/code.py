"""Code objects as lists of instructions, and back.

CPython's bytecode is a string of two-byte units with jumps as distances, a table of exception
handlers, and a table of source positions, both by offset. Here an instruction is a number, and
jumps and handlers name numbers, so that other bytecode can take an instruction's place.
Formats: `Objects/exception_handling_notes.txt`, `Objects/locations.md` and `Lib/dis.py` of
CPython 3.11 to 3.13 (`InternalDocs/` from 3.14 on).

A function of a thousand lines has thousands of instructions, and most of a first trace could go
here. So there is no object for an instruction, and the table of positions isn't decoded.
"""

from __future__ import annotations

import dis
import functools
import opcode
import re
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate, compress
from operator import sub
from types import CodeType
from typing import Any, Final

from graphjit.core.frozen import dataclass

VERSION: Final = sys.version_info[:2]
EXTENDED_ARG: Final = dis.opmap["EXTENDED_ARG"]
_NOTHING, _EXTENDED = bytes(1), bytes([EXTENDED_ARG])
_NOT_EXTENDED: Final = bytes(op != EXTENDED_ARG for op in range(256))
HAVE_ARGUMENT: Final = dis.HAVE_ARGUMENT
# An entry of the table of positions. Only its first byte has the highest bit; its code tells
# what follows. Codes below _ONE_LINE are on the line of the entry before, those of _ONE_LINE up
# to two lines on.
_ENTRY: Final = re.compile(rb"[\x80-\xff][\x00-\x7f]*")
_ONE_LINE, _NO_COLUMNS, _LONG, _NONE = range(10, 13), 13, 14, 15
# Of how many units an entry is, told from its first byte; the bytes that follow one.
_UNITS: Final = bytes((byte & 7) + 1 for byte in range(256))
_AFTER_FIRST: Final = bytes(range(128))
MAX_UNITS: Final = 8  # of an entry of the table of positions


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


@dataclass(frozen=True, slots=True, eq=False)
class Handler:
    """A range of instructions whose exceptions go to a handler.

    start, stop: the numbers of the first one and of the one after the last. target: where the
    handler starts. depth: how much of the stack it keeps. lasti: whether the number of the
    raising instruction is pushed.
    """

    start: int
    stop: int
    target: int
    depth: int
    lasti: bool


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """The instructions of a code object, caches and EXTENDED_ARG left out, and its handlers.

    ops, args: opcodes, and arguments; those of jumps are 0. starts: the unit at which each
    begins, its EXTENDED_ARG included; the number of units at the end. targets: where jumps go.
    """

    ops: bytes
    args: list[int]
    starts: list[int]
    targets: dict[int, int]
    handlers: list[Handler]


def decode(code: CodeType) -> Decoded:
    """Take a code object apart."""
    opcodes, arguments = code.co_code[::2], code.co_code[1::2]
    count = len(opcodes)
    # what an inline cache has in a copy of the bytecode is 0, and no instruction is
    ops = opcodes.replace(_NOTHING, b"")
    args = list(compress(arguments, opcodes))
    starts = list(compress(range(count), opcodes))
    if EXTENDED_ARG in ops:
        number = -1
        while (number := ops.find(EXTENDED_ARG, number + 1)) >= 0:
            args[number + 1] |= args[number] << 8
            starts[number + 1] = starts[number]
        kept = ops.translate(_NOT_EXTENDED)
        args, starts = list(compress(args, kept)), list(compress(starts, kept))
        ops = ops.replace(_EXTENDED, b"")
    starts.append(count)
    jumps: list[tuple[int, int]] = []
    if not JUMPS.isdisjoint(ops):
        for number, op in enumerate(ops):
            if op in JUMPS:
                after, arg = starts[number + 1], args[number]
                jumps.append((number, after - arg if op in BACKWARD else after + arg))
                args[number] = 0
    parsed = list(_parse_handlers(code.co_exceptiontable))
    if not jumps and not parsed:
        return Decoded(ops, args, starts, {}, [])
    numbers = {start: number for number, start in enumerate(starts)}
    return Decoded(
        ops,
        args,
        starts,
        {number: numbers[target] for number, target in jumps},
        [
            Handler(numbers[first], numbers[last], numbers[target], depth, lasti)
            for first, last, target, depth, lasti in parsed
        ],
    )


@functools.lru_cache(maxsize=1 << 14)
def instruction(op: int, arg: int = 0) -> bytes:
    """The bytes of an instruction, with EXTENDED_ARG and caches."""
    units = bytes((op, arg & 255)) + bytes(2 * CACHE_SIZES[op])
    while arg := arg >> 8:
        units = bytes((EXTENDED_ARG, arg & 255)) + units
    return units


def opcode_offset(code: CodeType, start: int) -> int:
    """Where the opcode of the instruction lies that starts at a unit [bytes]."""
    units = code.co_code
    while units[2 * start] == EXTENDED_ARG:
        start += 1
    return 2 * start


def encode(
    code: CodeType, decoded: Decoded, parts: list[bytes], stack: int
) -> tuple[CodeType, array[int]]:
    """A copy of a code object with other bytecode in each instruction's place.

    parts: that bytecode; of a jump what comes before it, for the jump itself is made here. Also
    gives the unit at which each part starts.
    """
    parts, starts = _with_jumps(decoded, parts)
    table = bytearray()
    for handler in decoded.handlers:
        start, stop = starts[handler.start], starts[handler.stop]
        depth = handler.depth << 1 | handler.lasti
        for k, value in enumerate((start, stop - start, starts[handler.target], depth)):
            table += _handler_number(value, 128 if k == 0 else 0)
    copy = code.replace(
        co_code=b"".join(parts),
        co_stacksize=stack,
        co_exceptiontable=bytes(table),
        co_linetable=_line_table(code.co_linetable, decoded.starts, starts),
    )
    return copy, array("I", starts)


def _with_jumps(decoded: Decoded, parts: list[bytes]) -> tuple[list[bytes], list[int]]:
    """The parts with jumps at their ends, and the unit at which each starts."""
    targets, ops = decoded.targets, decoded.ops
    lengths = list(map(len, parts))
    if not targets:
        return parts, [start >> 1 for start in accumulate(lengths, initial=0)]
    for number in targets:
        lengths[number] += len(instruction(ops[number]))
    changed = True
    while changed:
        changed = False
        starts = [0, *accumulate(lengths)]
        arguments = {n: abs(starts[to] - starts[n + 1]) // 2 for n, to in targets.items()}
        for number, argument in arguments.items():
            length = len(parts[number]) + len(instruction(ops[number], argument))
            if length > lengths[number]:  # they only grow, so this ends
                lengths[number], changed = length, True
    parts = list(parts)
    for number, argument in arguments.items():
        parts[number] += instruction(ops[number], argument)
    return parts, [start // 2 for start in starts]


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


def _line_table(table: bytes, old: Sequence[int], new: Sequence[int]) -> bytes:
    """A table of positions for instructions that start at other units.

    Each entry goes on for as long as what stands for its instructions. An entry that begins
    inside an instruction has none of its own.
    """
    entries = _ENTRY.findall(table)
    units = table.translate(_UNITS, _AFTER_FIRST)
    if [0, *accumulate(units)] == old:  # each instruction has an entry of its own
        lengths = list(map(sub, new[1:], new))
        if min(lengths, default=0) > 0:
            return b"".join(map(_stretched, entries, lengths))
    moved = dict(zip(old, new, strict=True))
    parts: list[bytes] = []
    unit = at = skipped = 0
    for entry in entries:
        unit += (entry[0] & 7) + 1
        end = moved.get(unit)
        if end is None:  # inside an instruction
            end = new[min(bisect_left(old, unit), len(old) - 1)]
        if end == at:
            skipped += _lines_on(entry)
            continue
        if skipped:
            entry, skipped = _without_columns(skipped + _lines_on(entry)), 0
        parts.append(_stretched(entry, end - at))
        at = end
    if at < new[-1]:
        parts.append(_stretched(bytes([0x80 | _NONE << 3]), new[-1] - at))
    return b"".join(parts)


@functools.lru_cache(maxsize=1 << 14)
def _stretched(entry: bytes, length: int) -> bytes:
    """An entry of a table of positions as entries for so many units."""
    code, rest = entry[0] >> 3 & 15, entry[1:]
    more, after = code, rest  # the same position again, on the same line
    if code in _ONE_LINE:
        more = _ONE_LINE[0]
    elif code in (_NO_COLUMNS, _LONG):
        after = b"\0" + rest[_number_end(rest) :]
    made = b""
    while length > 0:
        units = min(length, MAX_UNITS)
        made += bytes([0x80 | code << 3 | units - 1]) + rest
        code, rest, length = more, after, length - units
    return made


def _number_end(text: bytes) -> int:
    """Where the first number of a text ends."""
    return next(k for k, byte in enumerate(text) if not byte & 64) + 1


def _lines_on(entry: bytes) -> int:
    """How many lines an entry goes on from the one before."""
    code = entry[0] >> 3 & 15
    if code in _ONE_LINE:
        return code - _ONE_LINE[0]
    if code not in (_NO_COLUMNS, _LONG):
        return 0
    value = 0
    for k, byte in enumerate(entry[1 : 1 + _number_end(entry[1:])]):
        value |= (byte & 63) << 6 * k
    return -(value >> 1) if value & 1 else value >> 1


def _without_columns(lines: int) -> bytes:
    """An entry, so many lines on, without columns."""
    value = -lines << 1 | 1 if lines < 0 else lines << 1
    made = bytearray([0x80 | _NO_COLUMNS << 3])
    while value >= 64:
        made.append(value & 63 | 64)
        value >>= 6
    made.append(value)
    return bytes(made)


__all__ = [
    "BACKWARD",
    "CACHE_SIZES",
    "HAVE_ARGUMENT",
    "JUMPS",
    "VERSION",
    "Decoded",
    "Handler",
    "decode",
    "encode",
    "instruction",
    "opcode_offset",
]
