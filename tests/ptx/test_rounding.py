"""The bound on rounding: NumPy's results are within it, and what is a few units off is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from ptx.rounding import Rounded, assert_within

STEPS: dict[str, Callable[[Any], Any]] = {
    "exponential": lambda x: np.exp(x * 0.5 - 1),
    "quotient": lambda x: x / (x * x + 1),
    "root": lambda x: np.sqrt(x * x + 2) - 3,
    "sum": lambda x: x.sum(0) * 3,
    "running sum": lambda x: x.cumsum(1),
    "mean": lambda x: (x - x.mean(1, keepdims=True)) * x,
    "spread": lambda x: x.var(0) + 1,
    "product": lambda x: x @ x.T + 1,
    "largest": lambda x: np.maximum(x.max(0) * 2, x[0]) - x.min(0),
    "tanh": lambda x: np.tanh(x.swapaxes(0, 1)),
}


@pytest.mark.parametrize("name", STEPS)
@given(st.data())
def test_numpy_is_within(name: str, data: Any) -> None:
    shape = (data.draw(st.integers(1, 5)), data.draw(st.integers(1, 70)))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    small = st.floats(-30, 30, width=32)
    x = data.draw(arrays.arrays(dtype, shape, elements=small))
    assert_within(STEPS[name](x), STEPS[name](Rounded(x)))


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_off_is_found(name: str, dtype: Any) -> None:
    """By as much as a dozen roundings of the largest number, or as the terms of a sum have."""
    x = np.random.default_rng(0).normal(size=(4, 9)).astype(dtype)
    found = STEPS[name](x)
    largest = max(np.abs(found).max(), np.abs(x).max() ** 2 * 9)
    for sign in (1, -1):
        worse = found.copy()
        worse[-1] += sign * dtype(16 * np.finfo(dtype).eps * largest)
        with pytest.raises(AssertionError, match="elements; the first"):
            assert_within(worse, STEPS[name](Rounded(x)))


def test_a_divisor_that_may_be_zero() -> None:
    x = Rounded(np.ones(3, np.float32))
    with pytest.raises(AssertionError, match="may be zero"):
        x / (x * 0.1 - x * 0.1)


def test_another_shape_or_dtype() -> None:
    x = Rounded(np.ones(3, np.float32))
    for wrong in (np.ones(3), np.ones((3, 1), np.float32)):
        with pytest.raises(AssertionError):
            assert_within(wrong, x)
