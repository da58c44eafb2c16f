"""Sorting, searching sorted tensors, distinct elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import as_int, normalize_axis
from graphjit.ops import library
from graphjit.tensors.apply import apply, as_tensor, same_dtype, wrap

from . import math
from .index import take_along_axis
from .subscript import getitem

__all__ = ["argsort", "searchsorted", "sort", "top_k", "unique"]


def sort(values: Any, axis: int = -1, direction: str = "ASCENDING") -> Any:
    """Sorted along an axis; NaN last, in either direction."""
    x = as_tensor(values)
    if _descending(direction):
        return take_along_axis(x, argsort(x, axis, direction), axis)
    k = normalize_axis(axis, x.ndim, "Sort")
    return apply(library.sort, x, axis=k, kind="quicksort")


def argsort(
    values: Any, axis: int = -1, direction: str = "ASCENDING", stable: bool = True
) -> Any:
    """The indices (int32) that sort along an axis; equal elements keep their order."""
    x = as_tensor(values)
    k = normalize_axis(axis, x.ndim, "ArgSort")
    if not _descending(direction):
        return math.cast(apply(library.argsort, x, axis=k, kind="stable"), "int32")
    key = math.bitwise_not(x) if x.dtype.kind in "biu" else math.negative(x)
    return math.cast(apply(library.argsort, key, axis=k, kind="stable"), "int32")


def _descending(direction: str) -> bool:
    named = direction.upper() if isinstance(direction, str) else ""
    if named not in ("ASCENDING", "DESCENDING"):
        raise InvalidArgumentError(
            at_user_line(f"direction is ASCENDING or DESCENDING, not {direction!r} [Op:Sort]")
        )
    return named == "DESCENDING"


def top_k(x: Any, k: int = 1, sorted: bool = True) -> tuple[Any, Any]:
    """The k largest elements of the last axis, largest first, and their indices (int32)."""
    x = as_tensor(x)
    k = as_int(k, "k", "TopKV2")
    if x.ndim == 0 or not 0 <= k <= x.type.shape[-1]:
        raise InvalidArgumentError(
            at_user_line(f"input must have at least k({k}) columns [Op:TopKV2]")
        )
    order = argsort(x, -1, "DESCENDING")
    chosen = getitem(order, (Ellipsis, slice(0, k)))
    return take_along_axis(x, chosen, -1), chosen


def searchsorted(sorted_sequence: Any, values: Any, side: str = "left") -> Any:
    """Where each value would go in a sorted 1-d tensor to keep it sorted, int64."""
    if not isinstance(side, str) or side not in ("left", "right"):
        raise InvalidArgumentError(at_user_line(f"side is left or right, not {side!r}"))
    sequence, wanted = same_dtype(sorted_sequence, values)
    return apply(library.searchsorted, sequence, wanted, right=side == "right")


def unique(x: Any) -> tuple[Any, Any]:
    """The different elements of a 1-d tensor in order of appearance, and each one's number.

    Eager only: the shape depends on data.
    """
    values = math.known_array(x, "unique")
    if values.ndim != 1:
        raise InvalidArgumentError(at_user_line("unique expects a 1D vector. [Op:Unique]"))
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    numbers = np.empty_like(order)
    numbers[order] = np.arange(order.size)
    return wrap(values[np.sort(first)]), wrap(numbers[inverse].astype(np.int32))
