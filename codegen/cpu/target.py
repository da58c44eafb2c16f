"""Program -> machine code for this CPU.

Consecutive kernels and products become one native function each (a segment), which Python calls
as a built-in that takes the arrays themselves. Library calls run between segments.
runtime/executable.py runs the whole.
"""

from __future__ import annotations

import ctypes
import dataclasses
import platform
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphjit.codegen.loops import Loop, LoopNest, Tiles
from graphjit.codegen.module import Module
from graphjit.codegen.optimize import Optimizer, optimize, optimize_math, parse_module
from graphjit.codegen.parallelism import chunk_unit, in_chunks, most_chunks
from graphjit.codegen.runtime.allocation import origins
from graphjit.codegen.runtime.compiled import Check, CompiledProgram, Segment
from graphjit.codegen.runtime.executable import Executable
from graphjit.codegen.runtime.image import Image
from graphjit.codegen.runtime.large_stack import needs_large_stack, run_compiler
from graphjit.core.errors import InternalError, UnsupportedError, at_user_line
from graphjit.core.fork_safety import new_lock
from graphjit.core.machine import machine
from graphjit.core.memory_pool import LARGE_BYTES
from graphjit.ir import cost_model
from graphjit.ir.compile_log import Stages
from graphjit.ir.program import (
    Kernel,
    LibraryCall,
    Program,
    RegionCall,
    RowBlock,
    reads_and_writes,
)
from graphjit.ir.verify_program import open_accesses
from graphjit.ops.primitive import Assumption, ConditionalLoop, CountedLoop

from . import processor
from .control_flow import ControlWriter, write_region
from .kernel_calls import KernelInvocation, write_row_block
from .kernel_table import KernelTable
from .native_code import native_code
from .prepare import write_prepare
from .processor import Processor
from .segment_entry import declarations, write_entry
from .size_variants import SizedFunctions

if TYPE_CHECKING:
    from graphjit.codegen.runtime.loader import Code

_lock = new_lock()
# (processor, text) -> code in use: equal programs of a process are compiled once.
_codes: weakref.WeakValueDictionary[tuple[Processor, str], Code] = weakref.WeakValueDictionary()


Cost = Mapping[str, float]


@dataclasses.dataclass
class EmittedSteps:
    """A program's steps, with what the statuses of its segments mean.

    sequence: segments and calls in order
    streaming: the results that are stored past the cache
    """

    program: Program
    sequence: list[Segment | LibraryCall | RegionCall]
    checks: list[Check]
    streaming: frozenset[int]

    def compiled(self) -> CompiledProgram:
        """All that runs the program, except the code."""
        program = self.program
        return CompiledProgram(
            program.name,
            program.buffers,
            program.inputs,
            program.outputs,
            program.updates,
            program.arena_bytes,
            tuple(self.sequence),
            tuple(self.checks),
            len(program.steps),
            program.symbols,
            tuple(sorted(self.streaming)),
            program.donated,
            origins(program),
            open_accesses(program),
        )

    def has_code(self) -> bool:
        """Whether any step, or step inside a step, is machine code."""
        return any(isinstance(s, Segment) or _has_code(s) for s in self.sequence)


def _has_code(step: Any) -> bool:
    return isinstance(step, RegionCall) and any(
        isinstance(s, Segment) or _has_code(s)
        for program in step.programs
        for s in program.sequence
    )


@dataclasses.dataclass
class EmittedProgram:
    """A program's LLVM IR and its steps.

    kernels, math: whether LLVM's optimizer has work in the kernels, and in the math functions
    """

    text: str
    steps: EmittedSteps
    kernels: bool
    math: bool


# Referred to by non-temporal stores (!0) and by loops (!1). A short loop that crossed a line of
# the instruction cache took up to 1.2 times as long (Zen 3).
_METADATA = """!0 = !{i32 1}
!1 = distinct !{!1, !2}
!2 = !{!"llvm.loop.align", i32 32}
"""


def emit_program(program: Program, timed: bool = False, streams: bool = True) -> EmittedProgram:
    """LLVM IR of a program's kernels and of the entry of each segment.

    timed: with code that notes the processor's cycles that each step takes
    streams: whether large results may be stored past the cache, for which they must start at a
        cache line
    """
    module = Module(processor.host().native)
    steps = _emit_steps(program, module, "", timed, streams)
    if program.symbols:
        module.functions.append(write_prepare(program))
    # frames can be large: stack probes touch each page, so that none is skipped
    vectors = '"prefer-vector-width"="512" "min-legal-vector-width"="512" '
    vectors += '"probe-stack"="inline-asm"'
    text = module.text()
    kernels = text.count(" optnone #kernel {") < text.count(" #kernel {")
    text = text.replace("#kernel", f"nounwind {vectors}")
    text = text.replace(") alwaysinline {", f") alwaysinline nounwind {vectors} {{")
    text = text.replace(") noinline {", f") noinline nounwind {vectors} {{")
    text += _METADATA
    table = declarations()
    if timed:
        table += f"@cycles = global [{max(1, len(program.steps))} x i64] zeroinitializer\n"
        table += "declare i64 @llvm.readcyclecounter()\n"
        text += "define i64 @now() { %t = call i64 @llvm.readcyclecounter() ret i64 %t }\n"
    return EmittedProgram(table + text, steps, kernels, bool(module.math_uses))


def _emit_steps(
    program: Program, module: Module, prefix: str, timed: bool, streams: bool
) -> EmittedSteps:
    """Write a program's kernels and segments into a module.

    prefix: what the names of its segments begin with, for a program inside another one's step
    """
    sequence: list[Segment | LibraryCall | RegionCall] = []
    emitter = _CallEmitter(program, module, prefix, streams, program.symbols, [])
    for steps in _split_segments(program):
        if isinstance(steps, RegionCall):
            sequence.append(_emit_regions(steps, module, f"{prefix}{len(sequence)}_", streams))
            continue
        if isinstance(steps, LibraryCall):
            sequence.append(steps)
            continue
        calls = [call for position, step in steps for call in emitter.calls(position, step)]
        symbol = f"segment{prefix}{len(sequence)}"
        release = bool(program.symbols) or _takes_long(
            [emitter.costs[position] for position, _ in steps]
        )
        release = release or any(map(_has_no_known_end, (step for _, step in steps)))
        checks_stack = needs_large_stack(module.functions)
        order, text = write_entry(program, symbol, calls, release, timed, checks_stack)
        module.functions.append(text)
        sequence.append(Segment(order, symbol))
    return EmittedSteps(program, sequence, emitter.shared.checks, emitter.streaming)


class _CallEmitter:
    """Writes a program's kernels and regions into a module, and gives the calls of their
    functions.

    prefix: what the names of its functions begin with, for a program inside another one's step
    symbols: those of the whole program. checks: what statuses mean, of the whole program.
    around: the table of the program in whose step this one is, if they share functions.
    in_loop: whether a loop runs it: what it calls is inlined there, shared functions aren't
    """

    def __init__(
        self,
        program: Program,
        module: Module,
        prefix: str,
        streams: bool,
        symbols: tuple[str, ...],
        checks: list[Check],
        around: KernelTable | None = None,
        in_loop: bool = False,
    ) -> None:
        self._in_loop = in_loop
        self.program = program = dataclasses.replace(program, symbols=symbols)
        self.module, self.prefix, self.symbols = module, prefix, symbols
        self.costs = [cost_model.step_cost(step, program.buffers) for step in program.steps]
        self.streaming = _streamed_results(program, self.costs) if streams else frozenset[int]()
        vector_bytes = processor.host().vector_bytes
        self.shared = KernelTable(program, module, vector_bytes, self.streaming, checks, around)
        self._sized = SizedFunctions(program, module, self.shared)
        self._row_blocks = {
            position: b for b in program.row_blocks for position in range(b.first, b.stop)
        }

    def calls(self, position: int, step: Kernel | RegionCall) -> list[KernelInvocation]:
        """The calls of a step; a row block's are those of its first step."""
        program, shared = self.program, self.shared
        if isinstance(step, RegionCall):
            return [self._call_of_regions(position, step)]
        block = self._row_blocks.get(position)
        if block is not None:
            if position != block.first:
                return []
            return [_emit_row_block(program, block, self.prefix, self.module, shared)]
        if self._sized.takes(position):
            return [self._sized.call(step, position)]
        kernel = shared.shared(step)
        nest, number = shared.nest(kernel)
        nest, chunks = _choose_chunks(nest, cost_model.time_ns(self.costs[position]))
        symbol, checked = shared.function(step.name, kernel, nest, number)
        call = KernelInvocation(
            symbol, kernel.buffers, checked, chunks, position, starts=kernel.starts
        )
        if chunks is not None:
            shared.chunk(call)
        return [call]

    def _call_of_regions(self, position: int, step: RegionCall) -> KernelInvocation:
        """The call of the function that runs regions, which are written with it."""
        name = f"regions{self.prefix}{position}"
        checks = len(self.shared.checks)
        loops = isinstance(step.primitive.kind, (CountedLoop, ConditionalLoop))
        in_loop = self._in_loop or loops
        around = None if in_loop else self.shared
        regions = []
        for k, inner in enumerate(step.programs):
            emitter = _CallEmitter(
                inner, self.module, f"{self.prefix}{position}r{k}_", False, self.symbols,
                self.shared.checks, around, in_loop,
            )  # fmt: skip
            calls = [c for n, s in enumerate(inner.steps) for c in emitter.calls(n, s)]
            regions.append(f"{name}r{k}")
            text = write_region(emitter.program, regions[-1], calls, self.symbols)
            self.module.functions.append(text)
        if isinstance(step.primitive.kind, Assumption):  # a call can end here
            self.shared.checks.append(Check("the call takes another path", "If", step.source))
        buffers = self.program.buffers
        writer = ControlWriter(step, buffers, name, regions, self.symbols, self.module)
        self.module.functions.append(writer.write())
        return KernelInvocation(
            name,
            (*step.inputs, *step.outputs, step.scratch),
            len(self.shared.checks) > checks,
            step=position,
            regions=True,
        )


def _has_no_known_end(step: Kernel | RegionCall) -> bool:
    """Whether a step has a loop that runs as long as a condition holds."""
    return isinstance(step, RegionCall) and (
        isinstance(step.primitive.kind, ConditionalLoop)
        or any(_has_no_known_end(inner) for p in step.programs for inner in p.steps)
    )


def _emit_regions(call: RegionCall, module: Module, prefix: str, streams: bool) -> RegionCall:
    """Write the programs of a call into a module. Gives the call with them compiled."""
    programs = [
        _emit_steps(program, module, f"{prefix}{k}_", False, streams).compiled()
        for k, program in enumerate(call.programs)
    ]
    return dataclasses.replace(call, programs=tuple(programs))


def _emit_row_block(
    program: Program, block: RowBlock, prefix: str, module: Module, shared: KernelTable
) -> KernelInvocation:
    """Write a row block's kernels and the function that runs them part by part. Gives its
    call.
    """
    calls, ranges = [], []
    for step in program.steps[block.first : block.stop]:
        assert isinstance(step, Kernel)
        kernel = shared.shared(step)
        nest, number = shared.nest(kernel, block.part)
        nest, loop = in_chunks(nest)
        parts = block.rows // block.part
        if loop is None or (isinstance(loop, Loop) and (loop.dim, loop.width) != (0, 1)):
            raise InternalError(f"{step.name} can't be computed row by row")
        extent = loop.count if isinstance(loop, Tiles) else loop.extent
        ranges.append(extent // parts)
        symbol, checked = shared.function(step.name, kernel, nest, number)
        calls.append(KernelInvocation(symbol, kernel.buffers, checked, starts=kernel.starts))
    call, text = write_row_block(
        program, block, f"row_block{prefix}{block.first}", calls, ranges
    )
    module.functions.append(text)
    return call


# Kernels and native calls of regions, with their positions in the program.
NativeRun = list[tuple[int, Kernel | RegionCall]]


def _split_segments(program: Program) -> list[NativeRun | LibraryCall | RegionCall]:
    """Calls from Python, and the runs of native steps between them."""
    result: list[NativeRun | LibraryCall | RegionCall] = []
    for position, step in enumerate(program.steps):
        if isinstance(step, LibraryCall) or (isinstance(step, RegionCall) and step.scratch < 0):
            result.append(step)
        elif result and isinstance(result[-1], list):
            result[-1].append((position, step))
        else:
            result.append([(position, step)])
    return result


def _streamed_results(program: Program, costs: Sequence[Cost]) -> frozenset[int]:
    """The results that the last-level cache can't hold together with their operands.

    They are allocated by `memory.empty`, which aligns arrays of that size.
    """
    # what lies where an input does needn't start at a cache line, and that line was just read
    results = {*program.outputs, *program.updates} - {output for output, _ in program.donated}
    uses = [reads_and_writes(step) for step in program.steps]
    writes = Counter(n for _, written in uses for n in written)
    results -= {n for read, _ in uses for n in read} | {n for n in writes if writes[n] > 1}
    found: set[int] = set()
    if program.symbols:  # decided at each call, by its sizes
        return frozenset(results)
    for step, its_cost in zip(program.steps, costs, strict=True):
        moved = its_cost["bytes"]
        if isinstance(step, Kernel) and moved > cost_model.STREAM_SHARE * machine().l3_bytes:
            found.update(results.intersection(reads_and_writes(step)[1]))
    return frozenset(n for n in found if program.buffers[n].type.nbytes >= LARGE_BYTES)


def _choose_chunks(nest: LoopNest, guess: float) -> tuple[LoopNest, tuple[int, int] | None]:
    """The nest for the team with the extents of its loop and of a chunk; None if not worth it.

    guess: how long one thread would take [ns]
    """
    if guess < cost_model.TEAM_NS:
        return nest, None
    chunked, loop = in_chunks(nest)
    if isinstance(loop, Tiles):
        count = cost_model.chunk_count(guess, min(loop.count, most_chunks(loop)))
        return (
            (chunked, (loop.count, -(-loop.count // count))) if loop.count > 1 else (nest, None)
        )
    if loop is None or loop.extent < 2 * loop.width:
        return nest, None
    count = cost_model.chunk_count(guess, most_chunks(loop))
    unit = chunk_unit(loop.width)
    size = -(-loop.extent // count)
    return chunked, (loop.extent, -(-size // unit) * unit)


def _takes_long(costs: Sequence[Cost]) -> bool:
    """Whether steps take so long that other Python threads should run meanwhile."""
    return (
        sum(c["bytes"] for c in costs) > cost_model.RELEASE_BYTES
        or sum(c["flops"] for c in costs) > cost_model.RELEASE_FLOPS
    )


def _choose_optimizer(emitted: EmittedProgram) -> tuple[Optimizer, int]:
    """LLVM's passes for a program, and the level of its code generation."""
    if emitted.kernels:
        return optimize, 2
    return (optimize_math, 2) if emitted.math else (parse_module, 0)


def _require_half_conversions() -> None:
    """Make sure that float16 can be converted.

    Processors without instructions for it call functions of GCC's runtime library, which must
    be loaded. Raises UnsupportedError.
    """
    if "+f16c" in processor.host().features.split(",") or platform.machine() != "x86_64":
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


def compile_program(
    program: Program,
    timed: bool = False,
    stages: Stages | None = None,
    streams: bool = True,
) -> tuple[Executable, Image | None]:
    """The executable of a program, and the image of its code if it has one.

    timed: whether it can tell how long each step took
    stages: where times are noted
    streams: see `emit_program`
    """
    stages = stages or Stages()
    with stages.stage("emit"):
        emitted = emit_program(program, timed, streams)
    code: Code | None = None
    image: Image | None = None
    if emitted.steps.has_code():
        if " half" in emitted.text:
            _require_half_conversions()
        with _lock, stages.stage("llvm"):
            key = processor.host(), emitted.text
            code = _codes.get(key)
            if code is None:
                passes, level = _choose_optimizer(emitted)
                code, image = run_compiler(
                    emitted.text, lambda: native_code(emitted.text, passes, level)
                )
                _codes[key] = code
    return Executable(emitted.steps.compiled(), code), image


def llvm_text(program: Program, optimized: bool = False) -> str:
    """A program's LLVM IR, as emitted or after LLVM's passes."""
    emitted = emit_program(program)
    if not optimized:
        return emitted.text
    passes, level = _choose_optimizer(emitted)
    return str(passes(emitted.text, processor.target_machine(level)))


def assembly(program: Program) -> str:
    """A program's machine code as assembly text."""
    emitted = emit_program(program)
    passes, level = _choose_optimizer(emitted)
    machine = processor.target_machine(level)
    text: str = machine.emit_assembly(passes(emitted.text, machine))
    return text


__all__ = [
    "assembly", "compile_program", "emit_program", "llvm_text", "reads_and_writes",
]  # fmt: skip
