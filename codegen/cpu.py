"""Program -> machine code for this CPU -> a callable.

Consecutive kernels and products become one native function each (a segment), entered as a
CPython built-in that takes the arrays themselves. Library calls run between segments.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import platform
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from graphjit import cost
from graphjit.eager import run_primitive
from graphjit.errors import (
    IndexOutOfRangeError,
    InternalError,
    InvalidArgumentError,
    OutOfMemoryError,
    UnsupportedError,
    at_user_line,
)
from graphjit.machine import machine
from graphjit.memory import LARGE_BYTES, empty
from graphjit.ops.index import OUT_OF_RANGE
from graphjit.program import (
    Band,
    Kernel,
    LibraryCall,
    Program,
    reads_and_writes,
)
from graphjit.stages import Stages
from graphjit.types import TupleType
from graphjit.values import dataclass

from .builder import Module
from .emit import Check
from .entry import Call, write_band, write_entry
from .loops import Loop, LoopNest, Tiles
from .lower import in_chunks
from .share import Functions

Array = np.ndarray[Any, np.dtype[Any]]
_lock = threading.RLock()
# Text -> the engine of an executable that is alive: equal programs are compiled once.
_engines: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


@dataclass(frozen=True)
class Target:
    """The CPU that code is made for. native: what a Module's `native` says."""

    cpu: str
    features: str
    vector_bytes: int
    native: frozenset[str] = frozenset()


@functools.cache
def host() -> Target:
    """The CPU of this machine."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    found = llvm.get_host_cpu_features()
    width = (
        64 if found.get("avx512f") and found.get("avx512dq") and found.get("avx512bw") else 16
    )
    if width == 16 and found.get("avx2"):
        width = 32
    # LLVM makes one instruction of ldexp from version 22 on, calls of the C library before.
    scales = width == 64 and found.get("avx512vl") and llvm.llvm_version_info >= (22,)
    native = frozenset({"ldexp"} if scales else ())
    return Target(llvm.get_host_cpu_name(), found.flatten(), width, native)


def target_machine(opt: int = 2) -> Any:
    """LLVM's machine for the host."""
    target = host()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=target.cpu, features=target.features, opt=opt, jit=True
    )


@dataclass(frozen=True)
class Segment:
    """Native steps that run as one call, and the buffers it takes, in order."""

    steps: tuple[Kernel, ...]
    buffers: tuple[int, ...]
    symbol: str


@dataclasses.dataclass
class Emitted:
    """A program's LLVM IR, with what its statuses mean."""

    text: str
    sequence: list[Segment | LibraryCall]
    checks: list[Check]
    externals: list[str]


def emit_program(program: Program, timed: bool = False) -> Emitted:
    """LLVM IR of all of a program's kernels and of the entry of each segment.

    timed: with code that notes the processor's cycles that each step takes.
    """
    target = host()
    module = Module(target.native)
    externals: list[str] = []
    sequence: list[Segment | LibraryCall] = []
    shared = Functions(program, module, target.vector_bytes, _streaming(program))
    bands = {place: b for b in program.bands for place in range(b.first, b.stop)}
    for steps in _segments(program):
        if isinstance(steps, LibraryCall):
            sequence.append(steps)
            continue
        calls: list[Call] = []
        for place, step in steps:
            band = bands.get(place)
            if band is not None:
                if place == band.first:
                    calls.append(_emit_band(program, band, module, shared))
                continue
            nest, used, number = shared.nest(step)
            nest, chunks = _chunks(program, step, nest)
            symbol, checked = shared.function(step, nest, used, number)
            call = Call(symbol, used, checked, chunks, place)
            if chunks is not None:
                shared.chunk(call)
            calls.append(call)
        symbol = f"segment{len(sequence)}"
        kernels = tuple(step for _, step in steps)
        release = _long(program, kernels)
        order, text = write_entry(program, symbol, calls, release, externals, timed)
        module.functions.append(text)
        sequence.append(Segment(kernels, order, symbol))
    # frames can be large: each page is touched in turn, so that none is stepped over
    vectors = '"prefer-vector-width"="512" "min-legal-vector-width"="512" '
    vectors += '"probe-stack"="inline-asm"'
    text = module.text().replace("#kernel", f"nounwind {vectors}")
    text = text.replace(") alwaysinline {", f") alwaysinline nounwind {vectors} {{")
    text = text.replace(") noinline {", f") noinline nounwind {vectors} {{")
    text += "!0 = !{i32 1}\n"
    table = f"@externals = global [{max(1, len(externals))} x ptr] zeroinitializer\n"
    if timed:
        table += f"@cycles = global [{max(1, len(program.steps))} x i64] zeroinitializer\n"
        table += "declare i64 @llvm.readcyclecounter()\n"
        text += "define i64 @now() { %t = call i64 @llvm.readcyclecounter() ret i64 %t }\n"
    return Emitted(table + text, sequence, shared.checks, externals)


def _emit_band(program: Program, band: Band, module: Module, shared: Functions) -> Call:
    """Write a band's kernels and the function that runs them part by part; its call."""
    calls, ranges = [], []
    for step in program.steps[band.first : band.stop]:
        assert isinstance(step, Kernel)
        nest, used, number = shared.nest(step, band.part)
        nest, loop = in_chunks(nest)
        parts = band.rows // band.part
        if loop is None or (isinstance(loop, Loop) and (loop.dim, loop.width) != (0, 1)):
            raise InternalError(f"{step.name} can't be computed row by row")
        extent = loop.count if isinstance(loop, Tiles) else loop.extent
        ranges.append(extent // parts)
        symbol, checked = shared.function(step, nest, used, number)
        calls.append(Call(symbol, used, checked))
    call, text = write_band(program, band, f"band{band.first}", calls, ranges)
    module.functions.append(text)
    return call


def _segments(program: Program) -> list[list[tuple[int, Kernel]] | LibraryCall]:
    """Library calls, and the kernels between them with their places in the program."""
    result: list[list[tuple[int, Kernel]] | LibraryCall] = []
    for place, step in enumerate(program.steps):
        if isinstance(step, LibraryCall):
            result.append(step)
        elif result and isinstance(result[-1], list):
            result[-1].append((place, step))
        else:
            result.append([(place, step)])
    return result


def _streaming(program: Program) -> frozenset[int]:
    """The results that the last-level cache can't hold together with what they are made of.
    They come from `memory.empty`, which aligns what is as large as that.
    """
    results = {*program.outputs, *program.updates}
    found: set[int] = set()
    for step in program.steps:
        moved = cost.step_cost(step, program.buffers)["bytes"]
        if isinstance(step, Kernel) and moved > cost.STREAM_SHARE * machine().l3_bytes:
            found.update(results.intersection(reads_and_writes(step)[1]))
    return frozenset(n for n in found if program.buffers[n].type.nbytes >= LARGE_BYTES)


def _chunks(
    program: Program, step: Kernel, nest: LoopNest
) -> tuple[LoopNest, tuple[int, int] | None]:
    """The nest for the team with the extents of its loop and of a chunk, if it is worth it."""
    guess = cost.step_time_ns(step, program.buffers)
    if guess < cost.TEAM_NS:
        return nest, None
    chunked, loop = in_chunks(nest)
    if isinstance(loop, Tiles):
        count = min(loop.count, max(2, int(guess / cost.CHUNK_NS)))
        return (
            (chunked, (loop.count, -(-loop.count // count))) if loop.count > 1 else (nest, None)
        )
    if loop is None or loop.extent < 2 * loop.width:
        return nest, None
    most = max(cost.MOST_CHUNKS, 4 * machine().cores)
    count = max(2, min(most, int(guess / cost.CHUNK_NS)))
    unit = max(loop.width, cost.CHUNK_ELEMENTS) if loop.width > 1 else 1
    size = -(-loop.extent // count)
    return chunked, (loop.extent, -(-size // unit) * unit)


def _long(program: Program, steps: Sequence[Kernel]) -> bool:
    costs = [cost.step_cost(step, program.buffers) for step in steps]
    return (
        sum(c["bytes"] for c in costs) > cost.RELEASE_BYTES
        or sum(c["flops"] for c in costs) > cost.RELEASE_FLOPS
    )


def optimize(text: str, machine: Any, level: int = 2) -> Any:
    """The parsed module after LLVM's pipeline (vectors are explicit: no vectorisers)."""
    module = llvm.parse_assembly(text)
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=level)
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_unrolling = False
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)
    return module


def simplify(text: str, machine: Any) -> Any:
    """The parsed module after the passes that are worth their time for code that is written
    once and holds no loops over elements: stack slots become registers.
    """
    module = llvm.parse_assembly(text)
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    return module


def _compiled(text: str) -> Any:
    """The engine that holds a module's machine code."""
    machine = target_machine()
    if " half" in text:
        _need_half()
    engine = llvm.create_mcjit_compiler(optimize(text, machine), machine)
    engine.finalize_object()
    return engine


def _need_half() -> None:
    """See to it that float16 can be converted: processors without instructions for it call
    functions of GCC's runtime library, which must be there under their names.
    """
    if "+f16c" in host().features.split(",") or platform.machine() != "x86_64":
        return
    try:
        library = ctypes.CDLL("libgcc_s.so.1", mode=ctypes.RTLD_GLOBAL)
        found = hasattr(library, "__truncsfhf2") and hasattr(library, "__extendhfsf2")
    except OSError:
        found = False
    if not found:
        raise UnsupportedError(
            at_user_line("this processor has no float16 (F16C), nor its libgcc_s conversions")
        )


class Executable:
    """A compiled program. timed: one that can tell how long each step took."""

    def __init__(
        self, program: Program, timed: bool = False, stages: Stages | None = None
    ) -> None:
        stages = stages or Stages()
        with stages.stage("emit"):
            emitted = emit_program(program, timed)
        self.program = program
        self.checks = emitted.checks
        self.sequence = emitted.sequence
        self._externals = emitted.externals
        self._natives: dict[str, Callable[..., int]] = {}
        self._pool: list[Array] = []
        if any(isinstance(s, Segment) for s in emitted.sequence):
            with _lock:
                self._load(emitted, stages)
        self._outputs = [self._made(i) for i in program.outputs]
        self._updates = [self._made(i) for i in program.updates]
        self._constants = {
            i: np.ascontiguousarray(b.value).reshape(b.type.shape)
            for i, b in enumerate(program.buffers)
            if b.role == "constant"
        }
        self._simple = self._simple_order()

    def _load(self, emitted: Emitted, stages: Stages) -> None:
        with stages.stage("llvm"):
            engine = _engines.get(emitted.text)
            if engine is None:
                engine = _engines[emitted.text] = _compiled(emitted.text)
        with stages.stage("load"):
            self._bind(engine, emitted)

    def _bind(self, engine: Any, emitted: Emitted) -> None:
        """Take the addresses of what was compiled, and fill the table of what it calls."""
        from .entry import builtin_function, external_address

        self._engine = engine
        if emitted.externals:
            table = (ctypes.c_void_p * len(emitted.externals)).from_address(
                engine.get_global_value_address("externals")
            )
            for number, name in enumerate(emitted.externals):
                table[number] = external_address(name)
        for segment in emitted.sequence:
            if isinstance(segment, Segment):
                address = engine.get_function_address(segment.symbol)
                self._natives[segment.symbol] = builtin_function(segment.symbol, address)

    def step_times_ns(self, inputs: Sequence[Array], calls: int) -> list[float]:
        """The least time of each step over so many calls [ns]; 0 for what isn't native, and for
        all of a band but its first. Only for what was made to be timed.
        """
        if not self._natives:
            return [0.0] * len(self.program.steps)
        now = ctypes.CFUNCTYPE(ctypes.c_int64)(self._engine.get_function_address("now"))
        started, cycles = time.perf_counter_ns(), now()
        time.sleep(0.01)
        rate = (time.perf_counter_ns() - started) / (now() - cycles)
        kind = ctypes.c_int64 * len(self.program.steps)
        noted = kind.from_address(self._engine.get_global_value_address("cycles"))
        least = [float("inf")] * len(noted)
        for _ in range(calls):
            self(inputs)
            least = [min(a, b) for a, b in zip(least, noted, strict=True)]
        return [cycles * rate for cycles in least]

    def _made(self, number: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
        type = self.program.buffers[number].type
        return type.shape, type.dtype.dtype

    def _simple_order(self) -> Any:
        """For a program that is one native call: how its arguments follow one another."""
        if len(self.sequence) != 1 or not isinstance(self.sequence[0], Segment):
            return None
        segment = self.sequence[0]
        results = (*self.program.outputs, *self.program.updates)
        wanted = (*self.program.inputs, *results, *self._constants)
        if segment.buffers != wanted:
            return None
        return self._natives[segment.symbol], tuple(self._constants.values())

    def _empty(self, made: tuple[tuple[int, ...], np.dtype[Any]]) -> Array:
        try:
            return empty(*made)
        except MemoryError as error:
            raise OutOfMemoryError(
                at_user_line(f"no memory for an array of shape {list(made[0])}")
            ) from error

    def runner(self) -> Callable[[Sequence[Array]], Sequence[Array]]:
        """A function that gives the outputs of a program without updates, for its inputs."""
        plain = self._simple is not None and not self.program.arena_bytes and not self.checks
        large = any(
            self.program.buffers[i].type.nbytes >= LARGE_BYTES for i in self.program.outputs
        )
        if not plain or large:
            return lambda inputs: self(inputs)[0]
        native, constants = self._simple
        made, new = self._outputs, np.empty

        def run(inputs: Sequence[Array]) -> list[Array]:
            outputs = [new(shape, dtype) for shape, dtype in made]
            native(*inputs, *outputs, *constants)
            return outputs

        return run

    def single_runner(self) -> Callable[[Sequence[Array]], Array]:
        """A function that gives the one output of a program without updates, for its inputs."""
        if self._simple is None:
            return lambda inputs: self(inputs)[0][0]
        native, constants = self._simple
        shape, dtype = self._outputs[0]
        size = self.program.buffers[self.program.outputs[0]].type.nbytes
        if size < LARGE_BYTES and not self.program.arena_bytes and not self.checks:
            new = np.empty

            def run(inputs: Sequence[Array]) -> Array:
                output = new(shape, dtype)
                native(*inputs, output, *constants)
                return output

            return run

        def run_whole(inputs: Sequence[Array]) -> Array:
            output = self._empty((shape, dtype))
            arena = self._arena()
            record: Any = np.zeros(3, np.int64) if self.checks else None
            status = native(*inputs, output, *constants, arena, record)
            if status:
                raise self._failure(status, record)
            self._pool.append(arena)
            return output

        return run_whole

    def native_call(self) -> tuple[int, tuple[int, ...]] | None:
        """For a program that is one segment: its address, and its buffers in order. Address 0
        for a program without steps.
        """
        if not self.sequence:
            return 0, ()
        if len(self.sequence) != 1 or not isinstance(self.sequence[0], Segment):
            return None
        segment = self.sequence[0]
        return self._engine.get_function_address(segment.symbol), segment.buffers

    def constant(self, number: int) -> Array:
        """The array of a constant buffer."""
        return self._constants[number]

    def maker(self, number: int) -> Callable[[], Array]:
        """What allocates the array of a buffer."""
        return functools.partial(self._empty, self._made(number))

    def new_arena(self) -> Array:
        """Memory for the program's temporaries."""
        return empty((max(1, self.program.arena_bytes),), np.dtype(np.uint8))

    def fail(self, status: int, *record: int) -> None:
        """Raise what a segment's status means."""
        raise self._failure(status, np.array(record))

    def _arena(self) -> Array:
        try:
            return self._pool.pop()
        except IndexError:
            return self.new_arena()

    def __call__(self, inputs: Sequence[Array]) -> tuple[list[Array], list[Array]]:
        """Outputs and updates for inputs that are aligned, in C order, of the right types."""
        outputs = [self._empty(made) for made in self._outputs]
        updates = [self._empty(made) for made in self._updates]
        arena = self._arena()
        if self._simple is not None:
            native, constants = self._simple
            record: Any = None if not self.checks else np.zeros(3, np.int64)
            status = native(*inputs, *outputs, *updates, *constants, arena, record)
            if status:
                raise self._failure(status, record)
        else:
            self._run_sequence(inputs, outputs, updates, arena)
        self._pool.append(arena)
        return outputs, updates

    def _run_sequence(
        self,
        inputs: Sequence[Array],
        outputs: Sequence[Array],
        updates: Sequence[Array],
        arena: Array,
    ) -> None:
        program = self.program
        held: dict[int, Array] = dict(self._constants)
        for ids, arrays in (
            (program.inputs, inputs),
            (program.outputs, outputs),
            (program.updates, updates),
        ):
            held.update(zip(ids, arrays, strict=True))
        for item in self.sequence:
            if isinstance(item, Segment):
                record = np.zeros(3, np.int64)
                arguments = [held[i] for i in item.buffers]
                status = self._natives[item.symbol](*arguments, arena, record)
                if status:
                    raise self._failure(status, record)
            else:
                self._call_library(item, held, arena)

    def _call_library(self, call: LibraryCall, held: dict[int, Array], arena: Array) -> None:
        buffers = self.program.buffers
        arrays = []
        for number in call.inputs:
            buffer = buffers[number]
            if buffer.role == "temporary":
                part = arena[buffer.offset_bytes : buffer.offset_bytes + buffer.type.nbytes]
                array = part.view(buffer.type.dtype.dtype).reshape(buffer.type.shape)
                arrays.append(array.copy())
            else:
                arrays.append(held[number])
        types = tuple(buffers[i].type for i in call.outputs)
        single = not call.several
        result = run_primitive(
            call.primitive, arrays, types[0] if single else TupleType(types), dict(call.attrs)
        )
        for number, value in zip(call.outputs, (result,) if single else result, strict=True):
            held[number] = np.asarray(value, order="C")

    def _failure(self, status: int, record: Array) -> Exception:
        if not 0 < status <= len(self.checks):
            return InternalError(f"status {status} of {self.program.name}")
        check = self.checks[status - 1]
        message = check.reason.format(*record.tolist()) + f" [Op:{check.op}]"
        kind = IndexOutOfRangeError if check.reason == OUT_OF_RANGE else InvalidArgumentError
        return kind(at_user_line(message, source=check.source))

    def llvm_ir(self, optimized: bool = False) -> str:
        """The program's LLVM IR."""
        return llvm_text(self.program, optimized)

    def assembly(self) -> str:
        """The program's machine code as text."""
        return assembly(self.program)


def llvm_text(program: Program, optimized: bool = False) -> str:
    """A program's LLVM IR, as emitted or after LLVM's passes."""
    text = emit_program(program).text
    return str(optimize(text, target_machine())) if optimized else text


def assembly(program: Program) -> str:
    """A program's machine code as assembly text."""
    machine = target_machine()
    text: str = machine.emit_assembly(optimize(emit_program(program).text, machine))
    return text


__all__ = ["Executable", "assembly", "emit_program", "host", "llvm_text", "reads_and_writes"]
