"""`gj.debug.check_numerics`: the op and the line of the first NaN or infinity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphjit as gj

ERROR = gj.errors.InvalidArgumentError
X = np.array([1.0, 0.0, -1.0])


def root(x: Any) -> Any:
    y = x * 2
    z = np.sqrt(y)
    return z + 1


def in_a_loop(x: Any) -> Any:
    for _ in range(5):
        x = x * 1e200
    return x


def in_a_branch(x: Any) -> Any:
    return gj.cond(x.sum() > 0.5, lambda: np.log(x), lambda: x)


@pytest.mark.parametrize(
    ("f", "x", "match"),
    [
        (root, X, r"sqrt gave 1 NaN among 3 elements, the first at \[2\] of finite numbers "
         r"\[Op:Sqrt\]\n  at test_check_numerics.py:\d+ in root: z = np.sqrt\(y\)"),
        (in_a_loop, X[:1], r"mul gave 1 Inf .*\n.* in in_a_loop: x = x \* 1e200"),
        (in_a_branch, np.array([1.0, 0.0]), "log gave 1 Inf"),
        (lambda x: 1 / x, X, "the first at .1."),
        (gj.grad(lambda x: np.sqrt(x).sum()), X[:1] * 0, "gave 1 Inf"),
        (lambda x: np.linalg.inv(x), np.array([[1e-320]]), "inv gave"),
        (lambda x: x + 1, np.array([1.0, np.nan]), "x has 1 NaN among 2 elements"),
        (lambda x: np.exp(x.sum()), np.array([1e5]), "exp gave 1 Inf among 1 elements"),
        (lambda x: (x * 1j) / 0.0, X[:1], "gave"),
    ],
)  # fmt: skip
def test_the_first_one_is_named(f: Any, x: Any, match: str) -> None:
    with pytest.raises(ERROR, match=match):
        gj.debug.check_numerics(f)(x)
    with pytest.raises(ERROR, match="step 3: "):
        gj.debug.check_numerics(gj.function(f), "step 3")(x)


def test_what_is_finite_is_given_back() -> None:
    masked = lambda x: np.where(x > 0, x, -np.inf).max()  # noqa: E731
    assert gj.debug.check_numerics(masked)(X) == 1.0
    assert gj.debug.check_numerics(root, infinities=False)(np.array([np.inf]))[0] == np.inf
    found = gj.debug.check_numerics(lambda a, *, b: {"s": a @ b["w"]})(X, b={"w": X})
    assert found == {"s": 2.0}
    for x in (X, X[:0], np.zeros((2, 0)), np.ones((2, 3), np.float32), np.arange(3)):
        np.testing.assert_array_equal(gj.debug.check_numerics(lambda x: x * 2)(x), x * 2)


def test_state_is_changed_once() -> None:
    count, rng, other = gj.Variable(0.0), np.random.default_rng(3), np.random.default_rng(3)

    def f(x: Any) -> Any:
        count.assign_add(1.0)
        return x + rng.normal()

    np.testing.assert_array_equal(gj.debug.check_numerics(f)(X), X + other.normal())
    assert float(count.numpy()) == 1.0
    assert rng.random() == other.random()


def test_arrays() -> None:
    assert gj.debug.check_numerics(X) is X
    t = gj.constant([1.0, 2.0])
    assert gj.debug.check_numerics(t, "t") is t
    for bad in (np.array([np.nan]), gj.constant([np.inf]), float("nan")):
        with pytest.raises(ERROR, match=r"here : Tensor had 1 (NaN|Inf)"):
            gj.debug.check_numerics(bad, "here")
    with pytest.raises(gj.errors.TracingError, match="give it the function"):
        gj.function(lambda x: gj.debug.check_numerics(x), fallback="error")(X)
    with pytest.raises(gj.errors.TracingError):
        gj.debug.check_numerics(lambda x: id(x) + x)(X)
