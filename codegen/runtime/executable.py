"""A compiled program as a callable: native segments and library calls, in order.

This needs neither LLVM nor the code generator: a program from the disk cache runs by this
module alone.
"""

from __future__ import annotations

import ctypes
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from graphjit.core.dims import Guard
from graphjit.core.errors import InternalError, NeedsPython, PathNotTaken
from graphjit.core.extents import evaluate
from graphjit.core.memory_pool import LARGE_BYTES, empty
from graphjit.core.types import check_size
from graphjit.ir.program import LibraryCall, RegionCall
from graphjit.ir.verify_program import check_access

from .allocation import no_arena, no_memory_for
from .compiled import CompiledProgram, Segment, sizes_of, where_symbols
from .routines import Routine, array_type, buffers_read, region_routine, routine, whole_program
from .runtime_symbols import (
    NEEDS_PYTHON,
    NOT_TAKEN,
    PREPARE,
    SHALLOW,
    builtin_function,
    run_symbol,
)

if TYPE_CHECKING:
    from .loader import Code

Array = np.ndarray[Any, np.dtype[Any]]
_NO_SIZES: Mapping[str, int] = MappingProxyType({})


class Executable:
    """A compiled program.

    code: that of its segments; None if it has none
    guards: the conditions on its sizes, if they are symbolic
    """

    guards: tuple[Guard, ...] = ()

    def __init__(self, program: CompiledProgram, code: Code | None) -> None:
        self.program = program
        self.checks = program.checks
        self.sequence = program.sequence
        self._code = code
        self._natives: dict[str, Callable[..., int]] = {}
        self._pool: list[Array] = []
        for segment in program.sequence:
            if isinstance(segment, Segment):
                address = self._address(segment.symbol)
                self._natives[segment.symbol] = builtin_function(segment.symbol, address)
        self._symbols = where_symbols(program.buffers, program.inputs)
        self._outputs = [array_type(program, i) for i in program.outputs]
        self._constants = {
            i: np.ascontiguousarray(b.value).reshape(b.type.shape)
            for i, b in enumerate(program.buffers)
            if b.role == "constant"
        }
        self._single_segment = self._find_single_segment()
        self._checked_sizes: dict[str, int] = {}  # the last sizes whose accesses were checked
        calls = [item for item in program.sequence if not isinstance(item, Segment)]
        # The buffers that anything reads.
        self.read = buffers_read(program)
        self._steps = [self._make_step(item, self.read) for item in program.sequence]
        # a library allocates its results itself
        given = frozenset(number for call in calls for number in call.outputs)
        self._allocated = [
            (number, position)
            for position, number in enumerate((*program.outputs, *program.updates))
            if number not in given
        ]
        self._initial_arrays = [self._constants.get(n) for n in range(len(program.buffers))]

    @property
    def native(self) -> bool:
        """Whether the program has segments."""
        return bool(self._natives)

    def _address(self, symbol: str) -> int:
        assert self._code is not None
        return self._code.address(symbol)

    def step_times_ns(self, inputs: Sequence[Array], calls: int) -> list[float]:
        """The least time of each step over so many calls [ns].

        0 for steps that aren't native, and for all of a row block but its first. Only for
        programs that were compiled to be timed.
        """
        if not self._natives:
            return [0.0] * self.program.steps
        now = ctypes.CFUNCTYPE(ctypes.c_int64)(self._address("now"))
        started, cycles = time.perf_counter_ns(), now()
        time.sleep(0.01)
        rate = (time.perf_counter_ns() - started) / (now() - cycles)
        kind = ctypes.c_int64 * self.program.steps
        noted = kind.from_address(self._address("cycles"))
        least = [float("inf")] * len(noted)
        for _ in range(calls):
            self(inputs)
            least = [min(a, b) for a, b in zip(least, noted, strict=True)]
        return [cycles * rate for cycles in least]

    def _find_single_segment(self) -> Any:
        """For a program that is one native call: its function and its constants, else None."""
        if len(self.sequence) != 1 or not isinstance(self.sequence[0], Segment):
            return None
        if self._symbols:
            return None
        segment = self.sequence[0]
        results = (*self.program.outputs, *self.program.updates)
        wanted = (*self.program.inputs, *results, *self._constants)
        if segment.buffers != wanted:
            return None
        return self._natives[segment.symbol], tuple(self._constants.values())

    @property
    def small(self) -> bool:
        """Whether it holds little memory besides its code: constants and idle arenas."""
        held = sum(array.nbytes for array in (*self._constants.values(), *self._pool))
        return held <= LARGE_BYTES

    @property
    def infallible(self) -> bool:
        """Whether nothing but a signal can end a run."""
        return not self.checks and all(isinstance(s, Segment) for s in self.sequence)

    def _allocate(self, number: int, shape: tuple[int, ...]) -> Array:
        """An array for a buffer, with this shape."""
        try:
            return empty(shape, self._dtype_of(number))
        except MemoryError as error:
            raise no_memory_for(self.program, number, shape) from error

    def _dtype_of(self, number: int) -> np.dtype[Any]:
        return self.program.buffers[number].type.dtype.dtype

    def runner(self) -> Callable[[Sequence[Array]], Sequence[Array]]:
        """A function that computes the outputs of a program without updates."""
        plain = (
            self._single_segment is not None
            and not self.program.arena_bytes
            and not self.checks
        )
        large = any(
            self.program.buffers[i].type.nbytes >= LARGE_BYTES for i in self.program.outputs
        )
        if not plain or large:
            return lambda inputs: self(inputs)[0]
        native, constants = self._single_segment
        made, new = self._outputs, np.empty

        def run(inputs: Sequence[Array]) -> list[Array]:
            outputs = [new(shape, dtype) for shape, dtype in made]
            if native(*inputs, *outputs, *constants):
                return self(inputs)[0]
            return outputs

        return run

    def single_runner(self) -> Callable[[Sequence[Array]], Array]:
        """A function that computes the one output of a program without updates."""
        routine_alone = whole_program(self.program)
        if routine_alone is not None:
            return routine_alone
        if self._single_segment is None:
            run_sequence, first = self._run_sequence, self.program.outputs[0]
            return lambda inputs: run_sequence(inputs)[first]
        native, constants = self._single_segment
        shape, dtype = self._outputs[0]
        size = self.program.buffers[self.program.outputs[0]].type.nbytes
        if size < LARGE_BYTES and not self.program.arena_bytes and not self.checks:
            new = np.empty

            def run(inputs: Sequence[Array]) -> Array:
                output = new(shape, dtype)
                if native(*inputs, output, *constants):
                    return self(inputs)[0][0]
                return output

            return run

        def run_whole(inputs: Sequence[Array]) -> Array:
            output = self._allocate(self.program.outputs[0], shape)
            arena = self.take_arena()
            record: Any = np.zeros(3, np.int64) if self.checks else None
            arguments = *inputs, output, *constants, arena, record
            if status := native(*arguments):
                self._handle_status(status, record, native, arguments)
            self._pool.append(arena)
            return output

        return run_whole

    @property
    def output_type(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and dtype of the first output."""
        return self._outputs[0]

    def single_writer(self) -> Callable[[Sequence[Array], Array], Any] | None:
        """A function that computes the one output of a program in a given array.

        None where a run can fail or there is more to a call.
        """
        if self._single_segment is None or not self.infallible or len(self._outputs) != 1:
            return None
        if self.program.updates:
            return None
        native, constants = self._single_segment
        if self.program.arena_bytes:
            return lambda inputs, output: self(inputs, (output,))

        def write(inputs: Sequence[Array], output: Array) -> None:
            if native(*inputs, output, *constants):
                self(inputs, (output,))

        return write

    def native_call(self) -> tuple[int, tuple[int, ...]] | None:
        """For a program that is one segment: its address, and its buffers in order.

        The address is 0 for a program without steps; None for other programs.
        """
        if not self.sequence and not self._symbols:
            return 0, ()
        if len(self.sequence) != 1 or not isinstance(self.sequence[0], Segment):
            return None
        segment = self.sequence[0]
        return self._address(run_symbol(segment.symbol)), segment.buffers

    def prepare_address(self) -> int:
        """The address of the function `prepare`; 0 if no extent is symbolic."""
        return self._address(PREPARE) if self._symbols and self._natives else 0

    def constant(self, number: int) -> Array:
        """The array of a constant buffer."""
        return self._constants[number]

    def maker(self, number: int) -> Callable[[], Array]:
        """A function that allocates the array of a buffer."""
        return functools.partial(
            self._allocate, number, self.program.buffers[number].type.shape
        )

    def maker_for(self, number: int) -> Callable[..., Array]:
        """A function that allocates the array of a buffer, given its extents."""
        return lambda *shape: self._allocate(number, shape)

    def new_arena(self) -> Array:
        """Memory for the program's temporaries."""
        return self.arena_of(self.program.arena_bytes)

    def arena_of(self, size: int, sizes: Mapping[str, int] = MappingProxyType({})) -> Array:
        """Memory for temporaries of so many bytes. sizes: those of symbols, for the error."""
        try:
            return empty((max(1, size),), np.dtype(np.uint8))
        except MemoryError as error:
            raise no_arena(self.program, size, sizes) from error

    def fail(self, status: int, *record: int) -> None:
        """Raise the error that a segment's status means."""
        raise self._make_error(status, np.array(record))

    def take_arena(self) -> Array:
        """Memory for temporaries, to be given back."""
        try:
            return self._pool.pop()
        except IndexError:
            return self.new_arena()

    def give_arena(self, arena: Array) -> None:
        """Take memory for temporaries back."""
        self._pool.append(arena)

    def native_of(self, segment: Segment) -> Callable[..., int]:
        """The function of a segment: of its buffers, the arena and the record of checks."""
        return self._natives[segment.symbol]

    @property
    def allocated(self) -> list[int]:
        """The buffers of results that a call allocates."""
        return [number for number, _ in self._allocated]

    def __call__(
        self, inputs: Sequence[Array], targets: Sequence[Array | None] = ()
    ) -> tuple[list[Array], list[Array]]:
        """Outputs and updates for inputs that are aligned, in C order, of the right types.

        targets: for each output the array to compute it in, or None
        """
        program = self.program
        if self._single_segment is None:
            held = self._run_sequence(inputs, targets)
            return [held[n] for n in program.outputs], [held[n] for n in program.updates]
        outputs = [
            self._allocate(number, program.buffers[number].type.shape)
            if target is None
            else target
            for number, target in zip(program.outputs, targets or repeat(None), strict=False)
        ]
        updates = [self._allocate(n, program.buffers[n].type.shape) for n in program.updates]
        arena = self.take_arena()
        native, constants = self._single_segment
        record: Any = None if not self.checks else np.zeros(3, np.int64)
        arguments = *inputs, *outputs, *updates, *constants, arena, record
        if status := native(*arguments):
            self._handle_status(status, record, native, arguments)
        self._pool.append(arena)
        return outputs, updates

    def result_types(
        self, inputs: Sequence[Array]
    ) -> list[tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shape and dtype of each output for these inputs."""
        sizes = self.sizes_of(inputs)
        return [(self._shape_of(n, sizes), self._dtype_of(n)) for n in self.program.outputs]

    def sizes_of(self, inputs: Sequence[Array]) -> dict[str, int]:
        """The sizes of the symbols, read from the inputs."""
        return sizes_of(self._symbols, [x.shape for x in inputs])

    def _check_accesses(self, sizes: dict[str, int]) -> None:
        """Raise InternalError if a kernel would leave a buffer for these sizes."""
        if sizes != self._checked_sizes:
            for access in self.program.accesses:
                check_access(access, sizes)
            self._checked_sizes = sizes

    def _shape_of(self, number: int, sizes: Mapping[str, int]) -> tuple[int, ...]:
        type = self.program.buffers[number].type
        if not sizes:
            return type.shape
        shape = tuple([evaluate(n, sizes) for n in type.shape])
        check_size(shape, type.dtype, self.program.origins[number].op or "Identity")
        return shape

    def _run_sequence(
        self, inputs: Sequence[Array], targets: Sequence[Array | None] = ()
    ) -> list[Any]:
        """Run the steps one by one. Gives the arrays of all buffers, the results among them."""
        program, sizes, arena = self.program, _NO_SIZES, None
        held = self._initial_arrays.copy()
        for number, array in zip(program.inputs, inputs, strict=True):
            held[number] = array
        if self._symbols:
            sizes = self.sizes_of(inputs)
            self._check_accesses(sizes)
            arena = self.arena_of(evaluate(program.arena_bytes, sizes), sizes)
        elif program.arena_bytes:
            arena = self.take_arena()
        for number, position in self._allocated:
            held[number] = targets[position] if position < len(targets) else None
            if held[number] is None:
                held[number] = self._allocate(number, self._shape_of(number, sizes))
        for step in self._steps:
            step(held, arena, sizes)
        if arena is not None and not self._symbols:
            self._pool.append(arena)
        return held

    def _make_step(
        self, item: Segment | LibraryCall | RegionCall, read: frozenset[int]
    ) -> Routine:
        """The function that runs a step. read: the buffers that anything reads."""
        if isinstance(item, Segment):
            return self._make_segment_step(item)
        if isinstance(item, LibraryCall):
            return routine(self.program, item, read)
        regions = [Executable(inner, self._code) for inner in item.programs]
        return region_routine(self.program, item, [_outputs_of(inner) for inner in regions])

    def _make_segment_step(self, segment: Segment) -> Routine:
        """The function that runs a segment."""
        native, buffers, checks = self._natives[segment.symbol], segment.buffers, self.checks
        symbols = self.program.symbols

        def run(held: list[Any], arena: Any, sizes: Mapping[str, int]) -> None:
            record = np.zeros(3, np.int64) if checks else None
            arguments: tuple[Any, ...] = (*[held[n] for n in buffers], arena, record)
            if symbols:
                arguments += (np.array([sizes[name] for name in symbols], np.int64),)
            if status := native(*arguments):
                self._handle_status(status, record, native, arguments)

        return run

    def _handle_status(
        self,
        status: int,
        record: Array | None,
        native: Callable[..., int],
        arguments: Sequence[Any],
    ) -> None:
        """Deal with a segment's status: run it again on a larger stack, or raise its error."""
        _require_taken(status)
        if status == SHALLOW:
            from .large_stack import run_on_large_stack

            status = run_on_large_stack(native, arguments)
            _require_taken(status)
        if status:
            raise self._make_error(status, record)

    def _make_error(self, status: int, record: Array | None) -> Exception:
        if record is None or not 0 < status <= len(self.checks):
            return InternalError(f"status {status} of {self.program.name}")
        return self.checks[status - 1].error(record.tolist())


def _require_taken(status: int) -> None:
    """PathNotTaken or NeedsPython where a status says that another code is to run."""
    if status == NOT_TAKEN:
        raise PathNotTaken
    if status == NEEDS_PYTHON:
        raise NeedsPython


def _outputs_of(executable: Executable) -> Callable[[Sequence[Array]], list[Array]]:
    """A region as a function of arrays that returns new arrays."""
    return lambda inputs: executable(inputs)[0]


__all__ = ["Executable"]
