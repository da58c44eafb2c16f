"""What objects hold, looked up without running code of theirs such as `__getattr__`."""

from __future__ import annotations

import types
import weakref
from typing import Any


class Decorated:
    """The base of decorated functions. What they hold is in slots (`_definition` says of which
    function they were made), their `__dict__` is the user's alone: functools.wraps copies it.
    """

    __slots__ = ()


def own_attributes(value: Any) -> dict[str, Any]:
    """An object's own attributes: its `__dict__`, empty where it has none."""
    try:
        found = object.__getattribute__(_behind_proxy(value), "__dict__")
    except (AttributeError, ReferenceError):
        return {}
    return found if isinstance(found, dict) else {}


def attribute(value: Any, name: str) -> Any:
    """An attribute as code reads it, None where only `__getattr__` could give it. A property or
    a `__getattribute__` of the class comes before what the object holds.
    """
    kind: Any = type(value)
    if kind.__getattribute__ is not object.__getattribute__ or any(
        name in vars(k) for k in kind.__mro__
    ):
        return getattr(value, name, None)
    return own_attributes(value).get(name)


def python_function(value: Any) -> Any:
    """The function that a compiled one was made of; the value itself where it is another."""
    try:
        found = _behind_proxy(value)
    except ReferenceError:
        return value
    return found._definition.python_function if is_decorated(type(found)) else value


def is_decorated(kind: type) -> bool:
    """Whether the objects of a class are decorated functions."""
    return issubclass(kind, Decorated)


def _behind_proxy(value: Any) -> Any:
    """What a weak proxy answers for; any other object itself."""
    return value.__repr__.__self__ if type(value) in weakref.ProxyTypes else value


def underlying(value: Any) -> Any:
    """The function that a method is made of; the value itself where it is something else."""
    kinds = (types.MethodType, classmethod, staticmethod)
    return value.__func__ if isinstance(value, kinds) else value


def code_of(value: Any) -> types.CodeType | None:
    """The code of a Python function or bound method, None for other objects."""
    value = underlying(value)
    return value.__code__ if isinstance(value, types.FunctionType) else None


def is_plain_object(value: Any) -> bool:
    """Whether an object of a class written in Python is its attributes, and nothing else."""
    kind = type(value)
    if isinstance(value, (type, BaseException)) or kind.__module__ == "builtins":
        return False
    own = own_attributes(value)
    return (
        _static(kind, "__new__") is vars(object)["__new__"]
        and kind.__basicsize__ == _Plain.__basicsize__
        and kind.__itemsize__ == 0
        and kind.__dictoffset__ != 0
        and not any(
            vars(base).get("__slots__") or "__del__" in vars(base) or not _is_heap_type(base)
            for base in kind.__mro__[:-1]
        )
        and not any(hasattr(_static(kind, name), "__set__") for name in own)
    )


class _Plain:
    """A class whose objects have attributes."""


def _is_heap_type(kind: type) -> bool:
    return bool(kind.__flags__ & 1 << 9)  # Py_TPFLAGS_HEAPTYPE


def _static(kind: type, name: str) -> Any:
    return next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)


__all__ = [
    "Decorated",
    "attribute",
    "code_of",
    "is_decorated",
    "is_plain_object",
    "own_attributes",
    "python_function",
    "underlying",
]
