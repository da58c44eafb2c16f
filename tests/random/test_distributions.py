"""What is drawn against SciPy's distributions, eagerly and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import graphjit as gj
from graphjit import random
from graphjit.core.errors import InvalidArgumentError

N = 20_000
# A test fails by chance with this chance; keys are fixed, so it fails always or never.
CHANCE = 1e-4
KEY = random.key(11)
Draw = Callable[[Any, str], Any]

CONTINUOUS: dict[str, tuple[Draw, Any]] = {
    "uniform": (lambda k, d: random.uniform(k, (N,), d), stats.uniform()),
    "uniform of bounds": (
        lambda k, d: random.uniform(k, (N,), d, -3.0, 5.0), stats.uniform(-3, 8),
    ),
    "normal": (lambda k, d: random.normal(k, (N,), d), stats.norm()),
    "truncated normal": (
        lambda k, d: random.truncated_normal(k, -1.0, 2.5, (N,), d), stats.truncnorm(-1, 2.5),
    ),
    "tail": (
        lambda k, d: random.truncated_normal(k, 3.0, 5.0, (N,), d), stats.truncnorm(3, 5),
    ),
    "far tail": (
        lambda k, d: random.truncated_normal(k, 9.0, 9.5, (N,), d), stats.truncnorm(9, 9.5),
    ),
    "other tail": (
        lambda k, d: random.truncated_normal(k, -30.0, -12.0, (N,), d),
        stats.truncnorm(-30, -12),
    ),
    "half": (
        lambda k, d: random.truncated_normal(k, 8.0, np.inf, (N,), d),
        stats.truncnorm(8, np.inf),
    ),
    "exponential": (lambda k, d: random.exponential(k, (N,), d), stats.expon()),
    "gumbel": (lambda k, d: random.gumbel(k, (N,), d), stats.gumbel_r()),
    "laplace": (lambda k, d: random.laplace(k, (N,), d), stats.laplace()),
    "logistic": (lambda k, d: random.logistic(k, (N,), d), stats.logistic()),
    "cauchy": (lambda k, d: random.cauchy(k, (N,), d), stats.cauchy()),
    "rayleigh": (lambda k, d: random.rayleigh(k, 2.0, (N,), d), stats.rayleigh(scale=2)),
    "weibull": (
        lambda k, d: random.weibull_min(k, 2.0, 1.5, (N,), d), stats.weibull_min(1.5, scale=2),
    ),
    "pareto": (lambda k, d: random.pareto(k, 3.0, (N,), d), stats.pareto(3)),
    "lognormal": (lambda k, d: random.lognormal(k, 0.5, (N,), d), stats.lognorm(0.5)),
    "maxwell": (lambda k, d: random.maxwell(k, (N,), d), stats.maxwell()),
    "triangular": (
        lambda k, d: random.triangular(k, 1.0, 2.0, 4.0, (N,), d), stats.triang(1 / 3, 1, 3),
    ),
    "wald": (lambda k, d: random.wald(k, 1.5, (N,), d), stats.invgauss(1.5)),
    "wald of a large mean": (
        lambda k, d: random.wald(k, 1e4, (N,), d), stats.invgauss(1e4),
    ),
    "gamma of 0.3": (lambda k, d: random.gamma(k, 0.3, (N,), d), stats.gamma(0.3)),
    "gamma of 1": (lambda k, d: random.gamma(k, 1.0, (N,), d), stats.gamma(1)),
    "gamma of 50": (lambda k, d: random.gamma(k, 50.0, (N,), d), stats.gamma(50)),
    "gamma of 1e8": (lambda k, d: random.gamma(k, 1e8, (N,), d), stats.gamma(1e8)),
    "chi-squared": (lambda k, d: random.chisquare(k, 3.0, (N,), d), stats.chi2(3)),
    "t": (lambda k, d: random.t(k, 5.0, (N,), d), stats.t(5)),
    "f": (lambda k, d: random.f(k, 5.0, 7.0, (N,), d), stats.f(5, 7)),
    "beta": (lambda k, d: random.beta(k, 0.5, 0.7, (N,), d), stats.beta(0.5, 0.7)),
    "dirichlet": (
        lambda k, d: random.dirichlet(k, np.array([1.0, 2.0, 3.0]), (N,), d)[:, 1],
        stats.beta(2, 4),
    ),
}  # fmt: skip

SEEDED: dict[str, tuple[Draw, Any]] = {
    "truncated normal": (
        lambda s, d: random.stateless_truncated_normal((N,), s, 1.0, 2.0, d),
        stats.truncnorm(-2, 2, 1, 2),
    ),
    "bounded normal": (
        lambda s, d: random.stateless_parameterized_truncated_normal(
            (N,), s, gj.constant(1.0, d), 2.0, 0.0, 6.0
        ),
        stats.truncnorm(-0.5, 2.5, 1, 2),
    ),
    "gamma": (
        lambda s, d: random.stateless_gamma((N,), s, 2.0, 3.0, d), stats.gamma(2, scale=1 / 3),
    ),
    "normal": (lambda s, d: random.stateless_normal((N,), s, 1.0, 2.0, d), stats.norm(1, 2)),
}  # fmt: skip


def agrees(draw: Draw, source: Any, dtype: str, distribution: Any, tolerance: float) -> None:
    eager = draw(source, dtype)
    assert eager.dtype.name == dtype
    values = eager.numpy().astype(np.float64)
    assert np.isfinite(values).all()
    assert stats.kstest(values, distribution.cdf).pvalue > CHANCE
    compiled = gj.function(lambda s: draw(s, dtype), fallback="error")(source).numpy()
    scale = np.abs(values) + 1e-3 * values.std()
    assert (np.abs(compiled - values) <= tolerance * scale).all()


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous(name: str) -> None:
    draw, distribution = CONTINUOUS[name]
    agrees(draw, KEY, "float32", distribution, 2e-3 if name == "gumbel" else 2e-4)
    agrees(draw, KEY, "float64", distribution, 1e-10)


@pytest.mark.parametrize("name", SEEDED)
def test_seeded(name: str) -> None:
    draw, distribution = SEEDED[name]
    agrees(draw, gj.constant([5, 6]), "float32", distribution, 2e-4)
    agrees(draw, gj.constant([5, 6]), "float64", distribution, 1e-10)


P = np.array([0.1, 0.2, 0.7])
COUNTED = stats.rv_discrete(values=([0, 1, 2], P))
LOGITS = np.log(P).astype(np.float32)
DISCRETE: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "poisson of 0": (lambda k: random.poisson(k, 0.0, (N,)), stats.randint(0, 1)),
    "poisson of 3": (lambda k: random.poisson(k, 3.0, (N,)), stats.poisson(3)),
    "poisson of 9.9": (lambda k: random.poisson(k, 9.9, (N,)), stats.poisson(9.9)),
    "poisson of 10": (lambda k: random.poisson(k, 10.0, (N,)), stats.poisson(10)),
    "poisson of 1000": (lambda k: random.poisson(k, 1e3, (N,)), stats.poisson(1000)),
    "binomial 10, 0.3": (lambda k: random.binomial(k, 10.0, 0.3, (N,)), stats.binom(10, 0.3)),
    "binomial 100, 0.9": (lambda k: random.binomial(k, 100, 0.9, (N,)), stats.binom(100, 0.9)),
    "binomial 100000, 0.4": (
        lambda k: random.binomial(k, 100_000, 0.4, (N,)), stats.binom(100_000, 0.4),
    ),
    "binomial 1000, 0.002": (
        lambda k: random.binomial(k, 1000, 0.002, (N,)), stats.binom(1000, 0.002),
    ),
    "binomial 5, 1": (lambda k: random.binomial(k, 5, 1.0, (N,)), stats.randint(5, 6)),
    "geometric": (lambda k: random.geometric(k, 0.2, (N,)), stats.geom(0.2)),
    "geometric of 1": (lambda k: random.geometric(k, 1.0, (N,)), stats.randint(1, 2)),
    "randint": (lambda k: random.randint(k, (N,), -5, 12), stats.randint(-5, 12)),
    "randint of tensors": (
        lambda k: random.randint(k, (N,), gj.constant(-5), gj.constant(12)),
        stats.randint(-5, 12),
    ),
    "randint, int64": (
        lambda k: random.randint(k, (N,), gj.constant(-5), 12, "int64"), stats.randint(-5, 12),
    ),
    "randint, uint8": (
        lambda k: random.randint(k, (N,), 0, 256, "uint8"), stats.randint(0, 256),
    ),
    "bernoulli": (
        lambda k: gj.cast(random.bernoulli(k, 0.3, (N,)), "int32"), stats.bernoulli(0.3),
    ),
    "rademacher": (lambda k: (random.rademacher(k, (N,)) + 1) // 2, stats.bernoulli(0.5)),
    "categorical": (lambda k: random.categorical(k, LOGITS, shape=(N,)), COUNTED),
    "choice": (lambda k: random.choice(k, 17, (N,)), stats.randint(0, 17)),
    "choice by p": (lambda k: random.choice(k, 3, (N,), p=P), COUNTED),
    "first of permutations": (
        lambda k: random.permutation(
            k, gj.tile(gj.range(5)[None], (N, 1)), axis=1, independent=True
        )[:, 0],
        stats.randint(0, 5),
    ),
    "poisson of a seed": (
        lambda k: random.stateless_poisson((N,), gj.cast(k, "int32"), 4.0), stats.poisson(4),
    ),
    "binomial of a seed": (
        lambda k: random.stateless_binomial((N,), gj.cast(k, "int32"), 20.0, 0.4),
        stats.binom(20, 0.4),
    ),
    "categorical of a seed": (
        lambda k: random.stateless_categorical(LOGITS[None], N, gj.cast(k, "int32"))[0],
        COUNTED,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete(name: str) -> None:
    draw, distribution = DISCRETE[name]
    values = draw(KEY).numpy()
    compiled = gj.function(draw, fallback="error")(KEY).numpy()
    assert np.array_equal(compiled, values)
    low, high = int(values.min()), int(values.max())
    assert distribution.pmf(low) > 0
    assert distribution.pmf(high) > 0
    points = np.arange(low, high + 1)
    expected, found = distribution.pmf(points) * N, np.bincount(values.astype(int) - low)
    edges = np.flatnonzero(np.diff(np.floor(np.cumsum(expected) / 50)))
    if len(edges) < 2:
        assert len(points) == 1 or distribution.pmf(points).min() > 0
        return
    expected, found = (np.add.reduceat(x, [0, *edges + 1]) for x in (expected, found))
    rest = N - expected.sum()
    expected[-1] += rest
    kept = expected > 5
    chance = stats.chisquare(
        found[kept], expected[kept] * found[kept].sum() / expected[kept].sum()
    )
    assert chance.pvalue > CHANCE


def test_large_means_by_their_moments() -> None:
    for mean in (1e5, 1e9):
        x = random.poisson(KEY, mean, (N,), "int64").numpy()
        assert abs(x.mean() - mean) < 5 * np.sqrt(mean / N)
        assert abs(x.var() / mean - 1) < 5 * np.sqrt(2 / N)


def test_no_number_is_far_out_for_its_bits() -> None:
    """A number in [0, 1) at its end stands for a step, not for infinity."""
    for draw in (random.gumbel, random.logistic, random.exponential, random.laplace):
        f = gj.function(lambda k, draw=draw: gj.reduce_max(draw(k, (1 << 25,))))
        assert float(f(KEY)) < 18
    assert random.poisson(KEY, 1e20, (3,)).numpy().tolist() == [2**31 - 1] * 3
    assert random.poisson(KEY, 1e12, (3,), "uint8").numpy().tolist() == [255] * 3
    assert (random.poisson(KEY, 1e12, (3,), "int64").numpy() > 9e11).all()


def test_parameters_that_are_none() -> None:
    lam = np.array([-1.0, np.nan, 2.0, 200.0])
    assert (random.poisson(KEY, lam).numpy() < 0).tolist() == [True, True, False, False]
    assert np.isnan(random.gamma(KEY, np.float32([-1, 0, np.nan, 1]))).tolist() == [
        True, True, True, False,
    ]  # fmt: skip
    found = random.binomial(KEY, [5.0, 5.0, -1.0, 5.0], [0.5, 2.0, 0.5, np.nan]).numpy()
    assert np.isnan(found).tolist() == [False, True, True, True]


def test_logarithms_of_gamma_where_the_numbers_are_too_small() -> None:
    found = random.loggamma(KEY, 1e-4, (1000,)).numpy()
    assert np.isfinite(found).all()
    assert (found < -100).mean() > 0.9
    assert np.isfinite(
        random.dirichlet(KEY, np.full(3, 1e-4, np.float32), (500,)).numpy()
    ).all()
    total = random.dirichlet(KEY, np.full(3, 1e-4, np.float32), (500,)).numpy().sum(-1)
    np.testing.assert_allclose(total, 1, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_floats(dtype: str) -> None:
    for draw, distribution in (
        (random.uniform, stats.uniform()), (random.normal, stats.norm()),
        (random.exponential, stats.expon()), (random.laplace, stats.laplace()),
    ):  # fmt: skip
        x = draw(KEY, (N,), dtype)
        assert x.dtype.name == dtype
        values = x.numpy().astype(float)
        assert np.isfinite(values).all()
        assert abs(values.mean() - distribution.mean()) < 0.05
        assert abs(values.std() - distribution.std()) < 0.05
    assert random.gamma(KEY, 2.0, (5,), dtype).dtype.name == dtype
    u = random.uniform(KEY, (N,), dtype).numpy().astype(float)
    assert (u >= 0).all()
    assert (u < 1).all()


@given(st.integers(-(2**63), 2**63 - 1), st.integers(1, 2**64), st.integers(0, 99))
@settings(max_examples=60)
def test_integers_lie_between_their_bounds(low: int, span: int, seed: int) -> None:
    high = min(low + span, 2**63)
    found = random.randint(random.key(seed), (40,), low, high, "int64").numpy()
    assert all(low <= int(x) < high for x in found)
    if high - low > 2**20:
        assert len(set(found.tolist())) == 40


def test_integers_of_whole_dtypes() -> None:
    for name in ("int8", "int32", "int64", "uint8", "uint64"):
        limits = np.iinfo(name)
        x = random.randint(KEY, (400,), int(limits.min), int(limits.max) + 1, name).numpy()
        assert x.dtype == name
        middle = limits.min / 2 + limits.max / 2
        assert 120 < (x.astype(float) > middle).sum() < 280
    assert random.randint(KEY, (3,), 5, 5).numpy().tolist() == [5, 5, 5]
    assert random.randint(KEY, (3,), 5, 2).numpy().tolist() == [5, 5, 5]
    found = random.randint(KEY, (2, 2), np.array([0, 10]), np.array([5, 20])).numpy()
    assert (found[:, 0] < 5).all()
    assert (found[:, 1] >= 10).all()


def test_permutations_and_choices() -> None:
    rows = np.arange(12).reshape(4, 3)
    assert sorted(random.permutation(KEY, 100).numpy().tolist()) == list(range(100))
    shuffled = random.permutation(KEY, rows).numpy()
    assert sorted(map(tuple, shuffled)) == sorted(map(tuple, rows))
    each = random.permutation(KEY, rows, axis=1, independent=True).numpy()
    assert np.array_equal(np.sort(each, 1), rows)
    assert sorted(map(tuple, random.stateless_shuffle(rows, [1, 2]).numpy())) == sorted(
        map(tuple, rows)
    )
    without = random.choice(KEY, 50, (7, 7), replace=False).numpy()
    assert len(np.unique(without)) == 49
    by_p = random.choice(KEY, 5, (3,), replace=False, p=np.array([0, 0.5, 0, 0.25, 0.25]))
    assert sorted(by_p.numpy().tolist()) == [1, 3, 4]
    assert random.choice(KEY, gj.constant([10.0, 20.0]), (3,)).dtype == gj.float32
    assert random.choice(KEY, rows, (5,), axis=1).shape == (4, 5)
    with_none = random.categorical(
        KEY, np.zeros((4, 9), np.float32), shape=(9, 4), replace=False
    )
    assert np.array_equal(np.sort(with_none.numpy(), 0), np.tile(np.arange(9)[:, None], 4))


@pytest.mark.parametrize("method", ["cholesky", "eigh", "svd"])
def test_vectors(method: str) -> None:
    cov = np.array([[2.0, 0.6], [0.6, 1.0]])
    x = random.multivariate_normal(KEY, np.array([1.0, -1.0]), cov, (N,), method=method).numpy()
    assert x.shape == (N, 2)
    np.testing.assert_allclose(x.mean(0), [1, -1], atol=0.05)
    np.testing.assert_allclose(np.cov(x.T), cov, atol=0.08)


def test_vectors_of_a_singular_matrix() -> None:
    for method in ("eigh", "svd"):
        x = random.multivariate_normal(
            KEY, np.zeros(3), np.ones((3, 3)), (4,), method=method
        ).numpy()
        np.testing.assert_allclose(x, x[:, :1].repeat(3, 1), atol=1e-6)


def test_parameters_broadcast() -> None:
    a = np.array([[1.0], [50.0]], np.float32)
    assert random.gamma(KEY, a, (3, 2, 5)).shape == (3, 2, 5)
    assert random.poisson(KEY, a).shape == (2, 1)
    assert random.beta(KEY, a, np.ones(4, np.float32)).shape == (2, 4)
    assert random.binomial(KEY, np.ones((3, 1)), np.full(4, 0.5)).shape == (3, 4)
    assert random.uniform(KEY, (2, 3), minval=np.float32([0, 10, 20])).shape == (2, 3)
    assert random.normal(KEY).shape == ()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: random.uniform(KEY, (2,), "int32"), r"not int32 \[Op:Uniform\]"),
        (lambda: random.uniform(KEY, (3,), minval=np.zeros(4, np.float32)), "Incompatible"),
        (lambda: random.normal((3,)), r"key.*not tuple \[Op:Normal\]"),
        (lambda: random.randint(KEY, (2,), 0, 2**40), "1099511627776 is no int32"),
        (lambda: random.randint(KEY, (2,), 0.5, 2), "integers, not float32"),
        (lambda: random.rademacher(KEY, (2,), "uint8"), "signed one, not uint8"),
        (lambda: random.randint(KEY, (2,), 0, 2, "float32"), "integer one, not float32"),
        (lambda: random.poisson(KEY, 3.0, (2,), "float32"), "integer one"),
        (lambda: random.choice(KEY, 0, (2,)), "2 of 0"),
        (lambda: random.choice(KEY, 3, (4,), replace=False), "4 of 3 without replacement"),
        (lambda: random.choice(KEY, 3, (4,), p=[0.5, 0.5]), r"\[2\], not \[3\]"),
        (lambda: random.categorical(KEY, np.zeros((2, 3)), shape=(3,)), "doesn't end with"),
        (
            lambda: random.categorical(KEY, np.zeros(3), shape=(4,), replace=False),
            "4 of 3 without",
        ),
        (lambda: random.choice(KEY, 3, (5,), p=np.zeros(3)), "only 0 of p"),
        (lambda: random.choice(KEY, 3, (2,), p=[-1.0, 1.0, 1.0]), "negative"),
        (lambda: random.choice(KEY, 3, (2,), replace=False, p=[1.0, 0.0, 0.0]), "only 1 of p"),
        (
            lambda: random.multivariate_normal(KEY, np.zeros((5, 2)), np.eye(2), (1,)),
            r"shape \[5\] for the shape \[1\]",
        ),
        (lambda: random.dirichlet(KEY, 1.0), "alpha has no axis"),
        (lambda: random.multivariate_normal(KEY, np.zeros(2), np.eye(3)), "covariance"),
        (
            lambda: random.multivariate_normal(KEY, np.zeros(2), np.eye(2), method="qr"),
            "cholesky, eigh or svd",
        ),
        (lambda: random.stateless_categorical(np.zeros(3), 2, [1, 2]), "should be a matrix"),
        (lambda: random.gamma(KEY, np.ones(3, np.float32), (2,)), "Incompatible"),
    ],
)
def test_errors(call: Any, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words) as caught:
        call()
    assert "test_distributions.py" in str(caught.value)


def test_tiny_and_infinite_parameters() -> None:
    f = random.f(KEY, 0.05, 0.05, (N,), "float64").numpy()
    assert not np.isnan(f).any()
    assert not np.isnan(random.beta(KEY, 1e-39, 1e-39, (50,)).numpy()).any()
    assert random.dirichlet(KEY, np.array([0.0, 1.0])).numpy().tolist() == [0, 1]
    assert random.gamma(KEY, np.float32([np.inf, 1])).numpy()[0] == np.inf
    for draw in (random.geometric, random.poisson):
        found = draw(KEY, np.array([-1.0, np.nan])).numpy()
        assert found.tolist() == [-1, -1]
    assert random.geometric(KEY, np.array([0.0, 1.5, 1e-12, 1.0])).numpy().tolist()[:3] == [
        -1, -1, 2**31 - 1,
    ]  # fmt: skip
    assert random.poisson(KEY, -1.0, (), "uint32").numpy() == 2**32 - 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_small_chances_of_narrow_dtypes(dtype: str) -> None:
    chance = gj.cast(gj.fill((400_000,), 1e-3), dtype)
    expected = float(chance[0].numpy())
    found = random.bernoulli(KEY, chance).numpy().mean()
    assert abs(found - expected) < 5 * np.sqrt(1e-3 / 400_000)


def test_bounds_that_are_tensors_of_other_dtypes() -> None:
    low, high = gj.constant(0, "int64"), gj.constant(2**40, "int64")
    assert (random.randint(KEY, (50,), low, high).numpy() >= 0).all()
    found = random.randint(KEY, (50,), gj.constant(-5), gj.constant(7), "uint8").numpy()
    assert (found < 7).all()
    found = random.randint(KEY, (50,), low, gj.constant(2**64 - 1, "uint64"), "int64").numpy()
    assert (found >= 0).all()
    assert len(set(found.tolist())) == 50
    assert random.choice(KEY, 5, (3,), p=np.full(5, 0.2)).dtype == gj.int32


def test_sizes_as_bounds() -> None:
    """Every size in turn, without a specialization of its own, and without hanging."""
    functions: list[Callable[[Any], Any]] = [
        lambda x: random.randint(KEY, (3,), 0, x.shape[0]),
        lambda x: random.choice(KEY, x, (3,)),
        lambda x: random.choice(KEY, x, (2,), replace=False),
        lambda x: random.permutation(KEY, x.shape[0]),
        lambda x: random.fold_in(KEY, x.shape[0]),
        lambda x: gj.range(x.shape[0]) + 1,
        lambda x: gj.constant([x.shape[0], 2]),
    ]
    for k, function in enumerate(functions):
        compiled = gj.function(function)
        for n in range(5, 25):
            x = gj.range(n)
            assert np.array_equal(compiled(x), function(x)), (k, n)
        if k not in (5, 6):  # a Python list of sizes
            assert len(compiled.specializations) <= 3, k


def test_parameters_are_as_exact_as_the_dtype() -> None:
    def f(key: Any, a: Any) -> Any:
        return gj.random.gamma(key, a, (3,), gj.float64)

    key = gj.random.key(0)
    expected = f(key, np.float64(0.3)).numpy()
    for shape in (0.3, [0.3, 0.3, 0.3]):
        for run in (f, gj.function(f, fallback="error")):
            np.testing.assert_allclose(run(key, shape).numpy(), expected, rtol=1e-14)
