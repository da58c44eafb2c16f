"""Every kind of kernel as PTX, run in the emulator: with the CPU's bits, and near NumPy."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from compiled import same_bits
from ptx import programs
from tolerance import assert_close

import graphjit as gj
from graphjit.core.errors import IndexOutOfRangeError, InvalidArgumentError, UnsupportedError

Array = np.ndarray[Any, Any]
SIZES = (0, 1, 31, 32, 33, 255, 256, 257, 5003)
TARGETS = ("sm_75", "sm_80", "sm_90", "sm_100", "sm_120")


def floats(*shape: int, dtype: Any = np.float32, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def check(
    function: Callable[..., Any], *args: Array, length: int = 1, random: bool = False
) -> list[Array]:
    """Run a function's PTX; compare with the CPU's code bit by bit, and with NumPy. `length`:
    of the sums in it. `random`: with warps in a random order too.
    """
    graph = programs.graph_of(function, *args)
    assembly = programs.planned(graph)
    found = programs.run(assembly, args)
    for actual, cpu in zip(found, programs.on_cpu(graph, args), strict=True):
        assert same_bits(actual, cpu)
    with np.errstate(all="ignore"):
        expected = function(*args)
    several = expected if isinstance(expected, tuple) else (expected,)
    for actual, value in zip(found, several, strict=True):
        assert_close(actual, np.asarray(value), length=length)
    for schedule in (1, 2) if random else ():
        for actual, again in zip(
            found, programs.run(assembly, args, schedule=schedule), strict=True
        ):
            assert same_bits(actual, again)
    return found


# -- element by element


def chain(x: Any, y: Any) -> Any:
    return np.exp(-x * x) + y / 3 - 1


@pytest.mark.parametrize("size", SIZES)
def test_elementwise(size: int) -> None:
    check(chain, floats(size), floats(size, seed=1), length=4, random=size < 300)


@pytest.mark.parametrize("blocks", [1, 3, 50])
def test_any_grid_walks_all_points(blocks: int) -> None:
    x, y = floats(5003), floats(5003, seed=1)
    assembly = programs.planned(programs.graph_of(chain, x, y))
    once = programs.run(assembly, [x, y])
    assert same_bits(once[0], programs.run(assembly, [x, y], blocks=blocks)[0])


VIEWS: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
    "transposed": (lambda x: x.T + 1, (31, 33)),
    "reversed": (lambda x: x[::-1] * 2, (257,)),
    "strided": (lambda x: x[1::3] * 2, (100,)),
    "broadcast row": (lambda x: x + x[0], (5, 64)),
    "broadcast column": (lambda x: x + x[:, :1], (7, 33)),
    "sliced": (lambda x: x[1:, 2:-1] * 2, (9, 19)),
    "middle axis": (lambda x: np.transpose(x, (1, 0, 2)) - 1, (3, 5, 4)),
    "joined": (lambda x: np.concatenate([x, x * 2], axis=1), (3, 5)),
    "several": (lambda x: (x + 1, x * x, x > 0), (33, 5)),
    "0-d": (lambda x: x + 1, ()),
    "1 row": (lambda x: x + x[0], (1, 64)),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views(name: str) -> None:
    function, shape = VIEWS[name]
    check(function, np.asarray(floats(*shape)), random=True)


def accesses(assembly: Any) -> list[str]:
    return re.findall(r"(?:ld|st)\.global(?:\.nc)?\.((?:v\d\.)?\w+)", assembly.text)


@pytest.mark.parametrize(
    ("dtype", "widest"),
    [
        ("float32", "v4.b32"), ("float16", "v4.b32"), ("bfloat16", "v4.b32"),
        ("float64", "v2.b64"), ("int64", "v2.b64"), ("complex64", "v4.b32"),
        ("complex128", "v2.b64"), ("int8", "v2.b32"), ("int16", "v4.b32"),
    ],
)  # fmt: skip
def test_neighbours_are_loaded_together(dtype: str, widest: str) -> None:
    x = np.ones(1024, gj.as_dtype(dtype).dtype)
    assembly = programs.planned(programs.graph_of(lambda x: x + x, x))
    assert accesses(assembly)[:2] == [widest, widest]


def test_rows_that_start_anywhere_are_loaded_one_by_one() -> None:
    x = floats(5, 33)
    assembly = programs.planned(programs.graph_of(lambda x: x + x[0], x))
    assert set(accesses(assembly)) == {"b32"}


def test_arithmetic_is_never_left_for_ptxas_to_fuse() -> None:
    x = floats(100)
    assembly = programs.planned(programs.graph_of(lambda x, y: (x * y + x) / y - y, x, x))
    found = set(re.findall(r"\b((?:mul|add|sub|div|fma)\.[\w.]*f32)", assembly.text))
    assert found == {"mul.rn.f32", "add.rn.f32", "div.rn.f32", "sub.rn.f32"}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "complex64", "int8"])
def test_other_dtypes(dtype: str) -> None:
    x = (floats(257) * 9).astype(gj.as_dtype(dtype).dtype)
    check(lambda x: x * x - x, x)
    check(lambda x: x.T + x, x[:256].reshape(16, 16))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_arguments(dtype: Any) -> None:
    x = floats(65, dtype=dtype) * np.asarray([1e30, 1e5, 1, 1e17, 1e25] * 13, dtype)
    check(lambda x: (np.sin(x), np.cos(x), np.tan(x)), x)


def test_bits_of_a_counter() -> None:
    def bits(counter: Any, key: Any) -> Any:
        x = counter
        for round in range(4):  # in the manner of SplitMix64
            x = (x ^ (x >> np.uint64(27 + round))) * np.uint64(0x94D049BB133111EB) + key
        return (x >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)

    found = check(bits, np.arange(257, dtype=np.uint64), np.array(7, np.uint64))
    assert 0.4 < float(found[0].mean()) < 0.6


# -- reductions and scans


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layer_norm(x: Any) -> Any:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


@pytest.mark.parametrize("columns", [1, 31, 32, 33, 255, 256, 257])
@pytest.mark.parametrize("function", [softmax, layer_norm])
def test_rows(function: Callable[..., Any], columns: int) -> None:
    check(function, floats(5, columns), length=columns, random=columns in (33, 257))


@pytest.mark.parametrize("size", SIZES)
def test_whole_sums(size: int) -> None:
    check(lambda x: x.sum() * 2, floats(size), length=size)


def test_long_sums_take_two_stages() -> None:
    x = floats(40000)
    graph = programs.graph_of(lambda x: x.sum(), x)
    assembly = programs.planned(graph)
    assert len(assembly.calls) > 1
    found = programs.run(assembly, [x])
    assert same_bits(found[0], programs.on_cpu(graph, [x])[0])


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "first axis": lambda x: x.sum(0),
    "last axis": lambda x: x.max(-1),
    "both ends": lambda x: x.sum((0, 2)),
    "middle": lambda x: np.exp(x).sum(1) + 1,
    "whole": lambda x: (x.min(), x.prod()),
    "mean and spread": lambda x: (x.mean(-1), x.std(-1)),
    "arg": lambda x: (x.argmax(-1), x.argmin(0), x.argmax(1)),
    "logical": lambda x: ((x > 2).any(-1), (x > -2).all(0)),
    "counted": lambda x: np.count_nonzero(x > 0, axis=-1),
}


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("shape", [(3, 5, 40), (33, 2, 7), (2, 1, 33)])
def test_reductions(name: str, shape: tuple[int, ...]) -> None:
    check(REDUCTIONS[name], floats(*shape), length=int(np.prod(shape)), random=True)


def test_narrow_sums_are_made_in_float32() -> None:
    x = (floats(4, 65) * 3).astype(np.float16)
    graph = programs.graph_of(lambda x: (x.sum(-1), np.cumsum(x, 1)), x)
    found = programs.run(programs.planned(graph), [x])
    for actual, cpu in zip(found, programs.on_cpu(graph, [x]), strict=True):
        assert same_bits(actual, cpu)
    wide = x.astype(np.float32)
    scale = np.abs(wide).sum(-1)
    assert_close(found[0], wide.sum(-1).astype(np.float16), length=65, scale=scale)


@pytest.mark.parametrize("dtype", [np.float64, np.complex64, np.int64])
def test_sums_of_other_dtypes(dtype: Any) -> None:
    x = (floats(4, 65) * 3).astype(dtype)
    check(lambda x: (x.sum(-1), x.sum(0)), x, length=65)


def test_which_zero_a_row_has() -> None:
    x = np.zeros((4, 64), np.float32)
    x[0, ::2], x[1, 1::2], x[2, 40] = -0.0, -0.0, -0.0
    graph = programs.graph_of(lambda x: (x.max(-1), x.min(-1)), x)
    found = programs.run(programs.planned(graph), [x])
    for actual, cpu in zip(found, programs.on_cpu(graph, [x]), strict=True):
        assert actual.tobytes() == cpu.tobytes()


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_scans(axis: int, dtype: Any) -> None:
    x = (floats(9, 33) * 3).astype(dtype)
    check(lambda x: np.cumsum(x, axis, dtype=dtype), x, length=33)


def test_what_follows_a_scan_computes_it_again() -> None:
    def relative(x: Any) -> Any:
        total = np.cumsum(x, 1)
        return total / (np.abs(total).sum(1, keepdims=True) + 1)

    check(relative, floats(5, 33), length=33, random=True)


# -- what data choose


@pytest.mark.parametrize("rows", [1, 33])
def test_gather(rows: int) -> None:
    index = np.arange(rows) * 7 % 9
    check(lambda x, i: x[i] * 2, floats(9, 10), index, random=True)


def test_gather_along_rows() -> None:
    index = np.arange(80).reshape(2, 40) % 9
    check(lambda x, i: x[i].sum(-1), floats(9), index, length=40, random=True)


@pytest.mark.parametrize("schedule", ["lockstep", 1, 2, 3])
def test_the_first_bad_index_is_told(schedule: str | int) -> None:
    index = np.arange(500) % 9
    index[[77, 300, 450]] = 9, 12, 10
    table = floats(9, 3)
    graph = programs.graph_of(lambda x, i: x[i] * 2, table, index % 9)
    with pytest.raises(IndexOutOfRangeError, match=r"index 9 is out of range.* 9 elements"):
        programs.run(programs.planned(graph), [table, index], schedule=schedule, blocks=2)


@pytest.mark.parametrize("schedule", ["lockstep", 1])
def test_a_bad_index_within_a_row(schedule: str | int) -> None:
    index = np.arange(240).reshape(6, 40) % 9
    index[3, 30], index[5, 1] = 11, 12
    table = floats(9)
    graph = programs.graph_of(lambda x, i: x[i].sum(-1), table, index % 9)
    with pytest.raises(IndexOutOfRangeError, match="index 11 is"):
        programs.run(programs.planned(graph), [table, index], schedule=schedule)


def test_a_bad_index_into_nothing_reads_nothing() -> None:
    graph = programs.graph_of(lambda x, i: x[i] * 2, floats(0, 4), np.zeros(0, np.int64))
    assert not programs.run(programs.planned(graph), [floats(0, 4), np.zeros(0, np.int64)])[
        0
    ].size
    table, index = floats(0, 4), np.array([3, 1])
    graph = programs.graph_of(lambda x, i: gj.gather(x, i), table, index)
    with pytest.raises(IndexOutOfRangeError, match=r"index 3 is .* 0 elements"):
        programs.run(programs.planned(graph), [table, index])


@pytest.mark.parametrize("mode", ["add", "update", "max"])
@pytest.mark.parametrize("shape", [(9, 5), (9,)])
def test_scatter(mode: str, shape: tuple[int, ...]) -> None:
    function = getattr(gj, f"tensor_scatter_nd_{mode}")
    index = (np.arange(40) * 7 % 9)[:, None]  # each of them several times
    x, updates = floats(*shape), floats(40, *shape[1:], seed=1)
    graph = programs.graph_of(function, x, index, updates)
    for schedule in ("lockstep", 1):
        found = programs.run(
            programs.planned(graph), [x, index, updates], schedule=schedule, blocks=2
        )
        assert same_bits(found[0], programs.on_cpu(graph, [x, index, updates])[0])
    expected = x.copy()
    for row, update in zip(index[:, 0], updates, strict=True):
        old = expected[row]
        expected[row] = {"add": old + update, "update": update, "max": np.maximum(old, update)}[
            mode
        ]
    assert_close(found[0], expected, ulps=0)


def test_a_bad_index_of_a_scatter_writes_nothing_outside() -> None:
    index, updates = np.array([[1], [99], [-1]]), floats(3, 5)
    graph = programs.graph_of(gj.tensor_scatter_nd_add, floats(9, 5), index % 9, updates)
    with pytest.raises(IndexOutOfRangeError, match="index 99 is"):
        programs.run(programs.planned(graph), [floats(9, 5), index, updates])


def test_a_failed_step_hides_what_follows_from_it() -> None:
    # the second gather's indices are made of what the first one failed to find
    def twice(x: Any, i: Any) -> Any:
        return x[(x[i] * 2).astype(np.int64).max() + i]

    table = np.arange(9).astype(np.float32)
    index = np.array([0, 1, 30])
    graph = programs.graph_of(twice, table, index % 3)
    with pytest.raises(IndexOutOfRangeError, match="index 30 is"):
        programs.run(programs.planned(graph), [table, index])


def test_division_by_zero_is_told() -> None:
    x, y = np.arange(40) + 1, np.arange(40) - 20
    graph = programs.graph_of(lambda x, y: x // y, gj.constant(x), gj.constant(y))
    with pytest.raises(InvalidArgumentError, match=r"zero.*FloorDiv"):
        programs.run(programs.planned(graph), [x, y])


# -- products

PRODUCTS = {
    "ragged": (lambda a, b: a @ b, (37, 45), (45, 33)),
    "batched": (lambda a, b: a @ b, (3, 5, 7), (3, 7, 9)),
    "one for all": (lambda a, b: a @ b, (3, 5, 7), (7, 9)),
    "transposed": (lambda a, b: a.T @ b.T, (20, 17), (19, 20)),
    "followed": (lambda a, b: np.maximum(a @ b + b[0], 0) * 2, (17, 16), (16, 31)),
    "small": (lambda a, b: a @ b, (2, 3), (3, 2)),
    "row": (lambda a, b: a @ b, (1, 40), (40, 33)),
    "column": (lambda a, b: a @ b, (33, 40), (40, 1)),
    "vector": (lambda a, b: a @ b, (33, 40), (40,)),
    "deep": (lambda a, b: a @ b, (3, 530), (530, 4)),
}


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products(name: str, dtype: Any) -> None:
    function, left, right = PRODUCTS[name]
    a, b = floats(*left, dtype=dtype), floats(*right, dtype=dtype, seed=1)
    check(function, a, b, length=left[-1], random=name in ("followed", "batched"))


@pytest.mark.parametrize("dtype", [np.float16, np.complex64, np.int32])
def test_products_of_other_dtypes(dtype: Any) -> None:
    a, b = (floats(9, 17) * 4).astype(dtype), (floats(17, 11, seed=1) * 4).astype(dtype)
    check(lambda a, b: a @ b, a, b, length=17)


@pytest.mark.parametrize("side", [16, 32, 64])
def test_tiles_of_all_sizes(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from graphjit.codegen.ptx import tiling

    sizes = [pair for pair in tiling._TILES if pair[0] == side]
    monkeypatch.setattr(tiling, "_TILES", tuple(sizes))
    check(lambda a, b: a @ b + 1, floats(70, 40), floats(40, 66, seed=1), length=40)


@pytest.mark.parametrize(
    ("function", "wide"),
    [
        (lambda a, b: a @ b, 2), (lambda a, b: a.T @ b, 2), (lambda a, b: a @ b.T, 2),
        (lambda a, b: a[:, 1:] @ b[1:], 1), (lambda a, b: a[:34, :] @ b[:, :34], 1),
        (lambda a, b: a[:, :34] @ b[:34, :34], 0),
    ],
)  # fmt: skip
def test_operands_are_loaded_by_vectors(function: Callable[..., Any], wide: int) -> None:
    a, b = floats(36, 36), floats(36, 36, seed=1)
    assembly = programs.planned(programs.graph_of(function, a, b))
    assert accesses(assembly).count("v4.b32") == wide
    check(function, a, b, length=36, random=True)


def test_underflow_keeps_its_sign() -> None:
    # -0.0 from underflow: zeros in place of what is missing would make +0.0 of it
    a, b = np.full((4, 17), 1e-30, np.float32), np.full((17, 4), -1e-30, np.float32)
    graph = programs.graph_of(lambda a, b: a @ b, a, b)
    found = programs.run(programs.planned(graph), [a, b])
    assert found[0].tobytes() == programs.on_cpu(graph, [a, b])[0].tobytes()
    assert np.signbit(found[0]).all()


# -- many steps


def test_attention() -> None:
    def attention(q: Any, k: Any, v: Any) -> Any:
        return softmax(q @ np.swapaxes(k, -1, -2) / 4) @ v

    arrays = [floats(2, 33, 16, seed=seed) for seed in range(3)]
    check(attention, *arrays, length=33)


def test_equal_kernels_are_written_once() -> None:
    def layers(x: Any, w: Any) -> Any:
        for _ in range(3):
            x = np.maximum(x @ w, 0)
        return x

    x, w = floats(3, 16), floats(16, 16, seed=1)
    assembly = programs.planned(programs.graph_of(layers, x, w))
    assert len(assembly.calls) == 3 and len({c.entry for c in assembly.calls}) == 2
    check(layers, x, w, length=64)


# -- what is refused


def test_library_calls_are_refused_by_op_and_line() -> None:
    with pytest.raises(UnsupportedError, match=r"Sort(?s:.)*test_programs.py:\d+"):
        gj.function(lambda x: np.sort(x)).ptx(floats(5))


# -- what ptxas says

CASES: dict[str, tuple[Callable[..., Any], tuple[Array, ...]]] = {
    "chain": (chain, (floats(5003), floats(5003))),
    "huge": (lambda x: (np.sin(x), np.cos(x), np.tan(x)), (floats(65, dtype=np.float64),)),
    "power": (lambda x, y: x**y, (floats(65), floats(65))),
    "remainder": (lambda x, y: (x % y, x // y), (floats(64, dtype=np.float64),) * 2),
    "softmax": (softmax, (floats(5, 257),)),
    "norm": (layer_norm, (floats(5, 257),)),
    "arg": (lambda x: (x.argmax(-1), x.argmin(0)), (floats(9, 100),)),
    "scan": (lambda x: (np.cumsum(x, 0), np.cumsum(x, 1)), (floats(9, 100),)),
    "gather": (lambda x, i: x[i] * 2, (floats(9, 10), np.arange(5))),
    "product": (lambda a, b: np.tanh(a @ b), (floats(2048, 64), floats(64, 2048))),
    "double product": (
        lambda a, b: a @ b,
        (floats(2048, 600, dtype=np.float64), floats(600, 2048, dtype=np.float64)),
    ),
    "half": (lambda x: softmax(x), (floats(5, 257, dtype=np.float16),)),
    "complex": (lambda x: np.exp(x) / x, (floats(99).astype(np.complex64),)),
}


@pytest.mark.parametrize("arch", TARGETS)
def test_no_stack_and_no_spills(arch: str) -> None:
    for name, (function, args) in CASES.items():
        assembly = programs.planned(programs.graph_of(function, *args), arch)
        for used in programs.report(assembly, arch):
            assert (used.stack_bytes, used.spill_bytes) == (0, 0), name
            assert 8 <= used.registers <= 192, name
