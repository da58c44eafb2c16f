"""What loops carry besides numbers and arrays of one type: numbers that are Python's or
NumPy's, tuples, lists that grow, arrays of unknown length.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from decorated_checks import agree, outcome, same

import graphjit as gj
import graphjit.tracing.python_loops as python_loops

DRAW = np.random.default_rng(0)
VECTORS = [(DRAW.normal(size=n),) for n in (9, 9, 9, 5)] + [(-np.ones(4),)]


@pytest.fixture(params=["usual", "always"], autouse=True)
def nodes(request: Any, monkeypatch: Any) -> None:
    """Short loops are written out, or are nodes, too."""
    if request.param == "always":
        monkeypatch.setattr(python_loops, "MAX_TURNS", 2)
        monkeypatch.setattr(python_loops, "MAX_NODES", 0)


def least(x: Any) -> Any:
    best = np.inf
    for v in x:
        if v < best:
            best = v
    return best


def greatest(x: Any) -> Any:
    best = 0.0
    for i in range(len(x)):
        best = max(best, x[i])
    return best


def triangle(x: Any) -> Any:
    total = 0
    for i in range(len(x)):
        row = 0
        for j in range(i):
            row += x[j] * x[i]
        total += row
    return total


def forward_substitution(x: Any) -> Any:
    n = len(x)
    a, y = np.tril(np.outer(x, x)) + 9 * np.eye(n), np.zeros(n)
    for i in range(n):
        s = 0.0
        for j in range(i):
            s += a[i, j] * y[j]
        y[i] = (x[i] - s) / a[i, i]
    return y


def trades(x: Any) -> Any:
    cash, hold = 0.0, -x[0]
    for price in x:
        cash = max(cash, hold + price - 0.1)
        hold = max(hold, cash - price)
    return cash


def computed_with_both(x: Any) -> Any:
    m, n = max(1.0, x[0]), max(0, x[1])
    return x / m, np.sqrt(m), m + 1, m < 2, m * m, int(m), 3 / m, n * 2.0, abs(m - 1), -m


def divided(x: Any) -> Any:
    m = max(0.0, x[0])
    return 1.0 / m


def best_place(x: Any) -> Any:
    best, place = -1.0, -1
    for i in range(len(x)):
        if x[i] > best:
            best, place = x[i], i
    return best, place, best * 2


def best_pair(x: Any) -> Any:
    best = (-1, 0.0)
    for i in range(len(x)):
        if x[i] > best[1]:
            best = (i, x[i])
    return best


MIXED = [
    least, greatest, triangle, forward_substitution, trades, computed_with_both, best_place,
    best_pair, lambda x: (max(0, x[0]), min(x[1], 1.0), max(0.5, float(x[0]))),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(MIXED)))
def test_numbers_of_two_kinds(number: int) -> None:
    agree(MIXED[number], *VECTORS, tolerance=1e-12)


def test_what_the_kind_of_a_number_decides() -> None:
    decorated = gj.function(divided)
    for _ in range(2):
        for (x,) in VECTORS:
            found, wanted = outcome(decorated, (x,)), outcome(divided, (x,))
            same(found, wanted)


def kept(x: Any) -> Any:
    out = []
    for v in x:
        if v > 0:
            out.append(v * 2)
    return out, len(out), out[::-1], out[1:3]


def kept_floats(x: Any) -> Any:
    out = []
    for i in range(len(x)):
        if x[i] > 0:
            out.append(float(x[i]))
    if len(out) == 0:
        return None
    return out, max(out), min(out), sum(out), np.mean(out), np.array(out)


def kept_ints(x: Any) -> Any:
    out = []
    for i in range(len(x)):
        if x[i] > 0:
            out.append(i)
    return out, sum(out), max(out) if out else -1


def history(x: Any) -> Any:
    x = np.abs(x)
    out = [x.sum()]
    while out[-1] > 1e-3:
        x = x * 0.5
        out.append(x.sum())
    return x, np.array(out)


def until_it_falls(x: Any) -> Any:
    a, out = 1.0, []
    for _ in range(30):
        a = a * 0.9 + x[0] * 0.1
        out.append(float(a))
        if a < 0.5:
            break
    return out, out[-1]


def edges(x: Any) -> Any:
    found = []
    for i in range(len(x)):
        for j in range(i):
            if x[i] > x[j]:
                found.append((i, j, x[i] - x[j]))
    return found


def edges_as_array(x: Any) -> Any:
    found = []
    for i in range(len(x)):
        for j in range(i):
            if x[i] > x[j]:
                found.append((i, j))
    return np.array(found).reshape(-1, 2), len(found)


def path(x: Any) -> Any:
    out = [x * 1]
    for _ in range(20):
        x = x * 0.9
        out.append(x)
        if x.sum() < 0.5:
            break
    return np.array(out), out, out[-1].sum()


def taken_again(x: Any) -> Any:
    stack, total = [0.0], 0.0
    for v in x:
        if v > 0:
            stack.append(float(v))
        elif len(stack) > 1:
            total += stack.pop()
    return stack, total


def gone_through(x: Any) -> Any:
    out, total = [], 0.0
    for v in x:
        if v > 0:
            out.append(v)
    for v in out:
        total += v
    return total


LISTS = [
    kept, kept_floats, kept_ints, history, until_it_falls, edges, edges_as_array, path,
    taken_again, gone_through,
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(LISTS)))
def test_lists_that_grow(number: int) -> None:
    agree(LISTS[number], *VECTORS, tolerance=1e-12)


def changed_after_it_was_added(x: Any) -> Any:
    out, y = [], x.copy()
    for i in range(len(x)):
        out.append(y)
        y[i] = 0
        if y.sum() > 1:
            break
    return out


def known_by_two_names(x: Any) -> Any:
    out = []
    other = out
    for v in x:
        if v > 0:
            out.append(v)
    return out, other


def held_by_another(x: Any) -> Any:
    out = []
    held = {"out": out}
    for v in x:
        if v > 0:
            out.append(v)
    return held


def of_several_types(x: Any) -> Any:
    out = []
    for i in range(len(x)):
        out.append(x[i] if x[i] > 0 else "none")
    return out


def of_a_caller(x: Any) -> Any:
    def fill(values: Any) -> None:
        for v in x:
            if v > 0:
                values.append(v)

    out: list[Any] = []
    fill(out)
    return out


@pytest.mark.parametrize(
    "function",
    [
        changed_after_it_was_added, known_by_two_names, held_by_another, of_several_types,
        of_a_caller,
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
def test_lists_that_others_know(function: Callable[..., Any]) -> None:
    decorated = gj.function(function)
    for _ in range(2):
        for (x,) in VECTORS:
            found, wanted = decorated(x.copy()), function(x.copy())
            same(found, wanted)
            if isinstance(wanted, tuple):
                assert found[0] is found[1]


def test_a_list_for_which_there_is_no_room_gets_more() -> None:
    def f(x: Any, n: Any) -> Any:
        out, i = [], 0
        while i < n[0]:
            out.append(x[i % 3] * 2)
            i += 1
        return np.array(out)

    decorated, x = gj.function(f, fallback="error"), np.arange(3.0)
    for n in (10, 1500, 20000, 20000, 20001, 7):
        for _ in range(2):
            same(decorated(x, np.array([n])), f(x, np.array([n])))
    assert decorated.trace_count <= 5


def shrinking(x: Any) -> Any:
    y, turns = x[x > -0.5], 0
    while len(y) > 1 and turns < 5:
        y = y[y >= y.mean()]
        turns += 1
    return turns, y


def test_arrays_of_unknown_length_are_carried() -> None:
    agree(shrinking, *VECTORS, tolerance=1e-12)


def refused_entry(x: Any) -> Any:
    total = 0.0
    for i in range(len(x)):
        if x[i] > 1.2:
            raise ValueError(f"bad {i}: {x[i]}")
        total += x[i]
    return total


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
def test_texts_of_what_is_raised_are_pythons() -> None:
    decorated = gj.function(refused_entry)
    calm = [(np.minimum(x, 1.0),) for (x,) in VECTORS]
    for (x,) in calm:
        same(decorated(x), refused_entry(x), tolerance=1e-12)
    assert not any(s.reason for s in decorated.specializations)
    for x in (np.array([0.5, 2.5]), np.array([0.1] * 8 + [1.5])):
        with pytest.raises(ValueError, match="bad") as wanted:
            refused_entry(x)
        with pytest.raises(ValueError, match="bad") as found:
            decorated(x)
        assert str(found.value) == str(wanted.value)


def roots(x: Any) -> Any:
    total = 0.0
    for k in range(len(x)):
        try:
            total += math.sqrt(x[k])
        except ValueError:
            total -= 1
    return total


def by_an_index(x: Any) -> Any:
    try:
        return x[int(x[0] * 3)] + 1
    except IndexError:
        return -1.0


def inverse(x: Any) -> Any:
    try:
        return np.linalg.inv(np.outer(x, x) * (x[0] > 0) + np.eye(len(x)) * (x[0] < 0.3))
    except np.linalg.LinAlgError:
        return None


@pytest.mark.parametrize("function", [roots, by_an_index, inverse])
def test_errors_that_the_function_handles(function: Callable[..., Any]) -> None:
    agree(function, *VECTORS, tolerance=1e-9)


def carried_and_written(x: Any) -> Any:
    y = x * 1
    for i in range(len(x)):
        y[i] = y.sum()
        y = y * 0.5
    return y


def carried_and_known_to_a_list(x: Any) -> Any:
    y = x * 1
    held = [y]
    for i in range(len(x)):
        y[i] = y.sum()
        y = y * 0.5
    return y, held[0]


def carried_and_known_by_a_view(x: Any) -> Any:
    y = x * 1
    part = y[1:]
    for i in range(len(x)):
        y[i] = y.sum()
        y = y * 0.5
    return y, part


def exchanged(x: Any) -> Any:
    y, p = x.copy(), x * 2
    for i in range(len(x)):
        y[i] = 1
        p[i] = y.sum()
        y, p = p, y * 0.5
    return y, p


def one_array_again_and_again(x: Any) -> Any:
    out, y = [], np.zeros(2)
    for v in x:
        y[0] += v
        out.append(y)
    return np.array(out)


def new_arrays(x: Any) -> Any:
    out = []
    for v in x:
        y = np.zeros(2)
        y[0] = v
        out.append(y)
    return np.array(out)


def rows_of_one_array(x: Any) -> Any:
    out, y = [], np.zeros((3, 2))
    for i in range(len(x)):
        y[0] = x[i]
        out.append(y[0])
    return np.array(out)


@pytest.mark.parametrize(
    "function",
    [
        carried_and_written, carried_and_known_to_a_list, carried_and_known_by_a_view,
        exchanged, one_array_again_and_again, new_arrays, rows_of_one_array,
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
def test_arrays_that_turns_write_into(function: Callable[..., Any]) -> None:
    decorated = gj.function(function)
    for _ in range(2):
        for (x,) in VECTORS:
            same(decorated(x.copy()), function(x.copy()), tolerance=1e-12)


def moved_by_the_greatest(x: Any) -> Any:
    y, m = x.copy(), max(0.0, x[0])
    z = y
    y += m
    y[1:] *= max(1.0, x[1])
    for v in x:
        y += min(0.0, v)
    return y, z


def moved_by_what_was_chosen(x: Any) -> Any:
    y = x.copy()
    z = y
    y += x[x > -99]
    y -= x[: int(x[0] * 0) + len(x)][::-1]
    return y, z


@pytest.mark.parametrize("function", [moved_by_the_greatest, moved_by_what_was_chosen])
def test_operators_in_place(function: Callable[..., Any]) -> None:
    agree(function, *VECTORS, tolerance=1e-12)


def read_in_vain(x: Any) -> Any:
    for v in x:
        _ = x[int(abs(v))]
    return 1


def handled_in_vain(x: Any) -> Any:
    try:
        _ = x[int(x[0])]
    except IndexError:
        return "no"
    return 1


def listed_in_vain(x: Any) -> Any:
    out = []
    for v in x:
        out.append(x[int(abs(v))])
    return len(out)


def converted_in_vain(x: Any) -> Any:
    out = []
    for k in range(len(x)):
        out.append(int(1 / (9.0 - x[k])) % 7)
    return 1


@pytest.mark.parametrize(
    "function", [read_in_vain, handled_in_vain, listed_in_vain, converted_in_vain]
)
def test_elements_that_are_not_used(function: Callable[..., Any]) -> None:
    decorated = gj.function(function)
    for _ in range(2):
        for x in ([0.0, 1.0, 1.0, 2.0], [9.0, 1.0, 1.0, 2.0], [0.0, 1.0, 2.0]):
            given = (np.array(x),)
            same(outcome(decorated, given), outcome(function, given))
