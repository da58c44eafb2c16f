"""Random tensors: distributions, seeds, dtypes, and that none is frozen into compiled code."""

import numpy as np
import pytest

import graphjit as gj
from graphjit.keras import backend as K

N = 200_000


@pytest.mark.parametrize(
    ("draw", "mean", "deviation", "low", "high"),
    [
        (lambda **o: K.random_normal((N,), 2.0, 3.0, **o), 2, 3, -np.inf, np.inf),
        (lambda **o: K.random_uniform((N,), -1.0, 3.0, **o), 1, 4 / 12**0.5, -1, 3),
        (lambda **o: K.random_bernoulli((N,), 0.25, **o), 0.25, 0.1875**0.5, 0, 1),
        (lambda **o: K.truncated_normal((N,), 1.0, 2.0, **o), 1, 2 * 0.87963, -3, 5),
    ],
)
def test_distributions(draw, mean, deviation, low, high):
    x = draw(seed=1).numpy()
    assert x.dtype == np.float32 and x.shape == (N,)
    assert abs(x.mean() - mean) < 0.05 and abs(x.std() - deviation) < 0.05
    assert x.min() >= low and x.max() <= high
    assert np.array_equal(draw(seed=1).numpy(), x)
    assert not np.array_equal(draw().numpy(), draw().numpy())
    assert draw(dtype="float64", seed=2).dtype == np.float64


def test_dropout():
    x = gj.ones([400, 100])
    y = K.dropout(x, 0.25, seed=0).numpy()
    assert set(np.unique(y)) == {0, np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.02
    rows = K.dropout(x, 0.5, noise_shape=(400, 1), seed=0).numpy()
    assert all(len(np.unique(row)) == 1 for row in rows)
    with pytest.raises(gj.errors.InvalidArgumentError, match="rate"):
        K.dropout(x, 1.0)


def test_variables():
    v = K.random_normal_variable((3, 2), 0.0, 1.0, seed=1)
    assert isinstance(v, gj.Variable) and v.shape == (3, 2)
    assert K.random_uniform_variable((2,), 0.0, 1.0).shape == (2,)


def test_drawn_at_each_call():
    f = gj.function(lambda x: x + K.random_normal((3,)), fallback="error")
    g = gj.function(lambda x: K.dropout(x, 0.5), fallback="error")
    x = gj.ones([30])
    assert not np.array_equal(f(x[:3]).numpy(), f(x[:3]).numpy())
    assert not np.array_equal(g(x).numpy(), g(x).numpy())
    gj.random.set_seed(5)
    once = f(x[:3]).numpy(), g(x).numpy(), K.random_uniform((4,)).numpy()
    gj.random.set_seed(5)
    again = f(x[:3]).numpy(), g(x).numpy(), K.random_uniform((4,)).numpy()
    assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))
