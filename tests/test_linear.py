"""From the trace to LLVM's text, work grows with the number of ops and no faster.

Counted are the calls of Python functions, which don't depend on the machine.
"""

import sys

import numpy as np
import pytest

import graphjit as gj
from graphjit.codegen.cpu import target
from graphjit.core.errors import LONG_TABLE
from graphjit.ir import cost_model
from graphjit.ir.program import Kernel, reads_and_writes
from graphjit.jit.specialization import build_program
from graphjit.jit.trace_attempt import TraceAttempt
from tests.support.written_out import listed, written_out

rng = np.random.default_rng(0)


def matrix(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def chain(count):
    def turn(k):
        if k % 5 == 4:
            return "np.tanh(x)"
        return f"x * np.float32({1 + k / 1000}) + np.float32({k})"

    return written_out(turn, count // 2), (matrix(100),)


def results(count):
    return listed(lambda k: f"x * np.float32({k}) + 1", count // 2), (matrix(100),)


def parts(count):
    return lambda x: [x[: k % 90 + 5] * 2 for k in range(count // 2)], (matrix(100),)


def softmaxes(count):
    def function(x):
        for _ in range(count // 5):
            e = np.exp(x - np.max(x, axis=-1, keepdims=True))
            x = e / np.sum(e, axis=-1, keepdims=True)
        return x

    return function, (matrix(40, 40),)


def layers(count):
    def function(x, weights):
        for w in weights:
            x = np.maximum(x @ w + 1, 0)
        return x

    return function, (matrix(16, 48), [matrix(48, 48) for _ in range(count // 3)])


def large_layers(count):  # what goes between them is enough for row blocks
    function, _ = layers(count)
    return function, (matrix(512, 64), [matrix(64, 64) for _ in range(count // 3)])


def wide_sum(count):
    def function(xs):
        total = xs[0]
        for x in xs[1:]:
            total = total + x
        return total

    return function, ([matrix(50) for _ in range(count)],)


def gathers(count):
    def function(x, index):
        for _ in range(count // 2):
            x = x[index] + 1
        return x

    return function, (matrix(100), rng.integers(0, 100, 100))


def reshapes(count):  # each of them needs its operand stored
    def function(x):
        for _ in range(count // 4):
            x = x.T.reshape(60, 20).reshape(30, 40) * 2
        return x

    return function, (matrix(30, 40),)


def sums(count):
    item = lambda k: f"(x * np.float32({k})).sum(axis=0)"  # noqa: E731
    return listed(item, count // 2), (matrix(30, 40),)


def joins(count):
    def function(x):
        for _ in range(count // 3):
            x = np.concatenate([x[:50], x[50:] * 2]) + 1
        return x

    return function, (matrix(100),)


KINDS = (
    chain, results, parts, softmaxes, layers, large_layers, wide_sum, gathers, reshapes, sums,
    joins,
)  # fmt: skip


def calls_of(action):
    """What an action gives, and how many calls of Python functions it makes."""
    count = 0

    def note(frame, event, argument):
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        result = action()
    finally:
        sys.setprofile(None)
    return result, count


def work(kind, count):
    """Calls by stage, for a graph of about so many ops."""
    function, arguments = kind(count)
    traced = gj.function(function, fallback="error")
    graph, trace = calls_of(lambda: _traced(traced, arguments))
    program, plan = calls_of(lambda: build_program(graph))
    _, emit = calls_of(lambda: target.emit_program(program))
    return {"trace": trace, "passes and fusion": plan, "emission": emit}


def _traced(function, arguments):
    """The graph of a call, without compiling it."""
    call = function._reader.read(arguments, {})
    return TraceAttempt(function._definition, call).run().graph


@pytest.mark.parametrize("kind", KINDS)
def test_work_is_linear_in_the_number_of_ops(kind, monkeypatch):
    monkeypatch.setattr(gj.config, "verify", False)
    work(kind, 60)  # what is done once in a process
    small, large = work(kind, 300), work(kind, 1200)
    for stage, count in small.items():
        assert large[stage] < 4.6 * count, stage


def test_the_counting_sees_what_is_not_linear():
    def square(count):
        for _ in range(count):
            for _ in range(count):
                _nothing()

    counts = [calls_of(lambda n=n: square(n))[1] for n in (30, 120)]
    assert counts[1] > 15 * counts[0]


def _nothing():
    pass


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_are_of_bounded_size(kind):
    function, arguments = kind(1500)
    program = build_program(_traced(gj.function(function, fallback="error"), arguments))
    kernels = [step for step in program.steps if isinstance(step, Kernel)]
    assert kernels
    for kernel in kernels:
        assert len(kernel.values) <= cost_model.KERNEL_VALUES + 8
        assert len(reads_and_writes(kernel)[0]) <= cost_model.KERNEL_READS + 2
        assert len(kernel.stores) <= cost_model.SIBLINGS


def test_a_chain_in_several_kernels_gives_numpys_numbers():
    function, arguments = chain(1500)
    f = gj.function(function, fallback="error")
    np.testing.assert_allclose(f(*arguments), function(*arguments), rtol=1e-3)
    assert 1 < len(f.specializations[0].program.steps) < 10


def test_a_sum_of_many_arrays_is_exact():
    function, (arrays,) = wide_sum(300)
    f = gj.function(function, fallback="error")
    np.testing.assert_array_equal(f(arrays), function(arrays), strict=True)
    assert len(f.specializations[0].program.steps) > 1


def test_lines_of_a_long_function_are_right():
    lines = ["def long(x):"]
    for k in range(800):
        lines += [f"    x = x * {1 + k / 1000}", "", "    x = (x +", f"        {k}.5)"]
    space = {}
    exec(compile("\n".join([*lines, "    return x"]), "long.py", "exec"), space)
    assert len(space["long"].__code__.co_linetable) > LONG_TABLE
    function = gj.function(space["long"], fallback="error")
    ops = [n for n in _traced(function, (matrix(10),)).nodes if n.primitive.name in "add mul"]
    found = [n.source.line for n in ops]
    assert found == [2 + 4 * (k // 2) + 2 * (k % 2) for k in range(1600)]
    assert {n.source.file for n in ops} == {"long.py"}
