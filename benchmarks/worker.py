"""One process per peer, timed on command: both ends of the pipe.

    python benchmarks/worker.py NAME     (started by compare.py and revisions.py)

Peers don't share a process because their thread pools would: with torch, JAX and TensorFlow
loaded beside it, the median of a 14 µs call of graphjit on two threads rose to 22 µs, and to
25 µs when the others had just run. Here one process at a time is told to run, after a rest in
which the threads of the one before stop spinning. Each makes the same arguments and compares
its results with those of NumPy in float64, which the parent has left in a file.

Commands and replies are lines of JSON; what libraries print goes to the error stream.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import measure
import numpy as np
import peers
from workloads import WORKLOADS, Array, Workload, results_of

# OpenBLAS's threads spin for 2^26 cycles after a product: 26 ms at 2.6 GHz
REST_S = 0.03
SAMPLE_S = 0.01
# a call of this length meets no cold cache of its own making: no warm-up before each sample
LONG_S = 0.05


class WrongResult(Exception):
    """A result that isn't NumPy's."""


class Worker:
    """The parent's end: a process that prepares a workload and times it when told to."""

    def __init__(self, name: str, environment: Mapping[str, str] = {}) -> None:
        self.name = name
        self.caches = tempfile.TemporaryDirectory(
            prefix="graphjit-benchmark-", ignore_cleanup_errors=True
        )
        inherited = {**own_environment(self.caches.name), **os.environ, **environment}
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=inherited,
            text=True,
        )
        self.hello = self._reply()

    @property
    def present(self) -> bool:
        """Whether the peer could be imported."""
        return "absent" not in self.hello

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send one command and wait for its reply."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
        self.process.stdin.flush()
        return self._reply()

    def _reply(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the process of {self.name} ended with {self.process.wait()}")
        return dict(json.loads(line))

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        self.caches.cleanup()


def own_environment(caches: str) -> dict[str, str]:
    """What every process gets, unless the user has set it.

    Compiled code of earlier runs would hide what a first call costs: caches start empty.
    Spinning threads of OpenMP cost others a time slice each: they wait passively.
    """
    return {
        "GRAPHJIT_CACHE_DIR": str(Path(caches, "graphjit")),
        "TORCHINDUCTOR_CACHE_DIR": str(Path(caches, "torch")),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",  # else idle compilers wait in a pool
        "OMP_WAIT_POLICY": "passive",
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }


def rounds_of(
    workers: Sequence[Worker],
    workload: Workload,
    number: int,
    expected: Sequence[Array],
    rounds: int,
) -> tuple[dict[str, list[float]], dict[str, float], dict[str, str]]:
    """Times per call [ns] by round, first calls [s] and complaints, by worker's name.

    expected: the results in float64. A worker that has no version of the workload is in none of
    the three; one whose result is wrong or whose call fails is not timed. Each round asks all,
    in a rotated order.
    """
    first_s: dict[str, float] = {}
    complaints: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="graphjit-benchmark-") as folder:
        path = Path(folder, "expected.npz")
        np.savez(path, *expected)
        for worker in workers:
            time.sleep(REST_S)
            reply = worker.ask(
                "prepare", workload=workload.name, number=number, expected=str(path)
            )
            if "complaint" in reply:
                complaints[worker.name] = reply["complaint"]
            elif reply:
                first_s[worker.name] = reply["first_s"]
    ready = [w for w in workers if w.name in first_s]
    times: dict[str, list[float]] = {w.name: [] for w in ready}
    for turn in range(rounds):
        shift = turn % max(1, len(ready))
        for worker in ready[shift:] + ready[:shift]:
            time.sleep(REST_S)
            times[worker.name].append(worker.ask("time")["ns"])
    for worker in ready:
        worker.ask("drop")
    return times, first_s, complaints


class Bench:
    """The child's end: one peer, and the one workload that is ready."""

    def __init__(self, name: str, peer: peers.Peer) -> None:
        self.name = name
        self.peer = peer
        self.call: measure.Call | None = None
        self.count = 0
        self.short = True
        # the first call of anything loads compilers, which is no workload's cost
        tiny = self.peer.give(np.ones(3, np.float32))
        self.peer.functions["chain"](tiny)

    def prepare(self, workload: str, number: int, expected: str) -> dict[str, Any]:
        """Make the arguments, call once, compare, and find how many calls fill a sample."""
        function = self.peer.functions.get(workload)
        if function is None:
            return {}
        inputs = WORKLOADS[workload].inputs(number)
        args = [self.peer.give(a) if isinstance(a, np.ndarray) else a for a in inputs]
        del inputs
        try:
            started = time.perf_counter()
            result = function(*args)
            first_s = time.perf_counter() - started
            with np.load(expected) as file:
                check([self.peer.take(r) for r in results_of(result)], list(file.values()))
            del result
            function(*args)
        except WrongResult as error:
            return {"complaint": f"wrong: {error}"}
        except Exception as error:  # whatever a library raises is for the report
            return {"complaint": f"{type(error).__name__}: {error}"}
        self.call = lambda: function(*args)
        self.count = measure.calls_per_sample(self.call, SAMPLE_S)
        self.short = measure.elapsed_ns(self.call, 1) < LONG_S * 1e9
        gc.collect()
        return {"first_s": first_s}

    def time(self) -> dict[str, float]:
        """One sample, after some calls that bring data and code back into the caches."""
        assert self.call is not None
        gc.disable()
        if self.short:
            measure.elapsed_ns(self.call, max(1, self.count // 10))
        return {"ns": measure.elapsed_ns(self.call, self.count)}

    def drop(self) -> dict[str, Any]:
        """Give the memory of the arguments back."""
        self.call = None
        gc.enable()
        gc.collect()
        return {}


def check(found: Sequence[Array], expected: Sequence[Array]) -> None:
    """Compare results with NumPy's in float64; float32 of about the same size is asked for."""
    if len(found) != len(expected):
        raise WrongResult(f"{len(found)} results instead of {len(expected)}")
    for have, want in zip(found, expected, strict=True):
        if have.dtype != np.float32 or have.shape != want.shape:
            raise WrongResult(f"{have.dtype} {have.shape} instead of float32 {want.shape}")
        scale = float(np.abs(want).max())
        near = np.isclose(have, want, rtol=2e-4, atol=1e-5 * scale, equal_nan=True)
        if not near.all():
            place = tuple(map(int, np.argwhere(~near)[0]))
            raise WrongResult(
                f"{near.size - int(near.sum())} of {near.size} elements, "
                f"at {place} {have[place]} instead of {want[place]}"
            )


def main(name: str) -> None:
    # descriptor 1 becomes the error stream, so that what a library prints is no reply
    replies: TextIO = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")

    def say(reply: Mapping[str, Any]) -> None:
        replies.write(json.dumps(reply) + "\n")
        replies.flush()

    try:
        bench = Bench(name, peers.load(name))
    except ImportError as error:
        say({"absent": str(error)})
        return
    module = sys.modules.get("graphjit")
    say({"file": getattr(module, "__file__", None)})
    with contextlib.suppress(KeyboardInterrupt):
        for line in sys.stdin:
            order = json.loads(line)
            say(getattr(bench, order.pop("do"))(**order))


if __name__ == "__main__":
    main(sys.argv[1])
