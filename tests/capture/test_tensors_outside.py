"""Tensors and variables that traced code reads outside: read anew, or under a guard."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphjit as gj

X = gj.constant([1.0, 2.0])
HELD: dict[str, Any] = {}
GLOBAL: Any = None


class Holder:
    """An object with tensors in it."""

    def __init__(self, k: float) -> None:
        self.t = gj.constant([k, k])
        self.v = gj.Variable([k, k])
        self.several = [gj.constant([k, 1.0]), gj.constant([k, 2.0])]
        self.named = {"a": gj.constant(k)}
        self.count = gj.constant(0)

    def attribute(self, x: Any) -> Any:
        return x * self.t

    def variable(self, x: Any) -> Any:
        return x * self.v + self.v

    def items(self, x: Any) -> Any:
        return x * self.named["a"] + self.several[0]

    def loop(self, x: Any) -> Any:
        for t in self.several:
            x = x + t
        return x

    def joined(self, x: Any) -> Any:
        return gj.reduce_sum(gj.stack(self.several)) * x

    def branch(self, x: Any) -> Any:
        return x + 1.0 if self.named["a"] > 2.0 else x - 1.0

    def stored(self, x: Any) -> Any:
        self.t = self.t + x
        self.count = self.count + 1
        return self.t * 2.0

    def given(self, x: Any) -> Any:
        return self.t

    def of_global(self, x: Any) -> Any:
        return x * GLOBAL

    def value(self, x: Any) -> Any:
        return x * float(self.named["a"].numpy())


METHODS = [
    Holder.attribute, Holder.variable, Holder.items, Holder.loop, Holder.joined, Holder.branch,
    Holder.stored, Holder.given, Holder.of_global, Holder.value,
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.__name__)
@pytest.mark.parametrize("same_object", [True, False])
def test_replaced_between_calls(method: Any, same_object: bool) -> None:
    global GLOBAL
    compiled = gj.function(method)
    one, other = Holder(1.0), Holder(1.0)
    rng = np.random.default_rng(3)
    for k in range(50):
        if not same_object:
            one, other = Holder(float(k % 5)), Holder(float(k % 5))
        GLOBAL = gj.constant(float(k))
        how = int(rng.integers(8))
        for holder in (one, other):
            if how == 1:
                holder.t = gj.constant([float(k), 1.0])
            elif how == 2:
                holder.v = gj.Variable([float(k), 2.0])
            elif how == 3:
                holder.named["a"] = gj.constant(float(k % 4))
            elif how == 4:
                holder.several.append(gj.constant([1.0, float(k)]))
            elif how == 5:
                holder.several[0] = gj.constant([float(k), 3.0])
            elif how == 6:
                holder.v.assign([7.0, float(k)])
            elif how == 7:
                holder.t = gj.constant([[float(k), 1.0]])
        expected = method(other, X)
        found = compiled(one, X)
        assert type(found) is type(expected)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-6)
        np.testing.assert_allclose(one.t.numpy(), other.t.numpy(), rtol=1e-6)
        assert int(one.count) == int(other.count)
        if one.t.shape != (2,):
            one, other = Holder(1.0), Holder(1.0)


def test_a_tensor_that_each_call_replaces_is_an_input() -> None:
    holder = Holder(0.0)
    step = gj.function(Holder.stored, fallback="error")
    for k in range(1, 60):
        step(holder, X)
        assert holder.t.numpy().tolist() == [k, 2.0 * k]
    assert len(step.specializations) == 1


def test_tensors_of_closures_defaults_and_dtypes() -> None:
    t = gj.constant([1.0, 2.0])

    def closed(x: Any) -> Any:
        return x + t

    def default(x: Any, t: Any = t) -> Any:
        return x + t

    f, g = gj.function(closed), gj.function(default)
    assert f(X).numpy().tolist() == [2.0, 4.0]
    assert g(X).numpy().tolist() == [2.0, 4.0]
    t = gj.constant([5.0, 6.0])
    assert f(X).numpy().tolist() == [6.0, 8.0]
    t = gj.constant([5, 6])
    with pytest.raises(gj.errors.InvalidArgumentError):
        f(X)
    t = gj.constant([[5.0, 6.0]])
    assert f(X).numpy().tolist() == [[6.0, 8.0]]
