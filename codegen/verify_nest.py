"""Whether a loop nest computes what its kernel says: everything before it is used, every store
carried out, inside the loops that it depends on.
"""

from __future__ import annotations

from graphjit.core.dims import Dim
from graphjit.core.errors import InternalError
from graphjit.ir.program import (
    Constant,
    Load,
    Product,
    Reduction,
    ScanValue,
    arguments,
    indices_of,
)

from .loops import (
    Accumulate,
    Finish,
    Let,
    LoadInterleaved,
    Loop,
    LoopNest,
    Reload,
    Spill,
    Start,
    Statement,
    StoreResult,
    Tiles,
    TransposeTile,
)


def verify_nest(nest: LoopNest) -> None:
    """Raise InternalError if a loop nest is invalid.

    It is if a statement uses a value before it is computed, if an index depends on a dim that
    no loop around it iterates over, or if a store is missing.
    """
    NestVerifier(nest).run()


class NestVerifier:
    """Checks one nest.

    started: values whose accumulators are set; in memory they outlive the loop that sets them
    spilled, tiled: values spilled, and products computed by tiles
    stored: the stores carried out
    """

    def __init__(self, nest: LoopNest) -> None:
        self.nest = nest
        self.kernel = nest.kernel
        self.started: set[int] = set()
        self.spilled: set[int] = set()
        self.tiled: set[int] = set()
        self.stored: set[int] = set()

    def run(self) -> None:
        self.check_body(self.nest.body, frozenset(), set())
        missing = set(range(len(self.kernel.stores))) - self.stored
        if missing:
            raise self.error(f"stores {sorted(missing)} are never carried out")

    def error(self, problem: str) -> InternalError:
        return InternalError(f"{problem}\n{self.nest}")

    def check_body(
        self, body: tuple[Statement, ...], dims: frozenset[int], known: set[int]
    ) -> None:
        """Check statements.

        dims: those that loops around them iterate over
        known: the values that are computed
        """
        known = set(known)
        for statement in body:
            match statement:
                case Loop(dim=dim):
                    if not 0 <= dim < len(self.kernel.dims):
                        raise self.error(f"a loop iterates over dim {dim}")
                    if dim in dims and not statement.within:
                        raise self.error(f"dim {dim} is iterated over inside itself")
                    self.check_body(statement.body, dims | {dim}, known)
                case Tiles():
                    self.check_tiles(statement, dims, known)
                case TransposeTile(value=value):
                    if not isinstance(self.kernel.values[value], Load):
                        raise self.error(f"%{value} is transposed, and is no load")
                case Let(value=value):
                    self.check_let(value, dims, known)
                    known.add(value)
                case LoadInterleaved(values=numbers):
                    for value in numbers:
                        if not isinstance(self.kernel.values[value], Load):
                            raise self.error(f"%{value} is read in rows, and is no load")
                        self.check_let(value, dims, known)
                    known.update(numbers)
                case Start(value=value):
                    if not isinstance(self.kernel.values[value], (Reduction, ScanValue)):
                        raise self.error(f"%{value} has no accumulators")
                    self.started.add(value)
                case Accumulate(value=value):
                    self.require_arguments(value, known)
                    if value not in self.started:
                        raise self.error(f"%{value} is accumulated before its start")
                    if isinstance(self.kernel.values[value], ScanValue):
                        known.add(value)
                case Finish(value=value):
                    if value not in self.started:
                        raise self.error(f"%{value} ends before its start")
                    known.add(value)
                case Spill(value=value):
                    if value not in known:
                        raise self.error(f"%{value} is spilled before it is computed")
                    self.spilled.add(value)
                case Reload(value=value):
                    if value not in self.spilled:
                        raise self.error(f"%{value} is reloaded, and wasn't spilled")
                    known.add(value)
                case StoreResult(store=number):
                    store = self.kernel.stores[number]
                    for value in (store.arg, *(c.arg for c in store.choices)):
                        self.require(value, known)
                    self.check_index(store.index.strides, dims, f"store {number}")
                    self.stored.add(number)

    def check_tiles(self, tiles: Tiles, dims: frozenset[int], known: set[int]) -> None:
        product = self.kernel.values[tiles.value]
        if not isinstance(product, Product) or {product.a, product.b} != {tiles.a, tiles.b}:
            raise self.error(f"%{tiles.value} is no product of %{tiles.a} and %{tiles.b}")
        if tiles.direct:  # sums are gathered where the store has them
            stores = enumerate(self.kernel.stores)
            self.stored.update(k for k, store in stores if store.arg == tiles.value)
        self.tiled.add(tiles.value)
        iterated = {*tiles.batch, tiles.row_dim, tiles.column_dim}
        self.check_body(tiles.body, dims | iterated, known | {tiles.value})

    def check_let(self, number: int, dims: frozenset[int], known: set[int]) -> None:
        value = self.kernel.values[number]
        tiled = isinstance(value, Product) and number in self.tiled
        if isinstance(value, (Reduction, ScanValue, Product)) and not tiled:
            raise self.error(f"%{number} isn't computed at one point")
        if not tiled:
            self.require_arguments(number, known)
        for index in indices_of(value):
            self.check_index(index.strides, dims, f"%{number}")

    def require_arguments(self, number: int, known: set[int]) -> None:
        for argument in arguments(self.kernel.values[number]):
            self.require(argument, known)

    def require(self, number: int, known: set[int]) -> None:
        if number not in known and not isinstance(self.kernel.values[number], Constant):
            raise self.error(f"%{number} is used before it is computed")

    def check_index(self, strides: tuple[int, ...], dims: frozenset[int], what: str) -> None:
        for dim, stride in enumerate(strides):
            extent = self.kernel.dims[dim]
            one = not isinstance(extent, Dim) and extent == 1
            still = not isinstance(stride, Dim) and stride == 0
            if dim not in dims and not one and not still:
                raise self.error(
                    f"{what} depends on dim {dim}, over which no loop around it iterates"
                )


__all__ = ["verify_nest"]
