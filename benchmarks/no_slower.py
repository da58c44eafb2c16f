"""Asks where a decorated function is slower than the same function undecorated.

    python benchmarks/no_slower.py [--cases skinny] [--rounds 15] [--busy] [--json FILE]

Programs in which NumPy leaves little to gain: products that BLAS computes, sorting, small
linear algebra, and calls whose arguments are containers, new objects, or make the function run
eagerly. Each function is called plain and decorated with the same arguments, in turns; results
are compared first. `/numpy` is the median of the rounds' ratios and should be 1 or less; `more
ns` is what a decorated call takes longer.

BLAS's threads spin for cores that other work keeps busy: there, set OPENBLAS_NUM_THREADS=1 and
GRAPHJIT_NUM_THREADS=1, and time what this process was busy for (`--busy`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import measure
import numpy as np

os.environ.setdefault("GRAPHJIT_CACHE_DIR", tempfile.mkdtemp(prefix="graphjit-benchmark-"))

import graphjit as gj

RNG = np.random.default_rng(0)
Case = tuple[str, Callable[..., Any], tuple[Any, ...]]


def normal(*shape: int, dtype: Any = np.float64) -> Any:
    return RNG.normal(size=shape).astype(dtype)


def text(array: Any) -> str:
    return "×".join(f"{n:,}" for n in array.shape) + f" {array.dtype}"


# -- products with one long and one short side


def x_t_r(x: Any, r: Any) -> Any:
    return x.T @ r


def gram(x: Any) -> Any:
    return x.T @ x


def gradient(x: Any, y: Any, w: Any) -> Any:
    return x.T @ (x @ w - y) / len(y)


def matmul(a: Any, b: Any) -> Any:
    return a @ b


def skinny() -> Iterator[Case]:
    for n, k in ((200, 8), (5_000, 8), (5_000, 3), (5_000, 50), (200_000, 8), (200_000, 64)):
        x, y, w = normal(n, k), normal(n), normal(k)
        yield f"X.T @ r, X {text(x)}", x_t_r, (x, y)
        yield f"X @ w, X {text(x)}", matmul, (x, w)
        yield f"gradient, X {text(x)}", gradient, (x, y, w)
        yield f"X.T @ X, X {text(x)}", gram, (x,)
    x = normal(5_000, 8, dtype=np.float32)
    yield f"X.T @ r, X {text(x)}", x_t_r, (x, normal(5_000, dtype=np.float32))
    x = normal(5_000, 8)
    yield f"X.T @ R, X {text(x)}, 3 columns", x_t_r, (x, normal(5_000, 3))
    yield f"W @ X, X {text(x)}, 3 rows", matmul, (normal(3, 5_000), x)
    yield f"X @ W, X {text(x)}, 3 columns", matmul, (x, normal(8, 3))
    for dtype in (np.float64, np.float32):
        for shape in ((2_000, 100), (2_000, 300), (1_000, 1_000)):
            x = normal(*shape, dtype=dtype)
            yield f"X.T @ X, X {text(x)}", gram, (x,)
        x, rows = normal(4_000, 4_000, dtype=dtype), normal(4, 4_000, dtype=dtype)
        yield f"W @ X, X {text(x)}, 4 rows", matmul, (rows, x)
    x = normal(5_000, 8)
    yield f"a @ b, 16×5,000 {x.dtype}", matmul, (normal(16, 5_000), normal(5_000, 16))
    yield f"a @ b, batch of 100 4×4 {x.dtype}", matmul, (normal(100, 4, 4), normal(100, 4, 4))


# -- matrices with vectors


def atax(a: Any, x: Any) -> Any:
    return (a @ x) @ a


def bicg(a: Any, p: Any, r: Any) -> Any:
    return r @ a, a @ p


def mvt(a: Any, x1: Any, x2: Any, y1: Any, y2: Any) -> Any:
    return x1 + a @ y1, x2 + y2 @ a


def gesummv(a: Any, b: Any, x: Any) -> Any:
    return 1.5 * a @ x + 1.2 * b @ x


def vector() -> Iterator[Case]:
    for dtype in (np.float64, np.float32):
        for m, n in ((30, 40), (390, 410), (1_900, 2_100), (4_000, 5_000)):
            a, b = normal(m, n, dtype=dtype), normal(m, n, dtype=dtype)
            x, y = normal(n, dtype=dtype), normal(m, dtype=dtype)
            yield f"a @ x, {text(a)}", matmul, (a, x)
            yield f"x @ a, {text(a)}", matmul, (y, a)
            yield f"atax {text(a)}", atax, (a, x)
            yield f"bicg {text(a)}", bicg, (a, x, y)
            yield f"gesummv {text(a)}", gesummv, (a, b, x)
        a, x = normal(1_000, 1_000, dtype=dtype), normal(1_000, dtype=dtype)
        yield f"mvt {text(a)}", mvt, (a, x, x, x, x)
    x = normal(1_000_000)
    yield f"x @ y, {text(x)}", matmul, (x, x)


# -- layers


def mlp(x: Any, w1: Any, b1: Any, w2: Any, b2: Any, w3: Any, b3: Any) -> Any:
    h = np.maximum(x @ w1 + b1, 0)
    h = np.maximum(h @ w2 + b2, 0)
    y = h @ w3 + b3
    e = np.exp(y - np.max(y, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def layers() -> Iterator[Case]:
    for rows, widths in (
        (8, (3, 3_000, 1_000, 1_000)),
        (8, (3, 30_000, 1_000, 1_000)),
        (1, (784, 512, 512, 10)),
        (64, (784, 2_048, 2_048, 10)),
        (512, (512, 512, 512, 512)),
    ):
        args = [normal(rows, widths[0], dtype=np.float32)]
        for m, n in pairwise(widths):
            scale = np.float32(m**-0.5)
            args += [normal(m, n, dtype=np.float32) * scale, normal(n, dtype=np.float32)]
        shown = "-".join(map(str, widths))
        yield f"mlp {shown}, {rows} rows float32", mlp, tuple(args)


# -- sorting


def argsort(x: Any) -> Any:
    return np.argsort(x)


def sort(x: Any) -> Any:
    return np.sort(x)


def sort_columns(x: Any) -> Any:
    return np.sort(x, axis=0)


def stable(x: Any) -> Any:
    return np.argsort(x, kind="stable")


def ranked(x: Any) -> Any:
    return x[np.argsort(-x)] * 2


def sorting() -> Iterator[Case]:
    for dtype in (np.float64, np.float32, np.int64, np.int32):
        for n in (10, 1_000, 100_000, 1_000_000):
            x = (1000 * normal(n)).astype(dtype)
            yield f"np.argsort, {text(x)}", argsort, (x,)
            yield f"np.sort, {text(x)}", sort, (x,)
    x = normal(100_000)
    yield f"np.argsort stable, {text(x)}", stable, (x,)
    yield f"x[np.argsort(-x)] * 2, {text(x)}", ranked, (x,)
    x = normal(1_000, 100)
    yield f"np.argsort, {text(x)}", argsort, (x,)
    yield f"np.sort axis 0, {text(x)}", sort_columns, (x,)


# -- routines of NumPy between kernels


def kalman(f: Any, p: Any, h: Any, r: Any) -> Any:
    p = f @ p @ f.T
    gain = p @ h.T @ np.linalg.inv(h @ p @ h.T + r)
    return p - gain @ h @ p


def regression(x: Any, y: Any) -> Any:
    return np.linalg.solve(x.T @ x + 1e-3 * np.eye(x.shape[1]), x.T @ y)


def filtered(x: Any) -> Any:
    return np.fft.irfft(np.fft.rfft(x) * 0.5, n=len(x))


def library() -> Iterator[Case]:
    for n in (2, 10, 100):
        a = normal(n, n) + n * np.eye(n)
        yield f"inv {text(a)}", lambda a: np.linalg.inv(a), (a,)
        yield f"solve {text(a)}", lambda a, b: np.linalg.solve(a, b), (a, normal(n))
        yield f"det {text(a)}", lambda a: np.linalg.det(a), (a,)
        yield f"2 * inv + 1 {text(a)}", lambda a: 2 * np.linalg.inv(a) + 1, (a,)
        yield f"eigh {text(a)}", lambda a: np.linalg.eigh(a + a.T)[0], (a,)
        yield f"svd {text(a)}", lambda a: np.linalg.svd(a)[1], (a,)
    a = normal(100, 3, 3) + 3 * np.eye(3)
    yield f"inv {text(a)}", lambda a: np.linalg.inv(a), (a,)
    f, h = np.eye(4) + 0.1 * normal(4, 4), normal(2, 4)
    yield "Kalman step, 4 states", kalman, (f, np.eye(4), h, np.eye(2))
    yield "ridge regression, 100×5", regression, (normal(100, 5), normal(100))
    for n in (64, 100_000):
        x = normal(n)
        yield f"filter by rfft, {text(x)}", filtered, (x,)


# -- arguments and calls


@dataclass
class State:
    """A dataclass argument."""

    position: Any
    speed: Any
    step: float = 0.1


class Pair(NamedTuple):
    """A named tuple as argument."""

    position: Any
    speed: Any


def advance(state: State) -> Any:
    return state.position + state.step * state.speed


def advance_state(state: State) -> State:
    return State(state.position + state.step * state.speed, state.speed, state.step)


def advance_pair(pair: Pair) -> Any:
    return pair.position + 0.1 * pair.speed


def advance_dict(state: dict[str, Any]) -> Any:
    return state["position"] + 0.1 * state["speed"]


def arguments() -> Iterator[Case]:
    for n in (4, 1_000):
        x, v = normal(n), normal(n)
        yield f"dataclass, {n}", advance, (State(x, v),)
        yield f"dataclass in and out, {n}", advance_state, (State(x, v),)
        yield f"namedtuple, {n}", advance_pair, (Pair(x, v),)
        yield f"dict, {n}", advance_dict, ({"position": x, "speed": v},)
        yield f"array, {n}", lambda x: x * 2 + 1, (x,)
        yield f"array and float, {n}", lambda x, f: x * f + 1, (x, 0.5)


# -- what runs eagerly


def positive(x: Any) -> Any:
    return x[x > 0]


def positive_of(state: dict[str, Any]) -> Any:
    return state["x"][state["y"] > 0]


def scalar_of(x: Any) -> float:
    return float(x[0])


def eager() -> Iterator[Case]:
    x = normal(4)
    yield "float(x[0])", scalar_of, (x,)
    yield "x[x > 0]", positive, (x,)
    yield "x[x > 0] with a keyword", lambda x, flag=None: x[x > 0], (x,)
    yield "mask, dict of 2", positive_of, ({"x": x, "y": x},)
    wide = {"x": x, "y": x, **{f"p{k}": normal(3) for k in range(18)}}
    yield "mask, dict of 20", positive_of, (wide,)
    yield "mask, dataclass", lambda s: s.position[s.speed > 0], (State(x, x),)


# -- objects made anew for each call


class Model:
    """What has a method that reads it."""

    def __init__(self, weights: Any, rate: float) -> None:
        self.weights = weights
        self.rate = rate

    def step(self, x: Any) -> Any:
        """The state after a step."""
        return x * self.rate + self.weights


class CompiledModel(Model):
    """The same, its method decorated."""

    step = gj.function(Model.step)


WEIGHTS = normal(4)


def new_model(kind: Any) -> Callable[..., Any]:
    return lambda x: kind(WEIGHTS, 0.5).step(x)


def draw(x: Any, rng: Any) -> Any:
    return x + rng.normal(size=4)


def fresh() -> Iterator[tuple[Any, ...]]:
    x = normal(4)
    yield "method of a new object", new_model(Model), (x,), new_model(CompiledModel)
    bits, drawn = np.random.PCG64(1), gj.function(draw)

    def with_new(function: Any) -> Callable[..., Any]:
        return lambda x: function(x, np.random.Generator(bits))

    def once(x: Any) -> Any:
        return drawn(x, np.random.Generator(np.random.PCG64(1)))

    np.testing.assert_array_equal(once(x), draw(x, np.random.Generator(np.random.PCG64(1))))
    yield "a new Generator", with_new(draw), (x,), with_new(drawn)


GROUPS: dict[str, Callable[[], Iterator[Any]]] = {
    f.__name__: f for f in (skinny, vector, layers, sorting, library, arguments, eager, fresh)
}


def same(name: str, got: Any, want: Any) -> bool:
    """Whether a decorated call gave what NumPy gives."""
    if "Generator" in name:  # both advance the same one
        return True
    if hasattr(want, "position") and not isinstance(want, tuple):
        got, want = (got.position, got.speed), (want.position, want.speed)
    pairs = zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]
    for one, other in pairs:
        one, other = np.asarray(one), np.asarray(other)
        if one.dtype != other.dtype or one.shape != other.shape:
            return False
        precision = 1e-4 if one.dtype == np.float32 else 1e-10
        precision *= one.dtype.kind == "f"
        scale = np.abs(other).max(initial=0)
        if not np.allclose(one, other, rtol=precision, atol=precision * scale):
            return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write all times to this file")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--busy", action="store_true", help="time of the processor alone")
    parser.add_argument("--cases", default="", help="groups or cases whose name holds this")
    args = parser.parse_args()
    warnings.simplefilter("ignore", gj.FallbackWarning)
    gj.config.native_after = 0
    gj.config.recompile_warning = 0
    clock = time.process_time if args.busy else time.perf_counter
    other = measure.OtherWork()
    found: dict[str, dict[str, list[float]]] = {}
    lines, wrong = [], []
    for group, cases in GROUPS.items():
        for name, plain, values, *made in cases():
            if args.cases not in group and args.cases not in name:
                continue
            measure.progress(f"{group}: {name}")
            decorated = made[0] if made else gj.function(plain)
            if not same(name, decorated(*values), plain(*values)):
                wrong.append(name)
            calls = {
                "numpy": measure.Statement(plain, *values, clock=clock),
                "graphjit": measure.Statement(decorated, *values, clock=clock),
            }
            times = measure.interleaved(calls, args.rounds, sample_s=0.005)
            found[f"{group}: {name}"] = times
            middle = {n: statistics.median(t) for n, t in times.items()}
            lines.append(
                [
                    group,
                    name,
                    measure.digits(middle["numpy"] / 1e3),
                    measure.digits(middle["graphjit"] / 1e3),
                    f"{measure.ratio(times['graphjit'], times['numpy']):.2f}",
                    f"{min(times['graphjit']) / min(times['numpy']):.2f}",
                    f"{middle['graphjit'] - middle['numpy']:,.0f}",
                ]
            )
    print(measure.machine(), "\n")
    print(measure.other_work_text(other.cores()), "\n")
    head = ["group", "case", "numpy µs", "graphjit µs", "/numpy", "fastest rounds", "more ns"]
    print(measure.table(head, lines))
    for name in wrong:
        print(f"not NumPy's result: {name}")
    if args.json:
        kept = {"machine": measure.machine(), "ns": found}
        args.json.write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
