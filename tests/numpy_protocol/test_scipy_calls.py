"""Functions of SciPy in decorated functions, beside undecorated ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.fft
import scipy.integrate
import scipy.linalg
import scipy.ndimage
import scipy.signal
import scipy.special
from decorated_checks import check_decorated, vectors

import graphjit as gj
from graphjit import FallbackWarning
from graphjit.ops import library

SIZES = (4, 5, 6)


def definite(x: Any) -> Any:
    return np.eye(x.shape[0]) * 90 + np.outer(x, x)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: scipy.fft.fft(x),
        lambda x: scipy.fft.ifft(x, norm="ortho"),
        lambda x: scipy.fft.rfft(x, n=7),
        lambda x: scipy.fft.irfft(x, axis=0),
        lambda x: scipy.fft.fft(x.astype(int)),
        lambda x: scipy.fft.fftshift(x),
        lambda x: scipy.fft.fft2(np.outer(x, x)),
        lambda x: scipy.fft.rfftn(np.outer(x, x), norm="forward"),
        lambda x: scipy.special.jv(1, x),
        lambda x: scipy.special.jv(x, 2.0),
        lambda x: scipy.special.ellipk(x),
    ],
)
def test_one_form_serves_all_sizes(function: Callable[..., Any]) -> None:
    check_decorated(function, *vectors(*SIZES), traces=3, tolerance=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.complex64])
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft"])
def test_transforms_keep_the_width(dtype: Any, name: str) -> None:
    if name == "rfft" and dtype is np.complex64:
        return
    transform = getattr(scipy.fft, name)
    check_decorated(
        lambda x: transform(x), *vectors(6, dtype=dtype), tolerance=1e-5, compiled=True
    )


@pytest.mark.parametrize(
    "function",
    [
        lambda x: scipy.fft.dct(x),
        lambda x: scipy.fft.idct(x, norm="ortho"),
        lambda x: scipy.fft.dst(x.astype(np.float32), type=3),
        lambda x: scipy.fft.dctn(np.outer(x, x), axes=(0,)),
        lambda x: scipy.linalg.solve(definite(x), x),
        lambda x: scipy.linalg.solve(definite(x), x, assume_a="pos"),
        lambda x: scipy.linalg.inv(definite(x).astype(np.float32)),
        lambda x: scipy.linalg.det(definite(x)),
        lambda x: scipy.linalg.cholesky(definite(x), lower=True),
        lambda x: scipy.linalg.eigh(definite(x), eigvals_only=True),
        lambda x: scipy.linalg.svdvals(np.outer(x, x)[:2]),
        lambda x: scipy.linalg.lu(definite(x)),
        lambda x: scipy.linalg.expm(np.outer(x, x) / 90),
        lambda x: scipy.linalg.toeplitz(x),
        lambda x: scipy.signal.lfilter([1.0, 0.5], [1.0], x),
        lambda x: scipy.signal.convolve(x, x, mode="same"),
        lambda x: scipy.ndimage.gaussian_filter(x, 1.0),
        lambda x: scipy.ndimage.sobel(np.outer(x, x)),
        lambda x: scipy.integrate.simpson(x),
        lambda x: scipy.integrate.cumulative_trapezoid(x, dx=0.5),
        lambda x: scipy.special.kv(2, x.astype(np.float32)),
    ],
)
def test_functions_are_called_by_compiled_code(function: Callable[..., Any]) -> None:
    check_decorated(function, *vectors(*SIZES), tolerance=1e-6)


def test_results_are_arrays_of_their_own() -> None:
    f = gj.function(lambda x: (scipy.fft.dct(x), scipy.linalg.inv(x[None] * x[:, None] + 9)))
    x = np.array([1.0])
    assert not any(np.shares_memory(a, b) for a, b in zip(f(x), f(x), strict=True))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: scipy.linalg.inv(np.outer(x, x) * 0),
        lambda x: scipy.linalg.cholesky(-definite(x)),
        lambda x: scipy.linalg.solve(definite(x) * np.nan, x),
        lambda x: scipy.linalg.solve(definite(x), x[:2]),
        lambda x: scipy.linalg.inv(x),
        lambda x: scipy.fft.fft(x, n=0),
        lambda x: scipy.fft.fft(x, axis=3),
        lambda x: scipy.fft.rfft(x * 1j),
    ],
)
def test_errors_are_those_of_undecorated_calls(function: Callable[..., Any]) -> None:
    f = gj.function(function)
    for x, *_ in vectors(4, 5):
        for _ in range(2):
            with pytest.raises(Exception) as expected:
                function(x)
            with pytest.raises(type(expected.value)):
                f(x)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: scipy.linalg.inv(definite(x), overwrite_a=True),
        lambda x: scipy.linalg.norm(x),
        lambda x: scipy.linalg.sqrtm(definite(x)),
        lambda x: scipy.special.sici(x),
        lambda x: scipy.special.eval_legendre(2, x),
        lambda x: scipy.fft.fft(x, workers=2),
    ],
)
def test_others_run_eagerly(function: Callable[..., Any]) -> None:
    check_decorated(function, *vectors(4), compiled=False, tolerance=1e-12)


def test_all_routines_are_there() -> None:
    import importlib

    for module, names in library.ROUTINES.items():
        for name in names:
            assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: scipy.linalg.qr(definite(x), mode="r"),
        lambda x: np.unravel_index(np.sort(x).astype(int) % 5, (5,)),
        lambda x: scipy.linalg.solve_toeplitz(x + np.arange(x.shape[0])[::-1] * 9, x),
    ],
)
def test_tuples_of_one_and_what_is_singular_for_equal_numbers(function: Any) -> None:
    check_decorated(function, *vectors(6), tolerance=1e-9, compiled=True)


def test_results_whose_shapes_depend_on_numbers() -> None:
    def some(x: Any) -> Any:
        return scipy.linalg.eigvalsh(x, subset_by_value=[0.5, 9.0])

    few = gj.function(lambda x: some(x + x.T))
    x = np.arange(9.0).reshape(3, 3)
    with pytest.warns(FallbackWarning, match="depend on numbers"):
        np.testing.assert_allclose(few(x), some(x + x.T))

    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.normal(size=(120, 120)))[0]  # too large for two trials at the trace
    written: list[int] = []

    @gj.function
    def f(x: Any) -> Any:
        found = some(x)
        x[0] = 7
        return found

    for count in (120, 3, 120, 7):
        matrix = q * np.repeat([1.0, -1.0], [count, 120 - count]) @ q.T
        expected, copy = some(matrix), matrix.copy()
        np.testing.assert_allclose(f(copy), expected, rtol=1e-9)
        assert (copy[0] == 7).all() and (copy[1:] == matrix[1:]).all()
        written.append(len(expected))
    assert written == [120, 3, 120, 7]
