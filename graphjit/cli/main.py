"""The command line: graphjit dump, explain, run, ptx, passes, machine and cache.

Takes a function by file or module and its arguments as text. Gives the stages that `stages`
makes, in colour on a terminal and as plain text elsewhere.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from graphjit import __version__
from graphjit.core.dims import USUAL
from graphjit.core.errors import (
    GraphJitError,
    InternalError,
    InvalidArgumentError,
    SourceLine,
    TracingError,
    UnsupportedError,
)
from graphjit.core.machine import keep, machine
from graphjit.export import traced
from graphjit.ir.graph import Graph
from graphjit.ir.program import print_program, print_row_block
from graphjit.ir.text import print_graph
from graphjit.passes import DEFAULT, LEVELS, PASSES, TARGETS, Pass, Pipeline

from . import compare, plans, stages
from .arguments import (
    TRACEBACK,
    Failure,
    arch_option,
    function_options,
    loaded,
    parse_argument,
    tensor_cores_option,
    traceback_option,
)
from .cache import cache_group
from .output import counted, duration, on_terminal, plural, show, show_table
from .session import Session, median

if TYPE_CHECKING:
    from graphjit.export.ptx import Export

DIFFERENT, NOT_TRACED, INTERNAL, INTERRUPTED = 1, 3, 4, 130
EPILOG = (
    "Exit codes: 0 done, 1 compiled and eager results differ, 2 wrong usage or an error in "
    "the user's code, 3 the function can't be traced, 4 an error of graphjit's own."
)


class Different(Failure):
    """Compiled and eager results are too far apart."""

    exit_code = DIFFERENT


class NotTraced(Failure):
    """The function works, but only eagerly."""

    exit_code = NOT_TRACED


class Internal(Failure):
    """An error of graphjit's own."""

    exit_code = INTERNAL


class _Commands(click.Group):
    """The commands; whatever they raise becomes one message and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except (click.ClickException, click.Abort, click.exceptions.Exit) as error:
            if isinstance(error, Failure):
                self._show_traceback(ctx, error.__cause__)
            raise
        except BrokenPipeError:
            raise
        except Exception as error:
            self._show_traceback(ctx, error)
            raise _failure(error) from error

    def _show_traceback(self, ctx: click.Context, error: BaseException | None) -> None:
        if error is not None and ctx.meta.get(TRACEBACK):
            click.echo("".join(traceback.format_exception(error)), err=True)


def _failure(error: Exception) -> Failure:
    text = _without_click(error)
    match error:
        case InternalError():
            return Internal(f"internal error: {text}")
        case TracingError():
            return NotTraced(f"can't be traced: {text}")
        case GraphJitError() | traced.CallError():
            return Failure(text)
        case MemoryError():
            return Failure(f"out of memory: {text}")
        case _:
            name = type(error).__name__
            return Internal(f"internal error: {name}: {text} (-v shows where)")


def _without_click(error: Exception) -> str:
    """The message, without Click's call, which stands where no line of the user's had run."""
    text = str(error)
    for frame, number in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        if frame.f_globals.get("__name__", "").startswith("click."):
            line = SourceLine(code.co_filename, number, code.co_name)
            text = text.replace(f"\n  {line.describe()}", "")
    return text


@click.group(cls=_Commands, epilog=EPILOG)
@click.version_option(__version__, prog_name="graphjit")
@traceback_option
def main() -> None:
    """See what graphjit makes of a Python function on arrays."""


FORMATS = ("text", "dot", "json", "svg")
_LANGUAGES = {
    "llvm": "llvm", "llvm-opt": "llvm", "asm": "gas", "ptx": "gas",
    "dot": "dot", "json": "json",
}  # fmt: skip


@main.command(epilog=EPILOG)
@function_options
@click.option(
    "--stage", default=stages.PIPELINE_STAGE, show_default=True,
    help="trace: the graph as traced. default: the graph after each default pass. A pipeline "
    "as simplify,dce or fold{max_bytes=16}: the graph after each of its passes. fuse, pack, "
    "row-blocks, divide, plan-memory, donate: the program after that pass. kernels, buffers, "
    " loops, llvm, llvm-opt, asm: what the whole default pipeline ends in. ptx: the "
    "same for a GPU.",
)  # fmt: skip
@arch_option
@tensor_cores_option
@click.option(
    "--format", "output_format", type=click.Choice(FORMATS),
    help="Text, or the (last) graph as a drawing or JSON; by the name of --output if not "
    "given. For the kernels stage, drawings are coloured by kernel.",
)  # fmt: skip
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Write to this file.")
def dump(
    target: str,
    arguments: tuple[str, ...],
    tensor: bool,
    stage: str,
    arch: str,
    tensor_cores: str | None,
    output_format: str | None,
    output: str | None,
) -> None:
    """Print a stage of a function's way to machine code.

    On a terminal, long constants are abbreviated; elsewhere graphs are whole and read back in.
    """
    specs = [parse_argument(text, tensor) for text in arguments]
    suffix = Path(output or "").suffix.removeprefix(".")
    output_format = output_format or (suffix if suffix in FORMATS else "text")
    stage = stage.strip()
    if stage in (*stages.PROGRAM_STAGES, *stages.PROGRAM_PASSES) and (
        output_format == "json" or (output_format != "text" and stage != "kernels")
    ):
        raise Failure(f"stage {stage} has no {output_format} format: it is no graph")
    if stage not in stages.STAGES:
        _parse_pipeline(stage)
    with loaded(target) as function:
        values = [spec.make() for spec in specs]
        if stage == "ptx":
            text = _export(function, values, arch, tensor_cores).text
        else:
            found = traced.trace_graph(function, values)
            abbreviate = output is None and on_terminal()
            text = _stage_text(*found, stage, output_format, abbreviate)
    if output is None:
        show(
            text.rstrip("\n"),
            _LANGUAGES.get(stage if output_format == "text" else output_format, "graph"),
        )
        return
    try:
        Path(output).write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    except OSError as error:
        raise Failure(f"{output} can't be written: {error.strerror}") from error


def _export(
    function: Any, values: Sequence[Any], arch: str, tensor_cores: str | None
) -> Export:
    """A function's PTX; what the user's code raises when it runs eagerly, it raises here."""
    from graphjit.export.ptx import export

    try:
        return export(function, values, arch, tensor_cores)
    except GraphJitError:
        raise
    except Exception as error:
        traced.run(*traced.as_call(function, values), eagerly=True)
        name = type(error).__name__
        raise TracingError(f"tracing raised {name}: {error}") from error


@main.command("ptx", epilog=EPILOG)
@function_options
@arch_option
@tensor_cores_option
@click.option(
    "-o", "--output", required=True, type=click.Path(file_okay=False), help="Into this folder.",
)  # fmt: skip
def ptx_command(
    target: str,
    arguments: tuple[str, ...],
    tensor: bool,
    arch: str,
    tensor_cores: str | None,
    output: str,
) -> None:
    """Write a function as CUDA PTX, with a manifest by which other programs can launch it.

    Beside NAME.ptx and manifest.json there is a file for each array that the function brings
    with it.
    """
    values = [parse_argument(text, tensor).make() for text in arguments]
    with loaded(target) as function:
        exported = _export(function, values, arch, tensor_cores)
    try:
        files = exported.write(Path(output))
    except OSError as error:
        raise Failure(f"{output} can't be written: {error.strerror}") from error
    click.echo(f"{exported.file}: {plural(len(exported.assembly.calls), 'launch')} for {arch}")
    for file in files:
        click.echo(str(file))


def _parse_pipeline(text: str, own: Sequence[Pass] = ()) -> Pipeline:
    try:
        return stages.parse_pipeline(text, own)
    except InvalidArgumentError as error:
        known = ", ".join(stages.STAGES)
        raise Failure(f"{error.args[0].splitlines()[0]}; the stages are {known}") from error


def _stage_text(
    graph: Graph,
    own: Sequence[Pass],
    fast_math: bool,
    stage: str,
    output_format: str,
    abbreviate: bool,
) -> str:
    if stage in stages.PROGRAM_STAGES:
        plan = plans.plan(graph, own, fast_math)
        if output_format == "text":
            return stages.print_stage(plan.program, stage)
        return _drawn(plan.graph, output_format, plan.kernel_of())
    if stage in stages.PROGRAM_PASSES:
        return print_program(stages.program_after(graph, stage, own, fast_math))
    if stage == "trace":
        return (
            print_graph(graph, abbreviate)
            if output_format == "text"
            else _drawn(graph, output_format)
        )
    steps = list(stages.run_passes(graph, _parse_pipeline(stage, own)))
    if output_format != "text":
        return _drawn(steps[-1].graph if steps else graph, output_format)
    fast = "    # fast_math" if fast_math else ""
    lines = [f"--- traced{fast}", print_graph(graph, abbreviate)]
    for step in steps:
        lines.append(step.header)
        if step.changed:
            lines.append(print_graph(step.graph, abbreviate))
    return "\n".join(lines)


def _drawn(graph: Graph, output_format: str, kernel_of: dict[int, int] | None = None) -> str:
    match output_format:
        case "dot":
            return graph.to_dot(kernel_of)
        case "svg":
            return graph.to_svg(kernel_of)
        case _:
            return graph.to_json()


@main.command(epilog=EPILOG)
@function_options
@click.option(
    "--target", "device", type=click.Choice(("cpu", "ptx")), default="cpu", show_default=True,
    help="What it is compiled for: this processor, or a GPU.",
)  # fmt: skip
@arch_option
@tensor_cores_option
def explain(
    target: str,
    arguments: tuple[str, ...],
    tensor: bool,
    device: str,
    arch: str,
    tensor_cores: str | None,
) -> None:
    """Say what a call runs: what was fused, what was not and why, and what each step costs."""
    if device == "ptx":
        _explain_ptx(target, arguments, tensor, arch, tensor_cores)
        return
    specs = [parse_argument(text, tensor) for text in arguments]
    with loaded(target) as function:
        session = Session(function, [spec.make() for spec in specs])
        plan = session.plan()
    program, graph = plan.program, plan.graph
    steps = plans.costs(plan)
    times = [0] * len(steps) if program.symbols else session.step_times_ns()
    fast = ", fast_math" if program.fast_math else ""
    click.echo(f"{program.name}: {plural(len(steps), 'step')}{fast}")
    rows = []
    for number, (cost, took) in enumerate(zip(steps, times, strict=True)):
        reached = [duration(took), f"{cost.floor_ns / took:.0%}"] if took else ["", ""]
        nodes = ", ".join(f"%{n} {graph.nodes[n].primitive.name}" for n in cost.nodes)
        amounts = [counted(cost.moved_bytes, "B"), counted(cost.flops, "")]
        rows.append(
            [str(number), cost.name, *amounts, duration(cost.floor_ns), *reached, nodes]
        )
    head = ("step", "what", "bytes", "flops", "floor", "takes", "reached", "nodes")
    show_table(head, rows, right="step bytes flops floor takes reached")
    for node, where in plan.repeated().items():
        numbers = ", ".join(map(str, where))
        click.echo(f"computed again: {plans.node_name(graph, node)} in steps {numbers}")
    for decision in plans.decisions(plan):
        click.echo(f"not fused: {decision}")
    for number, cost in enumerate(steps):
        if cost.library:
            names = ", ".join(plans.node_name(graph, node) for node in cost.nodes)
            click.echo(f"library: step {number} leaves native code for {names}")
    click.echo(f"native: {plural(plans.native_calls(program), 'call')}")
    click.echo(f"arena: {program.arena_bytes} bytes for temporaries")
    for block in program.row_blocks:
        click.echo(print_row_block(program, block))
    if program.symbols:
        click.echo(f"sizes are open: bytes and flops for extents of {USUAL} or more, no times")
    elif not any(cost.library for cost in steps):
        floor, took = sum(cost.floor_ns for cost in steps), session.least_ns()
        click.echo(
            f"roofline: a call takes {duration(took)}, the steps at least {duration(floor)} "
            f"on this machine ({floor / took:.0%}); its rates are "
            f"{'measured' if machine().measured else 'typical ones, see `graphjit machine`'}"
        )
    parts = session.specialization.times_ns
    click.echo("times: " + ", ".join(f"{name} {duration(ns)}" for name, ns in parts.items()))
    click.echo("--- optimized, the nodes named above")
    show(print_graph(graph, abbreviate=True))


def _explain_ptx(
    target: str,
    arguments: tuple[str, ...],
    tensor: bool,
    arch: str,
    tensor_cores: str | None,
) -> None:
    """What a GPU would run: launches, what ptxas says of them, the least that they can take."""
    from graphjit.codegen.ptx.usage import assembled, gpu_of, usage_of

    values = [parse_argument(text, tensor).make() for text in arguments]
    with loaded(target) as function:
        exported = _export(function, values, arch, tensor_cores)
    assembly, gpu, graph = exported.assembly, gpu_of(arch), exported.graph
    try:
        usage, report = usage_of(assembled(exported.text, arch)), ""
    except UnsupportedError as error:
        usage, report = {}, str(error)
    plan = plans.plan_of(graph, assembly.program)
    costs, rows, least = plans.costs(plan), [], 0.0
    for number, call in enumerate(assembly.calls):
        cost = costs[call.step]
        floor = gpu.floor_ns(cost.moved_bytes, cost.flops) if gpu else 0.0
        least += floor
        used = usage.get(call.entry)
        rows.append([
            str(number), call.entry, counted(cost.moved_bytes, "B"), counted(cost.flops, ""),
            duration(floor) if gpu else "", f"{call.launch.blocks}", str(call.launch.threads),
            str(used.registers) if used else "", str(used.shared_bytes) if used else "",
            f"{used.stack_bytes} + {used.spill_bytes}" if used else "",
            ", ".join(f"%{n} {graph.nodes[n].primitive.name}" for n in plan.nodes[call.step]),
        ])  # fmt: skip
    click.echo(f"{assembly.program.name}: {plural(len(rows), 'launch')} for {arch}")
    head = (
        "launch", "entry", "bytes", "flops", "floor", "blocks", "threads", "registers",
        "shared", "stack+spilled", "nodes",
    )  # fmt: skip
    show_table(head, rows, right="launch bytes flops floor blocks threads registers shared")
    if report:
        click.echo(f"registers and shared memory are unknown: {report}")
    if gpu:
        rates = f"{gpu.bytes_per_ns:,.0f} GB/s, {gpu.flops_per_ns / 1000:.3g} TFLOP/s"
        click.echo(
            f"roofline: the launches take at least {duration(least)} on {gpu.name}, by its "
            f"data sheet ({rates}); nothing of this was run on a GPU"
        )
    for decision in plans.decisions(plan):
        click.echo(f"not fused: {decision}")
    click.echo(f"arena: {assembly.program.arena_bytes} bytes for temporaries")
    click.echo("--- optimized, the nodes named above")
    show(print_graph(graph, abbreviate=True))


@main.command("run", epilog=EPILOG)
@function_options
@click.option("--compare-eager", is_flag=True, help="Run eagerly too, and compare.")
@click.option(
    "--ulps", default=256.0, show_default=True, type=click.FloatRange(min=0),
    help="Largest difference allowed, in units in the last place of an element or, where that "
    "is larger, of the result's mean size.",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Of the random inputs.")
@click.option(
    "--repeat", default=10, show_default=True, type=click.IntRange(min=1),
    help="How many batches of calls are timed.",
)  # fmt: skip
def run_command(
    target: str,
    arguments: tuple[str, ...],
    tensor: bool,
    compare_eager: bool,
    ulps: float,
    seed: int,
    repeat: int,
) -> None:
    """Run a function compiled, on random inputs or on files, and sum up its results.

    Floats are drawn from the normal distribution, integers from 0 to 9. Variables are as they
    were before each call.
    """
    specs = [parse_argument(text, tensor) for text in arguments]
    random = np.random.default_rng(abs(seed))
    with loaded(target) as function:
        session = Session(function, [spec.make(random) for spec in specs])
        results = session.results()
        expected = session.results(eagerly=True) if compare_eager else []
        compiled, eager = session.times_ns(repeat, compare_eager)
    rows = [(result.name, *_summary(result)) for result in results]
    show_table(("name", "type", "values"), rows)
    bad = compare_eager and not _show_differences(results, expected, ulps)
    made = sum(session.specialization.times_ns.values())
    line = f"compiled {duration(median(compiled))}"
    if compare_eager:
        line += f", eager {duration(median(eager))}"
    line += f" (median of {repeat}{', in turns' if compare_eager else ''})"
    if compare_eager:
        ratio = median(eager) / max(1.0, median(compiled))
        line += f": {ratio:.3g} times as fast"
    click.echo(f"{line}; made in {duration(made)}")
    if bad:
        raise Different("compiled and eager results differ")


def _show_differences(
    actual: Sequence[compare.Result], expected: Sequence[compare.Result], ulps: float
) -> bool:
    """Print how far results are from eager ones; whether all are near enough."""
    found = compare.differences(actual, expected)
    good = [not item.problem and item.ulps <= ulps for item in found]
    rows = [
        (item.name, f"{item.absolute:.3g}", f"{item.ulps:.3g}",
         "agrees" if fine else item.problem or f"more than {ulps:g} ulps")
        for item, fine in zip(found, good, strict=True)
    ]  # fmt: skip
    head = ("name", "difference", "ulps", "compared with eager")
    show_table(head, rows, right="difference ulps")
    return all(good)


def _summary(result: compare.Result) -> tuple[str, str]:
    if result.type is None:
        return type(result.value).__name__, repr(result.value)
    array = np.asarray(result.value)
    if not array.size:
        return str(result.type), "empty"
    if not array.shape:
        return str(result.type), str(array)
    if result.type.dtype.is_bool:
        return str(result.type), f"{int(array.sum())} of {array.size} true"
    shown = np.abs(array) if result.type.dtype.is_complex else array.astype(np.float64)
    size = "|x| " if result.type.dtype.is_complex else ""
    finite = shown[np.isfinite(shown)]
    parts = [f"{size}no finite element"]
    if finite.size:
        low, mean, high = finite.min(), finite.mean(), finite.max()
        parts = [f"{size}min {low:.6g}, mean {mean:.6g}, max {high:.6g}"]
    if finite.size < array.size:
        parts.append(f"{array.size - finite.size} not finite")
    return str(result.type), ", ".join(parts)


@main.command(epilog=EPILOG)
@traceback_option
def passes() -> None:
    """List the passes by level, their options, and each target's pipeline."""
    rows = []
    for level in LEVELS:
        for name, kind in PASSES.items():
            if kind.level == level:
                options = ", ".join(f"{f.name}={f.default!r}" for f in fields(kind))
                said = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
                rows.append((level, name, options, said))
    show_table(("level", "pass", "options", "what it does"), rows)
    click.echo(f"\ndefault: {DEFAULT}")
    for target in TARGETS.values():
        click.echo(f"{target.name}: default,{target.pipeline.at(*LEVELS[1:])}")


@main.command("machine", epilog=EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Print the description as JSON.")
@traceback_option
def machine_command(as_json: bool) -> None:
    """Measure this machine, and keep what was found for the cost model and rooflines."""
    from .calibrate import measure

    found = measure()
    path = keep(found)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=1))
        return
    rows = [(name, str(value)) for name, value in asdict(found).items()]
    show_table(("what", "this machine"), rows)
    click.echo(f"stored in {path}" if path else "not stored: the cache folder can't be written")


main.add_command(cache_group)
