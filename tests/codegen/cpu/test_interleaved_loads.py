"""Loads of the elements of short rows, which are made together and transposed in registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphjit as gj
from tests.support import levels

Array = Any


def pooled(x: Array) -> Array:
    top = np.maximum(x[:-1:2, :-1:2], x[:-1:2, 1::2])
    return np.maximum(top, np.maximum(x[1::2, :-1:2], x[1::2, 1::2]))


FORMS: dict[str, Callable[[Array], Array]] = {
    "all columns": lambda x: np.stack([x[:, k] + 1 for k in range(x.shape[1])]).sum(0),
    "product": lambda x: x @ np.arange(x.shape[1]).astype(x.dtype),
    "but the last": lambda x: (x[:, :-1] * x[:, :-1]).sum(1),
    "from the second on": lambda x: x[:, 1:].max(1),
    "one is left out": lambda x: x[:, 0] - x[:, 1] * x[:, -1],
    "backwards": lambda x: x[::-1, ::-1].min(1),
    "every other row": lambda x: x[1::2].sum(1),
    "rows and rows before": lambda x: x[1:].sum(1) - x[:-1].max(1),
    "twice the same": lambda x: x[:, 0] * x[:, 1] - x[:, 1] * x[:, 0],
    "pooled": pooled,
    "of a vector": lambda x: x.ravel()[:-1:2] - x.ravel()[1::2],
    "three of a vector": lambda x: x.ravel()[:-2:3] - x.ravel()[1:-1:3] * x.ravel()[2::3],
    "two arrays": lambda x: (x * (x + 1)[::-1]).sum(1),
    "counted": lambda x: (x > 0).sum(1),
}
DTYPES = [np.float64, np.float32, np.int64, np.int32, np.uint8, np.int16, np.float16, np.bool_]


def numbers(rows: int, n: int, dtype: Any, seed: int) -> Array:
    return np.random.default_rng(seed).integers(0, 9, (rows, n)).astype(dtype)


def taken_by_numpy(form: str, x: Array) -> bool:
    """Whether NumPy computes this of bools, and of so few columns."""
    if x.shape[1] < 2:
        return False
    return x.dtype != bool or form in ("from the second on", "backwards", "pooled")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=12)
@given(st.integers(1, 150), st.integers(2, 9), st.integers(0, 3))
def test_equal_numpys(form: str, dtype: Any, rows: int, n: int, seed: int) -> None:
    x = numbers(rows, n, dtype, seed)
    if not taken_by_numpy(form, x):
        return
    f = gj.function(lambda x: FORMS[form](x), fallback="error")
    np.testing.assert_array_equal(f(x), FORMS[form](x), strict=True)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_level(form: str, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gj.config, "cache", False)
    for n in (2, 3, 4, 5, 7, 8, 11, 16):
        x = numbers(77, n, dtype, n)
        if not taken_by_numpy(form, x):
            continue
        for name in levels.sampled(n + len(form)):
            with levels.level(name):
                f = gj.function(lambda x: FORMS[form](x), fallback="error")
                np.testing.assert_array_equal(f(x), FORMS[form](x), strict=True)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8])
def test_for_all_sizes(form: str, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gj.config, "symbolic_after", 2)
    monkeypatch.setattr(gj.config, "recompile_warning", 0)
    for n in (2, 3, 4, 6, 8):
        f = gj.function(lambda x: FORMS[form](x), fallback="error")
        for rows in (60, 61, 2, 3, 64, 100, 200):
            x = numbers(rows, n, dtype, rows)
            np.testing.assert_array_equal(f(x), FORMS[form](x), strict=True)


def test_sums_are_in_order() -> None:
    for n in (2, 4, 5, 8):
        for dtype in (np.float32, np.float64):
            x = np.random.default_rng(n).normal(size=(101, n)).astype(dtype)
            f = gj.function(lambda x: x.sum(1), fallback="error")
            in_order = np.cumsum(x, axis=1, dtype=dtype)[:, -1]
            np.testing.assert_array_equal(f(x), in_order, strict=True)


def test_what_is_stored_to_is_read_when_asked() -> None:
    """A loop that stores to what it reads loads each element by itself."""

    def shifted(x: Array) -> Array:
        x[:, 0] += x[:, 1]
        x[:, 1] += x[:, 2] * x[:, 3]
        x[1:, 2] = x[:-1, 0]
        return x[:, 0] + x[:, 1] + x[:, 2] + x[:, 3]

    for dtype in (np.float32, np.float64):
        x = numbers(70, 4, dtype, 1)
        y = x.copy()
        found, expected = gj.function(shifted)(x), shifted(y)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(x, y)
