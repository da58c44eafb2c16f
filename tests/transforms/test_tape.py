"""`gj.GradientTape`: eagerly, inside compiled functions, and around them."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj
from tests.support.central_differences import differences

RNG = np.random.default_rng(5)
A, B = RNG.normal(size=(3, 4)), RNG.normal(size=(4, 2))
V = np.array([0.5, -1.5, 2.0, 0.25])


def eagerly(function: Any) -> Any:
    return function


def compiled(function: Any) -> Any:
    return gj.function(function, fallback="error")


MODES = [eagerly, compiled]
LOSSES: dict[str, Callable[[Any], Any]] = {
    "products": lambda x: gj.reduce_sum(gj.matmul(x, gj.constant(B)) ** 2),
    "pointwise": lambda x: gj.reduce_sum(gj.tanh(x) * gj.exp(-x * x)),
    "reductions": lambda x: gj.reduce_logsumexp(x) + gj.reduce_mean(x, axis=0)[1],
    "maxima": lambda x: gj.reduce_max(x, axis=1)[0] * 2.0,
    "slices": lambda x: gj.reduce_sum(x[1:, ::2] ** 3) - x[0, 0],
    "joins": lambda x: gj.reduce_sum(gj.concat([x, x * x], axis=0) ** 2),
    "gathers": lambda x: gj.reduce_sum(gj.gather(x, [0, 2, 2]) ** 2),
    "choices": lambda x: gj.reduce_sum(gj.where(x > 0, x * 2.0, x * x)),
    "softmax": lambda x: gj.reduce_sum(gj.nn.softmax(x)[:, 0] ** 2),
    "sums along": lambda x: gj.reduce_sum(gj.cumsum(x, axis=1) ** 2),
    "products along": lambda x: gj.reduce_sum(gj.cumprod(x, axis=1)),
    "linear algebra": lambda x: gj.reduce_sum(
        gj.linalg.inv(gj.matmul(x, x, transpose_b=True) + 3.0 * gj.eye(3, dtype=gj.float64))
    ),
    "a loop": lambda x: gj.reduce_sum(gj.fori_loop(0, 3, lambda k, y: y * x + 1.0, x)),
    "a branch": lambda x: gj.reduce_sum(gj.cond(x[0, 0] > 5.0, lambda: x, lambda: x * x)),
    "sorts": lambda x: gj.reduce_sum(gj.sort(x, axis=1)[:, :2] ** 2),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LOSSES)
def test_equal_to_differences(name: str, mode: Callable[..., Any]) -> None:
    loss = LOSSES[name]

    def run(x: Any) -> Any:
        with gj.GradientTape() as tape:
            tape.watch(x)
            value = loss(x)
        return value, tape.gradient(value, x)

    value, found = mode(run)(gj.constant(A))
    np.testing.assert_allclose(value, loss(gj.constant(A)))
    expected = differences(lambda x: loss(gj.constant(x)), A)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert isinstance(found, gj.Tensor)


@pytest.mark.parametrize("name", LOSSES)
def test_compiled_functions_that_are_called(name: str) -> None:
    inner = gj.function(LOSSES[name], fallback="error")
    x = gj.constant(A)
    with gj.GradientTape() as tape:
        tape.watch(x)
        value = inner(x * 1.5) * 2.0
    expected = differences(lambda x: LOSSES[name](gj.constant(x * 1.5)) * 2.0, A)
    np.testing.assert_allclose(tape.gradient(value, x), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["products", "pointwise", "reductions", "softmax", "a loop"])
@pytest.mark.parametrize("mode", [*MODES, "around"])
def test_second_derivatives(name: str, mode: Any) -> None:
    loss = LOSSES[name]
    inner = gj.function(loss, fallback="error") if mode == "around" else loss

    def run(x: Any) -> Any:
        with gj.GradientTape() as outer:
            outer.watch(x)
            with gj.GradientTape() as tape:
                tape.watch(x)
                value = inner(x)
            total = gj.reduce_sum(tape.gradient(value, x) * gj.constant(np.cos(A)))
        return outer.gradient(total, x)

    found = (eagerly if mode == "around" else mode)(run)(gj.constant(A))

    def total(x: Any) -> Any:
        return gj.reduce_sum(gj.grad(loss)(gj.constant(x)) * gj.constant(np.cos(A)))

    np.testing.assert_allclose(found, differences(total, A, 1e-5), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", [*MODES, "around"])
def test_variables_are_watched_when_read(mode: Any) -> None:
    w, b = gj.Variable(B), gj.Variable([1.0, 2.0], dtype=gj.float64)
    frozen = gj.Variable([3.0, 4.0], trainable=False, dtype=gj.float64)

    def model(x: Any) -> Any:
        return gj.reduce_sum((gj.matmul(x, w) + b) ** 2 * frozen)

    inner = gj.function(model, fallback="error") if mode == "around" else model

    def run(x: Any) -> Any:
        with gj.GradientTape() as tape:
            loss = inner(x)
        return tape.gradient(loss, {"w": w, "b": b, "frozen": frozen})

    found = (eagerly if mode == "around" else mode)(run)(gj.constant(A))
    rest = (A @ B + [1.0, 2.0]) * 2 * [3.0, 4.0]
    np.testing.assert_allclose(found["w"], A.T @ rest)
    np.testing.assert_allclose(found["b"], rest.sum(0))
    assert found["frozen"] is None


@pytest.mark.parametrize("mode", MODES)
def test_training_goes_on(mode: Callable[..., Any]) -> None:
    w = gj.Variable(np.zeros(4))
    target = A @ V

    def step() -> Any:
        with gj.GradientTape() as tape:
            loss = gj.reduce_mean((gj.matvec(gj.constant(A), w) - gj.constant(target)) ** 2)
        (gradient,) = tape.gradient(loss, [w])
        w.assign_sub(0.1 * gradient)
        return loss

    run = mode(step)
    by_hand = np.zeros(4)
    for _ in range(5):
        error = A @ by_hand - target
        np.testing.assert_allclose(run(), np.mean(error**2))
        by_hand -= 0.1 * 2 * A.T @ error / 3
        np.testing.assert_allclose(w.numpy(), by_hand)


@pytest.mark.parametrize("mode", MODES)
def test_only_what_comes_after_watch_counts(mode: Callable[..., Any]) -> None:
    def run(x: Any) -> Any:
        with gj.GradientTape() as tape:
            before = x * x
            tape.watch(x)
            y = before + x * 3.0
        return tape.gradient(y, x)

    np.testing.assert_array_equal(mode(run)(gj.constant(V)), np.full(4, 3.0))


@pytest.mark.parametrize("mode", MODES)
def test_stop_recording_and_stop_gradient(mode: Callable[..., Any]) -> None:
    def run(x: Any) -> Any:
        with gj.GradientTape() as tape:
            tape.watch(x)
            y = x * x
            with tape.stop_recording():
                z = x * 5.0
            w = y + z + gj.stop_gradient(x * 7.0)
        return tape.gradient(w, x)

    np.testing.assert_array_equal(mode(run)(gj.constant(V)), 2 * V)


@pytest.mark.parametrize("mode", MODES)
def test_sources_without_influence(mode: Callable[..., Any]) -> None:
    def run(x: Any, other: Any) -> Any:
        with gj.GradientTape(persistent=True) as tape:
            tape.watch([x, other])
            y = x * 2.0
        found = tape.gradient(y, [x, other], unconnected_gradients="zero")
        assert tape.gradient(y, other) is None
        zero = gj.UnconnectedGradients.ZERO
        return [*found, tape.jacobian(y, other, unconnected_gradients=zero)]

    found = mode(run)(gj.constant(V), gj.constant(A))
    np.testing.assert_array_equal(found[0], np.full(4, 2.0))
    np.testing.assert_array_equal(found[1], np.zeros((3, 4)))
    assert found[2].shape == (4, 3, 4) and not np.any(found[2])


@pytest.mark.parametrize("mode", MODES)
def test_values_inside_are_sources(mode: Callable[..., Any]) -> None:
    def run(x: Any) -> Any:
        with gj.GradientTape() as tape:
            tape.watch(x)
            y = x * x
            z = y * 3.0
        return tape.gradient(z, [x, y, z])

    found = mode(run)(gj.constant(V))
    np.testing.assert_array_equal(found[0], 6 * V)
    np.testing.assert_array_equal(found[1], np.full(4, 3.0))
    np.testing.assert_array_equal(found[2], np.ones(4))


@pytest.mark.parametrize("mode", MODES)
def test_several_targets_and_their_gradients(mode: Callable[..., Any]) -> None:
    def run(x: Any, g: Any) -> Any:
        with gj.GradientTape(persistent=True) as tape:
            tape.watch(x)
            targets = {"a": x * 2.0, "b": x * x}
        return tape.gradient(targets, x), tape.gradient(targets["b"], x, output_gradients=g)

    both, weighted = mode(run)(gj.constant(V), gj.constant(np.arange(4.0)))
    np.testing.assert_array_equal(both, 2 + 2 * V)
    np.testing.assert_array_equal(weighted, 2 * V * np.arange(4))


@pytest.mark.parametrize("mode", MODES)
def test_jacobians(mode: Callable[..., Any]) -> None:
    weights = RNG.normal(size=(4, 2))

    def run(x: Any) -> Any:
        with gj.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = gj.tanh(gj.matmul(x, gj.constant(weights)))
        return tape.jacobian(y, x), tape.batch_jacobian(y, x)

    whole, batch = mode(run)(gj.constant(A))
    expected = gj.jacrev(lambda x: np.tanh(x @ weights))(A)
    np.testing.assert_allclose(whole, expected, rtol=1e-12)
    np.testing.assert_allclose(batch, [expected[k, :, k] for k in range(3)], rtol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_derivatives_of_derivatives_of_one_persistent_tape(mode: Callable[..., Any]) -> None:
    def run(x: Any) -> Any:
        with gj.GradientTape(persistent=True) as tape:
            tape.watch(x)
            first = tape.gradient(x * x * x, x)
        return tape.gradient(first, x)

    np.testing.assert_allclose(mode(run)(gj.constant(V)), 6 * V)


def test_numpy_code_in_compiled_functions() -> None:
    f = gj.function(lambda x: np.sum(np.exp(x) * x), fallback="error")
    x = gj.constant(V)
    with gj.GradientTape() as tape:
        tape.watch(x)
        y = gj.reduce_sum(x) + f(x)
    np.testing.assert_allclose(tape.gradient(y, x), 1 + np.exp(V) * (1 + V))


def test_arrays_written_after_the_call() -> None:
    f = gj.function(lambda x, y: gj.reduce_sum(x * y), fallback="error")
    x, y = gj.constant(V), V.copy()
    with gj.GradientTape() as tape:
        tape.watch(x)
        z = f(x, y)
    y[:] = 0
    np.testing.assert_array_equal(tape.gradient(z, x), V)


def test_functions_that_assign_variables() -> None:
    w, count = gj.Variable(V), gj.Variable(0.0, trainable=False)

    @gj.function(fallback="error")
    def f(x: Any) -> Any:
        count.assign_add(1.0)
        return gj.reduce_sum(w * x)

    with gj.GradientTape() as tape:
        y = f(gj.constant(V))
    np.testing.assert_array_equal(tape.gradient(y, w), V)
    assert float(count) == 1.0


def test_functions_that_have_effects_or_draw_run_once() -> None:
    seen: list[int] = []
    w = gj.Variable(V)
    generator = np.random.default_rng(3)

    @gj.function
    def f(x: Any) -> Any:
        seen.append(1)
        return gj.reduce_sum(w * x * gj.constant(generator.normal(size=4)))

    with gj.GradientTape() as tape:
        y = f(gj.constant(np.ones(4)))
    drawn = np.random.default_rng(3).normal(size=4)
    np.testing.assert_allclose(tape.gradient(y, w), drawn)
    assert seen == [1]


def test_variables_at_the_time_of_the_call() -> None:
    w = gj.Variable(V)
    f = gj.function(lambda: gj.reduce_sum(w * w * w), fallback="error")
    with gj.GradientTape() as tape:
        y = f()
        w.assign(np.zeros(4))
    np.testing.assert_allclose(tape.gradient(y, w), 3 * V * V)


def test_sizes_that_change() -> None:
    w = gj.Variable(B)
    f = gj.function(lambda x: gj.reduce_sum(gj.matmul(x, w) ** 2), fallback="error")
    for rows in (3, 5, 2, 7):
        x = RNG.normal(size=(rows, 4))
        with gj.GradientTape() as tape:
            y = f(gj.constant(x))
        np.testing.assert_allclose(tape.gradient(y, w), 2 * x.T @ (x @ B))


def test_a_loop_of_training_compiles_once() -> None:
    w = gj.Variable(np.zeros(4))

    @gj.function(fallback="error")
    def fit(x: Any, y: Any) -> Any:
        for _ in range(50):
            with gj.GradientTape() as tape:
                loss = gj.reduce_mean((gj.matvec(x, w) - y) ** 2)
            w.assign_sub(0.1 * tape.gradient(loss, w))
        return loss

    x = RNG.normal(size=(30, 4))
    fit(gj.constant(x), gj.constant(x @ V))
    by_hand = np.zeros(4)
    for _ in range(50):
        by_hand -= 0.1 * 2 * x.T @ (x @ by_hand - x @ V) / 30
    np.testing.assert_allclose(w.numpy(), by_hand)


def test_nothing_stays_behind() -> None:
    x = gj.constant(V)
    with gj.GradientTape() as tape:
        tape.watch(x)
        y = x * x
        kept = weakref.ref(y)
    del y, tape
    gc.collect()
    assert kept() is None
    assert gj.function(lambda x: x * 2)(V).tolist() == (V * 2).tolist()


def test_calls_are_native_again_after_a_tape() -> None:
    from graphjit.core.config import config

    before = list(config.gates)
    with pytest.raises(ZeroDivisionError), gj.GradientTape():
        raise ZeroDivisionError
    assert list(config.gates) == before


# -- errors


def test_a_tape_is_asked_once() -> None:
    x = gj.constant(V)
    with gj.GradientTape() as tape:
        tape.watch(x)
        y = x * x
    tape.gradient(y, x)
    with pytest.raises(gj.errors.TapeError, match="only be used to compute one set"):
        tape.gradient(y, x)
    with pytest.raises(RuntimeError, match="only be used to compute one set"):
        tape.jacobian(y, x)


def test_tapes_that_do_not_record() -> None:
    tape = gj.GradientTape()
    with pytest.raises(gj.errors.TapeError, match="not recording"), tape.stop_recording():
        pass
    with tape, pytest.raises(gj.errors.TapeError, match="still recording"), tape:
        pass


def test_a_tape_from_outside_of_a_function() -> None:
    tape = gj.GradientTape(persistent=True)
    x = gj.constant(V)
    with tape:
        tape.watch(x)
        y = x * x
    with pytest.raises(gj.errors.TracingError, match="was entered outside is used in a comp"):
        gj.function(lambda: tape.gradient(y, x), fallback="error")()
    with pytest.warns(gj.FallbackWarning, match="was entered outside"):
        found = gj.function(lambda: tape.gradient(y, x))()
    np.testing.assert_array_equal(found, 2 * V)


def test_a_tape_from_inside_of_a_function() -> None:
    def f(x: Any) -> Any:
        with gj.GradientTape() as tape:
            tape.watch(x)
            y = x * x
        return y, tape

    compiled = gj.function(f)
    with pytest.warns(gj.FallbackWarning):
        y, tape = compiled(gj.constant(V))
    assert tape.gradient(y, y) is not None  # it ran eagerly


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda tape, x, y: tape.watch(V), "of type 'ndarray', not a tensor"),
        (lambda tape, x, y: tape.gradient(y, V), "a source of a GradientTape is a ndarray"),
        (lambda tape, x, y: tape.gradient(V, x), "a target of a GradientTape is a ndarray"),
        (lambda tape, x, y: tape.gradient(y, x, unconnected_gradients="some"), "'none' or"),
        (lambda tape, x, y: tape.gradient(y, x, output_gradients=[y]), "another structure"),
        (lambda tape, x, y: tape.gradient(y, x, output_gradients=y[1:]), r"f64\[3\] for f64"),
        (lambda tape, x, y: tape.batch_jacobian(y, x[1:]), "Need first dimension of target"),
    ],
)
def test_values_that_are_not_fit(call: Callable[..., Any], match: str) -> None:
    x = gj.constant(V)
    with gj.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x * x
        with pytest.raises(gj.errors.InvalidArgumentError, match=match):
            call(tape, x, y)


def test_integers_are_not_watched() -> None:
    x = gj.constant([1, 2])
    with gj.GradientTape() as tape:
        with pytest.warns(UserWarning, match="must be floating, not int32"):
            tape.watch(x)
        y = gj.cast(x, gj.float64) * 2.0
    assert tape.gradient(y, x) is None


def test_targets_that_are_integers() -> None:
    x = gj.constant(V)
    with gj.GradientTape() as tape:
        tape.watch(x)
        y = gj.argmax(x)
    with pytest.warns(UserWarning, match="must be floating, not int64"):
        assert tape.gradient(y, x) is None


def test_ops_without_a_derivative() -> None:
    x = gj.constant(A[:, :3])
    with gj.GradientTape() as tape:
        tape.watch(x)
        y = gj.linalg.svd(x[:2], full_matrices=True)[2]
    with pytest.raises(
        gj.errors.NotDifferentiableError, match="svd has no derivative here: with full_matrices"
    ):
        tape.gradient(y, x)


def test_watched_variables() -> None:
    w, v = gj.Variable(V), gj.Variable(V, trainable=False)
    with gj.GradientTape() as tape:
        _ = w * v
    assert [x.ref() for x in tape.watched_variables()] == [w.ref()]
    with gj.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(v)
        y = w * v
    assert [x.ref() for x in tape.watched_variables()] == [v.ref()]
    np.testing.assert_array_equal(tape.gradient(y, v), V)


def test_reset() -> None:
    x = gj.constant(V)
    with gj.GradientTape() as tape:
        tape.watch(x)
        y = x * x
        tape.reset()
        tape.watch(x)
        z = x * 3.0
    assert tape.gradient(y, x) is None
    with gj.GradientTape() as tape:
        tape.watch(x)
        _ = x * x
        tape.reset()
        tape.watch(x)
        z = x * 3.0
    np.testing.assert_array_equal(tape.gradient(z, x), np.full(4, 3.0))


@pytest.mark.parametrize("mode", MODES)
def test_variables_that_loops_read(mode: Callable[..., Any]) -> None:
    w, xs = gj.Variable(2.0), gj.constant([1.0, 2.0, 3.0])

    @mode
    def scanned() -> Any:
        with gj.GradientTape() as tape:
            y = 3.0 * w + gj.scan(lambda c, e: (c + w * e, None), gj.constant(0.0), xs)[0]
        return tape.gradient(y, w)

    @mode
    def long_loop() -> Any:
        with gj.GradientTape() as tape:
            y = gj.constant(0.0)
            for _ in range(700):
                y = y + w * w
        return tape.gradient(y, w)

    @mode
    def chosen() -> Any:
        with gj.GradientTape() as tape:
            y = w + gj.cond(xs[0] > 0.0, lambda: w * w, lambda: 5.0 * w)
        return tape.gradient(y, w)

    @mode
    def read_before() -> Any:
        z = w * 5.0
        with gj.GradientTape() as tape:
            y = z + w
        return tape.gradient(y, w)

    assert float(scanned()) == 9.0
    assert float(long_loop()) == 2800.0
    assert float(chosen()) == 5.0
    assert float(read_before()) == 1.0


@pytest.mark.parametrize("mode", MODES)
def test_variables_assigned_under_a_tape(mode: Callable[..., Any]) -> None:
    v, x = gj.Variable(2.0), gj.constant(5.0)

    @mode
    def f() -> Any:
        with gj.GradientTape(persistent=True) as tape:
            tape.watch(x)
            before = v * x
            v.assign(x * 3.0)
            after = v * v
        return tape.gradient(before, [v, x]), tape.gradient(after, [v, x])

    (by_v, by_x), (after_v, after_x) = f()
    assert (float(by_v), float(by_x)) == (5.0, 2.0)
    assert float(after_v) == 30.0 and after_x is None


@pytest.mark.parametrize("mode", MODES)
def test_parts_of_variables(mode: Callable[..., Any]) -> None:
    v = gj.Variable([1.0, 2.0, 3.0])

    @mode
    def f() -> Any:
        with gj.GradientTape() as tape:
            y = v[0] * 2.0 + gj.reduce_sum(v) + gj.reduce_sum(v[1:] ** 2)
        return tape.gradient(y, v)

    np.testing.assert_array_equal(f(), [3.0, 5.0, 7.0])


@pytest.mark.parametrize("mode", MODES)
def test_complex_gradients_are_those_of_tensorflow(mode: Callable[..., Any]) -> None:
    """Conjugates of what `gj.grad` gives: see tf.GradientTape's guide."""
    z = gj.constant(1 + 2j)

    @mode
    def f() -> Any:
        with gj.GradientTape(persistent=True) as tape:
            tape.watch(z)
            square, size = z * z, gj.abs(z)
        return tape.gradient(square, z), tape.gradient(size, z)

    square, size = f()
    np.testing.assert_allclose(square, 2 - 4j)
    np.testing.assert_allclose(size, (1 + 2j) / np.sqrt(5))


@pytest.mark.parametrize("mode", MODES)
def test_integers_cut_the_way_back(mode: Callable[..., Any]) -> None:
    x = gj.constant(V)

    @mode
    def f() -> Any:
        with gj.GradientTape() as tape:
            tape.watch(x)
            y = gj.cast(gj.cast(x, "int32"), "float64") * 2.0
        return tape.gradient(y, x)

    assert f() is None


@pytest.mark.parametrize("mode", MODES)
def test_entered_again(mode: Callable[..., Any]) -> None:
    x = gj.constant([1.0, 2.0, 3.0])

    @mode
    def f() -> Any:
        tape = gj.GradientTape()
        with tape:
            tape.watch(x)
            y = x * x
        with tape:
            z = y * x
        return tape.gradient(z, x)

    np.testing.assert_array_equal(f(), [3.0, 12.0, 27.0])

    @mode
    def asked_between() -> Any:
        tape = gj.GradientTape(persistent=True)
        with tape:
            tape.watch(x)
            y = x * x
        first = tape.gradient(y, x)
        with tape:
            z = y * x
        return first, tape.gradient(z, x)

    first, second = asked_between()
    np.testing.assert_array_equal(first, [2.0, 4.0, 6.0])
    np.testing.assert_array_equal(second, [3.0, 12.0, 27.0])


@pytest.mark.parametrize("mode", MODES)
def test_identity_is_a_tensor_of_its_own(mode: Callable[..., Any]) -> None:
    x = gj.constant([1.0, 2.0, 3.0])

    @mode
    def f() -> Any:
        a = gj.identity(x)
        with gj.GradientTape() as tape:
            tape.watch(x)
            y = a * x
        return tape.gradient(y, x)

    np.testing.assert_array_equal(f(), [1.0, 2.0, 3.0])


def test_what_a_called_function_reads_may_not_change() -> None:
    x, state = gj.constant([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0], np.float32)

    class Model:
        training = True

        @gj.function
        def call(self, x: Any) -> Any:
            return x * state * (2.0 if self.training else 3.0)

    model = Model()
    with gj.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = model.call(x)
    np.testing.assert_array_equal(tape.gradient(y, x), 2 * state)
    model.training = False
    with pytest.raises(gj.errors.TapeError, match="what call reads besides its arguments"):
        tape.gradient(y, x)
    del model.training
    np.testing.assert_array_equal(tape.gradient(y, x), 2 * state)
    state[1] = 7.0
    with pytest.raises(gj.errors.TapeError, match="what call reads besides its arguments"):
        tape.gradient(y, x)


def test_derivatives_as_functions_under_a_tape() -> None:
    x, w = gj.constant([1.0, 2.0, 3.0]), gj.Variable(2.0)
    with gj.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y, pull = gj.vjp(lambda z: z * w * z, x)
        (back,) = pull(gj.ones([3]))
        same, push = gj.linearize(lambda z: z * w * z, x)
        change = push(gj.ones([3]))
    np.testing.assert_array_equal(y, [2.0, 8.0, 18.0])
    np.testing.assert_array_equal(same, [2.0, 8.0, 18.0])
    np.testing.assert_array_equal(tape.gradient(y, x), [4.0, 8.0, 12.0])
    for found in (back, change):
        np.testing.assert_array_equal(found, [4.0, 8.0, 12.0])
        by_x, by_w = tape.gradient(found, [x, w])
        np.testing.assert_array_equal(by_x, [4.0, 4.0, 4.0])
        assert float(by_w) == 12.0


def test_pullbacks_under_a_tape_are_of_the_function_as_it_was() -> None:
    x, w, factors, array = gj.constant(2.0), gj.Variable(2.0), [2.0], np.array(2.0)
    with gj.GradientTape() as tape:
        tape.watch(x)
        _, by_variable = gj.vjp(lambda q: q * w, x)
        _, by_list = gj.vjp(lambda q: q * q * factors[0], x)
        _, by_array = gj.vjp(lambda q: q * q, array)
        w.assign(7.0)
        factors[0], array[...] = 5.0, 9.0
        one = gj.constant(1.0)
        found = [by_variable(one)[0], by_list(one)[0], by_array(np.array(1.0))[0]]
    assert [float(g) for g in found] == [2.0, 8.0, 4.0]
    assert float(tape.gradient(found[1], x)) == 4.0


def test_functions_that_give_arguments_back() -> None:
    x, w = gj.constant(2.0), gj.Variable(2.0)
    drop = gj.function(lambda c, training=False: gj.tanh(c) if training else c)
    cell = gj.function(lambda a, s: (a * s, s))
    with gj.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = drop(x) * 3.0
        h, s = gj.constant(1.0), w * 1.0
        for _ in range(3):
            h, s = cell(h, s)
    assert float(tape.gradient(y, x)) == 3.0
    assert float(tape.gradient(h, w)) == 12.0


def test_variables_that_functions_give_back() -> None:
    w = gj.Variable(3.0)
    f = gj.function(lambda b: (w * b, w))
    with gj.GradientTape() as tape:
        y, k = f(2.0)
        y = y + 0.5 * k * k
    assert float(tape.gradient(y, w)) == 5.0


def test_constants_that_a_compiled_function_makes_are_not_watched() -> None:
    """What is computed of them alone would be no part of the graph."""

    def f(a: Any) -> Any:
        x = gj.constant([2.0, 3.0])
        with gj.GradientTape() as tape:
            tape.watch(x)
            y = x * x
        return tape.gradient(y, x) + a

    with pytest.raises(gj.errors.TracingError, match="watches a constant"):
        gj.function(f, fallback="error")(gj.constant(1.0))
    with pytest.warns(gj.FallbackWarning, match="watches a constant"):
        found = gj.function(f)(gj.constant(1.0))
    np.testing.assert_array_equal(found, [5.0, 7.0])


def test_functions_called_under_tapes_are_freed() -> None:
    x = gj.constant(2.0)

    def call() -> Any:
        array = np.ones(10, np.float32)
        f = gj.function(lambda x: x * array)
        with gj.GradientTape() as tape:
            tape.watch(x)
            y = f(x)
        tape.gradient(y, x)
        return weakref.ref(f), weakref.ref(array)

    found = call()
    gc.collect()
    assert [ref() for ref in found] == [None, None]


def test_objects_whose_call_is_decorated() -> None:
    class Dense:
        def __init__(self) -> None:
            self.w = gj.Variable([[1.0, 2.0], [3.0, 4.0]])

        @gj.function
        def __call__(self, x: Any) -> Any:
            return gj.matmul(x, self.w)

    class Twice(Dense):
        @gj.function
        def __call__(self, x: Any) -> Any:
            return super().__call__(x) * 2.0

    for layer, factor in ((Dense(), 1.0), (Twice(), 2.0)):

        @gj.function(fallback="error")
        def step(x: Any) -> Any:
            with gj.GradientTape() as tape:
                loss = gj.reduce_sum(layer(x))  # noqa: B023
            return loss, tape.gradient(loss, layer.w)  # noqa: B023

        loss, slope = step(gj.ones([1, 2]))
        assert float(loss) == 10.0 * factor
        np.testing.assert_array_equal(slope, np.full((2, 2), factor))
        layer.w.assign(np.ones((2, 2)))
        assert float(step(gj.ones([1, 2]))[0]) == 4.0 * factor


@pytest.mark.parametrize("mode", MODES)
def test_each_value_read_is_a_tensor_of_its_own(mode: Callable[..., Any]) -> None:
    v = gj.Variable([1.0, 2.0, 3.0])

    @mode
    def f() -> Any:
        with gj.GradientTape() as tape:
            r = v.read_value()
            y = r * r + v.value() * 2.0
        return tape.gradient(y, [v, r])

    by_variable, by_value = f()
    np.testing.assert_array_equal(by_variable, [4.0, 6.0, 8.0])
    np.testing.assert_array_equal(by_value, [2.0, 4.0, 6.0])
