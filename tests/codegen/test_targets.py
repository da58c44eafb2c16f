"""Other processors: the same bits from AVX-512, AVX2 and SSE; code for some that aren't here,
aarch64 too, assembled.
"""

import re
import struct

import llvmlite.binding as llvm
import numpy as np
import pytest
from chains import chain, values
from compiled import optimized, run_compiled, same_bits
from levels import LEVELS, level

import graphjit as gj
from graphjit.codegen.cpu import processor
from graphjit.codegen.cpu import target as cpu
from graphjit.codegen.optimize import optimize
from graphjit.codegen.runtime.image import link


def softmax(x, w, c):
    y = np.tanh(x @ w + c) * np.log1p(np.abs(x[:, :1]))
    e = np.exp(y - y.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True), y.sum(axis=0), np.sin(y.T) ** 3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(37, 70, 45), (3, 9, 130), (130, 600, 33)])
def test_the_same_bits_from_other_code(shape, dtype):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=shape[:2]).astype(dtype), rng.normal(size=shape[1:]).astype(dtype)
    c = rng.normal(size=shape[2]).astype(dtype)
    reference = gj.function(softmax, fallback="error")(x, w, c)
    for name in LEVELS:
        with level(name):
            found = gj.function(softmax, fallback="error")(x, w, c)
        for one, other in zip(found, reference, strict=True):
            np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize("seed", range(400, 406))
def test_chains_have_the_same_bits_from_other_code(seed):
    graph = optimized(chain(seed))
    inputs = values(graph, seed)
    reference = run_compiled(graph, inputs)[0]
    for name in LEVELS:
        with level(name):
            found = run_compiled(graph, inputs)[0]
        for a, b in zip(reference, found, strict=True):
            assert same_bits(a, b), name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_code_for_aarch64_is_assembled(dtype, monkeypatch):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    x, w, c = np.ones((37, 70), dtype), np.ones((70, 45), dtype), np.ones(45, dtype)
    f = gj.function(softmax, fallback="error")
    program = f.specialization(x, w, c).program
    target = processor.Processor("neoverse-n1", "", 16)
    monkeypatch.setattr(processor, "host", lambda: target)
    text = cpu.emit_program(program).text
    target = llvm.Target.from_triple("aarch64-unknown-linux-gnu")
    machine = target.create_target_machine(cpu="neoverse-n1", opt=2)
    module = optimize(text, machine)
    lanes = "4s" if dtype is np.float32 else "2d"
    assert "fmla\tv" in machine.emit_assembly(module) and f".{lanes}" in (
        machine.emit_assembly(module)
    )
    code = machine.emit_object(module)
    assert code[:4] == b"\x7fELF" and struct.unpack_from("<H", code, 18) == (183,)


def halves(x):
    y = x * x + x
    parts = y, x / 3.0, np.sqrt(x) - 1, np.exp(x), (x + 2) * x, x.sum(axis=0), x @ x.T
    return *parts, np.maximum(x, y), x.astype(np.int16), (x > 1) * y, np.rint(y), -abs(x)


X86 = pytest.mark.skipif("x86-64" not in LEVELS, reason="for x86-64")


@X86
@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["sapphirerapids", "graniterapids", "diamondrapids", "znver5"])
def test_no_arithmetic_on_what_is_narrower_than_float32(name, dtype, fast, monkeypatch):
    """Also on processors that have such instructions, APX or AMX, which say that they have."""
    x = np.linspace(0.5, 2, 1000).astype(gj.as_dtype(dtype).as_numpy_dtype).reshape(100, 10)
    f = gj.function(halves, fast_math=fast, outputs="numpy", fallback="error")
    program = f.specialization(x).program
    everything = dict.fromkeys(llvm.get_host_cpu_features(), True)
    old = dict.fromkeys(("xop", "fma4", "tbm", "lwp", "sse4a"), False)
    target = processor.processor_of(name, everything | old)
    assert target.vector_bytes == 64
    monkeypatch.setattr(processor, "host", lambda: target)
    text = cpu.assembly(program)
    used = set(re.findall(r"^\t(\{\w+\}|\w+)", text, re.MULTILINE))
    narrow = {name for name in used if re.fullmatch(r"v.*(ph|sh|bf16).*|t.*tile.*|tdp.*", name)}
    assert narrow <= {"vcvtph2ps", "vcvtps2ph", "vpshufb", "vpshufd", "vpshuflw", "vpshufhw"}
    assert not any(name.startswith(("{", "ccmp", "ctest", "push2", "pop2")) for name in used)
    assert not re.search(r"%(r1[6-9]|r2\d|r3[01]|tmm\d)[bwd]?\b", text)
    assert re.search(r"%zmm\d", text)
    # nor has the code what images don't have
    machine = processor.target_machine(relocatable=True)
    assert link(machine.emit_object(optimize(cpu.emit_program(program).text, machine)))
