"""What a call with symbolic extents checks and computes first, as generated code.

    i64 @prepare(ptr extents, ptr sizes)

`extents` are those of the arguments' axes that bring the symbols. The function returns 0 where
a guard fails, an extent is too large for 64 bits, or a kernel would leave a buffer; Python then
raises the error. Else it returns 1, having written to `sizes`: the symbols' sizes, each
result's extents and bytes, the arena's bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphjit.codegen.runtime.compiled import CompiledProgram
from graphjit.codegen.runtime.runtime_symbols import PREPARE
from graphjit.codegen.sizes import SizeEmitter
from graphjit.core.dims import Dim
from graphjit.core.extents import magnitude
from graphjit.ir.program import Buffer, Program
from graphjit.ir.verify_program import Access, never_negative, open_accesses

_RELATIONS = {"==": "eq", "!=": "ne", ">=": "sge"}


def result_buffers(program: Program | CompiledProgram) -> list[Buffer]:
    """The buffers of the results, those of variables last."""
    return [program.buffers[n] for n in (*program.outputs, *program.updates)]


def symbol_extents(program: Program | CompiledProgram) -> dict[str, Dim]:
    """The extents that bring the symbols' sizes: each a symbol or a multiple of one."""
    found: dict[str, Dim] = {}
    for number in program.inputs:
        for n in program.buffers[number].type.shape:
            if isinstance(n, Dim):
                ((name,), _) = n.terms[0]
                found.setdefault(name, n)
    return found


def prepared_positions(program: Program | CompiledProgram) -> tuple[list[int], int]:
    """Where `sizes` has the extents of each result, and the arena's bytes [words]."""
    found, position = [], len(program.symbols)
    for buffer in result_buffers(program):
        found.append(position)
        position += len(buffer.type.shape) + 1
    return found, position


def write_prepare(program: Program, touched: Sequence[Access] | None = None) -> str:
    """The function for a program with symbols.

    touched: the accesses that it checks; None for all that may leave their buffer
    """
    lines: list[str] = []
    size = SizeEmitter(program.symbols, lines)
    computed = [program.arena_bytes]
    for buffer in result_buffers(program):
        computed += [*buffer.type.shape, buffer.type.nbytes]
    touched = open_accesses(program) if touched is None else touched
    questions = [*computed, *(guard.left for guard in program.guards)]
    limit = _size_limit([n for n in questions if isinstance(n, Dim)], touched)
    good = "true"

    def require(condition: str) -> None:
        nonlocal good
        name = f"%good{len(lines)}"
        lines.append(f"  {name}.is = {condition}")
        lines.append(f"  {name} = and i1 {good}, {name}.is")
        good = name

    for position, (name, n) in enumerate(symbol_extents(program).items()):
        assert program.symbols[position] == name
        by = n.terms[0][1]
        lines += [
            f"  %extent{position}.at = getelementptr i64, ptr %extents, i64 {position}",
            f"  %extent{position} = load i64, ptr %extent{position}.at, align 8",
            f"  %rest{position} = urem i64 %extent{position}, {by}",
            f"  %symbol{position} = udiv i64 %extent{position}, {by}",
            f"  %symbol{position}.at = getelementptr i64, ptr %sizes, i64 {position}",
            f"  store i64 %symbol{position}, ptr %symbol{position}.at, align 8",
        ]
        require(f"icmp eq i64 %rest{position}, 0")
        require(f"icmp ule i64 %symbol{position}, {limit}")
        if by == 1:  # the trace assumed that
            require(f"icmp ne i64 %extent{position}, 1")
    conditions = [
        f"icmp {_RELATIONS[guard.relation]} i64 {size(guard.left)}, 0"
        for guard in program.guards
    ]
    conditions += [c for access in touched for c in _access_conditions(access, size, lines)]
    for condition in dict.fromkeys(conditions):  # several accesses may need one
        require(condition)
    found, arena_at = prepared_positions(program)
    for buffer, position in zip(result_buffers(program), found, strict=True):
        for axis, extent in enumerate((*buffer.type.shape, buffer.type.nbytes)):
            _store(lines, size(extent), position + axis)
    _store(lines, size(program.arena_bytes), arena_at)
    return "\n".join(
        [
            f"define i64 @{PREPARE}(ptr %extents, ptr %sizes) nounwind {{",
            "entry:",
            *lines,
            f"  %told = zext i1 {good} to i64",
            "  ret i64 %told",
            "}",
        ]
    )


def _store(lines: list[str], value: str, position: int) -> None:
    name = f"%at{len(lines)}"
    lines.append(f"  {name} = getelementptr i64, ptr %sizes, i64 {position}")
    lines.append(f"  store i64 {value}, ptr {name}, align 8")


def _access_conditions(access: Access, size: SizeEmitter, lines: list[str]) -> list[str]:
    """Instructions of type i1 that are all true where an access stays inside its buffer."""

    def emit(text: str) -> str:
        name = f"%reach{len(lines)}"
        lines.append(f"  {name} = {text}")
        return name

    found: list[str] = []
    low: Any = access.offset
    high: Any = access.offset
    lows, highs = [], []
    empty = ""
    for stride, extent in access.axes:
        if not never_negative(extent):
            found.append(f"icmp sge i64 {size(extent)}, 0")
        if isinstance(extent, Dim):
            none = emit(f"icmp eq i64 {size(extent)}, 0")
            empty = emit(f"or i1 {empty}, {none}") if empty else none
        reach = stride * (extent - 1)
        if not isinstance(stride, Dim) or never_negative(stride) or never_negative(-stride):
            if never_negative(stride):
                high = high + reach
            else:
                low = low + reach
            continue
        reached = size(reach)
        below = emit(f"icmp slt i64 {reached}, 0")
        lows.append(emit(f"select i1 {below}, i64 {reached}, i64 0"))
        highs.append(emit(f"select i1 {below}, i64 0, i64 {reached}"))
    inside = []
    for start, parts, sign in ((low, lows, "add"), (access.size - 1 - high, highs, "sub")):
        if not parts and never_negative(start):
            continue
        room = size(start)
        for part in parts:
            room = emit(f"{sign} i64 {room}, {part}")
        inside.append(f"icmp sge i64 {room}, 0")
    if not empty:
        return [*found, *inside]
    return [*found, *(f"or i1 {empty}, {emit(condition)}" for condition in inside)]


def _size_limit(dims: list[Dim], touched: Sequence[Access]) -> int:
    """A size of symbols up to which no intermediate result exceeds 62 bits."""
    for bits in range(40, 4, -1):
        size = 1 << bits
        if all(magnitude(n, size) < 1 << 62 for n in dims) and all(
            _bound_reach(access, size) < 1 << 62 for access in touched
        ):
            return size
    return 1


def _bound_reach(access: Access, size: int) -> int:
    """An upper bound of an access's distance from 0, if all symbols have this size."""
    reach = sum(magnitude(s, size) * (magnitude(n, size) + 1) for s, n in access.axes)
    return magnitude(access.offset, size) + magnitude(access.size, size) + 1 + reach


__all__ = ["prepared_positions", "result_buffers", "symbol_extents", "write_prepare"]
