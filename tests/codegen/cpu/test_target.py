"""Compiled programs give what eager mode gives: the same values, or the same error."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from chains import chain, values
from compiled import (
    optimized,
    planned,
    reduced_length,
    run_compiled,
    same_bits,
    storing_all,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import fill, graphs, inputs_for
from tolerance import assert_close

import graphjit as gj
from graphjit.codegen.cpu import processor
from graphjit.codegen.cpu import target as cpu
from graphjit.codegen.runtime import executable
from graphjit.core.errors import IndexOutOfRangeError, InvalidArgumentError
from graphjit.core.machine import machine
from graphjit.core.types import (
    DTYPES,
    DType,
    bfloat16,
    complex64,
    complex128,
    float16,
    float32,
    float64,
    int8,
    int32,
    int64,
)
from graphjit.ir import cost_model
from graphjit.ir.graph import Graph, GraphBuilder
from graphjit.ir.interpreter import run, run_primitive
from graphjit.ops import PRIMITIVES as P
from graphjit.ops import source
from graphjit.ops.index import MODES

Array = np.ndarray[Any, Any]
WHICH_ZERO = ("minimum", "maximum", "min", "max", "cummax", "cummin")


class Case:
    """A graph under construction with its inputs."""

    def __init__(self) -> None:
        self.b = GraphBuilder("f")
        self.inputs: list[Array] = []

    def param(self, array: Any, role: str = "argument") -> int:
        array = np.ascontiguousarray(array).reshape(np.shape(array))
        self.inputs.append(array)
        type, name = source.Literal(array).type, f"p{len(self.inputs)}"
        return self.b.add(source.param, type=type, name=name, role=role)

    def __getattr__(self, name: str) -> Callable[..., int]:
        return lambda *nodes, **attrs: self.b.add(P[name], nodes, **attrs)

    def check(self, *outputs: int, updates: Any = (), **tolerance: Any) -> list[Array]:
        """Compare compiled with eager: exactly, but for what `tolerance` allows."""
        graph = self.b.finish(outputs, updates)
        wanted = run(graph, self.inputs)
        found = run_compiled(optimized(graph), self.inputs)
        for a, b in zip((*found[0], *found[1]), (*wanted[0], *wanted[1]), strict=True):
            if tolerance:
                assert_close(a, b, **tolerance)
            else:
                assert same_bits(a, b), f"{a}\nis not\n{b}\n{planned(optimized(graph))}"
        return found[0]

    def fails(self, *outputs: int) -> str:
        """The error's text, the same compiled and eagerly; its type too."""
        graph = self.b.finish(outputs)
        with pytest.raises((InvalidArgumentError, IndexOutOfRangeError)) as wanted:
            run(graph, self.inputs)
        with pytest.raises(type(wanted.value)) as found:
            run_compiled(graph, self.inputs)
        first = str(found.value).partition("\n")[0]
        assert first == str(wanted.value).partition("\n")[0]
        return first


def small(dtype: DType, shape: tuple[int, ...], seed: int = 0) -> Array:
    return fill(dtype, shape, "small", seed)


# -- random graphs ----------------------------------------------------------------------------


def is_loose(graph: Graph, position: int) -> bool:
    """Whether NumPy's result may differ in rounding, or in which of two zeros it is."""
    node = graph.nodes[position]
    return (
        not node.primitive.exact
        or node.primitive.name in WHICH_ZERO
        or (node.tensor.dtype.is_complex and node.primitive.name in ("mul", "div", "cumprod"))
    )


@given(st.data())
@settings(max_examples=150)
def test_exact_ops_are_exact(data: st.DataObject) -> None:
    graph = data.draw(graphs(exact=True))
    inputs = data.draw(inputs_for(graph))
    if any(is_loose(graph, i) for i in range(len(graph)) if graph.nodes[i].inputs):
        return
    wanted, found = run(graph, inputs), run_compiled(optimized(graph), inputs)
    for a, b in zip((*found[0], *found[1]), (*wanted[0], *wanted[1]), strict=True):
        assert same_bits(a, b)


@given(st.data())
@settings(max_examples=100)
def test_fusion_changes_no_bit(data: st.DataObject) -> None:
    graph = optimized(data.draw(graphs()))
    inputs = data.draw(inputs_for(graph))
    outputs, updates = run_compiled(graph, inputs)
    stored, stored_updates = run_compiled(storing_all(graph), inputs)
    for a, b in zip(outputs, stored, strict=False):
        assert same_bits(a, b)
    for a, b in zip(updates, stored_updates, strict=True):
        assert same_bits(a, b)


@pytest.mark.parametrize("seed", range(70))
def test_chains(seed: int) -> None:
    graph = chain(seed)
    inputs = values(graph, seed)
    after = optimized(graph)
    found = run_compiled(after, inputs)[0]
    everything = storing_all(after)
    stored = run_compiled(everything, inputs)[0]
    for a, b in zip(found, stored, strict=False):
        assert same_bits(a, b), planned(after)
    if graph.nodes[0].tensor.dtype.is_integer:
        for a, b in zip(found, run(graph, inputs)[0], strict=True):
            assert same_bits(a, b), planned(after)
        return
    held = stored[len(after.outputs) :]
    for position, node in enumerate(after.nodes):
        if not node.inputs:
            continue
        arrays = [held[i] for i in node.inputs]
        if any(np.max(np.abs(a), initial=0) > 100 for a in arrays):
            continue  # sums that overflow, or cancel beyond the table
        wanted = run_primitive(node.primitive, arrays, node.type, dict(node.attrs))
        length = reduced_length(after, node)
        if not is_loose(after, position):
            assert same_bits(held[position], wanted), f"%{position} of\n{planned(everything)}"
        elif all(np.all(np.isfinite(a.astype(complex))) for a in arrays):
            scale = max((float(np.max(np.abs(a), initial=0)) for a in arrays), default=0.0)
            assert_close(held[position], wanted, length=max(2, length), scale=scale * length)


# -- bits do not depend on the machine --------------------------------------------------------


@pytest.mark.parametrize("seed", range(100, 112))
def test_vector_width_changes_no_bit(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = optimized(chain(seed))
    inputs = values(graph, seed)
    host = processor.host()
    results = []
    for vector_bytes in (16, 32, 64):
        target = processor.Processor(host.cpu, host.features, vector_bytes)
        monkeypatch.setattr(processor, "host", lambda target=target: target)
        results.append(run_compiled(graph, inputs)[0])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert same_bits(a, b)


@pytest.mark.parametrize("seed", range(200, 212))
def test_chunks_and_streaming_change_no_bit(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = optimized(chain(seed))
    inputs = values(graph, seed)
    plain = run_compiled(graph, inputs)[0]
    monkeypatch.setattr(cost_model, "TEAM_NS", -1)
    monkeypatch.setattr(cost_model, "CHUNK_NS", 50)
    for a, b in zip(plain, run_compiled(graph, inputs)[0], strict=True):
        assert same_bits(a, b)
    monkeypatch.setattr(cpu, "LARGE_BYTES", 0)
    monkeypatch.setattr(executable, "LARGE_BYTES", 0)
    monkeypatch.setattr(cpu, "machine", lambda: replace(machine(), l3_bytes=0))
    monkeypatch.setattr(executable, "empty", aligned)
    for a, b in zip(plain, run_compiled(graph, inputs)[0], strict=True):
        assert same_bits(a, b)


def aligned(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array at a cache line's start, as streaming stores want it."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)


# -- nothing is read or written outside -------------------------------------------------------


class Guarded:
    """Makes arrays between two pages that can't be touched, at the first or the last byte."""

    CANARY = 0xA5

    def __init__(self, at_end: bool) -> None:
        self.at_end = at_end
        self.made: list[tuple[mmap.mmap, Array, int, int]] = []
        self.libc = ctypes.CDLL(None, use_errno=True)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        dtype, page = np.dtype(dtype), mmap.PAGESIZE
        size = int(np.prod(shape)) * dtype.itemsize
        room = max(1, -(-size // page)) * page
        memory = mmap.mmap(-1, room + 2 * page)
        raw = np.frombuffer(memory, np.uint8)
        raw[:] = self.CANARY
        self._protect(raw, 0)
        start = page + (room - size if self.at_end else 0)
        self.made.append((memory, raw, start, size))
        return raw[start : start + size].view(dtype).reshape(shape)

    def copy(self, array: Array) -> Array:
        result = self.empty(array.shape, array.dtype)
        result[...] = array
        return result

    def _protect(self, raw: Array, access: int) -> None:
        page = mmap.PAGESIZE
        for place in (raw.ctypes.data, raw.ctypes.data + raw.size - page):
            assert self.libc.mprotect(ctypes.c_void_p(place), page, access) == 0

    def check(self) -> None:
        """Fail if a byte beside an array was written."""
        for _, raw, start, size in self.made:
            self._protect(raw, mmap.PROT_READ | mmap.PROT_WRITE)
            assert np.all(raw[:start] == self.CANARY) and np.all(
                raw[start + size :] == self.CANARY
            )


@pytest.fixture(params=[True, False], ids=["at the end", "at the start"])
def guarded(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Guarded]:
    memory = Guarded(request.param)
    monkeypatch.setattr(executable, "empty", memory.empty)
    yield memory
    memory.check()


@pytest.mark.parametrize("seed", range(300, 325))
def test_chains_stay_inside(seed: int, guarded: Guarded) -> None:
    graph = storing_all(optimized(chain(seed)))
    run_compiled(graph, [guarded.copy(a) for a in values(graph, seed)])


@pytest.mark.parametrize("size", [1, 3, 31, 33, 127, 255, 257])
@pytest.mark.parametrize("dtype", [int8, float16, float32, complex64, complex128])
def test_views_stay_inside(dtype: DType, size: int, guarded: Guarded) -> None:
    case = Case()
    x = case.param(guarded.copy(small(dtype, (3, size))))
    flipped = case.slice(x, starts=(2, size - 1), sizes=(3, size), steps=(-1, -1))
    half = case.slice(x, starts=(0, 0), sizes=(3, (size + 1) // 2), steps=(1, 2))
    turned = case.transpose(x, perm=(1, 0))
    one = case.slice(x, starts=(0, 0), sizes=(3, 1), steps=(1, 1))
    index = case.b.const(np.arange(size)[::-1].copy())
    chosen = case.gather(x, index, axes=(1,))
    written = case.place(x, half, starts=(0, 0), steps=(1, 1))
    added = case.scatter(x, chosen, index, axes=(1,), mode="add")
    nodes = [case.add(v, v) for v in (flipped, half, turned, chosen)]
    case.check(*nodes, case.add(x, one), written, added, case.add(flipped, x))


@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("dtype", [float32, float64])
@pytest.mark.parametrize("m", [1, 3, 4, 9, 40])
def test_products_stay_inside(m: int, dtype: DType, symbolic: bool, guarded: Guarded) -> None:
    """Where columns are left over, and sums longer than a block are added to the result."""
    spec = gj.TensorSpec([None, None], dtype)
    product = gj.function(
        lambda a, b: a @ b, input_signature=[spec, spec] if symbolic else None, fallback="error"
    )
    for k, n in ((5, 700), (5, 1), (5, 7), (600, 17), (3, 31), (40, 33), (1100, 70), (9, 1031)):
        a, b = small(dtype, (m, k)), small(dtype, (k, n))
        result = product(guarded.copy(a), guarded.copy(b))
        np.testing.assert_array_equal(result, a @ b)  # quarters: sums without rounding


# -- sizes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [33, 45, 63, 1000 + 17])
@pytest.mark.parametrize("dtype", [float16, float32, complex64])
def test_what_follows_a_rows_end_is_in_no_sum(dtype: DType, size: int) -> None:
    """Rows that a vector is cut off at, beside numbers that no sum may take in."""
    wide = np.full((5, size + 40), np.nan, dtype.dtype)
    wide[:, :size] = small(dtype, (5, size))
    rows, other = wide[:, :size], abs(small(dtype, (size,), 1)) + dtype.dtype.type(1)
    factor = np.array(np.inf, dtype.dtype)
    open_sizes = [gj.TensorSpec(shape, dtype) for shape in ([None, None], [None], [])]
    sums: list[Callable[..., Any]] = [
        lambda x, y, s: np.sum(x, axis=1),
        lambda x, y, s: np.sum(abs(x * y - x) + abs(-x), axis=1),
        lambda x, y, s: np.sum(y * s),  # infinite, but 0 * inf is NaN
        lambda x, y, s: np.sum(x + y * 0 + 1, axis=1),
        lambda x, y, s: np.max(x, axis=1) + np.sum(np.exp(x - x), axis=1),
        lambda x, y, s: np.sum(np.where(x == x, 2, x).astype(x.dtype), axis=1),
    ]
    for total in sums:
        if dtype is complex64 and total is sums[4]:
            continue  # which have no order
        with np.errstate(all="ignore"):
            exact = np.result_type(dtype.dtype, np.float64)
            wanted = total(rows.astype(exact), other.astype(exact), factor)
        for signature in (None, open_sizes):
            f = gj.function(total, input_signature=signature, fallback="error")
            found = f(rows, other, factor)
            np.testing.assert_allclose(found, wanted.astype(found.dtype), rtol=1e-2)


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 255, 257, 5000])
def test_lengths(size: int) -> None:
    case = Case()
    x = case.param(small(int32, (size,)))
    y = case.param(small(int32, (2, size)))
    case.check(
        case.add(x, y), case.sum(x, axes=(0,)), case.max(y, axes=(1,)), case.min(y, axes=(0,)),
        case.cumsum(y, axis=1), case.cumsum(y, axis=0), case.concat(y, y, axis=1),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [int32, int64, float16, bfloat16, float32, complex64])
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((16385,), (0,)), ((40000,), (0,)), ((3, 20000), (1,)), ((20000, 3), (0,)),
        ((2, 130, 129), (1, 2)), ((129, 2, 130), (0, 2)), ((130, 129, 2), (0, 1)),
        ((4096, 5), (0, 1)),
    ],
)  # fmt: skip
def test_long_reductions(dtype: DType, shape: Any, axes: Any) -> None:
    case = Case()
    x = case.param(small(dtype, shape))
    total = case.sum(x, axes=axes)
    if dtype.is_integer:
        case.check(total, case.max(x, axes=axes))
    elif dtype is complex64:
        case.check(total)  # quarters: sums without rounding
    else:
        case.check(case.max(x, axes=axes), case.min(x, axes=axes))
        if dtype is float32:
            case.check(total)
        else:
            case.check(total, length=2)


@pytest.mark.parametrize("shape", [(40000,), (3, 20000), (20000, 3), (200, 3, 200)])
def test_argmax_of_long_rows(shape: Any) -> None:
    for axis in range(len(shape)):
        case = Case()
        x = case.param(small(float32, shape))  # many ties: the first counts
        nan = np.array(small(float32, shape))
        nan.flat[::7] = np.nan
        y = case.param(nan)
        axes = (axis,)
        case.check(
            case.argmax(x, axes=axes), case.argmin(x, axes=axes),
            case.argmax(y, axes=axes), case.argmin(y, axes=axes),
        )  # fmt: skip


# -- what leaves a program --------------------------------------------------------------------


def test_params_constants_and_repeated_outputs() -> None:
    case = Case()
    x = case.param(small(float32, (3, 4)))
    c, e = case.b.const(np.arange(5.0)), case.b.const(np.zeros((0, 3), np.int8))
    y = case.neg(x)
    outputs = case.check(x, x, c, c, e, y, y, case.transpose(x, perm=(1, 0)))
    for k, one in enumerate(outputs):
        assert one.flags.owndata or one.base is not None
        for other in (*outputs[:k], *case.inputs):
            assert not np.shares_memory(one, other)


def test_updates_see_old_values() -> None:
    case = Case()
    v, w = (case.param(small(float32, (5,), k), "variable") for k in range(2))
    x = case.param(small(float32, (5,), 2))
    case.check(case.add(v, w), v, updates=[(v, w), (w, case.add(v, x))])
    case = Case()
    v = case.param(small(float32, (5,)), "variable")
    new = case.add(v, v)
    case.check(new, new, updates=[(v, new)])


def test_nothing_at_all() -> None:
    Case().check()
    case = Case()
    case.param(small(float32, (2,)))
    case.check()


def test_library_calls_between_kernels() -> None:
    case = Case()
    x = case.param(small(float64, (5, 4)))
    y = case.add(x, x)
    u, s, v = (case.item(case.svd(y, full=False), index=k) for k in range(3))
    scaled = case.mul(u, s)
    again = case.matmul(scaled, v)
    low = case.sort(case.neg(s), axis=0, kind="quicksort")
    order = case.argsort(y, axis=0, kind="stable")
    taken = case.gather(y, case.reshape(order, shape=(20,)), axes=(0,))
    case.check(again, low, s, case.sum(taken, axes=(1,)), order, length=16)


# -- matrix products --------------------------------------------------------------------------


PRODUCTS = [
    ((2, 3), (3, 4)), ((1, 1), (1, 1)), ((5, 0), (0, 4)), ((0, 3), (3, 2)), ((3, 33), (33, 65)),
    ((7, 2, 3), (3, 4)), ((2, 3), (7, 3, 4)), ((2, 1, 2, 3), (5, 3, 4)), ((1, 2, 3), (6, 3, 1)),
    ((2, 3, 0), (2, 0, 4)), ((0, 2, 3), (3, 2)),
]  # fmt: skip


@pytest.mark.parametrize("shapes", PRODUCTS, ids=str)
@pytest.mark.parametrize("dtype", [d for d in DTYPES if not d.is_bool], ids=lambda d: d.name)
def test_products(dtype: DType, shapes: Any) -> None:
    case = Case()
    x, y = (case.param(small(dtype, shape, k)) for k, shape in enumerate(shapes))
    outputs = [case.matmul(x, y)]
    turned = []
    for node, shape in ((x, shapes[0]), (y, shapes[1])):
        order = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
        turned.append(case.transpose(node, perm=order))
    outputs.append(case.matmul(turned[1], turned[0]))
    plain = case.transpose(x, perm=tuple(reversed(range(len(shapes[0])))))
    if len(shapes[0]) == 2:
        outputs.append(case.matmul(case.neg(x), case.neg(y)))
        outputs.append(case.neg(case.matmul(plain, x)))
    case.check(*outputs)  # quarters: exact in any order


# -- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [-1, 7, 2**62, -(2**63)])
@pytest.mark.parametrize("size", [1, 5, 31, 33, 257, 5000])
def test_indices_out_of_range(size: int, bad: int) -> None:
    places = np.arange(size) % 7
    for position in {0, size // 2, size - 1}:
        index = places.copy()
        index[position:] = bad - (np.arange(size - position) if bad < 0 else 0)
        case = Case()
        x, i = case.param(small(float32, (7, 3))), case.param(index)
        message = f"index {index[position]} is out of range: the axis has 7"
        rows = case.gather(x, i, axes=(0,))
        assert message in case.fails(rows)
        assert message in case.fails(case.sum(rows, axes=(1,)))
        case = Case()
        x, i = case.param(small(float32, (7, 3))), case.param(index)
        updates = case.b.const(small(float32, (size, 3)))
        assert message in case.fails(case.scatter(x, updates, i, axes=(0,), mode="add"))


@pytest.mark.parametrize("position", [0, 63, 64, 5000, 9999])
def test_the_first_index_counts_whatever_chunk_fails_first(
    position: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost_model, "TEAM_NS", -1)
    monkeypatch.setattr(cost_model, "CHUNK_NS", 50)
    index = np.arange(10000) % 7
    index[position:] = 7 + np.arange(10000 - position)
    case = Case()
    x, i = case.param(small(float32, (7,))), case.param(index)
    for _ in range(5):
        assert "index 7 is" in case.fails(case.neg(case.gather(x, i, axes=(0,))))


def test_several_indices_are_checked_element_by_element() -> None:
    case = Case()
    x = case.param(small(float32, (3, 4)))
    i, j = case.param(np.array([0, 9, 8])), case.param(np.array([0, 1, 7]))
    assert "index 9 is out of range: the axis has 3" in case.fails(
        case.gather(x, i, j, axes=(0, 1))
    )
    assert "index 7" not in case.fails(case.gather(x, j, i, axes=(1, 0)))
    case = Case()
    x = case.param(small(float32, (3, 4)))
    i, j = case.param(np.array([0, 0, 8])), case.param(np.array([0, 7, 1]))
    assert "index 7 is out of range: the axis has 4" in case.fails(
        case.gather(x, i, j, axes=(0, 1))
    )


@pytest.mark.parametrize("size", [1, 31, 33, 257])
@pytest.mark.parametrize("op", ["floordiv", "mod", "fmod"])
def test_strict_division(op: str, size: int) -> None:
    case = Case()
    x, y = (
        case.param(small(int32, (2, size))),
        case.param(np.arange(1, size + 1, dtype=np.int32)),
    )
    case.check(getattr(case, op)(x, y, strict=True))  # lanes that are masked off divide nothing
    zero = np.ones(size, np.int32)
    zero[-1] = 0
    case = Case()
    x, y = case.param(small(int32, (2, size))), case.param(zero)
    assert "Integer division by zero" in case.fails(getattr(case, op)(x, y, strict=True))
    case = Case()
    x, y = case.param(small(int32, (2, size))), case.param(zero)
    case.check(getattr(case, op)(x, y, strict=False))


def test_nothing_is_divided_where_the_result_is_empty() -> None:
    case = Case()
    x, y = case.param(np.zeros((0,), np.int32)), case.param(np.zeros((), np.int32))
    case.check(case.floordiv(x, y, strict=True))


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d.kind == "i"], ids=lambda d: d.name)
def test_lowest_integer_over_minus_one(dtype: DType) -> None:
    case = Case()
    x = case.param(np.full(33, dtype.min, dtype.dtype))
    y = case.param(np.full(33, -1, dtype.dtype))
    case.check(
        *(
            getattr(case, op)(x, y, strict=s)
            for op in ("floordiv", "mod", "fmod")
            for s in (False, True)
        )
    )


def test_integer_powers() -> None:
    case = Case()
    x, y = case.param(small(int32, (33,))), case.param(np.arange(33, dtype=np.int32))
    case.check(case.pow(x, y))
    case = Case()
    x, y = case.param(small(int32, (33,))), case.param(-np.arange(33, dtype=np.int32))
    assert "negative integer powers" in case.fails(case.pow(x, y))


def test_an_executable_runs_again_after_an_error() -> None:
    case = Case()
    x, i = case.param(small(float32, (7, 3))), case.param(np.array([1, 9]))
    graph = case.b.finish([case.gather(x, i, axes=(0,))])
    compiled = cpu.compile_program(planned(graph))[0]
    for _ in range(3):
        with pytest.raises(IndexOutOfRangeError):
            compiled(case.inputs)
        good = [case.inputs[0], np.array([6, 0])]
        assert same_bits(compiled(good)[0][0], run(graph, good)[0][0])


# -- scatter, scans ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
def test_scatter_with_repeated_indices(dtype: DType, mode: str) -> None:
    if dtype.kind not in MODES[mode]:
        return
    case = Case()
    x = case.param(small(dtype, (5, 3)))
    i, j = case.param(np.arange(33) % 3), case.param(np.arange(33) % 2)
    rows = case.scatter(x, case.param(small(dtype, (33, 3), 1)), i, axes=(0,), mode=mode)
    single = case.scatter(x, case.param(small(dtype, (33,), 2)), i, j, axes=(0, 1), mode=mode)
    tolerance = {"length": 33} if dtype.is_inexact and mode == "mul" else {}
    if dtype.name in ("float16", "bfloat16", "complex64", "complex128"):
        tolerance = {"length": 33, "ulps": 33}
    case.check(rows, single, **tolerance)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_scan_starts_with_its_first_element(axis: int) -> None:
    case = Case()
    x = case.param(np.full((3, 3), -0.0, np.float32))
    case.check(case.cumsum(x, axis=axis), case.cumprod(x, axis=axis), case.cummax(x, axis=axis))


# -- found by searching -----------------------------------------------------------------------


def test_a_reduction_over_nothing() -> None:
    case = Case()
    x, one = case.param(np.float32(-2)), case.param(small(float32, (1, 1)))
    case.check(
        case.max(x, axes=()), case.sum(x, axes=()), case.sum(one, axes=(0, 1)),
        case.argmax(one, axes=(1,)), case.cumsum(one, axis=0),
    )  # fmt: skip


def test_neighbouring_axes_of_what_is_computed_transposed() -> None:
    # The order of combining is that of the reduced tensor, so it has to be stored first.
    case = Case()
    x, y = case.param(small(float32, (4, 3))), case.param(small(float32, (4, 3), 1))
    a, b = (case.abs(case.neg(case.transpose(v, perm=(1, 0)))) for v in (x, y))
    case.check(case.max(a, axes=(0, 1)), case.max(b, axes=(0, 1)), a)
    case = Case()
    x = case.param(small(int64, (4, 3)))
    i = case.iota(shape=(4, 3), axis=1)
    case.check(case.sum(case.mul(case.add(x, i), i), axes=(0, 1)), i)


def test_signs_of_infinite_complex_numbers() -> None:
    parts = [0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan]
    case = Case()
    x = case.param(np.array([complex(r, i) for r in parts for i in parts], np.complex64))
    case.check(case.sign(x), length=2)


def test_int64_by_way_of_float64_is_rounded() -> None:
    case = Case()
    x = case.param(np.array([2**53 + 1, 2**62 + 2**38 + 1, -1]))
    wide = case.cast(x, dtype=float64)
    case.check(case.cast(wide, dtype=int64), case.cast(wide, dtype=float32))


def test_complex_order_with_nan() -> None:
    parts = [0.0, 1.0, np.nan]
    every = np.array([complex(r, i) for r in parts for i in parts])
    case = Case()
    x, y = case.param(np.repeat(every, 9)), case.param(np.tile(every, 9))
    case.check(*(getattr(case, op)(x, y) for op in ("lt", "le", "gt", "ge", "eq", "ne")))


@pytest.mark.parametrize("symbolic_after", [None, 2])
@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint8, np.uint16, np.int32, np.uint64])
def test_long_sums_of_integers_wrap(
    dtype: Any, symbolic_after: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In their own dtype, as NumPy's do: of 16 bits too, whose floats are summed in float32."""
    monkeypatch.setattr(gj.config, "symbolic_after", symbolic_after)

    def all_of(x: Any) -> Any:
        odd = x | dtype(1)
        return (
            x.sum(axis=0, dtype=dtype), x.sum(dtype=dtype), np.cumsum(x, axis=0, dtype=dtype),
            odd.prod(axis=0, dtype=dtype), odd.prod(dtype=dtype), x.max(axis=0), x.sum(axis=1),
        )  # fmt: skip

    f, info = gj.function(all_of, fallback="error"), np.iinfo(dtype)
    for rows in (3001, 300, 5000, 17):
        x = np.random.default_rng(rows).integers(info.min, info.max, (rows, 4), dtype)
        with np.errstate(all="ignore"):
            for actual, wanted in zip(f(x), all_of(x), strict=True):
                assert actual.dtype == wanted.dtype
                np.testing.assert_array_equal(actual, wanted)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int64])
@pytest.mark.parametrize("shape", [(30, 1, 3), (17, 2, 3), (5, 3, 2), (9, 1, 7), (33, 1, 4)])
def test_quotients_in_tails(shape: tuple[int, ...], dtype: Any) -> None:
    """LLVM 22 ended the process where int8 is divided by numbers that differ by lane."""
    info = np.iinfo(dtype)
    x = np.random.default_rng(1).integers(info.min, info.max, shape, dtype, endpoint=True)

    def quotients(x: Any) -> Any:
        part = (x // 3) % 7
        return (
            x - x,
            part.sum(2),
            part @ np.swapaxes(part, 1, 2),
            x // 7,
            x % 11,
            (x // 0, x % 0),
        )

    *found, (by_zero, left) = gj.function(quotients, fallback="error")(x)
    with np.errstate(all="ignore"):
        *wanted, (zero, rest) = quotients(x)
    for actual, expected in zip((*found, by_zero, left), (*wanted, zero, rest), strict=True):
        np.testing.assert_array_equal(actual, expected)


ROW_BY_ROW: dict[str, Callable[..., Any]] = {
    "times a vector": lambda a, x: a @ x,
    "two products": lambda a, x: (a @ x) * 2 + (a * a).sum(1),
    "norm": lambda a, x: np.sqrt(((a - x) ** 2).sum(-1)) / (1 + np.abs(x).sum()),
    "largest": lambda a, x: (a * x).max(1),
    "where": lambda a, x: np.where(a > 0, a, 0).sum(1, keepdims=True) + a[:, :1],
    "batch": lambda a, x: (a[:, None] * np.stack([x, -x])).sum(-1),
    "columns by columns": lambda a, x: (a[:, ::2] * x[::2]).sum(1),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64])
@pytest.mark.parametrize("name", ROW_BY_ROW)
def test_rows_abreast_have_the_bits_of_single_rows(name: str, dtype: Any) -> None:
    function = ROW_BY_ROW[name]
    if name in ("largest", "where") and dtype is np.complex64:
        pytest.skip("complex numbers have no order")
    rng = np.random.default_rng(5)
    any_size = gj.function(lambda a, x: function(a, x), fallback="error")
    for n in (33, 64, 1001):
        x = rng.normal(size=n).astype(dtype)
        a = rng.normal(size=(11, n)).astype(dtype)
        a[3, 5], a[4, -1] = np.nan, -0.0
        one = gj.function(lambda a, x: function(a, x), fallback="error")
        single = np.concatenate([one(a[k : k + 1], x) for k in range(11)])
        for rows in (2, 5, 11):
            static = gj.function(lambda a, x: function(a, x), fallback="error")
            expected = single[:rows]
            assert static(a[:rows], x).tobytes() == expected.tobytes()
            assert any_size(a[:rows], x).tobytes() == expected.tobytes()
