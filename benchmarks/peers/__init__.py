"""The peers: each file holds one library's versions of the workloads, as its users write them.

A file offers `peer(...)`, which imports the library and gives a `Peer`. Arguments are handed
over before the clock starts, in the peer's own arrays where it has some; results stay there. A
library that has a workload as one call (softmax, gelu, ...) uses that call. What a library
can't say well is left out of its file.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


def _same(array: Any) -> Any:
    return array


@dataclass(frozen=True)
class Peer:
    """One library's functions by workload; a call returns when its results are there.

    give: makes the peer's array of an ndarray. take: makes an ndarray of a result.
    """

    functions: Mapping[str, Callable[..., Any]]
    give: Callable[[Any], Any] = _same
    take: Callable[[Any], Any] = np.asarray


# name on the command line -> module, arguments of its `peer`
MODULES: dict[str, tuple[str, dict[str, Any]]] = {
    "graphjit": ("graphjit", {}),
    "numpy": ("numpy", {}),
    "numexpr": ("numexpr", {}),
    "numba": ("numba", {"parallel": True}),
    "numba-1": ("numba", {"parallel": False}),
    "jax": ("jax", {}),
    "torch": ("torch", {"compiled": False}),
    "torch.compile": ("torch", {"compiled": True}),
    "tensorflow": ("tensorflow", {}),
}
PEERS = tuple(name for name in MODULES if name != "graphjit")


def load(name: str) -> Peer:
    """Import a peer; ImportError where it isn't installed."""
    module, options = MODULES[name]
    return importlib.import_module(f"peers.{module}").peer(**options)
