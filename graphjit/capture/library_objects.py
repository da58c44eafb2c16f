"""What objects of libraries hold that may change: coefficients of a spline, a sparse array's.

Guards on an object say that it is the same one. Code of its library that is handed it from
outside would read what it holds at the trace alone.
"""

from __future__ import annotations

import datetime
import enum
import functools
import re
import sys
import types
import weakref
from typing import Any, Final

import numpy as np

from graphjit.core.static_lookup import own_attributes

from .callables import GETTERS, is_made_of_another, package_of
from .generators import is_generator
from .values import CALLABLES, PLAIN

# Objects of these have no state, or it is followed where they are used.
_FOLLOWED: Final = (
    *CALLABLES, np.dtype, np.finfo, np.iinfo, np.vectorize, np.errstate, re.Pattern, property,
    *GETTERS, functools._lru_cache_wrapper, functools.cached_property, weakref.ref,
    types.GenericAlias, types.UnionType, types.MethodWrapperType, types.GetSetDescriptorType,
    types.MemberDescriptorType, types.ClassMethodDescriptorType,
)  # fmt: skip
# Of the standard library: those whose objects don't change.
_IMMUTABLE: Final = frozenset({
    object, slice, types.CodeType, re.Match, datetime.timezone, types.CellType, type(...),
    types.BuiltinMethodType, types.TracebackType, types.FrameType,
})  # fmt: skip
_ARRAY_PACKAGES: Final = ("numpy", "scipy")


def holds_state(value: Any) -> bool:
    """Whether an object of a library holds what may change while it is the same object."""
    kind = type(value)
    if kind in PLAIN or isinstance(value, _FOLLOWED) or is_made_of_another(value):
        return False
    if kind is np.ndarray:
        return True
    if kind in (tuple, frozenset):
        return any(map(holds_state, value))
    if kind is types.MethodType:
        return holds_state(value.__self__)
    if is_generator(value):  # whose draws are followed
        return False
    package = package_of(kind)
    if package == "graphjit" or isinstance(value, enum.Enum):
        return False
    if isinstance(value, tuple):
        return any(map(holds_state, value))
    if package not in _ARRAY_PACKAGES:
        return kind not in _IMMUTABLE
    if _is_part_of_module(value):
        return False
    held = own_attributes(value)
    return not held or any(map(holds_state, held.values()))


def _is_part_of_module(value: Any) -> bool:
    """Whether a library's module has an object under a name, such as `scipy.stats.norm`."""
    module = sys.modules.get(type(value).__module__)
    return any(x is value for x in own_attributes(module).values())


__all__ = ["holds_state"]
