"""NumPy's functions whose Python code is followed, or written in terms of others of NumPy's."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from decorated_checks import outcome, same
from hypothesis import given, settings
from hypothesis import strategies as st

import graphjit as gj

# NumPy 2.3's own code gives arrays another shape in place, which isn't traced.
OLD = np.lib.NumpyVersion(np.__version__) < "2.4.0"
KNOTS = np.array([0.0, 1.0, 3.0, 4.0, 7.0, 9.0])

# Of x: floats with one axis; i: small integers of that size; m: floats with two axes.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "histogram": lambda x, i, m: np.histogram(x),
    "histogram in a range": lambda x, i, m: np.histogram(x, bins=4, range=(-20, 20)),
    "histogram by edges": lambda x, i, m: np.histogram(x, [-9.0, 0, 1, 9], density=True),
    "histogram by weights": lambda x, i, m: np.histogram(x, 3, weights=i),
    "histogram_bin_edges": lambda x, i, m: np.histogram_bin_edges(x, 4),
    "nanmedian": lambda x, i, m: np.nanmedian(x),
    "nanmedian of rows": lambda x, i, m: np.nanmedian(m, axis=1),
    "nanmedian of both": lambda x, i, m: np.nanmedian(m, axis=(0, 1), keepdims=True),
    "nanmedian of integers": lambda x, i, m: np.nanmedian(i),
    "nanargmax": lambda x, i, m: np.nanargmax(np.append(x, 1.0)),
    "nanargmin of columns": lambda x, i, m: np.nanargmin(m * 0 + i[0], axis=0),
    "interp with a period": lambda x, i, m: np.interp(x, KNOTS, x[: len(KNOTS)], period=20),
    "gradient": lambda x, i, m: np.gradient(x[:6], KNOTS[: len(x)]),
    "gradient to the second order": lambda x, i, m: np.gradient(m, KNOTS[:4], axis=1),
    "apply_along_axis": lambda x, i, m: np.apply_along_axis(lambda r: r.sum() * r, 0, m),
    "apply_along_axis to numbers": lambda x, i, m: np.apply_along_axis(np.max, 1, m),
    "apply_along_axis of a vector": lambda x, i, m: np.apply_along_axis(np.cumsum, 0, x),
    "apply_along_axis to one number": lambda x, i, m: np.apply_along_axis(np.sum, 0, x),
    "apply_over_axes": lambda x, i, m: np.apply_over_axes(np.sum, m, [0, 1]),
    "piecewise": lambda x, i, m: np.piecewise(
        x, [x < 1, x > 2], [lambda v: v * 2, lambda v, k=3: v + k, -1.0]
    ),
    "choose": lambda x, i, m: np.choose(i % 2, [x, -x]),
    "choose beyond": lambda x, i, m: np.choose(i, [x, -x], mode="clip"),
    "choose, or raise": lambda x, i, m: np.choose(i, [x, -x, x * 2, 7.0]),
    "extract": lambda x, i, m: np.extract(x > 1, x),
    "compress": lambda x, i, m: np.compress(x > 1, x),
    "compress rows": lambda x, i, m: np.compress(m[:, 0] > 1, m, axis=0),
    "lexsort": lambda x, i, m: np.lexsort((x, i)),
    "polyder": lambda x, i, m: np.polyder(x),
    "polyint": lambda x, i, m: np.polyint(x, 2),
    "polyadd": lambda x, i, m: np.polyadd(x, x[:2]),
    "polysub": lambda x, i, m: np.polysub(x[:2], x),
    "polymul": lambda x, i, m: np.polymul(x, np.append(0.0, i)),
    "poly": lambda x, i, m: np.poly(x[:4]),
    "intersect1d": lambda x, i, m: np.intersect1d(i, [1, 2, 9]),
    "setdiff1d": lambda x, i, m: np.setdiff1d(i, [1, 2, 9]),
    "union1d": lambda x, i, m: np.union1d(i, [1, 2, 9]),
    "tensorinv": lambda x, i, m: np.linalg.tensorinv((np.eye(6) + x[0] * 0).reshape(2, 3, 6)),
    "cond": lambda x, i, m: np.linalg.cond(np.outer(x, x)[:3, :3] + np.eye(3) * 9, 1),
    "hfft": lambda x, i, m: np.fft.hfft(x),
    "ihfft": lambda x, i, m: np.fft.ihfft(x),
}


def arguments(seed: int, size: int = 8) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    x = np.round(rng.normal(1, 2, size), 1)
    return x, rng.integers(0, 4, size), np.round(rng.normal(1, 2, (3, 4)), 1)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gives_what_numpy_gives(name: str) -> None:
    function = FUNCTIONS[name]
    decorated = gj.function(function)
    sets = [arguments(seed) for seed in range(6)]
    holes = arguments(6)
    holes[0][2:5] = holes[2][0, 1] = np.nan
    sets += [holes, arguments(7, 7)]
    for x, i, m in sets:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = outcome(decorated, (x.copy(), i.copy(), m.copy()))
            expected = outcome(function, (x, i, m))
        same(found, expected, name, 1e-12)
    eager = OLD and name.startswith("gradient")
    assert eager or any(not s.reason for s in decorated.specializations), "never compiled"


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from([-2.0, 0.0, 1.5, 7.0, np.inf, np.nan]), min_size=1, max_size=7),
    st.sampled_from([np.float64, np.float32, np.float16]),
)
def test_nanmedian_and_its_warning(values: list[float], dtype: Any) -> None:
    x = np.array(values, dtype)
    results = []
    for f in (np.nanmedian, gj.function(lambda x: np.nanmedian(x), fallback="error")):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = f(x)
        results.append((found, [str(w.message) for w in caught if "NaN" in str(w.message)]))
    (a, told), (b, also) = results
    np.testing.assert_array_equal(a, b)
    assert a.dtype == b.dtype and told == also


def test_the_users_functions_run_once_and_see_what_they_should() -> None:
    seen: list[float] = []

    def double(v: Any) -> Any:
        seen.append(float(len(v)))
        return v * factor[0]

    factor = [2.0]
    for function in (
        lambda x: np.piecewise(x, [x > 1], [double, 0.0]),
        lambda x: np.apply_along_axis(double, 0, x),
    ):
        decorated = gj.function(function)
        for scale in (2.0, 5.0):
            factor[0] = scale
            for k in range(3):
                x = np.array([0.5, 1.5, 2.5, k + 0.5])
                counts = []
                results = []
                for run in (decorated, function):
                    seen.clear()
                    results.append(run(x))
                    counts.append(list(seen))
                np.testing.assert_array_equal(*results)
                assert counts[0] == counts[1]


def test_errors_are_numpys() -> None:
    x = np.arange(4.0)
    for function in (
        lambda x: np.histogram(x, bins=-1),
        lambda x: np.gradient(x, np.arange(3.0)),
        lambda x: np.choose(x.astype(int), [x, -x]),
        lambda x: np.apply_along_axis(np.sum, 2, x[:, None]),
        lambda x: np.piecewise(x, [x > 1], [1, 2, 3]),
        lambda x: np.nanmedian(x, axis=1),
        lambda x: np.nanmedian(x, axis=-2),
        lambda x: np.nanmedian(x[:, None], axis=(0, 0)),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = outcome(gj.function(function), (x.copy(),))
        same(found, outcome(function, (x.copy(),)), "", 0.0)
        assert isinstance(found[0], str), "an error"


def test_a_handler_round_what_is_followed_handles_the_users_error() -> None:
    def f(x: Any, w: Any) -> Any:
        try:
            return np.gradient(x, w)
        except ValueError:
            return -x

    x = np.arange(4.0) ** 2
    decorated = gj.function(f)
    for w in (KNOTS[:4], KNOTS[:3], KNOTS[:4] * 2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            np.testing.assert_array_equal(decorated(x, w), f(x, w))


def test_arrays_of_known_numbers_are_indexed_by_traced_ones() -> None:
    def f(x: Any) -> Any:
        edges = np.linspace(0, 5, 6)
        table = np.arange(12.0).reshape(6, 2).T.copy().T
        k = x.astype(np.intp)
        return edges[k] + x, table[k], table[k, 1]

    decorated = gj.function(f, fallback="error")
    for x in (np.array([0.0, 3, 5]), np.array([4.0, 4, 1])):
        for a, b in zip(decorated(x), f(x), strict=True):
            np.testing.assert_array_equal(a, b)
    with pytest.raises(IndexError):
        decorated(np.array([0.0, 6, 1]))


def test_gradients_go_through_what_is_followed() -> None:
    x = np.array([0.3, 2.2, 1.1, 4.4, 3.6, 0.9])
    for function in (
        lambda x: (np.gradient(x, KNOTS if not OLD else 1.0) ** 2).sum(),
        lambda x: (np.interp(x, KNOTS, x, period=20) ** 2).sum(),
        lambda x: np.polyint(x).sum() + (np.polymul(x, x) ** 2).sum(),
        lambda x: np.nanmedian(x) ** 2,
        lambda x: np.apply_along_axis(lambda r: r.sum() * r, 1, x.reshape(2, 3)).sum(),
        lambda x: np.piecewise(x, [x > 1], [lambda v: v**2, lambda v: v]).sum(),
    ):
        gj.testing.check_grads(function, (x,), order=1)
