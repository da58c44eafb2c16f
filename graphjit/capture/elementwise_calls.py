"""np.vectorize: a loop over the elements, with hooks in what is called for each."""

from __future__ import annotations

import functools
import math
from typing import Any, Final

import numpy as np

from graphjit.core.errors import TracingError, at_user_line
from graphjit.numpy_protocol.promotion import is_symbol

from .builtin_calls import BuiltinCalls

_FOR_EACH: Final[tuple[Any, ...]] = (
    np.asarray,
    np.broadcast_to,
    np.ravel,
    np.zeros,
    np.reshape,
)


class ElementwiseCalls(BuiltinCalls):
    """What calls of np.vectorize are answered by."""

    def elementwise(self, function: np.vectorize) -> Any:
        """What is called in place of an np.vectorize: a loop over the elements."""
        read = functools.partial(self.load_attribute, function)
        plain = type(function) is np.vectorize and read("signature") is None
        if not plain or read("excluded") or read("cache"):
            raise self.refusal("calls an np.vectorize with options, which isn't followed")
        code, dtypes = read("pyfunc"), read("otypes")
        library = {f.__name__: self._library(f) for f in _FOR_EACH}

        def call(*args: Any, **kwargs: Any) -> Any:
            given = [library["asarray"](x) for x in args]
            shape = np.broadcast_shapes(*(x.shape for x in given)) if given else ()
            known = all(isinstance(extent, int) for extent in shape)
            count = math.prod(shape)
            if kwargs or not given or not known or not count:
                raise self.refusal("calls an np.vectorize in a way that isn't followed")
            flat = [library["ravel"](library["broadcast_to"](x, shape)) for x in given]
            if dtypes is None:
                first = self.call(code, *(x[0] for x in flat))
                dtype = _dtype_of_number(first)
            else:
                dtype = np.dtype(dtypes[0]) if len(dtypes) == 1 else None
            if dtype is None or (dtype.kind in "iu" and dtype != np.int64):
                raise self.refusal("calls an np.vectorize whose results aren't followed")

            found = library["zeros"](count, dtype)
            self.with_hooks(_each)(code, flat, range(count), found, _alike(dtype))
            return library["reshape"](found, shape)

        return call


def _each(function: Any, arrays: Any, places: Any, found: Any, require_alike: Any) -> None:
    """What np.vectorize does for each element, which it gives as a number of Python's."""
    for k in places:
        value = function(*[x.item(k) for x in arrays])
        require_alike(value)
        found[k] = value


def _alike(dtype: np.dtype[Any]) -> Any:
    """What refuses numbers of another kind than a dtype's. It refers to nothing that changes:
    loops look into it.
    """

    def require(value: Any) -> None:
        found = _dtype_of_number(value)
        if found is None or found.kind != dtype.kind:
            raise TracingError(
                at_user_line("calls an np.vectorize with results of several types")
            )

    return require


def _dtype_of_number(value: Any) -> Any:
    """The dtype of a number, None for other values."""
    if is_symbol(value):
        number = not (value.is_selection or value.is_mixed or value.type.shape)
        return value.type.dtype.dtype if number else None
    if isinstance(value, (bool, int, float, complex, np.generic)):
        dtype = np.asarray(value).dtype
        return dtype if dtype.kind in "biufc" else None
    return None


__all__ = ["ElementwiseCalls"]
