"""Asks whether anything leaks, crashes or goes wrong in minutes of mixed calls.

    python benchmarks/soak.py --seconds 180 --seed 0

Runs the operations of tests/support/long_run.py in random order, each result compared with
NumPy's, and prints resident memory, the number of objects that the collector knows, and the
reference counts of objects that live throughout, after a warm-up and at the end.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))
from long_run import DTYPES, LAYOUTS, SHAPES, Calls, array

import graphjit as gj


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def some_array(rng: random.Random) -> Any:
    return array(rng.choice(SHAPES), rng.choice(DTYPES), rng.choice(LAYOUTS), rng.randrange(4))


def one_call(calls: Calls, rng: random.Random) -> None:
    x = some_array(rng)
    number = rng.choice([0.0, 1.5, -2.0, 1e3])
    match rng.randrange(24):
        case 0 | 1 | 2 | 3:
            calls.call("chain", x, number, tensor=rng.random() < 0.5)
        case 4 | 5 | 6:
            calls.call("parts", x)
        case 7 | 8:
            calls.call("softmax", x)
        case 9 | 10:
            calls.call("sorted", x)
        case 11 | 12:
            calls.call("shifted", x, rng.randrange(-3, 4))
        case 13 | 14:
            calls.call("picked", x, np.array([rng.randrange(-6, 7) for _ in range(2)]))
        case 15 | 16:
            calls.call_into(x, number, rng.random() < 0.5)
        case 17 | 18:
            small = array(rng.choice([(), (4,), (3, 4)]), "float64", "plain", 1)
            calls.call_captured(small, rng.random() < 0.3)
        case 19 | 20:
            calls.step_variable(float(rng.randrange(-5, 6)), rng.randrange(-9, 10))
        case 21:
            calls.call_in_threads("chain", x, number)
        case 22:
            for _ in range(200):
                calls.call("chain", calls.fixed, number)
        case 23:
            match rng.randrange(12):
                case 0:
                    calls.send(rng.choice(sorted(calls.bodies)))
                case 1:
                    calls.send_variable()
                case 2:
                    calls.forget(rng.choice(sorted(calls.bodies)))
                case 3 | 4:
                    calls.collect()


def counts(calls: Calls) -> list[int]:
    gc.collect()
    return [sys.getrefcount(x) for x in calls.references]


def report(calls: Calls, when: str, number: int) -> None:
    gc.collect()
    print(
        f"{when}: {number} operations, {resident_bytes() / 1e6:.1f} MB resident, "
        f"{len(gc.get_objects())} objects, references {counts(calls)}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore", gj.FallbackWarning)
    warnings.simplefilter("ignore", gj.RecompileWarning)
    rng, calls = random.Random(options.seed), Calls()
    number, begun = 0, time.monotonic()
    shown = 0
    while (elapsed := time.monotonic() - begun) < options.seconds:
        if elapsed * 6 >= options.seconds * (shown + 1):
            shown += 1
            report(calls, f"after {elapsed:.0f} s", number)
        one_call(calls, rng)
        number += 1
    report(calls, f"after {options.seconds:.0f} s", number)


if __name__ == "__main__":
    main()
