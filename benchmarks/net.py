"""Asks what it costs to check at each call, for all sizes, that no kernel leaves a buffer.

    python benchmarks/net.py [--rounds 15] [--calls 200000]

The function that prepares such a call (`codegen/cpu/prepare.py`) is made with and without the
checks; both are called in a native loop, in turn. The table gives the kernels of the program,
its accesses, those not inside by the signs of their terms alone, the time of one call of
each [ns], and the difference by kernel.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import time
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np

import graphjit as gj
from graphjit.codegen.cpu.prepare import prepared_positions, write_prepare
from graphjit.codegen.cpu.processor import host
from graphjit.ir.verify_program import accesses, open_accesses


def heat(u: Any) -> Any:
    """Five steps of heat along a rod."""
    for _ in range(5):
        u = np.concatenate([u[:1], u[1:-1] + 0.1 * (u[2:] - 2 * u[1:-1] + u[:-2]), u[-1:]])
    return u


CASES: dict[str, tuple[Callable[..., Any], int]] = {
    "gelu": (lambda x: x / (1 + np.exp(-1.702 * x)), 1),
    "softmax": (lambda x: np.exp(x - x.max(1, keepdims=True)) / np.exp(x).sum(1), 2),
    "neighbours": (lambda x: x[1:] - x[:-1], 1),
    "five-point": (
        lambda u: u[1:-1, 1:-1] + u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2], 2,
    ),
    "every second": (lambda x: x[::2] * x[1::2][: x[::2].shape[0]].sum(), 1),
    "heat, 5 steps": (heat, 1),
    "halves": (lambda x: x[: x.shape[0] // 2].sum() + x[x.shape[0] // 2 :], 1),
    "product": (lambda x: (x @ x.T).sum(0), 2),
}  # fmt: skip
LOOP = """
define void @many(ptr %extents, ptr %sizes, i64 %count) {
entry:
  br label %head
head:
  %k = phi i64 [ 0, %entry ], [ %next, %head ]
  %told = call i64 @prepare(ptr %extents, ptr %sizes)
  %next = add i64 %k, 1
  %more = icmp ult i64 %next, %count
  br i1 %more, label %head, label %done
done:
  ret void
}
"""


def compiled(text: str) -> tuple[Any, Callable[..., None]]:
    """The loop over a `prepare`, and what keeps its code."""
    target = llvm.Target.from_triple(llvm.get_process_triple())
    machine = target.create_target_machine(opt=2)
    module = llvm.parse_assembly(text.replace("nounwind {", "nounwind noinline {", 1) + LOOP)
    module.verify()
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    return engine, kind(engine.get_function_address("many"))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=200_000)
    options = parser.parse_args()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    host()
    print(f"{'case':16}{'kernels':>8}{'accesses':>9}{'open':>6}{'without':>9}{'with':>8}"
          f"{'ns a kernel':>13}")  # fmt: skip
    for name, (function, rank) in CASES.items():
        f = gj.function(function)
        for n in (40, 41, 42):
            f(np.ones((n,) * rank))
        specialization = [s for s in f.specializations if s.sizes is not None][-1]
        program = specialization.program
        assert program is not None
        known, opened = len(list(accesses(program))), open_accesses(program)
        extents = np.full(len(program.symbols), 42, np.int64)
        sizes = np.zeros(prepared_positions(program)[1] + 1, np.int64)
        kinds = {key: compiled(write_prepare(program, touched))
                 for key, touched in (("without", ()), ("with", opened))}  # fmt: skip
        times: dict[str, list[float]] = {key: [] for key in kinds}
        for _ in range(options.rounds):
            for key, (_, many) in kinds.items():
                start = time.perf_counter_ns()
                many(extents.ctypes.data, sizes.ctypes.data, options.calls)
                times[key].append((time.perf_counter_ns() - start) / options.calls)
        without, with_ = (statistics.median(times[key]) for key in ("without", "with"))
        kernels = len(program.steps)
        print(f"{name:16}{kernels:8}{known:9}{len(opened):6}{without:9.2f}{with_:8.2f}"
              f"{(with_ - without) / kernels:13.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
