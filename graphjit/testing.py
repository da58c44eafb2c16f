"""Checks for tests of programs with derivatives, under their public name."""

from graphjit.transforms.check_grads import check_grads

__all__ = ["check_grads"]
