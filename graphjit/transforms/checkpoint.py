"""`gj.checkpoint`: functions that are run again on the way back, rather than kept."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.functions.control import choose
from graphjit.ops import control
from graphjit.tensors.apply import current_trace

from .transformed import Transformed


class checkpoint_policies(Enum):
    """What is kept of a function for the way back: JAX's names.

    nothing_saveable: what it is given. dots_saveable: the results of its matrix products, too.
    everything_saveable: all that the way back needs, as without `gj.checkpoint`.
    """

    nothing_saveable = "nothing"
    dots_saveable = "products"
    everything_saveable = "everything"


def checkpoint(
    fun: Callable[..., Any], *, policy: checkpoint_policies | None = None
) -> Transformed:
    """The same function, of which derivatives keep what it is given, and run it again:
    `jax.checkpoint`.

    Of a chain of n layers, each a checkpoint, memory for the way back is that of n inputs and
    of one layer. `fun`: arrays in any structure for arguments and results, as for `gj.cond`.
    policy: what is kept besides, one of `gj.checkpoint_policies`; None: nothing.

    Raises InvalidArgumentError for another policy.
    """
    if not callable(fun):
        raise InvalidArgumentError(at_user_line(f"a checkpoint of {fun!r}, no function"))
    kept = checkpoint_policies.nothing_saveable if policy is None else policy
    if not isinstance(kept, checkpoint_policies):
        names = ", ".join(f"gj.checkpoint_policies.{p.name}" for p in checkpoint_policies)
        raise InvalidArgumentError(at_user_line(f"policy is one of {names}, not {policy!r}"))
    return Transformed(fun, _checkpointed, kept.value)


def _checkpointed(fun: Callable[..., Any], keeps: str, /, *args: Any, **kwargs: Any) -> Any:
    trace: Any = current_trace.get()
    if trace is None or keeps == checkpoint_policies.everything_saveable.value:
        return fun(*args, **kwargs)
    first = trace.symbol_of(trace.builder.const(np.zeros((), np.int64)), "numpy")
    functions = {"the function": lambda: fun(*args, **kwargs)}
    primitive = control.checkpoint
    return choose(trace, primitive, first, "numpy", functions, (), "Checkpoint", keeps=keeps)


__all__ = ["checkpoint", "checkpoint_policies"]
