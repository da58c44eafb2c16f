"""What the benchmarks share: interleaved timing, tables, the machine and other work on it.

`interleaved` takes competing calls and gives their times per call, round by round; each round
runs all of them in a rotated order, so that a slow second of the machine meets them all.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import math
import os
import platform
import statistics
import sys
import time
import timeit
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from pathlib import Path

Call = Callable[..., object]

PACKAGES = (
    *("graphjit", "numpy", "scipy", "llvmlite", "numexpr", "numba", "jax", "jaxlib"),
    *("torch", "tensorflow-cpu", "tensorflow"),
)


class Statement:
    """A call as a loop of the user's would make it: `kept = function(x, …)`, with no function
    of Python's around it, which would cost as much as a short call does. clock: in seconds.
    """

    def __init__(
        self,
        function: Call,
        *arguments: object,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        names = {f"x{k}": value for k, value in enumerate(arguments)}
        self._timer = timeit.Timer(
            f"kept = call({', '.join(names)})",
            timer=clock,
            globals={"call": function, **names},
        )
        self._once = lambda: function(*arguments)

    def __call__(self) -> object:
        """What the call gives."""
        return self._once()

    def elapsed_ns(self, count: int) -> float:
        """The time of one call [ns], from `count` in a row."""
        return self._timer.timeit(count) * 1e9 / count


def elapsed_ns(call: Call, count: int) -> float:
    """The time of one call [ns], from `count` calls in a row; each result outlives the next."""
    if isinstance(call, Statement):
        return call.elapsed_ns(count)
    kept = None
    started = time.perf_counter_ns()
    for _ in repeat(None, count):
        kept = call()
    elapsed = time.perf_counter_ns() - started
    del kept
    return elapsed / count


def calls_per_sample(call: Call, sample_s: float) -> int:
    """How many calls fill a sample of about `sample_s` seconds.

    Up to 50 calls come first: libraries compile ways in that pay off after some calls.
    """
    started = time.perf_counter_ns()
    for _ in range(50):
        call()
        if time.perf_counter_ns() - started > 0.5e9:
            break
    count = 1
    while True:
        once_ns = elapsed_ns(call, count)
        if once_ns * count > 0.2e9 * sample_s or count >= 1_000_000:
            return max(1, min(1_000_000, int(sample_s * 1e9 / max(once_ns, 1.0))))
        count *= 4


def interleaved(
    calls: Mapping[str, Call], rounds: int, sample_s: float = 0.01, rest_s: float = 0.0
) -> dict[str, list[float]]:
    """Times per call [ns] of each name, one for each round.

    rest_s: a pause before each sample, in which other libraries' threads stop spinning.
    """
    for call in calls.values():
        elapsed_ns(call, 3)
    counts = {name: calls_per_sample(call, sample_s) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    gc.collect()
    gc.disable()
    try:
        for turn in range(rounds):
            shift = turn % len(names)
            for name in names[shift:] + names[:shift]:
                time.sleep(rest_s)
                elapsed_ns(calls[name], max(1, counts[name] // 10))
                times[name].append(elapsed_ns(calls[name], counts[name]))
    finally:
        gc.enable()
    return times


def spread(times: Sequence[float]) -> float:
    """Half the distance between the quartiles, as a part of the median."""
    if len(times) < 4:
        return (max(times) - min(times)) / 2 / statistics.median(times)
    low, middle, high = statistics.quantiles(times, n=4)
    return (high - low) / 2 / middle


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median over the rounds of one time over another of the same round."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


# Above so many cores of other work, calls on all threads are off by a factor, not by percent.
QUIET_CORES = 0.25


def other_work_text(cores: float) -> str:
    """How busy other work kept the machine, with a warning where that counts."""
    warning = "" if cores < QUIET_CORES else ": a disturbed run"
    return f"other work kept {cores:.2f} cores busy{warning}"


class OtherWork:
    """How busy the machine was with what isn't this process or its ended children."""

    def __init__(self) -> None:
        self.started = self._busy_s(), self._own_s(), time.monotonic()

    @staticmethod
    def _busy_s() -> float:
        """CPU time of the whole machine; Linux only."""
        try:
            fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        except OSError:
            return math.nan
        user, nice, system, _, _, irq, soft_irq = map(int, fields[:7])
        return (user + nice + system + irq + soft_irq) / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def _own_s() -> float:
        return sum(os.times()[:4])

    def cores(self) -> float:
        """Cores that other work kept busy, on average since the start."""
        busy_s, own_s, now = self._busy_s(), self._own_s(), time.monotonic()
        others_s = (busy_s - self.started[0]) - (own_s - self.started[1])
        return max(0.0, others_s / (now - self.started[2]))


def machine() -> str:
    """The processor, the cores, the system and the versions, in a few lines."""
    name = platform.processor() or platform.machine()
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        for line in facts.read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    versions = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    return (
        f"{name}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}\n"
        + ", ".join(versions)
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as an aligned Markdown table, the first two columns to the left."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    left = [not any(_is_number(row[i]) for row in rows) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [
            c.ljust(w) if lf else c.rjust(w) for c, w, lf in zip(row, widths, left, strict=True)
        ]
        return "| " + " | ".join(cells) + " |"

    rule = ["-" * w if lf else "-" * (w - 1) + ":" for w, lf in zip(widths, left, strict=True)]
    return "\n".join([line(head), line(rule), *map(line, rows)])


def _is_number(text: str) -> bool:
    return text[:1].isdigit()


def digits(value: float) -> str:
    """A number with three digits that count."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def progress(text: str) -> None:
    """Say on the error stream what is going on."""
    print(text, file=sys.stderr, flush=True)
