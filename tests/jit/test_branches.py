"""Python's own branches on traced values, against the undecorated functions."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphjit as gj
from graphjit.jit.specializer import MAX_PATHS
from graphjit.tracing.branches import MAX_AT_LINE

X = np.arange(5.0)


def outcome(function: Callable[..., Any], args: Any) -> Any:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error", gj.FallbackWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            return function(*args)
        except gj.FallbackWarning:
            raise
        except Exception as error:
            return type(error)


def agree(function: Callable[..., Any], *calls: tuple[Any, ...], rounds: int = 3) -> Any:
    """Compare decorated with undecorated calls, arguments that are written included."""
    decorated = gj.function(function)
    for _ in range(rounds):
        for args in calls:
            ours, theirs = ([np.copy(x) if isinstance(x, np.ndarray) else x for x in args]
                            for _ in range(2))  # fmt: skip
            found, wanted = outcome(decorated, ours), outcome(function, theirs)
            assert type(found) is type(wanted)
            np.testing.assert_equal(found, wanted)
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_equal(a, b)
    assert all(not s.reason or s.raises for s in decorated.specializations)
    return decorated


def chain(x: Any) -> Any:
    if x[0] > 0:
        if x[1] > 0:
            return "both"
        y = x + 1
    elif x.sum() > 0:
        y = x.sum()
    else:
        y = x
    return y


def raises(x: Any) -> Any:
    if x.min() < 0:
        raise ValueError("negative")
    return np.sqrt(x)


_names: dict[str, Any] = {}
exec("def asserts(x):\n    assert x.sum() > 0, 'sum'\n    return x / x.sum()", _names)
asserts = _names["asserts"]  # pytest rewrites those of this module


def nested(x: Any) -> Any:
    if (x.sum() > 3 and not x.min() < 0) or x.max() == 1:
        return x * 2 if x[0] else [x, 1]
    return {"x": x.mean()}


def caught(x: Any) -> Any:
    try:
        if x.sum() < 0:
            raise ValueError
        return x + 1
    except ValueError:
        return -x


def writes(x: Any) -> Any:
    if x[0] > 0:
        x[:] = 1
    else:
        x[1:] += 5
    return x.sum()


def early(x: Any) -> Any:
    for k in range(3):
        if x[k] < 0:
            return x * k
    return x.sum()


@pytest.mark.parametrize(
    "function",
    [
        chain, raises, asserts, nested, caught, writes, early,
        lambda x: x * 2 if x.sum() > 3 else x - 1,
        lambda x: 1.0 if x.sum() > 3 else x,
        lambda x: max(x[0], x[1]) + min(x[2], x[3]) + abs(x[4]),
        lambda x: sorted([x[0], x[1], x[2]]),
        lambda x: x.any() and x.all(),
        lambda x: bool(x.sum() > 0),
        lambda x: not x[0],
        lambda x: 0 < x[1] < 2 or x[:1],
        lambda x: any(v > 3 for v in x[:4]) or all(v > 0 for v in (x[0], x[4])),
        lambda x: np.zeros_like(x) if np.isnan(x).any() else x,
        lambda x: [k for k in range(3) if x[k] > 0],
        lambda x: "a" if x.sum() > 0 else "b",
    ],
)  # fmt: skip
def test_each_call_takes_its_path(function: Callable[..., Any]) -> None:
    agree(function, (X,), (-X,), (X + 1,), (X - 3,), (X * 0,), (X * np.nan,), (X,))


def test_a_function_that_is_called_from_machine_code() -> None:
    decorated = gj.function(chain)
    cases = [X, -X, X + 1, X - 3]
    for number in range(400):
        x = cases[number * 7 % 4]
        np.testing.assert_equal(decorated(x), chain(x))
    assert decorated.trace_count == 3


def test_only_the_path_that_is_taken_is_computed() -> None:
    """What another path would find wrong is no error."""
    agree(
        lambda x, i: x[i] if i < 3 else x[0] * 0 - 1, (X[:3], np.int64(2)), (X[:3], np.int64(7))
    )
    agree(lambda x: np.linalg.inv(x) if x.sum() else x, (np.eye(2),), (np.zeros((2, 2)),))


@pytest.mark.parametrize("value", [0, 1, -2.5, np.nan, 0j, True])
def test_truth_of_numbers_of_all_dtypes(value: Any) -> None:
    for dtype in (np.float32, np.int8, np.uint64, np.bool_, np.complex64, np.float16):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            x = np.array([value]).astype(dtype)
        agree(lambda x: x + x if x else x, (x,), (x[0],), (x.reshape(()),), (x[None],))


def test_several_elements_have_no_truth() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for x in (X, X[:0]):
            with pytest.raises(ValueError, match="truth value"):
                gj.function(lambda x: 1 if x > 0 else 2)(x)


class Model:
    def __init__(self) -> None:
        self.count, self.total, self.log = 0, np.zeros(5), [1]


def test_paths_that_store() -> None:
    def step(model: Any, x: Any) -> Any:
        if x.sum() > 0:
            model.count += 1
            model.total += x
        else:
            model.count -= 1
            model.log.append(model.count)
        return x + model.count

    mine, theirs, decorated = Model(), Model(), gj.function(step)
    for x in (X, -X, X, X, -X, -X, X):
        np.testing.assert_array_equal(decorated(mine, x), step(theirs, x))
        assert (mine.count, mine.log) == (theirs.count, theirs.log)
        np.testing.assert_array_equal(mine.total, theirs.total)


def test_variables_and_captured_arrays_decide() -> None:
    v, w = gj.Variable(1.0), np.zeros(3)

    def f(x: Any) -> Any:
        v.assign_add(1.0)
        if v > 3.0:
            v.assign(0.0)
        return x + w if w[0] > 0 else x - 1.0

    decorated, x = gj.function(f), np.ones(3)
    seen = []
    for k in range(9):
        w[0] = k % 2
        np.testing.assert_array_equal(decorated(x), x + w if w[0] > 0 else x - 1)
        seen.append(float(v.numpy()))
    assert seen == [2, 3, 0, 1, 2, 3, 0, 1, 2]
    assert all(not s.reason for s in decorated.specializations)


def test_sizes_that_vary() -> None:
    def f(x: Any) -> Any:
        if x.sum() > x.shape[0]:
            return x / x.sum()
        return np.zeros(x.shape[0])

    decorated = agree(
        f, *[(np.arange(n) * s + 0.1,) for n in (3, 4, 5, 9, 20, 2) for s in (1, 0)]
    )
    assert decorated.trace_count <= 6


def test_numbers_that_vary_decide_by_what_is_asked_of_them() -> None:
    decorated = agree(
        lambda x, n: x * n if n > 3 else x, *[(X, n) for n in range(60)], rounds=1
    )
    assert decorated.trace_count <= 3


def test_what_branches_often_runs_eagerly() -> None:
    def f(x: Any) -> Any:
        turns = {}
        while x.sum() < 1000:
            x = x * 1.5
            turns[len(turns)] = 1
        return x, turns

    decorated = gj.function(f)
    with pytest.warns(gj.FallbackWarning, match="use gj.cond"):
        np.testing.assert_equal(decorated(X), f(X))
    few = np.full(3, 900.0)
    np.testing.assert_equal(decorated(few), f(few))
    with pytest.raises(gj.errors.TracingError, match="while"):
        gj.function(f, fallback="error")(X)
    assert MAX_AT_LINE < 14


def test_a_path_that_can_not_be_traced_leaves_the_others_compiled() -> None:
    def f(x: Any) -> Any:
        return x * eval("2") if x.sum() > 0 else x - 1

    decorated = gj.function(f)
    assert outcome(decorated, (-X,)) is not None
    with pytest.warns(gj.FallbackWarning):
        np.testing.assert_array_equal(decorated(X), f(X))
    for x in (X, -X) * 100:
        np.testing.assert_array_equal(decorated(x), f(x))
    assert sorted(bool(s.reason) for s in decorated.specializations) == [False, True]


def test_too_many_paths() -> None:
    seen = {}

    def f(x: Any) -> Any:  # ways that store elsewhere don't join
        if x[0] > 0:
            seen["a"] = 1
        if x[1] > 0:
            seen["b"] = 2
        if x[2] > 0:
            seen["c"] = 3
        if x[3] > 0:
            seen["d"] = 4
        return x.sum() if x[4] > 0 else x[0]

    decorated = gj.function(f)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for bits in list(range(32)) * 2:
            x = np.array([1.0 if bits >> k & 1 else -1.0 for k in range(5)])
            assert decorated(x) == f(x)
    assert f"has taken {MAX_PATHS} paths" in str(caught[0].message)
    compiled = [s for s in decorated.specializations if not s.reason]
    assert len(compiled) == MAX_PATHS


def test_a_value_at_the_edge_of_a_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where NumPy, which decides, and compiled code disagree, the call runs eagerly."""
    from graphjit.tracing import branches

    decorated = gj.function(lambda x: x + 1 if x.sum() > 0 else x - 1)
    np.testing.assert_array_equal(decorated(X), X + 1)
    right = branches.Branches._value
    monkeypatch.setattr(
        branches.Branches,
        "_value",
        lambda *args: ~right(*args),  # as if it were rounded so
    )
    for _ in range(3):
        np.testing.assert_array_equal(decorated(-X), -X - 1)
    assert len(decorated.specializations) == 1
    monkeypatch.undo()
    np.testing.assert_array_equal(decorated(-X), -X - 1)
    assert len(decorated.specializations) == 2


def test_calls_that_raise_are_not_traced_for_ever() -> None:
    def f(x: Any) -> Any:
        if x.min() < 0:
            raise ValueError("negative")
        if x.max() > 100:
            return x / 2
        return np.sqrt(x)

    decorated = gj.function(f)
    with warnings.catch_warnings():
        warnings.simplefilter("error", gj.FallbackWarning)
        for x in [-X - 1] * 20 + [X] * 3 + [-X - 1] * 20 + [X * 100] * 3 + [X, -X - 1] * 20:
            if x.min() < 0:
                with pytest.raises(ValueError, match="negative"):
                    decorated(x)
            else:
                np.testing.assert_array_equal(decorated(x), f(x))
    assert sorted(b.outcome for s in decorated.specializations for b in s.branches) == [
        False, False, False, True,
    ]  # fmt: skip
    assert decorated.trace_count < 12


def test_which_bool_a_traced_one_is() -> None:
    for function in (
        lambda x, n: (x, (n > 2) is True, (n > 2) is not False),
        lambda x, n: x + 1 if (n > 2) is False else x,
        lambda x, n: (x, True is (n > 4)),
    ):
        agree(function, *[(X, n) for n in (1, 2, 3, 4, 5)])


def test_threads_that_take_different_paths() -> None:
    decorated, wrong = gj.function(chain), []

    def work(x: Any) -> None:
        for _ in range(300):
            if not np.array_equal(decorated(x), chain(x)):
                wrong.append(x)

    threads = [threading.Thread(target=work, args=(x,)) for x in (X, -X, X + 1, X - 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_a_call_uses_is_shown() -> None:
    f = gj.function(lambda x: x + 1 if x.sum() > 0 else x - 1)
    up, down = f.specialization(X), f.specialization(-X)
    assert up is not down and f.specialization(X) is up
    assert [b.outcome for b in up.branches] == [True]
    assert [b.outcome for b in down.branches] == [False]
    assert "test_branches.py" in f.explain(X) and "takes False" in f.explain(-X)
    (miss,) = f.explain_misses()
    assert "branches" in miss.guard
    with gj.config.forbid_recompile(), pytest.raises(gj.errors.RecompileError):
        gj.function(chain)(X), f(X * np.nan)
        g = gj.function(lambda x: x + 1 if x.sum() > 0 else x - 1)
        g(X), g(-X)


def test_out_arguments() -> None:
    f = gj.function(lambda x: x + 1 if x.sum() > 0 else x * 2)
    y = np.empty(5)
    for x in (X, -X, X):
        f(x, out=y)
        np.testing.assert_array_equal(y, x + 1 if x.sum() > 0 else x * 2)


PROGRAM = """
import numpy as np, graphjit as gj
f = gj.function(lambda x: x + 1 if x.sum() > 0 else x - 1, fallback="error")
x = np.arange(5.0)
for y in (x, -x, x):
    np.testing.assert_array_equal(f(y), y + 1 if y.sum() > 0 else y - 1)
print([specialization.from_cache for specialization in f.specializations])
"""


def test_it_is_kept_on_disk(tmp_path: Any) -> None:
    for found in ("[False, False]", "[True, True]"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False,
            env={**os.environ, "GRAPHJIT_CACHE_DIR": str(tmp_path)},
        )  # fmt: skip
        assert done.stdout.strip() == found, done.stderr


def program(rng: random.Random) -> str:
    """Statements that branch on arrays x, y and a dict s, and write to them."""
    lines: list[str] = []

    def test() -> str:
        a, b = rng.choice(["x", "y"]), rng.choice(["x", "y"])
        return rng.choice([
            f"{a}.sum() > {b}.mean()", f"{a}[0] < {b}[-1]", f"not {a}[1] > 0",
                f"({a} > 0).any()",
            f"{a}.max() > 1 and {b}.min() < 0", f"{a}[0] > 0 or {b}[0] > 0", f"{a}.argmax()",
            "s['n'] > 0 and x[2] > 0", f"0 < {a}[2] < 1",
        ])  # fmt: skip

    def statement(depth: int, indent: str) -> None:
        pick = rng.random()
        if depth and pick < 0.45:
            lines.append(f"{indent}if {test()}:")
            statement(depth - 1, indent + "    ")
            if rng.random() < 0.7:
                lines.append(f"{indent}else:")
                statement(depth - 1, indent + "    ")
            if rng.random() < 0.5:
                statement(depth - 1, indent)
            return
        lines.append(indent + rng.choice([
            "x = x + y", "y = x * 0.5 - 1", "x = np.where(x > y, x, -y)", "y[1:] = x[:-1]",
            "x += 1", "s['n'] += 1", "s['y'] = x", "return x", "return y.sum(), x",
            "return 'text'", "raise KeyError(3)", "y = x[::-1].copy()", "x = np.sort(x)",
        ]))  # fmt: skip

    for _ in range(rng.randrange(1, 4)):
        statement(2, "    ")
    return "\n".join(["def f(x, y, s):", *lines, "    return x, y, s['n']"])


def check(seed: int) -> None:
    rng = random.Random(seed)
    text = program(rng)
    names: dict[str, Any] = {"np": np}
    exec(text, names)
    f, draw = names["f"], np.random.default_rng(seed)
    decorated = gj.function(f)
    for _ in range(8):
        x, y = np.round(draw.normal(size=(2, rng.choice([3, 3, 4]))), 1)
        ours, theirs = [(x.copy(), y.copy(), {"n": 0}) for _ in range(2)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = wanted = None
            try:
                wanted = f(*theirs)
            except Exception as error:
                wanted = type(error)
            try:
                found = decorated(*ours)
            except Exception as error:
                found = type(error)
        message = f"seed {seed}, x {x}, y {y}\n{text}"
        assert type(found) is type(wanted), message
        np.testing.assert_equal(found, wanted, message)
        np.testing.assert_equal(ours, theirs, message)


@given(st.integers(0, 10**9))
@settings(max_examples=60)
def test_random_programs(seed: int) -> None:
    check(seed)
