"""Generators with state, and keys in compiled loops."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphjit as gj
from graphjit import random

KEY = random.key(3)


@pytest.fixture(autouse=True)
def own_global() -> Iterator[None]:
    before = random.get_global_generator()
    random.set_global_generator(random.Generator.from_seed(0))
    yield
    random.set_global_generator(before)


METHODS: dict[str, Any] = {
    "uniform": lambda g: g.uniform((5,)),
    "uniform of bounds": lambda g: g.uniform((2, 3), -1.0, 1.0, "float64"),
    "integers": lambda g: g.uniform((5,), 3, 300, "int32"),
    "full integers": lambda g: g.uniform_full_int((5,), "int64"),
    "normal": lambda g: g.normal((5,), 1.0, 2.0),
    "truncated": lambda g: g.truncated_normal((5,)),
    "binomial": lambda g: g.binomial((5,), 10.0, 0.5),
    "seeds": lambda g: g.make_seeds(3),
    "skip": lambda g: g.skip(7),
}


@pytest.mark.parametrize("name", METHODS)
def test_compiled_draws_go_on_where_eager_ones_would(name: str) -> None:
    draw = METHODS[name]
    plain, traced = (random.Generator.from_seed(42) for _ in range(2))
    f = gj.function(lambda: draw(traced), fallback="error")
    for _ in range(4):
        expected, found = draw(plain).numpy(), f().numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert np.array_equal(plain.state.numpy(), traced.state.numpy())
    assert len(f.specializations) == 1


def test_a_generator_may_be_an_argument_or_an_attribute() -> None:
    class Layer:
        def __init__(self) -> None:
            self.generator = random.Generator.from_seed(1)

        @gj.function
        def __call__(self, x: Any) -> Any:
            return x + self.generator.normal(x.shape)

    layer, g = Layer(), random.Generator.from_seed(1)
    f = gj.function(lambda g, x: x + g.normal(x.shape), fallback="error")
    for n in (3, 4, 5, 6):
        x = gj.ones((n,))
        np.testing.assert_allclose(layer(x).numpy(), f(g, x).numpy(), rtol=1e-6)
    assert np.array_equal(layer.generator.state.numpy(), g.state.numpy())


def test_ways_to_make_one() -> None:
    g = random.Generator.from_seed(5)
    assert np.array_equal(
        random.Generator.from_state(g.state.numpy()).normal((3,)), g.normal((3,))
    )
    copied = random.Generator(copy_from=g)
    assert np.array_equal(copied.normal((3,)), g.normal((3,)))
    made = random.Generator.from_key_counter(7, [1, 2])
    assert made.state.numpy().tolist() == [1, 2, 7]
    assert int(made.key) == 7
    made.reset_from_key_counter(8, [3, 4])
    assert made.state.numpy().tolist() == [3, 4, 8]
    made.reset_from_seed([9])
    assert made.state.numpy().tolist() == [0, 0, 9]
    made.reset([1, 2, 3])
    assert made.state.numpy().tolist() == [1, 2, 3]
    assert random.create_rng_state(2**64 + 5).numpy().tolist() == [5, 1, 0]
    one, other = (random.Generator.from_non_deterministic_state() for _ in range(2))
    assert not np.array_equal(one.normal((3,)), other.normal((3,)))
    parts = g.split(3)
    assert len({tuple(p.normal((2,)).numpy()) for p in parts}) == 3
    variable = gj.Variable(np.array([1, 2, 3]))
    assert random.Generator(state=variable).state is variable


def test_the_generator_of_all() -> None:
    random.set_seed(1)
    first = random.get_global_generator().normal((3,)).numpy()
    random.set_seed(1)
    f = gj.function(lambda: random.get_global_generator().normal((3,)), fallback="error")
    np.testing.assert_allclose(f().numpy(), first, rtol=1e-6)
    assert not np.allclose(f().numpy(), first)


def test_keys_in_compiled_loops() -> None:
    def walk(key: Any, n: int) -> Any:
        def step(carry: Any, _: Any) -> Any:
            key, x = carry
            new, mine = random.split(key)
            x = x + random.normal(mine)
            return (new, x), x

        return gj.scan(step, (key, gj.constant(0.0)), None, length=n)[1]

    compiled = gj.function(walk, fallback="error")
    np.testing.assert_allclose(compiled(KEY, 9).numpy(), walk(KEY, 9).numpy(), rtol=1e-5)

    def total(key: Any) -> Any:
        s = gj.constant(0.0)
        for i in range(100):
            s = s + gj.reduce_sum(random.uniform(random.fold_in(key, i), (100,)))
        return s

    found = gj.function(total, fallback="error")(KEY)
    np.testing.assert_allclose(found.numpy(), total(KEY).numpy(), rtol=1e-5)
    assert abs(float(found) - 5000) < 150


def test_shapes_of_all_sizes() -> None:
    f = gj.function(lambda k, x: x + random.normal(k, x.shape, "float64"), fallback="error")
    for n in (5, 9, 2, 17, 33, 6, 1000, 1001):
        x = np.arange(n, dtype=float)
        expected = x + random.normal(KEY, (n,), "float64").numpy()
        np.testing.assert_allclose(f(KEY, x).numpy(), expected, rtol=1e-12)
    assert len(f.specializations) <= 3
    g = gj.function(lambda k, a: random.gamma(k, a), fallback="error")
    for n in (0, 1, 5, 9, 12):
        a = np.linspace(0.1, 9, n).astype(np.float32)
        np.testing.assert_allclose(g(KEY, a).numpy(), random.gamma(KEY, a).numpy(), rtol=1e-4)


def test_numpy_generators_keep_their_streams() -> None:
    f = gj.function(
        lambda rng, k: rng.normal(size=3) + random.normal(k, (3,), "float64").numpy()
    )
    one, other = np.random.default_rng(1), np.random.default_rng(1)
    expected = other.normal(size=3) + random.normal(KEY, (3,), "float64").numpy()
    assert np.allclose(f(one, KEY), expected)


def test_states_are_pickled() -> None:
    state = random.Generator.from_seed(3).state.numpy()
    g = random.Generator.from_state(pickle.loads(pickle.dumps(state)))
    assert np.array_equal(g.normal((2,)), random.Generator.from_seed(3).normal((2,)))


def test_the_generator_of_all_may_be_replaced() -> None:
    f = gj.function(lambda: random.get_global_generator().normal((3,)), fallback="error")
    for k in range(6):
        random.set_global_generator(random.Generator.from_seed(k))
        expected = random.Generator.from_seed(k)
        for _ in range(2):
            np.testing.assert_allclose(f().numpy(), expected.normal((3,)).numpy(), rtol=1e-6)


@pytest.mark.parametrize("compiled", [True, False])
def test_threads_draw_different_numbers(compiled: bool) -> None:
    g = random.Generator.from_seed(3)
    draw = gj.function(lambda: g.uniform((4,))) if compiled else (lambda: g.uniform((4,)))
    draw()
    found: list[Any] = []

    def work() -> None:
        found.extend(tuple(draw().numpy()) for _ in range(60))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 240
    assert g.state.numpy().tolist() == [3 + 241 * 4 * 256, 0, 0]


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
def test_a_call_that_raises_has_drawn() -> None:
    def raising(g: Any, x: Any) -> Any:
        a = g.normal((3,))
        if x.shape[0] == 2:
            raise ValueError("two")
        return a

    plain, traced = (random.Generator.from_seed(42) for _ in range(2))
    f = gj.function(raising)
    for n in (2, 3, 2, 2, 3):
        for call, g in ((raising, plain), (f, traced)):
            try:
                call(g, gj.ones((n,)))
            except ValueError:
                assert n == 2
        assert np.array_equal(plain.state.numpy(), traced.state.numpy())
