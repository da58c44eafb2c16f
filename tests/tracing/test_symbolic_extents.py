"""Extents as Python sees them: arithmetic, comparisons, results, what outlives a trace."""

from __future__ import annotations

import operator
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symbolic_calls import normal, sized

import graphjit as gj
from graphjit.core.dims import Dim, Sizes, Undecided, parse_dim
from graphjit.core.errors import ShapeError
from graphjit.core.extents import evaluate
from graphjit.tracing import symbolic_sizes as symbolic


@pytest.fixture(autouse=True)
def from_the_second_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gj.config, "symbolic_after", 2)


def test_sizes_as_results_and_text() -> None:
    """A size that is returned is the call's own; one that is written out is for one size."""
    count = gj.function(lambda x: (x.shape[0] * 2, x + 1))
    for n in (3, 5, 9, 0, 1):
        twice, more = count(normal((n, 2)))
        assert (type(twice), twice) == (int, 2 * n)
        assert more.shape == (n, 2)
    assert len(sized(count)) == 1
    named = gj.function(lambda x: x * {"3": 1, "5": 2, "9": 3}[f"{x.shape[0]}"])
    for n, factor in ((3, 1), (5, 2), (9, 3)):
        x = normal((n,))
        np.testing.assert_array_equal(named(x), x * np.float32(factor))
    as_array = gj.function(lambda x: x + np.array(x.shape).sum())
    for n in (3, 5, 9):
        np.testing.assert_array_equal(as_array(np.zeros((n, 2))), np.full((n, 2), n + 2.0))


@given(st.data())
@settings(max_examples=200)
def test_arithmetic_is_that_of_the_sizes(data: Any) -> None:
    values = {"n0": data.draw(st.integers(2, 50)), "n1": data.draw(st.integers(2, 50))}
    sizes = Sizes()
    known = [sizes.symbol(name, value) for name, value in values.items()]
    pairs: list[tuple[Any, int]] = [*zip(known, values.values(), strict=True), (3, 3), (7, 7)]
    for _ in range(data.draw(st.integers(1, 6))):
        (a, x), (b, y) = data.draw(st.sampled_from(pairs)), data.draw(st.sampled_from(pairs))
        divisor = data.draw(st.integers(1, 9))
        made = data.draw(
            st.sampled_from(
                [(a + b, x + y), (a * b, x * y), (a - b, x - y), (a // divisor, x // divisor),
                 (a % divisor, x % divisor)]
            )
        )  # fmt: skip
        pairs.append(made)
    for dim, value in pairs:
        assert evaluate(dim, values) == value
        if isinstance(dim, Dim):
            low, high = dim.bounds()
            assert low <= value <= high
            assert evaluate(parse_dim(str(dim)), values) == value


@given(st.integers(-60, 60), st.integers(0, 50), st.sampled_from(["==", ">=", "<", "!="]))
def test_answers_are_noted_and_hold(constant: int, hint: int, relation: str) -> None:
    sizes = Sizes()
    sizes.recording = True
    n = sizes.symbol("n0", hint)
    asked = {
        "==": lambda v: 2 * v == constant, ">=": lambda v: 2 * v >= constant,
        "<": lambda v: 2 * v < constant, "!=": lambda v: 2 * v != constant,
    }[relation]  # fmt: skip
    if hint == 1:
        return
    answer = asked(n)
    assert bool(answer) == asked(hint)
    for value in (0, *range(2, 60)):
        if all(guard.holds({"n0": value}) for guard in sizes.guards):
            assert asked(value) == bool(answer), value


@given(st.integers(-40, 40), st.integers(1, 50))
def test_numbers_divided_by_extents(number: int, hint: int) -> None:
    """Right for the sizes at hand, and for all that the guards let in."""
    sizes = Sizes()
    n = sizes.symbol("n0", hint, may_be_one=True)
    sizes.recording = True
    quotient, rest = number // n, number % n
    for size in (hint, hint + 1, 2 * hint, 60, *range(2, 60)):
        if all(guard.holds({"n0": size}) for guard in sizes.guards):
            values = {"n0": size}
            found = evaluate(quotient, values), evaluate(rest, values)
            assert found == divmod(number, size)


def test_no_answer_without_a_guard() -> None:
    sizes = Sizes()
    n = sizes.symbol("n0", 5)
    assert n != 5 and n * 4 // 4 == n and n + 1 > 0
    for question in (lambda: n > 4, lambda: int(n), lambda: range(n), lambda: n // n - n > 0):
        with pytest.raises(Undecided):
            question()
    with pytest.raises(ValueError, match="no extent"):
        parse_dim("n0 ** 2")


def test_calls_that_fail_leave_no_trail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the same one again and again, nor ones of ever new sizes."""
    monkeypatch.setattr(symbolic, "_MAX_SIZES", 50)
    fn = gj.function(lambda x, y: x @ y, fallback="error")
    for n in range(2, 100):
        for x in (np.ones((2, 3)), np.ones((n, 3))):
            with pytest.raises(ShapeError):
                fn(x, np.ones((4, 5)))
    (seen,) = fn._specializations.size_histories.values()
    assert len(seen.history) == 64
    assert max(map(len, seen.sizes.values())) == 50


SCALARS = [
    np.int64(3), np.int8(7), np.uint64(2**63 + 5), np.bool_(True), np.float32(3.5),
    np.float64(7), np.float64("nan"), np.float64("-inf"), np.float16(100), np.float16(2048),
    np.complex64(3), np.complex128(7 + 1j), 5j, 2.5,
]  # fmt: skip
EQUALITIES = [operator.eq, operator.ne]
COMPARED = [*EQUALITIES, operator.lt, operator.le, operator.gt, operator.ge]


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("scalar", SCALARS, ids=lambda x: f"{type(x).__name__}({x})")
def test_an_extent_beside_a_scalar_is_compared_as_an_int(scalar: Any, turned: bool) -> None:
    """With Python's bool or NumPy's, and rounded to a short float where NumPy does so."""
    ordered = not isinstance(scalar, complex) or isinstance(scalar, np.generic)

    def function(x: Any) -> Any:
        n = x.shape[0]
        asked = COMPARED if ordered else EQUALITIES
        return [what(scalar, n) if turned else what(n, scalar) for what in asked], x.sum()

    compiled = gj.function(function)
    for n in (3, 5, 7, 2, 0, 1, 2049, 2048, 70000):
        x = np.ones(n, np.int8)
        found, wanted = compiled(x)[0], function(x)[0]
        assert [(type(a), a) for a in found] == [(type(a), a) for a in wanted], n


def test_extents_and_complex_numbers_have_no_order() -> None:
    compiled = gj.function(lambda x: (x.shape[0] < 5j, x.sum()))
    for n in (3, 5, 7):
        with pytest.raises(TypeError):
            compiled(np.ones(n))


LOOPS = [
    "k - k // 2 - 1", "k // 2 + k // 3", "k - k // 3 - 1", "k * 3 // 4 - k // 5",
    "k - max(k // 8, 1)", "(k - k // 2) // 2 + k // 3", "k * k // (k + 1) - k // 3",
    "k * (n - k) * (k + m) % 97",
]  # fmt: skip


@pytest.mark.parametrize("step", LOOPS)
def test_floors_within_floors_are_compiled_soon(step: str) -> None:
    names: dict[str, Any] = {}
    exec(
        "def function(x, y):\n"
        "    n, m = x.shape[0], y.shape[0]\n"
        "    k, j = n, 0\n"
        "    while k > 3 and j < 25:\n"
        f"        k, j = {step}, j + 1\n"
        "    return k, j, x * 2\n",
        names,
    )
    function = names["function"]
    compiled = gj.function(function)
    started = time.process_time()
    for n in (5, 9, 20, 1000, 20000, 3, 4096, 0):
        x, y = np.ones(n), np.ones(n // 3)
        k, j, doubled = compiled(x, y)
        assert (k, j) == function(x, y)[:2]
        assert doubled.shape == x.shape
    assert time.process_time() - started < 20


class Holder:
    __slots__ = ("held",)

    def __init__(self, held: Any) -> None:
        self.held = held


class Pair(tuple[Any, ...]):
    __slots__ = ()


HOLDERS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "slice": (lambda n: slice(0, n, 2), lambda s: s.stop),
    "object": (Holder, lambda h: h.held),
    "tuple's subclass": (lambda n: Pair((n, 2)), lambda p: p[0]),
    "deque": (lambda n: deque([n]), lambda d: d[0]),
    "counter": (lambda n: Counter({"a": n}), lambda c: c["a"]),
    "namespace": (lambda n: SimpleNamespace(held=[n]), lambda s: s.held[0]),
    "partial": (lambda n: partial(max, n), lambda p: p.args[0]),
    "closure": (lambda n: lambda: n, lambda f: f()),
    "default": (lambda n: lambda k=n: k, lambda f: f()),
}


@pytest.mark.parametrize("name", HOLDERS)
@pytest.mark.parametrize("traced", ["extent", "element"])
@pytest.mark.filterwarnings("ignore:.*runs eagerly")
def test_results_of_any_kind_hold_the_numbers_of_the_call(name: str, traced: str) -> None:
    make, held = HOLDERS[name]

    def function(x: Any) -> Any:
        return make(x.shape[0] if traced == "extent" else x.sum()), x * 2

    compiled = gj.function(function)
    for n in (5, 3, 7, 7, 0, 1, 300):
        found = held(compiled(np.ones(n))[0])
        wanted = held(function(np.ones(n))[0])
        assert (type(found), found) == (type(wanted), wanted), n


@pytest.mark.filterwarnings("ignore:.*runs eagerly")
def test_no_extent_outlives_its_trace() -> None:
    kept: list[Any] = []

    def function(x: Any) -> Any:
        kept.append((x.shape, [x.shape[0] + 1]))
        return x * 2

    compiled = gj.function(function)
    for n in (5, 3, 7, 300):
        compiled(np.ones(n))
    assert kept
    assert all(type(m) is int for shape, more in kept for m in (*shape, *more))


def test_the_type_of_an_extent_is_int() -> None:
    def function(x: Any) -> Any:
        names = [type(n).__name__ for n in (x.shape[0], x.shape[0] % 4)]
        return names, str(type(x.size)), x.dtype.type(2) * x

    compiled = gj.function(function)
    for n in (3, 5, 7):
        assert compiled(np.ones(n))[:2] == (["int", "int"], "<class 'int'>")
    kept = gj.function(lambda x: x.dtype.type(2) * x)
    for n in (3, 5, 7):
        kept(np.ones(n))
    assert len(sized(kept)) == 1


POWERS: dict[str, Callable[[Any], Any]] = {
    "a value": lambda x: (x.shape[0] ** 4 * 1000, x[:2]),
    "a value beyond C": lambda x: (x.shape[0] * 10**30, x[:2]),
    "a remainder": lambda x: (x.shape[0] ** 4 * x.shape[0] % 7, x[:2]),
    "the end of a slice": lambda x: x[: x.shape[0] ** 4 * x.shape[0] % 7] * 2,
    "a rank correlation": lambda x: x.sum() / (x.shape[0] * (x.shape[0] ** 2 - 1) * 10**6),
    "a branch": lambda x: x[:2] * (1 if x.shape[0] ** 4 * 1000 > 10**19 else 2),
    "a bound": lambda x: (x[: x.shape[0] * 10**30][:3], x[x.shape[0] - 2**63 :][:3]),
    "a shift": lambda x: np.roll(x, x.shape[0] * 2**61 + 1)[:9],
}


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("name", POWERS)
def test_extents_that_pass_64_bits(name: str) -> None:
    """Python's integers have no end, what native code computes with has."""
    function = POWERS[name]
    compiled = gj.function(function)
    for n in (5, 3, 7, 20000, 20000, 60000, 3_000_000, 3_000_001, 9, 0, 2):
        x = np.resize(np.array([1.0, 2.0, 3.0]), n) if n else np.ones(0)
        found, wanted = compiled(x), function(x)
        for a, b in (
            zip(found, wanted, strict=True) if type(wanted) is tuple else [(found, wanted)]
        ):
            if type(b) is int:
                assert (type(a), a) == (int, b)
            else:
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=0)


def test_extents_as_keys_of_results() -> None:
    def function(x: Any) -> Any:
        n = x.shape[0]
        return {n // 32: 1, (n // 16, "a"): x * 2}

    compiled = gj.function(function)
    for n in (5, 3, 7, 64, 65, 0, 1, 300, 7):
        found, wanted = compiled(np.ones(n)), function(np.ones(n))
        assert repr(found) == repr(wanted)
        assert all(key in found for key in wanted)


@pytest.mark.parametrize("join", ["stack", "concatenate", "list", "vstack"])
def test_extents_that_are_equal_for_these_sizes_join(join, monkeypatch):
    """Equal extents can have different texts; a handler would hide that they don't fit."""
    monkeypatch.setattr(gj.config, "symbolic_after", 1)

    def f(x):
        parts = [x[::2][: x.shape[0] // 2], x[1::2]]
        rows = [part.reshape(1, -1) for part in parts]
        try:
            if join == "stack":
                return np.stack(parts)
            if join == "list":
                return np.sum(parts, axis=0)
            return getattr(np, join)(rows)
        except ValueError:
            return x * 0

    jitted = gj.function(f)
    for n in (2, 3, 4, 5, 8, 13, 2, 3, 1, 0):
        x = np.arange(float(n))
        np.testing.assert_array_equal(jitted(x), f(x))


def test_a_product_of_extents_that_is_zero_says_which_is(monkeypatch):
    monkeypatch.setattr(gj.config, "symbolic_after", 1)

    def f(x):
        a = np.cumsum(x, axis=0)
        return np.flip(x), a.sum(axis=0), a.mean(axis=1)

    for first in ((3, 0), (0, 3), (0, 0), (3, 4)):
        jitted = gj.function(f)
        for shape in (first, (3, 4), (3, 0), (0, 5), (7, 2), (0, 0), (1, 1)):
            x = np.ones(shape, np.float32)
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for a, b in zip(jitted(x), f(x), strict=True):
                    np.testing.assert_array_equal(a, b)


def test_quotients_of_quotients_that_are_negative() -> None:
    """`-(-(-(-n // 2)) // 3)` holds the quotient of a negative quotient."""

    def ends(x: Any, y: Any) -> Any:
        n = (y.shape[0] - 3) * y.shape[1]
        half = -(-n // 2)
        return np.concatenate([x, x[: -(-half // 3) : -2]])

    f = gj.function(ends)
    for m, shape in ((8, (8, 4)), (12, (7, 6)), (17, (9, 5)), (30, (8, 8)), (40, (5, 9))):
        x, y = normal((m,)), normal(shape)
        np.testing.assert_array_equal(f(x, y), ends(x, y))
    assert sized(f)
