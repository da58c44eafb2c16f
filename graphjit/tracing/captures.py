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

from graphjit.core.frozen import dataclass
from graphjit.core.static_lookup import (
    attribute,
    code_of,
    own_attributes,
    python_function,
    underlying,
)

DEPTH = 4
MAX_OBJECTS = 20_000


class Source:
    """A way to look a value up again: calling it gives the value now, None if there is none."""

    __slots__ = ()

    def __call__(self) -> Any:
        """The value now."""
        return self._now()

    def _now(self) -> Any:
        raise NotImplementedError


@dataclass(frozen=True, slots=True, eq=False)
class ConstSource(Source):
    """Always the same object."""

    value: Any

    def _now(self) -> Any:
        return self.value


@dataclass(frozen=True, slots=True, eq=False)
class WeakRefSource(Source):
    """An object that is not kept alive."""

    reference: weakref.ref[Any]

    def _now(self) -> Any:
        return self.reference()


@dataclass(frozen=True, slots=True, eq=False)
class CellSource(Source):
    """What a closure's cell holds."""

    cell: types.CellType

    def _now(self) -> Any:
        try:
            return self.cell.cell_contents
        except ValueError:  # a name that was deleted
            return None


@dataclass(frozen=True, slots=True, eq=False)
class ItemSource(Source):
    """An item of a container."""

    parent: Source
    key: Any

    def _now(self) -> Any:
        try:
            return self.parent()[self.key]
        except (KeyError, IndexError, TypeError):
            return None


@dataclass(frozen=True, slots=True, eq=False)
class AttributeSource(Source):
    """An attribute of an object."""

    parent: Source
    name: str

    def _now(self) -> Any:
        owner = self.parent()
        return attribute(owner, self.name)


@dataclass(frozen=True, slots=True, eq=False)
class ConsensusSource(Source):
    """What several sources agree on; None once they differ, for the trace holds no longer."""

    sources: tuple[Source, ...]

    def _now(self) -> Any:
        value = self.sources[0]()
        return value if all(source() is value for source in self.sources) else None


def find_captures(
    function: Callable[..., Any], statics: Sequence[Any], objects: Sequence[Any]
) -> list[Source | None]:
    """For each array or other object a way to look it up again, or None if only its value is
    known.
    """
    if not objects:
        return []
    wanted = {id(x): n for n, x in enumerate(objects)}
    found: list[list[Source]] = [[] for _ in objects]
    seen: set[int] = set()
    todo: list[tuple[Any, Source, int]] = [(o, _held(o), 0) for o in statics]
    todo += _of_function(function)
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
        todo += [(v, g, depth + 1) for v, g in _parts(value, source)]
        if isinstance(value, types.FunctionType):
            todo += [(v, g, depth + 1) for v, g, _ in _of_function(value)]
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
    defaults, keywords = function.__defaults__, function.__kwdefaults__
    copy = types.FunctionType(
        code,
        names if all(v is names[n] for n, v in found.items()) else {**names, **found},
        function.__name__,
        defaults and tuple(replaced("", value) for value in defaults),
        tuple(cells) if function.__closure__ else None,
    )
    copy.__kwdefaults__ = keywords and {n: replaced("", v) for n, v in keywords.items()}
    return copy


def _assigned(code: types.CodeType, operations: tuple[str, ...] = ()) -> set[str]:
    """The global and free names that the code, or code inside it, assigns to."""
    found = set()
    # to take all instructions of a long function apart takes longer than to trace it
    wanted = {dis.opmap[name] for name in operations or _ASSIGNMENTS if name in dis.opmap}
    if not wanted.isdisjoint(code.co_code[::2]):
        found = {i.argval for i in dis.get_instructions(code) if i.opcode in wanted}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _assigned(constant, operations)
    return found


_GLOBAL_ASSIGNMENTS = ("STORE_GLOBAL", "DELETE_GLOBAL")
_ASSIGNMENTS = (*_GLOBAL_ASSIGNMENTS, "STORE_DEREF", "DELETE_DEREF")


def _held(value: Any) -> Source:
    """The object, not kept alive where it can be referred to weakly; then None once it died."""
    try:
        return WeakRefSource(weakref.ref(value))
    except TypeError:
        return ConstSource(value)


def _of_function(function: Any) -> list[tuple[Any, Source, int]]:
    """Values of a function's closure cells, its defaults and the globals it names."""
    function = python_function(function)
    if isinstance(function, types.MethodType):
        owner = function.__self__
        return [(owner, _held(owner), 0), *_of_function(function.__func__)]
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
    for name in _names(function.__code__):
        if name in names:
            found.append((names[name], ItemSource(ConstSource(names), name), 0))
    return found


def named_in(function: Any) -> set[str]:
    """The globals and attributes that a function's code names."""
    code = code_of(function)
    return set(_names(code)) if code is not None else set()


def loads_global(function: Any, name: str) -> bool:
    """Whether a function's code, or code inside it, reads a global or builtin of this name."""
    code = code_of(function)
    return code is not None and _loads_global(code, name)


def _loads_global(code: types.CodeType, name: str) -> bool:
    return (
        name in code.co_names
        and any(
            i.opname == "LOAD_GLOBAL" and i.argval == name for i in dis.get_instructions(code)
        )
    ) or any(_loads_global(c, name) for c in code.co_consts if isinstance(c, types.CodeType))


def asks_type(code: types.CodeType, kinds: set[str]) -> bool:
    """Whether code, or code inside it, compares what the builtin `type` gives with one of these
    types.
    """
    inner = (c for c in code.co_consts if isinstance(c, types.CodeType))
    if any(asks_type(c, kinds) for c in inner):
        return True
    if "type" not in code.co_names or kinds.isdisjoint(code.co_names):
        return False
    found = list(dis.get_instructions(code))
    for place, instruction in enumerate(found):
        if instruction.opname != "LOAD_GLOBAL" or instruction.argval != "type":
            continue
        following = found[place + 1 : place + _NEAR]
        end = next((k for k, i in enumerate(following) if _is_use(i)), len(following))
        if end == len(following) or following[end].opname not in _USES:
            continue
        before, after = found[max(place - 1, 0) : place], following[:end]
        near = {i.argval for i in (*before, *after) if i.opname in _LOADS}
        if not kinds.isdisjoint(near):
            return True
    return False


# So many instructions after `type` it is looked for what becomes of it.
_NEAR = 16
_USES = ("IS_OP", "COMPARE_OP", "CONTAINS_OP")
_LOADS = ("LOAD_GLOBAL", "LOAD_ATTR", "LOAD_NAME", "LOAD_METHOD")


def _is_use(instruction: dis.Instruction) -> bool:
    """Whether an instruction compares a value, or ends what is near."""
    name = instruction.opname
    again = name == "LOAD_GLOBAL" and instruction.argval == "type"
    return again or name in _USES or name.startswith(("STORE", "RETURN", "POP_JUMP"))


def function_state(
    function: Any,
) -> tuple[dict[str, Any], list[str], list[tuple[Any, Any]]]:
    """A function's globals, those it names, and its closure cells with what they hold."""
    function = underlying(function)
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


def _parts(value: Any, source: Source) -> list[tuple[Any, Source]]:
    if isinstance(value, dict):
        return [(v, ItemSource(source, k)) for k, v in list(value.items())[:1000]]
    if isinstance(value, (list, tuple)):
        return [(v, ItemSource(source, k)) for k, v in enumerate(value[:1000])]
    if isinstance(value, (types.ModuleType, type, str, bytes, int, float)):
        return []
    attributes = own_attributes(value)
    return [(v, AttributeSource(source, k)) for k, v in list(attributes.items())]
