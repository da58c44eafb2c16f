"""What `graphjit ptx` writes is enough to launch it; one PTX serves all sizes left open."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compiled import same_bits
from ptx import manifest, programs, ptxas

import graphjit as gj
from graphjit.core.errors import UnsupportedError
from graphjit.export.ptx import export

Array = np.ndarray[Any, Any]
WEIGHTS = np.random.default_rng(5).normal(size=(40, 24)).astype(np.float32)


def floats(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def network(x: Any) -> Any:
    hidden = np.maximum(x @ WEIGHTS, 0)
    return softmax(hidden @ WEIGHTS.T), hidden.sum(0)


def lookup(table: Any, index: Any) -> Any:
    return table[index].sum(1)


def long_sum(x: Any) -> Any:
    return x.sum() + 1


STATIC: dict[str, tuple[Callable[..., Any], tuple[Array, ...]]] = {
    "network": (network, (floats(9, 40),)),
    "lookup": (lookup, (floats(9, 5), np.arange(12).reshape(4, 3) % 9)),
    "long sum": (long_sum, (floats(40000),)),
    "constant": (lambda x: x * np.array([1, 2, 3], np.float32), (floats(5, 3),)),
    "several": (lambda x: (x + 1, x > 0, x.astype(gj.bfloat16.dtype)), (floats(33),)),
}


def with_captures(function: Callable[..., Any], args: tuple[Array, ...]) -> list[Array]:
    found = gj.function(function)(*args)
    return [np.asarray(x) for x in (found if isinstance(found, tuple) else (found,))]


@pytest.mark.parametrize("name", STATIC)
def test_a_folder_is_enough(name: str, tmp_path: Path) -> None:
    function, args = STATIC[name]
    export(function, args, "sm_80").write(tmp_path)
    found = manifest.run(tmp_path, args)
    for actual, cpu in zip(found, with_captures(function, args), strict=True):
        assert same_bits(actual, cpu)


def test_a_failure_is_told_with_op_and_line(tmp_path: Path) -> None:
    table, index = floats(9, 5), np.arange(12).reshape(4, 3) % 9
    export(lookup, (table, index), "sm_80").write(tmp_path)
    index[2, 1], index[3, 0] = 20, 30
    with pytest.raises(
        manifest.Failed, match=r"index 20 is .* 9 .*\[Op:GatherV2\] at test_man"
    ):
        manifest.run(tmp_path, (table, index), schedule=1)


def test_variables_are_inputs_and_updates(tmp_path: Path) -> None:
    count = gj.Variable(np.arange(5, dtype=np.float32))

    def step(x: Any) -> Any:
        count.assign_add(x)
        return count * 2

    x = gj.constant(np.ones(5, np.float32))
    export(step, (x,), "sm_80").write(tmp_path)
    output, update = manifest.run(tmp_path, (np.ones(5, np.float32),))
    assert update.tolist() == [1, 2, 3, 4, 5] and output.tolist() == [2, 4, 6, 8, 10]
    assert np.asarray(count).tolist() == [0, 1, 2, 3, 4]


# -- sizes left open

F32 = gj.float32
OPEN: dict[str, tuple[Callable[..., Any], list[gj.TensorSpec], list[tuple[Any, ...]]]] = {
    "chain": (
        lambda x, y: np.exp(-x) * y + 1,
        [gj.TensorSpec([None], F32), gj.TensorSpec([None], F32)],
        [((n,), (n,)) for n in (2, 3, 31, 32, 33, 255, 256, 257, 5003)],
    ),
    "transposed": (
        lambda x: x.T * 2,
        [gj.TensorSpec([None, None], F32)],
        [((2, 3),), ((33, 31),), ((64, 7),)],
    ),
    "softmax": (
        softmax,
        [gj.TensorSpec([None, None], F32)],
        [((2, 3),), ((3, 31),), ((5, 32),), ((4, 33),), ((2, 257),)],
    ),
    "columns": (
        lambda x: (x.sum(0), x.argmax(0), np.cumsum(x, 0)),
        [gj.TensorSpec([None, None], F32)],
        [((2, 3),), ((40, 33),), ((5, 64),)],
    ),
    "whole": (long_sum, [gj.TensorSpec([None], F32)], [((2,),), ((257,),), ((17000,),)]),
    "product": (
        lambda a, b: np.maximum(a @ b, 0),
        [gj.TensorSpec([None, None], F32), gj.TensorSpec([None, None], F32)],
        [((2, 3), (3, 5)), ((33, 17), (17, 20)), ((7, 600), (600, 3))],
    ),
    "network": (network, [gj.TensorSpec([None, 40], F32)], [((2, 40),), ((33, 40),)]),
    "lookup": (
        lambda t, i: t[i] * 2,
        [gj.TensorSpec([None, 5], F32), gj.TensorSpec([None], gj.int64)],
        [((9, 5), (4,)), ((100, 5), (33,))],
    ),
    "narrow": (
        lambda x: (x + x).astype(np.float32),
        [gj.TensorSpec([None, 8], gj.float16)],
        [((3, 8),), ((33, 8),)],
    ),
}


def drawn(spec: gj.TensorSpec, shape: tuple[int, ...], seed: int) -> Array:
    random = np.random.default_rng(seed)
    if spec.dtype.is_integer:
        return random.integers(0, 9, shape)
    return random.normal(size=shape).astype(spec.dtype.dtype)


@pytest.mark.parametrize("name", OPEN)
def test_one_ptx_for_all_sizes(name: str, tmp_path: Path) -> None:
    function, specs, shapes = OPEN[name]
    exported = export(function, specs, "sm_75")
    assert exported.assembly.program.symbols
    exported.write(tmp_path)
    for used in programs.report(exported.assembly, "sm_75"):
        assert (used.stack_bytes, used.spill_bytes) == (0, 0)
    for given in shapes:
        args = tuple(drawn(*pair, k) for k, pair in enumerate(zip(specs, given, strict=True)))
        found = manifest.run(tmp_path, args)
        for actual, cpu in zip(found, with_captures(function, args), strict=True):
            assert same_bits(actual, cpu), given


def test_a_product_of_nothing_whose_guard_is_ignored() -> None:
    function, specs, _ = OPEN["product"]
    assembly = export(function, specs, "sm_75").assembly
    args = np.ones((4, 0), np.float32), np.ones((0, 5), np.float32)
    sizes = dict(zip(assembly.program.symbols, (4, 0, 5), strict=True))
    (found,) = programs.run(assembly, args, sizes=sizes)
    np.testing.assert_array_equal(found, np.zeros((4, 5), np.float32))


def test_guards_are_in_the_manifest(tmp_path: Path) -> None:
    export(softmax, [gj.TensorSpec([None, None], F32)], "sm_80").write(tmp_path)
    with pytest.raises(ValueError, match="not for these sizes"):
        manifest.run(tmp_path, (floats(1, 17000),))


def test_what_depends_on_the_sizes_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="all sizes"):
        export(lambda x: x.reshape(int(x.shape[0]) // 2, 2), [gj.TensorSpec([None], F32)])


# -- the interface


def test_ptx_of_a_function() -> None:
    @gj.function
    def double(x: Any) -> Any:
        return x * 2

    for given in (floats(5), gj.TensorSpec([5], F32), gj.constant(floats(5))):
        text = double.ptx(given, arch="sm_86")
        assert ".target sm_86\n" in text and ".visible .entry" in text
    assert ".target sm_90\n" in double.ptx(floats(5))


def graphjit(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "graphjit.cli", *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(
        "import numpy as np\n"
        "def step(x):\n    return np.maximum(x @ np.ones((8, 4), np.float32), 0)\n"
        "def order(x):\n    return np.sort(x)\n"
    )
    done = graphjit(
        "dump", "model.py:step", "--arg", "f32[3,8]", "--stage", "ptx", "--arch", "sm_89",
        folder=tmp_path,
    )  # fmt: skip
    assert ".target sm_89" in done.stdout, done.stderr
    done = graphjit(
        "ptx", "model.py:step", "--arg", "f32[None,8]", "--arch", "sm_80", "-o", "out",
        folder=tmp_path,
    )  # fmt: skip
    assert not done.returncode and "step.ptx: 1 launch for sm_80" in done.stdout, done.stderr
    listed = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert listed["symbols"] == [{"name": "n0", "buffer": 0, "axis": 0, "factor": 1}]
    x = floats(5, 8)
    found = manifest.run(tmp_path / "out", (x,))
    np.testing.assert_allclose(
        found[0], np.maximum(x.sum(1, keepdims=True), 0) + np.zeros(4), 1e-5
    )
    ptxas.assemble((tmp_path / "out" / "step.ptx").read_text(), "sm_80")
    done = graphjit("ptx", "model.py:order", "--arg", "f32[5]", "-o", "out", folder=tmp_path)
    assert done.returncode == 2 and "model.py:5 in order" in done.stderr
    done = graphjit(
        "ptx", "model.py:step", "--arg", "f32[3,8]", "--arch", "sm_1", "-o", "out",
        folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2 and "sm_75" in done.stderr
