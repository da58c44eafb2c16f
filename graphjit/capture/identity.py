"""Which values may be one object in one call and two in the next.

Calls share what was traced if their values are equal, or are inputs of the same type. Whether
equal values are one object is then unknown.
"""

from __future__ import annotations

import enum
from typing import Any

import numpy as np

from graphjit.numpy_protocol.promotion import is_symbol

from .values import PLAIN, is_plain

# CPython keeps one object for each int of these (Objects/longobject.c).
_KEPT_INTS = range(-5, 257)
# Of these classes equal values are one object.
_SINGLETONS = (type(None), bool, np.bool_, type(...), type(NotImplemented))


def may_be_one(a: Any, b: Any) -> bool:
    """Whether two plain values, or traced numbers, are one object or not as the call has it."""
    if not (is_symbol(a) or is_symbol(b)):
        return type(a) is type(b) and is_plain(a) and is_plain(b) and _are_equal(a, b)
    if a is b or not _classes(a) & _classes(b):
        return False
    return all(not is_symbol(x) or not x.type.shape for x in (a, b))


def is_missing_number(x: Any) -> bool:
    """Whether a plain value is NaN, of which containers ask whether it is the same object."""
    return type(x) in PLAIN and bool(x != x)


def _are_equal(a: Any, b: Any) -> bool:
    """Whether guards take one value for the other, and they may still be two objects."""
    if type(a) in _SINGLETONS or (type(a) is int and a in _KEPT_INTS):
        return False
    if isinstance(a, (str, bytes)) and len(a) < 2:
        return False
    if a == () or isinstance(a, (set, enum.Enum)):
        return False
    if isinstance(a, np.dtype) and a.isbuiltin:
        return False
    return bool(a == b) or (is_missing_number(a) and is_missing_number(b))


def _classes(x: Any) -> set[type]:
    """What classes of Python's a value may be of."""
    if not is_symbol(x):
        return {type(x)}
    scalar = x.type.dtype.dtype.type
    python = {"b": bool, "i": int, "u": int, "f": float, "c": complex}.get(
        np.dtype(scalar).kind, object
    )
    if x.is_mixed:
        return {int, float, python, scalar, np.ndarray}
    if x.origin == "weak":
        return {python}
    return {scalar, np.ndarray} if x.origin == "numpy" else {type(x)}


__all__ = ["is_missing_number", "may_be_one"]
