"""Symbolic extents against ints: every operator, nested two deep, for every small size."""

from __future__ import annotations

import itertools
import math
import operator
import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphjit.core.dims import Dim, Sizes, Undecided, parse_dim
from graphjit.core.errors import LeakedTracerError
from graphjit.core.extents import evaluate, pinned, stretched

SIZES = (0, *range(2, 41))
CONSTANTS = (-3, -1, 0, 1, 2, 3, 5)
LONG = os.environ.get("GRAPHJIT_LONG_TESTS") == "1"

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "//": operator.floordiv,
    "%": operator.mod, "min": min, "max": max, "<<": lambda a, b: a << (abs(b) % 5),
    ">>": lambda a, b: a >> (abs(b) % 5), "&": operator.and_, "|": operator.or_,
    "^": operator.xor, "divmod": lambda a, b: divmod(a, b)[1] + 2 * divmod(a, b)[0],
    "**": lambda a, b: a ** (abs(b) % 4), "==": operator.eq, "!=": operator.ne,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "in a tuple": lambda a, b: a in (4, b, 7), "in a set": lambda a, b: a in {b, 4},
    "get": lambda a, b: {4: 10, b: 20}.get(a, 30), "index": lambda a, b: [7, b, a].index(a),
    "and": lambda a, b: a and b, "slice": lambda a, b: len(range(40)[slice(a, b)]),
}  # fmt: skip
UNARY: dict[str, Callable[[Any], Any]] = {
    "-": operator.neg, "+": operator.pos, "~": operator.invert, "abs": abs,
    "not": operator.not_,
    "bool": bool,
    "int": int, "hash": hash, "index": operator.index, "round": round,
    "round to tens": lambda a: round(a, -1), "floor": math.floor, "ceil": math.ceil,
    "bits": lambda a: a.bit_length(), "real": lambda a: a.real + a.imag,
    "isinstance": lambda a: isinstance(a, int) and not isinstance(a, bool),
    "text": lambda a: len(f"{a}{a:03d}") + len(str(a)) + len("%d" % a),  # noqa: UP031
    "of text": lambda a: hash(str(a) + repr(a)), "float": lambda a: float(a) == a,
    "beside floats": lambda a: (a < 4.5, a >= 4.5, a == 4.0, a != 4.5, a > math.inf),
    "beside NumPy's": lambda a: (a == np.int64(4), a < np.float32(4.5), a == 4 + 0j),
    "other types": lambda a: (a is None, a == "4", a == (4,), a != None),  # noqa: E711
    "as a range": lambda a: len(range(a)), "tuple": lambda a: hash((a, 2)),
}  # fmt: skip


def value_of(result: Any, values: dict[str, int]) -> Any:
    if isinstance(result, tuple):
        return tuple(value_of(item, values) for item in result)
    return evaluate(result, values)


def attempt(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except (ZeroDivisionError, ValueError, OverflowError) as error:
        return type(error)


def check(action: Callable[..., Any], hints: tuple[int, ...]) -> None:
    """That what an expression gives while it is traced for `hints` is what it gives for all
    sizes that its guards let in, and that these are among them.
    """
    names = [f"n{k}" for k in range(len(hints))]
    sizes = Sizes()
    dims = [sizes.symbol(name, hint) for name, hint in zip(names, hints, strict=True)]
    sizes.recording = True
    result = attempt(lambda: action(*dims))
    guards = list(sizes.guards)
    sizes.recording = False
    seen = 0
    others = SIZES if len(hints) == 1 else (0, 2, 3, 4, 5, 7, 9, 12, 40)
    for found in itertools.product(others, repeat=len(hints)):
        values = dict(zip(names, found, strict=True))
        if not all(guard.holds(values) for guard in guards):
            assert found != hints, "the sizes at hand don't fulfil the guards"
            continue
        seen += 1
        expected = attempt(lambda f=found: action(*f))
        actual = value_of(result, values) if not isinstance(result, type) else result
        assert actual == expected and type(actual) is type(expected), (values, guards)
        for dim in (result,) if type(result) is Dim else ():
            low, high = dim.bounds()
            assert low <= expected <= high, (values, dim, low, high)
            assert evaluate(pinned(dim), values) == expected
            assert evaluate(parse_dim(dim.text), values) == expected
    assert seen


def expressions(deep: bool) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every operator on a size and a number, either way round, and every operator on these."""
    first: list[tuple[str, Callable[..., Any]]] = []
    for (name, f), c in itertools.product(BINARY.items(), CONSTANTS):
        first.append((f"n {name} {c}", lambda n, f=f, c=c: f(n, c)))
        first.append((f"{c} {name} n", lambda n, f=f, c=c: f(c, n)))
    first += [(f"{name} n", lambda n, f=f: f(n)) for name, f in UNARY.items()]
    yield from first
    if not deep:
        return
    whole = [e for e in first if all(type(attempt(lambda e=e, v=v: e[1](v))) is not tuple
                                     for v in (0, 2, 5))]  # fmt: skip
    for (inner, g), (name, f), c in itertools.product(whole, BINARY.items(), (-2, 0, 1, 3)):
        yield f"({inner}) {name} {c}", lambda n, f=f, g=g, c=c: f(g(n), c)
        yield f"{c} {name} ({inner})", lambda n, f=f, g=g, c=c: f(c, g(n))
        yield f"({inner}) {name} n", lambda n, f=f, g=g: f(g(n), n)
    for (inner, g), (name, f) in itertools.product(whole, UNARY.items()):
        yield f"{name} ({inner})", lambda n, f=f, g=g: f(g(n))


HINTS = (0, 2, 3, 7, 12, 40)


@pytest.mark.parametrize("hint", HINTS)
def test_every_operator_on_sizes_and_numbers(hint: int) -> None:
    for name, action in expressions(deep=False):
        try:
            check(action, (hint,))
        except AssertionError as error:
            raise AssertionError(f"{name} for {hint}: {error}") from error


@pytest.mark.parametrize("part", range(8))
def test_operators_nested_two_deep(part: int) -> None:
    """All of them with GRAPHJIT_LONG_TESTS=1, else some that are the same each time."""
    chosen = list(expressions(deep=True))[part::8]
    if not LONG:
        chosen = random.Random(part).sample(chosen, 400)
    for number, (name, action) in enumerate(chosen):
        for hint in HINTS if LONG else (HINTS[number % len(HINTS)],):
            try:
                check(action, (hint,))
            except AssertionError as error:
                raise AssertionError(f"{name} for {hint}: {error}") from error


TREES = st.recursive(
    st.sampled_from(["n", "m", *CONSTANTS]),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(sorted(BINARY)), inner, inner),
        st.tuples(st.sampled_from(["-", "+", "~", "abs", "floor", "bits"]), inner),
    ),
    max_leaves=8,
)


def run_tree(tree: Any, n: Any, m: Any) -> Any:
    match tree:
        case "n":
            return n
        case "m":
            return m
        case (name, left, right):
            a, b = run_tree(left, n, m), run_tree(right, n, m)
            if name == "<<" and abs(int(a) if not isinstance(a, Dim) else 0) > 2**40:
                return a
            return BINARY[name](a, b)
        case (name, inner):
            return UNARY[name](run_tree(inner, n, m))
    return tree


@given(TREES, st.sampled_from([0, 2, 3, 5, 9, 12]), st.sampled_from([0, 2, 4, 7, 9, 40]))
@settings(max_examples=2000 if LONG else 400, deadline=None)
def test_random_programs_of_two_sizes(tree: Any, n: int, m: int) -> None:
    check(lambda a, b: run_tree(tree, a, b), (n, m))


@given(
    st.lists(st.tuples(TREES, st.sampled_from(["==", "!=", ">="])), min_size=1, max_size=4),
    TREES,
    st.sampled_from([0, 2, 3, 5, 12]),
    st.sampled_from([0, 2, 3, 7, 40]),
)
@settings(max_examples=2000 if LONG else 300, deadline=None)
def test_what_follows_from_guards(asked: Any, tree: Any, n: int, m: int) -> None:
    """After any questions, everything that is still answered is answered rightly."""

    def action(a: Any, b: Any) -> Any:
        for question, relation in asked:
            left = run_tree(question, a, b)
            {"==": operator.eq, "!=": operator.ne, ">=": operator.ge}[relation](left, 0)
        return run_tree(tree, a, b)

    check(action, (n, m))


def test_equal_floors_have_one_name() -> None:
    sizes = Sizes()
    n = sizes.symbol("n0", 9)
    assert str(-(-n // 3)) == str((n + 2) // 3) == "((n0 + 2) // 3)"
    assert str(n // 2 // 3) == "((n0) // 6)" and str((4 * n + 3) // 8) == "((n0) // 2)"
    assert str(5 * n // 3) == "((2*n0) // 3) + n0"
    assert (n // 4) * 4 + n % 4 == n


def test_what_guards_fix_is_a_number() -> None:
    sizes = Sizes()
    n, m = sizes.symbol("n0", 3), sizes.symbol("n1", 2)
    floor, apart = n // 4, n - m
    sizes.recording = True
    assert n < 4 and apart == 1
    sizes.recording = False
    assert pinned(floor) == 0 and type(pinned(floor)) is int
    assert pinned(apart) == 1 and pinned(apart * 5 + floor) == 5
    assert int(apart) == 1 and not apart - 1


def test_broadcasting_is_asked_for_once() -> None:
    sizes = Sizes()
    n, m = sizes.symbol("n0", 8), sizes.symbol("n1", 4)
    assert stretched(1, n) and not stretched(n, n) and not stretched(1, 1)
    with pytest.raises(Undecided):
        stretched(n // 2, m)
    sizes.recording = True
    assert n // 2 == m
    sizes.recording = False
    assert not stretched(n // 2, m)


def test_an_extent_of_another_trace_is_an_error() -> None:
    ours, theirs = Sizes(), Sizes()
    n, m = ours.symbol("n0", 5), theirs.symbol("n0", 5)
    ours.recording = True
    for action in (lambda: n + m, lambda: n < m, lambda: n * m):
        with pytest.raises(LeakedTracerError, match="another trace"):
            action()


def test_attributes_are_those_of_an_int() -> None:
    sizes = Sizes()
    n = sizes.symbol("n0", 6)
    assert not hasattr(n, "shape") and not hasattr(n, "tolist")
    sizes.recording = True
    assert n.numerator == 6 and n.as_integer_ratio() == (6, 1) and n.to_bytes(1, "big")
    assert [str(guard) for guard in sizes.guards] == ["n0 - 6 == 0"]
