"""`gj.GradientTape`: derivatives of what runs in a `with` block, as TensorFlow has it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from math import prod
from typing import Any

import numpy as np

from graphjit.core.config import config
from graphjit.core.errors import InvalidArgumentError, TapeError, TracingError, at_user_line
from graphjit.core.tree import flatten, leaves_like, unflatten
from graphjit.core.types import shape_text
from graphjit.functions import math
from graphjit.tensors.apply import TensorBase, as_tensor, current_trace
from graphjit.tensors.recording import recorders, recorders_of
from graphjit.tensors.tensor import Tensor
from graphjit.tensors.variable import Variable

from .eager_tape import EagerTape, Entry, ones_of, zeros_of
from .node_maker import NodeMaker, has_cotangent
from .tape_calls import called
from .traced_tape import TracedTape


class UnconnectedGradients(Enum):
    """What a tape gives for a source without influence: `tf.UnconnectedGradients`."""

    NONE = "none"
    ZERO = "zero"


class GradientTape:
    """Records what is computed in a `with` block, for derivatives of it: `tf.GradientTape`.

        with gj.GradientTape() as tape:
            loss = ...
        gradients = tape.gradient(loss, variables)

    Variables that are trainable are watched as soon as they are read; tensors by `watch`. In
    eager mode each op is noted as it runs; inside a compiled function the derivatives are part
    of its graph. Compiled functions that are called in the block are noted as a whole.

    persistent: whether more than one derivative may be asked for. watch_accessed_variables:
    whether variables are watched when they are read.
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        self._persistent = persistent
        self._watch_accessed = watch_accessed_variables
        # The trace that the tape belongs to, None in eager mode.
        self.trace: Any = None
        self._eager = EagerTape()
        self._traced: TracedTape | None = None
        self._recording = self._used = False
        self._token: Any = None
        self._gate: Any = None
        # By the ids of cells: a variable that is watched, and what it gave.
        self._reads: dict[int, tuple[Any, list[TensorBase]]] = {}
        self._variables: list[Any] = []  # those that were watched
        self._watched: set[int] = set()  # the cells of variables that `watch` was told

    # -- recording

    def __enter__(self) -> GradientTape:
        if self._recording:
            raise TapeError(at_user_line("Tape is still recording: it is entered already"))
        trace = current_trace.get()
        done = self._used and not self._persistent
        if done or self.trace is not trace or (trace is not None and not self._traced):
            self._forget(trace)
        if trace is not None and not recorders_of(trace):
            trace.renew_variables()  # what was read before doesn't count
        self._start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._recording:
            self._stop()

    def _forget(self, trace: Any) -> None:
        self.trace = trace
        self._traced = None if trace is None else TracedTape(trace)
        self._eager, self._used = EagerTape(), False
        self._reads, self._watched, self._variables = {}, set(), []

    def _start(self) -> None:
        self._recording = True
        if self._traced is not None:
            self._traced.start()
        else:  # calls of compiled functions come to Python
            self._gate = config.python_decides()
            self._gate.__enter__()
        self._token = recorders.set((*recorders.get(), self))

    def _stop(self) -> None:
        self._recording = False
        if self._traced is not None:
            self._traced.stop()
        else:
            self._gate.__exit__(None, None, None)
        recorders.set(tuple(x for x in recorders.get() if x is not self))

    @contextmanager
    def stop_recording(self) -> Iterator[None]:
        """Record nothing in a `with` block. TapeError where the tape doesn't record."""
        if not self._recording:
            raise TapeError(at_user_line("Tape is not recording"))
        self._stop()
        try:
            yield
        finally:
            self._start()

    def reset(self) -> None:
        """Forget all that was recorded; the tape goes on recording if it did."""
        was_recording = self._recording
        if was_recording:
            self._stop()
        self._forget(current_trace.get())
        if was_recording:
            self._start()

    def watch(self, tensor: Any) -> None:
        """Note what is computed of a tensor, a variable, or those in a structure.

        InvalidArgumentError for other values. Integers have no derivative: they are not
        watched, with a warning.
        """
        leaves: list[Any] = []
        flatten(tensor, leaves)
        for x in leaves:
            if not isinstance(x, TensorBase):
                raise InvalidArgumentError(
                    at_user_line(
                        f"Passed in object {x!r} of type {type(x).__name__!r}, not a tensor or "
                        "variable",
                        "give a gj.constant(...)",
                    )
                )
            if not has_cotangent(x.type):
                warnings.warn(
                    f"the dtype of a watched tensor must be floating, not {x.dtype.name}",
                    stacklevel=2,
                )
            elif isinstance(x, Variable):
                self._watched.add(id(x.cell))
                self._note_variable(x)
            else:
                self._watch(x)

    def _watch(self, x: TensorBase) -> None:
        self._require_own_trace()
        if self._traced is None:
            self._eager.watch(x)
        elif isinstance(x, Tensor):  # ops of it alone would run eagerly, unseen
            raise TracingError(
                at_user_line(
                    "a GradientTape watches a constant that the compiled function makes",
                    "hand it in as an argument",
                )
            )
        else:
            self._traced.watch(x)

    def _require_own_trace(self) -> None:
        now = current_trace.get()
        if self.trace is now:
            return
        if now is not None:
            raise TracingError(
                at_user_line(
                    "a GradientTape that was entered outside is used in a compiled function",
                    "enter and ask it in one function",
                )
            )
        raise TapeError(
            at_user_line(
                "a GradientTape that was entered in a compiled function is used outside of it"
            )
        )

    def watched_variables(self) -> tuple[Any, ...]:
        """The variables that were read or told to `watch`, in order."""
        return tuple(self._variables)

    # -- what it is told (see tensors.recording)

    def note(
        self,
        primitive: Any,
        attrs: dict[str, Any],
        regions: tuple[Any, ...],
        inputs: Sequence[Any],
        outputs: tuple[Any, ...],
    ) -> None:
        """Note an op that ran eagerly."""
        self._eager.note(primitive, attrs, regions, inputs, outputs)

    def note_read(self, variable: Any, value: Any) -> None:
        """Note what a variable gave."""
        cell = id(variable.cell)
        accessed = self._watch_accessed and variable.trainable
        if has_cotangent(variable.type) and (accessed or cell in self._watched):
            seen = self._note_variable(variable)
            if self._traced is None:
                seen.append(value)
                self._eager.watch(value)
            elif all(x.node != value.node for x in seen):
                seen.append(value)
                self._traced.watch(value, from_start=True)

    def _note_variable(self, variable: Any) -> list[Any]:
        """The values that a variable that is watched gave."""
        cell = id(variable.cell)
        if cell not in self._reads:
            self._reads[cell] = variable, []
            self._variables.append(variable)
        return self._reads[cell][1]

    def note_same(self, value: Any, other: Any) -> None:
        """Note that a tensor of eager mode is another one's value."""
        if self._eager.tracks(value):
            self._eager.note_entry(Entry((value,), (other,), lambda given: given))

    def call(self, function: Any, args: Any, kwargs: Any) -> Any:
        """Call a compiled function in eager mode, and note it."""
        return called(function, args, kwargs)

    def tracks(self, x: Any) -> bool:
        """Whether a tensor of eager mode depends on what is watched."""
        return self._eager.tracks(x)

    def note_entry(self, entry: Entry) -> None:
        """Note what ran eagerly."""
        self._eager.note_entry(entry)

    # -- derivatives

    def gradient(
        self,
        target: Any,
        sources: Any,
        output_gradients: Any = None,
        unconnected_gradients: str | UnconnectedGradients = "none",
    ) -> Any:
        """The derivatives of the sum of `target`'s elements by the sources.

        target: a tensor, or tensors in a structure, which are added up. sources: tensors and
        variables in any structure, which the result has, too. output_gradients: in the
        structure of `target`, what the targets' elements are multiplied by. Where a source has
        no influence the result is None, or 0 for unconnected_gradients="zero".

        Raises TapeError where a tape that isn't persistent is asked twice,
        InvalidArgumentError for values that are no tensors, NotDifferentiableError for an op
        without a derivative.
        """
        self._require_unused()
        zero = _is_zero(unconnected_gradients)
        targets, seeds = self._seeds(target, output_gradients)
        found = self._by_sources(
            sources, zero, lambda wanted: self._pulled(targets, seeds, wanted)
        )
        self._done()
        return found

    def jacobian(
        self,
        target: Any,
        sources: Any,
        unconnected_gradients: str | UnconnectedGradients = "none",
        parallel_iterations: int | None = None,
        experimental_use_pfor: bool = True,
    ) -> Any:
        """The derivative of each element of `target` by the sources: of shape target + source.

        The last two arguments are TensorFlow's and mean nothing here. Errors: see `gradient`.
        """
        self._require_unused()
        zero = _is_zero(unconnected_gradients)
        y = _as_target(target)
        size = prod(y.type.shape)

        def pull(wanted: Sequence[TensorBase]) -> list[Any]:
            rows = self._pulled_rows(y, self._unit_vectors(y, size), size, wanted)
            return [
                None if row is None else _reshaped(row, (*y.type.shape, *x.type.shape))
                for row, x in zip(rows, wanted, strict=True)
            ]

        found = self._by_sources(sources, zero, pull, y.type.shape)
        self._done()
        return found

    def batch_jacobian(
        self,
        target: Any,
        source: Any,
        unconnected_gradients: str | UnconnectedGradients = "none",
        parallel_iterations: int | None = None,
        experimental_use_pfor: bool = True,
    ) -> Any:
        """The Jacobian of each example in a batch: of shape [examples, target's, source's].

        target and source have the examples along their first axes, and `target[i]` depends on
        `source[i]` alone. InvalidArgumentError where their first extents differ.
        """
        self._require_unused()
        zero = _is_zero(unconnected_gradients)
        y, x = _as_target(target), as_tensor(source)
        shapes = y.type.shape, x.type.shape
        if not all(shapes) or shapes[0][0] != shapes[1][0]:
            raise InvalidArgumentError(
                at_user_line(
                    f"Need first dimension of target shape ({shape_text(shapes[0])}) and "
                    f"source shape ({shape_text(shapes[1])}) to match."
                )
            )
        count, rest = shapes[0][0], shapes[0][1:]
        size = prod(rest)

        def pull(wanted: Sequence[TensorBase]) -> list[Any]:
            rows = self._pulled_rows(y, self._unit_vectors(y, size, count), size, wanted)
            return [
                None if row is None else _examples_first(row, rest, s.type.shape)
                for row, s in zip(rows, wanted, strict=True)
            ]

        found = self._by_sources(source, zero, pull, (count, *rest), batch=True)
        self._done()
        return found

    def _require_unused(self) -> None:
        self._require_own_trace()
        if self._used and not self._persistent:
            raise TapeError(
                at_user_line(
                    "A non-persistent GradientTape can only be used to compute one set of "
                    "gradients (or jacobians)",
                    "GradientTape(persistent=True)",
                )
            )
        if self._recording and not self._persistent:
            self._stop()

    def _done(self) -> None:
        self._used = True
        if not self._persistent:
            self._eager, self._reads = EagerTape(), {}

    def _seeds(self, target: Any, output_gradients: Any) -> tuple[list[Any], list[Any]]:
        """The targets, and by what their derivatives are multiplied."""
        leaves: list[Any] = []
        tree = flatten(target, leaves)
        given = (
            [None] * len(leaves)
            if output_gradients is None
            else leaves_like(output_gradients, tree)
        )
        if given is None:
            raise InvalidArgumentError(
                at_user_line("output_gradients in another structure than the targets")
            )
        targets, seeds = [], []
        for x, g in zip(leaves, given, strict=True):
            y = _as_target(x)
            if not has_cotangent(y.type):
                warnings.warn(
                    "the dtype of a target of GradientTape.gradient must be floating, not "
                    f"{y.dtype.name}",
                    stacklevel=3,
                )
                continue
            seed = ones_of(y.type) if g is None else as_tensor(g, y.type.dtype)
            if seed.type != y.type:
                raise InvalidArgumentError(
                    at_user_line(f"an output gradient of {seed.type} for {y.type}")
                )
            targets.append(y)
            seeds.append(seed)
        return targets, seeds

    def _by_sources(
        self,
        sources: Any,
        zero: bool,
        pull: Callable[[Sequence[TensorBase]], Sequence[Any]],
        before: tuple[Any, ...] = (),
        batch: bool = False,
    ) -> Any:
        """What is found for each source, in their structure. before: the axes that come before
        the source's.
        """
        leaves: list[Any] = []
        tree = flatten(sources, leaves)
        parts = [self._values_of(x) for x in leaves]
        flat = [x for part in parts for x in part]
        found = iter(pull(flat))
        results = []
        for x, part in zip(leaves, parts, strict=True):
            total = None
            for piece in [next(found) for _ in part]:
                total = piece if total is None else total if piece is None else total + piece
            if total is None and zero:
                shape = x.type.shape[1:] if batch else x.type.shape
                total = zeros_of(x.type.with_shape((*before, *shape)))
            results.append(total)
        values = iter(results)
        return unflatten(tree, lambda: next(values))

    def _values_of(self, source: Any) -> list[TensorBase]:
        """The tensors that a source was in the block."""
        if isinstance(source, Variable):
            return self._reads.get(id(source.cell), (source, []))[1]
        if not isinstance(source, TensorBase):
            raise InvalidArgumentError(
                at_user_line(
                    f"a source of a GradientTape is a {type(source).__name__}, no tensor or "
                    "variable"
                )
            )
        return [source]

    def _pulled(
        self, targets: Sequence[Any], seeds: Sequence[Any], wanted: Sequence[TensorBase]
    ) -> list[Any]:
        seeds = list(map(_conjugated, seeds))
        if self._traced is None:
            found = self._eager.pulled(list(zip(targets, seeds, strict=True)), wanted)
        else:
            found = self._symbols(self._traced.pulled(targets, seeds, wanted))
        return list(map(_conjugated, found))

    def _pulled_rows(
        self, y: TensorBase, seeds: Any, size: Any, wanted: Sequence[TensorBase]
    ) -> list[Any]:
        """The cotangents by seeds that lie along a first axis, stacked."""
        seeds = _conjugated(seeds)
        if self._traced is not None:
            found = self._symbols(self._traced.pulled([y], [seeds], wanted, size))
            return list(map(_conjugated, found))
        from graphjit.functions.shape import stack

        rows = [self._eager.pulled([(y, seeds[k])], wanted) for k in range(size)]
        return [
            None if any(x is None for x in column) else _conjugated(stack(column))
            for column in zip(*rows, strict=True)
        ]

    def _symbols(self, nodes: Sequence[int | None]) -> list[Any]:
        return [None if n is None else self.trace.symbol_of(n, "tensor") for n in nodes]

    def _unit_vectors(self, y: TensorBase, size: Any, repeated: Any = 1) -> Any:
        """Seeds for each element of a target, or of one example of it."""
        if self._traced is None:
            rows = np.eye(size, dtype=y.type.dtype.dtype)
            return as_tensor(np.tile(rows, (1, repeated)).reshape(size, *y.type.shape))
        d = NodeMaker(self.trace.builder)
        unit = d.cast(d.on_diagonal(size), dtype=y.type.dtype)
        if repeated != 1:
            unit = d.spread(d.reshaped(unit, (size, 1, size)), (size, repeated, size))
        return self.trace.symbol_of(d.reshaped(unit, (size, *y.type.shape)).node, "tensor")


def _conjugated(x: Any) -> Any:
    """Complex numbers conjugated: TensorFlow's convention is that of JAX, conjugated."""
    return x if x is None or not x.type.dtype.is_complex else math.conj(x)


def _is_zero(unconnected_gradients: Any) -> bool:
    value = getattr(unconnected_gradients, "value", unconnected_gradients)
    if value not in ("none", "zero"):
        raise InvalidArgumentError(
            at_user_line(f"unconnected_gradients is 'none' or 'zero', not {value!r}")
        )
    return bool(value == "zero")


def _as_target(target: Any) -> TensorBase:
    if not isinstance(target, TensorBase):
        raise InvalidArgumentError(
            at_user_line(f"a target of a GradientTape is a {type(target).__name__}, no tensor")
        )
    return target.as_tensor()


def _reshaped(x: Any, shape: tuple[Any, ...]) -> Any:
    from graphjit.functions.shape import reshape

    return reshape(x, shape)


def _examples_first(rows: Any, rest: tuple[Any, ...], source: tuple[Any, ...]) -> Any:
    """[elements, examples, source's] as [examples, elements, source's]."""
    from graphjit.functions.shape import transpose

    rank = len(rows.type.shape)
    turned = transpose(rows, (1, 0, *range(2, rank)))
    return _reshaped(turned, (source[0], *rest, *source[1:]))


__all__ = ["GradientTape", "UnconnectedGradients"]
