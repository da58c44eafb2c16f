"""Symbolic extents: one compiled form for all sizes, with the bits of the static ones."""

from __future__ import annotations

import operator
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import graphjit as gj
from graphjit.cli import main
from graphjit.codegen.cpu import kernel_variants
from graphjit.core.dims import Dim, Sizes, Undecided, is_symbolic, parse_dim
from graphjit.core.errors import (
    InvalidArgumentError,
    OutOfMemoryError,
    RecompileError,
    ShapeError,
)
from graphjit.core.extents import evaluate
from graphjit.core.machine import machine
from graphjit.ir.graph_json import from_json
from graphjit.tracing import symbolic_sizes as symbolic

RNG = np.random.default_rng(7)
SIZES = [3, 5, 7, 31, 32, 33, 100, 1000, 1025, 5000, 16385, 40000, 0, 2]


@pytest.fixture(autouse=True)
def from_the_second_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gj.config, "symbolic_after", 2)


def normal(shape: tuple[int, ...]) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


def both_ways(
    function: Callable[..., Any],
    calls: list[tuple[tuple[int, ...], ...]],
    make: Callable[[tuple[int, ...]], Any] = normal,
) -> Any:
    """Call a function with arrays of these shapes, with symbolic extents and without: the same
    bits. The function with symbolic extents.
    """
    symbolic, static = gj.function(function, fallback="error"), gj.function(function)
    for shapes in calls:
        args = [make(shape) for shape in shapes]
        found = symbolic(*args)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gj.config, "symbolic_after", None)
            patch.setattr(gj.config, "recompile_warning", 0)
            wanted = static(*args)
        parts = zip(np.atleast_1d(found), np.atleast_1d(wanted), strict=True)
        if isinstance(wanted, tuple):
            parts = zip(found, wanted, strict=True)
        for a, b in parts:
            a, b = np.asarray(a), np.asarray(b)
            assert (a.shape, a.dtype) == (b.shape, b.dtype), shapes
            assert a.tobytes() == b.tobytes(), shapes
    return symbolic


def sized(function: Any) -> list[Any]:
    return [form for form in function.specializations if form.size_domain is not None]


def shifted(x: Any) -> Any:
    y = x * 2
    y[1:] = x[:-1]
    return y


def softmax(x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


# name -> function, shapes for a size, the most forms
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
def test_one_form_with_the_bits_of_many(name: str) -> None:
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
    """The bits of the form for one size, and the exact result where sums of integers are."""
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


def test_a_thousand_sizes_take_three_forms() -> None:
    f = gj.function(lambda x: np.exp(-x) * x.max() if x.ndim > 1 else np.exp(-x) + 1)
    sizes = [*RNG.permutation(1000), 0, 1]
    for n in sizes:
        x = normal((int(n),))
        np.testing.assert_allclose(f(x), np.exp(-x) + 1, rtol=1e-6)
    assert f.trace_count == len(f.specializations) <= 3


def test_large_sizes_are_threaded_and_streamed() -> None:
    f = gj.function(lambda x: np.sqrt(x * x + 1))
    for n in (10, 11, 3_000_001, 10_000_019):
        x = normal((n,))
        np.testing.assert_array_equal(f(x), np.sqrt(x * x + 1))
    assert len(f.specializations) == 2
    (form,) = sized(f)
    text = form.llvm_ir()
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


def test_ones_stay_static_and_broadcast() -> None:
    f = gj.function(lambda x, y: x + y)
    for n, m in ((3, 4), (5, 6), (1, 9), (9, 1), (1, 1), (7, 8)):
        x, y = normal((n, 1)), normal((1, m))
        np.testing.assert_array_equal(f(x, y), x + y)
    assert len(f.specializations) <= 5


def test_sizes_that_must_agree() -> None:
    f = gj.function(lambda x, y: x + y, fallback="error")
    for n in (3, 5):
        f(normal((n,)), normal((n,)))
    with pytest.raises(ValueError, match="could not be broadcast"):
        f(normal((6,)), normal((7,)))
    x = normal((8,))
    np.testing.assert_array_equal(f(x, x), x + x)
    strict = gj.function(lambda x, y: x + y)
    for n in (3, 5):
        strict(gj.constant(normal((n,))), gj.constant(normal((n,))))
    with pytest.raises(InvalidArgumentError, match=r"Incompatible shapes: \[6\] vs. \[7\]"):
        strict(gj.constant(normal((6,))), gj.constant(normal((7,))))


def test_python_use_of_a_size_makes_it_static() -> None:
    f = gj.function(lambda x: sum(x[i] for i in range(x.shape[0])))
    for n in (2, 3, 4, 5, 3):
        x = normal((n,))
        np.testing.assert_allclose(f(x), x.sum(), rtol=1e-6)
    assert not sized(f) and f.trace_count == 4


def test_branches_on_a_size_are_guards() -> None:
    f = gj.function(lambda x: x * 2 if x.shape[0] > 100 else x * 3)
    for n in (5, 6, 50, 101, 1000, 99, 100):
        x = normal((n,))
        np.testing.assert_array_equal(f(x), x * (2 if n > 100 else 3))
    assert len(sized(f)) == 2
    assert {str(g) for form in sized(f) for g in form.size_domain.guards} == {
        "n0 - 101 >= 0", "-n0 + 100 >= 0",
    }  # fmt: skip


def test_divisibility_is_a_guard() -> None:
    f = gj.function(lambda x: np.reshape(x, (4, -1)).sum(axis=0))
    for n in (8, 12, 40, 400):
        x = normal((n,))
        np.testing.assert_allclose(f(x), x.reshape(4, -1).sum(axis=0), rtol=1e-5)
    assert len(sized(f)) == 1
    with pytest.raises(ValueError, match="cannot reshape array of size 13"):
        f(normal((13,)))


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
        (form, *_) = sized(f)
        assert "@turn." in form.llvm_ir()
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
    monkeypatch.setattr(kernel_variants, "machine", lambda: replace(machine(), l3_bytes=0))
    f = gj.function(function, fallback="error")
    for rows, columns in ((3, 5), (4, 6), (600, 1000), (700, 531), (9000, 37), (4000, 70)):
        x = RNG.integers(-9, 9, size=(rows, columns)).astype(dtype)
        y = RNG.integers(-9, 9, size=columns).astype(dtype)
        np.testing.assert_array_equal(f(x, y), function(x, y))
    texts = [form.llvm_ir() for form in sized(f)]
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


class OneSize(gj.passes.Pass):
    """A pass that can't do with symbolic extents."""

    name = "one-size"

    def run(self, graph: Any) -> Any:
        if any(is_symbolic(node.tensor.shape) for node in graph.nodes):
            raise Undecided("what to do with them")
        return graph


def test_what_is_not_compiled_for_all_sizes_is_for_each() -> None:
    f = gj.function(lambda x: x * 2, passes=[OneSize()])
    for n in (3, 4, 5):
        x = normal((n,))
        np.testing.assert_array_equal(f(x), x * 2)
    assert not sized(f) and len(f.specializations) == 3
    (seen,) = f._specializations.size_histories.values()
    assert "what to do with them" in seen.impossible


def test_input_signature_with_open_extents() -> None:
    f = gj.function(
        lambda x, w: x @ w, input_signature=[gj.TensorSpec([None, 4]), gj.TensorSpec([4, 3])]
    )
    w = normal((4, 3))
    for n in (2, 3, 100, 7):
        x = normal((n, 4))
        np.testing.assert_allclose(f(x, w), x @ w, rtol=1e-5, atol=1e-6)
    assert f.trace_count == 1
    with pytest.raises(InvalidArgumentError, match="input_signature"):
        f(normal((2, 5)), w)


def test_variables_and_captured_arrays() -> None:
    w = gj.Variable(np.zeros(4, np.float32))
    scale = np.arange(4, dtype=np.float32)

    @gj.function
    def step(x: Any) -> Any:
        w.assign_add(gj.reduce_sum(x * scale, axis=0))
        return gj.reduce_mean(x)

    total = np.zeros(4, np.float32)
    for n in (2, 3, 10, 100):
        x = normal((n, 4))
        total = total + (x * scale).sum(axis=0)
        np.testing.assert_allclose(step(gj.constant(x)).numpy(), x.mean(), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(w.numpy(), total, rtol=1e-4, atol=1e-5)
    assert step.trace_count == 2


def test_limits_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gj.config, "symbolic_after", 1)
    at_once = gj.function(lambda x: x + 1)
    for n in (3, 4, 5):
        at_once(normal((n,)))
    assert at_once.trace_count == 1
    monkeypatch.setattr(gj.config, "symbolic_after", 4)
    late = gj.function(lambda x: x + 1)
    for n in (3, 4, 5, 6, 7, 8):
        late(normal((n,)))
    assert late.trace_count == 4
    monkeypatch.setattr(gj.config, "symbolic_after", None)
    never = gj.function(lambda x: x + 1)
    for n in (3, 4, 5):
        never(normal((n,)))
    assert never.trace_count == 3 and not sized(never)


def test_forbidden_recompiles_and_misses() -> None:
    f = gj.function(lambda x: x + 1)
    f(normal((3,)))
    f(normal((4,)))
    with gj.config.forbid_recompile():
        f(normal((5,)))
        with pytest.raises(RecompileError, match=r"shape of x: \[n0\] .* now \[1\]"):
            f(normal((1,)))
    assert len(f.explain_misses()) == 1


def test_explain_and_graph_text() -> None:
    f = gj.function(lambda x: np.concatenate([x[::-1], x * np.sqrt(x.shape[0])]).sum())
    for n in (3, 5):
        f(normal((n, 6)))
    (form,) = sized(f)
    text = str(form.graph)
    assert "f32[n0, 6] = param" in text and "extent{dtype=i64, value=n0}" in text
    assert gj.Graph.parse(text) == form.graph
    assert from_json(form.graph.to_json()) == form.graph
    assert "n0" in form.graph.to_dot()
    assert "n0" in f.explain(normal((9, 6)))


def test_sizes_as_results_and_text() -> None:
    """A size that is returned is the call's own; one that is written out is for one size."""
    count = gj.function(lambda x: (x.shape[0] * 2, x + 1))
    for n in (3, 5, 9, 0, 1):
        twice, more = count(normal((n, 2)))
        assert (type(twice), twice) == (int, 2 * n)
        assert more.shape == (n, 2)
    assert len(sized(count)) == 1
    named = gj.function(lambda x: x * {"3": 1, "5": 2, "9": 3}[f"{x.shape[0]}"])
    for n, factor in ((3, 1), (5, 2), (9, 3)):
        x = normal((n,))
        np.testing.assert_array_equal(named(x), x * np.float32(factor))
    as_array = gj.function(lambda x: x + np.array(x.shape).sum())
    for n in (3, 5, 9):
        np.testing.assert_array_equal(as_array(np.zeros((n, 2))), np.full((n, 2), n + 2.0))


def test_an_index_that_is_affine_for_some_sizes_only() -> None:
    """Reshaped to symbolic columns and cut: compiled, or compiled per size, never wrong."""
    f = gj.function(lambda x: np.reshape(x.T, (-1,))[1:].reshape(-1, 1) * 2)
    for shape in ((3, 4), (5, 4), (7, 6), (2, 2)):
        x = normal(shape)
        np.testing.assert_array_equal(f(x), x.T.reshape(-1)[1:].reshape(-1, 1) * 2)


def test_too_large_a_size_is_named() -> None:
    f = gj.function(lambda x: np.broadcast_to(x, (1 << 40, x.shape[0])) + 1)
    for n in (2, 3):
        with pytest.raises((InvalidArgumentError, OutOfMemoryError, MemoryError)):
            f(normal((n,)))
    with pytest.raises((InvalidArgumentError, OutOfMemoryError), match="1099511627776"):
        f(normal((1 << 22,)))


@pytest.mark.parametrize(
    ("stage", "form"),
    [
        *((stage, form) for stage in ("trace", "default") for form in ("text", "json", "dot")),
        ("kernels", "text"), ("kernels", "dot"), ("loops", "text"), ("llvm", "text"),
        ("llvm-opt", "text"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("signed", [True, False])
def test_dumps_of_open_extents(stage: str, form: str, signed: bool, tmp_path: Path) -> None:
    source = tmp_path / "open.py"
    source.write_text(
        "import graphjit as gj\n"
        + "@gj.function(input_signature=[gj.TensorSpec((None, 4)), gj.TensorSpec((None, 4))])\n"
        * signed
        + "def f(x, y):\n"
        "    return x.sum(axis=1) / x.shape[0], gj.concat([x, y], 0)\n"
    )
    given = "f32[7,4]" if signed else "f32[None,4]"
    arguments = ["--arg", given] * 2 + ["--stage", stage, "--format", form]
    result = CliRunner().invoke(main.main, ["dump", f"{source}:f", *arguments])
    assert result.exit_code == 0, result.output
    assert ("%sizes" if stage.startswith("llvm") else "n0") in result.output
    if form == "json":
        graph = from_json(result.output)
        assert str(graph.nodes[0].tensor.shape[0]) == "n0"


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("columns", [2, 5, 7, 8, 15, 16, 17, 31])
def test_few_columns_turned(columns: int, dtype: type) -> None:
    """Fewer than a square has are never turned in squares."""
    f = gj.function(lambda x: x.T.copy(), fallback="error")
    for rows in (30, 50, 400, 800, 3000, 20_001, 5):
        x = np.arange(rows * columns).reshape(rows, columns).astype(dtype)
        np.testing.assert_array_equal(f(x), x.T)
    assert sized(f)


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
    (form,) = sized(f)
    assert form.program is not None and isinstance(form.program.arena_bytes, int)


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


# -- extents ----------------------------------------------------------------------------------


@given(st.data())
@settings(max_examples=200)
def test_arithmetic_is_that_of_the_sizes(data: Any) -> None:
    values = {"n0": data.draw(st.integers(2, 50)), "n1": data.draw(st.integers(2, 50))}
    sizes = Sizes()
    known = [sizes.symbol(name, value) for name, value in values.items()]
    pairs: list[tuple[Any, int]] = [*zip(known, values.values(), strict=True), (3, 3), (7, 7)]
    for _ in range(data.draw(st.integers(1, 6))):
        (a, x), (b, y) = data.draw(st.sampled_from(pairs)), data.draw(st.sampled_from(pairs))
        divisor = data.draw(st.integers(1, 9))
        made = data.draw(
            st.sampled_from(
                [(a + b, x + y), (a * b, x * y), (a - b, x - y), (a // divisor, x // divisor),
                 (a % divisor, x % divisor)]
            )
        )  # fmt: skip
        pairs.append(made)
    for dim, value in pairs:
        assert evaluate(dim, values) == value
        if isinstance(dim, Dim):
            low, high = dim.bounds()
            assert low <= value <= high
            assert evaluate(parse_dim(str(dim)), values) == value


@given(st.integers(-60, 60), st.integers(0, 50), st.sampled_from(["==", ">=", "<", "!="]))
def test_answers_are_noted_and_hold(constant: int, hint: int, relation: str) -> None:
    sizes = Sizes()
    sizes.recording = True
    n = sizes.symbol("n0", hint)
    asked = {
        "==": lambda v: 2 * v == constant, ">=": lambda v: 2 * v >= constant,
        "<": lambda v: 2 * v < constant, "!=": lambda v: 2 * v != constant,
    }[relation]  # fmt: skip
    if hint == 1:
        return
    answer = asked(n)
    assert bool(answer) == asked(hint)
    for value in (0, *range(2, 60)):
        if all(guard.holds({"n0": value}) for guard in sizes.guards):
            assert asked(value) == bool(answer), value


@given(st.integers(-40, 40), st.integers(1, 50))
def test_numbers_divided_by_extents(number: int, hint: int) -> None:
    """Right for the sizes at hand, and for all that the guards let in."""
    sizes = Sizes()
    n = sizes.symbol("n0", hint, may_be_one=True)
    sizes.recording = True
    quotient, rest = number // n, number % n
    for size in (hint, hint + 1, 2 * hint, 60, *range(2, 60)):
        if all(guard.holds({"n0": size}) for guard in sizes.guards):
            values = {"n0": size}
            found = evaluate(quotient, values), evaluate(rest, values)
            assert found == divmod(number, size)


def test_no_answer_without_a_guard() -> None:
    sizes = Sizes()
    n = sizes.symbol("n0", 5)
    assert n != 5 and n * 4 // 4 == n and n + 1 > 0
    for question in (lambda: n > 4, lambda: int(n), lambda: range(n), lambda: n // n - n > 0):
        with pytest.raises(Undecided):
            question()
    with pytest.raises(ValueError, match="no extent"):
        parse_dim("n0 ** 2")


def test_a_reduced_value_alone_stays_within_its_array() -> None:
    """The store of a value that no axis changes was outside the loop that it belongs to."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(gj.config, "symbolic_after", None)
        for n in (100, 1000, 1001):
            x = np.ones(n, np.float32)
            f = gj.function(lambda x: np.zeros_like(x) + x.astype(np.float64).mean())
            assert f.specialization(x).llvm_ir().count("masked.store") > 1 or not n % 32
            np.testing.assert_array_equal(f(x), np.ones(n))


def test_calls_that_fail_leave_no_trail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the same one again and again, nor ones of ever new sizes."""
    monkeypatch.setattr(symbolic, "_MAX_SIZES", 50)
    fn = gj.function(lambda x, y: x @ y, fallback="error")
    for n in range(2, 100):
        for x in (np.ones((2, 3)), np.ones((n, 3))):
            with pytest.raises(ShapeError):
                fn(x, np.ones((4, 5)))
    (seen,) = fn._specializations.size_histories.values()
    assert len(seen.history) == 64
    assert max(map(len, seen.sizes.values())) == 50


SCALARS = [
    np.int64(3), np.int8(7), np.uint64(2**63 + 5), np.bool_(True), np.float32(3.5),
    np.float64(7), np.float64("nan"), np.float64("-inf"), np.float16(100), np.float16(2048),
    np.complex64(3), np.complex128(7 + 1j), 5j, 2.5,
]  # fmt: skip
EQUALITIES = [operator.eq, operator.ne]
COMPARED = [*EQUALITIES, operator.lt, operator.le, operator.gt, operator.ge]


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("scalar", SCALARS, ids=lambda x: f"{type(x).__name__}({x})")
def test_an_extent_beside_a_scalar_is_compared_as_an_int(scalar: Any, turned: bool) -> None:
    """With Python's bool or NumPy's, and rounded to a short float where NumPy does so."""
    ordered = not isinstance(scalar, complex) or isinstance(scalar, np.generic)

    def function(x: Any) -> Any:
        n = x.shape[0]
        asked = COMPARED if ordered else EQUALITIES
        return [what(scalar, n) if turned else what(n, scalar) for what in asked], x.sum()

    compiled = gj.function(function)
    for n in (3, 5, 7, 2, 0, 1, 2049, 2048, 70000):
        x = np.ones(n, np.int8)
        found, wanted = compiled(x)[0], function(x)[0]
        assert [(type(a), a) for a in found] == [(type(a), a) for a in wanted], n


def test_extents_and_complex_numbers_have_no_order() -> None:
    compiled = gj.function(lambda x: (x.shape[0] < 5j, x.sum()))
    for n in (3, 5, 7):
        with pytest.raises(TypeError):
            compiled(np.ones(n))


LOOPS = [
    "k - k // 2 - 1", "k // 2 + k // 3", "k - k // 3 - 1", "k * 3 // 4 - k // 5",
    "k - max(k // 8, 1)", "(k - k // 2) // 2 + k // 3", "k * k // (k + 1) - k // 3",
    "k * (n - k) * (k + m) % 97",
]  # fmt: skip


@pytest.mark.parametrize("step", LOOPS)
def test_floors_within_floors_are_compiled_soon(step: str) -> None:
    names: dict[str, Any] = {}
    exec(
        "def function(x, y):\n"
        "    n, m = x.shape[0], y.shape[0]\n"
        "    k, j = n, 0\n"
        "    while k > 3 and j < 25:\n"
        f"        k, j = {step}, j + 1\n"
        "    return k, j, x * 2\n",
        names,
    )
    function = names["function"]
    compiled = gj.function(function)
    started = time.process_time()
    for n in (5, 9, 20, 1000, 20000, 3, 4096, 0):
        x, y = np.ones(n), np.ones(n // 3)
        k, j, doubled = compiled(x, y)
        assert (k, j) == function(x, y)[:2]
        assert doubled.shape == x.shape
    assert time.process_time() - started < 20


class Holder:
    __slots__ = ("held",)

    def __init__(self, held: Any) -> None:
        self.held = held


class Pair(tuple[Any, ...]):
    __slots__ = ()


HOLDERS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "slice": (lambda n: slice(0, n, 2), lambda s: s.stop),
    "object": (Holder, lambda h: h.held),
    "tuple's subclass": (lambda n: Pair((n, 2)), lambda p: p[0]),
    "deque": (lambda n: deque([n]), lambda d: d[0]),
    "counter": (lambda n: Counter({"a": n}), lambda c: c["a"]),
    "namespace": (lambda n: SimpleNamespace(held=[n]), lambda s: s.held[0]),
    "partial": (lambda n: partial(max, n), lambda p: p.args[0]),
    "closure": (lambda n: lambda: n, lambda f: f()),
    "default": (lambda n: lambda k=n: k, lambda f: f()),
}


@pytest.mark.parametrize("name", HOLDERS)
@pytest.mark.parametrize("traced", ["extent", "element"])
@pytest.mark.filterwarnings("ignore:.*runs eagerly")
def test_results_of_any_kind_hold_the_numbers_of_the_call(name: str, traced: str) -> None:
    make, held = HOLDERS[name]

    def function(x: Any) -> Any:
        return make(x.shape[0] if traced == "extent" else x.sum()), x * 2

    compiled = gj.function(function)
    for n in (5, 3, 7, 7, 0, 1, 300):
        found = held(compiled(np.ones(n))[0])
        wanted = held(function(np.ones(n))[0])
        assert (type(found), found) == (type(wanted), wanted), n


@pytest.mark.filterwarnings("ignore:.*runs eagerly")
def test_no_extent_outlives_its_trace() -> None:
    kept: list[Any] = []

    def function(x: Any) -> Any:
        kept.append((x.shape, [x.shape[0] + 1]))
        return x * 2

    compiled = gj.function(function)
    for n in (5, 3, 7, 300):
        compiled(np.ones(n))
    assert kept
    assert all(type(m) is int for shape, more in kept for m in (*shape, *more))


def test_the_type_of_an_extent_is_int() -> None:
    def function(x: Any) -> Any:
        names = [type(n).__name__ for n in (x.shape[0], x.shape[0] % 4)]
        return names, str(type(x.size)), x.dtype.type(2) * x

    compiled = gj.function(function)
    for n in (3, 5, 7):
        assert compiled(np.ones(n))[:2] == (["int", "int"], "<class 'int'>")
    kept = gj.function(lambda x: x.dtype.type(2) * x)
    for n in (3, 5, 7):
        kept(np.ones(n))
    assert len(sized(kept)) == 1


POWERS: dict[str, Callable[[Any], Any]] = {
    "a value": lambda x: (x.shape[0] ** 4 * 1000, x[:2]),
    "a value beyond C": lambda x: (x.shape[0] * 10**30, x[:2]),
    "a remainder": lambda x: (x.shape[0] ** 4 * x.shape[0] % 7, x[:2]),
    "the end of a slice": lambda x: x[: x.shape[0] ** 4 * x.shape[0] % 7] * 2,
    "a rank correlation": lambda x: x.sum() / (x.shape[0] * (x.shape[0] ** 2 - 1) * 10**6),
    "a branch": lambda x: x[:2] * (1 if x.shape[0] ** 4 * 1000 > 10**19 else 2),
    "a bound": lambda x: (x[: x.shape[0] * 10**30][:3], x[x.shape[0] - 2**63 :][:3]),
    "a shift": lambda x: np.roll(x, x.shape[0] * 2**61 + 1)[:9],
}


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("name", POWERS)
def test_extents_that_pass_64_bits(name: str) -> None:
    """Python's integers have no end, what native code computes with has."""
    function = POWERS[name]
    compiled = gj.function(function)
    for n in (5, 3, 7, 20000, 20000, 60000, 3_000_000, 3_000_001, 9, 0, 2):
        x = np.resize(np.array([1.0, 2.0, 3.0]), n) if n else np.ones(0)
        found, wanted = compiled(x), function(x)
        for a, b in (
            zip(found, wanted, strict=True) if type(wanted) is tuple else [(found, wanted)]
        ):
            if type(b) is int:
                assert (type(a), a) == (int, b)
            else:
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=0)


def test_extents_as_keys_of_results() -> None:
    def function(x: Any) -> Any:
        n = x.shape[0]
        return {n // 32: 1, (n // 16, "a"): x * 2}

    compiled = gj.function(function)
    for n in (5, 3, 7, 64, 65, 0, 1, 300, 7):
        found, wanted = compiled(np.ones(n)), function(np.ones(n))
        assert repr(found) == repr(wanted)
        assert all(key in found for key in wanted)


@pytest.mark.parametrize("join", ["stack", "concatenate", "list", "vstack"])
def test_extents_that_are_equal_for_these_sizes_join(join, monkeypatch):
    """Equal extents can have different texts; a handler would hide that they don't fit."""
    monkeypatch.setattr(gj.config, "symbolic_after", 1)

    def f(x):
        parts = [x[::2][: x.shape[0] // 2], x[1::2]]
        rows = [part.reshape(1, -1) for part in parts]
        try:
            if join == "stack":
                return np.stack(parts)
            if join == "list":
                return np.sum(parts, axis=0)
            return getattr(np, join)(rows)
        except ValueError:
            return x * 0

    jitted = gj.function(f)
    for n in (2, 3, 4, 5, 8, 13, 2, 3, 1, 0):
        x = np.arange(float(n))
        np.testing.assert_array_equal(jitted(x), f(x))


def test_a_product_of_extents_that_is_zero_says_which_is(monkeypatch):
    monkeypatch.setattr(gj.config, "symbolic_after", 1)

    def f(x):
        a = np.cumsum(x, axis=0)
        return np.flip(x), a.sum(axis=0), a.mean(axis=1)

    for first in ((3, 0), (0, 3), (0, 0), (3, 4)):
        jitted = gj.function(f)
        for shape in (first, (3, 4), (3, 0), (0, 5), (7, 2), (0, 0), (1, 1)):
            x = np.ones(shape, np.float32)
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for a, b in zip(jitted(x), f(x), strict=True):
                    np.testing.assert_array_equal(a, b)
