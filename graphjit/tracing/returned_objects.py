"""Where objects that a function returns can be looked up again, found by searching.

Searched are closure cells, the globals that the code names, and objects among the arguments
(`self`), through containers and attributes a few levels deep.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.capture.sources import (
    AttributeSource,
    CellSource,
    ConstSource,
    ItemSource,
    Source,
    agreed,
    lasting_source,
)
from graphjit.core.static_lookup import own_attributes, python_function

from .code_names import names_in

DEPTH = 4
MAX_OBJECTS = 20_000


def find_sources(
    function: Callable[..., Any], statics: Sequence[Any], objects: Sequence[Any]
) -> list[Source | None]:
    """For each object the source by which a call looks it up; None where there is none."""
    if not objects:
        return []
    found: dict[int, list[Source]] = {id(x): [] for x in objects}
    seen: set[int] = set()
    todo: list[tuple[Any, Source, int]] = [(o, lasting_source(o), 0) for o in statics]
    todo += _function_values(function)
    while todo and len(seen) < MAX_OBJECTS:
        value, source, depth = todo.pop(0)
        if id(value) in found:
            found[id(value)].append(source)
        if isinstance(value, np.ndarray):
            continue
        if id(value) in seen or depth >= DEPTH:
            continue
        seen.add(id(value))
        todo += [(v, g, depth + 1) for v, g in _children(value, source)]
        if isinstance(value, types.FunctionType):
            todo += [(v, g, depth + 1) for v, g, _ in _function_values(value)]
    return [agreed(found[id(x)]) for x in objects]


def _function_values(function: Any) -> list[tuple[Any, Source, int]]:
    """Values of a function's closure cells, its defaults and the globals it names."""
    function = python_function(function)
    if isinstance(function, types.MethodType):
        owner = function.__self__
        return [(owner, lasting_source(owner), 0), *_function_values(function.__func__)]
    if not isinstance(function, types.FunctionType):
        return []
    found: list[tuple[Any, Source, int]] = []
    for cell in function.__closure__ or ():
        try:
            found.append((cell.cell_contents, CellSource(cell), 0))
        except ValueError:  # a name not yet bound
            continue
    defaults = AttributeSource(ConstSource(function), "__defaults__")
    found += [
        (x, ItemSource(defaults, k), 0) for k, x in enumerate(function.__defaults__ or ())
    ]
    keywords = AttributeSource(ConstSource(function), "__kwdefaults__")
    found += [
        (x, ItemSource(keywords, k), 0) for k, x in (function.__kwdefaults__ or {}).items()
    ]
    names = function.__globals__
    for name in names_in(function.__code__):
        if name in names:
            found.append((names[name], ItemSource(ConstSource(names), name), 0))
    return found


def _children(value: Any, source: Source) -> list[tuple[Any, Source]]:
    if isinstance(value, dict):
        return [(v, ItemSource(source, k)) for k, v in list(value.items())[:1000]]
    if isinstance(value, (list, tuple)):
        return [(v, ItemSource(source, k)) for k, v in enumerate(value[:1000])]
    if isinstance(value, (types.ModuleType, type, str, bytes, int, float)):
        return []
    attributes = own_attributes(value)
    return [(v, AttributeSource(source, k)) for k, v in list(attributes.items())]


__all__ = ["find_sources"]
