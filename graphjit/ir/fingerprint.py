"""What compiled code depends on, as the keys under which `disk_cache.py` keeps it.

A key says everything that decides the code: the traced graph, what was assumed of its symbolic
sizes, the function's options, the machine, and the versions of graphjit, LLVM, NumPy and
Python. Code of another key is never looked at. Nothing is compiled, and no compiler imported,
to find a key.
"""

from __future__ import annotations

import functools
import importlib.util
import marshal
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from graphjit.core.config import LOADED_NS
from graphjit.core.dims import Dim, Sizes
from graphjit.core.disk_cache import blake2b
from graphjit.core.errors import SourceLine
from graphjit.core.machine import cpu_text, machine
from graphjit.core.types import DType, TensorType, TupleType
from graphjit.ops.primitive import PRIMITIVES, Primitive
from graphjit.ops.source import Literal

from .graph import Graph

# To be counted up where the layout of stored code changes but no file of graphjit's does.
FORMAT = 1
_KEY_BYTES = 20
_LIBRARY = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
# What may change from one moment to the next.
_PASSING = ("cpu MHz", "bogomips", "processor", "apicid", "initial apicid", "core id")


class Unkeyable(Exception):
    """A graph with something whose meaning can't be put into a key."""


def known() -> bool:
    """Whether this process can say what files of graphjit it runs: modules are loaded when they
    are needed, and the files have not changed since it loaded the first.
    """
    return _latest_change() < LOADED_NS


def unchanged() -> bool:
    """Whether graphjit's files are still the same: code that old and new ones made together is
    not to be stored.
    """
    return _own_files() == _files_at_first()


def process_key(name: str, parts: Sequence[int] = ()) -> str:
    """The key of code that is the same for all functions."""
    return _digest(f"{name} {tuple(parts)}".encode())


def graph_key(graph: Graph, *options: Any) -> tuple[str, tuple[SourceLine, ...]]:
    """The key of a traced graph's code, and its distinct source lines. Raises Unkeyable.

    options: all that the passes and the compiler are told besides. Which nodes share a line is
    part of the key, the lines themselves are not: on disk is a line's number, for graphs with
    one key may come from different files.
    """
    numbers: dict[SourceLine, int] = {}
    types: dict[int, str] = {}
    heads: dict[Primitive, str] = {}
    parts: list[Any] = [graph.name, repr(options)]
    line, last = -1, None
    for node in graph.nodes:
        primitive, type = node.primitive, node.type
        head = heads.get(primitive)
        if head is None:
            head = heads[primitive] = _primitive_text(primitive)
        shown = types.get(id(type))
        if shown is None:
            shown = types[id(type)] = _type_text(type)
        if node.source is not last:
            last = node.source
            line = -1 if last is None else numbers.setdefault(last, len(numbers))
        attrs = node.attrs and tuple([(name, _plain(value)) for name, value in node.attrs])
        part: tuple[Any, ...] = head, node.inputs, shown, line, attrs
        if node.regions:
            part += (tuple([_region(region, numbers) for region in node.regions]),)
        parts.append(part)
    parts += [graph.outputs, graph.updates]
    # of this version equal objects have equal bytes; read back they never are
    return _digest(marshal.dumps(parts, 2)), tuple(numbers)


def _region(region: Graph, numbers: dict[SourceLine, int]) -> tuple[Any, ...]:
    """What a region's code depends on. numbers: of source lines, to which its own come."""
    parts: list[Any] = []
    for node in region.nodes:
        line = -1 if node.source is None else numbers.setdefault(node.source, len(numbers))
        attrs = tuple([(name, _plain(value)) for name, value in node.attrs])
        inner = tuple([_region(graph, numbers) for graph in node.regions])
        head, type = _primitive_text(node.primitive), _type_text(node.type)
        parts.append((head, node.inputs, type, line, attrs, inner))
    return region.name, tuple(parts), region.outputs


def assumptions(sizes: Sizes | None) -> tuple[Any, ...]:
    """What a traced graph's nodes don't say of its symbols: the guards that the trace noted,
    which the code checks at each call, and the symbols that may be 1.
    """
    if sizes is None:
        return ()
    return tuple(map(str, sizes.guards)), tuple(sorted(sizes.may_be_one))


def _digest(content: bytes) -> str:
    digest = blake2b(_surroundings(), digest_size=_KEY_BYTES)
    digest.update(repr(machine()).encode())
    digest.update(content)
    return digest.hexdigest()


def _primitive_text(primitive: Primitive) -> str:
    """A primitive's name, where its rules are among graphjit's own files."""
    own = getattr(primitive.type, "__module__", "").startswith("graphjit.")
    if not own or PRIMITIVES.get(primitive.name) is not primitive:
        raise Unkeyable(primitive.name)
    return primitive.name


def _type_text(type: TensorType | TupleType) -> str:
    for item in type.items if isinstance(type, TupleType) else (type,):
        if any(n.__class__ is not int and n.__class__ is not Dim for n in item.shape):
            raise Unkeyable(f"the extents of {type}")
    return str(type)


def _plain(value: Any) -> Any:
    """An attribute in numbers, text and tuples of them, none the same as another's."""
    kind = type(value)
    if kind is Literal:
        array = value.array
        data = array.tobytes() if array.nbytes <= 64 else _digest_of(array)
        return _dtype_text(array.dtype), array.shape, data
    if kind in (int, bool, str, float, complex, type(None)):
        return value
    if kind is tuple:
        return tuple([_plain(item) for item in value])
    if kind is DType:
        return b"dtype", value.short
    if kind is Dim:
        return b"dim", str(value)
    if kind is TensorType or kind is TupleType:
        return b"type", _type_text(value)
    raise Unkeyable(f"{kind.__name__} {value!r}")


@functools.cache
def _dtype_text(dtype: np.dtype[Any]) -> str:
    return dtype.str


def _digest_of(array: np.ndarray[Any, Any]) -> bytes:
    whole = np.ascontiguousarray(array).view(np.uint8)
    return blake2b(whole.data, digest_size=_KEY_BYTES).digest()


@functools.cache
def _surroundings() -> bytes:
    """A digest of all that is the same for every graph in a process."""
    digest = blake2b(digest_size=32)
    for part in _versions():
        digest.update(f"{part}\n".encode())
    return digest.digest()


def _versions() -> Iterator[object]:
    yield FORMAT
    yield sys.version, sys.implementation.cache_tag, sys.platform, sys.byteorder, sys.maxsize
    yield np.__version__
    yield os.uname().machine if hasattr(os, "uname") else ""
    yield from _processor()
    # not when a file was put there: an image of a machine may bring a cache along
    yield from (file[:-1] for file in _files_at_first())
    yield from _llvm_files()


def _processor() -> Iterator[str]:
    """The processor's model and features, where the system tells."""
    for line in cpu_text().splitlines():
        if not line.startswith(_PASSING):
            yield line


# Folders whose files decide no machine code: what they make of a call is in the traced graph,
# or never becomes code of this processor.
_UNKEYED = frozenset(
    ("cli", "cuda", "export", "functions", "keras", "numpy_protocol", "tensors", "codegen/ptx")
)

# A file's folder, name and size, and the times of its content's and its own last change [ns].
_File = tuple[str, str, int, int, int]


def _own_files() -> list[_File]:
    """graphjit's files, but for those of `_UNKEYED` folders: who edits one compiles anew."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    folders = [(package, "")]
    for part in ("passes", "codegen"):  # in a checkout they stand beside the package
        if not os.path.isdir(os.path.join(package, part)):
            folders.append((os.path.join(os.path.dirname(package), part), part))
    found = []
    while folders:
        folder, part = folders.pop()
        found += _files(folder, part, ".py")
        with os.scandir(folder) as entries:
            for entry in entries:
                inner = f"{part}/{entry.name}" if part else entry.name
                if entry.name[0] not in "._" and inner not in _UNKEYED and entry.is_dir():
                    folders.append((entry.path, inner))
    return sorted(found)


def _files(folder: str, part: str, ending: str) -> list[_File]:
    found = []
    with os.scandir(folder) as files:
        for file in files:
            if file.name.endswith(ending):
                status = file.stat()
                times = status.st_mtime_ns, status.st_ctime_ns
                found.append((part, file.name, status.st_size, *times))
    return sorted(found)


@functools.cache
def _files_at_first() -> list[_File]:
    return _own_files()


@functools.cache
def _latest_change() -> int:
    return max(changed for *_, changed in _files_at_first())


def _llvm_files() -> Iterator[object]:
    """llvmlite's version and its library's size and time of change."""
    try:
        spec = importlib.util.find_spec("llvmlite")
    except (ImportError, ValueError):
        spec = None
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        with open(os.path.join(folder, "_version.py"), "rb") as file:
            yield file.read()
        yield from (file[:-1] for file in _files(os.path.join(folder, "binding"), "", _LIBRARY))


__all__ = ["Unkeyable", "assumptions", "graph_key", "known", "process_key", "unchanged"]
