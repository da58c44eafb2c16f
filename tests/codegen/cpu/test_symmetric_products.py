"""Products that are their own transposes: half is computed, with the bits of the whole."""

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
SIDES = (23, 24, 25, 47, 48, 49, 50, 96, 97, 100, 193, 300)

FORMS: dict[str, Callable[[Array], Any]] = {
    "x.T @ x": lambda x: x.T @ x,
    "x @ x.T": lambda x: x @ x.T,
    "and more": lambda x: np.abs(x.T @ x) * 2 + 1,
    "by rows": lambda x: (x.T @ x) * x[0][:, None],
    "by columns": lambda x: (x.T @ x) - x[0],
    "two results": lambda x: (x.T @ x, np.maximum(x.T @ x, 0)),
    "sums": lambda x: (x.T @ x).sum(axis=0),
    "its transpose": lambda x: (x.T @ x).T,
    "backwards": lambda x: x[::-1, ::-1].T @ x[::-1, ::-1],
    "columns": lambda x: x[:, 1:].T @ x[:, 1:],
    "other columns": lambda x: x[:, 1:].T @ x[:, :-1],
    "columns turned round": lambda x: x[:, ::-1].T @ x,
    "a batch": lambda x: np.matmul(np.stack([x, -x]), np.stack([x, -x]).transpose(0, 2, 1)),
    "of a result": lambda x: (x + 1).T @ (x + 1),
    "centred": lambda x: (x - x[0]).T @ (x - x[0]) / 4,
}


def results(found: Any) -> list[Array]:
    return list(found) if isinstance(found, tuple) else [found]


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=12)
@given(
    st.sampled_from([1, 5, 40, 530]),
    st.sampled_from(SIDES),
    st.sampled_from("fd"),
    st.booleans(),
)
def test_equal_numpys(form: str, k: int, n: int, code: str, turned: bool) -> None:
    quarters = np.random.default_rng(n).integers(-8, 9, (n, k) if turned else (k, n)) / 4
    x = quarters.astype(code)
    found = gj.function(lambda x: FORMS[form](x), fallback="error")(x)
    for a, b in zip(results(found), results(FORMS[form](x)), strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


@pytest.mark.parametrize("form", ["x.T @ x", "by rows"])
def test_for_all_sizes(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gj.config, "symbolic_after", 2)
    monkeypatch.setattr(gj.config, "recompile_warning", 0)
    f = gj.function(lambda x: FORMS[form](x), fallback="error")
    for k, n in ((5, 60), (6, 61), (7, 100), (600, 97), (3, 200), (5, 5), (5, 1), (1, 300)):
        x = np.random.default_rng(n).integers(-8, 9, (k, n)) / 4
        np.testing.assert_array_equal(f(x), FORMS[form](x), strict=True)
    assert len(f.specializations) <= 4


@pytest.mark.parametrize("n", [24, 50, 97, 200])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_are_those_of_the_whole(
    n: int, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gj.config, "cache", False)
    rng = np.random.default_rng(n)
    threads = gj.config.threads
    for k in (3, 100, 1100):
        x = rng.normal(size=(k, n)).astype(dtype)
        x[0, 3], x[k // 2, 5], x[-1, 7] = np.nan, np.inf, -0.0
        for form in ("x.T @ x", "by rows", "and more"):
            with monkeypatch.context() as context:
                context.setattr(cost_model, "SYMMETRIC_LEAST", 1 << 30)
                wanted = gj.function(lambda x, form=form: FORMS[form](x))(x)
            for count, name in (
                (1, None),
                (2, None),
                (5, None),
                *((0, x) for x in levels.sampled(n + k)),
            ):
                gj.config.threads = count or threads
                try:
                    with levels.level(name) if name else contextlib.nullcontext():
                        found = gj.function(lambda x, form=form: FORMS[form](x))(x)
                finally:
                    gj.config.threads = threads
                np.testing.assert_array_equal(found, wanted, strict=True)
