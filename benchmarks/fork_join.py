"""Asks what it costs to share out work: graphjit's thread team beside OpenMP's runtime.

    python benchmarks/fork_join.py [--rounds 25]

Each call shares out one empty chunk for each thread and waits for all: fork and join, nothing
else. The loops around the calls are machine code. OpenMP is GCC's libgomp, entered through the
function that compilers call (GOMP_parallel), with threads that spin (OMP_WAIT_POLICY=active)
and with threads that sleep (passive), in processes of their own, as the policy is read once.
Medians [µs] of rounds, and the fastest round. `apart`: a pause of 200 µs before each call,
after which spinning threads have gone to sleep.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import time

import llvmlite.binding as llvm
import measure

import graphjit as gj
from graphjit.codegen.cpu.processor import target_machine
from graphjit.codegen.cpu.team import team
from graphjit.codegen.optimize import optimize

_TEXT = """
define i64 @job(ptr %context, i64 %begin, i64 %end, ptr %record) { ret i64 0 }
define void @part(ptr %data) { ret void }
define void @by_team(i64 %count, ptr %run, i64 %threads) {
entry:
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %next, %head ]
  %status = call i64 %run(ptr @job, ptr null, i64 %threads, i64 1, ptr null, ptr null)
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %count
  br i1 %more, label %head, label %done
done:
  ret void
}
define void @by_openmp(i64 %count, ptr %run, i32 %threads) {
entry:
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %next, %head ]
  call void %run(ptr @part, ptr null, i32 %threads, i32 0)
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %count
  br i1 %more, label %head, label %done
done:
  ret void
}
"""
CALLS = 2000


def measured(kind: str, rounds: int) -> dict[str, list[float]]:
    """Times per call [µs], one for each round, in this process."""
    gj.config.threads = max(2, gj.config.threads)
    threads = gj.config.threads
    address = team().addresses["team_run"]  # sets the host up for the compiler
    machine = target_machine()
    engine = llvm.create_mcjit_compiler(optimize(_TEXT, machine), machine)
    engine.finalize_object()
    size: type[ctypes.c_int64] | type[ctypes.c_int32] = ctypes.c_int64
    take = engine.get_function_address("by_team")
    if kind == "openmp":
        runtime = ctypes.CDLL("libgomp.so.1").GOMP_parallel
        address = ctypes.cast(runtime, ctypes.c_void_p).value
        size, take = ctypes.c_int32, engine.get_function_address("by_openmp")
    loop = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p, size)(take)
    found: dict[str, list[float]] = {"in a row": [], "apart": []}
    loop(CALLS, address, threads)
    for _ in range(rounds):
        started = time.perf_counter_ns()
        loop(CALLS, address, threads)
        found["in a row"].append((time.perf_counter_ns() - started) / CALLS / 1e3)
        apart = []
        for _ in range(20):
            time.sleep(200e-6)
            started = time.perf_counter_ns()
            loop(1, address, threads)
            apart.append((time.perf_counter_ns() - started) / 1e3)
        found["apart"].append(statistics.median(apart))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.kind:
        print(json.dumps(measured(args.kind, args.rounds)))
        return
    rows = []
    for name, kind, policy in (
        ("graphjit's team", "team", "passive"),
        ("OpenMP, spinning", "openmp", "active"),
        ("OpenMP, sleeping", "openmp", "passive"),
    ):
        command = [sys.executable, __file__, "--kind", kind, "--rounds", str(args.rounds)]
        given = os.environ | {"OMP_WAIT_POLICY": policy}
        done = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
        if done.returncode:
            rows.append([name, "not here", done.stderr.strip().splitlines()[-1]])
            continue
        times = json.loads(done.stdout)
        cells = [f"{statistics.median(t):.2f} (least {min(t):.2f})" for t in times.values()]
        rows.append([name, *cells])
    print(measure.machine(), "\n")
    print(measure.table(["fork and join, µs", "in a row", "apart"], rows))


if __name__ == "__main__":
    main()
