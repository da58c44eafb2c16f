"""Compares every NumPy function that graphjit traces with undecorated NumPy, option by option.

    python tests/support/numpy_sweep.py                  # the largest sample: 150,000 cases
    python tests/support/numpy_sweep.py --share 0.05     # one of twenty of these
    python tests/support/numpy_sweep.py --seed 1         # another sample
    python tests/support/numpy_sweep.py --only median    # functions whose name holds this

The functions are those of the tables in graphjit.numpy_protocol, of ndarray's methods and
operators; the options those of NumPy's signatures. Arguments and options are made from the
names of the parameters: a name that has no recipe here fails the sweep. Compared are value (to
the bit where all ops are exact, else within a few units in the last place of the result, of its
magnitude if it is complex, and of what is added up, or as near to the same call in longer
numbers as NumPy's; signs of zeros and places of NaN always), dtype, shape, Python type, and the
exception, which is of NumPy's public class or one derived from it. What can't be traced runs as
undecorated NumPy and is counted apart. All of it takes about six minutes of a processor.

sweep_arguments.py has the recipes, sweep_cases.py makes the calls, sweep_differences.py
compares, and sweep_purposes.py has what differs on purpose.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sweep_calls import Case, Raised, copies, outcome
from sweep_cases import cases
from sweep_differences import difference, traced
from sweep_purposes import purpose_of

import graphjit
from graphjit.core.errors import TracingError

BUNDLE = 24  # so many cases are compiled at once


@dataclass
class Report:
    """What a sweep has found."""

    compared: int = 0
    eager: int = 0
    raised: int = 0
    on_purpose: Counter[str] = field(default_factory=Counter)
    names: Counter[str] = field(default_factory=Counter)
    never: Counter[str] = field(default_factory=Counter)
    options: set[tuple[str, str]] = field(default_factory=set)
    differences: list[tuple[Case, str]] = field(default_factory=list)


def sweep(found: Iterator[Case], progress: bool = False) -> Report:
    """Compare these cases."""
    report = Report()
    bundle: list[tuple[Case, Any]] = []
    started = time.monotonic()
    for number, case in enumerate(found):
        if progress and number % 2000 == 1999:
            print(f"{number + 1} cases, {time.monotonic() - started:.0f} s", file=sys.stderr)
        expected = outcome(case.call, copies(case.leaves))  # some functions write into them
        if not traced(case):
            report.eager += 1
            report.never[case.name] += 1
            continue
        report.names[case.name] += 1
        report.options.update((case.name, option) for option in case.options)
        report.compared += 1
        bundle.append((case, expected))
        if len(bundle) == BUNDLE:
            _compare(bundle, report)
            bundle = []
    _compare(bundle, report)
    return report


def _compare(bundle: list[tuple[Case, Any]], report: Report) -> None:
    plain = [item for item in bundle if not isinstance(item[1], Raised)]
    for case, expected in bundle:
        if isinstance(expected, Raised):
            report.raised += 1
            _judge(case, _alone(case), expected, report)
    if not plain:
        return
    bounds = list(itertools.accumulate((len(c.leaves) for c, _ in plain), initial=0))

    def together(*leaves: Any) -> Any:
        return [
            c.call(leaves[a:b])
            for (c, _), (a, b) in zip(plain, itertools.pairwise(bounds), strict=True)
        ]

    leaves = copies([leaf for c, _ in plain for leaf in c.leaves])
    compiled = graphjit.function(together, fallback="error")
    try:
        results = outcome(lambda given: compiled(*given), leaves)
    except TracingError:
        results = None
    if isinstance(results, list):
        for (case, expected), actual in zip(plain, results, strict=True):
            _judge(case, actual, expected, report)
        return
    for case, expected in plain:
        _judge(case, _alone(case), expected, report)


def _alone(case: Case) -> Any:
    compiled = graphjit.function(lambda *given: case.call(given), fallback="error")
    try:
        return outcome(lambda given: compiled(*given), copies(case.leaves))
    except TracingError:
        return _EAGER


_EAGER = object()


def _judge(case: Case, actual: Any, expected: Any, report: Report) -> None:
    if actual is _EAGER:
        report.compared -= 1
        report.eager += 1
        return
    found = difference(case, actual, expected)
    if not found:
        return
    reason = purpose_of(case, found, actual, expected)
    if reason:
        report.on_purpose[reason] += 1
    else:
        report.differences.append((case, found))


def main() -> None:
    """Run the sweep and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--each", type=int, default=4, help="differences shown for a function")
    given = parser.parse_args()
    report = sweep(cases(given.share, given.only, given.seed), progress=True)
    by_name: dict[str, list[tuple[Case, str]]] = defaultdict(list)
    for case, found in report.differences:
        by_name[case.name].append((case, found))
    for name, items in sorted(by_name.items(), key=lambda item: -len(item[1])):
        print(f"{name}: {len(items)} of {report.names[name]}")
        for case, found in items[: given.each]:
            print(f"    {case}: {found}")
    print(
        f"{len(report.names)} functions, {len(report.options)} options, {report.compared} "
        f"compared (of which {report.raised} raise), {report.eager} not traced, "
        f"{len(report.differences)} differ, {sum(report.on_purpose.values())} on purpose"
    )
    never = sorted(set(report.never) - set(report.names))
    print("never traced:", ", ".join(never))
    for reason, count in report.on_purpose.items():
        print(f"  {count}: {reason}")


if __name__ == "__main__":
    main()
