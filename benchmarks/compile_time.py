"""Asks how long tracing and compiling take, and whether they stay linear in the graph's size.

    python benchmarks/compile_time.py [--json FILE] [--repeat 5] [--peers numba,jax]
                                      [--lengths 10,100,300,1000]

Chains of 10, 100, 300 and 1,000 ops on 1,000 float32: `arithmetic` alternates products and
sums with constants that all differ; `math` has a tanh in every fifth op. Medians [ms] of the
stages of graphjit (trace, passes, fuse, compile), with LLVM already loaded and no object cache,
beside the first call of numba (njit of the same chain as source code) and JAX (jit) in the
same process. The spread is that of graphjit's first call. Peers are timed once from 100 ops on
and not at all above 300: for these numba needs half a minute, and JAX 0.10.2 asked for over
14 GB on the arithmetic chain of 1,000 and died.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measure
import numpy as np

os.environ["GRAPHJIT_CACHE_DIR"] = tempfile.mkdtemp(prefix="graphjit-benchmark-")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import graphjit as gj

PEERS_UP_TO = 300
STAGES = ("trace", "passes", "fuse", "compile")


def chain(length: int, tanh: str, seed: int) -> Callable[..., Any]:
    """A function of `length` ops, written out line by line; tanh: its name, or none."""
    lines = ["def chain(x):"]
    for number in range(length):
        constant = 0.9 + 0.2 * ((number * 37 + seed * 101) % 1009) / 1009
        if tanh and number % 5 == 4:
            lines.append(f"    x = {tanh}(x)")
        else:
            lines.append(f"    x = x {'+*'[number % 2]} {constant:.6f}")
    lines.append("    return x")
    space: dict[str, Any] = {}
    exec("\n".join(lines), {"np": np, "jnp": _jnp()}, space)
    made: Callable[..., Any] = space["chain"]
    return made


def _jnp() -> Any:
    try:
        import jax.numpy

        return jax.numpy
    except ImportError:
        return None


def stages(length: int, math: bool, repeat: int) -> dict[str, list[float]]:
    """The time of each stage [ms], for chains whose constants differ from run to run."""
    x = np.linspace(-1, 1, 1000, dtype=np.float32)
    found: dict[str, list[float]] = {name: [] for name in (*STAGES, "first call")}
    for seed in range(repeat + 1):
        python_function = chain(length, "np.tanh" if math else "", seed)
        function = gj.function(python_function, fallback="error")
        started = time.perf_counter()
        result = function(x)
        elapsed = (time.perf_counter() - started) * 1e3
        np.testing.assert_allclose(
            result, python_function(x.astype(np.float64)), rtol=1e-6 * (length + 10)
        )
        if seed:
            times = function.specializations[0].times_ns
            for name in STAGES:
                found[name].append(times[name] / 1e6)
            found["first call"].append(elapsed)
    return found


def first_calls(peer: str, length: int, math: bool, repeat: int) -> list[float]:
    """The first calls of a peer [ms]."""
    x: Any = np.linspace(-1, 1, 1000, dtype=np.float32)
    if peer == "numba":
        import numba

        compiled, tanh = numba.njit, "np.tanh"
        compiled(lambda x: x + 1)(x)
    else:
        import jax

        x, tanh = jax.device_put(x), "jnp.tanh"

        def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
            jitted = jax.jit(function)
            return lambda x: jax.block_until_ready(jitted(x))

        compiled(lambda x: x + 1)(x)
    found = []
    for seed in range(1 if length >= 100 else repeat):
        function = compiled(chain(length, tanh if math else "", seed))
        started = time.perf_counter()
        function(x)
        found.append((time.perf_counter() - started) * 1e3)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write all times to this file")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--peers", default="numba,jax")
    parser.add_argument("--lengths", default="10,100,300,1000")
    args = parser.parse_args()
    gj.function(lambda x: x + 1)(np.ones(3, np.float32))  # loads LLVM
    peers = [name for name in args.peers.split(",") if name]
    found: dict[str, dict[str, list[float]]] = {}
    lines = []
    for math in (False, True):
        for length in map(int, args.lengths.split(",")):
            case = f"{'math' if math else 'arithmetic'} {length:,}"
            measure.progress(case)
            times = stages(length, math, args.repeat)
            for peer in peers if length <= PEERS_UP_TO else []:
                try:
                    times[peer] = first_calls(peer, length, math, args.repeat)
                except ImportError:
                    measure.progress(f"{peer} is not installed")
            found[case] = times
            cells = [case]
            for name in (*STAGES, "first call", *peers):
                if name in times:
                    cells.append(measure.digits(statistics.median(times[name])))
                else:
                    cells.append("–")
            lines.append([*cells, f"±{measure.spread(times['first call']):.0%}"])
    head = ["chain", *(f"{n} ms" for n in (*STAGES, "first call", *peers)), "spread"]
    print(measure.machine(), "\n")
    print(measure.table(head, lines))
    if args.json:
        args.json.write_text(json.dumps({"machine": measure.machine(), "ms": found}, indent=1))


if __name__ == "__main__":
    main()
