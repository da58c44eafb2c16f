"""numba: loops written by hand, over all threads or on one, with fastmath.

Matrix products are np.dot, which numba hands to SciPy's BLAS.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from workloads import STEPS

from peers import Peer

f32 = np.float32
HALF, ONE = f32(0.5), f32(1)
ROOT_HALF = f32(math.sqrt(0.5))
ROOT, CUBIC = f32(math.sqrt(2 / math.pi)), f32(0.044715)
LOW, HIGH = f32(-1.75), f32(1.75)
TILE = 32  # a square of the transpose: 32 lines of 64 bytes are read again for each column


def _sixty_source() -> str:
    """The body of one element's ten steps: constants in a table would be loaded each time."""
    lines = ["def sixty_ops(x):", "    out = np.empty_like(x)", "    for i in prange(x.size):"]
    lines.append("        v = x[i]")
    for scale, shift, offset in STEPS:
        lines.append(f"        v = abs(v * f32({scale}) + f32({shift})) - f32({offset})")
        lines.append("        v = min(max(v, LOW), HIGH)")
    lines += ["        out[i] = v", "    return out"]
    return "\n".join(lines)


def peer(parallel: bool) -> Peer:
    """ndarrays in and out."""
    prange = numba.prange  # a range where parallel is off
    jit = numba.njit(parallel=parallel, fastmath=True, error_model="numpy")

    def chain(x):
        out = np.empty_like(x)
        for i in prange(x.size):
            out[i] = f32(1.5) * x[i] * x[i] + f32(0.5) * x[i] + f32(2)
        return out

    def gelu(x):
        out = np.empty_like(x)
        for i in prange(x.size):
            v = x[i]
            out[i] = HALF * v * (ONE + math.tanh(ROOT * (v + CUBIC * v * v * v)))
        return out

    def black_scholes(price, strike, years, rate, sigma):
        call, put = np.empty_like(price), np.empty_like(price)
        r, s = f32(rate), f32(sigma)
        for i in prange(price.size):
            p, k, t = price[i], strike[i], years[i]
            deviation = s * math.sqrt(t)
            d1 = (math.log(p / k) + (r + HALF * s * s) * t) / deviation
            d2 = d1 - deviation
            n1 = HALF + HALF * math.erf(d1 * ROOT_HALF)
            n2 = HALF + HALF * math.erf(d2 * ROOT_HALF)
            discounted = k * math.exp(-r * t)
            call[i] = p * n1 - discounted * n2
            put[i] = discounted * (ONE - n2) - p * (ONE - n1)
        return call, put

    namespace: dict[str, Any] = {"np": np, "prange": prange, "f32": f32}
    namespace.update(LOW=LOW, HIGH=HIGH)
    exec(_sixty_source(), namespace)

    def softmax(x):
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
            factor = ONE / total
            for j in range(columns):
                out[i, j] *= factor
        return out

    def logsumexp(x):
        rows, columns = x.shape
        out = np.empty(rows, x.dtype)
        for i in prange(rows):
            largest = x[i, 0]
            for j in range(columns):
                largest = max(largest, x[i, j])
            total = f32(0)
            for j in range(columns):
                total += math.exp(x[i, j] - largest)
            out[i] = math.log(total) + largest
        return out

    def layer_norm(x, scale, shift):
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
            factor = ONE / math.sqrt(squares / f32(columns) + f32(1e-5))
            for j in range(columns):
                out[i, j] = (x[i, j] - mean) * factor * scale[j] + shift[j]
        return out

    threads = numba.get_num_threads() if parallel else 1

    def standardize(x):
        # each thread sums its rows, all columns at once, so that memory is read in order
        rows, columns = x.shape
        out = np.empty_like(x)
        sums = np.zeros((threads, columns), f32)
        for part in prange(threads):
            for i in range(rows * part // threads, rows * (part + 1) // threads):
                for j in range(columns):
                    sums[part, j] += x[i, j]
        mean = sums.sum(axis=0) / f32(rows)
        sums[:] = 0
        for part in prange(threads):
            for i in range(rows * part // threads, rows * (part + 1) // threads):
                for j in range(columns):
                    apart = x[i, j] - mean[j]
                    sums[part, j] += apart * apart
        factor = ONE / np.sqrt(sums.sum(axis=0) / f32(rows))
        for i in prange(rows):
            for j in range(columns):
                out[i, j] = (x[i, j] - mean[j]) * factor[j]
        return out

    def nearest(a, b):
        out = np.empty(a.shape[0], a.dtype)
        columns = np.ascontiguousarray(b.T)  # so that the points are lanes of a vector
        for i in prange(a.shape[0]):
            least = f32(np.inf)
            for j in range(columns.shape[1]):
                d0 = a[i, 0] - columns[0, j]
                d1 = a[i, 1] - columns[1, j]
                d2 = a[i, 2] - columns[2, j]
                least = min(least, d0 * d0 + d1 * d1 + d2 * d2)
            out[i] = least
        return out

    def stencil(x):
        rows, columns = x.shape
        out = np.empty((rows - 2, columns - 2), x.dtype)
        for i in prange(rows - 2):
            for j in range(columns - 2):
                around = x[i, j + 1] + x[i + 2, j + 1] + x[i + 1, j] + x[i + 1, j + 2]
                out[i, j] = f32(0.25) * around - x[i + 1, j + 1]
        return out

    def transpose_add(x, y):
        rows, columns = y.shape
        out = np.empty_like(y)
        for block in prange((rows + TILE - 1) // TILE):
            top = block * TILE
            bottom = min(rows, top + TILE)
            for left in range(0, columns, TILE):
                for i in range(top, bottom):
                    for j in range(left, min(columns, left + TILE)):
                        out[i, j] = x[j, i] + y[i, j]
        return out

    def mlp(x, w1, b1, w2, b2, w3, b3):
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

    def attention(q, k, v):
        count, rows, _ = q.shape
        out = np.empty_like(q)
        for head in range(count):
            scores = np.dot(q[head], k[head].T)
            for i in prange(rows):
                largest = scores[i, 0]
                for j in range(rows):
                    largest = max(largest, scores[i, j])
                total = f32(0)
                for j in range(rows):
                    e = math.exp((scores[i, j] - largest) * f32(0.125))
                    scores[i, j] = e
                    total += e
                factor = ONE / total
                for j in range(rows):
                    scores[i, j] *= factor
            out[head] = np.dot(scores, v[head])
        return out

    loops = (chain, black_scholes, gelu, namespace["sixty_ops"], softmax, layer_norm, logsumexp)
    loops += (standardize, nearest, stencil, transpose_add, mlp, attention)
    return Peer({f.__name__: jit(f) for f in loops})
