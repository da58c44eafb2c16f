"""Where a function's Python code finds the ndarrays that it reads but isn't given.

They are hidden inputs: looked up again at each call, so that a rebound name is seen. Searched
are closure cells, the globals that the code names, and objects among the arguments (`self`),
through containers and attributes a few levels deep.
"""

from __future__ import annotations

import dis
import types
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Getter = Callable[[], Any]
DEPTH = 4
MOST_OBJECTS = 20_000


def find_captures(
    function: Callable[..., Any], statics: Sequence[Any], arrays: Sequence[Any]
) -> list[Getter | None]:
    """For each array a way to look it up again, or None if only its value is known."""
    if not arrays:
        return []
    wanted = {id(a): n for n, a in enumerate(arrays)}
    found: list[list[Getter]] = [[] for _ in arrays]
    seen: set[int] = set()
    todo: list[tuple[Any, Getter, int]] = [(o, _held(o), 0) for o in statics]
    todo += _of_function(function)
    while todo and len(seen) < MOST_OBJECTS:
        value, getter, depth = todo.pop(0)
        if isinstance(value, np.ndarray):
            number = wanted.get(id(value))
            if number is not None:
                found[number].append(getter)
            continue
        if id(value) in seen or depth >= DEPTH:
            continue
        seen.add(id(value))
        todo += [(v, g, depth + 1) for v, g in _parts(value, getter)]
        if isinstance(value, types.FunctionType):
            todo += [(v, g, depth + 1) for v, g, _ in _of_function(value)]
    return [_agreed(getters) if getters else None for getters in found]


def with_captures(
    function: Callable[..., Any], capture: Callable[[np.ndarray[Any, Any]], Any]
) -> Callable[..., Any]:
    """The function with what `capture` gives in place of the ndarrays that it names.

    NumPy's functions of such an array alone are then traced, and not computed once while
    tracing. Names that the function assigns to are left alone.
    """
    if isinstance(function, types.MethodType):
        return types.MethodType(with_captures(function.__func__, capture), function.__self__)
    if not isinstance(function, types.FunctionType):
        return function
    code, names = function.__code__, function.__globals__
    assigned = _assigned(code)

    def replaced(name: str, value: Any) -> Any:
        plain = type(value) is np.ndarray and value.dtype.kind in "biufc"
        return capture(value) if plain and name not in assigned else value

    found = {n: replaced(n, names[n]) for n in _names(code) if n in names}
    if _assigned(code, _GLOBAL_ASSIGNMENTS):  # they would go to the copy of the globals
        found = {}
    cells = []
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = replaced(name, cell.cell_contents)
        except ValueError:  # a name not yet bound
            value = cell
        else:
            value = cell if value is cell.cell_contents else types.CellType(value)
        cells.append(value)
    copy = types.FunctionType(
        code,
        names if all(v is names[n] for n, v in found.items()) else {**names, **found},
        function.__name__,
        function.__defaults__,
        tuple(cells) if function.__closure__ else None,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def _assigned(code: types.CodeType, operations: tuple[str, ...] = ()) -> set[str]:
    """The global and free names that the code, or code inside it, assigns to."""
    found = {
        instruction.argval
        for instruction in dis.get_instructions(code)
        if instruction.opname in (operations or _ASSIGNMENTS)
    }
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _assigned(constant, operations)
    return found


_GLOBAL_ASSIGNMENTS = ("STORE_GLOBAL", "DELETE_GLOBAL")
_ASSIGNMENTS = (*_GLOBAL_ASSIGNMENTS, "STORE_DEREF", "DELETE_DEREF")


def _agreed(getters: list[Getter]) -> Getter:
    """What all the getters give; None once they differ, for the trace holds no longer."""
    if len(getters) == 1:
        return getters[0]

    def get() -> Any:
        value = getters[0]()
        return value if all(getter() is value for getter in getters) else None

    return get


def _constant(value: Any) -> Getter:
    return lambda: value


def _held(value: Any) -> Getter:
    """The object, not kept alive where it can be referred to weakly; then None once it died."""
    try:
        return weakref.ref(value)
    except TypeError:
        return _constant(value)


def _of_function(function: Any) -> list[tuple[Any, Getter, int]]:
    """Values of a function's closure cells and of the globals it names."""
    function = getattr(function, "python_function", function)
    if isinstance(function, types.MethodType):
        owner = function.__self__
        return [(owner, _held(owner), 0), *_of_function(function.__func__)]
    if not isinstance(function, types.FunctionType):
        return []
    found: list[tuple[Any, Getter, int]] = []
    for cell in function.__closure__ or ():
        try:
            found.append((cell.cell_contents, _cell_getter(cell), 0))
        except ValueError:  # a name not yet bound
            continue
    names = function.__globals__
    for name in _names(function.__code__):
        if name in names:
            found.append((names[name], _item_getter(_constant(names), name), 0))
    return found


def named_in(function: Any) -> set[str]:
    """The globals and attributes that a function's code names."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return set(_names(code)) if isinstance(code, types.CodeType) else set()


def function_state(
    function: Any,
) -> tuple[dict[str, Any], list[str], list[tuple[Any, Any]]]:
    """A function's globals, those it names, and its closure cells with what they hold."""
    function = getattr(function, "__func__", function)
    if not isinstance(function, types.FunctionType):
        return {}, [], []
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append((cell, cell.cell_contents))
        except ValueError:  # a name not yet bound
            continue
    return function.__globals__, list(dict.fromkeys(_names(function.__code__))), cells


def _names(code: types.CodeType) -> list[str]:
    result = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            result += _names(constant)
    return result


def _cell_getter(cell: Any) -> Getter:
    return lambda: cell.cell_contents


def _item_getter(parent: Getter, key: Any) -> Getter:
    def get() -> Any:
        try:
            return parent()[key]
        except (KeyError, IndexError, TypeError):
            return None

    return get


def _attribute_getter(parent: Getter, name: str) -> Getter:
    return lambda: getattr(parent(), name, None)


def _parts(value: Any, getter: Getter) -> list[tuple[Any, Getter]]:
    if isinstance(value, dict):
        return [(v, _item_getter(getter, k)) for k, v in list(value.items())[:1000]]
    if isinstance(value, (list, tuple)):
        return [(v, _item_getter(getter, k)) for k, v in enumerate(value[:1000])]
    if isinstance(value, (types.ModuleType, type, str, bytes, int, float)):
        return []
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict):
        return [(v, _attribute_getter(getter, k)) for k, v in list(attributes.items())]
    return []
