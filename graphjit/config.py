"""Options of the process, read from the environment once."""

from __future__ import annotations

import os
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from .errors import InvalidArgumentError

LOADED_NS = time.time_ns()  # when this process began to load graphjit


def _flag(name: str, default: bool = False) -> bool:
    given = os.environ.get(name, "").lower()
    return given not in ("0", "false", "no", "off") if given else default


def _threads_here() -> int:
    """GRAPHJIT_NUM_THREADS where it is a count, else the CPUs that this process may use."""
    given = os.environ.get("GRAPHJIT_NUM_THREADS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _sizes_before_symbolic() -> int | None:
    given = os.environ.get("GRAPHJIT_SYMBOLIC_AFTER", "")
    return None if given == "never" else int(given) if given.isdecimal() else 2


def _topics() -> frozenset[str]:
    return frozenset(os.environ.get("GRAPHJIT_LOG", "").replace(",", " ").split())


def _calls_before_native() -> int | None:
    given = os.environ.get("GRAPHJIT_NATIVE_AFTER", "")
    return None if given == "never" else int(given) if given.isdecimal() else 32


def _cache_bytes() -> int:
    given = os.environ.get("GRAPHJIT_CACHE_BYTES", "")
    return int(given) if given.isdecimal() else 1 << 30


class Config:
    """The process's options. `gj.config` is the one instance.

    cache: whether compiled code is kept on disk between processes (`GRAPHJIT_CACHE=0` turns it
        off), and read from there unless `verify` is on. `GRAPHJIT_CACHE_DIR` says where.
    cache_bytes: what it may take there; what was not used for longest is removed
        (`GRAPHJIT_CACHE_BYTES`, by default 1 GiB).

    verify: check every graph after every pass (`GRAPHJIT_VERIFY=1`).
    log: what is written to stderr: "compile" for a line with the time of each stage of every
        compile. From `GRAPHJIT_LOG`, words with commas between them.
    cublas: whether functions of device="cuda" leave large matrix products to cuBLAS, if it is
        there (`graphjit[cublas]`), whose results differ in the last bits (`GRAPHJIT_CUBLAS=0`
        turns it off).
    static_values: how many values of a Python scalar that steers control flow are compiled
        before the function falls back to eager mode.
    threads: how many threads work on one kernel; from `GRAPHJIT_NUM_THREADS`, else the number
        of CPUs that this process may use. Results are the same at any number.
    recompile_warning: when a function has been compiled again so often, a warning says why; 0
        for never.
    symbolic_after: with how many sizes an extent of an argument has to be seen to become
        symbolic, so that one compiled form serves all sizes; None for never. From
        `GRAPHJIT_SYMBOLIC_AFTER`, a count or "never". Results are the same.
    native_after: how many calls of compiled functions go through Python before the machine
        code is made that lets calls enter without it (that takes about 40 ms); None for never.
        From `GRAPHJIT_NATIVE_AFTER`, a count or "never". Results are the same.
    """

    def __init__(self) -> None:
        self.verify = _flag("GRAPHJIT_VERIFY")
        self.cache = _flag("GRAPHJIT_CACHE", True)
        self.cache_bytes = _cache_bytes()
        self.log = _topics()
        self.cublas = _flag("GRAPHJIT_CUBLAS", True)
        self.static_values = 64
        self.recompile_warning = 16
        self._forbids: ContextVar[bool] = ContextVar("graphjit_forbids", default=False)
        self._threads = _threads_here()
        self._thread_watchers: list[Callable[[int], None]] = []
        self.symbolic_after = _sizes_before_symbolic()
        self.native_after = _calls_before_native()
        # Words that machine code reads at each call: not 0 where Python has to decide what to
        # do, for traces are under way or functions run eagerly; not 0 once a context was told
        # to run eagerly or not.
        self.gates = array("q", [0, 0])
        self._gate_lock = threading.Lock()
        self._deciding: list[int] = []  # the threads for which the first is not 0
        self._eager_process = False
        self.run_functions_eagerly(_flag("GRAPHJIT_EAGER"))
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
        with self._gate_lock:
            self.gates[0] += bool(run_eagerly) - self._eager_process
            self._eager_process = bool(run_eagerly)

    @property
    def recompiling_forbidden(self) -> bool:
        """Whether functions that were compiled must not be compiled again here."""
        return self._forbids.get()

    @contextmanager
    def forbid_recompile(self) -> Iterator[None]:
        """In a `with` block, a call that no compiled form of a function fits raises
        RecompileError, which names the guard that failed; a first compile is allowed.
        """
        token = self._forbids.set(True)
        try:
            yield
        finally:
            self._forbids.reset(token)

    @contextmanager
    def python_decides(self) -> Iterator[None]:
        """Let all calls of compiled functions, in any thread, go through Python meanwhile."""
        thread = threading.get_ident()
        with self._gate_lock:
            self._deciding.append(thread)
            self.gates[0] += 1
        try:
            yield
        finally:
            with self._gate_lock:
                self._deciding.remove(thread)
                self.gates[0] -= 1

    @contextmanager
    def eager(self, run_eagerly: bool = True) -> Iterator[None]:
        """Run decorated functions as plain Python inside a `with` block."""
        self.gates[1] = 1
        token = self._eager_here.set(run_eagerly)
        try:
            yield
        finally:
            self._eager_here.reset(token)

    def _forget_threads(self) -> None:
        """In a forked child: other threads, with their traces and locks, stayed behind."""
        self._gate_lock = threading.Lock()
        self._deciding = [t for t in self._deciding if t == threading.get_ident()]
        self.gates[0] = self._eager_process + len(self._deciding)


config = Config()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=config._forget_threads)
eager = config.eager
