"""Stages of a kernel: which values each pass over the inner dims needs.

A kernel with reductions may have to iterate over its inner dims several times: a softmax once
for the maximum, once for the sum, once for the results. Each iteration is a *stage*.
"""

from __future__ import annotations

from graphjit.ir.program import (
    Compute,
    Kernel,
    Reduction,
    ScanValue,
    Store,
    Value,
    arguments,
    indices_of,
)


class StageAnalysis:
    """What depends on which dims, and in which stage it can be computed.

    outer: the number of outer dims
    inner_dims: the inner ones
    dims: for each value the dims that it depends on
    available: for each value the first stage in which it can be used
    stages: the number of stages
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.outer = len(kernel.outer_dims)
        self.inner_dims = frozenset(range(self.outer, len(kernel.dims)))
        self.dims: list[frozenset[int]] = []
        for value in kernel.values:
            self.dims.append(self._dims_of(value))
        self._by_stage: dict[int, tuple[set[int], list[int], list[int]]] = {}
        self.available = [0] * len(kernel.values)
        for number in range(len(kernel.values)):
            self.available[number] = self._first_stage(number)
        combined = [v for v in kernel.values if isinstance(v, (Reduction, ScanValue))]
        self.stages = 1 + max((self.available[v.arg] for v in combined), default=0)
        for store in kernel.stores:
            if self.is_per_point(store):
                self.stages = max(self.stages, self.available[store.arg] + 1)

    def _dims_of(self, value: Value) -> frozenset[int]:
        """The dims that a value depends on."""
        found = frozenset[int]().union(*[self.dims[arg] for arg in arguments(value)])
        if type(value) is Compute:
            return found
        for index in indices_of(value):
            found |= {k for k, s in enumerate(index.strides) if s}
        if isinstance(value, Reduction):
            return found - self.inner_dims
        if isinstance(value, ScanValue):
            return found | self.inner_dims
        return found

    def is_inner(self, number: int) -> bool:
        """Whether a value is computed for each point of the inner dims."""
        return not self.inner_dims.isdisjoint(self.dims[number])

    def is_per_point(self, store: Store) -> bool:
        """Whether a store is carried out for each point of the inner dims."""
        return self.is_inner(store.arg) or any(s for s in store.index.strides[self.outer :])

    def _first_stage(self, number: int) -> int:
        value = self.kernel.values[number]
        first = max([self.available[a] for a in arguments(value)], default=0)
        return first + 1 if isinstance(value, Reduction) else first

    def stage_values(self, stage: int) -> tuple[set[int], list[int], list[int]]:
        """The inner values that a stage needs, its reductions and scans, its inner stores."""
        found = self._by_stage.get(stage)
        if found is None:
            found = self._by_stage[stage] = self._find_stage_values(stage)
        return found

    def _find_stage_values(self, stage: int) -> tuple[set[int], list[int], list[int]]:
        kernel = self.kernel
        combined = [
            n
            for n, v in enumerate(kernel.values)
            if (isinstance(v, Reduction) and self.available[v.arg] == stage)
            or (isinstance(v, ScanValue) and self.available[n] == stage)
        ]
        stores = [
            n
            for n, s in enumerate(kernel.stores)
            if self.is_per_point(s) and self.available[s.arg] == stage
        ]
        todo = [a for n in combined for a in arguments(kernel.values[n])]
        todo += [kernel.stores[n].arg for n in stores]
        todo += [c.arg for n in stores for c in kernel.stores[n].choices]
        needed: set[int] = set()
        while todo:
            number = todo.pop()
            if number in needed or not self.is_inner(number):
                continue
            needed.add(number)
            todo += arguments(kernel.values[number])
        return needed, combined, stores

    def needed_with_reloads(
        self, reloaded: set[int], combined: list[int], stores: list[int]
    ) -> set[int]:
        """The values that a stage needs when reloaded values aren't computed."""
        kernel = self.kernel
        todo = [a for n in combined for a in arguments(kernel.values[n])]
        todo += [n for n in combined if isinstance(kernel.values[n], ScanValue)]
        todo += [kernel.stores[n].arg for n in stores]
        todo += [c.arg for n in stores for c in kernel.stores[n].choices]
        found: set[int] = set()
        while todo:
            number = todo.pop()
            if number in found:
                continue
            found.add(number)
            if number not in reloaded:
                todo += arguments(kernel.values[number])
        return found


__all__ = ["StageAnalysis"]
