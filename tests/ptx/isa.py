"""The table of instructions: how a row is written, and how an opcode finds its row.

A row is one decorated function: its pattern, its operands and what it does. Rows stand in
`alu` (values to values) and `effects` (control, memory, warps); an instruction is added there
and nowhere else.

Pattern: words that the dots of the opcode separate. `f32` is literal, `ftz?` may be absent,
`type=u32|s32` names the choice, `rnd=rn|rz?` is both. Operands, separated by commas: a type
name or the name of a choice, `wide` for twice the width of `type`; before it `=` for a
result, `!` where a negated predicate may stand; after it `~` where the register may be wider,
`*` where `vec` makes it a vector, `*4` where it is a vector of four, `*num` of as many as that
choice says, `?` where it may be left out; `a|b` for two results; further `mem` (an address in
the space that the choice `space` names, `mem@shared` in that one), `label`, `table` (of
labels), `imm` (an integer constant) and `any` (what `mov` takes).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from ptx.types import TYPES, Type


@dataclass(frozen=True, slots=True)
class Kind:
    """What one operand must be."""

    word: str
    type: Type | None = None
    result: bool = False
    negatable: bool = False
    wider: bool = False
    optional: bool = False
    count: int = 1
    vector: bool = False
    second: Type | None = None
    space: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table."""

    name: str
    pattern: re.Pattern[str]
    operands: tuple[str, ...]
    run: Callable[..., Any]
    pure: bool
    sm: int
    accepts: str | None


@dataclass(frozen=True, slots=True)
class Opcode:
    """An opcode found in the table: its row, its modifiers, its operands' kinds."""

    row: Row
    mods: dict[str, str]
    kinds: tuple[Kind, ...]

    def type(self, name: str = "type") -> Type:
        """The type that a choice of the pattern names."""
        return TYPES[self.mods[name]]


ROWS: dict[str, list[Row]] = {}


def _regex(pattern: str) -> re.Pattern[str]:
    name, *words = pattern.split()
    parts = [re.escape(name)]
    for word in words:
        optional = word.endswith("?")
        key, _, choices = word.rstrip("?").partition("=")
        choices = choices or key
        group = f"(?P<{key}>" if key.isidentifier() else "(?:"
        alternatives = "|".join(re.escape(choice) for choice in choices.split("|"))
        parts.append(rf"(?:\.{group}{alternatives})){'?' if optional else ''}")
    return re.compile("".join(parts))


def row(
    pattern: str, operands: str, *, pure: bool = True, sm: int = 50, accepts: str | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Put a function into the table.

    `sm` is the least target. `accepts` names a source whose being poison is judged by the
    function itself, as `selp` takes one of its two.
    """

    def add(run: Callable[..., Any]) -> Callable[..., Any]:
        name = pattern.split()[0]
        kinds = tuple(word.strip() for word in operands.split(",")) if operands else ()
        ROWS.setdefault(name, []).append(
            Row(name, _regex(pattern), kinds, run, pure, sm, accepts)
        )
        return run

    return add


def _type(word: str, mods: dict[str, str]) -> Type:
    if word == "wide":
        base = TYPES[mods["type"]]
        return TYPES[f"{base.kind}{2 * base.bits}"]
    if word == "bits":
        return TYPES[f"b{TYPES[mods['type']].bits}"]
    return TYPES[mods.get(word, word)]


def _kind(word: str, mods: dict[str, str]) -> Kind:
    result, word = word.startswith("="), word.removeprefix("=")
    negatable, word = word.startswith("!"), word.removeprefix("!")
    optional, word = word.endswith("?"), word.removesuffix("?")
    word, star, number = word.partition("*")
    count = int(mods.get(number or "vec", number or "v1").lstrip("vx")) if star else 1
    vector = count > 1 or bool(number)
    wider, word = word.endswith("~"), word.removesuffix("~")
    word, _, space = word.partition("@")
    if word in {"mem", "label", "table", "imm", "any"}:
        return Kind(word, None, result, optional=optional, space=space or mods.get("space"))
    first, _, second = word.partition("|")
    return Kind(
        "value",
        _type(first, mods),
        result,
        negatable,
        wider,
        optional,
        count,
        vector,
        _type(second, mods) if second else None,
    )


@cache
def find(text: str) -> Opcode | None:
    """The row whose pattern is the whole opcode, or None."""
    found = [
        (row, match)
        for row in ROWS.get(text.partition(".")[0], ())
        if (match := row.pattern.fullmatch(text))
    ]
    if not found:
        return None
    if len(found) > 1:
        raise AssertionError(f"two rows for {text}")
    row, match = found[0]
    mods = {key: value for key, value in match.groupdict().items() if value is not None}
    return Opcode(row, mods, tuple(_kind(word, mods) for word in row.operands))
