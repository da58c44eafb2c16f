"""The machine in numbers: cores, caches, and the rates that kernels are held against.

Cache sizes and cores come from the system. Rates are typical ones until `graphjit machine`
has measured them; that is stored in the cache folder, by processor and number of cores.
GRAPHJIT_MACHINE names a JSON file that is used instead.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import stat
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from .errors import InvalidArgumentError
from .frozen import dataclass


@dataclass(frozen=True, slots=True)
class Machine:
    """What the cost model knows of a machine.

    l2_bytes: of one core. l3_bytes: the last-level cache. bytes_per_ns: what one thread reads
    and writes, to and from memory that no cache holds; cached_bytes_per_ns: while the second
    cache does. flops_per_ns: float32 multiply-adds of one thread, each counted as two. all_…:
    of all cores together.
    """

    name: str
    cores: int
    l1_bytes: int = 32 << 10
    l2_bytes: int = 1 << 20
    l3_bytes: int = 32 << 20
    bytes_per_ns: float = 16.0
    all_bytes_per_ns: float = 24.0
    cached_bytes_per_ns: float = 60.0
    flops_per_ns: float = 80.0
    all_flops_per_ns: float = 160.0
    measured: bool = False


def cache_folder() -> Path:
    """Where graphjit keeps files between processes."""
    given = os.environ.get("GRAPHJIT_CACHE_DIR")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "graphjit"


@functools.cache
def machine() -> Machine:
    """The description in use. Raises InvalidArgumentError for a file that isn't one."""
    given = os.environ.get("GRAPHJIT_MACHINE")
    if given:
        try:
            return _parsed(Path(given).read_text())
        except (OSError, ValueError) as error:
            raise InvalidArgumentError(
                f"GRAPHJIT_MACHINE={given} is not a machine description: {error}"
            ) from error
    found = _from_system()
    try:
        stored = _parsed(_regular(_file(found)))
    except (OSError, ValueError, RecursionError):
        return found
    return stored if (stored.name, stored.cores) == (found.name, found.cores) else found


def keep(description: Machine) -> Path | None:
    """Use a description from now on, in later processes too; its file, if there can be one."""
    import tempfile  # which takes 5 ms

    machine.cache_clear()
    path = _file(description)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w") as file:
            json.dump(asdict(description), file, indent=1)
        os.replace(name, path)
    except OSError:
        return None
    return path


# A description takes some hundred bytes.
_MAX_BYTES = 1 << 16


def _regular(path: Path) -> str:
    """The text of a file, which may be in anything's place: OSError if it is none."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BYTES:
            raise OSError(f"{path} is no file of a machine's description")
        return os.read(handle, _MAX_BYTES).decode()
    finally:
        os.close(handle)


def _file(description: Machine) -> Path:
    return cache_folder() / f"machine-{description.cores}.json"


def _parsed(text: str) -> Machine:
    data = json.loads(text)
    if not isinstance(data, dict):
        raise ValueError("not an object")
    known = {f.name: f for f in fields(Machine)}
    if unknown := set(data) - set(known):
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    for name, value in data.items():
        if name not in ("name", "measured") and (
            isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0
        ):
            raise ValueError(f"{name} is a number above 0, not {value!r}")
        if name == "cores" and not isinstance(value, int):
            raise ValueError(f"cores is a whole number, not {value!r}")
    start = _from_system()
    return replace(start, **data)


def _from_system() -> Machine:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = cores or 1
    sizes = _cache_sizes()
    found: dict[str, Any] = {}
    for level, field in ((1, "l1_bytes"), (2, "l2_bytes")):
        if level in sizes:
            found[field] = sizes[level]
    if sizes:
        found["l3_bytes"] = sizes[max(sizes)]
    here = Machine(_processor(), cores, **found)
    return replace(here, all_flops_per_ns=here.flops_per_ns * cores)


def _processor() -> str:
    for line in cpu_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


@functools.cache
def cpu_text() -> str:
    """What Linux tells of the first processor, or nothing; of all of them takes it long."""
    return _beginning("/proc/cpuinfo", 8192).split("\n\n")[0]


def _beginning(path: str, size: int = 100) -> str:
    """The first bytes of a file of the system's, without what `open` does for others."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        return os.read(handle, size).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(handle)


def _cache_sizes() -> dict[int, int]:
    """Bytes of this machine's data caches by level, where the system tells."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    sizes: dict[int, int] = {}
    folder = "/sys/devices/system/cpu/cpu0/cache"
    try:
        names = sorted(name for name in os.listdir(folder) if name.startswith("index"))
    except OSError:
        return {}
    for name in names:
        kind, level, size = (
            _beginning(f"{folder}/{name}/{what}").strip() for what in ("type", "level", "size")
        )
        known = level.isdecimal() and size[:-1].isdecimal() and size[-1:] in units
        if known and kind != "Instruction":
            sizes[int(level)] = int(size[:-1]) * units[size[-1]]
    return sizes
