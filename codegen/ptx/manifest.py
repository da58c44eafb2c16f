"""The manifest of a program's PTX, as JSON: all that another program needs to launch it.

It lists buffers, kernels in order with their arguments, launches as expressions over the sizes,
and what failures mean. Expressions are integers, or texts of integers, symbols, `+`, `-`, `*`,
`//` (rounded down) and brackets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphjit.codegen.runtime.compiled import where_symbols
from graphjit.core.dims import Dim
from graphjit.core.frozen import dataclass
from graphjit.ir.program import Buffer

from .checks import INITIAL, POINT_SHIFT, STATUS_WORDS, STEP_SHIFT
from .emit import ALIGNMENT
from .target import Assembly, KernelCall

Array = np.ndarray[Any, np.dtype[Any]]
Json = dict[str, Any]
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Input:
    """Where an input's data come from.

    role: "argument", "capture" or "variable"
    value: the data, unless it is an argument
    """

    name: str
    role: str
    value: Any = None


def expression(n: int) -> int | str:
    """An extent or the like, for JSON."""
    return n.text if isinstance(n, Dim) else n


def manifest(assembly: Assembly, inputs: Sequence[Input], file: str) -> Json:
    """The manifest. file: the name of the file with the PTX."""
    program = assembly.program
    return {
        "format": FORMAT,
        "name": program.name,
        "file": file,
        "arch": assembly.arch.name,
        "ptx_version": assembly.arch.version,
        "tensor_cores": assembly.tensor_cores,
        "symbols": _symbols(assembly),
        "guards": [
            {"left": expression(g.left), "relation": g.relation} for g in program.guards
        ],
        "alignment": ALIGNMENT,
        "arena_bytes": expression(program.arena_bytes),
        "buffers": [
            {"id": number, **_buffer(number, buffer, inputs)}
            for number, buffer in enumerate(program.buffers)
        ],
        "inputs": list(program.inputs),
        "outputs": list(program.outputs),
        "updates": list(program.updates),
        "status": {
            "words": STATUS_WORDS,
            "bytes_each": 8,
            "initial": INITIAL,
            "step_shift": STEP_SHIFT,
            "point_shift": POINT_SHIFT,
            "meaning": "word 0 is `initial`, or the least step * 2^step_shift + point * "
            "2^point_shift + value of the checks that failed; then launch all kernels again "
            "with the status as it is: the words after it are the check's {0}, {1}, {2}",
        },
        "kernels": [_kernel(assembly, call) for call in assembly.calls],
    }


def _symbols(assembly: Assembly) -> list[Json]:
    """Each symbol with the input's axis whose extent, divided by a factor, is its size."""
    program = assembly.program
    positions = where_symbols(program.buffers, program.inputs)
    listed = []
    for name in program.symbols:
        number, axis, factor = positions[name]
        source = {"buffer": program.inputs[number], "axis": axis, "factor": factor}
        listed.append({"name": name, **source})
    return listed


def _buffer(number: int, buffer: Buffer, inputs: Sequence[Input]) -> Json:
    type = buffer.type
    entry: Json = {
        "role": buffer.role,
        "dtype": type.dtype.name,
        "itemsize": type.dtype.size,
        "shape": [expression(n) for n in type.shape],
        "bytes": expression(type.nbytes),
    }
    if buffer.role == "input":
        given = inputs[buffer.index]
        entry |= {"name": given.name, "from": given.role}
        if given.value is not None:
            entry["file"] = data_file(number)
    if buffer.role == "constant":
        entry["file"] = data_file(number)
    if buffer.role == "temporary":
        entry["offset"] = expression(buffer.offset_bytes)
    return entry


def data_file(number: int) -> str:
    """The name of the file with a buffer's data: elements in C order, little-endian."""
    return f"buffer{number}.bin"


def _kernel(assembly: Assembly, call: KernelCall) -> Json:
    arguments: list[Json] = [
        {"buffer": number, "written": number in call.stored} for number in call.buffers
    ]
    if call.status:
        arguments.append({"status": True})
    arguments += [{"symbol": name, "dtype": "int64"} for name in assembly.program.symbols]
    return {
        "entry": call.entry,
        "step": call.step,
        "arguments": arguments,
        "block": [call.launch.threads, 1, 1],
        "grid": {
            "blocks": expression(call.launch.blocks),
            "least": 1,
            "most": call.launch.most,
        },
        "dynamic_shared_bytes": 0,
        "checks": [
            {
                "value": number,
                "message": check.reason,
                "op": check.op,
                "line": "" if check.source is None else check.source.describe(),
            }
            for number, check in call.checks
        ],
    }


def data(assembly: Assembly, inputs: Sequence[Input]) -> Mapping[str, bytes]:
    """The contents of the data files: constants, captured arrays, variables."""
    found: dict[str, bytes] = {}
    for number, buffer in enumerate(assembly.program.buffers):
        value: Any = None
        if buffer.role == "constant":
            value = buffer.value
        elif buffer.role == "input":
            value = inputs[buffer.index].value
        if value is not None:
            found[data_file(number)] = _little(np.asarray(value)).tobytes()
    return found


def _little(array: Array) -> Array:
    return array if array.dtype.kind == "V" else array.astype(array.dtype.newbyteorder("<"))


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder, which is made if there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


__all__ = ["Input", "data", "expression", "manifest", "write"]
