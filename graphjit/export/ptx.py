"""A Python function as CUDA PTX: traced for arguments or specs, planned without what only a CPU
profits by, written for an architecture. Nothing here runs on a GPU.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graphjit.codegen.ptx.arch import DEFAULT, arch_named
from graphjit.codegen.ptx.manifest import Input, data, manifest, write
from graphjit.codegen.ptx.target import Assembly, compile_ptx, emit_program
from graphjit.core.errors import TracingError
from graphjit.core.frozen import dataclass
from graphjit.ir.graph import Graph
from graphjit.jit.specialization import Specialization
from graphjit.passes import PTX, Pass, optimized, program_of

from .traced import Traced, TracedSpecialization, as_call, check_open


@dataclass(frozen=True, slots=True)
class Export:
    """A function's PTX, where its inputs come from, and the graph that it was made of."""

    assembly: Assembly
    inputs: tuple[Input, ...]
    graph: Graph

    @property
    def text(self) -> str:
        """The PTX."""
        return self.assembly.text

    @property
    def manifest(self) -> dict[str, Any]:
        """What another program needs to launch it."""
        return manifest(self.assembly, self.inputs, self.file)

    @property
    def file(self) -> str:
        """The name of the PTX file."""
        name = "".join(c if c.isalnum() else "_" for c in self.assembly.program.name)
        return f"{name}.ptx"

    def write(self, folder: Path) -> list[Path]:
        """Write PTX, manifest.json and data files into a folder; the files."""
        listed = json.dumps(self.manifest, indent=1) + "\n"
        files = {self.file: self.text.encode(), "manifest.json": listed.encode()}
        files |= data(self.assembly, self.inputs)
        write(folder, files)
        return [folder / name for name in files]


class _OpenSpecialization(TracedSpecialization):
    """A specialization for all sizes, if there is PTX for all of them."""

    def compile(self, passes: Sequence[Pass], fast_math: bool = False) -> None:
        if self.sizes is not None and self.graph is not None:
            program = program_of(optimized(self.graph, passes), PTX)
            emit_program(program)  # Undecided, if there isn't


class _Traced(Traced):
    specialization_class = _OpenSpecialization


def export(
    target: Any, args: Sequence[Any], arch: str = DEFAULT, tensor_cores: str | None = None
) -> Export:
    """A function's PTX for arguments; a gj.TensorSpec stands for an array of its type.
    tensor_cores: the function's own, if None.
    """
    arch_named(arch)
    function, arrays = as_call(target, args, _Traced)
    tensor_cores = tensor_cores or function.tensor_cores
    specialization = function.specialization(*arrays)
    if specialization.graph is None:
        raise TracingError(specialization.reason)
    graph = optimized(specialization.graph, function.passes)
    program = program_of(graph, PTX)
    check_open(function, args, graph)
    return Export(compile_ptx(program, arch, tensor_cores), _inputs(specialization), graph)


def _inputs(specialization: Specialization) -> tuple[Input, ...]:
    """Where each input of the program comes from."""
    found = []
    captures = specialization.captures
    for role, number in specialization.parameter_order:
        if role == "leaf":
            found.append(Input(specialization.leaf_names[number], "argument"))
        elif role == "capture":
            found.append(Input(f"capture{number}", "capture", captures[number]))
        else:
            variable = specialization.variables[number]
            found.append(Input(variable.name, "variable", variable.cell.array))
    return tuple(found)


__all__ = ["Export", "export"]
