"""Functions that run another as something else: what `gj.vmap` and `gj.grad` give."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from graphjit.core.config import config
from graphjit.jit.function import Function, function
from graphjit.tensors.apply import current_trace


class _Root:
    """What is compiled for calls outside of traces."""

    def __init__(self, as_partial: functools.partial[Any]) -> None:
        self.as_partial = as_partial
        self.__name__ = getattr(as_partial.args[0], "__name__", "function")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.as_partial(*args, **kwargs)


class Transformed:
    """A function made of the user's. It is part of the trace in which it is called, and
    compiled where there is none.

    call: takes the user's function, the options and the arguments of a call
    needs_trace: whether it can't run eagerly
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        call: Callable[..., Any],
        *options: Any,
        needs_trace: bool = False,
    ) -> None:
        functools.update_wrapper(self, fun, updated=())
        # What is called, with the user's function as an argument.
        self.as_partial = functools.partial(call, fun, *options)
        self._needs_trace = needs_trace
        self._compiled: Function | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function gives for these arguments."""
        eager = config.functions_run_eagerly
        if current_trace.get() is not None or (eager and not self._needs_trace):
            return self.as_partial(*args, **kwargs)
        if self._compiled is None:
            fallback = "error" if self._needs_trace else "eager"
            self._compiled = function(_Root(self.as_partial), fallback=fallback)
        if eager:
            with config.eager(False):
                return self._compiled(*args, **kwargs)
        return self._compiled(*args, **kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)


__all__ = ["Transformed"]
