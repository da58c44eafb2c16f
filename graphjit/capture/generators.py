"""Random generators of NumPy and Python, and what each call draws of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from graphjit.core.errors import NeedsPython
from graphjit.core.frozen import dataclass

from .sources import MAX_INTEGER, Source

Array = np.ndarray[Any, np.dtype[Any]]

_DTYPES: Final = {int: np.dtype("int64"), float: np.dtype("float64")}


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """One call of a generator's method.

    source: of the generator. draw: what is called with it. kinds: of each array, number or item
    of a list that comes of it: its type, dtype and shape. length: of a list, else -1.
    """

    source: Source
    draw: Callable[[Any], Any]
    kinds: tuple[tuple[type, Any, tuple[int, ...]], ...]
    length: int

    def __call__(self, generator: Any) -> list[Array]:
        """The arrays. NeedsPython where they are others than those of the trace."""
        length, found = values_of(self.draw(generator))
        if length != self.length or [kind_of(x) for x in found] != list(self.kinds):
            raise NeedsPython
        return [np.asarray(x, _DTYPES.get(type(x))) for x in found]


def values_of(value: Any) -> tuple[int, list[Any]]:
    """The length of a list, or -1, and what is drawn."""
    if value is None:
        return -1, []
    return (len(value), value) if type(value) is list else (-1, [value])


def kind_of(value: Any) -> tuple[type, Any, tuple[int, ...]] | None:
    """What must be the same at each call of what is drawn; None where it can't be an input."""
    kind = type(value)
    if kind is np.ndarray or (isinstance(value, np.generic) and value.dtype.kind in "biufc"):
        return (kind, value.dtype, value.shape) if value.dtype.kind in "biufc" else None
    fits = kind is float or (kind is int and abs(value) <= MAX_INTEGER)
    return (kind, None, ()) if fits else None


@dataclass(frozen=True, slots=True, eq=False)
class GeneratorState:
    """How the state of a generator is read and put back."""

    generator: Any
    before: Any

    def restore(self) -> None:
        """Put the state back."""
        if isinstance(self.generator, np.random.Generator):
            self.generator.bit_generator.state = self.before
        elif isinstance(self.generator, np.random.RandomState):
            self.generator.set_state(self.before)
        else:
            self.generator.setstate(self.before)


def state_of(generator: Any) -> GeneratorState:
    """The state of a generator."""
    if isinstance(generator, np.random.Generator):
        return GeneratorState(generator, generator.bit_generator.state)
    if isinstance(generator, np.random.RandomState):
        return GeneratorState(generator, generator.get_state(legacy=False))
    return GeneratorState(generator, generator.getstate())


def is_generator(value: Any) -> bool:
    """Whether a value is a random generator that can be followed."""
    kind = type(value)
    if kind.__name__ not in ("Generator", "RandomState", "Random"):
        return False
    numpy_random, python_random = sys.modules.get("numpy.random"), sys.modules.get("random")
    kinds = []
    if numpy_random is not None:
        kinds += [numpy_random.Generator, numpy_random.RandomState]
    if python_random is not None:
        kinds.append(python_random.Random)
    return any(kind is k for k in kinds)


__all__ = ["Draw", "GeneratorState", "is_generator", "kind_of", "state_of", "values_of"]
