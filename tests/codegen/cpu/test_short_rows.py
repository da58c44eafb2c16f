"""Reductions over rows of few elements, which are copied transposed, and which rows are read
side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphjit as gj
from graphjit.ir import cost_model
from tests.support import levels

Array = Any
DTYPES = (np.float32, np.float64, np.int32, np.int64)

FORMS: dict[str, Callable[[Array, Array], Array]] = {
    "product": lambda x, w: x @ w,
    "sums": lambda x, w: x.sum(axis=1),
    "least and greatest": lambda x, w: x.max(axis=1) - x.min(axis=1),
    "places": lambda x, w: x.argmax(axis=1),
    "weighted squares": lambda x, w: (x * x * w).sum(axis=-1),
    "some columns": lambda x, w: (x[:, 1:] * w[1:]).sum(axis=1),
    "every other row": lambda x, w: x[::2] @ w,
    "backwards": lambda x, w: x[::-1] @ w,
    "columns backwards": lambda x, w: x[:, ::-1] @ w,
    "turned": lambda x, w: w @ x.T,
    "two arrays": lambda x, w: (x * (x + w)[::-1]).sum(axis=1),
    "its own transpose": lambda x, w: (x[: x.shape[1]] * x[: x.shape[1]].T).sum(axis=1),
    "used again": lambda x, w: (x - x.max(axis=1)[:, None]) * (x @ w)[:, None],
    "three dims": lambda x, w: (np.stack([x, x + 1, -x]) @ w).sum(axis=0),
    "bools": lambda x, w: (x > w).any(axis=1),
}


def integers(shape: Any, dtype: Any, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(dtype)


def compiled(form: str) -> Any:
    function = FORMS[form]
    return gj.function(lambda x, w: function(x, w), fallback="error")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=15)
@given(st.integers(1, 300), st.integers(1, 34), st.integers(0, 3))
def test_equal_numpys(form: str, dtype: Any, rows: int, n: int, seed: int) -> None:
    x, w = integers((rows, n), dtype, seed), integers(n, dtype, seed + 1)
    if form == "some columns" and n == 1:
        return
    if form == "its own transpose" and rows < n:
        return
    np.testing.assert_array_equal(compiled(form)(x, w), FORMS[form](x, w), strict=True)


@pytest.mark.parametrize("form", ["product", "places", "used again", "every other row"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_numpys_for_all_sizes(
    form: str, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gj.config, "symbolic_after", 2)
    monkeypatch.setattr(gj.config, "recompile_warning", 0)
    f = compiled(form)
    for n in (20, 21, *range(1, 40)):
        for rows in (30, 31, 0, 1, 64, 200):
            x, w = integers((rows, n), dtype, rows), integers(n, dtype, n)
            np.testing.assert_array_equal(f(x, w), FORMS[form](x, w), strict=True)
    assert len(f.specializations) <= 20


@pytest.mark.parametrize("n", [2, 4, 5, 8, 9, 12, 16, 17, 20, 24, 31])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_are_in_order(n: int, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit, at every level, alone and for all sizes."""
    monkeypatch.setattr(gj.config, "cache", False)
    monkeypatch.setattr(gj.config, "symbolic_after", 2)
    x = np.random.default_rng(n).normal(size=(133, n)).astype(dtype)
    in_order = np.cumsum(x, axis=1, dtype=dtype)[:, -1]
    for name in levels.sampled(n):
        with levels.level(name):
            alone = gj.function(lambda x: x.sum(axis=1), fallback="error")
            np.testing.assert_array_equal(alone(x), in_order, strict=True)
            alone(x[:40, : n - 1])
            alone(x[:50, 1:])
            np.testing.assert_array_equal(alone(x), in_order, strict=True)


def test_special_values_stay_in_their_rows() -> None:
    x = np.ones((100, 12))
    x[3, 11], x[40, 0], x[41, 5], x[99, 11] = np.nan, np.inf, -np.inf, np.inf
    for form in ("product", "sums", "least and greatest", "used again"):
        w = np.ones(12)
        with np.errstate(invalid="ignore"):
            expected = FORMS[form](x, w)
        np.testing.assert_array_equal(compiled(form)(x, w), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_side_by_side_change_no_bit(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gj.config, "cache", False)
    for rows, n in ((7, 33), (9, 100), (21, 1000), (5, 5000)):
        rng = np.random.default_rng(rows)
        x, w = rng.normal(size=(rows, n)).astype(dtype), rng.normal(size=n).astype(dtype)
        found = []
        for abreast in (1, 2, 4):
            for prefetched in (False, True):
                with monkeypatch.context() as context:
                    context.setattr(cost_model, "MAX_ROWS_ABREAST", abreast)
                    context.setattr(
                        cost_model, "passes_last_cache", lambda nbytes, p=prefetched: p
                    )
                    scale = 1 + abreast / 8 + prefetched / 16  # no code is found again
                    f = gj.function(
                        lambda x, w, s=scale: (x @ w, np.full(1, s)), fallback="error"
                    )
                    found.append(f(x, w)[0])
        for one in found:
            np.testing.assert_array_equal(one, found[0], strict=True)
        np.testing.assert_allclose(found[0], x @ w, rtol=1e-3, atol=1e-3)
