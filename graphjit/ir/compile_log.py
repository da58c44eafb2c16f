"""The stages of a compile: how long each takes, a line in the log, a line on a terminal.

`GRAPHJIT_LOG=compile` writes a line to stderr for each compile. One that lasts longer than a
second is shown on stderr while it runs, where that is a terminal.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from .graph import Graph

STAGES = ("trace", "look up", "passes", "fuse", "emit", "llvm", "keep")
PROGRESS_AFTER_S = 1.0
REFRESH_S = 0.1


class Stages:
    """The time that each stage of one compile took [ns], and which one is under way."""

    def __init__(self, times_ns: dict[str, int] | None = None) -> None:
        self.times_ns: dict[str, int] = {} if times_ns is None else times_ns
        self.current = ""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage."""
        self.current = name
        started = time.perf_counter_ns()
        try:
            yield
        finally:
            elapsed = time.perf_counter_ns() - started
            self.times_ns[name] = self.times_ns.get(name, 0) + elapsed


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep Python's cyclic garbage collector from going through what a compile is making,
    again and again, for nothing; and from calling code in a trace (generators that are closed,
    finalizers, its callbacks) that is no part of the function.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def log_line(
    name: str, graph: Graph, steps: int, times_ns: dict[str, int], found: bool = False
) -> str:
    """What the log says of a compile: function, total, stages in order, sizes. found: whether
    it was found on disk.
    """
    total = sum(times_ns.values()) / 1e6
    stages = ", ".join(f"{s} {times_ns[s] / 1e6:.1f}" for s in STAGES if s in times_ns)
    sizes = f"{len(graph.nodes)} nodes, {steps} steps"
    done = "found" if found else "compiled"
    return f"graphjit: {done} {name} in {total:.1f} ms: {stages}; {sizes}"


def log(line: str) -> None:
    """Write a line to stderr, whole though other threads write too."""
    print(line + "\n", end="", file=sys.stderr, flush=True)


def _console(stream: TextIO) -> Any:
    from rich.console import Console

    return Console(file=stream)


@contextmanager
def progress(
    name: str, stages: Stages, console: Callable[[TextIO], Any] = _console
) -> Iterator[None]:
    """Show a compile on stderr once it has lasted a second, if that is a terminal."""
    stream = sys.stderr
    if stream is None or not stream.isatty():
        yield
        return
    done = threading.Event()
    arguments = (name, stages, console, stream, done)
    watcher = threading.Thread(target=_watch, args=arguments, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _watch(
    name: str,
    stages: Stages,
    console: Callable[[TextIO], Any],
    stream: TextIO,
    done: threading.Event,
) -> None:
    started = time.monotonic()
    if done.wait(PROGRESS_AFTER_S):
        return
    from rich.live import Live
    from rich.text import Text

    def line() -> Text:
        elapsed = time.monotonic() - started
        return Text(f"graphjit compiles {name}: {stages.current}, {elapsed:.0f} s")

    with Live(
        line(),
        console=console(stream),
        transient=True,
        auto_refresh=False,
        redirect_stdout=False,  # what the program itself prints is left alone
        redirect_stderr=False,
    ) as live:
        while not done.wait(REFRESH_S):
            live.update(line(), refresh=True)


__all__ = ["STAGES", "Stages", "collector_paused", "log", "log_line", "progress"]
