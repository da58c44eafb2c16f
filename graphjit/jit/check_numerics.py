"""`gj.debug.check_numerics`: where the first NaN or infinity comes from."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, TracingError, at_user_line
from graphjit.ir import interpreter
from graphjit.ir.graph import Node
from graphjit.ops import source
from graphjit.tensors.apply import TensorBase

from .compiled_call import CompiledCall
from .function import Function, function


def check_numerics(x: Any, message: str = "", *, infinities: bool = True) -> Any:
    """`x`, if all its numbers are finite: an array, or a function, whose ops are all looked at.

    Given a function, the result is one that runs it by NumPy first, op by op, and raises
    InvalidArgumentError for the first op that gives a NaN or an infinity of finite operands,
    or the first argument or captured array that has one: the error names the op, how many and
    where they are, and the line. That is slow, and for looking for faults. It sees gradients,
    loops and branches, too: `gj.debug.check_numerics(gj.grad(loss))(w)`.

    Given an array or a tensor, the error is TensorFlow's, with its message. infinities: whether
    these count, too. Raises TracingError for a traced array, and for functions that can't be
    traced.
    """
    if callable(x) and not isinstance(x, TensorBase):
        return _checked(x, message, infinities)
    if isinstance(x, TensorBase) and x.recorder is not None:
        raise TracingError(
            at_user_line(
                "check_numerics of a traced array",
                "give it the function: gj.debug.check_numerics(f)",
            )
        )
    array = np.asarray(x.numpy() if hasattr(x, "numpy") else x)
    found = _text_of(array, infinities)
    if found:
        text = f"{message} : Tensor had {found}" if message else f"Tensor had {found}"
        raise InvalidArgumentError(at_user_line(f"{text} [Op:CheckNumerics]"))
    return x


def _checked(fun: Callable[..., Any], message: str, infinities: bool) -> Callable[..., Any]:
    python = fun.python_function if isinstance(fun, Function) else fun

    @functools.wraps(fun)
    def checked(*args: Any, **kwargs: Any) -> Any:
        # a new one for each call, whose extents are known
        compiled = function(python, fallback="error")
        _look_at_all(compiled, args, kwargs, message, infinities)
        return compiled(*args, **kwargs)

    return checked


def _look_at_all(
    compiled: Function, args: Any, kwargs: Any, message: str, infinities: bool
) -> None:
    """Raise InvalidArgumentError for the first op that gives what isn't finite."""
    specialization = compiled.specialization(*args, **kwargs)
    graph = specialization.graph
    if graph is None:
        raise TracingError(specialization.reason)
    before = f"{message}: " if message else ""

    def look(node: Node, operands: Sequence[Any], value: Any) -> None:
        if node.primitive is source.const or any(_text_of(x, infinities) for x in operands):
            return
        found = _text_of(value, infinities)
        if found:
            name = dict(node.attrs).get("name") or node.primitive.name
            operation = node.primitive.tensorflow
            text = f"{before}{name} gave {found} of finite numbers [Op:{operation}]"
            raise InvalidArgumentError(at_user_line(text, source=node.source))

    inputs = CompiledCall(specialization, compiled.leaves_of(args, kwargs)).inputs(draws=False)
    for number, x in zip(graph.params, inputs, strict=True):
        found = _text_of(x, infinities)
        if found:
            name = graph.nodes[number].attr("name")
            raise InvalidArgumentError(at_user_line(f"{before}{name} has {found}"))
    interpreter.run(graph, inputs, look)


def _text_of(value: Any, infinities: bool) -> str:
    """How many numbers aren't finite, and the place of the first; empty if there are none."""
    for part in value if isinstance(value, tuple) else (value,):
        array = np.asarray(part)
        if array.dtype.kind not in "fc" and array.dtype.name != "bfloat16":
            continue
        bad = ~np.isfinite(array) if infinities else np.isnan(array)
        if bad.any():
            nans = int(np.isnan(array).sum())
            counts = [f"{nans} NaN"] if nans else []
            rest = int(bad.sum()) - nans
            if rest:
                counts.append(f"{rest} Inf")
            place = [int(k) for k in np.argwhere(bad)[0]]
            where = f", the first at {place}" if array.ndim else ""
            return f"{' and '.join(counts)} among {array.size} elements{where}"
    return ""


__all__ = ["check_numerics"]
