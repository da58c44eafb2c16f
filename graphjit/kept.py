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
from .errors import SourceLine
from .fingerprint import Unkeyable, graph_key, known, unchanged
from .ir import Graph

if TYPE_CHECKING:
    from .codegen.image import Image

# A graph's key and its source lines.
Key = tuple[str, tuple[SourceLine, ...]]


def key_of(graph: Graph, *options: bool) -> Key | None:
    """The key of a traced graph and the options it is compiled with; None if it has none."""
    if not (config.cache and loadable() and known()):
        return None
    try:
        return graph_key(graph, *options)
    except Unkeyable:
        return None


def find(key: Key) -> Executable | None:
    """The executable that was kept under a key."""
    if config.verify:  # a graph that is found is one that no pass is checked on
        return None
    name, lines = key
    payload = cache.read(name)
    if payload is None:
        return None
    try:
        program, image = stored.unpack_program(payload, lines)
        return Executable(program, None if image is None else Loaded(image))
    except (stored.Unreadable, Unloadable):
        return None


def keep(key: Key, executable: Executable, image: Image | None) -> None:
    """Keep what was compiled for later processes, where that can be."""
    if image is None and executable.native:
        return
    try:
        name, lines = key
        payload = stored.pack_program(executable.program, image, lines)
    except stored.Unstorable:
        return
    if unchanged():
        cache.write(name, payload)


__all__ = ["find", "keep", "key_of"]
