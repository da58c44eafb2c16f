"""NumPy: the workloads as they are."""

from __future__ import annotations

from workloads import WORKLOADS

from peers import Peer


def peer() -> Peer:
    """The plain functions."""
    return Peer({w.name: w.function for w in WORKLOADS.values()})
