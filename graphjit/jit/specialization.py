"""A specialization: a function traced and compiled for one signature, and how it is run."""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from graphjit.core.config import config
from graphjit.core.errors import InvalidArgumentError, OutOfMemoryError, at_user_line
from graphjit.core.fork_safety import importing
from graphjit.core.lazy import lazy_module
from graphjit.core.memory import LINE_BYTES
from graphjit.core.tree import ARRAY, LEAF, SCALAR, TENSOR, LeafKind, Tree, follow, unflatten
from graphjit.core.types import Shape
from graphjit.ir.compile_log import Stages, collector_paused, log, log_line, progress
from graphjit.ir.graph import Graph
from graphjit.tensors.tensor import Tensor, _wrap
from graphjit.tensors.variable import Variable
from graphjit.tracing.captures import Source

from . import compile_cache
from .outputs import COMPUTED, PLAIN, places

if TYPE_CHECKING:
    from graphjit import passes as all_passes
    from graphjit.codegen.runtime.executable import Executable
    from graphjit.ir import cost_model
    from graphjit.ir import program as programs
    from graphjit.ir.program import Program
    from graphjit.passes import Pass
    from graphjit.passes.pipeline import Observer
    from graphjit.tracing.trace import Memo, ResultView
else:  # what is found on disk needs none of them
    all_passes = lazy_module("graphjit.passes")
    cost_model = lazy_module("graphjit.ir.cost_model")
    programs = lazy_module("graphjit.ir.program")

Array = np.ndarray[Any, np.dtype[Any]]


class Replaced(InvalidArgumentError):
    """A captured array that another thread replaced by one of another type during a call."""


@dataclass(eq=False)
class Specialization:
    """A function traced and compiled for one signature, or the reason for none.

    graph: as traced. capture_types, sources, held: of the ndarrays that the Python code reads
    the types, ways to look them up again, and those that there is no way to. reason: why calls
    run eagerly instead, any_value: whatever the values of their arguments; trace_error: the
    error that tracing raised, until a call has shown that eager mode raises none; chance:
    whether an eager call may settle what stood against it; due: it has run, and the function is
    to be traced again; impure: its trace changed what outlives calls.
    entry: the tables by which machine code enters it. results: see `returned.Returned`. numpy:
    whether results are ndarrays. objects: how to look up what is returned and was there before
    the call, object_types: of which types it is. direct: the whole call, for the plain case of
    arrays in and one array out. given: how the leaves make up the arguments. sizes, shapes,
    fit: of a specialization of symbolic extents its symbols, the shape of each leaf, and the
    calls that it is for. own_passes, fast_math, tensor_cores: how it was compiled. found:
    whether its code was there already, in this process or on disk. names, donated: of the
    leaves a name for each, and which are donated.
    """

    kinds: tuple[LeafKind, ...]
    given: Tree = LEAF
    reason: str = ""
    any_value: bool = False
    trace_error: BaseException | None = None
    chance: bool = False
    impure: bool = False
    entry: Any = None
    due: bool = False
    graph: Graph | None = None
    executable: Executable | None = None
    built: Program | None = None
    own_passes: tuple[Pass, ...] = ()
    fast_math: bool = False
    tensor_cores: str | None = None
    found: bool = False
    held: list[Array | None] = field(default_factory=list)
    capture_types: list[tuple[Any, Any]] = field(default_factory=list)
    sources: list[Source | None] = field(default_factory=list)
    variables: list[Variable] = field(default_factory=list)
    order: list[tuple[str, int]] = field(default_factory=list)
    updated: list[Variable] = field(default_factory=list)
    tree: Tree = LEAF
    results: list[tuple[str, Any]] = field(default_factory=list)
    numpy: bool = False
    objects: list[Source] = field(default_factory=list)
    object_types: list[type] = field(default_factory=list)
    direct: Callable[[Sequence[Any]], Any] | None = None
    times_ns: dict[str, int] = field(default_factory=dict)
    passes: list[tuple[str, int, int, int]] = field(default_factory=list)
    sizes: Any = None
    shapes: list[Shape | None] = field(default_factory=list)
    fit: Any = None
    names: list[str] = field(default_factory=list)
    donated: tuple[int, ...] = ()

    def captures_fit(self) -> bool:
        """Whether what the Python code reads is still of the traced types."""
        for number, source in enumerate(self.sources):
            found = self.held[number] if source is None else source()
            if not self._captures_fit(number, found):
                return False
        for source, kind in zip(self.objects, self.object_types, strict=True):
            if type(source()) is not kind:
                return False
        return True

    def _captures_fit(self, number: int, found: Any) -> bool:
        """Whether a captured array may be this one."""
        if type(found) is not np.ndarray:
            return False
        known: bool = (found.shape, found.dtype) == self.capture_types[number]
        return known

    @property
    def captures(self) -> list[Array]:
        """The arrays that the Python code reads, looked up. Between calls nothing refers to
        them, so that their owner can resize them.
        """
        found: list[Any] = []
        for number, (array, source) in enumerate(zip(self.held, self.sources, strict=True)):
            now = array if source is None else source()
            if not self._captures_fit(number, now):  # since captures_fit() was asked
                raise Replaced(
                    at_user_line("an array that the function reads was replaced during a call")
                )
            found.append(now)
        return found

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
        """Find the executable of the graph on disk, or make it."""
        assert self.graph is not None
        self.own_passes, self.fast_math = tuple(passes), fast_math
        stages = Stages(self.times_ns)
        # what a user's own pass does is more than its text says
        with stages.stage("look up"):
            given = [
                k for k, o in enumerate(self.order) if o[0] == "leaf" and o[1] in self.donated
            ]
            key = (
                None
                if passes
                else compile_cache.key_of(self.graph, self.sizes, fast_math, tuple(given))
            )
            self.executable = None if key is None else compile_cache.find(key, self.sizes)
        self.found = self.executable is not None
        if self.executable is None:
            with importing():
                from graphjit.codegen.cpu.target import compile_program

            with progress(self.graph.name, stages), collector_paused():
                self.built = build_program(self.graph, passes, self, fast_math, stages)
                self.executable, image = compile_program(self.built, stages=stages)
            if key is not None:
                with stages.stage("keep"):
                    compile_cache.keep(key, self.executable, image, self.sizes)
        self.direct = None if self.sizes is not None else _direct_call(self)
        if "compile" in config.log:
            steps = self.executable.program.steps
            log(log_line(self.graph.name, self.graph, steps, self.times_ns, self.found))

    @functools.cached_property
    def direct_into(self) -> Callable[[Array, Sequence[Any]], Array | None] | None:
        """The shortest way from plain arrays to one result in a given array, where there is no
        more to do than that; it gives None if that array or the arguments ask for more.
        """
        return None if self.direct is None else _direct_into(self)

    @property
    def program(self) -> Program | None:
        """What the executable runs; made again where that came from the disk."""
        if self.built is None and self.executable is not None:
            assert self.graph is not None
            self.built = build_program(self.graph, self.own_passes, self, self.fast_math)
        return self.built

    def llvm_ir(self, optimized: bool = False) -> str:
        """The LLVM IR, as emitted or after LLVM's passes."""
        from graphjit.codegen.cpu.target import llvm_text

        assert self.program is not None
        return llvm_text(self.program, optimized)

    @contextmanager
    def holding_variables(self) -> Iterator[None]:
        """Let no other thread read or write the variables in the `with` block."""
        cells = {id(v.cell): v.cell for v in self.variables}.values()
        held = sorted(cells, key=lambda c: c.number)  # one order for all: no deadlock
        for cell in held:
            cell.lock.acquire()
        try:
            yield
        finally:
            for cell in held:
                cell.lock.release()

    def run(self, leaves: Sequence[Any], out: Sequence[Any] = (), given: Any = ()) -> Any:
        """The results for these leaves of the arguments; variables are written back.

        out: for each result an array that it is written into, or None. given: the arguments,
        of which containers may be returned.
        """
        assert self.executable is not None
        views, copies = self._made_before(leaves, out) if out else ({}, {})
        if not self.variables:
            return self._results(
                leaves, self._compute(leaves, out)[0], out, given, views, copies
            )
        with self.holding_variables():
            outputs, updates = self._compute(leaves, out)
            for variable, array in zip(self.updated, updates, strict=True):
                variable.cell.array = array
        return self._results(leaves, outputs, out, given, views, copies)

    def _made_before(
        self, leaves: Sequence[Any], out: Sequence[Any]
    ) -> tuple[dict[int, Any], dict[int, Any]]:
        """By number what is made before any array of `out` is written: results that NumPy makes
        of arguments and captured arrays, views or not, and copies of those that go into arrays
        of `out` and lie in memory that these share.
        """
        written = [array for array in out if array is not None]
        copies: dict[int, Any] = {}
        views: dict[int, Any] = {}
        memo: Memo = {}
        for number, ((kind, value), array) in enumerate(zip(self.results, out, strict=True)):
            if kind == "view" and not any(base.role == "output" for base in value.bases):
                views[number] = self.view(value, leaves, memo=memo)
            elif kind == "again" and value in views:
                views[number] = views[value]
            if array is None or number not in views:
                continue
            view = getattr(views[number], "_array", views[number])
            if any(np.may_share_memory(view, other) for other in written):
                copies[number] = np.array(view)
        return views, copies

    def _compute(
        self, leaves: Sequence[Any], out: Sequence[Any]
    ) -> tuple[list[Array], list[Array]]:
        assert self.executable is not None
        inputs = self.inputs(leaves)
        if not out and not self.donated:
            return self.executable(inputs)
        where = places(self, leaves, inputs, out)
        return self._able_to_write(where)(inputs, where)

    def _able_to_write(self, where: Sequence[Array | None]) -> Executable:
        """What can write its outputs into these arrays: the executable, or one that stores
        nothing past the cache, where an array doesn't start at a cache line.
        """
        assert self.executable is not None
        program = self.executable.program
        for array, number in zip(where, program.outputs, strict=True):
            if array is None or number not in program.aligned:
                continue
            if array.ctypes.data % LINE_BYTES:
                return self._unaligned
        return self.executable

    @functools.cached_property
    def _unaligned(self) -> Executable:
        from graphjit.codegen.cpu.target import compile_program

        assert self.program is not None
        return compile_program(self.program, streams=False)[0]

    def inputs(self, leaves: Sequence[Any]) -> list[Array]:
        """The program's inputs for these leaves: arguments, captured arrays, variables."""
        arrays = []
        captures = self.captures if self.sources else ()
        for role, number in self.order:
            if role == "leaf":
                x = as_input(leaves[number])
            elif role == "capture":
                x = captures[number]
            else:
                x = self.variables[number].cell.array
            arrays.append(_ready(x))
        return arrays

    def sizes_of(self, leaves: Sequence[Any]) -> dict[str, int]:
        """What the symbols stand for in a call with these leaves."""
        assert self.executable is not None
        return self.executable.sizes_of(self.inputs(leaves)) if self.sizes is not None else {}

    def view(
        self,
        view: ResultView,
        leaves: Sequence[Any],
        outputs: Sequence[Array] = (),
        memo: Memo | None = None,
    ) -> Any:
        """A result that lies in the memory of some of these leaves or outputs, or of captured
        arrays. memo: what the results of one call have in common.
        """
        arrays = {"leaf": leaves, "capture": self.captures, "output": outputs}
        sizes = {} if view.itself else self.sizes_of(leaves)
        return view.of(arrays, sizes, {} if memo is None else memo)

    def _results(
        self,
        leaves: Sequence[Any],
        outputs: Sequence[Array],
        out: Sequence[Any] = (),
        given: Any = (),
        views: Mapping[int, Any] = MappingProxyType({}),
        copies: Mapping[int, Any] = MappingProxyType({}),
    ) -> Any:
        """views, copies: see `_made_before`."""
        numpy = self.numpy
        computed = itertools.count()
        found: list[Any] = []
        arrays = [*outputs]
        made: list[Any] = []
        memo: Memo = {}
        kinds = [kind for kind, _ in self.results if kind in COMPUTED]
        for number, kind in enumerate(kinds):
            if kind == "swapped":
                array = arrays[number]
                arrays[number] = array.astype(array.dtype.newbyteorder())
        if out:  # views are of the array that a result was written into
            places = [x for x, (k, _) in zip(out, self.results, strict=True) if k in COMPUTED]
            for number, place in enumerate(places):
                if place is not None:
                    if arrays[number] is not place:
                        np.copyto(place, arrays[number])
                    arrays[number] = place

        def result(kind: str, value: Any, place: Any) -> Any:
            if kind in COMPUTED:
                array = arrays[next(computed)]
                if place is not None:
                    return place
                if kind == "python":
                    return array.item()
                scalar = numpy and not array.shape and kind == "array"
                return array[()] if scalar else array if numpy else _wrap(array)
            if kind == "static":
                return value
            if kind == "view":
                made_of = views.get(len(found))
                if made_of is None:
                    made_of = self.view(value, leaves, arrays, memo)
            elif kind == "again":
                made_of = views.get(len(found), found[value])
            elif kind == "copy":
                return copy.copy(value)
            elif kind == "object":
                return self.objects[value]()
            elif kind == "container":
                return made[value]
            else:
                return follow(given, value)
            if place is None:
                return made_of
            made_of = copies.get(len(found), made_of)
            np.copyto(place, getattr(made_of, "_array", made_of))
            return place

        items = iter(zip(self.results, out or repeat(None), strict=False))

        def next_result() -> Any:
            (kind, value), place = next(items)
            found.append(result(kind, value, place))
            return found[-1]

        return unflatten(self.tree, next_result, made)


def build_program(
    graph: Graph,
    passes: Sequence[Pass] = (),
    specialization: Specialization | None = None,
    fast_math: bool = False,
    stages: Stages | None = None,
) -> Program:
    """A traced graph through a user's own passes, the default ones, fusion and memory plan."""
    stages = stages or Stages()
    timing = all_passes.Timing()
    observers: list[Observer] = [timing, all_passes.verifying] if config.verify else [timing]
    with stages.stage("passes"):
        optimized = all_passes.optimized(graph, passes, observers)
    donated: list[int] = []
    if specialization is not None and specialization.donated:
        leaves = {("leaf", n) for n in specialization.donated}
        donated = [
            number for number, place in enumerate(specialization.order) if place in leaves
        ]
    with stages.stage("fuse"):
        program = all_passes.program_of(
            optimized, fast_math=fast_math, donated=donated, observers=observers
        )
    if specialization is not None:
        specialization.passes = timing.rows
    return program


def explain(specialization: Specialization) -> str:
    """A specialization in words: steps with bytes and flops, decisions, times."""
    if specialization.program is None:
        return f"runs eagerly: {specialization.reason}"
    program = specialization.program
    lines = [f"{program.name}: {len(program.steps)} steps, arena {program.arena_bytes} bytes"]
    if program.fast_math:
        lines.append("fast_math")
    for number, step in enumerate(program.steps):
        cost = cost_model.step_cost(step, program.buffers)
        floor = cost_model.floor_ns(step, program.buffers) / 1000
        lines.append(
            f"step {number}: {cost['bytes']:.0f} bytes, {cost['flops']:.0f} flops, "
            f"at least {floor:.3g} µs here"
        )
        lines += ["  " + line for line in programs.print_step(step).splitlines()]
    lines += [f"result b{o} may lie where b{i} does, donated" for o, i in program.donated]
    lines += [f"not fused: {item}" for item in dict.fromkeys(program.decisions)]
    for name, before, after, ns in specialization.passes:
        lines.append(f"pass {name}: {before} -> {after}, {ns / 1e6:.2f} ms")
    if specialization.found:
        lines.append("its code came from the cache")
    times = ", ".join(
        f"{name} {ns / 1e6:.2f} ms" for name, ns in specialization.times_ns.items()
    )
    lines.append(f"times: {times}")
    return "\n".join(lines)


# ndarray.flags.num of an array that compiled code can read: C order and aligned.
_READY = 0x0001 | 0x0100


def _ready(x: Array) -> Array:
    """The array, or a copy that is aligned, in C order and in this machine's byte order."""
    if x.flags.num & _READY == _READY and x.dtype.isnative:
        return x
    try:
        return np.array(x, dtype=x.dtype.newbyteorder("="), order="C")
    except MemoryError as error:
        raise OutOfMemoryError(
            at_user_line(f"no memory for a copy in order of an array of shape {list(x.shape)}")
        ) from error


def _direct_call(specialization: Specialization) -> Callable[[Sequence[Any]], Any] | None:
    """The shortest way from arrays and floats to one array or a tuple of arrays, where there is
    no more to do than that.
    """
    executable = specialization.executable
    assert executable is not None
    if all(kind in ("view", "static") for kind, _ in specialization.results) and not (
        specialization.donated
        or specialization.variables
        or specialization.sources
        or executable.program.outputs
    ):  # nothing is computed
        if specialization.tree is LEAF and specialization.results[0][0] == "view":
            only = specialization.results[0][1]
            return lambda args: only.of({"leaf": args}, {}, {})
        return lambda args: specialization._results(args, ())
    plain = specialization.order == [("leaf", i) for i in range(len(specialization.kinds))]
    plain = plain and not specialization.donated
    if (
        not plain
        or specialization.variables
        or not all(map(_plainly_passed, specialization.kinds))
    ):
        return None
    if any(kind != "array" for kind, _ in specialization.results):
        return None
    only_arrays = all(k.kind == ARRAY for k in specialization.kinds)

    def ready(args: Sequence[Any]) -> list[Array]:
        return [
            x if type(x) is np.ndarray and x.flags.num & _READY == _READY else as_input(x)
            for x in args
        ]

    if specialization.tree is not LEAF:
        if specialization.tree.kind is not tuple or any(
            c is not LEAF for c in specialization.tree.children
        ):
            return None
        run_all = executable.runner()
        if specialization.numpy:
            return lambda args: tuple([a if a.shape else a[()] for a in run_all(ready(args))])
        return lambda args: tuple(map(_wrap, run_all(ready(args))))
    run = executable.single_runner()
    if not specialization.numpy:
        return lambda args: _wrap(run(ready(args)))
    scalar = not executable.program.buffers[executable.program.outputs[0]].type.shape
    if not only_arrays:
        return lambda args: run(ready(args))[()] if scalar else run(ready(args))
    if scalar:

        def call_scalar(args: Sequence[Any]) -> Any:
            for x in args:
                # a NumPy scalar has flags, too, and no memory where an array has
                if type(x) is not np.ndarray or x.flags.num & _READY != _READY:
                    return run(ready(args))[()]
            return run(args)[()]

        return call_scalar

    def call_arrays(args: Sequence[Any]) -> Any:
        for x in args:
            if type(x) is not np.ndarray or x.flags.num & _READY != _READY:
                return run(ready(args))
        return run(args)

    return call_arrays


def _direct_into(
    specialization: Specialization,
) -> Callable[[Array, Sequence[Any]], Array | None] | None:
    executable = specialization.executable
    assert executable is not None
    write = executable.single_writer()
    if (
        write is None
        or specialization.tree is not LEAF
        or any(k.kind != ARRAY for k in specialization.kinds)
    ):
        return None
    (shape, dtype), apart = executable.output_type, np.may_share_memory
    whole = set(executable.program.outputs) <= set(executable.program.aligned)

    def into(out: Array, args: Sequence[Any]) -> Array | None:
        if out.shape != shape or out.dtype is not dtype or out.flags.num & PLAIN != PLAIN:
            return None
        if whole and out.ctypes.data % LINE_BYTES:
            return None
        for x in args:
            if type(x) is not np.ndarray or x.flags.num & _READY != _READY or apart(out, x):
                return None
        write(args, out)
        return out

    return into


def _plainly_passed(kind: LeafKind) -> bool:
    """Whether a leaf is an array of this machine's byte order, a tensor or a Python float."""
    if kind.kind == ARRAY:
        return bool(kind.key[1].isnative)
    return kind.kind == TENSOR or (kind.kind == SCALAR and kind.key is float)


def as_input(x: Any) -> Array:
    """An argument as an array that compiled code can read."""
    if type(x) is np.ndarray:
        return _ready(x)
    return _ready(x._array) if isinstance(x, Tensor) else _boxed(x)


def _boxed(x: Any) -> Array:
    if isinstance(x, int):
        return np.array(x, np.int64)
    return np.asarray(x)
