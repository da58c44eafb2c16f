"""Which values can't change, and what containers there are."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import types
from typing import Any, Final

import numpy as np

from graphjit.numpy_protocol.deferred_texts import DeferredText

from .callables import is_trusted

PLAIN: Final = frozenset({
    int, float, complex, bool, str, bytes, type(None), types.EllipsisType,
    types.NotImplementedType, range, np.dtype, decimal.Decimal, fractions.Fraction,
    datetime.date, datetime.time, datetime.datetime, datetime.timedelta,
    *(np.dtype(code).type for code in "?bhilqBHILQefdgFDG"), DeferredText,
})  # fmt: skip
CALLABLES: Final = (
    types.FunctionType, types.BuiltinFunctionType, type, np.ufunc, type(np.sum),
    types.MethodDescriptorType, types.WrapperDescriptorType, types.ModuleType,
)  # fmt: skip
CONTAINERS: Final = (list, tuple, dict, set, frozenset)
MAX_ITEMS: Final = 100_000
MAX_DEPTH: Final = 20


# Types whose objects are values, which objects of classes derived from them are, too.
_VALUES: Final = (int, float, complex, str, bytes, BaseException)


def is_one_value(value: Any) -> bool:
    """Whether an object of a class of the user's is a number, a text, or a tuple of such."""
    if is_trusted(type(value)) or isinstance(value, np.generic):
        return False
    if isinstance(value, (tuple, frozenset)):
        return all(map(is_plain, value))
    return isinstance(value, _VALUES)


def is_plain(value: Any) -> bool:
    """Whether a value, with all that is in it, can be compared and can't change."""
    kind = type(value)
    if kind in PLAIN or issubclass(kind, enum.Enum):
        return True
    if kind in (tuple, frozenset, set):
        return all(map(is_plain, value))
    if kind is slice:
        return all(map(is_plain, (value.start, value.stop, value.step)))
    return False


def contents(value: Any) -> list[Any]:
    """What is in a list, deque or dict, keys included."""
    return [*value, *value.values()] if isinstance(value, dict) else list(value)


__all__ = [
    "CALLABLES",
    "CONTAINERS",
    "MAX_DEPTH",
    "MAX_ITEMS",
    "PLAIN",
    "contents",
    "is_one_value",
    "is_plain",
]
