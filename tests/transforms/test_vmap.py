"""gj.vmap against loops over undecorated functions of NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphjit as gj
from graphjit.errors import InvalidArgumentError, TracingError

Array = Any
RNG = np.random.default_rng(3)
A = RNG.normal(size=(4, 3, 3))
SPD = A @ A.transpose(0, 2, 1) + 3 * np.eye(3)
V = RNG.normal(size=(4, 3))
N = RNG.integers(0, 3, (4, 5))
X = RNG.normal(size=(3, 5))
W = RNG.normal(size=3)


def examples(function: Callable[..., Any], in_axes: Any, *args: Any) -> Any:
    """What a loop gives, stacked along the first axis."""
    if not isinstance(in_axes, tuple):
        in_axes = (in_axes,) * len(args)
    pairs = list(zip(args, in_axes, strict=True))
    size = next(np.shape(x)[axis] for x, axis in pairs if axis is not None)
    rows = [
        function(*[x if axis is None else np.take(x, k, axis) for x, axis in pairs])
        for k in range(size)
    ]
    if isinstance(rows[0], tuple):
        return tuple(np.stack(column) for column in zip(*rows, strict=True))
    return np.stack(rows)


def check(function: Callable[..., Any], in_axes: Any, *args: Any, rtol: float = 1e-12) -> None:
    expected = examples(function, in_axes, *args)
    for found in (
        gj.vmap(function, in_axes)(*args),
        gj.function(lambda *a: gj.vmap(function, in_axes)(*a), fallback="error")(*args),
    ):
        assert isinstance(found, tuple) == isinstance(expected, tuple)
        parts = zip(
            found if isinstance(found, tuple) else [found],
            expected if isinstance(expected, tuple) else [expected],
            strict=True,
        )
        for y, z in parts:
            assert (type(y), y.dtype, y.shape) == (type(z), z.dtype, z.shape)
            np.testing.assert_allclose(y, z, rtol=rtol, atol=1e-12)


FORMS: dict[str, tuple[Callable[..., Any], Any, tuple[Any, ...]]] = {
    "elementwise": (lambda a, v: np.tanh(a) * v - 1, 0, (A, V)),
    "other ranks": (lambda v, x: v[:, None] + x, (0, None), (V, X)),
    "scalars": (lambda s, x: s * x, (0, None), (W, X)),
    "of one number": (lambda s: s * 2 + 1, 0, (W,)),
    "where": (lambda v, w: np.where(v > 0, v, w), (0, None), (V, W)),
    "sums": (lambda a: (a.sum(), a.sum(axis=0), a.mean(axis=-1, keepdims=True)), 0, (A,)),
    "extremes": (lambda a: (a.max(axis=1), a.argmin(axis=0), a.std()), 0, (A,)),
    "products": (lambda a, b: a @ b, 0, (A, SPD)),
    "times a matrix": (lambda a, x: a @ x, (0, None), (A, X)),
    "a matrix times": (lambda x, a: x.T @ a, (None, 0), (X, A)),
    "times a vector": (lambda a, w: a @ w, (0, None), (A, W)),
    "vectors": (lambda v, w: v @ w, (0, None), (V, W)),
    "outer": (np.outer, 0, (V, V)),
    "einsum": (lambda a, v: np.einsum("ij,j->i", a, v), 0, (A, V)),
    "batches in examples": (lambda b, m: b @ m, (1, None), (A[:, None], A[:, :, :2])),
    "views": (lambda a: (a.T, a.reshape(-1), a[::-1, 1:], a[None]), 0, (A,)),
    "broadcast": (lambda v: np.broadcast_to(v, (2, 3)), 0, (V,)),
    "joined": (lambda a, v, w: np.vstack([a, v, w]), (0, 0, None), (A, V, W)),
    "rolled": (lambda a: np.roll(a, 1, axis=0), 0, (A,)),
    "running": (lambda a: (np.cumsum(a, axis=1), np.cumprod(a, axis=0)), 0, (A,)),
    "indexed": (lambda v, n: v[n], (None, 0), (W, N)),
    "items": (lambda v, n: v[n], (0, None), (V, N[0] % 3)),
    "own items": (lambda v, n: v[n], 0, (V, N)),
    "rows and columns": (lambda a, n: a[n % 3, n[::-1]], 0, (A, N)),
    "columns": (lambda a, n: a[:, n], 0, (A, N)),
    "columns of all": (lambda a, n: a[:, n], (0, None), (A, N[0])),
    "best": (lambda v: v[np.argmax(v)], 0, (V,)),
    "sorted": (lambda a: (np.sort(a, axis=0), np.argsort(a), np.median(a)), 0, (A,)),
    "inverse": (np.linalg.inv, 0, (SPD,)),
    "solutions": (lambda s, v: np.linalg.solve(s, v), 0, (SPD, V)),
    "solutions of one": (lambda s, v: np.linalg.solve(s, v), (None, 0), (SPD[0], V)),
    "solutions of all": (lambda s, v: np.linalg.solve(s, v), (0, None), (SPD, W)),
    "solved matrices": (lambda s, b: np.linalg.solve(s, b), (0, None), (SPD, X)),
    "factors": (lambda s: (np.linalg.cholesky(s), np.linalg.det(s)), 0, (SPD,)),
    "eigenvalues": (lambda s: np.linalg.eigvalsh(s), 0, (SPD,)),
    "norms": (lambda a: (np.linalg.norm(a), np.linalg.norm(a, axis=0)), 0, (A,)),
    "transforms": (lambda v: np.abs(np.fft.rfft(v)), 0, (V,)),
    "searched": (lambda v, w: np.searchsorted(np.sort(v), w), (0, None), (V, W)),
    "other axes": (lambda a, x: a * 2 - x, (2, 1), (A, A)),
    "interpolated": (lambda v: np.interp(v, np.arange(3.0), np.arange(3.0) ** 2), 0, (V,)),
    "convolved": (lambda v, w: np.convolve(v, w), (0, None), (V, W)),
    "assigned": (lambda v: _assigned(v), 0, (V,)),
    "counted loop": (lambda v, w: _counted(v, w), (0, None), (V, W)),
    "integers": (lambda n: (n // 2, n % 3, n.sum(), n.prod()), 0, (N,)),
    "bools": (lambda v: (v > 0, (v > 0).all(), ~(v > 0)), 0, (V,)),
    "complex": (lambda v: (np.exp(1j * v), np.abs(v + 1j)), 0, (V,)),
    "the same for all": (lambda v, w: (w, w + 1, np.zeros(2)), (0, None), (V, W)),
    "narrow": (lambda v: v * v, 0, (V.astype("f4"),)),
}


def _assigned(v: Array) -> Array:
    w = v.copy()
    w[0] = w[1] * 2
    w[1:] += 1
    return w


def _counted(v: Array, w: Array) -> Array:
    total = np.zeros(3)
    for k in range(40):
        total = np.tanh(total + v) + w * k
    return total


@pytest.mark.parametrize("name", FORMS)
def test_equal_to_a_loop(name: str) -> None:
    function, in_axes, args = FORMS[name]
    check(function, in_axes, *args)


@pytest.mark.parametrize(
    "name", ["elementwise", "products", "own items", "sums", "solutions", "rows and columns"]
)
def test_for_all_sizes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gj.config, "symbolic_after", 2)
    function, in_axes, args = FORMS[name]
    f = gj.vmap(function, in_axes)
    for size in (4, 3, 2, 1, 4, 2):
        given = [x[:size] for x in args]
        expected = examples(function, in_axes, *given)
        found = f(*given)
        several = isinstance(expected, tuple)
        pairs = zip(found, expected, strict=True) if several else [(found, expected)]
        for y, z in pairs:
            np.testing.assert_allclose(y, z, rtol=1e-12)


def test_routines_are_called_for_one_example_after_the_other() -> None:
    found = gj.vmap(gj.linalg.lstsq)(A[:, :, :2], V[:, :, None])
    expected = [np.linalg.lstsq(a[:, :2], v, rcond=None)[0] for a, v in zip(A, V, strict=True)]
    np.testing.assert_allclose(np.asarray(found)[:, :, 0], expected)
    np.testing.assert_allclose(np.asarray(gj.vmap(gj.linalg.expm)(A))[2], _expm(A[2]))


def _expm(a: Array) -> Array:
    import scipy.linalg

    return scipy.linalg.expm(a)


@pytest.mark.filterwarnings("ignore")
def test_routines_for_all_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gj.config, "symbolic_after", 2)
    for f in (
        lambda q: np.searchsorted(q, 0.1),
        lambda q: np.partition(q, 1),
        lambda q: np.interp(q, [0.0, 1.0], [1.0, 2.0]),
    ):
        g, h = gj.vmap(f), gj.function(lambda x, f=f: gj.map(f, x))
        for n in (3, 4, 5, 2):
            x = RNG.random((n, 4))
            expected = np.stack([f(row) for row in x])
            np.testing.assert_allclose(g(x), expected)
            np.testing.assert_allclose(h(x), expected)


OUTSIDE = np.zeros(3)


def test_writes_into_arrays_from_outside() -> None:
    def into_it(v: Any) -> Any:
        OUTSIDE[...] += v
        return v

    def into_copies(v: Any, k: Any) -> Any:
        w, z = v.copy(), np.array(OUTSIDE)
        w[k] = 7
        z[0] += k
        return w + z

    for call in (gj.vmap(into_it), gj.function(lambda x: gj.map(into_it, x))):
        OUTSIDE[...] = 0
        with pytest.warns(gj.FallbackWarning):
            np.testing.assert_array_equal(call(V), V)
        np.testing.assert_allclose(OUTSIDE, V.sum(0))
    strict = gj.function(lambda v, k: gj.vmap(into_copies, (None, 0))(v, k), fallback="error")
    found = strict(W, np.array([0, 2]))
    np.testing.assert_allclose(found, [into_copies(W, k) for k in (0, 2)])


# -- axes


def test_out_axes() -> None:
    f = lambda a, w: (a + 1, a.sum(), w)  # noqa: E731
    found = gj.vmap(f, (0, None), (2, 0, None))(A, W)
    np.testing.assert_array_equal(found[0], np.moveaxis(A + 1, 0, 2))
    np.testing.assert_allclose(found[1], A.sum((1, 2)))
    np.testing.assert_array_equal(found[2], W)
    np.testing.assert_array_equal(gj.vmap(lambda a: a, 0, -1)(A), np.moveaxis(A, 0, -1))
    np.testing.assert_array_equal(gj.vmap(lambda a: a, -1, 0)(A), np.moveaxis(A, -1, 0))


def test_structures() -> None:
    def f(p: dict[str, Any], xs: list[Any]) -> dict[str, Any]:
        return {"out": p["a"] @ xs[0] + p["b"], "twice": (xs[1] * 2,)}

    p, xs = {"a": A, "b": W}, [V, 2.0]
    found = gj.vmap(f, ({"a": 0, "b": None}, [0, None]))(p, xs)
    np.testing.assert_allclose(found["out"], np.einsum("kij,kj->ki", A, V) + W)
    np.testing.assert_array_equal(found["twice"][0], np.full(4, 4.0))


def test_arguments_by_name() -> None:
    found = gj.vmap(lambda v, *, w: v + w, in_axes=0)(V, w=V[::-1])
    np.testing.assert_array_equal(found, V + V[::-1])


def test_nested() -> None:
    inner = gj.vmap(lambda v, w: v @ w, (None, 0))
    found = gj.vmap(inner, (0, None))(V, V)
    np.testing.assert_allclose(found, V @ V.T)
    three = gj.vmap(gj.vmap(gj.vmap(lambda x: x * 2 + 1)))
    np.testing.assert_array_equal(three(A), A * 2 + 1)
    crossed = gj.vmap(gj.vmap(lambda a, b: a * b, (0, None)), (None, 0))(W, V[0])
    np.testing.assert_allclose(crossed, np.outer(V[0], W))


# -- control flow


def test_conditions_that_differ() -> None:
    def f(x: Any) -> Any:
        return gj.cond(x.sum() > 0, lambda: x * 2, lambda: -x)

    np.testing.assert_array_equal(gj.vmap(f)(V), [v * 2 if v.sum() > 0 else -v for v in V])


def test_conditions_that_are_shared() -> None:
    def f(flag: Any, x: Any) -> Any:
        return gj.cond(flag, lambda: (x, x + 1), lambda: (np.zeros(3), x))

    for flag in (np.True_, np.False_):
        found = gj.vmap(f, (None, 0))(flag, V)
        wanted = (V, V + 1) if flag else (np.zeros((4, 3)), V)
        for y, z in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(y, z)


def test_what_isnt_taken_raises_nothing() -> None:
    def f(n: Any) -> Any:
        return gj.cond(n > 0, lambda: 12 // n, lambda: n)

    np.testing.assert_array_equal(gj.vmap(f)(np.array([0, 3, -1, 4])), [0, 4, -1, 3])

    def g(n: Any, w: Any) -> Any:
        return gj.cond(n < 3, lambda: w[n], lambda: 0.0)

    np.testing.assert_array_equal(
        gj.vmap(g, (0, None))(np.array([7, 1, 2]), W), [0, W[1], W[2]]
    )


def test_no_nan_of_what_isnt_taken() -> None:
    f = gj.vmap(lambda x: gj.cond(x > 0, lambda: np.log(x), lambda: x * 0))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(f(np.array([-1.0, 1.0, 0.0])), [-0.0, 0.0, 0.0])


def test_switches() -> None:
    ways = [lambda x: x, lambda x: x * 10, lambda x: -x]
    f = gj.vmap(lambda k, x: gj.switch(k, ways, x))
    np.testing.assert_array_equal(
        f(np.array([0, 1, 2, 5, -3]), np.arange(5.0)), [0, 10, -2, -3, 4]
    )
    g = gj.vmap(lambda k, x: gj.switch(k, ways, x), (None, 0))
    np.testing.assert_array_equal(g(np.int64(1), np.arange(3.0)), [0, 10, 20])


def test_loops_that_end_at_different_turns() -> None:
    def collatz(n: Any) -> Any:
        def step(state: Any) -> Any:
            n, count = state
            return gj.cond(n % 2 == 0, lambda: n // 2, lambda: 3 * n + 1), count + 1

        return gj.while_loop(lambda s: s[0] != 1, step, (n, np.int64(0)))[1]

    np.testing.assert_array_equal(
        gj.vmap(collatz)(np.arange(1, 10)), [0, 1, 7, 2, 5, 8, 16, 3, 19]
    )


def test_a_loop_reads_nothing_beyond_its_end() -> None:
    def total(n: Any, w: Any) -> Any:
        def step(state: Any) -> Any:
            k, s = state
            return k + 1, s + w[k]

        return gj.while_loop(lambda s: s[0] < n, step, (np.int64(0), np.float64(0)))[1]

    found = gj.vmap(total, (0, None))(np.array([3, 0, 1]), W)
    np.testing.assert_allclose(found, [W.sum(), 0, W[0]])


def test_loops_that_end_together() -> None:
    def f(v: Any) -> Any:
        return gj.while_loop(lambda s: s[0] < 5, lambda s: (s[0] + 1, s[1] * v), (0, v))[1]

    np.testing.assert_allclose(gj.vmap(f)(V), V**6)


def test_scans() -> None:
    def f(start: Any, xs: Any) -> Any:
        return gj.scan(lambda s, x: (s * 0.5 + x, s), start, xs)

    for axes in ((0, 0), (None, 0), (0, None)):
        args = [V if a == 0 else W for a in axes[:1]]
        args += [A if axes[1] == 0 else A[0]]
        last, rows = gj.vmap(f, axes)(*args)
        for k in range(4):
            s = args[0][k] if axes[0] == 0 else args[0]
            for t, x in enumerate(args[1][k] if axes[1] == 0 else args[1]):
                np.testing.assert_allclose(rows[k, t], s)
                s = s * 0.5 + x
            np.testing.assert_allclose(last[k], s)


def test_scans_in_reverse_and_shared() -> None:
    def f(v: Any) -> Any:
        last, rows = gj.scan(
            lambda s, x: (s + x, s), np.float64(0), np.arange(3.0), reverse=True
        )
        return v + last, rows

    found, rows = gj.vmap(f)(V)
    np.testing.assert_allclose(found, V + 3)
    np.testing.assert_allclose(rows, np.tile([3.0, 2.0, 0.0], (4, 1)))


# -- in and around


def test_random_keys() -> None:
    keys = gj.random.split(gj.random.key(0), 5)
    draw = gj.function(lambda key: gj.random.normal(key, (3,)), fallback="error")
    found = np.asarray(gj.vmap(draw)(keys))
    np.testing.assert_array_equal(found, [np.asarray(draw(key)) for key in keys])


def test_tensors_give_tensors() -> None:
    found = gj.vmap(lambda x: gj.reduce_sum(x * x))(gj.constant([[1.0, 2.0], [3.0, 4.0]]))
    assert isinstance(found, gj.Tensor)
    np.testing.assert_array_equal(found.numpy(), [5.0, 25.0])


def test_vectorized_map() -> None:
    found = gj.vectorized_map(lambda p: p[0] @ p[1], (A, V), warn=False)
    np.testing.assert_allclose(found, np.einsum("kij,kj->ki", A, V))


def test_what_the_function_reads() -> None:
    class Model:
        def __init__(self) -> None:
            self.w = W.copy()

        def energy(self, v: Any) -> Any:
            return (self.w * v * v).sum()

    model = Model()
    f = gj.function(lambda vs: gj.vmap(model.energy)(vs), fallback="error")
    for scale in (1.0, 2.0, 3.0, -1.0):
        model.w = W * scale
        np.testing.assert_allclose(f(V), (W * scale * V * V).sum(1))
        model.w[0] = 5.0
        np.testing.assert_allclose(f(V), (model.w * V * V).sum(1))


def test_a_global_that_changes() -> None:
    names = {"k": 2.0, "np": np}
    exec("def f(v): return v * k", names)
    g = gj.vmap(names["f"])
    for k in (2.0, 3.0, 4.0):
        names["k"] = k
        np.testing.assert_array_equal(g(V), V * k)


def test_as_a_decorator() -> None:
    @gj.vmap
    def f(x: Any) -> Any:
        "Twice."
        return x * 2

    assert (f.__name__, f.__doc__) == ("f", "Twice.")
    np.testing.assert_array_equal(f(V), V * 2)

    class Twice:
        @gj.vmap
        def row(x: Any) -> Any:
            return x * 2

    np.testing.assert_array_equal(Twice.row(V), V * 2)


def test_decorated_functions_inside() -> None:
    inner = gj.function(lambda v: np.exp(v).sum())
    np.testing.assert_allclose(gj.vmap(inner)(V), np.exp(V).sum(1))


def test_eager_mode() -> None:
    with gj.eager():
        found = gj.vmap(lambda a, w: (a @ w, a.sum()), (0, None), (1, 0))(A, W)
    np.testing.assert_allclose(found[0], (A @ W).T)
    np.testing.assert_allclose(found[1], A.sum((1, 2)))


def test_no_examples() -> None:
    assert gj.vmap(lambda v: v.sum())(np.zeros((0, 3))).shape == (0,)
    assert gj.vmap(lambda v: np.linalg.inv(v))(np.zeros((0, 3, 3))).shape == (0, 3, 3)


# -- random programs

STEPS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, y: x + y, "times": lambda x, y: x * y, "least": np.minimum,
    "product": lambda x, y: x @ y, "turned": lambda x, y: x.T - y,
    "rows": lambda x, y: x.sum(0) + y, "columns": lambda x, y: x - y.max(1, keepdims=True),
    "rolled": lambda x, y: np.roll(x, 1, 1) * y, "chosen": lambda x, y: np.where(x > y, x, y),
    "cut": lambda x, y: np.concatenate([x[1:], y[:1]]),
    "running": lambda x, y: np.cumsum(x, 0) + y,
    "flat": lambda x, y: x.reshape(-1)[::-1].reshape(3, 3) + y,
    "picked": lambda x, y: x[np.argsort(y[0])],
}  # fmt: skip


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 9), st.integers(0, 9)),
             min_size=1, max_size=6),
    st.sampled_from([(0, None), (None, 0), (0, 0), (1, 2), (2, None)]),
)  # fmt: skip
def test_random_programs(program: list[tuple[str, int, int]], in_axes: Any) -> None:
    def function(a: Any, b: Any) -> Any:
        known = [a, b]
        for name, i, j in program:
            known.append(np.tanh(STEPS[name](known[i % len(known)], known[j % len(known)])))
        return known[-1]

    given = RNG.normal(size=(3, 3, 3)), RNG.normal(size=(3, 3, 3))
    args = [x[0] if axis is None else x for x, axis in zip(given, in_axes, strict=True)]
    check(function, in_axes, *args, rtol=1e-9)


# -- errors


@pytest.mark.parametrize(
    "call",
    [
        lambda: gj.vmap(lambda a, b: a + b)(V, A[:2]),
        lambda: gj.vmap(lambda a: a, in_axes=3)(V),
        lambda: gj.vmap(lambda a: a, in_axes=None)(V),
        lambda: gj.vmap(lambda a, b: a, in_axes=(0,))(V, V),
        lambda: gj.vmap(lambda a: a, in_axes=({"x": 0},))({"y": V}),
        lambda: gj.vmap(lambda a: a, in_axes=0.5),
        lambda: gj.vmap(lambda a: a, out_axes="0"),
        lambda: gj.vmap(lambda a: a, out_axes=None)(V),
        lambda: gj.vmap(lambda a: a, out_axes=2)(V),
        lambda: gj.vmap(lambda a: a, out_axes=(0, 0))(V),
        lambda: gj.vmap(lambda a: "text")(V),
        lambda: gj.vmap(lambda a: a)(2.0),
        lambda: gj.vmap(3),
    ],
)
def test_errors(call: Callable[[], Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"vmap|axes"):
        call()


def test_sizes_are_named() -> None:
    with pytest.raises(InvalidArgumentError, match=r"args\.0 has 4, args\.1 has 2"):
        gj.vmap(lambda a, b: a)(V, A[:2])


def test_what_is_not_traced_runs_for_one_example_after_the_other() -> None:
    def f(x: Any) -> Any:
        return x if x.sum() > 0 else -x

    with pytest.warns(gj.FallbackWarning, match="gj.cond"):
        found = gj.vmap(f)(V)
    np.testing.assert_array_equal(found, [f(v) for v in V])
    strict = gj.function(lambda v: gj.vmap(f)(v), fallback="error")
    with pytest.raises(TracingError, match=r"gj\.cond"):
        strict(V)


def test_variables_that_are_assigned_inside() -> None:
    variable = gj.Variable(0.0)

    def f(x: Any) -> Any:
        variable.assign_add(1.0)
        return x + variable

    with pytest.warns(gj.FallbackWarning, match="assigns Variable"):
        found = gj.vmap(f)(np.zeros(3, "f4"))
    np.testing.assert_array_equal(found, [1.0, 2.0, 3.0])
    assert variable.numpy() == 3.0


def test_an_index_out_of_range() -> None:
    with pytest.raises(IndexError):
        gj.vmap(lambda v, k: v[k])(V, np.array([0, 1, 3, 0]))
