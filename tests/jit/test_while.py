"""Python's own `while` loops on traced values, against the undecorated functions."""

from __future__ import annotations

import random
import sys
import warnings
from typing import Any

import decorated_checks
import numpy as np
import pytest
from decorated_checks import outcome, same
from hypothesis import given, settings
from hypothesis import strategies as st

import graphjit as gj

X = np.arange(1.0, 5.0)
NUMBERS = (1.0, 0.1, 0.01, 3.0, 100.0, 1e9)


TOLERANCE = 1e-9


def agree(function: Any, *calls: Any) -> Any:
    return decorated_checks.agree(function, *calls, tolerance=TOLERANCE)


def structured(decorated: Any) -> bool:
    """Whether a specialization has a loop node."""

    def has_loop(graph: Any) -> bool:
        return any(
            node.primitive.name == "while_loop" or any(map(has_loop, node.regions))
            for node in graph.nodes
        )

    return any(s.graph is not None and has_loop(s.graph) for s in decorated.specializations)


def double(x: Any) -> Any:
    while x.sum() < 100:
        x = x * 2
    return x


def newton(a: Any) -> Any:
    x = a
    while abs(x * x - a) > 1e-10 * a:
        x = 0.5 * (x + a / x)
    return x


def newton_with_break(a: Any) -> Any:
    x = a
    while True:
        y = 0.5 * (x + a / x)
        if abs(y - x) < 1e-12:
            break
        x = y
    return y


def counted(x: Any) -> Any:
    turns = 0
    while x.sum() < 1e6:
        x = x * 1.5
        turns += 1
    return x, turns


def bounded(x: Any, tolerance: Any) -> Any:
    turns, error = 0, 1.0
    while error > tolerance and turns < 50:
        y = 0.45 * (x + x[::-1])
        error = abs(y - x).max()
        x = y
        turns += 1
    return x, turns, error


def bounded_first(x: Any, tolerance: Any) -> Any:
    turns, error = 0, 1.0
    while turns < 50 and error > tolerance:
        y = 0.45 * (x + x[::-1])
        error = abs(y - x).max()
        x = y
        turns += 1
    return x, turns, error


def power_iteration(a: Any) -> Any:
    v, before = np.ones(a.shape[0]), 0.0
    while True:
        w = a @ v
        now = np.sqrt(w @ w)
        v = w / now
        if abs(now - before) < 1e-10:
            break
        before = now
    return now


def conjugate_gradient(a: Any, b: Any) -> Any:
    x = np.zeros(b.shape[0])
    r = b - a @ x
    p, rs = r, r @ r
    while rs > 1e-20:
        ap = a @ p
        alpha = rs / (p @ ap)
        x = x + alpha * p
        r = r - alpha * ap
        new = r @ r
        p = r + (new / rs) * p
        rs = new
    return x


def fibonacci(n: int) -> int:
    a, b = 0, 1
    while n > 0:
        a, b, n = b, a + b, n - 1
    return a


def collatz(n: int) -> int:
    turns = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        turns += 1
    return turns


def mandelbrot(c: Any) -> Any:
    z, n = c, 0
    while abs(z) < 2 and n < 100:
        z = z * z + c
        n += 1
    return n


def bisection(target: Any) -> Any:
    low, high = target * 0, target + 1.0
    while high - low > 1e-9:
        middle = 0.5 * (low + high)
        if middle * middle > target:
            high = middle
        else:
            low = middle
    return low


def nested(x: Any) -> Any:
    while x.sum() < 1e4:
        y = x[0]
        while y < 50:
            y = y * 1.7 + 1
        x = x + y
    return x


def several_ways(x: Any) -> Any:
    up = down = 0
    while x.sum() < 1e3:
        if x[0] > 5:
            x = x + 3
            up += 1
        elif x[1] > 4 and up == 0:
            x = x * 1.5
        else:
            x = x + 1
            down += 1
    return x, up, down


A = np.array([[4.0, 1, 0], [1, 5, 2], [0, 2, 6]])


@pytest.mark.parametrize(
    ("function", "calls"),
    [
        (double, [(X * s,) for s in NUMBERS]),
        (newton, [(np.float64(k),) for k in (2, 3, 100, 1e6, 1)]),
        (newton_with_break, [(np.float64(k),) for k in (2, 3, 100, 1e6, 1)]),
        (counted, [(X * s,) for s in NUMBERS]),
        (bounded, [(X, t) for t in (1e-3, 1e-6, 10.0, 0.0)]),
        (bounded_first, [(X, t) for t in (1e-3, 1e-6, 10.0, 0.0)]),
        (power_iteration, [(np.array([[2.0, 1], [1, k]]),) for k in (3, 4, 5)]),
        (conjugate_gradient, [(A, np.ones(3)), (A, np.arange(3.0)), (A * 2, np.ones(3))]),
        (fibonacci, [(k,) for k in (20, 30, 50, 10, 60, 90, 100, 8)]),
        (collatz, [(k,) for k in (27, 7, 9, 97)]),
        (mandelbrot, [(np.complex128(k),) for k in (0.1, 1, -0.75 + 0.1j, 0.3 + 0.5j)]),
        (bisection, [(np.float64(k),) for k in (2, 3, 100, 0.5)]),
        (nested, [(X * s,) for s in (1, 0.1, 7)]),
        (several_ways, [(X * s,) for s in (1, 0.1, 7, 300)]),
    ],
)
def test_one_node_whatever_the_number_of_turns(function: Any, calls: Any) -> None:
    decorated = agree(function, *calls)
    assert structured(decorated)
    assert decorated.trace_count <= 3


def test_no_turn_is_a_path_of_its_own() -> None:
    decorated = agree(double, (X * 100,), (X,), (X * 200,), (X * 0.01,))
    assert decorated.trace_count == 2


def test_sizes_that_vary() -> None:
    decorated = agree(double, *[(np.ones(n) * s,) for n in (3, 4, 5, 9, 2) for s in (1, 0.1)])
    assert structured(decorated) and decorated.trace_count <= 4


def test_an_index_is_not_looked_at_when_the_condition_before_it_fails() -> None:
    def search(x: Any, wanted: Any) -> Any:
        k = 0
        while k < x.shape[0] and x[k] != wanted:
            k = k + 1
        return k

    x = np.arange(20.0)
    agree(search, (x, 15.0), (x, 19.0), (x, 99.0), (x, 0.0), (x, 12.0))


def test_zero_division_in_the_turn_that_is_not_made() -> None:
    def gcd(a: int, b: int) -> int:
        while b:
            a, b = b, a % b
        return a

    agree(gcd, (12, 18), (17, 5), (100, 75), (3, 0), (2**62, 2**40))


# -- what can't be one node is right all the same ----------------------------------------------


class Counter:
    def __init__(self) -> None:
        self.count = 0
        self.seen: list[Any] = []


def appends(x: Any) -> Any:
    found = []
    while x.sum() < 1e3:
        found.append(x.sum())
        x = x * 2
    return found


def counts_in_an_object(x: Any) -> Any:
    counter = Counter()
    while x.sum() < 1e3:
        x = x * 2
        counter.count += 1
    return x, counter.count


def counts_in_a_list(x: Any) -> Any:
    counts = [0]
    while x.sum() < 1e3:
        x = x * 2
        counts[0] += 1
    return x, counts[0]


def counts_in_a_closure(x: Any) -> Any:
    count = 0

    def note() -> None:
        nonlocal count
        count += 1

    while x.sum() < 1e3:
        x = x * 2
        note()
    return x, count


def counts_elsewhere(x: Any) -> Any:
    counts = {"n": 0}

    def grown(x: Any) -> Any:
        while x.sum() < 1e3:
            x = step(x)
        return x

    def step(x: Any) -> Any:
        counts["n"] += 1
        return x * 2

    return grown(x), counts["n"]


def takes_from_an_iterator(x: Any) -> Any:
    numbers = iter([2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0])
    while x.sum() < 1e3:
        x = x * next(numbers)
    return x


def yields(x: Any) -> Any:
    def values() -> Any:
        y = x
        while y.sum() < 1e3:
            yield y
            y = y * 2

    total, number = 0.0, 0
    for value in values():
        total = total + value.sum()
        number += 1
    return total, number


def writes_in_place(x: Any) -> Any:
    y = x.copy()
    while y.sum() < 1e3:
        y *= 2
        y[0] += 1
    return y


def leaves_by_return(x: Any) -> Any:
    while x.sum() < 1e3:
        x = x * 2
        if x[0] > 30:
            return x, "inside"
    return x


def leaves_twice(x: Any) -> Any:
    k = 0
    while x.sum() < 1e3:
        x = x * 2
        if x[0] > 30:
            break
        k += 1
    else:
        k = -k
    return x, k


def uses_what_the_last_turn_left(x: Any) -> Any:
    while True:
        y = x * 2
        if y.sum() > 1e3:
            break
        z = y + 1
        x = z
    return z if x[0] > 2 else y


def changes_its_kind(x: Any) -> Any:
    total = 0
    while x.sum() < 1e3:
        total = total + x[0]
        x = x * 2
    return total


def goes_round(x: Any) -> Any:
    names = ["a", "b"]
    while x.sum() < 1e3:
        x = x * 2
        names = names[::-1]
    return x, names[0]


def alternates(x: Any) -> Any:
    flag = True
    while x.sum() < 1e3:
        x = x * 2 if flag else x + 1
        flag = not flag
    return x, flag


def raises_inside(x: Any) -> Any:
    while x.sum() < 1e3:
        x = x * 2
        if x[0] > 20:
            raise ValueError("large")
    return x


def takes_from_an_iterator_in_a_list(x: Any) -> Any:
    held = [iter(range(100))]
    while x.sum() < 1e3:
        for v in held[0]:
            x = x * 2 + v
            break
    return x, next(held[0])


def changes_an_object_by_c_code(x: Any) -> Any:
    held = [[[[[]]]]]
    while x.sum() < 1e3:
        x = x * 2
        list(map(held[0][0][0][0].append, [1, 2]))
    return x, len(held[0][0][0][0])


def binds_a_name_after_the_test(x: Any) -> Any:
    while True:
        if x.sum() >= 1e3:
            break
        try:
            x = x + t  # noqa: F821
        except UnboundLocalError:
            x = x + 1
        t = 100  # noqa: F841
        x = x * 2
    return x


def writes_what_may_be_its_argument(x: Any) -> Any:
    while True:
        if x.sum() >= 1e3:
            break
        x = x * 2
    x += 1
    return x


def has_one_array_under_two_names(x: Any) -> Any:
    y = x
    while x.sum() < 1e3:
        x = x * 2
        y = x
    y[0] = -1
    return x, y


class OwnList(list[int]):
    pass


def grows_a_list_of_its_own(x: Any) -> Any:
    found = OwnList()
    while x.sum() < 1e3:
        x = x * 2
        found += [1]
    return len(found)


def writes_another_name(x: Any) -> Any:
    y = x * 1
    held = [y]
    while True:
        if y.sum() >= 1e3:
            break
        y = y * 2
    held[0] += 1
    return y


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
@pytest.mark.parametrize(
    "function",
    [
        appends, counts_in_an_object, counts_in_a_list, counts_in_a_closure, counts_elsewhere,
        takes_from_an_iterator, yields, writes_in_place, leaves_by_return, leaves_twice,
        takes_from_an_iterator_in_a_list, changes_an_object_by_c_code,
        binds_a_name_after_the_test, writes_what_may_be_its_argument,
        has_one_array_under_two_names, uses_what_the_last_turn_left, changes_its_kind,
        goes_round, alternates, raises_inside, grows_a_list_of_its_own, writes_another_name,
    ],
)  # fmt: skip
def test_all_else_is_right_all_the_same(function: Any) -> None:
    decorated = gj.function(function)
    for _ in range(2):
        for scale in (1.0, 0.1, 0.01, 30.0, 1e9, 5.0):
            mine, theirs = X * scale, X * scale
            try:
                wanted = function(theirs)
            except Exception as error:
                with pytest.raises(type(error)):
                    decorated(mine)
                continue
            same(decorated(mine), wanted, tolerance=TOLERANCE)
            np.testing.assert_array_equal(mine, theirs)


def test_what_is_outside_is_stored_at_each_turn() -> None:
    def step(model: Any, x: Any) -> Any:
        while x.sum() < 1e3:
            x = x * 2
            model.count += 1
            model.seen.append(1)
        return x

    mine, theirs, decorated = Counter(), Counter(), gj.function(step)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for scale in (1.0, 0.1, 30.0, 1e-6, 1e9):
            same(decorated(mine, X * scale), step(theirs, X * scale))
            assert (mine.count, mine.seen) == (theirs.count, theirs.seen)


def test_local_variables_are_seen_by_debuggers_as_before() -> None:
    before = sys.gettrace()
    decorated = gj.function(double)
    sys.settrace(lambda *_: None)
    try:
        same(decorated(X), double(X))
    finally:
        sys.settrace(before)
    same(decorated(X * 0.1), double(X * 0.1))


# -- random programs ---------------------------------------------------------------------------


def program(rng: random.Random) -> str:
    """A function with loops over numbers a, b, an int k, a flag and an array v."""
    lines: list[str] = []
    fresh = iter(range(100))

    def test() -> str:
        return rng.choice([
            "a < 40", "b < a", "v.sum() < 30", "v[0] < v[1]", "a * a < 9", "v.max() > 1",
            "k % 3 != 0", "k < 4", "not b > 3", "flag", "a > b and v[1] > 0", "a < 5 or b < 2",
        ])  # fmt: skip

    def statement(depth: int, indent: str, loop: bool) -> None:
        pick = rng.random()
        if depth and pick < 0.25:
            lines.append(f"{indent}if {test()}:")
            block(depth - 1, indent + "    ", loop)
            if rng.random() < 0.6:
                lines.append(f"{indent}else:")
                block(depth - 1, indent + "    ", loop)
        elif depth and pick < 0.5:
            counter = f"n{next(fresh)}"
            lines.append(f"{indent}{counter} = 0")
            order = [f"({test()})", f"{counter} < {rng.randrange(1, 9)}"]
            rng.shuffle(order)
            how = rng.random()
            if how < 0.6:
                lines.append(f"{indent}while {' and '.join(order)}:")
                block(depth - 1, indent + "    ", True)
                lines.append(f"{indent}    {counter} += 1")
            else:
                lines.append(f"{indent}while True:")
                block(depth - 1, indent + "    ", True)
                lines.append(f"{indent}    {counter} += 1")
                lines.append(f"{indent}    if {counter} > 5 or {order[0]}:")
                lines.append(f"{indent}        break")
                if rng.random() < 0.5:
                    block(0, indent + "    ", True)
        else:
            choices = [
                "a = a + 1.5", "b = b * 0.5 + a", "a, b = b, a", "v = v * 1.5", "k = k + 2",
                "v = np.where(v > 1, v - 0.5, v * 2)", "a = v.sum()", "b = b + k", "k = 7 - k",
                "t = a * 2; a = t - b", "flag = not flag", "v = v[::-1] + b", "a = a / 3.0",
                "v = v - v.mean()", "flag = a > b", "b = v[0]", "k = abs(k - 3)",
            ]  # fmt: skip
            rare = ["seen.append(k)", "box.n += 1", "v[0] = 1.0", "v += 1", "u = v; v = u + 1"]
            if loop and rng.random() < 0.04:
                rare += ["break", "return a, v"]
            lines.append(indent + rng.choice(choices if rng.random() < 0.93 else rare))

    def block(depth: int, indent: str, loop: bool) -> None:
        for _ in range(rng.randrange(1, 4)):
            statement(depth, indent, loop)

    block(3, "    ", False)
    start = ["def f(a, b, k, v):", "    flag, seen, box = True, [], Box()"]
    return "\n".join([*start, *lines, "    return a, b, k, v, flag, len(seen), box.n"])


class Box:
    def __init__(self) -> None:
        self.n = 0


def check(seed: int) -> None:
    rng = random.Random(seed)
    text = program(rng)
    names: dict[str, Any] = {"np": np, "Box": Box}
    exec(text, names)
    f, draw = names["f"], np.random.default_rng(seed)
    decorated = gj.function(f)
    for _ in range(6):
        numbers = [np.float64(round(x, 1)) for x in draw.normal(size=2) * 4]
        v = np.round(draw.normal(size=rng.choice([3, 3, 5])), 1)
        args = (*numbers, int(draw.integers(0, 6)))
        found, wanted = [outcome(g, (*args, v.copy())) for g in (decorated, f)]
        same(found, wanted, f"seed {seed}, {args}, {v}\n{text}", TOLERANCE)


@given(st.integers(0, 10**9))
@settings(max_examples=60)
def test_random_programs(seed: int) -> None:
    check(seed)


def test_conditions_of_several_parts() -> None:
    def back(s: Any) -> Any:
        i, j, path = s.shape[0] - 1, s.shape[1] - 1, []
        while i > 0 or j > 0:
            diagonal = i > 0 and j > 0
            if diagonal and s[i, j] > 0:
                i, j = i - 1, j - 1
                path.append((i, j))
            elif i > 0 and s[i, j] > -1:
                i -= 1
                path.append((i, -1))
            else:
                j -= 1
                path.append((-1, j))
        return path

    def decays(s: Any) -> Any:
        a, b, n = s[0, 0], s[0, 1], 0
        while a > 0.1 or b < -0.1 or n < 3:
            a, b, n = a * 0.7, b * 0.6, n + 1
            if n > 40:
                break
        return a, b, n

    def looks(s: Any) -> Any:
        i = k = 0
        while (i < len(s) and s[i, 0] < 0.3) or k < 4:
            i, k = (i + 1) % len(s), k + 1
            if k > 60:
                break
        else:
            k += 1000
        return i, k

    draw = np.random.default_rng(4)
    for f in (back, decays, looks):
        decorated = agree(f, *[(draw.normal(size=(14, 12)) * (1 + k),) for k in range(6)])
        assert structured(decorated) and decorated.trace_count <= 5


def test_a_turn_that_ends_elsewhere_than_its_condition() -> None:
    check(1904)


def test_a_branch_after_a_loop_over_sizes_that_vary() -> None:
    def f(x: Any) -> Any:
        while x.sum() < 100:
            x = x * 0.5 + x.mean() + x.shape[0]
        return x * 2 if x[0] > 20 else x.mean()

    decorated = agree(f, *[(np.arange(n) * s,) for n in (3, 4, 5, 9, 17) for s in (1.0, 9.0)])
    assert structured(decorated) and decorated.trace_count < 12


def left_by_a_known_test(a: Any, turns: int = 4) -> Any:
    b = a
    for i in range(turns):
        k = 0
        while k < 3 and a < 4:
            b = i * 0.5
            k += 1
    return b


def left_and_nothing_told(a: Any) -> Any:
    b, n = a, 0
    while n < 6:
        k = 0
        while k < 2 and a < 40:
            b = b + a
            k += 1
        n += 1
    return b


@pytest.mark.parametrize("function", [left_by_a_known_test, left_and_nothing_told])
def test_a_loop_that_was_left_and_come_to_again(function: Any, monkeypatch: Any) -> None:
    """What Python did between two times at a test isn't one turn of the loop."""
    monkeypatch.setattr("graphjit.tracing.python_loops.MAX_TURNS", 2)
    decorated = gj.function(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for a in (1.0, 9.0, 100.0):
            same(decorated(np.float64(a)), function(np.float64(a)))
