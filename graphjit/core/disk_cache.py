"""Compiled code stored on disk between processes: bytes by key.

One file for each key, in the folder `code` of graphjit's cache folder. A file is written under
another name and then renamed, so that a reader sees all of it or nothing, and begins with a
digest of its key and content: what is damaged, cut short or foreign is as good as missing.
Nothing here raises for what a disk or a folder is like: a cache that can't be read or written
is one without entries. Since entries become machine code, a folder or file that others could
have written is not read; that is said once.

The files that were not used for longest go when there are more bytes than `config.cache_bytes`.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import threading
import time
import warnings
from typing import NamedTuple

from .config import config
from .machine import cache_folder

try:
    from _blake2 import blake2b  # without OpenSSL, which takes hashlib 5 ms to load
except ImportError:
    from hashlib import blake2b

_MAGIC = b"graphjit"
_DIGEST_BYTES = 32
_LENGTH = struct.Struct("<Q")
_HEAD_BYTES = len(_MAGIC) + _LENGTH.size + _DIGEST_BYTES
# A pipe in a file's place would else keep who opens it waiting; not all systems have these.
_OPEN_TO_READ = os.O_RDONLY
for _name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"):
    _OPEN_TO_READ |= getattr(os, _name, 0)
_ENDING, _UNFINISHED = ".code", ".part"
# A process that was killed leaves its unfinished file; no write takes as long as this [s].
_ABANDONED_AFTER = 3600
# All sizes are added up at a process's first write, and then once it has written so much.
_COUNT_SHARE = 1 / 16
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


class CacheWarning(UserWarning):
    """The cache folder can't be used, and why."""


class Info(NamedTuple):
    """The state of the cache. problem: why it isn't used, or empty."""

    folder: str
    entries: int
    bytes: int
    limit_bytes: int
    problem: str


class _State:
    """What this process knows of the cache. to_count: bytes it may write until it counts."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.warned = False
        self.to_count = 0
        self.number = 0

    def unlock(self) -> None:
        """In a forked child: whoever held the lock stayed behind."""
        self.lock = threading.Lock()


_state = _State()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _state.unlock())


def code_folder() -> str:
    """Where the files are."""
    return os.path.join(cache_folder(), "code")


def read(key: str) -> bytes | None:
    """What was written under a key, or None. Marks it as used."""
    if not config.cache or _refused():
        return None
    path = _path(key)
    try:
        handle = os.open(path, _OPEN_TO_READ)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode) or _foreign(status):
                return None
            head, length = _all_of(handle, _HEAD_BYTES), status.st_size - _HEAD_BYTES
            payload = None
            if head.startswith(_beginning(length)):  # else it may be as long as a file can be
                payload = _all_of(handle, length)
        finally:
            os.close(handle)
    except (OSError, MemoryError):
        return None
    if payload is None or head != _beginning(length) + _digest(key, payload):
        with contextlib.suppress(OSError):
            os.unlink(path)
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # the time of the last use
    return payload


def write(key: str, payload: bytes) -> bool:
    """Keep bytes under a key; whether that worked."""
    if not config.cache or len(payload) + _HEAD_BYTES > config.cache_bytes:
        return False
    folder = code_folder()
    try:
        os.makedirs(os.path.dirname(cache_folder()) or ".", exist_ok=True)
        for made in (cache_folder(), folder):
            with contextlib.suppress(FileExistsError):
                os.mkdir(made, 0o700)
    except OSError:
        return False
    if _refused():
        return False
    with _state.lock:
        _state.number += 1
        name = f"{os.getpid()}-{threading.get_native_id()}-{_state.number}-{time.time_ns()}"
    unfinished = os.path.join(folder, name + _UNFINISHED)
    try:
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError:
        return False
    try:
        try:
            for part in (_beginning(len(payload)) + _digest(key, payload), payload):
                left = memoryview(part)
                while left:
                    left = left[os.write(handle, left) :]
        finally:
            os.close(handle)
        os.replace(unfinished, _path(key))
    except OSError:
        return False
    finally:
        # also where the process is interrupted; after the rename there is no such file
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
    _bound(len(payload) + _HEAD_BYTES)
    return True


def info() -> Info:
    """The state of the cache folder."""
    problem = "" if config.cache else "it is turned off"
    found = _entries()
    total = sum(size for _, size, _ in found)
    problem = problem or _problem()
    return Info(code_folder(), len(found), total, config.cache_bytes, problem)


def clear() -> int:
    """Remove all entries; how many there were."""
    count = 0
    for _, _, path in _entries(0):
        with contextlib.suppress(OSError):
            os.unlink(path)
            count += path.endswith(_ENDING)
    return count


def _path(key: str) -> str:
    return os.path.join(code_folder(), key + _ENDING)


def _beginning(length: int) -> bytes:
    """What a file starts with whose payload has so many bytes; nothing has less than none."""
    return _MAGIC + _LENGTH.pack(max(0, length))


def _digest(key: str, payload: bytes | memoryview) -> bytes:
    digest = blake2b(key.encode(), digest_size=_DIGEST_BYTES)
    digest.update(b"\0")
    digest.update(payload)
    return digest.digest()


def _all_of(handle: int, size: int) -> bytes:
    """A file's content; shorter than `size` where the file has become shorter meanwhile."""
    parts = []
    while size > 0:
        part = os.read(handle, size)
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _foreign(status: os.stat_result) -> bool:
    """Whether others than this user could have written a file or folder."""
    own = not hasattr(os, "geteuid") or status.st_uid == os.geteuid()
    return not own or bool(status.st_mode & _OTHERS_MAY_WRITE)


def _problem() -> str:
    """Why the folder's content isn't trusted; empty where it is, or where there is none."""
    for folder in (os.fspath(cache_folder()), code_folder()):
        try:
            status = os.stat(folder)
        except OSError:  # then nothing can be read or written there either
            continue
        if not stat.S_ISDIR(status.st_mode):
            return f"{folder} is no folder"
        if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
            return f"{folder} belongs to another user"
        if status.st_mode & _OTHERS_MAY_WRITE:
            return f"{folder} can be written by other users: chmod go-w {folder}"
    return ""


def _refused() -> bool:
    problem = _problem()
    if problem and not _state.warned:
        _state.warned = True
        text = f"compiled code is not stored on disk: {problem}. GRAPHJIT_CACHE=0 says so too"
        warnings.warn(text, CacheWarning, stacklevel=2)
    return bool(problem)


def _entries(abandoned_after: float = _ABANDONED_AFTER) -> list[tuple[int, int, str]]:
    """When each file was used last [ns], its bytes, its path; removes what was abandoned."""
    found = []
    oldest = time.time() - abandoned_after
    try:
        with os.scandir(code_folder()) as files:
            for file in files:
                with contextlib.suppress(OSError):
                    status = file.stat(follow_symlinks=False)
                    if file.name.endswith(_ENDING):
                        found.append((status.st_mtime_ns, status.st_size, file.path))
                    elif file.name.endswith(_UNFINISHED) and status.st_mtime < oldest:
                        os.unlink(file.path)
    except OSError:
        return []
    return found


def _bound(written: int) -> None:
    """Remove what was not used for longest, if there may be too many bytes."""
    with _state.lock:
        _state.to_count -= written
        if _state.to_count > 0:
            return
        _state.to_count = int(config.cache_bytes * _COUNT_SHARE)
    found = sorted(_entries())
    total = sum(size for _, size, _ in found)
    for _, size, path in found:
        if total <= config.cache_bytes:
            break
        with contextlib.suppress(OSError):
            os.unlink(path)
        total -= size


__all__ = [
    "CacheWarning", "Info", "blake2b", "clear", "code_folder", "info", "read", "write",
]  # fmt: skip
