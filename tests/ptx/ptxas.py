"""NVIDIA's assembler, if this machine has it: on PATH, or in an installed or unpacked wheel."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest


@cache
def find() -> Path | None:
    """The assembler; GRAPHJIT_PTXAS may name it, or a folder with an unpacked wheel."""
    given = os.environ.get("GRAPHJIT_PTXAS")
    roots = [Path(given)] if given else []
    roots += [Path(entry) for entry in sys.path if entry]
    for root in roots:
        for path in (root, root / "nvidia" / "cuda_nvcc" / "bin" / "ptxas"):
            if path.is_file():
                if not os.access(path, os.X_OK):
                    # An unpacked wheel may have lost the right to be run.
                    path.chmod(path.stat().st_mode | stat.S_IXUSR)
                return path
    found = shutil.which("ptxas")
    return Path(found) if found else None


def assemble(text: str, cpu: str, folder: Path) -> str:
    """Assemble a text; what ptxas reports. Skips the test where there is no ptxas."""
    path = find()
    if path is None:
        pytest.skip("no ptxas: not on PATH, not installed, GRAPHJIT_PTXAS not set")
    source = folder / "kernel.ptx"
    source.write_text(text)
    done = subprocess.run(
        [path, "-v", f"-arch={cpu}", source, "-o", folder / "kernel.cubin"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"ptxas: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr
