"""Tools for looking into functions, under their public names."""

from graphjit.jit.check_numerics import check_numerics

__all__ = ["check_numerics"]
