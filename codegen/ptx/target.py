"""Program -> PTX, with the launches and their arguments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import llvmlite.binding as llvm

from graphjit.codegen.kernel_identity import (
    identity,
    kernel_buffers,
    number_buffers,
    overlapping_buffers,
)
from graphjit.codegen.optimize import run_passes
from graphjit.codegen.runtime.compiled import Check
from graphjit.core.errors import InternalError, UnsupportedError, at_user_line
from graphjit.core.fork_safety import new_lock
from graphjit.core.frozen import dataclass
from graphjit.ir.program import Compute, Kernel, LibraryCall, Program, RegionCall

from .arch import Arch, arch_named
from .checks import POINT_SHIFT, STEP_SHIFT
from .device import DeviceModule
from .emit import ThreadEmitter
from .guard import PROVEN, WRITTEN, Unproven, check
from .schedule import GridLaunch, schedule
from .tensor_cores import check_tensor_cores

TRIPLE = "nvptx64-nvidia-cuda"
_lock = new_lock()


@dataclass(frozen=True, slots=True)
class KernelCall:
    """One launch of a kernel.

    entry: the kernel's name
    step: the number that identifies it in a failure
    buffers: the buffers that it takes, in order
    stored: those that it writes
    checks: its checks, by the number of their value

    After the buffers come the status, if it can fail, and the symbols.
    """

    entry: str
    step: int
    buffers: tuple[int, ...]
    stored: frozenset[int]
    launch: GridLaunch
    checks: tuple[tuple[int, Check], ...]

    @property
    def status(self) -> bool:
        """Whether the kernel can fail."""
        return bool(self.checks)


@dataclass(frozen=True, slots=True)
class Emitted:
    """A program's LLVM IR for a GPU, and its launches in order."""

    text: str
    calls: tuple[KernelCall, ...]


@dataclass(frozen=True, slots=True)
class Assembly:
    """A program as PTX, and its launches in order."""

    program: Program
    arch: Arch
    text: str
    calls: tuple[KernelCall, ...]
    tensor_cores: str | None = None

    def failure(self, words: Sequence[int]) -> Exception:
        """The exception for a status other than the initial one."""
        step, value = words[0] >> STEP_SHIFT, words[0] & ((1 << POINT_SHIFT) - 1)
        for call in self.calls:
            if call.step == step and value in dict(call.checks):
                # the details are signed
                details = [w - (1 << 64) if w >> 63 else w for w in words[1:]]
                return dict(call.checks)[value].error(details)
        return InternalError(f"status {words[0]:#x} of {self.program.name}")


class KernelWriter:
    """Writes a program's kernels, equal ones once."""

    def __init__(self, program: Program, tensor_cores: str | None) -> None:
        self.program = program
        self.tensor_cores = tensor_cores
        self.module = DeviceModule()
        self.known: dict[Any, str] = {}
        self.names: set[str] = set()

    def call(self, kernel: Kernel, step: int) -> KernelCall:
        """The launch of a kernel. It is written unless an equal one has been."""
        own, lying = kernel.name, overlapping_buffers(self.program, kernel)
        kernel, used = number_buffers(kernel)
        together = kernel_buffers(lying, used)
        key = (identity(kernel), together)
        plan = schedule(kernel, self.tensor_cores)
        stored = frozenset(used[s.buffer] for s in kernel.stores)
        name = self.known.get(key)
        checks: tuple[tuple[int, Check], ...] = ()
        if name is None:
            name = self._unique_name(own, step)
            plan = replace(plan, kernel=replace(plan.kernel, name=name))
            emitter = ThreadEmitter(self.module, plan, step, together, self.program.symbols)
            self.module.functions.append(emitter.emit())
            checks = tuple(sorted(emitter.numbered.items()))
            if not checks:  # the numbers of failures contain the step
                self.known[key] = name
        return KernelCall(name, step, tuple(used), stored, plan.launch, checks)

    def _unique_name(self, name: str, step: int) -> str:
        """A kernel's name, made unique."""
        name = f"{name}_{step}" if name in self.names else name
        self.names.add(name)
        return name


def emit_program(program: Program, tensor_cores: str | None = None) -> Emitted:
    """LLVM IR of a program's kernels. Raises UnsupportedError for a call of a library."""
    if len(program.steps) >> (63 - STEP_SHIFT):
        raise UnsupportedError(at_user_line(f"PTX of {len(program.steps)} steps"))
    writer = KernelWriter(program, tensor_cores)
    calls = []
    for number, step in enumerate(program.steps):
        if isinstance(step, RegionCall):
            raise UnsupportedError(
                at_user_line(
                    f"{step.primitive.tensorflow} is control flow, of which no PTX is written "
                    f"yet [Op:{step.primitive.tensorflow}]",
                    "use gj.where, or a loop of Python's, which is traced step by step",
                    step.source,
                )
            )
        if isinstance(step, LibraryCall):
            raise UnsupportedError(
                at_user_line(
                    f"{step.primitive.tensorflow} is a routine of NumPy or SciPy, which no GPU "
                    f"runs [Op:{step.primitive.tensorflow}]",
                    "compute it outside of what becomes PTX",
                    step.source,
                )
            )
        calls.append(writer.call(step, number))
    return Emitted(writer.module.text(), tuple(calls))


def compile_ptx(program: Program, arch: str, tensor_cores: str | None = None) -> Assembly:
    """A program's PTX for an architecture.

    tensor_cores: the type that operands of float32 products are rounded to, for tensor cores:
        "tf32", "float16" or "bfloat16"; None for fused multiply-adds
    """
    target = arch_named(arch)
    emitted = emit_program(program, check_tensor_cores(tensor_cores, target))
    try:
        check(emitted.text, WRITTEN)
        text = assemble(emitted.text, target)
    except Unproven as error:
        raise _unsupported_error(program, emitted, error) from None
    return Assembly(program, target, text, emitted.calls, tensor_cores)


def _unsupported_error(program: Program, emitted: Emitted, error: Unproven) -> UnsupportedError:
    """The error for the user, with the ops of the kernel that can't be compiled."""
    ops, source = dict[str, None](), None
    for call in emitted.calls:
        step = program.steps[call.step]
        if call.entry not in error.functions or not isinstance(step, Kernel) or ops:
            continue
        for value in step.values:
            if isinstance(value, Compute):
                ops[value.primitive.tensorflow] = None
                source = source or value.source
    listed = f" [Op:{', '.join(ops)}]" if ops else ""
    advice = "this is a gap of graphjit's own; the CPU computes it"
    return UnsupportedError(at_user_line(f"{error}{listed}", advice, source))


def assemble(text: str, arch: Arch) -> str:
    """The PTX of a module in LLVM's IR.

    Raises Unproven if LLVM's passes made something of it that isn't known to compile.
    """
    with _lock:
        machine = _machine(arch)
        head = f'target triple = "{TRIPLE}"\ntarget datalayout = "{machine.target_data}"\n'
        module = llvm.parse_assembly(head + text)
        options = llvm.create_pipeline_tuning_options(speed_level=3)
        options.loop_vectorization = False
        options.slp_vectorization = False
        builder = llvm.create_pass_builder(machine, options)
        run_passes(builder.getModulePassManager(), module, builder)
        check(str(module), PROVEN)
        ptx: str = machine.emit_assembly(module)
    if "__local_depot" in ptx:
        raise InternalError("a kernel keeps something in local memory")
    return ptx


def _machine(arch: Arch) -> Any:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(TRIPLE)
    return target.create_target_machine(cpu=arch.name, features=arch.feature, opt=3)


__all__ = ["Assembly", "Emitted", "KernelCall", "assemble", "compile_ptx", "emit_program"]
