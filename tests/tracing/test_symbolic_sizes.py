"""Symbolic extents: one specialization for all sizes, with the bits of the static ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from symbolic_calls import RNG, both_ways, normal, sized

import graphjit as gj
from graphjit.codegen.cpu import size_variants
from graphjit.core.machine import machine

SIZES = [3, 5, 7, 31, 32, 33, 100, 1000, 1025, 5000, 16385, 40000, 0, 2]


@pytest.fixture(autouse=True)
def from_the_second_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gj.config, "symbolic_after", 2)


def shifted(x: Any) -> Any:
    y = x * 2
    y[1:] = x[:-1]
    return y


def softmax(x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


# name -> function, shapes for a size, the most specializations
CASES: dict[str, tuple[Callable[..., Any], Callable[[int], Any], int]] = {
    "map": (lambda x: np.tanh(x) * 2 + 1, lambda n: ((n,),), 2),
    "sum": (lambda x: np.sum(x), lambda n: ((n,),), 2),
    "triangles": (
        lambda x: (np.tril(x, -1), np.triu(x, 1)),
        lambda n: ((n, n // 2 + 2),) if n < 200 else None,
        6,
    ),
    "taken": (
        lambda x: np.take(x, [1, 0, -1], axis=0) + np.take(x, [0], axis=0, mode="clip"),
        lambda n: ((n + 2, 3),),
        2,
    ),
    "average": (lambda x: np.average(x), lambda n: ((n + 1,),), 3),
    "sums of columns": (lambda x: np.sum(x, axis=0), lambda n: ((n, 7),), 3),
    "sums of symbolic rows": (lambda x: np.sum(x, axis=1), lambda n: ((3, n),), 3),
    "sums of many rows": (lambda x: np.sum(x, axis=1), lambda n: ((n, 50),), 2),
    "two axes": (
        lambda x: x.mean(axis=(0, 1)),
        lambda n: ((n, n + 2),) if 0 < n < 300 else None,
        3,
    ),
    "outer axes": (lambda x: x.sum(axis=(0, 2)), lambda n: ((n, 5, 4),), 3),
    "broadcast": (lambda x, y: x + y, lambda n: ((n, 50), (50,)), 2),
    "equal sizes": (lambda x, y: x + y, lambda n: ((n,), (n,)), 2),
    "transposed": (lambda x, y: x + y.T, lambda n: ((n, 50), (50, n)), 2),
    "copy of a transpose": (lambda x: x.T.copy(), lambda n: ((n, 90),), 2),
    "difference": (lambda x: x[1:] - x[:-1], lambda n: ((n,),), 4),
    "reversed": (lambda x: x[::-1] * 2, lambda n: ((n,),), 3),
    "rolled": (
        lambda x: (np.roll(x, 2, axis=0), np.roll(x, -1, axis=0) * 2),
        lambda n: ((n, 3),),
        5,
    ),
    "every second": (lambda x: x[::2] * 2, lambda n: ((n,),), 4),
    "rows of four": (lambda x: np.reshape(x, (-1, 4)) + 1, lambda n: ((4 * n,),), 3),
    "flattened": (
        lambda x: np.reshape(x, (x.shape[0], -1)).sum(axis=1),
        lambda n: ((n, 3, 5),) if n else None,
        2,
    ),
    "concatenated": (
        lambda x, y: np.concatenate([x, y], axis=0) * 2,
        lambda n: ((n, 3), (2 * n + 1, 3)) if n > 2 else None,
        2,
    ),
    "padded": (lambda x: np.pad(x, 1), lambda n: ((n,),), 3),
    "assigned": (shifted, lambda n: ((n,),) if n > 1 else None, 3),
    "running sum": (lambda x: np.cumsum(x, axis=0), lambda n: ((n,),), 2),
    "running sums of rows": (lambda x: np.cumsum(x, axis=1), lambda n: ((n, 20),), 2),
    "standardised": (
        lambda x: (x - x.mean(axis=0)) / x.std(axis=0),
        lambda n: ((n, 6),) if n else None,
        3,
    ),
    "place of the largest": (
        lambda x: np.argmax(x, axis=1),
        lambda n: ((6, n),) if n else None,
        2,
    ),
    "softmax of rows": (softmax, lambda n: ((n, 12),), 2),
    "softmax": (softmax, lambda n: ((n,),) if n else None, 2),
    "softmax of symbolic rows": (softmax, lambda n: ((4, n),) if n else None, 3),
    "distances": (
        lambda x: np.sum((x[:, None, :] - x[None, :, :]) ** 2, axis=-1),
        lambda n: ((n, 3),) if n < 1500 else None,
        3,
    ),
    "the size itself": (
        lambda x: np.sqrt(x.shape[0]) * x / x.shape[0],
        lambda n: ((n,),) if n else None,
        2,
    ),
    "zeros": (
        lambda x: np.zeros_like(x) + x.astype(np.float64).mean(),
        lambda n: ((n,),) if n else None,
        2,
    ),
    "half floats": (lambda x: np.sum(x.astype(np.float16)), lambda n: ((n,),), 2),
    "complex": (lambda x: np.abs(x + 1j * x).sum(axis=1), lambda n: ((n, 5),), 2),
    "product": (lambda x, w: np.maximum(x @ w, 0), lambda n: ((n, 30), (30, 20)), 2),
    "two products": (
        lambda x, w, b: np.tanh(x @ w + b) @ w.T,
        lambda n: ((n, 30), (30, 20), (20,)),
        2,
    ),
    "batched product": (
        lambda x, w: x @ w,
        lambda n: ((n, 7, 30), (n, 30, 20)) if n < 1500 else None,
        2,
    ),
    "long sums of products": (
        lambda x, y: x.T @ y / x.shape[0],
        lambda n: ((n, 6), (n, 20)),
        3,
    ),
    "product with a vector": (lambda x, w: x @ w, lambda n: ((n, 30), (30,)), 2),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_one_specialization_with_the_bits_of_many(name: str) -> None:
    function, shapes, most = CASES[name]
    f = both_ways(function, [shapes(n) for n in SIZES if shapes(n) is not None])
    assert sized(f), [seen.impossible for seen in f._specializations.size_histories.values()]
    assert len(f.specializations) <= most


PRODUCTS: dict[str, tuple[Callable[..., Any], str, str]] = {
    "rows by columns": (np.matmul, "mk", "kn"),
    "rows by rows": (lambda a, b: a @ b.T, "mk", "nk"),
    "columns by columns": (lambda a, b: a.T @ b, "km", "kn"),
    "columns by rows": (lambda a, b: a.T @ b.T, "km", "nk"),
    "batch and epilogue": (lambda a, b: np.maximum(a @ b + 1, 0), "3mk", "3kn"),
    "result turned": (lambda a, b: (a @ b).T, "mk", "kn"),
    "vector by columns": (np.matmul, "k", "kn"),
    "few rows": (np.matmul, "4k", "kn"),
    "every other column": (lambda a, b: a @ b[:, ::2], "mk", "kn"),
    "added to rows": (lambda a, b: a @ b + b.sum(axis=0), "mk", "kn"),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", PRODUCTS)
def test_products_of_any_size(name: str, dtype: type) -> None:
    """The bits of the specialization for one size; of integers, the exact result."""
    function, *letters = PRODUCTS[name]
    sizes = [
        (5, 6, 7), (9, 33, 12), (8, 16, 32), (70, 130, 600), (3, 2, 1030), (200, 513, 513),
        (65, 2, 2), (0, 5, 3), (3, 0, 4), (4, 5, 0), (33, 400, 40), (1, 5, 5), (5, 1, 5),
        (5, 5, 1),
    ]  # fmt: skip
    calls = []
    for m, n, k in sizes:
        given = {"m": m, "n": n, "k": k}
        calls.append(tuple(
            tuple(given[c] if c in given else int(c) for c in part) for part in letters
        ))  # fmt: skip
    f = both_ways(function, calls, lambda shape: normal(shape).astype(dtype))
    assert sized(f), [seen.impossible for seen in f._specializations.size_histories.values()]
    # the first; all above 1; none to sum; each extent of 1; what is symbolically 1 or long
    most = {"every other column": 9, "added to rows": 7}.get(name, 6)
    assert len(f.specializations) <= most
    for shapes in calls:
        a, b = (RNG.integers(-9, 10, shape).astype(dtype) for shape in shapes)
        np.testing.assert_array_equal(f(a, b), function(a, b))
    assert len(f.specializations) <= most


def test_gathered() -> None:
    f = both_ways(
        lambda x, i: x[i] * 2,
        [((n,), (5,)) for n in SIZES if n > 5],
        lambda shape: RNG.integers(0, 5, shape),
    )
    assert len(sized(f)) == 1
    with pytest.raises(IndexError, match="index 12 is out of range: the axis has 12 elements"):
        f(np.arange(12), np.array([0, 1, 2, 3, 12]))


def test_large_sizes_are_threaded_and_streamed() -> None:
    f = gj.function(lambda x: np.sqrt(x * x + 1))
    for n in (10, 11, 3_000_001, 10_000_019):
        x = normal((n,))
        np.testing.assert_array_equal(f(x), np.sqrt(x * x + 1))
    assert len(f.specializations) == 2
    (specialization,) = sized(f)
    text = specialization.llvm_ir()
    assert "nontemporal" in text
    assert ".chunk(" in text


def test_same_bits_at_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    f = gj.function(lambda x: (np.sum(np.exp(x)), np.exp(x).sum(axis=0)))
    for n in (10, 11):
        f(normal((n, 40)))
    x = normal((30_001, 40))
    results = []
    for threads in (1, 2, 3, 8):
        monkeypatch.setattr(gj.config, "threads", threads)
        results.append([np.asarray(part).tobytes() for part in f(x)])
    assert len(sized(f)) >= 1
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.float16])
def test_what_is_read_across(dtype: type) -> None:
    """In squares where there are many lanes, or few whose lines fall into the same sets."""
    f = both_ways(
        lambda x, y: (x + y.T, y.T[::-1] * x),
        [
            ((m, n), (n, m))
            for m, n in ((30, 7), (40, 50), (700, 520), (65, 1000), (1000, 65), (9, 600),
                         (600, 9), (1024, 100), (2048, 17), (64, 513), (0, 5), (5, 0),
                         (63, 513))
        ],
        lambda shape: (100 * RNG.normal(size=shape)).astype(dtype),
    )  # fmt: skip
    assert len(sized(f)) >= 1 and len(f.specializations) <= 4
    if dtype in (np.float32, np.float64):
        (specialization, *_) = sized(f)
        assert "@turn." in specialization.llvm_ir()
    for shape in ((700, 520), (63, 513), (1024, 100)):
        x, y = RNG.normal(size=shape), RNG.normal(size=shape[::-1])
        x, y = x.astype(dtype), y.astype(dtype)
        found = f(x, y)
        np.testing.assert_array_equal(found[0], x + y.T)
        np.testing.assert_array_equal(found[1], y.T[::-1] * x)


# name -> function of the rows x, the vector y, and one vector for each row
SAME_IN_EACH_ROW: dict[str, Callable[[Any, Any, Any], Any]] = {
    "product": lambda x, y, z: x @ y,
    "scaled": lambda x, y, z: (x - x.mean(axis=-1, keepdims=True)) * y + z[0],
    "three vectors": lambda x, y, z: (x * y + z[0] - z[1]).sum(axis=-1),
    "one of each row": lambda x, y, z: np.einsum("ij,ij->i", x, z) + (x @ y),
    "backwards": lambda x, y, z: (x * y[::-1]).sum(axis=-1),
    "batches": lambda x, y, z: np.einsum("bij,bj->bi", np.stack([x, 2 * x]), np.stack([y, -y])),
    "largest": lambda x, y, z: np.max(x * y, axis=-1, initial=-100),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.int64, np.float16])
@pytest.mark.parametrize("name", SAME_IN_EACH_ROW)
def test_tails_of_what_is_the_same_in_each_row(name: str, dtype: type) -> None:
    """Whole numbers, so that every order of sums is exact (int8 wraps)."""
    function = SAME_IN_EACH_ROW[name]
    f = gj.function(function, fallback="error")
    for columns in (3, 5, 70, 129, *range(2, 69), 0, 255, 316, 1000):
        if columns == 0 and name == "scaled":
            continue
        x = RNG.integers(-3, 4, size=(4, columns)).astype(dtype)
        y, z = RNG.integers(-3, 4, size=columns).astype(dtype), (x + 1)[::-1]
        found, wanted = np.asarray(f(x, y, z)), np.asarray(function(x, y, z))
        assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
        if name == "scaled":
            tolerance = {np.float16: 2e-2, np.float32: 1e-5}.get(dtype, 1e-12)
            np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)
        else:
            np.testing.assert_array_equal(found, wanted)
    assert sized(f)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("name", ["scaled", "copied", "less their sums", "differences"])
def test_rows_that_start_anywhere_are_streamed(
    name: str, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row's head and tail are masked where whole cache lines pass the cache between."""
    function: Callable[[Any, Any], Any] = {
        "scaled": lambda x, y: x * y + y,
        "copied": lambda x, y: x[:, 1:] - y[1:],
        "less their sums": lambda x, y: (x - x.sum(axis=0)) * y,
        "differences": lambda x, y: (x[1:] - x[:-1]) * y,
    }[name]
    monkeypatch.setattr(size_variants, "machine", lambda: replace(machine(), l3_bytes=0))
    f = gj.function(function, fallback="error")
    for rows, columns in ((3, 5), (4, 6), (600, 1000), (700, 531), (9000, 37), (4000, 70)):
        x = RNG.integers(-9, 9, size=(rows, columns)).astype(dtype)
        y = RNG.integers(-9, 9, size=columns).astype(dtype)
        np.testing.assert_array_equal(f(x, y), function(x, y))
    texts = [specialization.llvm_ir() for specialization in sized(f)]
    assert any("nontemporal" in text for text in texts)


BATCHED: dict[str, Callable[[Any], Any]] = {
    "less sums of rows": lambda x: x - x.sum(-1, keepdims=True),
    "less sums of columns": lambda x: x - x.sum(-2, keepdims=True),
    "less sums of both": lambda x: x - x.sum((-1, -2), keepdims=True),
    "less sums along batches": lambda x: x - x.sum(1, keepdims=True),
    "times sums in the middle": lambda x: x * x.sum((1, 2), keepdims=True),
    "scores": lambda x: (x @ x.swapaxes(-1, -2)).max(-1, keepdims=True) * x,
    "heads together": lambda x: x.swapaxes(1, 2).reshape(x.shape[0], x.shape[2], -1) * 2,
    "batches together": lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]).sum(0),
}
BATCHES: dict[str, Callable[[int, int], tuple[int, ...]]] = {
    "squares": lambda m, n: (8, 12, n, n),
    "matrices": lambda m, n: (8, 12, m, n),
    "inside": lambda m, n: (2, m, n, 4),
    "around": lambda m, n: (m, 2, 3, n),
    "apart": lambda m, n: (2, m, 3, m),
    "outer": lambda m, n: (m, 12, n, 8),
}


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", BATCHED)
def test_two_batch_dims(name: str, batch: str) -> None:
    """Attention's shapes: some extents known, some not. Whole numbers: sums are exact."""
    function = BATCHED[name]
    f = gj.function(function, fallback="error")
    for pair in ((3, 4), (5, 6), (7, 9), (2, 3), (0, 5), (6, 0), (17, 5)):
        shape = BATCHES[batch](*pair)
        if 0 in shape and name in ("scores", "heads together"):
            continue
        x = RNG.integers(-3, 4, size=shape).astype(np.float64)
        np.testing.assert_array_equal(f(x), function(x))
    assert sized(f)


LIBRARY: dict[str, tuple[Callable[..., Any], Callable[[int], Any], int]] = {
    "sorted": (lambda x: np.sort(x) * 2, lambda n: ((n,),), 2),
    "sorted temporary": (lambda x: np.sort(np.exp(x), axis=0)[::-1], lambda n: ((n, 3),), 3),
    "order": (lambda x: np.sort(x, axis=-1)[0] + np.argsort(x[0] * 0), lambda n: ((2, n),), 3),
    "determinants": (lambda x: np.linalg.det(x) + 1, lambda n: ((n, 3, 3),), 2),
    "decomposed": (lambda x: np.linalg.qr(x)[1], lambda n: ((n, 3),) if n > 3 else None, 3),
    "transformed": (lambda x: np.fft.rfft(x).real, lambda n: ((n,),) if n else None, 2),
    "transformed back": (
        lambda x: np.fft.irfft(np.fft.rfft(x)), lambda n: ((2 * n,),) if n else None, 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LIBRARY)
def test_library_calls_of_any_size(name: str) -> None:
    function, shapes, most = LIBRARY[name]
    calls = [shapes(n) for n in SIZES if shapes(n) is not None]
    f = both_ways(function, calls)
    assert sized(f), [seen.impossible for seen in f._specializations.size_histories.values()]
    assert len(f.specializations) <= most
    for shape in calls:
        x = normal(*shape)
        np.testing.assert_allclose(f(x), function(x), rtol=1e-3, atol=1e-3)


def test_donated_arguments_of_any_size() -> None:
    f = gj.function(lambda x, y: (x * 2 + y, y.sum()), donate="x", fallback="error")
    for n in (3, 5, 7, 300_000, 0, 2):
        x, y = normal((n,)), normal((n,))
        wanted = x * 2 + y
        given = gj.constant(x)
        result, _ = f(given, y)
        np.testing.assert_array_equal(result, wanted)
        array = x.copy()
        result, _ = f(array, y)
        np.testing.assert_array_equal(result, wanted)
    assert len(sized(f)) == 2 and len(f.specializations) <= 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("columns", [2, 5, 7, 8, 15, 16, 17, 31])
def test_few_columns_turned(columns: int, dtype: type) -> None:
    """Fewer than a square has are never turned in squares."""
    f = gj.function(lambda x: x.T.copy(), fallback="error")
    for rows in (30, 50, 400, 800, 3000, 20_001, 5):
        x = np.arange(rows * columns).reshape(rows, columns).astype(dtype)
        np.testing.assert_array_equal(f(x), x.T)
    assert sized(f)


@pytest.mark.parametrize(
    "function",
    [
        lambda y, z: np.exp(-z[:, -(-(z.shape[0] - y.shape[0]) // 2):]).T @ z,
        lambda y, z: (v := np.swapaxes(z, 0, 1)[z.shape[0]:y.shape[0]:2]) @ v.T,
    ],
)  # fmt: skip
def test_products_of_extents_that_are_differences(function: Any) -> None:
    """Whose usual size, by which tiles are chosen, is below 1."""
    jitted = gj.function(function, fallback="error")
    sizes = [(6, (3, 5)), (9, (5, 9)), (8, (8, 8)), (6, (6, 6)), (5, (2, 5)), (3, (6, 12))]
    for n, shape in [*sizes, (13, (3, 12)), (40, (3, 40)), (0, (0, 0))]:
        y, z = np.arange(n) + 0.5, np.random.default_rng(1).normal(size=shape)
        np.testing.assert_allclose(jitted(y, z), function(y, z), rtol=1e-12, atol=1e-12)


def test_a_product_of_products_of_nothing() -> None:
    """The first is known to be 0, whatever its size."""

    def f(z: Any) -> Any:
        return (z @ z.T) @ (z @ z.T).T

    jitted = gj.function(f, fallback="error")
    for shape in [(3, 5), (3, 7), (4, 0), (5, 0), (6, 2), (0, 0)]:
        np.testing.assert_array_equal(jitted(np.ones(shape)), f(np.ones(shape)))


def test_no_elements_known_by_a_guard_alone() -> None:
    """A guard says that there are no elements, and not which of two extents is 0."""

    def f(z: Any) -> Any:
        return z.T.reshape(-1)[::-2], np.exp(-z).T @ z

    jitted = gj.function(f, fallback="error")
    for shape in [(3, 5), (3, 9), (33, 6), (33, 7), (0, 3), (3, 7), (4, 0), (0, 0)]:
        z = np.random.default_rng(1).normal(size=shape)
        for a, b in zip(jitted(z), f(z), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, strict=True)


def test_an_empty_batch_after_others() -> None:
    f = gj.function(lambda x: (x.sum(axis=1), x.T[::-1], x.max(axis=1)), fallback="error")
    for rows in (5, 3, 0, 7, 0):
        x = np.arange(rows * 5.0).reshape(rows, 5)
        for actual, wanted in zip(f(x), (x.sum(1), x.T[::-1], x.max(1)), strict=True):
            np.testing.assert_array_equal(actual, wanted)


@pytest.mark.parametrize("side", [8, 23, 40, 300])
def test_temporaries_of_one_size(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where sizes vary, but not that of what is kept between steps."""
    monkeypatch.setattr(gj.config, "native_after", 0)
    w = np.ones((side, side))
    f = gj.function(lambda x: x + ((w * x[0]) @ w @ w).sum(), fallback="error")
    v = gj.Variable(np.zeros((4, side * 10)))

    @gj.function(fallback="error")
    def step(y: Any) -> Any:
        v[0].assign(v[1])
        v[1].assign(y[0])
        v[:2].assign(v[:2][::-1])
        return gj.reduce_sum(v)

    for k in range(12):
        x = np.full(3 + k % 5, k + 1.0)
        np.testing.assert_array_equal(f(x), x + x[0] * side**4)
        step(np.full((3 + k % 5, side * 10), k + 1.0))
        np.testing.assert_array_equal(v.numpy()[:, 0], [k + 1, 0, 0, 0])
    (specialization,) = sized(f)
    assert specialization.program is not None and isinstance(
        specialization.program.arena_bytes, int
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_interleaved_sizes_from_many_threads(threads: int) -> None:
    from concurrent.futures import ThreadPoolExecutor

    f = gj.function(lambda x: np.cumsum(x * 2))

    def work(seed: int) -> None:
        for n in np.random.default_rng(seed).integers(0, 400, 30):
            x = np.arange(n, dtype=np.float64)
            np.testing.assert_array_equal(f(x), np.cumsum(x * 2))

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(4)))
    assert f.trace_count <= 3


def test_a_reduced_value_alone_stays_within_its_array() -> None:
    """The store of a value that no axis changes was outside the loop that it belongs to."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(gj.config, "symbolic_after", None)
        for n in (100, 1000, 1001):
            x = np.ones(n, np.float32)
            f = gj.function(lambda x: np.zeros_like(x) + x.astype(np.float64).mean())
            assert f.specialization(x).llvm_ir().count("masked.store") > 1 or not n % 32
            np.testing.assert_array_equal(f(x), np.ones(n))
