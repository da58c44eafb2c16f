"""What a traced function can reach besides its arguments, as it was before the trace.

A value that is stored on `self`, in a global or in a list outside outlives the call; a traced
one must not be left there. Random generators that the function draws from would give their
first numbers for ever. Both are found after the trace, and what was changed is put back, so
that the function can run eagerly from where it started.
"""

from __future__ import annotations

import random
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .hidden import function_state
from .trace import holds_traced

DEPTH = 3
MOST_OBJECTS = 2_000
_ABSENT = object()


class Surroundings:
    """Containers and generators in reach of a function, with their contents at the start."""

    def __init__(self, function: Callable[..., Any], statics: Sequence[Any]) -> None:
        self._globals, names, self._cells = function_state(function)
        self._named = {n: self._globals.get(n, _ABSENT) for n in names}
        self._dicts: list[tuple[dict[Any, Any], dict[Any, Any]]] = []
        self._lists: list[tuple[list[Any], list[Any]]] = []
        self._generators: list[tuple[Any, Any]] = []
        self._walk([*statics, *self._named.values(), *(held for _, held in self._cells)])
        self._python_state = random.getstate()
        self._numpy_state = np.random.get_state(legacy=False) if _numpy_random() else None

    def _walk(self, start: list[Any]) -> None:
        kinds = (np.random.Generator, np.random.RandomState) if _numpy_random() else ()
        todo = [(value, 0) for value in start]
        seen: set[int] = set()
        while todo and len(seen) < MOST_OBJECTS:
            value, depth = todo.pop(0)
            if id(value) in seen or depth > DEPTH:
                continue
            seen.add(id(value))
            if isinstance(value, kinds):
                self._generators.append((value, _state(value)))
            elif isinstance(value, list):
                self._lists.append((value, list(value)))
                todo += [(item, depth + 1) for item in value[:100]]
            elif isinstance(value, dict):
                self._dicts.append((value, dict(value)))
                todo += [(item, depth + 1) for item in list(value.values())[:100]]
            elif not isinstance(value, (types.ModuleType, type, types.FunctionType)):
                attributes = getattr(value, "__dict__", None)
                if isinstance(attributes, dict):
                    todo.append((attributes, depth))

    def problem(self) -> str:
        """What the trace left behind that a compiled call would not, or an empty string."""
        was = [*self._named.values(), *(held for _, held in self._cells)]
        stored = [self._globals.get(name) for name in self._named]
        stored += [held for cell, _ in self._cells for held in _content(cell)]
        for names, before in self._dicts:
            was += before.values()
            stored += names.values()
        for items, former in self._lists:
            was += former
            stored += items
        known = {id(x) for x in was}
        if any(holds_traced(x) for x in stored if id(x) not in known):
            return "stores a traced value where it outlives the call"
        drawn = any(not _equal(_state(g), before) for g, before in self._generators)
        drawn |= random.getstate() != self._python_state
        if _numpy_random():
            if self._numpy_state is None:
                self._numpy_state = _state_when_loaded()
            drawn |= not _equal(np.random.get_state(legacy=False), self._numpy_state)
        if drawn:
            return "draws random numbers, which compiled code would repeat"
        return ""

    def restore(self) -> None:
        """Put back what was there."""
        for name, value in self._named.items():
            if value is not _ABSENT:
                self._globals[name] = value
            else:
                self._globals.pop(name, None)
        for names, before in self._dicts:
            names.clear()
            names.update(before)
        for items, former in self._lists:
            items[:] = former
        for cell, held in self._cells:
            cell.cell_contents = held
        for generator, state in self._generators:
            if isinstance(generator, np.random.Generator):
                generator.bit_generator.state = state
            else:
                generator.set_state(state)
        if self._numpy_state is not None:
            np.random.set_state(self._numpy_state)
        random.setstate(self._python_state)


def _numpy_random() -> bool:
    """Whether NumPy's generators are loaded. NumPy loads them when they are first used, and
    before that there are none; to load them here would take a tenth of a first call.
    """
    return "numpy.random" in sys.modules


def _state_when_loaded() -> Any:
    """The state of NumPy's own generator as it was when NumPy made it."""
    seed: Any = np.random.get_bit_generator().seed_seq  # type: ignore[attr-defined]
    return np.random.RandomState(np.random.MT19937(seed)).get_state(legacy=False)


def _content(cell: Any) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:  # a name no longer bound
        return []


def _state(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.get_state(legacy=False)


def _equal(left: Any, right: Any) -> bool:
    """Whether two states, nested as NumPy and Python nest them, are the same."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_equal(v, right[k]) for k, v in left.items())
    if isinstance(left, tuple):
        return len(left) == len(right) and all(map(_equal, left, right))
    return bool(np.array_equal(left, right))
