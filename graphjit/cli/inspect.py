"""The stages of a function as data: graph, passes, kernels, loops, machine code, comparison.

Takes a Python function and example arguments. Gives what the command line prints; nothing here
prints. The compiled function itself is `jit`'s.
"""

from __future__ import annotations

import inspect
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphjit.core.config import config
from graphjit.core.dims import is_symbolic
from graphjit.core.errors import (
    GraphJitError,
    InternalError,
    InvalidArgumentError,
    TracingError,
    UnsupportedError,
    at_user_line,
)
from graphjit.core.tree import flatten
from graphjit.core.types import TensorSpec, TensorType, as_dtype
from graphjit.ir.cost_model import floor_ns, step_cost
from graphjit.ir.graph import Graph, verify
from graphjit.ir.program import Kernel, Program, print_buffers, print_step
from graphjit.jit.function import Function
from graphjit.jit.options import FunctionOptions
from graphjit.jit.specialization import Specialization, build_program
from graphjit.ops import source
from graphjit.ops.primitive import Pointwise, Reduce, Scan
from graphjit.passes import (
    DEFAULT,
    PASSES,
    Fuse,
    Pass,
    Pipeline,
    optimized,
    program_of,
    through,
    verifying,
)
from graphjit.tensors.apply import TensorBase
from graphjit.tensors.variable import Variable

PIPELINE_STAGE = "default"
PROGRAM_STAGES = ("kernels", "buffers", "loops", "llvm", "llvm-opt", "asm", "ptx")
# The passes that make or take a program; the stage is the program after them.
PROGRAM_PASSES = tuple(name for name, kind in PASSES.items() if kind.level != "graph")
STAGES = ("trace", PIPELINE_STAGE, *PROGRAM_PASSES, *PROGRAM_STAGES)
USUAL_EXTENT = 64  # what an open extent is taken to be while a function is traced or timed


class CallError(Exception):
    """The user's function, or how it is called, is at fault; eager mode says the same."""


class TracedSpecialization(Specialization):
    """A specialization that stays a graph, so that no later stage can spoil a dump."""

    def compile(self, passes: Sequence[Pass], fast_math: bool = False) -> None:
        """See whether there is code for all sizes, where they are symbolic."""
        if (
            self.sizes is not None and self.graph is not None
        ):  # Undecided where there is no code for all sizes
            print_stage(build_program(self.graph, passes, self, fast_math), "llvm")


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


def run(function: Function, args: Sequence[Any], eagerly: bool) -> Any:
    """The function's value; CallError for what the user's code raises."""
    try:
        with config.eager(eagerly), np.errstate(all="ignore"):
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


@dataclass(frozen=True, slots=True)
class PassStep:
    """One pass of a pipeline: the graph after it, and which rules fired at which nodes.

    title: the pass with its options. fired: pairs (rule, nodes of the graph before).
    """

    title: str
    graph: Graph
    changed: bool
    fired: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @property
    def header(self) -> str:
        """`--- simplify    # x * 1 -> x at %2`."""
        notes = [f"{name} at {', '.join(f'%{n}' for n in nodes)}" for name, nodes in self.fired]
        if not self.changed:
            notes = ["nothing changed"]
        return f"--- {self.title}" + (f"    # {'; '.join(notes)}" if notes else "")


def parse_pipeline(text: str, own: Sequence[Pass] = ()) -> Pipeline:
    """The pipeline that a text means; `default` is the default one after a function's own."""
    if text == PIPELINE_STAGE:
        return Pipeline((*own, *DEFAULT.passes))
    found = Pipeline.parse(text, PASSES)
    for step in found.passes:
        if step.level != "graph":
            raise InvalidArgumentError(f"{step.name} makes a program: give its name alone")
    return found


def run_passes(graph: Graph, pipeline: Pipeline) -> Iterator[PassStep]:
    """The graph after each pass."""
    for step in pipeline.passes:
        explain = getattr(step, "explain", None)
        fired: dict[str, list[int]] = {}
        for name, node in explain(graph) if explain is not None else ():
            fired.setdefault(name, []).append(node)
        after = step.run(graph)
        verify(after)
        rules = tuple((name, tuple(dict.fromkeys(nodes))) for name, nodes in fired.items())
        yield PassStep(str(step), after, after is not graph, rules)
        graph = after


def program_after(
    graph: Graph, name: str, passes: Sequence[Pass] = (), fast_math: bool = False
) -> Program:
    """A traced graph's program after the pass of that name, one of PROGRAM_PASSES.

    InvalidArgumentError where no target runs it.
    """
    steps = (
        Fuse(step.library_products, fast_math) if isinstance(step, Fuse) else step
        for step in through(name).passes
    )
    program: Program = Pipeline((*passes, *steps)).run(graph, [verifying])
    return program


@dataclass(frozen=True, slots=True)
class Plan:
    """A program, the graph it was made of, and the nodes that each step computes.

    A node in several steps is computed again in each.
    """

    graph: Graph
    program: Program
    nodes: tuple[tuple[int, ...], ...]

    def kernel_of(self) -> dict[int, int]:
        """The first step that computes each node."""
        steps = reversed(list(enumerate(self.nodes)))
        return {node: number for number, nodes in steps for node in nodes}

    def repeated(self) -> dict[int, tuple[int, ...]]:
        """The nodes whose arithmetic is done in several steps, and those steps."""
        found: dict[int, list[int]] = {}
        for number, nodes in enumerate(self.nodes):
            for node in nodes:
                if isinstance(self.graph.nodes[node].primitive.kind, (Pointwise, Reduce, Scan)):
                    found.setdefault(node, []).append(number)
        return {node: tuple(steps) for node, steps in found.items() if len(steps) > 1}


def plan(graph: Graph, passes: Sequence[Pass] = (), fast_math: bool = False) -> Plan:
    """A traced graph through all passes, fusion and the memory plan."""
    graph = optimized(graph, passes)
    return plan_of(graph, program_of(graph, fast_math=fast_math))


def plan_of(graph: Graph, program: Program) -> Plan:
    """The plan of a program whose optimised graph is known.

    Steps name the nodes they compute; those that are no work are added here.
    """
    found = [set(step.nodes) for step in program.steps]
    for index, node in enumerate(graph.nodes):  # the several results of a library call
        if node.primitive is source.item:
            for nodes in found:
                if node.inputs[0] in nodes:
                    nodes.add(index)
    return Plan(graph, program, tuple(tuple(sorted(nodes)) for nodes in found))


def print_stage(program: Program, stage: str) -> str:
    """A stage after the graph as text: kernels, buffers, loops, llvm, llvm-opt or asm."""
    match stage:
        case "kernels":
            steps = map(print_step, program.steps)
            return "\n".join([*_fast(program), *steps, *_leaving(program)])
        case "buffers":
            return print_buffers(program)
        case "loops":
            from graphjit.codegen.cpu.processor import host
            from graphjit.codegen.lower import lower

            width = host().vector_bytes
            loops = (
                str(lower(step, width)) if isinstance(step, Kernel) else print_step(step)
                for step in program.steps
            )
            return "\n".join([*_fast(program), *loops])
        case "llvm" | "llvm-opt":
            from graphjit.codegen.cpu.target import llvm_text

            return llvm_text(program, optimized=stage == "llvm-opt")
        case "asm":
            from graphjit.codegen.cpu.target import assembly

            return assembly(program)
        case _:
            raise InternalError(f"no stage {stage!r}")


def _fast(program: Program) -> list[str]:
    return ["fast_math"] if program.fast_math else []


def _leaving(program: Program) -> list[str]:
    lines = ["return " + ", ".join(f"b{i}" for i in program.outputs)]
    if program.updates:
        lines.append("update " + ", ".join(f"b{i}" for i in program.updates))
    return lines


@dataclass(frozen=True, slots=True)
class Cost:
    """A step in numbers: its name, least bytes moved, flops, the least time that this machine
    can take for it, and the nodes fused into it.

    library: whether it is a call between native code.
    """

    name: str
    moved_bytes: int
    flops: int
    floor_ns: float
    nodes: tuple[int, ...]
    library: bool


def costs(found: Plan) -> list[Cost]:
    """What each step of a plan costs."""
    rows = []
    for step, nodes in zip(found.program.steps, found.nodes, strict=True):
        cost = step_cost(step, found.program.buffers)
        moved, flops, library = cost["bytes"], cost["flops"], not isinstance(step, Kernel)
        floor = floor_ns(step, found.program.buffers)
        rows.append(Cost(_step_name(step), int(moved), int(flops), floor, nodes, library))
    return rows


def _step_name(step: Any) -> str:
    if isinstance(step, Kernel):
        return f"kernel {step.name}"
    return f"call {step.primitive.name}"


def node_name(graph: Graph, node: int) -> str:
    """A node as prose has it: `%3 exp (model.py:12)`."""
    found = graph.nodes[node]
    where = f" ({found.source})" if found.source is not None else ""
    return f"%{node} {found.primitive.name}{where}"


def decisions(found: Plan) -> list[str]:
    """What the planner did not fuse and why, with the nodes' ops and lines."""
    count = len(found.graph.nodes)

    def named(match: re.Match[str]) -> str:
        node = int(match[1])
        return node_name(found.graph, node) if node < count else match[0]

    said = dict.fromkeys(found.program.decisions)
    return [re.sub(r"%(\d+)", named, decision) for decision in said]


def native_calls(program: Program) -> int:
    """How many times a call enters native code: library calls split the steps."""
    calls, inside = 0, False
    for step in program.steps:
        native = isinstance(step, Kernel)
        calls += native and not inside
        inside = native
    return calls


@dataclass(frozen=True, slots=True)
class Result:
    """One array that a call gave, or left in a variable."""

    name: str
    value: Any

    @property
    def type(self) -> TensorType | None:
        """Shape and dtype; None for what is no number."""
        array = np.asarray(self.value)
        try:
            return TensorType(array.shape, as_dtype(array.dtype))
        except GraphJitError:
            return None


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two results are apart.

    absolute: the largest difference. ulps: the largest in units in the last place of its
    element or, where that is larger, of the result's mean size (sums cancel). problem: what
    is not a matter of rounding.
    """

    name: str
    absolute: float
    ulps: float
    problem: str = ""


class Session:
    """A function and its arguments, run compiled or eagerly from the same variables.

    specialization: what was compiled, with the times that took.
    """

    def __init__(self, target: Any, args: Sequence[Any]) -> None:
        trace_graph(target, args)  # the user's errors; later ones are ours
        self.function, self.args = as_call(target, args)
        self.specialization: Specialization = self.function.specialization(*self.args)
        self._held = [(v, v.cell.array) for v in self.specialization.variables]

    def plan(self) -> Plan:
        """The compiled program's plan."""
        assert self.specialization.graph is not None and self.specialization.program is not None
        return plan_of(
            optimized(self.specialization.graph, self.function.passes),
            self.specialization.program,
        )

    def _restore(self) -> None:
        for variable, array in self._held:
            variable.cell.array = array

    def results(self, eagerly: bool = False) -> list[Result]:
        """The results of one call, then the variables it wrote."""
        try:
            leaves: list[Any] = []
            flatten(run(self.function, self.args, eagerly), leaves)
            found = [Result(f"result {k}", _plain(x)) for k, x in enumerate(leaves)]
            for variable in self.specialization.updated:
                name = f"variable {variable.name.removesuffix(':0')}"
                found.append(Result(name, variable.cell.array))
            return found
        finally:
            self._restore()

    def times_ns(self, repeat: int, with_eager: bool) -> tuple[list[int], list[int]]:
        """Times of `repeat` compiled calls and, in turns with them, eager ones [ns]."""
        compiled: list[int] = []
        eager: list[int] = []
        with np.errstate(all="ignore"):
            for _ in range(repeat):
                with config.eager(False):
                    compiled.append(self._time(self.function))
                if with_eager:
                    with config.eager():
                        eager.append(self._time(self.function.python_function))
        return compiled, eager

    def step_times_ns(self, calls: int = 5) -> list[float]:
        """The least time of each step over a few calls [ns]."""
        from graphjit.codegen.cpu.target import compile_program

        leaves: list[Any] = []
        flatten((tuple(self.args), {}), leaves)
        assert self.specialization.program is not None
        inputs = self.specialization.inputs(leaves)
        executable, _ = compile_program(self.specialization.program, timed=True)
        return executable.step_times_ns(inputs, calls)

    def least_ns(self, calls: int = 5) -> int:
        """The time of the fastest of a few compiled calls [ns]."""
        try:
            return min(self.times_ns(calls, False)[0])
        finally:
            self._restore()

    def _time(self, function: Callable[..., Any]) -> int:
        started = time.perf_counter_ns()
        function(*self.args)
        elapsed = time.perf_counter_ns() - started
        self._restore()
        return elapsed


def median(times: Sequence[int]) -> float:
    """The median of times [ns]."""
    return float(statistics.median(times))


def _plain(value: Any) -> Any:
    if isinstance(value, (TensorBase, Variable, np.ndarray)):
        return np.asarray(value)
    return value


def differences(actual: Sequence[Result], expected: Sequence[Result]) -> list[Difference]:
    """How far compiled results are from eager ones, result by result."""
    if len(actual) != len(expected):
        counts = f"{len(actual)} results, eagerly {len(expected)}"
        return [Difference("results", np.inf, np.inf, counts)]
    return [_difference(a, e) for a, e in zip(actual, expected, strict=True)]


def _difference(actual: Result, expected: Result) -> Difference:
    if actual.type is None or expected.type is None:
        same = actual.value is expected.value or bool(actual.value == expected.value)
        problem = "" if same else f"{actual.value!r}, eagerly {expected.value!r}"
        return Difference(actual.name, 0.0, 0.0, problem)
    if actual.type != expected.type:
        problem = f"{actual.type}, eagerly {expected.type}"
        return Difference(actual.name, np.inf, np.inf, problem)
    dtype = actual.type.dtype
    if not actual.type.size:
        return Difference(actual.name, 0.0, 0.0)
    wide = np.complex128 if dtype.is_complex else np.float64
    a, e = (np.asarray(x.value).astype(wide) for x in (actual, expected))
    if not dtype.is_inexact:
        unequal = int(np.count_nonzero(np.asarray(actual.value) != np.asarray(expected.value)))
        problem = f"{unequal} of {actual.type.size} elements differ" if unequal else ""
        return Difference(actual.name, float(np.max(np.abs(a - e))), 0.0, problem)
    finite = np.isfinite(a) & np.isfinite(e)
    same = (a == e) | (np.isnan(a) & np.isnan(e))
    unequal = int(np.count_nonzero(~finite & ~same))
    problem = f"{unequal} NaNs or infinities are not the same" if unequal else ""
    if not finite.any():
        return Difference(actual.name, 0.0, 0.0, problem)
    a, e = a[finite], e[finite]
    apart, size = np.abs(a - e), np.abs(e)
    largest = float(size.max())
    mean = largest * float(np.mean(size / largest)) if largest else 0.0
    spacing = _epsilon(dtype.real) * np.maximum(size, mean)
    with np.errstate(all="ignore"):
        ulps = np.where(apart > 0, apart / spacing, 0.0)
    return Difference(actual.name, float(apart.max()), float(np.max(ulps)), problem)


def _epsilon(dtype: Any) -> float:
    import ml_dtypes

    info: Any = ml_dtypes.finfo(dtype.dtype)
    return float(info.eps)
