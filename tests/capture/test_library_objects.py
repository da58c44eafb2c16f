"""Objects of libraries that hold arrays: what they hold is read at each call."""

from __future__ import annotations

import array
import collections
import functools
import itertools
import operator
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.interpolate
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
import scipy.stats

import graphjit as gj

X = np.array([0.5, 1.5, 2.5])
DIAGONAL = np.diag([1.0, 2.0, 3.0])


class Held:
    """What changes between calls."""

    def __init__(self) -> None:
        self.a = np.array([1.0, 2.0, 3.0])
        self.location = np.zeros(1)
        self.operator = DIAGONAL.copy()


HELD = Held()
A = HELD.a
total, dot, item, get, add = A.sum, A.dot, A.item, A.__getitem__, A.__add__
flat, transposed, view = A.flat, A.T, memoryview(A)
spline = scipy.interpolate.CubicSpline(np.arange(5.0), np.arange(5.0) ** 2)
b_spline = scipy.interpolate.BSpline(np.array([0.0, 0, 1, 1]), np.array([1.0, 2.0]), 1)
linear = scipy.interpolate.interp1d([0.0, 1.0, 2.0], [0.0, 1.0, 4.0])
grid = scipy.interpolate.RegularGridInterpolator((np.arange(3.0),), np.arange(3.0))
sparse = scipy.sparse.csr_array(DIAGONAL)
pairs = scipy.sparse.coo_array(DIAGONAL)
normal = scipy.stats.norm(loc=HELD.location)
poly1d = np.poly1d([1.0, 2.0])
polynomial = np.polynomial.Polynomial([1.0, 2.0])
operator_of = scipy.sparse.linalg.aslinearoperator(HELD.operator)
numbers, octets = array.array("d", [1.0, 2.0, 3.0]), bytearray(b"\x01\x02\x03")
records = np.rec.array([(1.0, 2)], dtype=[("a", float), ("b", int)])
masked = np.ma.array([1.0, 2.0, 3.0], mask=[0, 0, 1])
chained, user_dict = collections.ChainMap({"a": 1.0}), collections.UserDict({"a": 1.0})
user_list, counted = collections.UserList([1.0]), collections.Counter({"a": 1})
space, objects = types.SimpleNamespace(a=1.0), np.array([1.0, 2.0], dtype=object)
with_array = functools.partial(np.add, A)
first, attribute = operator.itemgetter(0), operator.attrgetter("a")
method = operator.methodcaller("sum")


def change(k: float) -> None:
    A[:] = k * np.array([1.0, 2.0, 3.0])
    for changed in (
        spline.c, b_spline.c, linear.y, grid.values, sparse.data, pairs.data, HELD.location,
        poly1d.coeffs, polynomial.coef,
    ):  # fmt: skip
        changed[:] = k
    HELD.operator[0, 0] = masked[0] = numbers[0] = user_list[0] = objects[0] = space.a = k
    records["a"] = chained["a"] = user_dict["a"] = k
    octets[0] = counted["a"] = int(k)


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "A.sum": lambda x: x + total(),
    "A.dot": lambda x: dot(x),
    "A.item": lambda x: x + item(0),
    "A.__getitem__": lambda x: x + get(0),
    "A.__add__": lambda x: add(x),
    "A.__getitem__ in a map": lambda x: x + np.array(list(map(get, [0, 1, 2]))),
    "A.__getitem__ in a starmap": lambda x: x + next(iter(itertools.starmap(get, [(0,)]))),
    "A.__getitem__ as a key": lambda x: x + max([0, 1, 2], key=get) + get(2),
    "A.__add__ in gj.map": lambda x: gj.map(add, x)[0],
    "A.__add__ in gj.vmap": lambda x: gj.vmap(add)(x)[1],
    "A.__add__ in gj.cond": lambda x: gj.cond(x[0] < 9, add, add, x),
    "A.flat": lambda x: x + flat[0],
    "A.T": lambda x: x + transposed,
    "memoryview": lambda x: x + np.asarray(view),
    "a partial": lambda x: with_array(x),
    "a partial in gj.map": lambda x: gj.map(with_array, x)[0],
    "itemgetter": lambda x: x + first(A),
    "itemgetter in a starmap": lambda x: x + next(itertools.starmap(first, [(A,)])),
    "attrgetter in a starmap": lambda x: x + next(itertools.starmap(attribute, [(HELD,)])),
    "attrgetter in groupby": lambda x: x + next(itertools.groupby([space], attribute))[0],
    "methodcaller": lambda x: x + method(A),
    "spline(x)": lambda x: spline(x),
    "spline(1.5)": lambda x: x + spline(1.5),
    "spline.c": lambda x: x + spline.c[0, 0],
    "spline.integrate": lambda x: x + spline.integrate(0, 1),
    "spline.derivative": lambda x: x + spline.derivative()(0.5),
    "spline in a map": lambda x: x + np.array(list(map(spline, [0.5, 0.6, 0.7]))),
    "quad of a spline": lambda x: x + scipy.integrate.quad(spline, 0, 1)[0],
    "a B-spline": lambda x: x + b_spline(0.5),
    "interp1d": lambda x: x + linear(0.5),
    "a grid": lambda x: x + grid([0.5]),
    "sparse @ x": lambda x: sparse @ x,
    "sparse @ ones": lambda x: x + (sparse @ np.ones(3)),
    "ones @ sparse": lambda x: x + (np.ones(3) @ sparse),
    "sparse.sum": lambda x: x + sparse.sum(),
    "sparse.toarray": lambda x: x + sparse.toarray()[0],
    "sparse.data": lambda x: x + sparse.data,
    "sparse * 2": lambda x: x + (sparse * 2).sum(),
    "sparse + sparse": lambda x: x + (sparse + sparse).sum(),
    "-sparse": lambda x: x + (-sparse).sum(),
    "abs(sparse)": lambda x: x + abs(sparse).max(),
    "np.sum(sparse)": lambda x: x + np.sum(sparse),
    "vstack": lambda x: x + scipy.sparse.vstack([sparse, sparse]).sum(),
    "spsolve": lambda x: x + scipy.sparse.linalg.spsolve(sparse.tocsc(), np.ones(3)),
    "norm": lambda x: x + scipy.sparse.linalg.norm(sparse),
    "coo @ x": lambda x: pairs @ x,
    "a linear operator": lambda x: x + operator_of.matvec(np.ones(3)),
    "operator @ ones": lambda x: x + (operator_of @ np.ones(3)),
    "frozen.pdf": lambda x: x + normal.pdf(0.5),
    "frozen.cdf": lambda x: normal.cdf(x),
    "frozen.mean": lambda x: x + normal.mean(),
    "frozen.kwds": lambda x: x + normal.kwds["loc"],
    "poly1d": lambda x: x + poly1d(2.0),
    "polyval": lambda x: x + np.polyval(poly1d, 2.0),
    "poly1d * 2": lambda x: x + (poly1d * 2)(1.0),
    "Polynomial": lambda x: x + polynomial(2.0),
    "Polynomial.convert": lambda x: x + polynomial.convert().coef[0],
    "Polynomial + 1": lambda x: x + (polynomial + 1)(2.0),
    "array.array": lambda x: x + numbers[0],
    "sum of array.array": lambda x: x + sum(numbers),
    "np.asarray of array.array": lambda x: x + np.asarray(numbers),
    "bytearray": lambda x: x + octets[0],
    "frombuffer": lambda x: x + np.frombuffer(octets, np.uint8)[0],
    "sum of bytearray": lambda x: x + sum(octets),
    "a record": lambda x: x + records.a[0],
    "a masked array": lambda x: x + masked.sum(),
    "ChainMap": lambda x: x + chained["a"],
    "values of ChainMap": lambda x: x + sum(chained.values()),
    "UserDict": lambda x: x + user_dict["a"],
    "UserDict.get": lambda x: x + user_dict.get("a"),  # type: ignore[operator]
    "UserList": lambda x: x + sum(user_list),
    "Counter": lambda x: x + counted.most_common(1)[0][1],
    "SimpleNamespace": lambda x: x + space.a,
    "SimpleNamespace ==": lambda x: x + (space == types.SimpleNamespace(a=1.0)),
    "objects": lambda x: x + objects[0],
    "sum of objects": lambda x: x + objects.sum(),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_nothing_is_stale(name: str) -> None:
    function = FUNCTIONS[name]
    compiled = gj.function(function)
    seen = []
    for k in (1.0, 2.0, 3.0, 1.0):
        change(k)
        expected, found = function(X.copy()), compiled(X.copy())
        np.testing.assert_allclose(np.asarray(found, float), np.asarray(expected, float))
        assert type(found) is type(expected)
        seen.append(np.asarray(expected, float).tolist())
    change(1.0)
    assert seen[0] != seen[1]  # it does depend on what changed


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + total(),
        lambda x: dot(x),
        lambda x: x + np.array(list(map(get, [0, 1, 2]))),
        lambda x: with_array(x),
        lambda x: spline.c[0, 0] * x,
        lambda x: scipy.stats.norm.pdf(0.5) * x,
        lambda x: x * np.finfo(float).eps,
        lambda x: x + first(A),
    ],
)
def test_what_holds_nothing_that_changes_compiles(function: Callable[[Any], Any]) -> None:
    compiled = gj.function(function, fallback="error")
    np.testing.assert_allclose(compiled(X), function(X))


def test_the_refusal_says_what_may_change() -> None:
    with pytest.warns(gj.FallbackWarning, match="hands a CubicSpline, which may change, to"):
        gj.function(lambda x: x + spline(1.5))(X)
