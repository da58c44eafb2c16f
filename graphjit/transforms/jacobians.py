"""Derivatives of arrays by arrays: `gj.jacrev`, `gj.jacfwd`, `gj.hessian`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.functions.region_values import origin_of
from graphjit.ops import view

from .batching import batch_graph
from .differentiation import (
    Chosen,
    Options,
    Results,
    derivative,
    numbers_of,
    require_trace,
    run_differentiated,
    wanted,
)
from .forward import jvp_graph
from .inlining import DifferentiatedFunction
from .node_maker import NodeMaker, Ref
from .reverse import vjp_graph
from .transformed import Transformed


def jacrev(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Transformed:
    """The derivative of a function with any arrays for results, by reverse mode: `jax.jacrev`.

    Of a result of shape S by an argument of shape T it has shape S + T. Results in structures
    give the structure, with that of the arguments in place of each leaf. argnums, has_aux,
    holomorphic, allow_int and errors: as for `gj.grad`. It takes one way back for each element
    of the results, all at once.
    """
    options = Options(numbers_of(argnums), has_aux, holomorphic, allow_int, "jacrev")
    return derivative(fun, _jacobian, options, True)


def jacfwd(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> Transformed:
    """Like `gj.jacrev`, by forward mode: for functions of few numbers that give many."""
    options = Options(numbers_of(argnums), has_aux, holomorphic, False, "jacfwd")
    return derivative(fun, _jacobian, options, False)


jacobian = jacrev


def hessian(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> Transformed:
    """The second derivative of a function of one float: the Jacobian of its gradient."""
    gradient = jacrev(fun, argnums, has_aux, holomorphic)
    return jacfwd(gradient, argnums, has_aux, holomorphic)


def _jacobian(
    fun: Callable[..., Any], options: Options, reverse: bool, /, *args: Any, **kwargs: Any
) -> Any:
    trace = require_trace(options.op)
    chosen, made, results = run_differentiated(trace, fun, options, args, **kwargs)
    for x in results.tensors:
        dtype = x.type.dtype
        if not (dtype.is_complex if options.holomorphic else dtype.is_floating):
            kind = "complex numbers" if options.holomorphic else "floats"
            raise InvalidArgumentError(
                at_user_line(f"{options.op} of a function that gives {x.type}, not {kind}")
            )
    back = _blocks_back if reverse else _blocks_forward
    blocks = back(trace, made, chosen, results)
    found = results.structure([chosen.result(row) for row in blocks])
    return (found, made.result[1]) if options.has_aux else found


def _blocks_back(
    trace: Any, made: DifferentiatedFunction, chosen: Chosen, results: Results
) -> list[list[Any]]:
    """For each result its derivatives by each argument."""
    graph = vjp_graph(made.graph, wanted(made), with_outputs=False)
    known = [*made.inputs, *made.operands]
    rows = []
    for k, y in enumerate(results.tensors):
        size = prod(y.type.shape)
        flags = [False] * len(known) + [j == k for j in range(len(results.tensors))]
        batch, _ = batch_graph(graph, flags, size, [True] * len(chosen.tensors))
        cotangents = [
            _basis(trace, x, size) if j == k else _zeros(trace, x)
            for j, x in enumerate(results.tensors)
        ]
        nodes = made.checked(trace, trace.builder.inline(batch, [*known, *cotangents]))
        rows.append(
            [
                trace.symbol_of(
                    _reshaped(trace, node, (*y.type.shape, *x.type.shape)), _array_origin(x)
                )
                for node, x in zip(nodes, chosen.tensors, strict=True)
            ]
        )
    return rows


def _blocks_forward(
    trace: Any, made: DifferentiatedFunction, chosen: Chosen, results: Results
) -> list[list[Any]]:
    graph = jvp_graph(made.graph, wanted(made))
    known = [*made.inputs, *made.operands]
    count = len(results.tensors)
    columns = []
    for k, x in enumerate(chosen.tensors):
        size = prod(x.type.shape)
        flags = [False] * len(known) + [j == k for j in range(len(chosen.tensors))]
        batch, _ = batch_graph(graph, flags, size, [False] * count + [True] * count)
        tangents = [
            _basis(trace, z, size) if j == k else _zeros(trace, z)
            for j, z in enumerate(chosen.tensors)
        ]
        nodes = made.checked(trace, trace.builder.inline(batch, [*known, *tangents])[count:])
        column = []
        for node, y in zip(nodes, results.tensors, strict=True):
            rank = len(y.type.shape)
            perm = (*range(1, rank + 1), 0)
            last = trace.builder.add(view.transpose, (node,), perm=perm) if rank else node
            shape = (*y.type.shape, *x.type.shape)
            column.append(trace.symbol_of(_reshaped(trace, last, shape), _array_origin(x)))
        columns.append(column)
    return [list(row) for row in zip(*columns, strict=True)]


def _array_origin(x: Any) -> str:
    return "numpy" if origin_of(x) == "weak" else origin_of(x)


def _basis(trace: Any, x: Any, size: Any) -> int:
    """The unit vectors in a type, along a first axis."""
    d = NodeMaker(trace.builder)
    ones = d.cast(d.on_diagonal(size), dtype=x.type.dtype)
    return d.reshaped(ones, (size, *x.type.shape)).node


def _zeros(trace: Any, x: Any) -> int:
    return NodeMaker(trace.builder).zeros(x.type).node


def _reshaped(trace: Any, node: int, shape: tuple[Any, ...]) -> int:
    return NodeMaker(trace.builder).reshaped(Ref(node), shape).node


__all__ = ["hessian", "jacfwd", "jacobian", "jacrev"]
