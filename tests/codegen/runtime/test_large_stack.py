"""Kernels with large frames, called by threads with small stacks."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import graphjit as gj
from graphjit.codegen.cpu import target
from graphjit.codegen.runtime import large_stack
from graphjit.codegen.runtime.runtime_symbols import SMALL_STACK_BYTES

CODE = """
import threading
import numpy as np, graphjit as gj

@gj.function(fallback="error")
def attention(q, k, v):
    s = q @ np.swapaxes(k, -1, -2) / 8.0
    s = np.exp(s - s.max(-1, keepdims=True))
    return (s / s.sum(-1, keepdims=True)) @ v

@gj.function(fallback="error")
def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)

@gj.function(fallback="error")
def picked(x, i):
    return (x @ x)[i]

v = gj.Variable(np.zeros((70, 70)))

@gj.function(fallback="error")
def step(x):
    v.assign_add(x @ x)
    return np.sort(x.sum(0))

rng = np.random.default_rng(0)
q, k, w = (rng.normal(size=(2, 700, 64)) for _ in range(3))
x, a = rng.normal(size=(3, 9000)), rng.normal(size=(70, 70))
inside, outside = np.array([3]), np.array([300])

def results():
    try:
        picked(a, outside)
    except IndexError as error:
        message = str(error)
    return [attention(q, k, w), softmax(x), picked(a, inside), step(a), np.array(message)]

expected = results()
done = []

def work():
    for _ in range(3):
        for got, wanted in zip(results(), expected):
            np.testing.assert_array_equal(got, wanted)
    done.append(True)

threading.stack_size(SIZE * 1024)
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert threading.stack_size() == SIZE * 1024
np.testing.assert_allclose(v.numpy(), a @ a * 7)
print(len(done))
"""


@pytest.mark.parametrize("after", ["0", "never"])
@pytest.mark.parametrize(("size", "threads"), [(128, "2"), (512, "1")])
def test_threads_with_small_stacks(size: int, threads: str, after: str) -> None:
    names = {"GRAPHJIT_NATIVE_AFTER": after, "GRAPHJIT_NUM_THREADS": threads}
    done = subprocess.run(
        [sys.executable, "-c", CODE.replace("SIZE", str(size))],
        env={**os.environ, **names},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.strip() == "2", done.stderr[-2000:]


def asks(fn: Any, *args: Any) -> bool:
    text = target.emit_program(fn.specialization(*args).program).text
    return "%shallow" in text


def test_only_large_frames_ask_for_the_stack() -> None:
    assert not asks(gj.function(lambda x: np.exp(x) + 1), np.ones((500, 500)))
    assert asks(gj.function(lambda x: x @ x), np.ones((500, 500)))


def test_sizes_of_frames() -> None:
    lines = [
        "  %a = alloca [512 x double], align 64",
        "  %a = alloca [128 x <8 x float>]",
        "  %a = alloca <512 x i64>, align 64",
        "  %a = alloca [4096 x i1]",
    ]
    for line in lines:
        assert large_stack.needs_large_stack([line]), line
        assert large_stack.needs_large_stack(
            [line.replace("512", "256").replace("128", "64")] * 2
        )
    assert not large_stack.needs_large_stack(["  %a = alloca [511 x ptr]", "%b = alloca i32"])
    assert SMALL_STACK_BYTES == 4096


def test_a_thread_raises_what_its_call_raises() -> None:
    def fails(*_: Any) -> int:
        raise ZeroDivisionError("here")

    with pytest.raises(ZeroDivisionError, match="here"):
        large_stack.run_on_large_stack(fails, ())
    assert large_stack.run_on_large_stack(lambda a, b: a + b, (1, 2)) == 3


def test_no_memory_for_a_thread(monkeypatch: Any) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(large_stack.threading.Thread, "start", refuse)
    with pytest.raises(gj.errors.OutOfMemoryError, match="thread"):
        large_stack.run_on_large_stack(lambda: 0, ())
