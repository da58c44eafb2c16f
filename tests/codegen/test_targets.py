"""Other processors: the same bits from AVX-512, AVX2 and SSE; code for aarch64, assembled."""

import struct

import llvmlite.binding as llvm
import numpy as np
import pytest
from chains import chain, values
from compiled import optimized, run_compiled, same_bits

import graphjit as gj
from graphjit.codegen import cpu

HOST = cpu.host()
# Processors that this one runs the code of, if it has their features, with their vectors.
X86 = {"skylake-avx512": 64, "haswell": 32, "nehalem": 16}


def here(name: str) -> bool:
    features = llvm.get_host_cpu_features()
    wanted = {"skylake-avx512": "avx512f", "haswell": "avx2", "nehalem": "sse4.2"}[name]
    return bool(features.get(wanted))


def use(monkeypatch: pytest.MonkeyPatch, name: str, vector_bytes: int) -> None:
    target = cpu.Target(name, "", vector_bytes)
    monkeypatch.setattr(cpu, "host", lambda: target)


def softmax(x, w, c):
    y = np.tanh(x @ w + c) * np.log1p(np.abs(x[:, :1]))
    e = np.exp(y - y.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True), y.sum(axis=0), np.sin(y.T) ** 3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(37, 70, 45), (3, 9, 130), (130, 600, 33)])
def test_the_same_bits_from_other_code(shape, dtype, monkeypatch):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=shape[:2]).astype(dtype), rng.normal(size=shape[1:]).astype(dtype)
    c = rng.normal(size=shape[2]).astype(dtype)
    reference = gj.function(softmax, fallback="error")(x, w, c)
    for name, vector_bytes in X86.items():
        if not here(name):
            continue
        use(monkeypatch, name, vector_bytes)
        found = gj.function(softmax, fallback="error")(x, w, c)
        for one, other in zip(found, reference, strict=True):
            np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize("seed", range(400, 406))
def test_chains_have_the_same_bits_from_other_code(seed, monkeypatch):
    graph = optimized(chain(seed))
    inputs = values(graph, seed)
    reference = run_compiled(graph, inputs)[0]
    for name, vector_bytes in X86.items():
        if here(name):
            use(monkeypatch, name, vector_bytes)
            for a, b in zip(reference, run_compiled(graph, inputs)[0], strict=True):
                assert same_bits(a, b), name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_code_for_aarch64_is_assembled(dtype, monkeypatch):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    x, w, c = np.ones((37, 70), dtype), np.ones((70, 45), dtype), np.ones(45, dtype)
    f = gj.function(softmax, fallback="error")
    program = f.specialization(x, w, c).program
    use(monkeypatch, "neoverse-n1", 16)
    text = cpu.emit_program(program).text
    target = llvm.Target.from_triple("aarch64-unknown-linux-gnu")
    machine = target.create_target_machine(cpu="neoverse-n1", opt=2)
    module = cpu.optimize(text, machine)
    lanes = "4s" if dtype is np.float32 else "2d"
    assert "fmla\tv" in machine.emit_assembly(module) and f".{lanes}" in (
        machine.emit_assembly(module)
    )
    code = machine.emit_object(module)
    assert code[:4] == b"\x7fELF" and struct.unpack_from("<H", code, 18) == (183,)
