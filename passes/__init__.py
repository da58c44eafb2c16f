"""The passes: Graph -> smaller Graph -> Program."""

from .default import DEFAULT, PASSES, program_of
from .donate import donate
from .fuse import fuse
from .memory import plan_memory
from .pipeline import Pass, Pipeline, Timing, verifying

__all__ = [
    "DEFAULT",
    "PASSES",
    "Pass",
    "Pipeline",
    "Timing",
    "donate",
    "fuse",
    "plan_memory",
    "program_of",
    "verifying",
]
