"""Derivatives along one direction: `gj.vjp`, `gj.jvp` and `gj.hvp`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from graphjit.core.config import config
from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.tree import flatten, leaves_like, unflatten
from graphjit.core.types import TensorType
from graphjit.functions.region_values import as_operand, origin_of
from graphjit.jit.function import Function, function
from graphjit.tensors.apply import current_trace

from .differentiation import (
    Chosen,
    Options,
    Results,
    derivative,
    fitting,
    pulled_back,
    require_trace,
    run_differentiated,
)
from .forward import jvp_graph
from .gradients import grad
from .inlining import DifferentiatedFunction
from .node_maker import has_cotangent
from .reverse import vjp_graph


def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """What `fun` gives, and a function from cotangents of that to those of the arguments:
    `jax.vjp`.

    Arguments and results are any structures of floats; the function takes what has the
    structure, shapes and dtypes of the result, and gives a tuple with one for each argument.
    has_aux: whether `fun` gives a pair, whose second part is handed on as a third result.

    Raises InvalidArgumentError for cotangents of another structure or type, and the errors of
    `gj.grad`.
    """
    options = Options(tuple(range(len(primals))), has_aux, False, False, "vjp")
    trace = current_trace.get()
    if trace is None:
        found, recorded = _record(fun, options, primals)
        return (found[0], recorded.pull, found[1]) if has_aux else (found, recorded.pull)
    chosen, made, results = run_differentiated(trace, fun, options, primals)

    def back_in_trace(cotangents: Any) -> Any:
        given = results.given(cotangents, "cotangents")
        return chosen.result(pulled_back(trace, made, chosen, given))

    if has_aux:
        return made.result[0], back_in_trace, made.result[1]
    return made.result, back_in_trace


def linearize(fun: Callable[..., Any], *primals: Any) -> Any:
    """What `fun` gives, and how it changes along tangents of the arguments, as a function of
    these: `jax.linearize`. The function was run once; errors are those of `gj.jvp`.
    """
    options = Options(tuple(range(len(primals))), False, False, False, "linearize")
    trace = current_trace.get()
    if trace is None:
        found, recorded = _record(fun, options, primals)
        return found, recorded.push
    chosen, made, results = run_differentiated(trace, fun, options, primals)
    types = [x.type for x in results.tensors]
    known = [*made.inputs, *made.operands]

    def push(*tangents: Any) -> Any:
        return _tangents(trace, made, chosen, results, types, known, tangents)

    return made.result, push


def _record(
    fun: Callable[..., Any], options: Options, primals: tuple[Any, ...]
) -> tuple[Any, _Recorded]:
    """What a function gives outside of traces, and what it was."""
    recorded = _Recorded(primals)
    value = derivative(fun, _recorded_value, options)
    token = _recording.set(recorded)
    try:
        found, recorded.operands = value(*primals)
    finally:
        _recording.reset(token)
    return found, recorded


class _Recorded:
    """What a function was when it was run: its graph, and what it read."""

    def __init__(self, primals: tuple[Any, ...]) -> None:
        leaves: list[Any] = []
        tree = flatten(primals, leaves)
        kept = iter([np.array(x) if isinstance(x, np.ndarray) else x for x in leaves])
        self._primals = unflatten(tree, lambda: next(kept))
        self.operands: Any = ()
        self._made: tuple[Options, DifferentiatedFunction, Results] | None = None
        self._types: list[TensorType] = []
        self._origins: list[str] = []
        self._compiled: Function | None = None

    def record(self, options: Options, made: DifferentiatedFunction, results: Results) -> None:
        """Keep what a trace has of a function."""
        self._made = options, made, results
        self._types = [x.type for x in results.tensors]
        self._origins = [origin_of(x) for x in results.tensors]
        results.leaves, results.tensors, made.result = [], [], None

    def pull(self, cotangents: Any) -> Any:
        """The cotangents of the arguments, by those of the results."""
        if self._compiled is None:
            self._compiled = function(self._pull, fallback="error")
        with config.eager(False):
            return self._compiled(self._primals, self.operands, cotangents)

    def push(self, *tangents: Any) -> Any:
        """The tangents of the results, by those of the arguments."""
        if self._compiled is None:
            self._compiled = function(self._push, fallback="error")
        with config.eager(False):
            return self._compiled(self._primals, self.operands, tangents)

    def _push(self, primals: Any, operands: Any, tangents: Any) -> Any:
        assert self._made is not None
        options, made, results = self._made
        trace = require_trace(options.op)
        chosen = Chosen(trace, options, tuple(primals))
        known = [trace.node_of(as_operand(trace, x)) for x in (*chosen.tensors, *operands)]
        return _tangents(
            trace, made, chosen, results, self._types, known, tangents, self._origins
        )

    def _pull(self, primals: Any, operands: Any, cotangents: Any) -> Any:
        assert self._made is not None
        options, made, results = self._made
        trace = require_trace(options.op)
        chosen = Chosen(trace, options, tuple(primals))
        given = results.given(cotangents, "cotangents", self._types)
        known = [trace.node_of(as_operand(trace, x)) for x in (*chosen.tensors, *operands)]
        wanted = [True] * len(chosen.tensors) + [False] * len(operands)
        graph = vjp_graph(made.graph, wanted, with_outputs=False)
        nodes = trace.builder.inline(graph, [*known, *given])
        return chosen.result(
            [
                trace.symbol_of(node, origin_of(x))
                for node, x in zip(nodes, chosen.tensors, strict=True)
            ]
        )


# What keeps the graph of the function that is traced for `gj.vjp`.
_recording: ContextVar[_Recorded | None] = ContextVar("graphjit_recording", default=None)


def _recorded_value(fun: Callable[..., Any], options: Options, /, *args: Any) -> Any:
    """What a function gives, and what it read besides its arguments."""
    trace = require_trace(options.op)
    _, made, results = run_differentiated(trace, fun, options, args)
    found = made.result
    recorded = _recording.get()
    if recorded is not None:  # else a tape runs it again
        recorded.record(options, made, results)
    return found, tuple(trace.symbol_of(node, "tensor") for node in made.operands)


def jvp(
    fun: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    has_aux: bool = False,
) -> Any:
    """What `fun` gives, and how it changes along tangents of the arguments: `jax.jvp`.

    primals: the arguments, a tuple or list. tangents: as many, each with its argument's
    structure, shapes and dtypes. has_aux: as for `gj.vjp`.

    Raises InvalidArgumentError where tangents don't fit, and the errors of `gj.grad`.
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise InvalidArgumentError(at_user_line("jvp takes tuples of primals and tangents"))
    if len(primals) != len(tangents):
        raise InvalidArgumentError(
            at_user_line(f"jvp of {len(primals)} primals and {len(tangents)} tangents")
        )
    options = Options(tuple(range(len(primals))), has_aux, False, False, "jvp")
    call = derivative(fun, _pushed, options)
    return call(tuple(primals), tuple(tangents))


def _pushed(
    fun: Callable[..., Any], options: Options, /, primals: tuple[Any, ...], tangents: Any
) -> Any:
    trace = require_trace(options.op)
    chosen, made, results = run_differentiated(trace, fun, options, tuple(primals))
    types = [x.type for x in results.tensors]
    known = [*made.inputs, *made.operands]
    change = _tangents(trace, made, chosen, results, types, known, tangents)
    if options.has_aux:
        return made.result[0], change, made.result[1]
    return made.result, change


def _tangents(
    trace: Any,
    made: DifferentiatedFunction,
    chosen: Chosen,
    results: Results,
    types: Sequence[TensorType],
    known: Sequence[int],
    tangents: Any,
    origins: Sequence[str] | None = None,
) -> Any:
    """The tangents of a function's results. known: the nodes of its graph's parameters.
    origins: those of the results, once these are gone.
    """
    leaves = leaves_like(tuple(tangents), chosen.tree)
    if leaves is None:
        raise InvalidArgumentError(
            at_user_line("tangents in another structure than the primals [Op:jvp]")
        )
    given = [
        fitting(trace, leaves[k], x.type, "a tangent", "jvp")
        for k, x in zip(chosen.floats, chosen.tensors, strict=True)
    ]
    flags = [True] * len(chosen.tensors) + [False] * (len(known) - len(chosen.tensors))
    nodes = trace.builder.inline(jvp_graph(made.graph, flags), [*known, *given])[len(types) :]
    changes = iter(nodes if origins is not None else made.checked(trace, nodes))
    own = [origin_of(x) for x in results.tensors] if origins is None else origins
    found = [
        trace.symbol_of(next(changes), origin) if has_cotangent(type) else np.zeros(type.shape)
        for type, origin in zip(types, own, strict=True)
    ]
    return results.structure(found)


def hvp(fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """The Hessian of a function of one float times tangents: one number of passes, not one for
    each element. primals, tangents: as for `gj.jvp`. With several primals the result is a
    tuple.
    """
    argnums: Any = 0 if len(primals) == 1 else tuple(range(len(primals)))
    return jvp(grad(fun, argnums), primals, tangents)[1]


__all__ = ["hvp", "jvp", "linearize", "vjp"]
