"""Derivatives of decompositions, least squares, exponentials and scattered extremes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import graphjit as gj
from tests.support.central_differences import differences

RNG = np.random.default_rng(0)
W = RNG.normal(size=(9, 9))
B2 = RNG.normal(size=(6, 2))
SHAPES = [(4, 4), (5, 3), (3, 5), (1, 1), (2, 4, 3)]


def weighted(*parts: Any) -> Any:
    return sum((part * W[: part.shape[-2], : part.shape[-1]]).sum() for part in parts)


def of_svd(a: Any) -> Any:
    u, s, vt = np.linalg.svd(a, full_matrices=False)
    return weighted(u * s[..., None, :] @ vt, abs(u), abs(vt)) + (s * s).sum()


OF_ANY: dict[str, Callable[[Any], Any]] = {
    "svd": of_svd,
    "values": lambda a: (np.linalg.svd(a, compute_uv=False) ** 2 / 3).sum(),
    "values of the whole": lambda a: np.linalg.svd(a)[1].sum(),
    "qr": lambda a: weighted(*np.linalg.qr(a)),
    "r": lambda a: weighted(np.linalg.qr(a, mode="r")),
    "pinv": lambda a: weighted(np.linalg.pinv(a)),
}
SQUARE: dict[str, Callable[[Any], Any]] = {
    "2-norm": lambda a: np.linalg.norm(a, 2),
    "nuclear norm": lambda a: np.linalg.norm(a, "nuc"),
    "condition": np.linalg.cond,
    "scipy's inverse": lambda a: weighted(scipy.linalg.inv(a)),
    "scipy's determinant": scipy.linalg.det,
    "scipy's exponential": lambda a: weighted(scipy.linalg.expm(a)),
    "scipy's solve": lambda a: weighted(scipy.linalg.solve(a, W[:4, :2])),
    "scipy's solve of a vector": lambda a: (scipy.linalg.solve(a, W[0, :4]) * W[1, :4]).sum(),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", OF_ANY)
def test_matrices_of_any_shape(name: str, shape: tuple[int, ...]) -> None:
    a, f = RNG.normal(size=shape), OF_ANY[name]
    np.testing.assert_allclose(gj.grad(f)(a), differences(f, a), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SQUARE)
def test_square_matrices(name: str) -> None:
    a, f = RNG.normal(size=(4, 4)) + 2 * np.eye(4), SQUARE[name]
    np.testing.assert_allclose(gj.grad(f)(a), differences(f, a), rtol=1e-5, atol=1e-6)


def test_functions_of_tensors() -> None:
    a, square = RNG.normal(size=(6, 3)), RNG.normal(size=(4, 4))
    batch = RNG.normal(size=(2, 3, 3))
    for f, x in (
        (lambda a: gj.reduce_sum(gj.linalg.lstsq(a, gj.constant(B2)) * W[:3, :2]), a),
        (lambda b: gj.reduce_sum(gj.linalg.lstsq(gj.constant(a), b) * W[:3, :2]), B2),
        (lambda a: gj.reduce_sum(gj.linalg.expm(a) * W[:3, :3]), batch),
        (lambda a: gj.reduce_sum(gj.abs(gj.linalg.eig(a)[0])), square),
    ):
        expected = differences(lambda x, f=f: f(gj.constant(x)), x)
        np.testing.assert_allclose(gj.grad(f)(gj.constant(x)), expected, rtol=1e-5, atol=1e-6)


def real_and_imaginary(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of complex matrices as one of real ones, twice as wide."""

    def of_parts(x: Any) -> Any:
        half = x.shape[-1] // 2
        return f(x[..., :half] + 1j * x[..., half:])

    return of_parts


def moduli(*parts: Any) -> Any:
    return weighted(*(abs(part) ** 2 if part.ndim > 1 else abs(part[None]) for part in parts))


def phases(x: Any) -> Any:
    return weighted(x.real, x.imag * 0.3)


def hermitian(a: Any) -> Any:
    return a @ np.swapaxes(a.conj(), -1, -2) + np.eye(a.shape[-1])


COMPLEX: dict[str, Callable[[Any], Any]] = {
    "svd": lambda a: moduli(*np.linalg.svd(a, full_matrices=False)),
    "values": lambda a: np.linalg.svd(a, compute_uv=False).sum(),
    "rank 1": lambda a: (
        lambda u, s, vh: phases(u[..., :1] * s[..., None, :1] @ vh[..., :1, :])
    )(*np.linalg.svd(a, full_matrices=False)),
    "qr": lambda a: sum(map(phases, np.linalg.qr(a))),
    "pinv": lambda a: phases(np.linalg.pinv(a)),
}
COMPLEX_SQUARE: dict[str, Callable[[Any], Any]] = {
    "eigh": lambda a: moduli(*np.linalg.eigh(a)),
    "eigh of the upper": lambda a: moduli(*np.linalg.eigh(a, "U")),
    "eig": lambda a: (lambda w, v: abs(w).sum() + moduli(v))(*np.linalg.eig(a)),
    "cholesky": lambda a: phases(np.linalg.cholesky(hermitian(a))),
    "scipy's cholesky": lambda a: phases(scipy.linalg.cholesky(hermitian(a))),
    "sign": lambda a: np.linalg.slogdet(a)[0].imag + np.linalg.slogdet(a)[1],
    "triangular": lambda a: phases(
        scipy.linalg.solve_triangular(a, a[:, :2], trans="C", lower=True)
    ),
    "triangular of a vector": lambda a: phases(scipy.linalg.solve_triangular(a, a[0])[None]),
    "least squares": lambda a: gj.reduce_sum(gj.abs(gj.linalg.lstsq(a[:, :2], a[:, 2:]))),
    "nuclear norm": lambda a: np.linalg.norm(a, "nuc"),
    "sylvester": lambda a: phases(scipy.linalg.solve_sylvester(a, a.T + 9, a @ a)),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", COMPLEX)
def test_complex_matrices_of_any_shape(name: str, shape: tuple[int, ...]) -> None:
    if name == "svd" and shape == (1, 1):
        return  # moduli of one number are constant
    x = RNG.normal(size=(*shape[:-1], 2 * shape[-1]))
    f = real_and_imaginary(COMPLEX[name])
    np.testing.assert_allclose(gj.grad(f)(x), differences(f, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", COMPLEX_SQUARE)
def test_complex_square_matrices(name: str) -> None:
    x = RNG.normal(size=(4, 8)) + np.hstack([3 * np.eye(4), np.zeros((4, 4))])
    f = real_and_imaginary(COMPLEX_SQUARE[name])
    np.testing.assert_allclose(gj.grad(f)(x), differences(f, x), rtol=1e-5, atol=1e-6)
    gj.testing.check_grads(f, (x,), 2, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("letter", ["L", "U"])
def test_eigenvalues_of_one_triangle(letter: str) -> None:
    """The other triangle isn't read: its gradient is 0."""
    a = RNG.normal(size=(2, 4, 4))
    for f in (
        lambda a: weighted(np.linalg.eigh(a, letter)[1]),
        lambda a: (np.linalg.eigvalsh(a, letter) * W[:2, :4]).sum(),
    ):
        np.testing.assert_allclose(gj.grad(f)(a), differences(f, a), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(gj.function(f)(a), f(a), rtol=1e-12)


def test_inverses_of_equal_singular_values() -> None:
    """Which a way by singular vectors has wrong: their gaps are 0."""
    for a in (np.eye(3), np.eye(4)[:, :3], np.diag([2.0, 2.0, 1.0])):
        f = lambda a: weighted(np.linalg.pinv(a))  # noqa: E731
        np.testing.assert_allclose(gj.grad(f)(a), differences(f, a), rtol=1e-5, atol=1e-6)


def test_second_derivatives() -> None:
    a = RNG.normal(size=(3, 3))
    gj.testing.check_grads(lambda a: np.linalg.svd(a, compute_uv=False).sum(), (a,), 2)
    gj.testing.check_grads(lambda a: weighted(*np.linalg.qr(a)), (a,), 2)
    gj.testing.check_grads(lambda a: weighted(scipy.linalg.expm(a)), (a,), 2)


def test_equal_values_have_no_nan() -> None:
    found = gj.grad(lambda a: np.linalg.svd(a, compute_uv=False).sum())(np.eye(3))
    np.testing.assert_allclose(found, np.eye(3))
    assert np.isfinite(gj.grad(of_svd)(np.diag([2.0, 2.0, 1.0]))).all()


@pytest.mark.parametrize("at", [np.maximum, np.minimum])
def test_scattered_extremes(at: Any) -> None:
    def f(x: Any) -> Any:
        y = x[:3] + 0.0
        at.at(y, [0, 0, 2], x[3:6])
        return (y * W[0, :3]).sum()

    x = RNG.normal(size=6)
    np.testing.assert_allclose(gj.grad(f)(x), differences(f, x), rtol=1e-6)
    # ties share
    np.testing.assert_allclose(
        gj.grad(f)(np.ones(6)), W[0, [0, 1, 2, 0, 0, 2]] / [3, 1, 2, 3, 3, 2]
    )


@pytest.mark.parametrize(
    ("f", "x", "match"),
    [
        (lambda a: np.linalg.svd(a)[0].sum(), np.ones((4, 2)), "full_matrices"),
        (lambda a: np.linalg.qr(a, mode="complete")[0].sum(), np.ones((4, 2)), "complete"),
        (lambda a: scipy.linalg.toeplitz(a).sum(), np.ones(3), "scipy.linalg.toeplitz"),
    ],
)  # fmt: skip
def test_what_has_no_derivative(f: Any, x: Any, match: str) -> None:
    with pytest.raises((gj.errors.NotDifferentiableError, ValueError), match=match):
        gj.grad(f, holomorphic=np.iscomplexobj(x))(x)
