"""Asks whether graphjit is slower than NumPy anywhere, and how far it is from the best peer.

    python benchmarks/compare.py [--json FILE] [--workloads chain,gelu] [--sizes small,large]
                                 [--peers numpy,jax] [--rounds 15]

Runs six workloads in float32 at three sizes beside every installed peer: NumPy, numexpr,
numba (hand-written loops, once with prange and once on one thread; fastmath) and JAX (jit,
arguments and results as JAX arrays, block_until_ready). graphjit gets the same Python
function that NumPy runs, ndarrays in and out. Every result is first compared with NumPy's in
float64. Then the calls are timed in rounds, in an order that rotates; a table gives medians
[µs] with their spread, graphjit over the best peer and over NumPy (medians of the ratios of
each round; `least`: fastest round over fastest round, which other work on the machine disturbs
least), and the bandwidth of graphjit [GB/s], counted as each input read once and each
output written once, beside that of a plain copy of as many bytes between mapped arrays.
Matrix products move few bytes and get GFLOP/s instead. First calls (trace and compile) are in
a table of their own. A workload that graphjit can't trace ends the run with status 1.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import measure
import numpy as np
import scipy.special

# Compiled code of earlier runs would hide what a first call costs.
os.environ["GRAPHJIT_CACHE_DIR"] = tempfile.mkdtemp(prefix="graphjit-benchmark-")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# numba's threads spin by default; on a machine with other work each then costs a time slice
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import graphjit as gj

Array = np.ndarray[Any, Any]
Function = Callable[..., Any]

PEERS = ("numpy", "numexpr", "numba", "numba-1", "jax")
SIZES = ("small", "middle", "large")


def chain(x: Array) -> Array:
    return 1.5 * x * x + 0.5 * x + 2


def black_scholes(
    price: Array, strike: Array, years: Array, rate: float, sigma: float
) -> tuple[Array, Array]:
    deviation = sigma * np.sqrt(years)
    d1 = (np.log(price / strike) + (rate + 0.5 * sigma * sigma) * years) / deviation
    d2 = d1 - deviation
    n1 = 0.5 + 0.5 * scipy.special.erf(d1 * math.sqrt(0.5))
    n2 = 0.5 + 0.5 * scipy.special.erf(d2 * math.sqrt(0.5))
    discounted = strike * np.exp(-rate * years)
    return price * n1 - discounted * n2, discounted * (1 - n2) - price * (1 - n1)


def gelu(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def softmax(x: Array) -> Array:
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def layer_norm(x: Array, scale: Array, shift: Array) -> Array:
    mean = np.mean(x, axis=-1, keepdims=True)
    variance = np.var(x, axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * scale + shift


def mlp(x: Array, w1: Array, b1: Array, w2: Array, b2: Array, w3: Array, b3: Array) -> Array:
    h = np.maximum(x @ w1 + b1, 0)
    h = np.maximum(h @ w2 + b2, 0)
    y = h @ w3 + b3
    e = np.exp(y - np.max(y, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def numexpr_functions() -> dict[str, Function]:
    """The workloads in numexpr, which has no axes and one output: NumPy does the reductions."""
    import numexpr

    def compiled(text: str, *names: str) -> Function:
        # `float` is numexpr's name for float32; constants as arguments keep it so
        return numexpr.NumExpr(text, [(name, float) for name in names])

    f32 = np.float32
    poly = compiled("a*x*x + b*x + c", "a", "b", "c", "x")
    half, one, cubic, root = f32(0.5), f32(1), f32(0.044715), f32(math.sqrt(2 / math.pi))
    gelu_form = compiled(
        "half*x*(one + tanh(root*(x + cubic*x*x*x)))", "half", "one", "root", "cubic", "x"
    )
    exp_less = compiled("exp(x - m)", "x", "m")
    over = compiled("e / s", "e", "s")
    normed = compiled("(x - m) / sqrt(v + eps) * g + b", "x", "m", "v", "eps", "g", "b")
    distance = compiled("(log(p / k) + drift * t) / (s * sqrt(t))", "p", "k", "t", "drift", "s")
    # numexpr has no erf: Abramowitz and Stegun 26.2.17 for the normal distribution
    names = ("one", "q", "a1", "a2", "a3", "a4", "a5")
    values = (1, 1 / math.sqrt(2 * math.pi))
    values += (0.319381530, -0.356563782, 1.781477937, -1.821255978, 1.330274429)
    cdf_args = tuple(map(f32, values))
    tail = "q * exp(-half*d*d) * (w*(a1 + w*(a2 + w*(a3 + w*(a4 + w*a5)))))"
    inverse = compiled("one / (one + c * abs(d))", "one", "c", "d")
    cdf_form = compiled(
        f"where(d >= zero, one - {tail}, {tail})", *names, "half", "zero", "d", "w"
    )
    shifted = compiled("d - s * sqrt(t)", "d", "s", "t")
    present = compiled("k * exp(-r * t)", "k", "r", "t")
    call_form = compiled("p * n1 - k * n2", "p", "n1", "k", "n2")
    put_form = compiled("c - p + k", "c", "p", "k")

    def cdf(d: Array) -> Array:
        return cdf_form(*cdf_args, half, f32(0), d, inverse(one, f32(0.2316419), d))

    def black_scholes_parts(
        price: Array, strike: Array, years: Array, rate: float, sigma: float
    ) -> tuple[Array, Array]:
        drift, s = f32(rate + 0.5 * sigma * sigma), f32(sigma)
        d1 = distance(price, strike, years, drift, s)
        n1, n2 = cdf(d1), cdf(shifted(d1, s, years))
        discounted = present(strike, f32(rate), years)
        call = call_form(price, n1, discounted, n2)
        return call, put_form(call, price, discounted)

    def softmax_parts(x: Array) -> Array:
        e = exp_less(x, x.max(axis=-1, keepdims=True))
        return over(e, e.sum(axis=-1, keepdims=True))

    def layer_norm_parts(x: Array, scale: Array, shift: Array) -> Array:
        m, v = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
        return normed(x, m, v, f32(1e-5), scale, shift)

    return {
        "chain": lambda x: poly(f32(1.5), half, f32(2), x),
        "gelu": lambda x: gelu_form(half, one, root, cubic, x),
        "black_scholes": black_scholes_parts,
        "softmax": softmax_parts,
        "layer_norm": layer_norm_parts,
    }


def numba_functions(parallel: bool) -> dict[str, Function]:
    """The workloads as loops written by hand, over all threads or on one."""
    import numba

    prange = numba.prange  # a range where parallel is off
    jit = numba.njit(parallel=parallel, fastmath=True, error_model="numpy")
    f32 = np.float32

    @jit
    def chain_loop(x):
        out = np.empty_like(x)
        for i in prange(x.size):
            out[i] = f32(1.5) * x[i] * x[i] + f32(0.5) * x[i] + f32(2)
        return out

    root, cubic = f32(math.sqrt(2 / math.pi)), f32(0.044715)

    @jit
    def gelu_loop(x):
        out = np.empty_like(x)
        for i in prange(x.size):
            v = x[i]
            out[i] = f32(0.5) * v * (f32(1) + math.tanh(root * (v + cubic * v * v * v)))
        return out

    root_half, half, one = f32(math.sqrt(0.5)), f32(0.5), f32(1)

    @jit
    def black_scholes_loop(price, strike, years, rate, sigma):
        call, put = np.empty_like(price), np.empty_like(price)
        r, s = f32(rate), f32(sigma)
        for i in prange(price.size):
            p, k, t = price[i], strike[i], years[i]
            deviation = s * math.sqrt(t)
            d1 = (math.log(p / k) + (r + half * s * s) * t) / deviation
            d2 = d1 - deviation
            n1 = half + half * math.erf(d1 * root_half)
            n2 = half + half * math.erf(d2 * root_half)
            discounted = k * math.exp(-r * t)
            call[i] = p * n1 - discounted * n2
            put[i] = discounted * (one - n2) - p * (one - n1)
        return call, put

    @jit
    def softmax_loop(x):
        rows, columns = x.shape
        out = np.empty_like(x)
        for i in prange(rows):
            largest = x[i, 0]
            for j in range(columns):
                largest = max(largest, x[i, j])
            total = f32(0)
            for j in range(columns):
                e = math.exp(x[i, j] - largest)
                out[i, j] = e
                total += e
            factor = one / total
            for j in range(columns):
                out[i, j] *= factor
        return out

    @jit
    def layer_norm_loop(x, scale, shift):
        rows, columns = x.shape
        out = np.empty_like(x)
        for i in prange(rows):
            total = f32(0)
            for j in range(columns):
                total += x[i, j]
            mean = total / f32(columns)
            squares = f32(0)
            for j in range(columns):
                squares += (x[i, j] - mean) * (x[i, j] - mean)
            factor = one / math.sqrt(squares / f32(columns) + f32(1e-5))
            for j in range(columns):
                out[i, j] = (x[i, j] - mean) * factor * scale[j] + shift[j]
        return out

    @jit
    def mlp_loop(x, w1, b1, w2, b2, w3, b3):
        h = np.dot(x, w1)
        for i in prange(h.shape[0]):
            for j in range(h.shape[1]):
                h[i, j] = max(h[i, j] + b1[j], f32(0))
        g = np.dot(h, w2)
        for i in prange(g.shape[0]):
            for j in range(g.shape[1]):
                g[i, j] = max(g[i, j] + b2[j], f32(0))
        y = np.dot(g, w3)
        for i in range(y.shape[0]):
            largest = f32(-np.inf)
            for j in range(y.shape[1]):
                y[i, j] += b3[j]
                largest = max(largest, y[i, j])
            total = f32(0)
            for j in range(y.shape[1]):
                y[i, j] = math.exp(y[i, j] - largest)
                total += y[i, j]
            for j in range(y.shape[1]):
                y[i, j] /= total
        return y

    return {
        "chain": chain_loop,
        "black_scholes": black_scholes_loop,
        "gelu": gelu_loop,
        "softmax": softmax_loop,
        "layer_norm": layer_norm_loop,
        "mlp": mlp_loop,
    }


def jax_functions() -> dict[str, Function]:
    """The workloads compiled by XLA; a call waits for its result."""
    import jax
    import jax.numpy as jnp

    def black_scholes_jax(
        price: Any, strike: Any, years: Any, rate: float, sigma: float
    ) -> Any:
        deviation = sigma * jnp.sqrt(years)
        d1 = (jnp.log(price / strike) + (rate + 0.5 * sigma * sigma) * years) / deviation
        d2 = d1 - deviation
        n1 = 0.5 + 0.5 * jax.scipy.special.erf(d1 * math.sqrt(0.5))
        n2 = 0.5 + 0.5 * jax.scipy.special.erf(d2 * math.sqrt(0.5))
        discounted = strike * jnp.exp(-rate * years)
        return price * n1 - discounted * n2, discounted * (1 - n2) - price * (1 - n1)

    def gelu_jax(x: Any) -> Any:
        return 0.5 * x * (1 + jnp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))

    def softmax_jax(x: Any) -> Any:
        e = jnp.exp(x - jnp.max(x, axis=-1, keepdims=True))
        return e / jnp.sum(e, axis=-1, keepdims=True)

    def layer_norm_jax(x: Any, scale: Any, shift: Any) -> Any:
        mean = jnp.mean(x, axis=-1, keepdims=True)
        variance = jnp.var(x, axis=-1, keepdims=True)
        return (x - mean) / jnp.sqrt(variance + 1e-5) * scale + shift

    def mlp_jax(x: Any, w1: Any, b1: Any, w2: Any, b2: Any, w3: Any, b3: Any) -> Any:
        h = jnp.maximum(x @ w1 + b1, 0)
        return softmax_jax(jnp.maximum(h @ w2 + b2, 0) @ w3 + b3)

    def waiting(function: Function) -> Function:
        compiled = jax.jit(function)
        return lambda *args: jax.block_until_ready(compiled(*args))

    functions = (chain, black_scholes_jax, gelu_jax, softmax_jax, layer_norm_jax, mlp_jax)
    return {f.__name__.removesuffix("_jax"): waiting(f) for f in functions}


def uniform(rng: np.random.Generator, *shape: int) -> Array:
    return rng.uniform(-3, 3, shape).astype(np.float32)


def options(rng: np.random.Generator, size: tuple[int, ...]) -> list[Any]:
    arrays = [rng.uniform(low, high, size) for low, high in ((50, 150), (50, 150), (0.1, 2))]
    return [*(a.astype(np.float32) for a in arrays), 0.03, 0.2]


def one_array(rng: np.random.Generator, size: tuple[int, ...]) -> list[Array]:
    return [uniform(rng, *size)]


def rows_and_scale(rng: np.random.Generator, size: tuple[int, ...]) -> list[Array]:
    return [uniform(rng, *size), uniform(rng, size[1]), uniform(rng, size[1])]


def layers(rng: np.random.Generator, size: tuple[int, ...]) -> list[Array]:
    args = [uniform(rng, size[0], 784)]
    for m, n in ((784, 512), (512, 512), (512, 10)):
        args += [uniform(rng, m, n) / np.float32(math.sqrt(m)), uniform(rng, n)]
    return args


@dataclass(frozen=True)
class Workload:
    """A NumPy function, how its arguments are made, and the three sizes.

    flops: operations for each unit of size, where arithmetic and not memory is the limit.
    """

    function: Function
    arguments: Callable[[np.random.Generator, tuple[int, ...]], list[Any]]
    sizes: tuple[tuple[int, ...], ...]
    flops: int = 0

    @property
    def name(self) -> str:
        """The name of the NumPy function."""
        return self.function.__name__


COUNTS = ((1_000,), (100_000,), (10_000_000,))
ROWS = ((4, 256), (128, 1024), (4096, 1024))
WORKLOADS = (
    Workload(chain, one_array, COUNTS),
    Workload(black_scholes, options, COUNTS),
    Workload(gelu, one_array, COUNTS),
    Workload(softmax, one_array, ROWS),
    Workload(layer_norm, rows_and_scale, ROWS),
    Workload(mlp, layers, ((1,), (16,), (256,)), 2 * (784 * 512 + 512 * 512 + 512 * 10)),
)


@dataclass
class Result:
    """Times of one workload at one size: per call by round [ns], and of the first call [s]."""

    workload: str
    size: str
    times_ns: dict[str, list[float]] = field(default_factory=dict)
    first_s: dict[str, float] = field(default_factory=dict)
    traffic_bytes: int = 0
    flops: int = 0
    copy_s: float = 0.0

    def median(self, name: str) -> float:
        """The middle time per call [ns]."""
        return statistics.median(self.times_ns[name])

    @property
    def best(self) -> str:
        """The fastest peer."""
        return min((n for n in self.times_ns if n != "graphjit"), key=self.median)

    def least_over(self, peer: str) -> float:
        """The fastest round of graphjit as a part of a peer's fastest."""
        return min(self.times_ns["graphjit"]) / min(self.times_ns[peer])

    def over(self, peer: str) -> float:
        """The time of graphjit as a part of a peer's."""
        return measure.ratio(self.times_ns["graphjit"], self.times_ns[peer])


def arrays_of(value: Any) -> list[Array]:
    return [np.asarray(v) for v in (value if isinstance(value, tuple) else (value,))]


def check(name: str, function: Function, args: Sequence[Any], expected: list[Array]) -> None:
    """Compare a result with NumPy's in float64; float32 of about the same size is asked for."""
    found = arrays_of(function(*args))
    for have, want in zip(found, expected, strict=True):
        if have.dtype != np.float32:
            raise AssertionError(f"{name} gives {have.dtype}")
        scale = float(np.abs(want).max())
        np.testing.assert_allclose(have, want, rtol=2e-4, atol=1e-5 * scale, err_msg=name)


def installed(names: Sequence[str]) -> dict[str, dict[str, Function]]:
    """The functions of every peer that can be imported."""
    makers: dict[str, Callable[[], dict[str, Function]]] = {
        "numpy": lambda: {w.name: w.function for w in WORKLOADS},
        "numexpr": numexpr_functions,
        "numba": lambda: numba_functions(True),
        "numba-1": lambda: numba_functions(False),
        "jax": jax_functions,
    }
    found = {}
    for name in names:
        try:
            found[name] = makers[name]()
        except ImportError:
            measure.progress(f"{name} is not installed")
    return found


def run(
    workload: Workload,
    number: int,
    peers: dict[str, dict[str, Function]],
    copies: measure.Copies,
    rounds: int,
) -> Result:
    """Check and time one workload at one size."""
    size = workload.sizes[number]
    args = workload.arguments(np.random.default_rng(7), size)
    wide = [a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in args]
    expected = arrays_of(workload.function(*wide))
    function = gj.function(workload.function, fallback="error")
    started = time.perf_counter()
    function(*args)
    first = time.perf_counter() - started
    result = Result(workload.name, "×".join(f"{n:,}" for n in size))
    result.first_s["graphjit"] = first
    calls: dict[str, measure.Call] = {"graphjit": lambda: function(*args)}
    check("graphjit", function, args, expected)
    for name, functions in peers.items():
        peer = functions.get(workload.name)
        if peer is None:
            continue
        given = args
        if name == "jax":
            import jax

            given = [jax.device_put(a) if isinstance(a, np.ndarray) else a for a in args]
        started = time.perf_counter()
        peer(*given)
        result.first_s[name] = time.perf_counter() - started
        check(name, peer, given, expected)
        calls[name] = lambda peer=peer, given=given: peer(*given)
    moved = [a for a in args if isinstance(a, np.ndarray)]
    result.traffic_bytes = sum(a.nbytes for a in moved) + sum(e.nbytes // 2 for e in expected)
    result.flops = workload.flops * size[0]
    result.copy_s = copies.seconds(result.traffic_bytes)
    result.times_ns = measure.interleaved(calls, rounds, rest_s=0.02)
    return result


def times_table(results: Sequence[Result], peers: Sequence[str]) -> str:
    names = ["graphjit", *peers]
    head = ["workload", "size", *(f"{n} µs" for n in names), "best peer", "/best", "/numpy"]
    head += ["least /best", "least /numpy", "rate", "copy"]
    lines = []
    for r in results:
        cells = [r.workload, r.size]
        for name in names:
            if name not in r.times_ns:
                cells.append("–")
                continue
            part = measure.spread(r.times_ns[name])
            cells.append(f"{measure.digits(r.median(name) / 1e3)} ±{part:.0%}")
        cells += [r.best, f"{r.over(r.best):.2f}"]
        cells.append(f"{r.over('numpy'):.2f}" if "numpy" in r.times_ns else "–")
        cells.append(f"{max(r.least_over(n) for n in peers if n in r.times_ns):.2f}")
        cells.append(f"{r.least_over('numpy'):.2f}" if "numpy" in r.times_ns else "–")
        once_ns = r.median("graphjit")
        if r.flops:
            cells += [f"{measure.digits(r.flops / once_ns)} GFLOP/s", "–"]
        else:
            cells.append(f"{measure.digits(r.traffic_bytes / once_ns)} GB/s")
            cells.append(f"{measure.digits(r.traffic_bytes / r.copy_s / 1e9)} GB/s")
        lines.append(cells)
    return measure.table(head, lines)


def first_table(results: Sequence[Result], peers: Sequence[str]) -> str:
    names = ["graphjit", *peers]
    lines = []
    for r in results:
        cells = [f"{r.first_s[n] * 1e3:.1f}" if n in r.first_s else "–" for n in names]
        lines.append([r.workload, r.size, *cells])
    return measure.table(["workload", "size", *(f"{n} ms" for n in names)], lines)


def answer(results: Sequence[Result]) -> str:
    """The two questions of this file, answered in words."""
    slower = [r for r in results if "numpy" in r.times_ns and r.over("numpy") > 1.0]
    far = [r for r in results if r.over(r.best) > 1.5]
    every = math.exp(statistics.mean(math.log(r.over(r.best)) for r in results))

    def listed(found: Sequence[Result], peer: Callable[[Result], str]) -> str:
        names = [
            f"{r.workload} {r.size} ({r.over(peer(r)):.2f} {peer(r)}, "
            f"fastest rounds {r.least_over(peer(r)):.2f})"
            for r in found
        ]
        return ", ".join(names) or "nowhere"

    return (
        f"slower than NumPy: {listed(slower, lambda r: 'numpy')}\n"
        f"above 1.5 of the best peer: {listed(far, lambda r: r.best)}\n"
        f"over the best peer, geometric mean: {every:.2f}"
    )


def as_json(results: Sequence[Result], floor_gb: float) -> str:
    return json.dumps(
        {
            "machine": measure.machine(),
            "date": time.strftime("%Y-%m-%d"),
            "copy_gb_per_s": floor_gb,
            "results": [vars(r) for r in results],
        },
        indent=1,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write all times to this file")
    parser.add_argument("--workloads", default=",".join(w.name for w in WORKLOADS))
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    chosen = [w for w in WORKLOADS if w.name in args.workloads.split(",")]
    sizes = [SIZES.index(name) for name in args.sizes.split(",")]
    peers = installed(args.peers.split(","))
    copies = measure.Copies()
    # a first call of anything loads compilers, which is no workload's cost
    tiny = np.ones(3, np.float32)
    for function in [gj.function(chain), *(f["chain"] for f in peers.values())]:
        function(tiny)
    floor_gb = 80e6 / copies.seconds(80_000_000) / 1e9
    results, failed = [], []
    for workload in chosen:
        for number in sizes:
            measure.progress(f"{workload.name} {SIZES[number]}")
            try:
                results.append(run(workload, number, peers, copies, args.rounds))
            except gj.errors.TracingError as error:
                failed.append(f"{workload.name}: {error}")
                break
    print(measure.machine())
    print(f"copy bandwidth: {floor_gb:.1f} GB/s (80 MB read and written)\n")
    if results:
        print(times_table(results, list(peers)), "\n")
        print("First call:\n")
        print(first_table(results, list(peers)), "\n")
        print(answer(results))
    if args.json:
        args.json.write_text(as_json(results, floor_gb))
    if failed:
        sys.exit("graphjit can't trace:\n" + "\n".join(failed))


if __name__ == "__main__":
    main()
