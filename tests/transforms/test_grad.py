"""Gradients against central differences of undecorated functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

import graphjit as gj
from graphjit.errors import InvalidArgumentError, NotDifferentiableError
from graphjit.ops import PRIMITIVES, library
from graphjit.ops.primitive import Pointwise
from tests.support.central_differences import differences

Array = Any
RNG = np.random.default_rng(7)
A, B = RNG.normal(size=(3, 3)), RNG.normal(size=(3, 3))
SPD = A @ A.T + 3 * np.eye(3)
V, W = RNG.normal(size=3), RNG.normal(size=3)
P = RNG.uniform(0.2, 0.9, 3)
N = np.array([2, 0, 2, 1])


def weighted(y: Any) -> Any:
    """One number that depends on all elements, each in its own way."""
    parts = y if isinstance(y, tuple) else (y,)
    total = 0.0
    for part in parts:
        weights = np.cos(np.arange(float(np.prod(np.shape(part), dtype=int)))) + 1.5
        total = total + (part * weights.reshape(np.shape(part))).sum()
    return total


def check(function: Callable[[Array], Any], x: Array, rtol: float = 2e-6) -> None:
    def loss(x: Array) -> Any:
        return weighted(function(x))

    expected = differences(loss, x)
    found = gj.grad(loss)(x)
    assert (type(found), found.dtype, found.shape) == (np.ndarray, x.dtype, x.shape)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-7)
    value, again = gj.function(lambda x: gj.value_and_grad(loss)(x), fallback="error")(x)
    np.testing.assert_allclose(value, loss(x), rtol=1e-12)
    np.testing.assert_allclose(again, found, rtol=1e-12)


FORMS: dict[str, tuple[Callable[[Array], Any], Array]] = {
    "sums": (lambda x: (x.sum(0), x.mean(1), x.sum()), A),
    "extremes": (lambda x: (x.max(1), x.min(0), np.maximum(x, B), np.minimum(x, 0.1)), A),
    "products of elements": (lambda x: (x.prod(0), x.prod()), A),
    "deviations": (lambda x: (x.std(0), x.var()), A),
    "running sums": (lambda x: np.cumsum(x, 1), A),
    "running products": (lambda x: np.cumprod(x, 0), A),
    "running maxima": (lambda x: np.maximum.accumulate(x, axis=1), A),
    "matrix products": (lambda x: (x @ B, B @ x, x @ x, x.T @ V, V @ x), A),
    "batches of products": (lambda x: x[:, None] @ np.stack([A, B])[:, None], np.stack([A, B])),
    "broadcast products": (lambda x: np.stack([A, B, A]) @ x, A),
    "einsum": (lambda x: np.einsum("ij,kj->ik", x, B) + np.einsum("ii->i", x), A),
    "outer": (lambda x: np.outer(x, x) * A, V),
    "views": (lambda x: (x.T, x.reshape(-1)[::-2], x[::-1, 1:], x[None, 1]), A),
    "broadcast": (lambda x: (x[:, None] * A, np.broadcast_to(x, (2, 3)), A - x), V),
    "joined": (lambda x: (np.concatenate([x, x * 2]), np.stack([x, B], 1)), A),
    "padded": (lambda x: (np.pad(x, 1), np.roll(x, 2, 0), np.tile(x, 2)), A),
    "gathered": (lambda x: (x[N], x[:, N], x[N, N[::-1]], np.take(x, N)), A),
    "masked": (lambda x: (np.where(x > 0, x * 2, x**2), np.clip(x, -0.5, 0.5)), A),
    "assigned": (lambda x: _assigned(x), A),
    "assigned by index": (lambda x: _assigned_by_index(x), A),
    "added by index": (lambda x: _added_by_index(x), V),
    "sorted": (lambda x: (np.sort(x, 0), np.median(x), np.sort(x, None)), A),
    "norms": (lambda x: (np.linalg.norm(x), np.linalg.norm(x, axis=1)), A),
    "inverse": (np.linalg.inv, SPD),
    "determinants": (lambda x: (np.linalg.det(x), np.linalg.slogdet(x)[1]), SPD),
    "solutions": (lambda x: (np.linalg.solve(x, V), np.linalg.solve(x, B)), SPD),
    "right sides": (lambda x: np.linalg.solve(SPD, x), B),
    "right side": (lambda x: np.linalg.solve(SPD, x), V),
    "cholesky": (lambda x: np.linalg.cholesky((x + x.T) / 2), SPD),
    "eigenvalues": (lambda x: np.linalg.eigvalsh((x + x.T) / 2), SPD),
    "eigenvectors": (lambda x: np.linalg.eigh((x + x.T) / 2)[1] ** 2, SPD),
    "softmax": (lambda x: np.exp(x - x.max(1, keepdims=True)) / np.exp(x).sum(1)[:, None], A),
    "log-sum-exp": (lambda x: np.log(np.exp(x).sum(1)), A),
    "polynomial": (lambda x: np.polyval([1.0, -2.0, 0.5], x), A),
    "powers": (lambda x: (x**3, x**2, (x * x) ** 0.7, 2.0**x, (x * x + 1) ** x), A),
    "interpolation": (lambda x: np.interp(x, [-2.0, 0.0, 3.0], [1.0, 0.5, 2.0]), V),
    "convolution": (lambda x: np.convolve(x, V), W),
    "gradient of a grid": (lambda x: np.gradient(x), V),
    "trapezoids": (lambda x: np.trapezoid(x, axis=0), A),
    "modulus of complex": (lambda x: np.abs(x + 1j * B), A),
    "parts of complex": (lambda x: (np.exp(1j * x).real, (x * (1 + 2j)).imag), A),
    "transforms": (lambda x: (np.abs(np.fft.fft(x)), np.fft.ifft(x, axis=0).imag), A),
    "real transforms": (lambda x: (np.abs(np.fft.rfft(x)), np.fft.rfft(x, 8, 0).real), A),
    "transforms back": (lambda x: np.fft.irfft(x * (1 + 0.5j), 4), A),
    "odd transforms back": (lambda x: np.fft.irfft(x * (1 + 0.5j) + 1j, 5, axis=0), A),
    "longer and shorter": (lambda x: (np.abs(np.fft.fft(x, 5)), np.abs(np.fft.fft(x, 2))), A),
    "filters": (lambda x: np.fft.irfft(np.fft.rfft(x) * [1.0, 0.5], 3), V),
    "two axes": (lambda x: np.abs(np.fft.fft2(x)) ** 2, A),
    "a loop": (lambda x: _loop(x), V),
    "a long loop": (lambda x: _long_loop(x), V),
    "a loop over rows": (lambda x: _over_rows(x), A),
    "a branch": (lambda x: x * 2 if x.sum() > 0 else x * x, V),
    "the other branch": (lambda x: x * 2 if x.sum() > 100 else x * x, V),
    "one element": (lambda x: x[0, 1] * x[2, 2] + x[1].sum(), A),
    "nothing of it": (lambda x: np.ones(2) + 0 * x[0, 0], A),
    "several ways": (lambda x: _several_ways(x), V),
}


def _assigned(x: Array) -> Array:
    y = x * 2
    y[0] = y[1] * x[2]
    y[:, 1] += 1
    y[1:, ::2] *= x[:2, ::2]
    return y


def _assigned_by_index(x: Array) -> Array:
    y = np.zeros((4, 3))
    y[[1, 3, 1]] = x * x
    return y


def _added_by_index(x: Array) -> Array:
    y = np.zeros(4)
    np.add.at(y, [1, 3, 1], x * x)
    return y


def _loop(x: Array) -> Array:
    for k in range(4):
        x = np.sin(x) * (k + 1)
    return x


def _long_loop(x: Array) -> Array:
    total = np.zeros(3)
    for k in range(200):
        total = np.tanh(total * 0.5 + x * k * 0.01)
    return total


def _over_rows(x: Array) -> Array:
    state = np.zeros(3)
    for row in x:
        state = np.tanh(state @ B + row)
    return state


def _several_ways(x: Array) -> Array:
    a = np.exp(x)
    b = a * x
    c = a + b
    return a * b * c + a


@pytest.mark.parametrize("name", FORMS)
def test_equal_to_differences(name: str) -> None:
    check(*FORMS[name])


# -- pointwise primitives, by ufuncs

UFUNCS: dict[str, tuple[Callable[..., Any], Array]] = {
    "exp": (np.exp, V), "exp2": (np.exp2, V), "expm1": (np.expm1, V), "log": (np.log, P),
    "log2": (np.log2, P), "log10": (np.log10, P), "log1p": (np.log1p, P), "sin": (np.sin, V),
    "cos": (np.cos, V), "tan": (np.tan, P), "asin": (np.arcsin, P), "acos": (np.arccos, P),
    "atan": (np.arctan, V), "sinh": (np.sinh, V), "cosh": (np.cosh, V), "tanh": (np.tanh, V),
    "asinh": (np.arcsinh, V), "acosh": (np.arccosh, P + 1), "atanh": (np.arctanh, P),
    "cbrt": (np.cbrt, V), "sqrt": (np.sqrt, P), "erf": (scipy.special.erf, V),
    "erfc": (scipy.special.erfc, V), "lgamma": (scipy.special.gammaln, P),
    "tgamma": (scipy.special.gamma, P), "sigmoid": (scipy.special.expit, V),
    "abs": (np.abs, V), "neg": (np.negative, V), "sign": (np.sign, V), "floor": (np.floor, V),
    "ceil": (np.ceil, V), "trunc": (np.trunc, V), "rint": (np.rint, V),
    "add": (lambda x: np.add(x, x[::-1]), V), "sub": (lambda x: np.subtract(1.0, x), V),
    "mul": (lambda x: np.multiply(x, x[::-1]), V), "div": (lambda x: x / x[::-1], P),
    "pow": (lambda x: np.power(x, x[::-1]), P), "floordiv": (lambda x: x // 0.3, P),
    "mod": (lambda x: (x % 0.3, 5.3 % x), P), "fmod": (lambda x: np.fmod(5.3, -x), P),
    "minimum": (lambda x: np.minimum(x, W), V), "maximum": (lambda x: np.maximum(W, x), V),
    "copysign": (lambda x: np.copysign(x, W), V), "hypot": (lambda x: np.hypot(x, W), V),
    "atan2": (lambda x: (np.arctan2(x, W), np.arctan2(W, x)), V),
    "where": (lambda x: np.where(W > 0, x, x[::-1] * 2), V),
    "cast": (lambda x: x.astype(np.float64) * 2, V),
    "complex": (lambda x: np.abs((x + 1j * W) ** 2), V), "real": (lambda x: (x + 1j).real, V),
    "imag": (lambda x: (x * 1j).imag, V), "conj": (lambda x: np.abs(np.conj(x + 1j) + x), V),
}  # fmt: skip
# Those that no ufunc of NumPy's or SciPy's is, and those that are part of no function here.
OWN = {"rsqrt", "softplus"}
INSIDE = {"nextafter", "unless", "stop_gradient"}


@pytest.mark.parametrize("name", UFUNCS)
def test_pointwise_primitives(name: str) -> None:
    check(*UFUNCS[name])


@pytest.mark.parametrize("name", sorted(OWN))
def test_own_functions(name: str) -> None:
    plain = {
        "rsqrt": (lambda x: x**-0.5, gj.rsqrt, P),
        "softplus": (lambda x: np.logaddexp(0.0, x), gj.nn.softplus, V),
    }
    function, own, x = plain[name]
    found = gj.grad(lambda x: gj.reduce_sum(own(x)))(x)
    np.testing.assert_allclose(found, differences(lambda x: function(x).sum(), x), rtol=1e-6)


def test_every_float_primitive_has_slopes() -> None:
    flat = {
        "eq", "ne", "lt", "le", "gt", "ge", "isnan", "bit_and", "bit_or", "bit_xor", "bit_not",
        "shift_left", "shift_right", "popcount", "logical_not", "philox", "bitcast",
    }  # fmt: skip
    pointwise = {n for n, p in PRIMITIVES.items() if isinstance(p.kind, Pointwise)}
    assert {n for n in pointwise if PRIMITIVES[n].slopes is None} == flat
    assert pointwise - flat == {*UFUNCS, *OWN, *INSIDE}


@pytest.mark.parametrize(
    "name", ["psi", "erfinv", "erfcinv", "ndtri", "log_ndtr", "i0", "i0e", "j0", "y0", "k0",
             "expi", "exp1", "dawsn", "j1", "y1", "i1", "i1e", "k1", "k0e", "k1e", "spence"],
)  # fmt: skip
def test_special_functions(name: str) -> None:
    check(getattr(scipy.special, name), P)


@pytest.mark.parametrize("name", ["gammainc", "gammaincc"])
def test_special_functions_of_two_arguments(name: str) -> None:
    function = getattr(scipy.special, name)
    check(lambda x: function(1.7, x), P)
    with pytest.raises(gj.errors.NotDifferentiableError, match="by one of its arguments"):
        gj.grad(lambda a: function(a, 1.0))(2.0)


@pytest.mark.parametrize(("name", "slope"), [("j1", 0.5), ("i1", 0.5), ("i1e", 0.5)])
def test_special_functions_at_0(name: str, slope: float) -> None:
    assert gj.grad(getattr(scipy.special, name))(0.0) == slope


# -- structures and options


def test_arguments_of_any_structure() -> None:
    def loss(p: dict[str, Any], xs: list[Any], scale: float) -> Any:
        return ((xs[0] @ p["w"] + p["b"]) ** 2).sum() * scale

    p, xs = {"w": A, "b": V}, [B]
    found = gj.grad(loss, argnums=(0, 2))(p, xs, 2.0)
    np.testing.assert_allclose(
        found[0]["w"], differences(lambda w: loss({"w": w, "b": V}, xs, 2.0), A), rtol=1e-6
    )
    np.testing.assert_allclose(
        found[0]["b"], differences(lambda b: loss({"w": A, "b": b}, xs, 2.0), V), rtol=1e-6
    )
    np.testing.assert_allclose(found[1], loss(p, xs, 1.0))
    last = gj.grad(loss, argnums=-1)(p, xs, 2.0)
    np.testing.assert_allclose(last, loss(p, xs, 1.0))


def test_numbers() -> None:
    cube = gj.grad(lambda x: x**3)
    for x in (2.0, np.float64(2.0), np.array(2.0)):
        assert cube(x) == 12.0
    assert type(cube(2.0)) is float
    assert type(cube(np.float64(2.0))) is np.float64
    assert cube(np.float32(2.0)).dtype == np.float32
    tensor = gj.grad(lambda x: x * x)(gj.constant(3.0))
    assert isinstance(tensor, gj.Tensor)
    assert float(tensor) == 6.0


def test_has_aux() -> None:
    f = lambda x: ((x * x).sum(), (x + 1, "text"))  # noqa: E731
    found, (more, text) = gj.grad(f, has_aux=True)(V)
    np.testing.assert_allclose(found, 2 * V)
    np.testing.assert_allclose(more, V + 1)
    assert text == "text"
    (value, aux), found = gj.value_and_grad(f, has_aux=True)(V)
    np.testing.assert_allclose(value, (V * V).sum())
    np.testing.assert_allclose(found, 2 * V)
    np.testing.assert_allclose(aux[0], V + 1)


def test_integers() -> None:
    with pytest.raises(InvalidArgumentError, match="int64"):
        gj.grad(lambda n: n * 2.0)(np.int64(3))
    found = gj.grad(lambda p: (p["x"] * p["n"]).sum(), allow_int=True)({"x": V, "n": N[:3]})
    np.testing.assert_allclose(found["x"], N[:3])
    np.testing.assert_array_equal(found["n"], np.zeros(3))


def test_holomorphic() -> None:
    z = np.complex128(0.3 - 0.7j)
    for f, slope in (
        (lambda z: z**3, lambda z: 3 * z**2),
        (lambda z: np.exp(z) / z, lambda z: np.exp(z) / z - np.exp(z) / z**2),
        (lambda z: np.sin(z) * np.log(z), lambda z: np.cos(z) * np.log(z) + np.sin(z) / z),
    ):
        np.testing.assert_allclose(gj.grad(f, holomorphic=True)(z), slope(z), rtol=1e-12)
    with pytest.raises(InvalidArgumentError, match="not one complex number"):
        gj.grad(lambda z: z.real, holomorphic=True)(z)
    with pytest.raises(InvalidArgumentError, match="not one float"):
        gj.grad(lambda z: z * z)(z)
    many = np.array([z, 1 - 2j, 0.5j])
    for jacobian in (gj.jacrev, gj.jacfwd):
        found = jacobian(lambda z: z**3, holomorphic=True)(many)
        np.testing.assert_allclose(found, np.diag(3 * many**2), rtol=1e-12)
        with pytest.raises(InvalidArgumentError, match="not complex numbers"):
            jacobian(abs, holomorphic=True)(many)
    np.testing.assert_allclose(
        gj.hessian(lambda z: (z**3).sum(), holomorphic=True)(many), np.diag(6 * many)
    )
    with pytest.raises(InvalidArgumentError, match="holomorphic=True"):
        gj.jacfwd(abs)(many)


def test_floats_by_complex_numbers() -> None:
    """Of z = x + iy the derivative by x minus i times that by y, as in JAX."""
    z = np.array([0.3 - 0.7j, 1 + 2j, -0.5j])
    for f in (
        lambda z: (np.abs(z) ** 2).sum(),
        lambda z: np.abs(np.exp(z) + z.conj() ** 3).sum(),
        lambda z: (z.real * z.imag).sum(),
        lambda z: np.angle(z).sum(),
    ):
        by_x = differences(lambda x, f=f: f(x + 1j * z.imag), z.real)
        by_y = differences(lambda y, f=f: f(z.real + 1j * y), z.imag)
        np.testing.assert_allclose(gj.grad(f)(z), by_x - 1j * by_y, rtol=1e-6, atol=1e-8)
        value, found = gj.function(lambda z, f=f: gj.value_and_grad(f)(z))(z)
        np.testing.assert_allclose(found, by_x - 1j * by_y, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(value, f(z))
    found = gj.jacrev(np.abs)(z)
    np.testing.assert_allclose(found, np.diag(z.conj() / np.abs(z)))


def test_higher_orders() -> None:
    f = lambda x: np.sin(x) * np.exp(x)  # noqa: E731
    second, third = gj.grad(gj.grad(f)), gj.grad(gj.grad(gj.grad(f)))
    np.testing.assert_allclose(second(0.7), 2 * np.cos(0.7) * np.exp(0.7), rtol=1e-12)
    third_true = 2 * np.exp(0.7) * (np.cos(0.7) - np.sin(0.7))
    np.testing.assert_allclose(third(0.7), third_true, rtol=1e-12)

    def along(x: Array) -> Any:
        return (gj.grad(lambda x: weighted(np.tanh(x @ B) * x))(x) * A).sum()

    def plain(x: Array) -> Any:
        return (differences(lambda x: weighted(np.tanh(x @ B) * x), x, 1e-5) * A).sum()

    np.testing.assert_allclose(
        gj.grad(along)(A), differences(plain, A, 1e-4), rtol=1e-3, atol=1e-3
    )


def test_under_vmap() -> None:
    f = gj.grad(lambda v, w: np.tanh(v @ w))
    found = gj.vmap(f, (0, None))(A, V)
    np.testing.assert_allclose(found, [f(a, V) for a in A], rtol=1e-12)


def test_captures_and_state() -> None:
    class Model:
        def __init__(self) -> None:
            self.w = V.copy()

        def loss(self, x: Array) -> Any:
            return ((self.w * x) ** 2).sum()

    model = Model()
    f = gj.grad(model.loss)
    for k in range(4):
        model.w = V * (k + 1)
        np.testing.assert_allclose(f(W), 2 * W * model.w**2)
        model.w[0] = 3.0
        np.testing.assert_allclose(f(W), 2 * W * model.w**2)


def test_a_training_loop_in_one_function() -> None:
    x, y = RNG.normal(size=(50, 3)), RNG.normal(size=50)

    def loss(w: Array) -> Any:
        return ((x @ w - y) ** 2).mean()

    @gj.function(fallback="error")
    def fit(w: Array) -> Array:
        for _ in range(300):
            w = w - 0.1 * gj.grad(loss)(w)
        return w

    np.testing.assert_allclose(
        fit(np.zeros(3)), np.linalg.lstsq(x, y, rcond=None)[0], rtol=1e-6
    )


def test_for_all_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gj.config, "symbolic_after", 2)
    f = lambda x, w: (np.tanh(x @ w) ** 2).mean() + x[1:].sum() * x.max()  # noqa: E731
    g = gj.grad(f)
    for n in (4, 5, 6, 2, 9):
        x = RNG.normal(size=(n, 3))
        np.testing.assert_allclose(
            g(x, V), differences(lambda x: f(x, V), x), rtol=1e-5, atol=1e-8
        )


# -- functions of any results

OF_SEVERAL: dict[str, Callable[[Array], Any]] = {
    "one array": lambda x: np.tanh(A @ x) * x,
    "one number": lambda x: (x**3).sum() + x[0] * x[1],
    "a pair": lambda x: (np.outer(x, x), x.sum() ** 2),
    "a dict": lambda x: {"a": x[::-1] * x, "b": [np.sort(x), 2.0 * x[0]]},
    "a loop": lambda x: _long_loop(x),
    "solutions": lambda x: np.linalg.solve(SPD + np.outer(x, x), x),
}


def flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return [x for part in value for x in flat(part)]
    return [value]


def plain_jacobians(function: Callable[[Array], Any], x: Array) -> list[Array]:
    """Of each result the derivatives by each element, along the last axis."""
    step, rows = 1e-6, []
    for k in range(x.size):
        up, down = x.copy(), x.copy()
        up[k] += step
        down[k] -= step
        pairs = zip(flat(function(up)), flat(function(down)), strict=True)
        rows.append([(np.asarray(a) - np.asarray(b)) / (2 * step) for a, b in pairs])
    return [np.stack(column, -1) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("name", OF_SEVERAL)
def test_jacobians(name: str) -> None:
    f = OF_SEVERAL[name]
    expected = plain_jacobians(f, V)
    for made in (gj.jacrev(f), gj.jacfwd(f), gj.function(lambda x: gj.jacobian(f)(x))):
        found = made(V)
        assert isinstance(found, type(f(V))) or not isinstance(f(V), (tuple, dict))
        for y, z in zip(flat(found), expected, strict=True):
            np.testing.assert_allclose(y, z, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", OF_SEVERAL)
def test_products_with_jacobians(name: str) -> None:
    f = OF_SEVERAL[name]
    blocks = plain_jacobians(f, V)
    value, changes = gj.jvp(f, (V,), (W,))
    for y, z in zip(flat(value), flat(f(V)), strict=True):
        np.testing.assert_allclose(y, z)
    for y, block in zip(flat(changes), blocks, strict=True):
        np.testing.assert_allclose(y, block @ W, rtol=1e-5, atol=1e-7)
    value, back = gj.vjp(f, V)
    for _ in range(2):
        (found,) = back(value)
        expected = sum(
            np.tensordot(np.asarray(y), block, np.ndim(y))
            for y, block in zip(flat(f(V)), blocks, strict=True)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)

    @gj.function(fallback="error")
    def inside(x: Array, t: Array) -> Any:
        y, back = gj.vjp(f, x)
        return back(y), gj.jvp(f, (x,), (t,))[1]

    (again,), changes = inside(V, W)
    np.testing.assert_allclose(again, found, rtol=1e-12)


def test_several_primals_and_aux() -> None:
    f = lambda p, x: ((p["w"] @ x) * p["s"], "text")  # noqa: E731
    p, t = {"w": A, "s": 2.0}, {"w": B, "s": 0.5}
    value, change, aux = gj.jvp(f, (p, V), (t, W), has_aux=True)
    assert aux == "text"
    np.testing.assert_allclose(value, A @ V * 2)
    np.testing.assert_allclose(change, B @ V * 2 + A @ W * 2 + A @ V * 0.5)
    value, back, aux = gj.vjp(f, p, V, has_aux=True)
    found, of_x = back(W)
    assert aux == "text"
    np.testing.assert_allclose(found["w"], np.outer(W, V) * 2)
    np.testing.assert_allclose(found["s"], W @ A @ V)
    np.testing.assert_allclose(of_x, A.T @ W * 2)


@pytest.mark.parametrize(
    "x",
    [np.zeros((1, 1)), np.array([[1.0, 2], [2, 4]]), np.diag([0.0, 2, 3]), np.ones((3, 3)),
     np.zeros((2, 2)), np.arange(9.0).reshape(3, 3), np.stack([A, np.zeros((3, 3))]), SPD],
)  # fmt: skip
def test_determinants_of_singular_matrices(x: Array) -> None:
    def polynomial(x: Array) -> Any:
        if x.shape[-1] == 1:
            return x[..., 0, 0].sum()
        if x.shape[-1] == 2:
            return (x[..., 0, 0] * x[..., 1, 1] - x[..., 0, 1] * x[..., 1, 0]).sum()
        return (x[..., 0, :] * np.cross(x[..., 1, :], x[..., 2, :])).sum()

    f = lambda x: np.linalg.det(x).sum()  # noqa: E731
    np.testing.assert_allclose(gj.grad(f)(x), differences(polynomial, x), atol=1e-8)
    np.testing.assert_allclose(
        gj.hessian(f)(x), plain_jacobians_of(gj.grad(polynomial), x), atol=1e-5
    )


def plain_jacobians_of(function: Callable[[Array], Array], x: Array) -> Array:
    found = plain_jacobians(lambda flat: function(flat.reshape(x.shape)), x.reshape(-1))[0]
    return found.reshape(*x.shape, *x.shape)


def _ring(x: Array) -> Any:
    c = x * 1.0
    for k in range(150):
        c[k % 3] = c[(k + 1) % 3] * 0.9 + 0.1 * np.sin(c[k % 3])
    return c.sum()


@pytest.mark.parametrize(
    "f",
    [_ring, lambda w: np.average(V, weights=w), lambda x: x[N[1] + 1] * x[N[2]],
     lambda w: np.average(np.stack([V, W]), axis=1, weights=w).sum()],
)  # fmt: skip
def test_what_may_fail_in_a_function(f: Any) -> None:
    """The derivative fails where the function does, and else it is computed."""
    expected = differences(f, P)
    for made in (
        gj.grad(f),
        gj.jacrev(f),
        gj.jacfwd(f),
        lambda x: gj.vjp(f, x)[1](1.0)[0],
        gj.function(lambda x: gj.vjp(f, x)[1](1.0)[0], fallback="error"),
        lambda x: gj.vmap(gj.grad(f))(np.stack([x, x]))[1],
    ):
        np.testing.assert_allclose(made(P), expected, rtol=1e-5, atol=1e-8)
    with pytest.raises(ZeroDivisionError):
        gj.grad(lambda w: np.average(V, weights=w * 0))(P)
    with pytest.raises(IndexError):
        gj.grad(lambda x, k: x[k] * 2)(P, np.int64(7))


def test_a_vjp_is_that_of_its_time() -> None:
    factor, offset, x = [4.0], np.ones(3) * 10, V.copy()
    value, back = gj.vjp(lambda x: (x * x * factor[0] * offset).sum(), x)
    factor[0] = 1.0
    offset[:] = 0
    x[:] = 0
    np.testing.assert_allclose(value, (V * V * 40).sum())
    np.testing.assert_allclose(back(1.0)[0], 80 * V)
    np.testing.assert_allclose(back(2.0)[0], 160 * V)


class Layer:
    """An object that can be called, as an argument."""

    def __init__(self) -> None:
        self.w = 2.0

    def __call__(self, x: Array) -> Any:
        return x * x * self.w

    loss = gj.grad(lambda self, x: self(x).sum(), argnums=1)


def test_objects_that_can_be_called_are_arguments() -> None:
    layer = Layer()
    f = gj.grad(lambda layer, x: (layer(x) * layer.w).sum(), argnums=1)
    rows = gj.vmap(lambda layer, x: layer(x) + layer.w, in_axes=(None, 0))
    inside = gj.function(lambda x: gj.grad(lambda m, x: m(x).sum(), 1)(layer, x))
    for w in (2.0, 3.0, 5.0):
        layer.w = w
        np.testing.assert_allclose(f(layer, V), 2 * V * w * w)
        np.testing.assert_allclose(rows(layer, V), V * V * w + w)
        np.testing.assert_allclose(layer.loss(V), 2 * V * w)
        np.testing.assert_allclose(inside(V), 2 * V * w)


def test_second_derivatives() -> None:
    f = lambda x: (x**3).sum() + np.prod(x) + np.exp(x[0] * x[1])  # noqa: E731
    expected = plain_jacobians(gj.grad(f), V)[0]
    found = gj.hessian(f)(V)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found, found.T, rtol=1e-10)
    np.testing.assert_allclose(gj.hvp(f, (V,), (W,)), found @ W, rtol=1e-10)
    np.testing.assert_allclose(gj.jacrev(gj.jacrev(f))(V), found, rtol=1e-10)
    np.testing.assert_allclose(gj.jacfwd(gj.jacfwd(f))(V), found, rtol=1e-10)


SPECIAL_POINTS: dict[str, tuple[Callable[[Array], Any], list[float]]] = {
    "a product with a zero": (lambda x: x.prod(), [0.0, 2.0, 3.0]),
    "a product with two": (lambda x: x.prod(), [0.0, 2.0, 0.0]),
    "running products": (lambda x: (np.cumprod(x) * [1.0, 2.0, 3.0]).sum(), [2.0, 0.0, 3.0]),
    "a logarithm times 0": (
        lambda x: np.log(x[0]) * x[1] + x[2] / x[0] * x[1],
        [2.0, 0.0, 1.0],
    ),
    "a square": (lambda x: (x * x * [1.0, 2.0, 3.0]).sum() + x[0] * x[1], [0.0, 0.0, 1.0]),
    "a root times 0": (lambda x: np.sqrt(x[0]) * x[1] * x[2], [2.0, 0.0, 1.0]),
    "the power 0": (lambda x: x[0] ** x[1] * x[2], [2.0, 0.0, 1.0]),
    "a power of 0": (lambda x: x[0] ** 3 + x[1] ** 2 * x[2], [0.0, 0.0, 1.0]),
    "a quotient of 0": (lambda x: x[0] / x[1] * x[2], [0.0, 2.0, 0.0]),
    "an angle": (lambda x: np.arctan2(x[0], x[1]) * x[2], [0.0, 2.0, 0.0]),
    "a length": (lambda x: np.hypot(x[0], x[1]) * x[2], [0.0, 2.0, 0.0]),
    "what isn't chosen": (lambda x: np.where(x > 1, np.log(x), x**2).sum(), [0.0, 2.0, 0.5]),
    "assigned": (lambda x: (_assigned(np.outer(x, x)) ** 2).sum(), [0.0, 2.0, 0.5]),
}


@pytest.mark.parametrize("name", SPECIAL_POINTS)
def test_second_derivatives_at_zeros(name: str) -> None:
    f, point = SPECIAL_POINTS[name]
    x = np.array(point)
    with np.errstate(all="ignore"):
        hessian, steps = np.zeros((3, 3)), 1e-4 * np.eye(3)
        for i, e in enumerate(steps):
            for j, d in enumerate(steps):
                four = f(x + e + d) - f(x + e - d) - f(x - e + d) + f(x - e - d)
                hessian[i, j] = four / 4e-8
        for made in (gj.hessian(f), gj.jacrev(gj.grad(f)), gj.jacfwd(gj.grad(f))):
            np.testing.assert_allclose(made(x), hessian, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "name",
    ["eigenvectors", "eigenvalues", "cholesky", "inverse", "determinants", "solutions", "norms",
     "sorted", "running maxima", "a long loop", "a loop over rows", "assigned by index",
     "softmax", "extremes", "deviations", "transforms back", "running products"],
)  # fmt: skip
def test_second_and_third_derivatives(name: str) -> None:
    f, x = FORMS[name]
    size = x.size

    def loss(x: Array) -> Any:
        return weighted(f(x))

    def flat_loss(flat: Array) -> Any:
        return loss(flat.reshape(x.shape))

    first = gj.grad(flat_loss)
    expected = plain_jacobians(first, x.reshape(-1))[0]
    found = gj.jacrev(first)(x.reshape(-1))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gj.jacfwd(first)(x.reshape(-1)), found, rtol=1e-7, atol=1e-9)
    direction = np.cos(np.arange(float(size)))

    def second(flat: Array) -> Any:
        return (first(flat) * direction).sum()

    third = gj.grad(lambda flat: (gj.grad(second)(flat) * direction).sum())
    along = differences(lambda flat: float(gj.grad(second)(flat) @ direction), x.reshape(-1))
    np.testing.assert_allclose(third(x.reshape(-1)), along, rtol=1e-3, atol=1e-4)


def test_smooth_functions_are_smooth_at_their_joints() -> None:
    def nth(f: Any, n: int, x: float) -> Any:
        for _ in range(n):
            f = gj.grad(f)
        return f(x)

    sinc = [1.0, 0.0, -(np.pi**2) / 3, 0.0, np.pi**4 / 5]
    for n, expected in enumerate(sinc):
        np.testing.assert_allclose(nth(np.sinc, n, 0.0), expected, atol=1e-12)
    ties = gj.hessian(lambda v: np.logaddexp(v[0], v[1]) + np.logaddexp2(v[0], v[1]))(
        np.ones(2)
    )
    np.testing.assert_allclose(ties[0], np.array([1, -1]) * (0.25 + np.log(2) / 4))
    entropy = lambda x: gj.nn.sigmoid_cross_entropy_with_logits(x * 0 + 0.3, x)  # noqa: E731
    np.testing.assert_allclose(nth(entropy, 1, 0.0), 0.2)
    np.testing.assert_allclose(nth(entropy, 2, 0.0), 0.25)
    for f, slope in ((scipy.special.xlogy, np.log(2.0)), (scipy.special.xlog1py, np.log(3.0))):
        np.testing.assert_allclose(gj.grad(f)(0.0, 2.0), slope)
        assert gj.grad(f, 1)(0.0, 2.0) == 0.0
    assert gj.grad(gj.nn.relu)(0.0) == 0.0


def test_tangents_at_singular_points() -> None:
    with np.errstate(all="ignore"):
        assert gj.jvp(np.sqrt, (0.0,), (1.0,))[1] == np.inf
        assert gj.jvp(np.log, (0.0,), (1.0,))[1] == np.inf


def test_stopped_gradients() -> None:
    found = gj.grad(lambda x: (gj.stop_gradient(np.sin(x)) * x).sum())(V)
    np.testing.assert_allclose(found, np.sin(V))
    tree = {"a": V, "n": 3, "t": "text"}
    assert gj.stop_gradient(tree) == tree
    straight = gj.grad(lambda x: (x + gj.stop_gradient(np.round(x) - x)).sum())
    np.testing.assert_allclose(straight(V), np.ones(3))


def test_errors_of_several() -> None:
    _, back = gj.vjp(lambda x: (x, x.sum()), V)
    with pytest.raises(InvalidArgumentError, match="structure"):
        back(V)
    with pytest.raises(InvalidArgumentError, match="cotangents"):
        back((V[:2], 1.0))
    with pytest.raises(InvalidArgumentError, match="tangents"):
        gj.jvp(lambda x: x, (V,), ())
    with pytest.raises(InvalidArgumentError, match="a tangent"):
        gj.jvp(lambda x: x, (V,), (V[:2],))
    with pytest.raises(InvalidArgumentError, match="tuples"):
        gj.jvp(lambda x: x, V, V)
    with pytest.raises(InvalidArgumentError, match="not floats"):
        gj.jacrev(lambda x: x > 0)(V)


# -- control flow


def test_structured_control_flow() -> None:
    def scanned(x: Array) -> Any:
        last, rows = gj.scan(lambda c, a: (np.tanh(c * a) + V[0], c * c), np.float64(0.3), x)
        return last + (rows * W).sum()

    def plain(x: Array) -> Any:
        c, rows = 0.3, []
        for a in x:
            rows.append(c * c)
            c = np.tanh(c * a) + V[0]
        return c + (np.array(rows) * W).sum()

    np.testing.assert_allclose(gj.grad(scanned)(V), differences(plain, V), rtol=1e-6)

    def reverse(x: Array) -> Any:
        return gj.scan(lambda c, a: (c * a + a, None), np.float64(0.3), x, reverse=True)[0]

    def plain_reverse(x: Array) -> Any:
        c = 0.3
        for a in x[::-1]:
            c = c * a + a
        return c

    np.testing.assert_allclose(gj.grad(reverse)(V), differences(plain_reverse, V), rtol=1e-6)

    def counted(x: Array) -> Any:
        return gj.fori_loop(0, 5, lambda i, c: np.sin(c * x) + i, x).sum()

    def plain_counted(x: Array) -> Any:
        c = x
        for i in range(5):
            c = np.sin(c * x) + i
        return c.sum()

    np.testing.assert_allclose(gj.grad(counted)(V), differences(plain_counted, V), rtol=1e-5)

    for k in (-1.0, 1.0):
        f = lambda x, k=k: gj.cond(x.sum() * k > 0, lambda: (x**2).sum(), lambda: x[0] * x[1])  # noqa: E731
        taken = lambda x, k=k: (x**2).sum() if x.sum() * k > 0 else x[0] * x[1]  # noqa: E731
        np.testing.assert_allclose(gj.grad(f)(V), differences(taken, V), rtol=1e-6)


# -- where others give NaN


def test_no_nan_of_what_isnt_chosen() -> None:
    x = np.array([-1.0, 0.0, 4.0])
    with np.errstate(all="ignore"):
        roots = gj.grad(lambda x: np.where(x > 0, np.sqrt(x), 0.0).sum())(x)
        logs = gj.grad(lambda x: np.where(x > 0, np.log(x), 0.0).sum())(x)
        parts = gj.grad(lambda x: np.where(x != 0, 1 / x, 0.0).sum())(x)
        products = gj.grad(lambda x: np.where(x > 0, x / x * x * np.log(x), x).sum())(x)
        points = gj.grad(lambda x: np.interp(x, [0.0, 1.0, 2.0], [0.0, 3.0, 4.0]).sum())
        found = points(np.array([0.5, 1.5, 2.0, 2.5, -1.0]))
    np.testing.assert_array_equal(roots, [0.0, 0.0, 0.25])
    np.testing.assert_array_equal(logs, [0.0, 0.0, 0.25])
    np.testing.assert_array_equal(parts, [-1.0, 0.0, -1 / 16])
    np.testing.assert_allclose(products, [1.0, 1.0, 1 + np.log(4.0)])
    np.testing.assert_allclose(found[[0, 1, 3, 4]], [3.0, 1.0, 0.0, 0.0])
    assert np.isfinite(found).all()


def test_norms_at_zero() -> None:
    zero = np.zeros(3)
    with np.errstate(all="ignore"):
        for f in (
            np.linalg.norm,
            lambda x: np.sqrt((x * x).sum()),
            lambda x: np.hypot(x[0], x[1]),
        ):
            np.testing.assert_array_equal(gj.grad(f)(zero), zero)


def test_kinks_are_shared() -> None:
    equal = np.ones(4)
    np.testing.assert_allclose(gj.grad(lambda x: x.max())(equal), np.full(4, 0.25))
    both = gj.grad(lambda x, y: np.maximum(x, y).sum(), argnums=(0, 1))(equal, equal)
    np.testing.assert_allclose(both[0], np.full(4, 0.5))
    np.testing.assert_allclose(both[1], np.full(4, 0.5))
    np.testing.assert_array_equal(gj.grad(lambda x: np.abs(x).sum())(np.zeros(2)), np.zeros(2))


def test_products_with_zeros() -> None:
    for x in (np.array([2.0, 0.0, 3.0]), np.array([0.0, 0.0, 3.0]), np.zeros(2)):
        check(lambda x: x.prod(), x)
        check(np.cumprod, x)


def test_equal_eigenvalues() -> None:
    found = gj.grad(lambda x: (np.linalg.eigh(x)[0] * [1.0, 2.0, 3.0]).sum())(np.eye(3))
    assert np.isfinite(found).all()


# -- errors


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: gj.grad(lambda x: x)(V), r"not one float"),
        (lambda: gj.grad(lambda x: x.sum() > 0)(V), r"not one float"),
        (lambda: gj.grad(lambda x: "text")(V), r"gives a str"),
        (lambda: gj.grad(lambda x: x.sum(), argnums=1)(V), r"argument 1"),
        (lambda: gj.grad(lambda x: x.sum(), argnums=0.5), r"argnums"),
        (lambda: gj.grad(lambda x, y: x.sum(), argnums=(0, -2))(V, V), r"twice"),
        (lambda: gj.grad(3), r"no function"),
        (lambda: gj.grad(lambda x: x.sum())("text"), r"argument"),
        (lambda: gj.grad(lambda x: x.sum(), has_aux=True)(V), r"has_aux"),
    ],
)
def test_errors(call: Callable[[], Any], text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        call()


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.linalg.svd(x[:2])[2].sum(),
        lambda x: scipy.linalg.toeplitz(x[0]).sum(),
    ],
)
def test_what_has_no_rule_is_named(function: Any) -> None:
    with pytest.raises(NotDifferentiableError, match=r"\[Op:"):
        gj.grad(function)(A)


# -- random programs

STEPS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, y: x + y, "times": lambda x, y: x * y, "larger": np.maximum,
    "product": lambda x, y: x @ y, "turned": lambda x, y: x.T - y,
    "rows": lambda x, y: x.sum(0) + y, "columns": lambda x, y: x - y.max(1, keepdims=True),
    "rolled": lambda x, y: np.roll(x, 1, 1) * y, "chosen": lambda x, y: np.where(x > y, x, y),
    "cut": lambda x, y: np.concatenate([x[1:], y[:1]]),
    "running": lambda x, y: np.cumsum(x, 0) + y, "picked": lambda x, y: x[np.argsort(y[0])],
    "quotient": lambda x, y: x / (y * y + 1), "power": lambda x, y: (x * x + 0.5) ** y,
    "repeated": lambda x, y: _repeated(x, y), "set": lambda x, y: _set(x, y),
}  # fmt: skip


def _repeated(x: Array, y: Array) -> Array:
    for k in range(12):
        x = np.tanh(x * y + k * 0.1)
    return x


def _set(x: Array, y: Array) -> Array:
    z = x * 1.0
    z[1] = y[0]
    z[:, 0] += y[2]
    return z


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 9), st.integers(0, 9)),
        min_size=1,
        max_size=6,
    )
)
def test_random_programs(program: list[tuple[str, int, int]]) -> None:
    def function(a: Any) -> Any:
        known = [a, B + 0 * a]
        for name, i, j in program:
            known.append(np.tanh(STEPS[name](known[i % len(known)], known[j % len(known)])))
        return known[-1]

    check(function, A, rtol=2e-5)


def test_the_table_of_routines_is_told() -> None:
    """Those that have no rule, for their results are integers."""
    from graphjit.transforms.reverse import ROUTINES

    known = {p.name for p in ROUTINES}
    routines = {n for n, p in PRIMITIVES.items() if type(p.kind) is type(library.inv.kind)}
    assert routines - known == {"argsort", "lstsq_rank", "searchsorted"}


@pytest.mark.parametrize("part", [0, 1, 3])
def test_least_squares_of_numpy(part: int) -> None:
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(6, 3)), rng.normal(size=6)
    gj.testing.check_grads(
        lambda a, b: (np.linalg.lstsq(a, b, rcond=None)[part] ** 2).sum(), (a, b), order=2
    )
