"""Passes, pipelines and their observers.

A pass is a frozen dataclass; its options are its fields. It rewrites a Graph or a Program, or
converts the one to the other: its `level` says which. A pipeline can be written as text:
"simplify,fold{max_bytes=4096},dce". Observers are called between passes; dumping, timing and
verifying are three of them, and no pass knows them.
"""

from __future__ import annotations

import ast
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any, ClassVar

from graphjit.core.errors import InvalidArgumentError
from graphjit.core.frozen import dataclass
from graphjit.ir.graph import Graph, map_regions, verify
from graphjit.ir.program import Program, map_programs
from graphjit.ir.verify_program import verify_program

# The levels of passes, in order.
GRAPH, CONVERSION, PROGRAM = "graph", "graph to program", "program"
LEVELS = (GRAPH, CONVERSION, PROGRAM)


@dataclass(frozen=True)
class Pass(ABC):
    """Graph -> Graph. Nothing is mutated; an unchanged graph is returned as itself.

    A subclass at another level sets `level`; see `ProgramPass` and `Conversion`.
    """

    name: ClassVar[str] = ""
    level: ClassVar[str] = GRAPH
    inside: ClassVar[bool] = True  # whether it also runs on the programs of steps

    @abstractmethod
    def run(self, value: Any, /) -> Any:
        """The rewritten graph."""

    def __str__(self) -> str:
        options = ", ".join(
            f"{f.name}={getattr(self, f.name)!r}"
            for f in fields(self)
            if getattr(self, f.name) != f.default
        )
        return f"{self.name}{{{options}}}" if options else self.name


class Conversion(Pass):
    """Graph -> Program."""

    level: ClassVar[str] = CONVERSION


class ProgramPass(Pass):
    """Program -> Program. Nothing is mutated; an unchanged program is returned as itself."""

    level: ClassVar[str] = PROGRAM


# Called after each pass with the pass, its input and its result.
Observer = Callable[[Pass, Any, Any], None]


@dataclass(frozen=True)
class Pipeline:
    """Passes in order, of one level or of several in their order.

    Raises InvalidArgumentError where a pass comes after one of a later level.
    """

    passes: tuple[Pass, ...]

    def __post_init__(self) -> None:
        ranks = [LEVELS.index(step.level) for step in self.passes]
        for step, before, rank in zip(self.passes[1:], ranks, ranks[1:], strict=False):
            if rank < before or rank == before == LEVELS.index(CONVERSION):
                raise InvalidArgumentError(
                    f"{step.name} takes a graph, and stands after what makes a program"
                )
            if rank == LEVELS.index(PROGRAM) and before == LEVELS.index(GRAPH):
                raise InvalidArgumentError(
                    f"{step.name} takes a program: it stands after fuse, which makes one"
                )

    def run(self, value: Any, observers: Iterable[Observer] = ()) -> Any:
        """The result of all passes, for a graph or a program."""
        observers = tuple(observers)
        for step in self.passes:
            after = _run_recursively(step, value)
            for observe in observers:
                observe(step, value, after)
            value = after
        return value

    def at(self, *levels: str) -> Pipeline:
        """The passes of these levels."""
        return Pipeline(tuple(step for step in self.passes if step.level in levels))

    def __str__(self) -> str:
        return ",".join(map(str, self.passes))

    @staticmethod
    def parse(text: str, known: dict[str, type[Pass]]) -> Pipeline:
        """The pipeline of a text. Raises InvalidArgumentError for unknown names or options."""
        steps = []
        for item in re.findall(r"[^,{]+(?:\{[^}]*\})?", text):
            match = re.fullmatch(r"\s*([\w-]+)\s*(?:\{([^}]*)\})?\s*", item)
            if match is None or match[1] not in known:
                names = ", ".join(known)
                raise InvalidArgumentError(f"no pass {item.strip()!r}; the passes are {names}")
            try:
                call = ast.parse(f"f({match[2] or ''})", mode="eval").body
                if (
                    not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name))
                    or call.args
                ):
                    raise ValueError("write name=value")
                options = {k.arg or "": ast.literal_eval(k.value) for k in call.keywords}
                steps.append(known[match[1]](**options))
            except (SyntaxError, ValueError, TypeError) as error:
                raise InvalidArgumentError(f"options of {item.strip()!r}: {error}") from error
        return Pipeline(tuple(steps))


def _run_recursively(step: Pass, value: Any) -> Any:
    """The result of a pass, run first on what is inside: regions of nodes, programs of
    steps.
    """
    if isinstance(value, Graph) and step.level == GRAPH:
        value = map_regions(value, lambda region: _run_recursively(step, region))
    elif isinstance(value, Program) and step.inside:
        value = map_programs(value, lambda program: _run_recursively(step, program))
    return step.run(value)


def verifying(step: Pass, before: Any, after: Any) -> None:
    """An observer that verifies each pass's result. Raises InternalError."""
    if isinstance(after, Program):
        verify_program(after, lifetimes=True)
    else:
        verify(after)


def _count_steps(value: Graph | Program) -> int:
    return len(value.steps) if isinstance(value, Program) else len(value)


class Timing:
    """An observer that counts nodes or steps and measures the time between passes [ns]."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, int, int, int]] = []
        self._last = time.perf_counter_ns()

    def __call__(self, step: Pass, before: Any, after: Any) -> None:
        """Note a pass that has just run."""
        now = time.perf_counter_ns()
        self.rows.append(
            (str(step), _count_steps(before), _count_steps(after), now - self._last)
        )
        self._last = time.perf_counter_ns()
