"""A specialization: a function traced and compiled for one signature, and how it is run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from graphjit.capture.generators import Draw
from graphjit.capture.sources import Guard, Readings, SharedSources, Source
from graphjit.core.config import config
from graphjit.core.errors import (
    InvalidArgumentError,
    SourceLine,
    at_user_line,
)
from graphjit.core.fork_safety import importing
from graphjit.core.lazy import lazy_module
from graphjit.core.memory_pool import LINE_BYTES
from graphjit.core.tree import LEAF, LeafKind, Tree, unflatten
from graphjit.core.types import Shape
from graphjit.ir.compile_log import Stages, collector_paused, log, log_line, progress
from graphjit.ir.graph import Graph
from graphjit.tensors.variable import Variable

from . import compile_cache
from .plain_array_calls import direct_call, direct_into
from .result_kinds import COMPUTED

if TYPE_CHECKING:
    from graphjit import passes as all_passes
    from graphjit.codegen.runtime.executable import Executable
    from graphjit.ir.program import Program
    from graphjit.passes import Pass
    from graphjit.passes.pipeline import Observer
    from graphjit.tracing.branches import Branch

    from .effects import EffectPlan
else:  # what is found on disk needs none of them
    all_passes = lazy_module("graphjit.passes")

Array = np.ndarray[Any, np.dtype[Any]]


class CaptureReplacedError(InvalidArgumentError):
    """What the function reads that another thread replaced by another type during a call."""


@dataclass(eq=False)
class Specialization:
    """A function traced and compiled for one signature, or the reason for none."""

    # Of each leaf of the arguments, how it is passed.
    kinds: tuple[LeafKind, ...]
    # How the leaves make up the arguments.
    argument_tree: Tree = LEAF
    # Why calls run eagerly; empty where there is compiled code.
    reason: str = ""
    # Whether `reason` is true of all calls with arguments of these types.
    any_value: bool = False
    # The error that tracing raised, until a call has shown that eager mode raises none.
    trace_error: BaseException | None = None
    # Whether an eager call may settle what stood against the trace.
    may_settle: bool = False
    # Whether the trace changed what outlives calls.
    impure: bool = False
    # The table by which machine code enters it.
    entry: Any = None
    # Whether the entry serves all objects of the class of the one that this was made for.
    serves_any_object: bool = False
    # Whether its calls raised, so that they run eagerly until one doesn't.
    raises: bool = False
    # Whether it has run eagerly, and the function is to be traced again.
    retrace_due: bool = False
    # As traced.
    graph: Graph | None = None
    # The compiled program.
    executable: Executable | None = None
    # What the executable runs, where it was compiled here.
    built_program: Program | None = None
    # The user's passes, which ran before the default ones.
    own_passes: tuple[Pass, ...] = ()
    fast_math: bool = False
    tensor_cores: str | None = None
    # Whether the code was there already, in this process or on disk.
    from_cache: bool = False
    # The shapes and dtypes of captures at the trace.
    capture_types: list[tuple[Any, Any]] = field(default_factory=list)
    # How to look each of them up again; None where only its value is known.
    sources: list[Source | None] = field(default_factory=list)
    # The user's lines that read them first.
    source_lines: list[SourceLine | None] = field(default_factory=list)
    # What else the Python code read: what must hold for the trace to be what it does now.
    guards: tuple[Guard, ...] = ()
    # Whether those without a source were made by the function, of values that are known.
    makes_captures: bool = True
    # The captures without a source, and None for the others.
    held_captures: list[Array | None] = field(default_factory=list)
    # The variables that are read or written.
    variables: list[Variable] = field(default_factory=list)
    # What each call draws of random generators, in order.
    draws: tuple[Draw, ...] = ()
    # Where each parameter of the graph comes from: a leaf, capture, variable or drawn array, by
    # number.
    parameter_order: list[tuple[str, int]] = field(default_factory=list)
    # The variables that are written.
    updated: list[Variable] = field(default_factory=list)
    # How the results are put together.
    result_tree: Tree = LEAF
    # For each result a kind and a value: see COMPUTED above.
    results: list[tuple[str, Any]] = field(default_factory=list)
    # What calls write outside, besides variables; its values follow the function's result in
    # the tree of results.
    effects: EffectPlan | None = None
    # Whether results are ndarrays.
    numpy: bool = False
    # Whether it serves calls that take none of the paths that are compiled.
    follows_paths: bool = False
    # The branches on traced values that lead to what is compiled.
    branches: tuple[Branch, ...] = ()
    # Whether there is what only Python computes.
    may_need_python: bool = False
    # Whether the function handles errors that are found: such a call is Python's.
    has_handlers: bool = False
    # Whether there are lists that have room for so many items only.
    has_rooms: bool = False
    # How to look up each object that is returned and was there before the call.
    objects: list[Source] = field(default_factory=list)
    # The types of these objects at the trace.
    object_types: list[type] = field(default_factory=list)
    # The whole call, where arrays go in, arrays come out, and nothing else is to do.
    direct: Callable[[Sequence[Any]], Any] | None = None
    # What each stage of compilation took.
    times_ns: dict[str, int] = field(default_factory=dict)
    # Of each pass: name, nodes before, nodes after, time [ns].
    passes: list[tuple[str, int, int, int]] = field(default_factory=list)
    # The symbols of a specialization with symbolic extents.
    sizes: Any = None
    # Of such a specialization the shape of each leaf.
    shapes: list[Shape | None] = field(default_factory=list)
    # Of such a specialization the sizes that it is for.
    size_domain: Any = None
    # A name for each leaf of the arguments.
    leaf_names: list[str] = field(default_factory=list)
    # The leaves whose memory results may take.
    donated: tuple[int, ...] = ()

    @property
    def may_be_left(self) -> bool:
        """Whether a call may turn out to be one for other code."""
        return bool(self.branches) or self.may_need_python

    def captures_fit(self, read: Readings | None = None) -> bool:
        """Whether what the Python code reads is still of the traced types. read: what is looked
        up for a call.
        """
        read = Readings() if read is None else read
        for number, source in enumerate(self.sources):
            found = self.held_captures[number] if source is None else read(source)
            if not self._capture_fits(number, found):
                return False
        for source, kind in zip(self.objects, self.object_types, strict=True):
            if type(read(source)) is not kind:
                return False
        if not all(guard.holds(read) for guard in self.guards):
            return False
        read.fitting = self
        return True

    def _capture_fits(self, number: int, found: Any) -> bool:
        """Whether a captured array is of the traced type."""
        if type(found) is not np.ndarray:
            return False
        known: bool = (found.shape, found.dtype) == self.capture_types[number]
        return known

    @property
    def captures(self) -> list[Array]:
        """The ndarrays that the Python code reads without being given them, looked up."""
        return self.captures_in(Readings())

    def captures_in(self, read: Readings) -> list[Array]:
        """The same as it is looked up for a call. CaptureReplacedError where an array isn't
        of the traced type.

        Between calls nothing here refers to them, so that their owner can resize them.
        """
        found: list[Any] = []
        for number, (array, source) in enumerate(
            zip(self.held_captures, self.sources, strict=True)
        ):
            now = array if source is None else read(source)
            if not self._capture_fits(number, now):  # since captures_fit() was asked
                raise CaptureReplacedError(
                    at_user_line("an array that the function reads was replaced during a call")
                )
            found.append(now)
        return found

    def share_sources(self) -> None:
        """Make one of equal sources, so that a call looks each up once."""
        shared = SharedSources()
        self.sources = [s and shared.one(s) for s in self.sources]
        self.objects = list(map(shared.one, self.objects))
        self.guards = tuple(map(shared.guard, self.guards))
        self.draws = tuple(replace(d, source=shared.one(d.source)) for d in self.draws)
        if self.effects is not None:
            self.effects.containers = tuple(map(shared.one, self.effects.containers))

    def order_parameters(self) -> None:
        """Where each parameter of the graph comes from at a call."""
        assert self.graph is not None
        counts = {"capture": 0, "variable": 0, "draw": 0}
        for node in self.graph.params:
            role = self.graph.nodes[node].attr("role")
            if role in counts:
                self.parameter_order.append((role, counts[role]))
                counts[role] += 1
        # arguments were noted as they were made; put all in the order of the graph
        given = iter([o for o in self.parameter_order if o[0] == "leaf"])
        others = {r: iter([o for o in self.parameter_order if o[0] == r]) for r in counts}
        order = []
        for node in self.graph.params:
            role = self.graph.nodes[node].attr("role")
            order.append(next(others[role]) if role in others else next(given))
        self.parameter_order = order
        params = {node: target for node, target in zip(self.graph.params, order, strict=True)}
        self.updated = [self.variables[params[p][1]] for p, _ in self.graph.updates]

    def compile(self, passes: Sequence[Pass], fast_math: bool = False) -> None:
        """Find the executable of the graph on disk, or make it."""
        assert self.graph is not None
        self.own_passes, self.fast_math = tuple(passes), fast_math
        stages = Stages(self.times_ns)
        # what a user's own pass does is more than its text says
        with stages.stage("look up"):
            given = [
                k
                for k, o in enumerate(self.parameter_order)
                if o[0] == "leaf" and o[1] in self.donated
            ]
            options: list[Any] = [fast_math, tuple(given)]
            if pairs := self.written_pairs():
                options.append(pairs)
            key = None if passes else compile_cache.key_of(self.graph, self.sizes, *options)
            self.executable = None if key is None else compile_cache.find(key, self.sizes)
        self.from_cache = self.executable is not None
        if self.executable is None:
            with importing():
                from graphjit.codegen.cpu.target import compile_program

            with progress(self.graph.name, stages), collector_paused():
                self.built_program = build_program(self.graph, passes, self, fast_math, stages)
                self.executable, image = compile_program(self.built_program, stages=stages)
            if key is not None:
                with stages.stage("keep"):
                    compile_cache.store(key, self.executable, image, self.sizes)
        simple = self.sizes is None and not self.guards and self.effects is None
        simple = simple and not self.may_be_left and not self.draws
        self.direct = self._make_direct_call() if simple else None
        if "compile" in config.log:
            steps = self.executable.program.steps
            log(log_line(self.graph.name, self.graph, steps, self.times_ns, self.from_cache))

    def _make_direct_call(self) -> Callable[[Sequence[Any]], Any] | None:
        """The whole call, where arrays go in, arrays come out, and nothing else is to do."""
        assert self.executable is not None
        if self.donated or self.variables:
            return None
        kinds = {kind for kind, _ in self.results}
        computes = self.sources or self.executable.program.outputs
        if kinds <= {"view", "static"} and not computes:
            if self.result_tree is LEAF and self.results[0][0] == "view":
                only = self.results[0][1]
                return lambda args: only.replay({"leaf": args}, {}, {})
            return self._views
        leaves = [("leaf", number) for number in range(len(self.kinds))]
        if self.parameter_order != leaves or kinds != {"array"}:
            return None
        return direct_call(self.executable, self.kinds, self.result_tree, self.numpy)

    def _views(self, leaves: Sequence[Any]) -> Any:
        """The results of a call that gives views of arguments, and what nothing changes."""
        arrays, memo, items = {"leaf": leaves}, dict[Any, Any](), iter(self.results)

        def next_result() -> Any:
            kind, value = next(items)
            return value.replay(arrays, {}, memo) if kind == "view" else value

        return unflatten(self.result_tree, next_result)

    def written_pairs(self) -> tuple[tuple[int, int], ...]:
        """The outputs that are new elements of inputs, with these, by their numbers."""
        if self.effects is None or not self.effects.targets:
            return ()
        count = sum(kind in COMPUTED for kind, _ in self.results)
        first = count - len(self.effects.targets)
        places = {place: number for number, place in enumerate(self.parameter_order)}
        return tuple(
            (first + k, places[target.role, target.number])
            for k, target in enumerate(self.effects.targets)
            if (target.role, target.number) in places
        )

    @functools.cached_property
    def direct_into(self) -> Callable[[Array, Sequence[Any]], Array | None] | None:
        """A call that writes one result of plain arrays into an array, and that gives None for
        arrays that it can't take. None where more is to do.
        """
        if self.direct is None or self.executable is None:
            return None
        return direct_into(self.executable, self.kinds, self.result_tree)

    @property
    def program(self) -> Program | None:
        """The program that the executable runs; built anew where code came from the cache."""
        if self.built_program is None and self.executable is not None:
            assert self.graph is not None
            self.built_program = build_program(
                self.graph, self.own_passes, self, self.fast_math
            )
        return self.built_program

    def llvm_ir(self, optimized: bool = False) -> str:
        """The LLVM IR, as emitted or after LLVM's passes."""
        from graphjit.codegen.cpu.target import llvm_text

        assert self.program is not None
        return llvm_text(self.program, optimized)

    @contextmanager
    def locked_variables(self) -> Iterator[None]:
        """Lock the variables in a `with` block: no other thread reads or writes them."""
        cells = {id(v.cell): v.cell for v in self.variables}.values()
        held = sorted(cells, key=lambda c: c.number)  # one order for all: no deadlock
        for cell in held:
            cell.lock.acquire()
        try:
            yield
        finally:
            for cell in held:
                cell.lock.release()

    @functools.cached_property
    def may_draw_again(self) -> bool:
        """Whether a call may turn out, after it drew, to be for other code or for Python."""
        assert self.executable is not None
        whole = any(kind is int for draw in self.draws for kind, _, _ in draw.kinds)
        return whole or self.may_be_left or not self.executable.infallible

    def executable_for(self, where: Sequence[Array | None]) -> Executable:
        """The executable that can write its outputs into these arrays.

        Where an array doesn't start at a cache line, that is one without streaming stores.
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
            number
            for number, target in enumerate(specialization.parameter_order)
            if target in leaves
        ]
    with stages.stage("fuse"):
        program = all_passes.program_of(
            optimized,
            fast_math=fast_math,
            donated=donated,
            written=() if specialization is None else specialization.written_pairs(),
            observers=observers,
        )
    if specialization is not None:
        specialization.passes = timing.rows
    return program
