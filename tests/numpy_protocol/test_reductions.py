"""Reductions of traced arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from protocol_checks import ALL, BUILT_INS, COMPLEX, LOOSE, SHAPES, array, check, traced

import graphjit
from graphjit.core.errors import TracingError

REDUCTIONS: list[Callable[..., Any]] = [
    lambda x: np.sum(x),
    lambda x: x.sum(axis=0),
    lambda x: np.sum(x, axis=-1, keepdims=True),
    lambda x: np.sum(x, axis=(0, 1)),
    lambda x: x.sum(dtype=np.float32),
    lambda x: x.sum(dtype=int),
    lambda x: np.sum(x, initial=2),
    lambda x: np.sum(x, axis=5),
    lambda x: np.sum(x, where=np.abs(x) > 1),
    lambda x: np.prod(x),
    lambda x: x.prod(1),
    lambda x: np.mean(x),
    lambda x: x.mean(0),
    lambda x: np.mean(x, axis=1, dtype=np.float64),
    lambda x: np.mean(x, where=np.abs(x) > 1),
    lambda x: np.var(x),
    lambda x: x.var(axis=1, ddof=1),
    lambda x: x.std(),
    lambda x: np.std(x, 0),
    lambda x: np.std(x, axis=0, keepdims=True, correction=1),
    lambda x: np.max(x),
    lambda x: x.max(1),
    lambda x: np.min(x, axis=0, keepdims=True),
    lambda x: np.amin(x, initial=0),
    lambda x: np.argmax(x),
    lambda x: x.argmin(1),
    lambda x: np.argmax(x, axis=0, keepdims=True),
    lambda x: np.any(x),
    lambda x: x.all(1),
    lambda x: np.all(x, axis=0, keepdims=True),
    lambda x: np.ptp(x),
    lambda x: np.ptp(x, axis=1),
    lambda x: np.count_nonzero(x),
    lambda x: np.count_nonzero(x, axis=1),
    lambda x: np.nansum(x),
    lambda x: np.nanmean(x, axis=1),
    lambda x: np.nanmax(x, 0),
    lambda x: np.nanmin(x),
    lambda x: np.nanvar(x, axis=1, ddof=1),
    lambda x: np.nanstd(x),
    lambda x: np.nanprod(x),
    lambda x: np.average(x),
    lambda x: np.average(x, axis=0),
    lambda x: np.average(x, weights=np.abs(x) + 1),
    lambda x: np.average(x, axis=1, weights=[1, 2, 3, 4, 5]),
    lambda x: np.median(x),
    lambda x: np.median(x, axis=1),
    lambda x: np.median(x, 0, keepdims=True),
    lambda x: np.percentile(x, 30),
    lambda x: np.percentile(x, [25, 50, 75], axis=1),
    lambda x: np.quantile(x, 0.9, axis=0),
    lambda x: np.quantile(x, [0.0, 1.0], keepdims=True),
    lambda x: np.cumsum(x),
    lambda x: x.cumsum(1),
    lambda x: np.cumprod(x, axis=0),
    lambda x: np.cumsum(x, axis=0, dtype=np.float32),
    lambda x: np.nancumsum(x, axis=1),
    lambda x: np.sort(x),
    lambda x: np.sort(x, axis=0),
    lambda x: np.sort(x, axis=None),
    lambda x: np.argsort(x, axis=1, kind="stable"),
    lambda x: np.diff(x),
    lambda x: np.diff(x, axis=0),
    lambda x: np.diff(x, n=2),
    lambda x: np.diff(x, prepend=0, axis=1),
    lambda x: np.ediff1d(x),
    lambda x: np.cov(x),
    lambda x: np.corrcoef(x),
    lambda x: np.cov(x, rowvar=False),
    lambda x: np.trapezoid(x),
    lambda x: np.trapezoid(x, dx=0.5, axis=0),
    lambda x: np.trace(x),
    lambda x: x.trace(1),
    lambda x: np.linalg.norm(x),
    lambda x: np.cumulative_sum(x, axis=1, include_initial=True),
]


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("index", range(len(REDUCTIONS)))
def test_reduction(index: int, dtype: str) -> None:
    lossy = dtype in COMPLEX or dtype == "bool"
    check(REDUCTIONS[index], array((3, 5), dtype), may_refuse=lossy, tolerance=LOOSE.get(dtype))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("index", range(len(REDUCTIONS)))
def test_reduction_of_shape(index: int, shape: tuple[int, ...]) -> None:
    few = 0 in shape or (len(shape) < 2 and index in range(66, 69))  # np.cov of one number
    check(REDUCTIONS[index], array(shape, "float64"), may_refuse=few)


EMPTY = [
    lambda x: np.min(x, axis=0), lambda x: x.max(axis=1), lambda x: np.ptp(x, axis=0),
    lambda x: np.argmin(x, axis=0), lambda x: np.average(x, axis=0),
    lambda x: np.average(x, axis=1, keepdims=True), lambda x: np.nanmin(x, axis=0),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
@pytest.mark.parametrize("shape", [(0, 0), (0, 4, 0), (0, 3), (3, 0), (4, 0, 0)])
@pytest.mark.parametrize("index", range(len(EMPTY)))
def test_reduced_to_nothing(index: int, shape: tuple[int, ...]) -> None:
    """NumPy refuses to reduce no elements, also where there is no result to hold any."""
    x = np.ones(shape)
    try:
        wanted = EMPTY[index](x)
    except (ValueError, ZeroDivisionError) as error:
        with pytest.raises(type(error)):
            graphjit.function(EMPTY[index])(x)
    else:
        assert graphjit.function(EMPTY[index])(x).shape == wanted.shape


@pytest.mark.parametrize("index", range(0, len(REDUCTIONS), 8))
def test_compiled_reduction(index: int) -> None:
    check(
        REDUCTIONS[index], array((3, 5), "float32"), tolerance=1e-4, jit=True, may_refuse=True
    )


def test_refused_for_complex_and_bool() -> None:
    """Only these reductions of complex numbers or bools are left to NumPy."""
    for dtype, count in (("complex128", 22), ("bool", 10)):
        left = 0
        for function in REDUCTIONS:
            try:
                traced(function, array((3, 5), dtype))
            except TracingError:
                left += 1
            except BUILT_INS:
                pass
        assert left <= count, (dtype, left)


def test_nan_in_reductions() -> None:
    x = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, np.nan], [4.0, 5.0, -6.0]])
    for name in (
        "nansum", "nanmean", "nanmax", "nanmin", "nanvar", "nanstd", "nanprod", "median", "max",
        "argmax", "sort", "nancumprod", "mean",
    ):  # fmt: skip
        check(lambda x, n=name: getattr(np, n)(x, axis=1), x)
    check(lambda x: np.percentile(x, 40, axis=1), x)
