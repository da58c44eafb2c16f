"""Functions that are handed to functions of graphjit's: what they read is read at each call."""

from __future__ import annotations

import bisect
import functools
import heapq
import itertools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.integrate

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


class Product:
    """A class whose objects are never made."""

    def __new__(cls, x: Any) -> Any:
        return x * SCALE.k


SCALE = Scale()


def plain(x: Any) -> Any:
    return x * FACTOR * TABLE["k"] * SCALE.k


decorated = gj.function(plain)
partial = functools.partial(plain)
vectorized = gj.vmap(plain)
gradient = gj.grad(lambda x: plain(x).sum())


@functools.singledispatch
def dispatched(x: Any) -> Any:
    return x * FACTOR * TABLE["k"] * SCALE.k


FUNCTIONS = {
    "plain": plain, "decorated": decorated, "partial": partial, "vectorized": vectorized,
    "an object": SCALE, "a method": SCALE.by, "a partial of one": functools.partial(decorated),
    "a partial of a method": functools.partial(SCALE.by), "a lambda": lambda x: decorated(x),
    "a decorated method": gj.function(SCALE.by), "a gradient": lambda x: gradient(x) * x,
    "a class": Product, "a method-wrapper": plain.__call__,
    "a decorated one's": decorated.__call__, "an object's call": SCALE.__call__,
    "a dispatched function": dispatched,
    "a vectorized one": np.vectorize(plain), "a ufunc of Python": np.frompyfunc(plain, 1, 1),
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
    "a call": lambda f: gj.function(lambda x: f(x)),
    "operator.call": lambda f: gj.function(lambda x: operator.call(f, x)),
    "starmap": lambda f: gj.function(
        lambda x: np.array(list(itertools.starmap(f, [(v,) for v in x])))
    ),
    "reduce": lambda f: gj.function(lambda x: functools.reduce(lambda _, g: g(x), [f, f], 0.0)),
    "max": lambda f: gj.function(lambda x: f(x) * max([1.0, 1.0], key=f)),
    "accumulate": lambda f: gj.function(
        lambda x: list(itertools.accumulate([0.0, 1.0], lambda _, v: f(v)))[1] * x
    ),
    "groupby": lambda f: gj.function(lambda x: next(itertools.groupby([1.0], f))[0] * x),
    "quad": lambda f: gj.function(
        lambda x: scipy.integrate.quad(lambda t: float(f(t)), 0.0, 1.0)[0] * 2 * x
    ),
    "quad of it": lambda f: gj.function(lambda x: scipy.integrate.quad(f, 0.0, 1.0)[0] * 2 * x),
    "fromfunction": lambda f: gj.function(lambda x: np.fromfunction(f, (3,)) + 0 * x),
    "piecewise": lambda f: gj.function(
        lambda x: np.piecewise(np.arange(3.0), [np.arange(3.0) < 1], [f, f]) + 0 * x
    ),
    "bisect": lambda f: gj.function(lambda x: f(x) + 0 * bisect.bisect([1.0, 2.0], 1.0, key=f)),
    "nlargest": lambda f: gj.function(lambda x: f(heapq.nlargest(1, [1.0], key=f)[0]) * x),
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
        "scan", "Python's map", "grad of it", "starmap", "max", "accumulate", "groupby", "quad",
        "quad of it", "bisect", "nlargest",
    ):  # fmt: skip
        pytest.skip("its argument has no axes there")
    if function == "a gradient" and call in ("grad", "grad of it", "quad", "quad of it"):
        pytest.skip("has another derivative")
    elementwise = function in ("a vectorized one", "a ufunc of Python")
    if elementwise and call in ("grad", "grad of it"):
        pytest.skip("has no derivative")
    made = CALLS[call](f)
    scales = function in (
        "an object",
        "a method",
        "a partial of a method",
        "a decorated method",
        "a class",
        "an object's call",
    )

    def expected() -> Any:
        return X * SCALE.k * (1.0 if scales else FACTOR * TABLE["k"])

    for k in (1.0, 2.0, 3.0):
        monkeypatch.setattr(SCALE, "k", k)
        np.testing.assert_allclose(np.asarray(made(X), float), expected())
        monkeypatch.setitem(TABLE, "k", k + 1)
        np.testing.assert_allclose(np.asarray(made(X), float), expected())
        monkeypatch.setitem(globals(), "FACTOR", -k)
        np.testing.assert_allclose(np.asarray(made(X), float), expected())
