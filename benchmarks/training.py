"""Asks what a training step costs beside PyTorch and JAX.

    python benchmarks/training.py [--steps mlp,lstm] [--peers torch,jax] [--rounds 9]

A step takes parameters and a batch, and gives the loss and the parameters after plain gradient
descent, float32. graphjit and JAX run the same function, written with `np` and a few ops of
neural networks; torch has its own, eager and through torch.compile. Each library that can be
imported has a process of its own; they are timed in turns, one at a time. Every library's new
parameters are compared with graphjit's. The table gives the least time of the rounds [ms], the
loss's own time in graphjit, what compiling took, and the most memory that a process took over
what it had before the step.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import measure
import numpy as np
import worker

Array = Any
RATE = np.float32(0.05)
TOLERANCE = 2e-3


class Ops:
    """What NumPy lacks, under one name in graphjit and in JAX. Images are [n, h, w, c]."""

    np: Any
    conv: Callable[[Any, Any], Any]
    max_pool: Callable[[Any], Any]
    scan: Callable[[Any, Any, Any], Any]


# -- the losses, and what they are of

RNG = np.random.default_rng(0)


def normal(*shape: int, scale: float | None = None) -> Array:
    """Weights: normal, of a size that keeps what they are multiplied with as large as it is."""
    scale = 1 / math.sqrt(math.prod(shape[:-1])) if scale is None else scale
    return (RNG.normal(size=shape) * scale).astype(np.float32)


def _cross_entropy(np: Any, logits: Array, one_hot: Array) -> Any:
    logits = logits - np.max(logits, -1, keepdims=True)
    logs = logits - np.log(np.sum(np.exp(logits), -1, keepdims=True))
    return -np.mean(np.sum(logs * one_hot, -1))


def one_hot(*shape: int, classes: int) -> Array:
    return np.eye(classes, dtype=np.float32)[RNG.integers(0, classes, shape)]


def mlp(ops: Ops, p: Sequence[Array], x: Array, y: Array) -> Any:
    """256x784-512-512-10."""
    np = ops.np
    for w, b in ((p[0], p[1]), (p[2], p[3])):
        x = np.maximum(x @ w + b, 0)
    return _cross_entropy(np, x @ p[4] + p[5], y)


def mlp_data() -> tuple[list[Array], list[Array]]:
    params = []
    for n, m in ((784, 512), (512, 512), (512, 10)):
        params += [normal(n, m), np.zeros(m, np.float32)]
    return params, [normal(256, 784, scale=1), one_hot(256, classes=10)]


def cnn(ops: Ops, p: Sequence[Array], x: Array, y: Array) -> Any:
    """32x28x28, two convolutions with pooling."""
    np = ops.np
    for w, b in ((p[0], p[1]), (p[2], p[3])):
        x = ops.max_pool(np.maximum(ops.conv(x, w) + b, 0))
    return _cross_entropy(np, np.reshape(x, (32, 7 * 7 * 32)) @ p[4] + p[5], y)


def cnn_data() -> tuple[list[Array], list[Array]]:
    params = [normal(3, 3, 1, 16), np.zeros(16, np.float32)]
    params += [normal(3, 3, 16, 32), np.zeros(32, np.float32)]
    params += [normal(7 * 7 * 32, 10), np.zeros(10, np.float32)]
    return params, [normal(32, 28, 28, 1, scale=1), one_hot(32, classes=10)]


def residual(ops: Ops, p: Sequence[Array], x: Array, y: Array) -> Any:
    """16x32x32x64: a residual block of two 3x3 convolutions, each with batch normalization."""
    np, start = ops.np, x
    for w, scale, shift in ((p[0], p[1], p[2]), (p[3], p[4], p[5])):
        x = ops.conv(x, w)
        mean = np.mean(x, (0, 1, 2))
        centred = x - mean
        variance = np.mean(centred * centred, (0, 1, 2))
        x = np.maximum(centred / np.sqrt(variance + np.float32(1e-5)) * scale + shift, 0)
    return _cross_entropy(np, np.mean(start + x, (1, 2)) @ p[6], y)


def residual_data() -> tuple[list[Array], list[Array]]:
    params: list[Array] = []
    for _ in range(2):
        params += [normal(3, 3, 64, 64), np.ones(64, np.float32), np.zeros(64, np.float32)]
    params.append(normal(64, 10))
    return params, [normal(16, 32, 32, 64, scale=1), one_hot(16, classes=10)]


def lstm(ops: Ops, p: Sequence[Array], x: Array, y: Array) -> Any:
    """64 steps of 32x64, 128 units; x is [step, batch, feature]."""
    np, units = ops.np, 128
    inner, outer, bias, last = p

    def sigmoid(z: Array) -> Any:
        return 1 / (1 + np.exp(-z))

    def turn(carry: Any, now: Array) -> Any:
        h, c = carry
        z = now + h @ outer
        i, f = sigmoid(z[:, :units]), sigmoid(z[:, units : 2 * units])
        c = f * c + i * np.tanh(z[:, 2 * units : 3 * units])
        h = sigmoid(z[:, 3 * units :]) * np.tanh(c)
        return (h, c), None

    zeros = np.zeros((32, units), np.float32)
    (h, _), _ = ops.scan(turn, (zeros, zeros), x @ inner + bias)
    return _cross_entropy(np, h @ last, y)


def lstm_data() -> tuple[list[Array], list[Array]]:
    params = [normal(64, 512), normal(128, 512), np.zeros(512, np.float32), normal(128, 10)]
    return params, [normal(64, 32, 64, scale=1), one_hot(32, classes=10)]


def transformer(ops: Ops, p: Sequence[Array], x: Array, y: Array) -> Any:
    """8x128x256: a block of attention with 4 heads, and a layer of 1,024."""
    np, heads = ops.np, 4
    batch, steps, width = 8, 128, 256

    def normalized(x: Array, scale: Array, shift: Array) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        variance = (centred * centred).mean(-1, keepdims=True)
        return centred / np.sqrt(variance + np.float32(1e-5)) * scale + shift

    qkv, out, first, first_b, second, second_b, s1, b1, s2, b2, last = p
    h = normalized(x, s1, b1) @ qkv
    h = h.reshape(batch, steps, 3, heads, width // heads).transpose(2, 0, 3, 1, 4)
    scores = h[0] @ h[1].transpose(0, 1, 3, 2) * np.float32((width // heads) ** -0.5)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    scores = scores / scores.sum(-1, keepdims=True)
    h = (scores @ h[2]).transpose(0, 2, 1, 3).reshape(batch, steps, width)
    x = x + h @ out
    h = normalized(x, s2, b2) @ first + first_b
    h = 0.5 * h * (1 + np.tanh(np.float32(0.7978845608) * (h + np.float32(0.044715) * h**3)))
    x = x + h @ second + second_b
    return _cross_entropy(np, x @ last, y)


def transformer_data() -> tuple[list[Array], list[Array]]:
    params = [normal(256, 768), normal(256, 256), normal(256, 1024)]
    params += [np.zeros(1024, np.float32), normal(1024, 256), np.zeros(256, np.float32)]
    for _ in range(2):
        params += [np.ones(256, np.float32), np.zeros(256, np.float32)]
    params.append(normal(256, 50))
    return params, [normal(8, 128, 256, scale=1), one_hot(8, 128, classes=50)]


def logistic(ops: Ops, p: Sequence[Array], x: Array, y: Array) -> Any:
    """20,000x100."""
    np = ops.np
    z = x @ p[0] + p[1]
    return np.mean(np.log1p(np.exp(-np.abs(z))) + np.maximum(z, 0) - z * y)


def logistic_data() -> tuple[list[Array], list[Array]]:
    x = normal(20_000, 100, scale=1)
    y = (RNG.random(20_000) < 0.5).astype(np.float32)
    return [normal(100, scale=0.1), np.zeros((), np.float32)], [x, y]


def gaussian_process(ops: Ops, p: Sequence[Array], x: Array, y: Array) -> Any:
    """The marginal likelihood of 400 points in 4 dimensions."""
    np = ops.np
    scaled = x * np.exp(p[0])
    squares = (scaled * scaled).sum(1)
    apart = squares[:, None] + squares - 2 * (scaled @ scaled.T)
    kernel = np.exp(p[1]) * np.exp(-0.5 * np.maximum(apart, 0))
    kernel = kernel + np.exp(p[2]) * np.eye(len(x), dtype=np.float32)
    lower = np.linalg.cholesky(kernel)
    whitened = np.linalg.solve(kernel, y)
    return (0.5 * (y @ whitened) + np.log(np.diagonal(lower)).sum()) / len(x)


def gaussian_process_data() -> tuple[list[Array], list[Array]]:
    x = normal(400, 4, scale=1)
    noise = normal(400, scale=0.1)
    params = [np.zeros(4, np.float32), np.float32(0), np.float32(-1)]
    return [np.asarray(x) for x in params], [x, np.sin(x.sum(1)) + noise]


STEPS: dict[str, tuple[Any, Any]] = {
    "mlp": (mlp, mlp_data),
    "cnn": (cnn, cnn_data),
    "residual": (residual, residual_data),
    "lstm": (lstm, lstm_data),
    "transformer": (transformer, transformer_data),
    "logistic": (logistic, logistic_data),
    "gaussian_process": (gaussian_process, gaussian_process_data),
}

# -- the libraries: each gives, for a step and its arrays, a call that waits, and what is of it


def graphjit_calls(name: str, params: list[Array], data: list[Array]) -> Any:
    import graphjit as gj

    ops = Ops()
    ops.np, ops.scan = np, gj.scan
    ops.conv = lambda x, w: gj.nn.conv2d(x, w, 1, "SAME")
    ops.max_pool = lambda x: gj.nn.max_pool(x, 2, 2, "VALID")
    of = STEPS[name][0]

    def loss(p: Sequence[Array], x: Array, y: Array) -> Any:
        return of(ops, p, x, y)

    @gj.function
    def step(p: Sequence[Array], x: Array, y: Array) -> Any:
        value, slopes = gj.value_and_grad(loss)(p, x, y)
        return value, [a - RATE * b for a, b in zip(p, slopes, strict=True)]

    forward = gj.function(loss)
    return lambda: step(params, *data), lambda: forward(params, *data)


def jax_calls(name: str, params: list[Array], data: list[Array]) -> Any:
    import jax
    import jax.numpy as jnp

    ops = Ops()
    ops.np, ops.scan = jnp, jax.lax.scan
    layout = ("NHWC", "HWIO", "NHWC")
    ops.conv = lambda x, w: jax.lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=layout
    )
    window = (1, 2, 2, 1)
    ops.max_pool = lambda x: jax.lax.reduce_window(
        x, -np.inf, jax.lax.max, window, window, "VALID"
    )
    of = STEPS[name][0]

    def loss(p: Sequence[Array], x: Array, y: Array) -> Any:
        return of(ops, p, x, y)

    @jax.jit
    def step(p: Sequence[Array], x: Array, y: Array) -> Any:
        value, slopes = jax.value_and_grad(loss)(p, x, y)
        return value, [a - RATE * b for a, b in zip(p, slopes, strict=True)]

    forward = jax.jit(loss)
    given, batch = [jnp.asarray(x) for x in params], [jnp.asarray(x) for x in data]
    wait = jax.block_until_ready
    return lambda: wait(step(given, *batch)), lambda: wait(forward(given, *batch))


def torch_calls(name: str, params: list[Array], data: list[Array], compiled: bool) -> Any:
    import torch
    import training_torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    loss, enter, leave = training_torch.losses()[name]
    given = [enter(torch.from_numpy(np.array(x))).requires_grad_() for x in params]
    batch = [enter(torch.from_numpy(np.array(x))) for x in data]
    function = torch.compile(loss, dynamic=False) if compiled else loss

    def step() -> Any:
        value = function(given, *batch)
        slopes = torch.autograd.grad(value, given)
        with torch.no_grad():
            new = torch._foreach_sub(given, torch._foreach_mul(slopes, float(RATE)))
        return value.detach(), [leave(x) for x in new]

    def forward() -> Any:
        with torch.no_grad():
            return function(given, *batch)

    return step, forward


CALLS: dict[str, Callable[[str, list[Array], list[Array]], Any]] = {
    "graphjit": graphjit_calls,
    "jax": jax_calls,
    "torch": lambda n, p, d: torch_calls(n, p, d, False),
    "torch.compile": lambda n, p, d: torch_calls(n, p, d, True),
}

# -- one process for each


def _memory_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def serve(library: str) -> None:
    """The child's end: prepares a step, and times it when told to."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    step: Any = None
    count = 1

    def prepare(name: str, folder: str) -> dict[str, Any]:
        nonlocal step, count
        with np.load(Path(folder, "data.npz")) as file:
            arrays = list(file.values())
        held = int(arrays.pop()[()])
        params, data = arrays[:held], arrays[held:]
        small = (
            [np.ones(4, np.float32), np.zeros((), np.float32)],
            [np.ones((8, 4), np.float32)],
        )
        CALLS[library]("logistic", small[0], [*small[1], np.ones(8, np.float32)])[0]()
        before = _memory_bytes()  # with the compiler loaded
        started = time.perf_counter()
        step, forward = CALLS[library](name, params, data)
        value, new = step()
        first_s = time.perf_counter() - started
        step()
        extra = _memory_bytes() - before
        found = [np.asarray(value), *(np.asarray(x) for x in new)]
        np.savez(Path(folder, f"{library}.npz"), *found)
        forward()
        forward_ns = min(measure.elapsed_ns(forward, 3) for _ in range(3))
        count = measure.calls_per_sample(step, 0.1)
        return {"first_s": first_s, "bytes": extra, "forward_ns": forward_ns}

    try:
        __import__(library.split(".")[0])
        replies.write("{}\n")
    except ImportError as error:
        replies.write(json.dumps({"absent": str(error)}) + "\n")
    replies.flush()
    for line in sys.stdin:
        order = json.loads(line)
        if order:
            try:
                reply = prepare(**order)
            except Exception as error:  # whatever a library raises is for the report
                reply = {"complaint": f"{type(error).__name__}: {error}"}
        else:
            measure.elapsed_ns(step, max(1, count // 5))
            reply = {"ns": measure.elapsed_ns(step, count)}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


class Child:
    """The parent's end."""

    def __init__(self, library: str, folder: str) -> None:
        self.name = library
        command = [sys.executable, __file__, "--serve", library]
        environment = {**worker.own_environment(folder), **os.environ}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, env=environment, text=True
        )
        self.hello = self._reply()

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """Send an order and wait for the reply."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self._reply()

    def _reply(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        return dict(json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def _difference(folder: str, library: str) -> float:
    """How far the results are from graphjit's, over the largest number in each."""
    worst = 0.0
    with (
        np.load(Path(folder, "graphjit.npz")) as ours,
        np.load(Path(folder, f"{library}.npz")) as theirs,
    ):
        for a, b in zip(ours.values(), theirs.values(), strict=True):
            scale = max(float(np.abs(a).max()), 1e-6)
            worst = max(worst, float(np.abs(a - b).max()) / scale)
    return worst


def measured(name: str, libraries: Sequence[str], rounds: int) -> list[list[str]]:
    """The rows of one step. A process is made anew for each step, so that its memory is its
    own.
    """
    params, data = STEPS[name][1]()
    rows = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        np.savez(Path(folder, "data.npz"), *params, *data, np.array(len(params)))
        children, facts = [], {}
        for library in libraries:
            child = Child(library, folder)
            if "absent" in child.hello:
                continue
            reply = child.ask({"name": name, "folder": folder})
            if "complaint" in reply:
                measure.progress(f"{name}, {library}: {reply['complaint'][:300]}")
                continue
            facts[library] = reply
            children.append(child)
        times: dict[str, list[float]] = {c.name: [] for c in children}
        for turn in range(rounds):
            shift = turn % len(children)
            for child in children[shift:] + children[:shift]:
                time.sleep(worker.REST_S)
                times[child.name].append(child.ask({})["ns"])
        for child in children:
            child.close()
        best = (
            min(min(found) for lib, found in times.items() if lib != "graphjit")
            if len(times) > 1
            else math.nan
        )
        for library, found in times.items():
            off = _difference(folder, library)
            wrong = "" if off < TOLERANCE else f"differs by {off:.1g}"
            fact = facts[library]
            rows.append([
                name, library, f"{min(found) / 1e6:.3f}", f"{fact['forward_ns'] / 1e6:.3f}",
                f"{fact['bytes'] / 1e6:.0f}", f"{fact['first_s']:.1f}",
                f"{min(found) / best:.2f}" if library == "graphjit" else "", wrong,
            ])  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="training steps beside PyTorch and JAX")
    parser.add_argument("--steps", default=",".join(STEPS))
    parser.add_argument("--peers", default="jax,torch,torch.compile")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--serve")
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    print(measure.machine())
    head = ["step", "library", "ms", "loss alone", "MB more", "first s", "over best", ""]
    rows = []
    for name in options.steps.split(","):
        measure.progress(name)
        rows += measured(name, ["graphjit", *options.peers.split(",")], options.rounds)
    print(measure.table(head, rows))


if __name__ == "__main__":
    main()
