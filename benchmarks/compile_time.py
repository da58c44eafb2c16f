"""Asks how long tracing and compiling take, and whether they stay linear in the graph's size.

    python benchmarks/compile_time.py [--json FILE] [--repeat 5] [--peers numba,jax]
                                      [--lengths 10,100,300,1000,10000] [--peers-up-to 300]

`gelu`, and chains of ops on 1,000 float32: `arithmetic` alternates products and sums with
constants that all differ; `math` has a tanh in every fifth op. Medians [ms] of the stages of
graphjit, with LLVM already loaded and no object cache, beside the first call of numba (njit of
the same chain as source code) and JAX (jit). `processor` is the processor time of graphjit's
first call, which other programs on the machine disturb less; the spread is that of its elapsed
time. Each peer's case is a process of its own with at most 8 GB and five minutes: at 1,000 ops
numba needs half a minute, and JAX 0.10.2 asked for over 14 GB on the arithmetic chain.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
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
from graphjit.ir.compile_log import STAGES

PEER_BYTES, PEER_S = 8 << 30, 300
COLUMNS = (*STAGES, "first call", "processor")
KINDS = ("arithmetic", "math")


def chain(length: int, kind: str, namespace: str, seed: int) -> Callable[..., Any]:
    """A function of `length` ops, written out line by line, or gelu."""
    lines = ["def chain(x):"]
    if kind == "gelu":
        half = 0.5 + seed / 1000
        inner = "0.79788456 * (x + 0.044715 * x**3)"
        lines.append(f"    return {half} * x * (1 + {namespace}.tanh({inner}))")
        length = 0
    for number in range(length):
        constant = 0.9 + 0.2 * ((number * 37 + seed * 101) % 1009) / 1009
        if kind == "math" and number % 5 == 4:
            lines.append(f"    x = {namespace}.tanh(x)")
        else:
            lines.append(f"    x = x {'+*'[number % 2]} {constant:.6f}")
    lines.append("    return x")
    space: dict[str, Any] = {}
    exec("\n".join(lines), {"np": np, "jnp": _jnp() if namespace == "jnp" else None}, space)
    made: Callable[..., Any] = space["chain"]
    return made


def _jnp() -> Any:
    import jax.numpy

    return jax.numpy


def stages(length: int, kind: str, repeat: int) -> dict[str, list[float]]:
    """The time of each stage [ms], for functions whose constants differ from run to run."""
    x = np.linspace(-1, 1, 1000, dtype=np.float32)
    found: dict[str, list[float]] = {name: [] for name in COLUMNS}
    for seed in range(repeat + 1):
        python_function = chain(length, kind, "np", seed)
        function = gj.function(python_function, fallback="error")
        started, busy = time.perf_counter(), time.process_time()
        result = function(x)
        elapsed, busy = time.perf_counter() - started, time.process_time() - busy
        np.testing.assert_allclose(
            result, python_function(x.astype(np.float64)), rtol=1e-6 * (length + 10)
        )
        if seed:
            times = function.specializations[0].times_ns
            for name in STAGES:
                found[name].append(times.get(name, 0) / 1e6)
            found["first call"].append(elapsed * 1e3)
            found["processor"].append(busy * 1e3)
    return found


def first_calls(peer: str, length: int, kind: str, repeat: int) -> list[float]:
    """The first calls of a peer [ms], in this process."""
    x: Any = np.linspace(-1, 1, 1000, dtype=np.float32)
    if peer == "numba":
        import numba

        compiled, namespace = numba.njit, "np"
    else:
        import jax

        x, namespace = jax.device_put(x), "jnp"

        def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
            jitted = jax.jit(function)
            return lambda x: jax.block_until_ready(jitted(x))

    compiled(lambda x: x + 1)(x)
    found = []
    for seed in range(1 if length >= 1000 else repeat):
        function = compiled(chain(length, kind, namespace, seed))
        started = time.perf_counter()
        function(x)
        found.append((time.perf_counter() - started) * 1e3)
    return found


def peers_first_calls(peer: str, length: int, kind: str, repeat: int) -> list[float]:
    """The first calls of a peer [ms], in a process of its own; none where it fails."""
    case = json.dumps([peer, length, kind, repeat])
    command = [sys.executable, __file__, "--peer-case", case]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PEER_S, check=True
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        last = str(error.stderr or error).strip().splitlines()[-1:]
        measure.progress(f"{peer} at {kind} {length:,}: {' '.join(last)}")
        return []
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write all times to this file")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--peers", default="numba,jax")
    parser.add_argument("--lengths", default="10,100,300,1000,10000")
    parser.add_argument("--peers-up-to", type=int, default=300)
    parser.add_argument("--peer-case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer_case:
        resource.setrlimit(resource.RLIMIT_DATA, (PEER_BYTES, PEER_BYTES))
        print(json.dumps(first_calls(*json.loads(args.peer_case))))
        return
    gj.function(lambda x: x + 1)(np.ones(3, np.float32))  # loads LLVM
    peers = [name for name in args.peers.split(",") if name]
    cases = [("gelu", 0)]
    cases += [(kind, length) for kind in KINDS for length in map(int, args.lengths.split(","))]
    found: dict[str, dict[str, list[float]]] = {}
    lines = []
    for kind, length in cases:
        case = f"{kind} {length:,}" if length else kind
        measure.progress(case)
        times = stages(length, kind, args.repeat if length < 10_000 else min(2, args.repeat))
        for peer in peers if length <= args.peers_up_to else []:
            times[peer] = peers_first_calls(peer, length, kind, args.repeat)
        found[case] = times
        cells = [case]
        for name in (*COLUMNS, *peers):
            given = times.get(name)
            cells.append(measure.digits(statistics.median(given)) if given else "–")
        lines.append([*cells, f"±{measure.spread(times['first call']):.0%}"])
    head = ["function", *(f"{n} ms" for n in (*COLUMNS, *peers)), "spread"]
    print(measure.machine(), "\n")
    print(measure.table(head, lines))
    if args.json:
        args.json.write_text(json.dumps({"machine": measure.machine(), "ms": found}, indent=1))


if __name__ == "__main__":
    main()
