"""NVIDIA's assembler: on PATH, else from the wheel that the extra `dev` brings, or unpacked."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

_TOO_NEW = re.compile(r"is not defined for option|Unsupported \.version")


@cache
def find() -> Path | None:
    """The assembler; GRAPHJIT_PTXAS may name it, or a folder with an unpacked wheel."""
    given = os.environ.get("GRAPHJIT_PTXAS")
    on_path = shutil.which("ptxas")
    roots = [Path(name) for name in (given, on_path) if name]
    roots += [Path(entry) for entry in sys.path if entry]
    for root in roots:
        for path in (root, root / "nvidia" / "cuda_nvcc" / "bin" / "ptxas"):
            if path.is_file():
                if not os.access(path, os.X_OK):
                    # An unpacked wheel may have lost the right to be run.
                    path.chmod(path.stat().st_mode | stat.S_IXUSR)
                return path
    return None


def assemble(text: str, cpu: str, folder: Path) -> str:
    """Assemble a text; what ptxas reports. Skips the test where there is no ptxas, and where
    it is too old for an architecture.
    """
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
    if done.returncode and _TOO_NEW.search(done.stderr):
        pytest.skip(f"ptxas is too old: {done.stderr.strip()}")
    if done.returncode:
        raise AssertionError(f"ptxas: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr
