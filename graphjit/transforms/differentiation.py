"""What all derivatives of functions share: what they are by, of what, and how they run."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, TracingError, at_user_line
from graphjit.core.frozen import dataclass
from graphjit.core.tree import Tree, flatten, leaf_names, leaves_like, unflatten
from graphjit.core.types import TensorType
from graphjit.functions.region_values import as_operand, origin_of
from graphjit.ops import view
from graphjit.tensors.apply import TensorBase, current_trace

from .inlining import DifferentiatedFunction
from .node_maker import has_cotangent
from .reverse import vjp_graph
from .transformed import Transformed


@dataclass(frozen=True, slots=True)
class Options:
    """What is wanted of a derivative; see `grad`."""

    argnums: Any
    has_aux: bool
    holomorphic: bool
    allow_int: bool
    op: str


def derivative(fun: Any, call: Callable[..., Any], *options: Any) -> Transformed:
    """A function that runs another and differentiates it."""
    if not callable(fun):
        raise InvalidArgumentError(at_user_line(f"the derivative of {fun!r}, no function"))
    return Transformed(fun, call, *options, needs_trace=True)


def numbers_of(argnums: Any) -> Any:
    """The argument `argnums`: an int or a tuple of ints."""
    try:
        if isinstance(argnums, (tuple, list)):
            return tuple(operator.index(n) for n in argnums)
        return operator.index(argnums)
    except TypeError:
        raise InvalidArgumentError(
            at_user_line(f"argnums is an integer or a tuple of integers, not {argnums!r}")
        ) from None


def require_trace(op: str) -> Any:
    """The trace that runs; TracingError where there is none."""
    trace = current_trace.get()
    if trace is None:
        raise TracingError(at_user_line(f"{op} of a function that can't be traced"))
    return trace


class Chosen:
    """The arguments by which a function is differentiated.

    leaves: theirs; tensors: those of them that are floats, at `floats`
    """

    def __init__(self, trace: Any, options: Options, args: tuple[Any, ...]) -> None:
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
    def _require(x: TensorBase, name: str, options: Options) -> None:
        dtype = x.type.dtype
        if options.holomorphic and not dtype.is_complex:
            raise InvalidArgumentError(
                at_user_line(f"{options.op}(holomorphic=True) by {name}, which is {x.type}")
            )
        forward = options.op in ("jacfwd", "hessian")
        if dtype.is_complex and not options.holomorphic and forward:
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
        leaves: list[Any] = [zero_of(x) for x in self.leaves]
        for k, found in zip(self.floats, cotangents, strict=True):
            leaves[k] = found
        chosen = self._structure(leaves)
        return chosen if self.several else chosen[0]


def zero_of(x: Any) -> Any:
    """The gradient of an integer."""
    shape = x.type.shape if isinstance(x, TensorBase) else np.shape(x)
    return np.zeros(shape) if shape else np.float64(0.0)


class Results:
    """What a function of any structure of arrays gave.

    leaves: in order; tensors: of each
    """

    def __init__(self, trace: Any, op: str) -> None:
        self._trace, self._op = trace, op
        self.leaves: list[Any] = []
        self.tensors: list[Any] = []
        self.tree: Tree | None = None

    def of(self, value: Any) -> list[Any]:
        """The tensors of a value."""
        self.tree = flatten(value, self.leaves)
        for x, name in zip(self.leaves, leaf_names(self.tree, "result"), strict=True):
            if not isinstance(x, (TensorBase, np.ndarray, np.generic, float, complex, int)):
                raise InvalidArgumentError(
                    at_user_line(
                        f"{self._op} of a function that gives a {type(x).__name__} ({name})"
                    )
                )
        self.tensors = [as_operand(self._trace, x) for x in self.leaves]
        return self.tensors

    def structure(self, leaves: Sequence[Any]) -> Any:
        """Others in the same structure."""
        assert self.tree is not None
        values = iter(leaves)
        return unflatten(self.tree, lambda: next(values))

    def given(
        self, value: Any, what: str, types: Sequence[TensorType] | None = None
    ) -> list[int]:
        """The nodes of what is in the structure of the results. types: theirs, once the tensors
        are gone.
        """
        assert self.tree is not None
        found = leaves_like(value, self.tree)
        if found is None:
            raise InvalidArgumentError(
                at_user_line(f"{what} in another structure than the results [Op:{self._op}]")
            )
        nodes = []
        wanted = [x.type for x in self.tensors] if types is None else types
        trace = current_trace.get()
        for x, type in zip(found, wanted, strict=True):
            nodes.append(fitting(trace, x, type, what, self._op))
        return nodes


def fitting(trace: Any, x: Any, wanted: TensorType, what: str, op: str) -> int:
    """The node of a tangent or cotangent of a value of a type."""
    if not has_cotangent(wanted):
        node: int = trace.builder.const(np.zeros((), wanted.dtype.dtype))
        shape = wanted.shape
        return trace.builder.add(view.broadcast, (node,), shape=shape) if shape else node
    if isinstance(x, (float, int, complex)) and not wanted.shape:
        x = np.asarray(x, wanted.dtype.dtype)
    found = as_operand(trace, x)
    if found.type != wanted:
        raise InvalidArgumentError(
            at_user_line(f"{what} of {found.type} for {wanted} [Op:{op}]")
        )
    number: int = trace.node_of(found)
    return number


def run_differentiated(
    trace: Any, fun: Callable[..., Any], options: Options, args: tuple[Any, ...], **named: Any
) -> tuple[Chosen, DifferentiatedFunction, Results]:
    """Run a function whose results may be anything."""
    chosen, found = Chosen(trace, options, args), Results(trace, options.op)

    def run(*symbols: Any) -> Any:
        return fun(*chosen.arguments(symbols), **named)

    def results(value: Any) -> list[Any]:
        if not options.has_aux:
            return found.of(value)
        if not isinstance(value, tuple) or len(value) != 2:
            raise InvalidArgumentError(
                at_user_line(f"{options.op}(has_aux=True) of a function that gives no pair")
            )
        return found.of(value[0])

    made = DifferentiatedFunction(trace, chosen.tensors, run, results, options.op)
    return chosen, made, found


def pulled_back(
    trace: Any, made: DifferentiatedFunction, chosen: Chosen, cotangents: Sequence[int]
) -> list[Any]:
    """The cotangents of the arguments that are floats."""
    graph = vjp_graph(made.graph, wanted(made), with_outputs=False)
    nodes = trace.builder.inline(graph, [*made.inputs, *made.operands, *cotangents])
    nodes = made.checked(trace, nodes)
    return [
        trace.symbol_of(node, origin_of(x))
        for node, x in zip(nodes, chosen.tensors, strict=True)
    ]


def wanted(made: DifferentiatedFunction) -> list[bool]:
    """For each parameter of a function's graph whether its cotangent is wanted."""
    return [True] * len(made.inputs) + [False] * len(made.operands)


__all__ = [
    "Chosen",
    "Options",
    "Results",
    "derivative",
    "fitting",
    "numbers_of",
    "pulled_back",
    "require_trace",
    "run_differentiated",
    "wanted",
    "zero_of",
]
