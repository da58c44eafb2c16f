"""Which results are in the byte order of an argument that isn't in this machine's.

NumPy keeps the order in copies, views, choices of elements and what is made like an array, and
computes in this machine's. Which function does which is asked of NumPy itself, by a call with
zeros in place of traced arrays: only where an operand is in the other order.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.extents import evaluate

from .promotion import is_symbol, symbols


def keep_order(
    results: Any, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
) -> None:
    """Mark the results of a function of NumPy's that are in the other byte order."""
    if not any(s.swapped for s in symbols([*args, *kwargs.values()])):
        return
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain = function(
                *map(_stand_in, args), **{k: _stand_in(v) for k, v in kwargs.items()}
            )
    except (ArithmeticError, LookupError, TypeError, ValueError):  # zeros are no fit operands
        return
    _mark(results, plain)


def _mark(result: Any, plain: Any) -> None:
    if is_symbol(result):
        result.swapped = isinstance(plain, np.ndarray) and not plain.dtype.isnative
    elif isinstance(result, (list, tuple)) and isinstance(plain, (list, tuple)):
        for part, known in zip(result, plain, strict=False):
            _mark(part, known)


def _stand_in(value: Any) -> Any:
    if is_symbol(value):
        dtype = value.type.dtype.dtype
        if value.origin == "weak":
            return dtype.type(0).item()
        dtype = dtype.newbyteorder() if value.swapped else dtype
        return np.broadcast_to(np.zeros((), dtype), tuple(map(_at_hand, value.type.shape)))
    if type(value) in (list, tuple):
        return type(value)(map(_stand_in, value))
    if isinstance(value, slice):
        return slice(*map(_stand_in, (value.start, value.stop, value.step)))
    return _at_hand(value)


def _at_hand(n: Any) -> Any:
    return evaluate(n, n.sizes.hints) if isinstance(n, Dim) else n
