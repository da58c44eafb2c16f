"""The workloads: plain NumPy functions, their arguments, three sizes each and their least work.

To add one: write the NumPy function, add a line to `WORKLOADS`, and write it in those files of
`peers/` that should run it (JAX runs the NumPy function). All is float32; `reference` gives
what NumPy computes in float64, the measure of every result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special

Array = np.ndarray[Any, Any]
Function = Callable[..., Any]
Size = tuple[int, ...]

SIZES = ("small", "middle", "large")

# Operations of one exp, log, tanh or erf, from below: a polynomial of degree 5 as fused
# multiply-adds; with fewer terms none of them has the precision of float32.
ELEMENTARY = 10


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


# Scales, shifts and offsets of sixty_ops: below 1, so that errors don't grow from step to step.
STEPS = tuple((0.98 - 0.01 * n, 0.05 * n - 0.3, 0.7 + 0.03 * n) for n in range(10))


def sixty_ops(x: Array) -> Array:
    for scale, shift, offset in STEPS:
        x = np.abs(x * scale + shift) - offset
        x = np.minimum(np.maximum(x, -1.75), 1.75)
    return x


def softmax(x: Array) -> Array:
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def layer_norm(x: Array, scale: Array, shift: Array) -> Array:
    mean = np.mean(x, axis=-1, keepdims=True)
    variance = np.var(x, axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * scale + shift


def logsumexp(x: Array) -> Array:
    largest = np.max(x, axis=-1, keepdims=True)
    return np.log(np.sum(np.exp(x - largest), axis=-1)) + largest[..., 0]


def standardize(x: Array) -> Array:
    return (x - np.mean(x, axis=0)) / np.std(x, axis=0)


def nearest(a: Array, b: Array) -> Array:
    apart = a[:, None, :] - b[None, :, :]
    return np.min(np.sum(apart * apart, axis=-1), axis=1)


def stencil(x: Array) -> Array:
    around = x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:]
    return 0.25 * around - x[1:-1, 1:-1]


def transpose_add(x: Array, y: Array) -> Array:
    return x.T + y


def mlp(x: Array, w1: Array, b1: Array, w2: Array, b2: Array, w3: Array, b3: Array) -> Array:
    h = np.maximum(x @ w1 + b1, 0)
    h = np.maximum(h @ w2 + b2, 0)
    y = h @ w3 + b3
    e = np.exp(y - np.max(y, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def attention(q: Array, k: Array, v: Array) -> Array:
    scores = q @ np.swapaxes(k, -1, -2) / 8.0
    e = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True) @ v


def uniform(rng: np.random.Generator, *shape: int) -> Array:
    return rng.uniform(-3, 3, shape).astype(np.float32)


def one_array(rng: np.random.Generator, size: Size) -> list[Any]:
    return [uniform(rng, *size)]


def options(rng: np.random.Generator, size: Size) -> list[Any]:
    arrays = [rng.uniform(low, high, size) for low, high in ((50, 150), (50, 150), (0.1, 2))]
    return [*(a.astype(np.float32) for a in arrays), 0.03, 0.2]


def rows_and_scale(rng: np.random.Generator, size: Size) -> list[Any]:
    return [uniform(rng, *size), uniform(rng, size[1]), uniform(rng, size[1])]


def two_clouds(rng: np.random.Generator, size: Size) -> list[Any]:
    return [uniform(rng, size[0], 3), uniform(rng, size[1], 3)]


def two_matrices(rng: np.random.Generator, size: Size) -> list[Any]:
    return [uniform(rng, *size), uniform(rng, *size[::-1])]


def layers(rng: np.random.Generator, size: Size) -> list[Any]:
    args = [uniform(rng, size[0], 784)]
    for m, n in ((784, 512), (512, 512), (512, 10)):
        args += [uniform(rng, m, n) / np.float32(math.sqrt(m)), uniform(rng, n)]
    return args


def heads(rng: np.random.Generator, size: Size) -> list[Any]:
    return [uniform(rng, *size) for _ in range(3)]


@dataclass(frozen=True)
class Workload:
    """A NumPy function, how its arguments are made, and the three sizes.

    flops: operations that no implementation can leave out, from the size.
    targets: the most that graphjit may take of the best peer's time, by size.
    """

    function: Function
    arguments: Callable[[np.random.Generator, Size], list[Any]]
    sizes: tuple[Size, Size, Size]
    flops: Callable[..., int]
    targets: tuple[float, float, float] = (1.0, 1.0, 0.8)

    @property
    def name(self) -> str:
        """The name of the NumPy function."""
        return self.function.__name__

    def inputs(self, number: int) -> list[Any]:
        """The same float32 arrays in every process."""
        return self.arguments(np.random.default_rng(7), self.sizes[number])

    def reference(self, number: int) -> list[Array]:
        """The results of NumPy in float64."""
        args = self.inputs(number)
        wide = [a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in args]
        return results_of(self.function(*wide))


def results_of(value: Any) -> list[Any]:
    """The results of a call: one, or those of a tuple."""
    return list(value) if isinstance(value, tuple | list) else [value]


def size_text(size: Size) -> str:
    """A size as in `10,000×1,000`."""
    return "×".join(f"{n:,}" for n in size)


COUNTS = ((1_000,), (100_000,), (10_000_000,))
ROWS = ((4, 256), (128, 1024), (4096, 1024))
SQUARES = ((32, 32), (316, 316), (3162, 3162))
WORKLOADS = {
    w.name: w
    for w in (
        Workload(chain, one_array, COUNTS, lambda n: 5 * n),
        Workload(black_scholes, options, COUNTS, lambda n: n * (4 * ELEMENTARY + 20)),
        Workload(gelu, one_array, COUNTS, lambda n: n * (ELEMENTARY + 8)),
        Workload(sixty_ops, one_array, COUNTS, lambda n: 60 * n),
        Workload(softmax, one_array, ROWS, lambda m, n: m * n * (ELEMENTARY + 4)),
        Workload(layer_norm, rows_and_scale, ROWS, lambda m, n: 8 * m * n),
        Workload(logsumexp, one_array, ROWS, lambda m, n: m * n * (ELEMENTARY + 3)),
        Workload(
            standardize,
            one_array,
            ((32, 32), (316, 316), (10_000, 1_000)),
            lambda m, n: 6 * m * n,
        ),
        Workload(
            nearest, two_clouds, ((30, 30), (300, 300), (3_000, 3_000)), lambda m, n: 9 * m * n
        ),
        Workload(
            stencil, one_array, ((32, 32), (256, 256), (3162, 3162)), lambda m, n: 5 * m * n
        ),
        Workload(transpose_add, two_matrices, SQUARES, lambda m, n: m * n),
        Workload(
            mlp,
            layers,
            ((1,), (16,), (256,)),
            lambda n: 2 * n * (784 * 512 + 512 * 512 + 512 * 10),
            targets=(1.0, 1.0, 1.0),
        ),
        Workload(
            attention,
            heads,
            ((1, 16, 64), (8, 128, 64), (8, 512, 64)),
            lambda h, n, d: h * n * n * (4 * d + ELEMENTARY + 4),
        ),
    )
}
