"""JAX: the NumPy functions with jax.numpy as their `np`, compiled by XLA."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import workloads

from peers import Peer

# `scipy` has to be an object that finds `special`, as the module jax.scipy does
NAMES = {"np": jnp, "scipy": jax.scipy}


def _on_jax(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same code, with JAX's modules where it says np and scipy."""
    namespace = {**function.__globals__, **NAMES}
    compiled = jax.jit(types.FunctionType(function.__code__, namespace, function.__name__))
    return lambda *args: jax.block_until_ready(compiled(*args))


def peer() -> Peer:
    """Arguments and results are JAX arrays on the CPU; a call waits for its results."""
    functions = {w.name: _on_jax(w.function) for w in workloads.WORKLOADS.values()}
    return Peer(functions, give=jax.device_put)
