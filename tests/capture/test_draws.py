"""Random numbers that calls draw: NumPy's and Python's own streams, in order."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj

X = np.linspace(0.5, 3, 6)


class State:
    """The generators that the functions draw from."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.old = np.random.RandomState(1)
        self.python = random.Random(2)
        self.w = np.zeros(6)


S = State()


def start() -> None:
    vars(S).update(vars(State()))
    np.random.seed(5)
    random.seed(6)


def state() -> Any:
    return (
        repr(S.rng.bit_generator.state),
        repr(S.old.get_state()),
        S.python.getstate(),
        repr(np.random.get_state()),
        random.getstate(),
        S.w.tobytes(),
    )


def seeds(x: Any) -> Any:
    np.random.seed(3)
    random.seed(4)
    return x + np.random.randn(*x.shape) + random.random()


def in_place(x: Any) -> Any:
    S.rng.shuffle(x)
    return x[0]


def stores(x: Any) -> Any:
    S.w[:] = S.rng.random(6)
    return x * S.w


def takes_ways(x: Any) -> Any:
    if S.rng.random() < 0.5:
        return x * 2
    return x + S.rng.normal(2.0, 3.0, x.shape)


def counts(x: Any) -> Any:
    n = 0
    while S.rng.random() < 0.7:
        n += 1
    return x * n


def lists(x: Any) -> Any:
    values = []
    for _ in range(20):
        values.append(S.rng.normal())
    return np.array(values) + x[0]


def python_numbers(x: Any) -> Any:
    i = random.randint(0, 5)
    return x[i], i, random.uniform(1, 2), random.gauss(0, 1), random.sample(range(10), 3)


def raises(x: Any) -> Any:
    y = S.rng.normal(size=6) + x
    if y.sum() > 12:
        raise ValueError("large")
    return y


def masked(x: Any) -> Any:
    m = S.rng.random(x.shape) < 0.5
    return np.where(m, x, 0), x[m]


COMPILED: dict[str, Callable[[Any], Any]] = {
    "normal": lambda x: x + S.rng.normal(size=6),
    "alone": lambda x: S.rng.normal(size=6),
    "number": lambda x: x * S.rng.random(),
    "index": lambda x: (x[S.rng.integers(6)], S.rng.integers(0, 10, 3)),
    "global": lambda x: x + np.random.rand(6) + random.random(),
    "permutation": lambda x: (S.rng.permutation(x), S.rng.permutation(len(x))),
    "choice": lambda x: (
        S.rng.choice(x, 3), S.rng.choice(x), S.rng.choice(x, 4, replace=False),
    ),
    "rows": lambda x: (S.rng.permutation(x.reshape(3, 2)), S.rng.choice(x.reshape(3, 2), 2)),
    "around a value": lambda x: S.rng.normal(x.mean(), 2, 6),
    "old": lambda x: (
        S.old.normal(0, 1, (2, 3)) + x.reshape(2, 3), S.old.randint(5), S.old.choice(x, 2),
        S.old.permutation(x), S.old.normal(x[0]),
    ),
    "dtypes": lambda x: (
        S.rng.integers(0, 2, 6, dtype=np.int8) * x, S.rng.random(6, dtype=np.float32),
    ),
    "distributions": lambda x: (
        x * S.rng.poisson(3, 6), S.rng.multivariate_normal([0, 0], [[1, 0], [0, 1]]),
        S.rng.dirichlet([1, 2, 3]), S.rng.exponential(2.0), S.rng.gamma(2.0, size=3),
    ),
    "one of three": lambda x: random.choice([1.0, 2.0, 3.0]) * x,
    "place": lambda x: x[random.randrange(len(x))],
    "seeds": seeds, "in place": in_place, "stores": stores, "takes ways": takes_ways,
    "counts": counts, "lists": lists, "python numbers": python_numbers, "masked": masked,
}  # fmt: skip
EAGER: dict[str, Callable[[Any], Any]] = {
    "raises": raises,
    "state that is read": lambda x: S.rng.bit_generator.state["state"]["state"] % 7 * x,
    "scale that is traced": lambda x: S.rng.normal(0, x.mean() + 1, 6),
    "many turns": lambda x: x * sum(S.rng.random() for _ in range(300)),
}


def outcome(function: Callable[[Any], Any], x: Any) -> Any:
    try:
        result = function(x)
    except ValueError as error:
        result = str(error)
    return repr(result), repr(x), state()


@pytest.mark.parametrize("name", [*COMPILED, *EAGER])
def test_draws_as_undecorated_code_does(name: str) -> None:
    function = COMPILED.get(name) or EAGER[name]
    start()
    wanted = [outcome(function, X + k) for k in range(6)]
    start()
    f = gj.function(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gj.FallbackWarning)
        for k in range(6):
            assert outcome(f, X + k) == wanted[k]
    reasons = [s.reason for s in f.specializations if s.reason]
    assert name in EAGER or not reasons, reasons


def test_a_generator_that_is_replaced() -> None:
    f = gj.function(COMPILED["normal"], fallback="error")
    for seed in (1, 2, 1):
        S.rng = np.random.default_rng(seed)
        found = f(X)
        S.rng = np.random.default_rng(seed)
        np.testing.assert_array_equal(found, COMPILED["normal"](X))
    assert f.trace_count == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.random.default_rng(), lambda: np.random.default_rng(None),
        lambda: np.random.RandomState(), lambda: random.Random(),
        lambda: np.random.Generator(np.random.PCG64()),
        lambda: np.random.Generator(np.random.MT19937(np.random.SeedSequence())),
    ],
)  # fmt: skip
def test_a_generator_without_a_seed_is_another_at_each_call(make: Callable[[], Any]) -> None:
    f = gj.function(lambda x: x + make().random())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gj.FallbackWarning)
        assert len({float(f(np.zeros(1))[0]) for _ in range(4)}) == 4


def test_a_generator_with_a_seed_is_made_anew() -> None:
    f = gj.function(lambda x: x + np.random.default_rng(7).normal(size=6), fallback="error")
    for _ in range(3):
        np.testing.assert_array_equal(f(X), X + np.random.default_rng(7).normal(size=6))


def test_one_state_in_two_generators() -> None:
    bits = np.random.PCG64(3)
    a, b = np.random.Generator(bits), np.random.Generator(bits)
    f = gj.function(lambda x: (x + a.random(), x + b.random()), fallback="error")
    found = [f(X) for _ in range(2)]
    plain = np.random.Generator(np.random.PCG64(3))
    for one, other in found:
        np.testing.assert_array_equal(one, X + plain.random())
        np.testing.assert_array_equal(other, X + plain.random())


def test_generators_among_the_arguments() -> None:
    f = gj.function(lambda x, rng: x + rng.normal(size=6))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gj.FallbackWarning)
        for seed in range(20):
            found = f(X, np.random.default_rng(seed))
            np.testing.assert_array_equal(found, X + np.random.default_rng(seed).normal(size=6))
    assert f.trace_count < 5


def test_a_call_that_fails_has_drawn_what_python_has() -> None:
    def g(x: Any, i: Any) -> Any:
        return x[S.rng.integers(0, 3) + i] * S.rng.random()

    f = gj.function(g)
    for function in (g, f):
        start()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", gj.FallbackWarning)
            seen = []
            for i in (0, 1, 9, 2, 9, 0):
                try:
                    seen.append(float(function(X, np.int64(i))))
                except IndexError:
                    seen.append(-1.0)
        if function is g:
            wanted = seen, state()
    assert (seen, state()) == wanted


def test_results_in_memory_of_the_callers_are_drawn_once() -> None:
    def g(x: Any) -> Any:
        return x + S.rng.random(3)

    f, wanted = gj.function(g), []
    start()
    for k in range(5):
        wanted.append(g(X[:3] + k))
    after = state()
    start()
    for k in range(5):
        out = np.empty(3)
        assert f(X[:3] + k, out=out) is out
        np.testing.assert_array_equal(out, wanted[k])
    assert state() == after
