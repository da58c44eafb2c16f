"""Compiled forms of graphs on disk: what a first call in a process finds instead of compiling.

A hit needs the traced graph and nothing that comes after it: no pass, no code generator, no
LLVM. What can't be found, read or loaded is compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import cache
from .codegen import stored
from .codegen.executable import Executable
from .codegen.loader import Loaded, Unloadable, loadable
from .config import config
from .fingerprint import Unkeyable, graph_key, lines, unchanged
from .ir import Graph

if TYPE_CHECKING:
    from .codegen.image import Image


def key_of(graph: Graph, fast_math: bool) -> str | None:
    """The key of a traced graph, or None where its code can't be kept."""
    if not (config.cache and loadable() and unchanged()):
        return None
    try:
        return graph_key(graph, fast_math)
    except Unkeyable:
        return None


def find(key: str, graph: Graph) -> Executable | None:
    """The executable that was kept for a graph with this key."""
    if config.verify:  # a graph that is found is one that no pass is checked on
        return None
    payload = cache.read(key)
    if payload is None:
        return None
    try:
        program, image = stored.unpack_program(payload, lines(graph))
        return Executable(program, None if image is None else Loaded(image))
    except (stored.Unreadable, Unloadable):
        return None


def keep(key: str, graph: Graph, executable: Executable, image: Image | None) -> None:
    """Keep what was compiled for later processes, where that can be."""
    if image is None and executable.native:
        return
    try:
        payload = stored.pack_program(executable.program, image, lines(graph))
    except stored.Unstorable:
        return
    if unchanged():
        cache.write(key, payload)


__all__ = ["find", "keep", "key_of"]
