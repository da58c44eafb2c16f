"""How a grid walks a kernel, and the launch: functions of the kernel alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ptx import programs

from graphjit.codegen.ptx.schedule import GridLaunch, Schedule, order_by_store, schedule
from graphjit.core.dims import Sizes
from graphjit.ir.program import Kernel
from graphjit.passes import PTX, program_of
from graphjit.passes.divide import RESULT_BYTES


def kernels(function: Callable[..., Any], *args: Any) -> list[Kernel]:
    program = program_of(programs.graph_of(function, *args), PTX)
    return [step for step in program.steps if isinstance(step, Kernel)]


def only(function: Callable[..., Any], *args: Any) -> Schedule:
    (kernel,) = kernels(function, *args)
    return schedule(kernel)


def ones(*shape: int, dtype: Any = np.float32) -> Any:
    return np.ones(shape, dtype)


@pytest.mark.parametrize(
    ("launch", "blocks"),
    [
        (GridLaunch(256, 0), 1), (GridLaunch(256, 1), 1), (GridLaunch(256, 17), 17),
        (GridLaunch(256, 10**9), 4096), (GridLaunch(64, 10**9, most=10), 10),
    ],
)  # fmt: skip
def test_a_grid_has_a_block_and_no_more_than_most(launch: GridLaunch, blocks: int) -> None:
    assert launch.grid() == blocks


def test_a_grid_of_open_sizes() -> None:
    n = Sizes().symbol("n0", 64)
    launch = GridLaunch(256, (n + 255) // 256)
    assert [launch.grid({"n0": k}) for k in (0, 1, 256, 257, 10**8)] == [1, 1, 1, 2, 4096]


@pytest.mark.parametrize(
    ("size", "threads", "blocks"), [(1, 32, 1), (128, 32, 1), (2000, 256, 2), (4096, 256, 4)]
)
def test_no_more_threads_than_have_work(size: int, threads: int, blocks: int) -> None:
    launch = only(lambda x: x + 1, ones(size)).launch
    assert (launch.threads, launch.grid()) == (threads, blocks)


@pytest.mark.parametrize(
    ("dtype", "vector"),
    [("float32", 4), ("float64", 2), ("float16", 8), ("int8", 8), ("complex128", 2)],
)
def test_vectors_of_sixteen_bytes(dtype: str, vector: int) -> None:
    assert only(lambda x: x + x, ones(1024, dtype=dtype)).walks[0].vector == vector


def test_no_vectors_where_rows_begin_anywhere() -> None:
    assert only(lambda x: x + x[0], ones(5, 33)).walks[0].vector == 1
    assert only(lambda x: x + x[0], ones(5, 64)).walks[0].vector == 4


def test_a_warp_has_a_row_of_32_and_a_thread_a_shorter_one() -> None:
    for columns, team in ((31, 1), (32, 32), (500, 32)):
        (walk,) = only(lambda x: x.sum(-1), ones(7, columns)).walks
        assert walk.team == team and walk.points == 7


def test_columns_have_a_thread_each() -> None:
    (walk,) = only(lambda x: x.sum(0), ones(40, 70)).walks
    assert (walk.team, walk.points) == (1, 70)


def test_scattered_stores_keep_their_order() -> None:
    import graphjit as gj

    index = np.zeros((6, 1), np.int64)
    *_, kernel = kernels(gj.tensor_scatter_nd_add, ones(9, 40), index, ones(6, 40))
    (walk,) = schedule(kernel).walks
    assert [kernel.dims[d] for d in walk.parallel] == [40]  # the six are walked in order
    *_, kernel = kernels(gj.tensor_scatter_nd_add, ones(9), index, ones(6))
    assert schedule(kernel).walks[0].parallel == ()


def test_tiles_shrink_with_the_product() -> None:
    def side(m: int, n: int) -> int:
        tiling = only(lambda a, b: a @ b, ones(m, 32), ones(32, n)).tiling
        assert tiling is not None
        return tiling.side

    assert [side(20, 20), side(600, 600), side(2048, 2048)] == [16, 32, 64]


def test_stores_follow_what_they_need() -> None:
    (kernel,) = kernels(lambda x, y: (x + 1, y * 2, x - y), ones(9), ones(9))
    found = order_by_store(kernel)
    assert found is not None
    known: set[int] = set()
    for statement in found:
        if hasattr(statement, "store"):
            assert kernel.stores[statement.store].arg in known
        else:
            known.add(statement.value)  # type: ignore[union-attr]
    assert len(known) == len(found) - 3 and hasattr(found[-1], "store")
    assert order_by_store(kernels(lambda x: x.sum(-1), ones(3, 40))[0]) is None


def test_kernels_of_many_results_are_cut() -> None:
    def many(x: Any) -> Any:
        return tuple(x * k for k in range(2, 30))

    x = ones(5, dtype=np.complex128)
    found = kernels(many, x)
    assert len(found) == 7 and max(len(k.stores) for k in found) * 16 == RESULT_BYTES
    assert len({k.name for k in found}) == 7
    assert sum(len(k.stores) for k in found) == 28
    graph = programs.graph_of(many, x)
    for actual, k in zip(programs.run(programs.planned(graph), [x]), range(2, 30), strict=True):
        assert (actual == k).all()
    assert len(program_of(graph).steps) == 1  # the CPU's stay whole
