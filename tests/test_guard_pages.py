"""Nothing outside a buffer is read or written: a part of the tests, and random programs of
extents, with an unreadable page behind every array.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import guard_pages
import pytest

HERE = Path(__file__).parent
LONG = os.environ.get("GRAPHJIT_LONG_TESTS") == "1"
needs_compiler = pytest.mark.skipif(guard_pages.compiler() is None, reason="no C compiler")


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, guard_pages.NAME: "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("PYTEST_XDIST_WORKER", None)
    return subprocess.run(
        [sys.executable, *command], env={**environment, **variables}, cwd=HERE.parent,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@needs_compiler
@pytest.mark.parametrize(
    "code", ["x.ctypes.data + x.nbytes", "m.ctypes.data + m.nbytes", "x.ctypes.data - 1"]
)
def test_the_mode_finds_what_it_is_for(code: str) -> None:
    program = (
        "import guard_pages, ctypes, numpy as np\n"
        "guard_pages.install()\n"
        "from graphjit.core import memory_pool\n"
        "x, m = np.ones(5, np.int8), memory_pool.empty((1 << 21,), np.dtype(np.int8))\n"
        f"ctypes.memset({code}, 7, 1)\n"
        "del x, m\n"
        "print('nothing noticed')\n"
    )
    done = run("-c", program)
    assert done.returncode < 0 and "nothing noticed" not in done.stdout, done


@needs_compiler
@pytest.mark.parametrize("seed", range(2))
def test_random_programs_of_extents(seed: int, tmp_path: Path) -> None:
    said = tmp_path / "running.txt"
    done = run(
        "-W", "ignore", "tests/support/extent_programs.py", "--seed", str(seed * 1000),
        "--count", "1000" if LONG else "60", "--said", str(said),
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nlast: {said.read_text()}"


CHOSEN = [
    ("tests/ops/test_table.py", "float32 or int8 or complex64"),
    ("tests/tracing/test_symbolic_sizes.py", "temporaries or library or interleaved"),
    ("tests/codegen/cpu/test_products.py", "float32"),
    ("tests/codegen/cpu/test_short_rows.py", "all_sizes or in_order"),
]


@needs_compiler
@pytest.mark.parametrize(("file", "names"), CHOSEN)
def test_a_part_of_the_tests(file: str, names: str) -> None:
    """With GRAPHJIT_LONG_TESTS=1 the whole files."""
    chosen = [] if LONG else ["-k", names]
    done = run("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", file, *chosen)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
