"""Derivatives of functions: `gj.grad`, `gj.value_and_grad`, `gj.vjp`, `gj.jvp` and others."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from math import prod
from typing import Any

import numpy as np

from graphjit.core.config import config
from graphjit.core.errors import InvalidArgumentError, TracingError, at_user_line
from graphjit.core.frozen import dataclass
from graphjit.core.tree import Tree, flatten, leaf_names, unflatten
from graphjit.core.types import TensorType
from graphjit.functions.region_values import as_operand, origin_of
from graphjit.jit.function import Function, function
from graphjit.ops import index, view
from graphjit.ops import pointwise as pw
from graphjit.tensors.apply import TensorBase, current_trace

from .batching import batch_graph
from .inlining import DifferentiatedFunction, inline
from .reverse import has_cotangent, jvp_graph, vjp_graph
from .slopes import NodeMaker, Ref
from .transformed import Transformed


@dataclass(frozen=True, slots=True)
class _Options:
    """What is wanted of a derivative; see `grad`."""

    argnums: Any
    has_aux: bool
    holomorphic: bool
    allow_int: bool
    op: str


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
    return _derivative(fun, _gradient, options, False)


def value_and_grad(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Transformed:
    """Like `gj.grad`, but the result is a pair: what `fun` gives, and the gradient."""
    options = _Options(_numbers(argnums), has_aux, holomorphic, allow_int, "value_and_grad")
    return _derivative(fun, _gradient, options, True)


def _derivative(fun: Any, call: Callable[..., Any], *options: Any) -> Transformed:
    """A function that runs another and differentiates it."""
    if not callable(fun):
        raise InvalidArgumentError(at_user_line(f"the derivative of {fun!r}, no function"))
    return Transformed(fun, call, *options, needs_trace=True)


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
    gradient = chosen.result(_pulled_back(trace, made, chosen, [_one(trace, made)]))
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
) -> list[Any]:
    """The cotangents of the arguments that are floats."""
    graph = vjp_graph(made.graph, _wanted(made), with_outputs=False)
    nodes = inline(trace, graph, [*made.inputs, *made.operands, *cotangents])
    nodes = made.checked(trace, nodes)
    return [
        trace.symbol_of(node, origin_of(x))
        for node, x in zip(nodes, chosen.tensors, strict=True)
    ]


def _wanted(made: DifferentiatedFunction) -> list[bool]:
    return [True] * len(made.inputs) + [False] * len(made.operands)


# -- functions of any results


class _Results:
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
        found: list[Any] = []
        if flatten(value, found) != self.tree:
            raise InvalidArgumentError(
                at_user_line(f"{what} in another structure than the results [Op:{self._op}]")
            )
        nodes = []
        wanted = [x.type for x in self.tensors] if types is None else types
        trace = current_trace.get()
        for x, type in zip(found, wanted, strict=True):
            nodes.append(_fitting(trace, x, type, what, self._op))
        return nodes


def _fitting(trace: Any, x: Any, wanted: TensorType, what: str, op: str) -> int:
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


def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """What `fun` gives, and a function from cotangents of that to those of the arguments:
    `jax.vjp`.

    Arguments and results are any structures of floats; the function takes what has the
    structure, shapes and dtypes of the result, and gives a tuple with one for each argument.
    has_aux: whether `fun` gives a pair, whose second part is handed on as a third result.

    Raises InvalidArgumentError for cotangents of another structure or type, and the errors of
    `gj.grad`.
    """
    options = _Options(tuple(range(len(primals))), has_aux, False, False, "vjp")
    trace = current_trace.get()
    if trace is None:
        recorded = _Recorded(primals)
        value = _derivative(fun, _recorded_value, options)
        token = _recording.set(recorded)
        try:
            found, recorded.operands = value(*primals)
        finally:
            _recording.reset(token)
        return (found[0], recorded.pull, found[1]) if has_aux else (found, recorded.pull)
    chosen, made, results = _run(trace, fun, options, primals)

    def back_in_trace(cotangents: Any) -> Any:
        given = results.given(cotangents, "cotangents")
        return chosen.result(_pulled_back(trace, made, chosen, given))

    if has_aux:
        return made.result[0], back_in_trace, made.result[1]
    return made.result, back_in_trace


def _run(
    trace: Any, fun: Callable[..., Any], options: _Options, args: tuple[Any, ...], **named: Any
) -> tuple[_Chosen, DifferentiatedFunction, _Results]:
    """Run a function whose results may be anything."""
    chosen, found = _Chosen(trace, options, args), _Results(trace, options.op)

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


class _Recorded:
    """What a function was when `gj.vjp` ran it: its graph, and what it read."""

    def __init__(self, primals: tuple[Any, ...]) -> None:
        leaves: list[Any] = []
        tree = flatten(primals, leaves)
        kept = iter([np.array(x) if isinstance(x, np.ndarray) else x for x in leaves])
        self._primals = unflatten(tree, lambda: next(kept))
        self.operands: Any = ()
        self._made: tuple[_Options, DifferentiatedFunction, _Results] | None = None
        self._types: list[TensorType] = []
        self._compiled: Function | None = None

    def record(
        self, options: _Options, made: DifferentiatedFunction, results: _Results
    ) -> None:
        """Keep what a trace has of a function."""
        self._made = options, made, results
        self._types = [x.type for x in results.tensors]
        results.leaves, results.tensors, made.result = [], [], None

    def pull(self, cotangents: Any) -> Any:
        """The cotangents of the arguments, by those of the results."""
        if self._compiled is None:
            self._compiled = function(self._pull, fallback="error")
        with config.eager(False):
            return self._compiled(self._primals, self.operands, cotangents)

    def _pull(self, primals: Any, operands: Any, cotangents: Any) -> Any:
        assert self._made is not None
        options, made, results = self._made
        trace = _require_trace(options.op)
        chosen = _Chosen(trace, options, tuple(primals))
        given = results.given(cotangents, "cotangents", self._types)
        known = [trace.node_of(as_operand(trace, x)) for x in (*chosen.tensors, *operands)]
        wanted = [True] * len(chosen.tensors) + [False] * len(operands)
        graph = vjp_graph(made.graph, wanted, with_outputs=False)
        nodes = inline(trace, graph, [*known, *given])
        return chosen.result(
            [
                trace.symbol_of(node, origin_of(x))
                for node, x in zip(nodes, chosen.tensors, strict=True)
            ]
        )


# What keeps the graph of the function that is traced for `gj.vjp`.
_recording: ContextVar[_Recorded] = ContextVar("graphjit_recording")


def _recorded_value(fun: Callable[..., Any], options: _Options, /, *args: Any) -> Any:
    """What a function gives, and what it read besides its arguments."""
    trace = _require_trace(options.op)
    _, made, results = _run(trace, fun, options, args)
    found = made.result
    _recording.get().record(options, made, results)
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
    options = _Options(tuple(range(len(primals))), has_aux, False, False, "jvp")
    call = _derivative(fun, _pushed, options)
    return call(tuple(primals), tuple(tangents))


def _pushed(
    fun: Callable[..., Any], options: _Options, /, primals: tuple[Any, ...], tangents: Any
) -> Any:
    trace = _require_trace(options.op)
    chosen, made, results = _run(trace, fun, options, tuple(primals))
    leaves: list[Any] = []
    if flatten(tuple(tangents), leaves) != chosen.tree:
        raise InvalidArgumentError(
            at_user_line("tangents in another structure than the primals [Op:jvp]")
        )
    given = [
        _fitting(trace, leaves[k], x.type, "a tangent", "jvp")
        for k, x in zip(chosen.floats, chosen.tensors, strict=True)
    ]
    graph = jvp_graph(made.graph, _wanted(made))
    nodes = inline(trace, graph, [*made.inputs, *made.operands, *given])
    changes = iter(made.checked(trace, nodes[len(results.tensors) :]))
    found = [
        trace.symbol_of(next(changes), origin_of(x)) if has_cotangent(x.type) else _zero_of(x)
        for x in results.tensors
    ]
    change = results.structure(found)
    if options.has_aux:
        return made.result[0], change, made.result[1]
    return made.result, change


def jacrev(
    fun: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Transformed:
    """The derivative of a function with any arrays for results, by reverse mode: `jax.jacrev`.

    Of a result of shape S by an argument of shape T it has shape S + T. Results in structures
    give the structure, with that of the arguments in place of each leaf. argnums, has_aux and
    errors: as for `gj.grad`. It takes one way back for each element of the results, all at
    once.
    """
    options = _Options(_numbers(argnums), has_aux, False, False, "jacrev")
    return _derivative(fun, _jacobian, options, True)


def jacfwd(
    fun: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Transformed:
    """Like `gj.jacrev`, by forward mode: for functions of few numbers that give many."""
    options = _Options(_numbers(argnums), has_aux, False, False, "jacfwd")
    return _derivative(fun, _jacobian, options, False)


jacobian = jacrev


def hessian(
    fun: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Transformed:
    """The second derivative of a function of one float: the Jacobian of its gradient."""
    return jacfwd(jacrev(fun, argnums, has_aux), argnums, has_aux)


def hvp(fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """The Hessian of a function of one float times tangents: one number of passes, not one for
    each element. primals, tangents: as for `gj.jvp`. With several primals the result is a
    tuple.
    """
    argnums: Any = 0 if len(primals) == 1 else tuple(range(len(primals)))
    return jvp(grad(fun, argnums), primals, tangents)[1]


def _jacobian(
    fun: Callable[..., Any], options: _Options, reverse: bool, /, *args: Any, **kwargs: Any
) -> Any:
    trace = _require_trace(options.op)
    chosen, made, results = _run(trace, fun, options, args, **kwargs)
    for x in results.tensors:
        if not x.type.dtype.is_floating:
            raise InvalidArgumentError(
                at_user_line(f"{options.op} of a function that gives {x.type}, not floats")
            )
    back = _blocks_back if reverse else _blocks_forward
    blocks = back(trace, made, chosen, results)
    found = results.structure([chosen.result(row) for row in blocks])
    return (found, made.result[1]) if options.has_aux else found


def _blocks_back(
    trace: Any, made: DifferentiatedFunction, chosen: _Chosen, results: _Results
) -> list[list[Any]]:
    """For each result its derivatives by each argument."""
    graph = vjp_graph(made.graph, _wanted(made), with_outputs=False)
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
        nodes = made.checked(trace, inline(trace, batch, [*known, *cotangents]))
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
    trace: Any, made: DifferentiatedFunction, chosen: _Chosen, results: _Results
) -> list[list[Any]]:
    graph = jvp_graph(made.graph, _wanted(made))
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
        nodes = made.checked(trace, inline(trace, batch, [*known, *tangents])[count:])
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
    builder = trace.builder
    rows, columns = (
        builder.add(index.iota, (), shape=(size, size), axis=axis) for axis in (0, 1)
    )
    equal = builder.add(pw.eq, (rows, columns))
    ones = builder.add(pw.cast, (equal,), dtype=x.type.dtype)
    return _reshaped(trace, ones, (size, *x.type.shape))


def _zeros(trace: Any, x: Any) -> int:
    return NodeMaker(trace.builder).zeros(x.type).node


def _reshaped(trace: Any, node: int, shape: tuple[Any, ...]) -> int:
    return NodeMaker(trace.builder).reshaped(Ref(node), shape).node


def stop_gradient(x: Any) -> Any:
    """The same values, which derivatives take for constants: `jax.lax.stop_gradient`.

    x: any structure of arrays and numbers; what isn't traced is given back as it is.
    """

    def stopped(leaf: Any) -> Any:
        if not isinstance(leaf, TensorBase) or leaf.recorder is None:
            return leaf
        trace: Any = leaf.recorder
        node = trace.builder.add(pw.stop_gradient, (trace.node_of(leaf),))
        return trace.symbol_of(node, origin_of(leaf))

    leaves: list[Any] = []
    tree = flatten(x, leaves)
    values = iter([stopped(leaf) for leaf in leaves])
    return unflatten(tree, lambda: next(values))


__all__ = [
    "grad", "hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jvp",
    "stop_gradient", "value_and_grad", "vjp",
]  # fmt: skip
