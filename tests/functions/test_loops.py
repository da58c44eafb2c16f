"""Loops and choices that are compiled, against Python's own without graphjit."""

from __future__ import annotations

import functools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import decorated_checks
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphjit as gj
from graphjit.codegen.cpu.target import compile_program
from graphjit.core.errors import IndexOutOfRangeError, InvalidArgumentError
from graphjit.passes import optimized, program_of

DTYPES = [np.float64, np.float32, np.float16, np.int64, np.int32, np.uint8, np.complex128]


same = functools.partial(decorated_checks.same, types=False)


def compiled(function: Callable[..., Any]) -> Any:
    return gj.function(function, fallback="error")


def plain_scan(f: Any, carry: Any, xs: Any, reverse: bool = False) -> tuple[Any, Any]:
    rows = []
    for x in reversed(xs) if reverse else xs:
        carry, y = f(carry, x)
        rows.append(y)
    return carry, np.stack(rows[::-1] if reverse else rows)


# -- scan --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shape", [(1,), (2,), (7,), (5, 3), (4, 0), (3, 2, 2)])
def test_scan_is_a_loop(dtype: Any, reverse: bool, shape: Any) -> None:
    x = (np.arange(np.prod(shape)).reshape(shape) % 5).astype(dtype)

    def f(carry: Any, a: Any) -> Any:
        return carry + a, carry * a

    init = np.zeros(shape[1:], dtype)
    expected = plain_scan(f, init, x, reverse)
    same(compiled(lambda x, c: gj.scan(f, c, x, reverse=reverse))(x, init), expected)
    same(gj.scan(f, init, x, reverse=reverse), expected)


def test_scan_of_nothing() -> None:
    def f(x: Any) -> Any:
        return gj.scan(lambda c, a: (c + a, (c * 2, a)), np.float64(3.0), x)

    x = np.zeros((0,))
    for result in (f(x), compiled(f)(x)):
        same(result, (np.float64(3.0), (np.zeros(0), np.zeros(0))))


class State(NamedTuple):
    position: Any
    speed: Any


def test_structures_of_all_kinds() -> None:
    def f(xs: Any, start: Any) -> Any:
        def step(state: Any, x: Any) -> Any:
            moved = State(state["s"].position + state["s"].speed, state["s"].speed + x["a"])
            return {"s": moved, "n": state["n"] + 1.0}, [moved.position, (x["b"].sum(),)]

        return gj.scan(step, {"s": State(start, start * 0.5), "n": 0.0}, xs)

    xs = {"a": np.arange(4.0), "b": np.arange(8.0).reshape(4, 2)}
    same(compiled(f)(xs, np.float64(1.0)), f(xs, np.float64(1.0)))


def test_turns_without_arrays() -> None:
    def f(x: Any) -> Any:
        return gj.scan(lambda c, _: (c * 0.5, c.sum()), x, None, length=5)

    x = np.arange(3.0)
    same(compiled(f)(x), f(x))
    assert gj.scan(lambda c, _: (c + 1, None), 0, None, 4) == (4, None)


def test_what_the_body_hands_on_is_no_work() -> None:
    def f(a: Any, x: Any) -> Any:
        return gj.scan(lambda c, v: ((c[0], c[1] + c[0] @ v), c[1]), (a, x[0] * 0), x)

    a, x = np.arange(9.0).reshape(3, 3), np.arange(12.0).reshape(4, 3)
    jitted = compiled(f)
    same(jitted(a, x), f(a, x))
    (node,) = [n for n in jitted.get_graph(a, x).nodes if n.regions]
    assert node.attr("carried") == 1


def test_many_turns_of_a_recurrence() -> None:
    x = np.random.default_rng(0).normal(size=50_001)

    def recurrence(x: Any) -> Any:
        y, out = 0.0, np.empty_like(x)
        for i in range(len(x)):
            y = 0.9 * y + x[i]
            out[i] = 2 * y
        return out

    def f(x: Any) -> Any:
        return gj.scan(lambda y, a: (0.9 * y + a, 2 * (0.9 * y + a)), 0.0, x)[1]

    np.testing.assert_array_equal(compiled(f)(x), recurrence(x))


# -- while -------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0.0, 1.0, 2.0, 100.0, 1e6])
def test_while_runs_until_its_condition_fails(limit: float) -> None:
    def f(x: Any, limit: Any) -> Any:
        return gj.while_loop(
            lambda s: (s[0] * s[0]).sum() < limit, lambda s: (s[1] + 1, s[0] * 1.5), (x, x * 2)
        )

    x = np.arange(5.0)
    a, b = x, x * 2
    while (a * a).sum() < limit:
        a, b = b + 1, a * 1.5
    jitted = compiled(f)
    same(jitted(x, np.float64(limit)), (a, b))
    same(f(x, np.float64(limit)), (a, b))


def test_one_specialization_for_all_trip_counts() -> None:
    jitted = compiled(
        lambda x, n: gj.while_loop(
            lambda i, s: i < n, lambda i, s: (i + 1, s * 0.5), (n * 0, x)
        )
    )
    x = np.arange(3.0)
    for n in range(12):
        same(jitted(x, np.int64(n))[1], x * 0.5**n)
    assert jitted.trace_count == 1


def test_items_as_tensorflow_hands_them_on() -> None:
    assert gj.while_loop(lambda i: i < 5, lambda i: [i + 1], [0]) == [5]
    assert gj.while_loop(lambda i: i < 5, lambda i: i + 1, [0]) == [5]
    assert gj.while_loop(lambda i, j: i < 5, lambda i, j: (i + 1, j + i), (0, 0)) == (5, 10)
    assert gj.while_loop(lambda t: t[0] < 5, lambda t: (t[0] + 1, 1), (0, 0)) == (5, 1)
    assert gj.while_loop(lambda t: t[0] < 5, lambda t: (t[0] + 1,), (0,)) == (5,)
    assert gj.while_loop(lambda i: i < 5, lambda i: i + 1, init_val=0) == 5
    assert gj.while_loop(lambda i: i < 50, lambda i: i + 1, 0, maximum_iterations=3) == 3
    i = gj.constant(0)
    found = compiled(lambda i: gj.while_loop(lambda i: i < 10, lambda i: [i + 1], [i]))(i)
    assert int(found[0]) == 10
    with pytest.raises(TypeError, match="no argument 'colour'"):
        gj.while_loop(lambda i: i < 5, lambda i: i + 1, 0, colour=1)


def test_a_bound_of_turns_in_compiled_code() -> None:
    jitted = compiled(
        lambda x: gj.while_loop(lambda s: s < 100.0, lambda s: s + 1, x, maximum_iterations=7)
    )
    assert jitted(np.float64(1.0)) == 8.0
    assert jitted(np.float64(98.0)) == 100.0


def test_loops_up_to_what_is_known_at_the_call() -> None:
    jitted = compiled(lambda x, a, b: gj.fori_loop(a, b, lambda i, s: s + x[i] * i, 0.0))
    x = np.arange(10.0)
    for a, b in [(0, 10), (2, 5), (5, 2), (3, 3), (9, 10)]:
        expected = float(sum(x[i] * i for i in range(a, b)))
        assert jitted(x, np.int64(a), np.int64(b)) == expected
    assert jitted.trace_count == 1


# -- choices -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8, np.uint64])
def test_switch_clamps(dtype: Any) -> None:
    def f(x: Any, i: Any) -> Any:
        return gj.switch(i, [lambda: x, lambda: x * 2, lambda: x * 3])

    jitted, x = compiled(f), np.arange(3.0)
    numbers = [0, 1, 2, 3, 100, np.iinfo(dtype).max]
    numbers += [-1, -100] if np.dtype(dtype).kind == "i" else []
    for n in numbers:
        expected = x * (min(max(n, 0), 2) + 1)
        same(jitted(x, dtype(n)), expected)
        same(f(x, dtype(n)), expected)


def test_switch_case_and_case() -> None:
    def f(x: Any, i: Any) -> Any:
        return gj.switch_case(i, {3: lambda: x, 7: lambda: x * 2}, default=lambda: x * 0)

    def g(x: Any, i: Any) -> Any:
        return gj.switch_case(i, [lambda: x, lambda: x * 2])

    def h(x: Any, i: Any) -> Any:
        return gj.case([(i < 0, lambda: -x), (i > 5, lambda: x * 5)], default=lambda: x)

    x = np.arange(3.0)
    for n in (-1, 0, 1, 2, 3, 6, 7, 8):
        i = np.int64(n)
        same(compiled(f)(x, i), {3: x, 7: x * 2}.get(n, x * 0))
        same(compiled(g)(x, i), {0: x}.get(n, x * 2))
        same(compiled(h)(x, i), -x if n < 0 else x * 5 if n > 5 else x)
        same(f(x, i), compiled(f)(x, i))
    with pytest.raises(InvalidArgumentError, match=r"predicates \[0, 1\] hold"):
        gj.case([(True, lambda: 1), (True, lambda: 2)], exclusive=True)
    with pytest.raises(InvalidArgumentError, match="two branches have the number 1"):
        gj.switch_case(1, [(1, lambda: 1), (1, lambda: 2)])
    with pytest.raises(InvalidArgumentError, match="no branches"):
        gj.switch(0, [])


# -- folds and partial results -----------------------------------------------------------------


def test_maps_and_folds() -> None:
    x = np.arange(12.0).reshape(4, 3)
    for run in (lambda f: f, compiled):
        same(run(lambda x: gj.map(lambda r: (r.sum(), r * 2), x))(x), (x.sum(1), x * 2))
        same(run(lambda x: gj.map_fn(lambda r: r[0] + 1, x))(x), x[:, 0] + 1)
        same(run(lambda x: gj.foldl(lambda a, r: a * 0.5 + r, x))(x), _fold(x))
        same(run(lambda x: gj.foldr(lambda a, r: a * 0.5 + r, x))(x), _fold(x[::-1]))
        same(run(lambda x: gj.foldl(lambda a, r: a + r, x, x[0]))(x), x.sum(0) + x[0])
    with pytest.raises(InvalidArgumentError, match="no elements"):
        gj.foldl(lambda a, r: a, np.zeros((0, 2)))


def _fold(rows: Any) -> Any:
    value = rows[0]
    for row in rows[1:]:
        value = value * 0.5 + row
    return value


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 8, 13])
@pytest.mark.parametrize("reverse", [False, True])
def test_associative_scan(n: int, reverse: bool) -> None:
    x = np.random.default_rng(n).integers(-3, 4, (2, n)).astype(float)
    ordered = x[:, ::-1] if reverse else x
    expected = np.cumsum(ordered, axis=1)
    expected = expected[:, ::-1] if reverse else expected

    def f(x: Any) -> Any:
        return gj.associative_scan(np.add, x, reverse=reverse, axis=1)

    same(f(x), expected)
    same(compiled(f)(x), expected)

    def pairs(x: Any) -> Any:  # y = a*y + b, as pairs (a, b)
        def combine(one: Any, other: Any) -> Any:
            return one[0] * other[0], one[1] * other[0] + other[1]

        return gj.associative_scan(combine, (x[0] * 0 + 0.5, x[1]))[1]

    y, rows = 0.0, []
    for b in x[1]:
        y = 0.5 * y + b
        rows.append(y)
    np.testing.assert_allclose(compiled(pairs)(x), rows, rtol=1e-12)


# -- how they run ------------------------------------------------------------------------------


def nested(x: Any, n: Any) -> Any:
    def outer(i: Any, s: Any) -> Any:
        def inner(t: Any) -> Any:
            return gj.cond(
                t[0].max() > 5, lambda: (t[0] * 0.5, t[1]), lambda: (t[0] + 1, t[1] + i)
            )

        grown, count = gj.while_loop(
            lambda t: t[1] < n, lambda t: (t[0] * 1.1, t[1] + 1), (s, 0.0)
        )
        return inner((grown, count))[0] + TABLE[i]

    return gj.fori_loop(0, 4, outer, x)


TABLE = np.arange(4.0)


def test_loops_in_loops_are_one_native_call() -> None:
    x = np.arange(3.0)
    jitted = compiled(nested)
    for n in (0.0, 1.0, 3.0, 40.0):
        np.testing.assert_allclose(
            jitted(x, np.float64(n)), nested(x, np.float64(n)), rtol=1e-14
        )
    graph = optimized(jitted.get_graph(x, np.float64(1.0)))
    executable, _ = compile_program(program_of(graph))
    assert executable.native_call() is not None


def test_sizes_are_symbolic() -> None:
    def f(x: Any) -> Any:
        total, rows = gj.scan(lambda c, a: (c + a, c * a), x[0] * 0, x)
        y = gj.fori_loop(0, x.shape[0], lambda i, s: s + x[i] * i, x[0] * 0)
        return rows, total + y, gj.while_loop(lambda v: v.sum() < 50, lambda v: v * 2 + 1, x)

    jitted = compiled(f)
    for n in (3, 4, 5, 17, 100, 2):
        x = np.random.default_rng(n).normal(size=n)
        for a, b in zip(jitted(x), f(x), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    assert jitted.trace_count <= 2


def test_a_large_body_is_shared_among_threads() -> None:
    x = np.random.default_rng(0).normal(size=600_000)
    jitted = compiled(lambda x: gj.fori_loop(0, 5, lambda i, s: np.sqrt(s * s + i), x))
    y = x
    for i in range(5):
        y = np.sqrt(y * y + i)
    np.testing.assert_array_equal(jitted(x), y)


def test_an_error_tells_the_line_and_the_iteration() -> None:
    x, index = np.arange(6.0), np.array([0, 5, 9, 1])

    def f(x: Any, index: Any) -> Any:
        return gj.scan(lambda s, i: (s + x[i], s), 0.0, index)[0]

    jitted = compiled(f)
    for _ in range(3):
        with pytest.raises(
            IndexOutOfRangeError, match=r"index 9 .* in iteration 2 of"
        ) as caught:
            jitted(x, index)
        assert "test_loops.py" in str(caught.value)
        assert jitted(x, np.minimum(index, 5)) == 11.0


def test_a_loop_without_end_can_be_interrupted() -> None:
    jitted = compiled(lambda x: gj.while_loop(lambda s: s[0] > -1, lambda s: s * 0.5 + 1, x))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which may be ignored here
    threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        jitted(np.arange(4.0))
    started = time.monotonic()
    while time.monotonic() < started + 0.6:  # were it late, it would end another test
        pass


def test_other_threads_run_beside_a_long_loop() -> None:
    jitted = compiled(lambda x, n: gj.while_loop(lambda s: s[0] < n, lambda s: s + 1.0, x))
    x = np.zeros(2)
    jitted(x, np.float64(10))
    worker = threading.Thread(target=lambda: jitted(x, np.float64(3e8)))
    worker.start()
    turns = 0
    while worker.is_alive() and turns < 1000:
        turns += 1
        time.sleep(0)
    assert turns == 1000
    worker.join()


PROGRAM = """
import numpy as np, graphjit as gj
x = np.linspace(-1, 1, 4)
def f(x, n):
    a, ys = gj.scan(lambda c, v: (c * 0.5 + v + W, c.sum()), W, x)
    return gj.while_loop(lambda s: s.sum() < n, lambda s: s + 1, a), ys
W = np.arange(3.0)
jitted = gj.function(f, fallback="error")
for n in (np.float64(0.1), np.float64(50.0)):
    for a, b in zip(jitted(x, n), f(x, n)):
        np.testing.assert_allclose(a, b, rtol=1e-14)
print([specialization.from_cache for specialization in jitted.specializations])
"""


def test_it_is_kept_on_disk(tmp_path: Any) -> None:
    for found in ("[False]", "[True]"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False,
            env={**os.environ, "GRAPHJIT_CACHE_DIR": str(tmp_path)},
        )  # fmt: skip
        assert done.stdout.strip() == found, done.stderr


# -- what is written in place afterwards -------------------------------------------------------


def chosen(x: Any) -> Any:
    y = gj.cond(x.sum() < 10, lambda: x, lambda: x * 2)
    y += 1
    return y


def chosen_and_written_before(x: Any) -> Any:
    z = x * 1
    y = gj.cond(x.sum() < 10, lambda: z, lambda: z * 2)
    z += 1
    return y


def chosen_by_number(x: Any) -> Any:
    y = gj.switch((x.sum() > 10).astype(int), [lambda: x[:], lambda: x * 2])
    y += 1
    return y


def no_turn(x: Any) -> Any:
    y = gj.while_loop(lambda v: v.sum() < 10, lambda v: v * 2, x)
    y += 1
    return y


def handed_on(x: Any) -> Any:
    y, rows = gj.scan(lambda c, v: (c, v + 1), x, x)
    y += 1
    rows += 1
    return y, rows


def kept_at_some_turns(x: Any) -> Any:
    def body(i: Any, c: Any) -> Any:
        return gj.cond(c.sum() < 10, lambda: c * 2, lambda: c)

    y = gj.fori_loop(0, 3, body, x)
    y += 1
    return y


def computed_at_each_turn(x: Any) -> Any:
    y = gj.fori_loop(0, 3, lambda i, c: c * 2, x)
    y += 1
    return y


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
@pytest.mark.parametrize(
    "function",
    [
        chosen, chosen_and_written_before, chosen_by_number, no_turn, handed_on,
        kept_at_some_turns, computed_at_each_turn,
    ],
)  # fmt: skip
def test_what_is_written_is_seen_in_the_operand_that_it_is(function: Any) -> None:
    decorated = gj.function(function)
    for _ in range(2):
        for scale in (1.0, 100.0, 0.01):
            ours, theirs = np.arange(4.0) * scale, np.arange(4.0) * scale
            same(decorated(ours), function(theirs))
            np.testing.assert_array_equal(ours, theirs)
    compiled_one = function in (handed_on, computed_at_each_turn)
    assert all(bool(s.reason) is not compiled_one for s in decorated.specializations)


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "function"),
    [
        (r"value 0 of the loop is f64\[3\] before body and f64\[\] after it \[Op:While\]",
         lambda x: gj.while_loop(lambda s: s.sum() < 1, lambda s: s.sum(), x)),
        (r"value 1 of the loop \(loop_vars.b\) is f64\[3\] before",
         lambda x: gj.while_loop(lambda s: x[0] < 1, lambda s: {"a": s["a"], "b": x[0]},
                                 {"a": x, "b": x})),
        (r"body gives tuple of .*, loop_vars is f64\[3\]",
         lambda x: gj.while_loop(lambda s: s.sum() < 1, lambda s: (s, s), x)),
        (r"cond gives one bool, not bool\[3\]",
         lambda x: gj.while_loop(lambda s: s < 1, lambda s: s + 1, x)),
        (r"value 0 of the loop is f64\[\] before f and f64\[3\] after it \[Op:Scan\]",
         lambda x: gj.scan(lambda c, a: (x, a), 0.0, x)),
        (r"f gives f64\[\], not a pair", lambda x: gj.scan(lambda c, a: c + a, 0.0, x)),
        (r"arrays of different lengths: 3, 2",
         lambda x: gj.scan(lambda c, a: (c, a), 0.0, (x, x[:2]))),
        (r"array 0 has no axes", lambda x: gj.scan(lambda c, a: (c, a), 0.0, x[0])),
        (r"neither arrays nor a length", lambda x: gj.scan(lambda c, a: (c, a), x)),
        (r"index is one integer, not f64\[\]",
         lambda x: gj.switch(x[0], [lambda: x, lambda: x])),
        (r"result 0 is f64\[3\] of branch 0 and f64\[\] of branch 2",
         lambda x: gj.switch(x.astype(int)[0], [lambda: x, lambda: x, lambda: x[0]])),
    ],
)  # fmt: skip
def test_what_differs_is_named_with_the_users_line(message: str, function: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        compiled(function)(np.arange(3.0))
    assert "test_loops.py" in str(caught.value)


# -- random programs ---------------------------------------------------------------------------


def program(rng: random.Random, depth: int) -> str:
    """An expression of arrays x, y (one shape), a number n and, in loops, what they carry."""

    def value(depth: int, names: list[str]) -> str:
        pick = rng.random()
        if depth == 0 or pick < 0.15:
            return rng.choice(names)
        a, b = value(depth - 1, names), value(depth - 1, names)
        if pick < 0.4:
            return rng.choice([
                f"({a} + {b})", f"({a} - {b} * 0.5)", f"np.tanh({a})", f"np.maximum({a}, {b})",
                f"({a} * {b}[::-1])", f"np.where({a} > {b}, {a}, 0.25)", f"({a} + {b}.mean())",
                f"np.sort({a})",
            ])  # fmt: skip
        s, t = f"s{depth}", f"t{depth}"
        if pick < 0.55:
            branches = f"[lambda: {a}, lambda: {b} * 0.5, lambda: {a} + 1]"
            return f"gj.switch(n + {rng.randrange(-2, 3)}, {branches})"
        if pick < 0.7:
            step = f"0.5 * np.tanh({value(depth - 1, [*names, s])}) + {s} * 0.25"
            rows = rng.choice([s, f"{s} + {a}", f"{s} * 2"])
            how = rng.choice(["", ", reverse=True"])
            whole = f"gj.scan(lambda {s}, {t}: ({step} + {t}, {rows}), {a}, {b}{how})"
            return f"({whole}[0] + {whole}[1].sum(0))"
        if pick < 0.85:
            step = f"np.tanh({value(depth - 1, [*names, f'{s}[1]'])})"
            return (
                f"gj.while_loop(lambda {s}: {s}[0] < n + {rng.randrange(4)}, "
                f"lambda {s}: ({s}[0] + 1, {step}), (n * 0, {a}))[1]"
            )
        step = f"0.5 * {value(depth - 1, [*names, s])} + {t}"
        return f"gj.fori_loop(n, {rng.randrange(5)}, lambda {t}, {s}: {step}, {a})"

    return value(depth, ["x", "y"])


@given(seed=st.integers(0, 10**9), size=st.integers(1, 6))
@settings(max_examples=60)
def test_random_programs(seed: int, size: int) -> None:
    rng = random.Random(seed)
    text = f"lambda x, y, n: {program(rng, 3)}"
    f = eval(text, {"np": np, "gj": gj})
    draw = np.random.default_rng(seed)
    jitted = compiled(f)
    for size_now in (size, size, size + 1, size + 3):
        x, y = draw.normal(size=size_now), draw.normal(size=size_now)
        for n in (np.int64(0), np.int64(2)):
            np.testing.assert_allclose(
                jitted(x, y, n), f(x, y, n), rtol=1e-9, atol=1e-12, err_msg=text
            )
