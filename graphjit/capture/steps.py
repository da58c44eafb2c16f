"""Iterators over containers from outside, which see what the code writes meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from .sources import Check


class ListSteps:
    """The items of a list, each as it is when it is asked for."""

    __slots__ = ("_hooks", "_list", "_next")

    def __init__(self, hooks: Any, value: list[Any]) -> None:
        self._hooks, self._list, self._next = hooks, value, 0
        hooks.guard(Check.LENGTH, hooks.source_of(value), len(value))

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        hooks = self._hooks
        length = len(self._list) if hooks.closed else hooks.length_now(self._list)
        if self._next >= length:
            self._next = length + 1
            raise StopIteration
        self._next += 1
        return hooks.load_item((self._list, self._next - 1))


class CountedSteps:
    """The items of a deque, or the keys of a dict, which must not be changed meanwhile."""

    __slots__ = ("_hooks", "_items", "_owner", "_version")

    def __init__(self, hooks: Any, owner: Any, items: Any) -> None:
        self._hooks, self._owner, self._items = hooks, owner, iter(list(items))
        self._version = hooks.version_of(owner)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        hooks = self._hooks
        if not hooks.closed and hooks.version_of(self._owner) != self._version:
            mutated = isinstance(self._owner, deque)
            raise RuntimeError(
                "deque mutated during iteration"
                if mutated
                else "dictionary changed size during iteration"
            )
        return next(self._items)


__all__ = ["CountedSteps", "ListSteps"]
