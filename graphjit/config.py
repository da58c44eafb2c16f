"""Options, read from the environment once; each can be set for the process or in a `with` block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


def _flag(name: str) -> bool:
    return os.environ.get(name, "").lower() not in ("", "0", "false", "no", "off")


class Config:
    """The process's options. `gj.config` is the one instance.

    verify: check every graph after every pass (`GRAPHJIT_VERIFY=1`).
    static_values: how many values of a Python scalar that steers control flow are compiled
        before the function falls back to eager mode.
    """

    def __init__(self) -> None:
        self.verify = _flag("GRAPHJIT_VERIFY")
        self.static_values = 64
        self._eager_process = _flag("GRAPHJIT_EAGER")
        self._eager_here: ContextVar[bool | None] = ContextVar("graphjit_eager", default=None)

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
