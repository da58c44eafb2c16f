"""graphjit: the NumPy functions as they are, decorated; ndarrays in and out."""

from __future__ import annotations

from workloads import WORKLOADS

import graphjit as gj
from peers import Peer


def peer() -> Peer:
    """The workloads traced and compiled; what can't be traced is an error, not a fallback."""
    return Peer({w.name: gj.function(w.function, fallback="error") for w in WORKLOADS.values()})
