"""Calls of compiled functions that tapes of eager mode note.

They run as they always do, and are traced again for the way back.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphjit.core.errors import TapeError, at_user_line
from graphjit.core.tree import Tree, flatten, unflatten
from graphjit.core.types import Array
from graphjit.jit.specialization import Specialization
from graphjit.tensors.apply import TensorBase, wrap
from graphjit.tensors.recording import recorders, recorders_of
from graphjit.tensors.variable import Variable

from .differentiation import Options, pulled_back, require_trace, run_differentiated
from .eager_tape import Entry, zeros_of
from .node_maker import has_cotangent
from .transformed import Transformed


def called(function: Any, args: Any, kwargs: Any) -> Any:
    """What a compiled function gives; tapes note the call if it computes of what they watch."""
    tapes: list[Any] = recorders_of(None)
    leaves: list[Any] = []
    tree = flatten((args, kwargs), leaves)
    token = recorders.set(())
    try:
        specialization = function.specialization(*args, **kwargs)
        if _runs_by_itself(specialization):
            variables = list(specialization.variables)
            before = [wrap(variable.cell.array) for variable in variables]
            for variable, x in zip(variables, before, strict=True):
                for tape in tapes:
                    tape.note_read(variable, x)
            given = [x for x in (*leaves, *before) if isinstance(x, TensorBase)]
            noting = [tape for tape in tapes if any(map(tape.tracks, given))]
            read = _copies_of(specialization) if noting else []
            value = function(*args, **kwargs)
        else:
            variables, before, read, value, given, noting = [], [], [], None, [], []
    finally:
        recorders.reset(token)
    if not _runs_by_itself(specialization):  # op by op, each of which is noted
        return function.python_function(*args, **kwargs)
    results: list[Any] = []
    flatten(value, results)
    same = set(map(id, given))  # what is handed back as it is has its cotangents already
    outputs = {
        k: x
        for k, x in enumerate(results)
        if isinstance(x, TensorBase)
        and has_cotangent(x.type)
        and not isinstance(x, Variable)
        and id(x) not in same
    }
    if noting and outputs:
        call = _Call(
            function, tree, leaves, variables, before, outputs, noting, specialization, read
        )
        for tape in noting:
            tape.note_entry(Entry(call.inputs, tuple(outputs.values()), call.pull))
    return value


def _runs_by_itself(specialization: Specialization) -> bool:
    """Whether a call may be repeated for its derivative: it writes and draws nothing."""
    plain = not specialization.reason and specialization.effects is None
    return plain and not specialization.draws


# Copies of what functions read, as it was at their last call.
_copies: weakref.WeakKeyDictionary[Specialization, list[Array]] = weakref.WeakKeyDictionary()


def _copies_of(specialization: Specialization) -> list[Array]:
    """Copies of the arrays that a function reads, shared by calls that found them the same."""
    known, found = _copies.get(specialization), specialization.captures
    if known is None or not _are_equal(known, found):
        known = _copies[specialization] = [np.array(x) for x in found]
    return known


def _are_equal(first: Sequence[Array], second: Sequence[Array]) -> bool:
    return all(
        np.array_equal(x, y, equal_nan=x.dtype.kind in "fc")
        for x, y in zip(first, second, strict=True)
    )


class _Call:
    """One call. inputs: the tensors by which it is differentiated; read: copies of the arrays
    that the function read besides its arguments.
    """

    def __init__(
        self,
        function: Any,
        tree: Tree,
        leaves: Sequence[Any],
        variables: Sequence[Any],
        before: Sequence[TensorBase],
        outputs: dict[int, TensorBase],
        tapes: Sequence[Any],
        specialization: Specialization,
        read: Sequence[Array],
    ) -> None:
        def tracked(x: Any) -> bool:
            return isinstance(x, TensorBase) and any(tape.tracks(x) for tape in tapes)

        flags = [tracked(x) for x in leaves]
        chosen = [x for x, flag in zip(leaves, flags, strict=True) if flag]
        watched = [k for k, x in enumerate(before) if tracked(x)]
        self.inputs = (*chosen, *(before[k] for k in watched))
        # arrays may be written to until the way back is taken
        kept = [np.array(x) if isinstance(x, np.ndarray) else x for x in leaves]
        self._others = [x for x, flag in zip(kept, flags, strict=True) if not flag]
        self._fixed = [x for k, x in enumerate(before) if k not in watched]
        self._types = [x.type for x in outputs.values()]
        self._name = getattr(function, "__name__", "the function")
        self._specialization, self._read = specialization, read
        key = (tree, tuple(flags), tuple(map(id, variables)), tuple(watched), tuple(outputs))
        known = function.tape_pulls
        if key not in known:
            ordered = [variables[k] for k in watched]
            ordered += [v for k, v in enumerate(variables) if k not in watched]
            how = _How(tree, tuple(flags), ordered, len(chosen), tuple(outputs))
            known[key] = Transformed(function, _pull, how, needs_trace=True)
        self._pull = known[key]

    def _require_the_same(self) -> None:
        """Raise TapeError if what the function reads has changed since the call."""
        now = self._specialization
        same = now.captures_fit() and _are_equal(now.captures, self._read)
        if not same:
            raise TapeError(
                at_user_line(
                    f"what {self._name} reads besides its arguments has changed since it ran "
                    "under the tape, so its gradient isn't known any more",
                    "ask for the gradient before, or hand the value in as an argument",
                )
            )

    def pull(self, cotangents: Sequence[TensorBase | None]) -> list[Any]:
        """The cotangents of the inputs."""
        self._require_the_same()
        given = [
            zeros_of(type) if g is None else g
            for type, g in zip(self._types, cotangents, strict=True)
        ]
        return list(self._pull(list(self.inputs), self._others, self._fixed, given))


class _How:
    """How a call is put together.

    flags: which leaves of its arguments are given as inputs; variables: those that are inputs,
    then the others; count: how many inputs are leaves; outputs: the results that count
    """

    def __init__(
        self,
        tree: Tree,
        flags: tuple[bool, ...],
        variables: Sequence[Any],
        count: int,
        outputs: tuple[int, ...],
    ) -> None:
        self.tree, self.flags, self.count = tree, flags, count
        self.variables, self.outputs = tuple(variables), outputs


def _pull(
    fun: Any, how: _How, /, inputs: Any, others: Any, fixed: Any, cotangents: Any
) -> list[Any]:
    """The cotangents of a call's inputs, in the current trace."""
    trace = require_trace("GradientTape")

    def run(*inputs: Any) -> Any:
        chosen, rest = iter(inputs[: how.count]), iter(others)
        leaves = iter([next(chosen) if flag else next(rest) for flag in how.flags])
        args, kwargs = unflatten(how.tree, lambda: next(leaves))
        values = (*inputs[how.count :], *fixed)
        with trace.variables_given(list(zip(how.variables, values, strict=True))):
            results: list[Any] = []
            flatten(fun(*args, **kwargs), results)
            # variables that are handed back are read while they have these values
            found = [results[k] for k in how.outputs]
            return [x.as_tensor() if isinstance(x, Variable) else x for x in found]

    options = Options(tuple(range(len(inputs))), False, False, True, "GradientTape")
    chosen, made, results = run_differentiated(trace, run, options, tuple(inputs))
    given = results.given(cotangents, "cotangents")
    return list(chosen.result(pulled_back(trace, made, chosen, given)))


__all__ = ["called"]
