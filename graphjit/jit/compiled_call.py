"""One call of a specialization: what it reads, the code that it runs, what it writes and gives.

All that a call reads besides its arguments is looked up once, and the guards are on the same
objects: another thread that replaces one of them meanwhile does it before the call or after.
"""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Mapping, Sequence
from itertools import repeat
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from graphjit.capture.generators import GeneratorState, state_of
from graphjit.capture.sources import Readings
from graphjit.core.errors import (
    GraphJitError,
    IndexOutOfRangeError,
    NeedsPython,
    PathNotTaken,
    at_user_line,
)
from graphjit.core.tree import follow, unflatten
from graphjit.tensors.apply import as_tensor_error
from graphjit.tensors.tensor import _wrap

from .effects import EffectsDoNotFit
from .output_memory import check_donated, choose_output_arrays
from .plain_array_calls import as_input, in_order
from .result_kinds import COMPUTED
from .specialization import CaptureReplacedError

if TYPE_CHECKING:
    from graphjit.tracing.result_views import ReplayMemo, ResultView

    from .effects import EffectPlan
    from .specialization import Specialization

Array = np.ndarray[Any, np.dtype[Any]]


class CompiledCall:
    """One call, with these leaves of the arguments."""

    def __init__(
        self,
        specialization: Specialization,
        leaves: Sequence[Any],
        read: Readings | None = None,
    ) -> None:
        """read: what was looked up for this call so far, if anything."""
        self._made, self._leaves = specialization, leaves
        self._read = Readings() if read is None else read

    @functools.cached_property
    def captures(self) -> list[Array]:
        """The captured arrays. CaptureReplacedError where they aren't as traced."""
        return self._made.captures_in(self._read) if self._made.sources else []

    @functools.cached_property
    def _generators(self) -> list[Any]:
        """The generators that are drawn from, one for each draw."""
        return [self._read(draw.source) for draw in self._made.draws]

    def run(self, out: Sequence[Any] = (), given: Any = ()) -> Any:
        """The results; variables and what else the call writes are written.

        out: for each result an array that it is written into, or None. given: the arguments,
        of which containers may be returned. CaptureReplacedError where what the code reads
        doesn't fit any more; nothing was done then.
        """
        made = self._made
        if self._read.fitting is not made and not made.captures_fit(self._read):
            raise CaptureReplacedError(
                at_user_line("what the function reads was replaced during a call")
            )
        if made.effects is not None:
            return self._run_with_effects(made.effects, given)
        views, copies = self._views_before_writing(out) if out else ({}, {})
        if not made.variables:
            return self.build(self.compute(out)[0], out, given, views, copies)
        with made.locked_variables():
            outputs, updates = self.compute(out)
            for variable, array in zip(made.updated, updates, strict=True):
                variable.cell.array = array
        return self.build(outputs, out, given, views, copies)

    def takes_path(self) -> bool:
        """Whether the call takes the path that the specialization was made for."""
        if not self._made.branches:
            return True
        try:
            states = self._generator_states()
            try:
                with self._made.locked_variables():
                    self.compute()
            finally:
                for state in states:
                    state.restore()
        except PathNotTaken:
            return False
        except (GraphJitError, ArithmeticError, NeedsPython):
            return True  # on the way, an error
        return True

    def _run_with_effects(self, effects: EffectPlan, given: Any) -> Any:
        """The results of a call that writes outside. EffectsDoNotFit where only an eager call
        does as Python would: nothing was done then.
        """
        made = self._made
        effects.require_fit(self._leaves, self.captures if effects.targets else ())
        effects.require_apart(given, self._read)
        with made.locked_variables():
            try:
                outputs, updates = self.compute()
            except (
                GraphJitError,
                ArithmeticError,
                NeedsPython,
            ) as error:  # what Python does before it raises is to be done
                raise EffectsDoNotFit from error
            for variable, array in zip(made.updated, updates, strict=True):
                variable.cell.array = array
        return effects.apply(self.build(outputs, (), given))

    def _views_before_writing(
        self, out: Sequence[Any]
    ) -> tuple[dict[int, Any], dict[int, Any]]:
        """What is made before any array of `out` is written, by the numbers of results.

        The first are the results that NumPy makes of arguments and captured arrays, views or
        not. The second are copies of those of them that go into arrays of `out` and lie in
        memory that these share.
        """
        written = [array for array in out if array is not None]
        copies: dict[int, Any] = {}
        views: dict[int, Any] = {}
        memo: ReplayMemo = {}
        results = self._made.results
        for number, ((kind, value), array) in enumerate(zip(results, out, strict=True)):
            if kind == "view" and not any(base.role == "output" for base in value.bases):
                views[number] = self.view(value, memo=memo)
            elif kind == "again" and value in views:
                views[number] = views[value]
            if array is None or number not in views:
                continue
            view = getattr(views[number], "_array", views[number])
            if any(np.may_share_memory(view, other) for other in written):
                copies[number] = np.array(view)
        return views, copies

    def compute(self, out: Sequence[Any] = ()) -> tuple[list[Array], list[Array]]:
        """The outputs and the variables' new values. NeedsPython for an error that the function
        may handle.
        """
        if self._made.draws and self._made.may_draw_again:
            states = self._generator_states()
            try:
                return self._run_handled(out)
            except BaseException as error:  # Python is to draw the same, or nothing was
                for state in states:
                    state.restore()
                if isinstance(error, (GraphJitError, ArithmeticError)):
                    raise NeedsPython from error  # it draws what comes before the error
                raise
        return self._run_handled(out)

    def _generator_states(self) -> list[GeneratorState]:
        """The states of the generators that the call draws from."""
        return [state_of(x) for x in {id(x): x for x in self._generators}.values()]

    def _run_handled(self, out: Sequence[Any]) -> tuple[list[Array], list[Array]]:
        if not self._made.has_handlers:
            return self._run_code(out)
        try:
            return self._run_code(out)
        except (NeedsPython, PathNotTaken):
            raise
        except Exception as error:
            raise NeedsPython from error

    def _run_code(self, out: Sequence[Any]) -> tuple[list[Array], list[Array]]:
        made, inputs = self._made, self.inputs()
        assert made.executable is not None
        if not out and not made.donated:
            try:
                return made.executable(inputs)
            except IndexOutOfRangeError as error:
                if made.numpy:
                    raise
                raise as_tensor_error(error) from None
        check_donated(made.donated, made.leaf_names, self._leaves, self.captures)
        kinds = [kind for kind, _ in made.results]
        wanted = [
            array
            for array, kind in zip(out or [None] * len(kinds), kinds, strict=True)
            if kind in COMPUTED
        ]
        targets = choose_output_arrays(made.executable, wanted, inputs)
        return made.executable_for(targets)(inputs, targets)

    def inputs(self, draws: bool = True) -> list[Array]:
        """The program's inputs: arguments, captured arrays, variables, what is drawn.

        draws: whether generators are drawn from, rather than copies of them
        """
        made, arrays = self._made, []
        captures = self.captures
        generators = self._generators if draws else copy.deepcopy(self._generators)
        drawn = [x for draw, g in zip(made.draws, generators, strict=True) for x in draw(g)]
        for role, number in made.parameter_order:
            if role == "leaf":
                x = as_input(self._leaves[number])
            elif role == "capture":
                x = captures[number]
            elif role == "draw":
                x = drawn[number]
            else:
                x = made.variables[number].cell.array
            arrays.append(in_order(x))
        return arrays

    def view(
        self, view: ResultView, outputs: Sequence[Array] = (), memo: ReplayMemo | None = None
    ) -> Any:
        """A result that is a view of leaves, captured arrays or outputs.

        memo: shared by the results of one call.
        """
        made = self._made
        assert made.executable is not None
        arrays = {"leaf": self._leaves, "capture": self.captures, "output": outputs}
        sizes: dict[str, int] = {}
        if not view.is_base and made.sizes is not None:
            sizes = made.executable.sizes_of(self.inputs(draws=False))
        return view.replay(arrays, sizes, {} if memo is None else memo)

    def build(
        self,
        outputs: Sequence[Array],
        out: Sequence[Any] = (),
        given: Any = (),
        views: Mapping[int, Any] = MappingProxyType({}),
        copies: Mapping[int, Any] = MappingProxyType({}),
    ) -> Any:
        """The results of the call. views, copies: see `_views_before_writing`."""
        plan, numpy = self._made.results, self._made.numpy
        computed = itertools.count()
        found: list[Any] = []
        arrays = [*outputs]
        made: list[Any] = []
        memo: ReplayMemo = {}
        kinds = [kind for kind, _ in plan if kind in COMPUTED]
        for number, kind in enumerate(kinds):
            if kind == "swapped":
                array = arrays[number]
                arrays[number] = array.astype(array.dtype.newbyteorder())
        if out:  # views are of the array that a result was written into
            output_arrays = [x for x, (k, _) in zip(out, plan, strict=True) if k in COMPUTED]
            for number, target in enumerate(output_arrays):
                if target is not None:
                    if arrays[number] is not target:
                        np.copyto(target, arrays[number])
                    arrays[number] = target

        def result(kind: str, value: Any, target: Any) -> Any:
            if kind in COMPUTED:
                array = arrays[next(computed)]
                if target is not None:
                    return target
                if kind == "python":
                    return array.item()
                scalar = numpy and not array.shape and kind == "array"
                return array[()] if scalar else array if numpy else _wrap(array)
            if kind == "static":
                return value
            if kind == "view":
                shared = views.get(len(found))
                if shared is None:
                    shared = self.view(value, arrays, memo)
            elif kind == "again":
                shared = views.get(len(found), found[value])
            elif kind == "copy":
                return copy.copy(value)
            elif kind == "object":
                return self._read(self._made.objects[value])
            elif kind == "container":
                return made[value]
            else:
                return follow(given, value)
            if target is None:
                return shared
            shared = copies.get(len(found), shared)
            np.copyto(target, getattr(shared, "_array", shared))
            return target

        items = iter(zip(plan, out or repeat(None), strict=False))

        def next_result() -> Any:
            (kind, value), target = next(items)
            found.append(result(kind, value, target))
            return found[-1]

        return unflatten(self._made.result_tree, next_result, made)


__all__ = ["CompiledCall"]
