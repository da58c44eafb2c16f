"""Asks how much a second thread brings, and whether any number of threads changes a bit.

    python benchmarks/threads.py [--rounds 25] [--workloads gelu,mlp]

Each workload at its large size, with one thread and with as many as the process may use, in
turns; the median of the ratios of each round and the fastest of each. Then the results with 1,
2, 3 and 8 threads are compared bit by bit; a difference ends with status 1.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import measure
import numpy as np
import workloads

import graphjit as gj


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--workloads", default=",".join(workloads.WORKLOADS))
    args = parser.parse_args()
    every = gj.config.threads
    rows, same = [], True
    for name in args.workloads.split(","):
        workload = workloads.WORKLOADS[name]
        inputs = workload.inputs(2)
        call = gj.function(workload.function, fallback="error")
        times: dict[int, list[float]] = {1: [], every: []}
        for _ in range(args.rounds):
            for threads in times:
                gj.config.threads = threads
                call(*inputs)
                started = time.perf_counter_ns()
                call(*inputs)
                times[threads].append((time.perf_counter_ns() - started) / 1e3)
        found = []
        for threads in (1, 2, 3, 8):
            gj.config.threads = threads
            parts = workloads.results_of(call(*inputs))
            found.append([np.asarray(part).tobytes() for part in parts])
        alike = all(other == found[0] for other in found)
        same = same and alike
        one, all_ = times[1], times[every]
        rows.append(
            [
                name,
                measure.digits(statistics.median(one)),
                measure.digits(statistics.median(all_)),
                f"{measure.ratio(one, all_):.2f}",
                f"{min(one) / min(all_):.2f}",
                "the same" if alike else "DIFFERENT",
            ]
        )
    print(measure.machine(), "\n")
    head = ["workload", "1 thread µs", f"{every} threads µs", "ratio", "fastest", "bits"]
    print(measure.table(head, rows))
    sys.exit(not same)


if __name__ == "__main__":
    main()
