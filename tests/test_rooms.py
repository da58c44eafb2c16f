"""The package's import graph: modules that import each other in a circle, with the reasons.

`.ci/imports` checks who may import whom. Imports inside functions and those for types count
here as there.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import networkx as nx

import graphjit as gj
from graphjit import codegen, passes

# Circles that stay, each with its reason.
ALLOWED = {
    frozenset({
        "graphjit.ir.graph", "graphjit.ir.text", "graphjit.ir.graph_json",
        "graphjit.ir.drawing",
    }): (
        "a Graph has methods that print, parse and draw it; what they need is imported then"
    ),
    frozenset({
        "graphjit.codegen.ptx.emit", "graphjit.codegen.ptx.product_emitter",
        "graphjit.codegen.ptx.tensor_cores",
    }): "for types: the parts of a kernel are written for the emitter that they are given",
}  # fmt: skip


def modules() -> dict[str, Path]:
    """The package's modules by name."""
    tops = {
        "graphjit": Path(gj.__file__).parent,
        "graphjit.passes": Path(passes.__path__[0]),
        "graphjit.codegen": Path(codegen.__path__[0]),
    }
    found = {}
    for name, top in tops.items():
        for path in top.rglob("*.py"):
            parts = [name, *path.relative_to(top).with_suffix("").parts]
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imported(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The package's modules that a module imports anywhere in its text."""
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - max(0, node.level - 1)]
            base = ".".join([*(parts if node.level else []), *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in known else base)
    return (found & set(known)) - {name, "graphjit"}


def test_modules_import_each_other_in_no_circle_but_for_a_reason() -> None:
    known = modules()
    graph = nx.DiGraph(
        (name, other) for name, path in known.items() for other in imported(name, path, known)
    )
    circles = {frozenset(c) for c in nx.strongly_connected_components(graph) if len(c) > 1}
    assert circles == set(ALLOWED)


def test_no_module_inside_uses_the_public_names() -> None:
    for name, path in modules().items():
        if name == "graphjit":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert "graphjit" not in {alias.name for alias in node.names}, name


def test_a_checkout_and_an_install_have_the_same_modules() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    packages = {name for name, path in modules().items() if path.stem == "__init__"}
    for name in packages:
        assert f'"{name}"' in text, f"pyproject.toml lists no package {name}"


def test_the_architecture_page_lists_every_module() -> None:
    page = (Path(__file__).parents[1] / "docs/internals/architecture.md").read_text("utf-8")
    listed: set[str] = set()
    for line in page.splitlines():
        cells = line.split("|")
        if len(cells) == 4:  # a row of a table of modules, which are in the first column
            listed |= {
                name.rpartition(".")[2]
                for name in re.findall(r"`([\w.]+?)(?:\.py)?`", cells[1])
            }
    for name, path in modules().items():
        if path.stem not in ("__init__", "__main__") and name.count(".") > 1:
            assert path.stem in listed, f"{name} has no row in docs/internals/architecture.md"
