"""Branches whose ways are both compiled, against the undecorated functions."""

from __future__ import annotations

import itertools
import random
import warnings
from typing import Any

import numpy as np
import pytest
from decorated_checks import outcome, same
from hypothesis import given, settings
from hypothesis import strategies as st

import graphjit as gj
from graphjit.jit import specializer

SIGNS = [np.array(x) for x in itertools.product((-1.0, 1.0), repeat=8)]


def agree(function: Any, *calls: Any, traces: int = 1) -> Any:
    """Calls give what undecorated ones do, in compiled code, of so many traces at most."""
    decorated = gj.function(function)
    for arguments in calls:
        ours = [x.copy() if isinstance(x, np.ndarray) else x for x in arguments]
        plain = [x.copy() if isinstance(x, np.ndarray) else x for x in arguments]
        same((outcome(decorated, ours), ours), (outcome(function, plain), plain))
    assert not [s.reason for s in decorated.specializations if s.reason]
    assert decorated.trace_count <= traces
    return decorated


def turns(x: Any) -> Any:
    total, count, last = 0.0, 0, -1
    for i in range(len(x)):
        if x[i] > 0.5:
            total += x[i]
        elif x[i] < -0.5:
            count += 1
        else:
            total -= 1.0
            last = i
        scale = 2.0 if x[i] > 0 else 3.0
        if -1.0 < total <= 5.0 and x[i] != 0:
            total = total * scale
        if i + 1 < len(x):
            x[i + 1] += 0.01 * total
            if i > 0 and x[i - 1] > 1:
                x[i - 1] = 1.0
    return total, count, last, x


def test_many_branches_in_a_turn() -> None:
    draw = np.random.default_rng(0)
    agree(turns, *[(draw.normal(size=150),) for _ in range(4)])


def test_early_returns_of_a_helper() -> None:
    def at(x: Any, i: int) -> Any:
        if i < 0:
            return x[0]
        if i >= len(x):
            return x[len(x) - 1]
        if x[i] > 1:
            return x[i] * 2
        return x[i]

    def f(x: Any, k: int) -> Any:
        total = 0.0
        for i in range(len(x) + 6):
            total += at(x, i - k) * (i + 1)
        return total

    draw = np.random.default_rng(1)
    agree(f, *[(draw.normal(size=200), np.int64(k)) for k in (3, 0, 6, 3)], traces=3)


def test_paths_join_after_some() -> None:
    def f(x: Any) -> Any:
        t = 0.0
        if x[0] > 0:
            t += 1
        else:
            t -= 2
        if x[1] > 0:
            t *= 3
        y = x * 2
        if x[2] > 0:
            y = y + 1
            if x[3] > 0:
                y = y * 2
            elif x[4] > 0:
                t = t + 5
        if (x[5] > 0 and x[6] > 0) or x[7] > 0:
            y = y - t
        return y * t, t

    agree(f, *[(x,) for x in SIGNS], traces=specializer.MAX_PATHS_APART + 1)


def test_more_branches_than_a_path_may_have() -> None:
    def f(x: Any) -> Any:
        found = 0
        for i in range(8):
            for j in range(i):
                if 0 <= x[i] * x[j] < 2 and not x[i] < 0:
                    found += i + j
                    x[j] += 0.25
        return found, x

    agree(f, *[(x,) for x in SIGNS[::7]])


def test_what_cannot_be_joined_stays_a_path() -> None:
    seen: dict[str, Any] = {}
    kept: list[Any] = []

    def stores(x: Any) -> Any:
        if x[0] > 0:
            seen["a"] = float(x[1])
        if x[1] > 0:
            kept.append(1)
        return x.sum()

    def other_types(x: Any) -> Any:
        y = 1 if x[0] > 0 else "one"
        z = x if x[1] > 0 else x * 2
        if x[2] > 0:
            del y
            y = None
        return y, z

    for f in (stores, other_types):
        decorated = gj.function(f)
        for x in SIGNS[:: 32 if f is stores else 16] * 2:
            seen.clear()
            kept.clear()
            ours, held = decorated(x), (dict(seen), list(kept))
            seen.clear()
            kept.clear()
            same(ours, f(x))
            assert held == (seen, kept)


@pytest.mark.filterwarnings("ignore")
def test_an_array_stays_the_array_that_it_is() -> None:
    def f(x: Any, y: Any) -> Any:
        z = x * 2
        alias = z
        for i in range(6):
            if y[i] > 0:
                z = z + 1
        z[0] = 100.0  # in `alias`, too, where no way made another array
        return z, alias, z is alias

    decorated = gj.function(f)
    for y in (*SIGNS[::31], -np.ones(8)):
        same(decorated(np.arange(3.0), y), f(np.arange(3.0), y))


def test_a_variable_that_only_one_way_sets() -> None:
    def f(x: Any) -> Any:
        for i in range(8):
            if x[i] > 0:
                found = i * 1.5
            if x[i] > 0 and i % 2:
                x[i] = found
        return x, found

    decorated = gj.function(f)
    for x in (*SIGNS[::13], -np.ones(8)):
        same(outcome(decorated, (x.copy(),)), outcome(f, (x.copy(),)))


def test_errors_in_one_way() -> None:
    def f(x: Any) -> Any:
        total = 0.0
        for i in range(8):
            if x[i] > 0:
                if i == 5 and x[6] < 0:
                    raise ValueError(f"at {i}")
                total += x[i]
            elif x[7] > 0 and i > 6:
                raise KeyError("seven")
        return total

    decorated = gj.function(f)
    for x in SIGNS:
        same(outcome(decorated, (x,)), outcome(f, (x,)))


def test_what_is_divided_in_a_way_that_is_not_gone() -> None:
    def f(x: Any, n: Any) -> Any:
        found = 0
        for i in range(200):
            k = int(x[i % 8])
            if k != 0:
                found += n // k
            if k > 0 and i < len(x):
                x[i] = x[i - k]
        return found, x

    agree(f, *[(x, np.int64(7)) for x in (SIGNS[3], np.zeros(8), np.arange(8.0))], traces=3)


def test_errors_in_a_way_that_no_call_goes() -> None:
    def f(x: Any) -> Any:
        t = 0.0
        for k in range(8):
            if x[k] > 0:
                t += x[k]
            elif x[k] < -5:
                t += x[9 + k]  # there is none
            else:
                t -= 1
        if x.sum() > 100:
            return x[77]
        return t

    agree(f, *[(x,) for x in SIGNS[::7]], traces=specializer.MAX_PATHS_APART)


def test_effects_in_a_way(capsys: pytest.CaptureFixture[str]) -> None:
    def prints(x: Any) -> Any:
        for k in range(8):
            if x[k] > 0:
                print(k)
        return x.sum()

    def draws(x: Any, generator: Any) -> Any:
        t = 0.0
        if x[0] > 0:
            t += generator.normal()
        if x[1] > 0:
            t += generator.normal()
        if x[2] > 0:
            t += 1
        return t

    for f in (prints, draws):
        decorated, found = gj.function(f), []
        for function in (f, decorated):
            generator = np.random.default_rng(7)
            more = (generator,) if f is draws else ()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.append([function(x, *more) for x in SIGNS[::7]])
            found.append(capsys.readouterr().out)
        assert found[:2] == found[2:]


# -- random code

TESTS = (
    "v[{i}] > 1", "a < b", "0 < v[{i}] < 2", "k % 3 == 1", "not a > b", "w[{i}] < v[{j}]",
    "a > 0 and v[{i}] > 0", "b < 1 or k > 2", "-1 <= a <= 1 and b > 0", "v[{i}] > 0 > w[{j}]",
)  # fmt: skip
STATEMENTS = (
    "a = v[{i}] + b", "b = a * 0.5", "k = (k + 1) % 7", "v[{i}] = a", "w[{i}] += v[{j}]",
    "a = 1.5 if {t} else b", "k = k + 1 if {t} else 0", "v[:2] = w[1:3]", "a, b = b, a",
    "p = w * 0.5", "p = p + v", "b = pick(v, k)", "a = float(k)", "b = max(a, b) - 1.0",
    "p[0] = b", "a = p[{i}]", "b = (a if {t} else b) * 0.5", "w = w + 0.25",
)  # fmt: skip


def code(draw: random.Random) -> str:
    def filled(text: str) -> str:
        places = [draw.choice(["0", "1", "-1", "k % 4", "2"]) for _ in range(2)]
        test = draw.choice(TESTS) if "{t}" in text else ""
        test = test.format(i=places[1], j=places[0])
        return text.format(i=places[0], j=places[1], t=test)

    def block(depth: int, indent: str) -> list[str]:
        lines = []
        for _ in range(draw.randint(1, 3)):
            kind = draw.randint(0, 9) if depth < 3 else 0
            if kind < 5:
                lines.append(indent + filled(draw.choice(STATEMENTS)))
                continue
            inner = block(depth + 1, indent + "    ")
            if kind < 8:
                lines += [f"{indent}if {filled(draw.choice(TESTS))}:", *inner]
                if draw.random() < 0.5:
                    lines += [f"{indent}else:", *block(depth + 1, indent + "    ")]
            elif kind == 8:
                lines += [
                    f"{indent}for n in range({draw.choice(['2', '3', 'k % 3'])}):",
                    *inner,
                ]
                if draw.random() < 0.3:
                    more = draw.choice(["break", "continue"])
                    lines += [f"{indent}    if {filled(draw.choice(TESTS))}:"]
                    lines += [f"{indent}        {more}", f"{indent}    b = b * 0.5"]
            else:
                lines += [f"{indent}if {filled(draw.choice(TESTS))}:", *inner]
                lines.append(f"{indent}    return a, v")
        return lines

    turn = draw.random() < 0.5
    lines = ["def f(a, b, k, v, w):", "    p = v * 2.0"]
    if turn:
        lines += ["    for t in range(140):", *block(1, "        "), "        a = a * 0.5"]
    else:
        for _ in range(3):
            lines += block(0, "    ")
    lines += ["    return a, b, k, v, w, p"]
    helper = [
        "def pick(x, k):", "    if k > 3:", "        return x[0] * 0.5", "    if x[1] > 1:",
        "        return x[1] - 1.0", "    return x[k % 4]",
    ]  # fmt: skip
    return "\n".join([*helper, "", *lines])


def check(seed: int, joins: bool) -> None:
    draw = random.Random(seed)
    source = code(draw)
    space: dict[str, Any] = {}
    exec(compile(source, f"<joined {seed}>", "exec"), space)
    decorated = gj.function(space["f"])
    if joins:
        decorated._definition.joins_paths = {False: True, True: True}
    numbers = np.random.default_rng(seed)
    for _ in range(5):
        size = int(numbers.integers(4, 6))
        given = [
            float(numbers.normal()), np.float64(numbers.normal()), int(numbers.integers(7)),
            numbers.normal(size=size) * 2, numbers.normal(size=size) * 2,
        ]  # fmt: skip
        ours = [x.copy() if isinstance(x, np.ndarray) else x for x in given]
        found = outcome(decorated, ours), ours
        plain = [x.copy() if isinstance(x, np.ndarray) else x for x in given]
        same(found, (outcome(space["f"], plain), plain), source, 1e-9)


@given(st.integers(0, 10**9), st.booleans())
@settings(max_examples=25)
@pytest.mark.filterwarnings("ignore")
def test_random_code(seed: int, joins: bool) -> None:
    check(seed, joins)
