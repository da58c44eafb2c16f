"""A kernel run over a grid: arguments laid out, blocks run one after another."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from ptx.errors import ArgumentError
from ptx.machine import SPACE_BASE, Launch, Machine, Statistics
from ptx.memory import CONST, REGION_BITS, WRITTEN, Buffer, Memory, Store
from ptx.parse import Kernel, Module, Parameter, Variable, parse
from ptx.races import BlockRaces
from ptx.types import Type

__all__ = ["Memory", "Statistics", "launch", "parse"]

Size = int | tuple[int, ...]
# Shared memory of a block [bytes]: static, and with opting in (CUDA C Programming Guide,
# technical specifications per compute capability; 227 KB from sm_90 on).
STATIC_SHARED = 48 * 1024
MAXIMUM_SHARED = 227 * 1024


def launch(
    module: Module,
    name: str,
    grid: Size,
    block: Size,
    args: Sequence[Any],
    *,
    shared_bytes: int = 0,
    schedule: str | int = "lockstep",
    memory: Memory,
    seed: int = 0,
    cross_block_races: bool = True,
    steps: int = 1_000_000,
) -> Statistics:
    """Run a kernel; what it did stands in the memory, and in the statistics.

    `schedule` is "lockstep" or the seed of a random interleaving. `seed` moves the results of
    approximate functions. `cross_block_races` is for kernels whose blocks hand data to each
    other by fences and atomics, which the detector does not understand. `steps` is the
    greatest number of instructions of a block's groups.
    """
    if name not in module.kernels:
        raise ArgumentError(f"no kernel {name}; there are {', '.join(module.kernels)}")
    kernel = module.kernels[name]
    blocks, threads = _three(grid), _three(block)
    _check_block(kernel, threads)
    const = _place_variables(module, memory)
    shared, frame = _lay_out(module, kernel, shared_bytes)
    shuffled = schedule != "lockstep"
    statistics = Statistics()
    state = Launch(
        kernel=kernel,
        grid=blocks,
        block=threads,
        memory=memory,
        params=_arguments(kernel, args),
        const=const,
        shared_size=shared,
        dynamic_size=shared_bytes,
        frame_size=frame,
        random=np.random.default_rng([seed, int(schedule) if shuffled else 0]),
        shuffled=shuffled,
        block_races=BlockRaces(len(memory.store.octets)) if cross_block_races else None,
        statistics=statistics,
        steps=steps,
    )
    order = np.arange(int(np.prod(blocks)))
    if shuffled:
        order = state.random.permutation(order)
    for index in order:
        Machine(state, int(index)).run()
    return statistics


def _three(size: Size) -> tuple[int, int, int]:
    parts = (size,) if isinstance(size, int) else tuple(size)
    x, y, z = (*parts, 1, 1)[:3]
    if len(parts) > 3 or min(x, y, z) < 1:
        raise ArgumentError(f"a grid or block of {size}")
    return x, y, z


def _check_block(kernel: Kernel, threads: tuple[int, int, int]) -> None:
    total = int(np.prod(threads))
    if total > 1024:
        raise ArgumentError(f"{total} threads in a block, 1024 at most")
    if kernel.max_threads and total > np.prod(kernel.max_threads):
        raise ArgumentError(f"{total} threads in a block, .maxntid is {kernel.max_threads}")
    if kernel.required_threads and threads != (*kernel.required_threads, 1, 1)[:3]:
        raise ArgumentError(f"a block of {threads}, .reqntid is {kernel.required_threads}")


def _arguments(kernel: Kernel, args: Sequence[Any]) -> Store:
    """The parameters' bytes."""
    if len(args) != len(kernel.parameters):
        raise ArgumentError(
            f"{kernel.name} takes {len(kernel.parameters)} arguments, {len(args)} given"
        )
    last = kernel.parameters[-1].variable if args else None
    store = Store(last.address + last.size if last else 0)
    store.state[:] = 0
    for parameter, value in zip(kernel.parameters, args, strict=True):
        variable = parameter.variable
        data = _bytes(parameter, value)
        if len(data) != variable.size:
            raise ArgumentError(
                f"{variable.name} has {variable.size} bytes, {value!r} has {len(data)}"
            )
        part = slice(variable.address, variable.address + variable.size)
        store.octets[part] = np.frombuffer(data, np.uint8)
        store.state[part] = WRITTEN
    return store


def _bytes(parameter: Parameter, value: Any) -> bytes:
    type_ = parameter.type
    if isinstance(value, Buffer):
        if value.address % parameter.pointee:
            raise ArgumentError(
                f"{parameter.variable.name} promises alignment {parameter.pointee},"
                f" {value.name} is at {value.address:#x}"
            )
        return struct.pack("<Q", value.address)
    if isinstance(value, np.generic):
        if type_ and {type_.kind == "f", value.dtype.kind == "f"} == {True, False}:
            raise ArgumentError(f"{parameter.variable.name} is .{type_.name}, not {value!r}")
        return value.tobytes()
    if isinstance(value, bytes):
        return value
    if type_ is None:
        raise ArgumentError(f"{parameter.variable.name} is an aggregate: give its bytes")
    return _scalar(type_, value)


def _scalar(type_: Type, value: Any) -> bytes:
    """A Python number in a type that holds it."""
    if type_.kind == "f":
        return np.array([value], type_.dtype).tobytes()
    if not isinstance(value, int) or not (-(1 << (type_.bits - 1)) <= value < 1 << type_.bits):
        raise ArgumentError(f"{value!r} is no .{type_.name}")
    return (value & ((1 << type_.bits) - 1)).to_bytes(type_.size, "little")


def _place_variables(module: Module, memory: Memory) -> Store:
    """Give the variables of the module addresses; the constants' bytes are returned.

    Global variables live in the memory, and keep their values from launch to launch.
    """
    placed = memory.modules.setdefault(id(module), {})
    memory.kept.append(module)
    const_end = SPACE_BASE
    for variable in module.variables.values():
        if variable.space == "global":
            if variable.name not in placed:
                placed[variable.name] = memory.empty(
                    variable.size, np.uint8, name=variable.name
                )
            variable.address = placed[variable.name].address
        elif variable.space == "const":
            const_end = _align(const_end, variable.align)
            variable.address, const_end = const_end, const_end + variable.size
    const = Store(const_end)
    const.state[:] = 0
    for variable in module.variables.values():
        data = _initial(module, variable)
        if variable.space == "const":
            part = slice(variable.address, variable.address + variable.size)
            const.octets[part], const.state[part] = np.frombuffer(data, np.uint8), WRITTEN
        elif variable.space == "global" and not placed[variable.name].written():
            # Variables without a value start as zeros (PTX ISA 5.4.4).
            placed[variable.name].fill(np.frombuffer(data, np.uint8))
    return const


def _initial(module: Module, variable: Variable) -> bytes:
    data = bytearray(variable.data or bytes(variable.size))
    for offset, name, addend, generic in variable.links:
        if name not in module.variables:
            raise ArgumentError(f"{variable.name} points to {name}, which is not declared")
        target = module.variables[name]
        address = target.address + addend
        if generic and target.space == "const":
            address += CONST << REGION_BITS
        data[offset : offset + 8] = struct.pack("<Q", address)
    return bytes(data)


def _align(offset: int, align: int) -> int:
    return -(-offset // align) * align


def _lay_out(module: Module, kernel: Kernel, shared_bytes: int) -> tuple[int, int]:
    """Place shared and local variables; bytes of shared memory, and of a thread's frame."""
    frame = SPACE_BASE
    shared = SPACE_BASE
    dynamic: list[Variable] = []
    found = [v for v in module.variables.values() if v.space == "shared"]
    for variable in found + kernel.variables:
        if variable.dynamic:
            dynamic.append(variable)
        elif variable.space == "shared":
            shared = _align(shared, variable.align)
            variable.address, shared = shared, shared + variable.size
        else:
            frame = _align(frame, variable.align)
            variable.address, frame = frame, frame + variable.size
    if shared - SPACE_BASE > STATIC_SHARED:
        raise ArgumentError(f"{shared - SPACE_BASE} bytes of static shared memory")
    if shared_bytes and not dynamic:
        raise ArgumentError(f"{kernel.name} has no dynamic shared memory")
    if dynamic:
        shared = _align(shared, max(variable.align for variable in dynamic))
        for variable in dynamic:
            variable.address = shared
        shared += shared_bytes
    if shared - SPACE_BASE > MAXIMUM_SHARED:
        raise ArgumentError(f"{shared - SPACE_BASE} bytes of shared memory")
    return shared - SPACE_BASE, _align(frame - SPACE_BASE, 16)
