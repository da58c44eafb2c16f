"""`out=` and `donate=`: results in memory that the caller names, and what is refused."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphjit as gj
from graphjit.codegen.cpu import target
from graphjit.core import memory_pool
from graphjit.core.errors import FrozenTensorError, InvalidArgumentError, TracingError
from graphjit.core.machine import machine
from graphjit.jit import outputs

X = np.arange(6.0).reshape(2, 3)


def both(body: Callable[..., Any]) -> list[Any]:
    """A function compiled, and one that can only run eagerly."""

    def untraceable(*args: Any) -> Any:
        float(np.sum(args[0]))
        return body(*args)

    return [gj.function(body, fallback="error"), gj.function(untraceable)]


eager_too = pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")


@eager_too
def test_one_array() -> None:
    for fn in both(lambda x, a: x * a + 1):
        for call in (fn.into, lambda out, *args, fn=fn: fn(*args, out=out)):
            for _ in range(3):
                y = np.full((2, 3), -1.0)
                assert call(y, X, 2.0) is y
                np.testing.assert_array_equal(y, X * 2 + 1)
            z = np.zeros((2, 3))
            assert call((z,), X, 3.0) is z
            np.testing.assert_array_equal(z, X * 3 + 1)
            np.testing.assert_array_equal(call(None, X, 3.0), X * 3 + 1)


def test_plain_arrays_go_a_short_way(monkeypatch: Any) -> None:
    class Long(Exception):
        pass

    def long(*args: Any) -> Any:
        raise Long

    fn = gj.function(lambda x, y: x * y + 1, fallback="error")
    square = np.arange(9.0).reshape(3, 3)
    fn(square, square)
    weight = np.arange(9.0).reshape(3, 3)
    reading = gj.function(lambda x: x @ weight + 1, fallback="error")
    reading(square)
    failing = gj.function(lambda x, i: gj.gather(x, i), fallback="error")
    failing(square, np.array([0, 1]))
    monkeypatch.setattr(outputs, "OutArrays", long)
    y = np.zeros((3, 3))
    for _ in range(2):
        assert fn.into(y, square, square) is y and fn(square, square, out=y) is y
        np.testing.assert_array_equal(y, square * square + 1)
    raw = np.zeros(9 * 8 + 1, np.uint8)[1:].view(np.float64).reshape(3, 3)
    kept = np.zeros((3, 3))
    kept.flags.writeable = False
    for call in (
        lambda: fn.into(square, square, weight),
        lambda: fn.into(y, square, y),
        lambda: fn.into(y.T, square, weight),
        lambda: fn.into(raw, square, weight),
        lambda: fn.into(kept, square, weight),
        lambda: fn.into(np.zeros((3, 3), np.float32), square, weight),
        lambda: fn.into(np.zeros((3, 2)), square, weight),
        lambda: fn.into((y,), square, weight),
        lambda: fn.into(y, square.T, weight),
        lambda: fn.into(y, square, weight[:2]),
        lambda: reading.into(y, square),
        lambda: failing.into(np.zeros((2, 3)), square, np.array([0, 9])),
    ):
        with pytest.raises(Long):
            call()
    with gj.config.eager(), pytest.raises(Long):
        fn.into(y, square, square)


@eager_too
def test_several_results() -> None:
    for fn in both(lambda x: (x + 1, {"sum": x.sum(1), "x": [x * 2]}, None)):
        a, b = np.zeros((2, 3)), np.zeros(2)
        first, rest, nothing = fn.into((a, {"sum": b, "x": [None]}, None), X)
        assert first is a and rest["sum"] is b and nothing is None
        np.testing.assert_array_equal(a, X + 1)
        np.testing.assert_array_equal(b, X.sum(1))
        np.testing.assert_array_equal(rest["x"][0], X * 2)


@eager_too
def test_no_dims() -> None:
    for fn in both(lambda x: x.sum()):
        y = np.zeros(())
        assert fn(X, out=y) is y
        assert y == 15


def test_memory_is_not_taken_anew() -> None:
    fn = gj.function(lambda x: x * 2 + 1, fallback="error")
    x = np.ones(memory_pool.LARGE_BYTES // 4)
    y = np.zeros_like(x)
    fn(x, out=y)
    fn(x)
    before = memory_pool.stats()
    fn(x, out=y)
    after = memory_pool.stats()
    assert (before["mapped"], before["reused"]) == (after["mapped"], after["reused"])
    np.testing.assert_array_equal(y, x * 2 + 1)


def layouts() -> dict[str, Any]:
    raw = np.zeros(8 * 6 + 1, np.uint8)
    return {
        "plain": np.zeros((2, 3)),
        "view": np.zeros((4, 3))[1:3],
        "strided": np.zeros((4, 6))[::2, ::2],
        "negative": np.zeros((2, 3))[::-1, ::-1],
        "Fortran": np.zeros((2, 3), order="F"),
        "misaligned": raw[1:].view(np.float64).reshape(2, 3),
        "swapped": np.zeros((2, 3), ">f8"),
    }


@eager_too
@pytest.mark.parametrize("name", layouts())
def test_arrays_of_every_make(name: str) -> None:
    for fn in both(lambda x: x * 2 + 1):
        for _ in range(2):
            y = layouts()[name]
            assert fn(X, out=y) is y
            np.testing.assert_array_equal(y, X * 2 + 1)


def test_a_file_as_out(tmp_path: Path) -> None:
    y = np.memmap(tmp_path / "y", np.float64, "w+", shape=(2, 3))
    for fn in both(lambda x: x + 1)[:1]:
        assert fn(X, out=y) is y
        y.flush()
    np.testing.assert_array_equal(np.fromfile(tmp_path / "y").reshape(2, 3), X + 1)


def frozen() -> Any:
    y = np.zeros((2, 3))
    y.flags.writeable = False
    return y


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "shape": (lambda: np.zeros((3, 2)), InvalidArgumentError, r"\[3, 2\].*\[2, 3\]"),
    "rank": (lambda: np.zeros((1, 2, 3)), InvalidArgumentError, r"\[1, 2, 3\]"),
    "dtype": (lambda: np.zeros((2, 3), np.float32), InvalidArgumentError, "float32.*float64"),
    "read-only": (frozen, InvalidArgumentError, "read-only"),
    "broadcast": (lambda: np.broadcast_to(0.0, (2, 3)), InvalidArgumentError, "read-only"),
    "masked": (lambda: np.ma.zeros((2, 3)), InvalidArgumentError, "MaskedArray"),
    "list": (lambda: [[0.0] * 3] * 2, InvalidArgumentError, "not float"),
    "string": (lambda: "out", InvalidArgumentError, "not str"),
    "two": (lambda: (np.zeros((2, 3)), np.zeros((2, 3))), InvalidArgumentError, "tuple"),
    "tensor": (lambda: gj.zeros((2, 3), gj.float64), FrozenTensorError, "never changes"),
    "variable": (lambda: gj.Variable(X), InvalidArgumentError, "assign"),
}


@eager_too
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    make, kind, text = REFUSED[name]
    for fn in both(lambda x: x * 2 + 1):
        for _ in range(2):
            out = make()
            with pytest.raises(kind, match=text) as caught:
                fn(X, out=out)
            assert "test_outputs.py" in str(caught.value)
            if isinstance(out, np.ndarray):
                assert not np.any(out)
        np.testing.assert_array_equal(fn(X), X * 2 + 1)


def test_a_result_that_is_no_array() -> None:
    fn = gj.function(lambda x, a: (x, "text", a * 2))
    with pytest.raises(InvalidArgumentError, match="none"):
        fn.into((None, np.zeros(()), None), X, 1.5)
    with pytest.raises(InvalidArgumentError, match="none"):
        fn.into((None, None, np.zeros(())), X, 1.5)
    assert fn.into((np.zeros((2, 3)), None, None), X, 1.5)[1:] == ("text", 3.0)


def test_arrays_of_out_that_overlap() -> None:
    fn = gj.function(lambda x: (x + 1, x + 2))
    y = np.zeros((3, 3))
    with pytest.raises(InvalidArgumentError, match="share memory"):
        fn(X, out=(y[:2], y[1:]))
    assert not y.any()
    wide = np.zeros((2, 6))
    fn(X, out=(wide[:, ::2], wide[:, 1::2]))  # side by side
    np.testing.assert_array_equal(wide[:, ::2], X + 1)
    np.testing.assert_array_equal(wide[:, 1::2], X + 2)


BODIES: dict[str, Callable[[Any, Any], Any]] = {
    "elementwise": lambda x, y: x * 2 + y,
    "transpose": lambda x, y: x.T - y,
    "reverse": lambda x, y: x[::-1] + y[:, ::-1],
    "softmax": lambda x, y: np.exp(x - x.max(1, keepdims=True)) + y,
    "two kernels": lambda x, y: x / np.sum(x * y, 0) + x.T,
    "product": lambda x, y: x @ y,
    "identity": lambda x, y: x,
    "sorted": lambda x, y: np.sort(x, 1) + y,
}


@eager_too
@settings(max_examples=60)
@given(
    name=st.sampled_from(sorted(BODIES)),
    n=st.sampled_from([1, 2, 5, 40]),
    starts=st.tuples(*[st.integers(0, 3)] * 3),
    steps=st.tuples(*[st.sampled_from([(1, 1), (1, -1), (-1, 1), (2, 1)])] * 3),
)
def test_out_that_overlaps_arguments(name: str, n: int, starts: Any, steps: Any) -> None:
    def views(base: Any) -> list[Any]:
        found = []
        for start, (a, b) in zip(starts, steps, strict=True):
            part = base[start : start + 2 * n, start : start + n]
            found.append(part[:: abs(a)][:n][:: 1 if a > 0 else -1, ::b])
        return found

    base = np.random.default_rng(n).uniform(1, 2, (2 * n + 4, n + 4))
    expected_base = base.copy()
    x, y, out = views(expected_base)
    expected = BODIES[name](x, y)
    out[...] = expected
    for fn in both(BODIES[name]):
        given_base = np.random.default_rng(n).uniform(1, 2, base.shape)
        x, y, out = views(given_base)
        assert fn(x, y, out=out) is out
        np.testing.assert_allclose(given_base, expected_base, rtol=1e-13)


RESULTS: list[Callable[..., Any]] = [
    lambda a, b: a, lambda a, b: a.T, lambda a, b: a[::-1], lambda a, b: np.flip(b),
    lambda a, b: b.T, lambda a, b: np.rot90(a), lambda a, b: a + b, lambda a, b: a.T * 2,
    lambda a, b: (a - b)[::-1], lambda a, b: np.ravel(b).reshape(3, 3),
]  # fmt: skip


@eager_too
@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, len(RESULTS) - 1), min_size=1, max_size=3),
    st.booleans(),
    st.lists(st.sampled_from([0, 0, 1, 3, 9, 30]), min_size=5, max_size=5),
    st.lists(
        st.sampled_from([(24, 8), (8, 24), (-24, 8), (24, -8), (-8, -24)]),
        min_size=5,
        max_size=5,
    ),
)
def test_views_and_copies_into_overlapping_arrays(
    chosen: Any, again: bool, starts: Any, strides: Any
) -> None:
    """All results are made before any is written."""

    def body(a: Any, b: Any) -> Any:
        results = [RESULTS[k](a, b) for k in chosen]
        return tuple(results + results[:again])

    def arrays() -> tuple[Any, list[Any]]:
        memory = np.arange(60.0)
        views = []
        for start, steps in zip(starts, strides, strict=True):
            first = start + sum(-2 * step // 8 for step in steps if step < 0)
            views.append(np.lib.stride_tricks.as_strided(memory[first:], (3, 3), steps))
        return memory, views

    expected, (a, b, *out) = arrays()
    results = [np.array(x) for x in body(a, b)]
    out += [None] * (len(results) - len(out))
    out = out[: len(results)]
    given = [x for x in out if x is not None]
    if any(np.shares_memory(x, y) for x, y in itertools.combinations(given, 2)):
        return
    for array, result in zip(out, results, strict=True):
        if array is not None:
            array[...] = result
    for fn in both(body):
        memory, (a, b, *out) = arrays()
        out += [None] * (len(results) - len(out))
        fn(a, b, out=tuple(out[: len(results)]))
        np.testing.assert_array_equal(memory, expected)


@eager_too
@pytest.mark.parametrize(
    "body",
    [
        lambda a, b: (a + 1, b[::-1]),
        lambda a, b: (a.T, b.T),
        lambda a, b: (a, b),
        lambda a, b: (np.flip(a), np.split(b, 1)[0]),
        lambda a, b: (a + 1, np.ravel(b[:, ::-1]).reshape(3, 3)),
        lambda a, b: (a + 1, b.T.reshape(3, 3)),
    ],
)
def test_results_in_memory_of_an_argument_that_is_written(body: Any) -> None:
    for fn in both(body):
        a, b, y = (
            np.arange(9.0).reshape(3, 3),
            np.arange(9.0, 18).reshape(3, 3),
            np.ones((3, 3)),
        )
        expected = [np.array(x) for x in body(a, b)]
        fn(a, b, out=(b, y))
        np.testing.assert_array_equal(b, expected[0])
        np.testing.assert_array_equal(y, expected[1])


def test_a_view_that_fails_leaves_the_arrays_as_they_were() -> None:
    fn = gj.function(lambda a, k: (a + 1, a[k]), fallback="error")
    y, z = np.zeros((3, 3)), np.zeros(3)
    for k in (0, 1, 2):
        fn(np.ones((3, 3)), k, out=(y, z))
    y[:] = z[:] = 7
    with pytest.raises(IndexError):
        fn(np.ones((3, 3)), 5, out=(y, z))
    assert np.all(y == 7) and np.all(z == 7)


def test_in_place() -> None:
    fn = gj.function(lambda x: x * 2 + 1, fallback="error")
    x = np.arange(1000.0)
    for _ in range(3):
        before = x.copy()
        assert fn(x, out=x) is x
        np.testing.assert_array_equal(x, before * 2 + 1)


def test_captures_and_variables_that_out_overlaps() -> None:
    w = np.arange(12.0)
    v = gj.Variable(np.ones(8))
    fn = gj.function(lambda x: w[:8] * x + w[4:], fallback="error")
    expected = w[:8] * 2.0 + w[4:]
    fn(np.full(8, 2.0), out=w[2:10])
    np.testing.assert_array_equal(w[2:10], expected)
    step = gj.function(lambda x: (v.assign_add(x), x * v)[1], fallback="error")
    x = np.full(8, 3.0)
    step(x, out=x)
    np.testing.assert_array_equal(v.numpy(), 4)
    np.testing.assert_array_equal(x, 12)


def test_nothing_is_written_when_a_check_fails() -> None:
    fn = gj.function(lambda x, i: (x * 2, x[i]))
    x, y, z = np.arange(100.0), np.zeros(100), np.zeros(3)
    with pytest.raises(IndexError):
        fn(x, np.array([1, 2, 200]), out=(y, z))
    assert not y.any() and not z.any()
    fn(x, np.array([1, 2, 99]), out=(y, z))
    np.testing.assert_array_equal(y, x * 2)
    np.testing.assert_array_equal(z, [1, 2, 99])
    solve = gj.function(lambda a: (a * 2, np.linalg.inv(a)))
    a, inverse = np.zeros((2, 2)), np.zeros((2, 2))
    with pytest.raises(np.linalg.LinAlgError):
        solve(np.ones((2, 2)), out=(a, inverse))
    assert not a.any() and not inverse.any()


def test_large_results_at_any_place() -> None:
    """Such results are stored past the cache in whole lines, where they begin at one."""
    fn = gj.function(lambda x: x + 1, donate="x", fallback="error")
    size = 12_000_000
    x = np.zeros(size)
    for shift in (0, 1, 3):
        room = np.zeros(size + 16)
        at = -room.ctypes.data % 64 // 8 + shift
        y = room[at : at + size]
        fn(x, out=y)
        assert y.min() == y.max() == 1
        assert not room[:at].any() and not room[at + size :].any()
        assert fn(y) is y
        assert y.min() == y.max() == 2
        assert not room[:at].any() and not room[at + size :].any()


def test_places_that_no_whole_lines_fit(monkeypatch: Any) -> None:
    """A result that would be stored past the cache is not, where it can't begin at a line."""
    monkeypatch.setattr(target, "LARGE_BYTES", 0)
    monkeypatch.setattr(target, "machine", lambda: replace(machine(), l3_bytes=0))
    fn = gj.function(lambda x: x * 2 + 1, fallback="error")
    x, room = np.arange(1000.0), np.zeros(1100)
    specialization = fn.specialization(x)
    assert specialization.executable.program.aligned == specialization.program.outputs
    for shift in (0, 1):
        at = -room.ctypes.data % 64 // 8 + shift
        y = room[at : at + 1000]
        assert fn(x, out=y) is y
        np.testing.assert_array_equal(y, x * 2 + 1)
        assert ("_unaligned" in vars(specialization)) == bool(shift)


def test_parameters_of_that_name() -> None:
    own = gj.function(lambda x, out: x + out)
    np.testing.assert_array_equal(own(X, out=X), X * 2)
    y = np.zeros((2, 3))
    assert own.into(y, X, out=X) is y
    np.testing.assert_array_equal(y, X * 2)
    rest = gj.function(lambda x, **names: x + names["out"])
    np.testing.assert_array_equal(rest(X, out=X), X * 2)


def test_methods_signatures_and_eager_mode() -> None:
    class Layer:
        w = 3.0

        @gj.function
        def scaled(self, x: Any) -> Any:
            return x * self.w

    y = np.zeros((2, 3))
    assert Layer().scaled(X, out=y) is y
    np.testing.assert_array_equal(y, X * 3)
    spec = gj.TensorSpec([None, 3], gj.float64)
    fn = gj.function(lambda x, y: x - y, input_signature=[spec, spec])
    assert fn(y=X, x=X * 2, out=y) is y
    np.testing.assert_array_equal(y, X)
    with gj.eager():
        assert fn(X * 3, X, out=y) is y
    np.testing.assert_array_equal(y, X * 2)


def test_out_inside_a_trace() -> None:
    inner = gj.function(lambda x: x + 1)
    y = np.zeros((2, 3))
    outer = gj.function(lambda x: inner(x, out=y), fallback="error")
    with pytest.raises(TracingError, match="out"):
        outer(X)


def test_tensors_in_arrays_out() -> None:
    fn = gj.function(lambda x: x * 2)
    y = np.zeros((2, 3))
    assert fn(gj.constant(X), out=y) is y
    np.testing.assert_array_equal(y, X * 2)


# --- donate


def test_donated_memory_is_used_again() -> None:
    fn = gj.function(lambda x, y: x * 2 + y, donate="x", fallback="error")
    for _ in range(3):
        x = np.arange(1000.0)
        result = fn(x, np.ones(1000))
        assert np.shares_memory(result, x)
        np.testing.assert_array_equal(result, np.arange(1000.0) * 2 + 1)
    assert "donated" in fn.explain(np.arange(1000.0), np.ones(1000))


def test_donation_by_position_and_in_containers() -> None:
    fn = gj.function(
        lambda p, x: ({k: w - x for k, w in p.items()}, x.sum()), donate=[0], fallback="error"
    )
    p = {"a": np.arange(3.0), "b": np.ones((2, 3))}
    expected = {k: w - 1.0 for k, w in p.items()}
    result, _ = fn(p, np.ones(3))
    for name in p:
        np.testing.assert_array_equal(result[name], expected[name])
        assert result[name] is p[name]
    rest = gj.function(lambda x, *y, **z: (x + 1, y[1] + 1, z["k"] + 1), donate=("y", "z"))
    arrays = [np.full(4, float(k)) for k in range(4)]
    a, b, c = rest(*arrays[:3], k=arrays[3])
    assert not any(np.shares_memory(a, x) for x in (arrays[0], arrays[2], arrays[3]))
    np.testing.assert_array_equal([a[0], b[0], c[0]], [1, 3, 4])
    taken = [x for x in arrays[1:] if any(x is y for y in (a, b, c))]
    assert len(taken) == 3


@settings(max_examples=60)
@given(
    name=st.sampled_from(sorted(BODIES)),
    n=st.sampled_from([1, 3, 16, 100, 400]),
    donate=st.sampled_from([("x",), ("y",), ("x", "y")]),
)
def test_donation_changes_no_result(name: str, n: int, donate: Any) -> None:
    body = BODIES[name]
    rng = np.random.default_rng(n)
    a, b = rng.uniform(1, 2, (n, n)), rng.uniform(1, 2, (n, n))
    plain = gj.function(lambda x, y: body(x, y), fallback="error")
    fn = gj.function(lambda x, y: body(x, y), donate=donate, fallback="error")
    for _ in range(2):
        x, y = a.copy(), b.copy()
        np.testing.assert_array_equal(fn(x, y), plain(a, b))
        for array, value, letter in ((x, a, "x"), (y, b, "y")):
            if letter not in donate:
                np.testing.assert_array_equal(array, value)


@pytest.mark.parametrize("n", [4, 1500])
def test_chains_of_kernels_over_donated_memory(n: int) -> None:
    """A result may be begun only when nothing reads the argument any more."""

    def body(x: Any) -> Any:
        total = np.cumsum(x, 0)
        scaled = x / total.max(0)
        return scaled - total.T, scaled * 2, x + total

    x = np.random.default_rng(0).uniform(1, 2, (n, n))
    expected = gj.function(body, fallback="error")(x)
    for got, wanted in zip(
        gj.function(body, donate=0, fallback="error")(x.copy()), expected, strict=True
    ):
        np.testing.assert_array_equal(got, wanted)


def test_what_is_donated_but_not_used() -> None:
    fn = gj.function(lambda x: x + 1, donate="x", fallback="error")
    frozen_x = X.copy()
    frozen_x.flags.writeable = False
    for x in (frozen_x, gj.constant(X), X[:, ::-1], X.astype(">f8"), X.T):
        before = np.array(x)
        np.testing.assert_array_equal(fn(x), before + 1)
        np.testing.assert_array_equal(np.array(x), before)
    other = gj.function(lambda x: x.astype(np.float32), donate="x")
    other(X)
    assert X[1, 2] == 5
    with gj.eager():
        fn(X)
    assert X[1, 2] == 5


def test_nothing_donated_is_written_when_a_check_fails() -> None:
    fn = gj.function(lambda x, i: (x * 2, x[i]), donate="x")
    x = np.arange(100.0)
    with pytest.raises(IndexError):
        fn(x, np.array([200]))
    np.testing.assert_array_equal(x, np.arange(100.0))


def test_donated_arrays_that_overlap() -> None:
    w = np.arange(10.0)
    fn = gj.function(lambda x, y: (x + y, x - y), donate=("x", "y"))
    x = np.arange(10.0)
    fn(x.copy(), x.copy())
    for a, b in ((x, x), (x[:6], x[4:]), (x, x[::-1])):
        with pytest.raises(InvalidArgumentError, match="donated, but shares memory"):
            fn(a, b)
    np.testing.assert_array_equal(x, np.arange(10.0))
    captured = gj.function(lambda x: x + w, donate="x")
    with pytest.raises(InvalidArgumentError, match="besides"):
        captured(w)
    np.testing.assert_array_equal(w, np.arange(10.0))
    one = gj.function(lambda x, y: x + y, donate="x")
    with pytest.raises(InvalidArgumentError, match=r"argument x .* argument y\.0"):
        gj.function(lambda x, y: x + y[0], donate="x")(x, [x])
    with pytest.raises(InvalidArgumentError, match="shares memory"):
        one(x, x)
    assert one(x, x.copy()) is x


@pytest.mark.parametrize("donate", ["z", 2, -1, True, 1.5, ("x", None), {"x": 1}])
def test_parameters_that_are_not_there(donate: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="donate"):
        gj.function(lambda x, y: x, donate=donate)


def test_donation_and_out_together() -> None:
    fn = gj.function(lambda x, y: (x + y, x - y), donate="x", fallback="error")
    for targets in itertools.product((False, True), repeat=2):
        x, y = np.arange(5.0), np.ones(5)
        out = tuple(np.zeros(5) if t else None for t in targets)
        results = fn(x, y, out=out)
        np.testing.assert_array_equal(results[0], np.arange(5.0) + 1)
        np.testing.assert_array_equal(results[1], np.arange(5.0) - 1)
        assert all(r is o for r, o in zip(results, out, strict=True) if o is not None)
    x = np.arange(5.0)
    a, b = fn(x, np.ones(5), out=(x, None))
    assert a is x
    np.testing.assert_array_equal(b, np.arange(5.0) - 1)


def test_donation_travels() -> None:
    fn = gj.function(lambda x: x + 1, donate="x", fallback="error")
    again = pickle.loads(pickle.dumps(fn))
    x = np.arange(5.0)
    assert again(x) is x
