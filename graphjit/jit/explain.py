"""A specialization in words: `f.explain(...)`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphjit.ir.cost_model import floor_ns, step_cost
from graphjit.ir.program import print_step

if TYPE_CHECKING:
    from graphjit.core.errors import SourceLine

    from .specialization import Specialization


def explain_specialization(specialization: Specialization) -> str:
    """A specialization in words: what it reads, requires and writes outside, steps with bytes
    and flops, decisions, times.
    """
    if specialization.program is None:
        return f"runs eagerly: {specialization.reason}"
    program = specialization.program
    lines = [f"{program.name}: {len(program.steps)} steps, arena {program.arena_bytes} bytes"]
    if program.fast_math:
        lines.append("fast_math")
    lines += _explain_state(specialization)
    for number, step in enumerate(program.steps):
        cost = step_cost(step, program.buffers)
        floor = floor_ns(step, program.buffers) / 1000
        lines.append(
            f"step {number}: {cost['bytes']:.0f} bytes, {cost['flops']:.0f} flops, "
            f"at least {floor:.3g} µs here"
        )
        lines += ["  " + line for line in print_step(step).splitlines()]
    lines += [f"result b{o} may lie where b{i} does, donated" for o, i in program.donated]
    lines += [f"not fused: {item}" for item in dict.fromkeys(program.decisions)]
    for name, before, after, ns in specialization.passes:
        lines.append(f"pass {name}: {before} -> {after}, {ns / 1e6:.2f} ms")
    if specialization.from_cache:
        lines.append("its code came from the cache")
    times = ", ".join(
        f"{name} {ns / 1e6:.2f} ms" for name, ns in specialization.times_ns.items()
    )
    lines.append(f"times: {times}")
    return "\n".join(lines)


def _explain_state(specialization: Specialization) -> list[str]:
    """What the Python code reads and writes besides arguments and results."""
    lines: list[str] = []
    parts = (specialization.sources, specialization.capture_types, specialization.source_lines)
    for source, (shape, dtype), line in zip(*parts, strict=True):
        name = "a constant array" if source is None else source.text
        lines.append(f"reads {name}: {dtype} of shape {list(shape)}{_place(line)}")
    lines += [f"reads and locks variable {v.name}" for v in specialization.variables]
    lines += [f"requires {guard}{_place(guard.line)}" for guard in specialization.guards]
    lines += [
        f"branches on a traced value, takes {branch.outcome}{_place(branch.source)}"
        for branch in specialization.branches
    ]
    if specialization.effects is not None:
        for target in specialization.effects.targets:
            if target.role == "leaf":
                name = f"argument {specialization.leaf_names[target.number]}"
            else:
                source = specialization.sources[target.number]
                name = "a constant array" if source is None else source.text
            lines.append(f"writes the elements of {name}")
        lines += [f"writes: {text}" for text in specialization.effects.texts]
    return lines


def _place(line: SourceLine | None) -> str:
    return "" if line is None else f"  ({line.describe()})"


__all__ = ["explain_specialization"]
