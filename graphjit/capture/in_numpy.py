"""Functions of NumPy in terms of others of its functions, for those whose own code can't be
followed: C code of theirs takes arrays apart. They run with hooks, as the user's code does.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from graphjit.core.errors import TracingError, at_user_line


def _refuse(what: str) -> None:
    raise TracingError(at_user_line(f"{what} can't be traced"))


def apply_along_axis(
    func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any
) -> Any:
    """np.apply_along_axis of arrays with one or two axes."""
    arr = np.asanyarray(arr)
    rank = arr.ndim
    if type(arr) is not np.ndarray or rank > 2:
        _refuse("np.apply_along_axis of three axes")
    if not -rank <= axis < rank:
        raise np.exceptions.AxisError(axis, rank)
    axis = axis % rank
    if rank == 1:
        only = np.asanyarray(func1d(arr, *args, **kwargs))
        return np.array(only) if only.ndim else only
    rows = arr.T if axis == 0 else arr
    count = len(rows)
    if count == 0:
        raise ValueError("Cannot apply_along_axis when any iteration dimensions are 0")
    first = np.asanyarray(func1d(rows[0], *args, **kwargs))
    if type(first) is not np.ndarray:
        _refuse("np.apply_along_axis with results of another class")
    found = np.zeros((count, *first.shape), first.dtype)
    found[0] = first
    for k in range(1, count):
        found[k] = func1d(rows[k], *args, **kwargs)
    return np.moveaxis(found, 0, -1) if axis == 0 else found


def extract(condition: Any, arr: Any) -> Any:
    """np.extract."""
    chosen = np.asarray(condition).ravel().astype(bool)
    values = np.asarray(arr).ravel()
    if len(chosen) != len(values):
        _refuse("np.extract by a condition of another size")
    return values[chosen]


def compress(condition: Any, a: Any, axis: int | None = None, out: Any = None) -> Any:
    """np.compress."""
    chosen, values = np.asarray(condition).astype(bool), np.asarray(a)
    if out is not None or chosen.ndim != 1:
        _refuse("np.compress with these arguments")
    if axis is None:
        values, axis = values.ravel(), 0
    rank = values.ndim
    if axis != 0 and axis != -rank:
        _refuse("np.compress along another axis than the first")
    if len(chosen) > len(values):
        _refuse("np.compress by more than there is")
    return values[: len(chosen)][chosen]


def nanmedian(
    a: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    keepdims: Any = False,
) -> Any:
    """np.nanmedian."""
    a = np.asanyarray(a)
    if out is not None or overwrite_input or a.size == 0 or not isinstance(keepdims, bool):
        _refuse("np.nanmedian with these arguments")
    if a.dtype.kind != "f":
        return np.median(a, axis=axis, keepdims=keepdims)
    axes = range(a.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    if not all(-a.ndim <= k < a.ndim for k in axes):
        _refuse("np.nanmedian along an axis that isn't there")
    axes = tuple([k % a.ndim for k in axes])
    rest = tuple([k for k in range(a.ndim) if k not in axes])
    rows = np.transpose(a, rest + axes).reshape(*[a.shape[k] for k in rest], -1)
    ordered = np.sort(rows, axis=-1)  # NaN last
    count = np.sum(~np.isnan(rows), axis=-1)
    low = np.maximum(count - 1, 0) // 2
    high = np.minimum(count // 2, rows.shape[-1] - 1)
    below = np.take_along_axis(ordered, low[..., None], -1)[..., 0]
    above = np.take_along_axis(ordered, high[..., None], -1)[..., 0]
    if a.dtype == np.float16:  # whose mean is computed in float32
        wide = (below.astype(np.float32) + above.astype(np.float32)) / np.float32(2)
        between = wide.astype(np.float16)
    else:
        between = (below + above) / a.dtype.type(2)
    found = np.where(low == high, below, between)
    if np.any(count == 0):
        warnings.warn("All-NaN slice encountered", RuntimeWarning, stacklevel=1)
    if keepdims:
        found = found.reshape([1 if k in axes else n for k, n in enumerate(a.shape)])
    return found if rest or keepdims else found[()]


def interp(
    x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
) -> Any:
    """np.interp with a period."""
    if period is None or period == 0:
        _refuse("np.interp with these arguments")
    period = abs(period)
    x, xp, fp = np.asarray(x) % period, np.asarray(xp) % period, np.asarray(fp)
    if xp.ndim != 1 or fp.ndim != 1 or xp.shape != fp.shape:
        _refuse("np.interp of points of other shapes")
    order = np.argsort(xp)
    xp, fp = xp[order], fp[order]
    xp = np.concatenate((xp[-1:] - period, xp, xp[:1] + period))
    return np.interp(x, xp, np.concatenate((fp[-1:], fp, fp[:1])))


def setdiff1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    """np.setdiff1d of arrays whose elements needn't be unique."""
    if assume_unique:
        _refuse("np.setdiff1d with assume_unique")
    one, other = np.asarray(ar1).ravel(), np.asarray(ar2).ravel()
    return np.unique(one[~np.isin(one, other)])


def intersect1d(
    ar1: Any, ar2: Any, assume_unique: bool = False, return_indices: bool = False
) -> Any:
    """np.intersect1d of arrays whose elements needn't be unique."""
    if assume_unique or return_indices:
        _refuse("np.intersect1d with these arguments")
    one, other = np.asarray(ar1).ravel(), np.asarray(ar2).ravel()
    dtype = np.result_type(one.dtype, other.dtype)
    one, other = one.astype(dtype), other.astype(dtype)
    return np.unique(one[np.isin(one, other)])


def cond(x: Any, p: Any = None) -> Any:
    """np.linalg.cond by other norms than the second."""
    x = np.asarray(x)
    if p in (None, 2, -2) or x.ndim < 2 or x.shape[-1] != x.shape[-2] or x.size == 0:
        _refuse("np.linalg.cond of these arguments")
    if x.ndim > 2:
        _refuse("np.linalg.cond of several matrices")
    sizes = np.linalg.norm(x, p, axis=(-2, -1))
    try:
        inverse = np.linalg.inv(x)
    except np.linalg.LinAlgError:
        return sizes.dtype.type(math.inf)
    return sizes * np.linalg.norm(inverse, p, axis=(-2, -1))


def lexsort(keys: Any, axis: int = -1) -> Any:
    """np.lexsort of keys with one axis."""
    rows = [np.asarray(key) for key in keys]
    if any(row.ndim != 1 or row.shape != rows[0].shape for row in rows) or axis not in (0, -1):
        _refuse("np.lexsort of these keys")
    order = np.argsort(rows[0], kind="stable")
    for row in rows[1:]:
        order = order[np.argsort(row[order], kind="stable")]
    return order


def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    """np.choose of a list of arrays."""
    number, arrays = np.asarray(a), [np.asarray(x) for x in choices]
    if out is not None or number.dtype.kind not in "biu" or not 0 < len(arrays) <= 32:
        _refuse("np.choose with these arguments")
    count = len(arrays)
    number = number.astype(np.int64)
    if mode == "wrap":
        number = number % count
    elif mode == "clip":
        number = np.clip(number, 0, count - 1)
    elif mode != "raise":
        _refuse("np.choose in this mode")
    elif np.any((number < 0) | (number >= count)):
        raise ValueError("invalid entry in choice array")
    dtype = np.result_type(*[x.dtype for x in arrays])
    shape = np.broadcast_shapes(number.shape, *[x.shape for x in arrays])
    found = np.broadcast_to(arrays[0].astype(dtype), shape)
    for k in range(1, count):
        found = np.where(number == k, arrays[k].astype(dtype), found)
    return np.array(found) if count == 1 else found


def polymul(a1: Any, a2: Any) -> Any:
    """np.polymul of coefficients."""
    if isinstance(a1, np.poly1d) or isinstance(a2, np.poly1d):
        _refuse("np.polymul of a poly1d")
    parts = []
    for coefficients in (a1, a2):
        found = np.atleast_1d(coefficients)
        while len(found) > 1 and found[0] == 0:
            found = found[1:]
        parts.append(found)
    return np.convolve(parts[0], parts[1])


# By the functions: what is followed in their place.
IN_NUMPY: Final[dict[Any, Any]] = {
    np.apply_along_axis: apply_along_axis,
    np.choose: choose,
    np.compress: compress,
    np.extract: extract,
    np.interp: interp,
    np.intersect1d: intersect1d,
    np.lexsort: lexsort,
    np.linalg.cond: cond,
    np.nanmedian: nanmedian,
    np.polymul: polymul,
    np.setdiff1d: setdiff1d,
}

__all__ = ["IN_NUMPY"]
