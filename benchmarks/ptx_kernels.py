"""Asks what the main kernels take of a GPU, beside hand-written CUDA for the same.

    python benchmarks/ptx_kernels.py [--arch sm_90]

Registers of a thread and shared memory of a block are those that ptxas reports. Sectors of
32 bytes, instructions of warps and passes over banks of shared memory beyond the least are
counted by the emulator in tests/ptx, which also compares the results with NumPy's. `least` is
the sectors that the operands and the result have. The CUDA in this file is compiled by nvcc,
if that is on PATH, as one would write it for a start: a thread for each element or column, a
warp for each row, tiles of 16 by 16. Nothing here runs on a GPU.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from ptx import programs
from ptx.launch import Memory, Statistics, launch, parse

from graphjit.codegen.ptx.usage import Usage, assembled, usage_of

TOTAL = r"""
__device__ float total(float v) {
  for (int k = 16; k; k >>= 1) v += __shfl_xor_sync(~0u, v, k);
  return v;
}
"""
CUDA = {
    "gelu": r"""
extern "C" __global__ void gelu(const float* __restrict__ x, float* __restrict__ y, int n) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
    float v = x[i];
    y[i] = 0.5f * v * (1 + tanhf(0.79788456f * (v + 0.044715f * v * v * v)));
  }
}
""",
    "softmax": TOTAL
    + r"""
extern "C" __global__ void softmax(const float* __restrict__ x, float* __restrict__ y, int rows,
                                   int n) {
  int row = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
  if (row >= rows) return;
  x += row * n; y += row * n;
  float most = -1.0f / 0.0f, sum = 0;
  for (int k = lane; k < n; k += 32) most = fmaxf(most, x[k]);
  for (int k = 16; k; k >>= 1) most = fmaxf(most, __shfl_xor_sync(~0u, most, k));
  for (int k = lane; k < n; k += 32) sum += expf(x[k] - most);
  sum = total(sum);
  for (int k = lane; k < n; k += 32) y[k] = expf(x[k] - most) / sum;
}
""",
    "layer_norm": TOTAL
    + r"""
extern "C" __global__ void layer_norm(const float* __restrict__ x, float* __restrict__ y,
                                      int rows, int n) {
  int row = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
  if (row >= rows) return;
  x += row * n; y += row * n;
  float sum = 0, squares = 0;
  for (int k = lane; k < n; k += 32) sum += x[k];
  float mean = total(sum) / n;
  for (int k = lane; k < n; k += 32) squares += (x[k] - mean) * (x[k] - mean);
  float scale = sqrtf(total(squares) / n + 1e-5f);
  for (int k = lane; k < n; k += 32) y[k] = (x[k] - mean) / scale;
}
""",
    "column_sum": r"""
extern "C" __global__ void column_sum(const float* __restrict__ x, float* __restrict__ y,
                                      int rows, int n) {
  int column = blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= n) return;
  float sum = 0;
  for (int k = 0; k < rows; k++) sum += x[k * n + column];
  y[column] = sum;
}
""",
    "dense": r"""
extern "C" __global__ void dense(const float* __restrict__ a, const float* __restrict__ b,
                                 const float* __restrict__ c, float* __restrict__ y, int m,
                                 int n, int k) {
  __shared__ float left[16][17], right[16][17];
  int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  int row = blockIdx.y * 16 + ty, column = blockIdx.x * 16 + tx;
  float sum = 0;
  for (int at = 0; at < k; at += 16) {
    left[ty][tx] = row < m && at + tx < k ? a[row * k + at + tx] : 0;
    right[ty][tx] = column < n && at + ty < k ? b[(at + ty) * n + column] : 0;
    __syncthreads();
    for (int i = 0; i < 16; i++) sum += left[ty][i] * right[i][tx];
    __syncthreads();
  }
  if (row < m && column < n) y[row * n + column] = fmaxf(sum + c[column], 0);
}
""",
    "turned": r"""
extern "C" __global__ void turned(const float* __restrict__ x, const float* __restrict__ z,
                                  float* __restrict__ y, int rows, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < rows * n) y[i] = x[i] + z[i % n * rows + i / n];
}
""",
}


def gelu(x: Any) -> Any:
    return 0.5 * x * (1 + np.tanh(0.79788456 * (x + 0.044715 * x * x * x)))


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def layer_norm(x: Any) -> Any:
    c = x - x.mean(axis=-1, keepdims=True)
    return c / np.sqrt((c * c).mean(axis=-1, keepdims=True) + 1e-5)


def column_sum(x: Any) -> Any:
    return x.sum(axis=0)


def dense(a: Any, b: Any, c: Any) -> Any:
    return np.maximum(a @ b + c, 0)


def turned(x: Any, z: Any) -> Any:
    return x + z.T


def floats(*shape: int) -> Any:
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """A function and its arguments; the CUDA kernel's blocks, and its extents."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    blocks: tuple[int, ...]
    extents: tuple[int, ...]


CASES = (
    Case(gelu, (floats(8192),), (32,), (8192,)),
    Case(softmax, (floats(64, 256),), (8,), (64, 256)),
    Case(layer_norm, (floats(64, 256),), (8,), (64, 256)),
    Case(column_sum, (floats(64, 256),), (1,), (64, 256)),
    Case(
        dense, (floats(64, 96), floats(96, 64), floats(64)), (4, 4), (64, 64, 96)
    ),
    Case(turned, (floats(64, 128), floats(128, 64)), (32,), (64, 128)),
)  # fmt: skip


def ours(
    case: Case, arch: str, tensor_cores: str | None = None
) -> tuple[list[Usage], list[Statistics], Any]:
    """What graphjit makes of a case."""
    graph = programs.graph_of(case.function, *case.arguments)
    assembly = programs.planned(graph, arch, tensor_cores)
    done: list[Statistics] = []
    (result,) = programs.run(assembly, case.arguments, statistics=done)
    used = usage_of(assembled(assembly.text, arch))
    return [used[call.entry] for call in assembly.calls], done, result


def theirs(case: Case, text: str, used: dict[str, Usage]) -> tuple[Usage, Statistics, Any]:
    """What nvcc makes of the CUDA for a case."""
    memory, name = Memory(), case.function.__name__
    given = [memory.array(np.array(x), readonly=True) for x in case.arguments]
    out = memory.empty(np.shape(case.function(*case.arguments)), np.float32)
    grid = (*case.blocks, 1, 1)[:3]
    values = [*given, out, *case.extents]
    done = launch(parse(text), name, grid, 256, values, memory=memory)  # type: ignore[arg-type]
    return used[name], done, out.numpy()


def compiled_by_nvcc(name: str, arch: str) -> str | None:
    """The PTX of a kernel of the CUDA above, if there is an nvcc."""
    if shutil.which("nvcc") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernels.cu"
        source.write_text(CUDA[name])
        command = ["nvcc", f"-arch={arch}", "-ptx", "-o", source.with_suffix(".ptx"), source]
        subprocess.run(command, check=True)
        return source.with_suffix(".ptx").read_text()


def line(
    name: str, by: str, used: list[Usage], done: list[Statistics], least: int
) -> list[str]:
    """A line of the table."""
    loads = sum(d.global_load_sectors for d in done)
    stores = sum(d.global_store_sectors for d in done)
    return [
        name, by, " + ".join(str(u.registers) for u in used),
        " + ".join(str(u.shared_bytes) for u in used),
        f"{sum(u.spill_bytes + u.stack_bytes for u in used)}",
        f"{loads:,}", f"{stores:,}", f"{least:,}", f"{sum(d.instructions for d in done):,}",
        f"{sum(d.bank_conflicts for d in done):,}",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", default="sm_90")
    args = parser.parse_args()
    lines = []
    for case in CASES:
        name = case.function.__name__
        wanted = case.function(*case.arguments)
        moved = sum(np.asarray(x).nbytes for x in (*case.arguments, wanted))
        mine, done, found = ours(case, args.arch)
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)
        lines.append(line(name, "graphjit", mine, done, moved // 32))
        if case.function is dense:
            mine, done, found = ours(case, args.arch, "tf32")
            np.testing.assert_allclose(found, wanted, rtol=0, atol=0.05)
            lines.append(line(name, "graphjit, tf32", mine, done, moved // 32))
        text = compiled_by_nvcc(name, args.arch)
        if text is None:
            continue
        used = usage_of(assembled(text, args.arch))
        one, did, found = theirs(case, text, used)
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)
        lines.append(line(name, "nvcc", [one], [did], moved // 32))
    head = [
        "kernel", "by", "registers", "shared bytes", "stack, spilled", "load sectors",
        "store sectors", "least", "warp instructions", "bank conflicts",
    ]  # fmt: skip
    print(f"{args.arch}, {measure.machine()}\n")
    print(measure.table(head, lines))


if __name__ == "__main__":
    main()
