"""Asks how much memory a call takes: peak resident set over that before the call.

    python benchmarks/memory.py

Sixty elementwise ops over 10 million float32, in a process of its own for each library:
graphjit after a compile and a small call, and NumPy. The least is the input, which is written
first while it is measured, and the output, 40 MB each. Linux only (/proc/self).
"""

from __future__ import annotations

import argparse
import subprocess
import sys

import measure
import numpy as np
import workloads

import graphjit as gj

COUNT = 10_000_000


def status(name: str) -> int:
    """A line of /proc/self/status [bytes]."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))


def peak(kind: str) -> int:
    """Bytes that a call takes at most, its input and output among them, in this process."""
    call = workloads.sixty_ops
    if kind == "graphjit":
        call = gj.function(workloads.sixty_ops, fallback="error")
        call.specialization(np.zeros(COUNT, np.float32))
    call(np.ones(100, np.float32))
    x = np.zeros(COUNT, np.float32)  # no page of it is there before it is written
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # forget the peak so far
    before = status("VmRSS")
    x += 1
    kept = call(x)
    del kept
    return status("VmHWM") - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=("graphjit", "numpy"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.kind:
        print(peak(args.kind))
        return
    rows = []
    for kind in ("graphjit", "numpy"):
        command = [sys.executable, __file__, "--kind", kind]
        found = int(subprocess.run(command, capture_output=True, check=True).stdout)
        rows.append([kind, f"{found / 1e6:.1f}", f"{(found - 8 * COUNT) / 1e6:.1f}"])
    print(measure.machine(), "\n")
    print(measure.table(["library", "peak MB", "over input and output MB"], rows))


if __name__ == "__main__":
    main()
