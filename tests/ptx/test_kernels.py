"""Kernels that LLVM compiled, run in the emulator over ragged sizes, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from ptx import kernels, ptxas
from ptx.launch import Memory, Statistics, launch, parse
from ptx.parse import Module

SIZES = (0, 1, 31, 32, 33, 255, 256, 257, 5003)
SCHEDULES: tuple[str | int, ...] = ("lockstep", 1)


@pytest.fixture(scope="module", params=kernels.TARGETS)
def cpu(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def module(name: str, cpu: str) -> Module:
    return parse(kernels.ptx(name, cpu))


def schedules(size: int) -> tuple[str | int, ...]:
    return SCHEDULES if size < 1000 else SCHEDULES[:1]


def run_elementwise(code: Module, size: int, schedule: str | int) -> Statistics:
    memory = Memory()
    x = np.random.default_rng(size).normal(size=size).astype(np.float32)
    given, result = memory.array(x, name="x", readonly=True), memory.empty(size, np.float32)
    args = [given, result, size, 0.5]
    statistics = launch(code, "elementwise", 2, 256, args, memory=memory, schedule=schedule)
    exact = x.astype(np.float64) * 0.5 + 1
    assert result.written()
    np.testing.assert_array_equal(result.numpy(), exact.astype(np.float32))
    return statistics


@pytest.mark.parametrize("size", SIZES)
def test_elementwise(cpu: str, size: int) -> None:
    for schedule in schedules(size):
        run_elementwise(module("elementwise", cpu), size, schedule)


def test_wide_loads_touch_each_sector_once() -> None:
    statistics = run_elementwise(module("elementwise", "sm_80"), 4096, "lockstep")
    assert statistics.global_load_sectors == statistics.global_store_sectors == 4096 * 4 // 32
    assert statistics.global_loads == 4096 // 4 // 32
    assert statistics.opcodes["ld"] > 0 < statistics.instructions


@pytest.mark.parametrize("size", SIZES)
def test_sum(cpu: str, size: int) -> None:
    x = np.random.default_rng(size).normal(size=size).astype(np.float32)
    for schedule in schedules(size):
        memory = Memory()
        given, result = memory.array(x), memory.array(np.zeros(1, np.float32))
        args = [given, result, size]
        launch(module("sum", cpu), "sum", 3, 256, args, memory=memory, schedule=schedule)
        bound = 20 * 2.0**-24 * np.abs(x.astype(np.float64)).sum()
        assert abs(result.numpy()[0] - x.astype(np.float64).sum()) <= bound


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (16, 16, 16), (33, 17, 31), (37, 45, 53), (5, 0, 3)]
)
def test_matmul(cpu: str, shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    random = np.random.default_rng(m)
    a = random.normal(size=(m, k)).astype(np.float32)
    b = random.normal(size=(k, n)).astype(np.float32)
    for schedule in SCHEDULES if m < 35 else SCHEDULES[:1]:
        memory = Memory()
        c = memory.empty((m, n), np.float32)
        args = [memory.array(a), memory.array(b), c, m, n, k]
        grid = (-(-n // 16), -(-m // 16))
        launch(
            module("matmul", cpu),
            "matmul",
            grid,
            (16, 16),
            args,
            memory=memory,
            schedule=schedule,
        )
        assert c.written()
        exact = a.astype(np.float64) @ b
        bound = (k + 1) * 2.0**-24 * (np.abs(a).astype(np.float64) @ np.abs(b))
        assert (np.abs(c.numpy() - exact) <= bound).all()


def run_transpose(code: Module, m: int, n: int, schedule: str | int) -> Statistics:
    memory = Memory()
    a = np.arange(m * n, dtype=np.float32).reshape(m, n)
    b = memory.empty((n, m), np.float32)
    statistics = launch(
        code,
        "transpose",
        (-(-n // 16), -(-m // 16)),
        (16, 16),
        [memory.array(a), b, m, n],
        memory=memory,
        schedule=schedule,
    )
    np.testing.assert_array_equal(b.numpy(), a.T)
    return statistics


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (31, 33), (17, 70)])
def test_transpose(cpu: str, shape: tuple[int, int]) -> None:
    for schedule in SCHEDULES:
        run_transpose(module("transpose", cpu), *shape, schedule)


def test_padding_saves_bank_conflicts() -> None:
    padded = run_transpose(module("transpose", "sm_80"), 16, 16, "lockstep")
    plain = run_transpose(module("transpose_conflicts", "sm_80"), 16, 16, "lockstep")
    # Two columns of 16 words, 16 apart: 8 words in each of 4 banks, by all 8 warps.
    assert plain.bank_conflicts == 8 * 7
    # 17 apart, the first word of one and the last of the other meet: at each load and store.
    assert padded.bank_conflicts == 8 + 8


@pytest.mark.parametrize("size", SIZES)
def test_histogram(cpu: str, size: int) -> None:
    x = np.random.default_rng(size).integers(0, 64, size, np.uint8)
    for schedule in schedules(size):
        memory = Memory()
        bins = memory.array(np.zeros(64, np.int32))
        args = [memory.array(x), bins, size]
        launch(
            module("histogram", cpu),
            "histogram",
            3,
            128,
            args,
            memory=memory,
            schedule=schedule,
        )
        np.testing.assert_array_equal(bins.numpy(), np.bincount(x, minlength=64))


@pytest.mark.parametrize("size", SIZES[1:])
def test_softmax(cpu: str, size: int) -> None:
    x = np.random.default_rng(size).normal(size=(2, size)).astype(np.float32) * 3
    for schedule in schedules(size):
        memory = Memory()
        y = memory.empty(x.shape, np.float32)
        args = [memory.array(x), y, size]
        launch(
            module("softmax", cpu), "softmax", 2, 128, args, memory=memory, schedule=schedule
        )
        exact = np.exp(x - x.max(1, keepdims=True).astype(np.float64))
        exact /= exact.sum(1, keepdims=True)
        # 2 ** -22 by ex2, and its argument's roundings times the argument.
        assert np.allclose(y.numpy(), exact, rtol=6e-6, atol=1e-10)


@pytest.mark.parametrize("name", kernels.SOURCES)
def test_assembles(name: str, cpu: str) -> None:
    report = ptxas.assemble(kernels.ptx(name, cpu), cpu)
    assert "0 bytes spill stores" in report
