"""A specialization as a native call: what goes in, what becomes of its results."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphjit.capture.sources import (
    ConsensusSource,
    NumberSource,
    Source,
)
from graphjit.codegen.cpu.prepare import prepared_positions, symbol_extents
from graphjit.codegen.runtime.entry_layout import BuildKind, GuardKind, ResultKind
from graphjit.codegen.runtime.entry_spec import (
    Bundle,
    GuardedRoot,
    LeafGuard,
    NativeLaunch,
    Output,
    SizedLaunch,
    Step,
)
from graphjit.core.dims import is_symbolic
from graphjit.core.errors import IndexOutOfRangeError
from graphjit.core.memory_pool import LARGE_BYTES
from graphjit.core.tree import (
    LEAF,
    TENSOR,
    Tree,
    unflatten,
)
from graphjit.core.types import TensorType
from graphjit.tensors.apply import as_tensor_error
from graphjit.tensors.tensor import _wrap

from .guard_roots import NoPath, Paths
from .result_kinds import COMPUTED
from .specialization import Specialization

if TYPE_CHECKING:
    from graphjit.codegen.runtime.executable import Executable
    from graphjit.tracing.result_views import BaseArray, ResultView


Array = np.ndarray[Any, np.dtype[Any]]

SCALARS = {float: GuardKind.FLOAT, int: GuardKind.INTEGER, complex: GuardKind.COMPLEX}
_WEAK_RESULTS = {
    "float64": ResultKind.FLOAT, "int64": ResultKind.INTEGER, "complex128": ResultKind.COMPLEX,
    "bool": ResultKind.BOOL,
}  # fmt: skip


class NotNative(Exception):
    """Raised where a specialization needs what machine code doesn't do."""


def make_launch(specialization: Specialization, paths: Paths | None = None) -> NativeLaunch:
    """The native call that does all of a specialization's work; NotNative where none can.

    paths: how what it reads is reached, if not from the very objects of the trace
    """
    executable = specialization.executable
    assert executable is not None
    program = executable.program
    kinds = {kind for kind, _ in specialization.results}
    effects = specialization.effects
    if effects is not None and any(k.kind == TENSOR for k in specialization.kinds):
        raise NotNative
    if (
        specialization.draws
        or specialization.donated
        or not kinds.isdisjoint(("given", "container", "copy", "swapped"))
    ):
        raise NotNative
    call = executable.native_call()
    results = (*program.outputs, *program.updates)
    if call is None or len({*program.inputs, *results}) < len(program.inputs) + len(results):
        raise NotNative
    address, wanted = call
    try:
        roots, leaf_numbers = capture_roots(specialization, paths)
    except NoPath:
        raise NotNative from None
    sources: dict[int, tuple[str, Any]] = {}
    for number, buffer in enumerate(program.buffers):
        if buffer.role == "constant":
            sources[number] = "constant", executable.constant(number)
    for number, parameter in zip(program.inputs, specialization.parameter_order, strict=True):
        sources[number] = "leaf", leaf_numbers.get(parameter, parameter[1])
    for result, number in enumerate(results):
        sources[number] = "output", result
    if any(number not in sources for number in wanted):
        raise NotNative
    outputs = _plan_outputs(specialization, leaf_numbers)
    outputs += _plan_written(specialization, leaf_numbers)
    for number, variable in zip(program.updates, specialization.updated, strict=True):
        outputs.append(
            _plan_array_output(specialization, number, ResultKind.UPDATE, variable.cell)
        )
    cells = {id(v.cell): v.cell for v in specialization.variables}.values()
    held = sorted(cells, key=lambda c: c.number)  # one order for all: no deadlock
    return NativeLaunch(
        address,
        tuple(sources[number] for number in wanted),
        roots,
        tuple((cell.lock.acquire, cell.lock.release) for cell in held),
        tuple(outputs),
        _plan_values(specialization),
        program.arena_bytes,
        executable.arena_of if is_symbolic((program.arena_bytes,)) else executable.new_arena,
        bool(executable.checks),
        _failure(specialization, executable),
        _symbolic_launch(executable),
        executable,
    )


def _failure(
    specialization: Specialization, executable: Executable
) -> Callable[..., None] | None:
    """What raises the error of a failed call; None where Python runs it instead."""
    if specialization.effects is not None:
        return None  # only an eager call does what Python does before it raises
    return executable.fail if specialization.numpy else _tensor_failure(executable.fail)


def _tensor_failure(fail: Callable[..., None]) -> Callable[..., None]:
    """The function that raises the error of a failed call, with tensors' errors."""

    def fail_of_tensors(status: int, *record: int) -> None:
        try:
            fail(status, *record)
        except IndexOutOfRangeError as error:
            raise as_tensor_error(error) from None

    return fail_of_tensors


def _symbolic_launch(executable: Executable) -> SizedLaunch | None:
    """The part of a native call for symbolic extents; None for known ones."""
    program = executable.program
    if not program.symbols:
        return None
    symbols = symbol_extents(program)
    results, arena = prepared_positions(program)
    extents = tuple(symbols[name] for name in program.symbols)
    return SizedLaunch(executable.prepare_address(), extents, tuple(results), arena)


def _plan_outputs(
    specialization: Specialization, leaf_numbers: dict[tuple[str, int], int]
) -> list[Output]:
    """What becomes of each result. NotNative where one is a view of what isn't a result.

    leaf_numbers: the numbers, as leaves, of captured arrays and of objects that are looked up.
    """
    assert specialization.executable is not None
    numbers = iter(specialization.executable.program.outputs)
    computed = [n for n, (kind, _) in enumerate(specialization.results) if kind in COMPUTED]
    outputs = []
    for kind, value in _results_before_targets(specialization):
        if kind == "static":
            made = Output(ResultKind.STATIC, value=value)
        elif kind == "again":
            made = Output(ResultKind.AGAIN, value=value)
        elif kind == "object":
            made = Output(ResultKind.LEAF, value=leaf_numbers["object", value])
        elif kind != "view":
            made = _plan_output(specialization, kind, next(numbers))
        elif (base := _single_base(value)).role != "output":
            made = Output(ResultKind.LEAF, value=leaf_numbers.get(base, base.number))
        elif base.number < len(computed):
            made = Output(ResultKind.AGAIN, value=computed[base.number])
        else:
            raise NotNative
        outputs.append(made)
    if len(computed) < len(specialization.executable.program.outputs):
        raise NotNative
    return outputs


def _results_before_targets(specialization: Specialization) -> Sequence[tuple[str, Any]]:
    """The results without the arrays that are written into, and their new elements."""
    effects, results = specialization.effects, specialization.results
    return results if effects is None else results[: len(results) - 2 * len(effects.targets)]


def _plan_written(
    specialization: Specialization, leaf_numbers: dict[tuple[str, int], int]
) -> list[Output]:
    """What becomes of the new elements of arrays that are written into."""
    effects, executable = specialization.effects, specialization.executable
    if effects is None or not effects.targets:
        return []
    assert executable is not None
    program = executable.program
    computed = sum(kind in COMPUTED for kind, _ in specialization.results)
    found = []
    for k, target in enumerate(effects.targets):
        number = program.outputs[computed - len(effects.targets) + k]
        place = target.role, target.number
        if place not in specialization.parameter_order:
            raise NotNative  # nothing is read of it: it isn't among the leaves' arrays
        source = program.inputs[specialization.parameter_order.index(place)]
        in_place = (number, source) in program.donated and executable.infallible
        kind = ResultKind.IN_PLACE if in_place else ResultKind.WRITTEN
        found.append(
            _plan_array_output(
                specialization, number, kind, leaf_numbers.get(place, target.number)
            )
        )
    return found


def _plan_values(specialization: Specialization) -> Bundle | None:
    """How results are put together, and what is done with those that are written outside."""
    effects, tree = specialization.effects, specialization.result_tree
    finishing = iter(_finishers(specialization))
    if effects is None:
        return _plan_assembly(tree, finishing)
    children = tree.children[: effects.count]
    parts = tuple(_plan_assembly(child, finishing) for child in children)
    return parts[0] if len(parts) == 1 else Bundle(BuildKind.CALL, parts, call=effects.finish)


def _single_base(view: ResultView) -> BaseArray:
    """The one array that a view is made of. NotNative where there are more or none."""
    if len(view.bases) != 1:
        raise NotNative
    return next(iter(view.bases))


def _make_view_maker(view: ResultView) -> Callable[[Any], Any]:
    """A function that makes a view of its base."""
    role, number = _single_base(view)
    return lambda array: view.replay({role: {number: array}}, {}, {})


def _finishers(specialization: Specialization) -> list[Callable[[Any], Any] | None]:
    """For each result the function by which Python finishes it, or None: it makes a tensor of
    a shape that differs from call to call, or a view.

    NotNative for views whose extents differ from call to call, or that share a call of NumPy's.
    """
    assert specialization.executable is not None
    numbers = iter(specialization.executable.program.outputs)
    found: list[Callable[[Any], Any] | None] = []
    shared: set[int] = set()  # calls that make views, which several results must not repeat
    for kind, value in _results_before_targets(specialization):
        call: Callable[[Any], Any] | None = None
        if kind in COMPUTED:
            symbolic = is_symbolic(_buffer_type(specialization, next(numbers)).shape)
            call = _wrap if symbolic and not specialization.numpy else None
        elif kind == "view" and not value.is_base:
            calls = {id(made) for made in value.calls}
            if specialization.sizes is not None or not calls.isdisjoint(shared):
                raise NotNative
            shared |= calls
            call = _make_view_maker(value)
        elif kind == "again":
            call = found[value]
            if call is not None:  # it would be made twice
                raise NotNative
        found.append(call)
    return found


def capture_roots(
    specialization: Specialization, paths: Paths | None = None
) -> tuple[tuple[GuardedRoot, ...], dict[tuple[str, int], int]]:
    """What a specialization reads besides its arguments, and the number of each as a leaf."""
    roots: list[GuardedRoot] = []
    again: list[GuardedRoot] = []
    leaf_numbers: dict[tuple[str, int], int] = {}
    first = len(specialization.kinds)
    paths = paths or Paths()

    def add(value: Any, steps: tuple[Step, ...], leaf: LeafGuard | int) -> int:
        if isinstance(leaf, LeafGuard):
            roots.append(GuardedRoot(value, steps, leaf, len(roots)))
            return len(roots) - 1
        again.append(GuardedRoot(value, steps, leaf))
        return leaf

    for number, (shape, dtype) in enumerate(specialization.capture_types):
        source = specialization.sources[number]
        leaf_numbers["capture", number] = first + len(roots)
        if isinstance(source, NumberSource):
            add(*paths.to(source.number), LeafGuard(SCALARS[source.kind]))
            continue
        leaf: LeafGuard | int = _array_guard(shape, dtype)
        for path in _sources(source):
            if path is None:
                leaf = add(specialization.held_captures[number], (), leaf)
            else:
                leaf = add(*paths.to(path), leaf)
    for number, variable in enumerate(specialization.variables):
        leaf_numbers["variable", number] = first + len(roots)
        guard = _array_guard(variable.type.shape, variable.type.dtype.dtype)
        add(variable.cell, (Step(GuardKind.VARIABLE),), guard)
    for number, (source, kind) in enumerate(
        zip(specialization.objects, specialization.object_types, strict=True)
    ):
        leaf_numbers["object", number] = first + len(roots)
        leaf = LeafGuard(GuardKind.TYPE, value=kind)
        for path in _sources(source):
            assert path is not None
            leaf = add(*paths.to(path), leaf)
    guards = map(paths.guard, specialization.guards)
    return (*roots, *guards, *again), leaf_numbers


def _sources(source: Source | None) -> Sequence[Source | None]:
    """The sources that agree on one object."""
    return source.sources if isinstance(source, ConsensusSource) else (source,)


def _array_guard(shape: tuple[int, ...], dtype: np.dtype[Any]) -> LeafGuard:
    if not dtype.isnative:
        raise NotNative
    return LeafGuard(GuardKind.ARRAY, dtype, shape)


def _plan_output(specialization: Specialization, kind: str, number: int) -> Output:
    type = _buffer_type(specialization, number)
    if kind == "python":
        if type.dtype.name not in _WEAK_RESULTS or type.shape:
            raise NotNative
        return Output(_WEAK_RESULTS[type.dtype.name], type.dtype.dtype)
    if not specialization.numpy and not is_symbolic(type.shape):
        known = TensorType(type.shape, type.dtype)
        return _plan_array_output(specialization, number, ResultKind.TENSOR, known)
    if not type.shape and kind != "0-d array":
        return Output(ResultKind.SCALAR, type.dtype.dtype)
    return _plan_array_output(specialization, number, ResultKind.ARRAY, None)


def _plan_array_output(
    specialization: Specialization, number: int, kind: ResultKind, value: Any
) -> Output:
    type, executable = _buffer_type(specialization, number), specialization.executable
    assert executable is not None
    make: Callable[..., Array] | None = None
    if is_symbolic(type.shape):
        make = executable.maker_for(number)
    elif type.nbytes >= LARGE_BYTES:
        make = executable.maker(number)
    return Output(kind, type.dtype.dtype, type.shape, make, value)


def _buffer_type(specialization: Specialization, number: int) -> TensorType:
    assert specialization.executable is not None
    return specialization.executable.program.buffers[number].type


def _plan_assembly(
    tree: Tree, finishing: Iterator[Callable[[Any], Any] | None]
) -> Bundle | None:
    """How results are put together. finishing: gives what finishes the next result, or None."""
    kind = tree.kind
    if kind is None:
        call = next(finishing)
        return None if call is None else Bundle(BuildKind.CALL, (None,), call=call)
    children = tuple(_plan_assembly(child, finishing) for child in tree.children)
    if kind is tuple:
        return Bundle(BuildKind.TUPLE, children)
    if kind is list:
        return Bundle(BuildKind.LIST, children)
    if kind is dict:
        return Bundle(BuildKind.DICT, children, tree.keys)
    if issubclass(kind, tuple):
        return Bundle(BuildKind.CALL, children, call=kind)
    if dataclasses.is_dataclass(kind):
        new, names, assign = object.__new__, tree.keys, object.__setattr__
        owner: Any = kind

        def assembled(*parts: Any) -> Any:
            copy = new(owner)
            for name, part in zip(names, parts, strict=True):
                assign(copy, name, part)
            return copy

        return Bundle(BuildKind.CALL, children, call=assembled)
    flat = Tree(kind, tree.keys, tuple(LEAF for _ in children), tree.default)

    def make(*parts: Any) -> Any:
        items = iter(parts)
        return unflatten(flat, lambda: next(items))

    return Bundle(BuildKind.CALL, children, call=make)


__all__ = ["SCALARS", "NotNative", "capture_roots", "make_launch"]
