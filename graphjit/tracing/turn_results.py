"""What a turn of a loop gives: the nodes of its variables and arrays where it ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphjit.ops import pointwise as pw
from graphjit.ops import source
from graphjit.ops.failures import FOR_PYTHON

from .carried_values import common_kind, is_part_of, is_record, kind_of, may_be_carried, split
from .grown_lists import GrownList, is_held_once
from .loop_nodes import goes_on_by
from .number_kinds import is_traced_array
from .open_loops import OpenLoop
from .stored_places import is_place
from .turn_lists import TurnLists
from .turn_ways import LoopRefused
from .variable_contents import same_plain


class TurnResults(TurnLists):
    """The results of the turns of the loops that are recorded."""

    def _written_since(self, position: int, nodes: int) -> list[tuple[Any, int]]:
        """The arrays of before some node that were written to since, with their nodes then."""
        found: dict[int, tuple[Any, int]] = {}
        for array, node in self.written[position:]:
            # what is captured is there before, wherever it is read first
            captured = array.recorder.builder.nodes[node].primitive is source.param
            if node < nodes or captured:
                found.setdefault(id(array), (array, node))
        return list(found.values())

    def _has_written(self, loop: OpenLoop) -> bool:
        """Whether a turn has written into arrays so far."""
        carried = {id(array) for array, _ in loop.arrays}
        pairs = zip(loop.arrays, loop.arrays_in, strict=True)
        changed = [a.node != p.node for (a, _), p in pairs]
        others = self._written_since(loop.visit.written, loop.visit.nodes)
        changed += [a.node != node for a, node in others if id(a) not in carried]
        return any(changed)

    def _unless_raising(self, trace: Any, loop: OpenLoop, goes_on: int) -> int:
        """Whether a loop goes on, in a call that takes no way that raises."""
        for node, outcome in loop.left_to_python:
            failing = trace.node_of(goes_on_by(trace, node, outcome))
            trace.branches.may_need_python = True
            goes_on = trace.builder.add(pw.unless, (goes_on, failing), reason=FOR_PYTHON)
        return goes_on

    def _results(
        self,
        trace: Any,
        loop: OpenLoop,
        values: dict[str, Any],
        read: frozenset[str],
        goes_on: int,
        exit: int,
        others: Sequence[Any] = (),
    ) -> tuple[int, ...]:
        """The nodes of what a turn gives where it ends with these variables, of which some are
        read after that. What isn't carried and should be is noted in `wanted`.

        others: what else holds the variables
        """
        found: list[Any] = []
        code = loop.visit.frame.f_code
        # which others may read
        read = read.union(code.co_cellvars, code.co_freevars, filter(is_place, values))
        for name, kind, parts in zip(loop.names, loop.kinds, loop.parts, strict=True):
            value = values.get(name)
            if type(value) is GrownList:
                for other, x in values.items():
                    if x is value and other != name and other in read:
                        raise LoopRefused("gives one list two names")
            if name in values and may_be_carried(value) and is_part_of(kind, value):
                self._require_free(loop, name, values, read, others)
                listed: Any = value
                if is_traced_array(value) and any(
                    listed.storage is x.storage for x in trace.branches.in_lists
                ):
                    loop.known_elsewhere.add(name)
                found += split(trace, value, kind)
                continue
            if name in read:
                self._mix(loop, name, kind, value if name in values else None)
            found += parts
        for name, value in values.items():
            if name in loop.names or name not in read:
                continue
            if name in loop.twins:
                if value is not values[loop.twins[name]]:
                    raise LoopRefused("gives one array two names at some turns only")
                continue
            start = loop.values.get(name, loop.visit.values.get(name))
            known = name in loop.values
            if known and (value is start or same_plain(value, start)):
                continue
            if not known and exit and not _holds_tensor(value):
                continue  # set anew on the way to the exit
            if not may_be_carried(value) or (known and not may_be_carried(start)):
                raise LoopRefused(f"changes {name}")
            self._require_free(loop, name, values, read, others)
            if known and kind_of(value) != self._kind_at_start(loop, name):
                self._mix(loop, name, self._kind_at_start(loop, name), value)
            if not known and not exit:
                raise LoopRefused(f"sets {name}, which is read after the loop")
            loop.wanted[name] = kind_of(value)
        arrays = [array.node for array, _ in loop.arrays]
        number = trace.builder.const(np.array(exit, np.int64))
        return (goes_on, number, *(trace.node_of(y) for y in found), *arrays)

    def _require_free(
        self,
        loop: OpenLoop,
        name: str,
        values: dict[str, Any],
        read: frozenset[str],
        others: Sequence[Any],
    ) -> None:
        """Require that a record is known by one variable alone, of those that are read: it
        becomes another object that holds the same.
        """
        value = values[name]
        if not is_record(value) or type(value) is tuple:
            return
        frame = loop.visit.frame
        known: list[Any] = [values, frame.f_locals, *self.stored.holders(), *others]
        known += self.stored.cells(frame)
        known += [v.values for v in self._visits.values()]
        for each in self._open:
            known += [each.values, each.visit.values, each.visit.frame.f_locals]
        variables = {n: x for n, x in values.items() if n in read or n in loop.names}
        known.append(variables)
        if not self.stored.is_own(value) or not is_held_once(value, frame, known, variables):
            raise LoopRefused(f"changes {name}, an object that has another name")

    def _mix(self, loop: OpenLoop, name: str, kind: Any, value: Any) -> None:
        """Note that a variable is to be carried as what is of one kind or another."""
        wanted = None
        if may_be_carried(value) and name in loop.visit.values:
            wanted = common_kind(kind, kind_of(value), [loop.first(name), value])
        if wanted is None or wanted == kind:
            raise LoopRefused(f"gives {name} another type at each turn")
        loop.mixed[name] = wanted

    def _kind_at_start(self, loop: OpenLoop, name: str) -> Any:
        return kind_of(loop.first(name))


def _holds_tensor(value: Any) -> bool:
    """Whether a value is traced, or may hold something that is."""
    return not isinstance(value, (bool, int, float, complex, str, bytes, type(None), range))


__all__ = ["TurnResults"]
