"""The parser knows what LLVM makes of most scalar IR and of the matrix intrinsics."""

from __future__ import annotations

import pytest
from ptx import kernels
from ptx.launch import parse

FLOATS = {
    "float": ("%x", "f32"),
    "half": ("%h", "f16"),
    "double": ("%d", "f64"),
    "bfloat": ("%b", "bf16"),
    "<2 x half>": ("%hh", "v2f16"),
}
UNARY = ("fabs", "floor", "ceil", "trunc", "rint", "roundeven", "round", "sqrt")
BINARY = ("minnum", "maxnum", "minimum", "maximum", "copysign")
COMPARISONS = [
    "oeq",
    "one",
    "olt",
    "ole",
    "ogt",
    "oge",
    "ord",
    "ueq",
    "une",
    "ult",
    "ule",
    "ugt",
    "uge",
    "uno",
]
INTEGER = [
    "add",
    "sub",
    "mul",
    "sdiv",
    "udiv",
    "srem",
    "urem",
    "shl",
    "lshr",
    "ashr",
    "and",
    "or",
    "xor",
]
ATOMIC = [
    "add",
    "sub",
    "and",
    "or",
    "xor",
    "xchg",
    "max",
    "min",
    "umax",
    "umin",
    "uinc_wrap",
    "udec_wrap",
]
VECTORS = ("<4 x float>", "<2 x double>", "<8 x half>", "<4 x i8>", "<16 x i8>", "<2 x i64>")


def kernel(body: list[str], before: str = "") -> str:
    """A kernel with a parameter of each type."""
    lines = "\n  ".join(body)
    return f"""{before}
define ptx_kernel void @k(ptr addrspace(1) %p, ptr addrspace(3) %s, float %x, i32 %i, half %h,
    double %d, i64 %l, <2 x half> %hh, bfloat %b) {{
  {lines}
  ret void
}}
"""


def keep(type_: str, value: str) -> str:
    return f"store volatile {type_} {value}, ptr addrspace(1) %p"


def functions(type_: str) -> str:
    value, suffix = FLOATS[type_]
    body, before = [], ""
    for name, count in [(n, 1) for n in UNARY] + [(n, 2) for n in BINARY] + [("fma", 3)]:
        before += f"declare {type_} @llvm.{name}.{suffix}({', '.join([type_] * count)})\n"
        call = ", ".join([f"{type_} {value}"] * count)
        body.append(f"%{name} = call {type_} @llvm.{name}.{suffix}({call})")
        body.append(keep(type_, f"%{name}"))
    for name in ("fadd", "fsub", "fmul", "fdiv", "frem"):
        body.append(f"%{name} = {name} {type_} {value}, %sqrt")
        body.append(keep(type_, f"%{name}"))
    return kernel(body, before)


def conversions() -> str:
    body = []
    for integer in ("i8", "i16", "i32", "i64"):
        for number, (type_, (value, _)) in enumerate(list(FLOATS.items())[:4]):
            for kind in "su":
                name = f"%{kind}{integer}{number}"
                back = f"{kind}itofp" if kind == "u" else "sitofp"
                body.append(f"{name} = fpto{kind}i {type_} {value} to {integer}")
                body.append(f"{name}b = {back} {integer} {name} to {type_}")
                body += [keep(integer, name), keep(type_, f"{name}b")]
    for i, (source, target) in enumerate(
        (
            ("half", "float"), ("half", "double"), ("double", "half"), ("float", "bfloat"),
            ("bfloat", "float"), ("bfloat", "double"), ("float", "half"), ("double", "bfloat"),
        )
    ):  # fmt: skip
        wider = source in ("half", "bfloat") or target == "double"
        op = "fpext" if wider else "fptrunc"
        body.append(f"%c{i} = {op} {source} {FLOATS[source][0]} to {target}")
        body.append(keep(target, f"%c{i}"))
    return kernel(body)


def comparisons() -> str:
    body = []
    for comparison in COMPARISONS:
        for number, (type_, (value, _)) in enumerate(list(FLOATS.items())[:4]):
            name = f"%{comparison}{number}"
            body.append(f"{name} = fcmp {comparison} {type_} {value}, 1.0")
            body += [f"{name}z = zext i1 {name} to i8", keep("i8", f"{name}z")]
    return kernel(body)


def integers() -> str:
    body = []
    for type_, value in (("i32", "%i"), ("i64", "%l")):
        body.append(f"%v{type_} = load volatile {type_}, ptr addrspace(1) %p")
        for op in INTEGER:
            body.append(f"%{op}{type_} = {op} {type_} {value}, %v{type_}")
            body.append(keep(type_, f"%{op}{type_}"))
        for op in ATOMIC:
            body.append(
                f"%a{op}{type_} = atomicrmw {op} ptr addrspace(1) %p, {type_} {value} seq_cst"
            )
    body.append("%acquired = load atomic i32, ptr addrspace(1) %p acquire, align 4")
    body.append("store atomic i32 %acquired, ptr addrspace(1) %p release, align 4")
    return kernel(body)


def vectors() -> str:
    body = []
    for i, type_ in enumerate(VECTORS):
        body.append(f"%p{i} = getelementptr i8, ptr addrspace(1) %p, i64 {16 * i}")
        body.append(f"%s{i} = getelementptr i8, ptr addrspace(3) %s, i64 {16 * i}")
        body.append(f"%v{i} = load {type_}, ptr addrspace(1) %p{i}, align 16")
        body.append(f"store {type_} %v{i}, ptr addrspace(3) %s{i}, align 16")
    return kernel(body)


def matrices() -> str:
    four = "{float, float, float, float}"
    words = ", ".join(["i32 %i"] * 6) + ", " + ", ".join(["float %x"] * 4)
    types = ", ".join(["i32"] * 6 + ["float"] * 4)
    body, before = [], ""
    for i, name in enumerate(("m16n8k8.row.col.tf32", "m16n8k16.row.col.bf16")):
        before += f"declare {four} @llvm.nvvm.mma.{name}({types})\n"
        body.append(f"%m{i} = call {four} @llvm.nvvm.mma.{name}({words})")
        body.append(f"%e{i} = extractvalue {four} %m{i}, 0")
        body.append(keep("float", f"%e{i}"))
    before += """
declare i32 @llvm.nvvm.f2tf32.rna(float)
declare i32 @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x1.trans.b16.p3(ptr addrspace(3))
declare void @llvm.nvvm.cp.async.cg.shared.global.16(ptr addrspace(3), ptr addrspace(1))
declare void @llvm.nvvm.cp.async.commit.group()
declare void @llvm.nvvm.cp.async.wait.group(i32)
"""
    body += [
        "%t = call i32 @llvm.nvvm.f2tf32.rna(float %x)",
        keep("i32", "%t"),
        "call void @llvm.nvvm.cp.async.cg.shared.global.16(ptr addrspace(3) %s,"
        " ptr addrspace(1) %p)",
        "call void @llvm.nvvm.cp.async.commit.group()",
        "call void @llvm.nvvm.cp.async.wait.group(i32 1)",
        "%f = call i32 @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x1.trans.b16.p3("
        "ptr addrspace(3) %s)",
        keep("i32", "%f"),
    ]
    return kernel(body, before)


@pytest.mark.parametrize("cpu", kernels.TARGETS)
def test_scalar_code(cpu: str) -> None:
    sources = [functions(type_) for type_ in FLOATS]
    sources += [conversions(), comparisons(), integers(), vectors()]
    if cpu != "sm_75":
        sources.append(matrices())
    for source in sources:
        found = parse(kernels.compile_ptx(source, cpu)).kernels["k"]
        assert len(found.instructions) > 10
