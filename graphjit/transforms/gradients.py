"""Gradients of functions with one result: `gj.grad`, `gj.value_and_grad`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.tree import flatten, unflatten
from graphjit.functions.region_values import as_operand, origin_of
from graphjit.ops import pointwise as pw
from graphjit.tensors.apply import TensorBase, wrap

from .differentiation import (
    Chosen,
    Options,
    derivative,
    numbers_of,
    pulled_back,
    require_trace,
)
from .inlining import DifferentiatedFunction
from .transformed import Transformed


def grad(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Transformed:
    """The gradient of `fun`, a function with one number for a result: `jax.grad`.

    argnums: the arguments by which `fun` is differentiated: a number, or several, of which the
    result is a tuple. Each may be any structure of floats; the gradient has the same structure,
    shapes and dtypes. has_aux: whether `fun` gives a pair, of which the second part is handed
    on: the result is a pair, too. Complex arguments have JAX's gradient: for z = x + iy the
    derivative by x minus i times that by y. holomorphic: whether `fun` is a holomorphic
    function of complex numbers, and its result complex. allow_int: whether integers are
    allowed there, whose gradients are 0.

    The derivative is a graph, compiled with that of `fun`. Branches and loops are followed as
    in compiled functions. At kinks conventions are JAX's: equal elements share the gradient of
    their maximum. That of sqrt at 0, where it meets a gradient of 0, is 0.

    Raises InvalidArgumentError where the result isn't one float, or an argument that is
    differentiated by isn't made of floats; NotDifferentiableError for an op without a rule;
    TracingError where `fun` can't be traced.
    """
    options = Options(numbers_of(argnums), has_aux, holomorphic, allow_int, "grad")
    return derivative(fun, _gradient, options, False)


def value_and_grad(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Transformed:
    """Like `gj.grad`, but the result is a pair: what `fun` gives, and the gradient."""
    options = Options(numbers_of(argnums), has_aux, holomorphic, allow_int, "value_and_grad")
    return derivative(fun, _gradient, options, True)


def _gradient(
    fun: Callable[..., Any],
    options: Options,
    with_value: bool,
    /,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """The gradient, and the value, in the current trace."""
    trace = require_trace(options.op)
    chosen = Chosen(trace, options, args)

    def run(*symbols: Any) -> Any:
        return fun(*chosen.arguments(symbols), **kwargs)

    def results(value: Any) -> list[Any]:
        return [_number_of(trace, value, options)]

    made = DifferentiatedFunction(trace, chosen.tensors, run, results, options.op)
    gradient = chosen.result(pulled_back(trace, made, chosen, [_one(trace, made)]))
    if not with_value:
        return (gradient, made.result[1]) if options.has_aux else gradient
    return made.result, gradient


def _number_of(trace: Any, value: Any, options: Options) -> Any:
    """The tensor of a function's one result."""
    if options.has_aux:
        if not isinstance(value, tuple) or len(value) != 2:
            raise InvalidArgumentError(
                at_user_line(f"{options.op}(has_aux=True) of a function that gives no pair")
            )
        value = value[0]
    if not isinstance(value, (TensorBase, np.ndarray, np.generic, float, complex, int)):
        raise InvalidArgumentError(
            at_user_line(
                f"{options.op} of a function that gives a {type(value).__name__}, not a float"
            )
        )
    found = as_operand(trace, value)
    dtype = found.type.dtype
    fits = dtype.is_complex if options.holomorphic else dtype.is_floating
    if found.type.shape or not fits:
        raise InvalidArgumentError(
            at_user_line(
                f"{options.op} of a function that gives {found.type}, not one "
                f"{'complex number' if options.holomorphic else 'float'}"
            )
        )
    return found


def _one(trace: Any, made: DifferentiatedFunction) -> int:
    """The node of the cotangent 1."""
    (output,) = made.graph.outputs
    dtype = made.graph.nodes[output].tensor.dtype
    node: int = trace.builder.const(np.ones((), dtype.dtype))
    return node


def stop_gradient(x: Any) -> Any:
    """The same values, which derivatives take for constants: `jax.lax.stop_gradient`.

    x: any structure of arrays and numbers; what isn't traced is given back as it is.
    """

    def stopped(leaf: Any) -> Any:
        if not isinstance(leaf, TensorBase):
            return leaf
        leaf = leaf.as_tensor()
        if leaf.recorder is None:  # another tensor, of which no tape knows
            return wrap(leaf._array)
        trace: Any = leaf.recorder
        node = trace.builder.add(pw.stop_gradient, (trace.node_of(leaf),))
        return trace.symbol_of(node, origin_of(leaf))

    leaves: list[Any] = []
    tree = flatten(x, leaves)
    values = iter([stopped(leaf) for leaf in leaves])
    return unflatten(tree, lambda: next(values))


__all__ = ["grad", "stop_gradient", "value_and_grad"]
