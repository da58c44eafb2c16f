"""Asks what the compile of a loop costs whose every step is a kernel like the one before, with
one specialization for each size and with one for all sizes.

    python benchmarks/compile_loops.py [--repeat 3] [--cases heat] [--steps 10,100]

`slices` is the heat equation in one dimension on slices, `heat` in two, `recurrence` takes row
after row from the row before, `columns` does so across the rows, `smooth` takes a softmax of a
softmax. Medians [ms] of the stages of a compile and of the processor time of the call that
compiles, which other programs on the machine disturb less; LLVM is loaded, and there is no
object cache. Each result is compared with NumPy's.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measure
import numpy as np

os.environ["GRAPHJIT_CACHE"] = "0"  # a specialization for all sizes would be found there

import graphjit as gj
from graphjit.ir.compile_log import STAGES

COLUMNS = (*(s for s in STAGES if s not in ("look up", "keep")), "processor")
RNG = np.random.default_rng(0)


def slices(steps: int) -> Callable[..., Any]:
    """u += 0.1 u'' in one dimension."""

    def loop(u: Any) -> Any:
        u = u.copy()
        for _ in range(steps):
            u[1:-1] += 0.1 * (u[2:] - 2 * u[1:-1] + u[:-2])
        return u

    return loop


def heat(steps: int) -> Callable[..., Any]:
    """u += 0.1 Δu in two dimensions."""

    def loop(u: Any) -> Any:
        u = u.copy()
        for _ in range(steps):
            around = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2]
            u[1:-1, 1:-1] += 0.1 * (around - 4 * u[1:-1, 1:-1])
        return u

    return loop


def recurrence(steps: int) -> Callable[..., Any]:
    """y[i] = 0.9 y[i - 1] + x[i], a row at a time."""

    def loop(x: Any) -> Any:
        y = np.zeros_like(x)
        for i in range(1, steps):
            y[i] = 0.9 * y[i - 1] + x[i]
        return y

    return loop


def columns(steps: int) -> Callable[..., Any]:
    """The same, a column at a time."""

    def loop(x: Any) -> Any:
        y = np.zeros_like(x)
        for i in range(1, steps):
            y[:, i] = 0.9 * y[:, i - 1] + x[:, i]
        return y

    return loop


def smooth(steps: int) -> Callable[..., Any]:
    """Softmax of softmax."""

    def loop(x: Any) -> Any:
        for _ in range(steps):
            e = np.exp(x - np.max(x, -1, keepdims=True))
            x = e / np.sum(e, -1, keepdims=True)
        return x

    return loop


def normal(*shape: int) -> Any:
    return RNG.standard_normal(shape)


# a loop and its argument, by the number of steps and the size of an axis
CASES: dict[str, tuple[Callable[[int], Callable[..., Any]], Callable[[int, int], Any]]] = {
    "slices": (slices, lambda steps, n: normal(n)),
    "heat": (heat, lambda steps, n: normal(n, n + 2)),
    "recurrence": (recurrence, lambda steps, n: normal(steps, n)),
    "columns": (columns, lambda steps, n: normal(n, steps)),
    "smooth": (smooth, lambda steps, n: normal(n, n + 2)),
}


def stages(case: str, steps: int, symbolic: bool, repeat: int) -> dict[str, list[float]]:
    """The time of each stage [ms], for axes whose sizes differ from run to run."""
    make, argument = CASES[case]
    gj.config.symbolic_after = 2 if symbolic else None
    found: dict[str, list[float]] = {name: [] for name in COLUMNS}
    for turn in range(repeat):
        python_function = make(steps)
        function = gj.function(python_function, fallback="error")
        if symbolic:  # what the first size costs is no part of it
            function(argument(steps, 40))
        x = argument(steps, 50 + 10 * turn)
        busy = time.process_time()
        result = function(x)
        busy = time.process_time() - busy
        np.testing.assert_allclose(result, python_function(x), rtol=1e-12, atol=1e-12)
        specialization = next(
            f for f in function.specializations if bool(f.size_domain) == symbolic
        )
        for name in COLUMNS[:-1]:
            found[name].append(specialization.times_ns[name] / 1e6)
        found["processor"].append(busy * 1e3)
        del function, specialization  # else the next one would find the code
        gc.collect()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write all times to this file")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--steps", default="10,100,400")
    args = parser.parse_args()
    gj.config.recompile_warning = 0
    gj.function(lambda x: x + 1)(np.ones(3, np.float32))  # loads LLVM
    found: dict[str, dict[str, list[float]]] = {}
    lines = []
    for case in args.cases.split(","):
        for steps in map(int, args.steps.split(",")):
            for symbolic in (False, True):
                name = f"{case} {steps:,}, {'all sizes' if symbolic else 'one size'}"
                measure.progress(name)
                times = found[name] = stages(case, steps, symbolic, args.repeat)
                cells = [measure.digits(statistics.median(times[c])) for c in COLUMNS]
                lines.append([name, *cells])
    print(measure.machine(), "\n")
    print(measure.table(["loop, steps", *(f"{n} ms" for n in COLUMNS)], lines))
    if args.json:
        args.json.write_text(json.dumps({"machine": measure.machine(), "ms": found}, indent=1))


if __name__ == "__main__":
    main()
