"""`gj.checkpoint`: the same numbers, less memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 4))
WEIGHTS = [RNG.normal(size=(4, 4)) for _ in range(6)]
POLICIES = [None, *gj.checkpoint_policies]


def layer(x: Any, w: Any) -> Any:
    return np.tanh(np.sin(x @ w) * 2 + x)


def loss_of(f: Callable[..., Any]) -> Callable[..., Any]:
    def loss(weights: Any, x: Any) -> Any:
        for w in weights:
            x = f(x, w)
        return (x * x).sum()

    return loss


def same(found: Any, expected: Any) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("policy", POLICIES)
def test_numbers_are_the_same(policy: Any) -> None:
    again = loss_of(gj.checkpoint(layer, policy=policy))
    plain = loss_of(layer)
    np.testing.assert_allclose(again(WEIGHTS, X), plain(WEIGHTS, X), rtol=1e-13)
    assert gj.function(again)(WEIGHTS, X) == gj.function(plain)(WEIGHTS, X)
    same(gj.grad(again)(WEIGHTS, X), gj.grad(plain)(WEIGHTS, X))
    inside = gj.function(lambda ws, x: gj.grad(again)(ws, x), fallback="error")
    same(inside(WEIGHTS, X), gj.grad(plain)(WEIGHTS, X))


@pytest.mark.parametrize("policy", POLICIES)
def test_other_transformations(policy: Any) -> None:
    again, w = gj.checkpoint(layer, policy=policy), WEIGHTS[0]
    f = lambda x: (again(x, w) ** 2).sum()  # noqa: E731
    plain = lambda x: (layer(x, w) ** 2).sum()  # noqa: E731
    np.testing.assert_allclose(gj.hessian(f)(X[0]), gj.hessian(plain)(X[0]), rtol=1e-10)
    for a, b in zip(gj.jvp(f, (X,), (X,)), gj.jvp(plain, (X,), (X,)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    np.testing.assert_allclose(gj.vmap(gj.grad(f))(X), gj.vmap(gj.grad(plain))(X), rtol=1e-12)
    gj.testing.check_grads(f, (X[0],), 2)

    def scanned(x: Any) -> Any:
        return (gj.scan(lambda c, _: (again(c, w), None), x, np.arange(3.0))[0] ** 2).sum()

    def written(x: Any) -> Any:
        for _ in range(3):
            x = layer(x, w)
        return (x**2).sum()

    np.testing.assert_allclose(gj.grad(scanned)(X), gj.grad(written)(X), rtol=1e-12)


def arena_of(f: Any, *args: Any) -> int:
    return int(re.findall(r"arena (\d+) bytes", str(f.explain(*args)))[0])


def test_memory_is_that_of_the_square_root() -> None:
    count, side = 36, 6
    weights = [RNG.normal(size=(8, 8)).astype("f4") for _ in range(count)]
    x = RNG.normal(size=(4096, 8)).astype("f4")

    def run(x: Any, some: Any) -> Any:
        for w in some:
            x = np.tanh(np.sin(x @ w) * 2 + x)
        return x

    def gradient(f: Any, step: int) -> Any:
        def loss(weights: Any, x: Any) -> Any:
            for k in range(0, count, step):
                x = f(x, weights[k : k + step])
            return (x * x).mean()

        return gj.function(gj.grad(loss), fallback="error")

    plain, blocks = gradient(run, 1), gradient(gj.checkpoint(run), side)
    same(blocks(weights, x), plain(weights, x))
    kept, again = arena_of(plain, weights, x), arena_of(blocks, weights, x)
    assert kept > 2 * count * x.nbytes
    # of blocks what they are given, of one block all, and cotangents
    assert again < (side + 3 * side + 8) * x.nbytes


def test_what_is_closed_over_and_structures() -> None:
    scale = np.float64(3.0)

    def loss(p: Any, scale: Any) -> Any:
        @gj.checkpoint
        def inner(p: Any, *, power: int) -> Any:
            return {"a": np.sin(p["w"]) * scale, "b": (p["w"].sum() ** power, 1.0)}

        found = inner(p, power=2)
        return found["a"].sum() * found["b"][0] * found["b"][1]

    def plain(p: Any, scale: Any) -> Any:
        return (np.sin(p["w"]) * scale).sum() * p["w"].sum() ** 2

    p = {"w": X[0]}
    for k in (0, 1):
        found, expected = (gj.grad(f, k)(p, scale) for f in (loss, plain))
        if k == 0:
            found, expected = found["w"], expected["w"]
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_methods_variables_and_tapes() -> None:
    class Layer:
        def __init__(self) -> None:
            self.w = gj.Variable(WEIGHTS[0])

        def apply(self, x: Any) -> Any:
            return gj.tanh(x @ self.w)

    model = Layer()

    def gradient(f: Any) -> Any:
        with gj.GradientTape() as tape:
            y = gj.reduce_sum(f(gj.constant(X)))
        return tape.gradient(y, model.w)

    plain = gradient(model.apply)
    again = gj.checkpoint(model.apply)
    np.testing.assert_allclose(gradient(again), plain, rtol=1e-12)
    np.testing.assert_allclose(gj.function(lambda: gradient(again))(), plain, rtol=1e-12)


def test_names() -> None:
    again = gj.checkpoint(layer)
    assert again.__name__ == "layer"
    f = gj.function(lambda x, w: gj.grad(lambda x: again(x, w).sum())(x))
    text = str(f.get_graph(X, WEIGHTS[0]))
    assert "checkpoint" in text


def test_errors() -> None:
    with pytest.raises(gj.errors.InvalidArgumentError, match="no function"):
        gj.checkpoint(3)  # type: ignore[arg-type]
    with pytest.raises(gj.errors.InvalidArgumentError, match="nothing_saveable"):
        gj.checkpoint(layer, policy="dots")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="matmul"):
        gj.grad(lambda x: gj.checkpoint(layer)(x, np.ones((3, 3))).sum())(X)
