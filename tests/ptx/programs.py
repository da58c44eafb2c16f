"""Programs of graphjit as PTX, run in the emulator launch by launch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ptx import ptxas
from ptx.launch import Memory, Statistics, launch, parse
from ptx.memory import Buffer

from graphjit.codegen.cpu.target import compile_program
from graphjit.codegen.ptx.target import Assembly, compile_ptx
from graphjit.codegen.ptx.usage import Usage, usage_of
from graphjit.core.errors import IndexOutOfRangeError, InvalidArgumentError
from graphjit.core.extents import evaluate
from graphjit.export.traced import trace_graph
from graphjit.ir.graph import Graph
from graphjit.ir.program import Program
from graphjit.ops.index import OUT_OF_RANGE
from graphjit.passes import PTX, optimized, program_of

Array = np.ndarray[Any, Any]
NOTHING_FAILED = 2**64 - 1


def graph_of(function: Callable[..., Any], *args: Any) -> Graph:
    """The optimised graph of a Python function."""
    graph, own, _ = trace_graph(function, args)
    return optimized(graph, own)


def on_cpu(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """The results of the CPU's code."""
    return compile_program(program_of(graph))[0](list(inputs))[0]


def planned(graph: Graph, arch: str = "sm_80", tensor_cores: str | None = None) -> Assembly:
    """The PTX of a graph as it is, without passes."""
    return compile_ptx(program_of(graph, PTX), arch, tensor_cores)


def run(
    assembly: Assembly,
    inputs: Sequence[Array],
    *,
    schedule: str | int = "lockstep",
    sizes: dict[str, int] | None = None,
    blocks: int = 0,
    steps: int = 1_000_000,
    statistics: list[Statistics] | None = None,
) -> list[Array]:
    """The results of the launches, in fresh memory. blocks: of every launch, if given.
    statistics: where what each launch did is appended.
    """
    program, memory, sizes = assembly.program, Memory(), sizes or {}
    held = buffers(program, inputs, memory, sizes)
    status = memory.array(np.array([NOTHING_FAILED, 0, 0, 0], np.uint64), name="status")
    module = parse(assembly.text)

    def launch_all() -> None:
        for call in assembly.calls:
            arguments: list[Any] = [held[n] for n in call.buffers]
            if call.status:
                arguments.append(status)
            arguments += [sizes[name] for name in program.symbols]
            grid = blocks or call.launch.grid(sizes)
            done = launch(
                module, call.entry, grid, call.launch.threads, arguments,
                memory=memory, schedule=schedule, steps=steps,
            )  # fmt: skip
            if statistics is not None:
                statistics.append(done)

    launch_all()
    key = int(status.numpy()[0])
    if key != NOTHING_FAILED:
        launch_all()
        assert int(status.numpy()[0]) == key, "a second launch found another failure"
        raise failure(assembly, key, status.numpy()[1:].astype(np.int64).tolist())
    results = [held[n] for n in (*program.outputs, *program.updates)]
    assert all(b.written() or not b.size for b in results), "a result has holes"
    return [b.numpy() for b in results]


def failure(assembly: Assembly, key: int, details: list[int]) -> Exception:
    """The error that a status stands for."""
    call = next(c for c in assembly.calls if c.step == key >> 50)
    check = dict(call.checks)[key & 1023]
    kind = IndexOutOfRangeError if check.reason == OUT_OF_RANGE else InvalidArgumentError
    return kind(check.reason.format(*details) + f" [Op:{check.op}]")


def buffers(
    program: Program, inputs: Sequence[Array], memory: Memory, sizes: dict[str, int]
) -> dict[int, Buffer]:
    """Device memory for all of a program's buffers; those that share a place share memory."""
    given = dict(zip(program.inputs, inputs, strict=True))
    rooms: dict[int, Buffer] = {}
    held: dict[int, Buffer] = {}
    for number, buffer in enumerate(program.buffers):
        type, name = buffer.type, f"b{number} {buffer.role}"
        shape = tuple(evaluate(n, sizes) for n in type.shape)
        if buffer.role == "constant":
            held[number] = memory.array(
                np.asarray(buffer.value).reshape(shape), name=name, readonly=True
            )
        elif number in given:
            held[number] = memory.array(
                np.asarray(given[number], type.dtype.dtype), name=name, readonly=True
            )
        elif buffer.role == "temporary":
            offset = evaluate(buffer.offset_bytes, sizes)
            size = evaluate(type.nbytes, sizes)
            if offset not in rooms or rooms[offset].size < size:
                rooms[offset] = memory.empty(size, np.uint8, name=f"arena {offset}")
        else:
            held[number] = memory.empty(shape, type.dtype.dtype, name=name)
    for number, buffer in enumerate(program.buffers):
        if buffer.role == "temporary":
            held[number] = rooms[evaluate(buffer.offset_bytes, sizes)]
    return held


def report(assembly: Assembly, arch: str) -> list[Usage]:
    """For each kernel what ptxas says."""
    found = usage_of(ptxas.assemble(assembly.text, arch))
    assert found.keys() == {call.entry for call in assembly.calls}
    return list(found.values())


__all__ = ["failure", "graph_of", "on_cpu", "planned", "report", "run"]
