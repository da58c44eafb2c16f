"""NumPy's other functions on traced arrays: shapes, joins, products, transforms, sorting."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from protocol_checks import ALL, COMPLEX, LOOSE, array, check, outcome, same_outcome

import graphjit as gj

MOVES: list[Callable[..., Any]] = [
    lambda x: x.reshape(15),
    lambda x: x.reshape(5, 3),
    lambda x: x.reshape((5, -1)),
    lambda x: np.reshape(x, (3, 5)),
    lambda x: x.reshape(4, 4),
    lambda x: x.reshape(5, 3, order="F"),
    lambda x: np.ravel(x),
    lambda x: x.ravel("F"),
    lambda x: x.flatten(),
    lambda x: x.T,
    lambda x: x.mT,
    lambda x: x.transpose(1, 0),
    lambda x: np.transpose(x, (1, 0)),
    lambda x: np.moveaxis(x, 0, -1),
    lambda x: np.rollaxis(x, 1),
    lambda x: np.swapaxes(x, 0, 1),
    lambda x: x.swapaxes(0, -1),
    lambda x: np.expand_dims(x, 1),
    lambda x: np.expand_dims(x, (0, 3)),
    lambda x: np.squeeze(x[None]),
    lambda x: x[:, None].squeeze(1),
    lambda x: np.squeeze(x, 0),
    lambda x: np.concatenate([x, x]),
    lambda x: np.concatenate((x, x[:, :2]), axis=1),
    lambda x: np.concatenate([x, x], axis=None),
    lambda x: np.concatenate([x, x.T]),
    lambda x: np.stack([x, x], axis=1),
    lambda x: np.vstack([x, x[0]]),
    lambda x: np.hstack([x, x]),
    lambda x: np.dstack([x, x]),
    lambda x: np.column_stack([x[:, 0], x]),
    lambda x: np.stack([x, np.ones((3, 5), np.int8)]),
    lambda x: np.block([[x, x], [x, x]]),
    lambda x: np.append(x, 1),
    lambda x: np.append(x, x, axis=0),
    lambda x: np.atleast_1d(x),
    lambda x: np.atleast_3d(x),
    lambda x: np.atleast_2d(x[0]),
    lambda x: np.split(x, 3),
    lambda x: np.split(x, [1, 2], axis=1),
    lambda x: np.split(x, 2),
    lambda x: np.array_split(x, 2),
    lambda x: np.hsplit(x, 5),
    lambda x: np.vsplit(x, [1]),
    lambda x: np.tile(x, 2),
    lambda x: np.tile(x, (2, 1, 3)),
    lambda x: np.repeat(x, 2),
    lambda x: np.repeat(x, 3, axis=0),
    lambda x: x.repeat([1, 0, 2], axis=0),
    lambda x: np.roll(x, 2),
    lambda x: np.roll(x, -1, axis=1),
    lambda x: np.roll(x, (1, 2), axis=(0, 1)),
    lambda x: np.flip(x),
    lambda x: np.flip(x, 1),
    lambda x: np.fliplr(x),
    lambda x: np.flipud(x),
    lambda x: np.rot90(x),
    lambda x: np.rot90(x, 2),
    lambda x: np.rot90(x, 3, (1, 0)),
    lambda x: np.pad(x, 1),
    lambda x: np.pad(x, ((1, 2), (0, 1))),
    lambda x: np.pad(x, 2, constant_values=1),
    lambda x: np.pad(x, 2, "edge"),
    lambda x: np.pad(x, 2, mode="reflect"),
    lambda x: np.pad(x, 4, mode="reflect"),
    lambda x: np.pad(x, (1, 3), mode="symmetric"),
    lambda x: np.pad(x, (1, 3), mode="wrap"),
    lambda x: np.broadcast_to(x, (2, 3, 5)),
    lambda x: np.broadcast_to(x, (3, 4)),
    lambda x: np.broadcast_arrays(x, x[0], 1),
    lambda x: np.diag(x),
    lambda x: np.diag(x[0]),
    lambda x: np.diag(x[0], 1),
    lambda x: np.diagonal(x, 1),
    lambda x: x.diagonal(-1),
    lambda x: np.diagflat(x),
    lambda x: np.tril(x),
    lambda x: np.triu(x, 1),
    lambda x: np.tril(x[0]),
    lambda x: np.zeros_like(x),
    lambda x: np.ones_like(x, dtype=float),
    lambda x: np.full_like(x, 1),
    lambda x: np.full_like(x, x[0, 0]),
    lambda x: np.zeros_like(x, shape=(2,)),
    lambda x: np.copy(x),
    lambda x: np.meshgrid(x[0], x[1]),
    lambda x: np.meshgrid(x[0], x[1], x[2], indexing="ij"),
    lambda x: np.meshgrid(x[0], [1, 2], sparse=True),
    lambda x: np.delete(x, 1, axis=1),
    lambda x: np.delete(x, [0, 2]),
    lambda x: np.insert(x, 1, 1, axis=1),
    lambda x: np.insert(x, 0, 1),
    lambda x: np.resize(x, (4, 5)),
    lambda x: np.shape(x),
    lambda x: np.ndim(x),
    lambda x: np.size(x),
    lambda x: (x.size, x.nbytes, x.itemsize, x.ndim, len(x)),
    lambda x: x.astype("float32"),
    lambda x: x.astype(int),
    lambda x: x.astype(bool),
    lambda x: x.copy(),
    lambda x: x.conj(),
    lambda x: x.real,
    lambda x: x.imag,
    lambda x: np.real(x),
    lambda x: np.imag(x),
    lambda x: np.angle(x),
    lambda x: np.angle(x, deg=True),
    lambda x: np.iscomplex(x),
    lambda x: np.isreal(x),
    lambda x: np.iscomplexobj(x),
    lambda x: np.isrealobj(x),
    lambda x: np.take(x, 2),
    lambda x: np.take(x, [0, -1], axis=1),
    lambda x: x.take([[0, 2], [1, 1]], 0),
    lambda x: np.take(x, [7, -9], axis=0, mode="wrap"),
    lambda x: np.take(x, [7, -9], mode="clip"),
    lambda x: np.take_along_axis(x, np.argsort(np.abs(x), axis=1, kind="stable"), axis=1),
    lambda x: np.zeros(3, like=x),
    lambda x: np.array([1.5, 2], like=x),
    lambda x: np.full(2, 7, like=x),
    lambda x: np.array([x[0], x[1]], like=x),
    lambda x: np.where(x > 0, x, 0),
    lambda x: np.where(x, 1, 2.5),
    lambda x: np.where([[True], [False], [True]], x, -x),
    lambda x: np.select([x > 1, x < 0], [x, 2 * x]),
    lambda x: np.select([x > 1], [x], 7),
    lambda x: np.select([x > 1, x > 0], [1, 2], default=0.5),
    lambda x: np.clip(x, 0, 1),
    lambda x: x.clip(-1),
    lambda x: np.clip(x, None, 1),
    lambda x: x.clip(max=1),
    lambda x: np.clip(x, -500, 500),
    lambda x: np.clip(x, 1.5, x[0]),
    lambda x: np.round(x),
    lambda x: x.round(1),
    lambda x: np.around(x, -1),
    lambda x: np.fix(x),
    lambda x: np.nan_to_num(x),
    lambda x: np.sinc(x),
    lambda x: np.i0(x),
    lambda x: np.unwrap(x),
    lambda x: np.isclose(x, x + 1e-9),
    lambda x: np.isclose(x, 1),
    lambda x: np.allclose(x, x),
    lambda x: np.isclose(x, 1.0, equal_nan=True),
    lambda x: np.array_equal(x, x),
    lambda x: np.array_equal(x, x[0]),
    lambda x: np.array_equiv(x, x[0]),
    lambda x: np.isin(x, [1, 2]),
    lambda x: np.gradient(x),
    lambda x: np.gradient(x, 0.5, axis=1),
    lambda x: np.gradient(x, 2, edge_order=2, axis=0),
    lambda x: np.polyval(x[0], x),
    lambda x: np.polyval([1, 2, 3], x),
    lambda x: np.vander(x[0]),
    lambda x: np.vander(x[0], 3, True),
    lambda x: np.linspace(x[0, 0], x[1, 1], 5),
    lambda x: np.linspace(0, x[0], 4, endpoint=False),
    lambda x: np.convolve(x[0], x[1, :3]),
    lambda x: np.convolve(x[0], x[1, :2], "same"),
    lambda x: np.convolve(x[0, :2], x[1], "valid"),
    lambda x: np.correlate(x[0], x[1, :3]),
    lambda x: np.correlate(x[0], x[1, :3], "full"),
    lambda x: np.correlate(x[0], x[1, :3], "same"),
    lambda x: np.correlate(x[0, :2], x[1], "full"),
    lambda x: np.searchsorted([-1, 0, 2], x),
    lambda x: np.digitize(x, [-1.0, 0.0, 2.0]),
    lambda x: np.histogram(x, [-3, -1, 0, 2]),
    lambda x: np.interp(x, [-1, 0, 1, 2], [3, 1, 4, 1]),
    lambda x: np.interp(x, np.array([-1.0, 0.5]), [3, 1], left=-5, right=9.5),
    lambda x: np.outer(x, x),
    lambda x: np.dot(x, x.T),
    lambda x: x.dot(x[0]),
    lambda x: np.dot(x, 2),
    lambda x: np.inner(x, x),
    lambda x: np.vdot(x, x),
    lambda x: np.tensordot(x, x, axes=2),
    lambda x: np.tensordot(x, x, axes=([0], [0])),
    lambda x: np.einsum("ij,kj->ik", x, x),
    lambda x: np.einsum("ij->j", x),
    lambda x: np.einsum("ij,ij", x, x),
    lambda x: np.kron(x, x[:2, :2]),
    lambda x: np.cross(x[:, :3], x[:, 2:]),
    lambda x: np.kron(x[0], x),
    lambda x: np.linalg.norm(x, axis=1),
    lambda x: np.linalg.norm(x, 1),
    lambda x: np.linalg.norm(x, np.inf),
    lambda x: np.linalg.norm(x[0], 3),
    lambda x: np.linalg.norm(x, "nuc"),
    lambda x: np.linalg.norm(x, 2),
    lambda x: np.linalg.norm(x[0], 0),
    lambda x: np.linalg.norm(x, keepdims=True),
    lambda x: np.linalg.matrix_power(x[:, :3], 3),
    lambda x: np.linalg.matrix_power(x[:, :3], 0),
    lambda x: np.linalg.multi_dot([x, x.T, x]),
    lambda x: np.linalg.matrix_norm(x),
    lambda x: np.result_type(x, 1.0),
    lambda x: x.dtype == np.dtype("int32"),
    lambda x: divmod(x, 2),
    lambda x: np.matrix_transpose(x),
    lambda x: np.diag_indices_from(x[:, :3]),
    lambda x: +x,
    lambda x: list(x),
    lambda x: [a + b for a, b in pairwise(x)],
    lambda x: np.unstack(x),
    lambda x: np.ix_([0, 1], [2]),
    lambda x: x[np.ix_([0, 1], [2, 3])],
    lambda x: np.isposinf(x),
]


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("index", range(len(MOVES)))
def test_function(index: int, dtype: str) -> None:
    lossy = dtype in COMPLEX or dtype in ("bool", "float16")
    check(MOVES[index], array((3, 5), dtype), may_refuse=lossy, tolerance=LOOSE.get(dtype))


@pytest.mark.parametrize("index", range(0, len(MOVES), 8))
def test_compiled_function(index: int) -> None:
    check(MOVES[index], array((3, 5), "float32"), tolerance=1e-4, jit=True, may_refuse=True)


LINALG: list[Callable[..., Any]] = [
    np.linalg.inv,
    np.linalg.det,
    np.linalg.slogdet,
    lambda a: np.linalg.solve(a, a[0]),
    lambda a: np.linalg.solve(a, a + 1),
    lambda a: np.linalg.cholesky(a @ a.T.conj() + np.eye(4)),
    lambda a: np.linalg.cholesky(a @ a.T.conj() + np.eye(4), upper=True),
    lambda a: abs(np.linalg.qr(a)[0]),
    lambda a: abs(np.linalg.qr(a[:, :2], mode="r")),
    lambda a: np.linalg.svd(a, compute_uv=False),
    lambda a: np.linalg.svd(a).S,
    np.linalg.svdvals,
    lambda a: np.linalg.eigvalsh(a + a.T.conj()),
    lambda a: np.linalg.eigh(a + a.T.conj()).eigenvalues,
    lambda a: np.linalg.eigvalsh(a, UPLO="U"),
    lambda a: np.linalg.eigh(a, UPLO="U")[1],
    np.linalg.pinv,
    np.linalg.matrix_rank,
    lambda a: np.linalg.matrix_power(a, -2),
    np.linalg.cond,
    lambda a: np.linalg.cond(a, -2),
    lambda a: np.linalg.norm(a, -2),
    lambda a: np.linalg.inv(a[:3]),
    lambda a: np.linalg.det(a[0]),
    lambda a: np.linalg.trace(a),
    lambda a: np.linalg.diagonal(a),
    lambda a: np.linalg.vecdot(a, a),
    lambda a: np.linalg.solve(np.stack([a, a + np.eye(4)]), a),
    lambda a: np.linalg.eig(a).eigenvalues,
]


@pytest.mark.parametrize(
    "dtype", ("int32", "float32", "float64", "complex64", "complex128", "float16")
)
@pytest.mark.parametrize("index", range(len(LINALG)))
def test_linalg(index: int, dtype: str) -> None:
    a = array((4, 4), dtype) + (np.eye(4) * 3).astype(dtype)
    tolerance = 1e-3 if dtype in ("float32", "complex64") else 1e-9
    last = index == len(LINALG) - 1
    check(LINALG[index], a, tolerance=tolerance, may_refuse=last)


FFT: list[Callable[..., Any]] = [
    np.fft.fft,
    np.fft.ifft,
    np.fft.rfft,
    np.fft.irfft,
    np.fft.fft2,
    np.fft.ifft2,
    np.fft.fftn,
    np.fft.rfft2,
    np.fft.rfftn,
    np.fft.fftshift,
    np.fft.ifftshift,
    lambda x: np.fft.fft(x, 8),
    lambda x: np.fft.fft(x, 3, axis=0),
    lambda x: np.fft.rfft(x, norm="ortho"),
    lambda x: np.fft.ifft(x, norm="forward"),
    lambda x: np.fft.irfft(x, 7),
    lambda x: np.fft.fft(x, 0),
    lambda x: np.fft.fftn(x, axes=(0,)),
    lambda x: np.fft.fftshift(x, axes=1),
    np.fft.irfft2,
    np.fft.irfftn,
    lambda x: np.fft.fft2(x, s=(4, 5)),
    lambda x: np.fft.ifft2(x, s=(4, -1)),
    lambda x: np.fft.rfft2(x, s=(2, 7)),
    lambda x: np.fft.irfft2(x, s=(2, 7)),
    lambda x: np.fft.irfftn(x, s=(5,), axes=(0,), norm="ortho"),
    lambda x: np.fft.fftn(x, s=[3], axes=[1]),
    lambda x: np.fft.fftn(x, s=(2, 0), axes=(0, 1)),
    lambda x: np.fft.fft2(x, s=(2, 3, 4)),
]


@pytest.mark.parametrize(
    "dtype", ("int32", "float32", "float64", "complex64", "complex128", "float16")
)
@pytest.mark.parametrize("index", range(len(FFT)))
def test_fft(index: int, dtype: str) -> None:
    tolerance = 1e-11 if dtype in ("int32", "float64", "complex128") else 1e-4
    tolerance = 2e-2 if dtype == "float16" else tolerance
    check(FFT[index], array((3, 6), dtype), tolerance=tolerance)


SORTS: list[Any] = [
    np.argsort,
    np.sort,
    lambda x, **o: np.argsort(x, axis=0, **o),
    lambda x, **o: np.sort(x, axis=0, **o),
    lambda x, **o: np.argsort(x, axis=None, **o),
    lambda x, **o: x.argsort(**o),
    lambda x, **o: np.argsort(-x, **o),
]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32", "int8"])
@pytest.mark.parametrize("index", range(len(SORTS)))
def test_equal_elements_are_sorted_as_numpy_sorts_them(index: int, dtype: str) -> None:
    rng = np.random.default_rng(index)
    x = rng.integers(-3, 4, (60, 700)).astype(dtype)
    if dtype.startswith("f"):
        x = np.where(x == 0, rng.choice([0.0, -0.0, np.nan], x.shape), x).astype(dtype)
    kinds = [{"kind": k} for k in (None, "quicksort", "stable", "heapsort", "mergesort")]
    for options in ({}, *kinds, {"stable": True}, {"stable": False}):
        sort = SORTS[index]

        def function(x: Any, sort: Any = sort, options: Any = options) -> Any:
            return sort(x, **options)

        found = gj.function(function, fallback="error")
        for part in (x, x[:, :9], x[::2, ::-1]):
            expected = function(part)
            assert found(part).tobytes() == np.ascontiguousarray(expected).tobytes(), options


def test_sort_takes_kind_or_stable() -> None:
    refused = gj.function(lambda x: np.sort(x, kind="stable", stable=True))
    with pytest.raises(ValueError, match="can't be provided at the same time"):
        refused(array((5,), "float64"))


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("function", [np.convolve, np.correlate])
def test_convolutions_end_where_the_operands_do(function: Any, mode: str) -> None:
    nan, inf = np.nan, np.inf
    compiled = gj.function(lambda a, v: function(a, v, mode))
    for a, v in (
        ([1, nan], [1, nan]), ([1.0, 2, 3], [inf, 1.0]), ([1.0, 2, 3], [1.0, nan, 0]),
        ([-1.0, -2], [0.0, 0]), ([1.0, 2, 3, 4], [1.0, 10, 100]), ([inf, 1.0, 2], [1.0]),
        ([1.0, 2], [1.0, 10, inf]),
    ):  # fmt: skip
        x, y = np.array(a), np.array(v)
        assert same_outcome(outcome(compiled, (x, y)), outcome(function, (x, y, mode)))


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("function", [np.convolve, np.correlate])
def test_convolutions_of_many_sizes(function: Any, mode: str) -> None:
    """Whole numbers, whose sums are exact in any order, an infinity and a NaN."""
    rng = np.random.default_rng(0)
    compiled = gj.function(lambda a, v: function(a, v, mode), fallback="error")
    for n, k in ((40, 3), (41, 3), (700, 3), (5, 5), (33, 17), (200, 17), (17, 33), (90, 61)):
        x, y = (rng.integers(-9, 9, size).astype(float) for size in (n, k))
        x[rng.integers(n)], y[rng.integers(k)] = np.inf, 0.0
        x[rng.integers(n)] = np.nan
        if mode == "same" and function is np.correlate and (k > n or k % 2 == 0):
            continue
        np.testing.assert_array_equal(compiled(x, y), function(x, y, mode))


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_convolutions_of_bools_and_bfloat16(mode: str) -> None:
    rng = np.random.default_rng(0)
    compiled = gj.function(lambda a, v: np.convolve(a, v, mode), fallback="error")
    for n, k in ((2, 2), (40, 3), (61, 20)):
        x, y = rng.random(n) < 0.3, rng.random(k) < 0.3
        np.testing.assert_array_equal(compiled(x, y), np.convolve(x, y, mode))
        x, y = (rng.normal(size=size).astype(ml_dtypes.bfloat16) for size in (n, k))
        np.testing.assert_array_equal(compiled(x, y), np.convolve(x, y, mode))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128, np.int64])
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (5, 1)])
def test_least_squares(dtype: Any, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    jitted = gj.function(lambda a, b: np.linalg.lstsq(a, b, rcond=None), fallback="error")
    tolerance = 1e-4 if dtype == np.float32 else 1e-9
    for columns in ((), (2,), (0,)):
        for deficient in (False, True, False):
            a = (rng.normal(size=shape) * 9).astype(dtype)
            b = (rng.normal(size=(shape[0], *columns)) * 9).astype(dtype)
            if deficient:
                a[:, -1] = a[:, 0] if shape[1] > 1 else 0
            found, expected = jitted(a, b), np.linalg.lstsq(a, b, rcond=None)
            for x, y in zip(found, expected, strict=True):
                assert type(x) is type(y) and x.dtype == y.dtype and x.shape == y.shape
                np.testing.assert_allclose(x, y, rtol=100 * tolerance, atol=tolerance)


def test_the_rank_of_least_squares_follows_rcond() -> None:
    a = np.diag([1.0, 1e-3, 1e-9])[:, :3]
    a, b = np.vstack([a, a]), np.arange(6.0)
    for rcond in (None, -1, 1e-6, 0.1):
        expected = np.linalg.lstsq(a, b, rcond=rcond)
        jitted = gj.function(
            lambda a, b, rcond=rcond: np.linalg.lstsq(a, b, rcond=rcond), fallback="error"
        )
        for x, y in zip(jitted(a, b), expected, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((3, 2), (4,)), "Incompatible dimensions"),
        (((3,), (3,)), "1-dimensional array given"),
        (((3, 2), (3, 1, 1)), "3-dimensional array given"),
    ],
)
def test_least_squares_of_other_shapes(shapes: Any, message: str) -> None:
    a, b = map(np.ones, shapes)
    for run in (np.linalg.lstsq, gj.function(lambda a, b: np.linalg.lstsq(a, b))):
        with pytest.raises(np.linalg.LinAlgError, match=message):
            run(a, b)


@pytest.mark.parametrize("dtype", [int, bool, np.float32, complex])
@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_the_inverse_of_an_empty_matrix_keeps_its_dtype(dtype: Any, shape: Any) -> None:
    x = np.zeros(shape, dtype)
    found, expected = gj.function(lambda x: np.linalg.pinv(x))(x), np.linalg.pinv(x)
    assert found.dtype == expected.dtype and found.shape == expected.shape
