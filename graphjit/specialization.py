"""A specialisation: one traced and compiled form of a function, and how it is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .config import config
from .cost import floor_ns, step_cost
from .hidden import Getter
from .ir import Graph
from .passes import DEFAULT, Pass, Pipeline, Timing, program_of, verifying
from .program import Program, print_step
from .stages import Stages, collector_paused, log, log_line, progress
from .tensor import Tensor, _wrap
from .tree import ARRAY, LEAF, SCALAR, TENSOR, LeafKind, Tree, unflatten
from .variable import Variable

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(eq=False)
class Specialization:
    """A traced and compiled form of a function for one signature, or the reason for none.

    graph: as traced. captures: ndarrays that the Python code reads, each with a way to look
    it up again. reason: why calls run eagerly instead; doubt: the error that tracing raised,
    until a call has shown that eager mode raises none. numpy: whether results are ndarrays.
    direct: the whole call, for the plain case of arrays in and one array out. given: how the
    leaves make up the arguments.
    """

    kinds: tuple[LeafKind, ...]
    given: Tree = LEAF
    reason: str = ""
    doubt: Exception | None = None
    graph: Graph | None = None
    program: Program | None = None
    executable: Any = None
    captures: list[Array] = field(default_factory=list)
    capture_types: list[tuple[Any, Any]] = field(default_factory=list)
    getters: list[Getter | None] = field(default_factory=list)
    variables: list[Variable] = field(default_factory=list)
    order: list[tuple[str, int]] = field(default_factory=list)
    updated: list[Variable] = field(default_factory=list)
    tree: Tree = LEAF
    results: list[tuple[str, Any]] = field(default_factory=list)
    numpy: bool = False
    direct: Callable[[Sequence[Any]], Any] | None = None
    times_ns: dict[str, int] = field(default_factory=dict)
    passes: list[tuple[str, int, int, int]] = field(default_factory=list)

    def captures_fit(self) -> bool:
        """Whether the arrays that the Python code reads are still of the traced types."""
        for number, getter in enumerate(self.getters):
            found = self.captures[number] if getter is None else getter()
            if type(found) is not np.ndarray:
                return False
            if (found.shape, found.dtype) != self.capture_types[number]:
                return False
            self.captures[number] = found
        return True

    def order_parameters(self) -> None:
        """Where each parameter of the graph comes from at a call."""
        assert self.graph is not None
        counts = {"capture": 0, "variable": 0}
        for node in self.graph.params:
            role = self.graph.nodes[node].attr("role")
            if role in counts:
                self.order.append((role, counts[role]))
                counts[role] += 1
        # arguments were noted as they were made; put all in the order of the graph
        given = iter([o for o in self.order if o[0] == "leaf"])
        others = {r: iter([o for o in self.order if o[0] == r]) for r in counts}
        order = []
        for node in self.graph.params:
            role = self.graph.nodes[node].attr("role")
            order.append(next(others[role]) if role in others else next(given))
        self.order = order
        params = {node: place for node, place in zip(self.graph.params, order, strict=True)}
        self.updated = [self.variables[params[p][1]] for p, _ in self.graph.updates]

    def compile(self, passes: Sequence[Pass], fast_math: bool = False) -> None:
        """Make the program and the executable of the graph."""
        from .codegen.cpu import Executable

        assert self.graph is not None
        stages = Stages(self.times_ns)
        with progress(self.graph.name, stages), collector_paused():
            self.program = build_program(self.graph, passes, self, fast_math, stages)
            self.executable = Executable(self.program, stages=stages)
        self.direct = _direct_call(self)
        if "compile" in config.log:
            log(log_line(self.graph.name, self.graph, self.program, self.times_ns))

    def run(self, leaves: Sequence[Any]) -> Any:
        """The results for these leaves of the arguments; variables are written back."""
        if not self.variables:
            return self._results(self.executable(self.inputs(leaves))[0])
        cells = {id(v.cell): v.cell for v in self.variables}.values()
        held = sorted(cells, key=lambda c: c.number)  # one order for all: no deadlock
        for cell in held:
            cell.lock.acquire()
        try:
            outputs, updates = self.executable(self.inputs(leaves))
            for variable, array in zip(self.updated, updates, strict=True):
                variable.cell.array = array
        finally:
            for cell in held:
                cell.lock.release()
        return self._results(outputs)

    def inputs(self, leaves: Sequence[Any]) -> list[Array]:
        """The program's inputs for these leaves: arguments, captured arrays, variables."""
        arrays = []
        for role, number in self.order:
            if role == "leaf":
                x = _as_input(leaves[number])
            elif role == "capture":
                x = self.captures[number]
            else:
                x = self.variables[number].cell.array
            arrays.append(_ready(x))
        return arrays

    def _results(self, outputs: Sequence[Array]) -> Any:
        numpy = self.numpy
        arrays = iter(outputs)
        found = []
        for kind, value in self.results:
            if kind == "static":
                found.append(value)
            elif kind == "python":
                found.append(next(arrays).item())
            else:
                array = next(arrays)
                found.append((array if array.shape else array[()]) if numpy else _wrap(array))
        items = iter(found)
        return unflatten(self.tree, lambda: next(items))


def build_program(
    graph: Graph,
    passes: Sequence[Pass] = (),
    form: Specialization | None = None,
    fast_math: bool = False,
    stages: Stages | None = None,
) -> Program:
    """A traced graph through a user's own passes, the default ones, fusion and memory plan."""
    stages = stages or Stages()
    timing = Timing()
    pipeline = Pipeline((*passes, *DEFAULT.passes))
    with stages.stage("passes"):
        optimized = pipeline.run(graph, [timing, verifying] if config.verify else [timing])
    with stages.stage("fuse"):
        program = replace(program_of(optimized), fast_math=fast_math)
    if form is not None:
        form.passes = timing.rows
    return program


def explain(form: Specialization) -> str:
    """A specialisation in words: steps with bytes and flops, decisions, times."""
    if form.program is None:
        return f"runs eagerly: {form.reason}"
    program = form.program
    lines = [f"{program.name}: {len(program.steps)} steps, arena {program.arena_bytes} bytes"]
    if program.fast_math:
        lines.append("fast_math")
    for number, step in enumerate(program.steps):
        cost = step_cost(step, program.buffers)
        floor = floor_ns(step, program.buffers) / 1000
        lines.append(
            f"step {number}: {cost['bytes']:.0f} bytes, {cost['flops']:.0f} flops, "
            f"at least {floor:.3g} µs here"
        )
        lines += ["  " + line for line in print_step(step).splitlines()]
    lines += [f"not fused: {item}" for item in dict.fromkeys(program.decisions)]
    for name, before, after, ns in form.passes:
        lines.append(f"pass {name}: {before} -> {after} nodes, {ns / 1e6:.2f} ms")
    times = ", ".join(f"{name} {ns / 1e6:.2f} ms" for name, ns in form.times_ns.items())
    lines.append(f"times: {times}")
    return "\n".join(lines)


# ndarray.flags.num of an array that compiled code can read: C order and aligned.
_READY = 0x0001 | 0x0100


def _ready(x: Array) -> Array:
    """The array, or a copy that is aligned, in C order and in this machine's byte order."""
    if x.flags.num & _READY == _READY and x.dtype.isnative:
        return x
    return np.array(x, dtype=x.dtype.newbyteorder("="), order="C")


def _direct_call(form: Specialization) -> Callable[[Sequence[Any]], Any] | None:
    """The shortest way from arrays and floats to one array or a tuple of arrays, where there is
    no more to do than that.
    """
    plain = form.order == [("leaf", i) for i in range(len(form.kinds))]
    if not plain or form.variables or not all(map(_plainly_passed, form.kinds)):
        return None
    if any(kind != "array" for kind, _ in form.results):
        return None
    only_arrays = all(k.kind == ARRAY for k in form.kinds)

    def ready(args: Sequence[Any]) -> list[Array]:
        return [
            x if type(x) is np.ndarray and x.flags.num & _READY == _READY else _as_input(x)
            for x in args
        ]

    if form.tree is not LEAF:
        if form.tree.kind is not tuple or any(c is not LEAF for c in form.tree.children):
            return None
        run_all = form.executable.runner()
        if form.numpy:
            return lambda args: tuple([a if a.shape else a[()] for a in run_all(ready(args))])
        return lambda args: tuple(map(_wrap, run_all(ready(args))))
    run = form.executable.single_runner()
    if not form.numpy:
        return lambda args: _wrap(run(ready(args)))
    if not form.executable.program.buffers[form.executable.program.outputs[0]].type.shape:
        return lambda args: run(ready(args))[()]
    if not only_arrays:
        return lambda args: run(ready(args))

    def call_arrays(args: Sequence[Any]) -> Any:
        for x in args:
            if x.flags.num & _READY != _READY:
                return run(ready(args))
        return run(args)

    return call_arrays


def _plainly_passed(kind: LeafKind) -> bool:
    """Whether a leaf is an array of this machine's byte order, a tensor or a Python float."""
    if kind.kind == ARRAY:
        return bool(kind.key[1].isnative)
    return kind.kind == TENSOR or (kind.kind == SCALAR and kind.key is float)


def _as_input(x: Any) -> Array:
    """An argument as an array that compiled code can read."""
    if type(x) is np.ndarray:
        return _ready(x)
    return _ready(x._array) if isinstance(x, Tensor) else _boxed(x)


def _boxed(x: Any) -> Array:
    if isinstance(x, int):
        return np.array(x, np.int64)
    return np.asarray(x)
