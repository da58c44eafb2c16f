"""How far the results of two runs are apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphjit.core.errors import GraphJitError
from graphjit.core.types import TensorType, as_dtype


@dataclass(frozen=True, slots=True)
class Result:
    """One array that a call gave, or left in a variable."""

    name: str
    value: Any

    @property
    def type(self) -> TensorType | None:
        """Shape and dtype; None for what is no number."""
        array = np.asarray(self.value)
        try:
            return TensorType(array.shape, as_dtype(array.dtype))
        except GraphJitError:
            return None


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two results are apart.

    absolute: the largest difference. ulps: the largest in units in the last place of its
    element or, where that is larger, of the result's mean size (sums cancel). problem: what
    is not a matter of rounding.
    """

    name: str
    absolute: float
    ulps: float
    problem: str = ""


def differences(actual: Sequence[Result], expected: Sequence[Result]) -> list[Difference]:
    """How far compiled results are from eager ones, result by result."""
    if len(actual) != len(expected):
        counts = f"{len(actual)} results, eagerly {len(expected)}"
        return [Difference("results", np.inf, np.inf, counts)]
    return [_difference(a, e) for a, e in zip(actual, expected, strict=True)]


def _difference(actual: Result, expected: Result) -> Difference:
    if actual.type is None or expected.type is None:
        same = actual.value is expected.value or bool(actual.value == expected.value)
        problem = "" if same else f"{actual.value!r}, eagerly {expected.value!r}"
        return Difference(actual.name, 0.0, 0.0, problem)
    if actual.type != expected.type:
        problem = f"{actual.type}, eagerly {expected.type}"
        return Difference(actual.name, np.inf, np.inf, problem)
    dtype = actual.type.dtype
    if not actual.type.size:
        return Difference(actual.name, 0.0, 0.0)
    wide = np.complex128 if dtype.is_complex else np.float64
    a, e = (np.asarray(x.value).astype(wide) for x in (actual, expected))
    if not dtype.is_inexact:
        unequal = int(np.count_nonzero(np.asarray(actual.value) != np.asarray(expected.value)))
        problem = f"{unequal} of {actual.type.size} elements differ" if unequal else ""
        return Difference(actual.name, float(np.max(np.abs(a - e))), 0.0, problem)
    finite = np.isfinite(a) & np.isfinite(e)
    same = (a == e) | (np.isnan(a) & np.isnan(e))
    unequal = int(np.count_nonzero(~finite & ~same))
    problem = f"{unequal} NaNs or infinities are not the same" if unequal else ""
    if not finite.any():
        return Difference(actual.name, 0.0, 0.0, problem)
    a, e = a[finite], e[finite]
    apart, size = np.abs(a - e), np.abs(e)
    largest = float(size.max())
    mean = largest * float(np.mean(size / largest)) if largest else 0.0
    spacing = _epsilon(dtype.real) * np.maximum(size, mean)
    with np.errstate(all="ignore"):
        ulps = np.where(apart > 0, apart / spacing, 0.0)
    return Difference(actual.name, float(apart.max()), float(np.max(ulps)), problem)


def _epsilon(dtype: Any) -> float:
    import ml_dtypes

    info: Any = ml_dtypes.finfo(dtype.dtype)
    return float(info.eps)
