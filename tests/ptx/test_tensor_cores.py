"""Products by tensor cores, in the emulator: near the exact ones, whatever the shape."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import cloudpickle
import ml_dtypes
import numpy as np
import pytest
from click.testing import CliRunner
from ptx import programs

import graphjit as gj
from graphjit.cli import main
from graphjit.codegen.ptx.target import Assembly
from graphjit.codegen.ptx.tensor_cores import MMA_VARIANTS
from graphjit.core.errors import InvalidArgumentError

Array = np.ndarray[Any, Any]
# Bits of a significand, the leading one with them, and the steps that one instruction adds.
BITS = {"tf32": 11, "float16": 11, "bfloat16": 8}
DEPTHS = {"tf32": 8, "float16": 16, "bfloat16": 16}
TARGETS = ("sm_80", "sm_90", "sm_100", "sm_120")


def sizes_near_one(*shape: int, seed: int = 0) -> Array:
    """Numbers that float16 has without loss of range."""
    random = np.random.default_rng(seed)
    signs = random.choice([-1, 1], shape)
    return (signs * random.uniform(0.5, 2, shape)).astype(np.float32)


def planned(function: Any, args: Any, variant: str, arch: str = "sm_80") -> Assembly:
    found = programs.planned(programs.graph_of(function, *args), arch, variant)
    assert "mma.sync" in found.text
    return found


def bound(a: Array, b: Array, variant: str) -> Array:
    """Both operands are rounded, and the sum once for each instruction, up or toward zero."""
    added = -(-a.shape[-1] // DEPTHS[variant])
    relative = (1 + 2.0 ** -BITS[variant]) ** 2 * (1 + 2.0**-23) ** added - 1
    size: Array = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
    return relative * size


SHAPES = [
    ((1, 3), (3, 2)), ((16, 8), (8, 8)), ((15, 7), (7, 9)), ((17, 16), (16, 31)),
    ((33, 45), (45, 37)), ((40, 60), (60, 35)), ((3, 5, 7), (3, 7, 9)), ((5, 17), (2, 17, 3)),
    ((3, 530), (530, 20)),
]  # fmt: skip


@pytest.mark.parametrize("variant", MMA_VARIANTS)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_products(shapes: Any, variant: str) -> None:
    a, b = sizes_near_one(*shapes[0]), sizes_near_one(*shapes[1], seed=1)
    assembly = planned(lambda a, b: a @ b, (a, b), variant)
    for schedule in ("lockstep", 1) if a.ndim == 2 else ("lockstep",):
        (found,) = programs.run(assembly, [a, b], schedule=schedule)
        exact = a.astype(np.float64) @ b.astype(np.float64)
        assert found.shape == exact.shape and found.dtype == np.float32
        assert np.all(np.abs(found - exact) <= bound(a, b, variant))
    # and it isn't float32's product: that is nearer
    if a.shape[-1] > 16:
        assert np.any(np.abs(found - exact) > 2.0**-23 * a.shape[-1] * np.abs(exact).max())


@pytest.mark.parametrize("side", [16, 32, 64])
@pytest.mark.parametrize("variant", MMA_VARIANTS)
def test_every_tile(side: int, variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small whole numbers, exactly, with what follows; the last tiles are cut off."""
    from graphjit.codegen.ptx import tiling

    monkeypatch.setattr(tiling, "_BLOCKS_WANTED", 0)
    tiles = [t for t in tiling._TILES if t[0] == side]
    monkeypatch.setattr(tiling, "_TILES", tuple(tiles))
    random = np.random.default_rng(side)
    a = random.integers(-8, 9, (side + 9, 40)).astype(np.float32)
    b = random.integers(-8, 9, (40, 2 * side + 5)).astype(np.float32)

    def followed(a: Any, b: Any) -> Any:
        return np.maximum(a @ b + b[0], 0) * 2

    (found,) = programs.run(planned(followed, (a, b), variant), [a, b], schedule=3)
    np.testing.assert_array_equal(found, followed(a, b))


@pytest.mark.parametrize("variant", MMA_VARIANTS)
def test_views_and_infinity(variant: str) -> None:
    a = np.random.default_rng(0).integers(-8, 9, (18, 21)).astype(np.float32)
    b = np.random.default_rng(1).integers(-8, 9, (19, 18)).astype(np.float32)
    a[17, 20], b[3, 0] = np.inf, np.nan
    for function in (lambda a, b: a.T @ b.T, lambda a, b: a[:, ::-2].T @ b.T[:, 1:]):
        (found,) = programs.run(planned(function, (a, b), variant), [a, b])
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(found, function(a, b))


@pytest.mark.parametrize(
    ("dtype", "variant"), [(np.float16, "float16"), (ml_dtypes.bfloat16, "bfloat16")]
)
def test_halves_lose_nothing(dtype: Any, variant: str) -> None:
    """Arrays of the type that operands are rounded to: sums of exact products."""
    a, b = (sizes_near_one(20, 33).astype(dtype), sizes_near_one(33, 18, seed=1).astype(dtype))
    tensors = gj.constant(a), gj.constant(b)
    (found,) = programs.run(planned(lambda a, b: a @ b, tensors, variant), [a, b])
    exact = a.astype(np.float64) @ b.astype(np.float64)
    size = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
    error = 3 * 2.0**-23 * size + 2.0 ** -BITS[variant] * np.abs(exact)
    assert found.dtype == dtype
    assert np.all(np.abs(found.astype(np.float64) - exact) <= error)


@pytest.mark.parametrize("variant", MMA_VARIANTS)
def test_open_extents(variant: str) -> None:
    spec = gj.TensorSpec([None, None], np.float32)
    exported = gj.ptx.export(lambda a, b: a @ b, [spec, spec], "sm_80", variant)
    assembly = exported.assembly
    assert len(assembly.program.symbols) == 3 and "mma.sync" in assembly.text
    shapes = [assembly.program.buffers[n].type.shape for n in assembly.program.inputs]
    for m, k, n in ((1, 1, 1), (17, 33, 40), (20, 600, 3)):
        a, b = sizes_near_one(m, k), sizes_near_one(k, n, seed=1)
        names = [getattr(d, "text", "") for d in (*shapes[0], shapes[1][1])]
        sizes = dict(zip(names, (m, k, n), strict=True))
        (found,) = programs.run(assembly, [a, b], sizes=sizes)
        assert np.all(np.abs(found - a.astype(float) @ b) <= bound(a, b, variant))


@pytest.mark.parametrize("variant", MMA_VARIANTS)
@pytest.mark.parametrize("arch", TARGETS)
def test_no_stack_and_no_spills(arch: str, variant: str) -> None:
    args = sizes_near_one(2048, 64), sizes_near_one(64, 2048)
    for used in programs.report(
        planned(lambda a, b: np.tanh(a @ b), args, variant, arch), arch
    ):
        assert (used.stack_bytes, used.spill_bytes) == (0, 0)
        assert used.registers <= 128


def test_other_products_are_what_they_were() -> None:
    a = np.ones((20, 20))
    function = gj.function(lambda a: a @ a)
    assert function.ptx(a, tensor_cores="tf32") == function.ptx(a)
    a = a.astype(np.float32)
    assert function.ptx(a, tensor_cores="tf32") != function.ptx(a)


def test_bad_names_and_old_architectures() -> None:
    function = gj.function(lambda a: a @ a)
    a = np.ones((20, 20), np.float32)
    with pytest.raises(InvalidArgumentError, match=r"tf32, float16, bfloat16, not 'fp8'"):
        function.ptx(a, tensor_cores="fp8")
    with pytest.raises(InvalidArgumentError, match=r"sm_75(?s:.)*test_tensor(?s:.)*sm_80 and"):
        function.ptx(a, arch="sm_75", tensor_cores="float16")
    with pytest.raises(InvalidArgumentError, match=r"one of tf32"):
        gj.function(lambda a: a @ a, tensor_cores="f16")


def test_an_option_of_the_function(tmp_path: Path) -> None:
    a = np.ones((20, 20), np.float32)
    plain, made = (gj.function(lambda a: a @ a, tensor_cores=t) for t in (None, "tf32"))
    assert "mma.sync" not in plain.ptx(a) and "tf32" in made.ptx(a)
    assert made.ptx(a) == plain.ptx(a, tensor_cores="tf32")
    assert "bf16" in made.ptx(a, tensor_cores="bfloat16")
    np.testing.assert_array_equal(made(a), plain(a))  # which the CPU takes no notice of
    again = pickle.loads(cloudpickle.dumps(made))
    assert again.tensor_cores == "tf32"


def test_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("def model(a, b):\n    return a @ b\n")
    target = f"{tmp_path / 'model.py'}:model"
    args = [target, "--arg", "f32[20,30]", "--arg", "f32[30,40]", "--tensor-cores", "float16"]
    written = CliRunner().invoke(main.main, ["ptx", *args, "-o", str(tmp_path / "out")])
    assert written.exit_code == 0, written.output
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["tensor_cores"] == "float16"
    dumped = CliRunner().invoke(main.main, ["dump", *args, "--stage", "ptx"])
    assert "f32.f16.f16.f32" in dumped.output
    refused = CliRunner().invoke(
        main.main, ["dump", *args, "--stage", "ptx", "--arch", "sm_75"]
    )
    assert refused.exit_code == 2 and "sm_80 and later" in refused.output
