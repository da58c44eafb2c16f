"""What NumPy is to do about floating-point errors here, as `np.errstate` and `np.seterr` say.

Compiled code neither raises, calls, prints nor logs. NumPy keeps a context's state in a
capsule, a new one for each change.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import numpy as np
from numpy._core import umath

# Modes that need nothing done but a warning.
_QUIET: Final = frozenset({"ignore", "warn"})
# The context variable that holds the state, to which machine code looks as well. A NumPy that
# has it elsewhere is asked anew each time.
_NONE: Final[ContextVar[Any]] = ContextVar("graphjit_no_float_errors", default=None)
STATE: Final[Any] = getattr(umath, "_extobj_contextvar", _NONE)
IS_KNOWN: Final = type(STATE.get()).__name__ == "PyCapsule"
# The last state that was found quiet; kept, so that no other has its identity.
_quiet: list[Any] = [object()]


def are_reported() -> bool:
    """Whether NumPy is to raise, call, print or log floating-point errors here."""
    state = STATE.get()
    if state is _quiet[0]:
        return False
    if not _QUIET.issuperset(np.geterr().values()):
        return True
    if IS_KNOWN:
        _quiet[0] = state
    return False


@contextmanager
def kept() -> Iterator[None]:
    """After the `with` block, the state is what it was before."""
    state = STATE.get()
    try:
        yield
    finally:
        if STATE.get() is not state:
            STATE.set(state)


REASON: Final = (
    "np.errstate or np.seterr has floating-point errors raised, called, printed or logged, as "
    "compiled code does not"
)

__all__ = ["IS_KNOWN", "REASON", "STATE", "are_reported", "kept"]
