"""Golden files: a sentence, `--- before`, a graph, `--- after`, what is made of it.

With GRAPHJIT_UPDATE_GOLDEN=1 (`make golden`) the part after `--- after` is written anew; read
the difference line by line before keeping it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from graphjit.ir.graph import Graph, verify

FOLDER = Path(__file__).parents[1] / "golden"
UPDATE = bool(os.environ.get("GRAPHJIT_UPDATE_GOLDEN"))


def cases(name: str) -> list[str]:
    """The cases of a folder, `<folder>/<case>`."""
    return sorted(f"{name}/{path.stem}" for path in (FOLDER / name).glob("*.txt"))


def before(case: str) -> Graph:
    """The graph that a case starts from."""
    text = (FOLDER / f"{case}.txt").read_text(encoding="utf-8")
    graph = Graph.parse(text.partition("--- before\n")[2].partition("--- after\n")[0])
    verify(graph)
    return graph


def check(case: str, make: Callable[[Graph], str]) -> None:
    """Fail unless `make` gives the case's text, or write what it gives."""
    path = FOLDER / f"{case}.txt"
    head, mark, after = path.read_text(encoding="utf-8").partition("--- after\n")
    made = make(before(case)) + "\n"
    if UPDATE:
        path.write_text(f"{head}--- after\n{made}", encoding="utf-8")
    else:
        assert mark and made == after
