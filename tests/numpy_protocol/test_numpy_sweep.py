"""A part of the sweep over NumPy's functions and options; the whole of it is a program."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy_sweep import sweep
from sweep_arguments import numbers, variants
from sweep_calls import Case, Raised
from sweep_cases import BY_HAND_ONLY, UNDEFINED, cases, functions
from sweep_differences import difference, traced
from sweep_purposes import ON_PURPOSE

import graphjit


def test_every_function_has_recipes() -> None:
    x = numbers("float64", (2, 3), "plain")
    for name, (_, parameters) in functions().items():
        if name not in BY_HAND_ONLY | UNDEFINED:
            assert list(variants(parameters, x, x, list)), name


@pytest.mark.parametrize("seed", range(4))
def test_a_part_of_the_sweep(seed: int) -> None:
    report = sweep(cases(0.006, seed=seed + 100))
    assert report.compared > 450 and len(report.names) > 200
    lines = [f"{case}: {found}" for case, found in report.differences]
    assert not lines, "\n".join(lines)


def test_the_documentation_lists_what_differs_on_purpose() -> None:
    page = Path(__file__).parents[2].joinpath("docs/reference/differences.md").read_text()
    words = " ".join(page.split())
    for purpose in ON_PURPOSE:
        assert purpose.reason in words, purpose.reason


def test_differences_are_found() -> None:
    """The sweep itself: wrong values, signs of zeros, dtypes, types, shapes, errors."""
    x = np.array([1.0, -0.0, np.nan])
    case = Case("f", np.positive, (x,), {}, "plain")
    assert traced(case) and case.exact
    assert not difference(case, x.copy(), x)
    wrong = (
        np.array([1.0, 0.0, np.nan]), np.array([1.0, -0.0, 2.0]), x.astype("f4"), x[:2],
        np.float64(1.0), (x,), Raised(ValueError()), np.nextafter(x, 2),
    )  # fmt: skip
    assert all(difference(case, w, x) for w in wrong)
    assert difference(case, x, Raised(ValueError()))
    assert difference(case, Raised(TypeError()), Raised(ValueError()))


SUMS: dict[str, Callable[[Any], Any]] = {
    "sum": lambda x: x.sum(), "mean": lambda x: x.mean(),
    "rows": lambda x: x.reshape(1, -1).sum(axis=1)[0],
    "columns": lambda x: x.reshape(-1, 1).sum(axis=0)[0],
    "every other": lambda x: x[::2].sum(), "last of cumsum": lambda x: np.cumsum(x)[-1],
    "dot": lambda x: x @ x, "vecdot": lambda x: np.vecdot(x, x), "nansum": np.nansum,
    "norm": lambda x: (x * x).sum(), "var": lambda x: x.var(), "std": lambda x: x.std(),
    "average": lambda x: np.average(x, weights=x), "trapezoid": lambda x: np.trapezoid(x),
    "einsum": lambda x: np.einsum("i,i->", x, x), "add.reduce": np.add.reduce,
    "inner": lambda x: np.inner(x, x), "trace": lambda x: np.trace(np.outer(x[:60], x[:60])),
}  # fmt: skip


@pytest.mark.parametrize("count", [9, 1_000, 30_011])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "complex128"])
def test_sums_are_as_exact_as_numpys(dtype: str, count: int) -> None:
    """The error of long sums, as a root mean square over many, isn't larger than NumPy's. True
    values are NumPy's in numbers twice as long, or those of long doubles.
    """
    draw = np.random.default_rng(count)
    wider: Any = {"float64": np.longdouble, "complex128": np.clongdouble}
    wide = wider.get(dtype, np.complex128 if dtype[0] == "c" else np.float64)
    compiled = graphjit.function(lambda x: [f(x) for f in SUMS.values()], fallback="error")
    errors = np.zeros((2, len(SUMS)))
    for _ in range(20):
        x = draw.random(count) * 2.0 ** draw.integers(-8, 0)
        if dtype[0] == "c":
            x = x + 1j * draw.random(count)
        x = (x / (count if dtype == "float16" else 1)).astype(dtype)
        true = np.array([f(x.astype(wide)) for f in SUMS.values()])
        if dtype[0] == "f" and dtype != "float16":
            assert abs(true[0] - math.fsum(x.tolist())) <= abs(true[0]) * 1e-15
        for row, found in enumerate((compiled(x), [f(x) for f in SUMS.values()])):
            errors[row] += np.abs((np.array(found, wide) - true) / true).astype(float) ** 2
    least = float(np.finfo(dtype).eps) ** 2 * 20
    assert np.isfinite(errors).all()
    worse = errors[0] > np.maximum(errors[1] * 1.5, least)
    assert not worse.any(), [
        (name, *np.sqrt(errors[:, k] / 20)) for k, name in enumerate(SUMS) if worse[k]
    ]
