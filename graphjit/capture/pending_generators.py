"""Generator expressions that nothing has asked for an item yet."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

# Those of the generator, and of the call that counts them.
_OWN_REFERENCES = 2


def is_generator_expression(function: types.FunctionType) -> bool:
    """Whether a function is what a generator expression calls."""
    code = function.__code__
    return code.co_name == "<genexpr>" and bool(code.co_flags & inspect.CO_GENERATOR)


class PendingGenerator:
    """A generator expression: a generator once it is asked for an item, or a list of what it
    yields for a function that takes all.

    function: of the expression. make, listed: what gives them for the iterator that the
    expression is over
    """

    __slots__ = ("_generator", "_listed", "_make", "_steps", "function")

    def __init__(
        self,
        function: types.FunctionType,
        steps: Any,
        make: Callable[[Any], Any],
        listed: Callable[[Any], Any],
    ) -> None:
        self._steps, self._make, self._listed = steps, make, listed
        self.function = function
        self._generator: Any = None

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The class that isinstance sees."""
        return types.GeneratorType

    def is_started(self) -> bool:
        """Whether it is a generator by now."""
        return self._generator is not None

    def shares_steps(self) -> bool:
        """Whether something else may have the iterator, too."""
        return sys.getrefcount(self._steps) > _OWN_REFERENCES

    def listed(self) -> Any:
        """A list of all that it yields; then it is used up."""
        self._generator = iter(())
        return self._listed(self._steps)

    def _made(self) -> Any:
        if self._generator is None:
            self._generator = self._make(self._steps)
        return self._generator

    def __iter__(self) -> Iterator[Any]:
        return self._made()  # type: ignore[no-any-return]

    def __next__(self) -> Any:
        return next(self._made())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made(), name)


__all__ = ["PendingGenerator", "is_generator_expression"]
