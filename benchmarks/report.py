"""What a run of compare.py found, as tables and sentences.

python benchmarks/report.py FILE     (what compare.py --json wrote)
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import measure
from roofline import Roofline
from workloads import SIZES, WORKLOADS

SUBJECT = "graphjit"
MARKS = ("<!-- compare.py -->", "<!-- end of compare.py -->")


@dataclass(frozen=True)
class Result:
    """One workload at one size.

    times_ns: time per call by round, by name. first_s: the first call, with compilation.
    complaints: why a name was not timed. read_bytes, written_bytes, flops: what no
    implementation can leave out.
    """

    workload: str
    size: str
    shape: str
    times_ns: dict[str, list[float]]
    first_s: dict[str, float]
    complaints: dict[str, str]
    read_bytes: int
    written_bytes: int
    flops: int

    def median_ns(self, name: str) -> float:
        """The middle time per call."""
        return statistics.median(self.times_ns[name])

    @property
    def best(self) -> str | None:
        """The fastest peer."""
        names = [n for n in self.times_ns if n != SUBJECT]
        return min(names, key=self.median_ns, default=None)

    @property
    def target(self) -> float:
        """The most that graphjit may take of the best peer's time."""
        return WORKLOADS[self.workload].targets[SIZES.index(self.size)]

    def over(self, peer: str | None) -> float | None:
        """The time of graphjit as a part of a peer's: the median of the rounds' ratios."""
        if peer not in self.times_ns or SUBJECT not in self.times_ns:
            return None
        return measure.ratio(self.times_ns[SUBJECT], self.times_ns[peer])

    def least_over(self, peer: str | None) -> float | None:
        """The fastest round of graphjit as a part of a peer's fastest."""
        if peer not in self.times_ns or SUBJECT not in self.times_ns:
            return None
        return min(self.times_ns[SUBJECT]) / min(self.times_ns[peer])

    def floor_ns(self, roofline: Roofline) -> float:
        """The least time that the machine needs."""
        return 1e9 * roofline.floor_s(self.read_bytes, self.written_bytes, self.flops)


@dataclass
class Run:
    """All that a run found, and where."""

    machine: str
    date: str
    rounds: int
    peers: tuple[str, ...]
    roofline: Roofline
    other_work_cores: float = math.nan
    results: list[Result] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Run:
        """What `write` wrote."""
        fields = json.loads(path.read_text())
        results = [Result(**r) for r in fields.pop("results")]
        roofline = Roofline(**fields.pop("roofline"))
        peers = tuple(fields.pop("peers"))
        return cls(**fields, peers=peers, roofline=roofline, results=results)

    def write(self, path: Path) -> None:
        """All times as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    def __str__(self) -> str:
        parts = [
            f"{self.date}, {self.rounds} rounds",
            self.machine,
            measure.other_work_text(self.other_work_cores),
            str(self.roofline),
            times_table(self),
            "Times of graphjit over each peer's, geometric means:",
            means_table(self),
            "First calls:",
            first_table(self),
            answer(self),
        ]
        return "\n\n".join(parts)


def _ratio_text(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def times_table(run: Run) -> str:
    """One row a workload and size: medians [µs], ratios, and the part of the floor reached."""
    names = [SUBJECT, *run.peers]
    head = ["workload", "size", *(f"{n} µs" for n in names)]
    head += ["±", "best peer", "/best", "/numpy", "of roofline"]
    lines = []
    for r in run.results:
        cells = [r.workload, r.shape]
        for name in names:
            if name in r.times_ns:
                cells.append(measure.digits(r.median_ns(name) / 1e3))
            else:
                cells.append(r.complaints.get(name, "–").split(":")[0])
        own = r.times_ns.get(SUBJECT)
        cells.append(f"{measure.spread(own):.0%}" if own else "–")
        cells.append(r.best or "–")
        cells += [_ratio_text(r.over(r.best)), _ratio_text(r.over("numpy"))]
        floor_ns = r.floor_ns(run.roofline)
        cells.append(f"{floor_ns / r.median_ns(SUBJECT):.0%}" if own else "–")
        lines.append(cells)
    return measure.table(head, lines)


def mean(ratios: Sequence[float | None]) -> float | None:
    """The geometric mean of what is there."""
    there = [math.log(x) for x in ratios if x is not None]
    return math.exp(statistics.mean(there)) if there else None


def means_table(run: Run) -> str:
    """Geometric means of graphjit's time over each peer's, by size."""
    lines = []
    for size in [*(s for s in SIZES if any(r.size == s for r in run.results)), "all"]:
        chosen = [r for r in run.results if size in (r.size, "all")]
        cells = [_ratio_text(mean([r.over(r.best) for r in chosen]))]
        cells += [_ratio_text(mean([r.over(name) for r in chosen])) for name in run.peers]
        lines.append([size, *cells])
    return measure.table(["size", "best peer", *run.peers], lines)


def first_table(run: Run) -> str:
    """First calls [ms]: tracing and compiling, with compilers loaded."""
    names = [SUBJECT, *run.peers]
    lines = []
    for r in run.results:
        cells = [f"{r.first_s[n] * 1e3:.1f}" if n in r.first_s else "–" for n in names]
        lines.append([r.workload, r.shape, *cells])
    return measure.table(["workload", "size", *(f"{n} ms" for n in names)], lines)


def answer(run: Run) -> str:
    """The questions of compare.py, answered in words."""

    def listed(found: Sequence[Result], peer: Callable[[Result], str | None]) -> str:
        names = [
            f"\n  - {r.workload} {r.shape}: {_ratio_text(r.over(peer(r)))} {peer(r)} "
            f"(fastest rounds {_ratio_text(r.least_over(peer(r)))})"
            for r in found
        ]
        return "".join(names) or " nowhere"

    slower = [r for r in run.results if (r.over("numpy") or 0) > 1]
    missed = [r for r in run.results if (r.over(r.best) or 0) > r.target]
    lines = [
        f"Geometric mean of graphjit over the best peer: "
        f"{_ratio_text(mean([r.over(r.best) for r in run.results]))}; "
        f"over NumPy: {_ratio_text(mean([r.over('numpy') for r in run.results]))}.",
        f"Slower than NumPy:{listed(slower, lambda r: 'numpy')}",
        f"Above the target:{listed(missed, lambda r: r.best)}",
    ]
    lines += [
        f"Not timed: {name}, {r.workload} {r.shape}: {text}"
        for r in run.results
        for name, text in r.complaints.items()
    ]
    return "\n".join(f"- {line}" for line in lines)


def insert(text: str, path: Path) -> None:
    """Put a run's text between the marks of a Markdown file."""
    before, rest = path.read_text().split(MARKS[0])
    _, after = rest.split(MARKS[1])
    path.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--into", type=Path, help="a Markdown file with the marks")
    args = parser.parse_args()
    text = str(Run.read(args.file))
    if args.into:
        insert(text, args.into)
    else:
        print(text)


if __name__ == "__main__":
    main()
