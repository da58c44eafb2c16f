"""Keras's low-level names."""

from . import backend

__all__ = ["backend"]
