"""A function run compiled and eagerly from the same variables, and timed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.core.config import config
from graphjit.core.tree import flatten
from graphjit.export.traced import as_call, run, running, trace_graph
from graphjit.jit.compiled_call import CompiledCall
from graphjit.jit.specialization import Specialization
from graphjit.passes import optimized
from graphjit.tensors.apply import TensorBase
from graphjit.tensors.variable import Variable

from .compare import Result
from .plans import Plan, plan_of

# Calls before those that are timed, beside those after which the native entry is made; and the
# most time that they take.
WARM_CALLS = 3
WARM_NS = 500_000_000
# How long a batch of calls is meant to take, and the most calls in one.
BATCH_NS = 200_000
MAX_BATCH = 1000


class Session:
    """A function and its arguments, run compiled or eagerly from the same variables.

    specialization: what was compiled, with the times that took.
    """

    def __init__(self, target: Any, args: Sequence[Any]) -> None:
        trace_graph(target, args)  # the user's errors; later ones are ours
        self.function, self.args = as_call(target, args)
        self.specialization: Specialization = self.function.specialization(*self.args)
        self._held = [(v, v.cell.array) for v in self.specialization.variables]

    def plan(self) -> Plan:
        """The compiled program's plan."""
        assert self.specialization.graph is not None and self.specialization.program is not None
        return plan_of(
            optimized(self.specialization.graph, self.function.passes),
            self.specialization.program,
        )

    def _restore(self) -> None:
        for variable, array in self._held:
            variable.cell.array = array

    def results(self, eagerly: bool = False) -> list[Result]:
        """The results of one call, then the variables it wrote."""
        try:
            leaves: list[Any] = []
            flatten(run(self.function, self.args, eagerly), leaves)
            found = [Result(f"result {k}", _plain(x)) for k, x in enumerate(leaves)]
            for variable in self.specialization.updated:
                name = f"variable {variable.name.removesuffix(':0')}"
                found.append(Result(name, variable.cell.array))
            return found
        finally:
            self._restore()

    def times_ns(self, repeat: int, with_eager: bool) -> tuple[list[float], list[float]]:
        """Times of compiled calls and, in turns with them, of eager ones [ns], `repeat` each.

        Each is the mean of a batch of calls, for a clock that is read at each short call is
        much of its time. Calls before them make the native entry, and fill caches.
        """
        compiled: list[float] = []
        eager: list[float] = []
        kinds: list[tuple[list[float], Callable[..., Any], bool]]
        kinds = [(compiled, self.function, False)]
        if with_eager:
            kinds.append((eager, self.function.python_function, True))
        with np.errstate(all="ignore"):
            batches = [self._warm_batch(function, eagerly) for _, function, eagerly in kinds]
            for _ in range(repeat):
                for (times, function, eagerly), count in zip(kinds, batches, strict=True):
                    with running(eagerly):
                        times.append(self._time(function, count))
        return compiled, eager

    def _warm_batch(self, function: Callable[..., Any], eagerly: bool) -> int:
        """Call a function until it is as fast as it gets; how many calls make a batch."""
        wanted = WARM_CALLS if eagerly else WARM_CALLS + (config.native_after or 0)
        spent = least = self._warmed(function, eagerly)
        calls = 1
        while calls < wanted and spent < WARM_NS:
            took = self._warmed(function, eagerly)
            spent, least, calls = spent + took, min(least, took), calls + 1
        if self.specialization.updated:  # which are put back between calls
            return 1
        return max(1, min(MAX_BATCH, int(BATCH_NS / max(1.0, least))))

    def _warmed(self, function: Callable[..., Any], eagerly: bool) -> float:
        with running(eagerly):
            return self._time(function, 1)

    def step_times_ns(self, calls: int = 5) -> list[float]:
        """The least time of each step over a few calls [ns]."""
        from graphjit.codegen.cpu.target import compile_program

        leaves: list[Any] = []
        flatten((tuple(self.args), {}), leaves)
        assert self.specialization.program is not None
        inputs = CompiledCall(self.specialization, leaves).inputs()
        executable, _ = compile_program(self.specialization.program, timed=True)
        return executable.step_times_ns(inputs, calls)

    def least_ns(self, calls: int = 5) -> float:
        """The time of a compiled call, the least of a few batches [ns]."""
        try:
            return min(self.times_ns(calls, False)[0])
        finally:
            self._restore()

    def _time(self, function: Callable[..., Any], count: int) -> float:
        args, calls = self.args, range(count)
        started = time.perf_counter_ns()
        for _ in calls:
            function(*args)
        elapsed = time.perf_counter_ns() - started
        self._restore()
        return elapsed / count


def median(times: Sequence[float]) -> float:
    """The median of times [ns]."""
    return float(statistics.median(times))


def _plain(value: Any) -> Any:
    if isinstance(value, (TensorBase, Variable, np.ndarray)):
        return np.asarray(value)
    return value
