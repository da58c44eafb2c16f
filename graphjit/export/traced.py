"""A Python function traced for arguments or specs, without falling back.

A gj.TensorSpec stands for an array of its type. The compiled function itself is `jit`'s.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from graphjit.core.config import config
from graphjit.core.dims import is_symbolic
from graphjit.core.errors import (
    GraphJitError,
    InternalError,
    TracingError,
    UnsupportedError,
    at_user_line,
)
from graphjit.core.types import TensorSpec, as_dtype
from graphjit.ir.graph import Graph
from graphjit.jit.function import Function
from graphjit.jit.options import FunctionOptions
from graphjit.jit.specialization import Specialization, build_program
from graphjit.passes import Pass

USUAL_EXTENT = 64  # what an open extent is taken to be while a function is traced or timed


class CallError(Exception):
    """The user's function, or how it is called, is at fault; eager mode says the same."""


class TracedSpecialization(Specialization):
    """A specialization that stays a graph, so that no later stage can spoil a dump."""

    def compile(self, passes: Sequence[Pass], fast_math: bool = False) -> None:
        """See whether there is code for all sizes, where they are symbolic."""
        if self.sizes is not None and self.graph is not None:
            from graphjit.codegen.cpu.target import llvm_text

            # Undecided where there is no code for all sizes
            llvm_text(build_program(self.graph, passes, self, fast_math))


class Traced(Function):
    """A Function that stops after tracing."""

    specialization_class = TracedSpecialization


def as_call(
    target: Any, args: Sequence[Any], kind: type[Function] = Function
) -> tuple[Function, tuple[Any, ...]]:
    """A Function that never falls back, and its arguments (`self` first, where there is one).

    target: a decorated function, a plain one, a bound method or an object with `__call__`.
    args: a gj.TensorSpec stands for an array of its type, whose extents are open where None.
    """
    given = args
    if inspect.ismethod(target):
        args, target = [target.__self__, *args], target.__func__
    elif not isinstance(target, type) and not hasattr(target, "__name__"):
        method = inspect.getattr_static(type(target), "__call__", None)
        if inspect.isfunction(method) or isinstance(method, Function):
            args, target = [target, *args], method
    if isinstance(target, type):
        raise CallError(f"{target.__qualname__} is a class, not a function")
    if isinstance(target, Function):
        options = replace(target.options, fallback="error", donate=())
        function = kind(target.python_function, options)
    elif callable(target) and hasattr(target, "__name__"):
        function = kind(target, FunctionOptions(fallback="error"))
    else:
        raise CallError(f"a {type(target).__name__} is no Python function")
    _check_count(function, args)
    return _opened(function, given), tuple(_example(x) for x in args)


def has_open(args: Sequence[Any]) -> bool:
    """Whether an extent of an argument is left open."""
    return any(isinstance(x, TensorSpec) and None in x.shape for x in args)


def _opened(function: Function, args: Sequence[Any]) -> Function:
    """The function, with a signature that leaves open what the arguments leave open."""
    if not has_open(args) or function.input_signature is not None:
        return function
    specs = []
    for x in args:
        if isinstance(x, np.ndarray):
            x = TensorSpec(x.shape, as_dtype(x.dtype))
        if not isinstance(x, TensorSpec):
            raise CallError(f"where extents are left open all arguments are arrays, not {x!r}")
        specs.append(x)
    options = replace(function.options, input_signature=tuple(specs))
    return type(function)(function.python_function, options)


def _example(x: Any) -> Any:
    """An array for a spec."""
    if not isinstance(x, TensorSpec):
        return x
    shape = tuple(USUAL_EXTENT if n is None else n for n in x.shape)
    try:
        return np.zeros(shape, x.dtype.dtype)
    except ValueError as error:
        raise CallError(f"{x}: {error}") from error


def check_open(function: Function, args: Sequence[Any], graph: Graph) -> None:
    """Fail if extents are to be open, but the graph is for one size."""
    if has_open(args) and not any(
        is_symbolic(graph.nodes[p].tensor.shape) for p in graph.params
    ):
        raise UnsupportedError(
            at_user_line(
                f"there is no one specialization of {function.name} for all sizes",
                "give the extents that are None",
            )
        )


def trace_graph(target: Any, args: Sequence[Any]) -> tuple[Graph, tuple[Pass, ...], bool]:
    """The graph as traced, the function's own passes, which run before the default ones, and
    its fast_math.

    TracingError if there is no graph, CallError if eager mode fails too.
    """
    function, arrays = as_call(target, args, Traced)
    try:
        graph = function.get_graph(*arrays)
    except (InternalError, TracingError):
        raise
    except UnsupportedError as error:
        raise TracingError(str(error)) from error
    except Exception as error:
        run(function, arrays, eagerly=True)
        name = type(error).__name__
        raise TracingError(f"tracing raised {name}: {error}") from error
    check_open(function, args, graph)
    return graph, function.passes, function.fast_math


@contextmanager
def running(eagerly: bool) -> Iterator[None]:
    """Functions run eagerly, or don't, in the whole process.

    Not `config.eager`, which is for one context: once that was used, no call is native.
    """
    before = config.functions_run_eagerly
    config.run_functions_eagerly(eagerly)
    try:
        yield
    finally:
        config.run_functions_eagerly(before)


def run(function: Function, args: Sequence[Any], eagerly: bool) -> Any:
    """The function's value; CallError for what the user's code raises."""
    try:
        with running(eagerly), np.errstate(all="ignore"):
            return function(*args)
    except InternalError:
        raise
    except GraphJitError as error:
        raise CallError(str(error)) from error
    except Exception as error:
        if not eagerly:  # compiled code raises no others
            raise
        code = getattr(function.python_function, "__code__", None)
        where = line_of(error, code.co_filename) if code is not None else ""
        name = type(error).__name__
        text = str(error).rstrip()
        raise CallError(f"{_name(function)} raised {name}: {text}{where}") from error


def _name(function: Function) -> str:
    return str(function.python_function.__name__)


def _check_count(function: Function, args: Sequence[Any]) -> None:
    try:
        signature = inspect.signature(function.python_function)
    except (TypeError, ValueError):  # built in
        return
    try:
        signature.bind(*args)
    except TypeError as error:
        raise CallError(f"{_name(function)}{signature}: {error}") from None


def line_of(error: BaseException, file: str) -> str:
    """The innermost line of a file on an error's way, as the last line of a message."""
    from traceback import extract_tb

    from graphjit.core.errors import SourceLine

    frames = [f for f in extract_tb(error.__traceback__) if f.filename == file]
    if not frames:
        return ""
    line = SourceLine(file, frames[-1].lineno or 0, frames[-1].name)
    return f"\n  {line.describe()}"
