"""The passes: Graph -> smaller Graph -> Program."""

from .fuse import Fuse
from .pipeline import (
    LEVELS,
    Conversion,
    Observer,
    Pass,
    Pipeline,
    ProgramPass,
    Timing,
    verifying,
)
from .targets import CPU, DEFAULT, PASSES, PTX, TARGETS, Target, optimized, program_of, through

__all__ = [
    "CPU", "DEFAULT", "LEVELS", "PASSES", "PTX", "TARGETS", "Conversion", "Fuse", "Observer",
    "Pass", "Pipeline", "ProgramPass", "Target", "Timing", "optimized", "program_of", "through",
    "verifying",
]  # fmt: skip
