"""What the machine could do at best: bandwidth by footprint, multiply-adds, and a call's floor.

    python benchmarks/roofline.py

Three loops in LLVM IR run on all cores at once: copies (with plain and with streaming stores)
and reads of memory that is already mapped, at footprints from the first cache to main memory,
and chains of fused multiply-adds in registers. Takes nothing from graphjit, so that a slow
graphjit can't lower the bar.
"""

from __future__ import annotations

import ctypes
import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
import numpy as np

# in all [bytes], from the first cache of a core to many times the last
FOOTPRINTS = tuple(2**n for n in range(14, 29, 2))
# short, to fit between the time slices of other work
SAMPLE_S = 0.002
REPEAT = 15
# enough for a latency of 4 cycles at two a cycle, with registers to spare
CHAINS = 12
UNROLL = 4


@dataclass(frozen=True)
class Roofline:
    """What all cores reach together.

    copied, read: bandwidth [bytes/s] by footprint [bytes]; a copy counts both directions.
    flops: operations per second, two for each multiply-add.
    """

    footprints: tuple[int, ...]
    copied: tuple[float, ...]
    read: tuple[float, ...]
    flops: float

    def floor_s(self, read_bytes: int, written_bytes: int, flops: int) -> float:
        """The least time of a call: of its traffic or of its arithmetic, whichever is longer.

        As many bytes as are written are read at the rate of a copy; what else is read goes at
        the rate of reading. Both are rates at the footprint of the whole call.
        """
        footprint = read_bytes + written_bytes
        together = 2 * min(read_bytes, written_bytes) + max(0, written_bytes - read_bytes)
        alone = max(0, read_bytes - written_bytes)
        memory = together / self._at(footprint, self.copied)
        memory += alone / self._at(footprint, self.read)
        return max(memory, flops / self.flops)

    def _at(self, footprint: int, rates: Sequence[float]) -> float:
        places = [math.log(n) for n in self.footprints]
        return float(np.interp(math.log(footprint), places, rates))

    def __str__(self) -> str:
        first, last = self.footprints[0], self.footprints[-1]
        return (
            f"main memory ({last >> 20} MiB): copy {self.copied[-1] / 1e9:.1f} GB/s, "
            f"read {self.read[-1] / 1e9:.1f} GB/s; cache ({first >> 10} KiB): copy "
            f"{self.copied[0] / 1e9:.0f} GB/s, read {self.read[0] / 1e9:.0f} GB/s; "
            f"multiply-adds {self.flops / 1e9:.0f} GFLOP/s"
        )

    def or_better(self, other: Roofline) -> Roofline:
        """The best of two measurements of one machine."""
        return Roofline(
            self.footprints,
            tuple(map(max, self.copied, other.copied)),
            tuple(map(max, self.read, other.read)),
            max(self.flops, other.flops),
        )


def _loop(name: str, arguments: str, entry: str, phis: str, body: str, done: str) -> str:
    """A function that walks `count` steps, `times` times over."""
    return f"""
define void @{name}({arguments}, i64 %count, i64 %times) {{
entry:
  br label %again
again:
  %time = phi i64 [ 0, %entry ], [ %time_next, %after ]
  {entry}
  br label %step
step:
  %i = phi i64 [ 0, %again ], [ %i_next, %step ]
  {phis}
  {body}
  %i_next = add i64 %i, 1
  %more = icmp ult i64 %i_next, %count
  br i1 %more, label %step, label %after
after:
  {done}
  %time_next = add i64 %time, 1
  %on = icmp ult i64 %time_next, %times
  br i1 %on, label %again, label %end
end:
  ret void
}}
"""


def _text(lanes: int) -> str:
    """The loops as LLVM IR, for vectors of so many float32."""
    vector, integers = f"<{lanes} x float>", f"<{lanes} x i32>"

    def lines(template: str, count: int = UNROLL) -> str:
        return "\n  ".join(template.replace("#", str(k)) for k in range(count))

    def place(array: str) -> str:
        return lines(
            f"%at_{array}_# = getelementptr [{UNROLL} x {vector}], ptr %{array}, i64 %i, i64 #"
        )

    bytes_ = 4 * lanes
    load = lines(f"%v# = load {vector}, ptr %at_source_#, align {bytes_}")
    copies = []
    for name, hint in (("copy", ""), ("stream", ", !nontemporal !0")):
        store = lines(f"store {vector} %v#, ptr %at_target_#, align {bytes_}{hint}")
        body = "\n  ".join([place("source"), place("target"), load, store])
        copies.append(_loop(name, "ptr %target, ptr %source", "", "", body, ""))
    zero = "zeroinitializer"
    # an xor of bits instead of a sum: one cycle, so that only loads are waited for
    loads = lines(
        f"%v# = load {integers}, ptr %at_source_#, align {bytes_}\n"
        f"  %x#_next = xor {integers} %x#, %v#"
    )
    read = _loop(
        "read",
        "ptr %target, ptr %source",
        "",
        lines(f"%x# = phi {integers} [ {zero}, %again ], [ %x#_next, %step ]"),
        place("source") + "\n  " + loads,
        lines(f"store volatile {integers} %x#_next, ptr %target, align {bytes_}"),
    )
    fma = f"llvm.fma.v{lanes}f32"
    chains = _loop(
        "multiply_add",
        "ptr %target, ptr %source",
        f"%factor = load {vector}, ptr %source, align {bytes_}",
        lines(f"%x# = phi {vector} [ {zero}, %again ], [ %x#_next, %step ]", CHAINS),
        lines(
            f"%x#_next = call {vector} @{fma}({vector} %x#, {vector} %factor, "
            f"{vector} %factor)",
            CHAINS,
        ),
        lines(f"store volatile {vector} %x#_next, ptr %target, align {bytes_}", CHAINS),
    )
    declared = f"declare {vector} @{fma}({vector}, {vector}, {vector})\n!0 = !{{i32 1}}\n"
    return "".join([*copies, read, chains, declared])


class Loops:
    """The compiled loops."""

    def __init__(self) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        features = llvm.get_host_cpu_features()
        self.lanes = 16 if features.get("avx512f") else 8 if features.get("avx2") else 4
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=features.flatten(), opt=3
        )
        module = llvm.parse_assembly(_text(self.lanes))
        module.verify()
        self.engine = llvm.create_mcjit_compiler(module, machine)
        self.engine.finalize_object()

    def __getitem__(self, name: str) -> Callable[[int, int, int, int], None]:
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2)
        return kind(self.engine.get_function_address(name))


def _mapped(size_bytes: int) -> tuple[np.ndarray[Any, Any], int]:
    """Memory that is written already, and the first address in it that starts a page."""
    # the factor of the multiply-adds too: ordinary numbers, which no unit is slow at
    array = np.full(size_bytes // 4 + 1024, 0.5, np.float32)
    return array, (array.ctypes.data + 4095) // 4096 * 4096


def measured() -> Roofline:
    """Measure this machine; takes about two seconds."""
    loops = Loops()
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    vector_bytes = 4 * loops.lanes
    with ThreadPoolExecutor(threads) as pool:

        def seconds(name: str, size_bytes: int, count: int) -> float:
            """The time of one pass of every thread over its own arrays, at best."""
            arrays = [(_mapped(size_bytes), _mapped(size_bytes)) for _ in range(threads)]
            loop = loops[name]

            def run(times: int) -> float:
                started = time.perf_counter()
                waiting = [pool.submit(loop, t[1], s[1], count, times) for t, s in arrays]
                for one in waiting:
                    one.result()
                return time.perf_counter() - started

            times = 1
            while run(times) < SAMPLE_S:
                times *= 2
            return min(run(times) for _ in range(REPEAT)) / times

        copied, read = [], []
        for footprint in FOOTPRINTS:
            half = footprint // 2 // threads
            count = half // (vector_bytes * UNROLL)
            both = min(seconds(name, half, count) for name in ("copy", "stream"))
            copied.append(2 * count * vector_bytes * UNROLL * threads / both)
            whole = footprint // threads
            count = whole // (vector_bytes * UNROLL)
            once = seconds("read", whole, count)
            read.append(count * vector_bytes * UNROLL * threads / once)
        steps = 10_000
        once = seconds("multiply_add", vector_bytes, steps)
    flops = 2 * loops.lanes * CHAINS * steps * threads / once
    return Roofline(FOOTPRINTS, _falling(copied), _falling(read), flops)


def _falling(rates: Sequence[float]) -> tuple[float, ...]:
    """Each rate or the best one of a larger footprint: a disturbed sample is no limit."""
    return tuple(np.maximum.accumulate(rates[::-1])[::-1].tolist())


if __name__ == "__main__":
    roofline = measured()
    print(roofline)
    for footprint, copied, read in zip(
        roofline.footprints, roofline.copied, roofline.read, strict=True
    ):
        print(
            f"{footprint >> 10:>8} KiB  copy {copied / 1e9:6.1f}  read {read / 1e9:6.1f} GB/s"
        )
