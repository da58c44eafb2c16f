"""A way for tests to act while a function is traced, and to see that it is.

What a function changes outside makes it run eagerly, wherever that can be looked for; a module
of the standard library isn't looked through, and through one it is done here.
"""

import types
from collections.abc import Callable
from typing import Any

_place: Any = types
_place.unseen = {}


def unseen(action: Any) -> Callable[..., Any]:
    """The action as a function of which nothing is known: it passes for a library's."""
    copy = types.FunctionType(
        action.__code__, {**action.__globals__, "__name__": "types"}, action.__name__,
        action.__defaults__, action.__closure__,
    )  # fmt: skip
    number = len(_place.unseen)
    _place.unseen[number] = copy

    def act(*args: Any) -> Any:
        return types.unseen[number](*args)  # type: ignore[attr-defined]

    return act


__all__ = ["unseen"]
