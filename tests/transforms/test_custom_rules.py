"""Derivatives that the user writes, linear maps, and checks of derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj
from tests.support.central_differences import differences

V = np.array([0.5, -1.5, 2.0])
FACTOR = 10.0


@gj.custom_gradient
def with_gradient(x: Any) -> Any:
    e = gj.exp(x)

    def grad(upstream: Any) -> Any:
        return upstream * e * FACTOR

    return e, grad


@gj.custom_vjp
def with_vjp(x: Any, y: Any) -> Any:
    return np.sin(x) * y


def forward(x: Any, y: Any) -> Any:
    return with_vjp(x, y), (np.cos(x), np.sin(x), y)


def backward(rest: Any, g: Any) -> Any:
    c, s, y = rest
    return g * c * y * FACTOR, g * s


with_vjp.defvjp(forward, backward)


@gj.custom_jvp
def with_jvp(x: Any, y: Any) -> Any:
    return np.sin(x) * y


@with_jvp.defjvp
def rule(primals: Any, tangents: Any) -> Any:
    (x, y), (a, b) = primals, tangents
    return with_jvp(x, y), FACTOR * a * np.cos(x) * y + b * np.sin(x)


RULES = {"custom_vjp": with_vjp, "custom_jvp": with_jvp}
PLACES: dict[str, Callable[[Any], Any]] = {
    "alone": lambda f: f,
    "in a function": lambda f: gj.function(f, fallback="error"),
    "in a loop": lambda f: lambda x, y: gj.fori_loop(0, 1, lambda k, c: f(c, y), x),
    "in a branch": lambda f: lambda x, y: gj.cond(x.sum() < 99, f, lambda x, y: x, x, y),
    "in a scan": lambda f: lambda x, y: gj.scan(lambda c, r: (c, f(*r)), 0.0, (x, y))[1],
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("place", PLACES)
def test_rules_are_used(name: str, place: str) -> None:
    f, y = PLACES[place](RULES[name]), V + 3
    np.testing.assert_allclose(f(V, y), np.sin(V) * y)
    loss = gj.grad(lambda x, y: (f(x, y) * np.arange(3.0)).sum(), argnums=(0, 1))
    for call in (loss, gj.function(loss, fallback="error")):
        by_x, by_y = call(V, y)
        np.testing.assert_allclose(by_x, FACTOR * np.cos(V) * y * np.arange(3))
        np.testing.assert_allclose(by_y, np.sin(V) * np.arange(3))


@pytest.mark.parametrize("name", RULES)
def test_other_modes(name: str) -> None:
    f, y = RULES[name], V + 3
    value, change = gj.jvp(f, (V, y), (np.ones(3), np.arange(3.0)))
    np.testing.assert_allclose(value, np.sin(V) * y)
    np.testing.assert_allclose(change, FACTOR * np.cos(V) * y + np.sin(V) * np.arange(3))
    np.testing.assert_allclose(gj.vmap(gj.grad(f))(V, y), FACTOR * np.cos(V) * y)
    second = gj.vmap(gj.grad(gj.grad(f)))(V, y)
    if name == "custom_vjp":  # the rule's residuals are ordinary values
        np.testing.assert_allclose(second, -FACTOR * np.sin(V) * y)
    else:
        np.testing.assert_allclose(second, -FACTOR * np.sin(V) * y)


@pytest.mark.parametrize("name", [*RULES, "custom_gradient"])
@pytest.mark.parametrize("mode", ["eager", "compiled", "around"])
def test_tapes(name: str, mode: str) -> None:
    def f(x: Any) -> Any:
        if name == "custom_gradient":
            return with_gradient(x)
        return RULES[name](x, gj.constant(V + 3))

    inner = gj.function(f, fallback="error") if mode == "around" else f

    def run(x: Any) -> Any:
        with gj.GradientTape() as tape:
            tape.watch(x)
            y = inner(x) * 2.0
        return tape.gradient(y, x)

    found = (gj.function(run, fallback="error") if mode == "compiled" else run)(gj.constant(V))
    slope = np.exp(V) if name == "custom_gradient" else np.cos(V) * (V + 3)
    np.testing.assert_allclose(found, 2 * FACTOR * slope)


def test_gradients_by_grad() -> None:
    x = gj.constant(V)
    for call in (gj.grad, lambda f: gj.function(gj.grad(f), fallback="error")):
        found = call(lambda x: gj.reduce_sum(with_gradient(x) * 3.0))(x)
        np.testing.assert_allclose(found, 3 * FACTOR * np.exp(V))


def test_what_rules_read_is_read_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = {
        "custom_gradient": gj.grad(lambda x: gj.reduce_sum(with_gradient(x))),
        **{k: gj.grad(lambda x, f=f: f(x, np.ones(3)).sum()) for k, f in RULES.items()},
    }
    for factor in (1.0, 2.0, 3.0):
        monkeypatch.setitem(globals(), "FACTOR", factor)
        for name, call in calls.items():
            x = gj.constant(V) if name == "custom_gradient" else V
            slope = np.exp(V) if name == "custom_gradient" else np.cos(V)
            np.testing.assert_allclose(call(x), factor * slope)


def test_structures_and_none() -> None:
    @gj.custom_vjp
    def f(p: dict[str, Any], scale: float) -> Any:
        return {"y": p["a"] * p["b"] * scale, "n": 3}

    def fwd(p: Any, scale: Any) -> Any:
        return f(p, scale), p

    def bwd(p: Any, g: Any) -> Any:
        return {"a": g["y"] * 7.0, "b": None}, None

    f.defvjp(fwd, bwd)
    p = {"a": V, "b": V + 1}
    found = gj.grad(lambda p: f(p, 2.0)["y"].sum())(p)
    np.testing.assert_array_equal(found["a"], np.full(3, 7.0))
    np.testing.assert_array_equal(found["b"], np.zeros(3))


def test_arguments_without_derivative() -> None:
    @gj.custom_vjp
    def f(name: str, x: Any) -> Any:
        return x * (2.0 if name == "two" else 3.0)

    g = gj.custom_vjp(f._function, nondiff_argnums=(0,))
    g.defvjp(lambda name, x: (g(name, x), None), lambda name, rest, y: (y * len(name),))
    assert gj.grad(lambda x: g("two", x))(1.0) == 3.0
    assert g("two", 1.0) == 2.0


def test_a_rule_for_each_argument() -> None:
    @gj.custom_jvp
    def f(x: Any, y: Any) -> Any:
        return x * y

    f.defjvps(lambda t, value, x, y: 5 * t * y, None)
    found = gj.grad(lambda x, y: f(x, y).sum(), argnums=(0, 1))(V, V + 1)
    np.testing.assert_array_equal(found[0], 5 * (V + 1))
    np.testing.assert_array_equal(found[1], np.zeros(3))


def test_a_loss_that_stays_finite() -> None:
    @gj.custom_jvp
    def log1pexp(x: Any) -> Any:
        return np.log(1.0 + np.exp(x))

    log1pexp.defjvps(lambda t, value, x: (1 - 1 / (1 + np.exp(x))) * t)
    with np.errstate(over="ignore"):
        assert gj.grad(log1pexp)(100.0) == 1.0


def test_graphs_that_are_compiled_have_no_rules() -> None:
    graph = gj.function(lambda x: with_vjp(x, x)).get_graph(V)
    assert "own_gradient" not in str(graph)


def test_linear_maps() -> None:
    value, push = gj.linearize(lambda x, y: np.sin(x) * y, V, V + 3)
    np.testing.assert_allclose(value, np.sin(V) * (V + 3))
    for t in (np.ones(3), np.arange(3.0)):
        np.testing.assert_allclose(push(t, 0 * t), np.cos(V) * (V + 3) * t)
    found = gj.function(lambda x: gj.linearize(lambda x: x**3, x)[1](np.ones(3)))(V)
    np.testing.assert_allclose(found, 3 * V**2)
    scale = {"k": 1.0}
    _, push = gj.linearize(lambda p: {"y": p["x"] ** 2 * scale["k"]}, {"x": V})
    scale["k"] = 9.0  # it is the function's as it was
    np.testing.assert_allclose(push({"x": np.ones(3)})["y"], 2 * V)
    with pytest.raises(gj.errors.InvalidArgumentError, match="another structure"):
        push(V)


def test_check_grads() -> None:
    check = gj.testing.check_grads
    check(lambda x: np.tanh(x) @ x, (V,), 3)
    check(lambda p: (p["a"] * np.exp(p["b"])).sum(), ({"a": V, "b": V + 1},), 2)
    check(lambda x: gj.reduce_sum(gj.tanh(x)), (gj.constant([0.1, 0.2]),), 2)
    for f in (lambda x: with_vjp(x, V).sum(), lambda x: with_jvp(x, V).sum()):
        for mode in ("fwd", "rev"):
            with pytest.raises(AssertionError, match="vjp" if mode == "rev" else "jvp"):
                check(f, (V,), 1, modes=(mode,))
    with pytest.raises(gj.errors.InvalidArgumentError, match="of order 0"):
        check(np.sin, (V,), 0)
    with pytest.raises(gj.errors.InvalidArgumentError, match="in modes"):
        check(np.sin, (V,), 1, modes=("back",))
    with pytest.raises(gj.errors.InvalidArgumentError, match="isn't made of floats"):
        check(np.sin, (np.arange(3),), 1)


# -- errors


def broken(fwd: Any, bwd: Any) -> Any:
    f = gj.custom_vjp(lambda x: x * 2.0)
    f.defvjp(fwd, bwd)
    return f


@pytest.mark.parametrize(
    ("f", "match"),
    [
        (gj.custom_vjp(lambda x: x), "<lambda> has no rule yet"),
        (gj.custom_jvp(lambda x: x), "<lambda> has no rule yet"),
        (broken(lambda x: x, lambda r, g: (g,)), "gives no pair"),
        (broken(lambda x: (x, None), lambda r, g: (g, g)), "2 cotangents for 1 arguments"),
        (broken(lambda x: (x, None), lambda r, g: (g[0],)), r"of f64\[\] for f64\[3\]"),
        (broken(lambda x: (x, None), lambda r, g: ({"a": g},)), "in another structure"),
        (gj.custom_gradient(lambda x: x), "gives no pair of value and function"),
    ],
)
def test_rules_that_do_not_fit(f: Any, match: str) -> None:
    with pytest.raises(gj.errors.InvalidArgumentError, match=match):
        gj.grad(lambda x: f(x).sum())(V)


def test_what_is_no_function() -> None:
    for call in (gj.custom_vjp, gj.custom_jvp, gj.custom_gradient):
        with pytest.raises(gj.errors.InvalidArgumentError, match="no function"):
            call(3)  # type: ignore[arg-type]


def test_arguments_by_name_and_by_default() -> None:
    @gj.custom_vjp
    def f(a: Any, scale: Any = 2.0) -> Any:
        return a * scale

    f.defvjp(lambda a, scale: (a * scale, scale), lambda scale, g: (g * scale * 10.0, 0.0 * g))

    @gj.custom_jvp
    def h(a: Any, scale: Any = 2.0) -> Any:
        return a * scale

    @h.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        return h(*primals), tangents[0] * primals[1] * 10.0

    for each in (f, h):
        assert gj.grad(lambda a, each=each: each(a, scale=3.0))(1.0) == 30.0
        assert gj.grad(lambda a, each=each: each(a=a))(1.0) == 20.0

    @gj.custom_vjp
    def named(a: Any, *, scale: Any) -> Any:
        return a * scale

    named.defvjp(lambda a, scale: (a * scale, scale), lambda scale, g: (g * scale,))
    with pytest.raises(gj.errors.InvalidArgumentError, match="no argument by name"):
        gj.grad(lambda a: named(a, scale=3.0))(1.0)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        gj.grad(lambda a: f(a, size=3.0))(1.0)


def _closing(name: str, a: Any) -> Any:
    """A function with a rule that closes over a value."""
    if name == "custom_gradient":
        return gj.custom_gradient(lambda x: (a * x, lambda g: g * a))
    if name == "custom_vjp":
        f = gj.custom_vjp(lambda x: a * x)
        f.defvjp(lambda x: (a * x, None), lambda _, g: (g * a,))
        return f
    f = gj.custom_jvp(lambda x: a * x)
    f.defjvps(lambda t, value, x: t * a)
    return f


@pytest.mark.parametrize("name", ["custom_gradient", "custom_vjp", "custom_jvp"])
def test_values_closed_over(name: str) -> None:
    """Their derivative isn't in the rule: it would be lost."""
    with pytest.raises(gj.errors.NotDifferentiableError, match="isn't among its arguments"):
        gj.grad(lambda a, x: _closing(name, a)(x))(3.0, 2.0)
    with pytest.raises(gj.errors.NotDifferentiableError, match="isn't among its arguments"):
        gj.jvp(lambda a: _closing(name, a)(2.0 * a), (3.0,), (1.0,))
    assert gj.grad(lambda a, x: _closing(name, a)(x), 1)(3.0, 2.0) == 3.0  # as JAX has it
    found = gj.vmap(gj.grad(lambda x: _closing(name, 3.0)(x) + x))(V)
    np.testing.assert_allclose(found, np.full(V.shape, 4.0))


@pytest.mark.parametrize("name", ["custom_gradient", "custom_vjp", "custom_jvp"])
def test_other_results_of_loops_and_branches_closed_over(name: str) -> None:
    """What a loop or a branch gives besides what is differentiated by is a constant."""

    def after_for(x: Any, c: Any) -> Any:
        t = c * 1.0
        for _ in range(5):
            x, t = x * np.cos(x), t * 1.5
        return _closing(name, t)(x)

    def after_while(x: Any, c: Any) -> Any:
        begin = (x, c * 1.0, 0)
        turn = lambda s: (s[0] * np.cos(s[0]), s[1] * 1.5, s[2] + 1)  # noqa: E731
        x, t, _ = gj.while_loop(lambda s: s[2] < 5, turn, begin)
        return _closing(name, t)(x)

    def after_cond(x: Any, c: Any) -> Any:
        x, t = gj.cond(c > 1.0, lambda: (x * x, c * 3.0), lambda: (x, c))
        return _closing(name, t)(x)

    def inside(x: Any, c: Any) -> Any:
        turn = lambda s, _: ((_closing(name, s[1])(s[0]), s[1] * 1.5), None)  # noqa: E731
        return gj.scan(turn, (x, c * 1.0), np.arange(4.0))[0][0]

    for f in (after_for, after_while, after_cond, inside):
        for g in (f, gj.function(f)):
            one = lambda x, g=g: g(x, np.float64(2.0))  # noqa: E731
            expected = differences(one, 0.7)
            np.testing.assert_allclose(gj.grad(one)(0.7), expected, rtol=1e-6)
            np.testing.assert_allclose(gj.jvp(one, (0.7,), (1.0,))[1], expected, rtol=1e-6)


def test_gradients_of_python_numbers() -> None:
    @gj.custom_gradient
    def f(x: Any) -> Any:
        return gj.square(x), lambda dy: dy * 2.0 * x

    assert gj.grad(f)(2.0) == 4.0


@pytest.mark.parametrize("mode", [lambda f: f, gj.function])
def test_complex_gradients_of_custom_gradient_are_tensorflows(mode: Any) -> None:
    z = gj.constant(1 + 2j)

    @gj.custom_gradient
    def square(z: Any) -> Any:
        return z * z, lambda dy: dy * gj.conj(2.0 * z)

    @mode
    def f() -> Any:
        with gj.GradientTape() as tape:
            tape.watch(z)
            y = square(z)
        return tape.gradient(y, z)

    np.testing.assert_allclose(f(), 2 - 4j)
    found = gj.grad(square, holomorphic=True)(1 + 2j)
    np.testing.assert_allclose(found, 2 + 4j)
