"""Asks what one call costs, beside NumPy, numba and JAX.

    python benchmarks/dispatch.py [--json FILE] [--rounds 25]

Arrays have four float32 elements, so that next to nothing is computed: what is left is the
check of the arguments, the outputs' allocation and the way in and out. Peers get the arrays
that they like best (JAX its own, numba ndarrays). Medians [ns] of interleaved rounds, with
the spread. Calls stand in the timed loop itself, as timeit has them. `empty call` is a Python
function that returns its argument.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import measure
import numpy as np

import graphjit as gj

Calls = dict[str, measure.Call]


def one(x: Any) -> Any:
    return x * 2 + 1


def two(x: Any, y: Any, z: Any) -> Any:
    return x * y + z, x - z


def scaled(x: Any, factor: float) -> Any:
    return x * factor + 1


def itself(x: Any) -> Any:
    return x


def cases() -> dict[str, Calls]:
    """The calls that are compared with each other, by case."""
    x, y, z = (np.arange(4, dtype=np.float32) + i for i in range(3))
    factor = 2.0
    g_one, g_two, g_scaled = (gj.function(f, fallback="error") for f in (one, two, scaled))
    t = gj.constant(x)
    made: dict[str, Calls] = {
        "x*2+1": {
            "graphjit": measure.Statement(g_one, x),
            "numpy": measure.Statement(one, x),
        },
        "x*y+z, x-z": {
            "graphjit": measure.Statement(g_two, x, y, z),
            "numpy": measure.Statement(two, x, y, z),
        },
        "x*float+1": {
            "graphjit": measure.Statement(g_scaled, x, factor),
            "numpy": measure.Statement(scaled, x, factor),
        },
        "x*2+1, Tensor": {"graphjit": measure.Statement(g_one, t)},
        "empty call": {"numpy": measure.Statement(itself, x)},
    }
    try:
        import numba

        n_one, n_two, n_scaled = (numba.njit(f) for f in (one, two, scaled))
        made["x*2+1"]["numba"] = measure.Statement(n_one, x)
        made["x*y+z, x-z"]["numba"] = measure.Statement(n_two, x, y, z)
        made["x*float+1"]["numba"] = measure.Statement(n_scaled, x, factor)
    except ImportError:
        measure.progress("numba is not installed")
    try:
        import jax

        j_one, j_two, j_scaled = (jax.jit(f) for f in (one, two, scaled))
        j_x, j_y, j_z = (jax.device_put(a) for a in (x, y, z))
        wait = jax.block_until_ready  # itself a call, but what is timed must be done
        made["x*2+1"]["jax"] = lambda: wait(j_one(j_x))
        made["x*y+z, x-z"]["jax"] = lambda: wait(j_two(j_x, j_y, j_z))
        made["x*float+1"]["jax"] = lambda: wait(j_scaled(j_x, factor))
        made["x*2+1, Tensor"]["jax"] = lambda: wait(j_one(j_x))
    except ImportError:
        measure.progress("jax is not installed")
    expected = {"x*2+1": one(x), "x*y+z, x-z": two(x, y, z), "x*float+1": scaled(x, factor)}
    expected["x*2+1, Tensor"] = one(x)
    for case, want in expected.items():
        for call in made[case].values():
            np.testing.assert_allclose(np.asarray(call()), np.asarray(want), rtol=1e-6)
            for _ in range(100):  # graphjit makes its native entry after some calls
                call()
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write all times to this file")
    parser.add_argument("--rounds", type=int, default=25)
    args = parser.parse_args()
    names = ("graphjit", "numpy", "numba", "jax")
    found, lines = {}, []
    for case, calls in cases().items():
        times = measure.interleaved(calls, args.rounds, sample_s=0.01)
        found[case] = times
        cells = [case]
        for name in names:
            if name in times:
                middle = np.median(times[name])
                cells.append(f"{middle:.0f} ±{measure.spread(times[name]):.0%}")
            else:
                cells.append("–")
        both = "graphjit" in times and "numpy" in times
        cells.append(f"{measure.ratio(times['graphjit'], times['numpy']):.2f}" if both else "–")
        lines.append(cells)
    print(measure.machine(), "\n")
    print(measure.table(["call", *(f"{n} ns" for n in names), "graphjit/numpy"], lines))
    if args.json:
        args.json.write_text(json.dumps({"machine": measure.machine(), "ns": found}, indent=1))


if __name__ == "__main__":
    main()
