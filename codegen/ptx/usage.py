"""Reports of NVIDIA's assembler about PTX, and lower bounds of run times from GPUs' data
sheets.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from graphjit.core.errors import UnsupportedError
from graphjit.core.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """The resources of an entry.

    registers: those of a thread
    shared_bytes: shared memory of a block
    stack_bytes: a thread's stack
    spill_bytes: spill stores and loads
    """

    registers: int
    shared_bytes: int
    stack_bytes: int
    spill_bytes: int


@dataclass(frozen=True, slots=True)
class GpuRates:
    """A GPU's rates: bytes to and from its memory, float32 flops (a multiply-add is two)."""

    name: str
    bytes_per_ns: float
    flops_per_ns: float

    def floor_ns(self, moved_bytes: float, flops: float) -> float:
        """A lower bound of the time to move and compute so much."""
        return max(moved_bytes / self.bytes_per_ns, flops / self.flops_per_ns)


# A GPU for each architecture. Source: NVIDIA's data sheets (T4, A100 80 GB SXM,
# GeForce RTX 3090, RTX 4090, H100 SXM, HGX B200, GeForce RTX 5090).
_GPUS = {
    "sm_75": GpuRates("a T4", 320, 8_100),
    "sm_80": GpuRates("an A100 (80 GB, SXM)", 2_039, 19_500),
    "sm_86": GpuRates("a GeForce RTX 3090", 936, 35_600),
    "sm_89": GpuRates("a GeForce RTX 4090", 1_008, 82_600),
    "sm_90": GpuRates("an H100 (SXM)", 3_350, 67_000),
    "sm_100": GpuRates("a B200", 8_000, 75_000),
    "sm_120": GpuRates("a GeForce RTX 5090", 1_792, 104_800),
}


def gpu_of(arch: str) -> GpuRates | None:
    """A GPU of an architecture, if its rates are known."""
    return _GPUS.get(arch.rstrip("af"))


@cache
def find_ptxas() -> Path | None:
    """The assembler: named by GRAPHJIT_PTXAS, on PATH, or in NVIDIA's wheel."""
    given = os.environ.get("GRAPHJIT_PTXAS")
    roots = [Path(name) for name in (given, shutil.which("ptxas")) if name]
    roots += [Path(entry) for entry in sys.path if entry]
    for root in roots:
        for path in (root, root / "nvidia" / "cuda_nvcc" / "bin" / "ptxas"):
            if path.is_file():
                if not os.access(path, os.X_OK):
                    # An unpacked wheel may have lost the executable bit.
                    path.chmod(path.stat().st_mode | stat.S_IXUSR)
                return path
    return None


def assembled(text: str, arch: str) -> str:
    """The assembler's report about a text.

    Raises UnsupportedError where there is no assembler or it refuses the text.
    """
    path = find_ptxas()
    if path is None:
        raise UnsupportedError("no ptxas: not on PATH, not installed, GRAPHJIT_PTXAS not set")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernels.ptx"
        source.write_text(text)
        done = subprocess.run(
            [path, "-v", f"-arch={arch}", source, "-o", source.with_suffix(".cubin")],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise UnsupportedError(f"ptxas: {done.stdout}{done.stderr}".rstrip())
    return done.stdout + done.stderr


_ENTRY = re.compile(
    r"Compiling entry function '(?P<name>[^']+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads.*?Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)
_SHARED = re.compile(r"(\d+) bytes smem")


def usage_of(report: str) -> dict[str, Usage]:
    """The resources of each entry, from a report."""
    found = {}
    for entry in _ENTRY.finditer(report):
        shared = _SHARED.search(entry["rest"])
        found[entry["name"]] = Usage(
            int(entry["registers"]),
            int(shared[1]) if shared else 0,
            int(entry["stack"]),
            int(entry["stores"]) + int(entry["loads"]),
        )
    return found


__all__ = ["GpuRates", "Usage", "assembled", "find_ptxas", "gpu_of", "usage_of"]
