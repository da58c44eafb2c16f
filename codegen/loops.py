"""The loop IR: where and in what order a kernel's values are computed. Still no target."""

from __future__ import annotations

from graphjit.core.frozen import dataclass
from graphjit.core.types import DType
from graphjit.ir.program import Kernel, print_kernel


def register_bytes(dtype: DType) -> int:
    """Bytes that an element takes in a register: narrow floats are held as float32."""
    if dtype.kind == "b":
        return 1
    if dtype.kind == "f":
        return max(4, dtype.size)
    return dtype.real.size


@dataclass(frozen=True, slots=True)
class Let:
    """Compute value `value`."""

    value: int


@dataclass(frozen=True, slots=True)
class Start:
    """Set a reduction's or scan's accumulators to their identity."""

    value: int


@dataclass(frozen=True, slots=True)
class Accumulate:
    """Combine one element into a reduction's or scan's accumulators."""

    value: int


@dataclass(frozen=True, slots=True)
class Finish:
    """A reduction's result from its accumulators."""

    value: int


@dataclass(frozen=True, slots=True)
class StoreResult:
    """Carry out store `store`."""

    store: int


@dataclass(frozen=True, slots=True)
class Spill:
    """Keep an element of value `value` for a later stage."""

    value: int


@dataclass(frozen=True, slots=True)
class Reload:
    """Take an element of value `value` that an earlier stage kept."""

    value: int


@dataclass(frozen=True, slots=True)
class Loop:
    """Walk dim `dim`, `width` elements at a time; what is left over is masked.

    chunked: only from %begin to %end, which whoever calls the kernel gives. panel: `width`
    elements are one panel, walked by the loops inside that are `within` it, as those inside a
    product's tile are within its rows or columns. block: the same, but the last block is as
    wide as the others and overlaps the one before.
    """

    dim: int
    extent: int
    width: int
    body: tuple[Statement, ...]
    chunked: bool = False
    panel: bool = False
    within: bool = False
    block: bool = False


@dataclass(frozen=True, slots=True)
class TransposeTile:
    """Copy the elements of load `value` for `rows` steps of `row_dim` and a panel of `columns`
    lanes, so that lanes lie in a row: in memory steps of row_dim do.
    """

    value: int
    row_dim: int
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class Tiles:
    """Compute product `value` tile by tile: `rows` times `columns` elements, then `body` for
    them. chunked: only the tiles from %begin to %end.

    In registers are `row_step` rows of `column_step` elements. Sums along the inner dim are of
    `block` products each; where it is symbolic, of equal parts of it that are no longer.
    `abreast` whole blocks are summed side by side, then added in order: the additions of one
    would wait for each other.
    row_dim is -1 where there are no rows; batch: the other outer dims.
    packed: whether a block of b is copied, so that what is read in turn lies in a row.
    direct: whether sums are gathered in the store's own buffer, not in a tile beside.
    """

    value: int
    a: int
    b: int
    row_dim: int
    column_dim: int
    batch: tuple[int, ...]
    rows: int
    columns: int
    row_step: int
    column_step: int
    block: int
    packed: bool
    direct: bool
    count: int
    body: tuple[Statement, ...]
    abreast: int = 1
    chunked: bool = False


Statement = (
    Let
    | Start
    | Accumulate
    | Finish
    | StoreResult
    | Spill
    | Reload
    | TransposeTile
    | Loop
    | Tiles
)


@dataclass(frozen=True, slots=True)
class LoopNest:
    """A kernel with the order of its work.

    width: vector lanes. lane_dim: the dim they go along, -1 for none. kept: the values kept
    between stages, each with the value whose room it takes, perhaps its own, and the number of
    elements that this is for. panel: the elements of the lane dim for which accumulators are
    held in memory, 0 if they are in registers.
    """

    kernel: Kernel
    width: int
    lane_dim: int
    body: tuple[Statement, ...]
    spilled: tuple[tuple[int, int, int], ...] = ()
    panel: int = 0

    def __str__(self) -> str:
        return print_nest(self)


def print_nest(nest: LoopNest) -> str:
    """A loop nest as text: the kernel, then its loops."""
    kernel = nest.kernel
    lines = [print_kernel(kernel), f"loops of {kernel.name}"]
    shown = print_kernel(kernel).splitlines()[1:]
    tiled = any(isinstance(s, Tiles) for s in nest.body)
    values, stores = shown[: len(kernel.values)], shown[len(kernel.values) :]

    def show(body: tuple[Statement, ...], depth: int) -> None:
        indent = "  " * depth
        for statement in body:
            match statement:
                case Loop():
                    step = f", step {statement.width}" if statement.width > 1 else ""
                    chunks = ", in chunks" if statement.chunked else ""
                    extent = f"0..{statement.extent}"
                    if statement.within:
                        extent = "tile" if tiled else "panel"
                        if statement.dim != nest.lane_dim and not tiled:
                            extent = "block"
                    lines.append(f"{indent}for d{statement.dim} in {extent}{step}{chunks}")
                    show(statement.body, depth + 1)
                case Tiles():
                    packed = ", packed" if statement.packed else ""
                    chunks = ", in chunks" if statement.chunked else ""
                    lines.append(
                        f"{indent}product %{statement.value} in {statement.count} tiles "
                        f"{statement.rows}x{statement.columns}, {statement.row_step}x"
                        f"{statement.column_step} in registers, sums of {statement.block}"
                        f"{packed}{chunks}"
                    )
                    show(statement.body, depth + 1)
                case TransposeTile():
                    lines.append(f"{indent}turn %{statement.value}")
                case Let(value=value):
                    lines.append(indent + values[value].strip())
                case StoreResult(store=store):
                    lines.append(indent + stores[store].strip())
                case _:
                    name = type(statement).__name__.lower()
                    lines.append(f"{indent}{name} %{statement.value}")

    show(nest.body, 1)
    return "\n".join(lines)
