"""Asks whether graphjit is slower than NumPy anywhere, and how far it is from the best peer.

    python benchmarks/compare.py [--workloads chain,gelu] [--sizes small,large]
                                 [--peers numpy,jax] [--rounds 15]
                                 [--json FILE] [--plot FILE]

Runs the workloads (workloads.py) in float32 at three sizes beside every installed peer
(peers/): NumPy, numexpr, numba (hand-written loops, once with prange and once on one thread;
fastmath), JAX (jit), torch (eager, and torch.compile) and TensorFlow (XLA). graphjit gets the
same Python function that NumPy runs, ndarrays in and out; peers get and keep their own arrays.
Every result is first compared with NumPy's in float64.

Each peer has a process of its own (worker.py). They are timed in rounds, one at a time, in an
order that rotates. The table gives medians [µs], half the distance between graphjit's quartiles
(±), graphjit over the best peer and over NumPy (medians of the ratios of each round; `fastest
rounds`: fastest over fastest, which other work on the machine disturbs least), and `of
roofline`: the least time in which the machine can do the call (roofline.py: each input read
once and each output written once, or the operations that can't be left out) over graphjit's.
The plot shows the same. First calls (trace and compile) are in a table of their own.

Ends with status 1 if a result is wrong, or if graphjit can't trace a workload.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import measure
import numpy as np
import peers
import plot
import report
import roofline
from worker import Worker, rounds_of
from workloads import SIZES, WORKLOADS, Workload, size_text


def started(names: list[str]) -> list[Worker]:
    """A process for graphjit and for every peer that can be imported."""
    found = []
    for name in ["graphjit", *names]:
        worker = Worker(name)
        if worker.present:
            found.append(worker)
        else:
            measure.progress(f"{name} is not installed: {worker.hello['absent']}")
    return found


def run_one(
    workload: Workload, number: int, workers: list[Worker], rounds: int
) -> report.Result:
    """Check and time one workload at one size."""
    expected = workload.reference(number)
    times, first_s, complaints = rounds_of(workers, workload, number, expected, rounds)
    arrays = [a for a in workload.inputs(number) if isinstance(a, np.ndarray)]
    return report.Result(
        workload=workload.name,
        size=SIZES[number],
        shape=size_text(workload.sizes[number]),
        times_ns=times,
        first_s=first_s,
        complaints=complaints,
        read_bytes=sum(a.nbytes for a in arrays),
        written_bytes=sum(a.size * 4 for a in expected),
        flops=workload.flops(*workload.sizes[number]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write all times to this file")
    parser.add_argument("--plot", type=Path, default=Path("build/compare.svg"))
    parser.add_argument("--workloads", default=",".join(WORKLOADS))
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--peers", default=",".join(peers.PEERS))
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    chosen = [WORKLOADS[name] for name in args.workloads.split(",")]
    sizes = [SIZES.index(name) for name in args.sizes.split(",")]
    others = measure.OtherWork()
    machine = roofline.measured()
    workers = started([n for n in args.peers.split(",") if n and n != report.SUBJECT])
    run = report.Run(
        machine=measure.machine(),
        date=time.strftime("%Y-%m-%d"),
        rounds=args.rounds,
        peers=tuple(w.name for w in workers if w.name != "graphjit"),
        roofline=machine,
    )
    for workload in chosen:
        for number in sizes:
            measure.progress(f"{workload.name} {SIZES[number]}")
            run.results.append(run_one(workload, number, workers, args.rounds))
            if args.json:
                run.write(args.json)
    for worker in workers:
        worker.close()
    # again: a disturbed minute at the start would lower the bar
    run.roofline = machine.or_better(roofline.measured())
    run.other_work_cores = others.cores()
    if args.json:
        run.write(args.json)
    print(run)
    try:
        plot.draw(run, args.plot)
        print(f"\nplot: {args.plot}")
    except ImportError:
        measure.progress("no plot: matplotlib is not installed")
    failed = [
        text
        for result in run.results
        for name, text in result.complaints.items()
        if name == "graphjit" or text.startswith("wrong")
    ]
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
