"""Asks whether the cache on disk survives what processes do to one another.

    python benchmarks/cache_stress.py [--processes 64] [--rounds 20] [--flips 200]

1. Processes started together on an empty cache, of which half are killed at random moments:
   every survivor, and a process after them, must give the right answers. The next round goes on
   with the files of the last one, or, every second time, with none.
2. Bits flipped at random in, and ends cut off, all files: a process that then uses them must
   give the right answers, or in the worst case the error of a missing file, never crash.

Answers are compared with NumPy's (within a few units in the last place) and, to the bit, with
those of a process without a cache. Exit code 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure

PROGRAM = """
import numpy as np
import graphjit as gj

@gj.function(fallback="error")
def softmax(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)

@gj.function(fallback="error")
def layer(x, w, b):
    return np.tanh(x @ w + b)

@gj.function(fallback="error")
def picked(x, i):
    return np.sort(x, axis=0)[i] * 2 + np.arange(x.shape[1])

x = np.linspace(-9, 9, 3000, dtype=np.float32).reshape(30, 100)
w = np.linspace(-1, 1, 5000, dtype=np.float32).reshape(100, 50)
for _ in range(40):  # enough for machine code to be entered without Python
    a, b, c = softmax(x), layer(x, w, w[0]), picked(x, np.array([3, 1, 29]))
d = softmax(np.tile(x, (100, 10)))
np.testing.assert_allclose(a, softmax.python_function(x), rtol=1e-5, atol=1e-7)
np.testing.assert_allclose(b, layer.python_function(x, w, w[0]), rtol=1e-4, atol=1e-5)
np.testing.assert_array_equal(c, picked.python_function(x, np.array([3, 1, 29])))
print(*(y.tobytes().hex() for y in (a, b, c)), hash(d.tobytes()))
"""


def environment(cache: Path | None) -> dict[str, str]:
    own = {**os.environ, "PYTHONHASHSEED": "0", "GRAPHJIT_CACHE": "0" if cache is None else "1"}
    return {**own, "GRAPHJIT_CACHE_DIR": str(cache or "")}


def start(cache: Path | None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment(cache), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wrong(process: subprocess.Popen[str], right: str) -> str:
    """What is wrong with a process that ran to its end, or nothing."""
    said, errors = process.communicate()
    if process.returncode or errors:
        return f"exit code {process.returncode}: {errors[-2000:]}"
    return "" if said == right else "another answer"


def killed_together(
    count: int, cache: Path, right: str, draw: random.Random, lasts: float
) -> list[str]:
    """One round of processes, half of them killed: what was wrong with the others."""
    running = [start(cache) for _ in range(count)]
    doomed = running[: count // 2]
    # together they last longer than one alone
    moments = sorted(draw.uniform(0, lasts * count / (os.cpu_count() or 1)) for _ in doomed)
    started = time.monotonic()
    for moment, process in zip(moments, doomed, strict=True):
        time.sleep(max(0.0, moment - (time.monotonic() - started)))
        process.kill()
    problems = [wrong(process, right) for process in running[count // 2 :]]
    for process in doomed:
        process.communicate()
    problems.append(wrong(start(cache), right))
    return [p for p in problems if p]


def damage(cache: Path, draw: random.Random) -> None:
    """Flip some bits of each file, and cut some files short."""
    for path in (cache / "code").iterdir():
        content = bytearray(path.read_bytes())
        if not content:
            continue
        for _ in range(draw.choice((1, 1, 2, 20))):
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        if draw.random() < 0.2:
            del content[draw.randrange(len(content)) :]
        path.write_bytes(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--flips", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draw = random.Random(args.seed)
    folder = Path(tempfile.mkdtemp(prefix="graphjit-stress-"))
    alone = start(None)
    began = time.monotonic()
    right, errors = alone.communicate()
    lasts = time.monotonic() - began
    if alone.returncode:
        sys.exit(f"without a cache: {errors}")
    problems: list[str] = []
    for number in range(args.rounds):
        measure.progress(f"round {number}: {len(problems)} problems")
        if number % 2 == 0:
            shutil.rmtree(folder / "cache", ignore_errors=True)
        problems += killed_together(args.processes, folder / "cache", right, draw, lasts)
    survivors = args.rounds * (args.processes - args.processes // 2 + 1)
    print(f"{args.rounds} rounds of {args.processes} processes: {survivors} ran to their end,")
    print(f"{len(problems)} of them wrong")
    bad = len(problems)
    for number in range(args.flips):
        measure.progress(f"damage {number}: {len(problems) - bad} problems")
        damage(folder / "cache", draw)
        found = wrong(start(folder / "cache"), right)
        problems += [found] if found else []
    print(f"{args.flips} times all files damaged: {len(problems) - bad} processes wrong")
    shutil.rmtree(folder, ignore_errors=True)
    for problem in problems[:5]:
        print(problem)
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
