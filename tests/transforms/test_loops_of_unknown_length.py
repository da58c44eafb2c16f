"""Derivatives of `while`, forwards and backwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj
from graphjit.transforms import reverse_while
from tests.support.central_differences import differences

RNG = np.random.default_rng(0)
M = RNG.normal(size=(4, 4))
B = RNG.normal(size=4)


def newton(a: Any) -> Any:
    x = a
    while abs(x * x - a) > 1e-12:
        x = 0.5 * (x + a / x)
    return x


def fixed_point(p: Any) -> Any:
    y, n = p * 0.5, 0
    while n < 100 and np.abs(y - np.cos(p * y)).max() > 1e-13:
        y = np.cos(p * y)
        n += 1
    return (y * np.array([1.0, 2.0])).sum()


def conjugate_gradients(half: Any) -> Any:
    a = half @ half.T + 4 * np.eye(4)
    x, r = np.zeros(4), B
    p, rs = r, r @ r
    while rs > 1e-20:
        ap = a @ p
        alpha = rs / (p @ ap)
        x, r = x + alpha * p, r - alpha * ap
        new = r @ r
        p, rs = r + new / rs * p, new
    return (x * np.arange(4.0)).sum()


def of_a_branch(x: Any) -> Any:
    total = x[0] * 0.0
    while total < 5:
        total = total + x[0] if total < x[1] else total + x[1] * x[0]
    return total * total


def nested(x: Any) -> Any:
    def turn(total: Any) -> Any:
        inner = gj.while_loop(lambda t: t > 2, lambda t: t * x[0], total)
        return total + inner * x[1] + 1

    return gj.while_loop(lambda total: total < 30, turn, x.sum())


CASES: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "newton": (newton, np.float64(2.0)),
    "a fixed point": (fixed_point, np.array([0.8, 0.6])),
    "conjugate gradients": (conjugate_gradients, M),
    "a branch": (of_a_branch, np.array([0.7, 1.9])),
    "nested": (nested, np.array([0.6, 0.8])),
}


@pytest.mark.parametrize("name", CASES)
def test_equal_to_differences(name: str) -> None:
    f, x = CASES[name]
    expected = differences(f, x)
    for gradient in (gj.grad(f), gj.function(gj.grad(f), fallback="error"), gj.jacfwd(f)):
        np.testing.assert_allclose(gradient(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["newton", "a fixed point", "a branch"])
def test_second_derivatives(name: str) -> None:
    f, x = CASES[name]
    gj.testing.check_grads(f, (x,), 2)
    hessian = gj.hessian(f)(x)
    np.testing.assert_allclose(hessian, gj.jacrev(gj.jacrev(f))(x), rtol=1e-8, atol=1e-8)


def recurrence(a: Any, n: Any) -> Any:
    def turn(state: Any) -> Any:
        k, x = state
        return k + 1, x * 0.99 + np.sin(a) * 0.01

    return gj.while_loop(lambda state: state[0] < n, turn, (0, a))[1]


@pytest.mark.parametrize("places", [2, 7, 256])
def test_any_number_of_turns(places: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reverse_while, "_MAX_PLACES", places)
    gradient = gj.function(gj.grad(recurrence), fallback="error")
    for n in (0, 1, 2, 3, 6, 7, 8, 20, 255, 256, 257, 600):
        expected = 0.99**n + np.cos(1.5) * (1 - 0.99**n)
        np.testing.assert_allclose(gradient(1.5, np.int64(n)), expected, rtol=1e-10)
    assert gradient.trace_count == 1


def test_large_states_have_fewer_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reverse_while, "_MAX_BYTES", 3 * 8 * 50)

    def f(x: Any) -> Any:
        def turn(state: Any) -> Any:
            return state[0] + 1, np.sin(state[1]) + x

        return gj.while_loop(lambda s: s[0] < 11, turn, (0, x))[1].sum()

    x = RNG.normal(size=50)
    np.testing.assert_allclose(gj.grad(f)(x), differences(f, x), rtol=1e-5)


def test_tapes() -> None:
    def run(a: Any) -> Any:
        with gj.GradientTape() as tape:
            tape.watch(a)
            state = gj.while_loop(
                lambda s: s[0] < 4, lambda s: (s[0] + 1, s[1] * a), (gj.constant(0), a)
            )
        return tape.gradient(state[1], a)

    for call in (run, gj.function(run, fallback="error")):
        np.testing.assert_allclose(call(gj.constant(2.0)), 80.0)


def test_integers_that_are_carried_have_no_derivative() -> None:
    def f(x: Any) -> Any:
        n, y = 0, x
        while y < 100:
            y = y * 2 + n
            n += 1
        return y

    np.testing.assert_allclose(gj.grad(f)(3.0), differences(f, 3.0))
    value, change = gj.jvp(f, (3.0,), (1.0,))
    assert value == f(3.0) and change == 2.0 ** round(np.log2(change))


def test_forward_mode_of_long_scans_keeps_nothing() -> None:
    def f(c: Any) -> Any:
        x = c
        for _ in range(1000):
            x = x * 0.999 + np.sin(c) * 1e-3
        return x

    push = gj.function(lambda c: gj.jvp(f, (c,), (1.0,))[1], fallback="error")
    np.testing.assert_allclose(push(1.0), gj.grad(f)(1.0), rtol=1e-12)
    specialization = push.specialization(1.0)
    assert "[1000]" not in str(specialization.graph)
