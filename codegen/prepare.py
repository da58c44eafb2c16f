"""What a call with symbolic extents asks and computes first, as generated code.

    i64 @prepare(ptr extents, ptr sizes)

`extents` are those that arguments have where symbols stand. The function gives 0 where a guard
fails or an extent is too large for 64 bits, else 1, having written to `sizes`: the symbols'
sizes, then for each result its extents and bytes, then the bytes of the arena.
"""

from __future__ import annotations

from graphjit.dims import Dim, evaluate
from graphjit.program import Buffer, Program

from .compiled import CompiledProgram
from .outside import PREPARE
from .sizes import SizeEmitter

_RELATIONS = {"==": "eq", "!=": "ne", ">=": "sge"}


def results_of(program: Program | CompiledProgram) -> list[Buffer]:
    """The buffers of the results, those of variables last."""
    return [program.buffers[n] for n in (*program.outputs, *program.updates)]


def symbols_of(program: Program | CompiledProgram) -> dict[str, Dim]:
    """The extent that stands where a call brings a symbol's size: the symbol or a multiple."""
    found: dict[str, Dim] = {}
    for number in program.inputs:
        for n in program.buffers[number].type.shape:
            if isinstance(n, Dim):
                ((name,), _) = n.terms[0]
                found.setdefault(name, n)
    return found


def prepared_places(program: Program | CompiledProgram) -> tuple[list[int], int]:
    """Where `sizes` has the extents of each result, and where the arena's bytes [words]."""
    found, place = [], len(program.symbols)
    for buffer in results_of(program):
        found.append(place)
        place += len(buffer.type.shape) + 1
    return found, place


def write_prepare(program: Program) -> str:
    """The function for a program with symbols."""
    lines: list[str] = []
    size = SizeEmitter(program.symbols, lines)
    computed = [program.arena_bytes]
    for buffer in results_of(program):
        computed += [*buffer.type.shape, buffer.type.nbytes]
    questions = [*computed, *(guard.left for guard in program.guards)]
    limit = _largest([n for n in questions if isinstance(n, Dim)])
    good = "true"

    def require(condition: str) -> None:
        nonlocal good
        name = f"%good{len(lines)}"
        lines.append(f"  {name}.is = {condition}")
        lines.append(f"  {name} = and i1 {good}, {name}.is")
        good = name

    for place, (name, n) in enumerate(symbols_of(program).items()):
        assert program.symbols[place] == name
        by = n.terms[0][1]
        lines += [
            f"  %extent{place}.at = getelementptr i64, ptr %extents, i64 {place}",
            f"  %extent{place} = load i64, ptr %extent{place}.at, align 8",
            f"  %rest{place} = urem i64 %extent{place}, {by}",
            f"  %symbol{place} = udiv i64 %extent{place}, {by}",
            f"  %symbol{place}.at = getelementptr i64, ptr %sizes, i64 {place}",
            f"  store i64 %symbol{place}, ptr %symbol{place}.at, align 8",
        ]
        require(f"icmp eq i64 %rest{place}, 0")
        require(f"icmp ule i64 %symbol{place}, {limit}")
    for guard in program.guards:
        value = size(guard.left)
        require(f"icmp {_RELATIONS[guard.relation]} i64 {value}, 0")
    found, arena_at = prepared_places(program)
    for buffer, place in zip(results_of(program), found, strict=True):
        for axis, extent in enumerate((*buffer.type.shape, buffer.type.nbytes)):
            _store(lines, size(extent), place + axis)
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


def _store(lines: list[str], value: str, place: int) -> None:
    name = f"%at{len(lines)}"
    lines.append(f"  {name} = getelementptr i64, ptr %sizes, i64 {place}")
    lines.append(f"  store i64 {value}, ptr {name}, align 8")


def _largest(dims: list[Dim]) -> int:
    """A size up to which no extent passes 62 bits on the way to its value."""
    for bits in range(40, 4, -1):
        if all(_magnitude(n, 1 << bits) < 1 << 62 for n in dims):
            return 1 << bits
    return 1


def _magnitude(n: Dim, size: int) -> int:
    """The sum of an extent's terms without their signs, all symbols being of this size."""
    total = 0
    for monomial, factor in n.terms:
        part = abs(factor)
        for name in monomial:
            floor = n.sizes.floor_of(name)
            part *= size if floor is None else _magnitude(floor[0], size)
        total += part
    return max(total, evaluate(n, dict.fromkeys(n.symbols, size)))


__all__ = ["prepared_places", "results_of", "symbols_of", "write_prepare"]
