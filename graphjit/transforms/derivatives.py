"""Derivatives of functions: `gj.grad`, `gj.value_and_grad`, `gj.vjp`, `gj.jvp` and others."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.core.config import config
from graphjit.core.errors import InvalidArgumentError, TracingError, at_user_line
from graphjit.core.frozen import dataclass
from graphjit.core.tree import Tree, flatten, leaf_names, unflatten
from graphjit.functions.region_values import as_operand, origin_of
from graphjit.jit.function import Function, function
from graphjit.tensors.apply import TensorBase, current_trace

from .inlining import DifferentiatedFunction, inline
from .reverse import has_cotangent, vjp_graph


@dataclass(frozen=True, slots=True)
class _Options:
    """What is wanted of a derivative; see `grad`."""

    argnums: Any
    has_aux: bool
    holomorphic: bool
    allow_int: bool
    op: str


class _Root:
    """What is compiled for calls outside of traces."""

    def __init__(self, as_partial: functools.partial[Any]) -> None:
        self.as_partial = as_partial
        self.__name__ = getattr(as_partial.args[0], "__name__", "derivative")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.as_partial(*args, **kwargs)


class Derivative:
    """A function made of another's derivative. It is compiled where it is called."""

    def __init__(
        self, fun: Callable[..., Any], call: Callable[..., Any], options: Any, *more: Any
    ) -> None:
        functools.update_wrapper(self, fun, updated=())
        # What is called, with the user's function as an argument.
        self.as_partial = functools.partial(call, fun, options, *more)
        self._compiled: Function | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The derivative for these arguments."""
        if current_trace.get() is not None:
            return self.as_partial(*args, **kwargs)
        if self._compiled is None:
            self._compiled = function(_Root(self.as_partial), fallback="error")
        if config.functions_run_eagerly:  # there are no derivatives without a graph
            with config.eager(False):
                return self._compiled(*args, **kwargs)
        return self._compiled(*args, **kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)


def grad(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Derivative:
    """The gradient of `fun`, a function with one number for a result: `jax.grad`.

    argnums: the arguments by which `fun` is differentiated: a number, or several, of which the
    result is a tuple. Each may be any structure of floats; the gradient has the same structure,
    shapes and dtypes. has_aux: whether `fun` gives a pair, of which the second part is handed
    on: the result is a pair, too. holomorphic: whether `fun` is a holomorphic function of
    complex numbers. allow_int: whether integers are allowed there, whose gradients are 0.

    The derivative is a graph, compiled with that of `fun`. Branches and loops are followed as
    in compiled functions; loops whose number of turns isn't known before have no derivative
    (`gj.while_loop`). At kinks conventions are JAX's: equal elements share the gradient of
    their maximum. That of sqrt at 0, where it meets a gradient of 0, is 0.

    Raises InvalidArgumentError where the result isn't one float, or an argument that is
    differentiated by isn't made of floats; NotDifferentiableError for an op without a rule;
    TracingError where `fun` can't be traced.
    """
    options = _Options(_numbers(argnums), has_aux, holomorphic, allow_int, "grad")
    return Derivative(_callable(fun), _gradient, options, False)


def value_and_grad(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Derivative:
    """Like `gj.grad`, but the result is a pair: what `fun` gives, and the gradient."""
    options = _Options(_numbers(argnums), has_aux, holomorphic, allow_int, "value_and_grad")
    return Derivative(_callable(fun), _gradient, options, True)


def _callable(fun: Any) -> Any:
    if not callable(fun):
        raise InvalidArgumentError(at_user_line(f"the derivative of {fun!r}, no function"))
    return fun


def _numbers(argnums: Any) -> Any:
    try:
        if isinstance(argnums, (tuple, list)):
            return tuple(operator.index(n) for n in argnums)
        return operator.index(argnums)
    except TypeError:
        raise InvalidArgumentError(
            at_user_line(f"argnums is an integer or a tuple of integers, not {argnums!r}")
        ) from None


class _Chosen:
    """The arguments by which a function is differentiated.

    leaves: theirs; tensors: those of them that are floats, at `floats`
    """

    def __init__(self, trace: Any, options: _Options, args: tuple[Any, ...]) -> None:
        argnums = options.argnums
        self.several = isinstance(argnums, tuple)
        numbers = argnums if self.several else (argnums,)
        for n in numbers:
            if not -len(args) <= n < len(args):
                raise InvalidArgumentError(
                    at_user_line(
                        f"{options.op} by argument {n} of a call with {len(args)} by position"
                    )
                )
        self.numbers = [n % len(args) for n in numbers]
        if len(set(self.numbers)) != len(self.numbers):
            raise InvalidArgumentError(at_user_line(f"argnums {argnums} has one twice"))
        self.args = args
        self.leaves: list[Any] = []
        self.tree: Tree = flatten(tuple(args[n] for n in self.numbers), self.leaves)
        names = leaf_names(self.tree, "argument")
        self.floats: list[int] = []
        self.tensors: list[Any] = []
        for k, (x, name) in enumerate(zip(self.leaves, names, strict=True)):
            if not isinstance(x, (TensorBase, np.ndarray, np.generic, float, complex, int)):
                raise InvalidArgumentError(
                    at_user_line(f"{options.op} by {name}, a {type(x).__name__}")
                )
            tensor = as_operand(trace, x)
            self._require(tensor, name, options)
            if has_cotangent(tensor.type):
                self.floats.append(k)
                self.tensors.append(tensor)

    @staticmethod
    def _require(x: TensorBase, name: str, options: _Options) -> None:
        dtype = x.type.dtype
        if options.holomorphic and not dtype.is_complex:
            raise InvalidArgumentError(
                at_user_line(f"{options.op}(holomorphic=True) by {name}, which is {x.type}")
            )
        if dtype.is_complex and not options.holomorphic and options.op.endswith("grad"):
            raise InvalidArgumentError(
                at_user_line(
                    f"{options.op} by {name}, which is {x.type}",
                    "holomorphic=True, or a function of real and imaginary parts",
                )
            )
        if not dtype.is_inexact and not options.allow_int:
            raise InvalidArgumentError(
                at_user_line(
                    f"{options.op} by {name}, which is {x.type}", "give floats: x.astype(float)"
                )
            )

    def arguments(self, symbols: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments with others for those that are floats."""
        leaves = list(self.leaves)
        for k, symbol in zip(self.floats, symbols, strict=True):
            leaves[k] = symbol
        chosen = self._structure(leaves)
        args = list(self.args)
        for n, value in zip(self.numbers, chosen, strict=True):
            args[n] = value
        return tuple(args)

    def _structure(self, leaves: Sequence[Any]) -> Any:
        values = iter(leaves)
        return unflatten(self.tree, lambda: next(values))

    def result(self, cotangents: Sequence[Any]) -> Any:
        """Cotangents in the structure of the arguments."""
        leaves: list[Any] = [_zero_of(x) for x in self.leaves]
        for k, found in zip(self.floats, cotangents, strict=True):
            leaves[k] = found
        chosen = self._structure(leaves)
        return chosen if self.several else chosen[0]


def _zero_of(x: Any) -> Any:
    """The gradient of an integer."""
    shape = x.type.shape if isinstance(x, TensorBase) else np.shape(x)
    return np.zeros(shape) if shape else np.float64(0.0)


def _gradient(
    fun: Callable[..., Any],
    options: _Options,
    with_value: bool,
    /,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """The gradient, and the value, in the current trace."""
    trace = _require_trace(options.op)
    chosen = _Chosen(trace, options, args)

    def run(*symbols: Any) -> Any:
        return fun(*chosen.arguments(symbols), **kwargs)

    def results(value: Any) -> list[Any]:
        return [_number_of(trace, value, options)]

    made = DifferentiatedFunction(trace, chosen.tensors, run, results, options.op)
    (cotangents,) = _pulled_back(trace, made, chosen, [_one(trace, made)])
    gradient = chosen.result(cotangents)
    if not with_value:
        return (gradient, made.result[1]) if options.has_aux else gradient
    return made.result, gradient


def _require_trace(op: str) -> Any:
    trace = current_trace.get()
    if trace is None:
        raise TracingError(at_user_line(f"{op} of a function that can't be traced"))
    return trace


def _number_of(trace: Any, value: Any, options: _Options) -> Any:
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


def _pulled_back(
    trace: Any, made: DifferentiatedFunction, chosen: _Chosen, cotangents: Sequence[int]
) -> list[list[Any]]:
    """The cotangents of the arguments, in a list of one."""
    wanted = [True] * len(made.inputs) + [False] * len(made.operands)
    graph = vjp_graph(made.graph, wanted, with_outputs=False)
    nodes = inline(trace, graph, [*made.inputs, *made.operands, *cotangents])
    return [
        [
            trace.symbol_of(node, origin_of(x))
            for node, x in zip(nodes, chosen.tensors, strict=True)
        ]
    ]


__all__ = ["Derivative", "grad", "value_and_grad"]
