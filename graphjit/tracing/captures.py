"""Captures: ndarrays that a function's Python code reads without being given them.

They are inputs of the graph, and are looked up again at each call, so that a rebound name is
seen. Searched are closure cells, the globals that the code names, and objects among the
arguments (`self`), through containers and attributes a few levels deep.
"""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.core.frozen import dataclass
from graphjit.core.static_lookup import attribute, own_attributes, python_function

from .code_names import GLOBAL_ASSIGNMENTS, assigned_names, names_in

DEPTH = 4
MAX_OBJECTS = 20_000


class Source:
    """A way to look a value up again. Calling it gives the value now, None if there is none."""

    __slots__ = ()

    def __call__(self) -> Any:
        """The value now."""
        return self._read()

    def _read(self) -> Any:
        raise NotImplementedError


@dataclass(frozen=True, slots=True, eq=False)
class ConstSource(Source):
    """Always the same object."""

    value: Any

    def _read(self) -> Any:
        return self.value


@dataclass(frozen=True, slots=True, eq=False)
class WeakRefSource(Source):
    """An object that is not kept alive."""

    reference: weakref.ref[Any]

    def _read(self) -> Any:
        return self.reference()


@dataclass(frozen=True, slots=True, eq=False)
class CellSource(Source):
    """What a closure's cell holds."""

    cell: types.CellType

    def _read(self) -> Any:
        try:
            return self.cell.cell_contents
        except ValueError:  # a name that was deleted
            return None


@dataclass(frozen=True, slots=True, eq=False)
class ItemSource(Source):
    """An item of a container."""

    parent: Source
    key: Any

    def _read(self) -> Any:
        try:
            return self.parent()[self.key]
        except (KeyError, IndexError, TypeError):
            return None


@dataclass(frozen=True, slots=True, eq=False)
class AttributeSource(Source):
    """An attribute of an object."""

    parent: Source
    name: str

    def _read(self) -> Any:
        return attribute(self.parent(), self.name)


@dataclass(frozen=True, slots=True, eq=False)
class ConsensusSource(Source):
    """What several sources agree on. Once they differ it is None, and the trace isn't valid."""

    sources: tuple[Source, ...]

    def _read(self) -> Any:
        value = self.sources[0]()
        return value if all(source() is value for source in self.sources) else None


def find_captures(
    function: Callable[..., Any], statics: Sequence[Any], objects: Sequence[Any]
) -> list[Source | None]:
    """For each object the source by which a call looks it up; None where there is none."""
    if not objects:
        return []
    wanted = {id(x): n for n, x in enumerate(objects)}
    found: list[list[Source]] = [[] for _ in objects]
    seen: set[int] = set()
    todo: list[tuple[Any, Source, int]] = [(o, _source_of(o), 0) for o in statics]
    todo += _function_values(function)
    while todo and len(seen) < MAX_OBJECTS:
        value, source, depth = todo.pop(0)
        number = wanted.get(id(value))
        if number is not None:
            found[number].append(source)
        if isinstance(value, np.ndarray):
            continue
        if id(value) in seen or depth >= DEPTH:
            continue
        seen.add(id(value))
        todo += [(v, g, depth + 1) for v, g in _children(value, source)]
        if isinstance(value, types.FunctionType):
            todo += [(v, g, depth + 1) for v, g, _ in _function_values(value)]
    return [
        None
        if not sources
        else sources[0]
        if len(sources) == 1
        else ConsensusSource(tuple(sources))
        for sources in found
    ]


def with_captures(
    function: Callable[..., Any], capture: Callable[[np.ndarray[Any, Any]], Any]
) -> Callable[..., Any]:
    """The function with other values for the ndarrays that it names: what `capture` gives.

    NumPy's functions of such an array alone are then traced, and not computed once while
    tracing. Names that the function assigns to keep their values.
    """
    if isinstance(function, types.MethodType):
        return types.MethodType(with_captures(function.__func__, capture), function.__self__)
    if not isinstance(function, types.FunctionType):
        return function
    code, names = function.__code__, function.__globals__
    assigned = assigned_names(code)

    def replace(name: str, value: Any) -> Any:
        plain = type(value) is np.ndarray and value.dtype.kind in "biufc"
        return capture(value) if plain and name not in assigned else value

    found = {n: replace(n, names[n]) for n in names_in(code) if n in names}
    if assigned_names(code, GLOBAL_ASSIGNMENTS):  # they would go to the copy of the globals
        found = {}
    cells = []
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = replace(name, cell.cell_contents)
        except ValueError:  # a name not yet bound
            value = cell
        else:
            value = cell if value is cell.cell_contents else types.CellType(value)
        cells.append(value)
    defaults, keywords = function.__defaults__, function.__kwdefaults__
    copy = types.FunctionType(
        code,
        names if all(v is names[n] for n, v in found.items()) else {**names, **found},
        function.__name__,
        defaults and tuple(replace("", value) for value in defaults),
        tuple(cells) if function.__closure__ else None,
    )
    copy.__kwdefaults__ = keywords and {n: replace("", v) for n, v in keywords.items()}
    return copy


def _source_of(value: Any) -> Source:
    """A source of the object itself, which doesn't keep it alive where that can be."""
    try:
        return WeakRefSource(weakref.ref(value))
    except TypeError:
        return ConstSource(value)


def _function_values(function: Any) -> list[tuple[Any, Source, int]]:
    """Values of a function's closure cells, its defaults and the globals it names."""
    function = python_function(function)
    if isinstance(function, types.MethodType):
        owner = function.__self__
        return [(owner, _source_of(owner), 0), *_function_values(function.__func__)]
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


__all__ = [
    "AttributeSource", "CellSource", "ConsensusSource", "ConstSource", "ItemSource", "Source",
    "WeakRefSource", "find_captures", "with_captures",
]  # fmt: skip
