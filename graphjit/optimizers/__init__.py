"""`gj.optimizers`: optimizers of variables with Keras' names and numbers, schedules, and pure
ones with optax's names and numbers.
"""

from __future__ import annotations

from . import pure, schedules
from .adaptive import (
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Lamb,
    Lion,
    Nadam,
    RMSprop,
)
from .descent import SGD
from .lbfgs import Minimum, lbfgs
from .lookahead import Lookahead
from .optimizer import Optimizer

__all__ = [
    "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Lamb", "Lion",
    "Lookahead", "Minimum", "Nadam", "Optimizer", "RMSprop", "lbfgs", "pure", "schedules",
]  # fmt: skip
