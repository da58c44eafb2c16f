"""Numbers that traced code reads outside: which are inputs, since they had several values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from graphjit.capture.sources import (
    MAX_INTEGER,
    AttributeSource,
    Check,
    ConstSource,
    ItemSource,
    NumberSource,
    WeakRefSource,
)
from graphjit.core.tree import STATIC, Identity
from graphjit.core.types import as_dtype

if TYPE_CHECKING:
    from graphjit.capture.recorder import Recorder
    from graphjit.capture.sources import Source
    from graphjit.tracing.trace import Trace

    from .call_key import CallKey
    from .definition import FunctionDefinition

# What Python's numbers are in arrays.
NUMBER_DTYPES: Final = {int: "int64", float: "float64", complex: "complex128"}
# How many numbers of objects are known, of which others of a class may have other values.
_MAX_NUMBERS = 256


class OutsideNumbers:
    """The numbers that are inputs in one trace."""

    def __init__(self, definition: FunctionDefinition, call: CallKey) -> None:
        self._definition, self._call = definition, call
        self._varying = definition.varying_numbers - definition.static_numbers
        # By the keys of their sources: the symbol, and the array and source that it is of.
        self._found: dict[Any, tuple[Any, np.ndarray[Any, Any], Source]] = {}
        # Those of them of which other objects had other values, by class, path and type.
        self._of_objects: list[Any] = []

    def make_static(self) -> bool:
        """Let the numbers that were inputs be under guards from now on; whether there were
        some.
        """
        self._definition.static_numbers.update(self._found)
        for place in self._of_objects:
            self._definition.numbers_of_objects[place] = None
        return bool(self._found)

    def input_for(
        self, trace: Trace, recorder: Recorder, value: Any, source: Source
    ) -> tuple[Any, np.ndarray[Any, Any], Source] | None:
        """An input in place of a number that has had several values: the symbol, an array of
        the number, and its source. None for others.
        """
        if source.key not in self._varying and not self._differs_by_object(value, source):
            return None
        if type(value) is int and abs(value) > MAX_INTEGER:
            return None
        if source.key not in self._found:
            dtype = as_dtype(NUMBER_DTYPES[type(value)]).dtype
            array = np.array(value, dtype)
            symbol = trace.capture_number(array)
            if type(value) is int:
                recorder.guard(Check.SMALL, source, MAX_INTEGER)
                trace.note_bounds(symbol, -MAX_INTEGER, MAX_INTEGER)
            self._found[source.key] = symbol, array, NumberSource(source, type(value), dtype)
        return self._found[source.key]

    def _differs_by_object(self, value: Any, source: Source) -> bool:
        """Whether a number that the first argument, an object, has was another one in an object
        of its class before: it is an input then, for all of them.
        """
        call, path = self._call, list[Any]()
        while isinstance(source, (AttributeSource, ItemSource)):
            step = source.name if isinstance(source, AttributeSource) else (source.item,)
            path.append(step)
            source = source.parent
        if not path or not call.leaves or call.kinds[0].kind != STATIC:
            return False
        owner = source() if isinstance(source, (ConstSource, WeakRefSource)) else None
        if owner is None or owner is not call.leaves[0]:
            return False
        known = self._definition.numbers_of_objects
        place = Identity(type(owner)), tuple(path), type(value)
        if place not in known and len(known) < _MAX_NUMBERS:
            known[place] = value
        first = known.get(place)
        if first is None or first == value:
            return False
        self._of_objects.append(place)
        return True


__all__ = ["NUMBER_DTYPES", "OutsideNumbers"]
