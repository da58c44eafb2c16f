"""Measures this machine: rates of memory and of multiply-adds, by one thread and by all."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from graphjit.core.config import config
from graphjit.core.machine import Machine, machine
from graphjit.jit.function import function

# More than any last-level cache of today; a block of a product that stays in the first two.
STREAM_BYTES = 256 << 20
SIDE = 512


def _negated(x: Any) -> Any:
    return -x


def _product(x: Any) -> Any:
    return x @ x


def measure() -> Machine:
    """The machine's description with its rates measured, which takes a second or two.

    Bytes are those that a negation reads and writes past the caches, results in memory that
    was written before; flops those of a matrix product, which keeps them in the caches.
    """
    here = machine()
    before = config.threads
    rates: dict[str, float] = {}
    stream = np.ones(STREAM_BYTES // 8, np.float32)
    small = np.ones(here.l2_bytes // 16, np.float32)
    matrix = np.ones((SIDE, SIDE), np.float32)
    negate, multiply = function(_negated), function(_product)
    try:
        for threads, prefix in ((1, ""), (here.cores, "all_")):
            config.threads = threads
            moved = 2 * stream.nbytes / _least_ns(lambda: negate(stream), 8)
            flops = 2 * SIDE**3 / _least_ns(lambda: multiply(matrix), 40)
            rates[prefix + "bytes_per_ns"] = round(moved, 2)
            rates[prefix + "flops_per_ns"] = round(flops, 1)
        config.threads = 1
        rates["cached_bytes_per_ns"] = round(
            2 * small.nbytes / _least_ns(lambda: negate(small), 2000), 1
        )
    finally:
        config.threads = before
    return replace(here, **rates, measured=True)  # type: ignore[arg-type]


def _least_ns(call: Callable[[], Any], times: int) -> float:
    call()
    least = float("inf")
    for _ in range(times):
        started = time.perf_counter_ns()
        call()
        least = min(least, time.perf_counter_ns() - started)
    return least
