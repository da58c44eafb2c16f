"""Asks whether cached code ever serves a program other than the one it was made for.

    python benchmarks/cache_pairs.py [--pairs 200] [--seed 0]      (200 pairs take a minute)
    python benchmarks/cache_pairs.py --pairs 1000

A pair is a small function and the same one edited: another threshold, divisor, constant,
operator or option, under the same name. One process runs the function, a second one, with the
same cache folder, the edited one, both in files of the same names; then each runs both, as two
lambdas of one file would be. They are called with a few sizes until machine code for all sizes
is entered, then with others, so that a guard of the other program would let something wrong
through. Every result is compared with the undecorated function's. Exit code 1 if one differed.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

# Letters in braces are what an edit changes. x, y: 1-d; k: a Python int that stays the same.
BODIES = [
    "return x * 2 if x.shape[0] < {A} else x + 1",
    "return x {O} 2 if len(x) % {B} == 0 else x + {A}",
    "return x * 2 if x.size == {A} else x {O} 3",
    "return x[: min(len(x), {A})] {O} 2",
    "return x[max(0, len(x) - {A}) :].sum() {O} 1",
    "return (x * 2 if x.shape[0] + {B} < y.shape[0] else x - 1).sum() + y {O} 1",
    "return x.reshape(-1, {B}).sum(axis=1) if len(x) % {B} == 0 else x {O} 2",
    "n = x.shape[0] // {B}\n    return x[:n] * 2 if n > {C} else x {O} n",
    "return x + k if k > {C} else x {O} 2",
    "return x + (np.arange({A}).sum() if x.shape[0] >= {A} else y[0])",
    "for i in range({B}):\n        x = x {O} (i + 1) if i < len(x) else x + {A}\n    return x",
    "a = x {O} 2 if x.shape[0] > {A} else x + 1\n    return a + (1 if y.shape[0] > {C} else 5)",
    "return np.where(x > {C}, x {O} 2, len(x) if len(x) < {A} else -1)",
    "return x {O} scale if 2 * len(x) - {B} > len(y) - {C} else x - scale",
    "return np.concatenate([x, y[:{B}]]) {O} (1 if len(x) * len(y) < {A} * {B} else 2)",
    "w = np.full(len(x), {C}.5)\n    return x {O} w if len(x) != {A} else w",
]
OPTIONS = ["", "fast_math=True", 'donate="y"', 'outputs="numpy"']
OPERATORS = ["+", "-", "*", "/"]

HEAD = """
import numpy as np
import graphjit as gj

def make(scale):
    def of_a_factory(x, y, k):
        {body}
    return of_a_factory

function = make({D}.0)
options = dict({options})
decorated = gj.function(function, **options)
"""

RUNNER = """
import importlib, sys, warnings
import numpy as np
warnings.simplefilter("ignore")

def called(f, n, m):
    x, y = np.linspace(0.5, 9.0, n), np.linspace(-2.0, 3.0, m)
    try:
        return f(x, y, 7)
    except Exception as error:
        return type(error)

def same(a, b):
    if isinstance(a, type) or isinstance(b, type):
        return a is b or (isinstance(a, type) and isinstance(b, type) and issubclass(a, b))
    return type(a) is type(b) and a.shape == b.shape and np.allclose(a, b, 1e-12, 1e-12)

PLACES = [(3, 6), (4, 7), (5, 8), (6, 9), (3, 6)]
PROBES = [
    (0, 3), (1, 1), (2, 5), (7, 7), (8, 3), (9, 20), (12, 12), (13, 30), (16, 8), (24, 48),
    (50, 5), (51, 51),
]
wrong = 0
for name in sys.argv[2:]:
    sys.path[:] = [name.rpartition("/")[0], *[p for p in sys.path if "pairs-" not in p]]
    short = name.rpartition("/")[2]
    sys.modules.pop(short, None)
    module = importlib.import_module(short)
    f = module.decorated
    for n, m in [*PLACES * 3, *PROBES, *PLACES, *PROBES]:
        got, wanted = called(f, n, m), called(module.function, n, m)
        if not same(got, wanted):
            wrong += 1
            print("WRONG", name, (n, m), got, wanted)
print("wrong", wrong, "calls", len(sys.argv[2:]) * 49)
"""


def drawn(draw: random.Random) -> dict[str, object]:
    """What the letters stand for, and the options."""
    return {
        "A": draw.choice([3, 4, 5, 6, 7, 10, 11, 12, 13, 24, 50]),
        "B": draw.choice([2, 3, 4, 5]),
        "C": draw.choice([0, 1, 2, 4, 8]),
        "D": draw.choice([2, 3, 4]),
        "O": draw.choice(OPERATORS),
        "options": draw.choice(OPTIONS),
    }


def source(body: str, letters: dict[str, object]) -> str:
    """The file of one program."""
    for name, value in letters.items():
        body = body.replace("{" + name + "}", str(value))
    text = HEAD.replace("{body}", body.replace("\n", "\n    "))
    for name, value in letters.items():
        text = text.replace("{" + name + "}", str(value))
    return text


def run(cache: Path, files: list[str]) -> str:
    """What a process says that runs these programs one after another."""
    environment = {**os.environ, "GRAPHJIT_CACHE_DIR": str(cache), "GRAPHJIT_NATIVE_AFTER": "3"}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # files of one size and second are alike to it
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, *files], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        return f"WRONG exit code {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout


def batch(count: int, draw: random.Random) -> str:
    """What was said of so many pairs."""
    with tempfile.TemporaryDirectory(prefix="pairs-") as folder:
        names: dict[str, list[str]] = {"before": [], "after": []}
        for number in range(count):
            body, letters = draw.choice(BODIES), drawn(draw)
            edited = dict(letters)
            used = [k for k in letters if "{" + k + "}" in body or k == "options"]
            for name in draw.sample(used, min(len(used), draw.choice([1, 1, 2]))):
                edited[name] = drawn(draw)[name]
            for when, values in (("before", letters), ("after", edited)):
                path = Path(folder) / f"pairs-{when}" / f"program{number}.py"
                path.parent.mkdir(exist_ok=True)
                path.write_text(source(body, values))
                names[when].append(str(path.with_suffix("")))
        cache = Path(folder) / "cache"
        turned = [n for pair in zip(names["after"], names["before"], strict=True) for n in pair]
        return "".join(run(cache, files) for files in (names["before"], names["after"], turned))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    draw = random.Random(given.seed)
    wrong, left = 0, given.pairs
    while left > 0:
        said = batch(min(left, 20), draw)
        wrong += said.count("WRONG")
        print("".join(line + "\n" for line in said.splitlines() if "WRONG" in line), end="")
        left -= 20
        print(f"{given.pairs - max(left, 0)} pairs, {wrong} differences", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
