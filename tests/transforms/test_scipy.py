"""Derivatives of SciPy's functions, and those that are written out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import scipy.special
import scipy.stats

import graphjit as gj
from tests.support.central_differences import differences

RNG = np.random.default_rng(0)
A, S = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 3))
P, U = np.abs(A) + 0.5, np.array([0.3, 1.2, -0.7])
M = S @ S.T + 3 * np.eye(3)
X, K = RNG.normal(size=7), RNG.normal(size=3)
PICTURE, PATCH = RNG.normal(size=(5, 6)), RNG.normal(size=(3, 2))


def total(y: Any) -> Any:
    return (y * np.cos(np.arange(y.size)).reshape(y.shape)).sum()


def positive(x: Any) -> Any:
    return x @ x.T + 3 * np.eye(3)


CASES: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "beta": (lambda x: scipy.special.beta(x, 2.0), P),
    "betaln": (lambda x: scipy.special.betaln(2.0, x), P),
    "betainc": (lambda x: scipy.special.betainc(2.0, 3.0, x), P / 5),
    "jv": (lambda x: scipy.special.jv(2.0, x), P),
    "yv": (lambda x: scipy.special.yv(1.5, x), P),
    "iv": (lambda x: scipy.special.iv(1.5, x), P),
    "kv": (lambda x: scipy.special.kv(1.0, x), P),
    "hyp2f1": (lambda x: scipy.special.hyp2f1(1.0, 2.0, 3.0, x), P / 5),
    "hyp1f1": (lambda x: scipy.special.hyp1f1(1.0, 2.5, x), A),
    "ellipk": (lambda x: scipy.special.ellipk(x), P / 5),
    "ellipe": (lambda x: scipy.special.ellipe(x), P / 5),
    "erfcx": (lambda x: scipy.special.erfcx(x), A),
    "cosm1": (lambda x: scipy.special.cosm1(x), A),
    "exprel": (lambda x: scipy.special.exprel(x), A),
    "exp10": (lambda x: scipy.special.exp10(x), A),
    "boxcox": (lambda x: scipy.special.boxcox(x, 0.5), P),
    "poch": (lambda x: scipy.special.poch(x, 2.0), P),
    "poch's other": (lambda x: scipy.special.poch(2.0, x), P),
    "rel_entr": (lambda x: scipy.special.rel_entr(x, P + 1), P),
    "rel_entr's other": (lambda x: scipy.special.rel_entr(P + 1, x), P),
    "kl_div": (lambda x: scipy.special.kl_div(x, P + 1), P),
    "huber": (lambda x: scipy.special.huber(1.0, x), 2 * A),
    "huber's delta": (lambda x: scipy.special.huber(x, 2 * A), P),
    "pseudo_huber": (lambda x: scipy.special.pseudo_huber(1.0, x), A),
    "logsumexp": (lambda x: scipy.special.logsumexp(x, axis=1), A),
    "logsumexp of all": (lambda x: scipy.special.logsumexp(x)[None], A),
    "softmax": (lambda x: scipy.special.softmax(x, axis=1), A),
    "log_softmax": (lambda x: scipy.special.log_softmax(x, axis=0), A),
    "polygamma": (lambda x: scipy.special.polygamma(2, x), P),
    "norm.pdf": (lambda x: scipy.stats.norm.pdf(x, 0.1, 2.0), A),
    "norm.logpdf": (lambda x: scipy.stats.norm.logpdf(x, loc=x * 2, scale=3.0), A),
    "norm's scale": (lambda x: scipy.stats.norm.logpdf(0.3, scale=x), P),
    "norm.cdf": (lambda x: scipy.stats.norm.cdf(x), A),
    "norm.logcdf": (lambda x: scipy.stats.norm.logcdf(x), A),
    "gamma.logpdf": (lambda x: scipy.stats.gamma.logpdf(x, 2.5), P),
    "gamma's shape": (lambda x: scipy.stats.gamma.logpdf(1.5, x), P),
    "t.logpdf": (lambda x: scipy.stats.t.logpdf(x, 3.0), A),
    "beta.logpdf": (lambda x: scipy.stats.beta.logpdf(x, 2.0, 3.0), P / 5),
    "chi2.logpdf": (lambda x: scipy.stats.chi2.logpdf(x, 3.0), P),
    "expon.cdf": (lambda x: scipy.stats.expon.cdf(x), P),
    "laplace.logpdf": (lambda x: scipy.stats.laplace.logpdf(x), A),
    "logistic.pdf": (lambda x: scipy.stats.logistic.pdf(x), A),
    **{
        f"cholesky {lower}": (
            lambda x, lower=lower: scipy.linalg.cholesky(positive(x), lower=lower), S,
        )
        for lower in (False, True)
    },
    **{
        f"cho_solve {lower}": (
            lambda x, lower=lower: scipy.linalg.cho_solve(
                scipy.linalg.cho_factor(positive(x), lower=lower), U
            ),
            S,
        )
        for lower in (False, True)
    },
    **{
        f"solve_triangular {lower} {trans}": (
            lambda x, lower=lower, trans=trans: scipy.linalg.solve_triangular(
                positive(x), x[0], trans=trans, lower=lower
            ),
            S,
        )
        for lower in (False, True) for trans in (0, 1, "N", "T")
    },
    **{
        f"{name} {mode} {which}": (
            (lambda x, name=name, mode=mode: getattr(scipy.signal, name)(x, K, mode=mode))
            if which == "signal"
            else (lambda k, name=name, mode=mode: getattr(scipy.signal, name)(X, k, mode)),
            X if which == "signal" else K,
        )
        for name in ("convolve", "fftconvolve", "correlate")
        for mode in ("full", "same", "valid") for which in ("signal", "kernel")
    },
    **{
        f"{name} {mode} of pictures": (
            lambda x, name=name, mode=mode: getattr(scipy.signal, name)(x, PATCH, mode),
            PICTURE,
        )
        for name in ("convolve", "convolve2d", "correlate2d")
        for mode in ("full", "same", "valid")
    },
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_equal_to_differences(name: str) -> None:
    f, x = CASES[name]
    np.testing.assert_allclose(
        gj.function(f, fallback="error")(x), f(x), rtol=1e-13, atol=1e-15
    )
    found = gj.grad(lambda x: total(f(x)))(x)
    expected = differences(lambda x: total(f(x)), x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


EDGES = np.array([-2.0, -0.5, 0.0, 0.3, 1.0, 4.0, np.inf, -np.inf, np.nan])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", ["pdf", "logpdf", "cdf", "logcdf", "sf", "logsf"])
@pytest.mark.parametrize(
    ("name", "shapes"),
    [("norm", ()), ("expon", ()), ("laplace", ()), ("logistic", ()), ("gamma", (2.5,)),
     ("chi2", (3.0,)), ("t", (4.0,)), ("beta", (2.0, 3.0)), ("uniform", ()), ("cauchy", ()),
     ("gumbel_r", ()), ("halfnorm", ()), ("rayleigh", ()), ("lognorm", (0.7,)),
     ("weibull_min", (1.5,)), ("pareto", (2.0,)), ("invgamma", (2.5,))],
)  # fmt: skip
def test_distributions(name: str, shapes: Any, method: str) -> None:
    function = getattr(getattr(scipy.stats, name), method)
    for f in (
        lambda x: function(x, *shapes),
        lambda x: function(x, *shapes, loc=0.1, scale=2.0),
        lambda x: function(x, *shapes, 0.1, -2.0),
        lambda x: function(x[3], *shapes),
    ):
        for x in (EDGES, EDGES.astype("f4")):
            found, expected = gj.function(f)(x), f(x)
            np.testing.assert_allclose(found, expected, rtol=1e-12)
            assert type(found) is type(expected) and found.dtype == expected.dtype


COUNTS = np.array([-1.0, 0.0, 0.5, 1.0, 2.0, 5.0, np.inf, np.nan])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", ["pmf", "logpmf", "cdf", "sf"])
@pytest.mark.parametrize(
    ("name", "shapes"),
    [("poisson", (1.7,)), ("poisson", (-1.0,)), ("bernoulli", (0.3,)), ("binom", (4.0, 0.3)),
     ("binom", (4.5, 0.3)), ("nbinom", (2.5, 0.4)), ("geom", (0.4,)), ("geom", (0.0,))],
)  # fmt: skip
def test_discrete_distributions(name: str, shapes: Any, method: str) -> None:
    function = getattr(getattr(scipy.stats, name), method)
    for f in (lambda x: function(x, *shapes), lambda x: function(x, *shapes, loc=1)):
        for x in (COUNTS, COUNTS[:6].astype("i8")):
            found, expected = gj.function(f)(x), f(x)
            np.testing.assert_allclose(found, expected, rtol=1e-11)
            assert found.dtype == expected.dtype


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["norm", "expon", "logistic", "uniform", "gumbel_r"])
def test_quantiles(name: str) -> None:
    q = np.array([-0.1, 0.0, 1e-9, 0.2, 0.5, 0.9, 1.0, 1.5, np.nan])
    for method in ("ppf", "isf"):
        function = getattr(getattr(scipy.stats, name), method)
        f = lambda q, function=function: function(q, loc=0.5, scale=2.0)  # noqa: E731
        np.testing.assert_allclose(gj.function(f)(q), f(q), rtol=1e-12)


def test_derivatives_of_distributions() -> None:
    x, k = np.array([0.3, 0.8]), np.array([0.0, 1.0, 3.0])
    stats = scipy.stats
    for f, at in (
        (lambda x: stats.t.cdf(x - 0.5, 3.0), x),
        (lambda x: stats.beta.cdf(x, 2.0, 3.0), x),
        (lambda df: stats.chi2.logpdf(0.7, df), x),
        (lambda s: stats.lognorm.logpdf(0.7, s), x),
        (lambda s: stats.norm.logpdf(0.7, 0.1, s), x),
        (lambda q: stats.norm.ppf(q), x),
        (lambda mu: stats.poisson.logpmf(k, mu[0]), x),
        (lambda mu: stats.poisson.cdf(k, mu[0]), x),
        (lambda p: stats.binom.pmf(k, 5.0, p[0]), x),
        (lambda p: stats.nbinom.logpmf(k, 2.5, p[1]), x),
    ):
        g = lambda x, f=f: (f(x) * np.arange(1.0, np.size(f(x)) + 1)).sum()  # noqa: E731
        np.testing.assert_allclose(gj.grad(g)(at), differences(g, at), rtol=1e-5, atol=1e-8)


def test_multivariate_normal() -> None:
    normal = scipy.stats.multivariate_normal
    rng = np.random.default_rng(3)
    points, mean = rng.normal(size=(5, 3)), rng.normal(size=3)
    half = rng.normal(size=(3, 3))
    given = (points, mean, half)

    def covariance(half: Any) -> Any:
        return half @ half.T + np.eye(3)

    for f in (
        lambda x, m, c: normal.logpdf(x, m, covariance(c)),
        lambda x, m, c: normal.pdf(x[0], m, covariance(c)),
        lambda x, m, c: normal.logpdf(x, m, c[0] ** 2 + 1),
        lambda x, m, c: normal.logpdf(x, cov=covariance(c)),
        lambda x, m, c: normal.logpdf(x[:, 0], m[0], c[0, 0] ** 2),
        lambda x, m, c: normal.logpdf(x),
        lambda x, m, c: normal.entropy(m, covariance(c)),
    ):
        try:
            expected = f(points, mean, half)
        except ValueError:
            continue  # of these shapes there is none
        found = gj.function(f, fallback="error")(points, mean, half)
        np.testing.assert_allclose(found, expected, rtol=1e-10)
        assert np.shape(found) == np.shape(expected)
        for k in range(3):

            def g(x: Any, k: int = k, f: Any = f) -> Any:
                return np.sum(f(*given[:k], x, *given[k + 1 :]))

            np.testing.assert_allclose(
                gj.grad(g)(given[k]), differences(g, given[k]), rtol=1e-5, atol=1e-7
            )
    singular = lambda x: normal.logpdf(x, mean, np.ones((3, 3)))  # noqa: E731
    with pytest.raises(np.linalg.LinAlgError):
        gj.function(singular)(points)


def test_weights_and_signs() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    b[0, 0], a[1, 1], b[2] = 0.0, -np.inf, 0.0
    logsumexp = scipy.special.logsumexp
    for f in (
        lambda a, b: logsumexp(a, b=b),
        lambda a, b: logsumexp(a, axis=1, b=np.abs(b)),
        lambda a, b: logsumexp(a, axis=0, b=b, keepdims=True),
        lambda a, b: logsumexp(a, b=b, return_sign=True),
        lambda a, b: logsumexp(a, axis=1, b=b, return_sign=True),
        lambda a, b: logsumexp(a, axis=(0, 1), b=b[0], return_sign=True, keepdims=True),
        lambda a, b: logsumexp(a, return_sign=True),
    ):
        with np.errstate(all="ignore"):
            expected = f(a, b)
        found = gj.function(f, fallback="error")(a, b)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    for k in (0, 1):

        def g(x: Any, k: int = k) -> Any:
            return logsumexp(x if k == 0 else A, axis=1, b=A**2 if k == 0 else x**2).sum()

        at = A.copy()
        np.testing.assert_allclose(gj.grad(g)(at), differences(g, at), rtol=1e-5, atol=1e-7)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1)])
@pytest.mark.parametrize("name", ["logsumexp", "softmax", "log_softmax"])
def test_sums_of_exponentials(name: str, axis: Any) -> None:
    function = getattr(scipy.special, name)
    odd = A.copy()
    odd[0], odd[1, 0], odd[2, 1] = -np.inf, np.inf, np.nan
    for x in (A, A.astype("f4"), 1000 + A, odd, np.arange(6).reshape(2, 3)):
        found, expected = (
            gj.function(lambda x: function(x, axis=axis))(x),
            function(x, axis=axis),
        )
        np.testing.assert_allclose(found, expected, rtol=1e-5 if x.dtype == "f4" else 1e-12)
        assert type(found) is type(expected) and found.dtype == expected.dtype


def test_what_has_none_is_named() -> None:
    for f, x in (
        (lambda x: scipy.special.jv(x, 1.0), P),
        (lambda x: scipy.special.voigt_profile(x, 1.0, 1.0), P),
        (lambda x: scipy.signal.medfilt(x), X),
        (lambda x: scipy.signal.convolve2d(x, PATCH, boundary="wrap"), PICTURE),
    ):
        with pytest.raises(gj.errors.NotDifferentiableError, match="has no derivative here"):
            gj.grad(lambda x, f=f: f(x).sum())(x)


SQUARE, RIGHT = np.array([[2.0, 1.0], [0.5, 3.0]]), np.array([1.0, -2.0])
MIXED: dict[str, tuple[Any, Any]] = {
    "det": (scipy.linalg.det, SQUARE.astype("f4")),
    "solve by int matrices": (
        lambda b: scipy.linalg.solve(np.array([[2, 0], [1, 2]]), b).sum(),
        RIGHT,
    ),
    "solve by complex matrices": (
        lambda b: abs(scipy.linalg.solve(SQUARE * (1 + 2j), b)).sum(),
        RIGHT,
    ),
    "solve complex sides": (lambda a: scipy.linalg.solve(a, RIGHT * 1j).imag.sum(), SQUARE),
    "solve float32 sides": (
        lambda a: scipy.linalg.solve(a, RIGHT.astype("f4")).sum(),
        SQUARE,
    ),
    "solve float32 matrices": (
        lambda a: scipy.linalg.solve(a, RIGHT).sum(),
        SQUARE.astype("f4"),
    ),
    "triangular": (
        lambda a: scipy.linalg.solve_triangular(a, RIGHT.astype("f4"), lower=True).sum(),
        SQUARE,
    ),
    "convolution": (
        lambda a: (scipy.signal.convolve(a, np.array([1, 2])) ** 2).sum(),
        RIGHT.astype("f4"),
    ),
}


@pytest.mark.parametrize("name", MIXED)
def test_arguments_of_several_dtypes(name: str) -> None:
    f, x = MIXED[name]
    found = gj.grad(f)(x)
    assert found.dtype == x.dtype
    np.testing.assert_allclose(found, differences(f, x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("lower", [False, True])
def test_a_complex_factor_is_solved_with_its_conjugate(lower: bool) -> None:
    rng = np.random.default_rng(4)
    m = rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3))
    a = m @ m.conj().T + 3 * np.eye(3)
    b = rng.normal(size=3) + 1j

    def f(a: Any, b: Any) -> Any:
        return scipy.linalg.cho_solve(scipy.linalg.cho_factor(a, lower=lower), b)

    np.testing.assert_allclose(gj.function(f, fallback="error")(a, b), f(a, b), rtol=1e-12)
