"""Launches a program from what `graphjit ptx` wrote, in the emulator: no graphjit here.

What another program, in any language, would have to do.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from ptx.launch import Memory, launch, parse

Array = np.ndarray[Any, Any]


class Failed(Exception):
    """A check of a kernel that failed."""


def evaluate(expression: Any, sizes: Mapping[str, int]) -> int:
    """An expression's value."""
    if isinstance(expression, int):
        return expression
    return _value(ast.parse(expression, mode="eval").body, sizes)


def _value(tree: ast.expr, sizes: Mapping[str, int]) -> int:
    match tree:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id=name):
            return sizes[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, sizes)
        case ast.BinOp(left=left, op=op, right=right):
            x, y = _value(left, sizes), _value(right, sizes)
            match op:
                case ast.Add():
                    return x + y
                case ast.Sub():
                    return x - y
                case ast.Mult():
                    return x * y
                case ast.FloorDiv():
                    return x // y
    raise ValueError(f"{ast.unparse(tree)} is no expression of a manifest")


def dtype_of(name: str) -> Any:
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def run(
    folder: Path, arguments: Sequence[Array], schedule: str | int = "lockstep"
) -> list[Array]:
    """The outputs and updates for these arguments, by what stands in a folder alone."""
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["format"] == 1
    module = parse((folder / manifest["file"]).read_text())
    memory, buffers = Memory(), manifest["buffers"]
    given = iter(arguments)
    held: dict[int, Any] = {}
    for number in manifest["inputs"]:
        buffer = buffers[number]
        array = contents(folder, buffer) if "file" in buffer else next(given)
        held[number] = memory.array(array, name=f"b{number}", readonly=True)
    sizes: dict[str, int] = {}
    for symbol in manifest["symbols"]:
        extent = held[symbol["buffer"]].shape[symbol["axis"]]
        sizes[symbol["name"]] = extent // symbol["factor"]
    for guard in manifest["guards"]:
        left = evaluate(guard["left"], sizes)
        if not {"==": left == 0, "!=": left != 0, ">=": left >= 0}[guard["relation"]]:
            raise ValueError(f"not for these sizes: {guard}")
    arena = memory.empty(evaluate(manifest["arena_bytes"], sizes), np.uint8, name="arena")
    for buffer in buffers:
        number, shape = buffer["id"], [evaluate(n, sizes) for n in buffer["shape"]]
        size = int(np.prod(shape, dtype=np.int64)) * buffer["itemsize"]
        assert evaluate(buffer["bytes"], sizes) == size
        match buffer["role"]:
            case "input":
                assert list(held[number].shape) == shape
            case "constant":
                held[number] = memory.array(contents(folder, buffer), readonly=True)
            case "temporary":
                offset = evaluate(buffer["offset"], sizes)
                assert offset % manifest["alignment"] == 0
                assert 0 <= offset <= offset + size <= arena.size
                held[number] = arena.address + offset
            case _:
                held[number] = memory.empty(tuple(shape), dtype_of(buffer["dtype"]))
    status = manifest["status"]
    words = np.zeros(status["words"], np.uint64)
    words[0] = status["initial"]
    told = memory.array(words, name="status")

    def launch_all() -> None:
        for kernel in manifest["kernels"]:
            listed = []
            for argument in kernel["arguments"]:
                if "buffer" in argument:
                    listed.append(held[argument["buffer"]])
                else:
                    listed.append(told if "status" in argument else sizes[argument["symbol"]])
            grid = kernel["grid"]
            blocks = min(grid["most"], max(grid["least"], evaluate(grid["blocks"], sizes)))
            launch(
                module, kernel["entry"], blocks, tuple(kernel["block"]), listed,
                memory=memory, shared_bytes=kernel["dynamic_shared_bytes"], schedule=schedule,
            )  # fmt: skip

    launch_all()
    if told.numpy()[0] != status["initial"]:
        launch_all()
        raise Failed(_message(manifest, told.numpy()))
    results = [held[n] for n in (*manifest["outputs"], *manifest["updates"])]
    assert all(result.written() for result in results)
    return [result.numpy() for result in results]


def _message(manifest: Any, words: Array) -> str:
    key, status = int(words[0]), manifest["status"]
    step = key >> status["step_shift"]
    value = key & (2 ** status["point_shift"] - 1)
    (kernel,) = (k for k in manifest["kernels"] if k["step"] == step)
    (check,) = (c for c in kernel["checks"] if c["value"] == value)
    details = words[1:].astype(np.int64).tolist()
    return f"{check['message'].format(*details)} [Op:{check['op']}] {check['line']}"


def contents(folder: Path, buffer: Any) -> Array:
    """What a buffer's file holds."""
    data = (folder / buffer["file"]).read_bytes()
    return np.frombuffer(data, dtype_of(buffer["dtype"])).reshape(buffer["shape"])
