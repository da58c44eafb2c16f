"""One call of the sweep over NumPy's functions, and what it gives."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphjit.core.errors import TracingError


@dataclass
class Case:
    """One call: the arrays among its arguments and options are traced, all else is static."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    fill: str
    leaves: list[Any] = field(default_factory=list)
    rules: tuple[str, ...] = ()
    exact: bool = False
    length: int = 1
    steps: int = 1
    eps: float = 0.0

    def __post_init__(self) -> None:
        self.arguments = self._lift(self.arguments)
        self.options = self._lift(self.options)

    def _lift(self, value: Any) -> Any:
        if isinstance(value, Weak) or (isinstance(value, np.ndarray) and value.dtype != object):
            self.leaves.append(value.value if isinstance(value, Weak) else value)
            return Slot(len(self.leaves) - 1)
        if type(value) in (list, tuple):
            return type(value)(self._lift(v) for v in value)
        if type(value) is dict:
            return {k: self._lift(v) for k, v in value.items()}
        return value

    def call(self, leaves: Sequence[Any]) -> Any:
        """The result for these leaves."""
        return self.function(*filled(self.arguments, leaves), **filled(self.options, leaves))

    def __str__(self) -> str:
        def text(value: Any) -> str:
            if isinstance(value, Slot):
                leaf = self.leaves[value.number]
                if not isinstance(leaf, np.ndarray):
                    return f"<{leaf!r}>"
                return f"{leaf.dtype}{list(leaf.shape)}"
            if type(value) in (list, tuple):
                return "[" + ", ".join(map(text, value)) + "]"
            return repr(value)

        parts = [text(a) for a in self.arguments]
        parts += [f"{k}={text(v)}" for k, v in self.options.items()]
        return f"{self.name}({', '.join(parts)}) of {self.fill}"


@dataclass(frozen=True)
class Slot:
    """The place of a traced leaf."""

    number: int


@dataclass(frozen=True)
class Weak:
    """A Python number that is traced, not static."""

    value: Any


def filled(value: Any, leaves: Sequence[Any]) -> Any:
    if isinstance(value, Slot):
        return leaves[value.number]
    if type(value) in (list, tuple):
        return type(value)(filled(v, leaves) for v in value)
    if type(value) is dict:
        return {k: filled(v, leaves) for k, v in value.items()}
    return value


class Raised:
    """An exception, by the classes that it is: built-in ones and NumPy's public ones."""

    def __init__(self, error: BaseException) -> None:
        self.kinds = tuple(k for k in type(error).__mro__ if _is_public(k))
        self.text = str(error).split("\n")[0]

    def __repr__(self) -> str:
        return f"{self.kinds[0].__name__}: {self.text[:90]}"


def _is_public(kind: type) -> bool:
    """Whether code may name this class of exceptions: NumPy has some of its own use."""
    homes = (np.exceptions, np.linalg)
    known = kind.__module__ == "builtins" and kind is not object
    return known or any(getattr(home, kind.__name__, None) is kind for home in homes)


def copies(leaves: Sequence[Any]) -> list[Any]:
    return [x.copy() if isinstance(x, np.ndarray) else x for x in leaves]


def outcome(function: Callable[..., Any], leaves: Sequence[Any]) -> Any:
    """What a call gives or raises, silently."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return function(leaves)
        except TracingError:
            raise
        except Exception as error:
            return Raised(error)
