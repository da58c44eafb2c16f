"""`graphjit explain --target ptx`: launches, what ptxas says of them, the roofline."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from ptx import ptxas

import graphjit as gj
from graphjit.cli import main
from graphjit.codegen.ptx import usage
from graphjit.codegen.ptx.arch import ARCHITECTURES
from graphjit.codegen.ptx.usage import Usage, assembled, gpu_of, usage_of
from graphjit.core.errors import UnsupportedError

SOURCE = """
import numpy as np

def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)

def layer(x, w):
    return np.maximum(x @ w, 0)

def ordered(x):
    return np.sort(x) + 1
"""
REPORT = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'k1' for 'sm_90'
ptxas info    : Function properties for k1
    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 32 registers, used 1 barriers, 2112 bytes smem
ptxas info    : Compile time = 5.0 ms
ptxas info    : Compiling entry function 'k2' for 'sm_90'
ptxas info    : Function properties for k2
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 10 registers, used 0 barriers
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "model.py"
    path.write_text(SOURCE)
    return path


def explained(path: Path, name: str, *arguments: str) -> str:
    given = [word for text in arguments for word in ("--arg", text)]
    command = ["explain", f"{path}:{name}", *given, "--target", "ptx", "--arch", "sm_80"]
    done = CliRunner().invoke(main.main, command)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_report_is_read() -> None:
    assert usage_of(REPORT) == {"k1": Usage(32, 2112, 16, 20), "k2": Usage(10, 0, 0, 0)}
    assert usage_of("") == {}


def test_explain_tells_what_a_gpu_would_run(source: Path) -> None:
    if ptxas.find_ptxas() is None:
        pytest.skip("no ptxas")
    text = explained(source, "softmax", "f32[1000, 512]")
    assert text.startswith("softmax: 1 launch for sm_80\n")
    head, row = text.splitlines()[1:3]
    cells = dict(zip(head.split(), row.split("  "), strict=False))
    assert cells.keys() >= {"launch", "registers", "shared", "stack+spilled"}
    assert "0 + 0" in row and "4.1 MB" in row and "256" in row
    # 4,096,000 bytes at 2,039 GB/s
    assert "at least 2.01 µs on an A100" in text and "nothing of this was run on a GPU" in text
    product = explained(source, "layer", "f32[256, 128]", "f32[128, 64]")
    shared = usage_of(assembled(gj.ptx.export(_layer, _specs(), "sm_80").text, "sm_80"))
    assert all(used.shared_bytes > 1000 for used in shared.values())
    assert all(str(used.shared_bytes) in product for used in shared.values())


def _layer(x: gj.Tensor, w: gj.Tensor) -> gj.Tensor:
    return gj.maximum(x @ w, 0.0)


def _specs() -> list[gj.TensorSpec]:
    return [gj.TensorSpec([256, 128], gj.float32), gj.TensorSpec([128, 64], gj.float32)]


def test_open_extents_stay_open(source: Path) -> None:
    assert "n0" in explained(source, "softmax", "f32[None, 512]")


def test_without_an_assembler(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "find_ptxas", lambda: None)
    text = explained(source, "softmax", "f32[10, 512]")
    assert "registers and shared memory are unknown: no ptxas" in text
    assert "roofline" in text


def test_what_the_assembler_refuses_is_an_error() -> None:
    if ptxas.find_ptxas() is None:
        pytest.skip("no ptxas")
    with pytest.raises(UnsupportedError, match="ptxas"):
        assembled(".version 7.0\n.target sm_80\nnonsense", "sm_80")


def test_a_library_call_is_refused(source: Path) -> None:
    command = ["explain", f"{source}:ordered", "--arg", "f32[10]", "--target", "ptx"]
    done = CliRunner().invoke(main.main, command)
    assert done.exit_code == 2 and "NumPy or SciPy" in done.output


def test_rates_are_those_of_known_architectures() -> None:
    known = [name for name in ARCHITECTURES if gpu_of(name) is not None]
    assert {"sm_75", "sm_80", "sm_90", "sm_90a", "sm_100f", "sm_120"} <= set(known)
    gpu = gpu_of("sm_90")
    assert gpu is not None
    assert gpu.floor_ns(3_350, 0) == 1.0 and gpu.floor_ns(0, 134_000) == 2.0
    assert gpu_of("sm_87") is None
