"""Asks what graphjit adds to the start of a program: its import and its first call.

    python benchmarks/startup.py [--json FILE] [--repeat 10]

Each number is the median of fresh processes, in rotated order, with its spread. `import` is
the time over `import numpy`, which every program here does first; `decorate` is the first use
of the decorator, which loads graphjit's tracer, and `first call` the call after it, of a gelu
on 1,000 float32; `second function` is decoration and first call of a softmax, when the
compiler is already loaded; `1000 ops` is the same for a chain of sums and products with
constants that all differ (not for peers, of which one takes ten seconds and one more memory
than there is). graphjit runs with an empty cache (cold) and with
the cache that an earlier process left (cached). All programs may write bytecode, as installed
packages have it; a first round that isn't counted does so.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import measure

PROGRAM = """
import time
start = time.perf_counter()
import numpy as np
ready = time.perf_counter()
{imports}
imported = time.perf_counter()
x = np.ones(1000, np.float32)
def first(x):
    return 0.5 * x * (1 + {np}.tanh(0.79788456 * (x + 0.044715 * x**3)))
def second(x):
    e = {np}.exp(x - {np}.max(x))
    return e / {np}.sum(e)
called = time.perf_counter()
made = {decorator}(first)
decorated = time.perf_counter()
{wait}(made(x))
once = time.perf_counter()
{wait}({decorator}(second)(x))
twice = time.perf_counter()
lines = ["    x = x %s %.6f" % ("+*"[k % 2], 0.9 + k * 1e-4) for k in range({ops})]
space = dict()
exec("\\n".join(["def chain(x):", *lines, "    return x"]), space)
written = time.perf_counter()
{wait}({decorator}(space["chain"])(x))
chained = time.perf_counter()
print(ready - start, imported - ready, decorated - called, once - decorated, twice - once)
print(chained - written)
"""

# name -> imports, decorator, the namespace of the second function, what waits for a result
PROGRAMS = {
    "numpy": ("", "", "np", ""),
    "graphjit, cold": ("import graphjit as gj", "gj.function", "np", ""),
    "graphjit, cached": ("import graphjit as gj", "gj.function", "np", ""),
    "numba": ("import numba", "numba.njit", "np", ""),
    "jax": ("import jax; import jax.numpy as jnp", "jax.jit", "jnp", "jax.block_until_ready"),
}


def measured(name: str, cache: Path) -> list[float] | None:
    """What one fresh process prints: import numpy, import, decoration, first call, second
    function, chain [s].
    """
    imports, decorator, namespace, wait = PROGRAMS[name]
    ops = 1000 if name.startswith(("graphjit", "numpy")) else 1
    text = PROGRAM.format(
        imports=imports, decorator=decorator, np=namespace, wait=wait, ops=ops
    )
    if name == "graphjit, cold":
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir()
    environment = {**os.environ, "GRAPHJIT_CACHE_DIR": str(cache), "JAX_PLATFORMS": "cpu"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-c", text], env=environment, capture_output=True, text=True
    )
    if "ModuleNotFoundError" in done.stderr:
        return None
    if done.returncode or "FallbackWarning" in done.stderr:
        sys.exit(f"{name}:\n{done.stderr}")
    return [float(word) for word in done.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write all times to this file")
    parser.add_argument("--repeat", type=int, default=10)
    args = parser.parse_args()
    times: dict[str, list[list[float]]] = {name: [] for name in PROGRAMS}
    folder = Path(tempfile.mkdtemp(prefix="graphjit-startup-"))
    for turn in range(args.repeat + 1):
        measure.progress(f"round {turn}")
        # graphjit's two stay in order: the cold one leaves what the cached one finds
        groups = [["numpy"], ["graphjit, cold", "graphjit, cached"], ["numba"], ["jax"]]
        shift = turn % len(groups)
        for name in [n for group in groups[shift:] + groups[:shift] for n in group]:
            found = measured(name, folder / "cache")
            if found is not None and turn:  # the first round fills the caches
                times[name].append(found)
    shutil.rmtree(folder)
    base = [row[0] for row in times["numpy"]]
    lines = []
    for name, rows in times.items():
        if not rows:
            continue
        cells = [name]
        for column in (1, 2, 3, 4, 5):
            if column == 5 and not name.startswith(("graphjit", "numpy")):
                cells.append("–")
                continue
            part = [row[column] for row in rows]
            middle = statistics.median(part) * 1e3
            if middle < 0.05:
                cells.append("0")
            else:
                cells.append(f"{measure.digits(middle)} ±{measure.spread(part):.0%}")
        lines.append(cells)
    print(measure.machine(), "\n")
    print(f"import numpy: {statistics.median(base) * 1e3:.0f} ms\n")
    print(
        measure.table(
            [
                "",
                "import ms",
                "decorate ms",
                "first call ms",
                "second function ms",
                "1000 ops ms",
            ],
            lines,
        )
    )
    if args.json:
        args.json.write_text(
            json.dumps({"machine": measure.machine(), "seconds": times}, indent=1)
        )


if __name__ == "__main__":
    main()
