"""Where the ways of branches meet: code that runs both, one after the other."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphjit.capture.code import decode
from graphjit.capture.hooks import AGAIN, Hooks
from graphjit.capture.instrument import instrument, instrumented
from graphjit.capture.joins import find_joins
from graphjit.tracing.loop_tests import set_locals


class Unknown:
    """A value of which only the hooks know whether it is true."""

    def __init__(self, value: Any) -> None:
        self.value = bool(value)

    def __bool__(self) -> bool:
        raise AssertionError("the ways of this branch don't join")


class First:
    def __init__(self, outcome: bool) -> None:
        self.outcome = outcome

    def __bool__(self) -> bool:
        return self.outcome


class BothWays(Hooks):
    """Both ways of each branch on an Unknown are run, and what the right one leaves is kept."""

    def __init__(self) -> None:
        self.open: list[list[Any]] = []
        self.count = 0

    def test_joined(self, given: Any, number: int, first: bool) -> Any:
        value, kept = given
        if not isinstance(value, Unknown):
            return value
        frame = sys._getframe(1)
        self.count += 1
        self.open.append(
            [frame, number, value.value is first, dict(frame.f_locals), kept, None]
        )
        return First(first)

    def kept_below(self, number: int) -> Any:
        return self.open[-1][-2]

    def at_join(self, number: int) -> bool:
        return self._meet(number, sys._getframe(1), None) is AGAIN

    def at_join_with(self, value: Any, number: int) -> Any:
        return self._meet(number, sys._getframe(1), value)

    def _meet(self, number: int, frame: Any, value: Any) -> Any:
        if not self.open or self.open[-1][0] is not frame or self.open[-1][1] != number:
            return value
        entry = self.open[-1]
        *_, is_first, before, _, after = entry
        if after is None:
            entry[-1] = dict(frame.f_locals), value
            set_locals(frame, before)
            return AGAIN
        self.open.pop()
        if is_first:
            set_locals(frame, after[0])
            return after[1]
        return value


def choose(a: Any, b: Any, c: Any) -> Any:
    found = 1 if a else 2
    if b:
        found += 10
        if c:
            found += 100
        elif a:
            found += 1000
        else:
            found = -found
    if a and (b or not_(c)):
        found *= 2
    else:
        found *= 3
    more = 5 if b else (7 if c else 9)
    return found + more


def early(a: Any, b: Any, c: Any) -> Any:
    x = 3
    if a:
        return x
    if b:
        x = x + 1
        if c:
            return None
    y = (1, 2) if c else ()
    return x, y


def loops(a: Any, b: Any, c: Any) -> Any:
    total, seen = 0, ()
    for k in range(6):
        if a:
            total += k
        if b:
            continue
        t = k * (2 if c else 3)
        seen += (t,)
        if a:
            for j in range(k):
                if c:
                    total -= j
                    continue
                total += 2 * j
        total += t
    try:
        with Nothing():
            if c:
                total = 1 // (total - total) if total < -(10**6) else total
            total += 1
    finally:
        total += 5 if b else 6
    return total, seen, [k if a else -k for k in range(3)]


def not_(value: Any) -> Any:
    return Unknown(not value.value) if isinstance(value, Unknown) else not value


class Nothing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def hooked(function: Callable[..., Any], hooks: Hooks) -> Callable[..., Any]:
    assert isinstance(function, types.FunctionType)
    return instrumented(function, instrument(function.__code__, hooks, nested=True))


@pytest.mark.parametrize("function", [choose, early, loops])
@pytest.mark.parametrize("bits", range(8))
def test_both_ways_are_run(function: Any, bits: int) -> None:
    values = [bool(bits & 1 << k) for k in range(3)]
    hooks = BothWays()
    # `b` and `c` decide about loops and returns that don't join, and stay as they are
    unknown = [Unknown(v) for v in values]
    if function is loops:
        unknown[1] = values[1]
    assert hooked(function, hooks)(*unknown) == function(*values)
    assert hooks.count and not hooks.open


def statements(draw: Any, depth: int) -> list[str]:
    found = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.integers(0, 7 if depth < 3 else 1))
        a, b = draw(st.sampled_from("xyz")), draw(st.sampled_from("xyz"))
        test = draw(st.sampled_from(["p", "q", "r", "p and q", "q or r", "p and (q or r)"]))
        inner = ["    " + line for line in statements(draw, depth + 1)] if kind > 1 else []
        if kind == 0:
            found.append(f"{a} = {b} * 3 + {draw(st.integers(0, 9))}")
        elif kind == 1:
            found.append(f"{a} = ({a} + 1 if {test} else {b} - 1) % 1000")
        elif kind in (2, 3):
            found += [f"if {test}:", *inner]
        elif kind == 4:
            other = ["    " + line for line in statements(draw, depth + 1)]
            found += [f"if {test}:", *inner, "else:", *other]
        elif kind == 5:
            found += [f"for _ in range({draw(st.integers(0, 3))}):", *inner]
        elif kind == 6:
            found += ["try:", *inner, "finally:", f"    {a} += 1"]
        else:
            found += [f"if {test}:", *inner, f"    return {a}, {b}"]
    return found


@given(st.data())
@settings(max_examples=150)
def test_random_code(data: Any) -> None:
    body = "\n    ".join(statements(data.draw, 0))
    space: dict[str, Any] = {}
    exec(f"def f(p, q, r, x, y, z):\n    {body}\n    return x, y, z", space)
    values = data.draw(st.tuples(*[st.booleans()] * 3))
    hooks = BothWays()
    both = hooked(space["f"], hooks)
    found = both(*map(Unknown, values), 1, 2, 3) if all_join(space["f"]) else None
    if found is not None:
        assert found == space["f"](*values, 1, 2, 3), body
        assert not hooks.open
    assert hooked(space["f"], Hooks())(*values, 1, 2, 3) == space["f"](*values, 1, 2, 3)


def all_join(function: Any) -> bool:
    """Whether each branch of a function is one whose ways meet in a known way."""
    import dis

    decoded = decode(function.__code__)
    branches = {
        number
        for number, op in enumerate(decoded.ops)
        if "IF_TRUE" in dis.opname[op] or "IF_FALSE" in dis.opname[op]
    }
    return branches == {join.branch for join in find_joins(function.__code__, decoded)}


def test_no_joins_where_ways_change_what_lies_on_the_stack() -> None:
    def f(x: Any, y: Any, z: Any) -> Any:
        both = [k for k in (1, 2) if x]  # appends to a list on the stack
        return max(y, *([z] if x else both)), both

    assert all(not join.below for join in find_joins(f.__code__, decode(f.__code__)))
