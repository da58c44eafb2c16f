"""The list of what may reach LLVM's NVPTX code generator, which aborts the process on other
intrinsics.

A module is checked twice: its text before LLVM reads it, and again after LLVM's passes, which
introduce intrinsics of their own. A test compiles and assembles every name here.
"""

from __future__ import annotations

import re

_FLOATS = {"f32": "float", "f64": "double"}
_WHOLE = {f"i{n}": f"i{n}" for n in (8, 16, 32, 64)}


def _of(names: str, types: dict[str, str], signature: str) -> dict[str, str]:
    """Intrinsics of several types: name -> `result (arguments)`, where T is the type."""
    return {
        f"llvm.{name}.{suffix}": signature.replace("T", kind)
        for name in names.split()
        for suffix, kind in types.items()
    }


# Intrinsics that the emitter writes.
WRITTEN = {
    **_of("sqrt floor ceil trunc rint fabs", _FLOATS, "T (T)"),
    **_of("copysign", _FLOATS, "T (T, T)"),
    **_of("fma", _FLOATS, "T (T, T, T)"),
    **_of("ctpop", _WHOLE, "T (T)"),
    "llvm.expect.i1": "i1 (i1, i1)",
    "llvm.nvvm.read.ptx.sreg.tid.x": "i32 ()",
    "llvm.nvvm.read.ptx.sreg.ntid.x": "i32 ()",
    "llvm.nvvm.read.ptx.sreg.ctaid.x": "i32 ()",
    "llvm.nvvm.read.ptx.sreg.nctaid.x": "i32 ()",
    "llvm.nvvm.shfl.sync.down.i32": "i32 (i32, i32, i32, i32)",
    "llvm.nvvm.shfl.sync.idx.i32": "i32 (i32, i32, i32, i32)",
    "llvm.nvvm.barrier.cta.sync.aligned.all": "void (i32)",
    "llvm.nvvm.bar.warp.sync": "void (i32)",
}
_FOUR = "{float, float, float, float}"
_SUMS = "float, float, float, float"
# Intrinsics that the emitter writes from sm_80 on (tensor_cores.py).
TENSOR_CORES = {
    "llvm.nvvm.f2tf32.rna": "i32 (float)",
    "llvm.nvvm.mma.m16n8k8.row.col.tf32": f"{_FOUR} ({'i32, ' * 6}{_SUMS})",
    "llvm.nvvm.mma.m16n8k16.row.col.f32.f32": f"{_FOUR} ({'<2 x half>, ' * 6}{_SUMS})",
    "llvm.nvvm.mma.m16n8k16.row.col.bf16": f"{_FOUR} ({'i32, ' * 6}{_SUMS})",
}
WRITTEN |= TENSOR_CORES
# Intrinsics that LLVM's passes introduce.
MADE = {
    **_of("sqrt floor ceil trunc rint fabs", {"f16": "half"}, "T (T)"),
    **_of("copysign", {"f16": "half"}, "T (T, T)"),
    **_of("is.fpclass", {**_FLOATS, "f16": "half"}, "i1 (T, i32)"),
    **_of("umin umax smin smax uadd.sat usub.sat sadd.sat ssub.sat", _WHOLE, "T (T, T)"),
    **_of("bswap", {k: v for k, v in _WHOLE.items() if k != "i8"}, "T (T)"),
    **_of("bitreverse", _WHOLE, "T (T)"),
    **_of("abs ctlz cttz", _WHOLE, "T (T, i1)"),
    **_of("fshl fshr", _WHOLE, "T (T, T, T)"),
    **_of("uadd.with.overflow usub.with.overflow umul.with.overflow", _WHOLE, "{T, i1} (T, T)"),
    **{
        f"llvm.{name}.{result}.{kind}": f"{result} ({kind}, {kind})"
        for name in ("scmp", "ucmp")
        for result in _WHOLE
        for kind in _WHOLE
    },
    "llvm.assume": "void (i1)",
}
PROVEN = {**WRITTEN, **MADE}
_DECLARED = re.compile(r"^declare [^@]*@\"?([\w.$-]+)\"?\(", re.MULTILINE)
_DEFINED = re.compile(r"^define [^@]*@\"?([\w.$-]+)\"?\(", re.MULTILINE)
_FUNCTION = re.compile(r"^define .*?^}", re.MULTILINE | re.DOTALL)
_CALLED = re.compile(r"\bcall [^@\n]*@\"?([\w.$-]+)\"?\(")
_LAYOUT = re.compile(r"^target datalayout = .*$", re.MULTILINE)
# Types without registers, and remainders, which would be approximate.
_BAD = re.compile(
    r"(?<![\w.%@])(fp128|x86_fp80|ppc_fp128|bfloat|i128|frem|invoke|va_arg|asm)\b(?![\w.:])"
)


class Unproven(Exception):
    """Raised for calls or types that aren't known to compile.

    functions: those that need them
    """

    def __init__(self, wrong: list[str], functions: set[str]) -> None:
        super().__init__(f"PTX for {', '.join(wrong)} isn't proven to compile")
        self.functions = functions


def check(text: str, known: dict[str, str]) -> None:
    """Raise Unproven if a module's text has a call or a type that isn't known to compile."""
    text = _LAYOUT.sub("", text)
    functions = set(_DEFINED.findall(text))
    names = {*_DECLARED.findall(text), *_CALLED.findall(text)} - functions
    wrong = sorted(names - known.keys())
    if not wrong and (found := _BAD.search(text)) is not None:
        wrong = [found.group()]
    if wrong:
        raise Unproven(wrong, _needing(text, wrong))


def _needing(text: str, wrong: list[str]) -> set[str]:
    """The functions that contain these words, and those that call them."""
    bodies = {_DEFINED.findall(body)[0]: body for body in _FUNCTION.findall(text)}
    words = re.compile("|".join(rf"\b{re.escape(word)}\b" for word in wrong))
    found = {name for name, body in bodies.items() if words.search(body)}
    while True:
        callers = {
            name for name, body in bodies.items() if found.intersection(_CALLED.findall(body))
        }
        if callers <= found:
            return found
        found |= callers


__all__ = ["MADE", "PROVEN", "TENSOR_CORES", "WRITTEN", "Unproven", "check"]
