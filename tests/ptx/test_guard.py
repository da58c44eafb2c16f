"""The guard: what it lets through compiles and assembles, what it doesn't is an error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ptx import ptxas

import graphjit as gj
from graphjit.codegen.ptx.arch import ARCHITECTURES, arch_named
from graphjit.codegen.ptx.guard import PROVEN, TENSOR_CORES, WRITTEN, Unproven, check
from graphjit.codegen.ptx.target import assemble
from graphjit.core.errors import InvalidArgumentError, UnsupportedError

STORE = "define ptx_kernel void @k(ptr addrspace(1) %p) {\n  store i32 1, ptr addrspace(1) %p\n"
# Known to end the process, or to be silently approximate (LLVM 22).
DEADLY = ("exp", "log", "log2", "pow", "sin", "cos", "tan", "exp2", "sinh", "atan2")


# Operands that must be numbers, by the intrinsic's name without its type.
FIXED = {
    "llvm.abs": {1: "false"}, "llvm.ctlz": {1: "false"}, "llvm.cttz": {1: "false"},
    "llvm.is.fpclass": {1: "3"}, "llvm.nvvm.bar.warp.sync": {0: "-1"},
    "llvm.nvvm.barrier.cta.sync.aligned.all": {0: "0"},
    "llvm.nvvm.shfl.sync.down.i32": {0: "-1", 2: "16", 3: "31"},
    "llvm.nvvm.shfl.sync.idx.i32": {0: "-1", 2: "0", 3: "31"},
}  # fmt: skip


def module(names: list[str]) -> str:
    """A module with a kernel that calls each of these intrinsics with what it loads."""
    lines, declared = [], []
    for number, name in enumerate(names):
        result, _, rest = PROVEN[name].rpartition(" (")
        kinds = rest.removesuffix(")").split(", ") if rest != ")" else []
        declared.append(f"declare {result} @{name}({', '.join(kinds)})")
        fixed = FIXED.get(name, FIXED.get(name.rpartition(".")[0], {}))
        operands = []
        for place, kind in enumerate(kinds):
            text = fixed.get(place, f"%v{number}.{place}")
            operands.append(f"{kind} {text}")
            if text.startswith("%"):
                lines.append(f"  {text} = load volatile {kind}, ptr addrspace(1) %p")
        call = f"call {result} @{name}({', '.join(operands)})"
        if result == "void":
            lines.append(f"  {call}")
            continue
        lines.append(f"  %r{number} = {call}")
        lines.append(f"  store volatile {result} %r{number}, ptr addrspace(1) %p")
    body = "\n".join([*declared, "define ptx_kernel void @k(ptr addrspace(1) %p) {", *lines])
    return body + "\n  ret void\n}\n"


@pytest.mark.parametrize("arch", ["sm_75", "sm_80", "sm_120"])
def test_what_is_proven_compiles_and_assembles(arch: str, tmp_path: Path) -> None:
    # in a process of its own: what is not so would end this one
    names = sorted(PROVEN.keys() - (TENSOR_CORES.keys() if arch == "sm_75" else ()))
    (tmp_path / "module.ll").write_text(module(names))
    code = (
        "import sys; from graphjit.codegen.ptx.target import assemble\n"
        "from graphjit.codegen.ptx.arch import arch_named\n"
        f"text = assemble(open(sys.argv[1]).read(), arch_named({arch!r}))\n"
        "open(sys.argv[2], 'w').write(text)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "module.ll", tmp_path / "k.ptx"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    ptxas.assemble((tmp_path / "k.ptx").read_text(), arch)


@pytest.mark.parametrize("name", DEADLY)
def test_deadly_intrinsics_are_refused(name: str) -> None:
    two = name in ("pow", "atan2")
    text = f"declare float @llvm.{name}.f32(float{', float' * two})\n{STORE}"
    text += "  %x = load volatile float, ptr addrspace(1) %p\n"
    text += f"  %y = call float @llvm.{name}.f32(float %x{', float %x' * two})\n"
    text += "  store float %y, ptr addrspace(1) %p\n  ret void\n}\n"
    for known in (WRITTEN, PROVEN):
        with pytest.raises(Unproven, match=rf"llvm\.{name}\.f32"):
            check(text, known)
    with pytest.raises(Unproven, match=rf"llvm\.{name}\.f32"):
        assemble(text, arch_named("sm_80"))


@pytest.mark.parametrize("lists", ["WRITTEN", "PROVEN"])
def test_what_is_not_proven_is_refused_by_op_and_line(
    lists: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graphjit.codegen.ptx import target

    known = {
        name: signature for name, signature in PROVEN.items() if not name.startswith("llvm.fma")
    }
    monkeypatch.setattr(target, lists, known)
    function = gj.function(lambda x: np.exp(x))
    with pytest.raises(
        UnsupportedError, match=r"llvm.fma.f32.*\[Op:Exp\](?s:.)*test_guard.py:\d"
    ):
        function.ptx(np.ones(5, np.float32))


@pytest.mark.parametrize(
    "line",
    [
        "%x = frem float 1.0, 2.0",
        "%x = add i128 1, 2",
        "%x = fpext half 1.0 to fp128",
        "%x = call float @expf(float 1.0)",
        '%x = call i32 asm "mov.u32 $0, 0;", "=r"()',
        "%x = load bfloat, ptr addrspace(1) %p",
    ],
)
def test_other_types_and_calls_are_refused(line: str) -> None:
    with pytest.raises(Unproven):
        check(f"{STORE}  {line}\n  ret void\n}}\n", PROVEN)


def test_names_are_not_taken_for_types() -> None:
    check(f"{STORE}  %v64.i128 = add i32 1, 2\n  br label %frem\nfrem:\n  ret void\n}}\n", {})


@pytest.mark.parametrize("name", ["sm_70", "sm_130", "sm_101", "sm_90f", "SM_90", "90", "", 90])
def test_unknown_architectures_are_refused_before_llvm(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"sm_75, sm_80"):
        arch_named(name)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture(name: str) -> None:
    arch = arch_named(name)
    text = assemble(STORE + "  ret void\n}\n", arch)
    assert f".version {arch.version}\n.target {name}\n" in text
    ptxas.assemble(text, name)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_no_lower_version_serves(name: str) -> None:
    arch = arch_named(name)
    text = assemble(STORE + "  ret void\n}\n", arch)
    known = sorted({arch_named(n).version for n in ARCHITECTURES}, key=float)
    lower = [v for v in known if float(v) < float(arch.version)]
    if lower and name != "sm_88":  # which ptxas takes for 8.8, and the manual for 9.0 only
        text = text.replace(f".version {arch.version}", f".version {lower[-1]}")
        with pytest.raises(AssertionError, match=r"requires|sm_|target"):
            ptxas.assemble(text, name)
