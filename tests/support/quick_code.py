"""A mode for programs that test many functions a second: machine code made quickly.

    python tests/support/extent_programs.py --quick --count 100000

LLVM's passes and its optimising code generator take most of the time of a random program that
is called a few times. Without them a program takes 0.4 times as long. Kernels, their vectors
and their memory accesses are those of the slow mode: graphjit writes them, not LLVM.
"""

from __future__ import annotations


def install() -> None:
    """Compile all functions of this process so, and keep none of them on the disk."""
    from graphjit import config
    from graphjit.codegen.cpu import target
    from graphjit.codegen.optimize import simplify

    config.cache = False
    target._choose_optimizer = lambda emitted: (simplify, 0)
