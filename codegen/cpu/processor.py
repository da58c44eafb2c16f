"""The processor that code is compiled for: LLVM's name and features, and its vectors."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import llvmlite.binding as llvm

from graphjit.core.fork_safety import hold_over_forks
from graphjit.core.frozen import dataclass

if llvm.llvm_version_info < (22,):  # a dependency may have been overridden
    raise ImportError(
        "graphjit needs llvmlite 0.48 or later, which has LLVM 22; this one has LLVM "
        + ".".join(map(str, llvm.llvm_version_info))
    )
hold_over_forks(llvm.ffi.lib._lock)  # llvmlite holds it during each call of LLVM


@dataclass(frozen=True)
class Processor:
    """The CPU that code is compiled for.

    cpu, features: as LLVM names them
    native: see `Module`
    """

    cpu: str
    features: str
    vector_bytes: int
    native: frozenset[str] = frozenset()


# Features that LLVM must not use. Arithmetic on float16 (AVX512-FP16, part of AVX10) rounds
# differently from float32's where a product and a sum are fused; AVX10.2 has the like for
# bfloat16. APX changes only the scalar code between vectors. Without them the processor runs
# the instructions of those with AVX-512, which the tests run.
UNUSED = (
    "avx512fp16", "avx10.1", "avx10.2",
    "egpr", "ndd", "ccmp", "nf", "cf", "zu", "push2pop2", "ppx",
)  # fmt: skip


@functools.cache
def host() -> Processor:
    """The CPU of this machine."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return processor_of(llvm.get_host_cpu_name(), llvm.get_host_cpu_features())


def processor_of(cpu: str, found: Mapping[str, bool]) -> Processor:
    """The processor with this name and features: LLVM's name of each -> whether it is
    present.
    """
    width = (
        64 if found.get("avx512f") and found.get("avx512dq") and found.get("avx512bw") else 16
    )
    if width == 16 and found.get("avx2"):
        width = 32
    scales = width == 64 and found.get("avx512vl")  # ldexp is one instruction
    native = frozenset({"ldexp"} if scales else ())
    used = [("+" if on and name not in UNUSED else "-") + name for name, on in found.items()]
    # disabling a feature disables those that imply it, and enabling one the reverse: so last
    used.sort(key=lambda text: text[1:] in UNUSED)
    return Processor(cpu, ",".join(used), width, native)


def target_machine(opt: int = 2, relocatable: bool = False) -> Any:
    """LLVM's target machine for the host. relocatable: for code that can lie anywhere."""
    target = host()
    kind = {"reloc": "pic", "codemodel": "small"} if relocatable else {"jit": True}
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=target.cpu, features=target.features, opt=opt, **kind
    )


__all__ = ["UNUSED", "Processor", "host", "target_machine", "processor_of"]
