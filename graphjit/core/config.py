"""Options of the process, read from the environment once."""

from __future__ import annotations

import os
import threading
import time
import warnings
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from . import cpus
from .errors import InvalidArgumentError

LOADED_NS = time.time_ns()  # when this process began to load graphjit


# The variables of the environment that are read, here and elsewhere, and those of the tests.
VARIABLES = (
    "GRAPHJIT_CACHE", "GRAPHJIT_CACHE_BYTES", "GRAPHJIT_CACHE_DIR", "GRAPHJIT_CUBLAS",
    "GRAPHJIT_EAGER", "GRAPHJIT_LOG", "GRAPHJIT_MACHINE", "GRAPHJIT_MEMORY_BUDGET",
    "GRAPHJIT_NATIVE_AFTER", "GRAPHJIT_NUM_THREADS", "GRAPHJIT_PTXAS",
    "GRAPHJIT_SYMBOLIC_AFTER", "GRAPHJIT_VERIFY",
)  # fmt: skip
_OF_TESTS = ("GRAPHJIT_LONG_TESTS", "GRAPHJIT_TEST_LEVEL", "GRAPHJIT_UPDATE_GOLDEN")
_TOPICS = ("compile",)


def _flag(name: str, default: bool = False) -> bool:
    given = os.environ.get(name, "").strip().lower()
    if given in ("0", "false", "no", "off", "1", "true", "yes", "on", ""):
        return given not in ("0", "false", "no", "off") if given else default
    raise InvalidArgumentError(
        f"{name} is 1 or 0 (true, yes, on; false, no, off), not {given!r}"
    )


def _whole(name: str, default: int, least: int, never: bool = False) -> int | None:
    """A count that a variable holds; None for "never" where that may be."""
    given = os.environ.get(name, "").strip()
    if not given:
        return default
    if never and given == "never":
        return None
    if given.isascii() and given.isdecimal() and int(given) >= least:
        return int(given)
    what = f"a count from {least} on" + (' or "never"' if never else "")
    raise InvalidArgumentError(f"{name} is {what}, not {given!r}")


def _topics() -> frozenset[str]:
    given = os.environ.get("GRAPHJIT_LOG", "").replace(",", " ").split()
    for topic in given:
        if topic not in _TOPICS:
            raise InvalidArgumentError(f"GRAPHJIT_LOG has {', '.join(_TOPICS)}, not {topic!r}")
    return frozenset(given)


def _warn_of_unknown() -> None:
    """Warn of variables that look as if they were graphjit's: an error would stop programs that
    another version's, or another tool's, are meant for.
    """
    for name in os.environ:
        if name.startswith("GRAPHJIT_") and name not in VARIABLES and name not in _OF_TESTS:
            warnings.warn(
                f"{name} in the environment means nothing to graphjit{_meant(name, VARIABLES)}",
                RuntimeWarning,
                stacklevel=2,
            )


def _meant(name: str, known: Iterable[str]) -> str:
    """Which known names may have been meant, and all of them."""
    import difflib  # which takes ms

    known = sorted(known)
    close = difflib.get_close_matches(name, known, 1)
    perhaps = f"; did you mean {close[0]}?" if close else "."
    return f"{perhaps} There are: {', '.join(known)}"


def _switch(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise InvalidArgumentError(f"config.{name} is True or False, not {value!r}")


def _number(name: str, value: Any, least: int, never: bool = False) -> None:
    if never and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        what = f"a count from {least} on" + (" or None" if never else "")
        raise InvalidArgumentError(f"config.{name} is {what}, not {value!r}")


def _words(name: str, value: Any) -> None:
    if not isinstance(value, (frozenset, set)) or not value <= {*_TOPICS}:
        shown = ", ".join(map(repr, _TOPICS))
        raise InvalidArgumentError(f"config.{name} is a set of words ({shown}), not {value!r}")


# Option -> what raises InvalidArgumentError for values that it can't have.
_OPTIONS: dict[str, Callable[[str, Any], None]] = {
    "verify": _switch,
    "cache": _switch,
    "cache_bytes": lambda name, value: _number(name, value, 0),
    "memory_budget": lambda name, value: _number(name, value, 0),
    "log": _words,
    "cublas": _switch,
    "static_values": lambda name, value: _number(name, value, 0),
    "recompile_warning": lambda name, value: _number(name, value, 0),
    "threads": lambda name, value: _number(name, value, 1),
    "symbolic_after": lambda name, value: _number(name, value, 1, never=True),
    "native_after": lambda name, value: _number(name, value, 0, never=True),
}


class Config:
    """The process's options. `gj.config` is the one instance.

    cache: whether compiled code is stored on disk between processes (`GRAPHJIT_CACHE=0` turns
        it off), and read from there unless `verify` is on. `GRAPHJIT_CACHE_DIR` says where.
    cache_bytes: what it may take there; what was not used for longest is removed
        (`GRAPHJIT_CACHE_BYTES`, by default 1 GiB).

    verify: check every graph after every pass (`GRAPHJIT_VERIFY=1`).
    memory_budget: how many bytes a loop that is differentiated may keep of products and
        routines in its turns, so that the way back doesn't compute them again; what it carries
        is kept in any case (`GRAPHJIT_MEMORY_BUDGET`, by default 1 GiB).
    log: what is written to stderr: "compile" for a line with the time of each stage of every
        compile. From `GRAPHJIT_LOG`, words with commas between them.
    cublas: whether functions of device="cuda" leave large matrix products to cuBLAS, if it is
        there (`graphjit[cublas]`), whose results differ in the last bits (`GRAPHJIT_CUBLAS=0`
        turns it off).
    static_values: how many values of a Python scalar that steers control flow are compiled
        before the function falls back to eager mode.
    threads: how many threads work on one kernel; from `GRAPHJIT_NUM_THREADS`, else this
        process's share of the CPUs (`cpus.py`). Results are the same at any number.
    recompile_warning: when a function has been compiled again so often, a warning says why; 0
        for never.
    symbolic_after: with how many sizes an extent of an argument has to be seen to become
        symbolic, so that one specialization serves all sizes; None for never. From
        `GRAPHJIT_SYMBOLIC_AFTER`, a count or "never". Results are the same.
    native_after: how many calls of compiled functions go through Python before the machine
        code is made that lets calls enter without it (that takes about 40 ms); None for never.
        From `GRAPHJIT_NATIVE_AFTER`, a count or "never". Results are the same.
    """

    cache: bool
    cache_bytes: int
    verify: bool
    memory_budget: int
    log: frozenset[str]
    cublas: bool
    static_values: int
    recompile_warning: int
    symbolic_after: int | None
    native_after: int | None

    def __init__(self) -> None:
        _warn_of_unknown()
        self.verify = _flag("GRAPHJIT_VERIFY")
        self.cache = _flag("GRAPHJIT_CACHE", True)
        self.cache_bytes = _whole("GRAPHJIT_CACHE_BYTES", 1 << 30, 0) or 0
        self.memory_budget = _whole("GRAPHJIT_MEMORY_BUDGET", 1 << 30, 0) or 0
        self.log = _topics()
        self.cublas = _flag("GRAPHJIT_CUBLAS", True)
        self.static_values = 64
        self.recompile_warning = 16
        self._forbids: ContextVar[bool] = ContextVar("graphjit_forbids", default=False)
        self._threads = _whole("GRAPHJIT_NUM_THREADS", 0, 1) or cpus.available()
        self._thread_watchers: list[Callable[[int], None]] = []
        self.symbolic_after = _whole("GRAPHJIT_SYMBOLIC_AFTER", 2, 1, never=True)
        self.native_after = _whole("GRAPHJIT_NATIVE_AFTER", 32, 0, never=True)
        # Words that machine code reads at each call: not 0 where Python has to decide what to
        # do, for traces are under way or functions run eagerly; not 0 once a context was told
        # to run eagerly or not.
        self.gates = array("q", [0, 0])
        self._gate_lock = threading.Lock()
        self._deciding: list[int] = []  # the threads for which the first is not 0
        self._eager_process = False
        self.run_functions_eagerly(_flag("GRAPHJIT_EAGER"))
        self._eager_here: ContextVar[bool | None] = ContextVar("graphjit_eager", default=None)

    def __setattr__(self, name: str, value: Any) -> None:
        check = _OPTIONS.get(name)
        if check is not None:
            check(name, value)
        elif not name.startswith("_") and name != "gates":
            raise AttributeError(f"config has no option {name!r}{_meant(name, _OPTIONS)}")
        object.__setattr__(self, name, value)

    @property
    def threads(self) -> int:
        """How many threads work on one kernel."""
        return self._threads

    @threads.setter
    def threads(self, count: int) -> None:
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
        """In a `with` block, a call that no specialization of a function fits raises
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
