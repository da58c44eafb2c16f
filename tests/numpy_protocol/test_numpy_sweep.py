"""A part of the sweep over NumPy's functions and options; the whole of it is a program."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy_sweep as sweep
import pytest

import graphjit


def test_every_function_has_recipes() -> None:
    x = sweep.numbers("float64", (2, 3), "plain")
    for name, (_, parameters) in sweep.functions().items():
        if name not in sweep.BY_HAND_ONLY | sweep.UNDEFINED:
            assert list(sweep._variants(parameters, x, x, list)), name


@pytest.mark.parametrize("seed", range(4))
def test_a_part_of_the_sweep(seed: int) -> None:
    report = sweep.sweep(sweep.cases(0.006, seed=seed + 100))
    assert report.compared > 450 and len(report.names) > 200
    lines = [f"{case}: {found}" for case, found in report.differences]
    assert not lines, "\n".join(lines)


def test_the_readme_lists_what_differs_on_purpose() -> None:
    readme = Path(__file__).parents[2].joinpath("README.md").read_text()
    words = " ".join(readme.split())
    for purpose in sweep.ON_PURPOSE:
        assert purpose.reason in words, purpose.reason


def test_differences_are_found() -> None:
    """The sweep itself: wrong values, signs of zeros, dtypes, types, shapes, errors."""
    x = np.array([1.0, -0.0, np.nan])
    case = sweep.Case("f", np.positive, (x,), {}, "plain")
    assert sweep.traced(case) and case.exact
    assert not sweep.difference(case, x.copy(), x)
    wrong = (
        np.array([1.0, 0.0, np.nan]), np.array([1.0, -0.0, 2.0]), x.astype("f4"), x[:2],
        np.float64(1.0), (x,), sweep.Raised(ValueError()), np.nextafter(x, 2),
    )  # fmt: skip
    assert all(sweep.difference(case, w, x) for w in wrong)
    assert sweep.difference(case, x, sweep.Raised(ValueError()))
    assert sweep.difference(case, sweep.Raised(TypeError()), sweep.Raised(ValueError()))


@pytest.mark.parametrize("count", [9, 1_000, 100_003])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_are_as_exact_as_numpys(dtype: str, count: int) -> None:
    """The error of long sums, as a root mean square over many, isn't larger than NumPy's."""
    draw = np.random.default_rng(count)
    compiled = graphjit.function(lambda x: (x.sum(), x.mean(), x.reshape(1, -1).sum(axis=1)[0]))
    errors = np.zeros((2, 3))
    for _ in range(30):
        x = (draw.random(count) * 2.0 ** draw.integers(-8, 8)).astype(dtype)
        true = math.fsum(x.tolist())
        wanted = np.array([true, true / count, true])
        plain = np.array([x.sum(), x.mean(), x.reshape(1, -1).sum(axis=1)[0]], np.float64)
        errors[0] += ((np.array(compiled(x), np.float64) - wanted) / wanted) ** 2
        errors[1] += ((plain - wanted) / wanted) ** 2
    least = float(np.finfo(dtype).eps) ** 2 * 30
    assert (errors[0] <= np.maximum(errors[1] * 1.5, least)).all(), errors
