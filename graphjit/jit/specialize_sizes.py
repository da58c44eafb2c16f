"""Specializations with symbolic extents: made where calls of different sizes were seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphjit.core.dims import Undecided
from graphjit.core.errors import (
    IndexOutOfRangeError,
    InternalError,
    InvalidArgumentError,
    LeakedTracerError,
)
from graphjit.core.tree import LeafKind, flatten
from graphjit.tracing import symbolic_sizes

from .trace_attempt import TraceAttempt, is_interrupt

if TYPE_CHECKING:
    from graphjit.tracing.symbolic_sizes import LeafAxis, SizeAssumptions, SizeHistory

    from .call_key import CallKey
    from .definition import FunctionDefinition
    from .specialization import Specialization


def specialize_sizes(
    definition: FunctionDefinition, call: CallKey, history: SizeHistory
) -> Specialization | None:
    """A compiled specialization with symbolic extents, where they have been seen to vary and
    can be symbolic; None for others.

    history: of calls like this one; the call is noted in it.
    """
    if history.impossible:
        return None
    history.note(symbolic_sizes.extents(call.kinds))
    open_axes = _find_open_axes(definition.options.input_signature, call.kinds)
    if not history.symbolic_axes(open_axes):
        return None
    assumed = symbolic_sizes.SizeAssumptions(history, open_axes)
    while assumed.group:
        specialization = _try_to_trace(definition, call, history, assumed)
        if specialization is None:
            return None
        if assumed.refine(specialization.sizes, history):
            continue
        return _compile(definition, call, history, specialization)
    return None


def _try_to_trace(
    definition: FunctionDefinition,
    call: CallKey,
    history: SizeHistory,
    assumed: SizeAssumptions,
) -> Specialization | None:
    try:
        return TraceAttempt(definition, call).run(assumed)
    except (InternalError, LeakedTracerError):
        raise
    except BaseException as error:
        if is_interrupt(error):
            raise
        # a trace with known extents will tell what is wrong, if anything is
        history.trace_error = f"{type(error).__name__}: {error}"
        return None


def _compile(
    definition: FunctionDefinition,
    call: CallKey,
    history: SizeHistory,
    specialization: Specialization,
) -> Specialization | None:
    sizes = specialization.sizes
    assert specialization.graph is not None
    if not symbolic_sizes.guard_64_bits(sizes, specialization.graph):
        return None
    try:
        specialization.compile(definition.options.passes, definition.options.fast_math)
    except (Undecided, InvalidArgumentError, IndexOutOfRangeError) as open_question:
        history.impossible = f"it depends on the sizes: {open_question}"
        return None
    specialization.size_domain = symbolic_sizes.SizeDomain(
        tuple(specialization.shapes), tuple(sizes.guards)
    )
    # An empty array isn't accepted where the code wants elements.
    return specialization if specialization.size_domain.accepts(call.kinds) else None


def _find_open_axes(
    signature: tuple[Any, ...] | None, kinds: Sequence[LeafKind]
) -> frozenset[LeafAxis]:
    """The extents that an input signature leaves open."""
    if signature is None:
        return frozenset()
    specs: list[Any] = []
    flatten(signature, specs)
    first = len(kinds) - len(specs)  # `self` of a method
    return frozenset(
        (first + leaf, axis)
        for leaf, spec in enumerate(specs)
        for axis, n in enumerate(spec.shape)
        if n is None
    )


__all__ = ["specialize_sizes"]
