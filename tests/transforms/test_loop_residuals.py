"""What loops keep for the way back, and sums over turns that are one product."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphjit as gj
from graphjit import passes

RNG = np.random.default_rng(0)
H, W, X = RNG.normal(size=(3, 40)), RNG.normal(size=(40, 40)) / 7, RNG.normal(size=(6, 3, 40))
COMPLEX = W + 1j * RNG.normal(size=W.shape) / 7


def over(x: Any, h: Any, turn: Callable[[Any, Any], Any]) -> Any:
    """What is left of h after a turn for each row."""
    return gj.scan(lambda h, row: (turn(h, row), None), h, x)[0]


def recurrent(w: Any, x: Any) -> Any:
    h = over(x, H, lambda h, row: np.tanh(row + h @ w))
    return (h * h).sum()


def scanned(w: Any, x: Any) -> Any:
    def turn(h: Any, row: Any) -> Any:
        h = np.tanh(row + h @ w)
        return h, h.sum()

    h, sums = gj.scan(turn, H * w[0, 0], x)
    return (h * h).sum() + (sums * sums).sum()


def backwards(w: Any, x: Any) -> Any:
    h, _ = gj.scan(lambda h, row: (np.sin(row @ w + h), None), H, x, reverse=True)
    return (h * h * h).sum()


def on_the_left(w: Any, x: Any) -> Any:
    h = over(x, H.T, lambda h, row: np.tanh(w @ h + row.T))
    return (h * h).sum()


def transposed(w: Any, x: Any) -> Any:
    h = over(x, H, lambda h, row: np.tanh(row + h @ w.T))
    return (h * h).sum()


def twice_in_a_turn(w: Any, x: Any) -> Any:
    h = over(x, H, lambda h, row: np.tanh(np.tanh(row + h @ w) @ w))
    return (h * h).sum()


def two_layers(w: Any, x: Any) -> Any:
    v = w * 2 + 1

    def turn(carry: Any, row: Any) -> Any:
        h = np.tanh(row + carry[0] @ w)
        return h, np.tanh(h @ v - carry[1] @ w)

    h, g = over(x, (H, H), turn)
    return (g * g).sum() + h.sum()


def in_a_loop(w: Any, x: Any) -> Any:
    def turn(h: Any, row: Any) -> Any:
        return over(x, h, lambda h, other: np.tanh(other + row + h @ w))

    h = over(x, H, turn)
    return (h * h).sum()


def large_rows(w: Any, x: Any) -> Any:  # the factors are larger than the sum
    wide = np.concatenate([x] * 40, axis=1)
    h = over(wide, np.concatenate([H] * 40), lambda h, row: np.tanh(row + h @ w))
    return (h * h).sum()


def routines(w: Any, x: Any) -> Any:
    a = w @ w.T + 3 * np.eye(40)

    def turn(h: Any, row: Any) -> Any:
        return np.tanh(np.linalg.solve(a + h[:, :1] ** 2 * np.eye(40), h) + row.T)

    h = over(x, H.T, turn)
    return (h * h).sum()


def of_complex(w: Any, x: Any) -> Any:
    z = w + 0.5j * w.T
    h = over(x, H + 0j, lambda h, row: np.tanh((row + h @ z) / 4))
    return np.abs(h).sum()


FUNCTIONS = (
    recurrent, scanned, backwards, on_the_left, transposed, twice_in_a_turn, two_layers,
    in_a_loop, large_rows, routines, of_complex,
)  # fmt: skip


@pytest.fixture(params=[0, 20_000, 1 << 30])
def budget(request: Any) -> Iterator[int]:
    before, gj.config.memory_budget = gj.config.memory_budget, request.param
    yield request.param
    gj.config.memory_budget = before


def difference(f: Callable[..., Any], w: Any, x: Any, step: Any) -> Any:
    """The derivative of a function along steps of both arguments."""
    eps = 1e-5
    up, down = (f(w + s * eps * step[0], x + s * eps * step[1]) for s in (1, -1))
    return (np.asarray(up) - np.asarray(down)) / (2 * eps)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_gradients_are_those_of_differences(function: Any, budget: int) -> None:
    gradient = gj.function(gj.value_and_grad(function, (0, 1)))
    for count in (6, 1, 0, 5, 6):  # the second size of an extent makes it symbolic
        x = X[:count]
        value, (by_w, by_x) = gradient(W, x)
        rng = np.random.default_rng(count)
        step = rng.normal(size=W.shape), rng.normal(size=x.shape)
        expected = difference(gj.function(function), W, x, step)
        found = (by_w * step[0]).sum() + (by_x * step[1]).sum()
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)
        np.testing.assert_allclose(value, gj.function(function)(W, x), rtol=1e-12)


def test_second_derivatives(budget: int) -> None:
    def along(w: Any) -> Any:
        return (gj.grad(scanned)(w, X) * COMPLEX.imag).sum()

    found = gj.function(gj.grad(along))(W)
    step, eps = np.random.default_rng(1).normal(size=W.shape), 1e-5
    f = gj.function(along)
    expected = (f(W + eps * step) - f(W - eps * step)) / (2 * eps)
    np.testing.assert_allclose((found * step).sum(), expected, rtol=1e-6)


def scans_of(function: Any, *args: Any) -> list[Any]:
    graph = passes.optimized(gj.function(function).get_graph(*args))
    return [node for node in graph.nodes if node.primitive.name == "scan"]


def products_in(node: Any) -> int:
    return sum(n.primitive.name == "matmul" for n in node.regions[0].nodes)


def test_the_value_and_the_gradient_share_one_loop() -> None:
    forwards, back = scans_of(gj.value_and_grad(scanned), W, X)
    assert products_in(forwards) == 1
    assert products_in(back) == 1  # of the cotangent with w: the weight's is made afterwards


def test_products_are_computed_again_beyond_the_budget() -> None:
    before, gj.config.memory_budget = gj.config.memory_budget, 0
    try:
        _, back = scans_of(gj.value_and_grad(scanned), W, X)
    finally:
        gj.config.memory_budget = before
    assert products_in(back) == 3


def test_what_no_cotangent_needs_is_not_kept() -> None:
    def linear(w: Any, x: Any) -> Any:
        return over(x, H, lambda h, row: row + h @ w).sum()

    forwards, _ = scans_of(gj.grad(linear), W, X)
    (body,) = forwards.regions
    assert len(body.outputs) == 2  # what is carried, after the turn and before


def test_the_budget_is_a_count_of_bytes() -> None:
    with pytest.raises(gj.errors.InvalidArgumentError, match="memory_budget is a count"):
        gj.config.memory_budget = -1
