"""The loop IR: where and in what order a kernel's values are computed, for any target."""

from __future__ import annotations

from graphjit.core.frozen import dataclass
from graphjit.core.types import DType
from graphjit.ir.program import Kernel, print_kernel


def register_bytes(dtype: DType) -> int:
    """Bytes of an element in a register. Narrow floats are held as float32."""
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
class LoadInterleaved:
    """Compute values that are loads of the elements of one short row for each lane.

    They are in the order of their places; memory between the first and the last is readable.
    """

    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Start:
    """Set the accumulators of a reduction or scan to its identity."""

    value: int


@dataclass(frozen=True, slots=True)
class Accumulate:
    """Combine one element into the accumulators of a reduction or scan."""

    value: int


@dataclass(frozen=True, slots=True)
class Finish:
    """Compute a reduction's result from its accumulators."""

    value: int


@dataclass(frozen=True, slots=True)
class StoreResult:
    """Carry out store `store`."""

    store: int


@dataclass(frozen=True, slots=True)
class Spill:
    """Store an element of value `value` in its slot, for a later stage."""

    value: int


@dataclass(frozen=True, slots=True)
class Reload:
    """Load an element of value `value` that an earlier stage spilled."""

    value: int


@dataclass(frozen=True, slots=True)
class Loop:
    """Iterate over dim `dim`, `width` elements at a time. The rest is masked.

    chunked: only from %begin to %end, which the kernel's caller gives
    panel: each `width` elements are a panel; loops inside with `within` iterate over it
    within: iterate over the current panel, block or tile rather than the whole dim
    block: like `panel`, but the last block has full width and overlaps the one before
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
    """Copy a tile of load `value`, transposed: `rows` steps of `row_dim`, `columns` lanes.

    In memory steps of row_dim are contiguous; in the copy lanes are.

    most_rows: the most that there can be
    """

    value: int
    row_dim: int
    rows: int
    columns: int
    most_rows: int


@dataclass(frozen=True, slots=True)
class Tiles:
    """Compute product `value` tile by tile, then `body` for each tile.

    a, b: the loads of the operands
    row_dim, column_dim: the dims of rows and columns; row_dim is -1 where there are no rows
    batch: the other outer dims
    rows, columns: the size of a tile
    row_step, column_step: the rows and columns whose sums are in registers at a time
    block: the products of each sum; where the inner dim is symbolic, the most that equal parts
        have
    packed: whether blocks of b are copied, so that what is read in turn is contiguous
    direct: whether sums are accumulated in the store's own buffer rather than in a tile
    count: the number of tiles
    abreast: how many whole blocks are summed side by side, then added in order; sums of one
        block would wait for each other
    chunked: only the tiles from %begin to %end
    wide: the most columns of neighbouring tiles, of all rows, that are summed together, rows of
        b after one another, with their sums in memory; 0 where sums are in registers
    lanes: the elements of a register
    symmetric: whether the product is: of its square tiles only those above the diagonal are
        computed
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
    wide: int = 0
    lanes: int = 1
    symmetric: bool = False


Statement = (
    Let
    | LoadInterleaved
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

    width: the number of vector lanes
    lane_dim: the dim that they go along; -1 for none
    spilled: each spilled value, the value whose slot it takes, and the points of that slot
    panel: the elements of the lane dim whose accumulators are in memory; 0 if in registers
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
                    wide = f", {statement.wide} columns at a time" if statement.wide else ""
                    wide += ", symmetric" * statement.symmetric
                    chunks = ", in chunks" if statement.chunked else ""
                    lines.append(
                        f"{indent}product %{statement.value} in {statement.count} tiles "
                        f"{statement.rows}x{statement.columns}, {statement.row_step}x"
                        f"{statement.column_step} in registers, sums of {statement.block}"
                        f"{packed}{wide}{chunks}"
                    )
                    show(statement.body, depth + 1)
                case TransposeTile():
                    lines.append(f"{indent}turn %{statement.value}")
                case Let(value=value):
                    lines.append(indent + values[value].strip())
                case LoadInterleaved(values=numbers):
                    lines.append(f"{indent}rows:")
                    lines.extend(f"{indent}  {values[n].strip()}" for n in numbers)
                case StoreResult(store=store):
                    lines.append(indent + stores[store].strip())
                case _:
                    name = type(statement).__name__.lower()
                    lines.append(f"{indent}{name} %{statement.value}")

    show(nest.body, 1)
    return "\n".join(lines)
