"""Pass, Pipeline and what may watch one run.

A pass is a frozen dataclass; its options are its fields. A pipeline is text too:
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
from typing import ClassVar

from graphjit.core.errors import InvalidArgumentError
from graphjit.core.frozen import dataclass
from graphjit.ir.graph import Graph, verify

Observer = Callable[["Pass", Graph, Graph], None]


@dataclass(frozen=True)
class Pass(ABC):
    """Graph -> Graph. Nothing is mutated; an unchanged graph is returned as itself."""

    name: ClassVar[str] = ""

    @abstractmethod
    def run(self, graph: Graph) -> Graph:
        """The rewritten graph."""

    def __str__(self) -> str:
        options = ", ".join(
            f"{f.name}={getattr(self, f.name)!r}"
            for f in fields(self)
            if getattr(self, f.name) != f.default
        )
        return f"{self.name}{{{options}}}" if options else self.name


@dataclass(frozen=True)
class Pipeline:
    """Passes in order."""

    passes: tuple[Pass, ...]

    def run(self, graph: Graph, observers: Iterable[Observer] = ()) -> Graph:
        """The graph after all passes."""
        observers = tuple(observers)
        for step in self.passes:
            after = step.run(graph)
            for observe in observers:
                observe(step, graph, after)
            graph = after
        return graph

    def __str__(self) -> str:
        return ",".join(map(str, self.passes))

    @staticmethod
    def parse(text: str, known: dict[str, type[Pass]]) -> Pipeline:
        """The pipeline that a text means; InvalidArgumentError for unknown names or options."""
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


def verifying(step: Pass, before: Graph, after: Graph) -> None:
    """An observer that checks each pass's result."""
    verify(after)


class Timing:
    """An observer that counts nodes and takes the time between passes [ns]."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, int, int, int]] = []
        self._last = time.perf_counter_ns()

    def __call__(self, step: Pass, before: Graph, after: Graph) -> None:
        """Note a pass that has just run."""
        now = time.perf_counter_ns()
        self.rows.append((str(step), len(before), len(after), now - self._last))
        self._last = time.perf_counter_ns()
