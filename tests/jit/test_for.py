"""Python's own `for` loops in traced functions, against the undecorated functions."""

from __future__ import annotations

import warnings
from typing import Any

import for_programs
import numpy as np
import pytest
from decorated_checks import check_decorated, same
from hypothesis import given, settings
from hypothesis import strategies as st

import graphjit as gj
from graphjit.ir.program import Program, RegionCall
from graphjit.passes import program_of
from graphjit.passes.update_in_place import whole_copy
from graphjit.tracing import python_loops

TOLERANCE = 1e-9
DRAW = np.random.default_rng(0)
VECTORS = [DRAW.normal(size=n) for n in (60, 60, 75)]
ABOVE = (0.5, 1.0, 2.5, 50.0, -9.0)


@pytest.fixture
def always_nodes(monkeypatch: Any) -> None:
    """Loops of three turns become nodes."""
    monkeypatch.setattr(python_loops, "MAX_TURNS", 2)
    monkeypatch.setattr(python_loops, "MAX_NODES", 0)


def loops(decorated: Any) -> set[str]:
    """The kinds of control flow in the graphs of a decorated function."""

    def kinds(graph: Any) -> set[str]:
        found = {n.primitive.name for n in graph.nodes if n.regions}
        return found.union(*(kinds(r) for n in graph.nodes for r in n.regions))

    return set().union(*(kinds(s.graph) for s in decorated.specializations if s.graph))


def recurrence(x: Any) -> Any:
    y = np.zeros_like(x)
    for i in range(1, len(x)):
        y[i] = 0.5 * y[i - 1] + x[i]
    return y


def total(x: Any) -> Any:
    s = 0
    for i in range(len(x)):
        s += x[i]
    return s


def heat(u: Any) -> Any:
    for _ in range(100):
        u[1:-1] += 0.1 * (u[2:] - 2 * u[1:-1] + u[:-2])
    return u


def first_above(x: Any, c: Any) -> int:
    for i in range(len(x)):
        if x[i] > c:
            return i
    return -1


def sum_until(x: Any, c: Any) -> Any:
    s = 0.0
    for i in range(len(x)):
        if x[i] > c:
            break
        s += x[i]
    return s, i


def with_else(x: Any, c: Any) -> Any:
    for i in range(len(x)):
        if x[i] > c:
            r = i * 10
            break
    else:
        r = -1
    return r


def sign_of_first(x: Any, c: Any) -> Any:
    for v in x:
        t = 1 if v > 0 else 2  # known on each way
        if abs(v) > c:
            return t
    return 0


def bubble_sort(a: Any) -> Any:
    for _ in range(len(a)):
        for j in range(len(a) - 1):
            if a[j] > a[j + 1]:
                a[j], a[j + 1] = a[j + 1], a[j]
    return a


def product(a: Any, b: Any) -> Any:
    c = np.zeros((a.shape[0], b.shape[1]))
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            s = 0.0
            for k in range(a.shape[1]):
                s += a[i, k] * b[k, j]
            c[i, j] = s
    return c


def euler(v: Any, n: int = 1000) -> Any:
    x = 0.0
    for _ in range(n):
        x = x + 0.01 * v
        v = v - 0.01 * x
    return x, v


def largest_sum(x: Any) -> Any:
    best = current = x[0]
    for i in range(1, len(x)):
        current = max(x[i], current + x[i])
        best = max(best, current)
    return best


def eliminate(a: Any, b: Any) -> Any:
    a, b = a.copy(), b.copy()
    for k in range(len(b)):
        for i in range(k + 1, len(b)):
            f = a[i, k] / a[k, k]
            a[i, :] = a[i, :] - f * a[k, :]
            b[i] -= f * b[k]
    return a, b


def squares(n: int) -> int:
    s = 0
    for i in range(n):
        s += i * i
    return s


def collect(x: Any, n: int) -> Any:
    y = np.zeros(5)
    for i in range(n):
        y[i % 5] += x[i]
    return y


def positive(x: Any) -> Any:
    s = 0.0
    for v in x:
        if v > 0:
            s += v
        else:
            s -= 2 * v
    return s


def scaled(x: Any) -> Any:
    y = x.copy()
    for i, v in enumerate(x, 3):
        y[i - 3] = v * i
    return y


def dot(x: Any) -> Any:
    s = 0.0
    for p, q in zip(x, x[::-1], strict=False):
        s += p * q
    return s


def rows(a: Any) -> Any:
    s = np.zeros(a.shape[1])
    for row in a:
        s = s + row
        row[0] = 7.0
    return s, a


def horner(x: Any) -> Any:
    t = 0.0
    for i in reversed(range(len(x))):
        t = t * 0.5 + x[i]
    return t


def lower_half(a: Any, k: int) -> Any:
    for i in range(k, len(a)):
        for j in range(i):
            a[i, j] = a[j, i]
    return a


def settle(grid: Any) -> Any:
    turns = 0
    while True:
        unstable = grid >= 4
        if not unstable.any():
            break
        share = grid // 4
        share[~unstable] = 0
        turns += int(share.sum())
        grid -= 4 * share
        grid[1:] += share[:-1]
        grid[:-1] += share[1:]
    return turns, grid


def distance(a: Any, b: Any) -> Any:
    table = np.zeros((len(a) + 1, len(b) + 1), np.int64)
    for i in range(len(a) + 1):
        table[i, 0] = i
    for j in range(len(b) + 1):
        table[0, j] = j
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            least = min(table[i - 1, j], table[i, j - 1]) + 1
            changed = table[i - 1, j - 1]
            if a[i - 1] != b[j - 1]:
                changed += 1
            table[i, j] = min(least, changed)
    return table[len(a), len(b)]


class Body:
    def __init__(self) -> None:
        self.x = np.arange(50.0)

    def step(self, scale: Any) -> Any:
        for i in range(1, 50):
            self.x[i] = self.x[i] * scale + self.x[i - 1]
        return self.x.sum()


PILES = [DRAW.integers(0, top, size=30) for top in (4, 9, 30)]
SQUARE = DRAW.normal(size=(70, 4))
CASES: list[tuple[Any, list[Any]]] = [
    (recurrence, [(x,) for x in VECTORS]),
    (total, [(x,) for x in VECTORS]),
    (heat, [(x,) for x in VECTORS]),
    (first_above, [(x, c) for x in VECTORS for c in ABOVE]),
    (sum_until, [(x, c) for x in VECTORS for c in ABOVE]),
    (with_else, [(x, c) for x in VECTORS for c in ABOVE]),
    (sign_of_first, [(x, c) for x in VECTORS for c in ABOVE]),
    (bubble_sort, [(x,) for x in VECTORS]),
    (product, [(SQUARE[:8], SQUARE[:4])]),
    (euler, [(1.0,), (2.5,)]),
    (largest_sum, [(x,) for x in VECTORS]),
    (eliminate, [(DRAW.normal(size=(8, 8)), DRAW.normal(size=8))]),
    (squares, [(n,) for n in (10, 25, 0, 1, -3, 1000)]),
    (collect, [(VECTORS[0], n) for n in (30, 7, 0, 60)]),
    (positive, [(x,) for x in VECTORS]),
    (scaled, [(x,) for x in VECTORS]),
    (dot, [(x,) for x in VECTORS]),
    (rows, [(SQUARE,)]),
    (settle, [(pile,) for pile in PILES]),
    (distance, [tuple(DRAW.integers(0, 3, size=(2, 12))) for _ in range(2)]),
    (horner, [(x,) for x in VECTORS]),
    (lower_half, [(DRAW.normal(size=(20, 20)), k) for k in (2, 5, 19)]),
]


@pytest.mark.parametrize(("function", "calls"), CASES, ids=[f.__name__ for f, _ in CASES])
def test_one_node_whatever_the_number_of_turns(
    function: Any, calls: Any, always_nodes: None
) -> None:
    # traces: lengths are what these are specialized by, and whether and where a loop is left
    decorated = check_decorated(function, *calls, tolerance=TOLERANCE, traces=6)
    assert loops(decorated) & {"scan", "while_loop"}
    last = decorated.specializations[-1]
    assert len(last.graph.nodes) < 250, "the loop is written out"


def test_arrays_of_an_object_are_carried(always_nodes: None) -> None:
    mine, theirs = Body(), Body()
    step = gj.function(Body.step)
    with warnings.catch_warnings():
        warnings.simplefilter("error", gj.FallbackWarning)
        for scale in (0.5, 0.25, 0.125):
            same(step(mine, scale), theirs.step(scale), tolerance=TOLERANCE)
            same(mine.x, theirs.x, tolerance=TOLERANCE)
    assert "scan" in loops(step)


def copies(program: Program) -> int:
    """How many steps in regions copy a whole array."""
    found = 0
    for step in program.steps:
        if isinstance(step, RegionCall):
            for inner in step.programs:
                found += sum(whole_copy(s, inner.buffers) is not None for s in inner.steps)
                found += copies(inner)
    return found


@pytest.mark.parametrize(
    "function", [recurrence, bubble_sort, rows, collect, eliminate, distance]
)
def test_elements_are_written_where_they_are(function: Any, always_nodes: None) -> None:
    """A turn that writes one element or row doesn't copy the array."""
    (calls,) = [calls for f, calls in CASES if f is function]
    decorated = check_decorated(function, *calls[:1], tolerance=TOLERANCE)
    graphs = [s.graph for s in decorated.specializations if loops(decorated)]
    assert graphs and not any(copies(program_of(graph)) for graph in graphs if graph)


def appended(x: Any) -> Any:
    found = []
    for i in range(len(x)):
        if x[i] > 1:
            found.append(i)
    return found


def chosen(x: Any) -> Any:
    names = ["a", "b", "c"]
    text = ""
    for i in range(3):
        if x[i] > 0:
            text += names[i]
    return text


def other_types(x: Any) -> Any:
    s = 0
    for i in range(len(x)):
        s = s + 1 if x[i] > 0 else float(s)
    return s


def in_a_dict(x: Any) -> Any:
    seen = {}
    for i in range(len(x)):
        seen[i % 4] = x[i]
    return seen


def resumed(x: Any) -> Any:
    steps, s = enumerate(x), 0.0
    for _, v in steps:
        if v > 1:
            break
    for _, v in steps:
        s = s * 0.5 + v
    return s


def shared(x: Any) -> Any:
    steps, s = enumerate(x), 0.0
    for p, q in zip(steps, steps, strict=False):
        s = s * 0.5 + p[1] - q[1] * p[0]
    return s


def exhausted(x: Any) -> Any:
    steps, s = enumerate(x), 0.0
    for _, v in steps:
        s += v
    for _, _ in steps:
        s -= 1000
    return s


def twice(n: int) -> int:
    s, r = 0, range(n)
    for i in r:
        s += i
    for i in r:
        s += 10 * i
    return s


@pytest.mark.parametrize(
    "function",
    [
        twice,
        lambda n: 1 if range(n) else 0,
        lambda n: range(n) == range(3),
        lambda n: isinstance(range(n), range),
        lambda n: range(n),
        lambda n: [range(n), list(range(n))],
        lambda n: (range(n)[-1:], len(range(n)), 2 in range(n)),
    ],
)
def test_ranges_with_traced_bounds(function: Any) -> None:
    decorated = gj.function(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for n in (2, 3, 4, 0, 7):
            assert decorated(n) == function(n)


def test_iterators_that_outlive_the_call() -> None:
    def store(x: Any, found: list[Any]) -> Any:
        found.append(zip(x, x, strict=False))
        return zip(x, x, strict=False)

    decorated, found = gj.function(store), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            same(list(decorated(VECTORS[0], found)), list(store(VECTORS[0], [])))
    assert [type(x) for x in found] == [zip, zip]


def test_a_loop_of_known_values_runs_once_while_tracing() -> None:
    def f(x: Any) -> Any:
        weights, now = np.zeros(3000), 7
        for i in range(3000):
            weights[i] = now / 1000
            now = (now * 31 + 11) % 1000
        return x * weights

    x = DRAW.normal(size=3000)
    decorated = check_decorated(f, (x,), tolerance=TOLERANCE)
    assert len(decorated.specializations[-1].graph.nodes) < 10


@pytest.mark.parametrize("function", [resumed, shared, exhausted])
def test_iterators_go_on_where_they_were(function: Any, always_nodes: None) -> None:
    decorated = gj.function(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for x in VECTORS:
            same(decorated(x), function(x), tolerance=TOLERANCE)


@pytest.mark.parametrize("function", [appended, chosen, other_types, in_a_dict])
def test_what_no_node_can_do_is_as_undecorated(function: Any) -> None:
    decorated = gj.function(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for x in VECTORS:
            same(decorated(x), function(x))


def test_a_long_loop_that_cant_be_a_node_isnt_written_out() -> None:
    def f(a: Any) -> Any:
        seen = {}
        for i in range(1, len(a)):
            a[i] -= a[i - 1].sum() * a[i]
            seen[i] = i
        return a

    a = DRAW.normal(size=(600, 600)) * 1e-3
    decorated = gj.function(f)
    with pytest.warns(
        gj.FallbackWarning, match="a loop of 599 turns, written out, is too long"
    ):
        found = decorated(a.copy())
    same(found, f(a.copy()))


def test_a_loop_refused_for_all_sizes_is_tried_for_each() -> None:
    def f(m: Any) -> Any:
        n = len(m)
        for k in range(n):
            if m[k, k] < 0:
                m[k] *= 0.5
            for i in range(k + 1, n):
                m[i, k + 1 :] -= 0.1 * m[i, k] * m[k, k + 1 :]
        return m

    decorated = gj.function(f)
    for n in (9, 7, 5, 12):
        m = DRAW.normal(size=(n, n))
        same(decorated(m.copy()), f(m.copy()), tolerance=TOLERANCE)
    assert not [s.reason for s in decorated.specializations if s.reason]


def test_a_loop_that_fills_a_large_array() -> None:
    def f(a: Any, b: Any) -> Any:
        m, n = len(a), len(b)
        d = np.zeros((m + 1, n + 1), np.int64)
        d[:, 0], d[0] = np.arange(m + 1), np.arange(n + 1)
        for i in range(1, m + 1):
            for j in range(1, n + 1):
                best = d[i - 1, j - 1] + (0 if a[i - 1] == b[j - 1] else 1)
                if d[i - 1, j] + 1 < best:
                    best = d[i - 1, j] + 1
                d[i, j] = best
        return d

    a, b = DRAW.integers(0, 4, (2, 380))
    decorated = gj.function(f)
    same(decorated(a, b), f(a, b))
    assert not [s.reason for s in decorated.specializations if s.reason]


# Programs with what once went wrong.
@pytest.mark.parametrize("seed", [1016, 1033])
def test_programs(seed: int, always_nodes: None) -> None:
    for_programs.check(seed)


@given(st.integers(0, 10**9))
@settings(max_examples=8)
def test_random_programs(seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(python_loops, "MAX_TURNS", 2)
        patch.setattr(python_loops, "MAX_NODES", 0)
        for_programs.check(seed)
