"""Products of a vector, or of few, and a matrix, whose rows are read after one another."""

from __future__ import annotations

import contextlib
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
COLUMNS = (65, 127, 128, 130, 200, 700, 2049, 8200, 17000)
LENGTHS = (0, 1, 7, 8, 9, 40, 513, 1030)

FORMS: dict[str, Callable[[Array, Array], Array]] = {
    "alone": lambda x, a: x @ a,
    "and more": lambda x, a: np.abs(x @ a) * 2 + 1,
    "turned": lambda x, a: a.T @ x,
    "every other element": lambda x, a: np.concatenate([x, x])[::2] @ a,
    "backwards": lambda x, a: x[::-1] @ a[::-1],
    "some columns": lambda x, a: x @ a[:, 1:],
    "a batch": lambda x, a: np.einsum("i,bij->bj", x, np.stack([a, a + 1, -a])),
    "two results": lambda x, a: np.stack([x @ a, np.maximum(x @ a, 0)]),
}


def quarters(shape: Any, dtype: Any, seed: int = 0) -> Array:
    """Numbers whose products' sums need no rounding."""
    return (np.random.default_rng(seed).integers(-8, 9, shape) / 4).astype(dtype)


def compiled(form: str) -> Any:
    function = FORMS[form]
    return gj.function(lambda x, a: function(x, a), fallback="error")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@settings(max_examples=12)
@given(st.sampled_from(LENGTHS), st.sampled_from(COLUMNS[:6]), st.integers(0, 3))
def test_equal_numpys(form: str, dtype: Any, k: int, n: int, seed: int) -> None:
    x, a = quarters(k, dtype, seed), quarters((k, n), dtype, seed + 1)
    np.testing.assert_array_equal(compiled(form)(x, a), FORMS[form](x, a), strict=True)


@pytest.mark.parametrize("form", ["alone", "and more", "some columns"])
def test_equal_numpys_for_all_sizes(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gj.config, "symbolic_after", 2)
    monkeypatch.setattr(gj.config, "recompile_warning", 0)
    f = compiled(form)
    for k, n in ((40, 700), (41, 701), (1030, 130), (513, 8200), (9, 64), (3, 2), (0, 300)):
        x, a = quarters(k, np.float64), quarters((k, n), np.float64, 1)
        np.testing.assert_array_equal(f(x, a), FORMS[form](x, a), strict=True)
    assert len(f.specializations) <= 4


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_are_those_of_sums_in_registers(
    columns: int, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gj.config, "cache", False)
    rng = np.random.default_rng(columns)
    threads = gj.config.threads
    for k in (5, 100, 1100):
        x, a = rng.normal(size=k).astype(dtype), rng.normal(size=(k, columns)).astype(dtype)
        for form in ("alone", "and more"):
            with monkeypatch.context() as context:
                context.setattr(cost_model, "ROW_SUM_BYTES", 0)
                wanted = compiled(form)(x, a)
            try:
                for count in (1, 2, 5):
                    gj.config.threads = count
                    np.testing.assert_array_equal(compiled(form)(x, a), wanted, strict=True)
            finally:
                gj.config.threads = threads
            for name in levels.sampled(columns + k):
                with levels.level(name):
                    np.testing.assert_array_equal(compiled(form)(x, a), wanted, strict=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("m", [2, 3, 5, 8, 9])
def test_few_rows(m: int, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a large matrix: the same bits as with sums in registers, for any columns."""
    forms: list[Callable[[Array, Array], Array]] = [
        lambda x, a: x @ a,
        lambda x, a: np.abs(x @ a) * 2 + 1,
        lambda x, a: x.T.copy().T @ a,
        lambda x, a: (x[::-1] @ a)[:, 1:].max(axis=0),
        lambda x, a: np.matmul(x, np.stack([a, -a])),
    ]
    monkeypatch.setattr(gj.config, "cache", False)
    rng = np.random.default_rng(m)
    for k, n in ((9, 65), (1030, 130), (3, 9000)):
        x, a = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
        for number, form in enumerate(forms):
            wanted = gj.function(lambda x, a, form=form: form(x, a), fallback="error")(x, a)
            with monkeypatch.context() as context:
                context.setattr(cost_model, "FEW_ROWS_BYTES", 0)
                names = levels.sampled(m + number + n)
                for name in (None, *names):
                    with levels.level(name) if name else contextlib.nullcontext():
                        found = gj.function(
                            lambda x, a, form=form: form(x, a), fallback="error"
                        )(x, a)
                    np.testing.assert_array_equal(found, wanted, strict=True)
            np.testing.assert_allclose(wanted, form(x, a), rtol=1e-3, atol=1e-3)


def test_nothing_is_lost_of_nan_and_infinity() -> None:
    x, a = quarters(30, np.float64) + 1, quarters((30, 300), np.float64, 1) + 3
    a[3, 5], a[4, 6], a[5, 6], a[29, 299] = np.nan, np.inf, -np.inf, np.nan
    x[3] = x[4] = x[5] = 1
    np.testing.assert_array_equal(compiled("alone")(x, a), x @ a)
