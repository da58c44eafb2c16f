"""Locks that a forked child finds free, and forks that wait for what can't be left half done.

The threads that held a lock when a process forked aren't there in the child, where nobody would
ever release it. What these locks guard is whole whenever Python code can run: tables and arrays
are replaced in one step. A module that was half imported would stay so in the child: so a fork
waits for other threads that import parts of graphjit, and for those inside LLVM; and they
wait for a fork that has begun.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

_locks: weakref.WeakSet[Any] = weakref.WeakSet()
_importers: list[int] = []
_forks: list[int] = []
_awaited: list[AbstractContextManager[Any]] = []
_entered: list[AbstractContextManager[Any]] = []
_WAIT_SECONDS = 0.001
_FORK_SECONDS = 1.0


def new_lock() -> Any:
    """A reentrant lock which, in a forked child, only the thread that forked can hold."""
    lock: Any = threading.RLock()
    _locks.add(lock)
    return lock


@contextmanager
def importing() -> Iterator[None]:
    """Let forks in other threads wait for what is imported in the `with` block.

    A fork under way goes first: it waits for no import any more. Should it take over a second,
    the import goes on, since who waits here may hold what the fork's other hooks wait for.
    """
    thread = threading.get_ident()
    _importers.append(thread)
    end = time.monotonic() + _FORK_SECONDS
    while any(other != thread for other in list(_forks)) and time.monotonic() < end:
        _importers.remove(thread)
        time.sleep(_WAIT_SECONDS)
        _importers.append(thread)
    try:
        yield
    finally:
        _importers.remove(thread)


def hold_over_forks(lock: AbstractContextManager[Any]) -> None:
    """From now on forks wait for a lock and hold it; no other may be waited for inside it."""
    _awaited.append(lock)


def _before() -> None:
    """Return while no other thread imports, none is to begin, and all locks are held."""
    thread = threading.get_ident()
    while True:
        known = len(_awaited)
        for lock in _awaited[:known]:
            lock.__enter__()
            _entered.append(lock)
        _forks.append(thread)
        # an import that has just ended may have made another lock known
        if all(other == thread for other in list(_importers)) and len(_awaited) == known:
            return
        _after()
        time.sleep(_WAIT_SECONDS)


def _after() -> None:
    if threading.get_ident() in _forks:
        _forks.remove(threading.get_ident())
    while _entered:
        _entered.pop().__exit__(None, None, None)


def _after_in_child() -> None:
    _after()
    _forks.clear()
    _importers[:] = [t for t in _importers if t == threading.get_ident()]
    for lock in _locks:
        if not lock._is_owned():
            lock._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after_in_child)

__all__ = ["hold_over_forks", "importing", "new_lock"]
