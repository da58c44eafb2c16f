"""Whole programs and kernels as they are written in NumPy, decorated beside undecorated.

    python benchmarks/whole_programs.py                 # the programs of tests/programs
    python benchmarks/whole_programs.py --kernels       # the classic kernels
    python benchmarks/whole_programs.py life_steps lu   # these alone

For each: the time of a call undecorated and decorated, the least of interleaved rounds; the
ratio; how long the first decorated call takes; and whether it is compiled. What is eager runs
undecorated but for the test that it is.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib
import io
import math
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

os.environ["GRAPHJIT_CACHE_DIR"] = tempfile.mkdtemp(prefix="graphjit-benchmark-")

import graphjit as gj

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

PROGRAMS = (
    "numerical_methods", "simulation", "graphs", "dynamic_programming", "signals_images",
    "statistical", "games_and_integers",
)  # fmt: skip
KERNELS = ("linear_algebra", "stencils", "learning", "others")


def cases(kernels: bool) -> list[tuple[str, Callable[..., Any], Callable[[], tuple[Any, ...]]]]:
    found = []
    if kernels:
        for name in KERNELS:
            for k in importlib.import_module(f"programs.kernels.{name}").KERNELS:
                found.append((k.name, k.function, lambda k=k: k.data(_draw(), k.sizes[0])))
        return found
    for name in PROGRAMS:
        for p in importlib.import_module(f"programs.{name}").PROGRAMS:
            found.append((p.name, p.function, lambda p=p: p.data(_draw(), p.sizes[0])))
    return found


def _draw() -> np.random.Generator:
    return np.random.default_rng(1)


def seconds(function: Callable[..., Any], arguments: tuple[Any, ...]) -> float:
    given = copy.deepcopy(arguments)
    started = time.perf_counter()
    with contextlib.suppress(ValueError, ArithmeticError, LookupError, RuntimeError):
        function(*given)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--kernels", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    ratios, compiled, count = [], 0, 0
    print(f"{'':28}{'NumPy [ms]':>12}{'graphjit':>12}{'ratio':>8}{'first [s]':>11}")
    for name, function, data in cases(given.kernels):
        if given.names and name not in given.names:
            continue
        decorated, arguments = gj.function(function), data()
        plain = fast = math.inf
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            first = seconds(decorated, arguments)
            for _ in range(4):  # until it is entered natively
                seconds(decorated, arguments)
            for _ in range(given.rounds):
                plain = min(plain, seconds(function, arguments))
                fast = min(fast, seconds(decorated, arguments))
        eager = any(s.reason for s in decorated.specializations)
        ratios.append(plain / fast)
        compiled += not eager
        count += 1
        mark = "  eager" if eager else ""
        print(
            f"{name:28}{plain * 1e3:12.3f}{fast * 1e3:12.3f}{plain / fast:8.2f}{first:11.2f}"
            f"{mark}",
            flush=True,
        )
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    slower = sum(r < 1 / 1.05 for r in ratios)
    print(f"{compiled} of {count} compiled; geometric mean {mean:.2f}; {slower} slower by 5 %")


if __name__ == "__main__":
    main()
