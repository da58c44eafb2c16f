"""Dropout: which elements are kept, what they become, and the generator that is drawn from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphjit as gj
from graphjit.core.errors import InvalidArgumentError

X = np.arange(1.0, 13.0, dtype=np.float32).reshape(3, 4)


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([np.float16, np.float32, np.float64]),
    st.sampled_from([(), (0,), (5,), (3, 4), (2, 3, 5)]),
    st.floats(0, 0.99),
    st.integers(0, 2**31 - 1),
)
def test_kept_elements_are_those_of_the_uniform_numbers(
    dtype: Any, shape: Any, rate: float, seed: int
) -> None:
    x = np.ones(shape, dtype)
    drawn = gj.random.stateless_uniform(shape, [seed, 3], dtype=dtype).numpy()
    expected = np.where(drawn >= dtype(rate), x * dtype(1 / (1 - rate)), dtype(0))
    for f in (gj.nn.stateless_dropout, gj.function(gj.nn.stateless_dropout, fallback="error")):
        found = np.asarray(f(x, rate, np.array([seed, 3])))
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == dtype


def test_a_noise_shape_is_drawn_for_and_spread() -> None:
    x = np.ones((50, 4), np.float32)
    for noise in ((50, 1), (None, 1)):
        found = gj.nn.dropout(x, 0.5, noise, seed=2).numpy()
        rows = found.any(axis=1)
        assert 0 < rows.sum() < 50
        np.testing.assert_array_equal(found, np.where(rows[:, None], x * 2, 0))
    with pytest.raises(InvalidArgumentError, match="Incompatible shapes"):
        gj.nn.dropout(X, 0.5, (2, 4))


@pytest.mark.parametrize("compiled", [False, True])
def test_without_a_seed_each_call_draws_what_comes_next(compiled: bool) -> None:
    def f(x: Any) -> Any:
        return gj.nn.dropout(x, 0.5)

    run = gj.function(f, fallback="error") if compiled else f
    gj.random.set_seed(5)
    found = [np.asarray(run(X)) for _ in range(3)]
    assert not np.array_equal(found[0], found[1])
    gj.random.set_seed(5)
    expected = [gj.nn.dropout(X, 0.5).numpy() for _ in range(3)]
    np.testing.assert_array_equal(found, expected)
    a, b = (gj.nn.dropout(X, 0.5, seed=7).numpy() for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_a_rate_may_be_traced_and_the_gradient_is_that_of_what_is_kept() -> None:
    def f(x: Any, rate: Any) -> Any:
        return gj.reduce_sum(gj.nn.stateless_dropout(x, rate, [1, 2]))

    kept = gj.nn.stateless_dropout(X, 0.25, [1, 2]).numpy() != 0
    found = np.asarray(gj.grad(f)(X, np.float32(0.25)))
    np.testing.assert_allclose(found, kept / np.float32(0.75), rtol=1e-6)


def test_share_and_mean() -> None:
    x = np.ones(200_000, np.float32)
    found = gj.nn.dropout(x, 0.3, seed=1).numpy()
    assert abs((found == 0).mean() - 0.3) < 0.005 and abs(found.mean() - 1) < 0.005


@pytest.mark.parametrize("rate", [1.0, -0.1, np.nan, "half", None])
def test_other_rates_are_refused(rate: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"rate is in \[0, 1\)"):
        gj.nn.dropout(X, rate)


def test_other_arguments_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="int64 is not in the list"):
        gj.nn.dropout(np.arange(3), 0.5)
    with pytest.raises(InvalidArgumentError, match="the algorithm is philox, not 'threefry'"):
        gj.nn.stateless_dropout(X, 0.5, [1, 2], "threefry")
    with pytest.raises(InvalidArgumentError, match=r"seed must have shape \[2\]"):
        gj.nn.stateless_dropout(X, 0.5, 3)
