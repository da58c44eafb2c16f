"""`gj.optimizers.lbfgs` beside SciPy's minimizers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.optimize

import graphjit as gj

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(200, 6))
LABELS = np.sign(POINTS @ RNG.normal(size=6) + RNG.normal(size=200))
lbfgs = gj.optimizers.lbfgs


def rosenbrock(x: Any) -> Any:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def logistic(w: Any) -> Any:
    return np.log1p(np.exp(-LABELS * (POINTS @ w))).mean() + 1e-3 * (w * w).sum()


def barrier(x: Any) -> Any:  # which has no value left of 0
    return (x - 2 * np.log(x)).sum()


def stretched(x: Any) -> Any:
    return (x * x * 10.0 ** np.arange(x.shape[0])).sum()


def beale(x: Any) -> Any:
    a, b = x[0], x[1]
    return (1.5 - a + a * b) ** 2 + (2.25 - a + a * b**2) ** 2 + (2.625 - a + a * b**3) ** 2


CASES: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "rosenbrock": (rosenbrock, np.array([-1.2, 1.0])),
    "rosenbrock of 8": (rosenbrock, np.linspace(0, 2, 8)),
    "logistic": (logistic, np.zeros(6)),
    "barrier": (barrier, np.array([0.1, 5.0, 100.0])),
    "stretched": (stretched, np.ones(6)),
    "beale": (beale, np.array([1.0, 1.0])),
    "quartic": (lambda x: ((x - 1) ** 4).sum(), np.array([3.0, -2.0, 1.0])),
    "one number": (lambda x: np.cosh(x[0] - 0.5), np.array([4.0])),
}


@pytest.mark.parametrize("name", CASES)
def test_as_scipy(name: str) -> None:
    f, x0 = CASES[name]
    found = lbfgs(f, x0, gradient_tolerance=1e-7, max_steps=500)
    # SciPy's doesn't come back from where the barrier is NaN
    begin = np.full(3, 1.9) if name == "barrier" else x0
    expected = scipy.optimize.minimize(f, begin, method="BFGS", options={"gtol": 1e-7})
    assert found.converged
    assert abs(found.gradient).max() <= 1e-7
    np.testing.assert_allclose(found.value, f(found.x), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(found.value, expected.fun, rtol=1e-7, atol=1e-9)
    tolerance = 0.02 if name == "quartic" else 1e-4  # which is flat around its minimum
    np.testing.assert_allclose(found.x, expected.x, atol=tolerance)
    memory = scipy.optimize.minimize(
        gj.value_and_grad(f), begin, jac=True, method="L-BFGS-B", options={"gtol": 1e-7}
    )
    assert found.evaluations <= 2 * memory.nfev + (40 if name == "barrier" else 10)


def test_every_step_is_down() -> None:
    values = [rosenbrock(np.array([-1.2, 1.0]))]
    for steps in range(1, 30):
        found = lbfgs(rosenbrock, np.array([-1.2, 1.0]), max_steps=steps)
        assert found.steps <= steps
        values.append(found.value)
    assert all(b <= a for a, b in itertools.pairwise(values))


def test_structures_and_arguments() -> None:
    def loss(p: Any, x: Any, scale: Any) -> Any:
        return ((x @ p["w"] + p["b"][0] - LABELS) ** 2).mean() * scale

    p0 = {"w": np.zeros(6), "b": (np.zeros(()),)}
    columns = np.column_stack([POINTS, np.ones(200)])
    expected = np.linalg.lstsq(columns, LABELS)[0]
    plain = lambda p, x: lbfgs(loss, p, x, 2.0, gradient_tolerance=1e-9)  # noqa: E731
    for f in (plain, gj.function(plain, fallback="error")):
        found = f(p0, POINTS)
        np.testing.assert_allclose(found.x["w"], expected[:6], atol=1e-7)
        np.testing.assert_allclose(found.x["b"][0], expected[6], atol=1e-7)
        assert found.x["b"][0].shape == ()
        assert found.gradient["w"].shape == (6,)


def test_float32() -> None:
    x0 = np.zeros(6, np.float32)
    points, labels = POINTS.astype("f4"), LABELS.astype("f4")
    f = lambda w: np.log1p(np.exp(-labels * (points @ w))).mean()  # noqa: E731
    found = lbfgs(f, x0, gradient_tolerance=1e-4)
    assert found.x.dtype == np.float32
    assert found.value.dtype == np.float32
    assert found.converged
    expected = lbfgs(lambda w: logistic(w) - 1e-3 * (w * w).sum(), np.zeros(6))
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-5)


def test_where_it_ends() -> None:
    at = lbfgs(lambda x: (x * x).sum(), np.zeros(3))
    assert (at.steps, at.evaluations, bool(at.converged)) == (0, 1, True)
    few = lbfgs(rosenbrock, np.array([-1.2, 1.0]), max_steps=3)
    assert (few.steps, bool(few.converged)) == (3, False)
    endless = lbfgs(lambda x: x.sum(), np.zeros(2), max_steps=10)
    assert not endless.converged
    assert endless.value < -1e3
    nowhere = lbfgs(lambda x: np.sqrt(x).sum(), np.array([-1.0]))  # NaN there
    assert not nowhere.converged
    np.testing.assert_array_equal(nowhere.x, [-1.0])


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: lbfgs(logistic, np.zeros(6), memory_size=0), "memory_size is a positive int"),
        (lambda: lbfgs(logistic, np.zeros(6), max_steps=1.5), "max_steps"),  # type: ignore[arg-type]
        (lambda: lbfgs(lambda x: x.sum(), np.zeros(3, int)), "a minimum by int64"),
        (lambda: lbfgs(lambda x: x[0].sum(), (np.zeros(2), np.zeros(2, "f4"))), "float32, flo"),
        (lambda: lbfgs(lambda x: 1.0, {"name": "w"}), "a minimum by a str"),
        (lambda: lbfgs(lambda x: x * 2, np.zeros(3)), "not one float"),
    ],
)  # fmt: skip
def test_errors(call: Callable[[], Any], match: str) -> None:
    with pytest.raises(gj.errors.InvalidArgumentError, match=match):
        call()
