"""One trace of a function for a call: what is refused before, the trace, and what it leaves."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import opcode
import operator
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphjit.capture.effects import Effect, EffectKind
from graphjit.capture.generators import Draw
from graphjit.capture.made_arrays import MadeArrays
from graphjit.capture.recorder import PLAIN, Recorder
from graphjit.capture.sources import (
    AttributeSource,
    ConstSource,
    agreed,
    lasting_source,
)
from graphjit.capture.values import CALLABLES
from graphjit.core.dims import Dim
from graphjit.core.errors import (
    InternalError,
    LeakedTracerError,
    SourceLine,
    TracingError,
    at_user_line,
    of_user,
    user_line,
)
from graphjit.core.fork_safety import importing
from graphjit.core.static_lookup import own_attributes
from graphjit.core.tree import (
    NUMBER,
    SCALAR,
    STATIC,
    TENSOR,
    LeafKind,
    Tree,
    containers,
    unflatten,
)
from graphjit.core.types import DType, TensorType, as_dtype
from graphjit.ir.graph import Graph
from graphjit.tensors.apply import TensorBase
from graphjit.tensors.tensor import Tensor
from graphjit.tracing import foreign, symbolic_sizes
from graphjit.tracing.carried_values import common_kind
from graphjit.tracing.leaks import holds_traced
from graphjit.tracing.loop_tests import always_raises
from graphjit.tracing.python_loops import PythonLoops
from graphjit.tracing.returned_objects import find_sources
from graphjit.tracing.side_effects import SideEffects
from graphjit.tracing.symbolic_tensor import StaticValueNeeded
from graphjit.tracing.trace import Trace, WrittenAfterUseError
from graphjit.tracing.turn_lists import ListWanted, OutsideListWanted
from graphjit.tracing.turn_ways import JoinRefused, LoopRefused

from .effects import do_now
from .output_memory import donated_leaves
from .outside_numbers import NUMBER_DTYPES, OutsideNumbers
from .return_plan import ReturnPlan
from .specialization import Specialization, build_program

if TYPE_CHECKING:
    from graphjit.capture.sources import Source
    from graphjit.core.errors import SourceLine
    from graphjit.tracing.symbolic_sizes import SizeAssumptions

    from .call_key import CallKey
    from .definition import FunctionDefinition

# What ends a call whatever `fallback` says, where it comes from outside.
_INTERRUPTS = (KeyboardInterrupt, GeneratorExit)
# How many lines may become ones that make traced arrays, each after a trace that failed.
_MAX_WRITTEN_LINES = 16
# After how many refused joins no branches are joined any more.
_MAX_UNJOINED = 12
_RAISE = opcode.opmap["RAISE_VARARGS"]
# Errors that tell of the trace and not of the call.
_OWN_ERRORS = (TracingError, InternalError, ImportError)


class MaySettleError(TracingError):
    """A trace changed what outlives the call, which was put back.

    An eager call changes it too, and then it may be settled: what was missing is made once, a
    cache is filled.
    """


class ImpureError(TracingError):
    """A trace changed what outlives the call, and calls of the same types will."""


class TraceAttempt:
    """A trace of a function for one call."""

    def __init__(
        self, definition: FunctionDefinition, call: CallKey, may_settle: bool = True
    ) -> None:
        """may_settle: whether what is stored where nothing was is left to an eager call, where
        there are some.
        """
        self._definition = definition
        self._call = call
        self._may_settle = may_settle and definition.options.fallback == "eager"
        # Whether a trace that failed had changed what outlives the call, which was put back, or
        # a container among the arguments.
        self.had_effects = False
        self._wrote_arguments = False
        # What the Python code writes outside, and whether that is elements of arrays.
        self._effects: Sequence[Effect] = ()
        self._written_arrays = False
        # What each call draws of random generators.
        self._draws: list[Draw] = []
        self._sizes_vary = False
        self._numbers = OutsideNumbers(definition, call)
        # The loops of the trace, and whether one was being recorded when it failed.
        self._loops, self._loops_were_open = PythonLoops(), False
        pairs = zip(call.leaves, call.kinds, strict=True)
        self._statics = [x for x, kind in pairs if kind.kind == STATIC]
        # By their keys: where lists come from that turns of loops append to.
        self._appended_to: dict[Any, Source] = {}

    def require_static_numbers(self) -> bool:
        """Let the numbers that were inputs be under guards from now on; whether there were
        some.
        """
        return self._numbers.make_static()

    def run(self, assumed: SizeAssumptions | None = None) -> Specialization:
        """The specialization of the call, traced and not compiled.

        assumed: which extents are symbolic, if some are.
        """
        definition, first = self._definition, None
        known = definition.written_lines
        forgotten = not known
        try:
            while True:
                try:
                    specialization = self._run_once(assumed)
                    definition.written_lines |= known
                    return specialization
                except Exception as error:
                    if isinstance(error, WrittenAfterUseError):
                        self._made.note_written(error.array)
                    if isinstance(error, TracingError) and self._written_lines_grow(known):
                        first = first or error
                        continue
                    if self._leaves_loops_alone(error):
                        continue
                    if not isinstance(error, TracingError):
                        raise
                    first = first or error
                    if not forgotten:  # this call may write into fewer arrays than others
                        forgotten, definition.written_lines = True, frozenset()
                        continue
                    definition.written_lines = known
                    if isinstance(first, StaticValueNeeded):
                        raise first from None
                    raise
        finally:
            del first  # whose traceback has this frame

    def _leaves_loops_alone(self, error: Exception) -> bool:
        """After a trace that failed for loops that were to be one node: whether to trace once
        more, without that.
        """
        if isinstance(error, OutsideListWanted):
            known_already = error.source.key in self._appended_to
            self._appended_to[error.source.key] = error.source
            if not known_already:
                return True
        if isinstance(error, ListWanted):
            known = self._definition.grows
            new_lists = {
                k: v
                for k, v in error.wanted.items()
                if k not in known or (known[k] != v and common_kind(known[k], v, ()) == v)
            }
            known.update(new_lists)
            return bool(new_lists)
        taken = self._loops.last_taken
        raising = self._definition.raising
        if taken is not None and taken not in raising and _is_raising(error):
            raising.add(taken)
            return True
        if self._leaves_joins_alone(error):
            return True
        failed = self._loops_were_open or isinstance(error, (LeakedTracerError, LoopRefused))
        unstructured = self._definition.unstructured[self._sizes_vary]
        new = self._loops.tried - unstructured.keys()
        if not failed or not new:
            return False
        reason = str(error).split("\n")[0]
        unstructured.update(dict.fromkeys(new, reason))
        return True

    def _leaves_joins_alone(self, error: Exception) -> bool:
        """The same for branches whose ways were to be joined: those that couldn't be, or all
        after another refusal.
        """
        definition, vary = self._definition, self._sizes_vary
        known = definition.unjoined[vary]
        if not isinstance(error, (TracingError, LeakedTracerError)):
            new = set(self._loops.left_unjoined) - known  # of a way that no call may go
            known |= new
            return bool(new)
        tried = self._loops.joined - known
        named = error.keys if isinstance(error, JoinRefused) else self._loops.left_unjoined
        new = set(named) - known
        known |= new if new and len(known) < _MAX_UNJOINED else tried | new
        if tried or new:
            return True
        if self._loops.too_many_paths and not definition.joins_paths[vary]:
            definition.joins_paths[vary] = True
            return True
        return False

    def _written_lines_grow(self, known: frozenset[SourceLine]) -> bool:
        """Note the lines that made arrays into which the failed trace wrote; whether there were
        new ones.
        """
        before = self._definition.written_lines
        after = self._definition.written_lines = before | self._made.found
        return after != before and len(after - known) <= _MAX_WRITTEN_LINES

    def _run_once(self, assumed: SizeAssumptions | None) -> Specialization:
        started = time.perf_counter_ns()
        self._made = MadeArrays(self._definition.written_lines)
        self._effects, self._written_arrays = (), False
        self._draws, self._sizes_vary = [], assumed is not None
        self._loops_were_open = False
        self._numbers = OutsideNumbers(self._definition, self._call)
        self._require_traceable()
        before = SideEffects(self._definition.python_function, self._statics)
        self._require_restorable(before)
        try:
            specialization = self._trace(before, assumed)
        except BaseException as error:
            self._loops_were_open = self._loops.left_open
            # an eager call is to raise the error, for traced values are in this one, or in what
            # it leaves
            again = self._wrote_arguments or (
                not isinstance(error, _OWN_ERRORS) and holds_symbols(error)
            )
            final = not again and self._ends_call(error, assumed)
            if final and before.can_stay() and not self._wrote_traced():
                do_now(self._effects)
                self.had_effects = False
            else:
                self.had_effects = before.restore() or again or self._wrote()
            raise
        specialization.times_ns["trace"] = time.perf_counter_ns() - started
        return specialization

    def _wrote(self) -> bool:
        """Whether the trace wrote what outlives the call, for each call to do."""
        return bool(self._effects) or self._written_arrays

    def _wrote_traced(self) -> bool:
        """Whether it wrote traced values."""
        return self._written_arrays or any(holds_traced(e.values) for e in self._effects)

    def _ends_call(self, error: BaseException, assumed: SizeAssumptions | None) -> bool:
        """Whether the caller gets an error of the trace. What the function did until then
        stays, as undecorated.
        """
        final = is_interrupt(error) or self._definition.options.fallback == "error"
        final = final and not (self._loops_were_open and isinstance(error, Exception))
        return final and assumed is None and not isinstance(error, _OWN_ERRORS)

    # -- before the trace

    def _refuse(self, text: str) -> TracingError:
        return TracingError(at_user_line(text))

    def _require_traceable(self) -> None:
        """TracingError for arguments whose contents or type the function would see as they are
        at the trace: arrays of other kinds, sets.
        """
        name, function = self._definition.name, self._definition.python_function
        for x in self._statics:
            if foreign.is_foreign(x):
                kind = type(x).__name__
                what = f"{kind} of {x.dtype}" if isinstance(x, np.ndarray) else kind
                raise self._refuse(f"{name} has an argument that can't be traced: {what}")
        found = foreign.find_foreign(function, self._statics)
        if found:
            raise self._refuse(f"{name} reads {found}, which can change between calls")

    def _require_restorable(self, before: SideEffects) -> None:
        """TracingError where the trace could change what can't be put back."""
        if before.reason:
            raise self._refuse(f"{self._definition.name} {before.reason}")

    # -- the trace

    def _trace(self, before: SideEffects, assumed: SizeAssumptions | None) -> Specialization:
        definition, call = self._definition, self._call
        trace = Trace(definition.name)
        trace.writes_back = definition.specialization_class is None
        trace.branches.enabled = definition.specialization_class is None
        trace.branches.run_compiled = _run_compiled
        self._loops = trace.branches.loops
        self._loops.unstructured = definition.unstructured[assumed is not None]
        self._loops.raising = definition.raising
        self._loops.unjoined = definition.unjoined[assumed is not None]
        self._loops.joins_paths = definition.joins_paths[assumed is not None]
        self._loops.grows, self._loops.room_scale = definition.grows, definition.room_scale
        self._loops.note_array = self._made.note_written
        numpy = definition.wants_numpy(call.leaves)
        specialization = self._start(trace, bool(numpy), assumed)
        with trace.released(), trace.active():
            args, kwargs = self._make_symbols(trace, specialization)
            value = self._run_function(trace, before, args, kwargs)
            returned = ReturnPlan(
                value,
                trace,
                before,
                _argument_containers(call.tree, (args, kwargs)),
                [(i, x) for i, x in enumerate(call.leaves) if call.kinds[i].kind == STATIC],
                numpy,
                specialization.donated,
                plain=definition.specialization_class is not None,
                effects=self._effects,
            )
            specialization.effects = returned.effects
            if returned.effects is not None:
                returned.effects.containers = tuple(self._recorder.containers)
            specialization.result_tree = _with_int_keys(returned.tree)
            specialization.numpy = returned.numpy
            nodes = [trace.node_of(x) for x in returned.outputs]
            if trace.branches.enabled:  # results of which nothing is made
                unused = [x for x in trace.unused_checks(nodes) if not x.type.shape]
                nodes += dict.fromkeys(x.node for x in unused)
            trace.require_checks(nodes)
            specialization.graph = trace.graph_of(nodes)
            specialization.branches = tuple(trace.branches.taken)
            specialization.may_need_python = trace.branches.may_need_python
            specialization.has_handlers = trace.branches.has_handlers
            specialization.has_rooms = trace.branches.has_rooms
        self._bind_captures(specialization, trace, returned)
        specialization.variables = trace.variables
        specialization.draws = tuple(self._draws)
        specialization.share_sources()
        specialization.order_parameters()
        return specialization

    def _start(
        self, trace: Trace, numpy: bool, assumed: SizeAssumptions | None
    ) -> Specialization:
        """A specialization with what is known of it before the trace."""
        definition, call = self._definition, self._call
        make = definition.specialization_class or Specialization
        specialization = make(
            call.kinds, call.tree, numpy=numpy, tensor_cores=definition.options.tensor_cores
        )
        if assumed is not None:
            specialization.sizes = trace.sizes
            specialization.shapes = assumed.shapes(call.kinds, trace.sizes)
            specialization.kinds = tuple(
                kind if shape is None else symbolic_sizes.with_shape(kind, shape)
                for kind, shape in zip(call.kinds, specialization.shapes, strict=True)
            )
        specialization.leaf_names = definition.name_leaves(call.tree)
        specialization.donated = donated_leaves(
            definition.python_function, definition.options.donate, call.tree, call.leaves
        )
        return specialization

    def _make_symbols(self, trace: Trace, specialization: Specialization) -> Any:
        """The arguments that the traced function is given."""
        symbols = []
        for number, x in enumerate(self._call.leaves):
            kind = specialization.kinds[number]
            if kind.kind == STATIC:
                symbols.append(x)
                continue
            specialization.parameter_order.append(("leaf", number))
            symbol = _make_symbol(trace, number, x, kind, specialization.leaf_names)
            symbols.append(symbol)
            trace.branches.know(symbol.node, functools.partial(_value_of, x, symbol.type.dtype))
        self._symbols = [x for x in symbols if isinstance(x, TensorBase)]
        remaining = iter(symbols)
        return unflatten(self._call.tree, lambda: next(remaining))

    def _run_function(self, trace: Trace, before: SideEffects, args: Any, kwargs: Any) -> Any:
        """What the Python function gives for symbolic tensors. TracingError where it changed
        what a compiled call would not.
        """
        name, function = self._definition.name, self._definition.python_function
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise self._refuse(f"{name} runs piecemeal: not traced")
        self._recorder = self._start_recorder(trace, before)
        containers = _argument_containers(self._call.tree, (args, kwargs))
        held = _ArgumentContents(containers)
        self._recorder.given = [*self._symbols, *(x for _, x in containers)]
        try:
            value = self._recorder.run(function, args, kwargs)
        except BaseException as error:
            self._effects = self._recorder.effects
            self._written_arrays = bool(trace.views.written_bases())
            self._wrote_arguments = held.changed()
            if not isinstance(error, Exception):
                raise
            if trace.refusal is None or error is trace.refusal:
                raise
            raise trace.refusal from error  # C code may have made another error of it
        if trace.refusal is not None:  # and the function caught the error
            raise trace.refusal
        trace.branches.loops.require_all_gone()
        self._effects = [*self._recorder.effects, *held.effects()]
        if self._effects and self._may_settle and all(e.gained for e in self._effects):
            raise MaySettleError(at_user_line(f"{name}: {self._effects[0].text}, once perhaps"))
        if problem := before.find_problem():
            refusal = MaySettleError if before.only_filled_in else ImpureError
            raise refusal(at_user_line(f"{name} {problem}"))
        return value

    def _start_recorder(self, trace: Trace, before: SideEffects) -> Recorder:
        """The recorder of what the function reads, which knows where objects among the
        arguments come from.
        """
        self._paths: dict[int, list[Source]] = {}
        self._lines: dict[int, SourceLine | None] = {}

        def capture(value: Any, source: Source) -> Any:
            array = value
            if isinstance(value, Tensor):
                array, source = value._array, AttributeSource(source, "_array")
            if array.dtype.kind not in "biufc":
                raise self._refuse(
                    f"{self._definition.name} reads {source.text}, an array of {array.dtype}"
                )
            self._lines.setdefault(id(array), user_line())
            paths = self._paths.setdefault(id(array), [])
            if all(source.key != path.key for path in paths):
                paths.append(source)
            before.note_existing(array)
            found = trace.capture(array, outside=True)
            return found if array is value else trace.as_tensor_of(found)

        def number(value: Any, source: Source) -> Any:
            found = self._numbers.input_for(trace, self._recorder, value, source)
            if found is None:
                return None
            symbol, array, path = found
            self._paths[id(array)] = [path]
            self._lines.setdefault(id(array), user_line())
            return symbol

        trace.settle = before.settle
        recorder = Recorder(
            capture,
            is_traced,
            before.existed,
            number,
            self._made,
            before.settle,
            lambda: bool(trace.regions.starts),
            lambda: trace.branches.loops.is_open,
            functools.partial(trace.branches.loops.steps_of, trace),
        )
        recorder.note_outside = before.note_existing
        trace.followed = recorder.callee
        if trace.branches.enabled:
            places = trace.branches.loops.stored
            recorder.places = places
            places.is_own, places.is_own_cell = recorder.is_own, recorder.is_own_cell
            for source in self._appended_to.values():
                recorder.carry_appended(source)
        if trace.branches.enabled and not self._sizes_vary:

            def draw(made: Draw, values: Sequence[Any]) -> list[Any]:
                self._draws.append(made)
                return [trace.drawn(x) for x in values]

            recorder.draw = draw
        names = self._definition.name_leaves(self._call.tree)
        for x, kind, name in zip(self._call.leaves, self._call.kinds, names, strict=True):
            if kind.kind == STATIC and type(x) not in PLAIN:
                recorder.argument(x, lasting_source(x, name))
        return recorder

    # -- after the trace

    def _bind_captures(
        self, specialization: Specialization, trace: Trace, returned: ReturnPlan
    ) -> None:
        """Note how each call looks up captured arrays, and objects that are returned."""
        count = len(trace.captures)
        sources = find_sources(
            self._definition.python_function,
            self._statics,
            [*trace.captures, *returned.objects],
        )
        known = {id(e.owner): e.source for e in self._effects}
        known |= {k: source for k, (_, source) in self._recorder.read_from.items()}
        self._recorder.forget()
        sources = [
            *sources[: len(trace.captures)],
            *(
                known.get(id(x)) or source
                for x, source in zip(
                    returned.objects, sources[len(trace.captures) :], strict=True
                )
            ),
        ]
        for x, source in zip(returned.objects, sources[len(trace.captures) :], strict=True):
            if source is None and not isinstance(x, CALLABLES):
                raise TracingError(
                    at_user_line(
                        f"a {type(x).__name__} from outside is returned that was reached in a "
                        "way not followed"
                    )
                )
        specialization.sources = [
            agreed(self._paths.get(id(array), ())) or source
            for array, source in zip(trace.captures, sources[:count], strict=True)
        ]
        specialization.source_lines = [self._lines.get(id(a)) for a in trace.captures]
        specialization.guards = (*self._recorder.guards.values(), *trace.required)
        specialization.held_captures = [
            array if source is None else None
            for array, source in zip(trace.captures, specialization.sources, strict=True)
        ]
        specialization.makes_captures = all(
            array is None or array in self._made for array in specialization.held_captures
        )
        specialization.capture_types = [(a.shape, a.dtype) for a in trace.captures]
        specialization.results = _bind_objects(specialization, returned, sources[count:])


def is_traced(value: Any) -> bool:
    """Whether a value is a tensor, traced or not, or an extent: what it reads is no state."""
    return issubclass(type(value), (TensorBase, Dim))


def is_interrupt(error: BaseException) -> bool:
    """Whether an error is to end the call whatever the function did: it came from outside, such
    as by a signal. Where the user's code raises it, an eager call does so, too.
    """
    trace = error.__traceback__
    if not isinstance(error, _INTERRUPTS) or trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_code[trace.tb_lasti] != _RAISE


def holds_symbols(error: BaseException | None) -> bool:
    """Whether an error of the user's, or one that led to it, holds traced values."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if holds_traced((error.args, vars(error))):
            return True
        error = error.__cause__ or error.__context__
    return False


def _make_symbol(
    trace: Trace, number: int, x: Any, kind: LeafKind, names: Sequence[str]
) -> Any:
    """The symbolic tensor for a leaf that is an array, a tensor or a run-time scalar."""
    if kind.kind == SCALAR:
        type, origin = TensorType((), as_dtype(NUMBER_DTYPES[kind.key])), "weak"
    elif kind.kind == TENSOR:
        type, origin = kind.key, "tensor"
    else:
        type, origin = TensorType(kind.key[0], as_dtype(x.dtype)), "numpy"
    array = kind.kind != NUMBER
    symbol = trace.parameter(type, names[number], origin, "argument", number, array)
    symbol.swapped = isinstance(x, np.ndarray) and not x.dtype.isnative
    return symbol


def _value_of(x: Any, dtype: DType) -> np.ndarray[Any, Any]:
    """What a leaf of the arguments is, as an array."""
    return np.asarray(getattr(x, "_array", x), dtype.dtype)


def _argument_containers(tree: Tree, arguments: Any) -> list[Any]:
    """The containers among the arguments, with the paths to them."""
    roots = zip(tree.children, arguments, strict=True)
    return [
        item
        for number, (child, root) in enumerate(roots)
        for item in containers(child, root, ((False, number),))
    ]


class _ArgumentContents:
    """What the containers among the arguments hold before a trace.

    The trace is given copies of them, which its code may change.
    """

    def __init__(self, containers: Sequence[tuple[Any, Any]]) -> None:
        self._before = [(x, _contents(x)) for _, x in containers]

    def changed(self) -> bool:
        """Whether one holds something else now."""
        return any(not _same_contents(_contents(x), before) for x, before in self._before)

    def effects(self) -> list[Effect]:
        """What each call stores in its containers. TracingError for what is taken out."""
        found: list[Effect] = []
        given = {id(owner) for owner, _ in self._before}
        for owner, before in self._before:
            now = _contents(owner)
            if _same_contents(now, before):
                continue
            if list(now)[: len(before)] != list(before):
                raise TracingError(
                    at_user_line("takes out of a container that is its argument")
                )
            kind = EffectKind.ATTRIBUTE
            if isinstance(owner, (list, dict)):
                kind = EffectKind.ITEM
            for key, value in now.items():
                if key in before and value is before[key]:
                    continue
                if id(value) in given or id(before.get(key)) in given:
                    raise TracingError(
                        at_user_line("stores in a container that is its argument for another")
                    )
                new = isinstance(owner, list) and key not in before
                found.append(
                    Effect(
                        EffectKind.EXTEND if new else kind, owner, key,
                        ([value] if new else value,),
                        source=ConstSource(None, "an argument"),
                    )
                )  # fmt: skip
        return found


def _contents(container: Any) -> dict[Any, Any]:
    """What a list, dict or dataclass holds, by keys; nothing for what can't be changed."""
    if isinstance(container, list):
        return dict(enumerate(container))
    if isinstance(container, dict):
        return dict(container)
    if isinstance(container, tuple):
        return {}
    slots = {
        field.name: getattr(container, field.name)
        for field in dataclasses.fields(container)
        if hasattr(container, field.name)
    }
    return {**slots, **own_attributes(container)}


def _same_contents(now: dict[Any, Any], before: dict[Any, Any]) -> bool:
    return list(now) == list(before) and all(map(operator.is_, now.values(), before.values()))


def _with_int_keys(tree: Tree) -> Tree:
    """A tree with ints for the extents among the keys of dicts, which hashing has fixed."""
    if tree.kind is None:
        return tree
    children = tuple(map(_with_int_keys, tree.children))
    return Tree(tree.kind, tuple(map(_as_int_key, tree.keys)), children, tree.default)


def _as_int_key(key: Any) -> Any:
    if isinstance(key, Dim):
        return int(key)
    return tuple(map(_as_int_key, key)) if type(key) is tuple else key


def _bind_objects(
    specialization: Specialization, returned: ReturnPlan, sources: Sequence[Source | None]
) -> list[tuple[str, Any]]:
    """The results, with sources for the objects that were there before the call. An object
    without a source is the same at each call.
    """
    found: list[tuple[str, Any]] = []
    for kind, value in returned.results:
        if kind != "object":
            found.append((kind, value))
            continue
        source = sources[value]
        if source is None:
            found.append(("static", returned.objects[value]))
            continue
        specialization.objects.append(source)
        specialization.object_types.append(type(returned.objects[value]))
        found.append(("object", len(specialization.objects) - 1))
    return found


def _is_raising(error: Exception) -> bool:
    """Whether an error of the trace's comes from where the code only goes on to raise."""
    trace = error.__traceback__
    found = False
    while trace is not None:
        code = trace.tb_frame.f_code
        if of_user(trace.tb_frame):
            found = found or always_raises(code, trace.tb_lasti)
        trace = trace.tb_next
    return found


def _run_compiled(graph: Graph, inputs: Sequence[Any]) -> tuple[Any, ...]:
    """What a graph gives for these arrays, as machine code."""
    with importing():
        from graphjit.codegen.cpu.target import compile_program

    executable, _ = compile_program(build_program(graph))
    given = [np.ascontiguousarray(x) for x in inputs]
    return tuple(executable(given)[0])


__all__ = ["ImpureError", "MaySettleError", "TraceAttempt", "holds_symbols", "is_interrupt"]
