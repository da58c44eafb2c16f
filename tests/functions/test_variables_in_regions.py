"""Variables that are read and assigned in the functions of control flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphjit as gj


class State:
    """Variables as a model has them."""

    def __init__(self) -> None:
        self.total = gj.Variable(np.zeros(3))
        self.count = gj.Variable(0)
        self.best = gj.Variable(np.float64(-1.5))

    def values(self) -> list[Any]:
        return [v.numpy().tolist() for v in (self.total, self.count, self.best)]


def branch(s: State, x: Any, n: Any) -> Any:
    return gj.cond(
        gj.reduce_sum(x) > 1.0,
        lambda: s.total.assign_add(x),
        lambda: s.total.assign_sub(2.0 * x),
    )


def one_branch_assigns(s: State, x: Any, n: Any) -> Any:
    def yes() -> Any:
        s.count.assign_add(1)
        s.total.assign(s.total * 2.0 + x)
        return gj.reduce_sum(s.total)

    found = gj.cond(gj.reduce_sum(x) > 1.0, yes, lambda: s.best + 0.0)
    return found, s.count + 1, s.total - x


def nested_branches(s: State, x: Any, n: Any) -> Any:
    def inner() -> Any:
        s.best.assign(gj.reduce_max(x))
        return gj.cond(x[1] > 0.0, lambda: s.count.assign_add(2), lambda: s.count.assign(n))

    gj.cond(x[0] > 0.0, inner, lambda: s.count.assign_sub(1))
    return s.best * 2.0


def switched(s: State, x: Any, n: Any) -> Any:
    gj.switch(
        n,
        [
            lambda: s.total.assign_add(x),
            lambda: s.total.assign(x * s.best),
            lambda: s.total.assign(x[::-1]),
        ],
    )
    return s.total


def while_loop(s: State, x: Any, n: Any) -> Any:
    def body(i: Any) -> Any:
        s.total.assign_add(x * gj.cast(i, gj.float64))
        s.count.assign_add(1)
        return i + 1

    return gj.while_loop(lambda i: i < n, body, [gj.constant(0)])


def while_on_a_variable(s: State, x: Any, n: Any) -> Any:
    def body(i: Any) -> Any:
        s.count.assign_add(3)
        return i * 2.0

    return gj.while_loop(lambda i: s.count < n * 5, body, gj.constant(1.0))


def counted(s: State, x: Any, n: Any) -> Any:
    def body(i: Any, value: Any) -> Any:
        s.total.assign(s.total * 0.5 + value)
        return value + s.total

    return gj.fori_loop(0, 4, body, x)


def counted_at_run_time(s: State, x: Any, n: Any) -> Any:
    def body(i: Any, value: Any) -> Any:
        s.count.assign_add(1)
        return value + gj.cast(s.count, gj.float64)

    return gj.fori_loop(0, n, body, x)


def scanned(s: State, x: Any, n: Any) -> Any:
    def step(carry: Any, item: Any) -> Any:
        s.best.assign(gj.maximum(s.best, item))
        return carry + item, s.best * 1.0

    return gj.scan(step, gj.constant(np.float64(0)), x)


def mapped(s: State, x: Any, n: Any) -> Any:
    def each(item: Any) -> Any:
        s.count.assign_add(1)
        return item * gj.cast(s.count, gj.float64)

    return gj.map(each, x)


def branch_in_a_loop(s: State, x: Any, n: Any) -> Any:
    def body(i: Any, value: Any) -> Any:
        def yes() -> Any:
            s.count.assign_add(1)
            return value * 0.5

        return gj.cond(gj.reduce_sum(value) > 0.5, yes, lambda: value + s.total)

    found = gj.fori_loop(0, 5, body, x)
    s.total.assign(found)
    return found


def loop_in_a_branch(s: State, x: Any, n: Any) -> Any:
    def loop() -> Any:
        def body(i: Any) -> Any:
            s.total.assign_add(x)
            return i + 1

        gj.while_loop(lambda i: i < n, body, [gj.constant(0)])
        return gj.reduce_sum(s.total)

    return gj.cond(x[0] > 0.0, loop, lambda: gj.constant(np.float64(7)))


def read_before_and_after(s: State, x: Any, n: Any) -> Any:
    before = s.total * 1.0
    s.total.assign_add(x)
    gj.cond(x[0] > 0.0, lambda: s.total.assign_add(before + 1.0), lambda: s.total.assign(x))
    s.total.assign_add(x)
    return before, s.total * 1.0


FORMS: list[Callable[[State, Any, Any], Any]] = [
    branch, one_branch_assigns, nested_branches, switched, while_loop, while_on_a_variable,
    counted, counted_at_run_time, scanned, mapped, branch_in_a_loop, loop_in_a_branch,
    read_before_and_after,
]  # fmt: skip


def plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [plain(x) for x in value]
    return np.asarray(value.numpy() if hasattr(value, "numpy") else value).tolist()


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.__name__)
@settings(max_examples=8)
@given(st.lists(st.tuples(st.integers(-8, 8), st.integers(0, 4)), min_size=1, max_size=4))
def test_as_eagerly(form: Any, calls: list[tuple[int, int]]) -> None:
    """Eagerly they are Python's `if`, `while` and `for`."""
    one, other = State(), State()
    compiled = gj.function(lambda s, x, n: form(s, x, n), fallback="error")
    for number, n in calls:
        x = gj.constant(np.array([number / 4, 0.5, -number / 8]))
        wanted = plain(form(other, x, gj.constant(n)))
        assert plain(compiled(one, x, gj.constant(n))) == wanted
        assert one.values() == other.values()


def test_a_variable_keeps_its_type() -> None:
    v = gj.Variable(np.zeros(3))

    @gj.function(fallback="error")
    def f(x: Any) -> Any:
        return gj.cond(x > 0.0, lambda: v.assign(x), lambda: v.assign_add(v))

    with pytest.raises(gj.errors.GraphJitError, match="test_variables_in_regions"):
        f(gj.constant(1.0))
    np.testing.assert_array_equal(v.numpy(), np.zeros(3))


def test_a_condition_that_assigns_runs_eagerly() -> None:
    v = gj.Variable(0)

    def count(x: Any) -> Any:
        def test(i: Any) -> Any:
            v.assign_add(1)
            return i < 3

        return gj.while_loop(test, lambda i: i + 1, gj.constant(0)) + x

    assert int(gj.function(count)(gj.constant(0))) == 3
    assert int(v) == 4
    with pytest.raises(gj.errors.TracingError, match="condition assigns a variable"):
        gj.function(count, fallback="error")(gj.constant(0))


def test_generators_draw_in_loops() -> None:
    def draws(generator: Any) -> Any:
        def step(carry: Any, _: Any) -> Any:
            x = generator.normal([2])
            return carry + x, x

        return gj.scan(step, gj.constant(np.zeros(2, np.float32)), None, length=5)

    one, other = gj.random.Generator.from_seed(3), gj.random.Generator.from_seed(3)
    compiled = gj.function(lambda: draws(one), fallback="error")
    for _ in range(3):
        for a, b in zip(compiled(), draws(other), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(one.state.numpy(), other.state.numpy())
