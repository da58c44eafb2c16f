"""Compiled forms of graphs on disk: what a first call in a process finds instead of compiling.

A hit needs the traced graph and nothing that comes after it: no pass, no code generator, no
LLVM. What can't be found, read or loaded is compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import cache
from .codegen import stored
from .codegen.executable import Executable
from .codegen.loader import Loaded, Unloadable, loadable
from .config import config
from .dims import Sizes
from .errors import SourceLine
from .fingerprint import Unkeyable, graph_key, known, unchanged
from .ir import Graph

if TYPE_CHECKING:
    from .codegen.image import Image

# How many programs of one graph are kept that are for different sizes.
_MOST_GUARDED = 4
# A graph's key and its source lines.
Key = tuple[str, tuple[SourceLine, ...]]


def key_of(graph: Graph, *options: Any) -> Key | None:
    """The key of a traced graph and the options it is compiled with; None if it has none."""
    if not (config.cache and loadable() and known()):
        return None
    try:
        return graph_key(graph, *options)
    except Unkeyable:
        return None


def find(key: Key, sizes: Sizes | None = None) -> Executable | None:
    """The executable that was kept under a key, and is for sizes like those at hand."""
    if config.verify:  # a graph that is found is one that no pass is checked on
        return None
    name, lines = key
    for file in _files(name, sizes):
        payload = cache.read(file)
        if payload is None:
            return None
        try:
            program, image = stored.unpack_program(payload, lines, sizes)
            return Executable(program, None if image is None else Loaded(image))
        except stored.Unfit:
            continue
        except (stored.Unreadable, Unloadable):
            return None
    return None


def keep(
    key: Key, executable: Executable, image: Image | None, sizes: Sizes | None = None
) -> None:
    """Keep what was compiled for later processes, where that can be."""
    if image is None and executable.native:
        return
    guards = () if sizes is None else sizes.guards
    name, lines = key
    try:
        payload = stored.pack_program(executable.program, image, lines, guards)
    except stored.Unstorable:
        return
    if unchanged():
        files = _files(name, sizes)
        cache.write(next((f for f in files if cache.read(f) is None), files[0]), payload)


def _files(name: str, sizes: Sizes | None) -> list[str]:
    """Where programs of one graph are: of symbolic extents there is more than one, for passes
    bring guards.
    """
    return [name] if sizes is None else [f"{name}-{k}" for k in range(_MOST_GUARDED)]


__all__ = ["find", "keep", "key_of"]
