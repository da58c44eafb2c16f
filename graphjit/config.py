"""Options of the process, read from the environment once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from .errors import InvalidArgumentError


def _flag(name: str) -> bool:
    return os.environ.get(name, "").lower() not in ("", "0", "false", "no", "off")


def _threads_here() -> int:
    """GRAPHJIT_NUM_THREADS where it is a count, else the CPUs that this process may use."""
    given = os.environ.get("GRAPHJIT_NUM_THREADS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Config:
    """The process's options. `gj.config` is the one instance.

    verify: check every graph after every pass (`GRAPHJIT_VERIFY=1`).
    static_values: how many values of a Python scalar that steers control flow are compiled
        before the function falls back to eager mode.
    threads: how many threads work on one kernel; from `GRAPHJIT_NUM_THREADS`, else the number
        of CPUs that this process may use. Results are the same at any number.
    """

    def __init__(self) -> None:
        self.verify = _flag("GRAPHJIT_VERIFY")
        self.static_values = 64
        self._threads = _threads_here()
        self._thread_watchers: list[Callable[[int], None]] = []
        self._eager_process = _flag("GRAPHJIT_EAGER")
        self._eager_here: ContextVar[bool | None] = ContextVar("graphjit_eager", default=None)

    @property
    def threads(self) -> int:
        """How many threads work on one kernel."""
        return self._threads

    @threads.setter
    def threads(self, count: int) -> None:
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise InvalidArgumentError(f"threads is a count from 1 on, not {count!r}")
        self._threads = count
        for watcher in self._thread_watchers:
            watcher(count)

    def watch_threads(self, watcher: Callable[[int], None]) -> None:
        """Call `watcher` with the number of threads now and whenever it changes."""
        self._thread_watchers.append(watcher)
        watcher(self._threads)

    @property
    def functions_run_eagerly(self) -> bool:
        """Whether decorated functions run as plain Python here."""
        here = self._eager_here.get()
        return self._eager_process if here is None else here

    def run_functions_eagerly(self, run_eagerly: bool) -> None:
        """Run decorated functions as plain Python (True) or compiled (False), process-wide."""
        self._eager_process = bool(run_eagerly)

    @contextmanager
    def eager(self, run_eagerly: bool = True) -> Iterator[None]:
        """Run decorated functions as plain Python inside a `with` block."""
        token = self._eager_here.set(run_eagerly)
        try:
            yield
        finally:
            self._eager_here.reset(token)


config = Config()
eager = config.eager
