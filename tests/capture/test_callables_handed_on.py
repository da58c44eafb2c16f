"""Functions that are handed to functions of graphjit's: what they read is read at each call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj

X = np.arange(3.0)
FACTOR = 1.0
TABLE = {"k": 1.0}


class Scale:
    def __init__(self) -> None:
        self.k = 1.0

    def __call__(self, x: Any) -> Any:
        return x * self.k

    def by(self, x: Any) -> Any:
        return x * self.k


SCALE = Scale()


def plain(x: Any) -> Any:
    return x * FACTOR * TABLE["k"] * SCALE.k


decorated = gj.function(plain)
partial = functools.partial(plain)
vectorized = gj.vmap(plain)
gradient = gj.grad(lambda x: plain(x).sum())
FUNCTIONS = {
    "plain": plain, "decorated": decorated, "partial": partial, "vectorized": vectorized,
    "an object": SCALE, "a method": SCALE.by, "a partial of one": functools.partial(decorated),
    "a partial of a method": functools.partial(SCALE.by), "a lambda": lambda x: decorated(x),
    "a decorated method": gj.function(SCALE.by), "a gradient": lambda x: gradient(x) * x,
}  # fmt: skip


def bound(made: Any, call: Callable[..., Any]) -> Callable[[Any], Any]:
    return lambda x: call(made, x)


CALLS: dict[str, Callable[[Any], Callable[[Any], Any]]] = {
    "vmap": lambda f: gj.vmap(f),
    "vmap in a function": lambda f: gj.function(lambda x: gj.vmap(f)(x)),
    "decorated vmap": lambda f: gj.function(gj.vmap(f)),
    "nested vmap": lambda f: bound(gj.vmap(gj.vmap(f)), lambda v, x: v(x[None])[0]),
    "vectorized_map": lambda f: gj.function(lambda x: gj.vectorized_map(f, x)),
    "grad": lambda f: bound(gj.grad(lambda x: f(x).sum()), lambda g, x: g(x) * x),
    "grad of it": lambda f: bound(gj.vmap(gj.grad(f)), lambda v, x: v(x) * x),
    "map": lambda f: gj.function(lambda x: gj.map(f, x)),
    "cond": lambda f: gj.function(lambda x: gj.cond(x[0] < 9, f, f, x)),
    "switch": lambda f: gj.function(lambda x: gj.switch(np.argmin(x), [f, f], x)),
    "a dict": lambda f: gj.function(
        lambda x: gj.switch_case(np.argmin(x), {0: functools.partial(f, x)})
    ),
    "case": lambda f: gj.function(
        lambda x: gj.case([(x[0] > 9, lambda: x)], default=functools.partial(f, x))
    ),
    "scan": lambda f: gj.function(lambda x: gj.scan(lambda c, a: (c, f(a)), 0.0, x)[1]),
    "Python's map": lambda f: gj.function(lambda x: np.array(list(map(f, x)))),
    "apply_along_axis": lambda f: gj.function(lambda x: np.apply_along_axis(f, 0, x)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_nothing_is_stale(call: str, function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    f = FUNCTIONS[function]
    if function == "vectorized" and call in (
        "vmap", "nested vmap", "vectorized_map", "decorated vmap", "vmap in a function", "map",
        "scan", "Python's map", "grad of it",
    ):  # fmt: skip
        pytest.skip("its argument has no axes there")
    if function == "a gradient" and call in ("grad", "grad of it"):
        pytest.skip("has another derivative")
    made = CALLS[call](f)
    scales = function in (
        "an object",
        "a method",
        "a partial of a method",
        "a decorated method",
    )

    def expected() -> Any:
        return X * SCALE.k * (1.0 if scales else FACTOR * TABLE["k"])

    for k in (1.0, 2.0, 3.0):
        monkeypatch.setattr(SCALE, "k", k)
        np.testing.assert_allclose(made(X), expected())
        monkeypatch.setitem(TABLE, "k", k + 1)
        np.testing.assert_allclose(made(X), expected())
        monkeypatch.setitem(globals(), "FACTOR", -k)
        np.testing.assert_allclose(made(X), expected())
