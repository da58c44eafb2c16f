"""`gj.optimizers`: the numbers of Keras and of optax, eagerly and compiled."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize

import graphjit as gj
from graphjit.optimizers import pure, schedules

from .record import gradients, parameters

DATA = Path(__file__).parent / "data"
KERAS = json.loads((DATA / "keras.json").read_text())
OPTAX = json.loads((DATA / "optax.json").read_text())


def label(case: dict[str, Any]) -> str:
    rest = json.dumps(case["options"]) if case["options"] else ""
    return f"{case.get('name', case.get('schedule'))} {rest}".strip()


def of(cases: list[dict[str, Any]], kind: str) -> Any:
    found = [case for case in cases if kind in case]
    return pytest.mark.parametrize("case", found, ids=label)


def eagerly(function: Any) -> Any:
    return function


def compiled(function: Any) -> Any:
    return gj.function(function, fallback="error")


@of(KERAS, "name")
@pytest.mark.parametrize("mode", [eagerly, compiled])
def test_numbers_of_keras(case: dict[str, Any], mode: Callable[..., Any]) -> None:
    variables = [gj.Variable(p, name=f"v{k}") for k, p in enumerate(parameters())]
    optimizer = getattr(gj.optimizers, case["name"])(learning_rate=0.05, **case["options"])

    def step(*grads: Any) -> Any:
        return optimizer.apply_gradients(zip(grads, variables, strict=True))

    run = mode(step)
    every = case["options"].get("gradient_accumulation_steps", 1)
    for number, (grads, expected) in enumerate(zip(gradients(), case["steps"], strict=True), 1):
        count = run(*map(gj.constant, grads))
        for v, value in zip(variables, expected, strict=True):
            np.testing.assert_allclose(v.numpy(), value, rtol=1e-6, atol=1e-9)
        assert int(count) == number and int(optimizer.iterations) == number // every


@of(KERAS + OPTAX, "schedule")
def test_numbers_of_schedules(case: dict[str, Any]) -> None:
    schedule = getattr(schedules, case["schedule"])(*case["args"], **case["options"])
    run = gj.function(schedule, fallback="error")
    for step, expected in enumerate(case["values"]):
        for found in (schedule(step), run(gj.constant(step, dtype=gj.int64))):
            np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-8)
            assert found.dtype is gj.float32
    again = type(schedule).from_config(schedule.get_config())
    np.testing.assert_array_equal(again(5), schedule(5))


def made_pure(case: dict[str, Any]) -> Any:
    name, options = case["name"], case["options"]
    function = getattr(pure, name)
    if name in ("clip", "clip_by_global_norm", "ema", "apply_every", "add_decayed_weights"):
        return pure.chain(function(**options), pure.sgd(0.05))
    if name == "lookahead":
        return function(pure.adam(0.05), **options)
    return function(learning_rate=0.05, **options)


@of(OPTAX, "name")
@pytest.mark.parametrize("mode", ["arrays", "tensors", "compiled"])
def test_numbers_of_optax(case: dict[str, Any], mode: str) -> None:
    optimizer = made_pure(case)

    def step(params: Any, state: Any, grads: Any) -> Any:
        updates, state = optimizer.update(grads, state, params)
        return pure.apply_updates(params, updates), state

    run = gj.function(step, fallback="error") if mode == "compiled" else step
    wrap = gj.constant if mode == "tensors" else np.asarray
    params: Any = {"a": [wrap(p) for p in parameters()]}
    pairs = case["name"] == "lookahead"
    if pairs:
        params = pure.LookaheadParams(params, params)
    state = optimizer.init(params)
    for grads, expected in zip(gradients(), case["steps"], strict=True):
        params, state = run(params, state, {"a": [wrap(g) for g in grads]})
        found = [*params.fast["a"], *params.slow["a"]] if pairs else params["a"]
        for p, value in zip(found, expected, strict=True):
            np.testing.assert_allclose(p, value, rtol=1e-6, atol=1e-9)
            assert isinstance(p, gj.Tensor) is (mode == "tensors")


def test_pure_optimizers_of_numbers() -> None:
    optimizer = pure.adam(0.1)
    state = optimizer.init({"x": 2.0})
    updates, state = optimizer.update({"x": 1.0}, state)
    assert type(updates["x"]) in (float, np.float64)
    np.testing.assert_allclose(updates["x"], -0.1, rtol=1e-6)


def test_pure_training_in_one_function() -> None:
    rng = np.random.default_rng(0)
    x, wanted = rng.normal(size=(50, 3)), np.array([1.0, -2.0, 0.5])
    y = x @ wanted
    optimizer = pure.chain(
        pure.clip_by_global_norm(5.0), pure.adam(schedules.CosineDecay(0.1, 500))
    )

    @gj.function(fallback="error")
    def step(p: Any, state: Any) -> Any:
        _, g = gj.value_and_grad(lambda p: ((x @ p["w"] - y) ** 2).mean())(p)
        updates, state = optimizer.update(g, state, p)
        return pure.apply_updates(p, updates), state

    p = {"w": np.zeros(3)}
    state = optimizer.init(p)
    for _ in range(500):
        p, state = step(p, state)
    np.testing.assert_allclose(p["w"], wanted, atol=1e-3)
    assert step.trace_count <= 2


def test_weight_decay_by_mask() -> None:
    optimizer = pure.chain(
        pure.add_decayed_weights(0.5, {"w": True, "b": False}), pure.sgd(1.0)
    )
    params = {"w": np.ones(2), "b": np.ones(2)}
    updates, _ = optimizer.update(
        {"w": np.zeros(2), "b": np.zeros(2)}, optimizer.init(params), params
    )
    np.testing.assert_array_equal(updates["w"], [-0.5, -0.5])
    np.testing.assert_array_equal(updates["b"], [0, 0])


# -- variables


@pytest.mark.parametrize("mode", [eagerly, compiled])
def test_the_learning_rate_is_read_at_each_step(mode: Callable[..., Any]) -> None:
    w = gj.Variable([1.0, 2.0], dtype=gj.float64)
    optimizer = gj.optimizers.SGD(0.5)
    run = mode(lambda: optimizer.apply_gradients([(gj.ones(2, gj.float64), w)]))
    run()
    optimizer.learning_rate = 0.25
    run()
    np.testing.assert_array_equal(w.numpy(), [0.25, 1.25])
    assert float(optimizer.learning_rate) == 0.25


@pytest.mark.parametrize("mode", [eagerly, compiled])
def test_schedules_go_on(mode: Callable[..., Any]) -> None:
    w = gj.Variable([0.0])
    schedule = schedules.PiecewiseConstantDecay([1], [1.0, 0.125])
    optimizer = gj.optimizers.SGD(schedule)
    run = mode(lambda: optimizer.apply_gradients([(gj.constant([1.0]), w)]))
    for expected in (-1.0, -2.0, -2.125):
        run()
        assert float(w[0]) == expected
    np.testing.assert_array_equal(optimizer.learning_rate, 0.125)
    with pytest.raises(gj.errors.InvalidArgumentError, match="is a schedule"):
        optimizer.learning_rate = 0.1


@pytest.mark.parametrize("mode", [eagerly, compiled])
def test_minimize(mode: Callable[..., Any]) -> None:
    w = gj.Variable([3.0, -2.0])
    optimizer = gj.optimizers.Adam(0.1)

    def step() -> Any:
        return optimizer.minimize(lambda: gj.reduce_sum(w * w), [w])

    run = mode(step)
    for _ in range(300):
        run()
    np.testing.assert_allclose(w.numpy(), [0, 0], atol=1e-3)
    with gj.GradientTape() as tape:
        loss = gj.reduce_sum(w * w)
    assert int(optimizer.minimize(loss, lambda: [w], tape)) == 301
    with pytest.raises(gj.errors.InvalidArgumentError, match="`tape` is needed"):
        optimizer.minimize(loss, [w])


def test_moving_averages() -> None:
    w = gj.Variable([0.0])
    optimizer = gj.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5)
    for _ in range(3):
        optimizer.apply_gradients([(gj.constant([-1.0]), w)])
    assert float(w[0]) == 3.0
    optimizer.finalize_variable_values([w])
    assert float(w[0]) == 0.5 * (0.5 * 1.0 + 0.5 * 2.0) + 0.5 * 3.0


def test_variables_without_weight_decay() -> None:
    w, b = gj.Variable([1.0], name="kernel"), gj.Variable([1.0], name="bias")
    optimizer = gj.optimizers.SGD(1.0, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    zero = gj.constant([0.0])
    optimizer.apply_gradients([(zero, w), (zero, b)])
    assert float(w[0]) == 0.5 and float(b[0]) == 1.0
    with pytest.raises(gj.errors.InvalidArgumentError, match="before the first step"):
        optimizer.exclude_from_weight_decay([w])


def test_indexed_slices() -> None:
    w = gj.Variable(np.zeros((4, 2)))
    slices = gj.IndexedSlices(np.ones((3, 2)), np.array([1, 3, 1]))
    gj.optimizers.SGD(1.0).apply_gradients([(slices, w)])
    np.testing.assert_array_equal(w.numpy()[:, 0], [0, -2, 0, -1])


def test_gradients_of_none_leave_their_variables() -> None:
    w, v = gj.Variable([1.0]), gj.Variable([1.0], name="other")
    optimizer = gj.optimizers.SGD(1.0)
    with pytest.warns(UserWarning, match=r"do not exist for variables \['other:0'\]"):
        optimizer.apply_gradients([(gj.constant([1.0]), w), (None, v)])
    assert float(w[0]) == 0.0 and float(v[0]) == 1.0


def test_state_and_settings() -> None:
    w = gj.Variable(np.ones((2, 3)))
    optimizer = gj.optimizers.Adam(0.25, beta_1=0.5, name="mine")
    assert not optimizer.built
    optimizer.build([w])
    shapes = [tuple(v.shape) for v in optimizer.variables]
    assert shapes == [(), (), (2, 3), (2, 3)]
    other = gj.optimizers.Adam.from_config(optimizer.get_config())
    assert other.beta_1 == 0.5 and float(other.learning_rate) == 0.25 and other.name == "mine"
    with pytest.raises(AttributeError, match="beta_1 of an optimizer can't be set"):
        other.beta_1 = 0.1
    with pytest.raises(AttributeError, match="'Adam' object has no attribute 'rho'"):
        _ = other.rho


def test_scipy_takes_values_with_gradients() -> None:
    target = np.array([1.0, -2.0, 0.5])

    def rosen(x: Any) -> Any:
        return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()

    for function, x0, best in (
        (rosen, np.zeros(5), np.ones(5)),
        (lambda x: ((x - target) ** 2).sum(), np.zeros(3), target),
    ):
        found = scipy.optimize.minimize(
            gj.value_and_grad(function), x0, jac=True, method="L-BFGS-B"
        )
        np.testing.assert_allclose(found.x, best, atol=1e-3)


# -- errors


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda o, w: o.apply_gradients([(None, w)]), "No gradients provided"),
        (
            lambda o, w: o.apply_gradients([(gj.ones(3), w)]),
            r"gradient of f32\[3\] for Variable",
        ),
        (lambda o, w: o.apply_gradients([(gj.constant([1, 2]), w)]), r"gradient of i32\[2\]"),
        (lambda o, w: o.apply([gj.ones(2)]), "without variables"),
        (lambda o, w: o.apply([gj.ones(2)], [w, w]), "1 gradients for 2 variables"),
        (lambda o, w: o.build([gj.Variable([1])]), "no variable of floats"),
        (lambda o, w: o.build([3.0]), "no variable of floats"),
    ],
)
def test_what_does_not_fit(call: Callable[..., Any], match: str) -> None:
    w = gj.Variable([1.0, 2.0])
    with pytest.raises(gj.errors.InvalidArgumentError, match=match):
        call(gj.optimizers.SGD(0.1), w)
    np.testing.assert_array_equal(w.numpy(), [1, 2])


def test_variables_that_the_first_step_did_not_have() -> None:
    w, v = gj.Variable([1.0]), gj.Variable([2.0])
    optimizer = gj.optimizers.Adam()
    optimizer.apply_gradients([(gj.constant([1.0]), w)])
    with pytest.raises(gj.errors.InvalidArgumentError, match="not among the variables"):
        optimizer.apply_gradients([(gj.constant([1.0]), v)])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"clipnorm": 1.0, "clipvalue": 1.0}, "only one of clipnorm"),
        ({"use_ema": True, "ema_momentum": 2.0}, "between 0 and 1"),
        ({"gradient_accumulation_steps": 1}, "at least 2"),
        ({"ema_overwrite_frequency": 0}, "at least 1"),
    ],
)
def test_settings_that_can_not_be(options: dict[str, Any], match: str) -> None:
    with pytest.raises(gj.errors.InvalidArgumentError, match=match):
        gj.optimizers.SGD(0.1, **options)


def test_schedules_that_can_not_be() -> None:
    with pytest.raises(gj.errors.InvalidArgumentError, match="decay_steps is more than 0"):
        schedules.CosineDecay(0.1, 0)
    with pytest.raises(gj.errors.InvalidArgumentError, match="one value more than boundaries"):
        schedules.PiecewiseConstantDecay([1], [1.0])


def test_pure_ones_that_do_not_fit() -> None:
    optimizer = pure.adamw(0.1)
    params = {"w": np.ones(2)}
    state = optimizer.init(params)
    with pytest.raises(gj.errors.InvalidArgumentError, match="update needs the parameters"):
        optimizer.update(params, state)
    with pytest.raises(gj.errors.InvalidArgumentError, match="differ in structure"):
        optimizer.update({"v": np.ones(2)}, state, params)
    with pytest.raises(gj.errors.InvalidArgumentError, match="a state of 1 parts for 3"):
        optimizer.update(params, state[:1], params)


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.WarmUp(0.5, 4),
        schedules.StepDecay(1.0, 2, 0.5),
        schedules.ConstantSchedule(0.5),
    ],
)
def test_other_schedules(schedule: Any) -> None:
    expected = {
        "WarmUp": [0.0, 0.125, 0.25, 0.375, 0.5, 0.5],
        "StepDecay": [1, 1, 0.5, 0.5, 0.25, 0.25],
        "ConstantSchedule": [0.5] * 6,
    }[type(schedule).__name__]  # fmt: skip
    np.testing.assert_allclose([float(schedule(k)) for k in range(6)], expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "Adafactor", "Lion"])
def test_settings_that_no_optimizer_has(name: str) -> None:
    with pytest.raises(gj.errors.InvalidArgumentError, match=f"{name} has no setting 'lr'"):
        getattr(gj.optimizers, name)(lr=0.1)


def test_momentum_is_a_part() -> None:
    with pytest.raises(gj.errors.InvalidArgumentError, match="momentum is between 0 and 1"):
        gj.optimizers.SGD(0.1, momentum=2.0)


def test_gradients_of_two_dtypes_clipped_together() -> None:
    first, second = gj.Variable(np.ones(2, "f4")), gj.Variable(np.ones(2))
    optimizer = gj.optimizers.SGD(1.0, global_clipnorm=1.0)
    given = [gj.constant([3.0, 0.0]), gj.constant(np.array([0.0, 4.0]))]
    optimizer.apply_gradients(zip(given, [first, second], strict=True))
    np.testing.assert_allclose(first, [0.4, 1.0], rtol=1e-6)
    np.testing.assert_allclose(second, [1.0, 0.2], rtol=1e-6)
    assert (first.dtype, second.dtype) == (gj.float32, gj.float64)


def test_state_of_the_shape_of_the_variable() -> None:
    v = gj.Variable(np.ones((2, 3), "f4"))
    optimizer = gj.optimizers.Adafactor(0.1, use_ema=True)
    optimizer.apply_gradients([(gj.ones([2, 3]), v)])
    optimizer.finalize_variable_values([v])
    np.testing.assert_allclose(v, np.full((2, 3), 0.9), rtol=1e-6)


def test_steps_that_only_accumulate_leave_nadam_alone() -> None:
    """Keras 3.15.1 gives 0.89372194 for these two steps."""
    v = gj.Variable([1.0])
    optimizer = gj.optimizers.Nadam(0.1, gradient_accumulation_steps=2)
    for _ in range(2):
        optimizer.apply_gradients([(gj.constant([1.0]), v)])
    np.testing.assert_allclose(v, [0.89372194], rtol=1e-6)


# -- lookahead


@pytest.mark.parametrize("mode", [eagerly, compiled])
@pytest.mark.parametrize("every", [None, 2])
def test_lookahead(mode: Callable[..., Any], every: int | None) -> None:
    rng = np.random.default_rng(4)
    start = [rng.normal(size=(3, 2)), rng.normal(size=4)]
    variables = [gj.Variable(p) for p in start]
    alone = [gj.Variable(p) for p in start]
    inner = gj.optimizers.Adam(0.1, gradient_accumulation_steps=every)
    other = gj.optimizers.Adam(0.1, gradient_accumulation_steps=every)
    optimizer = gj.optimizers.Lookahead(inner, 3, 0.4)

    def step(*grads: Any) -> Any:
        return optimizer.apply_gradients(zip(grads, variables, strict=True))

    run = mode(step)
    slow = list(start)
    for number in range(1, 15):
        grads = [gj.constant(rng.normal(size=p.shape)) for p in start]
        assert int(run(*grads)) == number
        other.apply_gradients(zip(grads, alone, strict=True))
        steps = number if every is None else number / every
        if steps % 3 == 0:  # the other optimizer goes on from the same place
            slow = [s + 0.4 * (v.numpy() - s) for s, v in zip(slow, alone, strict=True)]
            for v, s in zip(alone, slow, strict=True):
                v.assign(s)
        for v, expected in zip(variables, alone, strict=True):
            np.testing.assert_allclose(v.numpy(), expected.numpy(), rtol=1e-12)
    for v, expected in zip(optimizer.variables[-2:], slow, strict=True):
        np.testing.assert_allclose(v.numpy(), expected, rtol=1e-12)


def test_lookahead_has_the_settings_of_the_other_optimizer() -> None:
    inner = gj.optimizers.SGD(0.5, clipnorm=1.0, loss_scale_factor=4.0)
    optimizer = gj.optimizers.Lookahead(inner, sync_period=2)
    optimizer.learning_rate = 0.25
    assert float(optimizer.learning_rate.numpy()) == 0.25 == float(inner.learning_rate.numpy())
    assert optimizer.clipnorm == 1.0 and optimizer.sync_period == 2 and not optimizer.built
    again = gj.optimizers.Lookahead.from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
    w = gj.Variable([3.0, 4.0])
    optimizer.minimize(lambda: gj.reduce_sum(w * w), [w])  # a gradient of norm 1
    np.testing.assert_allclose(w.numpy(), [3 - 0.25 * 0.6, 4 - 0.25 * 0.8], rtol=1e-6)
    assert optimizer.built and int(optimizer.iterations.numpy()) == 1
    with pytest.raises(AttributeError, match="can't be set"):
        optimizer.sync_period = 3  # type: ignore[misc]


def test_lookahead_refuses_other_arguments() -> None:
    sgd = gj.optimizers.SGD(0.1)
    for arguments, message in (
        ((0.1,), "optimizer is an optimizer, not a float"),
        ((sgd, 0), "sync_period is an int of at least 1"),
        ((sgd, 2, 1.5), "slow_step_size is between 0 and 1"),
    ):
        with pytest.raises(gj.errors.InvalidArgumentError, match=message):
            gj.optimizers.Lookahead(*arguments)
    with pytest.raises(gj.errors.InvalidArgumentError, match="sync_period is at least 1"):
        pure.lookahead(pure.sgd(0.1), 0, 0.5)
    with pytest.raises(gj.errors.InvalidArgumentError, match="LookaheadParams, not a dict"):
        pure.lookahead(pure.sgd(0.1), 2, 0.5).init({"w": np.ones(2)})


@pytest.mark.parametrize("mode", [eagerly, compiled])
def test_minimize_scales_losses(mode: Callable[..., Any]) -> None:
    def value(w: Any) -> Any:
        return gj.reduce_sum(w * w)

    a, b = gj.Variable([3.0, 4.0]), gj.Variable([3.0, 4.0])
    optimizers = [gj.optimizers.SGD(0.25, loss_scale_factor=8.0) for _ in range(2)]

    def step() -> None:
        optimizers[0].minimize(lambda: value(a), [a])
        with gj.GradientTape() as tape:
            loss = value(b)
        optimizers[1].minimize(loss, lambda: [b], tape)

    mode(step)()
    for w in (a, b):
        np.testing.assert_allclose(w.numpy(), [1.5, 2.0], rtol=1e-6)
