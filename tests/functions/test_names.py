"""The names of functions that are made from the primitives' records."""

from __future__ import annotations

import ast
import importlib

import numpy as np
import pytest
import scipy.special
from test_rooms import modules

import graphjit as gj
from graphjit.numpy_protocol.special import SPECIAL
from graphjit.numpy_protocol.ufuncs import UFUNCS
from graphjit.ops import PRIMITIVES, library

RECORDS = [p for p in PRIMITIVES.values() if p.names.public or p.names.ufuncs or p.names.scipy]
ROUTINES = {name: names for name, names in library.SPECIAL.items() if names.public}


@pytest.mark.parametrize("primitive", RECORDS, ids=str)
def test_a_record_makes_the_functions_it_names(primitive) -> None:
    names = primitive.names
    for name in names.public:
        assert getattr(gj, name) is getattr(gj, names.public[0])
        assert getattr(gj, name).__doc__.startswith(names.doc)
    for name in names.ufuncs:
        assert isinstance(getattr(np, name), np.ufunc)
        assert getattr(np, name).nin == primitive.kind.operands
        assert getattr(np, name) in UFUNCS
    for name in names.scipy:
        assert getattr(scipy.special, name).nin == primitive.kind.operands
        assert name in SPECIAL


@pytest.mark.parametrize("name", ROUTINES)
def test_a_routine_of_scipy_makes_the_functions_it_names(name: str) -> None:
    for public in ROUTINES[name].public:
        function = getattr(gj.special, public)
        assert function.__doc__.startswith(ROUTINES[name].doc)
        assert public in gj.special.__all__
        graph = gj.function(function, fallback="error").get_graph(np.ones(2, np.float32))
        assert [dict(n.attrs).get("name") for n in graph.nodes][-1] == name


def test_no_two_records_have_a_name() -> None:
    every = [p.names for p in RECORDS] + list(library.SPECIAL.values())
    for kind in ("public", "ufuncs", "scipy"):
        names = [name for found in every for name in getattr(found, kind)]
        assert len(names) == len(set(names))


def test_names_that_no_type_checker_sees_are_there() -> None:
    """What modules use of those whose functions are made from records."""
    used = set()
    for module_name, path in modules().items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        bound = _bound(tree, module_name.startswith("graphjit.functions."))
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module = bound.get(node.value.id)
                if module is not None:
                    used.add((module, node.attr))
    assert len(used) > 50
    for module, name in used:
        assert hasattr(importlib.import_module(module), name), (module, name)


def _bound(tree: ast.AST, inside: bool) -> dict[str, str]:
    """The names under which a module has `math`, `elementwise` and `special`."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (
            node.module == "graphjit.functions" or (inside and node.module is None)
        ):
            for alias in node.names:
                if alias.name in ("math", "elementwise", "special"):
                    found[alias.asname or alias.name] = f"graphjit.functions.{alias.name}"
    return found
