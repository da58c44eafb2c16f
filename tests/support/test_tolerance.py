"""The comparison of all other tests: it must accept rounding and refuse all else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import arrays, dtypes, shapes
from tolerance import EPSILON, SPACING, ULPS, assert_close

from graphjit.core.types import DTYPES, as_dtype, bfloat16, float16, float32, int32

FLOATS = [d for d in DTYPES if d.is_floating]


def refused(actual: Any, expected: Any, *args: Any, **options: Any) -> None:
    with pytest.raises(AssertionError):
        assert_close(actual, expected, *args, **options)


@given(arrays(dtypes(), shapes()))
def test_an_array_is_close_to_itself(array: np.ndarray[Any, Any]) -> None:
    assert_close(array, array.copy(), exact=True, signed_zeros=True)
    assert_close(array, array.copy())


@given(arrays(dtypes(), shapes(min_ndim=1, empty=False), values=("count", "small")), st.data())
def test_one_wrong_element_is_refused(array: np.ndarray[Any, Any], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, array.size - 1))
    wrong = array.copy().reshape(-1)
    wrong[place] = (
        not wrong[place] if wrong.dtype == bool else wrong[place] + wrong.dtype.type(1)
    )
    refused(wrong.reshape(array.shape), array)
    assume(array.dtype.kind in "fVc")
    wrong[place] = np.nan
    refused(wrong.reshape(array.shape), array)
    refused(array, wrong.reshape(array.shape))


def test_the_table_is_right() -> None:
    for dtype in FLOATS:
        one = np.ones((), dtype.dtype)
        after = np.frombuffer((one.view(f"u{dtype.size}") + 1).tobytes(), dtype.dtype)[0]
        assert float(after) - 1 == EPSILON[dtype.name]
        least = np.frombuffer(np.array(1, f"u{dtype.size}").tobytes(), dtype.dtype)[0]
        assert float(least) == SPACING[dtype.name]


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
@pytest.mark.parametrize("base", [1.0, 64.0, 2.0**-10])
def test_floats_within_so_many_ulps(dtype: Any, base: float) -> None:
    exact = np.array([base], dtype.dtype)
    bits = exact.view(f"u{dtype.size}")
    for steps in (1, ULPS[dtype.name]):
        near = (bits + np.array(steps, bits.dtype)).view(dtype.dtype)
        assert_close(near, exact)
        refused(near, exact, exact=True)
        refused(near, exact, ulps=0.5)
    far = (bits + np.array(ULPS[dtype.name] + 1, bits.dtype)).view(dtype.dtype)
    refused(far, exact)
    assert_close(far, exact, ulps=ULPS[dtype.name] + 1)


def test_subnormals() -> None:
    least = np.array([1e-45], np.float32)
    assert_close(least, np.zeros(1, np.float32))
    refused(least * 9, np.zeros(1, np.float32))
    refused(least, np.zeros(1, np.float32), exact=True)


def test_special_values() -> None:
    nan, inf = np.array([np.nan]), np.array([np.inf])
    assert_close(nan, -nan)
    for wrong in (inf, -inf, np.array([0.0])):
        refused(wrong, nan)
        refused(nan, wrong)
    assert_close(inf, inf)
    refused(-inf, inf)
    refused(inf, np.array([np.finfo(float).max]))
    refused(np.array([np.finfo(float).max]), inf, length=1000)
    zero = np.array([0.0])
    assert_close(-zero, zero)
    refused(-zero, zero, signed_zeros=True)
    refused(-zero, zero, exact=True)


def test_dtype_and_shape() -> None:
    ones = np.ones((2, 1), np.float32)
    refused(np.ones(2, np.float32), ones)
    refused(np.ones((1, 2), np.float32), ones)
    refused(np.ones((2, 1)), ones)
    refused(np.ones((2, 1)), np.ones((2, 1)), float32)
    refused(np.zeros((0, 2), np.float32), np.zeros((0, 1), np.float32))
    refused(np.ones(1, np.int64), np.ones(1, np.int32), int32)


def test_integers_are_exact() -> None:
    big = np.array([2**63 - 1])
    refused(big - 1, big, length=1000)
    refused(np.array([True]), np.array([False]), length=1000)


def test_sums() -> None:
    terms = np.array([1e8, 1, -1e8], np.float32)
    exact, rounded = np.array(1, np.float32), terms.sum(dtype=np.float32)
    assert rounded != exact
    refused(rounded, exact, length=3)
    assert_close(rounded, exact, length=3, scale=2e8)
    refused(rounded, exact, length=3, scale=1e6)
    # A vector of sums: relative to the largest.
    vector = np.array([1e4, 1], np.float32)
    assert_close(vector + np.array([0, 1e-3], np.float32), vector, length=8)
    refused(vector + np.array([0, 1e-1], np.float32), vector, length=8)
    refused(vector + np.array([0, 1e-3], np.float32), vector)


@pytest.mark.parametrize("dtype", [float16, bfloat16], ids=lambda d: d.name)
def test_narrow_sums_run_in_float32(dtype: Any) -> None:
    expected = np.array([1000.0], dtype.dtype)
    half = np.array([1000 * (1 - 20 * EPSILON[dtype.name])], dtype.dtype)
    refused(half, expected, length=1000)


def test_complex_numbers_are_measured_by_size() -> None:
    exact = np.array([1 + 1e-20j])
    assert_close(exact + 1e-17j, exact)
    refused(exact + 1e-17j, exact, exact=True)
    refused(exact + 1e-14j, exact)
    refused(np.conj(1 + 1j), np.array(1 + 1j))
    infinite = np.array([complex(np.inf, 1)])
    assert_close(infinite, infinite.copy())
    refused(np.array([complex(np.inf, 2)]), infinite)
    refused(np.array([complex(-np.inf, 1)]), infinite)
    refused(np.array([complex(np.nan, 1)]), infinite)
    assert_close(np.array([complex(np.nan, 1)]), np.array([complex(np.nan, 1)]))


def test_the_message_shows_where() -> None:
    expected = np.arange(6.0).reshape(2, 3)
    actual = expected.copy()
    actual[1, 2] = 7
    with pytest.raises(AssertionError, match=r"1 of 6 .*\n  \[1, 2\]: .*7.0.*5.0"):
        assert_close(actual, expected, as_dtype("float64"))
