"""The whole of the dispatcher's code."""

from __future__ import annotations

from .calls import (
    write_as_it_is,
    write_dispatch,
    write_eager_here,
    write_enter,
    write_float_errors_reported,
    write_move_to_front,
    write_release,
    write_slow,
)
from .forks import write_match_fork
from .guards import write_match
from .launch import (
    write_call_with,
    write_launch,
    write_locked,
    write_match_roots,
    write_writable,
)
from .object_code import API, OBJECTS, SlotOffsets
from .results import write_build, write_drop, write_tell


def dispatcher_text(offsets: SlotOffsets) -> str:
    """The dispatcher's code, as LLVM IR."""
    functions = (
        f"@functions = global [{len(API)} x ptr] zeroinitializer",
        f"@objects = global [{len(OBJECTS)} x ptr] zeroinitializer",
        write_eager_here(), write_slow(), write_move_to_front(), write_release(), write_drop(),
        write_tell(), write_build(), write_call_with(), write_match(offsets),
        write_match_fork(), write_match_roots(), write_writable(), write_launch(offsets),
        write_locked(), write_as_it_is(), write_enter(), write_float_errors_reported(),
        write_dispatch(offsets),
    )  # fmt: skip
    return "\n".join(functions)
