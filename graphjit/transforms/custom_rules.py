"""Derivatives that the user writes: `gj.custom_gradient`, `gj.custom_vjp`, `gj.custom_jvp`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line, user_line
from graphjit.core.tree import Tree, flatten, leaves_like, unflatten
from graphjit.functions import math
from graphjit.functions.region_values import as_operand, origin_of
from graphjit.ir.graph import Graph, GraphBuilder
from graphjit.ops import control, source
from graphjit.tensors.apply import TensorBase, as_tensor, current_trace
from graphjit.tensors.recording import recorders_of

from .eager_tape import Entry, zeros_of
from .inlining import TracedFunction
from .node_maker import NodeMaker, Ref, has_cotangent
from .reverse import vjp_graph
from .transformed import Transformed


class _Leaves:
    """A value's leaves, and which of them are floats."""

    def __init__(self, value: Any, operand: Callable[[Any], Any]) -> None:
        self.leaves: list[Any] = []
        self.tree: Tree = flatten(value, self.leaves)
        found = [operand(x) if _is_array(x) else None for x in self.leaves]
        self.places = [
            k for k, x in enumerate(found) if x is not None and has_cotangent(x.type)
        ]
        self.floats: list[Any] = [found[k] for k in self.places]

    def is_python(self, place: int) -> bool:
        """Whether a leaf is a number of Python's, whose dtype isn't the user's choice."""
        x = self.leaves[place]
        return isinstance(x, (float, complex)) or (
            isinstance(x, TensorBase) and origin_of(x) == "weak"
        )

    def structure(self, values: Sequence[Any], others: Any = None) -> Any:
        """Other values for the floats, in the same structure. others: those of other leaves."""
        leaves = [others] * len(self.leaves)
        for k, x in zip(self.places, values, strict=True):
            leaves[k] = x
        found = iter(leaves)
        return unflatten(self.tree, lambda: next(found))

    def replaced(self, values: Sequence[Any]) -> Any:
        """The value itself with others for the floats."""
        leaves = list(self.leaves)
        for k, x in zip(self.places, values, strict=True):
            leaves[k] = x
        found = iter(leaves)
        return unflatten(self.tree, lambda: next(found))


def _is_array(x: Any) -> bool:
    return isinstance(x, (TensorBase, np.ndarray, np.generic, float, complex))


def _with_gradient(
    op: str, args: Any, value: Any, pull: Callable[[Any, _Leaves, _Leaves], Any]
) -> Any:
    """A value that has the derivative by the arguments that `pull` says: it gives, of the
    cotangents of the value's floats, a structure of those of the arguments.
    """
    trace = current_trace.get()
    if trace is None:
        return _noted(op, args, value, pull)
    inputs = _Leaves(args, lambda x: as_operand(trace, x))
    outputs = _Leaves(value, lambda x: as_operand(trace, x))
    if not inputs.floats or not outputs.floats:
        return value

    def back(*cotangents: Any) -> Any:
        return pull(list(cotangents), inputs, outputs)

    def results(found: Any) -> list[Any]:
        return _cotangents(
            op, found, inputs, lambda x: as_operand(trace, x), lambda t: _zeros(trace, t)
        )

    types = [(x.type, _origin(x)) for x in outputs.floats]
    traced = TracedFunction(trace, types, back, results, op, is_rule=True)
    return _marked(trace, inputs, outputs, traced.graph, traced.operands)


def _marked(
    trace: Any, inputs: _Leaves, outputs: _Leaves, graph: Graph, operands: Sequence[int]
) -> Any:
    """The outputs as results of a node that has the graph for its derivative."""
    line = user_line()
    values = [trace.node_of(x, line) for x in outputs.floats]
    given = [trace.node_of(x, line) for x in inputs.floats]
    made = trace.builder.add(
        control.own_gradient,
        (*values, *given, *operands),
        line,
        (graph,),
        outputs=len(values),
        arguments=len(given),
    )
    symbols = [
        trace.symbol_of(trace.builder.add(source.item, (made,), line, index=k), _origin(x))
        for k, x in enumerate(outputs.floats)
    ]
    return outputs.replaced(symbols)


def _origin(x: Any) -> str:
    return "numpy" if origin_of(x) == "weak" else origin_of(x)


def _zeros(trace: Any, type: Any) -> Any:
    return trace.symbol_of(NodeMaker(trace.builder).zeros(type).node, "tensor")


def _cotangents(
    op: str,
    found: Any,
    inputs: _Leaves,
    operand: Callable[[Any], Any],
    zeros: Callable[[Any], Any],
) -> list[Any]:
    """What a rule gave, for each of the floats among the arguments; None is 0."""
    leaves = leaves_like(found, inputs.tree)
    if leaves is None:
        leaves = _by_parts(op, found, inputs)
    wanted = []
    for k, x in zip(inputs.places, inputs.floats, strict=True):
        given = leaves[k]
        if given is None:
            wanted.append(zeros(x.type))
            continue
        if isinstance(given, (float, int, complex)) and not x.type.shape:
            given = np.asarray(given, x.type.dtype.dtype)
        tensor = operand(given)
        if tensor.type.shape == x.type.shape and inputs.is_python(k):  # of any float dtype
            tensor = math.cast(tensor, x.type.dtype)
        if tensor.type != x.type:
            raise InvalidArgumentError(
                at_user_line(f"{op}: a cotangent of {tensor.type} for {x.type}")
            )
        wanted.append(tensor)
    return wanted


def _by_parts(op: str, found: Any, inputs: _Leaves) -> list[Any]:
    """Leaves of what has None in place of whole arguments."""
    parts = found if isinstance(found, (tuple, list)) else (found,)
    if len(parts) != len(inputs.tree.children):
        raise InvalidArgumentError(
            at_user_line(
                f"{op}: {len(parts)} cotangents for {len(inputs.tree.children)} arguments"
            )
        )
    leaves: list[Any] = []
    for part, tree in zip(parts, inputs.tree.children, strict=True):
        if part is None:
            leaves += [None] * _count(tree)
            continue
        own = leaves_like(part, tree)
        if own is None:
            raise InvalidArgumentError(
                at_user_line(f"{op}: a cotangent in another structure than its argument")
            )
        leaves += own
    return leaves


def _count(tree: Tree) -> int:
    return 1 if tree.kind is None else sum(map(_count, tree.children))


def _noted(op: str, args: Any, value: Any, pull: Callable[[Any, _Leaves, _Leaves], Any]) -> Any:
    """The same in eager mode, where tapes may want the derivative."""
    tapes: list[Any] = recorders_of(None)
    inputs, outputs = _Leaves(args, _eager), _Leaves(value, _eager)
    noting = [tape for tape in tapes if any(map(tape.tracks, inputs.floats))]
    if not noting or not outputs.floats:
        return value
    # others than those that were computed with the tapes looking on
    results = [type(x)(x._array) if hasattr(x, "_array") else x for x in outputs.floats]

    def back(cotangents: Sequence[Any]) -> Sequence[Any]:
        given = [
            zeros_of(x.type) if g is None else g
            for x, g in zip(outputs.floats, cotangents, strict=True)
        ]
        found = pull(given, inputs, outputs)
        return _cotangents(op, found, inputs, as_tensor, zeros_of)

    for tape in noting:
        tape.note_entry(Entry(tuple(inputs.floats), tuple(results), back))
    return outputs.replaced(results)


def _eager(x: Any) -> Any:
    return x.as_tensor() if isinstance(x, TensorBase) else as_tensor(x)


class _Token:
    """Stands for a function with a rule."""

    def __init__(self, fun: Callable[..., Any]) -> None:
        try:
            self._signature: inspect.Signature | None = inspect.signature(fun)
        except ValueError:  # of C code
            self._signature = None

    def positional(self, args: Any, kwargs: Any) -> tuple[Any, ...]:
        """All arguments of a call in order, also those given by name or by default.

        Raises InvalidArgumentError for one that can't be given by place.
        """
        if self._signature is None:
            found, left = args, kwargs
        else:
            bound = self._signature.bind(*args, **kwargs)
            bound.apply_defaults()
            found, left = bound.args, bound.kwargs
        if left:
            raise InvalidArgumentError(
                at_user_line(f"the rule of a derivative takes no argument by name: {set(left)}")
            )
        return tuple(found)


# The functions whose rules run: calls of theirs in them are of the functions alone.
_rules: ContextVar[tuple[_Token, ...]] = ContextVar("graphjit_rules", default=())


@contextmanager
def _rule_of(token: _Token) -> Iterator[None]:
    """Run a function's rule in a `with` block."""
    before = _rules.set((*_rules.get(), token))
    try:
        yield
    finally:
        _rules.reset(before)


class _Custom(Transformed):
    """A function with a derivative of its own. It runs eagerly where nothing is traced."""

    def __init__(
        self, fun: Callable[..., Any], call: Callable[..., Any], *options: Any
    ) -> None:
        if not callable(fun):
            raise InvalidArgumentError(at_user_line(f"a derivative of {fun!r}, no function"))
        super().__init__(fun, call, *options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function gives."""
        return self.as_partial(*args, **kwargs)


def custom_gradient(f: Callable[..., Any]) -> Any:
    """A function with a gradient of its own: `tf.custom_gradient`.

    f: gives a pair: what the function gives, and a function that is called with the gradients
    of that, one argument for each tensor in it, and gives those of the arguments: a tuple or
    list, or the one. Arguments by name have no derivative.

    Raises InvalidArgumentError where the gradients don't fit the arguments.
    """
    return _Custom(f, _call_with_gradient)


def _call_with_gradient(fun: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    given = fun(*args, **kwargs)
    if not isinstance(given, tuple) or len(given) != 2 or not callable(given[1]):
        raise InvalidArgumentError(
            at_user_line(
                "custom_gradient of a function that gives no pair of value and function"
            )
        )
    value, grad = given
    trace = current_trace.get()
    grad = grad if trace is None else trace.followed(grad)

    def pull(cotangents: Any, inputs: _Leaves, outputs: _Leaves) -> Any:
        found = grad(*map(_conjugated, cotangents))
        found = tuple(found) if isinstance(found, (list, tuple)) else (found,)
        leaves: list[Any] = []
        tree = flatten(found, leaves)
        conjugated = iter(list(map(_conjugated, leaves)))
        return unflatten(tree, lambda: next(conjugated))

    return _with_gradient("custom_gradient", args, value, pull)


def _conjugated(x: Any) -> Any:
    """Complex numbers conjugated: cotangents here are JAX's, those of `tf` its own."""
    if isinstance(x, TensorBase):
        return math.conj(x) if x.type.dtype.is_complex else x
    return np.conj(x) if isinstance(x, (complex, np.ndarray, np.generic)) else x


class custom_vjp(_Custom):
    """A function with a reverse-mode rule of its own: `jax.custom_vjp`.

        @gj.custom_vjp
        def f(x, y): ...

        f.defvjp(forward, backward)

    forward: takes the same arguments, gives a pair: the function's value, and what the rule
    needs. backward: takes that and the cotangents of the value, and gives a tuple with one for
    each argument, None for 0. nondiff_argnums: arguments without derivative, which `backward`
    is given first.

    Raises InvalidArgumentError where there is no rule, or its cotangents don't fit.
    """

    def __init__(self, fun: Callable[..., Any], nondiff_argnums: Sequence[int] = ()) -> None:
        self._function, self._nondiff = fun, tuple(nondiff_argnums)
        super().__init__(fun, _without_rule)

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any]) -> None:
        """Say what the rule is."""
        self.as_partial = functools.partial(
            _call_with_vjp, self._function, fwd, bwd, self._nondiff, _Token(self._function)
        )


def _without_rule(fun: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    name = getattr(fun, "__name__", "the function")
    raise InvalidArgumentError(at_user_line(f"{name} has no rule yet", "call defvjp or defjvp"))


def _call_with_vjp(
    fun: Callable[..., Any],
    fwd: Callable[..., Any],
    bwd: Callable[..., Any],
    nondiff: tuple[int, ...],
    token: _Token,
    /,
    *args: Any,
    **kwargs: Any,
) -> Any:
    value = fun(*args, **kwargs)
    args = token.positional(args, kwargs)
    nobody = current_trace.get() is None and not recorders_of(None)
    if nobody or token in _rules.get():
        return value
    chosen, fixed = _split(args, nondiff)
    with _rule_of(token):
        given = fwd(*args)
    if not isinstance(given, tuple) or len(given) != 2:
        raise InvalidArgumentError(
            at_user_line("the forward function of a custom_vjp gives no pair")
        )
    rest = given[1]

    def pull(cotangents: Any, inputs: _Leaves, outputs: _Leaves) -> Any:
        return bwd(*fixed, rest, outputs.structure(cotangents))

    return _with_gradient("custom_vjp", chosen, value, pull)


def _split(
    args: tuple[Any, ...], nondiff: tuple[int, ...]
) -> tuple[tuple[Any, ...], list[Any]]:
    """The arguments with a derivative, and the others."""
    places = [n % len(args) for n in nondiff] if args else []
    chosen = tuple(x for k, x in enumerate(args) if k not in places)
    return chosen, [args[k] for k in places]


class custom_jvp(_Custom):
    """A function with a forward-mode rule of its own: `jax.custom_jvp`. Reverse mode is the
    rule's transpose.

        @gj.custom_jvp
        def f(x, y): ...

        @f.defjvp
        def rule(primals, tangents): ...

    rule: takes tuples of arguments and of their tangents, and gives a pair: the function's
    value and its tangent, which is linear in the tangents. nondiff_argnums: arguments without
    derivative, which the rule is given first.
    """

    def __init__(self, fun: Callable[..., Any], nondiff_argnums: Sequence[int] = ()) -> None:
        self._function, self._nondiff = fun, tuple(nondiff_argnums)
        super().__init__(fun, _without_rule)

    def defjvp(self, jvp: Callable[..., Any]) -> Callable[..., Any]:
        """Say what the rule is."""
        self.as_partial = functools.partial(
            _call_with_jvp, self._function, jvp, self._nondiff, _Token(self._function)
        )
        return jvp

    def defjvps(self, *jvps: Callable[..., Any] | None) -> None:
        """Say what the rule is by one function for each argument, None where it has no
        influence: they take its tangent, the function's value and the arguments, and give the
        value's tangent.
        """
        fun = self._function

        def rule(primals: Any, tangents: Any) -> Any:
            value, total = fun(*primals), None
            for jvp, t in zip(jvps, tangents, strict=True):
                part = None if jvp is None or t is None else jvp(t, value, *primals)
                total = part if total is None else total if part is None else total + part
            return value, total

        self.defjvp(rule)


def _call_with_jvp(
    fun: Callable[..., Any],
    jvp: Callable[..., Any],
    nondiff: tuple[int, ...],
    token: _Token,
    /,
    *args: Any,
    **kwargs: Any,
) -> Any:
    value = fun(*args, **kwargs)
    args = token.positional(args, kwargs)
    trace = current_trace.get()
    if token in _rules.get():
        return value
    if trace is None:
        return _noted_jvp(jvp, nondiff, token, args, value)
    chosen, fixed = _split(args, nondiff)
    inputs = _Leaves(chosen, lambda x: as_operand(trace, x))
    outputs = _Leaves(value, lambda x: as_operand(trace, x))
    if not inputs.floats or not outputs.floats:
        return value

    def forward(*tangents: Any) -> Any:
        with _rule_of(token):
            return jvp(*fixed, chosen, inputs.structure(tangents))

    def results(found: Any) -> list[Any]:
        if not isinstance(found, tuple) or len(found) != 2:
            raise InvalidArgumentError(at_user_line("the rule of a custom_jvp gives no pair"))
        return _cotangents(
            "custom_jvp",
            (found[1],),
            _Leaves((value,), lambda x: as_operand(trace, x)),
            lambda x: as_operand(trace, x),
            lambda t: _zeros(trace, t),
        )

    types = [(x.type, _origin(x)) for x in inputs.floats]
    traced = TracedFunction(trace, types, forward, results, "custom_jvp", is_rule=True)
    graph = _transposed(traced.graph, len(types))
    return _marked(trace, inputs, outputs, graph, traced.operands)


def _transposed(graph: Graph, count: int) -> Graph:
    """A graph of tangents and operands, linear in the tangents, as one of cotangents of its
    outputs and of the operands, which gives those of the tangents.
    """
    operands = len(graph.params) - count
    back = vjp_graph(graph, [True] * count + [False] * operands, False)
    builder = GraphBuilder(graph.name)
    cotangents = [builder.param(graph.nodes[i].tensor) for i in graph.outputs]
    given = [builder.param(graph.nodes[i].tensor) for i in graph.params[count:]]
    d = NodeMaker(builder)
    types = [graph.nodes[i].tensor for i in graph.params[:count]]
    points = [  # of a linear map any point will do
        d.spread(Ref(builder.const(np.ones((), t.dtype.dtype))), t.shape).node for t in types
    ]
    return builder.finish(builder.inline(back, [*points, *given, *cotangents]))


def _noted_jvp(
    jvp: Callable[..., Any],
    nondiff: tuple[int, ...],
    token: _Token,
    args: tuple[Any, ...],
    value: Any,
) -> Any:
    """In eager mode the rule is transposed when a tape wants it."""
    if not recorders_of(None):
        return value
    chosen, fixed = _split(args, nondiff)

    def pull(cotangents: Any, inputs: _Leaves, outputs: _Leaves) -> Any:
        from .directional import vjp

        def tangent(*tangents: Any) -> Any:
            with _rule_of(token):
                found = jvp(*fixed, chosen, inputs.structure(tangents))[1]
            return _Leaves(found, _operand).floats

        zeros = [zeros_of(x.type) for x in inputs.floats]
        _, back = vjp(tangent, *zeros)
        return inputs.structure(back(list(cotangents)))

    return _with_gradient("custom_jvp", chosen, value, pull)


def _operand(x: Any) -> Any:
    """An operand in whatever runs."""
    trace = current_trace.get()
    return as_tensor(x) if trace is None else as_operand(trace, x)


__all__ = ["custom_gradient", "custom_jvp", "custom_vjp"]
