"""The one table of tolerances, and the one comparison that uses it."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.core.types import DType, as_dtype

Array = np.ndarray[Any, Any]

# Units in the last place by which one op may differ from NumPy's. Narrow floats are computed
# in float32 and rounded once; both sides' last roundings may differ.
ULPS = {"float16": 1, "bfloat16": 1, "float32": 4, "float64": 4}
EPSILON = {
    "float16": 2.0**-10,
    "bfloat16": 2.0**-7,
    "float32": 2.0**-23,
    "float64": 2.0**-52,
}
# Subnormals have this spacing whatever their size.
SPACING = {
    "float16": 2.0**-24,
    "bfloat16": 2.0**-133,
    "float32": 2.0**-149,
    "float64": 2.0**-1074,
}


def assert_close(
    actual: Any,
    expected: Any,
    dtype: DType | None = None,
    length: int = 1,
    *,
    scale: Any = None,
    ulps: float | None = None,
    exact: bool = False,
    signed_zeros: bool = False,
) -> None:
    """Fail unless `actual` has `expected`'s shape, dtype and, within the table, its values.

    Integers and bools must be equal; so must floats where `exact`, their zeros with their
    sign. NaN equals NaN, an infinity the infinity of its sign. Complex numbers are measured
    by the size of their difference; where a part isn't finite, part by part.

    dtype: that both must have, `expected`'s if not given. length: how many terms a sum or a
    product has that made an element. scale: the size of what was summed, to which a sum's
    error is relative, if larger than the result: the sum of the terms' sizes; if not given
    and length > 1, the largest finite element. ulps: in place of the table's.
    signed_zeros: tell −0.0 from +0.0.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    dtype = as_dtype(expected.dtype) if dtype is None else dtype
    assert expected.dtype == dtype.dtype, f"expected is {expected.dtype}, not {dtype.name}"
    assert actual.dtype == dtype.dtype, f"dtype is {actual.dtype}, not {dtype.name}"
    assert actual.shape == expected.shape, f"shape is {actual.shape}, not {expected.shape}"
    if dtype.is_inexact:
        good = _close(actual, expected, dtype, length, scale, ulps, exact)
        if exact or signed_zeros:
            good &= _same_zeros(actual, expected, dtype)
    else:
        good = np.asarray(actual == expected)
    if not good.all():
        raise AssertionError(_message(actual, expected, ~good))


def _close(
    actual: Array,
    expected: Array,
    dtype: DType,
    length: int,
    scale: Any,
    ulps: float | None,
    exact: bool,
) -> Array:
    wide = np.complex128 if dtype.is_complex else np.float64
    a, e = actual.astype(wide), expected.astype(wide)
    if dtype.is_complex:
        finite = np.isfinite(a) & np.isfinite(e)
        parts = [
            _close(part_a, part_e, dtype.real, length, scale, ulps, exact)
            for part_a, part_e in [(actual.real, expected.real), (actual.imag, expected.imag)]
        ]
        by_parts = np.asarray(parts[0] & parts[1])
        if exact:
            return by_parts
        return np.where(finite, _near(a, e, dtype.real, length, scale, ulps), by_parts)
    same = (a == e) | (np.isnan(a) & np.isnan(e))
    if exact:
        return np.asarray(same)
    finite = np.isfinite(a) & np.isfinite(e)
    return np.asarray(same | (finite & _near(a, e, dtype, length, scale, ulps)))


def _near(
    a: Array, e: Array, dtype: DType, length: int, scale: Any, ulps: float | None
) -> Array:
    steps = ULPS[dtype.name] if ulps is None else ulps
    with np.errstate(all="ignore"):
        size = np.abs(e)
        allowed = steps * np.maximum(EPSILON[dtype.name] * size, SPACING[dtype.name])
        if length > 1:
            if scale is None:
                scale = np.max(size, initial=0.0, where=np.isfinite(size))
            # Narrow floats are summed in float32.
            step = min(EPSILON[dtype.name], EPSILON["float32"])
            allowed = allowed + length * step * np.maximum(size, np.asarray(scale, np.float64))
        return np.asarray(np.abs(a - e) <= allowed)


def _same_zeros(actual: Array, expected: Array, dtype: DType) -> Array:
    if dtype.is_complex:
        return _same_zeros(actual.real, expected.real, dtype.real) & _same_zeros(
            actual.imag, expected.imag, dtype.real
        )
    a, e = actual.astype(np.float64), expected.astype(np.float64)
    return np.asarray((a != 0) | (e != 0) | (np.signbit(a) == np.signbit(e)))


def _message(actual: Array, expected: Array, bad: Array) -> str:
    places = np.argwhere(bad)
    lines = [
        f"{len(places)} of {actual.size} elements of {actual.dtype}{list(actual.shape)} differ"
    ]
    for place in places[:5]:
        at = tuple(int(i) for i in place)
        lines.append(f"  {list(at)}: {actual[at]!r}, expected {expected[at]!r}")
    return "\n".join(lines)
