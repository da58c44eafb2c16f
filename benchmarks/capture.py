"""Asks what it costs that a function reads values outside of its arguments.

    python benchmarks/capture.py [--json FILE] [--rounds 25] [--lengths 10,100,1000]

Calls: medians [ns] of interleaved rounds, with the spread, and the least of each. By how much
more a call takes than one of a function that computes the same from arguments is told from the
least times, which other work on the machine disturbs little. Arrays have four float32 elements.
Writes: functions that write outside of themselves, beside the same undecorated, for float64
arrays of several sizes; the ratio is of least times, below 1 where the compiled one is faster.
Traces: the least time [ms] that tracing takes in a first call, with hooks in the bytecode and
without, for functions of so many ops, written line by line and as a loop. Without hooks means
that the recorder calls the function as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import measure
import numpy as np

os.environ["GRAPHJIT_CACHE_DIR"] = tempfile.mkdtemp(prefix="graphjit-benchmark-")

import graphjit as gj
from graphjit.capture import recorder

ARRAYS, NUMBERS, LAYERS = 20, 10, 10
SIZES = (4, 10_000, 1_000_000)
Calls = dict[str, measure.Call]


def made(text: str, **names: Any) -> Any:
    """The function `f` of a text, with these globals."""
    exec(text, names)
    return names["f"]


def jitted(text: str, **names: Any) -> Any:
    """The same, compiled."""
    return gj.function(made(text, **names), fallback="error")


def sum_of(terms: list[str], arguments: str = "x") -> str:
    """The text of a function that adds terms to its argument."""
    return f"def f({arguments}):\n    return x + " + " + ".join(terms)


def array(k: int = 0) -> Any:
    """Four elements."""
    return np.arange(4, dtype=np.float32) + k


def guard_calls(counts: tuple[int, ...] = (0, 1, 5, 20)) -> Calls:
    """Calls with so many guards on global numbers, without a kernel that grows."""
    x = array()
    calls: Calls = {}
    for count in counts:
        names = {f"n{k}": k for k in range(count)}
        body = "".join(f"    n{k}\n" for k in range(count))
        calls[f"{count} numbers"] = measure.Statement(
            jitted(f"def f(x):\n{body}    return x + 1", **names), x
        )
    return calls


def fields() -> dict[str, Any]:
    """The arrays and numbers of an object."""
    found: dict[str, Any] = {f"a{k}": array(k) for k in range(ARRAYS)}
    return found | {f"n{k}": float(k) for k in range(NUMBERS)}


class Plain:
    """An object with an instance dict."""

    def __init__(self) -> None:
        for name, value in fields().items():
            setattr(self, name, value)


class Slotted:
    """The same with slots."""

    __slots__ = tuple(fields())

    def __init__(self) -> None:
        for name, value in fields().items():
            setattr(self, name, value)


def object_calls() -> Calls:
    """One sum of 20 arrays and 10 numbers, which are read from different owners."""
    x, names = array(), list(fields())
    owner, values = Plain(), list(fields().values())
    dotted = [f"self.{n}" for n in names]

    class Model(Plain):
        run = jitted(sum_of(dotted, "self, x"))

    layers = [SimpleNamespace(w=array(k), b=array(k + 1)) for k in range(LAYERS)]
    by_layer = "def f(x):\n    for p in layers:\n        x = x * p.w + p.b\n    return x"
    flat = {f"{n}{k}": None for k in range(LAYERS) for n in "wb"}
    steps = "".join(f"    x = x * w{k} + b{k}\n" for k in range(LAYERS))
    layer_values = [v for p in layers for v in (p.w, p.b)]
    # floats as arguments are inputs; those of objects are under guards
    constants = dict(zip(names, values, strict=True))
    inline = [f"{constants[n]!r}" if n[0] == "n" else n for n in names]
    given = ", ".join(names[:ARRAYS])
    return {
        "arguments": measure.Statement(
            jitted(sum_of(inline, f"x, {given}")), x, *values[:ARRAYS]
        ),
        "method": measure.Statement(Model().run, x),
        "object": measure.Statement(jitted(sum_of(dotted), self=owner), x),
        "slots": measure.Statement(jitted(sum_of(dotted), self=Slotted()), x),
        "dict": measure.Statement(
            jitted(sum_of([f"self[{n!r}]" for n in names]), self=fields()), x
        ),
        "list": measure.Statement(
            jitted(sum_of([f"self[{k}]" for k in range(len(names))]), self=values), x
        ),
        "globals": measure.Statement(jitted(sum_of(names), **fields()), x),
        "layers, arguments": measure.Statement(
            jitted(f"def f(x, {', '.join(flat)}):\n{steps}    return x"), x, *layer_values
        ),
        "layers": measure.Statement(jitted(by_layer, layers=layers), x),
    }


def base_of(name: str, calls: Calls) -> str:
    """The call that computes the same as this one from arguments."""
    return "layers, arguments" if name.startswith("layers") else next(iter(calls))


def checked(calls: Calls) -> Calls:
    """The calls, after as many as graphjit needs to make its native entry."""
    for name, call in calls.items():
        for _ in range(100):
            found = call()
        expected: Any = calls[base_of(name, calls)]()
        np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-5)
    return calls


def print_calls(title: str, calls: Calls, rounds: int) -> dict[str, list[float]]:
    """Print the times of calls; gives them."""
    times = measure.interleaved(checked(calls), rounds, sample_s=0.01)
    lines = []
    for name, found in times.items():
        more = min(found) - min(times[base_of(name, calls)])
        middle, spread = statistics.median(found), measure.spread(found)
        numbers = f"{middle:.0f}", f"±{spread:.0%}", f"{min(found):.0f}", f"{more:.0f}"
        lines.append([name, *numbers])
    print(measure.table([title, "ns", "spread", "least ns", "more ns"], lines), "\n")
    return times


class Momentum:
    """An optimizer's step, as it is written with NumPy."""

    def __init__(self, n: int) -> None:
        self.w, self.v, self.count = np.zeros(n), np.zeros(n), 0

    def step(self, gradient: Any) -> None:
        """One step."""
        self.count += 1
        self.v = 0.9 * self.v + gradient
        self.w -= 0.01 * self.v


class Mean:
    """A running mean, in place."""

    def __init__(self, n: int) -> None:
        self.mean, self.weight = np.zeros(n), 0.0

    def add(self, x: Any) -> Any:
        """The mean with one more value."""
        self.weight += 1.0
        self.mean += (x - self.mean) / self.weight
        return self.mean


def clip(x: Any) -> None:
    x[x < 0] = 0
    x[x > 0.5] *= 0.999


def increase(x: Any) -> None:
    x += 1e-9


def write_calls(n: int) -> dict[str, Calls]:
    """Functions that write, undecorated and compiled."""
    x = np.linspace(-1, 1, n)
    found = {}
    for name, function, kind in (
        ("x += c", increase, None),
        ("masks", clip, None),
        ("running mean", Mean.add, Mean),
        ("momentum", Momentum.step, Momentum),
    ):
        compiled = gj.function(function, fallback="error")
        given = [() if kind is None else (kind(n),) for _ in range(2)]
        found[name] = {
            "undecorated": measure.Statement(function, *given[0], x.copy()),
            "compiled": measure.Statement(compiled, *given[1], x.copy()),
        }
    return found


def print_writes(rounds: int) -> dict[str, list[float]]:
    """Print the times of functions that write; gives them."""
    lines, times = [], {}
    for n in SIZES:
        for name, calls in write_calls(n).items():
            for call in calls.values():
                for _ in range(50):
                    call()
            found = measure.interleaved(calls, rounds, sample_s=0.01)
            least = {k: min(v) for k, v in found.items()}
            ratio = f"{least['compiled'] / least['undecorated']:.2f}"
            cells = [measure.digits(least[k] / 1e3) for k in ("undecorated", "compiled")]
            lines.append([f"{name}, {n:,}", *cells, ratio])
            times |= {f"{name}, {n}, {k}": v for k, v in found.items()}
    print(measure.table(["writes", "undecorated µs", "compiled µs", "ratio"], lines), "\n")
    return times


def text_of(length: int, loop: bool, seed: int) -> str:
    """A function of so many ops."""
    if loop:
        body = f"    for k in range({length // 2}):\n        x = x * 1.5 + {seed}.25\n"
    else:
        body = "".join(
            f"    x = x {'+*'[k % 2]} {0.9 + (k * 37 + seed * 101) % 1009 / 5000:.6f}\n"
            for k in range(length)
        )
    return f"def f(x):\n{body}    return x"


def trace_ms(length: int, loop: bool, seed: int, hooks: bool) -> float:
    """How long it takes to trace a new function [ms]."""

    def run(self: Any, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        return function(*args, **kwargs)

    function = jitted(text_of(length, loop, seed))
    off = mock.patch.object(recorder.Recorder, "run", run)
    if not hooks:
        off.start()
    try:
        function(array())
    finally:
        if not hooks:
            off.stop()
    return function.specializations[0].times_ns["trace"] / 1e6


def print_traces(lengths: list[int], rounds: int) -> dict[str, list[float]]:
    """Print the times of traces; gives them."""
    lines, times = [], {}
    for length in lengths:
        for loop in (False, True):
            found: dict[bool, list[float]] = {True: [], False: []}
            for seed in range(max(3, min(rounds, 10_000 // length))):
                for hooks in (True, False) if seed % 2 else (False, True):
                    found[hooks].append(trace_ms(length, loop, seed + 1, hooks))
            case = f"{length:,} ops, {'a loop' if loop else 'lines'}"
            hooks, none = min(found[True]), min(found[False])
            cells = measure.digits(hooks), measure.digits(none), f"{hooks / none:.2f}"
            lines.append([case, *cells])
            times[f"{case}, hooks"], times[f"{case}, none"] = found[True], found[False]
    print(measure.table(["trace", "hooks ms", "without ms", "ratio"], lines))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write all times to this file")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--lengths", default="10,100,1000")
    args = parser.parse_args()
    work = measure.OtherWork()
    print(measure.machine(), "\n")
    guards = print_calls("guards", guard_calls(), args.rounds)
    more = min(guards["20 numbers"]) - min(guards["0 numbers"])
    print(f"one more guard: {more / 20:.1f} ns\n")
    owners = print_calls("values of", object_calls(), args.rounds)
    writes = print_writes(args.rounds)
    traces = print_traces([int(n) for n in args.lengths.split(",") if n], args.rounds)
    print(f"\n{measure.other_work_text(work.cores())}")
    if args.json:
        found = {"ns": {**guards, **owners, **writes}, "ms": traces}
        args.json.write_text(json.dumps({"machine": measure.machine(), **found}, indent=1))


if __name__ == "__main__":
    main()
