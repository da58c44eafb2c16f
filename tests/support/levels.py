"""The levels of x86-64 that this processor runs code of, for tests that compare their bits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import llvmlite.binding as llvm

from graphjit.codegen.cpu import processor

# The ABI's levels by LLVM's names, and the one between the second and the third that has AVX
# and float16 conversions, but neither AVX2 nor FMA: what a processor needs to run them, and how
# long vectors are there [bytes].
_NEEDED = {
    "x86-64": ((), 16),
    "x86-64-v2": (("sse4.2", "popcnt"), 16),
    "ivybridge": (("avx", "f16c", "rdrnd", "fsgsbase"), 16),
    "x86-64-v3": (("avx2", "fma", "f16c", "bmi2", "lzcnt", "movbe"), 32),
    "x86-64-v4": (("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"), 64),
}


def _here() -> dict[str, processor.Processor]:
    processor.host()  # LLVM is ready now
    if not llvm.get_process_triple().startswith("x86_64"):
        return {}
    found = llvm.get_host_cpu_features()
    return {
        name: processor.Processor(name, "+f16c" if "f16c" in needed else "", vector_bytes)
        for name, (needed, vector_bytes) in _NEEDED.items()
        if all(found.get(feature) for feature in needed)
    }


LEVELS = _here()


def use(name: str) -> None:
    """Compile for a level from now on."""
    target = LEVELS[name]
    processor.host = lambda: target


@contextmanager
def level(name: str) -> Iterator[None]:
    """Compile for a level in a `with` block."""
    usual = processor.host
    use(name)
    try:
        yield
    finally:
        processor.host = usual


def sampled(number: int) -> list[str]:
    """Levels to compare with the host's own code: one, by the number of the case; all of them
    if `GRAPHJIT_LONG_TESTS` is set.
    """
    names = list(LEVELS)
    if os.environ.get("GRAPHJIT_LONG_TESTS") or not names:
        return names
    return [names[number % len(names)]]
