"""Asks whether graphjit has become faster or slower between two git revisions.

    python benchmarks/revisions.py BEFORE [AFTER] [--workloads chain,gelu] [--sizes small]
                                   [--rounds 15] [--processes 5] [--repeat 5] [--json FILE]

Each revision is checked out in a git worktree that is removed at the end; without AFTER it is
the working tree as it is. The workloads and the timing are those of this folder, for both: only
graphjit differs. Each revision has a process of its own; the two are timed in turn, round by
round, and started anew a few times, since where the memory of a process happens to lie can
cost some percent for its whole life.

The table gives medians [µs], the median of the ratios of each round with its quartiles (below
1: AFTER is faster), fastest round over fastest round, and the ratio of the first calls (trace
and compile). A row is `slower` or `faster` where median and fastest round of every pair of
processes say so by more than 3 %: by chance five pairs agree once in 16 rows. On a machine with
other work, where the same revision twice differed by factors, no row is called either. Ends
with status 1 if a result is wrong.

A second table is of what a program meets before its first result, and of a call on four floats
(next to nothing is computed): fresh processes in turn, `--repeat` of each. `import` is over
`import numpy`. `first call` is that of gelu, with decoration, where the cache is empty (cold)
or is not; `N ops` that of a chain of sums and products with constants that all differ, without
the cache and with the tracer and LLVM loaded.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import measure
from report import mean
from worker import Worker, rounds_of
from workloads import SIZES, WORKLOADS, size_text

ROOT = Path(__file__).resolve().parent.parent
SIDES = ("before", "after")
CLEAR = 0.03
START = """
import json, os, sys, time
start = time.perf_counter()
import numpy as np
loaded = time.perf_counter()
import graphjit as gj
found = {"import": time.perf_counter() - loaded}
x = np.ones(1000, np.float32)
start = time.perf_counter()
f = gj.function(lambda x: 0.5 * x * (1 + np.tanh(0.79788456 * (x + 0.044715 * x**3))))
f(x)
found["first call"] = time.perf_counter() - start
four = np.ones(4, np.float32)
g = gj.function(lambda x: x * 2 + 1)
for _ in range(2000):
    g(four)
times = []
for _ in range(200):
    start = time.perf_counter()
    g(four); g(four); g(four); g(four); g(four); g(four); g(four); g(four); g(four); g(four)
    times.append((time.perf_counter() - start) / 10)
found["call on four floats"] = sorted(times)[100]
if sys.argv[1] == "cold":
    gj.config.cache = False
    for length in (10, 1000, 10000):
        lines = [f"    x = x {'*' if k % 2 else '+'} {1 + k / 1e5!r}" for k in range(length)]
        names = {}
        exec("def chain(x):\\n" + "\\n".join(lines) + "\\n    return x", names)
        start = time.perf_counter()
        gj.function(names["chain"])(x)
        found[f"{length} ops"] = time.perf_counter() - start
print(json.dumps(found))
"""


@dataclass
class Row:
    """Times of one workload at one size: per call by round [ns], and of first calls [s]."""

    workload: str
    shape: str
    times_ns: dict[str, list[float]] = field(default_factory=lambda: {s: [] for s in SIDES})
    first_s: dict[str, list[float]] = field(default_factory=lambda: {s: [] for s in SIDES})
    complaints: list[str] = field(default_factory=list)

    def ratios(self) -> list[float]:
        """After over before, for each round."""
        pairs = zip(self.times_ns["after"], self.times_ns["before"], strict=True)
        return [after / before for after, before in pairs]

    def least(self) -> float:
        """The fastest round after over the fastest before."""
        return min(self.times_ns["after"]) / min(self.times_ns["before"])

    def verdict(self, processes: int) -> str:
        """Slower, faster, or nothing that stands out of the noise."""
        rounds = len(self.times_ns["after"]) // processes
        found = [self.least()]
        for start in range(0, len(self.times_ns["after"]), rounds):
            part = slice(start, start + rounds)
            after, before = self.times_ns["after"][part], self.times_ns["before"][part]
            found += [measure.ratio(after, before), min(after) / min(before)]
        if min(found) > 1 + CLEAR:
            return "slower"
        return "faster" if max(found) < 1 - CLEAR else ""


def git(*words: str) -> str:
    """What a git command in this checkout prints."""
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr.strip())
    return done.stdout.strip()


@contextlib.contextmanager
def checked_out(revision: str | None) -> Iterator[Path]:
    """The folder of a revision, or this checkout."""
    if revision is None:
        yield ROOT
        return
    commit = git("rev-parse", "--verify", f"{revision}^{{commit}}")
    with tempfile.TemporaryDirectory(prefix="graphjit-revision-") as folder:
        path = Path(folder, "graphjit-checkout")
        git("worktree", "add", "--detach", "--quiet", str(path), commit)
        for part in ("passes", "codegen"):
            # revisions that don't find the folders beside them would take an installed one's
            with contextlib.suppress(FileExistsError):
                (path / "graphjit" / part).symlink_to(path / part)
        try:
            yield path
        finally:
            git("worktree", "remove", "--force", str(path))


def worker_of(side: str, folder: Path) -> Worker:
    """A process whose graphjit is that of the folder."""
    # ahead of an installed graphjit, editable or not
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    worker = Worker("graphjit", {"PYTHONPATH": path})
    if not worker.present:
        sys.exit(f"{side}: {worker.hello['absent']}")
    if Path(worker.hello["file"]).parent.parent.resolve() != folder.resolve():
        sys.exit(f"{side}: graphjit came from {worker.hello['file']}, not from {folder}")
    worker.name = side
    return worker


def measured(
    folders: Sequence[Path], names: Sequence[str], sizes: Sequence[int], rounds: int, turns: int
) -> list[Row]:
    """Rows with the rounds of all pairs of processes in them."""
    rows: dict[tuple[str, int], Row] = {}
    for turn in range(turns):
        workers = [worker_of(s, f) for s, f in zip(SIDES, folders, strict=True)]
        for name in names:
            for number in sizes:
                workload = WORKLOADS[name]
                measure.progress(f"processes {turn + 1}: {name} {SIZES[number]}")
                row = rows.setdefault(
                    (name, number), Row(name, size_text(workload.sizes[number]))
                )
                times, first_s, complaints = rounds_of(
                    workers, workload, number, workload.reference(number), rounds
                )
                row.complaints += [f"{side}: {text}" for side, text in complaints.items()]
                if not complaints:
                    for side in SIDES:
                        row.times_ns[side] += times[side]
                        row.first_s[side].append(first_s[side])
        for worker in workers:
            worker.close()
    return list(rows.values())


def started(folders: Sequence[Path], repeat: int) -> dict[str, dict[str, list[float]]]:
    """Times [s] of what fresh processes do first, by what and by side."""
    found: dict[str, dict[str, list[float]]] = {}
    for turn in range(repeat + 1):  # the first, which writes bytecode, isn't counted
        for side, folder in list(zip(SIDES, folders, strict=True))[:: 1 if turn % 2 else -1]:
            measure.progress(f"start {turn + 1}: {side}")
            with tempfile.TemporaryDirectory(prefix="graphjit-benchmark-") as cache:
                for kind in ("cold", "cached"):
                    environment = {**os.environ, "GRAPHJIT_CACHE_DIR": cache}
                    environment["PYTHONPATH"] = str(folder)
                    done = subprocess.run(
                        [sys.executable, "-c", START, kind],
                        env=environment,
                        stdout=subprocess.PIPE,
                        text=True,
                        check=True,
                    )
                    for name, seconds in json.loads(done.stdout).items():
                        text = f"{name}, {kind}" if name == "first call" else name
                        times = found.setdefault(text, {s: [] for s in SIDES})
                        if turn:
                            times[side].append(seconds)
    return found


def start_table(times: dict[str, dict[str, list[float]]]) -> str:
    """One row for each thing that processes do first."""
    lines = []
    for name, sides in times.items():
        ratios = [a / b for a, b in zip(sides["after"], sides["before"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        lines.append(
            [
                name,
                *(measure.digits(statistics.median(sides[s]) * 1e6) for s in SIDES),
                f"{middle:.3f}",
                f"{low:.3f}–{high:.3f}",
                f"{min(sides['after']) / min(sides['before']):.3f}",
            ]
        )
    head = ["first things", "before µs", "after µs", "after/before", "quartiles", "fastest"]
    return measure.table(head, lines)


def table(rows: Sequence[Row], verdicts: Sequence[str]) -> str:
    """One row a workload and size."""
    head = ["workload", "size", "before µs", "after µs", "after/before", "quartiles"]
    head += ["fastest rounds", "first call", ""]
    lines = []
    for row, verdict in zip(rows, verdicts, strict=True):
        ratios = row.ratios()
        if not ratios:
            lines.append([row.workload, row.shape, *["–"] * 6, "not timed"])
            continue
        low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        first = measure.ratio(row.first_s["after"], row.first_s["before"])
        lines.append(
            [
                row.workload,
                row.shape,
                *(measure.digits(statistics.median(row.times_ns[s]) / 1e3) for s in SIDES),
                f"{statistics.median(ratios):.3f}",
                f"{low:.3f}–{high:.3f}",
                f"{row.least():.3f}",
                f"{first:.2f}",
                verdict,
            ]
        )
    return measure.table(head, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", help="a git revision")
    parser.add_argument("after", nargs="?", help="another; without it, the working tree")
    parser.add_argument("--json", type=Path, help="write all times to this file")
    parser.add_argument("--workloads", default=",".join(WORKLOADS))
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--processes", type=int, default=5, help="pairs, one after the other")
    parser.add_argument("--repeat", type=int, default=5, help="processes of the second table")
    args = parser.parse_args()
    sizes = [SIZES.index(name) for name in args.sizes.split(",")]
    others = measure.OtherWork()
    with checked_out(args.before) as before, checked_out(args.after) as after:
        rows = measured(
            [before, after], args.workloads.split(","), sizes, args.rounds, args.processes
        )
        first = started([before, after], args.repeat) if args.repeat > 1 else {}
    cores = others.cores()
    verdicts = [r.verdict(args.processes) if r.ratios() else "" for r in rows]
    if cores > measure.QUIET_CORES:
        verdicts = ["" for _ in rows]
    print(measure.machine())
    print(f"{measure.other_work_text(cores)}\n")
    said = [git("log", "-1", "--format=%h %s", args.before)]
    said.append(
        git("log", "-1", "--format=%h %s", args.after) if args.after else "the working tree"
    )
    for side, text in zip(SIDES, said, strict=True):
        print(f"{side}: {text}")
    print(f"\n{table(rows, verdicts)}\n")
    medians = [statistics.median(r.ratios()) if r.ratios() else None for r in rows]
    every = mean(medians)
    print(f"after over before, geometric mean: {'–' if every is None else f'{every:.3f}'}")
    for word in ("slower", "faster") if cores <= measure.QUIET_CORES else ():
        found = [
            f"{r.workload} {r.shape}" for r, v in zip(rows, verdicts, strict=True) if v == word
        ]
        print(f"{word}: {', '.join(found) or 'none'}")
    if first:
        print(f"\n{start_table(first)}\n")
    complaints = [f"{r.workload} {r.shape}, {text}" for r in rows for text in r.complaints]
    print("\n".join(complaints))
    if args.json:
        sides = dict(zip(SIDES, said, strict=True))
        args.json.write_text(
            json.dumps(
                {
                    "machine": measure.machine(),
                    **sides,
                    "rows": [asdict(r) for r in rows],
                    "first": first,
                },
                indent=1,
            )
        )
    if complaints:
        sys.exit(1)


if __name__ == "__main__":
    main()
