"""Functions that run a function for each item."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphjit.functions import math
from graphjit.functions import shape as _shape

from .settings import invalid

__all__ = ["foldl", "foldr", "map_fn"]


def map_fn(fn: Callable[[Any], Any], elems: Any, name: Any = None, dtype: Any = None) -> Any:
    """The function's values for each element of the first axis, stacked."""
    values = [fn(x) for x in _shape.unstack(elems)]
    stacked = _shape.stack(values)
    return stacked if dtype is None else math.cast(stacked, dtype)


def foldl(
    fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, name: Any = None
) -> Any:
    """fn(... fn(fn(start, first), second) ..., last); without a start the first element is."""
    return _fold(fn, _shape.unstack(elems), initializer)


def foldr(
    fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, name: Any = None
) -> Any:
    """As foldl, from the last element to the first."""
    return _fold(fn, _shape.unstack(elems)[::-1], initializer)


def _fold(fn: Callable[[Any, Any], Any], items: list[Any], start: Any) -> Any:
    if start is None:
        if not items:
            raise invalid("a fold of nothing needs an initializer")
        start, *items = items
    for item in items:
        start = fn(start, item)
    return start
