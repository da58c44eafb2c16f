"""What objects hold, looked up without running code of theirs such as `__getattr__`."""

from __future__ import annotations

import types
import weakref
from typing import Any


def own_attributes(value: Any) -> dict[str, Any]:
    """An object's own attributes: its `__dict__`, empty where it has none."""
    try:
        if type(value) in weakref.ProxyTypes:  # which answers for another
            value = value.__repr__.__self__
        found = object.__getattribute__(value, "__dict__")
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
    definition = own_attributes(value).get("_definition")  # see jit.definition
    return own_attributes(definition).get("python_function", value)


def underlying(value: Any) -> Any:
    """The function that a method is made of; the value itself where it is something else."""
    kinds = (types.MethodType, classmethod, staticmethod)
    return value.__func__ if isinstance(value, kinds) else value


def code_of(value: Any) -> types.CodeType | None:
    """The code of a Python function or bound method, None for other objects."""
    value = underlying(value)
    return value.__code__ if isinstance(value, types.FunctionType) else None


__all__ = ["attribute", "code_of", "own_attributes", "python_function", "underlying"]
