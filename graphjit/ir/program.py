"""Program: what the passes hand to the code generator.

A Program is a list of steps over buffers. Most steps are Kernels: one loop nest each, over
*dims*, the last `inner` of which are walked inside one outer point (reductions, scans, and
what reads their results). A Kernel's values are scalar expressions in SSA form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from textwrap import indent
from typing import Any, TypeVar, cast

from graphjit.core.dims import Dim, Guard
from graphjit.core.errors import SourceLine
from graphjit.core.frozen import dataclass
from graphjit.core.types import DType, TensorType
from graphjit.ops.primitive import Attrs, Primitive

# The offset of a temporary that no memory plan has placed.
UNPLANNED = -1
# Where temporaries begin [bytes]: a cache line, and the widest vector.
ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Buffer:
    """A dense array in C order.

    role: "input" (`index`: which parameter), "output" and "update" (`index`: which one),
    "constant" (`value`: the array), "library" (`index`: the step that makes it), "temporary"
    (`offset_bytes` in the arena, once planned) or "local" (of which a row block keeps the rows
    at hand, `offset_bytes` in the room it has for them).
    """

    type: TensorType
    role: str
    index: int = 0
    value: Any = field(default=None, compare=False)
    offset_bytes: int = UNPLANNED


@dataclass(frozen=True, slots=True)
class Index:
    """An element's place: offset + the sum of strides times dims, counted in elements."""

    offset: int
    strides: tuple[int, ...]

    def __str__(self) -> str:
        terms = [f"{s}*d{k}" if s != 1 else f"d{k}" for k, s in enumerate(self.strides) if s]
        if self.offset or not terms:
            terms.append(str(self.offset))
        return " + ".join(terms)


@dataclass(frozen=True, slots=True)
class Load:
    """An element of a buffer."""

    buffer: int
    index: Index
    dtype: DType


@dataclass(frozen=True, slots=True)
class Constant:
    """The same number everywhere."""

    number: Any
    dtype: DType


@dataclass(frozen=True, slots=True)
class IndexValue:
    """An index as a value (int64)."""

    index: Index
    dtype: DType


@dataclass(frozen=True, slots=True)
class Compute:
    """A pointwise primitive of earlier values."""

    primitive: Primitive
    attrs: Attrs
    args: tuple[int, ...]
    dtype: DType
    source: SourceLine | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class DynamicIndex:
    """One index that is data: value `arg`, which must be in range(extent), times stride."""

    arg: int
    extent: int
    stride: int


@dataclass(frozen=True, slots=True)
class GatherLoad:
    """An element of a buffer at a place that depends on values."""

    buffer: int
    index: Index
    choices: tuple[DynamicIndex, ...]
    dtype: DType
    source: SourceLine | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Reduction:
    """Value `arg` combined over all inner dims. `place`: an element's number, if asked for."""

    primitive: Primitive
    arg: int
    place: Index | None
    arg_dtype: DType
    dtype: DType


@dataclass(frozen=True, slots=True)
class ScanValue:
    """Value `arg` combined over the inner dim up to here."""

    primitive: Primitive
    arg: int
    arg_dtype: DType
    dtype: DType


@dataclass(frozen=True, slots=True)
class Product:
    """A matrix product's element: the sum over the inner dim of `a` times `b`, both loads, by
    fused multiply-adds in order, block by block (codegen decides how long a block is).
    """

    a: int
    b: int
    dtype: DType


Value = Load | Constant | IndexValue | Compute | GatherLoad | Reduction | ScanValue | Product


@dataclass(frozen=True, slots=True)
class Store:
    """A value written to a buffer; with choices, combined in by a scatter primitive."""

    buffer: int
    index: Index
    arg: int
    choices: tuple[DynamicIndex, ...] = ()
    primitive: Primitive | None = None
    attrs: Attrs = ()
    source: SourceLine | None = field(default=None, compare=False)


def indices_of(value: Value | Store) -> list[Index]:
    """The affine indices in a value or store."""
    if type(value) is Compute or type(value) is Constant:
        return []
    match value:
        case Load() | IndexValue() | GatherLoad() | Store():
            return [value.index]
        case Reduction() if value.place is not None:
            return [value.place]
    return []


def arguments(value: Value) -> tuple[int, ...]:
    """The values that a value is computed from."""
    match value:
        case Compute(args=args):
            return args
        case Product(a=a, b=b):
            return (a, b)
        case Reduction(arg=arg) | ScanValue(arg=arg):
            return (arg,)
        case GatherLoad(choices=choices):
            return tuple(c.arg for c in choices)
    return ()


def exact_key(item: Value | Store) -> tuple[Value | Store, str]:
    """A value or store as a key: 0.0 and -0.0 are equal, and are not the same constant."""
    match item:
        case Constant():
            return item, repr(item.number)
        case Compute() | Store() if item.attrs:
            return item, repr(item.attrs)
    return item, ""


ValueOrStore = TypeVar("ValueOrStore", bound=Value | Store)


def map_indices(value: ValueOrStore, function: Callable[[Index], Index]) -> ValueOrStore:
    """The value or store with its indices replaced."""
    if type(value) is Compute or type(value) is Constant:
        return value
    changed: Any = value
    match value:
        case Load() | IndexValue() | GatherLoad() | Store():
            changed = replace(value, index=function(value.index))
        case Reduction() if value.place is not None:
            changed = replace(value, place=function(value.place))
    return cast(ValueOrStore, changed)


def renumber_arguments(item: ValueOrStore, number_of: Mapping[int, int]) -> ValueOrStore:
    """The value or store with other numbers for the values that it is computed from."""

    def renumber(choices: tuple[DynamicIndex, ...]) -> tuple[DynamicIndex, ...]:
        return tuple(DynamicIndex(number_of[c.arg], c.extent, c.stride) for c in choices)

    changed: Any = item
    match item:
        case Compute(args=args):
            changed = replace(item, args=tuple(number_of[a] for a in args))
        case Product(a=a, b=b):
            changed = replace(item, a=number_of[a], b=number_of[b])
        case Reduction(arg=arg) | ScanValue(arg=arg):
            changed = replace(item, arg=number_of[arg])
        case GatherLoad(choices=choices):
            changed = replace(item, choices=renumber(choices))
        case Store(arg=arg, choices=choices):
            changed = replace(item, arg=number_of[arg], choices=renumber(choices))
    return cast(ValueOrStore, changed)


@dataclass(frozen=True, slots=True)
class Kernel:
    """One loop nest: for every point of the outer dims, walk the inner dims as often as needed.

    lanes: "inner" if the last inner dim is the last axis of what is reduced, so that vector
    lanes go along it; else "outer". nodes: the graph nodes it computes, for dumps.
    """

    name: str
    dims: tuple[int, ...]
    inner: int
    lanes: str
    values: tuple[Value, ...]
    stores: tuple[Store, ...]
    nodes: tuple[int, ...] = field(default=(), compare=False)

    @property
    def outer_dims(self) -> tuple[int, ...]:
        """Extents of the dims that may run in parallel."""
        return self.dims[: len(self.dims) - self.inner]

    @property
    def inner_dims(self) -> tuple[int, ...]:
        """Extents of the dims walked inside one outer point."""
        return self.dims[len(self.dims) - self.inner :]


def values_for_stores(
    kernel: Kernel, stores: Sequence[Store], end: int | None = None
) -> set[int]:
    """The values that stores need, each with those that it is computed from.

    end: a value whose own arguments aren't followed
    """
    todo = [s.arg for s in stores] + [c.arg for s in stores for c in s.choices]
    found: set[int] = set()
    while todo:
        number = todo.pop()
        if number not in found:
            found.add(number)
            if number != end:
                todo += arguments(kernel.values[number])
    return found


def merge_outer(kernel: Kernel, first: int = 0, last: int = 0) -> Kernel:
    """The kernel with neighbouring outer dims merged where all accesses allow it, but for the
    `first` ones and the `last` ones.
    """
    while True:
        indices = [i for v in (*kernel.values, *kernel.stores) for i in indices_of(v)]
        for low in range(first + 1, len(kernel.outer_dims) - last):
            if all(i.strides[low - 1] == i.strides[low] * kernel.dims[low] for i in indices):
                kernel = _merged(kernel, low)
                break
        else:
            return kernel


def _merged(kernel: Kernel, low: int) -> Kernel:
    dims = list(kernel.dims)
    dims[low] *= dims[low - 1]
    del dims[low - 1]

    def drop(index: Index) -> Index:
        return Index(index.offset, (*index.strides[: low - 1], *index.strides[low:]))

    values = tuple(map_indices(v, drop) for v in kernel.values)
    stores = tuple(map_indices(s, drop) for s in kernel.stores)
    return replace(kernel, dims=tuple(dims), values=values, stores=stores)


@dataclass(frozen=True, slots=True)
class LibraryCall:
    """A routine of NumPy or SciPy, called from Python between native segments.

    several: it gives a tuple, one array for each of `outputs`.
    """

    primitive: Primitive
    attrs: Attrs
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    several: bool
    source: SourceLine | None = field(default=None, compare=False)
    nodes: tuple[int, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class RowBlock:
    """Steps [first, stop), all kernels over the same rows, which run one after another for
    `part` rows at a time. bytes: the room that the local buffers of a part take.
    """

    first: int
    stop: int
    rows: int
    part: int
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class RegionCall:
    """Control flow: `primitive` runs programs, one for each region of the node that it was, and
    gives one array for each of `outputs`.

    scratch: the buffer that has its own values and the programs' temporaries, where all of it
        is machine code; -1 where Python runs it, between native segments
    """

    primitive: Primitive
    attrs: Attrs
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    programs: tuple[Any, ...]  # Programs; once compiled, CompiledPrograms
    source: SourceLine | None = field(default=None, compare=False)
    nodes: tuple[int, ...] = field(default=(), compare=False)
    scratch: int = -1


Step = Kernel | LibraryCall | RegionCall


@dataclass(frozen=True, slots=True)
class Program:
    """Steps in order over buffers.

    inputs: the buffer of each parameter. outputs, updates: the buffers of results, and of
    variables' new values. decisions: what the planner did and why, for `explain`. fast_math:
    code may contract, multiply by reciprocals and take the quicker functions. symbols: those
    of symbolic extents, whose sizes a call brings in this order. guards: what these fulfil.
    donated: pairs (a result's buffer, an input's), where the first may lie where the second
    does.
    """

    name: str
    buffers: tuple[Buffer, ...]
    steps: tuple[Step, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    updates: tuple[int, ...]
    arena_bytes: int = 0
    row_blocks: tuple[RowBlock, ...] = ()
    decisions: tuple[str, ...] = field(default=(), compare=False)
    fast_math: bool = False
    symbols: tuple[str, ...] = ()
    guards: tuple[Guard, ...] = field(default=(), compare=False)
    donated: tuple[tuple[int, int], ...] = ()

    def __str__(self) -> str:
        return print_program(self)


def reads_and_writes(step: Step) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The buffers a step reads and those it writes."""
    match step:
        case Kernel():
            read = [v.buffer for v in step.values if isinstance(v, (Load, GatherLoad))]
            written = [s.buffer for s in step.stores]
            return tuple(dict.fromkeys(read)), tuple(dict.fromkeys(written))
        case RegionCall() if step.scratch >= 0:
            return step.inputs, (*step.outputs, step.scratch)
        case LibraryCall() | RegionCall():
            return step.inputs, step.outputs


def map_programs(program: Program, function: Callable[[Program], Program]) -> Program:
    """The program with those inside its steps replaced; itself where none changes."""
    if not any(isinstance(step, RegionCall) for step in program.steps):
        return program
    steps = tuple(
        replace(step, programs=tuple(map(function, step.programs)))
        if isinstance(step, RegionCall)
        else step
        for step in program.steps
    )
    return program if steps == program.steps else replace(program, steps=steps)


def _print_attrs(attrs: Attrs) -> str:
    from .text import _print_attr

    shown = ", ".join(f"{name}={_print_attr(value)}" for name, value in attrs)
    return f"{{{shown}}}" if shown else ""


def _print_value(value: Value) -> str:
    match value:
        case Load():
            return f"load b{value.buffer}[{value.index}]"
        case Constant():
            return f"const {value.number!r}"
        case IndexValue():
            return f"place {value.index}"
        case Compute():
            args = ", ".join(f"%{a}" for a in value.args)
            return f"{value.primitive.name}{_print_attrs(value.attrs)} {args}"
        case GatherLoad():
            return f"load b{value.buffer}[{value.index}{_print_choices(value.choices)}]"
        case Reduction():
            return f"reduce {value.primitive.name} %{value.arg}"
        case ScanValue():
            return f"running {value.primitive.name} %{value.arg}"
        case Product():
            return f"product %{value.a} %{value.b}"


def _print_choices(choices: tuple[DynamicIndex, ...]) -> str:
    return "".join(f" + {c.stride}*%{c.arg}" for c in choices)


def print_kernel(kernel: Kernel) -> str:
    """A kernel as text."""
    outer = ", ".join(f"d{k} < {n}" for k, n in enumerate(kernel.outer_dims))
    start = len(kernel.outer_dims)
    inner = ", ".join(f"d{start + k} < {n}" for k, n in enumerate(kernel.inner_dims))
    lines = [f"kernel {kernel.name} [{outer}]" + (f" [{inner}]" if kernel.inner else "")]
    for number, value in enumerate(kernel.values):
        lines.append(f"  %{number}: {value.dtype.short} = {_print_value(value)}")
    for store in kernel.stores:
        how = ""
        if store.primitive is not None:
            how = f" by {store.primitive.name}{_print_attrs(store.attrs)}"
        place = f"{store.index}{_print_choices(store.choices)}"
        lines.append(f"  store %{store.arg} -> b{store.buffer}[{place}]{how}")
    return "\n".join(lines)


def print_step(step: Step) -> str:
    """A step as text."""
    match step:
        case Kernel():
            return print_kernel(step)
        case LibraryCall():
            read = ", ".join(f"b{i}" for i in step.inputs)
            written = ", ".join(f"b{i}" for i in step.outputs)
            return f"call {step.primitive.name}{_print_attrs(step.attrs)} {read} -> {written}"
        case RegionCall():
            read = ", ".join(f"b{i}" for i in step.inputs)
            written = ", ".join(f"b{i}" for i in step.outputs)
            head = f"{step.primitive.name}{_print_attrs(step.attrs)} {read} -> {written}"
            inner = [indent(print_program(program), "  ") for program in step.programs]
            return "\n".join([head, *inner])


def print_row_block(program: Program, block: RowBlock) -> str:
    """A row block as text."""
    names = [
        step.name
        for step in program.steps[block.first : block.stop]
        if isinstance(step, Kernel)
    ]
    return f"row block of {', '.join(names)}: {block.part} of {block.rows} rows at a time"


def print_buffers(program: Program) -> str:
    """The buffers as text, with their places in the arena."""
    lines = [f"arena {program.arena_bytes} bytes"]
    for number, buffer in enumerate(program.buffers):
        placed = isinstance(buffer.offset_bytes, Dim) or buffer.offset_bytes != UNPLANNED
        match buffer.role:
            case "temporary":
                where = f" at {buffer.offset_bytes}" if placed else ""
            case "local":
                where = f" at {buffer.offset_bytes} of its row block" if placed else ""
            case "constant":
                where = ""
            case _:
                where = f" {buffer.index}"
        lines.append(f"b{number}: {buffer.type} {buffer.role}{where}")
    return "\n".join(lines)


def print_program(program: Program) -> str:
    """The program as text: buffers, then steps in order."""
    lines = [f"program {program.name}"]
    if program.fast_math:
        lines.append("fast_math")
    lines.append(print_buffers(program))
    lines += [print_step(step) for step in program.steps]
    lines += [print_row_block(program, b) for b in program.row_blocks]
    lines += [f"b{output} may lie where b{source} does" for output, source in program.donated]
    lines.append("return " + ", ".join(f"b{i}" for i in program.outputs))
    if program.updates:
        lines.append("update " + ", ".join(f"b{i}" for i in program.updates))
    return "\n".join(lines)
