"""The cache of compiled graphs, in this process and on disk.

A hit needs the traced graph only: no pass, no code generator, no LLVM. First come the
executables that live in this process, so that an object runs the code that was made for other
objects of its class. Then comes the disk. What can't be found, read or loaded is compiled.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from graphjit.codegen.runtime import serialize
from graphjit.codegen.runtime.executable import Executable
from graphjit.codegen.runtime.loader import Loaded, Unloadable, loadable
from graphjit.core import disk_cache
from graphjit.core.config import config
from graphjit.core.dims import Sizes
from graphjit.core.errors import SourceLine
from graphjit.ir.fingerprint import Unkeyable, assumptions, graph_key, known, unchanged
from graphjit.ir.graph import Graph

if TYPE_CHECKING:
    from graphjit.codegen.runtime.image import Image

# How many programs of one graph are stored, each for other sizes.
_MAX_GUARDED = 4
# The key of a graph, and its source lines, which differ between equal graphs.
Key = tuple[str, tuple[SourceLine, ...]]
# The executables that live, by file name and source lines: errors show these.
_live_executables: weakref.WeakValueDictionary[Key, Executable] = weakref.WeakValueDictionary()


def key_of(graph: Graph, sizes: Sizes | None, *options: Any) -> Key | None:
    """The key of a traced graph, what was assumed of its sizes and the options it is compiled
    with; None if it has none.
    """
    try:
        return graph_key(graph, assumptions(sizes), *options)
    except Unkeyable:
        return None


def _disk_usable() -> bool:
    return config.cache and loadable() and known()


def find(key: Key, sizes: Sizes | None = None) -> Executable | None:
    """The executable under a key that is for sizes like those at hand."""
    if config.verify:  # a graph that is found is one that no pass is checked on
        return None
    name, lines = key
    for file in _file_names(name, sizes):
        executable = _live_executables.get((file, lines))
        if executable is not None and _adopt(executable, sizes):
            return executable
    return _load(name, lines, sizes) if _disk_usable() else None


def _adopt(executable: Executable, sizes: Sizes | None) -> bool:
    """Whether an executable is for the sizes at hand. If so, its guards are noted."""
    if sizes is None:
        return True
    if not all(guard.holds(sizes.hints) for guard in executable.guards):
        return False
    for guard in executable.guards:
        sizes.note(guard.left, guard.relation)
    return True


def _load(name: str, lines: tuple[SourceLine, ...], sizes: Sizes | None) -> Executable | None:
    """The executable in the first file that is for sizes like those at hand."""
    for file in _file_names(name, sizes):
        payload = disk_cache.read(file)
        if payload is None:
            return None
        try:
            program, image = serialize.unpack_program(payload, lines, sizes)
            executable = Executable(program, None if image is None else Loaded(image))
        except serialize.Unfit:
            continue
        except (serialize.Unreadable, Unloadable):
            return None
        executable.guards = () if sizes is None else tuple(sizes.guards)
        _live_executables[file, lines] = executable
        return executable
    return None


def store(
    key: Key, executable: Executable, image: Image | None, sizes: Sizes | None = None
) -> None:
    """Store what was compiled, in this process and on disk where that is possible."""
    executable.guards = () if sizes is None else tuple(sizes.guards)
    name, lines = key
    files = _file_names(name, sizes)
    if not config.verify:
        free = next((f for f in files if (f, lines) not in _live_executables), files[0])
        _live_executables[free, lines] = executable
    if not _disk_usable() or (image is None and executable.native):
        return
    try:
        payload = serialize.pack_program(executable.program, image, lines, executable.guards)
    except serialize.Unstorable:
        return
    if unchanged():
        disk_cache.write(
            next((f for f in files if disk_cache.read(f) is None), files[0]), payload
        )


def _file_names(name: str, sizes: Sizes | None) -> list[str]:
    """The files of a graph's programs. With symbolic extents there may be several, for passes
    add guards.
    """
    return [name] if sizes is None else [f"{name}-{k}" for k in range(_MAX_GUARDED)]


__all__ = ["find", "key_of", "store"]
