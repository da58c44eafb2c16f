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
from .optimizer import Optimizer

__all__ = [
    "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Lamb", "Lion",
    "Nadam", "Optimizer", "RMSprop", "pure", "schedules",
]  # fmt: skip
